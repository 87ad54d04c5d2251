//! What clients ask about placement, rank and weight.

use arion_types::CrushParams;
use frame_support::assert_ok;

use crate::{PlacementRefusal, mock::*};

#[test]
fn placement_is_what_the_crush_crate_says_of_the_stored_map() {
    story(|| {
        assert_eq!(Arion::placement(0), Err(PlacementRefusal::NoMap));
        let params = CrushParams { pg_count: 64, ec_k: 2, ec_m: 4, ..CrushParams::STANDARD };
        let miners: Vec<_> = (1..=8).map(|uid| miner(uid, 1 + (uid % 4) as u8, uid as u8)).collect();
        let records = miners.clone().try_into().unwrap();
        assert_ok!(Arion::submit_crush_map(signed(100), 1, params, records));
        let map = crush::Map::from_records(&params, &miners).unwrap();
        for pg in 0..64 {
            let (epoch, uids) = Arion::placement(pg).unwrap();
            assert_eq!((epoch, &uids), (1, &map.place_vec(pg)));
            assert!(uids.len() == 6 && uids.iter().any(Option::is_some));
        }
        assert_eq!(Arion::placement(64), Err(PlacementRefusal::NoSuchGroup));
        assert_eq!(Arion::placement(u32::MAX), Err(PlacementRefusal::NoSuchGroup));
        assert_ok!(submit_map(100, 2, miners));
        assert_eq!(Arion::placement(0), Err(PlacementRefusal::TooFewMiners));
    });
}

#[test]
fn miners_are_ranked_by_weight_then_account() {
    story(|| {
        for (family, child) in [(1, 20), (2, 21), (3, 22), (4, 23)] {
            assert_ok!(register(family, child));
        }
        let updates = vec![(20, quality(GIB, GIB)), (22, quality(TIB, TIB)), (23, quality(GIB, GIB))];
        assert_ok!(report(100, updates));
        run_to_weights();
        let ranked = |child, family, weight| (account(child), account(family), weight);
        let all = [ranked(22, 3, 5_120), ranked(20, 1, 512), ranked(23, 4, 512), ranked(21, 2, 0)];
        assert_eq!(Arion::ranking(0), (all.to_vec(), None));
        assert_eq!(Arion::ranking(3), (all[3..].to_vec(), None));
        assert_eq!(Arion::ranking(4), (vec![], None));
        assert_eq!(Arion::ranking(u32::MAX), (vec![], None));
    });
}

#[test]
fn weights_are_those_of_active_children_and_their_families() {
    story(|| {
        assert_ok!(register(1, 20));
        assert_eq!(Arion::node_weight(&account(20)), Some(0));
        assert_eq!(Arion::family_weight(&account(1)), Some((0, 0)));
        assert_ok!(report(100, vec![(20, quality(TIB, TIB))]));
        run_to_weights();
        assert_eq!(Arion::node_weight(&account(20)), Some(5_120));
        assert_eq!(Arion::family_weight(&account(1)), Some((500, 5_120)));
        assert_ok!(Arion::deregister_child(signed(1), account(20)));
        assert_eq!(Arion::node_weight(&account(20)), None);
        assert_eq!(Arion::family_weight(&account(1)), None);
        assert_eq!(Arion::family_weight(&account(2)), None);
    });
}
