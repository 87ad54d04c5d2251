//! The running gateway: everything put together, started and stopped.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use arion_chain::{ChainClient, ChainView, ConnectError, ViewConfig};
use arion_daemon::{
    DirectoryError, Health, HttpError, HttpServer, KeyError, Shutdown, check_writable_dir,
    keys::read_secret_seed, prometheus_client::registry::Registry, read_secret_key,
};
use arion_net::{BindError, QuicServer, QuicTransport};
use arion_types::{NodeId, signing};
use tokio::task::JoinHandle;

use crate::{
    chain,
    config::{Config, OptionError},
    grid::Grid,
    http::{ListenError, S3Server},
    keys::{AccessKeys, KeysError},
    ledger_service::LedgerService,
    meta::{Meta, MetaError, OpenError},
    placement::Maps,
    s3::{self, AccountKeys, Store},
};

/// Pause between attempts to reach the chain, and looks at our own state.
const CHAIN_RETRY: Duration = Duration::from_secs(2);
const STATUS_INTERVAL: Duration = Duration::from_secs(2);
/// The chain may be silent for this long before it counts as failing.
const CHAIN_SILENCE_MAX: Duration = Duration::from_secs(30);

/// Why the gateway does not start, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// An option.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// A key file.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The access keys.
    #[error(transparent)]
    AccessKeys(#[from] KeysError),
    /// The data directory.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The metadata file.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The metadata.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// The QUIC socket.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The S3 socket.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Health and metrics.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The wrong chain, or one this program does not know.
    #[error(transparent)]
    Chain(#[from] ConnectError),
}

/// The running gateway.
pub struct Gateway {
    s3: S3Server,
    quic: QuicServer,
    http: HttpServer,
    transport: QuicTransport,
    stop: Shutdown,
    tasks: Vec<JoinHandle<()>>,
    node_id: NodeId,
}

impl Gateway {
    /// Checks everything, reaches the chain and serves from here on. Waits for a chain that is not there yet,
    /// with /health saying so, until `shutdown`; then returns `None`.
    pub async fn start(config: Config, shutdown: &Shutdown) -> Result<Option<Self>, GatewayError> {
        config.check()?;
        check_writable_dir(&config.data_dir)?;
        let key = read_secret_key(&config.key_file())?;
        let accounts = AccountKeys::new(read_secret_seed(&config.account_key_file())?);
        let keys = Arc::new(AccessKeys::new(config.access_keys_file()));
        if keys.list()?.is_empty() {
            tracing::warn!("there are no access keys: nobody can use S3 until `arion-gateway keys add`");
        }
        let meta = Meta::open(&config.metadata_file())?;
        let node_id = signing::node_id(&key);
        let health = Health::new("arion-gateway", env!("CARGO_PKG_VERSION"));
        let maps = Maps::default();
        let recalled = chain::recall_maps(&meta, &maps).await?;
        let quic = QuicServer::bind(config.listen, &key, Arc::new(LedgerService::new(meta.clone())))?;
        let transport = QuicTransport::new(&key)?;
        health.failing("chain", "not reached yet");
        health.detail("node_id", node_id.to_string());
        health.detail("quic", quic.local_addr().to_string());

        // Metrics need the grid, the grid needs the genesis hash: the chain comes first, health before both.
        let mut registry = Registry::default();
        let metrics = crate::metrics::Metrics::default();
        metrics.register(&mut registry);
        let http = HttpServer::bind(&config.http, health.clone(), registry).await?;
        let view = tokio::select! {
            view = reach_chain(&config, &health) => view?,
            () = shutdown.wait() => {
                http.shutdown().await;
                return Ok(None);
            }
        };
        let options = config.grid_options();
        let grid = Grid::new(key, view.genesis(), Arc::new(transport.clone()), maps, meta, options, metrics);
        let grid = Arc::new(grid);
        let taken_back = grid.recover().await?;
        chain::take_over(&grid, &view.snapshot()).await?;
        let store = Store {
            grid: grid.clone(),
            accounts,
            region: config.region.clone(),
            part_bytes_min: s3::PART_BYTES_MIN,
        };
        let drain = Duration::from_secs(3);
        let s3 = S3Server::bind(config.s3, s3::service(store, keys), drain).await?;
        health.detail("s3", s3.local_addr().to_string());
        tracing::info!(
            %node_id, s3 = %s3.local_addr(), quic = %quic.local_addr(), http = %http.local_addr(),
            maps_recalled = recalled, stripes_taken_back = taken_back, "gateway started"
        );
        let stop = Shutdown::new();
        let tasks = vec![
            tokio::spawn(grid.clone().upkeep(stop.clone())),
            tokio::spawn(follow_chain(grid, view, health, node_id)),
        ];
        Ok(Some(Self { s3, quic, http, transport, stop, tasks, node_id }))
    }

    /// The gateway's node id.
    pub fn node_id(&self) -> NodeId {
        self.node_id
    }

    /// TCP address of S3.
    pub fn s3_addr(&self) -> SocketAddr {
        self.s3.local_addr()
    }

    /// Finishes requests within a few seconds and stops.
    pub async fn shutdown(self) {
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

async fn reach_chain(config: &Config, health: &Health) -> Result<ChainView, GatewayError> {
    loop {
        let reason = match ChainClient::connect(&config.node_url, config.genesis).await {
            Ok(client) => match ChainView::start(client, ViewConfig::with_poll(config.poll_interval.0)).await
            {
                Ok(view) => return Ok(view),
                Err(error) => error.to_string(),
            },
            Err(error @ (ConnectError::Unreachable { .. } | ConnectError::Rpc(_))) => error.to_string(),
            Err(error) => return Err(error.into()),
        };
        tracing::warn!(%reason, "the chain cannot be reached yet");
        health.failing("chain", reason);
        tokio::time::sleep(CHAIN_RETRY).await;
    }
}

async fn follow_chain(grid: Arc<Grid>, mut view: ChainView, health: Health, node_id: NodeId) {
    loop {
        let snapshot = view.snapshot();
        match chain::take_over(&grid, &snapshot).await {
            Ok(Some(_)) => health.ok("map"),
            Ok(None) => health.failing("map", "no map is finalised yet: nothing can be written"),
            Err(error) => health.failing("map", error.to_string()),
        }
        match view.error().filter(|_| view.age() > CHAIN_SILENCE_MAX) {
            Some(error) => health.failing("chain", error),
            None => health.ok("chain"),
        }
        let registered = chain::is_registered(&snapshot, &node_id);
        match registered {
            true => health.ok("registration"),
            false => health.failing("registration", "not registered as a gateway: miners refuse its shards"),
        }
        health.detail("finalized_block", snapshot.block.number);
        health.detail("epoch", snapshot.epoch());
        health.detail("registered", registered);
        if let (Ok((missing, deletes)), Ok(lines)) = (grid.meta.backlog().await, grid.meta.ledger_len().await)
        {
            health.detail("shards_missing", missing);
            health.detail("deletes_queued", deletes);
            health.detail("ledger_entries", lines);
        }
        health.detail("miners_down", grid.peers.down_count());
        tokio::select! {
            _ = view.changed() => {}
            () = tokio::time::sleep(STATUS_INTERVAL) => {}
        }
    }
}
