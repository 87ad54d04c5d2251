//! Whatever is called in whatever order, the invariants hold and no unit of ALPHA is made or lost.

use std::collections::BTreeSet;

use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use sp_runtime::BoundedVec;

use crate::{
    Agreements, Claimable, PeriodRevenue, Requests,
    mock::*,
    types::{CREDIT, GIB, PaymentMethod, RequestStatus},
};

/// Something that happens on the chain. Where a step needs something to act on, `nth` picks it among what there
/// is, so that most steps are possible; those that are not are refused.
#[derive(Clone, Debug)]
enum Step {
    CreditPrice(u128),
    StoragePrice(u128),
    Offer(u128),
    Buy { payer: u8, account: u8, credits: u128 },
    Refund { account: u8, credits: u128 },
    Grant { payment: u8, account: u8, credits: u128 },
    RefundPayment { nth: usize, credits: u128 },
    Authorize { account: u8, gateway: u8, bytes_max: u64 },
    Revoke { account: u8, nth: usize },
    Drop { account: u8, nth: usize },
    Commit { gateway: u8, updates: Vec<(u8, u64)> },
    GatewayLeaves(u8),
    GatewaysReturn,
    Poke(u8),
    Request { account: u8, quantity: u32 },
    Assign { validator: usize, nth: usize, worker: u8 },
    Accept { owner: u8, nth: usize },
    Deliver { owner: u8, nth: usize },
    Confirm { nth: usize },
    Dispute { nth: usize },
    Resolve { validator: usize, nth: usize, pay: bool },
    Cancel { nth: usize },
    PokeRequest { nth: usize },
    Claim(u8),
    Weights(Vec<(u8, u16)>),
    Validators(u8),
    Blocks { count: u64, idle: bool },
}

fn step() -> impl Strategy<Value = Step> {
    use Step::*;
    let client = || 1..=3u8;
    let gateway = || 1..=3u8;
    let nth = || 0..8usize;
    let owner = || prop_oneof![5 => Just(5u8), 1 => Just(6)];
    let bytes = || prop_oneof![1 => Just(0), 5 => 0..2 * GIB];
    let first = prop_oneof![
        1 => (CREDIT..50 * CREDIT).prop_map(CreditPrice),
        1 => (0..200_000u128).prop_map(StoragePrice),
        1 => (1..20_000u128).prop_map(Offer),
        4 => (client(), client(), 1..200_000u128)
            .prop_map(|(payer, account, credits)| Buy { payer, account, credits }),
        2 => (client(), 1..100_000u128).prop_map(|(account, credits)| Refund { account, credits }),
        3 => (any::<u8>(), client(), 1..100_000u128)
            .prop_map(|(payment, account, credits)| Grant { payment, account, credits }),
        1 => (nth(), 1..50_000u128).prop_map(|(nth, credits)| RefundPayment { nth, credits }),
        4 => (client(), gateway(), 0..2 * GIB)
            .prop_map(|(account, gateway, bytes_max)| Authorize { account, gateway, bytes_max }),
        1 => (client(), nth()).prop_map(|(account, nth)| Revoke { account, nth }),
        1 => (client(), nth()).prop_map(|(account, nth)| Drop { account, nth }),
        6 => (gateway(), proptest::collection::vec((client(), bytes()), 0..4))
            .prop_map(|(gateway, updates)| Commit { gateway, updates }),
        1 => gateway().prop_map(GatewayLeaves),
        1 => Just(GatewaysReturn),
        2 => client().prop_map(Poke),
    ];
    let second = prop_oneof![
        4 => (client(), 1..9u32).prop_map(|(account, quantity)| Request { account, quantity }),
        8 => (0..4usize, nth(), prop_oneof![4 => Just(11u8), 1 => Just(12)])
            .prop_map(|(validator, nth, worker)| Assign { validator, nth, worker }),
        5 => (owner(), nth()).prop_map(|(owner, nth)| Accept { owner, nth }),
        5 => (owner(), nth()).prop_map(|(owner, nth)| Deliver { owner, nth }),
        1 => nth().prop_map(|nth| Confirm { nth }),
        2 => nth().prop_map(|nth| Dispute { nth }),
        4 => (0..4usize, nth(), any::<bool>())
            .prop_map(|(validator, nth, pay)| Resolve { validator, nth, pay }),
        1 => nth().prop_map(|nth| Cancel { nth }),
        2 => nth().prop_map(|nth| PokeRequest { nth }),
        3 => prop_oneof![5..=6u8, 50..=55u8, Just(POT), Just(TREASURY)].prop_map(Claim),
        1 => proptest::collection::vec((50..=55u8, any::<u16>()), 0..6).prop_map(Weights),
        1 => (100..=103u8).prop_map(Validators),
        5 => (1..6u64, any::<bool>()).prop_map(|(count, idle)| Blocks { count, idle }),
        1 => (20..60u64).prop_map(|count| Blocks { count, idle: true }),
    ];
    prop_oneof![first, second]
}

/// The `nth` request with this status, or a number that may be of none.
fn request(nth: usize, status: RequestStatus) -> u64 {
    let mut requests: Vec<u64> =
        Requests::<Test>::iter().filter(|(_, request)| request.status == status).map(|(id, _)| id).collect();
    requests.sort();
    if requests.is_empty() { nth as u64 } else { requests[nth % requests.len()] }
}

/// Its client.
fn client_of(id: u64) -> RuntimeOrigin {
    RuntimeOrigin::signed(Requests::<Test>::get(id).map_or(account(1), |request| request.client))
}

/// The `nth` validator.
fn validator(nth: usize) -> RuntimeOrigin {
    let validators = Validators::get();
    RuntimeOrigin::signed(validators[nth % validators.len()].clone())
}

/// The `nth` gateway that an account authorizes, or one that it may not.
fn gateway_of(n: u8, nth: usize) -> [u8; 32] {
    Agreements::<Test>::get(account(n))
        .and_then(|agreement| {
            let count = agreement.gateways.len().max(1);
            agreement.gateways.get(nth % count).map(|usage| usage.gateway)
        })
        .unwrap_or(node(1))
}

/// Takes a step; the call may well be refused.
fn take(step: Step) -> sp_runtime::DispatchResult {
    use RequestStatus::*;
    let payment = |n: u8| BoundedVec::truncate_from(vec![n]);
    match step {
        Step::CreditPrice(price) => Marketplace::set_credit_price(root(), price),
        Step::StoragePrice(price) => Marketplace::set_storage_price(root(), price),
        Step::Offer(price) => {
            offer(price);
            Ok(())
        }
        Step::Buy { payer, account: n, credits } => {
            Marketplace::buy_credits(signed(payer), account(n), credits, u128::MAX)
        }
        Step::Refund { account: n, credits } => Marketplace::refund_credits(signed(n), credits),
        Step::Grant { payment: id, account: n, credits } => {
            let method = if id % 2 == 0 { PaymentMethod::Fiat } else { PaymentMethod::Tao };
            Marketplace::credit_payment(signed(9), payment(id), method, account(n), credits, u128::MAX)
        }
        Step::RefundPayment { nth, credits } => {
            let mut ids: Vec<_> = crate::Payments::<Test>::iter_keys().collect();
            ids.sort();
            let id = ids.get(nth % ids.len().max(1)).cloned().unwrap_or_default();
            Marketplace::refund_payment(signed(9), id, credits)
        }
        Step::Authorize { account: n, gateway, bytes_max } => {
            Marketplace::authorize_gateway(signed(n), node(gateway), bytes_max)
        }
        Step::Revoke { account: n, nth } => Marketplace::revoke_gateway(signed(n), gateway_of(n, nth)),
        Step::Drop { account: n, nth } => {
            Marketplace::drop_gateway(signed(4), account(n), gateway_of(n, nth))
        }
        Step::Commit { gateway, mut updates } => {
            updates.sort();
            updates.dedup_by_key(|(account, _)| *account);
            commit(gateway, &updates)
        }
        Step::GatewayLeaves(gateway) => {
            Gateways::mutate(|gateways| gateways.retain(|(id, _)| *id != gateway));
            Ok(())
        }
        Step::GatewaysReturn => {
            Gateways::set(FIRST_GATEWAYS.to_vec());
            Ok(())
        }
        Step::Poke(n) => Marketplace::poke(signed(4), account(n)),
        Step::Request { account: n, quantity } => {
            Marketplace::request_service(signed(n), 1, quantity, [1; 32], u128::MAX)
        }
        Step::Assign { validator: voter, nth, worker } => {
            Marketplace::assign_miner(validator(voter), request(nth, Requested), node(worker))
        }
        Step::Accept { owner, nth } => Marketplace::accept_request(signed(owner), request(nth, Assigned)),
        Step::Deliver { owner, nth } => {
            Marketplace::report_delivery(signed(owner), request(nth, Accepted), [2; 32])
        }
        Step::Confirm { nth } => {
            let id = request(nth, Delivered);
            Marketplace::confirm_delivery(client_of(id), id)
        }
        Step::Dispute { nth } => {
            let id = request(nth, Delivered);
            Marketplace::dispute_delivery(client_of(id), id)
        }
        Step::Resolve { validator: voter, nth, pay } => {
            Marketplace::resolve_dispute(validator(voter), request(nth, Disputed), pay)
        }
        Step::Cancel { nth } => {
            let id = request(nth, if nth % 2 == 0 { Requested } else { Assigned });
            Marketplace::cancel_request(client_of(id), id)
        }
        Step::PokeRequest { nth } => Marketplace::poke_request(signed(4), nth as u64),
        Step::Claim(n) => Marketplace::claim(signed(4), account(n)),
        Step::Weights(weights) => {
            Weights::set(weights);
            Ok(())
        }
        Step::Validators(last) => {
            Validators::set((100..=last).map(account).collect());
            Ok(())
        }
        Step::Blocks { count, idle } => {
            let end = System::block_number() + count;
            if idle {
                run_idle_to(end)
            } else {
                run_to(end)
            }
            Ok(())
        }
    }
}

/// Everybody leaves: requests end, agreements close, credits go back, rewards are claimed. What remains with
/// the pallet is carried or too little for its account.
fn everybody_leaves() {
    Validators::set(vec![account(100)]);
    let granted = |n| Marketplace::balance(&account(n)).granted;
    while Requests::<Test>::iter_values().any(|request| request.status.is_open()) {
        run_idle_to(System::block_number() + 1);
    }
    for n in 1..=3 {
        if let Some(agreement) = Agreements::<Test>::get(account(n)) {
            for usage in agreement.gateways {
                // The first may find the agreement expired.
                let _ = Marketplace::revoke_gateway(signed(n), usage.gateway);
            }
        }
        let bought = Marketplace::balance(&account(n)).bought;
        if bought > 0 {
            Marketplace::refund_credits(signed(n), bought).unwrap();
        }
    }
    for (id, payment) in crate::Payments::<Test>::iter().collect::<Vec<_>>() {
        let n = (1..=3).find(|n| account(*n) == payment.beneficiary).unwrap();
        let left = granted(n).min(payment.credits - payment.refunded);
        if left > 0 {
            Marketplace::refund_payment(signed(9), id, left).unwrap();
        }
    }
    run_to(System::block_number() + 2 * PERIOD);
    assert_eq!(crate::Credits::<Test>::iter().count(), 0, "all credits are gone");
    let carried = PeriodRevenue::<Test>::get().held();
    let unclaimed: u128 = Claimable::<Test>::iter_values().sum();
    assert_eq!(Marketplace::liabilities(), carried + unclaimed);
    for n in 50..=55 {
        if Marketplace::claim(signed(4), account(n)).is_err() {
            assert!(Marketplace::claimable(&account(n)) < EXISTENTIAL);
        }
    }
}

/// Takes the steps on a new chain where everything is there to begin with, checking after each that the pallet
/// owns what it owes to the unit; then everybody leaves. Returns the names of the calls that succeeded and of the
/// events.
fn run(steps: Vec<Step>) -> BTreeSet<String> {
    let name = |described: &str| {
        let end = described.find([' ', '(', '{']).unwrap_or(described.len());
        described[..end].to_string()
    };
    let mut seen = BTreeSet::new();
    story(|| {
        Marketplace::add_payment_authority(root(), account(9)).unwrap();
        offer(1_000);
        for n in 1..=3 {
            buy(n, 200_000).unwrap();
            store(n, GIB);
            Marketplace::request_service(signed(n), 1, u32::from(n), [n; 32], u128::MAX).unwrap();
        }
        // Of the three requests one is delivered, one accepted.
        run_to(2);
        for id in 0..2 {
            for validator in [100, 102] {
                Marketplace::assign_miner(signed(validator), id, node(11)).unwrap();
            }
            Marketplace::accept_request(signed(5), id).unwrap();
        }
        Marketplace::report_delivery(signed(5), 0, [2; 32]).unwrap();
        for step in steps {
            let described = format!("{step:?}");
            if take(step).is_ok() {
                seen.insert(name(&described));
            }
            seen.extend(events().iter().map(|event| name(&format!("{event:?}"))));
            Marketplace::do_try_state().unwrap_or_else(|error| panic!("{described}: {error:?}"));
            let owned = Balances::free_balance(Marketplace::account());
            assert_eq!(owned, Marketplace::liabilities() + EXISTENTIAL, "{described}");
        }
        everybody_leaves();
    });
    seen
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    proptest::collection::vec(step(), 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_unit_is_made_or_lost(steps in steps()) {
        run(steps);
    }
}

/// The sequences above are worth something: every call succeeds in some of them, and every event but those of
/// governance that are tested elsewhere happens.
#[test]
fn random_sequences_reach_everything() {
    let mut runner = TestRunner::deterministic();
    let mut seen = BTreeSet::new();
    for _ in 0..64 {
        let steps = steps().new_tree(&mut runner).unwrap().current();
        seen.extend(run(steps));
    }
    let calls = [
        "Buy",
        "Refund",
        "Grant",
        "RefundPayment",
        "Authorize",
        "Revoke",
        "Drop",
        "Commit",
        "Poke",
        "Request",
        "Assign",
        "Accept",
        "Deliver",
        "Confirm",
        "Dispute",
        "Resolve",
        "Cancel",
        "PokeRequest",
        "Claim",
    ];
    for call in calls {
        assert!(seen.contains(call), "{call} never succeeds: {seen:?}");
    }
    let committed = include_str!("interface.txt");
    for line in committed.lines().filter_map(|line| line.strip_prefix("event ")) {
        let event = line.split([' ', '(']).nth(1).unwrap();
        let elsewhere = event == "PaymentAuthorityRemoved" || event == "PaymentAuthorityAdded";
        assert!(elsewhere || seen.contains(&format!("Event::{event}")), "{event} never happens: {seen:?}");
    }
}
