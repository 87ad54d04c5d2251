//! QUIC settings shared by clients and servers.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use ed25519_dalek::SigningKey;
use quinn::{EndpointConfig, IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};
use quinn_proto::HashedConnectionIdGenerator;
use socket2::{Domain, Protocol, Socket, Type};

use crate::congestion::Congestion;

/// Bytes in flight one connection may have: 1 Gbit/s at 200 ms.
const BANDWIDTH_DELAY_BYTES: u32 = 25_000_000;
/// Bytes in flight one stream may have: a whole shard with its header fits.
const STREAM_WINDOW_BYTES: u32 = 2 << 20;
/// A silent connection is dropped after this time...
const IDLE_TIMEOUT_MS: u32 = 15_000;
/// ... and does not fall silent while both ends live.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// Notices a server may have under way to a client, which is who opens the other streams.
const NOTICES_MAX: u32 = 1;
/// Longest packet, where the path carries it: loopback and networks with jumbo frames. Ten of them are the most that quinn hands
/// over in one call, which the kernel takes up to 65,507 bytes of.
const UDP_PAYLOAD_BYTES_MAX: u16 = 6_500;
/// Asked of the operating system; it gives what it allows.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;

/// `streams_max` is how many requests the peer may have open at once on one connection.
pub(crate) fn transport_config(streams_max: u32, congestion: Congestion) -> Arc<TransportConfig> {
    Arc::new(transport(streams_max, congestion))
}

/// The same, to be changed.
pub(crate) fn transport(streams_max: u32, congestion: Congestion) -> TransportConfig {
    let mut config = TransportConfig::default();
    let mut discovery = MtuDiscoveryConfig::default();
    discovery.upper_bound(UDP_PAYLOAD_BYTES_MAX);
    config
        .mtu_discovery_config(Some(discovery))
        .congestion_controller_factory(congestion.factory())
        .max_concurrent_bidi_streams(VarInt::from_u32(streams_max))
        .max_concurrent_uni_streams(VarInt::from_u32(if streams_max == 0 { NOTICES_MAX } else { 0 }))
        .receive_window(VarInt::from_u32(BANDWIDTH_DELAY_BYTES))
        .send_window(u64::from(BANDWIDTH_DELAY_BYTES))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_TIMEOUT_MS))))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .enable_segmentation_offload(true);
    config
}

/// Settings of a server's endpoint. The keys for stateless resets and connection ids follow from the node key, so that a
/// restarted node recognises its old connections and tells their peers at once that they are gone.
pub(crate) fn server_endpoint_config(key: &SigningKey) -> EndpointConfig {
    let reset_key = blake3::derive_key("arion 2026-11 quic stateless reset v1", key.as_bytes());
    let id_key = blake3::derive_key("arion 2026-11 quic connection id v1", key.as_bytes());
    let id_key = id_key.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte));
    let mut config = EndpointConfig::new(Arc::new(ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &reset_key)));
    config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(id_key)));
    config
}

/// Lets an endpoint take the longest packets that ours send.
pub(crate) fn take_long_packets(config: &mut EndpointConfig) {
    config.max_udp_payload_size(UDP_PAYLOAD_BYTES_MAX).expect("QUIC allows 1200 and more");
}

/// A bound UDP socket; an IPv6 wildcard also takes IPv4 where the system can do that.
pub(crate) fn bind_udp(addr: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    if addr.is_ipv6() {
        let _ = socket.set_only_v6(false);
    }
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER_BYTES);
    socket.bind(&addr.into())?;
    Ok(socket.into())
}
