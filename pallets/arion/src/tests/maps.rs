//! Validators agree on a map; a map that makes no sense never gets a vote.

use arion_types::{CrushParams, map::map_root};
use frame_support::{assert_noop, assert_ok};
use sp_core::H256;
use sp_runtime::{BoundedVec, DispatchError};

use crate::{
    CurrentEpoch, EpochMiners, EpochParams, EpochRoot, EpochStarts, KeptEpochs, MapVotes, mock::*,
    scoring::votes_needed,
};

fn published(epoch: u64) -> bool {
    EpochRoot::<Test>::contains_key(epoch)
}

#[test]
fn with_one_validator_a_map_takes_effect_at_once() {
    story(|| {
        let miners = vec![miner(1, 1, 1), miner(7, 2, 2)];
        let root = H256(map_root(&CrushParams::STANDARD, &miners));
        assert_ok!(submit_map(100, 1, miners.clone()));
        assert_eq!(CurrentEpoch::<Test>::get(), 1);
        assert_eq!(EpochParams::<Test>::get(1), Some(CrushParams::STANDARD));
        assert_eq!(EpochMiners::<Test>::get(1).unwrap().into_inner(), miners);
        assert_eq!(EpochRoot::<Test>::get(1), Some(root));
        System::assert_last_event(Event::CrushMapPublished { epoch: 1, miners: 2, root }.into());
    });
}

#[test]
fn two_of_three_validators_must_want_the_same_map() {
    story(|| {
        Validators::set(vec![account(100), account(101), account(102)]);
        let (ours, theirs) = (vec![miner(1, 1, 1)], vec![miner(2, 1, 1)]);
        assert_ok!(submit_map(100, 1, ours.clone()));
        assert_ok!(submit_map(101, 1, theirs));
        assert_noop!(submit_map(102, 2, ours.clone()), Error::FirstEpochNotOne);
        assert_ok!(submit_map(102, 1, vec![miner(3, 1, 1)]));
        assert!(!published(1));
        assert_ok!(submit_map(101, 1, ours.clone()));
        assert!(published(1));
        assert_eq!(MapVotes::<Test>::iter().count(), 0, "votes are over once a map is there");
        let events = System::events();
        let votes: Vec<_> = events
            .iter()
            .filter_map(|record| match &record.event {
                RuntimeEvent::Arion(crate::Event::MapProposed { votes, votes_needed, .. }) => {
                    Some((*votes, *votes_needed))
                }
                _ => None,
            })
            .collect();
        assert_eq!(votes, [(1, 2), (1, 2), (1, 2), (2, 2)]);
    });
}

#[test]
fn a_validator_has_one_vote_however_often_it_submits() {
    story(|| {
        Validators::set(vec![account(100), account(101), account(102), account(103)]);
        for _ in 0..3 {
            assert_ok!(submit_map(100, 1, vec![miner(1, 1, 1)]));
        }
        assert_ok!(submit_map(101, 1, vec![miner(1, 1, 1)]));
        assert!(!published(1));
        assert_ok!(submit_map(101, 1, vec![miner(9, 1, 1)]));
        assert_ok!(submit_map(102, 1, vec![miner(1, 1, 1)]));
        assert!(!published(1), "the replaced vote no longer counts");
        assert_ok!(submit_map(103, 1, vec![miner(1, 1, 1)]));
        assert!(published(1));
    });
}

#[test]
fn votes_weigh_what_their_validators_stake() {
    story(|| {
        Validators::set(vec![account(100), account(101), account(102)]);
        Stakes::set(vec![(account(100), 60), (account(101), 30), (account(102), 10)]);
        assert_ok!(submit_map(101, 1, vec![miner(1, 1, 1)]));
        assert_ok!(submit_map(102, 1, vec![miner(1, 1, 1)]));
        assert!(!published(1), "two of three validators, but 40 of 100 votes");
        assert_ok!(submit_map(100, 1, vec![miner(1, 1, 1)]));
        assert!(published(1));
    });
}

#[test]
fn the_vote_of_a_former_validator_does_not_count() {
    story(|| {
        Validators::set(vec![account(100), account(101), account(102)]);
        assert_ok!(submit_map(100, 1, vec![miner(1, 1, 1)]));
        Validators::set(vec![account(101), account(102), account(103)]);
        assert_ok!(submit_map(101, 1, vec![miner(1, 1, 1)]));
        assert!(!published(1));
        assert_noop!(submit_map(100, 1, vec![miner(1, 1, 1)]), DispatchError::BadOrigin);
        assert_ok!(submit_map(103, 1, vec![miner(1, 1, 1)]));
        assert!(published(1));
    });
}

#[test]
fn votes_needed_is_two_thirds_rounded_up() {
    for (validators, needed) in [(0, 1), (1, 1), (2, 2), (3, 2), (4, 3), (5, 4), (6, 4), (7, 5), (100, 67)] {
        assert_eq!(votes_needed(validators), needed, "{validators}");
    }
}

#[test]
fn epochs_start_at_one_and_only_grow() {
    story(|| {
        assert_noop!(submit_map(100, 0, vec![miner(1, 1, 1)]), Error::EpochRegression);
        assert_noop!(submit_map(100, 2, vec![miner(1, 1, 1)]), Error::FirstEpochNotOne);
        assert_ok!(submit_map(100, 1, vec![miner(1, 1, 1)]));
        assert_noop!(submit_map(100, 1, vec![miner(1, 1, 1)]), Error::EpochRegression);
        assert_ok!(submit_map(100, 5, vec![miner(1, 1, 1)]));
        assert_noop!(submit_map(100, 3, vec![miner(1, 1, 1)]), Error::EpochRegression);
    });
}

#[test]
fn only_the_newest_maps_are_kept() {
    story(|| {
        for epoch in [1, 2, 4, 8, 16] {
            assert_ok!(submit_map(100, epoch, vec![miner(1, 1, 1)]));
        }
        assert_eq!(KeptEpochs::<Test>::get().into_inner(), [4, 8, 16]);
        assert_eq!(EpochStarts::<Test>::get().into_inner(), [(4, 1), (8, 1), (16, 1)]);
        assert!(!published(1) && !published(2) && published(4));
        assert_eq!(Arion::map_at(2), None);
        assert_eq!(Arion::map_at(16).map(|map| map.0), Some(16));
    });
}

#[test]
fn miners_that_make_no_sense_are_refused() {
    story(|| {
        let mut nowhere = miner(1, 1, 1);
        nowhere.endpoint = BoundedVec::default();
        let mut garbled = miner(1, 1, 1);
        garbled.endpoint = BoundedVec::truncate_from(vec![0xff, 0xfe]);
        for (miners, error) in [
            (vec![], Error::EmptyMinerList),
            (vec![miner(2, 1, 1), miner(1, 1, 2)], Error::MinerListNotSortedOrNotUnique),
            (vec![miner(1, 1, 1), miner(1, 1, 2)], Error::MinerListNotSortedOrNotUnique),
            (vec![miner(1, 1, 1), miner(2, 1, 1)], Error::DuplicateNodeId),
            (vec![nowhere], Error::InvalidEndpoint),
            (vec![garbled], Error::InvalidEndpoint),
        ] {
            assert_noop!(submit_map(100, 1, miners), error);
        }
    });
}

#[test]
fn parameters_that_make_no_sense_are_refused() {
    story(|| {
        let standard = CrushParams::STANDARD;
        for params in [
            CrushParams { pg_count: 0, ..standard },
            CrushParams { pg_count: 65_537, ..standard },
            CrushParams { ec_k: 0, ..standard },
            CrushParams { ec_k: 200, ec_m: 56, ..standard },
            CrushParams { family_shards_max: 0, ..standard },
            CrushParams { choose_tries: 0, ..standard },
            CrushParams { choose_tries: 10_001, ..standard },
        ] {
            let miners = vec![miner(1, 1, 1)].try_into().unwrap();
            assert_noop!(Arion::submit_crush_map(signed(100), 1, params, miners), Error::InvalidCrushParams);
        }
    });
}

#[test]
fn a_map_names_active_children_of_their_families_only() {
    story(|| {
        EnforceRegistered::set(true);
        assert_ok!(register(1, 20));
        assert_noop!(submit_map(100, 1, vec![miner(1, 1, 99)]), Error::MinerNotRegistered);
        assert_noop!(submit_map(100, 1, vec![miner(1, 2, 20)]), Error::MinerNotRegistered);
        assert_ok!(submit_map(100, 1, vec![miner(1, 1, 20)]));
        assert_ok!(Arion::deregister_child(signed(1), account(20)));
        assert_noop!(submit_map(100, 2, vec![miner(1, 1, 20)]), Error::MinerNotRegistered);
    });
}

#[test]
fn families_and_root_publish_no_maps() {
    story(|| {
        assert_noop!(submit_map(1, 1, vec![miner(1, 1, 1)]), DispatchError::BadOrigin);
        assert_noop!(
            Arion::submit_crush_map(
                RuntimeOrigin::root(),
                1,
                CrushParams::STANDARD,
                vec![miner(1, 1, 1)].try_into().unwrap()
            ),
            DispatchError::BadOrigin
        );
    });
}
