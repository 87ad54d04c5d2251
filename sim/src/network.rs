//! The network between hosts: latency, loss, partitions. It carries calls, not packets: what QUIC makes good comes late, what it
//! cannot make good is silence.
//!
//! # Invariants
//! - Every message has its own latency, so that messages overtake each other.
//! - A host works on what reached it, whether or not the caller still waits, until it crashes.
//! - Who has crashed hears nothing any more, and nobody hears of it.
//! - Two hosts talk in the best version that both speak, or not at all; of a request that a host does not know it says so and does
//!   nothing (docs/spec/wire.md, "How the protocol grows").

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arion_net::{CallError, DialError, MemoryNetwork, MemoryTransport, PeerAddr, Service, Transport};
use arion_protocol::{ErrorCode, Request, Response};
use arion_types::{NodeId, ShardHash};
use async_trait::async_trait;
use bytes::Bytes;
use codec::Encode;
use tokio::{sync::oneshot, time::sleep};

use crate::{
    dice::Dice,
    life::Life,
    trace::{self, trace},
};

/// A server takes this long at most; its caller gave up long before.
const SERVED_WITHIN: Duration = Duration::from_secs(600);
/// How long a lost packet takes to be sent again, doubled each time.
const RESENT_AFTER: Duration = Duration::from_millis(200);
/// Times a packet is lost at most.
const LOST_MAX: u32 = 6;
/// Between looks at whether a partition is over.
const LOOK: Duration = Duration::from_millis(500);
/// A dead host is told at once, or noticed after this time.
const SILENCE: Duration = Duration::from_secs(3);

/// How the network is.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Least and most time of a message.
    pub latency: (Duration, Duration),
    /// Messages that have to be sent again.
    pub loss_percent: u64,
}

impl Weather {
    pub const FAIR: Self =
        Self { latency: (Duration::from_millis(1), Duration::from_millis(40)), loss_percent: 0 };
}

/// What a host's software speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Release {
    /// First and last version of the protocol.
    pub versions: (u32, u32),
    /// Kinds of requests that it knows: those below this one.
    pub kinds: u8,
}

impl Release {
    /// The product as it is.
    pub const PRESENT: Self = Self { versions: (1, 1), kinds: Request::KINDS };

    /// The best version that both speak.
    fn common(self, other: Self) -> Option<u32> {
        let best = self.versions.1.min(other.versions.1);
        (best >= self.versions.0.max(other.versions.0)).then_some(best)
    }
}

struct State {
    /// Of hosts that do not run the present one.
    releases: BTreeMap<String, Release>,
    /// Calls that were not understood, and those between hosts without a common version.
    unknown: u64,
    strange: u64,
    weather: Weather,
    /// Hosts that reach each other only.
    islands: Vec<BTreeSet<String>>,
    /// Who listens, and whose life answers.
    lives: BTreeMap<String, Life>,
    calls: u64,
    open: usize,
    open_most: usize,
}

/// The network; clones are the same.
#[derive(Clone)]
pub struct Network {
    memory: MemoryNetwork,
    state: Arc<Mutex<State>>,
    dice: Dice,
}

/// The endpoint of a host.
pub fn endpoint(host: &str) -> String {
    format!("{host}:1")
}

fn host_of(endpoint: &str) -> &str {
    endpoint.strip_suffix(":1").unwrap_or(endpoint)
}

impl Network {
    pub fn new(dice: Dice) -> Self {
        let state = State {
            releases: BTreeMap::new(),
            unknown: 0,
            strange: 0,
            weather: Weather::FAIR,
            islands: Vec::new(),
            lives: BTreeMap::new(),
            calls: 0,
            open: 0,
            open_most: 0,
        };
        Self { memory: MemoryNetwork::new(), state: Arc::new(Mutex::new(state)), dice }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a host answer, as long as it lives.
    pub fn listen(&self, host: &str, node: NodeId, life: &Life, service: Arc<dyn Service>) {
        self.memory.listen(endpoint(host), node, service);
        self.state().lives.insert(host.to_owned(), life.clone());
    }

    /// A host's way to others in one life.
    pub fn transport(&self, host: &str, node: NodeId, life: &Life) -> Arc<dyn Transport> {
        Arc::new(Way {
            network: self.clone(),
            inner: self.memory.transport(node),
            host: host.to_owned(),
            life: life.clone(),
        })
    }

    pub fn set_weather(&self, weather: Weather) {
        trace!("weather {weather:?}");
        self.state().weather = weather;
    }

    /// Cuts these hosts off from all others; they reach each other.
    pub fn cut_off(&self, hosts: impl IntoIterator<Item = String>) {
        let island: BTreeSet<String> = hosts.into_iter().collect();
        trace!("cut off {island:?}");
        self.state().islands.push(island);
    }

    /// Everybody reaches everybody.
    pub fn heal(&self) {
        trace!("the network is whole");
        self.state().islands.clear();
    }

    /// What a host runs from now on.
    pub fn install(&self, host: &str, release: Release) {
        trace!("{host} runs {release:?}");
        self.state().releases.insert(host.to_owned(), release);
    }

    /// Calls that were not understood, and calls between hosts without a common version.
    pub fn misunderstood(&self) -> (u64, u64) {
        let state = self.state();
        (state.unknown, state.strange)
    }

    fn release(&self, host: &str) -> Release {
        self.state().releases.get(host).copied().unwrap_or(Release::PRESENT)
    }

    /// Whether two hosts have a version in common.
    pub fn share_version(&self, one: &str, other: &str) -> bool {
        self.release(one).common(self.release(other)).is_some()
    }

    /// Why a request is refused before anybody looks at what it asks for.
    fn refusal(&self, from: &str, peer: &PeerAddr, request: &Request) -> Option<CallError> {
        let (client, server) = (self.release(from), self.release(host_of(&peer.endpoint)));
        let mut state = self.state();
        if client.common(server).is_none() {
            state.strange += 1;
            let (endpoint, reason) = (peer.endpoint.clone(), DialError::NoCommonVersion);
            return Some(CallError::Unreachable { endpoint, reason });
        }
        if state.releases.is_empty() {
            return None;
        }
        // The first byte of a request is its kind.
        let kind = request.encode().first().copied().unwrap_or(u8::MAX);
        // Software that does not know a request does not send it either.
        if kind >= client.kinds.min(server.kinds) {
            state.unknown += 1;
            return Some(CallError::Refused { code: ErrorCode::Unsupported, detail: "unknown kind".into() });
        }
        None
    }

    /// Hosts that are cut off from this one.
    pub fn reaches(&self, from: &str, to: &str) -> bool {
        self.state().islands.iter().all(|island| island.contains(from) == island.contains(to))
    }

    /// Calls that wait for an answer: now, and at most so far.
    pub fn open_calls(&self) -> (usize, usize) {
        let state = self.state();
        (state.open, state.open_most)
    }

    /// Carries a message.
    async fn pass(&self, from: &str, to: &str) {
        let Weather { latency, loss_percent } = self.state().weather;
        sleep(self.dice.between(latency.0, latency.1)).await;
        for lost in 0..LOST_MAX {
            if !self.dice.percent(loss_percent) {
                break;
            }
            sleep(RESENT_AFTER * (1 << lost)).await;
        }
        while !self.reaches(from, to) {
            sleep(LOOK).await;
        }
        trace::event();
    }
}

/// Counts a call as long as it is open.
struct Open(Network);

impl Open {
    fn new(network: &Network) -> (Self, u64) {
        let mut state = network.state();
        state.open += 1;
        state.open_most = state.open_most.max(state.open);
        state.calls += 1;
        (Self(network.clone()), state.calls)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.state().open -= 1;
    }
}

struct Way {
    network: Network,
    inner: MemoryTransport,
    host: String,
    life: Life,
}

impl Way {
    async fn carry(
        &self,
        peer: &PeerAddr,
        request: Request,
        body: Bytes,
    ) -> Result<(Response, Bytes), CallError> {
        let (network, from, to) = (&self.network, self.host.as_str(), host_of(&peer.endpoint));
        network.pass(from, to).await;
        let life = network.state().lives.get(to).filter(|life| !life.is_over()).cloned();
        let gone =
            || CallError::Unreachable { endpoint: peer.endpoint.clone(), reason: DialError::NobodyThere };
        let Some(life) = life else {
            if network.dice.percent(50) {
                sleep(SILENCE).await;
            }
            return Err(gone());
        };
        if let Some(refused) = network.refusal(from, peer, &request) {
            network.pass(to, from).await;
            return Err(refused);
        }
        let (reply, answer) = oneshot::channel();
        let (inner, address) = (self.inner.clone(), peer.clone());
        life.spawn(async move {
            let served = inner.call(&address, request, body, SERVED_WITHIN).await;
            // The caller may have gone.
            let _ = reply.send(served);
        });
        let Ok(answer) = answer.await else {
            sleep(SILENCE).await;
            return Err(gone());
        };
        network.pass(to, from).await;
        answer
    }
}

#[async_trait]
impl Transport for Way {
    async fn call(
        &self,
        peer: &PeerAddr,
        request: Request,
        body: Bytes,
        deadline: Duration,
    ) -> Result<(Response, Bytes), CallError> {
        if self.life.is_over() {
            std::future::pending::<()>().await;
        }
        let (_open, number) = Open::new(&self.network);
        let (from, to, name) = (&self.host, host_of(&peer.endpoint), name(&request));
        let shard = shard_of(&request).map_or_else(String::new, |shard| format!(" of {}", short(&shard)));
        trace!("call {number} {from} > {to} {name} {}{shard}", body.len());
        let carried = tokio::time::timeout(deadline, self.carry(peer, request, body)).await;
        if self.life.is_over() {
            std::future::pending::<()>().await;
        }
        let outcome = carried.unwrap_or(Err(CallError::Timeout(deadline)));
        match &outcome {
            Ok((_, body)) => trace!("call {number} {from} < {to} {name} {}", body.len()),
            Err(error) => trace!("call {number} {from} < {to} {name}: {error}"),
        }
        outcome
    }
}

/// An address as it stands in traces.
pub fn short(shard: &ShardHash) -> String {
    hex::encode(&shard.0[..4])
}

/// The shard that a call is about, if it is about one.
fn shard_of(request: &Request) -> Option<ShardHash> {
    match request {
        Request::Store(signed) | Request::Delete(signed) | Request::Restore(signed) => {
            Some(signed.command.shard)
        }
        Request::Fetch { shard } | Request::FetchRange { shard, .. } | Request::Challenge { shard, .. } => {
            Some(*shard)
        }
        _ => None,
    }
}

fn name(request: &Request) -> &'static str {
    match request {
        Request::Ping => "ping",
        Request::Store(_) => "store",
        Request::Fetch { .. } => "fetch",
        Request::FetchRange { .. } => "fetch-range",
        Request::Stat { .. } => "stat",
        Request::List { .. } => "list",
        Request::Delete(_) => "delete",
        Request::Restore(_) => "restore",
        Request::Challenge { .. } => "challenge",
        Request::Heartbeat(_) => "heartbeat",
        Request::LedgerPage { .. } => "ledger-page",
        Request::LedgerSince { .. } => "ledger-since",
        Request::LedgerFrom { .. } => "ledger-from",
        Request::Miners { .. } => "miners",
        Request::Custody { .. } => "custody",
        Request::Durability => "durability",
        Request::Unnamed { .. } => "unnamed",
        Request::UnnamedByOthers { .. } => "unnamed-by-others",
        Request::Transitions { .. } => "transitions",
        Request::LedgerBase => "ledger-base",
        Request::Attest => "attest",
        Request::AttestShown => "attest-shown",
        Request::Relocated { .. } => "relocated",
    }
}
