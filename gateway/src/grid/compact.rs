//! Reclaiming the holes of shared stripes: what is left in them is written anew, several of them into one, as it is.
//!
//! Ciphertext moves without being opened: neither keys nor customers are needed.
//!
//! # Invariants
//! - A manifest refers to the new stripe only after that has its quorum; the old one stays readable for a while.
//! - The new stripe has no shard that another one has: the ledger, audits and deletions know a shard by its address, and what is done
//!   to one stripe would be done to the other.
//! - Reading and writing together stay below [`compact_bytes_per_second`](super::GridOptions::compact_bytes_per_second).

use std::{collections::HashSet, sync::Arc, time::Duration};

use arion_daemon::now_ms;
use arion_types::{ShardHash, StripeId};
use rand::RngCore;
use tokio::time::Instant;

use super::{
    Grid,
    give_back::{Owed, Underway},
    write::{Sharing, WriteError},
};
use crate::{
    meta::{Holed, MetaError, Moved},
    stripe_code::{self, Shape},
};

/// Stripes looked at in one step.
const LOOKED_AT: usize = 64;
/// Bytes in front of what is moved, at most: as many alignments are tried.
const FRONT_MAX: usize = 64;

/// When compaction may go on.
#[derive(Default)]
pub(super) struct Pace {
    not_before: Option<Instant>,
}

impl Pace {
    fn rests(&self, now: Instant) -> bool {
        self.not_before.is_some_and(|time| now < time)
    }

    fn spend(&mut self, now: Instant, bytes: u64, per_second: u64) {
        let pause_ms = bytes.saturating_mul(1_000) / per_second.max(1);
        self.not_before = Some(now + Duration::from_millis(pause_ms));
    }
}

impl Holed {
    /// Bytes that are still needed.
    fn live_bytes(&self) -> u64 {
        self.live.iter().map(|(_, len)| u64::from(*len)).sum()
    }

    fn is_worth_it(&self, below_percent: u8) -> bool {
        let total = u64::from(self.record.len);
        !self.live.is_empty() && self.live_bytes() * 100 < total * u64::from(below_percent)
    }
}

impl Grid {
    /// One step: as many stripes with holes as fit into a new one.
    pub(super) async fn compact(self: &Arc<Self>, pace: &mut Pace) -> Result<(), MetaError> {
        let per_second = self.options.compact_bytes_per_second;
        if per_second == 0 || pace.rests(Instant::now()) {
            return Ok(());
        }
        let mut accepted: Vec<StripeId> = Vec::new();
        let mut chosen: Vec<(StripeId, Holed)> = Vec::new();
        let mut bytes = 0;
        for (id, holed) in self.meta.holed_stripes(LOOKED_AT).await? {
            let worth = holed.filter(|holed| holed.is_worth_it(self.options.compact_below_percent));
            let Some(holed) = worth else {
                accepted.push(id);
                continue;
            };
            let live = holed.live_bytes();
            let room = self.packer.stripe_bytes(holed.record.len as usize);
            // Long ones do not join short ones, or what is small would lie in long shards.
            let joins = |(_, first): &(_, Holed)| {
                room == self.packer.stripe_bytes(first.record.len as usize) && bytes + live <= room as u64
            };
            if !chosen.first().is_none_or(joins) {
                break;
            }
            bytes += live;
            chosen.push((id, holed));
        }
        if !accepted.is_empty() {
            self.meta.accept_holes(accepted).await?;
        }
        if chosen.is_empty() {
            return Ok(());
        }
        let Some(map) = self.maps.current() else { return Ok(()) };
        let shape = map.shape();
        let (mut sealed, mut moved) = (Vec::new(), Vec::new());
        let (mut spent, mut before) = (0, HashSet::new());
        for (id, Holed { record, live }) in chosen {
            let shards = match self.read_stripe(&record).await {
                Ok(shards) => shards.concat(),
                Err(error) => {
                    tracing::warn!(stripe = %id, %error, "a stripe with holes cannot be read now");
                    continue;
                }
            };
            spent += shards.len() as u64;
            before.extend(record.hashes);
            for (offset, len) in live {
                let Some(range) = shards.get(offset as usize..offset as usize + len as usize) else {
                    continue;
                };
                let Ok(after) = u32::try_from(sealed.len()) else { continue };
                sealed.extend_from_slice(range);
                moved.push(Moved { from: id, before: offset, after });
            }
        }
        let Some(front) = self.front(&sealed, shape, &before).await?.filter(|_| !moved.is_empty()) else {
            pace.spend(Instant::now(), spent.max(per_second), per_second);
            return Ok(());
        };
        let mut behind = vec![0; front];
        rand::rng().fill_bytes(&mut behind);
        behind.append(&mut sealed);
        let written = behind.len() as u64;
        moved.iter_mut().for_each(|moved| moved.after += front as u32);
        match self.clone().store_shaped((behind, None), (map, shape), Sharing::Alone).await {
            Ok(record) => {
                let underway = Underway::new(self, Owed::Stripes(vec![record.id()]));
                let count = self.meta.move_packed(moved, record, now_ms()).await?;
                match count {
                    // Everybody may have left meanwhile.
                    0 => underway.give_back().await,
                    _ => underway.kept(),
                }
                self.metrics.objects_compacted.inc_by(count as u64);
                spent += written * 3;
            }
            Err(WriteError::Meta(error)) => return Err(error),
            Err(error) => tracing::warn!(%error, "stripes with holes cannot be written anew now"),
        }
        pace.spend(Instant::now(), spent, per_second);
        Ok(())
    }

    /// How many bytes in front make all shards such that no stripe has them, neither one that this comes from nor any other.
    async fn front(
        &self,
        sealed: &[u8],
        shape: Shape,
        before: &HashSet<ShardHash>,
    ) -> Result<Option<usize>, MetaError> {
        for front in 0..FRONT_MAX {
            let shards = whole_shards(sealed, shape, front);
            if shards.is_disjoint(before) && !self.meta.has_shards(shards).await? {
                return Ok(Some(front));
            }
        }
        tracing::warn!("stripes with holes stay for now: other stripes have the same shards");
        Ok(None)
    }
}

/// Addresses of the shards of a stripe, so many bytes in, that have nothing random in them. All others are like no other.
fn whole_shards(sealed: &[u8], shape: Shape, front: usize) -> HashSet<ShardHash> {
    let shard_len = stripe_code::shard_len(front + sealed.len(), shape);
    // The first shard begins with what is in front.
    let behind = sealed.get((shard_len - front) * usize::from(front > 0)..).unwrap_or_default();
    behind.chunks_exact(shard_len).map(|shard| ShardHash(*blake3::hash(shard).as_bytes())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::StripeRecord;

    #[test]
    fn only_stripes_with_enough_holes_are_written_anew() {
        let record = StripeRecord { epoch: 1, len: 1_000, shard_len: 100, data_shards: 10, hashes: vec![] };
        let holed = |live: &[(u32, u32)]| Holed { record: record.clone(), live: live.to_vec() };
        assert!(holed(&[(0, 499)]).is_worth_it(50));
        assert!(!holed(&[(0, 400), (600, 100)]).is_worth_it(50));
        assert!(!holed(&[]).is_worth_it(50));
        assert!(!holed(&[(0, 1)]).is_worth_it(0));
    }

    #[test]
    fn shards_that_have_nothing_random_in_them_are_those_of_the_stripe() {
        let shape = Shape { data: 10, parity: 20 };
        for (len, front) in [(0, 0), (10, 0), (64, 0), (64, 5), (200, 0), (200, 1), (640, 63), (6_405, 7)] {
            let sealed: Vec<u8> = (0..len).map(|at| (at * 7 % 251) as u8).collect();
            let encoded = |filler: u8| {
                let shard_len = stripe_code::shard_len(front + len, shape);
                let mut padded = [vec![filler; front], sealed.clone()].concat();
                padded.resize(shard_len * 10, filler);
                let shards = stripe_code::encode(&padded, shape, shard_len).unwrap();
                shards.into_iter().take(10).map(|shard| shard.hash).collect::<HashSet<_>>()
            };
            let of_both: HashSet<_> = encoded(1).intersection(&encoded(2)).copied().collect();
            assert_eq!(whole_shards(&sealed, shape, front), of_both, "{len} behind {front}");
        }
    }

    #[test]
    fn what_was_spent_is_waited_for() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        assert!(!pace.rests(now));
        pace.spend(now, 500, 1_000);
        assert!(pace.rests(now + Duration::from_millis(499)));
        assert!(!pace.rests(now + Duration::from_millis(500)));
    }
}
