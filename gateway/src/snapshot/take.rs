//! Making a snapshot: store what changed, store a root, have the chain name it, give back what only earlier ones needed.
//!
//! # Invariants
//! - Nothing of the newest final snapshot is given back before a newer one is final; a crash between any two steps leaves one of
//!   them whole, and what was stored for nothing is given back later.
//! - Once the chain was told of a snapshot, nothing else happens before that is settled: its transaction may be carried out at any
//!   time.
//! - A snapshot that somebody else had the chain name is not replaced unless that is asked for.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use arion_crypto::{DataKey, OperatorSecret};
use arion_daemon::{now_ms, work};
use arion_types::{GenesisHash, StripeId};
use ed25519_dalek::SigningKey;
use tokio::sync::mpsc;

use super::{
    anchor::{Anchor, AnchorError, Anchored},
    cut::Sizes,
    node::{ContentId, NodeRef, Plain, content_id, seal_padded},
    root::{Root, RootPlace},
    tree::{NodeStore, Tree},
};
use crate::{
    grid::{Grid, write::WriteError},
    keyring::Keyring,
    keystore::Generations,
    meta::{File, Meta, MetaError, SCHEMA, SnapshotRow},
};

/// The name that the access keys go by in a snapshot.
pub const ACCESS_KEYS: &str = "keys.toml";
/// Chunks that wait in a simulation, where nothing is taken before all is read.
const CHUNKS_INLINE: usize = 1 << 20;
/// Nodes noted in one step.
const NOTED_AT_ONCE: usize = 256;
/// Nodes given back in one step.
const GIVEN_BACK_AT_ONCE: usize = 64;

/// Why there is no new snapshot. What there was stays.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The metadata cannot be read or written.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// A node cannot be stored.
    #[error("cannot store the snapshot: {0}")]
    Write(#[from] WriteError),
    /// The chain cannot be read, or did not take it.
    #[error(transparent)]
    Anchor(#[from] AnchorError),
    /// The access keys cannot be read.
    #[error("cannot read the access keys {}: {reason}", path.display())]
    AccessKeys {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: io::Error,
    },
    /// The chain names a newer snapshot, which these metadata know nothing of.
    #[error(
        "the chain names snapshot {sequence} under this account key, which is not from these metadata: another gateway has the same account key, or these are old or new and the snapshot is to be recovered from; nothing is replaced: see `snapshot now --replace`"
    )]
    Elsewhere {
        /// Its number.
        sequence: u64,
    },
    /// More than any tree holds.
    #[error("the metadata are too large for a snapshot")]
    TooLarge,
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Taken {
    /// Nothing changed since this one.
    Unchanged(SnapshotRow),
    /// A new one is final.
    New {
        /// The snapshot.
        row: SnapshotRow,
        /// Nodes that were stored for it.
        stored: u64,
        /// Nodes that were stored before.
        reused: u64,
    },
}

/// Makes snapshots of a gateway.
pub struct Snapshotter {
    /// Stores; has the metadata.
    pub grid: Arc<Grid>,
    /// The operator's secrets.
    pub keyring: Arc<Keyring>,
    /// Names them.
    pub anchor: Arc<dyn Anchor>,
    /// File of the access keys.
    pub access_keys: PathBuf,
    /// Lengths of chunks.
    pub sizes: Sizes,
    /// What is stored in a second at most, in bytes before coding; 0 for any number.
    pub bytes_per_second: u64,
}

/// The key under which snapshots of a generation are named.
pub fn locator(secret: &OperatorSecret, genesis: &GenesisHash) -> SigningKey {
    SigningKey::from_bytes(&secret.snapshot_locator_seed(genesis))
}

/// A snapshot that the chain names, and the key that it is named under.
pub struct Named<'a> {
    /// The generation.
    pub secret: &'a OperatorSecret,
    /// Its public key.
    pub locator: [u8; 32],
    /// What the chain says.
    pub anchored: Anchored,
}

/// The newest snapshot that the chain names under any generation.
pub async fn newest<'a>(
    anchor: &dyn Anchor,
    generations: &'a Generations,
    genesis: &GenesisHash,
) -> Result<Option<Named<'a>>, AnchorError> {
    let mut newest: Option<Named<'_>> = None;
    for secret in generations.all() {
        let locator = locator(secret, genesis).verifying_key().to_bytes();
        let Some(anchored) = anchor.newest(&locator).await? else { continue };
        if newest.as_ref().is_none_or(|other| other.anchored.sequence <= anchored.sequence) {
            newest = Some(Named { secret, locator, anchored });
        }
    }
    Ok(newest)
}

impl Snapshotter {
    fn meta(&self) -> &Meta {
        &self.grid.meta
    }

    /// Makes a snapshot, unless nothing changed since the newest one; returns once it is final. With `replace` also where the
    /// chain names one of other metadata.
    pub async fn take(&self, replace: bool) -> Result<Taken, SnapshotError> {
        let (generations, genesis) = (self.keyring.generations(), self.grid.genesis());
        self.settle(&generations, replace).await?;
        let last = self.meta().snapshots().await?.last;
        let named = newest(&*self.anchor, &generations, &genesis).await?.map(|named| named.anchored);
        let is_ours = named == last.as_ref().map(|row| row.anchored);
        if let Some(named) = named
            && !is_ours
            && !replace
            && last.as_ref().is_none_or(|row| row.anchored.sequence <= named.sequence)
        {
            return Err(SnapshotError::Elsewhere { sequence: named.sequence });
        }
        let secret = generations.current();
        let key = locator(secret, &genesis);
        let locator = key.verifying_key().to_bytes();
        let comparable = last.as_ref().filter(|row| is_ours && row.locator == locator);
        let known = comparable.and_then(|row| row.digest);

        let made_ms = now_ms();
        let files = self.files()?;
        let (sender, chunks) = mpsc::channel(if work::is_inline() { CHUNKS_INLINE } else { 1 });
        let (exported, built) =
            tokio::join!(self.meta().export(files, known, self.sizes, sender), self.build(chunks));
        let (built, exported) = (built?, exported?);
        let (Some(built), Some(summary)) = (built, exported.summary) else {
            self.give_back().await?;
            return last.map(Taken::Unchanged).ok_or(SnapshotError::TooLarge);
        };
        let Built { top, attempt, stored, reused } = built;
        // Snapshots of other generations count: the newest of all is the one to recover from.
        let before = named.map_or(0, |named| named.sequence).max(last.map_or(0, |row| row.anchored.sequence));
        let sequence = made_ms.max(before.saturating_add(1));
        let root = Root { layout: SCHEMA, made_ms, summary, top };
        let root = root.seal(secret, &RootPlace { genesis, locator, sequence }, rand::random());
        let root_len = u32::try_from(root.len()).map_err(|_| SnapshotError::TooLarge)?;
        let record = self.grid.store_root(root).await?;
        let address = record.hashes.first().map(|hash| hash.0).ok_or(SnapshotError::TooLarge)?;
        let anchored = Anchored { sequence, root: address, root_len, epoch: record.epoch };
        let digest = Some(exported.digest);
        let generation = secret.id().0;
        let row = SnapshotRow { attempt, locator, generation, anchored, made_ms, digest, summary };
        self.meta().snapshot_stored(row.clone(), record).await?;
        self.anchor.commit(&key, anchored).await?;
        self.meta().snapshot_final().await?;
        self.give_back().await?;
        Ok(Taken::New { row, stored, reused })
    }

    /// Brings a snapshot to its end of which the chain was told, or was to be told, when something came in between.
    async fn settle(&self, generations: &Generations, replace: bool) -> Result<(), SnapshotError> {
        let Some(pending) = self.meta().snapshots().await?.pending else { return Ok(()) };
        let genesis = self.grid.genesis();
        let keys = generations.all().iter().map(|secret| locator(secret, &genesis));
        let key = keys.into_iter().find(|key| key.verifying_key().to_bytes() == pending.locator);
        let Some(key) = key else {
            // Whatever the chain names there, nobody can open it any more.
            self.meta().forget_pending_snapshot().await?;
            return Ok(());
        };
        match self.anchor.newest(&pending.locator).await? {
            Some(named) if named == pending.anchored => {}
            Some(named) if named.sequence >= pending.anchored.sequence => {
                if !replace {
                    return Err(SnapshotError::Elsewhere { sequence: named.sequence });
                }
                // Its number is not the greatest any more: the chain can never take it.
                self.meta().forget_pending_snapshot().await?;
                return Ok(());
            }
            _ => self.anchor.commit(&key, pending.anchored).await?,
        }
        self.meta().snapshot_final().await?;
        Ok(())
    }

    async fn give_back(&self) -> Result<(), MetaError> {
        while self.meta().give_back_snapshot_nodes(GIVEN_BACK_AT_ONCE, now_ms()).await? > 0 {}
        Ok(())
    }

    /// What is in a snapshot besides the metadata.
    fn files(&self) -> Result<Vec<File>, SnapshotError> {
        match std::fs::read(&self.access_keys) {
            Ok(bytes) => Ok(vec![(ACCESS_KEYS.to_owned(), bytes)]),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(reason) => Err(SnapshotError::AccessKeys { path: self.access_keys.clone(), reason }),
        }
    }

    /// Stores the chunks and the lists above them; `None` if there are none.
    async fn build(&self, mut chunks: mpsc::Receiver<Plain>) -> Result<Option<Built>, SnapshotError> {
        let Some(first) = chunks.recv().await else { return Ok(None) };
        let attempt = self.meta().begin_snapshot().await?;
        let attempt = Attempt { snapshotter: self, attempt, needed: Vec::new(), stored: 0, reused: 0 };
        let mut tree = Tree::new(attempt, self.sizes);
        tree.push(first).await?;
        while let Some(chunk) = chunks.recv().await {
            tree.push(chunk).await?;
        }
        let (top, mut attempt) = tree.finish().await?.ok_or(SnapshotError::TooLarge)?;
        attempt.note().await?;
        let Attempt { attempt, stored, reused, .. } = attempt;
        Ok(Some(Built { top, attempt, stored, reused }))
    }
}

struct Built {
    top: NodeRef,
    attempt: u64,
    stored: u64,
    reused: u64,
}

/// One attempt at a snapshot.
struct Attempt<'a> {
    snapshotter: &'a Snapshotter,
    attempt: u64,
    needed: Vec<(ContentId, StripeId)>,
    stored: u64,
    reused: u64,
}

impl Attempt<'_> {
    async fn note(&mut self) -> Result<(), SnapshotError> {
        let needed = std::mem::take(&mut self.needed);
        Ok(self.snapshotter.meta().snapshot_nodes_needed(needed, self.attempt).await?)
    }

    /// Keeps what is stored in a second below the bound.
    async fn pause(&self, bytes: usize) {
        if let Some(millis) = (bytes as u64 * 1_000).checked_div(self.snapshotter.bytes_per_second) {
            tokio::time::sleep(Duration::from_millis(millis)).await;
        }
    }
}

impl NodeStore for Attempt<'_> {
    type Error = SnapshotError;

    async fn put(&mut self, node: Plain) -> Result<NodeRef, SnapshotError> {
        let Snapshotter { grid, .. } = self.snapshotter;
        let bytes = node.bytes();
        let id = content_id(&bytes);
        let epoch = grid.maps.current().map(|map| map.epoch());
        let known = grid.meta.snapshot_node(id).await?;
        let known = known.filter(|known| !node.is_fresh || Some(known.stripe.epoch) == epoch);
        if let Some(known) = known {
            self.needed.push((id, known.stripe.id()));
            self.reused += 1;
            if self.needed.len() >= NOTED_AT_ONCE {
                self.note().await?;
            }
            return Ok(known);
        }
        let key: [u8; 32] = rand::random();
        let sealed = seal_padded(&bytes, &DataKey::from_bytes(key));
        let len = sealed.len();
        let stripe = grid.store_node(sealed).await?;
        let bytes = u32::try_from(bytes.len()).map_err(|_| SnapshotError::TooLarge)?;
        let reference = NodeRef { level: node.level, bytes, rows: node.rows, key, stripe };
        grid.meta.snapshot_node_stored(id, reference.clone(), self.attempt).await?;
        self.stored += 1;
        self.pause(len).await;
        Ok(reference)
    }
}
