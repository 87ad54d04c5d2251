//! What the gateway answers over QUIC: pings, and pages of its ledger to anyone; and it listens to validator services that have brought
//! shards elsewhere.

use std::sync::{Arc, OnceLock};

use arion_chain::ChainView;
use arion_daemon::now_ms;
use arion_net::Service;
use arion_protocol::{ErrorCode, LedgerEntry, Request, Response, limits::LEDGER_ENTRIES_MAX};
use arion_types::{NodeId, SignedReceipt};
use bytes::Bytes;

use crate::{
    meta::{Meta, MetaError},
    placement::Maps,
    relocation::{self, RelocationFault},
};

/// The service.
pub struct LedgerService {
    meta: Meta,
    maps: Maps,
    chain: Arc<OnceLock<ChainView>>,
}

impl LedgerService {
    /// Over this ledger; the chain is there once it was reached.
    pub fn new(meta: Meta, maps: Maps, chain: Arc<OnceLock<ChainView>>) -> Self {
        Self { meta, maps, chain }
    }

    async fn relocated(&self, peer: NodeId, receipts: Vec<SignedReceipt>) -> Response {
        let refuse = |fault: RelocationFault| Response::error(fault.into(), fault.to_string());
        let Some(view) = self.chain.get() else {
            return Response::error(ErrorCode::Unavailable, "this gateway has not reached the chain yet");
        };
        let id = match relocation::stripe_of(&view.snapshot(), &peer, &receipts) {
            Ok(id) => id,
            Err(fault) => return refuse(fault),
        };
        let entered = match self.meta.stripe(id).await {
            Ok(None) => Ok(false),
            Ok(Some(record)) => match relocation::check(&record, &self.maps, &view.genesis(), &receipts) {
                Ok(()) => self.meta.relocated(receipts).await,
                Err(fault) => return refuse(fault),
            },
            Err(error) => Err(error),
        };
        match entered {
            Ok(wanted) => Response::Relocated { wanted },
            Err(error) => {
                tracing::error!(%error, "receipts of relocated shards cannot be entered");
                Response::error(ErrorCode::Unavailable, "receipts cannot be entered now")
            }
        }
    }

    async fn answer(&self, peer: NodeId, request: Request) -> Response {
        match request {
            Request::Relocated { receipts } => self.relocated(peer, receipts).await,
            Request::Ping => Response::Pong { now: now_ms() },
            Request::LedgerPage { limit, .. }
            | Request::LedgerSince { limit, .. }
            | Request::LedgerFrom { limit, .. }
                if limit == 0 || limit > LEDGER_ENTRIES_MAX =>
            {
                Response::error(ErrorCode::Malformed, format!("limit must be 1 to {LEDGER_ENTRIES_MAX}"))
            }
            Request::LedgerBase => match self.meta.ledger_base().await {
                Ok(base) => Response::LedgerBase(base.unwrap_or_default()),
                Err(error) => refused(unreadable(error)),
            },
            Request::LedgerFrom { after, limit, version } => {
                self.lines(after, limit, version).await.map_or_else(refused, Response::LedgerLines)
            }
            Request::LedgerSince { after, limit } => {
                self.lines(after, limit, 2).await.map_or_else(refused, Response::LedgerLines)
            }
            Request::LedgerPage { after, limit } => {
                self.lines(after, limit, 1).await.map_or_else(refused, Response::Ledger)
            }
            _ => Response::error(
                ErrorCode::Unsupported,
                "a gateway serves Ping, LedgerFrom, LedgerBase, LedgerSince, LedgerPage and Relocated",
            ),
        }
    }

    async fn lines(&self, after: u64, limit: u16, version: u8) -> Result<Vec<LedgerEntry>, Refusal> {
        match self.meta.ledger_view(after, limit).await {
            Ok((base, entries)) => {
                without_gaps(after, base.map_or(0, |base| base.until), version)?;
                of_version(entries, version)
            }
            Err(error) => Err(unreadable(error)),
        }
    }
}

fn unreadable(error: MetaError) -> Refusal {
    tracing::error!(%error, "the ledger cannot be read");
    (ErrorCode::Unavailable, "the ledger cannot be read now".to_owned())
}

/// Nodes of versions that know of no dropped lines would take them for lost.
fn without_gaps(after: u64, until: u64, version: u8) -> Result<(), Refusal> {
    const SINCE: u8 = 4;
    match after < until && version < SINCE {
        true => Err((
            ErrorCode::Unsupported,
            format!(
                "lines up to {until} were dropped that nothing needs: update this node to one that reads version {SINCE} of ledgers"
            ),
        )),
        false => Ok(()),
    }
}

/// Why there are no lines.
type Refusal = (ErrorCode, String);

fn refused((code, why): Refusal) -> Response {
    Response::error(code, why)
}

/// What a node of this version can read: the lines before the first of a later one.
fn of_version(mut entries: Vec<LedgerEntry>, version: u8) -> Result<Vec<LedgerEntry>, Refusal> {
    let readable = entries.iter().take_while(|entry| entry.record.version() <= version).count();
    match (readable, entries.first()) {
        (0, Some(entry)) => Err((
            ErrorCode::Unsupported,
            format!(
                "line {} is of version {} of ledgers: update this node to one that reads it",
                entry.sequence,
                entry.record.version()
            ),
        )),
        _ => {
            entries.truncate(readable);
            Ok(entries)
        }
    }
}

#[async_trait::async_trait]
impl Service for LedgerService {
    async fn serve(&self, peer: NodeId, request: Request, _: Bytes) -> (Response, Bytes) {
        (self.answer(peer, request).await, Bytes::new())
    }
}

#[cfg(test)]
mod tests {
    use arion_protocol::{LedgerRecord, Served};

    use super::*;

    #[tokio::test]
    async fn pages_are_public_and_everything_else_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let meta = Meta::open(&directory.path().join("meta.redb")).unwrap();
        let service = LedgerService::new(meta, Maps::default(), Arc::default());
        let anybody = NodeId([1; 32]);
        let page = |limit| service.answer(anybody, Request::LedgerPage { after: 0, limit });
        let lines = |limit| service.answer(anybody, Request::LedgerSince { after: 0, limit });
        let all = |limit| service.answer(anybody, Request::LedgerFrom { after: 0, limit, version: 3 });
        assert_eq!(page(LEDGER_ENTRIES_MAX).await, Response::Ledger(Vec::new()));
        assert_eq!(lines(LEDGER_ENTRIES_MAX).await, Response::LedgerLines(Vec::new()));
        assert_eq!(all(LEDGER_ENTRIES_MAX).await, Response::LedgerLines(Vec::new()));
        for limit in [0, LEDGER_ENTRIES_MAX + 1] {
            assert!(matches!(page(limit).await, Response::Error { code: ErrorCode::Malformed, .. }));
            assert!(matches!(lines(limit).await, Response::Error { code: ErrorCode::Malformed, .. }));
            assert!(matches!(all(limit).await, Response::Error { code: ErrorCode::Malformed, .. }));
        }
        assert!(matches!(service.answer(anybody, Request::Ping).await, Response::Pong { .. }));
        let other = service.answer(anybody, Request::Stat { shards: Vec::new() }).await;
        assert!(matches!(other, Response::Error { code: ErrorCode::Unsupported, .. }));
        let early = service.answer(anybody, Request::Relocated { receipts: Vec::new() }).await;
        assert!(matches!(early, Response::Error { code: ErrorCode::Unavailable, .. }));
    }

    #[test]
    fn nodes_of_earlier_versions_read_up_to_the_first_line_that_they_do_not_know() {
        let shard = arion_types::ShardHash([1; 32]);
        let line = |sequence: u64| LedgerEntry {
            sequence,
            record: match sequence {
                3 => LedgerRecord::Released { shard, miner: NodeId([2; 32]) },
                5 => LedgerRecord::Served(Served { miner: NodeId([2; 32]), from: 1, until: 2, bytes: 3 }),
                _ => LedgerRecord::Deleted { shard },
            },
        };
        let page = |from: u64, version| of_version((from..6).map(line).collect(), version);
        assert_eq!(page(1, 1), Ok(vec![line(1), line(2)]));
        assert_eq!(page(4, 1), Ok(vec![line(4)]));
        assert_eq!(page(6, 1), Ok(Vec::new()));
        assert_eq!(page(3, 2), Ok(vec![line(3), line(4)]));
        assert_eq!(page(3, LedgerRecord::VERSION), Ok(vec![line(3), line(4), line(5)]));
        for (from, version) in [(3, 1), (5, 1), (5, 2), (1, 0)] {
            let Err((ErrorCode::Unsupported, detail)) = page(from, version) else {
                panic!("{from} by version {version}");
            };
            assert!(detail.contains(&format!("line {from} ")) && detail.contains("update"), "{detail}");
        }
    }
}
