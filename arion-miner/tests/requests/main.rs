//! Every kind of request over real QUIC on loopback, against a chain view fed by hand.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

mod deletions;

use std::{
    fs,
    os::unix::fs::FileExt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arion_chain::{ChainView, Child, EpochMap, Registry, Snapshot, ViewSource};
use arion_miner::{
    chain_facts::{LiveChain, PlacedMap},
    consent::Consent,
    metrics::Metrics,
    orphans::Orphans,
    replay::ReplayGuard,
    service::{Budgets, MinerService, Parts},
    store::{Clock, Inspector, Store, StoreOptions, Volumes},
};
use arion_net::{CallError, PeerAddr, QuicServer, QuicTransport, Transport};
use arion_protocol::{
    Action, Command, ErrorCode, Request, Response, ShardPlacement, SignedCommand,
    limits::{COMMAND_LIFETIME_MS_MAX, LIST_SHARDS_MAX, STAT_SHARDS_MAX},
};
use arion_types::{
    CrushParams, MinerRecord, NodeId, ShardHash, StripeId, map::WEIGHT_ONE, signing, stripe::placement_group,
};
use bytes::Bytes;
use ed25519_dalek::SigningKey;
use tempfile::TempDir;

const GENESIS: [u8; 32] = [7; 32];
const EPOCH: u64 = 1;
const DEADLINE: Duration = Duration::from_secs(10);

const MINER: u8 = 1;
const GATEWAY: u8 = 101;
const VALIDATOR: u8 = 102;
const WARDEN: u8 = 103;
const STRANGER: u8 = 104;
/// Another gateway.
const OTHER: u8 = 105;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn node(seed: u8) -> NodeId {
    signing::node_id(&key(seed))
}

/// 30 miners in 15 families.
fn epoch_map() -> EpochMap {
    let miners = (1..=30u8).map(|number| MinerRecord {
        uid: u32::from(number),
        node_id: node(number).0,
        family: [number.div_ceil(2); 32],
        weight: WEIGHT_ONE,
        endpoint: b"127.0.0.1:1".to_vec().try_into().unwrap(),
    });
    EpochMap::new(EPOCH, CrushParams::STANDARD, miners.collect())
}

fn snapshot() -> Snapshot {
    let miners = (1..=30).map(|seed| (node(seed), Child { child: [seed; 32], family: [seed; 32] }));
    let registry = Registry {
        miners: miners.collect(),
        gateways: [node(GATEWAY), node(OTHER)].into(),
        validators: [node(VALIDATOR)].into(),
        wardens: [node(WARDEN)].into(),
        ..Registry::default()
    };
    let (current, registry) = (Some(Arc::new(epoch_map())), Arc::new(registry));
    Snapshot { current, registry, ..Snapshot::default() }
}

struct Net {
    dir: TempDir,
    now: Arc<AtomicU64>,
    chain: Option<(Arc<LiveChain>, ViewSource)>,
    server: Option<QuicServer>,
    store: Option<Arc<Volumes>>,
    orphans: Arc<Orphans>,
    consent: Arc<Consent>,
    nonce: u8,
}

impl Net {
    fn start() -> Self {
        Self::with(StoreOptions::default(), true)
    }

    fn with(options: StoreOptions, chain_known: bool) -> Self {
        let now = Arc::new(AtomicU64::new(10 * COMMAND_LIFETIME_MS_MAX));
        let dir = TempDir::new().unwrap();
        let (orphans, consent) = (Arc::default(), Arc::default());
        let mut net = Self { dir, now, chain: None, server: None, store: None, orphans, consent, nonce: 0 };
        net.serve(options, chain_known);
        net
    }

    fn serve(&mut self, options: StoreOptions, chain_known: bool) {
        // One clock for all: by another one trash may be over its retention at once.
        let now = self.now.clone();
        let clock: Clock = Arc::new(move || now.load(Ordering::SeqCst));
        let options = StoreOptions { clock: clock.clone(), ..options };
        let store = Store::open(&self.dir.path().join("store"), options).unwrap();
        let store = Arc::new(Volumes::from(store));
        let chain = Arc::new(LiveChain::default());
        let (view, source) = ChainView::manual(GENESIS, snapshot());
        if chain_known {
            chain.set(view);
        }
        let service = MinerService::new(Parts {
            key: key(MINER),
            store: store.clone(),
            chain: chain.clone(),
            replays: ReplayGuard::open(&self.dir.path().join("nonces"), self.now()).unwrap(),
            clock,
            budgets: Budgets { transfers_max: 4, audits_max: 2 },
            metrics: Metrics::new(&mut Default::default()),
        });
        (self.orphans, self.consent) = (service.orphans().clone(), service.consent().clone());
        let server = QuicServer::bind(([127, 0, 0, 1], 0).into(), &key(MINER), Arc::new(service)).unwrap();
        (self.store, self.server, self.chain) = (Some(store), Some(server), Some((chain, source)));
    }

    async fn stop(&mut self) {
        assert!(self.server.take().unwrap().shutdown(DEADLINE).await);
        self.store.take().unwrap().close().await;
    }

    fn now(&self) -> u64 {
        self.now.load(Ordering::SeqCst)
    }

    async fn call(&self, caller: u8, request: Request, body: Bytes) -> Result<(Response, Bytes), CallError> {
        let endpoint = self.server.as_ref().unwrap().local_addr().to_string();
        let peer = PeerAddr { node_id: node(MINER), endpoint };
        QuicTransport::new(&key(caller)).unwrap().call(&peer, request, body, DEADLINE).await
    }

    async fn refused(&self, caller: u8, request: Request, body: Bytes) -> ErrorCode {
        match self.call(caller, request, body).await {
            Err(CallError::Refused { code, .. }) => code,
            other => panic!("expected a refusal, got {other:?}"),
        }
    }

    fn command(&mut self, action: Action, shard: ShardHash) -> Command {
        self.nonce += 1;
        let (target, expires_at) = (node(MINER), self.now() + 60_000);
        Command { action, shard, target, nonce: [self.nonce; 16], expires_at }
    }

    async fn put(&mut self, number: u32, length: usize) -> ShardHash {
        let (shard, placement, body) = shard(number, length);
        let command = self.command(Action::Store(placement), shard).sign(&GENESIS, &key(GATEWAY));
        let (response, _) = self.call(GATEWAY, Request::Store(command), body).await.unwrap();
        assert!(matches!(response, Response::Stored(_)));
        shard
    }

    async fn get(&self, shard: ShardHash) -> Result<Bytes, CallError> {
        self.call(GATEWAY, Request::Fetch { shard }, Bytes::new()).await.map(|(_, body)| body)
    }
}

/// A shard whose place is on the miner under test.
fn shard(number: u32, length: usize) -> (ShardHash, ShardPlacement, Bytes) {
    let mut body = vec![0; length];
    blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut body);
    let map = epoch_map();
    let placed = PlacedMap::new(&map).unwrap();
    for attempt in 0u64.. {
        let stripe = StripeId(*blake3::hash(&(number, attempt).0.to_le_bytes()).as_bytes());
        let stripe = StripeId(*blake3::hash(&[&stripe.0[..], &attempt.to_le_bytes()].concat()).as_bytes());
        let pg = placement_group(&stripe, map.params.pg_count);
        if let Some(index) = (0..30).find(|index| placed.node_at(pg, *index) == Some(node(MINER))) {
            let placement = ShardPlacement { stripe, pg, index, epoch: EPOCH, size: length as u32 };
            return (ShardHash(*blake3::hash(&body).as_bytes()), placement, Bytes::from(body));
        }
    }
    unreachable!("some placement group uses the miner");
}

fn sign(command: Command) -> SignedCommand {
    command.sign(&GENESIS, &key(GATEWAY))
}

#[tokio::test]
async fn a_shard_is_stored_signed_for_and_fetched() {
    let mut net = Net::start();
    let (shard, placement, body) = shard(1, 300_000);
    let request = Request::Store(sign(net.command(Action::Store(placement), shard)));
    let (response, _) = net.call(GATEWAY, request, body.clone()).await.unwrap();
    let Response::Stored(signed) = response else { panic!("{response:?}") };
    assert!(signed.verify(&GENESIS));
    let receipt = signed.receipt;
    assert_eq!((receipt.shard, receipt.size, receipt.node_id), (shard, 300_000, node(MINER)));
    assert_eq!(
        (receipt.stripe, receipt.pg, receipt.index),
        (placement.stripe, placement.pg, placement.index)
    );
    assert_eq!((receipt.epoch, receipt.stored_at), (EPOCH, net.now()));

    // The same again, later, by a validator: a fresh receipt with the first time.
    let stored_at = net.now.fetch_add(5_000, Ordering::SeqCst);
    let again = net.command(Action::Store(placement), shard).sign(&GENESIS, &key(VALIDATOR));
    let (response, _) = net.call(VALIDATOR, Request::Store(again), body.clone()).await.unwrap();
    assert!(matches!(response, Response::Stored(again) if again.receipt.stored_at == stored_at));

    for registered in [GATEWAY, VALIDATOR, WARDEN, 2] {
        let (response, got) = net.call(registered, Request::Fetch { shard }, Bytes::new()).await.unwrap();
        assert_eq!((response, &got), (Response::Shard { size: 300_000 }, &body));
    }
    let (range, proof) = (Request::FetchRange { shard, offset: 20_000, length: 50_000 }, Bytes::new());
    let (response, proof) = net.call(GATEWAY, range, proof).await.unwrap();
    assert_eq!(response, Response::Shard { size: 300_000 });
    let bytes = arion_proofs::verify_range(&shard, 300_000, 20_000..70_000, &proof).unwrap();
    assert_eq!(bytes, body[20_000..70_000]);
}

#[tokio::test]
async fn stat_and_ping_are_public_and_listing_is_paged() {
    let mut net = Net::start();
    let mut shards = Vec::new();
    for number in 0..5 {
        shards.push(net.put(number, 100).await);
    }
    let (response, _) = net.call(STRANGER, Request::Ping, Bytes::new()).await.unwrap();
    assert_eq!(response, Response::Pong { now: net.now() });
    let asked = vec![shards[3], ShardHash([0; 32]), shards[0]];
    let (response, _) = net.call(STRANGER, Request::Stat { shards: asked }, Bytes::new()).await.unwrap();
    let Response::Stats(stats) = response else { panic!("{response:?}") };
    assert_eq!(stats.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(stats[2].unwrap().placement, shard(0, 100).1);

    shards.sort_unstable();
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let (response, _) = net.call(WARDEN, Request::List { after, limit: 2 }, Bytes::new()).await.unwrap();
        let Response::Listing(page) = response else { panic!("{response:?}") };
        listed.extend(page.iter().map(|line| line.shard));
        after = listed.last().copied();
        if page.len() < 2 {
            break;
        }
    }
    assert_eq!(listed, shards);
}

#[tokio::test]
async fn a_challenge_is_proven_and_damage_is_admitted() {
    let mut net = Net::start();
    let shard = net.put(1, 1 << 20).await;
    let seed = [9; 32];
    let challenge = Request::Challenge { shard, seed };
    let (response, proof) = net.call(WARDEN, challenge.clone(), Bytes::new()).await.unwrap();
    assert_eq!(response, Response::Proof { size: 1 << 20 });
    let groups = arion_proofs::derive(&seed, 1 << 20);
    arion_proofs::verify(&shard, 1 << 20, &groups, &proof).unwrap();

    // One byte flips on disk, in a chunk group the seed does not pick.
    let located = Inspector::open(&net.dir.path().join("store")).unwrap().locate(&shard).unwrap();
    let untouched = (0..64u32).find(|group| !groups.as_slice().contains(group)).unwrap();
    let at = located.offset + u64::from(untouched) * 16_384;
    let file = fs::OpenOptions::new().read(true).write(true).open(&located.path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    assert_eq!(net.refused(WARDEN, challenge.clone(), Bytes::new()).await, ErrorCode::Damaged);
    assert_eq!(net.refused(GATEWAY, Request::Fetch { shard }, Bytes::new()).await, ErrorCode::Damaged);
    // Storing it again repairs it.
    net.put(1, 1 << 20).await;
    net.call(WARDEN, challenge, Bytes::new()).await.unwrap();
    let unknown = Request::Challenge { shard: ShardHash([0; 32]), seed };
    assert_eq!(net.refused(WARDEN, unknown, Bytes::new()).await, ErrorCode::NotFound);
}

#[tokio::test]
async fn deleting_needs_a_command_and_tells_whether_it_was_there() {
    let mut net = Net::start();
    let shard = net.put(1, 500).await;
    let delete = Request::Delete(sign(net.command(Action::Delete, shard)));
    let (response, _) = net.call(GATEWAY, delete.clone(), Bytes::new()).await.unwrap();
    assert_eq!(response, Response::Deleted { existed: true });
    assert_eq!(net.refused(GATEWAY, delete, Bytes::new()).await, ErrorCode::Replayed);
    let again = Request::Delete(sign(net.command(Action::Delete, shard)));
    let (response, _) = net.call(GATEWAY, again, Bytes::new()).await.unwrap();
    assert_eq!(response, Response::Deleted { existed: false });
    assert_eq!(net.refused(GATEWAY, Request::Fetch { shard }, Bytes::new()).await, ErrorCode::NotFound);
}

#[tokio::test]
async fn a_deletion_is_taken_back_by_a_command() {
    let mut net = Net::start();
    let shard = net.put(1, 500).await;
    let delete = Request::Delete(sign(net.command(Action::Delete, shard)));
    net.call(GATEWAY, delete, Bytes::new()).await.unwrap();
    let mixed_up = Request::Restore(sign(net.command(Action::Delete, shard)));
    assert_eq!(net.refused(GATEWAY, mixed_up, Bytes::new()).await, ErrorCode::Malformed);
    let command = net.command(Action::Restore, shard);
    let warden = Request::Restore(command.sign(&GENESIS, &key(WARDEN)));
    assert_eq!(net.refused(WARDEN, warden, Bytes::new()).await, ErrorCode::Unauthorized);
    let restore = Request::Restore(sign(net.command(Action::Restore, shard)));
    let (response, _) = net.call(GATEWAY, restore.clone(), Bytes::new()).await.unwrap();
    assert_eq!(response, Response::Restored { exists: true });
    assert_eq!(net.refused(GATEWAY, restore, Bytes::new()).await, ErrorCode::Replayed);
    assert!(net.get(shard).await.is_ok());
    let unknown = Request::Restore(sign(net.command(Action::Restore, ShardHash([0; 32]))));
    let (response, _) = net.call(GATEWAY, unknown, Bytes::new()).await.unwrap();
    assert_eq!(response, Response::Restored { exists: false });
}

/// A recovered gateway goes by `Stat`: its ledger names what the miner says that it has, and wardens challenge it for that.
#[tokio::test]
async fn stat_says_what_a_challenge_finds() {
    let mut net = Net::start();
    let shard = net.put(1, 500).await;
    let is_there = async |net: &Net| {
        let stat = Request::Stat { shards: vec![shard] };
        let (response, _) = net.call(STRANGER, stat, Bytes::new()).await.unwrap();
        let Response::Stats(stats) = response else { panic!("{response:?}") };
        let challenge = Request::Challenge { shard, seed: [0; 32] };
        let proven = net.call(WARDEN, challenge, Bytes::new()).await.is_ok();
        assert_eq!(stats[0].is_some(), proven);
        proven
    };
    assert!(is_there(&net).await);
    for _ in 0..2 {
        let delete = Request::Delete(sign(net.command(Action::Delete, shard)));
        net.call(GATEWAY, delete, Bytes::new()).await.unwrap();
        assert!(!is_there(&net).await);
        let restore = Request::Restore(sign(net.command(Action::Restore, shard)));
        net.call(GATEWAY, restore, Bytes::new()).await.unwrap();
        assert!(is_there(&net).await);
    }
}

#[tokio::test]
async fn keys_without_the_role_are_refused() {
    let mut net = Net::start();
    let known = net.put(1, 500).await;
    let (shard, placement, body) = shard(2, 500);
    let fetch = Request::Fetch { shard: known };
    let range = Request::FetchRange { shard: known, offset: 0, length: 1 };
    let list = Request::List { after: None, limit: 1 };
    let challenge = Request::Challenge { shard: known, seed: [0; 32] };
    for request in [fetch, range, list.clone(), challenge.clone()] {
        assert_eq!(net.refused(STRANGER, request, Bytes::new()).await, ErrorCode::NotRegistered);
    }
    assert_eq!(net.refused(2, list, Bytes::new()).await, ErrorCode::Unauthorized);
    for not_warden in [GATEWAY, VALIDATOR, 2] {
        assert_eq!(net.refused(not_warden, challenge.clone(), Bytes::new()).await, ErrorCode::Unauthorized);
    }
    let refusals = [
        (STRANGER, ErrorCode::NotRegistered),
        (WARDEN, ErrorCode::Unauthorized),
        (2, ErrorCode::Unauthorized),
        (MINER, ErrorCode::Unauthorized),
    ];
    for (signer, code) in refusals {
        let store = net.command(Action::Store(placement), shard).sign(&GENESIS, &key(signer));
        assert_eq!(net.refused(GATEWAY, Request::Store(store), body.clone()).await, code);
        let delete = net.command(Action::Delete, known).sign(&GENESIS, &key(signer));
        assert_eq!(net.refused(GATEWAY, Request::Delete(delete), Bytes::new()).await, code);
    }
    for foreign in [Request::Attest, Request::LedgerPage { after: 0, limit: 1 }] {
        assert_eq!(net.refused(GATEWAY, foreign, Bytes::new()).await, ErrorCode::Unsupported);
    }
    assert!(net.get(known).await.is_ok());
}

#[tokio::test]
async fn commands_that_are_old_misdirected_forged_or_replayed_are_refused() {
    let mut net = Net::start();
    let (shard, placement, body) = shard(1, 500);
    let good = net.command(Action::Store(placement), shard);
    let variants = [
        (Command { target: node(2), ..good }.sign(&GENESIS, &key(GATEWAY)), ErrorCode::Misdirected),
        (Command { expires_at: net.now(), ..good }.sign(&GENESIS, &key(GATEWAY)), ErrorCode::Expired),
        (
            Command { expires_at: net.now() + COMMAND_LIFETIME_MS_MAX + 1, ..good }
                .sign(&GENESIS, &key(GATEWAY)),
            ErrorCode::Expired,
        ),
        (good.sign(&[8; 32], &key(GATEWAY)), ErrorCode::BadSignature),
        (SignedCommand { signer: node(VALIDATOR), ..sign(good) }, ErrorCode::BadSignature),
        (sign(Command { action: Action::Delete, ..good }), ErrorCode::Malformed),
    ];
    for (command, code) in variants {
        assert_eq!(net.refused(GATEWAY, Request::Store(command), body.clone()).await, code);
    }
    let store = Request::Store(sign(good));
    net.call(GATEWAY, store.clone(), body.clone()).await.unwrap();
    assert_eq!(net.refused(GATEWAY, store.clone(), body.clone()).await, ErrorCode::Replayed);
    // The nonce is remembered over a restart.
    net.stop().await;
    net.serve(StoreOptions::default(), true);
    assert_eq!(net.refused(GATEWAY, store, body).await, ErrorCode::Replayed);
}

#[tokio::test]
async fn shards_that_do_not_belong_here_are_refused() {
    let mut net = Net::start();
    let (hash, placement, body) = shard(1, 500);
    let placements = [
        (ShardPlacement { index: (placement.index + 1) % 30, ..placement }, ErrorCode::Misplaced),
        (ShardPlacement { index: 30, ..placement }, ErrorCode::Misplaced),
        (ShardPlacement { pg: placement.pg ^ 1, ..placement }, ErrorCode::Misplaced),
        (ShardPlacement { epoch: 2, ..placement }, ErrorCode::Unavailable),
        (ShardPlacement { size: 501, ..placement }, ErrorCode::HashMismatch),
        (ShardPlacement { size: 0, ..placement }, ErrorCode::Malformed),
        (ShardPlacement { size: (1 << 20) + 1, ..placement }, ErrorCode::Malformed),
    ];
    for (placement, code) in placements {
        let store = sign(net.command(Action::Store(placement), hash));
        assert_eq!(net.refused(GATEWAY, Request::Store(store), body.clone()).await, code, "{placement:?}");
    }
    let wrong_hash = sign(net.command(Action::Store(placement), ShardHash([0; 32])));
    let refused = net.refused(GATEWAY, Request::Store(wrong_hash), body.clone()).await;
    assert_eq!(refused, ErrorCode::HashMismatch);

    net.put(1, 500).await;
    // The same bytes as another shard of this miner.
    let other = shard(2, 500).1;
    let conflict = sign(net.command(Action::Store(other), hash));
    assert_eq!(net.refused(GATEWAY, Request::Store(conflict), body).await, ErrorCode::Conflict);
}

/// Whoever pays a deposit registers a gateway: it must not keep repair from bringing a shard to its place by being there first.
#[tokio::test]
async fn what_somebody_stored_for_another_position_keeps_nobody_elses_shard_out() {
    for (by, has_body) in [(VALIDATOR, true), (VALIDATOR, false), (GATEWAY, true), (GATEWAY, false)] {
        let mut net = Net::start();
        let (hash, placement, body) = shard(1, 500);
        let elsewhere = shard(2, 500).1;
        for (by, placement, has_body) in [(OTHER, elsewhere, true), (by, placement, has_body)] {
            let command = net.command(Action::Store(placement), hash).sign(&GENESIS, &key(by));
            let body = if has_body { body.clone() } else { Bytes::new() };
            let (response, _) = net.call(by, Request::Store(command), body).await.unwrap();
            let Response::Stored(signed) = response else { panic!("{response:?}") };
            assert!(placement.is_met_by(&signed.receipt, &hash, &node(MINER)));
        }
        assert_eq!(net.get(hash).await.unwrap(), body);
    }
}

#[tokio::test]
async fn a_full_miner_says_so_and_still_deletes() {
    let mut net = Net::with(StoreOptions { capacity_bytes: 1_000, ..StoreOptions::default() }, true);
    let first = net.put(1, 700).await;
    let (hash, placement, body) = shard(2, 700);
    let store = sign(net.command(Action::Store(placement), hash));
    assert_eq!(net.refused(GATEWAY, Request::Store(store), body).await, ErrorCode::NoSpace);
    let delete = Request::Delete(sign(net.command(Action::Delete, first)));
    net.call(GATEWAY, delete, Bytes::new()).await.unwrap();
    net.put(2, 700).await;
}

#[tokio::test]
async fn caps_of_requests_are_enforced() {
    let net = Net::start();
    let stat = Request::Stat { shards: vec![ShardHash([0; 32]); STAT_SHARDS_MAX + 1] };
    // Not even sent: what a server does with it is in the tests of the protocol.
    let unsent = net.call(STRANGER, stat, Bytes::new()).await.unwrap_err();
    assert!(matches!(unsent, CallError::Protocol(_)), "{unsent}");
    for limit in [0, LIST_SHARDS_MAX + 1] {
        let list = Request::List { after: None, limit };
        assert_eq!(net.refused(WARDEN, list, Bytes::new()).await, ErrorCode::Malformed);
    }
    for (offset, length) in [(0, 0), (u32::MAX, 1), (u32::MAX, u32::MAX)] {
        let range = Request::FetchRange { shard: ShardHash([0; 32]), offset, length };
        assert!(net.call(GATEWAY, range, Bytes::new()).await.is_err());
    }
    let ping = net.refused(WARDEN, Request::Ping, Bytes::from_static(b"body")).await;
    assert_eq!(ping, ErrorCode::Malformed);
    // Of a key without a role not even read.
    let ping = net.refused(STRANGER, Request::Ping, Bytes::from_static(b"body")).await;
    assert_eq!(ping, ErrorCode::NotRegistered);
}

#[tokio::test]
async fn a_range_behind_the_end_is_refused() {
    let mut net = Net::start();
    let shard = net.put(1, 500).await;
    for (offset, length) in [(500, 1), (0, 501)] {
        let range = Request::FetchRange { shard, offset, length };
        assert_eq!(net.refused(GATEWAY, range, Bytes::new()).await, ErrorCode::Malformed);
    }
}

#[tokio::test]
async fn without_the_chain_only_public_requests_are_served() {
    let mut net = Net::with(StoreOptions::default(), false);
    net.call(STRANGER, Request::Ping, Bytes::new()).await.unwrap();
    net.call(STRANGER, Request::Stat { shards: vec![] }, Bytes::new()).await.unwrap();
    let fetch = Request::Fetch { shard: ShardHash([0; 32]) };
    assert_eq!(net.refused(GATEWAY, fetch, Bytes::new()).await, ErrorCode::Unavailable);
    let (hash, placement, body) = shard(1, 500);
    let store = sign(net.command(Action::Store(placement), hash));
    assert_eq!(net.refused(GATEWAY, Request::Store(store), body).await, ErrorCode::Unavailable);
}

#[tokio::test]
async fn roles_follow_the_finalised_chain() {
    let mut net = Net::start();
    let shard = net.put(1, 500).await;
    assert!(net.get(shard).await.is_ok());
    let mut next = snapshot();
    next.registry = Arc::new(Registry { gateways: Default::default(), ..(*next.registry).clone() });
    net.chain.as_ref().unwrap().1.set(next);
    let refused = net.get(shard).await.unwrap_err();
    assert!(matches!(refused, CallError::Refused { code: ErrorCode::NotRegistered, .. }), "{refused}");
}

#[tokio::test]
async fn shards_survive_restarts() {
    let mut net = Net::start();
    let mut shards = Vec::new();
    for number in 0..10 {
        shards.push((net.put(number, 10_000).await, shard(number, 10_000).2));
    }
    net.stop().await;
    net.serve(StoreOptions::default(), true);
    for (shard, body) in &shards {
        assert_eq!(net.get(*shard).await.unwrap(), body);
    }
}

#[tokio::test]
async fn whoever_wants_a_shard_has_it_forgotten_that_no_ledger_names_it() {
    let mut net = Net::start();
    let number = 4;
    let (hash, placement, body) = shard(number, 900);
    net.put(number, 900).await;
    let store = sign(net.command(Action::Store(placement), hash));
    let delete = sign(net.command(Action::Delete, hash));
    let restore = sign(net.command(Action::Restore, hash));
    let requests = [
        (GATEWAY, Request::Store(store), body),
        (GATEWAY, Request::Fetch { shard: hash }, Bytes::new()),
        (GATEWAY, Request::FetchRange { shard: hash, offset: 1, length: 1 }, Bytes::new()),
        (WARDEN, Request::Challenge { shard: hash, seed: [3; 32] }, Bytes::new()),
    ];
    let told = || {
        net.orphans.round(&[hash].into(), Duration::ZERO);
        assert!(net.orphans.age(&hash).is_some());
    };
    for (caller, request, body) in requests {
        told();
        net.call(caller, request, body).await.unwrap();
        assert_eq!(net.orphans.age(&hash), None);
    }
    net.call(GATEWAY, Request::Delete(delete), Bytes::new()).await.unwrap();
    told();
    net.call(GATEWAY, Request::Restore(restore), Bytes::new()).await.unwrap();
    assert_eq!(net.orphans.age(&hash), None);
    // Who only looks, or may not ask, changes nothing.
    told();
    net.call(STRANGER, Request::Stat { shards: vec![hash] }, Bytes::new()).await.unwrap();
    net.call(VALIDATOR, Request::List { after: None, limit: 9 }, Bytes::new()).await.unwrap();
    assert_eq!(
        net.refused(STRANGER, Request::Fetch { shard: hash }, Bytes::new()).await,
        ErrorCode::NotRegistered
    );
    assert!(net.orphans.age(&hash).is_some());
}

#[tokio::test]
async fn what_is_here_is_signed_for_again_when_its_map_is_forgotten() {
    let mut net = Net::start();
    net.put(4, 900).await;
    let later = EpochMap { epoch: 40, ..epoch_map() };
    net.chain.as_ref().unwrap().1.set(Snapshot { current: Some(Arc::new(later)), ..snapshot() });
    let (hash, placement, body) = shard(4, 900);
    let store = sign(net.command(Action::Store(placement), hash));
    let answer = net.call(GATEWAY, Request::Store(store), body).await.unwrap().0;
    assert!(
        matches!(answer, Response::Stored(signed) if signed.receipt.epoch == EPOCH && signed.verify(&GENESIS))
    );
    let (hash, placement, body) = shard(5, 900);
    let store = sign(net.command(Action::Store(placement), hash));
    assert_eq!(net.refused(GATEWAY, Request::Store(store), body).await, ErrorCode::Unavailable);
}

#[tokio::test]
async fn what_is_here_is_signed_for_again_without_being_sent() {
    let mut net = Net::start();
    let (hash, placement, body) = shard(4, 900);
    let store = sign(net.command(Action::Store(placement), hash));
    let refused = net.refused(GATEWAY, Request::Store(store), Bytes::new()).await;
    assert_eq!(refused, ErrorCode::NotFound, "nothing is signed for that is not here");
    net.put(4, 900).await;
    let store = sign(net.command(Action::Store(placement), hash));
    let answer = net.call(GATEWAY, Request::Store(store), Bytes::new()).await.unwrap().0;
    let Response::Stored(signed) = answer else { panic!("{answer:?}") };
    assert!(placement.is_met_by(&signed.receipt, &hash, &node(MINER)) && signed.verify(&GENESIS));
    assert_eq!(net.get(hash).await.unwrap(), body);
    let elsewhere = ShardPlacement { size: 901, ..placement };
    let store = sign(net.command(Action::Store(elsewhere), hash));
    assert!(net.call(GATEWAY, Request::Store(store), Bytes::new()).await.is_err());
}
