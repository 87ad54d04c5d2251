//! What the calls do once their origin is known.

mod attestations;
mod children;
mod maps;
#[cfg(any(test, feature = "try-runtime"))]
mod try_state;

use arion_types::GenesisHash;
use frame_support::sp_runtime::traits::Zero;
use frame_system::pallet_prelude::BlockNumberFor;

use crate::{Config, Pallet};

impl<T: Config> Pallet<T> {
    /// Hash of block 0, which `frame_system` never forgets: part of every signed message.
    pub(crate) fn genesis_hash() -> GenesisHash {
        frame_system::Pallet::<T>::block_hash(BlockNumberFor::<T>::zero()).0
    }
}
