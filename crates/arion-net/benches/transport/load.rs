//! Our transport: a server that stores nothing, and clients that keep it busy.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use arion_net::{
    ClientOptions, Congestion, PeerAddr, QuicServer, QuicTransport, ServerOptions, Service, Transport,
};
use arion_protocol::{Action, Command, Request, Response, ShardPlacement, SignedCommand};
use arion_types::{NodeId, Receipt, ShardHash, SignedReceipt, StripeId, signing};
use async_trait::async_trait;
use bytes::Bytes;
use ed25519_dalek::SigningKey;
use tokio::runtime::{Builder, Runtime};

use crate::{MIB, child};

const DEADLINE: Duration = Duration::from_secs(60);
fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

/// What [`load`] is started with.
pub(crate) fn arguments(
    (addr, control): (&str, &str),
    kind: &str,
    size: usize,
    count: usize,
    in_flight: usize,
    start: &str,
) -> Vec<String> {
    ["load", addr, control, kind, &size.to_string(), &count.to_string(), &in_flight.to_string(), start]
        .map(str::to_owned)
        .to_vec()
}

pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Takes every shard, and has every shard: its length is in the first bytes of its hash.
struct Bottomless {
    bytes: Bytes,
}

#[async_trait]
impl Service for Bottomless {
    async fn serve(&self, _peer: NodeId, request: Request, body: Bytes) -> (Response, Bytes) {
        match request {
            Request::Store(_) => (Response::Stored(receipt(body.len())), Bytes::new()),
            Request::Fetch { shard } => {
                let [a, b, c, d, ..] = shard.0;
                let size = u32::from_le_bytes([a, b, c, d]);
                (Response::Shard { size }, self.bytes.slice(..size as usize))
            }
            _ => (Response::Pong { now: 0 }, Bytes::new()),
        }
    }
}

fn receipt(size: usize) -> SignedReceipt {
    let receipt = Receipt {
        shard: ShardHash([1; 32]),
        size: size as u32,
        stripe: StripeId([2; 32]),
        pg: 1,
        index: 1,
        epoch: 1,
        node_id: NodeId([3; 32]),
        stored_at: 1,
    };
    SignedReceipt { receipt, signature: [4; 64] }
}

fn request(kind: &str, size: usize) -> Request {
    let mut shard = [7; 32];
    shard[..4].copy_from_slice(&(size as u32).to_le_bytes());
    let shard = ShardHash(shard);
    if kind == "fetch" {
        return Request::Fetch { shard };
    }
    let placement =
        ShardPlacement { stripe: StripeId([2; 32]), pg: 1, index: 1, epoch: 1, size: size as u32 };
    let action = Action::Store(placement);
    let command = Command { action, shard, target: NodeId([3; 32]), nonce: [5; 16], expires_at: 6 };
    Request::Store(SignedCommand { command, signer: NodeId([3; 32]), signature: [4; 64] })
}

/// Listens, says where, serves until told to end.
pub(crate) fn serve(bind: &str, control: &str) {
    let runtime = runtime();
    let server = runtime.block_on(async {
        let service = Arc::new(Bottomless { bytes: Bytes::from(vec![0xab; MIB]) });
        let options = ServerOptions {
            connections_max: 4_096,
            connections_per_peer_max: 4_096,
            congestion: congestion(control),
            ..ServerOptions::default()
        };
        QuicServer::bind_with(bind.parse().unwrap(), &key(1), service, options).unwrap()
    });
    println!("{}", server.local_addr());
    let told = runtime.spawn_blocking(child::until_told);
    runtime.block_on(told).unwrap();
}

/// `default`, or the name of a control.
fn congestion(control: &str) -> Congestion {
    match control {
        "default" => Congestion::default(),
        "CUBIC" => Congestion::Cubic,
        "BBR" => Congestion::Bbr,
        "adaptive" => Congestion::Adaptive,
        other => panic!("no such congestion control: {other}"),
    }
}

fn client_options(control: &str) -> ClientOptions {
    ClientOptions { connections_max: 4_096, congestion: congestion(control), ..ClientOptions::default() }
}

/// Prints seconds for all calls, how many this process was on a processor, and the 50th and 99th percentile of one, in
/// microseconds. `start` is `warm`: a sixteenth as many calls go before; or `cold`: the connection stands but has carried
/// nothing when the clock starts.
pub(crate) fn load(arguments: &[&str]) {
    let [addr, control, kind, size, count, in_flight, start] = arguments else { panic!("{arguments:?}") };
    let number = |text: &str| text.parse::<usize>().unwrap();
    let (size, count, in_flight) = (number(size), number(count), number(in_flight));
    let peer = PeerAddr { node_id: signing::node_id(&key(1)), endpoint: (*addr).to_owned() };
    let body = if *kind == "store" { Bytes::from(vec![0xcd; size]) } else { Bytes::new() };
    let call = Call { peer, request: request(kind, size), body, expected: size };
    runtime().block_on(async {
        let transport = QuicTransport::with_options(&key(2), client_options(control)).unwrap();
        transport.call(&call.peer, Request::Ping, Bytes::new(), DEADLINE).await.unwrap();
        if *start == "warm" {
            run(&transport, &call, count / 16, in_flight).await;
        }
        let begun = Instant::now();
        let mut latencies = run(&transport, &call, count, in_flight).await;
        let seconds = begun.elapsed().as_secs_f64();
        latencies.sort_unstable();
        let percentile = |part: usize| latencies[(latencies.len() * part / 100).min(latencies.len() - 1)];
        let busy = child::busy_seconds("self");
        println!("{seconds} {busy} {} {}", percentile(50).as_micros(), percentile(99).as_micros());
        transport.close().await;
    });
}

#[derive(Clone)]
struct Call {
    peer: PeerAddr,
    request: Request,
    body: Bytes,
    expected: usize,
}

impl Call {
    async fn make(&self, transport: &QuicTransport) {
        let answer =
            transport.call(&self.peer, self.request.clone(), self.body.clone(), DEADLINE).await.unwrap();
        match answer {
            (Response::Stored(receipt), _) => assert_eq!(receipt.receipt.size as usize, self.expected),
            (Response::Shard { .. }, body) => assert_eq!(body.len(), self.expected),
            (other, _) => panic!("{other:?}"),
        }
    }
}

async fn run(transport: &QuicTransport, call: &Call, count: usize, in_flight: usize) -> Vec<Duration> {
    let next = Arc::new(AtomicUsize::new(0));
    let latencies = Arc::new(Mutex::new(Vec::with_capacity(count)));
    let workers = (0..in_flight).map(|_| {
        let (transport, call, next, latencies) =
            (transport.clone(), call.clone(), next.clone(), latencies.clone());
        tokio::spawn(async move {
            while next.fetch_add(1, Ordering::Relaxed) < count {
                let begun = Instant::now();
                call.make(&transport).await;
                latencies.lock().unwrap().push(begun.elapsed());
            }
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await.unwrap();
    }
    std::mem::take(&mut *latencies.lock().unwrap())
}

/// Opens connections to as many loopback addresses, uses each once, and leaves them alone until told to end.
pub(crate) fn idle(port: &str, count: &str, bytes: &str) {
    let (count, bytes): (usize, usize) = (count.parse().unwrap(), bytes.parse().unwrap());
    let runtime = runtime();
    runtime.block_on(async {
        let transport = QuicTransport::with_options(&key(2), client_options("default")).unwrap();
        println!("{}", child::resident_mib("self"));
        for number in 0..count {
            let endpoint = format!("127.0.{}.{}:{port}", number / 250, 1 + number % 250);
            let peer = PeerAddr { node_id: signing::node_id(&key(1)), endpoint };
            if bytes == 0 {
                transport.call(&peer, Request::Ping, Bytes::new(), DEADLINE).await.unwrap();
                continue;
            }
            for kind in ["store", "fetch"] {
                let body = if kind == "store" { Bytes::from(vec![0xcd; bytes]) } else { Bytes::new() };
                Call { peer: peer.clone(), request: request(kind, bytes), body, expected: bytes }
                    .make(&transport)
                    .await;
            }
        }
        println!("open");
        tokio::task::spawn_blocking(child::until_told).await.unwrap();
    });
}
