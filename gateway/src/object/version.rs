//! Versions of a key and what they are called.

use std::{fmt, str::FromStr};

use codec::{Decode, Encode};

use super::ObjectInfo;

/// Bits of an order below the milliseconds of the clock: that many versions of a key in one millisecond keep their order
/// without running ahead of the clock.
const ORDER_BITS: u32 = 20;

/// Whether a bucket keeps earlier versions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub enum Versioning {
    /// Never asked for.
    #[default]
    #[codec(index = 0)]
    Unversioned,
    /// Every write makes a version.
    #[codec(index = 1)]
    Enabled,
    /// Writes replace the null version; versions that are there stay.
    #[codec(index = 2)]
    Suspended,
}

/// The text is no version id of this gateway.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a version id of this gateway")]
pub struct BadVersionId;

/// What clients call a version: `null`, or 32 hex digits that grow with time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum VersionId {
    /// Written while the bucket kept no versions.
    Null,
    /// Written while it did.
    Id {
        /// Its place among the versions of its key.
        order: u64,
        /// Random: the id of a version that is gone is never that of another one.
        salt: u64,
    },
}

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Id { order, salt } => write!(f, "{order:016x}{salt:016x}"),
        }
    }
}

impl FromStr for VersionId {
    type Err = BadVersionId;

    fn from_str(text: &str) -> Result<Self, BadVersionId> {
        if text == "null" {
            return Ok(Self::Null);
        }
        let mut bytes = [0; 16];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| BadVersionId)?;
        let number = u128::from_be_bytes(bytes);
        Ok(Self::Id { order: (number >> 64) as u64, salt: number as u64 })
    }
}

/// Where a version is among those of its key, and what it is called.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Stamp {
    /// Greater for newer versions.
    pub order: u64,
    /// Second half of its id; none for the null version.
    pub salt: Option<u64>,
}

impl Stamp {
    /// Behind the newest version there is.
    pub fn next(now_ms: u64, newest: Option<Stamp>, salt: Option<u64>) -> Self {
        let clock = now_ms.saturating_mul(1 << ORDER_BITS);
        let order = newest.map_or(clock, |newest| clock.max(newest.order.saturating_add(1)));
        Self { order, salt }
    }

    /// What clients call it.
    pub fn id(&self) -> VersionId {
        match self.salt {
            Some(salt) => VersionId::Id { order: self.order, salt },
            None => VersionId::Null,
        }
    }
}

/// A delete marker: as the newest version it hides the key.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Marker {
    /// When it was made, milliseconds since the Unix epoch.
    pub modified_ms: u64,
    /// The account that made it.
    pub owner: String,
    /// The account or sub-account whose usage counts it: of the bucket's account.
    pub payer: String,
}

/// What a version is.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all versions are objects, and few are in memory at once"
)]
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Entry {
    /// An object.
    #[codec(index = 0)]
    Object(ObjectInfo),
    /// A delete marker.
    #[codec(index = 1)]
    Marker(Marker),
}

/// A version of a key.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Version {
    /// Which one.
    pub stamp: Stamp,
    /// When a newer one came, milliseconds since the Unix epoch; none for the newest one.
    pub superseded_ms: Option<u64>,
    /// What it is.
    pub entry: Entry,
}

impl Version {
    /// What clients call it.
    pub fn id(&self) -> VersionId {
        self.stamp.id()
    }

    /// Whether it is the newest one.
    pub fn is_latest(&self) -> bool {
        self.superseded_ms.is_none()
    }

    /// The object, if it is one.
    pub fn object(&self) -> Option<&ObjectInfo> {
        match &self.entry {
            Entry::Object(info) => Some(info),
            Entry::Marker(_) => None,
        }
    }

    /// When it was made, milliseconds since the Unix epoch.
    pub fn modified_ms(&self) -> u64 {
        match &self.entry {
            Entry::Object(info) => info.modified_ms,
            Entry::Marker(marker) => marker.modified_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_they_are_written_and_nothing_else_is() {
        for id in [VersionId::Null, VersionId::Id { order: 1, salt: u64::MAX }] {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        for text in
            ["", "Null", "00", "g0000000000000000000000000000000", "000000000000000000000000000000000"]
        {
            assert_eq!(text.parse::<VersionId>(), Err(BadVersionId));
        }
    }

    #[test]
    fn orders_grow_even_when_the_clock_does_not() {
        let first = Stamp::next(1_000, None, None);
        let second = Stamp::next(1_000, Some(first), Some(1));
        let third = Stamp::next(500, Some(second), Some(2));
        assert!(first.order < second.order && second.order < third.order);
        assert!(Stamp::next(1_001, Some(third), None).order > third.order + 1_000);
        assert!(third.id().to_string() > second.id().to_string());
    }
}
