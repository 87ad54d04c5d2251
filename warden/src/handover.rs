//! Hands signed attestations to a chain-submitter.

use std::{sync::Arc, time::Duration};

use arion_daemon::Health;
use arion_net::{CallError, PeerAddr, Transport};
use arion_protocol::{ErrorCode, Request, Response};
use arion_types::{AttestationRecord, ShownAttestation};
use bytes::Bytes;
use codec::Encode;

use crate::{
    metrics::Metrics,
    store::{Store, StoreError},
};

const TICK: Duration = Duration::from_secs(1);
const DEADLINE: Duration = Duration::from_secs(20);
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// Attestations in one hand-over, and their bytes with what they rest on: a dozen with proofs.
const BATCH_MAX: usize = 256;
const BATCH_BYTES_MAX: usize = 1 << 20;

/// Why attestations stay here for now.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// The submitter did not take them.
    #[error("the chain-submitter does not take attestations: {0}")]
    Call(#[from] CallError),
    /// It answered something else.
    #[error("the chain-submitter answered with something else")]
    Answer,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Hands over what is in the outbox.
pub struct Handover {
    /// Where it is.
    pub store: Arc<Store>,
    /// How the submitter is called.
    pub transport: Arc<dyn Transport>,
    /// The submitter.
    pub submitter: PeerAddr,
    /// What /health says.
    pub health: Health,
    /// Counters.
    pub metrics: Metrics,
}

impl Handover {
    /// Hands over for ever.
    pub async fn run(self) {
        let mut pause = TICK;
        loop {
            tokio::time::sleep(pause).await;
            match self.hand_over().await {
                Ok(()) => {
                    pause = TICK;
                    self.health.ok("handover");
                }
                Err(error) => {
                    pause = (pause * 2).min(BACKOFF_MAX);
                    self.metrics.handover_failures.inc();
                    self.health.failing("handover", error.to_string());
                    tracing::warn!(%error, "attestations stay here for now");
                }
            }
            let waiting = self.store.outbox_len().unwrap_or_default();
            self.metrics.outbox.set(i64::try_from(waiting).unwrap_or(i64::MAX));
            self.health.detail("attestations_waiting", waiting);
        }
    }

    /// Hands over everything that is there now.
    pub async fn hand_over(&self) -> Result<(), HandoverError> {
        // A submitter of an earlier version is asked once each time: it may have become a newer one.
        let mut takes_exhibits = true;
        loop {
            let waiting = self.store.outbox(BATCH_MAX, BATCH_BYTES_MAX)?;
            if waiting.is_empty() {
                return Ok(());
            }
            let (numbers, shown): (Vec<u64>, Vec<ShownAttestation>) = waiting.into_iter().unzip();
            if takes_exhibits && !self.with_exhibits(&shown).await? {
                takes_exhibits = false;
            }
            if !takes_exhibits {
                let records: Vec<AttestationRecord> = shown.into_iter().map(|shown| shown.record).collect();
                let answer = self.call(Request::Attest, records.encode()).await?;
                let Response::AttestationsQueued { .. } = answer else { return Err(HandoverError::Answer) };
            }
            self.store.handed_over(&numbers)?;
            self.metrics.handed_over.inc_by(numbers.len() as u64);
        }
    }

    /// Hands over attestations with what they rest on; `false` if the submitter does not know how to take that.
    async fn with_exhibits(&self, shown: &[ShownAttestation]) -> Result<bool, HandoverError> {
        match self.call(Request::AttestShown, shown.encode()).await {
            Ok(Response::AttestationsKept { exhibits, .. }) => {
                self.metrics.exhibits_kept.inc_by(u64::from(exhibits));
                Ok(true)
            }
            Ok(_) => Err(HandoverError::Answer),
            Err(CallError::Refused { code: ErrorCode::Unsupported, .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn call(&self, request: Request, body: Vec<u8>) -> Result<Response, CallError> {
        let answer = self.transport.call(&self.submitter, request, Bytes::from(body), DEADLINE).await?;
        Ok(answer.0)
    }
}
