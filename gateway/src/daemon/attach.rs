//! What of the gateway needs the chain to answer: attached once a node does, at the start or later.

use std::sync::{Arc, Mutex, OnceLock};

use arion_chain::{Account, ChainClient, ChainView};
use arion_daemon::{Health, Shutdown};
use arion_types::{GenesisHash, NodeId};
use tokio::task::JoinSet;

use super::STATUS_INTERVAL;
use crate::{
    billing::{
        commit::Biller,
        credit::Credit,
        expire::Expirer,
        market::{ChainMarket, Market},
        schedule::{self as bills, Billing, Watch},
    },
    chain,
    compaction::{Bounds, Compactor},
    config::Config,
    grid::Grid,
    keyring::Keyring,
    keys::AccessKeys,
    snapshot::{
        anchor::ChainAnchor,
        cut::Sizes,
        schedule::{self, Schedule},
        take::Snapshotter,
    },
};

/// What is attached to the chain.
pub(super) struct Attachment {
    pub(super) config: Config,
    pub(super) grid: Arc<Grid>,
    pub(super) keyring: Arc<Keyring>,
    pub(super) keys: Arc<AccessKeys>,
    pub(super) credit: Arc<Credit>,
    /// Who pays for naming snapshots.
    pub(super) payer: Option<Account>,
    /// Who commits to the ledger.
    pub(super) owner: Option<Account>,
    /// Told to those who wait for the chain.
    pub(super) seen: Arc<OnceLock<ChainView>>,
    pub(super) health: Health,
    pub(super) stop: Shutdown,
}

impl Attachment {
    /// Takes over what the chain says, and starts what follows it; all of that ends with the set.
    pub(super) async fn attach(self, client: ChainClient, view: ChainView) -> anyhow::Result<JoinSet<()>> {
        let Self { config, grid, keyring, keys, credit, payer, owner, seen, health, stop } = self;
        let node_id = grid.node_id();
        let _ = seen.set(view.clone());
        grid.meta.keep_genesis(view.genesis()).await?;
        let audits = grid.audits.clone().follow(client.clone(), stop.clone());
        let snapshots = snapshots(&config, &grid, &keyring, client.clone(), payer, &health);
        let market = market(client, node_id, owner, &health);
        let whose = (view.genesis(), node_id);
        // Only what the chain has been told of is ever dropped.
        let keep_dead = config.ledger.keep_dead.0.filter(|_| config.billing.account_file.is_some());
        let compactor = keep_dead.map(|keep_dead| Compactor {
            meta: grid.meta.clone(),
            of: whose,
            keep_dead,
            bounds: Bounds::STANDARD,
            metrics: grid.metrics.clone(),
            health: health.clone(),
            bucket: Some(config.ledger.bucket.clone()).filter(|bucket| !bucket.is_empty()),
            looked_at: Mutex::default(),
        });
        let (watch, billing) = billing(&config, &grid, &keys, &credit, market, whose, &health)?;
        if let Some(watch) = &watch
            && let Err(error) = watch.look().await
        {
            tracing::warn!(%error, "nobody is refused for want of credits before the chain says how they stand");
        }
        chain::take_over(&grid, &view.snapshot()).await?;
        let mut tasks = JoinSet::new();
        tasks.spawn(audits);
        if let Some(schedule) = snapshots {
            let (meta, until) = (grid.meta.clone(), stop.clone());
            tasks.spawn(async move { meta.while_leading(|| schedule.run(until.clone())).await });
        }
        if let Some(billing) = billing {
            let (meta, until) = (grid.meta.clone(), stop.clone());
            tasks.spawn(async move { meta.while_leading(|| billing.run(until.clone())).await });
        }
        if let Some(compactor) = compactor {
            let (meta, until) = (grid.meta.clone(), stop.clone());
            tasks.spawn(async move { meta.while_leading(|| compactor.run(until.clone())).await });
        }
        if let Some(watch) = watch {
            tasks.spawn(async move { watch.run(stop).await });
        }
        tasks.spawn(follow(grid, view, health, node_id));
        Ok(tasks)
    }
}

/// What makes snapshots, if there is an account that pays for naming them.
fn snapshots(
    config: &Config,
    grid: &Arc<Grid>,
    keyring: &Arc<Keyring>,
    client: ChainClient,
    payer: Option<Account>,
    health: &Health,
) -> Option<Schedule> {
    let Some(payer) = payer else {
        tracing::warn!("snapshots of the metadata are {}", schedule::OFF);
        health.detail("snapshot", schedule::OFF);
        return None;
    };
    let snapshotter = Snapshotter {
        grid: grid.clone(),
        keyring: keyring.clone(),
        anchor: Arc::new(ChainAnchor::new(client, Some(payer))),
        access_keys: config.access_keys_file(),
        sizes: Sizes::STANDARD,
        bytes_per_second: config.snapshot.rate.0,
    };
    Some(Schedule {
        snapshotter: Arc::new(snapshotter),
        interval: config.snapshot.interval.0,
        request: config.snapshot_request(),
        health: health.clone(),
    })
}

/// The marketplace, if there is an account that commits to the ledger.
fn market(
    client: ChainClient,
    node_id: NodeId,
    owner: Option<Account>,
    health: &Health,
) -> Option<Arc<dyn Market>> {
    let Some(owner) = owner else {
        tracing::info!("billing is {}", bills::OFF);
        health.detail("billing", bills::OFF);
        return None;
    };
    Some(Arc::new(ChainMarket::new(client, node_id, owner)))
}

/// Who asks how accounts stand, and what bills.
type Bills = (Option<Watch>, Option<Billing>);

fn billing(
    config: &Config,
    grid: &Arc<Grid>,
    keys: &Arc<AccessKeys>,
    credit: &Arc<Credit>,
    market: Option<Arc<dyn Market>>,
    of: (GenesisHash, NodeId),
    health: &Health,
) -> anyhow::Result<Bills> {
    let Some(market) = market else { return Ok((None, None)) };
    credit.open(keys.clone(), of.1, market.terms()?);
    let (meta, metrics) = (grid.meta.clone(), grid.metrics.clone());
    let watch =
        Watch { market: market.clone(), keys: keys.clone(), credit: credit.clone(), health: health.clone() };
    let biller = Biller {
        meta: meta.clone(),
        keys: keys.clone(),
        market: market.clone(),
        of,
        metrics: metrics.clone(),
    };
    let expirer = Expirer {
        meta,
        keys: keys.clone(),
        market,
        credit: credit.clone(),
        gateway: of.1,
        kept: config.billing.expired_kept.0,
        metrics,
        resting: Mutex::default(),
    };
    let interval = config.billing.interval.0;
    Ok((Some(watch), Some(Billing { biller, expirer, interval, health: health.clone() })))
}

async fn follow(grid: Arc<Grid>, mut view: ChainView, health: Health, node_id: NodeId) {
    loop {
        let snapshot = view.snapshot();
        match chain::take_over(&grid, &snapshot).await {
            Ok(Some(_)) => health.ok("map"),
            Ok(None) => health.failing("map", "no map is finalised yet: nothing can be written"),
            Err(error) => health.failing("map", error.to_string()),
        }
        arion_daemon::chain::report(&view, &health);
        let registered = chain::is_registered(&snapshot, &node_id);
        match registered {
            true => health.ok("registration"),
            false => health.failing("registration", "not registered as a gateway: miners refuse its shards"),
        }
        health.detail("registered", registered);
        match (grid.meta.backlog().await, grid.meta.ledger_len().await) {
            (Ok((missing, deletes)), Ok(lines)) => {
                health.ok("metadata");
                health.detail("shards_missing", missing);
                health.detail("deletes_queued", deletes);
                health.detail("ledger_entries", lines);
            }
            (Err(error), _) | (_, Err(error)) => health.failing("metadata", error.to_string()),
        }
        if let Ok(unconfirmed) = grid.meta.unconfirmed_len().await {
            health.detail("shards_unconfirmed", unconfirmed);
        }
        health.detail("miners_down", grid.peers.down_count());
        if let Some((replica, leads)) = grid.meta.replica() {
            health.detail("replica", replica);
            health.detail("leads", leads);
        }
        tokio::select! {
            _ = view.changed() => {}
            () = tokio::time::sleep(STATUS_INTERVAL) => {}
        }
    }
}
