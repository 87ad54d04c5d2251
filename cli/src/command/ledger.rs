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
    Anchor, CompactedLedger, Ledger, LineProof, ReceiptChecker, Report,
    segment::{SEGMENT_LINES, file_name},
    verify, verify_compacted,
};
use arion_net::{PeerAddr, Transport};
use arion_protocol::{Compacted, LedgerBase, LedgerEntry, LedgerRecord, Served, limits::LEDGER_ENTRIES_MAX};
use arion_types::GenesisHash;
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
struct ToldServed {
    bytes: u64,
    /// Milliseconds since the Unix epoch.
    from: u64,
    until: u64,
}

/// What is kept of the lines before.
#[derive(Serialize)]
struct ToldCompacted {
    /// Of the lines up to here.
    until: u64,
    lines: u64,
    root: String,
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
    /// Of the lines up to here there are those that were kept; 0 where all are there.
    compacted_until: u64,
    anchors: usize,
    /// Of these, those that cover less than what was compacted: the lines to compare them with are gone.
    anchors_not_compared: u64,
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
        let found = blocking(move || published.lines(first, most)).await?;
        let found = found.into_iter().skip(skipped).take(limit).zip(after + 1..);
        lines = found.map(|(record, sequence)| LedgerEntry { sequence, record }).collect();
    }
    let is_short = lines.len() < limit;
    if is_short && (whose.address.is_some() || lines.is_empty()) {
        let (reached, left) = (after + lines.len() as u64, limit - lines.len());
        let rest = asked(&whose, async |transport, address| {
            let base = arion_ledger::base(transport, address).await?;
            entries(transport, address, reached, left, base.map_or(0, |base| base.until)).await
        });
        lines.extend(rest.await?);
    }
    let lines: Vec<Line> = lines.iter().map(|entry| Line::new(entry.sequence, &entry.record)).collect();
    if json {
        print_json(&lines)?;
        return Ok(ExitCode::SUCCESS);
    }
    for line in &lines {
        let (sequence, kind) = (line.sequence, line.kind);
        let shard = line.shard.as_deref().unwrap_or("");
        if let Some(ToldCompacted { until, lines, root }) = &line.compacted {
            line!("{sequence:>10} {kind:<8} {lines} lines up to {until} are kept, root {root}");
            continue;
        }
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
    let is_partial = files.segments.is_some() && whose.address.is_none();
    let ledger = match place {
        None => asked(&whose, async |transport, address| found(transport, address, genesis).await).await?,
        Some(place) => {
            let published = Published { place, gateway: node, genesis };
            let mut lines = blocking(move || published.all()).await?;
            if files.saved.is_none() && !is_partial {
                let reached = lines.len() as u64;
                // Behind what there are segments of, all lines have to be there.
                let rest = asked(&whose, async |transport, address| {
                    entries(transport, address, reached, LINES_MAX, 0).await
                });
                let rest = rest.await.with_context(|| {
                    format!(
                        "without its address the ledger is verified up to line {reached}, where segments end"
                    )
                })?;
                lines.extend(rest.into_iter().map(|entry| entry.record));
            }
            Found::Whole(Ledger::new(genesis, node, lines))
        }
    };
    match (&files.save, &ledger) {
        (Some(directory), Found::Whole(ledger)) => write_segments(directory, ledger)?,
        (Some(_), Found::Compacted(ledger)) => bail!(
            "the ledger was compacted: of the lines up to {} the gateway has only those that were kept, and segments have all of theirs; \
             verify it without --save, or from where its segments are (--segments), or get them from somebody who kept them (--saved)",
            ledger.until()
        ),
        (None, _) => {}
    }
    let (anchors, unchecked) = match &ledger {
        Found::Whole(ledger) if is_partial => covered(ledger, anchors),
        _ => (anchors, Vec::new()),
    };
    let config = ViewConfig { earlier_maps: EARLIER_MAPS, ..ViewConfig::default() };
    let mut checker = ReceiptChecker::new(ChainView::start(chain, config).await?);
    let report = match &ledger {
        Found::Whole(ledger) => verify(ledger, &anchors, &mut checker),
        Found::Compacted(ledger) => verify_compacted(ledger, &anchors, &mut checker),
    };
    tell(&told(&ledger, &report, (&anchors, &unchecked), json), json)?;
    Ok(ExitCode::from(u8::from(report.found > 0)))
}

/// Asks a gateway.
async fn asked<T>(
    whose: &Whose,
    question: impl AsyncFnOnce(&dyn Transport, &PeerAddr) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let address = whose.address()?;
    let transport = transport()?;
    let answer = question(&*transport, address).await;
    transport.close().await;
    answer
}

/// A ledger, or what is left of it.
enum Found {
    Whole(Ledger),
    Compacted(CompactedLedger),
}

impl Found {
    fn line(&self, sequence: u64) -> Option<&LedgerRecord> {
        match self {
            Self::Whole(ledger) => ledger.lines().get(usize::try_from(sequence.checked_sub(1)?).ok()?),
            Self::Compacted(ledger) => ledger.line(sequence),
        }
    }

    fn hashes(&self) -> Vec<[u8; 32]> {
        match self {
            Self::Whole(ledger) => ledger.hashes(),
            Self::Compacted(_) => Vec::new(),
        }
    }

    /// A proof needs the hashes of all lines.
    fn prove(&self, hashes: &[[u8; 32]], sequence: u64) -> Option<LineProof> {
        match self {
            Self::Whole(ledger) => ledger.prove(hashes, sequence),
            Self::Compacted(_) => None,
        }
    }
}

/// Everything that the gateway has.
async fn found(transport: &dyn Transport, gateway: &PeerAddr, genesis: GenesisHash) -> anyhow::Result<Found> {
    let node = gateway.node_id;
    let base = arion_ledger::base(transport, gateway).await?;
    let until = base.as_ref().map_or(0, |base| base.until);
    let mut kept = entries(transport, gateway, 0, LINES_MAX, until).await?;
    let behind = kept.split_off(kept.partition_point(|entry| entry.sequence <= until));
    let lines = behind.into_iter().map(|entry| entry.record).collect();
    Ok(match base {
        None => Found::Whole(Ledger::new(genesis, node, lines)),
        Some(base) => {
            let LedgerBase { until, .. } = base;
            let ledger = CompactedLedger::new(genesis, node, base, kept, lines);
            Found::Compacted(ledger.with_context(|| {
                format!("the ledger was compacted up to line {until}, and what the gateway gives is not what it anchored")
            })?)
        }
    })
}

/// Lines behind `after`, at most `limit`, and an error where one is missing behind line `until`.
async fn entries(
    transport: &dyn Transport,
    gateway: &PeerAddr,
    after: u64,
    limit: usize,
    until: u64,
) -> anyhow::Result<Vec<LedgerEntry>> {
    let (mut lines, mut reached) = (Vec::new(), after);
    loop {
        let page = arion_ledger::page(transport, gateway, reached, LEDGER_ENTRIES_MAX).await?;
        let entries = page.context("the gateway answered a question for its ledger with something else")?;
        let is_last = entries.len() < usize::from(LEDGER_ENTRIES_MAX);
        for entry in entries {
            let next = reached.saturating_add(1);
            if entry.sequence < next || entry.sequence > next.max(until.saturating_add(1)) {
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
            lines.push(entry);
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use arion_net::{MemoryNetwork, Service};
    use arion_protocol::{ErrorCode, Request, Response};
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
        let read = entries(&network.transport(NodeId([2; 32])), &peer, after, limit, 0).await;
        Ok(read?.into_iter().map(|entry| entry.record).collect())
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

    /// A gateway that has the first and the last line of a segment, and those behind.
    struct Small {
        base: LedgerBase,
        rows: Vec<LedgerEntry>,
    }

    #[async_trait]
    impl Service for Small {
        async fn serve(&self, _: NodeId, request: Request, _: Bytes) -> (Response, Bytes) {
            let answer = match request {
                Request::LedgerBase => Response::LedgerBase(self.base.clone()),
                Request::LedgerFrom { after, limit, .. } => {
                    let rows = self.rows.iter().filter(|entry| entry.sequence > after);
                    Response::LedgerLines(rows.take(limit.into()).copied().collect())
                }
                other => panic!("{other:?}"),
            };
            (answer, Bytes::new())
        }
    }

    #[tokio::test]
    async fn what_was_dropped_is_no_gap_and_what_was_kept_is_checked() {
        const UNTIL: u64 = 4_096;
        let kept: Vec<_> =
            [3, 4_000].map(|sequence| LedgerEntry { sequence, record: record(sequence) }).into();
        let mut root = arion_ledger::KeptRoot::default();
        for LedgerEntry { sequence, record } in &kept {
            root.push(arion_ledger::segment::line_hash(&[7; 32], &GATEWAY, *sequence, record));
        }
        let says = LedgerEntry { sequence: UNTIL + 2, record: LedgerRecord::Compacted(root.of(UNTIL)) };
        let behind =
            [UNTIL + 1, UNTIL + 3].map(|sequence| LedgerEntry { sequence, record: record(sequence) });
        let rows = [&kept[..], &[behind[0], says, behind[1]]].concat();
        let base = LedgerBase { peaks: vec![[1; 32]], until: UNTIL, line: UNTIL + 2 };
        let peer = PeerAddr { node_id: GATEWAY, endpoint: "gateway:1".into() };
        let read = async |rows: Vec<LedgerEntry>, base: LedgerBase| {
            let network = MemoryNetwork::new();
            network.listen("gateway:1", GATEWAY, Arc::new(Small { base, rows }));
            found(&network.transport(NodeId([2; 32])), &peer, [7; 32]).await
        };
        let Found::Compacted(ledger) = read(rows.clone(), base.clone()).await.unwrap() else { panic!() };
        assert_eq!((ledger.until(), ledger.len()), (UNTIL, UNTIL + 3));
        assert_eq!(ledger.line(UNTIL + 3), Some(&behind[1].record));
        let said = read(rows[1..].to_vec(), base.clone()).await.err().unwrap();
        assert!(format!("{said:#}").contains("some were left out"), "{said:#}");
        let said = read(rows.clone(), LedgerBase::default()).await.err().unwrap().to_string();
        assert_eq!(said, "the ledger has a gap: line 3 follows line 0");
        let mut rows = rows;
        rows.remove(2);
        let said = read(rows, base).await.err().unwrap().to_string();
        assert_eq!(said, "the ledger has a gap: line 4098 follows line 4000");
    }

    #[test]
    fn findings_come_with_a_proof_and_segments_are_kept_and_read() {
        let ledger = Ledger::new([7; 32], GATEWAY, (1..=5_000).map(record).collect());
        let (view, _) = ChainView::manual([7; 32], Default::default());
        let report = verify(&ledger, &[], &mut ReceiptChecker::new(view));
        let told = told(&Found::Whole(ledger.clone()), &report, (&[], &[]), true);
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
