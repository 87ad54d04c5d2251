//! Records of the log: byte layouts, nothing else.
//!
//! Every header carries a keyed checksum, so that bytes inside a shard can never pass for a record. A body is followed
//! by a cheap checksum of its own, so that reads need not compute its address.

use arion_protocol::ShardPlacement;
use arion_types::{ShardHash, StripeId};

/// Bytes of a record header.
pub const RECORD_BYTES: u64 = 112;
/// Bytes behind a body: its checksum.
pub const TRAILER_BYTES: u64 = 4;
/// Bytes of a segment header.
pub(super) const SEGMENT_HEADER_BYTES: u64 = 32;

/// First bytes of a record.
pub(crate) const RECORD_MAGIC: [u8; 4] = *b"ASR1";
const SEGMENT_MAGIC: [u8; 8] = *b"ARIONSEG";
const SEGMENT_VERSION: u32 = 1;
const CHECKSUM_AT: usize = 104;

/// Key of all checksums of one store; random, never leaves the directory.
#[derive(Clone, Copy)]
pub(super) struct StoreKey(pub(crate) [u8; 32]);

impl StoreKey {
    /// First 8 bytes of keyed BLAKE3.
    pub(crate) fn checksum(&self, bytes: &[u8]) -> [u8; 8] {
        let mut sum = [0; 8];
        sum.copy_from_slice(&blake3::keyed_hash(&self.0, bytes).as_bytes()[..8]);
        sum
    }
}

/// Checksum of a body, bound to the address it is stored under: CRC-32C of both. Every read compares it; it finds what
/// a disk does to bytes, not what somebody does on purpose.
pub(super) fn body_checksum(shard: &ShardHash, body: &[u8]) -> u32 {
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    digest.update(&shard.0);
    digest.update(body);
    // A CRC of 32 bits fits.
    digest.finalize() as u32
}

/// On whose order a shard is stored: a number that stands for a node, told apart by the miner alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Owner(pub u32);

impl Owner {
    /// Nobody alone, or it is not known: so it is with logs before version 4.
    pub const NONE: Self = Self(0);
}

/// What a record does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum RecordKind {
    /// A shard follows.
    Put {
        /// Where the shard belongs; `size` is the length of the body.
        placement: ShardPlacement,
        /// When it was written, milliseconds since the Unix epoch.
        stored_at: u64,
        /// Whether a checksum follows the body: not in logs of versions 1 and 2.
        summed: bool,
        /// On whose order.
        owner: Owner,
    },
    /// That record of the shard is dead from here on.
    Delete(Victim),
    /// That record of the shard has another state from here on.
    Mark {
        /// Sequence of the put.
        victim: u64,
        /// What it is now.
        state: State,
        /// Whose it is now.
        owner: Owner,
    },
}

/// The put that a deletion means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Victim {
    /// Its sequence; 0, as in logs of version 1, is whatever put there is.
    pub sequence: u64,
    /// The segment it was in; 0 where that is not known.
    pub segment: u32,
}

/// What a stored shard is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum State {
    /// Served.
    #[default]
    Live,
    /// Deleted, and kept for a while.
    Trashed {
        /// When it was deleted, milliseconds since the Unix epoch.
        at: u64,
    },
    /// Found damaged: not served, waits for good bytes.
    Quarantined,
}

impl State {
    /// Number and time as they are written.
    pub(super) fn encode(self) -> (u8, u64) {
        match self {
            Self::Live => (0, 0),
            Self::Trashed { at } => (1, at),
            Self::Quarantined => (2, 0),
        }
    }

    pub(super) fn decode(number: u8, at: u64) -> Option<Self> {
        match number {
            0 => Some(Self::Live),
            1 => Some(Self::Trashed { at }),
            2 => Some(Self::Quarantined),
            _ => None,
        }
    }
}

/// A record header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Record {
    /// Position in the log, strictly increasing.
    pub sequence: u64,
    /// Records with the same number, one behind the other, were synced together.
    pub batch: u16,
    /// Address of the shard.
    pub shard: ShardHash,
    /// What happened to it.
    pub kind: RecordKind,
}

impl Record {
    /// Bytes behind the header: body and checksum.
    pub(super) fn payload_len(&self) -> u64 {
        match self.kind {
            RecordKind::Put { placement, summed, .. } => payload_len(placement.size, summed),
            RecordKind::Delete(_) | RecordKind::Mark { .. } => 0,
        }
    }

    /// Layout: magic 4, kind 1, index 1, batch 2, shard 32, stripe 32, pg 4, size 4, epoch 8, stored_at 8,
    /// sequence 8, checksum 8; integers little-endian. With an owner, epoch 4, owner 4. What other kinds put where stands in docs/spec/store.md.
    pub(crate) fn encode(&self, key: &StoreKey) -> [u8; RECORD_BYTES as usize] {
        let mut bytes = [0; RECORD_BYTES as usize];
        bytes[..4].copy_from_slice(&RECORD_MAGIC);
        bytes[6..8].copy_from_slice(&self.batch.to_le_bytes());
        bytes[8..40].copy_from_slice(&self.shard.0);
        match self.kind {
            RecordKind::Put { placement, stored_at, summed, owner } => {
                bytes[4] = if summed { 4 } else { 1 };
                bytes[5] = placement.index;
                bytes[40..72].copy_from_slice(&placement.stripe.0);
                bytes[72..76].copy_from_slice(&placement.pg.to_le_bytes());
                bytes[76..80].copy_from_slice(&placement.size.to_le_bytes());
                bytes[80..88].copy_from_slice(&placement.epoch.to_le_bytes());
                if let (true, Some(both)) = (summed, encode_owner(placement.epoch, owner)) {
                    bytes[4] = 5;
                    bytes[80..88].copy_from_slice(&both);
                }
                bytes[88..96].copy_from_slice(&stored_at.to_le_bytes());
            }
            RecordKind::Delete(victim) => {
                bytes[4] = 2;
                bytes[40..48].copy_from_slice(&victim.sequence.to_le_bytes());
                bytes[72..76].copy_from_slice(&victim.segment.to_le_bytes());
            }
            RecordKind::Mark { victim, state, owner } => {
                let (number, at) = state.encode();
                (bytes[4], bytes[5]) = (3, number);
                bytes[40..48].copy_from_slice(&victim.to_le_bytes());
                bytes[84..88].copy_from_slice(&owner.0.to_le_bytes());
                bytes[88..96].copy_from_slice(&at.to_le_bytes());
            }
        }
        bytes[96..CHECKSUM_AT].copy_from_slice(&self.sequence.to_le_bytes());
        let sum = key.checksum(&bytes[..CHECKSUM_AT]);
        bytes[CHECKSUM_AT..].copy_from_slice(&sum);
        bytes
    }

    /// The record in these bytes, if they are one.
    pub(crate) fn decode(bytes: &[u8; RECORD_BYTES as usize], key: &StoreKey) -> Option<Self> {
        if bytes[..4] != RECORD_MAGIC || bytes[CHECKSUM_AT..] != key.checksum(&bytes[..CHECKSUM_AT]) {
            return None;
        }
        let kind = match bytes[4] {
            1 | 4 | 5 => {
                let (epoch, owner) = decode_owner(array(bytes, 80), bytes[4] == 5);
                let placement = ShardPlacement {
                    stripe: StripeId(array(bytes, 40)),
                    pg: u32::from_le_bytes(array(bytes, 72)),
                    index: bytes[5],
                    epoch,
                    size: u32::from_le_bytes(array(bytes, 76)),
                };
                let stored_at = u64::from_le_bytes(array(bytes, 88));
                RecordKind::Put { placement, stored_at, summed: bytes[4] != 1, owner }
            }
            2 => RecordKind::Delete(Victim {
                sequence: u64::from_le_bytes(array(bytes, 40)),
                segment: u32::from_le_bytes(array(bytes, 72)),
            }),
            3 => RecordKind::Mark {
                victim: u64::from_le_bytes(array(bytes, 40)),
                state: State::decode(bytes[5], u64::from_le_bytes(array(bytes, 88)))?,
                owner: Owner(u32::from_le_bytes(array(bytes, 84))),
            },
            _ => return None,
        };
        let sequence = u64::from_le_bytes(array(bytes, 96));
        let batch = u16::from_le_bytes(array(bytes, 6));
        Some(Self { sequence, batch, shard: ShardHash(array(bytes, 8)), kind })
    }
}

/// Epoch and owner in the place of an epoch, where there is one and the epoch leaves room for it: maps come by the hour.
pub(super) fn encode_owner(epoch: u64, owner: Owner) -> Option<[u8; 8]> {
    let epoch = u32::try_from(epoch).ok().filter(|_| owner != Owner::NONE)?;
    Some((u64::from(owner.0) << 32 | u64::from(epoch)).to_le_bytes())
}

/// What [`encode_owner`] made, or an epoch alone.
pub(super) fn decode_owner(bytes: [u8; 8], has_owner: bool) -> (u64, Owner) {
    let both = u64::from_le_bytes(bytes);
    match has_owner {
        // Halves fit.
        true => (both & u64::from(u32::MAX), Owner((both >> 32) as u32)),
        false => (both, Owner::NONE),
    }
}

/// Bytes behind the header of a put.
pub(super) fn payload_len(size: u32, summed: bool) -> u64 {
    u64::from(size) + if summed { TRAILER_BYTES } else { 0 }
}

/// Header of a segment file: magic 8, version 4, number 4, compacted 8, checksum 8. What was dead when the log
/// stood at `compacted` is not in the file any more.
pub(crate) fn encode_segment(
    number: u32,
    compacted: u64,
    key: &StoreKey,
) -> [u8; SEGMENT_HEADER_BYTES as usize] {
    let mut bytes = [0; SEGMENT_HEADER_BYTES as usize];
    bytes[..8].copy_from_slice(&SEGMENT_MAGIC);
    bytes[8..12].copy_from_slice(&SEGMENT_VERSION.to_le_bytes());
    bytes[12..16].copy_from_slice(&number.to_le_bytes());
    bytes[16..24].copy_from_slice(&compacted.to_le_bytes());
    let sum = key.checksum(&bytes[..24]);
    bytes[24..].copy_from_slice(&sum);
    bytes
}

/// `compacted` of a good header of this segment.
pub(crate) fn decode_segment(
    bytes: &[u8; SEGMENT_HEADER_BYTES as usize],
    number: u32,
    key: &StoreKey,
) -> Option<u64> {
    let compacted = u64::from_le_bytes(array(bytes, 16));
    (*bytes == encode_segment(number, compacted, key)).then_some(compacted)
}

/// `N` bytes from `at`; callers pass offsets inside the buffer.
pub(crate) fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> [Record; 6] {
        let placement = ShardPlacement { stripe: StripeId([2; 32]), pg: 3, index: 4, epoch: 5, size: 6 };
        let shard = ShardHash([1; 32]);
        let victim = Victim { sequence: 8, segment: 1 };
        let trashed = RecordKind::Mark { victim: 8, state: State::Trashed { at: 7 }, owner: Owner::NONE };
        [
            Record {
                sequence: 8,
                batch: 0,
                shard,
                kind: RecordKind::Put { placement, stored_at: 7, summed: false, owner: Owner::NONE },
            },
            Record { sequence: 9, batch: 1, shard, kind: RecordKind::Delete(victim) },
            Record { sequence: 10, batch: 0x0102, shard, kind: trashed },
            Record {
                sequence: 9,
                batch: 0,
                shard,
                kind: RecordKind::Delete(Victim { sequence: 0, segment: 0 }),
            },
            Record {
                sequence: 8,
                batch: 0,
                shard,
                kind: RecordKind::Put { placement, stored_at: 7, summed: true, owner: Owner::NONE },
            },
            Record {
                sequence: 8,
                batch: 0,
                shard,
                kind: RecordKind::Put { placement, stored_at: 7, summed: true, owner: Owner(0x0a0b_0c0d) },
            },
        ]
    }

    #[test]
    fn records_round_trip() {
        let key = StoreKey([9; 32]);
        for record in records() {
            assert_eq!(Record::decode(&record.encode(&key), &key), Some(record));
        }
    }

    #[test]
    fn an_epoch_that_leaves_no_room_is_kept_without_the_owner() {
        let key = StoreKey([9; 32]);
        let of = |epoch, owner| {
            let mut record = records()[5];
            if let RecordKind::Put { placement, owner: is, .. } = &mut record.kind {
                (placement.epoch, *is) = (epoch, owner);
            }
            record
        };
        for epoch in [u64::from(u32::MAX) + 1, u64::MAX] {
            assert_eq!(Record::decode(&of(epoch, Owner(7)).encode(&key), &key), Some(of(epoch, Owner::NONE)));
        }
        let most = of(u32::MAX.into(), Owner(u32::MAX));
        assert_eq!(Record::decode(&most.encode(&key), &key), Some(most));
    }

    /// Stores outlive programs: these bytes never change, and the first and last are of version 1 too.
    #[test]
    fn layouts_are_frozen() {
        let key = StoreKey([9; 32]);
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let [put, delete, trash, old_delete, summed, owned] = records();
        let zeros = |count: usize| "00".repeat(count);
        let (shard, stripe) = ("01".repeat(32), "02".repeat(32));
        let fields = "0300000006000000050000000000000007000000000000000800000000000000";
        let expected = format!("4153523101040000{shard}{stripe}{fields}0976f70ea318b9a7");
        assert_eq!(hex(&put.encode(&key)), expected);
        let expected = format!("4153523104040000{shard}{stripe}{fields}dedf7d7a79fbd97d");
        assert_eq!(hex(&summed.encode(&key)), expected);
        let fields = "0300000006000000050000000d0c0b0a07000000000000000800000000000000";
        let expected = format!("4153523105040000{shard}{stripe}{fields}1df08f0301fdffeb");
        assert_eq!(hex(&owned.encode(&key)), expected);
        // CRC-32C of 32 zeros and of nothing, and of an address and a body.
        assert_eq!(body_checksum(&ShardHash([0; 32]), b""), 0x8a91_36aa);
        assert_eq!(
            body_checksum(&ShardHash(*b"an address of exactly thirty-two"), b"123456789"),
            0xbf4c_8dbb
        );
        let expected = format!("4153523102000000{shard}{}090000000000000017df7af2aa88ac75", zeros(56));
        assert_eq!(hex(&old_delete.encode(&key)), expected);
        let victim = format!("0800000000000000{}", zeros(24));
        let expected =
            format!("4153523102000100{shard}{victim}01000000{}0900000000000000567e78cd0d562309", zeros(20));
        assert_eq!(hex(&delete.encode(&key)), expected);
        let at = "0700000000000000";
        let expected =
            format!("4153523103010201{shard}{victim}{}{at}0a00000000000000cdca7d8aab3ce844", zeros(16));
        assert_eq!(hex(&trash.encode(&key)), expected);
        let RecordKind::Mark { victim: put, state, .. } = trash.kind else { panic!("{trash:?}") };
        let kind = RecordKind::Mark { victim: put, state, owner: Owner(9) };
        let expected = format!(
            "4153523103010201{shard}{victim}{}09000000{at}0a00000000000000440676636d41b04f",
            zeros(12)
        );
        assert_eq!(hex(&Record { kind, ..trash }.encode(&key)), expected);
        assert_eq!(
            hex(&encode_segment(3, 0, &key)),
            "4152494f4e5345470100000003000000".to_owned() + &zeros(8) + "e6af13e6511aaf62"
        );
    }

    #[test]
    fn every_flipped_bit_and_another_stores_key_are_refused() {
        let key = StoreKey([9; 32]);
        for record in records() {
            let good = record.encode(&key);
            for bit in 0..good.len() * 8 {
                let mut bad = good;
                bad[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Record::decode(&bad, &key), None, "bit {bit}");
            }
            assert_eq!(Record::decode(&good, &StoreKey([8; 32])), None);
        }
    }
}
