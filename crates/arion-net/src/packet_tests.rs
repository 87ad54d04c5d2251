//! How long packets become, over paths that carry long ones and over one that does not.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use arion_protocol::{Request, Response};
use arion_types::{NodeId, signing};
use async_trait::async_trait;
use bytes::Bytes;
use ed25519_dalek::SigningKey;
use tokio::net::UdpSocket;

use crate::{PeerAddr, QuicServer, QuicTransport, Service, Transport};

const DEADLINE: Duration = Duration::from_secs(10);
/// What Ethernet carries of UDP.
const ETHERNET_BYTES: usize = 1_472;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn loopback() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

struct Echo;

#[async_trait]
impl Service for Echo {
    async fn serve(&self, _: NodeId, _: Request, body: Bytes) -> (Response, Bytes) {
        (Response::Pong { now: 7 }, body)
    }
}

/// Forwards datagrams of one client as a line of Ethernet would: longer ones are lost.
async fn ethernet(server: SocketAddr) -> SocketAddr {
    let (front, back) =
        (UdpSocket::bind(loopback()).await.unwrap(), UdpSocket::bind(loopback()).await.unwrap());
    back.connect(server).await.unwrap();
    let addr = front.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut up, mut down, mut client) = (vec![0; 65_536], vec![0; 65_536], None);
        loop {
            tokio::select! {
                Ok((length, from)) = front.recv_from(&mut up) => {
                    client = Some(from);
                    if length <= ETHERNET_BYTES {
                        let _ = back.send(&up[..length]).await;
                    }
                }
                Ok(length) = back.recv(&mut down) => {
                    if let (Some(client), true) = (client, length <= ETHERNET_BYTES) {
                        let _ = front.send_to(&down[..length], client).await;
                    }
                }
            }
        }
    });
    addr
}

/// Sends bodies to and fro until `enough` of the packets' length, and returns it.
async fn exchange_until(addr: SocketAddr, enough: impl Fn(u16) -> bool) -> u16 {
    let client = QuicTransport::new(&key(2)).unwrap();
    let peer = PeerAddr { node_id: signing::node_id(&key(1)), endpoint: addr.to_string() };
    let body = Bytes::from(vec![5; 256 << 10]);
    let start = Instant::now();
    loop {
        let (_, back) = client.call(&peer, Request::Ping, body.clone(), DEADLINE).await.unwrap();
        assert_eq!(back, body);
        let standing = client.shared.pool.peer(&peer).await.standing().unwrap();
        let length = standing.connection.stats().path.current_mtu;
        if enough(length) || start.elapsed() > DEADLINE {
            return length;
        }
    }
}

#[tokio::test]
async fn packets_become_as_long_as_the_path_carries() {
    let server = QuicServer::bind(loopback(), &key(1), Arc::new(Echo)).unwrap();
    let length = exchange_until(server.local_addr(), |length| length > 6_400).await;
    assert!((6_401..=6_500).contains(&length), "packets of {length} bytes over loopback");
}

#[tokio::test]
async fn on_ethernet_they_stay_short_and_everything_arrives() {
    let server = QuicServer::bind(loopback(), &key(1), Arc::new(Echo)).unwrap();
    let addr = ethernet(server.local_addr()).await;
    let length = exchange_until(addr, |length| length > 1_400).await;
    assert!((1_401..=ETHERNET_BYTES as u16).contains(&length), "packets of {length} bytes over Ethernet");
}
