//! Reports wardens that contradict themselves: between batches, and within the same limits.

use std::time::{Duration, Instant};

use super::{SubmitFault, Submitter};
use crate::flow::{Outcome, Settlement};

impl Submitter {
    /// Reports a warden that contradicted itself, if there is one and it is time. Until when something was done.
    pub(super) async fn report_conflict(&self, now: Duration) -> Result<Option<Duration>, SubmitFault> {
        let snapshot = self.view.snapshot();
        let due = self.conflicts.due(now, snapshot.block.number, &snapshot.registry.wardens);
        let Some(conflict) = due.filter(|_| self.flow(|flow| flow.limit_reached(now)).is_none()) else {
            return Ok(None);
        };
        let (cost, costs) = self.flow(|flow| flow.begin_cost(now));
        self.settle(now, &Settlement { costs, ..Settlement::default() })?;
        let sent = Instant::now();
        let outcome = self.chain.report(&conflict).await;
        let now = now + sent.elapsed();
        let costs = match &outcome {
            Outcome::Finalized { fee } | Outcome::Refused { fee, .. } => {
                self.flow(|flow| flow.end_cost(cost, now, *fee))
            }
            Outcome::NotTaken(_) => self.flow(|flow| flow.cancel_cost(cost)),
            Outcome::Unknown(_) => None,
        };
        let until = snapshot.block.number.saturating_add(self.flow(|flow| flow.flight_blocks()));
        self.conflicts.reported(now, &conflict, &outcome, until);
        self.settle(now, &Settlement { costs: costs.into_iter().collect(), ..Settlement::default() })?;
        let warden = conflict.warden();
        match outcome {
            Outcome::Finalized { .. } => {
                self.metrics.transactions.inc();
                tracing::warn!(%warden, "a warden that contradicted itself is deregistered");
            }
            Outcome::Refused { name, .. } => {
                tracing::error!(%warden, reason = name, "the chain refused the report of a warden; it is not sent again");
            }
            Outcome::NotTaken(reason) | Outcome::Unknown(reason) => {
                self.metrics.failures.inc();
                tracing::warn!(%warden, reason, "a warden that contradicted itself is not reported for now");
            }
        }
        Ok(Some(now))
    }
}
