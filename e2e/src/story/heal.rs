//! A family of miners is lost for good: its disks are wiped, it leaves the map, and validator services bring every shard of every
//! stripe to the miner that the next map names, while objects are read and one of the three services is killed. Then another miner is silent for long and comes back, and one is
//! emptied: what no map names any more is deleted, and no stripe is without any of its shards meanwhile.
//!
//! Two miners at once, because a group takes two positions of a family: one that has fewer miners leaves positions empty
//! (docs/spec/placement.md), which nobody can fill.

mod drain;
mod services;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use arion_chain::{ChainClient, EpochMap};
use arion_net::QuicTransport;
use arion_types::NodeId;
use ed25519_dalek::SigningKey;
use serde_json::Value;

use crate::{
    census::{self, Census, Stripe},
    layout,
    network::{Network, Options},
    progress::Progress,
    report::Report,
    story::{begin, client, end, within},
};

/// The longest the story may take; then it has failed.
const DEADLINE: Duration = Duration::from_secs(30 * 60);
/// How long validator services and the chain may take to agree on the next map.
const MAP_DEADLINE: Duration = Duration::from_secs(180);
const REPAIR_DEADLINE: Duration = Duration::from_secs(300);
const DELETION_DEADLINE: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_secs(1);
/// 18 families of two: one can go, and 17 are enough for the 15 that a stripe takes.
const MINERS: u16 = 36;
/// How long a miner may be silent; long enough for one that is only busy.
const OUT_AFTER: &str = "45s";
/// Validator services, each beside a chain node: when one is killed the others have two thirds of the votes.
const SERVICES: u16 = 3;
/// What each of them reads and writes in a second: so little that repair is seen at work.
const REPAIR_RATE: &str = "2MiB";
/// How long a map is in force before copies elsewhere are given up: a miner that comes back sooner is to find what it had.
const SURPLUS_AFTER: &str = "45s";
const SURPLUS_DEADLINE: Duration = Duration::from_secs(240);
const DRAIN_DEADLINE: Duration = Duration::from_secs(420);
const BUCKET: &str = "heal";
/// Bytes of the objects: some stripes and a part of one, one shared with others, several stripes of their own.
const SIZES: [(&str, usize); 4] =
    [("large", 45 << 20), ("small", 50_000), ("middle", 3 << 20), ("deleted-later", 12 << 20)];
const DELETED: &str = "deleted-later";

/// How the story is told.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Number of the family that is lost, from 1 to 18 [default: a random one].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(MINERS / 2)))]
    family: Option<u16>,
    /// First of the 300 ports that the network of the story uses.
    #[arg(long, value_name = "P", default_value_t = 26_000)]
    base_port: u16,
}

struct Stage {
    network: Network,
    report: Report,
    progress: Progress,
    /// A validator service that is down, and what any that was killed had read and written.
    service_down: Option<u16>,
    counted: BTreeMap<&'static str, u64>,
}

struct Object {
    key: &'static str,
    blake3: Value,
    stripes: Vec<Stripe>,
    shard_bytes: BTreeMap<arion_types::ShardHash, u64>,
}

/// Tells the story. The exit code says whether every check held.
pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let progress = Progress::start();
    let options = Options { miners: MINERS, validators: SERVICES };
    let (mut network, lock) = begin("heal", arguments.base_port, options)?;
    network.repair_at_once();
    network.repair_at_rate(REPAIR_RATE.to_owned());
    network.leave_out_after(OUT_AFTER.to_owned());
    network.give_up_surplus_after(SURPLUS_AFTER.to_owned());
    let report = Report::new("heal");
    let mut stage = Stage { network, report, progress, service_down: None, counted: BTreeMap::new() };
    let family = arguments.family.unwrap_or_else(|| rand::random_range(1..=MINERS / 2));
    let told = within(DEADLINE, tell(&mut stage, family - 1)).await;
    let Stage { report, progress, network, .. } = stage;
    Ok(end(network, &lock, report, &progress, told).await)
}

async fn tell(stage: &mut Stage, family: u16) -> anyhow::Result<()> {
    stage.report.step(1, &format!("the network forms, with {MINERS} miners in {} families", MINERS / 2));
    let first = stage.network.form(&stage.progress).await?.map;
    let chain = stage.network.chain().await?;

    stage.report.step(2, "objects go in; every shard is where the map says");
    client::s3(stage.network.s3()?, &["make-bucket", BUCKET]).await?;
    let mut objects = Vec::new();
    for (key, bytes) in SIZES {
        objects.push(put(stage, key, bytes).await?);
    }
    let begun = Instant::now();
    let whole = until_whole(&first, &objects, REPAIR_DEADLINE).await?;
    show(stage, &whole, "before the loss");
    stage.report.check("every shard is on the miner that the map names", is_whole(&whole));
    stage.report.observed(format!("seen after {:.0} s", begun.elapsed().as_secs_f64()));

    let mut before = Vec::new();
    for service in 0..SERVICES {
        before.push(services::counter(stage, service, "written").await?);
    }
    let lost = lose(stage, &chain, family).await?;
    let second = until_map(stage, &chain, "without them", |map| !names_any(map, &lost)).await?;
    heal(stage, &first, &second, &lost, &objects, &before).await?;
    delete(stage, &chain, &second, &mut objects).await?;
    if let Some(service) = stage.service_down.take() {
        stage.network.start_healthy(&[Network::validator_name(service)]).await?;
        stage.report.observed(format!("{} is started again", Network::validator_name(service)));
    }
    fall_silent(stage, &chain, (family + 1) % (MINERS / 2), &objects).await?;
    drain::tell(stage, &chain, (family + 2) % (MINERS / 2), &objects).await
}

fn names_any(map: &EpochMap, miners: &[NodeId]) -> bool {
    miners.iter().any(|node| map.miner_by_node(node).is_some())
}

async fn put(stage: &mut Stage, key: &'static str, bytes: usize) -> anyhow::Result<Object> {
    let directory = stage.network.layout().of("files");
    layout::make(&directory)?;
    let file: PathBuf = directory.join(key);
    let mut body = vec![0; bytes];
    blake3::Hasher::new().update(key.as_bytes()).finalize_xof().fill(&mut body);
    std::fs::write(&file, &body)?;
    let access = stage.network.s3()?;
    let stored = client::s3(access, &["put", &file.to_string_lossy(), BUCKET, key]).await?;
    std::fs::remove_file(&file)?;
    stage.report.check(format!("{key} is stored"), stored["blake3"].is_string());
    let located = client::s3(access, &["locate", BUCKET, key]).await?;
    let stripes = census::read_stripes(&located)?;
    let mut shard_bytes = BTreeMap::new();
    for (stripe, said) in stripes.iter().zip(located["stripes"].as_array().into_iter().flatten()) {
        let size = said["shard_len"].as_u64().context("a stripe has no shard_len")?;
        shard_bytes.extend(stripe.shards.iter().map(|shard| (*shard, size)));
    }
    Ok(Object { key, blake3: stored["blake3"].clone(), stripes, shard_bytes })
}

/// Step 3: kills the miners of a family, wipes their disks and takes them off the chain.
async fn lose(stage: &mut Stage, chain: &ChainClient, family: u16) -> anyhow::Result<Vec<NodeId>> {
    let name = Network::family_name(family);
    stage.report.step(3, &format!("{name} is lost: kill -9, disks wiped, off the chain"));
    let mut lost = Vec::new();
    for index in [2 * family, 2 * family + 1] {
        let miner = Network::miner_name(index);
        stage.network.kill(&miner)?;
        let wiped = stage.network.empty_store(&miner)?;
        stage.report.observed(format!("{miner}: killed, {wiped}"));
        stage.network.deregister_miner(chain, index).await?;
        lost.push(stage.network.node_id(&miner)?);
    }
    Ok(lost)
}

async fn until_map(
    stage: &mut Stage,
    chain: &ChainClient,
    what: &str,
    is_right: impl Fn(&EpochMap) -> bool,
) -> anyhow::Result<EpochMap> {
    let begun = Instant::now();
    loop {
        let map = chain.current_map().await?.context("there is no map any more")?;
        if is_right(&map) {
            let seconds = begun.elapsed().as_secs_f64();
            stage.report.observed(format!("epoch {} {what} is published after {seconds:.0} s", map.epoch));
            return Ok(map);
        }
        if begun.elapsed() > MAP_DEADLINE {
            bail!("no map {what} after {} s: look with `logs validator-1`", MAP_DEADLINE.as_secs());
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Step 4: the census by the new map, and what it took.
async fn heal(
    stage: &mut Stage,
    first: &EpochMap,
    second: &EpochMap,
    lost: &[NodeId],
    objects: &[Object],
    before: &[u64],
) -> anyhow::Result<()> {
    stage.report.step(4, "every shard of every stripe is brought to the miner that the new map names");
    let begun = Instant::now();
    services::lose_one(stage, second, objects, before).await?;
    read_all(stage, objects, "during the repair").await?;
    let census = until_whole(second, objects, REPAIR_DEADLINE).await?;
    show(stage, &census, "after the repair");
    stage.report.observed(format!("full redundancy {:.0} s after the map", begun.elapsed().as_secs_f64()));
    stage.report.check("every shard is on the miner that the new map names", is_whole(&census));
    read_all(stage, objects, "after the repair").await?;

    let bytes_lost = bytes_of(first, lost, objects)?;
    let (read, written) = (services::moved(stage, "read").await?, services::moved(stage, "written").await?);
    let ratio = |bytes: u64| bytes as f64 / bytes_lost.max(1) as f64;
    stage.report.observed(format!(
        "bytes lost {bytes_lost}; fetched by repair {read} ({:.2} of the lost), stored {written} ({:.2}: what CRUSH moved besides \
         is in it)",
        ratio(read),
        ratio(written)
    ));
    stage.report.check("at least what was lost was stored again", written >= bytes_lost);
    Ok(())
}

/// Step 5: the deletion of an object reaches the shards that repair has brought elsewhere.
async fn delete(
    stage: &mut Stage,
    chain: &ChainClient,
    map: &EpochMap,
    objects: &mut Vec<Object>,
) -> anyhow::Result<()> {
    stage.report.step(5, "an object is deleted: no miner has a shard of it any more");
    let at = objects.iter().position(|object| object.key == DELETED).context("the object is not there")?;
    let deleted = vec![objects.remove(at)];
    client::s3(stage.network.s3()?, &["delete", BUCKET, DELETED]).await?;
    let begun = Instant::now();
    let left = loop {
        let census = take(map, &deleted).await?;
        let left = census.in_place + census.elsewhere.len();
        if left == 0 || begun.elapsed() > DELETION_DEADLINE {
            break left;
        }
        tokio::time::sleep(POLL).await;
    };
    stage.report.observed(format!("{left} shards left after {:.0} s", begun.elapsed().as_secs_f64()));
    stage.report.check("all its shards are deleted, wherever they were brought", left == 0);
    let current = chain.current_map().await?.context("there is no map any more")?;
    stage.report.check("what is left is still in place", is_whole(&take(&current, objects).await?));
    read_all(stage, objects, "in the end").await
}

/// Steps 6 and 7: one miner is silent for so long that the map goes on without it, and comes back.
async fn fall_silent(
    stage: &mut Stage,
    chain: &ChainClient,
    family: u16,
    objects: &[Object],
) -> anyhow::Result<()> {
    let miners = [2 * family, 2 * family + 1].map(Network::miner_name);
    stage.report.step(6, &format!("{} is killed and stays silent for {OUT_AFTER}", miners[0]));
    let silent = stage.network.node_id(&miners[0])?;
    stage.network.kill(&miners[0])?;
    let without = until_map(stage, chain, "without it", |map| !names_any(map, &[silent])).await?;
    let begun = Instant::now();
    let census = until_whole(&without, objects, REPAIR_DEADLINE).await?;
    show(stage, &census, "without it");
    stage.report.observed(format!("full redundancy {:.0} s after the map", begun.elapsed().as_secs_f64()));
    stage.report.check("every shard is on the miner that the map without it names", is_whole(&census));

    stage.report.step(7, &format!("{} comes back with what it had", miners[0]));
    let before = services::moved(stage, "written").await?;
    stage.network.start_healthy(&miners[..1]).await?;
    let family: Vec<NodeId> =
        miners.iter().map(|name| stage.network.node_id(name)).collect::<anyhow::Result<_>>()?;
    let all = |map: &EpochMap| family.iter().all(|node| map.miner_by_node(node).is_some());
    let with = until_map(stage, chain, "with it", all).await?;
    let begun = Instant::now();
    let census = until_whole(&with, objects, REPAIR_DEADLINE).await?;
    show(stage, &census, "with it");
    stage.report.observed(format!("full redundancy {:.0} s after the map", begun.elapsed().as_secs_f64()));
    stage.report.check("every shard is on the miner that the map with it names", is_whole(&census));
    let (theirs, stored) =
        (bytes_of(&with, &family, objects)?, services::moved(stage, "written").await? - before);
    stage.report.observed(format!("the family is to have {theirs} bytes; {stored} were stored by repair"));
    let begun = Instant::now();
    let census = until_no_surplus(&with, objects).await?;
    show(stage, &census, &format!("{:.0} s later", begun.elapsed().as_secs_f64()));
    stage.report.check("no miner has a copy that the map does not name", census.elsewhere.is_empty());
    stage.report.check("and every shard is in place still", is_whole(&census));
    read_all(stage, objects, "with it").await
}

/// Waits until the copies that a map does not name are gone.
async fn until_no_surplus(map: &EpochMap, objects: &[Object]) -> anyhow::Result<Census> {
    let begun = Instant::now();
    loop {
        let census = take(map, objects).await?;
        if census.elsewhere.is_empty() && is_whole(&census) || begun.elapsed() > SURPLUS_DEADLINE {
            return Ok(census);
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn read_all(stage: &mut Stage, objects: &[Object], when: &str) -> anyhow::Result<()> {
    let back = stage.network.layout().of("files").join("back");
    for object in objects {
        let access = stage.network.s3()?;
        let got = client::s3(access, &["get", BUCKET, object.key, &back.to_string_lossy()]).await?;
        stage.report.check(format!("{} is read {when}, equal", object.key), got["blake3"] == object.blake3);
    }
    Ok(())
}

fn is_whole(census: &Census) -> bool {
    census.expected > 0
        && census.in_place == census.expected
        && census.missing.is_empty()
        && census.silent.is_empty()
}

fn show(stage: &Stage, census: &Census, when: &str) {
    stage.report.observed(format!(
        "{when}: {} stripes, {} of {} shards in place, {} copies elsewhere besides; {} miners asked",
        census.stripes,
        census.in_place,
        census.expected,
        census.elsewhere.len(),
        census.asked
    ));
    for problem in census.missing.iter().chain(&census.silent).take(6) {
        stage.report.observed(problem);
    }
}

/// Where the shards of objects are, against where this map wants them, whatever map they were written by.
async fn take(map: &EpochMap, objects: &[Object]) -> anyhow::Result<Census> {
    let stripes = objects.iter().flat_map(|object| &object.stripes);
    let stripes: Vec<Stripe> = stripes.map(|stripe| Stripe { epoch: map.epoch, ..stripe.clone() }).collect();
    let transport = Arc::new(QuicTransport::new(&SigningKey::from_bytes(&rand::random()))?);
    census::take(&BTreeMap::from([(map.epoch, map.clone())]), transport, &stripes).await
}

async fn until_whole(map: &EpochMap, objects: &[Object], deadline: Duration) -> anyhow::Result<Census> {
    let begun = Instant::now();
    loop {
        let census = take(map, objects).await?;
        if is_whole(&census) || begun.elapsed() > deadline {
            return Ok(census);
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Bytes of the shards that a map gives to these miners.
fn bytes_of(map: &EpochMap, miners: &[NodeId], objects: &[Object]) -> anyhow::Result<u64> {
    let maps = BTreeMap::from([(map.epoch, map.clone())]);
    let mut bytes = 0;
    for object in objects {
        for stripe in &object.stripes {
            let stripe = Stripe { epoch: map.epoch, ..stripe.clone() };
            for (shard, miner) in stripe.holders(&maps)? {
                if miner.is_some_and(|miner| miners.contains(&NodeId(miner.node_id))) {
                    bytes += object.shard_bytes.get(&shard).copied().unwrap_or(0);
                }
            }
        }
    }
    Ok(bytes)
}
