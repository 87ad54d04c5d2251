//! Looking into a store from outside, also while a miner runs on it: a snapshot, nothing is changed.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use arion_types::ShardHash;
use serde::Serialize;

use super::{
    Change, Parts, Queued, Store, StoreOptions,
    disk::{DirDisk, DiskFile},
    index::{Entry, Index},
    layout::{Layout, LayoutError},
    record::State,
    recover::{Mode, Report, recover},
    scrub::ScrubReport,
};

/// A snapshot of a store.
pub struct Inspector {
    root: PathBuf,
    layout: Layout,
    index: Index,
    report: Report,
    scrub: ScrubReport,
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
    /// Addresses of shards that no longer match, those in quarantine included, hex.
    pub damaged: Vec<String>,
    /// How many of them are in quarantine: known, not served, waiting for good bytes.
    pub quarantined: u64,
    /// Bytes of the log that are no records any more.
    pub skipped_bytes: u64,
}

impl CheckReport {
    /// What is wrong, in a line; `None` where nothing is.
    pub fn complaint(&self) -> Option<String> {
        let (damaged, skipped) = (self.damaged.len(), self.skipped_bytes);
        match (damaged, skipped) {
            (0, 0) => None,
            (_, 0) => Some(format!("{damaged} damaged shards")),
            (0, _) => Some(format!("{skipped} bytes of the log are lost with the shards in them")),
            _ => Some(format!(
                "{damaged} damaged shards, and {skipped} bytes of the log are lost with the shards in them"
            )),
        }
    }
}

impl Inspector {
    /// Reads the index of the store in `root`.
    pub fn open(root: &Path) -> Result<Self, LayoutError> {
        let layout = Layout::new(Arc::new(DirDisk::read_only(root)));
        let key = layout.read_key()?;
        let recovered = recover(&layout, &key, Mode::ReadOnly)?;
        let scrub = ScrubReport::load(&layout, &key);
        Ok(Self { root: root.to_owned(), layout, index: recovered.index, report: recovered.report, scrub })
    }

    /// Shards that are served, in order of address.
    pub fn shards(&self) -> impl Iterator<Item = (ShardHash, Entry)> {
        self.index.after(None).filter(|(_, entry)| entry.is_live())
    }

    /// Number of shards that are served.
    pub fn len(&self) -> usize {
        self.index.live()
    }

    /// Whether no shard is served.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that live and quarantined shards take, record headers included.
    pub fn used_bytes(&self) -> u64 {
        self.index.used_bytes()
    }

    /// Number and bytes of deleted shards that can be restored.
    pub fn trash(&self) -> (u64, u64) {
        (self.index.trash().len() as u64, self.index.trash_bytes())
    }

    /// Shards found damaged.
    pub fn quarantined(&self) -> impl Iterator<Item = &ShardHash> {
        self.index.quarantined().iter()
    }

    /// How far the scrub is, and what it found.
    pub fn scrub_report(&self) -> ScrubReport {
        self.scrub
    }

    /// Number of segment files, the sum of their lengths, and what they take on the disk.
    pub fn segments(&self) -> Result<(usize, u64, u64), LayoutError> {
        let spans = self.layout.segments()?.spans;
        let (mut length, mut allocated) = (0, 0);
        for span in &spans {
            // One that a running miner compacts away counts nothing.
            if let Ok(file) = self.layout.disk.open(&span.name()) {
                length += file.length().unwrap_or(0);
                allocated += file.allocated().unwrap_or(0);
            }
        }
        Ok((spans.len(), length, allocated))
    }

    /// Where a shard lies.
    pub fn locate(&self, shard: &ShardHash) -> Option<Located> {
        let span = |entry: &Entry| {
            let spans = self.layout.segments().ok()?.spans;
            spans.into_iter().find(|span| span.first == entry.segment)
        };
        let entry = self.index.get(shard).filter(|entry| !matches!(entry.state, State::Trashed { .. }))?;
        Some(Located {
            shard: shard.to_string(),
            path: self.layout.disk.path(&span(&entry)?.name()),
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
            let moved = |shard: &ShardHash| {
                let (now, then) = (now.index.get(shard)?, self.index.get(shard)?);
                (now.sequence == then.sequence).then_some(now)
            };
            damaged.retain(|shard| moved(shard).is_some_and(|entry| !now.reads(shard, &entry)));
        }
        report.quarantined = self.index.quarantined().len() as u64;
        report.damaged = damaged.iter().map(ShardHash::to_string).collect();
        Ok(report)
    }

    fn reads(&self, shard: &ShardHash, entry: &Entry) -> bool {
        let spans = self.layout.segments().map(|segments| segments.spans).unwrap_or_default();
        let span = spans.iter().find(|span| span.first == entry.segment);
        let file = span.and_then(|span| self.layout.disk.open(&span.name()).ok());
        let body = file.and_then(|file| file.read(entry.body_offset(), entry.placement.size as usize).ok());
        body.is_some_and(|body| *blake3::hash(&body).as_bytes() == shard.0)
    }

    fn read_all(&self) -> Result<(CheckReport, Vec<ShardHash>), LayoutError> {
        let mut report = CheckReport { skipped_bytes: self.report.skipped_bytes, ..CheckReport::default() };
        let mut damaged = Vec::new();
        let mut open: Option<(u32, Arc<dyn DiskFile>)> = None;
        let spans = self.layout.segments()?.spans;
        // Trash too: it may be wanted again.
        let mut by_place: Vec<_> = self.index.after(None).collect();
        by_place.sort_unstable_by_key(|(_, entry)| (entry.segment, entry.offset));
        for (shard, entry) in by_place {
            let file = match &open {
                Some((number, file)) if *number == entry.segment => Some(file),
                _ => {
                    let span = spans.iter().find(|span| span.first == entry.segment);
                    let file = span.and_then(|span| self.layout.disk.open(&span.name()).ok());
                    open = file.map(|file| (entry.segment, file));
                    open.as_ref().map(|(_, file)| file)
                }
            };
            let body =
                file.and_then(|file| file.read(entry.body_offset(), entry.placement.size as usize).ok());
            if body.is_none_or(|body| *blake3::hash(&body).as_bytes() != shard.0) {
                damaged.push(shard);
            }
            report.shards += 1;
            report.bytes += u64::from(entry.placement.size);
        }
        Ok((report, damaged))
    }
}

/// What a repair did.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct RepairReport {
    /// Bytes of a torn tail that were cut off.
    pub truncated_bytes: u64,
    /// Bytes in the middle of the log that are no records any more.
    pub skipped_bytes: u64,
    /// The reading of every shard.
    pub scrub: ScrubReport,
    /// Addresses of shards in quarantine now, hex: other miners have what brings them back.
    pub quarantined: Vec<String>,
}

/// Brings a store that no miner has open into order: cuts off what is torn, reads every shard, quarantines bad ones,
/// writes damaged headers and the checkpoint anew. Blocks.
pub fn repair(root: &Path, options: StoreOptions) -> Result<RepairReport, LayoutError> {
    // Not made where it is missing.
    Inspector::open(root)?;
    let options = StoreOptions { background: false, ..options };
    let now_ms = (options.clock)();
    let parts = Store::assemble(Arc::new(DirDisk::new(root)), options)?;
    let Parts { store, mut writer, keeper, .. } = parts;
    let shared = keeper.shared.clone();
    let mut scrub = ScrubReport::default();
    let mut judge = |shard, sequence, good| {
        let (reply, answer) = tokio::sync::oneshot::channel();
        writer.process(std::iter::once(Queued::alone(Change::Judge { shard, sequence, good, reply })));
        matches!(answer.blocking_recv(), Ok(Ok(_)))
    };
    loop {
        let done = scrub.step(&shared, &keeper.key, now_ms, &mut |_| true, &mut judge);
        if !done || scrub.started_at == 0 {
            break;
        }
    }
    if let Err(error) = scrub.save(&shared.layout, &keeper.key) {
        tracing::warn!(%error, "the report of the scrub could not be written down");
    }
    let (reply, _) = tokio::sync::oneshot::channel();
    writer.process(std::iter::once(Queued::alone(Change::Close { reply })));
    let report = store.report();
    let index = shared.index();
    Ok(RepairReport {
        truncated_bytes: report.truncated_bytes,
        skipped_bytes: report.skipped_bytes,
        scrub,
        quarantined: index.quarantined().iter().map(ShardHash::to_string).collect(),
    })
}
