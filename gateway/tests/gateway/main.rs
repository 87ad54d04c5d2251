//! The gateway's tests that go through its public interface: over HTTP, on the data path, on metadata alone, as a process.
//!
//! One program, a module for each subject, because linking and optimising the whole gateway is most of what a program of tests
//! costs to build. Tests share nothing but the process: who needs that for itself is a program of its own beside this one
//! (`memory.rs`, which counts what the process allocates).

#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

// What the tests stand on.
mod accounts;
mod engine;
mod machine;
mod market;
mod network;
mod real;
mod receiver;
mod rows;
mod s3_client;
mod signed;

mod access;
mod account_command;
mod audits;
mod billing;
mod cache;
mod chainless;
mod compaction;
mod confirming;
mod crash;
mod credits;
mod deduplication;
mod encryption;
mod grid;
mod key_command;
mod lifecycle;
mod limits;
mod links;
mod notifications;
mod objects;
mod occupancy;
mod operations;
mod packing;
mod page;
mod parts;
mod privacy;
mod process;
mod quotas;
mod receipts;
mod recovery;
mod refusals;
mod relocation;
mod replicas;
mod s3;
mod scopes;
mod segments;
mod snapshots;
mod usage;
mod versions;
