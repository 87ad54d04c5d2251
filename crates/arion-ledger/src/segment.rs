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

/// More bytes than any segment has.
pub const SEGMENT_BYTES_MAX: usize = 1 << 20;

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

/// Name of a segment as a file, and as an object behind its gateway's node id.
pub fn file_name(number: u32) -> String {
    format!("{number:08}.segment")
}

/// Name of a segment as an object.
pub fn object_name(gateway: &NodeId, number: u32) -> String {
    format!("{gateway}/{}", file_name(number))
}

/// The bytes of a segment with these lines, of which there is at least one and are at most [`SEGMENT_LINES`].
pub fn write(genesis: GenesisHash, gateway: NodeId, number: u32, lines: Vec<LedgerRecord>) -> Vec<u8> {
    Segment::of(SegmentV1 { genesis, gateway, number, lines }).encode()
}

/// The lines of the segment with this number: at least one, at most [`SEGMENT_LINES`].
pub fn read(
    genesis: GenesisHash,
    gateway: NodeId,
    number: u32,
    bytes: &[u8],
) -> Result<Vec<LedgerRecord>, SegmentFault> {
    let malformed = SegmentFault::Malformed(number);
    let segment = Segment::decode_all(&mut &*bytes).map_err(|_| malformed)?.into_inner();
    if (segment.genesis, segment.gateway, segment.number) != (genesis, gateway, number) {
        return Err(SegmentFault::Misplaced(number));
    }
    if segment.lines.is_empty() || segment.lines.len() > SEGMENT_LINES as usize {
        return Err(SegmentFault::Length(number));
    }
    let segment = Segment::of(segment);
    if segment.encode() != bytes {
        return Err(malformed);
    }
    Ok(segment.into_inner().lines)
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
            let read = read(genesis, gateway, number, bytes.as_ref())?;
            let is_last = number as usize + 1 == segments.len();
            if read.len() < SEGMENT_LINES as usize && !is_last {
                return Err(SegmentFault::Length(number));
            }
            lines.extend(read);
        }
        Ok(Self::new(genesis, gateway, lines))
    }

    /// The segments, in their order.
    pub fn write(&self) -> Vec<Vec<u8>> {
        let chunks = self.lines.chunks(SEGMENT_LINES as usize).zip(0u32..);
        let segment = |(lines, number): (&[LedgerRecord], u32)| {
            write(self.genesis, self.gateway, number, lines.to_vec())
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
