//! Metadata of one store in another: what was recovered into a file goes to PostgreSQL.

use super::{
    BUCKETS, DELETES, INFLIGHT, LEDGER, MANIFESTS, MAPS, MISSING, Meta, MetaError, NULLS, OBJECTS, PARTS,
    ReadTransaction, ReadableTable, STRIPES, SUBRESOURCES, TableDefinition, UPLOADS, VERSIONS,
    WriteTransaction,
    bucket_keys::{BUCKET_ENCRYPTION, BUCKET_KEYS},
    commitments::{COMMITMENTS, NOTICES, ROOTS},
    compaction::KEPT,
    equal::{EQUAL_AT, EQUALS},
    events::EVENTS,
    moved::{MOVED, RELEASES},
    occupancy::{self, CLAIMS, OCCUPIED, PACKED_FOR},
    packs::{HOLED, PACKED},
    receipts::RECEIPTS,
    served::SERVED,
    snapshots::{SNAPSHOT_NODES, SNAPSHOT_STRIPES, SNAPSHOTS},
    store::{Key, Value},
    stripes::PINNED,
    unconfirmed::UNCONFIRMED,
    usage::USAGE,
};

/// Rows on their way at once.
const ROWS_MAX: usize = 4_096;

fn copy<K: Key, V: Value + 'static>(
    from: &ReadTransaction,
    to: &WriteTransaction,
    table: TableDefinition<K, V>,
) -> Result<(), MetaError> {
    let mut target = to.open_table(table)?;
    for (count, row) in from.open_table(table)?.iter()?.enumerate() {
        let (key, value) = row?;
        target.insert(key.value(), value.value())?;
        if count % ROWS_MAX == ROWS_MAX - 1 {
            to.send()?;
        }
    }
    to.send()
}

macro_rules! tables {
    ($($table:ident)*) => {
        fn copy_all(from: &ReadTransaction, to: &WriteTransaction) -> Result<(), MetaError> {
            $(copy(from, to, $table)?;)*
            Ok(())
        }

        #[cfg(test)]
        fn copied() -> Vec<String> {
            vec![$($table.name().to_owned()),*]
        }
    };
}

// All but the settings, which every store has for itself.
tables! {
    BUCKETS BUCKET_ENCRYPTION BUCKET_KEYS CLAIMS COMMITMENTS DELETES EQUALS EQUAL_AT EVENTS HOLED INFLIGHT KEPT LEDGER MANIFESTS MAPS MISSING
    MOVED NOTICES NULLS OBJECTS OCCUPIED PACKED PACKED_FOR PARTS PINNED RECEIPTS RELEASES ROOTS SERVED SNAPSHOTS SNAPSHOT_NODES SNAPSHOT_STRIPES
    STRIPES SUBRESOURCES UNCONFIRMED UPLOADS USAGE VERSIONS
}

impl Meta {
    /// Whether nothing was ever entered.
    pub async fn is_empty(&self) -> Result<bool, MetaError> {
        self.read(|transaction| {
            Ok(transaction.open_table(BUCKETS)?.is_empty()?
                && transaction.open_table(LEDGER)?.is_empty()?
                && transaction.open_table(SNAPSHOTS)?.is_empty()?)
        })
        .await
    }

    /// Enters all rows of these metadata into others, which are empty: all of them or none.
    pub async fn copy_to(&self, other: &Self) -> Result<(), MetaError> {
        let (from, to) = (self.store.clone(), other.store.clone());
        let copied = tokio::task::spawn_blocking(move || {
            from.read(|read| {
                let write = to.begin_write(&mut None)?;
                copy_all(read, &write)?;
                // These may not have counted it: they were filled from a snapshot.
                occupancy::forget(&write)?;
                write.commit().map(drop)
            })
        });
        copied.await.unwrap_or(Err(MetaError::Closed))
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{SETTINGS, tests::bucket_of},
        *,
    };

    #[tokio::test]
    async fn every_table_is_copied() {
        let directory = tempfile::tempdir().unwrap();
        let meta = Meta::open(&directory.path().join("m.redb")).unwrap();
        let mut tables = meta.read(|transaction| Ok(transaction.table_names())).await.unwrap();
        let mut known = copied();
        known.push(SETTINGS.name().to_owned());
        tables.sort();
        known.sort();
        assert_eq!(tables, known);
        assert!(meta.is_empty().await.unwrap());
        bucket_of(&meta, "b", "a").await;
        meta.keep_map(7, vec![3; 9]).await.unwrap();
        let other = Meta::open(&directory.path().join("other.redb")).unwrap();
        meta.copy_to(&other).await.unwrap();
        assert!(!other.is_empty().await.unwrap());
        assert_eq!(other.kept_maps().await.unwrap(), [(7, vec![3; 9])]);
        assert!(other.bucket("b".into()).await.unwrap().is_some());
    }
}
