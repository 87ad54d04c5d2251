//! What must hold before a key is written or deleted.

use super::MetaError;
use crate::object::{Entry, Version};

/// What an ETag must be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EtagMatch {
    /// Any: there must be an object.
    Any,
    /// This one, without quotes.
    Etag(String),
}

impl EtagMatch {
    fn fits(&self, etag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Etag(wanted) => wanted == etag,
        }
    }
}

/// What must hold of the object that is there before it is written over.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Condition {
    /// `If-Match`.
    pub matches: Option<EtagMatch>,
    /// `If-None-Match`.
    pub differs: Option<EtagMatch>,
}

impl Condition {
    /// Whether it says anything.
    pub(super) fn is_needed(&self) -> bool {
        self.matches.is_some() || self.differs.is_some()
    }

    /// Whether it holds of the newest version, if that is an object.
    pub(super) fn check(&self, there: Option<&Version>) -> Result<(), MetaError> {
        let etag = there.and_then(Version::object).map(|info| info.etag.as_str());
        match (&self.matches, etag) {
            (Some(_), None) => return Err(MetaError::NoSuchKey),
            (Some(wanted), Some(etag)) if !wanted.fits(etag) => return Err(MetaError::PreconditionFailed),
            _ => {}
        }
        match (&self.differs, etag) {
            (Some(unwanted), Some(etag)) if unwanted.fits(etag) => Err(MetaError::PreconditionFailed),
            _ => Ok(()),
        }
    }
}

/// What must hold of the version that is deleted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DeleteCondition {
    /// `If-Match`.
    pub etag: Option<EtagMatch>,
    /// When it was written, seconds since the Unix epoch.
    pub modified_s: Option<u64>,
    /// Its bytes of plaintext.
    pub size: Option<u64>,
}

impl DeleteCondition {
    /// Whether it says anything.
    pub(super) fn is_needed(&self) -> bool {
        *self != Self::default()
    }

    /// Whether it holds. A delete marker has no bytes and an empty ETag.
    pub(super) fn check(&self, there: &Version) -> Result<(), MetaError> {
        let (etag, size) = match &there.entry {
            Entry::Object(info) => (info.etag.as_str(), info.size),
            Entry::Marker(_) => ("", 0),
        };
        let modified_s = there.modified_ms() / 1_000;
        let holds = self.etag.as_ref().is_none_or(|wanted| wanted.fits(etag))
            && self.modified_s.is_none_or(|wanted| wanted == modified_s)
            && self.size.is_none_or(|wanted| wanted == size);
        if holds { Ok(()) } else { Err(MetaError::PreconditionFailed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::{Marker, ObjectInfo, Stamp};

    fn version(entry: Entry) -> Version {
        Version { stamp: Stamp { order: 1, salt: None }, superseded_ms: None, entry }
    }

    fn object() -> Version {
        let info = ObjectInfo { etag: "e".into(), size: 5, modified_ms: 7_999, ..Default::default() };
        version(Entry::Object(info))
    }

    fn marker() -> Version {
        version(Entry::Marker(Marker { modified_ms: 7_000, owner: String::new(), payer: String::new() }))
    }

    #[test]
    fn writes_are_checked_against_the_object_that_is_there() {
        let (any, same, other) = (EtagMatch::Any, EtagMatch::Etag("e".into()), EtagMatch::Etag("x".into()));
        let (object, marker) = (object(), marker());
        for (matches, differs, there, expected) in [
            (Some(&any), None, Some(&object), ""),
            (Some(&same), None, Some(&object), ""),
            (Some(&other), None, Some(&object), "precondition failed"),
            (Some(&any), None, None, "no such object"),
            (Some(&same), None, Some(&marker), "no such object"),
            (None, Some(&any), Some(&object), "precondition failed"),
            (None, Some(&same), Some(&object), "precondition failed"),
            (None, Some(&other), Some(&object), ""),
            (None, Some(&any), None, ""),
            (None, Some(&any), Some(&marker), ""),
            (Some(&same), Some(&other), Some(&object), ""),
            (Some(&same), Some(&any), Some(&object), "precondition failed"),
        ] {
            let condition = Condition { matches: matches.cloned(), differs: differs.cloned() };
            let found = condition.check(there).err().map(|error| error.to_string()).unwrap_or_default();
            assert_eq!(found, expected, "{condition:?}");
        }
    }

    #[test]
    fn deletions_are_checked_against_the_version() {
        let etag =
            |etag: &str| DeleteCondition { etag: Some(EtagMatch::Etag(etag.into())), ..Default::default() };
        let size = |size| DeleteCondition { size: Some(size), ..Default::default() };
        let time = |time| DeleteCondition { modified_s: Some(time), ..Default::default() };
        for (condition, of_object, of_marker) in [
            (DeleteCondition::default(), true, true),
            (DeleteCondition { etag: Some(EtagMatch::Any), ..Default::default() }, true, true),
            (etag("e"), true, false),
            (etag("x"), false, false),
            (size(5), true, false),
            (size(0), false, true),
            (time(7), true, true),
            (time(8), false, false),
        ] {
            assert_eq!(condition.check(&object()).is_ok(), of_object, "{condition:?}");
            assert_eq!(condition.check(&marker()).is_ok(), of_marker, "{condition:?}");
        }
    }
}
