//! The running relay: chain view, relay server, health and metrics.

use std::{net::UdpSocket, sync::Arc, time::Duration};

use arion_chain::ChainView;
use arion_daemon::{Health, HttpServer, chain, check_writable_dir, read_secret_key};
use arion_net::{BindError, RelayServer};
use arion_types::signing::node_id;

use crate::{admission::Registered, config::Config, metrics::Counted};

/// Pause between looks at what health says.
const STATUS_INTERVAL: Duration = Duration::from_secs(2);
const STOP_DEADLINE: Duration = Duration::from_secs(1);

/// The running relay.
pub struct Relay {
    server: Counted,
    http: HttpServer,
    view: ChainView,
    health: Health,
}

impl arion_daemon::Daemon for Relay {
    type Settings = Config;
    const ABOUT: &'static str = "\
The relay of Arion: miners that nobody can dial are reached through it.

`init` makes a key and a configuration; then `run --config FILE`. Miners name node id and address of the relay as their
`relay`. It carries their traffic encrypted end to end. See docs/operate/relay.md.";

    async fn start(config: Config) -> anyhow::Result<Self> {
        config.check()?;
        let key = read_secret_key(&config.key_file)?;
        check_writable_dir(&config.data_dir)?;
        // A taken port is told at once, not when the chain is there.
        UdpSocket::bind(config.listen).map_err(|error| match error.kind() {
            std::io::ErrorKind::AddrInUse => BindError::InUse(config.listen),
            _ => BindError::Socket(config.listen, error),
        })?;
        let health = Health::new("arion-relay", env!("CARGO_PKG_VERSION"));
        let counted = Counted::default();
        let http = HttpServer::bind(&config.http, health.clone(), counted.register()).await?;
        let node_id = node_id(&key);
        health.detail("node_id", node_id.to_string());
        let (_, view) = config.chain.reach(0, &health).await?;
        let only = config.miners.iter().map(|miner| miner.0).collect();
        let admission = Arc::new(Registered::new(view.clone(), only));
        let server = RelayServer::bind(config.listen, &key, admission, config.options())?;
        let listen = server.local_addr();
        health.detail("listen", listen.to_string());
        tracing::info!(%node_id, %listen, http = %http.local_addr(), "relay started");
        counted.begin(server);
        Ok(Self { server: counted, http, view, health })
    }

    /// Never: it only keeps health current.
    async fn failed(&mut self) -> anyhow::Error {
        loop {
            let stats = self.server.stats();
            chain::report(&self.view, &self.health);
            self.health.detail("connections", stats.connections);
            self.health.detail("miners_attached", stats.attached);
            self.health.detail("channels", stats.channels);
            tokio::time::sleep(STATUS_INTERVAL).await;
        }
    }

    async fn stop(self) {
        if let Some(server) = self.server.end() {
            server.shutdown(STOP_DEADLINE).await;
        }
        self.http.shutdown().await;
        tracing::info!("relay stopped");
    }
}
