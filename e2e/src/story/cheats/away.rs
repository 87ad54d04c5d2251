//! A miner that announces maintenance is not failed while it is away.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use arion_chain::ChainClient;
use arion_types::AttestationResult;
use serde_json::Value;
use tokio::time::sleep;

use super::{Stage, liar::arion};
use crate::network::Network;

/// An honest miner, counted from 0, of a family without cheats.
const AWAY: u16 = 20;
/// More than the chain wants of notice, and until the announcement is final: 30 blocks of 3 s.
const STARTS_IN: &str = "90s";
const LASTS: &str = "90s";
/// Challenges under way when it begins may still end.
const BLOCKS_BEFORE: u32 = 2;
/// It is back so long before the window is over.
const BLOCKS_AFTER: u32 = 6;
const HEALTHY_DEADLINE: Duration = Duration::from_secs(60);
const WINDOW_DEADLINE: Duration = Duration::from_secs(400);
const POLL: Duration = Duration::from_secs(1);

pub(super) async fn step(stage: &mut Stage, chain: &ChainClient) -> anyhow::Result<()> {
    stage.report.step(6, "an honest miner announces maintenance and is switched off meanwhile");
    let name = Network::miner_name(AWAY);
    let node = stage.network.node_id(&name)?;
    let map = chain.current_map().await?.context("the chain has no map")?;
    let uid = map.miner_by_node(&node).context("the miner is not in the map")?.uid;
    let family = Network::family_name(AWAY / 2);
    let account = stage.network.account_file(&family).to_string_lossy().into_owned();
    let options = ["--in", STARTS_IN, "--for", LASTS, "--account-file", &account];
    let text = node.to_string();
    let command = [&["--json", "miner", "maintenance", &text][..], &options].concat();
    let (told, said) = arion(stage, &command).await?;
    let told: Value =
        serde_json::from_str(&told).with_context(|| format!("arion miner maintenance: {said}"))?;
    let block = |field: &str| -> anyhow::Result<u32> {
        let number = told[field].as_u64().with_context(|| format!("arion told no {field}: {told}"))?;
        Ok(u32::try_from(number)?)
    };
    let (from, until) = (block("from")?, block("until")?);
    stage.report.observed(format!("{name} is away from block {from} to before block {until}"));

    until_block(chain, from + BLOCKS_BEFORE).await?;
    stage.network.stop_one(&name).await?;
    until_block(chain, until - BLOCKS_AFTER).await?;
    stage.network.start(&name)?;
    stage.network.supervisor().wait_healthy(&name, HEALTHY_DEADLINE).await?;
    // What was said of the window is on chain by then.
    until_block(chain, until + 2 * BLOCKS_AFTER).await?;
    let stored = chain.attestations_by_bucket().await?;
    let of_it = || stored.values().flatten().filter(|record| record.miner_uid == uid);
    let window = u64::from(from + BLOCKS_BEFORE)..u64::from(until);
    let during = of_it().filter(|record| window.contains(&record.block_number)).count();
    let before = of_it().filter(|record| record.block_number < u64::from(from)).count();
    let failed = of_it().filter(|record| record.result != AttestationResult::Passed).count();
    stage.report.check(
        format!("it was challenged {before} times before and {during} times in the window, {failed} were not passed"),
        before > 0 && during == 0 && failed == 0,
    );
    Ok(())
}

async fn until_block(chain: &ChainClient, number: u32) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let head = chain.finalized().await?.number;
        if head >= number {
            return Ok(());
        }
        if begun.elapsed() > WINDOW_DEADLINE {
            bail!("block {head} is final after {} s, and {number} was waited for", WINDOW_DEADLINE.as_secs());
        }
        sleep(POLL).await;
    }
}
