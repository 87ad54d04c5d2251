//! The directory of a store: which files there are, who may use it, small files written whole.
//!
//! `STORE` and `STORE.copy` identity and checksum key; `LOCK` held by the process that has the store open; `RESERVE`
//! space for deletions on a full disk; `checkpoint` the index at some position of the log; `scrub` how far the scrub
//! is; `segments/NNNNNNNN.seg` and `segments/NNNNNNNN-MMMMMMMM.seg` the log.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    disk::{Disk, DiskFile, DiskLock},
    record::StoreKey,
};

const STORE_MAGIC: [u8; 8] = *b"ARIONSTO";
const STORE_VERSION: u32 = 4;
const STORE_BYTES: usize = 8 + 4 + 32 + 8;
const IDENTITIES: [&str; 2] = ["STORE", "STORE.copy"];
const RESERVE: &str = "RESERVE";
const RESERVE_PART_BYTES: u64 = 64 << 10;

/// Name of the checkpoint.
pub(super) const CHECKPOINT: &str = "checkpoint";
/// Name of the scrub's state.
pub(super) const SCRUB: &str = "scrub";

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
    #[error("{} holds no shard store: there is neither STORE nor STORE.copy", .0.display())]
    NoStore(PathBuf),
    /// `STORE` is damaged.
    #[error("{} is damaged: restore it from a backup, or move the directory away", .0.display())]
    BadIdentity(PathBuf),
    /// The store was written by a later program, which may keep what this one would cut off.
    #[error("{} is of version {found}, this program reads up to {STORE_VERSION}: use a newer one", path.display())]
    LaterVersion {
        /// The identity file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
}

/// Names the path in an IO error.
pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> LayoutError + '_ {
    |error| LayoutError::Io { path: path.to_owned(), error }
}

/// A segment file: the numbers of the segments that are in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Span {
    pub first: u32,
    pub last: u32,
}

impl Span {
    pub(super) fn single(number: u32) -> Self {
        Self { first: number, last: number }
    }

    pub(super) fn contains(&self, number: u32) -> bool {
        (self.first..=self.last).contains(&number)
    }

    pub(super) fn name(&self) -> String {
        match self.first == self.last {
            true => format!("segments/{:08}.seg", self.first),
            false => format!("segments/{:08}-{:08}.seg", self.first, self.last),
        }
    }

    fn parse(name: &str) -> Option<Self> {
        let numbers = name.strip_suffix(".seg")?;
        let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
        let span = Self { first: first.parse().ok()?, last: last.parse().ok()? };
        (span.first <= span.last && span.name().ends_with(name)).then_some(span)
    }
}

/// The files of `segments`.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(super) struct Segments {
    /// The log, in order.
    pub spans: Vec<Span>,
    /// Names of files that a compaction left behind.
    pub leftovers: Vec<String>,
}

/// The files of a store.
#[derive(Clone)]
pub(super) struct Layout {
    pub(super) disk: Arc<dyn Disk>,
}

impl Layout {
    pub(crate) fn new(disk: Arc<dyn Disk>) -> Self {
        Self { disk }
    }

    /// An IO error with the path of `name`.
    pub(super) fn error(&self, name: &str, error: io::Error) -> LayoutError {
        LayoutError::Io { path: self.disk.path(name), error }
    }

    /// Takes the store for this process until the result is dropped.
    pub(crate) fn lock(&self) -> Result<DiskLock, LayoutError> {
        let lock = self.disk.lock().map_err(|error| self.error("LOCK", error))?;
        lock.ok_or_else(|| LayoutError::Locked(self.disk.path("")))
    }

    /// The whole file, if it exists and is not longer than `length_max`.
    pub(super) fn read_small(&self, name: &str, length_max: u64) -> io::Result<Option<Vec<u8>>> {
        let file = match self.disk.open(name) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        match file.length()? {
            length if length > length_max => Ok(Some(Vec::new())),
            length => file.read(0, length as usize).map(Some),
        }
    }

    /// The checksum key of an existing store.
    pub(crate) fn read_key(&self) -> Result<StoreKey, LayoutError> {
        let mut found = false;
        for name in IDENTITIES {
            match self.read_small(name, STORE_BYTES as u64) {
                Ok(None) => {}
                Ok(Some(bytes)) => match decode_identity(&bytes) {
                    Some((key, 1..=STORE_VERSION)) => return Ok(key),
                    Some((_, found)) => {
                        return Err(LayoutError::LaterVersion { path: self.disk.path(name), found });
                    }
                    None => found = true,
                },
                // The other copy may do.
                Err(error) if name == IDENTITIES[1] => return Err(self.error(name, error)),
                Err(error) => tracing::error!(%error, name, "identity of the store cannot be read"),
            }
        }
        match found {
            true => Err(LayoutError::BadIdentity(self.disk.path(IDENTITIES[0]))),
            false => Err(LayoutError::NoStore(self.disk.path(""))),
        }
    }

    /// The checksum key; made for a directory without segments. Damaged, missing and old copies are written anew. The
    /// caller holds the lock.
    pub(crate) fn read_or_make_key(&self) -> Result<StoreKey, LayoutError> {
        let key = match self.read_key() {
            // Nothing was ever stored: a first start was interrupted.
            Err(LayoutError::NoStore(_) | LayoutError::BadIdentity(_))
                if self.segments()?.spans.is_empty() =>
            {
                StoreKey(rand::random())
            }
            other => other?,
        };
        let bytes = encode_identity(&key);
        for name in IDENTITIES {
            let stored = self.read_small(name, STORE_BYTES as u64);
            if !stored.is_ok_and(|stored| stored.as_ref() == Some(&bytes)) {
                self.replace(name, &bytes).map_err(|error| self.error(name, error))?;
            }
        }
        Ok(key)
    }

    /// Replaces a small file: after a crash it is the old one or the new one.
    pub(super) fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let new = format!("{name}.new");
        let file = self.disk.create(&new)?;
        let written = file.write_at(&[bytes], 0).and_then(|()| file.sync());
        if let Err(error) = written {
            let _ = self.disk.remove(&new);
            return Err(error);
        }
        self.disk.rename(&new, name)?;
        self.disk.sync_names()
    }

    /// The segment files there are.
    pub(crate) fn segments(&self) -> Result<Segments, LayoutError> {
        let names = self.disk.segments().map_err(|error| self.error("segments", error))?;
        let mut spans: Vec<Span> = names.iter().filter_map(|name| Span::parse(name)).collect();
        // Wide ones first, so that what they cover comes behind them.
        spans.sort_unstable_by_key(|span| (span.first, u32::MAX - span.last));
        let mut segments = Segments::default();
        for span in spans {
            match segments.spans.last() {
                Some(last) if last.last >= span.first => segments.leftovers.push(span.name()),
                _ => segments.spans.push(span),
            }
        }
        let unfinished = names.iter().filter(|name| name.ends_with(".new"));
        segments.leftovers.extend(unfinished.map(|name| format!("segments/{name}")));
        Ok(segments)
    }

    /// Keeps space aside for deletions and the next checkpoint, as much as there is; false where that is less.
    pub(crate) fn hold_reserve(&self, bytes: u64) -> bool {
        let opened = match self.disk.open(RESERVE) {
            Ok(file) => file.length().map(|held| (file, held)),
            Err(_) => self.disk.create(RESERVE).map(|file| (file, 0)),
        };
        let Ok((file, mut held)) = opened else { return false };
        if held >= bytes {
            return true;
        }
        // Written, not only allocated: the blocks must exist.
        let part = vec![0xa5; RESERVE_PART_BYTES as usize];
        while held < bytes && file.write_at(&[&part], held).is_ok() {
            held += RESERVE_PART_BYTES;
        }
        file.sync().is_ok() && held >= bytes
    }

    /// Gives the space aside back to the disk; false where there was none.
    pub(crate) fn release_reserve(&self) -> bool {
        self.disk.remove(RESERVE).is_ok()
    }

    /// Creates a segment, durably named, with its header; nothing is left of it where that fails.
    pub(crate) fn create_segment(&self, number: u32, key: &StoreKey) -> io::Result<Arc<dyn DiskFile>> {
        let name = Span::single(number).name();
        let made = self.disk.create(&name).and_then(|file| {
            file.write_at(&[&super::record::encode_segment(number, 0, key)], 0)?;
            file.sync()?;
            self.disk.sync_names()?;
            Ok(file)
        });
        if made.is_err() {
            let _ = self.disk.remove(&name);
        }
        made
    }
}

fn encode_identity(key: &StoreKey) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(STORE_BYTES);
    bytes.extend_from_slice(&STORE_MAGIC);
    bytes.extend_from_slice(&STORE_VERSION.to_le_bytes());
    bytes.extend_from_slice(&key.0);
    let sum = key.checksum(&bytes);
    bytes.extend_from_slice(&sum);
    bytes
}

/// Key and version of a good identity.
fn decode_identity(bytes: &[u8]) -> Option<(StoreKey, u32)> {
    if bytes.len() != STORE_BYTES || bytes[..8] != STORE_MAGIC {
        return None;
    }
    let version = u32::from_le_bytes(super::record::array(bytes, 8));
    let key = StoreKey(super::record::array(bytes, 12));
    (version > 0 && key.checksum(&bytes[..44]) == bytes[44..]).then_some((key, version))
}
