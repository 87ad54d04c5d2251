//! From nothing to a network that stores objects.
//!
//! Chain, registrations, miners, validator services, the first map, then submitter, wardens and gateway: each is
//! started when what it needs is there, and waited for by what it says itself.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use arion_chain::{ChainClient, EpochMap};
use tokio::time::sleep;

use super::{Network, WARDENS, registration::Registered};
use crate::{progress::Progress, state::Phase};

const MAP_DEADLINE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(500);

/// What happened while the network formed.
#[derive(Debug)]
pub struct Formation {
    /// Miners registered now, in the order in which they joined; empty where all were registered before.
    pub registered: Vec<Registered>,
    /// The map that names all miners.
    pub map: EpochMap,
}

impl Network {
    /// Brings the network up. Whatever an earlier run left in the directory is used again.
    pub async fn form(&mut self, progress: &Progress) -> anyhow::Result<Formation> {
        self.start_chain(progress).await?;
        let chain = self.chain().await?;
        let registered = self.register_all(&chain, progress).await?;

        // Services first: a miner that finds none waits before it tries again.
        let validators: Vec<String> = (0..self.options.validators).map(Self::validator_name).collect();
        self.plan_validators()?;
        self.start_healthy(&validators).await?;
        if let Some(relay) = self.plan_relay()? {
            self.start_healthy(&[relay]).await?;
        }
        let miners: Vec<String> = (0..self.options.miners).map(Self::miner_name).collect();
        self.plan_miners(0..self.options.miners)?;
        self.start_healthy(&miners).await?;
        progress.say(format!("{} miners run", miners.len()));
        let map = self.until_map(&chain).await?;
        progress.say(format!(
            "epoch {} published: {} miners, root {}",
            map.epoch,
            map.miners.len(),
            hex::encode(map.root)
        ));

        self.s3 = Some(self.s3_key().await?);
        self.plan_gateways().await?;
        self.plan_submitter(0)?;
        self.plan_wardens()?;
        self.write_environment()?;
        let mut others = vec!["submitter".to_owned()];
        others.extend(self.gateways());
        others.extend((0..WARDENS).map(Self::warden_name));
        self.start_healthy(&others).await?;
        self.phase = Phase::Ready;
        self.save()?;
        progress.say(format!("gateway up: {}", self.s3()?.endpoint));
        Ok(Formation { registered, map })
    }

    /// One more family, which nobody planned for: it is funded, registers as many miners as others have, and starts them. Returns
    /// its number, counted from 0.
    pub async fn join_family(&mut self, chain: &ChainClient, progress: &Progress) -> anyhow::Result<u16> {
        let (family, first) = (self.families(), self.options.miners);
        if first != family * self.family {
            bail!(
                "the last family is not complete: a network that is to grow has families of {}",
                self.family
            );
        }
        self.options.miners += self.family;
        self.register_further(chain, progress).await?;
        self.plan_miners(first..self.options.miners)?;
        let miners: Vec<String> = (first..self.options.miners).map(Self::miner_name).collect();
        self.start_healthy(&miners).await?;
        progress.say(format!("{} runs {}", Self::family_name(family), miners.join(" and ")));
        Ok(family)
    }

    /// A client of the first chain node.
    pub async fn chain(&self) -> anyhow::Result<ChainClient> {
        Ok(ChainClient::connect(&self.ws(), None).await?)
    }

    /// Waits until the current map names every miner of the network.
    async fn until_map(&mut self, chain: &ChainClient) -> anyhow::Result<EpochMap> {
        let begun = Instant::now();
        loop {
            let map = chain.current_map().await?;
            let named = map.as_ref().map_or(0, |map| map.miners.len());
            if let Some(map) = map.filter(|map| map.miners.len() >= usize::from(self.options.miners)) {
                return Ok(map);
            }
            if let Some((name, ending)) = self.ended()?.first() {
                bail!("{name} {ending}: look with `logs {name}`");
            }
            if begun.elapsed() > MAP_DEADLINE {
                bail!(
                    "after {} s the finalised map names {named} of {} miners: look with `logs validator-1`",
                    MAP_DEADLINE.as_secs(),
                    self.options.miners
                );
            }
            sleep(POLL).await;
        }
    }

    /// All maps that the chain keeps, by epoch.
    pub async fn maps(
        &self,
        chain: &ChainClient,
    ) -> anyhow::Result<std::collections::BTreeMap<u64, EpochMap>> {
        let mut maps = std::collections::BTreeMap::new();
        let current = chain.current_epoch().await?;
        for epoch in 1..=current {
            if let Some(map) = chain.map_at(epoch).await.with_context(|| format!("map of epoch {epoch}"))? {
                maps.insert(epoch, map);
            }
        }
        Ok(maps)
    }
}
