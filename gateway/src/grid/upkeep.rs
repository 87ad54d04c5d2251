//! Background work: shards that never arrived are re-created and sent again, unwanted ones are deleted, uploads in parts
//! that were never completed are given up, holes of shared stripes are reclaimed (`super::compact`), copies that nobody needs
//! are (`super::surplus`), receipts of a snapshot become lines (`super::confirm`).
//!
//! Both queues are on disk; every row is retried with back-off until a miner confirms.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use arion_daemon::{Shutdown, now_ms};
use arion_net::{CallError, PeerAddr};
use arion_protocol::{ErrorCode, Request, ShardPlacement};
use arion_types::{NodeId, StripeId};
use bytes::Bytes;
use futures_util::{StreamExt, stream};

use super::{Grid, ShardError};
use crate::{
    manifest::StripeRecord,
    meta::{DeleteRow, LeftBehind, MetaError, ShardPlace, UploadKey},
    peers::Standing,
    stripe_code::{self, Shape},
};

/// Pause between two looks at the queues.
const TICK: Duration = Duration::from_secs(1);
/// Rows of a queue taken at once.
const ROWS_MAX: usize = 512;
/// Deletions under way at once.
const DELETES_AT_ONCE: usize = 32;
/// A deletion is given up after this time: the miner has left or lost its disk.
pub(super) const DELETE_GIVEN_UP_MS: u64 = 14 * 24 * 3_600 * 1_000;
/// A miner that is in no current map is not waited for longer than this many attempts.
pub(super) const DELETE_ATTEMPTS_GONE: u32 = 8;
/// Uploads looked at in one step of giving up old ones, and stripes that a step releases (one part more at the most).
const UPLOADS_MAX: usize = 256;
const STRIPES_RELEASED: usize = 256;
/// What a replica left is taken back when it was gone for this long.
const REPLICA_GONE: Duration = Duration::from_secs(10);
/// Time for a sign of life before a stripe is read for a miner.
const PING_TIMEOUT: Duration = Duration::from_secs(3);

impl Grid {
    /// Takes back what a crash left in flight; run once before anything is written. What replicas left is taken back by the one
    /// that leads.
    pub async fn recover(&self) -> Result<usize, MetaError> {
        if self.meta.is_shared() {
            return Ok(0);
        }
        let pinned = self.meta.pinned_stripes().await?;
        let left = self.meta.inflight_stripes().await?;
        let mut count = left.len();
        if !pinned.is_empty() {
            count += self.meta.unpin_stripes(pinned, now_ms()).await?;
        }
        if !left.is_empty() {
            self.meta.discard_stripes(left, now_ms()).await?;
        }
        Ok(count)
    }

    /// Works through the queues until the shutdown.
    pub async fn upkeep(self: Arc<Self>, shutdown: Shutdown) {
        let work = async {
            let mut seen = None;
            let mut pace = super::compact::Pace::default();
            let mut surplus = super::surplus::Pace::default();
            let mut gone = HashMap::new();
            loop {
                let expired = self.expire_uploads(&mut seen);
                let compacted = self.compact(&mut pace);
                let (filled, deleted, expired, compacted, indexed, cleared) = tokio::join!(
                    self.fill_missing(),
                    self.delete_unwanted(),
                    expired,
                    compacted,
                    self.meta.index_receipts(),
                    self.clear_surplus(&mut surplus)
                );
                let taken_back = self.take_back(&mut gone).await;
                let errors = [
                    filled.err(),
                    deleted.err(),
                    expired.err(),
                    compacted.err(),
                    indexed.err(),
                    cleared.err(),
                    taken_back.err(),
                ];
                for error in errors.into_iter().flatten() {
                    tracing::warn!(%error, "background work failed and is tried again");
                }
                tokio::time::sleep(TICK).await;
            }
        };
        tokio::select! {
            ((), ()) = async { tokio::join!(work, self.confirm_receipts()) } => {}
            () = shutdown.wait() => {}
        }
    }

    /// Keeps the metrics of the queues as they are until the shutdown; they say the same at each replica.
    pub async fn measure(self: Arc<Self>, shutdown: Shutdown) {
        let work = async {
            loop {
                self.measure_once().await;
                tokio::time::sleep(TICK).await;
            }
        };
        tokio::select! {
            () = work => {}
            () = shutdown.wait() => {}
        }
    }

    /// Takes back what replicas left that are gone; `gone` is since when. One whose connection was lost for a moment is still
    /// there, and goes on.
    async fn take_back(&self, gone: &mut HashMap<u32, Instant>) -> Result<(), MetaError> {
        let left = self.meta.left_behind().await?;
        gone.retain(|replica, _| left.iter().any(|left| left.replica == *replica));
        let mut is_gone =
            |replica| gone.entry(replica).or_insert_with(Instant::now).elapsed() >= REPLICA_GONE;
        let (pinned, inflight): (Vec<_>, Vec<_>) =
            left.into_iter().filter(|left| is_gone(left.replica)).partition(|left| left.is_pinned);
        let ids = |left: Vec<LeftBehind>| left.into_iter().map(|left| left.stripe).collect::<Vec<_>>();
        let (pinned, inflight) = (ids(pinned), ids(inflight));
        if !pinned.is_empty() {
            self.meta.unpin_stripes(pinned, now_ms()).await?;
        }
        if !inflight.is_empty() {
            tracing::info!(
                stripes = inflight.len(),
                "what a replica that is gone left in flight is taken back"
            );
            self.meta.discard_stripes(inflight, now_ms()).await?;
        }
        Ok(())
    }

    /// One step of giving up uploads that were begun too long ago and never completed; `seen` is how far earlier steps
    /// came.
    async fn expire_uploads(&self, seen: &mut Option<UploadKey>) -> Result<(), MetaError> {
        let now = now_ms();
        let age_ms = u64::try_from(self.options.upload_age_max.as_millis()).unwrap_or(u64::MAX);
        let before = now.saturating_sub(age_ms);
        let (expired, next) = self.meta.next_expired(seen.take(), UPLOADS_MAX, before).await?;
        *seen = next;
        let Some(upload) = expired else { return Ok(()) };
        let given_up = self.meta.give_up_upload(upload.clone(), STRIPES_RELEASED, now).await;
        match self.meta.readable(given_up, &upload)? {
            Some(true) => {
                self.metrics.uploads_expired.inc();
                tracing::info!(
                    bucket = upload.bucket,
                    key = upload.key,
                    "an upload in parts was given up: too old"
                );
            }
            Some(false) => {}
            // Others are behind it.
            None => *seen = Some(upload),
        }
        Ok(())
    }

    async fn measure_once(&self) {
        // First: who sees lines of a ledger knows whether there will be more of the snapshot.
        if let Ok(unconfirmed) = self.meta.unconfirmed_len().await {
            self.metrics.shards_unconfirmed.set(unconfirmed as i64);
        }
        if let (Ok((missing, deletes)), Ok(lines)) = (self.meta.backlog().await, self.meta.ledger_len().await)
        {
            self.metrics.shards_missing.set(missing as i64);
            self.metrics.deletes_queued.set(deletes as i64);
            self.metrics.ledger_entries.set(lines as i64);
        }
        if let Ok(releases) = self.meta.releases_len().await {
            self.metrics.releases_queued.set(releases as i64);
        }
        self.metrics.rows_unreadable.set(self.meta.unreadable_rows() as i64);
        self.metrics.miners_down.set(self.peers.down_count() as i64);
    }

    async fn fill_missing(self: &Arc<Self>) -> Result<(), MetaError> {
        let mut by_stripe: BTreeMap<StripeId, Vec<ShardPlace>> = BTreeMap::new();
        for (place, row) in self.meta.due_missing(now_ms(), ROWS_MAX).await? {
            by_stripe.entry(row.stripe).or_default().push(place);
        }
        let mut alive = HashMap::new();
        for (id, mut gaps) in by_stripe {
            let filled = self.fill_gaps(id, &mut gaps, &mut alive).await;
            if !self.meta.readable(filled, id)?.unwrap_or(false) {
                self.meta.postpone_missing(gaps, now_ms()).await?;
            }
        }
        Ok(())
    }

    /// Sends all shards of a stripe that are missing, of which `gaps` are due: it is read once, or found unreadable once.
    async fn fill_gaps(
        self: &Arc<Self>,
        id: StripeId,
        gaps: &mut Vec<ShardPlace>,
        alive: &mut HashMap<NodeId, bool>,
    ) -> Result<bool, MetaError> {
        let Some(record) = self.meta.stripe(id).await? else { return Ok(true) };
        *gaps = self.meta.missing_of(record.clone()).await?;
        Ok(gaps.is_empty() || self.fill_stripe(&record, gaps, alive).await?)
    }

    /// Sends a stripe's missing shards to the miners that are alive; whether none is missing any more.
    async fn fill_stripe(
        self: &Arc<Self>,
        record: &StripeRecord,
        gaps: &[ShardPlace],
        alive: &mut HashMap<NodeId, bool>,
    ) -> Result<bool, MetaError> {
        let id = record.id();
        let Some(map) = self.maps.of(record.epoch) else { return Ok(false) };
        let places = map.place(&id);
        let mut targets = Vec::new();
        for ShardPlace { shard, index } in gaps {
            let Some(Some(miner)) = places.get(usize::from(*index)) else { continue };
            let peer = self.maps.address(miner);
            let answers = match alive.get(&peer.node_id) {
                Some(answers) => *answers,
                None => {
                    let answers = self.is_alive(&peer).await;
                    alive.insert(peer.node_id, answers);
                    answers
                }
            };
            if answers {
                targets.push((*shard, *index, peer));
            }
        }
        if targets.is_empty() {
            return Ok(false);
        }
        let shards = match self.all_shards(record).await {
            Ok(shards) => shards,
            Err(error) => {
                tracing::warn!(stripe = %id, %error, "missing shards cannot be re-created now");
                return Ok(false);
            }
        };
        let mut filled = 0;
        for (shard, index, peer) in targets {
            let Some(bytes) = shards.get(usize::from(index)) else { continue };
            let placement = ShardPlacement {
                stripe: id,
                pg: map.group(&id),
                index,
                epoch: record.epoch,
                size: record.shard_len,
            };
            match self.store_shard(&peer, shard, placement, bytes.clone()).await {
                Ok(receipt) => {
                    self.meta.late_receipt(id, receipt, now_ms()).await?;
                    self.metrics.shards_filled.inc();
                    filled += 1;
                }
                Err(error) => tracing::debug!(%shard, %error, "a missing shard was not stored"),
            }
        }
        Ok(filled == gaps.len())
    }

    async fn is_alive(&self, peer: &PeerAddr) -> bool {
        self.peers.standing(&peer.node_id) != Standing::Down
            && self.call(peer, Request::Ping, Bytes::new(), PING_TIMEOUT).await.is_ok()
    }

    /// All shards of a stripe, re-created from those that can be had, each checked against its address.
    async fn all_shards(
        self: &Arc<Self>,
        record: &StripeRecord,
    ) -> Result<Vec<Bytes>, super::read::ReadError> {
        use super::read::ReadError;
        let data = self.read_stripe(record).await?;
        let parity = record.hashes.len().saturating_sub(data.len());
        let parity = u8::try_from(parity).map_err(|_| ReadError::Internal)?;
        let shape = Shape { data: record.data_shards, parity };
        let (shard_len, hashes) = (record.shard_len as usize, record.hashes.clone());
        let encoded = arion_daemon::work::blocking(move || {
            let shards = stripe_code::encode(&data.concat(), shape, shard_len)?;
            let same = shards.iter().zip(&hashes).all(|(shard, hash)| shard.hash == *hash);
            if !same {
                return Err(ReadError::Internal);
            }
            Ok(shards.into_iter().map(|shard| shard.bytes).collect())
        });
        encoded.await.map_err(|_| ReadError::Internal)?
    }

    async fn delete_unwanted(self: &Arc<Self>) -> Result<(), MetaError> {
        let begun_ms = now_ms();
        let due = self.meta.due_deletes(begun_ms, ROWS_MAX).await?;
        if due.is_empty() {
            return Ok(());
        }
        let outcomes: Vec<_> = stream::iter(due)
            .map(|(place, row)| async move { (place, self.delete_everywhere(place, row).await) })
            .buffer_unordered(DELETES_AT_ONCE)
            .collect()
            .await;
        self.meta.deletes_tried(outcomes, begun_ms, now_ms()).await
    }

    /// Orders the deletion where the shard was placed and where the current map places it; the row that is left.
    async fn delete_everywhere(&self, place: ShardPlace, mut row: DeleteRow) -> Option<DeleteRow> {
        let shard = place.shard;
        let now = now_ms();
        if now.saturating_sub(row.queued_ms) > DELETE_GIVEN_UP_MS {
            tracing::warn!(%shard, "a deletion was given up: its miner has not answered for two weeks");
            return None;
        }
        let current = self.maps.current();
        let mut peers: Vec<PeerAddr> = Vec::new();
        let origin = self.maps.of(row.epoch);
        for map in origin.iter().chain(&current) {
            if let Some(Some(miner)) = map.place(&row.stripe).get(usize::from(row.index)) {
                let peer = self.maps.address(miner);
                if !peers.contains(&peer) {
                    peers.push(peer);
                }
            }
        }
        // And where repair has brought it since.
        let Ok(moved) = self.meta.moved_to(place).await else { return Some(row) };
        for peer in moved.iter().filter_map(|node| self.maps.find(node)) {
            if !peers.contains(&peer) {
                peers.push(peer);
            }
        }
        if peers.is_empty() {
            return current.is_none().then_some(row);
        }
        let mut open = false;
        for peer in peers {
            if row.done.contains(&peer.node_id) {
                continue;
            }
            let in_map = current.as_ref().is_some_and(|map| map.miner(&peer.node_id).is_some());
            // Also one that is not even asked because it was silent a moment ago: else it is luck whether an attempt ever counts.
            let is_waited_for = in_map || row.attempts < DELETE_ATTEMPTS_GONE;
            if self.peers.standing(&peer.node_id) == Standing::Down {
                open |= is_waited_for;
                continue;
            }
            match self.delete_shard(&peer, shard).await {
                Ok(()) => row.done.push(peer.node_id),
                // Who says that it will do so later is there.
                Err(error) if is_waited_for || is_put_off(&error) => {
                    tracing::debug!(%shard, %error, "a shard was not deleted");
                    open = true;
                }
                Err(_) => {}
            }
        }
        open.then_some(row)
    }
}

/// Whether a miner will do later what it is told: it asks others first about what somebody else had stored there.
fn is_put_off(error: &ShardError) -> bool {
    let ShardError::Call(CallError::Refused { code, .. }) = error else { return false };
    matches!(code, ErrorCode::Unavailable | ErrorCode::Busy)
}
