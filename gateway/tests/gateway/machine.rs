//! A gateway that makes snapshots, on miners in memory and a chain in memory; and what is left when it is lost.

use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    time::Duration,
};

use arion_chain::TxError;
use arion_crypto::OperatorSecret;
use arion_daemon::Shutdown;
use arion_gateway::{
    grid::Grid,
    keyring::Keyring,
    keystore::Generations,
    meta::Meta,
    snapshot::{
        anchor::{Anchor, AnchorError, Anchored},
        cut::Sizes,
        recover::{Draft, Reader, RecoverError, Recovered, Wanted},
        take::{self, Snapshotter},
    },
};
use ed25519_dalek::SigningKey;
use tokio::time::Instant;

use crate::network::{GENESIS, Network, heir, open_meta, within};

/// Nodes so small that a few rows make a tree.
pub const SMALL: Sizes = Sizes { min: 2_000, target: 8_000, max: 32_000 };

/// Thousands of deletions take their time: 512 a second.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// What the chain does with a snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Mood {
    Honest,
    /// Does not take it.
    Refusing,
    /// Takes it, and nobody is told.
    Silent,
}

pub struct Chain {
    named: Mutex<HashMap<[u8; 32], Anchored>>,
    mood: AtomicU8,
    pub commits: AtomicUsize,
}

impl Default for Chain {
    fn default() -> Self {
        let mood = AtomicU8::new(Mood::Honest as u8);
        Self { named: Mutex::default(), mood, commits: AtomicUsize::default() }
    }
}

impl Chain {
    pub fn set(&self, mood: Mood) {
        self.mood.store(mood as u8, Ordering::SeqCst);
    }

    fn is(&self, mood: Mood) -> bool {
        self.mood.load(Ordering::SeqCst) == mood as u8
    }

    /// The newest snapshot of any locator.
    pub fn newest(&self) -> Option<Anchored> {
        self.named.lock().unwrap().values().max_by_key(|named| named.sequence).copied()
    }
}

#[async_trait::async_trait]
impl Anchor for Chain {
    async fn newest(&self, locator: &[u8; 32]) -> Result<Option<Anchored>, AnchorError> {
        Ok(self.named.lock().unwrap().get(locator).copied())
    }

    async fn commit(&self, locator: &SigningKey, anchored: Anchored) -> Result<(), AnchorError> {
        if self.is(Mood::Refusing) {
            return Err(TxError::Unknown.into());
        }
        let mut named = self.named.lock().unwrap();
        let before = named.insert(locator.verifying_key().to_bytes(), anchored);
        assert!(before.is_none_or(|before| before.sequence < anchored.sequence), "numbers must grow");
        self.commits.fetch_add(1, Ordering::SeqCst);
        if self.is(Mood::Silent) { Err(TxError::Unknown.into()) } else { Ok(()) }
    }
}

pub fn secret(seed: u8) -> OperatorSecret {
    OperatorSecret::from_bytes([seed; 32])
}

/// The operator's secrets, the newest last.
pub fn keyring(meta: &Meta, seeds: &[u8]) -> Arc<Keyring> {
    let keyring = Keyring::new(meta.clone(), Generations::one(secret(seeds[0])));
    keyring.replace_generations(generations(seeds));
    Arc::new(keyring)
}

pub fn generations(seeds: &[u8]) -> Generations {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("account.key");
    let lines: Vec<String> = seeds.iter().map(|seed| hex::encode([*seed; 32])).collect();
    arion_daemon::secret_file::replace(&path, &lines.join("\n")).unwrap();
    arion_gateway::keystore::KeyStore::file(path).load().unwrap()
}

/// Makes snapshots of a gateway whose access keys are in `directory`.
pub fn snapshotter(grid: &Arc<Grid>, chain: &Arc<Chain>, directory: &Path, seeds: &[u8]) -> Snapshotter {
    Snapshotter {
        grid: grid.clone(),
        keyring: keyring(&grid.meta, seeds),
        anchor: chain.clone(),
        access_keys: directory.join("keys.toml"),
        sizes: SMALL,
        bytes_per_second: 0,
    }
}

/// A new gateway in an empty directory, from the secret and the chain.
pub async fn recover(
    network: &Network,
    chain: &Chain,
    directory: &Path,
    seeds: &[u8],
) -> Result<(Arc<Grid>, Recovered), RecoverError> {
    recover_within(Duration::ZERO, network, chain, directory, seeds).await
}

/// The same, which tries for a while to read what cannot be read.
pub async fn recover_within(
    patience: Duration,
    network: &Network,
    chain: &Chain,
    directory: &Path,
    seeds: &[u8],
) -> Result<(Arc<Grid>, Recovered), RecoverError> {
    let draft = Draft::new(&directory.join("meta.redb"))?;
    let outcome = {
        let meta = Meta::open(draft.path()).unwrap();
        let grid = network.grid_of(heir(), meta, Network::options());
        let generations = generations(seeds);
        let named = take::newest(chain, &generations, &GENESIS).await.unwrap().expect("a snapshot is named");
        let wanted = Wanted { secret: named.secret, locator: named.locator, anchored: named.anchored };
        let reader = Reader { grid, patient_until: Instant::now() + patience };
        match reader.root(&wanted).await {
            Ok(root) => reader.fill(&wanted, root).await,
            Err(error) => Err(error),
        }
    };
    let recovered = match outcome {
        Ok(recovered) => recovered,
        Err(error) => {
            draft.discard();
            return Err(error);
        }
    };
    draft.keep()?;
    Ok((network.grid_of(heir(), open_meta(directory), Network::options()), recovered))
}

/// Works in the background until nothing is missing, nothing is to be deleted and no receipt is to be confirmed.
pub async fn settle(grid: &Arc<Grid>) {
    let stop = Shutdown::new();
    let work = tokio::spawn(grid.clone().upkeep(stop.clone()));
    within(PATIENCE, "the queues are empty", async || {
        grid.meta.backlog().await.unwrap() == (0, 0) && grid.meta.unconfirmed_len().await.unwrap() == 0
    })
    .await;
    stop.trigger();
    work.await.unwrap();
}

/// Shards that all miners hold together.
pub fn shards(network: &Network) -> usize {
    network.miners.iter().map(|miner| miner.shard_count()).sum()
}
