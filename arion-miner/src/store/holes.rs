//! Blocks of dead bodies on their way back to the disk: a hole takes some file systems milliseconds, so that nobody who
//! stores waits for it.
//!
//! # Invariants
//! - A hole is made where its body lies: one whose file is rewritten meanwhile is forgotten. Files are rewritten and holes
//!   are made by one thread, or by the writing thread, which puts rewritten files in place.
//! - What is forgotten, or too much, is given back by compaction.
//!
//! # Not here
//! When they are made (`keeper`); which bodies are dead (`changes`).

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError, atomic::Ordering},
};

use super::{Shared, index::Entry, layout::Span};

/// Dead bodies from this size on are punched out of their segment.
const PUNCH_BYTES_MIN: u64 = 256 << 10;
/// Holes that may wait.
const HOLES_MAX: usize = 1 << 16;
/// Holes made at once for a shard that needs their room.
const AT_ONCE_MAX: usize = 256;

/// A dead body.
#[derive(Clone, Copy)]
struct Hole {
    segment: u32,
    offset: u64,
    length: u64,
}

/// Dead bodies whose blocks are not given back yet, oldest first.
#[derive(Default)]
pub(super) struct Holes(Mutex<VecDeque<Hole>>);

impl Holes {
    fn waiting(&self) -> MutexGuard<'_, VecDeque<Hole>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets those in files that were rewritten.
    pub(super) fn forget(&self, files: &[Span]) {
        self.waiting().retain(|hole| !files.iter().any(|span| span.first == hole.segment));
    }
}

impl Shared {
    /// Takes note of dead bodies. Small ones wait for compaction, which is cheaper for them, as long as the disk was never
    /// full.
    pub(super) fn give_back_later(&self, dead: &[Entry]) {
        let every = self.was_full.load(Ordering::Relaxed);
        let worth = |entry: &&Entry| {
            let length = u64::from(entry.placement.size);
            length >= PUNCH_BYTES_MIN || every && length > 0
        };
        let mut waiting = self.holes.waiting();
        for entry in dead.iter().filter(worth) {
            if waiting.len() >= HOLES_MAX {
                return;
            }
            let (segment, offset) = (entry.segment, entry.body_offset());
            waiting.push_back(Hole { segment, offset, length: u64::from(entry.placement.size) });
        }
    }

    /// Gives the blocks of the next dead body back, as far as the file system can; how long it was.
    pub(super) fn give_back(&self) -> Option<u64> {
        let hole = self.holes.waiting().pop_front()?;
        let punched = self.segment(hole.segment).and_then(|file| file.punch(hole.offset, hole.length));
        if let Err(error) = punched {
            tracing::debug!(%error, "file system keeps the blocks of a deleted shard");
        }
        Some(hole.length)
    }

    /// Gives back what waits until so many bytes are free; whether there was anything.
    pub(super) fn give_back_now(&self, bytes: u64) -> bool {
        let mut freed = 0;
        for _ in 0..AT_ONCE_MAX {
            if freed >= bytes {
                break;
            }
            let Some(length) = self.give_back() else { break };
            freed += length;
        }
        freed > 0
    }
}
