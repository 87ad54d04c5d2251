//! How long an answer may take: by the length of the shard and by how the miner has answered before.
//!
//! # Invariants
//! - No miner can stretch a deadline beyond the configured one by answering slowly; being quick only tightens it.
//! - The last attempt always has the configured deadline: a path that became slow makes nobody fail.

use std::{collections::HashMap, time::Duration};

use arion_types::NodeId;

/// No deadline is shorter, unless the configured one is.
const DEADLINE_MIN: Duration = Duration::from_secs(2);
/// A miner reads and hashes a shard, and sends its proof, at no less than this many bytes in a second.
const BYTES_PER_SECOND_MIN: u64 = 1 << 18;

/// How a miner answered, smoothed as TCP does it (RFC 6298).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Path {
    smoothed: Duration,
    deviation: Duration,
}

/// The paths to miners.
#[derive(Clone, Debug, Default)]
pub struct Paths {
    known: HashMap<NodeId, Path>,
}

impl Paths {
    /// A miner answered after so long.
    pub fn answered(&mut self, node: NodeId, after: Duration) {
        self.known
            .entry(node)
            .and_modify(|path| {
                let off = path.smoothed.abs_diff(after);
                path.deviation = path.deviation * 3 / 4 + off / 4;
                path.smoothed = path.smoothed * 7 / 8 + after / 8;
            })
            .or_insert(Path { smoothed: after, deviation: after / 2 });
    }

    /// Forgets miners that are not kept.
    pub fn retain(&mut self, is_kept: impl Fn(&NodeId) -> bool) {
        self.known.retain(|node, _| is_kept(node));
    }

    /// Deadline of attempt `attempt` (from 0) of `attempts` on a shard of `size` bytes, where `longest` is configured.
    pub fn deadline(
        &self,
        node: &NodeId,
        size: u32,
        attempt: u32,
        attempts: u32,
        longest: Duration,
    ) -> Duration {
        let is_last = attempt.saturating_add(1) >= attempts;
        let Some(path) = self.known.get(node).filter(|_| !is_last) else { return longest };
        let transfer = Duration::from_micros(u64::from(size) * 1_000_000 / BYTES_PER_SECOND_MIN);
        let usual = path.smoothed.saturating_add(path.deviation.saturating_mul(4)).saturating_add(transfer);
        let doubled = usual.max(DEADLINE_MIN).saturating_mul(1 << attempt.min(16));
        doubled.min(longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NODE: NodeId = NodeId([1; 32]);
    const LONGEST: Duration = Duration::from_secs(10);

    #[test]
    fn a_quick_miner_has_to_stay_quick_and_gets_all_the_time_in_the_end() {
        let mut paths = Paths::default();
        assert_eq!(paths.deadline(&NODE, 1 << 20, 0, 3, LONGEST), LONGEST);
        for _ in 0..50 {
            paths.answered(NODE, Duration::from_millis(20));
        }
        let small = paths.deadline(&NODE, 1_000, 0, 3, LONGEST);
        assert_eq!(small, DEADLINE_MIN);
        let large = paths.deadline(&NODE, 1 << 20, 0, 3, LONGEST);
        assert!(large > small && large < Duration::from_millis(4_100), "{large:?}");
        assert_eq!(paths.deadline(&NODE, 1_000, 1, 3, LONGEST), 2 * DEADLINE_MIN);
        assert_eq!(paths.deadline(&NODE, 1_000, 2, 3, LONGEST), LONGEST);
        assert_eq!(paths.deadline(&NODE, 1_000, 0, 1, LONGEST), LONGEST);
        paths.retain(|_| false);
        assert_eq!(paths.deadline(&NODE, 1_000, 0, 3, LONGEST), LONGEST);
    }

    proptest! {
        #[test]
        fn nobody_gets_more_than_is_configured(
            answers in proptest::collection::vec(0u64..60_000, 0..40), size in 0u32..=1 << 20,
            attempt in 0u32..40, attempts in 1u32..40, longest_ms in 10u64..30_000,
        ) {
            let mut paths = Paths::default();
            for answer in answers {
                paths.answered(NODE, Duration::from_millis(answer));
            }
            let longest = Duration::from_millis(longest_ms);
            let deadline = paths.deadline(&NODE, size, attempt, attempts, longest);
            prop_assert!(deadline <= longest && deadline >= DEADLINE_MIN.min(longest));
        }
    }
}
