//! How long each miner was there, over the newest blocks: as many as a weight bucket has.
//!
//! Blocks are cut into sections, an eighth of a bucket each. In each of them it is counted how often a miner was
//! looked at, and how often it was online; the oldest section is forgotten when a new one begins.
//!
//! # Invariants
//! - Nobody was absent while this service was: after a start or an interruption, time begins anew ([`Presence::note`]).
//! - Bounded by the registered miners: at most `SECTIONS` counters each.
//!
//! # Not here
//! When a miner is online ([`crate::liveness`]).

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use arion_types::{NodeId, quality::UPTIME_PERMILLE_MAX};

/// Parts of the time that is looked back at.
const SECTIONS: u32 = 8;

/// How often a miner was looked at.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    watched: u32,
    online: u32,
}

#[derive(Debug)]
struct Section {
    index: u32,
    tallies: BTreeMap<NodeId, Tally>,
}

/// A stretch of time without interruption.
#[derive(Clone, Copy, Debug)]
struct Watch {
    began_ms: u64,
    last_ms: u64,
    /// From this block on everybody who is there has been heard.
    since: Option<u32>,
}

/// See the module.
#[derive(Debug)]
pub struct Presence {
    bucket_blocks: u32,
    section_blocks: u32,
    patience_ms: u64,
    watch: Option<Watch>,
    sections: VecDeque<Section>,
}

impl Presence {
    /// For buckets of so many blocks. A miner that is there is heard within `patience`: so long nobody is missed at
    /// the beginning, and an interruption that is longer is a new beginning.
    pub fn new(bucket_blocks: u32, patience: Duration) -> Self {
        Self {
            bucket_blocks: bucket_blocks.max(1),
            section_blocks: (bucket_blocks / SECTIONS).max(1),
            patience_ms: u64::try_from(patience.as_millis()).unwrap_or(u64::MAX),
            watch: None,
            sections: VecDeque::new(),
        }
    }

    /// Notes who is online at `now_ms`, while `block` is the newest final one.
    pub fn note(&mut self, block: u32, now_ms: u64, miners: impl Iterator<Item = (NodeId, bool)>) {
        let watch = match &mut self.watch {
            Some(watch) if now_ms.saturating_sub(watch.last_ms) <= self.patience_ms => watch,
            watch => {
                self.sections.clear();
                watch.insert(Watch { began_ms: now_ms, last_ms: now_ms, since: None })
            }
        };
        watch.last_ms = now_ms;
        if now_ms.saturating_sub(watch.began_ms) < self.patience_ms {
            return;
        }
        watch.since.get_or_insert(block);
        for (node, is_online) in miners {
            let tally =
                Self::section(&mut self.sections, block / self.section_blocks).entry(node).or_default();
            tally.watched = tally.watched.saturating_add(1);
            tally.online = tally.online.saturating_add(is_online.into());
        }
    }

    /// The counters of a section; the newest where time seems to run backwards.
    fn section(sections: &mut VecDeque<Section>, index: u32) -> &mut BTreeMap<NodeId, Tally> {
        if sections.back().is_none_or(|newest| newest.index < index) {
            sections.push_back(Section { index, tallies: BTreeMap::new() });
            while sections.front().is_some_and(|oldest| index.saturating_sub(oldest.index) >= SECTIONS) {
                sections.pop_front();
            }
        }
        let newest = sections.len() - 1;
        &mut sections[newest].tallies
    }

    /// Length of a weight bucket, blocks.
    pub fn bucket_blocks(&self) -> u32 {
        self.bucket_blocks
    }

    /// The weight bucket of a block.
    pub fn bucket_of(&self, block: u32) -> u32 {
        block / self.bucket_blocks
    }

    /// Blocks for which everybody who was there was heard, up to `block`.
    pub fn watched_blocks(&self, block: u32) -> u32 {
        let since = self.watch.and_then(|watch| watch.since);
        since.map_or(0, |since| block.saturating_sub(since))
    }

    /// Whether the past is known for as long as it is looked back at.
    pub fn is_whole(&self, block: u32) -> bool {
        self.watched_blocks(block) >= self.bucket_blocks
    }

    /// Share of the time in which a miner was online, of that in which it was registered; `None` for one that was
    /// never looked at.
    pub fn uptime_permille(&self, node: &NodeId) -> Option<u16> {
        let tallies = self.sections.iter().filter_map(|section| section.tallies.get(node));
        let (watched, online) = tallies.fold((0_u64, 0_u64), |(watched, online), tally| {
            (watched + u64::from(tally.watched), online + u64::from(tally.online))
        });
        let permille = (online * u64::from(UPTIME_PERMILLE_MAX)).checked_div(watched)?;
        Some(u16::try_from(permille).unwrap_or(UPTIME_PERMILLE_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BUCKET_BLOCKS: u32 = 80;
    const PATIENCE_MS: u64 = 9_000;
    const A: NodeId = NodeId([1; 32]);
    const B: NodeId = NodeId([2; 32]);

    fn presence() -> Presence {
        Presence::new(BUCKET_BLOCKS, Duration::from_millis(PATIENCE_MS))
    }

    /// A look per block, one second each; `is_online` says whether A is, B always is.
    fn watch(presence: &mut Presence, blocks: std::ops::Range<u32>, is_online: impl Fn(u32) -> bool) {
        for block in blocks {
            let miners = [(A, is_online(block)), (B, true)];
            presence.note(block, u64::from(block) * 1_000, miners.into_iter());
        }
    }

    #[test]
    fn uptime_is_the_share_of_the_newest_blocks() {
        let mut presence = presence();
        watch(&mut presence, 0..89, |_| false);
        assert_eq!((presence.watched_blocks(88), presence.is_whole(88)), (79, false));
        watch(&mut presence, 89..90, |_| false);
        assert!(presence.is_whole(89));
        assert_eq!((presence.uptime_permille(&A), presence.uptime_permille(&B)), (Some(0), Some(1_000)));
        // 80 blocks with A: nothing older is left.
        watch(&mut presence, 90..130, |_| true);
        let half = presence.uptime_permille(&A).unwrap();
        assert!((500..600).contains(&half), "{half}");
        watch(&mut presence, 130..170, |_| true);
        assert_eq!(presence.uptime_permille(&A), Some(1_000));
        watch(&mut presence, 170..250, |block| block % 4 != 0);
        assert_eq!(presence.uptime_permille(&A), Some(750));
        assert_eq!(presence.uptime_permille(&NodeId([3; 32])), None);
    }

    #[test]
    fn who_registers_late_is_measured_from_then_on() {
        let mut presence = presence();
        for block in 0..100 {
            let miners = [(A, true), (B, true)].into_iter().take(if block < 90 { 1 } else { 2 });
            presence.note(block, u64::from(block) * 1_000, miners);
        }
        assert_eq!(presence.uptime_permille(&B), Some(1_000));
    }

    #[test]
    fn absence_of_the_service_is_nobodys_absence() {
        let mut presence = presence();
        watch(&mut presence, 0..100, |_| true);
        assert!(presence.is_whole(99));
        // Not run for longer than the patience: begins anew, and says so.
        watch(&mut presence, 110..119, |_| false);
        assert!(!presence.is_whole(118));
        assert_eq!(presence.uptime_permille(&A), None, "miners get time to be heard again");
        watch(&mut presence, 119..199, |_| true);
        assert!(!presence.is_whole(198));
        watch(&mut presence, 199..200, |_| true);
        assert!(presence.is_whole(199));
        assert_eq!(presence.uptime_permille(&A), Some(1_000));
    }

    #[test]
    fn a_chain_that_stands_still_or_jumps_is_survived() {
        let mut presence = presence();
        for second in 0..50_u64 {
            presence.note(7, second * 1_000, [(A, second < 30)].into_iter());
        }
        assert_eq!(presence.watched_blocks(7), 0);
        // 21 of the 41 looks after the first nine seconds.
        assert_eq!(presence.uptime_permille(&A), Some(512));
        presence.note(7_000, 50_000, [(A, true)].into_iter());
        assert_eq!((presence.sections.len(), presence.uptime_permille(&A)), (1, Some(1_000)));
        presence.note(6_000, 51_000, [(A, false)].into_iter());
        assert_eq!((presence.sections.len(), presence.uptime_permille(&A)), (1, Some(500)));
    }

    proptest! {
        #[test]
        fn memory_and_shares_are_bounded(steps in proptest::collection::vec((0..200_u32, 0..20_000_u64, any::<bool>()), 1..200)) {
            let mut presence = Presence::new(3, Duration::from_millis(PATIENCE_MS));
            let (mut block, mut now_ms) = (u32::MAX - 10_000, 0);
            for (blocks, ms, is_online) in steps {
                block = block.saturating_add(blocks);
                now_ms += ms;
                presence.note(block, now_ms, [(A, is_online)].into_iter());
                prop_assert!(presence.sections.len() <= SECTIONS as usize);
                prop_assert!(presence.uptime_permille(&A).is_none_or(|share| share <= UPTIME_PERMILLE_MAX));
            }
        }
    }
}
