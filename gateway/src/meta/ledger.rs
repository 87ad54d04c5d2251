//! The ledger: receipts and deletions, numbered from 1, and the maps that placed them.

use arion_protocol::{LedgerBase, LedgerEntry, LedgerRecord};
use codec::{DecodeAll, Encode};

use super::{LEDGER, MAPS, Meta, MetaError, ReadableTable, WriteTransaction, compaction, occupancy};

/// Appends lines; the number of the line before them.
pub(super) fn append(
    transaction: &WriteTransaction,
    records: impl IntoIterator<Item = LedgerRecord>,
) -> Result<u64, MetaError> {
    let mut ledger = transaction.open_table(LEDGER)?;
    let before = ledger.last()?.map_or(0, |(sequence, _)| sequence.value());
    let mut sequence = before;
    let records: Vec<LedgerRecord> = records.into_iter().collect();
    for record in &records {
        sequence += 1;
        ledger.insert(sequence, record.encode().as_slice())?;
    }
    drop(ledger);
    occupancy::appended(transaction, &records)?;
    Ok(before)
}

impl Meta {
    /// The lines behind `after`, at most `limit`.
    pub async fn ledger_page(&self, after: u64, limit: u16) -> Result<Vec<LedgerEntry>, MetaError> {
        Ok(self.ledger_view(after, limit).await?.1)
    }

    /// The lines behind `after`, at most `limit`, and up to where others were dropped.
    pub async fn ledger_view(
        &self,
        after: u64,
        limit: u16,
    ) -> Result<(Option<LedgerBase>, Vec<LedgerEntry>), MetaError> {
        self.read(move |transaction| {
            let ledger = transaction.open_table(LEDGER)?;
            let mut kept = compaction::Kept::of(transaction)?;
            let mut entries = Vec::with_capacity(usize::from(limit));
            for row in ledger.range(after.saturating_add(1)..)? {
                if entries.len() == usize::from(limit) {
                    break;
                }
                let (sequence, record) = row?;
                let sequence = sequence.value();
                // What is about to be dropped is gone for everybody already.
                if !kept.has(sequence)? {
                    continue;
                }
                let record =
                    LedgerRecord::decode_all(&mut record.value()).map_err(|_| MetaError::Row("ledger"))?;
                entries.push(LedgerEntry { sequence, record });
            }
            Ok((kept.base(), entries))
        })
        .await
    }

    /// From where on the ledger has all of its lines; `None` if it has them from the first. Segments up to there have no lines any
    /// more that anybody could ask for.
    pub async fn ledger_base(&self) -> Result<Option<LedgerBase>, MetaError> {
        self.read(|transaction| Ok(compaction::Kept::of(transaction)?.base())).await
    }

    /// Number of the last line.
    pub async fn ledger_len(&self) -> Result<u64, MetaError> {
        self.read(|transaction| {
            Ok(transaction.open_table(LEDGER)?.last()?.map_or(0, |(sequence, _)| sequence.value()))
        })
        .await
    }

    /// Keeps the map of an epoch, as the bytes of its SCALE encoding.
    pub async fn keep_map(&self, epoch: u64, map: Vec<u8>) -> Result<(), MetaError> {
        self.write(move |transaction| {
            transaction.open_table(MAPS)?.insert(epoch, map.as_slice())?;
            Ok(())
        })
        .await
    }

    /// The maps kept, newest first.
    pub async fn kept_maps(&self) -> Result<Vec<(u64, Vec<u8>)>, MetaError> {
        self.read(|transaction| {
            let maps = transaction.open_table(MAPS)?;
            let mut rows = Vec::new();
            for row in maps.iter()?.rev() {
                let (epoch, map) = row?;
                rows.push((epoch.value(), map.value().to_vec()));
            }
            Ok(rows)
        })
        .await
    }
}
