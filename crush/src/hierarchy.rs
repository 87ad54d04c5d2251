//! A tree of buckets over miners, and the rule that places in it: the general form of CRUSH.
//!
//! [`crate::Map`] is one of these, built from the miners of an epoch. Anything else that Ceph's straw2 maps and
//! `indep` rules can say is said here.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use arion_types::Uid;

use crate::{
    UID_MAX,
    rule::{self, Program, Step},
    straw2::{self, Items, Machine},
};

/// What a bucket stands for. Lower levels lie inside higher ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// A device, type 0 in Ceph's terms.
    Miner = 0,
    /// The failure domain of miners, type 1.
    Family = 1,
    /// Families that share a place, type 2.
    Region = 2,
    /// Where a rule starts, type 3.
    Root = 3,
}

impl Level {
    /// Its name in `crushtool`'s text.
    pub fn name(self) -> &'static str {
        match self {
            Self::Miner => "miner",
            Self::Family => "family",
            Self::Region => "region",
            Self::Root => "root",
        }
    }
}

/// What lies in a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Child {
    /// A miner by its number.
    Miner(Uid),
    /// A bucket by its id, which is negative.
    Bucket(i32),
}

/// A straw2 bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Negative, unique.
    pub id: i32,
    /// Above the levels of all it holds; not [`Level::Miner`].
    pub level: Level,
    /// What it holds, with weights in 16.16 fixed point; 0 is not drawn. Of two equal straws the first item's wins.
    pub items: Vec<(Child, u32)>,
}

/// Why a tree or its rule can not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HierarchyError {
    /// A bucket id is not negative.
    #[error("bucket id {id} is not negative: numbers from 0 on are miners")]
    BucketId {
        /// The id.
        id: i32,
    },
    /// Two buckets have the same id.
    #[error("bucket {id} is there twice: give one of them another id")]
    DuplicateBucket {
        /// The id.
        id: i32,
    },
    /// A bucket is said to be a miner.
    #[error("bucket {id} has the level of a miner: miners are items, not buckets")]
    MinerBucket {
        /// Id of the bucket.
        id: i32,
    },
    /// A bucket holds one that is not there.
    #[error("bucket {parent} holds bucket {id}, which is not there: add it or remove the item")]
    UnknownBucket {
        /// Id of the holder.
        parent: i32,
        /// Id of the missing one.
        id: i32,
    },
    /// A bucket holds one of its own level or above.
    #[error(
        "bucket {parent} holds bucket {id}, whose level is not below its own: families lie in regions, regions in roots"
    )]
    Level {
        /// Id of the holder.
        parent: i32,
        /// Id of the other.
        id: i32,
    },
    /// A bucket lies in two others.
    #[error("bucket {id} lies in two buckets: remove it from one of them")]
    TwoParents {
        /// Its id.
        id: i32,
    },
    /// A miner lies in two buckets, or twice in one.
    #[error("miner {uid} is there twice: remove one of the items")]
    DuplicateMiner {
        /// Its number.
        uid: Uid,
    },
    /// A number is beyond [`UID_MAX`].
    #[error("miner number {uid} is beyond {UID_MAX}, the largest a map can hold")]
    UidTooLarge {
        /// The number.
        uid: Uid,
    },
    /// A miner whose reweight is set is in no bucket.
    #[error("miner {uid} is in no bucket: only miners of the map can be reweighted")]
    UnknownMiner {
        /// Its number.
        uid: Uid,
    },
    /// A reweight is above 1.0.
    #[error(
        "reweight {reweight} of miner {uid} is above 65536, which stands for 1.0: raise its weight instead"
    )]
    Reweight {
        /// Number of the miner.
        uid: Uid,
        /// 16.16 fixed point.
        reweight: u32,
    },
    /// A rule has no step or too many.
    #[error("the rule has {found} steps: write 1 to {} of them", rule::STEPS_MAX)]
    Steps {
        /// Number of steps.
        found: usize,
    },
    /// A rule takes a bucket that is not there.
    #[error("the rule takes bucket {id}, which is not there")]
    TakesUnknown {
        /// Its id.
        id: i32,
    },
    /// A rule never emits what it chose.
    #[error("the rule does not end with emit: nothing would be placed")]
    NoEmit,
    /// A rule allows no attempts.
    #[error("the rule allows 0 tries: allow at least one attempt per position")]
    NoTries,
}

/// A tree of straw2 buckets with reweights and a rule, ready to place.
///
/// ```
/// use crush::{Bucket, Child, Hierarchy, Level, Step};
///
/// let family = |id: i32, first: u32| Bucket {
///     id,
///     level: Level::Family,
///     items: (first..first + 3).map(|uid| (Child::Miner(uid), 0x1_0000)).collect(),
/// };
/// let root = Bucket {
///     id: -1,
///     level: Level::Root,
///     items: vec![(Child::Bucket(-2), 0x3_0000), (Child::Bucket(-3), 0x3_0000)],
/// };
/// let rule = [Step::Take(-1), Step::ChooseleafIndep { count: 0, level: Level::Family }, Step::Emit];
/// let tree = Hierarchy::new(&[root, family(-2, 0), family(-3, 3)], &rule)?;
/// let mut out = [None; 2];
/// tree.place(7, &mut out);
/// assert!(out.iter().all(Option::is_some));
/// # Ok::<(), crush::HierarchyError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    pub(crate) nodes: Vec<Node>,
    pub(crate) items: Items,
    /// What each item stands for.
    pub(crate) target: Vec<Target>,
    /// Reweight of each item that is a miner, 16.16 fixed point.
    pub(crate) reweight: Vec<u32>,
    pub(crate) program: Program,
}

/// A bucket in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) id: i32,
    pub(crate) level: Level,
    /// Level of its items, if all have the same.
    pub(crate) holds: Option<Level>,
    pub(crate) bucket: straw2::Bucket,
}

/// A miner or a bucket in 32 bits: a uid, or [`Target::BUCKET`] plus the index of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target(pub(crate) u32);

impl Target {
    const BUCKET: u32 = 1 << 31;
    /// Not decided yet.
    pub(crate) const OPEN: Self = Self(u32::MAX);
    /// Nothing will be found: `CRUSH_ITEM_NONE`.
    pub(crate) const NONE: Self = Self(u32::MAX - 1);

    pub(crate) fn bucket(node: usize) -> Self {
        Self(Self::BUCKET | node as u32)
    }

    /// The index of the bucket.
    #[inline(always)]
    pub(crate) fn node(self) -> Option<usize> {
        (self.0 & Self::BUCKET != 0 && self.0 < Self::NONE.0).then_some((self.0 & !Self::BUCKET) as usize)
    }

    #[inline(always)]
    pub(crate) fn miner(self) -> Option<Uid> {
        (self.0 & Self::BUCKET == 0).then_some(self.0)
    }
}

/// 1.0 in 16.16 fixed point.
const ONE: u32 = 0x1_0000;

impl Hierarchy {
    /// The tree of `buckets` with a rule. The order of the buckets does not matter, that of the items in each decides
    /// between equal straws.
    ///
    /// # Errors
    /// When the buckets are no forest, levels do not descend, a number is used twice, or the rule makes no sense.
    pub fn new(buckets: &[Bucket], rule: &[Step]) -> Result<Self, HierarchyError> {
        let index = check(buckets)?;
        let mut tree = Self {
            nodes: Vec::with_capacity(buckets.len()),
            items: Items::default(),
            target: Vec::new(),
            reweight: Vec::new(),
            program: Program::default(),
        };
        // In order of id, so that equal trees are equal values.
        let rank: BTreeMap<i32, usize> = index.keys().copied().zip(0..).collect();
        for at in index.values() {
            let bucket = &buckets[*at];
            let ids = bucket.items.iter().map(|(child, weight)| match *child {
                Child::Miner(uid) => (uid, *weight),
                Child::Bucket(id) => (id as u32, *weight),
            });
            let place = tree.items.push(ids);
            tree.target.resize(place.first, Target::NONE);
            tree.target.extend(bucket.items.iter().map(|(child, _)| match child {
                Child::Miner(uid) => Target(*uid),
                Child::Bucket(id) => Target::bucket(rank[id]),
            }));
            let levels: BTreeSet<Level> = bucket
                .items
                .iter()
                .map(|(child, _)| match child {
                    Child::Miner(_) => Level::Miner,
                    Child::Bucket(id) => buckets[index[id]].level,
                })
                .collect();
            let holds = if levels.len() == 1 { levels.first().copied() } else { None };
            tree.nodes.push(Node { id: bucket.id, level: bucket.level, holds, bucket: place });
        }
        tree.target.resize(tree.items.id.len(), Target::NONE);
        tree.reweight.resize(tree.items.id.len(), ONE);
        tree.set_rule(rule)?;
        Ok(tree)
    }

    /// Replaces the rule.
    ///
    /// # Errors
    /// When it makes no sense; the old one stays.
    pub fn set_rule(&mut self, rule: &[Step]) -> Result<(), HierarchyError> {
        let node = |id: i32| self.nodes.iter().position(|node| node.id == id);
        self.program = Program::new(rule, node)?;
        Ok(())
    }

    /// Lets a miner refuse a share of the placement groups that draw it: `reweight / 65536` of them stay, 0 is out.
    ///
    /// Unlike a lower weight it leaves the draws as they are, so that hardly more moves than what the miner gives up.
    ///
    /// # Errors
    /// When the miner is not in the tree or the reweight is above 1.0 (65536).
    pub fn set_reweight(&mut self, uid: Uid, reweight: u32) -> Result<(), HierarchyError> {
        if reweight > ONE {
            return Err(HierarchyError::Reweight { uid, reweight });
        }
        let place = self.target.iter().position(|target| target.miner() == Some(uid));
        let slot = place.and_then(|place| self.reweight.get_mut(place));
        *slot.ok_or(HierarchyError::UnknownMiner { uid })? = reweight;
        Ok(())
    }

    /// Miners with a reweight below 1.0, ascending by number.
    pub fn reweights(&self) -> Vec<(Uid, u32)> {
        let all = self.target.iter().zip(&self.reweight);
        let mut set: Vec<_> = all
            .filter(|(_, reweight)| **reweight < ONE)
            .filter_map(|(target, reweight)| Some((target.miner()?, *reweight)))
            .collect();
        set.sort_unstable();
        set
    }

    /// Runs the rule for `x`, asking for `out.len()` positions; `None` where nothing was found.
    ///
    /// The number of positions counts: an `indep` step draws its second attempt at `r = position + count`. At most
    /// 255 positions are filled.
    pub fn place(&self, x: u32, out: &mut [Option<Uid>]) {
        #[cfg(feature = "simd")]
        {
            use fearless_simd::dispatch;
            dispatch!(fearless_simd::Level::new(), simd => rule::run(crate::wide::Wide(simd), self, x, out))
        }
        #[cfg(not(feature = "simd"))]
        rule::run(straw2::Scalar, self, x, out);
    }

    /// [`Hierarchy::place`] without vector instructions: what is compiled where there are none.
    #[doc(hidden)]
    pub fn place_scalar(&self, x: u32, out: &mut [Option<Uid>]) {
        rule::run(straw2::Scalar, self, x, out);
    }

    /// The bucket with this id.
    pub(crate) fn node(&self, id: i32) -> Option<&Node> {
        // In order of id.
        self.nodes.binary_search_by_key(&id, |node| node.id).ok().and_then(|at| self.nodes.get(at))
    }

    /// Items of a bucket that are miners and have weight, in order.
    pub(crate) fn miners(&self, node: &Node) -> impl Iterator<Item = (Uid, u32)> + '_ {
        let range = node.bucket.first..node.bucket.first + node.bucket.len;
        range.filter_map(|at| Some((self.target[at].miner()?, self.items.weight[at])))
    }

    #[inline(always)]
    pub(crate) fn draw<M: Machine>(
        &self,
        m: M,
        scratch: &mut straw2::Scratch,
        node: &Node,
        x: u32,
        r: u32,
        next: bool,
    ) -> usize {
        node.bucket.draw(m, &self.items, scratch, x, r, next)
    }
}

/// Index of each bucket by id, once all of them make a forest.
fn check(buckets: &[Bucket]) -> Result<BTreeMap<i32, usize>, HierarchyError> {
    let mut index = BTreeMap::new();
    for (at, bucket) in buckets.iter().enumerate() {
        if bucket.id >= 0 {
            return Err(HierarchyError::BucketId { id: bucket.id });
        }
        if bucket.level == Level::Miner {
            return Err(HierarchyError::MinerBucket { id: bucket.id });
        }
        if index.insert(bucket.id, at).is_some() {
            return Err(HierarchyError::DuplicateBucket { id: bucket.id });
        }
    }
    let (mut miners, mut inside) = (BTreeSet::new(), BTreeSet::new());
    for bucket in buckets {
        for (child, _) in &bucket.items {
            match *child {
                Child::Miner(uid) if uid > UID_MAX => return Err(HierarchyError::UidTooLarge { uid }),
                Child::Miner(uid) if !miners.insert(uid) => {
                    return Err(HierarchyError::DuplicateMiner { uid });
                }
                Child::Miner(_) => {}
                Child::Bucket(id) => {
                    let parent = bucket.id;
                    let at = *index.get(&id).ok_or(HierarchyError::UnknownBucket { parent, id })?;
                    if buckets[at].level >= bucket.level {
                        return Err(HierarchyError::Level { parent, id });
                    }
                    if !inside.insert(id) {
                        return Err(HierarchyError::TwoParents { id });
                    }
                }
            }
        }
    }
    Ok(index)
}
