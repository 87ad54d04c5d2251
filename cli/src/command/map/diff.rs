//! `arion map diff` and `arion map plan`: what has to move between two maps, and to the one that is to come.

use std::{fs, process::ExitCode};

use anyhow::{Context as _, bail};
use arion_chain::{ChainClient, ComingMap, EpochMap, parse_account};
use arion_daemon::line;
use arion_types::{CrushParams, MinerRecord};
use codec::DecodeAll;
use crush::{Flow, Map, Plan};
use serde::Deserialize;
use serde_json::json;

use super::super::{blocking, miners, print_json, size};
use crate::settings::Settings;

/// A map as `arion map --json` prints it.
#[derive(Deserialize)]
struct Printed {
    epoch: u64,
    pg_count: u32,
    ec_k: u8,
    ec_m: u8,
    family_shards_max: u8,
    choose_tries: u16,
    miners: Vec<PrintedMiner>,
}

#[derive(Deserialize)]
struct PrintedMiner {
    uid: u32,
    node_id: String,
    family: String,
    weight: u32,
    endpoint: String,
}

/// Reads a map that `arion map --json` printed, as it is or edited to see what would move.
pub(in crate::command) fn read(text: &str) -> anyhow::Result<EpochMap> {
    let printed: Printed = serde_json::from_str(text).context("not a map as `arion map --json` prints it")?;
    let Printed { epoch, pg_count, ec_k, ec_m, family_shards_max, choose_tries, miners } = printed;
    let params = CrushParams { pg_count, ec_k, ec_m, family_shards_max, choose_tries };
    let record = |miner: PrintedMiner| -> anyhow::Result<MinerRecord> {
        let mut node_id = [0; 32];
        hex::decode_to_slice(&miner.node_id, &mut node_id)
            .with_context(|| format!("node_id of miner {} is not 64 hex digits", miner.uid))?;
        let family = parse_account(&miner.family)
            .with_context(|| format!("family of miner {} is no account", miner.uid))?;
        let endpoint = miner.endpoint.into_bytes().try_into();
        let endpoint =
            endpoint.map_err(|_| anyhow::anyhow!("endpoint of miner {} is too long", miner.uid))?;
        Ok(MinerRecord { uid: miner.uid, node_id, family, weight: miner.weight, endpoint })
    };
    Ok(EpochMap::new(epoch, params, miners.into_iter().map(record).collect::<Result<_, _>>()?))
}

/// The map that `at` names: an epoch on chain, or a file.
async fn load(settings: &Settings, chain: &mut Option<ChainClient>, at: &str) -> anyhow::Result<EpochMap> {
    let Ok(epoch) = at.parse::<u64>() else {
        let text = fs::read_to_string(at).with_context(|| format!("{at} is neither an epoch nor a file"))?;
        return read(&text).with_context(|| at.to_owned());
    };
    let chain = connected(settings, chain).await?;
    chain.map_at(epoch).await?.with_context(|| format!("the chain keeps no map of epoch {epoch}"))
}

async fn connected<'a>(
    settings: &Settings,
    chain: &'a mut Option<ChainClient>,
) -> anyhow::Result<&'a ChainClient> {
    if chain.is_none() {
        *chain = Some(settings.chain().await?);
    }
    chain.as_ref().context("connected above")
}

/// Prints what moves from `before` to `after`, or to the current map.
pub async fn run(
    settings: &Settings,
    before: &str,
    after: Option<&str>,
    stored_bytes: Option<u64>,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let mut chain = None;
    let before = load(settings, &mut chain, before).await?;
    let after = match after {
        Some(after) => load(settings, &mut chain, after).await?,
        None => {
            let current = connected(settings, &mut chain).await?.current_map().await?;
            let Some(current) = current else { bail!("no map is finalised yet") };
            current
        }
    };
    tell(settings, &before, &after, stored_bytes, json).await
}

/// Path at which a validator service tells of the next map, and the most that is read of it.
const NEXT_MAP: &str = "/v1/next-map";
const NEXT_MAP_BYTES_MAX: u64 = 64 << 20;

/// Prints what the map moves that a validator service tells of.
pub async fn plan_of(
    settings: &Settings,
    at: String,
    stored_bytes: Option<u64>,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let url = format!("{}{NEXT_MAP}", at.trim_end_matches('/'));
    let coming = blocking(move || next_map(&url)).await?;
    let Some(before) = settings.chain().await?.current_map().await? else { bail!("no map is finalised yet") };
    if !json {
        line!(
            "voted for from block {} on; in force when two thirds of the validators have",
            coming.voted_from
        );
    }
    tell(settings, &before, &coming.map(), stored_bytes, json).await
}

fn next_map(url: &str) -> anyhow::Result<ComingMap> {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut answer =
        agent.get(url).call().with_context(|| format!("no validator service answers at {url}"))?;
    let body = answer.body_mut().with_config().limit(NEXT_MAP_BYTES_MAX).read_to_vec()?;
    match answer.status().as_u16() {
        200 => ComingMap::decode_all(&mut &body[..])
            .with_context(|| format!("{url} answers something else than a map")),
        _ => bail!("{url}: {}", String::from_utf8_lossy(&body)),
    }
}

/// Prints what moves from one map to the other.
async fn tell(
    settings: &Settings,
    before: &EpochMap,
    after: &EpochMap,
    stored_bytes: Option<u64>,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let stored_bytes = match stored_bytes {
        Some(stored_bytes) => Some(stored_bytes),
        None if settings.validators.is_empty() => None,
        None => Some(miners::heard(settings).await?.values().map(|miner| miner.used_bytes).sum()),
    };
    let plan = plan(before, after)?;
    let amounts = Amounts { positions: plan.positions, stored_bytes };
    if json {
        print_json(&as_json(before, after, &plan, &amounts))?;
    } else {
        print(before, after, &plan, &amounts)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn plan(before: &EpochMap, after: &EpochMap) -> anyhow::Result<Plan> {
    let build = |map: &EpochMap| {
        Map::from_records(&map.params, &map.miners).with_context(|| format!("map of epoch {}", map.epoch))
    };
    Ok(Plan::between(&build(before)?, &build(after)?)?)
}

/// Bytes of so many positions, if it is known how much the network holds.
struct Amounts {
    positions: u64,
    stored_bytes: Option<u64>,
}

impl Amounts {
    /// The share of all stored bytes: placement groups are filled evenly, as stripes fall into them by hash.
    fn bytes(&self, positions: u64) -> Option<u64> {
        let bytes =
            u128::from(self.stored_bytes?) * u128::from(positions) / u128::from(self.positions.max(1));
        u64::try_from(bytes).ok()
    }
}

fn as_json(before: &EpochMap, after: &EpochMap, plan: &Plan, amounts: &Amounts) -> serde_json::Value {
    let miners: Vec<_> = plan
        .miners
        .iter()
        .map(|(uid, Flow { incoming, outgoing })| {
            json!({
                "uid": uid,
                "incoming": incoming,
                "outgoing": outgoing,
                "incoming_bytes": amounts.bytes(*incoming),
                "outgoing_bytes": amounts.bytes(*outgoing),
            })
        })
        .collect();
    json!({
        "before": before.epoch,
        "after": after.epoch,
        "positions": plan.positions,
        "moved": plan.moved,
        "least": before.least_moved(after),
        "vacated": plan.vacated,
        "filled": plan.filled,
        "stored_bytes": amounts.stored_bytes,
        "moved_bytes": amounts.bytes(plan.moved),
        "miners": miners,
    })
}

fn print(before: &EpochMap, after: &EpochMap, plan: &Plan, amounts: &Amounts) -> anyhow::Result<()> {
    let bytes = |positions: u64| amounts.bytes(positions).map_or_else(|| "-".to_owned(), size);
    // In hundredths of a percent.
    let share = plan.moved * 10_000 / plan.positions.max(1);
    line!(
        "epoch {} to {}: {} of {} positions move ({}.{:02} %), {}",
        before.epoch,
        after.epoch,
        plan.moved,
        plan.positions,
        share / 100,
        share % 100,
        bytes(plan.moved)
    );
    let least = before.least_moved(after);
    // In hundredths.
    if let Some(ratio) = (plan.moved * 100).checked_div(least) {
        line!(
            "{least} have to move whatever the placement: {}.{:02} times the least",
            ratio / 100,
            ratio % 100
        );
    }
    if plan.vacated + plan.filled > 0 {
        line!("{} positions become vacant, {} that were vacant are filled", plan.vacated, plan.filled);
    }
    if amounts.stored_bytes.is_none() {
        line!("bytes are not known: name validator services (--validators) or say --stored-bytes");
    }
    line!("{:>6} {:>10} {:>12} {:>10} {:>12}", "uid", "receives", "", "gives", "");
    for (uid, Flow { incoming, outgoing }) in &plan.miners {
        line!("{uid:>6} {incoming:>10} {:>12} {outgoing:>10} {:>12}", bytes(*incoming), bytes(*outgoing));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Forty miners in twenty families, as `arion map --json` prints them.
    fn printed(epoch: u64, change: impl Fn(&mut MinerRecord)) -> String {
        let record = |uid: u32| {
            let mut miner = MinerRecord {
                uid,
                node_id: [uid as u8; 32],
                family: [uid as u8 / 2; 32],
                weight: 0x1_0000,
                endpoint: b"127.0.0.1:1".to_vec().try_into().unwrap(),
            };
            change(&mut miner);
            miner
        };
        let params = CrushParams { pg_count: 256, ..CrushParams::STANDARD };
        let map = EpochMap::new(epoch, params, (0..40).map(record).collect());
        super::super::as_json(&map, &map.root).to_string()
    }

    #[test]
    fn what_is_printed_can_be_read_and_compared() {
        let before = read(&printed(4, |_| {})).unwrap();
        assert_eq!(before, EpochMap::new(4, before.params, before.miners.clone()));
        let lighter = |miner: &mut MinerRecord| miner.weight >>= u32::from(miner.uid == 3);
        let after = read(&printed(5, lighter)).unwrap();
        let plan = plan(&before, &after).unwrap();
        assert_eq!(plan.positions, 256 * 30);
        assert!(plan.moved > 0 && plan.moved * 10 < plan.positions, "{plan:?}");
        let amounts = Amounts { positions: plan.positions, stored_bytes: Some(plan.positions * 1_000) };
        let json = as_json(&before, &after, &plan, &amounts);
        assert_eq!(json["moved_bytes"], plan.moved * 1_000);
        // Miner 3 has half its weight: the 39 others gain what it loses, each rounded down.
        let least = json["least"].as_u64().unwrap();
        assert!((39..=96).contains(&least) && plan.moved >= least, "{least}, {plan:?}");
        assert_eq!(json["miners"].as_array().map(Vec::len), Some(plan.miners.len()));
    }

    #[test]
    fn what_can_not_be_compared_says_why() {
        let before = read(&printed(4, |_| {})).unwrap();
        let mut after = before.clone();
        after.params.pg_count = 128;
        assert!(plan(&before, &after).unwrap_err().to_string().contains("256 and 128 placement groups"));
        let twice = read(&printed(5, |miner| miner.uid = miner.uid.max(1))).unwrap();
        let error = format!("{:#}", plan(&before, &twice).unwrap_err());
        assert!(
            error.starts_with("map of epoch 5: ") && error.contains("miner 1 is listed twice"),
            "{error}"
        );
        assert!(read("{}").unwrap_err().to_string().contains("arion map --json"));
        let wrong = printed(4, |_| {}).replace(&hex::encode([7; 32]), "7");
        assert!(read(&wrong).unwrap_err().to_string().contains("node_id of miner 7"));
    }
}
