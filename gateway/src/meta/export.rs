//! Rows of the metadata as snapshots have them: out of one consistent view, and into empty metadata.
//!
//! Which table has which number is frozen (docs/spec/snapshot.md). What is left out: the notes about snapshots themselves, the
//! stripes and receipts of their own nodes, receipts of stripes that nobody needs any more, tombstones, what is
//! counted or indexed anew, among it where repair has brought shards, events that wait for webhooks, and the layout, which the root
//! says.

use arion_daemon::work;
use arion_protocol::LedgerRecord;
use arion_types::StripeId;
use codec::{DecodeAll, Encode};
use tokio::sync::mpsc;

use super::{
    BUCKETS, DELETES, DeleteRow, Hash, INFLIGHT, LEDGER, MANIFESTS, MAPS, MISSING, Meta, MetaError,
    MissingRow, NULLS, OBJECTS, PARTS, ReadTable, ReadTransaction, ReadableTable, STRIPES, SUBRESOURCES,
    UPLOADS, Unreadable, VERSIONS, WriteTransaction,
    bucket_keys::{BUCKET_ENCRYPTION, BUCKET_KEYS},
    equal::{EQUAL_AT, EQUALS},
    moved, occupancy,
    packs::{HOLED, PACKED},
    snapshots::SNAPSHOT_STRIPES,
    stripes::PINNED,
    unconfirmed::{self, UNCONFIRMED},
};
use crate::{
    manifest::Manifest,
    snapshot::{
        cut::{Cutter, Sizes},
        node::Plain,
        root::Summary,
        row::Row,
    },
};

/// Numbers of tables that are not rows of one table as it is.
const FILES: u8 = 2;
const STRIPES_NUMBER: u8 = 13;
const RECEIPTS: u8 = 15;
const MISSING_NUMBER: u8 = 19;
const DELETES_NUMBER: u8 = 20;
/// Maps: their chunks always lie where the newest of them says, so that they are found before them.
pub(crate) const MAPS_NUMBER: u8 = 1;
/// Tables from this one on are queues, or change with others only: a change in them alone is no reason for a snapshot.
const QUEUES: u8 = 16;
/// The last number.
const LAST: u8 = 22;

/// What is done with each row.
type Each<'a> = dyn FnMut(u8, &[u8], &[u8]) -> Result<(), MetaError> + 'a;

/// A value as bytes.
trait Value<'a>: Sized {
    fn bytes(self) -> Vec<u8>;
    fn of(bytes: &'a [u8]) -> Option<Self>;
}

impl<'a> Value<'a> for &'a [u8] {
    fn bytes(self) -> Vec<u8> {
        self.to_vec()
    }

    fn of(bytes: &'a [u8]) -> Option<Self> {
        Some(bytes)
    }
}

macro_rules! fixed_values {
    ($($value:ty),*) => { $(
        impl Value<'_> for $value {
            fn bytes(self) -> Vec<u8> {
                self.encode()
            }

            fn of(bytes: &[u8]) -> Option<Self> {
                Self::decode_all(&mut &*bytes).ok()
            }
        }
    )* };
}

fixed_values!(u64, u32, u8, ());

macro_rules! tables {
    ($($number:literal $name:literal $table:expr, $key:ty, |$decoded:ident| $borrowed:expr, $value:ty;)*) => {
        /// Goes through a table that is in snapshots as it is.
        fn plain(transaction: &ReadTransaction, number: u8, each: &mut Each<'_>) -> Result<(), MetaError> {
            match number {
                $($number => {
                    for row in transaction.open_table($table)?.iter()? {
                        let (key, value) = row?;
                        each($number, &key.value().encode(), &Value::bytes(value.value()))?;
                    }
                })*
                _ => {}
            }
            Ok(())
        }

        /// Enters a row. One that is there already is refused.
        fn enter(transaction: &WriteTransaction, number: u8, mut key: &[u8], value: &[u8]) -> Result<(), MetaError> {
            match number {
                $($number => {
                    let $decoded = <$key>::decode_all(&mut key).map_err(|_| MetaError::Row($name))?;
                    let value = <$value>::of(value).ok_or(MetaError::Row($name))?;
                    let mut table = transaction.open_table($table)?;
                    if table.get($borrowed)?.is_some() {
                        return Err(MetaError::Row($name));
                    }
                    table.insert($borrowed, value)
                })*
                // No line of this ledger before the miner has confirmed it.
                RECEIPTS => unconfirmed::enter(transaction, value),
                _ => Err(MetaError::Row("snapshot")),
            }
        }

        /// The tables that are in snapshots, by name.
        #[cfg(test)]
        fn exported() -> Vec<String> {
            vec![LEDGER.name().to_owned(), UNCONFIRMED.name().to_owned(), $($table.name().to_owned(),)*]
        }
    };
}

tables! {
    1 "maps" MAPS, u64, |key| key, &[u8];
    3 "buckets" BUCKETS, String, |key| key.as_str(), &[u8];
    4 "bucket-keys" BUCKET_KEYS, (String, u32), |key| (key.0.as_str(), key.1), &[u8];
    5 "bucket-encryption" BUCKET_ENCRYPTION, String, |key| key.as_str(), u8;
    6 "subresources" SUBRESOURCES, (String, u8), |key| (key.0.as_str(), key.1), &[u8];
    7 "objects" OBJECTS, (String, String), |key| (key.0.as_str(), key.1.as_str()), &[u8];
    8 "versions" VERSIONS, (String, String, u64), |key| (key.0.as_str(), key.1.as_str(), key.2), &[u8];
    9 "nulls" NULLS, (String, String), |key| (key.0.as_str(), key.1.as_str()), u64;
    10 "manifests" MANIFESTS, [u8; 16], |key| key, &[u8];
    11 "uploads" UPLOADS, (String, String, String), |key| (key.0.as_str(), key.1.as_str(), key.2.as_str()), &[u8];
    12 "parts" PARTS, (String, u32), |key| (key.0.as_str(), key.1), &[u8];
    13 "stripes" STRIPES, [u8; 32], |key| key, &[u8];
    14 "packed" PACKED, ([u8; 32], u32, [u8; 16]), |key| key, u32;
    16 "holed" HOLED, [u8; 32], |key| key, ();
    17 "pinned" PINNED, [u8; 32], |key| key, ();
    18 "inflight" INFLIGHT, [u8; 32], |key| key, ();
    19 "missing" MISSING, ([u8; 32], u8), |key| key, &[u8];
    20 "deletes" DELETES, ([u8; 32], u8), |key| key, &[u8];
    21 "equals" EQUALS, [u8; 32], |key| key, &[u8];
    22 "equal-at" EQUAL_AT, ([u8; 32], u32), |key| key, &[u8];
}

impl Summary {
    /// Counts a row.
    fn count(&mut self, table: u8, value: &[u8]) {
        self.rows += 1;
        match table {
            3 => self.buckets += 1,
            7 => self.objects += 1,
            8 => self.versions += 1,
            10 => {
                let bytes = Manifest::from_row(value).map_or(0, |manifest| manifest.plain_len());
                self.bytes = self.bytes.saturating_add(bytes);
            }
            11 => self.uploads += 1,
            13 => self.stripes += 1,
            _ => {}
        }
    }
}

/// What is written besides the rows of tables: a name, and bytes.
pub type File = (String, Vec<u8>);

/// One consistent view of everything that a new gateway needs.
struct View<'a> {
    transaction: &'a ReadTransaction,
    own: ReadTable<'a, Hash, &'static [u8]>,
    files: &'a [File],
    unreadable: &'a Unreadable,
}

impl View<'_> {
    /// Whether a stripe is a snapshot's own.
    fn is_own(&self, stripe: &StripeId) -> Result<bool, MetaError> {
        Ok(self.own.get(stripe.0)?.is_some())
    }

    /// Goes through the rows of a table, in order.
    fn table(&self, number: u8, each: &mut Each<'_>) -> Result<(), MetaError> {
        let transaction = self.transaction;
        match number {
            FILES => self.files.iter().try_for_each(|(name, bytes)| each(FILES, &name.encode(), bytes)),
            STRIPES_NUMBER => {
                plain(transaction, number, &mut |table, key, value| match <[u8; 32]>::try_from(key) {
                    Ok(id) if self.is_own(&StripeId(id))? => Ok(()),
                    _ => each(table, key, value),
                })
            }
            RECEIPTS => self.receipts(each),
            // When something was tried last is nobody's concern elsewhere.
            MISSING_NUMBER => plain(
                transaction,
                number,
                &mut |table, key, value| match MissingRow::decode_all(&mut &*value) {
                    Ok(row) if self.is_own(&row.stripe)? => Ok(()),
                    Ok(row) => each(table, key, &MissingRow { attempts: 0, next_ms: 0, ..row }.encode()),
                    Err(_) => each(table, key, value),
                },
            ),
            DELETES_NUMBER => {
                plain(transaction, number, &mut |table, key, value| match DeleteRow::decode_all(&mut &*value)
                {
                    Ok(row) => each(table, key, &DeleteRow { attempts: 0, next_ms: 0, ..row }.encode()),
                    Err(_) => each(table, key, value),
                })
            }
            number => plain(transaction, number, each),
        }
    }

    /// Receipts of stripes that are needed, without those of snapshots and of miners that were released, and those that still wait
    /// for their miners.
    fn receipts(&self, each: &mut Each<'_>) -> Result<(), MetaError> {
        let stripes = self.transaction.open_table(STRIPES)?;
        let is_wanted =
            |stripe: &StripeId| Ok::<_, MetaError>(stripes.get(stripe.0)?.is_some() && !self.is_own(stripe)?);
        for row in self.transaction.open_table(LEDGER)?.iter()? {
            let (sequence, value) = row?;
            let record = LedgerRecord::decode_all(&mut value.value()).map_err(|_| MetaError::Row("ledger"));
            let Some(record) = self.unreadable.readable(record, sequence.value())? else { continue };
            let LedgerRecord::Stored(signed) = record else { continue };
            let receipt = &signed.receipt;
            if is_wanted(&receipt.stripe)? && moved::is_held(self.transaction, receipt, sequence.value())? {
                // Not its line, which is another one in the ledger of another gateway.
                each(RECEIPTS, &(receipt.shard, receipt.index).encode(), value.value())?;
            }
        }
        for row in self.transaction.open_table(UNCONFIRMED)?.iter()? {
            let (key, line) = row?;
            let stripe = StripeId(key.value().0);
            let signed = unconfirmed::receipt_in(line.value());
            let Some(signed) = self.unreadable.readable(signed, stripe)? else { continue };
            if is_wanted(&stripe)? {
                each(RECEIPTS, &(signed.receipt.shard, signed.receipt.index).encode(), line.value())?;
            }
        }
        Ok(())
    }

    /// What the rows are as long as nothing but queues changes.
    fn digest(&self) -> Result<[u8; 32], MetaError> {
        let mut hasher = blake3::Hasher::new();
        for number in 1..QUEUES {
            self.table(number, &mut |table, key, value| {
                hasher.update(&[table]);
                for part in [key, value] {
                    hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
                }
                Ok(())
            })?;
        }
        Ok(hasher.finalize().into())
    }

    /// Sends all rows, in chunks.
    fn send(&self, sizes: Sizes, chunks: &mpsc::Sender<Plain>) -> Result<Summary, MetaError> {
        let (mut cutter, mut summary) = (Cutter::new(0, sizes), Summary::default());
        // Whoever takes them waits for this to end where work is done inline, and there must be room for all of them.
        let send = |chunk| match work::is_inline() {
            true => chunks.try_send(chunk).map_err(|_| MetaError::Closed),
            false => chunks.blocking_send(chunk).map_err(|_| MetaError::Closed),
        };
        for number in 1..=LAST {
            self.table(number, &mut |table, key, value| {
                summary.count(table, value);
                for (row, cut) in Row::pieces(table, key, value) {
                    cutter
                        .push(&row.encode(), cut, 1, table == MAPS_NUMBER)
                        .into_iter()
                        .try_for_each(send)?;
                }
                Ok(())
            })?;
        }
        cutter.rest().into_iter().try_for_each(send)?;
        Ok(summary)
    }
}

/// What was exported.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exported {
    /// What tells these rows from others, but for those of queues.
    pub digest: [u8; 32],
    /// What was sent; `None` if the rows are those of the digest that was given.
    pub summary: Option<Summary>,
}

impl Meta {
    /// Sends everything that a new gateway needs, as it is in this moment, in chunks; nothing if nothing changed since `known`.
    /// It goes on as chunks are taken: pages of the file that change meanwhile are not reused before it ends.
    pub async fn export(
        &self,
        files: Vec<File>,
        known: Option<[u8; 32]>,
        sizes: Sizes,
        chunks: mpsc::Sender<Plain>,
    ) -> Result<Exported, MetaError> {
        let unreadable = self.unreadable.clone();
        self.read(move |transaction| {
            let own = transaction.open_table(SNAPSHOT_STRIPES)?;
            let view = View { transaction, own, files: &files, unreadable: &unreadable };
            let digest = view.digest()?;
            if known == Some(digest) {
                return Ok(Exported { digest, summary: None });
            }
            Ok(Exported { digest, summary: Some(view.send(sizes, &chunks)?) })
        })
        .await
    }

    /// Enters rows of a snapshot, all or none, and counts them; gives back what are no rows of tables.
    pub async fn import(&self, rows: Vec<Row>, summary: &mut Summary) -> Result<Vec<File>, MetaError> {
        let (mut files, mut others) = (Vec::new(), Vec::new());
        for row in rows {
            summary.count(row.table, &row.value);
            if row.table == FILES {
                let name = String::decode_all(&mut &row.key[..]).map_err(|_| MetaError::Row("files"))?;
                files.push((name, row.value));
            } else {
                others.push(row);
            }
        }
        let others = std::sync::Arc::new(others);
        self.write(move |transaction| {
            occupancy::forget(transaction)?;
            others.iter().try_for_each(|row| enter(transaction, row.table, &row.key, &row.value))
        })
        .await?;
        Ok(files)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            SETTINGS, ShardPlace,
            commitments::{COMMITMENTS, NOTICES, ROOTS},
            compaction::KEPT,
            events::EVENTS,
            moved::{MOVED, RELEASES},
            occupancy::{CLAIMS, OCCUPIED, PACKED_FOR},
            receipts::RECEIPTS as INDEX,
            served::SERVED,
            snapshots::{SNAPSHOT_NODES, SNAPSHOTS},
            stripes,
            tests::{Engine, bucket_of},
            unconfirmed::tests::confirm_all,
            usage::USAGE,
        },
        *,
    };
    use crate::snapshot::row::Assembly;

    /// Who adds a table decides whether a new gateway needs it.
    #[tokio::test]
    async fn every_table_is_in_snapshots_or_left_out_on_purpose() {
        let directory = tempfile::tempdir().unwrap();
        let meta = Meta::open(&directory.path().join("m.redb")).unwrap();
        let tables = meta.read(|transaction| Ok(transaction.table_names()));
        let notes = [SNAPSHOTS.name(), SNAPSHOT_NODES.name(), SNAPSHOT_STRIPES.name()];
        let left_out = notes.into_iter().chain([
            SETTINGS.name(),
            USAGE.name(),
            EVENTS.name(),
            INDEX.name(),
            MOVED.name(),
            RELEASES.name(),
            SERVED.name(),
        ]);
        let billing = [CLAIMS.name(), OCCUPIED.name(), PACKED_FOR.name()];
        let billing =
            billing.into_iter().chain([ROOTS.name(), COMMITMENTS.name(), NOTICES.name(), KEPT.name()]);
        let left_out = left_out.chain(billing);
        let mut known = exported();
        known.extend(left_out.map(str::to_owned));
        known.sort();
        let mut tables = tables.await.unwrap();
        tables.sort();
        assert_eq!(tables, known);
    }

    async fn rows(meta: &Meta) -> (Vec<Row>, Summary) {
        let (sender, mut chunks) = mpsc::channel(1);
        let files = vec![("f".to_owned(), vec![7; 600_000])];
        let export = meta.export(files, None, Sizes::STANDARD, sender);
        let take = async {
            let (mut rows, mut assembly) = (Vec::new(), Assembly::default());
            while let Some(chunk) = chunks.recv().await {
                let mut body = &chunk.body[..];
                while !body.is_empty() {
                    rows.extend(assembly.push(codec::Decode::decode(&mut body).unwrap()).unwrap());
                }
            }
            rows
        };
        let (exported, rows) = tokio::join!(export, take);
        (rows, exported.unwrap().summary.unwrap())
    }

    /// A shard that lies where a later map named it, and nowhere else, is told of its deletion there by a new gateway, too.
    #[tokio::test]
    async fn a_shard_that_was_brought_elsewhere_is_known_there_after_a_recovery() {
        use arion_types::NodeId;
        for engine in Engine::each() {
            let meta = engine.open();
            let stripe = stripes::tests::record(2);
            let first: Vec<_> = (0..30).map(|index| stripes::tests::receipt(&stripe, index)).collect();
            let mut later = first[7];
            (later.receipt.node_id, later.receipt.epoch) = (NodeId([99; 32]), stripe.epoch + 1);
            meta.begin_stripe(stripe.id(), stripe.clone()).await.unwrap();
            let without = first.iter().filter(|signed| signed.receipt.index != 7).cloned().collect();
            meta.stripe_stored(stripe.id(), without, 0).await.unwrap();
            meta.relocated(vec![later]).await.unwrap();
            let (sent, _) = rows(&meta).await;
            let directory = tempfile::tempdir().unwrap();
            let other = Meta::open(&directory.path().join("two.redb")).unwrap();
            other.import(sent.clone(), &mut Summary::default()).await.unwrap();
            let holders = async |meta: &Meta, index: u8| {
                let place = ShardPlace { shard: stripe.hashes[usize::from(index)], index };
                meta.moved_to(place).await.unwrap()
            };
            assert_eq!((other.ledger_len().await.unwrap(), other.unconfirmed_len().await.unwrap()), (0, 30));
            confirm_all(&other).await;
            assert_eq!(other.ledger_len().await.unwrap(), 30);
            let there = NodeId([99; 32]);
            assert_eq!((holders(&other, 7).await, holders(&other, 8).await), (vec![there], vec![]));
            // Deleted before anybody has confirmed anything.
            let other = Meta::open(&directory.path().join("three.redb")).unwrap();
            other.import(sent, &mut Summary::default()).await.unwrap();
            other.discard_stripes(vec![stripe.id()], 5).await.unwrap();
            assert_eq!((other.ledger_len().await.unwrap(), other.unconfirmed_len().await.unwrap()), (0, 0));
            assert_eq!(
                (holders(&other, 7).await, holders(&other, 8).await),
                (vec![there], vec![NodeId([8; 32])])
            );
        }
    }

    /// A new gateway's ledger has each shard with those who have it, not with who was released.
    #[tokio::test]
    async fn receipts_of_miners_that_were_released_stay_behind() {
        use arion_types::NodeId;
        let directory = tempfile::tempdir().unwrap();
        let meta = Meta::open(&directory.path().join("one.redb")).unwrap();
        let stripe = stripes::tests::record(1);
        let by = |miner: u8, index: u8| {
            let mut signed = stripes::tests::receipt(&stripe, index);
            signed.receipt.node_id = NodeId([miner + index; 32]);
            signed
        };
        let all = |miner: u8| (0..30).map(|index| by(miner, index)).collect::<Vec<_>>();
        meta.begin_stripe(stripe.id(), stripe.clone()).await.unwrap();
        meta.stripe_stored(stripe.id(), all(0), 0).await.unwrap();
        let named = |miner: u8| (0..30).map(|index| Some(NodeId([miner + index; 32]))).collect();
        // There and back again: the miners of before have signed twice.
        for (miner, released) in [(100, 30), (0, 30), (100, 30), (50, 0)] {
            meta.relocated(all(miner)).await.unwrap();
            if released > 0 {
                assert_eq!(meta.release(vec![(stripe.id(), named(miner))], 0).await.unwrap(), released);
            }
        }
        let (sent, _) = rows(&meta).await;
        let other = Meta::open(&directory.path().join("two.redb")).unwrap();
        other.import(sent, &mut Summary::default()).await.unwrap();
        assert_eq!(other.ledger_len().await.unwrap(), 0);
        // Lost again before a miner was asked: nothing is.
        let (again, _) = rows(&other).await;
        let second = Meta::open(&directory.path().join("again.redb")).unwrap();
        second.import(again, &mut Summary::default()).await.unwrap();
        assert_eq!(second.unconfirmed_len().await.unwrap(), 60);
        confirm_all(&other).await;
        let lines = other.ledger_page(0, 512).await.unwrap();
        let mut miners: Vec<u8> = lines
            .iter()
            .map(|entry| match &entry.record {
                LedgerRecord::Stored(signed) => signed.receipt.node_id.0[0],
                other => panic!("{other:?}"),
            })
            .collect();
        miners.sort_unstable();
        assert_eq!(miners, (50..80).chain(100..130).collect::<Vec<u8>>());
        // It knows who has each shard, so that deletions and releases reach them.
        while !other.index_receipts().await.unwrap() {}
        let place = ShardPlace { shard: stripe.hashes[3], index: 3 };
        let mut nodes = other.moved_to(place).await.unwrap();
        nodes.sort_unstable();
        assert_eq!(nodes, [NodeId([53; 32]), NodeId([103; 32])]);
        let named = (0..30).map(|index| Some(NodeId([50 + index; 32]))).collect();
        assert_eq!(other.release(vec![(stripe.id(), named)], 0).await.unwrap(), 30);
        assert_eq!(other.moved_to(place).await.unwrap(), [NodeId([53; 32])]);
        // What the index says of the ledger is what was noted when its lines came.
        let (sent, _) = rows(&other).await;
        let third = Meta::open(&directory.path().join("three.redb")).unwrap();
        third.import(sent, &mut Summary::default()).await.unwrap();
        assert_eq!(third.unconfirmed_len().await.unwrap(), 30);
    }

    #[tokio::test]
    async fn what_goes_out_comes_in_again_and_nothing_twice() {
        for engine in Engine::each() {
            let meta = engine.open();
            bucket_of(&meta, "photos", "alice").await;
            meta.keep_map(3, vec![1; 10]).await.unwrap();
            let stripe = stripes::tests::record(5);
            meta.begin_stripe(stripe.id(), stripe.clone()).await.unwrap();
            let receipts = (0..20).map(|index| stripes::tests::receipt(&stripe, index)).collect();
            meta.stripe_stored(stripe.id(), receipts, 0).await.unwrap();
            let (sent, summary) = rows(&meta).await;
            assert_eq!((summary.buckets, summary.rows), (1, sent.len() as u64));
            let directory = tempfile::tempdir().unwrap();
            let other = Meta::open(&directory.path().join("two.redb")).unwrap();
            let mut found = Summary::default();
            let files = other.import(sent.clone(), &mut found).await.unwrap();
            assert_eq!((found, files), (summary, vec![("f".to_owned(), vec![7; 600_000])]));
            assert_eq!(rows(&other).await, (sent.clone(), summary));
            let again = other.import(sent.clone(), &mut found).await;
            assert!(matches!(again, Err(MetaError::Row("maps"))), "{again:?}");
            for (table, key, value) in [
                (99, vec![], vec![]),
                (7, vec![9], vec![]),
                (9, sent[0].key.clone(), vec![1]),
                (15, vec![], vec![9]),
            ] {
                let row = Row { table, more: false, key, value };
                assert!(
                    matches!(other.import(vec![row], &mut found).await, Err(MetaError::Row(_))),
                    "{table}"
                );
            }
        }
    }
}
