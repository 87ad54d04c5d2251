//! Weights, standing failures and payouts, as the finalised chain has them.

use std::collections::BTreeMap;

use anyhow::Context;
use arion_chain::{AccountId, ChainClient, Event};
use arion_types::NodeQuality;

/// Newest bucket whose weights are computed.
pub(super) async fn weight_bucket(chain: &ChainClient) -> anyhow::Result<u32> {
    let head = chain.finalized().await?;
    Ok(chain.state(head.hash).value("Arion", "CurrentWeightBucket").await?.unwrap_or(0))
}

/// What stands of the miners.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    /// Weight by child; none where it is 0.
    pub(super) weights: BTreeMap<AccountId, u16>,
    pub(super) qualities: BTreeMap<AccountId, NodeQuality>,
}

impl Standing {
    pub(super) async fn read(chain: &ChainClient) -> anyhow::Result<Self> {
        let head = chain.finalized().await?;
        let qualities: Vec<(AccountId, NodeQuality)> =
            chain.state(head.hash).entries("Arion", "NodeQualityByChild").await?;
        Ok(Self { weights: chain.node_weights().await?, qualities: qualities.into_iter().collect() })
    }

    /// Standing strikes and failures.
    pub(super) fn failures(&self, child: &AccountId) -> u32 {
        self.qualities.get(child).map_or(0, |quality| quality.strikes.saturating_add(quality.integrity_fails))
    }
}

/// What families were paid at a settlement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Payouts {
    pub(super) block: u32,
    /// In ALPHA's smallest unit.
    pub(super) families: BTreeMap<AccountId, u128>,
}

impl Payouts {
    /// Of the first settlement after block `since` and up to block `head` that paid families.
    pub(super) async fn after(chain: &ChainClient, since: u32, head: u32) -> anyhow::Result<Option<Self>> {
        for block in since + 1..=head {
            let hash =
                chain.block_hash(block).await?.with_context(|| format!("block {block} has no hash"))?;
            let events = chain.events(hash).await?;
            let rewards = events
                .iter()
                .map(|found| &found.event)
                .filter(|event| event.is("Marketplace", "RewardCredited"));
            let families: BTreeMap<AccountId, u128> = rewards.filter_map(reward).collect();
            if !families.is_empty() {
                return Ok(Some(Self { block, families }));
            }
        }
        Ok(None)
    }

    fn total(&self) -> u128 {
        self.families.values().sum()
    }

    /// Parts in a million of what all families were paid.
    pub(super) fn ppm(&self, family: &AccountId) -> u128 {
        let paid = self.families.get(family).copied().unwrap_or(0);
        paid * 1_000_000 / self.total().max(1)
    }

    /// The least of what these were paid, in such parts; 0 if there are none.
    pub(super) fn least_ppm(&self, families: &[AccountId]) -> u128 {
        families.iter().map(|family| self.ppm(family)).min().unwrap_or(0)
    }

    pub(super) fn percent(&self, amount: u128) -> f64 {
        amount as f64 * 100.0 / self.total().max(1) as f64
    }
}

fn reward(event: &Event) -> Option<(AccountId, u128)> {
    Some((event.bytes("account")?.try_into().ok()?, event.number("amount")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_up() {
        let families = BTreeMap::from([([1; 32], 300), ([2; 32], 100)]);
        let payouts = Payouts { block: 5, families };
        assert_eq!(
            (payouts.ppm(&[1; 32]), payouts.ppm(&[2; 32]), payouts.ppm(&[3; 32])),
            (750_000, 250_000, 0)
        );
        assert_eq!(payouts.percent(100), 25.0);
        assert_eq!((payouts.least_ppm(&[[1; 32], [2; 32]]), payouts.least_ppm(&[])), (250_000, 0));
    }
}
