//! Channels as QUIC sees them: addresses of a network that is nowhere else.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6},
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio_util::sync::CancellationToken;

/// Unique local addresses (RFC 4193), never sent: the channel stands in the last 32 bits.
const PREFIX: [u16; 6] = [0xfd61, 0x7269, 0x6f6e, 0, 0, 0];
const PORT: u16 = 1;

/// The address of whoever is at the other end of a channel.
pub(super) fn address(channel: u32) -> SocketAddr {
    let [a, b, c, d, e, f] = PREFIX;
    let ip = Ipv6Addr::new(a, b, c, d, e, f, (channel >> 16) as u16, channel as u16);
    SocketAddrV6::new(ip, PORT, 0, 0).into()
}

/// The channel behind an address.
pub(super) fn channel(address: SocketAddr) -> Option<u32> {
    let IpAddr::V6(ip) = address.ip() else { return None };
    let [prefix @ .., high, low] = ip.segments();
    (prefix == PREFIX && address.port() == PORT).then(|| u32::from(high) << 16 | u32::from(low))
}

/// The channels that this side has opened on one connection to a relay.
#[derive(Debug, Default)]
pub(super) struct Channels {
    open: Mutex<HashMap<u32, CancellationToken>>,
}

impl Channels {
    /// Notes a channel. The token is cancelled when the relay says that it is gone.
    pub(super) fn add(&self, channel: u32) -> CancellationToken {
        self.open().entry(channel).or_default().clone()
    }

    /// The relay knows this channel no more.
    pub(super) fn gone(&self, channel: u32) {
        if let Some(token) = self.open().remove(&channel) {
            token.cancel();
        }
    }

    /// This side needs the channel no more; whether it was still open.
    pub(super) fn forget(&self, channel: u32) -> bool {
        self.open().remove(&channel).is_some()
    }

    fn open(&self) -> MutexGuard<'_, HashMap<u32, CancellationToken>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_channel_has_an_address_of_its_own() {
        for number in [0, 1, 0xffff, 0x1_0000, u32::MAX] {
            assert_eq!(channel(address(number)), Some(number));
        }
        for foreign in ["127.0.0.1:1", "[fd61:7269:6f6e::1]:2", "[fd61:7269:6f6f::1]:1", "[::1]:1"] {
            assert_eq!(channel(foreign.parse().unwrap()), None, "{foreign}");
        }
    }

    #[test]
    fn a_channel_that_is_gone_is_told_once() {
        let channels = Channels::default();
        let token = channels.add(7);
        channels.gone(8);
        assert!(!token.is_cancelled());
        channels.gone(7);
        assert!(token.is_cancelled() && !channels.forget(7));
        channels.add(9);
        assert!(channels.forget(9) && !channels.forget(9));
    }
}
