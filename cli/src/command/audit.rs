//! `arion audit`: how miners and objects were audited, and wardens that contradict themselves.

mod conflict;
mod told;

use std::{
    collections::{BTreeMap, btree_map::Entry},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context;
use arion_chain::{AuditDay, AuditReader, ChainClient, EpochMap};
use arion_types::NodeId;
use clap::Subcommand;
use serde::Deserialize;

use super::locate::Located;
use crate::{
    objects::{Client, ObjectUrl},
    settings::Settings,
};
use told::{Told, ToldMiner, ToldObject};

/// What of audits is asked for.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// By miner: last audit, challenges passed, chance that a loss is found in 24 h; with an object, the same of its shards.
    ///
    /// Exit code 1 where a shard of the object did not pass last.
    Report {
        /// The object.
        at: Option<ObjectUrl>,
    },
    /// Show the chain two verdicts of one warden on one challenge, which ends that warden. Costs no fee if they contradict.
    ReportConflict {
        /// One attestation, SCALE: a chain-submitter keeps such files in `conflicts` in its data directory.
        first: PathBuf,
        /// The other.
        second: PathBuf,
        /// Key of the account that reports, mode 0600; any account that can pay a fee.
        #[arg(long, value_name = "FILE")]
        account_file: PathBuf,
    },
}

/// Does what is asked for.
pub async fn run(settings: Settings, wanted: AuditCommand, json: bool) -> anyhow::Result<ExitCode> {
    match wanted {
        AuditCommand::Report { at } => report(settings, at, json).await,
        AuditCommand::ReportConflict { first, second, account_file } => {
            conflict::report_conflict(&settings, &first, &second, &account_file, json).await
        }
    }
}

/// Tells how miners were audited, and an object if one is named. Exit code 1 where one of its shards failed last.
async fn report(settings: Settings, at: Option<ObjectUrl>, json: bool) -> anyhow::Result<ExitCode> {
    let chain = settings.chain().await?;
    let map = chain.current_map().await?.context("no map is finalised yet")?;
    let day = AuditReader::new(chain.clone()).read().await?;
    let counts: BTreeMap<_, _> = chain.audit_counts().await?.into_iter().collect();
    let registry = chain.registry().await?;
    let mut miners: Vec<ToldMiner> = Vec::new();
    for (node, child) in &registry.miners {
        let uid = map.miner_by_node(node).map(|miner| miner.uid);
        let audits = uid.map(|uid| day.of_miner(uid)).unwrap_or_default();
        let counts = counts.get(&child.child).copied().unwrap_or_default();
        miners.push(ToldMiner::new(node, uid, child, &counts, audits));
    }
    miners.sort_by_key(|miner| (miner.uid.is_none(), miner.uid));
    let object = match at {
        Some(at) => Some(object(settings, &chain, &map, &day, at).await?),
        None => None,
    };
    let wardens = chain.warden_conflicts().await?;
    let told = Told::new(day.from_block, day.to_block, miners, object, wardens);
    told.tell(json)?;
    let is_bad = told.object.as_ref().is_some_and(|object| object.failed_last > 0);
    Ok(ExitCode::from(u8::from(is_bad)))
}

/// An object, by what the gateway says where its shards are.
async fn object(
    settings: Settings,
    chain: &ChainClient,
    current: &EpochMap,
    day: &AuditDay,
    at: ObjectUrl,
) -> anyhow::Result<ToldObject> {
    let client = Client::new(&settings)?;
    let asked = at.clone();
    let answer = super::blocking(move || client.locate(&asked)).await?;
    let located = Located::deserialize(&answer).context("the gateway's answer is not understood")?;
    let mut maps = BTreeMap::from([(current.epoch, Some(current.clone()))]);
    let mut shards = Vec::new();
    for stripe in &located.stripes {
        if let Entry::Vacant(vacant) = maps.entry(stripe.epoch) {
            vacant.insert(chain.map_at(stripe.epoch).await?);
        }
        for shard in &stripe.shards {
            // Whoever has had it was audited under its number, which never moves to another miner.
            let node = shard.uid.and_then(|uid| node_of(maps.values().flatten(), uid));
            shards.push((shard.hash.0, shard.uid, node));
        }
    }
    Ok(ToldObject::new(&at, located.stripes.len(), &shards, day))
}

fn node_of<'a>(maps: impl Iterator<Item = &'a EpochMap>, uid: u32) -> Option<NodeId> {
    maps.filter_map(|map| map.miner(uid)).map(|miner| NodeId(miner.node_id)).next()
}
