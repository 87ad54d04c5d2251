//! Answers to miners and to whoever asks about them.

use std::sync::{Arc, Mutex, PoisonError};

use arion_chain::ChainView;
use arion_daemon::now_ms;
use arion_net::Service;
use arion_protocol::{
    ErrorCode, Request, Response, SignedHeartbeat, UnnamedQuestion,
    limits::{MINERS_MAX, TRANSITIONS_MAX, TRANSITIONS_OF_MINER_MAX},
};
use arion_types::{NodeId, ShardHash};
use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    liveness::Liveness,
    metrics::Metrics,
    repair::{LastCensus, custody::Custody},
    standing::Standings,
    unnamed::Ledgers,
};

/// The QUIC service.
pub struct ValidatorService {
    /// The finalised chain.
    pub view: ChainView,
    /// Heartbeats.
    pub liveness: Arc<Mutex<Liveness>>,
    /// What is made of them.
    pub standings: Arc<Mutex<Standings>>,
    /// What they hold.
    pub custody: Arc<Custody>,
    /// What is wanted at all.
    pub ledgers: Arc<Ledgers>,
    /// What the newest census found.
    pub last_census: LastCensus,
    /// Counters.
    pub metrics: Metrics,
}

#[async_trait]
impl Service for ValidatorService {
    fn knows(&self, peer: &NodeId) -> bool {
        self.view.snapshot().registry.is_registered(peer)
    }

    async fn serve(&self, peer: NodeId, request: Request, _body: Bytes) -> (Response, Bytes) {
        let response = match request {
            Request::Ping => Response::Pong { now: now_ms() },
            Request::Heartbeat(signed) => self.heartbeat(peer, signed),
            Request::Miners { after, limit } => self.miners(after, limit),
            Request::Custody { after, limit } => self.custody(after, limit),
            Request::Durability => self.durability(),
            Request::Transitions { after, limit, newest } => self.transitions(after, limit, newest),
            Request::Unnamed { shards } => self.unnamed(peer, shards, None).await,
            Request::UnnamedByOthers { gateway, shards } => self.unnamed(peer, shards, Some(gateway)).await,
            _ => Response::error(ErrorCode::Unsupported, "a validator service takes heartbeats"),
        };
        (response, Bytes::new())
    }
}

impl ValidatorService {
    fn heartbeat(&self, peer: NodeId, signed: SignedHeartbeat) -> Response {
        let snapshot = self.view.snapshot();
        let mut liveness = self.liveness.lock().unwrap_or_else(PoisonError::into_inner);
        match liveness.accept(peer, signed, &snapshot.registry, now_ms()) {
            Ok(()) => {
                self.metrics.heartbeats.inc();
                Response::HeartbeatAccepted { epoch: snapshot.epoch() }
            }
            Err(reason) => {
                self.metrics.heartbeats_refused.inc();
                tracing::debug!(%peer, %reason, "heartbeat refused");
                Response::error(reason.into(), reason.to_string())
            }
        }
    }

    fn miners(&self, after: Option<NodeId>, limit: u16) -> Response {
        if limit == 0 || limit > MINERS_MAX {
            return Response::error(ErrorCode::Malformed, format!("ask for 1 to {MINERS_MAX} miners"));
        }
        let liveness = self.liveness.lock().unwrap_or_else(PoisonError::into_inner);
        let standings = self.standings.lock().unwrap_or_else(PoisonError::into_inner);
        Response::Miners(liveness.page(after, usize::from(limit), &standings))
    }

    fn transitions(&self, after: Option<NodeId>, limit: u16, newest: u8) -> Response {
        let is_sound = (1..=TRANSITIONS_OF_MINER_MAX).contains(&newest)
            && (u16::from(newest)..=TRANSITIONS_MAX).contains(&limit);
        if !is_sound {
            return Response::error(
                ErrorCode::Malformed,
                format!(
                    "ask for the newest 1 to {TRANSITIONS_OF_MINER_MAX} of each miner, and for as many to {TRANSITIONS_MAX} lines"
                ),
            );
        }
        let standings = self.standings.lock().unwrap_or_else(PoisonError::into_inner);
        Response::Transitions(standings.page(after, usize::from(limit), usize::from(newest)))
    }

    fn custody(&self, after: Option<NodeId>, limit: u16) -> Response {
        if limit == 0 || limit > MINERS_MAX {
            return Response::error(ErrorCode::Malformed, format!("ask for 1 to {MINERS_MAX} miners"));
        }
        match self.custody.page(after, usize::from(limit)) {
            Ok(miners) => Response::Custody(miners),
            Err(reason) => Response::error(ErrorCode::Unavailable, reason.to_string()),
        }
    }

    async fn unnamed(&self, peer: NodeId, shards: Vec<ShardHash>, but: Option<NodeId>) -> Response {
        let ledgers = self.ledgers.clone();
        let word = arion_daemon::work::blocking(move || {
            ledgers.unnamed(&peer, UnnamedQuestion { shards: &shards, but })
        });
        let word = word.await;
        match word {
            Ok(Ok(word)) => Response::Unnamed(Box::new(word)),
            Ok(Err(reason)) => {
                tracing::debug!(%peer, %reason, "nothing is said of what no ledger names");
                Response::error(reason.code(), reason.to_string())
            }
            Err(_) => Response::error(ErrorCode::Unavailable, "this service is stopping"),
        }
    }

    fn durability(&self) -> Response {
        match self.last_census.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            Some(found) => Response::Durability(found),
            None => Response::error(
                ErrorCode::Unavailable,
                "this service has taken no census yet: it does so when its ledgers are read, unless repair.enabled is false",
            ),
        }
    }
}
