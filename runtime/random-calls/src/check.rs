//! What has to hold whatever was called.

use arion_runtime::{Arion, Balances, Marketplace, Registration, Runtime, RuntimeEvent, Snapshots, System};

/// Issuance before a step.
pub(crate) struct Issuance {
    issued: u128,
    events: usize,
}

impl Issuance {
    /// As it is now.
    pub(crate) fn now() -> Self {
        Self { issued: Balances::total_issuance(), events: System::event_count() as usize }
    }

    /// Whether all that is missing now is what events name.
    ///
    /// # Panics
    /// When it is not.
    pub(crate) fn check(self, what: &dyn core::fmt::Debug) {
        use pallet_balances::Event::{Burned, DustLost};
        let now = Balances::total_issuance();
        let gone: u128 = frame_system::Pallet::<Runtime>::read_events_no_consensus()
            .skip(self.events)
            .map(|record| match record.event {
                RuntimeEvent::Balances(DustLost { amount, .. } | Burned { amount, .. }) => amount,
                _ => 0,
            })
            .fold(0, u128::saturating_add);
        assert!(now <= self.issued, "issuance grew by {} in {what:?}", now - self.issued);
        assert_eq!(self.issued - now, gone, "issuance shrank unseen in {what:?}");
        accounts();
    }
}

/// What all accounts own together is what was issued.
///
/// # Panics
/// When it is not.
pub(crate) fn accounts() {
    let owned = frame_system::Account::<Runtime>::iter_values()
        .map(|account| account.data.free.checked_add(account.data.reserved).expect("no more than was issued"))
        .fold(0u128, |sum, balance| sum.checked_add(balance).expect("no more than was issued"));
    assert_eq!(owned, Balances::total_issuance(), "accounts own something else than was issued");
}

/// The invariants of our pallets.
///
/// # Panics
/// When one does not hold.
pub(crate) fn state() {
    accounts();
    if let Err(error) = Registration::do_try_state() {
        panic!("registration: {error:?}");
    }
    if let Err(error) = Arion::do_try_state() {
        panic!("arion: {error:?}");
    }
    if let Err(error) = Marketplace::do_try_state() {
        panic!("marketplace: {error:?}");
    }
    if let Err(error) = Snapshots::do_try_state() {
        panic!("snapshots: {error:?}");
    }
}

/// The invariants of all pallets.
///
/// # Panics
/// When one does not hold.
#[cfg(feature = "try-runtime")]
pub(crate) fn all() {
    use frame_support::traits::{TryState, TryStateSelect};
    let number = System::block_number();
    let result =
        <arion_runtime::AllPalletsWithSystem as TryState<u32>>::try_state(number, TryStateSelect::All);
    if let Err(error) = result {
        panic!("{error:?}");
    }
}

/// The invariants of our pallets: those of others are compiled in with `try-runtime` only.
#[cfg(not(feature = "try-runtime"))]
pub(crate) fn all() {
    state();
}
