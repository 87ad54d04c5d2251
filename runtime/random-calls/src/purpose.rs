//! Calls that lead on from the state as it is: of what is under way, the next step by whom it concerns. Random ones hardly
//! ever get through a workflow.

use arion_runtime::{AccountId, Runtime, RuntimeCall, System, configs::ProxyType};
use arion_types::NodeType;
use pallet_arion::{AttestationSubmitters, ChildRegistrations, ChildStatus};
use pallet_marketplace::{
    Agreements, CREDIT, Claimable, Ledgers, PaymentAuthorities, Payments, Requests,
    types::{PaymentMethod, RequestStatus, UsageUpdate},
};
use pallet_registration::{Nodes, OwnerNodes};

use crate::{
    actors::{NODES, SIGNERS, VALIDATORS, account, child_consent, node_id},
    script::{Script, Sender},
};

type Arion = pallet_arion::Call<Runtime>;
type Marketplace = pallet_marketplace::Call<Runtime>;
type Registration = pallet_registration::Call<Runtime>;

/// More than `SweptRequests`.
const REQUESTS_AT_ONCE: usize = 12;

/// A step, unless there is nothing to lead on from.
pub(crate) fn call(script: &mut Script) -> Option<(Sender, RuntimeCall)> {
    match script.byte() % 64 {
        0..10 => join(script),
        10..16 => leave(script),
        16..40 => request(script),
        40..48 => bill(script),
        48..54 => {
            let account = pick(script, Claimable::<Runtime>::iter_keys().collect())?;
            Some((Sender::Account(script.signer()), Marketplace::claim { account }.into()))
        }
        54..58 => payment(script),
        58..61 => drop_gateway(script),
        61 => retire(script),
        _ => dismiss(script),
    }
}

/// One of them. The order of storage is the same in every run.
fn pick<T>(script: &mut Script, mut items: Vec<T>) -> Option<T> {
    let chosen = usize::from(script.byte());
    (!items.is_empty()).then(|| items.swap_remove(chosen % items.len()))
}

fn signer(who: &AccountId) -> Option<Sender> {
    (0..SIGNERS).find(|number| account(*number) == *who).map(Sender::Account)
}

fn is_past(end: Option<u32>) -> bool {
    end.is_none_or(|end| System::block_number() >= end)
}

/// A family registers a child, or makes somebody its proxy where nobody is who could be one.
fn join(script: &mut Script) -> Option<(Sender, RuntimeCall)> {
    let family = pick(script, OwnerNodes::<Runtime>::iter_keys().collect())?;
    let sender = signer(&family)?;
    let proxies = pallet_proxy::Proxies::<Runtime>::get(&family).0;
    let free = proxies.into_iter().map(|proxy| proxy.delegate).filter(|child| {
        !ChildRegistrations::<Runtime>::contains_key(child)
            && is_past(pallet_arion::ChildCooldownEnd::<Runtime>::get(child))
    });
    let Some(child) = pick(script, free.collect()) else {
        let delegate = script.account().into();
        let call = pallet_proxy::Call::add_proxy { delegate, proxy_type: ProxyType::NonTransfer, delay: 0 };
        return Some((sender, call.into()));
    };
    let unused = (0..NODES).filter(|key| {
        !pallet_arion::NodeIdToChild::<Runtime>::contains_key(node_id(*key))
            && is_past(pallet_arion::NodeIdCooldownEnd::<Runtime>::get(node_id(*key)))
    });
    let key = pick(script, unused.collect())?;
    let node_sig = child_consent(&family, &child, key, 0);
    Some((sender, Arion::register_child { family, child, node_id: node_id(key), node_sig }.into()))
}

/// A child leaves, or its family claims what is free.
fn leave(script: &mut Script) -> Option<(Sender, RuntimeCall)> {
    let gone =
        |status: &ChildStatus<u32>| matches!(status, ChildStatus::Unbonding { end } if is_past(Some(*end)));
    let (free, others): (Vec<_>, Vec<_>) =
        ChildRegistrations::<Runtime>::iter().partition(|(_, record)| gone(&record.status));
    if let Some((child, record)) = pick(script, free) {
        return Some((signer(&record.family)?, Arion::claim_unbonded { child }.into()));
    }
    let (child, record) = pick(script, others)?;
    Some((signer(&record.family)?, Arion::deregister_child { child }.into()))
}

/// The next step of a request; the first of a new one, where there is none under way.
fn request(script: &mut Script) -> Option<(Sender, RuntimeCall)> {
    let mut open: Vec<_> =
        Requests::<Runtime>::iter().filter(|(_, request)| request.status.is_open()).collect();
    if !script.rarely(4) {
        // One gets further than many.
        open.truncate(1);
    }
    let Some((id, record)) = pick(script, open) else {
        let ask = Marketplace::request_service {
            service: 1,
            quantity: 1,
            spec: script.array(),
            credits_max: u128::MAX,
        };
        // Now and then more than the chain looks at in one block, so that late ones are left for somebody to find.
        let calls = if script.rarely(4) { REQUESTS_AT_ONCE } else { 1 };
        let call = pallet_utility::Call::batch { calls: vec![ask.clone().into(); calls] };
        return Some((Sender::Account(9), if calls == 1 { ask.into() } else { call.into() }));
    };
    if System::block_number() > record.deadline {
        let call = Marketplace::poke_request { request: id };
        return Some((Sender::Account(script.signer()), call.into()));
    }
    let client = signer(&record.client);
    let owner = record.assignment.as_ref().and_then(|assignment| signer(&assignment.owner));
    let validator = Sender::Account(script.below(VALIDATORS));
    let (sender, call) = match record.status {
        RequestStatus::Requested | RequestStatus::Assigned if script.rarely(8) => {
            (client?, Marketplace::cancel_request { request: id })
        }
        RequestStatus::Requested => {
            let mut workers =
                Nodes::<Runtime>::iter().filter(|(_, node)| node.node_type == NodeType::ComputeMiner);
            // All validators name the same.
            let (node_id, _) = workers.next()?;
            (validator, Marketplace::assign_miner { request: id, node_id })
        }
        RequestStatus::Assigned => (owner?, Marketplace::accept_request { request: id }),
        RequestStatus::Accepted => {
            (owner?, Marketplace::report_delivery { request: id, result: script.array() })
        }
        RequestStatus::Delivered if script.flag() => (client?, Marketplace::dispute_delivery { request: id }),
        RequestStatus::Delivered => (client?, Marketplace::confirm_delivery { request: id }),
        // Again the same of all.
        RequestStatus::Disputed => {
            (validator, Marketplace::resolve_dispute { request: id, pay: id.is_multiple_of(2) })
        }
        RequestStatus::Paid | RequestStatus::Refunded { .. } => return None,
    };
    Some((sender, call.into()))
}

/// A client stores as much as it allows, then takes its credits out, and at last, perhaps, pays its debt.
fn bill(script: &mut Script) -> Option<(Sender, RuntimeCall)> {
    let (client, agreement) = pick(script, Agreements::<Runtime>::iter().collect())?;
    let usage = agreement.gateways.first()?;
    if usage.bytes == 0 {
        let gateway = usage.gateway;
        let sequence = Ledgers::<Runtime>::get(gateway).map_or(0, |ledger| ledger.anchor.sequence);
        let call = Marketplace::commit_usage {
            gateway,
            sequence: sequence.saturating_add(1),
            root: script.array(),
            bytes: u64::MAX,
            updates: vec![UsageUpdate { account: client, bytes: usage.bytes_max }].try_into().ok()?,
        };
        return Some((signer(&Nodes::<Runtime>::get(gateway)?.owner)?, call.into()));
    }
    let balance = arion_runtime::Marketplace::balance(&client);
    if balance.debt == 0 {
        return Some((signer(&client)?, Marketplace::refund_credits { credits: balance.available }.into()));
    }
    let call = Marketplace::buy_credits { beneficiary: client, credits: balance.debt, alpha_max: u128::MAX };
    script.rarely(4).then(|| (Sender::Account(4), call.into()))
}

/// A payment is refunded in part, or one is credited where there is none.
fn payment(script: &mut Script) -> Option<(Sender, RuntimeCall)> {
    let paid = Payments::<Runtime>::iter().filter(|(_, payment)| payment.refunded < payment.credits);
    if let Some((payment_id, payment)) = pick(script, paid.collect()) {
        let credits = (payment.credits - payment.refunded).div_ceil(2);
        return Some((
            signer(&payment.authority)?,
            Marketplace::refund_payment { payment_id, credits }.into(),
        ));
    }
    let call = Marketplace::credit_payment {
        payment_id: vec![script.byte(); 8].try_into().ok()?,
        method: PaymentMethod::Fiat,
        beneficiary: script.account(),
        credits: CREDIT,
        alpha_max: u128::MAX,
    };
    Some((Sender::Account(8), call.into()))
}

/// A gateway that is registered no more is taken out of an agreement; one goes, where all are there.
fn drop_gateway(script: &mut Script) -> Option<(Sender, RuntimeCall)> {
    let billed = Agreements::<Runtime>::iter().flat_map(|(account, agreement)| {
        agreement.gateways.into_iter().map(move |usage| (account.clone(), usage.gateway))
    });
    let (here, gone): (Vec<_>, Vec<_>) =
        billed.partition(|(_, gateway)| Nodes::<Runtime>::contains_key(gateway));
    let Some((account, gateway)) = pick(script, gone) else {
        let (_, node_id) = pick(script, here)?;
        let owner = Nodes::<Runtime>::get(node_id)?.owner;
        return Some((signer(&owner)?, Registration::deregister_node { node_id }.into()));
    };
    Some((Sender::Account(script.signer()), Marketplace::drop_gateway { account, gateway }.into()))
}

/// A node goes, or an owner that has none and no miners.
fn retire(script: &mut Script) -> Option<(Sender, RuntimeCall)> {
    let idle = OwnerNodes::<Runtime>::iter()
        .filter(|(owner, record)| record.nodes == 0 && !arion_runtime::Arion::has_children(owner))
        .map(|(owner, _)| owner);
    if let Some(owner) = pick(script, idle.collect()) {
        return Some((signer(&owner)?, Registration::deregister_owner_node {}.into()));
    }
    let (node_id, node) = pick(script, Nodes::<Runtime>::iter().collect())?;
    Some((signer(&node.owner)?, Registration::deregister_node { node_id }.into()))
}

/// Who may bring attestations, or credit payments, no longer may; or one may where there is none.
fn dismiss(script: &mut Script) -> Option<(Sender, RuntimeCall)> {
    let submitter = pick(script, AttestationSubmitters::<Runtime>::iter_keys().collect());
    let authority = pick(script, PaymentAuthorities::<Runtime>::iter_keys().collect());
    let call = match (submitter, authority) {
        (Some(submitter), _) if script.flag() => Arion::remove_attestation_submitter { submitter }.into(),
        (None, _) if script.flag() => Arion::add_attestation_submitter { submitter: script.account() }.into(),
        (_, Some(authority)) => Marketplace::remove_payment_authority { authority }.into(),
        (_, None) => Marketplace::add_payment_authority { authority: account(8) }.into(),
    };
    Some((Sender::Root, call))
}
