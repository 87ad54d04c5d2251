//! What the calls do once their origin is known.

use arion_types::{
    Snapshot,
    snapshot::{removal_message, snapshot_message},
};
use frame_support::{
    ensure,
    pallet_prelude::*,
    traits::{fungible::MutateHold, tokens::Precision},
};
use frame_system::pallet_prelude::BlockNumberFor;
use sp_core::ed25519;
use sp_runtime::traits::Zero;

use crate::{BalanceOf, Config, Error, Event, HoldReason, Pallet, SnapshotRecord, Snapshots};

impl<T: Config> Pallet<T> {
    pub(crate) fn do_commit(
        depositor: T::AccountId,
        locator: [u8; 32],
        snapshot: Snapshot,
        signature: [u8; 64],
    ) -> DispatchResult {
        let before = Snapshots::<T>::get(locator);
        let is_newer = before.as_ref().is_none_or(|before| snapshot.sequence > before.snapshot.sequence);
        ensure!(is_newer, Error::<T>::SequenceNotIncreasing);
        Self::check(&locator, &snapshot_message(&Self::genesis(), &locator, &snapshot), signature)?;

        // The old deposit first: it may be what the new one is paid from.
        if let Some(before) = before {
            Self::release(&before.depositor, before.deposit)?;
        }
        let deposit = T::SnapshotDeposit::get();
        T::Currency::hold(&HoldReason::SnapshotDeposit.into(), &depositor, deposit)
            .map_err(|_| Error::<T>::InsufficientDeposit)?;
        let committed_at = frame_system::Pallet::<T>::block_number();
        let record = SnapshotRecord { snapshot, depositor: depositor.clone(), deposit, committed_at };
        Snapshots::<T>::insert(locator, record);
        Self::deposit_event(Event::SnapshotCommitted { locator, snapshot, depositor });
        Ok(())
    }

    pub(crate) fn do_remove(locator: [u8; 32], sequence: u64, signature: [u8; 64]) -> DispatchResult {
        let record = Snapshots::<T>::get(locator).ok_or(Error::<T>::SnapshotNotFound)?;
        ensure!(sequence > record.snapshot.sequence, Error::<T>::SequenceNotIncreasing);
        Self::check(&locator, &removal_message(&Self::genesis(), &locator, sequence), signature)?;
        Self::release(&record.depositor, record.deposit)?;
        Snapshots::<T>::remove(locator);
        Self::deposit_event(Event::SnapshotRemoved { locator, depositor: record.depositor });
        Ok(())
    }

    fn genesis() -> [u8; 32] {
        frame_system::Pallet::<T>::block_hash(BlockNumberFor::<T>::zero()).0
    }

    fn check(locator: &[u8; 32], message: &[u8], signature: [u8; 64]) -> DispatchResult {
        let (signature, key) = (ed25519::Signature::from_raw(signature), ed25519::Public::from_raw(*locator));
        let is_genuine = sp_io::crypto::ed25519_verify(&signature, message, &key);
        is_genuine.then_some(()).ok_or(Error::<T>::InvalidLocatorSignature.into())
    }

    fn release(depositor: &T::AccountId, amount: BalanceOf<T>) -> DispatchResult {
        let reason = HoldReason::SnapshotDeposit.into();
        T::Currency::release(&reason, depositor, amount, Precision::Exact).map(drop)
    }

    /// Checks every invariant of the pallet's state.
    #[cfg(any(feature = "std", feature = "try-runtime"))]
    pub fn do_try_state() -> Result<(), sp_runtime::TryRuntimeError> {
        use alloc::collections::BTreeMap;
        use frame_support::traits::fungible::InspectHold;

        let mut deposits: BTreeMap<T::AccountId, BalanceOf<T>> = BTreeMap::new();
        for record in Snapshots::<T>::iter_values() {
            *deposits.entry(record.depositor).or_default() += record.deposit;
        }
        for account in frame_system::Account::<T>::iter_keys() {
            let held = T::Currency::balance_on_hold(&HoldReason::SnapshotDeposit.into(), &account);
            let deposits = deposits.remove(&account).unwrap_or_default();
            ensure!(held == deposits, "what is held is not the sum of the deposits of snapshots");
        }
        ensure!(deposits.is_empty(), "who brought a snapshot has no account");
        Ok(())
    }
}
