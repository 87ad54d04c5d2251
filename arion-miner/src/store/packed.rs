//! An entry of the index in the bytes that hold it in memory and in checkpoints; docs/spec/store.md has the layout.

use arion_protocol::ShardPlacement;
use arion_types::{ShardHash, StripeId};

use super::{
    index::Entry,
    record::{State, array, decode_owner, encode_owner},
};

/// Bytes of an entry.
pub(super) const PACKED_BYTES: usize = 118;
/// Bit of the state: a checksum follows the shard.
const SUMMED: u8 = 0x80;
/// Bit of the state: the upper half of the epoch is the owner.
const OWNED: u8 = 0x40;

/// A shard and its entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Packed([u8; PACKED_BYTES]);

impl Packed {
    pub(super) fn new(shard: &ShardHash, entry: &Entry) -> Self {
        let mut bytes = [0; PACKED_BYTES];
        let (state, at) = entry.state.encode();
        bytes[..32].copy_from_slice(&shard.0);
        bytes[32..64].copy_from_slice(&entry.placement.stripe.0);
        bytes[64..68].copy_from_slice(&entry.placement.pg.to_le_bytes());
        bytes[68..72].copy_from_slice(&entry.placement.size.to_le_bytes());
        bytes[72..80].copy_from_slice(&entry.placement.epoch.to_le_bytes());
        bytes[80..88].copy_from_slice(&entry.stored_at.to_le_bytes());
        bytes[88..96].copy_from_slice(&entry.offset.to_le_bytes());
        bytes[96..100].copy_from_slice(&entry.segment.to_le_bytes());
        (bytes[100], bytes[101]) = (entry.placement.index, state | if entry.summed { SUMMED } else { 0 });
        if let Some(both) = encode_owner(entry.placement.epoch, entry.owner) {
            bytes[72..80].copy_from_slice(&both);
            bytes[101] |= OWNED;
        }
        bytes[102..110].copy_from_slice(&at.to_le_bytes());
        bytes[110..].copy_from_slice(&entry.sequence.to_le_bytes());
        Self(bytes)
    }

    /// From bytes of a checkpoint, unless they are none of an entry.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes = <[u8; PACKED_BYTES]>::try_from(bytes).ok()?;
        state(&bytes).map(|_| Self(bytes))
    }

    pub(super) fn bytes(&self) -> &[u8; PACKED_BYTES] {
        &self.0
    }

    pub(super) fn shard(&self) -> ShardHash {
        ShardHash(array(&self.0, 0))
    }

    /// What entries are ordered by.
    pub(super) fn address(&self) -> &[u8] {
        &self.0[..32]
    }

    pub(super) fn entry(&self) -> Entry {
        let bytes = &self.0;
        let (epoch, owner) = decode_owner(array(bytes, 72), bytes[101] & OWNED != 0);
        let placement = ShardPlacement {
            stripe: StripeId(array(bytes, 32)),
            pg: u32::from_le_bytes(array(bytes, 64)),
            index: bytes[100],
            epoch,
            size: u32::from_le_bytes(array(bytes, 68)),
        };
        Entry {
            placement,
            stored_at: u64::from_le_bytes(array(bytes, 80)),
            segment: u32::from_le_bytes(array(bytes, 96)),
            offset: u64::from_le_bytes(array(bytes, 88)),
            sequence: u64::from_le_bytes(array(bytes, 110)),
            // Both ways to be made leave none that is unknown.
            state: state(bytes).unwrap_or(State::Quarantined),
            summed: bytes[101] & SUMMED != 0,
            owner,
        }
    }
}

fn state(bytes: &[u8; PACKED_BYTES]) -> Option<State> {
    State::decode(bytes[101] & !(SUMMED | OWNED), u64::from_le_bytes(array(bytes, 102)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::record::Owner;

    proptest! {
        #[test]
        fn entries_round_trip(
            (shard, stripe) in any::<([u8; 32], [u8; 32])>(),
            (pg, index, size) in any::<(u32, u8, u32)>(),
            epoch in prop_oneof![any::<u64>(), any::<u32>().prop_map(u64::from)],
            (stored_at, segment, offset, sequence) in any::<(u64, u32, u64, u64)>(),
            (state, at, summed, owner) in (0u8..3, any::<u64>(), any::<bool>(), any::<u32>()),
        ) {
            let placement = ShardPlacement { stripe: StripeId(stripe), pg, index, epoch, size };
            let state = State::decode(state, at).unwrap();
            let owner = if u32::try_from(epoch).is_ok() { Owner(owner) } else { Owner::NONE };
            let entry = Entry { placement, stored_at, segment, offset, sequence, state, summed, owner };
            let packed = Packed::new(&ShardHash(shard), &entry);
            prop_assert_eq!((packed.shard(), packed.entry()), (ShardHash(shard), entry));
            prop_assert_eq!(Packed::from_bytes(packed.bytes()), Some(packed));
        }
    }

    #[test]
    fn what_is_no_entry_is_refused() {
        let mut bytes = [0; PACKED_BYTES];
        bytes[101] = 3;
        assert_eq!(Packed::from_bytes(&bytes), None);
        assert_eq!(Packed::from_bytes(&bytes[1..]), None);
    }
}
