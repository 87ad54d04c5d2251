//! What the gateway answers over QUIC: pings, and pages of its ledger to anyone; and it listens to validator services that have brought
//! shards elsewhere.

use std::sync::{Arc, OnceLock};

use arion_chain::ChainView;
use arion_daemon::now_ms;
use arion_net::Service;
use arion_protocol::{ErrorCode, Request, Response, limits::LEDGER_ENTRIES_MAX};
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
            Request::LedgerPage { limit, .. } if limit == 0 || limit > LEDGER_ENTRIES_MAX => {
                Response::error(ErrorCode::Malformed, format!("limit must be 1 to {LEDGER_ENTRIES_MAX}"))
            }
            Request::LedgerPage { after, limit } => match self.meta.ledger_page(after, limit).await {
                Ok(entries) => Response::Ledger(entries),
                Err(error) => {
                    tracing::error!(%error, "the ledger cannot be read");
                    Response::error(ErrorCode::Unavailable, "the ledger cannot be read now")
                }
            },
            _ => Response::error(ErrorCode::Unsupported, "a gateway serves Ping, LedgerPage and Relocated"),
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
    use super::*;

    #[tokio::test]
    async fn pages_are_public_and_everything_else_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let meta = Meta::open(&directory.path().join("meta.redb")).unwrap();
        let service = LedgerService::new(meta, Maps::default(), Arc::default());
        let anybody = NodeId([1; 32]);
        let page = |limit| service.answer(anybody, Request::LedgerPage { after: 0, limit });
        assert_eq!(page(LEDGER_ENTRIES_MAX).await, Response::Ledger(Vec::new()));
        for limit in [0, LEDGER_ENTRIES_MAX + 1] {
            assert!(matches!(page(limit).await, Response::Error { code: ErrorCode::Malformed, .. }));
        }
        assert!(matches!(service.answer(anybody, Request::Ping).await, Response::Pong { .. }));
        let other = service.answer(anybody, Request::Stat { shards: Vec::new() }).await;
        assert!(matches!(other, Response::Error { code: ErrorCode::Unsupported, .. }));
        let early = service.answer(anybody, Request::Relocated { receipts: Vec::new() }).await;
        assert!(matches!(early, Response::Error { code: ErrorCode::Unavailable, .. }));
    }
}
