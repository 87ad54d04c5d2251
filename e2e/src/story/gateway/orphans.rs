//! Step 6: what the lost gateway left on the miners behind its snapshot is in no ledger that anybody follows. It goes when operators have given
//! that gateway up, and nothing else does: an object that was acknowledged, and the stripes of one that was under way.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use arion_chain::{Call, Wait};
use arion_types::NodeId;

use super::{BUCKET, MINERS, Stage, path, s3};
use crate::{
    http,
    network::{Network, local},
};

const GATEWAY: &str = "gateway";
/// For how long no ledger names what miners delete: as short as they allow.
pub(super) const RETENTION: &str = "1m";
/// The retention, and some rounds more.
const GONE_DEADLINE: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_secs(1);

pub(super) async fn told(stage: &mut Stage, lost: &NodeId) -> anyhow::Result<()> {
    stage.report.step(6, "what the lost gateway had stored behind its snapshot is nobody's, and goes");
    let chain = stage.network.chain().await?;
    let is_registered = chain.registry().await?.gateways.contains(lost);
    let gone = sum(stage, "orphans_deleted_total").await?;
    stage.report.check("while the lost gateway is registered nothing is deleted", is_registered && gone == 0);

    let owner = stage.network.account(GATEWAY)?;
    chain.submit(&owner, &Call::deregister_node(lost), Wait::Finalized).await?;
    let service = Network::validator_name(0);
    let followed =
        format!("{}@{}", stage.network.node_id(GATEWAY)?, local(stage.network.ports().gateway_quic()));
    stage.network.stop_one(&service).await?;
    stage.network.supervisor().tell(&service, "gateways", &followed)?;
    stage.network.start_healthy(&[service]).await?;

    let begun = Instant::now();
    until(stage, "orphans_deleted_total", GONE_DEADLINE, |gone| gone > 0).await?;
    until(stage, "orphan_shards", GONE_DEADLINE, |left| left == 0).await?;
    let gone = sum(stage, "orphans_deleted_total").await?;
    stage.report.check(
        format!("{gone} shards that no ledger had named for {RETENTION} are deleted, and none is left"),
        gone > u64::from(MINERS),
    );
    stage.report.observed(format!("that took {} s from when it was given up", begun.elapsed().as_secs()));
    let large = stage.network.layout().of("files").join("large");
    let bytes = std::fs::read(&large).with_context(|| format!("cannot read {}", large.display()))?;
    let wanted = [
        ("small", blake3::hash(b"acknowledged")),
        ("large", blake3::hash(&bytes)),
        ("new", blake3::hash(b"stored by the new gateway")),
    ];
    for (key, wanted) in wanted {
        let back = stage.network.layout().of("files").join("back");
        let read = s3(stage, &["get", BUCKET, key, path(&back)?]).await?;
        let is_equal = read["blake3"].as_str() == Some(wanted.to_hex().as_str());
        stage.report.check(format!("{key} is read, equal"), is_equal);
    }
    Ok(())
}

/// A number of all miners together.
pub(super) async fn sum(stage: &Stage, name: &str) -> anyhow::Result<u64> {
    let mut sum = 0;
    for miner in 0..MINERS {
        let address = local(stage.network.ports().miner_http(miner));
        sum += http::metric(&address, &format!("arion_miner_{name}")).await?;
    }
    Ok(sum)
}

/// Waits until it is as wanted.
pub(super) async fn until(
    stage: &Stage,
    name: &str,
    deadline: Duration,
    holds: impl Fn(u64) -> bool,
) -> anyhow::Result<u64> {
    let begun = Instant::now();
    loop {
        let sum = sum(stage, name).await?;
        if holds(sum) {
            return Ok(sum);
        }
        if begun.elapsed() > deadline {
            bail!("{name} of all miners is {sum} after {} s; look with `logs miner-01`", deadline.as_secs());
        }
        tokio::time::sleep(POLL).await;
    }
}
