//! Reading: shards in parallel from whoever answers first, decoded only where a data shard is missing.
//!
//! One stripe is fetched by `fetch.rs`, some of those behind it ahead of time. Shards that were read lately are still there,
//! see `cache.rs`; nobody is asked for them.

mod fetch;
mod pieces;

use std::{collections::VecDeque, ops::Range, sync::Arc};

use arion_crypto::{DataKey, Decryptor, segment_range};
use arion_daemon::work::same_host;
use bytes::{Bytes, BytesMut};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use self::{
    fetch::Fetch,
    pieces::{Wanted, pieces},
};
use super::{Grid, turns::Turn};
use crate::{
    manifest::{PartManifest, StripeRecord},
    stripe_code::CodeError,
};

/// Ciphertext of a whole segment.
const SEALED_BYTES: usize = arion_crypto::SEGMENT_BYTES + arion_crypto::TAG_BYTES;
/// Pieces of plaintext that wait for a slow client.
const PIECES_WAITING: usize = 32;

/// Why an object cannot be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// Too few shards could be had.
    #[error("{found} of the {needed} shards that a stripe needs could be read")]
    Unreadable {
        /// Shards that could.
        found: usize,
        /// Shards needed.
        needed: usize,
    },
    /// The stripe cannot be decoded.
    #[error(transparent)]
    Code(#[from] CodeError),
    /// The shards are as signed, but they do not open under the key.
    #[error(transparent)]
    Sealed(#[from] arion_crypto::OpenError),
    /// A part of the gateway failed.
    #[error("internal failure")]
    Internal,
}

/// A part of an object with the key that opens it.
pub struct OpenPart {
    /// Where its bytes are.
    pub manifest: PartManifest,
    /// Its key.
    pub key: DataKey,
}

/// Plaintext as it comes.
pub type Plaintext = mpsc::Receiver<Result<Bytes, ReadError>>;

impl Grid {
    /// The bytes `range` of the plaintext of the parts, one behind the other. The range must lie within.
    ///
    /// Reading stops when the receiver is dropped.
    pub fn read(self: &Arc<Self>, parts: Vec<OpenPart>, range: Range<u64>) -> Plaintext {
        let (sender, receiver) = mpsc::channel(PIECES_WAITING);
        let grid = self.clone();
        tokio::spawn(same_host(async move {
            let mut start = 0u64;
            for part in parts {
                let end = start.saturating_add(part.manifest.plain_len);
                let within = range.start.max(start)..range.end.min(end);
                // An empty object has nothing to read but still something to verify: its one segment.
                if within.start < within.end || (range.is_empty() && part.manifest.plain_len == 0) {
                    let within = within.start - start..within.end.max(within.start) - start;
                    if let Err(error) = grid.read_part(&part, within, &sender).await {
                        let _ = sender.send(Err(error)).await;
                        return;
                    }
                }
                start = end;
            }
        }));
        receiver
    }

    async fn read_part(
        self: &Arc<Self>,
        part: &OpenPart,
        plain: Range<u64>,
        sender: &mpsc::Sender<Result<Bytes, ReadError>>,
    ) -> Result<(), ReadError> {
        let manifest = &part.manifest;
        if !manifest.is_possible() {
            return Err(CodeError::Shape.into());
        }
        let (segments, sealed) = match plain.is_empty() {
            true => (0..1, 0..manifest.cipher_len),
            false => segment_range(plain.clone(), manifest.plain_len),
        };
        let last_segment = arion_crypto::layout::segment_count(manifest.plain_len) - 1;
        let decryptor = Decryptor::new(&part.key);
        let mut stripes =
            Stripes { grid: self.clone(), todo: pieces(manifest, sealed.clone()), running: VecDeque::new() };
        let mut buffer = BytesMut::new();
        let mut segment = segments.start;
        let mut left = sealed.end - sealed.start;
        while let Some(mut shards) = stripes.next().await {
            while let Some(bytes) = shards.bytes.recv().await {
                let bytes = bytes?;
                left -= bytes.len() as u64;
                buffer.extend_from_slice(&bytes);
                while buffer.len() >= SEALED_BYTES || (left == 0 && !buffer.is_empty()) {
                    let mut whole = buffer.split_to(buffer.len().min(SEALED_BYTES));
                    let opened = decryptor.open(segment, segment == last_segment, &mut whole)?.len();
                    whole.truncate(opened);
                    let start = segment * arion_crypto::SEGMENT_BYTES as u64;
                    let from = plain.start.max(start) - start;
                    let to = plain.end.min(start + opened as u64).saturating_sub(start).max(from);
                    let piece = whole.freeze().slice(from as usize..to as usize);
                    self.metrics.bytes_out.inc_by(piece.len() as u64);
                    if !piece.is_empty() && sender.send(Ok(piece)).await.is_err() {
                        return Ok(());
                    }
                    segment += 1;
                }
            }
        }
        if left == 0 && segment == segments.end { Ok(()) } else { Err(ReadError::Internal) }
    }

    /// Whole data shards of a stripe, in order: what the background work starts from.
    pub(super) async fn read_stripe(
        self: &Arc<Self>,
        record: &StripeRecord,
    ) -> Result<Vec<Bytes>, ReadError> {
        if !record.is_possible() {
            return Err(CodeError::Shape.into());
        }
        let data = usize::from(record.data_shards);
        let whole = Wanted { record: record.clone(), bytes: 0..data * record.shard_len as usize };
        let (sender, mut receiver) = mpsc::channel(data);
        let fetch = tokio::spawn(same_host(Fetch::run(self.clone(), whole, sender)));
        let mut shards = Vec::with_capacity(data);
        while let Some(shard) = receiver.recv().await {
            shards.push(shard?);
        }
        fetch.await.map_err(|_| ReadError::Internal)?;
        if shards.len() == data { Ok(shards) } else { Err(ReadError::Internal) }
    }
}

/// How many bytes the shards of a part are asked for where these of its ciphertext are wanted.
#[cfg(any(test, feature = "checks"))]
pub(crate) fn wanted_bytes(part: &PartManifest, sealed: Range<u64>) -> u64 {
    let pieces = pieces(part, sealed);
    let of_piece =
        |piece: &Wanted| piece.shards().map(|shard| piece.of_shard(shard).len() as u64).sum::<u64>();
    pieces.iter().map(of_piece).sum()
}

/// Stripes fetched one behind the other, some of them ahead.
struct Stripes {
    grid: Arc<Grid>,
    todo: VecDeque<Wanted>,
    running: VecDeque<Shards>,
}

struct Shards {
    bytes: mpsc::Receiver<Result<Bytes, ReadError>>,
    _room: Room,
}

/// What bounds the shards in memory.
enum Room {
    Turn(#[expect(dead_code, reason = "held")] Turn),
    Ahead(#[expect(dead_code, reason = "held")] OwnedSemaphorePermit),
}

impl Stripes {
    /// The next stripe, when it is its turn; stripes behind it only while slots are free.
    async fn next(&mut self) -> Option<Shards> {
        let next = match self.running.pop_front() {
            Some(shards) => shards,
            None => {
                let wanted = self.todo.pop_front()?;
                let bytes = wanted.shards().len() * wanted.record.shard_len as usize;
                let turn = self.grid.read_turns.take(bytes).await;
                self.start(wanted, Room::Turn(turn))
            }
        };
        while self.running.len() < self.grid.options.stripes_ahead && !self.todo.is_empty() {
            let Ok(slot) = self.grid.ahead_slots.clone().try_acquire_owned() else { break };
            let Some(wanted) = self.todo.pop_front() else { break };
            let shards = self.start(wanted, Room::Ahead(slot));
            self.running.push_back(shards);
        }
        Some(next)
    }

    fn start(&self, wanted: Wanted, room: Room) -> Shards {
        let (sender, bytes) = mpsc::channel(wanted.shards().len().max(1));
        tokio::spawn(same_host(Fetch::run(self.grid.clone(), wanted, sender)));
        Shards { bytes, _room: room }
    }
}
