//! Single calls that mostly make sense: of each pallet, with the sender that usually makes them.

pub(crate) mod arion;
mod marketplace;
mod registration;
mod snapshots;
mod stake;

use arion_runtime::RuntimeCall;

use crate::script::{Script, Sender};

/// Any call.
pub(crate) fn any(script: &mut Script) -> (Sender, RuntimeCall) {
    match script.byte() {
        0..40 => registration::call(script),
        40..130 => arion::call(script),
        130..220 => marketplace::call(script),
        220..250 => stake::call(script),
        250.. => snapshots::call(script),
    }
}
