//! Shards that nobody wants: what a gateway that crashed, or is gone for good, left behind. They are found and, after long, deleted.
//!
//! It is the only deletion that nobody orders. So a shard goes only when, for all of a retention, in every round of questions, no
//! validator service knew a line about it in any ledger, two thirds of all there are have said so, each after reading all ledgers to
//! their ends; and when nobody has asked for it meanwhile. One service that knows a line is enough to keep it: a minority that lies can
//! keep what nobody wants, and delete nothing.
//!
//! # Invariants
//! - Time counts only while this process runs and services answer, by a clock that nobody sets; a crash begins it anew.
//! - Who orders a shard to be stored or restored, fetches or challenges it begins its time anew; while it is being stored it is not deleted.
//! - What is deleted can be restored as anything else that is deleted, for `trash_retention`.
//! - In a round goes no more than [`collector`] says, and nothing while much of what is here would have to go.
//!
//! # Not here
//! Who is asked, and what counts (`witnesses`).
//!
//! Specified in docs/spec/orphans.md.

pub mod collector;
mod file;
mod suspects;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    io,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arion_types::ShardHash;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

pub use collector::Collector;
use suspects::Suspects;

/// Name of the file in the data directory that keeps, while the miner does not run, how long nobody has wanted which shards.
pub const FILE: &str = "orphans";

/// What the services said, and what requests say to the contrary.
#[derive(Debug, Default)]
pub struct Orphans {
    suspects: Mutex<Suspects>,
    /// Held shared by whoever orders a shard to be kept, and alone by a deletion.
    gate: RwLock<()>,
}

impl Orphans {
    /// Somebody orders a shard to be stored or restored: its time begins anew, and it is not deleted while the guard is held.
    pub async fn keep(&self, shard: &ShardHash) -> RwLockReadGuard<'_, ()> {
        let guard = self.gate.read().await;
        self.suspects().wanted(shard);
        guard
    }

    /// Nobody orders a shard to be stored or restored while the guard is held.
    pub async fn alone(&self) -> RwLockWriteGuard<'_, ()> {
        self.gate.write().await
    }

    /// Somebody asks for a shard: its time begins anew.
    pub fn asked_for(&self, shard: &ShardHash) {
        self.suspects().wanted(shard);
    }

    /// A round has told of these shards, all that no ledger names; so much time counts since the one before.
    pub fn round(&self, told: &BTreeSet<ShardHash>, passed: Duration) {
        self.suspects().round(told, passed);
    }

    /// For how long no ledger has named a shard; `None` if one did when that was asked last, or somebody has wanted it since.
    pub fn age(&self, shard: &ShardHash) -> Option<Duration> {
        self.suspects().age(shard)
    }

    /// Takes over what the last process left when it stopped. The file is gone, durably, when this returns: what a crash leaves behind
    /// is not known to be true. What is there and cannot be read counts for nothing.
    pub fn take_over(&self, path: &Path) -> io::Result<()> {
        if let Some(left) = file::take(path)? {
            *self.suspects() = left;
        }
        Ok(())
    }

    /// Leaves what is known for the next process. Nothing may change any more.
    pub fn leave(&self, path: &Path) -> io::Result<()> {
        file::write(path, &self.suspects())
    }

    fn suspects(&self) -> MutexGuard<'_, Suspects> {
        self.suspects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
