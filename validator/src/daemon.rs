//! The service as a whole: start, addresses, stop.

use std::{
    net::UdpSocket,
    sync::{Arc, Mutex},
    time::Duration,
};

use arion_chain::Account;
use arion_daemon::{Health, HttpServer, read_secret_key};
use arion_net::{BindError, QuicServer};
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

impl arion_daemon::Daemon for Daemon {
    type Settings = Config;
    const ABOUT: &'static str = "\
The validator service of Arion: takes heartbeats of storage miners and votes for placement maps.

`init` makes keys and a configuration; register the node id on chain as a Validator; then `run --config FILE`.
See docs/operate/validator.md.";

    async fn start(config: Config) -> anyhow::Result<Self> {
        let key = read_secret_key(&config.key_file)?;
        let account = Account::from_file(&config.account_file)?;
        // A taken port is told at once, not when the chain is there.
        UdpSocket::bind(config.listen).map_err(|error| BindError::Socket(config.listen, error))?;
        let health = Health::new("arion-validator", env!("CARGO_PKG_VERSION"));
        let metrics = Metrics::default();
        let http = HttpServer::bind(&config.http, health.clone(), metrics.register()).await?;
        health.detail("node_id", node_id(&key).to_string());
        let (client, view) = config.chain.reach(EARLIER_MAPS, &health).await?;
        let liveness = Arc::new(Mutex::new(Liveness::new(view.genesis(), config.heartbeat_interval.0)));
        let service =
            ValidatorService { view: view.clone(), liveness: liveness.clone(), metrics: metrics.clone() };
        let quic = QuicServer::bind(config.listen, &key, Arc::new(service))?;
        health.detail("listen", quic.local_addr().to_string());
        tracing::info!(node_id = %node_id(&key), listen = %quic.local_addr(), http = %http.local_addr(), "started");
        let publisher = tokio::spawn(publish(Publisher {
            view,
            chain: Arc::new(LiveChain { client, account }),
            liveness,
            params: config.params(),
            min_miners: config.min_miners,
            settle: config.settle.0,
            health,
            metrics,
        }));
        Ok(Self { quic, http, publisher })
    }

    async fn stop(self) {
        self.publisher.abort();
        self.quic.shutdown(STOP_DEADLINE).await;
        self.http.shutdown().await;
        tracing::info!("stopped");
    }
}
