//! Where in the ledger the receipts for shards are.
//!
//! The index follows the ledger: lines are looked at in order, in the background and before somebody asks, and how far it came is
//! kept with it. So a ledger that is older than the index needs nothing else.
//!
//! # Invariants
//! - A place has the line with the newest receipt for it, of a miner that was not released; a shard that was deleted since has none.

use std::collections::HashMap;

use super::{
    LEDGER, Meta, MetaError, PlaceKey, ReadTransaction, ReadableTable, SETTINGS, TableDefinition, Unreadable,
    WriteTransaction,
    moved::{Holder, MOVED, also_held, holders_of, let_go_before},
    stripes,
};
use crate::manifest::StripeRecord;
use arion_protocol::LedgerRecord;
use arion_types::SignedReceipt;
use codec::DecodeAll;

/// Address and position of a shard - the line with its newest receipt.
pub(super) const RECEIPTS: TableDefinition<PlaceKey, u64> = TableDefinition::new("receipts");
/// The last line that was looked at, among the settings.
const REACHED: &str = "receipts";
/// The last line that came from a snapshot, among the settings of metadata that an earlier version recovered: of these it is not known
/// yet who else holds the shard. Since then lines come in one by one (`super::unconfirmed`).
const IMPORTED: &str = "imported";
/// Lines that one step looks at.
const LINES: usize = 4_096;
/// Steps that are made for somebody who asks; what is left is for the background.
const STEPS_MAX: usize = 64;

/// The last line that was looked at.
pub(super) fn reached(settings: &impl ReadableTable<&'static str, &'static [u8]>) -> Result<u64, MetaError> {
    line_at(settings, REACHED)
}

fn line_at(
    settings: &impl ReadableTable<&'static str, &'static [u8]>,
    key: &'static str,
) -> Result<u64, MetaError> {
    let row = settings.get(key)?.map(|row| <[u8; 8]>::try_from(row.value()));
    Ok(row.transpose().map_err(|_| MetaError::Row("settings"))?.map_or(0, u64::from_le_bytes))
}

/// The receipt that a stripe has for one of its places.
fn receipt_of(
    transaction: &ReadTransaction,
    record: &StripeRecord,
    index: u8,
) -> Result<Option<SignedReceipt>, MetaError> {
    let Some(hash) = record.hashes.get(usize::from(index)) else { return Ok(None) };
    let line = transaction.open_table(RECEIPTS)?.get((hash.0, index))?.map(|line| line.value());
    let Some(line) = line else { return Ok(None) };
    let row = transaction.open_table(LEDGER)?.get(line)?.ok_or(MetaError::Row("receipts"))?;
    match LedgerRecord::decode_all(&mut row.value()).map_err(|_| MetaError::Row("ledger"))? {
        LedgerRecord::Stored(signed) => Ok((signed.receipt.stripe == record.id()).then_some(signed)),
        _ => Err(MetaError::Row("receipts")),
    }
}

/// Who has signed for a place last, as far as the ledger was looked through.
pub(super) fn newest(transaction: &WriteTransaction, place: PlaceKey) -> Result<Option<Holder>, MetaError> {
    newest_in(&transaction.open_table(RECEIPTS)?, &transaction.open_table(LEDGER)?, place)
}

/// The same, in tables that are open.
pub(super) fn newest_in(
    receipts: &impl ReadableTable<PlaceKey, u64>,
    ledger: &impl ReadableTable<u64, &'static [u8]>,
    place: PlaceKey,
) -> Result<Option<Holder>, MetaError> {
    let Some(line) = receipts.get(place)?.map(|line| line.value()) else { return Ok(None) };
    let row = ledger.get(line)?.ok_or(MetaError::Row("receipts"))?;
    match LedgerRecord::decode_all(&mut row.value()).map_err(|_| MetaError::Row("ledger"))? {
        LedgerRecord::Stored(signed) => Ok(Some(Holder { node: signed.receipt.node_id, line })),
        _ => Err(MetaError::Row("receipts")),
    }
}

/// Looks at all lines that were not looked at yet: what came since [`Meta::index_all_receipts`].
pub(super) fn catch_up(transaction: &WriteTransaction, unreadable: &Unreadable) -> Result<(), MetaError> {
    while !index_step(transaction, unreadable)? {}
    Ok(())
}

/// Looks at the next lines of the ledger; whether that were all.
fn index_step(transaction: &WriteTransaction, unreadable: &Unreadable) -> Result<bool, MetaError> {
    let mut settings = transaction.open_table(SETTINGS)?;
    let ledger = transaction.open_table(LEDGER)?;
    let mut receipts = transaction.open_table(RECEIPTS)?;
    let mut moved = transaction.open_table(MOVED)?;
    let (mut at, mut seen, imported) = (reached(&settings)?, 0, line_at(&settings, IMPORTED)?);
    for row in ledger.range(at.saturating_add(1)..)?.take(LINES) {
        let (line, record) = row?;
        (at, seen) = (line.value(), seen + 1);
        let record = LedgerRecord::decode_all(&mut record.value()).map_err(|_| MetaError::Row("ledger"));
        match unreadable.readable(record, at)? {
            Some(LedgerRecord::Stored(signed)) => {
                let receipt = &signed.receipt;
                let place = (receipt.shard.0, receipt.index);
                // Only then: a question for each line costs where the tables are elsewhere.
                let before = if at <= imported { newest_in(&receipts, &ledger, place)? } else { None };
                if let Some(before) = before.filter(|before| before.node != receipt.node_id)
                    && stripes::record_for_change(transaction, &receipt.stripe)?.is_some()
                {
                    also_held(&mut moved, place, before)?;
                    also_held(&mut moved, place, Holder { node: receipt.node_id, line: at })?;
                }
                receipts.insert(place, at)?;
            }
            Some(LedgerRecord::Deleted { shard }) => {
                let places = receipts.range((shard.0, 0)..=(shard.0, u8::MAX))?;
                let gone = places.map(|row| Ok(row?.0.value())).collect::<Result<Vec<_>, MetaError>>()?;
                for place in gone {
                    receipts.remove(place)?;
                }
            }
            Some(LedgerRecord::Released { shard, miner }) => {
                let places = receipts.range((shard.0, 0)..=(shard.0, u8::MAX))?;
                let places = places.map(|row| Ok(row?.0.value())).collect::<Result<Vec<_>, MetaError>>()?;
                for place in places {
                    let_go_before(&mut moved, place, &miner, at)?;
                    let newest = newest_in(&receipts, &ledger, place)?;
                    if newest.is_some_and(|newest| newest.node == miner && newest.line < at) {
                        // Of lines behind this one there will be more to say.
                        let others = holders_of(&moved, place)?.unwrap_or_default();
                        let left = others.iter().filter(|holder| holder.node != miner && holder.line < at);
                        let line = left.map(|holder| holder.line).max().filter(|line| *line > 0);
                        match line {
                            Some(line) if ledger.get(line)?.is_some() => receipts.insert(place, line)?,
                            _ => receipts.remove(place)?,
                        };
                    }
                }
            }
            Some(LedgerRecord::Served(_) | LedgerRecord::Compacted(_)) | None => {}
        }
    }
    if seen > 0 {
        settings.insert(REACHED, at.to_le_bytes().as_slice())?;
    }
    Ok(seen < LINES)
}

/// Without those of miners that have signed for another place since: a map may have given a miner the place of another.
fn once_each(receipts: Vec<SignedReceipt>) -> Vec<SignedReceipt> {
    let mut newest = HashMap::new();
    for SignedReceipt { receipt, .. } in &receipts {
        let epoch = newest.entry(receipt.node_id).or_insert(receipt.epoch);
        *epoch = receipt.epoch.max(*epoch);
    }
    let is_newest =
        |SignedReceipt { receipt, .. }: &SignedReceipt| newest.get(&receipt.node_id) == Some(&receipt.epoch);
    receipts.into_iter().filter(is_newest).collect()
}

impl Meta {
    /// Looks at the next lines of the ledger; whether that were all. Lines that do not decode are passed over.
    pub async fn index_receipts(&self) -> Result<bool, MetaError> {
        let is_behind = self.read(|transaction| {
            let last = transaction.open_table(LEDGER)?.last()?.map_or(0, |(line, _)| line.value());
            Ok(reached(&transaction.open_table(SETTINGS)?)? < last)
        });
        if !is_behind.await? {
            return Ok(true);
        }
        let unreadable = self.unreadable.clone();
        self.write(move |transaction| index_step(transaction, &unreadable)).await
    }

    /// Looks at all lines that there are, step by step.
    pub(super) async fn index_all_receipts(&self) -> Result<(), MetaError> {
        while !self.index_receipts().await? {}
        Ok(())
    }

    /// The receipts for each of these stripes, by index; none if the ledger was not looked through yet, which goes on in the
    /// background.
    pub async fn receipts_of(
        &self,
        stripes: Vec<StripeRecord>,
    ) -> Result<Option<Vec<Vec<SignedReceipt>>>, MetaError> {
        let mut steps = 0;
        while !self.index_receipts().await? {
            steps += 1;
            if steps == STEPS_MAX {
                return Ok(None);
            }
        }
        self.read(move |transaction| {
            let of = |record: &StripeRecord| {
                let places = (0..=u8::MAX).take(record.hashes.len());
                let newest = places.filter_map(|index| receipt_of(transaction, record, index).transpose());
                newest.collect::<Result<_, _>>().map(once_each)
            };
            stripes.iter().map(of).collect::<Result<_, _>>().map(Some)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use arion_types::{NodeId, Receipt, ShardHash};

    use super::{super::ledger, *};

    fn record(seed: u8) -> StripeRecord {
        let hash = |index| ShardHash(*blake3::hash(&[seed, index]).as_bytes());
        let hashes = (0..30).map(hash).collect();
        StripeRecord { epoch: 1, len: 640, shard_len: 64, data_shards: 10, hashes }
    }

    fn receipt(record: &StripeRecord, index: u8, miner: u8) -> SignedReceipt {
        let receipt = Receipt {
            shard: record.hashes[usize::from(index)],
            size: 64,
            stripe: record.id(),
            pg: 1,
            index,
            epoch: 1,
            node_id: NodeId([miner; 32]),
            stored_at: 1,
        };
        SignedReceipt { receipt, signature: [0; 64] }
    }

    async fn append(meta: &Meta, lines: Vec<LedgerRecord>) {
        meta.write(move |transaction| ledger::append(transaction, lines)).await.unwrap();
    }

    async fn miners(meta: &Meta, record: &StripeRecord) -> Vec<(u8, u8)> {
        let found = meta.receipts_of(vec![record.clone()]).await.unwrap().unwrap().remove(0);
        found.iter().map(|signed| (signed.receipt.index, signed.receipt.node_id.0[0])).collect()
    }

    #[tokio::test]
    async fn the_newest_receipt_of_each_place_is_found_and_goes_with_its_shard() {
        let directory = tempfile::tempdir().unwrap();
        let meta = Meta::open(&directory.path().join("m.redb")).unwrap();
        let (one, other) = (record(1), record(2));
        assert_eq!(miners(&meta, &one).await, []);
        let stored = |index, miner| LedgerRecord::Stored(receipt(&one, index, miner));
        append(&meta, vec![stored(3, 9), stored(0, 8), stored(3, 7)]).await;
        assert_eq!(miners(&meta, &one).await, [(0, 8), (3, 7)]);
        assert_eq!(miners(&meta, &other).await, []);
        let gone = LedgerRecord::Deleted { shard: one.hashes[3] };
        append(&meta, vec![gone, LedgerRecord::Deleted { shard: other.hashes[0] }, stored(5, 6)]).await;
        assert_eq!(miners(&meta, &one).await, [(0, 8), (5, 6)]);
        // A miner has one place.
        let mut again = receipt(&one, 4, 8);
        again.receipt.epoch = 2;
        append(&meta, vec![LedgerRecord::Stored(again)]).await;
        assert_eq!(miners(&meta, &one).await, [(4, 8), (5, 6)]);
        let mut back = receipt(&one, 0, 8);
        back.receipt.epoch = 3;
        append(&meta, vec![stored(3, 5), stored(4, 4), LedgerRecord::Stored(back)]).await;
        assert_eq!(miners(&meta, &one).await, [(0, 8), (3, 5), (4, 4), (5, 6)]);
        append(&meta, vec![LedgerRecord::Deleted { shard: one.hashes[4] }, stored(3, 5)]).await;
        assert_eq!(miners(&meta, &one).await, [(0, 8), (3, 5), (5, 6)]);
        assert!(meta.index_receipts().await.unwrap());
    }

    /// The same from a ledger that was there before anybody looked, longer than one step, with a line that does not decode.
    #[tokio::test]
    async fn an_old_ledger_is_looked_through_step_by_step() {
        let directory = tempfile::tempdir().unwrap();
        let meta = Meta::open(&directory.path().join("m.redb")).unwrap();
        let one = record(1);
        let many = (0..LINES + 10).map(|line| LedgerRecord::Stored(receipt(&one, (line % 30) as u8, 1)));
        append(&meta, many.collect()).await;
        let spoilt = meta.write(|transaction| {
            transaction.open_table(LEDGER)?.insert(5, [0xff].as_slice())?;
            Ok(())
        });
        spoilt.await.unwrap();
        assert!(!meta.index_receipts().await.unwrap());
        assert_eq!(miners(&meta, &one).await.len(), 30);
        assert!(meta.index_receipts().await.unwrap());
        assert_eq!(meta.unreadable_rows(), 1);
    }
}
