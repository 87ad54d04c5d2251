//! What is in the file of access keys, and how it is written there.

use std::num::NonZeroU32;

use arion_chain::{AccountId, parse_account, ss58};
use arion_daemon::{ByteSize, HumanDuration};
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use serde::{Deserialize, Serialize};

use crate::{
    account::AccountName,
    meta::Quota,
    scope::{Access, PLACES_MAX, Place, Scope},
};

/// Least bytes per second that a rate can be: less is a mistake in the unit.
const RATE_MIN: u64 = 1_024;

/// Why a file cannot be used although it is well-formed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadEntry {
    /// Two entries with one name.
    #[error("{0} stands in it twice")]
    Twice(String),
    /// Slower than anything.
    #[error("a rate of {0} is less than 1KiB a second")]
    Rate(ByteSize),
    /// Nothing to exceed.
    #[error("a burst needs a rate of requests")]
    Burst,
    /// Too many places.
    #[error("a key has at most {PLACES_MAX} places")]
    Places,
    /// A chain account of a sub-account.
    #[error("`{0}` is a sub-account: the chain account is that of its account")]
    ChainOfSub(AccountName),
    /// Deduplication of a sub-account.
    #[error("`{0}` is a sub-account: whether equal bytes are stored once is said of its account")]
    DeduplicateSub(AccountName),
    /// Text that is no time.
    #[error("`{0}` is no time: write 90d, 2027-01-31 or 2027-01-31T12:00:00Z")]
    Moment(String),
    /// A time that is over.
    #[error("{0} is over already")]
    Past(Moment),
    /// An address that does not decode, or whose checksum is wrong.
    #[error("`{0}` is no SS58 address: its checksum or length is wrong")]
    ChainAccount(String),
}

/// A moment in milliseconds since the Unix epoch; text as in RFC 3339.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Moment(pub u64);

impl Moment {
    /// From what people write: a span of time from now, a day (its beginning, UTC), or a time.
    pub fn read(text: &str, now_ms: u64) -> Result<Self, BadEntry> {
        if let Ok(HumanDuration(span)) = text.parse() {
            let span = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
            return Self(now_ms.saturating_add(span)).checked(text);
        }
        let day = text.parse::<Date>().ok().filter(|_| !text.contains(['T', 't', ' ']));
        match day.and_then(|day| day.to_zoned(TimeZone::UTC).ok()) {
            Some(day) => Self::of(day.timestamp(), text),
            None => Self::try_from(text.to_owned()),
        }
    }

    fn of(time: Timestamp, text: &str) -> Result<Self, BadEntry> {
        u64::try_from(time.as_millisecond()).map(Self).map_err(|_| BadEntry::Moment(text.to_owned()))
    }

    /// One that can be written.
    fn checked(self, text: &str) -> Result<Self, BadEntry> {
        let written = i64::try_from(self.0).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        written.map(|_| self).ok_or_else(|| BadEntry::Moment(text.to_owned()))
    }
}

impl TryFrom<String> for Moment {
    type Error = BadEntry;

    fn try_from(text: String) -> Result<Self, BadEntry> {
        let time = text.parse::<Timestamp>().map_err(|_| BadEntry::Moment(text.clone()))?;
        Self::of(time, &text)
    }
}

impl std::fmt::Display for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match i64::try_from(self.0).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()) {
            Some(time) => write!(f, "{time}"),
            None => write!(f, "{}", Timestamp::MAX),
        }
    }
}

impl From<Moment> for String {
    fn from(moment: Moment) -> Self {
        moment.to_string()
    }
}

/// An account of the chain; text is its SS58 address.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ChainAccount(pub AccountId);

impl TryFrom<String> for ChainAccount {
    type Error = BadEntry;

    fn try_from(text: String) -> Result<Self, BadEntry> {
        text.parse()
    }
}

impl std::str::FromStr for ChainAccount {
    type Err = BadEntry;

    fn from_str(text: &str) -> Result<Self, BadEntry> {
        let bad = || BadEntry::ChainAccount(text.to_owned());
        // Hex digits have no checksum.
        match text.strip_prefix("0x").unwrap_or(text).bytes().all(|byte| byte.is_ascii_hexdigit()) {
            true => Err(bad()),
            false => parse_account(text).map(Self).map_err(|_| bad()),
        }
    }
}

impl From<ChainAccount> for String {
    fn from(ChainAccount(id): ChainAccount) -> Self {
        ss58(&id)
    }
}

/// How much may be asked for in a second; what is not there is unlimited.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rates {
    /// Requests a second in the long run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<NonZeroU32>,
    /// Requests at once after a pause; as many as in a second if it is not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<NonZeroU32>,
    /// Bytes a second from clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upload: Option<ByteSize>,
    /// Bytes a second to clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub download: Option<ByteSize>,
}

impl Rates {
    pub(super) fn check(&self) -> Result<(), BadEntry> {
        if self.burst.is_some() && self.requests.is_none() {
            return Err(BadEntry::Burst);
        }
        match [self.upload, self.download].into_iter().flatten().find(|rate| rate.0 < RATE_MIN) {
            Some(rate) => Err(BadEntry::Rate(rate)),
            None => Ok(()),
        }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The file.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyFile {
    #[serde(default, rename = "account", skip_serializing_if = "Vec::is_empty")]
    pub(super) accounts: Vec<AccountEntry>,
    #[serde(default, rename = "key")]
    pub(super) keys: Vec<KeyEntry>,
}

/// What is said of an account or a sub-account.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountEntry {
    /// Its name.
    pub name: AccountName,
    /// The account of the chain that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain_account: Option<ChainAccount>,
    /// Most bytes that it may store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota_bytes: Option<ByteSize>,
    /// Most objects that it may store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota_objects: Option<u64>,
    /// Whether equal bytes that it puts are stored once.
    #[serde(default, skip_serializing_if = "is_default")]
    pub deduplicate: bool,
    /// How much all its keys together may ask for.
    #[serde(default, skip_serializing_if = "is_default")]
    pub rates: Rates,
}

impl AccountEntry {
    /// Of which nothing is said.
    pub fn new(name: AccountName) -> Self {
        Self {
            name,
            chain_account: None,
            quota_bytes: None,
            quota_objects: None,
            deduplicate: false,
            rates: Rates::default(),
        }
    }

    /// How much it may store.
    pub fn quota(&self) -> Quota {
        Quota { bytes: self.quota_bytes.map(|ByteSize(bytes)| bytes), objects: self.quota_objects }
    }
}

/// An access key with its secret.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyEntry {
    pub(super) access_key: String,
    pub(super) secret_key: String,
    pub(super) account: AccountName,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) access: Access,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) places: Vec<Place>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) created: Option<Moment>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) expires: Option<Moment>,
    /// The key that takes its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) rotated_to: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) rates: Rates,
}

impl KeyEntry {
    pub(super) fn scope(&self) -> Scope {
        Scope { access: self.access, places: self.places.clone() }
    }
}

impl KeyFile {
    /// What must hold beyond the types.
    pub(super) fn check(&self) -> Result<(), BadEntry> {
        let names = self.accounts.iter().map(|account| account.name.as_str());
        only_once(names)?;
        only_once(self.keys.iter().map(|key| key.access_key.as_str()))?;
        for account in &self.accounts {
            account.rates.check()?;
            if account.name.is_sub() && account.chain_account.is_some() {
                return Err(BadEntry::ChainOfSub(account.name.clone()));
            }
            if account.name.is_sub() && account.deduplicate {
                return Err(BadEntry::DeduplicateSub(account.name.clone()));
            }
        }
        for key in &self.keys {
            key.rates.check()?;
            if key.places.len() > PLACES_MAX {
                return Err(BadEntry::Places);
            }
        }
        Ok(())
    }
}

fn only_once<'a>(names: impl Iterator<Item = &'a str>) -> Result<(), BadEntry> {
    let mut seen = std::collections::HashSet::new();
    match names.into_iter().find(|name| !seen.insert(*name)) {
        Some(name) => Err(BadEntry::Twice(name.to_owned())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_spans_days_and_moments() {
        const DAY: u64 = 86_400_000;
        for (text, ms) in [
            ("90d", 5 + 90 * DAY),
            ("1970-01-03", 2 * DAY),
            ("1970-01-03T00:00:01Z", 2 * DAY + 1_000),
            ("1970-01-03T02:00:00+02:00", 2 * DAY),
        ] {
            assert_eq!(Moment::read(text, 5), Ok(Moment(ms)), "{text}");
        }
        for text in ["", "soon", "1969-01-01", "2027-13-01", "90", "1000000000d"] {
            assert_eq!(Moment::read(text, 5), Err(BadEntry::Moment(text.to_owned())));
        }
        assert_eq!(Moment(2 * DAY + 1_000).to_string(), "1970-01-03T00:00:01Z");
        assert_eq!(Moment::try_from(Moment(1_234).to_string()), Ok(Moment(1_234)));
    }

    #[test]
    fn addresses_have_a_checksum() {
        let alice = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";
        assert_eq!(String::from(alice.parse::<ChainAccount>().unwrap()), alice);
        let hex = "d4".repeat(32);
        for text in
            [alice.replace("QY", "QZ"), alice.replace("zXb", "zXc"), "5Grw".into(), hex, String::new()]
        {
            assert_eq!(text.parse::<ChainAccount>(), Err(BadEntry::ChainAccount(text.clone())));
        }
    }

    #[test]
    fn files_that_contradict_themselves_are_refused() {
        let check = |text: &str| toml::from_str::<KeyFile>(text).unwrap().check();
        let key = |name: &str, more: &str| {
            format!("[[key]]\naccess_key = \"{name}\"\nsecret_key = \"12345678\"\naccount = \"a\"\n{more}\n")
        };
        assert_eq!(check(&(key("x", "") + &key("y", "rates = { requests = 5, burst = 9 }"))), Ok(()));
        assert_eq!(check(&(key("x", "") + &key("x", ""))), Err(BadEntry::Twice("x".into())));
        assert_eq!(check(&key("x", "rates = { burst = 9 }")), Err(BadEntry::Burst));
        let slow = check(&key("x", "rates = { upload = \"10B\" }"));
        assert_eq!(slow, Err(BadEntry::Rate(ByteSize(10))));
        let sub = "[[account]]\nname = \"a/b\"\n\
                   chain_account = \"5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY\"\n";
        assert!(matches!(check(sub), Err(BadEntry::ChainOfSub(_))));
        let sub = "[[account]]\nname = \"a/b\"\ndeduplicate = true\n";
        assert!(matches!(check(sub), Err(BadEntry::DeduplicateSub(_))));
        let many = vec!["\"one/x*\""; PLACES_MAX + 1].join(",");
        assert_eq!(check(&key("x", &format!("places = [{many}]"))), Err(BadEntry::Places));
        for broken in
            ["name = \"a/b/c\"", "name = \"a\"\nunknown = 1", "name = \"a\"\nquota_bytes = \"much\""]
        {
            assert!(toml::from_str::<KeyFile>(&format!("[[account]]\n{broken}\n")).is_err(), "{broken}");
        }
    }
}
