//! Object lock: versions that may not be removed before a time, or while somebody holds them.

use codec::{Decode, Encode};

use super::Properties;

const DAY_MS: u64 = 24 * 3_600 * 1_000;

/// How firmly a version is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub enum LockMode {
    /// Who has the permission may remove it all the same, or shorten the time.
    #[codec(index = 0)]
    Governance,
    /// Nobody may, and the time can only become longer.
    #[codec(index = 1)]
    Compliance,
}

/// Until when a version is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Retention {
    /// How firmly.
    pub mode: LockMode,
    /// Milliseconds since the Unix epoch.
    pub until_ms: u64,
}

impl Retention {
    /// Whether it still counts.
    pub fn holds(&self, now_ms: u64) -> bool {
        now_ms < self.until_ms
    }

    /// Whether it may become `new`; `bypass` is the permission that governance yields to.
    pub fn may_become(&self, new: Option<&Retention>, bypass: bool, now_ms: u64) -> bool {
        let longer = new.is_some_and(|new| new.mode == self.mode && new.until_ms >= self.until_ms);
        longer || !self.holds(now_ms) || (bypass && self.mode == LockMode::Governance)
    }
}

/// How long new versions of a bucket are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub enum RetentionPeriod {
    /// That many days.
    #[codec(index = 0)]
    Days(u32),
    /// That many years of 365 days.
    #[codec(index = 1)]
    Years(u32),
}

/// What new versions of a bucket get that bring no retention of their own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct DefaultRetention {
    /// How firmly they are kept.
    pub mode: LockMode,
    /// How long.
    pub period: RetentionPeriod,
}

impl DefaultRetention {
    /// For a version made at `now_ms`.
    pub fn at(&self, now_ms: u64) -> Retention {
        let days = match self.period {
            RetentionPeriod::Days(days) => u64::from(days),
            RetentionPeriod::Years(years) => u64::from(years).saturating_mul(365),
        };
        Retention { mode: self.mode, until_ms: now_ms.saturating_add(days.saturating_mul(DAY_MS)) }
    }
}

/// Object lock of a bucket that has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct LockConfig {
    /// What new versions get.
    pub default: Option<DefaultRetention>,
}

impl Properties {
    /// Whether the version may not be removed now; `bypass` is the permission that governance yields to.
    pub fn is_locked(&self, bypass: bool, now_ms: u64) -> bool {
        self.legal_hold == Some(true)
            || self.retention.is_some_and(|retention| {
                retention.holds(now_ms) && !(bypass && retention.mode == LockMode::Governance)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retention(mode: LockMode, until_ms: u64) -> Retention {
        Retention { mode, until_ms }
    }

    #[test]
    fn compliance_only_grows_and_governance_yields_to_who_may() {
        use LockMode::{Compliance, Governance};
        let now = 100;
        for (from, to, bypass, may) in [
            (retention(Compliance, 200), Some(retention(Compliance, 200)), false, true),
            (retention(Compliance, 200), Some(retention(Compliance, 199)), true, false),
            (retention(Compliance, 200), Some(retention(Governance, 300)), true, false),
            (retention(Compliance, 200), None, true, false),
            (retention(Compliance, 100), None, false, true),
            (retention(Governance, 200), Some(retention(Governance, 201)), false, true),
            (retention(Governance, 200), Some(retention(Compliance, 201)), false, false),
            (retention(Governance, 200), Some(retention(Compliance, 201)), true, true),
            (retention(Governance, 200), Some(retention(Governance, 150)), false, false),
            (retention(Governance, 200), None, true, true),
        ] {
            assert_eq!(from.may_become(to.as_ref(), bypass, now), may, "{from:?} to {to:?}, {bypass}");
        }
    }

    #[test]
    fn a_version_is_locked_while_it_is_held_or_retained() {
        let with = |retention, legal_hold| Properties { retention, legal_hold, ..Default::default() };
        let (governed, complied) =
            (Some(retention(LockMode::Governance, 10)), Some(retention(LockMode::Compliance, 10)));
        for (properties, bypass, now, locked) in [
            (with(None, None), false, 0, false),
            (with(None, Some(false)), false, 0, false),
            (with(None, Some(true)), true, 0, true),
            (with(governed, None), false, 9, true),
            (with(governed, None), false, 10, false),
            (with(governed, None), true, 9, false),
            (with(complied, None), true, 9, true),
            (with(governed, Some(true)), true, 9, true),
        ] {
            assert_eq!(properties.is_locked(bypass, now), locked, "{properties:?}");
        }
    }

    #[test]
    fn default_periods_are_whole_days() {
        let of = |period| DefaultRetention { mode: LockMode::Governance, period }.at(5).until_ms;
        assert_eq!(of(RetentionPeriod::Days(1)), 5 + DAY_MS);
        assert_eq!(of(RetentionPeriod::Years(2)), 5 + 730 * DAY_MS);
    }
}
