//! What accounts store against a model: uploads in parts and objects of parts of an account, in whatever order, also where a
//! quota refuses some of it.

use arion_gateway::{
    checksum::{ChecksumKind, Checksums},
    meta::{
        Allowance, BucketInfo, Completion, Condition, DeleteRequest, Meta, MetaError, PartInfo, Quota,
        UploadInfo, UploadKey, Usage,
    },
    object::{Properties, Versioning},
};
use proptest::prelude::*;

use crate::engine::{Engine, on_each};
use crate::rows::{BUCKET, miscount, new_object, new_part, opened, uncount};

const KEYS: [&str; 3] = ["a", "b", "c"];
/// The owner of the bucket, two parts of it, and somebody else, who writes at the owner's expense.
const PAYERS: [&str; 4] = ["owner", "owner/x", "owner/y", "stranger/z"];

#[derive(Clone, Debug)]
enum Step {
    Put { key: usize, payer: usize, within: Option<u64> },
    Delete { key: usize, payer: usize },
    Versioning(bool),
    Begin { key: usize, payer: usize, within: Option<u64> },
    Part { upload: usize, number: u32, within: Option<u64> },
    Complete { upload: usize, parts: usize },
    Abort { upload: usize },
    GiveUp { upload: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = || 0..KEYS.len();
    let payer = || 0..PAYERS.len();
    let within = || proptest::option::of(0..200_u64);
    let upload = || 0..6_usize;
    let step = prop_oneof![
        4 => (key(), payer(), within()).prop_map(|(key, payer, within)| Step::Put { key, payer, within }),
        2 => (key(), payer()).prop_map(|(key, payer)| Step::Delete { key, payer }),
        1 => any::<bool>().prop_map(Step::Versioning),
        2 => (key(), payer(), within()).prop_map(|(key, payer, within)| Step::Begin { key, payer, within }),
        4 => (upload(), 1..4_u32, within())
            .prop_map(|(upload, number, within)| Step::Part { upload, number, within }),
        2 => (upload(), 1..4_usize).prop_map(|(upload, parts)| Step::Complete { upload, parts }),
        1 => upload().prop_map(|upload| Step::Abort { upload }),
        1 => upload().prop_map(|upload| Step::GiveUp { upload }),
    ];
    proptest::collection::vec(step, 1..40)
}

/// So many bytes for the account, half of it for a part of it, and a few objects.
fn allowance(within: Option<u64>) -> Allowance {
    let quota = |bytes: u64| Quota { bytes: Some(bytes), objects: Some(8) };
    within.map_or(Allowance::NONE, |bytes| Allowance { account: quota(bytes), own: quota(bytes / 2) })
}

/// The usage is what the rows come to, and what was refused is what would have been too much.
async fn check(meta: &Meta, done: Result<(), MetaError>, allowance: Allowance, before: Usage) {
    let recount = meta.recount_usage().await.unwrap();
    assert_eq!((recount.wrong.len(), recount.unreadable), (0, 0), "{recount:?}");
    let now = meta.usage_of("owner".into()).await.unwrap();
    match done {
        Ok(()) => {
            let within = |used: u64, before: u64, limit: Option<u64>| {
                limit.is_none_or(|limit| used <= limit || used <= before)
            };
            assert!(within(now.bytes, before.bytes, allowance.account.bytes), "{now:?} {before:?}");
            assert!(within(now.objects, before.objects, allowance.account.objects), "{now:?} {before:?}");
        }
        Err(error) => {
            assert!(matches!(&error, MetaError::Quota(_)), "{error}");
            assert_eq!(now, before);
        }
    }
}

async fn run(steps: Vec<Step>, engine: Engine) {
    let meta = engine.open();
    meta.create_bucket(BUCKET.into(), BucketInfo::new("owner".into(), 1)).await.unwrap();
    let mut uploads: Vec<UploadKey> = Vec::new();
    let mut seed = 0;
    for (now, step) in (1u64..).zip(steps) {
        seed += 1;
        let before = meta.usage_of("owner".into()).await.unwrap();
        let nth = |at: usize| uploads.get(at).cloned();
        let (done, bounds) = match step {
            Step::Put { key, payer, within } => {
                let mut object = new_object(&meta, KEYS[key], seed).await;
                object.info.properties.payer = PAYERS[payer].into();
                object.allowance = allowance(within);
                let stripes = object.manifest.stripes().map(|record| record.id()).collect();
                let done = meta.put_object(object, now).await.map(drop);
                if done.is_err() {
                    meta.discard_stripes(stripes, now).await.unwrap();
                }
                (done, allowance(within))
            }
            Step::Delete { key, payer } => {
                let (bucket, key, payer) = (BUCKET.into(), KEYS[key].into(), PAYERS[payer].into());
                let request = DeleteRequest { bucket, key, payer, ..Default::default() };
                (meta.delete(request, now).await.map(drop), Allowance::NONE)
            }
            Step::Versioning(enabled) => {
                let versioning = if enabled { Versioning::Enabled } else { Versioning::Suspended };
                (meta.set_versioning(BUCKET.into(), versioning).await, Allowance::NONE)
            }
            Step::Begin { key, payer, within } => {
                let upload = UploadKey { bucket: BUCKET.into(), key: KEYS[key].into(), id: seed.to_string() };
                let properties = Properties { payer: PAYERS[payer].into(), ..Default::default() };
                let info = UploadInfo { created_ms: 7, properties, checksum: None };
                let done = meta.create_upload(upload.clone(), info, allowance(within)).await;
                if done.is_ok() {
                    uploads.push(upload);
                }
                (done, allowance(within))
            }
            Step::Part { upload, number, within } => {
                let Some(upload) = nth(upload) else { continue };
                let manifest = new_part(&meta, seed).await;
                let part =
                    PartInfo { md5: [0; 16], modified_ms: 7, manifest, checksums: Checksums::default() };
                let room =
                    meta.check_part_room(upload.clone(), number, allowance(within), u64::from(seed)).await;
                let done = meta.put_part(upload, number, part, allowance(within), now).await;
                assert_eq!(room.is_ok(), done.is_ok(), "what is looked at before is what is decided");
                (done, allowance(within))
            }
            Step::Complete { upload, parts } => {
                let Some(upload) = nth(upload) else { continue };
                let named = meta.parts(upload.clone()).await.unwrap().into_iter().take(parts);
                let parts: Vec<_> = named.map(|(number, part)| (number, part.md5)).collect();
                if parts.is_empty() {
                    continue;
                }
                let mut manifest = [1; 16];
                manifest[..4].copy_from_slice(&seed.to_le_bytes());
                let completion = Completion {
                    upload: upload.clone(),
                    parts,
                    etag: "x".into(),
                    checksums: Checksums::default(),
                    checksum_kind: ChecksumKind::Full,
                    manifest,
                    part_bytes_min: 0,
                    condition: Condition::default(),
                    origin: Default::default(),
                };
                meta.complete_upload(completion, now).await.unwrap();
                uploads.retain(|other| *other != upload);
                (Ok(()), Allowance::NONE)
            }
            Step::Abort { upload } => {
                let Some(upload) = nth(upload) else { continue };
                meta.abort_upload(upload.clone(), now).await.unwrap();
                uploads.retain(|other| *other != upload);
                (Ok(()), Allowance::NONE)
            }
            Step::GiveUp { upload } => {
                let Some(upload) = nth(upload) else { continue };
                if meta.give_up_upload(upload.clone(), 1, now).await.unwrap() {
                    uploads.retain(|other| *other != upload);
                    // Again, as after a restart.
                    assert!(meta.give_up_upload(upload, 1, now).await.unwrap());
                }
                (Ok(()), Allowance::NONE)
            }
        };
        check(&meta, done, bounds, before).await;
    }
    let all = meta.usage().unwrap();
    assert!(all.keys().all(|name| name == "owner" || name == "owner/x" || name == "owner/y"), "{all:?}");
    let parts = |usage: fn(&Usage) -> u64| ["owner/x", "owner/y"].map(|name| all.get(name).map_or(0, usage));
    let owner = all.get("owner").copied().unwrap_or_default();
    assert!(parts(|usage| usage.bytes).iter().sum::<u64>() <= owner.bytes);
    assert!(parts(|usage| usage.objects).iter().sum::<u64>() <= owner.objects);
}

#[test]
fn what_is_counted_is_what_there_is() {
    on_each(&steps(), run);
}

/// The check can fail: a counter that is wrong is found, and repaired.
#[tokio::test]
async fn a_wrong_count_is_found_and_repaired() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("meta.redb");
    let meta = Meta::open(&path).unwrap();
    meta.create_bucket(BUCKET.into(), BucketInfo::new("owner".into(), 1)).await.unwrap();
    let mut object = new_object(&meta, "k", 70).await;
    object.info.properties.payer = "owner/x".into();
    meta.put_object(object, 1).await.unwrap();
    drop(meta);
    miscount(&path, "owner/x", (71, 1));
    miscount(&path, "nobody", (1, 1));
    let meta = opened(|| Meta::open(&path));
    let wrong = meta.recount_usage().await.unwrap().wrong;
    assert_eq!(wrong.keys().collect::<Vec<_>>(), ["nobody", "owner/x"]);
    assert_eq!(meta.repair_usage().await.unwrap().wrong, wrong);
    assert!(meta.recount_usage().await.unwrap().wrong.is_empty());
    assert_eq!(meta.usage_of("owner/x".into()).await.unwrap(), Usage { bytes: 70, objects: 1 });
    let right = meta.usage().unwrap();
    assert_eq!(right.len(), 2);
    // Metadata that were brought back from a copy of their other rows count what they have.
    drop(meta);
    uncount(&path);
    assert_eq!(opened(|| Meta::open(&path)).usage().unwrap(), right);
}
