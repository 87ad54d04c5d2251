//! The live stripes, with what was signed for in each.

use arion_types::{Epoch, NodeId, Receipt, ShardHash, StripeId};
use codec::{Decode, DecodeAll, Encode};
use redb::{ReadableDatabase, ReadableTable, Table, TableDefinition};

use super::{Holdings, StoreError};

/// Stripe - SCALE [`StripeRow`].
pub(super) const STRIPES: TableDefinition<[u8; 32], &[u8]> = TableDefinition::new("stripes");
/// Gateways whose ledgers have a stripe: the one that wrote it, and those that took over its metadata.
const GATEWAYS_MAX: usize = 8;

/// A miner that has signed for a shard of a stripe.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Place {
    /// Position in the stripe.
    pub index: u8,
    /// The shard.
    pub shard: ShardHash,
    /// The miner.
    pub node: NodeId,
    /// Epoch of the map that placed it there.
    pub epoch: Epoch,
}

/// A row of the table.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub(super) struct StripeRow {
    /// Length of each shard in bytes.
    size: u32,
    gateways: Vec<NodeId>,
    /// In order of position.
    places: Vec<Place>,
}

/// A stripe that somebody wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stripe {
    /// Its identity.
    pub id: StripeId,
    /// Length of each of its shards in bytes.
    pub size: u32,
    /// The gateways in whose ledgers it is, the first first.
    pub gateways: Vec<NodeId>,
    /// Who has signed for what, in order of position. All of one position are of the same shard.
    pub places: Vec<Place>,
}

impl Stripe {
    fn of(id: [u8; 32], row: StripeRow) -> Self {
        let StripeRow { size, gateways, places } = row;
        Self { id: StripeId(id), size, gateways, places }
    }

    /// The miners that have signed for a position.
    pub fn holders(&self, index: u8) -> impl Iterator<Item = &Place> {
        self.places.iter().filter(move |place| place.index == index)
    }

    /// The shard at a position, if anybody has ever signed for it.
    pub fn shard(&self, index: u8) -> Option<ShardHash> {
        self.holders(index).next().map(|place| place.shard)
    }
}

fn row(bytes: &[u8]) -> Option<StripeRow> {
    StripeRow::decode_all(&mut &*bytes).ok()
}

/// A receipt. What contradicts an earlier one about the stripe is not taken.
pub(super) fn stored(
    stripes: &mut Table<'_, [u8; 32], &'static [u8]>,
    gateway: &NodeId,
    receipt: &Receipt,
) -> Result<(), StoreError> {
    let before = stripes.get(receipt.stripe.0)?.and_then(|bytes| row(bytes.value()));
    let empty = StripeRow { size: receipt.size, gateways: Vec::new(), places: Vec::new() };
    let mut after = before.clone().unwrap_or(empty);
    let place =
        Place { index: receipt.index, shard: receipt.shard, node: receipt.node_id, epoch: receipt.epoch };
    let contradicts = after.size != receipt.size
        || after.places.iter().any(|known| known.index == place.index && known.shard != place.shard);
    if contradicts {
        tracing::warn!(stripe = %receipt.stripe, index = receipt.index, %gateway, "receipts contradict each other");
        return Ok(());
    }
    if !after.gateways.contains(gateway) && after.gateways.len() < GATEWAYS_MAX {
        after.gateways.push(*gateway);
    }
    match after.places.iter_mut().find(|known| (known.index, known.node) == (place.index, place.node)) {
        Some(known) => known.epoch = known.epoch.max(place.epoch),
        None => {
            let at = after.places.partition_point(|known| known.index <= place.index);
            after.places.insert(at, place);
        }
    }
    if before.as_ref() != Some(&after) {
        stripes.insert(receipt.stripe.0, after.encode().as_slice())?;
    }
    Ok(())
}

/// A miner's shard is no longer wanted; whether anything of the stripe is.
pub(super) fn deleted(
    stripes: &mut Table<'_, [u8; 32], &'static [u8]>,
    stripe: &[u8; 32],
    shard: &ShardHash,
    node: &NodeId,
) -> Result<bool, StoreError> {
    let Some(mut after) = stripes.get(stripe)?.and_then(|bytes| row(bytes.value())) else { return Ok(true) };
    after.places.retain(|place| (&place.shard, &place.node) != (shard, node));
    let is_wanted = !after.places.is_empty();
    match is_wanted {
        true => stripes.insert(stripe, after.encode().as_slice())?.map(drop),
        false => stripes.remove(stripe)?.map(drop),
    };
    Ok(is_wanted)
}

/// Whether a stripe is wanted of which the miner of a receipt has not signed for that position.
pub(super) fn lacks(
    stripes: &impl ReadableTable<[u8; 32], &'static [u8]>,
    receipt: &Receipt,
) -> Result<bool, StoreError> {
    let Some(known) = stripes.get(receipt.stripe.0)?.and_then(|bytes| row(bytes.value())) else {
        return Ok(false);
    };
    let is_it = |place: &Place| (place.index, place.node) == (receipt.index, receipt.node_id);
    Ok(!known.places.iter().any(is_it))
}

/// A gateway has given up a shard of a stripe; `has` says of a place whether it still has that one.
pub(super) fn left(
    stripes: &mut Table<'_, [u8; 32], &'static [u8]>,
    stripe: &[u8; 32],
    gateway: &NodeId,
    has: impl Fn(&Place) -> Result<bool, StoreError>,
) -> Result<(), StoreError> {
    let Some(mut after) = stripes.get(stripe)?.and_then(|bytes| row(bytes.value())) else { return Ok(()) };
    // Usually the only one.
    if after.gateways.len() < 2 {
        return Ok(());
    }
    for place in &after.places {
        if has(place)? {
            return Ok(());
        }
    }
    after.gateways.retain(|of| of != gateway);
    stripes.insert(stripe, after.encode().as_slice())?;
    Ok(())
}

impl Holdings {
    /// A stripe, if it is wanted.
    pub fn stripe(&self, id: &StripeId) -> Result<Option<Stripe>, StoreError> {
        let table = self.database.begin_read()?.open_table(STRIPES)?;
        let found = table.get(id.0)?;
        Ok(found.and_then(|bytes| row(bytes.value())).map(|row| Stripe::of(id.0, row)))
    }

    /// The stripes behind `after`, in order of their ids, at most `limit`. Fewer means the end.
    pub fn stripes(&self, after: Option<StripeId>, limit: usize) -> Result<Vec<Stripe>, StoreError> {
        let table = self.database.begin_read()?.open_table(STRIPES)?;
        let rows = match after {
            None => table.iter()?,
            Some(StripeId(after)) => {
                use std::ops::Bound::{Excluded, Unbounded};
                table.range::<[u8; 32]>((Excluded(after), Unbounded))?
            }
        };
        let mut found = Vec::new();
        for entry in rows.take(limit) {
            let (id, bytes) = entry?;
            match row(bytes.value()) {
                Some(row) => found.push(Stripe::of(id.value(), row)),
                // A hole for the caller, who counts it; the others go on.
                None => found.push(Stripe {
                    id: StripeId(id.value()),
                    size: 0,
                    gateways: Vec::new(),
                    places: Vec::new(),
                }),
            }
        }
        Ok(found)
    }
}
