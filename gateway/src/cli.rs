//! The command line: what every daemon has, `register` and `access-key`.

use std::path::PathBuf;

use anyhow::bail;
use arion_chain::{Account, Wait};
use arion_daemon::{DaemonCommand, Place, line, read_secret_key};
use clap::{Args, Parser, Subcommand};

use crate::{
    config::Config, daemon::Gateway, key_command::KeyCommand, keys::AccessKeys, register::Registration,
};

/// A secret never comes from a flag: other users can see those.
const NEW_SECRET: &str = "ARION_NEW_SECRET_KEY";

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
    /// Access keys of S3 clients. Changes work at once, also in a running gateway.
    #[command(subcommand)]
    AccessKey(AccessKeyCommand),
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

#[derive(Subcommand)]
enum AccessKeyCommand {
    /// Make an access key. Its secret is printed once; it is kept in the access key file only. The environment
    /// variable ARION_NEW_SECRET_KEY sets the secret instead of making one.
    Add {
        #[command(flatten)]
        place: Place<Config>,
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
        place: Place<Config>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Remove an access key.
    Remove {
        /// The access key.
        access_key: String,
        #[command(flatten)]
        place: Place<Config>,
    },
}

impl Cli {
    /// Does what was asked for.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Daemon(command) => command.execute_with::<Gateway>(KeyCommand::run).await,
            Command::Register(args) => register(args).await,
            Command::AccessKey(command) => access_key(command),
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

fn access_key(command: AccessKeyCommand) -> anyhow::Result<()> {
    let open = |place: Place<Config>| -> anyhow::Result<AccessKeys> {
        Ok(AccessKeys::new(place.settings()?.access_keys_file()))
    };
    match command {
        AccessKeyCommand::Add { place, account, access_key, json } => {
            let secret_key = std::env::var(NEW_SECRET).ok().filter(|secret| !secret.is_empty());
            let (access_key, secret_key) = open(place)?.add(&account, access_key, secret_key)?;
            if json {
                let json = serde_json::json!({
                    "access_key": access_key, "secret_key": secret_key, "account": account,
                });
                line!("{json}");
            } else {
                line!("access key: {access_key}");
                line!("secret key: {secret_key}");
                line!("account: {account}");
            }
        }
        AccessKeyCommand::List { place, json } => {
            let keys = open(place)?.list()?;
            if json {
                line!("{}", serde_json::to_string(&keys)?);
            } else {
                for key in keys {
                    line!("{} {}", key.access_key, key.account);
                }
            }
        }
        AccessKeyCommand::Remove { access_key, place } => open(place)?.remove(&access_key)?,
    }
    Ok(())
}
