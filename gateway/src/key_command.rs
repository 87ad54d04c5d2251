//! `arion-gateway key ...`: the operator's generations of account keys, and keys of buckets.

use anyhow::{Context, bail};
use arion_crypto::KeyId;
use arion_daemon::{Place, line};
use clap::Subcommand;

use crate::{
    config::Config,
    keyring::Keyring,
    keystore::KeyStore,
    meta::{Meta, Role},
    rotation,
};

/// What can be done with the keys that objects' keys are wrapped under.
#[derive(Subcommand)]
pub enum KeyCommand {
    /// Make a new generation of account keys and wrap every bucket's key under it; or give one bucket a new key and wrap
    /// the keys of its objects under that. No object is uploaded again.
    ///
    /// Where a rotation was interrupted, it is finished first. A running gateway takes a new generation over by itself
    /// within seconds; a bucket's key is rotated only while the gateway is stopped.
    Rotate {
        /// Where the gateway's files are.
        #[command(flatten)]
        place: Place<Config>,
        /// The bucket that gets a new key, instead of all accounts.
        #[arg(long, value_name = "BUCKET")]
        bucket: Option<String>,
        /// Only finish what was interrupted, or what a new line in a systemd credential asks for; make nothing new.
        #[arg(long, conflicts_with = "bucket")]
        resume: bool,
    },
    /// List the generations, the newest last; with the gateway stopped also how many buckets' keys are wrapped under each.
    List {
        /// Where the gateway's files are.
        #[command(flatten)]
        place: Place<Config>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Remove the generations that no bucket's key is wrapped under; never the newest, nor one that opens the newest snapshot.
    /// Takes a stopped gateway.
    ///
    /// A copy of the metadata from before the rotation cannot be read any more without them.
    Prune {
        /// Where the gateway's files are.
        #[command(flatten)]
        place: Place<Config>,
    },
}

/// The metadata, unless a running gateway has them.
fn open(config: &Config) -> anyhow::Result<Option<Meta>> {
    match config.metadata()?.open(Role::Alone) {
        Ok(meta) => Ok(Some(meta)),
        Err(error) if error.is_taken() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Metadata and keys that fit together.
async fn keyring(meta: &Meta, store: &KeyStore) -> anyhow::Result<Keyring> {
    let keyring = Keyring::new(meta.clone(), store.load()?);
    keyring.check().await?;
    Ok(keyring)
}

impl KeyCommand {
    /// Does what was asked for.
    pub async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Rotate { place, bucket: Some(bucket), .. } => {
                rotate_bucket(&place.settings()?, &bucket).await
            }
            Self::Rotate { place, bucket: None, resume } => rotate(&place.settings()?, resume).await,
            Self::List { place, json } => list(&place.settings()?, json).await,
            Self::Prune { place } => prune(&place.settings()?).await,
        }
    }
}

async fn rotate(config: &Config, resume: bool) -> anyhow::Result<()> {
    let store = config.key_store()?;
    let meta = open(config)?;
    // Before anything changes: what is there must fit.
    if let Some(meta) = &meta {
        report(rotation::finish(&keyring(meta, &store).await?, meta).await?)?;
    }
    if !resume {
        line!("new generation: {}", store.add()?);
    }
    let Some(meta) = meta else {
        line!("the gateway is running: it wraps the keys of all buckets under it within seconds");
        line!("its log says so, and `keys` and `account_key` at /health");
        return Ok(());
    };
    report(rotation::finish(&keyring(&meta, &store).await?, &meta).await?)?;
    line!("old generations stay in {} until `key prune`", store.path().display());
    Ok(())
}

async fn rotate_bucket(config: &Config, bucket: &str) -> anyhow::Result<()> {
    let meta = open(config)?.context(
        "the gateway is running: stop it to rotate the key of one bucket (new account keys work without)",
    )?;
    let keyring = keyring(&meta, &config.key_store()?).await?;
    report(rotation::finish(&keyring, &meta).await?)?;
    let name = keyring.new_bucket_key(bucket).await?.context("the bucket got a key in this moment")?;
    line!("new key of {bucket}: number {}", name.1);
    let count = rotation::finish_bucket(&keyring, &meta, bucket).await?;
    line!("keys of objects wrapped anew: {count}; the old key is forgotten");
    Ok(())
}

fn report(done: rotation::Rewrapped) -> anyhow::Result<()> {
    let rotation::Rewrapped { bucket_keys, data_keys, buckets } = done;
    if done != rotation::Rewrapped::default() {
        line!("wrapped anew: {bucket_keys} keys of buckets, {data_keys} of objects in {buckets} buckets");
    }
    Ok(())
}

async fn list(config: &Config, json: bool) -> anyhow::Result<()> {
    let store = config.key_store()?;
    let usage = match open(config)? {
        Some(meta) => Some(rotation::usage(&keyring(&meta, &store).await?, &meta).await?),
        None => None,
    };
    let generations = store.load()?;
    let newest = generations.current().id();
    for secret in generations.all() {
        let id = secret.id();
        let count = usage.iter().flatten().find(|(other, _)| *other == id).map(|(_, count)| *count);
        if json {
            let row = serde_json::json!({
                "generation": id.to_string(), "newest": id == newest, "bucket_keys": count,
            });
            line!("{row}");
        } else {
            let role = if id == newest { "newest" } else { "old" };
            let count = count.map_or("unknown: the gateway is running".to_owned(), |count| count.to_string());
            line!("{id} {role}, keys of buckets under it: {count}");
        }
    }
    Ok(())
}

async fn prune(config: &Config) -> anyhow::Result<()> {
    let store = config.key_store()?;
    let Some(meta) = open(config)? else {
        bail!("the gateway is running: stop it to remove old generations");
    };
    let keyring = keyring(&meta, &store).await?;
    report(rotation::finish(&keyring, &meta).await?)?;
    let newest = keyring.generations().current().id();
    let snapshots = meta.snapshots().await?;
    let snapshots = snapshots.last.into_iter().chain(snapshots.pending);
    let opening: Vec<_> = snapshots.map(|row| KeyId(row.generation)).collect();
    let usage = rotation::usage(&keyring, &meta).await?.into_iter();
    let unused = usage.filter(|(id, count)| *count == 0 && *id != newest).map(|(id, _)| id);
    let (kept, unused): (Vec<_>, Vec<_>) = unused.partition(|id| opening.contains(id));
    for id in kept {
        line!("{id} opens the newest snapshot: make another one (`snapshot now`) and prune again");
    }
    let removed = if unused.is_empty() { 0 } else { store.remove(&unused)? };
    line!("generations removed: {removed}");
    Ok(())
}
