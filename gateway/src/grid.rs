//! The way to the miners: one call per shard, each answer checked before it counts.
//!
//! # Invariants
//! - A receipt counts only if the right miner signed exactly what was ordered.
//! - Shard bytes leave this module only after they were compared with their address, by `arion_erasure::Addresses` or, parts of
//!   shards, by `arion_proofs`.
//! - Bytes of shards on their way to miners are bounded by [`GridOptions::shards_in_memory`], those of clients on their way in and out by
//!   [`GridOptions::write_bytes`] and [`GridOptions::read_bytes`], however many clients there are (`turns.rs`).
//!
//! # Not here
//! What S3 makes of it ([`crate::s3`]); the protocol (`arion-protocol`).

mod cache;
mod compact;
mod confirm;
mod give_back;
mod pack;
pub mod read;
mod serving;
mod snapshot;
mod surplus;
mod turns;
pub mod upkeep;
pub mod write;

use std::{
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use arion_erasure::{Addresses, CheckedShard};
use arion_net::{CallError, PeerAddr, Transport};
use arion_protocol::{Action, Command, ErrorCode, Request, Response, ShardPlacement};
use arion_types::{GenesisHash, NodeId, ObjectStatement, ShardHash, Signature, SignedReceipt, signing};
use bytes::Bytes;
use ed25519_dalek::SigningKey;
use tokio::sync::Semaphore;

use crate::{audits::Audits, meta::Meta, metrics::Metrics, peers::Peers, placement::Maps};

/// How long a signed command is valid.
const COMMAND_LIFETIME_MS: u64 = 60_000;

/// Bounds of the data path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GridOptions {
    /// Durable shards beyond k that a stripe needs before it is acknowledged.
    pub quorum_extra: u8,
    /// Bytes of ciphertext in a stripe.
    pub stripe_bytes: usize,
    /// Stripes of one upload on their way at once.
    pub stripes_in_flight: usize,
    /// Shards of all uploads in memory at once.
    pub shards_in_memory: usize,
    /// Bytes of shards that were read lately and are kept; 0 for none.
    pub cache_bytes: u64,
    /// Stripes of one download fetched ahead.
    pub stripes_ahead: usize,
    /// Stripes of all downloads fetched ahead.
    pub stripes_ahead_total: usize,
    /// Ciphertext of at most this many bytes shares a stripe with others; 0 packs nothing.
    pub pack_object_bytes: usize,
    /// Longest wait for others to share a stripe with.
    pub pack_delay: Duration,
    /// Shared stripes of which less is needed, in percent, are written anew.
    pub compact_below_percent: u8,
    /// What compaction may read and write in a second together, in bytes; 0 for none.
    pub compact_bytes_per_second: u64,
    /// Bytes of all uploads that wait to be encoded.
    pub write_bytes: usize,
    /// Bytes of all downloads on their way from the miners to their clients, but for stripes fetched ahead.
    pub read_bytes: usize,
    /// Time for one attempt to store a shard.
    pub store_timeout: Duration,
    /// Time for a stripe to reach its quorum.
    pub stripe_timeout: Duration,
    /// Shards without a receipt at the quorum are left to their senders for this long.
    pub tail: Duration,
    /// Uploads in parts that were begun this long ago and are not complete are given up.
    pub upload_age_max: Duration,
    /// A map has to be in force for this long before copies on miners that it does not name are given up.
    pub surplus_after: Duration,
    /// Time for one shard to arrive.
    pub fetch_timeout: Duration,
    /// Least and longest wait for shards before others are asked too.
    pub patience: (Duration, Duration),
    /// Between two statements in the ledger of what miners served.
    pub statement_interval: Duration,
}

impl Default for GridOptions {
    fn default() -> Self {
        Self {
            quorum_extra: 10,
            stripe_bytes: 10 << 20,
            stripes_in_flight: 3,
            shards_in_memory: 120,
            cache_bytes: 64 << 20,
            write_bytes: 200 << 20,
            read_bytes: 160 << 20,
            stripes_ahead: 2,
            pack_object_bytes: 2 << 20,
            pack_delay: Duration::from_millis(3),
            compact_below_percent: 50,
            compact_bytes_per_second: 8 << 20,
            stripes_ahead_total: 16,
            store_timeout: Duration::from_secs(10),
            stripe_timeout: Duration::from_secs(30),
            tail: Duration::from_secs(20),
            upload_age_max: Duration::from_secs(7 * 24 * 3_600),
            surplus_after: Duration::from_secs(3_600),
            fetch_timeout: Duration::from_secs(10),
            patience: (Duration::from_millis(300), Duration::from_secs(2)),
            statement_interval: Duration::from_secs(3_600),
        }
    }
}

/// Why one call about one shard failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ShardError {
    /// The call failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The receipt is not signed by the miner or says something else than was ordered.
    #[error("the receipt does not match the order")]
    BadReceipt,
    /// The bytes do not hash to the address.
    #[error("the answer does not hash to the shard's address")]
    Corrupt,
    /// An answer to another question.
    #[error("an answer to another question")]
    Unexpected,
    /// Another replica may lead by now, whose order it would be.
    #[error("another replica may lead by now")]
    Deposed,
}

impl ShardError {
    /// Whether trying again in a moment makes sense.
    fn is_passing(&self) -> bool {
        match self {
            Self::Call(CallError::Refused { code, .. }) => {
                matches!(code, ErrorCode::Busy | ErrorCode::Unavailable | ErrorCode::NotRegistered)
            }
            Self::Call(CallError::Unreachable { .. } | CallError::Timeout(_)) => true,
            _ => false,
        }
    }

    /// Whether the miner could not be reached.
    fn is_silence(&self) -> bool {
        matches!(
            self,
            Self::Call(
                CallError::Unreachable { .. } | CallError::Timeout(_) | CallError::WrongIdentity { .. }
            )
        )
    }
}

/// The data path of a gateway.
pub struct Grid {
    /// Carries the calls.
    pub transport: Arc<dyn Transport>,
    /// Who holds what.
    pub maps: Maps,
    /// Stripes, ledger, queues.
    pub meta: Meta,
    /// Who is down.
    pub peers: Peers,
    /// How miners were audited lately.
    pub audits: Audits,
    /// Counters.
    pub metrics: Metrics,
    /// Bounds.
    pub options: GridOptions,
    key: SigningKey,
    genesis: GenesisHash,
    shard_slots: Arc<Semaphore>,
    ahead_slots: Arc<Semaphore>,
    write_turns: Arc<turns::Turns>,
    read_turns: Arc<turns::Turns>,
    packer: pack::Packer,
    cache: cache::ShardCache,
    serving: serving::Serving,
}

impl Grid {
    /// A data path that signs with the gateway's node key.
    pub fn new(
        key: SigningKey,
        genesis: GenesisHash,
        transport: Arc<dyn Transport>,
        maps: Maps,
        meta: Meta,
        options: GridOptions,
        metrics: Metrics,
    ) -> Self {
        let shard_slots = Arc::new(Semaphore::new(options.shards_in_memory));
        let ahead_slots = Arc::new(Semaphore::new(options.stripes_ahead_total));
        let write_turns = Arc::new(turns::Turns::new(options.write_bytes));
        let read_turns = Arc::new(turns::Turns::new(options.read_bytes));
        let peers = Peers::default();
        let packer = pack::Packer::new(options.stripe_bytes);
        let cache = cache::ShardCache::new(options.cache_bytes);
        Self {
            transport,
            maps,
            meta,
            peers,
            audits: Audits::default(),
            metrics,
            options,
            key,
            genesis,
            shard_slots,
            ahead_slots,
            write_turns,
            read_turns,
            packer,
            cache,
            serving: serving::Serving::default(),
        }
    }

    /// Hash of block 0 of the chain.
    pub fn genesis(&self) -> GenesisHash {
        self.genesis
    }

    /// The gateway itself.
    pub fn node_id(&self) -> NodeId {
        signing::node_id(&self.key)
    }

    /// Signs what the gateway states of an object.
    pub fn state(&self, statement: &ObjectStatement) -> Signature {
        signing::sign(&self.key, &statement.message(&self.genesis))
    }

    async fn call(
        &self,
        peer: &PeerAddr,
        request: Request,
        body: Bytes,
        deadline: Duration,
    ) -> Result<(Response, Bytes), ShardError> {
        let answer = self.transport.call(peer, request, body, deadline).await.map_err(ShardError::from);
        match &answer {
            Ok(_) => self.peers.answered(&peer.node_id),
            Err(error) if error.is_silence() => self.peers.failed(&peer.node_id),
            Err(_) => {}
        }
        answer
    }

    fn order(&self, action: Action, shard: ShardHash, target: NodeId) -> arion_protocol::SignedCommand {
        let expires_at = arion_daemon::now_ms() + COMMAND_LIFETIME_MS;
        Command { action, shard, target, nonce: rand::random(), expires_at }.sign(&self.genesis, &self.key)
    }

    /// Has a miner store a shard; its receipt is checked.
    async fn store_shard(
        &self,
        peer: &PeerAddr,
        shard: ShardHash,
        placement: ShardPlacement,
        bytes: Bytes,
    ) -> Result<SignedReceipt, ShardError> {
        let command = self.order(Action::Store(placement), shard, peer.node_id);
        let answer = self.call(peer, Request::Store(command), bytes, self.options.store_timeout).await?;
        let Response::Stored(signed) = answer.0 else { return Err(ShardError::Unexpected) };
        let as_ordered = placement.is_met_by(&signed.receipt, &shard, &peer.node_id);
        if as_ordered && signed.verify(&self.genesis) { Ok(signed) } else { Err(ShardError::BadReceipt) }
    }

    /// A shard of a stripe from a miner; it is checked.
    async fn fetch_shard(
        &self,
        peer: &PeerAddr,
        shard: ShardHash,
        addresses: &Addresses,
        index: usize,
    ) -> Result<CheckedShard, ShardError> {
        let began = Instant::now();
        let request = Request::Fetch { shard };
        let (response, body) = self.call(peer, request, Bytes::new(), self.options.fetch_timeout).await?;
        let Response::Shard { .. } = response else { return Err(ShardError::Unexpected) };
        self.metrics.fetched_bytes.inc_by(body.len() as u64);
        let checked = addresses.check(index, body).map_err(|error| self.corrupt(peer, &shard, &error))?;
        self.peers.took(began.elapsed());
        self.cache.keep(shard, &checked);
        self.metrics.cache_bytes.set(self.cache.bytes().cast_signed());
        Ok(checked)
    }

    /// A part of a shard from a miner; it is checked.
    async fn fetch_part(
        &self,
        peer: &PeerAddr,
        shard: ShardHash,
        shard_len: u32,
        part: Range<u32>,
    ) -> Result<Bytes, ShardError> {
        let began = Instant::now();
        let request = Request::FetchRange { shard, offset: part.start, length: part.end - part.start };
        let (response, proof) = self.call(peer, request, Bytes::new(), self.options.fetch_timeout).await?;
        let Response::Shard { .. } = response else { return Err(ShardError::Unexpected) };
        self.metrics.parts_fetched.inc();
        self.metrics.fetched_bytes.inc_by(proof.len() as u64);
        let checked = arion_proofs::verify_range(&shard, shard_len, part, &proof)
            .map_err(|error| self.corrupt(peer, &shard, &error))?;
        self.peers.took(began.elapsed());
        Ok(checked)
    }

    fn corrupt(&self, peer: &PeerAddr, shard: &ShardHash, error: &dyn std::fmt::Display) -> ShardError {
        tracing::warn!(%shard, miner = %peer.node_id, %error, "a miner answered with other bytes than the shard's");
        self.metrics.shards_corrupt.inc();
        ShardError::Corrupt
    }

    /// Has a miner delete a shard; whether it is known not to hold it any more.
    async fn delete_shard(&self, peer: &PeerAddr, shard: ShardHash) -> Result<(), ShardError> {
        // What was read before a pause may be wanted again by now.
        if !self.meta.may_act() {
            return Err(ShardError::Deposed);
        }
        let command = self.order(Action::Delete, shard, peer.node_id);
        let answer =
            self.call(peer, Request::Delete(command), Bytes::new(), self.options.store_timeout).await;
        match answer {
            Ok((Response::Deleted { .. }, _))
            | Err(ShardError::Call(CallError::Refused { code: ErrorCode::NotFound, .. })) => Ok(()),
            Ok(_) => Err(ShardError::Unexpected),
            Err(error) => Err(error),
        }
    }
}
