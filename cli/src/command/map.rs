//! `arion map`: the map of an epoch, with its root recomputed.

pub mod diff;

use std::process::ExitCode;

use anyhow::bail;
use arion_chain::{EpochMap, ss58};
use arion_daemon::line;
use arion_types::map::{WEIGHT_ONE, map_root};
use serde_json::json;

use super::print_json;
use crate::settings::Settings;

/// Prints the map; fails if its root is not that of its parts.
pub async fn run(settings: &Settings, epoch: Option<u64>, json: bool) -> anyhow::Result<ExitCode> {
    let chain = settings.chain().await?;
    let map = match epoch {
        Some(epoch) => chain.map_at(epoch).await?,
        None => chain.current_map().await?,
    };
    let Some(map) = map else {
        match epoch {
            Some(epoch) => bail!("the chain keeps no map of epoch {epoch}"),
            None => bail!("no map is finalised yet"),
        }
    };
    let recomputed = map_root(&map.params, &map.miners);
    let holds = recomputed == map.root;
    if json {
        print_json(&as_json(&map, &recomputed))?;
    } else {
        print(&map, &recomputed)?;
    }
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn as_json(map: &EpochMap, recomputed: &[u8; 32]) -> serde_json::Value {
    let miners: Vec<_> = map
        .miners
        .iter()
        .map(|miner| {
            json!({
                "uid": miner.uid,
                "node_id": hex::encode(miner.node_id),
                "family": ss58(&miner.family),
                "weight": miner.weight,
                "endpoint": String::from_utf8_lossy(&miner.endpoint),
            })
        })
        .collect();
    json!({
        "epoch": map.epoch,
        "pg_count": map.params.pg_count,
        "ec_k": map.params.ec_k,
        "ec_m": map.params.ec_m,
        "family_shards_max": map.params.family_shards_max,
        "choose_tries": map.params.choose_tries,
        "root": hex::encode(map.root),
        "recomputed_root": hex::encode(recomputed),
        "root_holds": map.root == *recomputed,
        "miners": miners,
    })
}

fn print(map: &EpochMap, recomputed: &[u8; 32]) -> anyhow::Result<()> {
    let params = &map.params;
    line!("epoch {}: {} miners, {} placement groups", map.epoch, map.miners.len(), params.pg_count);
    line!(
        "{} data + {} parity shards, at most {} in one family",
        params.ec_k,
        params.ec_m,
        params.family_shards_max
    );
    line!("root on chain:   {}", hex::encode(map.root));
    let verdict = if map.root == *recomputed { "holds" } else { "DOES NOT HOLD" };
    line!("root recomputed: {} ({verdict})", hex::encode(recomputed));
    line!("{:>6} {:>8} {:<22} {:<48} node id", "uid", "TiB", "endpoint", "family");
    for miner in &map.miners {
        let weight = f64::from(miner.weight) / f64::from(WEIGHT_ONE);
        let endpoint = String::from_utf8_lossy(&miner.endpoint);
        let node_id = hex::encode(miner.node_id);
        line!("{:>6} {weight:>8.3} {endpoint:<22} {:<48} {node_id}", miner.uid, ss58(&miner.family));
    }
    Ok(())
}
