//! What a simulated disk holds of a file, and what a power cut leaves of it.

use std::ops::Range;

use super::Chance;

const SECTOR_BYTES: usize = 512;
const PAGE_BYTES: u64 = 4_096;

#[derive(Clone, Debug)]
pub(super) enum Pending {
    Write(u64, Vec<u8>),
    SetLength(u64),
    Punch(u64, u64),
}

impl Pending {
    pub(super) fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write(offset, bytes) => write(content, *offset as usize, bytes),
            Self::SetLength(length) => content.resize(*length as usize, 0),
            Self::Punch(offset, length) => {
                let end = content.len().min((offset + length) as usize);
                if let Some(range) = content.get_mut(*offset as usize..end) {
                    range.fill(0);
                }
            }
        }
    }
}

fn write(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    content.resize(content.len().max(offset + bytes.len()), 0);
    content[offset..offset + bytes.len()].copy_from_slice(bytes);
}

/// All of the pages that these bytes lie in.
fn pages(bytes: &Range<u64>) -> Range<u64> {
    bytes.start / PAGE_BYTES * PAGE_BYTES..bytes.end.next_multiple_of(PAGE_BYTES)
}

/// What is read, what is durable, and what lies between.
#[derive(Clone, Default)]
pub(super) struct Content {
    pub(super) live: Vec<u8>,
    pub(super) durable: Vec<u8>,
    pub(super) pending: Vec<Pending>,
    /// Whether a failed sync has forgotten changes that are still read.
    pub(super) forgotten: bool,
    /// Reads that touch these fail with `EIO`, until they are written.
    pub(super) unreadable: Vec<Range<u64>>,
}

impl Content {
    /// All that was written is durable.
    pub(super) fn sync(&mut self) {
        match std::mem::take(&mut self.forgotten) {
            true => self.durable.clone_from(&self.live),
            // Files are long, and what is new in them is not.
            false => self.pending.iter().for_each(|pending| pending.apply(&mut self.durable)),
        }
        self.pending.clear();
    }

    /// What was not synced is still read, and will not be written.
    pub(super) fn forget(&mut self) {
        self.forgotten |= !self.pending.is_empty();
        self.pending.clear();
    }

    /// Another content, all of it durable.
    pub(super) fn replace(&mut self, content: Vec<u8>) {
        self.durable.clone_from(&content);
        self.live = content;
        self.pending.clear();
        self.forgotten = false;
    }

    /// Whether these bytes can be written: what stands beside them in their pages has to be read first.
    pub(super) fn takes(&self, written: Range<u64>) -> bool {
        let (pages, length) = (pages(&written), self.live.len() as u64);
        let beside = [pages.start..written.start.min(length), written.end..pages.end.min(length)];
        beside.iter().all(|beside| {
            self.unreadable.iter().all(|bad| bad.start.max(beside.start) >= bad.end.min(beside.end))
        })
    }

    /// Pages that are written are mapped to good sectors.
    pub(super) fn heal(&mut self, written: Range<u64>) {
        let written = pages(&written);
        let parts = std::mem::take(&mut self.unreadable);
        let left = parts
            .into_iter()
            .flat_map(|bad| [bad.start..bad.end.min(written.start), bad.start.max(written.end)..bad.end]);
        self.unreadable = left.filter(|bad| bad.start < bad.end).collect();
    }
}

/// What is left of a file.
pub(super) fn cut(file: &Content, chance: &mut Chance) -> Content {
    // Nothing, everything, or each sector with some likelihood.
    let likelihood = [0, 100, 20, 50, 90][chance.below(5) as usize];
    let mut content = file.durable.clone();
    for pending in &file.pending {
        match pending {
            Pending::Write(offset, bytes) => {
                let (mut at, mut torn) = (0, chance.percent(20));
                while at < bytes.len() {
                    let sector_end = SECTOR_BYTES - (*offset as usize + at) % SECTOR_BYTES;
                    let mut end = bytes.len().min(at + sector_end);
                    let kept = chance.percent(likelihood);
                    if kept && torn && chance.percent(10) {
                        // Some disks tear sectors too.
                        end = at + chance.below((end - at) as u64) as usize;
                        torn = false;
                    }
                    if kept {
                        write(&mut content, *offset as usize + at, &bytes[at..end]);
                    }
                    at += sector_end;
                }
            }
            other if chance.percent(likelihood) => other.apply(&mut content),
            _ => {}
        }
    }
    let unreadable = file.unreadable.clone();
    Content { live: content.clone(), durable: content, pending: Vec::new(), forgotten: false, unreadable }
}
