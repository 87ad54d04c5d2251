//! Who else holds shards: repair brings them to miners that a newer map names, and who is not needed any more is released
//! (`super::surplus`).
//!
//! # Invariants
//! - A miner that has signed for a shard has one line in the ledger for it, however often it is told, until it is released.
//! - Whoever was told of is told of the deletion: the row goes when that is done.
//! - Who was released is in `RELEASES` until it says that it has deleted the shard, or has signed for it again.

use arion_protocol::LedgerRecord;
use arion_types::{NodeId, Receipt, ShardHash, SignedReceipt, StripeId};
use codec::{Decode, DecodeAll, Encode};

use super::{
    Hash, MISSING, Meta, MetaError, PlaceKey, ReadTransaction, ReadableTable, ShardPlace, Table,
    TableDefinition, ledger, receipts, stripes, unconfirmed,
};

/// Address and position of a shard that was brought elsewhere - SCALE list of [`Holder`].
pub(super) const MOVED: TableDefinition<PlaceKey, &[u8]> = TableDefinition::new("moved");
/// Miner and shard that it was released from - SCALE [`ReleaseRow`].
pub(super) const RELEASES: TableDefinition<(Hash, Hash), &[u8]> = TableDefinition::new("releases");

/// A miner that has signed for a shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub(super) struct Holder {
    /// The miner.
    pub(super) node: NodeId,
    /// Its line in the ledger; 0 in rows of before lines were noted.
    pub(super) line: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
struct ReleaseRow {
    stripe: StripeId,
    index: u8,
    queued_ms: u64,
}

/// A miner that was released from a shard and may still have it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Release {
    /// The miner.
    pub node: NodeId,
    /// The shard.
    pub shard: ShardHash,
    /// Its stripe.
    pub stripe: StripeId,
    /// Its position.
    pub index: u8,
    /// When it was released, milliseconds since the Unix epoch.
    pub queued_ms: u64,
}

impl Release {
    fn key(&self) -> (Hash, Hash) {
        (self.node.0, self.shard.0)
    }
}

/// The two forms of a row have different lengths for any number of miners.
fn holders(bytes: &[u8]) -> Result<Vec<Holder>, MetaError> {
    Vec::<Holder>::decode_all(&mut &*bytes).or_else(|_| {
        let nodes = Vec::<NodeId>::decode_all(&mut &*bytes).map_err(|_| MetaError::Row("moved"))?;
        Ok(nodes.into_iter().map(|node| Holder { node, line: 0 }).collect())
    })
}

/// The miners that have signed for a shard that was brought elsewhere; none if it was not.
pub(super) fn holders_of(
    moved: &impl ReadableTable<PlaceKey, &'static [u8]>,
    place: PlaceKey,
) -> Result<Option<Vec<Holder>>, MetaError> {
    moved.get(place)?.map(|row| holders(row.value())).transpose()
}

/// Whether the receipt in a line is of a miner that was not released since.
pub(super) fn is_held(
    transaction: &ReadTransaction,
    receipt: &Receipt,
    line: u64,
) -> Result<bool, MetaError> {
    let holders = holders_of(&transaction.open_table(MOVED)?, (receipt.shard.0, receipt.index))?;
    let is_it = |holder: &Holder| holder.node == receipt.node_id && [0, line].contains(&holder.line);
    Ok(holders.is_none_or(|holders| holders.iter().any(is_it)))
}

/// A miner does not hold a shard any more, as far as the ledger goes.
pub(super) fn let_go(
    moved: &mut Table<'_, PlaceKey, &'static [u8]>,
    place: PlaceKey,
    node: &NodeId,
) -> Result<(), MetaError> {
    let Some(mut left) = holders_of(moved, place)? else { return Ok(()) };
    left.retain(|holder| holder.node != *node);
    moved.insert(place, left.encode().as_slice())
}

/// A miner does not hold a shard any more by lines before this one; one that has signed for it since does.
pub(super) fn let_go_before(
    moved: &mut Table<'_, PlaceKey, &'static [u8]>,
    place: PlaceKey,
    node: &NodeId,
    line: u64,
) -> Result<(), MetaError> {
    let Some(mut left) = holders_of(moved, place)? else { return Ok(()) };
    let count = left.len();
    left.retain(|holder| holder.node != *node || holder.line == 0 || holder.line > line);
    if left.len() < count {
        moved.insert(place, left.encode().as_slice())?;
    }
    Ok(())
}

/// Notes that a miner holds a shard, perhaps besides others.
pub(super) fn also_held(
    moved: &mut Table<'_, PlaceKey, &'static [u8]>,
    place: PlaceKey,
    holder: Holder,
) -> Result<(), MetaError> {
    let mut known = holders_of(moved, place)?.unwrap_or_default();
    if known.iter().any(|other| other.node == holder.node) {
        return Ok(());
    }
    known.push(holder);
    moved.insert(place, known.encode().as_slice())
}

/// Notes that a miner was released and is to delete the shard.
pub(super) fn queue_release(
    releases: &mut Table<'_, (Hash, Hash), &'static [u8]>,
    release: &Release,
) -> Result<(), MetaError> {
    let Release { stripe, index, queued_ms, .. } = *release;
    releases.insert(release.key(), ReleaseRow { stripe, index, queued_ms }.encode().as_slice())
}

impl Meta {
    /// Enters receipts for shards of a stripe, which were checked, in the ledger, once each; whether the stripe is wanted.
    pub async fn relocated(&self, signed: Vec<SignedReceipt>) -> Result<bool, MetaError> {
        let unreadable = self.unreadable.clone();
        self.index_all_receipts().await?;
        self.write(move |transaction| {
            receipts::catch_up(transaction, &unreadable)?;
            for signed in signed {
                let receipt = &signed.receipt;
                if stripes::record_for_change(transaction, &receipt.stripe)?.is_none() {
                    return Ok(false);
                }
                let place = (receipt.shard.0, receipt.index);
                transaction.open_table(MISSING)?.remove(place)?;
                unconfirmed::signed_anew(transaction, receipt)?;
                let mut moved = transaction.open_table(MOVED)?;
                let mut known = match holders_of(&moved, place)? {
                    Some(known) => known,
                    None => receipts::newest(transaction, place)?.into_iter().collect(),
                };
                if known.iter().all(|holder| holder.node != receipt.node_id) {
                    let node = receipt.node_id;
                    transaction.open_table(RELEASES)?.remove((node.0, receipt.shard.0))?;
                    let before = ledger::append(transaction, [LedgerRecord::Stored(signed)])?;
                    known.push(Holder { node, line: before + 1 });
                    moved.insert(place, known.encode().as_slice())?;
                }
            }
            Ok(true)
        })
        .await
    }

    /// The miners that have signed for a shard that was brought elsewhere; none if it was not.
    pub async fn moved_to(&self, place: ShardPlace) -> Result<Vec<NodeId>, MetaError> {
        self.read(move |transaction| {
            let holders = holders_of(&transaction.open_table(MOVED)?, place.key())?.unwrap_or_default();
            Ok(holders.into_iter().map(|holder| holder.node).collect())
        })
        .await
    }

    /// Miners that were released and may still have their shard, behind `after`, in order of miner and shard; at most `limit`.
    pub async fn releases(&self, after: Option<Release>, limit: usize) -> Result<Vec<Release>, MetaError> {
        use std::ops::Bound::{Excluded, Unbounded};
        let unreadable = self.unreadable.clone();
        self.read(move |transaction| {
            let table = transaction.open_table(RELEASES)?;
            let from = after.map_or(Unbounded, |after| Excluded(after.key()));
            let mut found = Vec::new();
            for row in table.range::<(Hash, Hash)>((from, Unbounded))?.take(limit) {
                let (key, row) = row?;
                let (node, shard) = key.value();
                let row = ReleaseRow::decode_all(&mut row.value()).map_err(|_| MetaError::Row("releases"));
                let Some(row) = unreadable.readable(row, ShardHash(shard))? else { continue };
                let ReleaseRow { stripe, index, queued_ms } = row;
                found.push(Release { node: NodeId(node), shard: ShardHash(shard), stripe, index, queued_ms });
            }
            Ok(found)
        })
        .await
    }

    /// These have deleted it, or are not waited for any longer.
    pub async fn releases_done(&self, done: Vec<Release>) -> Result<(), MetaError> {
        self.write(move |transaction| {
            let mut table = transaction.open_table(RELEASES)?;
            done.iter().try_for_each(|release| table.remove(release.key()))
        })
        .await
    }

    /// How many there are.
    pub async fn releases_len(&self) -> Result<u64, MetaError> {
        self.read(|transaction| transaction.open_table(RELEASES)?.len()).await
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            stripes::tests::{receipt, record},
            tests::Engine,
        },
        *,
    };

    fn by(signed: SignedReceipt, miner: u8, epoch: u64) -> SignedReceipt {
        let mut signed = signed;
        (signed.receipt.node_id, signed.receipt.epoch) = (NodeId([miner; 32]), epoch);
        signed
    }

    #[tokio::test]
    async fn a_miner_has_one_line_and_missing_shards_are_there() {
        for engine in Engine::each() {
            let meta = engine.open();
            let stripe = record(3);
            let moved = |index, miner| by(receipt(&stripe, index), miner, 2);
            assert!(!meta.relocated(vec![moved(0, 90)]).await.unwrap(), "nobody wants the stripe");
            meta.begin_stripe(stripe.id(), stripe.clone()).await.unwrap();
            meta.stripe_stored(stripe.id(), (0..20).map(|index| receipt(&stripe, index)).collect(), 0)
                .await
                .unwrap();
            for _ in 0..2 {
                assert!(meta.relocated(vec![moved(0, 90), moved(25, 91)]).await.unwrap());
                assert_eq!(meta.ledger_len().await.unwrap(), 22);
                assert_eq!(meta.backlog().await.unwrap(), (9, 0));
            }
            // Back to the first one, on whose disk it may have been lost meanwhile.
            assert!(meta.relocated(vec![moved(0, 0), moved(25, 91)]).await.unwrap());
            assert_eq!(meta.ledger_len().await.unwrap(), 22);
            let place = |index: u8| ShardPlace { shard: stripe.hashes[usize::from(index)], index };
            let nodes = |index| meta.moved_to(place(index));
            assert_eq!(nodes(0).await.unwrap(), [NodeId([0; 32]), NodeId([90; 32])]);
            assert_eq!(nodes(25).await.unwrap(), [NodeId([91; 32])]);
            assert_eq!(nodes(1).await.unwrap(), []);

            // The deletion: 21 shards have receipts, 9 never had one.
            meta.discard_stripes(vec![stripe.id()], 5).await.unwrap();
            assert_eq!((meta.ledger_len().await.unwrap(), meta.backlog().await.unwrap()), (22 + 21, (0, 30)));
            assert!(!meta.relocated(vec![moved(1, 92)]).await.unwrap());
            meta.deletes_tried(vec![(place(0), None)], u64::MAX, 6).await.unwrap();
            assert_eq!((nodes(0).await.unwrap(), nodes(25).await.unwrap()), (vec![], vec![NodeId([91; 32])]));
        }
    }

    /// Rows as they were written before lines were noted.
    #[test]
    fn rows_of_both_forms_are_read() {
        for count in 0..40u8 {
            let nodes: Vec<NodeId> = (0..count).map(|n| NodeId([n; 32])).collect();
            let of = |line: u64| nodes.iter().map(|node| Holder { node: *node, line }).collect::<Vec<_>>();
            assert_eq!(holders(&nodes.encode()).unwrap(), of(0));
            assert_eq!(holders(&of(7).encode()).unwrap(), of(7));
        }
        assert!(holders(&[0xff]).is_err());
    }

    /// A crash before anything was stored: what no line brought needs no line that takes it away.
    #[tokio::test]
    async fn a_stripe_without_receipts_leaves_no_tombstones() {
        for engine in Engine::each() {
            let meta = engine.open();
            let stripe = record(4);
            meta.begin_stripe(stripe.id(), stripe.clone()).await.unwrap();
            meta.discard_stripes(vec![stripe.id()], 5).await.unwrap();
            assert_eq!((meta.ledger_len().await.unwrap(), meta.backlog().await.unwrap()), (0, (0, 30)));
        }
    }
}
