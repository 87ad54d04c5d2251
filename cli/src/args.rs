//! The command line.

use std::{path::PathBuf, process::ExitCode};

use arion_daemon::{HumanDuration, line};
use arion_types::NodeId;
use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::{
    command::{self, PublicPlace, audit::AuditCommand, copy::Wish, ledger::Whose},
    objects::ObjectUrl,
    place::Place,
    settings::{SettingArgs, Settings},
    transfer::PutOptions,
};

/// The tool of the Arion storage network.
///
/// Objects: put, get, ls, cp, mv, sync, du, share, rm, mb, rb through a gateway's S3 endpoint. Network: status, map,
/// locate, miner list, read from the finalised chain and the validator services. Settings come from flags, environment
/// (ARION_...) or a profile in ~/.config/arion/config.toml. Exit codes: 0 done, 1 failed or not as it should be, 2 wrong
/// usage, 3 no such object, 4 not allowed, 5 nobody reached, 6 the gateway cannot do it now, 130 interrupted. See
/// docs/use/cli.md.
#[derive(Debug, Parser)]
#[command(name = "arion", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    settings: SettingArgs,
    /// Print JSON on standard output.
    #[arg(long, global = true)]
    json: bool,
    /// Show no progress.
    #[arg(long, short, global = true)]
    quiet: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Store a file as an object: put FILE s3://bucket/key. A URL that ends in / takes the file's name.
    ///
    /// Given again after it broke off, it goes on with the parts that are stored.
    Put {
        /// The file; - for standard input.
        file: PathBuf,
        /// The object.
        to: ObjectUrl,
        /// What the object is, such as text/html.
        #[arg(long, value_name = "TYPE")]
        content_type: Option<String>,
        /// Do not go on with an upload that broke off.
        #[arg(long)]
        anew: bool,
    },
    /// Read an object into a file: get s3://bucket/key, or get s3://bucket/key FILE.
    ///
    /// Given again after it broke off, it goes on behind the bytes that came.
    Get {
        /// The object.
        from: ObjectUrl,
        /// The file; - for standard output. Default: the last part of the key, in this directory.
        file: Option<PathBuf>,
    },
    /// List objects: ls s3://bucket/prefix; or the buckets: ls.
    Ls {
        /// Bucket and prefix.
        at: Option<ObjectUrl>,
        /// Do not fold keys at `/`.
        #[arg(long, short)]
        recursive: bool,
    },
    /// Copy between files and objects, or objects within the gateway: cp FILE s3://bucket/key.
    Cp(CopyArgs),
    /// Move between files and objects, or objects within the gateway.
    Mv(CopyArgs),
    /// Make a prefix like a directory, or a directory like a prefix: sync DIR s3://bucket/prefix.
    Sync {
        /// Directory, or s3://bucket/prefix.
        from: Place,
        /// The other.
        to: Place,
        /// Delete from the destination what the source does not have.
        #[arg(long)]
        delete: bool,
        /// Only say what would be done.
        #[arg(long)]
        dry_run: bool,
        /// Compare bytes (by ETag), not times.
        #[arg(long)]
        checksum: bool,
    },
    /// How much is behind a prefix: du s3://bucket/prefix.
    Du {
        /// Bucket and prefix.
        at: ObjectUrl,
        /// How many names behind the prefix to tell apart.
        #[arg(long, short, default_value_t = 1)]
        depth: usize,
    },
    /// Make a link that reads an object without a key.
    Share {
        /// The object.
        at: ObjectUrl,
        /// How long it works, up to 7d.
        #[arg(long, value_name = "TIME", default_value = "1d")]
        expires: HumanDuration,
        /// A link that writes the object.
        #[arg(long)]
        put: bool,
    },
    /// Make a bucket: mb s3://bucket.
    Mb {
        /// The bucket.
        bucket: ObjectUrl,
    },
    /// Remove an empty bucket: rb s3://bucket.
    Rb {
        /// The bucket.
        bucket: ObjectUrl,
    },
    /// Delete an object: rm s3://bucket/key.
    Rm {
        /// The object; with -r the prefix.
        at: ObjectUrl,
        /// Everything behind the prefix.
        #[arg(long, short)]
        recursive: bool,
        /// Only say what would be deleted.
        #[arg(long)]
        dry_run: bool,
    },
    /// Print what makes a shell complete this command: completions bash|zsh|fish.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Chain head, finality, map, miners and gateway at a glance. Exit code 1 if something is wrong.
    Status,
    /// The map of an epoch, its root recomputed from its parts. Exit code 1 if the root does not hold.
    #[command(args_conflicts_with_subcommands = true)]
    Map {
        /// Epoch. Default: the current one.
        #[arg(long)]
        epoch: Option<u64>,
        #[command(subcommand)]
        command: Option<MapCommand>,
    },
    /// Where the shards of an object are: asked of its gateway, recomputed from the finalised map, drawn by family.
    Locate {
        /// The object.
        at: ObjectUrl,
        /// Every shard with its miner instead of the picture.
        #[arg(long)]
        shards: bool,
    },
    /// What an object can lose: its miners are asked which shards are there, and how few families could take it with them.
    /// Without one, the same for the whole network, from the newest census of the validator services.
    ///
    /// Exit code 1 if data are lost.
    Durability {
        /// The object. Default: the whole network.
        at: Option<ObjectUrl>,
        /// What is expected to be lost in a year is computed for this probability that a family is lost in a year.
        #[arg(long, value_name = "P", default_value_t = 0.1, value_parser = command::durability::network::probability)]
        family_loss: f64,
        /// And for so much time from the loss of a family until its shards are elsewhere.
        #[arg(long, value_name = "TIME", default_value = "2d")]
        repair_time: HumanDuration,
    },
    /// Miners.
    #[command(subcommand)]
    Miner(MinerCommand),
    /// What a gateway had stored and deleted, by the receipts of miners.
    #[command(subcommand)]
    Ledger(LedgerCommand),
    /// Files that prove that miners signed for an object.
    #[command(subcommand)]
    Receipt(ReceiptCommand),
    /// What was audited, re-checked from the chain and public data alone.
    #[command(subcommand)]
    Verify(VerifyCommand),
    /// How miners and objects were audited, and wardens that contradict themselves.
    #[command(subcommand)]
    Audit(AuditCommand),
}

#[derive(Debug, clap::Args)]
struct CopyArgs {
    /// File, directory or s3://bucket/key.
    from: Place,
    /// File, directory or s3://bucket/key; one that ends in / takes the source's name.
    to: Place,
    /// All that is in the directory or behind the prefix.
    #[arg(long, short)]
    recursive: bool,
    /// Only say what would be done.
    #[arg(long)]
    dry_run: bool,
}

impl CopyArgs {
    fn wish(self, moves: bool) -> Wish {
        let Self { from, to, recursive, dry_run } = self;
        Wish { from, to, recursive, moves, dry_run }
    }
}

#[derive(Debug, Subcommand)]
enum MapCommand {
    /// What has to move between two maps: positions (shards of a placement group) and bytes, in all and by miner.
    Diff {
        /// Epoch, or file with what `arion map --json` printed.
        before: String,
        /// Epoch or file. Default: the current map.
        after: Option<String>,
        /// Bytes of all shards in the network. Default: what the validator services hear of.
        #[arg(long)]
        stored_bytes: Option<u64>,
    },
    /// What the next map will move, as a validator service tells before it votes for it.
    Plan {
        /// Address of the service's health page.
        #[arg(default_value = "http://127.0.0.1:9410")]
        at: String,
        /// Bytes of all shards in the network. Default: what the validator services hear of.
        #[arg(long)]
        stored_bytes: Option<u64>,
    },
}

#[derive(Debug, Subcommand)]
enum MinerCommand {
    /// All registered miners: uid, family, address, their state, since when and why, how full they are, how far they are emptied.
    #[command(visible_alias = "ls")]
    List,
    /// One miner: what the chain says of it, and how it has stood lately with each validator service, with time and reason.
    Show {
        /// Its node id.
        miner: NodeId,
    },
    /// Announce on chain that a miner will be away: wardens leave it alone then, and timeouts do not count.
    Maintenance {
        /// Node id of the miner.
        miner: NodeId,
        /// When it begins, from now on; the chain wants some blocks of notice.
        #[arg(long = "in", value_name = "TIME", default_value = "5m")]
        starts_in: HumanDuration,
        /// How long it lasts.
        #[arg(long = "for", value_name = "TIME")]
        lasts: HumanDuration,
        /// Key of the account of the miner or of its family, mode 0600.
        #[arg(long, value_name = "FILE")]
        account_file: PathBuf,
    },
    /// Empty a miner: the validators bring its shards elsewhere, then gateways release it. Shows how far it is; exit code 0
    /// when it holds nothing that a ledger names, and may be switched off.
    ///
    /// On the miner's machine: drain --data-dir DIR. To watch it from elsewhere: drain NODE_ID.
    Drain {
        /// The miner, to be watched only.
        #[arg(conflicts_with = "data_dir", required_unless_present = "data_dir")]
        miner: Option<NodeId>,
        /// Data directory of the miner that is to be emptied.
        #[arg(long, value_name = "DIR")]
        data_dir: Option<PathBuf>,
        /// Stop emptying it: the next map has it again, and what is still on it stays there.
        #[arg(long, visible_alias = "pause", requires = "data_dir", conflicts_with = "miner")]
        cancel: bool,
        /// Return at once.
        #[arg(long, requires = "data_dir", conflicts_with_all = ["miner", "cancel"])]
        no_wait: bool,
    },
}

#[derive(Debug, Subcommand)]
enum LedgerCommand {
    /// Lines of the ledger.
    Ls {
        /// The gateway: NODE_ID@HOST:PORT of its QUIC address; with --segments NODE_ID suffices.
        gateway: Whose,
        /// Start behind this line.
        #[arg(long, default_value_t = 0)]
        after: u64,
        /// At most so many.
        #[arg(long, default_value_t = 100)]
        limit: usize,
        /// Read full segments from here: the URL of the bucket that the gateway puts them into, or a directory with its objects. What is behind
        /// them is asked for if the gateway has an address.
        #[arg(long, value_name = "PLACE")]
        segments: Option<PublicPlace>,
    },
    /// Check every receipt, look for shards that are there twice, and compare with what is anchored on chain. Exit code 1 if
    /// something is found; each finding names its line, with --json its proof.
    Verify {
        /// The gateway: NODE_ID@HOST:PORT of its QUIC address; with --segments or --saved NODE_ID suffices.
        gateway: Whose,
        /// Keep the ledger's segments in this directory.
        #[arg(long, value_name = "DIR")]
        save: Option<PathBuf>,
        /// Read the segments from this directory instead of asking the gateway.
        #[arg(long, value_name = "DIR", conflicts_with = "save")]
        saved: Option<PathBuf>,
        /// Read full segments from here: the URL of the bucket that the gateway puts them into, or a directory with its objects. What is behind
        /// them is asked for if the gateway has an address; else commitments to it are not compared, and counted.
        #[arg(long, value_name = "PLACE", conflicts_with = "saved")]
        segments: Option<PublicPlace>,
    },
}

#[derive(Debug, Subcommand)]
enum ReceiptCommand {
    /// Ask the gateway for the receipt of an object: get s3://bucket/key, or get s3://bucket/key FILE.
    ///
    /// What comes is verified before it is written.
    Get {
        /// The object.
        at: ObjectUrl,
        /// The file. Default: standard output.
        file: Option<PathBuf>,
        /// A version of the object. Default: the newest one.
        #[arg(long, value_name = "ID")]
        version: Option<String>,
    },
    /// Verify a receipt, without asking anybody. Exit code 1 if it proves nothing, or something else than was asked for.
    ///
    /// Whether the keys that signed are those of a gateway and of miners is said by the chain: compare with --gateway and --map.
    Verify {
        /// The file; - for standard input.
        file: PathBuf,
        /// A file that has to have the size and the ETag of the object.
        #[arg(long, value_name = "FILE")]
        against: Option<PathBuf>,
        /// The gateway that has to have signed.
        #[arg(long, value_name = "NODE_ID")]
        gateway: Option<NodeId>,
        /// A map that `arion map --json` printed: every miner has to be in the place that it gives. Repeat it for several epochs.
        #[arg(long, value_name = "FILE")]
        map: Vec<PathBuf>,
    },
    /// Look whether a gateway's ledger still has the shards that a receipt names. Exit code 1 if not all of them are live; with --json comes the
    /// proof of the line that deleted the first one.
    Trace {
        /// The file; - for standard input.
        file: PathBuf,
        /// The gateway: NODE_ID@HOST:PORT of its QUIC address; with --segments or --saved NODE_ID suffices. Default: the one that signed the receipt.
        gateway: Option<Whose>,
        /// Read the segments from this directory instead of asking the gateway.
        #[arg(long, value_name = "DIR")]
        saved: Option<PathBuf>,
        /// Read full segments from here: the URL of the bucket that the gateway puts them into, or a directory with its objects. What is behind
        /// them is asked for if the gateway has an address.
        #[arg(long, value_name = "PLACE", conflicts_with = "saved")]
        segments: Option<PublicPlace>,
    },
}

#[derive(Debug, Subcommand)]
enum VerifyCommand {
    /// Check the bundle of an epoch: its hash and roots, and each signature, seed and proof. Exit code 1 if something is found.
    ///
    /// Needs a node (--node) and the place where bundles are.
    Epoch {
        /// The epoch.
        epoch: u64,
        /// Where its objects are: a URL in front of their names, a directory, or the file of the index with the parts beside
        /// it. Default: the bucket arion-audit of the S3 endpoint.
        #[arg(long, value_name = "PLACE")]
        bundle: Option<PublicPlace>,
        /// Keep the objects of the bundle in this directory.
        #[arg(long, value_name = "DIR")]
        save: Option<PathBuf>,
    },
}

impl Cli {
    /// Whether JSON was asked for.
    pub fn json(&self) -> bool {
        self.json
    }

    /// Does what was asked for.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        if let Command::Completions { shell } = &self.command {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Self::command(), "arion", &mut script);
            line!("{}", String::from_utf8_lossy(&script).trim_end());
            return Ok(ExitCode::SUCCESS);
        }
        let settings = Settings::load(&self.settings)?;
        let (json, quiet) = (self.json, self.quiet || self.json);
        match self.command {
            Command::Put { file, to, content_type, anew } => {
                let options = PutOptions { content_type, anew };
                command::objects::put(settings, file, to, options, json, quiet).await
            }
            Command::Get { from, file } => command::objects::get(settings, from, file, json, quiet).await,
            Command::Ls { at, recursive } => command::objects::ls(settings, at, recursive, json).await,
            Command::Cp(arguments) => command::copy::run(settings, arguments.wish(false), json, quiet).await,
            Command::Mv(arguments) => command::copy::run(settings, arguments.wish(true), json, quiet).await,
            Command::Sync { from, to, delete, dry_run, checksum } => {
                let options = command::sync::Options { delete, dry_run, checksum };
                command::sync::run(settings, from, to, options, json, quiet).await
            }
            Command::Du { at, depth } => command::du::run(settings, at, depth, json).await,
            Command::Share { at, expires, put } => {
                command::objects::share(settings, at, expires.0, put, json).await
            }
            Command::Mb { bucket } => command::objects::mb(settings, bucket, json).await,
            Command::Rb { bucket } => command::objects::rb(settings, bucket, json).await,
            Command::Rm { at, recursive, dry_run } => {
                command::objects::rm(settings, at, recursive, dry_run, json).await
            }
            Command::Status => command::status::run(&settings, json).await,
            Command::Map { epoch, command: None } => command::map::run(&settings, epoch, json).await,
            Command::Map { command: Some(MapCommand::Diff { before, after, stored_bytes }), .. } => {
                command::map::diff::run(&settings, &before, after.as_deref(), stored_bytes, json).await
            }
            Command::Map { command: Some(MapCommand::Plan { at, stored_bytes }), .. } => {
                command::map::diff::plan_of(&settings, at, stored_bytes, json).await
            }
            Command::Locate { at, shards } => command::locate::run(settings, at, shards, json).await,
            Command::Durability { at: Some(at), .. } => command::durability::run(settings, at, json).await,
            Command::Durability { at: None, family_loss, repair_time } => {
                let assumed =
                    command::durability::network::Assumed { family_loss, repair_time: repair_time.0 };
                command::durability::network::run(&settings, &assumed, json).await
            }
            Command::Miner(MinerCommand::List) => command::miners::run(&settings, json).await,
            Command::Miner(MinerCommand::Show { miner }) => {
                command::miners::show::run(&settings, &miner, json).await
            }
            Command::Miner(MinerCommand::Maintenance { miner, starts_in, lasts, account_file }) => {
                let window = command::maintenance::Window { starts_in: starts_in.0, lasts: lasts.0 };
                command::maintenance::announce(&settings, &miner, window, &account_file, json).await
            }
            Command::Miner(MinerCommand::Drain { miner, data_dir, cancel, no_wait }) => {
                let wish = match (data_dir, cancel) {
                    (None, _) => command::drain::Wish::Watch(miner.unwrap_or(NodeId([0; 32]))),
                    (Some(directory), true) => command::drain::Wish::Cancel(directory),
                    (Some(directory), false) => command::drain::Wish::Start { directory, waits: !no_wait },
                };
                command::drain::run(&settings, wish, json).await
            }
            Command::Ledger(LedgerCommand::Ls { gateway, after, limit, segments }) => {
                command::ledger::ls(&settings, gateway, segments, (after, limit), json).await
            }
            Command::Ledger(LedgerCommand::Verify { gateway, save, saved, segments }) => {
                let from = command::ledger::From { saved, segments };
                let files = command::ledger::Files { from, save };
                command::ledger::check(&settings, gateway, &files, json).await
            }
            Command::Receipt(ReceiptCommand::Get { at, file, version }) => {
                command::receipt::get(settings, at, version, file.as_deref(), json).await
            }
            Command::Receipt(ReceiptCommand::Verify { file, against, gateway, map }) => {
                let wanted =
                    command::receipt::Wanted { against, gateway, genesis: settings.chain_genesis, maps: map };
                command::receipt::verify(&file, &wanted, json)
            }
            Command::Receipt(ReceiptCommand::Trace { file, gateway, saved, segments }) => {
                let from = command::ledger::From { saved, segments };
                command::receipt::trace(&settings, &file, gateway, &from, json).await
            }
            Command::Verify(VerifyCommand::Epoch { epoch, bundle, save }) => {
                command::verify::epoch(&settings, epoch, bundle, save, json).await
            }
            Command::Audit(wanted) => command::audit::run(settings, wanted, json).await,
            // Answered above: it needs no settings.
            Command::Completions { .. } => Ok(ExitCode::SUCCESS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
        assert!(Cli::try_parse_from(["arion", "put", "f", "b/k"]).is_err());
        assert!(Cli::try_parse_from(["arion", "map", "--epoch", "2", "--json"]).is_ok());
        assert!(Cli::try_parse_from(["arion", "verify", "epoch", "7", "--node", "ws://h:1"]).is_ok());
        assert!(Cli::try_parse_from(["arion", "audit", "report", "s3://b/k", "--json"]).is_ok());
        assert!(Cli::try_parse_from(["arion", "audit", "report-conflict", "a", "b"]).is_err());
        let (miner, file) = ("11".repeat(32), ["--account-file", "f"]);
        let maintenance = ["arion", "miner", "maintenance", &miner, "--for", "2h"];
        assert!(Cli::try_parse_from([&maintenance[..], &file].concat()).is_ok());
        assert!(Cli::try_parse_from(["arion", "map", "diff", "2", "new.json"]).is_ok());
        assert!(Cli::try_parse_from(["arion", "map", "--epoch", "2", "diff", "2"]).is_err());
        assert!(Cli::try_parse_from(["arion", "sync", "d", "s3://b/p", "--delete", "--dry-run"]).is_ok());
        assert!(Cli::try_parse_from(["arion", "share", "s3://b/k", "--expires", "2h"]).is_ok());
        assert!(Cli::try_parse_from(["arion", "share", "s3://b/k", "--expires", "soon"]).is_err());
        assert!(Cli::try_parse_from(["arion", "receipt", "get", "s3://b/k", "r.json"]).is_ok());
        assert!(Cli::try_parse_from(["arion", "receipt", "verify", "r.json", "--gateway", "x"]).is_err());
        assert!(Cli::try_parse_from(["arion", "receipt", "trace", "r.json", "--segments", "dir"]).is_ok());
        assert!(Cli::try_parse_from(["arion", "completions", "csh"]).is_err());
        assert!(Cli::try_parse_from(["arion", "miner", "list", "--chain-url", "ws://x"]).is_ok());
        assert!(Cli::try_parse_from(["arion", "durability"]).is_ok());
        assert!(Cli::try_parse_from(["arion", "durability", "s3://b/k"]).is_ok());
        assert!(Cli::try_parse_from(["arion", "durability", "--family-loss", "1.5"]).is_err());
        let node = "ab".repeat(32);
        for (arguments, is_right) in [
            (&["--data-dir", "/d"][..], true),
            (&["--data-dir", "/d", "--cancel"], true),
            (&["--data-dir", "/d", "--pause"], true),
            (&["--data-dir", "/d", "--no-wait"], true),
            (&[&node], true),
            (&[], false),
            (&["--cancel"], false),
            (&[&node, "--cancel"], false),
            (&[&node, "--data-dir", "/d"], false),
        ] {
            let parsed = Cli::try_parse_from(["arion", "miner", "drain"].iter().chain(arguments));
            assert_eq!(parsed.is_ok(), is_right, "{arguments:?}");
        }
    }
}
