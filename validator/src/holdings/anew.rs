//! A ledger that is read anew, because lines were dropped of it that this service did not read.

use std::collections::BTreeMap;

use arion_ledger::Change;
use arion_types::{NodeId, Receipt, ShardHash};
use redb::{ReadableTable, WriteTransaction};

use super::{
    ANEW_NAMED, ANEW_SIGNED, CURSORS, HELD, Holdings, NAMED, PoisonError, SIGNED, STRIPES, StoreError, add,
    stripes,
};

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
        let mut sums = BTreeMap::new();
        let transaction = self.database.begin_write()?;
        {
            let mut signed = transaction.open_table(SIGNED)?;
            let mut named = transaction.open_table(NAMED)?;
            let mut held = transaction.open_table(HELD)?;
            let mut stripes = transaction.open_table(STRIPES)?;
            let marks = transaction.open_table(ANEW_SIGNED)?;
            let mut gone = Vec::new();
            for entry in signed.iter()? {
                let (key, value) = entry?;
                let ((shard, miner), (of, size, stripe)) = (key.value(), value.value());
                if of == gateway.0 && marks.get((of, shard, miner))?.is_none() {
                    gone.push((ShardHash(shard), NodeId(miner), size, stripe));
                }
            }
            for (shard, miner, size, stripe) in gone {
                signed.remove((shard.0, miner.0))?;
                stripes::deleted(&mut stripes, &stripe, &shard, &miner)?;
                let key = (miner, *gateway);
                let sum = add(&mut held, key, |sum| sum.saturating_sub(size.into()))?;
                sums.insert(key, sum);
            }
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
        }
        clear(&transaction, gateway)?;
        transaction.commit()?;
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner).extend(sums);
        Ok(())
    }
}
