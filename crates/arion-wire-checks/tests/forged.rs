//! Forged keys, certificates and signatures: the parser refuses them, and both ends of a real handshake.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

use std::{sync::Arc, time::Duration};

use arion_net::{
    CallError, ClientOptions, PeerAddr, QuicServer, QuicTransport, Service, SpkiError, Transport,
    node_id_from_spki,
};
use arion_protocol::{Request, RequestHeader, Response, frame::Header};
use arion_types::NodeId;
use arion_wire_checks::raw::{Shown, Signature, client, connect, exchange, key, loopback, node, server};
use async_trait::async_trait;
use bytes::Bytes;
use quinn::Endpoint;
use rustls::SignatureScheme;

const DEADLINE: Duration = Duration::from_secs(10);
const VERSIONS: &[&str] = &["arion/1"];

struct Pong;

#[async_trait]
impl Service for Pong {
    async fn serve(&self, _: NodeId, _: Request, _: Bytes) -> (Response, Bytes) {
        (Response::Pong { now: 1 }, Bytes::new())
    }
}

struct Forgery {
    verdict: SpkiError,
    der: Vec<u8>,
    reason: &'static str,
}

fn corpus() -> Vec<Forgery> {
    let lines = include_str!("../forged/keys.txt").lines().filter(|line| !line.starts_with('#'));
    let forgeries: Vec<_> = lines
        .map(|line| {
            let mut columns = line.splitn(3, ' ');
            let verdict = match columns.next().unwrap() {
                "encoding" => SpkiError::NotEd25519,
                "key" => SpkiError::WeakKey,
                other => panic!("no such verdict: {other}"),
            };
            let der = hex::decode(columns.next().unwrap().trim_start_matches('-')).unwrap();
            Forgery { verdict, der, reason: columns.next().unwrap() }
        })
        .collect();
    assert!(forgeries.len() > 60);
    forgeries
}

/// Forged keys as the holder of key 2 shows them, then what is forged about a good key.
fn shown() -> Vec<(String, Shown)> {
    let own = Shown::honest(2);
    let mut all: Vec<(String, Shown)> = corpus()
        .into_iter()
        .map(|forgery| (forgery.reason.to_owned(), Shown { public: forgery.der, ..own.clone() }))
        .collect();
    let victim = Shown::honest(3).public;
    all.push(("another node's key, signed with the own".into(), Shown { public: victim, ..own.clone() }));
    let other_schemes = [
        SignatureScheme::ED448,
        SignatureScheme::ECDSA_NISTP256_SHA256,
        SignatureScheme::RSA_PSS_SHA256,
        SignatureScheme::RSA_PKCS1_SHA256,
    ];
    let signatures = [Signature::OtherTranscript, Signature::Zero]
        .into_iter()
        .chain(other_schemes.map(Signature::OtherScheme));
    for signature in signatures {
        all.push((format!("signature: {signature:?}"), Shown { signature, ..own.clone() }));
    }
    let certificate =
        corpus().into_iter().find(|forgery| forgery.reason.starts_with("a certificate (X.509)"));
    let certificate = certificate.unwrap().der;
    all.push(("X.509 offered instead of raw keys".into(), Shown { public: certificate, raw: false, ..own }));
    all
}

#[test]
fn the_parser_refuses_the_corpus() {
    for Forgery { verdict, der, reason } in corpus() {
        assert_eq!(node_id_from_spki(&der), Err(verdict), "{reason}");
    }
}

/// Whether a client that shows this gets an answer.
async fn is_let_in(server: &QuicServer, shown: Option<&Shown>) -> bool {
    let Ok(config) = client(shown, VERSIONS) else { return false };
    let Ok(connection) = connect(server.local_addr(), config).await else { return false };
    let ping = RequestHeader { id: 1, body_len: 0, request: Request::Ping }.to_frame().unwrap();
    exchange(&connection, &ping).await.is_ok_and(|answer| !answer.is_empty())
}

#[tokio::test]
async fn servers_refuse_clients_with_forgeries() {
    let server = QuicServer::bind(loopback(), &key(1), Arc::new(Pong)).unwrap();
    assert!(is_let_in(&server, Some(&Shown::honest(2))).await);
    assert!(!is_let_in(&server, None).await, "no key at all");
    for (reason, shown) in shown() {
        assert!(!is_let_in(&server, Some(&shown)).await, "{reason}");
    }
    assert!(is_let_in(&server, Some(&Shown::honest(2))).await);
}

/// How a call to whoever shows this ends, for a client that wants `wanted`; and whether the other end got a connection.
async fn call(shown: &Shown, wanted: NodeId) -> (Result<(Response, Bytes), CallError>, bool) {
    let endpoint = Endpoint::server(server(shown, VERSIONS).unwrap(), loopback()).unwrap();
    let peer = PeerAddr { node_id: wanted, endpoint: endpoint.local_addr().unwrap().to_string() };
    let served = tokio::spawn(async move {
        let Ok(connection) = endpoint.accept().await.unwrap().await else { return false };
        if let Ok((mut send, mut recv)) = connection.accept_bi().await {
            let _ = recv.read_to_end(1024).await;
            let pong =
                arion_protocol::ResponseHeader { id: 1, body_len: 0, response: Response::Pong { now: 1 } };
            let _ = send.write_all(&pong.to_frame().unwrap()).await;
            let _ = send.finish();
            let _ = send.stopped().await;
        }
        true
    });
    let options = ClientOptions { dial_backoff: Duration::ZERO, ..ClientOptions::default() };
    let client = QuicTransport::with_options(&key(4), options).unwrap();
    let outcome = client.call(&peer, Request::Ping, Bytes::new(), DEADLINE).await;
    client.close().await;
    (outcome, served.await.unwrap())
}

#[tokio::test]
async fn clients_refuse_servers_with_forgeries() {
    let (outcome, connected) = call(&Shown::honest(2), node(2)).await;
    assert!(outcome.is_ok() && connected, "{outcome:?}");
    for (reason, shown) in shown() {
        // The forger's own key and the one that it wants to pass for.
        for wanted in [node(2), node(3)] {
            let (outcome, connected) = call(&shown, wanted).await;
            let Err(CallError::Unreachable { .. } | CallError::WrongIdentity { .. }) = outcome else {
                panic!("{reason}: {outcome:?}")
            };
            assert!(!connected, "{reason}: the client went on");
        }
    }
}
