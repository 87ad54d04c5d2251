//! Stripes, and what enters the queues with them ([`super::queues`]).
//!
//! Life of a stripe: in flight (sent, nobody refers to it) - stored (receipts in the ledger, gaps in `MISSING`) -
//! referenced by a part or manifest - released (tombstones in the ledger, deletions queued).

use std::collections::HashSet;

use arion_protocol::LedgerRecord;
use arion_types::{Epoch, ShardHash, SignedReceipt, StripeId};
use codec::{Decode, DecodeAll, Encode};

use super::{
    DELETES, DeleteRow, Hash, INFLIGHT, MISSING, Meta, MetaError, MissingRow, ReadTransaction, ReadableTable,
    STRIPES, TableDefinition, WriteTransaction, equal, ledger, occupancy,
    replicas::{INFLIGHT_BY, PINNED_BY, disown, own},
    unconfirmed,
};
use crate::manifest::StripeRecord;

/// Shared stripes whose members are being entered; each is one reference.
pub(super) const PINNED: TableDefinition<Hash, ()> = TableDefinition::new("pinned");

#[derive(Encode, Decode)]
struct StripeRow {
    refs: u32,
    record: StripeRecord,
}

fn stripe_row(bytes: &[u8]) -> Result<StripeRow, MetaError> {
    StripeRow::decode_all(&mut &*bytes).map_err(|_| MetaError::Row("stripes"))
}

fn get(transaction: &WriteTransaction, id: &StripeId) -> Result<Option<StripeRow>, MetaError> {
    transaction.open_table(STRIPES)?.get(id.0)?.map(|row| stripe_row(row.value())).transpose()
}

fn put(transaction: &WriteTransaction, id: &StripeId, row: &StripeRow) -> Result<(), MetaError> {
    transaction.open_table(STRIPES)?.insert(id.0, row.encode().as_slice())?;
    Ok(())
}

/// A stripe that is in flight or referred to.
pub(super) fn record(
    transaction: &ReadTransaction,
    id: &StripeId,
) -> Result<Option<StripeRecord>, MetaError> {
    let row = transaction.open_table(STRIPES)?.get(id.0)?;
    row.map(|row| stripe_row(row.value()).map(|row| row.record)).transpose()
}

/// The same, in a transaction that changes something.
pub(super) fn record_for_change(
    transaction: &WriteTransaction,
    id: &StripeId,
) -> Result<Option<StripeRecord>, MetaError> {
    Ok(get(transaction, id)?.map(|row| row.record))
}

/// Enters a stripe that was stored by another gateway, and of which nobody knows which shards are where they belong: all of them
/// are missing until their miners confirm them. Nobody refers to it yet.
pub(super) fn adopt(transaction: &WriteTransaction, record: &StripeRecord) -> Result<(), MetaError> {
    let id = record.id();
    if get(transaction, &id)?.is_some() {
        return Err(MetaError::Row("stripes"));
    }
    put(transaction, &id, &StripeRow { refs: 0, record: record.clone() })?;
    let mut missing = transaction.open_table(MISSING)?;
    for (index, shard) in (0u8..).zip(&record.hashes) {
        let gap = MissingRow { stripe: id, index, attempts: 0, next_ms: 0 };
        missing.insert((shard.0, index), gap.encode().as_slice())?;
    }
    Ok(())
}

/// Refuses stripes that the leader took back because their replica was taken for gone. Nobody takes them back where there is only
/// one gateway.
pub(super) fn require<'a>(
    transaction: &WriteTransaction,
    stripes: impl IntoIterator<Item = &'a StripeRecord>,
) -> Result<(), MetaError> {
    if transaction.replica().is_none() {
        return Ok(());
    }
    for record in stripes {
        get(transaction, &record.id())?.ok_or(MetaError::TakenBack)?;
    }
    Ok(())
}

/// One more reference to each stripe; stripes in flight stop being so.
pub(super) fn hold<'a>(
    transaction: &WriteTransaction,
    stripes: impl IntoIterator<Item = &'a StripeRecord>,
) -> Result<(), MetaError> {
    for record in stripes {
        let id = record.id();
        let mut row = get(transaction, &id)?.ok_or(MetaError::Row("stripes"))?;
        row.refs += 1;
        put(transaction, &id, &row)?;
        transaction.open_table(INFLIGHT)?.remove(id.0)?;
        disown(transaction, INFLIGHT_BY, &id)?;
    }
    Ok(())
}

/// One reference less; stripes without any are tombstoned and their shards queued for deletion.
pub(super) fn release<'a>(
    transaction: &WriteTransaction,
    stripes: impl IntoIterator<Item = &'a StripeRecord>,
    now_ms: u64,
) -> Result<(), MetaError> {
    for record in stripes {
        let id = record.id();
        let Some(mut row) = get(transaction, &id)? else { continue };
        row.refs = row.refs.saturating_sub(1);
        if row.refs > 0 {
            put(transaction, &id, &row)?;
        } else {
            bury(transaction, &id, &row.record, now_ms)?;
        }
    }
    Ok(())
}

fn bury(
    transaction: &WriteTransaction,
    id: &StripeId,
    record: &StripeRecord,
    now_ms: u64,
) -> Result<(), MetaError> {
    transaction.open_table(STRIPES)?.remove(id.0)?;
    transaction.open_table(INFLIGHT)?.remove(id.0)?;
    disown(transaction, INFLIGHT_BY, id)?;
    let live = occupancy::buried(transaction, id)?;
    equal::buried(transaction, id)?;
    unconfirmed::buried(transaction, record)?;
    let mut missing = transaction.open_table(MISSING)?;
    for (index, shard) in (0u8..).zip(&record.hashes) {
        missing.remove((shard.0, index))?;
        queue_delete(transaction, id, index, shard, record.epoch, now_ms)?;
    }
    // A tombstone is of an address: one is enough where shards of a stripe are the same. What nobody has signed for is not in the
    // ledger, and is not taken out of it.
    let shards = live.iter().filter_map(|index| record.hashes.get(usize::from(*index)));
    ledger::append(transaction, shards.map(|shard| LedgerRecord::Deleted { shard: *shard })).map(drop)
}

fn queue_delete(
    transaction: &WriteTransaction,
    stripe: &StripeId,
    index: u8,
    shard: &ShardHash,
    epoch: Epoch,
    now_ms: u64,
) -> Result<(), MetaError> {
    let row = DeleteRow {
        stripe: *stripe,
        index,
        epoch,
        queued_ms: now_ms,
        attempts: 0,
        next_ms: now_ms,
        done: Vec::new(),
    };
    transaction.open_table(DELETES)?.insert((shard.0, index), row.encode().as_slice())?;
    Ok(())
}

fn enter_stored(
    transaction: &WriteTransaction,
    id: &StripeId,
    receipts: Vec<SignedReceipt>,
    missing_from_ms: u64,
) -> Result<(), MetaError> {
    let row = get(transaction, id)?.ok_or(match transaction.replica() {
        Some(_) => MetaError::TakenBack,
        None => MetaError::Row("stripes"),
    })?;
    let mut missing = transaction.open_table(MISSING)?;
    for (index, shard) in (0u8..).zip(&row.record.hashes) {
        if !receipts.iter().any(|signed| signed.receipt.index == index) {
            let gap = MissingRow { stripe: *id, index, attempts: 0, next_ms: missing_from_ms };
            missing.insert((shard.0, index), gap.encode().as_slice())?;
        }
    }
    ledger::append(transaction, receipts.into_iter().map(LedgerRecord::Stored)).map(drop)
}

fn pin(transaction: &WriteTransaction, id: &StripeId) -> Result<(), MetaError> {
    let record = get(transaction, id)?.ok_or(MetaError::Row("stripes"))?.record;
    hold(transaction, [&record])?;
    transaction.open_table(PINNED)?.insert(id.0, ())?;
    own(transaction, PINNED_BY, id)
}

impl Meta {
    /// Says that a stripe is about to be sent, so that a crash leaves nothing behind on miners.
    pub async fn begin_stripe(&self, id: StripeId, record: StripeRecord) -> Result<(), MetaError> {
        self.write(move |transaction| {
            put(transaction, &id, &StripeRow { refs: 0, record })?;
            transaction.open_table(INFLIGHT)?.insert(id.0, ())?;
            own(transaction, INFLIGHT_BY, &id)
        })
        .await
    }

    /// Enters the receipts of a stripe that reached its quorum; shards without one are missing from now on,
    /// to be looked at from `missing_from_ms`.
    pub async fn stripe_stored(
        &self,
        id: StripeId,
        receipts: Vec<SignedReceipt>,
        missing_from_ms: u64,
    ) -> Result<(), MetaError> {
        self.write(move |transaction| enter_stored(transaction, &id, receipts, missing_from_ms)).await
    }

    /// The same of a stripe that was stored for several, and holds it until all of them entered what they refer to it with, or
    /// gave up: who comes and goes meanwhile does not take it from the others.
    pub async fn shared_stripe_stored(
        &self,
        id: StripeId,
        receipts: Vec<SignedReceipt>,
        missing_from_ms: u64,
    ) -> Result<(), MetaError> {
        self.write(move |transaction| {
            enter_stored(transaction, &id, receipts, missing_from_ms)?;
            pin(transaction, &id)
        })
        .await
    }

    /// Enters a receipt that came after the quorum. If nobody wants the stripe any more, the shard is deleted.
    pub async fn late_receipt(
        &self,
        id: StripeId,
        signed: SignedReceipt,
        now_ms: u64,
    ) -> Result<(), MetaError> {
        self.write(move |transaction| {
            let receipt = &signed.receipt;
            if get(transaction, &id)?.is_none() {
                return queue_delete(transaction, &id, receipt.index, &receipt.shard, receipt.epoch, now_ms);
            }
            if transaction.open_table(MISSING)?.take((receipt.shard.0, receipt.index))?.is_none() {
                return Ok(());
            }
            unconfirmed::signed_anew(transaction, receipt)?;
            ledger::append(transaction, [LedgerRecord::Stored(signed)]).map(drop)
        })
        .await
    }

    /// Gives up a stripe that could not be stored. Of one that was taken back meanwhile the deletions may have come before the
    /// shards: all are ordered again, `later_ms`, when whoever still sends them is done.
    pub async fn give_up_stripe(
        &self,
        record: StripeRecord,
        now_ms: u64,
        later_ms: u64,
    ) -> Result<(), MetaError> {
        let id = record.id();
        self.discard_stripes(vec![id], now_ms).await?;
        if !self.is_shared() {
            return Ok(());
        }
        self.write(move |transaction| {
            if get(transaction, &id)?.is_some() {
                return Ok(());
            }
            let mut shards = (0u8..).zip(&record.hashes);
            shards.try_for_each(|(index, shard)| {
                queue_delete(transaction, &id, index, shard, record.epoch, later_ms)
            })
        })
        .await
    }

    /// Gives up stripes that nobody refers to; not one of which it cannot be read whether somebody does.
    pub async fn discard_stripes(&self, ids: Vec<StripeId>, now_ms: u64) -> Result<(), MetaError> {
        let unreadable = self.unreadable.clone();
        self.write(move |transaction| {
            for id in &ids {
                let row = unreadable.readable(get(transaction, id), id)?.flatten();
                if let Some(StripeRow { refs: 0, record }) = row {
                    bury(transaction, id, &record, now_ms)?;
                }
            }
            Ok(())
        })
        .await
    }

    /// Lets shared stripes go; those that nobody refers to are given up. How many were. One that cannot be read stays held.
    pub async fn unpin_stripes(&self, ids: Vec<StripeId>, now_ms: u64) -> Result<usize, MetaError> {
        let unreadable = self.unreadable.clone();
        self.write(move |transaction| {
            let mut given_up = 0;
            for id in &ids {
                let Some(row) = unreadable.readable(get(transaction, id), id)? else { continue };
                let was_pinned = transaction.open_table(PINNED)?.take(id.0)?.is_some();
                disown(transaction, PINNED_BY, id)?;
                if let (true, Some(row)) = (was_pinned, row) {
                    release(transaction, [&row.record], now_ms)?;
                    given_up += usize::from(row.refs <= 1);
                }
            }
            Ok(given_up)
        })
        .await
    }

    /// Stripes that are held by [`Meta::shared_stripe_stored`]: at start, what a crash left behind.
    pub async fn pinned_stripes(&self) -> Result<Vec<StripeId>, MetaError> {
        self.read(|transaction| {
            let pinned = transaction.open_table(PINNED)?;
            pinned.iter()?.map(|row| Ok(StripeId(row?.0.value()))).collect()
        })
        .await
    }

    /// Stripes that nobody refers to: at start, what a crash left behind.
    pub async fn inflight_stripes(&self) -> Result<Vec<StripeId>, MetaError> {
        self.read(|transaction| {
            let mut ids = Vec::new();
            for row in transaction.open_table(INFLIGHT)?.iter()? {
                ids.push(StripeId(row?.0.value()));
            }
            Ok(ids)
        })
        .await
    }

    /// A stripe that is in flight or referred to.
    pub async fn stripe(&self, id: StripeId) -> Result<Option<StripeRecord>, MetaError> {
        self.read(move |transaction| record(transaction, &id)).await
    }

    /// Which of these shards their miners have not confirmed.
    pub async fn missing_among(&self, shards: Vec<ShardHash>) -> Result<HashSet<ShardHash>, MetaError> {
        self.read(move |transaction| {
            let missing = transaction.open_table(MISSING)?;
            let mut found = HashSet::new();
            for shard in shards {
                if missing.range((shard.0, 0)..=(shard.0, u8::MAX))?.next().is_some() {
                    found.insert(shard);
                }
            }
            Ok(found)
        })
        .await
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::{super::tests::Engine, *};
    use arion_types::{NodeId, Receipt};

    pub(in crate::meta) fn record(seed: u8) -> StripeRecord {
        let hashes = (0..30).map(|i| ShardHash(*blake3::hash(&[seed, i]).as_bytes())).collect();
        StripeRecord { epoch: 1, len: 640, shard_len: 64, data_shards: 10, hashes }
    }

    pub(in crate::meta) fn receipt(record: &StripeRecord, index: u8) -> SignedReceipt {
        let receipt = Receipt {
            shard: record.hashes[usize::from(index)],
            size: record.shard_len,
            stripe: record.id(),
            pg: 0,
            index,
            epoch: record.epoch,
            node_id: NodeId([index; 32]),
            stored_at: 1,
        };
        SignedReceipt { receipt, signature: [0; 64] }
    }

    #[tokio::test]
    async fn receipts_fill_the_ledger_and_gaps_are_remembered() {
        for engine in Engine::each() {
            let meta = engine.open();
            let stripe = record(1);
            meta.begin_stripe(stripe.id(), stripe.clone()).await.unwrap();
            assert_eq!(meta.inflight_stripes().await.unwrap(), [stripe.id()]);
            let receipts = (0..20).map(|index| receipt(&stripe, index)).collect();
            meta.stripe_stored(stripe.id(), receipts, 50).await.unwrap();
            assert_eq!(meta.due_missing(49, 100).await.unwrap(), []);
            assert_eq!(meta.missing_among(record(1).hashes).await.unwrap().len(), 10);
            assert_eq!(meta.due_missing(50, 100).await.unwrap().len(), 10);
            meta.late_receipt(stripe.id(), receipt(&stripe, 25), 60).await.unwrap();
            meta.late_receipt(stripe.id(), receipt(&stripe, 25), 60).await.unwrap();
            let page = meta.ledger_page(0, 100).await.unwrap();
            assert_eq!(
                page.iter().map(|entry| entry.sequence).collect::<Vec<_>>(),
                (1..=21).collect::<Vec<_>>()
            );
            assert_eq!(meta.ledger_page(20, 100).await.unwrap(), page[20..]);
            assert_eq!(meta.backlog().await.unwrap(), (9, 0));
            let shard = meta.due_missing(50, 1).await.unwrap()[0].0;
            meta.postpone_missing(vec![shard], 50).await.unwrap();
            assert_eq!(meta.due_missing(50, 100).await.unwrap().len(), 8);
        }
    }

    #[tokio::test]
    async fn what_nobody_refers_to_is_tombstoned_and_deleted_even_after_a_restart() {
        for engine in Engine::each() {
            let stripe = record(2);
            {
                let meta = engine.open();
                meta.begin_stripe(stripe.id(), stripe.clone()).await.unwrap();
                meta.stripe_stored(stripe.id(), vec![receipt(&stripe, 0)], 0).await.unwrap();
            }
            let meta = engine.open();
            let left = meta.inflight_stripes().await.unwrap();
            assert_eq!(left, [stripe.id()]);
            meta.discard_stripes(left, 5).await.unwrap();
            assert_eq!(meta.backlog().await.unwrap(), (0, 30));
            // One shard was signed for, and one is taken out.
            assert_eq!(meta.ledger_len().await.unwrap(), 2);
            let due = meta.due_deletes(5, 100).await.unwrap();
            let outcomes =
                due.iter().map(|(shard, row)| (*shard, (row.index > 0).then(|| row.clone()))).collect();
            meta.deletes_tried(outcomes, u64::MAX, 5).await.unwrap();
            assert_eq!(meta.backlog().await.unwrap(), (0, 29));
            assert_eq!(meta.due_deletes(5, 100).await.unwrap(), []);
            meta.late_receipt(stripe.id(), receipt(&stripe, 0), 6).await.unwrap();
            let due = meta.due_deletes(6, 100).await.unwrap();
            assert_eq!(due.len(), 1);
            // A deletion that was on its way when the shard came found nothing: it does not end the one that was queued since.
            meta.deletes_tried(vec![(due[0].0, None)], 6, 7).await.unwrap();
            assert_eq!(meta.due_deletes(7, 100).await.unwrap(), due);
            meta.deletes_tried(vec![(due[0].0, None)], 7, 7).await.unwrap();
            assert_eq!(meta.backlog().await.unwrap(), (0, 29));
        }
    }
}
