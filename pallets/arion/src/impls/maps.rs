//! Maps: validation, votes, publication and pruning.

use alloc::collections::BTreeSet;
use arion_types::{CrushParams, MinerRecord, map::map_root};
use frame_support::{ensure, pallet_prelude::*};
use sp_core::H256;

use crate::{
    ChildRegistrations, ChildStatus, Config, CurrentEpoch, EpochAttestationCommitments, EpochMiners,
    EpochParams, EpochRoot, EpochStarts, Error, Event, KeptEpochs, MapVote, MapVotes, MinersOf,
    NodeIdToChild, Pallet,
    scoring::votes_needed,
    types::{CHOOSE_TRIES_MAX, PG_COUNT_MAX},
};

/// Votes removed when a map is published; should former validators have left more, the sweep takes them.
pub(crate) const VOTES_CLEARED_MAX: u32 = 256;

impl<T: Config> Pallet<T> {
    pub(crate) fn do_submit_crush_map(
        validator: T::AccountId,
        epoch: u64,
        params: CrushParams,
        miners: MinersOf<T>,
    ) -> DispatchResult {
        let current = CurrentEpoch::<T>::get();
        ensure!(epoch > current, Error::<T>::EpochRegression);
        ensure!(current > 0 || epoch == 1, Error::<T>::FirstEpochNotOne);
        Self::ensure_params(&params)?;
        Self::ensure_miners(&miners)?;

        let root = H256(map_root(&params, &miners));
        let vote = MapVote { epoch, root };
        MapVotes::<T>::insert(&validator, vote);
        let (mut votes, mut total) = (0u128, 0u128);
        for (account, weight) in T::ValidatorVotes::get() {
            total = total.saturating_add(weight);
            if MapVotes::<T>::get(account) == Some(vote) {
                votes = votes.saturating_add(weight);
            }
        }
        let votes_needed = votes_needed(total);
        Self::deposit_event(Event::MapProposed { validator, epoch, root, votes, votes_needed });
        if votes >= votes_needed {
            Self::publish(epoch, params, miners, root);
        }
        Ok(())
    }

    fn publish(epoch: u64, params: CrushParams, miners: MinersOf<T>, root: H256) {
        let count = miners.len() as u32;
        EpochParams::<T>::insert(epoch, params);
        EpochMiners::<T>::insert(epoch, miners);
        EpochRoot::<T>::insert(epoch, root);
        CurrentEpoch::<T>::put(epoch);
        KeptEpochs::<T>::mutate(|kept| {
            if kept.is_full() {
                let oldest = kept.remove(0);
                EpochParams::<T>::remove(oldest);
                EpochMiners::<T>::remove(oldest);
                EpochRoot::<T>::remove(oldest);
                EpochAttestationCommitments::<T>::remove(oldest);
            }
            kept.try_push(epoch).expect("a place is free: one was made just now if the list was full");
        });
        EpochStarts::<T>::mutate(|starts| {
            if starts.is_full() {
                starts.remove(0);
            }
            let now = frame_system::Pallet::<T>::block_number();
            starts
                .try_push((epoch, now))
                .expect("a place is free: one was made just now if the list was full");
        });
        let _ = MapVotes::<T>::clear(VOTES_CLEARED_MAX, None);
        Self::deposit_event(Event::CrushMapPublished { epoch, miners: count, root });
    }

    fn ensure_params(params: &CrushParams) -> DispatchResult {
        let sane = (1..=PG_COUNT_MAX).contains(&params.pg_count)
            && params.ec_k >= 1
            && params.shards() <= u16::from(u8::MAX)
            && params.family_shards_max >= 1
            && (1..=CHOOSE_TRIES_MAX).contains(&params.choose_tries);
        ensure!(sane, Error::<T>::InvalidCrushParams);
        Ok(())
    }

    fn ensure_miners(miners: &[MinerRecord<T::AccountId>]) -> DispatchResult {
        ensure!(!miners.is_empty(), Error::<T>::EmptyMinerList);
        ensure!(
            miners.windows(2).all(|pair| pair[0].uid < pair[1].uid),
            Error::<T>::MinerListNotSortedOrNotUnique
        );
        let mut node_ids = BTreeSet::new();
        for miner in miners {
            ensure!(node_ids.insert(&miner.node_id), Error::<T>::DuplicateNodeId);
            let endpoint = core::str::from_utf8(&miner.endpoint);
            ensure!(endpoint.is_ok_and(|text| !text.is_empty()), Error::<T>::InvalidEndpoint);
            if T::EnforceRegisteredMiners::get() {
                ensure!(
                    Self::is_active_child_of(&miner.node_id, &miner.family),
                    Error::<T>::MinerNotRegistered
                );
            }
        }
        Ok(())
    }

    fn is_active_child_of(node_id: &[u8; 32], family: &T::AccountId) -> bool {
        NodeIdToChild::<T>::get(node_id)
            .and_then(ChildRegistrations::<T>::get)
            .is_some_and(|child| child.family == *family && child.status == ChildStatus::Active)
    }

    /// Epoch of the newest map, 0 while there is none.
    pub fn current_epoch() -> u64 {
        CurrentEpoch::<T>::get()
    }

    /// The map of an epoch, with its commitment, while it is kept.
    pub fn map_at(epoch: u64) -> Option<(u64, CrushParams, MinersOf<T>, H256)> {
        Some((
            epoch,
            EpochParams::<T>::get(epoch)?,
            EpochMiners::<T>::get(epoch)?,
            EpochRoot::<T>::get(epoch)?,
        ))
    }
}
