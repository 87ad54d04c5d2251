//! Object lock: of buckets, retention and legal hold of versions.

use hyper::StatusCode;
use s3s::{
    S3Request, S3Result,
    dto::{DefaultRetention as GivenRetention, *},
    s3_error,
};

use super::{
    Store, account, errors,
    input::{millis, now_ms, timestamp, version},
};
use crate::{
    meta::MetaError,
    object::{DefaultRetention, LockConfig, LockMode, Retention, RetentionPeriod, VersionId},
};

/// Longest default retention (as in AWS).
const DAYS_MAX: i32 = 36_500;
const YEARS_MAX: i32 = 100;

fn mode(name: &str) -> Option<LockMode> {
    match name {
        ObjectLockMode::GOVERNANCE => Some(LockMode::Governance),
        ObjectLockMode::COMPLIANCE => Some(LockMode::Compliance),
        _ => None,
    }
}

/// Its name in S3.
pub(super) fn mode_name(mode: LockMode) -> &'static str {
    match mode {
        LockMode::Governance => ObjectLockMode::GOVERNANCE,
        LockMode::Compliance => ObjectLockMode::COMPLIANCE,
    }
}

/// The retention that the headers of a write ask for.
pub(super) fn retention_of(name: Option<&str>, until: Option<&Timestamp>) -> S3Result<Option<Retention>> {
    match (name, until) {
        (None, None) => Ok(None),
        (Some(name), Some(until)) => {
            let mode = mode(name)
                .ok_or_else(|| s3_error!(InvalidArgument, "the lock mode is GOVERNANCE or COMPLIANCE"))?;
            in_future(Retention { mode, until_ms: millis(until) }).map(Some)
        }
        _ => Err(s3_error!(
            InvalidArgument,
            "x-amz-object-lock-mode and x-amz-object-lock-retain-until-date go together"
        )),
    }
}

fn in_future(retention: Retention) -> S3Result<Retention> {
    match retention.holds(now_ms()) {
        true => Ok(retention),
        false => Err(s3_error!(InvalidArgument, "the retain until date must be in the future")),
    }
}

/// The legal hold that the headers of a write ask for.
pub(super) fn hold_of(status: Option<&ObjectLockLegalHoldStatus>) -> S3Result<Option<bool>> {
    match status.map(ObjectLockLegalHoldStatus::as_str) {
        None => Ok(None),
        Some(ObjectLockLegalHoldStatus::ON) => Ok(Some(true)),
        Some(ObjectLockLegalHoldStatus::OFF) => Ok(Some(false)),
        Some(_) => Err(s3_error!(InvalidArgument, "the legal hold is ON or OFF")),
    }
}

/// Its name in S3.
pub(super) fn hold_name(hold: bool) -> ObjectLockLegalHoldStatus {
    ObjectLockLegalHoldStatus::from_static(match hold {
        true => ObjectLockLegalHoldStatus::ON,
        false => ObjectLockLegalHoldStatus::OFF,
    })
}

fn config_of(given: Option<ObjectLockConfiguration>) -> S3Result<LockConfig> {
    let malformed = |why: &'static str| s3_error!(MalformedXML, "{why}");
    let given = given.ok_or_else(|| malformed("send an ObjectLockConfiguration"))?;
    let enabled = given.object_lock_enabled.as_ref().map(ObjectLockEnabled::as_str);
    if enabled != Some(ObjectLockEnabled::ENABLED) {
        return Err(malformed("ObjectLockEnabled is Enabled: it cannot be taken away"));
    }
    let Some(rule) = given.rule else { return Ok(LockConfig::default()) };
    let default = rule.default_retention.ok_or_else(|| malformed("a rule has a DefaultRetention"))?;
    let mode = default.mode.as_ref().and_then(|name| mode(name.as_str()));
    let mode = mode.ok_or_else(|| malformed("the mode is GOVERNANCE or COMPLIANCE"))?;
    let period = match (default.days, default.years) {
        (Some(days @ 1..=DAYS_MAX), None) => RetentionPeriod::Days(days as u32),
        (None, Some(years @ 1..=YEARS_MAX)) => RetentionPeriod::Years(years as u32),
        (Some(_), None) | (None, Some(_)) => {
            let why = "the default retention is 1 to 36500 days or 1 to 100 years";
            return Err(errors::custom("InvalidRetentionPeriod", StatusCode::BAD_REQUEST, why));
        }
        _ => return Err(malformed("the default retention has either Days or Years")),
    };
    Ok(LockConfig { default: Some(DefaultRetention { mode, period }) })
}

pub(super) async fn put_object_lock_configuration(
    store: &Store,
    request: S3Request<PutObjectLockConfigurationInput>,
) -> S3Result<PutObjectLockConfigurationOutput> {
    let account = account(&request)?;
    let input = request.input;
    store.bucket(&account, &input.bucket).await?;
    let config = config_of(input.object_lock_configuration)?;
    store.grid.meta.set_lock(input.bucket, config).await.map_err(errors::meta)?;
    Ok(PutObjectLockConfigurationOutput::default())
}

pub(super) async fn get_object_lock_configuration(
    store: &Store,
    request: S3Request<GetObjectLockConfigurationInput>,
) -> S3Result<GetObjectLockConfigurationOutput> {
    let bucket = store.bucket(&account(&request)?, &request.input.bucket).await?;
    let Some(lock) = bucket.lock else {
        return Err(s3_error!(
            ObjectLockConfigurationNotFoundError,
            "the bucket has no object lock configuration"
        ));
    };
    let rule = lock.default.map(|default| {
        let mode = ObjectLockRetentionMode::from_static(mode_name(default.mode));
        let (days, years) = match default.period {
            RetentionPeriod::Days(days) => (Some(days as i32), None),
            RetentionPeriod::Years(years) => (None, Some(years as i32)),
        };
        ObjectLockRule { default_retention: Some(GivenRetention { days, mode: Some(mode), years }) }
    });
    Ok(GetObjectLockConfigurationOutput {
        object_lock_configuration: Some(ObjectLockConfiguration {
            object_lock_enabled: Some(ObjectLockEnabled::from_static(ObjectLockEnabled::ENABLED)),
            rule,
        }),
    })
}

/// Which version of an object a request is about, in a bucket of the caller's that has object lock.
async fn lockable(
    store: &Store,
    account: &str,
    bucket: &str,
    version_id: Option<&str>,
) -> S3Result<Option<VersionId>> {
    let bucket = store.bucket(account, bucket).await?;
    bucket.lock.ok_or_else(|| errors::meta(MetaError::NoObjectLock))?;
    version(version_id)
}

pub(super) async fn put_object_retention(
    store: &Store,
    request: S3Request<PutObjectRetentionInput>,
) -> S3Result<PutObjectRetentionOutput> {
    let account = account(&request)?;
    let input = request.input;
    let which = lockable(store, &account, &input.bucket, input.version_id.as_deref()).await?;
    let given = input.retention.unwrap_or_default();
    let retention = match (given.mode, given.retain_until_date) {
        (None, None) => None,
        (Some(name), Some(until)) => {
            let mode = mode(name.as_str())
                .ok_or_else(|| s3_error!(MalformedXML, "the mode is GOVERNANCE or COMPLIANCE"))?;
            Some(in_future(Retention { mode, until_ms: millis(&until) })?)
        }
        _ => return Err(s3_error!(MalformedXML, "Mode and RetainUntilDate go together")),
    };
    let bypass = input.bypass_governance_retention.unwrap_or(false);
    let meta = &store.grid.meta;
    let set = meta.set_retention(input.bucket, input.key, which, retention, bypass, now_ms()).await;
    set.map_err(errors::lookup)?;
    Ok(PutObjectRetentionOutput::default())
}

pub(super) async fn get_object_retention(
    store: &Store,
    request: S3Request<GetObjectRetentionInput>,
) -> S3Result<GetObjectRetentionOutput> {
    let account = account(&request)?;
    let input = request.input;
    let which = lockable(store, &account, &input.bucket, input.version_id.as_deref()).await?;
    let found = store.grid.meta.object(input.bucket, input.key, which).await.map_err(errors::lookup)?;
    let retention = found.info.properties.retention.ok_or_else(no_lock)?;
    Ok(GetObjectRetentionOutput {
        retention: Some(ObjectLockRetention {
            mode: Some(ObjectLockRetentionMode::from_static(mode_name(retention.mode))),
            retain_until_date: Some(timestamp(retention.until_ms)),
        }),
    })
}

pub(super) async fn put_object_legal_hold(
    store: &Store,
    request: S3Request<PutObjectLegalHoldInput>,
) -> S3Result<PutObjectLegalHoldOutput> {
    let account = account(&request)?;
    let input = request.input;
    let which = lockable(store, &account, &input.bucket, input.version_id.as_deref()).await?;
    let status = input.legal_hold.and_then(|hold| hold.status);
    let hold = hold_of(status.as_ref()).ok().flatten();
    let hold = hold.ok_or_else(|| s3_error!(MalformedXML, "the legal hold is ON or OFF"))?;
    let set = store.grid.meta.set_legal_hold(input.bucket, input.key, which, hold).await;
    set.map_err(errors::lookup)?;
    Ok(PutObjectLegalHoldOutput::default())
}

pub(super) async fn get_object_legal_hold(
    store: &Store,
    request: S3Request<GetObjectLegalHoldInput>,
) -> S3Result<GetObjectLegalHoldOutput> {
    let account = account(&request)?;
    let input = request.input;
    let which = lockable(store, &account, &input.bucket, input.version_id.as_deref()).await?;
    let found = store.grid.meta.object(input.bucket, input.key, which).await.map_err(errors::lookup)?;
    let hold = found.info.properties.legal_hold.ok_or_else(no_lock)?;
    Ok(GetObjectLegalHoldOutput { legal_hold: Some(ObjectLockLegalHold { status: Some(hold_name(hold)) }) })
}

fn no_lock() -> s3s::S3Error {
    s3_error!(NoSuchObjectLockConfiguration, "the object has none")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(mode: &str, days: Option<i32>, years: Option<i32>) -> ObjectLockConfiguration {
        let default = GivenRetention { days, mode: Some(mode.to_owned().into()), years };
        ObjectLockConfiguration {
            object_lock_enabled: Some(ObjectLockEnabled::from_static(ObjectLockEnabled::ENABLED)),
            rule: Some(ObjectLockRule { default_retention: Some(default) }),
        }
    }

    #[test]
    fn configurations_are_read_or_refused() {
        let default = config_of(Some(config("GOVERNANCE", Some(3), None))).unwrap().default.unwrap();
        assert_eq!((default.mode, default.period), (LockMode::Governance, RetentionPeriod::Days(3)));
        let bare = ObjectLockConfiguration { rule: None, ..config("", None, None) };
        assert_eq!(config_of(Some(bare)).unwrap(), LockConfig::default());
        let off = ObjectLockConfiguration {
            object_lock_enabled: Some("Disabled".to_owned().into()),
            ..config("GOVERNANCE", Some(1), None)
        };
        for (given, code) in [
            (None, "MalformedXML"),
            (Some(off), "MalformedXML"),
            (Some(config("governance", Some(1), None)), "MalformedXML"),
            (Some(config("GOVERNANCE", Some(1), Some(1))), "MalformedXML"),
            (Some(config("GOVERNANCE", None, None)), "MalformedXML"),
            (Some(config("GOVERNANCE", Some(0), None)), "InvalidRetentionPeriod"),
            (Some(config("GOVERNANCE", None, Some(101))), "InvalidRetentionPeriod"),
        ] {
            let error = config_of(given).unwrap_err();
            assert_eq!(error.code().as_str(), code);
            assert_eq!(error.status_code(), Some(StatusCode::BAD_REQUEST));
        }
    }

    #[test]
    fn locks_of_writes_are_whole_and_in_the_future() {
        let (past, future) = (timestamp(1), timestamp(now_ms() + 60_000));
        assert_eq!(retention_of(None, None).unwrap(), None);
        assert!(retention_of(Some("COMPLIANCE"), Some(&future)).unwrap().is_some());
        for (mode, until) in [
            (Some("GOVERNANCE"), None),
            (None, Some(&future)),
            (Some("x"), Some(&future)),
            (Some("GOVERNANCE"), Some(&past)),
        ] {
            assert_eq!(retention_of(mode, until).unwrap_err().code().as_str(), "InvalidArgument");
        }
        assert_eq!(hold_of(Some(&hold_name(true))).unwrap(), Some(true));
        assert_eq!(hold_of(Some(&hold_name(false))).unwrap(), Some(false));
        assert!(hold_of(Some(&"abc".to_owned().into())).is_err());
    }
}
