//! A peer that does not use our client: raw streams with whatever it likes on them, and forged keys.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use arion_net::{QuicServer, ServerOptions, Service, spki};
use arion_protocol::{
    ALPN, ErrorCode, Request, RequestHeader, Response, ResponseHeader,
    frame::{Header, PREFIX_BYTES},
    limits::{BODY_BYTES_MAX, HEADER_BYTES_MAX},
};
use arion_types::{NodeId, ShardHash, signing};
use async_trait::async_trait;
use bytes::Bytes;
use codec::Encode;
use ed25519_dalek::SigningKey;
use quinn::{ClientConfig, Connection, Endpoint, TransportConfig, VarInt, crypto::rustls::QuicClientConfig};
use rustls::{
    DigitallySignedStruct, SignatureScheme,
    client::{
        AlwaysResolvesClientRawPublicKeys,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::ring as provider,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime},
    sign::CertifiedKey,
};

const DEADLINE: Duration = Duration::from_secs(10);

struct Pong;

#[async_trait]
impl Service for Pong {
    async fn serve(&self, _peer: NodeId, _request: Request, _body: Bytes) -> (Response, Bytes) {
        (Response::Pong { now: 1 }, Bytes::new())
    }
}

#[derive(Debug)]
struct Trusting;

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn pkcs8(key: &SigningKey) -> Vec<u8> {
    let prefix =
        [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
    [&prefix[..], key.as_bytes()].concat()
}

/// Connects with key 2 as secret key and `public` as the public key presented; `None`: no key at all.
async fn connect(server: SocketAddr, public: Option<Vec<u8>>, alpn: &[u8]) -> Result<Connection, String> {
    connect_with(server, public, alpn, TransportConfig::default()).await
}

async fn connect_with(
    server: SocketAddr,
    public: Option<Vec<u8>>,
    alpn: &[u8],
    transport: TransportConfig,
) -> Result<Connection, String> {
    let connection = dial(&key(2), server, public, alpn, transport).await?;
    // In TLS 1.3 the client is done before the server has judged its key: a request shows the verdict.
    let (mut send, mut recv) = connection.open_bi().await.map_err(|error| error.to_string())?;
    let frame = RequestHeader { id: 1, request: Request::Ping, body_len: 0 }.to_frame().unwrap();
    let _ = send.write_all(&frame).await;
    let _ = send.finish();
    recv.read_to_end(1024).await.map_err(|error| format!("{error:?}"))?;
    Ok(connection)
}

/// As far as the client can tell.
async fn dial(
    secret: &SigningKey,
    server: SocketAddr,
    public: Option<Vec<u8>>,
    alpn: &[u8],
    transport: TransportConfig,
) -> Result<Connection, String> {
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(provider::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trusting));
    let mut config = match public {
        Some(public) => {
            let secret = provider::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(pkcs8(secret))).unwrap();
            let certified = CertifiedKey::new(vec![CertificateDer::from(public)], secret);
            builder.with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(Arc::new(
                certified,
            ))))
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![alpn.to_vec()];
    let endpoint = Endpoint::client(([127, 0, 0, 1], 0).into()).unwrap();
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).unwrap()));
    config.transport_config(Arc::new(transport));
    endpoint.connect_with(config, server, "arion").unwrap().await.map_err(|error| error.to_string())
}

fn server(options: ServerOptions) -> QuicServer {
    QuicServer::bind_with(([127, 0, 0, 1], 0).into(), &key(1), Arc::new(Pong), options).unwrap()
}

async fn honest(server: &QuicServer) -> Connection {
    let public = spki(&signing::node_id(&key(2))).to_vec();
    connect(server.local_addr(), Some(public), ALPN).await.unwrap()
}

async fn connected(server: &QuicServer, seed: u8) -> Connection {
    let key = key(seed);
    let public = spki(&signing::node_id(&key)).to_vec();
    dial(&key, server.local_addr(), Some(public), ALPN, TransportConfig::default()).await.unwrap()
}

/// Sends `bytes` and returns the answer.
async fn raw(connection: &Connection, bytes: &[u8]) -> ResponseHeader {
    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    let _ = send.write_all(bytes).await;
    let _ = send.finish();
    let answer = tokio::time::timeout(DEADLINE, recv.read_to_end(1024)).await.unwrap().unwrap();
    ResponseHeader::from_bytes(&answer[PREFIX_BYTES..]).unwrap()
}

fn is_malformed(answer: &ResponseHeader) -> bool {
    matches!(answer.response, Response::Error { code: ErrorCode::Malformed, .. })
}

#[tokio::test]
async fn frames_beyond_the_caps_are_refused_before_they_are_read() {
    let server = server(ServerOptions::default());
    let connection = honest(&server).await;
    let long_header = raw(&connection, &(HEADER_BYTES_MAX + 1).to_le_bytes()).await;
    assert!(is_malformed(&long_header) && long_header.id == 0, "{long_header:?}");

    let header = RequestHeader { id: 9, request: Request::Ping, body_len: BODY_BYTES_MAX + 1 }.encode();
    let long_body =
        raw(&connection, &[&(header.len() as u32).to_le_bytes(), header.as_slice()].concat()).await;
    assert!(is_malformed(&long_body), "{long_body:?}");

    let short = raw(&connection, &[&9u32.to_le_bytes(), &[0xee; 9][..]].concat()).await;
    assert!(is_malformed(&short) && short.id == 0, "{short:?}");

    let mut trailing = RequestHeader { id: 9, request: Request::Ping, body_len: 0 }.to_frame().unwrap();
    trailing.push(0);
    let trailing = raw(&connection, &trailing).await;
    assert!(is_malformed(&trailing) && trailing.id == 9, "{trailing:?}");

    let short = RequestHeader { id: 9, request: Request::Ping, body_len: 5 }.to_frame().unwrap();
    assert!(is_malformed(&raw(&connection, &short).await));

    // The connection is still good for honest requests.
    let ping = RequestHeader { id: 9, request: Request::Ping, body_len: 0 }.to_frame().unwrap();
    assert_eq!(raw(&connection, &ping).await.response, Response::Pong { now: 1 });
}

#[tokio::test]
async fn a_request_that_never_ends_is_dropped_at_its_deadline() {
    let options = ServerOptions {
        requests_max: 1,
        header_timeout: Duration::from_millis(200),
        body_timeout: Duration::from_millis(200),
        ..ServerOptions::default()
    };
    let server = server(options);
    let connection = honest(&server).await;
    let body_less = RequestHeader { id: 9, request: Request::Ping, body_len: 5 }.to_frame().unwrap();
    for started in [&[1, 0][..], &body_less] {
        let (mut send, mut recv) = connection.open_bi().await.unwrap();
        send.write_all(started).await.unwrap();
        let end = tokio::time::timeout(DEADLINE, recv.read_to_end(1024)).await.unwrap();
        assert!(end.is_err(), "{end:?}");
    }
}

/// Works for the key of seed 2 only, and counts what it serves of others.
#[derive(Default)]
struct Choosy {
    strangers: AtomicUsize,
}

#[async_trait]
impl Service for Choosy {
    fn knows(&self, peer: &NodeId) -> bool {
        *peer == signing::node_id(&key(2))
    }

    async fn serve(&self, peer: NodeId, _request: Request, _body: Bytes) -> (Response, Bytes) {
        if !self.knows(&peer) {
            self.strangers.fetch_add(1, Ordering::SeqCst);
        }
        (Response::Pong { now: 1 }, Bytes::new())
    }
}

fn ping(body_len: u32) -> Vec<u8> {
    RequestHeader { id: 9, request: Request::Ping, body_len }.to_frame().unwrap()
}

/// A slot was taken before anything was known of a peer: two keys that anybody can make held all of them with one byte each.
#[tokio::test]
async fn strangers_that_stall_leave_the_slots_of_others_alone() {
    let service = Arc::new(Choosy::default());
    let options = ServerOptions { requests_max: 8, stranger_requests_max: 4, ..ServerOptions::default() };
    let server =
        QuicServer::bind_with(([127, 0, 0, 1], 0).into(), &key(1), service.clone(), options).unwrap();
    let known = connected(&server, 2).await;
    let mut stalled = Vec::new();
    for seed in [7, 8] {
        let stranger = connected(&server, seed).await;
        for _ in 0..16 {
            let mut stream = stranger.open_bi().await.unwrap();
            let _ = stream.0.write_all(&[1]).await;
            stalled.push((stranger.clone(), stream));
        }
    }
    // A stranger is turned away by now, the known peer is not.
    let turned_away = async {
        loop {
            let (mut send, mut recv) = stalled[0].0.open_bi().await.unwrap();
            let _ = send.write_all(&ping(0)).await;
            let _ = send.finish();
            if recv.read_to_end(1024).await.is_err() {
                return;
            }
        }
    };
    tokio::time::timeout(DEADLINE, turned_away).await.unwrap();
    assert_eq!(raw(&known, &ping(0)).await.response, Response::Pong { now: 1 });
}

#[tokio::test]
async fn the_body_of_a_stranger_is_not_read() {
    let service = Arc::new(Choosy::default());
    let options = ServerOptions::default();
    let server =
        QuicServer::bind_with(([127, 0, 0, 1], 0).into(), &key(1), service.clone(), options).unwrap();
    let stranger = connected(&server, 7).await;
    // None of its bytes ever comes: the answer does.
    let (mut send, mut recv) = stranger.open_bi().await.unwrap();
    send.write_all(&ping(BODY_BYTES_MAX)).await.unwrap();
    let answer = tokio::time::timeout(DEADLINE, recv.read_to_end(1024)).await.unwrap().unwrap();
    let answer = ResponseHeader::from_bytes(&answer[PREFIX_BYTES..]).unwrap();
    assert!(matches!(answer.response, Response::Error { code: ErrorCode::NotRegistered, .. }), "{answer:?}");
    assert_eq!(service.strangers.load(Ordering::SeqCst), 0);
    // Without one it may ask, as for the time of day.
    assert_eq!(raw(&stranger, &ping(0)).await.response, Response::Pong { now: 1 });
    assert_eq!(service.strangers.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn strangers_have_a_part_of_the_connections() {
    let options = ServerOptions { stranger_connections_max: 2, ..ServerOptions::default() };
    let service = Arc::new(Choosy::default());
    let server = QuicServer::bind_with(([127, 0, 0, 1], 0).into(), &key(1), service, options).unwrap();
    let strangers = [connected(&server, 7).await, connected(&server, 8).await];
    for stranger in &strangers {
        assert_eq!(raw(stranger, &ping(0)).await.response, Response::Pong { now: 1 });
    }
    let third = connected(&server, 9).await;
    assert!(
        tokio::time::timeout(DEADLINE, third.closed()).await.unwrap().to_string().contains("unregistered")
    );
    let known = connected(&server, 2).await;
    assert_eq!(raw(&known, &ping(0)).await.response, Response::Pong { now: 1 });
}

#[tokio::test]
async fn forged_keys_do_not_get_in() {
    let server = server(ServerOptions::default());
    let addr = server.local_addr();
    let own = spki(&signing::node_id(&key(2))).to_vec();
    let victim = spki(&signing::node_id(&key(3))).to_vec();
    let mut x25519 = own.clone();
    x25519[8] = 0x6e;
    let forged = [
        ("another node's key", Some(victim.clone())),
        ("own key behind another node's", Some([victim.as_slice(), &own].concat())),
        ("trailing byte", Some([own.as_slice(), &[0]].concat())),
        ("X25519 identifier", Some(x25519)),
        ("bare key", Some(own[12..].to_vec())),
        ("small-order key", Some(spki(&NodeId([0; 32])).to_vec())),
        ("empty key", Some(vec![])),
        ("no key", None),
    ];
    for (what, public) in forged {
        assert!(connect(addr, public, ALPN).await.is_err(), "{what} was let in");
    }
    assert!(connect(addr, Some(own.clone()), b"arion/0").await.is_err(), "wrong ALPN was let in");
    connect(addr, Some(own), ALPN).await.unwrap();
}

/// A megabyte that counts as long as it is in memory.
struct Counted(Vec<u8>, Arc<AtomicUsize>);

impl Counted {
    fn bytes(live: &Arc<AtomicUsize>) -> Bytes {
        live.fetch_add(1, Ordering::SeqCst);
        Bytes::from_owner(Self(vec![7; 1 << 20], live.clone()))
    }
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.fetch_sub(1, Ordering::SeqCst);
    }
}

struct Large {
    live: Arc<AtomicUsize>,
}

#[async_trait]
impl Service for Large {
    async fn serve(&self, _peer: NodeId, request: Request, _body: Bytes) -> (Response, Bytes) {
        if request == Request::Ping {
            return (Response::Pong { now: 1 }, Bytes::new());
        }
        (Response::Shard { size: 1 << 20 }, Counted::bytes(&self.live))
    }
}

/// What it asked for stays in memory within its share, and not for long.
#[tokio::test]
async fn a_peer_that_asks_and_does_not_read_holds_no_more_than_its_share() {
    let service = Arc::new(Large { live: Arc::default() });
    let options = ServerOptions {
        requests_per_peer_max: 8,
        response_timeout: Duration::from_millis(500),
        ..ServerOptions::default()
    };
    let addr = ([127, 0, 0, 1], 0).into();
    let server = QuicServer::bind_with(addr, &key(1), service.clone(), options).unwrap();
    let public = spki(&signing::node_id(&key(2))).to_vec();
    let mut silent = TransportConfig::default();
    silent.stream_receive_window(VarInt::from_u32(10_000));
    let connection = connect_with(server.local_addr(), Some(public), ALPN, silent).await.unwrap();
    let request = Request::Fetch { shard: ShardHash([1; 32]) };
    let ask = RequestHeader { id: 1, body_len: 0, request }.to_frame().unwrap();
    let mut unread = Vec::new();
    let mut refused = 0;
    for _ in 0..64 {
        let (mut send, mut recv) = connection.open_bi().await.unwrap();
        send.write_all(&ask).await.unwrap();
        send.finish().unwrap();
        // Either the first bytes of the answer, or the refusal.
        let begun = tokio::time::timeout(DEADLINE, recv.read_exact(&mut [0; 4])).await.unwrap();
        refused += usize::from(begun.is_err());
        unread.push(recv);
        assert!(service.live.load(Ordering::SeqCst) <= 8);
    }
    assert!(refused > 0, "64 answers of 1 MiB are on their way");
    let start = std::time::Instant::now();
    while service.live.load(Ordering::SeqCst) > 0 {
        assert!(start.elapsed() < DEADLINE, "answers nobody reads are kept");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(unread);
}
