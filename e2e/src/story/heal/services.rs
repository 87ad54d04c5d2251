//! The validator services: what their repair moves, and the loss of one of them at work.

use std::time::{Duration, Instant};

use anyhow::bail;
use arion_chain::EpochMap;

use super::{Object, REPAIR_DEADLINE, SERVICES, Stage, take};
use crate::{
    http,
    network::{Network, local},
};

const WATCH: Duration = Duration::from_millis(100);

/// Kills the validator service that is the first to have stored a shard, while others are missing still.
pub(super) async fn lose_one(
    stage: &mut Stage,
    map: &EpochMap,
    objects: &[Object],
    before: &[u64],
) -> anyhow::Result<()> {
    let begun = Instant::now();
    let service = loop {
        let mut at_work = None;
        for (service, before) in (0..SERVICES).zip(before) {
            if counter(stage, service, "written").await? > *before {
                at_work = Some(service);
            }
        }
        if let Some(service) = at_work {
            break service;
        }
        if begun.elapsed() > REPAIR_DEADLINE {
            bail!(
                "no service stored a shard in {} s: look with `logs validator-1`",
                REPAIR_DEADLINE.as_secs()
            );
        }
        tokio::time::sleep(WATCH).await;
    };
    let name = Network::validator_name(service);
    for which in ["read", "written"] {
        let count = counter(stage, service, which).await?;
        stage.counted.insert(which, count);
    }
    stage.network.kill(&name)?;
    stage.service_down = Some(service);
    let census = take(map, objects).await?;
    let missing = census.expected - census.in_place;
    stage
        .report
        .check(format!("{name} is killed at work: {missing} shards are not in place yet"), missing > 0);
    Ok(())
}

/// Bytes that repair read or wrote, by all services together.
pub(super) async fn moved(stage: &Stage, which: &'static str) -> anyhow::Result<u64> {
    let mut sum = stage.counted.get(which).copied().unwrap_or(0);
    for service in (0..SERVICES).filter(|service| stage.service_down != Some(*service)) {
        sum += counter(stage, service, which).await?;
    }
    Ok(sum)
}

/// A counter of bytes of one service's repair.
pub(super) async fn counter(stage: &Stage, service: u16, which: &str) -> anyhow::Result<u64> {
    let address = local(stage.network.ports().validator_http(service));
    http::metric(&address, &format!("arion_validator_repair_{which}_bytes_total")).await
}
