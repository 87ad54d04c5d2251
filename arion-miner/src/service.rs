//! Answers requests: one file per kind, checks in the order of their cost.
//!
//! # Invariants
//! - Fail closed: while the chain has not been seen, everything but `Ping` and `Stat` is refused.
//! - Audits and transfers have budgets of their own: neither can starve the other.
//! - Refusals carry a code and one line; what happened inside stays in the log.

mod challenge;
mod command;
mod delete;
mod fetch;
mod list;
mod restore;
mod stat;
mod store;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arion_net::Service;
use arion_protocol::{ErrorCode, Request, Response};
use arion_types::{GenesisHash, NodeId, signing};
use async_trait::async_trait;
use bytes::Bytes;
use ed25519_dalek::SigningKey;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{
    chain_facts::{ChainFacts, Roles},
    consent::Consent,
    metrics::Metrics,
    orphans::Orphans,
    replay::ReplayGuard,
    store::{Clock, Owner, ReadError, Volumes, WriteError},
};

/// How long a request waits for its budget before it is told `Busy`.
const BUDGET_WAIT: Duration = Duration::from_secs(2);

/// Requests that may be worked on at once.
#[derive(Clone, Copy, Debug)]
pub struct Budgets {
    /// `Fetch`, `FetchRange`, `Store`, `Delete`, `Restore`.
    pub transfers_max: usize,
    /// `Challenge`.
    pub audits_max: usize,
}

/// Parts of a [`MinerService`].
pub struct Parts {
    /// The miner's key.
    pub key: SigningKey,
    /// Its shards.
    pub store: Arc<Volumes>,
    /// The finalised chain.
    pub chain: Arc<dyn ChainFacts>,
    /// Nonces seen.
    pub replays: ReplayGuard,
    /// The time, for commands and their nonces: the clock of the store, too.
    pub clock: Clock,
    /// Bounds.
    pub budgets: Budgets,
    /// Metrics.
    pub metrics: Metrics,
}

/// The requests of `arion-protocol` that a miner serves.
pub struct MinerService {
    node_id: NodeId,
    key: SigningKey,
    store: Arc<Volumes>,
    chain: Arc<dyn ChainFacts>,
    replays: ReplayGuard,
    clock: Clock,
    transfers: Semaphore,
    audits: Semaphore,
    metrics: Metrics,
    orphans: Arc<Orphans>,
    consent: Arc<Consent>,
    /// Keys the numbers that stand for who had a shard stored.
    owners: [u8; 32],
}

/// A request that is not carried out.
struct Refusal {
    code: ErrorCode,
    detail: &'static str,
}

type Answer = Result<(Response, Bytes), Refusal>;

fn refuse<T>(code: ErrorCode, detail: &'static str) -> Result<T, Refusal> {
    Err(Refusal { code, detail })
}

impl MinerService {
    /// A service of these parts.
    pub fn new(parts: Parts) -> Self {
        let Parts { key, store, chain, replays, clock, budgets, metrics } = parts;
        Self {
            node_id: signing::node_id(&key),
            owners: blake3::derive_key("arion 2026-11 shard owner v1", key.as_bytes()),
            key,
            store,
            chain,
            replays,
            clock,
            transfers: Semaphore::new(budgets.transfers_max),
            audits: Semaphore::new(budgets.audits_max),
            metrics,
            orphans: Arc::default(),
            consent: Arc::default(),
        }
    }

    /// What is told of shards that nobody wants; requests say to the contrary.
    pub fn orphans(&self) -> &Arc<Orphans> {
        &self.orphans
    }

    /// Asks whether deletions harm anybody.
    pub fn consent(&self) -> &Arc<Consent> {
        &self.consent
    }

    /// The number that stands for a node. Nobody else can tell which nodes share one.
    fn owner(&self, node: &NodeId) -> Owner {
        let hash = blake3::keyed_hash(&self.owners, &node.0);
        let [a, b, c, d, ..] = *hash.as_bytes();
        Owner(u32::from_le_bytes([a, b, c, d]).max(1))
    }

    fn now_ms(&self) -> u64 {
        (self.clock)()
    }

    fn genesis(&self) -> Result<GenesisHash, Refusal> {
        self.chain.genesis().ok_or(Refusal {
            code: ErrorCode::Unavailable,
            detail: "this node has not reached the chain yet",
        })
    }

    fn roles(&self, node: &NodeId) -> Result<Roles, Refusal> {
        self.chain.roles(node).ok_or(Refusal {
            code: ErrorCode::Unavailable,
            detail: "this node has not reached the chain yet",
        })
    }

    /// Any role will do.
    fn check_registered(&self, peer: &NodeId) -> Result<(), Refusal> {
        match self.roles(peer)?.any() {
            true => Ok(()),
            false => refuse(ErrorCode::NotRegistered, "register this key on the chain first"),
        }
    }

    async fn answer(&self, peer: NodeId, request: Request, body: Bytes) -> Answer {
        let takes_body = matches!(request, Request::Store(_));
        if !takes_body && !body.is_empty() {
            return refuse(ErrorCode::Malformed, "this request has no body");
        }
        match request {
            Request::Ping => Ok((Response::Pong { now: self.now_ms() }, Bytes::new())),
            Request::Store(command) => self.store(command, body).await,
            Request::Fetch { shard } => self.fetch(peer, shard).await,
            Request::FetchRange { shard, offset, length } => {
                self.fetch_range(peer, shard, offset, length).await
            }
            Request::Stat { shards } => self.stat(&shards),
            Request::List { after, limit } => self.list(peer, after, limit),
            Request::Delete(command) => self.delete(command).await,
            Request::Restore(command) => self.restore(command).await,
            Request::Challenge { shard, seed } => self.challenge(peer, shard, seed).await,
            Request::Heartbeat(_)
            | Request::LedgerPage { .. }
            | Request::LedgerSince { .. }
            | Request::LedgerFrom { .. }
            | Request::Miners { .. }
            | Request::Custody { .. }
            | Request::Durability
            | Request::Unnamed { .. }
            | Request::UnnamedByOthers { .. }
            | Request::Transitions { .. }
            | Request::LedgerBase
            | Request::Attest
            | Request::AttestShown
            | Request::Relocated { .. } => refuse(ErrorCode::Unsupported, "a miner does not serve this"),
        }
    }
}

/// A place in a budget, waited for a moment.
async fn place(budget: &Semaphore) -> Result<SemaphorePermit<'_>, Refusal> {
    match tokio::time::timeout(BUDGET_WAIT, budget.acquire()).await {
        Ok(Ok(place)) => Ok(place),
        _ => refuse(ErrorCode::Busy, "this node works on as many requests of this kind as it can"),
    }
}

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::NotFound => Self { code: ErrorCode::NotFound, detail: "not stored here" },
            ReadError::Damaged => {
                Self { code: ErrorCode::Damaged, detail: "its bytes no longer match its address" }
            }
            ReadError::Io(error) => {
                tracing::error!(%error, "reading a shard failed");
                Self { code: ErrorCode::Unavailable, detail: "the disk failed" }
            }
        }
    }
}

impl From<WriteError> for Refusal {
    fn from(error: WriteError) -> Self {
        let (code, detail) = match error {
            WriteError::NoSpace => (ErrorCode::NoSpace, "this node is full"),
            WriteError::Conflict => (ErrorCode::Conflict, "stored already for another stripe or position"),
            WriteError::Shared => {
                (ErrorCode::Unavailable, "somebody else has had it stored meanwhile: order it again")
            }
            WriteError::HashMismatch => (ErrorCode::HashMismatch, "the body is not the shard"),
            WriteError::Busy => (ErrorCode::Busy, "no file descriptor or memory left: try again"),
            WriteError::Failed => (ErrorCode::Unavailable, "the disk failed: this node only reads"),
            WriteError::Closed => (ErrorCode::Unavailable, "this node is stopping"),
        };
        Self { code, detail }
    }
}

fn kind(request: &Request) -> &'static str {
    match request {
        Request::Ping => "ping",
        Request::Store(_) => "store",
        Request::Fetch { .. } => "fetch",
        Request::FetchRange { .. } => "fetch_range",
        Request::Stat { .. } => "stat",
        Request::List { .. } => "list",
        Request::Delete(_) => "delete",
        Request::Challenge { .. } => "challenge",
        Request::Restore(_) => "restore",
        _ => "other",
    }
}

fn outcome(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::Malformed => "malformed",
        ErrorCode::Unsupported => "unsupported",
        ErrorCode::Unauthorized => "unauthorized",
        ErrorCode::NotRegistered => "not_registered",
        ErrorCode::BadSignature => "bad_signature",
        ErrorCode::Expired => "expired",
        ErrorCode::Replayed => "replayed",
        ErrorCode::Misdirected => "misdirected",
        ErrorCode::NotFound => "not_found",
        ErrorCode::Damaged => "damaged",
        ErrorCode::HashMismatch => "hash_mismatch",
        ErrorCode::NoSpace => "no_space",
        ErrorCode::Busy => "busy",
        ErrorCode::Unavailable => "unavailable",
        ErrorCode::Conflict => "conflict",
        ErrorCode::Misplaced => "misplaced",
        ErrorCode::TooEarly => "too_early",
        ErrorCode::Unknown(_) => "other",
    }
}

#[async_trait]
impl Service for MinerService {
    fn knows(&self, peer: &NodeId) -> bool {
        // Before the chain was reached nobody can be told apart, and what is asked is refused as `Unavailable`.
        self.chain.roles(peer).is_none_or(Roles::any)
    }

    async fn serve(&self, peer: NodeId, request: Request, body: Bytes) -> (Response, Bytes) {
        let (kind, start, received) = (kind(&request), Instant::now(), body.len());
        let (answer, outcome) = match self.answer(peer, request, body).await {
            Ok(answer) => (answer, "ok"),
            Err(Refusal { code, detail }) => {
                tracing::debug!(%peer, kind, %code, detail, "request refused");
                ((Response::error(code, detail), Bytes::new()), outcome(code))
            }
        };
        self.metrics.request(kind, outcome, start.elapsed().as_secs_f64(), received, answer.1.len());
        answer
    }
}
