//! What bundles are made of, on disk until the epoch is over: answers of miners, and copies of what the chain will prune.
//!
//! | table | key | value |
//! |---|---|---|
//! | `exhibits` | block of the attestation (u64), id (32 bytes) | SCALE `Exhibit` |
//! | `copies` | bucket (u32) | block at which the chain was read (u32), SCALE list of `AttestationRecord` |
//! | `numbers` | name | number (u64) |
//!
//! # Invariants
//! - Every change is one transaction, durable when the function returns.
//! - Exhibits take at most as many bytes as was said, passes at most seven eighths of them; what is refused is counted.

use std::path::{Path, PathBuf};

use arion_types::{AttestationRecord, AttestationResult, Exhibit};
use codec::{DecodeAll, Encode};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use crate::queue::AttestationId;

const EXHIBITS: TableDefinition<(u64, [u8; 32]), &[u8]> = TableDefinition::new("exhibits");
const COPIES: TableDefinition<u32, (u32, &[u8])> = TableDefinition::new("copies");
const NUMBERS: TableDefinition<&str, u64> = TableDefinition::new("numbers");

/// Bytes of all exhibits.
const BYTES: &str = "exhibit_bytes";
/// Exhibits that were refused, ever.
const DROPPED: &str = "exhibits_dropped";
/// Epochs with blocks before this one are over.
const FLOOR: &str = "floor";

/// Pages of the database kept in memory, in bytes.
const CACHE_BYTES: usize = 8 << 20;

/// Why the archive cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It cannot be opened.
    #[error("cannot open the archive {}: {reason}; is another arion-submitter using it?", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: Box<redb::Error>,
    },
    /// Reading or writing failed.
    #[error(
        "the archive cannot be read or written: {0}; make room on the disk, or repair it, and start again"
    )]
    Storage(Box<redb::Error>),
    /// An entry does not decode.
    #[error("an entry of the archive does not decode; remove {file} from the data directory: bundles will lack answers of miners", file = FILE)]
    Corrupt,
}

/// Name of the file in the data directory.
const FILE: &str = "archive.redb";

impl<E: Into<redb::Error>> From<E> for ArchiveError {
    fn from(error: E) -> Self {
        Self::Storage(Box::new(error.into()))
    }
}

/// An exhibit to be kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Offered {
    /// Identity of the attestation.
    pub id: AttestationId,
    /// Block of its challenge.
    pub block: u64,
    /// Its result.
    pub result: AttestationResult,
    /// What it rests on.
    pub exhibit: Exhibit,
}

/// What became of exhibits that were offered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Taken {
    /// They are on disk, some of them since before.
    pub kept: u32,
    /// There was no room, or their epoch is over.
    pub dropped: u32,
}

/// How full the archive is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Fill {
    /// Bytes of all exhibits.
    pub bytes: u64,
    /// Exhibits that were refused, ever.
    pub dropped: u64,
}

/// The archive.
#[derive(Debug)]
pub struct Archive {
    database: Database,
    bytes_max: u64,
}

impl Archive {
    /// Opens or makes the archive in `directory`; exhibits may take `bytes_max`.
    pub fn open(directory: &Path, bytes_max: u64) -> Result<Self, ArchiveError> {
        let path = directory.join(FILE);
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create(&path)
            .map_err(|reason| ArchiveError::Open { path, reason: Box::new(reason.into()) })?;
        Self::on(database, bytes_max)
    }

    fn on(database: Database, bytes_max: u64) -> Result<Self, ArchiveError> {
        let transaction = database.begin_write()?;
        transaction.open_table(EXHIBITS)?;
        transaction.open_table(COPIES)?;
        transaction.open_table(NUMBERS)?;
        transaction.commit()?;
        Ok(Self { database, bytes_max })
    }

    /// Whether it can still be used: after a failed read or write it refuses everything until it is opened again.
    pub fn check(&self) -> Result<(), ArchiveError> {
        Ok(self.database.begin_write()?.abort()?)
    }

    /// Keeps exhibits, as far as there is room.
    pub fn keep(&self, offered: &[Offered]) -> Result<Taken, ArchiveError> {
        let mut taken = Taken::default();
        let transaction = self.database.begin_write()?;
        {
            let mut exhibits = transaction.open_table(EXHIBITS)?;
            let mut numbers = transaction.open_table(NUMBERS)?;
            let read = |numbers: &redb::Table<'_, &'static str, u64>, name| -> Result<u64, ArchiveError> {
                Ok(numbers.get(name)?.map_or(0, |number| number.value()))
            };
            let (mut bytes, floor) = (read(&numbers, BYTES)?, read(&numbers, FLOOR)?);
            for Offered { id, block, result, exhibit } in offered {
                let key = (*block, *id);
                if exhibits.get(key)?.is_some() {
                    taken.kept += 1;
                    continue;
                }
                let encoded = exhibit.encode();
                let room = match result {
                    AttestationResult::Passed => self.bytes_max / 8 * 7,
                    _ => self.bytes_max,
                };
                let after = bytes.saturating_add(encoded.len() as u64);
                if *block < floor || after > room {
                    taken.dropped += 1;
                    continue;
                }
                exhibits.insert(key, encoded.as_slice())?;
                bytes = after;
                taken.kept += 1;
            }
            let dropped = read(&numbers, DROPPED)?.saturating_add(u64::from(taken.dropped));
            numbers.insert(BYTES, bytes)?;
            numbers.insert(DROPPED, dropped)?;
        }
        transaction.commit()?;
        Ok(taken)
    }

    /// What an attestation rests on, as far as it was kept.
    pub fn exhibit(&self, block: u64, id: &AttestationId) -> Result<Exhibit, ArchiveError> {
        let table = self.database.begin_read()?.open_table(EXHIBITS)?;
        match table.get((block, *id))? {
            Some(bytes) => Exhibit::decode_all(&mut bytes.value()).map_err(|_| ArchiveError::Corrupt),
            None => Ok(Exhibit::Absent),
        }
    }

    /// How full it is.
    pub fn fill(&self) -> Result<Fill, ArchiveError> {
        let numbers = self.database.begin_read()?.open_table(NUMBERS)?;
        let read =
            |name| -> Result<u64, ArchiveError> { Ok(numbers.get(name)?.map_or(0, |number| number.value())) };
        Ok(Fill { bytes: read(BYTES)?, dropped: read(DROPPED)? })
    }

    /// Copies what the chain had in a bucket at a block.
    pub fn copy(&self, bucket: u32, read_at: u32, records: &[AttestationRecord]) -> Result<(), ArchiveError> {
        let transaction = self.database.begin_write()?;
        transaction.open_table(COPIES)?.insert(bucket, (read_at, records.encode().as_slice()))?;
        Ok(transaction.commit()?)
    }

    /// The block at which the copy of a bucket was made.
    pub fn copied_at(&self, bucket: u32) -> Result<Option<u32>, ArchiveError> {
        let table = self.database.begin_read()?.open_table(COPIES)?;
        Ok(table.get(bucket)?.map(|copy| copy.value().0))
    }

    /// The copy of a bucket.
    pub fn copied(&self, bucket: u32) -> Result<Option<Vec<AttestationRecord>>, ArchiveError> {
        let table = self.database.begin_read()?.open_table(COPIES)?;
        let copy = table.get(bucket)?;
        let decode = |bytes: &[u8]| Vec::decode_all(&mut &bytes[..]).map_err(|_| ArchiveError::Corrupt);
        copy.map(|copy| decode(copy.value().1)).transpose()
    }

    /// Epochs with blocks before `block` are over: what was kept for them goes, and more is not taken.
    pub fn forget_before(&self, block: u32, bucket_blocks: u32) -> Result<(), ArchiveError> {
        let first = u64::from(block);
        {
            let numbers = self.database.begin_read()?.open_table(NUMBERS)?;
            if numbers.get(FLOOR)?.is_some_and(|floor| floor.value() >= first) {
                return Ok(());
            }
        }
        let transaction = self.database.begin_write()?;
        {
            let mut freed = 0u64;
            transaction.open_table(EXHIBITS)?.retain_in(..(first, [0; 32]), |_, exhibit| {
                freed = freed.saturating_add(exhibit.len() as u64);
                false
            })?;
            // The last bucket of an epoch has blocks of the next one.
            let bucket = block / bucket_blocks.max(1);
            transaction.open_table(COPIES)?.retain_in(..bucket, |_, _| false)?;
            let mut numbers = transaction.open_table(NUMBERS)?;
            let bytes = numbers.get(BYTES)?.map_or(0, |number| number.value());
            numbers.insert(BYTES, bytes.saturating_sub(freed))?;
            numbers.insert(FLOOR, first)?;
        }
        Ok(transaction.commit()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::tests::record;

    fn offered(n: u8, block: u64, result: AttestationResult, length: usize) -> Offered {
        let exhibit = Exhibit::Answer { size: 9, bytes: vec![n; length] };
        Offered { id: [n; 32], block, result, exhibit }
    }

    #[test]
    fn what_is_kept_survives_reopening_until_its_epoch_is_over() {
        let directory = tempfile::tempdir().unwrap();
        let passes = [1, 2, 3].map(|n| offered(n, u64::from(n) * 100, AttestationResult::Passed, 50));
        {
            let archive = Archive::open(directory.path(), 10_000).unwrap();
            assert_eq!(archive.keep(&passes).unwrap(), Taken { kept: 3, dropped: 0 });
            assert_eq!(archive.keep(&passes[..1]).unwrap(), Taken { kept: 1, dropped: 0 });
            archive.copy(1, 130, &[record(1, 110)]).unwrap();
            archive.copy(2, 230, &[]).unwrap();
        }
        let archive = Archive::open(directory.path(), 10_000).unwrap();
        let bytes = 3 * passes[0].exhibit.encoded_size() as u64;
        assert_eq!(archive.fill().unwrap(), Fill { bytes, dropped: 0 });
        assert_eq!(archive.exhibit(200, &[2; 32]).unwrap(), passes[1].exhibit);
        assert_eq!(archive.exhibit(201, &[2; 32]).unwrap(), Exhibit::Absent);
        assert_eq!((archive.copied_at(1).unwrap(), archive.copied_at(3).unwrap()), (Some(130), None));
        assert_eq!(archive.copied(1).unwrap(), Some(vec![record(1, 110)]));
        assert_eq!(archive.copied(2).unwrap(), Some(vec![]));

        archive.forget_before(250, 100).unwrap();
        assert_eq!(archive.exhibit(200, &[2; 32]).unwrap(), Exhibit::Absent);
        assert_eq!(archive.exhibit(300, &[3; 32]).unwrap(), passes[2].exhibit);
        assert_eq!((archive.copied_at(1).unwrap(), archive.copied_at(2).unwrap()), (None, Some(230)));
        assert_eq!(archive.fill().unwrap().bytes, bytes / 3);
        // What comes too late is counted.
        assert_eq!(archive.keep(&passes[1..]).unwrap(), Taken { kept: 1, dropped: 1 });
        archive.forget_before(100, 100).unwrap();
        assert_eq!(archive.fill().unwrap(), Fill { bytes: bytes / 3, dropped: 1 });
    }

    #[test]
    fn room_is_bounded_and_the_last_of_it_is_for_findings() {
        let directory = tempfile::tempdir().unwrap();
        let archive = Archive::open(directory.path(), 1_000).unwrap();
        let many: Vec<_> = (0..20).map(|n| offered(n, 1, AttestationResult::Passed, 93)).collect();
        let size = many[0].exhibit.encoded_size() as u64;
        assert_eq!(archive.keep(&many).unwrap(), Taken { kept: 8, dropped: 12 });
        let finding = offered(30, 1, AttestationResult::InvalidProof, 93);
        assert_eq!(archive.keep(&[finding]).unwrap(), Taken { kept: 1, dropped: 0 });
        assert_eq!(archive.fill().unwrap(), Fill { bytes: 9 * size, dropped: 12 });
        assert!(9 * size <= 1_000);
    }

    #[test]
    fn a_full_disk_keeps_nothing_and_is_noticed() {
        let disk = arion_stranger::SmallDisk::default();
        let database = Database::builder().create_with_backend(disk.clone()).unwrap();
        let archive = Archive::on(database, 1_000).unwrap();
        archive.check().unwrap();
        disk.fill();
        assert!(archive.keep(&[offered(1, 1, AttestationResult::Passed, 10)]).is_err());
        disk.clear();
        let said = archive.check().unwrap_err().to_string();
        assert!(said.contains("make room"), "{said}");
    }
}
