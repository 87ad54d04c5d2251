//! Step 7: the validator's node reports the quality of miners, and the chain weighs them.

use std::time::{Duration, Instant};

use anyhow::bail;
use arion_chain::ChainClient;
use tokio::time::sleep;

use super::Stage;
use crate::network::Network;

/// A report needs a bucket's length of heartbeats, its turn in the next bucket, and that one's end: 3 minutes at most.
const WEIGHED_DEADLINE: Duration = Duration::from_secs(240);
const POLL: Duration = Duration::from_secs(1);
/// What a node logs with each report that it has submitted.
const SUBMITTED: &str = "miners reported for bucket";

pub(super) async fn step(stage: &mut Stage, chain: &ChainClient) -> anyhow::Result<()> {
    stage.report.step(
        7,
        "the validator's node fetches the quality of miners from its validator service and reports it, signed with \
         its session key; the chain weighs them",
    );
    let miners = usize::from(stage.network.options().miners);
    let begun = Instant::now();
    let weights = loop {
        let weights = chain.node_weights().await?;
        if !weights.is_empty() {
            break weights;
        }
        if let Some((name, ending)) = stage.network.ended()?.first() {
            bail!("{name} {ending}: look with `logs {name}`");
        }
        if begun.elapsed() > WEIGHED_DEADLINE {
            break weights;
        }
        sleep(POLL).await;
    };
    stage.report.observed(format!(
        "weights of {} miners after {:.0} s, from {} to {}",
        weights.len(),
        begun.elapsed().as_secs_f64(),
        weights.values().min().unwrap_or(&0),
        weights.values().max().unwrap_or(&0)
    ));
    let reports = stage.network.lines_of(&Network::node_name(0), SUBMITTED)?;
    stage.report.check("the node says that it has submitted a report", reports > 0);
    // A weight of 0 is not stored. Two miners were tampered with, and others were dead for a while.
    let weighed = weights.values().filter(|weight| **weight > 0).count();
    stage
        .report
        .check(format!("{weighed} of {miners} miners, more than half, have a weight"), 2 * weighed > miners);
    Ok(())
}
