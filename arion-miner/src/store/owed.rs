//! Deletions that a disk could not be told of, because it is away or read-only: they hold all the same, and are carried
//! out when it is back.
//!
//! One file per disk, in the data directory: records of 48 bytes, each the shard 32, the time of the deletion 8
//! (milliseconds since the Unix epoch, little-endian; 0 takes it back), and the first 8 bytes of BLAKE3 of these 40.
//!
//! # Invariants
//! - Nobody is told that a shard is deleted before all of its disks deleted it, or this is durable.
//! - The file is removed only when its disk has carried out everything in it, durably.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use arion_types::ShardHash;
use tokio::sync::oneshot;

use super::{Change, Clock, Queued, Store, WriteError, record::array};

const RECORD_BYTES: usize = 48;
/// Records that one disk may be owed; further deletions fail until it is back or no longer configured.
pub(super) const RECORDS_MAX: u64 = 1 << 20;
/// Deletions that are handed to a store at once.
const AT_ONCE: usize = 64;

/// What one disk is owed.
pub(super) struct Owed {
    path: PathBuf,
    /// That of the disk's store.
    clock: Clock,
    file: Option<File>,
    records: u64,
    /// Shards, and when they were deleted.
    deletions: HashMap<ShardHash, u64>,
}

impl Owed {
    /// What was written down in `data_dir` for the disk at `root`. What a crash tore off was not acknowledged and is
    /// cut off.
    pub(super) fn open(data_dir: &Path, root: &Path, clock: Clock) -> io::Result<Self> {
        let name = blake3::hash(root.as_os_str().as_encoded_bytes()).to_hex();
        let path = data_dir.join(format!("owed-{}", &name[..16]));
        let mut owed = Self { path, clock, file: None, records: 0, deletions: HashMap::new() };
        let bytes = match fs::read(&owed.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(owed),
            Err(error) => return Err(error),
        };
        for record in bytes.chunks(RECORD_BYTES) {
            let Some((shard, at)) = decode(record) else { break };
            owed.records += 1;
            owed.apply(shard, at);
        }
        let file = OpenOptions::new().write(true).open(&owed.path)?;
        file.set_len(owed.records * RECORD_BYTES as u64)?;
        file.sync_all()?;
        owed.file = Some(OpenOptions::new().append(true).open(&owed.path)?);
        Ok(owed)
    }

    /// Whether a shard is deleted although the disk does not know it.
    pub(super) fn holds(&self, shard: &ShardHash) -> bool {
        self.deletions.contains_key(shard)
    }

    /// Number of shards that are.
    pub(super) fn len(&self) -> usize {
        self.deletions.len()
    }

    /// Writes down, durably, that a shard is deleted.
    pub(super) fn delete(&mut self, shard: ShardHash) -> io::Result<()> {
        if self.holds(&shard) {
            return Ok(());
        }
        let now_ms = (self.clock)();
        self.append(shard, now_ms.max(1))
    }

    /// Takes a deletion back, durably; whether there was one.
    pub(super) fn restore(&mut self, shard: ShardHash) -> io::Result<bool> {
        if !self.holds(&shard) {
            return Ok(false);
        }
        self.append(shard, 0).map(|()| true)
    }

    fn append(&mut self, shard: ShardHash, at: u64) -> io::Result<()> {
        if self.records >= RECORDS_MAX {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let file = OpenOptions::new().create(true).append(true).open(&self.path)?;
                sync_directory(&self.path)?;
                none.insert(file)
            }
        };
        let written = file.write_all(&encode(shard, at)).and_then(|()| file.sync_data());
        if let Err(error) = written {
            // Part of a record: the next one must not stand behind it.
            let _ = file.set_len(self.records * RECORD_BYTES as u64);
            return Err(error);
        }
        self.records += 1;
        self.apply(shard, at);
        Ok(())
    }

    fn apply(&mut self, shard: ShardHash, at: u64) {
        match at {
            0 => self.deletions.remove(&shard),
            at => self.deletions.insert(shard, at),
        };
    }

    /// Has the store of the disk carry out everything, and forgets it; how many shards that were. Blocks.
    pub(super) fn settle(&mut self, store: &Store) -> Result<u64, OwedError> {
        let deletions: Vec<_> = self.deletions.iter().map(|(shard, at)| (*shard, *at)).collect();
        let deleted = store.delete_blocking(&deletions)?;
        if self.file.take().is_some() {
            fs::remove_file(&self.path)?;
            sync_directory(&self.path)?;
        }
        self.records = 0;
        self.deletions.clear();
        Ok(deleted)
    }
}

/// Why a disk that is back could not be told.
#[derive(Debug, thiserror::Error)]
pub(super) enum OwedError {
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

fn sync_directory(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

fn encode(shard: ShardHash, at: u64) -> [u8; RECORD_BYTES] {
    let mut bytes = [0; RECORD_BYTES];
    bytes[..32].copy_from_slice(&shard.0);
    bytes[32..40].copy_from_slice(&at.to_le_bytes());
    let sum = blake3::hash(&bytes[..40]);
    bytes[40..].copy_from_slice(&sum.as_bytes()[..8]);
    bytes
}

fn decode(bytes: &[u8]) -> Option<(ShardHash, u64)> {
    let whole = bytes.len() == RECORD_BYTES && blake3::hash(&bytes[..40]).as_bytes()[..8] == bytes[40..];
    whole.then(|| (ShardHash(array(bytes, 0)), u64::from_le_bytes(array(bytes, 32))))
}

impl Store {
    /// Deletes shards that were stored no later than a time each, durably; how many that were. Blocks.
    fn delete_blocking(&self, deletions: &[(ShardHash, u64)]) -> Result<u64, WriteError> {
        let queue = self.queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let queue = queue.ok_or(WriteError::Closed)?;
        let mut deleted = 0;
        for some in deletions.chunks(AT_ONCE) {
            let mut answers = Vec::with_capacity(AT_ONCE);
            for (shard, deleted_at) in some {
                let stored_at = self.shared.index().get(shard).map(|entry| entry.stored_at);
                if stored_at.is_none_or(|stored_at| stored_at > *deleted_at) {
                    continue;
                }
                let (reply, answer) = oneshot::channel();
                let change =
                    Change::Delete { shard: *shard, owed_since: Some(*deleted_at), only: None, reply };
                queue.send(Queued::alone(change)).map_err(|_| WriteError::Closed)?;
                answers.push(answer);
            }
            for answer in answers {
                deleted += u64::from(answer.blocking_recv().map_err(|_| WriteError::Closed)??);
            }
        }
        Ok(deleted)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn what_is_owed_survives_a_restart_and_a_torn_record_does_not() {
        let dir = tempfile::TempDir::new().unwrap();
        let open_at = |root: &str| Owed::open(dir.path(), Path::new(root), Arc::new(|| 7)).unwrap();
        let open = || open_at("/mnt/disk");
        let shards: Vec<ShardHash> = (0..4).map(|number| ShardHash([number; 32])).collect();
        let mut owed = open();
        assert!(!owed.restore(shards[0]).unwrap());
        for shard in &shards[..3] {
            owed.delete(*shard).unwrap();
            owed.delete(*shard).unwrap();
        }
        assert!(owed.restore(shards[1]).unwrap());
        let path = owed.path.clone();
        assert_eq!(fs::metadata(&path).unwrap().len(), 4 * RECORD_BYTES as u64);
        let whole = fs::read(&path).unwrap();
        for torn in 0..RECORD_BYTES {
            let mut bytes = whole.clone();
            bytes.extend_from_slice(&encode(shards[3], 9)[..torn]);
            fs::write(&path, bytes).unwrap();
            let mut owed = open();
            let held: Vec<bool> = shards.iter().map(|shard| owed.holds(shard)).collect();
            assert_eq!(held, [true, false, true, false], "{torn}");
            owed.delete(shards[3]).unwrap();
            assert!(open().holds(&shards[3]), "{torn}");
        }
        assert_eq!(open_at("/mnt/other").len(), 0);
    }
}
