//! Reading: shards in parallel from whoever answers first, decoded only where a data shard is missing.
//!
//! The data shards that hold the wanted bytes are asked for first. As soon as one fails, keeps everybody waiting, or lies
//! with a miner that is known to be down, others are asked too, until any k shards are there. Shards that were read lately
//! are still there, see `cache.rs`; nobody is asked for them.

mod pieces;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    ops::Range,
    sync::Arc,
};

use arion_crypto::{DataKey, Decryptor, segment_range};
use arion_daemon::work::{self, same_host};
use arion_erasure::{Addresses, CheckedShard};
use arion_net::PeerAddr;
use arion_types::NodeId;
use bytes::{Bytes, BytesMut};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    task::JoinSet,
    time::Instant,
};

use self::pieces::{Wanted, pieces};
use super::{Grid, ShardError, turns::Turn};
use crate::{
    manifest::{PartManifest, StripeRecord},
    peers::Standing,
    stripe_code::{self, CodeError},
};

/// Ciphertext of a whole segment.
const SEALED_BYTES: usize = arion_crypto::SEGMENT_BYTES + arion_crypto::TAG_BYTES;
/// Pieces of plaintext that wait for a slow client.
const PIECES_WAITING: usize = 32;
/// Maps that are searched for a shard.
const MAPS_SEARCHED: usize = 4;
/// Longest time for one stripe, in fetch timeouts.
const STRIPE_FETCHES: u32 = 4;

/// Why an object cannot be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// Too few shards could be had.
    #[error("{found} of the {needed} shards that a stripe needs could be read")]
    Unreadable {
        /// Shards that could.
        found: usize,
        /// Shards needed.
        needed: usize,
    },
    /// The stripe cannot be decoded.
    #[error(transparent)]
    Code(#[from] CodeError),
    /// The shards are as signed, but they do not open under the key.
    #[error(transparent)]
    Sealed(#[from] arion_crypto::OpenError),
    /// A part of the gateway failed.
    #[error("internal failure")]
    Internal,
}

/// A part of an object with the key that opens it.
pub struct OpenPart {
    /// Where its bytes are.
    pub manifest: PartManifest,
    /// Its key.
    pub key: DataKey,
}

/// Plaintext as it comes.
pub type Plaintext = mpsc::Receiver<Result<Bytes, ReadError>>;

impl Grid {
    /// The bytes `range` of the plaintext of the parts, one behind the other. The range must lie within.
    ///
    /// Reading stops when the receiver is dropped.
    pub fn read(self: &Arc<Self>, parts: Vec<OpenPart>, range: Range<u64>) -> Plaintext {
        let (sender, receiver) = mpsc::channel(PIECES_WAITING);
        let grid = self.clone();
        tokio::spawn(same_host(async move {
            let mut start = 0u64;
            for part in parts {
                let end = start.saturating_add(part.manifest.plain_len);
                let within = range.start.max(start)..range.end.min(end);
                // An empty object has nothing to read but still something to verify: its one segment.
                if within.start < within.end || (range.is_empty() && part.manifest.plain_len == 0) {
                    let within = within.start - start..within.end.max(within.start) - start;
                    if let Err(error) = grid.read_part(&part, within, &sender).await {
                        let _ = sender.send(Err(error)).await;
                        return;
                    }
                }
                start = end;
            }
        }));
        receiver
    }

    async fn read_part(
        self: &Arc<Self>,
        part: &OpenPart,
        plain: Range<u64>,
        sender: &mpsc::Sender<Result<Bytes, ReadError>>,
    ) -> Result<(), ReadError> {
        let manifest = &part.manifest;
        if !manifest.is_possible() {
            return Err(CodeError::Shape.into());
        }
        let (segments, sealed) = match plain.is_empty() {
            true => (0..1, 0..manifest.cipher_len),
            false => segment_range(plain.clone(), manifest.plain_len),
        };
        let last_segment = arion_crypto::layout::segment_count(manifest.plain_len) - 1;
        let decryptor = Decryptor::new(&part.key);
        let mut stripes =
            Stripes { grid: self.clone(), todo: pieces(manifest, sealed.clone()), running: VecDeque::new() };
        let mut buffer = BytesMut::new();
        let mut segment = segments.start;
        let mut left = sealed.end - sealed.start;
        while let Some(mut shards) = stripes.next().await {
            while let Some(bytes) = shards.bytes.recv().await {
                let bytes = bytes?;
                left -= bytes.len() as u64;
                buffer.extend_from_slice(&bytes);
                while buffer.len() >= SEALED_BYTES || (left == 0 && !buffer.is_empty()) {
                    let mut whole = buffer.split_to(buffer.len().min(SEALED_BYTES));
                    let opened = decryptor.open(segment, segment == last_segment, &mut whole)?.len();
                    whole.truncate(opened);
                    let start = segment * arion_crypto::SEGMENT_BYTES as u64;
                    let from = plain.start.max(start) - start;
                    let to = plain.end.min(start + opened as u64).saturating_sub(start).max(from);
                    let piece = whole.freeze().slice(from as usize..to as usize);
                    self.metrics.bytes_out.inc_by(piece.len() as u64);
                    if !piece.is_empty() && sender.send(Ok(piece)).await.is_err() {
                        return Ok(());
                    }
                    segment += 1;
                }
            }
        }
        if left == 0 && segment == segments.end { Ok(()) } else { Err(ReadError::Internal) }
    }

    /// Whole data shards of a stripe, in order: what the background work starts from.
    pub(super) async fn read_stripe(
        self: &Arc<Self>,
        record: &StripeRecord,
    ) -> Result<Vec<Bytes>, ReadError> {
        if !record.is_possible() {
            return Err(CodeError::Shape.into());
        }
        let data = usize::from(record.data_shards);
        let whole = Wanted { record: record.clone(), bytes: 0..data * record.shard_len as usize };
        let (sender, mut receiver) = mpsc::channel(data);
        let fetch = tokio::spawn(same_host(Fetch::run(self.clone(), whole, sender)));
        let mut shards = Vec::with_capacity(data);
        while let Some(shard) = receiver.recv().await {
            shards.push(shard?);
        }
        fetch.await.map_err(|_| ReadError::Internal)?;
        if shards.len() == data { Ok(shards) } else { Err(ReadError::Internal) }
    }
}

/// How many bytes the shards of a part are asked for where these of its ciphertext are wanted.
#[cfg(any(test, feature = "checks"))]
pub(crate) fn wanted_bytes(part: &PartManifest, sealed: Range<u64>) -> u64 {
    let pieces = pieces(part, sealed);
    let of_piece =
        |piece: &Wanted| piece.shards().map(|shard| piece.of_shard(shard).len() as u64).sum::<u64>();
    pieces.iter().map(of_piece).sum()
}

/// Stripes fetched one behind the other, some of them ahead.
struct Stripes {
    grid: Arc<Grid>,
    todo: VecDeque<Wanted>,
    running: VecDeque<Shards>,
}

struct Shards {
    bytes: mpsc::Receiver<Result<Bytes, ReadError>>,
    _room: Room,
}

/// What bounds the shards in memory.
enum Room {
    Turn(#[expect(dead_code, reason = "held")] Turn),
    Ahead(#[expect(dead_code, reason = "held")] OwnedSemaphorePermit),
}

impl Stripes {
    /// The next stripe, when it is its turn; stripes behind it only while slots are free.
    async fn next(&mut self) -> Option<Shards> {
        let next = match self.running.pop_front() {
            Some(shards) => shards,
            None => {
                let wanted = self.todo.pop_front()?;
                let bytes = wanted.shards().len() * wanted.record.shard_len as usize;
                let turn = self.grid.read_turns.take(bytes).await;
                self.start(wanted, Room::Turn(turn))
            }
        };
        while self.running.len() < self.grid.options.stripes_ahead && !self.todo.is_empty() {
            let Ok(slot) = self.grid.ahead_slots.clone().try_acquire_owned() else { break };
            let Some(wanted) = self.todo.pop_front() else { break };
            let shards = self.start(wanted, Room::Ahead(slot));
            self.running.push_back(shards);
        }
        Some(next)
    }

    fn start(&self, wanted: Wanted, room: Room) -> Shards {
        let (sender, bytes) = mpsc::channel(wanted.shards().len().max(1));
        tokio::spawn(same_host(Fetch::run(self.grid.clone(), wanted, sender)));
        Shards { bytes, _room: room }
    }
}

/// A place where a shard may be.
struct Candidate {
    index: usize,
    peer: PeerAddr,
    /// 0: where the current map puts it; then where that of the stripe's epoch did, and other maps.
    map_order: usize,
}

/// One stripe on its way in.
struct Fetch {
    grid: Arc<Grid>,
    wanted: Wanted,
    addresses: Addresses,
    sender: mpsc::Sender<Result<Bytes, ReadError>>,
    candidates: Vec<Candidate>,
    got: Vec<Option<CheckedShard>>,
    calls: JoinSet<(usize, NodeId, Result<CheckedShard, ShardError>)>,
    /// Shards asked for and not there yet; whether the miner keeps us waiting.
    waiting: HashMap<usize, HashSet<NodeId>>,
    slow: HashSet<(usize, NodeId)>,
    decoding: bool,
    rounds: usize,
    sent: usize,
}

impl Fetch {
    fn new(
        grid: Arc<Grid>,
        wanted: Wanted,
        sender: mpsc::Sender<Result<Bytes, ReadError>>,
    ) -> Result<Self, ReadError> {
        let record = &wanted.record;
        let addresses = stripe_code::addresses(record.data_shards, record.hashes.clone(), record.shard_len)?;
        let id = record.id();
        let mut seen = HashSet::new();
        let mut candidates = Vec::new();
        let maps = grid.maps.search_order(record.epoch);
        for (map_order, map) in maps.iter().take(MAPS_SEARCHED).enumerate() {
            for (index, miner) in map.place(&id).into_iter().enumerate().take(record.hashes.len()) {
                let Some(miner) = miner else { continue };
                if seen.insert((index, miner.node_id)) {
                    candidates.push(Candidate { index, peer: grid.maps.address(miner), map_order });
                }
            }
        }
        let sent = wanted.shards().start;
        let cached = |(index, hash)| addresses.adopt(index, &grid.cache.get(hash)?);
        let got: Vec<_> = record.hashes.iter().enumerate().map(cached).collect();
        let hits = wanted.shards().filter(|index| got[*index].is_some()).count();
        grid.metrics.cache_hits.inc_by(hits as u64);
        grid.metrics.cache_misses.inc_by((wanted.shards().len() - hits) as u64);
        Ok(Self {
            got,
            wanted,
            addresses,
            grid,
            sender,
            candidates,
            calls: JoinSet::new(),
            waiting: HashMap::new(),
            slow: HashSet::new(),
            decoding: false,
            rounds: 0,
            sent,
        })
    }

    fn needed(&self) -> usize {
        usize::from(self.wanted.record.data_shards)
    }

    fn found(&self) -> usize {
        self.got.iter().flatten().count()
    }

    async fn run(grid: Arc<Grid>, wanted: Wanted, sender: mpsc::Sender<Result<Bytes, ReadError>>) {
        let stripe = wanted.record.id();
        let outcome = match Self::new(grid, wanted, sender.clone()) {
            Ok(mut fetch) => fetch.fetch().await,
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            tracing::warn!(%stripe, %error, "a stripe cannot be read");
            let _ = sender.send(Err(error)).await;
        }
    }

    async fn fetch(&mut self) -> Result<(), ReadError> {
        for index in self.wanted.shards() {
            self.decoding |= self.got[index].is_none() && !self.ask_home(index);
        }
        let (least, most) = self.grid.options.patience;
        let deadline = Instant::now() + self.grid.options.fetch_timeout * STRIPE_FETCHES;
        loop {
            self.emit().await;
            if self.sent == self.wanted.shards().end {
                return Ok(());
            }
            if self.found() >= self.needed() {
                return self.decode().await;
            }
            if self.decoding {
                self.ask_others();
            }
            if self.calls.is_empty() {
                return Err(ReadError::Unreadable { found: self.found(), needed: self.needed() });
            }
            let patience = self.grid.peers.patience(least, most);
            tokio::select! {
                Some(call) = self.calls.join_next() => {
                    let (index, node, answer) = call.map_err(|_| ReadError::Internal)?;
                    self.arrived(index, node, answer);
                }
                () = tokio::time::sleep(patience) => self.lose_patience(),
                () = tokio::time::sleep_until(deadline) => {
                    return Err(ReadError::Unreadable { found: self.found(), needed: self.needed() });
                }
                () = self.sender.closed() => return Ok(()),
            }
        }
    }

    /// Asks the miner where a shard belongs; not if it is down.
    fn ask_home(&mut self, index: usize) -> bool {
        let home = self.candidates.iter().position(|candidate| {
            candidate.index == index
                && candidate.map_order == 0
                && self.grid.peers.standing(&candidate.peer.node_id) == Standing::Good
        });
        home.map(|at| self.ask(at)).is_some()
    }

    fn ask(&mut self, at: usize) {
        let Candidate { index, peer, .. } = self.candidates.swap_remove(at);
        let (grid, addresses, shard) =
            (self.grid.clone(), self.addresses.clone(), self.wanted.record.hashes[index]);
        self.waiting.entry(index).or_default().insert(peer.node_id);
        self.calls.spawn(same_host(async move {
            let answer = grid.fetch_shard(&peer, shard, &addresses, index).await;
            (index, peer.node_id, answer)
        }));
    }

    /// Has as many shards under way as are still needed to decode, and more with every round of waiting.
    fn ask_others(&mut self) {
        let missing = self.needed() - self.found();
        let target = missing * (1 + self.rounds).min(3);
        loop {
            let prompt = self
                .waiting
                .iter()
                .filter(|(index, nodes)| nodes.iter().any(|node| !self.slow.contains(&(**index, *node))))
                .count();
            if prompt >= target {
                return;
            }
            let best = (0..self.candidates.len())
                .filter(|at| self.got[self.candidates[*at].index].is_none())
                .min_by_key(|at| {
                    let candidate = &self.candidates[*at];
                    let asked = self.waiting.contains_key(&candidate.index);
                    let standing = self.grid.peers.standing(&candidate.peer.node_id);
                    (candidate.map_order, standing, asked, candidate.index)
                });
            // Miners that are down are worth a call only when nobody else is left to wait for.
            let best = best.filter(|at| {
                let standing = self.grid.peers.standing(&self.candidates[*at].peer.node_id);
                standing != Standing::Down || prompt < missing
            });
            match best {
                Some(at) => self.ask(at),
                None => return,
            }
        }
    }

    fn arrived(&mut self, index: usize, node: NodeId, answer: Result<CheckedShard, ShardError>) {
        if let Some(nodes) = self.waiting.get_mut(&index) {
            nodes.remove(&node);
            if nodes.is_empty() {
                self.waiting.remove(&index);
            }
        }
        self.slow.remove(&(index, node));
        match answer {
            Ok(shard) => {
                if self.got[index].is_none() {
                    self.grid.serving.count(node, shard.bytes().len());
                }
                self.got[index] = Some(shard);
            }
            Err(error) => {
                tracing::debug!(miner = %node, index, %error, "a shard was not fetched");
                self.decoding = true;
            }
        }
    }

    fn lose_patience(&mut self) {
        self.grid.metrics.hedges.inc();
        self.decoding = true;
        self.rounds += 1;
        for (index, nodes) in &self.waiting {
            for node in nodes {
                if self.slow.insert((*index, *node)) {
                    self.grid.peers.slow(node);
                }
            }
        }
    }

    /// Passes on the data shards that are there, in order.
    async fn emit(&mut self) {
        while self.sent < self.wanted.shards().end {
            let Some(shard) = &self.got[self.sent] else { return };
            let shard = shard.bytes().clone();
            self.pass_on(&shard).await;
        }
    }

    /// The next data shard's part of what is wanted.
    async fn pass_on(&mut self, shard: &Bytes) {
        let piece = shard.slice(self.wanted.of_shard(self.sent));
        self.sent += 1;
        if self.sender.send(Ok(piece)).await.is_err() {
            self.sent = self.wanted.shards().end;
        }
    }

    async fn decode(&mut self) -> Result<(), ReadError> {
        self.calls.abort_all();
        self.grid.metrics.stripes_decoded.inc();
        let wanted: Vec<usize> = (self.sent..self.wanted.shards().end).collect();
        let got: Vec<CheckedShard> = std::mem::take(&mut self.got).into_iter().flatten().collect();
        let addresses = self.addresses.clone();
        let decoded = work::blocking(move || addresses.reconstruct(&got, &wanted)).await;
        for shard in decoded.map_err(|_| ReadError::Internal)?.map_err(CodeError::from)? {
            if self.sent < self.wanted.shards().end {
                self.pass_on(&shard).await;
            }
        }
        Ok(())
    }
}
