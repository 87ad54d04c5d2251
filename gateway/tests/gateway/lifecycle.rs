//! Lifecycle rules, carried out by the walker with a clock that the test turns: what is due goes with all it held, and what
//! changed since it was looked at stays.

use std::time::{Duration, Instant};

use arion_gateway::{
    lifecycle::{Day, Lifecycle, ROWS},
    listing::Query,
    meta::{
        Allowance, BucketInfo, DeleteRequest, Expiring, Meta, MetaError, PartInfo, Subresource, UploadInfo,
        UploadKey, VersionPage,
    },
    metrics::Metrics,
    object::{Properties, Versioning},
};
use futures_util::{StreamExt, stream};

use crate::{
    network::open_meta,
    rows::{BUCKET, new_object, new_part, stripe},
};

/// Milliseconds of a day.
const DAY: u64 = 1_000;
/// Turns that a round takes at the most.
const TURNS_MAX: usize = 100;

struct Bucket {
    meta: Meta,
    metrics: Metrics,
    directory: tempfile::TempDir,
}

impl Bucket {
    async fn new(versioning: Versioning, rules: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let meta = Meta::open(&directory.path().join("meta.redb")).unwrap();
        meta.create_bucket(BUCKET.into(), BucketInfo::new("a".into(), 1)).await.unwrap();
        if versioning != Versioning::Unversioned {
            meta.set_versioning(BUCKET.into(), versioning).await.unwrap();
        }
        let bucket = Self { meta, metrics: Metrics::default(), directory };
        bucket.set_rules(Some(rules)).await;
        bucket
    }

    async fn set_rules(&self, rules: Option<&str>) {
        let rules = rules.map(|rules| document(rules).into_bytes());
        self.meta.put_subresource(BUCKET.into(), Subresource::Lifecycle, rules).await.unwrap();
    }

    async fn put(&self, key: &str, seed: u32, now_ms: u64) {
        let mut object = new_object(&self.meta, key, seed).await;
        object.info.modified_ms = now_ms;
        self.meta.put_object(object, now_ms).await.unwrap();
    }

    /// Objects `old/0001` and so on.
    async fn put_many(&self, count: u32, now_ms: u64) {
        let keys: Vec<_> = (1..=count).map(|seed| (format!("old/{seed:04}"), seed)).collect();
        stream::iter(&keys).for_each_concurrent(64, |(key, seed)| self.put(key, *seed, now_ms)).await;
    }

    async fn begin_upload(&self, key: &str, seed: u32) {
        let upload = UploadKey { bucket: BUCKET.into(), key: key.into(), id: seed.to_string() };
        let info = UploadInfo { created_ms: 7, properties: Properties::default(), checksum: None };
        self.meta.create_upload(upload.clone(), info, Allowance::NONE).await.unwrap();
        let manifest = new_part(&self.meta, seed).await;
        let part = PartInfo { md5: [0; 16], modified_ms: 7, manifest, checksums: Default::default() };
        self.meta.put_part(upload, 1, part, Allowance::NONE, 7).await.unwrap();
    }

    /// Puts bytes that are no row in the place of one, while nobody has the file.
    fn spoilt<K: redb::Key + 'static>(self, table: &str, row: K::SelfType<'_>) -> Self {
        let Self { meta, metrics, directory } = self;
        drop(meta);
        let deadline = Instant::now() + Duration::from_secs(10);
        let file = loop {
            match redb::Database::open(directory.path().join("meta.redb")) {
                Ok(file) => break file,
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            std::thread::yield_now();
        };
        let transaction = file.begin_write().unwrap();
        {
            let mut rows = transaction.open_table(redb::TableDefinition::<K, &[u8]>::new(table)).unwrap();
            let before = rows.insert(row, &[0xff_u8][..]).unwrap();
            assert!(before.is_some(), "{table} has no such row");
        }
        transaction.commit().unwrap();
        drop(file);
        Self { meta: open_meta(directory.path()), metrics, directory }
    }

    fn walker(&self) -> Lifecycle {
        Lifecycle::new(self.meta.clone(), self.metrics.clone(), Day(DAY))
    }

    /// A whole round.
    async fn round(&self, now_ms: u64) {
        let mut walker = self.walker();
        for _ in 0..TURNS_MAX {
            if !walker.turn(now_ms).await.unwrap() {
                return;
            }
        }
        panic!("the round does not end");
    }

    async fn keys(&self) -> Vec<String> {
        let all = Query { max: 10_000, ..Default::default() };
        let page = self.meta.list_objects(BUCKET.into(), all).await.unwrap();
        page.keys.into_iter().map(|(key, _)| key).collect()
    }

    async fn versions(&self) -> VersionPage {
        self.meta.versions_page(BUCKET.into(), String::new(), String::new(), None, 10_000).await.unwrap()
    }

    /// Keys and sizes of all versions, a delete marker without.
    async fn lines(&self) -> Vec<(String, Option<u64>)> {
        let lines = self.versions().await.lines.into_iter();
        lines.map(|(key, version)| (key, version.object().map(|info| info.size))).collect()
    }

    async fn is_alive(&self, seed: u32) -> bool {
        self.meta.stripe(stripe(seed).id()).await.unwrap().is_some()
    }

    /// The newest version of a key, due by these rules.
    async fn due(&self, key: &str, rules: &str) -> Expiring {
        let mut lines = self.versions().await.lines.into_iter();
        let (_, version) = lines.find(|(name, version)| name == key && version.is_latest()).unwrap();
        Expiring { bucket: BUCKET.into(), key: key.into(), version, rules: document(rules).into_bytes() }
    }
}

fn document(rules: &str) -> String {
    format!(
        "<LifecycleConfiguration><Rule><ID>r</ID><Filter><Prefix>old/</Prefix></Filter>\
         <Status>Enabled</Status>{rules}</Rule></LifecycleConfiguration>"
    )
}

const AFTER_A_DAY: &str = "<Expiration><Days>1</Days></Expiration>";
const ABORT_AFTER_A_DAY: &str = "<AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation>\
    </AbortIncompleteMultipartUpload>";

#[tokio::test]
async fn objects_go_when_their_day_is_over_and_not_before() {
    let bucket = Bucket::new(Versioning::Unversioned, AFTER_A_DAY).await;
    // More than a turn looks at.
    let count = ROWS as u32 + 10;
    bucket.put_many(count, 5).await;
    bucket.put("kept", 9_000, 5).await;
    bucket.round(5 + DAY - 1).await;
    assert_eq!(bucket.keys().await.len(), count as usize + 1);
    bucket.round(5 + DAY).await;
    assert_eq!(bucket.keys().await, ["kept"]);
    assert!(!bucket.is_alive(1).await && !bucket.is_alive(count).await && bucket.is_alive(9_000).await);
    assert_eq!(bucket.metrics.versions_expired.get(), u64::from(count));
}

#[tokio::test]
async fn versions_are_hidden_then_removed_then_their_marker_goes() {
    let rules = "<Expiration><Days>2</Days></Expiration><NoncurrentVersionExpiration><NoncurrentDays>1\
        </NoncurrentDays></NoncurrentVersionExpiration>";
    let bucket = Bucket::new(Versioning::Enabled, rules).await;
    bucket.put("old/k", 1, 0).await;
    bucket.put("old/k", 2, 0).await;
    bucket.round(DAY - 1).await;
    assert_eq!(bucket.lines().await, [("old/k".to_owned(), Some(2)), ("old/k".to_owned(), Some(1))]);
    bucket.round(DAY).await;
    assert_eq!(bucket.lines().await, [("old/k".to_owned(), Some(2))]);
    bucket.round(2 * DAY).await;
    assert_eq!(bucket.lines().await, [("old/k".to_owned(), None), ("old/k".to_owned(), Some(2))]);
    bucket.round(3 * DAY).await;
    assert_eq!(bucket.lines().await, [("old/k".to_owned(), None)]);
    assert!(!bucket.is_alive(2).await);
    // The marker is as old as the day on which it hid the object.
    bucket.round(4 * DAY).await;
    assert_eq!(bucket.lines().await, []);
    bucket.meta.delete_bucket(BUCKET.into()).await.unwrap();
}

#[tokio::test]
async fn as_many_newer_versions_stay_as_the_rule_says_wherever_pages_end() {
    let rules = "<NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays>\
        <NewerNoncurrentVersions>3</NewerNoncurrentVersions></NoncurrentVersionExpiration>";
    let bucket = Bucket::new(Versioning::Enabled, rules).await;
    let count = ROWS as u32 + 2;
    for seed in 1..=count {
        bucket.put("old/k", seed, 0).await;
    }
    bucket.round(DAY).await;
    let sizes: Vec<_> = bucket.lines().await.into_iter().map(|(_, size)| size.unwrap()).collect();
    let count = u64::from(count);
    assert_eq!(sizes, [count, count - 1, count - 2, count - 3]);
}

#[tokio::test]
async fn uploads_in_parts_are_given_up() {
    let bucket = Bucket::new(Versioning::Unversioned, ABORT_AFTER_A_DAY).await;
    bucket.begin_upload("old/k", 1).await;
    bucket.begin_upload("kept", 2).await;
    bucket.round(7 + DAY - 1).await;
    assert!(bucket.is_alive(1).await);
    bucket.round(7 + DAY).await;
    assert!(!bucket.is_alive(1).await && bucket.is_alive(2).await);
    assert_eq!(bucket.metrics.uploads_expired.get(), 1);
}

/// The null version is called the same whatever it is: an object that was written after the walker had looked was deleted in
/// the place of the one that was due.
#[tokio::test]
async fn what_was_written_or_tagged_since_is_not_what_was_due() {
    for versioning in [Versioning::Unversioned, Versioning::Suspended] {
        let bucket = Bucket::new(versioning, AFTER_A_DAY).await;
        bucket.put("old/k", 1, 0).await;
        let due = bucket.due("old/k", AFTER_A_DAY).await;
        bucket.put("old/k", 2, DAY).await;
        assert!(!bucket.meta.expire_current(due, DAY).await.unwrap());
        assert_eq!(bucket.keys().await, ["old/k"]);
        assert!(bucket.is_alive(2).await);
        let due = bucket.due("old/k", AFTER_A_DAY).await;
        let tags = vec![("keep".to_owned(), "yes".to_owned())];
        let names = (BUCKET.into(), "old/k".into());
        bucket.meta.set_tags(names, None, Some(tags), Default::default(), 1).await.unwrap();
        assert!(!bucket.meta.expire_current(due, 3 * DAY).await.unwrap());
        let due = bucket.due("old/k", AFTER_A_DAY).await;
        assert!(bucket.meta.expire_current(due, 3 * DAY).await.unwrap());
        assert_eq!(bucket.keys().await, [""; 0]);
    }
}

/// Rules that their owner takes back in the middle of a round do nothing more.
#[tokio::test]
async fn rules_that_were_changed_do_nothing_more() {
    let bucket = Bucket::new(Versioning::Unversioned, AFTER_A_DAY).await;
    bucket.put_many(ROWS as u32 * 2, 0).await;
    let due = bucket.due("old/1000", AFTER_A_DAY).await;
    let mut walker = bucket.walker();
    while bucket.metrics.versions_expired.get() == 0 {
        assert!(walker.turn(DAY).await.unwrap());
    }
    bucket.set_rules(Some("<Expiration><Days>2</Days></Expiration>")).await;
    assert!(!bucket.meta.expire_current(due.clone(), DAY).await.unwrap());
    while walker.turn(DAY).await.unwrap() {}
    assert_eq!(bucket.keys().await.len(), ROWS);
    bucket.set_rules(None).await;
    assert!(!bucket.meta.expire_current(due, DAY).await.unwrap());
    bucket.round(9 * DAY).await;
    assert_eq!(bucket.keys().await.len(), ROWS);
}

#[tokio::test]
async fn markers_go_only_where_nothing_is_behind_them() {
    let rules = "<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>";
    let bucket = Bucket::new(Versioning::Enabled, rules).await;
    bucket.put("old/full", 1, 0).await;
    for key in ["old/empty", "old/full"] {
        let request = DeleteRequest { bucket: BUCKET.into(), key: key.into(), ..Default::default() };
        bucket.meta.delete(request, 0).await.unwrap();
    }
    bucket.round(1).await;
    assert_eq!(bucket.lines().await, [("old/full".to_owned(), None), ("old/full".to_owned(), Some(1))]);
}

/// A row that did not decode sent the walker back to the beginning of its round, again and again: what was due behind it never
/// went.
#[tokio::test]
async fn what_is_due_behind_a_broken_row_goes() {
    let bucket = Bucket::new(Versioning::Unversioned, AFTER_A_DAY).await;
    let count = ROWS as u32 + 10;
    bucket.put_many(count, 0).await;
    let bucket = bucket.spoilt::<(&str, &str)>("objects", (BUCKET, "old/0003"));
    // A manifest is needed only when its object goes.
    let mut manifest = [0; 16];
    manifest[..4].copy_from_slice(&5_u32.to_le_bytes());
    let bucket = bucket.spoilt::<[u8; 16]>("manifests", manifest);
    for _ in 0..2 {
        bucket.round(DAY).await;
        assert_eq!(bucket.metrics.versions_expired.get(), u64::from(count) - 2);
        assert_eq!(bucket.meta.unreadable_rows(), 2);
    }
    for seed in [1, 2, 4, count] {
        assert!(!bucket.is_alive(seed).await, "{seed}");
    }
    // What cannot be read holds what it may refer to, and a listing does not pass it over.
    assert!(bucket.is_alive(3).await && bucket.is_alive(5).await);
    let listed = bucket.meta.list_objects(BUCKET.into(), Query { max: 9, ..Default::default() }).await;
    assert!(matches!(listed, Err(MetaError::Row("objects"))), "{listed:?}");
}

#[tokio::test]
async fn versions_beside_a_broken_one_stay() {
    let rules = "<NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration>\
        <Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>";
    let bucket = Bucket::new(Versioning::Enabled, rules).await;
    for (seed, key) in (1..).zip(["old/a", "old/a", "old/b", "old/b", "old/c", "old/d", "old/d"]) {
        bucket.put(key, seed, 0).await;
    }
    let request = DeleteRequest { bucket: BUCKET.into(), key: "old/c".into(), ..Default::default() };
    bucket.meta.delete(request, 0).await.unwrap();
    let lines = bucket.versions().await.lines.into_iter();
    let mut hidden =
        lines.filter(|(key, version)| key == "old/c" && !version.is_latest()).map(|(_, version)| version);
    let order = !hidden.next_back().unwrap().stamp.order;
    let bucket = bucket
        .spoilt::<(&str, &str)>("objects", (BUCKET, "old/a"))
        .spoilt::<(&str, &str, u64)>("versions", (BUCKET, "old/c", order));
    bucket.round(DAY).await;
    // The object that a broken version stands before, and the one behind a marker that seems to be alone.
    assert!(bucket.is_alive(1).await && bucket.is_alive(2).await && bucket.is_alive(5).await);
    assert!(!bucket.is_alive(3).await && bucket.is_alive(4).await);
    assert!(!bucket.is_alive(6).await && bucket.is_alive(7).await);
    assert_eq!(bucket.metrics.versions_expired.get(), 2);
    assert_eq!(bucket.meta.unreadable_rows(), 2);
    let page = bucket.meta.versions_page(BUCKET.into(), "old/c".into(), String::new(), None, 9).await;
    assert!(matches!(page, Err(MetaError::Row("versions"))), "{page:?}");
    let page = bucket.meta.versions_page(BUCKET.into(), "old/d".into(), String::new(), None, 9).await;
    assert_eq!(page.unwrap().lines.len(), 1);
}

#[tokio::test]
async fn uploads_behind_a_broken_one_are_given_up() {
    let bucket = Bucket::new(Versioning::Unversioned, ABORT_AFTER_A_DAY).await;
    for seed in 1..=4 {
        bucket.begin_upload(&format!("old/{seed}"), seed).await;
    }
    let bucket = bucket
        .spoilt::<(&str, &str, &str)>("uploads", (BUCKET, "old/1", "1"))
        .spoilt::<(&str, u32)>("parts", ("3", 1));
    bucket.round(7 + DAY).await;
    assert!(bucket.is_alive(1).await && bucket.is_alive(3).await);
    assert!(!bucket.is_alive(2).await && !bucket.is_alive(4).await);
    assert_eq!(bucket.metrics.uploads_expired.get(), 2);
}
