//! Exceptions to CRUSH: single positions of single placement groups that lie elsewhere, as Ceph's `pg_upmap_items`.

use alloc::{collections::BTreeMap, vec::Vec};

use arion_types::{PgId, Uid};

use crate::Map;

/// In placement group `pg`, the shard that CRUSH gives to `from` lies with `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Upmap {
    /// The group.
    pub pg: PgId,
    /// Whom CRUSH draws.
    pub from: Uid,
    /// Who holds the shard instead.
    pub to: Uid,
}

/// Why an exception can not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpmapError {
    /// The group is not in the map.
    #[error("upmap of placement group {pg}: the map has {pg_count}, counted from 0")]
    UnknownGroup {
        /// The group.
        pg: PgId,
        /// How many there are.
        pg_count: u32,
    },
    /// A miner is named twice among the exceptions of a group.
    #[error(
        "upmaps of placement group {pg} name miner {uid} twice: write one upmap from where CRUSH puts the shard to where it shall lie"
    )]
    Repeated {
        /// The group.
        pg: PgId,
        /// The miner.
        uid: Uid,
    },
    /// The replacing miner is not in the map, or has no weight, or is out.
    #[error("upmap of placement group {pg}: miner {to} receives nothing in this map; choose one with weight")]
    UnknownMiner {
        /// The group.
        pg: PgId,
        /// The miner.
        to: Uid,
    },
    /// CRUSH does not put a shard of the group on the replaced miner.
    #[error("upmap of placement group {pg}: CRUSH puts none of its shards on miner {from}; drop the upmap")]
    NotPlaced {
        /// The group.
        pg: PgId,
        /// The miner.
        from: Uid,
    },
    /// The replacing miner holds another shard of the group already.
    #[error("upmap of placement group {pg}: miner {to} holds one of its shards already; choose another")]
    AlreadyPlaced {
        /// The group.
        pg: PgId,
        /// The miner.
        to: Uid,
    },
    /// A family would hold more shards of the group than it may.
    #[error(
        "upmap of placement group {pg}: with miner {to} its family holds more than {cap} shards; choose another family"
    )]
    FamilyCap {
        /// The group.
        pg: PgId,
        /// The miner.
        to: Uid,
        /// `family_shards_max`.
        cap: u8,
    },
}

impl Map {
    /// The same map with `upmaps` in place of those it had. Their order does not matter.
    ///
    /// # Errors
    /// When one of them would have no effect, or would break what a map promises: see [`UpmapError`]. An upmap that
    /// held in one map may be refused in the next; [`Map::upmaps_that_hold`] selects those that can be kept.
    pub fn with_upmaps(mut self, upmaps: &[Upmap]) -> Result<Self, UpmapError> {
        self.upmaps.clear();
        let mut upmaps = upmaps.to_vec();
        upmaps.sort_unstable();
        let families = self.family_of();
        for group in upmaps.chunk_by(|a, b| a.pg == b.pg) {
            self.check_group(&families, group)?;
        }
        self.upmaps = upmaps;
        Ok(self)
    }

    /// Exceptions of the map, ascending.
    pub fn upmaps(&self) -> &[Upmap] {
        &self.upmaps
    }

    /// Those of `upmaps` that [`Map::with_upmaps`] accepts together; of those that exclude each other, the lower.
    pub fn upmaps_that_hold(&self, upmaps: &[Upmap]) -> Vec<Upmap> {
        let mut upmaps = upmaps.to_vec();
        upmaps.sort_unstable();
        let families = self.family_of();
        let mut kept: Vec<Upmap> = Vec::new();
        for group in upmaps.chunk_by(|a, b| a.pg == b.pg) {
            let first = kept.len();
            for upmap in group {
                kept.push(*upmap);
                if self.check_group(&families, &kept[first..]).is_err() {
                    kept.pop();
                }
            }
        }
        kept
    }

    /// Index of the family of every miner that can be chosen.
    fn family_of(&self) -> BTreeMap<Uid, usize> {
        let out: Vec<Uid> = self
            .tree
            .reweights()
            .into_iter()
            .filter(|(_, reweight)| *reweight == 0)
            .map(|(uid, _)| uid)
            .collect();
        self.members().filter(|(_, uid)| !out.contains(uid)).map(|(family, uid)| (uid, family)).collect()
    }

    /// Whether the exceptions of one group can all be made.
    fn check_group(&self, families: &BTreeMap<Uid, usize>, group: &[Upmap]) -> Result<(), UpmapError> {
        let Some(&Upmap { pg, .. }) = group.first() else { return Ok(()) };
        if pg >= self.params.pg_count {
            return Err(UpmapError::UnknownGroup { pg, pg_count: self.params.pg_count });
        }
        let mut named: Vec<Uid> = group.iter().flat_map(|upmap| [upmap.from, upmap.to]).collect();
        named.sort_unstable();
        if let Some(twice) = named.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(UpmapError::Repeated { pg, uid: twice[0] });
        }
        let mut placed = alloc::vec![None; self.shards()];
        self.tree.place(pg, &mut placed);
        for &Upmap { from, to, .. } in group {
            if !families.contains_key(&to) {
                return Err(UpmapError::UnknownMiner { pg, to });
            }
            if placed.contains(&Some(to)) {
                return Err(UpmapError::AlreadyPlaced { pg, to });
            }
            if !placed.contains(&Some(from)) {
                return Err(UpmapError::NotPlaced { pg, from });
            }
        }
        apply(group, pg, &mut placed);
        let cap = self.params.family_shards_max;
        for &Upmap { to, .. } in group {
            let family = families.get(&to);
            let held = placed.iter().flatten().filter(|uid| families.get(uid) == family).count();
            if held > usize::from(cap) {
                return Err(UpmapError::FamilyCap { pg, to, cap });
            }
        }
        Ok(())
    }
}

/// Makes the exceptions of `pg`; `upmaps` ascend.
pub(crate) fn apply(upmaps: &[Upmap], pg: PgId, out: &mut [Option<Uid>]) {
    if upmaps.is_empty() {
        return;
    }
    let first = upmaps.partition_point(|upmap| upmap.pg < pg);
    for upmap in upmaps[first..].iter().take_while(|upmap| upmap.pg == pg) {
        if let Some(position) = out.iter_mut().find(|position| **position == Some(upmap.from)) {
            *position = Some(upmap.to);
        }
    }
}
