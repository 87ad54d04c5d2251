//! Who may have a shard deleted.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, atomic::AtomicUsize},
};

use arion_chain::ChainError;
use arion_miner::{chain_facts::Anchors, consent::SETTLED_MS, witnesses::Witnesses};
use arion_net::{MemoryNetwork, Service};
use arion_protocol::{LedgerPosition, ShardBits, Unnamed, UnnamedQuestion};
use async_trait::async_trait;
use tokio::sync::Semaphore;

use super::*;

/// A validator service that knows what the ledgers of gateways name.
struct Witness {
    named: Mutex<BTreeMap<NodeId, BTreeSet<ShardHash>>>,
    asked: AtomicUsize,
    /// An answer takes one.
    answers: Semaphore,
}

#[async_trait]
impl Service for Witness {
    async fn serve(&self, miner: NodeId, request: Request, _: Bytes) -> (Response, Bytes) {
        let (shards, but) = match request {
            Request::Unnamed { shards } => (shards, None),
            Request::UnnamedByOthers { gateway, shards } => (shards, Some(gateway)),
            other => panic!("{other:?}"),
        };
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.answers.acquire().await.unwrap().forget();
        let named = self.named.lock().unwrap();
        let mut unnamed = ShardBits::NONE;
        for (at, shard) in shards.iter().enumerate() {
            if named.iter().all(|(of, shards)| Some(*of) == but || !shards.contains(shard)) {
                unnamed.set(at);
            }
        }
        let ledgers = [node(GATEWAY), node(OTHER)].map(|gateway| LedgerPosition { gateway, sequence: 1 });
        let word = Unnamed { miner, epoch: EPOCH, block: 0, shards: unnamed, ledgers: ledgers.to_vec() };
        let word = word.sign(&GENESIS, UnnamedQuestion { shards: &shards, but }, &key(VALIDATOR));
        (Response::Unnamed(Box::new(word)), Bytes::new())
    }
}

struct NoAnchors;

#[async_trait]
impl Anchors for NoAnchors {
    async fn lines_of(&self, _: &NodeId) -> Result<u64, ChainError> {
        Ok(0)
    }
}

/// The registered validator service of a miner.
fn witness(net: &Net) -> Arc<Witness> {
    let witness = Arc::new(Witness {
        named: Mutex::default(),
        asked: AtomicUsize::new(0),
        answers: Semaphore::new(1_000),
    });
    let network = MemoryNetwork::new();
    network.listen("service:1".to_owned(), node(VALIDATOR), witness.clone());
    let view = net.chain.as_ref().unwrap().0.view().unwrap().clone();
    let transport = Arc::new(network.transport(node(MINER)));
    let services = vec![PeerAddr { node_id: node(VALIDATOR), endpoint: "service:1".to_owned() }];
    net.consent.set(Witnesses::new(node(MINER), view, Arc::new(NoAnchors), transport, services));
    witness
}

impl Witness {
    fn names(&self, gateway: u8, shard: ShardHash) {
        self.named.lock().unwrap().entry(node(gateway)).or_default().insert(shard);
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Net {
    /// Whether it was there; or why it was not deleted.
    async fn delete(&mut self, by: u8, shard: ShardHash) -> Result<bool, ErrorCode> {
        let command = self.command(Action::Delete, shard).sign(&GENESIS, &key(by));
        match self.call(by, Request::Delete(command), Bytes::new()).await {
            Ok((Response::Deleted { existed }, _)) => Ok(existed),
            Err(CallError::Refused { code, .. }) => Err(code),
            other => panic!("{other:?}"),
        }
    }

    async fn store_as(&mut self, by: u8, number: u32, has_body: bool) -> ShardHash {
        let (shard, placement, body) = shard(number, 1_000);
        let command = self.command(Action::Store(placement), shard).sign(&GENESIS, &key(by));
        let body = if has_body { body } else { Bytes::new() };
        self.call(by, Request::Store(command), body).await.unwrap();
        shard
    }

    fn has(&self, shard: &ShardHash) -> bool {
        self.store.as_ref().unwrap().stat(shard).is_some()
    }

    fn wait(&self, ms: u64) {
        self.now.fetch_add(ms, Ordering::SeqCst);
    }
}

/// Whoever pays a deposit registers a gateway.
#[tokio::test]
async fn what_one_gateway_stored_no_other_can_have_deleted() {
    let mut net = Net::start();
    let mine = net.put(1, 1_000).await;
    for by in [OTHER, VALIDATOR] {
        assert_eq!(net.delete(by, mine).await, Err(ErrorCode::Unavailable), "nobody can be asked");
    }
    let witness = witness(&net);
    assert_eq!(net.delete(OTHER, mine).await, Err(ErrorCode::Unavailable), "its line may not have been read");
    assert_eq!(witness.asked(), 0);
    net.wait(SETTLED_MS);
    witness.names(GATEWAY, mine);
    for by in [OTHER, VALIDATOR] {
        assert_eq!(net.delete(by, mine).await, Err(ErrorCode::Unauthorized));
    }
    assert!(net.has(&mine) && witness.asked() == 2);
    // Who goes on is not asked for again at once.
    for _ in 0..5 {
        assert_eq!(net.delete(OTHER, mine).await, Err(ErrorCode::Unavailable));
    }
    assert_eq!(witness.asked(), 2);
    // Its own gateway need not wait for anybody, over a restart either.
    let other = net.put(2, 1_000).await;
    assert_eq!(net.delete(GATEWAY, mine).await, Ok(true));
    net.stop().await;
    net.serve(StoreOptions::default(), true);
    assert_eq!(net.delete(OTHER, other).await, Err(ErrorCode::Unavailable));
    assert_eq!((net.delete(GATEWAY, other).await, net.delete(OTHER, other).await), (Ok(true), Ok(false)));
}

/// What a gateway that is lost had stored, or repair, for the one that has it in its ledger now.
#[tokio::test]
async fn what_nobody_else_names_goes_on_the_order_of_who_has_it() {
    let mut net = Net::start();
    let witness = witness(&net);
    let (lost, repaired) = (net.put(1, 1_000).await, net.store_as(VALIDATOR, 2, true).await);
    for shard in [lost, repaired] {
        witness.names(OTHER, shard);
    }
    assert_eq!(net.delete(OTHER, lost).await, Err(ErrorCode::Unavailable), "its line may not have been read");
    assert_eq!(net.delete(OTHER, repaired).await, Ok(true), "repair stores what ledgers name");
    let repaired = net.store_as(VALIDATOR, 2, true).await;
    net.wait(SETTLED_MS);
    assert_eq!(net.delete(VALIDATOR, lost).await, Err(ErrorCode::Unauthorized), "it is wanted");
    for shard in [lost, repaired] {
        assert_eq!(net.delete(OTHER, shard).await, Ok(true));
        assert!(!net.has(&shard));
    }
    // What repair has just written it takes back.
    let written = net.store_as(VALIDATOR, 3, true).await;
    assert_eq!((net.delete(VALIDATOR, written).await, witness.asked()), (Ok(true), 4));
}

#[tokio::test]
async fn what_is_stored_again_while_services_are_asked_stays() {
    let mut net = Net::start();
    let witness = witness(&net);
    let shard = net.put(1, 1_000).await;
    net.wait(SETTLED_MS);
    witness.answers.forget_permits(1_000);
    let command = net.command(Action::Delete, shard).sign(&GENESIS, &key(OTHER));
    let ordered = async { net.refused(OTHER, Request::Delete(command), Bytes::new()).await };
    let (_, placement, _) = super::shard(1, 1_000);
    let again = Command { action: Action::Store(placement), nonce: [99; 16], ..command.command };
    let stored = async {
        while witness.asked() == 0 {
            tokio::task::yield_now().await;
        }
        let request = Request::Store(again.sign(&GENESIS, &key(GATEWAY)));
        net.call(GATEWAY, request, Bytes::new()).await.unwrap();
        witness.answers.add_permits(1);
    };
    let (code, ()) = tokio::join!(ordered, stored);
    assert!(code == ErrorCode::Unavailable && net.has(&shard));
    witness.answers.add_permits(1);
    assert_eq!(net.delete(OTHER, shard).await, Ok(true), "nobody names it");
}

/// Whoever keeps on ordering it does not bring back the question that came before.
#[tokio::test]
async fn what_is_stored_again_stays_also_where_another_order_came_after_it() {
    let mut net = Net::start();
    let witness = witness(&net);
    let shard = net.put(1, 1_000).await;
    net.wait(SETTLED_MS);
    witness.answers.forget_permits(1_000);
    let command = net.command(Action::Delete, shard);
    let (_, placement, _) = super::shard(1, 1_000);
    let again = Command { action: Action::Store(placement), nonce: [99; 16], ..command };
    let asked = async |times: usize| {
        while witness.asked() < times {
            tokio::task::yield_now().await;
        }
    };
    let order = |by: u8| net.refused(by, Request::Delete(command.sign(&GENESIS, &key(by))), Bytes::new());
    let mut before = Box::pin(order(OTHER));
    tokio::select! {
        code = &mut before => panic!("{code:?}"),
        () = asked(1) => {}
    }
    net.call(GATEWAY, Request::Store(again.sign(&GENESIS, &key(GATEWAY))), Bytes::new()).await.unwrap();
    let mut after = Box::pin(order(VALIDATOR));
    tokio::select! {
        code = &mut after => panic!("{code:?}"),
        () = asked(2) => {}
    }
    witness.answers.add_permits(1);
    assert_eq!(before.await, ErrorCode::Unavailable);
    assert!(net.has(&shard));
    witness.names(GATEWAY, shard);
    witness.answers.add_permits(1);
    assert_eq!(after.await, ErrorCode::Unauthorized);
}

#[tokio::test]
async fn what_two_gateways_had_stored_is_neithers_alone() {
    for has_body in [true, false] {
        let mut net = Net::start();
        let witness = witness(&net);
        let shard = net.store_as(GATEWAY, 1, true).await;
        net.store_as(OTHER, 1, has_body).await;
        witness.names(OTHER, shard);
        net.wait(SETTLED_MS);
        assert_eq!(net.delete(GATEWAY, shard).await, Err(ErrorCode::Unauthorized));
        assert_eq!(net.delete(OTHER, shard).await, Ok(true));
    }
}

/// Who is quicker than repair where a new map places the shards of others does not have them by that.
#[tokio::test]
async fn what_a_gateway_brought_before_repair_came_is_not_its_alone() {
    for has_body in [true, false] {
        let mut net = Net::start();
        let witness = witness(&net);
        let shard = net.store_as(OTHER, 1, true).await;
        net.store_as(VALIDATOR, 1, has_body).await;
        witness.names(GATEWAY, shard);
        net.wait(SETTLED_MS);
        assert_eq!(net.delete(OTHER, shard).await, Err(ErrorCode::Unauthorized));
        assert!(net.has(&shard));
    }
}

#[tokio::test]
async fn a_validator_service_takes_back_what_it_stored_a_moment_ago_and_no_more() {
    let mut net = Net::start();
    let witness = witness(&net);
    let shards = [1, 2, 3].map(|number| (number, shard(number, 1_000).0));
    for (number, shard) in shards {
        assert_eq!(net.store_as(VALIDATOR, number, true).await, shard);
        witness.names(GATEWAY, shard);
    }
    let [now, (signed_for, signed), later] = shards;
    assert_eq!((net.delete(VALIDATOR, now.1).await, witness.asked()), (Ok(true), 0));
    net.store_as(GATEWAY, signed_for, false).await;
    assert_eq!(net.delete(VALIDATOR, signed).await, Err(ErrorCode::Unavailable));
    net.wait(SETTLED_MS);
    assert_eq!(net.delete(VALIDATOR, later.1).await, Err(ErrorCode::Unauthorized));
    assert!(net.has(&later.1) && net.has(&signed));
}

#[tokio::test]
async fn what_somebody_takes_back_is_not_whose_it_was() {
    let mut net = Net::start();
    let witness = witness(&net);
    let shard = net.store_as(OTHER, 1, true).await;
    assert_eq!(net.delete(OTHER, shard).await, Ok(true));
    let command = net.command(Action::Restore, shard).sign(&GENESIS, &key(GATEWAY));
    net.call(GATEWAY, Request::Restore(command), Bytes::new()).await.unwrap();
    witness.names(GATEWAY, shard);
    net.wait(SETTLED_MS);
    assert_eq!(net.delete(OTHER, shard).await, Err(ErrorCode::Unauthorized));
}

#[tokio::test]
async fn deletions_at_once_are_asked_about_at_once() {
    let mut net = Net::start();
    let witness = witness(&net);
    let mut commands = Vec::new();
    for number in 0..60 {
        let shard = net.put(number, 100).await;
        commands.push(net.command(Action::Delete, shard));
    }
    net.wait(SETTLED_MS);
    let endpoint = net.server.as_ref().unwrap().local_addr().to_string();
    let peer = PeerAddr { node_id: node(MINER), endpoint };
    let transport = Arc::new(QuicTransport::new(&key(OTHER)).unwrap());
    let mut orders = tokio::task::JoinSet::new();
    for command in commands {
        let expires_at = net.now() + 60_000;
        let request = Request::Delete(Command { expires_at, ..command }.sign(&GENESIS, &key(OTHER)));
        let (transport, peer) = (transport.clone(), peer.clone());
        orders.spawn(async move { transport.call(&peer, request, Bytes::new(), DEADLINE).await });
    }
    while let Some(answer) = orders.join_next().await {
        let answer = answer.unwrap();
        assert!(matches!(answer, Ok((Response::Deleted { existed: true }, _))), "{answer:?}");
    }
    assert!(witness.asked() <= 20, "{} questions", witness.asked());
}
