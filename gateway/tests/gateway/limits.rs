//! How much and how often over HTTP: rates, what accounts are told of themselves, guesses of secrets, and what stands in logs.

use std::{
    num::NonZeroU32,
    time::{Duration, Instant},
};

use arion_daemon::ByteSize;
use arion_gateway::keys::{Changed, NewKey, Rates};
use rusty_s3::Credentials;

use crate::accounts::{Answer, Served, with_client};

fn requests(a_second: u32, burst: u32) -> Rates {
    Rates { requests: NonZeroU32::new(a_second), burst: NonZeroU32::new(burst), ..Rates::default() }
}

fn key(served: &Served, account: &str, rates: Rates) -> Credentials {
    served.add_key(NewKey { rates, ..NewKey::full(account.parse().unwrap()) })
}

fn is_slowed(answer: &Answer) -> bool {
    (answer.status, answer.code()) == (503, "SlowDown")
        && answer.header("retry-after").parse::<u64>().is_ok_and(|seconds| (1..=60).contains(&seconds))
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_beyond_a_rate_are_told_to_slow_down() {
    with_client(|served| {
        served.put("/first", "");
        served.put("/first/k", "hello");
        let slow = key(served, "alice", requests(1, 3));
        let get = |who: Option<&Credentials>| served.ask(who, "GET", "/first/k", b"", &[]);
        /// Of so many requests those that were slowed; the others are a burst and one for each second that it took.
        fn slowed(burst: u64, mut ask: impl FnMut(usize) -> Answer) -> u64 {
            let begun = Instant::now();
            let (slowed, passed): (Vec<_>, Vec<_>) = (0..40).map(&mut ask).partition(is_slowed);
            assert!(passed.iter().all(|answer| answer.status == 200));
            let passed = passed.len() as u64;
            assert!((burst..=burst + 1 + begun.elapsed().as_secs()).contains(&passed), "{passed} passed");
            slowed.len() as u64
        }
        let mut refused = slowed(3, |_| get(Some(&slow)));
        // Nobody else is slowed by it.
        assert_eq!(get(Some(&served.alice)).status, 200);
        // A wrong signature is told as such, not slowed as a request.
        let wrong = Credentials::new(slow.key(), "wrong-secret");
        assert_eq!(get(Some(&wrong)).code(), "SignatureDoesNotMatch");
        // The account's rate counts for all its keys, parts of it and anonymous readers of its buckets.
        served.put("/first?policy", &crate::accounts::policy("Allow", "s3:GetObject", "first/*"));
        let sub = key(served, "alice/sub", Rates::default());
        let rate = Changed {
            requests: Some(NonZeroU32::new(1)),
            burst: Some(NonZeroU32::new(4)),
            ..Changed::default()
        };
        served.limit("alice", rate);
        let who = [Some(&served.alice), Some(&sub), None];
        refused += slowed(4, |turn| get(who[turn % 3]));
        assert_eq!(served.ask(Some(&served.bob), "GET", "/", b"", &[]).status, 200);
        assert_eq!(served.grid.metrics.requests_slowed.get(), refused);
        // As soon as the operator says so.
        served.limit("alice", Changed { requests: Some(None), burst: Some(None), ..Changed::default() });
        assert!((0..20).all(|turn| get(who[turn % 3]).status == 200));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_beyond_a_rate_wait() {
    with_client(|served| {
        served.put("/first", "");
        let rate = Some(ByteSize(1 << 20));
        let slow = key(served, "alice", Rates { upload: rate, download: rate, ..Rates::default() });
        let long = "x".repeat(3 << 20);
        // The first MiB goes at once, the others take a second each.
        let begun = Instant::now();
        assert_eq!(served.put_as(&slow, "/first/k", long.as_bytes()).status, 200);
        assert!(begun.elapsed() >= Duration::from_millis(1_900), "{:?}", begun.elapsed());
        let begun = Instant::now();
        assert!(served.ask(Some(&slow), "GET", "/first/k", b"", &[]).text == long);
        assert!(begun.elapsed() >= Duration::from_millis(1_800), "{:?}", begun.elapsed());
        // What was asked for is told.
        let usage = served.ask(Some(&slow), "GET", "/v1/usage", b"", &[]);
        let usage: serde_json::Value = serde_json::from_str(&usage.text).unwrap();
        let hours = |name: &str| ["this_hour", "last_hour"].map(|hour| usage[hour][name].as_u64().unwrap());
        assert_eq!(hours("received_bytes").iter().sum::<u64>(), 3 << 20);
        assert_eq!(hours("sent_bytes").iter().sum::<u64>(), 3 << 20);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_told_their_usage_and_that_of_their_parts() {
    with_client(|served| {
        served.put("/first", "");
        let sub = key(served, "alice/sub", Rates::default());
        assert_eq!(served.put_as(&sub, "/first/k", b"hello").status, 200);
        let quota = Changed { quota_bytes: Some(Some(ByteSize(1_000))), ..Changed::default() };
        served.limit("alice", quota);
        let told = |who: &Credentials| -> serde_json::Value {
            let answer = served.ask(Some(who), "GET", "/v1/usage", b"", &[]);
            assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
            serde_json::from_str(&answer.text).unwrap()
        };
        let alice = told(&served.alice);
        assert_eq!((alice["account"].as_str(), alice["bytes"].as_u64()), (Some("alice"), Some(5)));
        assert_eq!((alice["quota_bytes"].as_u64(), alice["objects"].as_u64()), (Some(1_000), Some(1)));
        assert!(
            alice["this_hour"]["requests"].as_u64().unwrap()
                + alice["last_hour"]["requests"].as_u64().unwrap()
                >= 3
        );
        let parts = alice["sub_accounts"].as_array().unwrap();
        assert_eq!((parts.len(), parts[0]["account"].as_str()), (1, Some("alice/sub")));
        let part = told(&sub);
        assert_eq!((part["account"].as_str(), part["bytes"].as_u64()), (Some("alice/sub"), Some(5)));
        assert_eq!(part["sub_accounts"].as_array().unwrap().len(), 0);
        let bob = served.ask(Some(&served.bob), "GET", "/v1/usage", b"", &[]).text;
        assert!(bob.contains("\"bob\"") && !bob.contains("alice"), "{bob}");
        assert_eq!(served.ask(None, "GET", "/v1/usage", b"", &[]).code(), "AccessDenied");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_a_secret_is_slowed_and_its_owner_is_not() {
    with_client(|served| {
        served.put("/first", "");
        served.put("/first/k", "hello");
        // Everybody here comes from one address: who proved a key is not held up by guesses of others.
        let guess = |who: &Credentials, turn: usize| {
            let wrong = Credentials::new(who.key(), format!("wrong-secret-{turn}"));
            match turn % 2 {
                0 => served.ask(Some(&wrong), "GET", "/first/k", b"", &[]),
                _ => served.signed_form(&wrong, "first", "k", "x"),
            }
        };
        let victim = key(served, "bob", Rates::default());
        let begun = Instant::now();
        let answers: Vec<_> = (0..30).map(|turn| guess(&victim, turn)).collect();
        assert!(answers[..5].iter().all(|answer| answer.code() == "SignatureDoesNotMatch"));
        // The first ones are free, and so is one after each pause, of which the shortest is half a second.
        let looked_at = answers.iter().filter(|answer| !is_slowed(answer)).count() as u128;
        assert!(looked_at <= 6 + begun.elapsed().as_millis() / 500, "{looked_at}");
        assert!(answers.iter().all(|answer| is_slowed(answer) || answer.code() == "SignatureDoesNotMatch"));
        assert_eq!(served.ask(Some(&served.alice), "GET", "/first/k", b"", &[]).text, "hello");
        // The rightful owner of that very key waits as long as it is told, and no longer.
        let begun = Instant::now();
        let after = loop {
            let answer = served.ask(Some(&victim), "GET", "/", b"", &[]);
            if answer.status == 200 {
                break begun.elapsed();
            }
            assert!(is_slowed(&answer), "{}", answer.text);
            assert!(begun.elapsed() < Duration::from_secs(20), "locked out");
            std::thread::sleep(Duration::from_millis(50));
        };
        assert!(after <= Duration::from_secs(15), "{after:?}");
        // Names of keys are guessed no faster; what is no guess is none.
        for turn in 0..40 {
            let nobody = Credentials::new(format!("NOBODY{turn}"), "secret-of-nobody");
            let answer = served.ask(Some(&nobody), "GET", "/first/k", b"", &[]);
            assert!(is_slowed(&answer) || answer.code() == "InvalidAccessKeyId", "{}", answer.text);
            assert!(turn >= 5 || !is_slowed(&answer));
        }
        let nobody = Credentials::new("NOBODY", "secret-of-nobody");
        assert!((0..40).any(|_| is_slowed(&served.ask(Some(&nobody), "GET", "/first/k", b"", &[]))));
        for _ in 0..60 {
            assert_eq!(served.ask(Some(&served.alice), "GET", "/first/none", b"", &[]).code(), "NoSuchKey");
        }
        let metrics = &served.grid.metrics;
        assert!(metrics.signatures_wrong.get() >= 10 && metrics.guesses_slowed.get() >= 2);
    })
    .await;
}
