//! The way to the miners and gateways: one call per shard, each answer checked before it counts.
//!
//! # Invariants
//! - Bytes leave this module only after they were compared with their address.
//! - A receipt counts only if the right miner signed exactly what was ordered.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use arion_daemon::{now_ms, work::same_host};
use arion_net::{CallError, PeerAddr, Transport};
use arion_protocol::{
    Action, Command, ErrorCode, ListedShard, Request, Response, ShardPlacement, SignedCommand,
    limits::{LIST_SHARDS_MAX, STAT_SHARDS_MAX},
};
use arion_types::{GenesisHash, NodeId, ShardHash, SignedReceipt};
use bytes::Bytes;
use ed25519_dalek::SigningKey;
use tokio::task::JoinSet;

use super::{map::CurrentMap, plan::Answer, rate::Rate};
use crate::metrics::Metrics;

/// Time for a question without a shard.
const STAT_DEADLINE: Duration = Duration::from_secs(5);
/// Time for a shard.
const SHARD_DEADLINE: Duration = Duration::from_secs(20);
/// How long a signed command is valid.
const COMMAND_LIFETIME_MS: u64 = 60_000;
/// A miner that did not answer is not asked again for this long.
const SILENT_FOR: Duration = Duration::from_secs(5);
/// Miners asked at once.
const ASKED_AT_ONCE: usize = 64;
/// What is read back of a shard that was written.
const READ_BACK_BYTES: u32 = 16 << 10;

/// What [`ShardError::Wrong`] is about.
const RECEIPT: &str = "the miner's receipt of what was ordered";
const BYTES: &str = "what the shard's address stands for";
const KIND: &str = "of the kind that was asked for";

/// Why a call about a shard failed.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum ShardError {
    /// The call failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The miner answered, but not with what was asked for.
    #[error("the answer is not {0}")]
    Wrong(&'static str),
    /// No map that the chain keeps has the miner.
    #[error("no map says where the miner is")]
    Nowhere,
}

/// What miners said.
#[derive(Debug, Default)]
pub(super) struct Answers {
    silent: HashSet<NodeId>,
    held: HashSet<(NodeId, ShardHash)>,
}

impl Answers {
    /// Whether a miner has a shard, on whoever's order and for whatever stripe it came.
    pub(super) fn of(&self, node: &NodeId, shard: &ShardHash) -> Answer {
        match self.silent.contains(node) {
            true => Answer::Silent,
            false if self.held.contains(&(*node, *shard)) => Answer::Held,
            false => Answer::Absent,
        }
    }
}

/// Questions by miner: shards, none to ask only whether it answers.
pub(super) type Questions = BTreeMap<NodeId, Vec<ShardHash>>;

/// Calls miners and gateways.
pub(super) struct Miners {
    /// Carries the calls.
    pub(super) transport: Arc<dyn Transport>,
    /// The chain.
    pub(super) genesis: GenesisHash,
    /// Signs commands.
    pub(super) key: SigningKey,
    /// Bounds the bytes of shards.
    pub(super) rate: Rate,
    /// Counters.
    pub(super) metrics: Metrics,
    /// Who did not answer, and when.
    pub(super) silent: Mutex<HashMap<NodeId, Instant>>,
}

impl Miners {
    fn silent_lately(&self, node: &NodeId) -> bool {
        let mut silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        silent.retain(|_, since| since.elapsed() < SILENT_FOR);
        silent.contains_key(node)
    }

    async fn call(
        &self,
        peer: &PeerAddr,
        request: Request,
        body: Bytes,
        deadline: Duration,
    ) -> Result<(Response, Bytes), ShardError> {
        let answer = self.transport.call(peer, request, body, deadline).await;
        if matches!(
            answer,
            Err(CallError::Unreachable { .. } | CallError::Timeout(_) | CallError::WrongIdentity { .. })
        ) {
            let mut silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
            silent.insert(peer.node_id, Instant::now());
        }
        Ok(answer?)
    }

    /// Asks miners for shards. Who does not answer all of it is silent.
    pub(super) async fn ask(self: &Arc<Self>, map: &CurrentMap, questions: Questions) -> Answers {
        let mut answers = Answers::default();
        let mut asking = JoinSet::new();
        let mut waiting = questions.into_iter();
        loop {
            while asking.len() < ASKED_AT_ONCE
                && let Some((node, shards)) = waiting.next()
            {
                match map.address(&node).filter(|_| !self.silent_lately(&node)) {
                    Some(peer) => {
                        let (miners, peer) = (self.clone(), peer.clone());
                        asking.spawn(same_host(async move { (node, miners.stat(&peer, shards).await) }));
                    }
                    None => drop(answers.silent.insert(node)),
                }
            }
            match asking.join_next().await {
                Some(Ok((node, Ok(held)))) => {
                    answers.held.extend(held.into_iter().map(|shard| (node, shard)));
                }
                Some(Ok((node, Err(error)))) => {
                    tracing::debug!(miner = %node, %error, "a miner does not say what it has");
                    answers.silent.insert(node);
                }
                Some(Err(_)) => {}
                None => return answers,
            }
        }
    }

    /// Which of these shards a miner has.
    async fn stat(&self, peer: &PeerAddr, shards: Vec<ShardHash>) -> Result<Vec<ShardHash>, ShardError> {
        let mut held = Vec::new();
        let pages: Vec<&[ShardHash]> = match shards.is_empty() {
            true => vec![&[]],
            false => shards.chunks(STAT_SHARDS_MAX).collect(),
        };
        for page in pages {
            let request = Request::Stat { shards: page.to_vec() };
            let Response::Stats(stats) = self.call(peer, request, Bytes::new(), STAT_DEADLINE).await?.0
            else {
                return Err(ShardError::Wrong(KIND));
            };
            if stats.len() != page.len() {
                return Err(ShardError::Wrong(KIND));
            }
            let pairs = page.iter().zip(stats);
            held.extend(pairs.filter_map(|(shard, stat)| stat.map(|_| *shard)));
        }
        Ok(held)
    }

    /// A shard from the first of these miners that has it.
    pub(super) async fn fetch(
        &self,
        map: &CurrentMap,
        nodes: &[NodeId],
        shard: ShardHash,
        size: u32,
    ) -> Result<Bytes, ShardError> {
        let mut failure = ShardError::Nowhere;
        for node in nodes {
            let Some(peer) = map.address(node) else { continue };
            self.rate.take(size.into()).await;
            match self.call(peer, Request::Fetch { shard }, Bytes::new(), SHARD_DEADLINE).await {
                Ok((Response::Shard { .. }, body)) => {
                    self.metrics.repair.read_bytes.inc_by(body.len() as u64);
                    if body.len() == size as usize && *blake3::hash(&body).as_bytes() == shard.0 {
                        return Ok(body);
                    }
                    self.metrics.repair.shards_corrupt.inc();
                    tracing::warn!(%shard, miner = %node, "a miner answered with other bytes than the shard's");
                    failure = ShardError::Wrong(BYTES);
                }
                Ok(_) => failure = ShardError::Wrong(KIND),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    fn order(&self, action: Action, shard: ShardHash, target: NodeId) -> SignedCommand {
        let expires_at = now_ms().saturating_add(COMMAND_LIFETIME_MS);
        Command { action, shard, target, nonce: rand::random(), expires_at }.sign(&self.genesis, &self.key)
    }

    /// Has a miner store a shard; its receipt is checked, and a part of the shard read back. Without bytes it signs again for a shard that it
    /// has; one that does not have it, or is of an earlier version, refuses.
    pub(super) async fn store(
        &self,
        map: &CurrentMap,
        node: &NodeId,
        shard: ShardHash,
        placement: ShardPlacement,
        bytes: Bytes,
    ) -> Result<SignedReceipt, ShardError> {
        let peer = map.address(node).ok_or(ShardError::Nowhere)?;
        let sent = bytes.len() as u64;
        if sent > 0 {
            self.rate.take(sent).await;
        }
        let command = self.order(Action::Store(placement), shard, *node);
        let answer = self.call(peer, Request::Store(command), bytes, SHARD_DEADLINE).await?;
        let Response::Stored(signed) = answer.0 else { return Err(ShardError::Wrong(KIND)) };
        self.metrics.repair.written_bytes.inc_by(sent);
        if !placement.is_met_by(&signed.receipt, &shard, node) || !signed.verify(&self.genesis) {
            return Err(ShardError::Wrong(RECEIPT));
        }
        self.read_back(peer, shard, placement.size).await?;
        Ok(signed)
    }

    /// Has a miner prove some bytes of a shard that nobody could tell before.
    async fn read_back(&self, peer: &PeerAddr, shard: ShardHash, size: u32) -> Result<(), ShardError> {
        let offset = rand::random_range(0..size.max(1));
        let length = READ_BACK_BYTES.min(size - offset);
        let request = Request::FetchRange { shard, offset, length };
        let (response, proof) = self.call(peer, request, Bytes::new(), SHARD_DEADLINE).await?;
        let Response::Shard { size: said } = response else { return Err(ShardError::Wrong(KIND)) };
        let range = offset..offset.saturating_add(length);
        match said == size && arion_proofs::verify_range(&shard, size, range, &proof).is_ok() {
            true => Ok(()),
            false => Err(ShardError::Wrong(BYTES)),
        }
    }

    /// Has a miner take back that it deleted a shard; whether it has it now.
    pub(super) async fn restore(
        &self,
        map: &CurrentMap,
        node: &NodeId,
        shard: ShardHash,
    ) -> Result<bool, ShardError> {
        let peer = map.address(node).filter(|_| !self.silent_lately(node)).ok_or(ShardError::Nowhere)?;
        let request = Request::Restore(self.order(Action::Restore, shard, *node));
        match self.call(peer, request, Bytes::new(), SHARD_DEADLINE).await? {
            (Response::Restored { exists }, _) => Ok(exists),
            _ => Err(ShardError::Wrong(KIND)),
        }
    }

    /// Has a miner delete a shard.
    pub(super) async fn delete(
        &self,
        map: &CurrentMap,
        node: &NodeId,
        shard: ShardHash,
    ) -> Result<(), ShardError> {
        let peer = map.address(node).ok_or(ShardError::Nowhere)?;
        let request = Request::Delete(self.order(Action::Delete, shard, *node));
        match self.call(peer, request, Bytes::new(), STAT_DEADLINE).await {
            Ok((Response::Deleted { .. }, _))
            | Err(ShardError::Call(CallError::Refused { code: ErrorCode::NotFound, .. })) => Ok(()),
            Ok(_) => Err(ShardError::Wrong(KIND)),
            Err(error) => Err(error),
        }
    }

    /// A page of what a miner has, in order of address.
    pub(super) async fn list(
        &self,
        peer: &PeerAddr,
        after: Option<ShardHash>,
    ) -> Result<Vec<ListedShard>, ShardError> {
        let request = Request::List { after, limit: LIST_SHARDS_MAX };
        match self.call(peer, request, Bytes::new(), STAT_DEADLINE).await?.0 {
            Response::Listing(page) if page.len() <= usize::from(LIST_SHARDS_MAX) => Ok(page),
            _ => Err(ShardError::Wrong(KIND)),
        }
    }

    /// Tells a gateway who holds shards of one of its stripes now; whether it wants the stripe.
    pub(super) async fn tell(
        &self,
        gateway: &PeerAddr,
        receipts: Vec<SignedReceipt>,
    ) -> Result<bool, ShardError> {
        match self.call(gateway, Request::Relocated { receipts }, Bytes::new(), SHARD_DEADLINE).await?.0 {
            Response::Relocated { wanted } => Ok(wanted),
            _ => Err(ShardError::Wrong(KIND)),
        }
    }
}
