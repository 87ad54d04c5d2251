//! Receipts of a snapshot that their miners have not confirmed yet.
//!
//! The gateway that is lost may have had miners delete since, on signed orders: a line of the ledger about such a shard would accuse
//! whoever obeyed. So a receipt of a snapshot becomes a line when its miner says that it has the shard (`crate::grid`, `confirm.rs`).
//!
//! # Invariants
//! - A row is of a stripe in `STRIPES`, and of a miner that has no line for that place.
//! - Rows only go: into the ledger, in the transaction that enters the line, or out. A place that is left without line and row is in
//!   `MISSING` from then on.
//! - Rows of a stripe that is given up go with it, and their miners are told of the deletion.
//!
//! In order of stripe, so that the lines of a stripe come at once: who follows the ledger sees no half of one.

use std::collections::{BTreeMap, HashSet};

use arion_protocol::LedgerRecord;
use arion_types::{NodeId, Receipt, SignedReceipt, StripeId};
use codec::{DecodeAll, Encode};

use super::{
    Hash, LEDGER, MISSING, Meta, MetaError, MissingRow, PlaceKey, ReadableTable, TableDefinition,
    WriteTransaction, ledger,
    moved::{Holder, MOVED, also_held, holders_of},
    receipts::{self, RECEIPTS},
    stripes,
};
use crate::manifest::StripeRecord;

/// Stripe, position and miner - the line that it becomes, SCALE.
pub(super) const UNCONFIRMED: TableDefinition<Key, &[u8]> = TableDefinition::new("unconfirmed");

/// Stripe, position, miner.
type Key = (Hash, u8, Hash);

/// Where a look through the receipts goes on; none when it has ended.
pub type UnconfirmedCursor = Option<(StripeId, u8, NodeId)>;

fn key(receipt: &Receipt) -> Key {
    (receipt.stripe.0, receipt.index, receipt.node_id.0)
}

fn all_of(stripe: &StripeId) -> std::ops::RangeInclusive<Key> {
    (stripe.0, 0, [0; 32])..=(stripe.0, u8::MAX, [u8::MAX; 32])
}

/// The receipt in a line.
pub(super) fn receipt_in(line: &[u8]) -> Result<SignedReceipt, MetaError> {
    match LedgerRecord::decode_all(&mut &*line) {
        Ok(LedgerRecord::Stored(signed)) => Ok(signed),
        _ => Err(MetaError::Row("receipts")),
    }
}

/// Enters a receipt of a snapshot, as the line that it was.
pub(super) fn enter(transaction: &WriteTransaction, line: &[u8]) -> Result<(), MetaError> {
    let signed = receipt_in(line)?;
    transaction.open_table(UNCONFIRMED)?.insert(key(&signed.receipt), line)
}

/// The miner has signed anew, and has a line.
pub(super) fn signed_anew(transaction: &WriteTransaction, receipt: &Receipt) -> Result<(), MetaError> {
    transaction.open_table(UNCONFIRMED)?.remove(key(receipt))
}

/// Nobody wants the stripe any more: who may have shards of it is told of the deletion.
pub(super) fn buried(transaction: &WriteTransaction, record: &StripeRecord) -> Result<(), MetaError> {
    let mut rows = transaction.open_table(UNCONFIRMED)?;
    let keys = rows.range::<Key>(all_of(&record.id()))?.map(|row| Ok(row?.0.value()));
    let keys = keys.collect::<Result<Vec<Key>, MetaError>>()?;
    if keys.is_empty() {
        return Ok(());
    }
    let mut moved = transaction.open_table(MOVED)?;
    for (stripe, index, node) in keys {
        rows.remove((stripe, index, node))?;
        if let Some(shard) = record.hashes.get(usize::from(index)) {
            also_held(&mut moved, (shard.0, index), Holder { node: NodeId(node), line: 0 })?;
        }
    }
    Ok(())
}

impl Meta {
    /// Receipts that are not confirmed, by the next `limit` rows behind `after`, and where to go on.
    pub async fn unconfirmed(
        &self,
        after: UnconfirmedCursor,
        limit: usize,
    ) -> Result<(Vec<SignedReceipt>, UnconfirmedCursor), MetaError> {
        use std::ops::Bound::{Excluded, Unbounded};
        let unreadable = self.unreadable.clone();
        self.read(move |transaction| {
            let from = after.map_or(Unbounded, |(stripe, index, node)| Excluded((stripe.0, index, node.0)));
            let (mut found, mut seen, mut reached) = (Vec::new(), 0, None);
            for row in transaction.open_table(UNCONFIRMED)?.range::<Key>((from, Unbounded))?.take(limit) {
                let (key, line) = row?;
                let (stripe, index, node) = key.value();
                (seen, reached) = (seen + 1, Some((StripeId(stripe), index, NodeId(node))));
                found.extend(unreadable.readable(receipt_in(line.value()), StripeId(stripe))?);
            }
            Ok((found, reached.filter(|_| seen == limit)))
        })
        .await
    }

    /// How many there are.
    pub async fn unconfirmed_len(&self) -> Result<u64, MetaError> {
        self.read(|transaction| transaction.open_table(UNCONFIRMED)?.len()).await
    }

    /// Which positions of these stripes are waited for, and which miner's word.
    pub async fn unconfirmed_among(
        &self,
        stripes: Vec<StripeId>,
    ) -> Result<HashSet<(StripeId, u8, NodeId)>, MetaError> {
        self.read(move |transaction| {
            let rows = transaction.open_table(UNCONFIRMED)?;
            let mut found = HashSet::new();
            if rows.is_empty()? {
                return Ok(found);
            }
            for stripe in stripes {
                for row in rows.range::<Key>(all_of(&stripe))? {
                    let (stripe, index, node) = row?.0.value();
                    found.insert((StripeId(stripe), index, NodeId(node)));
                }
            }
            Ok(found)
        })
        .await
    }

    /// Enters what came of receipts: those whose miners have the shards become lines of the ledger; a place whose shard nobody has is
    /// missing from now on. Receipts that are not waited for any more change nothing. How many lines were entered.
    pub async fn confirm(
        &self,
        answers: Vec<(SignedReceipt, bool)>,
        now_ms: u64,
    ) -> Result<usize, MetaError> {
        let unreadable = self.unreadable.clone();
        self.index_all_receipts().await?;
        self.write(move |transaction| {
            receipts::catch_up(transaction, &unreadable)?;
            let (mut held, gone): (Vec<_>, Vec<_>) = answers.into_iter().partition(|(_, is_held)| *is_held);
            // As the lines of the ledger that is lost were: of several miners of a shard the newest is the last.
            held.sort_by_key(|(SignedReceipt { receipt, .. }, _)| {
                (receipt.stripe, receipt.index, receipt.epoch, receipt.stored_at)
            });
            let mut change = Change::begin(transaction)?;
            for (signed, _) in held {
                change.held(transaction, signed)?;
            }
            for (signed, _) in gone {
                change.gone(transaction, &signed.receipt, now_ms)?;
            }
            let lines = change.lines;
            let count = lines.len();
            ledger::append(transaction, lines)?;
            Ok(count)
        })
        .await
    }
}

/// Receipts that leave the table, and lines that are to be appended.
struct Change {
    lines: Vec<LedgerRecord>,
    /// The number of the last line.
    last: u64,
    /// Who has the lines of places that were not moved and that the index does not know yet.
    new: BTreeMap<PlaceKey, Holder>,
    /// The stripe that was looked up last.
    stripe: Option<(StripeId, Option<StripeRecord>)>,
}

impl Change {
    fn begin(transaction: &WriteTransaction) -> Result<Self, MetaError> {
        let last = transaction.open_table(LEDGER)?.last()?.map_or(0, |(line, _)| line.value());
        Ok(Self { lines: Vec::new(), last, new: BTreeMap::new(), stripe: None })
    }

    /// The epoch of the stripe of a receipt that is still waited for, which it is not any more.
    fn take(&mut self, transaction: &WriteTransaction, receipt: &Receipt) -> Result<Option<u64>, MetaError> {
        if transaction.open_table(UNCONFIRMED)?.take(key(receipt))?.is_none() {
            return Ok(None);
        }
        if self.stripe.as_ref().is_none_or(|(known, _)| *known != receipt.stripe) {
            let record = stripes::record_for_change(transaction, &receipt.stripe)?;
            self.stripe = Some((receipt.stripe, record));
        }
        let record = self.stripe.as_ref().and_then(|(_, record)| record.as_ref());
        Ok(record.map(|record| record.epoch))
    }

    /// Who has a line for a place.
    fn known(&self, transaction: &WriteTransaction, place: PlaceKey) -> Result<Vec<Holder>, MetaError> {
        if let Some(known) = holders_of(&transaction.open_table(MOVED)?, place)? {
            return Ok(known);
        }
        let newest = match self.new.get(&place) {
            Some(new) => Some(*new),
            None => receipts::newest_in(
                &transaction.open_table(RECEIPTS)?,
                &transaction.open_table(LEDGER)?,
                place,
            )?,
        };
        Ok(newest.into_iter().collect())
    }

    /// The miner has the shard.
    fn held(&mut self, transaction: &WriteTransaction, signed: SignedReceipt) -> Result<(), MetaError> {
        let receipt = &signed.receipt;
        let Some(epoch) = self.take(transaction, receipt)? else { return Ok(()) };
        let place = (receipt.shard.0, receipt.index);
        let mut known = self.known(transaction, place)?;
        if known.iter().any(|holder| holder.node == receipt.node_id) {
            return Ok(());
        }
        transaction.open_table(MISSING)?.remove(place)?;
        self.last += 1;
        let holder = Holder { node: receipt.node_id, line: self.last };
        match known.is_empty() && receipt.epoch == epoch {
            true => drop(self.new.insert(place, holder)),
            // Besides others, or where a later map named it: the deletion has to reach it.
            false => {
                known.push(holder);
                transaction.open_table(MOVED)?.insert(place, known.encode().as_slice())?;
            }
        }
        self.lines.push(LedgerRecord::Stored(signed));
        Ok(())
    }

    /// The miner has not got it.
    fn gone(
        &mut self,
        transaction: &WriteTransaction,
        receipt: &Receipt,
        now_ms: u64,
    ) -> Result<(), MetaError> {
        if self.take(transaction, receipt)?.is_none() {
            return Ok(());
        }
        let place = (receipt.shard.0, receipt.index);
        let mut missing = transaction.open_table(MISSING)?;
        if self.known(transaction, place)?.is_empty() && missing.get(place)?.is_none() {
            let (stripe, index) = (receipt.stripe, receipt.index);
            let row = MissingRow { stripe, index, attempts: 0, next_ms: now_ms };
            missing.insert(place, row.encode().as_slice())?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "unconfirmed_tests.rs"]
pub(super) mod tests;
