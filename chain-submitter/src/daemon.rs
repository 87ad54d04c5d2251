//! The submitter as a whole: start, addresses, stop.

use std::{
    net::UdpSocket,
    sync::{Arc, Mutex},
    time::Duration,
};

use arion_chain::{Account, ss58, tx::MORTALITY_BLOCKS};
use arion_daemon::{Health, HttpServer, check_writable_dir, read_secret_key};
use arion_net::{BindError, QuicServer};
use arion_types::{signing::node_id, units::HIPP};
use tokio::task::JoinHandle;

use crate::{
    batch::Rules,
    bundle::{archive::Archive, copies::Keeping, maker::Maker},
    config::Config,
    conflicts::Conflicts,
    flow::{Flow, Limits},
    metrics::Metrics,
    queue::Queue,
    service::SubmitterService,
    submit::{LiveChain, Submitter},
};

/// Pause between looks at whether the queue can still be used.
const DISK_CHECK: Duration = Duration::from_secs(2);
/// Blocks that may be finalised from the decision to send a batch until it is signed, retries for the nonce included.
const SIGNING_BLOCKS_MAX: u32 = 16;
const STOP_DEADLINE: Duration = Duration::from_secs(3);

/// The running submitter.
pub struct Daemon {
    quic: QuicServer,
    http: HttpServer,
    submitter: JoinHandle<()>,
    maker: Option<JoinHandle<()>>,
    queue: Arc<Queue>,
    archive: Option<Arc<Archive>>,
}

impl arion_daemon::Daemon for Daemon {
    type Settings = Config;
    const ABOUT: &'static str = "\
The chain-submitter of Arion: carries attestations of wardens to the chain.

`init` makes keys and a configuration; have the account admitted as a submitter and give it a balance; name the
node id in the configuration of the wardens; then `run --config FILE`. See docs/operate/chain-submitter.md.";

    async fn start(config: Config) -> anyhow::Result<Self> {
        let key = read_secret_key(&config.key_file)?;
        let account = Account::from_file(&config.account_file)?;
        check_writable_dir(&config.data_dir)?;
        // A taken port is told at once, not when the chain is there.
        UdpSocket::bind(config.listen).map_err(|error| BindError::Socket(config.listen, error))?;
        let shelf = config.bundle.shelf()?;
        let health = Health::new("arion-submitter", env!("CARGO_PKG_VERSION"));
        let metrics = Metrics::default();
        let http = HttpServer::bind(&config.http, health.clone(), metrics.register()).await?;
        health.detail("node_id", node_id(&key).to_string());
        health.detail("account", ss58(&account.id()));
        let (client, view) = config.chain.reach(0, &health).await?;
        let rules = Rules {
            genesis: client.genesis(),
            bucket_blocks: client.attestation_bucket_blocks()?,
            bucket_max: client.attestations_max()? as usize,
            buckets_kept: client.constant("Arion", "AttestationRetentionBuckets")?,
            flight_blocks: MORTALITY_BLOCKS + SIGNING_BLOCKS_MAX,
        };
        let queue = Arc::new(Queue::open(&config.data_dir, client.genesis(), config.queue_max.get())?);
        let exhibits_max = config.bundle.exhibits_max.0;
        let archive = match &shelf {
            Some(_) => Some(Arc::new(Archive::open(&config.data_dir, exhibits_max)?)),
            None => None,
        };
        let service = SubmitterService {
            view: view.clone(),
            queue: queue.clone(),
            archive: archive.clone(),
            bucket_blocks: rules.bucket_blocks,
            metrics: metrics.clone(),
        };
        let quic = QuicServer::bind(config.listen, &key, Arc::new(service))?;
        health.detail("listen", quic.local_addr().to_string());
        tracing::info!(
            node_id = %node_id(&key), account = %ss58(&account.id()), listen = %quic.local_addr(),
            http = %http.local_addr(), waiting = queue.len()?, "started"
        );
        let limits = Limits {
            batch_max: config.batch_max.get().min(rules.bucket_max),
            batch_age: config.batch_age.0,
            transactions_per_hour: config.transactions_per_hour.get(),
            fees_per_day: u128::from(config.fees_per_day) * HIPP,
        };
        let now = Duration::from_millis(arion_daemon::now_ms());
        let flow = Mutex::new(Flow::new(rules, limits, queue.flights()?, queue.costs()?, now));
        let chain = Arc::new(LiveChain { client, account });
        let bucket_blocks = rules.bucket_blocks;
        let maker = shelf.zip(archive.clone()).map(|(shelf, archive)| {
            let maker = Maker {
                genesis: rules.genesis,
                queue: queue.clone(),
                archive,
                chain: chain.clone(),
                shelf: Arc::new(shelf),
                view: view.clone(),
                keeping: Keeping { bucket_blocks, buckets_kept: rules.buckets_kept },
                over: Default::default(),
                health: health.clone(),
                metrics: metrics.clone(),
            };
            tokio::spawn(maker.run())
        });
        let conflicts = Conflicts::open(&config.data_dir, config.report_conflicts)?;
        let submitter = Submitter {
            queue: queue.clone(),
            chain,
            view,
            flow,
            committer: Default::default(),
            conflicts,
            bucket_blocks,
            health,
            metrics,
        };
        Ok(Self { quic, http, submitter: tokio::spawn(submitter.run()), maker, queue, archive })
    }

    async fn failed(&mut self) -> anyhow::Error {
        loop {
            tokio::time::sleep(DISK_CHECK).await;
            let (queue, archive) = (self.queue.clone(), self.archive.clone());
            let check = move || {
                queue.check()?;
                anyhow::Ok(archive.map_or(Ok(()), |archive| archive.check())?)
            };
            match tokio::task::spawn_blocking(check).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return error,
                Err(error) => return error.into(),
            }
        }
    }

    /// What waits is on disk.
    async fn stop(self) {
        self.submitter.abort();
        if let Some(maker) = &self.maker {
            maker.abort();
        }
        self.quic.shutdown(STOP_DEADLINE).await;
        self.http.shutdown().await;
        tracing::info!("stopped");
    }
}
