//! Verifies a gateway's ledger from its bytes, its anchors and the maps of the chain: nobody has to be asked.
//!
//! # Invariants
//! - Every finding names the line that proves it; [`Ledger::prove`] shows that line to whoever has only the anchor.
//! - A shard counts once, however often it was stored: at one miner twice is a finding, at another miner a move.
//! - A live shard has a miner that has signed for it and was not released: a line that releases the last one is a finding, and
//!   releases nobody.
//! - What a miner is said to have served is in periods that do not overlap, of a miner that there is.
//! - Of a ledger that was compacted, nothing is found for want of lines that were dropped; what is left of them has the root that its line
//!   says.
//! - Bounded by the ledger: at most [`FINDINGS_MAX`] findings are listed, all are counted.

use std::collections::{BTreeMap, HashMap, HashSet, hash_map::Entry};

use arion_chain::marketplace::COMMITMENTS_MAX;
use arion_proofs::merkle::{Hash, Peaks};
use arion_protocol::{Compacted, LedgerEntry, LedgerRecord, Served};
use arion_types::{GenesisHash, NodeId, ShardHash};

use crate::{
    compact::{CompactedLedger, Keeping, KeptRoot, is_until},
    receipt::{ReceiptChecker, ReceiptFault},
    segment::{Ledger, line_hash},
    served::{ServedFault, Statements},
};

/// Findings that are listed.
pub const FINDINGS_MAX: usize = 10_000;

/// What a gateway had anchored on chain (`Marketplace.commit_usage`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Anchor {
    /// Number of lines that it covers.
    pub sequence: u64,
    /// Root over them.
    pub root: Hash,
    /// Live bytes behind them, as the gateway says.
    pub bytes: u64,
}

impl Anchor {
    /// From a commitment on chain: the lower 16 bits of its number tell commitments to the same lines apart.
    pub fn of_commitment(number: u64, root: Hash, bytes: u64) -> Self {
        Self { sequence: number / COMMITMENTS_MAX, root, bytes }
    }
}

/// The number of a commitment to so many lines, greater than that of the one before; `None` if there is none.
pub fn commitment_number(lines: u64, before: Option<u64>) -> Option<u64> {
    let first = lines.checked_mul(COMMITMENTS_MAX)?;
    match before {
        Some(before) if before >= first => {
            before.checked_add(1).filter(|number| number / COMMITMENTS_MAX == lines)
        }
        _ => Some(first),
    }
}

/// What is wrong with a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Fault {
    /// The receipt does not hold.
    #[error("the receipt does not count: {0}")]
    Receipt(ReceiptFault),
    /// The miner has the shard already, by an earlier line.
    #[error("the shard is there twice: line {first} has it from the same miner")]
    Doubled {
        /// The earlier line.
        first: u64,
    },
    /// Another length than an earlier line says of the same shard.
    #[error("line {first} names another length for the same shard")]
    Length {
        /// The earlier line.
        first: u64,
    },
    /// The shard deleted was not there.
    #[error("the shard that is deleted is not there")]
    NothingToDelete,
    /// The miner released has no line that the shard is on it, or was released since.
    #[error("the miner that is released does not have the shard by any line")]
    NothingToRelease,
    /// No other miner has the shard.
    #[error("the miner that is released is the only one that has the shard")]
    Unreplaced,
    /// A miner is said to have served what it cannot have.
    #[error("what the miner is said to have served does not count: {0}")]
    Served(ServedFault),
    /// Nobody knows the miner that is said to have served.
    #[error(
        "the miner that is said to have served is in no map that the chain keeps, and has no line before"
    )]
    NoMiner,
    /// What is said to be kept of the lines before is not what follows from them.
    #[error("what is said to be kept of the lines up to {until} is not what follows from them")]
    Compacted {
        /// Up to where.
        until: u64,
    },
    /// The lines up to here do not have the anchored root.
    #[error("the anchor at {sequence} has another root than the lines it covers")]
    Root {
        /// Sequence number of the anchor.
        sequence: u64,
    },
    /// The anchor covers more lines than there are.
    #[error("the anchor at {sequence} covers lines that are missing")]
    Missing {
        /// Sequence number of the anchor.
        sequence: u64,
    },
    /// Billed is more than is live; the line deletes the first of what is billed nevertheless, or is the last covered
    /// one where there never was as much.
    #[error("the anchor at {sequence} claims {claimed} live bytes where there are {live}")]
    Overbilled {
        /// Sequence number of the anchor.
        sequence: u64,
        /// Live bytes by the anchor.
        claimed: u64,
        /// Live bytes by the lines.
        live: u64,
    },
}

/// A fault and the line that proves it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Finding {
    /// The line.
    pub line: u64,
    /// What is wrong.
    pub fault: Fault,
}

/// What a ledger comes to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// Number of lines.
    pub lines: u64,
    /// Root over all of them.
    pub root: Hash,
    /// Shards that are live behind the last line, by receipts that hold or of which nothing can be said any more.
    pub live_shards: u64,
    /// Their bytes.
    pub live_bytes: u64,
    /// Bytes that miners are said to have served in the day before the newest such line.
    pub served_bytes: u64,
    /// What of that counts: of each miner no more than is live on it.
    pub served_counted: u64,
    /// Of the lines up to here there are only those that were kept; 0 where all lines are there.
    pub base: u64,
    /// Anchors that cover no more than a part of the lines up to there: nothing is left that they could be compared with.
    pub not_compared: u64,
    /// The first [`FINDINGS_MAX`] findings, in order of their lines.
    pub findings: Vec<Finding>,
    /// All findings.
    pub found: u64,
}

/// A live shard: its length, the line that brought it, and the miners that have it with their lines.
struct Live {
    size: u32,
    first: u64,
    miners: BTreeMap<NodeId, u64>,
}

/// What there is of a ledger.
struct View<'a> {
    genesis: &'a GenesisHash,
    gateway: &'a NodeId,
    /// Up to where lines may be missing, and the peaks there.
    until: u64,
    peaks: Peaks,
    kept: &'a [LedgerEntry],
    /// Those behind.
    lines: &'a [LedgerRecord],
}

impl View<'_> {
    fn len(&self) -> u64 {
        self.until + self.lines.len() as u64
    }

    fn kept(&self) -> impl Iterator<Item = (u64, &LedgerRecord)> {
        self.kept.iter().map(|entry| (entry.sequence, &entry.record))
    }

    fn behind(&self) -> impl Iterator<Item = (u64, &LedgerRecord)> {
        (self.until + 1..).zip(self.lines)
    }

    fn record(&self, line: u64) -> Option<&LedgerRecord> {
        if let Some(at) = line.checked_sub(self.until + 1) {
            return self.lines.get(usize::try_from(at).ok()?);
        }
        let at = self.kept.binary_search_by_key(&line, |entry| entry.sequence).ok()?;
        self.kept.get(at).map(|entry| &entry.record)
    }

    fn kept_root(&self, lines: Vec<u64>) -> KeptRoot {
        let mut root = KeptRoot::default();
        for line in lines {
            if let Some(record) = self.record(line) {
                root.push(line_hash(self.genesis, self.gateway, line, record));
            }
        }
        root
    }

    /// The lines behind that speak of lines of which none is missing.
    fn statements(&self) -> Vec<(u64, Compacted)> {
        let said = self.behind().filter_map(|(line, record)| match record {
            LedgerRecord::Compacted(says) => Some((line, *says)),
            _ => None,
        });
        said.filter(|(_, says)| self.until == 0 || says.until > self.until).collect()
    }
}

/// Verifies a ledger against its anchors. Receipts are checked for the chain of the checker.
pub fn verify(ledger: &Ledger, anchors: &[Anchor], checker: &mut ReceiptChecker) -> Report {
    let (genesis, gateway) = (&ledger.genesis(), &ledger.gateway());
    let peaks = Peaks::default();
    walk(View { genesis, gateway, until: 0, peaks, kept: &[], lines: ledger.lines() }, anchors, checker)
}

/// Verifies what is left of a ledger that was compacted.
pub fn verify_compacted(
    ledger: &CompactedLedger,
    anchors: &[Anchor],
    checker: &mut ReceiptChecker,
) -> Report {
    let CompactedLedger { genesis, gateway, until, peaks, kept, lines, .. } = ledger;
    walk(View { genesis, gateway, until: *until, peaks: peaks.clone(), kept, lines }, anchors, checker)
}

fn walk(view: View<'_>, anchors: &[Anchor], checker: &mut ReceiptChecker) -> Report {
    let mut walk = Walk { is_whole: view.until == 0, ..Walk::default() };
    for (line, record) in view.kept() {
        walk.take(line, record, checker);
    }
    let (mut peaks, mut behind) = (view.peaks.clone(), Behind::new(&view, walk.bytes));
    let asked: HashSet<u64> = anchors.iter().map(|anchor| anchor.sequence).collect();
    behind.roots.insert(view.until, peaks.root());
    for (line, record) in view.behind() {
        walk.take(line, record, checker);
        behind.bytes.push(walk.bytes);
        peaks.push(line_hash(view.genesis, view.gateway, line, record));
        if asked.contains(&line) {
            behind.roots.insert(line, peaks.root());
        }
    }
    for anchor in anchors {
        walk.anchor(anchor, &behind);
    }
    walk.compactions(&view);
    let (served_bytes, served_counted) = walk.served();
    let mut findings = walk.findings;
    findings.sort_by_key(|finding| finding.line);
    findings.truncate(FINDINGS_MAX);
    Report {
        lines: view.len(),
        root: peaks.root(),
        live_shards: walk.live.len() as u64,
        live_bytes: walk.bytes,
        served_bytes,
        served_counted,
        base: view.until,
        not_compared: walk.not_compared,
        findings,
        found: walk.count,
    }
}

/// What there was behind lines, from the first of which none behind is missing.
struct Behind<'a> {
    until: u64,
    lines: &'a [LedgerRecord],
    /// Live bytes behind each line.
    bytes: Vec<u64>,
    /// Of the lines that anchors are at.
    roots: HashMap<u64, Hash>,
}

impl<'a> Behind<'a> {
    fn new(view: &View<'a>, bytes: u64) -> Self {
        Self { until: view.until, lines: view.lines, bytes: vec![bytes], roots: HashMap::new() }
    }
}

#[derive(Default)]
struct Walk {
    /// No line is missing.
    is_whole: bool,
    live: HashMap<ShardHash, Live>,
    bytes: u64,
    /// Miners that have signed.
    signers: HashSet<NodeId>,
    statements: BTreeMap<NodeId, Statements>,
    not_compared: u64,
    findings: Vec<Finding>,
    count: u64,
}

impl Walk {
    fn found(&mut self, line: u64, fault: Fault) {
        self.count += 1;
        // Those of anchors come last and are few; they are not crowded out by those of lines.
        if self.findings.len() < FINDINGS_MAX
            || matches!(fault, Fault::Overbilled { .. } | Fault::Root { .. } | Fault::Compacted { .. })
        {
            self.findings.push(Finding { line, fault });
        }
    }

    fn take(&mut self, line: u64, record: &LedgerRecord, checker: &mut ReceiptChecker) {
        match record {
            LedgerRecord::Stored(signed) => {
                let receipt = &signed.receipt;
                match checker.check(signed) {
                    Ok(()) => self.store(line, receipt.shard, receipt.node_id, receipt.size),
                    Err(fault) => {
                        self.found(line, Fault::Receipt(fault));
                        // Nobody can say that it was not live.
                        if fault == ReceiptFault::EpochGone && checker.is_signed(signed) {
                            self.keep(line, receipt.shard, receipt.node_id, receipt.size);
                        }
                    }
                }
            }
            LedgerRecord::Deleted { shard } => self.delete(line, shard),
            LedgerRecord::Released { shard, miner } => self.release(line, shard, miner),
            LedgerRecord::Served(served) => self.serve(line, served, checker),
            LedgerRecord::Compacted(_) => {}
        }
    }

    fn store(&mut self, line: u64, shard: ShardHash, node: NodeId, size: u32) {
        self.signers.insert(node);
        let Some(live) = self.live.get_mut(&shard) else {
            self.live.insert(shard, Live { size, first: line, miners: [(node, line)].into() });
            self.bytes = self.bytes.saturating_add(size.into());
            return;
        };
        let fault = match (live.size == size, live.miners.get(&node)) {
            (false, _) => Some(Fault::Length { first: live.first }),
            (true, Some(first)) => Some(Fault::Doubled { first: *first }),
            (true, None) => None,
        };
        live.miners.entry(node).or_insert(line);
        if let Some(fault) = fault {
            self.found(line, fault);
        }
    }

    /// A shard that may be live as well as not.
    fn keep(&mut self, line: u64, shard: ShardHash, node: NodeId, size: u32) {
        self.signers.insert(node);
        let miners = &mut match self.live.entry(shard) {
            Entry::Occupied(live) => live.into_mut(),
            Entry::Vacant(new) => {
                self.bytes = self.bytes.saturating_add(size.into());
                new.insert(Live { size, first: line, miners: BTreeMap::new() })
            }
        }
        .miners;
        miners.entry(node).or_insert(line);
    }

    fn delete(&mut self, line: u64, shard: &ShardHash) {
        match self.live.remove(shard) {
            Some(live) => self.bytes = self.bytes.saturating_sub(live.size.into()),
            None => self.found(line, Fault::NothingToDelete),
        }
    }

    /// The others go on having it: nothing changes in what is live.
    fn release(&mut self, line: u64, shard: &ShardHash, miner: &NodeId) {
        let Some(live) = self.live.get_mut(shard).filter(|live| live.miners.contains_key(miner)) else {
            return self.found(line, Fault::NothingToRelease);
        };
        match live.miners.len() {
            1 => self.found(line, Fault::Unreplaced),
            _ => drop(live.miners.remove(miner)),
        }
    }

    fn serve(&mut self, line: u64, served: &Served, checker: &ReceiptChecker) {
        // Its lines may be among those that were dropped.
        if self.is_whole && !self.signers.contains(&served.miner) && !checker.is_miner(&served.miner) {
            return self.found(line, Fault::NoMiner);
        }
        if let Err(fault) = self.statements.entry(served.miner).or_default().take(served) {
            self.found(line, Fault::Served(fault));
        }
    }

    /// What was stated of the last day, and what of it counts.
    fn served(&self) -> (u64, u64) {
        let mut held = BTreeMap::<&NodeId, u64>::new();
        for live in self.live.values() {
            for miner in live.miners.keys() {
                let bytes = held.entry(miner).or_default();
                *bytes = bytes.saturating_add(live.size.into());
            }
        }
        let now = self.statements.values().map(Statements::until).max().unwrap_or(0);
        self.statements.iter().fold((0u64, 0u64), |(stated, counted), (miner, statements)| {
            let held = held.get(miner).copied().unwrap_or(0);
            (
                stated.saturating_add(statements.of_last_day(now)),
                counted.saturating_add(statements.counted(now, held)),
            )
        })
    }

    fn anchor(&mut self, anchor: &Anchor, behind: &Behind<'_>) {
        let Anchor { sequence, root, bytes: claimed } = *anchor;
        let Some(covered) = sequence.checked_sub(behind.until) else {
            self.not_compared += 1;
            return;
        };
        let covered = usize::try_from(covered).ok().filter(|covered| *covered <= behind.lines.len());
        let Some(covered) = covered else {
            let last = behind.until + behind.lines.len() as u64;
            return self.found(last, Fault::Missing { sequence });
        };
        if behind.roots.get(&sequence) != Some(&root) {
            self.found(sequence, Fault::Root { sequence });
        }
        let bytes = &behind.bytes;
        let live = bytes.get(covered).copied().unwrap_or(0);
        if claimed > live {
            // Since the last line behind which there was as much as is claimed, something was deleted.
            let enough = (0..=covered).rev().find(|n| bytes.get(*n).is_some_and(|bytes| *bytes >= claimed));
            let is_deletion = |n: &usize| {
                n.checked_sub(1)
                    .and_then(|at| behind.lines.get(at))
                    .is_some_and(|line| matches!(line, LedgerRecord::Deleted { .. }))
            };
            let line = enough.and_then(|enough| (enough + 1..=covered).find(is_deletion)).unwrap_or(covered);
            self.found(behind.until + line as u64, Fault::Overbilled { sequence, claimed, live });
        }
    }

    /// Whether lines that say what is kept say what follows from the lines before them.
    fn compactions(&mut self, view: &View<'_>) {
        let mut before = view.until;
        let mut asked: BTreeMap<u64, Vec<(u64, Compacted)>> = BTreeMap::new();
        for (line, says) in view.statements() {
            let until = says.until;
            // Each speaks of more than the one before it, so that what is to be hashed is bounded.
            match is_until(until, line) && until > before {
                true => asked.entry(until).or_default().push((line, says)),
                false => self.found(line, Fault::Compacted { until }),
            }
            before = before.max(until);
        }
        let Some(last) = asked.keys().next_back().copied() else { return };
        let mut keeping = Keeping::default();
        for (line, record) in view.kept().chain(view.behind()).take_while(|(line, _)| *line <= last) {
            keeping.take(line, record);
            let Some(statements) = asked.get(&line) else { continue };
            let kept = view.kept_root(keeping.lines()).of(line);
            for (at, says) in statements {
                if *says != kept {
                    self.found(*at, Fault::Compacted { until: line });
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "verify_tests.rs"]
pub(crate) mod tests;
