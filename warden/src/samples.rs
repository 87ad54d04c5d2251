//! Attestations for tests.

use arion_types::{AttestationRecord, AttestationResult, NodeId};

/// A pass of a warden with the seed of that block, of shard and miner 1, unsigned.
pub(crate) fn record(warden: NodeId, block: u64) -> AttestationRecord {
    AttestationRecord {
        shard_hash: [1; 32],
        miner_uid: 1,
        result: AttestationResult::Passed,
        challenge_seed: [0; 32],
        block_number: block,
        timestamp: 0,
        warden_pubkey: warden.0,
        signature: [0; 64],
        merkle_proof_sig_hash: [0; 32],
        warden_id: Default::default(),
    }
}
