//! Placement: a map goes in, the ordered list of miners of a placement group comes out.
//!
//! It is CRUSH as Ceph defines it (straw2 buckets, `rjenkins1`, `indep` selection, optimal tunables), so that
//! Ceph's `crushtool --test` on [`Map::crushtool_text`] gives the same answer for every placement group.
//! Gateways, repair, wardens, the chain and strangers all call [`Map::place`]; there is no lookup service.
//!
//! ```
//! use arion_types::CrushParams;
//! use crush::{Leaf, Map};
//!
//! let params = CrushParams { pg_count: 64, ec_k: 2, ec_m: 2, family_shards_max: 2, choose_tries: 100 };
//! let leaves = (0..6).map(|uid| Leaf { uid, family: [(uid / 2) as u8; 32], weight: 0x1_0000 });
//! let map = Map::build(&params, leaves)?;
//! assert_eq!(map.place_vec(7).len(), 4);
//! # Ok::<(), crush::BuildError>(())
//! ```
//!
//! # Invariants
//! - Integers only, no allocation while placing, no clock, no randomness: equal maps place equally everywhere.
//! - The order in which miners are given does not matter.
//! - No miner twice in a placement group, no family beyond `family_shards_max`, no miner of weight 0.
//!
//! # Not here
//! Which epoch's map applies and which miners belong in it (`validator`); placement groups of stripes
//! (`arion_types::stripe`).
//!
//! Specified in docs/spec/placement.md; frozen by crush/vectors/placement.json.

#![no_std]

extern crate alloc;

mod build;
mod hash;
mod ln;
mod select;
mod text;

pub use arion_types::{CrushParams, MinerRecord, PgId, Uid};
pub use build::{BuildError, Leaf};
pub use text::CrushtoolText;

use alloc::{vec, vec::Vec};

use select::{Item, NOTHING, SHARDS_MAX, choose_indep};

/// Largest [`Uid`] a map can hold: ids are 31 bits in CRUSH and two of them have a meaning of their own.
pub const UID_MAX: Uid = 0x7fff_fffd;

/// The map of an epoch, ready to place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Map {
    params: CrushParams,
    /// Families with weight, in ascending order of account.
    families: Vec<Family>,
    /// The root bucket: item `i` is `families[i]`.
    root: Vec<Item>,
    /// Miners with weight, grouped like `families`, ascending by uid within a family.
    miners: Vec<Item>,
}

/// A family bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Family {
    account: [u8; 32],
    /// Its items in [`Map::miners`].
    first: usize,
    end: usize,
}

impl Map {
    /// Parameters the map was built with.
    pub fn params(&self) -> &CrushParams {
        &self.params
    }

    /// Positions of a placement group: k + m.
    pub fn shards(&self) -> usize {
        usize::from(self.params.shards())
    }

    /// Families that every placement group draws: (k + m) / cap, rounded up.
    pub fn families_per_group(&self) -> usize {
        self.shards().div_ceil(usize::from(self.params.family_shards_max))
    }

    /// Number of families that can be chosen.
    pub fn family_count(&self) -> usize {
        self.families.len()
    }

    /// Uids of all miners that can be chosen, ascending within each family.
    pub fn uids(&self) -> impl Iterator<Item = Uid> + '_ {
        self.miners.iter().map(|miner| miner.id)
    }

    /// Fills `out[i]` with the miner of shard `i` of placement group `pg`.
    ///
    /// A position is `None` where CRUSH found no miner in `choose_tries` attempts, which happens when a drawn
    /// family has fewer miners than the cap; writers treat it as a missing shard. Positions beyond k + m are
    /// `None`; a shorter `out` receives the first positions.
    pub fn place(&self, pg: PgId, out: &mut [Option<Uid>]) {
        out.fill(None);
        let shards = self.shards();
        let cap = usize::from(self.params.family_shards_max);
        let tries = u32::from(self.params.choose_tries);

        let mut family_slots = [NOTHING; SHARDS_MAX];
        let family_slots = &mut family_slots[..self.families_per_group()];
        choose_indep(&self.root, pg, family_slots.len() as u32, tries, family_slots);

        // A family slot that stayed empty takes up no positions: Ceph closes the gap, and so do we.
        let mut placed = 0;
        for family in family_slots.iter().filter_map(|slot| self.families.get(*slot as usize)) {
            let miners = &self.miners[family.first..family.end];
            let mut miner_slots = [NOTHING; SHARDS_MAX];
            let miner_slots = &mut miner_slots[..cap.min(shards - placed)];
            choose_indep(miners, pg, cap as u32, tries, miner_slots);
            for (slot, position) in miner_slots.iter().zip(placed..) {
                if let Some(place) = out.get_mut(position) {
                    *place = miners.get(*slot as usize).map(|miner| miner.id);
                }
            }
            placed += miner_slots.len();
        }
    }

    /// [`Map::place`] into a new vector of k + m positions.
    pub fn place_vec(&self, pg: PgId) -> Vec<Option<Uid>> {
        let mut out = vec![None; self.shards()];
        self.place(pg, &mut out);
        out
    }

    /// The same map and rule in the text form of Ceph's `crushtool`.
    pub fn crushtool_text(&self) -> CrushtoolText<'_> {
        CrushtoolText(self)
    }
}
