//! A ledger that is read anew, because lines were dropped of it that this service did not read.

use arion_ledger::Change;
use arion_types::{NodeId, Receipt};
use redb::{ReadableTable, WriteTransaction};

use super::{ANEW_NAMED, ANEW_SIGNED, CURSORS, Claims, Holdings, NAMED, PoisonError, StoreError};

const MOST: [u8; 32] = [0xff; 32];

/// Forgets of what lines spoke.
fn clear(transaction: &WriteTransaction, NodeId(gateway): &NodeId) -> Result<(), StoreError> {
    let (least, most) = ((*gateway, [0; 32], [0; 32]), (*gateway, MOST, MOST));
    transaction.open_table(ANEW_SIGNED)?.retain_in(least..=most, |_, ()| false)?;
    transaction.open_table(ANEW_NAMED)?.retain_in((*gateway, [0; 32])..=(*gateway, MOST), |_, ()| false)?;
    Ok(())
}

/// Remembers of what lines speak.
pub(super) fn mark(
    transaction: &WriteTransaction,
    NodeId(gateway): &NodeId,
    changes: &[Change],
) -> Result<(), StoreError> {
    let mut signed = transaction.open_table(ANEW_SIGNED)?;
    let mut named = transaction.open_table(ANEW_NAMED)?;
    for change in changes {
        // A receipt may count no longer because its map is forgotten: what it was worth before stays.
        if let Change::Stored(Receipt { shard, node_id: miner, .. }) | Change::Named { shard, miner } = change
        {
            signed.insert((*gateway, shard.0, miner.0), ())?;
            named.insert((*gateway, shard.0), ())?;
        }
    }
    Ok(())
}

impl Holdings {
    /// Reading begins.
    pub(super) fn begin_anew(&self, gateway: &NodeId) -> Result<(), StoreError> {
        let transaction = self.database.begin_write()?;
        clear(&transaction, gateway)?;
        Ok(transaction.commit()?)
    }

    /// All came that was kept: the rest goes. Walks over all shards.
    pub(super) fn end_anew(&self, gateway: &NodeId, reached: u64) -> Result<(), StoreError> {
        let transaction = self.database.begin_write()?;
        let sums = {
            let mut claims = Claims::open(&transaction)?;
            let mut named = transaction.open_table(NAMED)?;
            let marks = transaction.open_table(ANEW_SIGNED)?;
            claims.retain(gateway, |shard, miner| Ok(marks.get((gateway.0, shard.0, miner.0))?.is_some()))?;
            drop(marks);
            let marks = transaction.open_table(ANEW_NAMED)?;
            let mut gone = Vec::new();
            for entry in named.iter()? {
                let (shard, of) = entry?.0.value();
                if of == gateway.0 && marks.get((of, shard))?.is_none() {
                    gone.push((shard, of));
                }
            }
            for key in gone {
                named.remove(key)?;
            }
            transaction.open_table(CURSORS)?.insert(gateway.0, reached)?;
            claims.sums
        };
        clear(&transaction, gateway)?;
        transaction.commit()?;
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner).extend(sums);
        Ok(())
    }
}
