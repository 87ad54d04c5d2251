//! One stripe: the data shards that hold the wanted bytes are asked for first, those of which little is wanted for just that,
//! with the proof that it belongs there. As soon as one fails, keeps everybody waiting, or lies with a miner that is known to
//! be down, others are asked too, for whole shards, until any k of them are there.
//!
//! # Invariants
//! - Whatever is passed on was compared with its shard's address.
//! - Parts do not help to decode: only whole shards count among the k.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
    sync::Arc,
};

use arion_daemon::work::{self, same_host};
use arion_erasure::{Addresses, CheckedShard};
use arion_net::PeerAddr;
use arion_proofs::GROUP_BYTES;
use arion_types::NodeId;
use bytes::Bytes;
use tokio::{sync::mpsc, task::JoinSet, time::Instant};

use super::{ReadError, pieces::Wanted};
use crate::{
    grid::{Grid, ShardError},
    peers::Standing,
    stripe_code::{self, CodeError},
};

/// Maps that are searched for a shard.
const MAPS_SEARCHED: usize = 4;
/// Longest time for one stripe, in fetch timeouts.
const STRIPE_FETCHES: u32 = 4;

/// A place where a shard may be.
struct Candidate {
    index: usize,
    peer: PeerAddr,
    /// 0: where the current map puts it; then where that of the stripe's epoch did, and other maps.
    map_order: usize,
}

/// What a miner answered.
enum Answer {
    Whole(CheckedShard),
    Part(Bytes),
}

/// One stripe on its way in.
pub(super) struct Fetch {
    grid: Arc<Grid>,
    wanted: Wanted,
    addresses: Addresses,
    sender: mpsc::Sender<Result<Bytes, ReadError>>,
    candidates: Vec<Candidate>,
    got: Vec<Option<CheckedShard>>,
    /// What is wanted of a shard, where only that was asked for.
    parts: HashMap<usize, Bytes>,
    calls: JoinSet<(usize, NodeId, Result<Answer, ShardError>)>,
    /// Whole shards asked for and not there yet, and of whom.
    waiting: HashMap<usize, HashSet<NodeId>>,
    /// Of whom a part was asked that is not there yet.
    asked_for_part: HashMap<usize, Candidate>,
    /// Who keeps us waiting.
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
            parts: HashMap::new(),
            calls: JoinSet::new(),
            waiting: HashMap::new(),
            asked_for_part: HashMap::new(),
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

    pub(super) async fn run(grid: Arc<Grid>, wanted: Wanted, sender: mpsc::Sender<Result<Bytes, ReadError>>) {
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

    /// Asks the miner where a shard belongs, for what is wanted of it; not if it is down.
    fn ask_home(&mut self, index: usize) -> bool {
        let home = self.candidates.iter().position(|candidate| {
            candidate.index == index
                && candidate.map_order == 0
                && self.grid.peers.standing(&candidate.peer.node_id) == Standing::Good
        });
        let Some(at) = home else { return false };
        match self.worth_a_part(index) {
            Some(range) => self.ask_for_part(at, range),
            None => self.ask(at),
        }
        true
    }

    /// What is wanted of a shard, if asking for that saves a good part of it. A shard that is wanted again is fetched whole, and kept.
    fn worth_a_part(&self, index: usize) -> Option<Range<u32>> {
        let wanted = self.wanted.of_shard(index);
        let range = u32::try_from(wanted.start).ok()?..u32::try_from(wanted.end).ok()?;
        let shard_len = self.wanted.record.shard_len;
        let groups = range.start / GROUP_BYTES..range.end.div_ceil(GROUP_BYTES);
        let saves =
            u64::from(groups.end - groups.start) * u64::from(GROUP_BYTES) * 4 <= u64::from(shard_len) * 3;
        (saves && self.grid.cache.is_new(&self.wanted.record.hashes[index])).then_some(range)
    }

    fn ask_for_part(&mut self, at: usize, range: Range<u32>) {
        let candidate = self.candidates.swap_remove(at);
        let (grid, peer, index) = (self.grid.clone(), candidate.peer.clone(), candidate.index);
        let (shard, shard_len) = (self.wanted.record.hashes[index], self.wanted.record.shard_len);
        self.asked_for_part.insert(index, candidate);
        self.calls.spawn(same_host(async move {
            let part = grid.fetch_part(&peer, shard, shard_len, range).await;
            (index, peer.node_id, part.map(Answer::Part))
        }));
    }

    fn ask(&mut self, at: usize) {
        let Candidate { index, peer, .. } = self.candidates.swap_remove(at);
        let (grid, addresses, shard) =
            (self.grid.clone(), self.addresses.clone(), self.wanted.record.hashes[index]);
        self.waiting.entry(index).or_default().insert(peer.node_id);
        self.calls.spawn(same_host(async move {
            let shard = grid.fetch_shard(&peer, shard, &addresses, index).await;
            (index, peer.node_id, shard.map(Answer::Whole))
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

    fn arrived(&mut self, index: usize, node: NodeId, answer: Result<Answer, ShardError>) {
        self.slow.remove(&(index, node));
        let asked_for_part = match self.asked_for_part.get(&index) {
            Some(asked) if asked.peer.node_id == node => self.asked_for_part.remove(&index),
            _ => None,
        };
        if let Some(nodes) = self.waiting.get_mut(&index) {
            nodes.remove(&node);
            if nodes.is_empty() {
                self.waiting.remove(&index);
            }
        }
        let is_new = self.got[index].is_none() && !self.parts.contains_key(&index);
        let bytes = match answer {
            Ok(Answer::Whole(shard)) => {
                let bytes = shard.bytes().len();
                self.got[index] = Some(shard);
                bytes
            }
            Ok(Answer::Part(part)) => {
                // It has the whole of it too, should others be missing.
                self.candidates.extend(asked_for_part);
                let bytes = part.len();
                self.parts.insert(index, part);
                bytes
            }
            Err(error) => {
                tracing::debug!(miner = %node, index, %error, "a shard was not fetched");
                self.decoding = true;
                return;
            }
        };
        if is_new {
            self.grid.serving.count(node, bytes);
        }
    }

    fn lose_patience(&mut self) {
        self.grid.metrics.hedges.inc();
        self.decoding = true;
        self.rounds += 1;
        let whole = self.waiting.iter().flat_map(|(index, nodes)| nodes.iter().map(|node| (*index, *node)));
        let parts = self.asked_for_part.iter().map(|(index, asked)| (*index, asked.peer.node_id));
        for (index, node) in whole.chain(parts) {
            if self.slow.insert((index, node)) {
                self.grid.peers.slow(&node);
            }
        }
    }

    /// Passes on what is there of the data shards, in order.
    async fn emit(&mut self) {
        while self.sent < self.wanted.shards().end {
            let piece = match (&self.got[self.sent], self.parts.get(&self.sent)) {
                (Some(shard), _) => shard.bytes().slice(self.wanted.of_shard(self.sent)),
                (None, Some(part)) => part.clone(),
                (None, None) => return,
            };
            self.sent += 1;
            if self.sender.send(Ok(piece)).await.is_err() {
                self.sent = self.wanted.shards().end;
            }
        }
    }

    /// Makes what is missing out of any k shards, and passes it on.
    async fn decode(&mut self) -> Result<(), ReadError> {
        self.calls.abort_all();
        self.grid.metrics.stripes_decoded.inc();
        let missing: Vec<usize> = (self.sent..self.wanted.shards().end)
            .filter(|index| self.got[*index].is_none() && !self.parts.contains_key(index))
            .collect();
        let got: Vec<CheckedShard> = self.got.iter().flatten().cloned().collect();
        let addresses = self.addresses.clone();
        let indices = missing.clone();
        let decoded = work::blocking(move || addresses.reconstruct(&got, &indices)).await;
        let decoded = decoded.map_err(|_| ReadError::Internal)?.map_err(CodeError::from)?;
        for (index, shard) in missing.into_iter().zip(decoded) {
            self.parts.insert(index, shard.slice(self.wanted.of_shard(index)));
        }
        self.emit().await;
        Ok(())
    }
}
