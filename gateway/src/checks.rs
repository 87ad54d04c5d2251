//! What must hold whatever the bytes, of the gateway's own forms and of its S3 edge: for the fuzzer (`./scripts/fuzz manifest`, `snapshot`,
//! `s3`) and for tests with fixed seeds.

#![allow(clippy::unwrap_used, reason = "a check fails by panicking")]

mod edge;

pub use edge::s3;

use arion_crypto::{DataKey, OperatorSecret, segment_range};
use codec::Encode;

use crate::{
    manifest::{Manifest, PartManifest, StripeRecord},
    snapshot::{
        node::{Content, NodeRef, Plain, seal_padded},
        root::{Root, RootPlace, Summary},
        row::Assembly,
    },
};

/// A manifest's row: what decodes says the same when it is written again, and every stripe of it has an identity.
///
/// Returns whether it decoded.
pub fn manifest(bytes: &[u8]) -> bool {
    let Ok(manifest) = Manifest::from_row(bytes) else { return false };
    let sum: u128 = manifest.parts.iter().map(|part| u128::from(part.plain_len)).sum();
    assert_eq!(u128::from(manifest.plain_len()), sum.min(u64::MAX.into()));
    for number in manifest.labels.iter().map(|label| label.number).chain([1]) {
        let range = manifest.part_range(number);
        assert!(range.is_none_or(|range| range.end <= manifest.plain_len()));
    }
    for part in manifest.parts.iter().filter(|part| part.is_possible()) {
        pieces_of(part);
    }
    let _ = manifest.stripes().map(StripeRecord::id).last();
    assert_eq!(manifest.clone().to_row(), bytes);
    assert_eq!(Manifest::from_row(bytes).unwrap(), manifest);
    true
}

/// Of a part whose lengths agree, any range is in the ciphertext of its stripes.
fn pieces_of(part: &PartManifest) {
    let half = part.plain_len / 2;
    for plain in [0..part.plain_len, half..part.plain_len, 0..half.min(1)] {
        if !plain.is_empty() {
            let (_, sealed) = segment_range(plain, part.plain_len);
            let found = crate::grid::read::wanted_bytes(part, sealed.clone());
            assert_eq!(found, sealed.end - sealed.start);
        }
    }
}

fn reference(level: u8, rows: u64, bytes: usize) -> NodeRef {
    let stripe = StripeRecord { epoch: 1, len: 4_096, shard_len: 512, data_shards: 8, hashes: Vec::new() };
    NodeRef { level, bytes: u32::try_from(bytes).unwrap(), rows, key: [5; 32], stripe }
}

/// A node of a snapshot with these items, sealed by whoever has its key (level, number of items, items); then a sealed root with some bytes
/// changed (where, what to). What opens says the same when it is written again; a changed root does not open.
///
/// Returns whether the node opened.
pub fn snapshot(bytes: &[u8]) -> bool {
    root(bytes);
    let [level, count, body @ ..] = bytes else { return false };
    let plain = Plain { count: (*count).into(), body: body.to_vec(), ..Plain::empty(level % 3) };
    // Rows below it are not known here: nodes of an inner level say themselves how many there are.
    let mut rows = u64::from(*count);
    let sealed = seal_padded(&plain.bytes(), &DataKey::from_bytes([5; 32]));
    if let Err(crate::snapshot::node::NodeFault::Rows { found, .. }) =
        reference(plain.level, rows, plain.bytes().len()).open(&mut sealed.clone())
    {
        rows = found;
    }
    let Ok(opened) = reference(plain.level, rows, plain.bytes().len()).open(&mut sealed.clone()) else {
        return false;
    };
    assert_eq!(opened.id, plain.id());
    let again: Vec<u8> = match &opened.content {
        Content::Rows(rows) => rows.iter().flat_map(Encode::encode).collect(),
        Content::Nodes(nodes) => nodes.iter().flat_map(Encode::encode).collect(),
    };
    assert_eq!(again, body);
    if let Content::Rows(rows) = opened.content {
        let mut assembly = Assembly::default();
        for row in rows {
            if assembly.push(row).is_err() {
                break;
            }
        }
    }
    true
}

fn root(bytes: &[u8]) {
    let secret = OperatorSecret::from_bytes([3; 32]);
    let place = RootPlace { genesis: [1; 32], locator: [2; 32], sequence: 4 };
    assert!(Root::open(bytes, &secret, &place).is_err(), "a root that nobody sealed");
    let root = Root { layout: 1, made_ms: 2, summary: Summary::default(), top: reference(0, 1, 10) };
    let sealed = root.seal(&secret, &place, [9; 32]);
    assert_eq!(Root::open(&sealed, &secret, &place), Ok(root));
    let [low, high, patch @ ..] = bytes else { return };
    let at = usize::from(u16::from_le_bytes([*low, *high])) % sealed.len();
    let mut changed = sealed.clone();
    for (byte, other) in changed.iter_mut().skip(at).zip(patch) {
        *byte = *other;
    }
    if patch.is_empty() {
        changed.truncate(at);
    }
    assert_eq!(Root::open(&changed, &secret, &place).is_ok(), changed == sealed, "a root that was changed");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{manifest::PartLabel, snapshot::row::Row};

    /// SplitMix64.
    fn number(state: &mut u64) -> usize {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 31)) as usize >> 8
    }

    fn changed(known: &[u8], seed: u64) -> Vec<u8> {
        let mut state = seed;
        let mut bytes = known.to_vec();
        for _ in 0..number(&mut state) % 4 {
            let at = number(&mut state) % bytes.len().max(1);
            match number(&mut state) % 3 {
                0 => bytes.truncate(at),
                1 => bytes.insert(at.min(bytes.len()), number(&mut state) as u8),
                _ => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = number(&mut state) as u8),
            }
        }
        bytes
    }

    fn run(check: fn(&[u8]) -> bool, known: &[u8]) {
        assert!(check(known));
        let useful = (0..400).filter(|seed| check(&changed(known, *seed))).count();
        assert!(useful > 80, "{useful}");
        check(&[]);
    }

    /// What the fuzzer begins with, by name.
    fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
        inputs("seeds", target)
    }

    /// Files of `fuzz/`.
    fn inputs(kind: &str, target: &str) -> Vec<(String, Vec<u8>)> {
        let directory = format!("{}/../fuzz/{kind}/{target}", env!("CARGO_MANIFEST_DIR"));
        let mut files: Vec<_> =
            std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files.iter().map(|path| (path.display().to_string(), std::fs::read(path).unwrap())).collect()
    }

    #[test]
    fn the_edge_answers_whatever_it_is_asked() {
        for (name, known) in seeds("s3") {
            assert!(s3(&known), "nothing of {name} is done");
            (0..12).for_each(|seed| {
                s3(&changed(&known, seed));
            });
        }
        for (_, found) in inputs("regressions", "s3") {
            s3(&found);
        }
        assert!(!s3(&[]));
    }

    #[test]
    fn manifests() {
        let stripe = reference(0, 1, 10).stripe;
        let stripe = StripeRecord { hashes: vec![arion_types::ShardHash([6; 32]); 30], ..stripe };
        let key = arion_crypto::CustomerKey::from_bytes([8; 32]).wrap(&DataKey::from_bytes([5; 32]), b"");
        let part = PartManifest { plain_len: 9, cipher_len: 25, offset: 0, key, stripes: vec![stripe] };
        let mut parts = Manifest::whole(part.clone());
        parts.parts.push(part.clone());
        parts.labels = [1, 2].map(|number| PartLabel { number, checksums: Default::default() }).to_vec();
        for known in [parts, Manifest::whole(part)] {
            run(manifest, &known.to_row());
        }
        for (name, known) in seeds("manifest") {
            assert!(manifest(&known), "{name}");
        }
    }

    #[test]
    fn snapshots() {
        let row = |key: u8, more| Row { table: 1, more, key: vec![key; 5], value: vec![key; 40] };
        let rows = [row(1, false), row(2, true), row(2, false)];
        let body: Vec<u8> = rows.iter().flat_map(Encode::encode).collect();
        let rows = [&[0, 3], &body[..]].concat();
        let nodes: Vec<u8> =
            [reference(0, 4, 70), reference(0, 5, 80)].iter().flat_map(Encode::encode).collect();
        for known in [rows, [&[1, 2], &nodes[..]].concat()] {
            run(snapshot, &known);
        }
        for (name, known) in seeds("snapshot") {
            assert!(snapshot(&known), "{name}");
        }
    }
}
