//! What a service says of shards that no ledger names, and what miners make of it.

use std::time::Duration;

use arion_types::NodeId;

use super::world::{World, eventually, node};
use crate::unnamed::Silence;

#[tokio::test]
async fn a_service_that_does_not_know_all_ledgers_says_nothing() {
    let world = World::new(48);
    let stripe = world.upload(1, 4_000, 30).await;
    let (service, shards) = (world.service(), world.shards_of(&stripe));
    assert!(matches!(service.unnamed(node(3), &shards), Err(Silence::NotRead(_))));
    world.disconnect_gateway();
    service.try_sync().await.unwrap_err();
    assert!(matches!(service.unnamed(node(3), &shards), Err(Silence::NotRead(_))));
    world.connect_gateway();
    service.sync().await;
    assert_eq!(service.unnamed(node(3), &shards).unwrap(), []);
    assert!(matches!(service.unnamed(NodeId([9; 32]), &shards), Err(Silence::NoMiner)));
    assert!(matches!(service.unnamed(node(3), &[]), Err(Silence::Number)));
    assert!(matches!(service.unnamed(node(3), &vec![shards[0]; 1_025]), Err(Silence::Number)));
    let other = NodeId([99; 32]);
    world.register_gateway(other);
    let silence = service.unnamed(node(3), &shards);
    assert!(matches!(silence, Err(Silence::NotFollowed(gateway)) if gateway == other));
}

#[tokio::test]
async fn what_any_line_speaks_of_is_named_until_it_is_deleted() {
    let world = World::new(48);
    let wanted = world.upload(1, 4_000, 30).await;
    let lines = world.gateway.len();
    let lost = world.upload(2, 3_000, 30).await;
    // The gateway crashed before the second one was in its ledger.
    world.gateway.forget_behind(lines);
    let service = world.service();
    service.sync().await;
    let all = [world.shards_of(&wanted), world.shards_of(&lost)].concat();
    assert_eq!(service.unnamed(node(3), &all).unwrap(), world.shards_of(&lost));
    // Whoever asks: another miner of the map has it, or is to have it, or was released.
    world.set_map(2, &[5]);
    service.census(false).await;
    assert_eq!(service.drain().await, Vec::<String>::new());
    assert!(world.gateway.release(&node(5)) > 0 || world.gateway.moved() == 0);
    service.sync().await;
    assert_eq!(service.unnamed(node(5), &all).unwrap(), world.shards_of(&lost));
    let gone = world.shards_of(&wanted)[7];
    world.gateway.delete(&[gone]);
    service.sync().await;
    assert!(service.unnamed(node(3), &all).unwrap().contains(&gone));
}

#[tokio::test]
async fn receipts_of_maps_that_the_chain_has_forgotten_still_name_their_shards() {
    let world = World::with_services(48, 2);
    let stripe = world.upload(1, 4_000, 30).await;
    world.set_map(2, &[]);
    world.forget_earlier_maps();
    // A service that reads the ledger from its beginning now: after its disk was lost, or a new one.
    let service = world.service_number(1);
    service.sync().await;
    assert_eq!(service.refused(), 30, "none of the receipts counts");
    assert_eq!(service.unnamed(node(3), &world.shards_of(&stripe)).unwrap(), []);
}

#[tokio::test]
async fn a_ledger_that_was_cut_back_is_not_read_to_its_end() {
    let world = World::new(48);
    world.upload(1, 4_000, 30).await;
    let service = world.service();
    service.sync().await;
    service.sync().await;
    world.gateway.forget_behind(20);
    assert!(service.try_sync().await.unwrap_err().contains("ends before line 30"));
    world.upload(2, 4_000, 30).await;
    service.sync().await;
}

#[tokio::test]
async fn what_a_dead_gateway_left_goes_and_nothing_else_while_a_map_changes_and_repair_works() {
    const RETENTION: Duration = Duration::from_millis(400);
    let world = World::with_services(48, 2);
    for seed in 0..3 {
        world.upload(seed, 4_000, 30).await;
    }
    let lines = world.gateway.len();
    let lost = world.upload(9, 3_000, 30).await;
    world.gateway.forget_behind(lines);
    let services = [world.service_number(0), world.service_number(1)];
    let [one, two] = &services;
    one.sync().await;
    two.sync().await;
    let collectors = (0..48).map(|uid| world.collector(uid, &[one, two], RETENTION).run());
    let mut running = tokio::task::JoinSet::new();
    collectors.for_each(|collector| drop(running.spawn(collector)));

    world.lose(5);
    world.set_map(2, &[5]);
    // Each works on the groups that it is the first of.
    for service in &services {
        service.census(false).await;
        assert_eq!(service.drain().await, Vec::<String>::new());
    }
    one.sync().await;
    two.sync().await;
    let left = || {
        let shards = world.shards_of(&lost);
        (0..48).filter(|uid| *uid != 5).map(|uid| world.held(uid, &shards)).sum::<usize>()
    };
    eventually("what nobody wants is gone", || left() == 0).await;
    world.check_all_in_place(&[lost]).await;
    // They go on for a while, and find nothing more.
    tokio::time::timeout(RETENTION * 3, running.join_next()).await.unwrap_err();
    world.check_all_in_place(&[lost]).await;
}

#[tokio::test]
async fn a_world_takes_its_disks_along() {
    let world = World::new(48);
    let service = world.service();
    let collector = world.collector(3, &[&service], Duration::MAX);
    let disks = world.disks();
    assert!(disks.iter().all(|disk| disk.exists()));
    drop((collector, service, world));
    assert!(!disks.iter().any(|disk| disk.exists()));
}
