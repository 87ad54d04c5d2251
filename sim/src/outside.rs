//! What a process learns from outside: time and randomness. On the thread of a simulation both follow from the seed.
//!
//! `select!`, the order of hash maps, keys, nonces and clocks of all crates come down to two functions of the C library. Defining
//! them here takes their place in this program. Other threads get the real ones.
//!
//! The wall clock is that of the host for which the running task works; the monotonic one is everybody's.
//!
//! # Invariants
//! - On the simulation's thread nothing comes from the kernel.
//! - Neither function allocates or panics.

use std::cell::{Cell, RefCell};

use arion_daemon::memory::Jemalloc;
use arion_miner::store::memory::Chance;
use libc::{c_int, c_uint, c_void, clockid_t, size_t, ssize_t, timespec};
use tokio::time::Instant;

/// When simulations begin, seconds since the Unix epoch: 2027.
pub const BEGIN_SECONDS: i64 = 1_800_000_000;
const NANOS: i128 = 1_000_000_000;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// Memory that was freed is kept: handing it back to the kernel and asking for it again is what much of a run's time would go to.
/// jemalloc reads this before the first allocation: a C string.
// SAFETY: nothing else has this name, which is jemalloc's for a pointer to a C string.
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static ALLOCATOR_SETTINGS: &[u8; 63] =
    b"narenas:1,dirty_decay_ms:-1,muzzy_decay_ms:-1,tcache_max:65536\0";

thread_local! {
    static RANDOM: Cell<Option<u64>> = const { Cell::new(None) };
    static BEGUN: Cell<Option<Instant>> = const { Cell::new(None) };
    /// How far the clocks of hosts are ahead, in milliseconds; of those that are off.
    static AHEAD: RefCell<Vec<(u32, i64)>> = const { RefCell::new(Vec::new()) };
    /// The runtime is being asked for its time: it may ask for ours.
    static ASKING: Cell<bool> = const { Cell::new(false) };
}

/// From now on this thread is in the simulation of a seed; its time stands still.
pub fn enter(seed: u64) {
    RANDOM.set(Some(seed));
}

/// From now on the time of this thread is that of the runtime that it is in.
pub fn start_clock() {
    BEGUN.set(Some(Instant::now()));
}

/// Sets the clock of a host ([`arion_daemon::work::host`]) ahead, or back.
pub fn set_ahead(host: u32, ms: i64) {
    AHEAD.with_borrow_mut(|ahead| {
        ahead.retain(|(other, _)| *other != host);
        if ms != 0 {
            ahead.push((host, ms));
        }
    });
}

/// How far the clock is ahead that the running task goes by, in nanoseconds.
fn ahead_nanos() -> i128 {
    let of_host = |ahead: &Vec<(u32, i64)>| {
        if ahead.is_empty() {
            return 0;
        }
        let host = arion_daemon::work::host();
        ahead.iter().find(|(other, _)| *other == host).map_or(0, |(_, ms)| i128::from(*ms) * 1_000_000)
    };
    // It may be asked for while it is being set.
    AHEAD.with(|ahead| ahead.try_borrow().map_or(0, |ahead| of_host(&ahead)))
}

/// Nanoseconds since the clock was started.
pub fn elapsed_nanos() -> u128 {
    let Some(begun) = BEGUN.get() else { return 0 };
    if ASKING.replace(true) {
        return 0;
    }
    let elapsed = Instant::now().saturating_duration_since(begun).as_nanos();
    ASKING.set(false);
    elapsed
}

/// The C library's `getrandom(2)`.
///
/// # Safety
/// `buffer` must be valid for writes of `length` bytes, as its callers promise.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut c_void, length: size_t, flags: c_uint) -> ssize_t {
    let Some(seed) = RANDOM.get() else {
        // SAFETY: the caller's promise is the kernel's condition; it writes nothing else.
        return unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) as ssize_t };
    };
    if length == 0 {
        return 0;
    }
    let mut chance = Chance(seed);
    // SAFETY: the caller promises that so many bytes may be written; nobody else refers to them meanwhile.
    let bytes = unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u8>(), length) };
    for part in bytes.chunks_mut(8) {
        part.copy_from_slice(&chance.number().to_le_bytes()[..part.len()]);
    }
    RANDOM.set(Some(chance.0));
    length as ssize_t
}

/// The C library's `clock_gettime(2)`.
///
/// # Safety
/// `time` must be valid for a write, as its callers promise.
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(clock: clockid_t, time: *mut timespec) -> c_int {
    if RANDOM.get().is_none() {
        // SAFETY: the caller's promise is the kernel's condition; it writes nothing else.
        return unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) as c_int };
    }
    // The allocator asks for this one, in the middle of anything.
    let is_coarse = clock == libc::CLOCK_MONOTONIC_COARSE;
    let mut elapsed = if is_coarse { 0 } else { i128::try_from(elapsed_nanos()).unwrap_or(i128::MAX) };
    if clock == libc::CLOCK_REALTIME {
        elapsed = elapsed.saturating_add(ahead_nanos());
    }
    let seconds = i64::try_from(elapsed.div_euclid(NANOS)).unwrap_or(i64::MAX);
    let now = timespec {
        tv_sec: BEGIN_SECONDS.saturating_add(seconds),
        tv_nsec: i64::try_from(elapsed.rem_euclid(NANOS)).unwrap_or(0),
    };
    // SAFETY: the caller promises that it may be written.
    unsafe { time.write(now) };
    0
}
