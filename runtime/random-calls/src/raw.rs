//! Calls decoded from raw bytes.

use arion_runtime::{Executive, RuntimeCall, UncheckedExtrinsic};
use codec::DecodeLimit;
use sp_core::H256;
use sp_runtime::transaction_validity::TransactionSource;

use crate::script::{Script, Sender};

/// Nesting of calls in calls that is decoded; nodes decode no deeper than 256.
const DEPTH_MAX: u32 = 12;
/// Most bytes of a call.
const BYTES_MAX: usize = 160;

/// A call from the next bytes, if they are one that somebody may make without owning the chain.
pub(crate) fn call(script: &mut Script) -> Option<(Sender, RuntimeCall)> {
    let sender = match script.byte() % 16 {
        0 => Sender::Nobody,
        1 => Sender::Authorized,
        2..4 => Sender::Root,
        _ => Sender::Account(script.signer()),
    };
    let bytes = script.bytes(BYTES_MAX);
    let call = RuntimeCall::decode_with_depth_limit(DEPTH_MAX, &mut bytes.as_slice()).ok()?;
    match sender {
        Sender::Root => is_lawful_for_root(&call).then_some((sender, call)),
        Sender::Nobody | Sender::Authorized => {
            // What a transaction without a signature goes through first; it may well be refused.
            let transaction = UncheckedExtrinsic::new_bare(call.clone());
            let _ = Executive::validate_transaction(TransactionSource::External, transaction, H256::zero());
            is_lawful(&call).then_some((sender, call))
        }
        Sender::Account(_) => is_lawful(&call).then_some((sender, call)),
    }
}

/// Whether a call contains nothing that only root may do and that breaks chains by intent, and no inherent, which are
/// the block author's: a block with two of them is refused as a whole.
fn is_lawful(call: &RuntimeCall) -> bool {
    use pallet_collective::Call as Council;
    use pallet_proxy::Call as Proxy;
    use pallet_sudo::Call as Sudo;
    use pallet_utility::Call as Utility;
    use pallet_whitelist::Call as Whitelist;
    match call {
        // As any account, those of the system too.
        RuntimeCall::Timestamp(_) | RuntimeCall::Sudo(Sudo::sudo_as { .. }) => false,
        RuntimeCall::Sudo(Sudo::sudo { call } | Sudo::sudo_unchecked_weight { call, .. }) => {
            is_lawful_for_root(call)
        }
        RuntimeCall::Utility(Utility::as_derivative { call, .. })
        | RuntimeCall::Proxy(Proxy::proxy { call, .. } | Proxy::proxy_announced { call, .. }) => {
            is_lawful(call)
        }
        RuntimeCall::Utility(
            Utility::batch { calls } | Utility::batch_all { calls } | Utility::force_batch { calls },
        ) => calls.iter().all(is_lawful),
        RuntimeCall::Utility(Utility::if_else { main, fallback }) => is_lawful(main) && is_lawful(fallback),
        // What two thirds of the council agree on is as good as root.
        RuntimeCall::Council(Council::propose { proposal, .. } | Council::execute { proposal, .. }) => {
            is_lawful_for_root(proposal)
        }
        RuntimeCall::Whitelist(Whitelist::dispatch_whitelisted_call_with_preimage { call }) => {
            is_lawful_for_root(call)
        }
        _ => true,
    }
}

fn is_lawful_for_root(call: &RuntimeCall) -> bool {
    use pallet_utility::Call as Utility;
    match call {
        RuntimeCall::Registration(_)
        | RuntimeCall::Arion(_)
        | RuntimeCall::Marketplace(_)
        | RuntimeCall::Snapshots(_)
        | RuntimeCall::VoterList(_) => true,
        RuntimeCall::Utility(
            Utility::batch { calls } | Utility::batch_all { calls } | Utility::force_batch { calls },
        ) => calls.iter().all(is_lawful_for_root),
        RuntimeCall::Utility(Utility::if_else { main, fallback }) => {
            is_lawful_for_root(main) && is_lawful_for_root(fallback)
        }
        RuntimeCall::Utility(Utility::with_weight { call, .. }) => is_lawful_for_root(call),
        _ => false,
    }
}
