//! What is stored where: an ordered map in memory, rebuilt from the log.
//!
//! Entries lie in sorted leaves of up to [`LEAF_MAX`]; leaves are shared with snapshots until they change, so that a
//! checkpoint needs neither a copy nor a lock.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound,
    sync::Arc,
};

use arion_protocol::ShardPlacement;
use arion_types::ShardHash;

use super::record::{RECORD_BYTES, State, payload_len};

const LEAF_MAX: usize = 128;

/// One stored shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Where the shard belongs.
    pub placement: ShardPlacement,
    /// When it was written, milliseconds since the Unix epoch.
    pub stored_at: u64,
    /// First number of the segment file.
    pub segment: u32,
    /// Offset of the record header in that file.
    pub offset: u64,
    /// Sequence of the record: names it for good, wherever it lies.
    pub sequence: u64,
    /// Whether it is served.
    pub state: State,
    /// Whether a checksum of its own follows the shard.
    pub summed: bool,
}

impl Entry {
    /// Offset of the shard's bytes.
    pub fn body_offset(&self) -> u64 {
        self.offset + RECORD_BYTES
    }

    /// Bytes behind the header: the shard and its checksum.
    pub(super) fn payload_len(&self) -> u64 {
        payload_len(self.placement.size, self.summed)
    }

    /// Bytes on disk, header and checksum included.
    pub fn disk_bytes(&self) -> u64 {
        RECORD_BYTES + self.payload_len()
    }

    /// Whether it is served.
    pub fn is_live(&self) -> bool {
        self.state == State::Live
    }
}

type Leaf = Vec<(ShardHash, Entry)>;
type Leaves = BTreeMap<ShardHash, Arc<Leaf>>;

/// What of a segment file is still needed.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct SegmentUse {
    pub records: u64,
    pub bytes: u64,
}

/// Stored shards by address.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(super) struct Index {
    leaves: Leaves,
    len: usize,
    /// Of live and quarantined shards.
    used_bytes: u64,
    trash: BTreeSet<(u64, ShardHash)>,
    trash_bytes: u64,
    quarantined: BTreeSet<ShardHash>,
    segments: HashMap<u32, SegmentUse>,
}

/// All entries at one moment.
#[derive(Clone)]
pub(super) struct Snapshot {
    leaves: Leaves,
    pub len: usize,
}

impl Snapshot {
    pub(super) fn iter(&self) -> impl Iterator<Item = &(ShardHash, Entry)> {
        self.leaves.values().flat_map(|leaf| leaf.iter())
    }
}

impl Index {
    /// An index of entries in order of address.
    pub(super) fn from_sorted(entries: impl Iterator<Item = (ShardHash, Entry)>) -> Self {
        let mut index = Self::default();
        let mut leaf = Leaf::with_capacity(LEAF_MAX * 3 / 4);
        for (shard, entry) in entries {
            if leaf.len() == leaf.capacity() {
                let full = std::mem::replace(&mut leaf, Leaf::with_capacity(LEAF_MAX * 3 / 4));
                index.push_leaf(full);
            }
            index.account(&shard, &entry, true);
            leaf.push((shard, entry));
        }
        index.push_leaf(leaf);
        index
    }

    fn push_leaf(&mut self, leaf: Leaf) {
        if let Some((first, _)) = leaf.first() {
            // The first leaf takes everything that may come before it.
            let from = if self.leaves.is_empty() { ShardHash([0; 32]) } else { *first };
            self.leaves.insert(from, Arc::new(leaf));
        }
    }

    fn leaf(&self, shard: &ShardHash) -> Option<&Arc<Leaf>> {
        self.leaves.range(..=shard).next_back().map(|(_, leaf)| leaf)
    }

    /// The shard, in whatever state.
    pub(super) fn get(&self, shard: &ShardHash) -> Option<&Entry> {
        let leaf = self.leaf(shard)?;
        let at = leaf.binary_search_by(|(key, _)| key.cmp(shard)).ok()?;
        Some(&leaf[at].1)
    }

    /// Adds a shard or changes it; returns what was there.
    pub(super) fn insert(&mut self, shard: ShardHash, entry: Entry) -> Option<Entry> {
        // The leaf at zero is always there, so that every address has one.
        self.leaves.entry(ShardHash([0; 32])).or_default();
        let (_, leaf) = self.leaves.range_mut(..=shard).next_back()?;
        let leaf = Arc::make_mut(leaf);
        let old = match leaf.binary_search_by(|(key, _)| key.cmp(&shard)) {
            Ok(at) => Some(std::mem::replace(&mut leaf[at].1, entry)),
            Err(at) => {
                leaf.reserve_exact(if leaf.len() == leaf.capacity() { LEAF_MAX / 8 } else { 0 });
                leaf.insert(at, (shard, entry));
                None
            }
        };
        if leaf.len() > LEAF_MAX {
            let upper = leaf.split_off(LEAF_MAX / 2);
            leaf.shrink_to_fit();
            self.leaves.insert(upper[0].0, Arc::new(upper));
        }
        if let Some(old) = &old {
            self.account(&shard, old, false);
        }
        self.account(&shard, &entry, true);
        old
    }

    /// Removes a shard.
    pub(super) fn remove(&mut self, shard: &ShardHash) -> Option<Entry> {
        let (&from, leaf) = self.leaves.range_mut(..=shard).next_back()?;
        let at = leaf.binary_search_by(|(key, _)| key.cmp(shard)).ok()?;
        let leaf = Arc::make_mut(leaf);
        let (_, old) = leaf.remove(at);
        if leaf.is_empty() && from.0 != [0; 32] {
            self.leaves.remove(&from);
        }
        self.account(shard, &old, false);
        Some(old)
    }

    /// Counts an entry in or out.
    fn account(&mut self, shard: &ShardHash, entry: &Entry, added: bool) {
        let bytes = entry.disk_bytes();
        let add = |sum: &mut u64, by: u64| *sum = if added { *sum + by } else { sum.saturating_sub(by) };
        match (entry.state, added) {
            (State::Trashed { at }, true) => drop(self.trash.insert((at, *shard))),
            (State::Trashed { at }, false) => drop(self.trash.remove(&(at, *shard))),
            (State::Quarantined, true) => drop(self.quarantined.insert(*shard)),
            (State::Quarantined, false) => drop(self.quarantined.remove(shard)),
            (State::Live, _) => {}
        }
        match entry.state {
            State::Trashed { .. } => add(&mut self.trash_bytes, bytes),
            _ => add(&mut self.used_bytes, bytes),
        }
        self.len = if added { self.len + 1 } else { self.len - 1 };
        let segment = self.segments.entry(entry.segment).or_default();
        add(&mut segment.records, 1);
        add(&mut segment.bytes, bytes);
        if segment.records == 0 {
            self.segments.remove(&entry.segment);
        }
    }

    /// All entries in order of address behind `after`, in whatever state.
    pub(super) fn after(&self, after: Option<ShardHash>) -> impl Iterator<Item = &(ShardHash, Entry)> {
        let from = after.and_then(|after| self.leaves.range(..=after).next_back()).map(|(from, _)| *from);
        let leaves = self.leaves.range((from.map_or(Bound::Unbounded, Bound::Included), Bound::Unbounded));
        leaves
            .flat_map(|(_, leaf)| leaf.iter())
            .skip_while(move |(shard, _)| after.is_some_and(|after| *shard <= after))
    }

    /// Everything as it is now; cheap.
    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot { leaves: self.leaves.clone(), len: self.len }
    }

    /// Number of shards in whatever state.
    pub(super) fn total(&self) -> usize {
        self.len
    }

    /// First numbers of the files that something is needed of.
    pub(super) fn segments(&self) -> impl Iterator<Item = u32> {
        self.segments.keys().copied()
    }

    /// Number of shards that are neither trash nor quarantined.
    pub(super) fn live(&self) -> usize {
        self.len - self.trash.len() - self.quarantined.len()
    }

    /// Bytes on disk of live and quarantined shards, headers included.
    pub(super) fn used_bytes(&self) -> u64 {
        self.used_bytes
    }

    /// Bytes on disk of trash, headers included.
    pub(super) fn trash_bytes(&self) -> u64 {
        self.trash_bytes
    }

    /// Time of deletion and address of trash, oldest first.
    pub(super) fn trash(&self) -> &BTreeSet<(u64, ShardHash)> {
        &self.trash
    }

    /// Shards found damaged.
    pub(super) fn quarantined(&self) -> &BTreeSet<ShardHash> {
        &self.quarantined
    }

    /// What is needed of a segment file.
    pub(super) fn segment(&self, first: u32) -> SegmentUse {
        self.segments.get(&first).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use arion_types::StripeId;
    use proptest::prelude::*;

    use super::*;

    fn entry(number: u16) -> Entry {
        let placement =
            ShardPlacement { stripe: StripeId([1; 32]), pg: 1, index: 1, epoch: 1, size: u32::from(number) };
        let state = match number % 5 {
            0 => State::Trashed { at: u64::from(number % 7) },
            1 => State::Quarantined,
            _ => State::Live,
        };
        let segment = u32::from(number % 3);
        let sequence = u64::from(number);
        Entry {
            placement,
            stored_at: 0,
            segment,
            offset: 0,
            sequence,
            state,
            summed: number.is_multiple_of(2),
        }
    }

    fn shard(number: u16) -> ShardHash {
        ShardHash(*blake3::hash(&number.to_le_bytes()).as_bytes())
    }

    /// Counts kept along the way are those of a fresh index of the same entries.
    fn check(index: &Index, model: &BTreeMap<ShardHash, Entry>) {
        let fresh = Index::from_sorted(model.iter().map(|(shard, entry)| (*shard, *entry)));
        assert!(index.after(None).eq(fresh.after(None)));
        assert!(index.snapshot().iter().eq(fresh.after(None)));
        let counts =
            |index: &Index| (index.live(), index.used_bytes(), index.trash_bytes(), index.segments.clone());
        assert_eq!(counts(index), counts(&fresh));
        assert_eq!((index.trash(), index.quarantined()), (fresh.trash(), fresh.quarantined()));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

        #[test]
        fn behaves_like_a_map(steps in proptest::collection::vec((any::<bool>(), 0u16..600), 0..2_000)) {
            let (mut index, mut model) = (Index::default(), BTreeMap::new());
            let old = index.snapshot();
            for (step, (add, number)) in steps.into_iter().enumerate() {
                let (shard, entry) = (shard(number % 300), entry(number));
                match add || step < 300 {
                    true => prop_assert_eq!(index.insert(shard, entry), model.insert(shard, entry)),
                    false => prop_assert_eq!(index.remove(&shard), model.remove(&shard)),
                }
                prop_assert_eq!(index.get(&shard), model.get(&shard));
                if step % 100 == 0 {
                    let after = index.after(Some(shard)).map(|(shard, _)| shard);
                    prop_assert!(after.eq(model.range((Bound::Excluded(shard), Bound::Unbounded)).map(|(shard, _)| shard)));
                }
            }
            check(&index, &model);
            prop_assert_eq!(old.iter().count(), 0);
        }
    }
}
