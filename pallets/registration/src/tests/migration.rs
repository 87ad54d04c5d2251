//! A chain of version 1 goes on with version 2.

use arion_types::{Lane, NodeType};
use frame_support::{
    assert_ok,
    traits::{OnRuntimeUpgrade, StorageVersion},
};

use crate::{Nodes, migrations::MigrateV1ToV2, mock::*};

const NODES: [(u8, NodeType); 3] =
    [(1, NodeType::Gateway), (2, NodeType::ComputeMiner), (3, NodeType::Validator)];

/// Owners 1 and 2, which came for storage and for computing, with three nodes each in their owner's lane.
fn version_1(test: impl FnOnce()) {
    story(|| {
        for (owner, lane) in [(1u8, Lane::Storage), (2, Lane::Compute)] {
            let origin = RuntimeOrigin::signed(account(owner));
            assert_ok!(Registration::register_owner_node(origin.clone(), lane));
            for (n, node_type) in NODES {
                let key = node(10 * owner + n);
                let sig = consent(&key, &account(owner), node_type);
                assert_ok!(Registration::register_node(origin.clone(), node_type, id(&key), sig));
                Nodes::<Test>::mutate(id(&key), |record| record.as_mut().unwrap().lane = lane);
            }
        }
        StorageVersion::new(1).put::<Registration>();
        test();
    });
}

fn lanes() -> Vec<Lane> {
    let keys = [1, 2].into_iter().flat_map(|owner| NODES.map(|(n, _)| node(10 * owner + n)));
    keys.map(|key| Nodes::<Test>::get(id(&key)).unwrap().lane).collect()
}

#[test]
fn every_node_comes_into_the_lane_of_its_type_and_nothing_else_changes() {
    version_1(|| {
        assert!(Registration::do_try_state().is_err(), "version 1 is not a state of version 2");
        let mut before: Vec<_> = Nodes::<Test>::iter().collect();
        MigrateV1ToV2::<Test>::on_runtime_upgrade();
        Registration::do_try_state().unwrap();
        assert_eq!(StorageVersion::get::<Registration>(), StorageVersion::new(2));
        use Lane::{Compute, Storage};
        assert_eq!(lanes(), [Storage, Compute, Storage, Storage, Compute, Storage]);
        for (_, record) in &mut before {
            record.lane = record.node_type.lane();
        }
        assert_eq!(Nodes::<Test>::iter().collect::<Vec<_>>(), before);
    });
}

#[test]
fn it_runs_once() {
    version_1(|| {
        MigrateV1ToV2::<Test>::on_runtime_upgrade();
        let once = sp_io::storage::root(sp_runtime::StateVersion::V1);
        MigrateV1ToV2::<Test>::on_runtime_upgrade();
        assert_eq!(sp_io::storage::root(sp_runtime::StateVersion::V1), once);
    });
}
