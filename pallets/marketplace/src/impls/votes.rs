//! Votes of the validators on requests, and the draws they are checked by.

use frame_support::pallet_prelude::*;
use frame_system::pallet_prelude::*;
use sp_core::H256;
use sp_io::hashing::blake2_256;

use crate::{Config, Error, Pallet, RequestVotes, types::Vote};

/// First bytes of what is hashed for a draw.
const DRAW_TAG: &[u8] = b"arion/assignment/v1";

/// Where a vote stands.
pub(crate) struct Tally {
    /// Validators that want what the last vote wants.
    pub(crate) votes: u32,
    /// Votes that are enough.
    pub(crate) needed: u32,
    /// Validators.
    pub(crate) validators: u32,
}

impl Tally {
    /// Whether enough validators want the same.
    pub(crate) fn decided(&self) -> bool {
        self.votes >= self.needed
    }
}

impl<T: Config> Pallet<T> {
    /// Counts a validator's vote instead of its earlier one; votes of accounts that are no validators any
    /// more are dropped.
    pub(crate) fn vote(validator: &T::AccountId, id: u64, vote: Vote) -> Result<Tally, DispatchError> {
        let validators = T::Validators::get();
        let mut votes = RequestVotes::<T>::get(id);
        votes.retain(|(account, _)| account != validator && validators.contains(account));
        votes.try_push((validator.clone(), vote)).map_err(|_| Error::<T>::TooManyVotes)?;
        let same = votes.iter().filter(|(_, other)| *other == vote).count() as u32;
        RequestVotes::<T>::insert(id, votes);
        let validators = validators.len() as u32;
        Ok(Tally { votes: same, needed: Self::votes_needed(validators), validators })
    }

    /// Two thirds of the validators, rounded up, and at least one.
    pub(crate) fn votes_needed(validators: u32) -> u32 {
        validators.saturating_mul(2).div_ceil(3).max(1)
    }

    /// The seed of requests of a block: its hash, once it is known and as long as it is.
    pub(crate) fn seed_of(block: BlockNumberFor<T>) -> Option<H256> {
        let hash = frame_system::Pallet::<T>::block_hash(block);
        (hash != H256::zero()).then_some(hash)
    }

    /// A node's draw for a request: BLAKE2b-256 of `tag || seed || request (u64 LE) || node id`.
    pub fn draw(seed: &H256, request: u64, node_id: &[u8; 32]) -> H256 {
        let message = [DRAW_TAG, &seed.0, &request.to_le_bytes(), node_id].concat();
        H256(blake2_256(&message))
    }
}
