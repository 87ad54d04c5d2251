//! Repair has brought shards elsewhere: what a validator service says of it is checked, entered, and remembered for the deletion.

use std::sync::{Arc, OnceLock};

use arion_chain::{ChainView, Registry, Snapshot, ViewSource};
use arion_daemon::{Shutdown, now_ms};
use arion_gateway::{
    grid::{Grid, GridOptions},
    ledger_service::LedgerService,
    manifest::StripeRecord,
    placement::Placement,
};
use arion_net::Service;
use arion_protocol::{Action, Command, ErrorCode, LedgerRecord, Request, Response, ShardPlacement};
use arion_types::{MinerRecord, NodeId, SignedReceipt, StripeId, signing::node_id};
use bytes::Bytes;
use ed25519_dalek::SigningKey;

use crate::network::{GENESIS, MINERS, Mood, Network, eventually, let_go, read, sample, write};

fn validator() -> NodeId {
    node_id(&SigningKey::from_bytes(&[202; 32]))
}

/// Time for which a map is in force before copies elsewhere are given up.
const SETTLED: std::time::Duration = std::time::Duration::from_millis(300);

struct Told {
    network: Network,
    grid: Arc<Grid>,
    service: LedgerService,
    _source: ViewSource,
    _directory: tempfile::TempDir,
}

impl Told {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let network = Network::new();
        let options = GridOptions { surplus_after: SETTLED, ..Network::options() };
        let grid = network.grid_with(directory.path(), options);
        let registry = Registry { validators: [validator()].into(), ..Registry::default() };
        let (view, source) =
            ChainView::manual(GENESIS, Snapshot { registry: Arc::new(registry), ..Snapshot::default() });
        let chain = Arc::new(OnceLock::from(view));
        let service = LedgerService::new(grid.meta.clone(), grid.maps.clone(), chain);
        Self { network, grid, service, _source: source, _directory: directory }
    }

    /// A map in which every miner has the number of another one.
    fn next_map(&self, epoch: u64) -> Placement {
        let numbered = |n: usize| MinerRecord {
            uid: n as u32,
            node_id: self.network.miners[(n + 7) % MINERS].node_id().0,
            family: [(n / 2) as u8; 32],
            weight: 0x1_0000,
            endpoint: self.network.miners[(n + 7) % MINERS].endpoint.clone().into_bytes().try_into().unwrap(),
        };
        Placement::new(epoch, &self.network.params, (0..MINERS).map(numbered).collect()).unwrap()
    }

    /// Has the miner that a map names store a shard, as repair does.
    async fn bring(&self, map: &Placement, record: &StripeRecord, index: u8, bytes: Bytes) -> SignedReceipt {
        let (id, at) = (record.id(), usize::from(index));
        let miner = arion_gateway::placement::address(map.place(&id)[at].unwrap());
        let size = record.shard_len;
        let placement = ShardPlacement { stripe: id, pg: map.group(&id), index, epoch: map.epoch(), size };
        let command = Command {
            action: Action::Store(placement),
            shard: record.hashes[at],
            target: miner.node_id,
            nonce: [index; 16],
            expires_at: now_ms() + 60_000,
        };
        let order = Request::Store(command.sign(&GENESIS, &self.network.gateway));
        match self.grid.transport.call(&miner, order, bytes, crate::network::SLOW).await {
            Ok((Response::Stored(signed), _)) => signed,
            other => panic!("{other:?}"),
        }
    }

    async fn fetch(&self, map: &Placement, record: &StripeRecord, index: u8) -> Bytes {
        let at = usize::from(index);
        let miner = arion_gateway::placement::address(map.place(&record.id())[at].unwrap());
        let request = Request::Fetch { shard: record.hashes[at] };
        self.grid.transport.call(&miner, request, Bytes::new(), crate::network::SLOW).await.unwrap().1
    }

    async fn tell(&self, peer: NodeId, receipts: Vec<SignedReceipt>) -> Result<bool, ErrorCode> {
        match self.service.serve(peer, Request::Relocated { receipts }, Bytes::new()).await.0 {
            Response::Relocated { wanted } => Ok(wanted),
            Response::Error { code, .. } => Err(code),
            other => panic!("{other:?}"),
        }
    }

    /// Brings shards of a stripe from where `from` names them to where `to` does, and tells.
    async fn move_all(
        &self,
        from: &Placement,
        to: &Placement,
        record: &StripeRecord,
        positions: std::ops::Range<u8>,
    ) {
        let mut moved = Vec::new();
        for index in positions {
            let bytes = self.fetch(from, record, index).await;
            moved.push(self.bring(to, record, index, bytes).await);
        }
        assert_eq!(self.tell(validator(), moved).await, Ok(true));
    }

    fn named(&self, map: &Placement, record: &StripeRecord, index: usize) -> &crate::network::Miner {
        let node = NodeId(map.place(&record.id())[index].unwrap().node_id);
        self.network.miners.iter().find(|miner| miner.node_id() == node).unwrap()
    }

    /// By position: whether exactly the miner that a map names has the shard.
    fn is_only_at_home(&self, map: &Placement, record: &StripeRecord) -> bool {
        let places = map.place(&record.id());
        record.hashes.iter().zip(places).all(|(shard, named)| {
            let named = NodeId(named.unwrap().node_id);
            self.network.miners.iter().all(|miner| miner.holds(shard) == (miner.node_id() == named))
        })
    }

    async fn lines(&self) -> u64 {
        self.grid.meta.ledger_len().await.unwrap()
    }
}

#[tokio::test]
async fn receipts_are_checked_entered_once_and_told_of_the_deletion() {
    let told = Told::new();
    let part = write(&told.grid, &sample(50_000)).await.unwrap();
    let record = part.stripes[0].clone();
    let first = told.network.map(1);
    let next = told.next_map(2);
    let mut moved = Vec::new();
    for index in 0..3 {
        let bytes = told.fetch(&first, &record, index).await;
        moved.push(told.bring(&next, &record, index, bytes).await);
    }
    let stop = Shutdown::new();
    let all_there = async || told.grid.meta.missing_among(record.hashes.clone()).await.unwrap().is_empty();
    let work = tokio::spawn(told.grid.clone().upkeep(stop.clone()));
    eventually("the stripe is whole", all_there).await;
    let before = told.lines().await;

    assert_eq!(
        told.tell(validator(), moved.clone()).await,
        Err(ErrorCode::Unavailable),
        "map 2 is not known"
    );
    told.grid.maps.set_current(next);
    let change = |change: &dyn Fn(&mut SignedReceipt)| {
        let mut receipts = moved.clone();
        change(&mut receipts[1]);
        receipts
    };
    let elsewhere =
        told.network.miners.iter().find(|miner| miner.node_id() != moved[1].receipt.node_id).unwrap();
    let by_another = change(&|signed| {
        let receipt = arion_types::Receipt { node_id: elsewhere.node_id(), ..signed.receipt };
        *signed = receipt.sign(&GENESIS, &elsewhere.key);
    });
    let refused = [
        (NodeId([9; 32]), moved.clone(), ErrorCode::Unauthorized),
        (validator(), Vec::new(), ErrorCode::Malformed),
        (validator(), change(&|signed| signed.receipt.stripe = StripeId([1; 32])), ErrorCode::Malformed),
        (validator(), change(&|signed| signed.receipt.shard = record.hashes[9]), ErrorCode::Malformed),
        (validator(), change(&|signed| signed.receipt.size += 1), ErrorCode::Malformed),
        (validator(), change(&|signed| signed.receipt.index = 200), ErrorCode::Malformed),
        (validator(), change(&|signed| signed.receipt.pg += 1), ErrorCode::Misplaced),
        (validator(), change(&|signed| signed.receipt.epoch = 1), ErrorCode::Misplaced),
        (validator(), by_another, ErrorCode::Misplaced),
        (validator(), change(&|signed| signed.receipt.stored_at += 1), ErrorCode::BadSignature),
    ];
    for (n, (peer, receipts, code)) in refused.into_iter().enumerate() {
        assert_eq!(told.tell(peer, receipts).await, Err(code), "{n}");
    }
    let mut foreign = moved.clone();
    foreign.iter_mut().for_each(|signed| signed.receipt.stripe = StripeId([1; 32]));
    assert_eq!(told.tell(validator(), foreign).await, Ok(false));
    assert_eq!(told.lines().await, before);

    for _ in 0..2 {
        assert_eq!(told.tell(validator(), moved.clone()).await, Ok(true));
        assert_eq!(told.lines().await, before + 3);
    }
    // By a later map they are elsewhere again; the deletion reaches those of map 2 all the same.
    told.grid.maps.set_current(told.network.map(3));
    let_go(&told.grid, &part).await;
    let are_gone = async || {
        (0..3).all(|index| {
            let shard = record.hashes[index];
            told.network.miners.iter().all(|miner| !miner.holds(&shard))
        })
    };
    eventually("the shards are deleted wherever they were brought", are_gone).await;
    assert_eq!(told.tell(validator(), moved).await, Ok(false));
    stop.trigger();
    work.await.unwrap();
}

#[tokio::test]
async fn what_a_new_map_does_not_name_is_released_and_deleted_when_all_of_it_is_elsewhere() {
    let told = Told::new();
    let bytes = sample(50_000);
    let part = write(&told.grid, &bytes).await.unwrap();
    let record = part.stripes[0].clone();
    let other = write(&told.grid, &sample(300_000)).await.unwrap().stripes[0].clone();
    let third = write(&told.grid, &sample(200_000)).await.unwrap().stripes[0].clone();
    let (first, next) = (told.network.map(1), told.next_map(2));
    let stop = Shutdown::new();
    let work = tokio::spawn(told.grid.clone().upkeep(stop.clone()));
    let hashes = [record.hashes.clone(), other.hashes.clone(), third.hashes.clone()].concat();
    let all_there = async || told.grid.meta.missing_among(hashes.clone()).await.unwrap().is_empty();
    eventually("the stripes are whole", all_there).await;
    told.grid.maps.set_current(told.next_map(2));

    // Of one stripe a position is not told of; of another a miner does not keep what it signed for; a third one is moved, and a miner
    // of before has no time.
    told.move_all(&first, &next, &record, 0..29).await;
    told.move_all(&first, &next, &other, 0..30).await;
    told.named(&next, &other, 4).lose(&other.hashes[4]);
    let busy = told.named(&first, &third, 9);
    busy.set(Mood::Keeping);
    told.move_all(&first, &next, &third, 0..30).await;
    let before = told.lines().await;
    let but_one = async || {
        told.grid.metrics.shards_released.get() == 30 && told.grid.meta.releases_len().await.unwrap() == 1
    };
    eventually("all but one miner have deleted their copy of the third", but_one).await;
    assert!(busy.holds(&third.hashes[9]));
    busy.set(Mood::Honest);
    eventually("the last one deletes its copy too", async || told.is_only_at_home(&next, &third)).await;
    for stripe in [&record, &other] {
        let kept = (0..30).all(|index| told.named(&first, stripe, index).holds(&stripe.hashes[index]));
        assert!(kept, "a copy went before all of the stripe was elsewhere");
    }
    assert_eq!(told.lines().await, before + 30);

    told.move_all(&first, &next, &record, 29..30).await;
    let shard = told.fetch(&first, &other, 4).await;
    told.bring(&next, &other, 4, shard).await;
    let both = async || told.is_only_at_home(&next, &record) && told.is_only_at_home(&next, &other);
    eventually("the copies by the first map are gone", both).await;
    assert_eq!(told.grid.metrics.shards_released.get(), 90);
    assert_eq!(read(&told.grid, &part, 0..bytes.len() as u64).await.unwrap(), bytes);
    // Anybody who reads the ledger finds nothing wrong with it.
    let lines = told.grid.meta.ledger_page(0, 512).await.unwrap();
    let mut holders = std::collections::BTreeSet::new();
    for entry in lines {
        match entry.record {
            LedgerRecord::Stored(signed) => {
                assert!(holders.insert((signed.receipt.shard, signed.receipt.node_id)), "{entry:?}");
            }
            LedgerRecord::Released { shard, miner } => {
                assert!(holders.remove(&(shard, miner)), "{entry:?}");
                assert!(holders.iter().any(|(held, _)| *held == shard), "nobody is left");
            }
            LedgerRecord::Deleted { .. } | LedgerRecord::Served(_) | LedgerRecord::Compacted(_) => {}
        }
    }
    stop.trigger();
    work.await.unwrap();
}

/// A stripe is read from where it is by the current map, also when the map that it was written by names nobody who has it.
#[tokio::test]
async fn what_has_moved_is_read_from_its_new_place() {
    let told = Told::new();
    let bytes = sample(90_000);
    let part = write(&told.grid, &bytes).await.unwrap();
    let record = part.stripes[0].clone();
    let (first, next) = (told.network.map(1), told.next_map(2));
    let stop = Shutdown::new();
    let work = tokio::spawn(told.grid.clone().upkeep(stop.clone()));
    let all_there = async || told.grid.meta.missing_among(record.hashes.clone()).await.unwrap().is_empty();
    eventually("the stripe is whole", all_there).await;
    told.grid.maps.set_current(told.next_map(2));
    // Not moved yet: the places of before answer.
    assert_eq!(read(&told.grid, &part, 0..bytes.len() as u64).await.unwrap(), bytes);
    told.move_all(&first, &next, &record, 0..30).await;
    let at_home = async || told.is_only_at_home(&next, &record);
    eventually("the copies of before are gone", at_home).await;
    let fetched = || -> usize {
        let of = |miner: &std::sync::Arc<crate::network::Miner>| {
            miner.fetches.load(std::sync::atomic::Ordering::SeqCst)
        };
        told.network.miners.iter().map(of).sum()
    };
    let before = fetched();
    assert_eq!(read(&told.grid, &part, 0..bytes.len() as u64).await.unwrap(), bytes);
    assert!(fetched() - before <= 10, "{} shards were asked for", fetched() - before);
    stop.trigger();
    work.await.unwrap();
}

/// A deletion that was tried as often as one waits for a miner that left; that miner.
async fn delete_at_who_left(told: &Told) -> NodeId {
    let part = write(&told.grid, &sample(300_000)).await.unwrap();
    let record = part.stripes[0].clone();
    let gone = told.named(&told.network.map(1), &record, 0).node_id();
    // Another one is in its place, and has nothing of it.
    let newcomer = NodeId([77; 32]);
    let of = |n: usize| {
        let miner = &told.network.miners[n];
        MinerRecord {
            uid: n as u32,
            node_id: if miner.node_id() == gone { newcomer.0 } else { miner.node_id().0 },
            family: [(n / 2) as u8; 32],
            weight: 0x1_0000,
            endpoint: miner.endpoint.clone().into_bytes().try_into().unwrap(),
        }
    };
    let next = Placement::new(2, &told.network.params, (0..MINERS).map(of).collect()).unwrap();
    told.grid.maps.set_current(next);
    let_go(&told.grid, &part).await;
    assert!(told.grid.meta.backlog().await.unwrap().1 > 0, "nothing is to be deleted");
    for _ in 0..8 {
        let due = told.grid.meta.due_deletes(u64::MAX, 1_000).await.unwrap();
        let tried = due.into_iter().map(|(place, mut row)| {
            row.done = vec![newcomer];
            (place, Some(row))
        });
        told.grid.meta.deletes_tried(tried.collect(), u64::MAX, 0).await.unwrap();
    }
    gone
}

/// A miner had left with its shards and said nothing. Whether a deletion was given up was luck: the last attempt had to find it just when it
/// counted as reachable again, and deletions stayed in the queue for hours.
#[tokio::test]
async fn a_deletion_is_given_up_also_when_the_miner_that_left_was_silent_a_moment_ago() {
    let told = Told::new();
    let gone = delete_at_who_left(&told).await;
    told.grid.peers.failed(&gone);
    let stop = Shutdown::new();
    let work = tokio::spawn(told.grid.clone().upkeep(stop.clone()));
    let is_over = async || told.grid.meta.backlog().await.unwrap().1 == 0;
    eventually("nothing is left to be deleted", is_over).await;
    stop.trigger();
    work.await.unwrap();
}

/// About a shard that somebody else had it store it asks others first.
#[tokio::test]
async fn a_miner_that_left_and_says_that_it_deletes_later_is_told_again() {
    let told = Told::new();
    let gone = delete_at_who_left(&told).await;
    let miner = told.network.miners.iter().find(|miner| miner.node_id() == gone).unwrap();
    miner.set(Mood::Keeping);
    let stop = Shutdown::new();
    let work = tokio::spawn(told.grid.clone().upkeep(stop.clone()));
    let tried = async || told.grid.meta.due_deletes(u64::MAX, 1_000).await.unwrap();
    eventually("it was told once more", async || tried().await.iter().all(|(_, row)| row.attempts != 8))
        .await;
    let left = tried().await;
    assert!(left.iter().any(|(_, row)| row.attempts == 9 && !row.done.contains(&gone)), "{left:?}");
    stop.trigger();
    work.await.unwrap();
}
