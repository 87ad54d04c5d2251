//! Channels: pairs of connections.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, RwLock, Weak},
    time::{Duration, Instant},
};

use arion_types::NodeId;
use bytes::Bytes;
use quinn::Connection;

use super::{RelayOptions, stats::CountedChannel};
use crate::relay::meter::Meter;

/// One connection to the relay.
pub(super) struct Peer {
    pub(super) node: NodeId,
    pub(super) connection: Connection,
    /// What may pass from and to this node where others reach it.
    pub(super) meter: Arc<Meter>,
    /// The channels that end here; none once the connection has ended.
    channels: RwLock<Option<HashMap<u32, Channel>>>,
}

/// A channel, seen from one of its ends.
#[derive(Clone)]
pub(super) struct Channel {
    /// The other end.
    other: Weak<Peer>,
    /// Whether this end opened it.
    pub(super) opened_here: bool,
    meters: Arc<Meters>,
}

struct Meters {
    channel: Meter,
    attached: Arc<Meter>,
    direct_at: Mutex<Option<Instant>>,
    _counted: CountedChannel,
}

impl Peer {
    pub(super) fn new(node: NodeId, connection: Connection, bytes_per_second: u64) -> Self {
        let meter = Arc::new(Meter::new(bytes_per_second, Instant::now()));
        Self { node, connection, meter, channels: RwLock::new(Some(HashMap::new())) }
    }

    /// The channel of this number that ends here.
    pub(super) fn channel(&self, number: u32) -> Option<Channel> {
        let channels = self.channels.read().unwrap_or_else(PoisonError::into_inner);
        channels.as_ref()?.get(&number).cloned()
    }

    /// Says to this end that a channel is gone. May be lost: it is said again when something arrives on it.
    pub(super) fn say_gone(&self, number: u32) {
        let _ = self.connection.send_datagram(Bytes::copy_from_slice(&number.to_le_bytes()));
    }

    fn add(&self, number: u32, channel: Channel, max: usize) -> bool {
        let mut channels = self.channels.write().unwrap_or_else(PoisonError::into_inner);
        match channels.as_mut() {
            Some(channels) if channels.len() < max && !channels.contains_key(&number) => {
                channels.insert(number, channel);
                true
            }
            _ => false,
        }
    }

    pub(super) fn remove(&self, number: u32) -> Option<Channel> {
        let mut channels = self.channels.write().unwrap_or_else(PoisonError::into_inner);
        channels.as_mut()?.remove(&number)
    }

    /// No channel ends here any more, for good. Returns those that did.
    pub(super) fn end(&self) -> HashMap<u32, Channel> {
        let mut channels = self.channels.write().unwrap_or_else(PoisonError::into_inner);
        channels.take().unwrap_or_default()
    }
}

impl Channel {
    /// Opens a channel from `opener` to `attached`; whether there was room for it at both ends.
    pub(super) fn open(
        number: u32,
        opener: &Arc<Peer>,
        attached: &Arc<Peer>,
        options: &RelayOptions,
        counted: CountedChannel,
    ) -> bool {
        let meters = Arc::new(Meters {
            channel: Meter::new(options.channel_bytes_per_second, Instant::now()),
            attached: attached.meter.clone(),
            direct_at: Mutex::new(None),
            _counted: counted,
        });
        let there = Self { other: Arc::downgrade(opener), opened_here: false, meters: meters.clone() };
        let here = Self { other: Arc::downgrade(attached), opened_here: true, meters };
        let max = options.channels_per_connection_max;
        if !attached.add(number, there, max) {
            return false;
        }
        let added = opener.add(number, here, max);
        if !added {
            attached.remove(number);
        }
        added
    }

    /// The other end, while it is there.
    pub(super) fn other(&self) -> Option<Arc<Peer>> {
        self.other.upgrade()
    }

    /// Whether so many bytes may pass now.
    pub(super) fn may_pass(&self, bytes: usize, now: Instant) -> bool {
        self.meters.channel.take(bytes, now) && self.meters.attached.take(bytes, now)
    }

    /// Whether a direct path may be asked for now; `pause` must have passed since it was.
    pub(super) fn may_ask_direct(&self, pause: Duration, now: Instant) -> bool {
        let mut at = self.meters.direct_at.lock().unwrap_or_else(PoisonError::into_inner);
        let may = at.is_none_or(|at| now.saturating_duration_since(at) >= pause);
        if may {
            *at = Some(now);
        }
        may
    }

    /// This end is gone: so is the other, and who opened the channel there is told.
    pub(super) fn close_other_end(&self, number: u32) {
        let Some(other) = self.other() else { return };
        if other.remove(number).is_some_and(|there| there.opened_here) {
            other.say_gone(number);
        }
    }
}
