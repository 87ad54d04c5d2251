//! Who else holds shards: repair brings them to miners that a newer map names.
//!
//! # Invariants
//! - A miner that has signed for a shard has one line in the ledger for it, however often it is told.
//! - Whoever was told of is told of the deletion: the row goes when that is done.

use arion_protocol::LedgerRecord;
use arion_types::{NodeId, SignedReceipt};
use codec::{DecodeAll, Encode};

use super::{
    MISSING, Meta, MetaError, PlaceKey, ReadableTable, ShardPlace, TableDefinition, ledger, receipts, stripes,
};

/// Address and position of a shard that was brought elsewhere - SCALE list of the miners that have signed for it.
pub(super) const MOVED: TableDefinition<PlaceKey, &[u8]> = TableDefinition::new("moved");

fn nodes(bytes: &[u8]) -> Result<Vec<NodeId>, MetaError> {
    Vec::decode_all(&mut &*bytes).map_err(|_| MetaError::Row("moved"))
}

impl Meta {
    /// Enters receipts for shards of a stripe, which were checked, in the ledger, once each; whether the stripe is wanted.
    pub async fn relocated(&self, signed: Vec<SignedReceipt>) -> Result<bool, MetaError> {
        let unreadable = self.unreadable.clone();
        self.index_all_receipts().await?;
        self.write(move |transaction| {
            receipts::catch_up(transaction, &unreadable)?;
            let mut lines = Vec::new();
            for signed in signed {
                let receipt = &signed.receipt;
                if stripes::record_for_change(transaction, &receipt.stripe)?.is_none() {
                    return Ok(false);
                }
                let place = (receipt.shard.0, receipt.index);
                transaction.open_table(MISSING)?.remove(place)?;
                let mut moved = transaction.open_table(MOVED)?;
                let known = moved.get(place)?.map(|row| nodes(row.value())).transpose()?;
                let mut known = match known {
                    Some(known) => known,
                    None => receipts::newest(transaction, place)?
                        .map(|known| known.receipt.node_id)
                        .into_iter()
                        .collect(),
                };
                if !known.contains(&receipt.node_id) {
                    known.push(receipt.node_id);
                    moved.insert(place, known.encode().as_slice())?;
                    lines.push(LedgerRecord::Stored(signed));
                }
            }
            ledger::append(transaction, lines)?;
            Ok(true)
        })
        .await
    }

    /// The miners that have signed for a shard that was brought elsewhere; none if it was not.
    pub async fn moved_to(&self, place: ShardPlace) -> Result<Vec<NodeId>, MetaError> {
        self.read(move |transaction| {
            let row = transaction.open_table(MOVED)?.get(place.key())?;
            row.map_or(Ok(Vec::new()), |row| nodes(row.value()))
        })
        .await
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
            meta.deletes_tried(vec![(place(0), None)], 6).await.unwrap();
            assert_eq!((nodes(0).await.unwrap(), nodes(25).await.unwrap()), (vec![], vec![NodeId([91; 32])]));
        }
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
