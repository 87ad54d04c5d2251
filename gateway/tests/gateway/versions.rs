//! Versions against a model: whatever is put, copied, deleted and suspended in whatever order, the metadata lists and finds the
//! same as a few lines with a `Vec` for each key, and the stripes that are alive are exactly those of the versions that are
//! there.

use std::collections::{BTreeMap, BTreeSet};

use arion_gateway::{
    listing::Query,
    meta::{
        Allowance, BucketInfo, Condition, DeleteRequest, Expiring, Meta, MetaError, NewCopy, Source,
        Subresource, VersionMarker, VersionPage,
    },
    object::{
        DefaultRetention, LockConfig, LockMode, Properties, Retention, RetentionPeriod, VersionId, Versioning,
    },
};
use arion_types::StripeId;
use proptest::prelude::*;

use crate::engine::{Engine, on_each};
use crate::rows::{BUCKET, new_object, stripe, wrapped};

/// Prefixes and neighbours of each other, so that bounds that are off by one are seen.
const KEYS: [&str; 5] = ["a", "a\0", "a/1", "a/2", "b"];

/// What a version is: the number of its stripe, or a delete marker.
type Content = Option<u32>;

#[derive(Default)]
struct Model {
    versioning: Versioning,
    /// Newest first.
    keys: BTreeMap<&'static str, Vec<(VersionId, Content)>>,
}

impl Model {
    fn enter(&mut self, key: &'static str, id: VersionId, content: Content) {
        let versions = self.keys.entry(key).or_default();
        if self.versioning != Versioning::Enabled {
            versions.retain(|(id, _)| *id != VersionId::Null);
        }
        versions.insert(0, (id, content));
    }

    fn current(&self, key: &str) -> Content {
        self.keys.get(key)?.first()?.1
    }

    fn lines(&self) -> Vec<(String, VersionId, Content, bool)> {
        let line = |(key, versions): (&&str, &Vec<(VersionId, Content)>)| {
            let key = (*key).to_owned();
            let with =
                |(at, (id, content)): (usize, &(VersionId, Content))| (key.clone(), *id, *content, at == 0);
            versions.iter().enumerate().map(with).collect::<Vec<_>>()
        };
        self.keys.iter().flat_map(line).collect()
    }

    fn stripes(&self) -> BTreeSet<StripeId> {
        self.lines().into_iter().filter_map(|(_, _, content, _)| Some(stripe(content?).id())).collect()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Put(usize),
    /// The key and which of its versions, counted from the newest, onto another key.
    Copy(usize, usize, usize),
    Delete(usize),
    /// The key and which of its versions.
    DeleteVersion(usize, usize),
    Versioning(bool),
    ExpireCurrent(usize),
    ExpireNoncurrent(usize, usize),
    ExpireMarker(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = 0..KEYS.len();
    let which = 0..4usize;
    let step = prop_oneof![
        6 => key.clone().prop_map(Step::Put),
        2 => (key.clone(), which.clone(), key.clone()).prop_map(|(from, which, to)| Step::Copy(from, which, to)),
        3 => key.clone().prop_map(Step::Delete),
        4 => (key.clone(), which.clone()).prop_map(|(key, which)| Step::DeleteVersion(key, which)),
        2 => any::<bool>().prop_map(Step::Versioning),
        1 => key.clone().prop_map(Step::ExpireCurrent),
        2 => (key.clone(), which).prop_map(|(key, which)| Step::ExpireNoncurrent(key, which)),
        2 => key.prop_map(Step::ExpireMarker),
    ];
    prop::collection::vec(step, 1..60)
}

async fn page(
    meta: &Meta,
    prefix: &str,
    delimiter: &str,
    after: Option<VersionMarker>,
    max: usize,
) -> VersionPage {
    meta.versions_page(BUCKET.into(), prefix.into(), delimiter.into(), after, max).await.unwrap()
}

async fn versions(meta: &Meta, max: usize) -> Vec<(String, VersionId, Content, bool)> {
    let (mut lines, mut after) = (Vec::new(), None);
    loop {
        let page = page(meta, "", "", after, max).await;
        assert!(page.lines.len() <= max);
        lines.extend(page.lines.into_iter().map(|(key, version)| {
            let content = version.object().map(|info| info.size as u32);
            (key, version.id(), content, version.is_latest())
        }));
        match page.next {
            Some(next) => after = Some(next),
            None => return lines,
        }
    }
}

async fn check(meta: &Meta, model: &Model, seeds: u32) {
    let expected = model.lines();
    assert_eq!(versions(meta, 1_000).await, expected);
    assert_eq!(versions(meta, 1).await, expected);
    let objects = meta.list_objects(BUCKET.into(), Query { max: 1_000, ..Default::default() }).await.unwrap();
    let objects: Vec<_> = objects.keys.into_iter().map(|(key, info)| (key, info.size as u32)).collect();
    let current = |key: &&'static str| Some(((*key).to_owned(), model.current(key)?));
    assert_eq!(objects, model.keys.keys().filter_map(current).collect::<Vec<_>>());
    for (key, id, content, is_latest) in &expected {
        let found = meta.object(BUCKET.into(), key.clone(), Some(*id)).await;
        match content {
            Some(seed) => assert_eq!(found.unwrap().info.size, u64::from(*seed)),
            None => assert!(matches!(found, Err(MetaError::IsMarker(marker)) if marker == *id)),
        }
        if *is_latest && content.is_none() {
            let newest = meta.object(BUCKET.into(), key.clone(), None).await;
            assert!(matches!(newest, Err(MetaError::Deleted(marker)) if marker == *id));
        }
    }
    let mut alive = BTreeSet::new();
    for seed in 1..=seeds {
        let id = stripe(seed).id();
        if meta.stripe(id).await.unwrap().is_some() {
            alive.insert(id);
        }
    }
    assert_eq!(alive, model.stripes());
}

/// What is counted is what there is, and what the model has.
async fn check_usage(meta: &Meta, model: &Model) {
    let lines = model.lines();
    let bytes = lines.iter().map(|(_, _, content, _)| u64::from(content.unwrap_or(0))).sum();
    let usage = meta.usage_of("a".into()).await.unwrap();
    assert_eq!((usage.bytes, usage.objects), (bytes, lines.len() as u64));
    let recount = meta.recount_usage().await.unwrap();
    assert_eq!((recount.wrong.len(), recount.unreadable), (0, 0));
}

const RULES: &[u8] = b"rules";

async fn put_rules(meta: &Meta, rules: &[u8]) {
    meta.put_subresource(BUCKET.into(), Subresource::Lifecycle, Some(rules.to_vec())).await.unwrap();
}

/// A version as it is now, due by the bucket's rules.
async fn expiring(meta: &Meta, key: &str, id: VersionId) -> Expiring {
    let found = page(meta, key, "", None, 1_000).await.lines.into_iter();
    let (_, version) = found.into_iter().find(|(name, version)| name == key && version.id() == id).unwrap();
    Expiring { bucket: BUCKET.into(), key: key.into(), version, rules: RULES.to_vec() }
}

async fn run(steps: Vec<Step>, engine: Engine) {
    let meta = engine.open();
    meta.create_bucket(BUCKET.into(), BucketInfo::new("a".into(), 1)).await.unwrap();
    put_rules(&meta, RULES).await;
    let mut model = Model::default();
    let mut seeds = 0;
    for (now, step) in (1u64..).zip(steps) {
        // The clock stands still and goes back at times.
        let now = 1_000_000 - now / 7;
        let nth = |model: &Model, key: usize, which: usize| {
            model.keys.get(KEYS[key]).and_then(|versions| versions.get(which).copied())
        };
        match step {
            Step::Put(key) => {
                seeds += 1;
                let object = new_object(&meta, KEYS[key], seeds).await;
                let id = meta.put_object(object, now).await.unwrap();
                assert_eq!(id.is_some(), model.versioning == Versioning::Enabled);
                model.enter(KEYS[key], id.unwrap_or(VersionId::Null), Some(seeds));
            }
            Step::Copy(from, which, to) => {
                let Some((id, Some(seed))) = nth(&model, from, which) else { continue };
                let source = Source {
                    bucket: BUCKET.into(),
                    key: KEYS[from].into(),
                    version: Some(id),
                    expected: meta
                        .object(BUCKET.into(), KEYS[from].into(), Some(id))
                        .await
                        .unwrap()
                        .info
                        .manifest,
                };
                let copy = NewCopy {
                    bucket: BUCKET.into(),
                    key: KEYS[to].into(),
                    manifest: rand::random(),
                    properties: Properties::default(),
                    replace_headers: false,
                    replace_tags: false,
                    keys: vec![wrapped()],
                    condition: Condition::default(),
                    allowance: Allowance::NONE,
                    origin: Default::default(),
                };
                let (id, _) = meta.copy_object(source, copy, now).await.unwrap();
                model.enter(KEYS[to], id.unwrap_or(VersionId::Null), Some(seed));
            }
            Step::Delete(key) => {
                let request =
                    DeleteRequest { bucket: BUCKET.into(), key: KEYS[key].into(), ..Default::default() };
                let done = meta.delete(request, now).await.unwrap();
                assert_eq!(done.marker, model.versioning != Versioning::Unversioned);
                delete(&mut model, KEYS[key], done.version);
            }
            Step::DeleteVersion(key, which) => {
                let id = nth(&model, key, which).map_or(VersionId::Id { order: 1, salt: 2 }, |(id, _)| id);
                let request = DeleteRequest {
                    bucket: BUCKET.into(),
                    key: KEYS[key].into(),
                    version: Some(id),
                    ..Default::default()
                };
                let done = meta.delete(request, now).await.unwrap();
                assert_eq!(done.version, Some(id));
                remove(&mut model, KEYS[key], id);
            }
            Step::Versioning(enabled) => {
                model.versioning = if enabled { Versioning::Enabled } else { Versioning::Suspended };
                meta.set_versioning(BUCKET.into(), model.versioning).await.unwrap();
            }
            Step::ExpireCurrent(key) => {
                let Some((id, content)) = nth(&model, key, 0) else { continue };
                let due = expiring(&meta, KEYS[key], id).await;
                let done = meta.expire_current(due, now).await.unwrap();
                assert_eq!(done, content.is_some());
                if done {
                    let newest = versions(&meta, 1_000).await;
                    let marker = newest.into_iter().find(|(found, _, content, latest)| {
                        found == KEYS[key] && content.is_none() && *latest
                    });
                    delete(&mut model, KEYS[key], marker.map(|(_, id, ..)| id));
                }
            }
            Step::ExpireNoncurrent(key, which) => {
                let Some((id, _)) = nth(&model, key, which) else { continue };
                let due = expiring(&meta, KEYS[key], id).await;
                let done = meta.expire_noncurrent(due, now).await.unwrap();
                assert_eq!(done, which > 0);
                if done {
                    remove(&mut model, KEYS[key], id);
                }
            }
            Step::ExpireMarker(key) => {
                let Some((id, content)) = nth(&model, key, 0) else { continue };
                let alone = content.is_none() && model.keys[KEYS[key]].len() == 1;
                let due = expiring(&meta, KEYS[key], id).await;
                let done = meta.expire_marker(due, now).await.unwrap();
                assert_eq!(done, alone);
                if done {
                    remove(&mut model, KEYS[key], id);
                }
            }
        }
        model.keys.retain(|_, versions| !versions.is_empty());
    }
    check(&meta, &model, seeds).await;
    check_usage(&meta, &model).await;
    // All of it gone leaves nothing.
    for (key, id, ..) in model.lines() {
        let request = DeleteRequest { bucket: BUCKET.into(), key, version: Some(id), ..Default::default() };
        meta.delete(request, 1).await.unwrap();
    }
    check(&meta, &Model::default(), seeds).await;
    check_usage(&meta, &Model::default()).await;
    meta.delete_bucket(BUCKET.into()).await.unwrap();
}

fn delete(model: &mut Model, key: &'static str, marker: Option<VersionId>) {
    match marker {
        Some(marker) => model.enter(key, marker, None),
        None => remove(model, key, VersionId::Null),
    }
}

fn remove(model: &mut Model, key: &'static str, id: VersionId) {
    if let Some(versions) = model.keys.get_mut(key) {
        versions.retain(|(found, _)| *found != id);
    }
}

#[test]
fn any_sequence_leaves_what_the_model_says() {
    on_each(&steps(), run);
}

async fn versioned() -> (tempfile::TempDir, Meta) {
    let directory = tempfile::tempdir().unwrap();
    let meta = Meta::open(&directory.path().join("meta.redb")).unwrap();
    meta.create_bucket(BUCKET.into(), BucketInfo::new("a".into(), 1)).await.unwrap();
    meta.set_versioning(BUCKET.into(), Versioning::Enabled).await.unwrap();
    put_rules(&meta, RULES).await;
    (directory, meta)
}

#[tokio::test]
async fn versions_fold_and_page_like_keys() {
    let (_directory, meta) = versioned().await;
    for (seed, key) in (1..).zip(["a", "d/1", "d/1", "d/2", "e", "e", "f/x"]) {
        meta.put_object(new_object(&meta, key, seed).await, 1).await.unwrap();
    }
    let (mut lines, mut prefixes, mut after) = (Vec::new(), Vec::new(), None);
    loop {
        let found = page(&meta, "", "/", after, 2).await;
        lines.extend(found.lines.into_iter().map(|(key, version)| (key, version.object().unwrap().size)));
        prefixes.extend(found.prefixes);
        match found.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(prefixes, ["d/", "f/"]);
    let expected = [("a", 1), ("e", 6), ("e", 5)].map(|(key, size)| (key.to_owned(), size));
    assert_eq!(lines, expected);
    let inside = page(&meta, "d/", "/", None, 9).await;
    assert_eq!(inside.lines.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["d/1", "d/1", "d/2"]);
    // Behind a version that is gone; and behind a null version that never was, its key is begun again.
    let gone = inside.lines[0].1.id();
    let request =
        DeleteRequest { bucket: BUCKET.into(), key: "d/1".into(), version: Some(gone), ..Default::default() };
    meta.delete(request, 1).await.unwrap();
    for (version, count) in [(Some(gone), 2), (Some(VersionId::Null), 2), (None, 1)] {
        let marker = VersionMarker { key: "d/1".into(), version };
        assert_eq!(page(&meta, "d/", "", Some(marker), 9).await.lines.len(), count, "{version:?}");
    }
    let lines = page(&meta, "e", "", None, 9).await.lines;
    assert_eq!(lines[0].1.superseded_ms, None);
    assert!(lines[1].1.superseded_ms.is_some());
}

#[tokio::test]
async fn locked_versions_stay_until_their_time_or_for_who_may() {
    let (_directory, meta) = versioned().await;
    let default = DefaultRetention { mode: LockMode::Governance, period: RetentionPeriod::Days(1) };
    let day = 24 * 3_600 * 1_000;
    let mut held = new_object(&meta, "held", 1).await;
    held.info.properties.legal_hold = Some(true);
    assert!(matches!(meta.put_object(held, 0).await, Err(MetaError::NoObjectLock)));
    let none = meta.set_retention(BUCKET.into(), "k".into(), None, None, false, 0).await;
    assert!(matches!(none, Err(MetaError::NoSuchKey)), "{none:?}");
    meta.set_lock(BUCKET.into(), LockConfig { default: Some(default) }).await.unwrap();
    let suspended = meta.set_versioning(BUCKET.into(), Versioning::Suspended).await;
    assert!(matches!(suspended, Err(MetaError::LockNeedsVersions)));

    let id = meta.put_object(new_object(&meta, "k", 2).await, 5).await.unwrap();
    let found = meta.object(BUCKET.into(), "k".into(), id).await.unwrap();
    let kept = Retention { mode: LockMode::Governance, until_ms: 5 + day };
    assert_eq!(found.info.properties.retention, Some(kept));
    let delete = |version, bypass, now| {
        let request =
            DeleteRequest { bucket: BUCKET.into(), key: "k".into(), version, bypass, ..Default::default() };
        meta.delete(request, now)
    };
    assert!(matches!(delete(id, false, day).await, Err(MetaError::Locked)));
    // Hiding it is always possible, and so is removing what hides it.
    let marker = delete(None, false, day).await.unwrap();
    let due = expiring(&meta, "k", id.unwrap()).await;
    assert!(!meta.expire_noncurrent(due, day).await.unwrap());
    delete(marker.version, false, day).await.unwrap();
    let set = |retention, bypass| meta.set_retention(BUCKET.into(), "k".into(), id, retention, bypass, day);
    assert!(matches!(set(None, false).await, Err(MetaError::Locked)));
    let compliance = Some(Retention { mode: LockMode::Compliance, until_ms: 2 * day });
    assert!(matches!(set(compliance, false).await, Err(MetaError::Locked)));
    set(compliance, true).await.unwrap();
    assert!(matches!(delete(id, true, day).await, Err(MetaError::Locked)));
    meta.set_legal_hold(BUCKET.into(), "k".into(), id, true).await.unwrap();
    assert!(matches!(delete(id, true, 3 * day).await, Err(MetaError::Locked)));
    meta.set_legal_hold(BUCKET.into(), "k".into(), id, false).await.unwrap();
    delete(id, false, 3 * day).await.unwrap();
    assert!(meta.stripe(stripe(2).id()).await.unwrap().is_none());
    let plain = BucketInfo::new("a".into(), 1);
    meta.create_bucket("plain".into(), plain).await.unwrap();
    let unversioned = meta.set_lock("plain".into(), LockConfig::default()).await;
    assert!(matches!(unversioned, Err(MetaError::LockNeedsVersions)));
}

#[tokio::test]
async fn tags_and_acls_are_changed_in_place_and_a_marker_has_none() {
    let (_directory, meta) = versioned().await;
    let first = meta.put_object(new_object(&meta, "k", 1).await, 1).await.unwrap();
    let second = meta.put_object(new_object(&meta, "k", 2).await, 1).await.unwrap();
    let tags = vec![("a".to_owned(), "b".to_owned())];
    let names = || (BUCKET.to_owned(), "k".to_owned());
    let set = |version, tags: &[(String, String)]| {
        meta.set_tags(names(), version, Some(tags.to_vec()), Default::default(), 1)
    };
    assert_eq!(set(first, &tags).await.unwrap(), first);
    assert_eq!(set(None, &[]).await.unwrap(), second);
    meta.set_object_acl(names(), first, Some(vec![7]), Default::default(), 1).await.unwrap();
    let of = async |version| meta.object(BUCKET.into(), "k".into(), version).await.unwrap().info.properties;
    assert_eq!((of(first).await.tags, of(first).await.acl), (tags.clone(), Some(vec![7])));
    assert_eq!((of(second).await.tags, of(second).await.acl), (vec![], None));
    let request = DeleteRequest { bucket: BUCKET.into(), key: "k".into(), ..Default::default() };
    let marker = meta.delete(request, 1).await.unwrap().version;
    assert!(matches!(set(None, &tags).await, Err(MetaError::Deleted(_))));
    assert!(matches!(set(marker, &tags).await, Err(MetaError::IsMarker(_))));
    assert!(matches!(set(Some(VersionId::Null), &tags).await, Err(MetaError::NoSuchVersion)));
    assert_eq!(versions(&meta, 9).await.len(), 3);
}
