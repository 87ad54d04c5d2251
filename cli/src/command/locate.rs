//! `arion locate`: where the shards of an object are, and whether the finalised map says the same.

mod picture;

use std::process::ExitCode;

use anyhow::Context as _;
use arion_chain::EpochMap;
use arion_daemon::line;
use arion_types::{ShardHash, stripe};
use serde::Deserialize;
use serde_json::Value;

use super::print_json;
use crate::{
    objects::{Client, ObjectUrl},
    settings::Settings,
};

#[derive(Deserialize)]
pub(super) struct Located {
    size: u64,
    pub(super) stripes: Vec<Stripe>,
}

#[derive(Deserialize)]
pub(super) struct Stripe {
    stripe: String,
    pub(super) epoch: u64,
    pg: Option<u32>,
    len: u32,
    shard_len: u32,
    pub(super) data_shards: u8,
    pub(super) shards: Vec<Shard>,
}

#[derive(Deserialize)]
pub(super) struct Shard {
    index: u8,
    pub(super) hash: ShardHashText,
    pub(super) uid: Option<u32>,
    node_id: Option<String>,
    endpoint: Option<String>,
    /// Whether its miner confirmed it; none if the gateway does not say.
    durable: Option<bool>,
}

pub(super) struct ShardHashText(pub(super) ShardHash);

impl<'de> Deserialize<'de> for ShardHashText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

/// Asks the gateway, recomputes every placement, prints a picture, or every shard. Exit code 1 where the two differ.
pub async fn run(settings: Settings, at: ObjectUrl, shards: bool, json: bool) -> anyhow::Result<ExitCode> {
    let chain = settings.chain().await?;
    let client = Client::new(&settings)?;
    let answer = super::blocking(move || client.locate(&at)).await?;
    let located = Located::deserialize(&answer).context("the gateway's answer is not understood")?;
    let mut verified = Vec::with_capacity(located.stripes.len());
    let mut families = picture::Families::default();
    let mut map: Option<EpochMap> = None;
    for stripe in &located.stripes {
        if map.as_ref().is_none_or(|map| map.epoch != stripe.epoch) {
            map = chain.map_at(stripe.epoch).await?;
            if let Some(map) = &map {
                families.learn(map);
            }
        }
        verified.push(agrees(stripe, map.as_ref())?);
    }
    if json {
        let mut answer = answer;
        if let Some(stripes) = answer.get_mut("stripes").and_then(Value::as_array_mut) {
            for (stripe, verified) in stripes.iter_mut().zip(&verified) {
                stripe["matches_finalised_map"] = (*verified).into();
            }
        }
        print_json(&answer)?;
    } else if shards {
        print(&located, &verified)?;
    } else {
        for row in picture::draw(&located, &verified, &families) {
            line!("{row}");
        }
    }
    let differs = verified.contains(&Some(false));
    Ok(if differs { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Whether the finalised map places the stripe where the gateway says; `None` if the chain keeps no such map.
fn agrees(stripe: &Stripe, map: Option<&EpochMap>) -> anyhow::Result<Option<bool>> {
    let Some(map) = map else { return Ok(None) };
    let hashes: Vec<ShardHash> = stripe.shards.iter().map(|shard| shard.hash.0).collect();
    let id = stripe::stripe_id(&hashes);
    let pg = stripe::placement_group(&id, map.params.pg_count);
    let placed = crush::Map::from_records(&map.params, &map.miners)?.place_vec(pg);
    let same = id.to_string() == stripe.stripe
        && stripe.pg == Some(pg)
        && placed.len() == stripe.shards.len()
        && stripe.shards.iter().zip(&placed).all(|(shard, uid)| shard.uid == *uid);
    Ok(Some(same))
}

fn verdict(verified: Option<bool>) -> &'static str {
    match verified {
        Some(true) => "as the finalised map places it",
        Some(false) => "NOT AS THE FINALISED MAP PLACES IT",
        None => "the chain keeps no map of that epoch",
    }
}

fn print(located: &Located, verified: &[Option<bool>]) -> anyhow::Result<()> {
    line!("{} bytes in {} stripes", located.size, located.stripes.len());
    for (stripe, verified) in located.stripes.iter().zip(verified) {
        let pg = stripe.pg.map_or_else(|| "?".to_owned(), |pg| pg.to_string());
        line!(
            "stripe {} epoch {} pg {pg}: {} bytes, shards of {} bytes, {}",
            stripe.stripe,
            stripe.epoch,
            stripe.len,
            stripe.shard_len,
            verdict(*verified)
        );
        for shard in &stripe.shards {
            line!(
                "  {:>3} {} uid {:>5} {:<22} {}{}",
                shard.index,
                shard.hash.0,
                shard.uid.map_or_else(|| "-".to_owned(), |uid| uid.to_string()),
                shard.endpoint.as_deref().unwrap_or("-"),
                shard.node_id.as_deref().unwrap_or("-"),
                if shard.durable == Some(false) { " not durable yet" } else { "" },
            );
        }
    }
    Ok(())
}
