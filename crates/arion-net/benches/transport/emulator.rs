//! A path between two TUN devices: every IP packet, of whatever protocol, waits in the queue of a line of limited rate, may
//! be lost, and arrives after a delay.

use std::{
    fs::File,
    io::{Read, Write},
    sync::{Arc, Mutex, mpsc},
    time::{Duration, Instant},
};

/// Longest IP packet; the devices have this MTU.
const PACKET_BYTES_MAX: usize = 1_500;
/// Megabits per second of the line where nothing else is said.
const MBIT: u64 = 1_000;
/// What the queue in front of the line holds, as the time it takes to send it.
const QUEUE: Duration = Duration::from_millis(25);
/// Packets between reader and writer, more than queue and delay can hold.
const PACKETS_MAX: usize = 65_536;

/// How a path treats packets, the same in both directions.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) delay: Duration,
    /// Probability, in millionths.
    pub(crate) loss_ppm: u64,
}

/// The path. Its threads run as long as the process.
pub(crate) struct Path {
    shape: Arc<Mutex<Shape>>,
}

/// Megabits per second of the line. A slower one keeps the emulator from being the bottleneck on a busy machine.
pub(crate) fn line_mbit() -> u64 {
    std::env::var("ARION_BENCH_MBIT").map_or(MBIT, |mbit| mbit.parse().unwrap())
}

impl Path {
    /// Joins two devices.
    pub(crate) fn between(one: File, other: File) -> Self {
        let shape = Arc::new(Mutex::new(Shape { delay: Duration::ZERO, loss_ppm: 0 }));
        let ends = [
            (one.try_clone().unwrap(), other.try_clone().unwrap(), 0x9e37_79b9_7f4a_7c15),
            (other, one, 0xd1b5_4a32_d192_ed03),
        ];
        for (from, to, seed) in ends {
            let (send, receive) = mpsc::sync_channel(PACKETS_MAX);
            let shape = shape.clone();
            std::thread::spawn(move || take(from, &shape, &send, seed));
            std::thread::spawn(move || deliver(to, &receive));
        }
        Self { shape }
    }

    pub(crate) fn set(&self, shape: Shape) {
        *self.shape.lock().unwrap() = shape;
    }
}

fn take(mut from: File, shape: &Mutex<Shape>, to: &mpsc::SyncSender<(Instant, Vec<u8>)>, mut random: u64) {
    let mut buffer = [0; PACKET_BYTES_MAX];
    let mut line_free_at = Instant::now();
    let mbit = line_mbit();
    loop {
        let length = match from.read(&mut buffer) {
            Ok(length) if length > 0 => length,
            // The device goes away at the end.
            _ => return,
        };
        let shape = *shape.lock().unwrap();
        let now = Instant::now();
        let waits_until = line_free_at.max(now);
        if waits_until.duration_since(now) > QUEUE {
            continue;
        }
        line_free_at = waits_until + Duration::from_nanos(length as u64 * 8 * 1_000 / mbit);
        // xorshift64
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        if random % 1_000_000 < shape.loss_ppm {
            continue;
        }
        if to.try_send((line_free_at + shape.delay, buffer[..length].to_vec())).is_err() {
            return;
        }
    }
}

fn deliver(mut to: File, from: &mpsc::Receiver<(Instant, Vec<u8>)>) {
    while let Ok((due, packet)) = from.recv() {
        let now = Instant::now();
        if due > now {
            std::thread::sleep(due - now);
        }
        // A full device drops, as devices do.
        let _ = to.write(&packet);
    }
}
