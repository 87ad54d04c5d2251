//! What the ledgers of the gateways say: the stripes that are wanted, who has signed for their shards, and how many bytes each
//! miner has signed for and served.
//!
//! | table | key | value |
//! |---|---|---|
//! | `claims` | shard (32 bytes), miner (32), gateway (32) | size (u32), stripe (32) |
//! | `stripes` | stripe (32) | SCALE row (`stripes.rs`) |
//! | `held` | miner (32), gateway (32) | bytes (u64) |
//! | `served` | miner (32), gateway (32) | SCALE `arion_ledger::Statements` |
//! | `pending` | stripe (32), shard (32), miner (32) | SCALE `SignedReceipt`: told, not in a ledger yet (`pending.rs`) |
//! | `named` | shard (32 bytes), gateway (32) | nothing |
//! | `cursors` | gateway (32) | last sequence number taken over |
//! | `anew-signed` | gateway (32), shard (32), miner (32) | nothing: a line speaks of them that was kept |
//! | `anew-named` | gateway (32), shard (32) | nothing: likewise |
//!
//! Everything but `pending`, which repair finds again, can be read again from the ledgers: those of a file of an earlier layout are, when it is opened.
//!
//! # Invariants
//! - A page of a ledger, the sums and the cursor behind it are one transaction.
//! - `held` is the sum over `claims`, in which a shard that two ledgers have on a miner counts once (`claims.rs`).
//! - `named` has every shard that a ledger speaks of and has not deleted since, by whatever receipt and whoever has it: also where
//!   the receipt does not count, and for each of several gateways. What is not in it is nobody's.
//! - `anew-*` are what came while a ledger was read anew that had been compacted; what did not come goes when that is done.
//! - A place in `stripes` is in `claims`, too; both go with the deletion of their shard, and when its miner is released, by all gateways
//!   that had it.
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
pub use stripes::{Place, Stripe};

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
            transaction.delete_table(STRIPES)?;
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
mod tests {
    use super::*;
    use arion_protocol::Served;
    use arion_types::{Receipt, StripeId};
    use proptest::prelude::*;

    const GATEWAY: NodeId = NodeId([7; 32]);
    const OTHER: NodeId = NodeId([8; 32]);

    fn node(n: u8) -> NodeId {
        NodeId([n; 32])
    }

    fn stored(n: u8, shard: u8, size: u32) -> Change {
        Change::Stored(receipt(n, shard, size))
    }

    /// Shards are two of a stripe.
    fn receipt(n: u8, shard: u8, size: u32) -> Receipt {
        Receipt {
            shard: ShardHash([shard; 32]),
            size,
            stripe: StripeId([shard / 2; 32]),
            pg: 0,
            index: shard % 2,
            epoch: 1,
            node_id: node(n),
            stored_at: 1,
        }
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
    fn a_file_of_the_layout_without_stripes_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        {
            let database = Database::create(directory.path().join("validator.redb")).unwrap();
            let transaction = database.begin_write().unwrap();
            transaction
                .open_table(BEFORE_STRIPES)
                .unwrap()
                .insert(([1; 32], [1; 32]), ([7; 32], 64))
                .unwrap();
            transaction.open_table(BEFORE_SERVED).unwrap().insert([1; 32], 64).unwrap();
            transaction.open_table(CURSORS).unwrap().insert(GATEWAY.0, 1).unwrap();
            transaction.commit().unwrap();
        }
        let holdings = Holdings::open(directory.path()).unwrap();
        assert_eq!((holdings.cursor_of(&GATEWAY).unwrap(), holdings.is_empty()), (0, true));
    }

    #[test]
    fn a_file_of_the_layout_without_names_is_read_again_and_loses_nothing() {
        let directory = tempfile::tempdir().unwrap();
        {
            let holdings = Holdings::open(directory.path()).unwrap();
            holdings.take_over(&GATEWAY, &[stored(1, 1, 64), stored(1, 2, 64)], 2).unwrap();
            let transaction = holdings.database.begin_write().unwrap();
            transaction.delete_table(NAMED).unwrap();
            transaction.commit().unwrap();
        }
        let holdings = Holdings::open(directory.path()).unwrap();
        assert_eq!((holdings.cursor_of(&GATEWAY).unwrap(), holdings.bytes_of(&node(1))), (0, 128));
        // The chain may keep no map of the first line any more.
        let page = [Change::Named { shard: ShardHash([1; 32]), miner: node(1) }, stored(1, 2, 64)];
        holdings.take_over(&GATEWAY, &page, 2).unwrap();
        assert_eq!(holdings.bytes_of(&node(1)), 128);
        let shards = [1, 2, 3].map(|shard| ShardHash([shard; 32]));
        assert_eq!(holdings.named(&shards, &[GATEWAY].into()).unwrap(), [true, true, false]);
        assert_eq!(
            holdings.named(&shards, &[OTHER].into()).unwrap(),
            [false; 3],
            "of a ledger that nobody follows"
        );
        drop(holdings);
        let holdings = Holdings::open(directory.path()).unwrap();
        assert_eq!(holdings.cursor_of(&GATEWAY).unwrap(), 2, "once");
    }

    #[test]
    fn what_any_ledger_speaks_of_is_named_until_each_deletes_it() {
        let directory = tempfile::tempdir().unwrap();
        let holdings = Holdings::open(directory.path()).unwrap();
        let is_named = || holdings.named(&[ShardHash([1; 32])], &[GATEWAY, OTHER].into()).unwrap()[0];
        assert!(!is_named());
        holdings.take_over(&GATEWAY, &[stored(1, 1, 64)], 1).unwrap();
        holdings.take_over(&OTHER, &[stored(1, 1, 64)], 1).unwrap();
        // Released by its gateway, and wanted: others have it, or are to.
        let released = Change::Released { shard: ShardHash([1; 32]), miner: node(1) };
        holdings.take_over(&GATEWAY, &[released], 2).unwrap();
        assert!(is_named());
        holdings.take_over(&GATEWAY, &[deleted(1)], 3).unwrap();
        assert!(is_named(), "the other gateway has it");
        holdings.take_over(&OTHER, &[deleted(1)], 2).unwrap();
        assert!(!is_named());
        holdings
            .take_over(&OTHER, &[Change::Named { shard: ShardHash([1; 32]), miner: node(1) }], 3)
            .unwrap();
        assert!(is_named(), "by a receipt that does not count");
    }

    /// What was dropped of a ledger was deleted or released: it stays until all that was kept came, and goes then, and nothing else.
    #[test]
    fn what_does_not_come_when_a_ledger_is_read_anew_goes_at_its_end() {
        let directory = tempfile::tempdir().unwrap();
        let known = |holdings: &Holdings| {
            let shards = [1, 2, 3, 4].map(|shard| ShardHash([shard; 32]));
            let named = holdings.named(&shards, &[GATEWAY].into()).unwrap();
            let stripes = holdings.stripes(None, 9).unwrap();
            let places = stripes.iter().map(|stripe| stripe.places.len()).sum::<usize>();
            (
                named,
                [1, 2].map(|n| holdings.bytes_of(&node(n))),
                places,
                holdings.cursor_of(&GATEWAY).unwrap(),
            )
        };
        {
            let holdings = Holdings::open(directory.path()).unwrap();
            let page = [stored(1, 1, 64), stored(1, 2, 64), stored(2, 2, 64), stored(1, 4, 64)];
            holdings.take_over(&GATEWAY, &page, 4).unwrap();
            holdings.take_over(&OTHER, &[stored(2, 5, 64)], 1).unwrap();
            let before = known(&holdings);
            assert_eq!(before, (vec![true, true, false, true], [192, 128], 5, 4));
            holdings.begin_anew(&GATEWAY).unwrap();
            holdings.change(&GATEWAY, &[stored(1, 1, 64)], None).unwrap();
            assert_eq!(known(&holdings), before);
        }
        // It stopped there: what came does not count any more.
        let holdings = Holdings::open(directory.path()).unwrap();
        holdings.begin_anew(&GATEWAY).unwrap();
        // The map of a receipt is forgotten by now: what it brought stays.
        let forgotten = Change::Named { shard: ShardHash([4; 32]), miner: node(1) };
        holdings.change(&GATEWAY, &[stored(2, 2, 64), stored(2, 3, 64), forgotten], None).unwrap();
        assert_eq!(known(&holdings), (vec![true; 4], [192, 192], 6, 4));
        holdings.end_anew(&GATEWAY, 4_096).unwrap();
        let after = (vec![false, true, true, true], [64, 192], 4, 4_096);
        assert_eq!(known(&holdings), after);
        holdings.take_over(&GATEWAY, &[], 4_097).unwrap();
        drop(holdings);
        let holdings = Holdings::open(directory.path()).unwrap();
        assert_eq!(known(&holdings), (after.0, after.1, after.2, 4_097));
        assert_eq!(holdings.cursor_of(&OTHER).unwrap(), 1);
    }

    #[test]
    fn stripes_come_with_their_receipts_and_go_with_their_shards() {
        let directory = tempfile::tempdir().unwrap();
        let holdings = Holdings::open(directory.path()).unwrap();
        let moved = Change::Stored(Receipt { epoch: 2, ..receipt(3, 2, 64) });
        let other_bytes = Change::Stored(Receipt { shard: ShardHash([99; 32]), ..receipt(4, 2, 64) });
        let page = [stored(1, 2, 64), stored(2, 3, 64), moved, stored(1, 4, 64), other_bytes];
        holdings.take_over(&GATEWAY, &page, 5).unwrap();
        let known = holdings.stripes(None, 9).unwrap();
        assert_eq!(known.iter().map(|stripe| stripe.id.0[0]).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(holdings.stripes(Some(known[0].id), 9).unwrap(), known[1..]);
        let stripe = holdings.stripe(&StripeId([1; 32])).unwrap().unwrap();
        assert_eq!((&stripe, stripe.size, &stripe.gateways), (&known[0], 64, &vec![GATEWAY]));
        let held: Vec<_> = stripe.places.iter().map(|place| (place.index, place.node.0[0])).collect();
        assert_eq!(held, [(0, 1), (0, 3), (1, 2)], "a position has one shard: the first that was signed for");
        holdings.take_over(&OTHER, &[deleted(2)], 1).unwrap();
        assert_eq!(holdings.stripe(&stripe.id).unwrap(), Some(stripe.clone()));
        holdings.take_over(&GATEWAY, &[deleted(2)], 6).unwrap();
        assert_eq!(holdings.stripe(&stripe.id).unwrap().unwrap().places.len(), 1);
        holdings.take_over(&GATEWAY, &[deleted(3)], 7).unwrap();
        assert_eq!(holdings.stripe(&stripe.id).unwrap(), None);
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

    /// A gateway that is made again from a snapshot has another node id, and a ledger that begins anew with the same shards.
    #[test]
    fn what_a_lost_gateway_had_is_that_of_the_one_made_again_alone() {
        let directory = tempfile::tempdir().unwrap();
        let said = |bytes| Change::Served(Served { miner: node(1), from: 0, until: 1, bytes });
        {
            let holdings = Holdings::open(directory.path()).unwrap();
            holdings.take_over(&GATEWAY, &[stored(1, 2, 64), stored(1, 3, 64), stored(1, 5, 64)], 3).unwrap();
            holdings.take_over(&OTHER, &[stored(1, 2, 64), stored(1, 3, 64), said(100)], 3).unwrap();
            assert_eq!((holdings.bytes_of(&node(1)), holdings.served_by(&node(1), 1)), (192, 0));
            let stripe = holdings.stripe(&StripeId([1; 32])).unwrap().unwrap();
            assert_eq!(stripe.gateways, [GATEWAY, OTHER]);
        }
        let holdings = Holdings::open(directory.path()).unwrap();
        holdings.keep_only(&[OTHER].into()).unwrap();
        assert_eq!((holdings.bytes_of(&node(1)), holdings.served_by(&node(1), 1)), (128, 100));
        assert_eq!((holdings.cursor_of(&GATEWAY).unwrap(), holdings.cursor_of(&OTHER).unwrap()), (0, 3));
        let stripes = holdings.stripes(None, 9).unwrap();
        assert_eq!((stripes.len(), &stripes[0].gateways), (1, &vec![OTHER]), "nobody wants the other stripe");
        holdings.take_over(&OTHER, &[deleted(2)], 4).unwrap();
        assert_eq!(holdings.bytes_of(&node(1)), 64);
        holdings.take_over(&OTHER, &[deleted(3)], 5).unwrap();
        assert_eq!((holdings.bytes_of(&node(1)), holdings.stripes(None, 9).unwrap()), (0, vec![]));
        drop(holdings);
        let holdings = Holdings::open(directory.path()).unwrap();
        assert_eq!((holdings.bytes_of(&node(1)), holdings.served_by(&node(1), 1)), (0, 0));
    }

    #[test]
    fn a_file_of_the_layout_with_one_gateway_for_a_shard_is_read_again_and_loses_nothing() {
        let directory = tempfile::tempdir().unwrap();
        {
            let holdings = Holdings::open(directory.path()).unwrap();
            holdings.take_over(&GATEWAY, &[stored(1, 1, 64)], 1).unwrap();
            let transaction = holdings.database.begin_write().unwrap();
            transaction.delete_table(CLAIMS).unwrap();
            let row = (GATEWAY.0, 64, [0; 32]);
            transaction.open_table(BEFORE_CLAIMS).unwrap().insert(([1; 32], [1; 32]), row).unwrap();
            transaction.commit().unwrap();
        }
        let holdings = Holdings::open(directory.path()).unwrap();
        assert_eq!((holdings.cursor_of(&GATEWAY).unwrap(), holdings.bytes_of(&node(1))), (0, 64));
        holdings.take_over(&GATEWAY, &[stored(1, 1, 64), deleted(1)], 2).unwrap();
        assert_eq!((holdings.bytes_of(&node(1)), holdings.stripes(None, 9).unwrap()), (0, vec![]));
        drop(holdings);
        let holdings = Holdings::open(directory.path()).unwrap();
        assert_eq!(holdings.cursor_of(&GATEWAY).unwrap(), 2, "once");
    }

    #[test]
    fn a_released_miner_holds_nothing_until_it_signs_again() {
        let directory = tempfile::tempdir().unwrap();
        let holdings = Holdings::open(directory.path()).unwrap();
        let released =
            |miner: u8, shard: u8| Change::Released { shard: ShardHash([shard; 32]), miner: node(miner) };
        let sums = || [1, 2].map(|n| holdings.bytes_of(&node(n)));
        holdings.take_over(&GATEWAY, &[stored(1, 1, 64), stored(2, 1, 64), stored(1, 2, 64)], 3).unwrap();
        holdings.take_over(&OTHER, &[released(1, 1)], 1).unwrap();
        assert_eq!(sums(), [128, 64]);
        holdings.take_over(&GATEWAY, &[released(1, 1), released(3, 1), released(1, 1)], 6).unwrap();
        assert_eq!(sums(), [64, 64]);
        let stripe = holdings.stripe(&StripeId([0; 32])).unwrap().unwrap();
        assert_eq!(stripe.places.iter().map(|place| place.node).collect::<Vec<_>>(), [node(2)]);
        let shards = [1, 2].map(|shard| ShardHash([shard; 32]));
        assert_eq!(holdings.signed_by(&node(1), shards).unwrap(), [shards[1]].into());
        holdings.take_over(&GATEWAY, &[stored(1, 1, 64), deleted(1)], 8).unwrap();
        assert_eq!(sums(), [64, 0]);
    }

    #[test]
    fn a_file_of_the_layout_without_what_was_served_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        {
            let holdings = Holdings::open(directory.path()).unwrap();
            holdings.take_over(&GATEWAY, &[stored(1, 1, 64)], 1).unwrap();
            let transaction = holdings.database.begin_write().unwrap();
            transaction.delete_table(HELD).unwrap();
            transaction.delete_table(SERVED).unwrap();
            transaction.open_table(BEFORE_SERVED).unwrap().insert([1; 32], 64).unwrap();
            transaction.commit().unwrap();
        }
        let holdings = Holdings::open(directory.path()).unwrap();
        assert_eq!((holdings.cursor_of(&GATEWAY).unwrap(), holdings.is_empty()), (0, true));
        holdings.take_over(&GATEWAY, &[stored(1, 1, 64)], 1).unwrap();
        assert_eq!(holdings.bytes_of(&node(1)), 64);
    }

    /// Whatever a gateway says, what counts is bounded by what it has there by receipts.
    #[test]
    fn what_was_served_counts_up_to_what_each_gateway_has_there() {
        const HOUR: u64 = 3_600_000;
        let directory = tempfile::tempdir().unwrap();
        let said = |miner, hour: u64, bytes| {
            Change::Served(Served { miner: node(miner), from: hour * HOUR, until: (hour + 1) * HOUR, bytes })
        };
        let now = 500_005 * HOUR;
        let counted = |holdings: &Holdings| [1, 2].map(|n| holdings.served_by(&node(n), now));
        {
            let holdings = Holdings::open(directory.path()).unwrap();
            let page = [stored(1, 1, 64), stored(1, 2, 64), said(1, 500_000, 100), said(2, 500_000, 1 << 40)];
            holdings.take_over(&GATEWAY, &page, 4).unwrap();
            // Lines that come again, or twice, count once.
            holdings.take_over(&GATEWAY, &page, 4).unwrap();
            assert_eq!(counted(&holdings), [100, 0]);
            holdings.take_over(&GATEWAY, &[said(1, 500_001, 1 << 40)], 5).unwrap();
            // Another gateway that has nothing there adds nothing; one that has, adds as much at most.
            holdings.take_over(&OTHER, &[said(1, 500_000, 1_000)], 1).unwrap();
            assert_eq!(counted(&holdings), [128, 0]);
            holdings.take_over(&OTHER, &[stored(1, 3, 10), stored(2, 4, 10)], 3).unwrap();
        }
        let holdings = Holdings::open(directory.path()).unwrap();
        assert_eq!(counted(&holdings), [138, 0]);
        assert!(holdings.served_by(&node(1), now) <= holdings.bytes_of(&node(1)));
        holdings.take_over(&GATEWAY, &[deleted(1), deleted(2)], 7).unwrap();
        assert_eq!(counted(&holdings), [10, 0], "what is not there any more was worth nothing");
        assert_eq!(holdings.served_by(&node(1), now + 30 * HOUR), 0);
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
        fn sums_are_those_of_the_shards(lines in proptest::collection::vec((0..2_u8, 0..6_u8, 0..3_u8, 0..4_u8), 1..60)) {
            let directory = tempfile::tempdir().unwrap();
            let holdings = Holdings::open(directory.path()).unwrap();
            let mut expected = BTreeSet::new();
            for (gateway, kind, miner, shard) in lines {
                let from = [GATEWAY, OTHER][usize::from(gateway)];
                let change = match kind {
                    0..3 => {
                        expected.insert((shard, miner, gateway));
                        stored(miner, shard, 64)
                    }
                    3 => {
                        expected.retain(|(of, _, by)| (*of, *by) != (shard, gateway));
                        deleted(shard)
                    }
                    4 => {
                        expected.remove(&(shard, miner, gateway));
                        Change::Released { shard: ShardHash([shard; 32]), miner: node(miner) }
                    }
                    _ => {
                        expected.retain(|(.., by)| *by != gateway);
                        holdings.forget(&from).unwrap();
                        continue;
                    }
                };
                holdings.take_over(&from, &[change], 1).unwrap();
                let pairs: BTreeSet<_> = expected.iter().map(|(shard, miner, _)| (*shard, *miner)).collect();
                let stripes = holdings.stripes(None, 9).unwrap();
                let places: usize = stripes.iter().map(|stripe| stripe.places.len()).sum();
                prop_assert!(places == pairs.len() && stripes.iter().all(|stripe| !stripe.places.is_empty()));
                for stripe in &stripes {
                    let of: BTreeSet<NodeId> = stripe.gateways.iter().copied().collect();
                    let by = |(shard, _, by): &(u8, u8, u8)| {
                        (StripeId([shard / 2; 32]) == stripe.id).then_some([GATEWAY, OTHER][usize::from(*by)])
                    };
                    prop_assert_eq!(of, expected.iter().filter_map(by).collect());
                }
                for n in 0..3 {
                    let count = pairs.iter().filter(|(_, miner)| *miner == n).count() as u64;
                    prop_assert_eq!(holdings.bytes_of(&node(n)), 64 * count);
                }
            }
        }
    }
}
