//! States in which calls cost the most.

use alloc::vec::Vec;
use codec::Encode;
use frame_benchmarking::{BenchmarkError, account};
use frame_support::{
    BoundedVec,
    sp_runtime::traits::SaturatedConversion,
    traits::{EnsureOrigin, Get, fungible::Mutate},
};
use frame_system::pallet_prelude::BlockNumberFor;
use sp_core::H256;
use sp_io::hashing::blake2_256;

use super::BenchmarkHelper;
use crate::{
    Agreements, BilledBytes, Claimable, Config, CreditPrice, Credits, Pallet, PaymentAuthorities,
    PeriodRevenue, RequestVotes, Requests, Services, StoragePrice,
    credits::{CreditAccount, CreditPool, Piece},
    types::{
        Agreement, AgreementStatus, Assignment, CREDIT, GIB, GatewayUsage, Payment, PaymentId, PaymentMethod,
        RequestStatus, Revenue, ServiceKind, ServiceRequest, ServiceTerms, StorageRate, Vote,
    },
};

/// Block in which calls are measured; everything before was charged up to block 1.
const NOW: u32 = 1_000;
/// Number of the request that is measured.
pub(super) const REQUEST: u64 = 7;
/// Number of the service that is offered.
pub(super) const SERVICE: u16 = 3;
/// Units in every pool of credits.
pub(super) const POOL: u128 = 1_000 * CREDIT;
/// ALPHA of rich accounts.
const RICH: u128 = 1 << 100;

/// The first account that `GovernanceOrigin` admits.
pub(super) fn governance<T: Config>() -> Result<T::RuntimeOrigin, BenchmarkError> {
    T::GovernanceOrigin::try_successful_origin().map_err(|()| BenchmarkError::Weightless)
}

/// Goes to the block of the measurement; prices and the pallet's account are there, and revenue of the period.
pub(super) fn begin<T: Config>() {
    frame_system::Pallet::<T>::set_block_number(NOW.into());
    CreditPrice::<T>::put(T::InitialCreditPrice::get());
    StoragePrice::<T>::put(StorageRate {
        price: T::InitialStoragePrice::get(),
        index: 0,
        since: 0u32.into(),
    });
    PeriodRevenue::<T>::put(revenue::<T>());
    enrich::<T>(&Pallet::<T>::account());
}

/// Revenue of every kind in a period that began with the block of the measurement.
pub(super) fn revenue<T: Config>() -> Revenue<BlockNumberFor<T>> {
    Revenue {
        since: NOW.into(),
        storage: POOL,
        services: POOL,
        network: POOL,
        treasury: POOL,
        carry: 1,
        miners_carry: 1,
    }
}

/// Gives an account much ALPHA.
pub(super) fn enrich<T: Config>(account: &T::AccountId) {
    T::Currency::set_balance(account, RICH);
}

/// Hash for something that has a number.
pub(super) fn hash(kind: &str, n: u32) -> [u8; 32] {
    (kind, n).using_encoded(blake2_256)
}

/// Credits of both kinds.
fn credits() -> CreditAccount {
    let pool = CreditPool { credits: POOL, alpha: POOL, spent: 1 };
    CreditAccount { granted: pool, bought: pool }
}

/// Gives an account credits of both kinds.
pub(super) fn give_credits<T: Config>(account: &T::AccountId) {
    Credits::<T>::insert(account, credits());
}

/// An agreement with as many gateways as it can have, each of which bills somebody else too, for which something
/// is to be charged. `owner` tells the gateways of agreements apart.
fn agree<T: Config>(
    account: &T::AccountId,
    owner: u32,
    debt: u128,
    status: AgreementStatus<BlockNumberFor<T>>,
) {
    let gateways: Vec<GatewayUsage> = (0..T::MaxGatewaysPerAccount::get())
        .map(|n| GatewayUsage {
            gateway: hash("gateway", owner * T::MaxGatewaysPerAccount::get() + n),
            bytes: GIB,
            bytes_max: 2 * GIB,
        })
        .collect();
    for usage in &gateways {
        BilledBytes::<T>::insert(usage.gateway, u128::from(2 * usage.bytes));
    }
    let agreement = Agreement {
        opened_at: 1u32.into(),
        bytes: gateways.iter().map(|usage| usage.bytes).sum(),
        gateways: BoundedVec::truncate_from(gateways),
        index: 0,
        remainder: 5,
        charged: 7,
        debt,
        accrued_at: 1u32.into(),
        status,
    };
    Agreements::<T>::insert(account, agreement);
}

/// An agreement that is paid for. Its gateways.
pub(super) fn paid_agreement<T: Config>(account: &T::AccountId) -> Vec<[u8; 32]> {
    give_credits::<T>(account);
    agree::<T>(account, 0, 0, AgreementStatus::Active);
    Agreements::<T>::get(account)
        .map_or_else(Vec::new, |agreement| agreement.gateways.iter().map(|usage| usage.gateway).collect())
}

/// An agreement that takes all credits of the account and expires with the next look at it: the dearest thing a
/// look can find.
pub(super) fn expiring_agreement<T: Config>(account: &T::AccountId, owner: u32) {
    give_credits::<T>(account);
    agree::<T>(account, owner, 100 * POOL, AgreementStatus::DeletionNotice { until: 1u32.into() });
}

/// As many payment authorities as there can be but one; that one.
pub(super) fn authorities<T: Config>() -> T::AccountId {
    for n in 1..T::MaxPaymentAuthorities::get() {
        PaymentAuthorities::<T>::insert(account::<T::AccountId>("authority", n, 0), ());
    }
    account("authority", 0, 0)
}

/// The longest id of a payment.
pub(super) fn payment_id() -> PaymentId {
    BoundedVec::truncate_from(alloc::vec![b'p'; crate::types::PAYMENT_ID_BYTES_MAX as usize])
}

/// A payment whose credits are there.
pub(super) fn payment<T: Config>(
    authority: T::AccountId,
    beneficiary: T::AccountId,
) -> Payment<T::AccountId, BlockNumberFor<T>> {
    Payment {
        authority,
        beneficiary,
        method: PaymentMethod::Fiat,
        credits: POOL,
        alpha: POOL,
        refunded: 0,
        credited_at: 1u32.into(),
    }
}

/// Terms of a service, with the longest name.
pub(super) fn terms<T: Config>() -> ServiceTerms<BlockNumberFor<T>> {
    ServiceTerms {
        kind: ServiceKind::VirtualMachine,
        name: BoundedVec::truncate_from(alloc::vec![b's'; crate::types::SERVICE_NAME_BYTES_MAX as usize]),
        price: CREDIT,
        delivery_blocks: 100u32.into(),
    }
}

/// Offers the service.
pub(super) fn offer<T: Config>() {
    Services::<T>::insert(SERVICE, terms::<T>());
}

/// A request of `client` that stands at `status`, assigned to a node of `owner`, in time.
pub(super) fn request<T: Config>(
    id: u64,
    client: &T::AccountId,
    owner: &T::AccountId,
    status: RequestStatus,
) {
    let piece = Piece { credits: POOL, alpha: POOL };
    let assignment = Assignment {
        node_id: hash("worker", 0),
        owner: owner.clone(),
        draw: H256([5; 32]),
        votes: 1,
        validators: 1,
        assigned_at: 1u32.into(),
    };
    let assigned = status != RequestStatus::Requested;
    Requests::<T>::insert(
        id,
        ServiceRequest {
            client: client.clone(),
            service: SERVICE,
            kind: ServiceKind::VirtualMachine,
            quantity: 2,
            spec: [6; 32],
            credits: 2 * POOL,
            granted: piece,
            bought: piece,
            requested_at: (NOW - 1).into(),
            delivery_blocks: 100u32.into(),
            seed: None,
            assignment: assigned.then_some(assignment),
            result: Some([7; 32]),
            status,
            deadline: NOW.into(),
        },
    );
    frame_system::BlockHash::<T>::insert(BlockNumberFor::<T>::from(NOW - 1), H256([8; 32]));
}

/// Makes the request's deadline a thing of the past.
pub(super) fn miss_deadline<T: Config>(id: u64) {
    Requests::<T>::mutate(id, |request| {
        if let Some(request) = request {
            request.deadline = (NOW - 1).into();
        }
    });
}

/// The votes of all validators but one for the same; that one.
pub(super) fn votes<T: Config>(vote: Vote) -> T::AccountId {
    let mut validators: Vec<T::AccountId> =
        (0..T::MaxValidators::get()).map(|n| account("validator", n, 0)).collect();
    T::BenchmarkHelper::set_validators(&validators);
    let last = validators.pop().expect("there is a validator");
    // Enough agree only with the last: those before want something else.
    let enough = Pallet::<T>::votes_needed(T::MaxValidators::get()) as usize - 1;
    let other = match vote {
        Vote::Assign(_) => Vote::Assign(hash("another worker", 0)),
        Vote::Verdict(pay) => Vote::Verdict(!pay),
    };
    let split = validators.len() - enough;
    let votes = validators
        .into_iter()
        .enumerate()
        .map(|(n, validator)| (validator, if n < split { other } else { vote }));
    RequestVotes::<T>::insert(REQUEST, BoundedVec::truncate_from(votes.collect()));
    last
}

/// ALPHA that an account can claim.
pub(super) fn earn<T: Config>(account: &T::AccountId) {
    Claimable::<T>::insert(account, POOL);
}

/// A block, as a number of the runtime's.
pub(super) fn block<T: Config>(block: u64) -> BlockNumberFor<T> {
    block.saturated_into()
}
