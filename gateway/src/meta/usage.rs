//! What accounts store: bytes and objects, counted in the transaction that changes them.
//!
//! Counted are the plaintext bytes of every version and of every part of an upload under way, and as objects: versions, delete
//! markers and uploads under way. They count for the account whose bucket it is, and for the sub-account that wrote them, if it
//! is one of that account. A copy counts in full, although it shares stripes.
//!
//! # Invariants
//! - The rows are what [`Meta::recount_usage`] makes of all other rows.
//! - What would exceed a quota has changed nothing. What makes a usage no greater is never refused, deletions least of all.

use std::{collections::BTreeMap, fmt};

use super::{
    Meta, MetaError, OBJECTS, Occupied, PARTS, ReadableTable, Table, TableDefinition, UPLOADS, VERSIONS,
    WriteTransaction, occupancy, uploads,
};
use crate::{
    account::account_of,
    meta::UploadKey,
    object::{Entry, Version},
};

/// Account or sub-account - bytes and objects.
pub(super) const USAGE: TableDefinition<&str, (u64, u64)> = TableDefinition::new("usage");

/// How much may be stored; `None` is unlimited.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Quota {
    /// Bytes.
    pub bytes: Option<u64>,
    /// Objects.
    pub objects: Option<u64>,
}

/// What bounds something that is stored in the name of an account or a sub-account.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Allowance {
    /// The quota of the account.
    pub account: Quota,
    /// The quota of the sub-account; of an account the same again.
    pub own: Quota,
}

impl Allowance {
    /// Without bounds.
    pub const NONE: Self =
        Self { account: Quota { bytes: None, objects: None }, own: Quota { bytes: None, objects: None } };
}

/// What is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Usage {
    /// Bytes of plaintext.
    pub bytes: u64,
    /// Objects.
    pub objects: u64,
}

impl Usage {
    /// Of an object.
    pub fn object(bytes: u64) -> Self {
        Self { bytes, objects: 1 }
    }

    /// Of a part of an upload.
    pub fn part(bytes: u64) -> Self {
        Self { bytes, objects: 0 }
    }

    fn plus(self, other: Self) -> Self {
        let bytes = self.bytes.saturating_add(other.bytes);
        Self { bytes, objects: self.objects.saturating_add(other.objects) }
    }

    fn minus(self, other: Self) -> Self {
        let bytes = self.bytes.saturating_sub(other.bytes);
        Self { bytes, objects: self.objects.saturating_sub(other.objects) }
    }

    /// Of a version.
    pub(super) fn of(version: &Version) -> Self {
        Self::object(version.object().map_or(0, |info| info.size))
    }
}

/// What there is too much of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resource {
    /// Bytes.
    Bytes,
    /// Objects.
    Objects,
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bytes => "bytes",
            Self::Objects => "objects",
        })
    }
}

/// More would be stored than may be.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{name} may store {limit} {resource}, has {used} and would need {more} more")]
pub struct QuotaExceeded {
    /// The account or sub-account.
    pub name: String,
    /// Of what.
    pub resource: Resource,
    /// How much it may store.
    pub limit: u64,
    /// How much it stores.
    pub used: u64,
    /// How much more that would be.
    pub more: u64,
}

/// Whose usage counts what is stored in a bucket of `owner` in the name of `payer`: a sub-account of the owner, or the owner.
pub(super) fn payer_of<'a>(owner: &'a str, payer: &'a str) -> &'a str {
    if account_of(payer) == owner { payer } else { owner }
}

/// The account, and the sub-account if it is one.
fn names(payer: &str) -> impl Iterator<Item = &str> {
    let account = account_of(payer);
    std::iter::once(account).chain((account != payer).then_some(payer))
}

fn read(table: &impl ReadableTable<&'static str, (u64, u64)>, name: &str) -> Result<Usage, MetaError> {
    let (bytes, objects) = table.get(name)?.map_or((0, 0), |row| row.value());
    Ok(Usage { bytes, objects })
}

fn all(table: &impl ReadableTable<&'static str, (u64, u64)>) -> Result<BTreeMap<String, Usage>, MetaError> {
    let mut all = BTreeMap::new();
    for row in table.iter()? {
        let (name, usage) = row?;
        let (bytes, objects) = usage.value();
        all.insert(name.value().to_owned(), Usage { bytes, objects });
    }
    Ok(all)
}

fn change(
    table: &mut Table<'_, &'static str, (u64, u64)>,
    payer: &str,
    change: impl Fn(Usage) -> Usage,
) -> Result<(), MetaError> {
    for name in names(payer) {
        match change(read(table, name)?) {
            Usage { bytes: 0, objects: 0 } => table.remove(name)?,
            Usage { bytes, objects } => table.insert(name, (bytes, objects))?,
        }
    }
    Ok(())
}

/// Counts a version that was entered.
pub(super) fn entered(
    table: &mut Table<'_, &'static str, (u64, u64)>,
    version: &Version,
) -> Result<(), MetaError> {
    change(table, version.payer(), |usage| usage.plus(Usage::of(version)))
}

/// Counts a version no more that was taken out.
pub(super) fn taken(
    table: &mut Table<'_, &'static str, (u64, u64)>,
    version: &Version,
) -> Result<(), MetaError> {
    change(table, version.payer(), |usage| usage.minus(Usage::of(version)))
}

/// Counts an upload or a part of one, `more`, and no more what goes for it.
pub(super) fn count(
    transaction: &WriteTransaction,
    payer: &str,
    more: Usage,
    less: Usage,
) -> Result<(), MetaError> {
    let mut table = transaction.open_table(USAGE)?;
    change(&mut table, payer, |usage| usage.plus(more).minus(less))
}

/// Refuses what would exceed a quota. `gone` is what goes in the same moment, and whose it was.
pub(super) fn check(
    table: &impl ReadableTable<&'static str, (u64, u64)>,
    (payer, allowance): (&str, &Allowance),
    more: Usage,
    gone: Option<(&str, Usage)>,
) -> Result<(), MetaError> {
    for (name, quota) in names(payer).zip([allowance.account, allowance.own]) {
        let freed = gone.filter(|(of, _)| names(of).any(|of| of == name)).map(|(_, usage)| usage);
        let (used, more) = (read(table, name)?, more.minus(freed.unwrap_or_default()));
        for (resource, limit, used, more) in [
            (Resource::Bytes, quota.bytes, used.bytes, more.bytes),
            (Resource::Objects, quota.objects, used.objects, more.objects),
        ] {
            if let Some(limit) = limit.filter(|limit| more > 0 && used.saturating_add(more) > *limit) {
                let exceeded = QuotaExceeded { name: name.to_owned(), resource, limit, used, more };
                return Err(MetaError::Quota(Box::new(exceeded)));
            }
        }
    }
    Ok(())
}

/// Refuses an upload or a part of one, `more`, that would exceed a quota; `less` goes for it.
pub(super) fn check_upload(
    transaction: &WriteTransaction,
    payer: (&str, &Allowance),
    more: Usage,
    less: Usage,
) -> Result<(), MetaError> {
    check(&transaction.open_table(USAGE)?, payer, more, Some((payer.0, less)))
}

/// What is counted and what there is, where they differ.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Recount {
    /// What all rows come to, by account and sub-account.
    pub found: BTreeMap<String, Usage>,
    /// Whose usage differs from that, and what was counted.
    pub wrong: BTreeMap<String, Usage>,
    /// Rows that do not decode, which are in none of it.
    pub unreadable: u64,
}

impl Recount {
    fn add(&mut self, payer: &str, usage: Usage) {
        for name in names(payer) {
            let found = self.found.entry(name.to_owned()).or_default();
            *found = found.plus(usage);
        }
    }
}

/// Goes through all rows that count.
fn recount(transaction: &WriteTransaction) -> Result<Recount, MetaError> {
    let mut recount = Recount::default();
    {
        let mut version = |row: &[u8]| match Version::from_row(row) {
            Ok(version) => recount.add(version.payer(), Usage::of(&version)),
            Err(_) => recount.unreadable += 1,
        };
        for row in transaction.open_table(OBJECTS)?.iter()? {
            version(row?.1.value());
        }
        for row in transaction.open_table(VERSIONS)?.iter()? {
            version(row?.1.value());
        }
    }
    let parts = transaction.open_table(PARTS)?;
    for row in transaction.open_table(UPLOADS)?.iter()? {
        let (key, row) = row?;
        let Ok(info) = uploads::decode_upload(row.value()) else {
            recount.unreadable += 1;
            continue;
        };
        let payer = &info.properties.payer;
        recount.add(payer, Usage::object(0));
        let id = key.value().2;
        for row in parts.range((id, 0)..=(id, u32::MAX))? {
            match uploads::decode_part(row?.1.value()) {
                Ok(part) => recount.add(payer, Usage::part(part.manifest.plain_len)),
                Err(_) => recount.unreadable += 1,
            }
        }
    }
    let counted = all(&transaction.open_table(USAGE)?)?;
    let names =
        recount.found.keys().chain(counted.keys()).cloned().collect::<std::collections::BTreeSet<_>>();
    for name in names {
        let counted = counted.get(&name).copied().unwrap_or_default();
        if recount.found.get(&name).copied().unwrap_or_default() != counted {
            recount.wrong.insert(name, counted);
        }
    }
    Ok(recount)
}

/// Has what was found count.
fn correct(transaction: &WriteTransaction, recount: &Recount) -> Result<(), MetaError> {
    let mut table = transaction.open_table(USAGE)?;
    for name in recount.wrong.keys() {
        match recount.found.get(name) {
            Some(Usage { bytes, objects }) => table.insert(name.as_str(), (*bytes, *objects))?,
            None => table.remove(name.as_str())?,
        }
    }
    Ok(())
}

/// Makes the table. Metadata that came without it, from a copy of all other rows, are counted once.
pub(super) fn prepare(transaction: &WriteTransaction) -> Result<(), MetaError> {
    if !transaction.open_table(USAGE)?.is_empty()? {
        return Ok(());
    }
    let stores = !transaction.open_table(OBJECTS)?.is_empty()?
        || !transaction.open_table(VERSIONS)?.is_empty()?
        || !transaction.open_table(UPLOADS)?.is_empty()?;
    if stores {
        correct(transaction, &recount(transaction)?)?;
    }
    Ok(())
}

impl Meta {
    /// What accounts and sub-accounts store, of those that store anything. Waits for the disk: a short read.
    pub fn usage(&self) -> Result<BTreeMap<String, Usage>, MetaError> {
        self.store.read_at_once(|transaction| all(&transaction.open_table(USAGE)?))
    }

    /// The same with what accounts occupy, of one moment.
    pub fn usage_and_occupied(&self) -> Result<(BTreeMap<String, Usage>, Occupied), MetaError> {
        self.store.read_at_once(|transaction| {
            Ok((all(&transaction.open_table(USAGE)?)?, occupancy::read(transaction)?))
        })
    }

    /// What one account or sub-account stores.
    pub async fn usage_of(&self, name: String) -> Result<Usage, MetaError> {
        self.read(move |transaction| read(&transaction.open_table(USAGE)?, &name)).await
    }

    /// Refuses a part of an upload that would exceed a quota as things are now, before its bytes are taken in.
    pub async fn check_part_room(
        &self,
        upload: UploadKey,
        number: u32,
        allowance: Allowance,
        bytes: u64,
    ) -> Result<(), MetaError> {
        if allowance == Allowance::NONE {
            return Ok(());
        }
        self.read(move |transaction| {
            let info = uploads::require_read(transaction, &upload)?;
            let before = transaction.open_table(PARTS)?.get((upload.id.as_str(), number))?;
            let before = before.map(|row| uploads::decode_part(row.value())).transpose()?;
            let payer = info.properties.payer.as_str();
            let less = before.map(|part| (payer, Usage::part(part.manifest.plain_len)));
            check(&transaction.open_table(USAGE)?, (payer, &allowance), Usage::part(bytes), less)
        })
        .await
    }

    /// Goes through all rows and compares; nothing else is written meanwhile.
    pub async fn recount_usage(&self) -> Result<Recount, MetaError> {
        self.write(recount).await
    }

    /// The same, and has what was found count from now on.
    pub async fn repair_usage(&self) -> Result<Recount, MetaError> {
        self.write(|transaction| {
            let recount = recount(transaction)?;
            correct(transaction, &recount)?;
            Ok(recount)
        })
        .await
    }
}

impl Version {
    /// The account or sub-account whose usage counts it.
    pub fn payer(&self) -> &str {
        match &self.entry {
            Entry::Object(info) => &info.properties.payer,
            Entry::Marker(marker) => &marker.payer,
        }
    }
}
