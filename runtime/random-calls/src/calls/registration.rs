//! Owners, service nodes and proxies.

use arion_runtime::{RuntimeCall, configs::ProxyType};
use arion_types::{Lane, NodeType};

use crate::{
    actors::{NODES, account, node_consent, node_id},
    script::{Script, Sender},
};

pub(crate) fn call(script: &mut Script) -> (Sender, RuntimeCall) {
    let number = script.signer();
    let sender = Sender::Account(number);
    let call: RuntimeCall = match script.byte() % 16 {
        0..3 => {
            let lane = if script.flag() { Lane::Storage } else { Lane::Compute };
            pallet_registration::Call::register_owner_node { lane }.into()
        }
        3 => pallet_registration::Call::deregister_owner_node {}.into(),
        4..8 => {
            const TYPES: [NodeType; 5] = [
                NodeType::Gateway,
                NodeType::ComputeMiner,
                NodeType::Validator,
                NodeType::StorageMiner,
                NodeType::Warden,
            ];
            let node_type = TYPES[script.below(TYPES.len())];
            let key = script.byte() % NODES;
            let ahead = u64::from(script.rarely(16));
            let node_sig = node_consent(&account(number), node_type, key, ahead);
            let node_id = node_id(key);
            pallet_registration::Call::register_node { node_type, node_id, node_sig }.into()
        }
        8..10 => {
            let node_id = node_id(script.byte() % NODES);
            pallet_registration::Call::deregister_node { node_id }.into()
        }
        10..13 => {
            let (delegate, proxy_type) = (script.account().into(), proxy_type(script));
            let delay = u32::from(script.rarely(8));
            pallet_proxy::Call::add_proxy { delegate, proxy_type, delay }.into()
        }
        13 => {
            let (delegate, proxy_type) = (script.account().into(), proxy_type(script));
            pallet_proxy::Call::remove_proxy { delegate, proxy_type, delay: 0 }.into()
        }
        14 => pallet_proxy::Call::remove_proxies {}.into(),
        _ => {
            let proxy_type = proxy_type(script);
            pallet_proxy::Call::create_pure { proxy_type, delay: 0, index: script.byte().into() }.into()
        }
    };
    (sender, call)
}

fn proxy_type(script: &mut Script) -> ProxyType {
    const TYPES: [ProxyType; 4] =
        [ProxyType::NonTransfer, ProxyType::Any, ProxyType::Storage, ProxyType::Staking];
    TYPES[script.below(TYPES.len())]
}
