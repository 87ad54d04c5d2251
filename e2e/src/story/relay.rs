//! A miner behind a NAT: reached through the relay, then directly; not directly where the NAT does not allow it.
//!
//! Real daemons and a real NAT: the miner runs in a network namespace of its own, another namespace translates its
//! addresses and lets nothing in. Who calls it is the story, with the key of the network's gateway.

mod nat;

use std::{
    net::Ipv4Addr,
    process::ExitCode,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, bail};
use arion_chain::{ChainClient, EpochMap};
use arion_net::{CallError, PeerAddr, QuicTransport, RelayAddr, Transport};
use arion_protocol::{Action, Command, Request, Response, ShardPlacement};
use arion_types::{NodeId, ShardHash, StripeId, map::MinerRecord, stripe::placement_group};
use bytes::Bytes;
use ed25519_dalek::SigningKey;
use tokio::{net::TcpListener, task::JoinHandle};

use self::nat::{INSIDE, Mapping, NAT, Nat, OUTSIDE};
use crate::{
    http,
    network::{
        Network, Options,
        behind_nat::{BehindNat, RELAY},
    },
    progress::{Progress, show},
    report::Report,
    story::{begin, conclude, within},
};

/// The longest the story may take; then it has failed.
const DEADLINE: Duration = Duration::from_secs(10 * 60);
const CALL: Duration = Duration::from_secs(20);
/// For a miner to be attached again, a direct path to be found.
const CHANGE: Duration = Duration::from_secs(60);
/// A direct path is looked for at once and after 10 s: so long after the first call there must be none.
const NO_DIRECT: Duration = Duration::from_secs(16);
/// As few as can be placed on: a stripe takes two of each of 15 families.
const MINERS: u16 = 30;
/// Miner behind the NAT, counted from 0.
const MINER: u16 = 1;
const SHARD_BYTES: usize = 1 << 20;
/// Bytes over the relay of a call that did not go through it: somebody else's.
const STRAY_BYTES: u64 = 256 << 10;
/// Pause between two looks, and between two shards fetched one after another: a caller that reads now and then, not one
/// that fills the relay.
const POLL: Duration = Duration::from_millis(200);

/// Where the network of the story runs.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// First of the 300 ports that the network of the story uses.
    #[arg(long, value_name = "P", default_value_t = 23_200)]
    base_port: u16,
}

struct Stage {
    network: Network,
    report: Report,
    progress: Progress,
    nat: Nat,
    /// The gateway's key: it may store.
    key: SigningKey,
}

/// Tells the story. The exit code says whether every check held.
pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if let Some(reason) = Nat::impossible() {
        show(&format!("relay: NOT RUN: {reason}\n"));
        return Ok(ExitCode::FAILURE);
    }
    let progress = Progress::start();
    let (mut network, lock) = begin("relay", arguments.base_port, Options { miners: MINERS, validators: 1 })?;
    let ports = *network.ports();
    let nat = Nat::new(ports.miner_http(MINER), Mapping::EndpointIndependent)?;
    let forward = forward(ports.spare(), ports.node_rpc(0)).await?;
    network.put_behind_nat(BehindNat {
        miner: MINER,
        namespace: nat.namespace().to_owned(),
        inside: INSIDE,
        outside: OUTSIDE,
        rpc_port: ports.spare(),
    });
    let key = network.node_key("gateway")?;
    let mut stage = Stage { network, report: Report::new("relay"), progress, nat, key };
    let told = within(DEADLINE, tell(&mut stage)).await;
    if let Err(error) = told {
        stage.report.error("the story ended early", &error);
    }
    let stopped = stage.network.stop().await.map(|late| late.is_empty());
    stage.report.check_result("every process ends when it is told to", stopped);
    forward.abort();
    let Stage { report, progress, network, .. } = stage;
    Ok(conclude(&network, &lock, &report, &progress))
}

/// Lets the one behind the NAT reach the JSON-RPC of the chain node, which listens on loopback.
async fn forward(port: u16, to: u16) -> anyhow::Result<JoinHandle<()>> {
    let listener = TcpListener::bind((OUTSIDE, port)).await.context("cannot listen where the NAT leads")?;
    Ok(tokio::spawn(async move {
        while let Ok((mut from, _)) = listener.accept().await {
            tokio::spawn(async move {
                if let Ok(mut node) = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, to)).await {
                    let _ = tokio::io::copy_bidirectional(&mut from, &mut node).await;
                }
            });
        }
    }))
}

async fn tell(stage: &mut Stage) -> anyhow::Result<()> {
    stage.report.step(1, "a network with a miner behind a NAT that lets nothing in");
    let formation = stage.network.form(&stage.progress).await?;
    let chain = stage.network.chain().await?;
    let record = stage.record(&formation.map)?;
    let endpoint = String::from_utf8_lossy(&record.endpoint).into_owned();
    stage.report.observed(format!("endpoint of {} in the map: {endpoint}", Network::miner_name(MINER)));
    let relay = RelayAddr::of_endpoint(&endpoint).context("the endpoint names no relay")??;
    stage.report.check("the map on chain names the relay", relay.node_id == stage.network.node_id(RELAY)?);
    let caller = QuicTransport::new(&stage.key)?;
    for host in [INSIDE, NAT] {
        let endpoint = format!("{host}:{}", stage.network.ports().miner_quic(MINER));
        let peer = PeerAddr { node_id: NodeId(record.node_id), endpoint };
        let answer = caller.call(&peer, Request::Ping, Bytes::new(), CALL).await;
        stage.report.observed(format!("{}: {}", peer.endpoint, told(&answer)));
        stage.report.check(format!("nobody gets in at {host}"), answer.is_err());
    }

    let peer = PeerAddr { node_id: NodeId(record.node_id), endpoint };
    stage.through_the_relay(&chain, &formation.map, &peer).await?;
    stage.without_the_relay(&peer).await?;
    stage.behind_another_nat(&peer).await?;
    stage.strangers(&peer).await
}

fn told(answer: &Result<(Response, Bytes), CallError>) -> String {
    match answer {
        Ok((_, body)) => format!("an answer with {} bytes", body.len()),
        Err(error) => error.to_string(),
    }
}

impl Stage {
    fn record(&self, map: &EpochMap) -> anyhow::Result<MinerRecord> {
        let node = self.network.node_id(&Network::miner_name(MINER))?;
        let mut records = map.miners.iter();
        records.find(|record| record.node_id == node.0).cloned().context("the miner is not in the map")
    }

    /// Bytes that the relay has carried so far.
    async fn relayed_bytes(&self) -> anyhow::Result<u64> {
        let address = format!("{}:{}", Ipv4Addr::LOCALHOST, self.network.ports().relay_http());
        let page = http::get(&address, "/metrics").await?.body;
        let line = page.lines().find_map(|line| line.strip_prefix("arion_relay_forwarded_bytes_total "));
        line.context("the relay counts no bytes")?.trim().parse().context("the relay's count is no number")
    }

    async fn through_the_relay(
        &mut self,
        chain: &ChainClient,
        map: &EpochMap,
        peer: &PeerAddr,
    ) -> anyhow::Result<()> {
        self.report.step(2, "a shard of 1 MiB goes in through the relay and comes back");
        let caller = QuicTransport::new(&self.key)?;
        let body = shard(1);
        let hash = ShardHash(blake3::hash(&body).into());
        let placement = self.placement(map, peer)?;
        let command = Command {
            action: Action::Store(placement),
            shard: hash,
            target: peer.node_id,
            nonce: rand::random(),
            expires_at: now_ms()? + 60_000,
        };
        let signed = command.sign(&chain.genesis(), &self.key);
        let (answer, _) = caller.call(peer, Request::Store(signed), body.clone(), CALL).await?;
        let Response::Stored(receipt) = answer else { bail!("the miner answered {answer:?}") };
        self.report.check("the miner signs a receipt for it", receipt.receipt.shard == hash);
        let (_, back) = caller.call(peer, Request::Fetch { shard: hash }, Bytes::new(), CALL).await?;
        self.report.check("it comes back as it was", back == body);
        let carried = self.relayed_bytes().await?;
        self.report.observed(format!("carried by the relay: {carried} bytes"));
        self.report.check("the relay has carried it", carried > SHARD_BYTES as u64);

        self.report.step(3, "the direct path is found and taken");
        let found = self.until_direct(&caller, peer, hash).await?;
        self.report.check("calls no longer go through the relay", found);
        caller.close().await;
        Ok(())
    }

    /// Whether fetching the shard again and again costs the relay nothing after a while.
    async fn until_direct(
        &self,
        caller: &QuicTransport,
        peer: &PeerAddr,
        hash: ShardHash,
    ) -> anyhow::Result<bool> {
        let begun = Instant::now();
        while begun.elapsed() < CHANGE {
            if !self.is_relayed(caller, peer, hash).await? {
                return Ok(true);
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(false)
    }

    /// Whether a fetch went through the relay.
    async fn is_relayed(
        &self,
        caller: &QuicTransport,
        peer: &PeerAddr,
        hash: ShardHash,
    ) -> anyhow::Result<bool> {
        let before = self.relayed_bytes().await?;
        let (_, back) = caller.call(peer, Request::Fetch { shard: hash }, Bytes::new(), CALL).await?;
        if back.len() != SHARD_BYTES {
            bail!("{} bytes came back", back.len());
        }
        Ok(self.relayed_bytes().await?.saturating_sub(before) > STRAY_BYTES)
    }

    async fn without_the_relay(&mut self, peer: &PeerAddr) -> anyhow::Result<()> {
        self.report.step(4, "the relay is killed: who is in stays in, and it is found again");
        let hash = ShardHash(blake3::hash(&shard(1)).into());
        let caller = QuicTransport::new(&self.key)?;
        let found = self.until_direct(&caller, peer, hash).await?;
        self.report.check("another caller finds the direct path", found);
        self.network.kill(RELAY)?;
        let answer = caller.call(peer, Request::Fetch { shard: hash }, Bytes::new(), CALL).await;
        self.report.check("the direct path does not need it", answer.is_ok());
        let late = QuicTransport::new(&self.key)?;
        let answer = late.call(peer, Request::Ping, Bytes::new(), CALL).await;
        self.report.observed(format!("a new caller: {}", told(&answer)));
        self.report.check("who comes now does not get in", answer.is_err());
        self.network.start_healthy(&[RELAY.to_owned()]).await?;
        let back = self.until_answer(&late, peer).await;
        self.report.check("with the relay back the miner is reached again", back);
        caller.close().await;
        late.close().await;
        Ok(())
    }

    async fn until_answer(&self, caller: &QuicTransport, peer: &PeerAddr) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < CHANGE {
            if caller.call(peer, Request::Ping, Bytes::new(), CALL).await.is_ok() {
                return true;
            }
            tokio::time::sleep(POLL).await;
        }
        false
    }

    async fn behind_another_nat(&mut self, peer: &PeerAddr) -> anyhow::Result<()> {
        self.report.step(5, "a NAT with another port for everybody: all stays with the relay");
        self.nat.translate(Mapping::Random)?;
        let hash = ShardHash(blake3::hash(&shard(1)).into());
        let caller = QuicTransport::new(&self.key)?;
        let begun = Instant::now();
        let mut relayed = true;
        while begun.elapsed() < NO_DIRECT {
            relayed &= self.is_relayed(&caller, peer, hash).await?;
            tokio::time::sleep(POLL).await;
        }
        self.report
            .check(format!("all fetches in {} s go through the relay", begun.elapsed().as_secs()), relayed);
        caller.close().await;
        Ok(())
    }

    async fn strangers(&mut self, peer: &PeerAddr) -> anyhow::Result<()> {
        self.report.step(6, "who has no role on the chain gets nothing from the relay");
        let stranger = QuicTransport::new(&SigningKey::from_bytes(&rand::random()))?;
        let answer = stranger.call(peer, Request::Ping, Bytes::new(), CALL).await;
        self.report.observed(told(&answer));
        self.report.check("a stranger is refused", answer.is_err());
        Ok(())
    }

    /// A position that the map gives to the miner.
    fn placement(&self, map: &EpochMap, peer: &PeerAddr) -> anyhow::Result<ShardPlacement> {
        let placing = crush::Map::from_records(&map.params, &map.miners)?;
        let uid = self.record(map)?.uid;
        for _ in 0..1_000 {
            let stripe = StripeId(rand::random());
            let pg = placement_group(&stripe, map.params.pg_count);
            let at = placing.place_vec(pg).iter().position(|placed| *placed == Some(uid));
            if let Some(index) = at {
                let (index, size) = (u8::try_from(index)?, u32::try_from(SHARD_BYTES)?);
                return Ok(ShardPlacement { stripe, pg, index, epoch: map.epoch, size });
            }
        }
        bail!("the map places nothing on {}", peer.node_id)
    }
}

/// A shard of 1 MiB, the same each time.
fn shard(seed: u8) -> Bytes {
    let mut bytes = vec![0; SHARD_BYTES];
    blake3::Hasher::new_derive_key("arion 2026-11 relay story")
        .update(&[seed])
        .finalize_xof()
        .fill(&mut bytes);
    bytes.into()
}

fn now_ms() -> anyhow::Result<u64> {
    Ok(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?)
}
