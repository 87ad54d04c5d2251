//! Miners that are there half of the time.

use std::time::{Duration, Instant};

use crate::network::Network;

/// How long they are there, and how long they are not: together half as long again as a weight bucket, so that validators do not always
/// look in the same part of it.
const HALF: Duration = Duration::from_secs(45);

/// Kills miners and starts them again, in turn.
pub(super) struct Shift {
    miners: [String; 2],
    since: Option<Instant>,
    is_away: bool,
}

impl Shift {
    /// These are there until the shift begins.
    pub(super) fn of(miners: [String; 2]) -> Self {
        Self { miners, since: None, is_away: false }
    }

    /// From now on they come and go.
    pub(super) fn begin(&mut self) {
        self.since = Some(Instant::now());
    }

    /// Kills or starts them, if it is time.
    pub(super) fn turn(&mut self, network: &mut Network) -> anyhow::Result<()> {
        if self.since.is_none_or(|since| since.elapsed() < HALF) {
            return Ok(());
        }
        for miner in &self.miners {
            if self.is_away {
                network.start(miner)?;
            } else {
                network.kill(miner)?;
            }
        }
        self.is_away = !self.is_away;
        self.begin();
        Ok(())
    }
}
