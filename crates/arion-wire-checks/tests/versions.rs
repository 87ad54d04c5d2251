//! Nodes of two versions meet over QUIC: `arion/1` as it is, and a next node that speaks `arion/2` too and knows more of `arion/1` -
//! a request of kind 13, a field appended to `Ping`, and an error code. What may happen is in docs/spec/wire.md, "How the protocol
//! grows".

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use arion_net::{
    CallError, DialError, PeerAddr, ProtocolError, QuicServer, QuicTransport, Service, Transport,
};
use arion_protocol::{
    ALPNS, ErrorCode, FrameError, Request, RequestHeader, Response, ResponseHeader,
    frame::{Envelope, Header, PREFIX_BYTES},
};
use arion_types::NodeId;
use arion_wire_checks::raw::{Shown, client, connect, exchange, key, loopback, node, server};
use async_trait::async_trait;
use bytes::Bytes;
use codec::{Decode, Encode};
use quinn::{Connection, Endpoint, crypto::rustls::HandshakeData};

const DEADLINE: Duration = Duration::from_secs(10);
const OLD: &str = "arion/1";
const NEW: &str = "arion/2";
const NOW: u64 = 7;
/// The request that only the next node knows.
const NEXT_KIND: u8 = Request::KINDS;
/// The code that only the next node knows.
const NEXT_CODE: u8 = 200;

struct Pong;

#[async_trait]
impl Service for Pong {
    async fn serve(&self, _: NodeId, _: Request, _: Bytes) -> (Response, Bytes) {
        (Response::Pong { now: NOW }, Bytes::new())
    }
}

/// A node as of today.
fn old_server() -> QuicServer {
    QuicServer::bind(loopback(), &key(1), Arc::new(Pong)).unwrap()
}

fn framed(header: &impl Encode) -> Vec<u8> {
    let header = header.encode();
    [&(header.len() as u32).to_le_bytes()[..], &header].concat()
}

fn protocol(connection: &Connection) -> String {
    let data = connection.handshake_data().unwrap().downcast::<HandshakeData>().unwrap();
    String::from_utf8(data.protocol.unwrap()).unwrap()
}

/// What the next node answers in `arion/1`. `Ping` may have a number appended, which comes back behind the clock.
fn next_answer(message: &[u8]) -> Vec<u8> {
    let mut fields = &message[PREFIX_BYTES..];
    let Envelope { id, kind, .. } = Envelope::decode(&mut fields).unwrap();
    match (kind, fields) {
        (0, []) => {
            ResponseHeader { id, body_len: 0, response: Response::Pong { now: NOW } }.to_frame().unwrap()
        }
        (0, appended) => framed(&(id, 0u32, 1u8, NOW, u32::decode(&mut &appended[..]).unwrap())),
        (NEXT_KIND, _) => framed(&(id, 0u32, Response::KINDS, b"next".to_vec())),
        // `Attest`, say: refused with the new code.
        (11, _) => framed(&(id, 0u32, 0u8, NEXT_CODE, "a reason of tomorrow")),
        // Breaks the rule that nobody is told what they did not ask for.
        _ => framed(&(id, 0u32, Response::KINDS)),
    }
}

/// A node of tomorrow: in `arion/2` it greets, in `arion/1` it does what `next_answer` says.
fn next_server(versions: &[&str]) -> SocketAddr {
    let endpoint = Endpoint::server(server(&Shown::honest(1), versions).unwrap(), loopback()).unwrap();
    let addr = endpoint.local_addr().unwrap();
    tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            let Ok(connection) = incoming.await else { continue };
            tokio::spawn(async move {
                let version = protocol(&connection);
                while let Ok((mut send, mut recv)) = connection.accept_bi().await {
                    let message = recv.read_to_end(1 << 20).await.unwrap();
                    let answer =
                        if version == NEW { b"arion/2 greets".to_vec() } else { next_answer(&message) };
                    send.write_all(&answer).await.unwrap();
                    send.finish().unwrap();
                }
            });
        }
    });
    addr
}

async fn next_client(addr: SocketAddr, versions: &[&str]) -> Result<Connection, String> {
    connect(addr, client(Some(&Shown::honest(2)), versions).unwrap()).await
}

fn ping(id: u64) -> Vec<u8> {
    RequestHeader { id, body_len: 0, request: Request::Ping }.to_frame().unwrap()
}

async fn answer(connection: &Connection, message: &[u8]) -> ResponseHeader {
    let answer = exchange(connection, message).await.unwrap();
    ResponseHeader::from_bytes(&answer[PREFIX_BYTES..]).unwrap()
}

fn peer(addr: SocketAddr) -> PeerAddr {
    PeerAddr { node_id: node(1), endpoint: addr.to_string() }
}

async fn old_call(addr: SocketAddr, request: Request) -> Result<(Response, Bytes), CallError> {
    QuicTransport::new(&key(2)).unwrap().call(&peer(addr), request, Bytes::new(), DEADLINE).await
}

#[tokio::test]
async fn two_nodes_take_the_best_version_that_both_speak() {
    assert_eq!(ALPNS, [OLD.as_bytes()]);
    let both = next_server(&[NEW, OLD]);
    for (offered, taken) in
        [(&[NEW, OLD][..], NEW), (&[OLD, NEW][..], NEW), (&[NEW][..], NEW), (&[OLD][..], OLD)]
    {
        let connection = next_client(both, offered).await.unwrap();
        assert_eq!(protocol(&connection), taken, "{offered:?}");
        let told = exchange(&connection, &ping(1)).await.unwrap();
        assert_eq!(told == b"arion/2 greets", taken == NEW);
    }
    // The client of today with the server of tomorrow, and the other way round.
    assert_eq!(old_call(both, Request::Ping).await.unwrap().0, Response::Pong { now: NOW });
    let old = old_server();
    let connection = next_client(old.local_addr(), &[NEW, OLD]).await.unwrap();
    assert_eq!(protocol(&connection), OLD);
    assert_eq!(answer(&connection, &ping(5)).await.response, Response::Pong { now: NOW });
}

#[tokio::test]
async fn without_a_version_in_common_there_is_no_connection_and_the_reason_is_told() {
    let old = old_server();
    for offered in [&[NEW][..], &["arion/0"], &["h3"], &[]] {
        let refused = next_client(old.local_addr(), offered).await;
        assert!(refused.is_err(), "{offered:?} was let in");
    }
    let error = old_call(next_server(&[NEW]), Request::Ping).await.unwrap_err();
    assert!(matches!(error, CallError::Unreachable { reason: DialError::NoCommonVersion, .. }), "{error}");
}

#[tokio::test]
async fn an_old_node_refuses_a_request_it_does_not_know_under_its_id() {
    let old = old_server();
    let connection = next_client(old.local_addr(), &[NEW, OLD]).await.unwrap();
    let body = vec![0xaa; 1 << 20];
    let unknown = framed(&(77u64, body.len() as u32, NEXT_KIND, [1u8; 50]));
    for message in [unknown.clone(), [unknown, body].concat()] {
        let refused = answer(&connection, &message).await;
        assert_eq!(refused.id, 77);
        assert!(
            matches!(refused.response, Response::Error { code: ErrorCode::Unsupported, .. }),
            "{refused:?}"
        );
    }
    assert_eq!(answer(&connection, &ping(78)).await.response, Response::Pong { now: NOW });
}

#[tokio::test]
async fn an_old_node_refuses_a_field_it_does_not_know_and_is_asked_without() {
    let with_field = framed(&(5u64, 0u32, 0u8, 99u32));
    let old = old_server();
    let connection = next_client(old.local_addr(), &[NEW, OLD]).await.unwrap();
    let refused = answer(&connection, &with_field).await;
    assert_eq!(refused.id, 5);
    assert!(matches!(refused.response, Response::Error { code: ErrorCode::Unsupported, .. }), "{refused:?}");
    assert_eq!(answer(&connection, &ping(6)).await.response, Response::Pong { now: NOW });

    // Among nodes that know it, in the same version of the protocol, the answer has one more field too.
    let connection = next_client(next_server(&[NEW, OLD]), &[OLD]).await.unwrap();
    assert_eq!(exchange(&connection, &with_field).await.unwrap(), framed(&(5u64, 0u32, 1u8, NOW, 99u32)));
    // Who leaves it out is answered as ever.
    assert_eq!(answer(&connection, &ping(6)).await.response, Response::Pong { now: NOW });
}

#[tokio::test]
async fn an_old_client_reads_a_code_it_does_not_know_as_a_refusal() {
    let error = old_call(next_server(&[NEW, OLD]), Request::Attest).await.unwrap_err();
    let CallError::Refused { code, detail } = error else { panic!("{error}") };
    assert!(matches!(code, ErrorCode::Unknown(_)), "{code}");
    assert_eq!((code.number(), detail.as_str()), (NEXT_CODE, "a reason of tomorrow"));
}

#[tokio::test]
async fn an_old_client_does_not_misread_an_answer_it_did_not_ask_for() {
    let error =
        old_call(next_server(&[NEW, OLD]), Request::Miners { after: None, limit: 1 }).await.unwrap_err();
    let unknown = FrameError::UnknownKind(Response::KINDS);
    let CallError::Protocol(ProtocolError::Frame(error)) = error else { panic!("{error}") };
    assert_eq!(error, unknown);
}
