//! From the command line to what is run.

use arion_runtime::OpaqueBlock as Block;
use sc_cli::SubstrateCli;
use sc_network::config::NetworkBackendType;

use crate::{
    chain_spec,
    cli::{ABOUT, Cli, Subcommand},
    export_runtime, metadata_hash,
    service::{self, Parts},
    testnet,
};

impl SubstrateCli for Cli {
    fn impl_name() -> String {
        "Arion Node".into()
    }

    fn impl_version() -> String {
        env!("CARGO_PKG_VERSION").into()
    }

    fn description() -> String {
        ABOUT.into()
    }

    fn author() -> String {
        "the Arion developers".into()
    }

    fn support_url() -> String {
        "docs/operate/node.md in the source tree".into()
    }

    fn copyright_start_year() -> i32 {
        2026
    }

    fn load_spec(&self, id: &str) -> Result<Box<dyn sc_service::ChainSpec>, String> {
        Ok(Box::new(chain_spec::by_id(id)?))
    }
}

/// Runs what the command line says, until it is done or, for a node, until it is told to stop.
pub(crate) fn run() -> sc_cli::Result<()> {
    let cli = Cli::from_args();
    match &cli.subcommand {
        None => run_node(&cli),
        Some(Subcommand::Key(cmd)) => cmd.run(&cli),
        Some(Subcommand::ExportChainSpec(cmd)) => cmd.run(cli.load_spec(&cmd.chain)?),
        Some(Subcommand::BuildTestnetSpec(cmd)) => testnet::build(cmd).map_err(sc_cli::Error::Input),
        Some(Subcommand::ExportRuntime(cmd)) => export_runtime::run(cmd).map_err(sc_cli::Error::Input),
        Some(Subcommand::MetadataHash(cmd)) => metadata_hash::run(cmd).map_err(sc_cli::Error::Input),
        Some(Subcommand::PurgeChain(cmd)) => {
            cli.create_runner(cmd)?.sync_run(|config| cmd.run(config.database))
        }
        Some(Subcommand::ChainInfo(cmd)) => {
            cli.create_runner(cmd)?.sync_run(|config| cmd.run::<Block>(&config))
        }
        Some(Subcommand::CheckBlock(cmd)) => cli.create_runner(cmd)?.async_run(|config| {
            let Parts { client, import_queue, task_manager, .. } = service::parts(&config)?;
            Ok((cmd.run(client, import_queue), task_manager))
        }),
        Some(Subcommand::ImportBlocks(cmd)) => cli.create_runner(cmd)?.async_run(|config| {
            let Parts { client, import_queue, task_manager, .. } = service::parts(&config)?;
            Ok((cmd.run(client, import_queue), task_manager))
        }),
        Some(Subcommand::ExportBlocks(cmd)) => cli.create_runner(cmd)?.async_run(|config| {
            let Parts { client, task_manager, .. } = service::parts(&config)?;
            Ok((cmd.run(client, config.database), task_manager))
        }),
        Some(Subcommand::ExportState(cmd)) => cli.create_runner(cmd)?.async_run(|config| {
            let Parts { client, task_manager, .. } = service::parts(&config)?;
            Ok((cmd.run(client, config.chain_spec), task_manager))
        }),
        Some(Subcommand::Revert(cmd)) => cli.create_runner(cmd)?.async_run(|config| {
            let Parts { client, backend, task_manager, .. } = service::parts(&config)?;
            Ok((cmd.run(client, backend, Some(Box::new(service::revert_consensus))), task_manager))
        }),
    }
}

fn run_node(cli: &Cli) -> sc_cli::Result<()> {
    let quality_url = cli.quality_url.clone();
    cli.create_runner(&cli.run)?.run_node_until_exit(|config| async move {
        let task_manager = match config.network.network_backend {
            NetworkBackendType::Libp2p => {
                service::start::<sc_network::NetworkWorker<_, _>>(config, quality_url)
            }
            NetworkBackendType::Litep2p => {
                service::start::<sc_network::Litep2pNetworkBackend>(config, quality_url)
            }
        };
        task_manager.map_err(sc_cli::Error::Service)
    })
}
