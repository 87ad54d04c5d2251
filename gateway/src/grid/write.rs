//! Writing: a stream of plaintext becomes stripes of which enough shards are durable.
//!
//! # Invariants
//! - A stripe is told to the metadata before its first shard leaves, so that a crash leaves no orphans.
//! - [`Upload::finish`] returns only when every stripe has its quorum of durable shards on distinct miners.
//! - An [`Upload`] that is dropped before [`Upload::keep`] takes its stripes back; a shared one goes when nobody refers to it.

use std::{collections::VecDeque, mem, sync::Arc, time::Duration};

use arion_crypto::{DataKey, Encryptor, WrappedKey, layout};
use arion_daemon::{
    now_ms,
    work::{self, same_host},
};
use arion_net::PeerAddr;
use arion_protocol::{Request, ShardPlacement};
use arion_types::{ShardHash, SignedReceipt, StripeId};
use bytes::Bytes;
use rand::RngCore;
use tokio::{
    sync::OwnedSemaphorePermit,
    task::{JoinHandle, JoinSet},
    time::{Instant, timeout_at},
};

use super::{
    Grid, ShardError,
    give_back::{Owed, Underway},
    pack::{Place, SMALL_OBJECT_BYTES},
    turns::Turn,
};
use crate::{
    manifest::{PartManifest, StripeRecord},
    meta::MetaError,
    peers::Standing,
    placement::Placement,
    stripe_code::{self, CodeError, Shape},
};

/// Attempts to store one shard while its upload waits, and the pause before the second one.
const STORE_ATTEMPTS: u32 = 3;
const STORE_PAUSE: Duration = Duration::from_millis(200);
/// A miner that has not answered an order for this long is asked whether it lives ...
const SILENCE: Duration = Duration::from_secs(1);
/// ... and answers that within this time, however much it has to do.
const SIGN_OF_LIFE: Duration = Duration::from_secs(3);

/// As much as a connection gives at once, and more.
const PIECE_BYTES: usize = 512 << 10;

/// Why an object cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// No map has been finalised, or none is known yet.
    #[error("no map of miners is known yet")]
    NoMap,
    /// Too few miners confirmed.
    #[error("{stored} of the {quorum} shards that must be durable were stored")]
    Quorum {
        /// Shards that became durable.
        stored: usize,
        /// Shards that must.
        quorum: usize,
    },
    /// The metadata cannot be written.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// The stripe cannot be encoded.
    #[error(transparent)]
    Code(#[from] CodeError),
    /// The stream is longer than can be encrypted (256 TiB).
    #[error("stream too long")]
    TooLong,
    /// A part of the gateway failed.
    #[error("internal failure")]
    Internal,
}

impl WriteError {
    /// The same for another upload that failed with this one.
    pub(super) fn for_another(&self) -> Self {
        match self {
            Self::NoMap => Self::NoMap,
            Self::Quorum { stored, quorum } => Self::Quorum { stored: *stored, quorum: *quorum },
            Self::Meta(error) => Self::Meta(error.copy()),
            Self::Code(error) => Self::Code(*error),
            Self::TooLong => Self::TooLong,
            Self::Internal => Self::Internal,
        }
    }
}

/// Where the ciphertext of a stream is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SealedStream {
    /// Bytes of plaintext.
    pub plain_len: u64,
    /// Bytes of ciphertext.
    pub cipher_len: u64,
    /// Where they begin in the first stripe.
    pub offset: u32,
    /// The stripes in order.
    pub stripes: Vec<StripeRecord>,
}

impl SealedStream {
    /// With the key that opens it, wrapped.
    pub fn with_key(self, key: WrappedKey) -> PartManifest {
        let Self { plain_len, cipher_len, offset, stripes } = self;
        PartManifest { plain_len, cipher_len, offset, key, stripes }
    }
}

/// What an upload that was kept holds of the stripe that it shares.
pub struct Kept {
    _place: Option<Place>,
}

/// An object, or a part of one, on its way in.
pub struct Upload {
    grid: Arc<Grid>,
    key: Option<DataKey>,
    encryptor: Option<Encryptor>,
    sealed: Vec<u8>,
    plain_len: u64,
    stored: Vec<StripeRecord>,
    running: VecDeque<JoinHandle<Result<StripeRecord, WriteError>>>,
    place: Option<Place>,
    /// Bytes of plaintext to come, as far as somebody said so.
    announced: Option<u64>,
    /// For what is in `sealed`, once that is more than a small object.
    turn: Option<(usize, Turn)>,
    kept: bool,
}

impl Upload {
    /// Starts a stream under a fresh key.
    pub fn new(grid: Arc<Grid>) -> Self {
        let key = DataKey::random();
        grid.packer.upload_began();
        Self {
            encryptor: Some(Encryptor::new(&key)),
            key: Some(key),
            sealed: Vec::new(),
            plain_len: 0,
            stored: Vec::new(),
            running: VecDeque::new(),
            place: None,
            announced: None,
            turn: None,
            kept: false,
            grid,
        }
    }

    /// With the number of bytes to come, as far as it is known: less room is kept for few.
    #[must_use]
    pub fn announced(mut self, plain: Option<u64>) -> Self {
        self.announced = plain;
        self
    }

    /// Takes plaintext. Waits when enough stripes are on their way, of this upload or of all.
    pub async fn push(&mut self, plain: &[u8]) -> Result<(), WriteError> {
        let room = self.room(self.sealed.len() + plain.len());
        if room > self.turn.as_ref().map_or(0, |(room, _)| *room) {
            // Nobody waits for more with something in hand that others wait for.
            self.turn = None;
            self.turn = Some((room, self.grid.write_turns.take(room).await));
        }
        let encryptor = self.encryptor.as_mut().ok_or(WriteError::Internal)?;
        // Once, not step by step.
        if self.sealed.capacity() < room {
            self.sealed.reserve_exact(room + PIECE_BYTES - self.sealed.len());
        } else if self.sealed.capacity() == 0 {
            self.sealed.reserve(plain.len() + 1_024);
        }
        encryptor.update(plain, &mut self.sealed).map_err(|_| WriteError::TooLong)?;
        self.plain_len += plain.len() as u64;
        self.grid.metrics.bytes_in.inc_by(plain.len() as u64);
        self.send_full().await
    }

    /// Ends the stream and waits for its stripes; also returns the key that it is sealed under. A short stream shares a
    /// stripe with others. The stripes stay only if [`Upload::keep`] is called later.
    pub async fn finish(&mut self) -> Result<(SealedStream, DataKey), WriteError> {
        let encryptor = self.encryptor.take().ok_or(WriteError::Internal)?;
        encryptor.finish(&mut self.sealed).map_err(|_| WriteError::TooLong)?;
        self.send_full().await?;
        let key = self.key.take().ok_or(WriteError::Internal)?;
        let last = mem::take(&mut self.sealed);
        let is_whole = self.stored.is_empty() && self.running.is_empty();
        if is_whole && last.len() <= self.grid.options.pack_object_bytes {
            let cipher_len = last.len() as u64;
            let place = self.grid.pack(last).await?;
            let (offset, record) = (place.offset(), place.record().clone());
            self.place = Some(place);
            return Ok((
                SealedStream { plain_len: self.plain_len, cipher_len, offset, stripes: vec![record] },
                key,
            ));
        }
        if !last.is_empty() {
            self.send(last).await?;
        }
        while !self.running.is_empty() {
            self.wait_oldest().await?;
        }
        let sealed = SealedStream {
            plain_len: self.plain_len,
            cipher_len: self.stored.iter().map(|stripe| u64::from(stripe.len)).sum(),
            offset: 0,
            stripes: self.stored.clone(),
        };
        Ok((sealed, key))
    }

    /// The stripes are referred to from now on. A shared one stays in any case until the answer is dropped.
    pub fn keep(mut self) -> Kept {
        self.kept = true;
        Kept { _place: self.place.take() }
    }

    /// Room for an upload that has so many bytes by now: none for a small one, for one that may share a stripe what was
    /// announced, for all others a stripe.
    fn room(&self, bytes: usize) -> usize {
        let options = &self.grid.options;
        if bytes <= SMALL_OBJECT_BYTES.min(options.pack_object_bytes) {
            return 0;
        }
        let announced = self.announced.and_then(|plain| usize::try_from(layout::ciphertext_len(plain)).ok());
        let shares = |sealed: &usize| (bytes..=options.pack_object_bytes).contains(sealed);
        announced.filter(shares).unwrap_or(options.stripe_bytes)
    }

    async fn send_full(&mut self) -> Result<(), WriteError> {
        let stripe_bytes = self.grid.options.stripe_bytes;
        while self.sealed.len() >= stripe_bytes {
            let mut next = Vec::with_capacity(stripe_bytes + PIECE_BYTES);
            next.extend_from_slice(&self.sealed[stripe_bytes..]);
            let mut full = mem::replace(&mut self.sealed, next);
            full.truncate(stripe_bytes);
            self.send(full).await?;
        }
        Ok(())
    }

    async fn send(&mut self, sealed: Vec<u8>) -> Result<(), WriteError> {
        while self.running.len() >= self.grid.options.stripes_in_flight {
            self.wait_oldest().await?;
        }
        let store = self.grid.clone().store_stripe(sealed, self.turn.take().map(|(_, turn)| turn));
        self.running.push_back(tokio::spawn(same_host(store)));
        Ok(())
    }

    async fn wait_oldest(&mut self) -> Result<(), WriteError> {
        // The handle stays in the queue until it is done, so that a dropped upload still knows of it.
        let Some(oldest) = self.running.front_mut() else { return Ok(()) };
        let outcome = oldest.await.unwrap_or(Err(WriteError::Internal));
        self.running.pop_front();
        self.stored.push(outcome?);
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.grid.packer.upload_ended();
        if self.kept || (self.stored.is_empty() && self.running.is_empty()) {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (grid, running) = (self.grid.clone(), mem::take(&mut self.running));
        let mut ids: Vec<StripeId> = self.stored.iter().map(StripeRecord::id).collect();
        runtime.spawn(same_host(async move {
            for handle in running {
                if let Ok(Ok(record)) = handle.await {
                    ids.push(record.id());
                }
            }
            grid.give_back(Owed::Stripes(ids)).await;
        }));
    }
}

/// A stripe ready to be sent.
struct Outgoing {
    id: StripeId,
    record: StripeRecord,
    shards: Vec<Bytes>,
    slots: OwnedSemaphorePermit,
    sharing: Sharing,
}

/// Whether a stripe is held from the moment on in which it is stored.
#[derive(Clone, Copy)]
pub(super) enum Sharing {
    Alone,
    Shared,
}

type Sent = (u8, Result<SignedReceipt, ShardError>);

impl Grid {
    /// Encodes, sends, and waits for the quorum; the rest goes on in the background.
    pub(super) async fn store_stripe(
        self: Arc<Self>,
        sealed: Vec<u8>,
        turn: Option<Turn>,
    ) -> Result<StripeRecord, WriteError> {
        let map = self.maps.current().ok_or(WriteError::NoMap)?;
        let shape = map.shape();
        self.store_shaped((sealed, turn), (map, shape), Sharing::Alone).await
    }

    /// The same for several, who hold it until they let it go.
    pub(super) async fn store_shared_stripe(
        self: Arc<Self>,
        sealed: Vec<u8>,
    ) -> Result<StripeRecord, WriteError> {
        let map = self.maps.current().ok_or(WriteError::NoMap)?;
        let shape = map.shape();
        self.store_shaped((sealed, None), (map, shape), Sharing::Shared).await
    }

    /// The same with another shape of as many shards.
    pub(super) async fn store_shaped(
        self: Arc<Self>,
        (sealed, turn): (Vec<u8>, Option<Turn>),
        (map, shape): (Arc<Placement>, Shape),
        sharing: Sharing,
    ) -> Result<StripeRecord, WriteError> {
        let slots = u32::from(shape.data) + u32::from(shape.parity);
        let slots = self.shard_slots.clone().acquire_many_owned(slots).await;
        let slots = slots.map_err(|_| WriteError::Internal)?;
        let epoch = map.epoch();
        // The stripe is gone when its shards are there: each of them is held, and counted, for itself.
        let encoded = work::blocking(move || encode(sealed, shape, epoch)).await;
        let (record, shards) = encoded.map_err(|_| WriteError::Internal)??;
        drop(turn);
        let id = record.id();
        let underway = Underway::new(&self, Owed::Failed(record.clone()));
        self.meta.begin_stripe(id, record.clone()).await?;
        let outgoing = Outgoing { id, record: record.clone(), shards, slots, sharing };
        match self.clone().spread(&map, outgoing).await {
            Ok(()) => {
                underway.kept();
                self.metrics.stripes_stored.inc();
                Ok(record)
            }
            Err(error) => {
                self.metrics.stripes_refused.inc();
                underway.give_back().await;
                Err(error)
            }
        }
    }

    /// When whoever still sends shards behind the quorum is done.
    pub(super) fn behind_tail_ms(&self) -> u64 {
        let tail_ms = u64::try_from(self.options.tail.as_millis()).unwrap_or(u64::MAX);
        now_ms().saturating_add(tail_ms)
    }

    async fn spread(self: Arc<Self>, map: &Placement, outgoing: Outgoing) -> Result<(), WriteError> {
        let Outgoing { id, record, shards, mut slots, sharing } = outgoing;
        // As many for any shape: it is how many miners may vanish that counts.
        let quorum = usize::from(map.params().ec_k) + usize::from(self.options.quorum_extra);
        let quorum = quorum.min(shards.len());
        let mut receipts = Vec::with_capacity(shards.len());
        let pg = map.group(&id);
        let mut senders: JoinSet<Sent> = JoinSet::new();
        let mut resting = Vec::new();
        // Whoever sends a shard alone has its bytes: they go with its slot.
        let launch = |senders: &mut JoinSet<Sent>, (index, peer, bytes): (u8, PeerAddr, Bytes), slot| {
            let placement =
                ShardPlacement { stripe: id, pg, index, epoch: record.epoch, size: record.shard_len };
            let (grid, shard) = (self.clone(), record.hashes[usize::from(index)]);
            senders.spawn(same_host(async move {
                let receipt = grid.store_patiently(&peer, shard, placement, bytes).await;
                drop::<Option<OwnedSemaphorePermit>>(slot);
                (index, receipt)
            }));
        };
        for ((index, miner), bytes) in (0u8..).zip(map.place(&id)).zip(shards) {
            let Some(miner) = miner else { continue };
            let peer = self.maps.address(miner);
            match self.peers.standing(&peer.node_id) {
                Standing::Down => resting.push((index, peer, bytes)),
                Standing::Good | Standing::Slow => launch(&mut senders, (index, peer, bytes), slots.split(1)),
            }
        }
        let deadline = Instant::now() + self.options.stripe_timeout;
        while receipts.len() < quorum {
            if receipts.len() + senders.len() < quorum {
                // Even miners that seemed down are asked before the stripe is given up, but for those that were silent
                // a moment ago.
                for (index, peer, bytes) in
                    resting.drain(..).filter(|(_, peer, _)| !self.peers.failed_lately(&peer.node_id))
                {
                    launch(&mut senders, (index, peer, bytes), slots.split(1));
                }
            }
            if receipts.len() + senders.len() < quorum {
                return Err(WriteError::Quorum { stored: receipts.len(), quorum });
            }
            match timeout_at(deadline, senders.join_next()).await {
                Ok(Some(Ok((_, Ok(receipt))))) => receipts.push(receipt),
                Ok(Some(Ok((index, Err(error))))) => {
                    tracing::debug!(stripe = %id, index, %error, "a shard was not stored");
                }
                Ok(Some(Err(_))) => return Err(WriteError::Internal),
                Ok(None) | Err(_) => return Err(WriteError::Quorum { stored: receipts.len(), quorum }),
            }
        }
        // What came in the same moment is entered with the rest.
        while let Some(Ok((_, Ok(receipt)))) = senders.try_join_next() {
            receipts.push(receipt);
        }
        let missing_from_ms = self.behind_tail_ms();
        match sharing {
            Sharing::Alone => self.meta.stripe_stored(id, receipts, missing_from_ms).await?,
            Sharing::Shared => self.meta.shared_stripe_stored(id, receipts, missing_from_ms).await?,
        }
        drop((resting, slots));
        if !senders.is_empty() {
            tokio::spawn(same_host(self.clone().tail(id, senders)));
        }
        Ok(())
    }

    /// Waits for the shards behind the quorum.
    async fn tail(self: Arc<Self>, id: StripeId, mut senders: JoinSet<Sent>) {
        while let Some(sent) = senders.join_next().await {
            match sent {
                Ok((_, Ok(receipt))) => {
                    self.metrics.shards_late.inc();
                    if let Err(error) = self.meta.late_receipt(id, receipt, now_ms()).await {
                        tracing::warn!(%error, "a late receipt was not entered; the shard is sent again later");
                    }
                }
                Ok((index, Err(error))) => {
                    tracing::debug!(stripe = %id, index, %error, "a shard is missing for now");
                }
                Err(error) => tracing::error!(%error, "a sender failed"),
            }
        }
    }

    async fn store_patiently(
        &self,
        peer: &PeerAddr,
        shard: ShardHash,
        placement: ShardPlacement,
        bytes: Bytes,
    ) -> Result<SignedReceipt, ShardError> {
        let mut pause = STORE_PAUSE;
        for _ in 1..STORE_ATTEMPTS {
            let began = Instant::now();
            match self.store_while_alive(peer, shard, placement, bytes.clone()).await {
                // Who was silent for that long does not answer the next moment.
                Err(error) if error.is_silence() && began.elapsed() >= SILENCE => return Err(error),
                Err(error) if error.is_passing() => tokio::time::sleep(pause).await,
                done => return done,
            }
            pause *= 3;
        }
        self.store_while_alive(peer, shard, placement, bytes).await
    }

    /// One attempt, which does not wait for its whole time when the miner gives no sign of life: a connection to a
    /// process that was killed looks like one to a busy miner.
    async fn store_while_alive(
        &self,
        peer: &PeerAddr,
        shard: ShardHash,
        placement: ShardPlacement,
        bytes: Bytes,
    ) -> Result<SignedReceipt, ShardError> {
        let store = self.store_shard(peer, shard, placement, bytes);
        tokio::pin!(store);
        loop {
            tokio::select! {
                done = &mut store => return done,
                () = tokio::time::sleep(SILENCE) => {}
            }
            tokio::select! {
                done = &mut store => return done,
                sign = self.call(peer, Request::Ping, Bytes::new(), SIGN_OF_LIFE) => match sign {
                    Err(error) if error.is_silence() => return Err(error),
                    _ => {}
                },
            }
        }
    }
}

/// Pads, encodes and hashes: what takes time.
fn encode(
    mut sealed: Vec<u8>,
    shape: Shape,
    epoch: arion_types::Epoch,
) -> Result<(StripeRecord, Vec<Bytes>), CodeError> {
    let len = sealed.len();
    let shard_len = stripe_code::shard_len(len, shape);
    sealed.resize(shard_len * usize::from(shape.data), 0);
    rand::rng().fill_bytes(&mut sealed[len..]);
    let shards = stripe_code::encode(&sealed, shape, shard_len)?;
    let (hashes, shards) = shards.into_iter().map(|shard| (shard.hash, shard.bytes)).unzip();
    let record = StripeRecord {
        epoch,
        len: u32::try_from(len).map_err(|_| CodeError::Shape)?,
        shard_len: u32::try_from(shard_len).map_err(|_| CodeError::Shape)?,
        data_shards: shape.data,
        hashes,
    };
    Ok((record, shards))
}
