//! What a relay counts.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// A look at a relay. All but the first three only grow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RelayStats {
    /// Connections, those in handshake included.
    pub connections: u64,
    /// Nodes that can be reached.
    pub attached: u64,
    /// Channels between two connections.
    pub channels: u64,
    /// Datagrams carried from one connection to another.
    pub forwarded_datagrams: u64,
    /// Their bytes, channel numbers included.
    pub forwarded_bytes: u64,
    /// Datagrams dropped because a channel or an attached node was over its rate.
    pub dropped_rate: u64,
    /// Datagrams dropped because the receiver's connection did not keep up.
    pub dropped_full: u64,
    /// Datagrams dropped because their channel was gone.
    pub dropped_channel: u64,
    /// Datagrams dropped because they were too short or too long.
    pub dropped_length: u64,
    /// Connections and requests that were refused.
    pub refused: u64,
}

/// Why a datagram went nowhere.
#[derive(Clone, Copy, Debug)]
pub(super) enum Dropped {
    Rate,
    Full,
    Channel,
    Length,
}

#[derive(Default)]
pub(super) struct Counters {
    channels: Arc<AtomicU64>,
    datagrams: AtomicU64,
    bytes: AtomicU64,
    rate: AtomicU64,
    full: AtomicU64,
    channel: AtomicU64,
    length: AtomicU64,
    refused: AtomicU64,
}

/// A channel that is counted.
pub(super) struct CountedChannel(Arc<AtomicU64>);

impl Drop for CountedChannel {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Counters {
    /// Counts a channel for as long as it lives.
    pub(super) fn channel(&self) -> CountedChannel {
        self.channels.fetch_add(1, Relaxed);
        CountedChannel(self.channels.clone())
    }

    pub(super) fn forwarded(&self, bytes: usize) {
        self.datagrams.fetch_add(1, Relaxed);
        self.bytes.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn dropped(&self, why: Dropped) {
        let counter = match why {
            Dropped::Rate => &self.rate,
            Dropped::Full => &self.full,
            Dropped::Channel => &self.channel,
            Dropped::Length => &self.length,
        };
        counter.fetch_add(1, Relaxed);
    }

    pub(super) fn refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    pub(super) fn read(&self, connections: usize, attached: usize) -> RelayStats {
        RelayStats {
            connections: connections as u64,
            attached: attached as u64,
            channels: self.channels.load(Relaxed),
            forwarded_datagrams: self.datagrams.load(Relaxed),
            forwarded_bytes: self.bytes.load(Relaxed),
            dropped_rate: self.rate.load(Relaxed),
            dropped_full: self.full.load(Relaxed),
            dropped_channel: self.channel.load(Relaxed),
            dropped_length: self.length.load(Relaxed),
            refused: self.refused.load(Relaxed),
        }
    }
}
