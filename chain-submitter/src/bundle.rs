//! Bundles of epochs that are over: made of what the finalised chain has and wardens handed over, stored where everybody can
//! read them, and then committed to on chain.
//!
//! # Invariants
//! - A bundle is committed to only when all of it was read back from its store, without a key, and was equal.
//! - One commitment at a time is decided on, written down, and brought to the chain once ([`commit`]).
//! - What the chain prunes is copied before, from finalised blocks ([`copies`]).

pub mod archive;
pub mod commit;
pub mod copies;
pub mod maker;
pub mod s3;
pub mod shelf;
