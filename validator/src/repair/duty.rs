//! Who begins: several validator services share the work without talking to each other.
//!
//! For each placement group the registered services are ranked by a hash of their node id and the group. Each waits by its rank,
//! so that the next one takes over what the one before it leaves undone. Work that is done twice is harmless.

use std::{collections::BTreeSet, time::Duration};

use arion_types::{NodeId, PgId};

/// The rank of a service for a placement group, 0 first; `None` if it is not registered.
pub(super) fn rank(services: &BTreeSet<NodeId>, me: &NodeId, pg: PgId) -> Option<usize> {
    let weight = |node: &NodeId| {
        let mut hasher = blake3::Hasher::new_derive_key("arion 2026-11 repair duty v1");
        hasher.update(&pg.to_le_bytes()).update(&node.0);
        *hasher.finalize().as_bytes()
    };
    let mine = weight(me);
    services.contains(me).then(|| services.iter().filter(|node| weight(node) < mine).count())
}

/// How long a service of this rank leaves a stripe to those before it, in milliseconds.
pub(super) fn wait_ms(rank: usize, delay: Duration, takeover: Duration) -> u64 {
    let ranks = u32::try_from(rank).unwrap_or(u32::MAX);
    u64::try_from(delay.saturating_add(takeover.saturating_mul(ranks)).as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_has_each_service_at_another_rank_and_the_first_ranks_are_shared() {
        let services: BTreeSet<NodeId> = (1..=3).map(|n| NodeId([n; 32])).collect();
        let mut firsts = [0u32; 4];
        for pg in 0..300 {
            let ranks: BTreeSet<_> = services.iter().map(|node| rank(&services, node, pg).unwrap()).collect();
            assert_eq!(ranks, [0, 1, 2].into());
            let first = services.iter().find(|node| rank(&services, node, pg) == Some(0)).unwrap();
            firsts[usize::from(first.0[0])] += 1;
        }
        assert!(firsts[1..].iter().all(|count| (60..140).contains(count)), "{firsts:?}");
        assert_eq!(rank(&services, &NodeId([9; 32]), 0), None);
        assert_eq!(wait_ms(2, Duration::from_secs(1), Duration::from_secs(60)), 121_000);
    }
}
