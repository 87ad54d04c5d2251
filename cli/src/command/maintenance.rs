//! `arion miner maintenance`: says on chain that a miner will be away.

use std::{path::Path, process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use arion_chain::{Account, Call, Wait};
use arion_daemon::line;
use arion_types::NodeId;
use serde_json::json;

use super::print_json;
use crate::settings::Settings;

/// When a miner is away.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// From now until it begins.
    pub starts_in: Duration,
    /// How long it lasts.
    pub lasts: Duration,
}

/// Announces maintenance, and waits until that is final.
pub async fn announce(
    settings: &Settings,
    miner: &NodeId,
    window: Window,
    account: &Path,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let account = Account::from_file(account)?;
    let chain = settings.chain().await?;
    let child = chain.child_of_node(miner).await?.with_context(|| format!("{miner} is no active miner"))?;
    // The best block: what is announced is compared with the block that the transaction is in.
    let (from, until) = blocks(&window, chain.block_time_ms()?, chain.best().await?.number)?;
    let call = Call::announce_maintenance(&child, from, until);
    let outcome = chain.submit(&account, &call, Wait::Finalized).await?;
    if json {
        print_json(&json!({
            "miner": miner.to_string(),
            "from": from,
            "until": until,
            "announced_in": outcome.block.number,
        }))?;
    } else {
        line!("{miner} is away from block {from} to before block {until}");
    }
    Ok(ExitCode::SUCCESS)
}

/// First block of the window and the first behind it; what is begun counts as a whole block.
fn blocks(window: &Window, block_time_ms: u64, best: u32) -> anyhow::Result<(u32, u32)> {
    let count = |time: Duration| time.as_millis().div_ceil(u128::from(block_time_ms.max(1)));
    let number = |count: u128| u32::try_from(count).context("that is too far away");
    let from = u128::from(best) + count(window.starts_in);
    let (from, until) = (number(from)?, number(from + count(window.lasts))?);
    if until <= from {
        bail!("--for has to be longer than nothing");
    }
    Ok((from, until))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_become_blocks() {
        let window = |starts_in, lasts| Window {
            starts_in: Duration::from_secs(starts_in),
            lasts: Duration::from_secs(lasts),
        };
        assert_eq!(blocks(&window(300, 7_200), 6_000, 1_000).unwrap(), (1_050, 2_250));
        assert_eq!(blocks(&window(1, 1), 6_000, 1_000).unwrap(), (1_001, 1_002));
        assert!(blocks(&window(300, 0), 6_000, 1_000).is_err());
        assert!(blocks(&window(u64::MAX, 1), 6_000, 1_000).is_err());
    }
}
