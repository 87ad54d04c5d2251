//! The queues of background work: shards that are missing, and shards that are to be deleted.
//!
//! A row is of one place of a stripe ([`ShardPlace`]): where all shards of a stripe are the same bytes, as those of a snapshot's
//! root are, each of its miners has a row nevertheless.

use arion_types::{Epoch, NodeId, ShardHash, StripeId};
use codec::{Decode, DecodeAll, Encode};

use super::{
    DELETES, MISSING, Meta, MetaError, PlaceKey, ReadTransaction, ReadableTable, TableDefinition, Unreadable,
    moved::MOVED,
};
use crate::manifest::StripeRecord;

/// First and longest wait between two attempts of the background work.
const BACKOFF_MS: (u64, u64) = (2_000, 300_000);

/// A shard at its position in a stripe.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ShardPlace {
    /// Its address.
    pub shard: ShardHash,
    /// Its position.
    pub index: u8,
}

impl ShardPlace {
    /// The key of its row.
    pub(super) fn key(self) -> PlaceKey {
        (self.shard.0, self.index)
    }
}

/// A shard that its miner has not confirmed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct MissingRow {
    /// The stripe it belongs to.
    pub stripe: StripeId,
    /// Its position.
    pub index: u8,
    /// Attempts made in the background.
    pub attempts: u32,
    /// Not before, milliseconds since the Unix epoch.
    pub next_ms: u64,
}

/// A shard that a miner may still hold and that nobody wants any more.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct DeleteRow {
    /// Identity of the stripe it belonged to.
    pub stripe: StripeId,
    /// Its position.
    pub index: u8,
    /// Epoch of the map that placed it.
    pub epoch: Epoch,
    /// When it was queued, milliseconds since the Unix epoch.
    pub queued_ms: u64,
    /// Attempts made.
    pub attempts: u32,
    /// Not before, milliseconds since the Unix epoch.
    pub next_ms: u64,
    /// Miners that have confirmed that they do not hold it.
    pub done: Vec<NodeId>,
}

/// A row of a queue that background work goes through.
trait Queued: Decode {
    const NAME: &'static str;
    const TABLE: TableDefinition<PlaceKey, &'static [u8]>;

    fn next_ms(&self) -> u64;
}

impl Queued for MissingRow {
    const NAME: &'static str = "missing";
    const TABLE: TableDefinition<PlaceKey, &'static [u8]> = MISSING;

    fn next_ms(&self) -> u64 {
        self.next_ms
    }
}

impl Queued for DeleteRow {
    const NAME: &'static str = "deletes";
    const TABLE: TableDefinition<PlaceKey, &'static [u8]> = DELETES;

    fn next_ms(&self) -> u64 {
        self.next_ms
    }
}

/// Rows whose time has come. One that does not decode stays in the queue and waits for nobody.
fn due<R: Queued>(
    transaction: &ReadTransaction,
    unreadable: &Unreadable,
    now_ms: u64,
    limit: usize,
) -> Result<Vec<(ShardPlace, R)>, MetaError> {
    let mut due = Vec::new();
    for row in transaction.open_table(R::TABLE)?.iter()? {
        let (key, row) = row?;
        let (shard, index) = key.value();
        let place = ShardPlace { shard: ShardHash(shard), index };
        let row = R::decode_all(&mut row.value()).map_err(|_| MetaError::Row(R::NAME));
        if let Some(row) = unreadable.readable(row, place.shard)?.filter(|row| row.next_ms() <= now_ms) {
            due.push((place, row));
        }
        if due.len() == limit {
            break;
        }
    }
    Ok(due)
}

/// The wait behind so many attempts, in milliseconds.
pub(crate) fn backoff_ms(attempts: u32) -> u64 {
    BACKOFF_MS.0.saturating_mul(1 << attempts.min(16)).min(BACKOFF_MS.1)
}

impl Meta {
    /// Missing shards whose time has come, at most `limit`.
    pub async fn due_missing(
        &self,
        now_ms: u64,
        limit: usize,
    ) -> Result<Vec<(ShardPlace, MissingRow)>, MetaError> {
        let unreadable = self.unreadable.clone();
        self.read(move |transaction| due(transaction, &unreadable, now_ms, limit)).await
    }

    /// All places of a stripe whose shards are missing.
    pub async fn missing_of(&self, record: StripeRecord) -> Result<Vec<ShardPlace>, MetaError> {
        self.read(move |transaction| {
            let (missing, id) = (transaction.open_table(MISSING)?, record.id());
            let mut found = Vec::new();
            for (index, shard) in (0u8..).zip(record.hashes) {
                let row = missing.get((shard.0, index))?.map(|row| MissingRow::decode_all(&mut row.value()));
                if row.is_some_and(|row| row.is_ok_and(|row| row.stripe == id)) {
                    found.push(ShardPlace { shard, index });
                }
            }
            Ok(found)
        })
        .await
    }

    /// Puts missing shards off after an attempt that did not help.
    pub async fn postpone_missing(&self, places: Vec<ShardPlace>, now_ms: u64) -> Result<(), MetaError> {
        self.write(move |transaction| {
            let mut missing = transaction.open_table(MISSING)?;
            for place in &places {
                let row = missing.get(place.key())?.map(|row| MissingRow::decode_all(&mut row.value()));
                let Some(row) = row else { continue };
                let mut row = row.map_err(|_| MetaError::Row("missing"))?;
                row.next_ms = now_ms + backoff_ms(row.attempts);
                row.attempts += 1;
                missing.insert(place.key(), row.encode().as_slice())?;
            }
            Ok(())
        })
        .await
    }

    /// Number of missing shards and of queued deletions.
    pub async fn backlog(&self) -> Result<(u64, u64), MetaError> {
        self.read(|transaction| {
            Ok((transaction.open_table(MISSING)?.len()?, transaction.open_table(DELETES)?.len()?))
        })
        .await
    }

    /// Deletions whose time has come, at most `limit`.
    pub async fn due_deletes(
        &self,
        now_ms: u64,
        limit: usize,
    ) -> Result<Vec<(ShardPlace, DeleteRow)>, MetaError> {
        let unreadable = self.unreadable.clone();
        self.read(move |transaction| due(transaction, &unreadable, now_ms, limit)).await
    }

    /// Enters what attempts at deletion brought that began at `begun_ms`: `None` where nothing is left to do. What was queued anew since
    /// then stays: its shard came after the deletion.
    pub async fn deletes_tried(
        &self,
        outcomes: Vec<(ShardPlace, Option<DeleteRow>)>,
        begun_ms: u64,
        now_ms: u64,
    ) -> Result<(), MetaError> {
        self.write(move |transaction| {
            let mut deletes = transaction.open_table(DELETES)?;
            let mut moved = transaction.open_table(MOVED)?;
            for (place, row) in outcomes {
                let there = deletes.get(place.key())?.map(|row| DeleteRow::decode_all(&mut row.value()));
                if there.is_some_and(|row| row.is_ok_and(|row| row.queued_ms >= begun_ms)) {
                    continue;
                }
                match row {
                    None => {
                        moved.remove(place.key())?;
                        deletes.remove(place.key())?
                    }
                    Some(mut row) => {
                        row.next_ms = now_ms + backoff_ms(row.attempts);
                        row.attempts += 1;
                        deletes.insert(place.key(), row.encode().as_slice())?;
                    }
                }
            }
            Ok(())
        })
        .await
    }
}
