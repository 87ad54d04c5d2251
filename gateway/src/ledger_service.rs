//! What the gateway answers over QUIC: pings, and pages of its ledger to anyone.

use arion_daemon::now_ms;
use arion_net::Service;
use arion_protocol::{ErrorCode, Request, Response, limits::LEDGER_ENTRIES_MAX};
use arion_types::NodeId;
use bytes::Bytes;

use crate::meta::Meta;

/// The service.
pub struct LedgerService {
    meta: Meta,
}

impl LedgerService {
    /// Over this ledger.
    pub fn new(meta: Meta) -> Self {
        Self { meta }
    }

    async fn answer(&self, request: Request) -> Response {
        match request {
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
            _ => Response::error(ErrorCode::Unsupported, "a gateway serves Ping and LedgerPage"),
        }
    }
}

#[async_trait::async_trait]
impl Service for LedgerService {
    async fn serve(&self, _: NodeId, request: Request, _: Bytes) -> (Response, Bytes) {
        (self.answer(request).await, Bytes::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pages_are_public_and_everything_else_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let service = LedgerService::new(Meta::open(&directory.path().join("meta.redb")).unwrap());
        let page = |limit| service.answer(Request::LedgerPage { after: 0, limit });
        assert_eq!(page(LEDGER_ENTRIES_MAX).await, Response::Ledger(Vec::new()));
        for limit in [0, LEDGER_ENTRIES_MAX + 1] {
            assert!(matches!(page(limit).await, Response::Error { code: ErrorCode::Malformed, .. }));
        }
        assert!(matches!(service.answer(Request::Ping).await, Response::Pong { .. }));
        let other = service.answer(Request::Stat { shards: Vec::new() }).await;
        assert!(matches!(other, Response::Error { code: ErrorCode::Unsupported, .. }));
    }
}
