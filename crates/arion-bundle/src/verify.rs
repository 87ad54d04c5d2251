//! Checking a bundle, a part at a time.
//!
//! # Invariants
//! - Nothing in the bundle is believed that the chain can say: [`Facts`] and block hashes come from elsewhere.
//! - All faults are counted, at most [`FAULTS_MAX`] are listed; an attestation has at most one.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use arion_proofs::merkle::{self, Hash};
use arion_types::{
    AttestationCommitment, AttestationRecord, AttestationResult, Exhibit, GenesisHash, Uid,
    attestation::challenge_seed,
};
use codec::Decode;
use serde::Serialize;

use crate::{
    exhibit::{Shown, judge},
    fault::{Fault, FaultKind, Place},
    format::{
        Block, Entry, Index, IndexV1, PART_BYTES_MAX, PART_VERSION, PartHeader, PartRef, attestation_leaf,
        warden_root,
    },
    span::Span,
};

/// Faults that are listed.
pub const FAULTS_MAX: usize = 1_000;

/// What the chain says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Facts {
    /// Hash of block 0.
    pub genesis: GenesisHash,
    /// The epoch's blocks.
    pub span: Span,
    /// Blocks of a bucket.
    pub bucket_blocks: u32,
    /// What was committed to for the epoch.
    pub commitment: AttestationCommitment,
    /// Node ids in the map of the epoch, by number.
    pub miners: BTreeMap<Uid, [u8; 32]>,
}

/// How the audits of a miner ended.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct MinerVerdict {
    /// Number in the map.
    pub uid: Uid,
    /// Passed.
    pub passed: u32,
    /// The miner said that it does not have the shard whole.
    pub failed: u32,
    /// No answer.
    pub timeouts: u32,
    /// Answers that prove nothing.
    pub invalid_proofs: u32,
    /// Verdicts of these that follow from an answer in the bundle; the others rest on the warden's word.
    pub shown: u32,
    /// `InvalidProof` with an answer that does prove the shard.
    pub doubtful: u32,
}

/// What a bundle comes to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// Attestations that decoded.
    pub attestations: u32,
    /// Of these with an exhibit.
    pub exhibits: u32,
    /// Wardens that signed.
    pub wardens: usize,
    /// Miners, by number.
    pub miners: Vec<MinerVerdict>,
    /// Attestations that the chain has and the bundle does not, because they came later ([`Verifier::came_later`]).
    pub late: u64,
    /// Faults, the first [`FAULTS_MAX`] of them.
    pub faults: Vec<Fault>,
    /// Number of all faults.
    pub found: u64,
}

/// What a warden has one verdict about.
type Challenge = ([u8; 32], [u8; 32], u32, u64);

/// Checks a bundle.
#[derive(Clone, Debug)]
pub struct Verifier {
    facts: Facts,
    index: IndexV1,
    leaves: Vec<Hash>,
    /// Where the attestations of a bucket begin in [`Verifier::leaves`].
    buckets: BTreeMap<u32, usize>,
    bucket: u32,
    challenges: HashSet<Challenge>,
    wardens: BTreeSet<[u8; 32]>,
    miners: BTreeMap<Uid, MinerVerdict>,
    exhibits: u32,
    late: u64,
    faults: Vec<Fault>,
    found: u64,
}

impl Verifier {
    /// Begins with the index. One that does not decode says where no part is: that is the end of it.
    pub fn new(facts: Facts, index: &[u8]) -> Result<Self, Fault> {
        let place = Place::Index { field: "as a whole" };
        let is_committed = *blake3::hash(index).as_bytes() == facts.commitment.content_hash;
        let kind = if is_committed { FaultKind::Malformed } else { FaultKind::Hash };
        let read = Index::read(index).ok_or(Fault { place, kind })?;
        let mut verifier = Self {
            facts,
            index: read,
            leaves: Vec::new(),
            buckets: BTreeMap::new(),
            bucket: 0,
            challenges: HashSet::new(),
            wardens: BTreeSet::new(),
            miners: BTreeMap::new(),
            exhibits: 0,
            late: 0,
            faults: Vec::new(),
            found: 0,
        };
        if !is_committed {
            verifier.fault(place, FaultKind::Hash);
        }
        Ok(verifier)
    }

    /// The parts, in their order: [`Verifier::part`] wants each of them once, in this order.
    pub fn parts(&self) -> &[PartRef] {
        &self.index.parts
    }

    /// The block at which the chain was read.
    pub fn read_at(&self) -> Block {
        self.index.read_at
    }

    fn fault(&mut self, place: Place, kind: FaultKind) {
        self.found += 1;
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(Fault { place, kind });
        }
    }

    /// Checks a part; `None` where it is not to be had. `hash_of` gives the hashes of finalised blocks.
    pub fn part(&mut self, number: u32, bytes: Option<&[u8]>, hash_of: impl Fn(u64) -> Option<[u8; 32]>) {
        let place = Place::Part { part: number };
        let known = usize::try_from(number).ok().and_then(|number| self.index.parts.get(number)).copied();
        let (Some(known), Some(bytes)) = (known, bytes) else { return self.fault(place, FaultKind::Missing) };
        let before = self.found;
        self.entries(number, &known, bytes, hash_of);
        let is_it = *blake3::hash(bytes).as_bytes() == known.hash;
        if !is_it && self.found == before {
            self.fault(place, FaultKind::Hash);
        }
        if bytes.len() != known.bytes as usize || bytes.len() > PART_BYTES_MAX {
            self.fault(Place::Index { field: "parts: bytes" }, FaultKind::Field);
        }
    }

    fn entries(
        &mut self,
        number: u32,
        known: &PartRef,
        bytes: &[u8],
        hash_of: impl Fn(u64) -> Option<[u8; 32]>,
    ) {
        let place = Place::Part { part: number };
        let mut rest = bytes;
        let Ok(header) = PartHeader::decode(&mut rest) else {
            return self.fault(place, FaultKind::Malformed);
        };
        let expected = PartHeader {
            version: PART_VERSION,
            genesis: self.facts.genesis,
            epoch: self.facts.span.epoch,
            number,
            first: self.leaves.len() as u32,
        };
        if header != expected {
            self.fault(place, FaultKind::Misplaced);
        }
        for _ in 0..known.attestations {
            let offset = (bytes.len() - rest.len()) as u64;
            let attestation = self.leaves.len() as u32;
            let at = |length: usize| Place::Attestation {
                attestation,
                part: number,
                offset,
                bytes: length as u64,
            };
            let Some((entry, behind)) = Entry::read(rest) else {
                return self.fault(at(rest.len()), FaultKind::Malformed);
            };
            let length = rest.len() - behind.len();
            rest = behind;
            if let Some(kind) = self.entry(&entry, &hash_of) {
                self.fault(at(length), kind);
            }
        }
        if !rest.is_empty() {
            self.fault(place, FaultKind::Trailing);
        }
    }

    /// Takes an attestation in; what is wrong with it.
    fn entry(&mut self, entry: &Entry, hash_of: impl Fn(u64) -> Option<[u8; 32]>) -> Option<FaultKind> {
        let Entry { record, exhibit, check_holds } = entry;
        let bucket = record.block_number / u64::from(self.facts.bucket_blocks.max(1));
        let bucket = u32::try_from(bucket).unwrap_or(u32::MAX);
        let order = self.order(bucket, record);
        let leaf = attestation_leaf(&self.facts.genesis, self.facts.span.epoch, record);
        self.buckets.entry(bucket).or_insert(self.leaves.len());
        self.leaves.push(leaf);
        self.wardens.insert(record.warden_pubkey);
        self.exhibits += u32::from(*exhibit != Exhibit::Absent);

        let holds = self.holds(record, hash_of).or(order);
        let shown = match holds {
            None => judge(record, exhibit),
            Some(kind) => Err(kind),
        };
        let verdict = self.miners.entry(record.miner_uid).or_default();
        verdict.uid = record.miner_uid;
        match record.result {
            AttestationResult::Passed => verdict.passed += 1,
            AttestationResult::Failed => verdict.failed += 1,
            AttestationResult::Timeout => verdict.timeouts += 1,
            AttestationResult::InvalidProof => verdict.invalid_proofs += 1,
        }
        match shown {
            Ok(Shown::Shown) => verdict.shown += 1,
            Ok(Shown::Doubtful) => verdict.doubtful += 1,
            Ok(Shown::Told) | Err(_) => {}
        }
        shown.err().or((!check_holds).then_some(FaultKind::Check))
    }

    fn order(&mut self, bucket: u32, record: &AttestationRecord) -> Option<FaultKind> {
        let is_back = bucket < self.bucket;
        if bucket != self.bucket {
            self.challenges.clear();
            self.bucket = bucket;
        }
        let challenge = (record.warden_pubkey, record.shard_hash, record.miner_uid, record.block_number);
        let is_new = self.challenges.insert(challenge);
        if is_back { Some(FaultKind::Order) } else { (!is_new).then_some(FaultKind::Twice) }
    }

    /// What is wrong with a record, whatever its exhibit.
    fn holds(
        &self,
        record: &AttestationRecord,
        hash_of: impl Fn(u64) -> Option<[u8; 32]>,
    ) -> Option<FaultKind> {
        if !record.verify(&self.facts.genesis) {
            return Some(FaultKind::Signature);
        }
        if !self.facts.span.holds(record.block_number) {
            return Some(FaultKind::Block);
        }
        let Some(miner) = self.facts.miners.get(&record.miner_uid) else { return Some(FaultKind::Miner) };
        let seed = hash_of(record.block_number)
            .map(|hash| challenge_seed(&hash, &record.warden_pubkey, miner, &record.shard_hash));
        (seed != Some(record.challenge_seed)).then_some(FaultKind::Seed)
    }

    /// Compares a bucket with what the chain has in it, of whatever epoch, in its order; at the block where the bundle was made
    /// (`then`), or now. Returns what the chain has more now, behind all that is in the bundle: either it came later
    /// ([`Verifier::came_later`]), or the maker left it out ([`Verifier::left_out`]).
    pub fn compare(
        &mut self,
        bucket: u32,
        chain: &[AttestationRecord],
        then: bool,
    ) -> Vec<AttestationRecord> {
        let (span, genesis) = (self.facts.span, self.facts.genesis);
        let of_epoch = || chain.iter().filter(|record| span.holds(record.block_number));
        let stored: Vec<Hash> =
            of_epoch().map(|record| attestation_leaf(&genesis, span.epoch, record)).collect();
        let begin = self.buckets.get(&bucket).copied();
        let end = self.buckets.range(bucket.saturating_add(1)..).next().map(|(_, begin)| *begin);
        let bound = begin.map_or(&[][..], |begin| {
            let end = end.unwrap_or(self.leaves.len()).max(begin);
            self.leaves.get(begin..end).unwrap_or_default()
        });
        let length = bound.len();
        if !stored.starts_with(bound) || (then && stored.len() > length) {
            self.left_out(bucket);
            return Vec::new();
        }
        of_epoch().skip(length).cloned().collect()
    }

    /// The chain has other attestations in this bucket.
    pub fn left_out(&mut self, bucket: u32) {
        self.fault(Place::Bucket { bucket }, FaultKind::Chain);
    }

    /// So many of what [`Verifier::compare`] returned came to the chain after the bundle was made.
    pub fn came_later(&mut self, count: u64) {
        self.late += count;
    }

    /// What follows for the index when all parts were there.
    pub fn finish(mut self, hash_of: impl Fn(u64) -> Option<[u8; 32]>) -> Report {
        let index = self.index.clone();
        let (facts, commitment) = (self.facts.clone(), self.facts.commitment);
        let root = merkle::root(&self.leaves);
        let wardens = warden_root(&self.wardens);
        let count = self.leaves.len() as u32;
        let parts_count = index.parts.iter().try_fold(0u32, |sum, part| sum.checked_add(part.attestations));
        let has_empty_part = index.parts.iter().any(|part| part.attestations == 0);
        for (field, holds) in [
            ("genesis", index.genesis == facts.genesis),
            ("epoch", index.epoch == facts.span.epoch),
            ("first_block", index.first_block == facts.span.first_block),
            ("end_block", index.end_block == facts.span.end_block),
            (
                "read_at",
                index.read_at.number >= facts.span.closes_at(facts.bucket_blocks)
                    && hash_of(index.read_at.number.into()) == Some(index.read_at.hash),
            ),
            ("attestations", index.attestations == count && commitment.count == count),
            ("exhibits", index.exhibits == self.exhibits),
            ("attestation_root", index.attestation_root == root && commitment.attestation_root == root),
            ("warden_root", index.warden_root == wardens && commitment.warden_root == wardens),
            ("wardens", index.wardens.iter().eq(&self.wardens)),
            ("parts: attestations", parts_count == Some(count) && !has_empty_part),
        ] {
            if !holds {
                self.fault(Place::Index { field }, FaultKind::Field);
            }
        }
        Report {
            attestations: count,
            exhibits: self.exhibits,
            wardens: self.wardens.len(),
            miners: self.miners.into_values().collect(),
            late: self.late,
            faults: self.faults,
            found: self.found,
        }
    }
}
