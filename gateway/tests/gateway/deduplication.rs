//! Equal bytes of one account are stored once, where that is switched on: whoever comes and goes, and whatever happens to the stripe.

use std::{collections::HashMap, path::Path, sync::Arc, time::Duration};

use arion_daemon::Shutdown;
use arion_gateway::{
    grid::{Grid, GridOptions},
    http::S3Server,
    keyring::Keyring,
    keys::{AccessKeys, Changed},
    manifest::PartManifest,
    rotation,
    s3::{self, Domains, Store},
    snapshot::take::Taken,
};
use arion_types::StripeId;

use crate::{
    accounts::policy,
    engine::Engine,
    machine::{self, Chain, recover, settle, snapshotter},
    network::{Network, eventually, sample},
    s3_client::{Client, Headers},
};

const SEED: &[u8] = &[9];
const CUSTOMER: Headers<'_> = &[
    ("x-amz-server-side-encryption-customer-algorithm", "AES256"),
    ("x-amz-server-side-encryption-customer-key", "pO3upElrwuEXSoFwCfnZPdSsmt/xWeFa0N9KgDijwVs="),
    ("x-amz-server-side-encryption-customer-key-md5", "DWygnHRtgiJ77HCm+1rvHw=="),
];

/// A gateway that serves alice and bob.
struct Served {
    grid: Arc<Grid>,
    keys: Arc<AccessKeys>,
    keyring: Arc<Keyring>,
    server: S3Server,
    endpoint: String,
}

async fn serve(grid: &Arc<Grid>, directory: &Path) -> Served {
    let keys = Arc::new(AccessKeys::new(directory.join("keys.toml")));
    for name in ["alice", "bob"] {
        // After a recovery they are there.
        let _ = keys.add(name, Some(name.to_uppercase()), Some("a-secret-of-theirs".into()));
    }
    let keyring = machine::keyring(&grid.meta, SEED);
    let (webhooks, credit) = Default::default();
    let store = Store {
        grid: grid.clone(),
        keyring: keyring.clone(),
        keys: keys.clone(),
        region: "us-east-1".into(),
        part_bytes_min: 1_000,
        webhooks,
        credit,
    };
    let service = s3::service(store, Domains::default());
    let server =
        S3Server::bind("127.0.0.1:0".parse().unwrap(), service, Duration::from_secs(1)).await.unwrap();
    let endpoint = format!("http://{}", server.local_addr());
    Served { grid: grid.clone(), keys, keyring, server, endpoint }
}

impl Served {
    fn switch(&self, account: &str, on: bool) {
        let changed = Changed { deduplicate: Some(on), ..Changed::default() };
        self.keys.set_account(&account.parse().unwrap(), changed).unwrap();
    }

    async fn with<T: Send + 'static>(&self, who: &str, work: impl FnOnce(Client) -> T + Send + 'static) -> T {
        let client = Client::new(&self.endpoint, "one", &who.to_uppercase(), "a-secret-of-theirs");
        tokio::task::spawn_blocking(move || work(client)).await.unwrap()
    }

    /// Puts bytes and reads them back.
    async fn put(&self, who: &str, bucket: &str, key: &str, headers: Headers<'static>, bytes: &[u8]) {
        let (bucket, key, bytes) = (bucket.to_owned(), key.to_owned(), bytes.to_vec());
        self.with(who, move |client| {
            let client = client.of(&bucket);
            let put = client.put(&key, headers, &bytes);
            assert_eq!(put.status, 200, "{key}: {}", put.text());
            let got = client.get(&key, headers);
            assert!(got.status == 200 && got.body == bytes, "{key}: {}", got.status);
        })
        .await;
    }

    async fn delete(&self, bucket: &str, key: &str) {
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        assert_eq!(self.with("alice", move |client| client.of(&bucket).delete(&key).status).await, 204);
    }

    async fn parts(&self, bucket: &str, key: &str) -> Vec<PartManifest> {
        let found = self.grid.meta.object_with_manifest(bucket.into(), key.into(), None).await;
        found.unwrap_or_else(|error| panic!("{bucket}/{key}: {error}")).1.parts
    }

    /// Where the bytes of an object are.
    async fn places(&self, bucket: &str, key: &str) -> Vec<(Vec<StripeId>, u32)> {
        let parts = self.parts(bucket, key).await.into_iter();
        parts.map(|part| (part.stripes.iter().map(|record| record.id()).collect(), part.offset)).collect()
    }

    async fn make(&self, who: &str, buckets: &'static [&'static str]) {
        self.with(who, |client| {
            buckets.iter().for_each(|name| assert_eq!(client.of(name).make().status, 200))
        })
        .await;
    }

    /// What was stored for nothing is given back, and all that is counted is right.
    async fn end(self) {
        let meta = &self.grid.meta;
        eventually("nothing is in flight", async || {
            meta.inflight_stripes().await.unwrap().is_empty()
                && meta.pinned_stripes().await.unwrap().is_empty()
        })
        .await;
        self.server.shutdown().await;
        let recount = meta.recount_usage().await.unwrap();
        assert!(recount.wrong.is_empty(), "{recount:?}");
        assert!(meta.recount_occupied().await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_bytes_of_an_account_are_stored_once_where_it_is_switched_on() {
    for engine in Engine::each() {
        let (network, directory) = (Network::new(), tempfile::tempdir().unwrap());
        let grid = network.replica(engine.open());
        let served = serve(&grid, directory.path()).await;
        served.make("alice", &["one", "two"]).await;
        served.make("bob", &["bobs"]).await;
        let bytes = sample(300_000);
        // Off, as it is unless somebody says otherwise.
        served.put("alice", "one", "off", &[], &bytes).await;
        served.put("alice", "one", "off too", &[], &bytes).await;
        assert_ne!(served.places("one", "off").await, served.places("one", "off too").await);

        served.switch("alice", true);
        served.switch("bob", true);
        served.put("alice", "one", "a", &[], &bytes).await;
        let first = served.places("one", "a").await;
        assert_ne!(first, served.places("one", "off").await);
        served.put("alice", "two", "b", &[], &bytes).await;
        assert_eq!(served.places("two", "b").await, first);
        assert_eq!(grid.metrics.uploads_deduplicated.get(), 1);
        // Each is under a key of its bucket and for its place.
        assert_ne!(served.parts("one", "a").await[0].key, served.parts("two", "b").await[0].key);
        // Whoever else has the same bytes has them elsewhere, and so has who brings a key.
        served.put("bob", "bobs", "a", &[], &bytes).await;
        served.put("alice", "one", "theirs", CUSTOMER, &bytes).await;
        let open = policy("Allow", "s3:*", "one/*");
        let set = served.with("alice", move |client| {
            client.subresource(rusty_s3::Method::Put, "policy", open.as_bytes()).status
        });
        assert!(set.await < 300);
        served.put("bob", "one", "of bob", &[], &bytes).await;
        for (bucket, key) in [("bobs", "a"), ("one", "theirs"), ("one", "of bob")] {
            assert_ne!(served.places(bucket, key).await, first, "{bucket}/{key}");
        }
        // Other bytes, and as many of them.
        let mut others = bytes.clone();
        others[299_999] ^= 1;
        served.put("alice", "one", "others", &[], &others).await;
        assert_ne!(served.places("one", "others").await, first);
        // A part, an empty object, and one of several stripes, which is stored before it is known.
        let sent = bytes.clone();
        served
            .with("alice", move |client| {
                let done = client.put_in_parts("parts", &[], &[&sent[..], &sent[..], &b"end"[..]]);
                assert_eq!(done.status, 200, "{}", done.text());
                assert_eq!(client.get("parts", &[]).body, [&sent[..], &sent[..], &b"end"[..]].concat());
            })
            .await;
        let parts = served.places("one", "parts").await;
        assert!(parts[0] == first[0] && parts[1] == first[0] && parts[2] != first[0]);
        let long = sample(11 << 20);
        for key in ["long", "long too"] {
            served.put("alice", "one", &format!("empty {key}"), &[], b"").await;
            served.put("alice", "one", key, &[], &long).await;
        }
        assert_eq!(served.places("one", "long").await, served.places("one", "long too").await);
        assert_eq!(served.places("one", "empty long").await, served.places("one", "empty long too").await);
        assert_eq!(served.places("one", "long").await[0].0.len(), 2);

        // The first goes, and the others stay; what was put again refers to the same; the last takes it along.
        served.delete("one", "a").await;
        served.put("alice", "one", "again", &[], &bytes).await;
        assert_eq!(served.places("one", "again").await, first);
        // Put over itself: referred to anew before the last reference goes.
        served.delete("one", "parts").await;
        served.delete("two", "b").await;
        served.put("alice", "one", "again", &[], &bytes).await;
        assert_eq!(served.places("one", "again").await, first);
        served.delete("one", "again").await;
        let id = first[0].0[0];
        eventually("the stripe is gone", async || grid.meta.stripe(id).await.unwrap().is_none()).await;
        served.put("alice", "one", "anew", &[], &bytes).await;
        assert_ne!(served.places("one", "anew").await, first);
        // Switched off nothing new is shared, and what is stays so.
        served.switch("alice", false);
        served.put("alice", "one", "off again", &[], &bytes).await;
        assert_ne!(served.places("one", "off again").await, served.places("one", "anew").await);
        served.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_equal_uploads_at_once_one_is_stored() {
    for engine in Engine::each() {
        let (network, directory) = (Network::new(), tempfile::tempdir().unwrap());
        let grid = network.replica(engine.open());
        let served = serve(&grid, directory.path()).await;
        served.make("alice", &["one"]).await;
        served.switch("alice", true);
        for (round, len) in [(0, 2_000), (1, 300_000), (2, 3_000_000)] {
            served
                .with("alice", move |client| {
                    std::thread::scope(|scope| {
                        for writer in 0..8 {
                            let client = &client;
                            scope.spawn(move || {
                                let put = client.put(&format!("{round}-{writer}"), &[], &sample(len));
                                assert_eq!(put.status, 200, "{}", put.text());
                            });
                        }
                    });
                    for writer in 0..8 {
                        assert_eq!(client.get(&format!("{round}-{writer}"), &[]).body, sample(len));
                    }
                })
                .await;
            let first = served.places("one", &format!("{round}-0")).await;
            for writer in 1..8 {
                assert_eq!(
                    served.places("one", &format!("{round}-{writer}")).await,
                    first,
                    "{round}-{writer}"
                );
            }
        }
        // Writers and deleters at once: whoever is left can be read.
        served
            .with("alice", |client| {
                let bytes = sample(4_000);
                std::thread::scope(|scope| {
                    for writer in 0..6 {
                        let (client, bytes) = (&client, &bytes);
                        scope.spawn(move || {
                            for round in 0..12 {
                                let key = format!("race-{writer}");
                                let put = client.put(&key, &[], bytes);
                                assert_eq!(put.status, 200, "{}", put.text());
                                assert!(client.get(&key, &[]).body == *bytes, "{key} in round {round}");
                                assert_eq!(client.delete(&key).status, 204);
                            }
                        });
                    }
                });
            })
            .await;
        served.end().await;
    }
}

fn bytes(round: usize, number: usize) -> Vec<u8> {
    sample(10_000 + 10 * round + number)
}

/// Compaction moves what several refer to, and it is found where it is then.
#[tokio::test(flavor = "multi_thread")]
async fn a_shared_stripe_is_compacted_under_equal_objects() {
    let (network, directory) = (Network::new(), tempfile::tempdir().unwrap());
    let options = GridOptions {
        pack_delay: Duration::from_millis(200),
        compact_bytes_per_second: 1 << 30,
        ..Network::options()
    };
    let grid = network.grid_with(directory.path(), options);
    let served = serve(&grid, directory.path()).await;
    served.make("alice", &["one"]).await;
    served.switch("alice", true);
    // Until enough of them are in one stripe.
    let mut round = 0;
    let (kept, others) = loop {
        round += 1;
        served
            .with("alice", move |client| {
                std::thread::scope(|scope| {
                    for number in 0..8 {
                        let client = &client;
                        scope.spawn(move || {
                            let put = client.put(&format!("{round}-{number}"), &[], &bytes(round, number));
                            assert_eq!(put.status, 200, "{}", put.text());
                        });
                    }
                });
            })
            .await;
        let mut in_stripe: HashMap<StripeId, Vec<usize>> = HashMap::new();
        for number in 0..8 {
            let (stripes, _) = served.places("one", &format!("{round}-{number}")).await.remove(0);
            in_stripe.entry(stripes[0]).or_default().push(number);
        }
        if let Some(mut numbers) = in_stripe.into_values().find(|numbers| numbers.len() > 3) {
            break (numbers.remove(0), numbers);
        }
        assert!(round < 10, "small uploads do not share stripes");
    };
    let (name, plain) = (format!("{round}-{kept}"), bytes(round, kept));
    let before = served.places("one", &name).await;
    served.put("alice", "one", "too", &[], &plain).await;
    assert_eq!(served.places("one", "too").await, before);
    let stop = Shutdown::new();
    let work = tokio::spawn(grid.clone().upkeep(stop.clone()));
    for number in others {
        served.delete("one", &format!("{round}-{number}")).await;
    }
    eventually("what is left moved", async || {
        let (one, other) = (served.places("one", &name).await, served.places("one", "too").await);
        one != before && one == other
    })
    .await;
    let after = served.places("one", "too").await;
    served.put("alice", "one", "again", &[], &plain).await;
    assert_eq!(served.places("one", "again").await, after);
    for key in [name.as_str(), "too"] {
        served.delete("one", key).await;
        let got = served.with("alice", |client| client.get("again", &[]).body).await;
        assert!(got == plain);
    }
    served.delete("one", "again").await;
    assert_eq!(grid.meta.stripe(after[0].0[0]).await.unwrap(), None);
    stop.trigger();
    work.await.unwrap();
    served.end().await;
}

/// Keys are replaced on every level, the disk is lost, and equal bytes are still found.
#[tokio::test(flavor = "multi_thread")]
async fn equal_bytes_are_found_after_rotations_and_a_recovery() {
    let (network, chain) = (Network::new(), Arc::new(Chain::default()));
    let directory = tempfile::tempdir().unwrap();
    let grid = network.grid(directory.path());
    let served = serve(&grid, directory.path()).await;
    served.make("alice", &["one", "two"]).await;
    served.switch("alice", true);
    let bytes = sample(150_000);
    served.put("alice", "one", "a", &[], &bytes).await;
    served.put("alice", "two", "b", &[], &bytes).await;
    let place = served.places("one", "a").await;
    // A new generation, and a new key of a bucket.
    served.keyring.replace_generations(machine::generations(&[9, 10]));
    assert_eq!(rotation::rewrap_bucket_keys(&served.keyring, &grid.meta).await.unwrap(), 3);
    served.keyring.replace_generations(machine::generations(&[10]));
    served.keyring.check().await.unwrap();
    assert!(served.keyring.new_bucket_key("one").await.unwrap().is_some());
    rotation::finish(&served.keyring, &grid.meta).await.unwrap();
    served.put("alice", "one", "c", &[], &bytes).await;
    assert_eq!(served.places("one", "c").await, place);
    served.keyring.replace_generations(machine::generations(&[10, 9]));
    rotation::finish(&served.keyring, &grid.meta).await.unwrap();
    settle(&grid).await;
    let Taken::New { .. } = snapshotter(&grid, &chain, directory.path(), SEED).take(false).await.unwrap()
    else {
        panic!("nothing new")
    };
    let text = std::fs::read_to_string(directory.path().join("keys.toml")).unwrap();
    served.end().await;
    drop((grid, directory));

    let directory = tempfile::tempdir().unwrap();
    arion_daemon::secret_file::replace(&directory.path().join("keys.toml"), &text).unwrap();
    let (grid, _) = recover(&network, &chain, directory.path(), SEED).await.unwrap();
    grid.recover().await.unwrap();
    let served = serve(&grid, directory.path()).await;
    for (bucket, key) in [("one", "a"), ("two", "b"), ("one", "c")] {
        let got = served.with("alice", move |client| client.of(bucket).get(key, &[]).body).await;
        assert!(got == bytes, "{bucket}/{key}");
    }
    served.put("alice", "two", "d", &[], &bytes).await;
    assert_eq!(served.places("two", "d").await, place);
    for (bucket, key) in [("one", "a"), ("two", "b"), ("one", "c")] {
        served.delete(bucket, key).await;
    }
    let got = served.with("alice", |client| client.of("two").get("d", &[]).body).await;
    assert!(got == bytes);
    served.delete("two", "d").await;
    assert!(grid.meta.stripe(place[0].0[0]).await.unwrap().is_none());
    served.end().await;
}
