//! The form of nodes and roots: frozen vectors, computed with another implementation; whatever is changed is refused.

use arion_crypto::{DataKey, OperatorSecret};
use arion_types::ShardHash;
use codec::Encode;
use proptest::prelude::*;
use serde::Deserialize;

use super::{
    anchor::Anchored,
    cut::{Cutter, Sizes},
    node::{Content, NodeFault, NodeRef, Plain, content_id, padded_len, seal_padded, sealed_len},
    root::{self, Root, RootFault, RootPlace, Summary},
    row::{Row, cut_number},
    take,
    tree::{NodeStore, Tree},
};
use crate::manifest::StripeRecord;

fn stripe() -> StripeRecord {
    let hashes = (0..30).map(|at| ShardHash([at; 32])).collect();
    StripeRecord { epoch: 3, len: 4_112, shard_len: 412, data_shards: 10, hashes }
}

fn rows(count: u8) -> Vec<Row> {
    (0..count).map(|at| Row { table: 7, more: false, key: vec![at], value: vec![at; 100] }).collect()
}

fn node(rows: &[Row]) -> Plain {
    let body = rows.iter().flat_map(Encode::encode).collect();
    Plain { level: 0, count: rows.len() as u32, rows: rows.len() as u64, body, is_fresh: false }
}

fn sealed(node: &Plain) -> (NodeRef, Vec<u8>) {
    let bytes = node.bytes();
    let sealed = seal_padded(&bytes, &DataKey::from_bytes([5; 32]));
    let reference = NodeRef {
        level: node.level,
        bytes: bytes.len() as u32,
        rows: node.rows,
        key: [5; 32],
        stripe: stripe(),
    };
    (reference, sealed)
}

fn root() -> Root {
    let summary = Summary { rows: 9, buckets: 1, objects: 2, versions: 3, uploads: 4, stripes: 5, bytes: 6 };
    let (top, _) = sealed(&node(&rows(3)));
    Root { layout: 4, made_ms: 1_700_000_000_000, summary, top }
}

fn secret() -> OperatorSecret {
    OperatorSecret::from_bytes([7; 32])
}

const PLACE: RootPlace = RootPlace { genesis: [1; 32], locator: [2; 32], sequence: 3 };

#[derive(Deserialize)]
struct Vectors {
    padded: Vec<(usize, usize)>,
    cut: Vec<(String, u64)>,
    locators: Vec<(String, String, String)>,
    node: NodeVector,
    root: RootVector,
}

#[derive(Deserialize)]
struct NodeVector {
    bytes: String,
    id: String,
    sealed_blake3: String,
    sealed_tail: String,
}

#[derive(Deserialize)]
struct RootVector {
    body: String,
    address: String,
    head: String,
}

#[test]
fn the_form_is_frozen() {
    let vectors: Vectors = serde_json::from_str(include_str!("../../vectors/snapshot.json")).unwrap();
    for (len, padded) in vectors.padded {
        assert_eq!(padded_len(len), padded, "{len}");
    }
    for (about, number) in vectors.cut {
        assert_eq!(cut_number(&[&hex::decode(&about).unwrap()]), number, "{about}");
    }
    for (secret, genesis, locator) in vectors.locators {
        let bytes = |text: &str| <[u8; 32]>::try_from(hex::decode(text).unwrap()).unwrap();
        let key = take::locator(&OperatorSecret::from_bytes(bytes(&secret)), &bytes(&genesis));
        assert_eq!(hex::encode(key.verifying_key().to_bytes()), locator);
    }
    let rows = rows(2);
    let plain = node(&rows);
    assert_eq!(hex::encode(plain.bytes()), vectors.node.bytes);
    assert_eq!(hex::encode(plain.id()), vectors.node.id);
    let (_, sealed) = sealed(&plain);
    assert_eq!(blake3::hash(&sealed).to_hex().as_str(), vectors.node.sealed_blake3);
    assert_eq!(hex::encode(&sealed[sealed.len() - 16..]), vectors.node.sealed_tail);
    assert_eq!(hex::encode(root().encode()), vectors.root.body);
    let sealed = root().seal(&secret(), &PLACE, [9; 32]);
    assert_eq!(hex::encode(&sealed[..64]), vectors.root.head);
    assert_eq!(blake3::hash(&sealed).to_hex().as_str(), vectors.root.address);
}

#[test]
fn lengths_are_of_few_classes() {
    let mut classes = std::collections::BTreeSet::new();
    for len in (0..4 << 20).step_by(997) {
        let padded = padded_len(len);
        assert!(padded >= len && (padded - len.min(padded)) * 8 <= len || padded == 4_096, "{len}: {padded}");
        assert_eq!(padded_len(padded), padded);
        classes.insert(padded);
    }
    assert!(classes.len() <= 82, "{}", classes.len());
}

#[test]
fn a_node_opens_to_what_was_sealed() {
    let rows = rows(30);
    let (reference, sealed_rows) = sealed(&node(&rows));
    let opened = reference.open(&mut sealed_rows.clone()).unwrap();
    assert_eq!((opened.content, opened.id), (Content::Rows(rows.clone()), node(&rows).id()));
    let mut list = Plain::empty(1);
    list.body = [reference.encode(), reference.encode()].concat();
    (list.count, list.rows) = (2, 60);
    let (above, mut sealed_list) = sealed(&list);
    let opened = above.open(&mut sealed_list.clone()).unwrap();
    assert_eq!(opened.content, Content::Nodes(vec![reference.clone(), reference.clone()]));
    // Counts of references, too, are those of what they refer to.
    let other = NodeRef { rows: 61, ..above.clone() };
    assert_eq!(other.open(&mut sealed_list.clone()), Err(NodeFault::Rows { found: 60, expected: 61 }));
    let other = NodeRef { level: 2, ..above.clone() };
    assert_eq!(other.open(&mut sealed_list.clone()), Err(NodeFault::Level { found: 1, expected: 2 }));
    let other = NodeRef { bytes: above.bytes - 1, ..above };
    assert!(matches!(other.open(&mut sealed_list), Err(NodeFault::Item(_) | NodeFault::Padding)));
    // A list of nodes of its own level.
    list.level = 2;
    let (above, mut sealed_list) = sealed(&list);
    assert_eq!(above.open(&mut sealed_list), Err(NodeFault::Level { found: 0, expected: 1 }));
}

#[test]
fn what_stands_behind_a_node_or_in_another_form_is_refused() {
    let open = |bytes: Vec<u8>, claimed: usize| {
        let mut sealed = seal_padded(&bytes, &DataKey::from_bytes([5; 32]));
        let reference = NodeRef { level: 0, bytes: claimed as u32, rows: 2, key: [5; 32], stripe: stripe() };
        reference.open(&mut sealed).map(drop)
    };
    let good = node(&rows(2)).bytes();
    assert_eq!(open(good.clone(), good.len()), Ok(()));
    assert_eq!(open([good.clone(), vec![1]].concat(), good.len()), Err(NodeFault::Padding));
    assert_eq!(open([good.clone(), vec![0]].concat(), good.len() + 1), Err(NodeFault::Item(2)));
    assert_eq!(open(good[..good.len() - 1].to_vec(), good.len() - 1), Err(NodeFault::Item(1)));
    let mut later = good.clone();
    later[0] = 2;
    assert_eq!(open(later, good.len()), Err(NodeFault::Version(2)));
    assert!(matches!(open(good, 5_000), Err(NodeFault::Length { .. })));
    assert!(matches!(open(vec![1, 0], 2), Err(NodeFault::Length { .. })));
}

#[test]
fn a_root_opens_in_its_place_only() {
    let sealed = root().seal(&secret(), &PLACE, [9; 32]);
    assert_eq!(sealed.len(), 33 + sealed_len(1));
    assert_eq!(Root::open(&sealed, &secret(), &PLACE), Ok(root()));
    let others = [
        RootPlace { genesis: [0; 32], ..PLACE },
        RootPlace { locator: [0; 32], ..PLACE },
        RootPlace { sequence: 4, ..PLACE },
    ];
    for other in others {
        assert_eq!(Root::open(&sealed, &secret(), &other), Err(RootFault::Sealed));
    }
    let stranger = OperatorSecret::from_bytes([8; 32]);
    assert_eq!(Root::open(&sealed, &stranger, &PLACE), Err(RootFault::Sealed));
    assert_eq!(Root::open(&sealed[..33], &secret(), &PLACE), Err(RootFault::Length(33)));
    let mut later = sealed.clone();
    later[0] = 2;
    assert_eq!(Root::open(&later, &secret(), &PLACE), Err(RootFault::Version(2)));
    let anchored = |root_len| Anchored { sequence: 3, root: [4; 32], root_len, epoch: 5 };
    let found = root::stripe(&anchored(4_145), 30).unwrap();
    assert_eq!((found.data_shards, found.shard_len, found.hashes.len()), (1, 4_145, 30));
    assert!(root::stripe(&anchored(1 << 20), 30).is_none());
}

#[test]
fn every_flipped_byte_of_a_root_and_a_node_is_refused() {
    let whole = root().seal(&secret(), &PLACE, [9; 32]);
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1 << (at % 8);
        assert!(Root::open(&changed, &secret(), &PLACE).is_err(), "byte {at} of a root");
    }
    let (reference, whole) = sealed(&node(&rows(200)));
    for at in (0..whole.len()).step_by(7) {
        let mut changed = whole.clone();
        changed[at] ^= 1 << (at % 8);
        assert!(matches!(reference.open(&mut changed), Err(NodeFault::Sealed(_))), "byte {at} of a node");
    }
}

proptest! {
    #[test]
    fn cut_or_lengthened_nodes_are_refused(count in 1u8..200, to in 0usize..40_000) {
        let (reference, mut bytes) = sealed(&node(&rows(count)));
        prop_assume!(to != bytes.len());
        bytes.resize(to, 0);
        let is_refused = matches!(reference.open(&mut bytes), Err(NodeFault::Length { .. }));
        prop_assert!(is_refused);
    }
}

/// Keeps nodes in memory.
#[derive(Default)]
struct Shelf(Vec<(NodeRef, Vec<u8>)>);

impl NodeStore for Shelf {
    type Error = std::convert::Infallible;

    async fn put(&mut self, node: Plain) -> Result<NodeRef, Self::Error> {
        let bytes = node.bytes();
        let key = *blake3::hash(&bytes).as_bytes();
        let stripe = StripeRecord { hashes: vec![ShardHash(content_id(&bytes)); 30], ..stripe() };
        let (level, rows, bytes_len) = (node.level, node.rows, bytes.len() as u32);
        let reference = NodeRef { level, bytes: bytes_len, rows, key, stripe };
        self.0.push((reference.clone(), seal_padded(&bytes, &DataKey::from_bytes(key))));
        Ok(reference)
    }
}

async fn tree(count: u32) -> (NodeRef, Shelf) {
    // So short that lists are cut into many as well.
    let sizes = Sizes { min: 1_500, target: 3_000, max: 6_000 };
    let mut cutter = Cutter::new(0, sizes);
    let mut tree = Tree::new(Shelf::default(), sizes);
    for number in 0..count {
        for (row, cut) in Row::pieces(3, &number.to_be_bytes(), &[1; 90]) {
            for chunk in cutter.push(&row.encode(), cut, 1, false) {
                tree.push(chunk).await.unwrap();
            }
        }
    }
    if let Some(rest) = cutter.rest() {
        tree.push(rest).await.unwrap();
    }
    tree.finish().await.unwrap().unwrap()
}

/// The keys of all rows below a node, in order.
fn keys(top: &NodeRef, shelf: &Shelf) -> Vec<Vec<u8>> {
    let sealed = shelf.0.iter().find(|(node, _)| node == top).map(|(_, sealed)| sealed.clone());
    match top.open(&mut sealed.unwrap()).unwrap().content {
        Content::Rows(rows) => rows.into_iter().map(|row| row.key).collect(),
        Content::Nodes(nodes) => nodes.iter().flat_map(|node| keys(node, shelf)).collect(),
    }
}

#[tokio::test]
async fn trees_of_any_height_have_all_rows_in_order() {
    let mut heights = std::collections::BTreeSet::new();
    for count in [0u32, 1, 10, 100, 1_000, 20_000] {
        let (top, shelf) = tree(count).await;
        assert_eq!(top.rows, u64::from(count));
        let expected: Vec<_> = (0..count).map(|number| number.to_be_bytes().to_vec()).collect();
        assert_eq!(keys(&top, &shelf), expected);
        heights.insert(top.level);
    }
    assert!(heights.len() >= 4, "{heights:?}");
}

#[tokio::test]
async fn a_row_more_changes_its_chunk_and_the_path_to_the_top() {
    let ids = |shelf: &Shelf| -> std::collections::BTreeSet<_> {
        shelf.0.iter().map(|(node, _)| node.stripe.hashes[0]).collect()
    };
    let (before, shelf) = tree(20_000).await;
    let (after, grown) = tree(20_001).await;
    assert_ne!(before.key, after.key);
    let new = ids(&grown).difference(&ids(&shelf)).count();
    assert!(new <= 2 * usize::from(after.level) + 2, "{new} of {} nodes are new", grown.0.len());
}
