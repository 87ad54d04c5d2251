//! Compaction: which lines of a ledger have to be kept, and ledgers of which the others are gone.
//!
//! A line of the kind [`Compacted`] says of the lines up to a certain one which root those have that are kept. What is kept follows from these lines
//! alone ([`Keeping`]): whoever has them all sees whether the line is true ([`verify`](crate::verify())).
//!
//! # Invariants
//! - What is kept of a ledger is what is kept of what was kept of its beginning and of the lines behind: compacting twice is
//!   compacting once.
//! - Every receipt is kept whose shard was not deleted, and whose miner was not released from it, since.
//!
//! Specified in docs/spec/ledger.md, "Compaction"; frozen by vectors/ledger.json.

use std::collections::HashMap;

use arion_proofs::merkle::{Hash, Peaks};
use arion_protocol::{Compacted, LedgerBase, LedgerEntry, LedgerRecord};
use arion_types::{GenesisHash, NodeId, ShardHash};

use crate::segment::{SEGMENT_LINES, line_hash};

/// Statements are kept that end no longer before the newest one than this, in milliseconds: twice of what counts
/// ([`HOURS`](crate::served::HOURS)).
pub const SERVED_KEPT_MS: u64 = 48 * 3_600_000;
/// No ledger is longer: the numbers of commitments on chain have no more room.
const LINES_MAX: u64 = 1 << 48;

/// Finds what has to be kept of lines that are taken one after the other.
#[derive(Clone, Debug, Default)]
pub struct Keeping {
    /// Which shards are looked at, of how many parts: all, where there are fewer than two.
    part: (u64, u64),
    /// Lines that brought what is live, with their miners.
    live: HashMap<ShardHash, Vec<(NodeId, u64)>>,
    /// Statements: the line, and when the period ends.
    served: Vec<(u64, u64)>,
    newest: u64,
    /// Statements left when they were last looked through.
    recent: usize,
}

impl Keeping {
    /// Looks at one of several parts of the shards only, from 0, for want of memory: all parts together keep what is kept.
    pub fn part(number: u64, of: u64) -> Self {
        Self { part: (number, of), ..Self::default() }
    }

    fn is_mine(&self, shard: &ShardHash) -> bool {
        let (number, of) = self.part;
        let [a, b, c, d, e, f, g, h, ..] = shard.0;
        of < 2 || u64::from_le_bytes([a, b, c, d, e, f, g, h]) % of == number
    }

    /// The next line. Lines that were not kept before may be left out.
    pub fn take(&mut self, line: u64, record: &LedgerRecord) {
        match record {
            LedgerRecord::Stored(signed) => {
                let receipt = &signed.receipt;
                if self.is_mine(&receipt.shard) {
                    self.live.entry(receipt.shard).or_default().push((receipt.node_id, line));
                }
            }
            LedgerRecord::Deleted { shard } => drop(self.live.remove(shard)),
            LedgerRecord::Released { shard, miner } => {
                if let Some(holders) = self.live.get_mut(shard)
                    && holders.iter().any(|(node, _)| node != miner)
                {
                    holders.retain(|(node, _)| node != miner);
                }
            }
            LedgerRecord::Served(served) if self.part.0 == 0 => {
                self.newest = self.newest.max(served.until);
                self.served.push((line, served.until));
                if self.served.len() > 2 * self.recent + 1_024 {
                    self.forget_old();
                    self.recent = self.served.len();
                }
            }
            LedgerRecord::Served(_) | LedgerRecord::Compacted(_) => {}
        }
    }

    fn forget_old(&mut self) {
        let newest = self.newest;
        self.served.retain(|(_, until)| until.saturating_add(SERVED_KEPT_MS) >= newest);
    }

    /// The numbers of the lines that are kept of those that were taken, in order.
    pub fn lines(&mut self) -> Vec<u64> {
        self.forget_old();
        let stored = self.live.values().flatten().map(|(_, line)| *line);
        let mut lines: Vec<u64> = stored.chain(self.served.iter().map(|(line, _)| *line)).collect();
        lines.sort_unstable();
        lines
    }
}

/// Whether a line can speak of the lines up to `until`.
pub fn is_until(until: u64, line: u64) -> bool {
    until > 0 && until.is_multiple_of(u64::from(SEGMENT_LINES)) && until < line && line < LINES_MAX
}

/// Why a gateway does not give what it says was kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BaseFault {
    /// There is no such base.
    #[error("it says that lines up to {until} were dropped, by line {line}, which cannot be")]
    Form {
        /// Up to where.
        until: u64,
        /// Which line is to say so.
        line: u64,
    },
    /// The line is another one.
    #[error("it says that lines up to {until} were dropped, and line {line} does not say so")]
    Line {
        /// Up to where.
        until: u64,
        /// Which line is to say so.
        line: u64,
    },
    /// The lines are not those of which the line speaks.
    #[error(
        "what it gives of the lines up to {until} is not what line {line} says is kept: some were left out, changed or brought back"
    )]
    Kept {
        /// Up to where.
        until: u64,
        /// Which line says so.
        line: u64,
    },
}

/// Whether there can be such a base.
pub fn check_base(base: &LedgerBase) -> Result<(), BaseFault> {
    let LedgerBase { peaks, until, line } = base;
    match is_until(*until, *line) && peaks.len() == until.count_ones() as usize {
        true => Ok(()),
        false => Err(BaseFault::Form { until: *until, line: *line }),
    }
}

/// What an entry says that has to be the line of a base.
pub fn statement(base: &LedgerBase, found: Option<&LedgerEntry>) -> Result<Compacted, BaseFault> {
    let LedgerBase { until, line, .. } = *base;
    match found {
        Some(LedgerEntry { sequence, record: LedgerRecord::Compacted(says) })
            if *sequence == line && says.until == until =>
        {
            Ok(*says)
        }
        _ => Err(BaseFault::Line { until, line }),
    }
}

/// A ledger of which lines were dropped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CompactedLedger {
    pub(crate) genesis: GenesisHash,
    pub(crate) gateway: NodeId,
    /// The last line of which others may be missing before it.
    pub(crate) until: u64,
    /// The line that says what is kept.
    pub(crate) line: u64,
    pub(crate) peaks: Peaks,
    pub(crate) kept: Vec<LedgerEntry>,
    /// Those behind, without gaps.
    pub(crate) lines: Vec<LedgerRecord>,
}

impl CompactedLedger {
    /// From what was kept up to the base, and all lines behind it. Whether its peaks are right shows with the first anchor.
    pub fn new(
        genesis: GenesisHash,
        gateway: NodeId,
        base: LedgerBase,
        kept: Vec<LedgerEntry>,
        lines: Vec<LedgerRecord>,
    ) -> Result<Self, BaseFault> {
        check_base(&base)?;
        let LedgerBase { until, line, .. } = base;
        let at = usize::try_from(line - until - 1).ok();
        let found =
            at.and_then(|at| lines.get(at)).map(|record| LedgerEntry { sequence: line, record: *record });
        let says = statement(&base, found.as_ref())?;
        let mut seen = KeptRoot::default();
        let mut before = 0;
        for LedgerEntry { sequence, record } in &kept {
            if *sequence <= before || *sequence > until {
                return Err(BaseFault::Kept { until, line });
            }
            before = *sequence;
            seen.push(line_hash(&genesis, &gateway, *sequence, record));
        }
        if seen.of(until) != says {
            return Err(BaseFault::Kept { until, line });
        }
        let peaks = Peaks::of(until, base.peaks).ok_or(BaseFault::Form { until, line })?;
        Ok(Self { genesis, gateway, until, line, peaks, kept, lines })
    }

    /// Hash of block 0 of the chain.
    pub fn genesis(&self) -> GenesisHash {
        self.genesis
    }

    /// The last line of which others may be missing before it.
    pub fn until(&self) -> u64 {
        self.until
    }

    /// Number of the last line.
    pub fn len(&self) -> u64 {
        self.until + self.lines.len() as u64
    }

    /// Whether there is no line: never.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The lines that are there, in order, with their numbers.
    pub fn lines(&self) -> impl Iterator<Item = (u64, &LedgerRecord)> {
        let kept = self.kept.iter().map(|entry| (entry.sequence, &entry.record));
        kept.chain((self.until + 1..).zip(&self.lines))
    }

    /// A line, if it is there.
    pub fn line(&self, sequence: u64) -> Option<&LedgerRecord> {
        if sequence > self.until {
            return self.lines.get(usize::try_from(sequence - self.until - 1).ok()?);
        }
        let at = self.kept.binary_search_by_key(&sequence, |entry| entry.sequence).ok()?;
        self.kept.get(at).map(|entry| &entry.record)
    }
}

/// The number and the root of lines that are kept.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct KeptRoot(Peaks);

impl KeptRoot {
    /// The next line that is kept, by its hash.
    pub fn push(&mut self, hash: Hash) {
        self.0.push(hash);
    }

    /// What a line says about them.
    pub fn of(&self, until: u64) -> Compacted {
        Compacted { until, root: self.0.root(), lines: self.0.count() }
    }
}

#[cfg(test)]
#[path = "compact_tests.rs"]
mod tests;
