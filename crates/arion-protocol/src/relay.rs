//! Messages between a node and a relay, under ALPN [`ALPN_RELAY`].
//!
//! One request is one bidirectional stream: the SCALE message and the end of the stream, the same back. Packets of
//! the connections that a relay carries are DATAGRAM frames: [`CHANNEL_BYTES`] of channel number, then the packet.
//!
//! # Invariants
//! - A message has at most [`RELAY_MESSAGE_BYTES_MAX`] and decodes exactly; codec indices are never reused.
//! - Nothing here is trusted by those who talk through a relay: their connection proves both keys end to end.
//!
//! Specified in docs/spec/relay.md.

use std::net::{IpAddr, SocketAddr};

use arion_types::NodeId;
use codec::{Decode, DecodeAll, Encode};

use crate::error::ErrorCode;

/// Application protocol name of a relay in the TLS handshake.
pub const ALPN_RELAY: &[u8] = b"arion-relay/1";
/// Longest message on a stream.
pub const RELAY_MESSAGE_BYTES_MAX: usize = 64;
/// Bytes before the packet in a datagram: the channel, u32 little-endian.
pub const CHANNEL_BYTES: usize = 4;
/// Longest packet that a relay carries: what QUIC needs of any path.
pub const PACKET_BYTES_MAX: usize = 1_200;

/// What a node asks of a relay.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum RelayRequest {
    /// Let others reach me over this connection. Ends an earlier attachment of the same node.
    #[codec(index = 0)]
    Attach,
    /// Open a channel to an attached node.
    #[codec(index = 1)]
    Reach {
        /// Whom.
        target: NodeId,
    },
    /// Tell me where the node at the other end of my channel is seen, and have it open its NAT towards me.
    #[codec(index = 2)]
    Direct {
        /// The channel, opened by this connection.
        channel: u32,
    },
    /// The channel is needed no more.
    #[codec(index = 3)]
    Close {
        /// The channel, opened by this connection.
        channel: u32,
    },
}

/// What a relay asks of an attached node.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum RelayOrder {
    /// Send something to this address from the socket you listen on, so that its packets get in.
    #[codec(index = 0)]
    Punch {
        /// Where a node that wants to come in directly is seen.
        address: ObservedAddress,
    },
}

/// Answers to [`RelayRequest`] and [`RelayOrder`].
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum RelayAnswer {
    /// Not done.
    #[codec(index = 0)]
    Refused {
        /// Why.
        code: ErrorCode,
    },
    /// To [`RelayRequest::Attach`].
    #[codec(index = 1)]
    Attached {
        /// Where the relay sees the node.
        observed: ObservedAddress,
    },
    /// To [`RelayRequest::Reach`].
    #[codec(index = 2)]
    Reached {
        /// Number of the channel, the same at both ends.
        channel: u32,
    },
    /// To [`RelayRequest::Direct`].
    #[codec(index = 3)]
    Direct {
        /// Where the relay sees the other node.
        address: ObservedAddress,
    },
    /// Done, with nothing to say.
    #[codec(index = 4)]
    Done,
}

/// A UDP address as a relay sees it. IPv4 is never written as IPv6.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub enum ObservedAddress {
    /// IPv4.
    #[codec(index = 4)]
    V4([u8; 4], u16),
    /// IPv6.
    #[codec(index = 6)]
    V6([u8; 16], u16),
}

impl From<SocketAddr> for ObservedAddress {
    fn from(address: SocketAddr) -> Self {
        match address.ip().to_canonical() {
            IpAddr::V4(ip) => Self::V4(ip.octets(), address.port()),
            IpAddr::V6(ip) => Self::V6(ip.octets(), address.port()),
        }
    }
}

impl ObservedAddress {
    /// The address, if a single host can be behind it.
    pub fn usable(self) -> Option<SocketAddr> {
        let address = match self {
            Self::V4(ip, port) => SocketAddr::from((ip, port)),
            Self::V6(ip, port) => SocketAddr::from((IpAddr::from(ip).to_canonical(), port)),
        };
        let ip = address.ip();
        let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
        let usable = !ip.is_unspecified() && !ip.is_multicast() && !broadcast && address.port() != 0;
        usable.then_some(address)
    }
}

/// The message in exactly these bytes.
pub fn decode_relay_message<M: Decode>(bytes: &[u8]) -> Option<M> {
    M::decode_all(&mut &bytes[..]).ok()
}

/// Channel and packet of a datagram; `None` where it is too short or too long to be forwarded.
pub fn split_datagram(datagram: &[u8]) -> Option<(u32, &[u8])> {
    let (channel, packet) = datagram.split_first_chunk::<CHANNEL_BYTES>()?;
    (packet.len() <= PACKET_BYTES_MAX).then(|| (u32::from_le_bytes(*channel), packet))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Compares with `golden/relay/NAME.hex`.
    fn frozen<M: Encode + Decode + PartialEq + std::fmt::Debug>(name: &str, message: &M) {
        let path = format!("{}/golden/relay/{name}.hex", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        let digits: String = text.lines().map(|line| line.split('#').next().unwrap().trim()).collect();
        assert_eq!(hex::encode(message.encode()), digits, "{name}");
        assert_eq!(
            decode_relay_message::<M>(&hex::decode(digits).unwrap()).as_ref(),
            Some(message),
            "{name}"
        );
        assert!(message.encode().len() <= RELAY_MESSAGE_BYTES_MAX);
    }

    /// Relays and nodes of different versions talk to each other: these bytes never change.
    #[test]
    fn messages_are_frozen() {
        let v4 = ObservedAddress::from("192.0.2.7:7700".parse::<SocketAddr>().unwrap());
        let v6 = ObservedAddress::from("[2001:db8::1]:7700".parse::<SocketAddr>().unwrap());
        let target = NodeId([0xab; 32]);
        frozen("request-attach", &RelayRequest::Attach);
        frozen("request-reach", &RelayRequest::Reach { target });
        frozen("request-direct", &RelayRequest::Direct { channel: 1 });
        frozen("request-close", &RelayRequest::Close { channel: 0x0102_0304 });
        frozen("order-punch", &RelayOrder::Punch { address: v4 });
        frozen("answer-refused", &RelayAnswer::Refused { code: ErrorCode::NotFound });
        frozen("answer-attached", &RelayAnswer::Attached { observed: v6 });
        frozen("answer-reached", &RelayAnswer::Reached { channel: 1 });
        frozen("answer-direct", &RelayAnswer::Direct { address: v4 });
        frozen("answer-done", &RelayAnswer::Done);
        let there = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/golden/relay")).unwrap();
        assert_eq!(there.count(), 10, "a file that no message is compared with");
    }

    #[test]
    fn addresses_are_canonical_and_single_hosts() {
        let mapped: SocketAddr = "[::ffff:192.0.2.7]:1".parse().unwrap();
        assert_eq!(ObservedAddress::from(mapped), ObservedAddress::V4([192, 0, 2, 7], 1));
        for text in ["192.0.2.7:1", "[2001:db8::1]:65535"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(ObservedAddress::from(address).usable(), Some(address));
        }
        for text in ["0.0.0.0:1", "192.0.2.7:0", "224.0.0.1:1", "255.255.255.255:1", "[::]:1", "[ff02::1]:1"]
        {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(ObservedAddress::from(address).usable(), None, "{text}");
        }
        assert_eq!(ObservedAddress::V6([0; 16], 1).usable(), None);
    }

    #[test]
    fn datagrams_have_a_channel_and_a_packet_that_fits() {
        assert_eq!(split_datagram(&[1, 0, 0, 0, 9]), Some((1, &[9][..])));
        assert_eq!(split_datagram(&[1, 0, 0, 0]), Some((1, &[][..])));
        assert_eq!(split_datagram(&[1, 0, 0]), None);
        assert!(split_datagram(&[0; CHANNEL_BYTES + PACKET_BYTES_MAX]).is_some());
        assert_eq!(split_datagram(&[0; CHANNEL_BYTES + PACKET_BYTES_MAX + 1]), None);
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = decode_relay_message::<RelayRequest>(&bytes);
            let _ = decode_relay_message::<RelayOrder>(&bytes);
            if let Some(RelayAnswer::Direct { address }) = decode_relay_message(&bytes) {
                let _ = address.usable();
            }
            let _ = split_datagram(&bytes);
        }
    }
}
