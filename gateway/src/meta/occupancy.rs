//! What accounts occupy: the bytes of live shards that they are billed for, counted in the transaction that changes them.
//!
//! A stripe has as many live bytes as the ledger says: its shards that have a receipt and were not deleted. They are divided
//! among the accounts whose objects and parts of uploads refer to it, by the bytes of ciphertext that each refers to:
//!
//! ```text
//! share = floor(live bytes * bytes referred to by the account / max(bytes in the stripe, bytes referred to by all))
//! ```
//!
//! Every reference counts, also of a copy that shares the stripe. What nobody refers to - holes in shared stripes, snapshots,
//! stripes on their way - is the gateway's own.
//!
//! # Invariants
//! - The shares of a stripe come to no more than its live bytes, and so those of all accounts to no more than the ledger's.
//! - The rows are what [`Meta::recount_occupied`] makes of all other rows.
//!
//! Specified in docs/spec/ledger.md, "Who occupies what".

mod recount;

use std::collections::{BTreeMap, BTreeSet};

use arion_protocol::LedgerRecord;
use arion_types::StripeId;
use codec::{Decode, DecodeAll, Encode};

use super::{
    Hash, LEDGER, Meta, MetaError, ReadTransaction, ReadableTable, SETTINGS, Table, TableDefinition,
    WriteTransaction, stripes,
};
use crate::manifest::{ManifestId, PartManifest, StripeRecord};

/// Stripes with what is live of them and who refers to them.
pub(super) const CLAIMS: TableDefinition<Hash, &[u8]> = TableDefinition::new("claims");
/// Account - bytes that it occupies; under no name the live bytes of the ledger.
pub(super) const OCCUPIED: TableDefinition<&str, u64> = TableDefinition::new("occupied");
/// Whose objects with parts in shared stripes are.
pub(super) const PACKED_FOR: TableDefinition<ManifestId, &str> = TableDefinition::new("packed-for");
/// Among the settings: that all of it was counted once.
const COUNTED: &str = "occupied";
/// The row of the ledger's live bytes.
const ALL: &str = "";

#[derive(Encode, Decode)]
enum Row {
    #[codec(index = 1)]
    V1(Claims),
}

/// A stripe.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
struct Claims {
    /// Bytes of ciphertext in it.
    len: u32,
    /// Bytes of each shard.
    shard_len: u32,
    /// Positions whose shard is live; of positions with the same shard the first.
    live: BTreeSet<u8>,
    /// Bytes of ciphertext that accounts refer to.
    by: BTreeMap<String, u64>,
}

impl Claims {
    fn new(record: &StripeRecord) -> Self {
        let (live, by) = (BTreeSet::new(), BTreeMap::new());
        Self { len: record.len, shard_len: record.shard_len, live, by }
    }

    fn of_row(row: &[u8]) -> Result<Self, MetaError> {
        Row::decode_all(&mut &*row).map(|Row::V1(claims)| claims).map_err(|_| MetaError::Row("claims"))
    }

    fn is_empty(&self) -> bool {
        self.live.is_empty() && self.by.is_empty()
    }

    fn live_bytes(&self) -> u64 {
        u64::from(self.shard_len) * self.live.len() as u64
    }

    fn shares(&self) -> impl Iterator<Item = (&str, u64)> {
        let all = self.by.values().fold(0, |sum: u128, bytes| sum + u128::from(*bytes));
        let (live, whole) = (u128::from(self.live_bytes()), all.max(u128::from(self.len)).max(1));
        let share = move |bytes: u64| u64::try_from(live * u128::from(bytes) / whole).unwrap_or(u64::MAX);
        self.by.iter().map(move |(account, bytes)| (account.as_str(), share(*bytes)))
    }

    /// A shard of the stripe is live.
    fn mark(&mut self, record: &StripeRecord, shard: &arion_types::ShardHash) {
        if let Some(first) = record.hashes.iter().position(|hash| hash == shard) {
            self.live.extend(u8::try_from(first));
        }
    }

    fn refer(&mut self, account: &str, bytes: u64) {
        let sum = self.by.entry(account.to_owned()).or_default();
        *sum = sum.saturating_add(bytes);
    }

    fn let_go(&mut self, account: &str, bytes: u64) {
        if let Some(sum) = self.by.get_mut(account) {
            *sum = sum.saturating_sub(bytes);
            if *sum == 0 {
                self.by.remove(account);
            }
        }
    }
}

/// Stripes of a part with the bytes that it has in each.
fn references(part: &PartManifest) -> impl Iterator<Item = (&StripeRecord, u64)> {
    let shared = part.shared().map(|_| part.cipher_len);
    part.stripes.iter().map(move |record| (record, shared.unwrap_or(record.len.into())))
}

/// Stripes that change, and what that makes of what accounts occupy.
struct Change<'t> {
    transaction: &'t WriteTransaction,
    claims: Table<'t, Hash, &'static [u8]>,
    /// How much more each has than before.
    more: BTreeMap<String, i128>,
}

impl<'t> Change<'t> {
    fn open(transaction: &'t WriteTransaction) -> Result<Self, MetaError> {
        let claims = transaction.open_table(CLAIMS)?;
        Ok(Self { transaction, claims, more: BTreeMap::new() })
    }

    fn count(&mut self, claims: &Claims, sign: i128) {
        *self.more.entry(ALL.to_owned()).or_default() += sign * i128::from(claims.live_bytes());
        for (account, share) in claims.shares() {
            *self.more.entry(account.to_owned()).or_default() += sign * i128::from(share);
        }
    }

    /// Changes a stripe; `new` is what there is if nothing was noted of it, if that is to be changed too.
    fn stripe(
        &mut self,
        id: &StripeId,
        new: Option<Claims>,
        change: impl FnOnce(&mut Claims),
    ) -> Result<(), MetaError> {
        let before = self.claims.get(id.0)?.map(|row| Claims::of_row(row.value())).transpose()?;
        if let Some(before) = &before {
            self.count(before, -1);
        }
        let Some(mut claims) = before.or(new) else { return Ok(()) };
        change(&mut claims);
        self.count(&claims, 1);
        match claims.is_empty() {
            true => self.claims.remove(id.0),
            false => self.claims.insert(id.0, Row::V1(claims).encode().as_slice()),
        }
    }

    fn finish(self) -> Result<(), MetaError> {
        let mut occupied = self.transaction.open_table(OCCUPIED)?;
        for (account, more) in self.more.into_iter().filter(|(_, more)| *more != 0) {
            let before = occupied.get(account.as_str())?.map_or(0, |row| row.value());
            match u64::try_from((i128::from(before) + more).max(0)).unwrap_or(u64::MAX) {
                0 => occupied.remove(account.as_str())?,
                now => occupied.insert(account.as_str(), now)?,
            }
        }
        Ok(())
    }
}

/// Parts of an account refer to their stripes from now on.
pub(super) fn claim<'p>(
    transaction: &WriteTransaction,
    account: &str,
    parts: impl IntoIterator<Item = &'p PartManifest>,
) -> Result<(), MetaError> {
    each(transaction, parts, true, |claims, bytes| claims.refer(account, bytes))
}

/// They do not any more. To be said before the stripes are released.
pub(super) fn unclaim<'p>(
    transaction: &WriteTransaction,
    account: &str,
    parts: impl IntoIterator<Item = &'p PartManifest>,
) -> Result<(), MetaError> {
    each(transaction, parts, false, |claims, bytes| claims.let_go(account, bytes))
}

/// Changes the stripes of parts; `makes` where nothing was noted of them too.
fn each<'p>(
    transaction: &WriteTransaction,
    parts: impl IntoIterator<Item = &'p PartManifest>,
    makes: bool,
    change: impl Fn(&mut Claims, u64),
) -> Result<(), MetaError> {
    let mut changed = Change::open(transaction)?;
    for (record, bytes) in parts.into_iter().flat_map(references) {
        let new = makes.then(|| Claims::new(record));
        changed.stripe(&record.id(), new, |claims| change(claims, bytes))?;
    }
    changed.finish()
}

/// Lines were appended to the ledger: shards with receipts are live.
pub(super) fn appended(transaction: &WriteTransaction, lines: &[LedgerRecord]) -> Result<(), MetaError> {
    let receipts = lines.iter().filter_map(|line| match line {
        LedgerRecord::Stored(signed) => Some(&signed.receipt),
        LedgerRecord::Deleted { .. }
        | LedgerRecord::Released { .. }
        | LedgerRecord::Served(_)
        | LedgerRecord::Compacted(_) => None,
    });
    let mut by_stripe: BTreeMap<StripeId, Vec<_>> = BTreeMap::new();
    for receipt in receipts {
        by_stripe.entry(receipt.stripe).or_default().push(receipt.shard);
    }
    if by_stripe.is_empty() {
        return Ok(());
    }
    let mut change = Change::open(transaction)?;
    for (id, shards) in by_stripe {
        // Of a stripe that is not here, nobody can be billed.
        let Some(record) = stripes::record_for_change(transaction, &id)? else { continue };
        change.stripe(&id, Some(Claims::new(&record)), |claims| {
            shards.iter().for_each(|shard| claims.mark(&record, shard));
        })?;
    }
    change.finish()
}

/// All shards of a stripe are deleted; the positions whose shard was live, of positions with the same shard the first.
pub(super) fn buried(transaction: &WriteTransaction, id: &StripeId) -> Result<BTreeSet<u8>, MetaError> {
    let mut change = Change::open(transaction)?;
    let mut live = BTreeSet::new();
    change.stripe(id, None, |claims| {
        live = std::mem::take(&mut claims.live);
        claims.by.clear();
    })?;
    change.finish()?;
    Ok(live)
}

/// Makes the tables. Metadata that came without them, from earlier or from a copy of all other rows, are counted once.
pub(super) fn prepare(transaction: &WriteTransaction) -> Result<(), MetaError> {
    transaction.open_table(CLAIMS)?;
    transaction.open_table(OCCUPIED)?;
    transaction.open_table(PACKED_FOR)?;
    if transaction.open_table(SETTINGS)?.get(COUNTED)?.is_some() {
        return Ok(());
    }
    if !transaction.open_table(LEDGER)?.is_empty()? {
        tracing::info!("what accounts occupy is counted, once");
    }
    recount::count_anew(transaction)
}

/// Rows come in from elsewhere: all is counted anew when the metadata are opened next.
pub(super) fn forget(transaction: &WriteTransaction) -> Result<(), MetaError> {
    transaction.open_table(SETTINGS)?.remove(COUNTED)
}

/// Whose object it is, if it is in shared stripes.
pub(super) fn packed_for(
    transaction: &WriteTransaction,
    manifest: ManifestId,
) -> Result<Option<String>, MetaError> {
    Ok(transaction.open_table(PACKED_FOR)?.get(manifest)?.map(|row| row.value().to_owned()))
}

/// What is occupied, in a view.
pub(super) fn read(transaction: &ReadTransaction) -> Result<Occupied, MetaError> {
    let mut occupied = Occupied::default();
    for row in transaction.open_table(OCCUPIED)?.iter()? {
        let (account, bytes) = row?;
        match account.value() {
            ALL => occupied.live = bytes.value(),
            account => drop(occupied.accounts.insert(account.to_owned(), bytes.value())),
        }
    }
    Ok(occupied)
}

/// Bytes of live shards.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Occupied {
    /// Of the whole ledger.
    pub live: u64,
    /// That accounts occupy, of those that occupy any.
    pub accounts: BTreeMap<String, u64>,
}

impl Meta {
    /// What all accounts occupy.
    pub async fn occupied(&self) -> Result<Occupied, MetaError> {
        self.read(read).await
    }

    /// What some accounts occupy together.
    pub async fn occupied_by(&self, accounts: Vec<String>) -> Result<u64, MetaError> {
        self.read(move |transaction| {
            let table = transaction.open_table(OCCUPIED)?;
            let mut sum = 0u64;
            for account in accounts.iter().filter(|account| *account != ALL) {
                sum = sum.saturating_add(table.get(account.as_str())?.map_or(0, |row| row.value()));
            }
            Ok(sum)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn claims(len: u32, shard_len: u32, live: u8, by: &[u64]) -> Claims {
        let by = by.iter().zip(0u8..).map(|(bytes, name)| (name.to_string(), *bytes)).collect();
        Claims { len, shard_len, live: (0..live).collect(), by }
    }

    fn shares(claims: &Claims) -> Vec<u64> {
        claims.shares().map(|(_, share)| share).collect()
    }

    #[test]
    fn a_stripe_is_divided_by_what_is_referred_to() {
        for (len, live, by, expected) in [
            // Alone in it, and alone with a copy.
            (1_000, 30, vec![1_000], vec![3_000]),
            (1_000, 30, vec![2_000], vec![3_000]),
            // Shards that no miner has signed for are not billed.
            (1_000, 20, vec![1_000], vec![2_000]),
            (1_000, 0, vec![1_000], vec![0]),
            // A copy of another account's: half each. Rounding is down.
            (1_000, 30, vec![1_000, 1_000], vec![1_500, 1_500]),
            (999, 1, vec![333, 333, 333], vec![33, 33, 33]),
            // Holes are nobody's.
            (1_000, 30, vec![100, 300], vec![300, 900]),
            (0, 30, vec![], vec![]),
        ] {
            assert_eq!(shares(&claims(len, 100, live, &by)), expected, "{len} {live} {by:?}");
        }
    }

    proptest! {
        #[test]
        fn shares_come_to_no_more_than_what_is_live(
            len in any::<u32>(), shard_len in any::<u32>(), live in 0u8..=255,
            by in proptest::collection::vec(any::<u64>(), 0..5),
        ) {
            let claims = claims(len, shard_len, live, &by);
            let all: u128 = shares(&claims).into_iter().map(u128::from).sum();
            prop_assert!(all <= u128::from(claims.live_bytes()));
            let referred: u128 = by.iter().map(|bytes| u128::from(*bytes)).sum();
            // Who refers to all of it pays for all of it, but for rounding.
            if referred >= u128::from(len) && referred > 0 {
                prop_assert!(all + by.len() as u128 >= u128::from(claims.live_bytes()));
            }
        }
    }
}
