//! The shards that no ledger names, and since how long. No clock, no network.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use arion_types::ShardHash;

/// Shards that are looked after at once: 2.5 MiB. Those behind them, in order of address, have their turn when these are gone.
pub(super) const SUSPECTS_MAX: usize = 65_536;

/// For how long each shard was told to be nobody's, round after round.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Suspects(BTreeMap<ShardHash, Duration>);

impl Suspects {
    /// From pairs; more than there may be are left out.
    pub(super) fn of(known: impl IntoIterator<Item = (ShardHash, Duration)>) -> Self {
        Self(known.into_iter().take(SUSPECTS_MAX).collect())
    }

    /// Every one.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = (&ShardHash, &Duration)> {
        self.0.iter()
    }

    /// For how long a shard was told.
    pub(super) fn age(&self, shard: &ShardHash) -> Option<Duration> {
        self.0.get(shard).copied()
    }

    /// Somebody wants it.
    pub(super) fn wanted(&mut self, shard: &ShardHash) {
        self.0.remove(shard);
    }

    /// A round has told of these, all there are, and so much time counts since the one before. What was told before and since,
    /// and was not wanted in between, is older by that; the others are new; who is not told of any more is forgotten.
    pub(super) fn round(&mut self, told: &BTreeSet<ShardHash>, passed: Duration) {
        let before = std::mem::take(&mut self.0);
        let age =
            |shard| before.get(shard).map_or(Duration::ZERO, |age: &Duration| age.saturating_add(passed));
        self.0 = told.iter().take(SUSPECTS_MAX).map(|shard| (*shard, age(shard))).collect();
    }

    /// Those that are at least this old.
    pub(super) fn older(&self, retention: Duration) -> Vec<ShardHash> {
        self.0.iter().filter(|(_, age)| **age >= retention).map(|(shard, _)| *shard).collect()
    }

    /// Forgets a shard, if it is at least this old; whether it was.
    pub(super) fn take(&mut self, shard: &ShardHash, retention: Duration) -> bool {
        let is_due = self.0.get(shard).is_some_and(|age| *age >= retention);
        is_due && self.0.remove(shard).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn shards(numbers: &[u8]) -> BTreeSet<ShardHash> {
        numbers.iter().map(|number| ShardHash([*number; 32])).collect()
    }

    #[test]
    fn only_what_was_told_every_time_grows_old() {
        let mut suspects = Suspects::default();
        suspects.round(&shards(&[1, 2]), HOUR);
        assert!(suspects.older(HOUR).is_empty(), "told once: no time has passed");
        suspects.round(&shards(&[1, 3]), HOUR);
        suspects.round(&shards(&[1, 2, 3]), HOUR);
        assert_eq!(suspects.older(HOUR * 2), [ShardHash([1; 32])]);
        assert_eq!(suspects.older(HOUR), [ShardHash([1; 32]), ShardHash([3; 32])]);
    }

    #[test]
    fn what_somebody_wants_begins_anew_even_if_the_round_tells_of_it() {
        let mut suspects = Suspects::default();
        for _ in 0..4 {
            suspects.round(&shards(&[1]), HOUR);
        }
        assert_eq!(suspects.older(HOUR * 3).len(), 1);
        suspects.wanted(&ShardHash([1; 32]));
        suspects.round(&shards(&[1]), HOUR);
        assert!(suspects.older(HOUR).is_empty());
        assert!(!suspects.take(&ShardHash([1; 32]), HOUR));
        assert!(suspects.take(&ShardHash([1; 32]), Duration::ZERO));
        assert!(!suspects.take(&ShardHash([1; 32]), Duration::ZERO), "once");
    }

    #[test]
    fn there_are_never_more_than_may_be() {
        let many = |n: u32| {
            let mut shard = [0; 32];
            shard[..4].copy_from_slice(&n.to_be_bytes());
            ShardHash(shard)
        };
        let told: BTreeSet<ShardHash> = (0..SUSPECTS_MAX as u32 + 9).map(many).collect();
        let mut suspects = Suspects::default();
        suspects.round(&told, HOUR);
        assert_eq!(suspects.iter().len(), SUSPECTS_MAX);
    }
}
