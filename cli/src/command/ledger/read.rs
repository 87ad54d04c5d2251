//! Reading a ledger: from its gateway, from segments that are published, or from both.

use std::path::PathBuf;

use anyhow::{Context, bail};
use arion_ledger::{CompactedLedger, Ledger, LineProof};
use arion_net::{PeerAddr, Transport};
use arion_protocol::{LedgerBase, LedgerEntry, LedgerRecord, limits::LEDGER_ENTRIES_MAX};
use arion_types::GenesisHash;

use super::{Published, Whose};
use crate::command::{PublicPlace, blocking, transport};

/// Lines read at most: some 2 GB of memory.
pub(super) const LINES_MAX: usize = 10_000_000;

/// The whole ledger of a gateway.
pub(in crate::command) struct Read {
    /// What there is of it.
    pub found: Found,
    /// Whether it ends where its segments do, as nobody was asked for the lines behind them.
    pub is_partial: bool,
}

/// Where a ledger is to be read.
#[derive(Debug, Default)]
pub struct From {
    /// Read segments from here instead of asking the gateway.
    pub saved: Option<PathBuf>,
    /// Read full segments from here, and ask the gateway for the lines behind them if it has an address.
    pub segments: Option<PublicPlace>,
}

/// Reads it.
pub(in crate::command) async fn whole(
    genesis: GenesisHash,
    whose: &Whose,
    from: &From,
) -> anyhow::Result<Read> {
    let place = from.segments.clone().or(from.saved.clone().map(PublicPlace::Files));
    let is_partial = from.segments.is_some() && whose.address.is_none();
    let Some(place) = place else {
        let found = asked(whose, async |transport, address| found(transport, address, genesis).await).await?;
        return Ok(Read { found, is_partial });
    };
    let published = Published { place, gateway: whose.node_id, genesis };
    let mut lines = blocking(move || published.all()).await?;
    if from.saved.is_none() && !is_partial {
        let reached = lines.len() as u64;
        // Behind what there are segments of, all lines have to be there.
        let rest =
            asked(whose, async |transport, address| entries(transport, address, reached, LINES_MAX, 0).await);
        let rest = rest.await.with_context(|| {
            format!("without its address the ledger is read up to line {reached}, where segments end")
        })?;
        lines.extend(rest.into_iter().map(|entry| entry.record));
    }
    Ok(Read { found: Found::Whole(Ledger::new(genesis, whose.node_id, lines)), is_partial })
}

/// Asks a gateway.
pub(super) async fn asked<T>(
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
pub(in crate::command) enum Found {
    Whole(Ledger),
    Compacted(CompactedLedger),
}

impl Found {
    pub(in crate::command) fn line(&self, sequence: u64) -> Option<&LedgerRecord> {
        match self {
            Self::Whole(ledger) => ledger.lines().get(usize::try_from(sequence.checked_sub(1)?).ok()?),
            Self::Compacted(ledger) => ledger.line(sequence),
        }
    }

    pub(in crate::command) fn hashes(&self) -> Vec<[u8; 32]> {
        match self {
            Self::Whole(ledger) => ledger.hashes(),
            Self::Compacted(_) => Vec::new(),
        }
    }

    /// All lines that are there, in order, with their numbers.
    pub(in crate::command) fn lines(&self) -> Box<dyn Iterator<Item = (u64, &LedgerRecord)> + '_> {
        match self {
            Self::Whole(ledger) => Box::new((1..).zip(ledger.lines())),
            Self::Compacted(ledger) => Box::new(ledger.lines()),
        }
    }

    /// Hash of block 0 of the chain.
    pub(in crate::command) fn genesis(&self) -> GenesisHash {
        match self {
            Self::Whole(ledger) => ledger.genesis(),
            Self::Compacted(ledger) => ledger.genesis(),
        }
    }

    /// How many lines the ledger has, those included that were dropped.
    pub(in crate::command) fn len(&self) -> u64 {
        match self {
            Self::Whole(ledger) => ledger.lines().len() as u64,
            Self::Compacted(ledger) => ledger.len(),
        }
    }

    /// A proof needs the hashes of all lines.
    pub(in crate::command) fn prove(&self, hashes: &[[u8; 32]], sequence: u64) -> Option<LineProof> {
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
pub(super) async fn entries(
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

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::sync::Arc;

    use arion_net::{MemoryNetwork, Service};
    use arion_protocol::{ErrorCode, Request, Response};
    use arion_types::{NodeId, ShardHash};
    use async_trait::async_trait;
    use bytes::Bytes;

    pub(in crate::command::ledger) const GATEWAY: NodeId = NodeId([1; 32]);

    pub(in crate::command::ledger) fn record(n: u64) -> LedgerRecord {
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
}
