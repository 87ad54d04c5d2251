//! The queue on disk.
//!
//! | table | key | value |
//! |---|---|---|
//! | `queue` | bucket (u32), number (u64) | SCALE `AttestationRecord` |
//! | `known` | id (32 bytes) | state (u8), bucket (u32), number (u64) |
//! | `rejected` | id (32 bytes) | reason, SCALE `AttestationRecord` |
//! | `flights` | bucket (u32) | last block at which the batch can be included (u32), ids (32 bytes each) |
//! | `commitments` | epoch (u64) | last block at which the transaction that left can be included (u32, or none), SCALE `AttestationCommitment` |
//! | `costs` | number (u64) | when a batch left or its fee was told, milliseconds since the Unix epoch (u64), fee (u128, or none if unknown) |
//!
//! # Invariants
//! - An entry of `queue` has an entry of `known` in state queued that points back at it, and the reverse.
//! - Every change is one transaction, durable when the function returns.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use arion_types::{AttestationCommitment, AttestationRecord, Epoch, GenesisHash};
use codec::{DecodeAll, Encode};
use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};

use crate::{
    bundle::commit::Committing,
    flow::{Flight, Settlement},
    spending::Cost,
};

const QUEUE: TableDefinition<(u32, u64), &[u8]> = TableDefinition::new("queue");
const KNOWN: TableDefinition<&[u8; 32], (u8, u32, u64)> = TableDefinition::new("known");
const REJECTED: TableDefinition<&[u8; 32], (&str, &[u8])> = TableDefinition::new("rejected");
const FLIGHTS: TableDefinition<u32, (u32, Vec<[u8; 32]>)> = TableDefinition::new("flights");
const COMMITMENTS: TableDefinition<u64, (Option<u32>, &[u8])> = TableDefinition::new("commitments");
const COSTS: TableDefinition<u64, (u64, Option<u128>)> = TableDefinition::new("costs");

const QUEUED: u8 = 0;
const FINALIZED: u8 = 1;
const REJECTED_STATE: u8 = 2;

/// Pages of the database kept in memory, in bytes.
const CACHE_BYTES: usize = 8 << 20;
/// What became of an attestation is remembered for this many buckets behind its own; by then the chain takes no
/// attestations of its bucket any more.
const MEMORY_BUCKETS: u32 = 2_000;

/// Identity of an attestation: BLAKE3 of what its warden signed.
pub type AttestationId = [u8; 32];

/// See [`AttestationId`].
pub fn attestation_id(record: &AttestationRecord, genesis: &GenesisHash) -> AttestationId {
    blake3::hash(&record.message(genesis)).into()
}

/// Why the queue cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// It cannot be opened.
    #[error("cannot open the queue {}: {reason}; is another arion-submitter using it?", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: Box<redb::Error>,
    },
    /// Reading or writing failed.
    #[error("the queue cannot be read or written: {0}; make room on the disk, or repair it, and start again")]
    Storage(Box<redb::Error>),
    /// An entry does not decode.
    #[error("an entry of the queue does not decode; restore the data directory from a backup")]
    Corrupt,
    /// No more are taken for now.
    #[error("the queue is full")]
    Full,
}

impl<E: Into<redb::Error>> From<E> for QueueError {
    fn from(error: E) -> Self {
        Self::Storage(Box::new(error.into()))
    }
}

/// A queued attestation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Queued {
    /// Its identity.
    pub id: AttestationId,
    /// The attestation.
    pub record: AttestationRecord,
}

/// The queue.
#[derive(Debug)]
pub struct Queue {
    database: Database,
    genesis: GenesisHash,
    length_max: u64,
    next_number: AtomicU64,
}

impl Queue {
    /// Opens or makes the queue in `directory`. It takes up to `length_max` attestations.
    pub fn open(directory: &Path, genesis: GenesisHash, length_max: u64) -> Result<Self, QueueError> {
        let path = directory.join("queue.redb");
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create(&path)
            .map_err(|reason| QueueError::Open { path, reason: Box::new(reason.into()) })?;
        Self::on(database, genesis, length_max)
    }

    fn on(database: Database, genesis: GenesisHash, length_max: u64) -> Result<Self, QueueError> {
        let transaction = database.begin_write()?;
        let mut last = 0;
        {
            let queue = transaction.open_table(QUEUE)?;
            for entry in queue.iter()? {
                last = last.max(entry?.0.value().1);
            }
            transaction.open_table(KNOWN)?;
            transaction.open_table(REJECTED)?;
            transaction.open_table(FLIGHTS)?;
            transaction.open_table(COMMITMENTS)?;
            transaction.open_table(COSTS)?;
        }
        transaction.commit()?;
        Ok(Self { database, genesis, length_max, next_number: AtomicU64::new(last + 1) })
    }

    /// Whether it can still be used: after a failed read or write it refuses everything until it is opened again.
    pub fn check(&self) -> Result<(), QueueError> {
        Ok(self.database.begin_write()?.abort()?)
    }

    /// Takes attestations; those known already are left out. Returns how many were new.
    pub fn push(&self, records: &[AttestationRecord], bucket_blocks: u32) -> Result<u32, QueueError> {
        let transaction = self.database.begin_write()?;
        let mut new = 0;
        {
            let mut queue = transaction.open_table(QUEUE)?;
            let mut known = transaction.open_table(KNOWN)?;
            for record in records {
                let id = attestation_id(record, &self.genesis);
                if known.get(&id)?.is_some() {
                    continue;
                }
                let bucket = bucket_of(record, bucket_blocks);
                let number = self.next_number.fetch_add(1, Ordering::Relaxed);
                queue.insert((bucket, number), record.encode().as_slice())?;
                known.insert(&id, (QUEUED, bucket, number))?;
                new += 1;
            }
            if queue.len()? > self.length_max {
                return Err(QueueError::Full);
            }
        }
        transaction.commit()?;
        Ok(new)
    }

    /// Number of attestations waiting.
    pub fn len(&self) -> Result<u64, QueueError> {
        Ok(self.database.begin_read()?.open_table(QUEUE)?.len()?)
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> Result<bool, QueueError> {
        Ok(self.len()? == 0)
    }

    /// Buckets with waiting attestations and how many, oldest first.
    pub fn buckets(&self) -> Result<Vec<(u32, usize)>, QueueError> {
        let queue = self.database.begin_read()?.open_table(QUEUE)?;
        let mut buckets: Vec<(u32, usize)> = Vec::new();
        for entry in queue.iter()? {
            let (bucket, _) = entry?.0.value();
            match buckets.last_mut() {
                Some((last, count)) if *last == bucket => *count += 1,
                _ => buckets.push((bucket, 1)),
            }
        }
        Ok(buckets)
    }

    /// Attestations of a bucket, at most `limit`, in the order in which they came.
    pub fn of_bucket(&self, bucket: u32, limit: usize) -> Result<Vec<Queued>, QueueError> {
        let queue = self.database.begin_read()?.open_table(QUEUE)?;
        let range = queue.range((bucket, 0)..=(bucket, u64::MAX))?;
        let mut found = Vec::new();
        for entry in range.take(limit) {
            let record = decode(entry?.1.value())?;
            found.push(Queued { id: attestation_id(&record, &self.genesis), record });
        }
        Ok(found)
    }

    /// Writes a settlement down, all of it or nothing. Returns how many attestations had been waiting and are found
    /// in the finalised chain.
    pub fn settle(&self, settlement: &Settlement) -> Result<u32, QueueError> {
        let transaction = self.database.begin_write()?;
        let mut count = 0;
        {
            let mut queue = transaction.open_table(QUEUE)?;
            let mut known = transaction.open_table(KNOWN)?;
            let mut reasons = transaction.open_table(REJECTED)?;
            let mut leave = |id: &AttestationId, state: u8| -> Result<bool, QueueError> {
                let before = known.get(id)?.map(|state| state.value());
                let Some((QUEUED, bucket, number)) = before else { return Ok(false) };
                queue.remove((bucket, number))?;
                known.insert(id, (state, bucket, number))?;
                Ok(true)
            };
            for id in &settlement.finalized {
                count += u32::from(leave(id, FINALIZED)?);
            }
            for (queued, reason) in &settlement.rejected {
                if leave(&queued.id, REJECTED_STATE)? {
                    reasons.insert(&queued.id, (reason.as_str(), queued.record.encode().as_slice()))?;
                }
            }
            let mut flights = transaction.open_table(FLIGHTS)?;
            for bucket in &settlement.landed {
                flights.remove(bucket)?;
            }
            if let Some((bucket, Flight { ids, until })) = &settlement.departing {
                flights.insert(bucket, (*until, ids.clone()))?;
            }
            let mut commitments = transaction.open_table(COMMITMENTS)?;
            match &settlement.committing {
                Some((epoch, Some(Committing { commitment, until }))) => {
                    commitments.insert(epoch, (*until, commitment.encode().as_slice()))?;
                }
                Some((epoch, None)) => drop(commitments.remove(epoch)?),
                None => {}
            }
            let mut costs = transaction.open_table(COSTS)?;
            for (number, cost) in &settlement.costs {
                match cost {
                    Some(Cost { at, fee }) => {
                        costs.insert(number, (u64::try_from(at.as_millis()).unwrap_or(u64::MAX), *fee))?
                    }
                    None => costs.remove(number)?,
                };
            }
        }
        transaction.commit()?;
        Ok(count)
    }

    /// Batches that may be on their way, by bucket.
    pub fn flights(&self) -> Result<BTreeMap<u32, Flight>, QueueError> {
        let table = self.database.begin_read()?.open_table(FLIGHTS)?;
        let mut flights = BTreeMap::new();
        for entry in table.iter()? {
            let (bucket, flight) = entry?;
            let (until, ids) = flight.value();
            flights.insert(bucket.value(), Flight { ids, until });
        }
        Ok(flights)
    }

    /// Commitments that are to be brought to the chain, by epoch.
    pub fn commitments(&self) -> Result<BTreeMap<Epoch, Committing>, QueueError> {
        let table = self.database.begin_read()?.open_table(COMMITMENTS)?;
        let mut commitments = BTreeMap::new();
        for entry in table.iter()? {
            let (epoch, value) = entry?;
            let (until, mut bytes) = value.value();
            let commitment =
                AttestationCommitment::decode_all(&mut bytes).map_err(|_| QueueError::Corrupt)?;
            commitments.insert(epoch.value(), Committing { commitment, until });
        }
        Ok(commitments)
    }

    /// What transactions of the last day cost, by number.
    pub fn costs(&self) -> Result<BTreeMap<u64, Cost>, QueueError> {
        let table = self.database.begin_read()?.open_table(COSTS)?;
        let mut costs = BTreeMap::new();
        for entry in table.iter()? {
            let (number, cost) = entry?;
            let (at, fee) = cost.value();
            costs.insert(number.value(), Cost { at: Duration::from_millis(at), fee });
        }
        Ok(costs)
    }

    /// Attestations the chain will never take, with the reasons; at most `limit`.
    pub fn rejected(&self, limit: usize) -> Result<Vec<(AttestationRecord, String)>, QueueError> {
        let reasons = self.database.begin_read()?.open_table(REJECTED)?;
        let mut found = Vec::new();
        for entry in reasons.iter()?.take(limit) {
            let (_, value) = entry?;
            let (reason, record) = value.value();
            found.push((decode(record)?, reason.to_owned()));
        }
        Ok(found)
    }

    /// Forgets what became of attestations long before `bucket`. Waiting ones stay.
    pub fn forget_before(&self, bucket: u32) -> Result<(), QueueError> {
        let oldest = bucket.saturating_sub(MEMORY_BUCKETS);
        let transaction = self.database.begin_write()?;
        {
            let mut known = transaction.open_table(KNOWN)?;
            let mut reasons = transaction.open_table(REJECTED)?;
            let mut old = Vec::new();
            for entry in known.iter()? {
                let (id, state) = entry?;
                let (state, bucket, _) = state.value();
                if state != QUEUED && bucket < oldest {
                    old.push(*id.value());
                }
            }
            for id in &old {
                known.remove(id)?;
                reasons.remove(id)?;
            }
        }
        transaction.commit()?;
        Ok(())
    }
}

/// Bucket of an attestation: the block of its seed divided by the blocks of a bucket.
pub fn bucket_of(record: &AttestationRecord, bucket_blocks: u32) -> u32 {
    u32::try_from(record.block_number / u64::from(bucket_blocks.max(1))).unwrap_or(u32::MAX)
}

fn decode(bytes: &[u8]) -> Result<AttestationRecord, QueueError> {
    AttestationRecord::decode_all(&mut &bytes[..]).map_err(|_| QueueError::Corrupt)
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
