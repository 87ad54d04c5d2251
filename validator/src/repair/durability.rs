//! What all stripes together can bear, as a census found them.

use std::collections::{BTreeMap, HashMap};

use arion_protocol::{NetworkDurability, StripesAlike, limits::STRIPE_KINDS_MAX};
use arion_types::Epoch;

use super::{
    map::CurrentMap,
    plan::{Condition, Plan},
};
use crate::holdings::Stripe;

/// The fewest families whose loss takes a stripe, families that have shards of it, shards that are not in place.
type Kind = (u8, u8, u8);

/// Stripes by kind, and their shards.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Spread {
    kinds: BTreeMap<Kind, u64>,
    shards: u64,
    present: u64,
    bytes: u64,
}

impl Spread {
    /// Counts a stripe. Of a shard that several miners have, one counts: that of the miner that the map names, if it has it.
    /// What is said is the least that the stripe can bear.
    pub(super) fn add(&mut self, map: &CurrentMap, stripe: &Stripe, plan: &Plan) {
        let missing = match plan.condition {
            Condition::Contradicted => return,
            Condition::Whole => 0,
            Condition::Degraded { missing } => missing,
            Condition::Unrecoverable => plan.shape.shards.saturating_sub(plan.present),
        };
        let mut families: HashMap<Option<&[u8; 32]>, usize> = HashMap::new();
        for node in plan.sources.iter().filter_map(|source| source.nodes.first()) {
            // Miners of which no map is kept may be of one family.
            *families.entry(map.family(node)).or_default() += 1;
        }
        let fewest = crush::fewest_domains(families.values().copied(), plan.shape.data.into());
        let small = |count: usize| u8::try_from(count).unwrap_or(u8::MAX);
        *self.kinds.entry((small(fewest), small(families.len()), missing)).or_default() += 1;
        self.shards = self.shards.saturating_add(plan.shape.shards.into());
        self.present = self.present.saturating_add(plan.present.into());
        let bytes = u64::from(stripe.size).saturating_mul(plan.shape.shards.into());
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// As others are told. Kinds beyond the cap count with the last that fits, which can bear no more than they can.
    pub(super) fn tell(
        &self,
        epoch: Epoch,
        taken_at: u64,
        silent_gateways: u32,
        bad: u64,
    ) -> NetworkDurability {
        let mut stripes: Vec<StripesAlike> = Vec::new();
        for ((fewest, families, missing), count) in &self.kinds {
            match stripes.len() < usize::from(STRIPE_KINDS_MAX) {
                true => stripes.push(StripesAlike {
                    fewest: *fewest,
                    families: *families,
                    missing: *missing,
                    count: *count,
                }),
                false => {
                    if let Some(last) = stripes.last_mut() {
                        last.count = last.count.saturating_add(*count);
                    }
                }
            }
        }
        let Self { shards, present, bytes, .. } = *self;
        NetworkDurability { taken_at, epoch, silent_gateways, shards, present, bytes, bad, stripes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_beyond_the_cap_are_counted_with_weaker_ones() {
        let mut spread = Spread::default();
        for n in 0..5_000u32 {
            spread.kinds.insert(((n / 900) as u8, (n / 30 % 30) as u8, (n % 30) as u8), 1);
        }
        let told = spread.tell(3, 7, 0, 1);
        assert_eq!(told.stripes.len(), usize::from(STRIPE_KINDS_MAX));
        assert_eq!(told.stripes.iter().map(|alike| alike.count).sum::<u64>(), 5_000);
        assert_eq!(told.stripes.last().unwrap().fewest, 4);
        assert!(told.stripes.is_sorted());
        assert_eq!((told.epoch, told.taken_at, told.bad), (3, 7, 1));
    }
}
