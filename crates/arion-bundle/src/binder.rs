//! Writing a bundle.

use std::collections::BTreeSet;

use arion_proofs::merkle::{self, Hash};
use arion_types::{AttestationRecord, Exhibit, GenesisHash};
use codec::Encode;

use crate::{
    format::{
        Block, Entry, IndexV1, PART_BYTES_MAX, PART_VERSION, PartHeader, PartRef, attestation_leaf,
        warden_root,
    },
    span::Span,
};

/// Binds attestations in their order: bucket by bucket, in a bucket as the chain has them.
#[derive(Clone, Debug)]
pub struct Binder {
    genesis: GenesisHash,
    span: Span,
    read_at: Block,
    part_bytes_max: usize,
    part: Vec<u8>,
    in_part: u32,
    exhibits: u32,
    leaves: Vec<Hash>,
    wardens: BTreeSet<[u8; 32]>,
    parts: Vec<PartRef>,
}

/// A bundle but for the parts that were given out before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bound {
    /// The last part, unless there is no attestation.
    pub last_part: Option<Vec<u8>>,
    /// The index.
    pub index: IndexV1,
}

impl Binder {
    /// Begins a bundle of what the chain had at `read_at`.
    pub fn new(genesis: GenesisHash, span: Span, read_at: Block) -> Self {
        Self {
            genesis,
            span,
            read_at,
            part_bytes_max: PART_BYTES_MAX,
            part: Vec::new(),
            in_part: 0,
            exhibits: 0,
            leaves: Vec::new(),
            wardens: BTreeSet::new(),
            parts: Vec::new(),
        }
    }

    #[cfg(test)]
    pub(crate) fn with_parts_of(self, part_bytes_max: usize) -> Self {
        Self { part_bytes_max, ..self }
    }

    /// Adds an attestation. Returns a part that is full; it is to be kept under its BLAKE3.
    pub fn add(&mut self, record: &AttestationRecord, exhibit: &Exhibit) -> Option<Vec<u8>> {
        let entry = Entry::bytes_of(record, exhibit);
        let is_full = self.in_part > 0 && self.part.len() + entry.len() > self.part_bytes_max;
        let full = if is_full { self.close() } else { None };
        if self.in_part == 0 {
            let header = PartHeader {
                version: PART_VERSION,
                genesis: self.genesis,
                epoch: self.span.epoch,
                number: self.parts.len() as u32,
                first: self.leaves.len() as u32,
            };
            self.part = header.encode();
        }
        self.part.extend_from_slice(&entry);
        self.in_part += 1;
        self.exhibits += u32::from(*exhibit != Exhibit::Absent);
        self.leaves.push(attestation_leaf(&self.genesis, self.span.epoch, record));
        self.wardens.insert(record.warden_pubkey);
        full
    }

    fn close(&mut self) -> Option<Vec<u8>> {
        if self.in_part == 0 {
            return None;
        }
        let part = std::mem::take(&mut self.part);
        let attestations = std::mem::take(&mut self.in_part);
        self.parts.push(PartRef {
            hash: blake3::hash(&part).into(),
            bytes: u32::try_from(part.len()).unwrap_or(u32::MAX),
            attestations,
        });
        Some(part)
    }

    /// The last part and the index.
    pub fn finish(mut self) -> Bound {
        let last_part = self.close();
        let Span { epoch, first_block, end_block } = self.span;
        let index = IndexV1 {
            genesis: self.genesis,
            epoch,
            first_block,
            end_block,
            read_at: self.read_at,
            attestations: u32::try_from(self.leaves.len()).unwrap_or(u32::MAX),
            exhibits: self.exhibits,
            attestation_root: merkle::root(&self.leaves),
            warden_root: warden_root(&self.wardens),
            wardens: self.wardens.into_iter().collect(),
            parts: self.parts,
        };
        Bound { last_part, index }
    }
}
