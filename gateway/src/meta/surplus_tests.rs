//! Who is released, and that nobody is who is needed.

use std::collections::BTreeMap;

use arion_types::SignedReceipt;
use proptest::prelude::*;

use super::{
    super::{
        stripes::tests::{receipt, record},
        tests::Engine,
    },
    *,
};

const SHARDS: u8 = 30;

fn node(n: u8) -> NodeId {
    NodeId([n; 32])
}

/// Map `epoch`: position `index` is with the miner of this number.
fn home(epoch: u64, index: u8) -> u8 {
    (index + 7 * epoch as u8) % 45
}

fn map(epoch: u64) -> Vec<Option<NodeId>> {
    (0..SHARDS).map(|index| Some(node(home(epoch, index)))).collect()
}

fn signed(stripe: &StripeRecord, index: u8, epoch: u64) -> SignedReceipt {
    let mut signed = receipt(stripe, index);
    (signed.receipt.node_id, signed.receipt.epoch) = (node(home(epoch, index)), epoch);
    signed
}

/// A stripe whose shards are where map 0 names them.
async fn stored(meta: &Meta, seed: u8, positions: u8) -> StripeRecord {
    let stripe = record(seed);
    meta.begin_stripe(stripe.id(), stripe.clone()).await.unwrap();
    let receipts = (0..positions).map(|index| signed(&stripe, index, 0)).collect();
    meta.stripe_stored(stripe.id(), receipts, 0).await.unwrap();
    stripe
}

async fn bring(meta: &Meta, stripe: &StripeRecord, positions: std::ops::Range<u8>, epoch: u64) {
    let receipts = positions.map(|index| signed(stripe, index, epoch)).collect();
    assert!(meta.relocated(receipts).await.unwrap());
}

async fn release(meta: &Meta, stripe: &StripeRecord, epoch: u64) -> u64 {
    meta.release(vec![(stripe.id(), map(epoch))], 5).await.unwrap()
}

/// Who has which shard, by the lines of the ledger alone.
async fn by_ledger(meta: &Meta) -> BTreeMap<ShardHash, Vec<NodeId>> {
    let mut holders: BTreeMap<ShardHash, Vec<NodeId>> = BTreeMap::new();
    let mut reached = 0;
    loop {
        let page = meta.ledger_page(reached, 512).await.unwrap();
        let Some(last) = page.last() else { return holders };
        reached = last.sequence;
        for entry in page {
            match entry.record {
                LedgerRecord::Stored(signed) => {
                    let nodes = holders.entry(signed.receipt.shard).or_default();
                    assert!(!nodes.contains(&signed.receipt.node_id), "twice");
                    nodes.push(signed.receipt.node_id);
                }
                LedgerRecord::Deleted { shard } => assert!(holders.remove(&shard).is_some()),
                LedgerRecord::Served(_) | LedgerRecord::Compacted(_) => {}
                LedgerRecord::Released { shard, miner } => {
                    let nodes = holders.get_mut(&shard).unwrap();
                    let before = nodes.len();
                    nodes.retain(|node| *node != miner);
                    assert!(nodes.len() + 1 == before && before > 1, "nothing is left, or nothing was there");
                }
            }
        }
    }
}

#[tokio::test]
async fn who_is_not_named_any_more_is_released_once_everything_is_in_place() {
    for engine in Engine::each() {
        let meta = engine.open();
        let stripe = stored(&meta, 1, 30).await;
        bring(&meta, &stripe, 0..29, 1).await;
        assert_eq!(release(&meta, &stripe, 1).await, 0, "one position is not where map 1 names it");
        let (spreads, next) = meta.spreads(None, 100).await.unwrap();
        assert_eq!((spreads.len(), next), (1, None));
        assert_eq!((spreads[0].holders[0].len(), spreads[0].holders[29].len()), (2, 1));
        bring(&meta, &stripe, 29..30, 1).await;
        assert_eq!(release(&meta, &stripe, 1).await, 30);
        assert_eq!(release(&meta, &stripe, 1).await, 0);
        assert_eq!(meta.ledger_len().await.unwrap(), 90);
        assert!(by_ledger(&meta).await.values().all(|nodes| nodes.len() == 1));
        let mut queued = meta.releases(None, 20).await.unwrap();
        queued.extend(meta.releases(queued.last().copied(), 20).await.unwrap());
        assert_eq!((queued.len(), meta.releases_len().await.unwrap()), (30, 30));
        assert!(queued.iter().all(|release| release.node == node(home(0, release.index))));

        // One of them signs again, by a map that names it again: it is no longer to delete the shard.
        bring(&meta, &stripe, 3..4, 0).await;
        assert_eq!((meta.ledger_len().await.unwrap(), meta.releases_len().await.unwrap()), (91, 29));
        meta.releases_done(queued[..4].to_vec()).await.unwrap();
        let left = meta.releases_len().await.unwrap();
        assert!((25..=26).contains(&left), "{left}");

        // The receipts that are shown are those of the miners that have the shards.
        let shown = meta.receipts_of(vec![stripe.clone()]).await.unwrap().unwrap().remove(0);
        let epochs: Vec<u64> = shown.iter().map(|signed| signed.receipt.epoch).collect();
        assert!(epochs.iter().enumerate().all(|(at, epoch)| *epoch == u64::from(at != 3)), "{epochs:?}");
        // The deletion of the stripe reaches those who have it still.
        meta.discard_stripes(vec![stripe.id()], 9).await.unwrap();
        assert!(by_ledger(&meta).await.is_empty());
    }
}

/// Whoever was released is told after a crash, too.
#[tokio::test]
async fn a_restart_forgets_no_deletion() {
    for engine in Engine::each() {
        let before = {
            let meta = engine.open();
            let stripe = stored(&meta, 1, 30).await;
            bring(&meta, &stripe, 0..30, 1).await;
            assert_eq!(release(&meta, &stripe, 1).await, 30);
            meta.releases(None, 100).await.unwrap()
        };
        let meta = engine.open();
        assert_eq!(meta.releases(None, 100).await.unwrap(), before);
        meta.releases_done(before).await.unwrap();
        assert_eq!(meta.releases_len().await.unwrap(), 0);
    }
}

/// The map of before is the current one again before anybody was released: who came meanwhile is surplus, by older lines.
#[tokio::test]
async fn a_map_that_changes_back_makes_the_newer_copies_surplus() {
    for engine in Engine::each() {
        let meta = engine.open();
        let stripe = stored(&meta, 1, 30).await;
        bring(&meta, &stripe, 0..30, 1).await;
        assert_eq!(release(&meta, &stripe, 0).await, 30);
        let shown = meta.receipts_of(vec![stripe.clone()]).await.unwrap().unwrap().remove(0);
        assert!(shown.len() == 30 && shown.iter().all(|signed| signed.receipt.epoch == 0), "{shown:?}");
        // And again the other way: a miner that was released signs anew.
        bring(&meta, &stripe, 0..30, 1).await;
        assert_eq!((meta.ledger_len().await.unwrap(), meta.releases_len().await.unwrap()), (120, 0));
        assert_eq!(release(&meta, &stripe, 1).await, 30);
        assert!(by_ledger(&meta).await.values().all(|nodes| nodes.len() == 1));
    }
}

#[tokio::test]
async fn what_is_missing_or_gone_releases_nobody() {
    for engine in Engine::each() {
        let meta = engine.open();
        let stripe = stored(&meta, 1, 20).await;
        bring(&meta, &stripe, 0..20, 1).await;
        assert_eq!(release(&meta, &stripe, 1).await, 0, "ten positions have no receipt");
        bring(&meta, &stripe, 20..30, 1).await;
        let other = record(9);
        assert_eq!(meta.release(vec![(other.id(), map(1))], 5).await.unwrap(), 0);
        assert_eq!(release(&meta, &stripe, 1).await, 20);
        let mut hole = map(1);
        hole[4] = None;
        bring(&meta, &stripe, 0..30, 2).await;
        assert_eq!(meta.release(vec![(stripe.id(), hole)], 5).await.unwrap(), 0, "a position is empty");
    }
}

/// All positions of a snapshot's root have the same bytes: one line releases a miner from all of them.
#[tokio::test]
async fn of_copies_for_everybody_a_miner_is_released_that_has_no_position() {
    let mut stripe = record(1);
    stripe.hashes = vec![stripe.hashes[0]; 30];
    let holders = |epoch: u64| (0..SHARDS).map(|index| vec![node(home(epoch, index))]).collect::<Vec<_>>();
    // The miners have moved on by one position each: all but the first have a copy, of another position.
    let named: Vec<Option<NodeId>> = (1..=SHARDS).map(|index| Some(node(index % SHARDS))).collect();
    let spread = Spread { record: stripe.clone(), holders: holders(0) };
    assert_eq!(spread.surplus(&named), []);
    let mut also = spread.clone();
    also.holders[7].push(node(99));
    let shard = stripe.hashes[0];
    assert_eq!(also.surplus(&named), [Surplus { place: ShardPlace { shard, index: 7 }, node: node(99) }]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whoever has signed, whoever is named: after the release those who are named have all of it that they had, and nobody is
    /// released while one of them has not signed.
    #[test]
    fn nobody_who_is_named_is_released_and_nobody_at_all_before_they_have_signed(
        holders in proptest::collection::vec(proptest::collection::btree_set(0..6u8, 0..4), 30),
        named in proptest::collection::vec(proptest::option::weighted(0.99, 0..6u8), 30),
        complete in any::<bool>(),
    ) {
        let mut holders: Vec<Vec<NodeId>> =
            holders.into_iter().map(|nodes| nodes.into_iter().map(node).collect()).collect();
        let named: Vec<Option<NodeId>> = named.into_iter().map(|n| n.map(node)).collect();
        if complete {
            for (nodes, node) in holders.iter_mut().zip(&named) {
                nodes.extend(node.filter(|node| !nodes.contains(node)));
            }
        }
        let spread = Spread { record: record(1), holders };
        let in_place = |holders: &[Vec<NodeId>]| {
            let pairs = holders.iter().zip(&named);
            pairs.filter(|(nodes, node)| node.is_some_and(|node| nodes.contains(&node))).count()
        };
        let surplus = spread.surplus(&named);
        prop_assert!(surplus.is_empty() || in_place(&spread.holders) == 30);
        let mut left = spread.holders.clone();
        for Surplus { place, node } in &surplus {
            prop_assert_eq!(place.shard, spread.record.hashes[usize::from(place.index)]);
            prop_assert!(left[usize::from(place.index)].contains(node));
            left[usize::from(place.index)].retain(|other| other != node);
        }
        prop_assert_eq!(in_place(&left), in_place(&spread.holders));
        if in_place(&left) == 30 {
            prop_assert!(left.iter().all(|nodes| nodes.len() == 1), "what nobody needs is left");
        }
    }

}

proptest! {
    // Each of them has a file of its own, and a sync for every change.
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Maps come and go, repair comes as far as it comes: behind every release the ledger names 30 miners of the map.
    #[test]
    fn by_the_ledger_thirty_shards_are_in_place_behind_every_release(
        steps in proptest::collection::vec((0..3u64, 0..30u8, 0..=30u8), 1..12),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let directory = tempfile::tempdir().unwrap();
            let meta = Meta::open(&directory.path().join("m.redb")).unwrap();
            let stripe = stored(&meta, 1, 30).await;
            for (epoch, from, count) in steps {
                let to = from.saturating_add(count).min(SHARDS);
                bring(&meta, &stripe, from..to, epoch).await;
                let before = by_ledger(&meta).await;
                let released = release(&meta, &stripe, epoch).await;
                let after = by_ledger(&meta).await;
                let named = |index: u8| node(home(epoch, index));
                let in_place = |held: &BTreeMap<ShardHash, Vec<NodeId>>| {
                    let has = |index: &u8| held[&stripe.hashes[usize::from(*index)]].contains(&named(*index));
                    (0..SHARDS).filter(has).count()
                };
                assert_eq!(in_place(&before), in_place(&after));
                assert!(released == 0 || in_place(&after) == 30, "{released}");
                assert!(after.values().all(|nodes| !nodes.is_empty()));
            }
        });
    }
}
