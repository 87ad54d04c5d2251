//! The table of strategies, and what has to hold of it.

use std::collections::BTreeMap;

use anyhow::Context;
use arion_chain::{AccountId, ChainClient};
use arion_types::{AttestationResult, ShardHash};

use super::{
    BUCKET, Cheater, Expected, MINERS, OBJECTS, Stage,
    arithmetic::Lot,
    chainside::{Payouts, Standing},
    verdicts::Trail,
};
use crate::{cheat::Strategy, story::client, table};

/// The table, and what has to hold of it.
pub(super) async fn judge(
    stage: &mut Stage,
    chain: &ChainClient,
    cheaters: &[Cheater],
    begun_at: u32,
    trails: &BTreeMap<Strategy, Trail>,
    standing: [&Standing; 2],
    payouts: [&Payouts; 2],
) -> anyhow::Result<()> {
    let shards = located(stage).await?;
    let is_punished = |family: &AccountId| {
        let mut of_family = cheaters.iter().filter(|cheater| cheater.family == *family);
        of_family.any(|cheater| {
            let is_expected = matches!(Expected::of(cheater.strategy), Expected::Caught(_));
            is_expected || standing[1].failures(&cheater.child) > 0
        })
    };
    let unpunished: Vec<AccountId> =
        payouts[1].families.keys().filter(|family| !is_punished(family)).copied().collect();
    let mut rows = vec![
        ["strategy", "challenges", "expected", "at most", "on chain", "weight", "family's payout"]
            .map(String::from),
    ];
    for cheater in cheaters {
        let (strategy, trail) =
            (cheater.strategy, trails.get(&cheater.strategy).cloned().unwrap_or_default());
        let lot = Lot::of(strategy, shards.get(&cheater.uid).map_or(&[][..], Vec::as_slice));
        let weight = |standing: &Standing| standing.weights.get(&cheater.child).copied().unwrap_or(0);
        let paid = |payouts: &Payouts| payouts.families.get(&cheater.family).copied().unwrap_or(0);
        let [before, after] = standing.map(weight);
        let [paid_before, paid_after] = payouts.map(paid);
        let (challenges, on_chain) = match &trail.caught {
            Some(caught) => (caught.challenge.to_string(), format!("{:?}", caught.result)),
            None => (format!("not in {}", trail.challenges), "only Passed".to_owned()),
        };
        let (expected, most) = match Expected::of(strategy) {
            Expected::Caught(_) => (format!("{:.1}", lot.expected), lot.most.to_string()),
            Expected::NotByAudits(_) => ("never".to_owned(), "-".to_owned()),
        };
        let payout = format!("{} -> {}", share(paid_before, payouts[0]), share(paid_after, payouts[1]));
        rows.push([
            strategy.name().to_owned(),
            challenges,
            expected,
            most,
            on_chain,
            format!("{before} -> {after}"),
            payout,
        ]);
        match Expected::of(strategy) {
            Expected::Caught(result) => {
                let name = strategy.name();
                let found = trail.caught.as_ref();
                stage.report.check(
                    format!("{name} is caught within {} challenges, with {result:?}", lot.most),
                    found.is_some_and(|caught| caught.challenge <= lot.most && caught.result == result),
                );
                stage.report.check(
                    format!("{name}: strikes or failures stand against it, and its weight fell"),
                    standing[1].failures(&cheater.child) > 0 && after < before,
                );
                let (paid, others) = (payouts[1].ppm(&cheater.family), payouts[1].least_ppm(&unpunished));
                stage.report.check(
                    format!(
                        "{name}: its family's part of the payout is {paid} ppm, others get {others} or more"
                    ),
                    paid < others,
                );
            }
            Expected::NotByAudits(why) => {
                let name = strategy.name();
                stage.report.observed(match &trail.caught {
                    None => format!("{name} is not caught by audits, as docs/spec/proofs.md says: {why}"),
                    Some(caught) => {
                        format!("{name} was too slow here at challenge {}; else: {why}", caught.challenge)
                    }
                });
                stage.report.check(format!("{name} was challenged and passed"), trail.passed > 0);
            }
        }
    }
    stage.report.observed(table::columns(&rows));
    honest(stage, chain, cheaters, begun_at, standing[1]).await
}

/// Part of all payouts of a settlement.
fn share(amount: u128, payouts: &Payouts) -> String {
    format!("{amount} ({:.2} %)", payouts.percent(amount))
}

/// Nobody honest has a verdict or a strike against it.
async fn honest(
    stage: &mut Stage,
    chain: &ChainClient,
    cheaters: &[Cheater],
    begun_at: u32,
    standing: &Standing,
) -> anyhow::Result<()> {
    let cheats = |uid: u32| cheaters.iter().any(|cheater| cheater.uid == uid);
    let records = chain.attestations_by_bucket().await?;
    let others = records.values().flatten().filter(|record| !cheats(record.miner_uid));
    let later: Vec<_> = others.filter(|record| record.block_number > u64::from(begun_at)).collect();
    let bad = later.iter().filter(|record| record.result != AttestationResult::Passed);
    for record in bad.clone() {
        stage.report.observed(format!(
            "miner {}: {:?} in block {}",
            record.miner_uid, record.result, record.block_number
        ));
    }
    stage.report.check(
        format!(
            "{} audits of {} honest miners passed, {} did not",
            later.len(),
            usize::from(MINERS) - cheaters.len(),
            bad.clone().count()
        ),
        !later.is_empty() && bad.count() == 0,
    );
    let struck = standing.qualities.iter().filter(|(child, quality)| {
        cheaters.iter().all(|cheater| cheater.child != **child)
            && quality.strikes + quality.integrity_fails > 0
    });
    stage.report.check("no honest miner has a strike or a failure", struck.count() == 0);
    let nodes: Vec<String> =
        cheaters.iter().map(|cheater| cheater.node.to_string()[..8].to_owned()).collect();
    stage.report.observed(format!("cheats: {}", nodes.join(", ")));
    Ok(())
}

/// Shards of the objects with their lengths, by the number of their miner.
async fn located(stage: &Stage) -> anyhow::Result<BTreeMap<u32, Vec<(ShardHash, u32)>>> {
    let mut found: BTreeMap<u32, Vec<(ShardHash, u32)>> = BTreeMap::new();
    for number in 0..OBJECTS {
        let located =
            client::s3(stage.network.s3()?, &["locate", BUCKET, &format!("object-{number}")]).await?;
        for stripe in located["stripes"].as_array().into_iter().flatten() {
            let length = u32::try_from(stripe["shard_len"].as_u64().context("a stripe has no shard_len")?)?;
            for shard in stripe["shards"].as_array().into_iter().flatten() {
                let hash = shard["hash"].as_str().and_then(|text| text.parse().ok());
                let hash: ShardHash = hash.context("a shard has no address")?;
                let Some(uid) = shard["uid"].as_u64() else { continue };
                found.entry(u32::try_from(uid)?).or_default().push((hash, length));
            }
        }
    }
    Ok(found)
}
