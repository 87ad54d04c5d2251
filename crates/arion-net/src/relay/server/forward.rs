//! Packets from one end of a channel to the other.

use std::{sync::Arc, time::Instant};

use arion_protocol::relay::split_datagram;
use bytes::Bytes;

use super::{State, channel::Peer, stats::Dropped};

/// Forwards what arrives on one connection until it ends.
pub(super) async fn run(state: Arc<State>, peer: Arc<Peer>) {
    while let Ok(datagram) = peer.connection.read_datagram().await {
        match forward(&peer, datagram, Instant::now()) {
            Ok(bytes) => state.counters.forwarded(bytes),
            Err(why) => state.counters.dropped(why),
        }
    }
}

/// Sends a datagram to the other end of its channel; its length if it went there.
fn forward(peer: &Peer, datagram: Bytes, now: Instant) -> Result<usize, Dropped> {
    let (number, packet) = split_datagram(&datagram).ok_or(Dropped::Length)?;
    if packet.is_empty() {
        return Err(Dropped::Length);
    }
    let channel = peer.channel(number);
    let Some((channel, other)) = channel.and_then(|channel| Some((channel.clone(), channel.other()?))) else {
        peer.say_gone(number);
        return Err(Dropped::Channel);
    };
    let bytes = datagram.len();
    if !channel.may_pass(bytes, now) {
        return Err(Dropped::Rate);
    }
    // What waits already goes first: it would be dropped for this one.
    if other.connection.datagram_send_buffer_space() < bytes {
        return Err(Dropped::Full);
    }
    other.connection.send_datagram(datagram).map_err(|_| Dropped::Full)?;
    Ok(bytes)
}
