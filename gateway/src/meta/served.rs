//! What miners served to this gateway and its replicas, until the ledger says so.
//!
//! # Invariants
//! - What was noted goes into the ledger in the transaction that forgets it: it is stated once.
//! - Periods follow each other; a clock that went back states nothing before it is ahead again.

use arion_ledger::served::bytes_max;
use arion_protocol::{LedgerRecord, Served};
use arion_types::NodeId;

use super::{Hash, Meta, MetaError, ReadableTable, SETTINGS, TableDefinition, WriteTransaction, ledger};

/// Miner - bytes that it served since the last statement.
pub(super) const SERVED: TableDefinition<Hash, u64> = TableDefinition::new("served");
/// Until when what was served is stated, among the settings.
const UNTIL: &str = "served-until";

fn until(settings: &impl ReadableTable<&'static str, &'static [u8]>) -> Result<Option<u64>, MetaError> {
    let row = settings.get(UNTIL)?.map(|row| <[u8; 8]>::try_from(row.value()));
    Ok(row.transpose().map_err(|_| MetaError::Row("settings"))?.map(u64::from_le_bytes))
}

/// Takes what was noted, as lines about a period.
fn lines(transaction: &WriteTransaction, from: u64, until: u64) -> Result<Vec<LedgerRecord>, MetaError> {
    let mut table = transaction.open_table(SERVED)?;
    let mut lines = Vec::new();
    for row in table.iter()? {
        let (miner, bytes) = row?;
        let bytes = bytes.value().min(bytes_max(until - from));
        lines.push(Served { miner: NodeId(miner.value()), from, until, bytes });
    }
    for line in &lines {
        table.remove(line.miner.0)?;
    }
    Ok(lines.into_iter().map(LedgerRecord::Served).collect())
}

impl Meta {
    /// Until when what was served is stated, milliseconds since the Unix epoch; `None` if nothing ever was.
    pub async fn served_until(&self) -> Result<Option<u64>, MetaError> {
        self.read(|transaction| until(&transaction.open_table(SETTINGS)?)).await
    }

    /// Notes that miners served so many bytes more.
    pub async fn add_served(&self, bytes: Vec<(NodeId, u64)>) -> Result<(), MetaError> {
        self.write(move |transaction| {
            let mut table = transaction.open_table(SERVED)?;
            for (miner, more) in bytes {
                let before = table.get(miner.0)?.map_or(0, |bytes| bytes.value());
                table.insert(miner.0, before.saturating_add(more))?;
            }
            Ok(())
        })
        .await
    }

    /// Enters in the ledger what was noted, as served between the last statement and `now_ms`; the number of lines.
    pub async fn state_served(&self, now_ms: u64) -> Result<usize, MetaError> {
        self.write(move |transaction| {
            let mut settings = transaction.open_table(SETTINGS)?;
            let from = until(&settings)?;
            if from.is_some_and(|from| now_ms <= from) {
                return Ok(0);
            }
            settings.insert(UNTIL, now_ms.to_le_bytes().as_slice())?;
            drop(settings);
            let Some(from) = from else { return Ok(0) };
            let lines = lines(transaction, from, now_ms)?;
            let count = lines.len();
            ledger::append(transaction, lines)?;
            Ok(count)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId([1; 32]);
    const B: NodeId = NodeId([2; 32]);

    fn line(miner: NodeId, from: u64, until: u64, bytes: u64) -> LedgerRecord {
        LedgerRecord::Served(Served { miner, from, until, bytes })
    }

    #[tokio::test]
    async fn what_was_served_is_stated_once_in_periods_that_follow_each_other() {
        let directory = tempfile::tempdir().unwrap();
        let meta = Meta::open(&directory.path().join("m.redb")).unwrap();
        meta.add_served(vec![(A, 5), (B, 7)]).await.unwrap();
        assert_eq!(meta.served_until().await.unwrap(), None);
        // Since when is not known before the first look at the clock.
        assert_eq!(meta.state_served(1_000).await.unwrap(), 0);
        meta.add_served(vec![(A, 5)]).await.unwrap();
        assert_eq!(meta.state_served(2_000).await.unwrap(), 2);
        assert_eq!(meta.state_served(3_000).await.unwrap(), 0);
        meta.add_served(vec![(B, u64::MAX), (B, 1)]).await.unwrap();
        assert_eq!(meta.state_served(2_500).await.unwrap(), 0, "the clock went back");
        assert_eq!(meta.state_served(3_002).await.unwrap(), 1);
        let page = meta.ledger_page(0, 10).await.unwrap();
        let records: Vec<_> = page.into_iter().map(|entry| entry.record).collect();
        let most = bytes_max(2);
        let expected = [line(A, 1_000, 2_000, 10), line(B, 1_000, 2_000, 7), line(B, 3_000, 3_002, most)];
        assert_eq!(records, expected);
        assert_eq!(meta.served_until().await.unwrap(), Some(3_002));
    }
}
