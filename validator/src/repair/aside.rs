//! Stripes that repair leaves alone for a while, because what their gateways say of them is not so.
//!
//! Found only by work that was done: shards were fetched and compared with their addresses. Kept in memory: after a restart each of
//! them is looked into once more.
//!
//! # Invariants
//! - At most [`ASIDE_MAX`] stripes; beyond that the one goes first whose time would come first.
//! - A stripe is looked into after [`PAUSE_MS`], each time twice as long after the last; at most [`CHANGED_MS`] where lines of it have come or gone.

use std::collections::BTreeMap;

use arion_types::ShardHash;

use crate::holdings::{Stripe, StripeRef};

/// Stripes set aside at once, some 150 bytes each.
const ASIDE_MAX: usize = 65_536;
/// First and longest time until a stripe is looked into again.
const PAUSE_MS: (u64, u64) = (600_000, 24 * 3_600_000);
/// Longest time where its lines are not what they were.
const CHANGED_MS: u64 = 3_600_000;
/// Stripes that are named to whoever asks; all are counted.
const TOLD_MAX: usize = 20;

/// Why a stripe is left alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum Reason {
    /// k shards, each of which hashes to its address, make other shards than the lines and the id of the stripe say.
    #[error("its shards, as miners signed for them, make another stripe")]
    OtherStripe,
    /// A gateway says that it does not want what its ledger wants. Once is no finding: the line that deletes it is under way.
    #[error("its gateway does not want it or refuses its receipts, and has not deleted it in its ledger")]
    Unwanted,
}

#[derive(Clone, Debug)]
struct Entry {
    reason: Reason,
    /// Over the shards that its lines name.
    lines: [u8; 32],
    looks: u32,
    looked_ms: u64,
}

impl Entry {
    fn is_finding(&self) -> bool {
        self.reason != Reason::Unwanted || self.looks > 0
    }

    fn pause_ms(&self) -> u64 {
        if !self.is_finding() {
            return 0;
        }
        PAUSE_MS.0.saturating_mul(1 << self.looks.min(16)).min(PAUSE_MS.1)
    }

    fn again_ms(&self) -> u64 {
        self.looked_ms.saturating_add(self.pause_ms())
    }
}

/// What lines say of the shards of a stripe, whoever has them.
fn lines(stripe: &Stripe) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    let mut before: Option<(u8, ShardHash)> = None;
    for known in stripe.places.iter().map(|place| (place.index, place.shard)) {
        if before.replace(known) != Some(known) {
            hasher.update(&[known.0]).update(&known.1.0);
        }
    }
    *hasher.finalize().as_bytes()
}

/// The stripes.
#[derive(Debug)]
pub(super) struct Aside {
    entries: BTreeMap<StripeRef, Entry>,
    limit: usize,
}

impl Default for Aside {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), limit: ASIDE_MAX }
    }
}

impl Aside {
    /// A stripe was looked into, and this was found; for how long it is left alone, in milliseconds.
    pub(super) fn put(&mut self, stripe: &Stripe, reason: Reason, now_ms: u64) -> u64 {
        let looks = self.entries.get(&stripe.key()).map_or(0, |entry| entry.looks.saturating_add(1));
        let entry = Entry { reason, lines: lines(stripe), looks, looked_ms: now_ms };
        let pause_ms = entry.pause_ms();
        self.entries.insert(stripe.key(), entry);
        if self.entries.len() > self.limit
            && let Some(first) = self.entries.iter().min_by_key(|(_, entry)| entry.again_ms())
        {
            let first = *first.0;
            self.entries.remove(&first);
        }
        pause_ms
    }

    /// Why a stripe is to be left alone now, if it is.
    pub(super) fn of(&self, stripe: &Stripe, now_ms: u64) -> Option<Reason> {
        let entry = self.entries.get(&stripe.key())?;
        let pause_ms = match entry.lines == lines(stripe) {
            true => entry.pause_ms(),
            false => entry.pause_ms().min(CHANGED_MS),
        };
        (now_ms < entry.looked_ms.saturating_add(pause_ms)).then_some(entry.reason)
    }

    /// Whether a stripe was found to be left alone for now.
    pub(super) fn has(&self, stripe: &StripeRef, now_ms: u64) -> bool {
        self.entries.get(stripe).is_some_and(|entry| now_ms < entry.again_ms())
    }

    /// All shards of a stripe are there, and make it.
    pub(super) fn is_whole(&mut self, stripe: &StripeRef) {
        if self.entries.get(stripe).is_some_and(|entry| entry.reason == Reason::OtherStripe) {
            self.entries.remove(stripe);
        }
    }

    /// Forgets those of which nothing was found again: their lines are gone, or they are as they should be.
    pub(super) fn forget_old(&mut self, now_ms: u64) {
        self.entries.retain(|_, entry| entry.again_ms().saturating_add(PAUSE_MS.1) > now_ms);
    }

    fn findings(&self) -> impl Iterator<Item = (&StripeRef, &Entry)> {
        self.entries.iter().filter(|(_, entry)| entry.is_finding())
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.findings().count()
    }

    /// The first of them, with the gateway whose ledger has them and why.
    pub(super) fn told(&self) -> Vec<String> {
        let told = self.findings().take(TOLD_MAX).map(|(StripeRef { id, gateway }, entry)| {
            format!("stripe {id} of gateway {gateway}: {}", entry.reason)
        });
        told.collect()
    }
}

#[cfg(test)]
mod tests {
    use arion_types::{NodeId, StripeId};

    use super::*;
    use crate::holdings::Place;

    fn stripe(n: u8, shards: &[u8]) -> Stripe {
        let place = |(index, shard): (u8, &u8)| Place {
            index,
            shard: ShardHash([*shard; 32]),
            node: NodeId([index; 32]),
            epoch: 1,
        };
        let places = (0..).zip(shards).map(place).collect();
        Stripe { id: StripeId([n; 32]), size: 64, gateway: NodeId([9; 32]), places }
    }

    #[test]
    fn a_stripe_is_looked_into_less_and_less_often_and_sooner_when_its_lines_change() {
        let (mut aside, known) = (Aside::default(), stripe(1, &[1, 2]));
        let mut now = 5;
        for pause in [600_000, 1_200_000, 2_400_000, 4_800_000] {
            assert_eq!(aside.put(&known, Reason::OtherStripe, now), pause);
            assert_eq!(aside.of(&known, now + pause - 1), Some(Reason::OtherStripe));
            now += pause;
            assert_eq!(aside.of(&known, now), None);
        }
        for _ in 0..9 {
            aside.put(&known, Reason::OtherStripe, now);
        }
        assert_eq!(aside.of(&known, now + PAUSE_MS.1 - 1), Some(Reason::OtherStripe));
        let mut copied = known.clone();
        copied.places.insert(1, Place { node: NodeId([7; 32]), epoch: 2, ..known.places[0] });
        assert!(
            aside.of(&copied, now + PAUSE_MS.1 - 1).is_some(),
            "it was brought elsewhere, and is the same"
        );
        let more = stripe(1, &[1, 2, 3]);
        assert_eq!(aside.of(&more, now + CHANGED_MS - 1), Some(Reason::OtherStripe));
        assert_eq!(aside.of(&more, now + CHANGED_MS), None);
        assert_eq!((aside.len(), aside.of(&stripe(2, &[1, 2]), now)), (1, None));
        assert!(aside.told()[0].contains("make another stripe"), "{:?}", aside.told());
        aside.is_whole(&known.key());
        assert_eq!((aside.len(), aside.of(&known, now)), (0, None));
    }

    #[test]
    fn they_are_bounded_and_forgotten() {
        let mut aside = Aside { limit: 2, ..Aside::default() };
        for n in 1..=3 {
            aside.put(&stripe(n, &[n]), Reason::OtherStripe, n.into());
        }
        let known = |aside: &Aside| [1, 2, 3].map(|n| aside.of(&stripe(n, &[n]), 4).is_some());
        assert_eq!((aside.len(), known(&aside)), (2, [false, true, true]));
        aside.forget_old(PAUSE_MS.0 + PAUSE_MS.1 + 2);
        assert_eq!(known(&aside), [false, false, true]);
    }

    #[test]
    fn what_a_gateway_has_just_deleted_is_no_finding() {
        let (mut aside, known) = (Aside::default(), stripe(1, &[1]));
        assert_eq!((aside.put(&known, Reason::Unwanted, 1), aside.of(&known, 1), aside.len()), (0, None, 0));
        assert_eq!(aside.put(&known, Reason::Unwanted, 2), 2 * PAUSE_MS.0);
        aside.is_whole(&known.key());
        assert_eq!((aside.of(&known, 3), aside.len()), (Some(Reason::Unwanted), 1));
    }
}
