//! What the store needs of a disk: few operations on named files, so that a simulated disk is small.
//!
//! # Invariants
//! - What was written before [`DiskFile::sync`] returned is there after a power cut; what was named before
//!   [`Disk::sync_names`] returned has that name.
//! - A rename is atomic: after a power cut the name means the old file or the new one.
//!
//! # Not here
//! Which files there are (`layout`).

use std::{
    fs::{self, File, OpenOptions},
    io::{self, IoSliceMut},
    num::NonZeroU64,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use rustix::{
    fs::{Advice, FallocateFlags, fadvise, fallocate, statvfs},
    io::{Errno, ReadWriteFlags},
};

/// Reads and writes of so many bytes leave nothing in the page cache: it would not last there until it is read again, and
/// memory that is used the first time costs more than the disk (docs/adr/0006-shard-store.md). Not below: small shards are
/// what is read most often.
const UNCACHED_BYTES_MIN: usize = 256 << 10;
/// `RWF_DONTCACHE`, Linux 6.14: pages that a call brings into the page cache leave it when it is done. Others refuse it.
const DONT_CACHE: ReadWriteFlags = ReadWriteFlags::from_bits_retain(0x80);

/// A directory of files. Names are relative and have at most one directory, `segments`.
pub trait Disk: Send + Sync {
    /// Names of the files in `segments`, without the directory, in any order.
    fn segments(&self) -> io::Result<Vec<String>>;

    /// Opens an existing file for reading, and for writing where the disk is writable.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Makes an empty file, in place of one of that name.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Gives a file another name, in place of one of that name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes names durable.
    fn sync_names(&self) -> io::Result<()>;

    /// Bytes that still fit.
    fn free_bytes(&self) -> io::Result<u64>;

    /// Makes the directories where they are missing and takes the disk for the holder of the result; `None` if
    /// somebody has it.
    fn lock(&self) -> io::Result<Option<DiskLock>>;

    /// Where a file is, for messages.
    fn path(&self, name: &str) -> PathBuf;
}

/// An open file.
pub trait DiskFile: Send + Sync {
    /// Its length in bytes.
    fn length(&self) -> io::Result<u64>;

    /// Fills `buffer` from `offset`; `UnexpectedEof` if the file is too short.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// `length` bytes from `offset`.
    fn read(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.read_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    /// The same if it takes no waiting for the disk.
    fn read_cached(&self, _offset: u64, _length: usize) -> Option<Vec<u8>> {
        None
    }

    /// Writes the parts one behind the other from `offset`; where that fails some of it may be written.
    fn write_at(&self, parts: &[&[u8]], offset: u64) -> io::Result<()>;

    /// Begins to write a range of what was written to the disk, so that the next [`DiskFile::sync`] finds less to do;
    /// promises nothing.
    fn start_writing(&self, _offset: u64, _length: u64) {}

    /// Says that reads will be of single records in no order: nothing around them is worth reading.
    fn expect_random(&self) {}

    /// Says that a range will be read soon.
    fn prefetch(&self, _offset: u64, _length: u64) {}

    /// Cuts the file or extends it with zeros.
    fn set_length(&self, length: u64) -> io::Result<()>;

    /// Makes content and length durable.
    fn sync(&self) -> io::Result<()>;

    /// Gives the blocks of a range back, which then reads as zeros; an error where the file system cannot.
    fn punch(&self, offset: u64, length: u64) -> io::Result<()>;

    /// Bytes that the file takes on the disk.
    fn allocated(&self) -> io::Result<u64>;

    /// Forgets what memory holds of the file: after a failed sync only the disk knows what is durable.
    fn forget_cached(&self);
}

/// In place of a file that cannot be made: nothing is read and nothing written.
pub(super) struct NoFile;

impl DiskFile for NoFile {
    fn length(&self) -> io::Result<u64> {
        Ok(0)
    }

    fn read_at(&self, _buffer: &mut [u8], _offset: u64) -> io::Result<()> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn write_at(&self, _parts: &[&[u8]], _offset: u64) -> io::Result<()> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn set_length(&self, _length: u64) -> io::Result<()> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn sync(&self) -> io::Result<()> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn punch(&self, _offset: u64, _length: u64) -> io::Result<()> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn allocated(&self) -> io::Result<u64> {
        Ok(0)
    }

    fn forget_cached(&self) {}
}

/// Held as long as the store is open.
pub struct DiskLock(#[expect(dead_code, reason = "held for its drop")] Box<dyn Send + Sync>);

impl DiskLock {
    /// A lock that lasts until `held` is dropped.
    pub fn new(held: impl Send + Sync + 'static) -> Self {
        Self(Box::new(held))
    }
}

/// A directory of a file system.
pub struct DirDisk {
    root: PathBuf,
    writable: bool,
    /// The directories, for syncs that need no descriptor then.
    directories: OnceLock<[File; 2]>,
}

impl DirDisk {
    /// The directory `root`, which [`Disk::lock`] makes if it does not exist.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), writable: true, directories: OnceLock::new() }
    }

    /// The directory `root`, nothing in which is changed.
    pub fn read_only(root: &Path) -> Self {
        Self { root: root.to_owned(), writable: false, directories: OnceLock::new() }
    }
}

impl Disk for DirDisk {
    fn segments(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(self.path("segments"))?
            .map(|entry| Ok(entry?.file_name().into_string().ok()))
            .collect::<io::Result<Vec<_>>>()?;
        Ok(names.into_iter().flatten().collect())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(self.writable).open(self.path(name))?;
        Ok(Arc::new(DirFile::new(file)))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(true).open(self.path(name))?;
        Ok(Arc::new(DirFile::new(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn sync_names(&self) -> io::Result<()> {
        let directories = match self.directories.get() {
            Some(directories) => directories,
            None => {
                let opened = [File::open(self.path("segments"))?, File::open(&self.root)?];
                self.directories.get_or_init(|| opened)
            }
        };
        directories.iter().try_for_each(File::sync_all)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let found = statvfs(&self.root)?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }

    fn lock(&self) -> io::Result<Option<DiskLock>> {
        fs::create_dir_all(self.path("segments"))?;
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(self.path("LOCK"))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(DiskLock::new(file))),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }
}

struct DirFile {
    file: File,
    /// Whether the file system knows [`DONT_CACHE`], as far as was tried.
    uncached: AtomicBool,
}

impl DirFile {
    fn new(file: File) -> Self {
        Self { file, uncached: AtomicBool::new(true) }
    }

    /// What `call` does with flags for so many bytes; again without them where they are refused.
    fn with_flags(
        &self,
        length: usize,
        mut call: impl FnMut(ReadWriteFlags) -> rustix::io::Result<usize>,
    ) -> rustix::io::Result<usize> {
        if length >= UNCACHED_BYTES_MIN && self.uncached.load(Ordering::Relaxed) {
            match call(DONT_CACHE) {
                Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                    self.uncached.store(false, Ordering::Relaxed)
                }
                done => return done,
            }
        }
        call(ReadWriteFlags::empty())
    }
}

impl DiskFile for DirFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn read(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        let read = self.with_flags(length, |flags| {
            rustix::io::preadv2(&self.file, &mut [IoSliceMut::new(&mut bytes)], offset, flags)
        });
        match read {
            Ok(read) if read == length => return Ok(bytes),
            // Rare: a signal, or the end of the file.
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    fn read_cached(&self, offset: u64, length: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; length];
        let into = &mut [IoSliceMut::new(&mut bytes)];
        // File systems that cannot say whether they would wait refuse.
        let read = rustix::io::preadv2(&self.file, into, offset, ReadWriteFlags::NOWAIT).ok()?;
        (read == length).then_some(bytes)
    }

    fn write_at(&self, parts: &[&[u8]], offset: u64) -> io::Result<()> {
        let whole: usize = parts.iter().map(|part| part.len()).sum();
        let slices: Vec<io::IoSlice<'_>> = parts.iter().map(|part| io::IoSlice::new(part)).collect();
        let write = |flags| rustix::io::pwritev2(&self.file, &slices, offset, flags);
        let written = match self.with_flags(whole, write) {
            Ok(written) => written,
            Err(Errno::INTR) => 0,
            Err(error) => return Err(error.into()),
        };
        if written == whole {
            return Ok(());
        }
        // The rest, part by part; an error names what stopped it.
        let mut at = offset;
        for part in parts {
            self.file.write_all_at(part, at)?;
            at += part.len() as u64;
        }
        Ok(())
    }

    fn start_writing(&self, offset: u64, length: u64) {
        start_writing(&self.file, offset, length);
    }

    fn expect_random(&self) {
        let _ = fadvise(&self.file, 0, None, Advice::Random);
    }

    fn prefetch(&self, offset: u64, length: u64) {
        let _ = fadvise(&self.file, offset, NonZeroU64::new(length), Advice::WillNeed);
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn punch(&self, offset: u64, length: u64) -> io::Result<()> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        Ok(fallocate(&self.file, flags, offset, length)?)
    }

    fn allocated(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.blocks() * 512)
    }

    fn forget_cached(&self) {
        let _ = fadvise(&self.file, 0, None, Advice::DontNeed);
    }
}

/// `sync_file_range(2)`, which no safe crate wraps: starts to write the dirty pages of a range and waits for nothing.
#[cfg(target_os = "linux")]
fn start_writing(file: &File, offset: u64, length: u64) {
    use std::os::fd::AsRawFd;
    let (Ok(offset), Ok(length)) = (i64::try_from(offset), i64::try_from(length)) else { return };
    // SAFETY: the descriptor is open as long as `file` is borrowed; no memory is passed.
    #[allow(unsafe_code)]
    unsafe {
        libc::sync_file_range(file.as_raw_fd(), offset, length, libc::SYNC_FILE_RANGE_WRITE);
    }
}

#[cfg(not(target_os = "linux"))]
fn start_writing(_file: &File, _offset: u64, _length: u64) {}
