//! What clients ask: answers for the runtime API and for other pallets. All of them are bounded.

use alloc::vec::Vec;
use arion_types::{AttestationRecord, PgId, Uid};
use core::cmp::Reverse;

use crate::{
    AttestationsByBucket, Config, CurrentEpoch, EpochMiners, EpochParams, FamilyChildren, FamilyWeight,
    FamilyWeightRaw, NodeWeightByChild, Pallet, types::PlacementRefusal,
};

/// Entries of a page.
pub(crate) const PAGE: usize = 100;

/// A node, its family and its weight.
pub(crate) type Ranked<AccountId> = (AccountId, AccountId, u16);

impl<T: Config> Pallet<T> {
    /// Families with a weight above 0, sorted by account: at most `MaxFamilies`.
    pub fn family_weights() -> Vec<(T::AccountId, u16)> {
        let mut weights: Vec<_> = FamilyWeight::<T>::iter().filter(|(_, weight)| *weight > 0).collect();
        weights.sort_unstable();
        weights
    }

    /// Weight of a node; `None` unless it is an active child.
    pub fn node_weight(child: &T::AccountId) -> Option<u16> {
        Self::is_active(child).then(|| NodeWeightByChild::<T>::get(child))
    }

    /// Smoothed and raw weight of a family; `None` without active children.
    pub fn family_weight(family: &T::AccountId) -> Option<(u16, u16)> {
        let weights = || (FamilyWeight::<T>::get(family), FamilyWeightRaw::<T>::get(family));
        Self::has_children(family).then(weights)
    }

    /// A page of all active children by falling weight, those of equal weight by account, from rank `cursor`
    /// (0 is the best); and the rank to go on from, unless this was the last page.
    pub fn ranking(cursor: u32) -> (Vec<Ranked<T::AccountId>>, Option<u32>) {
        let mut nodes: Vec<Ranked<T::AccountId>> = FamilyChildren::<T>::iter()
            .flat_map(|(family, children)| {
                children.into_iter().map(move |child| {
                    let weight = NodeWeightByChild::<T>::get(&child);
                    (child, family.clone(), weight)
                })
            })
            .collect();
        nodes.sort_unstable_by(|a, b| (Reverse(a.2), &a.0).cmp(&(Reverse(b.2), &b.0)));
        page(nodes, cursor)
    }

    /// A page of the attestations of a bucket, in the order in which they came, from position `cursor`; and
    /// the position to go on from, unless this was the last page.
    pub fn attestations(bucket: u32, cursor: u32) -> (Vec<AttestationRecord>, Option<u32>) {
        page(AttestationsByBucket::<T>::get(bucket).into_inner(), cursor)
    }

    /// Uids of the miners of a placement group under the newest map, in the order of the shards; `None` where
    /// CRUSH finds no miner. With the epoch of the map.
    pub fn placement(pg: PgId) -> Result<(u64, Vec<Option<Uid>>), PlacementRefusal> {
        let epoch = CurrentEpoch::<T>::get();
        let (Some(params), Some(miners)) = (EpochParams::<T>::get(epoch), EpochMiners::<T>::get(epoch))
        else {
            return Err(PlacementRefusal::NoMap);
        };
        if pg >= params.pg_count {
            return Err(PlacementRefusal::NoSuchGroup);
        }
        let map = crush::Map::from_records(&params, &miners).map_err(|_| PlacementRefusal::TooFewMiners)?;
        Ok((epoch, map.place_vec(pg)))
    }
}

/// [`PAGE`] items from `cursor`, and where the next page starts.
fn page<Item>(items: Vec<Item>, cursor: u32) -> (Vec<Item>, Option<u32>) {
    let total = items.len();
    let end = (cursor as usize).saturating_add(PAGE);
    let page = items.into_iter().skip(cursor as usize).take(PAGE).collect();
    (page, (end < total).then_some(end as u32))
}
