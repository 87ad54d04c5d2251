//! What comes out of a snapshot is what went in.

use super::{
    super::{
        SETTINGS, ShardPlace,
        commitments::{COMMITMENTS, NOTICES, ROOTS},
        compaction::KEPT,
        events::EVENTS,
        moved::{MOVED, RELEASES},
        occupancy::{CLAIMS, OCCUPIED, PACKED_FOR},
        receipts::RECEIPTS as INDEX,
        served::SERVED,
        snapshots::{SNAPSHOT_NODES, SNAPSHOTS},
        stripes,
        tests::{Engine, bucket_of},
        unconfirmed::tests::confirm_all,
        usage::USAGE,
    },
    *,
};
use crate::snapshot::row::Assembly;

/// Who adds a table decides whether a new gateway needs it.
#[tokio::test]
async fn every_table_is_in_snapshots_or_left_out_on_purpose() {
    let directory = tempfile::tempdir().unwrap();
    let meta = Meta::open(&directory.path().join("m.redb")).unwrap();
    let tables = meta.read(|transaction| Ok(transaction.table_names()));
    let notes = [SNAPSHOTS.name(), SNAPSHOT_NODES.name(), SNAPSHOT_STRIPES.name()];
    let left_out = notes.into_iter().chain([
        SETTINGS.name(),
        USAGE.name(),
        EVENTS.name(),
        INDEX.name(),
        MOVED.name(),
        RELEASES.name(),
        SERVED.name(),
    ]);
    let billing = [CLAIMS.name(), OCCUPIED.name(), PACKED_FOR.name()];
    let billing = billing.into_iter().chain([ROOTS.name(), COMMITMENTS.name(), NOTICES.name(), KEPT.name()]);
    let left_out = left_out.chain(billing);
    let mut known = exported();
    known.extend(left_out.map(str::to_owned));
    known.sort();
    let mut tables = tables.await.unwrap();
    tables.sort();
    assert_eq!(tables, known);
}

async fn rows(meta: &Meta) -> (Vec<Row>, Summary) {
    let (sender, mut chunks) = mpsc::channel(1);
    let files = vec![("f".to_owned(), vec![7; 600_000])];
    let export = meta.export(files, None, Sizes::STANDARD, sender);
    let take = async {
        let (mut rows, mut assembly) = (Vec::new(), Assembly::default());
        while let Some(chunk) = chunks.recv().await {
            let mut body = &chunk.body[..];
            while !body.is_empty() {
                rows.extend(assembly.push(codec::Decode::decode(&mut body).unwrap()).unwrap());
            }
        }
        rows
    };
    let (exported, rows) = tokio::join!(export, take);
    (rows, exported.unwrap().summary.unwrap())
}

/// A shard that lies where a later map named it, and nowhere else, is told of its deletion there by a new gateway, too.
#[tokio::test]
async fn a_shard_that_was_brought_elsewhere_is_known_there_after_a_recovery() {
    use arion_types::NodeId;
    for engine in Engine::each() {
        let meta = engine.open();
        let stripe = stripes::tests::record(2);
        let first: Vec<_> = (0..30).map(|index| stripes::tests::receipt(&stripe, index)).collect();
        let mut later = first[7];
        (later.receipt.node_id, later.receipt.epoch) = (NodeId([99; 32]), stripe.epoch + 1);
        meta.begin_stripe(stripe.id(), stripe.clone()).await.unwrap();
        let without = first.iter().filter(|signed| signed.receipt.index != 7).cloned().collect();
        meta.stripe_stored(stripe.id(), without, 0).await.unwrap();
        meta.relocated(vec![later]).await.unwrap();
        let (sent, _) = rows(&meta).await;
        let directory = tempfile::tempdir().unwrap();
        let other = Meta::open(&directory.path().join("two.redb")).unwrap();
        other.import(sent.clone(), &mut Summary::default()).await.unwrap();
        let holders = async |meta: &Meta, index: u8| {
            let place = ShardPlace { shard: stripe.hashes[usize::from(index)], index };
            meta.moved_to(place).await.unwrap()
        };
        assert_eq!((other.ledger_len().await.unwrap(), other.unconfirmed_len().await.unwrap()), (0, 30));
        confirm_all(&other).await;
        assert_eq!(other.ledger_len().await.unwrap(), 30);
        let there = NodeId([99; 32]);
        assert_eq!((holders(&other, 7).await, holders(&other, 8).await), (vec![there], vec![]));
        // Deleted before anybody has confirmed anything.
        let other = Meta::open(&directory.path().join("three.redb")).unwrap();
        other.import(sent, &mut Summary::default()).await.unwrap();
        other.discard_stripes(vec![stripe.id()], 5).await.unwrap();
        assert_eq!((other.ledger_len().await.unwrap(), other.unconfirmed_len().await.unwrap()), (0, 0));
        assert_eq!(
            (holders(&other, 7).await, holders(&other, 8).await),
            (vec![there], vec![NodeId([8; 32])])
        );
    }
}

/// A new gateway's ledger has each shard with those who have it, not with who was released.
#[tokio::test]
async fn receipts_of_miners_that_were_released_stay_behind() {
    use arion_types::NodeId;
    let directory = tempfile::tempdir().unwrap();
    let meta = Meta::open(&directory.path().join("one.redb")).unwrap();
    let stripe = stripes::tests::record(1);
    let by = |miner: u8, index: u8| {
        let mut signed = stripes::tests::receipt(&stripe, index);
        signed.receipt.node_id = NodeId([miner + index; 32]);
        signed
    };
    let all = |miner: u8| (0..30).map(|index| by(miner, index)).collect::<Vec<_>>();
    meta.begin_stripe(stripe.id(), stripe.clone()).await.unwrap();
    meta.stripe_stored(stripe.id(), all(0), 0).await.unwrap();
    let named = |miner: u8| (0..30).map(|index| Some(NodeId([miner + index; 32]))).collect();
    // There and back again: the miners of before have signed twice.
    for (miner, released) in [(100, 30), (0, 30), (100, 30), (50, 0)] {
        meta.relocated(all(miner)).await.unwrap();
        if released > 0 {
            assert_eq!(meta.release(vec![(stripe.id(), named(miner))], 0).await.unwrap(), released);
        }
    }
    let (sent, _) = rows(&meta).await;
    let other = Meta::open(&directory.path().join("two.redb")).unwrap();
    other.import(sent, &mut Summary::default()).await.unwrap();
    assert_eq!(other.ledger_len().await.unwrap(), 0);
    // Lost again before a miner was asked: nothing is.
    let (again, _) = rows(&other).await;
    let second = Meta::open(&directory.path().join("again.redb")).unwrap();
    second.import(again, &mut Summary::default()).await.unwrap();
    assert_eq!(second.unconfirmed_len().await.unwrap(), 60);
    confirm_all(&other).await;
    let lines = other.ledger_page(0, 512).await.unwrap();
    let mut miners: Vec<u8> = lines
        .iter()
        .map(|entry| match &entry.record {
            LedgerRecord::Stored(signed) => signed.receipt.node_id.0[0],
            other => panic!("{other:?}"),
        })
        .collect();
    miners.sort_unstable();
    assert_eq!(miners, (50..80).chain(100..130).collect::<Vec<u8>>());
    // It knows who has each shard, so that deletions and releases reach them.
    while !other.index_receipts().await.unwrap() {}
    let place = ShardPlace { shard: stripe.hashes[3], index: 3 };
    let mut nodes = other.moved_to(place).await.unwrap();
    nodes.sort_unstable();
    assert_eq!(nodes, [NodeId([53; 32]), NodeId([103; 32])]);
    let named = (0..30).map(|index| Some(NodeId([50 + index; 32]))).collect();
    assert_eq!(other.release(vec![(stripe.id(), named)], 0).await.unwrap(), 30);
    assert_eq!(other.moved_to(place).await.unwrap(), [NodeId([53; 32])]);
    // What the index says of the ledger is what was noted when its lines came.
    let (sent, _) = rows(&other).await;
    let third = Meta::open(&directory.path().join("three.redb")).unwrap();
    third.import(sent, &mut Summary::default()).await.unwrap();
    assert_eq!(third.unconfirmed_len().await.unwrap(), 30);
}

#[tokio::test]
async fn what_goes_out_comes_in_again_and_nothing_twice() {
    for engine in Engine::each() {
        let meta = engine.open();
        bucket_of(&meta, "photos", "alice").await;
        meta.keep_map(3, vec![1; 10]).await.unwrap();
        let stripe = stripes::tests::record(5);
        meta.begin_stripe(stripe.id(), stripe.clone()).await.unwrap();
        let receipts = (0..20).map(|index| stripes::tests::receipt(&stripe, index)).collect();
        meta.stripe_stored(stripe.id(), receipts, 0).await.unwrap();
        let (sent, summary) = rows(&meta).await;
        assert_eq!((summary.buckets, summary.rows), (1, sent.len() as u64));
        let directory = tempfile::tempdir().unwrap();
        let other = Meta::open(&directory.path().join("two.redb")).unwrap();
        let mut found = Summary::default();
        let files = other.import(sent.clone(), &mut found).await.unwrap();
        assert_eq!((found, files), (summary, vec![("f".to_owned(), vec![7; 600_000])]));
        assert_eq!(rows(&other).await, (sent.clone(), summary));
        let again = other.import(sent.clone(), &mut found).await;
        assert!(matches!(again, Err(MetaError::Row("maps"))), "{again:?}");
        for (table, key, value) in [
            (99, vec![], vec![]),
            (7, vec![9], vec![]),
            (9, sent[0].key.clone(), vec![1]),
            (15, vec![], vec![9]),
        ] {
            let row = Row { table, more: false, key, value };
            assert!(matches!(other.import(vec![row], &mut found).await, Err(MetaError::Row(_))), "{table}");
        }
    }
}
