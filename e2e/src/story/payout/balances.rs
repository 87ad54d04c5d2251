//! Step 4: what the chain did, beside the sheet and the books.

use std::collections::BTreeMap;

use anyhow::Context;
use arion_chain::{Account, AccountId, Call, Wait};
use arion_types::NodeId;

use super::{CHEATER, HALF, HONEST, SLOW, Stage, record::Closed};
use crate::{network::Network, story::books, table};

/// Uptime of who is there half of the time, permille: it counts as there for three heartbeats after it is gone, and comes back
/// within some seconds.
const HALF_UPTIME: std::ops::RangeInclusive<u64> = 300..=800;
/// Buckets at the end over which it is looked at: twice as many as make two turns.
const LAST_BUCKETS: usize = 6;

pub(super) async fn judge(stage: &mut Stage<'_>, newcomer: u16) -> anyhow::Result<()> {
    stage.report.step(4, "every weight, every settlement and every balance is as computed");
    compared(stage);
    let (family, miners) = (families(stage, newcomer)?, miners(stage, newcomer).await?);
    let paid = claimed(stage, newcomer).await?;
    let name = |number: u16| -> anyhow::Result<u128> { Ok(paid.get(&family[&number]).copied().unwrap_or(0)) };
    let honest = name(HONEST)?;
    stage.report.observed(rows(stage, newcomer, &family, &miners, &paid));

    for (number, role) in roles(newcomer).into_iter().filter(|(number, _)| *number != HONEST) {
        let less = name(number)?;
        stage.report.check(format!("the {role} family gets less than the honest one, and something"), {
            0 < less && less < honest
        });
    }
    qualities(stage, &miners);
    let wrong = stage.reads_wrong;
    stage
        .report
        .check(format!("{} reads, {wrong} of them wrong", stage.reads), wrong == 0 && stage.reads > 0);
    kept(stage).await
}

/// Families that are told about, with what becomes of them.
fn roles(newcomer: u16) -> [(u16, &'static str); 5] {
    [(HONEST, "honest"), (SLOW, "slow"), (HALF, "half"), (CHEATER, "cheating"), (newcomer, "new")]
}

/// Buckets and settlements, one check for each.
fn compared(stage: &mut Stage<'_>) {
    for Closed { bucket, qualities, families, wrong } in &stage.record.closed {
        let (miners, families) = (qualities.len(), families.len());
        stage.report.check(
            format!("bucket {bucket}: weights of {miners} miners and {families} families"),
            wrong.is_empty(),
        );
        wrong.iter().for_each(|wrong| stage.report.observed(wrong));
    }
    let mut paying = 0;
    for settled in &stage.record.settled {
        let expected = &settled.expected;
        paying += usize::from(expected.families.len() > 1 && expected.storage > 0);
        stage.report.check(
            format!(
                "block {}: of {} from storage {} families get {}, the network {}, the treasury {}; {} are carried",
                expected.block,
                expected.storage,
                expected.families.len(),
                expected.miners,
                expected.network,
                expected.treasury,
                expected.carried_out
            ),
            settled.wrong.is_empty(),
        );
        settled.wrong.iter().for_each(|wrong| stage.report.observed(wrong));
    }
    stage.report.check(format!("{paying} settlements paid families for storage"), paying > 2);
}

/// Accounts of all families, by number.
fn families(stage: &Stage<'_>, newcomer: u16) -> anyhow::Result<BTreeMap<u16, AccountId>> {
    let numbers = 0..=newcomer;
    numbers.map(|number| Ok((number, stage.network.account(&Network::family_name(number))?.id()))).collect()
}

/// Children of all miners, by number.
async fn miners(stage: &Stage<'_>, newcomer: u16) -> anyhow::Result<BTreeMap<u16, AccountId>> {
    let registry = stage.chain.registry().await?;
    let mut miners = BTreeMap::new();
    for number in 0..2 * (newcomer + 1) {
        let name = Network::miner_name(number);
        let node: NodeId = stage.network.node_id(&name)?;
        let child = registry.miners.get(&node).with_context(|| format!("{name} is not on the chain"))?;
        miners.insert(number, child.child);
    }
    Ok(miners)
}

/// Has everything claimed; how much each family got, which is what the books say.
async fn claimed(stage: &mut Stage<'_>, newcomer: u16) -> anyhow::Result<BTreeMap<AccountId, u128>> {
    let governance = Account::from_secret(Network::validator_account(0))?;
    let families = families(stage, newcomer)?;
    let due = families.values().filter(|family| stage.record.books.claimable(family) > 0);
    let claims: Vec<Call> = due.map(Call::claim).collect();
    let outcome = stage.chain.submit(&governance, &Call::batch(claims), Wait::Finalized).await?;
    stage.record.read_on(&stage.chain).await?;
    let block = outcome.block.number;
    let before = stage.chain.block_hash(block - 1).await?.context("a final block has no hash")?;
    let mut paid = BTreeMap::new();
    let mut wrong = Vec::new();
    for (number, family) in &families {
        let (first, _) = stage.chain.state(before).balance(family).await?;
        let (then, _) = stage.chain.state(outcome.block.hash).balance(family).await?;
        let (grown, expected) = (then.saturating_sub(first), stage.record.books.claimed(family));
        if grown != expected || then < first {
            wrong.push(format!("{}: {grown}, not {expected}", Network::family_name(*number)));
        }
        paid.insert(*family, grown);
    }
    stage.report.check(
        format!(
            "block {block}: {} families claim, and have as much more as was computed, {} in all",
            paid.values().filter(|paid| **paid > 0).count(),
            paid.values().sum::<u128>()
        ),
        wrong.is_empty() && paid.values().all(|paid| *paid > 0),
    );
    wrong.iter().for_each(|wrong| stage.report.observed(wrong));
    Ok(paid)
}

/// The table: what the chain could know of each miner, and what its family is paid.
fn rows(
    stage: &Stage<'_>,
    newcomer: u16,
    families: &BTreeMap<u16, AccountId>,
    miners: &BTreeMap<u16, AccountId>,
    paid: &BTreeMap<AccountId, u128>,
) -> String {
    let header = [
        "miner", "family", "stored", "served", "up", "strikes", "failures", "weight", "family's", "computed",
        "paid",
    ];
    let mut rows = vec![header.map(String::from)];
    let sheet = &stage.record.sheet;
    for (number, child) in miners {
        let (number_of_family, quality) =
            (stage.network.family_of(*number), sheet.qualities.get(child).copied().unwrap_or_default());
        let Some(family) = families.get(&number_of_family) else { continue };
        let role = roles(newcomer).into_iter().find(|(role, _)| *role == number_of_family);
        let role = role.map_or("", |(_, role)| role);
        let weight = |weights: &BTreeMap<AccountId, u128>, of: &AccountId| {
            weights.get(of).copied().unwrap_or(0).to_string()
        };
        rows.push([
            Network::miner_name(*number),
            format!("{} {role}", number_of_family + 1).trim().to_owned(),
            quality.stored.to_string(),
            quality.served.to_string(),
            quality.uptime.to_string(),
            quality.strikes.to_string(),
            quality.fails.to_string(),
            weight(&sheet.nodes, child),
            weight(&sheet.families, family),
            stage.record.books.claimed(family).to_string(),
            paid.get(family).copied().unwrap_or(0).to_string(),
        ]);
    }
    table::columns(&rows)
}

/// What was said of miners is what they did.
fn qualities(stage: &mut Stage<'_>, miners: &BTreeMap<u16, AccountId>) {
    let last = &stage.record.closed[stage.record.closed.len().saturating_sub(LAST_BUCKETS)..];
    // Of both miners of a family, over the last buckets.
    let of = |family: u16, field: fn(&super::sheet::Quality) -> u64| -> Vec<u64> {
        let children = [2 * family, 2 * family + 1].map(|miner| miners.get(&miner).copied());
        let qualities = last.iter().flat_map(|closed| {
            children.into_iter().flatten().filter_map(|child| closed.qualities.get(&child))
        });
        qualities.map(field).collect()
    };
    let mean = |values: &[u64]| values.iter().sum::<u64>() / (values.len() as u64).max(1);
    let half = mean(&of(HALF, |quality| quality.uptime));
    let whole = mean(&of(HONEST, |quality| quality.uptime));
    stage.report.check(
        format!("who is there half of the time was up for {half} permille, who is always there for {whole}"),
        HALF_UPTIME.contains(&half) && whole > half,
    );
    let (slow, fast) = (of(SLOW, |quality| quality.served), of(HONEST, |quality| quality.served));
    let (slow, fast) = (mean(&slow), mean(&fast));
    stage.report.check(format!("who is far away served {slow} bytes, the honest {fast}"), slow < fast);
    let cheater = of(CHEATER, |quality| quality.fails + quality.strikes);
    let honest = of(HONEST, |quality| quality.fails + quality.strikes);
    stage.report.check(
        format!(
            "{} strikes and failures stand against the cheating miners",
            cheater.iter().rev().take(2).sum::<u64>()
        ),
        cheater.iter().rev().take(2).all(|count| *count > 0),
    );
    stage.report.check("nothing stands against the honest ones", honest.iter().all(|count| *count == 0));
}

/// What came in and was not paid out is in the pallet's account.
async fn kept(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let id: [u8; 8] = stage.chain.constant("Marketplace", "PalletId")?;
    let deposit: u128 = stage.chain.constant("Balances", "ExistentialDeposit")?;
    stage.record.read_on(&stage.chain).await?;
    let hash = stage.chain.block_hash(stage.record.at()).await?.context("a final block has no hash")?;
    let (free, _) = stage.chain.state(hash).balance(&books::pallet_account(&id)).await?;
    stage.report.check(
        format!("the marketplace's account has {free}: its existential deposit, and what came in and was not paid out"),
        free == deposit + stage.record.books.held(),
    );
    Ok(())
}
