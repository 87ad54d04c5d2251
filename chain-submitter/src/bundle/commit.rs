//! Brings commitments to the chain: one for an epoch, once. No IO, no clock of its own.
//!
//! # Invariants
//! - A commitment that leaves is noted before, with the block behind which it cannot be included any more; until then nothing is
//!   sent again, crash or not.
//! - It is over only when the finalised chain has a commitment for the epoch, whoever made it, or no longer keeps the epoch.
//! - It counts towards the limits of transactions and fees like a batch of attestations.

use std::{collections::BTreeMap, time::Duration};

use arion_types::{AttestationCommitment, Epoch};

use crate::flow::{Flow, Outcome, Settlement};

const BACKOFF_MIN: Duration = Duration::from_secs(2);
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// Pause between looks at a commitment that may still be included.
const HELD_PAUSE: Duration = Duration::from_secs(6);

/// A commitment on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Committing {
    /// What is committed to.
    pub commitment: AttestationCommitment,
    /// Behind this finalised block the transaction that left cannot be included any more; `None` if none left.
    pub until: Option<u32>,
}

/// What the finalised chain says of an epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SeenEpoch {
    /// A finalised block.
    pub head: u32,
    /// What is committed to there or later.
    pub committed: Option<AttestationCommitment>,
    /// Whether its map is kept.
    pub is_kept: bool,
}

/// How the commitment of an epoch ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// The chain has it.
    Committed,
    /// The chain has another one: another submitter was first.
    Other,
    /// The chain keeps the epoch no longer.
    Gone,
}

/// What is to be done with a commitment. In every case, first write down the settlement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decision {
    /// Nothing for now.
    Wait(Settlement),
    /// It is over.
    Over(Settlement, Ending),
    /// Send it; then [`Committer::submitted`].
    Send(Settlement),
}

/// Sends commitments.
#[derive(Clone, Debug, Default)]
pub struct Committer {
    /// Number of the cost of what is being sent.
    sending: Option<(Epoch, u64, Committing)>,
    not_before: Duration,
    failures: u32,
}

impl Committer {
    /// The commitment to look at now, if any.
    pub fn next(&self, now: Duration, waiting: &BTreeMap<Epoch, Committing>) -> Option<(Epoch, Committing)> {
        let is_due = self.sending.is_none() && now >= self.not_before;
        waiting.first_key_value().filter(|_| is_due).map(|(epoch, committing)| (*epoch, *committing))
    }

    /// The chain could not be read, or a settlement not be written.
    pub fn failed(&mut self, now: Duration, flow: &mut Flow) {
        if let Some((_, cost, _)) = self.sending.take() {
            flow.cancel_cost(cost);
        }
        self.back_off(now);
    }

    fn back_off(&mut self, now: Duration) {
        let pause = BACKOFF_MIN.saturating_mul(1 << self.failures.min(10)).min(BACKOFF_MAX);
        self.failures = self.failures.saturating_add(1);
        self.not_before = now.saturating_add(pause);
    }

    /// Takes in what the chain says of an epoch.
    pub fn looked(
        &mut self,
        now: Duration,
        epoch: Epoch,
        committing: Committing,
        seen: SeenEpoch,
        flow: &mut Flow,
    ) -> Decision {
        let over = |ending| {
            let committing = Some((epoch, None));
            Decision::Over(Settlement { committing, ..Settlement::default() }, ending)
        };
        match seen.committed {
            Some(committed) if committed == committing.commitment => {
                self.failures = 0;
                return over(Ending::Committed);
            }
            Some(_) => return over(Ending::Other),
            None if !seen.is_kept => return over(Ending::Gone),
            None => {}
        }
        if committing.until.is_some_and(|until| seen.head <= until) || flow.limit_reached(now).is_some() {
            self.not_before = now + HELD_PAUSE;
            return Decision::Wait(Settlement::default());
        }
        let (cost, costs) = flow.begin_cost(now);
        let until = Some(seen.head.saturating_add(flow.flight_blocks()));
        let leaving = Committing { until, ..committing };
        self.sending = Some((epoch, cost, leaving));
        Decision::Send(Settlement {
            committing: Some((epoch, Some(leaving))),
            costs,
            ..Settlement::default()
        })
    }

    /// What became of it. Write down the settlement.
    pub fn submitted(&mut self, now: Duration, outcome: &Outcome, flow: &mut Flow) -> Settlement {
        let mut settlement = Settlement::default();
        let Some((epoch, cost, leaving)) = self.sending.take() else { return settlement };
        let back = Some((epoch, Some(Committing { until: None, ..leaving })));
        match outcome {
            // The chain is asked whether it really has it: until then it counts as on its way.
            Outcome::Finalized { fee } => {
                settlement.costs.extend(flow.end_cost(cost, now, *fee));
                settlement.committing = back;
                self.failures = 0;
            }
            Outcome::Refused { fee, .. } => {
                settlement.costs.extend(flow.end_cost(cost, now, *fee));
                settlement.committing = back;
                self.back_off(now);
            }
            Outcome::NotTaken(_) => {
                settlement.costs.extend(flow.cancel_cost(cost));
                settlement.committing = back;
                self.back_off(now);
            }
            Outcome::Unknown(_) => self.back_off(now),
        }
        settlement
    }
}

#[cfg(test)]
#[path = "commit_tests.rs"]
mod tests;
