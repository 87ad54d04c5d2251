//! What the ledgers of the gateways say: the stripes that are wanted, who has signed for their shards, and how many bytes each
//! miner has signed for and served.
//!
//! | table | key | value |
//! |---|---|---|
//! | `claims` | shard (32 bytes), miner (32), gateway (32) | size (u32), stripe (32) |
//! | `ledger-stripes` | stripe (32), gateway (32) | SCALE row (`stripes.rs`) |
//! | `held` | miner (32), gateway (32) | bytes (u64) |
//! | `served` | miner (32), gateway (32) | SCALE `arion_ledger::Statements` |
//! | `ledger-pending` | stripe (32), gateway (32), shard (32), miner (32) | SCALE `SignedReceipt`: told, not in the ledger yet (`pending.rs`) |
//! | `named` | shard (32 bytes), gateway (32) | nothing |
//! | `cursors` | gateway (32) | last sequence number taken over |
//! | `anew-signed` | gateway (32), shard (32), miner (32) | nothing: a line speaks of them that was kept |
//! | `anew-named` | gateway (32), shard (32) | nothing: likewise |
//!
//! Everything but `ledger-pending`, which repair finds again, can be read again from the ledgers: those of a file of an earlier layout are, when it is opened.
//!
//! # Invariants
//! - A page of a ledger, the sums and the cursor behind it are one transaction.
//! - `held` is the sum over `claims`, in which a shard that two ledgers have on a miner counts once (`claims.rs`).
//! - `named` has every shard that a ledger speaks of and has not deleted since, by whatever receipt and whoever has it: also where
//!   the receipt does not count, and for each of several gateways. What is not in it is nobody's.
//! - `anew-*` are what came while a ledger was read anew that had been compacted; what did not come goes when that is done.
//! - A place in `ledger-stripes` is in `claims`, too; both go with the deletion of their shard, and when its miner is released, by that gateway.
//! - Of a gateway that is not followed any more nothing is left ([`Holdings::keep_only`]).

mod anew;
mod claims;
mod pending;
mod stripes;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use arion_ledger::{Book, BookError, Change, ServedFault, Statements};
use arion_types::{NodeId, ShardHash};
use async_trait::async_trait;
use codec::{DecodeAll, Encode};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, TableHandle};

use claims::{CLAIMS, Claims};
use pending::PENDING;
pub(crate) use pending::PendingReceipts;
use stripes::STRIPES;
pub use stripes::{Place, Stripe, StripeRef};

type Id = [u8; 32];
/// Shard, miner.
type ShardKey = (Id, Id);
/// Miner, gateway.
type HeldKey = (Id, Id);

const HELD: TableDefinition<HeldKey, u64> = TableDefinition::new("held");
const SERVED: TableDefinition<HeldKey, &[u8]> = TableDefinition::new("served");
/// Shard, gateway.
const NAMED: TableDefinition<([u8; 32], [u8; 32]), ()> = TableDefinition::new("named");
const CURSORS: TableDefinition<[u8; 32], u64> = TableDefinition::new("cursors");
const ANEW_SIGNED: TableDefinition<(Id, Id, Id), ()> = TableDefinition::new("anew-signed");
const ANEW_NAMED: TableDefinition<(Id, Id), ()> = TableDefinition::new("anew-named");
/// Of the layout in which a shard of a miner had one gateway: shard, miner - gateway, size, stripe.
const BEFORE_CLAIMS: TableDefinition<ShardKey, (Id, u32, Id)> = TableDefinition::new("signed");
/// Of the layout that did not know stripes.
const BEFORE_STRIPES: TableDefinition<ShardKey, (Id, u32)> = TableDefinition::new("shards");
/// Of the layout that did not know what was served.
const BEFORE_SERVED: TableDefinition<[u8; 32], u64> = TableDefinition::new("miners");

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
    /// A row does not decode.
    #[error(
        "the store has a row of `served` that cannot be read: remove the store, it is made again from the ledgers"
    )]
    Row,
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
    bytes: Mutex<BTreeMap<(NodeId, NodeId), u64>>,
    served: Mutex<BTreeMap<(NodeId, NodeId), Statements>>,
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

    /// The store in an open database.
    pub fn on(database: Database) -> Result<Self, StoreError> {
        let transaction = database.begin_write()?;
        let earlier = [BEFORE_STRIPES.name(), BEFORE_SERVED.name()];
        if transaction.list_tables()?.any(|table| earlier.contains(&table.name())) {
            tracing::info!(
                "the store is of an earlier version: the ledgers are read again from their beginning"
            );
            transaction.delete_table(BEFORE_STRIPES)?;
            transaction.delete_table(BEFORE_SERVED)?;
            transaction.delete_table(BEFORE_CLAIMS)?;
            transaction.delete_table(CLAIMS)?;
            transaction.delete_table(stripes::BEFORE_GATEWAYS)?;
            transaction.delete_table(CURSORS)?;
        }
        // Of the layout that did not know what is named: lines come again, and what they say is known already stays as it is.
        if !transaction.list_tables()?.any(|table| table.name() == NAMED.name()) {
            transaction.delete_table(CURSORS)?;
        }
        if transaction.list_tables()?.any(|table| table.name() == BEFORE_CLAIMS.name()) {
            tracing::info!(
                "the store is of an earlier version: the ledgers are read again for what two of them have"
            );
            claims::convert(&transaction, BEFORE_CLAIMS)?;
            let mut cursors = transaction.open_table(CURSORS)?;
            let gateways = gateways_of(&cursors)?;
            gateways.iter().try_for_each(|gateway| cursors.insert(gateway.0, 0).map(drop))?;
        }
        stripes::convert(&transaction)?;
        transaction.delete_table(pending::BEFORE_GATEWAYS)?;
        let mut bytes = BTreeMap::new();
        for entry in transaction.open_table(HELD)?.iter()? {
            let (key, sum) = entry?;
            bytes.insert(of_key(key.value()), sum.value());
        }
        let mut served = BTreeMap::new();
        for entry in transaction.open_table(SERVED)?.iter()? {
            let (key, row) = entry?;
            let stated = Statements::decode_all(&mut row.value()).map_err(|_| StoreError::Row)?;
            served.insert(of_key(key.value()), stated);
        }
        transaction.open_table(CLAIMS)?;
        transaction.open_table(STRIPES)?;
        transaction.open_table(PENDING)?;
        transaction.open_table(NAMED)?;
        transaction.open_table(CURSORS)?;
        transaction.open_table(ANEW_SIGNED)?;
        transaction.open_table(ANEW_NAMED)?;
        transaction.commit()?;
        Ok(Self { database, bytes: Mutex::new(bytes), served: Mutex::new(served) })
    }

    /// Whether it can still be used: after a failed read or write it refuses everything until it is opened again.
    pub fn check(&self) -> Result<(), StoreError> {
        Ok(self.database.begin_write()?.abort()?)
    }

    /// Bytes of the shards that a miner has signed for and that are still wanted.
    pub fn bytes_of(&self, node: &NodeId) -> u64 {
        let bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        of_miner(&bytes, node).fold(0, |sum, (_, bytes)| sum.saturating_add(*bytes))
    }

    /// Bytes that gateways say a miner served in the last day: of each no more than it has on the miner.
    pub fn served_by(&self, node: &NodeId, now_ms: u64) -> u64 {
        let bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        of_miner(&served, node).fold(0, |sum, (key, stated)| {
            let held = bytes.get(key).copied().unwrap_or(0);
            sum.saturating_add(stated.counted(now_ms, held))
        })
    }

    /// Whether no miner has ever signed for anything.
    pub fn is_empty(&self) -> bool {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Those of these shards that a miner has signed for and that are wanted of it.
    pub fn signed_by(
        &self,
        node: &NodeId,
        shards: impl IntoIterator<Item = ShardHash>,
    ) -> Result<HashSet<ShardHash>, StoreError> {
        let table = self.database.begin_read()?.open_table(CLAIMS)?;
        let mut found = HashSet::new();
        for shard in shards {
            if table.range(claims::of_miner(&shard, node))?.next().is_some() {
                found.insert(shard);
            }
        }
        Ok(found)
    }

    /// Whether the ledger of one of these gateways speaks of each of these shards, whoever has it.
    pub fn named(&self, shards: &[ShardHash], gateways: &BTreeSet<NodeId>) -> Result<Vec<bool>, StoreError> {
        let table = self.database.begin_read()?.open_table(NAMED)?;
        let is_named = |shard: &ShardHash| -> Result<bool, StoreError> {
            for entry in table.range((shard.0, [0; 32])..=(shard.0, [0xff; 32]))? {
                if gateways.contains(&NodeId(entry?.0.value().1)) {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        shards.iter().map(is_named).collect()
    }

    /// The last line taken over from a gateway; 0 for none.
    pub fn cursor_of(&self, gateway: &NodeId) -> Result<u64, StoreError> {
        let table = self.database.begin_read()?.open_table(CURSORS)?;
        Ok(table.get(gateway.0)?.map_or(0, |cursor| cursor.value()))
    }

    fn take_over(&self, gateway: &NodeId, changes: &[Change], cursor: u64) -> Result<(), StoreError> {
        self.change(gateway, changes, Some(cursor))
    }

    /// Takes over what lines change, and the cursor behind them; without one, lines of a ledger that is read anew.
    fn change(&self, gateway: &NodeId, changes: &[Change], cursor: Option<u64>) -> Result<(), StoreError> {
        let mut statements = BTreeMap::new();
        let transaction = self.database.begin_write()?;
        let sums = {
            let mut claims = Claims::open(&transaction)?;
            let mut served = transaction.open_table(SERVED)?;
            let mut named = transaction.open_table(NAMED)?;
            for change in changes {
                match change {
                    Change::Named { shard, .. } => {
                        named.insert((shard.0, gateway.0), ())?;
                    }
                    Change::Stored(receipt) => {
                        named.insert((receipt.shard.0, gateway.0), ())?;
                        claims.stored(gateway, receipt)?;
                    }
                    Change::Deleted { shard } => {
                        named.remove((shard.0, gateway.0))?;
                        claims.deleted(gateway, shard)?;
                    }
                    Change::Released { shard, miner } => claims.given_up(gateway, shard, miner)?,
                    Change::Served(line) => {
                        let key = (line.miner.0, gateway.0);
                        let row = served.get(key)?.map(|row| Statements::decode_all(&mut row.value()));
                        let mut stated = row.transpose().map_err(|_| StoreError::Row)?.unwrap_or_default();
                        match stated.take(line) {
                            Ok(()) => {
                                served.insert(key, stated.encode().as_slice())?;
                                statements.insert((line.miner, *gateway), stated);
                            }
                            // It was known already.
                            Err(ServedFault::Overlap { until }) if line.until <= until => {}
                            Err(fault) => tracing::warn!(
                                %gateway, miner = %line.miner, %fault,
                                "what a gateway says that a miner served does not count"
                            ),
                        }
                    }
                }
            }
            match cursor {
                Some(cursor) => drop(transaction.open_table(CURSORS)?.insert(gateway.0, cursor)?),
                None => anew::mark(&transaction, gateway, changes)?,
            }
            claims.sums
        };
        transaction.commit()?;
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner).extend(sums);
        self.served.lock().unwrap_or_else(PoisonError::into_inner).extend(statements);
        Ok(())
    }

    /// Forgets what the ledger of a gateway says, as if nothing of it had been read. What others have as well counts for them.
    pub fn forget(&self, gateway: &NodeId) -> Result<(), StoreError> {
        let transaction = self.database.begin_write()?;
        let sums = {
            let mut claims = Claims::open(&transaction)?;
            claims.forgotten(gateway)?;
            transaction.open_table(NAMED)?.retain(|(_, of), ()| of != gateway.0)?;
            transaction.open_table(SERVED)?.retain(|(_, of), _| of != gateway.0)?;
            transaction.open_table(CURSORS)?.remove(gateway.0)?;
            claims.sums
        };
        transaction.commit()?;
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        bytes.extend(sums);
        bytes.retain(|(_, of), _| of != gateway);
        self.served.lock().unwrap_or_else(PoisonError::into_inner).retain(|(_, of), _| of != gateway);
        Ok(())
    }

    /// Forgets every gateway but these, which are followed: nobody would say any more what the others delete.
    pub fn keep_only(&self, followed: &BTreeSet<NodeId>) -> Result<(), StoreError> {
        let known = gateways_of(&self.database.begin_read()?.open_table(CURSORS)?)?;
        for gateway in known.iter().filter(|gateway| !followed.contains(gateway)) {
            tracing::warn!(%gateway, "is not among `gateways` any more: what its ledger said is forgotten");
            self.forget(gateway)?;
        }
        Ok(())
    }
}

/// The gateways whose ledgers were read.
fn gateways_of(cursors: &impl ReadableTable<[u8; 32], u64>) -> Result<Vec<NodeId>, StoreError> {
    cursors.iter()?.map(|entry| Ok(NodeId(entry?.0.value()))).collect()
}

fn of_key((miner, gateway): HeldKey) -> (NodeId, NodeId) {
    (NodeId(miner), NodeId(gateway))
}

/// What there is of a miner, by gateway.
fn of_miner<'a, T>(
    rows: &'a BTreeMap<(NodeId, NodeId), T>,
    node: &NodeId,
) -> impl Iterator<Item = (&'a (NodeId, NodeId), &'a T)> {
    rows.range((*node, NodeId([0; 32]))..=(*node, NodeId([0xff; 32])))
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
        in_background(move || holdings.take_over(&gateway, &changes, reached)).await
    }

    async fn begin_anew(&self, gateway: &NodeId) -> Result<(), BookError> {
        let (holdings, gateway) = (self.0.clone(), *gateway);
        in_background(move || holdings.begin_anew(&gateway)).await
    }

    async fn apply_anew(&self, gateway: &NodeId, changes: Vec<Change>) -> Result<(), BookError> {
        let (holdings, gateway) = (self.0.clone(), *gateway);
        in_background(move || holdings.change(&gateway, &changes, None)).await
    }

    async fn end_anew(&self, gateway: &NodeId, reached: u64) -> Result<(), BookError> {
        let (holdings, gateway) = (self.0.clone(), *gateway);
        in_background(move || holdings.end_anew(&gateway, reached)).await
    }
}

async fn in_background(
    work: impl FnOnce() -> Result<(), StoreError> + Send + 'static,
) -> Result<(), BookError> {
    arion_daemon::work::blocking(work).await.map_err(BookError::new)?.map_err(BookError::new)
}

#[cfg(test)]
#[path = "holdings_tests.rs"]
mod tests;
