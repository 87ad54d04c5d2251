//! Secrets of access keys stand in no line of the log, whatever comes with a request and however much is logged.
//!
//! A program of its own, because it listens to all that the process logs.

#![allow(missing_docs, unreachable_pub, dead_code, clippy::unwrap_used)]

#[path = "gateway/accounts.rs"]
mod accounts;
#[path = "gateway/network.rs"]
mod network;

use std::{
    io,
    sync::{Arc, Mutex},
};

use accounts::with_client;
use arion_gateway::{keys::NewKey, scope::Access};
use rusty_s3::Credentials;
use tracing_subscriber::{fmt::MakeWriter, layer::SubscriberExt, util::SubscriberInitExt};

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Lines {
    fn has(&self, text: &str) -> bool {
        memchr::memmem::find(&self.0.lock().unwrap(), text.as_bytes()).is_some()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_logged() {
    let lines = Lines::default();
    let layer = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(lines.clone());
    tracing_subscriber::registry().with(layer).init();
    let logged = lines.clone();
    with_client(move |served| {
        // What a client sends by mistake is as secret as what the file has.
        let wrong = Credentials::new(served.alice.key(), "a-wrong-secret-of-somebody");
        let swapped = Credentials::new("a-secret-in-the-place-of-a-key", served.alice.key());
        let sub = served.scoped("alice/sub", Access::ReadOnly, &["first/docs/*"]);
        let expired = served.add_key(NewKey::full("alice".parse().unwrap()));
        let rotated = served.keys.rotate(expired.key(), 0).unwrap();
        let rotated = Credentials::new(rotated.access_key, rotated.secret);
        let all = [&served.alice, &served.bob, &wrong, &swapped, &sub, &expired, &rotated];
        for who in all {
            for (method, path) in [
                ("PUT", "/first"),
                ("PUT", "/first/docs/k"),
                ("GET", "/first/docs/k"),
                ("GET", "/"),
                ("GET", "/v1/usage"),
            ] {
                served.ask(Some(who), method, path, b"hello", &[]);
            }
            served.signed_form(who, "first", "docs/form", "x");
            // Often enough that guesses are slowed.
            for _ in 0..10 {
                served.ask(Some(who), "GET", "/first/docs/k", b"", &[]);
            }
        }
        let file = served.keys.path();
        let text = std::fs::read_to_string(file).unwrap();
        // Also a file that does not parse.
        std::fs::write(file, format!("{text}\nbroken")).unwrap();
        served.ask(Some(&served.alice), "GET", "/", b"", &[]);
        std::fs::write(file, &text).unwrap();
        let secrets = all.map(|who| who.secret().to_owned());
        let entered = text.lines().filter_map(|line| line.strip_prefix("secret_key = \"")?.strip_suffix('"'));
        assert!(entered.clone().count() == 5 && entered.clone().all(|secret| secret.len() > 20));
        for secret in secrets.iter().map(String::as_str).chain(entered) {
            // The name of a key is no secret.
            if secret != served.alice.key() {
                assert!(!logged.has(secret), "a secret is in the log");
            }
        }
        // Nor does the gateway itself say a name that is none of a key.
        let all = String::from_utf8_lossy(&logged.0.lock().unwrap()).into_owned();
        let own = all.lines().filter(|line| line.contains(" arion_gateway"));
        assert!(own.clone().count() > 0 && own.into_iter().all(|line| !line.contains(swapped.key())));
        // The log has everything else, so that the test can fail.
        assert!(logged.has("TRACE") && logged.has("signed wrongly") && logged.has("/first/docs/k"));
    })
    .await;
}
