//! `arion ledger`: what a gateway had stored and deleted, and whether that is true.

mod published;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use arion_chain::{ChainView, ViewConfig};
use arion_daemon::line;
use arion_ledger::{
    Anchor, Ledger, ReceiptChecker, Report,
    segment::{SEGMENT_LINES, file_name},
    verify,
};
use arion_net::{PeerAddr, Transport};
use arion_protocol::{LedgerRecord, Served, limits::LEDGER_ENTRIES_MAX};
use codec::Encode;
use serde::Serialize;

use super::{PublicPlace, blocking, print_json, size, transport};
use crate::settings::Settings;

pub use published::Whose;
use published::{Published, covered};

/// Lines read at most: some 2 GB of memory.
const LINES_MAX: usize = 10_000_000;
/// More maps than the chain keeps.
const EARLIER_MAPS: usize = 4_096;
/// Findings that are printed.
const PRINTED_MAX: usize = 100;

/// A line as it is printed.
#[derive(Serialize)]
struct Line {
    sequence: u64,
    /// What it says: `stored`, `deleted`, `released` or `served`.
    kind: &'static str,
    is_deletion: bool,
    /// None where it says what a miner served.
    shard: Option<String>,
    size_bytes: Option<u32>,
    epoch: Option<u64>,
    miner: Option<String>,
    served: Option<ToldServed>,
}

/// What a miner served.
#[derive(Serialize)]
struct ToldServed {
    bytes: u64,
    /// Milliseconds since the Unix epoch.
    from: u64,
    until: u64,
}

impl Line {
    fn new(sequence: u64, record: &LedgerRecord) -> Self {
        let (kind, shard, receipt, miner) = match record {
            LedgerRecord::Stored(signed) => {
                let receipt = &signed.receipt;
                ("stored", Some(receipt.shard), Some(receipt), Some(receipt.node_id))
            }
            LedgerRecord::Deleted { shard } => ("deleted", Some(*shard), None, None),
            LedgerRecord::Released { shard, miner } => ("released", Some(*shard), None, Some(*miner)),
            LedgerRecord::Served(served) => ("served", None, None, Some(served.miner)),
        };
        let served = match record {
            LedgerRecord::Served(Served { from, until, bytes, .. }) => {
                Some(ToldServed { bytes: *bytes, from: *from, until: *until })
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
        }
    }
}

/// What a ledger comes to, as it is printed.
#[derive(Serialize)]
struct Told {
    lines: u64,
    root: String,
    live_shards: u64,
    live_bytes: u64,
    /// What miners are said to have served in the last day that is told of, and what of it counts.
    served_bytes: u64,
    served_counted: u64,
    anchors: usize,
    /// Commitments to more lines than there are segments for, and how many lines the newest of them covers.
    unchecked_anchors: usize,
    unchecked_lines: Option<u64>,
    anchored_lines: Option<u64>,
    anchored_bytes: Option<u64>,
    found: u64,
    findings: Vec<ToldFinding>,
}

/// A finding with the line that proves it.
#[derive(Serialize)]
struct ToldFinding {
    line: Line,
    fault: String,
    /// SCALE of `arion_ledger::LineProof` under `root`, hex.
    proof: Option<String>,
}

/// Prints lines behind `after`.
pub async fn ls(
    settings: &Settings,
    whose: Whose,
    segments: Option<PublicPlace>,
    (after, limit): (u64, usize),
    json: bool,
) -> anyhow::Result<ExitCode> {
    let mut lines = Vec::new();
    if let Some(place) = segments {
        let genesis = settings.chain().await?.genesis();
        let first = u32::try_from(after / u64::from(SEGMENT_LINES)).context("no ledger has so many lines")?;
        let skipped = (after % u64::from(SEGMENT_LINES)) as usize;
        let published = Published { place, gateway: whose.node_id, genesis };
        let most = skipped.saturating_add(limit).min(LINES_MAX);
        lines = blocking(move || published.lines(first, most)).await?;
        lines = lines.into_iter().skip(skipped).take(limit).collect();
    }
    let is_short = lines.len() < limit;
    if is_short && (whose.address.is_some() || lines.is_empty()) {
        let (reached, left) = (after + lines.len() as u64, limit - lines.len());
        lines.extend(ask(&whose, reached, left).await?);
    }
    let lines: Vec<Line> =
        lines.iter().zip(after + 1..).map(|(record, sequence)| Line::new(sequence, record)).collect();
    if json {
        print_json(&lines)?;
        return Ok(ExitCode::SUCCESS);
    }
    for line in &lines {
        let (sequence, kind) = (line.sequence, line.kind);
        let shard = line.shard.as_deref().unwrap_or("");
        if let (Some(ToldServed { bytes, from, until }), Some(miner)) = (&line.served, &line.miner) {
            line!("{sequence:>10} {kind:<8} {miner} {bytes} bytes from {from} to {until}");
            continue;
        }
        match (line.size_bytes, line.epoch, &line.miner) {
            (Some(bytes), Some(epoch), Some(miner)) => {
                line!("{sequence:>10} {kind:<8} {shard} {bytes:>8} epoch {epoch} {miner}");
            }
            (.., Some(miner)) => line!("{sequence:>10} {kind:<8} {shard} {miner}"),
            _ => line!("{sequence:>10} {kind:<8} {shard}"),
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Where a ledger to be verified is, and where it is kept.
#[derive(Debug)]
pub struct Files {
    /// Read segments from here instead of asking the gateway.
    pub saved: Option<PathBuf>,
    /// Keep the segments here.
    pub save: Option<PathBuf>,
    /// Read full segments from here, and ask the gateway for the lines behind them if it has an address.
    pub segments: Option<PublicPlace>,
}

/// Verifies the whole ledger against the finalised chain. Exit code 1 where something is found.
pub async fn check(settings: &Settings, whose: Whose, files: &Files, json: bool) -> anyhow::Result<ExitCode> {
    let chain = settings.chain().await?;
    let (genesis, node) = (chain.genesis(), whose.node_id);
    // Before the lines: whatever is committed meanwhile covers lines that were not read.
    let commitments = chain.ledger_commitments(&node).await?;
    let anchors: Vec<Anchor> = commitments
        .iter()
        .map(|found| Anchor::of_commitment(found.sequence, found.root, found.bytes))
        .collect();
    let place = files.segments.clone().or(files.saved.clone().map(PublicPlace::Files));
    let mut lines = match place {
        Some(place) => {
            let published = Published { place, gateway: node, genesis };
            blocking(move || published.all()).await?
        }
        None => Vec::new(),
    };
    let is_partial = files.segments.is_some() && whose.address.is_none();
    if files.saved.is_none() && !is_partial {
        let reached = lines.len() as u64;
        let rest = ask(&whose, reached, LINES_MAX).await;
        lines.extend(match reached {
            0 => rest?,
            _ => rest.with_context(|| {
                format!("without its address the ledger is verified up to line {reached}, where segments end")
            })?,
        });
    }
    let ledger = Ledger::new(genesis, node, lines);
    if let Some(directory) = &files.save {
        write_segments(directory, &ledger)?;
    }
    let (anchors, unchecked) = match is_partial {
        true => covered(&ledger, anchors),
        false => (anchors, Vec::new()),
    };
    let config = ViewConfig { earlier_maps: EARLIER_MAPS, ..ViewConfig::default() };
    let mut checker = ReceiptChecker::new(ChainView::start(chain, config).await?);
    let report = verify(&ledger, &anchors, &mut checker);
    tell(&told(&ledger, &report, (&anchors, &unchecked), json), json)?;
    Ok(ExitCode::from(u8::from(report.found > 0)))
}

/// Asks a gateway for lines.
async fn ask(whose: &Whose, after: u64, limit: usize) -> anyhow::Result<Vec<LedgerRecord>> {
    let address = whose.address()?;
    let transport = transport()?;
    let lines = pages(&*transport, address, after, limit).await;
    transport.close().await;
    lines
}

/// Lines behind `after`, at most `limit`, and an error where one is missing.
async fn pages(
    transport: &dyn Transport,
    gateway: &PeerAddr,
    after: u64,
    limit: usize,
) -> anyhow::Result<Vec<LedgerRecord>> {
    let (mut lines, mut reached) = (Vec::new(), after);
    loop {
        let page = arion_ledger::page(transport, gateway, reached, LEDGER_ENTRIES_MAX).await?;
        let entries = page.context("the gateway answered a question for its ledger with something else")?;
        let is_last = entries.len() < usize::from(LEDGER_ENTRIES_MAX);
        for entry in entries {
            if entry.sequence != reached.saturating_add(1) {
                bail!("the ledger has a gap: line {} follows line {reached}", entry.sequence);
            }
            if lines.len() == limit {
                return if limit < LINES_MAX {
                    Ok(lines)
                } else {
                    bail!("the ledger has more than {LINES_MAX} lines")
                };
            }
            reached = entry.sequence;
            lines.push(entry.record);
        }
        if is_last || lines.len() == limit && limit < LINES_MAX {
            return Ok(lines);
        }
    }
}

fn write_segments(directory: &Path, ledger: &Ledger) -> anyhow::Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    for (segment, number) in ledger.write().into_iter().zip(0..) {
        let file = directory.join(file_name(number));
        fs::write(&file, segment).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// Proofs take time in the length of the ledger each.
fn told(
    ledger: &Ledger,
    report: &Report,
    (anchors, unchecked): (&[Anchor], &[Anchor]),
    with_proofs: bool,
) -> Told {
    let hashes = if with_proofs { ledger.hashes() } else { Vec::new() };
    let findings = report.findings.iter().take(PRINTED_MAX).filter_map(|finding| {
        let at = usize::try_from(finding.line.checked_sub(1)?).ok()?;
        let record = ledger.lines().get(at)?;
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
        anchors: anchors.len(),
        unchecked_anchors: unchecked.len(),
        unchecked_lines: unchecked.iter().map(|anchor| anchor.sequence).max(),
        anchored_lines: anchors.iter().map(|anchor| anchor.sequence).max(),
        anchored_bytes: anchors.iter().max_by_key(|anchor| anchor.sequence).map(|anchor| anchor.bytes),
        found: report.found,
        findings: findings.collect(),
    }
}

fn tell(told: &Told, json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(told);
    }
    line!("lines     {}", told.lines);
    line!("root      {}", told.root);
    line!("live      {} shards, {}", told.live_shards, size(told.live_bytes));
    line!("served    {} in a day, of which {} count", size(told.served_bytes), size(told.served_counted));
    match told.anchored_lines.zip(told.anchored_bytes) {
        Some((lines, bytes)) => {
            line!("anchored  up to line {lines}, {}; {} commitments compared", size(bytes), told.anchors);
        }
        None if told.unchecked_anchors > 0 => line!("anchored  nothing of these lines"),
        None => line!("anchored  nothing: the gateway has committed to no ledger on chain"),
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use arion_net::{MemoryNetwork, Service};
    use arion_protocol::{ErrorCode, LedgerEntry, Request, Response};
    use arion_types::{NodeId, ShardHash};
    use async_trait::async_trait;
    use bytes::Bytes;
    use codec::Decode;

    const GATEWAY: NodeId = NodeId([1; 32]);

    fn record(n: u64) -> LedgerRecord {
        let mut shard = [0; 32];
        shard[..8].copy_from_slice(&n.to_le_bytes());
        LedgerRecord::Deleted { shard: ShardHash(shard) }
    }

    /// A gateway with so many lines, of which one may be missing; one of before lines released miners knows one question only.
    struct Gateway {
        lines: u64,
        missing: Option<u64>,
        is_old: bool,
    }

    #[async_trait]
    impl Service for Gateway {
        async fn serve(&self, _: NodeId, request: Request, _: Bytes) -> (Response, Bytes) {
            let (after, limit) = match request {
                Request::LedgerFrom { .. } | Request::LedgerSince { .. } if self.is_old => {
                    return (Response::error(ErrorCode::Unsupported, "kind 15"), Bytes::new());
                }
                Request::LedgerPage { after, limit } if self.is_old => (after, limit),
                Request::LedgerFrom { after, limit, .. } => (after, limit),
                _ => panic!("only its ledger is asked for"),
            };
            let lines = (after + 1..=self.lines).filter(|line| Some(*line) != self.missing);
            let entries =
                lines.take(limit.into()).map(|sequence| LedgerEntry { sequence, record: record(sequence) });
            let answer = if self.is_old { Response::Ledger } else { Response::LedgerLines };
            (answer(entries.collect()), Bytes::new())
        }
    }

    async fn read(
        lines: u64,
        missing: Option<u64>,
        after: u64,
        limit: usize,
    ) -> anyhow::Result<Vec<LedgerRecord>> {
        read_from(Gateway { lines, missing, is_old: false }, after, limit).await
    }

    async fn read_from(gateway: Gateway, after: u64, limit: usize) -> anyhow::Result<Vec<LedgerRecord>> {
        let network = MemoryNetwork::new();
        network.listen("gateway:1", GATEWAY, Arc::new(gateway));
        let peer = PeerAddr { node_id: GATEWAY, endpoint: "gateway:1".into() };
        pages(&network.transport(NodeId([2; 32])), &peer, after, limit).await
    }

    #[tokio::test]
    async fn pages_are_read_to_the_end_or_the_limit_and_gaps_are_refused() {
        let all: Vec<_> = (1..=1_100).map(record).collect();
        assert_eq!(read(1_100, None, 0, LINES_MAX).await.unwrap(), all);
        assert_eq!(read(1_024, None, 0, LINES_MAX).await.unwrap(), all[..1_024]);
        assert_eq!(read(1_100, None, 7, 600).await.unwrap(), all[7..607]);
        assert_eq!(read(1_100, None, 7, 512).await.unwrap(), all[7..519]);
        assert!(read(0, None, 0, LINES_MAX).await.unwrap().is_empty());
        let old = Gateway { lines: 1_100, missing: None, is_old: true };
        assert_eq!(read_from(old, 0, LINES_MAX).await.unwrap(), all);
        let said = read(1_100, Some(600), 0, LINES_MAX).await.unwrap_err().to_string();
        assert_eq!(said, "the ledger has a gap: line 601 follows line 599");
    }

    #[test]
    fn findings_come_with_a_proof_and_segments_are_kept_and_read() {
        let ledger = Ledger::new([7; 32], GATEWAY, (1..=5_000).map(record).collect());
        let (view, _) = ChainView::manual([7; 32], Default::default());
        let report = verify(&ledger, &[], &mut ReceiptChecker::new(view));
        let told = told(&ledger, &report, (&[], &[]), true);
        assert_eq!((told.found, told.findings.len(), told.anchored_lines), (5_000, PRINTED_MAX, None));
        let proof = hex::decode(told.findings[7].proof.as_ref().unwrap()).unwrap();
        let proof = arion_ledger::LineProof::decode(&mut &proof[..]).unwrap();
        assert!(proof.holds(&[7; 32], &GATEWAY, &report.root) && proof.sequence == 8);
        let directory = tempfile::tempdir().unwrap();
        let kept = directory.path().join("ledger");
        let published =
            |genesis| Published { place: PublicPlace::Files(kept.clone()), gateway: GATEWAY, genesis };
        assert!(published([7; 32]).all().is_err());
        write_segments(&kept, &ledger).unwrap();
        assert_eq!(published([7; 32]).all().unwrap(), ledger.lines());
        let said = published([8; 32]).all().unwrap_err().to_string();
        assert!(said.contains("segment 0 is of another chain"), "{said}");
    }
}
