//! Lifecycle rules: what they say, and what is due by them. Pure: versions and the time are handed in.

use std::time::{Duration, UNIX_EPOCH};

use s3s::{
    S3Result,
    dto::{self, BucketLifecycleConfiguration, Timestamp, TimestampFormat},
    s3_error,
};

/// Milliseconds of a day.
pub const DAY_MS: u64 = 24 * 3_600 * 1_000;
/// Most rules of a bucket (as in AWS).
const RULES_MAX: usize = 1_000;
/// Longest id of a rule, characters (as in AWS).
const ID_MAX: usize = 255;
/// Most newer versions that a rule can keep (as in AWS).
const NEWER_MAX: i32 = 100;

/// The rules of a bucket.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Rules(Vec<Rule>);

#[derive(Clone, PartialEq, Eq, Debug)]
struct Rule {
    id: String,
    filter: Filter,
    expire: Option<Expire>,
    /// Delete markers with nothing behind them go at once.
    lone_markers: bool,
    noncurrent: Option<Noncurrent>,
    /// Days after which uploads in parts are given up.
    abort_days: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Expire {
    Days(u64),
    /// From this time on.
    Date(u64),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Noncurrent {
    days: u64,
    /// That many are kept whatever their age.
    newer: usize,
}

/// What a rule is about; all of it must fit.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Filter {
    prefixes: Vec<String>,
    tags: Vec<(String, String)>,
    larger_than: Option<u64>,
    smaller_than: Option<u64>,
}

/// A version of a key as rules see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    /// Bytes and tags; none for a delete marker.
    pub object: Option<(u64, Vec<(String, String)>)>,
    /// When it was made, milliseconds since the Unix epoch.
    pub modified_ms: u64,
    /// When a newer one came; none for the newest one.
    pub superseded_ms: Option<u64>,
    /// Whether nobody may remove it now.
    pub locked: bool,
}

/// What is due for a version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Due {
    /// Delete the key as a client would who names no version.
    Expire,
    /// Remove this version for good.
    Remove,
}

/// How long a day lasts: [`DAY_MS`] outside of tests. Real days end at midnight UTC, as in S3.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Day(pub u64);

impl Day {
    /// When that many days are over.
    fn after(self, from_ms: u64, days: u64) -> u64 {
        let at = from_ms.saturating_add(days.saturating_mul(self.0));
        if self.0 == DAY_MS { at.div_ceil(DAY_MS).saturating_mul(DAY_MS) } else { at }
    }
}

impl Filter {
    fn fits_key(&self, key: &str) -> bool {
        self.prefixes.iter().all(|prefix| key.starts_with(prefix.as_str()))
    }

    fn fits(&self, key: &str, size: u64, tags: &[(String, String)]) -> bool {
        self.fits_key(key)
            && self.tags.iter().all(|tag| tags.contains(tag))
            && self.larger_than.is_none_or(|bound| size > bound)
            && self.smaller_than.is_none_or(|bound| size < bound)
    }

    /// Whether it asks for more than a prefix.
    fn needs_object(&self) -> bool {
        !self.tags.is_empty() || self.larger_than.is_some() || self.smaller_than.is_some()
    }
}

impl Rules {
    /// The rules that are enabled, from a document that was checked when it was put.
    pub fn parse(document: &BucketLifecycleConfiguration) -> S3Result<Self> {
        let enabled = |rule: &&dto::LifecycleRule| rule.status.as_str() == dto::ExpirationStatus::ENABLED;
        document.rules.iter().filter(enabled).map(parse).collect::<S3Result<_>>().map(Self)
    }

    /// Whether any rule is about uploads in parts.
    pub fn aborts(&self) -> bool {
        self.0.iter().any(|rule| rule.abort_days.is_some())
    }

    /// Whether an upload in parts is to be given up.
    pub fn abort_due(&self, key: &str, begun_ms: u64, now_ms: u64, day: Day) -> bool {
        self.0
            .iter()
            .filter(|rule| rule.filter.fits_key(key))
            .any(|rule| rule.abort_days.is_some_and(|days| day.after(begun_ms, days) <= now_ms))
    }

    /// What is due for versions of a key, newest first; the answer has their order. `before` of its noncurrent versions
    /// are newer than these, and `all` says that there are no others.
    pub fn due(
        &self,
        key: &str,
        versions: &[Seen],
        (before, all): (usize, bool),
        now_ms: u64,
        day: Day,
    ) -> Vec<Option<Due>> {
        let alone = all && versions.len() == 1;
        let mut newer = before;
        let decide = |version: &Seen| {
            let Some(superseded_ms) = version.superseded_ms else {
                return self.current_due(key, version, alone, now_ms, day);
            };
            let due = !version.locked && self.noncurrent_due(key, version, newer, superseded_ms, now_ms, day);
            newer += 1;
            due.then_some(Due::Remove)
        };
        versions.iter().map(decide).collect()
    }

    fn current_due(&self, key: &str, version: &Seen, alone: bool, now_ms: u64, day: Day) -> Option<Due> {
        let over = |expire: Expire| match expire {
            Expire::Days(days) => day.after(version.modified_ms, days) <= now_ms,
            Expire::Date(from_ms) => from_ms <= now_ms,
        };
        self.0.iter().find_map(|rule| match &version.object {
            Some((size, tags)) => {
                let due = rule.expire.is_some_and(over) && rule.filter.fits(key, *size, tags);
                due.then_some(Due::Expire)
            }
            None => {
                let due = rule.lone_markers || rule.expire.is_some_and(over);
                let fits = rule.filter.fits_key(key) && !rule.filter.needs_object();
                (alone && due && fits).then_some(Due::Remove)
            }
        })
    }

    fn noncurrent_due(
        &self,
        key: &str,
        version: &Seen,
        newer: usize,
        superseded_ms: u64,
        now_ms: u64,
        day: Day,
    ) -> bool {
        self.0.iter().any(|rule| {
            let Some(noncurrent) = rule.noncurrent else { return false };
            let fits = match &version.object {
                Some((size, tags)) => rule.filter.fits(key, *size, tags),
                None => rule.filter.fits_key(key) && !rule.filter.needs_object(),
            };
            fits && newer >= noncurrent.newer && day.after(superseded_ms, noncurrent.days) <= now_ms
        })
    }

    /// When an object will expire, and by which rule; what `x-amz-expiration` says.
    pub fn expiration(
        &self,
        key: &str,
        size: u64,
        tags: &[(String, String)],
        modified_ms: u64,
    ) -> Option<String> {
        let fitting = self.0.iter().filter(|rule| rule.filter.fits(key, size, tags));
        let dated = fitting.filter_map(|rule| {
            let at = match rule.expire? {
                Expire::Days(days) => Day(DAY_MS).after(modified_ms, days),
                Expire::Date(from_ms) => from_ms,
            };
            Some((at, rule))
        });
        let (at, rule) = dated.min_by_key(|(at, _)| *at)?;
        let date = Timestamp::from(UNIX_EPOCH + Duration::from_millis(at));
        let mut text = Vec::new();
        date.format(TimestampFormat::HttpDate, &mut text).ok()?;
        let date = String::from_utf8(text).ok()?;
        Some(format!("expiry-date=\"{date}\", rule-id=\"{}\"", rule.id))
    }
}

/// Refuses a document that S3 would, and gives ids to rules that have none.
pub fn check(document: &mut BucketLifecycleConfiguration, new_id: impl Fn() -> String) -> S3Result<()> {
    if document.rules.is_empty() || document.rules.len() > RULES_MAX {
        return Err(s3_error!(MalformedXML, "1 to {RULES_MAX} rules"));
    }
    let mut ids = Vec::with_capacity(document.rules.len());
    for rule in &mut document.rules {
        let id = rule.id.get_or_insert_with(&new_id).clone();
        if id.chars().count() > ID_MAX {
            return Err(s3_error!(InvalidArgument, "the id of a rule has at most {ID_MAX} characters"));
        }
        if ids.contains(&id) {
            return Err(s3_error!(InvalidArgument, "the id {id} is there twice"));
        }
        ids.push(id);
        check_rule(rule)?;
    }
    Ok(())
}

fn check_rule(rule: &dto::LifecycleRule) -> S3Result<()> {
    if !matches!(rule.status.as_str(), dto::ExpirationStatus::ENABLED | dto::ExpirationStatus::DISABLED) {
        return Err(s3_error!(MalformedXML, "the status of a rule is Enabled or Disabled"));
    }
    if rule.prefix.is_some() == rule.filter.is_some() {
        return Err(s3_error!(MalformedXML, "a rule has a filter, or in the old form a prefix"));
    }
    let transitions = rule.transitions.as_deref().unwrap_or_default();
    for transition in transitions {
        if let Some(date) = &transition.date {
            midnight(date)?;
        }
    }
    let parsed = parse(rule)?;
    if !transitions.is_empty() || rule.noncurrent_version_transitions.is_some() {
        return Err(s3_error!(NotImplemented, "there are no other storage classes to go to"));
    }
    let nothing = parsed.expire.is_none()
        && !parsed.lone_markers
        && parsed.noncurrent.is_none()
        && parsed.abort_days.is_none();
    if nothing {
        return Err(s3_error!(InvalidRequest, "a rule says what is to be done"));
    }
    if parsed.filter.needs_object() && (parsed.lone_markers || parsed.abort_days.is_some()) {
        return Err(s3_error!(
            InvalidRequest,
            "delete markers and uploads in parts have neither tags nor a size to filter by"
        ));
    }
    Ok(())
}

/// Milliseconds of a date, which must be midnight UTC.
fn midnight(date: &Timestamp) -> S3Result<u64> {
    let wrong = || s3_error!(InvalidArgument, "a date is at midnight UTC");
    let mut text = Vec::new();
    date.format(TimestampFormat::EpochSeconds, &mut text).map_err(|_| wrong())?;
    let seconds = String::from_utf8(text).ok().and_then(|text| text.parse::<f64>().ok()).ok_or_else(wrong)?;
    let ms = if seconds >= 0.0 { (seconds * 1_000.0) as u64 } else { return Err(wrong()) };
    if ms % DAY_MS == 0 { Ok(ms) } else { Err(wrong()) }
}

fn days(days: Option<i32>) -> S3Result<u64> {
    match days {
        Some(days @ 1..) => Ok(days as u64),
        _ => Err(s3_error!(InvalidArgument, "days are 1 or more")),
    }
}

fn tag(tag: &dto::Tag) -> (String, String) {
    (tag.key.clone().unwrap_or_default(), tag.value.clone().unwrap_or_default())
}

fn parse(rule: &dto::LifecycleRule) -> S3Result<Rule> {
    let size = |bound: Option<i64>| match bound {
        None => Ok(None),
        Some(bound) => {
            u64::try_from(bound).map(Some).map_err(|_| s3_error!(InvalidArgument, "a size is not below zero"))
        }
    };
    let mut filter = Filter { prefixes: rule.prefix.iter().cloned().collect(), ..Default::default() };
    if let Some(given) = &rule.filter {
        filter.prefixes.extend(given.prefix.clone());
        filter.tags.extend(given.tag.as_ref().map(tag));
        filter.larger_than = size(given.object_size_greater_than)?;
        filter.smaller_than = size(given.object_size_less_than)?;
        if let Some(and) = &given.and {
            filter.prefixes.extend(and.prefix.clone());
            filter.tags.extend(and.tags.iter().flatten().map(tag));
            filter.larger_than = filter.larger_than.max(size(and.object_size_greater_than)?);
            let smaller = size(and.object_size_less_than)?;
            filter.smaller_than = match (filter.smaller_than, smaller) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
    }
    let (mut expire, mut lone_markers) = (None, false);
    if let Some(expiration) = &rule.expiration {
        match (expiration.days, &expiration.date, expiration.expired_object_delete_marker) {
            (Some(count), None, None) => expire = Some(Expire::Days(days(Some(count))?)),
            (None, Some(date), None) => expire = Some(Expire::Date(midnight(date)?)),
            (None, None, Some(wanted)) => lone_markers = wanted,
            _ => {
                return Err(s3_error!(
                    MalformedXML,
                    "an expiration has one of Days, Date and ExpiredObjectDeleteMarker"
                ));
            }
        }
    }
    let noncurrent = match &rule.noncurrent_version_expiration {
        None => None,
        Some(given) => {
            let newer = given.newer_noncurrent_versions;
            if newer.is_some_and(|newer| !(1..=NEWER_MAX).contains(&newer)) {
                return Err(s3_error!(InvalidArgument, "NewerNoncurrentVersions is from 1 to {NEWER_MAX}"));
            }
            Some(Noncurrent { days: days(given.noncurrent_days)?, newer: newer.unwrap_or(0) as usize })
        }
    };
    let abort_days = match &rule.abort_incomplete_multipart_upload {
        None => None,
        Some(given) => Some(days(given.days_after_initiation)?),
    };
    let id = rule.id.clone().unwrap_or_default();
    Ok(Rule { id, filter, expire, lone_markers, noncurrent, abort_days })
}

#[cfg(test)]
mod tests;
