//! A bundle in which one byte has changed, whichever: it is noticed, and where it was.

use std::ops::Range;

use arion_types::{AttestationRecord, AttestationResult, Exhibit};
use codec::Encode;
use proptest::prelude::*;

use crate::{
    Facts, Fault, Place, Verifier,
    samples::{audit, bind, block_hash, facts},
};

/// A bundle of a few kilobytes, so that every byte of it can be tried.
pub(crate) struct Small {
    pub(crate) facts: Facts,
    pub(crate) index: Vec<u8>,
    pub(crate) parts: Vec<Vec<u8>>,
    /// Which bytes of which part are of which attestation.
    places: Vec<(u32, Range<usize>)>,
}

const HEADER_BYTES: usize = 1 + 32 + 8 + 4 + 4;

pub(crate) fn small() -> Small {
    use AttestationResult::{Failed, InvalidProof, Passed, Timeout};
    let mut audits: Vec<(AttestationRecord, Exhibit)> = vec![
        audit(1, 150, InvalidProof),
        audit(2, 160, Failed),
        audit(3, 170, Timeout),
        audit(4, 230, InvalidProof),
        audit(5, 240, Passed),
    ];
    audits[4].1 = Exhibit::Absent;
    let (parts, bound) = bind(&audits, 700);
    let mut places = Vec::new();
    let mut at = (0, HEADER_BYTES);
    for (record, exhibit) in &audits {
        let length = (record, exhibit).encoded_size() + 8;
        if at.1 + length > parts[at.0 as usize].len() {
            at = (at.0 + 1, HEADER_BYTES);
        }
        places.push((at.0, at.1..at.1 + length));
        at.1 += length;
    }
    assert_eq!((parts.len(), at.1), (3, parts[2].len()));
    Small { facts: facts(&bound), index: bound.index.commitment().1, parts, places }
}

impl Small {
    fn faults(&self, index: &[u8], parts: &[Vec<u8>]) -> Vec<Fault> {
        let mut verifier = match Verifier::new(self.facts.clone(), index) {
            Ok(verifier) => verifier,
            Err(fault) => return vec![fault],
        };
        for number in 0..verifier.parts().len() {
            verifier.part(number as u32, parts.get(number).map(Vec::as_slice), block_hash);
        }
        verifier.finish(block_hash).faults
    }

    /// Changes a byte of a part, and looks for the place in the faults.
    fn part_changed(&self, part: usize, byte: usize, by: u8) -> Result<(), String> {
        let mut parts = self.parts.clone();
        parts[part][byte] ^= by;
        let faults = self.faults(&self.index, &parts);
        let hit = self.places.iter().position(|(p, range)| *p as usize == part && range.contains(&byte));
        let first = faults.first().ok_or("not noticed")?;
        let is_named = match (hit, first.place) {
            (None, Place::Part { part: named }) => named as usize == part,
            (Some(hit), Place::Attestation { attestation, part: named, offset, bytes }) => {
                let range = offset as usize..(offset + bytes) as usize;
                attestation as usize == hit && named as usize == part && range.contains(&byte)
            }
            _ => false,
        };
        if is_named { Ok(()) } else { Err(format!("part {part}, byte {byte}: {first}")) }
    }

    fn index_changed(&self, byte: usize, by: u8) -> Result<(), String> {
        let mut index = self.index.clone();
        index[byte] ^= by;
        let faults = self.faults(&index, &self.parts);
        let is_in_index = |fault: &&Fault| matches!(fault.place, Place::Index { .. });
        let is_whole = |fault: &&Fault| matches!(fault.place, Place::Index { field: "as a whole" });
        let is_part = |fault: &&Fault| matches!(fault.place, Place::Part { .. });
        if faults.iter().find(is_whole).is_none() {
            return Err(format!("index, byte {byte}: not noticed"));
        }
        // Where it still decodes, the field is named, or the part that has another name now.
        let decodes = Verifier::new(self.facts.clone(), &index).is_ok();
        let named =
            faults.iter().filter(is_in_index).count() > 1 || faults.iter().any(|fault| is_part(&fault));
        if decodes && !named { Err(format!("index, byte {byte}: no field is named")) } else { Ok(()) }
    }
}

#[test]
fn it_holds_before() {
    let small = small();
    assert_eq!(small.faults(&small.index, &small.parts), []);
}

/// Every byte: its lowest bit, its highest, and all of them.
#[test]
fn every_byte_is_noticed_and_its_place_named() {
    let small = small();
    for by in [0x01, 0x80, 0xff] {
        for byte in 0..small.index.len() {
            small.index_changed(byte, by).unwrap();
        }
        for part in 0..small.parts.len() {
            for byte in 0..small.parts[part].len() {
                small.part_changed(part, byte, by).unwrap();
            }
        }
    }
}

#[test]
fn cut_and_lengthened_parts_are_named() {
    let small = small();
    for part in 0..small.parts.len() {
        for end in 0..small.parts[part].len() {
            let mut parts = small.parts.clone();
            parts[part].truncate(end);
            let place = small.faults(&small.index, &parts)[0].place;
            let named = match place {
                Place::Part { part } | Place::Attestation { part, .. } => part as usize,
                other => panic!("{other}"),
            };
            assert_eq!(named, part, "cut to {end}");
        }
        let mut parts = small.parts.clone();
        parts[part].push(0);
        assert_eq!(small.faults(&small.index, &parts)[0].place, Place::Part { part: part as u32 });
    }
}

proptest! {
    /// Any other byte in the place of any byte.
    #[test]
    fn any_change_is_noticed(part in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), by in 1u8..) {
        let small = small();
        let part = part.index(small.parts.len() + 1);
        let outcome = match small.parts.get(part) {
            Some(bytes) => small.part_changed(part, at.index(bytes.len()), by),
            None => small.index_changed(at.index(small.index.len()), by),
        };
        prop_assert_eq!(outcome, Ok(()));
    }
}
