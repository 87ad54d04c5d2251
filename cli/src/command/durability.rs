//! `arion durability`: what an object can lose before data are lost, by asking the miners; the whole network: `network`.

pub mod network;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context as _;
use arion_chain::EpochMap;
use arion_daemon::line;
use arion_net::{CallError, PeerAddr, Transport};
use arion_protocol::{Request, Response, limits::STAT_SHARDS_MAX};
use arion_types::{NodeId, ShardHash, stripe};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::{
    ANSWER_TIMEOUT,
    locate::{Located, Stripe},
    print_json, transport,
};
use crate::{
    objects::{Client, ObjectUrl},
    settings::Settings,
};

/// An account that owns miners.
type Family = [u8; 32];

/// A stripe as miners say.
struct Held {
    /// Shards that are enough.
    needed: usize,
    /// Shards that it has in all.
    shards: usize,
    /// Family of a miner for each shard that one has: of the one that the current map names, if that has it.
    present: Vec<Family>,
    /// Shards on the miner that the current map names.
    in_place: usize,
}

/// What an object can lose.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
struct Durability {
    stripes: usize,
    shards: usize,
    /// Shards that miners say they have.
    present: usize,
    /// Shards on the miner that the current map names.
    in_place: usize,
    /// Of the stripe that has the fewest: its shards beyond those that are needed; negative if it cannot be read.
    spare: i64,
    /// The fewest families whose loss takes a stripe with it; 0 if one cannot be read already.
    families: usize,
    /// Miners that did not answer: their shards count as lost.
    silent: usize,
}

/// Asks the gateway for the shards and all miners of the maps concerned for what they have. Exit code 1 where data are lost.
pub async fn run(settings: Settings, at: ObjectUrl, json: bool) -> anyhow::Result<ExitCode> {
    let chain = settings.chain().await?;
    let client = Client::new(&settings)?;
    let answer = super::blocking(move || client.locate(&at)).await?;
    let located = Located::deserialize(&answer).context("the gateway's answer is not understood")?;
    let current = chain.current_map().await?.context("the chain has no map yet")?;
    let mut maps = BTreeMap::from([(current.epoch, current.clone())]);
    for epoch in located.stripes.iter().map(|stripe| stripe.epoch).collect::<BTreeSet<_>>() {
        if let Some(map) = chain.map_at(epoch).await? {
            maps.insert(epoch, map);
        }
    }
    let found = ask(&maps, &located.stripes).await?;
    let held = located.stripes.iter().map(|stripe| held(stripe, &current, &found));
    let mut told = assess(&held.collect::<anyhow::Result<Vec<_>>>()?);
    told.silent = found.silent;
    match json {
        true => print_json(&told)?,
        false => print(&told)?,
    }
    Ok(if told.spare < 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn print(told: &Durability) -> anyhow::Result<()> {
    line!(
        "{} stripes: {} of {} shards are there, {} of them on the miner that the current map names",
        told.stripes,
        told.present,
        told.shards,
        told.in_place
    );
    if told.silent > 0 {
        line!("{} miners did not answer; what they have counts as lost here", told.silent);
    }
    match told.spare {
        spare if spare < 0 => {
            line!("a stripe lacks {} shards to be read: data are lost unless miners come back", -spare);
        }
        spare => {
            let families = told.families;
            line!(
                "the weakest stripe can lose {spare} more shards; the loss of {families} families can take data"
            );
        }
    }
    Ok(())
}

/// Who has which shard.
struct Found {
    holders: HashMap<ShardHash, Vec<(NodeId, Family)>>,
    silent: usize,
}

async fn ask(maps: &BTreeMap<u64, EpochMap>, stripes: &[Stripe]) -> anyhow::Result<Found> {
    let transport: Arc<dyn Transport> = transport()?;
    let shards = stripes.iter().flat_map(|stripe| &stripe.shards).map(|shard| shard.hash.0);
    let shards: Arc<Vec<ShardHash>> = Arc::new(shards.collect());
    let mut asked = BTreeSet::new();
    let mut answers = JoinSet::new();
    // Newest map first: there a miner is where it is now.
    for miner in maps.values().rev().flat_map(|map| &map.miners) {
        let node_id = NodeId(miner.node_id);
        if asked.insert(node_id) {
            let endpoint = String::from_utf8_lossy(&miner.endpoint).into_owned();
            let (peer, family) = (PeerAddr { node_id, endpoint }, miner.family);
            let (transport, shards) = (transport.clone(), shards.clone());
            answers.spawn(async move { (node_id, family, has(transport.as_ref(), &peer, &shards).await) });
        }
    }
    let mut found = Found { holders: HashMap::new(), silent: 0 };
    while let Some(answer) = answers.join_next().await {
        match answer? {
            (node, family, Ok(shards)) => {
                for shard in shards {
                    found.holders.entry(shard).or_default().push((node, family));
                }
            }
            (.., Err(_)) => found.silent += 1,
        }
    }
    Ok(found)
}

/// Which of the shards a miner says it has.
async fn has(
    transport: &dyn Transport,
    peer: &PeerAddr,
    shards: &[ShardHash],
) -> Result<Vec<ShardHash>, CallError> {
    let mut held = Vec::new();
    for page in shards.chunks(STAT_SHARDS_MAX) {
        let request = Request::Stat { shards: page.to_vec() };
        if let (Response::Stats(stats), _) =
            transport.call(peer, request, Bytes::new(), ANSWER_TIMEOUT).await?
        {
            held.extend(page.iter().zip(stats).filter_map(|(shard, stat)| stat.map(|_| *shard)));
        }
    }
    Ok(held)
}

fn held(stripe: &Stripe, current: &EpochMap, found: &Found) -> anyhow::Result<Held> {
    let hashes: Vec<ShardHash> = stripe.shards.iter().map(|shard| shard.hash.0).collect();
    let group = stripe::placement_group(&stripe::stripe_id(&hashes), current.params.pg_count);
    let placed = crush::Map::from_records(&current.params, &current.miners)?.place_vec(group);
    let mut held = Held {
        needed: usize::from(stripe.data_shards),
        shards: hashes.len(),
        present: Vec::with_capacity(hashes.len()),
        in_place: 0,
    };
    for (index, hash) in hashes.iter().enumerate() {
        let Some(holders) = found.holders.get(hash) else { continue };
        let named = placed.get(index).copied().flatten().and_then(|uid| current.miner(uid));
        let at_home = holders.iter().find(|(node, _)| named.is_some_and(|miner| miner.node_id == node.0));
        held.in_place += usize::from(at_home.is_some());
        held.present.extend(at_home.or(holders.first()).map(|(_, family)| *family));
    }
    Ok(held)
}

/// A copy besides the one that counts may save a shard: what is said is the least that an object can bear.
fn assess(stripes: &[Held]) -> Durability {
    let mut told = Durability { stripes: stripes.len(), ..Durability::default() };
    let (mut spare, mut families) = (None::<i64>, None::<usize>);
    for stripe in stripes {
        told.shards += stripe.shards;
        told.present += stripe.present.len();
        told.in_place += stripe.in_place;
        let left = stripe.present.len() as i64 - stripe.needed as i64;
        spare = Some(spare.map_or(left, |least| least.min(left)));
        families = Some(families.map_or(fewest(stripe), |least| least.min(fewest(stripe))));
    }
    (told.spare, told.families) = (spare.unwrap_or(0), families.unwrap_or(0));
    told
}

/// The fewest families without which too few shards are left: those that have the most first.
fn fewest(stripe: &Held) -> usize {
    let mut by_family: HashMap<Family, usize> = HashMap::new();
    for family in &stripe.present {
        *by_family.entry(*family).or_default() += 1;
    }
    crush::fewest_domains(by_family.into_values(), stripe.needed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stripe(families: &[(u8, usize)]) -> Held {
        let present = families.iter().flat_map(|(family, shards)| vec![[*family; 32]; *shards]).collect();
        Held { needed: 10, shards: 30, present, in_place: 0 }
    }

    #[test]
    fn two_of_each_of_fifteen_families_bear_the_loss_of_ten() {
        let whole: Vec<(u8, usize)> = (0..15).map(|family| (family, 2)).collect();
        assert_eq!(fewest(&stripe(&whole)), 11);
        let told = assess(&[stripe(&whole), stripe(&whole[1..])]);
        assert_eq!((told.stripes, told.shards, told.present, told.spare, told.families), (2, 60, 58, 18, 10));
    }

    #[test]
    fn large_families_count_first_and_what_cannot_be_read_bears_nothing() {
        assert_eq!(fewest(&stripe(&[(1, 5), (2, 1), (3, 7)])), 1);
        assert_eq!(fewest(&stripe(&[(1, 3), (2, 3), (3, 3), (4, 3)])), 1);
        let lost = assess(&[stripe(&[(1, 9)])]);
        assert_eq!((lost.spare, lost.families), (-1, 0));
        assert_eq!(assess(&[]), Durability::default());
    }
}
