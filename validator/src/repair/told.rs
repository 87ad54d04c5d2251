//! When gateways were told of receipts that have not come back in their ledgers.
//!
//! The receipts are on disk (`holdings::pending`); this is in memory, so that after a restart each gateway is told once more. One that has
//! lost them enters them then; one whose ledger says something else is told less and less often.
//!
//! # Invariants
//! - At most [`TOLD_MAX`] stripes; of others gateways are told at every walk.

use std::collections::HashMap;

use crate::holdings::StripeRef;

/// Stripes that are remembered, some 90 bytes each.
const TOLD_MAX: usize = 65_536;
/// First and longest time until a gateway is told again.
const PAUSE_MS: (u64, u64) = (600_000, 24 * 3_600_000);

/// Stripes, how often their gateways were told, and when last.
#[derive(Debug, Default)]
pub(super) struct Told(HashMap<StripeRef, (u32, u64)>);

fn again_ms((times, told_ms): (u32, u64)) -> u64 {
    let pause_ms = PAUSE_MS.0.saturating_mul(1 << times.min(16)).min(PAUSE_MS.1);
    told_ms.saturating_add(pause_ms)
}

impl Told {
    /// Whether it is time to tell of the receipts of a stripe.
    pub(super) fn is_due(&self, stripe: &StripeRef, now_ms: u64) -> bool {
        self.0.get(stripe).is_none_or(|told| again_ms(*told) <= now_ms)
    }

    /// A gateway was told.
    pub(super) fn note(&mut self, stripe: &StripeRef, now_ms: u64) {
        let times = self.0.get(stripe).map_or(0, |(times, _)| times.saturating_add(1));
        if self.0.len() >= TOLD_MAX && times == 0 {
            // Those that came back in a ledger.
            self.0.retain(|_, told| again_ms(*told) > now_ms);
        }
        if self.0.len() < TOLD_MAX || times > 0 {
            self.0.insert(*stripe, (times, now_ms));
        }
    }

    /// There is nothing to tell any more.
    pub(super) fn done(&mut self, stripe: &StripeRef) {
        self.0.remove(stripe);
    }
}

#[cfg(test)]
mod tests {
    use arion_types::{NodeId, StripeId};

    use super::*;

    fn of(id: [u8; 32]) -> StripeRef {
        StripeRef { id: StripeId(id), gateway: NodeId([1; 32]) }
    }

    #[test]
    fn a_gateway_is_told_less_and_less_often() {
        let (mut told, stripe) = (Told::default(), of([1; 32]));
        let mut now = 0;
        for pause in [600_000, 1_200_000, 2_400_000] {
            assert!(told.is_due(&stripe, now));
            told.note(&stripe, now);
            assert!(!told.is_due(&stripe, now + pause - 1));
            now += pause;
        }
        (0..20).for_each(|_| told.note(&stripe, now));
        assert!(!told.is_due(&stripe, now + PAUSE_MS.1 - 1) && told.is_due(&stripe, now + PAUSE_MS.1));
        told.done(&stripe);
        assert!(told.is_due(&stripe, now));
    }

    #[test]
    fn they_are_bounded() {
        let mut told = Told::default();
        let id = |n: u32| of([n.to_le_bytes(); 8].concat().try_into().unwrap());
        for n in 0..=TOLD_MAX as u32 {
            told.note(&id(n), 0);
        }
        assert_eq!(told.0.len(), TOLD_MAX);
        told.note(&id(1 << 20), PAUSE_MS.0);
        assert_eq!(told.0.len(), 1, "those whose time has come are forgotten");
    }
}
