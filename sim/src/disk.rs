//! The files of the roles that keep theirs in redb, on the same simulated disk as the shards of miners.

use std::{fmt, io, sync::Arc};

use arion_miner::store::{
    disk::{Disk, DiskFile},
    memory::{Chance, Faults, MemoryDisk},
};

const FILE: &str = "redb";

/// A disk over the lives of its host.
pub struct Drive(MemoryDisk);

impl Default for Drive {
    fn default() -> Self {
        Self::empty()
    }
}

impl Drive {
    pub fn empty() -> Self {
        Self(MemoryDisk::default())
    }

    pub fn disk(&self) -> &MemoryDisk {
        &self.0
    }

    /// Bytes of all its files.
    pub fn bytes(&self) -> usize {
        self.0.names().iter().filter_map(|name| self.0.content(name)).map(|content| content.len()).sum()
    }

    /// The host is gone: what it still writes goes nowhere. With the power gone, too, what it has not synced may be lost.
    pub fn crash(&mut self, power: Option<&mut Chance>) {
        let after = match power {
            Some(chance) => self.0.after_power_cut(chance),
            None => self.0.after_kill(),
        };
        let before = std::mem::replace(&mut self.0, after);
        before.set_faults(Faults { dies_at: Some(0), ..Faults::default() });
    }

    /// Its database.
    pub fn database(&self) -> io::Result<RedbFile> {
        let file = match self.0.open(FILE) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let file = self.0.create(FILE)?;
                self.0.sync_names()?;
                file
            }
            file => file?,
        };
        Ok(RedbFile(file))
    }
}

/// A file as redb wants it.
pub struct RedbFile(Arc<dyn DiskFile>);

impl fmt::Debug for RedbFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedbFile")
    }
}

impl redb::StorageBackend for RedbFile {
    fn len(&self) -> io::Result<u64> {
        self.0.length()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_length(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_at(&[data], offset)
    }
}
