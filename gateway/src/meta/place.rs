//! Where a gateway's metadata are, as its configuration says, and that they are not taken for others.
//!
//! A data directory whose metadata are in PostgreSQL has a file that says so: with the setting gone, a gateway would begin
//! again with an empty file of its own, and no object would be found.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use arion_types::GenesisHash;

use super::{Meta, MetaError, OpenError, Postgres, Role, SETTINGS, Store};

/// Who the metadata belong to, in `SETTINGS`; only where several gateways could use them.
const NODE: &str = "node";
/// Hash of block 0 of the chain that the gateway was on last, in `SETTINGS`.
const GENESIS: &str = "genesis";

/// Where metadata are.
#[derive(Clone, Debug)]
pub enum MetadataPlace {
    /// In a file.
    File(PathBuf),
    /// In PostgreSQL.
    Postgres {
        /// The database.
        database: Postgres,
        /// Where the file would be.
        file: PathBuf,
    },
}

impl fmt::Display for MetadataPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Postgres { database, .. } => write!(f, "{database}"),
        }
    }
}

/// What says that the metadata are elsewhere.
fn mark(file: &Path) -> PathBuf {
    file.with_extension("in-postgres")
}

impl MetadataPlace {
    /// Whether there may be metadata already.
    pub fn exists(&self) -> bool {
        match self {
            Self::File(path) => path.exists(),
            Self::Postgres { .. } => true,
        }
    }

    /// Whether several gateways may use them at once.
    pub fn is_shared(&self) -> bool {
        matches!(self, Self::Postgres { .. })
    }

    /// Opens them, or makes them.
    pub fn open(&self, role: Role) -> Result<Meta, OpenError> {
        match self {
            Self::File(path) => match fs::read_to_string(mark(path)) {
                Ok(text) => Err(OpenError::Elsewhere { mark: mark(path), place: text.trim().to_owned() }),
                Err(_) => Meta::open(path),
            },
            Self::Postgres { file, .. } if file.exists() => Err(OpenError::Embedded { path: file.clone() }),
            Self::Postgres { database, file } => {
                let meta = Meta::connect(database.clone(), role)?;
                let path = mark(file);
                fs::write(&path, format!("{database}\n"))
                    .map_err(|source| OpenError::Mark { path, source })?;
                Ok(meta)
            }
        }
    }
}

/// Why metadata that can be opened are not used.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Another gateway's.
    #[error(
        "the metadata belong to the gateway with node {}: replicas of one gateway have the same node key, and another gateway needs a database or schema of its own",
        hex::encode(.0)
    )]
    Foreign([u8; 32]),
    /// They cannot be read or written.
    #[error(transparent)]
    Meta(#[from] MetaError),
}

impl Meta {
    /// Refuses metadata in PostgreSQL that belong to a gateway with another node key; those of nobody are this one's from now
    /// on.
    pub async fn claim(&self, node: [u8; 32]) -> Result<(), ClaimError> {
        if matches!(self.store, Store::Redb(_)) {
            return Ok(());
        }
        let owner = self.write(move |transaction| {
            use super::ReadableTable;
            let mut settings = transaction.open_table(SETTINGS)?;
            let owner = settings.get(NODE)?.map(|row| <[u8; 32]>::try_from(row.value()));
            match owner {
                Some(owner) => owner.map_err(|_| MetaError::Row("settings")),
                None => {
                    settings.insert(NODE, node.as_slice())?;
                    Ok(node)
                }
            }
        });
        match owner.await? {
            owner if owner == node => Ok(()),
            owner => Err(ClaimError::Foreign(owner)),
        }
    }

    /// Enters which chain the gateway is on.
    pub async fn keep_genesis(&self, genesis: GenesisHash) -> Result<(), MetaError> {
        if self.genesis().await? == Some(genesis) {
            return Ok(());
        }
        self.write(move |transaction| {
            transaction.open_table(SETTINGS)?.insert(GENESIS, genesis.as_slice())?;
            Ok(())
        })
        .await
    }

    /// The chain that it was on last.
    pub async fn genesis(&self) -> Result<Option<GenesisHash>, MetaError> {
        self.read(|transaction| {
            let settings = transaction.open_table(SETTINGS)?;
            let kept = settings.get(GENESIS)?.map(|row| GenesisHash::try_from(row.value()));
            kept.transpose().map_err(|_| MetaError::Row("settings"))
        })
        .await
    }
}
