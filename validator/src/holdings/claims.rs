//! Who has signed for what, by the word of which ledger.
//!
//! # Invariants
//! - Each gateway has a claim of its own on a shard of a miner: it comes and goes with the lines of its ledger alone.
//! - A shard of a miner counts once: for the gateway with the smallest node id that has a claim on it. So it does not matter which ledger
//!   was read first, and what one gateway gives up counts for the next.
//! - A place of a stripe in a ledger stays while its gateway has a claim on it.

use std::collections::BTreeMap;

use arion_types::{NodeId, Receipt, ShardHash, StripeId};
use redb::{ReadableTable, Table, TableDefinition, WriteTransaction};

use super::{
    HELD, HeldKey, Id, ShardKey, StoreError, StripeRef, pending, pending::PENDING, stripes, stripes::STRIPES,
};

/// Shard, miner, gateway.
type ClaimKey = (Id, Id, Id);
/// Size, stripe.
type ClaimValue = (u32, Id);

pub(super) const CLAIMS: TableDefinition<ClaimKey, ClaimValue> = TableDefinition::new("claims");

/// Rows that are looked at at once where all are looked through.
const PAGE: usize = 4_096;

/// All claims on a shard of a miner.
pub(super) fn of_miner(shard: &ShardHash, miner: &NodeId) -> std::ops::RangeInclusive<ClaimKey> {
    (shard.0, miner.0, [0; 32])..=(shard.0, miner.0, [0xff; 32])
}

/// The tables that change with a claim, in one transaction.
pub(super) struct Claims<'t> {
    claims: Table<'t, ClaimKey, ClaimValue>,
    stripes: Table<'t, (Id, Id), &'static [u8]>,
    held: Table<'t, HeldKey, u64>,
    pending: Table<'t, (Id, Id, Id, Id), &'static [u8]>,
    /// Sums that have changed.
    pub(super) sums: BTreeMap<(NodeId, NodeId), u64>,
}

impl<'t> Claims<'t> {
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Self, StoreError> {
        Ok(Self {
            claims: transaction.open_table(CLAIMS)?,
            stripes: transaction.open_table(STRIPES)?,
            held: transaction.open_table(HELD)?,
            pending: transaction.open_table(PENDING)?,
            sums: BTreeMap::new(),
        })
    }

    /// A miner has signed for a shard.
    pub(super) fn stored(&mut self, gateway: &NodeId, receipt: &Receipt) -> Result<(), StoreError> {
        let (shard, miner) = (&receipt.shard, &receipt.node_id);
        let key = (shard.0, miner.0, gateway.0);
        if self.claims.get(key)?.is_none() {
            let before = self.counts_for(shard, miner)?;
            self.claims.insert(key, (receipt.size, receipt.stripe.0))?;
            self.recount(shard, miner, before)?;
        }
        pending::came(&mut self.pending, gateway, receipt)?;
        stripes::stored(&mut self.stripes, gateway, receipt)
    }

    /// A gateway does not want a shard any more, whoever has it.
    pub(super) fn deleted(&mut self, gateway: &NodeId, shard: &ShardHash) -> Result<(), StoreError> {
        let mut miners = Vec::new();
        let all = (shard.0, [0; 32], [0; 32])..=(shard.0, [0xff; 32], [0xff; 32]);
        for entry in self.claims.range(all)? {
            let (_, miner, of) = entry?.0.value();
            if of == gateway.0 {
                miners.push(NodeId(miner));
            }
        }
        miners.iter().try_for_each(|miner| self.given_up(gateway, shard, miner))
    }

    /// A gateway does not want a shard of a miner any more.
    pub(super) fn given_up(
        &mut self,
        gateway: &NodeId,
        shard: &ShardHash,
        miner: &NodeId,
    ) -> Result<(), StoreError> {
        let before = self.counts_for(shard, miner)?;
        let Some((_, stripe)) = self.claims.remove((shard.0, miner.0, gateway.0))?.map(|claim| claim.value())
        else {
            return Ok(());
        };
        self.recount(shard, miner, before)?;
        let stripe = StripeRef { id: StripeId(stripe), gateway: *gateway };
        if !stripes::deleted(&mut self.stripes, &stripe, shard, miner)? {
            pending::forget(&mut self.pending, &stripe)?;
        }
        Ok(())
    }

    /// A gateway wants nothing any more but what is kept, of shards and miners. Walks over all claims.
    pub(super) fn retain(
        &mut self,
        gateway: &NodeId,
        is_kept: impl Fn(&ShardHash, &NodeId) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        let mut from = ([0; 32], [0; 32], [0; 32]);
        loop {
            let page = self.claims.range(from..)?.take(PAGE);
            let keys = page.map(|entry| Ok(entry?.0.value())).collect::<Result<Vec<_>, StoreError>>()?;
            for (shard, miner, _) in keys.iter().filter(|(.., of)| *of == gateway.0) {
                let (shard, miner) = (ShardHash(*shard), NodeId(*miner));
                if !is_kept(&shard, &miner)? {
                    self.given_up(gateway, &shard, &miner)?;
                }
            }
            match keys.last() {
                // What is looked at again is one row.
                Some(last) if keys.len() == PAGE => from = *last,
                _ => return Ok(()),
            }
        }
    }

    /// A gateway wants nothing any more.
    pub(super) fn forgotten(&mut self, gateway: &NodeId) -> Result<(), StoreError> {
        self.retain(gateway, |_, _| Ok(false))?;
        self.held.retain(|(_, of), _| of != gateway.0)?;
        self.sums.retain(|(_, of), _| of != gateway);
        Ok(())
    }

    /// The gateway for which a shard of a miner counts, and its size.
    fn counts_for(&self, shard: &ShardHash, miner: &NodeId) -> Result<Option<(NodeId, u32)>, StoreError> {
        let Some(first) = self.claims.range(of_miner(shard, miner))?.next() else { return Ok(None) };
        let (key, value) = first?;
        Ok(Some((NodeId(key.value().2), value.value().0)))
    }

    /// Moves the bytes of a shard to the one for whom it counts after a change.
    fn recount(
        &mut self,
        shard: &ShardHash,
        miner: &NodeId,
        before: Option<(NodeId, u32)>,
    ) -> Result<(), StoreError> {
        let after = self.counts_for(shard, miner)?;
        if before != after {
            if let Some((gateway, size)) = before {
                self.add(miner, gateway, |sum| sum.saturating_sub(size.into()))?;
            }
            if let Some((gateway, size)) = after {
                self.add(miner, gateway, |sum| sum.saturating_add(size.into()))?;
            }
        }
        Ok(())
    }

    fn add(
        &mut self,
        miner: &NodeId,
        gateway: NodeId,
        change: impl Fn(u64) -> u64,
    ) -> Result<(), StoreError> {
        let key = (miner.0, gateway.0);
        let sum = change(self.held.get(key)?.map_or(0, |sum| sum.value()));
        self.held.insert(key, sum)?;
        self.sums.insert((*miner, gateway), sum);
        Ok(())
    }
}

/// Takes over the layout in which a shard of a miner had one gateway.
pub(super) fn convert(
    transaction: &WriteTransaction,
    before: TableDefinition<ShardKey, (Id, u32, Id)>,
) -> Result<(), StoreError> {
    let mut claims = transaction.open_table(CLAIMS)?;
    for entry in transaction.open_table(before)?.iter()? {
        let (key, value) = entry?;
        let ((shard, miner), (gateway, size, stripe)) = (key.value(), value.value());
        claims.insert((shard, miner, gateway), (size, stripe))?;
    }
    drop(claims);
    transaction.delete_table(before)?;
    Ok(())
}
