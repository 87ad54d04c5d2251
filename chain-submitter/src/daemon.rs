//! The submitter as a whole: start, addresses, stop.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use arion_chain::{Account, ChainClient, ChainView, ViewConfig, ss58};
use arion_daemon::{Health, HttpServer, check_writable_dir, read_secret_key};
use arion_net::QuicServer;
use arion_types::signing::node_id;
use tokio::task::JoinHandle;

use crate::{
    batch::Rules,
    config::Config,
    metrics::Metrics,
    queue::Queue,
    service::SubmitterService,
    submit::{BatchSize, LiveChain, Submitter},
};

const STOP_DEADLINE: Duration = Duration::from_secs(3);

/// The running submitter.
pub struct Daemon {
    quic: QuicServer,
    http: HttpServer,
    submitter: JoinHandle<()>,
}

impl Daemon {
    /// Opens everything; attestations are taken once this returns.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        check_writable_dir(&config.data_dir)?;
        let key = read_secret_key(&config.key_file)?;
        let account = Account::from_file(&config.account_file)?;
        let health = Health::new("arion-submitter", env!("CARGO_PKG_VERSION"));
        let metrics = Metrics::default();
        let http = HttpServer::bind(&config.http, health.clone(), metrics.register()).await?;
        let client = ChainClient::connect(&config.node_url, config.genesis).await?;
        let rules = Rules {
            genesis: client.genesis(),
            bucket_blocks: client.attestation_bucket_blocks()?,
            bucket_max: client.attestations_max()? as usize,
        };
        let view_config = ViewConfig { earlier_maps: 0, ..ViewConfig::with_poll(config.poll_interval) };
        let view = ChainView::start(client.clone(), view_config).await?;
        let queue = Arc::new(Queue::open(&config.data_dir, client.genesis(), config.queue_max)?);
        let service = SubmitterService {
            view: view.clone(),
            queue: queue.clone(),
            bucket_blocks: rules.bucket_blocks,
            metrics: metrics.clone(),
        };
        let quic = QuicServer::bind(config.listen, &key, Arc::new(service))?;
        health.detail("node_id", node_id(&key).to_string());
        health.detail("account", ss58(&account.id()));
        health.detail("listen", quic.local_addr().to_string());
        tracing::info!(
            node_id = %node_id(&key), account = %ss58(&account.id()), listen = %quic.local_addr(),
            http = %http.local_addr(), waiting = queue.len()?, "started"
        );
        let batch = BatchSize { max: config.batch.max.min(rules.bucket_max), ..config.batch };
        let chain = Arc::new(LiveChain { client, account });
        let submitter = Submitter { queue, chain, view, rules, batch, health, metrics };
        Ok(Self { quic, http, submitter: tokio::spawn(submitter.run()) })
    }

    /// QUIC address.
    pub fn local_addr(&self) -> SocketAddr {
        self.quic.local_addr()
    }

    /// Stops within a few seconds. What waits is on disk.
    pub async fn stop(self) {
        self.submitter.abort();
        self.quic.shutdown(STOP_DEADLINE).await;
        self.http.shutdown().await;
        tracing::info!("stopped");
    }
}
