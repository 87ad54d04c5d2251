//! The running gateway: everything put together, started and stopped.

use std::{
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use arion_chain::{Account, ChainClient, ChainView, ViewConfig};
use arion_daemon::{
    Health, HttpServer, Shutdown, check_writable_dir, prometheus_client::registry::Registry, read_secret_key,
};
use arion_net::{QuicServer, QuicTransport};
use arion_types::{GenesisHash, NodeId, signing};
use tokio::task::JoinHandle;

use crate::{
    account_command,
    billing::{
        commit::Biller,
        credit::Credit,
        expire::Expirer,
        market::{ChainMarket, Market},
        schedule::{self as bills, Billing, Watch},
    },
    chain,
    config::Config,
    grid::Grid,
    http::S3Server,
    keyring::Keyring,
    keys::AccessKeys,
    ledger_service::LedgerService,
    lifecycle::{self, LifecycleOptions},
    meta::{Meta, Role},
    metrics::Metrics,
    notify::{Senders, Webhooks, event::Teller},
    placement::Maps,
    rate::Rate,
    rotation,
    s3::{self, Store},
    snapshot::{
        anchor::ChainAnchor,
        cut::Sizes,
        schedule::{self, Schedule},
        take::Snapshotter,
    },
};

/// Pause between looks at our own state.
const STATUS_INTERVAL: Duration = Duration::from_secs(2);
/// Pause between looks at what accounts store, for metrics.
const ACCOUNTS_INTERVAL: Duration = Duration::from_secs(10);
/// Requests under way get this long when the gateway stops.
const DRAIN: Duration = Duration::from_secs(3);

/// The running gateway.
pub struct Gateway {
    s3: S3Server,
    quic: QuicServer,
    http: HttpServer,
    transport: QuicTransport,
    stop: Shutdown,
    tasks: Vec<JoinHandle<()>>,
    meta: Meta,
}

impl arion_daemon::Daemon for Gateway {
    type Settings = Config;
    const ABOUT: &'static str =
        "Serves S3 and keeps every object, encrypted, in shards on the miners of Arion.";

    async fn start(config: Config) -> anyhow::Result<Self> {
        config.check()?;
        let key = read_secret_key(&config.key_file)?;
        let key_store = config.key_store()?;
        let generations = key_store.load()?;
        let webhooks = Arc::new(Webhooks::load(&config.webhook)?);
        let payer = config.snapshot.account_file.as_deref().map(Account::from_file).transpose()?;
        let owner = config.billing.account_file.as_deref().map(Account::from_file).transpose()?;
        check_writable_dir(&config.data_dir)?;
        // A taken port is told at once, not when the chain is there.
        drop(S3Server::listen(config.s3).await?);
        let keys = Arc::new(AccessKeys::new(config.access_keys_file()));
        if keys.list(arion_daemon::now_ms())?.is_empty() {
            tracing::warn!(
                "there are no access keys: nobody can use S3 until `arion-gateway access-key add`"
            );
        }
        let metadata = config.metadata()?;
        let meta = tokio::task::spawn_blocking(move || metadata.open(Role::Replica)).await??;
        let keyring = Arc::new(Keyring::new(meta.clone(), generations));
        keyring.check().await?;
        let node_id = signing::node_id(&key);
        meta.claim(node_id.0).await?;
        let health = Health::new("arion-gateway", env!("CARGO_PKG_VERSION"));
        let maps = Maps::default();
        let recalled = chain::recall_maps(&meta, &maps).await?;
        let chain_seen = Arc::new(OnceLock::new());
        let ledger = LedgerService::new(meta.clone(), maps.clone(), chain_seen.clone());
        let quic = QuicServer::bind(config.listen, &key, Arc::new(ledger))?;
        let transport = QuicTransport::new(&key)?;
        health.detail("node_id", node_id.to_string());
        health.detail("quic", quic.local_addr().to_string());

        // Metrics need the grid, the grid needs the genesis hash: the chain comes first, health before both.
        let mut registry = Registry::default();
        let metrics = Metrics::default();
        metrics.register(&mut registry);
        let rate = Arc::new(Rate::default());
        // What the chain says of accounts is known once it is reached, which /health does not wait for.
        let credit = Arc::new(OnceLock::new());
        let routes = account_command::route(keys.clone(), meta.clone(), rate.clone(), credit.clone());
        let http = HttpServer::bind_with(&config.http, health.clone(), registry, routes).await?;
        let (client, view) = config.chain.reach(ViewConfig::default().earlier_maps, &health).await?;
        let _ = chain_seen.set(view.clone());
        let options = config.grid_options();
        let (way, files) = (Arc::new(transport.clone()), meta.clone());
        let grid = Arc::new(Grid::new(key, view.genesis(), way, maps, files, options, metrics));
        let taken_back = grid.recover().await?;
        let snapshots = snapshots(&config, &grid, &keyring, client.clone(), payer, &health);
        let market = market(client, node_id, owner, &health);
        let whose = (view.genesis(), node_id);
        let (told, watch, billing) = billing(&config, &grid, &keys, market, whose, &health)?;
        let credit = credit.get_or_init(|| told).clone();
        if let Some(watch) = &watch
            && let Err(error) = watch.look().await
        {
            tracing::warn!(%error, "nobody is refused for want of credits before the chain says how they stand");
        }
        chain::take_over(&grid, &view.snapshot()).await?;
        let store = Store {
            grid: grid.clone(),
            keyring: keyring.clone(),
            keys,
            region: config.region.clone(),
            webhooks: webhooks.clone(),
            credit,
            part_bytes_min: s3::PART_BYTES_MIN,
        };
        let service = s3::service_with(store, config.domains(), rate).with_page(config.page);
        let s3 = S3Server::bind(config.s3, service, DRAIN).await?;
        health.detail("s3", s3.local_addr().to_string());
        tracing::info!(
            %node_id, s3 = %s3.local_addr(), quic = %quic.local_addr(), http = %http.local_addr(),
            maps_recalled = recalled, stripes_taken_back = taken_back, "gateway started"
        );
        let senders = Senders {
            meta: meta.clone(),
            metrics: grid.metrics.clone(),
            health: health.clone(),
            webhooks,
            teller: Teller { region: config.region.clone(), host: node_id.to_string() },
            options: config.sender_options(),
        };
        let stop = Shutdown::new();
        let mut tasks = care(&grid, snapshots, billing, senders, &stop);
        tasks.extend(watch.map(|watch| {
            let until = stop.clone();
            tokio::spawn(async move { watch.run(until).await })
        }));
        tasks.extend([
            tokio::spawn(rotation::follow(keyring, meta.clone(), key_store, health.clone(), stop.clone())),
            tokio::spawn(tell_accounts(grid.meta.clone(), grid.metrics.clone(), stop.clone())),
            tokio::spawn(follow_chain(grid, view, health, node_id)),
        ]);
        Ok(Self { s3, quic, http, transport, stop, tasks, meta })
    }

    async fn failed(&mut self) -> anyhow::Error {
        self.meta.failed().await.into()
    }

    async fn stop(self) {
        self.s3.shutdown().await;
        self.stop.trigger();
        for task in &self.tasks {
            task.abort();
        }
        self.quic.shutdown(Duration::from_millis(500)).await;
        self.transport.close().await;
        self.http.shutdown().await;
        tracing::info!("gateway stopped");
    }
}

/// What one replica does for all: the queues, rules about the age of objects, events, snapshots, bills.
fn care(
    grid: &Arc<Grid>,
    snapshots: Option<Schedule>,
    billing: Option<Billing>,
    senders: Senders,
    stop: &Shutdown,
) -> Vec<JoinHandle<()>> {
    let (upkeep, until) = (grid.clone(), stop.clone());
    let upkeep = async move { upkeep.meta.while_leading(|| upkeep.clone().upkeep(until.clone())).await };
    let (walked, until) = (grid.clone(), stop.clone());
    let lifecycle = async move {
        let (meta, options) = (&walked.meta, LifecycleOptions::default());
        let walk = || lifecycle::run(meta.clone(), walked.metrics.clone(), options, until.clone());
        meta.while_leading(walk).await;
    };
    let until = stop.clone();
    let events = async move { senders.meta.while_leading(|| senders.run(until.clone())).await };
    let mut tasks = vec![tokio::spawn(upkeep), tokio::spawn(lifecycle), tokio::spawn(events)];
    tasks.extend(snapshots.map(|schedule| {
        let (meta, until) = (grid.meta.clone(), stop.clone());
        tokio::spawn(async move { meta.while_leading(|| schedule.run(until.clone())).await })
    }));
    tasks.extend(billing.map(|billing| {
        let (meta, until) = (grid.meta.clone(), stop.clone());
        tokio::spawn(async move { meta.while_leading(|| billing.run(until.clone())).await })
    }));
    tasks
}

/// Keeps the metrics of accounts as they are.
async fn tell_accounts(meta: Meta, metrics: Metrics, stop: Shutdown) {
    loop {
        let counted = meta.clone();
        match tokio::task::spawn_blocking(move || counted.usage()).await {
            Ok(Ok(usage)) => metrics.tell_accounts(&usage),
            Ok(Err(error)) => tracing::warn!(%error, "what accounts store cannot be read"),
            Err(_) => return,
        }
        tokio::select! {
            () = stop.wait() => return,
            () = tokio::time::sleep(ACCOUNTS_INTERVAL) => {}
        }
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

/// What is known of credits, who asks for it, and what bills.
type Bills = (Arc<Credit>, Option<Watch>, Option<Billing>);

fn billing(
    config: &Config,
    grid: &Arc<Grid>,
    keys: &Arc<AccessKeys>,
    market: Option<Arc<dyn Market>>,
    of: (GenesisHash, NodeId),
    health: &Health,
) -> anyhow::Result<Bills> {
    let Some(market) = market else { return Ok((Arc::default(), None, None)) };
    let credit = Arc::new(Credit::new(keys.clone(), of.1, market.terms()?));
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
    Ok((credit, Some(watch), Some(Billing { biller, expirer, interval, health: health.clone() })))
}

async fn follow_chain(grid: Arc<Grid>, mut view: ChainView, health: Health, node_id: NodeId) {
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
