//! Steps 3 and 4: the shards lie where anybody computes them; 20 miners die and the file is read all the same.

use std::{collections::BTreeSet, time::Duration};

use anyhow::Context;
use arion_chain::ChainClient;
use rand::seq::IndexedRandom;
use serde_json::Value;

use super::{
    Stage, listed, miner_named,
    objects::{self, Object},
};
use crate::{
    census::{self, Census, Stripe},
    story::client,
};

const KILLED: usize = 20;
const HEALTHY_DEADLINE: Duration = Duration::from_secs(90);

pub(super) async fn census_step(stage: &mut Stage, objects: &[Object]) -> anyhow::Result<()> {
    stage
        .report
        .step(3, "the shards lie where any third party computes them, at most 2 of a stripe in one family");
    for object in objects {
        census_of(stage, object, "every shard").await?;
    }
    Ok(())
}

async fn census_of(stage: &mut Stage, object: &Object, what: &str) -> anyhow::Result<()> {
    let located = objects::locate(stage, &object.key).await?;
    let stripes = census::read_stripes(&located)?.len();
    if stripes == 0 {
        stage.report.observed(format!("{}: no stripes, nothing to look for", object.key));
        stage
            .report
            .check(format!("{}: an object without bytes has no stripes", object.key), object.bytes == 0);
        return Ok(());
    }
    let census = census_program(stage, &object.key, &located).await?;
    show(stage, &object.key, &census);
    stage.report.check(
        format!(
            "{}: {what} is on the miner that CRUSH names and on no other, at most 2 per family",
            object.key
        ),
        census.holds && census.family_max <= 2 && census.expected == 30 * stripes,
    );
    Ok(())
}

/// Runs `arion-census`, which is told the node's address and the object's shard hashes, and nothing else.
async fn census_program(stage: &Stage, key: &str, located: &Value) -> anyhow::Result<Census> {
    let file = stage.network.layout().of("files").join(format!("{key}.located.json"));
    client::census(&stage.network.ws(), located, &file).await
}

fn show(stage: &Stage, key: &str, census: &Census) {
    stage.report.observed(format!(
        "{key}: {} stripes, {} of {} shards in place, {} elsewhere, at most {} of a stripe in a family; {} miners \
         asked",
        census.stripes,
        census.in_place,
        census.expected,
        census.elsewhere.len(),
        census.family_max,
        census.asked
    ));
    for problems in [&census.missing, &census.elsewhere, &census.silent] {
        if !problems.is_empty() {
            stage.report.observed(format!("problems{}", listed(problems)));
        }
    }
}

/// By stripe of the object: the names of the miners that CRUSH gives its shards to.
async fn stripe_holders(
    stage: &Stage,
    chain: &ChainClient,
    object: &Object,
) -> anyhow::Result<Vec<Vec<String>>> {
    let maps = stage.network.maps(chain).await?;
    let stripes = census::read_stripes(&objects::locate(stage, &object.key).await?)?;
    let named = |stripe: &Stripe| {
        let holders = stripe.holders(&maps)?;
        let miners = holders.into_iter().filter_map(|(_, miner)| miner);
        miners.map(|miner| miner_named(&stage.network, &miner.node_id)).collect()
    };
    stripes.iter().map(named).collect()
}

pub(super) async fn step(stage: &mut Stage, chain: &ChainClient, objects: &[Object]) -> anyhow::Result<()> {
    stage.report.step(
        4,
        "kill -9 on 20 of the 30 miners of a stripe, chosen at random: the file is read back; then they restart and \
         serve again",
    );
    let stripes = stripe_holders(stage, chain, &objects[0]).await?;
    let hit = stripes.choose(&mut stage.dice).context("the file has no stripes")?;
    let killed: BTreeSet<String> = hit.choose_multiple(&mut stage.dice, KILLED).cloned().collect();
    for name in &killed {
        stage.network.kill(name)?;
    }
    let lost: Vec<usize> =
        stripes.iter().map(|holders| holders.iter().filter(|name| killed.contains(*name)).count()).collect();
    stage.report.observed(format!("killed {}", killed.iter().cloned().collect::<Vec<_>>().join(" ")));
    stage.report.observed(format!("shards lost by the stripes of the file, of 30 each: {lost:?}"));
    stage
        .report
        .check(format!("a stripe lost {KILLED} of its 30 shards"), lost.iter().max() == Some(&KILLED));
    for object in objects {
        objects::read_back(stage, object, "comes back with 20 miners dead").await?;
    }

    for name in &killed {
        stage.network.start(name)?;
    }
    for name in &killed {
        stage.network.supervisor().wait_healthy(name, HEALTHY_DEADLINE).await?;
    }
    stage.report.observed("all 20 started again and are healthy");
    for object in objects {
        census_of(stage, object, "after the restart every shard").await?;
    }
    objects::read_back(stage, &objects[0], "comes back after the restart").await
}
