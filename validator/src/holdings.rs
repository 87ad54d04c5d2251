//! How many bytes each miner has signed for, by the ledgers of the gateways.
//!
//! | table | key | value |
//! |---|---|---|
//! | `shards` | shard (32 bytes), miner (32) | gateway (32), size (u32) |
//! | `miners` | miner (32) | bytes (u64) |
//! | `cursors` | gateway (32) | last sequence number taken over |
//!
//! # Invariants
//! - A page of a ledger, the sums and the cursor behind it are one transaction.
//! - `miners` is the sum over `shards`; a shard that two ledgers have counts once, for the first of them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use arion_ledger::{Book, BookError, Change};
use arion_types::NodeId;
use async_trait::async_trait;
use redb::{Database, ReadableDatabase, ReadableTable, Table, TableDefinition};

type ShardKey = ([u8; 32], [u8; 32]);
type ShardValue = ([u8; 32], u32);

const SHARDS: TableDefinition<ShardKey, ShardValue> = TableDefinition::new("shards");
const MINERS: TableDefinition<[u8; 32], u64> = TableDefinition::new("miners");
const CURSORS: TableDefinition<[u8; 32], u64> = TableDefinition::new("cursors");

/// Pages of the database kept in memory, in bytes.
const CACHE_BYTES: usize = 8 << 20;

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be opened.
    #[error("cannot open the store {}: {reason}; is another arion-validator using it?", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: Box<redb::Error>,
    },
    /// Reading or writing failed.
    #[error("the store cannot be read or written: {0}; make room on the disk, or repair it, and start again")]
    Storage(Box<redb::Error>),
}

impl<E: Into<redb::Error>> From<E> for StoreError {
    fn from(error: E) -> Self {
        Self::Storage(Box::new(error.into()))
    }
}

/// The sums, on disk and in memory.
#[derive(Debug)]
pub struct Holdings {
    database: Database,
    bytes: Mutex<BTreeMap<NodeId, u64>>,
}

impl Holdings {
    /// Opens or makes the store in `directory`.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let path = directory.join("validator.redb");
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create(&path)
            .map_err(|reason| StoreError::Open { path, reason: Box::new(reason.into()) })?;
        Self::on(database)
    }

    fn on(database: Database) -> Result<Self, StoreError> {
        let transaction = database.begin_write()?;
        let mut bytes = BTreeMap::new();
        for entry in transaction.open_table(MINERS)?.iter()? {
            let (node, sum) = entry?;
            bytes.insert(NodeId(node.value()), sum.value());
        }
        transaction.open_table(SHARDS)?;
        transaction.open_table(CURSORS)?;
        transaction.commit()?;
        Ok(Self { database, bytes: Mutex::new(bytes) })
    }

    /// Whether it can still be used: after a failed read or write it refuses everything until it is opened again.
    pub fn check(&self) -> Result<(), StoreError> {
        Ok(self.database.begin_write()?.abort()?)
    }

    /// Bytes of the shards that a miner has signed for and that are still wanted.
    pub fn bytes_of(&self, node: &NodeId) -> u64 {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner).get(node).copied().unwrap_or(0)
    }

    /// Whether no miner has ever signed for anything.
    pub fn is_empty(&self) -> bool {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    fn cursor_of(&self, gateway: &NodeId) -> Result<u64, StoreError> {
        let table = self.database.begin_read()?.open_table(CURSORS)?;
        Ok(table.get(gateway.0)?.map_or(0, |cursor| cursor.value()))
    }

    fn take_over(&self, gateway: &NodeId, changes: &[Change], cursor: u64) -> Result<(), StoreError> {
        let mut sums = BTreeMap::new();
        let transaction = self.database.begin_write()?;
        {
            let mut shards = transaction.open_table(SHARDS)?;
            let mut miners = transaction.open_table(MINERS)?;
            for change in changes {
                match change {
                    Change::Stored { node, shard, size } => {
                        let key = (shard.0, node.0);
                        if shards.get(key)?.is_none() {
                            shards.insert(key, (gateway.0, *size))?;
                            let sum = add(&mut miners, node, |sum| sum.saturating_add((*size).into()))?;
                            sums.insert(*node, sum);
                        }
                    }
                    Change::Deleted { shard } => {
                        let mut gone = Vec::new();
                        for entry in shards.range((shard.0, [0; 32])..=(shard.0, [0xff; 32]))? {
                            let (key, value) = entry?;
                            let (of, size) = value.value();
                            if of == gateway.0 {
                                gone.push((NodeId(key.value().1), size));
                            }
                        }
                        for (node, size) in gone {
                            shards.remove((shard.0, node.0))?;
                            let sum = add(&mut miners, &node, |sum| sum.saturating_sub(size.into()))?;
                            sums.insert(node, sum);
                        }
                    }
                }
            }
            transaction.open_table(CURSORS)?.insert(gateway.0, cursor)?;
        }
        transaction.commit()?;
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner).extend(sums);
        Ok(())
    }
}

fn add(
    miners: &mut Table<'_, [u8; 32], u64>,
    node: &NodeId,
    change: impl Fn(u64) -> u64,
) -> Result<u64, StoreError> {
    let before = miners.get(node.0)?.map_or(0, |sum| sum.value());
    let after = change(before);
    miners.insert(node.0, after)?;
    Ok(after)
}

/// [`Holdings`] as followers write into them.
pub struct HoldingsBook(pub Arc<Holdings>);

#[async_trait]
impl Book for HoldingsBook {
    async fn cursor(&self, gateway: &NodeId) -> Result<u64, BookError> {
        self.0.cursor_of(gateway).map_err(BookError::new)
    }

    async fn apply(&self, gateway: &NodeId, changes: Vec<Change>, reached: u64) -> Result<(), BookError> {
        let (holdings, gateway) = (self.0.clone(), *gateway);
        let done = tokio::task::spawn_blocking(move || holdings.take_over(&gateway, &changes, reached)).await;
        done.map_err(BookError::new)?.map_err(BookError::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arion_types::ShardHash;
    use proptest::prelude::*;

    const GATEWAY: NodeId = NodeId([7; 32]);
    const OTHER: NodeId = NodeId([8; 32]);

    fn node(n: u8) -> NodeId {
        NodeId([n; 32])
    }

    fn stored(n: u8, shard: u8, size: u32) -> Change {
        Change::Stored { node: node(n), shard: ShardHash([shard; 32]), size }
    }

    fn deleted(shard: u8) -> Change {
        Change::Deleted { shard: ShardHash([shard; 32]) }
    }

    #[test]
    fn sums_and_cursors_survive_reopening_and_lines_that_come_again() {
        let directory = tempfile::tempdir().unwrap();
        {
            let holdings = Holdings::open(directory.path()).unwrap();
            let page = [stored(1, 1, 64), stored(2, 1, 64), stored(1, 2, 100)];
            holdings.take_over(&GATEWAY, &page, 3).unwrap();
            holdings.take_over(&GATEWAY, &page, 3).unwrap();
            assert_eq!((holdings.bytes_of(&node(1)), holdings.bytes_of(&node(2))), (164, 64));
        }
        let holdings = Holdings::open(directory.path()).unwrap();
        assert_eq!((holdings.bytes_of(&node(1)), holdings.bytes_of(&node(3))), (164, 0));
        assert_eq!((holdings.cursor_of(&GATEWAY).unwrap(), holdings.cursor_of(&OTHER).unwrap()), (3, 0));
        holdings.take_over(&GATEWAY, &[deleted(1), deleted(9)], 5).unwrap();
        assert_eq!((holdings.bytes_of(&node(1)), holdings.bytes_of(&node(2))), (100, 0));
    }

    #[test]
    fn a_gateway_takes_away_only_what_it_gave() {
        let directory = tempfile::tempdir().unwrap();
        let holdings = Holdings::open(directory.path()).unwrap();
        holdings.take_over(&GATEWAY, &[stored(1, 1, 64)], 1).unwrap();
        holdings.take_over(&OTHER, &[stored(1, 1, 64), deleted(1)], 2).unwrap();
        assert_eq!(holdings.bytes_of(&node(1)), 64);
        holdings.take_over(&GATEWAY, &[deleted(1)], 2).unwrap();
        assert_eq!(holdings.bytes_of(&node(1)), 0);
    }

    #[test]
    fn a_full_disk_keeps_nothing_and_is_noticed() {
        let disk = arion_stranger::SmallDisk::default();
        let holdings = Holdings::on(Database::builder().create_with_backend(disk.clone()).unwrap()).unwrap();
        holdings.take_over(&GATEWAY, &[stored(1, 1, 64)], 1).unwrap();
        disk.fill();
        assert!(holdings.take_over(&GATEWAY, &[stored(1, 2, 64)], 2).is_err());
        assert_eq!(holdings.bytes_of(&node(1)), 64);
        disk.clear();
        let said = holdings.check().unwrap_err().to_string();
        assert!(said.contains("make room"), "{said}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn sums_are_those_of_the_shards(lines in proptest::collection::vec((0..2_u8, any::<bool>(), 0..3_u8, 0..4_u8), 1..60)) {
            let directory = tempfile::tempdir().unwrap();
            let holdings = Holdings::open(directory.path()).unwrap();
            let mut expected = BTreeMap::new();
            for (gateway, is_stored, miner, shard) in lines {
                let from = [GATEWAY, OTHER][usize::from(gateway)];
                let change = match is_stored {
                    true => {
                        expected.entry((shard, miner)).or_insert(gateway);
                        stored(miner, shard, 64)
                    }
                    false => {
                        expected.retain(|(of, _), by| (*of, *by) != (shard, gateway));
                        deleted(shard)
                    }
                };
                holdings.take_over(&from, &[change], 1).unwrap();
                for n in 0..3 {
                    let count = expected.keys().filter(|(_, miner)| *miner == n).count() as u64;
                    prop_assert_eq!(holdings.bytes_of(&node(n)), 64 * count);
                }
            }
        }
    }
}
