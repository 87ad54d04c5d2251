//! Verdicts against miners, kept as files with what they rest on, for whoever wants to check them.
//!
//! A file is the SCALE encoding of [`Evidence`]. Its name starts with the time of the verdict, so that names sort by
//! age.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use arion_types::{AttestationRecord, ShardHash};
use codec::{Decode, Encode};

/// Files kept; the oldest go first. With answers of at most some 80 KiB each that is 80 MiB.
const FILES_MAX: usize = 1_000;

/// Why a miner was found to have failed. The challenge follows from the record.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Evidence {
    /// First version.
    #[codec(index = 1)]
    V1 {
        /// The signed verdict.
        record: AttestationRecord,
        /// Node id of the miner.
        miner: [u8; 32],
        /// Length of the shard in the miner's receipt.
        size: u32,
        /// Number of the error with which the miner refused (docs/spec/wire.md), if it did.
        refusal: Option<u8>,
        /// The answer as it came.
        answer: Vec<u8>,
    },
}

impl Evidence {
    fn record(&self) -> &AttestationRecord {
        let Self::V1 { record, .. } = self;
        record
    }
}

/// Writes the evidence for a verdict, durably. Returns the file.
pub fn keep(directory: &Path, evidence: &Evidence) -> io::Result<PathBuf> {
    fs::create_dir_all(directory)?;
    let record = evidence.record();
    let shard = ShardHash(record.shard_hash).to_string();
    let name = format!("{:013}-miner-{}-{}.scale", record.timestamp, record.miner_uid, &shard[..16]);
    let path = directory.join(name);
    let partial = path.with_extension("partial");
    fs::write(&partial, evidence.encode())?;
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
    for file in files.into_iter().take(surplus) {
        match fs::remove_file(file) {
            // Another verdict has removed it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::record;
    use arion_types::{AttestationResult, NodeId};
    use codec::DecodeAll;

    #[test]
    fn evidence_reads_back_and_is_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let evidence = |timestamp| Evidence::V1 {
            record: AttestationRecord {
                shard_hash: [0xab; 32],
                miner_uid: 7,
                result: AttestationResult::InvalidProof,
                timestamp,
                ..record(NodeId([0; 32]), 1)
            },
            miner: [3; 32],
            size: 64,
            refusal: None,
            answer: b"lies".to_vec(),
        };
        let path = keep(directory.path(), &evidence(5)).unwrap();
        let bytes = fs::read(&path).unwrap();
        assert_eq!(Evidence::decode_all(&mut bytes.as_slice()).unwrap(), evidence(5));
        for n in 0..FILES_MAX as u64 {
            fs::write(directory.path().join(format!("{:013}-x.scale", 1_000 + n)), b"").unwrap();
        }
        keep(directory.path(), &evidence(5_000)).unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), FILES_MAX);
        assert!(!path.exists());
    }
}
