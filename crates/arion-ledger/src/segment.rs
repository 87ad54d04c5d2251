//! The ledger as files: segments of lines, and the root over all of them.
//!
//! # Invariants
//! - A ledger has one form in bytes: whatever else decodes is refused.
//! - The root over the first `n` lines depends on nothing but the chain, the gateway and these lines; what is appended
//!   changes no root of before.
//!
//! Specified in docs/spec/ledger.md; frozen by vectors/ledger.json.

use arion_proofs::merkle::{self, Hash};
use arion_protocol::LedgerRecord;
use arion_types::{GenesisHash, NodeId};
use codec::{Decode, DecodeAll, Encode};

/// Lines of every segment but the last.
pub const SEGMENT_LINES: u32 = 4_096;

/// A part of a gateway's ledger.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Segment {
    /// Of receipts and deletions.
    #[codec(index = 1)]
    V1(SegmentV1),
    /// With a line at least that releases a miner; laid out likewise.
    #[codec(index = 2)]
    V2(SegmentV1),
    /// With a line at least about what a miner served; laid out likewise.
    #[codec(index = 3)]
    V3(SegmentV1),
    /// With a line at least that says what has to be kept of those before; laid out likewise.
    #[codec(index = 4)]
    V4(SegmentV1),
}

impl Segment {
    /// In the one version that its lines demand: readers of the first version read what they can.
    fn of(segment: SegmentV1) -> Self {
        match segment.lines.iter().map(LedgerRecord::version).max() {
            None | Some(1) => Self::V1(segment),
            Some(2) => Self::V2(segment),
            Some(3) => Self::V3(segment),
            Some(_) => Self::V4(segment),
        }
    }

    fn into_inner(self) -> SegmentV1 {
        match self {
            Self::V1(segment) | Self::V2(segment) | Self::V3(segment) | Self::V4(segment) => segment,
        }
    }
}

/// What a segment has.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct SegmentV1 {
    /// Hash of block 0 of the chain.
    pub genesis: GenesisHash,
    /// Whose ledger.
    pub gateway: NodeId,
    /// Number of the segment, from 0: its first line is the one behind `number * SEGMENT_LINES`.
    pub number: u32,
    /// The lines, at least one and at most [`SEGMENT_LINES`].
    pub lines: Vec<LedgerRecord>,
}

/// Why segments are not a ledger.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SegmentFault {
    /// The bytes are no segment, or not in the one form it has.
    #[error("segment {0} does not decode, or is not written in the canonical form")]
    Malformed(u32),
    /// Another chain, gateway or number than its place demands.
    #[error("segment {0} is of another chain, another gateway or another place")]
    Misplaced(u32),
    /// Empty, too long, or short without being the last.
    #[error("segment {0} has a number of lines that it cannot have there")]
    Length(u32),
}

/// The hash of a line under the root; `sequence` counts from 1.
pub fn line_hash(genesis: &GenesisHash, gateway: &NodeId, sequence: u64, record: &LedgerRecord) -> Hash {
    merkle::leaf(&(genesis, gateway, sequence, record).encode())
}

/// A ledger that is whole: its segments fit together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ledger {
    genesis: GenesisHash,
    gateway: NodeId,
    lines: Vec<LedgerRecord>,
}

impl Ledger {
    /// From lines in their order.
    pub fn new(genesis: GenesisHash, gateway: NodeId, lines: Vec<LedgerRecord>) -> Self {
        Self { genesis, gateway, lines }
    }

    /// Reads the segments of a gateway, in their order.
    pub fn read(
        genesis: GenesisHash,
        gateway: NodeId,
        segments: &[impl AsRef<[u8]>],
    ) -> Result<Self, SegmentFault> {
        let mut lines = Vec::new();
        for (bytes, number) in segments.iter().zip(0u32..) {
            let bytes = bytes.as_ref();
            let decoded = Segment::decode_all(&mut &bytes[..]);
            let segment = decoded.map_err(|_| SegmentFault::Malformed(number))?.into_inner();
            if (segment.genesis, segment.gateway, segment.number) != (genesis, gateway, number) {
                return Err(SegmentFault::Misplaced(number));
            }
            let is_last = number as usize + 1 == segments.len();
            let is_full = segment.lines.len() == SEGMENT_LINES as usize;
            let is_short = !segment.lines.is_empty() && segment.lines.len() < SEGMENT_LINES as usize;
            if !(is_full || is_last && is_short) {
                return Err(SegmentFault::Length(number));
            }
            if Segment::of(segment.clone()).encode() != bytes {
                return Err(SegmentFault::Malformed(number));
            }
            lines.extend(segment.lines);
        }
        Ok(Self::new(genesis, gateway, lines))
    }

    /// The segments, in their order.
    pub fn write(&self) -> Vec<Vec<u8>> {
        let chunks = self.lines.chunks(SEGMENT_LINES as usize).zip(0u32..);
        let segment = |(lines, number): (&[LedgerRecord], u32)| {
            let (genesis, gateway) = (self.genesis, self.gateway);
            Segment::of(SegmentV1 { genesis, gateway, number, lines: lines.to_vec() }).encode()
        };
        chunks.map(segment).collect()
    }

    /// The lines; the first has sequence number 1.
    pub fn lines(&self) -> &[LedgerRecord] {
        &self.lines
    }

    /// Whose ledger.
    pub fn gateway(&self) -> NodeId {
        self.gateway
    }

    /// Hash of block 0 of the chain.
    pub fn genesis(&self) -> GenesisHash {
        self.genesis
    }

    /// Hashes of all lines, in their order.
    pub fn hashes(&self) -> Vec<Hash> {
        let hash = |(record, sequence)| line_hash(&self.genesis, &self.gateway, sequence, record);
        self.lines.iter().zip(1u64..).map(hash).collect()
    }

    /// Proof that a line is under the root over `hashes`: the first of [`Ledger::hashes`], up to the length of the ledger
    /// in question. `None` if there is no such line. Hashes the whole tree.
    pub fn prove(&self, hashes: &[Hash], sequence: u64) -> Option<LineProof> {
        let position = usize::try_from(sequence.checked_sub(1)?).ok()?;
        let path = merkle::path(hashes, position)?;
        let record = *self.lines.get(position)?;
        Some(LineProof { sequence, length: hashes.len() as u64, record, path })
    }
}

/// Shows a line to somebody who has only the root.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct LineProof {
    /// Which line.
    pub sequence: u64,
    /// Number of lines under the root.
    pub length: u64,
    /// What it says.
    pub record: LedgerRecord,
    /// From the line to the root.
    pub path: Vec<Hash>,
}

impl LineProof {
    /// Whether the ledger with this root has the line.
    pub fn holds(&self, genesis: &GenesisHash, gateway: &NodeId, root: &Hash) -> bool {
        let hash = line_hash(genesis, gateway, self.sequence, &self.record);
        let position = self.sequence.checked_sub(1);
        position.is_some_and(|position| merkle::is_at(root, &hash, position, self.length, &self.path))
    }
}
