//! Calls of `pallet-marketplace`.

use arion_runtime::{AccountId, Runtime, RuntimeCall};
use frame_support::BoundedVec;
use pallet_marketplace::{
    Agreements, CREDIT, Call, ServiceKind,
    types::{PaymentMethod, ServiceTerms, UsageUpdate},
};

use crate::{
    actors::{ACCOUNTS, NODES, SIGNERS, account, node_id},
    script::{Script, Sender},
};

pub(crate) fn call(script: &mut Script) -> (Sender, RuntimeCall) {
    let sender = Sender::Account(script.signer());
    let (sender, call): (Sender, Call<Runtime>) = match script.byte() % 40 {
        0 => (script.root(), Call::set_credit_price { price: script.amount() }),
        1 => (script.root(), Call::set_storage_price { price: script.number_u128() }),
        2 => set_service(script),
        3 => (script.root(), Call::add_payment_authority { authority: script.account() }),
        4 => (script.root(), Call::remove_payment_authority { authority: script.account() }),
        5..9 => {
            let beneficiary = script.account();
            let (credits, alpha_max) = (credits(script), limit(script));
            (sender, Call::buy_credits { beneficiary, credits, alpha_max })
        }
        9..11 => (sender, Call::refund_credits { credits: credits(script) }),
        11..13 => {
            let call = Call::credit_payment {
                payment_id: payment(script),
                method: if script.flag() { PaymentMethod::Fiat } else { PaymentMethod::Tao },
                beneficiary: script.account(),
                credits: credits(script),
                alpha_max: limit(script),
            };
            (script.one_of(&[8]), call)
        }
        13 => {
            let call = Call::refund_payment { payment_id: payment(script), credits: credits(script) };
            (script.one_of(&[8]), call)
        }
        14..17 => {
            (sender, Call::authorize_gateway { gateway: some_node(script), bytes_max: script.number_u64() })
        }
        17 => (sender, Call::revoke_gateway { gateway: some_node(script) }),
        18 => (sender, Call::drop_gateway { account: client(script), gateway: some_node(script) }),
        19..24 => commit_usage(script),
        24..26 => (sender, Call::poke { account: client(script) }),
        26..28 => {
            let call = Call::request_service {
                service: service(script),
                quantity: if script.rarely(16) { u32::MAX } else { script.byte().into() },
                spec: script.array(),
                credits_max: limit(script),
            };
            (script.one_of(&[9, 5, 7]), call)
        }
        28..31 => {
            let (request, node_id) =
                (request(script), if script.rarely(8) { some_node(script) } else { node_id(6) });
            (script.validator(), Call::assign_miner { request, node_id })
        }
        31 => (script.one_of(&[7]), Call::accept_request { request: request(script) }),
        32 => {
            (script.one_of(&[7]), Call::report_delivery { request: request(script), result: script.array() })
        }
        33 => (script.one_of(&[9, 5, 7]), Call::confirm_delivery { request: request(script) }),
        34 => (script.one_of(&[9, 5, 7]), Call::dispute_delivery { request: request(script) }),
        35 => {
            let pay = script.flag();
            (script.validator(), Call::resolve_dispute { request: request(script), pay })
        }
        36 => (script.one_of(&[9, 5, 7]), Call::cancel_request { request: request(script) }),
        37 => (sender, Call::poke_request { request: request(script) }),
        _ => (sender, Call::claim { account: script.account() }),
    };
    (sender, call.into())
}

fn credits(script: &mut Script) -> u128 {
    match script.byte() % 4 {
        0 => script.number_u128(),
        _ => u128::from(script.byte()) * CREDIT / 4 + u128::from(script.byte() % 2),
    }
}

fn limit(script: &mut Script) -> u128 {
    if script.rarely(4) { script.amount() } else { u128::MAX }
}

fn payment(script: &mut Script) -> BoundedVec<u8, frame_support::traits::ConstU32<64>> {
    let id = script.byte() % 6;
    BoundedVec::truncate_from(vec![b'p'; usize::from(id)])
}

fn some_node(script: &mut Script) -> [u8; 32] {
    // Mostly the gateway there is from the beginning.
    if script.flag() { node_id(5) } else { node_id(script.byte() % NODES) }
}

/// An account, mostly one with an agreement.
fn client(script: &mut Script) -> AccountId {
    let chosen = script.below(ACCOUNTS);
    if chosen.is_multiple_of(2) && Agreements::<Runtime>::contains_key(account(9)) {
        account(9)
    } else {
        account(chosen)
    }
}

fn service(script: &mut Script) -> u16 {
    if script.rarely(8) { script.byte().into() } else { 1 + u16::from(script.byte() % 2) }
}

/// A request there is, mostly.
fn request(script: &mut Script) -> u64 {
    let next = pallet_marketplace::NextRequest::<Runtime>::get();
    let chosen = u64::from(script.byte());
    if chosen == 255 { script.number_u64() } else { chosen % next.max(1) }
}

fn set_service(script: &mut Script) -> (Sender, Call<Runtime>) {
    const KINDS: [ServiceKind; 4] = [
        ServiceKind::VirtualMachine,
        ServiceKind::Container,
        ServiceKind::ContractExecution,
        ServiceKind::Other,
    ];
    let service = service(script);
    let terms = (!script.rarely(4)).then(|| ServiceTerms {
        kind: KINDS[script.below(4)],
        name: BoundedVec::truncate_from(script.bytes(4)),
        price: script.number_u128(),
        delivery_blocks: if script.rarely(8) { u32::MAX } else { script.byte().into() },
    });
    (script.root(), Call::set_service { service, terms })
}

fn commit_usage(script: &mut Script) -> (Sender, Call<Runtime>) {
    let gateway = some_node(script);
    let last =
        pallet_marketplace::Ledgers::<Runtime>::get(gateway).map_or(0, |ledger| ledger.anchor.sequence);
    let sequence = if script.rarely(16) { script.number_u64() } else { last.saturating_add(1) };
    let mut updates = Vec::new();
    for _ in 0..script.below(5) {
        updates.push(UsageUpdate { account: client(script), bytes: script.number_u64() });
    }
    let total = updates.iter().fold(0u64, |sum, update| sum.saturating_add(update.bytes));
    let bytes = if script.rarely(8) { script.number_u64() } else { total.saturating_mul(2) };
    let owner = pallet_registration::Nodes::<Runtime>::get(gateway).map(|node| node.owner);
    let owner = (0..SIGNERS).find(|number| Some(account(*number)) == owner).unwrap_or(5);
    let call = Call::commit_usage {
        gateway,
        sequence,
        root: script.array(),
        bytes,
        updates: BoundedVec::truncate_from(updates),
    };
    (script.one_of(&[owner]), call)
}
