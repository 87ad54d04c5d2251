//! What is printed of a ledger.

use arion_daemon::line;
use arion_ledger::{Anchor, Report};
use arion_protocol::{Compacted, LedgerRecord, Served};
use codec::Encode;
use serde::Serialize;

use super::Found;
use crate::command::{print_json, size};

/// Findings that are printed.
pub(super) const PRINTED_MAX: usize = 100;

/// A line as it is printed.
#[derive(Serialize)]
pub(super) struct Line {
    sequence: u64,
    /// What it says: `stored`, `deleted`, `released`, `served` or `compacted`.
    kind: &'static str,
    is_deletion: bool,
    /// None where it says what a miner served.
    shard: Option<String>,
    size_bytes: Option<u32>,
    epoch: Option<u64>,
    miner: Option<String>,
    served: Option<ToldServed>,
    compacted: Option<ToldCompacted>,
}

/// What a miner served.
#[derive(Serialize)]
pub(super) struct ToldServed {
    bytes: u64,
    /// Milliseconds since the Unix epoch.
    from: u64,
    until: u64,
}

/// What is kept of the lines before.
#[derive(Serialize)]
pub(super) struct ToldCompacted {
    /// Of the lines up to here.
    until: u64,
    lines: u64,
    root: String,
}

impl Line {
    pub(super) fn new(sequence: u64, record: &LedgerRecord) -> Self {
        let (kind, shard, receipt, miner) = match record {
            LedgerRecord::Stored(signed) => {
                let receipt = &signed.receipt;
                ("stored", Some(receipt.shard), Some(receipt), Some(receipt.node_id))
            }
            LedgerRecord::Deleted { shard } => ("deleted", Some(*shard), None, None),
            LedgerRecord::Released { shard, miner } => ("released", Some(*shard), None, Some(*miner)),
            LedgerRecord::Served(served) => ("served", None, None, Some(served.miner)),
            LedgerRecord::Compacted(_) => ("compacted", None, None, None),
        };
        let served = match record {
            LedgerRecord::Served(Served { from, until, bytes, .. }) => {
                Some(ToldServed { bytes: *bytes, from: *from, until: *until })
            }
            _ => None,
        };
        let compacted = match record {
            LedgerRecord::Compacted(Compacted { until, root, lines }) => {
                Some(ToldCompacted { until: *until, lines: *lines, root: hex::encode(root) })
            }
            _ => None,
        };
        Self {
            sequence,
            kind,
            is_deletion: matches!(record, LedgerRecord::Deleted { .. }),
            shard: shard.map(|shard| shard.to_string()),
            size_bytes: receipt.map(|receipt| receipt.size),
            epoch: receipt.map(|receipt| receipt.epoch),
            miner: miner.map(|miner| miner.to_string()),
            served,
            compacted,
        }
    }

    /// For people.
    pub(super) fn print(&self) -> anyhow::Result<()> {
        let (sequence, kind) = (self.sequence, self.kind);
        let shard = self.shard.as_deref().unwrap_or("");
        if let Some(ToldCompacted { until, lines, root }) = &self.compacted {
            line!("{sequence:>10} {kind:<8} {lines} lines up to {until} are kept, root {root}");
            return Ok(());
        }
        if let (Some(ToldServed { bytes, from, until }), Some(miner)) = (&self.served, &self.miner) {
            line!("{sequence:>10} {kind:<8} {miner} {bytes} bytes from {from} to {until}");
            return Ok(());
        }
        match (self.size_bytes, self.epoch, &self.miner) {
            (Some(bytes), Some(epoch), Some(miner)) => {
                line!("{sequence:>10} {kind:<8} {shard} {bytes:>8} epoch {epoch} {miner}");
            }
            (.., Some(miner)) => line!("{sequence:>10} {kind:<8} {shard} {miner}"),
            _ => line!("{sequence:>10} {kind:<8} {shard}"),
        }
        Ok(())
    }
}

/// What a ledger comes to, as it is printed.
#[derive(Serialize)]
pub(super) struct Told {
    lines: u64,
    root: String,
    live_shards: u64,
    live_bytes: u64,
    /// What miners are said to have served in the last day that is told of, and what of it counts.
    served_bytes: u64,
    served_counted: u64,
    /// Of the lines up to here there are those that were kept; 0 where all are there.
    compacted_until: u64,
    anchors: usize,
    /// Of these, those that cover less than what was compacted: the lines to compare them with are gone.
    anchors_not_compared: u64,
    /// Commitments to more lines than there are segments for, and how many lines the newest of them covers.
    unchecked_anchors: usize,
    unchecked_lines: Option<u64>,
    pub(super) anchored_lines: Option<u64>,
    anchored_bytes: Option<u64>,
    pub(super) found: u64,
    pub(super) findings: Vec<ToldFinding>,
}

/// A finding with the line that proves it.
#[derive(Serialize)]
pub(super) struct ToldFinding {
    line: Line,
    fault: String,
    /// SCALE of `arion_ledger::LineProof` under `root`, hex.
    pub(super) proof: Option<String>,
}

/// Proofs take time in the length of the ledger each.
pub(super) fn told(
    ledger: &Found,
    report: &Report,
    (anchors, unchecked): (&[Anchor], &[Anchor]),
    with_proofs: bool,
) -> Told {
    let hashes = if with_proofs { ledger.hashes() } else { Vec::new() };
    let findings = report.findings.iter().take(PRINTED_MAX).filter_map(|finding| {
        let record = ledger.line(finding.line)?;
        let proof = ledger.prove(&hashes, finding.line).map(|proof| hex::encode(proof.encode()));
        Some(ToldFinding { line: Line::new(finding.line, record), fault: finding.fault.to_string(), proof })
    });
    Told {
        lines: report.lines,
        root: hex::encode(report.root),
        live_shards: report.live_shards,
        live_bytes: report.live_bytes,
        served_bytes: report.served_bytes,
        served_counted: report.served_counted,
        compacted_until: report.base,
        anchors_not_compared: report.not_compared,
        anchors: anchors.len(),
        unchecked_anchors: unchecked.len(),
        unchecked_lines: unchecked.iter().map(|anchor| anchor.sequence).max(),
        anchored_lines: anchors.iter().map(|anchor| anchor.sequence).max(),
        anchored_bytes: anchors.iter().max_by_key(|anchor| anchor.sequence).map(|anchor| anchor.bytes),
        found: report.found,
        findings: findings.collect(),
    }
}

pub(super) fn tell(told: &Told, json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(told);
    }
    line!("lines     {}", told.lines);
    line!("root      {}", told.root);
    line!("live      {} shards, {}", told.live_shards, size(told.live_bytes));
    line!("served    {} in a day, of which {} count", size(told.served_bytes), size(told.served_counted));
    match told.anchored_lines.zip(told.anchored_bytes) {
        Some((lines, bytes)) => {
            line!(
                "anchored  up to line {lines}, {}; {} commitments compared",
                size(bytes),
                told.anchors as u64 - told.anchors_not_compared
            );
        }
        None if told.unchecked_anchors > 0 => line!("anchored  nothing of these lines"),
        None => line!("anchored  nothing: the gateway has committed to no ledger on chain"),
    }
    if told.compacted_until > 0 {
        line!(
            "compacted up to line {}: of the lines before, what was kept is what the ledger says; {} commitments to less cannot be compared any more",
            told.compacted_until,
            told.anchors_not_compared
        );
    }
    if let Some(lines) = told.unchecked_lines {
        let anchors = told.unchecked_anchors;
        line!(
            "unchecked {anchors} commitments, the newest up to line {lines}: the segments end at line {}; with the gateway's address the lines behind are asked for",
            told.lines
        );
    }
    line!("findings  {}", told.found);
    for ToldFinding { line, fault, .. } in &told.findings {
        match (&line.shard, &line.miner) {
            (Some(shard), _) => line!("  line {}, shard {shard}: {fault}", line.sequence),
            (None, Some(miner)) => line!("  line {}, miner {miner}: {fault}", line.sequence),
            (None, None) => line!("  line {}: {fault}", line.sequence),
        }
    }
    if told.found > told.findings.len() as u64 {
        line!("  and {} more", told.found - told.findings.len() as u64);
    }
    Ok(())
}
