//! Which updates of usage are committed, and in which order.
//!
//! # Invariants
//! - No account is billed more than it occupies, or than it allows.
//! - After every batch, all that is billed is no more than the live bytes that the batch anchors.

use std::{cmp::Reverse, collections::BTreeMap};

use arion_chain::AccountId;

/// What the chain says of an account.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Known {
    /// Bytes that it is billed by this gateway.
    pub billed: u64,
    /// Most bytes that it lets this gateway bill; `None` if it lets it bill nothing.
    pub bytes_max: Option<u64>,
    /// Whether its usage may grow.
    pub takes_writes: bool,
}

/// Updates that are committed together.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Batch {
    /// Accounts with what they occupy, strictly increasing in account.
    pub updates: Vec<(AccountId, u64)>,
    /// Whether more becomes less behind it: then it anchors once more what the newest commitment anchors, because what is still
    /// billed may be more than what is live now.
    pub is_early: bool,
}

/// What an account is to be billed from now on, if that is not what it is billed.
pub fn target(occupied: u64, known: &Known) -> Option<u64> {
    let target = occupied.min(known.bytes_max?);
    let is_less = target < known.billed;
    (is_less || (target > known.billed && known.takes_writes)).then_some(target)
}

/// The updates that bring what accounts are billed to what they occupy, at most `max` in a batch; what becomes less comes first.
pub fn batches(accounts: &BTreeMap<AccountId, (u64, Known)>, max: usize) -> Vec<Batch> {
    let changed = accounts.iter().filter_map(|(account, (occupied, known))| {
        target(*occupied, known).map(|target| (*account, target, known.billed))
    });
    let (mut all, more): (Vec<_>, Vec<_>) = changed.partition(|(_, target, billed)| target < billed);
    let less = all.len();
    all.sort_by_key(|(account, target, billed)| (Reverse(billed - target), *account));
    all.extend(more);
    let max = max.max(1);
    let batch = |(at, chunk): (usize, &[(AccountId, u64, u64)])| {
        let mut updates: Vec<_> = chunk.iter().map(|(account, target, _)| (*account, *target)).collect();
        updates.sort_unstable();
        Batch { updates, is_early: (at + 1) * max < less }
    };
    all.chunks(max).enumerate().map(batch).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nobody_is_billed_more_than_allowed() {
        let known = |billed, bytes_max, takes_writes| Known { billed, bytes_max, takes_writes };
        for (occupied, known, expected) in [
            (10, known(0, None, false), None),
            (10, known(0, Some(100), true), Some(10)),
            (10, known(10, Some(100), true), None),
            (10, known(20, Some(100), true), Some(10)),
            (0, known(20, Some(100), true), Some(0)),
            // Beyond the limit it is billed up to the limit.
            (200, known(20, Some(100), true), Some(100)),
            (200, known(100, Some(100), true), None),
            // Suspended: what became less counts, what became more does not.
            (200, known(20, Some(100), false), None),
            (10, known(20, Some(100), false), Some(10)),
        ] {
            assert_eq!(target(occupied, &known), expected, "{occupied} {known:?}");
        }
    }

    /// Accounts with what they occupy, are billed and allow.
    fn accounts() -> impl Strategy<Value = BTreeMap<AccountId, (u64, Known)>> {
        let known = (0..1_000u64, 0..1_000u64, 0..2_000u64, any::<bool>(), any::<bool>());
        let known = known.prop_map(|(occupied, billed, room, allows, takes_writes)| {
            let bytes_max = allows.then_some(billed + room);
            let billed = if allows { billed } else { 0 };
            (occupied, Known { billed, bytes_max, takes_writes })
        });
        proptest::collection::btree_map(any::<u8>().prop_map(|n| [n; 32]), known, 0..60)
    }

    proptest! {
        /// The pallet refuses a commitment that bills more than it anchors: with what it is told in any order of sizes, that never
        /// happens, and in the end everybody is billed what is right.
        #[test]
        fn what_is_billed_is_never_more_than_what_is_anchored(
            mut accounts in accounts(), max in 1..20usize, own in 0..500u64,
        ) {
            let billed = |accounts: &BTreeMap<AccountId, (u64, Known)>| {
                accounts.values().map(|(_, known)| known.billed).sum::<u64>()
            };
            // What was anchored before was enough for what is billed; what is live now is enough for what is occupied.
            let before = billed(&accounts);
            let live: u64 = accounts.values().map(|(occupied, _)| occupied).sum::<u64>() + own;
            let batches = batches(&accounts, max);
            for (at, batch) in batches.iter().enumerate() {
                prop_assert!((1..=max).contains(&batch.updates.len()));
                prop_assert!(batch.updates.windows(2).all(|pair| pair[0].0 < pair[1].0));
                for (account, bytes) in &batch.updates {
                    let (occupied, known) = accounts.get_mut(account).unwrap();
                    prop_assert!(*bytes <= *occupied && known.bytes_max.is_some_and(|max| *bytes <= max));
                    prop_assert!(*bytes < known.billed || known.takes_writes);
                    known.billed = *bytes;
                }
                let anchored = if batch.is_early { before } else { live };
                // Who cannot be changed may be billed for more than there is, but only where that was so before.
                let stuck: u64 = accounts.values()
                    .filter(|(_, known)| known.bytes_max.is_none())
                    .map(|(occupied, known)| known.billed.saturating_sub(*occupied))
                    .sum();
                prop_assert!(billed(&accounts) <= anchored + stuck, "batch {at} of {}", batches.len());
            }
            prop_assert!(super::batches(&accounts, max).is_empty());
            prop_assert!(batches.last().is_none_or(|last| !last.is_early));
        }
    }
}
