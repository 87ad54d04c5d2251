//! Repair has brought shards elsewhere: what a validator service says of it is checked, entered, and remembered for the deletion.

use std::sync::{Arc, OnceLock};

use arion_chain::{ChainView, Registry, Snapshot, ViewSource};
use arion_daemon::{Shutdown, now_ms};
use arion_gateway::{
    grid::Grid, ledger_service::LedgerService, manifest::StripeRecord, placement::Placement,
};
use arion_net::Service;
use arion_protocol::{Action, Command, ErrorCode, Request, Response, ShardPlacement};
use arion_types::{MinerRecord, NodeId, SignedReceipt, StripeId, signing::node_id};
use bytes::Bytes;
use ed25519_dalek::SigningKey;

use crate::network::{GENESIS, MINERS, Network, eventually, let_go, sample, write};

fn validator() -> NodeId {
    node_id(&SigningKey::from_bytes(&[202; 32]))
}

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
        let grid = network.grid(directory.path());
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
