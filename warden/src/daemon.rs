//! The warden as a whole: start and stop.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use arion_chain::{ChainClient, ChainView, ViewConfig};
use arion_daemon::{Health, HttpServer, check_writable_dir, read_secret_key};
use arion_net::{QuicTransport, Transport};
use arion_types::signing::node_id;
use tokio::task::JoinSet;

use crate::{
    auditor::{Auditor, Signer},
    challenge::Challenger,
    config::Config,
    follower::Follower,
    handover::Handover,
    ledger::ReceiptChecker,
    metrics::Metrics,
    sampler::Sampler,
    store::Store,
};

/// More maps than the chain keeps: receipts are checked against the map of their epoch.
const EARLIER_MAPS: usize = 4_096;
const STOP_DEADLINE: Duration = Duration::from_secs(3);

/// The running warden.
pub struct Daemon {
    transport: QuicTransport,
    http: HttpServer,
    tasks: JoinSet<()>,
}

impl Daemon {
    /// Opens everything; audits begin once this returns.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        check_writable_dir(&config.data_dir)?;
        let key = read_secret_key(&config.key_file)?;
        let warden = node_id(&key);
        let health = Health::new("arion-warden", env!("CARGO_PKG_VERSION"));
        let metrics = Metrics::default();
        let http = HttpServer::bind(&config.http, health.clone(), metrics.register()).await?;
        let store = Arc::new(Store::open(&config.data_dir)?);
        let client = ChainClient::connect(&config.node_url, config.genesis).await?;
        let view_config =
            ViewConfig { earlier_maps: EARLIER_MAPS, ..ViewConfig::with_poll(config.poll_interval) };
        let view = ChainView::start(client, view_config).await?;
        let quic = QuicTransport::new(&key)?;
        let transport: Arc<dyn Transport> = Arc::new(quic.clone());

        let sampler = Arc::new(Mutex::new(load(&store)?));
        let checker = Arc::new(tokio::sync::Mutex::new(ReceiptChecker::new(view.clone())));
        let followers: HashMap<_, _> = config
            .gateways
            .into_iter()
            .map(|gateway| {
                let follower = Follower {
                    gateway: gateway.clone(),
                    transport: transport.clone(),
                    store: store.clone(),
                    sampler: sampler.clone(),
                    checker: checker.clone(),
                    metrics: metrics.clone(),
                    reading: tokio::sync::Mutex::default(),
                };
                (gateway.node_id, Arc::new(follower))
            })
            .collect();
        health.detail("warden", warden.to_string());
        health.detail("gateways", followers.len());
        tracing::info!(%warden, http = %http.local_addr(), gateways = followers.len(), "started");

        let mut tasks = JoinSet::new();
        for follower in followers.values() {
            tasks.spawn(follower.clone().run(config.ledger_poll));
        }
        let handover = Handover {
            store: store.clone(),
            transport: transport.clone(),
            submitter: config.submitter,
            health: health.clone(),
            metrics: metrics.clone(),
        };
        tasks.spawn(handover.run());
        let auditor = Auditor {
            signer: Signer { key, genesis: view.genesis(), name: config.name.into_bytes() },
            challenger: Challenger { view: view.clone(), transport, warden, patience: config.patience },
            view,
            sampler,
            store,
            followers,
            evidence: config.data_dir.join("evidence"),
            pace: config.pace,
            health,
            metrics,
        };
        tasks.spawn(Arc::new(auditor).run());
        Ok(Self { transport: quic, http, tasks })
    }

    /// Stops within a few seconds. Challenges under way have no verdict and are made again.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
        let _ = tokio::time::timeout(STOP_DEADLINE, self.transport.close()).await;
        self.http.shutdown().await;
        tracing::info!("stopped");
    }
}

/// The state of the round as it was when the process ended.
fn load(store: &Store) -> anyhow::Result<Sampler> {
    let mut sampler = Sampler::new(store.round()?);
    for (target, audited_in) in store.shards()? {
        sampler.add(target, audited_in);
    }
    Ok(sampler)
}
