//! Messages between nodes and relays, and datagrams that a relay forwards. The first byte says which of them follows.

use std::fmt::Debug;

use arion_protocol::relay::{
    CHANNEL_BYTES, ObservedAddress, PACKET_BYTES_MAX, RELAY_MESSAGE_BYTES_MAX, RelayAnswer, RelayOrder,
    RelayRequest, decode_relay_message, split_datagram,
};
use codec::{Decode, Encode};

/// What decodes encodes to the same bytes, and to nothing with a byte more; what may be dialled is one host.
pub fn relay(bytes: &[u8]) -> bool {
    let (kind, bytes) = bytes.split_first().unwrap_or((&0, &[]));
    match kind % 4 {
        0 => message::<RelayRequest>(bytes).is_some(),
        1 => message::<RelayOrder>(bytes).map(|RelayOrder::Punch { address }| dialled(address)).is_some(),
        2 => match message::<RelayAnswer>(bytes) {
            Some(RelayAnswer::Attached { observed: address } | RelayAnswer::Direct { address }) => {
                dialled(address);
                true
            }
            other => other.is_some(),
        },
        _ => datagram(bytes),
    }
}

fn message<M: Encode + Decode + PartialEq + Debug>(bytes: &[u8]) -> Option<M> {
    let message: M = decode_relay_message(bytes)?;
    assert_eq!(message.encode(), bytes);
    assert!(bytes.len() <= RELAY_MESSAGE_BYTES_MAX);
    assert_eq!(decode_relay_message::<M>(&[bytes, &[0]].concat()), None);
    Some(message)
}

fn dialled(address: ObservedAddress) {
    if let Some(host) = address.usable() {
        let ip = host.ip();
        assert!(!ip.is_unspecified() && !ip.is_multicast() && host.port() != 0, "{host}");
        assert_eq!(ObservedAddress::from(host).usable(), Some(host));
    }
}

fn datagram(bytes: &[u8]) -> bool {
    let Some((channel, packet)) = split_datagram(bytes) else {
        assert!(!(CHANNEL_BYTES..=CHANNEL_BYTES + PACKET_BYTES_MAX).contains(&bytes.len()));
        return false;
    };
    assert_eq!([&channel.to_le_bytes(), packet].concat(), bytes);
    true
}
