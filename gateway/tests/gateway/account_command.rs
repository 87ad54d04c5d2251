//! `arion-gateway access-key ...` and `account ...` as an operator meets them.

use std::{
    path::PathBuf,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use arion_daemon::{Health, HttpConfig, HttpServer, prometheus_client::registry::Registry};
use arion_gateway::{
    account_command,
    keys::AccessKeys,
    meta::{BucketInfo, Meta},
    rate::Rate,
};
use serde_json::Value;

use crate::rows::{BUCKET, miscount, new_object, opened};

const CHAIN: &str = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";

struct Operator(tempfile::TempDir);

impl Operator {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Whether it went well, and what was said.
    fn run(&self, arguments: &[&str]) -> (bool, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_arion-gateway"));
        command.args(arguments).args(["--data-dir", self.0.path().to_str().unwrap()]);
        let output = command.env_remove("ARION_NEW_SECRET_KEY").output().unwrap();
        let said = if output.status.success() { output.stdout } else { output.stderr };
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let (ok, said) = self.run(arguments);
        assert!(ok, "{arguments:?}: {said}");
        said
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.ok(arguments)).unwrap()
    }

    fn refused(&self, arguments: &[&str], why: &str) {
        let (ok, said) = self.run(arguments);
        assert!(!ok && said.contains(why), "{arguments:?}: {said}");
    }

    fn meta(&self) -> Meta {
        opened(|| Meta::open(&self.file("gateway.redb")))
    }
}

#[test]
fn keys_have_scopes_times_and_successors() {
    let operator = Operator::new();
    let made = operator.json(&[
        "access-key",
        "add",
        "--account",
        "alice/backup",
        "--access",
        "write-only",
        "--scope",
        "photos",
        "--scope",
        "docs/2026/*",
        "--expires",
        "90d",
        "--requests",
        "5",
        "--upload-rate",
        "10MiB",
        "--json",
    ]);
    let (key, secret) = (made["access_key"].as_str().unwrap(), made["secret_key"].as_str().unwrap());
    let listed = operator.ok(&["access-key", "list"]);
    assert!(
        listed.contains(&format!("{key} alice/backup write-only, photos, docs/2026/*; expires ")),
        "{listed}"
    );
    let rotated = operator.json(&["access-key", "rotate", key, "--keep", "0s", "--json"]);
    let listed = operator.ok(&["access-key", "list"]);
    let lines: Vec<_> = listed.lines().collect();
    assert!(lines[0].contains("; expired ") && lines[0].contains("; rotated to "), "{listed}");
    assert!(lines[1].starts_with(rotated["access_key"].as_str().unwrap()), "{listed}");
    assert!(lines[1].contains("write-only, photos, docs/2026/*; expires "), "{listed}");
    let list = operator.json(&["access-key", "list", "--json"]);
    assert_eq!((&list[0]["expired"], &list[1]["expired"]), (&true.into(), &false.into()));
    assert_eq!(list[1]["rates"]["upload"], "10MiB");
    let file = std::fs::read_to_string(operator.file("keys.toml")).unwrap();
    assert!(file.contains(secret) && !listed.contains(secret));

    operator.refused(&["access-key", "rotate", key], "was rotated already");
    operator.refused(&["access-key", "rotate", "NONE"], "there is no access key");
    operator.refused(&["access-key", "add", "--scope", "photos/*/x"], "no place");
    operator.refused(&["access-key", "add", "--access", "none"], "possible values");
    operator.refused(&["access-key", "add", "--expires", "soon"], "no time");
    operator.refused(&["access-key", "add", "--expires", "2020-01-01"], "over already");
    operator.refused(&["access-key", "add", "--account", "a/b/c"], "sub-account is NAME/SUB");
    operator.refused(&["access-key", "add", "--upload-rate", "10B"], "less than 1KiB");
    operator.refused(&["access-key", "add", "--burst", "5"], "--requests");
    operator.ok(&["access-key", "remove", key]);
    assert_eq!(operator.ok(&["access-key", "list"]).lines().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_limited_and_shown_also_beside_a_running_gateway() {
    let operator = Operator::new();
    operator.refused(&["account", "list"], "never started");
    operator.ok(&["access-key", "add", "--account", "alice"]);
    operator.ok(&["access-key", "add", "--account", "alice/sub"]);
    let set =
        ["account", "set", "alice", "--quota", "1KiB", "--quota-objects", "5", "--chain-account", CHAIN];
    let set = operator.json(&set);
    assert_eq!((&set["quota_bytes"], &set["chain_account"]), (&"1KiB".into(), &CHAIN.into()));
    operator.refused(&["account", "set", "alice"], "nothing to change");
    operator.refused(&["account", "set", "alice", "--chain-account", &CHAIN.replace("QY", "QZ")], "checksum");
    operator.refused(&["account", "set", "alice/sub", "--chain-account", CHAIN], "is a sub-account");
    operator.refused(&["account", "set", "alice", "--quota", "much"], "not a size");
    operator.refused(&["account", "set", "alice", "--burst", "3"], "needs a rate");
    operator.refused(&["account", "reset", "bob"], "nothing is said");

    let meta = operator.meta();
    meta.create_bucket(BUCKET.into(), BucketInfo::new("alice".into(), 1)).await.unwrap();
    let mut object = new_object(&meta, "k", 70).await;
    object.info.properties.payer = "alice/sub".into();
    meta.put_object(object, 1).await.unwrap();

    // As a running gateway does: it has the metadata, and answers where /health is.
    let keys = Arc::new(AccessKeys::new(operator.file("keys.toml")));
    let routes = account_command::route(keys, meta.clone(), Arc::new(Rate::default()), Arc::default());
    let health = Health::new("arion-gateway", "0");
    let anywhere = HttpConfig::default();
    let server = HttpServer::bind_with(&anywhere, health, Registry::default(), routes).await.unwrap();
    let http = server.local_addr().to_string();
    let shown = operator.json(&["account", "show", "alice", "--json", "--http", &http]);
    let line = |shown: &Value, at: usize| {
        let line = &shown[at];
        (line["account"].as_str().map(str::to_owned), line["bytes"].as_u64(), line["access_keys"].as_u64())
    };
    assert_eq!(line(&shown, 0), (Some("alice".into()), Some(70), Some(1)));
    assert_eq!(line(&shown, 1), (Some("alice/sub".into()), Some(70), Some(1)));
    assert_eq!((&shown[0]["chain_account"], &shown[0]["quota_bytes"]), (&CHAIN.into(), &1_024.into()));
    let list = operator.ok(&["account", "list", "--http", &http]);
    assert!(list.lines().count() == 3 && list.contains(CHAIN), "{list}");
    operator.refused(&["account", "show", "bob", "--http", &http], "there is no account bob");
    operator.refused(&["account", "check"], "stop it");
    server.shutdown().await;
    operator.refused(&["account", "list", "--http", &http], "does not answer");
    operator.refused(&["account", "list", "--http", "127.0.0.1:0"], "--http");

    drop(meta);
    drop(operator.meta());
    let deadline = Instant::now() + Duration::from_secs(10);
    let checked = loop {
        let (ok, said) = operator.run(&["account", "check"]);
        if ok || !said.contains("is running") || Instant::now() > deadline {
            break said;
        }
    };
    assert!(checked.contains("2 accounts and sub-accounts: all counts are right"), "{checked}");
    // Stopped, the same is told from the metadata themselves.
    let shown = operator.json(&["account", "show", "alice/sub", "--json"]);
    assert_eq!(line(&shown, 0), (Some("alice/sub".into()), Some(70), Some(1)));
    operator.ok(&["account", "reset", "alice"]);
    assert_eq!(operator.json(&["account", "list", "--json"])[0]["quota_bytes"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_count_is_told_and_repaired() {
    let operator = Operator::new();
    let meta = operator.meta();
    meta.create_bucket(BUCKET.into(), BucketInfo::new("alice".into(), 1)).await.unwrap();
    meta.put_object(new_object(&meta, "k", 70).await, 1).await.unwrap();
    drop(meta);
    miscount(&operator.file("gateway.redb"), "alice", (71, 1));
    operator.refused(&["account", "check"], "1 counts are wrong");
    let repaired = operator.ok(&["account", "check", "--repair"]);
    assert!(repaired.contains("alice: counted 71 bytes in 1 objects, found 70 in 1"), "{repaired}");
    assert!(operator.ok(&["account", "check"]).contains("all counts are right"));
}
