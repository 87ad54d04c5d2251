//! Who may do what: the origins `pallet-arion` is configured with, and its view of the other pallets.

use alloc::vec::Vec;
use core::marker::PhantomData;
use frame_support::traits::{Contains, EnsureOrigin, Get};
use frame_system::RawOrigin;

use crate::{AccountId, Runtime, RuntimeOrigin};

/// Accounts of the validators of the current session.
pub struct SessionValidators;

impl Get<Vec<AccountId>> for SessionValidators {
    fn get() -> Vec<AccountId> {
        pallet_session::Validators::<Runtime>::get()
    }
}

impl Contains<AccountId> for SessionValidators {
    fn contains(who: &AccountId) -> bool {
        Self::get().contains(who)
    }
}

/// Accounts that may bring attestations to the chain: validators of the session and the admitted submitters.
pub struct SubmittersAndValidators;

impl Contains<AccountId> for SubmittersAndValidators {
    fn contains(who: &AccountId) -> bool {
        pallet_arion::AttestationSubmitters::<Runtime>::contains_key(who) || SessionValidators::contains(who)
    }
}

/// Signed by an account of `Accounts`; succeeds with that account.
pub struct EnsureOneOf<Accounts>(PhantomData<Accounts>);

impl<Accounts: Contains<AccountId>> EnsureOrigin<RuntimeOrigin> for EnsureOneOf<Accounts> {
    type Success = AccountId;

    fn try_origin(origin: RuntimeOrigin) -> Result<AccountId, RuntimeOrigin> {
        match origin.clone().into() {
            Ok(RawOrigin::Signed(who)) if Accounts::contains(&who) => Ok(who),
            _ => Err(origin),
        }
    }

    /// Every such origin admits validators.
    #[cfg(feature = "runtime-benchmarks")]
    fn try_successful_origin() -> Result<RuntimeOrigin, ()> {
        SessionValidators::get().into_iter().next().map(RuntimeOrigin::signed).ok_or(())
    }
}

/// Signed by a validator of the current session.
pub type EnsureValidatorSet = EnsureOneOf<SessionValidators>;
/// Signed by a validator of the current session or by an admitted submitter. The authority of an attestation
/// is its warden's signature; this only says who may fill blocks with them.
pub type EnsureWardenOrValidator = EnsureOneOf<SubmittersAndValidators>;

/// Families are the owner nodes of `pallet-registration`.
pub struct PalletRegistration;

impl pallet_arion::FamilyRegistry<AccountId> for PalletRegistration {
    fn is_family(who: &AccountId) -> bool {
        pallet_registration::OwnerNodes::<Runtime>::contains_key(who)
    }
}

/// An owner that still has miners in `pallet-arion` cannot leave the registry.
pub struct OwnersWithMiners;

impl Contains<AccountId> for OwnersWithMiners {
    fn contains(owner: &AccountId) -> bool {
        pallet_arion::Pallet::<Runtime>::has_children(owner)
    }
}

/// A child is an account that `pallet-proxy` lists as a delegate of the family, of whatever type.
pub struct PalletProxy;

impl pallet_arion::ProxyVerifier<AccountId> for PalletProxy {
    fn is_proxy(family: &AccountId, child: &AccountId) -> bool {
        pallet_proxy::Pallet::<Runtime>::find_proxy(family, child, None).is_ok()
    }
}
