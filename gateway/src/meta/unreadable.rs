//! Rows that do not decode and that background work passed over: each is told once, and all are counted.
//!
//! Such a row is left as it is, and nothing that it may refer to is deleted: what it said is unknown. Work goes on without it.
//! Whoever asks for what is in the row is refused ([`MetaError::Row`]); a listing that reaches it is, rather than being told
//! that there is nothing.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use super::{Meta, MetaError};

/// Most rows that are remembered.
const REMEMBERED_MAX: usize = 4_096;

/// The rows that were passed over since the start: the table, and which row or what was worked on that needs it.
#[derive(Clone, Default)]
pub(super) struct Unreadable(Arc<Mutex<BTreeSet<(&'static str, String)>>>);

impl Unreadable {
    /// Tells and counts a row that was passed over.
    pub(super) fn pass_over(&self, table: &'static str, row: impl ToString) {
        let (mut seen, row) = (self.0.lock().unwrap_or_else(PoisonError::into_inner), row.to_string());
        if seen.len() < REMEMBERED_MAX && seen.insert((table, row.clone())) {
            tracing::error!(
                table,
                row,
                "a metadata row does not decode: it is left as it is and passed over"
            );
        }
    }

    /// What decodes; none for a row that does not, which is passed over.
    pub(super) fn readable<T>(
        &self,
        decoded: Result<T, MetaError>,
        row: impl ToString,
    ) -> Result<Option<T>, MetaError> {
        match decoded {
            Err(MetaError::Row(table)) => {
                self.pass_over(table, row);
                Ok(None)
            }
            decoded => decoded.map(Some),
        }
    }
}

impl Meta {
    /// For background work on one of many things: none if a row does not decode that it needs, which is told and counted.
    pub(crate) fn readable<T>(
        &self,
        worked: Result<T, MetaError>,
        on: impl ToString,
    ) -> Result<Option<T>, MetaError> {
        self.unreadable.readable(worked, on)
    }

    /// How many rows were passed over since the start because they do not decode, each counted once; at most 4,096.
    pub fn unreadable_rows(&self) -> usize {
        self.unreadable.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

#[cfg(test)]
mod tests {
    use arion_types::StripeId;

    use super::{
        super::{
            Allowance, BUCKETS, DELETES, MANIFESTS, MISSING, Moved, STRIPES, SUBRESOURCES, Subresource,
            TableDefinition, UPLOADS, UploadInfo, UploadKey,
            packs::{HOLED, PACKED},
            store,
            tests::{Engine, bucket_of},
        },
        *,
    };
    use crate::manifest::StripeRecord;

    type Row = &'static [u8];
    /// No version of any row begins with it.
    const BROKEN: &[u8] = &[0xff];

    /// A stripe in flight.
    async fn stripe(meta: &Meta, seed: u8) -> StripeRecord {
        let hash = |index| arion_types::ShardHash(*blake3::hash(&[seed, index]).as_bytes());
        let hashes = (0..30).map(hash).collect();
        let record = StripeRecord { epoch: 1, len: 640, shard_len: 64, data_shards: 10, hashes };
        meta.begin_stripe(record.id(), record.clone()).await.unwrap();
        record
    }

    async fn spoil<K>(meta: &Meta, table: TableDefinition<K, Row>, row: K)
    where
        for<'a> K: store::Key + Copy + Send + redb::Value<SelfType<'a> = K>,
    {
        let spoilt = meta.write(move |transaction| {
            transaction.open_table(table)?.insert(row, BROKEN)?;
            Ok(())
        });
        spoilt.await.unwrap();
    }

    #[tokio::test]
    async fn queues_go_on_without_a_broken_row_and_keep_it() {
        for engine in Engine::each() {
            let meta = engine.open();
            let record = stripe(&meta, 1).await;
            meta.stripe_stored(record.id(), Vec::new(), 0).await.unwrap();
            spoil(&meta, MISSING, (record.hashes[7].0, 7)).await;
            for _ in 0..2 {
                assert_eq!(meta.due_missing(1, 100).await.unwrap().len(), 29);
                assert_eq!(meta.unreadable_rows(), 1);
            }
            assert_eq!(meta.due_missing(1, 5).await.unwrap().len(), 5);
            assert_eq!(meta.backlog().await.unwrap(), (30, 0));
            meta.discard_stripes(vec![record.id()], 1).await.unwrap();
            spoil(&meta, DELETES, (record.hashes[8].0, 8)).await;
            assert_eq!(meta.due_deletes(1, 100).await.unwrap().len(), 29);
            assert_eq!(meta.backlog().await.unwrap(), (0, 30));
            assert_eq!(meta.unreadable_rows(), 2);
        }
    }

    /// What a crash had left behind kept the gateway from starting.
    #[tokio::test]
    async fn a_stripe_that_cannot_be_read_is_not_taken_for_unwanted() {
        for engine in Engine::each() {
            let meta = engine.open();
            let (broken, good) = (stripe(&meta, 1).await.id(), stripe(&meta, 2).await.id());
            spoil(&meta, STRIPES, broken.0).await;
            meta.discard_stripes(vec![broken, good], 1).await.unwrap();
            assert_eq!(meta.inflight_stripes().await.unwrap(), [broken]);
            assert_eq!(meta.stripe(good).await.unwrap(), None);
            assert!(matches!(meta.stripe(broken).await, Err(MetaError::Row("stripes"))));
            assert_eq!(meta.backlog().await.unwrap(), (0, 30));

            let (broken, good) = (stripe(&meta, 3).await.id(), stripe(&meta, 4).await.id());
            meta.shared_stripe_stored(broken, Vec::new(), 0).await.unwrap();
            meta.shared_stripe_stored(good, Vec::new(), 0).await.unwrap();
            spoil(&meta, STRIPES, broken.0).await;
            assert_eq!(meta.unpin_stripes(vec![broken, good], 1).await.unwrap(), 1);
            assert_eq!(meta.pinned_stripes().await.unwrap(), [broken]);
            assert_eq!(meta.unreadable_rows(), 2);
        }
    }

    #[tokio::test]
    async fn holes_of_other_stripes_are_found() {
        for engine in Engine::each() {
            let meta = engine.open();
            let ids = [stripe(&meta, 1).await.id(), stripe(&meta, 2).await.id(), StripeId([9; 32])];
            let holed = meta.write(move |transaction| {
                let mut holed = transaction.open_table(HOLED)?;
                ids.iter().try_for_each(|id| holed.insert(id.0, ()))?;
                Ok(())
            });
            holed.await.unwrap();
            spoil(&meta, STRIPES, ids[0].0).await;
            let mut found: Vec<_> =
                meta.holed_stripes(2).await.unwrap().into_iter().map(|(id, _)| id).collect();
            found.sort();
            let mut expected = ids[1..].to_vec();
            expected.sort();
            assert_eq!(found, expected);
            assert_eq!(meta.holed_stripes(9).await.unwrap().len(), 2);
            assert_eq!(meta.unreadable_rows(), 1);
        }
    }

    #[tokio::test]
    async fn an_object_that_cannot_be_read_stays_in_its_stripe() {
        for engine in Engine::each() {
            let meta = engine.open();
            let (from, to) = (stripe(&meta, 1).await, stripe(&meta, 2).await);
            let (old, manifest) = (from.id(), [5; 16]);
            let entered = meta.write(move |transaction| {
                transaction.open_table(MANIFESTS)?.insert(manifest, BROKEN)?;
                transaction.open_table(PACKED)?.insert((old.0, 0, manifest), 10)?;
                transaction.open_table(HOLED)?.insert(old.0, ())?;
                Ok(())
            });
            entered.await.unwrap();
            let moved = vec![Moved { from: old, before: 0, after: 0 }];
            assert_eq!(meta.move_packed(moved, to, 1).await.unwrap(), 0);
            assert_eq!(meta.stripe(old).await.unwrap(), Some(from));
            // It is not moved again and again.
            assert_eq!(meta.holed_stripes(9).await.unwrap(), []);
            let kept = meta.read(move |transaction| {
                Ok(transaction.open_table(PACKED)?.get((old.0, 0, manifest))?.map(|row| row.value()))
            });
            assert_eq!(kept.await.unwrap(), Some(10));
            assert_eq!(meta.unreadable_rows(), 1);
        }
    }

    #[tokio::test]
    async fn uploads_and_rules_of_others_are_found() {
        for engine in Engine::each() {
            let meta = engine.open();
            let upload = |id: &str| UploadKey { bucket: "b".into(), key: "k".into(), id: id.into() };
            for bucket in ["a", "b", "c"] {
                bucket_of(&meta, bucket, "x").await;
                let rules = Some(bucket.as_bytes().to_vec());
                meta.put_subresource(bucket.into(), Subresource::Lifecycle, rules).await.unwrap();
            }
            for id in ["1", "2", "3"] {
                let info = UploadInfo { created_ms: 1, ..Default::default() };
                meta.create_upload(upload(id), info, Allowance::NONE).await.unwrap();
            }
            let spoilt = meta.write(|transaction| {
                transaction.open_table(SUBRESOURCES)?.insert(("b", Subresource::Lifecycle as u8), BROKEN)?;
                transaction.open_table(UPLOADS)?.insert(("b", "k", "1"), BROKEN)?;
                Ok(())
            });
            spoilt.await.unwrap();
            let (rules, next) = meta.subresources_of_kind(None, Subresource::Lifecycle, 9).await.unwrap();
            let named: Vec<_> = rules.iter().map(|(bucket, _)| bucket.as_str()).collect();
            assert_eq!((named, next), (vec!["a", "c"], None));
            assert_eq!(meta.next_expired(None, 9, 2).await.unwrap(), (Some(upload("2")), Some(upload("1"))));
            assert_eq!(meta.unreadable_rows(), 2);
            // Not even with its bucket gone: what its parts hold is not known to be its own.
            let gone = meta.write(|transaction| {
                transaction.open_table(BUCKETS)?.remove("b")?;
                Ok(())
            });
            gone.await.unwrap();
            assert_eq!(meta.next_expired(None, 1, 0).await.unwrap(), (None, Some(upload("1"))));
            assert_eq!(meta.next_expired(None, 9, 0).await.unwrap().0, Some(upload("2")));
        }
    }
}
