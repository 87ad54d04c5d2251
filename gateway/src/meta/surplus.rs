//! Copies that nobody needs: shards on miners that the current map does not name, while those that it names have signed for
//! all shards of the stripe.
//!
//! # Invariants
//! - A miner is released only from a stripe of which every position has a receipt of the miner that the map names, in the
//!   transaction that enters the line; who is named is not released.
//! - The line that releases a miner is on disk before it is told to delete anything.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound::{Excluded, Unbounded},
};

use arion_protocol::LedgerRecord;
use arion_types::{NodeId, ShardHash, StripeId};

use super::{
    LEDGER, MISSING, Meta, MetaError, PlaceKey, ReadableTable, ShardPlace,
    moved::{MOVED, RELEASES, Release, holders_of, let_go, queue_release},
    receipts::{self, RECEIPTS},
    stripes,
};
use crate::manifest::StripeRecord;

/// The miner that a map names for each position of a stripe.
type Named = Vec<Option<NodeId>>;

/// A miner that is not needed for a shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Surplus {
    /// The shard, at a position of the stripe that has it.
    pub place: ShardPlace,
    /// The miner.
    pub node: NodeId,
}

/// Who has signed for the shards of a stripe.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Spread {
    /// The stripe.
    pub record: StripeRecord,
    /// By position: the miners that have signed and were not released; none where its shard is missing.
    pub holders: Vec<Vec<NodeId>>,
}

impl Spread {
    /// Who is not needed, if the miners `named` have signed for all of it; nobody else.
    ///
    /// Where positions have the same shard, as all of a snapshot's root do, a miner that has it has that of each of them.
    pub fn surplus(&self, named: &[Option<NodeId>]) -> Vec<Surplus> {
        let hashes = &self.record.hashes;
        let mut holders: BTreeMap<ShardHash, BTreeMap<NodeId, u8>> = BTreeMap::new();
        for ((index, shard), nodes) in (0u8..).zip(hashes).zip(&self.holders) {
            let known = holders.entry(*shard).or_default();
            for node in nodes {
                known.entry(*node).or_insert(index);
            }
        }
        let mut needed: BTreeSet<(ShardHash, NodeId)> = BTreeSet::new();
        if named.len() != hashes.len() || self.holders.len() != hashes.len() {
            return Vec::new();
        }
        for (shard, node) in hashes.iter().zip(named) {
            match node.filter(|node| holders.get(shard).is_some_and(|nodes| nodes.contains_key(node))) {
                Some(node) => drop(needed.insert((*shard, node))),
                None => return Vec::new(),
            }
        }
        let all = holders.into_iter().flat_map(|(shard, nodes)| {
            nodes.into_iter().map(move |(node, index)| Surplus { place: ShardPlace { shard, index }, node })
        });
        all.filter(|found| !needed.contains(&(found.place.shard, found.node))).collect()
    }
}

fn spread(
    record: StripeRecord,
    missing: &impl ReadableTable<PlaceKey, &'static [u8]>,
    moved: &impl ReadableTable<PlaceKey, &'static [u8]>,
    receipts: &impl ReadableTable<PlaceKey, u64>,
    ledger: &impl ReadableTable<u64, &'static [u8]>,
) -> Result<Spread, MetaError> {
    let mut holders = Vec::with_capacity(record.hashes.len());
    for (index, shard) in (0u8..).zip(&record.hashes) {
        let place = (shard.0, index);
        let found = match holders_of(moved, place)? {
            _ if missing.get(place)?.is_some() => Vec::new(),
            Some(found) => found,
            None => receipts::newest_in(receipts, ledger, place)?.into_iter().collect(),
        };
        holders.push(found.into_iter().map(|holder| holder.node).collect());
    }
    Ok(Spread { record, holders })
}

/// Where a look through the shards that were moved goes on; none when it has ended.
pub type MovedCursor = Option<ShardPlace>;

impl Meta {
    /// Stripes of which a shard has several miners, by the next `limit` rows behind `after`, and where to go on.
    pub async fn spreads(
        &self,
        after: MovedCursor,
        limit: usize,
    ) -> Result<(Vec<Spread>, MovedCursor), MetaError> {
        let unreadable = self.unreadable.clone();
        self.read(move |transaction| {
            let (missing, moved) = (transaction.open_table(MISSING)?, transaction.open_table(MOVED)?);
            let (receipts, ledger) = (transaction.open_table(RECEIPTS)?, transaction.open_table(LEDGER)?);
            let from = after.map_or(Unbounded, |after| Excluded(after.key()));
            let (mut seen, mut reached) = (0, None);
            let mut ids = BTreeSet::new();
            for row in moved.range::<PlaceKey>((from, Unbounded))?.take(limit) {
                let key = row?.0.value();
                (seen, reached) = (seen + 1, Some(ShardPlace { shard: ShardHash(key.0), index: key.1 }));
                let holders = unreadable.readable(holders_of(&moved, key), ShardHash(key.0))?.flatten();
                if holders.is_some_and(|holders| holders.len() > 1) {
                    ids.extend(stripe_of(&receipts, &ledger, key)?);
                }
            }
            let mut found = Vec::new();
            for id in ids {
                let record = unreadable.readable(stripes::record(transaction, &id), id)?.flatten();
                let of = |record| spread(record, &missing, &moved, &receipts, &ledger);
                if let Some(of_stripe) = record.map(of) {
                    found.extend(unreadable.readable(of_stripe, id)?);
                }
            }
            Ok((found, reached.filter(|_| seen == limit)))
        })
        .await
    }

    /// Releases who is not needed for stripes, each with the miners that its map names: a line in the ledger and a deletion for
    /// each. Looks again who that is. How many.
    pub async fn release(&self, stripes: Vec<(StripeId, Named)>, now_ms: u64) -> Result<u64, MetaError> {
        let unreadable = self.unreadable.clone();
        self.index_all_receipts().await?;
        self.write(move |transaction| {
            receipts::catch_up(transaction, &unreadable)?;
            let mut count = 0;
            for (id, named) in &stripes {
                let Some(record) = stripes::record_for_change(transaction, id)? else { continue };
                let mut moved = transaction.open_table(MOVED)?;
                let mut releases = transaction.open_table(RELEASES)?;
                let (missing, receipts) =
                    (transaction.open_table(MISSING)?, transaction.open_table(RECEIPTS)?);
                let ledger = transaction.open_table(LEDGER)?;
                let spread = spread(record, &missing, &moved, &receipts, &ledger)?;
                drop((missing, receipts, ledger));
                let surplus = spread.surplus(named);
                for Surplus { place: ShardPlace { shard, index }, node } in &surplus {
                    for (at, _) in (0u8..).zip(&spread.record.hashes).filter(|(_, hash)| *hash == shard) {
                        let_go(&mut moved, (shard.0, at), node)?;
                    }
                    let (node, shard, stripe, index) = (*node, *shard, *id, *index);
                    queue_release(&mut releases, &Release { node, shard, stripe, index, queued_ms: now_ms })?;
                }
                drop((moved, releases));
                let line =
                    |found: &Surplus| LedgerRecord::Released { shard: found.place.shard, miner: found.node };
                super::ledger::append(transaction, surplus.iter().map(line))?;
                receipts::catch_up(transaction, &unreadable)?;
                count += surplus.len() as u64;
            }
            Ok(count)
        })
        .await
    }
}

/// The stripe of a place, by its newest receipt.
fn stripe_of(
    receipts: &impl ReadableTable<PlaceKey, u64>,
    ledger: &impl ReadableTable<u64, &'static [u8]>,
    place: PlaceKey,
) -> Result<Option<StripeId>, MetaError> {
    use codec::DecodeAll;
    let Some(line) = receipts.get(place)?.map(|line| line.value()) else { return Ok(None) };
    let Some(row) = ledger.get(line)? else { return Ok(None) };
    match LedgerRecord::decode_all(&mut row.value()) {
        Ok(LedgerRecord::Stored(signed)) => Ok(Some(signed.receipt.stripe)),
        _ => Ok(None),
    }
}

#[cfg(test)]
#[path = "surplus_tests.rs"]
mod tests;
