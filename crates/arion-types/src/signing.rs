//! Ed25519 signing and strict verification, for everything outside the runtime.

#[cfg(feature = "simulation")]
mod memo;

use ed25519_dalek::{Signer, SigningKey, VerifyingKey};

use crate::{
    attestation::AttestationRecord,
    ids::{GenesisHash, NodeId, Signature},
    receipt::{Receipt, SignedReceipt},
};

/// Signs `message`.
pub fn sign(key: &SigningKey, message: &[u8]) -> Signature {
    let signature = key.sign(message).to_bytes();
    #[cfg(feature = "simulation")]
    memo::holds(&node_id(key).0, message, &signature);
    signature
}

/// Whether `signature` by `signer` over `message` holds (RFC 8032, strict: no small-order keys).
pub fn verify(signer: &[u8; 32], message: &[u8], signature: &Signature) -> bool {
    #[cfg(feature = "simulation")]
    if memo::is_known(signer, message, signature) {
        return true;
    }
    let sealed = ed25519_dalek::Signature::from_bytes(signature);
    let holds = VerifyingKey::from_bytes(signer).is_ok_and(|key| key.verify_strict(message, &sealed).is_ok());
    #[cfg(feature = "simulation")]
    if holds {
        memo::holds(signer, message, signature);
    }
    holds
}

/// The node id of a key.
pub fn node_id(key: &SigningKey) -> NodeId {
    NodeId(key.verifying_key().to_bytes())
}

impl AttestationRecord {
    /// Fills `warden_pubkey` and `signature` from `key`.
    pub fn sign(&mut self, genesis: &GenesisHash, key: &SigningKey) {
        self.warden_pubkey = node_id(key).0;
        self.signature = sign(key, &self.message(genesis));
    }

    /// Whether the signature holds; says nothing about whether the warden is registered.
    pub fn verify(&self, genesis: &GenesisHash) -> bool {
        verify(&self.warden_pubkey, &self.message(genesis), &self.signature)
    }
}

impl Receipt {
    /// Signs the receipt with the miner's key, which must be the one of `node_id`.
    pub fn sign(self, genesis: &GenesisHash, key: &SigningKey) -> SignedReceipt {
        SignedReceipt { signature: sign(key, &self.message(genesis)), receipt: self }
    }
}

impl SignedReceipt {
    /// Whether the miner named in the receipt signed it for this chain.
    pub fn verify(&self, genesis: &GenesisHash) -> bool {
        verify(&self.receipt.node_id.0, &self.receipt.message(genesis), &self.signature)
    }
}
