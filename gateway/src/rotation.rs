//! Replacing keys: everything is wrapped anew, nothing is uploaded again.
//!
//! A new generation of the operator's store: every bucket's key is wrapped under it. A new key of a bucket: every data key in
//! it is wrapped under that, then the old one is forgotten. Both go page by page and are found again after a crash, because
//! what is left to do is what metadata still say: a bucket key under an old generation, a bucket with two keys.
//!
//! # Invariants
//! - Bytes of objects are not touched, on miners or anywhere.
//! - A bucket's old key is forgotten only when nothing in the bucket refers to it: parts of uploads are gone through before
//!   objects, because parts become objects and never the other way, and nothing new is wrapped under an old key.
//! - A generation leaves the store only by an operator's order, and only if no bucket's key is wrapped under it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use arion_crypto::{KeyId, OperatorSecret, WrappedKey, Wrapping};
use arion_daemon::{Health, Shutdown};

use crate::{
    keyring::{KeyPlace, Keyring, KeyringError},
    keystore::{KeyStore, Stamp},
    meta::{Meta, MetaError, SealedRow},
};

/// Bucket keys, and rows with data keys, that are taken at once.
const PAGE: usize = 256;
/// Pause between two looks at the store and at what is left to do.
const TICK: Duration = Duration::from_secs(2);

/// What was wrapped anew.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rewrapped {
    /// Bucket keys.
    pub bucket_keys: usize,
    /// Data keys.
    pub data_keys: usize,
    /// Buckets whose old keys were forgotten.
    pub buckets: usize,
}

/// Wraps every bucket's key under the newest generation; how many were not.
pub async fn rewrap_bucket_keys(keyring: &Keyring, meta: &Meta) -> Result<usize, KeyringError> {
    let (mut after, mut count) = (None, 0);
    loop {
        let page = meta.bucket_keys_page(after, PAGE).await?;
        let Some((last, _)) = page.last() else { return Ok(count) };
        after = Some(last.clone());
        let mut rewrapped = Vec::new();
        for (name, row) in page {
            if let Some(key) = keyring.rewrapped(&name.0, &row)? {
                rewrapped.push((name, row.key, key));
            }
        }
        if !rewrapped.is_empty() {
            count += meta.rewrap_bucket_keys(rewrapped).await?;
        }
    }
}

/// Buckets with more than one key: their rotation is not finished.
pub async fn unfinished(meta: &Meta) -> Result<Vec<String>, KeyringError> {
    let (mut after, mut found) = (None, BTreeSet::new());
    loop {
        let page = meta.bucket_keys_page(after.clone(), PAGE).await?;
        let Some((last, _)) = page.last() else { return Ok(found.into_iter().collect()) };
        for pair in after.iter().chain(page.iter().map(|(name, _)| name)).collect::<Vec<_>>().windows(2) {
            if pair[0].0 == pair[1].0 {
                found.insert(pair[0].0.clone());
            }
        }
        after = Some(last.clone());
    }
}

/// Wraps every data key of a bucket under the bucket's current key and forgets the others; how many were wrapped anew.
pub async fn finish_bucket(keyring: &Keyring, meta: &Meta, bucket: &str) -> Result<usize, KeyringError> {
    let (_, rows) = meta.bucket_keys(bucket.to_owned()).await?;
    let Some((generation, row)) = rows.last().filter(|_| rows.len() > 1) else { return Ok(0) };
    let current = KeyId(row.id);
    let (mut cursor, mut count) = (None, 0);
    loop {
        let (page, next) = meta.sealed_page(bucket.to_owned(), cursor, PAGE).await?;
        let mut changes: Vec<(SealedRow, Vec<WrappedKey>, Vec<WrappedKey>)> = Vec::new();
        for sealed in page {
            let is_old = |key: &WrappedKey| key.wrapping() == Wrapping::Data && key.key_id() != current;
            if !sealed.keys.iter().any(is_old) {
                continue;
            }
            let place = KeyPlace::new(bucket, sealed.object);
            let mut after = sealed.keys.clone();
            let old: Vec<WrappedKey> = after.iter().filter(|key| is_old(key)).cloned().collect();
            count += old.len();
            let opened = keyring.unwrap(&place, None, &old).await?;
            let mut new = keyring.wrap(&place, None, &opened).await?.into_iter();
            for key in after.iter_mut().filter(|key| is_old(key)) {
                // There is a new one for each old one.
                if let Some(new) = new.next() {
                    *key = new;
                }
            }
            changes.push((sealed.row, sealed.keys, after));
        }
        if !changes.is_empty() {
            meta.reseal(changes).await?;
        }
        match next {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    meta.drop_bucket_keys(bucket.to_owned(), *generation).await?;
    Ok(count)
}

/// Does everything that is left to do. A bucket with a row that does not decode keeps its keys, and the others do not wait
/// for it: the error comes last.
pub async fn finish(keyring: &Keyring, meta: &Meta) -> Result<Rewrapped, KeyringError> {
    let mut done = Rewrapped { bucket_keys: rewrap_bucket_keys(keyring, meta).await?, ..Default::default() };
    let mut broken = None;
    for bucket in unfinished(meta).await? {
        match finish_bucket(keyring, meta, &bucket).await {
            Ok(keys) => {
                done.data_keys += keys;
                done.buckets += 1;
            }
            Err(KeyringError::Meta(MetaError::NoSuchBucket)) => {}
            Err(error @ KeyringError::Meta(MetaError::Row(_))) => {
                tracing::error!(bucket, %error, "the keys of a bucket cannot be replaced");
                broken = Some(error);
            }
            Err(error) => return Err(error),
        }
    }
    broken.map_or(Ok(done), Err)
}

/// How many bucket keys are wrapped under each generation of the store, the newest last.
pub async fn usage(keyring: &Keyring, meta: &Meta) -> Result<Vec<(KeyId, usize)>, KeyringError> {
    let mut counts: BTreeMap<KeyId, usize> = BTreeMap::new();
    let mut after = None;
    loop {
        let page = meta.bucket_keys_page(after, PAGE).await?;
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        for (_, row) in &page {
            if let Some(generation) = keyring.generation_of(row) {
                *counts.entry(generation).or_default() += 1;
            }
        }
    }
    let generations = keyring.generations();
    let ids = generations.all().iter().map(OperatorSecret::id);
    Ok(ids.map(|id| (id, counts.get(&id).copied().unwrap_or(0))).collect())
}

/// Follows the store of a running gateway: takes over new generations and wraps what is left to wrap.
pub async fn follow(keyring: Arc<Keyring>, meta: Meta, store: KeyStore, health: Health, stop: Shutdown) {
    let mut seen: Option<Stamp> = None;
    let work = async {
        loop {
            match step(&keyring, &meta, &store, &mut seen).await {
                Ok(done) => {
                    if done != Rewrapped::default() {
                        tracing::info!(
                            bucket_keys = done.bucket_keys,
                            data_keys = done.data_keys,
                            buckets = done.buckets,
                            "keys were wrapped anew"
                        );
                    }
                    health.ok("keys");
                    health.detail("account_key", keyring.generations().current().id().to_string());
                }
                Err(error) => {
                    health.failing("keys", format!("{error:#}"));
                    tracing::warn!(
                        error = format!("{error:#}"),
                        "keys could not be wrapped anew; tried again"
                    );
                }
            }
            tokio::time::sleep(TICK).await;
        }
    };
    tokio::select! {
        () = work => {}
        () = stop.wait() => {}
    }
}

/// Looks at the store and does what it takes. Nothing is looked at twice that did not change.
async fn step(
    keyring: &Keyring,
    meta: &Meta,
    store: &KeyStore,
    seen: &mut Option<Stamp>,
) -> anyhow::Result<Rewrapped> {
    let stamp = store.stamp()?;
    if *seen == Some(stamp) {
        return Ok(Rewrapped::default());
    }
    let generations = store.load()?;
    let ids: Vec<KeyId> = generations.all().iter().map(OperatorSecret::id).collect();
    let known = keyring.generations();
    let lost = known.all().iter().map(OperatorSecret::id).find(|id| !ids.contains(id));
    let in_use = usage(keyring, meta).await?;
    if let Some(lost) = lost
        && in_use.iter().any(|(id, count)| *id == lost && *count > 0)
    {
        anyhow::bail!(
            "generation {lost} was taken out of {} while keys are wrapped under it: bring it back",
            store.path().display()
        );
    }
    keyring.replace_generations(generations);
    let done = finish(keyring, meta).await?;
    *seen = Some(stamp);
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        keystore::Generations,
        meta::{
            Allowance, PARTS, UploadInfo, UploadKey,
            tests::{Engine, bucket_of},
        },
    };

    /// Buckets are gone through by name: those behind one with a broken row kept their old keys for ever.
    #[tokio::test]
    async fn a_bucket_that_cannot_be_read_keeps_its_keys_and_no_other_does() {
        for engine in Engine::each() {
            let meta = engine.open();
            let keyring = Keyring::new(meta.clone(), Generations::one(OperatorSecret::from_bytes([1; 32])));
            for bucket in ["a", "b"] {
                bucket_of(&meta, bucket, "x").await;
                for _ in 0..2 {
                    keyring.new_bucket_key(bucket).await.unwrap().unwrap();
                }
            }
            let upload = UploadKey { bucket: "a".into(), key: "k".into(), id: "u".into() };
            meta.create_upload(upload, UploadInfo::default(), Allowance::NONE).await.unwrap();
            let spoilt = meta.write(|transaction| {
                transaction.open_table(PARTS)?.insert(("u", 1), [0xff].as_slice())?;
                Ok(())
            });
            spoilt.await.unwrap();
            let told = finish(&keyring, &meta).await;
            assert!(matches!(told, Err(KeyringError::Meta(MetaError::Row("parts")))), "{told:?}");
            for (bucket, keys) in [("a", 2), ("b", 1)] {
                assert_eq!(meta.bucket_keys(bucket.into()).await.unwrap().1.len(), keys, "{bucket}");
            }
        }
    }
}
