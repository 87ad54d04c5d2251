//! Command line of the node.

use std::path::PathBuf;

use sc_cli::RunCmd;
use sc_network::config::MultiaddrWithPeerId;

use crate::quality;

/// What `--help` says before the options.
pub(crate) const ABOUT: &str = "\
Full node and block-producing validator of the Arion chain.

  arion-node --dev                       one node, fresh chain in a temporary directory
  arion-node --chain local:1 --alice     the only validator of a local chain that is kept on disk
  arion-node --chain local:2 --bob --bootnodes /ip4/127.0.0.1/tcp/30333/p2p/PEER
                                         the second of two

--chain takes dev, local (the same as local:1), local:1 to local:4, or the path of a JSON chain specification.
The validators of local:N are Alice, Bob, Charlie and Dave, in this order; their session keys come with --alice,
--bob, --charlie and --dave. Root is the sudo key only there; a testnet, see build-testnet-spec, has none. A validator needs a lasting network key: --node-key HEX, or one made by
arion-node key generate-node-key.

JSON-RPC listens on 127.0.0.1:9944 (--rpc-port), Prometheus on 127.0.0.1:9615 (--prometheus-port,
--no-prometheus).";

/// What the binary is asked to do; without a subcommand it runs a node.
#[derive(Debug, clap::Parser)]
pub(crate) struct Cli {
    /// Something other than running a node.
    #[command(subcommand)]
    pub(crate) subcommand: Option<Subcommand>,

    /// How to run a node.
    #[clap(flatten)]
    pub(crate) run: RunCmd,

    /// Where the validator service on this machine answers with the quality of miners, such as
    /// http://127.0.0.1:9410/v1/quality. A validator fetches it once per weight bucket, signs it with its session
    /// key `arqr`, and submits it.
    #[arg(long, value_name = "URL", value_parser = quality::parse_url)]
    pub(crate) quality_url: Option<String>,
}

/// Everything but running a node.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Subcommand {
    /// Keys: generate, inspect, and insert them into the keystore of a node.
    #[command(subcommand)]
    Key(sc_cli::KeySubcommand),

    /// Write the specification of a chain as JSON, plain or raw.
    ExportChainSpec(sc_cli::ExportChainSpecCmd),

    /// Write the raw specification of a testnet whose validators and funds are in files. Equal files give equal bytes.
    BuildTestnetSpec(BuildTestnetSpec),

    /// Print the hash of the runtime's metadata; with --check, fail unless it is built into the runtime.
    MetadataHash(MetadataHash),

    /// Write the runtime of this binary as an upgrade brings it to a chain; print its version, length and hash.
    ExportRuntime(ExportRuntime),

    /// Execute a block again and say whether it is valid.
    CheckBlock(sc_cli::CheckBlockCmd),

    /// Write blocks to a file.
    ExportBlocks(sc_cli::ExportBlocksCmd),

    /// Write the state at a block as a chain specification.
    ExportState(sc_cli::ExportStateCmd),

    /// Read blocks from a file.
    ImportBlocks(sc_cli::ImportBlocksCmd),

    /// Delete the database of a chain. Keys stay.
    PurgeChain(sc_cli::PurgeChainCmd),

    /// Go back to an earlier state of the chain.
    Revert(sc_cli::RevertCmd),

    /// Print where the database stands.
    ChainInfo(sc_cli::ChainInfoCmd),
}

/// Files a testnet is made of, see docs/operate/node.md.
#[derive(Debug, clap::Args)]
pub(crate) struct BuildTestnetSpec {
    /// JSON list of the first validators: account, bond, session keys.
    #[arg(long, value_name = "FILE")]
    pub(crate) validators: PathBuf,

    /// JSON list of accounts and what they own.
    #[arg(long, value_name = "FILE")]
    pub(crate) endowed: PathBuf,

    /// Address of a node that new nodes ask for others; may be repeated.
    #[arg(long = "bootnode", value_name = "MULTIADDR")]
    pub(crate) bootnodes: Vec<MultiaddrWithPeerId>,

    /// Where to write the specification [default: standard output].
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// See [`Subcommand::MetadataHash`].
#[derive(Debug, clap::Args)]
pub(crate) struct MetadataHash {
    /// Fail unless this binary's runtime was built with this hash.
    #[arg(long)]
    pub(crate) check: bool,
}

/// See [`Subcommand::ExportRuntime`].
#[derive(Debug, clap::Args)]
pub(crate) struct ExportRuntime {
    /// Where to write the code.
    #[arg(long, value_name = "FILE")]
    pub(crate) output: PathBuf,
}
