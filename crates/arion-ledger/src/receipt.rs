//! Whether a receipt in a ledger counts.
//!
//! # Invariants
//! - A receipt counts only with its miner's signature for this chain, and only for the place that the map of its
//!   epoch gives its shard: nobody is accused of, or praised for, a shard that was not theirs to store.

use std::collections::{BTreeMap, btree_map::Entry};

use arion_chain::{ChainView, Snapshot};
use arion_types::{
    Epoch, GenesisHash, NodeId, PgId, SignedReceipt, Uid, stripe::placement_group, units::SHARD_BYTES_MAX,
};

/// Why a receipt is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReceiptFault {
    /// Its epoch is not known yet; it is looked at again later.
    #[error("the epoch is not on the finalised chain yet")]
    EpochAhead,
    /// The chain no longer keeps the map of its epoch.
    #[error("the chain keeps no map of the epoch")]
    EpochGone,
    /// The map of its epoch cannot be placed with.
    #[error("the map of the epoch places nothing")]
    Unplaceable,
    /// No shard has this size.
    #[error("no shard has this size")]
    Size,
    /// The placement group is not that of the stripe.
    #[error("the placement group is not that of the stripe")]
    Group,
    /// The map gives this position to another miner.
    #[error("the map places this shard elsewhere")]
    Misplaced,
    /// The miner did not sign it for this chain.
    #[error("the signature does not verify for this chain")]
    BadSignature,
}

/// Checks receipts against the maps of the chain.
pub struct ReceiptChecker {
    view: ChainView,
    maps: BTreeMap<Epoch, crush::Map>,
    /// The last placement, as the receipts of a stripe come together.
    placed: Option<(Epoch, PgId, Vec<Option<Uid>>)>,
}

impl ReceiptChecker {
    /// For the chain of the view.
    pub fn new(view: ChainView) -> Self {
        Self { view, maps: BTreeMap::new(), placed: None }
    }

    /// Hash of block 0 of the chain.
    pub fn genesis(&self) -> GenesisHash {
        self.view.genesis()
    }

    /// Checks a receipt, cheapest checks first.
    pub fn check(&mut self, signed: &SignedReceipt) -> Result<(), ReceiptFault> {
        let receipt = &signed.receipt;
        let snapshot = self.view.snapshot();
        if receipt.epoch > snapshot.epoch() {
            return Err(ReceiptFault::EpochAhead);
        }
        let map = snapshot.map(receipt.epoch).ok_or(ReceiptFault::EpochGone)?;
        if receipt.size == 0 || receipt.size > SHARD_BYTES_MAX {
            return Err(ReceiptFault::Size);
        }
        if receipt.pg != placement_group(&receipt.stripe, map.params.pg_count) {
            return Err(ReceiptFault::Group);
        }
        let placed = self.placement(&snapshot, receipt.epoch, receipt.pg)?;
        let uid = placed.get(usize::from(receipt.index)).copied().flatten();
        let miner = uid.and_then(|uid| map.miner(uid));
        if miner.is_none_or(|miner| miner.node_id != receipt.node_id.0) {
            return Err(ReceiptFault::Misplaced);
        }
        match signed.verify(&self.view.genesis()) {
            true => Ok(()),
            false => Err(ReceiptFault::BadSignature),
        }
    }

    /// Whether the miner that a receipt names signed it for this chain, wherever its shard belonged.
    pub fn is_signed(&self, signed: &SignedReceipt) -> bool {
        signed.verify(&self.view.genesis())
    }

    /// Whether a map that the chain keeps has this miner.
    pub fn is_miner(&self, node: &NodeId) -> bool {
        self.view.snapshot().maps().any(|map| map.miner_by_node(node).is_some())
    }

    fn placement(
        &mut self,
        snapshot: &Snapshot,
        epoch: Epoch,
        pg: PgId,
    ) -> Result<&[Option<Uid>], ReceiptFault> {
        if self.placed.as_ref().is_none_or(|(e, p, _)| (*e, *p) != (epoch, pg)) {
            self.maps.retain(|epoch, _| snapshot.map(*epoch).is_some());
            let map = match self.maps.entry(epoch) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(unknown) => {
                    let map = snapshot.map(epoch).ok_or(ReceiptFault::EpochGone)?;
                    let built = crush::Map::from_records(&map.params, &map.miners);
                    unknown.insert(built.map_err(|_| ReceiptFault::Unplaceable)?)
                }
            };
            self.placed = Some((epoch, pg, map.place_vec(pg)));
        }
        self.placed.as_ref().map(|(_, _, uids)| uids.as_slice()).ok_or(ReceiptFault::Unplaceable)
    }
}
