//! How each registered miner stands: who belongs into the next map.
//!
//! A miner that is silent is not gone yet: moving its data costs as much as losing it. It is left out of the map when it
//! has been silent for `out_after`, and comes back when it has been heard for `in_after`.
//!
//! # Invariants
//! - Nobody is silent while this service did not listen: silence is counted from its start on ([`Standings::update`]).
//! - While more than a quarter of the map is silent nobody is left out for it: then it is more likely that this
//!   service is cut off, and data that has nowhere to go is not helped by a new map.
//! - While audits speak against more than a quarter of the map nobody is banned: then it is more likely that audits are wrong.
//! - Who is banned follows from the chain alone.
//! - Bounded by the registered miners.
//!
//! # Not here
//! Whether heartbeats are genuine ([`crate::liveness`]); what the next map looks like ([`crate::proposal`]).

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use arion_chain::{EpochMap, Registry};
use arion_protocol::{
    MinerReason as Reason, MinerState as State, MinerTransition, limits::TRANSITIONS_OF_MINER_MAX,
};
use arion_types::NodeId;

use crate::{liveness::Liveness, weight::Merits};

/// Members of the map beyond which nobody is left out for silence, and nobody banned: one in so many.
const SHARE_MAX: usize = 4;

/// How a miner stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    /// What is made of it.
    pub state: State,
    /// Why.
    pub reason: Reason,
    /// Since when it has been in this state, milliseconds since the Unix epoch.
    pub since: u64,
    /// Since when it has been heard without a break.
    heard_since: Option<u64>,
}

impl Standing {
    /// Whether it is out for what audits found.
    pub fn is_banned(&self) -> bool {
        self.reason.bans()
    }
}

/// A miner's state is another one, or the same for another reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transition {
    /// The miner.
    pub node: NodeId,
    /// Before; `None` for one that was not known.
    pub from: Option<State>,
    /// How it stands now.
    pub to: Standing,
}

/// How long is waited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Patience {
    /// A member that is silent for this long is left out of the next map.
    pub out_after: Duration,
    /// A miner that is not in the map is taken in when it was heard for this long.
    pub in_after: Duration,
}

/// All registered miners.
#[derive(Debug)]
pub struct Standings {
    patience: Patience,
    began_ms: Option<u64>,
    miners: BTreeMap<NodeId, Standing>,
    /// The newest transitions of each, the oldest first.
    lately: BTreeMap<NodeId, VecDeque<MinerTransition>>,
}

impl Standings {
    /// Nobody yet.
    pub fn new(patience: Patience) -> Self {
        Self { patience, began_ms: None, miners: BTreeMap::new(), lately: BTreeMap::new() }
    }

    /// How a registered miner stands.
    pub fn of(&self, node: &NodeId) -> Option<&Standing> {
        self.miners.get(node)
    }

    /// The `newest` transitions of each miner behind `after`, of whole miners, at most `limit`.
    pub fn page(&self, after: Option<NodeId>, limit: usize, newest: usize) -> Vec<MinerTransition> {
        use std::ops::Bound::{Excluded, Unbounded};
        let behind = self.lately.range((after.map_or(Unbounded, Excluded), Unbounded));
        let mut page: Vec<MinerTransition> = Vec::new();
        for (_, lately) in behind {
            let skipped = lately.len().saturating_sub(newest);
            if page.len() + lately.len() - skipped > limit {
                break;
            }
            page.extend(lately.iter().skip(skipped));
        }
        page
    }

    /// Number of miners that are out for what audits found.
    pub fn banned(&self) -> usize {
        self.miners.values().filter(|standing| standing.is_banned()).count()
    }

    /// Number of miners in a state.
    pub fn count(&self, state: State) -> usize {
        self.miners.values().filter(|standing| standing.state == state).count()
    }

    /// Looks at every registered miner at `now_ms`, and at what the chain says of it; returns whose state, or the reason for it, is another one.
    pub fn update(
        &mut self,
        registry: &Registry,
        current: Option<&EpochMap>,
        liveness: &Liveness,
        merits: &Merits,
        now_ms: u64,
    ) -> Vec<Transition> {
        let began_ms = *self.began_ms.get_or_insert(now_ms);
        self.miners.retain(|node, _| registry.miners.contains_key(node));
        self.lately.retain(|node, _| registry.miners.contains_key(node));
        let members: BTreeSet<NodeId> =
            current.iter().flat_map(|map| &map.miners).map(|miner| NodeId(miner.node_id)).collect();
        let silent = members
            .iter()
            .filter(|node| registry.miners.contains_key(node) && !liveness.is_online(node, now_ms));
        let many_silent = silent.count() * SHARE_MAX > members.len();
        let look = Look { patience: self.patience, liveness, began_ms, now_ms, many_silent };
        let banned: BTreeSet<NodeId> = registry
            .miners
            .iter()
            .filter(|(node, child)| merits.bans(&child.child, members.contains(node)))
            .map(|(node, _)| *node)
            .collect();
        let many_banned = banned.intersection(&members).count() * SHARE_MAX > members.len();
        let mut transitions = Vec::new();
        for (node, child) in &registry.miners {
            let before = self.miners.get(node).copied();
            let mut to = look.at(node, members.contains(node), before.as_ref());
            if banned.contains(node) && !many_banned {
                let since = before.filter(Standing::is_banned).map_or(now_ms, |standing| standing.since);
                let reason = Reason::AuditsFailed { failures: merits.failures(&child.child) };
                to = Standing { state: State::Out, reason, since, ..to };
            }
            // One failure more is no other reason.
            let kind = |standing: &Standing| (standing.state, std::mem::discriminant(&standing.reason));
            if before.as_ref().map(kind) != Some(kind(&to)) {
                let from = before.map(|standing| standing.state);
                transitions.push(Transition { node: *node, from, to });
                let (state, reason) = (to.state, to.reason);
                let line = MinerTransition { miner: *node, at: now_ms, from, to: state, reason };
                let lately = self.lately.entry(*node).or_default();
                lately.push_back(line);
                while lately.len() > usize::from(TRANSITIONS_OF_MINER_MAX) {
                    lately.pop_front();
                }
            }
            self.miners.insert(*node, to);
        }
        transitions
    }
}

/// What a look at one miner needs.
struct Look<'a> {
    patience: Patience,
    liveness: &'a Liveness,
    began_ms: u64,
    now_ms: u64,
    many_silent: bool,
}

impl Look<'_> {
    fn at(&self, node: &NodeId, is_member: bool, before: Option<&Standing>) -> Standing {
        let sighting = self.liveness.sighting(node);
        let is_heard = self.liveness.is_online(node, self.now_ms);
        let last_ms = sighting.map_or(self.began_ms, |sighting| sighting.received_at);
        let silent_ms = self.now_ms.saturating_sub(last_ms);
        let heard_since =
            is_heard.then(|| before.and_then(|standing| standing.heard_since).unwrap_or(last_ms));
        let (state, reason) = match (is_heard, is_member) {
            (true, _) if sighting.is_some_and(|sighting| sighting.heartbeat.draining) => {
                (State::Draining, Reason::Drained)
            }
            (true, true) if is_over(silent_ms, self.liveness.overdue_after()) => {
                (State::Suspect, Reason::Overdue)
            }
            (true, true) => (State::Online, Reason::Heard),
            (true, false) => {
                let heard_ms = heard_since.map_or(0, |since| self.now_ms.saturating_sub(since));
                match u128::from(heard_ms) >= self.patience.in_after.as_millis() {
                    true => (State::Online, Reason::Heard),
                    false => (State::Joining, Reason::Settling),
                }
            }
            (false, true) if !is_over(silent_ms, self.patience.out_after) => (State::Offline, Reason::Silent),
            // One that was left out before others fell silent stays out: the map may be on its way.
            (false, true)
                if self.many_silent && before.is_none_or(|standing| standing.state != State::Out) =>
            {
                (State::Offline, Reason::ManySilent)
            }
            (false, true) => (State::Out, Reason::SilentTooLong),
            (false, false) if sighting.is_none() => (State::Joining, Reason::NeverHeard),
            (false, false) => (State::Out, Reason::SilentTooLong),
        };
        let since =
            before.filter(|standing| standing.state == state).map_or(self.now_ms, |standing| standing.since);
        Standing { state, reason, since, heard_since }
    }
}

fn is_over(ms: u64, limit: Duration) -> bool {
    u128::from(ms) > limit.as_millis()
}

#[cfg(test)]
#[path = "standing_tests.rs"]
mod tests;
