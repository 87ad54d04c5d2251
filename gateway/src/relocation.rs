//! What validator services say about where shards are now, before it is entered in the ledger.
//!
//! # Invariants
//! - Only a registered validator service is listened to, and it is believed nothing: every receipt is the word of the miner that the map
//!   of its epoch names, about a shard of a stripe of this gateway.

use arion_chain::Snapshot;
use arion_protocol::ErrorCode;
use arion_types::{GenesisHash, NodeId, SignedReceipt, StripeId};

use crate::{manifest::StripeRecord, placement::Maps};

/// Why receipts are not entered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RelocationFault {
    /// Who sent them may not.
    #[error("this is for registered validator services")]
    Unauthorized,
    /// There are none, or they are of several stripes.
    #[error("send receipts of one stripe, at least one")]
    Stripes,
    /// One is of something that is not in the stripe.
    #[error("a receipt is of another shard, size or position than the stripe has")]
    Shard,
    /// The map of an epoch is not known.
    #[error("this gateway does not know the map of that epoch")]
    UnknownMap,
    /// The map names another miner.
    #[error("the map of that epoch places a shard elsewhere")]
    Misplaced,
    /// A miner did not sign.
    #[error("the signature of a receipt does not verify for this chain")]
    BadSignature,
}

impl From<RelocationFault> for ErrorCode {
    fn from(fault: RelocationFault) -> Self {
        match fault {
            RelocationFault::Unauthorized => Self::Unauthorized,
            RelocationFault::Stripes | RelocationFault::Shard => Self::Malformed,
            RelocationFault::UnknownMap => Self::Unavailable,
            RelocationFault::Misplaced => Self::Misplaced,
            RelocationFault::BadSignature => Self::BadSignature,
        }
    }
}

/// The stripe that receipts are of, if the sender may speak of it.
pub fn stripe_of(
    snapshot: &Snapshot,
    peer: &NodeId,
    receipts: &[SignedReceipt],
) -> Result<StripeId, RelocationFault> {
    if !snapshot.registry.validators.contains(peer) {
        return Err(RelocationFault::Unauthorized);
    }
    let mut stripes = receipts.iter().map(|signed| signed.receipt.stripe);
    let first = stripes.next().ok_or(RelocationFault::Stripes)?;
    match stripes.all(|stripe| stripe == first) {
        true => Ok(first),
        false => Err(RelocationFault::Stripes),
    }
}

/// Checks receipts against the stripe that they are of, cheapest checks first.
pub fn check(
    record: &StripeRecord,
    maps: &Maps,
    genesis: &GenesisHash,
    receipts: &[SignedReceipt],
) -> Result<(), RelocationFault> {
    let id = record.id();
    for signed in receipts {
        let receipt = &signed.receipt;
        let index = usize::from(receipt.index);
        if record.hashes.get(index) != Some(&receipt.shard) || record.shard_len != receipt.size {
            return Err(RelocationFault::Shard);
        }
        let map = maps.of(receipt.epoch).ok_or(RelocationFault::UnknownMap)?;
        let places = map.place(&id);
        let named = places.get(index).copied().flatten().map(|miner| NodeId(miner.node_id));
        if receipt.pg != map.group(&id) || named != Some(receipt.node_id) {
            return Err(RelocationFault::Misplaced);
        }
        if !signed.verify(genesis) {
            return Err(RelocationFault::BadSignature);
        }
    }
    Ok(())
}
