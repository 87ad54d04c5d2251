//! `arion miner show`: one miner, by the chain and by each validator service: how it stands, since when and why, and how it stood before.

use std::process::ExitCode;

use anyhow::Context;
use arion_chain::{BANNED_FROM, BANNED_UNTIL, is_banned, ss58};
use arion_daemon::line;
use arion_protocol::{MinerStatus, MinerTransition, limits::TRANSITIONS_OF_MINER_MAX};
use arion_types::{NodeId, map::WEIGHT_ONE};
use serde::Serialize;

use super::{
    super::{miners_of, print_json, size, transport},
    ago, state_name, transitions_of,
};
use crate::settings::Settings;

/// What the chain says.
#[derive(Serialize)]
struct OnChain {
    finalized_block: u32,
    family: String,
    child: String,
    /// In the current map.
    uid: Option<u32>,
    /// Its weight in it, 16.16 fixed point.
    weight: Option<u32>,
    /// Epochs of the maps that have it, of those that the chain keeps newest; the newest first.
    epochs: Vec<u64>,
    /// Failures of its audits that wardens agreed on and the chain has not forgotten, and timeouts.
    integrity_fails: u32,
    strikes: u32,
    uptime_permille: Option<u16>,
    /// Whether that bans it from maps.
    banned: bool,
    /// First block of its announced absence, and the first in which it is back.
    away: Option<(u32, u32)>,
}

/// What a validator service says.
#[derive(Serialize)]
struct Heard {
    endpoint: String,
    /// None when it does not answer or does not know the miner.
    state: Option<&'static str>,
    last_seen: Option<u64>,
    used_bytes: Option<u64>,
    capacity_bytes: Option<u64>,
    /// The oldest first; none of a service of an earlier version.
    transitions: Vec<Transition>,
    error: Option<String>,
}

#[derive(Serialize)]
struct Transition {
    /// Milliseconds since the Unix epoch.
    at: u64,
    from: Option<&'static str>,
    to: &'static str,
    reason: &'static str,
    /// The reason for people.
    why: String,
}

#[derive(Serialize)]
struct Shown {
    node_id: String,
    chain: OnChain,
    services: Vec<Heard>,
}

/// Prints what there is to know of a miner.
pub async fn run(settings: &Settings, miner: &NodeId, json: bool) -> anyhow::Result<ExitCode> {
    let chain = on_chain(settings, miner).await?;
    let shown = Shown { node_id: miner.to_string(), chain, services: heard(settings, miner).await? };
    match json {
        true => print_json(&shown)?,
        false => print(&shown)?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn on_chain(settings: &Settings, miner: &NodeId) -> anyhow::Result<OnChain> {
    let chain = settings.chain().await?;
    let (registry, finalized) = (chain.registry().await?, chain.finalized().await?);
    let child = registry.miners.get(miner);
    let child = child
        .with_context(|| format!("{miner} is no active miner on this chain: `arion miner list` has them"))?;
    let quality = chain.node_qualities(&finalized).await?.remove(&child.child);
    let current = chain.current_map().await?;
    let record = current.as_ref().and_then(|map| map.miner_by_node(miner));
    let mut epochs = Vec::new();
    for (epoch, _) in chain.epoch_starts(&finalized).await?.into_iter().rev().take(EPOCHS_MAX) {
        if chain.map_at(epoch).await?.is_some_and(|map| map.miner_by_node(miner).is_some()) {
            epochs.push(epoch);
        }
    }
    Ok(OnChain {
        finalized_block: finalized.number,
        family: ss58(&child.family),
        child: ss58(&child.child),
        uid: record.map(|record| record.uid),
        weight: record.map(|record| record.weight),
        epochs,
        integrity_fails: quality.as_ref().map_or(0, |quality| quality.integrity_fails),
        strikes: quality.as_ref().map_or(0, |quality| quality.strikes),
        uptime_permille: quality.as_ref().map(|quality| quality.uptime_permille),
        banned: quality.as_ref().is_some_and(|quality| is_banned(quality, record.is_some())),
        away: registry.maintenances.get(miner).map(|away| (away.from, away.until)),
    })
}

/// Maps that are looked at.
const EPOCHS_MAX: usize = 8;

async fn heard(settings: &Settings, miner: &NodeId) -> anyhow::Result<Vec<Heard>> {
    let transport = transport()?;
    let mut services = Vec::new();
    for service in &settings.validators {
        let (status, error) = match miners_of(&*transport, service).await {
            Ok(miners) => (miners.into_iter().find(|status| status.node_id == *miner), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let lately = transitions_of(&*transport, service, TRANSITIONS_OF_MINER_MAX).await.unwrap_or_default();
        let lately: Vec<_> = lately.into_iter().filter(|transition| transition.miner == *miner).collect();
        services.push(of(service.endpoint.clone(), status, &lately, error));
    }
    transport.close().await;
    Ok(services)
}

fn of(
    endpoint: String,
    status: Option<MinerStatus>,
    lately: &[MinerTransition],
    error: Option<String>,
) -> Heard {
    let state = lately.last().map(|last| state_name(last.to, last.reason));
    Heard {
        endpoint,
        state: state.or(status.as_ref().map(|status| status.state.name())),
        last_seen: status.as_ref().map(|status| status.last_seen).filter(|seen| *seen > 0),
        used_bytes: status.as_ref().map(|status| status.used_bytes),
        capacity_bytes: status.as_ref().map(|status| status.capacity_bytes),
        transitions: lately
            .iter()
            .map(|change| Transition {
                at: change.at,
                from: change.from.map(|state| state.name()),
                to: state_name(change.to, change.reason),
                reason: change.reason.name(),
                why: change.reason.to_string(),
            })
            .collect(),
        error,
    }
}

fn print(shown: &Shown) -> anyhow::Result<()> {
    let chain = &shown.chain;
    line!("node id   {}", shown.node_id);
    line!("family    {}", chain.family);
    line!("account   {}", chain.child);
    match (chain.uid, chain.weight) {
        (Some(uid), Some(weight)) => {
            let weight = f64::from(weight) / f64::from(WEIGHT_ONE);
            line!("map       uid {uid}, weight {weight:.3}");
        }
        _ => line!("map       the current map does not have it"),
    }
    let epochs: Vec<String> = chain.epochs.iter().map(ToString::to_string).collect();
    line!("epochs    {}", if epochs.is_empty() { "-".to_owned() } else { epochs.join(" ") });
    let standing = if chain.banned {
        format!("; banned: it comes back with fewer than {BANNED_UNTIL}")
    } else {
        format!("; {BANNED_FROM} ban it")
    };
    line!(
        "audits    {} failures stand against it, {} strikes{standing}",
        chain.integrity_fails,
        chain.strikes
    );
    if let Some((from, until)) = chain.away {
        line!(
            "away      announced for blocks {from} to {until}; the finalised block is {}",
            chain.finalized_block
        );
    }
    for service in &shown.services {
        line!("");
        match (&service.error, service.state) {
            (Some(error), _) => line!("{}: {error}", service.endpoint),
            (None, None) => line!("{}: does not know it", service.endpoint),
            (None, Some(state)) => {
                let seen = service
                    .last_seen
                    .map_or_else(|| "never heard".to_owned(), |at| format!("heard {} ago", ago(at)));
                let used = service.used_bytes.zip(service.capacity_bytes);
                let full = used.map_or_else(String::new, |(used, all)| {
                    format!(", {} of {} used", size(used), size(all))
                });
                line!("{}: {state}, {seen}{full}", service.endpoint);
            }
        }
        for change in service.transitions.iter().rev() {
            let from = change.from.unwrap_or("unknown");
            line!("  {:>6} ago  {from} -> {}: {}", ago(change.at), change.to, change.why);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arion_protocol::{MinerReason, MinerState};

    const MINER: NodeId = NodeId([1; 32]);

    fn change(at: u64, from: Option<MinerState>, to: MinerState, reason: MinerReason) -> MinerTransition {
        MinerTransition { miner: MINER, at, from, to, reason }
    }

    #[test]
    fn the_last_transition_is_how_it_stands() {
        let lately = [
            change(5, None, MinerState::Online, MinerReason::Heard),
            change(9, Some(MinerState::Online), MinerState::Out, MinerReason::AuditsFailed { failures: 41 }),
        ];
        let shown = of("a:1".into(), None, &lately, None);
        assert_eq!(shown.state, Some("banned"));
        let last = &shown.transitions[1];
        assert_eq!(
            (last.at, last.from, last.to, last.reason),
            (9, Some("online"), "banned", "audits_failed")
        );
        assert!(last.why.contains("41 failures"), "{}", last.why);
        assert_eq!((shown.transitions[0].from, shown.transitions[0].reason), (None, "heard"));
    }

    #[test]
    fn a_service_of_an_earlier_version_says_the_state_alone() {
        let status = MinerStatus {
            node_id: MINER,
            state: MinerState::Suspect,
            last_seen: 0,
            endpoint: Default::default(),
            capacity_bytes: 7,
            used_bytes: 3,
            shard_count: 1,
        };
        let shown = of("a:1".into(), Some(status), &[], None);
        assert_eq!((shown.state, shown.last_seen, shown.used_bytes), (Some("suspect"), None, Some(3)));
        assert_eq!(of("a:1".into(), None, &[], None).state, None);
    }
}
