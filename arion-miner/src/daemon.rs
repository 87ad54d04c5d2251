//! The running miner: store, QUIC server, chain view, heartbeats, health.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use arion_chain::{ChainClient, ChainView, ConnectError, Snapshot, ViewConfig};
use arion_daemon::{
    Health, HttpServer,
    chain::{self, Genesis},
    check_writable_dir,
    prometheus_client::registry::Registry,
    read_secret_key,
};
use arion_net::{Attachment, AttachmentState, QuicServer, QuicTransport, ServerOptions};
use arion_types::{GenesisHash, map::Endpoint, signing};
use ed25519_dalek::SigningKey;
use tokio::{sync::oneshot, task::JoinSet};

use crate::{
    chain_facts::{ChainFacts, LiveChain},
    config::Config,
    consent::Consent,
    disks,
    heartbeat::Reporter,
    kept_chain,
    metrics::Metrics,
    open_files,
    orphans::{self, Collector, Orphans},
    replay::ReplayGuard,
    service::{Budgets, MinerService, Parts},
    store::{Clock, Volumes, system_clock},
    witnesses::Witnesses,
};

/// Requests under way get this long when the miner stops.
const DRAIN: Duration = Duration::from_secs(3);
/// A miner that has waited for a node for so long goes by what the chain said last.
const KEPT_AFTER: Duration = Duration::from_secs(5);
/// Pause between looks at what health and metrics say.
const STATUS_INTERVAL: Duration = Duration::from_secs(2);

/// A running miner.
pub struct Miner {
    server: QuicServer,
    http: HttpServer,
    transport: QuicTransport,
    store: Arc<Volumes>,
    orphans: Arc<Orphans>,
    orphans_file: PathBuf,
    tasks: JoinSet<()>,
    failed: oneshot::Receiver<ConnectError>,
}

/// What the background tasks share.
struct Context {
    config: Config,
    key: SigningKey,
    endpoint: Endpoint,
    attachment: Option<Attachment>,
    store: Arc<Volumes>,
    orphans: Arc<Orphans>,
    consent: Arc<Consent>,
    chain: Arc<LiveChain>,
    transport: QuicTransport,
    clock: Clock,
    metrics: Metrics,
    health: Health,
}

impl arion_daemon::Daemon for Miner {
    type Settings = Config;
    const ABOUT: &'static str = "Stores shards for the Arion network and earns for it.";

    /// Opens the store, listens, and goes on to reach the chain in the background.
    async fn start(config: Config) -> anyhow::Result<Self> {
        config.check()?;
        let key = read_secret_key(&config.key_file)?;
        check_writable_dir(&config.data_dir)?;
        let node_id = signing::node_id(&key);
        let health = Health::new("arion-miner", env!("CARGO_PKG_VERSION"));
        let mut registry = Registry::default();
        let metrics = Metrics::new(&mut registry);
        let clock = system_clock();
        let store = open_store(&config, &clock).await?;
        let replays = ReplayGuard::open(&config.data_dir.join("nonces"), clock()).context(
            "cannot read the nonces of earlier commands; give this user access to the data directory",
        )?;
        let chain = Arc::new(LiveChain::default());
        let service = Arc::new(MinerService::new(Parts {
            key: key.clone(),
            store: store.clone(),
            chain: chain.clone(),
            replays,
            clock: clock.clone(),
            budgets: Budgets {
                transfers_max: config.limits.transfers_max.get(),
                audits_max: config.limits.audits_max.get(),
            },
            metrics: metrics.clone(),
        }));
        let (orphans, orphans_file) = (service.orphans().clone(), config.data_dir.join(orphans::FILE));
        let consent = service.consent().clone();
        orphans.take_over(&orphans_file).with_context(|| {
            format!("cannot read and remove {}; give this user access to it", orphans_file.display())
        })?;
        let requests_max = config.limits.requests_max.get();
        let options = ServerOptions { requests_max, ..ServerOptions::default() };
        let server = QuicServer::bind_with(config.listen, &key, service, options)?;
        let local_addr = server.local_addr();
        let relay = config.relay()?;
        let endpoint = match (&relay, &config.endpoint) {
            (Some(relay), _) => relay.to_string(),
            (None, Some(endpoint)) => endpoint.to_string(),
            (None, None) => local_addr.to_string(),
        };
        let attachment = relay.map(|relay| server.attach(relay)).transpose()?;
        let http = HttpServer::bind(&config.http, health.clone(), registry).await?;
        let transport = QuicTransport::new(&key)?;
        health.detail("node_id", node_id.to_string());
        health.detail("quic", local_addr.to_string());
        health.detail("endpoint", endpoint.clone());
        tracing::info!(%node_id, quic = %local_addr, http = %http.local_addr(), endpoint, "miner started");

        let context = Arc::new(Context {
            config,
            key,
            endpoint: Endpoint::try_from(endpoint.into_bytes())
                .map_err(|_| anyhow!("the endpoint is longer than the chain can hold; shorten it"))?,
            attachment,
            store: store.clone(),
            orphans: orphans.clone(),
            consent,
            chain,
            transport: transport.clone(),
            clock,
            metrics,
            health,
        });
        let (tell_failed, failed) = oneshot::channel();
        let mut tasks = JoinSet::new();
        tasks.spawn(context.clone().watch_status());
        tasks.spawn(async move {
            if let Err(error) = context.join_network().await {
                let _ = tell_failed.send(error);
            }
        });
        Ok(Self { server, http, transport, store, orphans, orphans_file, tasks, failed })
    }

    async fn failed(&mut self) -> anyhow::Error {
        match (&mut self.failed).await {
            Ok(error) => error.into(),
            Err(_) => {
                anyhow!("a part of the miner ended unexpectedly; see the log above, and report it as a bug")
            }
        }
    }

    /// Takes no more requests, finishes running ones, writes a checkpoint.
    async fn stop(mut self) {
        self.tasks.shutdown().await;
        match self.server.shutdown(DRAIN).await {
            // Nothing is stored any more that would have to be forgotten there.
            true => {
                if let Err(error) = self.orphans.leave(&self.orphans_file) {
                    tracing::warn!(%error, "it is not kept since when nobody wants which shards: their time begins anew");
                }
            }
            false => tracing::warn!("requests were cut off at the deadline"),
        }
        self.transport.close().await;
        self.store.close().await;
        self.http.shutdown().await;
        tracing::info!("miner stopped");
    }
}

async fn open_store(config: &Config, clock: &Clock) -> anyhow::Result<Arc<Volumes>> {
    let (data_dir, mut stores) = (config.data_dir.clone(), config.stores());
    let open_files_max = open_files::raise(stores.len());
    for (_, options) in &mut stores {
        options.open_files_max = open_files_max;
        options.clock = clock.clone();
    }
    let opened = tokio::task::spawn_blocking(move || disks::open(&data_dir, stores));
    let volumes = opened.await??;
    for volume in volumes.volumes() {
        let Ok(store) = volume.store() else { continue };
        let (usage, report) = (store.usage(), store.report());
        let root = volume.root().display();
        tracing::info!(
            %root,
            shards = usage.shards,
            used_bytes = usage.used_bytes,
            capacity_bytes = usage.capacity_bytes,
            scanned_records = report.scanned_records,
            truncated_bytes = report.truncated_bytes,
            "store opened"
        );
        if let Ok(disk) = rustix::fs::statvfs(volume.root()) {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            if free < usage.capacity_bytes.saturating_sub(usage.used_bytes) {
                tracing::warn!(%root, free_bytes = free, "the disk has less room than the capacity that is offered");
            }
        }
    }
    Ok(Arc::new(volumes))
}

impl Context {
    /// Reaches the chain and follows it; reports to the validators for good. Ends only with an error.
    async fn join_network(self: Arc<Self>) -> Result<(), ConnectError> {
        let earlier_maps = ViewConfig::default().earlier_maps;
        let file = self.config.data_dir.join(kept_chain::FILE);
        let kept = self.kept(&file).await;
        // It goes on with the chain that its shards are of, or not at all.
        let mut chain = self.config.chain.clone();
        chain.genesis = chain.genesis.or(kept.as_ref().map(|(genesis, _)| Genesis(*genesis)));
        let mut reports = JoinSet::new();
        let reach = chain.reach(earlier_maps, &self.health);
        tokio::pin!(reach);
        let (client, view) = tokio::select! {
            reached = &mut reach => reached?,
            () = tokio::time::sleep(KEPT_AFTER) => {
                if let Some((genesis, snapshot)) = kept {
                    let (block, epoch) = (snapshot.block.number, snapshot.epoch());
                    tracing::warn!(block, epoch, "no node answers: going on with what the chain said last");
                    self.chain.set_kept(ChainView::manual(genesis, snapshot).0);
                    self.report(genesis, &mut reports);
                }
                reach.await?
            }
        };
        self.chain.set(view.clone());
        if reports.is_empty() {
            self.report(view.genesis(), &mut reports);
        }
        if self.config.validators.is_empty() {
            tracing::warn!("no validators configured: nobody will hear of this miner");
        }
        reports.spawn(kept_chain::keep(file, view.clone()));
        let witnesses = self.witnesses(client, view);
        self.consent.set(witnesses.clone());
        reports.spawn(self.collector(witnesses).run());
        while reports.join_next().await.is_some() {}
        std::future::pending().await
    }

    /// What the chain said last, if that is known.
    async fn kept(&self, file: &Path) -> Option<(GenesisHash, Snapshot)> {
        let (path, named) = (file.to_owned(), self.config.chain.genesis.map(|genesis| genesis.0));
        match tokio::task::spawn_blocking(move || kept_chain::read(&path, named)).await.ok()? {
            Ok(kept) => kept,
            Err(error) => {
                tracing::warn!(file = %file.display(), %error, "what the chain said last cannot be read");
                None
            }
        }
    }

    /// Reports to the validators for good.
    fn report(&self, genesis: GenesisHash, reports: &mut JoinSet<()>) {
        let reporter = Arc::new(Reporter {
            key: self.key.clone(),
            genesis,
            endpoint: self.endpoint.clone(),
            draining: self.config.draining,
            drain_file: self.config.drain_file(),
            store: self.store.clone(),
            transport: Arc::new(self.transport.clone()),
            clock: self.clock.clone(),
            metrics: self.metrics.clone(),
            interval: self.config.heartbeat_interval.0,
            last_sent_at: AtomicU64::new(0),
        });
        for validator in self.config.validators.clone() {
            reports.spawn(reporter.clone().report_to(validator.into()));
        }
    }

    fn witnesses(&self, client: ChainClient, view: ChainView) -> Arc<Witnesses> {
        let services = self.config.validators.iter().cloned().map(Into::into).collect();
        let (me, transport) = (signing::node_id(&self.key), Arc::new(self.transport.clone()));
        Witnesses::new(me, view, Arc::new(client), transport, services)
    }

    fn collector(&self, witnesses: Arc<Witnesses>) -> Collector {
        Collector {
            orphans: self.orphans.clone(),
            store: self.store.clone(),
            witnesses,
            options: self.config.collector_options(),
            metrics: self.metrics.clone(),
            health: self.health.clone(),
        }
    }

    async fn watch_status(self: Arc<Self>) {
        let node_id = signing::node_id(&self.key);
        loop {
            let mut block = None;
            if let Some(view) = self.chain.view() {
                let snapshot = view.snapshot();
                block = Some(snapshot.block.number);
                match self.chain.live() {
                    Some(view) => chain::report(view, &self.health),
                    // That the chain is not reached is said already.
                    None => {
                        self.health.detail("finalized_block", snapshot.block.number);
                        self.health.detail("epoch", snapshot.epoch());
                    }
                }
                let is_registered = self.chain.roles(&node_id).is_some_and(|roles| roles.miner);
                let in_map =
                    snapshot.current.as_ref().is_some_and(|map| map.miner_by_node(&node_id).is_some());
                self.health.detail("registered", is_registered);
                self.health.detail("in_map", in_map);
            }
            if let Some(attachment) = &self.attachment {
                self.report_relay(attachment.state());
            }
            let complaints: Vec<String> =
                self.store.volumes().iter().filter_map(|volume| volume.complaint()).collect();
            match complaints.is_empty() {
                true => self.health.ok("store"),
                false => {
                    let advice = "repair or mount it and restart the miner";
                    self.health.failing("store", format!("{}; {advice}", complaints.join("; ")));
                }
            }
            let is_draining = self.config.draining || self.config.drain_file().exists();
            self.health.detail("draining", is_draining);
            let usage = self.store.usage();
            self.health.detail("shards", usage.shards);
            self.health.detail("used_bytes", usage.used_bytes);
            self.health.detail("capacity_bytes", usage.capacity_bytes);
            self.health.detail("trash_bytes", usage.trash_bytes);
            self.health.detail("quarantined", usage.quarantined);
            self.health.detail("owed_deletions", self.store.owed_deletions());
            let scrub = self.store.scrub_report();
            self.health.detail("scrub_finished_at", scrub.finished_at);
            self.health.detail("scrub_damaged", scrub.damaged);
            self.metrics.refresh(&self.store, block);
            tokio::time::sleep(STATUS_INTERVAL).await;
        }
    }

    /// Says in /health whether others can reach this miner through its relay.
    fn report_relay(&self, state: AttachmentState) {
        let observed = match state {
            AttachmentState::Attached { observed } => {
                self.health.ok("relay");
                observed.to_string()
            }
            AttachmentState::Connecting => {
                self.health.failing("relay", "not reached yet");
                String::new()
            }
            AttachmentState::Detached { reason } => {
                let advice = "nobody can reach this miner; see `relay` in the configuration";
                self.health.failing("relay", format!("{reason}; {advice}"));
                String::new()
            }
        };
        self.health.detail("relay_observed", observed);
    }
}
