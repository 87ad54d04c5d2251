//! The active segment file: appending, syncing, punching holes. The one place where a full disk shows.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
};

use rustix::fs::{FallocateFlags, fallocate};

use super::{
    layout::{Layout, sync_parent},
    record::{SEGMENT_HEADER_BYTES, StoreKey, encode_segment},
};

/// A disk that may be told to be full.
#[derive(Clone, Default)]
pub(crate) struct Disk {
    /// Bytes that still fit; tests only.
    #[cfg(test)]
    pub(crate) free_bytes: Option<std::sync::Arc<std::sync::atomic::AtomicU64>>,
    /// Whether syncing fails; tests only.
    #[cfg(test)]
    pub(crate) broken: Option<std::sync::Arc<std::sync::atomic::AtomicBool>>,
}

impl Disk {
    fn take(&self, _bytes: usize) -> io::Result<()> {
        #[cfg(test)]
        if let Some(free) = &self.free_bytes {
            use std::sync::atomic::Ordering;
            let bytes = _bytes as u64;
            free.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |free| free.checked_sub(bytes))
                .map_err(|_| io::Error::from(io::ErrorKind::StorageFull))?;
        }
        Ok(())
    }

    fn check_sync(&self) -> io::Result<()> {
        #[cfg(test)]
        if self.broken.as_ref().is_some_and(|broken| broken.load(std::sync::atomic::Ordering::SeqCst)) {
            return Err(io::Error::other("broken disk"));
        }
        Ok(())
    }

    /// Creates a segment, durably named, with its header; nothing is left of it where that fails.
    pub(crate) fn create_segment(&self, layout: &Layout, number: u32, key: &StoreKey) -> io::Result<File> {
        let path = layout.segment(number);
        let made = self.take(SEGMENT_HEADER_BYTES as usize).and_then(|()| {
            let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
            file.write_all_at(&encode_segment(number, key), 0)?;
            file.sync_all()?;
            sync_parent(&path)?;
            Ok(file)
        });
        if made.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::AlreadyExists) {
            let _ = std::fs::remove_file(&path);
        }
        made
    }

    /// Writes parts one behind the other; where that fails the file ends at `offset` as before.
    pub(crate) fn append(&self, file: &File, offset: u64, parts: &[&[u8]]) -> io::Result<()> {
        let mut at = offset;
        for part in parts {
            if let Err(error) = self.take(part.len()).and_then(|()| file.write_all_at(part, at)) {
                let _ = file.set_len(offset);
                return Err(error);
            }
            at += part.len() as u64;
        }
        Ok(())
    }

    /// Everything written so far survives a power cut when this returns.
    pub(crate) fn sync(&self, file: &File) -> io::Result<()> {
        self.check_sync()?;
        file.sync_data()
    }

    /// Gives the blocks of a dead shard back. Best effort: not every file system can.
    pub(crate) fn punch(&self, file: &File, offset: u64, length: u64) {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        if length > 0
            && let Err(error) = fallocate(file, flags, offset, length)
        {
            tracing::debug!(%error, "file system keeps the blocks of a deleted shard");
        }
    }
}
