//! Rows of objects without a network: each is of one stripe that is told by its number.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use arion_crypto::{WrappedKey, Wrapping};
use arion_gateway::{
    manifest::{Manifest, PartManifest, StripeRecord},
    meta::{Allowance, Condition, Meta, NewObject},
    object::ObjectInfo,
};
use arion_types::ShardHash;

pub const BUCKET: &str = "b";

pub fn stripe(seed: u32) -> StripeRecord {
    let hash = |index: u8| ShardHash(*blake3::hash(&[&seed.to_le_bytes()[..], &[index]].concat()).as_bytes());
    StripeRecord { epoch: 1, len: 640, shard_len: 64, data_shards: 10, hashes: (0..30).map(hash).collect() }
}

/// As under a customer's key: no bucket's key is needed.
pub fn wrapped() -> WrappedKey {
    WrappedKey::V2 { wrapping: Wrapping::Customer, key_id: [0; 8], nonce: [2; 12], sealed: [3; 48] }
}

/// Opens a file that an earlier handle lets go of a moment after it was dropped.
pub fn opened<T, E: std::fmt::Display>(open: impl Fn() -> Result<T, E>) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match open() {
            Ok(opened) => return opened,
            Err(error) if Instant::now() > deadline => panic!("{error}"),
            Err(_) => std::thread::yield_now(),
        }
    }
}

/// Puts a wrong count of an account into metadata that nobody has.
pub fn miscount(path: &Path, account: &str, counts: (u64, u64)) {
    let file = opened(|| redb::Database::open(path));
    let change = file.begin_write().unwrap();
    let table = redb::TableDefinition::<&str, (u64, u64)>::new("usage");
    change.open_table(table).unwrap().insert(account, counts).unwrap();
    change.commit().unwrap();
}

/// Takes all counts out of metadata that nobody has.
pub fn uncount(path: &Path) {
    let file = opened(|| redb::Database::open(path));
    let change = file.begin_write().unwrap();
    change.delete_table(redb::TableDefinition::<&str, (u64, u64)>::new("usage")).unwrap();
    change.commit().unwrap();
}

/// A part of one stripe, which is stored.
pub async fn new_part(meta: &Meta, seed: u32) -> PartManifest {
    let record = stripe(seed);
    meta.begin_stripe(record.id(), record.clone()).await.unwrap();
    meta.stripe_stored(record.id(), Vec::new(), 0).await.unwrap();
    let (plain_len, stripes) = (seed.into(), vec![record]);
    PartManifest { plain_len, cipher_len: 640, offset: 0, key: wrapped(), stripes }
}

/// An object whose size and ETag are its number.
pub async fn new_object(meta: &Meta, key: &str, seed: u32) -> NewObject {
    let part = new_part(meta, seed).await;
    let mut manifest = [0; 16];
    manifest[..4].copy_from_slice(&seed.to_le_bytes());
    let info = ObjectInfo {
        manifest,
        size: seed.into(),
        etag: seed.to_string(),
        modified_ms: 1,
        ..Default::default()
    };
    NewObject {
        bucket: BUCKET.into(),
        key: key.into(),
        info,
        manifest: Manifest::whole(part),
        condition: Condition::default(),
        allowance: Allowance::NONE,
        origin: Default::default(),
    }
}
