//! A census: where the shards of an object are, against where anybody computes that they must be.
//!
//! Knows only what a third party knows: the finalised maps, the shard hashes of the object, and the miners'
//! answers to `Stat`, which is public.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use arion_chain::EpochMap;
use arion_net::{PeerAddr, Transport};
use arion_protocol::{Request, Response, ShardStat, limits::STAT_SHARDS_MAX};
use arion_types::{Epoch, MinerRecord, NodeId, ShardHash, Uid, stripe};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::task::JoinSet;

const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// A stripe of an object: all its shards, and the map that placed it.
#[derive(Clone, Debug)]
pub struct Stripe {
    /// Epoch of the map.
    pub epoch: Epoch,
    /// Addresses of the shards, by position.
    pub shards: Vec<ShardHash>,
}

impl Stripe {
    /// By position: the shard, and the miner that CRUSH names for it by the stripe's map.
    pub fn holders<'a>(
        &self,
        maps: &'a BTreeMap<Epoch, EpochMap>,
    ) -> anyhow::Result<Vec<(ShardHash, Option<&'a MinerRecord>)>> {
        let map = map_of(maps, self.epoch)?;
        let crush = crush::Map::from_records(&map.params, &map.miners)?;
        let group = stripe::placement_group(&stripe::stripe_id(&self.shards), map.params.pg_count);
        let placed = crush.place_vec(group);
        let miner = |position: usize| placed.get(position).copied().flatten().and_then(|uid| map.miner(uid));
        Ok(self.shards.iter().enumerate().map(|(position, shard)| (*shard, miner(position))).collect())
    }
}

fn map_of(maps: &BTreeMap<Epoch, EpochMap>, epoch: Epoch) -> anyhow::Result<&EpochMap> {
    maps.get(&epoch).with_context(|| format!("there is no map of epoch {epoch}"))
}

/// The stripes in the gateway's answer to `/v1/locate`. Only epochs and shard addresses are taken from it: where they
/// must be is computed here.
pub fn read_stripes(answer: &Value) -> anyhow::Result<Vec<Stripe>> {
    let stripes = answer["stripes"].as_array().with_context(|| format!("no stripes in {answer}"))?;
    stripes
        .iter()
        .map(|stripe| {
            let shards = stripe["shards"].as_array().context("a stripe has no shards")?;
            let hashes = shards.iter().map(|shard| {
                let hash = shard["hash"].as_str().context("a shard has no hash")?;
                hash.parse::<ShardHash>().with_context(|| format!("{hash} is no shard hash"))
            });
            Ok(Stripe {
                epoch: stripe["epoch"].as_u64().context("a stripe has no epoch")?,
                shards: hashes.collect::<anyhow::Result<_>>()?,
            })
        })
        .collect()
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Census {
    /// Whether every shard is where it must be and nowhere else, and no family has more than its map allows.
    pub holds: bool,
    /// Stripes looked for.
    pub stripes: usize,
    /// Shards that must exist.
    pub expected: usize,
    /// Shards found on the miner that CRUSH names, with that stripe and position.
    pub in_place: usize,
    /// Shards not on that miner, or there under another placement.
    pub missing: Vec<String>,
    /// Shards on a miner that CRUSH does not name.
    pub elsewhere: Vec<String>,
    /// Miners that did not answer.
    pub silent: Vec<String>,
    /// Most shards of one stripe in one family.
    pub family_max: usize,
    /// Miners asked.
    pub asked: usize,
}

/// Where every shard must be.
struct Expected {
    /// By shard: its miner and position; `None` where CRUSH found nobody.
    places: BTreeMap<ShardHash, (Option<Uid>, u8)>,
    family_max: usize,
    /// Whether every stripe has all its shards and keeps to the cap of its map.
    regular: bool,
}

/// Asks all miners of `maps` for the shards of `stripes`.
pub async fn take(
    maps: &BTreeMap<Epoch, EpochMap>,
    transport: Arc<dyn Transport>,
    stripes: &[Stripe],
) -> anyhow::Result<Census> {
    let expected = expected(maps, stripes)?;
    let miners: BTreeMap<Uid, PeerAddr> = maps
        .values()
        .flat_map(|map| &map.miners)
        .map(|miner| {
            let endpoint = String::from_utf8_lossy(&miner.endpoint).into_owned();
            (miner.uid, PeerAddr { node_id: NodeId(miner.node_id), endpoint })
        })
        .collect();
    let shards: Arc<Vec<ShardHash>> = Arc::new(expected.places.keys().copied().collect());
    let mut answers = JoinSet::new();
    for (uid, peer) in miners.clone() {
        let (transport, shards) = (transport.clone(), shards.clone());
        answers.spawn(async move { (uid, stat(transport.as_ref(), &peer, &shards).await) });
    }
    let mut found = BTreeMap::new();
    let mut census = Census {
        stripes: stripes.len(),
        asked: miners.len(),
        family_max: expected.family_max,
        ..Census::default()
    };
    while let Some(answer) = answers.join_next().await {
        match answer? {
            (uid, Ok(stats)) => {
                found.insert(uid, stats);
            }
            (uid, Err(error)) => census.silent.push(format!("miner {uid}: {error:#}")),
        }
    }
    compare(&expected, &found, &mut census);
    Ok(census)
}

fn expected(maps: &BTreeMap<Epoch, EpochMap>, stripes: &[Stripe]) -> anyhow::Result<Expected> {
    let mut places = BTreeMap::new();
    let (mut family_max, mut regular) = (0, true);
    for stripe in stripes {
        let params = &map_of(maps, stripe.epoch)?.params;
        let mut families: BTreeMap<[u8; 32], usize> = BTreeMap::new();
        for (position, (shard, miner)) in stripe.holders(maps)?.into_iter().enumerate() {
            if let Some(miner) = miner {
                *families.entry(miner.family).or_default() += 1;
            }
            let position = u8::try_from(position).context("a stripe has at most 255 shards")?;
            places.insert(shard, (miner.map(|miner| miner.uid), position));
        }
        let most = families.into_values().max().unwrap_or(0);
        family_max = family_max.max(most);
        regular &= stripe.shards.len() == usize::from(params.shards())
            && most <= usize::from(params.family_shards_max);
    }
    Ok(Expected { places, family_max, regular })
}

async fn stat(
    transport: &dyn Transport,
    peer: &PeerAddr,
    shards: &[ShardHash],
) -> anyhow::Result<BTreeMap<ShardHash, ShardStat>> {
    let mut found = BTreeMap::new();
    for asked in shards.chunks(STAT_SHARDS_MAX) {
        let request = Request::Stat { shards: asked.to_vec() };
        let (answer, _) = transport.call(peer, request, Bytes::new(), ANSWER_DEADLINE).await?;
        let Response::Stats(stats) = answer else { anyhow::bail!("answered something else than Stats") };
        anyhow::ensure!(stats.len() == asked.len(), "answered {} of {} questions", stats.len(), asked.len());
        found.extend(asked.iter().zip(stats).filter_map(|(shard, stat)| Some((*shard, stat?))));
    }
    Ok(found)
}

fn compare(expected: &Expected, found: &BTreeMap<Uid, BTreeMap<ShardHash, ShardStat>>, census: &mut Census) {
    census.expected = expected.places.len();
    for (shard, (uid, position)) in &expected.places {
        let holders: BTreeSet<Uid> =
            found.iter().filter(|(_, stats)| stats.contains_key(shard)).map(|(uid, _)| *uid).collect();
        let stat = uid.and_then(|uid| found.get(&uid)?.get(shard));
        match stat {
            Some(stat) if stat.placement.index == *position => census.in_place += 1,
            Some(stat) => census.missing.push(format!(
                "{shard}: position {position}, its miner has it as position {}",
                stat.placement.index
            )),
            None => census.missing.push(format!("{shard}: position {position}, not on miner {uid:?}")),
        }
        for holder in holders.iter().filter(|holder| Some(**holder) != *uid) {
            census.elsewhere.push(format!("{shard}: position {position}, found on miner {holder}"));
        }
    }
    census.holds = expected.regular
        && census.expected > 0
        && census.in_place == census.expected
        && census.elsewhere.is_empty()
        && census.silent.is_empty();
}
