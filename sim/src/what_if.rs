//! What if: the finalised map of a live chain, and some of its miners gone for good.
//!
//! Validator services are asked as they are: survivors send heartbeats to the real liveness, on a clock that does not tick by itself, until
//! they have a map to vote for. Since heartbeats are signed, miners have keys of ours there; placement depends on numbers, weights and
//! families only.
//!
//! # Not here
//! What lies where in truth: shards are taken to be where the map says, bytes of a miner to be spread evenly over its positions.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use arion_chain::{AccountId, ChainClient, Child, EpochMap, Registry, Snapshot, parse_account, ss58};
use arion_protocol::Heartbeat;
use arion_types::{MinerRecord, NodeId, NodeQuality, Uid, map::WEIGHT_ONE, signing::node_id};
use arion_validator::{
    liveness::Liveness,
    proposal::{NotReady, next_map},
    standing::{Patience, Standings},
    weight::Merits,
};
use crush::Map;
use ed25519_dalek::SigningKey;

use crate::chain::GENESIS;

/// Of miners, in the product's defaults.
const HEARTBEAT: Duration = Duration::from_secs(30);
/// Looks within the patience of validators: more rarely than every heartbeat where that is hours.
const LOOKS: u32 = 40;
/// When it begins, in milliseconds.
const BEGIN_MS: u64 = 1_800_000_000_000;

/// What is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lost {
    Family(AccountId),
    Miner(Uid),
}

impl FromStr for Lost {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("write family:ACCOUNT or miner:NUMBER, not {text}");
        match text.split_once(':').ok_or_else(wrong)? {
            ("family", account) => {
                parse_account(account).map(Self::Family).map_err(|error| error.to_string())
            }
            ("miner", number) => number.parse().map(Self::Miner).map_err(|_| wrong()),
            _ => Err(wrong()),
        }
    }
}

/// What the chain says.
pub struct Known {
    pub map: EpochMap,
    pub registry: Registry,
    /// Bytes that miners store, as validators reported them; nothing of those that nobody spoke of yet.
    pub stored: BTreeMap<NodeId, u64>,
}

impl Known {
    /// From a node.
    pub async fn load(url: &str) -> anyhow::Result<Self> {
        let chain = ChainClient::connect(url, None).await?;
        let map = chain.current_map().await?.context("the chain has no finalised map")?;
        let registry = chain.registry().await?;
        let at = chain.finalized().await?.hash;
        let said = chain.state(at).entries::<NodeQuality>("Arion", "NodeQualityByChild").await?;
        let said: BTreeMap<AccountId, u64> =
            said.into_iter().map(|(child, quality)| (child, quality.shard_data_bytes)).collect();
        let stored = registry
            .miners
            .iter()
            .filter_map(|(node, child)| said.get(&child.child).map(|bytes| (*node, *bytes)))
            .collect();
        Ok(Self { map, registry, stored })
    }
}

/// What is assumed.
#[derive(Clone, Copy, Debug)]
pub struct Assumed {
    /// Of validator services.
    pub patience: Patience,
    /// Bytes of shards that repair reads and writes in a second, together.
    pub bytes_per_second: u64,
}

/// What would be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outlook {
    /// Miners of the map that are gone, of so many.
    pub gone: usize,
    pub miners: usize,
    /// Placement groups by how many shards each of their stripes loses.
    pub losses: BTreeMap<usize, u32>,
    /// Groups with fewer shards left than a stripe is read from, and without anything to spare.
    pub unreadable: u32,
    pub bare: u32,
    /// Bytes of a shard position, if miners were heard of.
    pub stored_bytes: Option<u64>,
    /// The map validators would vote for; why they would not.
    pub next: Result<Next, String>,
}

/// A map that would be voted for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Next {
    /// How long after the loss.
    pub after: Duration,
    pub map: EpochMap,
    /// Positions of a map, those whose miner is another one, those that lost theirs, and those left without.
    pub positions: u64,
    pub moved: u64,
    pub lost: u64,
    pub vacant: u64,
    /// Bytes that repair has to write, and how long that takes at the rate assumed.
    pub bytes: Option<u64>,
    pub takes: Option<Duration>,
}

/// What would be if these were gone.
pub fn look_ahead(known: &Known, lost: &[Lost], assumed: Assumed) -> anyhow::Result<Outlook> {
    ensure!(!lost.is_empty(), "name what is lost: --fail family:ACCOUNT,miner:NUMBER");
    let map = &known.map;
    let gone = gone(map, lost)?;
    let before =
        Map::from_records(&map.params, &map.miners).context("the map on chain cannot be placed by")?;
    let (needed, shards) = (usize::from(map.params.ec_k), before.shards());
    let mut losses = BTreeMap::new();
    let mut places = vec![None; shards];
    let (mut unreadable, mut bare, mut lost_positions) = (0, 0, 0);
    for pg in 0..map.params.pg_count {
        before.place(pg, &mut places);
        let missing = places.iter().flatten().filter(|uid| gone.contains(uid)).count();
        let left = places.iter().flatten().count() - missing;
        *losses.entry(missing).or_insert(0) += 1;
        unreadable += u32::from(left < needed);
        bare += u32::from(left == needed);
        lost_positions += missing as u64;
    }
    let positions = u64::from(map.params.pg_count) * shards as u64;
    let members = map.miners.iter().filter_map(|miner| known.stored.get(&NodeId(miner.node_id)));
    let stored_bytes =
        (members.clone().count() > 0).then(|| members.fold(0, |sum: u64, more| sum.saturating_add(*more)));
    let next = vote(known, &gone, assumed.patience).map(|(after, next)| -> anyhow::Result<Next> {
        let target =
            Map::from_records(&next.params, &next.miners).context("the next map cannot be placed by")?;
        let plan = crush::Plan::between(&before, &target)?;
        let written = plan.moved + plan.filled;
        let bytes = stored_bytes.map(|all| {
            let share = u128::from(all) * u128::from(written) / u128::from(positions.max(1));
            u64::try_from(share).unwrap_or(u64::MAX)
        });
        // A shard that is lost is made from as many as a stripe is read from; one that moves is read once.
        let read = written.saturating_sub(lost_positions) + lost_positions.min(written) * needed as u64;
        let takes = bytes.filter(|_| written > 0).map(|bytes| {
            let through = u128::from(bytes) * u128::from(read + written) / u128::from(written);
            Duration::from_secs(
                u64::try_from(through / u128::from(assumed.bytes_per_second.max(1))).unwrap_or(u64::MAX),
            )
        });
        Ok(Next {
            after,
            map: next,
            positions,
            moved: plan.moved,
            lost: lost_positions,
            vacant: plan.vacated,
            bytes,
            takes,
        })
    });
    let next = match next {
        Ok(next) => Ok(next?),
        Err(why) => Err(why),
    };
    Ok(Outlook { gone: gone.len(), miners: map.miners.len(), losses, unreadable, bare, stored_bytes, next })
}

/// Numbers of the miners that are gone.
fn gone(map: &EpochMap, lost: &[Lost]) -> anyhow::Result<BTreeSet<Uid>> {
    let mut gone = BTreeSet::new();
    for what in lost {
        let members: Vec<Uid> = map
            .miners
            .iter()
            .filter(|miner| match what {
                Lost::Family(family) => miner.family == *family,
                Lost::Miner(uid) => miner.uid == *uid,
            })
            .map(|miner| miner.uid)
            .collect();
        if members.is_empty() {
            match what {
                Lost::Family(family) => bail!("no miner of the map is of the family {}", ss58(family)),
                Lost::Miner(uid) => bail!("no miner of the map has the number {uid}"),
            }
        }
        gone.extend(members);
    }
    Ok(gone)
}

/// A key of ours for a miner.
fn key(uid: Uid) -> SigningKey {
    SigningKey::from_bytes(blake3::hash(&uid.to_le_bytes()).as_bytes())
}

/// What validator services vote for, and when: the real liveness, standings and proposal.
fn vote(known: &Known, gone: &BTreeSet<Uid>, patience: Patience) -> Result<(Duration, EpochMap), String> {
    let map = &known.map;
    let nodes: BTreeMap<NodeId, &MinerRecord> =
        map.miners.iter().map(|miner| (node_id(&key(miner.uid)), miner)).collect();
    let mut registry = Registry::default();
    let mut ours = Vec::new();
    for (node, miner) in &nodes {
        ours.push(MinerRecord { node_id: node.0, ..(*miner).clone() });
        // Who has left the registry leaves the map as well, whoever else is lost.
        if let Some(Child { family, child }) = known.registry.miners.get(&NodeId(miner.node_id)) {
            registry.miners.insert(*node, Child { child: *child, family: *family });
        }
    }
    ours.sort_by_key(|miner| miner.uid);
    let current = EpochMap::new(map.epoch, map.params, ours);
    let snapshot =
        Snapshot { current: Some(current.into()), registry: registry.into(), ..Snapshot::default() };
    let interval = HEARTBEAT.max(patience.out_after / LOOKS);
    let mut liveness = Liveness::new(GENESIS, interval);
    let mut standings = Standings::new(patience);
    // What is asked is what the loss does: audits and absence until now hold nothing against anybody.
    let merits = Merits::default();
    let mut reason = NotReady::Unchanged;
    let mut after = Duration::ZERO;
    while after <= patience.out_after + 10 * interval {
        let now_ms = BEGIN_MS + u64::try_from(after.as_millis()).unwrap_or(0);
        for (node, miner) in nodes.iter().filter(|(_, miner)| !gone.contains(&miner.uid)) {
            let heartbeat = Heartbeat {
                node_id: *node,
                endpoint: miner.endpoint.clone(),
                capacity_bytes: u64::from(miner.weight) * ((1 << 40) / u64::from(WEIGHT_ONE)),
                used_bytes: 0,
                shard_count: 0,
                draining: false,
                version: (0, 0, 0),
                sent_at: now_ms,
            };
            // One of the map that is registered no more is not heard.
            let _ =
                liveness.accept(*node, heartbeat.sign(&GENESIS, &key(miner.uid)), &snapshot.registry, now_ms);
        }
        standings.update(&snapshot.registry, snapshot.current.as_deref(), &liveness, &merits, now_ms);
        match next_map(&snapshot, &liveness, &standings, &merits, &map.params, map.params.shards().into()) {
            Ok(next) => {
                let truly = |miner: &MinerRecord| {
                    let named =
                        nodes.get(&NodeId(miner.node_id)).map_or(miner.node_id, |known| known.node_id);
                    MinerRecord { node_id: named, ..miner.clone() }
                };
                let miners = next.miners.iter().map(truly).collect();
                return Ok((after, EpochMap::new(next.epoch, next.params, miners)));
            }
            Err(why) => reason = why,
        }
        after += interval;
    }
    Err(match reason {
        NotReady::Unchanged => {
            "validators leave the map as it is: too many are silent at once, or nobody could take their place"
                .into()
        }
        other => other.to_string(),
    })
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

impl fmt::Display for Outlook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "gone: {} of {} miners", self.gone, self.miners)?;
        for (shards, groups) in &self.losses {
            writeln!(f, "placement groups whose stripes lose {shards:2} shards: {groups}")?;
        }
        writeln!(f, "placement groups whose stripes could not be read: {}", self.unreadable)?;
        writeln!(f, "placement groups whose stripes could lose no shard more: {}", self.bare)?;
        match self.stored_bytes {
            Some(bytes) => {
                writeln!(f, "stored, by what validators reported: {:.1} MiB of shards", mib(bytes))?
            }
            None => writeln!(f, "stored: unknown, no miner has been reported on; below in shares only")?,
        }
        let next = match &self.next {
            Ok(next) => next,
            Err(why) => return writeln!(f, "no next map: {why}"),
        };
        let share = |positions: u64| 100.0 * positions as f64 / next.positions.max(1) as f64;
        writeln!(f, "validators would vote {} s after the loss, for:", next.after.as_secs())?;
        let (epoch, miners) = (next.map.epoch, next.map.miners.len());
        writeln!(f, "epoch {epoch}, {miners} miners, root {}", hex::encode(next.map.root))?;
        writeln!(f, "shards lost: {} of {} positions, {:.2} %", next.lost, next.positions, share(next.lost))?;
        writeln!(f, "shards that get another miner: {}, {:.2} %", next.moved, share(next.moved))?;
        if next.vacant > 0 {
            writeln!(f, "positions without a miner: {}", next.vacant)?;
        }
        if let (Some(bytes), Some(takes)) = (next.bytes, next.takes) {
            writeln!(
                f,
                "to be written: {:.1} MiB, in {} s at the rate assumed",
                mib(bytes),
                takes.as_secs()
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::PARAMS;

    const ASSUMED: Assumed = Assumed {
        patience: Patience { out_after: Duration::from_secs(600), in_after: Duration::from_secs(60) },
        bytes_per_second: 10 << 20,
    };

    /// A chain with miners in families of two, each with so many bytes.
    fn known(miners: u32, bytes: Option<u64>) -> Known {
        let family = |uid: u32| [u8::try_from(uid / 2).unwrap() + 100; 32];
        let records = (0..miners).map(|uid| MinerRecord {
            uid: uid + 1,
            node_id: [u8::try_from(uid).unwrap(); 32],
            family: family(uid),
            weight: WEIGHT_ONE,
            endpoint: b"a:1".to_vec().try_into().unwrap(),
        });
        let map = EpochMap::new(7, PARAMS, records.collect());
        let mut registry = Registry::default();
        let mut stored = BTreeMap::new();
        for (at, miner) in map.miners.iter().enumerate() {
            let child = Child { child: [u8::try_from(at).unwrap(); 32], family: miner.family };
            registry.miners.insert(NodeId(miner.node_id), child);
            stored.extend(bytes.map(|bytes| (NodeId(miner.node_id), bytes)));
        }
        Known { map, registry, stored }
    }

    #[test]
    fn what_is_lost_is_named_by_family_or_number() {
        assert_eq!("miner:7".parse(), Ok(Lost::Miner(7)));
        let account = ss58(&[3; 32]);
        assert_eq!(format!("family:{account}").parse(), Ok(Lost::Family([3; 32])));
        for wrong in ["7", "miner:x", "family:", "disk:7", ""] {
            assert!(wrong.parse::<Lost>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_family_of_twenty_is_replaced_by_all_others() {
        let known = known(40, Some(100 << 20));
        let outlook = look_ahead(&known, &[Lost::Family([103; 32])], ASSUMED).unwrap();
        assert_eq!((outlook.gone, outlook.miners, outlook.unreadable, outlook.bare), (2, 40, 0, 0));
        // All stripes that have a shard there have two: a family holds two of a stripe, or none.
        assert_eq!(outlook.losses.keys().copied().collect::<Vec<_>>(), [0, 2]);
        assert_eq!(outlook.losses.values().sum::<u32>(), PARAMS.pg_count);
        assert_eq!(outlook.stored_bytes, Some(4_000 << 20));
        let next = outlook.next.unwrap();
        assert_eq!((next.map.epoch, next.map.miners.len(), next.vacant), (8, 38, 0));
        assert!(next.map.root_holds());
        assert!(
            next.map.miners.iter().all(|miner| known.registry.miners.contains_key(&NodeId(miner.node_id)))
        );
        assert!(
            next.after > ASSUMED.patience.out_after
                && next.after < ASSUMED.patience.out_after + 3 * HEARTBEAT
        );
        assert_eq!(next.lost, 2 * u64::from(outlook.losses[&2]));
        assert!(next.moved >= next.lost && next.moved < 3 * next.lost, "{next:?}");
        let bytes = next.bytes.unwrap();
        assert_eq!(bytes, (4_000 << 20) * next.moved / next.positions);
        // Ten are read for each that was lost, one for each that moves, and each is written.
        let through = bytes * (2 * next.moved + 9 * next.lost) / next.moved;
        assert!(next.takes.unwrap().as_secs().abs_diff(through / (10 << 20)) <= 1);
    }

    #[test]
    fn what_cannot_be_read_any_more_is_said_and_so_is_that_nobody_votes() {
        let known = known(32, None);
        let lost: Vec<Lost> = (100..111).map(|family| Lost::Family([family; 32])).collect();
        let outlook = look_ahead(&known, &lost, ASSUMED).unwrap();
        assert_eq!(outlook.gone, 22);
        assert!(outlook.unreadable > 0, "{outlook:?}");
        assert_eq!(outlook.stored_bytes, None);
        assert!(outlook.next.as_ref().is_err_and(|why| why.contains("as it is")), "{outlook:?}");
        assert!(outlook.to_string().contains("unknown"));
        assert!(look_ahead(&known, &[Lost::Miner(99)], ASSUMED).is_err());
        assert!(look_ahead(&known, &[], ASSUMED).is_err());
    }
}
