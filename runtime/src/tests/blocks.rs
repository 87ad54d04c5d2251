//! Blocks with the hooks of all pallets, far faster than time: a block per session is enough to get through eras.

use frame_support::traits::{OnFinalize, OnInitialize};
use sp_consensus_babe::digests::{CompatibleDigestItem, PreDigest, SecondaryPlainPreDigest};
use sp_runtime::{Digest, DigestItem};

use crate::{
    AllPalletsWithSystem, Runtime, RuntimeOrigin, Session, System, Timestamp,
    constants::{SESSION_SLOTS, SLOT_MS},
};

/// Slot of the first block.
const FIRST_SLOT: u64 = 1_000;
/// More sessions than any test lasts.
const SESSIONS_MAX: u32 = 2_000;

/// The slot of the newest block.
pub(super) fn slot() -> u64 {
    *pallet_babe::CurrentSlot::<Runtime>::get()
}

/// The era that earns rewards now.
pub(super) fn era() -> u32 {
    pallet_staking::ActiveEra::<Runtime>::get().map_or(0, |era| era.index)
}

/// Produces a block `slots` after the newest one; `body` is what happens in it. Validators take turns, those that
/// are disabled pass.
pub(super) fn block<T>(slots: u64, body: impl FnOnce() -> T) -> T {
    let slot = if slot() == 0 { FIRST_SLOT } else { slot() + slots };
    let count = super::validators().len() as u64;
    let disabled = Session::disabled_validators();
    let author = (slot..slot + count)
        .map(|turn| (turn % count) as u32)
        .find(|index| !disabled.contains(index))
        .expect("some validator is not disabled");
    let pre_digest =
        PreDigest::SecondaryPlain(SecondaryPlainPreDigest { authority_index: author, slot: slot.into() });
    let number = System::block_number() + 1;
    System::reset_events();
    System::initialize(
        &number,
        &Default::default(),
        &Digest { logs: vec![<DigestItem as CompatibleDigestItem>::babe_pre_digest(pre_digest)] },
    );
    AllPalletsWithSystem::on_initialize(number);
    System::note_finished_initialize();
    Timestamp::set(RuntimeOrigin::none(), slot * SLOT_MS).unwrap();
    let result = body();
    AllPalletsWithSystem::on_finalize(number);
    System::finalize();
    #[cfg(feature = "try-runtime")]
    <AllPalletsWithSystem as frame_support::traits::TryState<crate::BlockNumber>>::try_state(
        number,
        frame_support::traits::TryStateSelect::All,
    )
    .unwrap();
    result
}

/// Begins the next session.
pub(super) fn session() {
    block(SESSION_SLOTS.into(), || ());
}

/// Goes on to the first block of an era.
pub(super) fn until_era(wanted: u32) {
    for _ in 0..SESSIONS_MAX {
        if era() >= wanted {
            return;
        }
        session();
    }
    panic!("era {wanted} does not come");
}
