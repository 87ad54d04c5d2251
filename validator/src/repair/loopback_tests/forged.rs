//! Gateways that say what is not so.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use arion_net::Service;
use arion_protocol::{ErrorCode, LedgerEntry, LedgerRecord, Request, Response, limits::LEDGER_ENTRIES_MAX};
use arion_types::{NodeId, ShardHash, StripeId};
use async_trait::async_trait;
use bytes::Bytes;
use ed25519_dalek::SigningKey;

use super::world::{World, eventually};

/// The simulator's `lying-gateway` 5 and 6: the service looked into the stripe at every census, for ever, and sent its miners what they had.
#[tokio::test]
async fn what_was_forged_makes_work_once_and_nothing_is_sent_to_who_has_it() {
    let world = World::new(48);
    world.upload(1, 4_000, 30).await;
    let service = world.service();
    world.gateway.forge(true);
    service.sync().await;
    world.gateway.forge(false);
    assert_eq!((service.refused(), service.census(true).await.missing.get(&10)), (10, Some(&1)));
    assert_eq!(service.drain().await, Vec::<String>::new());
    assert_eq!((service.read_and_signed(), service.shards()), ((40_000, 10), 0));
    // It never asks for these lines again, and the gateway has no new ones.
    for _ in 0..3 {
        service.sync().await;
        assert_eq!(service.census(true).await.whole(), 1);
        assert_eq!(service.drain().await, Vec::<String>::new());
    }
    assert_eq!((service.read_and_signed(), service.shards(), world.gateway.len()), ((40_000, 10), 0, 30));
    // Over a restart the gateway is told once more, which takes no shard.
    drop(service);
    let again = world.service();
    again.sync().await;
    for _ in 0..2 {
        assert_eq!(again.census(true).await.whole(), 1);
        assert_eq!(again.drain().await, Vec::<String>::new());
    }
    assert_eq!((again.read_and_signed(), again.shards()), ((0, 0), 0));
    world.check_all_in_place(&[]).await;
    let shards = world.shards_of(&world.stripes()[0]);
    world.gateway.delete(&shards);
    again.sync().await;
    assert_eq!(again.census(true).await, Default::default(), "what was told goes with the stripe");
}

/// Each shard is there and signed for, but they do not make the stripe that the lines are of.
#[tokio::test]
async fn a_stripe_that_does_not_exist_is_left_alone_once_that_is_known() {
    let world = World::new(48);
    let forged = world.upload_as(Some(StripeId([1; 32])), 1, 4_000, 20).await;
    let honest = world.upload(2, 4_000, 20).await;
    let service = world.service();
    service.sync().await;
    assert_eq!(service.census(true).await.missing.get(&10), Some(&2));
    let failed = service.drain().await;
    assert_eq!(failed, ["what was computed is not what the receipts and the id of the stripe say"]);
    assert_eq!((service.read_and_signed(), service.shards()), ((80_000, 0), 10));
    service.sync().await;
    for _ in 0..3 {
        let found = service.census(true).await;
        assert_eq!((found.bad, found.whole(), found.degraded()), (1, 1, 0));
        assert_eq!(service.drain().await, Vec::<String>::new());
    }
    assert_eq!((service.read_and_signed(), service.shards()), ((80_000, 0), 10));
    assert!(service.left_alone()[0].contains(&forged.to_string()), "{:?}", service.left_alone());
    world.check_all_in_place(&[forged]).await;
    assert_ne!(forged, honest);
    // A new map is no reason to believe it; its deletion ends it.
    world.set_map(2, &[40]);
    service.census(false).await;
    assert!(service.drain().await.is_empty() && service.read_and_signed().0 < 120_000);
    world.gateway.delete(&world.shards_of(&forged));
    service.sync().await;
    assert_eq!(service.census(true).await.bad, 0);
}

/// Its ledger wants a stripe, and whatever is brought for it, it says that it does not.
#[tokio::test]
async fn what_a_gateway_refuses_and_does_not_delete_is_not_made_again_and_again() {
    let world = World::new(48);
    let stripe = world.upload(1, 4_000, 20).await;
    world.gateway.unwant(stripe);
    let service = world.service();
    service.sync().await;
    let before = world.shard_count();
    for stored in [10, 20, 20, 20] {
        service.census(true).await;
        assert_eq!((service.drain().await, service.shards()), (vec![], stored));
        assert_eq!(world.shard_count(), before);
    }
    assert_eq!(service.left_alone().len(), 1);
}

/// Its ledger has a stripe that it does not know, or knows as another one.
#[tokio::test]
async fn what_a_gateway_refuses_to_enter_is_not_brought_again_and_again() {
    let world = World::new(48);
    let stripe = world.upload(1, 4_000, 20).await;
    world.gateway.refuse(Some(ErrorCode::Malformed));
    let service = world.service();
    service.sync().await;
    for minute in 1..5 {
        service.census(true).await;
        service.drain_at(minute * 60_000).await;
    }
    assert_eq!((service.shards(), service.left_alone().len()), (10, 1));
    assert!(service.read_and_signed().0 <= 120_000);
    // One that does not know the service yet is asked again.
    let other = world.upload(2, 4_000, 20).await;
    world.gateway.refuse(Some(ErrorCode::Unauthorized));
    service.sync().await;
    service.census(true).await;
    assert_eq!((service.drain().await.len(), service.left_alone().len()), (1, 1));
    world.gateway.refuse(None);
    service.work(other).await.unwrap();
    world.check_all_in_place(&[stripe]).await;
}

/// A gateway enters whom it is told of, and has who was released delete the shard: audits would find that it is gone.
#[tokio::test]
async fn what_a_miner_has_not_any_more_is_not_told_again() {
    let world = World::new(48);
    let stripe = world.upload(1, 4_000, 30).await;
    let service = world.service();
    world.gateway.forge(true);
    service.sync().await;
    world.gateway.forge(false);
    service.census(true).await;
    assert_eq!((service.drain().await, world.gateway.moved()), (vec![], 10));
    drop(service);
    world.forget(&stripe, 2..3).await;
    let again = world.service();
    again.sync().await;
    assert_eq!(again.census(true).await.missing.get(&1), Some(&1));
    assert_eq!((again.drain().await, again.shards()), (vec![], 1));
    assert_eq!(world.gateway.moved(), 10 + 9 + 1, "the nine that are there, and the one that is made again");
    assert_eq!(again.census(true).await.whole(), 1);
    world.check_all_in_place(&[]).await;
}

/// One more gateway, whose ledger is that.
struct Another {
    lines: Vec<LedgerRecord>,
    /// Or else the first page, and what is asked behind it never.
    gives_all: AtomicBool,
    /// What it says of every stripe that it is told of.
    wants: bool,
}

impl Another {
    fn with(lines: Vec<LedgerRecord>) -> Self {
        Self { lines, gives_all: AtomicBool::new(true), wants: true }
    }
}

#[async_trait]
impl Service for Another {
    async fn serve(&self, _: NodeId, request: Request, _: Bytes) -> (Response, Bytes) {
        let (after, limit) = match request {
            Request::LedgerFrom { after, limit, .. } => (after, limit),
            Request::Relocated { .. } => return (Response::Relocated { wanted: self.wants }, Bytes::new()),
            _ => return (Response::error(ErrorCode::Unsupported, ""), Bytes::new()),
        };
        if after > 0 && !self.gives_all.load(SeqCst) {
            return (Response::error(ErrorCode::Unavailable, ""), Bytes::new());
        }
        let lines = (1..).zip(&self.lines).skip(after as usize).take(usize::from(limit));
        let lines = lines.map(|(sequence, record)| LedgerEntry { sequence, record: *record });
        (Response::LedgerLines(lines.collect()), Bytes::new())
    }
}

/// What is half known of one gateway looks damaged and is left alone; the stripes of the others are repaired.
#[tokio::test]
async fn a_gateway_that_gives_half_of_its_ledger_keeps_nobody_but_itself_waiting() {
    let world = World::new(48);
    let (theirs, ours) = (world.upload(1, 4_000, 20).await, world.upload(2, 4_000, 20).await);
    let mut of_another = world.gateway.take_lines(20);
    let behind = of_another.split_off(10);
    of_another.resize(usize::from(LEDGER_ENTRIES_MAX), LedgerRecord::Deleted { shard: ShardHash([9; 32]) });
    of_another.extend(behind);
    let another = Arc::new(Another { gives_all: AtomicBool::new(false), ..Another::with(of_another) });
    let gateway = world.add_gateway(&SigningKey::from_bytes(&[250; 32]), another.clone());
    let service = world.service();
    assert_eq!(service.sync_all().await, [gateway]);
    let found = service.census(true).await;
    assert_eq!((found.whole(), found.degraded(), found.missing.get(&10)), (0, 1, Some(&1)), "{found:?}");
    assert_eq!((service.drain().await, service.shards()), (vec![], 10));
    world.check_all_in_place(&[theirs]).await;
    // By itself as well; and the other's as soon as all of its ledger is known.
    let more = world.upload(3, 4_000, 20).await;
    assert_eq!(service.sync_all().await, [gateway]);
    let running = service.run();
    eventually("what is not of that gateway is whole", || world.is_whole(&[theirs])).await;
    assert_eq!(world.in_place(&theirs).len(), 20);
    another.gives_all.store(true, SeqCst);
    eventually("what is of that gateway is in place", || world.in_place(&theirs).len() == 30).await;
    assert!(ours != more);
    running.abort();
}

/// What the ledger of one says of a stripe of the other makes no difference to it, whichever is read first.
#[tokio::test]
async fn a_gateway_that_has_made_up_lines_of_a_stripe_of_another_harms_only_itself() {
    for (liar_first, forged) in [(true, 20), (false, 20), (true, 30), (false, 30)] {
        let world = World::new(48);
        let stripe = world.upload(1, 4_000, 0).await;
        world.upload_as(Some(stripe), 2, 4_000, forged).await;
        let mut other = world.gateway.take_lines(forged);
        world.upload(1, 4_000, 20).await;
        if liar_first {
            other = world.gateway.set_lines(other);
        }
        world.add_gateway(&SigningKey::from_bytes(&[250; 32]), Arc::new(Another::with(other)));
        let service = world.service();
        assert_eq!(service.sync_all().await, []);
        service.census(true).await;
        let failed = service.drain().await;
        assert!(failed.len() <= 1 && service.shards() == 10, "{failed:?}");
        assert_eq!(world.in_place(&stripe).len(), 30);
        let found = service.census(true).await;
        assert_eq!((found.whole(), found.degraded(), found.bad), (1, 0, 1), "{found:?}");
        assert!(service.drain().await.is_empty());
    }
}

/// One that copied the lines of another, and says of everything that it does not want it.
#[tokio::test]
async fn what_one_gateway_does_not_want_and_another_does_stays() {
    let world = World::new(48);
    let stripe = world.upload(1, 4_000, 20).await;
    let lines = world.gateway.take_lines(20);
    world.gateway.set_lines(lines.clone());
    world.add_gateway(
        &SigningKey::from_bytes(&[250; 32]),
        Arc::new(Another { wants: false, ..Another::with(lines) }),
    );
    let service = world.service();
    assert_eq!(service.sync_all().await, []);
    let found = service.census(true).await;
    assert_eq!((found.missing.get(&10), found.degraded()), (Some(&1), 1), "it is one stripe");
    assert_eq!((service.drain().await, service.shards()), (vec![], 10));
    assert_eq!((world.in_place(&stripe).len(), world.gateway.moved()), (30, 10));
    service.sync().await;
    let found = service.census(true).await;
    assert_eq!((found.whole(), found.degraded(), found.bad), (1, 0, 0));
}
