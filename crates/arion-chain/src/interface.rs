//! The part of the runtime's interface that this crate uses, looked up by name in live metadata.
//!
//! # Invariants
//! - [`Interface::new`] fails with a list of everything that is missing or shaped otherwise, so that no call
//!   is ever encoded, and no storage value decoded, against a runtime with another idea of it.

use std::sync::Arc;

use blake2::{Blake2b, Digest, digest::consts::U16};
use scale_info::{Field, TypeDef, form::PortableForm};
use subxt::{
    ext::scale_value,
    metadata::{Metadata, StorageEntryMetadata, StorageHasher},
};

use crate::call::Call;

/// Calls and the names of their arguments, in order.
const CALLS: &[(&str, &str, &[&str])] = &[
    ("Registration", "register_owner_node", &["lane"]),
    ("Registration", "register_node", &["node_type", "node_id", "node_sig"]),
    ("Registration", "deregister_node", &["node_id"]),
    ("Registration", "deregister_owner_node", &[]),
    ("Arion", "register_child", &["family", "child", "node_id", "node_sig"]),
    ("Arion", "deregister_child", &["child"]),
    ("Arion", "claim_unbonded", &["child"]),
    ("Arion", "submit_crush_map", &["epoch", "params", "miners"]),
    ("Arion", "submit_attestations", &["bucket", "attestations"]),
    (
        "Arion",
        "submit_attestation_commitment",
        &[
            "epoch",
            "arion_content_hash",
            "attestation_merkle_root",
            "warden_pubkey_merkle_root",
            "attestation_count",
        ],
    ),
    ("Arion", "register_warden", &["warden_pubkey"]),
    ("Arion", "deregister_warden", &["warden_pubkey"]),
    ("Arion", "report_conflicting_attestations", &["first", "second"]),
    ("Arion", "announce_maintenance", &["child", "from", "until"]),
    ("Arion", "set_lockup_enabled", &["enabled"]),
    ("Arion", "add_attestation_submitter", &["submitter"]),
    ("Marketplace", "commit_usage", &["gateway", "sequence", "root", "bytes", "updates"]),
    ("Proxy", "add_proxy", &["delegate", "proxy_type", "delay"]),
    ("Balances", "transfer_keep_alive", &["dest", "value"]),
    ("Utility", "batch_all", &["calls"]),
];

/// Storage items, the number of their keys, and the fields of the record where it is one.
const STORAGE: &[(&str, &str, usize, &[&str])] = &[
    ("System", "Events", 0, &[]),
    ("System", "Account", 1, &["nonce", "consumers", "providers", "sufficients", "data"]),
    ("Session", "Validators", 0, &[]),
    ("Registration", "OwnerNodes", 1, &["lane", "deposit", "registered_at", "nodes"]),
    ("Registration", "CounterForOwnerNodes", 0, &[]),
    ("Registration", "Nodes", 1, &["owner", "node_type", "lane", "deposit", "registered_at"]),
    ("Registration", "NodeNonces", 1, &[]),
    ("Arion", "CurrentEpoch", 0, &[]),
    ("Arion", "KeptEpochs", 0, &[]),
    ("Arion", "EpochParams", 1, &["pg_count", "ec_k", "ec_m", "family_shards_max", "choose_tries"]),
    ("Arion", "EpochMiners", 1, &[]),
    ("Arion", "EpochRoot", 1, &[]),
    ("Arion", "MapVotes", 1, &["epoch", "root"]),
    ("Arion", "ChildRegistrations", 1, &["family", "node_id", "status", "deposit", "registered_at"]),
    ("Arion", "NodeIdToChild", 1, &[]),
    ("Arion", "NodeIdNonce", 1, &[]),
    ("Arion", "GlobalNextDeposit", 0, &[]),
    ("Arion", "LastPaidRegistration", 0, &[]),
    ("Arion", "BaseDeposit", 0, &[]),
    ("Arion", "LockupEnabled", 0, &[]),
    ("Arion", "FreeSlotUsed", 1, &[]),
    ("Arion", "TotalActiveChildren", 0, &[]),
    ("Arion", "AttestationsByBucket", 1, &[]),
    ("Arion", "AuditCountsByChild", 1, &["passed", "failed", "timeouts", "invalid_proofs", "last_block"]),
    ("Arion", "WardenConflicts", 1, &["reporter", "reported_at", "shard_hash", "miner_uid", "block_number"]),
    (
        "Arion",
        "EpochAttestationCommitments",
        1,
        &[
            "arion_content_hash",
            "attestation_merkle_root",
            "warden_pubkey_merkle_root",
            "attestation_count",
            "submitter",
            "submitted_at",
        ],
    ),
    ("Arion", "Maintenances", 1, &["from", "until", "period_start", "announced"]),
    ("Arion", "NodeWeightByChild", 1, &[]),
    (
        "Arion",
        "NodeQualityByChild",
        1,
        &["shard_data_bytes", "bandwidth_bytes", "uptime_permille", "strikes", "integrity_fails"],
    ),
    ("Arion", "EpochStarts", 0, &[]),
    ("Arion", "RegisteredWardens", 1, &["registered_at"]),
    ("Arion", "CounterForRegisteredWardens", 0, &[]),
    ("Marketplace", "Ledgers", 1, &["anchor", "commits"]),
    ("Marketplace", "LedgerAnchors", 2, &["sequence", "root", "bytes", "anchored_at"]),
    ("Marketplace", "BilledBytes", 1, &[]),
    (
        "Marketplace",
        "Agreements",
        1,
        &["opened_at", "gateways", "bytes", "index", "remainder", "charged", "debt", "accrued_at", "status"],
    ),
];

/// Constants.
const CONSTANTS: &[(&str, &str)] = &[
    ("Arion", "AttestationBucketBlocks"),
    ("Arion", "MaxAttestations"),
    ("Arion", "WeightBucketBlocks"),
    ("Arion", "BaseChildDeposit"),
    ("Arion", "GlobalDepositHalvingPeriodBlocks"),
    ("Marketplace", "MaxUsageUpdates"),
    ("Marketplace", "BlocksPerHour"),
    ("Marketplace", "RunwayBlocks"),
];

/// The runtime of the node is not the one this program was written for.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InterfaceError {
    /// These parts are missing or differ.
    #[error("the node's runtime lacks what this program needs: {}; update the node or this program", .0.join(", "))]
    Mismatch(Vec<String>),
    /// A call, storage item, constant or variant looked up later is not there.
    #[error("the node's runtime has no {0}; update the node or this program")]
    Missing(String),
    /// The metadata does not decode.
    #[error("the node's metadata does not decode")]
    Metadata,
}

fn missing(what: impl Into<String>) -> InterfaceError {
    InterfaceError::Missing(what.into())
}

/// How a key is hashed into a storage key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum KeyHasher {
    Blake2_128Concat,
    Twox64Concat,
    Identity,
}

impl KeyHasher {
    fn hash_into(self, key: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Blake2_128Concat => out.extend_from_slice(&Blake2b::<U16>::digest(key)),
            Self::Twox64Concat => out.extend_from_slice(&twox64(0, key)),
            Self::Identity => {}
        }
        out.extend_from_slice(key);
    }

    fn hash_len(self) -> usize {
        match self {
            Self::Blake2_128Concat => 16,
            Self::Twox64Concat => 8,
            Self::Identity => 0,
        }
    }
}

fn twox64(seed: u64, bytes: &[u8]) -> [u8; 8] {
    twox_hash::XxHash64::oneshot(seed, bytes).to_le_bytes()
}

fn twox128(bytes: &[u8]) -> [u8; 16] {
    let mut hash = [0; 16];
    hash[..8].copy_from_slice(&twox64(0, bytes));
    hash[8..].copy_from_slice(&twox64(1, bytes));
    hash
}

/// Names and shapes of one version of the runtime.
#[derive(Clone)]
pub struct Interface {
    metadata: Arc<Metadata>,
}

impl Interface {
    /// From metadata as `state_getMetadata` returns it; everything this crate uses must be there.
    pub fn new(metadata_bytes: &[u8]) -> Result<Self, InterfaceError> {
        let metadata = Metadata::decode_from(metadata_bytes).map_err(|_| InterfaceError::Metadata)?;
        let interface = Self { metadata: Arc::new(metadata) };
        let mut lacking = interface.lacking();
        if lacking.is_empty() {
            let unfit = Call::samples().into_iter().filter(|call| !interface.fits(call));
            lacking
                .extend(unfit.map(|call| format!("call {}.{} with other arguments", call.pallet, call.name)));
        }
        if lacking.is_empty() { Ok(interface) } else { Err(InterfaceError::Mismatch(lacking)) }
    }

    pub(crate) fn metadata(&self) -> &Arc<Metadata> {
        &self.metadata
    }

    fn lacking(&self) -> Vec<String> {
        let mut lacking = Vec::new();
        for (pallet, call, args) in CALLS {
            let found = self.metadata.pallet_by_name(pallet).and_then(|p| p.call_variant_by_name(call));
            match found.map(|variant| field_names(&variant.fields)) {
                None => lacking.push(format!("call {pallet}.{call}")),
                Some(names) if names != *args => {
                    lacking.push(format!(
                        "call {pallet}.{call}({}), has ({})",
                        args.join(", "),
                        names.join(", ")
                    ));
                }
                Some(_) => {}
            }
        }
        for (pallet, item, keys, fields) in STORAGE {
            let entry = self.metadata.pallet_by_name(pallet).and_then(|p| p.storage()?.entry_by_name(item));
            let Some(entry) = entry else {
                lacking.push(format!("storage {pallet}.{item}"));
                continue;
            };
            if entry.keys().len() != *keys {
                lacking.push(format!("storage {pallet}.{item} with {keys} keys"));
            }
            let names = self.record_fields(entry.value_ty());
            if !fields.is_empty() && names != *fields {
                let (want, have) = (fields.join(", "), names.join(", "));
                lacking.push(format!("storage {pallet}.{item} of ({want}), has ({have})"));
            }
        }
        for (pallet, name) in CONSTANTS {
            if self.constant(pallet, name).is_err() {
                lacking.push(format!("constant {pallet}.{name}"));
            }
        }
        lacking
    }

    /// Whether the call's arguments are exactly values of the types that the runtime gives them.
    fn fits(&self, call: &Call) -> bool {
        let found = self.metadata.pallet_by_name(call.pallet).and_then(|p| p.call_variant_by_name(call.name));
        let (Some(variant), Ok(bytes)) = (found, call.encode_args(self)) else { return false };
        let mut rest = &bytes[..];
        let decodes = |field: &Field<PortableForm>| {
            scale_value::scale::decode_as_type(&mut rest, field.ty.id, self.metadata.types()).is_ok()
        };
        variant.fields.iter().all(decodes) && rest.is_empty()
    }

    /// Field names of a record type; empty for other types.
    fn record_fields(&self, type_id: u32) -> Vec<String> {
        match self.metadata.types().resolve(type_id).map(|ty| &ty.type_def) {
            Some(TypeDef::Composite(record)) => field_names(&record.fields),
            _ => Vec::new(),
        }
    }

    /// Indices of a call.
    pub(crate) fn call_index(&self, pallet: &str, call: &str) -> Result<(u8, u8), InterfaceError> {
        let found = self.metadata.pallet_by_name(pallet);
        let variant = found.and_then(|p| Some((p.call_index(), p.call_variant_by_name(call)?.index)));
        variant.ok_or_else(|| missing(format!("call {pallet}.{call}")))
    }

    /// Index of a variant without fields of the enum that is a call's argument.
    pub(crate) fn arg_variant(
        &self,
        pallet: &str,
        call: &str,
        position: usize,
        variant: &str,
    ) -> Result<u8, InterfaceError> {
        let index = || {
            let call = self.metadata.pallet_by_name(pallet)?.call_variant_by_name(call)?;
            let type_id = call.fields.get(position)?.ty.id;
            match &self.metadata.types().resolve(type_id)?.type_def {
                TypeDef::Variant(variants) => variants
                    .variants
                    .iter()
                    .find(|v| v.name == variant && v.fields.is_empty())
                    .map(|v| v.index),
                _ => None,
            }
        };
        index().ok_or_else(|| missing(format!("{variant} among the values of {pallet}.{call}")))
    }

    /// SCALE bytes of a constant.
    pub(crate) fn constant(&self, pallet: &str, name: &str) -> Result<&[u8], InterfaceError> {
        let constant = self.metadata.pallet_by_name(pallet).and_then(|p| p.constant_by_name(name));
        constant.map(|constant| constant.value()).ok_or_else(|| missing(format!("constant {pallet}.{name}")))
    }

    fn entry(&self, pallet: &str, item: &str) -> Result<(&str, &StorageEntryMetadata), InterfaceError> {
        let storage = self.metadata.pallet_by_name(pallet).and_then(|p| p.storage());
        storage
            .and_then(|storage| Some((storage.prefix(), storage.entry_by_name(item)?)))
            .ok_or_else(|| missing(format!("storage {pallet}.{item}")))
    }

    /// Type of the value of a storage item.
    pub(crate) fn value_type(&self, pallet: &str, item: &str) -> Result<u32, InterfaceError> {
        Ok(self.entry(pallet, item)?.1.value_ty())
    }

    /// Storage key of an item without keys, or the prefix of a map.
    pub(crate) fn prefix(&self, pallet: &str, item: &str) -> Result<Vec<u8>, InterfaceError> {
        let (prefix, entry) = self.entry(pallet, item)?;
        Ok([twox128(prefix.as_bytes()), twox128(entry.name().as_bytes())].concat())
    }

    /// Storage key of an entry of a map with one key, which is given in SCALE.
    pub(crate) fn map_key(&self, pallet: &str, item: &str, key: &[u8]) -> Result<Vec<u8>, InterfaceError> {
        let mut bytes = self.prefix(pallet, item)?;
        self.hasher(pallet, item)?.hash_into(key, &mut bytes);
        Ok(bytes)
    }

    /// Number of bytes in front of the key itself in a map's storage keys.
    pub(crate) fn map_key_offset(&self, pallet: &str, item: &str) -> Result<usize, InterfaceError> {
        Ok(32 + self.hasher(pallet, item)?.hash_len())
    }

    fn hasher(&self, pallet: &str, item: &str) -> Result<KeyHasher, InterfaceError> {
        let (_, entry) = self.entry(pallet, item)?;
        match entry.keys().next().map(|key| key.hasher) {
            Some(StorageHasher::Blake2_128Concat) => Ok(KeyHasher::Blake2_128Concat),
            Some(StorageHasher::Twox64Concat) => Ok(KeyHasher::Twox64Concat),
            Some(StorageHasher::Identity) => Ok(KeyHasher::Identity),
            _ => Err(missing(format!("storage map {pallet}.{item} that can be listed"))),
        }
    }
}

fn field_names(fields: &[Field<PortableForm>]) -> Vec<String> {
    fields.iter().map(|field| field.name.clone().unwrap_or_default()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storage_hashes_are_those_of_substrate() {
        assert_eq!(hex::encode(twox128(b"System")), "26aa394eea5630e07c48ae0c9558cef7");
        assert_eq!(hex::encode(twox128(b"Events")), "80d41e5e16056765bc8461851072c9d7");
        assert_eq!(hex::encode(twox128(b"Account")), "b99d880ec681799c0cf30e8886371da9");
        let alice = crate::Account::from_secret("//Alice").unwrap().id();
        let mut key = Vec::new();
        KeyHasher::Blake2_128Concat.hash_into(&alice, &mut key);
        assert_eq!(hex::encode(&key[..16]), "de1e86a9a8c739864cf3cc5ec2bea59f");
        assert_eq!(key[16..], alice);
    }

    #[test]
    fn metadata_of_something_else_is_refused() {
        assert_eq!(Interface::new(b"not metadata").err(), Some(InterfaceError::Metadata));
    }
}
