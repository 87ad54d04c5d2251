//! Server-side encryption as clients see it, and keys replaced under objects that stay where they are.

use std::{sync::Arc, time::Duration};

use arion_daemon::{Health, Shutdown};
use arion_gateway::{
    http::S3Server,
    keyring::Keyring,
    keys::AccessKeys,
    keystore::KeyStore,
    meta::Meta,
    rotation,
    s3::{self, Store},
};
use rusty_s3::Method;

use crate::{
    network::{Network, eventually, sample},
    s3_client::{Client, Headers},
    signed,
};

const ONE: Headers<'_> = &[
    ("x-amz-server-side-encryption-customer-algorithm", "AES256"),
    ("x-amz-server-side-encryption-customer-key", "pO3upElrwuEXSoFwCfnZPdSsmt/xWeFa0N9KgDijwVs="),
    ("x-amz-server-side-encryption-customer-key-md5", "DWygnHRtgiJ77HCm+1rvHw=="),
];
const TWO: Headers<'_> = &[
    ("x-amz-server-side-encryption-customer-algorithm", "AES256"),
    ("x-amz-server-side-encryption-customer-key", "6b+WOZ1T3cqZMxgThRcXAQBrS5mXKdDUphvpxptl9/4="),
    ("x-amz-server-side-encryption-customer-key-md5", "arxBvwY2V4SiOne6yppVPQ=="),
];
const FROM_ONE: Headers<'_> = &[
    ("x-amz-copy-source-server-side-encryption-customer-algorithm", "AES256"),
    ("x-amz-copy-source-server-side-encryption-customer-key", "pO3upElrwuEXSoFwCfnZPdSsmt/xWeFa0N9KgDijwVs="),
    ("x-amz-copy-source-server-side-encryption-customer-key-md5", "DWygnHRtgiJ77HCm+1rvHw=="),
];
const OURS: &str = "x-amz-server-side-encryption";
const ALGORITHM: &str = "x-amz-server-side-encryption-customer-algorithm";
const MD5: &str = "x-amz-server-side-encryption-customer-key-md5";

struct Served {
    network: Network,
    server: S3Server,
    client: Client,
    keyring: Arc<Keyring>,
    store: KeyStore,
    meta: Meta,
    directory: tempfile::TempDir,
}

async fn serve() -> Served {
    let directory = tempfile::tempdir().unwrap();
    let network = Network::new();
    let grid = network.grid(directory.path());
    let access_keys = Arc::new(AccessKeys::new(directory.path().join("keys.toml")));
    let (access, secret) = access_keys.add("alice", None, None).unwrap();
    let path = directory.path().join("account.key");
    arion_daemon::keys::write_secret_seed(&path, &[3; 32]).unwrap();
    let store = KeyStore::file(path);
    let keyring = Arc::new(Keyring::new(grid.meta.clone(), store.load().unwrap()));
    let meta = grid.meta.clone();
    let (webhooks, credit) = Default::default();
    let s3 = Store {
        grid,
        keyring: keyring.clone(),
        keys: access_keys,
        region: "us-east-1".into(),
        part_bytes_min: 1_000,
        webhooks,
        credit,
    };
    let address = "127.0.0.1:0".parse().unwrap();
    let server = S3Server::bind(address, s3::service(s3, s3::Domains::default()), Duration::from_secs(1))
        .await
        .unwrap();
    let client = Client::new(&format!("http://{}", server.local_addr()), "photos", &access, &secret);
    Served { network, server, client, keyring, store, meta, directory }
}

async fn with_client<T: Send + 'static>(
    served: &Served,
    work: impl FnOnce(Client) -> T + Send + 'static,
) -> T {
    let client = served.client.clone();
    tokio::task::spawn_blocking(move || work(client)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customers_key_is_needed_for_everything_but_deleting() {
    let served = serve().await;
    with_client(&served, |client| {
        client.make();
        let plain = sample(200_000);
        let put = client.put("a", ONE, &plain);
        assert_eq!((put.status, put.header(ALGORITHM).as_deref()), (200, Some("AES256")));
        assert_eq!(put.header(MD5).as_deref(), Some("DWygnHRtgiJ77HCm+1rvHw=="));
        assert_eq!(put.header(OURS), None);
        let got = client.get("a", ONE);
        assert!(got.status == 200 && got.body == plain);
        assert_eq!(got.header(MD5).as_deref(), Some("DWygnHRtgiJ77HCm+1rvHw=="));
        let range = client.get("a", &[ONE, &[("range", "bytes=70000-70009")]].concat());
        assert!(range.status == 206 && range.body == plain[70_000..70_010]);
        assert_eq!(client.head("a", ONE).status, 200);
        for headers in [&[] as Headers<'_>, TWO] {
            let refused = client.get("a", headers);
            assert_eq!((refused.status, refused.code().as_str()), (400, "InvalidRequest"));
            assert_eq!(client.head("a", headers).status, 400);
        }
        // A key for what was not encrypted with one, and our own header where it does not belong.
        client.put("b", &[], b"ours");
        let refused = client.get("b", ONE);
        assert_eq!((refused.status, refused.code().as_str()), (400, "InvalidRequest"));
        assert_eq!(client.get("b", &[(OURS, "AES256")]).code(), "InvalidArgument");
        assert_eq!(client.head("b", &[(OURS, "AES256")]).status, 400);
        assert_eq!(client.delete("a").status, 204);
    })
    .await;
}

/// Presigned addresses took the key as a parameter, as they take other headers: it would have been in every log on its way.
#[tokio::test(flavor = "multi_thread")]
async fn a_customers_key_in_an_address_is_refused() {
    signed::with_client(|served| {
        served.put("bkt", &[], b"").ok();
        let refused = |answer: signed::Answer, name: &str| {
            assert_eq!(answer.error(), (400, "InvalidArgument".into()));
            assert!(answer.one("Message").starts_with(name), "{}", answer.text());
            assert!(!answer.text().contains(ONE[1].1));
        };
        refused(served.send(Method::Put, "bkt/k", ONE, &[], b"x"), ALGORITHM);
        refused(served.send(Method::Post, "bkt/k", &[&[("uploads", "")], ONE].concat(), &[], b""), ALGORITHM);
        assert_eq!(served.head("bkt/k", &[], &[]).status, 404);
        served.put("bkt/k", ONE, b"x").ok();
        for pair in ONE {
            refused(served.get("bkt/k", &[*pair], ONE), pair.0);
        }
        for pair in FROM_ONE {
            let headers = [("x-amz-copy-source", "bkt/k")];
            refused(served.send(Method::Put, "bkt/copy", &[*pair], &headers, b""), pair.0);
        }
        assert_eq!(served.head("bkt/k", ONE, &[]).status, 400);
        assert_eq!(served.get("bkt/k", &[], ONE).ok().body, b"x");
        // What is no secret may stand there.
        let ours = served.send(Method::Put, "bkt/ours", &[(OURS, "AES256")], &[], b"x").ok();
        assert_eq!(ours.header(OURS), "AES256");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_customers_key_and_other_methods_are_refused() {
    let served = serve().await;
    with_client(&served, |client| {
        client.make();
        for (headers, status, code) in [
            (&ONE[..1], 400, "InvalidArgument"),
            (&ONE[..2], 400, "InvalidArgument"),
            (&ONE[1..], 400, "InvalidArgument"),
            (&[ONE[0], ONE[1], TWO[2]][..], 400, "InvalidArgument"),
            (&[(ALGORITHM, "AES192"), ONE[1], ONE[2]][..], 400, "InvalidEncryptionAlgorithmError"),
            (&[ONE[0], ONE[1], ONE[2], (OURS, "AES256")][..], 400, "InvalidArgument"),
            (&[(OURS, "aws:kms")][..], 501, "NotImplemented"),
            (&[("x-amz-server-side-encryption-aws-kms-key-id", "k")][..], 400, "InvalidArgument"),
            (&[(OURS, "rot13")][..], 400, "InvalidArgument"),
        ] {
            let refused = client.put("a", headers, b"x");
            assert_eq!((refused.status, refused.code().as_str()), (status, code), "{headers:?}");
            let refused = client.begin("a", headers);
            assert_eq!((refused.status, refused.code().as_str()), (status, code), "{headers:?}");
        }
        assert_eq!(client.head("a", &[]).status, 404);
        // Everything is encrypted, and says so whether it was asked for or not.
        for headers in [&[(OURS, "AES256")][..], &[]] {
            let put = client.put("b", headers, b"x");
            assert_eq!((put.status, put.header(OURS).as_deref()), (200, Some("AES256")));
        }
        assert_eq!(client.get("b", &[]).header(OURS).as_deref(), Some("AES256"));
        assert_eq!(client.head("b", &[]).header(OURS).as_deref(), Some("AES256"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_in_parts_keeps_to_the_key_it_was_begun_with() {
    let served = serve().await;
    with_client(&served, |client| {
        client.make();
        let (first, second) = (sample(100_000), sample(50_000));
        let begun = client.begin("a", ONE);
        assert_eq!(begun.header(MD5).as_deref(), Some("DWygnHRtgiJ77HCm+1rvHw=="));
        let id = begun.element("UploadId");
        for headers in [&[] as Headers<'_>, TWO] {
            let refused = client.part("a", &id, 1, headers, &first);
            assert_eq!((refused.status, refused.code().as_str()), (400, "InvalidRequest"));
        }
        let parts = [(1, &first), (2, &second)].map(|(number, part)| {
            let sent = client.part("a", &id, number, ONE, part);
            assert_eq!(sent.header(MD5).as_deref(), Some("DWygnHRtgiJ77HCm+1rvHw=="));
            sent.etag()
        });
        for headers in [&[] as Headers<'_>, TWO] {
            assert_eq!(client.complete("a", &id, &parts, headers).status, 400);
        }
        let completed = client.complete("a", &id, &parts, ONE);
        assert_eq!(completed.status, 200, "{}", completed.text());
        assert_eq!(completed.header(MD5).as_deref(), Some("DWygnHRtgiJ77HCm+1rvHw=="));
        assert_eq!(client.get("a", ONE).body, [first, second].concat());
        assert_eq!(client.get("a", &[]).status, 400);
        // A key for an upload that was begun without one.
        let id = client.begin("b", &[]).element("UploadId");
        assert_eq!(client.part("b", &id, 1, ONE, b"x").status, 400);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_wrapped_anew_and_moves_no_data() {
    let served = serve().await;
    let plain = sample(300_000);
    let sent = plain.clone();
    with_client(&served, move |client| {
        client.make();
        client.of("albums").make();
        client.put("ours", &[], &sent);
        client.put("theirs", ONE, &sent);
        client.put_in_parts("parts", &[], &[&sent, &sent[..100]]);
    })
    .await;
    eventually("all shards are there", async || served.meta.backlog().await.unwrap() == (0, 0)).await;
    let shards = || served.network.miners.iter().map(|miner| miner.shard_count()).sum::<usize>();
    let before = shards();
    with_client(&served, move |client| {
        let albums = client.of("albums");
        for (from, to, headers, read) in [
            ("photos/ours", "ours", &[] as Headers<'_>, &[] as Headers<'_>),
            ("photos/ours", "for-two", TWO, TWO),
            ("photos/theirs", "for-two-from-one", &[FROM_ONE, TWO].concat(), TWO),
            ("photos/theirs", "ours-from-one", FROM_ONE, &[]),
        ] {
            let copied = albums.copy(from, to, headers);
            assert_eq!(copied.status, 200, "{to}: {}", copied.text());
            let got = albums.get(to, read);
            assert!(got.status == 200 && got.body == plain, "{to}");
            assert_eq!(got.header(OURS).is_some(), read.is_empty(), "{to}");
        }
        albums.copy("photos/parts", "parts", &[]);
        assert_eq!(albums.get("parts", &[]).body.len(), plain.len() + 100);
        // The source's key is needed, and the right one.
        assert_eq!(albums.copy("photos/theirs", "x", &[]).status, 400);
        assert_eq!(albums.copy("photos/theirs", "x", TWO).status, 400);
        assert_eq!(albums.copy("photos/ours", "x", FROM_ONE).status, 400);
        // Onto itself, with another key.
        assert_eq!(client.copy("photos/ours", "ours", TWO).status, 200);
        assert_eq!(client.get("ours", TWO).body, plain);
        assert_eq!(client.get("ours", &[]).status, 400);
        // The source's bucket is emptied and removed; the copies do not need its key.
        for key in ["ours", "theirs", "parts"] {
            assert_eq!(client.delete(key).status, 204);
        }
        assert_eq!(client.remove().status, 204);
        assert_eq!(albums.get("ours", &[]).body, plain);
    })
    .await;
    assert_eq!(shards(), before, "a copy moved data");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_default_encryption_of_a_bucket_comes_and_goes() {
    let rule = |algorithm: &str, key: &str| {
        format!(
            "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>{algorithm}\
             </SSEAlgorithm>{key}</ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>"
        )
    };
    let served = serve().await;
    with_client(&served, move |client| {
        client.make();
        let none = client.subresource(Method::Get, "encryption", b"");
        assert_eq!(
            (none.status, none.code().as_str()),
            (404, "ServerSideEncryptionConfigurationNotFoundError")
        );
        let kms = rule("aws:kms", "<KMSMasterKeyID>k</KMSMasterKeyID>");
        assert_eq!(client.subresource(Method::Put, "encryption", kms.as_bytes()).status, 501);
        let mixed = rule("AES256", "<KMSMasterKeyID>k</KMSMasterKeyID>");
        assert_eq!(client.subresource(Method::Put, "encryption", mixed.as_bytes()).status, 400);
        assert_eq!(client.subresource(Method::Get, "encryption", b"").status, 404);
        let put = client.subresource(Method::Put, "encryption", rule("AES256", "").as_bytes());
        assert_eq!(put.status, 200, "{}", put.text());
        let got = client.subresource(Method::Get, "encryption", b"");
        assert_eq!((got.status, got.element("SSEAlgorithm").as_str()), (200, "AES256"));
        assert_eq!(client.subresource(Method::Delete, "encryption", b"").status, 204);
        assert_eq!(client.subresource(Method::Get, "encryption", b"").status, 404);
    })
    .await;
}

/// Everything that was written before is read, whatever key it is under.
fn read_all(client: &Client, plain: &[u8]) {
    assert_eq!(client.get("whole", &[]).body, plain);
    assert_eq!(client.get("parts", &[]).body, [plain, plain].concat());
    assert_eq!(client.get("theirs", ONE).body, plain);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_replaced_and_no_object_is_uploaded_again() {
    let served = serve().await;
    let plain = sample(150_000);
    let sent = plain.clone();
    let (id, etag) = with_client(&served, move |client| {
        client.make();
        client.put("whole", &[], &sent);
        client.put_in_parts("parts", &[], &[&sent, &sent]);
        client.put("theirs", ONE, &sent);
        let id = client.begin("later", &[]).element("UploadId");
        let etag = client.part("later", &id, 1, &[], &sent).etag();
        (id, etag)
    })
    .await;
    eventually("all shards are there", async || served.meta.backlog().await.unwrap() == (0, 0)).await;
    let stores = || {
        let each =
            served.network.miners.iter().map(|miner| miner.stores.load(std::sync::atomic::Ordering::SeqCst));
        each.sum::<usize>()
    };
    let before = stores();

    // A running gateway takes a new generation over.
    let stop = Shutdown::new();
    let follower = tokio::spawn(rotation::follow(
        served.keyring.clone(),
        served.meta.clone(),
        served.store.clone(),
        Health::new("test", "0"),
        stop.clone(),
    ));
    let old = served.store.load().unwrap().current().id();
    let new = served.store.add().unwrap();
    eventually("the bucket's key is under the new generation", async || {
        let usage = rotation::usage(&served.keyring, &served.meta).await.unwrap();
        usage.last() == Some(&(new, 1))
    })
    .await;
    assert_eq!(served.store.remove(&[old]).unwrap(), 1);
    stop.trigger();
    follower.await.unwrap();
    // Nothing needs the old generation: a keyring that never knew it reads everything.
    let fresh = Keyring::new(served.meta.clone(), served.store.load().unwrap());
    fresh.check().await.unwrap();

    // The bucket gets a new key; what comes in meanwhile is under that; an interruption is found again.
    let old_key = served.meta.bucket_keys("photos".into()).await.unwrap().1[0].1.id;
    assert!(fresh.new_bucket_key("photos").await.unwrap().is_some());
    assert_eq!(rotation::unfinished(&served.meta).await.unwrap(), ["photos"]);
    let sent = plain.clone();
    with_client(&served, move |client| {
        read_all(&client, &sent);
        client.put("meanwhile", &[], &sent);
    })
    .await;
    let done = rotation::finish(&fresh, &served.meta).await.unwrap();
    // One whole object, two parts of another, one part of an upload that is not complete.
    assert_eq!((done.data_keys, done.buckets), (4, 1));
    assert_eq!(rotation::unfinished(&served.meta).await.unwrap(), [] as [&str; 0]);
    let (_, rows) = served.meta.bucket_keys("photos".into()).await.unwrap();
    assert!(rows.len() == 1 && rows[0].1.id != old_key);
    assert_eq!(rotation::finish(&fresh, &served.meta).await.unwrap(), rotation::Rewrapped::default());
    let written = stores() - before;
    with_client(&served, move |client| {
        read_all(&client, &plain);
        assert_eq!(client.get("meanwhile", &[]).body, plain);
        let completed = client.complete("later", &id, &[etag], &[]);
        assert_eq!(completed.status, 200, "{}", completed.text());
        assert_eq!(client.get("later", &[]).body, plain);
    })
    .await;
    assert_eq!(written, 30, "only the object that came meanwhile was sent to miners");
    served.server.shutdown().await;
    drop(served.directory);
}
