//! The running miner: store, QUIC server, chain view, heartbeats, health.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use arion_chain::{ChainClient, ChainView, ConnectError, ViewConfig};
use arion_daemon::{
    DirectoryError, Health, HttpError, HttpServer, KeyError, check_writable_dir, now_ms,
    prometheus_client::registry::Registry, read_secret_key,
};
use arion_net::{BindError, QuicServer, QuicTransport, ServerOptions};
use arion_types::{NodeId, signing};
use ed25519_dalek::SigningKey;
use tokio::{sync::watch, task::JoinSet};

use crate::{
    chain_facts::{ChainFacts, LiveChain},
    config::{Config, OptionError, PublicEndpoint},
    heartbeat::Reporter,
    metrics::Metrics,
    replay::ReplayGuard,
    service::{Budgets, Clock, MinerService, Parts},
    store::{LayoutError, Store, StoreOptions},
};

/// Pause between attempts to reach the chain.
const CHAIN_RETRY: Duration = Duration::from_secs(3);
/// Pause between looks at what health and metrics say.
const STATUS_INTERVAL: Duration = Duration::from_secs(2);
/// The chain counts as lost when it was not read for this long.
const CHAIN_SILENCE_MAX: Duration = Duration::from_secs(60);

/// Why the miner does not start, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum MinerError {
    /// An option.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// The key file.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The data directory.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The store.
    #[error(transparent)]
    Store(#[from] LayoutError),
    /// The nonces.
    #[error("cannot read the nonces of earlier commands: {0}; give this user access to the data directory")]
    Replay(#[source] std::io::Error),
    /// The QUIC socket.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Health and metrics.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The wrong chain, or one this program does not know.
    #[error(transparent)]
    Chain(#[from] ConnectError),
    /// A task of the daemon ended.
    #[error("a part of the miner ended unexpectedly")]
    Task,
}

/// A running miner.
pub struct Miner {
    server: QuicServer,
    http: HttpServer,
    transport: QuicTransport,
    store: Arc<Store>,
    tasks: JoinSet<()>,
    fatal: watch::Receiver<Option<Arc<MinerError>>>,
    node_id: NodeId,
}

/// What the background tasks share.
struct Context {
    config: Config,
    key: SigningKey,
    endpoint: PublicEndpoint,
    store: Arc<Store>,
    chain: Arc<LiveChain>,
    transport: QuicTransport,
    clock: Clock,
    metrics: Metrics,
    health: Health,
}

impl Miner {
    /// Opens the store, listens, and goes on to reach the chain in the background.
    pub async fn start(config: Config) -> Result<Self, MinerError> {
        config.check()?;
        check_writable_dir(&config.data_dir)?;
        let key = read_secret_key(&config.key_file())?;
        let node_id = signing::node_id(&key);
        let health = Health::new("arion-miner", env!("CARGO_PKG_VERSION"));
        let mut registry = Registry::default();
        let metrics = Metrics::new(&mut registry);
        let store = open_store(&config).await?;
        let replays =
            ReplayGuard::open(&config.data_dir.join("nonces"), now_ms()).map_err(MinerError::Replay)?;
        let chain = Arc::new(LiveChain::default());
        let clock: Clock = Arc::new(now_ms);
        let service = Arc::new(MinerService::new(Parts {
            key: key.clone(),
            store: store.clone(),
            chain: chain.clone(),
            replays,
            clock: clock.clone(),
            budgets: Budgets {
                transfers_max: config.limits.transfers_max,
                audits_max: config.limits.audits_max,
            },
            metrics: metrics.clone(),
        }));
        let options = ServerOptions { requests_max: config.limits.requests_max, ..ServerOptions::default() };
        let server = QuicServer::bind_with(config.listen, &key, service, options)?;
        let local_addr = server.local_addr();
        let endpoint = match &config.endpoint {
            Some(endpoint) => endpoint.clone(),
            None => local_addr.to_string().parse()?,
        };
        let http = HttpServer::bind(&config.http, health.clone(), registry).await?;
        let transport = QuicTransport::new(&key)?;
        health.failing("chain", "not reached yet");
        health.detail("node_id", node_id.to_string());
        health.detail("quic", local_addr.to_string());
        health.detail("endpoint", endpoint.as_str());
        tracing::info!(%node_id, quic = %local_addr, http = %http.local_addr(), endpoint = endpoint.as_str(), "miner started");

        let context = Arc::new(Context {
            config,
            key,
            endpoint,
            store: store.clone(),
            chain,
            transport: transport.clone(),
            clock,
            metrics,
            health,
        });
        let (tell_fatal, fatal) = watch::channel(None);
        let mut tasks = JoinSet::new();
        tasks.spawn(context.clone().watch_status());
        tasks.spawn(async move {
            if let Err(error) = context.join_network().await {
                tell_fatal.send_replace(Some(Arc::new(error)));
            }
        });
        Ok(Self { server, http, transport, store, tasks, fatal, node_id })
    }

    /// The miner's node id.
    pub fn node_id(&self) -> NodeId {
        self.node_id
    }

    /// UDP address in use.
    pub fn quic_addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Address of health and metrics.
    pub fn http_addr(&self) -> SocketAddr {
        self.http.local_addr()
    }

    /// Returns once the miner cannot go on.
    pub async fn failed(&mut self) -> Arc<MinerError> {
        match self.fatal.wait_for(Option::is_some).await {
            Ok(error) => error.clone().unwrap_or_else(|| Arc::new(MinerError::Task)),
            Err(_) => Arc::new(MinerError::Task),
        }
    }

    /// Takes no more requests, finishes running ones within `deadline`, writes a checkpoint.
    pub async fn shutdown(mut self, deadline: Duration) {
        self.tasks.shutdown().await;
        if !self.server.shutdown(deadline).await {
            tracing::warn!("requests were cut off at the deadline");
        }
        self.transport.close().await;
        self.store.close().await;
        self.http.shutdown().await;
        tracing::info!("miner stopped");
    }
}

async fn open_store(config: &Config) -> Result<Arc<Store>, MinerError> {
    let dir = config.store_dir();
    let options = StoreOptions {
        capacity_bytes: config.capacity.0,
        segment_bytes: config.segment_size.0,
        ..StoreOptions::default()
    };
    let opened = tokio::task::spawn_blocking(move || Store::open(&dir, options));
    let store = opened.await.map_err(|_| MinerError::Task)??;
    let (usage, report) = (store.usage(), store.report());
    tracing::info!(
        shards = usage.shards,
        used_bytes = usage.used_bytes,
        capacity_bytes = usage.capacity_bytes,
        scanned_records = report.scanned_records,
        truncated_bytes = report.truncated_bytes,
        "store opened"
    );
    if let Ok(disk) = rustix::fs::statvfs(&config.data_dir) {
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if free < usage.capacity_bytes.saturating_sub(usage.used_bytes) {
            tracing::warn!(free_bytes = free, "the disk has less room than the capacity that is offered");
        }
    }
    Ok(Arc::new(store))
}

impl Context {
    /// Reaches the chain, then reports to the validators for good. Ends only with an error.
    async fn join_network(self: Arc<Self>) -> Result<(), MinerError> {
        let view = self.reach_chain().await?;
        let genesis = view.genesis();
        self.chain.set(view);
        let reporter = Arc::new(Reporter {
            key: self.key.clone(),
            genesis,
            endpoint: self.endpoint.to_endpoint(),
            draining: self.config.draining,
            store: self.store.clone(),
            transport: Arc::new(self.transport.clone()),
            clock: self.clock.clone(),
            metrics: self.metrics.clone(),
            interval: self.config.heartbeat_interval.0,
            last_sent_at: AtomicU64::new(0),
        });
        if self.config.validators.is_empty() {
            tracing::warn!("no validators configured: nobody will hear of this miner");
        }
        let mut reports = JoinSet::new();
        for validator in self.config.validators.clone() {
            reports.spawn(reporter.clone().report_to(validator));
        }
        while reports.join_next().await.is_some() {}
        std::future::pending().await
    }

    async fn reach_chain(&self) -> Result<ChainView, MinerError> {
        let config = &self.config;
        loop {
            let reason = match ChainClient::connect(&config.node_url, config.genesis).await {
                Ok(client) => {
                    match ChainView::start(client, ViewConfig::with_poll(config.poll_interval.0)).await {
                        Ok(view) => return Ok(view),
                        Err(error) => error.to_string(),
                    }
                }
                Err(error @ (ConnectError::Unreachable { .. } | ConnectError::Rpc(_))) => error.to_string(),
                Err(error) => return Err(error.into()),
            };
            tracing::warn!(%reason, "the chain cannot be reached yet");
            self.health.failing("chain", reason);
            tokio::time::sleep(CHAIN_RETRY).await;
        }
    }

    async fn watch_status(self: Arc<Self>) {
        let node_id = signing::node_id(&self.key);
        loop {
            let mut block = None;
            if let Some(view) = self.chain.view() {
                let snapshot = view.snapshot();
                block = Some(snapshot.block.number);
                match view.error().filter(|_| view.age() > CHAIN_SILENCE_MAX) {
                    Some(error) => self.health.failing("chain", error),
                    None => self.health.ok("chain"),
                }
                let is_registered = self.chain.roles(&node_id).is_some_and(|roles| roles.miner);
                let in_map =
                    snapshot.current.as_ref().is_some_and(|map| map.miner_by_node(&node_id).is_some());
                self.health.detail("finalized_block", snapshot.block.number);
                self.health.detail("epoch", snapshot.epoch());
                self.health.detail("registered", is_registered);
                self.health.detail("in_map", in_map);
            }
            match self.store.counters().failed.load(std::sync::atomic::Ordering::Relaxed) {
                true => self.health.failing("store", "the disk failed: repair it and restart the miner"),
                false => self.health.ok("store"),
            }
            let usage = self.store.usage();
            self.health.detail("shards", usage.shards);
            self.health.detail("used_bytes", usage.used_bytes);
            self.health.detail("capacity_bytes", usage.capacity_bytes);
            self.metrics.refresh(&self.store, block);
            tokio::time::sleep(STATUS_INTERVAL).await;
        }
    }
}
