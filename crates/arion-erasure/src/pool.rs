//! Buffers for shards, used again: fresh memory from the kernel costs as much as the computation.
//!
//! # Invariants
//! - Every shard has a buffer of its own: one that is kept keeps no other.
//! - A buffer is at most an eighth longer than what was asked for.
//! - Free buffers are at most [`FREE_BYTES_MAX`] bytes, and at most [`FREE_MAX`].

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

/// Most bytes that a codec keeps in buffers for the next stripe.
pub const FREE_BYTES_MAX: usize = 40 << 20;
/// Most free buffers kept.
const FREE_MAX: usize = 128;
/// Shorter buffers are not worth keeping.
const POOLED_MIN: usize = 16 << 10;

/// Free buffers, the one that returned last at the end.
#[derive(Default)]
pub(crate) struct Pool {
    free: Mutex<Free>,
}

#[derive(Default)]
struct Free {
    buffers: VecDeque<Vec<u8>>,
    bytes: usize,
}

/// A buffer that returns to its pool.
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    len: usize,
    pool: Arc<Pool>,
}

impl Pool {
    /// A buffer of `len` bytes, whatever they are.
    pub(crate) fn take(self: &Arc<Self>, len: usize) -> Buffer {
        let free = if len < POOLED_MIN { None } else { self.lock().take(len) };
        // Otherwise zeroed pages of the kernel, instead of a copy of what is not needed.
        Buffer { bytes: free.unwrap_or_else(|| vec![0; len]), len, pool: self.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Free {
    fn take(&mut self, len: usize) -> Option<Vec<u8>> {
        let fits = |buffer: &Vec<u8>| (len..=len + len / 8).contains(&buffer.len());
        let found = self.buffers.iter().rposition(fits)?;
        let buffer = self.buffers.remove(found)?;
        self.bytes -= buffer.len();
        Some(buffer)
    }

    /// Keeps a buffer; returns what has to go for it.
    fn keep(&mut self, buffer: Vec<u8>) -> Vec<Vec<u8>> {
        self.bytes += buffer.len();
        self.buffers.push_back(buffer);
        let mut gone = Vec::new();
        while self.bytes > FREE_BYTES_MAX || self.buffers.len() > FREE_MAX {
            let Some(oldest) = self.buffers.pop_front() else { break };
            self.bytes -= oldest.len();
            gone.push(oldest);
        }
        gone
    }
}

impl Buffer {
    /// The bytes, for good; the buffer returns when the last part of them is dropped.
    pub(crate) fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl AsMut<[u8]> for Buffer {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.bytes.len() < POOLED_MIN {
            return;
        }
        let gone = self.pool.lock().keep(std::mem::take(&mut self.bytes));
        // The kernel takes them back while nobody waits for the lock.
        drop(gone);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEN: usize = 100_000;

    fn free(pool: &Pool) -> (usize, usize) {
        let free = pool.lock();
        assert_eq!(free.bytes, free.buffers.iter().map(Vec::len).sum::<usize>());
        (free.buffers.len(), free.bytes)
    }

    #[test]
    fn a_buffer_returns_with_the_last_part_of_it() {
        let pool = Arc::<Pool>::default();
        let whole = pool.take(LEN).freeze();
        let part = whole.slice(10..20);
        drop(whole);
        assert_eq!(free(&pool), (0, 0));
        drop(part);
        assert_eq!(free(&pool), (1, LEN));
        let shorter = pool.take(LEN - 1_000);
        assert_eq!((shorter.as_ref().len(), free(&pool)), (LEN - 1_000, (0, 0)));
    }

    #[test]
    fn buffers_much_longer_than_asked_for_are_not_handed_out() {
        let pool = Arc::<Pool>::default();
        drop(pool.take(1 << 20));
        for len in [POOLED_MIN, 1 << 19, (1 << 20) - (1 << 18), (1 << 20) + 1] {
            assert!(pool.take(len).bytes.len() <= len + len / 8);
        }
        assert!(free(&pool).1 > 1 << 20, "the long one is still there");
    }

    #[test]
    fn short_buffers_are_not_kept() {
        let pool = Arc::<Pool>::default();
        drop(pool.take(POOLED_MIN - 1));
        drop(pool.take(0));
        assert_eq!(free(&pool), (0, 0));
    }

    #[test]
    fn free_buffers_are_bounded_in_bytes_and_number() {
        let pool = Arc::<Pool>::default();
        for len in [1 << 20, POOLED_MIN] {
            let buffers: Vec<Bytes> = (0..2 * FREE_MAX).map(|_| pool.take(len).freeze()).collect();
            drop(buffers);
            let (count, bytes) = free(&pool);
            assert!(count <= FREE_MAX && bytes <= FREE_BYTES_MAX, "{count} buffers, {bytes} bytes");
            assert!(bytes >= (FREE_MAX * len).min(FREE_BYTES_MAX - len), "{bytes} bytes of {len} each");
        }
    }
}
