//! The service as a whole: start, addresses, stop.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use arion_chain::{Account, ChainClient, ChainView, ViewConfig};
use arion_daemon::{Health, HttpServer, read_secret_key};
use arion_net::QuicServer;
use arion_types::signing::node_id;
use tokio::task::JoinHandle;

use crate::{
    config::Config,
    liveness::Liveness,
    metrics::Metrics,
    publisher::{LiveChain, Publisher, publish},
    service::ValidatorService,
};

/// More maps than the chain keeps: numbers of miners are looked up in all of them.
const EARLIER_MAPS: usize = 4_096;
const STOP_DEADLINE: Duration = Duration::from_secs(3);

/// The running service.
pub struct Daemon {
    quic: QuicServer,
    http: HttpServer,
    publisher: JoinHandle<()>,
}

impl Daemon {
    /// Opens everything; the service works once this returns.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        let key = read_secret_key(&config.key_file)?;
        let account = Account::from_file(&config.account_file)?;
        let health = Health::new("arion-validator", env!("CARGO_PKG_VERSION"));
        let metrics = Metrics::default();
        let http = HttpServer::bind(&config.http, health.clone(), metrics.register()).await?;
        let client = ChainClient::connect(&config.node_url, config.genesis).await?;
        let view_config =
            ViewConfig { earlier_maps: EARLIER_MAPS, ..ViewConfig::with_poll(config.poll_interval) };
        let view = ChainView::start(client.clone(), view_config).await?;
        let liveness = Arc::new(Mutex::new(Liveness::new(view.genesis(), config.heartbeat_interval)));
        let service =
            ValidatorService { view: view.clone(), liveness: liveness.clone(), metrics: metrics.clone() };
        let quic = QuicServer::bind(config.listen, &key, Arc::new(service))?;
        health.detail("node_id", node_id(&key).to_string());
        health.detail("listen", quic.local_addr().to_string());
        tracing::info!(node_id = %node_id(&key), listen = %quic.local_addr(), http = %http.local_addr(), "started");
        let publisher = tokio::spawn(publish(Publisher {
            view,
            chain: Arc::new(LiveChain { client, account }),
            liveness,
            params: config.params,
            min_miners: config.min_miners,
            settle: config.settle,
            health,
            metrics,
        }));
        Ok(Self { quic, http, publisher })
    }

    /// QUIC address.
    pub fn local_addr(&self) -> SocketAddr {
        self.quic.local_addr()
    }

    /// Stops within a few seconds.
    pub async fn stop(self) {
        self.publisher.abort();
        self.quic.shutdown(STOP_DEADLINE).await;
        self.http.shutdown().await;
        tracing::info!("stopped");
    }
}
