//! A model of the chain: blocks, finality, votes for maps by two thirds, attestations. What hosts see of it may lag, stand still, or
//! have been re-organised before it was final.
//!
//! # Invariants
//! - Nobody sees what is not final; what is final stays.
//! - One epoch has one map.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arion_chain::{BlockRef, ChainError, ChainView, EpochMap, Registry, Snapshot, TxError, ViewSource};
use arion_gateway::snapshot::anchor::{Anchor, AnchorError, Anchored};
use arion_types::{AttestationRecord, Epoch, GenesisHash, NodeId};
use arion_validator::{publisher::VoteChain, weight::Merits};
use arion_warden::witness::Attestations;
use async_trait::async_trait;
use ed25519_dalek::SigningKey;
use tokio::time::{Instant, sleep};

use crate::{dice::Dice, life::Life, trace::trace};

pub const GENESIS: GenesisHash = [7; 32];
/// Blocks of a bucket of attestations.
pub const BUCKET_BLOCKS: u32 = 100;
const BLOCK_TIME: Duration = Duration::from_secs(6);
/// Blocks behind the newest that are not final.
const UNFINAL: usize = 2;
/// Between looks of a host at its node, at most.
const POLL: Duration = Duration::from_secs(6);
/// Snapshots kept for those who lag.
const KEPT: usize = 256;
/// Rejected where it takes longer.
const INCLUDED_WITHIN: u32 = 20;

/// What is in a block.
#[derive(Clone, Default)]
struct Block {
    votes: Vec<(NodeId, EpochMap)>,
    records: Vec<AttestationRecord>,
    /// By locator.
    anchored: Vec<([u8; 32], Anchored)>,
}

/// What a host sees.
struct View {
    source: ViewSource,
    shown: u32,
    lag: Duration,
}

struct State {
    /// Height of the newest block, which is not final.
    height: u32,
    unfinal: VecDeque<Block>,
    /// What the next block takes.
    pool: Block,
    /// Votes that count, one for each service.
    votes: BTreeMap<NodeId, EpochMap>,
    records: Vec<AttestationRecord>,
    /// The newest snapshots of gateways' metadata, by locator.
    anchored: BTreeMap<[u8; 32], Anchored>,
    /// Signatures of these: each is taken once.
    known: BTreeSet<[u8; 64]>,
    finalised: VecDeque<(Instant, Arc<Snapshot>)>,
    views: BTreeMap<String, View>,
    is_stalled: bool,
    roots: BTreeMap<Epoch, [u8; 32]>,
}

/// The chain; clones are the same.
#[derive(Clone)]
pub struct Chain {
    state: Arc<Mutex<State>>,
    dice: Dice,
}

impl Chain {
    /// With this registry, and a first map.
    pub fn new(dice: Dice, registry: Registry, first: EpochMap) -> Self {
        let roots = [(first.epoch, first.root)].into();
        let block = BlockRef { number: 100, hash: hash(100) };
        let snapshot = Snapshot {
            block,
            current: Some(Arc::new(first)),
            registry: Arc::new(registry),
            ..Default::default()
        };
        let state = State {
            height: block.number + UNFINAL as u32,
            unfinal: vec![Block::default(); UNFINAL].into(),
            pool: Block::default(),
            votes: BTreeMap::new(),
            records: Vec::new(),
            anchored: BTreeMap::new(),
            known: BTreeSet::new(),
            finalised: [(Instant::now(), Arc::new(snapshot))].into(),
            views: BTreeMap::new(),
            is_stalled: false,
            roots,
        };
        Self { state: Arc::new(Mutex::new(state)), dice }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is final.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.state().finalised.back().map(|(_, snapshot)| snapshot.clone()).unwrap_or_default()
    }

    /// Makes blocks for ever.
    pub async fn run(self) {
        loop {
            sleep(BLOCK_TIME).await;
            self.state().make_block();
        }
    }

    /// No block comes, or they come again.
    pub fn stall(&self, is_stalled: bool) {
        trace!("chain stalls {is_stalled}");
        self.state().is_stalled = is_stalled;
    }

    /// The blocks that are not final are given up, with what was in them; others take their place.
    pub fn reorganise(&self) {
        trace!("chain re-organised");
        for block in &mut self.state().unfinal {
            *block = Block::default();
        }
    }

    /// What a host sees is this old.
    pub fn set_lag(&self, host: &str, lag: Duration) {
        trace!("chain lags {} s at {host}", lag.as_secs());
        if let Some(view) = self.state().views.get_mut(host) {
            view.lag = lag;
        }
    }

    /// Changes who is registered, in the next block that becomes final.
    pub fn register(&self, change: impl FnOnce(&mut Registry)) {
        let mut state = self.state();
        if let Some((_, last)) = state.finalised.back_mut() {
            let mut next = (**last).clone();
            change(Arc::make_mut(&mut next.registry));
            *last = Arc::new(next);
        }
    }

    /// What a host sees in one life.
    pub fn view(&self, host: &str, life: &Life) -> ChainView {
        let mut state = self.state();
        let before = state.views.get(host).map(|view| view.lag).unwrap_or_default();
        let first = state.seen_after(before).map(|snapshot| Snapshot::clone(snapshot)).unwrap_or_default();
        let shown = first.block.number;
        let (view, source) = ChainView::manual(GENESIS, first);
        state.views.insert(host.to_owned(), View { source, shown, lag: before });
        drop(state);
        let (chain, host) = (self.clone(), host.to_owned());
        life.spawn(async move {
            loop {
                sleep(chain.dice.between(POLL / 4, POLL)).await;
                chain.state().show(&host);
            }
        });
        view
    }

    /// Puts attestations into a block.
    pub fn attest(&self, records: Vec<AttestationRecord>) {
        self.state().pool.records.extend(records);
    }

    /// Gateways of whose metadata a snapshot is final.
    pub fn snapshots(&self) -> usize {
        self.state().anchored.len()
    }

    /// All attestations that are final.
    pub fn attestations(&self) -> Vec<AttestationRecord> {
        self.state().records.clone()
    }

    /// A validator service's way to vote in one life.
    pub fn ballot(&self, me: NodeId, life: &Life) -> Arc<dyn VoteChain> {
        Arc::new(Votes { chain: self.clone(), me, life: life.clone() })
    }
}

fn hash(number: u32) -> [u8; 32] {
    *blake3::hash(&number.to_le_bytes()).as_bytes()
}

impl State {
    fn make_block(&mut self) {
        if self.is_stalled {
            return;
        }
        self.height += 1;
        self.unfinal.push_back(std::mem::take(&mut self.pool));
        let Some(block) = self.unfinal.pop_front() else { return };
        let number = self.height - UNFINAL as u32;
        let mut next = self.finalised.back().map(|(_, last)| (**last).clone()).unwrap_or_default();
        next.block = BlockRef { number, hash: hash(number) };
        for record in block.records {
            // Of what the chain checks, as much as honest wardens need.
            let is_registered = next.registry.wardens.contains(&NodeId(record.warden_pubkey));
            if is_registered && self.known.insert(record.signature) {
                self.records.push(record);
            }
        }
        for (locator, anchored) in block.anchored {
            let before = self.anchored.get(&locator).map_or(0, |before| before.sequence);
            if anchored.sequence > before {
                trace!("snapshot {} is final", anchored.sequence);
                self.anchored.insert(locator, anchored);
            }
        }
        for (voter, map) in block.votes {
            self.vote(&mut next, voter, map);
        }
        self.finalised.push_back((Instant::now(), Arc::new(next)));
        while self.finalised.len() > KEPT {
            self.finalised.pop_front();
        }
    }

    fn vote(&mut self, next: &mut Snapshot, voter: NodeId, map: EpochMap) {
        let validators = &next.registry.validators;
        if !validators.contains(&voter) || map.epoch != next.epoch() + 1 || !map.root_holds() {
            return;
        }
        trace!("vote for epoch {} with {} miners", map.epoch, map.miners.len());
        self.votes.insert(voter, map.clone());
        let agreed = self.votes.values().filter(|other| other.root == map.root).count();
        if agreed * 3 < validators.len() * 2 {
            return;
        }
        trace!("map of epoch {} with {} miners, root {}", map.epoch, map.miners.len(), hex::encode(map.root));
        self.votes.clear();
        self.roots.insert(map.epoch, map.root);
        next.earlier.splice(0..0, next.current.take());
        next.current = Some(Arc::new(map));
    }

    /// What is seen by who lags so far.
    fn seen_after(&self, lag: Duration) -> Option<&Arc<Snapshot>> {
        let now = Instant::now();
        let old_enough = |(at, _): &&(Instant, Arc<Snapshot>)| now.duration_since(*at) >= lag;
        self.finalised.iter().rev().find(old_enough).or(self.finalised.front()).map(|(_, snapshot)| snapshot)
    }

    fn show(&mut self, host: &str) {
        let Some(lag) = self.views.get(host).map(|view| view.lag) else { return };
        let Some(snapshot) = self.seen_after(lag).cloned() else { return };
        let roots = &self.roots;
        assert!(
            snapshot.maps().all(|map| roots.get(&map.epoch) == Some(&map.root)),
            "two maps of one epoch are seen"
        );
        let Some(view) = self.views.get_mut(host) else { return };
        if snapshot.block.number > view.shown {
            view.shown = snapshot.block.number;
            view.source.set((*snapshot).clone());
        }
    }
}

struct Votes {
    chain: Chain,
    me: NodeId,
    life: Life,
}

impl Votes {
    /// The way to the node takes its time.
    async fn travel(&self) {
        sleep(self.chain.dice.between(Duration::from_millis(1), Duration::from_millis(300))).await;
        if self.life.is_over() {
            std::future::pending::<()>().await;
        }
    }

    fn is_included(&self, root: [u8; 32]) -> bool {
        let state = self.chain.state();
        let is_mine = |(voter, map): &(NodeId, EpochMap)| *voter == self.me && map.root == root;
        state.unfinal.iter().any(|block| block.votes.iter().any(is_mine))
            || state.votes.get(&self.me).is_some_and(|map| map.root == root)
            || state.roots.values().any(|published| *published == root)
    }
}

#[async_trait]
impl VoteChain for Votes {
    async fn vote(&self) -> anyhow::Result<Option<(Epoch, [u8; 32])>> {
        self.travel().await;
        Ok(self.chain.state().votes.get(&self.me).map(|map| (map.epoch, map.root)))
    }

    async fn merits(&self, _: &BlockRef) -> anyhow::Result<Merits> {
        Ok(Merits::default())
    }

    async fn submit(&self, map: &EpochMap) -> anyhow::Result<()> {
        self.travel().await;
        self.chain.state().pool.votes.push((self.me, map.clone()));
        let until = self.chain.state().height + INCLUDED_WITHIN;
        let deadline = Instant::now() + BLOCK_TIME * INCLUDED_WITHIN;
        while !self.is_included(map.root) {
            let is_late = self.chain.state().height > until || Instant::now() > deadline;
            anyhow::ensure!(!is_late, "the vote was not included");
            sleep(Duration::from_secs(1)).await;
        }
        Ok(())
    }
}

#[async_trait]
impl Anchor for Chain {
    async fn newest(&self, locator: &[u8; 32]) -> Result<Option<Anchored>, AnchorError> {
        sleep(self.dice.between(Duration::from_millis(1), Duration::from_millis(300))).await;
        Ok(self.state().anchored.get(locator).copied())
    }

    async fn commit(&self, locator: &SigningKey, anchored: Anchored) -> Result<(), AnchorError> {
        let locator = locator.verifying_key().to_bytes();
        self.state().pool.anchored.push((locator, anchored));
        let until = self.state().height + INCLUDED_WITHIN;
        loop {
            sleep(self.dice.between(Duration::from_millis(500), Duration::from_secs(3))).await;
            let state = self.state();
            if state.anchored.get(&locator) == Some(&anchored) {
                return Ok(());
            }
            if state.height > until {
                return Err(TxError::Expired.into());
            }
        }
    }
}

#[async_trait]
impl Attestations for Chain {
    async fn of_bucket(&self, bucket: u32) -> Result<Vec<AttestationRecord>, ChainError> {
        sleep(self.dice.between(Duration::from_millis(1), Duration::from_millis(300))).await;
        let state = self.state();
        let of_bucket = state.records.iter().filter(|record| {
            u32::try_from(record.block_number).unwrap_or(u32::MAX) / BUCKET_BLOCKS == bucket
        });
        Ok(of_bucket.cloned().collect())
    }
}
