//! Keeps the ledger proportional to what is live: a line says which of the first lines have to be kept, and when the chain has had it for
//! long enough, so that everybody could see whether it is true, the others are dropped.
//!
//! # Invariants
//! - Nothing is dropped but what the line says, which is computed again from all lines just before, and compared.
//! - Memory is bounded: of the shards a part at a time is looked at, and a bit is kept for each line.
//! - Where segments are put into a bucket, nothing is dropped of one that is not there.
//! - Whatever is interrupted goes on where it was; nothing is dropped twice, and nothing by another line.
//!
//! # Not here
//! What is kept (`arion_ledger::compact`); rows ([`crate::meta`], `compaction`).
//!
//! Specified in docs/spec/ledger.md, "Compaction".

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use arion_daemon::{Health, Shutdown, now_ms};
use arion_ledger::{
    Keeping, KeptRoot,
    segment::{self, SEGMENT_LINES, line_hash},
};
use arion_protocol::{Compacted, LedgerEntry};
use arion_types::{GenesisHash, NodeId};

use crate::{
    meta::{Compaction, Meta, MetaError},
    metrics::Metrics,
};

/// Pause between two looks.
const TICK: Duration = Duration::from_secs(60);
/// Lines read at once.
const PAGE: u16 = 4_096;
/// Segments whose bits are noted at once.
const SEGMENTS: usize = 256;
/// Bytes of bits of a segment.
const BITS: usize = SEGMENT_LINES as usize / 8;

/// When it is worth it, and how much is looked at at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Fewest lines that are dropped.
    pub dead_min: u64,
    /// Least part of the lines, in percent.
    pub dead_percent: u64,
    /// Lines whose shards are looked at in one go: some 150 bytes of memory each.
    pub lines_at_once: u64,
}

impl Bounds {
    /// As gateways do it.
    pub const STANDARD: Self = Self { dead_min: 8_192, dead_percent: 50, lines_at_once: 1 << 19 };
}

/// Why nothing was compacted.
#[derive(Debug, thiserror::Error)]
pub enum CompactionError {
    /// The metadata.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// The lines are not those that the line speaks of.
    #[error(
        "line {line} says that {said} of the lines up to {until} are kept, and by these lines it is {found}, or others: nothing is dropped; \
         the metadata are damaged, or were written by another version"
    )]
    Differs {
        /// The line.
        line: u64,
        /// Up to where.
        until: u64,
        /// How many it says.
        said: u64,
        /// How many it is.
        found: u64,
    },
}

/// What was done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Done {
    /// Nothing is worth it, or the time has not come.
    Nothing,
    /// A line says now what is kept.
    Said {
        /// The line.
        line: u64,
    },
    /// Lines were dropped.
    Dropped {
        /// How many.
        lines: u64,
    },
}

/// Compacts the ledger of a gateway.
pub struct Compactor {
    /// The ledger.
    pub meta: Meta,
    /// Whose, on which chain.
    pub of: (GenesisHash, NodeId),
    /// How long the chain has a line before others are dropped by it.
    pub keep_dead: Duration,
    /// When it is worth it.
    pub bounds: Bounds,
    /// Counters.
    pub metrics: Metrics,
    /// Where it is told that it fails.
    pub health: Health,
    /// The bucket that segments are put into, if they are: they come before anything is dropped.
    pub bucket: Option<String>,
    /// Lines that there were when it was not worth it last.
    pub looked_at: Mutex<u64>,
}

/// What is kept of the lines up to a certain one.
struct Found {
    says: Compacted,
    /// A bit for each line.
    bits: Vec<u8>,
}

impl Compactor {
    /// Works until the shutdown.
    pub async fn run(&self, stop: Shutdown) {
        let pause = TICK.min(self.keep_dead.max(Duration::from_millis(100)));
        loop {
            tokio::select! {
                done = self.step(now_ms()) => match done {
                    Ok(_) => self.health.ok("compaction"),
                    // By itself it comes to its end.
                    Err(CompactionError::Meta(error @ MetaError::NotDroppedYet(_))) => {
                        tracing::debug!(%error, "the ledger is compacted later");
                    }
                    Err(error) => {
                        self.metrics.compaction_failures.inc();
                        tracing::error!(%error, "the ledger is not compacted");
                        self.health.failing("compaction", error.to_string());
                    }
                },
                () = stop.wait() => return,
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.wait() => return,
            }
        }
    }

    /// Does what there is to do.
    pub async fn step(&self, now_ms: u64) -> Result<Done, CompactionError> {
        // What was begun comes first: the lines are not whole before.
        let dropped = self.drop_rest().await?;
        let (base, waiting) = self.meta.compactions().await?;
        let value = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let (until, kept) = base.map_or((0, 0), |row| (row.base.until, row.lines));
        self.metrics.ledger_base.set(value(until));
        self.metrics.ledger_kept.set(value(kept));
        if dropped > 0 {
            return Ok(Done::Dropped { lines: dropped });
        }
        match waiting {
            Some(waiting) => self.finish(waiting, now_ms).await,
            None => self.look(until, kept).await,
        }
    }

    /// Says what is kept where enough is not.
    async fn look(&self, base: u64, kept: u64) -> Result<Done, CompactionError> {
        let segment = u64::from(SEGMENT_LINES);
        let until = self.meta.ledger_len().await? / segment * segment;
        let lines = kept + until.saturating_sub(base);
        let Bounds { dead_min, dead_percent, .. } = self.bounds;
        // Where it was not worth it, it is not before there are a good part more.
        let before = *self.looked_at.lock().unwrap_or_else(PoisonError::into_inner);
        if until <= base || lines < dead_min || lines < before.saturating_add(before / 8) {
            return Ok(Done::Nothing);
        }
        let says = self.find(until, lines).await?.says;
        let dead = lines.saturating_sub(says.lines);
        if dead < dead_min || u128::from(dead) * 100 < u128::from(lines) * u128::from(dead_percent) {
            *self.looked_at.lock().unwrap_or_else(PoisonError::into_inner) = lines;
            return Ok(Done::Nothing);
        }
        match self.meta.note_compaction(says).await {
            Ok(line) => {
                *self.looked_at.lock().unwrap_or_else(PoisonError::into_inner) = 0;
                tracing::info!(
                    line,
                    until,
                    kept = says.lines,
                    dead,
                    "a line says what is kept of the ledger"
                );
                Ok(Done::Said { line })
            }
            // The line of the base lies behind these.
            Err(MetaError::NotDroppedYet(_)) => Ok(Done::Nothing),
            Err(error) => Err(error.into()),
        }
    }

    /// Drops what a line says is not kept, when its time has come.
    async fn finish(&self, waiting: Compaction, now_ms: u64) -> Result<Done, CompactionError> {
        let Some(since) = self.meta.compaction_anchored(now_ms).await? else { return Ok(Done::Nothing) };
        let keep_ms = u64::try_from(self.keep_dead.as_millis()).unwrap_or(u64::MAX);
        if now_ms < since.saturating_add(keep_ms) {
            return Ok(Done::Nothing);
        }
        let Compaction { says, line, .. } = waiting;
        if !self.are_objects(says.until).await? {
            return Ok(Done::Nothing);
        }
        // Where something else has to come first, nothing is computed; where it was, before a crash, not again.
        match self.meta.begin_drop(self.of).await {
            Err(MetaError::NotDropped(_)) => {
                self.note(waiting).await?;
                self.meta.begin_drop(self.of).await?;
            }
            begun => begun?,
        }
        tracing::info!(line, until = says.until, kept = says.lines, "lines of the ledger are dropped");
        let lines = self.drop_rest().await?;
        tracing::info!(lines, until = says.until, "lines of the ledger were dropped");
        self.metrics.ledger_base.set(i64::try_from(says.until).unwrap_or(i64::MAX));
        self.metrics.ledger_kept.set(i64::try_from(says.lines).unwrap_or(i64::MAX));
        Ok(Done::Dropped { lines })
    }

    /// Whether all segments up to a line are objects that are to be: they are made in their order.
    async fn are_objects(&self, until: u64) -> Result<bool, MetaError> {
        let (Some(bucket), Some(last)) = (&self.bucket, (until / u64::from(SEGMENT_LINES)).checked_sub(1))
        else {
            return Ok(true);
        };
        let number = u32::try_from(last).unwrap_or(u32::MAX);
        let name = segment::object_name(&self.of.1, number);
        match self.meta.object(bucket.clone(), name, None).await {
            Ok(_) => Ok(true),
            Err(MetaError::NoSuchBucket | MetaError::NoSuchKey | MetaError::Deleted(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Computes again what is kept, and notes it if it is what the line says.
    async fn note(&self, Compaction { says, line, .. }: Compaction) -> Result<(), CompactionError> {
        let (base, _) = self.meta.compactions().await?;
        let lines = base.map_or(says.until, |row| row.lines + says.until.saturating_sub(row.base.until));
        let found = self.find(says.until, lines).await?;
        if found.says != says {
            let (until, said, found) = (says.until, says.lines, found.says.lines);
            return Err(CompactionError::Differs { line, until, said, found });
        }
        for (from, bits) in (0..).step_by(SEGMENTS).zip(found.bits.chunks(SEGMENTS * BITS)) {
            self.meta.note_kept(from, bits.to_vec()).await?;
        }
        Ok(())
    }

    async fn drop_rest(&self) -> Result<u64, MetaError> {
        let mut lines = 0;
        while let Some(more) = self.meta.drop_step().await? {
            lines += more;
            self.metrics.ledger_dropped.inc_by(more);
        }
        Ok(lines)
    }

    /// Finds what is kept of the lines up to `until`, of which there are some `lines`.
    async fn find(&self, until: u64, lines: u64) -> Result<Found, MetaError> {
        let parts = lines / self.bounds.lines_at_once.max(1) + 1;
        let mut bits = vec![0u8; usize::try_from(until / 8).unwrap_or(usize::MAX)];
        for part in 0..parts {
            let mut keeping = Keeping::part(part, parts);
            let mut after = 0;
            while let Some(page) = self.page(after, until).await? {
                page.iter().for_each(|entry| keeping.take(entry.sequence, &entry.record));
                after = page.last().map_or(until, |entry| entry.sequence);
            }
            for line in keeping.lines() {
                let at = line.saturating_sub(1);
                if let Some(byte) = usize::try_from(at / 8).ok().and_then(|at| bits.get_mut(at)) {
                    *byte |= 1 << (at % 8);
                }
            }
        }
        let (mut root, mut after) = (KeptRoot::default(), 0);
        let (genesis, gateway) = &self.of;
        while let Some(page) = self.page(after, until).await? {
            for LedgerEntry { sequence, record } in &page {
                let at = sequence.saturating_sub(1);
                let byte = usize::try_from(at / 8).ok().and_then(|at| bits.get(at)).copied().unwrap_or(0);
                if byte >> (at % 8) & 1 == 1 {
                    root.push(line_hash(genesis, gateway, *sequence, record));
                }
            }
            after = page.last().map_or(until, |entry| entry.sequence);
        }
        Ok(Found { says: root.of(until), bits })
    }

    /// The next lines, up to `until`; `None` behind the last.
    async fn page(&self, after: u64, until: u64) -> Result<Option<Vec<LedgerEntry>>, MetaError> {
        let mut page = self.meta.ledger_rows(after, PAGE).await?;
        page.retain(|entry| entry.sequence <= until);
        Ok((!page.is_empty()).then_some(page))
    }
}
