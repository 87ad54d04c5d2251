//! Late packets: UDP proxies in front of miners, in this process, so that packets can be held back where the kernel has no module for it.
//!
//! A miner behind a proxy tells the proxy's address as its own. Who talks to it gets a socket of its own towards the miner, as
//! a NAT would give it. What the miner begins itself does not go through the proxy.
//!
//! # Invariants
//! - Without a delay packets are handed on in order and at once; with one, each waits for a time of its own, so they overtake each other.
//! - At most 8,192 packets of a proxy wait, and 512 clients have a socket; more are dropped, as a full queue would.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr, UdpSocket as Bound},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::Context;
use tokio::{
    net::UdpSocket,
    runtime::Builder,
    sync::oneshot,
    time::{sleep, timeout},
};

const PACKET_BYTES_MAX: usize = 65_536;
const WAITING_MAX: usize = 8_192;
const CLIENTS_MAX: usize = 512;
/// A client that is silent for this long, and hears nothing, loses its socket.
const IDLE_MAX: Duration = Duration::from_secs(120);

/// How late packets are, each way: `least` and up to `jitter` more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Delay {
    /// Of every packet.
    pub least: Duration,
    /// Random, different for each.
    pub jitter: Duration,
}

impl Delay {
    fn draw(self) -> Duration {
        self.least + self.jitter.mul_f64(rand::random())
    }
}

/// A proxy as its tasks share it.
#[derive(Default)]
struct Line {
    delay: Mutex<Delay>,
    waiting: AtomicUsize,
    clients: Mutex<HashMap<SocketAddr, Arc<UdpSocket>>>,
}

impl Line {
    /// Hands a packet on when its time has come. One that cannot be sent is lost, as in any network.
    async fn carry(self: &Arc<Self>, by: &Arc<UdpSocket>, to: SocketAddr, packet: &[u8]) {
        let delay = *self.delay.lock().unwrap_or_else(PoisonError::into_inner);
        if delay == Delay::default() {
            let _ = by.send_to(packet, to).await;
            return;
        }
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING_MAX {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        let (line, by, packet) = (self.clone(), by.clone(), packet.to_vec());
        tokio::spawn(async move {
            sleep(delay.draw()).await;
            let _ = by.send_to(&packet, to).await;
            line.waiting.fetch_sub(1, Ordering::Relaxed);
        });
    }

    fn clients(&self) -> std::sync::MutexGuard<'_, HashMap<SocketAddr, Arc<UdpSocket>>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Packets of clients to the miner.
    async fn inward(self: Arc<Self>, front: Arc<UdpSocket>, miner: SocketAddr) {
        let mut packet = vec![0; PACKET_BYTES_MAX];
        loop {
            // What is told of a packet that could not be delivered is none of the others' business.
            let Ok((length, client)) = front.recv_from(&mut packet).await else { continue };
            let known = self.clients().get(&client).cloned();
            let by = match known {
                Some(by) => by,
                None if self.clients().len() >= CLIENTS_MAX => continue,
                None => {
                    let Ok(by) = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await else { continue };
                    let by = Arc::new(by);
                    self.clients().insert(client, by.clone());
                    tokio::spawn(self.clone().outward(front.clone(), by.clone(), client));
                    by
                }
            };
            self.carry(&by, miner, &packet[..length]).await;
        }
    }

    /// Answers of the miner to one client.
    async fn outward(self: Arc<Self>, front: Arc<UdpSocket>, from: Arc<UdpSocket>, client: SocketAddr) {
        let mut packet = vec![0; PACKET_BYTES_MAX];
        loop {
            match timeout(IDLE_MAX, from.recv_from(&mut packet)).await {
                Ok(Ok((length, _))) => self.carry(&front, client, &packet[..length]).await,
                // The miner is down: its port says so.
                Ok(Err(_)) => {}
                Err(_) => break,
            }
        }
        self.clients().remove(&client);
    }
}

/// Proxies, each in front of one address. They run until this is dropped, in a thread of their own.
pub struct Delays {
    lines: Vec<Arc<Line>>,
    thread: Option<(oneshot::Sender<()>, thread::JoinHandle<()>)>,
}

impl Delays {
    /// Listens at the first of each pair on behalf of the second, without a delay.
    pub fn before(pairs: &[(SocketAddr, SocketAddr)]) -> anyhow::Result<Self> {
        let mut sockets = Vec::new();
        for (front, _) in pairs {
            let socket = Bound::bind(front).with_context(|| format!("cannot listen on {front}"))?;
            socket.set_nonblocking(true)?;
            sockets.push(socket);
        }
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let inside = runtime.enter();
        let mut lines = Vec::new();
        for (socket, (_, miner)) in sockets.into_iter().zip(pairs) {
            let line = Arc::new(Line::default());
            let socket = UdpSocket::from_std(socket).map(Arc::new);
            lines.push(socket.map(|socket| {
                runtime.spawn(line.clone().inward(socket, *miner));
                line
            }));
        }
        drop(inside);
        let (stop, stopped) = oneshot::channel();
        // Whether it was told to stop or the teller is gone is the same.
        let run = move || drop(runtime.block_on(stopped));
        let thread = thread::Builder::new().name("delays".to_owned()).spawn(run)?;
        // Told here, where the runtime has its thread: it must not end in that of another one.
        let lines = lines.into_iter().collect::<Result<_, _>>();
        let thread = Some((stop, thread));
        Ok(Self { lines: lines.context("a socket cannot be watched")?, thread })
    }

    /// Sets the delay of a proxy, in the order in which they were named.
    pub fn set(&self, proxy: usize, delay: Delay) -> anyhow::Result<()> {
        let line = self.lines.get(proxy).with_context(|| format!("there is no proxy {proxy}"))?;
        *line.delay.lock().unwrap_or_else(PoisonError::into_inner) = delay;
        Ok(())
    }
}

impl Drop for Delays {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.thread.take() {
            drop(stop);
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn socket() -> Bound {
        let socket = Bound::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    }

    /// A free port: nobody else binds it before the proxy does, or the test says so.
    fn free() -> SocketAddr {
        socket().local_addr().unwrap()
    }

    /// Sends numbers through the proxy, and returns them as they arrive, and from where.
    fn through(front: SocketAddr, client: &Bound, miner: &Bound) -> (Vec<u8>, SocketAddr) {
        for number in 0..50_u8 {
            client.send_to(&[number], front).unwrap();
        }
        let mut packet = [0];
        let mut from = front;
        let arrived = (0..50).map(|_| {
            from = miner.recv_from(&mut packet).unwrap().1;
            packet[0]
        });
        (arrived.collect(), from)
    }

    #[test]
    fn packets_come_in_order_or_late_and_mixed_and_the_answer_finds_its_way() {
        let (client, miner, front) = (socket(), socket(), free());
        let delays = Delays::before(&[(front, miner.local_addr().unwrap())]).unwrap();
        let (at_once, from) = through(front, &client, &miner);
        assert_eq!(at_once, (0..50).collect::<Vec<u8>>());
        let late = Delay { least: Duration::from_millis(200), jitter: Duration::from_millis(100) };
        delays.set(0, late).unwrap();
        let begun = Instant::now();
        let (mut mixed, again) = through(front, &client, &miner);
        assert!(begun.elapsed() >= late.least && mixed != at_once, "{mixed:?}");
        mixed.sort_unstable();
        assert_eq!((mixed, again), (at_once, from), "nothing is lost, and a client keeps its socket");
        let begun = Instant::now();
        miner.send_to(b"!", from).unwrap();
        let (_, by) = client.recv_from(&mut [0]).unwrap();
        assert!(begun.elapsed() >= late.least && by == front, "{by}");
        assert!(delays.set(1, late).is_err());
        drop(delays);
        Bound::bind(front).unwrap();
    }

    #[test]
    fn a_miner_that_is_away_for_a_while_is_reached_again() {
        let (client, miner, front) = (socket(), socket(), free());
        let address = miner.local_addr().unwrap();
        let _delays = Delays::before(&[(front, address)]).unwrap();
        drop(miner);
        client.send_to(&[0], front).unwrap();
        let miner = Bound::bind(address).unwrap();
        miner.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let begun = Instant::now();
        // What was on its way when nobody listened may be lost, and a complaint about it may cost the next one, too.
        while miner.recv_from(&mut [0]).is_err() {
            assert!(begun.elapsed() < PATIENCE);
            client.send_to(&[1], front).unwrap();
        }
    }
}
