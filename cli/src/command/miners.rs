//! `arion miner ls` and `show`: registered miners, what the validator services hear of them, and what the ledgers say that they hold.

pub mod show;

use std::{collections::BTreeMap, process::ExitCode};

use arion_chain::{is_banned, ss58};
use arion_daemon::{line, now_ms};
use arion_net::{CallError, PeerAddr, Transport};
use arion_protocol::{
    MinerCustody, MinerReason, MinerState, MinerStatus, MinerTransition, Request, Response,
    limits::TRANSITIONS_MAX,
};
use arion_types::NodeId;
use bytes::Bytes;
use serde::Serialize;

use super::{ANSWER_TIMEOUT, PAGES_MAX, custody_of, miners_of, print_json, rounded, size, transport};
use crate::settings::Settings;

/// A miner.
#[derive(Serialize)]
struct Miner {
    node_id: String,
    uid: Option<u32>,
    family: String,
    child: String,
    endpoint: Option<String>,
    /// None when no validator service was asked or knows it, and nothing bans it.
    state: Option<&'static str>,
    /// Since when, milliseconds since the Unix epoch, by the validator service that has known it for longest; and why.
    since: Option<u64>,
    reason: Option<&'static str>,
    why: Option<String>,
    /// Failures of its audits that wardens agreed on and the chain has not forgotten, and timeouts.
    integrity_fails: u32,
    strikes: u32,
    /// Share of the last weight bucket in which it was heard; none when nobody reported it.
    uptime_permille: Option<u16>,
    capacity_bytes: Option<u64>,
    used_bytes: Option<u64>,
    shard_count: Option<u64>,
    /// Bytes that the ledgers name on it; none when no validator service knows.
    ledger_bytes: Option<u64>,
    /// Bytes that it had when it began to be emptied.
    drain_begun_bytes: Option<u64>,
}

impl Miner {
    /// Why it is not as it should be, for people.
    fn note(&self) -> String {
        let why = self.why.as_ref().filter(|_| self.state != Some(MinerState::Online.name()));
        why.map_or_else(String::new, |why| format!(" ({why})"))
    }

    /// Its state for people: how much of it is gone where it is being emptied.
    fn state(&self) -> String {
        let state = self.state.unwrap_or("unknown");
        match self.drain_begun_bytes.zip(self.ledger_bytes) {
            Some((begun, held)) if begun > 0 => {
                let gone = u128::from(begun.saturating_sub(held)) * 100 / u128::from(begun);
                format!("{state} {gone}%")
            }
            _ => state.to_owned(),
        }
    }
}

/// Prints the miners.
pub async fn run(settings: &Settings, json: bool) -> anyhow::Result<ExitCode> {
    let chain = settings.chain().await?;
    let (registry, map) = (chain.registry().await?, chain.current_map().await?);
    let qualities = chain.node_qualities(&chain.finalized().await?).await?;
    let heard = heard(settings).await?;
    let held = held(settings).await?;
    let lately = lately(settings).await?;
    let mut miners: Vec<Miner> = registry
        .miners
        .iter()
        .map(|(node_id, child)| {
            let record = map.as_ref().and_then(|map| map.miner_by_node(node_id));
            let status = heard.get(node_id);
            let quality = qualities.get(&child.child);
            let banned = quality.is_some_and(|quality| is_banned(quality, record.is_some()));
            let state = if banned { Some("banned") } else { status.map(|status| status.state.name()) };
            let standing = lately.get(node_id).into_iter().flatten();
            let standing = standing.filter(|change| Some(state_name(change.to, change.reason)) == state);
            let standing = standing.min_by_key(|change| change.at);
            let endpoint = status.map(|status| &status.endpoint).or(record.map(|record| &record.endpoint));
            Miner {
                node_id: node_id.to_string(),
                uid: record.map(|record| record.uid),
                family: ss58(&child.family),
                child: ss58(&child.child),
                endpoint: endpoint.map(|endpoint| String::from_utf8_lossy(endpoint).into_owned()),
                state,
                since: standing.map(|change| change.at),
                reason: standing.map(|change| change.reason.name()),
                why: standing.map(|change| change.reason.to_string()),
                integrity_fails: quality.map_or(0, |quality| quality.integrity_fails),
                strikes: quality.map_or(0, |quality| quality.strikes),
                uptime_permille: quality.map(|quality| quality.uptime_permille),
                capacity_bytes: status.map(|status| status.capacity_bytes),
                used_bytes: status.map(|status| status.used_bytes),
                shard_count: status.map(|status| status.shard_count),
                ledger_bytes: held.get(node_id).map(|held| held.held_bytes),
                drain_begun_bytes: held
                    .get(node_id)
                    .and_then(|held| held.drain)
                    .map(|drain| drain.begun_bytes),
            }
        })
        .collect();
    miners.sort_by(|a, b| (a.uid.is_none(), a.uid, &a.node_id).cmp(&(b.uid.is_none(), b.uid, &b.node_id)));
    if json {
        print_json(&miners)?;
        return Ok(ExitCode::SUCCESS);
    }
    line!(
        "{:>6} {:<13} {:>6} {:<22} {:>12} {:>12} {:>12} {:>8} node id",
        "uid",
        "state",
        "for",
        "endpoint",
        "used",
        "in ledgers",
        "capacity",
        "shards"
    );
    for miner in &miners {
        let dash = || "-".to_owned();
        let state = miner.state();
        line!(
            "{:>6} {state:<13} {:>6} {:<22} {:>12} {:>12} {:>12} {:>8} {}{}",
            miner.uid.map_or_else(dash, |uid| uid.to_string()),
            miner.since.map_or_else(dash, ago),
            miner.endpoint.as_deref().unwrap_or("-"),
            miner.used_bytes.map_or_else(dash, size),
            miner.ledger_bytes.map_or_else(dash, size),
            miner.capacity_bytes.map_or_else(dash, size),
            miner.shard_count.map_or_else(dash, |count| count.to_string()),
            miner.node_id,
            miner.note(),
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// What any validator service knows of each miner: the newest report counts.
pub(super) async fn heard(settings: &Settings) -> anyhow::Result<BTreeMap<NodeId, MinerStatus>> {
    let transport = transport()?;
    let mut heard: BTreeMap<NodeId, MinerStatus> = BTreeMap::new();
    for validator in &settings.validators {
        match miners_of(&*transport, validator).await {
            Ok(miners) => {
                for miner in miners {
                    let newer =
                        heard.get(&miner.node_id).is_none_or(|known| known.last_seen < miner.last_seen);
                    if newer {
                        heard.insert(miner.node_id, miner);
                    }
                }
            }
            Err(error) => eprintln!("warning: validator service {}: {error}", validator.endpoint),
        }
    }
    transport.close().await;
    Ok(heard)
}

/// A state as it is named for people.
fn state_name(state: MinerState, reason: MinerReason) -> &'static str {
    if reason.bans() { "banned" } else { state.name() }
}

/// How long ago that was.
fn ago(at: u64) -> String {
    rounded(now_ms().saturating_sub(at) / 1_000).to_string()
}

/// The newest transitions of all miners, as a validator service knows them; none of a service of an earlier version.
async fn transitions_of(
    transport: &dyn Transport,
    service: &PeerAddr,
    newest: u8,
) -> Result<Vec<MinerTransition>, CallError> {
    let mut all: Vec<MinerTransition> = Vec::new();
    for _ in 0..PAGES_MAX {
        let after = all.last().map(|last| last.miner);
        let request = Request::Transitions { after, limit: TRANSITIONS_MAX, newest };
        match transport.call(service, request, Bytes::new(), ANSWER_TIMEOUT).await? {
            (Response::Transitions(page), _) if !page.is_empty() => all.extend(page),
            _ => break,
        }
    }
    Ok(all)
}

/// How each miner stands, by each validator service.
async fn lately(settings: &Settings) -> anyhow::Result<BTreeMap<NodeId, Vec<MinerTransition>>> {
    let transport = transport()?;
    let mut lately: BTreeMap<NodeId, Vec<MinerTransition>> = BTreeMap::new();
    for validator in &settings.validators {
        for change in transitions_of(&*transport, validator, 1).await.unwrap_or_default() {
            lately.entry(change.miner).or_default().push(change);
        }
    }
    transport.close().await;
    Ok(lately)
}

/// What the ledgers say that each miner holds, by the validator service that sees most on it; nothing of those that do not know.
async fn held(settings: &Settings) -> anyhow::Result<BTreeMap<NodeId, MinerCustody>> {
    let transport = transport()?;
    let mut held: BTreeMap<NodeId, MinerCustody> = BTreeMap::new();
    for validator in &settings.validators {
        for miner in custody_of(&*transport, validator).await.unwrap_or_default() {
            let more = held.get(&miner.node_id).is_none_or(|known| known.held_bytes < miner.held_bytes);
            if more {
                held.insert(miner.node_id, miner);
            }
        }
    }
    transport.close().await;
    Ok(held)
}
