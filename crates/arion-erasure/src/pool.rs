//! Buffers for computed shards, used again: fresh memory from the kernel costs as much as the computation.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Most free buffers kept.
const FREE_MAX: usize = 2;

/// Free buffers.
#[derive(Default)]
pub(crate) struct Pool {
    free: Mutex<Vec<Vec<u8>>>,
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
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut bytes = free.unwrap_or_default();
        if bytes.len() < len {
            // Zeroed pages of the kernel, instead of a copy of what is not needed.
            bytes = vec![0; len];
        }
        Buffer { bytes, len, pool: self.clone() }
    }
}

impl Buffer {
    pub(crate) fn chunks_mut(&mut self, size: usize) -> std::slice::ChunksMut<'_, u8> {
        self.bytes[..self.len].chunks_mut(size)
    }

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

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut free = self.pool.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < FREE_MAX {
            free.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_returns_with_the_last_part_of_it() {
        let pool = Arc::<Pool>::default();
        let whole = pool.take(100).freeze();
        let part = whole.slice(10..20);
        drop(whole);
        assert_eq!(pool.free.lock().unwrap().len(), 0);
        drop(part);
        assert_eq!(pool.free.lock().unwrap().len(), 1);
        let shorter = pool.take(60);
        assert_eq!((shorter.as_ref().len(), pool.free.lock().unwrap().len()), (60, 0));
    }

    #[test]
    fn free_buffers_are_bounded() {
        let pool = Arc::<Pool>::default();
        let buffers: Vec<Bytes> = (0..3 * FREE_MAX).map(|_| pool.take(10).freeze()).collect();
        drop(buffers);
        assert_eq!(pool.free.lock().unwrap().len(), FREE_MAX);
    }
}
