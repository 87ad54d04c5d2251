//! Measures what every call and every hook costs, each in the worst state it can meet: whoever is looked at has an
//! agreement with as many gateways as can be, for which something is charged and which, where the call can succeed
//! then, expires; all validators voted but the one whose vote decides.
//!
//! `./scripts/bench weights` runs this in wasm and writes `weights.rs` from it.

// The macro makes public items without documentation.
#![allow(missing_docs)]

mod setup;

use alloc::vec::Vec;
use frame_benchmarking::v2::*;
use frame_support::{
    BoundedVec,
    sp_runtime::traits::SaturatedConversion,
    traits::{Get, fungible::Inspect},
    weights::{Weight, WeightMeter},
};
use frame_system::RawOrigin;

use crate::{
    Agreements, BilledBytes, Call, Claimable, Config, CreditPrice, Credits, Ledgers, NextRequest, Pallet,
    PaymentAuthorities, Payments, PeriodRevenue, RequestVotes, Requests, Services, StoragePrice,
    types::{
        CREDIT, CREDIT_PRICE_MAX, GIB, GatewayLedger, LedgerAnchor, PaymentMethod, RequestStatus, Revenue,
        STORAGE_PRICE_MAX, UsageUpdate, Vote,
    },
};

/// What benchmarks need of the rest of the runtime.
pub trait BenchmarkHelper<AccountId> {
    /// Makes these accounts the validators.
    fn set_validators(validators: &[AccountId]);
    /// Registers a gateway; its node id and its owner.
    fn gateway() -> ([u8; 32], AccountId);
    /// Registers a node that may be assigned services; its node id and its owner.
    fn worker() -> ([u8; 32], AccountId);
    /// Gives so many families of miners weights.
    fn set_families(count: u32);
}

#[benchmarks]
mod benchmarks {
    use super::*;

    #[benchmark]
    fn set_credit_price() -> Result<(), BenchmarkError> {
        let governance = setup::governance::<T>()?;

        #[extrinsic_call]
        _(governance as T::RuntimeOrigin, CREDIT_PRICE_MAX);

        assert_eq!(CreditPrice::<T>::get(), CREDIT_PRICE_MAX);
        Ok(())
    }

    #[benchmark]
    fn set_storage_price() -> Result<(), BenchmarkError> {
        setup::begin::<T>();
        let governance = setup::governance::<T>()?;

        #[extrinsic_call]
        _(governance as T::RuntimeOrigin, STORAGE_PRICE_MAX);

        assert_eq!(StoragePrice::<T>::get().price, STORAGE_PRICE_MAX);
        Ok(())
    }

    #[benchmark]
    fn set_service() -> Result<(), BenchmarkError> {
        let governance = setup::governance::<T>()?;

        #[extrinsic_call]
        _(governance as T::RuntimeOrigin, setup::SERVICE, Some(setup::terms::<T>()));

        assert!(Services::<T>::contains_key(setup::SERVICE));
        Ok(())
    }

    #[benchmark]
    fn add_payment_authority() -> Result<(), BenchmarkError> {
        let governance = setup::governance::<T>()?;
        let authority = setup::authorities::<T>();

        #[extrinsic_call]
        _(governance as T::RuntimeOrigin, authority.clone());

        assert!(PaymentAuthorities::<T>::contains_key(authority));
        Ok(())
    }

    #[benchmark]
    fn remove_payment_authority() -> Result<(), BenchmarkError> {
        let governance = setup::governance::<T>()?;
        let authority = setup::authorities::<T>();
        PaymentAuthorities::<T>::insert(&authority, ());

        #[extrinsic_call]
        _(governance as T::RuntimeOrigin, authority.clone());

        assert!(!PaymentAuthorities::<T>::contains_key(authority));
        Ok(())
    }

    #[benchmark]
    fn buy_credits() {
        setup::begin::<T>();
        let payer: T::AccountId = whitelisted_caller();
        let beneficiary: T::AccountId = account("client", 0, 0);
        setup::enrich::<T>(&payer);
        setup::expiring_agreement::<T>(&beneficiary, 0);

        #[extrinsic_call]
        _(RawOrigin::Signed(payer), beneficiary.clone(), CREDIT, u128::MAX);

        assert!(!Agreements::<T>::contains_key(&beneficiary));
        assert_eq!(Credits::<T>::get(beneficiary).available(), CREDIT);
    }

    #[benchmark]
    fn refund_credits() {
        setup::begin::<T>();
        let client: T::AccountId = whitelisted_caller();
        setup::enrich::<T>(&client);
        setup::paid_agreement::<T>(&client);
        let before = Credits::<T>::get(&client).available();

        #[extrinsic_call]
        _(RawOrigin::Signed(client.clone()), CREDIT);

        assert!(Credits::<T>::get(client).available() < before - CREDIT);
    }

    #[benchmark]
    fn credit_payment() {
        setup::begin::<T>();
        let authority = setup::authorities::<T>();
        PaymentAuthorities::<T>::insert(&authority, ());
        let beneficiary: T::AccountId = account("client", 0, 0);
        setup::enrich::<T>(&authority);
        setup::expiring_agreement::<T>(&beneficiary, 0);

        #[extrinsic_call]
        _(
            RawOrigin::Signed(authority),
            setup::payment_id(),
            PaymentMethod::Tao,
            beneficiary.clone(),
            CREDIT,
            u128::MAX,
        );

        assert_eq!(Credits::<T>::get(beneficiary).available(), CREDIT);
    }

    #[benchmark]
    fn refund_payment() {
        setup::begin::<T>();
        let authority = setup::authorities::<T>();
        PaymentAuthorities::<T>::insert(&authority, ());
        let beneficiary: T::AccountId = account("client", 0, 0);
        setup::enrich::<T>(&authority);
        setup::paid_agreement::<T>(&beneficiary);
        let payment = setup::payment::<T>(authority.clone(), beneficiary);
        Payments::<T>::insert(setup::payment_id(), payment);

        #[extrinsic_call]
        _(RawOrigin::Signed(authority), setup::payment_id(), CREDIT);

        assert!(Payments::<T>::get(setup::payment_id()).is_some_and(|payment| payment.refunded == CREDIT));
    }

    /// The agreement expires, and, as storage costs nothing now, the account opens another one without credits.
    #[benchmark]
    fn authorize_gateway() {
        setup::begin::<T>();
        let client: T::AccountId = whitelisted_caller();
        setup::expiring_agreement::<T>(&client, 0);
        StoragePrice::<T>::mutate(|rate| rate.price = 0);
        let (gateway, _) = T::BenchmarkHelper::gateway();

        #[extrinsic_call]
        _(RawOrigin::Signed(client.clone()), gateway, GIB);

        assert!(Agreements::<T>::get(client).is_some_and(|agreement| agreement.gateways.len() == 1));
    }

    #[benchmark]
    fn revoke_gateway() {
        setup::begin::<T>();
        let client: T::AccountId = whitelisted_caller();
        let gateways = setup::paid_agreement::<T>(&client);
        let last = gateways.last().copied().expect("there is a gateway");

        #[extrinsic_call]
        _(RawOrigin::Signed(client.clone()), last);

        let left = Agreements::<T>::get(client).map_or(0, |agreement| agreement.gateways.len());
        assert_eq!(left + 1, gateways.len());
    }

    #[benchmark]
    fn drop_gateway() {
        setup::begin::<T>();
        let client: T::AccountId = account("client", 0, 0);
        let gateways = setup::paid_agreement::<T>(&client);
        let last = gateways.last().copied().expect("there is a gateway");

        #[extrinsic_call]
        _(RawOrigin::Signed(whitelisted_caller()), client.clone(), last);

        let left = Agreements::<T>::get(client).map_or(0, |agreement| agreement.gateways.len());
        assert_eq!(left + 1, gateways.len());
    }

    /// Each update meets an agreement that expires, with gateways that no other has.
    #[benchmark]
    fn commit_usage(u: Linear<0, { T::MaxUsageUpdates::get() }>) {
        setup::begin::<T>();
        let (gateway, owner) = T::BenchmarkHelper::gateway();
        let mut updates: Vec<UsageUpdate<T::AccountId>> = (0..u)
            .map(|n| {
                let account: T::AccountId = account("client", n, 0);
                setup::expiring_agreement::<T>(&account, n);
                UsageUpdate { account, bytes: GIB }
            })
            .collect();
        updates.sort_by(|one, other| one.account.cmp(&other.account));
        let anchor = LedgerAnchor { sequence: 1, root: [1; 32], bytes: 1, anchored_at: 1u32.into() };
        Ledgers::<T>::insert(gateway, GatewayLedger { anchor, commits: 1 });
        BilledBytes::<T>::insert(gateway, u128::from(GIB));

        #[extrinsic_call]
        _(RawOrigin::Signed(owner), gateway, 2, [2; 32], u64::MAX, BoundedVec::truncate_from(updates));

        assert_eq!(Agreements::<T>::iter().count(), 0);
        assert!(Ledgers::<T>::get(gateway).is_some_and(|ledger| ledger.commits == 2));
    }

    #[benchmark]
    fn poke() {
        setup::begin::<T>();
        let client: T::AccountId = account("client", 0, 0);
        setup::expiring_agreement::<T>(&client, 0);

        #[extrinsic_call]
        _(RawOrigin::Signed(whitelisted_caller()), client.clone());

        assert!(!Agreements::<T>::contains_key(client));
    }

    #[benchmark]
    fn request_service() {
        setup::begin::<T>();
        setup::offer::<T>();
        let client: T::AccountId = whitelisted_caller();
        setup::paid_agreement::<T>(&client);

        #[extrinsic_call]
        _(RawOrigin::Signed(client), setup::SERVICE, 2, [1; 32], u128::MAX);

        assert_eq!(NextRequest::<T>::get(), 1);
    }

    /// The vote that decides, of the last validator.
    #[benchmark]
    fn assign_miner() {
        setup::begin::<T>();
        let (node_id, owner) = T::BenchmarkHelper::worker();
        let client: T::AccountId = account("client", 0, 0);
        setup::request::<T>(setup::REQUEST, &client, &owner, RequestStatus::Requested);
        let validator = setup::votes::<T>(Vote::Assign(node_id));

        #[extrinsic_call]
        _(RawOrigin::Signed(validator), setup::REQUEST, node_id);

        assert_eq!(status::<T>(), Some(RequestStatus::Assigned));
    }

    #[benchmark]
    fn accept_request() {
        let (_, owner) = stand_at::<T>(RequestStatus::Assigned);

        #[extrinsic_call]
        _(RawOrigin::Signed(owner), setup::REQUEST);

        assert_eq!(status::<T>(), Some(RequestStatus::Accepted));
    }

    #[benchmark]
    fn report_delivery() {
        let (_, owner) = stand_at::<T>(RequestStatus::Accepted);

        #[extrinsic_call]
        _(RawOrigin::Signed(owner), setup::REQUEST, [9; 32]);

        assert_eq!(status::<T>(), Some(RequestStatus::Delivered));
    }

    #[benchmark]
    fn confirm_delivery() {
        let (client, owner) = stand_at::<T>(RequestStatus::Delivered);
        setup::earn::<T>(&owner);

        #[extrinsic_call]
        _(RawOrigin::Signed(client), setup::REQUEST);

        assert_eq!(status::<T>(), Some(RequestStatus::Paid));
    }

    #[benchmark]
    fn dispute_delivery() {
        let (client, _) = stand_at::<T>(RequestStatus::Delivered);

        #[extrinsic_call]
        _(RawOrigin::Signed(client), setup::REQUEST);

        assert_eq!(status::<T>(), Some(RequestStatus::Disputed));
    }

    /// The vote that decides, of the last validator, for the client, whose agreement expires: to pay touches less.
    #[benchmark]
    fn resolve_dispute() {
        let (client, _) = stand_at::<T>(RequestStatus::Disputed);
        setup::expiring_agreement::<T>(&client, 0);
        let validator = setup::votes::<T>(Vote::Verdict(false));

        #[extrinsic_call]
        _(RawOrigin::Signed(validator), setup::REQUEST, false);

        assert!(matches!(status::<T>(), Some(RequestStatus::Refunded { .. })));
        assert!(!Agreements::<T>::contains_key(client));
    }

    #[benchmark]
    fn cancel_request() {
        let (client, _) = stand_at::<T>(RequestStatus::Assigned);
        setup::expiring_agreement::<T>(&client, 0);

        #[extrinsic_call]
        _(RawOrigin::Signed(client.clone()), setup::REQUEST);

        assert!(!Agreements::<T>::contains_key(client));
    }

    /// The validators did not decide in time, and the client's agreement expires: to pay or to remove touches less.
    #[benchmark]
    fn poke_request() {
        let (client, _) = stand_at::<T>(RequestStatus::Disputed);
        setup::expiring_agreement::<T>(&client, 0);
        setup::votes::<T>(Vote::Verdict(false));
        setup::miss_deadline::<T>(setup::REQUEST);

        #[extrinsic_call]
        _(RawOrigin::Signed(whitelisted_caller()), setup::REQUEST);

        assert!(!Agreements::<T>::contains_key(client));
    }

    #[benchmark]
    fn claim() {
        setup::begin::<T>();
        let owner: T::AccountId = account("owner", 0, 0);
        setup::earn::<T>(&owner);

        #[extrinsic_call]
        _(RawOrigin::Signed(whitelisted_caller()), owner.clone());

        assert_eq!(T::Currency::balance(&owner), setup::POOL);
    }

    /// A look whether the period is over.
    #[benchmark]
    fn settlement_check() {
        setup::begin::<T>();
        let now = frame_system::Pallet::<T>::block_number();

        #[block]
        {
            Pallet::<T>::settle_if_due(now);
        }

        assert_eq!(PeriodRevenue::<T>::get(), setup::revenue::<T>());
    }

    /// A settlement that pays `f` families.
    #[benchmark]
    fn settle(f: Linear<0, { T::MaxMinerFamilies::get() }>) {
        setup::begin::<T>();
        T::BenchmarkHelper::set_families(f);
        let period: u64 = T::SettlementPeriodBlocks::get().saturated_into();
        let since: u64 = setup::revenue::<T>().since.saturated_into();
        let now = setup::block::<T>(since + period);
        frame_system::Pallet::<T>::set_block_number(now);

        #[block]
        {
            Pallet::<T>::settle_if_due(now);
        }

        assert_eq!(
            PeriodRevenue::<T>::get(),
            Revenue {
                since: now,
                carry: PeriodRevenue::<T>::get().carry,
                miners_carry: PeriodRevenue::<T>::get().miners_carry,
                ..Default::default()
            }
        );
        assert_eq!(Claimable::<T>::iter().count() as u32, f);
    }

    /// The sweep's look at `n` agreements, all of which expire.
    #[benchmark]
    fn sweep_agreements(n: Linear<0, { T::SweptAgreements::get() }>) {
        setup::begin::<T>();
        for client in 0..n {
            setup::expiring_agreement::<T>(&account("client", client, 0), client);
        }

        #[block]
        {
            Pallet::<T>::sweep_agreements(&mut WeightMeter::with_limit(Weight::MAX));
        }

        assert_eq!(Agreements::<T>::iter().count(), 0);
    }

    /// The sweep's look at `n` requests whose clients are refunded and have agreements that expire.
    #[benchmark]
    fn sweep_requests(n: Linear<0, { T::SweptRequests::get() }>) {
        setup::begin::<T>();
        for number in 0..n {
            let client: T::AccountId = account("client", number, 0);
            let id = u64::from(number) + 1;
            setup::expiring_agreement::<T>(&client, number);
            setup::request::<T>(id, &client, &client, RequestStatus::Disputed);
            setup::miss_deadline::<T>(id);
        }

        #[block]
        {
            Pallet::<T>::sweep_requests(&mut WeightMeter::with_limit(Weight::MAX));
        }

        assert!(Requests::<T>::iter_values().all(|request| !request.status.is_open()));
    }

    /// What happens at every runtime upgrade: the pallet's account gets what keeps it alive.
    #[benchmark]
    fn endow_account() {
        #[block]
        {
            Pallet::<T>::endow_account();
        }

        assert!(T::Currency::total_balance(&Pallet::<T>::account()) >= T::Currency::minimum_balance());
    }

    impl_benchmark_test_suite!(Pallet, crate::mock::chain(), crate::mock::Test);
}

/// A request that stands somewhere; its client and the owner of the node it is assigned to.
fn stand_at<T: Config>(status: RequestStatus) -> (T::AccountId, T::AccountId) {
    setup::begin::<T>();
    let client: T::AccountId = whitelisted_caller();
    let owner: T::AccountId = account("owner", 0, 0);
    setup::request::<T>(setup::REQUEST, &client, &owner, status);
    RequestVotes::<T>::insert(setup::REQUEST, BoundedVec::default());
    (client, owner)
}

/// Where the request stands.
fn status<T: Config>() -> Option<RequestStatus> {
    Requests::<T>::get(setup::REQUEST).map(|request| request.status)
}
