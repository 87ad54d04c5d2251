//! A socket whose network is one connection to a relay.
//!
//! # Invariants
//! - Both queues are bounded: a full outgoing one makes QUIC wait, a full incoming one drops.
//! - The socket never fails: when the connection has ended nothing arrives, and what is sent is lost. Whoever owns the inner
//!   endpoint closes it then ([`super::link`]).

use std::{
    fmt,
    io::{self, IoSliceMut},
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use arion_protocol::relay::CHANNEL_BYTES;
use bytes::{BufMut, Bytes, BytesMut};
use quinn::{
    AsyncUdpSocket, UdpPoller,
    udp::{RecvMeta, Transmit},
};
use tokio::sync::mpsc;
use tokio_util::sync::PollSender;

use super::channels;

/// Packets of one transmission of QUIC.
const SEGMENTS_MAX: usize = 10;
/// Transmissions that wait to be sent.
const OUTGOING_MAX: usize = 64;
/// Packets that wait to be read.
const INCOMING_MAX: usize = 1_024;

/// Datagrams for the relay, of equal length but for the last.
pub(super) struct Outgoing {
    datagrams: Bytes,
    stride: usize,
}

impl Outgoing {
    /// The datagrams one by one.
    pub(super) fn next(&mut self) -> Option<Bytes> {
        let len = self.stride.min(self.datagrams.len());
        (len > 0).then(|| self.datagrams.split_to(len))
    }
}

/// A packet from a channel.
pub(super) struct Incoming {
    pub(super) channel: u32,
    pub(super) packet: Bytes,
}

/// The ends of the queues that are not the socket's.
pub(super) struct Wires {
    pub(super) outgoing: mpsc::Receiver<Outgoing>,
    pub(super) incoming: mpsc::Sender<Incoming>,
}

pub(super) struct RelaySocket {
    outgoing: mpsc::Sender<Outgoing>,
    incoming: Mutex<mpsc::Receiver<Incoming>>,
}

impl RelaySocket {
    pub(super) fn new() -> (Self, Wires) {
        let (to_relay, outgoing) = mpsc::channel(OUTGOING_MAX);
        let (incoming, from_relay) = mpsc::channel(INCOMING_MAX);
        (Self { outgoing: to_relay, incoming: Mutex::new(from_relay) }, Wires { outgoing, incoming })
    }
}

/// The datagrams of a transmission; none where it does not go to a channel.
fn datagrams(transmit: &Transmit<'_>) -> Option<Outgoing> {
    let channel = channels::channel(transmit.destination)?;
    let segment = transmit.segment_size.unwrap_or(transmit.contents.len()).max(1);
    let count = transmit.contents.len().div_ceil(segment);
    let mut all = BytesMut::with_capacity(transmit.contents.len() + count * CHANNEL_BYTES);
    for packet in transmit.contents.chunks(segment) {
        all.put_u32_le(channel);
        all.put_slice(packet);
    }
    Some(Outgoing { datagrams: all.freeze(), stride: segment + CHANNEL_BYTES })
}

impl fmt::Debug for RelaySocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RelaySocket")
    }
}

impl AsyncUdpSocket for RelaySocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Poller(PollSender::new(self.outgoing.clone())))
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let Some(outgoing) = datagrams(transmit) else { return Ok(()) };
        match self.outgoing.try_send(outgoing) {
            Err(mpsc::error::TrySendError::Full(_)) => Err(io::ErrorKind::WouldBlock.into()),
            Err(mpsc::error::TrySendError::Closed(_)) | Ok(()) => Ok(()),
        }
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut incoming = self.incoming.lock().unwrap_or_else(PoisonError::into_inner);
        let mut count = 0;
        for (buf, meta) in bufs.iter_mut().zip(meta.iter_mut()) {
            let Poll::Ready(Some(Incoming { channel, packet })) = incoming.poll_recv(cx) else { break };
            let len = packet.len().min(buf.len());
            buf[..len].copy_from_slice(&packet[..len]);
            *meta = RecvMeta { addr: channels::address(channel), len, stride: len, ecn: None, dst_ip: None };
            count += 1;
        }
        if count == 0 { Poll::Pending } else { Poll::Ready(Ok(count)) }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(channels::address(0))
    }

    fn max_transmit_segments(&self) -> usize {
        SEGMENTS_MAX
    }

    fn may_fragment(&self) -> bool {
        false
    }
}

/// Waits for room in the outgoing queue.
struct Poller(PollSender<Outgoing>);

impl fmt::Debug for Poller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Poller")
    }
}

impl UdpPoller for Poller {
    fn poll_writable(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let room = self.0.poll_reserve(cx).map(|_| Ok(()));
        if room.is_ready() {
            // The room is for whoever sends next.
            self.0.abort_send();
        }
        room
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        task::{Wake, Waker},
    };

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn transmit(contents: &[u8], segment_size: Option<usize>) -> Transmit<'_> {
        Transmit { destination: channels::address(7), ecn: None, contents, segment_size, src_ip: None }
    }

    #[test]
    fn segments_become_datagrams_with_their_channel() {
        let mut sent = datagrams(&transmit(b"aabbc", Some(2))).unwrap();
        for packet in [&b"aa"[..], b"bb", b"c"] {
            assert_eq!(sent.next().unwrap(), [&[7, 0, 0, 0], packet].concat());
        }
        assert!(sent.next().is_none());
        let elsewhere = Transmit { destination: "192.0.2.1:1".parse().unwrap(), ..transmit(b"a", None) };
        assert!(datagrams(&elsewhere).is_none());
    }

    #[test]
    fn a_full_queue_makes_the_sender_wait_and_wakes_it() {
        let (socket, mut wires) = RelaySocket::new();
        let socket = Arc::new(socket);
        for _ in 0..OUTGOING_MAX {
            socket.try_send(&transmit(b"a", None)).unwrap();
        }
        let error = socket.try_send(&transmit(b"a", None)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        let mut context = Context::from_waker(&waker);
        let mut poller = socket.clone().create_io_poller();
        assert!(poller.as_mut().poll_writable(&mut context).is_pending());
        wires.outgoing.try_recv().unwrap();
        assert!(count.0.load(Ordering::SeqCst) > 0);
        assert!(poller.as_mut().poll_writable(&mut context).is_ready());
        socket.try_send(&transmit(b"a", None)).unwrap();
        drop(wires);
        socket.try_send(&transmit(b"a", None)).unwrap();
    }

    #[test]
    fn packets_arrive_with_the_address_of_their_channel() {
        let (socket, wires) = RelaySocket::new();
        for channel in [1, 2] {
            let packet = Bytes::from(vec![channel as u8; 3]);
            wires.incoming.try_send(Incoming { channel, packet }).ok().unwrap();
        }
        let mut context = Context::from_waker(Waker::noop());
        let mut memory = [[0; 8]; 3];
        let mut bufs = memory.each_mut().map(|buf| IoSliceMut::new(buf));
        let mut meta = [RecvMeta::default(); 3];
        let Poll::Ready(Ok(2)) = socket.poll_recv(&mut context, &mut bufs, &mut meta) else {
            panic!("two packets wait");
        };
        assert_eq!((meta[1].addr, meta[1].len, &bufs[1][..3]), (channels::address(2), 3, &[2; 3][..]));
        assert!(socket.poll_recv(&mut context, &mut bufs, &mut meta).is_pending());
        drop(wires);
        assert!(socket.poll_recv(&mut context, &mut bufs, &mut meta).is_pending());
    }
}
