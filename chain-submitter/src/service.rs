//! Answers to wardens.
//!
//! # Invariants
//! - What is acknowledged is on disk: first what an attestation rests on, then the attestation.
//! - What an attestation rests on is kept only if it shows what it should; that it does not, or that there is no room, refuses no
//!   attestation.

use std::sync::Arc;

use arion_chain::ChainView;
use arion_daemon::now_ms;
use arion_net::Service;
use arion_protocol::{ErrorCode, Request, Response};
use arion_types::{AttestationRecord, Exhibit, NodeId, ShownAttestation};
use async_trait::async_trait;
use bytes::Bytes;
use codec::DecodeAll;

use crate::{
    bundle::archive::{Archive, ArchiveError, Offered, Taken},
    metrics::Metrics,
    queue::{Queue, QueueError, attestation_id},
};

/// A warden may see a finalised block before this node does, by at most this many blocks.
const BLOCKS_AHEAD_MAX: u64 = 100;

/// The QUIC service.
pub struct SubmitterService {
    /// The finalised chain.
    pub view: ChainView,
    /// Where attestations go.
    pub queue: Arc<Queue>,
    /// Where what they rest on goes, if bundles are made here.
    pub archive: Option<Arc<Archive>>,
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
        let answered = match request {
            Request::Ping => Ok(Response::Pong { now: now_ms() }),
            Request::Attest => self.attest(peer, body).await,
            Request::AttestShown => self.attest_shown(peer, body).await,
            _ => {
                return (
                    Response::error(ErrorCode::Unsupported, "a chain-submitter takes attestations"),
                    Bytes::new(),
                );
            }
        };
        let response = answered.unwrap_or_else(|refusal| {
            self.metrics.refused.inc();
            Response::error(refusal.code, refusal.detail)
        });
        (response, Bytes::new())
    }
}

impl SubmitterService {
    async fn attest(&self, peer: NodeId, body: Bytes) -> Result<Response, Refusal> {
        self.registered(&peer)?;
        let records: Vec<AttestationRecord> =
            decode(&body, "the body is not a list of attestations in SCALE")?;
        self.check(&peer, &records)?;
        let new = self.push(records).await?;
        Ok(Response::AttestationsQueued { new })
    }

    async fn attest_shown(&self, peer: NodeId, body: Bytes) -> Result<Response, Refusal> {
        self.registered(&peer)?;
        let what = "the body is not a list of attestations in SCALE, each with what it rests on";
        let shown: Vec<ShownAttestation> = decode(&body, what)?;
        drop(body);
        let (records, exhibits): (Vec<_>, Vec<_>) =
            shown.into_iter().map(|shown| (shown.record, shown.exhibit)).unzip();
        self.check(&peer, &records)?;
        let Taken { kept, .. } = self.keep(&records, exhibits).await?;
        let new = self.push(records).await?;
        Ok(Response::AttestationsKept { new, exhibits: kept })
    }

    fn registered(&self, peer: &NodeId) -> Result<(), Refusal> {
        if self.knows(peer) {
            return Ok(());
        }
        let detail = "this key is not a registered warden on the finalised chain";
        Err(refusal(ErrorCode::NotRegistered, detail))
    }

    fn check(&self, peer: &NodeId, records: &[AttestationRecord]) -> Result<(), Refusal> {
        let block_max = u64::from(self.view.snapshot().block.number) + BLOCKS_AHEAD_MAX;
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
        Ok(())
    }

    /// Keeps what the attestations rest on.
    async fn keep(&self, records: &[AttestationRecord], exhibits: Vec<Exhibit>) -> Result<Taken, Refusal> {
        let Some(archive) = self.archive.clone() else { return Ok(Taken::default()) };
        let (metrics, genesis, records) = (self.metrics.clone(), self.view.genesis(), records.to_vec());
        let keep = move || -> Result<Taken, ArchiveError> {
            let mut offered = Vec::new();
            for (record, exhibit) in records.iter().zip(exhibits) {
                if exhibit == Exhibit::Absent {
                    continue;
                }
                if let Err(fault) = arion_bundle::judge(record, &exhibit) {
                    metrics.exhibits_refused.inc();
                    tracing::warn!(
                        warden = %NodeId(record.warden_pubkey), block = record.block_number, %fault,
                        "what an attestation rests on does not show it, and is not kept"
                    );
                    continue;
                }
                let id = attestation_id(record, &genesis);
                offered.push(Offered { id, block: record.block_number, result: record.result, exhibit });
            }
            let taken = archive.keep(&offered)?;
            metrics.exhibits_kept.inc_by(u64::from(taken.kept));
            metrics.exhibits_dropped.inc_by(u64::from(taken.dropped));
            Ok(taken)
        };
        match tokio::task::spawn_blocking(keep).await {
            Ok(Ok(taken)) => Ok(taken),
            Ok(Err(error)) => {
                tracing::error!(%error, "attestations are not queued");
                Err(refusal(ErrorCode::Unavailable, "the archive cannot be written"))
            }
            Err(_) => Err(refusal(ErrorCode::Unavailable, "stopping")),
        }
    }

    async fn push(&self, records: Vec<AttestationRecord>) -> Result<u32, Refusal> {
        let (queue, bucket_blocks) = (self.queue.clone(), self.bucket_blocks);
        let pushed = tokio::task::spawn_blocking(move || queue.push(&records, bucket_blocks)).await;
        match pushed {
            Ok(Ok(new)) => {
                self.metrics.received.inc_by(u64::from(new));
                Ok(new)
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

fn decode<T: codec::Decode>(body: &[u8], what: &str) -> Result<T, Refusal> {
    T::decode_all(&mut &body[..]).map_err(|_| refusal(ErrorCode::Malformed, what))
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
    use crate::batch::tests::{GENESIS, audited, record, warden};
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
        let archive = Some(Arc::new(Archive::open(directory, 1 << 20).unwrap()));
        SubmitterService { view, queue, archive, bucket_blocks: 100, metrics: Metrics::default() }
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
    async fn what_attestations_rest_on_is_kept_where_it_shows_them() {
        let directory = tempfile::tempdir().unwrap();
        let mut service = service(directory.path());
        let peer = node_id(&warden());
        let mut three = vec![audited(1, 10), audited(2, 10), audited(3, 10)];
        three[1].exhibit = Exhibit::Absent;
        three[2].exhibit = three[0].exhibit.clone();
        let serve = async |service: &SubmitterService, body: Vec<u8>| {
            service.serve(peer, Request::AttestShown, body.into()).await.0
        };
        let kept = |new, exhibits| Response::AttestationsKept { new, exhibits };
        assert_eq!(serve(&service, three.encode()).await, kept(3, 1));
        assert_eq!(serve(&service, three.encode()).await, kept(0, 1), "handed over twice");
        assert_eq!(service.metrics.exhibits_refused.get(), 2);
        let archive = service.archive.take().unwrap();
        let id = attestation_id(&three[0].record, &GENESIS);
        assert_eq!(archive.exhibit(10, &id).unwrap(), three[0].exhibit);

        assert_eq!(code(serve(&service, vec![1, 2, 3]).await), ErrorCode::Malformed);
        let records: Vec<_> = three.iter().map(|shown| shown.record.clone()).collect();
        assert_eq!(code(serve(&service, records.encode()).await), ErrorCode::Malformed);
        three[0].record.timestamp ^= 1;
        assert_eq!(code(serve(&service, three.encode()).await), ErrorCode::BadSignature);
        // Where no bundles are made attestations are taken all the same.
        three[0] = audited(1, 10);
        assert_eq!(serve(&service, three.encode()).await, kept(0, 0));
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
