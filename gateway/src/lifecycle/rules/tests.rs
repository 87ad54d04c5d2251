//! What rules do, case by case.

use super::*;
use s3s::dto::{
    AbortIncompleteMultipartUpload, ExpirationStatus, LifecycleExpiration, LifecycleRule,
    LifecycleRuleFilter, NoncurrentVersionExpiration, Tag, Transition,
};

fn rule(change: impl FnOnce(&mut LifecycleRule)) -> LifecycleRule {
    let mut rule = LifecycleRule {
        abort_incomplete_multipart_upload: None,
        expiration: None,
        filter: None,
        id: Some("r".into()),
        noncurrent_version_expiration: None,
        noncurrent_version_transitions: None,
        prefix: Some("a/".into()),
        status: ExpirationStatus::from_static(ExpirationStatus::ENABLED),
        transitions: None,
    };
    change(&mut rule);
    rule
}

fn expiring(days: i32) -> Option<LifecycleExpiration> {
    Some(LifecycleExpiration { days: Some(days), ..Default::default() })
}

fn checked(rules: Vec<LifecycleRule>) -> Result<Rules, String> {
    let mut document = BucketLifecycleConfiguration { rules };
    let code = |error: s3s::S3Error| error.code().as_str().to_owned();
    check(&mut document, || "made".into()).map_err(code)?;
    Rules::parse(&document).map_err(code)
}

fn object(modified_ms: u64, superseded_ms: Option<u64>) -> Seen {
    Seen { object: Some((100, vec![])), modified_ms, superseded_ms, locked: false }
}

const SHORT: Day = Day(10);
const ALL: (usize, bool) = (0, true);

#[test]
fn objects_expire_by_age_date_prefix_tag_and_size() {
    let rules = checked(vec![rule(|rule| rule.expiration = expiring(2))]).unwrap();
    let due = |rules: &Rules, key: &str, now| rules.due(key, &[object(0, None)], ALL, now, SHORT)[0];
    assert_eq!(due(&rules, "a/x", 19), None);
    assert_eq!(due(&rules, "a/x", 20), Some(Due::Expire));
    assert_eq!(due(&rules, "b/x", 20), None);
    let date = Timestamp::parse(TimestampFormat::DateTime, "1970-01-02T00:00:00Z").unwrap();
    let dated = LifecycleExpiration { date: Some(date), ..Default::default() };
    let rules = checked(vec![rule(|rule| rule.expiration = Some(dated))]).unwrap();
    assert_eq!(due(&rules, "a/x", DAY_MS - 1), None);
    assert_eq!(due(&rules, "a/x", DAY_MS), Some(Due::Expire));
    let filtered = |filter: LifecycleRuleFilter| {
        let rule = rule(|rule| {
            (rule.expiration, rule.prefix, rule.filter) = (expiring(1), None, Some(filter));
        });
        due(&checked(vec![rule]).unwrap(), "a/x", 10)
    };
    let none = LifecycleRuleFilter::default;
    assert_eq!(filtered(none()), Some(Due::Expire));
    let tagged = Tag { key: Some("k".into()), value: Some("v".into()) };
    assert_eq!(filtered(LifecycleRuleFilter { tag: Some(tagged), ..none() }), None);
    let larger = |bound| LifecycleRuleFilter { object_size_greater_than: Some(bound), ..none() };
    assert_eq!((filtered(larger(99)), filtered(larger(100))), (Some(Due::Expire), None));
    let smaller = |bound| LifecycleRuleFilter { object_size_less_than: Some(bound), ..none() };
    assert_eq!((filtered(smaller(101)), filtered(smaller(100))), (Some(Due::Expire), None));
}

#[test]
fn noncurrent_versions_go_by_age_and_number_and_stay_while_they_are_locked() {
    let rules = checked(vec![rule(|rule| {
        rule.noncurrent_version_expiration = Some(NoncurrentVersionExpiration {
            noncurrent_days: Some(1),
            newer_noncurrent_versions: Some(1),
        });
    })])
    .unwrap();
    let mut versions = vec![object(3, None), object(2, Some(3)), object(1, Some(2)), object(0, Some(1))];
    let remove = Some(Due::Remove);
    assert_eq!(rules.due("a/x", &versions, ALL, 11, SHORT), [None, None, None, remove]);
    assert_eq!(rules.due("a/x", &versions, ALL, 12, SHORT), [None, None, remove, remove]);
    // The rest of a long list.
    assert_eq!(rules.due("a/x", &versions[1..], (0, false), 12, SHORT), [None, remove, remove]);
    assert_eq!(rules.due("a/x", &versions[2..3], (1, false), 12, SHORT), [remove]);
    versions[3].locked = true;
    assert_eq!(rules.due("a/x", &versions, ALL, 12, SHORT), [None, None, remove, None]);
}

#[test]
fn markers_go_when_nothing_is_behind_them() {
    let marker = Seen { object: None, modified_ms: 5, superseded_ms: None, locked: false };
    let lone = LifecycleExpiration { expired_object_delete_marker: Some(true), ..Default::default() };
    let rules = checked(vec![rule(|rule| rule.expiration = Some(lone))]).unwrap();
    assert_eq!(rules.due("a/x", std::slice::from_ref(&marker), ALL, 6, SHORT), [Some(Due::Remove)]);
    assert_eq!(rules.due("a/x", &[marker.clone(), object(1, Some(5))], ALL, 6, SHORT), [None, None]);
    let rules = checked(vec![rule(|rule| rule.expiration = expiring(1))]).unwrap();
    assert_eq!(rules.due("a/x", std::slice::from_ref(&marker), ALL, 14, SHORT), [None]);
    assert_eq!(rules.due("a/x", &[marker], ALL, 15, SHORT), [Some(Due::Remove)]);
}

#[test]
fn uploads_are_given_up_and_expiry_is_told_in_real_days() {
    let rules = checked(vec![rule(|rule| {
        rule.expiration = expiring(1);
        rule.abort_incomplete_multipart_upload =
            Some(AbortIncompleteMultipartUpload { days_after_initiation: Some(2) });
    })])
    .unwrap();
    assert!(rules.aborts() && rules.abort_due("a/x", 0, 20, SHORT));
    assert!(!rules.abort_due("a/x", 0, 19, SHORT) && !rules.abort_due("b/x", 0, 20, SHORT));
    let told = rules.expiration("a/x", 1, &[], 1).unwrap();
    assert_eq!(told, "expiry-date=\"Sat, 03 Jan 1970 00:00:00 GMT\", rule-id=\"r\"");
    assert_eq!(rules.expiration("b/x", 1, &[], 1), None);
}

#[test]
fn documents_that_s3_refuses_are_refused() {
    let expire = |change: fn(&mut LifecycleExpiration)| {
        let mut expiration = LifecycleExpiration::default();
        change(&mut expiration);
        rule(|rule| rule.expiration = Some(expiration))
    };
    let good = || rule(|rule| rule.expiration = expiring(1));
    let with = |change: fn(&mut LifecycleRule)| {
        let mut rule = good();
        change(&mut rule);
        rule
    };
    assert!(checked(vec![good()]).is_ok());
    assert_eq!(checked(vec![with(|rule| rule.id = None)]).unwrap().0[0].id, "made");
    let disabled = |rule: &mut LifecycleRule| {
        rule.status = ExpirationStatus::from_static(ExpirationStatus::DISABLED);
    };
    assert_eq!(checked(vec![with(disabled)]), Ok(Rules::default()));
    for (rules, code) in [
        (vec![], "MalformedXML"),
        (vec![good(), good()], "InvalidArgument"),
        (vec![with(|rule| rule.id = Some("x".repeat(256)))], "InvalidArgument"),
        (vec![with(|rule| rule.status = "enabled".to_owned().into())], "MalformedXML"),
        (vec![with(|rule| rule.prefix = None)], "MalformedXML"),
        (vec![with(|rule| rule.filter = Some(LifecycleRuleFilter::default()))], "MalformedXML"),
        (vec![with(|rule| rule.expiration = None)], "InvalidRequest"),
        (vec![rule(|rule| rule.expiration = expiring(0))], "InvalidArgument"),
        (vec![expire(|expiration| expiration.days = None)], "MalformedXML"),
        (
            vec![expire(|expiration| {
                (expiration.days, expiration.expired_object_delete_marker) = (Some(1), Some(true));
            })],
            "MalformedXML",
        ),
        (
            vec![expire(|expiration| {
                expiration.date = Timestamp::parse(TimestampFormat::DateTime, "2030-01-01T00:00:01Z").ok();
            })],
            "InvalidArgument",
        ),
        (vec![with(|rule| rule.transitions = Some(vec![Transition::default()]))], "NotImplemented"),
        (
            vec![with(|rule| {
                rule.noncurrent_version_expiration = Some(NoncurrentVersionExpiration {
                    noncurrent_days: Some(1),
                    newer_noncurrent_versions: Some(101),
                });
            })],
            "InvalidArgument",
        ),
        (
            vec![with(|rule| {
                rule.prefix = None;
                let bound = Some(1);
                let filter = LifecycleRuleFilter { object_size_less_than: bound, ..Default::default() };
                rule.filter = Some(filter);
                rule.abort_incomplete_multipart_upload =
                    Some(AbortIncompleteMultipartUpload { days_after_initiation: Some(2) });
            })],
            "InvalidRequest",
        ),
    ] {
        assert_eq!(checked(rules), Err(code.to_owned()));
    }
}
