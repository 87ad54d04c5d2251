//! Each strategy, in front of an honest miner over the in-memory network, challenged as wardens do.

use super::*;
use arion_chain::EpochMap;
use arion_erasure::Codec;
use arion_net::MemoryNetwork;
use arion_protocol::{LedgerEntry, LedgerRecord};
use arion_types::{CrushParams, MinerRecord, Receipt, SignedReceipt, StripeId, map::WEIGHT_ONE};
use clap::ValueEnum;

const BEHIND: &str = "behind:1";
const GATEWAY: NodeId = NodeId([200; 32]);
/// Position of the cheat's shard in the stripe.
const MINE: u8 = 3;

/// Serves the shards that it has, and proves them.
struct Honest(HashMap<ShardHash, Bytes>);

#[async_trait]
impl Service for Honest {
    async fn serve(&self, _: NodeId, request: Request, _: Bytes) -> (Response, Bytes) {
        match request {
            Request::Fetch { shard } => match self.0.get(&shard) {
                Some(bytes) => (Response::Shard { size: bytes.len() as u32 }, bytes.clone()),
                None => (Response::error(ErrorCode::NotFound, ""), Bytes::new()),
            },
            Request::Ping => (Response::Pong { now: 1 }, Bytes::new()),
            other => panic!("{other:?}"),
        }
    }
}

struct Ledger(Vec<Receipt>);

#[async_trait]
impl Service for Ledger {
    async fn serve(&self, _: NodeId, request: Request, _: Bytes) -> (Response, Bytes) {
        let Request::LedgerFrom { after, limit, .. } = request else {
            panic!("only its ledger is asked for")
        };
        let lines = self.0.iter().zip(1u64..).skip(after as usize).take(usize::from(limit));
        let entries = lines.map(|(receipt, sequence)| {
            let record = LedgerRecord::Stored(SignedReceipt { receipt: *receipt, signature: [0; 64] });
            LedgerEntry { sequence, record }
        });
        (Response::LedgerLines(entries.collect()), Bytes::new())
    }
}

fn node(index: u8) -> NodeId {
    NodeId([index + 1; 32])
}

/// A stripe on 30 miners, of which that at [`MINE`] cheats; `away` others serve nothing.
struct Bench {
    network: MemoryNetwork,
    map: EpochMap,
    shard: ShardHash,
    bytes: Bytes,
}

impl Bench {
    fn new(away: u8) -> Self {
        let (params, network) = (CrushParams::STANDARD, MemoryNetwork::new());
        let codec = Codec::new(params.ec_k.into(), params.ec_m.into()).unwrap();
        let stripe: Vec<u8> = (0..1_300_000u32).map(|i| (i.wrapping_mul(40_503) >> 7) as u8).collect();
        let shards = codec.encode(stripe.into()).unwrap();
        let (mut receipts, mut miners) = (Vec::new(), Vec::new());
        for (index, bytes) in (0u8..).zip(&shards) {
            let (shard, size) = (ShardHash(blake3::hash(bytes).into()), bytes.len() as u32);
            let (node_id, stripe) = (node(index), StripeId([9; 32]));
            receipts.push(Receipt { shard, size, stripe, pg: 0, index, epoch: 1, node_id, stored_at: 1 });
            miners.push(MinerRecord {
                uid: index.into(),
                node_id: node_id.0,
                family: [index; 32],
                weight: WEIGHT_ONE,
                endpoint: format!("miner-{index}:1").into_bytes().try_into().unwrap(),
            });
            let has: HashMap<_, _> = [(shard, bytes.clone())].into();
            if index == MINE {
                network.listen(BEHIND, node_id, Arc::new(Honest(has)));
            } else if index >= away + u8::from(away > MINE) {
                network.listen(format!("miner-{index}:1"), node_id, Arc::new(Honest(has)));
            }
        }
        let (shard, bytes) = (receipts[usize::from(MINE)].shard, shards[usize::from(MINE)].clone());
        network.listen("gateway:1", GATEWAY, Arc::new(Ledger(receipts)));
        Self { network, map: EpochMap::new(1, params, miners), shard, bytes }
    }

    fn cheat(&self, strategy: Strategy) -> Cheat {
        let gateway = PeerAddr { node_id: GATEWAY, endpoint: "gateway:1".into() };
        let behind = PeerAddr { node_id: node(MINE), endpoint: BEHIND.into() };
        let transport = Arc::new(self.network.transport(node(MINE)));
        Cheat::new(strategy, behind, transport, Others::new(&self.map, gateway).unwrap())
    }

    /// Whether the answer to a challenge proves the shard; the error if it was refused.
    async fn challenge(&self, cheat: &Cheat, seed: u8) -> Result<bool, ErrorCode> {
        let (shard, seed) = (self.shard, [seed; 32]);
        let (response, proof) =
            cheat.serve(NodeId([0; 32]), Request::Challenge { shard, seed }, Bytes::new()).await;
        let size = self.bytes.len() as u32;
        match response {
            Response::Proof { size: claimed } => {
                let groups = arion_proofs::derive(&seed, size);
                Ok(claimed == size && arion_proofs::verify(&shard, size, &groups, &proof).is_ok())
            }
            Response::Error { code, .. } => Err(code),
            other => panic!("{other:?}"),
        }
    }

    async fn read(&self, cheat: &Cheat) -> Result<Bytes, ErrorCode> {
        let request = Request::Fetch { shard: self.shard };
        match cheat.serve(NodeId([0; 32]), request, Bytes::new()).await {
            (Response::Shard { .. }, bytes) => Ok(bytes),
            (Response::Error { code, .. }, _) => Err(code),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn names_are_those_of_the_flag() {
    for strategy in Strategy::ALL {
        assert_eq!(Strategy::from_str(strategy.name(), false), Ok(strategy));
    }
    assert_eq!(Strategy::value_variants(), Strategy::ALL);
}

#[tokio::test]
async fn who_has_nothing_itself_passes_as_long_as_others_have_it() {
    let bench = Bench::new(0);
    for strategy in [Strategy::Relay, Strategy::Recompute, Strategy::RefuseReads] {
        let cheat = bench.cheat(strategy);
        for seed in 0..4 {
            assert_eq!(bench.challenge(&cheat, seed).await, Ok(true), "{strategy:?}");
        }
    }
    // Ten others are enough to compute it, nine are not.
    for (away, expected) in [(19, Ok(true)), (20, Err(ErrorCode::Busy))] {
        let bench = Bench::new(away);
        assert_eq!(bench.challenge(&bench.cheat(Strategy::Recompute), 1).await, expected, "{away} away");
    }
}

#[tokio::test]
async fn replays_pass_once_and_half_a_shard_never() {
    let bench = Bench::new(0);
    let replay = bench.cheat(Strategy::Replay);
    assert_eq!(bench.challenge(&replay, 1).await, Ok(true));
    assert_eq!(bench.challenge(&replay, 1).await, Ok(true));
    let mut again = 0;
    for seed in 2..40 {
        again += usize::from(bench.challenge(&replay, seed).await.unwrap());
    }
    assert!(again < 5, "the same 4 of 8 groups come up once in 70 times: {again}");
    assert_eq!(bench.challenge(&bench.cheat(Strategy::Truncated), 1).await, Ok(false));
}

#[tokio::test]
async fn what_is_lost_is_lost_for_readers_too_and_who_refuses_one_serves_the_other() {
    let bench = Bench::new(0);
    let dropped = bench.cheat(Strategy::Dropped);
    let is_lost = Strategy::Dropped.has_lost(&bench.shard);
    let lost = if is_lost { Err(ErrorCode::NotFound) } else { Ok(true) };
    assert_eq!(bench.challenge(&dropped, 1).await, lost);
    assert_eq!(bench.read(&dropped).await.is_err(), is_lost);
    let silent = bench.cheat(Strategy::RefuseChallenges);
    assert_eq!(bench.challenge(&silent, 1).await, Err(ErrorCode::Busy));
    assert_eq!(bench.read(&silent).await, Ok(bench.bytes.clone()));
    assert_eq!(bench.read(&bench.cheat(Strategy::RefuseReads)).await, Err(ErrorCode::Busy));
    // Everything else is passed on.
    let pong = silent.serve(NodeId([0; 32]), Request::Ping, Bytes::new()).await.0;
    assert_eq!(pong, Response::Pong { now: 1 });
}

#[test]
fn a_flipped_byte_is_seen_where_its_group_is_asked_for_and_nowhere_else() {
    let bytes = vec![7; 8 * arion_proofs::GROUP_BYTES as usize];
    let address = ShardHash(blake3::hash(&bytes).into());
    let (mut held, mut failed) = (0, 0);
    for n in 0..200u8 {
        let seed = [n; 32];
        let Ok((Response::Proof { size }, proof)) = flipped(&address, &bytes, &seed) else { panic!() };
        let groups = arion_proofs::derive(&seed, size);
        let asked = groups.as_slice().contains(&flipped_group(&address, 8));
        let holds = arion_proofs::verify(&address, size, &groups, &proof).is_ok();
        assert_ne!(asked, holds);
        *(if holds { &mut held } else { &mut failed }) += 1;
    }
    assert!(held > 60 && failed > 60, "{held} {failed}");
}
