//! Receipts that repair was given and that no line of a ledger has brought back yet.
//!
//! They count for nobody's sums. What repair has done once it need not do again for as long as its gateway does not say so in its ledger:
//! it is told of them again, which costs no shard.
//!
//! # Invariants
//! - Receipts are of stripes that somebody wants; they go with the last place of their stripe.
//! - Who has signed for a shard in a ledger has no receipt here.

use std::{collections::BTreeMap, ops::RangeInclusive};

use arion_types::{Receipt, SignedReceipt, StripeId};
use codec::{DecodeAll, Encode};
use redb::{ReadableDatabase, Table, TableDefinition};

use super::{Holdings, Id, StoreError, stripes, stripes::STRIPES};

/// Stripe, shard, miner - SCALE `SignedReceipt`.
pub(super) const PENDING: TableDefinition<(Id, Id, Id), &[u8]> = TableDefinition::new("pending");

/// Receipts by stripe.
pub(crate) type PendingReceipts = BTreeMap<StripeId, Vec<SignedReceipt>>;

fn key(receipt: &Receipt) -> (Id, Id, Id) {
    (receipt.stripe.0, receipt.shard.0, receipt.node_id.0)
}

/// A ledger has a receipt.
pub(super) fn came(
    pending: &mut Table<'_, (Id, Id, Id), &'static [u8]>,
    receipt: &Receipt,
) -> Result<(), StoreError> {
    pending.remove(key(receipt))?;
    Ok(())
}

/// Nobody wants a stripe any more, or its receipts are not to be told.
pub(super) fn forget(
    pending: &mut Table<'_, (Id, Id, Id), &'static [u8]>,
    stripe: &Id,
) -> Result<(), StoreError> {
    pending.retain_in((*stripe, [0; 32], [0; 32])..=(*stripe, [0xff; 32], [0xff; 32]), |_, _| false)?;
    Ok(())
}

impl Holdings {
    /// Keeps receipts of a stripe until they come back in a ledger.
    pub(crate) fn keep_pending(&self, receipts: &[SignedReceipt]) -> Result<(), StoreError> {
        let transaction = self.database.begin_write()?;
        {
            let stripes = transaction.open_table(STRIPES)?;
            let mut pending = transaction.open_table(PENDING)?;
            for signed in receipts {
                if stripes::lacks(&stripes, &signed.receipt)? {
                    pending.insert(key(&signed.receipt), signed.encode().as_slice())?;
                }
            }
        }
        Ok(transaction.commit()?)
    }

    /// The receipts of these stripes that have not come back.
    pub(crate) fn pending(&self, stripes: RangeInclusive<StripeId>) -> Result<PendingReceipts, StoreError> {
        let table = self.database.begin_read()?.open_table(PENDING)?;
        let (first, last) = (stripes.start().0, stripes.end().0);
        let mut found = PendingReceipts::new();
        for entry in table.range((first, [0; 32], [0; 32])..=(last, [0xff; 32], [0xff; 32]))? {
            let (key, row) = entry?;
            // What cannot be read is asked for again.
            if let Ok(signed) = SignedReceipt::decode_all(&mut row.value()) {
                found.entry(StripeId(key.value().0)).or_default().push(signed);
            }
        }
        Ok(found)
    }

    /// The receipts of a stripe are not told any more.
    pub(crate) fn forget_pending(&self, stripe: &StripeId) -> Result<(), StoreError> {
        let transaction = self.database.begin_write()?;
        forget(&mut transaction.open_table(PENDING)?, &stripe.0)?;
        Ok(transaction.commit()?)
    }
}

#[cfg(test)]
mod tests {
    use arion_ledger::Change;
    use arion_types::{NodeId, ShardHash};

    use super::*;

    const GATEWAY: NodeId = NodeId([7; 32]);

    fn receipt(index: u8, miner: u8) -> Receipt {
        Receipt {
            shard: ShardHash([index + 1; 32]),
            size: 64,
            stripe: StripeId([5; 32]),
            pg: 0,
            index,
            epoch: 1,
            node_id: NodeId([miner; 32]),
            stored_at: 1,
        }
    }

    fn signed(index: u8, miner: u8) -> SignedReceipt {
        SignedReceipt { receipt: receipt(index, miner), signature: [3; 64] }
    }

    #[test]
    fn receipts_wait_for_their_lines_over_a_restart_and_go_with_their_stripe() {
        let directory = tempfile::tempdir().unwrap();
        let of_stripe = |holdings: &Holdings| {
            let found = holdings.pending(StripeId([0; 32])..=StripeId([9; 32])).unwrap();
            found.into_values().flatten().map(|signed| signed.receipt.index).collect::<Vec<_>>()
        };
        {
            let holdings = Holdings::open(directory.path()).unwrap();
            holdings.keep_pending(&[signed(1, 1)]).unwrap();
            assert_eq!(of_stripe(&holdings), Vec::<u8>::new(), "nobody wants the stripe");
            holdings.take_over(&GATEWAY, &[Change::Stored(receipt(0, 9))], 1).unwrap();
            holdings.keep_pending(&[signed(0, 9), signed(1, 1), signed(2, 2), signed(0, 3)]).unwrap();
            assert_eq!(holdings.bytes_of(&NodeId([1; 32])), 0);
        }
        let holdings = Holdings::open(directory.path()).unwrap();
        assert_eq!(of_stripe(&holdings), [0, 1, 2], "the ledger has the first already");
        holdings.take_over(&GATEWAY, &[Change::Stored(receipt(1, 1))], 2).unwrap();
        assert_eq!(of_stripe(&holdings), [0, 2]);
        let shards = [1, 2].map(|n| Change::Deleted { shard: ShardHash([n; 32]) });
        holdings.take_over(&GATEWAY, &shards, 4).unwrap();
        assert_eq!((of_stripe(&holdings), holdings.stripes(None, 9).unwrap()), (vec![], vec![]));

        holdings.take_over(&GATEWAY, &[Change::Stored(receipt(0, 9))], 5).unwrap();
        holdings.keep_pending(&[signed(2, 2)]).unwrap();
        holdings.forget_pending(&StripeId([6; 32])).unwrap();
        assert_eq!(of_stripe(&holdings), [2]);
        holdings.forget_pending(&StripeId([5; 32])).unwrap();
        assert_eq!(of_stripe(&holdings), Vec::<u8>::new());
    }
}
