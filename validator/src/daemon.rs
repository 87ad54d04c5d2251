//! The service as a whole: start, addresses, stop.

use std::{
    net::UdpSocket,
    sync::{Arc, Mutex},
    time::Duration,
};

use arion_chain::{Account, ChainView};
use arion_daemon::{Health, HttpServer, Peer, Routes, check_writable_dir, read_secret_key};
use arion_ledger::{Book, Follower, ReceiptChecker};
use arion_net::{BindError, QuicServer, QuicTransport, Transport};
use arion_types::signing::node_id;
use tokio::task::JoinSet;

use crate::{
    announcement::{self, Announcements},
    config::Config,
    holdings::{Holdings, HoldingsBook},
    liveness::Liveness,
    metrics::Metrics,
    presence::Presence,
    publisher::{self, LiveChain, Publisher, publish},
    quality::{self, Observer, Reports},
    repair::{self, LastCensus, Repair, custody::Custody},
    service::ValidatorService,
    standing::Standings,
    unnamed::Ledgers,
};

/// More maps than the chain keeps: numbers of miners are looked up in all of them.
const EARLIER_MAPS: usize = 4_096;
/// Pause between looks at whether the store can still be used.
const DISK_CHECK: Duration = Duration::from_secs(2);
const STOP_DEADLINE: Duration = Duration::from_secs(3);

/// The running service.
pub struct Daemon {
    quic: QuicServer,
    http: HttpServer,
    transport: QuicTransport,
    holdings: Arc<Holdings>,
    tasks: JoinSet<()>,
}

impl arion_daemon::Daemon for Daemon {
    type Settings = Config;
    const ABOUT: &'static str = "\
The validator service of Arion: takes heartbeats of storage miners, votes for placement maps, and tells the chain node
beside it how good miners are.

`init` makes keys and a configuration; register the node id on chain as a Validator; then `run --config FILE`.
See docs/operate/validator.md.";

    async fn start(config: Config) -> anyhow::Result<Self> {
        config.check()?;
        let key = read_secret_key(&config.key_file)?;
        let account = Account::from_file(&config.account_file)?;
        check_writable_dir(&config.data_dir)?;
        // A taken port is told at once, not when the chain is there.
        UdpSocket::bind(config.listen).map_err(|error| BindError::Socket(config.listen, error))?;
        let health = Health::new("arion-validator", env!("CARGO_PKG_VERSION"));
        let metrics = Metrics::default();
        let reports = Reports::new(metrics.clone());
        let answering = reports.clone();
        let announcements = Arc::new(Announcements::new(config.announce_blocks));
        let told = announcements.clone();
        let routes = Routes::default()
            .add(quality::PATH, move |query| answering.answer(query))
            .add(announcement::PATH, move |_| told.answer());
        let http = HttpServer::bind_with(&config.http, health.clone(), metrics.register(), routes).await?;
        let holdings = Arc::new(Holdings::open(&config.data_dir)?);
        if !config.gateways.is_empty() {
            let followed = config.gateways.iter().map(|gateway| gateway.node_id).collect();
            holdings.keep_only(&followed)?;
        }
        health.detail("node_id", node_id(&key).to_string());
        let (client, view) = config.chain.reach(EARLIER_MAPS, &health).await?;
        let liveness = Liveness::new(view.genesis(), config.heartbeat_interval.0);
        let presence = Presence::new(client.weight_bucket_blocks()?, liveness.window());
        let liveness = Arc::new(Mutex::new(liveness));
        let standings = Arc::new(Mutex::new(Standings::new(config.patience())));
        let transport = QuicTransport::new(&key)?;
        let followers = followers(&config, &view, &transport, &holdings, &metrics);
        let custody = Custody::new(
            view.clone(),
            holdings.clone(),
            followers.clone(),
            standings.clone(),
            metrics.clone(),
        );
        let ledgers = Arc::new(Ledgers {
            key: key.clone(),
            view: view.clone(),
            holdings: holdings.clone(),
            followers: followers.clone(),
        });
        let last_census = LastCensus::default();
        let service = ValidatorService {
            view: view.clone(),
            liveness: liveness.clone(),
            standings: standings.clone(),
            custody: custody.clone(),
            ledgers,
            last_census: last_census.clone(),
            metrics: metrics.clone(),
        };
        let quic = QuicServer::bind(config.listen, &key, Arc::new(service))?;
        health.detail("listen", quic.local_addr().to_string());
        health.detail("gateways", followers.len());
        tracing::info!(
            node_id = %node_id(&key), listen = %quic.local_addr(), http = %http.local_addr(), gateways = followers.len(),
            "started"
        );
        let mut tasks = JoinSet::new();
        for follower in &followers {
            tasks.spawn(follower.clone().run(config.ledger_poll.0));
        }
        if config.repair.enabled {
            let repair = Repair::new(repair::Parts {
                key: key.clone(),
                view: view.clone(),
                transport: Arc::new(transport.clone()),
                holdings: holdings.clone(),
                followers: followers.clone(),
                liveness: liveness.clone(),
                health: health.clone(),
                last_census,
                metrics: metrics.clone(),
                options: config.repair.options(),
            });
            tasks.spawn(repair.run());
        }
        tasks.spawn(custody.watch());
        let observer = Arc::new(Observer {
            view: view.clone(),
            liveness: liveness.clone(),
            presence: Mutex::new(presence),
            holdings: holdings.clone(),
            followers,
        });
        tasks.spawn(observer.clone().watch());
        reports.serve(observer);
        tasks.spawn(publish(Publisher {
            view,
            chain: Arc::new(LiveChain { client, account }),
            liveness,
            standings,
            params: config.params(),
            min_miners: config.min_miners,
            tick: publisher::TICK,
            settle: config.settle.0,
            announcements,
            health,
            metrics,
        }));
        Ok(Self { quic, http, transport, holdings, tasks })
    }

    async fn failed(&mut self) -> anyhow::Error {
        loop {
            tokio::time::sleep(DISK_CHECK).await;
            let holdings = self.holdings.clone();
            match tokio::task::spawn_blocking(move || holdings.check()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return error.into(),
                Err(error) => return error.into(),
            }
        }
    }

    async fn stop(mut self) {
        self.tasks.shutdown().await;
        self.quic.shutdown(STOP_DEADLINE).await;
        let _ = tokio::time::timeout(STOP_DEADLINE, self.transport.close()).await;
        self.http.shutdown().await;
        tracing::info!("stopped");
    }
}

/// One for each gateway; they share a book.
fn followers(
    config: &Config,
    view: &ChainView,
    transport: &QuicTransport,
    holdings: &Arc<Holdings>,
    metrics: &Metrics,
) -> Vec<Arc<Follower>> {
    let transport: Arc<dyn Transport> = Arc::new(transport.clone());
    let book: Arc<dyn Book> = Arc::new(HoldingsBook(holdings.clone()));
    let checker = Arc::new(tokio::sync::Mutex::new(ReceiptChecker::new(view.clone())));
    let follower = |gateway: &Peer| {
        let gateway = gateway.clone().into();
        let counters = metrics.ledgers.clone();
        Arc::new(Follower::new(gateway, transport.clone(), book.clone(), checker.clone(), counters))
    };
    config.gateways.iter().map(follower).collect()
}
