//! Children: registration, deposits, unbonding.

use arion_types::registration::registration_message;
use frame_support::{
    ensure,
    pallet_prelude::*,
    sp_runtime::{
        Saturating,
        traits::{SaturatedConversion, Zero},
    },
    traits::{fungible::MutateHold, tokens::Precision},
};
use sp_core::ed25519;

use crate::{
    AuditCountsByChild, AuditTallies, BalanceOf, BaseDeposit, ChildCooldownEnd, ChildRegistration,
    ChildRegistrationOf, ChildRegistrations, ChildStatus, Config, CurrentWeightRound, Error, Event,
    FamilyChildren, FamilyCount, FamilyGraceStart, FamilyRegistry, FamilyWeight, FamilyWeightRaw,
    FreeSlotUsed, GlobalNextDeposit, HoldReason, LastPaidRegistration, LockupEnabled, Maintenances,
    MinerStats, NodeIdCooldownEnd, NodeIdNonce, NodeIdToChild, NodeQualityByChild, NodeWeightByChild, Pallet,
    ProxyVerifier, QualityReports, TimeoutsToConfirm, TotalActiveChildren,
};

impl<T: Config> Pallet<T> {
    pub(crate) fn do_register_child(
        family: T::AccountId,
        child: T::AccountId,
        node_id: [u8; 32],
        node_sig: [u8; 64],
    ) -> DispatchResult {
        ensure!(T::FamilyRegistry::is_family(&family), Error::<T>::FamilyNotRegistered);
        ensure!(T::ProxyVerifier::is_proxy(&family, &child), Error::<T>::ProxyVerificationFailed);
        Self::ensure_free(&child, &node_id)?;
        let mut children = FamilyChildren::<T>::get(&family);
        let is_first = children.is_empty();
        ensure!(children.try_push(child.clone()).is_ok(), Error::<T>::TooManyChildrenInFamily);
        let families = FamilyCount::<T>::get();
        ensure!(!is_first || families < T::MaxFamilies::get(), Error::<T>::TooManyFamilies);
        let total = TotalActiveChildren::<T>::get();
        ensure!(total < T::MaxChildrenTotal::get(), Error::<T>::TooManyChildren);
        Self::consume_node_signature(&family, &child, &node_id, node_sig)?;
        let deposit = Self::take_deposit(&family)?;

        FamilyChildren::<T>::insert(&family, children);
        FamilyCount::<T>::put(families + u32::from(is_first));
        TotalActiveChildren::<T>::put(total + 1);
        FreeSlotUsed::<T>::insert(&family, ());
        if !FamilyGraceStart::<T>::contains_key(&family) {
            FamilyGraceStart::<T>::insert(&family, Self::open_weight_bucket());
        }
        ChildCooldownEnd::<T>::remove(&child);
        NodeIdCooldownEnd::<T>::remove(node_id);
        NodeIdToChild::<T>::insert(node_id, &child);
        ChildRegistrations::<T>::insert(
            &child,
            ChildRegistration {
                family: family.clone(),
                node_id,
                status: ChildStatus::Active,
                deposit,
                registered_at: frame_system::Pallet::<T>::block_number(),
            },
        );
        Self::deposit_event(Event::ChildRegistered { family, child, node_id, deposit });
        Ok(())
    }

    /// Neither account nor node id is in use or cooling down.
    fn ensure_free(child: &T::AccountId, node_id: &[u8; 32]) -> DispatchResult {
        let now = frame_system::Pallet::<T>::block_number();
        ensure!(!ChildRegistrations::<T>::contains_key(child), Error::<T>::ChildAlreadyRegistered);
        ensure!(ChildCooldownEnd::<T>::get(child).is_none_or(|end| now >= end), Error::<T>::ChildInCooldown);
        ensure!(!NodeIdToChild::<T>::contains_key(node_id), Error::<T>::NodeIdAlreadyRegistered);
        ensure!(
            NodeIdCooldownEnd::<T>::get(node_id).is_none_or(|end| now >= end),
            Error::<T>::NodeIdInCooldown
        );
        Ok(())
    }

    /// Checks the node key's consent and makes its signature useless for a second time.
    fn consume_node_signature(
        family: &T::AccountId,
        child: &T::AccountId,
        node_id: &[u8; 32],
        node_sig: [u8; 64],
    ) -> DispatchResult {
        let nonce = NodeIdNonce::<T>::get(node_id);
        let message =
            registration_message(&Self::genesis_hash(), family.as_ref(), child.as_ref(), node_id, nonce);
        ensure!(
            sp_io::crypto::ed25519_verify(
                &ed25519::Signature::from_raw(node_sig),
                &message,
                &ed25519::Public::from_raw(*node_id),
            ),
            Error::<T>::InvalidNodeSignature
        );
        NodeIdNonce::<T>::insert(node_id, nonce.saturating_add(1));
        Ok(())
    }

    /// Holds what the registration costs the family now, and lets the price double.
    pub(crate) fn take_deposit(family: &T::AccountId) -> Result<BalanceOf<T>, DispatchError> {
        if !LockupEnabled::<T>::get() || !FreeSlotUsed::<T>::contains_key(family) {
            return Ok(Zero::zero());
        }
        let deposit = Self::next_deposit();
        T::DepositCurrency::hold(&HoldReason::ChildDeposit.into(), family, deposit)
            .map_err(|_| Error::<T>::InsufficientDeposit)?;
        GlobalNextDeposit::<T>::put(deposit.saturating_mul(2u32.into()));
        LastPaidRegistration::<T>::put(frame_system::Pallet::<T>::block_number());
        Ok(deposit)
    }

    /// What a paid registration costs now: the stored deposit, halved once per full period since the last
    /// paid registration, and never below the base.
    pub fn next_deposit() -> BalanceOf<T> {
        let base = BaseDeposit::<T>::get().unwrap_or_else(T::BaseChildDeposit::get);
        let elapsed =
            frame_system::Pallet::<T>::block_number().saturating_sub(LastPaidRegistration::<T>::get());
        let mut halvings: u64 = (elapsed / T::GlobalDepositHalvingPeriodBlocks::get()).saturated_into();
        let mut deposit = GlobalNextDeposit::<T>::get();
        // Ends after as many steps as a balance has bits, at the latest.
        while halvings > 0 && deposit > base {
            deposit /= 2u32.into();
            halvings -= 1;
        }
        deposit.max(base)
    }

    pub(crate) fn do_deregister_child(family: T::AccountId, child: T::AccountId) -> DispatchResult {
        let mut registration = ChildRegistrations::<T>::get(&child).ok_or(Error::<T>::ChildNotRegistered)?;
        ensure!(registration.family == family, Error::<T>::NotFamily);
        ensure!(registration.status == ChildStatus::Active, Error::<T>::ChildNotActive);
        let now = frame_system::Pallet::<T>::block_number();
        let unbonding_end = match LockupEnabled::<T>::get() {
            true => now.saturating_add(T::UnbondingPeriodBlocks::get()),
            false => now,
        };
        let cooldown_end = now.saturating_add(T::UnregisterCooldownBlocks::get());
        let node_id = registration.node_id;

        let mut children = FamilyChildren::<T>::get(&family);
        children.retain(|account| *account != child);
        if children.is_empty() {
            FamilyChildren::<T>::remove(&family);
            FamilyWeight::<T>::remove(&family);
            FamilyWeightRaw::<T>::remove(&family);
            FamilyCount::<T>::mutate(|count| *count = count.saturating_sub(1));
        } else {
            FamilyChildren::<T>::insert(&family, children);
        }
        TotalActiveChildren::<T>::mutate(|count| *count = count.saturating_sub(1));
        NodeIdToChild::<T>::remove(node_id);
        NodeIdNonce::<T>::mutate(node_id, |nonce| *nonce = nonce.saturating_add(1));
        NodeIdCooldownEnd::<T>::insert(node_id, cooldown_end);
        ChildCooldownEnd::<T>::insert(&child, cooldown_end);
        Self::forget_quality(&child);
        registration.status = ChildStatus::Unbonding { end: unbonding_end };
        ChildRegistrations::<T>::insert(&child, registration);
        Self::deposit_event(Event::ChildDeregistered { family, child, node_id, unbonding_end, cooldown_end });
        Ok(())
    }

    /// Removes what is known about a child that leaves, in both buckets that are in use.
    fn forget_quality(child: &T::AccountId) {
        NodeWeightByChild::<T>::remove(child);
        NodeQualityByChild::<T>::remove(child);
        AuditCountsByChild::<T>::remove(child);
        TimeoutsToConfirm::<T>::remove(child);
        Maintenances::<T>::remove(child);
        MinerStats::<T>::remove(child);
        let closing = CurrentWeightRound::<T>::get().map(|round| round.bucket);
        for bucket in closing.into_iter().chain([Self::open_weight_bucket()]) {
            QualityReports::<T>::remove(bucket, child);
            AuditTallies::<T>::remove(bucket, child);
        }
    }

    pub(crate) fn do_claim_unbonded(family: T::AccountId, child: T::AccountId) -> DispatchResult {
        let registration = ChildRegistrations::<T>::get(&child).ok_or(Error::<T>::ChildNotRegistered)?;
        ensure!(registration.family == family, Error::<T>::NotFamily);
        let ChildStatus::Unbonding { end } = registration.status else {
            return Err(Error::<T>::ChildNotUnbonding.into());
        };
        ensure!(frame_system::Pallet::<T>::block_number() >= end, Error::<T>::UnbondingNotOver);
        let amount = registration.deposit;
        T::DepositCurrency::release(&HoldReason::ChildDeposit.into(), &family, amount, Precision::Exact)?;
        ChildRegistrations::<T>::remove(&child);
        Self::deposit_event(Event::ChildUnbonded { family, child, node_id: registration.node_id, amount });
        Ok(())
    }

    /// Whether a family has active children.
    pub fn has_children(family: &T::AccountId) -> bool {
        FamilyChildren::<T>::contains_key(family)
    }

    /// The active child with a node id.
    pub fn child_by_node_id(node_id: &[u8; 32]) -> Option<(T::AccountId, ChildRegistrationOf<T>)> {
        let child = NodeIdToChild::<T>::get(node_id)?;
        let registration = ChildRegistrations::<T>::get(&child)?;
        Some((child, registration))
    }
}
