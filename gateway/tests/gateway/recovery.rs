//! Ten thousand objects of every kind; the disk is lost; the gateway is made again from the operator's secret and the chain.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use arion_daemon::{Shutdown, now_ms};
use arion_gateway::{
    grid::Grid,
    http::S3Server,
    keys::AccessKeys,
    manifest::Manifest,
    meta::{Allowance, BucketInfo, Condition, DeleteRequest, NewObject},
    object::ObjectInfo,
    s3::{self, Store},
    snapshot::{
        cut::Sizes,
        take::{ACCESS_KEYS, Snapshotter, Taken},
    },
};
use futures_util::{StreamExt, stream};
use rusty_s3::Method;

use crate::{
    machine::{self, Chain, PATIENCE, recover, settle, shards, snapshotter},
    network::{MINERS, Network, read, sample, within, write},
    s3_client::Client,
};

const SMALL: usize = 9_940;
const SEED: &[u8] = &[9];
const VERSIONED: &[u8] = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";

fn plain(number: usize) -> Vec<u8> {
    sample(300 + number)
}

fn name(number: usize) -> String {
    format!("directory-{:02}/file {number:05}.txt", number % 40)
}

/// A small object, stored beside others.
async fn put(grid: &Arc<Grid>, number: usize) {
    let part = write(grid, &plain(number)).await.unwrap();
    let info = ObjectInfo { manifest: rand::random(), size: part.plain_len, ..Default::default() };
    let manifest = Manifest::whole(part.clone());
    let (bucket, condition, allowance) =
        (format!("bulk-{}", number % 3), Condition::default(), Allowance::NONE);
    let origin = Default::default();
    let object = NewObject { bucket, key: name(number), info, manifest, condition, allowance, origin };
    grid.meta.put_object(object, 1).await.unwrap();
}

async fn compare(grid: &Arc<Grid>, number: usize) {
    let found = grid.meta.object_with_manifest(format!("bulk-{}", number % 3), name(number), None).await;
    let (_, manifest) = found.unwrap_or_else(|error| panic!("{number}: {error}"));
    let part = &manifest.parts[0];
    let found = read(grid, part, 0..part.plain_len).await.unwrap();
    assert!(found == plain(number), "object {number} is another one");
}

async fn many(numbers: std::ops::Range<usize>, work: impl AsyncFn(usize)) {
    stream::iter(numbers).map(|number| work(number)).buffer_unordered(64).collect::<Vec<()>>().await;
}

struct Served(S3Server, String);

async fn serve(grid: &Arc<Grid>, directory: &Path) -> Served {
    let keys = Arc::new(AccessKeys::new(directory.join(ACCESS_KEYS)));
    let keyring = machine::keyring(&grid.meta, SEED);
    let region = "us-east-1".to_owned();
    let (webhooks, credit) = Default::default();
    let store = Store { grid: grid.clone(), keyring, keys, region, part_bytes_min: 1_000, webhooks, credit };
    let address = "127.0.0.1:0".parse().unwrap();
    let service = s3::service(store, s3::Domains::default());
    let server = S3Server::bind(address, service, Duration::from_secs(1)).await.unwrap();
    let endpoint = format!("http://{}", server.local_addr());
    Served(server, endpoint)
}

/// What clients did before; the id of the upload that is not complete, and what its part is known by.
fn before(client: &Client) -> (String, String) {
    for bucket in ["files", "versions", "parts"] {
        assert_eq!(client.of(bucket).make().status, 200);
    }
    let files = client.of("files");
    for number in 0..50 {
        let headers = [("x-amz-meta-number", "seven"), ("content-type", "text/x-arion")];
        assert_eq!(files.put(&format!("f/{number}"), &headers, &sample(10_000 + number)).status, 200);
    }
    for number in 0..10 {
        assert_eq!(files.delete(&format!("f/{number}")).status, 204);
    }
    assert_eq!(files.copy("files/f/20", "copy", &[]).status, 200);
    let versions = client.of("versions");
    assert_eq!(versions.subresource(Method::Put, "versioning", VERSIONED).status, 200);
    for round in 1..=3 {
        assert_eq!(versions.put("k", &[], &sample(2_000 * round)).status, 200);
    }
    assert_eq!(versions.delete("gone").status, 204);
    let parts = client.of("parts");
    let whole = [sample(3_000_000), sample(200_001), sample(5)];
    let done = parts.put_in_parts("whole", &[], &whole.each_ref().map(Vec::as_slice));
    assert_eq!(done.status, 200, "{}", done.text());
    let id = parts.begin("later", &[]).element("UploadId");
    let etag = parts.part("later", &id, 1, &[], &sample(150_000)).etag();
    (id, etag)
}

/// The same clients with the gateway that was made again.
fn after(client: &Client, upload: &(String, String)) {
    let files = client.of("files");
    for number in 0..50 {
        let found = files.get(&format!("f/{number}"), &[]);
        match number < 10 {
            true => assert_eq!((found.status, found.code()), (404, "NoSuchKey".into())),
            false => {
                assert_eq!((found.status, found.body == sample(10_000 + number)), (200, true), "{number}");
                assert_eq!(found.header("x-amz-meta-number").as_deref(), Some("seven"));
            }
        }
    }
    assert_eq!(files.get("copy", &[]).body, sample(10_020));
    let versions = client.of("versions");
    assert_eq!(versions.get("k", &[]).body, sample(6_000));
    let listed = versions.subresource(Method::Get, "versions", b"").text();
    assert_eq!((listed.matches("<Version>").count(), listed.matches("<DeleteMarker>").count()), (3, 1));
    let parts = client.of("parts");
    assert_eq!(parts.get("whole", &[]).body, [sample(3_000_000), sample(200_001), sample(5)].concat());
    // The upload goes on as if nothing had been.
    let (id, first) = upload;
    let second = parts.part("later", id, 2, &[], &sample(70_000)).etag();
    let done = parts.complete("later", id, &[first.clone(), second], &[]);
    assert_eq!(done.status, 200, "{}", done.text());
    assert_eq!(parts.get("later", &[]).body, [sample(150_000), sample(70_000)].concat());
    // What was acknowledged after the snapshot is not in it.
    assert_eq!(files.get("too-late", &[]).status, 404);
    assert_eq!(files.put("new", &[], b"new").status, 200);
    assert_eq!(files.get("new", &[]).body, b"new");
}

async fn client(served: &Served, keys: &(String, String), work: impl FnOnce(&Client) + Send + 'static) {
    let client = Client::new(&served.1, "files", &keys.0, &keys.1);
    tokio::task::spawn_blocking(move || work(&client)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_objects_come_back_from_key_and_chain_alone() {
    let (network, chain, directory) =
        (Network::new(), Arc::new(Chain::default()), tempfile::tempdir().unwrap());
    let keys = AccessKeys::new(directory.path().join(ACCESS_KEYS)).add("alice", None, None).unwrap();
    let grid = network.grid(directory.path());
    for bucket in 0..3 {
        let info = BucketInfo::new("bulk".into(), 1);
        grid.meta.create_bucket(format!("bulk-{bucket}"), info).await.unwrap();
    }
    many(0..SMALL, async |number| put(&grid, number).await).await;
    // As a restart does: what small uploads shared is held by the objects alone.
    grid.recover().await.unwrap();
    let served = serve(&grid, directory.path()).await;
    let (sender, upload) = std::sync::mpsc::channel();
    client(&served, &keys, move |client| sender.send(before(client)).unwrap()).await;
    let upload = upload.recv().unwrap();

    let snapshots =
        Snapshotter { sizes: Sizes::STANDARD, ..snapshotter(&grid, &chain, directory.path(), SEED) };
    let Taken::New { row, stored, .. } = snapshots.take(false).await.unwrap() else { panic!("nothing new") };
    // 40 of 50 files, their copy, one of versions, one in parts.
    assert_eq!((row.summary.buckets, row.summary.objects), (6, SMALL as u64 + 43));
    assert_eq!((row.summary.versions, row.summary.uploads), (3, 1));
    println!("{stored} nodes for {:?}", row.summary);
    client(&served, &keys, |client| {
        assert_eq!(client.put("too-late", &[], &sample(200_000)).status, 200);
    })
    .await;
    served.0.shutdown().await;
    settle(&grid).await;
    let usage = grid.meta.usage().unwrap();
    drop((grid, snapshots));
    drop(directory);

    let directory = tempfile::tempdir().unwrap();
    let (grid, recovered) = recover(&network, &chain, directory.path(), SEED).await.unwrap();
    assert_eq!(recovered.summary, row.summary);
    assert_eq!(recovered.files.len(), 1);
    let text = String::from_utf8(recovered.files[0].1.clone()).unwrap();
    arion_daemon::secret_file::replace(&directory.path().join(&recovered.files[0].0), &text).unwrap();
    grid.recover().await.unwrap();
    let found = grid.meta.usage().unwrap();
    // "too-late" is not there.
    assert_eq!((found["bulk"], found["alice"].objects + 1), (usage["bulk"], usage["alice"].objects));
    many(0..SMALL, async |number| compare(&grid, number).await).await;
    let served = serve(&grid, directory.path()).await;
    client(&served, &keys, move |client| after(client, &upload)).await;

    // The ledger is a new one: it begins at 1, and has the receipts of the snapshot as soon as the miners have confirmed them.
    let (waiting, before) =
        (grid.meta.unconfirmed_len().await.unwrap(), grid.meta.ledger_len().await.unwrap());
    // Twenty at least have signed for a stripe that is acknowledged.
    assert!(waiting >= row.summary.stripes * 20, "{waiting} receipts");
    let (stop, begun) = (Shutdown::new(), Instant::now());
    let work = tokio::spawn(grid.clone().upkeep(stop.clone()));
    within(PATIENCE, "all is confirmed", async || grid.meta.unconfirmed_len().await.unwrap() == 0).await;
    println!("{waiting} receipts confirmed in {:?}", begun.elapsed());
    stop.trigger();
    work.await.unwrap();
    assert!(grid.meta.ledger_len().await.unwrap() >= before + waiting);
    let lines = grid.meta.ledger_page(0, 512).await.unwrap();
    assert!(lines.len() == 512 && lines.iter().zip(1..).all(|(line, number)| line.sequence == number));

    // Deleting works, and all shards are given back: but those of what was acknowledged after the snapshot.
    many(0..SMALL, async |number| {
        let (bucket, key) = (format!("bulk-{}", number % 3), name(number));
        grid.meta.delete(DeleteRequest { bucket, key, ..Default::default() }, now_ms()).await.unwrap();
    })
    .await;
    client(&served, &keys, |client| {
        for number in 10..50 {
            assert_eq!(client.delete(&format!("f/{number}")).status, 204);
        }
        let last = [("files", "copy"), ("files", "new"), ("parts", "whole"), ("parts", "later")];
        for (bucket, key) in last {
            assert_eq!(client.of(bucket).delete(key).status, 204);
        }
    })
    .await;
    served.0.shutdown().await;
    settle(&grid).await;
    let snapshots =
        Snapshotter { sizes: Sizes::STANDARD, ..snapshotter(&grid, &chain, directory.path(), SEED) };
    let first = row.anchored.sequence;
    let Taken::New { row, reused, .. } = snapshots.take(false).await.unwrap() else { panic!("nothing new") };
    assert_eq!(reused, 0, "what it was made from is another gateway's");
    assert!(row.anchored.sequence > first && row.summary.objects == 1);
    settle(&grid).await;
    // Three versions of one object, the snapshot, and the object that nobody knows of any more.
    let (nodes, _) = grid.meta.snapshot_size().await.unwrap();
    assert_eq!(shards(&network), (row.summary.stripes + nodes + 1) as usize * MINERS);
}
