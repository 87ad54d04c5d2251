//! From a list of miners to a [`Map`], or a refusal that says what to do.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use arion_types::{CrushParams, MinerRecord, Uid};

use crate::{Bucket, Child, Family, Hierarchy, HierarchyError, Level, Map, Step, UID_MAX};

/// Family bucket ids are `-2 - slot` with a slot below this: enough that two families rarely meet, small
/// enough for `crushtool`, whose tables are as long as the largest id.
pub(crate) const FAMILY_SLOTS: u32 = 1 << 18;

/// Id of the root bucket.
pub(crate) const ROOT: i32 = -1;

/// A miner as placement sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Number of the miner, unique in the map.
    pub uid: Uid,
    /// Family account: the failure domain.
    pub family: [u8; 32],
    /// 16.16 fixed point, 1.0 per TiB; 0 receives nothing.
    pub weight: u32,
}

/// Why a map can not be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// `pg_count` is 0.
    #[error("pg_count is 0: a map needs at least one placement group")]
    NoPlacementGroups,
    /// k is 0 or k + m is beyond 255.
    #[error("k = {k}, m = {m} is no erasure code: choose k of at least 1 and k + m of at most 255")]
    Code {
        /// Data shards.
        k: u8,
        /// Parity shards.
        m: u8,
    },
    /// `family_shards_max` is 0.
    #[error("family_shards_max is 0: allow each family at least one shard of a stripe")]
    NoShardsPerFamily,
    /// `choose_tries` is 0.
    #[error("choose_tries is 0: allow at least one attempt per position, 500 is usual")]
    NoTries,
    /// Two miners carry the same number.
    #[error("miner {uid} is listed twice: remove one of the entries")]
    DuplicateUid {
        /// The number.
        uid: Uid,
    },
    /// Two miners carry the same node id.
    #[error("miners {first} and {second} have the same node id: remove one of the entries")]
    DuplicateNode {
        /// Number of the one.
        first: Uid,
        /// Number of the other.
        second: Uid,
    },
    /// A number is beyond [`UID_MAX`].
    #[error("miner number {uid} is beyond {UID_MAX}, the largest a map can hold")]
    UidTooLarge {
        /// The number.
        uid: Uid,
    },
    /// The weights of a family do not fit 16.16 fixed point.
    #[error("the family of miner {uid} offers 65536 TiB or more: split it or lower its weights")]
    FamilyTooHeavy {
        /// Lowest number in the family.
        uid: Uid,
    },
    /// No miner may receive anything.
    #[error("no miner has a weight: register miners that offer capacity")]
    NoWeight,
    /// Not every position of a stripe can ever be filled for lack of families.
    #[error(
        "{found} families have weight but a stripe needs {needed}: register {} more or raise family_shards_max",
        needed - found
    )]
    TooFewFamilies {
        /// Families with weight.
        found: usize,
        /// (k + m) / family_shards_max, rounded up.
        needed: usize,
    },
    /// Not every position of a stripe can ever be filled for lack of miners in the families.
    #[error(
        "the best {families} families have miners for {fillable} of {needed} shards: register more miners in \
         families that have fewer than family_shards_max"
    )]
    TooFewMiners {
        /// Families a stripe draws.
        families: usize,
        /// Positions the best draw could fill.
        fillable: usize,
        /// k + m.
        needed: usize,
    },
    /// More families than there are bucket ids.
    #[error("the map can not be laid out as a tree: {0}")]
    Tree(#[from] HierarchyError),
}

impl Map {
    /// Builds the map of `miners`, in whatever order they come.
    ///
    /// # Errors
    /// When a parameter makes no sense, a miner is listed twice, or the miners could never fill all positions
    /// of a stripe; see [`BuildError`].
    pub fn build(params: &CrushParams, miners: impl IntoIterator<Item = Leaf>) -> Result<Self, BuildError> {
        check_params(params)?;
        let by_family = group(miners)?;
        let ids = family_ids(&by_family);

        let mut families = Vec::new();
        let mut buckets = Vec::new();
        let mut root = Bucket { id: ROOT, level: Level::Root, items: Vec::new() };
        for (account, members) in &by_family {
            let items: Vec<_> = members
                .iter()
                .filter(|(_, weight)| **weight > 0)
                .map(|(uid, weight)| (Child::Miner(*uid), *weight))
                .collect();
            let Some((uid, _)) = members.iter().find(|(_, weight)| **weight > 0) else { continue };
            let weight = items.iter().try_fold(0u32, |sum, (_, weight)| sum.checked_add(*weight));
            let weight = weight.ok_or(BuildError::FamilyTooHeavy { uid: *uid })?;
            let id = ids[account];
            root.items.push((Child::Bucket(id), weight));
            families.push(Family { account: *account, bucket: id, miners: items.len() });
            buckets.push(Bucket { id, level: Level::Family, items });
        }
        check_fillable(params, &families)?;
        buckets.push(root);
        let tree = Hierarchy::new(&buckets, &rule(params))?;
        Ok(Self { params: *params, families, tree, upmaps: Vec::new() })
    }

    /// [`Map::build`] from the records of an epoch as they stand on chain.
    ///
    /// # Errors
    /// As [`Map::build`]; also when two records share a node id.
    pub fn from_records<AccountId: Clone + Into<[u8; 32]>>(
        params: &CrushParams,
        miners: &[MinerRecord<AccountId>],
    ) -> Result<Self, BuildError> {
        let mut nodes = BTreeMap::new();
        for miner in miners {
            if let Some(first) = nodes.insert(miner.node_id, miner.uid)
                && first != miner.uid
            {
                return Err(BuildError::DuplicateNode { first, second: miner.uid });
            }
        }
        let leaves = miners.iter().map(|miner| Leaf {
            uid: miner.uid,
            family: miner.family.clone().into(),
            weight: miner.weight,
        });
        Self::build(params, leaves)
    }
}

/// The steps that place a stripe: as many families as it takes at `family_shards_max` each, that many miners in each.
fn rule(params: &CrushParams) -> [Step; 5] {
    let count = families_per_group(params) as u8;
    [
        Step::SetChooseTries(u32::from(params.choose_tries)),
        Step::Take(ROOT),
        Step::ChooseIndep { count, level: Level::Family },
        Step::ChooseIndep { count: params.family_shards_max, level: Level::Miner },
        Step::Emit,
    ]
}

/// At most 255, as k + m is.
pub(crate) fn families_per_group(params: &CrushParams) -> usize {
    usize::from(params.shards()).div_ceil(usize::from(params.family_shards_max))
}

/// Whether some draw fills every position.
fn check_fillable(params: &CrushParams, families: &[Family]) -> Result<(), BuildError> {
    let (found, per_group) = (families.len(), families_per_group(params));
    let needed = usize::from(params.shards());
    if found == 0 {
        return Err(BuildError::NoWeight);
    }
    if found < per_group {
        return Err(BuildError::TooFewFamilies { found, needed: per_group });
    }
    let cap = usize::from(params.family_shards_max);
    let mut sizes: Vec<usize> = families.iter().map(|family| family.miners.min(cap)).collect();
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    let last_block = needed - (per_group - 1) * cap;
    let fillable = sizes[..per_group - 1].iter().sum::<usize>() + sizes[per_group - 1].min(last_block);
    if fillable < needed {
        return Err(BuildError::TooFewMiners { families: per_group, fillable, needed });
    }
    Ok(())
}

fn check_params(params: &CrushParams) -> Result<(), BuildError> {
    let CrushParams { pg_count, ec_k, ec_m, family_shards_max, choose_tries } = *params;
    if pg_count == 0 {
        return Err(BuildError::NoPlacementGroups);
    }
    if ec_k == 0 || params.shards() > 255 {
        return Err(BuildError::Code { k: ec_k, m: ec_m });
    }
    if family_shards_max == 0 {
        return Err(BuildError::NoShardsPerFamily);
    }
    if choose_tries == 0 {
        return Err(BuildError::NoTries);
    }
    Ok(())
}

/// Weights by family and uid.
type Families = BTreeMap<[u8; 32], BTreeMap<Uid, u32>>;

fn group(miners: impl IntoIterator<Item = Leaf>) -> Result<Families, BuildError> {
    let mut seen = BTreeSet::new();
    let mut families = Families::new();
    for Leaf { uid, family, weight } in miners {
        if uid > UID_MAX {
            return Err(BuildError::UidTooLarge { uid });
        }
        if !seen.insert(uid) {
            return Err(BuildError::DuplicateUid { uid });
        }
        families.entry(family).or_default().insert(uid, weight);
    }
    Ok(families)
}

/// Bucket ids of the families, as the 32-bit words that are hashed.
///
/// An id must not change when another family comes or goes, else most data would move: the slot is a hash of
/// the account. Where two meet, the family with the lower uid (the elder) keeps it and the other takes the
/// next free slot.
fn family_ids(families: &Families) -> BTreeMap<[u8; 32], i32> {
    let mut elders: Vec<(Uid, [u8; 32])> = families
        .iter()
        .filter_map(|(account, members)| members.first_key_value().map(|(uid, _)| (*uid, *account)))
        .collect();
    elders.sort_unstable();

    let mut taken = BTreeSet::new();
    let mut ids = BTreeMap::new();
    for (_, account) in elders {
        let hash = blake3::derive_key("arion 2026-11 crush family bucket v1", &account);
        let mut slot = u32::from_le_bytes([hash[0], hash[1], hash[2], hash[3]]) % FAMILY_SLOTS;
        while !taken.insert(slot) {
            slot = (slot + 1) % FAMILY_SLOTS;
        }
        ids.insert(account, -2 - slot as i32);
    }
    ids
}
