//! The audits under way: who is challenged when, and what follows from the answers. No IO, no clock, no dice of its own.
//!
//! # Invariants
//! - At most [`Pace::parallel`] challenges wait for an answer or for their verdict to be kept; one new shard per
//!   [`Pace::pause`].
//! - No shard of a miner has two challenges at once, and none of a miner that is away as it announced on chain.
//! - The seed of a challenge follows from the finalised block known when it is made; every attempt takes a new one.
//! - A case ends with exactly one [`Conclusion`]: kept, without a verdict, or lost and due again.
//!
//! # Not here
//! Sending challenges, reading ledgers, signing, disks (`auditor`).

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use arion_chain::{BlockRef, EpochMap, Registry, Snapshot};
use arion_net::PeerAddr;
use arion_types::{
    AttestationRecord, AttestationResult, Epoch, NodeId, ShardHash, Uid, attestation::challenge_seed,
};
use rand::Rng;

use crate::{
    challenge::{Judgement, Patience},
    duty::{Duty, Presence},
    opinions::Opinions,
    paths::Paths,
    sampler::{Sampler, Target},
};

/// Pause where there is nothing to do.
const IDLE: Duration = Duration::from_millis(500);
/// Cases that wait for their next attempt are at most so many times [`Pace::parallel`]: many dead miners hold up
/// the living ones for a while rather than fill the memory.
const RESTING_FACTOR: usize = 16;

/// How fast audits go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pace {
    /// Pause between two new challenges.
    pub pause: Duration,
    /// Shortest time of a round.
    pub round_min: Duration,
    /// Longest time of a round: what was not drawn by then waits for the next.
    pub round_max: Duration,
    /// Challenges under way at once.
    pub parallel: usize,
}

/// The miners of a map, by node and by number.
#[derive(Debug, Default)]
struct Members {
    epoch: Epoch,
    root: [u8; 32],
    by_node: HashMap<NodeId, (Uid, String)>,
    by_uid: HashMap<Uid, NodeId>,
}

impl Members {
    fn of(map: &EpochMap) -> Self {
        let mut members = Self { epoch: map.epoch, root: map.root, ..Self::default() };
        for miner in &map.miners {
            let node = NodeId(miner.node_id);
            let endpoint = String::from_utf8_lossy(&miner.endpoint).into_owned();
            members.by_node.insert(node, (miner.uid, endpoint));
            members.by_uid.insert(miner.uid, node);
        }
        members
    }
}

/// A challenge to send.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ask {
    /// Which case it belongs to.
    pub case: u64,
    /// What is asked for.
    pub target: Target,
    /// Where.
    pub peer: PeerAddr,
    /// Number of the miner in the current map.
    pub uid: Uid,
    /// Block of the seed.
    pub block: BlockRef,
    /// Seed of this attempt.
    pub seed: [u8; 32],
    /// Time for the answer.
    pub deadline: Duration,
}

/// What is to be done next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Send this challenge; then [`Docket::answered`].
    Ask(Box<Ask>),
    /// A round began; keep its number.
    Round(u64),
    /// Nothing before this time.
    Rest(Duration),
}

/// What a case showed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// The last attempt.
    pub ask: Ask,
    /// Round in which the shard was drawn.
    pub round: u64,
    /// What it brought; [`Judgement::NoAnswer`] after the last attempt.
    pub judgement: Judgement,
}

impl Verdict {
    /// What is attested.
    pub fn result(&self) -> AttestationResult {
        match &self.judgement {
            Judgement::Passed(_) => AttestationResult::Passed,
            Judgement::Failed(_) => AttestationResult::Failed,
            Judgement::InvalidProof(_) => AttestationResult::InvalidProof,
            Judgement::NoAnswer => AttestationResult::Timeout,
        }
    }
}

/// How a case ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Conclusion {
    /// The signed verdict is on disk.
    Kept,
    /// There is none to be had in this round: the shard is no longer wanted, or nobody knows whether it is.
    None,
    /// It could not be kept: the shard is due again.
    Lost,
}

#[derive(Debug)]
struct Case {
    target: Target,
    round: u64,
    attempts: u32,
    ask: Option<Ask>,
}

/// The audits under way.
#[derive(Debug)]
pub struct Docket {
    me: NodeId,
    pace: Pace,
    patience: Patience,
    sampler: Sampler,
    opinions: Opinions,
    presence: Presence,
    paths: Paths,
    block: BlockRef,
    is_admitted: bool,
    /// Who else is at work is known: before, this warden would audit what others do.
    is_informed: bool,
    members: Arc<Members>,
    registry: Arc<Registry>,
    cases: HashMap<u64, Case>,
    challenged: HashSet<(NodeId, ShardHash)>,
    /// Cases between two attempts, by the time of the next.
    resting: BTreeSet<(Duration, u64)>,
    next_case: u64,
    next_at: Duration,
    round_since: Option<Duration>,
    /// The last new challenge was an opinion: a shard of the round is next.
    was_opinion: bool,
}

impl Docket {
    /// Audits of the warden `me` over these shards.
    pub fn new(me: NodeId, sampler: Sampler, pace: Pace, patience: Patience) -> Self {
        Self {
            me,
            pace,
            patience,
            sampler,
            opinions: Opinions::default(),
            presence: Presence::default(),
            paths: Paths::default(),
            block: BlockRef::default(),
            is_admitted: false,
            is_informed: false,
            members: Arc::default(),
            registry: Arc::default(),
            cases: HashMap::new(),
            challenged: HashSet::new(),
            resting: BTreeSet::new(),
            next_case: 0,
            next_at: Duration::ZERO,
            round_since: None,
            was_opinion: false,
        }
    }

    /// The shards.
    pub fn sampler(&self) -> &Sampler {
        &self.sampler
    }

    /// The shards, to be changed by what ledgers say.
    pub fn sampler_mut(&mut self) -> &mut Sampler {
        &mut self.sampler
    }

    /// How fast audits go.
    pub fn pace(&self) -> &Pace {
        &self.pace
    }

    /// Findings of others that wait.
    pub fn opinions_waiting(&self) -> usize {
        self.opinions.waiting()
    }

    /// Cases without a conclusion.
    pub fn under_way(&self) -> usize {
        self.cases.len()
    }

    /// Whether this key is a registered warden.
    pub fn is_admitted(&self) -> bool {
        self.is_admitted
    }

    /// Takes in the finalised chain.
    pub fn chain(&mut self, snapshot: &Snapshot) {
        self.block = snapshot.block;
        self.is_admitted = snapshot.registry.wardens.contains(&self.me);
        self.registry = snapshot.registry.clone();
        if let Some(map) = &snapshot.current
            && (map.epoch, map.root) != (self.members.epoch, self.members.root)
        {
            let members = Members::of(map);
            self.paths.retain(|node| members.by_node.contains_key(node));
            self.members = Arc::new(members);
        }
        self.opinions.forget(self.block.number);
    }

    /// Takes in attestations of the finalised chain: who is at work, and what others found. `silence` is the number
    /// of blocks without an attestation after which a warden's shards are taken over.
    pub fn witnessed(&mut self, registered: &BTreeSet<NodeId>, records: &[AttestationRecord], silence: u32) {
        let head = self.block.number;
        self.is_informed = true;
        self.presence.observe(head, registered, records);
        self.sampler.set_duty(Duty::new(self.me, self.presence.present(head, silence)));
        for record in records {
            let is_finding = record.result != AttestationResult::Passed;
            if !is_finding || record.warden_pubkey == self.me.0 {
                continue;
            }
            if !registered.contains(&NodeId(record.warden_pubkey)) {
                continue;
            }
            let Some(node) = self.members.by_uid.get(&record.miner_uid) else { continue };
            let shard = ShardHash(record.shard_hash);
            let is_known = self.sampler.target(node, &shard).is_some();
            if is_known && self.sampler.duty().is_asked_about(node, &shard) {
                let block = u32::try_from(record.block_number).unwrap_or(u32::MAX);
                self.opinions.heard(*node, shard, block, head);
            }
        }
    }

    /// What is to be done at `now`, on a clock that never goes back.
    pub fn poll(&mut self, now: Duration, rng: &mut impl Rng) -> Action {
        let active = self.cases.len() - self.resting.len();
        if !self.is_admitted || !self.is_informed || active >= self.pace.parallel.max(1) {
            return Action::Rest(now + IDLE);
        }
        while let Some((due, case)) = self.resting.first().copied().filter(|(due, _)| *due <= now) {
            self.resting.remove(&(due, case));
            if let Some(ask) = self.attempt(case) {
                return Action::Ask(Box::new(ask));
            }
        }
        let is_full = self.cases.len() >= self.pace.parallel.max(1).saturating_mul(RESTING_FACTOR);
        if now < self.next_at || is_full {
            return Action::Rest(self.rest(now, is_full));
        }
        let since = *self.round_since.get_or_insert(now);
        if now.saturating_sub(since) >= self.pace.round_max
            && let Some(round) = self.start_round(now)
        {
            return Action::Round(round);
        }
        if let Some(target) = self.pick(rng) {
            self.next_at = self.next_at.max(now.saturating_sub(self.pace.pause)) + self.pace.pause;
            if let Some(ask) = self.open(target) {
                return Action::Ask(Box::new(ask));
            }
        } else if self.cases.is_empty()
            && now.saturating_sub(since) >= self.pace.round_min
            && let Some(round) = self.start_round(now)
        {
            return Action::Round(round);
        }
        Action::Rest(now + IDLE.min(self.pace.pause))
    }

    fn rest(&self, now: Duration, is_full: bool) -> Duration {
        let next = if is_full { now + IDLE } else { self.next_at };
        self.resting.first().map_or(next, |(due, _)| next.min(*due)).min(now + IDLE)
    }

    fn start_round(&mut self, now: Duration) -> Option<u64> {
        let round = self.sampler.start_round()?;
        self.round_since = Some(now);
        Some(round)
    }

    /// Findings of others first, but no two in a row while the round has shards.
    fn pick(&mut self, rng: &mut impl Rng) -> Option<Target> {
        if !self.was_opinion
            && let Some(target) = self.next_opinion()
        {
            self.was_opinion = true;
            return Some(target);
        }
        self.was_opinion = false;
        let (members, registry, block) = (self.members.clone(), self.registry.clone(), self.block.number);
        let is_there = |node: &NodeId| members.by_node.contains_key(node) && !registry.is_away(node, block);
        while let Some(target) = self.sampler.next(rng, is_there) {
            if !self.challenged.contains(&(target.node, target.shard)) {
                return Some(target);
            }
        }
        self.next_opinion()
    }

    fn next_opinion(&mut self) -> Option<Target> {
        while let Some((node, shard)) = self.opinions.next(self.block.number) {
            let is_free = !self.challenged.contains(&(node, shard));
            let is_away = self.registry.is_away(&node, self.block.number);
            if is_free
                && !is_away
                && let Some(target) = self.sampler.target(&node, &shard)
            {
                return Some(target);
            }
        }
        None
    }

    fn open(&mut self, target: Target) -> Option<Ask> {
        self.next_case += 1;
        self.challenged.insert((target.node, target.shard));
        let case = Case { target, round: self.sampler.round(), attempts: 0, ask: None };
        self.cases.insert(self.next_case, case);
        self.attempt(self.next_case)
    }

    /// The next challenge of a case; `None` if its miner left the map, or is away as announced: there is nothing to say
    /// of it then.
    fn attempt(&mut self, id: u64) -> Option<Ask> {
        let case = self.cases.get_mut(&id)?;
        let is_away = self.registry.is_away(&case.target.node, self.block.number);
        let Some((uid, endpoint)) = self.members.by_node.get(&case.target.node).filter(|_| !is_away) else {
            self.concluded(id, Conclusion::None);
            return None;
        };
        let target = case.target;
        let attempts = self.patience.retries.saturating_add(1);
        let longest = self.patience.deadline;
        let deadline = self.paths.deadline(&target.node, target.size, case.attempts, attempts, longest);
        case.attempts += 1;
        let ask = Ask {
            case: id,
            target,
            peer: PeerAddr { node_id: target.node, endpoint: endpoint.clone() },
            uid: *uid,
            block: self.block,
            seed: challenge_seed(&self.block.hash, &self.me.0, &target.node.0, &target.shard.0),
            deadline,
        };
        case.ask = Some(ask.clone());
        Some(ask)
    }

    /// A challenge was answered after `elapsed`, or not at all. Returns the verdict, if that is one; the case is open
    /// until [`Docket::concluded`].
    pub fn answered(
        &mut self,
        id: u64,
        judgement: Judgement,
        elapsed: Duration,
        now: Duration,
    ) -> Option<Verdict> {
        let case = self.cases.get_mut(&id)?;
        // An answer that comes twice, or while the case rests, is none.
        let ask = case.ask.take()?;
        if judgement != Judgement::NoAnswer {
            self.paths.answered(case.target.node, elapsed);
        } else if case.attempts <= self.patience.retries {
            let doublings = case.attempts.saturating_sub(1).min(16);
            let pause = self.patience.pause.saturating_mul(1 << doublings);
            self.resting.insert((now.saturating_add(pause), id));
            return None;
        }
        Some(Verdict { ask, round: case.round, judgement })
    }

    /// The case is over.
    pub fn concluded(&mut self, id: u64, conclusion: Conclusion) {
        let Some(case) = self.cases.remove(&id) else { return };
        self.challenged.remove(&(case.target.node, case.target.shard));
        if conclusion == Conclusion::Lost {
            self.sampler.give_back(&case.target);
        }
    }

    /// This warden's word on a shard is on disk.
    pub fn said(&mut self, verdict: &Verdict) {
        let (target, is_finding) = (verdict.ask.target, verdict.result() != AttestationResult::Passed);
        self.opinions.said(target.node, target.shard, verdict.ask.block.number, is_finding);
        self.concluded(verdict.ask.case, Conclusion::Kept);
    }
}

#[cfg(test)]
#[path = "docket_tests.rs"]
mod tests;
