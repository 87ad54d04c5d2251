//! Two gateways on one PostgreSQL: they serve the same buckets, one does what only one may do, and each goes on without the
//! other and after the server was gone.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use arion_daemon::{Shutdown, now_ms};
use arion_gateway::{
    grid::{Grid, GridOptions, write::Upload},
    http::S3Server,
    keys::AccessKeys,
    manifest::Manifest,
    meta::{
        Allowance, BucketInfo, ClaimError, Condition, MetaError, MetadataPlace, NewObject, OpenError, Role,
    },
    object::ObjectInfo,
    s3::{self, Store},
};
use arion_stranger::{Database, Postgres};

use crate::{
    engine::connect,
    network::{self, Mood, Network, eventually, sample, within, write},
    s3_client::Client,
};

async fn serve(grid: &Arc<Grid>, keys: &Arc<AccessKeys>) -> S3Server {
    let (webhooks, credit) = Default::default();
    let store = Store {
        grid: grid.clone(),
        keyring: network::keyring(&grid.meta),
        keys: keys.clone(),
        region: "us-east-1".into(),
        part_bytes_min: 1_000,
        webhooks,
        credit,
    };
    let address = "127.0.0.1:0".parse().unwrap();
    S3Server::bind(address, s3::service(store, s3::Domains::default()), Duration::from_secs(1)).await.unwrap()
}

/// Runs blocking clients of two replicas.
async fn with_two(test: impl FnOnce(&Client, &Client) + Send + 'static) {
    let (database, network) = (Postgres::database(), Network::new());
    let directory = tempfile::tempdir().unwrap();
    let keys = Arc::new(AccessKeys::new(directory.path().join("keys.toml")));
    let (access, secret) = keys.add("alice", None, None).unwrap();
    let grids = [(); 2].map(|()| network.replica(connect(&database).unwrap()));
    let servers = [serve(&grids[0], &keys).await, serve(&grids[1], &keys).await];
    let clients = [0, 1].map(|at: usize| {
        Client::new(&format!("http://{}", servers[at].local_addr()), "shared", &access, &secret)
    });
    tokio::task::spawn_blocking(move || test(&clients[0], &clients[1])).await.unwrap();
    for server in servers {
        server.shutdown().await;
    }
    let recount = grids[0].meta.recount_usage().await.unwrap();
    assert!(recount.wrong.is_empty(), "{recount:?}");
    assert!(grids[0].meta.recount_occupied().await.unwrap());
}

fn names(client: &Client) -> Vec<String> {
    let listed = client.list().text();
    listed.split("<Key>").skip(1).map(|rest| rest.split('<').next().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_at_one_is_seen_at_the_other() {
    with_two(|one, two| {
        assert_eq!(one.make().status, 200);
        for number in 0..20 {
            let (here, there) = if number % 2 == 0 { (one, two) } else { (two, one) };
            let (key, body) = (format!("k{number:02}"), sample(1_000 + number));
            assert_eq!(here.put(&key, &[], &body).status, 200);
            let got = there.get(&key, &[]);
            assert_eq!((got.status, got.body), (200, body));
            assert_eq!(names(there).len(), number + 1);
        }
        for number in 0..20 {
            let (here, there) = if number % 3 == 0 { (one, two) } else { (two, one) };
            let key = format!("k{number:02}");
            assert_eq!(here.delete(&key).status, 204);
            assert_eq!(there.get(&key, &[]).status, 404);
            assert_eq!(names(there).len(), 19 - number);
        }
        // An upload in parts through both, completed where it was not begun.
        let id = one.begin("parts", &[]).element("UploadId");
        let parts = [sample(2_000), sample(3_000), sample(400)];
        let etags: Vec<String> = [one, two, two]
            .into_iter()
            .zip(1u16..)
            .zip(&parts)
            .map(|((client, number), part)| client.part("parts", &id, number, &[], part).etag())
            .collect();
        assert_eq!(two.complete("parts", &id, &etags, &[]).status, 200);
        assert_eq!(one.get("parts", &[]).body, parts.concat());
        assert_eq!(two.delete("parts").status, 204);
        assert_eq!(two.remove().status, 204);
        assert_eq!(one.get("parts", &[]).code(), "NoSuchBucket");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_writers_at_once_that_want_no_object_there_exactly_one_wins() {
    with_two(|one, two| {
        assert_eq!(two.make().status, 200);
        for round in 0..10 {
            let key = format!("race{round}");
            let won: Vec<usize> = std::thread::scope(|scope| {
                let writers: Vec<_> = (0..8)
                    .map(|writer: usize| {
                        let (client, key) = (if writer.is_multiple_of(2) { one } else { two }, &key);
                        scope.spawn(move || {
                            let body = sample(2_000 + writer);
                            let status = client.put(key, &[("if-none-match", "*")], &body).status;
                            assert!(matches!(status, 200 | 412), "{status}");
                            (status == 200).then_some(writer)
                        })
                    })
                    .collect();
                writers.into_iter().filter_map(|writer| writer.join().unwrap()).collect()
            });
            let [winner] = won[..] else { panic!("{won:?} won") };
            for client in [one, two] {
                assert_eq!(client.get(&key, &[]).body, sample(2_000 + winner));
            }
        }
    })
    .await;
}

async fn bucket(grid: &Grid) {
    grid.meta.create_bucket("b".into(), BucketInfo::new("a".into(), 1)).await.unwrap();
}

/// Puts an object, as large as takes a stripe of its own.
async fn put(grid: &Arc<Grid>, key: String) -> Result<(), String> {
    let mut upload = Upload::new(grid.clone());
    upload.push(&sample(200_000)).await.map_err(|error| error.to_string())?;
    let (sealed, key_of_it) = upload.finish().await.map_err(|error| error.to_string())?;
    let part = sealed.with_key(network::wrapped(&key_of_it));
    let info = ObjectInfo { manifest: rand::random(), size: part.plain_len, ..Default::default() };
    let object = NewObject {
        bucket: "b".into(),
        key,
        info,
        manifest: Manifest::whole(part),
        condition: Condition::default(),
        allowance: Allowance::NONE,
        origin: Default::default(),
    };
    grid.meta.put_object(object, 1).await.map_err(|error| error.to_string())?;
    drop(upload.keep());
    Ok(())
}

fn leads(grid: &Grid) -> bool {
    grid.meta.replica().unwrap().1
}

fn care(grid: &Arc<Grid>, stop: &Shutdown) -> tokio::task::JoinHandle<()> {
    let (grid, stop) = (grid.clone(), stop.clone());
    tokio::spawn(async move { grid.meta.while_leading(|| grid.clone().upkeep(stop.clone())).await })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_replica_left_is_taken_back_and_what_a_living_one_sends_is_not() {
    let (database, network) = (Postgres::database(), Network::new());
    let stop = Shutdown::new();
    let first = network.replica(connect(&database).unwrap());
    let tasks = [care(&first, &stop)];
    eventually("the first leads", async || leads(&first)).await;
    bucket(&first).await;
    let alone = || GridOptions { pack_object_bytes: 0, ..Network::options() };
    let second = network.replica_with(connect(&database).unwrap(), alone());
    let third = network.replica_with(connect(&database).unwrap(), alone());
    let (dead, alive) = (sample(150_000), sample(160_000));
    let dead = write(&second, &dead).await.unwrap().stripes[0].id();
    let alive = write(&third, &alive).await.unwrap().stripes[0].id();
    // A replica that starts takes nothing back that is not its own.
    assert_eq!(connect(&database).map(|meta| network.replica(meta)).unwrap().recover().await.unwrap(), 0);
    drop(second);
    eventually("the stripe of the dead is taken back", async || {
        first.meta.inflight_stripes().await.unwrap() == [alive]
    })
    .await;
    assert_eq!(first.meta.stripe(dead).await.unwrap(), None);
    assert!(!leads(&third));
    // A connection that is lost for a moment is no death.
    third.meta.cut_presence();
    eventually("it is noticed", async || !first.meta.left_behind().await.unwrap().is_empty()).await;
    eventually("it is back", async || first.meta.left_behind().await.unwrap().is_empty()).await;
    assert_eq!(first.meta.inflight_stripes().await.unwrap(), [alive]);
    // With the leader gone another one leads, and what it does is done.
    let tasks = tasks.into_iter().chain([care(&third, &stop)]).collect::<Vec<_>>();
    tasks[0].abort();
    drop(first);
    eventually("the third leads", async || leads(&third)).await;
    third.meta.discard_stripes(vec![alive], now_ms()).await.unwrap();
    eventually("nothing is left on miners", async || {
        network.miners.iter().all(|miner| miner.shard_count() == 0)
    })
    .await;
    stop.trigger();
}

/// A leader that stands still in its work, and goes on with it when another one leads, changes nothing any more.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_deposed_leader_writes_is_refused() {
    let database = Postgres::database();
    let [first, second] = [(); 2].map(|()| connect(&database).unwrap());
    let leads = |meta: &arion_gateway::meta::Meta| meta.replica().unwrap().1;
    eventually("one leads", async || leads(&first) || leads(&second)).await;
    let (first, second) = if leads(&first) { (first, second) } else { (second, first) };
    let (go, gate) = std::sync::mpsc::channel::<()>();
    let (tell, told) = std::sync::mpsc::channel();
    let gate = std::sync::Mutex::new(gate);
    let stale = first.clone();
    let work = tokio::spawn({
        let first = first.clone();
        async move {
            // Nothing else of this task goes on meanwhile, as nothing of a process does that is stopped.
            let work = || async {
                tokio::task::block_in_place(|| {
                    let write = || {
                        let handle = tokio::runtime::Handle::current();
                        let written = handle.block_on(stale.accept_holes(vec![]));
                        tell.send((written.map_err(|error| error.to_string()), stale.may_act())).unwrap();
                    };
                    write();
                    gate.lock().unwrap().recv().unwrap();
                    write();
                });
            };
            first.while_leading(work).await;
        }
    });
    let hear = || told.recv_timeout(Duration::from_secs(20)).unwrap();
    assert_eq!(tokio::task::block_in_place(hear), (Ok(()), true));
    first.cut_presence();
    eventually("the other one leads", async || leads(&second)).await;
    go.send(()).unwrap();
    let refused = Err("another replica leads by now".to_owned());
    assert_eq!(tokio::task::block_in_place(hear), (refused, false));
    work.abort();
    // What is anybody's to do goes on, and what is the leader's is done by the other one.
    first.accept_holes(vec![]).await.unwrap();
    assert!(!leads(&first));
}

const CHILD: &str = "ARION_GATEWAY_REPLICAS_TEST_CHILD";

/// A replica that tells whenever another thing is so: that it leads, or does not.
async fn lead_for_ever(address: &str) {
    let meta = arion_gateway::meta::Meta::connect(address.parse().unwrap(), Role::Replica).unwrap();
    println!("connected");
    let mut led = false;
    loop {
        let leads = meta.replica().unwrap().1;
        if std::mem::replace(&mut led, leads) != leads {
            println!("{}", if leads { "leads" } else { "follows" });
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A process that is stopped keeps its connections: its locks were never given back, and nobody led.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_stopped_is_followed_by_another_one() {
    if let Some(address) = std::env::var_os(CHILD) {
        return lead_for_ever(address.to_str().unwrap()).await;
    }
    let database = Postgres::database();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["replicas::a_leader_that_is_stopped_is_followed_by_another_one", "--exact", "--nocapture"])
        .env(CHILD, &database.address)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut hear = |wanted: &str| assert!(lines.any(|line| line.ends_with(wanted)), "the child ended early");
    let signal = |name: &str| {
        let sent = Command::new("kill").args([name, &child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    };
    tokio::task::block_in_place(|| hear("leads"));
    let meta = connect(&database).unwrap();
    let leads = |meta: &arion_gateway::meta::Meta| meta.replica().unwrap().1;
    assert!(!leads(&meta));
    signal("-STOP");
    within(Duration::from_secs(60), "another one leads", async || leads(&meta)).await;
    signal("-CONT");
    tokio::task::block_in_place(|| hear("follows"));
    assert!(leads(&meta));
    child.kill().unwrap();
    child.wait().unwrap();
}

/// The leader took back what a replica was just sending, as it was silent for so long; then the shards came to the miners.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_back_while_it_was_sent_is_refused_and_leaves_nothing_on_miners() {
    let (database, network) = (Postgres::database(), Network::new());
    let leader = network.replica(connect(&database).unwrap());
    let stop = Shutdown::new();
    let task = care(&leader, &stop);
    eventually("it leads", async || leads(&leader)).await;
    bucket(&leader).await;
    let silent = network.replica(connect(&database).unwrap());
    let take_back = async || {
        let mut left = Vec::new();
        eventually("a stripe is on its way", async || {
            left = leader.meta.inflight_stripes().await.unwrap();
            !left.is_empty()
        })
        .await;
        leader.meta.discard_stripes(left, now_ms()).await.unwrap();
    };
    network.miners.iter().for_each(|miner| miner.set(Mood::Slow));
    for len in [200_000, 3_000_000] {
        let (writes, plain) = (silent.clone(), sample(len));
        let written =
            tokio::spawn(async move { write(&writes, &plain).await.map_err(|error| error.to_string()) });
        take_back().await;
        eventually("its deletions are done", async || leader.meta.backlog().await.unwrap() == (0, 0)).await;
        let refused = written.await.unwrap().unwrap_err();
        assert!(refused.contains("taken back"), "{refused}");
    }
    network.miners.iter().for_each(|miner| miner.set(Mood::Honest));
    eventually("nothing is left on miners", async || {
        network.miners.iter().all(|miner| miner.shard_count() == 0)
    })
    .await;
    // And what was stored, and is not entered yet.
    let part = write(&silent, &sample(3_000_000)).await.unwrap();
    take_back().await;
    let info = ObjectInfo { manifest: rand::random(), size: part.plain_len, ..Default::default() };
    let object = NewObject {
        bucket: "b".into(),
        key: "k".into(),
        info,
        manifest: Manifest::whole(part),
        condition: Condition::default(),
        allowance: Allowance::NONE,
        origin: Default::default(),
    };
    let refused = silent.meta.put_object(object, 1).await.unwrap_err();
    assert!(matches!(refused, MetaError::TakenBack), "{refused}");
    eventually("nothing is left on miners", async || {
        network.miners.iter().all(|miner| miner.shard_count() == 0)
    })
    .await;
    assert!(leader.meta.recount_occupied().await.unwrap());
    stop.trigger();
    task.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_crashes_under_load_loses_nothing_that_was_acknowledged() {
    let (server, network) = (Postgres::start(), Network::new());
    let database = server.schema();
    let grids = [(); 2].map(|()| network.replica(connect(&database).unwrap()));
    bucket(&grids[0]).await;
    let (stop, refused) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let done = Arc::new(AtomicUsize::new(0));
    let writers: Vec<_> = (0..6usize)
        .map(|writer| {
            let (grid, stop, refused) = (grids[writer % 2].clone(), stop.clone(), refused.clone());
            let done = done.clone();
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                for number in 0.. {
                    if stop.load(SeqCst) {
                        break;
                    }
                    let key = format!("{writer}-{number}");
                    match put(&grid, key.clone()).await {
                        Ok(()) => {
                            acknowledged.push(key);
                            done.fetch_add(1, SeqCst);
                        }
                        Err(_) => {
                            refused.fetch_add(1, SeqCst);
                            tokio::time::sleep(Duration::from_millis(10)).await;
                        }
                    }
                }
                acknowledged
            })
        })
        .collect();
    for _ in 0..2 {
        let before = done.load(SeqCst);
        eventually("objects are written", async || done.load(SeqCst) >= before + 12).await;
        server.crash();
        let asked = Instant::now();
        let told = grids[0].meta.bucket("b".into()).await;
        assert!(matches!(told, Err(MetaError::Unavailable(_))), "{told:?}");
        assert!(asked.elapsed() < Duration::from_secs(4), "an error takes {:?}", asked.elapsed());
        let so_far = refused.load(SeqCst);
        eventually("writers are refused", async || refused.load(SeqCst) > so_far).await;
        tokio::task::spawn_blocking({
            let server = server.clone();
            move || server.resume()
        })
        .await
        .unwrap();
        let before = done.load(SeqCst);
        eventually("writers go on", async || done.load(SeqCst) > before).await;
    }
    stop.store(true, SeqCst);
    let (mut count, mut acknowledged) = (0, Vec::new());
    for writer in writers {
        acknowledged.extend(writer.await.unwrap());
    }
    // Nobody does that for a replica that runs on.
    eventually("what failed is given back", async || {
        let meta = &grids[0].meta;
        meta.inflight_stripes().await.unwrap().is_empty() && meta.pinned_stripes().await.unwrap().is_empty()
    })
    .await;
    for key in acknowledged {
        let found = grids[count % 2].meta.object_with_manifest("b".into(), key.clone(), None).await;
        let (_, manifest) = found.unwrap_or_else(|error| panic!("{key}: {error}"));
        for record in manifest.stripes() {
            assert!(grids[0].meta.stripe(record.id()).await.unwrap().is_some(), "{key}");
        }
        count += 1;
    }
    assert!(count >= 24, "{count} objects");
    let recount = grids[1].meta.recount_usage().await.unwrap();
    assert!(recount.wrong.is_empty(), "{recount:?}");
    assert!(grids[1].meta.recount_occupied().await.unwrap());
    // The ledger has no gaps, whoever wrote and whatever was lost.
    let ledger = grids[1].meta.ledger_page(0, u16::MAX).await.unwrap();
    assert!(ledger.iter().zip(1..).all(|(entry, number)| entry.sequence == number));
}

fn place(database: &Database, directory: &tempfile::TempDir) -> MetadataPlace {
    MetadataPlace::Postgres {
        database: database.address.parse().unwrap(),
        file: directory.path().join("gateway.redb"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_are_never_taken_for_others() {
    let (database, directory) = (Postgres::database(), tempfile::tempdir().unwrap());
    let file = MetadataPlace::File(directory.path().join("gateway.redb"));
    let shared = place(&database, &directory);
    let meta = shared.open(Role::Replica).unwrap();
    meta.claim([1; 32]).await.unwrap();
    // The setting was lost: no new file is begun.
    let refused = file.open(Role::Replica).err().unwrap();
    assert!(matches!(&refused, OpenError::Elsewhere { .. }), "{refused}");
    assert!(refused.to_string().contains("metadata.postgres"), "{refused}");
    // Another gateway.
    let second = shared.open(Role::Replica).unwrap();
    second.claim([1; 32]).await.unwrap();
    let refused = second.claim([2; 32]).await.unwrap_err();
    assert!(matches!(refused, ClaimError::Foreign(owner) if owner == [1; 32]), "{refused}");
    // Commands that take that no gateway is running.
    let refused = shared.open(Role::Alone).err().unwrap();
    assert!(refused.is_taken(), "{refused}");
    drop((meta, second));
    eventually("they are stopped", async || shared.open(Role::Alone).is_ok()).await;
    // Another layout.
    let rows = format!("{}.arion_rows", database.schema);
    let set = format!(
        "UPDATE {rows} SET value = '\\x63000000' WHERE tab = 'settings' AND key = '\\x736368656d610000'"
    );
    assert_eq!(database.server.query(&set), "UPDATE 1");
    eventually("the layout is refused", async || {
        matches!(shared.open(Role::Alone), Err(OpenError::Schema { found: 99, .. }))
    })
    .await;
    // A data directory that has metadata of its own.
    let other = tempfile::tempdir().unwrap();
    drop(arion_gateway::meta::Meta::open(&other.path().join("gateway.redb")).unwrap());
    let refused = place(&database, &other).open(Role::Replica).err().unwrap();
    assert!(matches!(refused, OpenError::Embedded { .. }), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn recovered_metadata_go_to_the_server_whole() {
    let (database, network) = (Postgres::database(), Network::new());
    let directory = tempfile::tempdir().unwrap();
    let grid = network.grid(directory.path());
    bucket(&grid).await;
    for number in 0..20 {
        put(&grid, format!("{number}")).await.unwrap();
    }
    // Receipts behind the quorum still come.
    eventually("all shards are confirmed", async || grid.meta.backlog().await.unwrap() == (0, 0)).await;
    let meta = connect(&database).unwrap();
    assert!(meta.is_empty().await.unwrap());
    grid.meta.copy_to(&meta).await.unwrap();
    assert!(!meta.is_empty().await.unwrap());
    assert_eq!(meta.usage().unwrap(), grid.meta.usage().unwrap());
    assert!(meta.recount_usage().await.unwrap().wrong.is_empty());
    // What was copied is counted once it is opened again.
    drop(meta);
    let meta = connect(&database).unwrap();
    assert!(meta.recount_occupied().await.unwrap());
    assert_eq!(meta.occupied().await.unwrap(), grid.meta.occupied().await.unwrap());
    let ledger = async |meta: &arion_gateway::meta::Meta| meta.ledger_page(0, 10_000).await.unwrap();
    assert!(ledger(&meta).await == ledger(&grid.meta).await, "the ledgers differ");
    for number in 0..20 {
        let found = |meta: &arion_gateway::meta::Meta| {
            let meta = meta.clone();
            async move { meta.object_with_manifest("b".into(), format!("{number}"), None).await.unwrap() }
        };
        assert_eq!(found(&meta).await, found(&grid.meta).await);
    }
}
