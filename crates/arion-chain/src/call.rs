//! Calls: built from names and SCALE values, encoded with the indices of the live metadata.

mod marketplace;

use arion_types::{
    AttestationCommitment, AttestationRecord, AttestationResult, CrushParams, Epoch, Lane, MinerRecord,
    NodeId, NodeQuality, NodeType, Signature,
};
use codec::{Compact, Encode};

use crate::{
    account::AccountId,
    interface::{Interface, InterfaceError},
};

pub use marketplace::{PaymentMethod, ServiceKind, ServiceTerms};

/// A call that can be submitted, batched, or made by sudo or a proxy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Call {
    pub(crate) pallet: &'static str,
    pub(crate) name: &'static str,
    args: Vec<Arg>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Arg {
    Encoded(Vec<u8>),
    /// A variant without fields of the argument's enum, by name.
    Variant(&'static str),
    Call(Box<Call>),
    Calls(Vec<Call>),
}

pub(crate) fn arg(value: &impl Encode) -> Arg {
    Arg::Encoded(value.encode())
}

/// `MultiAddress::Id`.
fn address(account: &AccountId) -> Arg {
    Arg::Encoded((0u8, account).encode())
}

impl Call {
    pub(crate) fn new(pallet: &'static str, name: &'static str, args: Vec<Arg>) -> Self {
        Self { pallet, name, args }
    }

    /// `Registration.register_owner_node`: the sender becomes an owner, and may be a family.
    pub fn register_owner_node(lane: Lane) -> Self {
        Self::new("Registration", "register_owner_node", vec![arg(&lane)])
    }

    /// `Registration.register_node`: a service node of the sender. `signature` is the node key's over
    /// `arion_types::registration::node_message`.
    pub fn register_node(node_type: NodeType, node: &NodeId, signature: &Signature) -> Self {
        Self::new("Registration", "register_node", vec![arg(&node_type), arg(&node.0), arg(signature)])
    }

    /// `Registration.deregister_node`.
    pub fn deregister_node(node: &NodeId) -> Self {
        Self::new("Registration", "deregister_node", vec![arg(&node.0)])
    }

    /// `Registration.deregister_owner_node`.
    pub fn deregister_owner_node() -> Self {
        Self::new("Registration", "deregister_owner_node", Vec::new())
    }

    /// `Arion.register_child`, signed by the family. `signature` is the node key's over
    /// `arion_types::registration::registration_message`; the child must be a proxy of the family.
    pub fn register_child(
        family: &AccountId,
        child: &AccountId,
        node: &NodeId,
        signature: &Signature,
    ) -> Self {
        Self::new("Arion", "register_child", vec![arg(family), arg(child), arg(&node.0), arg(signature)])
    }

    /// `Arion.deregister_child`, signed by the family.
    pub fn deregister_child(child: &AccountId) -> Self {
        Self::new("Arion", "deregister_child", vec![arg(child)])
    }

    /// `Arion.claim_unbonded`, signed by the family.
    pub fn claim_unbonded(child: &AccountId) -> Self {
        Self::new("Arion", "claim_unbonded", vec![arg(child)])
    }

    /// `Arion.submit_crush_map`, signed by a validator: its vote for the next map.
    pub fn submit_crush_map(epoch: Epoch, params: &CrushParams, miners: &[MinerRecord]) -> Self {
        Self::new("Arion", "submit_crush_map", vec![arg(&epoch), arg(params), Arg::Encoded(miners.encode())])
    }

    /// `Arion.submit_attestations`, signed by a validator or an admitted submitter.
    pub fn submit_attestations(bucket: u32, attestations: &[AttestationRecord]) -> Self {
        Self::new("Arion", "submit_attestations", vec![arg(&bucket), Arg::Encoded(attestations.encode())])
    }

    /// `Arion.submit_node_quality`, signed by a validator: its report for the bucket of the block, strictly increasing
    /// in child.
    pub fn submit_node_quality(bucket: u32, updates: &[(AccountId, NodeQuality)]) -> Self {
        Self::new("Arion", "submit_node_quality", vec![arg(&bucket), Arg::Encoded(updates.encode())])
    }

    /// `Arion.register_warden`; admin.
    pub fn register_warden(warden: &NodeId) -> Self {
        Self::new("Arion", "register_warden", vec![arg(&warden.0)])
    }

    /// `Arion.deregister_warden`; admin.
    pub fn deregister_warden(warden: &NodeId) -> Self {
        Self::new("Arion", "deregister_warden", vec![arg(&warden.0)])
    }

    /// `Arion.report_conflicting_attestations`: two verdicts of one warden on one challenge. Anyone may.
    pub fn report_conflicting_attestations(first: &AttestationRecord, second: &AttestationRecord) -> Self {
        Self::new("Arion", "report_conflicting_attestations", vec![arg(first), arg(second)])
    }

    /// `Arion.announce_maintenance`, signed by the child or its family: from block `from` to before block `until`.
    pub fn announce_maintenance(child: &AccountId, from: u32, until: u32) -> Self {
        Self::new("Arion", "announce_maintenance", vec![arg(child), arg(&from), arg(&until)])
    }

    /// `Arion.set_lockup_enabled`; admin.
    pub fn set_lockup_enabled(enabled: bool) -> Self {
        Self::new("Arion", "set_lockup_enabled", vec![arg(&enabled)])
    }

    /// `Arion.add_attestation_submitter`; admin.
    pub fn add_attestation_submitter(submitter: &AccountId) -> Self {
        Self::new("Arion", "add_attestation_submitter", vec![arg(submitter)])
    }

    /// `Proxy.add_proxy` without delay: `delegate` may act for the sender. `proxy_type` is a name of the
    /// runtime's `ProxyType`: `Any`, `NonTransfer`, `Storage`.
    pub fn add_proxy(delegate: &AccountId, proxy_type: &'static str) -> Self {
        Self::new("Proxy", "add_proxy", vec![address(delegate), Arg::Variant(proxy_type), arg(&0u32)])
    }

    /// `Balances.transfer_keep_alive` of `amount` smallest units.
    pub fn transfer(to: &AccountId, amount: u128) -> Self {
        Self::new("Balances", "transfer_keep_alive", vec![address(to), arg(&Compact(amount))])
    }

    /// `Staking.bond`: puts `amount` smallest units of the sender at stake, and its rewards as they come.
    pub fn bond(amount: u128) -> Self {
        Self::new("Staking", "bond", vec![arg(&Compact(amount)), Arg::Variant("Staked")])
    }

    /// `Staking.validate` without commission: the sender stands for election.
    pub fn validate() -> Self {
        // Commission in parts of 10^9, and whether nominations are refused.
        Self::new("Staking", "validate", vec![arg(&Compact(0u32)), arg(&false)])
    }

    /// `Session.set_keys`: what `author_rotateKeysWithOwner` of the sender's node answered.
    pub fn set_session_keys(keys: &[u8], proof: &[u8]) -> Self {
        Self::new("Session", "set_keys", vec![Arg::Encoded(keys.to_vec()), Arg::Encoded(proof.encode())])
    }

    /// `Utility.batch_all`: all of them or none.
    pub fn batch(calls: Vec<Call>) -> Self {
        Self::new("Utility", "batch_all", vec![Arg::Calls(calls)])
    }

    /// `Sudo.sudo`: with root origin, signed by the sudo account.
    pub fn sudo(call: Call) -> Self {
        Self::new("Sudo", "sudo", vec![Arg::Call(Box::new(call))])
    }

    /// One call of each kind, with values that fill every field: what [`Interface::new`] tries against the types of
    /// the runtime.
    pub(crate) fn samples() -> Vec<Self> {
        let (account, node, signature) = ([1; 32], NodeId([2; 32]), [3; 64]);
        let bytes = |text: &[u8]| text.to_vec();
        let miner = MinerRecord {
            uid: 1,
            node_id: node.0,
            family: account,
            weight: 2,
            endpoint: bytes(b"host:1").try_into().unwrap_or_default(),
        };
        let attestation = AttestationRecord {
            shard_hash: [4; 32],
            miner_uid: 5,
            result: AttestationResult::InvalidProof,
            challenge_seed: [6; 32],
            block_number: 7,
            timestamp: 8,
            warden_pubkey: [9; 32],
            signature,
            merkle_proof_sig_hash: [10; 32],
            warden_id: bytes(b"warden").try_into().unwrap_or_default(),
        };
        let commitment = AttestationCommitment {
            content_hash: [11; 32],
            attestation_root: [12; 32],
            warden_root: [13; 32],
            count: 14,
        };
        vec![
            Self::register_owner_node(Lane::Storage),
            Self::register_node(NodeType::Gateway, &node, &signature),
            Self::deregister_node(&node),
            Self::deregister_owner_node(),
            Self::register_child(&account, &account, &node, &signature),
            Self::deregister_child(&account),
            Self::claim_unbonded(&account),
            Self::submit_crush_map(1, &CrushParams::STANDARD, &[miner]),
            Self::report_conflicting_attestations(&attestation, &attestation),
            Self::submit_attestations(1, &[attestation]),
            Self::submit_attestation_commitment(1, &commitment),
            Self::register_warden(&node),
            Self::deregister_warden(&node),
            Self::announce_maintenance(&account, 1, 2),
            Self::set_lockup_enabled(true),
            Self::add_attestation_submitter(&account),
            Self::commit_usage(&node, 1, &[4; 32], 5, &[(account, 6)]),
            Self::add_proxy(&account, "Any"),
            Self::transfer(&account, u128::MAX),
            Self::batch(vec![Self::deregister_owner_node()]),
        ]
    }

    /// The arguments in SCALE, without the indices.
    pub(crate) fn encode_args(&self, interface: &Interface) -> Result<Vec<u8>, InterfaceError> {
        let mut bytes = Vec::new();
        for (position, argument) in self.args.iter().enumerate() {
            match argument {
                Arg::Encoded(encoded) => bytes.extend_from_slice(encoded),
                Arg::Variant(name) => {
                    bytes.push(interface.arg_variant(self.pallet, self.name, position, name)?)
                }
                Arg::Call(call) => bytes.extend(call.encode(interface)?),
                Arg::Calls(calls) => {
                    Compact(calls.len() as u32).encode_to(&mut bytes);
                    for call in calls {
                        bytes.extend(call.encode(interface)?);
                    }
                }
            }
        }
        Ok(bytes)
    }

    /// Pallet index, call index, arguments: the bytes of a `RuntimeCall`.
    pub fn encode(&self, interface: &Interface) -> Result<Vec<u8>, InterfaceError> {
        let (pallet, call) = interface.call_index(self.pallet, self.name)?;
        let mut bytes = vec![pallet, call];
        bytes.extend(self.encode_args(interface)?);
        Ok(bytes)
    }
}
