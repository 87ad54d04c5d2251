//! Answers that prove nothing, kept as files for whoever wants to check the verdict.
//!
//! A file is the SCALE encoding of ([`AttestationRecord`], shard size (u32), answer (bytes)). Its name starts with
//! the time of the verdict, so that names sort by age.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use arion_types::{AttestationRecord, ShardHash};
use codec::Encode;

/// Files kept; the oldest go first.
const FILES_MAX: usize = 1_000;

/// Writes the evidence for a verdict, durably. Returns the file.
pub fn keep(directory: &Path, record: &AttestationRecord, size: u32, answer: &[u8]) -> io::Result<PathBuf> {
    fs::create_dir_all(directory)?;
    let shard = ShardHash(record.shard_hash).to_string();
    let name = format!("{:013}-miner-{}-{}.scale", record.timestamp, record.miner_uid, &shard[..16]);
    let path = directory.join(name);
    let partial = path.with_extension("partial");
    fs::write(&partial, (record, size, answer).encode())?;
    fs::File::open(&partial)?.sync_all()?;
    fs::rename(&partial, &path)?;
    fs::File::open(directory)?.sync_all()?;
    forget_oldest(directory)?;
    Ok(path)
}

fn forget_oldest(directory: &Path) -> io::Result<()> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        files.push(entry?.path());
    }
    files.sort();
    let surplus = files.len().saturating_sub(FILES_MAX);
    files.into_iter().take(surplus).try_for_each(fs::remove_file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arion_types::AttestationResult;
    use codec::DecodeAll;

    #[test]
    fn evidence_reads_back_and_is_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let record = |timestamp| AttestationRecord {
            shard_hash: [0xab; 32],
            miner_uid: 7,
            result: AttestationResult::InvalidProof,
            challenge_seed: [0; 32],
            block_number: 1,
            timestamp,
            warden_pubkey: [0; 32],
            signature: [0; 64],
            merkle_proof_sig_hash: [0; 32],
            warden_id: Default::default(),
        };
        let path = keep(directory.path(), &record(5), 64, b"lies").unwrap();
        let bytes = fs::read(&path).unwrap();
        let read = <(AttestationRecord, u32, Vec<u8>)>::decode_all(&mut bytes.as_slice()).unwrap();
        assert_eq!(read, (record(5), 64, b"lies".to_vec()));
        for n in 0..FILES_MAX as u64 {
            fs::write(directory.path().join(format!("{:013}-x.scale", 1_000 + n)), b"").unwrap();
        }
        keep(directory.path(), &record(5_000), 64, b"").unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), FILES_MAX);
        assert!(!path.exists());
    }
}
