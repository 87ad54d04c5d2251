//! The ledger as objects: what is in them, who reads them, and what crashes, other accounts and recoveries do to them.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use arion_daemon::{ByteSize, Health, Shutdown};
use arion_gateway::{
    grid::Grid,
    keys::{AccessKeys, Changed},
    listing::Query,
    meta::BucketInfo,
    s3::{PART_BYTES_MIN, Store},
    segments::{SegmentError, Segments},
    snapshot::take::Taken,
};
use arion_ledger::{
    Ledger,
    segment::{SEGMENT_LINES, object_name},
};
use arion_types::{NodeId, signing};
use bytes::Bytes;
use rusty_s3::Credentials;

use crate::{
    accounts::{Served, with_client},
    machine::{Chain, recover, settle, snapshotter},
    network::{self, GENESIS, MINERS, Network, eventually, heir, within},
};

const BUCKET: &str = "arion-ledger";
const ACCOUNT: &str = "ledger";
const LINES: usize = SEGMENT_LINES as usize;
const CHILD: &str = "ARION_GATEWAY_SEGMENTS_TEST_DIRECTORY";

fn segments(grid: &Arc<Grid>, keys: &Arc<AccessKeys>) -> Segments {
    let (grid, keys, region) = (grid.clone(), keys.clone(), "us-east-1".to_owned());
    let (keyring, part_bytes_min) = (network::keyring(&grid.meta), PART_BYTES_MIN);
    let (webhooks, credit) = Default::default();
    let store = Store { grid, keyring, keys, region, part_bytes_min, webhooks, credit };
    let health = Health::new("arion-gateway", "0");
    Segments { store, bucket: BUCKET.into(), account: ACCOUNT.into(), health }
}

fn segments_in(directory: &Path, grid: &Arc<Grid>) -> Segments {
    segments(grid, &Arc::new(AccessKeys::new(directory.join("keys.toml"))))
}

/// Lines that cost nothing: as many miners served something.
async fn fill(grid: &Grid, lines: usize) {
    let meta = &grid.meta;
    let from = meta.served_until().await.unwrap().map_or(1, |until| until + 1);
    meta.state_served(from).await.unwrap();
    let served = (0..lines as u64).map(|n| {
        let mut id = [1; 32];
        id[..8].copy_from_slice(&n.to_be_bytes());
        (NodeId(id), 1)
    });
    meta.add_served(served.collect()).await.unwrap();
    assert_eq!(meta.state_served(from + 1).await.unwrap(), lines);
}

async fn ledger(grid: &Grid) -> Ledger {
    let lines = grid.meta.ledger_page(0, u16::MAX).await.unwrap();
    assert!(lines.len() < usize::from(u16::MAX));
    let lines = lines.into_iter().map(|entry| entry.record).collect();
    Ledger::new(GENESIS, grid.node_id(), lines)
}

/// Names and ETags of all objects.
async fn listed(grid: &Grid) -> Vec<(String, String)> {
    let query = Query { max: 1_000, ..Query::default() };
    let page = grid.meta.list_objects(BUCKET.into(), query).await.unwrap();
    page.keys.into_iter().map(|(key, info)| (key, info.etag)).collect()
}

/// What is to be listed of a ledger.
fn expected(ledger: &Ledger) -> Vec<(String, String)> {
    use md5::{Digest, Md5};
    let full = ledger.lines().len() / LINES;
    let name = |number| object_name(&ledger.gateway(), number);
    let etag = |segment: Vec<u8>| hex::encode(Md5::digest(segment));
    let objects = ledger.write().into_iter().take(full).zip(0..);
    objects.map(|(segment, number)| (name(number), etag(segment))).collect()
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Handle::current().block_on(work)
}

fn fetch(served: &Served, path: &str) -> (u16, String, Vec<u8>) {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut answer = agent.get(format!("{}{path}", served.endpoint)).call().unwrap();
    let kind = answer.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
    (answer.status().as_u16(), kind.unwrap_or_default(), answer.body_mut().read_to_vec().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn full_segments_are_objects_that_anybody_reads_and_it_comes_to_rest() {
    with_client(|served| {
        let (grid, segments) = (&served.grid, segments(&served.grid, &served.keys));
        let mut stored = None;
        block_on(async {
            segments.catch_up(&mut stored).await.unwrap();
            assert_eq!((stored, listed(grid).await), (Some(0), vec![]));
            fill(grid, 2 * LINES - 1).await;
            segments.catch_up(&mut stored).await.unwrap();
            fill(grid, 1).await;
            segments.catch_up(&mut stored).await.unwrap();
            assert_eq!(stored, Some(2));
            settle(grid).await;
            // Each is a stripe, whose receipts are lines: and that is all, however often one looks.
            let lines = grid.meta.ledger_len().await.unwrap() as usize;
            assert_eq!(lines, 2 * LINES + 2 * MINERS);
            for mut stored in [stored, None] {
                segments.catch_up(&mut stored).await.unwrap();
            }
            assert_eq!(grid.meta.ledger_len().await.unwrap() as usize, lines);
            // Its own receipts come into a later one.
            fill(grid, LINES - 2 * MINERS).await;
            segments.catch_up(&mut stored).await.unwrap();
            settle(grid).await;
            assert_eq!(listed(grid).await, expected(&ledger(grid).await));
        });
        assert_eq!(stored, Some(3));
        let metrics = &grid.metrics;
        assert_eq!((metrics.ledger_segments_stored.get(), metrics.ledger_segments_behind.get()), (3, 0));
        let written = block_on(ledger(grid)).write();
        for (segment, number) in written.iter().take(3).zip(0..) {
            let (status, kind, bytes) =
                fetch(served, &format!("/{BUCKET}/{}", object_name(&grid.node_id(), number)));
            assert_eq!((status, kind.as_str()), (200, "application/octet-stream"));
            assert!(bytes == *segment, "segment {number}");
        }
        let (status, _, listing) = fetch(served, &format!("/{BUCKET}?prefix={}/", grid.node_id()));
        let listing = String::from_utf8(listing).unwrap();
        assert_eq!((status, listing.matches("<Key>").count()), (200, 3));
        let usage = grid.meta.usage().unwrap()[ACCOUNT];
        assert_eq!(usage.objects, 3);

        // Nobody else writes or deletes them.
        let path = format!("/{BUCKET}/{}", object_name(&grid.node_id(), 1));
        for who in [None, Some(&served.alice)] {
            for method in ["PUT", "DELETE"] {
                assert_eq!(served.ask(who, method, &path, b"x", &[]).status, 403, "{method}");
            }
        }
        // One that is gone is put again by who looks anew, and deleting is done once.
        block_on(async {
            segments.delete(1).await.unwrap();
            segments.delete(1).await.unwrap();
            assert_eq!(listed(grid).await.len(), 2);
            segments.catch_up(&mut None).await.unwrap();
            settle(grid).await;
            assert_eq!(listed(grid).await, expected(&ledger(grid).await));
        });
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_somebody_elses_is_left_alone_and_told() {
    with_client(|served| {
        served.put(&format!("/{BUCKET}"), "");
        let (grid, segments) = (&served.grid, segments(&served.grid, &served.keys));
        let refused = block_on(segments.catch_up(&mut None)).unwrap_err();
        assert!(matches!(refused, SegmentError::Taken { .. }), "{refused}");
        assert_eq!(served.ask(Some(&served.alice), "DELETE", &format!("/{BUCKET}"), b"", &[]).status, 204);

        block_on(async {
            fill(grid, 2 * LINES).await;
            segments.catch_up(&mut None).await.unwrap();
        });
        let (access, secret) = served.keys.add(ACCOUNT, None, None).unwrap();
        let owner = Credentials::new(access, secret);
        let last = format!("/{BUCKET}/{}", object_name(&grid.node_id(), 1));
        assert_eq!(served.ask(Some(&owner), "PUT", &last, b"other", &[]).status, 200);
        let refused = block_on(segments.catch_up(&mut None)).unwrap_err();
        assert!(matches!(refused, SegmentError::Other { .. }), "{refused}");
        assert!(refused.to_string().contains(&last[BUCKET.len() + 2..]), "{refused}");
        assert_eq!(served.ask(Some(&owner), "GET", &last, b"", &[]).text, "other");
        assert_eq!(served.ask(Some(&owner), "DELETE", &last, b"", &[]).status, 204);
        // What else is there under the gateway's id is no segment.
        for name in ["0", "00000000.txt", "x"] {
            let beside = format!("/{BUCKET}/{}/{name}", grid.node_id());
            assert_eq!(served.ask(Some(&owner), "PUT", &beside, b"", &[]).status, 200);
        }
        block_on(segments.catch_up(&mut None)).unwrap();
        assert_eq!(fetch(served, &last).2, block_on(ledger(grid)).write()[1]);

        // A quota holds for it as for anybody.
        let limit = |bytes| Changed { quota_bytes: Some(bytes), ..Changed::default() };
        served.limit(ACCOUNT, limit(Some(ByteSize(600_000))));
        let mut stored = None;
        let refused = block_on(async {
            fill(grid, LINES).await;
            segments.catch_up(&mut stored).await.unwrap_err()
        });
        assert!(refused.to_string().contains("segment 2") && refused.to_string().contains("QuotaExceeded"));
        assert_eq!((stored, grid.metrics.ledger_segments_behind.get()), (Some(2), 1));
        served.limit(ACCOUNT, limit(None));
        block_on(segments.catch_up(&mut stored)).unwrap();
        assert_eq!(stored, Some(3));
    })
    .await;
}

/// It goes on by itself once what it told is mended.
#[tokio::test(flavor = "multi_thread")]
async fn beside_other_work_it_catches_up_and_health_says_what_keeps_it() {
    let (network, directory) = (Network::new(), tempfile::tempdir().unwrap());
    let grid = network.grid(directory.path());
    grid.meta.create_bucket(BUCKET.into(), BucketInfo::new("bob".into(), 1)).await.unwrap();
    fill(&grid, LINES).await;
    let segments = segments_in(directory.path(), &grid);
    let (health, stop) = (segments.health.clone(), Shutdown::new());
    let until = stop.clone();
    let work = tokio::spawn(async move { segments.run(until).await });
    let told = || health.to_json()["checks"]["segments"].as_str().unwrap_or_default().to_owned();
    eventually("it says whose the bucket is not", async || {
        told().contains("arion-ledger does not belong to the account ledger")
    })
    .await;
    grid.meta.delete_bucket(BUCKET.into()).await.unwrap();
    eventually("it goes on", async || told() == "ok").await;
    assert_eq!(listed(&grid).await, expected(&ledger(&grid).await));
    stop.trigger();
    work.await.unwrap();
}

async fn store_for_ever(directory: &Path) {
    let network = Network::new();
    let grid = network.grid(directory);
    grid.recover().await.unwrap();
    let segments = segments_in(directory, &grid);
    let mut stored = None;
    loop {
        fill(&grid, LINES).await;
        println!("filled");
        segments.catch_up(&mut stored).await.unwrap();
        println!("stored {}", stored.unwrap());
    }
}

/// The child is killed while it stores a segment, and when it just has: every number has one object, the right one.
#[tokio::test(flavor = "multi_thread")]
async fn every_number_has_one_object_after_kill_9_at_any_moment() {
    if let Some(directory) = std::env::var_os(CHILD) {
        return store_for_ever(Path::new(&directory)).await;
    }
    let directory = tempfile::tempdir().unwrap();
    for (word, pause_ms) in [("filled", 0), ("stored", 0), ("filled", 15), ("filled", 60)] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "segments::every_number_has_one_object_after_kill_9_at_any_moment",
                "--exact",
                "--nocapture",
            ])
            .env(CHILD, directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // It lasts as long as the child: whose words nobody hears any more ends by itself.
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let seen = lines.by_ref().filter(|line| line.starts_with(word)).nth(1);
        assert!(seen.is_some(), "the child ended early");
        // Whatever moment it is, the outcome has to be the same.
        std::thread::sleep(Duration::from_millis(pause_ms));
        child.kill().unwrap();
        child.wait().unwrap();
        drop(lines);

        let network = Network::new();
        let grid = network.grid(directory.path());
        grid.recover().await.unwrap();
        let segments = segments_in(directory.path(), &grid);
        segments.catch_up(&mut None).await.unwrap();
        let full = expected(&ledger(&grid).await);
        assert!(full.len() >= 2);
        assert_eq!(listed(&grid).await, full);
        assert_eq!(grid.meta.usage().unwrap()[ACCOUNT].objects, full.len() as u64);
        assert_eq!(grid.meta.inflight_stripes().await.unwrap(), []);
    }
}

/// An upload that is given up at any step leaves nothing that a second one would not find.
#[tokio::test(flavor = "multi_thread")]
async fn who_gave_up_goes_on() {
    let (network, directory) = (Network::new(), tempfile::tempdir().unwrap());
    let grid = network.grid(directory.path());
    let segments = segments_in(directory.path(), &grid);
    fill(&grid, 3 * LINES).await;
    for pause_ms in (0..60_000).step_by(7) {
        let mut stored = None;
        let pass = segments.catch_up(&mut stored);
        if let Ok(done) = tokio::time::timeout(Duration::from_millis(pause_ms), pass).await {
            done.unwrap();
            break;
        }
    }
    within(Duration::from_secs(20), "stripes that nobody wants are taken back", async || {
        grid.meta.inflight_stripes().await.unwrap().is_empty()
    })
    .await;
    assert_eq!(listed(&grid).await, expected(&ledger(&grid).await));
    assert_eq!(grid.meta.usage().unwrap()[ACCOUNT].objects, 3);
    let recount = grid.meta.recount_usage().await.unwrap();
    assert!(recount.wrong.is_empty(), "{recount:?}");
    assert!(grid.meta.recount_occupied().await.unwrap());
}

/// A gateway that was made again has another key and a ledger of its own: the segments of before stay what they were.
#[tokio::test(flavor = "multi_thread")]
async fn a_recovered_gateway_begins_beside_the_segments_of_before() {
    const SEED: &[u8] = &[9];
    let (network, chain) = (Network::new(), Arc::new(Chain::default()));
    let directory = tempfile::tempdir().unwrap();
    let grid = network.grid(directory.path());
    fill(&grid, LINES).await;
    segments_in(directory.path(), &grid).catch_up(&mut None).await.unwrap();
    settle(&grid).await;
    let before = ledger(&grid).await;
    let snapshots = snapshotter(&grid, &chain, directory.path(), SEED);
    assert!(matches!(snapshots.take(false).await.unwrap(), Taken::New { .. }));
    settle(&grid).await;
    drop((grid, snapshots, directory));

    let directory = tempfile::tempdir().unwrap();
    let (grid, _) = recover(&network, &chain, directory.path(), SEED).await.unwrap();
    grid.recover().await.unwrap();
    assert_eq!(grid.node_id(), signing::node_id(&heir()));
    let segments = segments_in(directory.path(), &grid);
    let mut stored = None;
    segments.catch_up(&mut stored).await.unwrap();
    assert_eq!((stored, listed(&grid).await), (Some(0), expected(&before)));
    let lines = grid.meta.ledger_len().await.unwrap() as usize;
    assert!(lines < LINES);
    fill(&grid, LINES - lines).await;
    segments.catch_up(&mut stored).await.unwrap();
    let mut both = [expected(&before), expected(&ledger(&grid).await)].concat();
    both.sort();
    assert_eq!((stored, listed(&grid).await), (Some(1), both));
}

/// The same key with other lines: nothing is written over what is there.
#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_of_an_old_copy_does_not_go_on_behind_the_segments_of_the_new_one() {
    let (network, directory) = (Network::new(), tempfile::tempdir().unwrap());
    let grid = network.grid(directory.path());
    let segments = segments_in(directory.path(), &grid);
    segments.catch_up(&mut None).await.unwrap();
    fill(&grid, LINES - 1).await;
    let name = object_name(&grid.node_id(), 0);
    // As if it had been longer before.
    let body = Bytes::from_static(b"a segment of other lines");
    let manifest = network::write(&grid, &body).await.unwrap();
    let info = arion_gateway::object::ObjectInfo {
        manifest: rand::random(),
        size: body.len() as u64,
        etag: "0".into(),
        ..Default::default()
    };
    let object = arion_gateway::meta::NewObject {
        bucket: BUCKET.into(),
        key: name.clone(),
        info,
        manifest: arion_gateway::manifest::Manifest::whole(manifest),
        condition: Default::default(),
        allowance: arion_gateway::meta::Allowance::NONE,
        origin: Default::default(),
    };
    grid.meta.put_object(object, 1).await.unwrap();
    for _ in 0..2 {
        let refused = segments.catch_up(&mut None).await.unwrap_err();
        assert!(matches!(&refused, SegmentError::Other { key, .. } if *key == name), "{refused}");
        fill(&grid, LINES).await;
    }
    assert_eq!(listed(&grid).await, [(name, "0".to_owned())]);
}
