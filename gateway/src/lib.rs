//! The gateway: S3 on one side, encrypted shards on miners on the other.
//!
//! An object is encrypted under its own key, cut into stripes, encoded into shards and sent to the miners that the
//! finalised map names ([`grid`]). What cannot be computed - keys of objects, addresses of shards, receipts - is in one
//! redb file ([`meta`]). S3 is `s3s`'s business ([`s3`]).
//!
//! # Invariants
//! - A write is acknowledged only when every stripe has k + 10 durable shards and the metadata is on disk.
//! - Nothing but ciphertext leaves towards miners; whose keys open it is [`keyring`]'s business.
//! - Every request is signed by an access key that the operator made, or allowed to everyone by the owner of its bucket.
//!
//! # Not here
//! Auditing (`arion-warden`), rebalancing (`arion-validator`).

#[cfg(test)]
extern crate self as arion_gateway;

pub mod access_key_command;
pub mod account;
pub mod account_command;
pub mod acl;
pub mod audits;
pub mod billing;
pub mod chain;
#[cfg(any(test, feature = "checks"))]
pub mod checks;
pub mod checksum;
pub mod cli;
pub mod compaction;
pub mod config;
pub mod daemon;
pub mod grid;
pub mod guesses;
pub mod http;
pub mod key_command;
pub mod keyring;
pub mod keys;
pub mod keystore;
pub mod ledger_service;
pub mod lifecycle;
pub mod listing;
pub mod manifest;
pub mod meta;
pub mod metrics;
pub mod notify;
pub mod object;
mod page;
pub mod peers;
pub mod placement;
pub mod rate;
pub mod register;
pub mod relocation;
pub mod retention;
pub mod rotation;
pub mod s3;
pub mod scope;
pub mod segments;
pub mod snapshot;
pub mod stripe_code;
