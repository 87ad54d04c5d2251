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
    meta::Meta,
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
            Request::LedgerPage { limit, .. } | Request::LedgerSince { limit, .. }
                if limit == 0 || limit > LEDGER_ENTRIES_MAX =>
            {
                Response::error(ErrorCode::Malformed, format!("limit must be 1 to {LEDGER_ENTRIES_MAX}"))
            }
            Request::LedgerSince { after, limit } => {
                self.lines(after, limit).await.map_or_else(|refusal| refusal, Response::LedgerLines)
            }
            Request::LedgerPage { after, limit } => {
                self.lines(after, limit).await.map_or_else(|refusal| refusal, of_first_version)
            }
            _ => Response::error(
                ErrorCode::Unsupported,
                "a gateway serves Ping, LedgerSince, LedgerPage and Relocated",
            ),
        }
    }

    async fn lines(&self, after: u64, limit: u16) -> Result<Vec<LedgerEntry>, Response> {
        self.meta.ledger_page(after, limit).await.map_err(|error| {
            tracing::error!(%error, "the ledger cannot be read");
            Response::error(ErrorCode::Unavailable, "the ledger cannot be read now")
        })
    }
}

/// What a node of the first version can read: the lines before the first that releases a miner.
fn of_first_version(mut entries: Vec<LedgerEntry>) -> Response {
    let readable = entries.iter().take_while(|entry| entry.record.is_of_first_version()).count();
    match (readable, entries.first()) {
        (0, Some(entry)) => Response::error(
            ErrorCode::Unsupported,
            format!(
                "line {} releases a miner: update this node to one that asks for LedgerSince",
                entry.sequence
            ),
        ),
        _ => {
            entries.truncate(readable);
            Response::Ledger(entries)
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
    use arion_protocol::LedgerRecord;

    use super::*;

    #[tokio::test]
    async fn pages_are_public_and_everything_else_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let meta = Meta::open(&directory.path().join("meta.redb")).unwrap();
        let service = LedgerService::new(meta, Maps::default(), Arc::default());
        let anybody = NodeId([1; 32]);
        let page = |limit| service.answer(anybody, Request::LedgerPage { after: 0, limit });
        let lines = |limit| service.answer(anybody, Request::LedgerSince { after: 0, limit });
        assert_eq!(page(LEDGER_ENTRIES_MAX).await, Response::Ledger(Vec::new()));
        assert_eq!(lines(LEDGER_ENTRIES_MAX).await, Response::LedgerLines(Vec::new()));
        for limit in [0, LEDGER_ENTRIES_MAX + 1] {
            assert!(matches!(page(limit).await, Response::Error { code: ErrorCode::Malformed, .. }));
            assert!(matches!(lines(limit).await, Response::Error { code: ErrorCode::Malformed, .. }));
        }
        assert!(matches!(service.answer(anybody, Request::Ping).await, Response::Pong { .. }));
        let other = service.answer(anybody, Request::Stat { shards: Vec::new() }).await;
        assert!(matches!(other, Response::Error { code: ErrorCode::Unsupported, .. }));
        let early = service.answer(anybody, Request::Relocated { receipts: Vec::new() }).await;
        assert!(matches!(early, Response::Error { code: ErrorCode::Unavailable, .. }));
    }

    #[test]
    fn nodes_of_the_first_version_read_up_to_the_first_line_that_they_do_not_know() {
        let shard = arion_types::ShardHash([1; 32]);
        let line = |sequence: u64| LedgerEntry {
            sequence,
            record: match sequence {
                3 => LedgerRecord::Released { shard, miner: NodeId([2; 32]) },
                _ => LedgerRecord::Deleted { shard },
            },
        };
        let page = |from: u64| of_first_version((from..6).map(line).collect());
        assert_eq!(page(1), Response::Ledger(vec![line(1), line(2)]));
        assert_eq!(page(4), Response::Ledger(vec![line(4), line(5)]));
        assert_eq!(page(6), Response::Ledger(Vec::new()));
        let Response::Error { code: ErrorCode::Unsupported, detail } = page(3) else { panic!() };
        assert!(detail.contains("line 3") && detail.contains("update"), "{detail}");
    }
}
