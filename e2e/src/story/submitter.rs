//! The chain-submitter against a real node: whatever happens between them, every attestation is on the chain once, or is refused
//! with the reason.
//!
//! Wardens run nowhere: the story signs with their keys. Pruned buckets are not told, as a chain prunes after 100,000 blocks; they are
//! in the tests of the pallet and of the flow.

mod attesting;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::bail;
use arion_chain::{Account, Call, ChainClient, Wait};
use arion_types::{AttestationRecord, units::HIPP};
use nix::sys::signal::Signal;
use tokio::time::sleep;

use crate::{
    network::{Network, Options},
    progress::Progress,
    report::Report,
    story::{begin, end, within},
};
use attesting::Attesting;

/// The longest the story may take; then it has failed.
const DEADLINE: Duration = Duration::from_secs(20 * 60);
/// Batches and their finality, on a busy machine; where the fate of a batch is not known, 80 blocks.
const SETTLED_DEADLINE: Duration = Duration::from_secs(480);
const POLL: Duration = Duration::from_secs(1);
/// How long the chain stands still: many blocks.
const STALL: Duration = Duration::from_secs(30);
const FUNDS: u128 = 1_000 * HIPP;
/// What a bucket takes (`Arion.MaxAttestations`).
const BUCKET_MAX: usize = 1_000;
/// More than that, by so many.
const BEYOND: usize = 40;

/// Where the nodes run.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// First of the 300 ports that the network of the story uses.
    #[arg(long, value_name = "P", default_value_t = 25_600)]
    base_port: u16,
}

struct Stage {
    network: Network,
    report: Report,
    progress: Progress,
}

/// Tells the story. The exit code says whether every check held.
pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let progress = Progress::start();
    let (network, lock) = begin("submitter", arguments.base_port, Options { miners: 0, validators: 1 })?;
    let mut stage = Stage { network, report: Report::new("submitter"), progress };
    let told = within(DEADLINE, tell(&mut stage)).await;
    let Stage { report, progress, network, .. } = stage;
    Ok(end(network, &lock, report, &progress, told).await)
}

async fn tell(stage: &mut Stage) -> anyhow::Result<()> {
    stage.report.step(
        1,
        "a chain, two wardens that are registered, two submitters that are admitted and have no funds",
    );
    stage.network.start_chain(&stage.progress).await?;
    let chain = stage.network.chain().await?;
    stage.network.admit_submitters(&chain, 2).await?;
    stage.network.start_submitter(0).await?;
    let mut attesting = Attesting::new(chain.clone());

    without_funds(stage, &chain, &mut attesting).await?;
    node_killed(stage, &mut attesting).await?;
    chain_stalled(stage, &mut attesting).await?;
    two_submitters(stage, &chain, &mut attesting).await?;
    full_bucket(stage, &chain, &mut attesting).await
}

/// Nothing can be paid for; meanwhile one of the wardens is deregistered.
async fn without_funds(
    stage: &mut Stage,
    chain: &ChainClient,
    attesting: &mut Attesting,
) -> anyhow::Result<()> {
    stage.report.step(2, "the submitter has no funds; a warden is deregistered; the submitter gets funds");
    let block = u64::from(chain.finalized().await?.number);
    let kept = attesting.hand_over(stage, 0, 0, block, 5).await?;
    let lost = attesting.hand_over(stage, 0, 1, block, 3).await?;
    until(stage, "the submitter says that a batch failed", async |stage| {
        Ok(metric(stage, 0, "failures_total").await? > 0)
    })
    .await?;
    let said = health(stage, 0).await?;
    stage.report.check(format!("/health says why: {said}"), said.contains("submission"));
    stage.report.check("nothing is on the chain", on_chain(chain, &[&kept, &lost]).await? == (0, 0));
    let governance = Account::from_secret(Network::validator_account(0))?;
    let warden = stage.network.node_id(&Network::warden_name(1))?;
    let deregister = Call::sudo(Call::deregister_warden(&warden));
    chain.submit(&governance, &deregister, Wait::Finalized).await?;
    fund(stage, chain, 0).await?;
    settled(stage, 0).await?;
    once(stage, chain, &[&kept]).await?;
    stage
        .report
        .check("nothing of the warden that is none any more", on_chain(chain, &[&lost]).await? == (0, 0));
    let rejected = metric(stage, 0, "attestations_rejected_total").await?;
    let named = stage.network.lines_of("submitter", "UnregisteredWarden")?;
    stage.report.check(
        format!("{rejected} are counted as refused, and {named} lines of the log name the reason"),
        rejected == lost.len() as u64 && named >= lost.len(),
    );
    Ok(())
}

/// `kill -9` of the node, and of the submitter while there is none.
async fn node_killed(stage: &mut Stage, attesting: &mut Attesting) -> anyhow::Result<()> {
    stage
        .report
        .step(3, "the node is killed while attestations wait, then the submitter, too; both come back");
    let chain = attesting.chain().clone();
    let block = u64::from(chain.finalized().await?.number);
    let before = attesting.hand_over(stage, 0, 0, block, 20).await?;
    let node = Network::node_name(0);
    stage.network.kill(&node)?;
    let meanwhile = attesting.hand_over(stage, 0, 0, block, 20).await?;
    stage.network.kill("submitter")?;
    stage.network.start(&node)?;
    stage.network.start_submitter(0).await?;
    once(stage, &chain, &[&before, &meanwhile]).await?;
    settled(stage, 0).await
}

/// The node answers nobody, and makes no blocks.
async fn chain_stalled(stage: &mut Stage, attesting: &mut Attesting) -> anyhow::Result<()> {
    let seconds = STALL.as_secs();
    stage.report.step(4, &format!("the node is stopped for {seconds} s while attestations come"));
    let chain = attesting.chain().clone();
    let block = u64::from(chain.finalized().await?.number);
    let before = attesting.hand_over(stage, 0, 0, block, 10).await?;
    signal(stage, &Network::node_name(0), Signal::SIGSTOP)?;
    let meanwhile = attesting.hand_over(stage, 0, 0, block, 10).await?;
    let begun = Instant::now();
    while begun.elapsed() < STALL {
        sleep(POLL).await;
    }
    let queued = metric(stage, 0, "attestations_queued").await?;
    stage.report.check(format!("{queued} wait"), queued >= meanwhile.len() as u64);
    signal(stage, &Network::node_name(0), Signal::SIGCONT)?;
    settled(stage, 0).await?;
    once(stage, &chain, &[&before, &meanwhile]).await
}

/// Both get the same.
async fn two_submitters(
    stage: &mut Stage,
    chain: &ChainClient,
    attesting: &mut Attesting,
) -> anyhow::Result<()> {
    stage.report.step(5, "a second submitter gets the same attestations at the same time");
    fund(stage, chain, 1).await?;
    stage.network.start_submitter(1).await?;
    let block = u64::from(chain.finalized().await?.number);
    let records = attesting.sign(stage, 0, block, 60)?;
    attesting.deliver(stage, 0, 0, &records).await?;
    attesting.deliver(stage, 1, 0, &records).await?;
    settled(stage, 0).await?;
    settled(stage, 1).await?;
    once(stage, chain, &[&records]).await?;
    let rejected = metric(stage, 1, "attestations_rejected_total").await?;
    stage.report.check("the second one refused none of them", rejected == 0);
    Ok(())
}

/// More about one bucket than it takes.
async fn full_bucket(
    stage: &mut Stage,
    chain: &ChainClient,
    attesting: &mut Attesting,
) -> anyhow::Result<()> {
    stage.report.step(6, "a bucket gets more than it takes");
    let refused_before = metric(stage, 0, "attestations_rejected_total").await?;
    // Of this bucket, wherever it is: those of before count.
    let head = chain.finalized().await?.number;
    let bucket = head / chain.attestation_bucket_blocks()?;
    let there = chain.attestations(bucket).await?.len();
    let count = BUCKET_MAX - there + BEYOND;
    let records = attesting.sign(stage, 0, u64::from(head), count)?;
    for part in records.chunks(200) {
        attesting.deliver(stage, 0, 0, part).await?;
    }
    settled(stage, 0).await?;
    let stored = chain.attestations(bucket).await?.len();
    stage.report.check(format!("bucket {bucket} has {stored}, and had {there}"), stored == BUCKET_MAX);
    let (found, doubled) = on_chain(chain, &[&records]).await?;
    stage.report.check(
        format!("{found} of {count} are on the chain, {doubled} of them twice"),
        found == count - BEYOND && doubled == 0,
    );
    let rejected = metric(stage, 0, "attestations_rejected_total").await? - refused_before;
    let named = stage.network.lines_of("submitter", "AttestationBucketFull")?;
    stage.report.check(
        format!("{rejected} are counted as refused, and {named} lines of the log name the reason"),
        rejected == BEYOND as u64 && named >= BEYOND,
    );
    Ok(())
}

async fn fund(stage: &mut Stage, chain: &ChainClient, index: u16) -> anyhow::Result<()> {
    let governance = Account::from_secret(Network::validator_account(0))?;
    let account = stage.network.account(&Network::submitter_name(index))?.id();
    chain.submit(&governance, &Call::transfer(&account, FUNDS), Wait::Finalized).await?;
    Ok(())
}

fn signal(stage: &mut Stage, name: &str, signal: Signal) -> anyhow::Result<()> {
    let running = stage.network.supervisor().running();
    match running.into_iter().find(|(found, _)| found == name) {
        Some((_, process)) if process.signal(signal) => Ok(()),
        _ => bail!("{name} does not run"),
    }
}

/// Waits until it holds.
async fn until(
    stage: &mut Stage,
    what: &str,
    mut holds: impl AsyncFnMut(&mut Stage) -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    while !holds(stage).await? {
        if begun.elapsed() > SETTLED_DEADLINE {
            bail!("not within {} s: {what}", SETTLED_DEADLINE.as_secs());
        }
        sleep(POLL).await;
    }
    stage.report.observed(format!("{what}, after {} s", begun.elapsed().as_secs()));
    Ok(())
}

/// Waits until nothing waits any more at a submitter.
async fn settled(stage: &mut Stage, index: u16) -> anyhow::Result<()> {
    let name = Network::submitter_name(index);
    until(stage, &format!("nothing waits at {name}"), async |stage| {
        Ok(metric(stage, index, "attestations_queued").await? == 0)
    })
    .await
}

/// Waits until every one of these is on the finalised chain; none of them is there twice.
async fn once(stage: &mut Stage, chain: &ChainClient, parts: &[&[AttestationRecord]]) -> anyhow::Result<()> {
    let all: usize = parts.iter().map(|part| part.len()).sum();
    until(stage, &format!("{all} attestations are on the chain"), async |_| {
        Ok(on_chain(chain, parts).await?.0 == all)
    })
    .await?;
    let (found, doubled) = on_chain(chain, parts).await?;
    stage.report.check(
        format!("{found} of {all} are on the chain, {doubled} of them twice"),
        found == all && doubled == 0,
    );
    Ok(())
}

/// How many of these are on the finalised chain, and how many more than once.
async fn on_chain(chain: &ChainClient, parts: &[&[AttestationRecord]]) -> anyhow::Result<(usize, usize)> {
    let stored = chain.attestations_by_bucket().await?;
    let count =
        |record: &AttestationRecord| stored.values().flatten().filter(|found| *found == record).count();
    let counts: Vec<usize> = parts.iter().flat_map(|part| part.iter()).map(count).collect();
    let found = counts.iter().filter(|count| **count > 0).count();
    Ok((found, counts.iter().filter(|count| **count > 1).count()))
}

async fn page(stage: &Stage, index: u16, path: &str) -> anyhow::Result<String> {
    let address = crate::network::local(stage.network.ports().submitter_http_of(index));
    Ok(crate::http::get(&address, path).await?.body)
}

async fn health(stage: &Stage, index: u16) -> anyhow::Result<String> {
    page(stage, index, "/health").await
}

/// A number of a submitter.
async fn metric(stage: &Stage, index: u16, name: &str) -> anyhow::Result<u64> {
    let page = page(stage, index, "/metrics").await?;
    let wanted = format!("arion_submitter_{name} ");
    let value = page.lines().find_map(|line| line.strip_prefix(&wanted));
    Ok(value.map_or(0.0, |value| value.trim().parse().unwrap_or(0.0)) as u64)
}
