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
#[path = "export_tests.rs"]
mod tests;
