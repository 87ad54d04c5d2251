//! Tells events to webhooks: for each one by one, in order, until it takes them.
//!
//! # Invariants
//! - Of a webhook one event is under way at a time; the next goes when it was taken.
//! - An event that was taken is removed at most `TURN` and one event later: a crash tells it again, under the same id.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arion_daemon::{Health, Shutdown, now_ms};
use futures_util::future;
use ureq::Agent;

use super::{Event, Webhook, Webhooks, event::Teller};
use crate::{
    meta::{Meta, MetaError},
    metrics::Metrics,
};

/// Events that are read at once.
const PAGE: usize = 64;
/// After this long what was taken is removed, also in the midst of a page.
const TURN: Duration = Duration::from_secs(1);
/// Bytes of an answer that are read, so that the connection can be used again.
const ANSWER_BYTES_MAX: u64 = 16 << 10;

/// Bounds of telling.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SenderOptions {
    /// Time for a webhook to answer.
    pub timeout: Duration,
    /// First and longest wait between two attempts; half of it is by chance.
    pub retry: (Duration, Duration),
    /// Pause between looks while there is nothing to tell.
    pub idle: Duration,
    /// Pause between looks at what is beyond the bounds below.
    pub sweep: Duration,
    /// How long an event is kept.
    pub age_max: Duration,
    /// How many events of a webhook are kept.
    pub backlog_max: u64,
}

impl Default for SenderOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            retry: (Duration::from_secs(1), Duration::from_secs(300)),
            idle: Duration::from_millis(250),
            sweep: Duration::from_secs(10),
            age_max: Duration::from_secs(7 * 24 * 3_600),
            backlog_max: 100_000,
        }
    }
}

/// Why an event was not taken.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("it answers {0}")]
    Status(u16),
    #[error("it is not reached: {0}")]
    Unreached(#[from] Box<ureq::Error>),
    #[error("the event cannot be written: {0}")]
    Body(#[from] serde_json::Error),
    #[error(transparent)]
    Meta(#[from] MetaError),
    #[error("the gateway stops")]
    Stopping,
}

/// What tells events.
pub struct Senders {
    /// Where events are.
    pub meta: Meta,
    /// What is counted.
    pub metrics: Metrics,
    /// Where it is said how webhooks are.
    pub health: Health,
    /// To whom.
    pub webhooks: Arc<Webhooks>,
    /// Who.
    pub teller: Teller,
    /// Bounds.
    pub options: SenderOptions,
}

impl Senders {
    /// Tells until the shutdown.
    pub async fn run(&self, stop: Shutdown) {
        let tell = future::join_all(self.webhooks.all().map(|webhook| self.tell(webhook)));
        tokio::select! {
            _ = tell => {}
            () = self.sweep() => {}
            () = stop.wait() => {}
        }
    }

    async fn tell(&self, webhook: &Arc<Webhook>) {
        let agent: Agent = Agent::config_builder()
            .timeout_global(Some(self.options.timeout))
            .max_redirects(0)
            .http_status_as_error(false)
            .proxy(None)
            .user_agent(concat!("arion-gateway/", env!("CARGO_PKG_VERSION")))
            .build()
            .into();
        let (name, detail) = (webhook.name(), format!("webhook_{}", webhook.name()));
        let mut failures = 0;
        self.health.detail(&detail, "ok");
        loop {
            let pause = match self.turn(webhook, &agent).await {
                Ok(told) => {
                    if failures > 0 && told > 0 {
                        tracing::info!(webhook = name, "the webhook takes events again");
                        self.health.detail(&detail, "ok");
                        failures = 0;
                    }
                    if told == 0 { self.options.idle } else { Duration::ZERO }
                }
                Err(refused) => {
                    self.metrics.events_failed.inc();
                    if failures == 0 {
                        tracing::warn!(webhook = name, %refused, "a webhook does not take events; trying again");
                    }
                    self.health.detail(&detail, refused.to_string());
                    failures += 1;
                    self.wait(failures)
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// How long to wait after so many attempts in a row that failed.
    fn wait(&self, failures: u32) -> Duration {
        let (first, longest) = self.options.retry;
        let whole = first.saturating_mul(1 << (failures - 1).min(20)).min(longest);
        whole.mul_f64(rand::random_range(0.5..=1.0))
    }

    /// Tells what waits, up to a page; how many events were taken.
    async fn turn(&self, webhook: &Arc<Webhook>, agent: &Agent) -> Result<usize, Refused> {
        let page = self.meta.events_of(webhook.name().to_owned(), PAGE).await?;
        let (began, mut taken, mut outcome) = (Instant::now(), Vec::new(), Ok(()));
        for (sequence, event) in page {
            outcome = self.post(webhook, agent, sequence, &event).await;
            if outcome.is_err() {
                break;
            }
            taken.push(sequence);
            if began.elapsed() >= TURN {
                break;
            }
        }
        let count = taken.len();
        if count > 0 {
            self.meta.events_taken(webhook.name().to_owned(), taken).await?;
            self.metrics.events_told.inc_by(count as u64);
        }
        // What was taken before the one that was not says that the webhook is there.
        outcome.map(|()| count).or_else(|refused| if count > 0 { Ok(count) } else { Err(refused) })
    }

    async fn post(
        &self,
        webhook: &Arc<Webhook>,
        agent: &Agent,
        sequence: u64,
        event: &Event,
    ) -> Result<(), Refused> {
        let body = serde_json::to_vec(&event.body(sequence, &self.teller))?;
        let (id, seconds) = (hex::encode(event.id), now_ms() / 1_000);
        let (webhook, agent) = (webhook.clone(), agent.clone());
        let posted = tokio::task::spawn_blocking(move || -> Result<u16, Box<ureq::Error>> {
            let request = agent
                .post(webhook.url())
                .header("content-type", "application/json")
                .header("webhook-id", &id)
                .header("webhook-timestamp", seconds.to_string())
                .header("webhook-signature", webhook.signature(&id, seconds, &body));
            let mut answer = request.send(&body[..])?;
            // What it says is nobody's concern, nor whether it can be read.
            let _ = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
            Ok(answer.status().as_u16())
        });
        match posted.await.map_err(|_| Refused::Stopping)?? {
            200..=299 => Ok(()),
            status => Err(Refused::Status(status)),
        }
    }

    /// Drops what is beyond the bounds, also of webhooks that are not configured any more, and says how much waits.
    async fn sweep(&self) {
        loop {
            let age_ms = u64::try_from(self.options.age_max.as_millis()).unwrap_or(u64::MAX);
            let before_ms = now_ms().saturating_sub(age_ms);
            match self.meta.drop_events(before_ms, self.options.backlog_max).await {
                Ok(left) => {
                    for (webhook, dropped) in left.dropped.iter().filter(|(_, dropped)| **dropped > 0) {
                        self.metrics.events_dropped.inc_by(*dropped);
                        tracing::warn!(
                            webhook,
                            dropped,
                            "events that a webhook did not take in time are dropped"
                        );
                    }
                    self.metrics.events_queued.set(i64::try_from(left.queued).unwrap_or(i64::MAX));
                    self.health.detail("events_queued", left.queued);
                    self.health.detail("events_dropped", self.metrics.events_dropped.get());
                }
                Err(error) => tracing::warn!(%error, "what webhooks were not told cannot be looked through"),
            }
            tokio::time::sleep(self.options.sweep).await;
        }
    }
}
