//! Shards with their addresses: encoding and hashing at once, on as many threads as the caller has.
//!
//! Hashing k + m shards takes two to three times as long as computing m of them. While one thread encodes, the others copy
//! and hash the data shards; then all of them hash parity.
//!
//! # Invariants
//! - Shards and addresses are the same for any number of threads.
//! - Every shard has memory of its own.

use std::{
    borrow::Cow,
    iter,
    panic::resume_unwind,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use arion_types::ShardHash;
use bytes::Bytes;

use crate::{Codec, Error, pool::Pool};

/// Most threads that work on one stripe.
pub const THREADS_MAX: usize = 8;
/// Shorter shards are hashed sooner than a thread has started.
const HELPED_MIN: usize = 16 << 10;
/// Bytes copied at a time, so that they are hashed while they are in the cache.
const BLOCK: usize = 64 << 10;

/// A shard and its address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shard {
    /// BLAKE3 of the bytes.
    pub hash: ShardHash,
    /// The shard, in memory that it shares with no other.
    pub bytes: Bytes,
}

impl Codec {
    /// The k + m shards of `stripe` with their addresses, in order of index, made by up to `threads` threads (at most
    /// [`THREADS_MAX`]; the caller's is one of them, and short shards get no other).
    ///
    /// Data shards are copies: who keeps one shard keeps neither the stripe nor other shards.
    ///
    /// # Errors
    /// As [`Codec::layout`].
    pub fn encode_hashed(&self, stripe: &[u8], threads: usize) -> Result<Vec<Shard>, Error> {
        let shard_len = self.layout(stripe.len())?.shard_len;
        let data: Vec<Cow<'_, [u8]>> = (0..self.k)
            .map(|index| {
                let start = (index * shard_len).min(stripe.len());
                let part = &stripe[start..(start + shard_len).min(stripe.len())];
                if part.len() == shard_len {
                    return Cow::Borrowed(part);
                }
                let mut whole = vec![0; shard_len];
                whole[..part.len()].copy_from_slice(part);
                Cow::Owned(whole)
            })
            .collect();
        let data: Vec<&[u8]> = data.iter().map(AsRef::as_ref).collect();
        let helpers = if shard_len < HELPED_MIN { 0 } else { threads.clamp(1, THREADS_MAX) - 1 };
        let todo = Todo { data: AtomicUsize::new(0), parity: AtomicUsize::new(0) };
        let pool = &self.inner.buffers;
        let mut shards = thread::scope(|scope| {
            let mut running = Vec::with_capacity(helpers);
            for _ in 0..helpers {
                let (sender, parity) = mpsc::sync_channel::<Arc<[Bytes]>>(1);
                let (todo, data) = (&todo, &data);
                let help = move || {
                    let mut shards = todo.hash_data(data, pool);
                    // Nothing comes when the encoding thread panicked.
                    if let Ok(parity) = parity.recv() {
                        shards.extend(todo.hash_parity(data.len(), &parity));
                    }
                    shards
                };
                // Without threads there is less help.
                let Ok(helper) = thread::Builder::new().spawn_scoped(scope, help) else { break };
                running.push((sender, helper));
            }
            let parity: Arc<[Bytes]> = self.multiply(&self.inner.encode, &data, shard_len).into();
            for (sender, _) in &running {
                let _ = sender.send(parity.clone());
            }
            let mut shards = todo.hash_data(&data, pool);
            shards.extend(todo.hash_parity(data.len(), &parity));
            for (_, helper) in running {
                shards.extend(helper.join().unwrap_or_else(|panic| resume_unwind(panic)));
            }
            shards
        });
        shards.sort_unstable_by_key(|(index, _)| *index);
        Ok(shards.into_iter().map(|(_, shard)| shard).collect())
    }
}

/// Shards that nobody has begun to hash.
struct Todo {
    data: AtomicUsize,
    parity: AtomicUsize,
}

impl Todo {
    /// Copies and hashes data shards until there are no more.
    fn hash_data(&self, data: &[&[u8]], pool: &Arc<Pool>) -> Vec<(usize, Shard)> {
        let next = || Some(self.data.fetch_add(1, Ordering::Relaxed)).filter(|index| *index < data.len());
        iter::from_fn(next).map(|index| (index, copied(data[index], pool))).collect()
    }

    /// Hashes parity shards until there are no more.
    fn hash_parity(&self, data: usize, parity: &[Bytes]) -> Vec<(usize, Shard)> {
        let next = || Some(self.parity.fetch_add(1, Ordering::Relaxed)).filter(|index| *index < parity.len());
        iter::from_fn(next)
            .map(|index| {
                let bytes = parity[index].clone();
                (data + index, Shard { hash: address(&bytes), bytes })
            })
            .collect()
    }
}

fn copied(data: &[u8], pool: &Arc<Pool>) -> Shard {
    let mut buffer = pool.take(data.len());
    let mut hasher = blake3::Hasher::new();
    for (from, to) in data.chunks(BLOCK).zip(buffer.as_mut().chunks_mut(BLOCK)) {
        to.copy_from_slice(from);
        hasher.update(to);
    }
    Shard { hash: ShardHash(hasher.finalize().into()), bytes: buffer.freeze() }
}

/// The address of a shard.
pub(crate) fn address(shard: &[u8]) -> ShardHash {
    ShardHash(blake3::hash(shard).into())
}
