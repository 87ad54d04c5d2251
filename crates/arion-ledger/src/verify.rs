//! Verifies a gateway's ledger from its bytes, its anchors and the maps of the chain: nobody has to be asked.
//!
//! # Invariants
//! - Every finding names the line that proves it; [`Ledger::prove`] shows that line to whoever has only the anchor.
//! - A shard counts once, however often it was stored: at one miner twice is a finding, at another miner a move.
//! - A live shard has a miner that has signed for it and was not released: a line that releases the last one is a finding, and
//!   releases nobody.
//! - What a miner is said to have served is in periods that do not overlap, of a miner that there is.
//! - Bounded by the ledger: at most [`FINDINGS_MAX`] findings are listed, all are counted.

use std::collections::{BTreeMap, HashMap, HashSet, hash_map::Entry};

use arion_chain::marketplace::COMMITMENTS_MAX;
use arion_proofs::merkle::{self, Hash};
use arion_protocol::{LedgerRecord, Served};
use arion_types::{NodeId, ShardHash};

use crate::{
    receipt::{ReceiptChecker, ReceiptFault},
    segment::Ledger,
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

/// Verifies a ledger against its anchors. Receipts are checked for the chain of the checker.
pub fn verify(ledger: &Ledger, anchors: &[Anchor], checker: &mut ReceiptChecker) -> Report {
    let mut walk = Walk::default();
    let mut bytes_behind = vec![0u64];
    for (record, line) in ledger.lines().iter().zip(1u64..) {
        match record {
            LedgerRecord::Stored(signed) => {
                let receipt = &signed.receipt;
                match checker.check(signed) {
                    Ok(()) => walk.store(line, receipt.shard, receipt.node_id, receipt.size),
                    Err(fault) => {
                        walk.found(line, Fault::Receipt(fault));
                        // Nobody can say that it was not live.
                        if fault == ReceiptFault::EpochGone && checker.is_signed(signed) {
                            walk.keep(line, receipt.shard, receipt.node_id, receipt.size);
                        }
                    }
                }
            }
            LedgerRecord::Deleted { shard } => walk.delete(line, shard),
            LedgerRecord::Released { shard, miner } => walk.release(line, shard, miner),
            LedgerRecord::Served(served) => walk.serve(line, served, checker),
        }
        bytes_behind.push(walk.bytes);
    }
    let hashes = ledger.hashes();
    for anchor in anchors {
        walk.anchor(anchor, &hashes, &bytes_behind, ledger.lines());
    }
    let (served_bytes, served_counted) = walk.served();
    let mut findings = walk.findings;
    findings.sort_by_key(|finding| finding.line);
    findings.truncate(FINDINGS_MAX);
    Report {
        lines: hashes.len() as u64,
        root: merkle::root(&hashes),
        live_shards: walk.live.len() as u64,
        live_bytes: walk.bytes,
        served_bytes,
        served_counted,
        findings,
        found: walk.count,
    }
}

#[derive(Default)]
struct Walk {
    live: HashMap<ShardHash, Live>,
    bytes: u64,
    /// Miners that have signed.
    signers: HashSet<NodeId>,
    statements: BTreeMap<NodeId, Statements>,
    findings: Vec<Finding>,
    count: u64,
}

impl Walk {
    fn found(&mut self, line: u64, fault: Fault) {
        self.count += 1;
        // Those of anchors come last and are few; they are not crowded out by those of lines.
        if self.findings.len() < FINDINGS_MAX
            || matches!(fault, Fault::Overbilled { .. } | Fault::Root { .. })
        {
            self.findings.push(Finding { line, fault });
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
        if !self.signers.contains(&served.miner) && !checker.is_miner(&served.miner) {
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

    fn anchor(&mut self, anchor: &Anchor, hashes: &[Hash], behind: &[u64], lines: &[LedgerRecord]) {
        let Anchor { sequence, root, bytes: claimed } = *anchor;
        let covered = usize::try_from(sequence).ok();
        let Some((covered, hashes)) = covered.and_then(|n| Some((n, hashes.get(..n)?))) else {
            return self.found(hashes.len() as u64, Fault::Missing { sequence });
        };
        if merkle::root(hashes) != root {
            self.found(sequence, Fault::Root { sequence });
        }
        let live = behind.get(covered).copied().unwrap_or(0);
        if claimed > live {
            // Since the last line behind which there was as much as is claimed, something was deleted.
            let enough = (0..=covered).rev().find(|n| behind.get(*n).is_some_and(|bytes| *bytes >= claimed));
            let is_deletion = |n: &usize| {
                n.checked_sub(1)
                    .and_then(|at| lines.get(at))
                    .is_some_and(|line| matches!(line, LedgerRecord::Deleted { .. }))
            };
            let line = enough.and_then(|enough| (enough + 1..=covered).find(is_deletion)).unwrap_or(covered);
            self.found(line as u64, Fault::Overbilled { sequence, claimed, live });
        }
    }
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
