//! The warden as a whole: start and stop.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use arion_daemon::{Health, HttpServer, check_writable_dir, read_secret_key};
use arion_ledger::{Book, Follower, ReceiptChecker};
use arion_net::{PeerAddr, QuicTransport, Transport};
use arion_types::{NodeId, signing::node_id};
use tokio::task::JoinSet;

use crate::{
    auditor::{Auditor, Signer},
    book::ShardBook,
    config::Config,
    docket::Docket,
    duty::Duty,
    handover::Handover,
    metrics::Metrics,
    sampler::Sampler,
    store::Store,
    witness::Witness,
};

/// More maps than the chain keeps: receipts are checked against the map of their epoch.
const EARLIER_MAPS: usize = 4_096;
/// Pause between looks at whether the store can still be used.
const DISK_CHECK: Duration = Duration::from_secs(2);
const STOP_DEADLINE: Duration = Duration::from_secs(3);

/// The running warden.
pub struct Daemon {
    transport: QuicTransport,
    http: HttpServer,
    tasks: JoinSet<()>,
    store: Arc<Store>,
}

impl arion_daemon::Daemon for Daemon {
    type Settings = Config;
    const ABOUT: &'static str = "\
The warden of Arion: challenges storage miners to prove the shards they signed for, and signs what it saw.

`init` makes the warden key and a configuration; have the key registered on chain (`Arion.register_warden`); name
the chain-submitter and the gateways; then `run --config FILE`. See docs/operate/warden.md.";

    async fn start(config: Config) -> anyhow::Result<Self> {
        let submitter = config.check()?;
        let (pace, patience) = (config.pace(), config.patience());
        let key = read_secret_key(&config.key_file)?;
        check_writable_dir(&config.data_dir)?;
        let warden = node_id(&key);
        let health = Health::new("arion-warden", env!("CARGO_PKG_VERSION"));
        let metrics = Metrics::default();
        let http = HttpServer::bind(&config.http, health.clone(), metrics.register()).await?;
        let store = Arc::new(Store::open(&config.data_dir)?);
        if !config.gateways.is_empty() {
            store.keep_only(&config.gateways.iter().map(|gateway| gateway.node_id).collect())?;
        }
        health.detail("warden", warden.to_string());
        let (client, view) = config.chain.reach(EARLIER_MAPS, &health).await?;
        let quic = QuicTransport::new(&key)?;
        let transport: Arc<dyn Transport> = Arc::new(quic.clone());

        let docket = Docket::new(warden, load(&store, warden)?, pace, patience);
        let docket = Arc::new(Mutex::new(docket));
        let checker = Arc::new(tokio::sync::Mutex::new(ReceiptChecker::new(view.clone())));
        let book: Arc<dyn Book> = Arc::new(ShardBook { store: store.clone(), docket: docket.clone() });
        let followers: HashMap<_, _> = config
            .gateways
            .into_iter()
            .map(|gateway| {
                let gateway = PeerAddr::from(gateway);
                let follower = Follower::new(
                    gateway,
                    transport.clone(),
                    book.clone(),
                    checker.clone(),
                    metrics.ledgers.clone(),
                );
                (follower.gateway(), Arc::new(follower))
            })
            .collect();
        health.detail("gateways", followers.len());
        tracing::info!(%warden, http = %http.local_addr(), gateways = followers.len(), "started");

        let mut tasks = JoinSet::new();
        for follower in followers.values() {
            tasks.spawn(follower.clone().run(config.ledger_poll.0));
        }
        let handover = Handover {
            store: store.clone(),
            transport: transport.clone(),
            submitter: submitter.into(),
            health: health.clone(),
            metrics: metrics.clone(),
        };
        tasks.spawn(handover.run());
        let witness = Witness {
            bucket_blocks: client.attestation_bucket_blocks()?,
            attestations: Arc::new(client),
            view: view.clone(),
            docket: docket.clone(),
            silence: config.silence.get(),
        };
        tasks.spawn(witness.run());
        let auditor = Auditor {
            signer: Signer { key, genesis: view.genesis(), name: config.name.into_bytes() },
            transport,
            view,
            docket,
            store: store.clone(),
            followers,
            evidence: config.data_dir.join("evidence"),
            health,
            metrics,
        };
        tasks.spawn(Arc::new(auditor).run());
        Ok(Self { transport: quic, http, tasks, store })
    }

    async fn failed(&mut self) -> anyhow::Error {
        loop {
            tokio::time::sleep(DISK_CHECK).await;
            let store = self.store.clone();
            match tokio::task::spawn_blocking(move || store.check()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return error.into(),
                Err(error) => return error.into(),
            }
        }
    }

    /// Challenges under way have no verdict and are made again.
    async fn stop(mut self) {
        self.tasks.shutdown().await;
        let _ = tokio::time::timeout(STOP_DEADLINE, self.transport.close()).await;
        self.http.shutdown().await;
        tracing::info!("stopped");
    }
}

/// The state of the round as it was when the process ended.
fn load(store: &Store, warden: NodeId) -> anyhow::Result<Sampler> {
    let mut sampler = Sampler::new(store.round()?, Duty::alone(warden));
    for (target, audited_in) in store.shards()? {
        sampler.add(target, audited_in);
    }
    Ok(sampler)
}
