//! Looking into a store from outside, also while a miner runs on it: a snapshot, nothing is changed.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use arion_types::ShardHash;
use serde::Serialize;

use super::{
    index::{Entry, Index},
    layout::{Layout, LayoutError, at},
    recover::{Mode, Report, recover},
};

/// A snapshot of a store.
pub struct Inspector {
    root: PathBuf,
    layout: Layout,
    index: Index,
    report: Report,
}

/// Where the bytes of a shard lie.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Located {
    /// Address of the shard, hex.
    pub shard: String,
    /// The segment file.
    pub path: PathBuf,
    /// Offset of the shard's first byte in it.
    pub offset: u64,
    /// Length of the shard.
    pub length: u32,
}

/// What a check of all shards found.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct CheckReport {
    /// Shards read.
    pub shards: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Addresses of shards that no longer match, hex.
    pub damaged: Vec<String>,
    /// Bytes of the log that are no records any more.
    pub skipped_bytes: u64,
}

impl Inspector {
    /// Reads the index of the store in `root`.
    pub fn open(root: &Path) -> Result<Self, LayoutError> {
        let layout = Layout::new(root);
        let key = layout.read_key()?;
        let recovered = recover(&layout, &key, Mode::ReadOnly)?;
        Ok(Self { root: root.to_owned(), layout, index: recovered.index, report: recovered.report })
    }

    /// Shards in order of address.
    pub fn shards(&self) -> impl Iterator<Item = (&ShardHash, &Entry)> {
        self.index.after(None)
    }

    /// Number of shards.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether nothing is stored.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Bytes that live shards take, record headers included.
    pub fn used_bytes(&self) -> u64 {
        self.index.used_bytes()
    }

    /// Number of segment files and the sum of their lengths.
    pub fn segments(&self) -> Result<(usize, u64), LayoutError> {
        let numbers = self.layout.segments()?;
        let length =
            |number: &u32| std::fs::metadata(self.layout.segment(*number)).map_or(0, |meta| meta.len());
        Ok((numbers.len(), numbers.iter().map(length).sum()))
    }

    /// Where a shard lies.
    pub fn locate(&self, shard: &ShardHash) -> Option<Located> {
        self.index.get(shard).map(|entry| Located {
            shard: shard.to_string(),
            path: self.layout.segment(entry.segment),
            offset: entry.body_offset(),
            length: entry.placement.size,
        })
    }

    /// Reads every shard and compares it with its address. A shard that a running miner deleted or rewrote
    /// meanwhile does not count as damaged.
    pub fn check(&self) -> Result<CheckReport, LayoutError> {
        let (mut report, mut damaged) = self.read_all()?;
        if !damaged.is_empty() {
            let now = Self::open(&self.root)?;
            damaged.retain(|shard| now.index.get(shard) == self.index.get(shard));
        }
        report.damaged = damaged.iter().map(ShardHash::to_string).collect();
        Ok(report)
    }

    fn read_all(&self) -> Result<(CheckReport, Vec<ShardHash>), LayoutError> {
        let mut report = CheckReport { skipped_bytes: self.report.skipped_bytes, ..CheckReport::default() };
        let mut damaged = Vec::new();
        let mut open: Option<(u32, File)> = None;
        let mut by_place: Vec<_> = self.shards().collect();
        by_place.sort_unstable_by_key(|(_, entry)| (entry.segment, entry.offset));
        for (shard, entry) in by_place {
            let file = match &open {
                Some((number, file)) if *number == entry.segment => file,
                _ => {
                    let path = self.layout.segment(entry.segment);
                    &open.insert((entry.segment, File::open(&path).map_err(at(&path))?)).1
                }
            };
            let mut body = vec![0; entry.placement.size as usize];
            let whole = file.read_exact_at(&mut body, entry.body_offset()).is_ok();
            if !whole || *blake3::hash(&body).as_bytes() != shard.0 {
                damaged.push(*shard);
            }
            report.shards += 1;
            report.bytes += body.len() as u64;
        }
        Ok((report, damaged))
    }
}
