//! `arion-gateway snapshot ...` and `arion-gateway recover`.

use std::{fs, io, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use arion_chain::{Account, ChainClient, ChainView, ViewConfig, Wait};
use arion_daemon::{Health, Place, line, now_ms, read_secret_key, secret_file};
use arion_net::QuicTransport;
use clap::{Args, Subcommand};
use tokio::time::Instant;

use super::{
    anchor::{Anchored, ChainAnchor},
    cut::Sizes,
    recover::{Draft, Reader, Recovered, Wanted},
    schedule,
    take::{self, ACCESS_KEYS, Snapshotter, Taken},
};
use crate::{
    chain,
    config::Config,
    grid::Grid,
    keyring::Keyring,
    keystore::{Generations, KeyStore},
    meta::{Meta, MetadataPlace, Role},
    metrics::Metrics,
    placement::{Maps, Placement},
    register::Registration,
};

/// Longest wait for a running gateway to make a snapshot that it was asked for.
const REQUEST_PATIENCE: Duration = Duration::from_secs(30 * 60);
/// Longest wait for miners to learn of a registration.
const MINERS_PATIENCE: Duration = Duration::from_secs(180);
/// Pause between two looks.
const PAUSE: Duration = Duration::from_secs(2);

/// What can be done with snapshots.
#[derive(Subcommand)]
pub enum SnapshotCommand {
    /// Make a snapshot now, and return when it is final: before maintenance. A running gateway is asked to; for a stopped one
    /// this command does it.
    Now {
        /// Where the gateway's files are.
        #[command(flatten)]
        place: Place<Config>,
        /// Also if the chain names a newer snapshot, of other metadata than these. That one can then not be recovered any more.
        #[arg(long)]
        replace: bool,
    },
    /// Print the newest snapshot that the chain names under the account key.
    Show {
        /// Where the gateway's files are.
        #[command(flatten)]
        place: Place<Config>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Flags of `recover`.
#[derive(Args)]
pub struct RecoverArgs {
    /// Where the gateway's files are to be.
    #[command(flatten)]
    place: Place<Config>,
    /// File with the account key of the lost gateway; it is put where the configuration says. Default: it is there already.
    #[arg(long, value_name = "FILE")]
    account_key: Option<PathBuf>,
    /// File with the owner's account key, to register the new node key: 64 hex digits or a mnemonic, mode 0600.
    #[arg(long, value_name = "FILE", conflicts_with = "owner_suri")]
    owner_key: Option<PathBuf>,
    /// The owner's account as a secret URI such as //Alice. Local networks only: other users can see it.
    #[arg(long, value_name = "SURI")]
    owner_suri: Option<String>,
    /// Read and verify all of the snapshot, and keep nothing of it. Also beside a running gateway.
    #[arg(long)]
    check: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// The chain, and a way to the miners.
struct Network {
    client: ChainClient,
    view: ChainView,
    transport: QuicTransport,
    maps: Maps,
}

impl Network {
    async fn reach(config: &Config) -> anyhow::Result<Self> {
        let health = Health::new("arion-gateway", env!("CARGO_PKG_VERSION"));
        let (client, view) = config.chain.reach(ViewConfig::default().earlier_maps, &health).await?;
        let maps = Maps::default();
        chain::learn(&maps, &view.snapshot());
        if maps.current().is_none() {
            bail!("the chain has no map yet: there are no miners");
        }
        let transport = QuicTransport::new(&read_secret_key(&config.key_file)?)?;
        Ok(Self { client, view, transport, maps })
    }

    fn grid(&self, config: &Config, meta: Meta) -> anyhow::Result<Arc<Grid>> {
        let key = read_secret_key(&config.key_file)?;
        let (way, options) = (Arc::new(self.transport.clone()), config.grid_options());
        let (genesis, maps) = (self.view.genesis(), self.maps.clone());
        Ok(Arc::new(Grid::new(key, genesis, way, maps, meta, options, Metrics::default())))
    }

    /// Learns the map of an epoch, if the chain still has it.
    async fn learn(&self, epoch: u64) -> anyhow::Result<()> {
        if !self.maps.knows(epoch)
            && let Some(map) = self.client.map_at(epoch).await?
        {
            self.maps.remember(Placement::new(epoch, &map.params, map.miners)?);
        }
        Ok(())
    }
}

impl SnapshotCommand {
    /// Does what was asked for.
    pub async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Now { place, replace } => now(&place.settings()?, replace).await,
            Self::Show { place, json } => show(&place.settings()?, json).await,
        }
    }
}

async fn now(config: &Config, replace: bool) -> anyhow::Result<()> {
    let metadata = config.metadata()?;
    if !metadata.exists() {
        bail!("there are no metadata at {metadata}");
    }
    let account = config
        .snapshot
        .account_file
        .as_ref()
        .context("[snapshot] account_file is not set: nobody pays for naming snapshots on the chain")?;
    let meta = match metadata.open(Role::Alone) {
        Err(error) if error.is_taken() => return ask(config, replace).await,
        opened => opened?,
    };
    let account = Account::from_file(account)?;
    let network = Network::reach(config).await?;
    chain::recall_maps(&meta, &network.maps).await?;
    let grid = network.grid(config, meta.clone())?;
    grid.recover().await?;
    let snapshotter = Snapshotter {
        keyring: Arc::new(Keyring::new(meta, config.key_store()?.load()?)),
        anchor: Arc::new(ChainAnchor::new(network.client.clone(), Some(account))),
        access_keys: config.access_keys_file(),
        sizes: Sizes::STANDARD,
        bytes_per_second: config.snapshot.rate.0,
        grid,
    };
    match snapshotter.take(replace).await? {
        Taken::Unchanged(row) => line!("nothing changed since snapshot {}", row.anchored.sequence),
        Taken::New { row, stored, reused } => {
            line!("snapshot {} is final: {stored} nodes stored, {reused} were there", row.anchored.sequence);
        }
    }
    network.transport.close().await;
    Ok(())
}

/// Has the running gateway make one.
async fn ask(config: &Config, replace: bool) -> anyhow::Result<()> {
    let request = config.snapshot_request();
    let text = if replace { schedule::REPLACE } else { "" };
    fs::write(&request, text).with_context(|| format!("cannot write {}", request.display()))?;
    let deadline = Instant::now() + REQUEST_PATIENCE;
    while request.exists() {
        if Instant::now() > deadline {
            bail!(
                "the running gateway has not made a snapshot within {} min; see its log",
                REQUEST_PATIENCE.as_secs() / 60
            );
        }
        tokio::time::sleep(PAUSE).await;
    }
    show(config, false).await
}

async fn show(config: &Config, json: bool) -> anyhow::Result<()> {
    let generations = config.key_store()?.load()?;
    let client = config.chain.connect().await?;
    let anchor = ChainAnchor::new(client.clone(), None);
    let Some(named) = take::newest(&anchor, &generations, &client.genesis()).await? else {
        bail!("the chain names no snapshot under this account key");
    };
    let Anchored { sequence, root, root_len, epoch } = named.anchored;
    let age = now_ms().saturating_sub(sequence) / 1_000;
    if json {
        let json = serde_json::json!({
            "sequence": sequence, "age_seconds": age, "root": hex::encode(root), "root_len": root_len,
            "epoch": epoch, "locator": hex::encode(named.locator), "generation": named.secret.id().to_string(),
        });
        line!("{json}");
    } else {
        line!("snapshot {sequence}, made {age} s ago");
        line!("root: {} ({root_len} bytes, placed in epoch {epoch})", hex::encode(root));
        line!("named under: {} (generation {})", hex::encode(named.locator), named.secret.id());
    }
    Ok(())
}

impl RecoverArgs {
    /// Does what was asked for.
    pub async fn run(self) -> anyhow::Result<()> {
        let config = self.place.settings()?;
        let target = match config.metadata()? {
            metadata @ MetadataPlace::Postgres { .. } if !self.check => Some(empty(&metadata).await?),
            _ => None,
        };
        let draft = match self.check {
            true => Draft::of_nothing(&config.metadata_file())?,
            false => Draft::new(&config.metadata_file())?,
        };
        let generations = match &self.account_key {
            Some(file) => self.given_key(&config, file)?,
            None => config.key_store()?.load()?,
        };
        let network = Network::reach(&config).await?;
        let anchor = ChainAnchor::new(network.client.clone(), None);
        let named = take::newest(&anchor, &generations, &network.view.genesis()).await?;
        let named = named.context(
            "the chain names no snapshot under any generation of this account key: there is nothing to recover from",
        )?;
        self.say(format!("snapshot {} is named by the chain", named.anchored.sequence))?;
        self.register(&config, &network).await?;
        network.learn(named.anchored.epoch).await?;
        let wanted = Wanted { secret: named.secret, locator: named.locator, anchored: named.anchored };
        let outcome =
            fill(&config, &network, &draft, &wanted, generations_of(&config, &self.account_key)?).await;
        network.transport.close().await;
        let (recovered, meta) = match outcome {
            Ok(recovered) => recovered,
            Err(error) => {
                draft.discard();
                return Err(error);
            }
        };
        let unconfirmed = meta.unconfirmed_len().await?;
        match self.check {
            true => draft.discard(),
            false => {
                self.put_files(&config, &recovered)?;
                match target {
                    Some(target) => {
                        meta.copy_to(&target).await?;
                        draft.discard();
                    }
                    None => draft.keep()?,
                }
            }
        }
        self.report(&recovered, unconfirmed)
    }

    /// The account key that was given; refused if there is another one where it belongs.
    fn given_key(&self, config: &Config, file: &PathBuf) -> anyhow::Result<Generations> {
        let given = KeyStore::file(file).load()?;
        let place = config.key_store()?;
        if place.path().exists() {
            let there = place.load()?;
            let is_there = |id| there.all().iter().any(|secret| secret.id() == id);
            if !given.all().iter().all(|secret| is_there(secret.id())) {
                bail!(
                    "{} is there and is another key than {}: move it away if `init` made it just now",
                    place.path().display(),
                    file.display()
                );
            }
        }
        Ok(given)
    }

    /// Miners answer registered gateways only.
    async fn register(&self, config: &Config, network: &Network) -> anyhow::Result<()> {
        let node = read_secret_key(&config.key_file)?;
        let owner = match (&self.owner_key, &self.owner_suri) {
            (Some(file), _) => Account::from_file(file)?,
            (None, Some(suri)) => Account::from_secret(suri)?,
            (None, None) => {
                let id = arion_types::signing::node_id(&node);
                if chain::is_registered(&network.view.snapshot(), &id) {
                    return Ok(());
                }
                bail!(
                    "node {id} is not registered as a gateway, and miners answer no others: give --owner-key, or `register` it first"
                );
            }
        };
        let registration = Registration { chain: config.chain.clone(), owner, node };
        let registered = registration.submit(Wait::Finalized).await?;
        self.say(format!("node {} is registered", registered.node_id))
    }

    /// What is under way, for people.
    fn say(&self, what: String) -> anyhow::Result<()> {
        if !self.json {
            line!("{what}");
        }
        Ok(())
    }

    /// Puts what was in the snapshot besides the metadata where it belongs, before the metadata: those come last.
    fn put_files(&self, config: &Config, recovered: &Recovered) -> anyhow::Result<()> {
        if let Some(file) = &self.account_key {
            let place = config.key_store()?;
            if !place.path().exists() {
                let text = zeroize::Zeroizing::new(secret_file::read(file, secret_file::OTHERS)?);
                secret_file::replace(place.path(), &text)?;
            }
        }
        for (name, bytes) in &recovered.files {
            if name != ACCESS_KEYS {
                bail!(
                    "the snapshot has a file `{name}`, which this program does not know: use the version that wrote it"
                );
            }
            let path = config.access_keys_file();
            match fs::read(&path) {
                Ok(there) if there == *bytes => continue,
                Ok(_) => bail!("{} is there and has other access keys: move it away", path.display()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
            }
            let text = std::str::from_utf8(bytes).context("the access keys in the snapshot are no text")?;
            secret_file::replace(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }

    fn report(&self, recovered: &Recovered, unconfirmed: u64) -> anyhow::Result<()> {
        let Recovered { made_ms, summary, nodes, files } = recovered;
        let age = now_ms().saturating_sub(*made_ms) / 1_000;
        if self.json {
            let json = serde_json::json!({
                "made_ms": made_ms, "age_seconds": age, "buckets": summary.buckets, "objects": summary.objects,
                "versions": summary.versions, "uploads": summary.uploads, "stripes": summary.stripes,
                "bytes": summary.bytes, "rows": summary.rows, "nodes": nodes, "access_keys": !files.is_empty(),
                "receipts": unconfirmed, "checked_only": self.check,
            });
            line!("{json}");
            return Ok(());
        }
        line!("{}: the metadata as they were {age} s ago", if self.check { "verified" } else { "recovered" });
        line!(
            "buckets: {}, objects: {}, other versions: {}",
            summary.buckets,
            summary.objects,
            summary.versions
        );
        line!("uploads in parts that are not complete: {}", summary.uploads);
        line!("bytes: {} in {} stripes", summary.bytes, summary.stripes);
        line!(
            "what was acknowledged later than that is not in it; what was deleted later is in it, and cannot be read"
        );
        if !self.check {
            line!(
                "receipts: {unconfirmed}; each comes into the ledger when its miner confirms it (shards_unconfirmed in /health)"
            );
            line!("the lost gateway must not run again; start this one with `run`");
        }
        Ok(())
    }
}

/// The secrets, once more: those in use are held by the snapshot that is read.
fn generations_of(config: &Config, given: &Option<PathBuf>) -> anyhow::Result<Generations> {
    Ok(match given {
        Some(file) => KeyStore::file(file).load()?,
        None => config.key_store()?.load()?,
    })
}

/// Metadata in PostgreSQL that have nothing yet.
async fn empty(metadata: &MetadataPlace) -> anyhow::Result<Meta> {
    let meta = metadata.open(Role::Alone)?;
    if !meta.is_empty().await? {
        bail!(
            "there are metadata in {metadata}: a gateway that has metadata is not recovered; give it another database or schema if they are really not wanted"
        );
    }
    Ok(meta)
}

async fn fill(
    config: &Config,
    network: &Network,
    draft: &Draft,
    wanted: &Wanted<'_>,
    generations: Generations,
) -> anyhow::Result<(Recovered, Meta)> {
    let meta = Meta::open(draft.path())?;
    let grid = network.grid(config, meta.clone())?;
    // Miners may need a moment to learn of a registration, each its own.
    let reader = Reader { grid, patient_until: Instant::now() + MINERS_PATIENCE };
    let root = reader.root(wanted).await?;
    let recovered = reader.fill(wanted, root).await?;
    Keyring::new(meta.clone(), generations).check().await?;
    Ok((recovered, meta))
}
