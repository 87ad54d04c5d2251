//! Calls in other calls: batches, proxies, sudo.

use arion_runtime::RuntimeCall;

use crate::{
    actors::{SIGNERS, account},
    calls,
    script::{Script, Sender},
};

/// Mostly the call itself.
pub(crate) fn maybe(script: &mut Script, sender: Sender, call: RuntimeCall) -> (Sender, RuntimeCall) {
    let boxed = Box::new(call.clone());
    let wrapped: RuntimeCall = match script.byte() {
        0..6 => pallet_utility::Call::batch { calls: several(script, call) }.into(),
        6..12 => pallet_utility::Call::batch_all { calls: several(script, call) }.into(),
        12..18 => pallet_utility::Call::force_batch { calls: several(script, call) }.into(),
        18..22 => {
            let fallback = Box::new(calls::any(script).1);
            pallet_utility::Call::if_else { main: boxed, fallback }.into()
        }
        22..24 => pallet_utility::Call::as_derivative { index: script.byte().into(), call: boxed }.into(),
        24..34 => {
            // The other way round: a child or a delegate acts for the sender.
            let Sender::Account(real) = sender else { return (sender, call) };
            let call =
                pallet_proxy::Call::proxy { real: account(real).into(), force_proxy_type: None, call: boxed };
            return (Sender::Account(script.signer()), call.into());
        }
        34..38 => {
            // Not the accounts of the system: what is in them is what the pallets owe.
            let who = account(script.below(SIGNERS)).into();
            let Sender::Account(_) = sender else { return (sender, call) };
            return (Sender::Account(0), pallet_sudo::Call::sudo_as { who, call: boxed }.into());
        }
        38..44 => {
            let Sender::Root = sender else { return (sender, call) };
            return (Sender::Account(0), pallet_sudo::Call::sudo { call: boxed }.into());
        }
        _ => return (sender, call),
    };
    (sender, wrapped)
}

fn several(script: &mut Script, first: RuntimeCall) -> Vec<RuntimeCall> {
    let mut calls = vec![first];
    for _ in 0..script.below(4) {
        calls.push(calls::any(script).1);
    }
    calls
}
