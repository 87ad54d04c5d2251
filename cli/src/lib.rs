//! `arion`: one tool for users and operators of the Arion network.
//!
//! Objects go through the S3 endpoint of a gateway; what is said about the network comes from the finalised chain and the
//! validator services, and whatever can be recomputed is.
//!
//! # Not here
//! Keys and registration of daemons (each daemon's own `init` and `register`).

pub mod args;
pub mod command;
pub mod failure;
pub mod objects;
pub mod place;
pub mod settings;
pub mod transfer;
