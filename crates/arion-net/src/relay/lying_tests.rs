//! Relays that do not keep to the protocol, and one node too many of them.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use arion_protocol::{
    ErrorCode, Request, Response,
    relay::{RelayAnswer, RelayOrder, RelayRequest},
};
use arion_types::{NodeId, signing};
use async_trait::async_trait;
use bytes::Bytes;
use ed25519_dalek::SigningKey;
use quinn::{Connection, Endpoint, EndpointConfig, TransportConfig};

use super::{
    Admission, RelayAddr, RelayError, RelayOptions, RelayServer, relay_server_config,
    stream::{answer, ask, read},
};
use crate::{
    CallError, ClientOptions, DialError, PeerAddr, QuicServer, QuicTransport, Service, Transport,
    server::{open_endpoint, open_socket},
    tls::TlsIdentity,
};

const DEADLINE: Duration = Duration::from_secs(10);

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn node(seed: u8) -> NodeId {
    signing::node_id(&key(seed))
}

fn loopback() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

struct Pong;

#[async_trait]
impl Service for Pong {
    async fn serve(&self, _: NodeId, _: Request, _: Bytes) -> (Response, Bytes) {
        (Response::Pong { now: 1 }, Bytes::new())
    }
}

/// The endpoint of a relay with key 1, for a test to answer by hand.
fn liar(transport: Option<TransportConfig>) -> (Endpoint, RelayAddr) {
    let mut config = relay_server_config(&TlsIdentity::new(&key(1)).unwrap()).unwrap();
    if let Some(transport) = transport {
        config.transport_config(Arc::new(transport));
    }
    let socket = open_socket(loopback()).unwrap();
    let (endpoint, addr) = open_endpoint(socket, EndpointConfig::default(), Some(config)).unwrap();
    (endpoint, RelayAddr::new(node(1), &addr.to_string()).unwrap())
}

/// The next connection; its first request is answered with `reply`.
async fn next(endpoint: &Endpoint, reply: RelayAnswer) -> (Connection, RelayRequest) {
    let connection = endpoint.accept().await.unwrap().await.unwrap();
    let (mut send, mut recv) = connection.accept_bi().await.unwrap();
    let request = read(&mut recv).await.unwrap();
    answer(&mut send, &reply).await;
    (connection, request)
}

/// Carries datagrams from one connection to another, changed by `change`.
fn carry(from: &Connection, to: &Connection, change: fn(Bytes) -> Bytes) {
    let (from, to) = (from.clone(), to.clone());
    tokio::spawn(async move {
        while let Ok(datagram) = from.read_datagram().await {
            let _ = to.send_datagram(change(datagram));
        }
    });
}

async fn ping(client: &QuicTransport, relay: &RelayAddr, seed: u8) -> Result<(Response, Bytes), CallError> {
    let peer = PeerAddr { node_id: node(seed), endpoint: relay.to_string() };
    client.call(&peer, Request::Ping, Bytes::new(), DEADLINE).await
}

/// A relay that connects the caller of node 2 to node 9 instead.
async fn divert(change: fn(Bytes) -> Bytes, wanted: u8) -> Result<(Response, Bytes), CallError> {
    let (endpoint, relay) = liar(None);
    let impostor = QuicServer::bind(loopback(), &key(9), Arc::new(Pong)).unwrap();
    let attachment = impostor.attach(relay.clone()).unwrap();
    let lying = tokio::spawn(async move {
        let observed = "192.0.2.1:1".parse::<SocketAddr>().unwrap().into();
        let (attached, request) = next(&endpoint, RelayAnswer::Attached { observed }).await;
        assert_eq!(request, RelayRequest::Attach);
        let (caller, _) = next(&endpoint, RelayAnswer::Reached { channel: 1 }).await;
        carry(&caller, &attached, change);
        carry(&attached, &caller, change);
        (endpoint, attached, caller)
    });
    let options = ClientOptions { dial_timeout: Duration::from_secs(2), ..ClientOptions::default() };
    let mut waiting = attachment.clone();
    waiting.attached().await;
    let client = QuicTransport::with_options(&key(3), options).unwrap();
    let outcome = ping(&client, &relay, wanted).await;
    drop(lying.await.unwrap());
    outcome
}

#[tokio::test]
async fn a_relay_that_connects_to_somebody_else_is_found_out() {
    let error = divert(|datagram| datagram, 2).await.unwrap_err();
    let CallError::WrongIdentity { expected, presented } = error else { panic!("{error}") };
    assert_eq!((expected, presented), (node(2), node(9)));
    // The same relay with the right node behind it.
    divert(|datagram| datagram, 9).await.unwrap();
}

#[tokio::test]
async fn a_relay_that_changes_packets_changes_nothing_but_whether_they_arrive() {
    let error = divert(
        |datagram| {
            let mut bytes = datagram.to_vec();
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            bytes.into()
        },
        9,
    )
    .await
    .unwrap_err();
    assert!(matches!(error, CallError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn a_relay_that_answers_something_else_or_takes_no_datagrams_is_no_relay() {
    let client = QuicTransport::new(&key(3)).unwrap();
    let (endpoint, relay) = liar(None);
    let lying = tokio::spawn(async move { (next(&endpoint, RelayAnswer::Done).await, endpoint) });
    let error = ping(&client, &relay, 2).await.unwrap_err();
    assert!(
        matches!(error, CallError::Unreachable { reason: DialError::Relay(RelayError::Protocol), .. }),
        "{error}"
    );
    drop(lying.await.unwrap());

    let mut transport = TransportConfig::default();
    transport.datagram_receive_buffer_size(None);
    let (endpoint, relay) = liar(Some(transport));
    let accepting = tokio::spawn(async move { (endpoint.accept().await.unwrap().await, endpoint) });
    let error = ping(&client, &relay, 2).await.unwrap_err();
    assert!(
        matches!(error, CallError::Unreachable { reason: DialError::Relay(RelayError::NoDatagrams), .. }),
        "{error}"
    );
    drop(accepting.await.unwrap());
}

/// Whatever a relay orders, a node sends little, and to single hosts only.
#[tokio::test]
async fn a_relay_has_the_way_in_opened_and_no_more() {
    let (endpoint, relay) = liar(None);
    let server = QuicServer::bind(loopback(), &key(9), Arc::new(Pong)).unwrap();
    let mut attachment = server.attach(relay).unwrap();
    let observed = loopback().ip();
    let observed = SocketAddr::new(observed, 1).into();
    let (attached, _) = next(&endpoint, RelayAnswer::Attached { observed }).await;
    attachment.attached().await;

    let caller = tokio::net::UdpSocket::bind(loopback()).await.unwrap();
    let order = |address: SocketAddr| RelayOrder::Punch { address: address.into() };
    let here = order(caller.local_addr().unwrap());
    assert_eq!(ask(&attached, &here).await.unwrap(), RelayAnswer::Done);
    let mut packet = [0xff; 64];
    let (len, from) = tokio::time::timeout(DEADLINE, caller.recv_from(&mut packet)).await.unwrap().unwrap();
    // From the socket it listens on; nothing that QUIC takes for a packet.
    assert_eq!((&packet[..len], from), (&[0; 8][..], server.local_addr()));

    let refused = |outcome: Result<RelayAnswer, DialError>, wanted| match outcome.unwrap_err() {
        DialError::Relay(RelayError::Refused(code)) => assert_eq!(code, wanted),
        error => panic!("{error}"),
    };
    refused(ask(&attached, &order("224.0.0.1:1".parse().unwrap())).await, ErrorCode::Malformed);
    refused(ask(&attached, &0xffu8).await, ErrorCode::Malformed);
    let mut outcome = ask(&attached, &here).await;
    for _ in 0..20 {
        if outcome.is_err() {
            break;
        }
        outcome = ask(&attached, &here).await;
    }
    refused(outcome, ErrorCode::Busy);
    assert!(server.shutdown(DEADLINE).await);
}

struct Everybody;

impl Admission for Everybody {
    fn may_attach(&self, _: &NodeId) -> Result<(), ErrorCode> {
        Ok(())
    }

    fn may_reach(&self, _: &NodeId) -> Result<(), ErrorCode> {
        Ok(())
    }
}

#[tokio::test]
async fn a_client_keeps_connections_to_so_many_relays_and_no_more() {
    let options = RelayOptions { connections_per_node_max: 1_000, ..RelayOptions::default() };
    let everywhere = ([0, 0, 0, 0], 0).into();
    let server = RelayServer::bind(everywhere, &key(1), Arc::new(Everybody), options).unwrap();
    let port = server.local_addr().port();
    let client = QuicTransport::new(&key(3)).unwrap();
    let relay = |last: usize| RelayAddr::new(node(1), &format!("127.0.0.{last}:{port}")).unwrap();
    for last in 1..=super::dial::RELAYS_MAX {
        let error = ping(&client, &relay(last), 2).await.unwrap_err();
        let CallError::Unreachable { reason: DialError::Relay(RelayError::Refused(code)), .. } = error else {
            panic!("{error}")
        };
        assert_eq!(code, ErrorCode::NotFound);
    }
    let error = ping(&client, &relay(super::dial::RELAYS_MAX + 1), 2).await.unwrap_err();
    assert!(
        matches!(error, CallError::Unreachable { reason: DialError::Relay(RelayError::TooManyRelays), .. }),
        "{error}"
    );
    // Those known are still there.
    assert!(ping(&client, &relay(1), 2).await.unwrap_err().to_string().contains("not attached"));
}
