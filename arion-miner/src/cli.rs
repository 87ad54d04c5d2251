//! The command line: what every daemon has, `register` and `store`.

use std::path::{Path, PathBuf};

use anyhow::bail;
use arion_chain::{Account, Wait, parse_account, ss58};
use arion_daemon::{DaemonCommand, Place, generate_secret_key, line, read_secret_key, write_secret_key};
use arion_types::ShardHash;
use clap::{Args, Parser, Subcommand};

use crate::{
    config::Config,
    daemon::Miner,
    register::{Registered, Registration, alpha},
    store::{Inspector, repair},
};

const CHILD_KEY: &str = "child.key";

/// Stores shards for the Arion network and earns for it.
///
/// First `init` makes a key and a configuration, then `register` joins a family on chain, then `run` serves.
/// See docs/operate/miner.md.
#[derive(Parser)]
#[command(name = "arion-miner", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    #[command(flatten)]
    Daemon(DaemonCommand<Config>),
    /// Join a family on chain. Repeating it is harmless.
    Register(RegisterArgs),
    /// Look into a shard store, also while the miner runs.
    #[command(subcommand)]
    Store(StoreCommand),
}

#[derive(Args)]
struct RegisterArgs {
    #[command(flatten)]
    place: Place<Config>,
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

#[derive(Subcommand)]
enum StoreCommand {
    /// List all shards: address, stripe, position, size.
    Ls(Place<Config>),
    /// Print counts and sizes as JSON.
    Stats(Place<Config>),
    /// Read every shard and compare it with its address; fails if one is damaged or a part of the log is lost. Changes
    /// nothing.
    Check(Place<Config>),
    /// Bring the store of a stopped miner into order: cut off what is torn, read every shard and quarantine bad
    /// ones, write damaged headers and the checkpoint anew. Prints what it did as JSON.
    Repair(Place<Config>),
    /// Print as JSON where the bytes of a shard lie.
    Locate {
        /// Address of the shard, hex.
        shard: ShardHash,
        #[command(flatten)]
        place: Place<Config>,
    },
}

impl Cli {
    /// Does what was asked for.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Daemon(command) => command.execute::<Miner>().await,
            Command::Register(args) => register(args).await,
            Command::Store(command) => tokio::task::spawn_blocking(move || store(&command)).await?,
        }
    }
}

async fn register(args: RegisterArgs) -> anyhow::Result<()> {
    let config = args.place.settings()?;
    let node = read_secret_key(&config.key_file)?;
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
            let file = config.data_dir.join(CHILD_KEY);
            if !file.exists() {
                write_secret_key(&file, &generate_secret_key())?;
            }
            Account::from_file(&file)?.id()
        }
    };
    let registration = Registration { chain: config.chain, family, child, node };
    if args.dry_run {
        let quote = registration.quote().await?;
        line!("family registered: {}", quote.family_registered);
        line!("deposit: {}", alpha(quote.deposit));
        line!("family balance: {}", alpha(quote.family_balance));
        return Ok(());
    }
    let wait = if args.in_block { Wait::InBlock } else { Wait::Finalized };
    let registered = registration.submit(wait).await?;
    if args.json { print_json(&registered) } else { print(&registered) }
}

fn print_json(registered: &Registered) -> anyhow::Result<()> {
    let json = serde_json::json!({
        "node_id": registered.node_id.to_string(),
        "family": ss58(&registered.family),
        "child": ss58(&registered.child),
        "deposit": registered.deposit.to_string(),
        "registered_at": registered.registered_at,
        "before": registered.before,
    });
    line!("{json}");
    Ok(())
}

fn print(registered: &Registered) -> anyhow::Result<()> {
    line!("{}", if registered.before { "registered already" } else { "registered" });
    line!("node id: {}", registered.node_id);
    line!("family: {}", ss58(&registered.family));
    line!("child: {}", ss58(&registered.child));
    line!("deposit held: {}", alpha(registered.deposit));
    line!("block: {}", registered.registered_at);
    line!("uid: none yet; the validators give one when the miner enters a map");
    Ok(())
}

/// Carries out a command on every disk that has a store; JSON is a line for each.
fn store(command: &StoreCommand) -> anyhow::Result<()> {
    let (StoreCommand::Ls(place)
    | StoreCommand::Stats(place)
    | StoreCommand::Check(place)
    | StoreCommand::Repair(place)
    | StoreCommand::Locate { place, .. }) = command;
    let stores = place.settings()?.stores();
    let mut complaints = Vec::new();
    for (root, options) in &stores {
        if let StoreCommand::Repair(_) = command {
            line!("{}", serde_json::to_string(&repair(root, options.clone())?)?);
            continue;
        }
        let store = Inspector::open(root)?;
        match command {
            StoreCommand::Ls(_) => {
                for (shard, entry) in store.shards() {
                    let placement = entry.placement;
                    line!("{shard} {} {} {}", placement.stripe, placement.index, placement.size);
                }
            }
            StoreCommand::Stats(_) => line!("{}", stats(root, &store)?),
            StoreCommand::Check(_) => {
                let report = store.check()?;
                complaints.extend(report.complaint());
                line!("{}", serde_json::to_string(&report)?);
            }
            StoreCommand::Locate { shard, .. } => {
                if let Some(located) = store.locate(shard) {
                    line!("{}", serde_json::to_string(&located)?);
                    return Ok(());
                }
            }
            StoreCommand::Repair(_) => {}
        }
    }
    if let StoreCommand::Locate { shard, .. } = command {
        bail!("shard {shard} is not stored here");
    }
    if !complaints.is_empty() {
        bail!("{}: other miners have what repairs that", complaints.join("; "));
    }
    Ok(())
}

fn stats(root: &Path, store: &Inspector) -> anyhow::Result<serde_json::Value> {
    let (segments, log_bytes, disk_bytes) = store.segments()?;
    let (trash_shards, trash_bytes) = store.trash();
    let quarantined: Vec<String> = store.quarantined().map(ShardHash::to_string).collect();
    let shard_bytes: u64 = store.shards().map(|(_, entry)| u64::from(entry.placement.size)).sum();
    Ok(serde_json::json!({
        "directory": root,
        "shards": store.len(),
        "shard_bytes": shard_bytes,
        "used_bytes": store.used_bytes(),
        "trash_shards": trash_shards,
        "trash_bytes": trash_bytes,
        "quarantined": quarantined,
        "segments": segments,
        "log_bytes": log_bytes,
        "disk_bytes": disk_bytes,
        "scrub": store.scrub_report(),
    }))
}
