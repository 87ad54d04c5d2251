//! What is said of a bundle.

use std::collections::BTreeMap;

use arion_bundle::{MinerVerdict, Place};
use arion_chain::{CommittedEpoch, ss58};
use arion_daemon::line;
use serde::Serialize;

use super::Outcome;
use crate::command::{print_json, size};

/// Faults that are printed.
const PRINTED_MAX: usize = 100;

/// What is printed.
#[derive(Serialize)]
pub(super) struct Told {
    epoch: u64,
    content_hash: String,
    submitter: String,
    submitted_at: u32,
    read_at: u32,
    parts: usize,
    bytes: u64,
    attestations: u32,
    with_exhibit: u32,
    wardens: usize,
    miners: Vec<ToldMiner>,
    buckets: usize,
    buckets_compared: usize,
    /// Whether the chain was compared as it was when the bundle was made.
    compared_exactly: bool,
    /// On chain now and not in the bundle: they came to the chain when it was made.
    late: u64,
    /// The same, but nobody can say when they came.
    undecided: u64,
    pub(super) found: u64,
    faults: Vec<ToldFault>,
    holds: bool,
}

#[derive(Serialize)]
struct ToldMiner {
    node_id: Option<String>,
    #[serde(flatten)]
    verdict: MinerVerdict,
}

#[derive(Serialize)]
struct ToldFault {
    place: Place,
    text: String,
}

impl Told {
    pub(super) fn new(
        epoch: u64,
        content_hash: &[u8; 32],
        committed: &CommittedEpoch,
        nodes: &BTreeMap<u32, [u8; 32]>,
        outcome: Outcome,
    ) -> Self {
        let Outcome { report, parts, bytes, read_at, compared, is_exact, undecided } = outcome;
        let faults = report.faults.iter().take(PRINTED_MAX);
        Self {
            epoch,
            content_hash: hex::encode(content_hash),
            submitter: ss58(&committed.submitter),
            submitted_at: committed.submitted_at,
            read_at: read_at.number,
            parts,
            bytes,
            attestations: report.attestations,
            with_exhibit: report.exhibits,
            wardens: report.wardens,
            miners: report
                .miners
                .into_iter()
                .map(|verdict| ToldMiner { node_id: nodes.get(&verdict.uid).map(hex::encode), verdict })
                .collect(),
            buckets: compared.1,
            buckets_compared: compared.0,
            compared_exactly: is_exact,
            late: report.late,
            undecided,
            found: report.found,
            faults: faults.map(|fault| ToldFault { place: fault.place, text: fault.to_string() }).collect(),
            holds: report.found == 0,
        }
    }

    pub(super) fn tell(&self, json: bool) -> anyhow::Result<()> {
        if json {
            return print_json(self);
        }
        line!("epoch         {}", self.epoch);
        line!("bundle        {}, {} in {} parts", self.content_hash, size(self.bytes), self.parts);
        line!("committed     in block {} by {}", self.submitted_at, self.submitter);
        line!(
            "attestations  {} of {} wardens, {} with the miner's answer",
            self.attestations,
            self.wardens,
            self.with_exhibit
        );
        let when = match self.compared_exactly {
            true => format!("as of block {}, when the bundle was made", self.read_at),
            false => format!("as they are now; the bundle was made at block {}", self.read_at),
        };
        line!("on chain      {} of {} buckets compared, {when}", self.buckets_compared, self.buckets);
        if self.late > 0 {
            line!("              {} more came later than the bundle", self.late);
        }
        if self.undecided > 0 {
            line!(
                "              {} more are on chain now: only a node with the state of block {} tells whether they came later",
                self.undecided,
                self.read_at
            );
        }
        line!(
            "{:>6} {:>8} {:>7} {:>8} {:>8} {:>8} {:>8} node id",
            "miner",
            "passed",
            "failed",
            "timeout",
            "invalid",
            "shown",
            "doubtful"
        );
        for ToldMiner { node_id, verdict } in &self.miners {
            line!(
                "{:>6} {:>8} {:>7} {:>8} {:>8} {:>8} {:>8} {}",
                verdict.uid,
                verdict.passed,
                verdict.failed,
                verdict.timeouts,
                verdict.invalid_proofs,
                verdict.shown,
                verdict.doubtful,
                node_id.as_deref().unwrap_or("in no map")
            );
        }
        line!("found         {}", self.found);
        for fault in &self.faults {
            line!("  {}", fault.text);
        }
        if self.found > self.faults.len() as u64 {
            line!("  and {} more", self.found - self.faults.len() as u64);
        }
        line!("verdict       {}", if self.holds { "ok" } else { "DOES NOT HOLD" });
        Ok(())
    }
}
