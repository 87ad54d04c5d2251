//! Sizes and durations as people write them.

use std::{fmt, str::FromStr, time::Duration};

/// A number of bytes: `512`, `64KiB`, `1.5GiB`, `10GB`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct ByteSize(pub u64);

/// A span of time: `250ms`, `3s`, `5m`, `2h`, `1d`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct HumanDuration(pub Duration);

/// A span of time between repeated looks, or that something may take: a [`HumanDuration`] of at least
/// [`Pause::MIN`], so that nothing spins or fails at once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Pause(pub Duration);

impl Pause {
    /// The shortest.
    pub const MIN: Duration = Duration::from_millis(10);
}

/// Text that is not a size or a duration.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UnitError {
    /// Not a size.
    #[error("`{0}` is not a size; write a number and B, KiB, MiB, GiB, TiB, KB, MB, GB or TB, as in `10GiB`")]
    Size(String),
    /// Not a duration.
    #[error("`{0}` is not a duration; write a number and ms, s, m, h or d, as in `30s`")]
    Duration(String),
    /// Too short.
    #[error("`{0}` is too short; write at least 10ms")]
    Pause(String),
}

const SIZES: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];
const DURATIONS_MS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

fn split(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    (&text[..end], text[end..].trim())
}

/// `number` times `unit`, where the number may have up to nine decimals.
fn scaled(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if fraction.is_empty() || fraction.len() > 9 {
        return None;
    }
    let parts = fraction.parse::<u128>().ok()? * 10u128.pow(9 - fraction.len() as u32);
    let total =
        u128::from(whole.parse::<u64>().ok()?) * u128::from(unit) + parts * u128::from(unit) / 1_000_000_000;
    u64::try_from(total).ok()
}

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let (number, unit) = split(text.trim());
        let unit = if unit.is_empty() { "B" } else { unit };
        let factor = SIZES.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit));
        factor
            .and_then(|(_, factor)| scaled(number, *factor))
            .map(Self)
            .ok_or_else(|| UnitError::Size(text.to_owned()))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, factor) = SIZES[..4]
            .iter()
            .find(|(_, factor)| self.0 != 0 && self.0.is_multiple_of(*factor))
            .unwrap_or(&("B", 1));
        write!(f, "{}{name}", self.0 / factor)
    }
}

impl FromStr for HumanDuration {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let (number, unit) = split(text.trim());
        let factor = DURATIONS_MS.iter().find(|(name, _)| *name == unit);
        factor
            .and_then(|(_, factor)| scaled(number, *factor))
            .map(|ms| Self(Duration::from_millis(ms)))
            .ok_or_else(|| UnitError::Duration(text.to_owned()))
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        let (name, factor) = DURATIONS_MS
            .iter()
            .find(|(_, factor)| ms != 0 && ms.is_multiple_of(*factor))
            .unwrap_or(&("s", 1_000));
        write!(f, "{}{name}", ms / factor)
    }
}

impl FromStr for Pause {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let HumanDuration(time) = text.parse()?;
        if time < Self::MIN { Err(UnitError::Pause(text.to_owned())) } else { Ok(Self(time)) }
    }
}

impl fmt::Display for Pause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        HumanDuration(self.0).fmt(f)
    }
}

/// Reads and writes a type in files as the text that it is for people.
macro_rules! as_text {
    ($name:ident) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <String as serde::Deserialize>::deserialize(deserializer)?
                    .parse()
                    .map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use as_text;

as_text!(ByteSize);
as_text!(HumanDuration);
as_text!(Pause);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_round_trip() {
        for (text, bytes) in
            [("0B", 0), ("512B", 512), ("64KiB", 65_536), ("10GiB", 10 << 30), ("2TiB", 2 << 40)]
        {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)));
            assert_eq!(ByteSize(bytes).to_string(), text);
        }
        assert_eq!("1.5 gib".parse(), Ok(ByteSize(3 << 29)));
        assert_eq!("10GB".parse(), Ok(ByteSize(10_000_000_000)));
        for (text, ms) in [("250ms", 250), ("3s", 3_000), ("5m", 300_000), ("2h", 7_200_000)] {
            assert_eq!(text.parse(), Ok(HumanDuration(Duration::from_millis(ms))));
            assert_eq!(HumanDuration(Duration::from_millis(ms)).to_string(), text);
        }
        assert_eq!("0.25s".parse(), Ok(HumanDuration(Duration::from_millis(250))));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "GiB", "-1B", "1.B", "1 parsec", "99999999999TiB", "1.1.1B"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
        for text in ["", "5", "s", "-1s", "1y"] {
            assert!(text.parse::<HumanDuration>().is_err(), "{text}");
        }
        assert!("9ms".parse::<Pause>().is_err() && "10ms".parse::<Pause>().is_ok());
    }
}
