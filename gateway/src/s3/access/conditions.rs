//! Conditions of bucket policies: operators of IAM over facts of a request.

use std::net::IpAddr;

use s3s::dto::{Timestamp, TimestampFormat};
use serde_json::Value;

use super::policy::{PolicyError, matches};

/// Most values of all conditions of a statement.
const VALUES_MAX: usize = 1_000;

/// What a request is like. Keys are lower-case, as in `s3:prefix`; behind a `/` follows the name of a tag as it is.
pub(crate) trait Facts: Send + Sync {
    /// All values of a key; empty where the request has none.
    fn values(&self, key: &str) -> Vec<String>;
}

/// Keys with one value, or several for the last.
const KEYS: &[&str] = &[
    "aws:currenttime",
    "aws:epochtime",
    "aws:principalaccount",
    "aws:principaltype",
    "aws:referer",
    "aws:securetransport",
    "aws:sourceip",
    "aws:useragent",
    "aws:userid",
    "aws:username",
    "s3:authtype",
    "s3:delimiter",
    "s3:max-keys",
    "s3:object-lock-legal-hold",
    "s3:object-lock-mode",
    "s3:object-lock-retain-until-date",
    "s3:prefix",
    "s3:signatureversion",
    "s3:versionid",
    "s3:x-amz-acl",
    "s3:x-amz-content-sha256",
    "s3:x-amz-copy-source",
    "s3:x-amz-grant-full-control",
    "s3:x-amz-grant-read",
    "s3:x-amz-grant-read-acp",
    "s3:x-amz-grant-write",
    "s3:x-amz-grant-write-acp",
    "s3:x-amz-metadata-directive",
    "s3:x-amz-server-side-encryption",
    "s3:x-amz-server-side-encryption-aws-kms-key-id",
    "s3:x-amz-server-side-encryption-customer-algorithm",
    "s3:x-amz-storage-class",
    "s3:x-amz-website-redirect-location",
    "s3:requestobjecttagkeys",
];
/// Keys behind which the name of a tag follows.
const TAG_KEYS: [&str; 2] = ["s3:existingobjecttag/", "s3:requestobjecttag/"];
/// Keys that say from where or who, so that a statement for everyone is not public.
const NARROWING: [&str; 4] = ["aws:sourceip", "aws:principalaccount", "aws:userid", "aws:username"];

/// One operator on one key.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Condition {
    key: String,
    quantifier: Quantifier,
    if_exists: bool,
    negated: bool,
    test: Test,
}

/// How several values of a request count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Quantifier {
    /// The key has one value.
    One,
    /// `ForAnyValue:`.
    Any,
    /// `ForAllValues:`.
    All,
}

#[derive(Clone, PartialEq, Debug)]
enum Test {
    /// Whether the key is absent.
    Null(bool),
    Equals(Vec<String>),
    EqualsIgnoreCase(Vec<String>),
    Like(Vec<String>),
    Number(Order, Vec<f64>),
    Date(Order, Vec<f64>),
    Bool(Vec<bool>),
    Ip(Vec<Network>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Order {
    Equals,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// An address range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Network {
    address: IpAddr,
    bits: u8,
}

fn wrong(what: impl Into<String>) -> PolicyError {
    PolicyError::Condition(what.into())
}

/// A key in the spelling of [`Facts`].
fn known_key(key: &str) -> Option<String> {
    let lower = key.to_ascii_lowercase();
    if KEYS.contains(&lower.as_str()) {
        return Some(lower);
    }
    let prefix = TAG_KEYS.iter().find(|prefix| lower.starts_with(**prefix))?;
    let name = &key[prefix.len()..];
    (!name.is_empty()).then(|| format!("{prefix}{name}"))
}

impl Condition {
    /// All conditions of a statement.
    pub(super) fn parse_all(value: &Value) -> Result<Vec<Self>, PolicyError> {
        let operators = value.as_object().ok_or_else(|| wrong("an object of operators is expected"))?;
        let mut found = Vec::new();
        let mut count = 0;
        for (operator, keys) in operators {
            let keys =
                keys.as_object().ok_or_else(|| wrong(format!("{operator} needs an object of keys")))?;
            for (key, values) in keys {
                let values = texts(values).ok_or_else(|| wrong(format!("the values of {key}")))?;
                count += values.len();
                if count > VALUES_MAX {
                    return Err(wrong(format!("more than {VALUES_MAX} values")));
                }
                if let Some(variable) = values.iter().find(|value| value.contains("${")) {
                    return Err(PolicyError::Variable(variable.clone()));
                }
                found.push(Self::parse(operator, key, values)?);
            }
        }
        Ok(found)
    }

    fn parse(operator: &str, key: &str, values: Vec<String>) -> Result<Self, PolicyError> {
        let known = known_key(key).ok_or_else(|| wrong(format!("the key {key} is not offered")))?;
        let (quantifier, name) = match operator.split_once(':') {
            None => (Quantifier::One, operator),
            Some(("ForAnyValue", name)) => (Quantifier::Any, name),
            Some(("ForAllValues", name)) => (Quantifier::All, name),
            Some(_) => return Err(wrong(format!("the operator {operator}"))),
        };
        let (name, if_exists) = match name.strip_suffix("IfExists") {
            Some(name) => (name, true),
            None => (name, false),
        };
        let (name, negated) = match name {
            "NotIpAddress" => ("IpAddress".to_owned(), true),
            name => match ["String", "Numeric", "Date", "Arn"].iter().find_map(|kind| {
                name.strip_prefix(kind)?.strip_prefix("Not").map(|rest| format!("{kind}{rest}"))
            }) {
                Some(name) => (name, true),
                None => (name.to_owned(), false),
            },
        };
        let test = test(&name, values).ok_or_else(|| wrong(format!("{operator} on {key}")))?;
        if matches!(test, Test::Null(_)) && if_exists {
            return Err(wrong(format!("the operator {operator}")));
        }
        Ok(Self { key: known, quantifier, if_exists, negated, test })
    }

    /// Whether it holds for a request.
    pub(super) fn holds(&self, facts: &dyn Facts) -> bool {
        let values = facts.values(&self.key);
        if let Test::Null(absent) = self.test {
            return values.is_empty() == absent;
        }
        if values.is_empty() {
            return match self.quantifier {
                Quantifier::All => true,
                Quantifier::One => self.if_exists || self.negated,
                Quantifier::Any => self.if_exists,
            };
        }
        let fits = |value: &String| self.test.fits(value) != self.negated;
        match self.quantifier {
            Quantifier::All => values.iter().all(fits),
            Quantifier::One | Quantifier::Any => values.iter().any(fits),
        }
    }

    /// Whether it leaves a statement for everyone to some only.
    pub(super) fn narrows(&self) -> bool {
        let holds_without = self.negated || self.if_exists || self.quantifier == Quantifier::All;
        if holds_without || !NARROWING.contains(&self.key.as_str()) {
            return false;
        }
        match &self.test {
            Test::Equals(_) => true,
            Test::Like(patterns) => !patterns.iter().any(|pattern| pattern.contains(['*', '?'])),
            Test::Ip(networks) => !networks.iter().any(Network::is_wide),
            _ => false,
        }
    }
}

fn texts(value: &Value) -> Option<Vec<String>> {
    let one = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let found: Option<Vec<String>> = match value {
        Value::Array(many) => many.iter().map(one).collect(),
        single => one(single).map(|text| vec![text]),
    };
    found.filter(|values| !values.is_empty())
}

fn test(name: &str, values: Vec<String>) -> Option<Test> {
    let order = |name: &str| {
        Some(match name {
            "Equals" => Order::Equals,
            "LessThan" => Order::Less,
            "LessThanEquals" => Order::LessOrEqual,
            "GreaterThan" => Order::Greater,
            "GreaterThanEquals" => Order::GreaterOrEqual,
            _ => return None,
        })
    };
    let bools = || values.iter().map(|value| truth(value)).collect::<Option<Vec<_>>>();
    Some(match name {
        "Null" => match bools()?.as_slice() {
            [absent] => Test::Null(*absent),
            _ => return None,
        },
        "StringEquals" => Test::Equals(values),
        "StringEqualsIgnoreCase" => {
            Test::EqualsIgnoreCase(values.iter().map(|value| value.to_lowercase()).collect())
        }
        "StringLike" | "ArnEquals" | "ArnLike" => Test::Like(values),
        "Bool" => Test::Bool(bools()?),
        "IpAddress" => Test::Ip(values.iter().map(|value| Network::parse(value)).collect::<Option<_>>()?),
        name => match (name.strip_prefix("Numeric"), name.strip_prefix("Date")) {
            (Some(kind), _) => {
                let numbers = values.iter().map(|value| value.parse().ok()).collect::<Option<_>>()?;
                Test::Number(order(kind)?, numbers)
            }
            (_, Some(kind)) => {
                let times = values.iter().map(|value| time(value)).collect::<Option<_>>()?;
                Test::Date(order(kind)?, times)
            }
            _ => return None,
        },
    })
}

impl Test {
    fn fits(&self, value: &str) -> bool {
        let compare = |order: &Order, bounds: &[f64], value: Option<f64>| {
            value.is_some_and(|value| {
                bounds.iter().any(|bound| match order {
                    Order::Equals => value == *bound,
                    Order::Less => value < *bound,
                    Order::LessOrEqual => value <= *bound,
                    Order::Greater => value > *bound,
                    Order::GreaterOrEqual => value >= *bound,
                })
            })
        };
        match self {
            Self::Null(_) => false,
            Self::Equals(wanted) => wanted.iter().any(|wanted| wanted == value),
            Self::EqualsIgnoreCase(wanted) => wanted.contains(&value.to_lowercase()),
            Self::Like(patterns) => patterns.iter().any(|pattern| matches(pattern, value)),
            Self::Number(order, bounds) => compare(order, bounds, value.parse().ok()),
            Self::Date(order, bounds) => compare(order, bounds, time(value)),
            Self::Bool(wanted) => truth(value).is_some_and(|value| wanted.contains(&value)),
            Self::Ip(networks) => {
                value.parse().is_ok_and(|address| networks.iter().any(|network| network.has(address)))
            }
        }
    }
}

fn truth(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// Seconds since the Unix epoch of a date or of seconds.
fn time(text: &str) -> Option<f64> {
    if let Ok(seconds) = text.parse() {
        return Some(seconds);
    }
    let full = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
    let time = Timestamp::parse(TimestampFormat::DateTime, &full).ok()?;
    let mut seconds = Vec::new();
    time.format(TimestampFormat::EpochSeconds, &mut seconds).ok()?;
    String::from_utf8(seconds).ok()?.parse().ok()
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address.parse::<IpAddr>().ok()?, Some(bits.parse::<u8>().ok()?)),
            None => (text.parse::<IpAddr>().ok()?, None),
        };
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(width);
        (bits <= width).then_some(Self { address, bits })
    }

    /// Whether it is so much of the internet that it names nobody (as in AWS).
    fn is_wide(&self) -> bool {
        self.bits < if self.address.is_ipv4() { 8 } else { 32 }
    }

    fn has(&self, other: IpAddr) -> bool {
        let same = |a: u128, b: u128, width: u32| {
            let shift = width - u32::from(self.bits);
            shift >= 128 || (a >> shift) == (b >> shift)
        };
        match (self.address, other.to_canonical()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => same(a.to_bits().into(), b.to_bits().into(), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
            _ => false,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Facts in a table.
    pub(crate) struct Table(Vec<(String, String)>);

    impl Table {
        pub(crate) fn new(facts: &[(&str, &str)]) -> Self {
            Self(facts.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
        }
    }

    impl Facts for Table {
        fn values(&self, key: &str) -> Vec<String> {
            self.0.iter().filter(|(name, _)| name == key).map(|(_, value)| value.clone()).collect()
        }
    }

    #[test]
    fn operators_do_what_they_are_called() {
        let facts = Table::new(&[
            ("s3:prefix", "public/a"),
            ("s3:max-keys", "10"),
            ("aws:sourceip", "10.1.2.3"),
            ("aws:securetransport", "false"),
            ("aws:currenttime", "2026-11-21T12:00:00Z"),
            ("s3:existingobjecttag/Class", "Open"),
            ("s3:requestobjecttagkeys", "a"),
            ("s3:requestobjecttagkeys", "b"),
        ]);
        for (condition, holds) in [
            (r#"{"StringEquals":{"s3:prefix":"public/a"}}"#, true),
            (r#"{"StringEquals":{"s3:prefix":["x","public/a"]}}"#, true),
            (r#"{"StringNotEquals":{"s3:prefix":["x","public/a"]}}"#, false),
            (r#"{"StringLike":{"S3:Prefix":"public/*"}}"#, true),
            (r#"{"StringNotLike":{"s3:prefix":"public/*"}}"#, false),
            (r#"{"StringEqualsIgnoreCase":{"s3:prefix":"PUBLIC/A"}}"#, true),
            (r#"{"StringEquals":{"s3:ExistingObjectTag/Class":"Open"}}"#, true),
            (r#"{"StringEquals":{"s3:ExistingObjectTag/class":"Open"}}"#, false),
            (r#"{"StringEquals":{"s3:delimiter":"/"}}"#, false),
            (r#"{"StringEqualsIfExists":{"s3:delimiter":"/"}}"#, true),
            (r#"{"StringNotEquals":{"s3:delimiter":"/"}}"#, true),
            (r#"{"Null":{"s3:delimiter":"true"}}"#, true),
            (r#"{"Null":{"s3:prefix":true}}"#, false),
            (r#"{"NumericLessThanEquals":{"s3:max-keys":10}}"#, true),
            (r#"{"NumericGreaterThan":{"s3:max-keys":"10"}}"#, false),
            (r#"{"IpAddress":{"aws:SourceIp":"10.1.0.0/16"}}"#, true),
            (r#"{"NotIpAddress":{"aws:SourceIp":["10.1.2.3"]}}"#, false),
            (r#"{"IpAddress":{"aws:SourceIp":"::/0"}}"#, false),
            (r#"{"Bool":{"aws:SecureTransport":"false"}}"#, true),
            (r#"{"DateLessThan":{"aws:CurrentTime":"2026-11-21T12:00:01Z"}}"#, true),
            (r#"{"DateGreaterThan":{"aws:CurrentTime":"2026-11-22"}}"#, false),
            (r#"{"ForAllValues:StringEquals":{"s3:RequestObjectTagKeys":["a","b"]}}"#, true),
            (r#"{"ForAllValues:StringEquals":{"s3:RequestObjectTagKeys":["a"]}}"#, false),
            (r#"{"ForAnyValue:StringEquals":{"s3:RequestObjectTagKeys":["a"]}}"#, true),
            (r#"{"ForAnyValue:StringNotEquals":{"s3:delimiter":"/"}}"#, false),
            (r#"{"ForAnyValue:StringEqualsIfExists":{"s3:delimiter":"/"}}"#, true),
            (r#"{"ForAllValues:StringEquals":{"s3:delimiter":"/"}}"#, true),
        ] {
            let parsed = Condition::parse_all(&serde_json::from_str(condition).unwrap()).unwrap();
            assert_eq!(parsed.iter().all(|parsed| parsed.holds(&facts)), holds, "{condition}");
        }
    }
}
