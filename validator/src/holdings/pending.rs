//! Receipts that repair was given and that no line of a ledger has brought back yet.
//!
//! They count for nobody's sums. What repair has done once it need not do again for as long as its gateway does not say so in its ledger:
//! it is told of them again, which costs no shard.
//!
//! # Invariants
//! - Receipts are for a gateway, of stripes that it wants; they go with the last place of their stripe in its ledger.
//! - Who has signed for a shard in the ledger of a gateway has no receipt for it here.

use std::{collections::BTreeMap, ops::RangeInclusive};

use arion_types::{NodeId, Receipt, SignedReceipt, StripeId};
use codec::{DecodeAll, Encode};
use redb::{ReadableDatabase, Table, TableDefinition};

use super::{Holdings, Id, StoreError, StripeRef, stripes, stripes::STRIPES};

/// Stripe, gateway, shard, miner.
type Key = (Id, Id, Id, Id);

/// SCALE `SignedReceipt`.
pub(super) const PENDING: TableDefinition<Key, &[u8]> = TableDefinition::new("ledger-pending");
/// Of the layout in which all gateways shared a stripe: stripe, shard, miner. What was in it is found again by repair.
pub(super) const BEFORE_GATEWAYS: TableDefinition<(Id, Id, Id), &[u8]> = TableDefinition::new("pending");

/// Receipts by stripe.
pub(crate) type PendingReceipts = BTreeMap<StripeRef, Vec<SignedReceipt>>;

fn key(gateway: &NodeId, receipt: &Receipt) -> Key {
    (receipt.stripe.0, gateway.0, receipt.shard.0, receipt.node_id.0)
}

/// Of these stripes, all.
fn rows(stripes: RangeInclusive<StripeRef>) -> RangeInclusive<Key> {
    let (first, last) = stripes.into_inner();
    (first.id.0, first.gateway.0, [0; 32], [0; 32])..=(last.id.0, last.gateway.0, [0xff; 32], [0xff; 32])
}

/// The ledger of a gateway has a receipt.
pub(super) fn came(
    pending: &mut Table<'_, Key, &'static [u8]>,
    gateway: &NodeId,
    receipt: &Receipt,
) -> Result<(), StoreError> {
    pending.remove(key(gateway, receipt))?;
    Ok(())
}

/// A gateway does not want a stripe any more, or is not to be told of its receipts.
pub(super) fn forget(
    pending: &mut Table<'_, Key, &'static [u8]>,
    stripe: &StripeRef,
) -> Result<(), StoreError> {
    pending.retain_in(rows(*stripe..=*stripe), |_, _| false)?;
    Ok(())
}

impl Holdings {
    /// Keeps receipts until they come back in the ledger of this gateway.
    pub(crate) fn keep_pending(
        &self,
        gateway: &NodeId,
        receipts: &[SignedReceipt],
    ) -> Result<(), StoreError> {
        let transaction = self.database.begin_write()?;
        {
            let stripes = transaction.open_table(STRIPES)?;
            let mut pending = transaction.open_table(PENDING)?;
            for signed in receipts {
                if stripes::lacks(&stripes, gateway, &signed.receipt)? {
                    pending.insert(key(gateway, &signed.receipt), signed.encode().as_slice())?;
                }
            }
        }
        Ok(transaction.commit()?)
    }

    /// The receipts of these stripes that have not come back.
    pub(crate) fn pending(&self, stripes: RangeInclusive<StripeRef>) -> Result<PendingReceipts, StoreError> {
        let table = self.database.begin_read()?.open_table(PENDING)?;
        let mut found = PendingReceipts::new();
        for entry in table.range(rows(stripes))? {
            let (key, row) = entry?;
            // What cannot be read is asked for again.
            if let Ok(signed) = SignedReceipt::decode_all(&mut row.value()) {
                let (id, gateway, ..) = key.value();
                let stripe = StripeRef { id: StripeId(id), gateway: NodeId(gateway) };
                found.entry(stripe).or_default().push(signed);
            }
        }
        Ok(found)
    }

    /// The receipts of a stripe are not told any more.
    pub(crate) fn forget_pending(&self, stripe: &StripeRef) -> Result<(), StoreError> {
        let transaction = self.database.begin_write()?;
        forget(&mut transaction.open_table(PENDING)?, stripe)?;
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

    fn stripe(n: u8) -> StripeRef {
        StripeRef { id: StripeId([n; 32]), gateway: GATEWAY }
    }

    fn signed(index: u8, miner: u8) -> SignedReceipt {
        SignedReceipt { receipt: receipt(index, miner), signature: [3; 64] }
    }

    #[test]
    fn receipts_wait_for_their_lines_over_a_restart_and_go_with_their_stripe() {
        let directory = tempfile::tempdir().unwrap();
        let of_stripe = |holdings: &Holdings| {
            let found = holdings.pending(stripe(0)..=stripe(9)).unwrap();
            found.into_values().flatten().map(|signed| signed.receipt.index).collect::<Vec<_>>()
        };
        {
            let holdings = Holdings::open(directory.path()).unwrap();
            holdings.keep_pending(&GATEWAY, &[signed(1, 1)]).unwrap();
            assert_eq!(of_stripe(&holdings), Vec::<u8>::new(), "nobody wants the stripe");
            holdings.take_over(&GATEWAY, &[Change::Stored(receipt(0, 9))], 1).unwrap();
            holdings
                .keep_pending(&GATEWAY, &[signed(0, 9), signed(1, 1), signed(2, 2), signed(0, 3)])
                .unwrap();
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
        holdings.keep_pending(&GATEWAY, &[signed(2, 2)]).unwrap();
        holdings.forget_pending(&stripe(6)).unwrap();
        assert_eq!(of_stripe(&holdings), [2]);
        holdings.forget_pending(&stripe(5)).unwrap();
        assert_eq!(of_stripe(&holdings), Vec::<u8>::new());
    }
}
