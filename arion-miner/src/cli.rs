//! The command line: `init`, `register`, `run`, `store`, and two that print.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context as _, bail};
use arion_chain::{Account, Wait, parse_account, ss58};
use arion_daemon::{
    ByteSize, CommonArgs, HumanDuration, Shutdown, generate_secret_key, init_logs, load_config, parse_config,
    read_secret_key, write_secret_key,
};
use arion_types::{GenesisHash, NodeId, ShardHash, signing};
use clap::{Args, Parser, Subcommand};

use crate::{
    config::{Config, EXAMPLE, PublicEndpoint, ValidatorAddr, key_file_in, store_dir_in},
    daemon::Miner,
    register::{Registered, Registration, alpha},
    store::{Inspector, RECORD_BYTES},
};

/// Requests under way get this long when the miner stops.
const DRAIN: Duration = Duration::from_secs(3);
const CHILD_KEY: &str = "child.key";
const CONFIG_FILE: &str = "miner.toml";

/// Stores shards for the Arion network and earns for it.
///
/// First `init` makes a key and a configuration, then `register` joins a family on chain, then `run` serves.
/// See docs/operate/miner.md.
#[derive(Debug, Parser)]
#[command(name = "arion-miner", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a data directory: the node's key and a configuration to edit. Nothing is overwritten.
    Init(InitArgs),
    /// Join a family on chain. Repeating it is harmless.
    Register(RegisterArgs),
    /// Serve until SIGTERM or SIGINT.
    Run(Box<RunArgs>),
    /// Print the node id of the key in a data directory.
    NodeId(DataArgs),
    /// Look into a shard store, also while the miner runs.
    #[command(subcommand)]
    Store(StoreCommand),
    /// Print a configuration with every option.
    ExampleConfig,
}

#[derive(Debug, Args)]
struct InitArgs {
    /// Data directory to make.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
}

#[derive(Debug, Args)]
struct DataArgs {
    /// Data directory. Default: the one in the file of --config.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct RegisterArgs {
    #[command(flatten)]
    data: DataArgs,
    /// RPC of a chain node. Default: the one in the file of --config, else ws://127.0.0.1:9944.
    #[arg(long, value_name = "URL")]
    node_url: Option<String>,
    /// Hash of block 0 of the chain to be on, hex; another chain is refused.
    #[arg(long, value_name = "HASH")]
    genesis: Option<NodeId>,
    /// File with the family's account key: 64 hex digits or a mnemonic, mode 0600.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "family_suri",
        required_unless_present = "family_suri"
    )]
    family_key: Option<PathBuf>,
    /// The family's account as a secret URI such as //Alice. Local networks only: other users can see it.
    #[arg(long, value_name = "SURI")]
    family_suri: Option<String>,
    /// Account of the miner: SS58 or hex.
    #[arg(long, value_name = "ACCOUNT", conflicts_with_all = ["child_key", "child_suri"])]
    child: Option<String>,
    /// File with the key of the miner's account. Default: `child.key` in the data directory, made if missing.
    #[arg(long, value_name = "FILE", conflicts_with = "child_suri")]
    child_key: Option<PathBuf>,
    /// The miner's account as a secret URI. Local networks only.
    #[arg(long, value_name = "SURI")]
    child_suri: Option<String>,
    /// Return when the registration is in a block, not only when that block is final.
    #[arg(long)]
    in_block: bool,
    /// Show what it would cost and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct RunArgs {
    /// Data directory; with it, no configuration file is needed.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Secret key of the node.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// UDP address to listen on.
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<SocketAddr>,
    /// Address others reach this node at.
    #[arg(long, value_name = "HOST:PORT")]
    endpoint: Option<PublicEndpoint>,
    /// RPC of a chain node.
    #[arg(long, value_name = "URL")]
    node_url: Option<String>,
    /// Hash of block 0 of the chain to be on, hex.
    #[arg(long, value_name = "HASH")]
    genesis: Option<NodeId>,
    /// Pause between looks at the finalised head.
    #[arg(long, value_name = "TIME")]
    poll_interval: Option<HumanDuration>,
    /// Bytes offered for shards, such as 100GiB.
    #[arg(long, value_name = "SIZE")]
    capacity: Option<ByteSize>,
    /// Ask the validators to move all data elsewhere.
    #[arg(long)]
    draining: bool,
    /// Length at which a segment file is closed.
    #[arg(long, value_name = "SIZE")]
    segment_size: Option<ByteSize>,
    /// Pause between heartbeats.
    #[arg(long, value_name = "TIME")]
    heartbeat_interval: Option<HumanDuration>,
    /// Validator service that gets heartbeats; repeat it for several. Replaces those in the file.
    #[arg(long = "validator", value_name = "NODE_ID@HOST:PORT")]
    validators: Vec<ValidatorAddr>,
    /// Requests worked on at once.
    #[arg(long, value_name = "N")]
    requests_max: Option<usize>,
    /// Shards stored, read or deleted at once.
    #[arg(long, value_name = "N")]
    transfers_max: Option<usize>,
    /// Challenges answered at once.
    #[arg(long, value_name = "N")]
    audits_max: Option<usize>,
}

#[derive(Debug, Subcommand)]
enum StoreCommand {
    /// List all shards: address, stripe, position, size.
    Ls(DataArgs),
    /// Print counts and sizes as JSON.
    Stats(DataArgs),
    /// Read every shard and compare it with its address; fails if one is damaged.
    Check(DataArgs),
    /// Print as JSON where the bytes of a shard lie.
    Locate {
        /// Address of the shard, hex.
        shard: ShardHash,
        #[command(flatten)]
        data: DataArgs,
    },
}

impl Cli {
    /// Does what was asked for.
    pub async fn run(self) -> anyhow::Result<()> {
        let common = &self.common;
        match self.command {
            Command::Init(args) => init(&args),
            Command::Register(args) => register(args, common).await,
            Command::Run(args) => run(*args, common).await,
            Command::NodeId(args) => {
                let (data, key_file) = args.resolve(common)?;
                let key = read_secret_key(&key_file.unwrap_or_else(|| key_file_in(&data)))?;
                println!("{}", signing::node_id(&key));
                Ok(())
            }
            Command::Store(command) => {
                let common = self.common.clone();
                tokio::task::spawn_blocking(move || store(&command, &common)).await?
            }
            Command::ExampleConfig => {
                print!("{EXAMPLE}");
                Ok(())
            }
        }
    }
}

impl DataArgs {
    /// The data directory, and the key file where one is configured.
    fn resolve(&self, common: &CommonArgs) -> anyhow::Result<(PathBuf, Option<PathBuf>)> {
        let config = common.config.as_deref().map(load_config::<Config>).transpose()?;
        match (&self.data, config) {
            (Some(data), config) => Ok((data.clone(), config.and_then(|config| config.key_file))),
            (None, Some(config)) => Ok((config.data_dir, config.key_file)),
            (None, None) => bail!("which miner? give --data DIR or --config FILE"),
        }
    }
}

fn init(args: &InitArgs) -> anyhow::Result<()> {
    let config_file = args.data.join(CONFIG_FILE);
    if config_file.exists() {
        bail!("{} exists already and is not overwritten; choose another directory", config_file.display());
    }
    let key = generate_secret_key();
    write_secret_key(&key_file_in(&args.data), &key)?;
    let data = std::path::absolute(&args.data)?;
    let line = format!("data_dir = {}\n", toml::Value::String(data.display().to_string()));
    let config = EXAMPLE.replace("data_dir = \"/var/lib/arion-miner\"\n", &line);
    std::fs::write(&config_file, config)
        .with_context(|| format!("cannot write {}", config_file.display()))?;
    println!("node id: {}", signing::node_id(&key));
    println!("key: {} (back it up: the node id is lost with it)", key_file_in(&args.data).display());
    println!("configuration: {} (edit it, then register and run)", config_file.display());
    Ok(())
}

async fn register(args: RegisterArgs, common: &CommonArgs) -> anyhow::Result<()> {
    let config = common.config.as_deref().map(load_config::<Config>).transpose()?;
    let (data, key_file) = args.data.resolve(common)?;
    let node = read_secret_key(&key_file.unwrap_or_else(|| key_file_in(&data)))?;
    let family = match (&args.family_key, &args.family_suri) {
        (Some(file), _) => Account::from_file(file)?,
        (None, Some(suri)) => Account::from_secret(suri)?,
        (None, None) => bail!("which family? give --family-key FILE or --family-suri SURI"),
    };
    let child = match (&args.child, &args.child_key, &args.child_suri) {
        (Some(text), _, _) => parse_account(text)?,
        (None, Some(file), _) => Account::from_file(file)?.id(),
        (None, None, Some(suri)) => Account::from_secret(suri)?.id(),
        (None, None, None) => {
            let file = data.join(CHILD_KEY);
            if !file.exists() {
                write_secret_key(&file, &generate_secret_key())?;
            }
            Account::from_file(&file)?.id()
        }
    };
    let configured = config.as_ref().map(|config| config.node_url.clone());
    let registration = Registration {
        node_url: args.node_url.or(configured).unwrap_or_else(|| "ws://127.0.0.1:9944".into()),
        genesis: genesis(args.genesis).or(config.and_then(|config| config.genesis)),
        family,
        child,
        node,
    };
    if args.dry_run {
        let quote = registration.quote().await?;
        println!("family registered: {}", quote.family_registered);
        println!("deposit: {}", alpha(quote.deposit));
        println!("family balance: {}", alpha(quote.family_balance));
        return Ok(());
    }
    let wait = if args.in_block { Wait::InBlock } else { Wait::Finalized };
    let registered = registration.submit(wait).await?;
    if args.json {
        println!("{}", registered_json(&registered));
    } else {
        print_registered(&registered);
    }
    Ok(())
}

fn registered_json(registered: &Registered) -> serde_json::Value {
    serde_json::json!({
        "node_id": registered.node_id.to_string(),
        "family": ss58(&registered.family),
        "child": ss58(&registered.child),
        "deposit": registered.deposit.to_string(),
        "registered_at": registered.registered_at,
        "before": registered.before,
    })
}

fn print_registered(registered: &Registered) {
    println!("{}", if registered.before { "registered already" } else { "registered" });
    println!("node id: {}", registered.node_id);
    println!("family: {}", ss58(&registered.family));
    println!("child: {}", ss58(&registered.child));
    println!("deposit held: {}", alpha(registered.deposit));
    println!("block: {}", registered.registered_at);
    println!("uid: none yet; the validators give one when the miner enters a map");
}

fn genesis(hash: Option<NodeId>) -> Option<GenesisHash> {
    hash.map(|hash| hash.0)
}

impl RunArgs {
    fn config(self, common: &CommonArgs) -> anyhow::Result<Config> {
        let mut config = match (&common.config, &self.data) {
            (Some(file), _) => load_config::<Config>(file)?,
            (None, Some(data)) => {
                let data = toml::Value::String(data.display().to_string());
                parse_config(&format!("data_dir = {data}"))?
            }
            (None, None) => bail!("give --config FILE, or at least --data DIR; `init --data DIR` makes both"),
        };
        common.apply(&mut config.http, &mut config.log);
        set(&mut config.data_dir, self.data);
        set(&mut config.listen, self.listen);
        set(&mut config.node_url, self.node_url);
        set(&mut config.poll_interval, self.poll_interval);
        set(&mut config.capacity, self.capacity);
        set(&mut config.segment_size, self.segment_size);
        set(&mut config.heartbeat_interval, self.heartbeat_interval);
        set(&mut config.limits.requests_max, self.requests_max);
        set(&mut config.limits.transfers_max, self.transfers_max);
        set(&mut config.limits.audits_max, self.audits_max);
        config.key_file = self.key_file.or(config.key_file);
        config.endpoint = self.endpoint.or(config.endpoint);
        config.genesis = genesis(self.genesis).or(config.genesis);
        config.draining |= self.draining;
        if !self.validators.is_empty() {
            config.validators = self.validators;
        }
        Ok(config)
    }
}

fn set<T>(value: &mut T, flag: Option<T>) {
    if let Some(flag) = flag {
        *value = flag;
    }
}

async fn run(args: RunArgs, common: &CommonArgs) -> anyhow::Result<()> {
    let config = args.config(common)?;
    init_logs(&config.log)?;
    let shutdown = Shutdown::on_signals()?;
    let mut miner = Miner::start(config).await?;
    let failed = tokio::select! {
        () = shutdown.wait() => None,
        error = miner.failed() => Some(error),
    };
    miner.shutdown(DRAIN).await;
    match failed {
        Some(error) => Err(anyhow::Error::new(error)),
        None => Ok(()),
    }
}

fn store(command: &StoreCommand, common: &CommonArgs) -> anyhow::Result<()> {
    let open = |data: &DataArgs| -> anyhow::Result<Inspector> {
        let (data, _) = data.resolve(common)?;
        Ok(Inspector::open(&store_dir_in(&data))?)
    };
    match command {
        StoreCommand::Ls(data) => {
            for (shard, entry) in open(data)?.shards() {
                let placement = entry.placement;
                println!("{shard} {} {} {}", placement.stripe, placement.index, placement.size);
            }
        }
        StoreCommand::Stats(data) => {
            let store = open(data)?;
            let (segments, log_bytes) = store.segments()?;
            let used_bytes = store.used_bytes();
            let stats = serde_json::json!({
                "shards": store.len(),
                "shard_bytes": used_bytes - store.len() as u64 * RECORD_BYTES,
                "used_bytes": used_bytes,
                "segments": segments,
                "log_bytes": log_bytes,
            });
            println!("{stats}");
        }
        StoreCommand::Check(data) => {
            let report = open(data)?.check()?;
            println!("{}", serde_json::to_string(&report)?);
            if !report.damaged.is_empty() {
                bail!("{} damaged shards: they are repaired from other miners", report.damaged.len());
            }
        }
        StoreCommand::Locate { shard, data } => {
            let located = open(data)?.locate(shard);
            let located = located.with_context(|| format!("shard {shard} is not stored here"))?;
            println!("{}", serde_json::to_string(&located)?);
        }
    }
    Ok(())
}
