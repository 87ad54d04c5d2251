//! `arion-gateway key ...` as an operator meets it.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use arion_crypto::{DataKey, WrappedKey};
use arion_gateway::{
    keyring::{KeyPlace, Keyring},
    keystore::KeyStore,
    meta::{BucketInfo, Meta},
};

struct Said {
    ok: bool,
    out: String,
    err: String,
}

fn gateway(arguments: &[&str]) -> Said {
    let output = Command::new(env!("CARGO_BIN_EXE_arion-gateway")).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said { ok: output.status.success(), out: text(&output.stdout), err: text(&output.stderr) }
}

struct Operator {
    directory: tempfile::TempDir,
}

impl Operator {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let said = gateway(&["init", "--data-dir", directory.path().to_str().unwrap()]);
        assert!(said.ok, "{}", said.err);
        Self { directory }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn key(&self, arguments: &[&str]) -> Said {
        let config = self.file("gateway.toml");
        let mut all = vec!["key"];
        all.extend_from_slice(arguments);
        all.extend_from_slice(&["--config", config.to_str().unwrap()]);
        gateway(&all)
    }

    fn store(&self) -> KeyStore {
        KeyStore::file(self.file("account.key"))
    }

    fn keyring(&self) -> (Meta, Keyring) {
        let meta = open(&self.file("gateway.redb"));
        let keyring = Keyring::new(meta.clone(), self.store().load().unwrap());
        (meta, keyring)
    }
}

/// The writing thread of an earlier handle lets go of the file a moment after it was dropped.
fn open(path: &Path) -> Meta {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match Meta::open(path) {
            Ok(meta) => return meta,
            Err(error) if Instant::now() > deadline => panic!("{error}"),
            Err(_) => std::thread::yield_now(),
        }
    }
}

async fn wrap(keyring: &Keyring, bucket: &str) -> WrappedKey {
    keyring.wrap(&KeyPlace::new(bucket, "k"), None, &[DataKey::random()]).await.unwrap().remove(0)
}

/// Lines of `key list`, when nobody has the metadata any more.
fn list(operator: &Operator) -> Vec<serde_json::Value> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let said = operator.key(&["list", "--json"]);
        assert!(said.ok, "{}", said.err);
        let lines: Vec<serde_json::Value> =
            said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        if !lines[0]["bucket_keys"].is_null() || Instant::now() > deadline {
            return lines;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn generations_are_made_listed_and_pruned() {
    let operator = Operator::new();
    let wrapped = {
        let (meta, keyring) = operator.keyring();
        for bucket in ["photos", "albums"] {
            let info = BucketInfo::new("alice".into(), 1);
            meta.create_bucket(bucket.into(), info).await.unwrap();
        }
        wrap(&keyring, "albums").await;
        wrap(&keyring, "photos").await
    };
    let before = list(&operator);
    assert_eq!(before.len(), 1);
    assert_eq!((&before[0]["newest"], &before[0]["bucket_keys"]), (&true.into(), &2.into()));

    let rotated = operator.key(&["rotate"]);
    assert!(rotated.ok, "{}", rotated.err);
    assert!(rotated.out.contains("2 keys of buckets, 0 of objects"), "{}", rotated.out);
    let after = list(&operator);
    assert_eq!((after.len(), &after[0]["generation"]), (2, &before[0]["generation"]));
    assert_eq!((&after[0]["bucket_keys"], &after[1]["bucket_keys"]), (&0.into(), &2.into()));
    assert!(operator.key(&["rotate", "--resume"]).ok);
    assert_eq!(list(&operator).len(), 2);

    let rotated = operator.key(&["rotate", "--bucket", "photos"]);
    assert!(rotated.ok && rotated.out.contains("number 2"), "{}{}", rotated.out, rotated.err);
    let missing = operator.key(&["rotate", "--bucket", "nothing"]);
    assert!(!missing.ok && missing.err.contains("no such bucket"), "{}", missing.err);

    let pruned = operator.key(&["prune"]);
    assert!(pruned.ok && pruned.out.contains("generations removed: 1"), "{}{}", pruned.out, pruned.err);
    assert_eq!(list(&operator).len(), 1);
    let (meta, keyring) = operator.keyring();
    keyring.check().await.unwrap();
    // The test entered no object, so the old key of the bucket is gone, and with it what it wrapped.
    let (_, rows) = meta.bucket_keys("photos".into()).await.unwrap();
    assert!(rows.len() == 1 && rows[0].0 == 2 && rows[0].1.id != wrapped.key_id().0);
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_a_running_gateway_only_a_generation_is_added() {
    let operator = Operator::new();
    // What a running gateway does: it has the metadata.
    let (_meta, _keyring) = operator.keyring();
    let rotated = operator.key(&["rotate"]);
    assert!(rotated.ok && rotated.out.contains("within seconds"), "{}{}", rotated.out, rotated.err);
    assert_eq!(operator.store().load().unwrap().all().len(), 2);
    for arguments in [&["rotate", "--bucket", "photos"][..], &["prune"]] {
        let refused = operator.key(arguments);
        assert!(!refused.ok && refused.err.contains("stop it"), "{}", refused.err);
    }
    let listed = operator.key(&["list"]);
    assert!(listed.ok && listed.out.contains("unknown: the gateway is running"), "{}", listed.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_generation_is_told_before_anything_changes() {
    let operator = Operator::new();
    {
        let (meta, keyring) = operator.keyring();
        let info = BucketInfo::new("alice".into(), 1);
        meta.create_bucket("photos".into(), info).await.unwrap();
        wrap(&keyring, "photos").await;
    }
    let path = operator.file("account.key");
    let good = std::fs::read(&path).unwrap();
    std::fs::write(&path, format!("{}\n", "05".repeat(32))).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    let refused = loop {
        let refused = operator.key(&["prune"]);
        if !refused.err.contains("running") || Instant::now() > deadline {
            break refused;
        }
    };
    assert!(!refused.ok && refused.err.contains("`photos`"), "{}", refused.err);
    assert!(!operator.key(&["rotate"]).ok);
    assert_eq!(operator.store().load().unwrap().all().len(), 1);
    std::fs::write(&path, good).unwrap();
    assert!(operator.key(&["rotate"]).ok);
}

#[test]
fn a_credential_is_used_where_it_is_and_never_written() {
    let operator = Operator::new();
    let credentials = tempfile::tempdir().unwrap();
    std::fs::copy(operator.file("account.key"), credentials.path().join("arion-account-key")).unwrap();
    let config = operator.file("gateway.toml");
    let run = |directory: Option<&Path>, what: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_arion-gateway"));
        command.args(["key", what, "--config", config.to_str().unwrap()]).env_remove("CREDENTIALS_DIRECTORY");
        if let Some(directory) = directory {
            command.env("CREDENTIALS_DIRECTORY", directory);
        }
        let output = command.output().unwrap();
        (
            output.status.success(),
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
        )
    };
    let text = std::fs::read_to_string(&config).unwrap();
    let text = text.replace("# account_key_credential", "account_key_credential");
    std::fs::write(&config, text).unwrap();
    let (ok, said) = run(None, "list");
    assert!(!ok && said.contains("CREDENTIALS_DIRECTORY"), "{said}");
    let (ok, said) = run(Some(credentials.path()), "list");
    assert!(ok && said.contains("newest"), "{said}");
    let (ok, said) = run(Some(credentials.path()), "rotate");
    assert!(!ok && said.contains("systemd credential"), "{said}");
}
