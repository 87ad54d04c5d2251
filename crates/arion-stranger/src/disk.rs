//! A disk that is full when the test says so.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use redb::{StorageBackend, backends::InMemoryBackend};

/// What a database lies on; clones share it.
#[derive(Clone, Debug, Default)]
pub struct SmallDisk {
    file: Arc<InMemoryBackend>,
    full: Arc<AtomicBool>,
}

impl SmallDisk {
    /// Nothing can be written from here on.
    pub fn fill(&self) {
        self.full.store(true, SeqCst);
    }

    /// There is room again.
    pub fn clear(&self) {
        self.full.store(false, SeqCst);
    }
}

impl StorageBackend for SmallDisk {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        match self.full.load(SeqCst) {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => self.file.write(offset, data),
        }
    }
}
