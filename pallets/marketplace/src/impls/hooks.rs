//! The sweep: a few agreements and requests per block, in the time that is left over.
//!
//! Nothing depends on when it comes past: charges are the same whenever they are made, stages have their full
//! length from when they are entered, and anybody can call `poke` and `poke_request`.

use alloc::vec::Vec;
use frame_support::{
    storage::with_storage_layer,
    traits::Get,
    weights::{Weight, WeightMeter},
};

use crate::{AgreementCursor, Agreements, Config, Pallet, RequestCursor, Requests, WeightInfo};

impl<T: Config> Pallet<T> {
    /// Looks at the next agreements and requests; returns the weight used.
    pub(crate) fn sweep(remaining: Weight) -> Weight {
        let mut meter = WeightMeter::with_limit(remaining);
        Self::sweep_agreements(&mut meter);
        Self::sweep_requests(&mut meter);
        meter.consumed()
    }

    /// How many items fit, `most` at most; what they need, by `weight`, is taken from the meter.
    fn places(meter: &mut WeightMeter, weight: fn(u32) -> Weight, most: u32) -> usize {
        let places = (1..=most).rev().find(|places| meter.try_consume(weight(*places)).is_ok());
        places.unwrap_or(0) as usize
    }

    pub(crate) fn sweep_agreements(meter: &mut WeightMeter) {
        let places = Self::places(meter, T::WeightInfo::sweep_agreements, T::SweptAgreements::get());
        if places == 0 {
            return;
        }
        let accounts: Vec<T::AccountId> = match AgreementCursor::<T>::get() {
            Some(last) => Agreements::<T>::iter_keys_from_key(last).take(places).collect(),
            None => Agreements::<T>::iter_keys().take(places).collect(),
        };
        for account in &accounts {
            Self::touch_if_any(account);
        }
        // After the last one it starts over.
        let last = accounts.last().filter(|_| accounts.len() == places).cloned();
        AgreementCursor::<T>::set(last);
    }

    pub(crate) fn sweep_requests(meter: &mut WeightMeter) {
        let places = Self::places(meter, T::WeightInfo::sweep_requests, T::SweptRequests::get());
        if places == 0 {
            return;
        }
        let requests: Vec<u64> = match RequestCursor::<T>::get() {
            Some(last) => Requests::<T>::iter_keys_from_key(last).take(places).collect(),
            None => Requests::<T>::iter_keys().take(places).collect(),
        };
        for request in &requests {
            // An error leaves everything as it was: the deadline is not over.
            let _ = with_storage_layer(|| Self::do_poke_request(*request));
        }
        let last = requests.last().filter(|_| requests.len() == places).copied();
        RequestCursor::<T>::set(last);
    }
}
