//! What ledgers say, kept over restarts, layouts and lines that come again.

use super::*;
use arion_protocol::Served;
use arion_types::{Receipt, StripeId};
use proptest::prelude::*;

const GATEWAY: NodeId = NodeId([7; 32]);
const OTHER: NodeId = NodeId([8; 32]);

fn node(n: u8) -> NodeId {
    NodeId([n; 32])
}

fn stored(n: u8, shard: u8, size: u32) -> Change {
    Change::Stored(receipt(n, shard, size))
}

/// Shards are two of a stripe.
fn receipt(n: u8, shard: u8, size: u32) -> Receipt {
    Receipt {
        shard: ShardHash([shard; 32]),
        size,
        stripe: StripeId([shard / 2; 32]),
        pg: 0,
        index: shard % 2,
        epoch: 1,
        node_id: node(n),
        stored_at: 1,
    }
}

fn of(gateway: NodeId, n: u8) -> StripeRef {
    StripeRef { id: StripeId([n; 32]), gateway }
}

fn deleted(shard: u8) -> Change {
    Change::Deleted { shard: ShardHash([shard; 32]) }
}

#[test]
fn sums_and_cursors_survive_reopening_and_lines_that_come_again() {
    let directory = tempfile::tempdir().unwrap();
    {
        let holdings = Holdings::open(directory.path()).unwrap();
        let page = [stored(1, 1, 64), stored(2, 1, 64), stored(1, 2, 100)];
        holdings.take_over(&GATEWAY, &page, 3).unwrap();
        holdings.take_over(&GATEWAY, &page, 3).unwrap();
        assert_eq!((holdings.bytes_of(&node(1)), holdings.bytes_of(&node(2))), (164, 64));
    }
    let holdings = Holdings::open(directory.path()).unwrap();
    assert_eq!((holdings.bytes_of(&node(1)), holdings.bytes_of(&node(3))), (164, 0));
    assert_eq!((holdings.cursor_of(&GATEWAY).unwrap(), holdings.cursor_of(&OTHER).unwrap()), (3, 0));
    holdings.take_over(&GATEWAY, &[deleted(1), deleted(9)], 5).unwrap();
    assert_eq!((holdings.bytes_of(&node(1)), holdings.bytes_of(&node(2))), (100, 0));
}

#[test]
fn a_file_of_the_layout_without_stripes_is_read_again() {
    let directory = tempfile::tempdir().unwrap();
    {
        let database = Database::create(directory.path().join("validator.redb")).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(BEFORE_STRIPES).unwrap().insert(([1; 32], [1; 32]), ([7; 32], 64)).unwrap();
        transaction.open_table(BEFORE_SERVED).unwrap().insert([1; 32], 64).unwrap();
        transaction.open_table(CURSORS).unwrap().insert(GATEWAY.0, 1).unwrap();
        transaction.commit().unwrap();
    }
    let holdings = Holdings::open(directory.path()).unwrap();
    assert_eq!((holdings.cursor_of(&GATEWAY).unwrap(), holdings.is_empty()), (0, true));
}

#[test]
fn a_file_of_the_layout_without_names_is_read_again_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    {
        let holdings = Holdings::open(directory.path()).unwrap();
        holdings.take_over(&GATEWAY, &[stored(1, 1, 64), stored(1, 2, 64)], 2).unwrap();
        let transaction = holdings.database.begin_write().unwrap();
        transaction.delete_table(NAMED).unwrap();
        transaction.commit().unwrap();
    }
    let holdings = Holdings::open(directory.path()).unwrap();
    assert_eq!((holdings.cursor_of(&GATEWAY).unwrap(), holdings.bytes_of(&node(1))), (0, 128));
    // The chain may keep no map of the first line any more.
    let page = [Change::Named { shard: ShardHash([1; 32]), miner: node(1) }, stored(1, 2, 64)];
    holdings.take_over(&GATEWAY, &page, 2).unwrap();
    assert_eq!(holdings.bytes_of(&node(1)), 128);
    let shards = [1, 2, 3].map(|shard| ShardHash([shard; 32]));
    assert_eq!(holdings.named(&shards, &[GATEWAY].into()).unwrap(), [true, true, false]);
    assert_eq!(
        holdings.named(&shards, &[OTHER].into()).unwrap(),
        [false; 3],
        "of a ledger that nobody follows"
    );
    drop(holdings);
    let holdings = Holdings::open(directory.path()).unwrap();
    assert_eq!(holdings.cursor_of(&GATEWAY).unwrap(), 2, "once");
}

#[test]
fn what_any_ledger_speaks_of_is_named_until_each_deletes_it() {
    let directory = tempfile::tempdir().unwrap();
    let holdings = Holdings::open(directory.path()).unwrap();
    let is_named = || holdings.named(&[ShardHash([1; 32])], &[GATEWAY, OTHER].into()).unwrap()[0];
    assert!(!is_named());
    holdings.take_over(&GATEWAY, &[stored(1, 1, 64)], 1).unwrap();
    holdings.take_over(&OTHER, &[stored(1, 1, 64)], 1).unwrap();
    // Released by its gateway, and wanted: others have it, or are to.
    let released = Change::Released { shard: ShardHash([1; 32]), miner: node(1) };
    holdings.take_over(&GATEWAY, &[released], 2).unwrap();
    assert!(is_named());
    holdings.take_over(&GATEWAY, &[deleted(1)], 3).unwrap();
    assert!(is_named(), "the other gateway has it");
    holdings.take_over(&OTHER, &[deleted(1)], 2).unwrap();
    assert!(!is_named());
    holdings.take_over(&OTHER, &[Change::Named { shard: ShardHash([1; 32]), miner: node(1) }], 3).unwrap();
    assert!(is_named(), "by a receipt that does not count");
}

/// What was dropped of a ledger was deleted or released: it stays until all that was kept came, and goes then, and nothing else.
#[test]
fn what_does_not_come_when_a_ledger_is_read_anew_goes_at_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let known = |holdings: &Holdings| {
        let shards = [1, 2, 3, 4].map(|shard| ShardHash([shard; 32]));
        let named = holdings.named(&shards, &[GATEWAY].into()).unwrap();
        let stripes = holdings.stripes(None, 9).unwrap();
        let places = stripes.iter().map(|stripe| stripe.places.len()).sum::<usize>();
        (named, [1, 2].map(|n| holdings.bytes_of(&node(n))), places, holdings.cursor_of(&GATEWAY).unwrap())
    };
    {
        let holdings = Holdings::open(directory.path()).unwrap();
        let page = [stored(1, 1, 64), stored(1, 2, 64), stored(2, 2, 64), stored(1, 4, 64)];
        holdings.take_over(&GATEWAY, &page, 4).unwrap();
        holdings.take_over(&OTHER, &[stored(2, 5, 64)], 1).unwrap();
        let before = known(&holdings);
        assert_eq!(before, (vec![true, true, false, true], [192, 128], 5, 4));
        holdings.begin_anew(&GATEWAY).unwrap();
        holdings.change(&GATEWAY, &[stored(1, 1, 64)], None).unwrap();
        assert_eq!(known(&holdings), before);
    }
    // It stopped there: what came does not count any more.
    let holdings = Holdings::open(directory.path()).unwrap();
    holdings.begin_anew(&GATEWAY).unwrap();
    // The map of a receipt is forgotten by now: what it brought stays.
    let forgotten = Change::Named { shard: ShardHash([4; 32]), miner: node(1) };
    holdings.change(&GATEWAY, &[stored(2, 2, 64), stored(2, 3, 64), forgotten], None).unwrap();
    assert_eq!(known(&holdings), (vec![true; 4], [192, 192], 6, 4));
    holdings.end_anew(&GATEWAY, 4_096).unwrap();
    let after = (vec![false, true, true, true], [64, 192], 4, 4_096);
    assert_eq!(known(&holdings), after);
    holdings.take_over(&GATEWAY, &[], 4_097).unwrap();
    drop(holdings);
    let holdings = Holdings::open(directory.path()).unwrap();
    assert_eq!(known(&holdings), (after.0, after.1, after.2, 4_097));
    assert_eq!(holdings.cursor_of(&OTHER).unwrap(), 1);
}

#[test]
fn stripes_come_with_their_receipts_and_go_with_their_shards() {
    let directory = tempfile::tempdir().unwrap();
    let holdings = Holdings::open(directory.path()).unwrap();
    let moved = Change::Stored(Receipt { epoch: 2, ..receipt(3, 2, 64) });
    let other_bytes = Change::Stored(Receipt { shard: ShardHash([99; 32]), ..receipt(4, 2, 64) });
    let page = [stored(1, 2, 64), stored(2, 3, 64), moved, stored(1, 4, 64), other_bytes];
    holdings.take_over(&GATEWAY, &page, 5).unwrap();
    let known = holdings.stripes(None, 9).unwrap();
    assert_eq!(known.iter().map(|stripe| stripe.id.0[0]).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(holdings.stripes(Some(known[0].key()), 9).unwrap(), known[1..]);
    let stripe = holdings.stripe(&of(GATEWAY, 1)).unwrap().unwrap();
    assert_eq!((&stripe, stripe.size, stripe.gateway), (&known[0], 64, GATEWAY));
    let held: Vec<_> = stripe.places.iter().map(|place| (place.index, place.node.0[0])).collect();
    assert_eq!(held, [(0, 1), (0, 3), (1, 2)], "a position has one shard: the first that was signed for");
    holdings.take_over(&OTHER, &[deleted(2)], 1).unwrap();
    assert_eq!(holdings.stripe(&stripe.key()).unwrap(), Some(stripe.clone()));
    holdings.take_over(&GATEWAY, &[deleted(2)], 6).unwrap();
    assert_eq!(holdings.stripe(&stripe.key()).unwrap().unwrap().places.len(), 1);
    holdings.take_over(&GATEWAY, &[deleted(3)], 7).unwrap();
    assert_eq!(holdings.stripe(&stripe.key()).unwrap(), None);
}

#[test]
fn a_gateway_takes_away_only_what_it_gave() {
    let directory = tempfile::tempdir().unwrap();
    let holdings = Holdings::open(directory.path()).unwrap();
    holdings.take_over(&GATEWAY, &[stored(1, 1, 64)], 1).unwrap();
    holdings.take_over(&OTHER, &[stored(1, 1, 64), deleted(1)], 2).unwrap();
    assert_eq!(holdings.bytes_of(&node(1)), 64);
    holdings.take_over(&GATEWAY, &[deleted(1)], 2).unwrap();
    assert_eq!(holdings.bytes_of(&node(1)), 0);
}

/// A gateway that is made again from a snapshot has another node id, and a ledger that begins anew with the same shards.
#[test]
fn what_a_lost_gateway_had_is_that_of_the_one_made_again_alone() {
    let directory = tempfile::tempdir().unwrap();
    let said = |bytes| Change::Served(Served { miner: node(1), from: 0, until: 1, bytes });
    {
        let holdings = Holdings::open(directory.path()).unwrap();
        holdings.take_over(&GATEWAY, &[stored(1, 2, 64), stored(1, 3, 64), stored(1, 5, 64)], 3).unwrap();
        holdings.take_over(&OTHER, &[stored(1, 2, 64), stored(1, 3, 64), said(100)], 3).unwrap();
        assert_eq!((holdings.bytes_of(&node(1)), holdings.served_by(&node(1), 1)), (192, 0));
        let of_each = |gateway| holdings.stripe(&of(gateway, 1)).unwrap().unwrap().places;
        assert_eq!((of_each(GATEWAY).len(), of_each(GATEWAY)), (2, of_each(OTHER)));
        assert!(holdings.is_shared(&of(OTHER, 1)).unwrap() && !holdings.is_shared(&of(GATEWAY, 2)).unwrap());
    }
    let holdings = Holdings::open(directory.path()).unwrap();
    holdings.keep_only(&[OTHER].into()).unwrap();
    assert_eq!((holdings.bytes_of(&node(1)), holdings.served_by(&node(1), 1)), (128, 100));
    assert_eq!((holdings.cursor_of(&GATEWAY).unwrap(), holdings.cursor_of(&OTHER).unwrap()), (0, 3));
    let stripes = holdings.stripes(None, 9).unwrap();
    assert_eq!((stripes.len(), stripes[0].gateway), (1, OTHER), "nobody wants the other stripe");
    holdings.take_over(&OTHER, &[deleted(2)], 4).unwrap();
    assert_eq!(holdings.bytes_of(&node(1)), 64);
    holdings.take_over(&OTHER, &[deleted(3)], 5).unwrap();
    assert_eq!((holdings.bytes_of(&node(1)), holdings.stripes(None, 9).unwrap()), (0, vec![]));
    drop(holdings);
    let holdings = Holdings::open(directory.path()).unwrap();
    assert_eq!((holdings.bytes_of(&node(1)), holdings.served_by(&node(1), 1)), (0, 0));
}

#[test]
fn a_file_of_the_layout_with_one_gateway_for_a_shard_is_read_again_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    {
        let holdings = Holdings::open(directory.path()).unwrap();
        holdings.take_over(&GATEWAY, &[stored(1, 1, 64)], 1).unwrap();
        let transaction = holdings.database.begin_write().unwrap();
        transaction.delete_table(CLAIMS).unwrap();
        let row = (GATEWAY.0, 64, [0; 32]);
        transaction.open_table(BEFORE_CLAIMS).unwrap().insert(([1; 32], [1; 32]), row).unwrap();
        transaction.commit().unwrap();
    }
    let holdings = Holdings::open(directory.path()).unwrap();
    assert_eq!((holdings.cursor_of(&GATEWAY).unwrap(), holdings.bytes_of(&node(1))), (0, 64));
    holdings.take_over(&GATEWAY, &[stored(1, 1, 64), deleted(1)], 2).unwrap();
    assert_eq!((holdings.bytes_of(&node(1)), holdings.stripes(None, 9).unwrap()), (0, vec![]));
    drop(holdings);
    let holdings = Holdings::open(directory.path()).unwrap();
    assert_eq!(holdings.cursor_of(&GATEWAY).unwrap(), 2, "once");
}

#[test]
fn a_file_of_the_layout_in_which_gateways_shared_a_stripe_is_taken_over() {
    let directory = tempfile::tempdir().unwrap();
    let (before, known) = {
        let holdings = Holdings::open(directory.path()).unwrap();
        holdings.take_over(&GATEWAY, &[stored(1, 2, 64), stored(1, 3, 64)], 2).unwrap();
        holdings.take_over(&OTHER, &[stored(1, 3, 64)], 1).unwrap();
        let known = holdings.stripes(None, 9).unwrap();
        let transaction = holdings.database.begin_write().unwrap();
        transaction.delete_table(STRIPES).unwrap();
        let row = (64_u32, vec![GATEWAY, OTHER, node(9)], known[0].places.clone()).encode();
        let mut stripes = transaction.open_table(stripes::BEFORE_GATEWAYS).unwrap();
        stripes.insert([1; 32], row.as_slice()).unwrap();
        drop(stripes);
        transaction.open_table(pending::BEFORE_GATEWAYS).unwrap();
        transaction.commit().unwrap();
        (holdings.bytes_of(&node(1)), known)
    };
    for _ in 0..2 {
        let holdings = Holdings::open(directory.path()).unwrap();
        assert_eq!(
            (holdings.bytes_of(&node(1)), holdings.stripes(None, 9).unwrap()),
            (before, known.clone())
        );
        assert_eq!(holdings.cursor_of(&GATEWAY).unwrap(), 2, "nothing is read again");
    }
    assert_eq!(known.iter().map(|stripe| stripe.places.len()).collect::<Vec<_>>(), [2, 1]);
}

/// Neither can be checked while one of its shards is not known.
#[test]
fn what_one_ledger_says_of_a_stripe_does_not_keep_out_what_another_says() {
    let directory = tempfile::tempdir().unwrap();
    let holdings = Holdings::open(directory.path()).unwrap();
    let forged = Change::Stored(Receipt { shard: ShardHash([99; 32]), size: 1, ..receipt(4, 2, 64) });
    holdings.take_over(&OTHER, &[forged], 1).unwrap();
    holdings.take_over(&GATEWAY, &[stored(1, 2, 64), stored(2, 3, 64)], 2).unwrap();
    let stripe = holdings.stripe(&of(GATEWAY, 1)).unwrap().unwrap();
    assert_eq!((stripe.size, stripe.places.len()), (64, 2));
    assert_eq!(stripe.shard(0), Some(ShardHash([2; 32])));
}

#[test]
fn a_released_miner_holds_nothing_until_it_signs_again() {
    let directory = tempfile::tempdir().unwrap();
    let holdings = Holdings::open(directory.path()).unwrap();
    let released =
        |miner: u8, shard: u8| Change::Released { shard: ShardHash([shard; 32]), miner: node(miner) };
    let sums = || [1, 2].map(|n| holdings.bytes_of(&node(n)));
    holdings.take_over(&GATEWAY, &[stored(1, 1, 64), stored(2, 1, 64), stored(1, 2, 64)], 3).unwrap();
    holdings.take_over(&OTHER, &[released(1, 1)], 1).unwrap();
    assert_eq!(sums(), [128, 64]);
    holdings.take_over(&GATEWAY, &[released(1, 1), released(3, 1), released(1, 1)], 6).unwrap();
    assert_eq!(sums(), [64, 64]);
    let stripe = holdings.stripe(&of(GATEWAY, 0)).unwrap().unwrap();
    assert_eq!(stripe.places.iter().map(|place| place.node).collect::<Vec<_>>(), [node(2)]);
    let shards = [1, 2].map(|shard| ShardHash([shard; 32]));
    assert_eq!(holdings.signed_by(&node(1), shards).unwrap(), [shards[1]].into());
    holdings.take_over(&GATEWAY, &[stored(1, 1, 64), deleted(1)], 8).unwrap();
    assert_eq!(sums(), [64, 0]);
}

#[test]
fn a_file_of_the_layout_without_what_was_served_is_read_again() {
    let directory = tempfile::tempdir().unwrap();
    {
        let holdings = Holdings::open(directory.path()).unwrap();
        holdings.take_over(&GATEWAY, &[stored(1, 1, 64)], 1).unwrap();
        let transaction = holdings.database.begin_write().unwrap();
        transaction.delete_table(HELD).unwrap();
        transaction.delete_table(SERVED).unwrap();
        transaction.open_table(BEFORE_SERVED).unwrap().insert([1; 32], 64).unwrap();
        transaction.commit().unwrap();
    }
    let holdings = Holdings::open(directory.path()).unwrap();
    assert_eq!((holdings.cursor_of(&GATEWAY).unwrap(), holdings.is_empty()), (0, true));
    holdings.take_over(&GATEWAY, &[stored(1, 1, 64)], 1).unwrap();
    assert_eq!(holdings.bytes_of(&node(1)), 64);
}

/// Whatever a gateway says, what counts is bounded by what it has there by receipts.
#[test]
fn what_was_served_counts_up_to_what_each_gateway_has_there() {
    const HOUR: u64 = 3_600_000;
    let directory = tempfile::tempdir().unwrap();
    let said = |miner, hour: u64, bytes| {
        Change::Served(Served { miner: node(miner), from: hour * HOUR, until: (hour + 1) * HOUR, bytes })
    };
    let now = 500_005 * HOUR;
    let counted = |holdings: &Holdings| [1, 2].map(|n| holdings.served_by(&node(n), now));
    {
        let holdings = Holdings::open(directory.path()).unwrap();
        let page = [stored(1, 1, 64), stored(1, 2, 64), said(1, 500_000, 100), said(2, 500_000, 1 << 40)];
        holdings.take_over(&GATEWAY, &page, 4).unwrap();
        // Lines that come again, or twice, count once.
        holdings.take_over(&GATEWAY, &page, 4).unwrap();
        assert_eq!(counted(&holdings), [100, 0]);
        holdings.take_over(&GATEWAY, &[said(1, 500_001, 1 << 40)], 5).unwrap();
        // Another gateway that has nothing there adds nothing; one that has, adds as much at most.
        holdings.take_over(&OTHER, &[said(1, 500_000, 1_000)], 1).unwrap();
        assert_eq!(counted(&holdings), [128, 0]);
        holdings.take_over(&OTHER, &[stored(1, 3, 10), stored(2, 4, 10)], 3).unwrap();
    }
    let holdings = Holdings::open(directory.path()).unwrap();
    assert_eq!(counted(&holdings), [138, 0]);
    assert!(holdings.served_by(&node(1), now) <= holdings.bytes_of(&node(1)));
    holdings.take_over(&GATEWAY, &[deleted(1), deleted(2)], 7).unwrap();
    assert_eq!(counted(&holdings), [10, 0], "what is not there any more was worth nothing");
    assert_eq!(holdings.served_by(&node(1), now + 30 * HOUR), 0);
}

#[test]
fn a_full_disk_keeps_nothing_and_is_noticed() {
    let disk = arion_stranger::SmallDisk::default();
    let holdings = Holdings::on(Database::builder().create_with_backend(disk.clone()).unwrap()).unwrap();
    holdings.take_over(&GATEWAY, &[stored(1, 1, 64)], 1).unwrap();
    disk.fill();
    assert!(holdings.take_over(&GATEWAY, &[stored(1, 2, 64)], 2).is_err());
    assert_eq!(holdings.bytes_of(&node(1)), 64);
    disk.clear();
    let said = holdings.check().unwrap_err().to_string();
    assert!(said.contains("make room"), "{said}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn sums_are_those_of_the_shards(lines in proptest::collection::vec((0..2_u8, 0..6_u8, 0..3_u8, 0..4_u8), 1..60)) {
        let directory = tempfile::tempdir().unwrap();
        let holdings = Holdings::open(directory.path()).unwrap();
        let mut expected = BTreeSet::new();
        for (gateway, kind, miner, shard) in lines {
            let from = [GATEWAY, OTHER][usize::from(gateway)];
            let change = match kind {
                0..3 => {
                    expected.insert((shard, miner, gateway));
                    stored(miner, shard, 64)
                }
                3 => {
                    expected.retain(|(of, _, by)| (*of, *by) != (shard, gateway));
                    deleted(shard)
                }
                4 => {
                    expected.remove(&(shard, miner, gateway));
                    Change::Released { shard: ShardHash([shard; 32]), miner: node(miner) }
                }
                _ => {
                    expected.retain(|(.., by)| *by != gateway);
                    holdings.forget(&from).unwrap();
                    continue;
                }
            };
            holdings.take_over(&from, &[change], 1).unwrap();
            let pairs: BTreeSet<_> = expected.iter().map(|(shard, miner, _)| (*shard, *miner)).collect();
            let known = holdings.stripes(None, 9).unwrap();
            prop_assert!(known.iter().all(|stripe| !stripe.places.is_empty()));
            let places = known.iter().flat_map(|stripe| {
                stripe.places.iter().map(|place| (place.shard, place.node, stripe.gateway))
            });
            let said = expected.iter().map(|(shard, miner, by)| {
                (ShardHash([*shard; 32]), node(*miner), [GATEWAY, OTHER][usize::from(*by)])
            });
            prop_assert_eq!(places.collect::<BTreeSet<_>>(), said.collect());
            for n in 0..3 {
                let count = pairs.iter().filter(|(_, miner)| *miner == n).count() as u64;
                prop_assert_eq!(holdings.bytes_of(&node(n)), 64 * count);
            }
        }
    }
}
