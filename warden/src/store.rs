//! What a warden keeps on disk.
//!
//! | table | key | value |
//! |---|---|---|
//! | `shards` | shard (32 bytes), miner (32) | gateway (32), size (u32), round of the last verdict (u64) |
//! | `cursors` | gateway (32) | last sequence number taken over |
//! | `outbox` | number | SCALE `AttestationRecord` |
//! | `state` | name | number |
//!
//! # Invariants
//! - A page of a ledger and the cursor behind it are one transaction; so are an attestation and the mark that the
//!   shard has its verdict.
//! - Every change is durable when the function returns.

use std::path::{Path, PathBuf};

use arion_ledger::Change;
use arion_types::{AttestationRecord, NodeId, Receipt, ShardHash};
use codec::{DecodeAll, Encode};
use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};

use crate::sampler::Target;

type ShardKey = ([u8; 32], [u8; 32]);
type ShardValue = ([u8; 32], u32, u64);

const SHARDS: TableDefinition<ShardKey, ShardValue> = TableDefinition::new("shards");
const CURSORS: TableDefinition<[u8; 32], u64> = TableDefinition::new("cursors");
const OUTBOX: TableDefinition<u64, &[u8]> = TableDefinition::new("outbox");
const STATE: TableDefinition<&str, u64> = TableDefinition::new("state");

const ROUND: &str = "round";
/// Numbers in the outbox are never used twice, so that a late acknowledgement removes nothing else.
const OUTBOX_NEXT: &str = "outbox_next";

/// Pages of the database kept in memory, in bytes.
const CACHE_BYTES: usize = 8 << 20;

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be opened.
    #[error("cannot open the store {}: {reason}; is another arion-warden using it?", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: Box<redb::Error>,
    },
    /// Reading or writing failed.
    #[error("the store cannot be read or written: {0}; make room on the disk, or repair it, and start again")]
    Storage(Box<redb::Error>),
    /// An entry does not decode.
    #[error("an entry of the store does not decode; restore the data directory from a backup")]
    Corrupt,
}

impl<E: Into<redb::Error>> From<E> for StoreError {
    fn from(error: E) -> Self {
        Self::Storage(Box::new(error.into()))
    }
}

/// What a page really changed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Applied {
    /// Shards that were not known.
    pub added: Vec<Target>,
    /// Shards that were known, with their miners.
    pub removed: Vec<(NodeId, ShardHash)>,
}

/// The store.
#[derive(Debug)]
pub struct Store {
    database: Database,
}

impl Store {
    /// Opens or makes the store in `directory`.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let path = directory.join("warden.redb");
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create(&path)
            .map_err(|reason| StoreError::Open { path, reason: Box::new(reason.into()) })?;
        Self::on(database)
    }

    fn on(database: Database) -> Result<Self, StoreError> {
        let transaction = database.begin_write()?;
        transaction.open_table(SHARDS)?;
        transaction.open_table(CURSORS)?;
        transaction.open_table(OUTBOX)?;
        transaction.open_table(STATE)?;
        transaction.commit()?;
        Ok(Self { database })
    }

    /// Whether it can still be used: after a failed read or write it refuses everything until it is opened again.
    pub fn check(&self) -> Result<(), StoreError> {
        Ok(self.database.begin_write()?.abort()?)
    }

    /// All shards with the round of their last verdict; 0 for none.
    pub fn shards(&self) -> Result<Vec<(Target, u64)>, StoreError> {
        let table = self.database.begin_read()?.open_table(SHARDS)?;
        let mut shards = Vec::new();
        for entry in table.iter()? {
            let (key, value) = entry?;
            let ((shard, node), (gateway, size, round)) = (key.value(), value.value());
            let target =
                Target { node: NodeId(node), shard: ShardHash(shard), size, gateway: NodeId(gateway) };
            shards.push((target, round));
        }
        Ok(shards)
    }

    /// Last sequence number taken over from a gateway; 0 for none.
    pub fn cursor(&self, gateway: &NodeId) -> Result<u64, StoreError> {
        let table = self.database.begin_read()?.open_table(CURSORS)?;
        Ok(table.get(gateway.0)?.map_or(0, |cursor| cursor.value()))
    }

    /// Takes over a page of a gateway's ledger. Returns what really changed. A gateway removes only what came from
    /// it.
    pub fn apply(&self, gateway: &NodeId, changes: &[Change], cursor: u64) -> Result<Applied, StoreError> {
        let Applied { mut added, mut removed } = Applied::default();
        let transaction = self.database.begin_write()?;
        {
            let mut shards = transaction.open_table(SHARDS)?;
            for change in changes {
                match change {
                    Change::Stored(Receipt { node_id: node, shard, size, .. }) => {
                        let key = (shard.0, node.0);
                        if shards.get(key)?.is_none() {
                            shards.insert(key, (gateway.0, *size, 0))?;
                            added.push(Target { node: *node, shard: *shard, size: *size, gateway: *gateway });
                        }
                    }
                    Change::Deleted { shard } => {
                        let mut nodes = Vec::new();
                        for entry in shards.range((shard.0, [0; 32])..=(shard.0, [0xff; 32]))? {
                            let (key, value) = entry?;
                            if value.value().0 == gateway.0 {
                                nodes.push(key.value().1);
                            }
                        }
                        for node in nodes {
                            shards.remove((shard.0, node))?;
                            added.retain(|target| (target.shard, target.node.0) != (*shard, node));
                            removed.push((NodeId(node), *shard));
                        }
                    }
                }
            }
            transaction.open_table(CURSORS)?.insert(gateway.0, cursor)?;
        }
        transaction.commit()?;
        Ok(Applied { added, removed })
    }

    /// The round; 1 at first.
    pub fn round(&self) -> Result<u64, StoreError> {
        let table = self.database.begin_read()?.open_table(STATE)?;
        Ok(table.get(ROUND)?.map_or(1, |round| round.value()))
    }

    /// A round begins.
    pub fn set_round(&self, round: u64) -> Result<(), StoreError> {
        let transaction = self.database.begin_write()?;
        transaction.open_table(STATE)?.insert(ROUND, round)?;
        Ok(transaction.commit()?)
    }

    /// Keeps a signed attestation for hand-over, and that the shard has its verdict for the round.
    pub fn attest(&self, record: &AttestationRecord, target: &Target, round: u64) -> Result<(), StoreError> {
        let transaction = self.database.begin_write()?;
        {
            let mut state = transaction.open_table(STATE)?;
            let number = state.get(OUTBOX_NEXT)?.map_or(1, |number| number.value());
            state.insert(OUTBOX_NEXT, number + 1)?;
            transaction.open_table(OUTBOX)?.insert(number, record.encode().as_slice())?;
            let mut shards = transaction.open_table(SHARDS)?;
            let key = (target.shard.0, target.node.0);
            let known = shards.get(key)?.map(|value| value.value());
            if let Some((gateway, size, _)) = known {
                shards.insert(key, (gateway, size, round))?;
            }
        }
        Ok(transaction.commit()?)
    }

    /// Attestations not handed over yet, oldest first, at most `limit`, with their numbers.
    pub fn outbox(&self, limit: usize) -> Result<Vec<(u64, AttestationRecord)>, StoreError> {
        let table = self.database.begin_read()?.open_table(OUTBOX)?;
        let mut records = Vec::new();
        for entry in table.iter()?.take(limit) {
            let (number, bytes) = entry?;
            let record = AttestationRecord::decode_all(&mut bytes.value());
            records.push((number.value(), record.map_err(|_| StoreError::Corrupt)?));
        }
        Ok(records)
    }

    /// Number of attestations not handed over yet.
    pub fn outbox_len(&self) -> Result<u64, StoreError> {
        Ok(self.database.begin_read()?.open_table(OUTBOX)?.len()?)
    }

    /// They are durable elsewhere.
    pub fn handed_over(&self, numbers: &[u64]) -> Result<(), StoreError> {
        let transaction = self.database.begin_write()?;
        {
            let mut outbox = transaction.open_table(OUTBOX)?;
            for number in numbers {
                outbox.remove(number)?;
            }
        }
        Ok(transaction.commit()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arion_types::StripeId;

    const GATEWAY: NodeId = NodeId([7; 32]);

    #[test]
    fn a_full_disk_keeps_nothing_and_is_noticed() {
        let disk = arion_stranger::SmallDisk::default();
        let store = Store::on(Database::builder().create_with_backend(disk.clone()).unwrap()).unwrap();
        store.set_round(1).unwrap();
        store.check().unwrap();
        disk.fill();
        assert!(store.set_round(2).is_err());
        disk.clear();
        let said = store.check().unwrap_err().to_string();
        assert!(said.contains("make room"), "{said}");
    }

    fn target(node: u8, shard: u8) -> Target {
        Target { node: NodeId([node; 32]), shard: ShardHash([shard; 32]), size: 64, gateway: GATEWAY }
    }

    fn stored(node: u8, shard: u8) -> Change {
        Change::Stored(Receipt {
            shard: ShardHash([shard; 32]),
            size: 64,
            stripe: StripeId([1; 32]),
            pg: 0,
            index: 0,
            epoch: 1,
            node_id: NodeId([node; 32]),
            stored_at: 1,
        })
    }

    fn deleted(shard: u8) -> Change {
        Change::Deleted { shard: ShardHash([shard; 32]) }
    }

    fn record(n: u64) -> AttestationRecord {
        crate::samples::record(NodeId([0; 32]), n)
    }

    #[test]
    fn pages_verdicts_and_outbox_survive_reopening() {
        let directory = tempfile::tempdir().unwrap();
        {
            let store = Store::open(directory.path()).unwrap();
            let page = [stored(1, 1), stored(2, 1), stored(1, 2)];
            let applied = store.apply(&GATEWAY, &page, 3).unwrap();
            assert_eq!((applied.added.len(), applied.removed.len()), (3, 0));
            assert_eq!(store.apply(&GATEWAY, &page, 3).unwrap(), Applied::default());
            store.set_round(5).unwrap();
            store.attest(&record(10), &target(1, 2), 5).unwrap();
            store.attest(&record(11), &target(9, 9), 5).unwrap();
        }
        let store = Store::open(directory.path()).unwrap();
        assert_eq!((store.cursor(&GATEWAY).unwrap(), store.round().unwrap()), (3, 5));
        let shards = store.shards().unwrap();
        assert_eq!(shards, [(target(1, 1), 0), (target(2, 1), 0), (target(1, 2), 5)]);
        let outbox = store.outbox(10).unwrap();
        assert_eq!(outbox, [(1, record(10)), (2, record(11))]);
        store.handed_over(&[1, 2]).unwrap();
        store.attest(&record(12), &target(1, 1), 5).unwrap();
        assert_eq!(store.outbox(10).unwrap(), [(3, record(12))]);
    }

    #[test]
    fn a_gateway_removes_only_what_came_from_it() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let page = [stored(1, 1), stored(2, 1), stored(1, 2)];
        store.apply(&GATEWAY, &page, 3).unwrap();
        let Applied { removed, .. } = store.apply(&NodeId([8; 32]), &[deleted(1)], 1).unwrap();
        assert!(removed.is_empty());
        let Applied { removed, .. } = store.apply(&GATEWAY, &[deleted(1)], 4).unwrap();
        assert_eq!(removed, [(NodeId([1; 32]), ShardHash([1; 32])), (NodeId([2; 32]), ShardHash([1; 32]))]);
        assert_eq!(store.shards().unwrap(), [(target(1, 2), 0)]);
        let both = [stored(3, 3), deleted(3)];
        assert!(store.apply(&GATEWAY, &both, 6).unwrap().added.is_empty());
    }
}
