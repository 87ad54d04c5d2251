//! Snapshots: what a gateway knows goes to the miners, encrypted, and the chain says where, so that a gateway whose disk is lost
//! can be made again from the operator's secret and the chain.
//!
//! The rows of the metadata are cut into chunks ([`cut`], [`row`]), these listed in lists, up to one node ([`tree`]); each node is
//! sealed ([`node`]) and stored as a stripe like any other. The root ([`root`]) opens the node above all others, and the chain
//! names the root ([`anchor`]). [`take`] makes snapshots, [`schedule`] says when, [`recover`] makes a gateway from one;
//! [`command`] is what an operator can ask for.
//!
//! # Invariants
//! - Names, sizes and counts are in ciphertext only, and every length is one of few classes.
//! - A chunk that did not change is not stored again.
//! - Whatever happens, the newest snapshot that the chain names is whole: nothing of it is given back before a newer one is final.
//!
//! # Not here
//! Which rows of which tables, and what the gateway notes of its snapshots ([`crate::meta`]).
//!
//! Specified in docs/spec/snapshot.md; frozen by vectors/snapshot.json.

pub mod anchor;
pub mod command;
pub mod cut;
#[cfg(test)]
mod format_tests;
pub mod node;
pub mod recover;
pub mod root;
pub mod row;
pub mod schedule;
pub mod take;
pub mod tree;
