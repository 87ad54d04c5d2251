//! Miners that cheat: a program with their key at their address, and the honest miner behind it.

use std::time::{Duration, Instant};

use anyhow::bail;
use tokio::time::sleep;

use super::{Network, local};
use crate::{cheat::Strategy, layout, supervisor};

/// The honest miner listens so many numbers further: networks with cheats have fewer miners than that.
const BEHIND: u16 = 50;
const LISTENS_DEADLINE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(200);

impl Network {
    /// Has a miner, counted from 0, cheat from now on. It is away for a moment.
    pub async fn cheat(&mut self, index: u16, strategy: Strategy) -> anyhow::Result<()> {
        if self.options.miners > BEHIND {
            bail!("a network with cheats has at most {BEHIND} miners");
        }
        let (miner, name) = (Self::miner_name(index), format!("cheat-{}", strategy.name()));
        let announced = local(self.ports.miner_quic(index));
        let behind = local(self.ports.miner_quic(index + BEHIND));
        self.stop_one(&miner).await?;
        self.supervisor.tell(&miner, "listen", &behind)?;
        self.start_healthy(std::slice::from_ref(&miner)).await?;
        let data = self.directory(&name);
        layout::make(&data)?;
        let options = [
            ("strategy", strategy.name().to_owned()),
            ("key-file", self.text_of(&miner, Some("node.key"))?),
            ("listen", announced.clone()),
            ("behind", behind),
            ("node", self.ws()),
            ("gateway-id", self.node_id("gateway")?.to_string()),
            ("gateway", local(self.ports.gateway_quic())),
        ];
        let flags = options.into_iter().flat_map(|(option, value)| [format!("--{option}"), value]);
        let command = std::iter::once(layout::program("arion-cheat")?).chain(flags).collect();
        self.supervisor.plan(supervisor::Plan {
            name: name.clone(),
            role: format!("{miner} cheats"),
            address: format!("quic {announced}"),
            http: "-".to_owned(),
            command,
            log: self.layout.log(&name),
            data,
        });
        self.start(&name)?;
        self.until_listens(&name).await
    }

    /// Waits until a cheat says that it listens.
    async fn until_listens(&mut self, name: &str) -> anyhow::Result<()> {
        let begun = Instant::now();
        while self.lines_of(name, "listens on")? == 0 {
            if let Some((ended, ending)) = self.ended()?.first() {
                bail!("{ended} {ending}: look with `logs {ended}`");
            }
            if begun.elapsed() > LISTENS_DEADLINE {
                bail!(
                    "{name} does not listen within {} s: look with `logs {name}`",
                    LISTENS_DEADLINE.as_secs()
                );
            }
            sleep(POLL).await;
        }
        Ok(())
    }
}
