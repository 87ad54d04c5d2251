//! The command line.

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::{
    command,
    objects::ObjectUrl,
    settings::{SettingArgs, Settings},
};

/// The tool of the Arion storage network.
///
/// Objects: put, get, ls, mb, rm through a gateway's S3 endpoint. Network: status, map, locate, miner list, read from the
/// finalised chain and the validator services. Settings come from flags, environment (ARION_...) or a profile in
/// ~/.config/arion/config.toml. Exit codes: 0 done, 1 failed or not as it should be, 2 wrong usage, 3 no such object,
/// 4 not allowed, 5 nobody reached. See docs/use/cli.md.
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
    Put {
        /// The file.
        file: PathBuf,
        /// The object.
        to: ObjectUrl,
    },
    /// Read an object into a file: get s3://bucket/key, or get s3://bucket/key FILE.
    Get {
        /// The object.
        from: ObjectUrl,
        /// The file. Default: the last part of the key, in this directory.
        file: Option<PathBuf>,
    },
    /// List objects: ls s3://bucket/prefix.
    Ls {
        /// Bucket and prefix.
        at: ObjectUrl,
        /// Do not fold keys at `/`.
        #[arg(long, short)]
        recursive: bool,
    },
    /// Make a bucket: mb s3://bucket.
    Mb {
        /// The bucket.
        bucket: ObjectUrl,
    },
    /// Delete an object: rm s3://bucket/key.
    Rm {
        /// The object.
        at: ObjectUrl,
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
    /// Where the shards of an object are: asked of its gateway, and recomputed from the finalised map.
    Locate {
        /// The object.
        at: ObjectUrl,
    },
    /// Miners.
    #[command(subcommand)]
    Miner(MinerCommand),
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
}

#[derive(Debug, Subcommand)]
enum MinerCommand {
    /// All registered miners: uid, family, address, whether they are online, how full they are.
    List,
}

impl Cli {
    /// Does what was asked for.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let settings = Settings::load(&self.settings)?;
        let (json, quiet) = (self.json, self.quiet || self.json);
        match self.command {
            Command::Put { file, to } => command::objects::put(settings, file, to, json, quiet).await,
            Command::Get { from, file } => command::objects::get(settings, from, file, json, quiet).await,
            Command::Ls { at, recursive } => command::objects::ls(settings, at, recursive, json).await,
            Command::Mb { bucket } => command::objects::mb(settings, bucket).await,
            Command::Rm { at } => command::objects::rm(settings, at).await,
            Command::Status => command::status::run(&settings, json).await,
            Command::Map { epoch, command: None } => command::map::run(&settings, epoch, json).await,
            Command::Map { command: Some(MapCommand::Diff { before, after, stored_bytes }), .. } => {
                command::map::diff::run(&settings, &before, after.as_deref(), stored_bytes, json).await
            }
            Command::Locate { at } => command::locate::run(settings, at, json).await,
            Command::Miner(MinerCommand::List) => command::miners::run(&settings, json).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
        assert!(Cli::try_parse_from(["arion", "put", "f", "b/k"]).is_err());
        assert!(Cli::try_parse_from(["arion", "map", "--epoch", "2", "--json"]).is_ok());
        assert!(Cli::try_parse_from(["arion", "map", "diff", "2", "new.json"]).is_ok());
        assert!(Cli::try_parse_from(["arion", "map", "--epoch", "2", "diff", "2"]).is_err());
        assert!(Cli::try_parse_from(["arion", "miner", "list", "--chain-url", "ws://x"]).is_ok());
    }
}
