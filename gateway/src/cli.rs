//! The command line: what every daemon has, `register`, `access-key`, `account`, `snapshot` and `recover`.

use std::path::PathBuf;

use anyhow::bail;
use arion_chain::{Account, Wait};
use arion_daemon::{DaemonCommand, Place, line, read_secret_key};
use clap::{Args, Parser, Subcommand};

use crate::{
    access_key_command::AccessKeyCommand,
    account_command::AccountCommand,
    config::Config,
    daemon::Gateway,
    key_command::KeyCommand,
    register::Registration,
    snapshot::command::{RecoverArgs, SnapshotCommand},
};

/// Serves S3 and keeps every object, encrypted, in shards on the miners of the Arion network.
///
/// First `init` makes keys and a configuration, then `register` makes it known on chain, `access-key add` lets somebody
/// in, and `run` serves. See docs/operate/gateway.md.
#[derive(Parser)]
#[command(name = "arion-gateway", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    #[command(flatten)]
    Daemon(DaemonCommand<Config, KeyCommand>),
    /// Register the node on chain as a gateway. Repeating it is harmless.
    Register(RegisterArgs),
    /// Snapshots of the metadata.
    #[command(subcommand)]
    Snapshot(SnapshotCommand),
    /// Make a gateway again whose disk is lost, from its account key and the chain.
    ///
    /// Takes a directory with a new node key and no metadata. See docs/operate/gateway.md.
    Recover(RecoverArgs),
    /// Access keys of S3 clients. Changes work at once, also in a running gateway.
    #[command(subcommand)]
    AccessKey(AccessKeyCommand),
    /// Accounts that access keys act for: their limits, and what they store.
    #[command(subcommand)]
    Account(AccountCommand),
}

#[derive(Args)]
struct RegisterArgs {
    #[command(flatten)]
    place: Place<Config>,
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

impl Cli {
    /// Does what was asked for.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Daemon(command) => command.execute_with::<Gateway>(KeyCommand::run).await,
            Command::Register(args) => register(args).await,
            Command::AccessKey(command) => command.run(),
            Command::Account(command) => command.run().await,
            Command::Snapshot(command) => command.run().await,
            Command::Recover(args) => args.run().await,
        }
    }
}

async fn register(args: RegisterArgs) -> anyhow::Result<()> {
    let config = args.place.settings()?;
    let owner = match (&args.owner_key, &args.owner_suri) {
        (Some(file), _) => Account::from_file(file)?,
        (None, Some(suri)) => Account::from_secret(suri)?,
        (None, None) => bail!("which owner? give --owner-key FILE or --owner-suri SURI"),
    };
    let node = read_secret_key(&config.key_file)?;
    let registration = Registration { chain: config.chain, owner, node };
    let wait = if args.in_block { Wait::InBlock } else { Wait::Finalized };
    let registered = registration.submit(wait).await?;
    if args.json {
        let json = serde_json::json!({
            "node_id": registered.node_id.to_string(),
            "owner": registered.owner,
            "before": registered.before,
        });
        line!("{json}");
    } else {
        line!("{}", if registered.before { "registered already" } else { "registered" });
        line!("node id: {}", registered.node_id);
        line!("owner: {}", registered.owner);
    }
    Ok(())
}
