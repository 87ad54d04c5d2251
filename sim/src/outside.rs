//! What a process learns from outside: time and randomness. On the thread of a simulation both follow from the seed.
//!
//! `select!`, the order of hash maps, keys, nonces and clocks of all crates come down to two functions of the C library. Defining
//! them here takes their place in this program. Other threads get the real ones.
//!
//! # Invariants
//! - On the simulation's thread nothing comes from the kernel.
//! - Neither function allocates or panics.

use std::cell::Cell;

use arion_miner::store::memory::Chance;
use libc::{c_int, c_uint, c_void, clockid_t, size_t, ssize_t, timespec};
use tokio::time::Instant;

/// When simulations begin, seconds since the Unix epoch: 2027.
const BEGIN_SECONDS: i64 = 1_800_000_000;
const NANOS: u128 = 1_000_000_000;

thread_local! {
    static RANDOM: Cell<Option<u64>> = const { Cell::new(None) };
    static BEGUN: Cell<Option<Instant>> = const { Cell::new(None) };
    /// The runtime is being asked for its time: it may ask for ours.
    static ASKING: Cell<bool> = const { Cell::new(false) };
}

/// From now on this thread is in the simulation of a seed; its time stands still.
pub fn enter(seed: u64) {
    RANDOM.set(Some(seed));
}

/// Memory that was freed is kept: handing it back to the kernel and asking for it again is what much of a run's time would go to.
pub fn keep_memory() {
    // SAFETY: numbers only; where one is refused nothing is different.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 30);
        libc::mallopt(libc::M_TRIM_THRESHOLD, c_int::MAX);
        libc::mallopt(libc::M_TOP_PAD, 32 << 20);
    }
}

/// From now on the time of this thread is that of the runtime that it is in.
pub fn start_clock() {
    BEGUN.set(Some(Instant::now()));
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
    let elapsed = elapsed_nanos();
    let seconds = i64::try_from(elapsed / NANOS).unwrap_or(i64::MAX);
    let now = timespec {
        tv_sec: BEGIN_SECONDS.saturating_add(seconds),
        tv_nsec: i64::try_from(elapsed % NANOS).unwrap_or(0),
    };
    // SAFETY: the caller promises that it may be written.
    unsafe { time.write(now) };
    0
}
