//! Stats for people to look at.

use arion_types::{MinerStatsUpdate, NetworkTotals};
use frame_support::{assert_noop, assert_ok, dispatch::DispatchResult};
use sp_runtime::DispatchError;

use crate::{MinerStats, MinerStatsRecord, NetworkStats, NetworkStatsRecord, mock::*};

fn update(child: u8, shard_count: u64) -> MinerStatsUpdate<sp_runtime::AccountId32> {
    MinerStatsUpdate { child: account(child), shard_count, shard_data_bytes: 7, last_seen_ms: 8 }
}

fn submit(
    bucket: u32,
    updates: Vec<MinerStatsUpdate<sp_runtime::AccountId32>>,
    totals: Option<NetworkTotals>,
) -> DispatchResult {
    Arion::submit_miner_stats(signed(100), bucket, updates.try_into().unwrap(), totals)
}

fn with_children(test: impl FnOnce()) {
    story(|| {
        for (family, child) in [(1, 20), (2, 21)] {
            assert_ok!(register(family, child));
        }
        test();
    });
}

#[test]
fn the_newest_stats_of_miners_and_network_are_there() {
    with_children(|| {
        let totals = NetworkTotals { miners: 2, shard_count: 3, ..Default::default() };
        assert_ok!(submit(0, vec![update(20, 1), update(21, 2), update(22, 3)], Some(totals)));
        System::assert_last_event(Event::MinerStatsUpdated { bucket: 0, updates: 2 }.into());
        assert_eq!(NetworkStats::<Test>::get(), Some(NetworkStatsRecord { bucket: 0, totals }));
        run_to(WEIGHT_BUCKET_BLOCKS);
        assert_ok!(submit(1, vec![update(20, 9)], None));
        let newest = MinerStatsRecord { bucket: 1, shard_count: 9, shard_data_bytes: 7, last_seen_ms: 8 };
        assert_eq!(MinerStats::<Test>::get(account(20)), Some(newest));
        assert_eq!(MinerStats::<Test>::get(account(21)).unwrap().bucket, 0);
        assert_eq!(MinerStats::<Test>::get(account(22)), None);
        assert_eq!(NetworkStats::<Test>::get().unwrap().bucket, 0);
    });
}

#[test]
fn stats_go_with_their_miner() {
    with_children(|| {
        assert_ok!(submit(0, vec![update(20, 1), update(21, 2)], None));
        assert_ok!(Arion::deregister_child(signed(1), account(20)));
        assert_eq!(MinerStats::<Test>::iter_keys().collect::<Vec<_>>(), [account(21)]);
    });
}

#[test]
fn stats_that_make_no_sense_are_refused() {
    with_children(|| {
        assert_noop!(submit(0, vec![], None), Error::EmptyReport);
        assert_ok!(submit(0, vec![], Some(NetworkTotals::default())));
        let unsorted = vec![update(21, 1), update(20, 1)];
        assert_noop!(submit(0, unsorted, None), Error::UpdatesNotSortedOrNotUnique);
        let twice = vec![update(20, 1), update(20, 1)];
        assert_noop!(submit(0, twice, None), Error::UpdatesNotSortedOrNotUnique);
        assert_noop!(submit(1, vec![update(20, 1)], None), Error::WeightBucketNotOpen);
        run_to(WEIGHT_BUCKET_BLOCKS);
        assert_noop!(submit(0, vec![update(20, 1)], None), Error::WeightBucketClosed);
    });
}

#[test]
fn nobody_but_validators_publishes_stats() {
    with_children(|| {
        let submit =
            |origin| Arion::submit_miner_stats(origin, 0, Default::default(), Some(NetworkTotals::default()));
        for origin in [signed(1), signed(20), RuntimeOrigin::root(), RuntimeOrigin::none()] {
            assert_noop!(submit(origin), DispatchError::BadOrigin);
        }
        assert_ok!(submit(signed(100)));
    });
}
