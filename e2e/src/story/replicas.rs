//! Two replicas of a gateway on one PostgreSQL, asked in turns by a load that remembers what was acknowledged (`e2e/s3/load.py`). Each
//! is killed, the one that leads is stopped for long, and the database crashes. In the end everything is read at both, deleted,
//! and no shard is left that nobody refers to.

use std::{
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use arion_stranger::Postgres;
use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::time::sleep;

use crate::{
    http,
    network::{Network, Options, local},
    process::ProcessId,
    progress::Progress,
    report::Report,
    story::{begin, client, end, load::Load, picture::Picture, within},
};

/// The longest the story may take; then it has failed.
const DEADLINE: Duration = Duration::from_secs(30 * 60);
/// As few as can be placed on.
const MINERS: u16 = 30;
const REPLICAS: u16 = 2;
const BUCKET: &str = "replicas";
/// What makes a server lose nothing that it acknowledged when it crashes.
const DURABLE: [&str; 3] = ["fsync=on", "synchronous_commit=on", "full_page_writes=on"];
/// The load alone, between faults.
const CALM: Duration = Duration::from_secs(10);
/// How long a replica is dead.
const DEAD: Duration = Duration::from_secs(12);
/// How long one is stopped: longer than its locks and its change in the middle are waited for.
const STOPPED: Duration = Duration::from_secs(30);
/// How long the database is away.
const AWAY: Duration = Duration::from_secs(5);
/// How long it may take until another replica leads: twice what docs/operate/gateway.md says, on a machine that is busy.
const LEADS: Duration = Duration::from_secs(15);
/// How long a replica may take to be healthy.
const HEALTHY: Duration = Duration::from_secs(90);
/// How long everybody's shards may take to go.
const GONE: Duration = Duration::from_secs(300);
/// Metrics that say the same at each replica.
const QUEUES: [&str; 3] = ["shards_missing", "deletes_queued", "releases_queued"];
const TICK: Duration = Duration::from_millis(200);

/// How the story is told.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Seed of the load [default: another one each time].
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// First of the 300 ports that the network of the story uses.
    #[arg(long, value_name = "P", default_value_t = 24_600)]
    base_port: u16,
}

struct Stage {
    network: Network,
    database: Arc<Postgres>,
    report: Report,
    progress: Progress,
}

/// A load, and what came of it.
struct Running {
    load: Load,
    picture: Picture,
    began: Instant,
}

/// Tells the story. The exit code says whether every check held.
pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let progress = Progress::start();
    let (mut network, lock) =
        begin("replicas", arguments.base_port, Options { miners: MINERS, validators: 1 })?;
    let database = tokio::task::spawn_blocking(|| Postgres::start_with(&DURABLE)).await?;
    network.replicate_gateway(REPLICAS, database.schema().address);
    network.put_ledger_into_no_bucket();
    let mut stage = Stage { network, database, report: Report::new("replicas"), progress };
    let seed = arguments.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let told = within(DEADLINE, tell(&mut stage, seed)).await;
    let Stage { report, progress, network, database } = stage;
    let code = end(network, &lock, report, &progress, told).await;
    drop(database);
    Ok(code)
}

async fn tell(stage: &mut Stage, seed: u64) -> anyhow::Result<()> {
    stage.report.step(1, &format!("the network forms, with {REPLICAS} replicas on one PostgreSQL"));
    stage.network.form(&stage.progress).await?;
    let leader = leader(stage, &[0, 1], HEALTHY).await?;
    stage.report.check(format!("one of them leads: {}", Network::gateway_name(leader)), true);

    stage.report.step(2, "clients ask both in turns, and the one that leads is killed");
    let further = [stage.network.s3_at(1)?];
    let load = Load::start(stage.network.s3()?, &further, seed, BUCKET).await?;
    stage.report.observed(format!("seed {seed}"));
    let mut running = Running { load, picture: Picture::new(seed), began: Instant::now() };
    pass(stage, &mut running, CALM).await?;
    killed(stage, &mut running, leader, "leader killed").await?;

    let follower = 1 - self::leader(stage, &[0, 1], LEADS).await?;
    stage.report.step(3, "the one that does not lead is killed");
    killed(stage, &mut running, follower, "other killed").await?;

    stage.report.step(4, &format!("the one that leads is stopped for {} s, and goes on", STOPPED.as_secs()));
    stopped(stage, &mut running).await?;

    stage.report.step(5, &format!("the database crashes, and is back after {} s", AWAY.as_secs()));
    crashed(stage, &mut running).await?;

    stage.report.step(6, "everything that was acknowledged is read at both, and listed");
    let Running { mut load, mut picture, .. } = running;
    load.stop(&mut stage.report, &mut picture).await?;
    let verdict = load.verify(&mut stage.report, &mut picture).await?;
    stage.report.observed(format!("availability by fault:\n{}", picture.table()));
    stage
        .report
        .check(format!("{} changes were acknowledged", verdict.acknowledged), verdict.acknowledged > 0);
    stage.report.check("nothing was lost", verdict.lost == 0);
    stage.report.check("nothing is corrupt", verdict.corrupt == 0);
    stage.report.check("nothing is wrong", verdict.wrong == 0);

    stage.report.step(7, "everything is deleted, and nothing stays behind");
    gone(stage, verdict.keys.len()).await
}

/// Kills a replica while the other is asked.
async fn killed(
    stage: &mut Stage,
    running: &mut Running,
    replica: u16,
    fault: &'static str,
) -> anyhow::Result<()> {
    let (name, other) = (Network::gateway_name(replica), 1 - replica);
    let (from, before) = (running.began.elapsed(), failures(running, other));
    stage.network.kill(&name)?;
    let killed = Instant::now();
    self::leader(stage, &[other], LEADS).await?;
    let took = killed.elapsed();
    stage.report.check(
        format!("{} leads, {:.1} s later", Network::gateway_name(other), took.as_secs_f64()),
        took < LEADS,
    );
    pass(stage, running, DEAD.saturating_sub(took)).await?;
    let failed = failures(running, other) - before;
    stage.network.start_healthy(std::slice::from_ref(&name)).await?;
    running.picture.fault(fault, from.as_secs_f64(), running.began.elapsed().as_secs_f64());
    stage.report.check(format!("{name} is back"), true);
    stage.report.check(
        format!("meanwhile {failed} requests to {} failed", Network::gateway_name(other)),
        failed == 0,
    );
    pass(stage, running, CALM).await
}

/// A replica that is stopped keeps its connections and its locks.
async fn stopped(stage: &mut Stage, running: &mut Running) -> anyhow::Result<()> {
    let replica = leader(stage, &[0, 1], LEADS).await?;
    let (name, other) = (Network::gateway_name(replica), 1 - replica);
    let from = running.began.elapsed();
    let process = process_of(stage, &name)?;
    process.signal(Signal::SIGSTOP);
    let at = Instant::now();
    // Until its locks are ended by the other one.
    let followed = leader(stage, &[other], STOPPED).await;
    let took = at.elapsed().as_secs_f64();
    if followed.is_ok() {
        pass(stage, running, STOPPED.saturating_sub(at.elapsed())).await?;
    }
    process.signal(Signal::SIGCONT);
    followed?;
    stage.report.check(format!("{} leads, {took:.1} s later", Network::gateway_name(other)), true);
    stage.network.supervisor().wait_healthy(&name, HEALTHY).await?;
    running.picture.fault("leader stopped", from.as_secs_f64(), running.began.elapsed().as_secs_f64());
    pass(stage, running, CALM).await?;
    let leads = leader(stage, &[0, 1], LEADS).await?;
    stage.report.check(format!("{name} goes on, and does not lead"), leads == other);
    Ok(())
}

/// The server ends as in a crash; what it acknowledged is on its disk.
async fn crashed(stage: &mut Stage, running: &mut Running) -> anyhow::Result<()> {
    let from = running.began.elapsed();
    let database = stage.database.clone();
    tokio::task::spawn_blocking(move || database.crash()).await?;
    pass(stage, running, AWAY).await?;
    let database = stage.database.clone();
    tokio::task::spawn_blocking(move || database.resume()).await?;
    let back = Instant::now();
    for name in stage.network.gateways() {
        stage.network.supervisor().wait_healthy(&name, HEALTHY).await?;
    }
    let leads = leader(stage, &[0, 1], HEALTHY).await?;
    running.picture.fault("database crashed", from.as_secs_f64(), running.began.elapsed().as_secs_f64());
    stage.report.check(
        format!(
            "both are healthy and {} leads, {:.1} s after it is back",
            Network::gateway_name(leads),
            back.elapsed().as_secs_f64()
        ),
        true,
    );
    pass(stage, running, CALM).await
}

/// Deletes everything; then no miner has anything.
async fn gone(stage: &mut Stage, keys: usize) -> anyhow::Result<()> {
    let deleted = client::s3(&stage.network.s3_at(1)?, &["empty", BUCKET]).await?;
    let listed = client::s3(stage.network.s3()?, &["list", BUCKET]).await?;
    stage.report.check(
        format!(
            "{} objects deleted at one, {keys} of them sure to be there; none is listed at the other",
            deleted["deleted"]
        ),
        deleted["deleted"].as_u64() >= Some(keys as u64)
            && listed["keys"].as_array().is_some_and(Vec::is_empty),
    );
    let began = Instant::now();
    loop {
        let mut left = 0;
        for miner in 0..MINERS {
            left +=
                http::metric(&local(stage.network.ports().miner_http(miner)), "arion_miner_shards").await?;
        }
        if left == 0 {
            break;
        }
        if began.elapsed() > GONE {
            bail!("miners still have {left} shards after {} s", GONE.as_secs());
        }
        sleep(TICK).await;
    }
    stage.report.check(format!("no miner has a shard any more, {} s later", began.elapsed().as_secs()), true);
    for (index, name) in (0u16..).zip(stage.network.gateways()) {
        let address = local(stage.network.ports().gateway_http_of(index));
        for queue in QUEUES {
            while http::metric(&address, &format!("arion_gateway_{queue}")).await? > 0 {
                if began.elapsed() > GONE {
                    bail!("{queue} of {name} is not 0 after {} s", GONE.as_secs());
                }
                sleep(TICK).await;
            }
        }
        stage.report.check(format!("nothing waits, says {name}"), true);
    }
    Ok(())
}

/// Lets the load go on for a while. A replica that ends by itself fails the story.
async fn pass(stage: &mut Stage, running: &mut Running, time: Duration) -> anyhow::Result<()> {
    let until = Instant::now() + time;
    loop {
        running.load.read(&mut stage.report, &mut running.picture)?;
        if let Some((name, how)) = stage.network.ended()?.first() {
            bail!("{name} ended by itself: {how}");
        }
        if Instant::now() >= until {
            return Ok(());
        }
        sleep(TICK).await;
    }
}

fn failures(running: &Running, replica: u16) -> u64 {
    running.load.failed_at().get(usize::from(replica)).copied().unwrap_or_default()
}

fn process_of(stage: &mut Stage, name: &str) -> anyhow::Result<ProcessId> {
    let running = stage.network.supervisor().running();
    let found = running.into_iter().find(|(running, _)| running == name);
    Ok(found.with_context(|| format!("{name} does not run"))?.1)
}

/// Waits until exactly one of these says that it leads; which one.
async fn leader(stage: &Stage, replicas: &[u16], deadline: Duration) -> anyhow::Result<u16> {
    let began = Instant::now();
    loop {
        let mut leaders = Vec::new();
        for replica in replicas {
            if leads(stage, *replica).await {
                leaders.push(*replica);
            }
        }
        if let [leader] = leaders[..] {
            return Ok(leader);
        }
        if began.elapsed() > deadline {
            bail!(
                "{} of {} gateways say that they lead after {} s",
                leaders.len(),
                replicas.len(),
                deadline.as_secs()
            );
        }
        sleep(TICK).await;
    }
}

/// Whether a replica says that it leads; one that does not answer does not.
async fn leads(stage: &Stage, replica: u16) -> bool {
    let page = http::get(&local(stage.network.ports().gateway_http_of(replica)), "/health").await;
    page.ok()
        .and_then(|page| serde_json::from_str::<Value>(&page.body).ok())
        .is_some_and(|page| page["details"]["leads"] == true)
}
