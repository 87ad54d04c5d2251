//! The running gateway: everything put together, started and stopped.

mod attach;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use arion_chain::{Account, ChainClient, ChainView, ViewConfig};
use arion_daemon::{
    ChainConfig, Health, HttpServer, Shutdown, chain::Genesis, check_writable_dir,
    prometheus_client::registry::Registry, read_secret_key,
};
use arion_net::{QuicServer, QuicTransport};
use arion_types::{GenesisHash, signing};
use tokio::{sync::mpsc, task::JoinHandle};

use attach::Attachment;

use crate::{
    account_command,
    billing::credit::Credit,
    chain,
    config::{Config, LedgerConfig},
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
    segments::Segments,
};

/// Pause between looks at our own state.
const STATUS_INTERVAL: Duration = Duration::from_secs(2);
/// Pause between looks at what accounts store, for metrics.
const ACCOUNTS_INTERVAL: Duration = Duration::from_secs(10);
/// A gateway that knows its chain already waits this long for a node to answer, and goes on without.
const CHAIN_PATIENCE: Duration = Duration::from_secs(5);
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
    /// Why it cannot be attached to the chain.
    astray: mpsc::Receiver<anyhow::Error>,
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

        // The grid needs the genesis hash: the chain, or what was kept of it, comes first, health before both.
        let mut registry = Registry::default();
        let metrics = Metrics::default();
        metrics.register(&mut registry);
        let rate = Arc::new(Rate::default());
        let credit = Arc::new(Credit::default());
        let routes = account_command::route(keys.clone(), meta.clone(), rate.clone(), credit.clone());
        let http = HttpServer::bind_with(&config.http, health.clone(), registry, routes).await?;
        let earlier_maps = ViewConfig::default().earlier_maps;
        let reach = config.chain.reach(earlier_maps, &health);
        let known = meta
            .genesis()
            .await?
            .filter(|genesis| config.chain.genesis.is_none_or(|wanted| wanted.0 == *genesis));
        let (genesis, reached) = match known.filter(|_| recalled > 0) {
            None => first(reach.await?),
            Some(genesis) => match tokio::time::timeout(CHAIN_PATIENCE, reach).await {
                Ok(reached) => first(reached?),
                Err(_) => (genesis, None),
            },
        };
        let options = config.grid_options();
        let (way, files) = (Arc::new(transport.clone()), meta.clone());
        let grid = Arc::new(Grid::new(key, genesis, way, maps, files, options, metrics));
        let taken_back = grid.recover().await?;
        let stop = Shutdown::new();
        let attachment = Attachment {
            config: config.clone(),
            grid: grid.clone(),
            keyring: keyring.clone(),
            keys: keys.clone(),
            credit: credit.clone(),
            payer,
            owner,
            seen: chain_seen,
            health: health.clone(),
            stop: stop.clone(),
        };
        let (stray, astray) = mpsc::channel(1);
        let follows = match reached {
            Some((client, view)) => {
                let mut tasks = attachment.attach(client, view).await?;
                tokio::spawn(async move { while tasks.join_next().await.is_some() {} })
            }
            None => {
                let epoch = grid.maps.use_newest();
                tracing::warn!(?epoch, url = %config.chain.url, "no node of the chain answers: going on with what it said last");
                let chain = ChainConfig { genesis: Some(Genesis(genesis)), ..config.chain.clone() };
                tokio::spawn(attach_later(chain, attachment, stray))
            }
        };
        let store = Store {
            grid: grid.clone(),
            keyring: keyring.clone(),
            keys,
            region: config.region.clone(),
            webhooks: webhooks.clone(),
            credit,
            part_bytes_min: s3::PART_BYTES_MIN,
        };
        let segments = segments(&config, &store, &health);
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
        let mut tasks = care(&grid, senders, &stop);
        if let Some(segments) = segments {
            let (meta, until) = (meta.clone(), stop.clone());
            let work = async move { meta.while_leading(|| segments.run(until.clone())).await };
            tasks.push(tokio::spawn(work));
        }
        tasks.extend([
            follows,
            tokio::spawn(rotation::follow(keyring, meta.clone(), key_store, health.clone(), stop.clone())),
            tokio::spawn(tell_accounts(grid.meta.clone(), grid.metrics.clone(), stop.clone())),
        ]);
        Ok(Self { s3, quic, http, transport, stop, tasks, meta, astray })
    }

    async fn failed(&mut self) -> anyhow::Error {
        tokio::select! {
            failed = self.meta.failed() => failed.into(),
            Some(error) = self.astray.recv() => error,
        }
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

/// A chain that was reached.
type Reached = (ChainClient, ChainView);

fn first(reached: Reached) -> (GenesisHash, Option<Reached>) {
    (reached.1.genesis(), Some(reached))
}

/// Waits for the chain that the gateway knows, and tells `stray` if it is not there.
async fn attach_later(chain: ChainConfig, attachment: Attachment, stray: mpsc::Sender<anyhow::Error>) {
    let reached = chain.reach(ViewConfig::default().earlier_maps, &attachment.health).await;
    let attached = match reached {
        Ok((client, view)) => attachment.attach(client, view).await,
        Err(error) => Err(error.into()),
    };
    match attached {
        Ok(mut tasks) => {
            tracing::info!("the chain is reached");
            while tasks.join_next().await.is_some() {}
        }
        Err(error) => {
            let _ = stray.send(error).await;
        }
    }
}

/// What needs no chain. One replica does for all: the queues, rules about the age of objects, events; each for itself: metrics.
fn care(grid: &Arc<Grid>, senders: Senders, stop: &Shutdown) -> Vec<JoinHandle<()>> {
    let (upkeep, until) = (grid.clone(), stop.clone());
    let upkeep = async move { upkeep.meta.while_leading(|| upkeep.clone().upkeep(until.clone())).await };
    let measuring = grid.clone().measure(stop.clone());
    let (walked, until) = (grid.clone(), stop.clone());
    let lifecycle = async move {
        let (meta, options) = (&walked.meta, LifecycleOptions::default());
        let walk = || lifecycle::run(meta.clone(), walked.metrics.clone(), options, until.clone());
        meta.while_leading(walk).await;
    };
    let (counting, until) = (grid.clone(), stop.clone());
    let counting = counting.count_served(until);
    let (stating, until) = (grid.clone(), stop.clone());
    let stating =
        async move { stating.meta.while_leading(|| stating.clone().state_served(until.clone())).await };
    let until = stop.clone();
    let events = async move { senders.meta.while_leading(|| senders.run(until.clone())).await };
    vec![
        tokio::spawn(upkeep),
        tokio::spawn(measuring),
        tokio::spawn(lifecycle),
        tokio::spawn(counting),
        tokio::spawn(stating),
        tokio::spawn(events),
    ]
}

/// What puts the ledger into a bucket, if there is to be one.
fn segments(config: &Config, store: &Store, health: &Health) -> Option<Segments> {
    let LedgerConfig { bucket, account, .. } = config.ledger.clone();
    let is_wanted = !bucket.is_empty();
    is_wanted.then(|| Segments { store: store.clone(), bucket, account, health: health.clone() })
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
