//! What accounts occupy against the rows and the ledger, whatever is stored, shared, copied, moved and deleted in whatever order.

use std::collections::HashMap;

use arion_gateway::{
    checksum::{ChecksumKind, Checksums},
    manifest::{Manifest, PartManifest, StripeRecord},
    meta::{
        Allowance, BucketInfo, Completion, Condition, DeleteRequest, Meta, Moved, NewCopy, NewObject,
        Occupied, PartInfo, Source, UploadInfo, UploadKey,
    },
    object::{ObjectInfo, Properties, Versioning},
};
use arion_protocol::LedgerRecord;
use arion_types::{NodeId, Receipt, SignedReceipt};
use proptest::prelude::*;

use crate::{
    engine::{Engine, on_each},
    rows::{opened, stripe, wrapped},
};

const BUCKETS: [(&str, &str); 2] = [("of-alice", "alice"), ("of-bob", "bob")];
const KEYS: [&str; 2] = ["x", "y"];
/// Bytes of a shard of the stripes here, and of ciphertext in one.
const SHARD: u64 = 64;
const LEN: u64 = 640;

pub fn receipt(record: &StripeRecord, index: u8) -> SignedReceipt {
    let receipt = Receipt {
        shard: record.hashes[usize::from(index)],
        size: record.shard_len,
        stripe: record.id(),
        pg: 0,
        index,
        epoch: record.epoch,
        node_id: NodeId([index; 32]),
        stored_at: 1,
    };
    SignedReceipt { receipt, signature: [0; 64] }
}

/// A stripe of which so many shards have receipts.
pub async fn stored(meta: &Meta, seed: u32, receipts: u8) -> StripeRecord {
    let record = stripe(seed);
    meta.begin_stripe(record.id(), record.clone()).await.unwrap();
    let receipts = (0..receipts).map(|index| receipt(&record, index)).collect();
    meta.stripe_stored(record.id(), receipts, 0).await.unwrap();
    record
}

pub fn part(record: &StripeRecord, offset: u32, cipher_len: u64) -> PartManifest {
    PartManifest { plain_len: 1, cipher_len, offset, key: wrapped(), stripes: vec![record.clone()] }
}

pub fn object(bucket: &str, key: &str, seed: u32, part: PartManifest) -> NewObject {
    let mut manifest = [0; 16];
    manifest[..4].copy_from_slice(&seed.to_le_bytes());
    let (etag, modified_ms) = (seed.to_string(), 1);
    NewObject {
        bucket: bucket.into(),
        key: key.into(),
        info: ObjectInfo { manifest, size: 1, etag, modified_ms, ..Default::default() },
        manifest: Manifest::whole(part),
        condition: Condition::default(),
        allowance: Allowance::NONE,
        origin: Default::default(),
    }
}

/// An object in a stripe of its own.
pub async fn put(meta: &Meta, bucket: &str, key: &str, seed: u32, receipts: u8) {
    let record = stored(meta, seed, receipts).await;
    let object = object(bucket, key, seed, part(&record, 0, LEN));
    meta.put_object(object, u64::from(seed)).await.unwrap();
}

pub async fn delete(meta: &Meta, bucket: &str, key: &str, now_ms: u64) {
    let request = DeleteRequest { bucket: bucket.into(), key: key.into(), ..Default::default() };
    meta.delete(request, now_ms).await.unwrap();
}

#[derive(Clone, Debug)]
enum Step {
    Put {
        bucket: usize,
        key: usize,
        receipts: u8,
    },
    /// Two objects share a stripe, with a hole between them.
    Pack {
        buckets: [usize; 2],
        receipts: u8,
    },
    Copy {
        from: usize,
        to: usize,
        key: usize,
    },
    Delete {
        bucket: usize,
        key: usize,
    },
    Late {
        index: u8,
    },
    Versioning {
        bucket: usize,
        keeps: bool,
    },
    Part {
        bucket: usize,
        number: u32,
    },
    Complete {
        bucket: usize,
        parts: usize,
    },
    Abort {
        bucket: usize,
    },
    GiveUp {
        bucket: usize,
    },
    Compact,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let bucket = || 0..BUCKETS.len();
    let key = || 0..KEYS.len();
    let receipts = || prop_oneof![Just(20u8), Just(30), 0..30u8];
    let step = prop_oneof![
        3 => (bucket(), key(), receipts()).prop_map(|(bucket, key, receipts)| Step::Put { bucket, key, receipts }),
        3 => (bucket(), bucket(), receipts())
            .prop_map(|(one, other, receipts)| Step::Pack { buckets: [one, other], receipts }),
        3 => (bucket(), bucket(), key()).prop_map(|(from, to, key)| Step::Copy { from, to, key }),
        3 => (bucket(), key()).prop_map(|(bucket, key)| Step::Delete { bucket, key }),
        2 => (0..30u8).prop_map(|index| Step::Late { index }),
        1 => (bucket(), any::<bool>()).prop_map(|(bucket, keeps)| Step::Versioning { bucket, keeps }),
        2 => (bucket(), 1..3u32).prop_map(|(bucket, number)| Step::Part { bucket, number }),
        1 => (bucket(), 1..3usize).prop_map(|(bucket, parts)| Step::Complete { bucket, parts }),
        1 => bucket().prop_map(|bucket| Step::Abort { bucket }),
        1 => bucket().prop_map(|bucket| Step::GiveUp { bucket }),
        2 => Just(Step::Compact),
    ];
    proptest::collection::vec(step, 1..30)
}

/// Live bytes by the lines of the ledger and nothing else.
pub async fn live_bytes(meta: &Meta) -> u64 {
    let mut live = HashMap::new();
    for entry in meta.ledger_page(0, u16::MAX).await.unwrap() {
        match entry.record {
            LedgerRecord::Stored(signed) => {
                live.insert(signed.receipt.shard, u64::from(signed.receipt.size));
            }
            LedgerRecord::Deleted { shard } => drop(live.remove(&shard)),
            LedgerRecord::Released { .. } | LedgerRecord::Served(_) | LedgerRecord::Compacted(_) => {}
        }
    }
    live.values().sum()
}

async fn check(meta: &Meta) {
    assert!(meta.recount_occupied().await.unwrap(), "what is noted is not what there is");
    let Occupied { live, accounts } = meta.occupied().await.unwrap();
    assert_eq!(live, live_bytes(meta).await);
    assert!(accounts.values().sum::<u64>() <= live, "{accounts:?} of {live}");
    assert!(accounts.keys().all(|name| name == "alice" || name == "bob"), "{accounts:?}");
}

async fn run(steps: Vec<Step>, engine: Engine) {
    let meta = engine.open();
    for (bucket, account) in BUCKETS {
        meta.create_bucket(bucket.into(), BucketInfo::new(account.into(), 1)).await.unwrap();
    }
    let mut newest = None;
    for (seed, step) in (1u32..).zip(steps) {
        let now = u64::from(seed);
        let name = |at: usize| BUCKETS[at].0;
        let upload = |at: usize| UploadKey { bucket: name(at).into(), key: "u".into(), id: format!("{at}") };
        match step {
            Step::Put { bucket, key, receipts } => {
                put(&meta, name(bucket), KEYS[key], seed, receipts).await;
                newest = Some(stripe(seed));
            }
            Step::Pack { buckets, receipts } => {
                let record = stripe(seed);
                meta.begin_stripe(record.id(), record.clone()).await.unwrap();
                let receipts = (0..receipts).map(|index| receipt(&record, index)).collect();
                meta.shared_stripe_stored(record.id(), receipts, 0).await.unwrap();
                for (at, (bucket, (offset, len))) in
                    buckets.into_iter().zip([(0, 200), (300, 340)]).enumerate()
                {
                    let number = seed + 1_000 * (at as u32 + 1);
                    let object = object(name(bucket), KEYS[at], number, part(&record, offset, len));
                    meta.put_object(object, now).await.unwrap();
                }
                meta.unpin_stripes(vec![record.id()], now).await.unwrap();
                newest = Some(record);
            }
            Step::Copy { from, to, key } => {
                let Ok(found) = meta.object(name(from).into(), KEYS[key].into(), None).await else {
                    continue;
                };
                let source = Source {
                    bucket: name(from).into(),
                    key: KEYS[key].into(),
                    version: None,
                    expected: found.info.manifest,
                };
                let (_, manifest) =
                    meta.object_with_manifest(name(from).into(), KEYS[key].into(), None).await.unwrap();
                let mut id = [9; 16];
                id[..4].copy_from_slice(&seed.to_le_bytes());
                let copy = NewCopy {
                    bucket: name(to).into(),
                    key: KEYS[1 - key].into(),
                    manifest: id,
                    properties: Properties::default(),
                    replace_headers: false,
                    replace_tags: false,
                    keys: manifest.parts.iter().map(|_| wrapped()).collect(),
                    condition: Condition::default(),
                    allowance: Allowance::NONE,
                    origin: Default::default(),
                };
                meta.copy_object(source, copy, now).await.unwrap();
            }
            Step::Delete { bucket, key } => delete(&meta, name(bucket), KEYS[key], now).await,
            Step::Late { index } => {
                let Some(record) = &newest else { continue };
                meta.late_receipt(record.id(), receipt(record, index), now).await.unwrap();
            }
            Step::Versioning { bucket, keeps } => {
                let versioning = if keeps { Versioning::Enabled } else { Versioning::Suspended };
                meta.set_versioning(name(bucket).into(), versioning).await.unwrap();
            }
            Step::Part { bucket, number } => {
                if meta.upload(upload(bucket)).await.is_err() {
                    let info =
                        UploadInfo { created_ms: 7, properties: Properties::default(), checksum: None };
                    meta.create_upload(upload(bucket), info, Allowance::NONE).await.unwrap();
                }
                let manifest = part(&stored(&meta, seed, 25).await, 0, LEN);
                let part =
                    PartInfo { md5: [0; 16], modified_ms: 7, manifest, checksums: Checksums::default() };
                meta.put_part(upload(bucket), number, part, Allowance::NONE, now).await.unwrap();
            }
            Step::Complete { bucket, parts } => {
                let Ok(found) = meta.parts(upload(bucket)).await else { continue };
                let parts: Vec<_> = found.iter().take(parts).map(|(n, part)| (*n, part.md5)).collect();
                if parts.is_empty() {
                    continue;
                }
                let mut manifest = [7; 16];
                manifest[..4].copy_from_slice(&seed.to_le_bytes());
                let completion = Completion {
                    upload: upload(bucket),
                    parts,
                    etag: "e".into(),
                    checksums: Checksums::default(),
                    checksum_kind: ChecksumKind::Full,
                    manifest,
                    part_bytes_min: 0,
                    condition: Condition::default(),
                    origin: Default::default(),
                };
                meta.complete_upload(completion, now).await.unwrap();
            }
            Step::Abort { bucket } => drop(meta.abort_upload(upload(bucket), now).await),
            Step::GiveUp { bucket } => drop(meta.give_up_upload(upload(bucket), 1, now).await.unwrap()),
            Step::Compact => {
                let holed = meta.holed_stripes(9).await.unwrap();
                for ((from, holed), at) in holed.into_iter().zip(0u32..) {
                    let Some(holed) = holed else {
                        meta.accept_holes(vec![from]).await.unwrap();
                        continue;
                    };
                    // Of no other stripe, or it would be stored over that one.
                    let mut to = stripe(10_000 + 100 * seed + at);
                    to.len = holed.live.iter().map(|(_, len)| len).sum();
                    meta.begin_stripe(to.id(), to.clone()).await.unwrap();
                    let receipts = (0..30).map(|index| receipt(&to, index)).collect();
                    meta.stripe_stored(to.id(), receipts, 0).await.unwrap();
                    let mut after = 0;
                    let moved = holed.live.iter().map(|(before, len)| {
                        let moved = Moved { from, before: *before, after };
                        after += len;
                        moved
                    });
                    let moved = moved.collect();
                    if meta.move_packed(moved, to.clone(), now).await.unwrap() == 0 {
                        meta.discard_stripes(vec![to.id()], now).await.unwrap();
                    }
                }
            }
        }
        check(&meta).await;
    }
}

#[test]
fn what_is_occupied_is_what_there_is_and_never_more_than_is_live() {
    on_each(&steps(), run);
}

#[tokio::test]
async fn accounts_share_what_they_share_and_metadata_from_before_are_counted_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("meta.redb");
    let meta = Meta::open(&path).unwrap();
    for (bucket, account) in BUCKETS {
        meta.create_bucket(bucket.into(), BucketInfo::new(account.into(), 1)).await.unwrap();
    }
    put(&meta, "of-alice", "x", 1, 30).await;
    put(&meta, "of-bob", "x", 2, 20).await;
    let occupied = meta.occupied().await.unwrap();
    let of = |occupied: &Occupied, account: &str| occupied.accounts.get(account).copied().unwrap_or(0);
    assert_eq!((of(&occupied, "alice"), of(&occupied, "bob")), (30 * SHARD, 20 * SHARD));
    assert_eq!(occupied.live, 50 * SHARD);
    meta.late_receipt(stripe(2).id(), receipt(&stripe(2), 29), 3).await.unwrap();
    assert_eq!(meta.occupied_by(vec!["bob".into(), "alice".into()]).await.unwrap(), 51 * SHARD);
    // What is sent and not yet an object's is the gateway's own.
    stored(&meta, 3, 30).await;
    let before = meta.occupied().await.unwrap();
    assert_eq!((before.live, of(&before, "alice")), (81 * SHARD, 30 * SHARD));
    drop(meta);
    let file = opened(|| redb::Database::open(&path));
    let change = file.begin_write().unwrap();
    for name in ["claims", "occupied", "packed-for"] {
        change.delete_table(redb::TableDefinition::<u64, u64>::new(name)).unwrap_or(true);
        change.delete_table(redb::TableDefinition::<[u8; 32], &[u8]>::new(name)).unwrap_or(true);
        change.delete_table(redb::TableDefinition::<&str, u64>::new(name)).unwrap_or(true);
        change.delete_table(redb::TableDefinition::<[u8; 16], &str>::new(name)).unwrap_or(true);
    }
    let settings = redb::TableDefinition::<&str, &[u8]>::new("settings");
    change.open_table(settings).unwrap().remove("occupied").unwrap();
    change.commit().unwrap();
    drop(file);
    let meta = opened(|| Meta::open(&path));
    assert_eq!(meta.occupied().await.unwrap(), before);
    assert!(meta.recount_occupied().await.unwrap());
    meta.repair_occupied().await.unwrap();
    assert_eq!(meta.occupied().await.unwrap(), before);
}
