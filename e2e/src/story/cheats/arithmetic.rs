//! After how many challenges a cheat is expected to be caught, and after how many at the latest but for one case in a thousand.
//!
//! The formulas are those of docs/spec/proofs.md.

use arion_types::ShardHash;

use crate::cheat::Strategy;

/// One case in so many may take longer.
const RARE: f64 = 1_000.0;
/// Groups of a challenge.
const ASKED: u64 = 4;

/// What awaits a cheat.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Lot {
    /// Mean number of challenges until the first verdict other than `Passed`; 0 where there is none to come.
    pub(super) expected: f64,
    /// At most so many.
    pub(super) most: usize,
}

impl Lot {
    /// Of a strategy, with these shards of so many bytes.
    pub(super) fn of(strategy: Strategy, shards: &[(ShardHash, u32)]) -> Self {
        let count = shards.len();
        let all = count as f64;
        match strategy {
            Strategy::Dropped => {
                let lost = shards.iter().filter(|(shard, _)| strategy.has_lost(shard)).count();
                // The cheating begins within a round: the rest of it, and all of the next but the lost ones.
                let most = 2 * count - lost.min(count) + 1;
                Self { expected: (all + 1.0) / (lost as f64 + 1.0), most }
            }
            Strategy::Flipped => {
                let groups = shards.iter().map(|(_, size)| size.div_ceil(arion_proofs::GROUP_BYTES)).min();
                let found = found_by_one(u64::from(groups.unwrap_or(1)));
                Self { expected: 1.0 / found, most: until_rare(found) }
            }
            // Who has nothing, and claims something else, or nothing at all: the first challenge; one more was under way.
            Strategy::Truncated | Strategy::SlowRelay | Strategy::RefuseChallenges => {
                Self { expected: 1.0, most: 2 }
            }
            // A round of first answers; the next one asks for others. It may have begun within a round.
            Strategy::Replay => Self { expected: all + 1.0, most: 2 * count + 1 },
            Strategy::Relay | Strategy::Recompute | Strategy::RefuseReads => Self { expected: 0.0, most: 0 },
        }
    }
}

/// Chance that a challenge asks for one certain group: 1 - C(groups - 1, 4) / C(groups, 4) = 4 / groups.
fn found_by_one(groups: u64) -> f64 {
    ASKED.min(groups) as f64 / groups.max(1) as f64
}

/// Challenges after which all missed with a chance of less than one in [`RARE`].
fn until_rare(found: f64) -> usize {
    if found >= 1.0 {
        return 2;
    }
    ((1.0 / RARE).ln() / (1.0 - found).ln()).ceil() as usize + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shards() -> Vec<(ShardHash, u32)> {
        (0..12u8).map(|n| (ShardHash([n; 32]), 120_000)).collect()
    }

    #[test]
    fn lots_follow_from_the_shards() {
        let dropped = Lot::of(Strategy::Dropped, &shards());
        assert_eq!((dropped.most, (dropped.expected * 7.0).round()), (19, 13.0));
        // Eight groups, four asked for: every second challenge; 10 misses are one in 1,024.
        assert_eq!(Lot::of(Strategy::Flipped, &shards()), Lot { expected: 2.0, most: 11 });
        assert_eq!(Lot::of(Strategy::Replay, &shards()), Lot { expected: 13.0, most: 25 });
        assert_eq!(Lot::of(Strategy::Truncated, &shards()).most, 2);
        assert_eq!((found_by_one(3), until_rare(1.0)), (1.0, 2));
        for strategy in Strategy::ALL {
            assert!(Lot::of(strategy, &[]).most <= 2, "nothing is asked of who has nothing");
        }
    }
}
