//! What is kept while the miner does not run: magic `ARIONORP` 8, version u32 = 1, number u64; entries of shard 32 and age in milliseconds
//! u64; BLAKE3 of everything before. Integers are little-endian.

use std::{fs, io, path::Path, time::Duration};

use arion_types::ShardHash;

use super::suspects::Suspects;
use crate::small_file::{self, Head};

const HEAD: &Head = b"ARIONORP\x01\0\0\0";
const ENTRY_BYTES: usize = 40;

/// What the file says; `None` where there is none, or it is no such file. It is gone, durably, when this returns.
pub(super) fn take(path: &Path) -> io::Result<Option<Suspects>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    fs::remove_file(path)?;
    small_file::sync_directory(path)?;
    let read = read(&bytes);
    if read.is_none() {
        tracing::warn!(path = %path.display(), "the file of shards that nobody wants cannot be read: their time begins anew");
    }
    Ok(read)
}

/// Writes the file, durably.
pub(super) fn write(path: &Path, suspects: &Suspects) -> io::Result<()> {
    small_file::write(path, HEAD, &said(suspects))
}

fn said(suspects: &Suspects) -> Vec<u8> {
    let mut bytes = (suspects.iter().len() as u64).to_le_bytes().to_vec();
    for (shard, age) in suspects.iter() {
        bytes.extend(shard.0);
        bytes.extend(u64::try_from(age.as_millis()).unwrap_or(u64::MAX).to_le_bytes());
    }
    bytes
}

fn read(bytes: &[u8]) -> Option<Suspects> {
    let (number, entries) = small_file::decoded(HEAD, bytes)?.split_first_chunk::<8>()?;
    let entries = entries.chunks_exact(ENTRY_BYTES);
    if !entries.remainder().is_empty() || u64::from_le_bytes(*number) != entries.len() as u64 {
        return None;
    }
    let entry = |bytes: &[u8]| {
        let (shard, age) = bytes.split_first_chunk::<32>()?;
        Some((ShardHash(*shard), Duration::from_millis(u64::from_le_bytes(age.try_into().ok()?))))
    };
    entries.map(entry).collect::<Option<Vec<_>>>().map(Suspects::of)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suspects() -> Suspects {
        Suspects::of([1, 2].map(|n| (ShardHash([n; 32]), Duration::from_millis(u64::from(n) * 1_000))))
    }

    #[test]
    fn it_is_read_once_and_gone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("orphans");
        assert_eq!(take(&path).unwrap(), None);
        write(&path, &suspects()).unwrap();
        assert_eq!(take(&path).unwrap(), Some(suspects()));
        assert!(!path.exists());
        assert_eq!(take(&path).unwrap(), None, "what a crash leaves is nothing");
    }

    #[test]
    fn what_is_not_such_a_file_counts_for_nothing() {
        let good = small_file::encoded(HEAD, &said(&suspects()));
        assert_eq!(good.len(), 12 + 8 + 2 * 40 + 32);
        assert_eq!(read(&good), Some(suspects()));
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert_eq!(read(&bad), None, "byte {at}");
            assert_eq!(read(&good[..at]), None, "{at} bytes");
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("orphans");
        fs::write(&path, b"something else").unwrap();
        assert_eq!(take(&path).unwrap(), None);
        assert!(!path.exists());
    }
}
