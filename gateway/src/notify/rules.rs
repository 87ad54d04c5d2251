//! Which events of a bucket are told to whom.
//!
//! # Invariants
//! - No event is told twice by the rules of one bucket: two rules with an event in common have prefixes or suffixes that no
//!   key has both of.

use codec::{Decode, DecodeAll, Encode};

/// Most rules of a bucket (as in AWS).
pub const RULES_MAX: usize = 100;
/// Longest id of a rule, characters (as in AWS).
const ID_CHARS_MAX: usize = 255;
/// Longest prefix and suffix, bytes: longer than any key.
const AFFIX_BYTES_MAX: usize = 1_024;

/// What can happen to an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub enum EventName {
    /// Written by one request.
    #[codec(index = 0)]
    CreatedPut,
    /// Written by an HTML form.
    #[codec(index = 1)]
    CreatedPost,
    /// Copied here.
    #[codec(index = 2)]
    CreatedCopy,
    /// An upload in parts was completed.
    #[codec(index = 3)]
    CreatedComplete,
    /// A version is gone, or the object of a bucket that keeps no versions.
    #[codec(index = 4)]
    RemovedDelete,
    /// A delete marker hides the key.
    #[codec(index = 5)]
    RemovedMarker,
    /// The same as [`EventName::RemovedDelete`], by a lifecycle rule.
    #[codec(index = 6)]
    ExpiredDelete,
    /// The same as [`EventName::RemovedMarker`], by a lifecycle rule.
    #[codec(index = 7)]
    ExpiredMarker,
    /// An object that is there got tags, or others.
    #[codec(index = 8)]
    TaggingPut,
    /// Its tags were taken away.
    #[codec(index = 9)]
    TaggingDelete,
    /// It got another access control list.
    #[codec(index = 10)]
    AclPut,
}

impl EventName {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::CreatedPut,
        Self::CreatedPost,
        Self::CreatedCopy,
        Self::CreatedComplete,
        Self::RemovedDelete,
        Self::RemovedMarker,
        Self::ExpiredDelete,
        Self::ExpiredMarker,
        Self::TaggingPut,
        Self::TaggingDelete,
        Self::AclPut,
    ];

    /// As records have it; rules put `s3:` before it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CreatedPut => "ObjectCreated:Put",
            Self::CreatedPost => "ObjectCreated:Post",
            Self::CreatedCopy => "ObjectCreated:Copy",
            Self::CreatedComplete => "ObjectCreated:CompleteMultipartUpload",
            Self::RemovedDelete => "ObjectRemoved:Delete",
            Self::RemovedMarker => "ObjectRemoved:DeleteMarkerCreated",
            Self::ExpiredDelete => "LifecycleExpiration:Delete",
            Self::ExpiredMarker => "LifecycleExpiration:DeleteMarkerCreated",
            Self::TaggingPut => "ObjectTagging:Put",
            Self::TaggingDelete => "ObjectTagging:Delete",
            Self::AclPut => "ObjectAcl:Put",
        }
    }

    /// Whether a rule that names `pattern` means it: the name itself, or the part before its last `:` and `*`.
    pub fn is_meant(self, pattern: &str) -> bool {
        let Some(pattern) = pattern.strip_prefix("s3:") else { return false };
        match pattern.strip_suffix(":*") {
            Some(group) => self.as_str().split_once(':').is_some_and(|(own, _)| own == group),
            None => self.as_str() == pattern,
        }
    }
}

/// A rule.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Rule {
    /// What its owner calls it.
    pub id: String,
    /// Name of the webhook.
    pub webhook: String,
    /// The webhook as the document names it.
    pub arn: String,
    /// Events, with wildcards.
    pub events: Vec<String>,
    /// With what keys begin.
    pub prefix: Option<String>,
    /// With what keys end.
    pub suffix: Option<String>,
}

/// Whether some text can begin (end) with both, where one that is not given is empty.
fn overlap<'a>(
    one: &'a Option<String>,
    other: &'a Option<String>,
    has: impl Fn(&'a str, &'a str) -> bool,
) -> bool {
    let (one, other) = (one.as_deref().unwrap_or(""), other.as_deref().unwrap_or(""));
    has(one, other) || has(other, one)
}

impl Rule {
    /// Whether it tells of an event of a key.
    pub fn tells(&self, name: EventName, key: &str) -> bool {
        self.events.iter().any(|pattern| name.is_meant(pattern))
            && self.prefix.as_ref().is_none_or(|prefix| key.starts_with(prefix.as_str()))
            && self.suffix.as_ref().is_none_or(|suffix| key.ends_with(suffix.as_str()))
    }

    /// Whether there can be an event that both tell of.
    fn overlaps(&self, other: &Self) -> bool {
        let names = |rule: &Self, name: EventName| rule.events.iter().any(|pattern| name.is_meant(pattern));
        EventName::ALL.into_iter().any(|name| names(self, name) && names(other, name))
            && overlap(&self.prefix, &other.prefix, |whole, start| whole.starts_with(start))
            && overlap(&self.suffix, &other.suffix, |whole, end| whole.ends_with(end))
    }
}

/// Why rules are not taken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RulesError {
    /// Too many.
    #[error("a bucket has at most {RULES_MAX} notification configurations")]
    TooMany,
    /// A rule for nothing.
    #[error("the configuration {0} names no event")]
    NoEvent(String),
    /// An event that never happens here.
    #[error(
        "the event {0} is not one of this gateway: there are s3:ObjectCreated:Put, Post, Copy and CompleteMultipartUpload, s3:ObjectRemoved:Delete and DeleteMarkerCreated, s3:LifecycleExpiration:Delete and DeleteMarkerCreated, s3:ObjectTagging:Put and Delete, s3:ObjectAcl:Put, and `*` for the last word of each"
    )]
    Event(String),
    /// Two rules of one name.
    #[error("the id {0} is there twice")]
    Twice(String),
    /// No id.
    #[error("an id has 1 to {ID_CHARS_MAX} characters")]
    Id,
    /// Longer than a key.
    #[error("a prefix or suffix has at most {AFFIX_BYTES_MAX} bytes")]
    Affix,
    /// An event would be told twice.
    #[error(
        "the configurations {0} and {1} overlap: they have an event in common, and a key can have the prefixes and suffixes of both"
    )]
    Overlap(String, String),
}

/// The rules of a bucket.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Rules(Vec<Rule>);

#[derive(Encode, Decode)]
enum Stored {
    #[codec(index = 1)]
    V1(Vec<Rule>),
}

impl Rules {
    /// Checks them.
    pub fn new(rules: Vec<Rule>) -> Result<Self, RulesError> {
        if rules.len() > RULES_MAX {
            return Err(RulesError::TooMany);
        }
        for (position, rule) in rules.iter().enumerate() {
            if !(1..=ID_CHARS_MAX).contains(&rule.id.chars().count()) {
                return Err(RulesError::Id);
            }
            if rule.events.is_empty() {
                return Err(RulesError::NoEvent(rule.id.clone()));
            }
            let unknown = |pattern: &&String| !EventName::ALL.into_iter().any(|name| name.is_meant(pattern));
            if let Some(pattern) = rule.events.iter().find(unknown) {
                return Err(RulesError::Event(pattern.clone()));
            }
            if [&rule.prefix, &rule.suffix].into_iter().flatten().any(|affix| affix.len() > AFFIX_BYTES_MAX) {
                return Err(RulesError::Affix);
            }
            for other in &rules[..position] {
                if other.id == rule.id {
                    return Err(RulesError::Twice(rule.id.clone()));
                }
                if other.overlaps(rule) {
                    return Err(RulesError::Overlap(other.id.clone(), rule.id.clone()));
                }
            }
        }
        Ok(Self(rules))
    }

    /// All of them, in order.
    pub fn all(&self) -> &[Rule] {
        &self.0
    }

    /// The rule that tells of an event of a key.
    pub fn find(&self, name: EventName, key: &str) -> Option<&Rule> {
        self.0.iter().find(|rule| rule.tells(name, key))
    }

    /// The row.
    pub fn to_row(&self) -> Vec<u8> {
        Stored::V1(self.0.clone()).encode()
    }

    /// From a row.
    pub fn from_row(mut row: &[u8]) -> Result<Self, codec::Error> {
        Stored::decode_all(&mut row).map(|Stored::V1(rules)| Self(rules))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rule(id: &str, events: &[&str], prefix: Option<&str>, suffix: Option<&str>) -> Rule {
        Rule {
            id: id.into(),
            webhook: "w".into(),
            arn: "arn".into(),
            events: events.iter().map(|event| (*event).to_owned()).collect(),
            prefix: prefix.map(str::to_owned),
            suffix: suffix.map(str::to_owned),
        }
    }

    #[test]
    fn names_and_wildcards_mean_what_they_say() {
        let meant = |pattern: &str| -> Vec<&str> {
            let all = EventName::ALL.into_iter();
            all.filter(|name| name.is_meant(pattern)).map(EventName::as_str).collect()
        };
        assert_eq!(meant("s3:ObjectCreated:Put"), ["ObjectCreated:Put"]);
        assert_eq!(meant("s3:ObjectCreated:*").len(), 4);
        assert_eq!(meant("s3:ObjectTagging:*"), ["ObjectTagging:Put", "ObjectTagging:Delete"]);
        assert_eq!(meant("s3:ObjectAcl:*"), ["ObjectAcl:Put"]);
        assert_eq!(
            meant("s3:LifecycleExpiration:*"),
            ["LifecycleExpiration:Delete", "LifecycleExpiration:DeleteMarkerCreated"]
        );
        for none in
            ["ObjectCreated:Put", "s3:*", "s3:ObjectCreated", "s3:Object*", "s3:ObjectCreated:P*", "*", ""]
        {
            assert_eq!(meant(none), [""; 0], "{none}");
        }
    }

    #[test]
    fn rules_that_mean_nothing_or_twice_are_refused() {
        let put = &["s3:ObjectCreated:Put"][..];
        let one = rule("a", put, Some("images/"), Some(".jpg"));
        for (other, refused) in [
            (rule("b", put, Some("images/"), Some(".png")), None),
            (rule("b", put, Some("films/"), None), None),
            (rule("b", &["s3:ObjectRemoved:*"], None, None), None),
            (rule("a", put, Some("films/"), None), Some(RulesError::Twice("a".into()))),
            (rule("b", put, None, Some("jpg")), Some(RulesError::Overlap("a".into(), "b".into()))),
            (
                rule("b", &["s3:ObjectCreated:*"], Some("images/2026/"), None),
                Some(RulesError::Overlap("a".into(), "b".into())),
            ),
            (rule("b", &[], None, None), Some(RulesError::NoEvent("b".into()))),
            (rule("", put, Some("films/"), None), Some(RulesError::Id)),
            (rule("b", put, Some(&"x".repeat(1_025)), None), Some(RulesError::Affix)),
            (
                rule("b", &["s3:ObjectRestore:Post"], None, None),
                Some(RulesError::Event("s3:ObjectRestore:Post".into())),
            ),
        ] {
            assert_eq!(Rules::new(vec![one.clone(), other.clone()]).err(), refused, "{other:?}");
        }
        let many = (0..101).map(|number| rule(&number.to_string(), put, Some(&format!("{number:03}")), None));
        assert_eq!(Rules::new(many.collect()), Err(RulesError::TooMany));
    }

    #[test]
    fn rows_come_back_and_end_where_they_end() {
        let rules = Rules::new(vec![rule("a", &["s3:ObjectCreated:*"], None, Some("x"))]).unwrap();
        let mut row = rules.to_row();
        assert_eq!(Rules::from_row(&row), Ok(rules));
        row.push(0);
        assert!(Rules::from_row(&row).is_err());
    }

    fn affix() -> impl Strategy<Value = Option<String>> {
        proptest::option::of("[ab]{0,3}")
    }

    fn patterns() -> impl Strategy<Value = Vec<&'static str>> {
        let all = vec![
            "s3:ObjectCreated:*",
            "s3:ObjectCreated:Put",
            "s3:ObjectCreated:Copy",
            "s3:ObjectRemoved:*",
            "s3:ObjectRemoved:Delete",
            "s3:LifecycleExpiration:Delete",
        ];
        proptest::sample::subsequence(all, 1..=3)
    }

    proptest! {
        /// Whatever rules are taken, an event of a key is told by one of them at the most; and those that are refused as
        /// overlapping do tell of a key twice.
        #[test]
        fn no_event_is_told_twice(
            given in proptest::collection::vec((patterns(), affix(), affix()), 1..5),
            key in "[ab]{0,6}",
        ) {
            let rules: Vec<Rule> = given.iter().enumerate().map(|(number, (events, prefix, suffix))| {
                rule(&number.to_string(), events, prefix.as_deref(), suffix.as_deref())
            }).collect();
            let told = |name: EventName, key: &str| rules.iter().filter(|rule| rule.tells(name, key)).count();
            match Rules::new(rules.clone()) {
                Ok(taken) => for name in EventName::ALL {
                    prop_assert!(told(name, &key) <= 1);
                    prop_assert_eq!(taken.find(name, &key).is_some(), told(name, &key) == 1);
                },
                Err(RulesError::Overlap(one, other)) => {
                    let find = |id: &str| rules.iter().find(|rule| rule.id == id).unwrap();
                    let longer = |affix: fn(&Rule) -> &Option<String>| {
                        let both = [find(&one), find(&other)].map(|rule| affix(rule).clone().unwrap_or_default());
                        both.into_iter().max_by_key(String::len).unwrap()
                    };
                    let shared = longer(|rule| &rule.prefix) + &longer(|rule| &rule.suffix);
                    prop_assert!(EventName::ALL.into_iter().any(|name| told(name, &shared) > 1));
                }
                Err(error) => prop_assert!(false, "{}", error),
            }
        }
    }
}
