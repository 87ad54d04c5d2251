//! Scopes: what an access key may do at most, whatever buckets, policies and lists allow.
//!
//! # Invariants
//! - A scope only takes away: who is let in by it is still asked for by the bucket.
//! - Every request has a [`Reach`]; there is none that all scopes allow.
//!
//! # Not here
//! Which request reaches how far, and where it is asked (`s3::access`).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Most places of a scope.
pub const PLACES_MAX: usize = 100;

/// Whether an access key reads, writes or both.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Reads and lists.
    ReadOnly,
    /// Writes and deletes objects, and sees none.
    WriteOnly,
    /// Both.
    #[default]
    ReadWrite,
}

impl Access {
    fn reads(self) -> bool {
        self != Self::WriteOnly
    }

    fn writes(self) -> bool {
        self != Self::ReadOnly
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReadOnly => "read-only",
            Self::WriteOnly => "write-only",
            Self::ReadWrite => "read-write",
        })
    }
}

/// How far a request reaches into a bucket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// Asks whether the bucket is there, and where: any place in it.
    Enter,
    /// Lists keys below a prefix: read access to all of them.
    List,
    /// Lists uploads in parts below a prefix: access of any kind to all of them, because who only writes resumes its own.
    ListUploads,
    /// Reads an object: read access to its key.
    ReadKey,
    /// Writes or deletes an object: write access to its key.
    WriteKey,
    /// Changes who may see an object or how firmly it is kept: both. With write access alone, a list would make readable what
    /// the key must not read.
    GovernKey,
    /// Reads how a bucket is set up: read access to all of it.
    ReadBucket,
    /// Makes, sets up or removes a bucket: both, to all of it.
    GovernBucket,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Keys {
    /// The bucket and all that is in it.
    All,
    /// Keys that begin so.
    Below(String),
    /// This key.
    Only(String),
}

/// Where an access key may be used: `BUCKET`, `BUCKET/PREFIX*` or `BUCKET/KEY`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Place {
    bucket: String,
    keys: Keys,
}

/// Text that is no place.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is no place: write BUCKET, BUCKET/PREFIX* or BUCKET/KEY; `*` stands at the end only")]
pub struct BadPlace(String);

impl FromStr for Place {
    type Err = BadPlace;

    fn from_str(text: &str) -> Result<Self, BadPlace> {
        let bad = || BadPlace(text.to_owned());
        let (bucket, keys) = match text.split_once('/') {
            None => (text, Keys::All),
            Some((bucket, keys)) => match keys.strip_suffix('*') {
                Some(prefix) => (bucket, Keys::Below(prefix.to_owned())),
                None if keys.is_empty() => return Err(bad()),
                None => (bucket, Keys::Only(keys.to_owned())),
            },
        };
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte);
        let named = (3..=63).contains(&bucket.len()) && bucket.bytes().all(is_name);
        let starred = matches!(&keys, Keys::Below(text) | Keys::Only(text) if text.contains('*'));
        match named && !starred {
            true => Ok(Self { bucket: bucket.to_owned(), keys }),
            false => Err(bad()),
        }
    }
}

impl TryFrom<String> for Place {
    type Error = BadPlace;

    fn try_from(text: String) -> Result<Self, BadPlace> {
        text.parse()
    }
}

impl From<Place> for String {
    fn from(place: Place) -> Self {
        place.to_string()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bucket = &self.bucket;
        match &self.keys {
            Keys::All => f.write_str(bucket),
            Keys::Below(prefix) => write!(f, "{bucket}/{prefix}*"),
            Keys::Only(key) => write!(f, "{bucket}/{key}"),
        }
    }
}

/// What an access key may do at most.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Scope {
    /// Reading, writing or both.
    pub access: Access,
    /// Where; everywhere if there is none.
    pub places: Vec<Place>,
}

impl Scope {
    /// Whether it takes nothing away.
    pub fn is_full(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it allows a request that reaches so far. `at` is the key or, of a listing, the prefix; of a request about the
    /// bucket itself it does not count.
    pub fn allows(&self, reach: Reach, bucket: &str, at: &str) -> bool {
        let Self { access, .. } = self;
        let (reads, writes) = (access.reads(), access.writes());
        match reach {
            Reach::Enter => self.enters(bucket),
            Reach::List => reads && self.covers_prefix(bucket, at),
            Reach::ListUploads => self.covers_prefix(bucket, at),
            Reach::ReadKey => reads && self.covers_key(bucket, at),
            Reach::WriteKey => writes && self.covers_key(bucket, at),
            Reach::GovernKey => reads && writes && self.covers_key(bucket, at),
            Reach::ReadBucket => reads && self.covers(bucket, |keys| *keys == Keys::All),
            Reach::GovernBucket => reads && writes && self.covers(bucket, |keys| *keys == Keys::All),
        }
    }

    /// Whether it has a place in a bucket; a listing of buckets shows these.
    pub fn enters(&self, bucket: &str) -> bool {
        self.covers(bucket, |_| true)
    }

    fn covers_key(&self, bucket: &str, key: &str) -> bool {
        self.covers(bucket, |keys| match keys {
            Keys::All => true,
            Keys::Below(prefix) => key.starts_with(prefix.as_str()),
            Keys::Only(only) => key == only,
        })
    }

    /// Whether it has every key that begins with `prefix`.
    fn covers_prefix(&self, bucket: &str, prefix: &str) -> bool {
        self.covers(bucket, |keys| match keys {
            Keys::All => true,
            Keys::Below(place) => prefix.starts_with(place.as_str()),
            Keys::Only(_) => false,
        })
    }

    fn covers(&self, bucket: &str, keys: impl Fn(&Keys) -> bool) -> bool {
        self.places.is_empty() || self.places.iter().any(|place| place.bucket == bucket && keys(&place.keys))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, ", self.access)?;
        if self.places.is_empty() {
            return f.write_str("all buckets");
        }
        for (at, place) in self.places.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{place}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(access: Access, places: &[&str]) -> Scope {
        Scope { access, places: places.iter().map(|place| place.parse().unwrap()).collect() }
    }

    #[test]
    fn places_are_buckets_prefixes_and_keys() {
        for text in ["photos", "photos/*", "photos/2026/*", "photos/a b/ü.txt", "my.bucket-1/x"] {
            assert_eq!(text.parse::<Place>().unwrap().to_string(), text);
        }
        for text in ["", "ab", "photos/", "*", "photos*", "/x", "photos/*/x", "Photos", "a b c", "photos/a**"]
        {
            assert_eq!(text.parse::<Place>(), Err(BadPlace(text.to_owned())));
        }
        let shown = scope(Access::ReadOnly, &["photos", "docs/r*"]).to_string();
        assert_eq!(shown, "read-only, photos, docs/r*");
        assert_eq!(Scope::default().to_string(), "read-write, all buckets");
    }

    #[test]
    fn a_place_covers_what_begins_with_it_and_nothing_beside_it() {
        let scope = scope(Access::ReadWrite, &["first/docs/*", "first/one", "whole"]);
        for (reach, bucket, at, allowed) in [
            (Reach::ReadKey, "first", "docs/a", true),
            (Reach::ReadKey, "first", "docs", false),
            (Reach::ReadKey, "first", "docsx/a", false),
            (Reach::ReadKey, "first", "other/docs/a", false),
            (Reach::ReadKey, "second", "docs/a", false),
            (Reach::WriteKey, "first", "one", true),
            (Reach::WriteKey, "first", "one2", false),
            (Reach::GovernKey, "first", "one", true),
            (Reach::List, "first", "docs/", true),
            (Reach::List, "first", "docs/a", true),
            (Reach::List, "first", "docs", false),
            (Reach::List, "first", "", false),
            // Other keys begin with it too.
            (Reach::List, "first", "one", false),
            (Reach::Enter, "first", "", true),
            (Reach::Enter, "second", "", false),
            (Reach::ReadBucket, "first", "", false),
            (Reach::GovernBucket, "first", "docs/a", false),
            (Reach::GovernBucket, "whole", "", true),
            (Reach::List, "whole", "", true),
        ] {
            assert_eq!(scope.allows(reach, bucket, at), allowed, "{reach:?} {bucket} {at}");
        }
    }

    #[test]
    fn who_only_reads_writes_nothing_and_the_other_way_round() {
        use Reach::{Enter, GovernBucket, GovernKey, List, ListUploads, ReadBucket, ReadKey, WriteKey};
        let all = [Enter, List, ListUploads, ReadKey, WriteKey, GovernKey, ReadBucket, GovernBucket];
        for (access, allowed) in [
            (Access::ReadOnly, vec![Enter, List, ListUploads, ReadKey, ReadBucket]),
            (Access::WriteOnly, vec![Enter, ListUploads, WriteKey]),
            (Access::ReadWrite, all.to_vec()),
        ] {
            for places in [&[][..], &["first"]] {
                let scope = scope(access, places);
                for reach in all {
                    assert_eq!(
                        scope.allows(reach, "first", "k"),
                        allowed.contains(&reach),
                        "{access} {reach:?}"
                    );
                    let elsewhere = places.is_empty() && allowed.contains(&reach);
                    assert_eq!(scope.allows(reach, "second", "k"), elsewhere, "{access} {reach:?}");
                }
            }
        }
    }
}
