//! When the chain is asked, told, and taken at its word.

use std::{sync::Arc, time::Duration};

use arion_chain::AccountId;
use arion_daemon::{Health, Shutdown, now_ms};
use tokio::time::Instant;

use super::{
    commit::{self, BillError, Billed, Biller},
    credit::Credit,
    expire::Expirer,
    market::{Market, MarketError},
};
use crate::{keys::AccessKeys, metrics::Metrics};

/// Pause between looks at the clock.
const TICK: Duration = Duration::from_secs(1);
/// Least pause between two looks at the accounts that pay.
const LOOK: Duration = Duration::from_secs(10);
/// And at least so long for each of them.
const LOOK_EACH: Duration = Duration::from_millis(50);
/// First and longest pause after an attempt that failed.
const RETRY: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(600));
/// What /health says where nobody is billed.
pub const OFF: &str = "off, for want of [billing] account_file: nobody is charged, and no miner is paid for what is stored here";

/// Asks the chain about the accounts that pay, for this replica.
pub struct Watch {
    /// The chain.
    pub market: Arc<dyn Market>,
    /// The accounts.
    pub keys: Arc<AccessKeys>,
    /// Who is told.
    pub credit: Arc<Credit>,
    /// Where it is told that it does not answer.
    pub health: Health,
}

impl Watch {
    /// Asks once; returns how many accounts there are.
    pub async fn look(&self) -> Result<usize, BillError> {
        let accounts: Vec<AccountId> = self.keys.payers()?.into_keys().collect();
        self.credit.learn(self.market.view(&accounts).await?);
        Ok(accounts.len())
    }

    /// Asks again and again, until the shutdown.
    pub async fn run(&self, stop: Shutdown) {
        loop {
            let pause = match self.look().await {
                Ok(accounts) => {
                    self.health.ok("credits");
                    LOOK.max(LOOK_EACH.saturating_mul(u32::try_from(accounts).unwrap_or(u32::MAX)))
                }
                Err(error) => {
                    self.health.failing("credits", error.to_string());
                    LOOK
                }
            };
            tokio::select! {
                () = stop.wait() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}

/// Bills, and deletes what is not paid for: what one replica does for all.
pub struct Billing {
    /// Commits.
    pub biller: Biller,
    /// Deletes.
    pub expirer: Expirer,
    /// Between two commitments.
    pub interval: Duration,
    /// Where it is told.
    pub health: Health,
}

impl Billing {
    /// Works until the shutdown.
    pub async fn run(&self, stop: Shutdown) {
        tokio::select! {
            () = self.bill() => {}
            () = self.expire() => {}
            () = stop.wait() => {}
        }
    }

    async fn bill(&self) {
        let (mut next, mut retry) = (Instant::now(), RETRY.0);
        let mut anchored: Option<(u64, Instant)> = None;
        loop {
            if Instant::now() >= next {
                match self.biller.bill().await {
                    Ok(billed) => {
                        self.took(&billed);
                        anchored = Some((billed.lines, Instant::now()));
                        (next, retry) = (Instant::now() + self.interval, RETRY.0);
                    }
                    Err(error) => {
                        self.failed(&error);
                        next = Instant::now() + retry.min(self.interval);
                        retry = (retry * 2).min(RETRY.1);
                    }
                }
            }
            if let Some((lines, at)) = anchored {
                self.health.detail("billing", lines);
                self.health.detail("billing_age_seconds", at.elapsed().as_secs());
            }
            tokio::time::sleep(TICK).await;
        }
    }

    fn took(&self, billed: &Billed) {
        let metrics: &Metrics = &self.biller.metrics;
        let value = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        metrics.anchored_lines.set(value(billed.lines));
        metrics.anchored_bytes.set(value(billed.bytes));
        metrics.billed_bytes.set(value(billed.billed));
        metrics.usage_skipped.inc_by(billed.skipped.len() as u64);
        commit::tell_skipped(&billed.skipped);
        self.health.ok("billing");
        if billed.commitments > 0 {
            let Billed { commitments, lines, bytes, updates, .. } = billed;
            tracing::info!(commitments, lines, bytes, updates, "the chain has the ledger and its bills");
        }
    }

    fn failed(&self, error: &BillError) {
        self.biller.metrics.billing_failures.inc();
        match error {
            BillError::Behind { .. } | BillError::Other | BillError::Market(MarketError::NotOwner) => {
                tracing::error!(%error, "nobody is billed");
            }
            _ => tracing::warn!(%error, "a commitment was not made and is tried again"),
        }
        self.health.failing("billing", error.to_string());
    }

    async fn expire(&self) {
        loop {
            let pause = match self.expirer.turn(now_ms()).await {
                Ok(true) => TICK,
                Ok(false) => LOOK,
                Err(error) => {
                    tracing::warn!(%error, "what was not paid for could not be looked after");
                    LOOK
                }
            };
            tokio::time::sleep(pause).await;
        }
    }
}
