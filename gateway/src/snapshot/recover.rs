//! Making a gateway's metadata from a snapshot.
//!
//! The metadata are made in a file of another name, which becomes the gateway's when everything was read and found right: a
//! recovery that is interrupted has changed nothing and is done again.
//!
//! # Invariants
//! - Nothing is taken over unless all of it is right: every byte is authenticated, every count is the root's.
//! - Metadata that are there are never touched.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arion_crypto::OperatorSecret;
use tokio::time::Instant;

use super::{
    anchor::Anchored,
    node::{Content, NodeFault, NodeRef},
    root::{self, Root, RootFault, RootPlace, Summary},
    row::{Assembly, Row},
};
use crate::{
    chain,
    grid::{Grid, read::ReadError},
    manifest::StripeRecord,
    meta::{File, MAPS_NUMBER, MetaError, SCHEMA, SnapshotRow},
};

/// Attempts of snapshots are counted from here on in recovered metadata.
const FIRST_ATTEMPT: u64 = 1;

/// Between tries to read a stripe.
const PAUSE: Duration = Duration::from_secs(2);

/// Why nothing was recovered.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The root cannot be read.
    #[error("the root of snapshot {sequence} cannot be read: {source}")]
    RootLost {
        /// The snapshot.
        sequence: u64,
        /// Why.
        source: ReadError,
    },
    /// The root is not what the chain and the secret say.
    #[error("the root of snapshot {sequence} is refused: {source}")]
    Root {
        /// The snapshot.
        sequence: u64,
        /// Why.
        source: RootFault,
    },
    /// No such stripe.
    #[error("the chain names a root of {0} bytes, which no root has")]
    RootLength(u32),
    /// The rows are those of another version of the gateway.
    #[error(
        "the snapshot has layout {0} of the metadata, this gateway reads {SCHEMA}; use the version that wrote it"
    )]
    Layout(u32),
    /// A node cannot be read.
    #[error("node {place} of the snapshot cannot be read: {source}")]
    NodeLost {
        /// Positions from the node above all others down.
        place: Place,
        /// Why.
        source: ReadError,
    },
    /// A node is not what its reference says.
    #[error("node {place} of the snapshot is refused: {source}")]
    Node {
        /// Positions from the node above all others down.
        place: Place,
        /// Why.
        source: NodeFault,
    },
    /// A row does not decode, or stands there twice.
    #[error("node {place} of the snapshot is refused: {source}")]
    Row {
        /// Positions from the node above all others down.
        place: Place,
        /// Why.
        source: MetaError,
    },
    /// A row goes on as another one.
    #[error("node {place} of the snapshot is refused: a row of it is not whole")]
    Torn {
        /// Positions from the node above all others down.
        place: Place,
    },
    /// The counts are not those of the root.
    #[error("the snapshot is refused: its root says {expected:?}, it has {found:?}")]
    Counts {
        /// As the root says.
        expected: Box<Summary>,
        /// As found.
        found: Box<Summary>,
    },
    /// The new metadata cannot be written.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// There are metadata.
    #[error("{} is there: a gateway that has metadata is not recovered; move it away if it is really not wanted", .0.display())]
    Occupied(PathBuf),
    /// The disk fails.
    #[error("cannot use {}: {source}", path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Where in the tree a node is: its position in each list from the top.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Place(Vec<usize>);

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("top")?;
        self.0.iter().try_for_each(|at| write!(f, ".{at}"))
    }
}

/// A snapshot that the chain names, and what opens it.
pub struct Wanted<'a> {
    /// The operator's secret that it is sealed under.
    pub secret: &'a OperatorSecret,
    /// The key that it is named under.
    pub locator: [u8; 32],
    /// What the chain says.
    pub anchored: Anchored,
}

/// What was recovered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recovered {
    /// When the metadata were so, milliseconds since the Unix epoch.
    pub made_ms: u64,
    /// What is in them.
    pub summary: Summary,
    /// Nodes that the snapshot has.
    pub nodes: u64,
    /// What else was in the snapshot.
    pub files: Vec<File>,
}

/// Reads snapshots.
pub struct Reader {
    /// Where they are.
    pub grid: Arc<Grid>,
    /// Until when a stripe that cannot be read is tried again.
    pub patient_until: Instant,
}

fn root_stripe(grid: &Grid, anchored: &Anchored) -> Result<StripeRecord, RecoverError> {
    let maps = grid.maps.search_order(anchored.epoch);
    let shards = maps.first().map_or(0, |map| usize::from(map.params().shards()));
    root::stripe(anchored, shards).ok_or(RecoverError::RootLength(anchored.root_len))
}

impl Reader {
    /// Reads the root of a snapshot.
    pub async fn root(&self, wanted: &Wanted<'_>) -> Result<Root, RecoverError> {
        let Wanted { secret, locator, anchored } = wanted;
        let sequence = anchored.sequence;
        let record = root_stripe(&self.grid, anchored)?;
        let bytes = self.read(&record).await;
        let bytes = bytes.map_err(|source| RecoverError::RootLost { sequence, source })?;
        let place = RootPlace { genesis: self.grid.genesis(), locator: *locator, sequence };
        let root =
            Root::open(&bytes, secret, &place).map_err(|source| RecoverError::Root { sequence, source })?;
        if root.layout == SCHEMA { Ok(root) } else { Err(RecoverError::Layout(root.layout)) }
    }

    async fn read(&self, record: &StripeRecord) -> Result<Vec<u8>, ReadError> {
        loop {
            match self.grid.read_sealed(record).await {
                Err(ReadError::Unreadable { .. }) if Instant::now() < self.patient_until => {
                    tokio::time::sleep(PAUSE).await;
                }
                outcome => return outcome,
            }
        }
    }

    /// Fills the empty metadata of the grid with those of a snapshot whose root was read.
    pub async fn fill(&self, wanted: &Wanted<'_>, root: Root) -> Result<Recovered, RecoverError> {
        let grid = &self.grid;
        let meta = &grid.meta;
        let Root { made_ms, summary: expected, top, .. } = root;
        let (mut found, mut files, mut nodes) = (Summary::default(), Vec::new(), 0);
        let mut assembly = Assembly::default();
        let mut waiting: Vec<(NodeRef, Place)> = vec![(top, Place::default())];
        while let Some((node, place)) = waiting.pop() {
            let mut sealed = match self.read(&node.stripe).await {
                Ok(sealed) => sealed,
                Err(source) => return Err(RecoverError::NodeLost { place, source }),
            };
            let opened = match node.open(&mut sealed) {
                Ok(opened) => opened,
                Err(source) => return Err(RecoverError::Node { place, source }),
            };
            let refused = |source: MetaError| match source {
                source @ MetaError::Row(_) => RecoverError::Row { place: place.clone(), source },
                source => source.into(),
            };
            match opened.content {
                Content::Nodes(below) => {
                    let places = (0..).map(|at| Place([place.0.as_slice(), &[at]].concat()));
                    let mut below: Vec<_> = below.into_iter().zip(places).collect();
                    below.reverse();
                    waiting.extend(below);
                }
                Content::Rows(rows) => {
                    let mut whole: Vec<Row> = Vec::with_capacity(rows.len());
                    for row in rows {
                        let row =
                            assembly.push(row).map_err(|_| RecoverError::Torn { place: place.clone() })?;
                        whole.extend(row);
                    }
                    let has_maps = whole.iter().any(|row| row.table == MAPS_NUMBER);
                    files.extend(meta.import(whole, &mut found).await.map_err(refused)?);
                    if has_maps {
                        // What follows may lie where these maps say.
                        chain::recall_maps(meta, &grid.maps).await?;
                    }
                }
            }
            meta.adopt_snapshot_node(opened.id, node, FIRST_ATTEMPT).await.map_err(refused)?;
            nodes += 1;
        }
        if !assembly.is_whole() || found != expected {
            let (expected, found) = (Box::new(expected), Box::new(found));
            return Err(RecoverError::Counts { expected, found });
        }
        let Wanted { secret, locator, anchored } = wanted;
        let row = SnapshotRow {
            attempt: FIRST_ATTEMPT,
            locator: *locator,
            generation: secret.id().0,
            anchored: *anchored,
            made_ms,
            digest: None,
            summary: found,
        };
        meta.adopt_snapshot(row, root_stripe(grid, anchored)?).await?;
        Ok(Recovered { made_ms, summary: found, nodes, files })
    }
}

/// The file in which metadata are made before they become the gateway's.
#[derive(Debug)]
pub struct Draft {
    path: PathBuf,
    target: PathBuf,
}

impl Draft {
    /// For metadata that are to be `target`, which must not be there. What an interrupted recovery left is removed.
    pub fn new(target: &Path) -> Result<Self, RecoverError> {
        if target.exists() {
            return Err(RecoverError::Occupied(target.to_owned()));
        }
        Self::at(target, target.with_extension("recovering"))
    }

    /// Beside metadata, which may be there: for reading a snapshot and keeping nothing.
    pub fn of_nothing(target: &Path) -> Result<Self, RecoverError> {
        Self::at(target, target.with_extension("checking"))
    }

    fn at(target: &Path, path: PathBuf) -> Result<Self, RecoverError> {
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(RecoverError::Disk { path, source })
            }
            _ => Ok(Self { path, target: target.to_owned() }),
        }
    }

    /// Where the metadata are made.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// They become the gateway's, durably.
    pub fn keep(self) -> Result<(), RecoverError> {
        let failed = |source| RecoverError::Disk { path: self.target.clone(), source };
        if self.target.exists() {
            return Err(RecoverError::Occupied(self.target));
        }
        fs::rename(&self.path, &self.target).map_err(failed)?;
        let parent = self.target.parent().filter(|parent| !parent.as_os_str().is_empty());
        fs::File::open(parent.unwrap_or(Path::new(".")))
            .and_then(|directory| directory.sync_all())
            .map_err(failed)
    }

    /// They are not wanted.
    pub fn discard(self) {
        let _ = fs::remove_file(&self.path);
    }
}
