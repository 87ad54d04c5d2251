//! Traffic keys are replaced while bytes flow. QUIC does not show its keys: what it traces is counted.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

use std::{
    fmt::Debug,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use arion_net::{
    ClientOptions, KeyLifetime, PeerAddr, QuicServer, QuicTransport, ServerOptions, Service, Transport,
};
use arion_protocol::{Request, Response};
use arion_types::{NodeId, signing};
use async_trait::async_trait;
use bytes::Bytes;
use ed25519_dalek::SigningKey;
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

const DEADLINE: Duration = Duration::from_secs(20);
const NEVER: KeyLifetime = KeyLifetime { bytes: u64::MAX, time: Duration::from_secs(86_400) };

static UPDATES: AtomicUsize = AtomicUsize::new(0);

struct Updates;

struct IsUpdate(bool);

impl Visit for IsUpdate {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0 |= field.name() == "message" && format!("{value:?}") == "executing key update";
    }
}

impl Subscriber for Updates {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("quinn_proto")
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut found = IsUpdate(false);
        event.record(&mut found);
        UPDATES.fetch_add(usize::from(found.0), Ordering::SeqCst);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Echo;

#[async_trait]
impl Service for Echo {
    async fn serve(&self, _peer: NodeId, _request: Request, body: Bytes) -> (Response, Bytes) {
        (Response::Pong { now: 1 }, body)
    }
}

struct Pair {
    // Serves as long as it is there.
    _server: QuicServer,
    client: QuicTransport,
    peer: PeerAddr,
}

impl Pair {
    fn new(server_keys: KeyLifetime, client_keys: KeyLifetime) -> Self {
        let key = |seed| SigningKey::from_bytes(&[seed; 32]);
        let options = ServerOptions { keys: server_keys, ..ServerOptions::default() };
        let server =
            QuicServer::bind_with(([127, 0, 0, 1], 0).into(), &key(1), Arc::new(Echo), options).unwrap();
        let options = ClientOptions { keys: client_keys, ..ClientOptions::default() };
        let client = QuicTransport::with_options(&key(2), options).unwrap();
        let peer = PeerAddr { node_id: signing::node_id(&key(1)), endpoint: server.local_addr().to_string() };
        Self { _server: server, client, peer }
    }

    async fn echo(&self, length: usize) {
        let body = Bytes::from(vec![7; length]);
        let (_, back) = self.client.call(&self.peer, Request::Ping, body.clone(), DEADLINE).await.unwrap();
        assert_eq!(back, body);
    }
}

/// One test: they count in the same place. Every update is executed at both ends.
#[tokio::test]
async fn keys_are_replaced_after_bytes_and_after_time_and_transfers_go_on() {
    tracing::subscriber::set_global_default(Updates).unwrap();

    let pair = Pair::new(NEVER, NEVER);
    for _ in 0..20 {
        pair.echo(100_000).await;
    }
    // QUIC of its own accord replaces the keys once, early, for either end to see that it works.
    assert!(UPDATES.swap(0, Ordering::SeqCst) <= 4);

    let few_bytes = KeyLifetime { bytes: 300_000, ..NEVER };
    let short = KeyLifetime { time: Duration::from_millis(20), ..NEVER };
    for (server, client) in
        [(NEVER, few_bytes), (few_bytes, NEVER), (few_bytes, few_bytes), (NEVER, short), (short, NEVER)]
    {
        let pair = Pair::new(server, client);
        let start = Instant::now();
        while UPDATES.load(Ordering::SeqCst) < 20 {
            assert!(
                start.elapsed() < DEADLINE,
                "{} updates by {server:?} {client:?}",
                UPDATES.load(Ordering::SeqCst)
            );
            pair.echo(100_000).await;
        }
        pair.echo(1_000_000).await;
        UPDATES.store(0, Ordering::SeqCst);
    }
}
