//! The live stripes, with what was signed for in each.
//!
//! # Invariants
//! - What the ledger of one gateway says of a stripe is never mixed with what that of another says: neither can be checked before all
//!   shards are known, and one of them may be a lie.
//! - In the ledger of one gateway, all that have signed for a position have signed for the same shard.

use arion_types::{Epoch, NodeId, Receipt, ShardHash, StripeId};
use codec::{Decode, DecodeAll, Encode};
use redb::{ReadableDatabase, ReadableTable, Table, TableDefinition, TableHandle, WriteTransaction};

use super::{Holdings, Id, StoreError, claims::CLAIMS};

/// Stripe, gateway - SCALE [`StripeRow`].
pub(super) const STRIPES: TableDefinition<(Id, Id), &[u8]> = TableDefinition::new("ledger-stripes");
/// Of the layout in which all gateways shared a row: stripe - SCALE [`SharedRow`].
pub(super) const BEFORE_GATEWAYS: TableDefinition<Id, &[u8]> = TableDefinition::new("stripes");

/// A stripe in the ledger of a gateway.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct StripeRef {
    /// Its identity.
    pub id: StripeId,
    /// The gateway.
    pub gateway: NodeId,
}

impl StripeRef {
    fn row(&self) -> (Id, Id) {
        (self.id.0, self.gateway.0)
    }
}

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
    /// In order of position.
    places: Vec<Place>,
}

#[derive(Encode, Decode)]
struct SharedRow {
    size: u32,
    gateways: Vec<NodeId>,
    places: Vec<Place>,
}

/// A stripe that a gateway wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stripe {
    /// Its identity.
    pub id: StripeId,
    /// The gateway in whose ledger it is.
    pub gateway: NodeId,
    /// Length of each of its shards in bytes.
    pub size: u32,
    /// Who has signed for what, in order of position. All of one position are of the same shard.
    pub places: Vec<Place>,
}

impl Stripe {
    /// One that cannot be read has neither size nor places.
    fn of((id, gateway): (Id, Id), row: Option<StripeRow>) -> Self {
        let StripeRow { size, places } = row.unwrap_or(StripeRow { size: 0, places: Vec::new() });
        Self { id: StripeId(id), gateway: NodeId(gateway), size, places }
    }

    /// Which one it is.
    pub fn key(&self) -> StripeRef {
        StripeRef { id: self.id, gateway: self.gateway }
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

/// A receipt. What contradicts an earlier one in the same ledger about the stripe is not taken.
pub(super) fn stored(
    stripes: &mut Table<'_, (Id, Id), &'static [u8]>,
    gateway: &NodeId,
    receipt: &Receipt,
) -> Result<(), StoreError> {
    let key = (receipt.stripe.0, gateway.0);
    let before = stripes.get(key)?.and_then(|bytes| row(bytes.value()));
    let empty = StripeRow { size: receipt.size, places: Vec::new() };
    let mut after = before.clone().unwrap_or(empty);
    let place =
        Place { index: receipt.index, shard: receipt.shard, node: receipt.node_id, epoch: receipt.epoch };
    let contradicts = after.size != receipt.size
        || after.places.iter().any(|known| known.index == place.index && known.shard != place.shard);
    if contradicts {
        tracing::warn!(stripe = %receipt.stripe, index = receipt.index, %gateway, "receipts contradict each other");
        return Ok(());
    }
    match after.places.iter_mut().find(|known| (known.index, known.node) == (place.index, place.node)) {
        Some(known) => known.epoch = known.epoch.max(place.epoch),
        None => {
            let at = after.places.partition_point(|known| known.index <= place.index);
            after.places.insert(at, place);
        }
    }
    if before.as_ref() != Some(&after) {
        stripes.insert(key, after.encode().as_slice())?;
    }
    Ok(())
}

/// A gateway does not want a miner's shard any more; whether it wants anything of the stripe.
pub(super) fn deleted(
    stripes: &mut Table<'_, (Id, Id), &'static [u8]>,
    stripe: &StripeRef,
    shard: &ShardHash,
    node: &NodeId,
) -> Result<bool, StoreError> {
    let key = stripe.row();
    let Some(mut after) = stripes.get(key)?.and_then(|bytes| row(bytes.value())) else { return Ok(true) };
    after.places.retain(|place| (&place.shard, &place.node) != (shard, node));
    let is_wanted = !after.places.is_empty();
    match is_wanted {
        true => stripes.insert(key, after.encode().as_slice())?.map(drop),
        false => stripes.remove(key)?.map(drop),
    };
    Ok(is_wanted)
}

/// Whether a gateway wants a stripe of which the miner of a receipt has not signed for that position in its ledger.
pub(super) fn lacks(
    stripes: &impl ReadableTable<(Id, Id), &'static [u8]>,
    gateway: &NodeId,
    receipt: &Receipt,
) -> Result<bool, StoreError> {
    let found = stripes.get((receipt.stripe.0, gateway.0))?;
    let Some(known) = found.and_then(|bytes| row(bytes.value())) else { return Ok(false) };
    let is_it = |place: &Place| (place.index, place.node) == (receipt.index, receipt.node_id);
    Ok(!known.places.iter().any(is_it))
}

/// Takes over the layout in which all gateways shared a row: each has what it has a claim on.
pub(super) fn convert(transaction: &WriteTransaction) -> Result<(), StoreError> {
    if !transaction.list_tables()?.any(|table| table.name() == BEFORE_GATEWAYS.name()) {
        return Ok(());
    }
    {
        let (claims, before) = (transaction.open_table(CLAIMS)?, transaction.open_table(BEFORE_GATEWAYS)?);
        let mut stripes = transaction.open_table(STRIPES)?;
        for entry in before.iter()? {
            let (id, bytes) = entry?;
            // One that cannot be read comes again with the ledger, when its file is made anew.
            let Ok(SharedRow { size, gateways, places }) = SharedRow::decode_all(&mut bytes.value()) else {
                continue;
            };
            for gateway in gateways {
                let mut of_gateway = StripeRow { size, places: Vec::new() };
                for place in &places {
                    if claims.get((place.shard.0, place.node.0, gateway.0))?.is_some() {
                        of_gateway.places.push(*place);
                    }
                }
                if !of_gateway.places.is_empty() {
                    stripes.insert((id.value(), gateway.0), of_gateway.encode().as_slice())?;
                }
            }
        }
    }
    transaction.delete_table(BEFORE_GATEWAYS)?;
    Ok(())
}

impl Holdings {
    /// A stripe, if its gateway wants it.
    pub fn stripe(&self, stripe: &StripeRef) -> Result<Option<Stripe>, StoreError> {
        let table = self.database.begin_read()?.open_table(STRIPES)?;
        let found = table.get(stripe.row())?;
        Ok(found.and_then(|bytes| row(bytes.value())).map(|row| Stripe::of(stripe.row(), Some(row))))
    }

    /// Whether another gateway wants a stripe, too.
    pub(crate) fn is_shared(&self, stripe: &StripeRef) -> Result<bool, StoreError> {
        let table = self.database.begin_read()?.open_table(STRIPES)?;
        for entry in table.range((stripe.id.0, [0; 32])..=(stripe.id.0, [0xff; 32]))? {
            if entry?.0.value() != stripe.row() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The stripes behind `after`, in order of their ids and of the gateways, at most `limit`. Fewer means the end. Those that cannot
    /// be read are without places.
    pub fn stripes(&self, after: Option<StripeRef>, limit: usize) -> Result<Vec<Stripe>, StoreError> {
        use std::ops::Bound::{Excluded, Unbounded};
        let table = self.database.begin_read()?.open_table(STRIPES)?;
        let rows = match after {
            None => table.iter()?,
            Some(after) => table.range::<(Id, Id)>((Excluded(after.row()), Unbounded))?,
        };
        let read = rows.take(limit).map(|entry| {
            let (key, bytes) = entry?;
            Ok(Stripe::of(key.value(), row(bytes.value())))
        });
        read.collect()
    }
}
