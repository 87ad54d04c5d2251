//! What has to move between two maps.

use alloc::collections::BTreeMap;

use arion_types::{PgId, Uid};

use crate::{Map, rule::POSITIONS_MAX};

/// A position whose miner changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// The placement group.
    pub pg: PgId,
    /// Which shard of its stripes.
    pub index: u8,
    /// Who held it; `None` where it was vacant.
    pub from: Option<Uid>,
    /// Who shall hold it; `None` where it becomes vacant.
    pub to: Option<Uid>,
}

/// Why two maps can not be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiffError {
    /// Stripes belong to other groups in each of them.
    #[error(
        "the maps have {before} and {after} placement groups: stripes change groups, every shard may move"
    )]
    Groups {
        /// `pg_count` of the earlier map.
        before: u32,
        /// `pg_count` of the later map.
        after: u32,
    },
    /// Stripes of the one are not stripes of the other.
    #[error(
        "the maps have stripes of {before:?} and {after:?} data and parity shards: stripes must be coded anew"
    )]
    Code {
        /// k and m of the earlier map.
        before: (u8, u8),
        /// k and m of the later map.
        after: (u8, u8),
    },
}

/// The moves between two maps, by group, then by index; made as they are asked for, without allocation.
#[derive(Clone, Debug)]
pub struct Moves<'a> {
    before: &'a Map,
    after: &'a Map,
    /// The group whose positions are at hand, or `pg_count`.
    pg: PgId,
    /// Next position; k + m when the group is done.
    index: usize,
    old: [Option<Uid>; POSITIONS_MAX],
    new: [Option<Uid>; POSITIONS_MAX],
}

impl<'a> Moves<'a> {
    /// From `before` to `after`.
    ///
    /// # Errors
    /// When the maps differ in their groups or code.
    pub fn between(before: &'a Map, after: &'a Map) -> Result<Self, DiffError> {
        let (old, new) = (before.params(), after.params());
        if old.pg_count != new.pg_count {
            return Err(DiffError::Groups { before: old.pg_count, after: new.pg_count });
        }
        if (old.ec_k, old.ec_m) != (new.ec_k, new.ec_m) {
            return Err(DiffError::Code { before: (old.ec_k, old.ec_m), after: (new.ec_k, new.ec_m) });
        }
        let none = [None; POSITIONS_MAX];
        let mut moves = Self { before, after, pg: 0, index: 0, old: none, new: none };
        moves.load();
        Ok(moves)
    }

    fn load(&mut self) {
        let shards = self.before.shards();
        self.before.place(self.pg, &mut self.old[..shards]);
        self.after.place(self.pg, &mut self.new[..shards]);
        self.index = 0;
    }
}

impl Iterator for Moves<'_> {
    type Item = Move;

    fn next(&mut self) -> Option<Move> {
        let (shards, groups) = (self.before.shards(), self.before.params().pg_count);
        while self.pg < groups {
            while self.index < shards {
                let index = self.index;
                self.index += 1;
                let (from, to) = (self.old[index], self.new[index]);
                if from != to {
                    return Some(Move { pg: self.pg, index: index as u8, from, to });
                }
            }
            self.pg += 1;
            if self.pg < groups {
                self.load();
            }
        }
        None
    }
}

/// What one miner gives and receives, in positions: shards of one placement group each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Positions it receives.
    pub incoming: u64,
    /// Positions it gives up.
    pub outgoing: u64,
}

/// All moves between two maps, added up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Positions of a map: `pg_count * (k + m)`.
    pub positions: u64,
    /// Positions whose miner changes to another.
    pub moved: u64,
    /// Positions that lose their miner and get none.
    pub vacated: u64,
    /// Positions that were vacant and get a miner: their shards must be rebuilt.
    pub filled: u64,
    /// By miner, those with a move only.
    pub miners: BTreeMap<Uid, Flow>,
}

impl Plan {
    /// From `before` to `after`.
    ///
    /// # Errors
    /// When the maps differ in their groups or code.
    pub fn between(before: &Map, after: &Map) -> Result<Self, DiffError> {
        let mut plan = Self {
            positions: u64::from(before.params().pg_count) * before.shards() as u64,
            ..Self::default()
        };
        for Move { from, to, .. } in Moves::between(before, after)? {
            match (from, to) {
                (Some(_), Some(_)) => plan.moved += 1,
                (Some(_), None) => plan.vacated += 1,
                (None, _) => plan.filled += 1,
            }
            if let Some(uid) = from {
                plan.miners.entry(uid).or_default().outgoing += 1;
            }
            if let Some(uid) = to {
                plan.miners.entry(uid).or_default().incoming += 1;
            }
        }
        Ok(plan)
    }
}
