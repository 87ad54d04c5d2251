//! Step 8: an operator empties a miner with one command, and sees how far it is.

use std::time::Instant;

use anyhow::Context;
use arion_chain::{ChainClient, EpochMap};
use serde_json::Value;

use super::{
    DELETION_DEADLINE, DRAIN_DEADLINE, Object, POLL, REPAIR_DEADLINE, Stage, is_whole, names_any, read_all,
    show, take, until_no_surplus, until_whole,
};
use crate::{
    network::{Network, local, registration::run},
    story::within,
};

/// Empties the first miner of a family. The other one leaves the map with it, as a family with one miner has no place there.
pub(super) async fn tell(
    stage: &mut Stage,
    chain: &ChainClient,
    family: u16,
    objects: &[Object],
) -> anyhow::Result<()> {
    let miner = Network::miner_name(2 * family);
    stage.report.step(8, &format!("{miner} is emptied: `arion miner drain`"));
    let node = stage.network.node_id(&miner)?;
    let before = chain.current_map().await?.context("there is no map any more")?;
    stage.report.check("the map has it", names_any(&before, &[node]));
    let data = stage.network.layout().of(&miner);
    let data = data.to_str().context("the data directory is not UTF-8")?.to_owned();
    let held = stored(&data).await?;
    stage.report.observed(format!("it has {held} shards"));
    let service = Network::validator_name(0);
    let address = local(stage.network.ports().validator_quic(0));
    let service = format!("{}@{address}", stage.network.node_id(&service)?);

    let begun = Instant::now();
    let command = ["arion", "miner", "drain", "--data-dir", &data, "--validators", &service, "--json"];
    let drained = within(DRAIN_DEADLINE, async {
        let mut drain = std::pin::pin!(run(&command));
        let (mut looks, mut broken) = (0u32, Vec::new());
        loop {
            tokio::select! {
                said = &mut drain => return Ok((said?, looks, broken)),
                found = without_all_shards(chain, &before, objects) => {
                    broken.extend(found?);
                    looks += 1;
                }
            }
        }
    });
    let (said, looks, broken) = drained.await?;
    let told: Vec<Value> = said.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let last = told.last().context("arion miner drain said nothing")?;
    stage.report.observed(format!(
        "{:.0} s, {} lines of progress",
        begun.elapsed().as_secs_f64(),
        told.len()
    ));
    let begun_bytes = told.iter().filter_map(|line| line["begun_bytes"].as_u64()).max().unwrap_or(0);
    stage.report.observed(format!("from {begun_bytes} bytes to {}", last["held_bytes"]));
    stage
        .report
        .check("it says that the miner is empty", last["is_empty"] == true && last["held_bytes"] == 0);
    stage.report.check("it had something", begun_bytes > 0 && held > 0);
    let (id, ws) = (node.to_string(), stage.network.ws());
    let command = ["arion", "miner", "show", &id, "--validators", &service, "--node", &ws, "--json"];
    let shown: Value = serde_json::from_str(&run(&command).await?)?;
    let lately = shown["services"][0]["transitions"].as_array().cloned().unwrap_or_default();
    let begun_at = lately.iter().find(|change| change["reason"] == "drained").map(|change| &change["at"]);
    stage.report.check(
        "`arion miner show` says when it began to be emptied, and why",
        begun_at.is_some_and(|at| at.as_u64() > Some(0)),
    );
    for problem in broken.iter().take(6) {
        stage.report.observed(problem);
    }
    stage
        .report
        .check(format!("every stripe had 30 shards in place in {looks} looks meanwhile"), broken.is_empty());

    let begun = Instant::now();
    let left = loop {
        let left = stored(&data).await?;
        if left == 0 || begun.elapsed() > DELETION_DEADLINE {
            break left;
        }
        tokio::time::sleep(POLL).await;
    };
    stage.report.check(format!("its disk has {left} shards"), left == 0);
    let after = chain.current_map().await?.context("there is no map any more")?;
    stage.report.check("the map goes on without it", !names_any(&after, &[node]));
    let census = until_no_surplus(&after, objects).await?;
    show(stage, &census, "without it");
    stage.report.check("no other miner has a copy that the map does not name", census.elsewhere.is_empty());
    stage.network.kill(&miner)?;
    let census = until_whole(&after, objects, REPAIR_DEADLINE).await?;
    stage.report.check("it is switched off, and nothing is missing", is_whole(&census));
    read_all(stage, objects, "without it").await
}

/// Shards on the disk of a miner.
async fn stored(data: &str) -> anyhow::Result<usize> {
    Ok(run(&["arion-miner", "store", "ls", "--data-dir", data]).await?.lines().count())
}

/// Stripes whose shards are all in place neither by the map of before nor by a later one. A copy goes only when all of the stripe is
/// where the current map names it: what is not whole by the first any more is by one that came since.
async fn without_all_shards(
    chain: &ChainClient,
    before: &EpochMap,
    objects: &[Object],
) -> anyhow::Result<Vec<String>> {
    let mut broken = Vec::new();
    for object in objects {
        let one = std::slice::from_ref(object);
        if is_whole(&take(before, one).await?) {
            continue;
        }
        // By stripe: some of an object's may have moved.
        for stripe in &object.stripes {
            let one = [Object {
                key: object.key,
                blake3: Value::Null,
                stripes: vec![stripe.clone()],
                shard_bytes: Default::default(),
            }];
            if is_whole(&take(before, &one).await?) {
                continue;
            }
            let current = chain.current_map().await?.context("there is no map any more")?.epoch;
            let mut lacks = Vec::new();
            for epoch in before.epoch + 1..=current {
                let Some(map) = chain.map_at(epoch).await? else { continue };
                let census = take(&map, &one).await?;
                lacks.push((!is_whole(&census)).then_some(census.missing.len()));
            }
            if let Some(lacks) = lacks.into_iter().collect::<Option<Vec<_>>>() {
                broken.push(format!("{}: a stripe lacks shards by all maps since: {lacks:?}", object.key));
            }
        }
    }
    Ok(broken)
}
