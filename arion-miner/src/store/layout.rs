//! The directory of a store: which files there are, who may use it, small files written whole.
//!
//! `STORE` identity and checksum key; `LOCK` held by the process that has the store open; `RESERVE` space for
//! deletions on a full disk; `checkpoint` the index at some position of the log; `segments/NNNNNNNN.seg` the log.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use super::record::StoreKey;

const STORE_MAGIC: [u8; 8] = *b"ARIONSTO";
const STORE_VERSION: u32 = 1;
const STORE_BYTES: usize = 8 + 4 + 32 + 8;
/// Room for tombstones and a checkpoint's metadata when the disk is full.
const RESERVE_BYTES: usize = 4 << 20;

/// Why a directory cannot be used as a store.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// The system refused.
    #[error("{}: {error}", path.display())]
    Io {
        /// What was touched.
        path: PathBuf,
        /// Why not.
        #[source]
        error: io::Error,
    },
    /// Another process has the store open.
    #[error("store {} is open in another process: stop it first, or use another data directory", .0.display())]
    Locked(PathBuf),
    /// There is no store.
    #[error("{} holds no shard store", .0.display())]
    NoStore(PathBuf),
    /// `STORE` is damaged or of another version.
    #[error("{} is not an identity file of this version: restore it, or move the directory away", .0.display())]
    BadIdentity(PathBuf),
}

/// Names the path in an IO error.
pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> LayoutError + '_ {
    |error| LayoutError::Io { path: path.to_owned(), error }
}

/// Paths of a store.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// File of a segment.
    pub(super) fn segment(&self, number: u32) -> PathBuf {
        self.segments_dir().join(format!("{number:08}.seg"))
    }

    pub(crate) fn segments_dir(&self) -> PathBuf {
        self.root.join("segments")
    }

    pub(crate) fn checkpoint(&self) -> PathBuf {
        self.root.join("checkpoint")
    }

    fn identity(&self) -> PathBuf {
        self.root.join("STORE")
    }

    fn reserve(&self) -> PathBuf {
        self.root.join("RESERVE")
    }

    /// Takes the store for this process until the file is closed.
    pub(crate) fn lock(&self) -> Result<File, LayoutError> {
        fs::create_dir_all(self.segments_dir()).map_err(at(&self.segments_dir()))?;
        let path = self.root.join("LOCK");
        let file =
            OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(at(&path))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(fs::TryLockError::WouldBlock) => Err(LayoutError::Locked(self.root.clone())),
            Err(fs::TryLockError::Error(error)) => Err(LayoutError::Io { path, error }),
        }
    }

    /// The checksum key of an existing store.
    pub(crate) fn read_key(&self) -> Result<StoreKey, LayoutError> {
        let path = self.identity();
        let mut bytes = Vec::new();
        match File::open(&path) {
            Ok(file) => file.take(STORE_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(at(&path))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(LayoutError::NoStore(self.root.clone()));
            }
            Err(error) => return Err(LayoutError::Io { path, error }),
        };
        let head = bytes.len() == STORE_BYTES && bytes[..8] == STORE_MAGIC;
        if !head || bytes[8..12] != STORE_VERSION.to_le_bytes() {
            return Err(LayoutError::BadIdentity(path));
        }
        let mut key = StoreKey([0; 32]);
        key.0.copy_from_slice(&bytes[12..44]);
        if key.checksum(&bytes[..44]) != bytes[44..] {
            return Err(LayoutError::BadIdentity(path));
        }
        Ok(key)
    }

    /// The checksum key; made for a directory without segments. The caller holds the lock.
    pub(crate) fn read_or_make_key(&self) -> Result<StoreKey, LayoutError> {
        match self.read_key() {
            Err(LayoutError::NoStore(_)) if self.segments()?.is_empty() => {
                let key = StoreKey(rand::random());
                let mut bytes = Vec::with_capacity(STORE_BYTES);
                bytes.extend_from_slice(&STORE_MAGIC);
                bytes.extend_from_slice(&STORE_VERSION.to_le_bytes());
                bytes.extend_from_slice(&key.0);
                let sum = key.checksum(&bytes);
                bytes.extend_from_slice(&sum);
                replace(&self.identity(), &bytes).map_err(at(&self.identity()))?;
                Ok(key)
            }
            other => other,
        }
    }

    /// Numbers of the segments there are, in order.
    pub(crate) fn segments(&self) -> Result<Vec<u32>, LayoutError> {
        let dir = self.segments_dir();
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&dir).map_err(at(&dir))? {
            let name = entry.map_err(at(&dir))?.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(".seg"));
            numbers.extend(number.and_then(|number| number.parse::<u32>().ok()));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Keeps space aside for deletions; false where there is none.
    pub(crate) fn hold_reserve(&self) -> bool {
        let path = self.reserve();
        if fs::metadata(&path).is_ok_and(|meta| meta.len() >= RESERVE_BYTES as u64) {
            return true;
        }
        // Written, not only allocated: the blocks must exist.
        let written = File::create(&path)
            .and_then(|mut file| file.write_all(&vec![0xa5; RESERVE_BYTES]).and_then(|()| file.sync_all()));
        if written.is_err() {
            let _ = fs::remove_file(&path);
        }
        written.is_ok()
    }

    /// Gives the space aside back to the disk; false where there was none.
    pub(crate) fn release_reserve(&self) -> bool {
        fs::remove_file(self.reserve()).is_ok()
    }
}

/// Replaces a small file: after a crash it is the old one or the new one.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    sync_parent(path)
}

/// Makes the name of a file durable.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(dir) => File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}
