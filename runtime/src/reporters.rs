//! Session keys that sign reports of quality: `pallet-arion` asks whose a key is.
//!
//! The key has no pallet of its own: the session says whose it is, so nothing happens when a session begins.

use pallet_arion::offchain::{REPORTER_KEY, ReporterId, ReporterOwner};
use sp_runtime::{BoundToRuntimeAppPublic, RuntimeAppPublic};

use crate::{AccountId, Session, origins::SessionValidators};
use frame_support::traits::{Contains, OneSessionHandler};

/// The session key `reporter` of the validators of the current session.
pub struct Reporters;

impl ReporterOwner<AccountId> for Reporters {
    fn owner_of(reporter: &ReporterId) -> Option<AccountId> {
        // A key belongs to its owner from the moment it is set: whether that one validates is another question.
        Session::key_owner(REPORTER_KEY, &reporter.to_raw_vec()).filter(SessionValidators::contains)
    }
}

impl BoundToRuntimeAppPublic for Reporters {
    type Public = ReporterId;
}

impl OneSessionHandler<AccountId> for Reporters {
    type Key = ReporterId;

    fn on_genesis_session<'a, I>(_validators: I)
    where
        I: Iterator<Item = (&'a AccountId, ReporterId)> + 'a,
    {
    }

    fn on_new_session<'a, I>(_changed: bool, _validators: I, _queued: I)
    where
        I: Iterator<Item = (&'a AccountId, ReporterId)> + 'a,
    {
    }

    fn on_disabled(_validator: u32) {}
}
