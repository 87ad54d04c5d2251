//! Real miners, a gateway's ledger, a chain and repair in one process.

mod forged;
mod unnamed;
mod world;

use world::{Manner, World, eventually};

#[tokio::test]
async fn what_a_lost_miner_had_is_brought_to_the_miners_of_the_next_map() {
    let world = World::new(48);
    for seed in 0..6 {
        world.upload(seed, 4_000, 30).await;
    }
    let service = world.service();
    service.sync().await;
    assert_eq!(service.census(true).await.whole(), 6);

    world.lose(5);
    world.set_map(2, &[5]);
    let found = service.census(false).await;
    assert!(found.degraded() > 0, "the new map moves nothing");
    assert_eq!(service.drain().await, Vec::<String>::new());
    world.check_all_in_place(&[]).await;
    let moved = service.shards();
    service.sync().await;
    let again = service.census(true).await;
    assert_eq!((again.whole(), again.degraded()), (6, 0));
    assert_eq!(service.drain().await, Vec::<String>::new());
    assert_eq!(service.shards(), moved, "what is in place is not moved again");
    assert!(moved > 0 && world.gateway.doubled() == 0);
}

#[tokio::test]
async fn a_wiped_miner_that_stays_in_the_map_gets_its_shards_again_and_has_signed_for_them_already() {
    let world = World::new(48);
    for seed in 0..4 {
        world.upload(seed, 100_000, 30).await;
    }
    let service = world.service();
    service.sync().await;
    world.wipe(7);
    let lines = world.gateway.len();
    assert_eq!(service.census(false).await.whole(), 4, "the ledgers cannot know");
    assert!(service.census(true).await.degraded() > 0);
    assert_eq!(service.drain().await, Vec::<String>::new());
    world.check_all_in_place(&[]).await;
    assert_eq!(world.gateway.len(), lines);
}

/// The quorum was 20, and the gateway has gone before the others were there: nobody knows their addresses.
#[tokio::test]
async fn shards_that_nobody_ever_signed_for_are_computed() {
    let world = World::new(48);
    world.upload(1, 5_000, 20).await;
    let service = world.service();
    service.sync().await;
    assert_eq!(service.census(true).await.missing.get(&10), Some(&1));
    assert_eq!(service.drain().await, Vec::<String>::new());
    world.check_all_in_place(&[]).await;
}

#[tokio::test]
async fn repair_that_is_killed_in_the_middle_goes_on_from_there() {
    let world = World::new(48);
    for seed in 0..12 {
        world.upload(seed, 50_000, 30).await;
    }
    world.lose(3);
    world.lose(6);
    world.set_map(2, &[3, 6]);
    let mut killed_at = 0;
    for _ in 0..3 {
        let service = world.service();
        let running = service.run();
        let enough = killed_at + 2;
        eventually("some shards are moved", || world.gateway.moved() >= enough).await;
        running.abort();
        let _ = running.await;
        killed_at = world.gateway.moved();
    }
    let service = world.service();
    let running = service.run();
    eventually("all shards are in place", || world.is_whole(&[])).await;
    running.abort();
    world.check_all_in_place(&[]).await;
    assert_eq!(world.gateway.doubled(), 0);
}

/// Each begins with its own groups; what the other leaves undone is taken over when its time has come.
#[tokio::test]
async fn two_services_share_the_work_and_one_takes_over_from_the_other() {
    let world = World::with_services(48, 2);
    for seed in 0..12 {
        world.upload(seed, 2_000, 30).await;
    }
    world.lose(1);
    world.lose(10);
    world.set_map(2, &[1, 10]);
    let [one, other] = [world.service_number(0), world.service_number(1)];
    for service in [&one, &other] {
        service.sync().await;
        service.census(false).await;
    }
    let (of_one, of_other) = (one.due(0), other.due(0));
    assert!(!of_one.is_empty() && !of_other.is_empty(), "{of_one:?} {of_other:?}");
    assert!(of_one.iter().all(|stripe| !of_other.contains(stripe)), "both begin with the same stripe");
    assert_eq!(other.drain().await, Vec::<String>::new());
    let moved = other.shards();
    // The first one is gone; an hour later its part is done, and what was done is not done again.
    assert_eq!(other.drain_at(world::HOUR_MS).await, Vec::<String>::new());
    assert!(other.shards() > moved);
    world.check_all_in_place(&[]).await;
    one.sync().await;
    assert_eq!(one.drain_at(world::HOUR_MS).await, Vec::<String>::new());
    assert_eq!((one.shards(), world.gateway.doubled()), (0, 0));
}

/// Whoever ordered it, and whatever was wrong: the ledger names them.
#[tokio::test]
async fn a_stripe_that_was_lost_to_deletions_is_taken_back_from_the_trash() {
    let world = World::new(48);
    let [lost, deleted] = [world.upload(1, 5_000, 30).await, world.upload(2, 5_000, 30).await];
    let service = world.service();
    service.sync().await;
    for stripe in [&lost, &deleted] {
        world.forget(stripe, 4..30).await;
    }
    // The one that its gateway has deleted meanwhile stays so.
    world.gateway.delete(&world.shards_of(&deleted));
    let found = service.census(true).await;
    assert_eq!((found.unrecoverable, found.whole()), (2, 0));
    assert_eq!(service.drain().await, Vec::<String>::new());
    assert_eq!(service.restored(), 26);
    assert_eq!((world.in_place(&lost).len(), world.in_place(&deleted).len()), (30, 4));
    world.check_all_in_place(&[deleted]).await;
    assert_eq!(service.read_and_signed().0, 0, "nothing is moved");
}

#[tokio::test]
async fn nothing_is_taken_back_while_the_ledger_cannot_be_read_or_where_it_was_not_deleted() {
    let world = World::new(48);
    let stripe = world.upload(1, 5_000, 30).await;
    let service = world.service();
    service.sync().await;
    world.forget(&stripe, 4..30).await;
    world.disconnect_gateway();
    service.census(true).await;
    let failed = service.drain().await;
    assert!(failed.len() == 1 && failed[0].contains("only 4 of the 10"), "{failed:?}");
    assert_eq!((service.restored(), world.in_place(&stripe).len()), (0, 4));
    // It is tried again when miners are asked again.
    assert_eq!(service.drain_at(world::HOUR_MS).await, Vec::<String>::new());
    world.connect_gateway();
    for index in 0..22 {
        world.wipe(world.home(&stripe, index));
    }
    service.census(true).await;
    let failed = service.drain().await;
    assert!(failed.len() == 1 && failed[0].contains("only 8 of the 10"), "{failed:?}");
    assert_eq!(service.restored(), 8);
}

#[tokio::test]
async fn flipped_bytes_are_not_copied() {
    let world = World::new(48);
    for seed in 0..3 {
        world.upload(seed, 20_000, 30).await;
    }
    let service = world.service();
    service.sync().await;
    // The miner leaves the map, and what it still has is damaged.
    world.set_manner(9, Manner::Flipping);
    world.set_map(2, &[9]);
    assert!(service.census(false).await.degraded() > 0);
    assert_eq!(service.drain().await, Vec::<String>::new());
    assert!(service.corrupt() > 0, "nobody asked the miner");
    world.check_all_in_place(&[]).await;
}

#[tokio::test]
async fn of_a_stripe_with_too_few_shards_nothing_is_written_and_the_others_go_on() {
    let world = World::new(48);
    let lost = world.upload(1, 3_000, 9).await;
    world.upload(2, 3_000, 30).await;
    let service = world.service();
    service.sync().await;
    let other = world.stripes()[1];
    world.forget(&other, 0..20).await;
    let found = service.census(true).await;
    assert_eq!((found.unrecoverable, found.missing.get(&20)), (1, Some(&1)));
    let failed = "only 9 of the 10 shards that are needed are left: what is lost cannot be computed";
    assert_eq!(service.drain().await, [failed]);
    assert_eq!(service.shards(), 20);
    assert_eq!(world.in_place(&lost).len(), 9);
    assert_eq!(service.work(lost).await.unwrap_err(), failed);
    assert_eq!(service.shards(), 20);
    world.check_all_in_place(&[lost]).await;
}

#[tokio::test]
async fn what_was_deleted_meanwhile_is_taken_back() {
    let world = World::new(48);
    let stripe = world.upload(1, 3_000, 30).await;
    let service = world.service();
    service.sync().await;
    world.lose(world.home(&stripe, 0));
    world.set_map(2, &[world.home(&stripe, 0)]);
    service.census(false).await;
    let before = world.shard_count();
    world.gateway.unwant(stripe);
    assert_eq!(service.drain().await, Vec::<String>::new());
    assert!(service.shards() > 0);
    assert_eq!(world.shard_count(), before);

    // The same where the miner has signed for the shard before: its receipt says nothing new, the deletion does.
    let home = world.home(&stripe, 2);
    world.wipe(home);
    assert_eq!(world.shard_count(), before - 1);
    assert!(service.census(true).await.degraded() > 0);
    let stored = service.shards();
    assert_eq!(service.drain().await, Vec::<String>::new());
    assert!(service.shards() > stored);
    assert_eq!(world.shard_count(), before - 1);
}

#[tokio::test]
async fn receipts_wait_for_a_gateway_that_is_away_and_nothing_is_stored_again_for_it() {
    let world = World::new(48);
    let stripe = world.upload(1, 3_000, 30).await;
    let service = world.service();
    service.sync().await;
    let lost = world.home(&stripe, 4);
    world.lose(lost);
    world.set_map(2, &[lost]);
    service.census(false).await;
    world.disconnect_gateway();
    let failed = service.drain().await;
    assert!(failed.len() == 1 && failed[0].contains("does not take the receipts"), "{failed:?}");
    let stored = service.shards();
    world.connect_gateway();
    service.work(stripe).await.unwrap();
    assert_eq!(service.shards(), stored);
    world.check_all_in_place(&[]).await;

    // One that forgot the receipts has the shards signed for again.
    drop(service);
    let fresh = world.service();
    world.gateway.forget_behind(30);
    fresh.sync().await;
    fresh.census(false).await;
    assert_eq!(fresh.drain().await, Vec::<String>::new());
    world.check_all_in_place(&[]).await;
}

#[tokio::test]
async fn a_miner_that_comes_back_is_asked_and_keeps_what_it_has() {
    let world = World::new(48);
    let stripe = world.upload(1, 3_000, 30).await;
    let service = world.service();
    service.sync().await;
    let away = world.home(&stripe, 4);
    world.lose(away);
    let found = service.census(true).await;
    assert_eq!(found.missing.get(&1), Some(&1));
    assert_eq!(service.drain().await, Vec::<String>::new(), "a silent miner of the map is waited for");
    assert_eq!(service.shards(), 0);
    world.come_back(away);
    // Who was silent is left alone for some seconds.
    let is_whole = async || service.census(true).await.whole() == 1;
    world::within("the miner is asked again", is_whole).await;
    assert_eq!((service.drain().await, service.shards()), (vec![], 0));
    world.check_all_in_place(&[]).await;
}

/// New copies first, then the release; what the ledgers say falls to nothing, and every stripe has its 30 shards all the while.
#[tokio::test]
async fn a_miner_is_emptied_and_told_how_far_it_is() {
    let world = World::new(48);
    for seed in 0..6 {
        world.upload(seed, 4_000, 30).await;
    }
    let service = world.service();
    let custody = service.custody(&world, 5);
    let of_5 =
        || custody.page(None, 100).unwrap().into_iter().find(|it| it.node_id == world::node(5)).unwrap();
    assert!(custody.page(None, 100).is_err(), "no ledger was read");
    service.sync().await;
    let look = |now_ms: u64| {
        custody.look(now_ms);
        custody.count(now_ms).unwrap();
        of_5()
    };
    let begun = look(10_000);
    let held = begun.held_bytes;
    assert!(begun.in_map && held > 0 && held.is_multiple_of(4_000), "{begun:?}");
    assert_eq!((begun.waiting_bytes, begun.surplus_bytes), (0, 0));
    assert_eq!(begun.drain.unwrap().begun_bytes, held);

    world.set_map(2, &[5]);
    let left = look(20_000);
    assert_eq!(
        (left.in_map, left.held_bytes, left.waiting_bytes, left.surplus_bytes),
        (false, held, held, 0)
    );
    assert_eq!(world.gateway.release(&world::node(5)), 0, "nobody else has them yet");
    service.census(false).await;
    assert_eq!(service.drain().await, Vec::<String>::new());
    service.sync().await;
    let copied = look(30_000);
    assert_eq!((copied.held_bytes, copied.waiting_bytes, copied.surplus_bytes), (held, 0, held));

    assert_eq!(world.gateway.release(&world::node(5)) as u64 * 4_000, held);
    service.sync().await;
    let done = look(40_000);
    assert_eq!((done.held_bytes, done.waiting_bytes, done.surplus_bytes), (0, 0, 0));
    let progress = done.drain.unwrap();
    assert_eq!((progress.since, progress.begun_bytes), (10_000, held));
    assert_eq!(progress.bytes_per_second, held * 1_000 / 30_000);
    assert_eq!(service.census(true).await.whole(), 6);
    world.check_all_in_place(&[]).await;
    let next = custody.page(Some(world::node(5)), 100).unwrap();
    assert!(next.iter().all(|miner| miner.node_id > world::node(5)));
    assert_eq!(custody.page(None, 3).unwrap().len(), 3);
}

/// The map changes back before anybody was released: what the miner of before has is in place at once.
#[tokio::test]
async fn a_map_that_changes_back_moves_nothing() {
    let world = World::new(48);
    for seed in 0..4 {
        world.upload(seed, 4_000, 30).await;
    }
    let service = world.service();
    service.sync().await;
    world.set_map(2, &[5]);
    service.census(false).await;
    assert_eq!(service.drain().await, Vec::<String>::new());
    service.sync().await;
    let moved = service.shards();
    world.set_map(3, &[]);
    assert_eq!(service.census(true).await.whole(), 4);
    assert_eq!((service.drain().await, service.shards()), (vec![], moved));
    world.check_all_in_place(&[]).await;
    // And after the release what it still has is signed for anew, not copied from elsewhere.
    world.set_map(4, &[5]);
    assert!(world.gateway.release(&world::node(5)) > 0);
    service.sync().await;
    assert_eq!(service.census(true).await.whole(), 4);
    world.set_map(5, &[]);
    assert!(service.census(true).await.degraded() > 0, "it was released");
    assert_eq!(service.drain().await, Vec::<String>::new());
    world.check_all_in_place(&[]).await;
}

#[tokio::test]
async fn a_census_says_how_many_families_can_be_lost() {
    let world = World::new(48);
    for seed in 0..3 {
        world.upload(seed, 4_000, 30).await;
    }
    let service = world.service();
    service.sync().await;
    let kinds = |tally: &crate::repair::Tally| {
        let told = tally.spread.tell(1, 1, 0, tally.bad);
        let of =
            |alike: &arion_protocol::StripesAlike| (alike.fewest, alike.families, alike.missing, alike.count);
        (told.shards, told.present, told.bytes, told.stripes.iter().map(of).collect::<Vec<_>>())
    };
    // Two of each of fifteen families: with ten of them gone ten shards are left.
    assert_eq!(kinds(&service.census(true).await), (90, 90, 360_000, vec![(11, 15, 0, 3)]));
    let stripe = world.stripes()[0];
    world.forget(&stripe, 0..21).await;
    let (shards, present, _, stripes) = kinds(&service.census(true).await);
    assert_eq!((shards, present), (90, 69));
    assert_eq!((stripes[0].0, stripes[0].2, stripes[0].3), (0, 21, 1));
    assert_eq!(stripes[1], (11, 15, 0, 2));
}

#[tokio::test]
async fn shards_that_no_ledger_names_are_found_when_all_ledgers_are_known() {
    let world = World::new(48);
    world.upload(1, 4_000, 30).await;
    let lines = world.gateway.len();
    world.upload(2, 3_000, 30).await;
    // The gateway crashed before the second one was in its ledger.
    world.gateway.forget_behind(lines);
    let service = world.service();
    assert_eq!(service.orphans().await, None, "no ledger was read");
    service.sync().await;
    let found = service.orphans().await.unwrap();
    assert_eq!((found.shards, found.bytes, found.silent), (30, 90_000, 0));
    world.lose(world.home(&world.stripes()[1], 0));
    let found = service.orphans().await.unwrap();
    assert_eq!((found.shards, found.bytes, found.silent), (29, 87_000, 1));
}
