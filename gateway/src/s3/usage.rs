//! What accounts store and ask for: `GET /v1/usage` for an account itself, and all of them for the operator.

use std::collections::{BTreeMap, BTreeSet};

use s3s::{S3Result, s3_error};
use serde::{Deserialize, Serialize};

use super::{access::Caller, callers::Callers, errors};
use crate::{
    account::AccountName,
    billing::credit::{Bill, Credit},
    keys::{AccessKeys, AccountEntry, ChainAccount, KeysError, Rates},
    meta::{Meta, MetaError, Usage},
    rate::{Asked, Hours, Rate},
};

/// What an account or a sub-account stores, may store, and asked for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AccountUsage {
    /// Its name.
    pub account: String,
    /// The account of the chain that it belongs to.
    pub chain_account: Option<ChainAccount>,
    /// Access keys that act for it.
    pub access_keys: usize,
    /// Bytes of plaintext; of an account with those of its sub-accounts.
    pub bytes: u64,
    /// Objects, delete markers and uploads under way.
    pub objects: u64,
    /// Most bytes; none for no bound.
    pub quota_bytes: Option<u64>,
    /// Most objects; none for no bound.
    pub quota_objects: Option<u64>,
    /// Whether equal bytes that it puts are stored once.
    #[serde(default)]
    pub deduplicate: bool,
    /// How much it may ask for in a second.
    pub rates: Rates,
    /// What it asked for since the hour began, at the earliest since the gateway was started.
    pub this_hour: Asked,
    /// What it asked for in the hour before.
    pub last_hour: Asked,
    /// What it is charged; none if nobody is charged for it, or the chain was not asked yet.
    #[serde(default)]
    pub bill: Option<Bill>,
}

/// What the route answers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Answer {
    #[serde(flatten)]
    own: AccountUsage,
    /// Of an account.
    sub_accounts: Vec<AccountUsage>,
}

fn described(
    name: &str,
    entry: &AccountEntry,
    access_keys: usize,
    usage: Usage,
    hours: Hours,
) -> AccountUsage {
    let quota = entry.quota();
    AccountUsage {
        account: name.to_owned(),
        chain_account: entry.chain_account,
        access_keys,
        bytes: usage.bytes,
        objects: usage.objects,
        quota_bytes: quota.bytes,
        quota_objects: quota.objects,
        deduplicate: entry.deduplicate,
        rates: entry.rates,
        this_hour: hours.this_hour,
        last_hour: hours.last_hour,
        bill: None,
    }
}

/// Why accounts cannot be listed.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    /// The file of access keys.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The metadata.
    #[error(transparent)]
    Meta(#[from] MetaError),
}

fn each(
    keys: &AccessKeys,
    meta: &Meta,
    credit: &Credit,
    hours: impl Fn(&AccountName) -> Hours,
) -> Result<Vec<AccountUsage>, UsageError> {
    let (known, (stored, occupied)) = (keys.accounts()?, meta.usage_and_occupied()?);
    let occupied = |names: &[String]| {
        let bytes = names.iter().filter_map(|name| occupied.accounts.get(name));
        bytes.fold(0, |sum: u64, bytes| sum.saturating_add(*bytes))
    };
    let known: BTreeMap<&str, _> = known.iter().map(|(name, entry)| (name.as_str(), entry)).collect();
    // An account may have lost all its keys, or be older than the rules for names.
    let names: BTreeSet<&str> = known.keys().copied().chain(stored.keys().map(String::as_str)).collect();
    let described = names.into_iter().filter_map(|text| {
        let usage = stored.get(text).copied().unwrap_or_default();
        let name: AccountName = text.parse().ok()?;
        let hours = hours(&name);
        let bill = credit.bill(text, occupied);
        let told = match known.get(text) {
            Some((entry, keys)) => described(text, entry, *keys, usage, hours),
            None => described(text, &AccountEntry::new(name), 0, usage, hours),
        };
        Some(AccountUsage { bill, ..told })
    });
    Ok(described.collect())
}

/// All accounts and sub-accounts that have keys, limits or objects, in order of name. Waits for the disk: short reads.
pub fn all(
    keys: &AccessKeys,
    meta: &Meta,
    rate: &Rate,
    credit: &Credit,
) -> Result<Vec<AccountUsage>, UsageError> {
    each(keys, meta, credit, |name| rate.hours(name))
}

/// What the caller is told: of its own account or sub-account, and if it is an account of its sub-accounts.
pub(super) fn answer(meta: &Meta, callers: &Callers, caller: &Caller) -> S3Result<Answer> {
    let name = caller.name.as_ref().ok_or_else(|| s3_error!(AccessDenied))?;
    let all =
        each(callers.keys(), meta, callers.credit(), |name| callers.hours(name)).map_err(
            |error| match error {
                UsageError::Keys(error) => Callers::unusable(error),
                UsageError::Meta(error) => errors::meta(error),
            },
        )?;
    let (own, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|found| found.account == name.as_str());
    let own = own.into_iter().next().ok_or_else(|| s3_error!(InternalError))?;
    let is_part =
        |found: &AccountUsage| found.account.split_once('/').is_some_and(|(of, _)| of == name.as_str());
    Ok(Answer { own, sub_accounts: others.into_iter().filter(is_part).collect() })
}
