//! What is stored where: an ordered map in memory, rebuilt from the log.
//!
//! Entries lie packed in sorted leaves of up to [`LEAF_MAX`]; leaves are shared with snapshots until they change, so that
//! a checkpoint needs neither a copy nor a lock.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound,
    sync::Arc,
};

use arion_protocol::ShardPlacement;
use arion_types::ShardHash;

use super::{
    packed::Packed,
    record::{Owner, RECORD_BYTES, State, payload_len},
};

const LEAF_MAX: usize = 128;
/// What leaves hold after a start.
const LEAF_LOADED: usize = LEAF_MAX / 8 * 7;
/// With fewer a leaf is joined with a neighbour...
const LEAF_MIN: usize = LEAF_MAX / 4;
/// ... where they have at most so many together.
const LEAF_JOINED: usize = LEAF_MAX / 4 * 3;

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
    /// On whose order it is stored.
    pub owner: Owner,
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

type Leaves = BTreeMap<ShardHash, Arc<Leaf>>;

/// Neighbours in order of address. All take the same memory, so that what one gives up serves another.
#[derive(PartialEq, Eq, Debug)]
struct Leaf(Vec<Packed>);

impl Default for Leaf {
    fn default() -> Self {
        Self(Vec::with_capacity(LEAF_MAX))
    }
}

impl Clone for Leaf {
    fn clone(&self) -> Self {
        let mut leaf = Self::default();
        leaf.0.extend_from_slice(&self.0);
        leaf
    }
}

impl Leaf {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn find(&self, shard: &ShardHash) -> Result<usize, usize> {
        self.0.binary_search_by(|packed| packed.address().cmp(&shard.0))
    }

    /// Adds an entry; where there is no room the upper half becomes a leaf of its own.
    fn insert(&mut self, at: usize, packed: Packed) -> Option<Self> {
        if self.len() < LEAF_MAX {
            self.0.insert(at, packed);
            return None;
        }
        let mut upper = Self::default();
        upper.0.extend(self.0.drain(LEAF_MAX / 2..));
        match at.checked_sub(LEAF_MAX / 2) {
            Some(at) if at > 0 => upper.0.insert(at, packed),
            _ => self.0.insert(at, packed),
        }
        Some(upper)
    }

    fn iter(&self) -> impl Iterator<Item = (ShardHash, Entry)> {
        self.0.iter().map(|packed| (packed.shard(), packed.entry()))
    }
}

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
    pub(super) fn iter(&self) -> impl Iterator<Item = (ShardHash, Entry)> {
        self.leaves.values().flat_map(|leaf| leaf.iter())
    }

    /// The same as bytes.
    pub(super) fn packed(&self) -> impl Iterator<Item = &Packed> {
        self.leaves.values().flat_map(|leaf| &leaf.0)
    }
}

impl Index {
    /// An index of entries in order of address.
    pub(super) fn from_sorted(entries: impl Iterator<Item = Packed>) -> Self {
        let mut index = Self::default();
        let mut leaf = Leaf::default();
        for packed in entries {
            if leaf.len() == LEAF_LOADED {
                index.push_leaf(std::mem::take(&mut leaf));
            }
            index.account(&packed.shard(), &packed.entry(), true);
            leaf.0.push(packed);
        }
        index.push_leaf(leaf);
        index
    }

    fn push_leaf(&mut self, leaf: Leaf) {
        if let Some(first) = leaf.0.first() {
            // The first leaf takes everything that may come before it.
            let from = if self.leaves.is_empty() { ShardHash([0; 32]) } else { first.shard() };
            self.leaves.insert(from, Arc::new(leaf));
        }
    }

    /// The shard, in whatever state.
    pub(super) fn get(&self, shard: &ShardHash) -> Option<Entry> {
        let (_, leaf) = self.leaves.range(..=shard).next_back()?;
        leaf.find(shard).ok().map(|at| leaf.0[at].entry())
    }

    /// Adds a shard or changes it; returns what was there.
    pub(super) fn insert(&mut self, shard: ShardHash, entry: Entry) -> Option<Entry> {
        // The leaf at zero is always there, so that every address has one.
        self.leaves.entry(ShardHash([0; 32])).or_default();
        let (_, leaf) = self.leaves.range_mut(..=shard).next_back()?;
        let leaf = Arc::make_mut(leaf);
        let packed = Packed::new(&shard, &entry);
        let (old, upper) = match leaf.find(&shard) {
            Ok(at) => (Some(std::mem::replace(&mut leaf.0[at], packed).entry()), None),
            Err(at) => (None, leaf.insert(at, packed)),
        };
        if let Some(upper) = upper {
            self.push_leaf(upper);
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
        let at = leaf.find(shard).ok()?;
        let leaf = Arc::make_mut(leaf);
        let old = leaf.0.remove(at).entry();
        if leaf.len() < LEAF_MIN {
            self.join(from);
        }
        self.account(shard, &old, false);
        Some(old)
    }

    /// Puts a leaf together with a neighbour where both fit into one with room to spare.
    fn join(&mut self, from: ShardHash) {
        let next = self.leaves.range((Bound::Excluded(from), Bound::Unbounded)).next().map(|(from, _)| *from);
        let before = || self.leaves.range(..from).next_back().map(|(before, _)| (*before, from));
        let Some((lower, upper)) = next.map(|next| (from, next)).or_else(before) else { return };
        let length = |at: &ShardHash| self.leaves.get(at).map_or(0, |leaf| leaf.len());
        if length(&lower) + length(&upper) > LEAF_JOINED {
            return;
        }
        if let Some(upper) = self.leaves.remove(&upper)
            && let Some(lower) = self.leaves.get_mut(&lower)
        {
            Arc::make_mut(lower).0.extend_from_slice(&upper.0);
        }
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
    pub(super) fn after(&self, after: Option<ShardHash>) -> impl Iterator<Item = (ShardHash, Entry)> {
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
            owner: Owner(u32::from(number % 4)),
        }
    }

    fn shard(number: u16) -> ShardHash {
        ShardHash(*blake3::hash(&number.to_le_bytes()).as_bytes())
    }

    /// Counts kept along the way are those of a fresh index of the same entries.
    fn check(index: &Index, model: &BTreeMap<ShardHash, Entry>) {
        let fresh = Index::from_sorted(model.iter().map(|(shard, entry)| Packed::new(shard, entry)));
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
                prop_assert_eq!(index.get(&shard), model.get(&shard).copied());
                if step % 100 == 0 {
                    let after = index.after(Some(shard)).map(|(shard, _)| shard);
                    let behind = model.range((Bound::Excluded(shard), Bound::Unbounded));
                    prop_assert!(after.eq(behind.map(|(shard, _)| *shard)));
                }
            }
            check(&index, &model);
            prop_assert_eq!(old.iter().count(), 0);
        }
    }

    #[test]
    fn memory_follows_what_is_stored() {
        let mut index = Index::default();
        for number in 0..20_000 {
            index.insert(shard(number), entry(number));
        }
        let full = index.leaves.len();
        assert!(full * LEAF_MAX < 2 * index.total(), "{full} leaves");
        let snapshot = index.snapshot();
        for number in 0..19_000 {
            index.remove(&shard(number));
        }
        assert!(index.leaves.len() < full / 8, "{} leaves of {full}", index.leaves.len());
        assert_eq!((index.total(), snapshot.iter().count()), (1_000, 20_000));
        for number in 0..19_000 {
            index.insert(shard(number), entry(number));
        }
        assert!(index.after(None).eq(snapshot.iter()));
        assert!(index.leaves.values().all(|leaf| leaf.0.capacity() == LEAF_MAX));
    }
}
