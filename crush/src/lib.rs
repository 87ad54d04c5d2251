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
//! Specified in docs/spec/placement.md; frozen by crush/vectors.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod build;
mod diff;
mod hash;
mod hierarchy;
mod ln;
mod loss;
mod rule;
mod straw2;
mod text;
mod upmap;
#[cfg(feature = "simd")]
mod wide;

pub use arion_types::{CrushParams, MinerRecord, PgId, Uid};
pub use build::{BuildError, Leaf};
pub use diff::{DiffError, Flow, Move, Moves, Plan};
pub use hierarchy::{Bucket, Child, Hierarchy, HierarchyError, Level};
pub use loss::fewest_domains;
pub use rule::Step;
pub use text::CrushtoolText;
pub use upmap::{Upmap, UpmapError};

use alloc::{vec, vec::Vec};

/// Largest [`Uid`] a map can hold: ids are 31 bits in CRUSH and two of them have a meaning of their own.
pub const UID_MAX: Uid = 0x7fff_fffd;

/// The map of an epoch, ready to place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Map {
    params: CrushParams,
    /// Families with weight, in ascending order of account.
    families: Vec<Family>,
    /// The root, its families, their miners with weight; items in ascending order of account and uid.
    tree: Hierarchy,
    /// Exceptions by group, then by the miner they replace.
    upmaps: Vec<Upmap>,
}

/// A family with weight.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Family {
    account: [u8; 32],
    /// Id of its bucket.
    bucket: i32,
    /// How many of its miners have weight.
    miners: usize,
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
        build::families_per_group(&self.params)
    }

    /// Number of families that can be chosen.
    pub fn family_count(&self) -> usize {
        self.families.len()
    }

    /// Uids of all miners that can be chosen, ascending within each family.
    pub fn uids(&self) -> impl Iterator<Item = Uid> + '_ {
        self.members().map(|(_, uid)| uid)
    }

    /// Families by index, with each of their miners that can be chosen.
    fn members(&self) -> impl Iterator<Item = (usize, Uid)> + '_ {
        self.families.iter().enumerate().flat_map(move |(index, family)| {
            let node = self.tree.node(family.bucket);
            node.into_iter().flat_map(move |node| self.tree.miners(node)).map(move |(uid, _)| (index, uid))
        })
    }

    /// The tree and rule the map stands for, without its upmaps.
    pub fn hierarchy(&self) -> &Hierarchy {
        &self.tree
    }

    /// Fills `out[i]` with the miner of shard `i` of placement group `pg`.
    ///
    /// A position is `None` where CRUSH found no miner in `choose_tries` attempts, which happens when a drawn
    /// family has fewer miners than the cap; writers treat it as a missing shard. Positions beyond k + m are
    /// `None`; a shorter `out` receives the first positions.
    pub fn place(&self, pg: PgId, out: &mut [Option<Uid>]) {
        // All of them are drawn in any case: who is asked for counts in who is found.
        let mut placed = [None; rule::POSITIONS_MAX];
        let placed = &mut placed[..self.shards()];
        self.tree.place(pg, placed);
        upmap::apply(&self.upmaps, pg, placed);
        out.fill(None);
        for (place, miner) in out.iter_mut().zip(placed) {
            *place = *miner;
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
        CrushtoolText { tree: &self.tree, families: &self.families }
    }
}
