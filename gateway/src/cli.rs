//! The command line: `init`, `register`, `run`, `keys`, and two that print.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::{Context as _, bail};
use arion_chain::{Account, Wait};
use arion_daemon::{
    CommonArgs, HumanDuration, LogConfig, Shutdown, generate_secret_key, init_logs, keys::write_secret_seed,
    load_config, parse_config, read_secret_key, write_secret_key,
};
use arion_types::{NodeId, signing};
use clap::{Args, Parser, Subcommand};

use crate::{
    config::{Config, EXAMPLE, access_keys_file_in, account_key_file_in, key_file_in},
    daemon::Gateway,
    keys::AccessKeys,
    register::Registration,
};

const CONFIG_FILE: &str = "gateway.toml";
/// A secret never comes from a flag: other users can see those.
const NEW_SECRET: &str = "ARION_NEW_SECRET_KEY";

/// Serves S3 and keeps every object, encrypted, in shards on the miners of the Arion network.
///
/// First `init` makes keys and a configuration, then `register` makes it known on chain, `keys add` lets somebody in, and
/// `run` serves. See docs/operate/gateway.md.
#[derive(Debug, Parser)]
#[command(name = "arion-gateway", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a data directory: node key, account key and a configuration to edit. Nothing is overwritten.
    Init(InitArgs),
    /// Register the node on chain as a gateway. Repeating it is harmless.
    Register(RegisterArgs),
    /// Serve until SIGTERM or SIGINT.
    Run(Box<RunArgs>),
    /// Access keys for S3 clients. Changes work at once, also in a running gateway.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Print the node id of the key in a data directory.
    NodeId(DataArgs),
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
    /// File with the owner's account key: 64 hex digits or a mnemonic, mode 0600.
    #[arg(long, value_name = "FILE", conflicts_with = "owner_suri", required_unless_present = "owner_suri")]
    owner_key: Option<PathBuf>,
    /// The owner's account as a secret URI such as //Alice. Local networks only: other users can see it.
    #[arg(long, value_name = "SURI")]
    owner_suri: Option<String>,
    /// Return when the registration is in a block, not only when that block is final.
    #[arg(long)]
    in_block: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Make an access key. Its secret is printed once; it is kept in the access key file only. The environment
    /// variable ARION_NEW_SECRET_KEY sets the secret instead of making one.
    Add {
        #[command(flatten)]
        data: DataArgs,
        /// Account the key acts for; accounts share no buckets.
        #[arg(long, value_name = "NAME", default_value = "default")]
        account: String,
        /// Access key to use instead of a made one.
        #[arg(long, value_name = "KEY")]
        access_key: Option<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// List access keys and their accounts, without secrets.
    List {
        #[command(flatten)]
        data: DataArgs,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Remove an access key.
    Remove {
        /// The access key.
        access_key: String,
        #[command(flatten)]
        data: DataArgs,
    },
}

#[derive(Debug, Args)]
struct RunArgs {
    /// Data directory; with it, no configuration file is needed.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Secret key of the node.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// What objects' keys are sealed under.
    #[arg(long, value_name = "FILE")]
    account_key_file: Option<PathBuf>,
    /// Access keys.
    #[arg(long, value_name = "FILE")]
    access_keys_file: Option<PathBuf>,
    /// TCP address of S3.
    #[arg(long, value_name = "IP:PORT")]
    s3: Option<SocketAddr>,
    /// Region that clients are told.
    #[arg(long, value_name = "NAME")]
    region: Option<String>,
    /// UDP address of the ledger.
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<SocketAddr>,
    /// RPC of a chain node.
    #[arg(long, value_name = "URL")]
    node_url: Option<String>,
    /// Hash of block 0 of the chain to be on, hex.
    #[arg(long, value_name = "HASH")]
    genesis: Option<NodeId>,
    /// Pause between looks at the finalised head.
    #[arg(long, value_name = "TIME")]
    poll_interval: Option<HumanDuration>,
    /// Durable shards beyond k that a stripe needs, at least 10.
    #[arg(long, value_name = "N")]
    quorum_extra: Option<u8>,
    /// Stripes of one upload on their way at once.
    #[arg(long, value_name = "N")]
    stripes_in_flight: Option<usize>,
    /// Shards of all uploads in memory at once.
    #[arg(long, value_name = "N")]
    shards_in_memory: Option<usize>,
    /// Time for one attempt to store a shard.
    #[arg(long, value_name = "TIME")]
    store_timeout: Option<HumanDuration>,
    /// Time for a stripe to reach its quorum.
    #[arg(long, value_name = "TIME")]
    stripe_timeout: Option<HumanDuration>,
    /// Stripes of one download fetched ahead.
    #[arg(long, value_name = "N")]
    stripes_ahead: Option<usize>,
    /// Stripes of all downloads fetched ahead.
    #[arg(long, value_name = "N")]
    stripes_ahead_total: Option<usize>,
    /// Time for one shard to arrive.
    #[arg(long, value_name = "TIME")]
    fetch_timeout: Option<HumanDuration>,
    /// Least wait before other miners are asked too.
    #[arg(long, value_name = "TIME")]
    patience: Option<HumanDuration>,
}

impl Cli {
    /// Does what was asked for.
    pub async fn run(self) -> anyhow::Result<()> {
        let common = &self.common;
        match self.command {
            Command::Init(args) => init(&args),
            Command::Register(args) => register(args, common).await,
            Command::Run(args) => run(*args, common).await,
            Command::Keys(command) => keys(command, common),
            Command::NodeId(args) => {
                let key = read_secret_key(&args.resolve(common)?.key_file())?;
                println!("{}", signing::node_id(&key));
                Ok(())
            }
            Command::ExampleConfig => {
                print!("{EXAMPLE}");
                Ok(())
            }
        }
    }
}

fn config_for(data: &std::path::Path) -> anyhow::Result<Config> {
    let data = toml::Value::String(data.display().to_string());
    Ok(parse_config(&format!("data_dir = {data}"))?)
}

impl DataArgs {
    fn resolve(&self, common: &CommonArgs) -> anyhow::Result<Config> {
        match (&common.config, &self.data) {
            (Some(file), data) => {
                let mut config = load_config::<Config>(file)?;
                set(&mut config.data_dir, data.clone());
                Ok(config)
            }
            (None, Some(data)) => config_for(data),
            (None, None) => bail!("which gateway? give --data DIR or --config FILE"),
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
    write_secret_seed(&account_key_file_in(&args.data), &generate_secret_key().to_bytes())?;
    let data = std::path::absolute(&args.data)?;
    let line = format!("data_dir = {}\n", toml::Value::String(data.display().to_string()));
    let config = EXAMPLE.replace("data_dir = \"/var/lib/arion-gateway\"\n", &line);
    std::fs::write(&config_file, config)
        .with_context(|| format!("cannot write {}", config_file.display()))?;
    println!("node id: {}", signing::node_id(&key));
    println!("node key: {}", key_file_in(&args.data).display());
    println!(
        "account key: {} (back it up: no object can be read without it)",
        account_key_file_in(&args.data).display()
    );
    println!("access keys: {} (`keys add` makes them)", access_keys_file_in(&args.data).display());
    println!("configuration: {} (edit it, then register and run)", config_file.display());
    Ok(())
}

async fn register(args: RegisterArgs, common: &CommonArgs) -> anyhow::Result<()> {
    let config = args.data.resolve(common)?;
    let owner = match (&args.owner_key, &args.owner_suri) {
        (Some(file), _) => Account::from_file(file)?,
        (None, Some(suri)) => Account::from_secret(suri)?,
        (None, None) => bail!("which owner? give --owner-key FILE or --owner-suri SURI"),
    };
    let registration = Registration {
        node_url: args.node_url.unwrap_or(config.node_url.clone()),
        genesis: args.genesis.map(|hash| hash.0).or(config.genesis),
        owner,
        node: read_secret_key(&config.key_file())?,
    };
    let wait = if args.in_block { Wait::InBlock } else { Wait::Finalized };
    let registered = registration.submit(wait).await?;
    if args.json {
        let line = serde_json::json!({
            "node_id": registered.node_id.to_string(),
            "owner": registered.owner,
            "before": registered.before,
        });
        println!("{line}");
    } else {
        println!("{}", if registered.before { "registered already" } else { "registered" });
        println!("node id: {}", registered.node_id);
        println!("owner: {}", registered.owner);
    }
    Ok(())
}

fn keys(command: KeysCommand, common: &CommonArgs) -> anyhow::Result<()> {
    let open = |data: &DataArgs| -> anyhow::Result<AccessKeys> {
        Ok(AccessKeys::new(data.resolve(common)?.access_keys_file()))
    };
    match command {
        KeysCommand::Add { data, account, access_key, json } => {
            let secret_key = std::env::var(NEW_SECRET).ok().filter(|secret| !secret.is_empty());
            let (access_key, secret_key) = open(&data)?.add(&account, access_key, secret_key)?;
            if json {
                let line = serde_json::json!({
                    "access_key": access_key, "secret_key": secret_key, "account": account,
                });
                println!("{line}");
            } else {
                println!("access key: {access_key}");
                println!("secret key: {secret_key}");
                println!("account: {account}");
            }
        }
        KeysCommand::List { data, json } => {
            let keys = open(&data)?.list()?;
            if json {
                println!("{}", serde_json::to_string(&keys)?);
            } else {
                for key in keys {
                    println!("{} {}", key.access_key, key.account);
                }
            }
        }
        KeysCommand::Remove { access_key, data } => open(&data)?.remove(&access_key)?,
    }
    Ok(())
}

impl RunArgs {
    fn config(self, common: &CommonArgs) -> anyhow::Result<Config> {
        let mut config = match (&common.config, &self.data) {
            (Some(file), _) => load_config::<Config>(file)?,
            (None, Some(data)) => config_for(data)?,
            (None, None) => bail!("give --config FILE, or at least --data DIR; `init --data DIR` makes both"),
        };
        common.apply(&mut config.http, &mut config.log);
        set(&mut config.data_dir, self.data);
        set(&mut config.s3, self.s3);
        set(&mut config.region, self.region);
        set(&mut config.listen, self.listen);
        set(&mut config.node_url, self.node_url);
        set(&mut config.poll_interval, self.poll_interval);
        set(&mut config.write.quorum_extra, self.quorum_extra);
        set(&mut config.write.stripes_in_flight, self.stripes_in_flight);
        set(&mut config.write.shards_in_memory, self.shards_in_memory);
        set(&mut config.write.store_timeout, self.store_timeout);
        set(&mut config.write.stripe_timeout, self.stripe_timeout);
        set(&mut config.read.stripes_ahead, self.stripes_ahead);
        set(&mut config.read.stripes_ahead_total, self.stripes_ahead_total);
        set(&mut config.read.fetch_timeout, self.fetch_timeout);
        set(&mut config.read.patience, self.patience);
        config.key_file = self.key_file.or(config.key_file);
        config.account_key_file = self.account_key_file.or(config.account_key_file);
        config.access_keys_file = self.access_keys_file.or(config.access_keys_file);
        config.genesis = self.genesis.map(|hash| hash.0).or(config.genesis);
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
    init_logs(&quiet(&config.log))?;
    let shutdown = Shutdown::on_signals()?;
    let Some(gateway) = Gateway::start(config, &shutdown).await? else { return Ok(()) };
    shutdown.wait().await;
    gateway.shutdown().await;
    Ok(())
}

/// `s3s` logs every refused request as an error; our own log says what an operator needs to know.
fn quiet(log: &LogConfig) -> LogConfig {
    let level = match log.level.contains("s3s") {
        true => log.level.clone(),
        false => format!("{},s3s=off", log.level),
    };
    LogConfig { level, ..log.clone() }
}
