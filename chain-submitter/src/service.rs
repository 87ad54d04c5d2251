//! Answers to wardens.

use std::sync::Arc;

use arion_chain::ChainView;
use arion_daemon::now_ms;
use arion_net::Service;
use arion_protocol::{ErrorCode, Request, Response};
use arion_types::{AttestationRecord, NodeId};
use async_trait::async_trait;
use bytes::Bytes;
use codec::DecodeAll;

use crate::{
    metrics::Metrics,
    queue::{Queue, QueueError},
};

/// A warden may see a finalised block before this node does, by at most this many blocks.
const BLOCKS_AHEAD_MAX: u64 = 100;

/// The QUIC service.
pub struct SubmitterService {
    /// The finalised chain.
    pub view: ChainView,
    /// Where attestations go.
    pub queue: Arc<Queue>,
    /// Blocks of a bucket.
    pub bucket_blocks: u32,
    /// Counters.
    pub metrics: Metrics,
}

#[async_trait]
impl Service for SubmitterService {
    fn knows(&self, peer: &NodeId) -> bool {
        self.view.snapshot().registry.wardens.contains(peer)
    }

    async fn serve(&self, peer: NodeId, request: Request, body: Bytes) -> (Response, Bytes) {
        let response = match request {
            Request::Ping => Response::Pong { now: now_ms() },
            Request::Attest => self.attest(peer, body).await.unwrap_or_else(|refusal| {
                self.metrics.refused.inc();
                Response::error(refusal.code, refusal.detail)
            }),
            _ => Response::error(ErrorCode::Unsupported, "a chain-submitter takes attestations"),
        };
        (response, Bytes::new())
    }
}

impl SubmitterService {
    async fn attest(&self, peer: NodeId, body: Bytes) -> Result<Response, Refusal> {
        let snapshot = self.view.snapshot();
        if !snapshot.registry.wardens.contains(&peer) {
            let detail = "this key is not a registered warden on the finalised chain";
            return Err(refusal(ErrorCode::NotRegistered, detail));
        }
        let records = Vec::<AttestationRecord>::decode_all(&mut &body[..])
            .map_err(|_| refusal(ErrorCode::Malformed, "the body is not a list of attestations in SCALE"))?;
        let block_max = u64::from(snapshot.block.number) + BLOCKS_AHEAD_MAX;
        for (position, record) in records.iter().enumerate() {
            let refuse = |code, what: &str| Err(refusal(code, format!("attestation {position}: {what}")));
            if record.warden_pubkey != peer.0 {
                return refuse(ErrorCode::Unauthorized, "names another warden than the one connected");
            }
            if record.block_number > block_max {
                return refuse(ErrorCode::Malformed, "its block is not finalised yet");
            }
            if !record.verify(&self.view.genesis()) {
                return refuse(ErrorCode::BadSignature, "its signature does not verify for this chain");
            }
        }
        let (queue, bucket_blocks) = (self.queue.clone(), self.bucket_blocks);
        let pushed = tokio::task::spawn_blocking(move || queue.push(&records, bucket_blocks)).await;
        match pushed {
            Ok(Ok(new)) => {
                self.metrics.received.inc_by(u64::from(new));
                Ok(Response::AttestationsQueued { new })
            }
            Ok(Err(QueueError::Full)) => {
                Err(refusal(ErrorCode::Busy, "the queue is full; hand over again later"))
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "attestations are not queued");
                Err(refusal(ErrorCode::Unavailable, "the queue cannot be written"))
            }
            Err(_) => Err(refusal(ErrorCode::Unavailable, "stopping")),
        }
    }
}

struct Refusal {
    code: ErrorCode,
    detail: String,
}

fn refusal(code: ErrorCode, detail: impl Into<String>) -> Refusal {
    Refusal { code, detail: detail.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::tests::{GENESIS, record, warden};
    use arion_chain::{BlockRef, Registry, Snapshot};
    use arion_types::signing::node_id;
    use codec::Encode;

    fn service(directory: &std::path::Path) -> SubmitterService {
        let mut registry = Registry::default();
        registry.wardens.insert(node_id(&warden()));
        let block = BlockRef { number: 50, hash: [0; 32] };
        let snapshot = Snapshot { block, registry: Arc::new(registry), ..Snapshot::default() };
        let (view, _) = ChainView::manual(GENESIS, snapshot);
        let queue = Arc::new(Queue::open(directory, GENESIS, 3).unwrap());
        SubmitterService { view, queue, bucket_blocks: 100, metrics: Metrics::default() }
    }

    async fn attest(service: &SubmitterService, peer: NodeId, records: &[AttestationRecord]) -> Response {
        service.serve(peer, Request::Attest, records.encode().into()).await.0
    }

    fn code(response: Response) -> ErrorCode {
        match response {
            Response::Error { code, .. } => code,
            other => panic!("not refused: {other:?}"),
        }
    }

    #[tokio::test]
    async fn a_registered_warden_hands_over_once() {
        let directory = tempfile::tempdir().unwrap();
        let service = service(directory.path());
        let peer = node_id(&warden());
        let two = [record(1, 10), record(2, 10)];
        assert_eq!(attest(&service, peer, &two).await, Response::AttestationsQueued { new: 2 });
        assert_eq!(attest(&service, peer, &two).await, Response::AttestationsQueued { new: 0 });
        assert_eq!(service.queue.len().unwrap(), 2);
        let more = [record(3, 10), record(4, 10)];
        assert_eq!(code(attest(&service, peer, &more).await), ErrorCode::Busy);
    }

    #[tokio::test]
    async fn everything_else_is_refused_with_its_reason() {
        let directory = tempfile::tempdir().unwrap();
        let service = service(directory.path());
        let peer = node_id(&warden());
        let stranger = NodeId([9; 32]);
        assert_eq!(code(attest(&service, stranger, &[record(1, 10)]).await), ErrorCode::NotRegistered);
        let mut changed = record(1, 10);
        changed.timestamp ^= 1;
        assert_eq!(code(attest(&service, peer, &[record(2, 10), changed]).await), ErrorCode::BadSignature);
        let mut foreign = record(1, 10);
        foreign.warden_pubkey = [3; 32];
        assert_eq!(code(attest(&service, peer, &[foreign]).await), ErrorCode::Unauthorized);
        assert_eq!(code(attest(&service, peer, &[record(1, 151)]).await), ErrorCode::Malformed);
        let garbage = service.serve(peer, Request::Attest, Bytes::from_static(&[1, 2, 3])).await.0;
        assert_eq!(code(garbage), ErrorCode::Malformed);
        let other = service.serve(peer, Request::LedgerPage { after: 0, limit: 1 }, Bytes::new()).await.0;
        assert_eq!(code(other), ErrorCode::Unsupported);
        assert!(service.queue.is_empty().unwrap());
    }
}
