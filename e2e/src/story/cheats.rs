//! Miners that cheat, each in its way, next to honest ones: when wardens find them, and what that costs them.
//!
//! Everything told is on the finalised chain: attestations, standing strikes and failures, weights, payouts. What cannot be
//! found by audits is told as such (docs/spec/proofs.md).

mod arithmetic;
mod away;
mod chainside;
mod judgement;
mod liar;
mod revenue;
mod verdicts;

use std::{
    collections::BTreeMap,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use arion_chain::{AccountId, ChainClient, EpochMap};
use arion_types::{AttestationResult, NodeId};
use tokio::time::sleep;

use crate::{
    cheat::Strategy,
    layout::make,
    network::{Network, Options},
    progress::Progress,
    report::Report,
    story::{begin, client, end, within},
};
use chainside::{Payouts, Standing};
use verdicts::Trail;

/// The longest the story may take; then it has failed.
const DEADLINE: Duration = Duration::from_secs(45 * 60);
/// As few as can be placed on: every stripe has a shard with each of them.
const MINERS: u16 = 30;
/// Objects of one stripe each: so many shards has each miner.
const OBJECTS: usize = 12;
/// Bytes of an object: shards of some 120 kB, which are 8 chunk groups.
const OBJECT_BYTES: usize = 1_200_000;
const BUCKET: &str = "audited";
/// Weight buckets that are waited for before the cheating begins, and after everybody is caught.
const BUCKETS_BEFORE: u32 = 4;
const BUCKETS_AFTER: u32 = 5;
/// Blocks after the cheats began from which on verdicts are theirs.
const SETTLE_BLOCKS: u32 = 3;
/// The longest wait for the first weights and payouts, for the last cheat to be caught, and for what follows from that.
const WEIGHED_DEADLINE: Duration = Duration::from_secs(900);
const CAUGHT_DEADLINE: Duration = Duration::from_secs(900);
const POLL: Duration = Duration::from_secs(3);

/// Where the nodes run.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// First of the 300 ports that the network of the story uses.
    #[arg(long, value_name = "P", default_value_t = 24_800)]
    base_port: u16,
}

struct Stage {
    network: Network,
    report: Report,
    progress: Progress,
}

/// A miner that cheats.
struct Cheater {
    strategy: Strategy,
    node: NodeId,
    uid: u32,
    child: AccountId,
    family: AccountId,
}

/// What audits are expected to find of a strategy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Expected {
    /// The first verdict other than `Passed`.
    Caught(AttestationResult),
    /// Nothing; why not.
    NotByAudits(&'static str),
}

impl Expected {
    fn of(strategy: Strategy) -> Self {
        use AttestationResult::{Failed, InvalidProof, Timeout};
        match strategy {
            Strategy::Dropped => Self::Caught(Failed),
            Strategy::Flipped | Strategy::Truncated | Strategy::Replay => Self::Caught(InvalidProof),
            Strategy::SlowRelay | Strategy::RefuseChallenges => Self::Caught(Timeout),
            Strategy::Relay => {
                Self::NotByAudits("the copy comes within the deadline; it has to be kept by somebody")
            }
            Strategy::Recompute => Self::NotByAudits(
                "ten others serve it within the deadline, each challenge costs it ten shards",
            ),
            Strategy::RefuseReads => Self::NotByAudits(
                "wardens are known by their keys, and strangers may not read: only who reads notices",
            ),
        }
    }
}

/// Tells the story. The exit code says whether every check held.
pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let progress = Progress::start();
    let (network, lock) = begin("cheats", arguments.base_port, Options { miners: MINERS, validators: 1 })?;
    let mut stage = Stage { network, report: Report::new("cheats"), progress };
    let told = within(DEADLINE, tell(&mut stage)).await;
    let Stage { report, progress, network, .. } = stage;
    Ok(end(network, &lock, report, &progress, told).await)
}

async fn tell(stage: &mut Stage) -> anyhow::Result<()> {
    stage.report.step(
        1,
        &format!("the network forms, with {MINERS} miners; {OBJECTS} objects are stored, and somebody pays for storage"),
    );
    let map = stage.network.form(&stage.progress).await?.map;
    let chain = stage.network.chain().await?;
    store(stage).await?;
    revenue::begin(&stage.network, &chain).await?;

    stage.report.step(2, "everybody is honest: miners are audited, weighed and paid");
    let (standing, payouts) = until_settled(stage, &chain, BUCKETS_BEFORE).await?;
    let cheaters = cheaters(stage, &chain, &map).await?;
    honest_before(stage, &chain).await?;

    stage.report.step(3, &format!("{} miners begin to cheat, each in its way", cheaters.len()));
    for (index, strategy) in places() {
        stage.network.cheat(index, strategy).await?;
        stage.progress.say(format!("{} cheats: {}", Network::miner_name(index), strategy.name()));
    }
    let begun_at = chain.finalized().await?.number + SETTLE_BLOCKS;
    let trails = until_caught(stage, &chain, &cheaters, begun_at).await?;

    stage.report.step(4, "what that costs them: weights and payouts some buckets later");
    let (standing_after, payouts_after) = until_settled(stage, &chain, BUCKETS_AFTER).await?;
    judgement::judge(
        stage,
        &chain,
        &cheaters,
        begun_at,
        &trails,
        [&standing, &standing_after],
        [&payouts, &payouts_after],
    )
    .await?;
    read_back(stage).await?;
    liar::step(stage, &chain).await?;
    away::step(stage, &chain).await
}

/// Miners that cheat, by number: the first of a family each, so that its other miner stays honest.
fn places() -> impl Iterator<Item = (u16, Strategy)> {
    (0..).step_by(2).zip(Strategy::ALL)
}

fn file(stage: &Stage, number: usize) -> std::path::PathBuf {
    stage.network.layout().of("files").join(format!("object-{number}"))
}

async fn store(stage: &mut Stage) -> anyhow::Result<()> {
    make(&stage.network.layout().of("files"))?;
    let access = stage.network.s3()?.clone();
    client::s3(&access, &["make-bucket", BUCKET]).await?;
    for number in 0..OBJECTS {
        let path = file(stage, number);
        let mut body = vec![0; OBJECT_BYTES];
        blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut body);
        std::fs::write(&path, &body)?;
        let path = path.to_str().context("the directory of the network is not UTF-8")?;
        client::s3(&access, &["put", path, BUCKET, &format!("object-{number}")]).await?;
    }
    Ok(())
}

/// The objects come back although nine miners cheat.
async fn read_back(stage: &mut Stage) -> anyhow::Result<()> {
    let access = stage.network.s3()?.clone();
    let mut whole = 0;
    for number in 0..OBJECTS {
        let (path, back) = (file(stage, number), file(stage, number).with_extension("back"));
        let back = back.to_str().context("the directory of the network is not UTF-8")?;
        let found = client::s3(&access, &["get", BUCKET, &format!("object-{number}"), back]).await?;
        whole += usize::from(found["blake3"] == blake3::hash(&std::fs::read(&path)?).to_hex().as_str());
    }
    stage.report.check(format!("{whole} of {OBJECTS} objects come back, equal"), whole == OBJECTS);
    Ok(())
}

async fn cheaters(stage: &Stage, chain: &ChainClient, map: &EpochMap) -> anyhow::Result<Vec<Cheater>> {
    let registry = chain.registry().await?;
    let mut cheaters = Vec::new();
    for (index, strategy) in places() {
        let name = Network::miner_name(index);
        let node = stage.network.node_id(&name)?;
        let child = registry.miners.get(&node).with_context(|| format!("{name} is not on the chain"))?;
        let miner = map.miner_by_node(&node).with_context(|| format!("{name} is not in the map"))?;
        let (child, family) = (child.child, child.family);
        cheaters.push(Cheater { strategy, node, uid: miner.uid, child, family });
    }
    Ok(cheaters)
}

async fn honest_before(stage: &mut Stage, chain: &ChainClient) -> anyhow::Result<()> {
    let records = chain.attestations_by_bucket().await?;
    let all = records.values().flatten();
    let bad = all.clone().filter(|record| record.result != AttestationResult::Passed).count();
    let passed = all.count() - bad;
    stage.report.check(format!("{passed} audits passed, {bad} did not"), passed > 0 && bad == 0);
    Ok(())
}

/// Waits for so many weight buckets, and for a settlement after them that pays every family.
async fn until_settled(
    stage: &mut Stage,
    chain: &ChainClient,
    buckets: u32,
) -> anyhow::Result<(Standing, Payouts)> {
    let (begun, first) = (Instant::now(), chainside::weight_bucket(chain).await?);
    let mut since = None;
    loop {
        let bucket = chainside::weight_bucket(chain).await?;
        let standing = Standing::read(chain).await?;
        let all_weighed = standing.weights.len() >= usize::from(MINERS) - Strategy::ALL.len();
        if bucket >= first + buckets && all_weighed {
            let head = chain.finalized().await?.number;
            let since = *since.get_or_insert(head);
            if let Some(payouts) = Payouts::after(chain, since, head).await? {
                let families = payouts.families.len();
                stage.report.observed(format!(
                    "weight bucket {bucket}: {} miners have a weight; block {} paid {families} families",
                    standing.weights.len(),
                    payouts.block
                ));
                return Ok((standing, payouts));
            }
        }
        alive(stage)?;
        if begun.elapsed() > WEIGHED_DEADLINE {
            bail!(
                "after {} s: weights of {} miners, bucket {bucket} of {}, and no settlement that pays families",
                begun.elapsed().as_secs(),
                standing.weights.len(),
                first + buckets
            );
        }
        sleep(POLL).await;
    }
}

/// An error if a process ended.
fn alive(stage: &mut Stage) -> anyhow::Result<()> {
    match stage.network.ended()?.first() {
        Some((name, ending)) => bail!("{name} {ending}: look with `logs {name}`"),
        None => Ok(()),
    }
}

/// Waits until everybody is caught that can be, and the others were challenged often enough to tell.
async fn until_caught(
    stage: &mut Stage,
    chain: &ChainClient,
    cheaters: &[Cheater],
    begun_at: u32,
) -> anyhow::Result<BTreeMap<Strategy, Trail>> {
    let begun = Instant::now();
    let mut told = std::collections::BTreeSet::new();
    loop {
        let trails = verdicts::trails(chain, cheaters, begun_at).await?;
        let mut missing = Vec::new();
        for cheater in cheaters {
            let trail = trails.get(&cheater.strategy).cloned().unwrap_or_default();
            let is_done = match Expected::of(cheater.strategy) {
                Expected::Caught(_) => trail.caught.is_some(),
                Expected::NotByAudits(_) => trail.challenges >= OBJECTS,
            };
            match (&trail.caught, is_done) {
                (Some(caught), _) if told.insert(cheater.strategy) => stage.progress.say(format!(
                    "{}: {:?} at challenge {}, block {}",
                    cheater.strategy.name(),
                    caught.result,
                    caught.challenge,
                    caught.block
                )),
                (_, false) => {
                    missing.push(format!("{} ({} challenges)", cheater.strategy.name(), trail.challenges))
                }
                _ => {}
            }
        }
        if missing.is_empty() {
            return Ok(trails);
        }
        alive(stage)?;
        if begun.elapsed() > CAUGHT_DEADLINE {
            stage
                .report
                .check(format!("everybody that can be is caught; not: {}", missing.join(", ")), false);
            return Ok(trails);
        }
        sleep(POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_strategy_has_an_expectation_and_a_miner_of_its_own_family() {
        let places: Vec<_> = places().collect();
        assert_eq!(places.len(), Strategy::ALL.len());
        assert!(places.iter().all(|(index, _)| index % 2 == 0 && *index < MINERS));
        let not = Strategy::ALL.into_iter().filter(|s| matches!(Expected::of(*s), Expected::NotByAudits(_)));
        assert_eq!(not.collect::<Vec<_>>(), [Strategy::Relay, Strategy::Recompute, Strategy::RefuseReads]);
    }
}
