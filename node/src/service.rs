//! A running node: database, consensus, network, RPC.
//!
//! # Invariants
//! - Blocks pass GRANDPA's import, then BABE's; nothing else writes to the chain.
//! - The tasks of BABE and GRANDPA are essential: when one ends, the node ends.

use std::{sync::Arc, time::Duration};

use arion_runtime::{BlockNumber, Hash, OpaqueBlock as Block, apis::RuntimeApi};
use futures::{FutureExt, StreamExt};
use sc_authority_discovery::{Role as DiscoveryRole, WorkerConfig};
use sc_client_api::{Backend as _, BlockBackend};
use sc_consensus_babe::{BabeLink, BabeParams, BabeWorkerHandle, SlotProportion};
use sc_consensus_grandpa::{
    FinalityProofProvider, GrandpaParams, LinkHalf, SharedVoterState, VotingRulesBuilder,
    warp_proof::NetworkProvider,
};
use sc_executor::WasmExecutor;
use sc_network::{
    Event, NetworkBackend, NetworkEventStream,
    config::{FullNetworkConfiguration, Role},
    service::traits::NetworkService,
};
use sc_service::{
    BuildNetworkParams, Configuration, KeystoreContainer, SpawnTasksParams, TaskManager, WarpSyncConfig,
    error::Error,
};
use sc_telemetry::{Telemetry, TelemetryHandle, TelemetryWorker};
use sc_transaction_pool_api::{OffchainTransactionPoolFactory, RejectAllTxPool};
use sp_consensus_babe::{SlotDuration, inherents::InherentDataProvider as SlotProvider};
use sp_inherents::CreateInherentDataProviders;
use sp_keystore::KeystorePtr;
use sp_timestamp::InherentDataProvider as TimeProvider;

use crate::{equivocation, quality, rpc};

/// Runs the wasm runtime.
type Executor = WasmExecutor<sp_io::SubstrateHostFunctions>;
/// Blocks and state, with the runtime's APIs.
pub(crate) type Client = sc_service::TFullClient<Block, RuntimeApi, Executor>;
/// The database.
pub(crate) type Backend = sc_service::TFullBackend<Block>;
/// Fork choice: the longest chain that contains the finalised block.
pub(crate) type SelectChain = sc_consensus::LongestChain<Backend, Block>;
/// Transactions waiting for a block.
pub(crate) type Pool = sc_transaction_pool::TransactionPoolHandle<Block, Client>;
type GrandpaImport = sc_consensus_grandpa::GrandpaBlockImport<Backend, Block, Client, SelectChain>;
type BabeImport = sc_consensus_babe::BabeBlockImport<Block, Client, GrandpaImport, SlotAndTime, SelectChain>;

/// Blocks between two justifications of finality that are kept for light clients and warp sync.
const JUSTIFICATION_PERIOD_BLOCKS: u32 = 512;
/// How long a finality vote is expected to take through the network.
const GOSSIP_DURATION: Duration = Duration::from_millis(333);
/// Share of a slot in which its author collects transactions.
const PROPOSAL_SLOT_SHARE: f32 = 0.5;

/// The slot and the time a block states, both from the clock of this machine.
#[derive(Clone, Copy)]
pub(crate) struct SlotAndTime(SlotDuration);

#[async_trait::async_trait]
impl CreateInherentDataProviders<Block, ()> for SlotAndTime {
    type InherentDataProviders = (SlotProvider, TimeProvider);

    async fn create_inherent_data_providers(
        &self,
        _parent: Hash,
        (): (),
    ) -> Result<Self::InherentDataProviders, Box<dyn std::error::Error + Send + Sync>> {
        let time = TimeProvider::from_system_time();
        Ok((SlotProvider::from_timestamp_and_slot_duration(*time, self.0), time))
    }
}

/// A node before it talks to anybody: what the offline commands need.
pub(crate) struct Parts {
    pub(crate) client: Arc<Client>,
    pub(crate) backend: Arc<Backend>,
    pub(crate) import_queue: sc_consensus::DefaultImportQueue<Block>,
    pub(crate) task_manager: TaskManager,
    keystore: KeystoreContainer,
    select_chain: SelectChain,
    pool: Arc<Pool>,
    telemetry: Option<Telemetry>,
    babe_import: BabeImport,
    babe_link: BabeLink<Block>,
    babe_worker: BabeWorkerHandle<Block>,
    grandpa_link: LinkHalf<Block, Client, SelectChain>,
}

/// Opens the database and puts the import of blocks together.
pub(crate) fn parts(config: &Configuration) -> Result<Parts, Error> {
    let telemetry = config
        .telemetry_endpoints
        .clone()
        .filter(|endpoints| !endpoints.is_empty())
        .map(|endpoints| -> Result<_, sc_telemetry::Error> {
            let worker = TelemetryWorker::new(16)?;
            let telemetry = worker.handle().new_telemetry(endpoints);
            Ok((worker, telemetry))
        })
        .transpose()?;

    let executor = sc_service::new_wasm_executor(&config.executor);
    let (client, backend, keystore, task_manager) = sc_service::new_full_parts::<Block, RuntimeApi, Executor>(
        config,
        telemetry.as_ref().map(|(_, telemetry)| telemetry.handle()),
        executor,
        Vec::new(),
    )?;
    let client = Arc::new(client);
    let telemetry = telemetry.map(|(worker, telemetry)| {
        task_manager.spawn_handle().spawn("telemetry", None, worker.run());
        telemetry
    });

    let select_chain = SelectChain::new(backend.clone());
    let pool = Arc::new(
        sc_transaction_pool::Builder::new(
            task_manager.spawn_essential_handle(),
            client.clone(),
            config.role.is_authority().into(),
        )
        .with_options(config.transaction_pool.clone())
        .with_prometheus(config.prometheus_registry())
        .build(),
    );

    let (grandpa_import, grandpa_link) = sc_consensus_grandpa::block_import(
        client.clone(),
        JUSTIFICATION_PERIOD_BLOCKS,
        &client,
        select_chain.clone(),
        telemetry.as_ref().map(Telemetry::handle),
    )?;
    let babe_config = sc_consensus_babe::configuration(&*client)?;
    let slot_duration = babe_config.slot_duration();
    let (babe_import, babe_link) = sc_consensus_babe::block_import(
        babe_config,
        grandpa_import.clone(),
        client.clone(),
        SlotAndTime(slot_duration),
        select_chain.clone(),
        // Its reports of two blocks in one slot lack signatures; see `equivocation`.
        OffchainTransactionPoolFactory::new(RejectAllTxPool::default()),
    )?;
    let (import_queue, babe_worker) =
        sc_consensus_babe::import_queue(sc_consensus_babe::ImportQueueParams {
            link: babe_link.clone(),
            block_import: babe_import.clone(),
            justification_import: Some(Box::new(grandpa_import)),
            client: client.clone(),
            slot_duration,
            spawner: &task_manager.spawn_essential_handle(),
            registry: config.prometheus_registry(),
            telemetry: telemetry.as_ref().map(Telemetry::handle),
        })?;

    Ok(Parts {
        client,
        backend,
        import_queue,
        task_manager,
        keystore,
        select_chain,
        pool,
        telemetry,
        babe_import,
        babe_link,
        babe_worker,
        grandpa_link,
    })
}

/// Takes back what BABE and GRANDPA remember of the last `blocks` blocks.
pub(crate) fn revert_consensus(
    client: Arc<Client>,
    backend: Arc<Backend>,
    blocks: BlockNumber,
) -> sc_cli::Result<()> {
    sc_consensus_babe::revert(client.clone(), backend, blocks)?;
    sc_consensus_grandpa::revert(client, blocks)?;
    Ok(())
}

/// Publishes the addresses of this validator, signed with its session key, and finds those of the others: validators
/// stay connected to each other whoever else is in the network.
fn discover_authorities(
    client: Arc<Client>,
    network: Arc<dyn NetworkService>,
    config: &Configuration,
    keystore: KeystorePtr,
    tasks: &TaskManager,
) {
    let worker_config = WorkerConfig {
        publish_non_global_ips: config.network.allow_non_globals_in_dht,
        public_addresses: config.network.public_addresses.clone(),
        strict_record_validation: true,
        persisted_cache_directory: config.network.net_config_path.clone(),
        ..WorkerConfig::default()
    };
    let events = network.event_stream("authority-discovery").filter_map(|event| async move {
        match event {
            Event::Dht(event) => Some(event),
            _ => None,
        }
    });
    let (worker, _service) = sc_authority_discovery::new_worker_and_service_with_config(
        worker_config,
        client,
        Arc::new(network),
        Box::pin(events),
        DiscoveryRole::PublishAndDiscover(keystore),
        config.prometheus_registry().cloned(),
        tasks.spawn_handle(),
    );
    tasks.spawn_handle().spawn("authority-discovery-worker", Some("networking"), worker.run());
}

/// Starts a node on the network backend `N`; it runs as long as the task manager lives. `quality_url` is where its
/// offchain worker finds reports of quality.
pub(crate) fn start<N: NetworkBackend<Block, Hash>>(
    config: Configuration,
    quality_url: Option<String>,
) -> Result<TaskManager, Error> {
    let Parts {
        client,
        backend,
        import_queue,
        mut task_manager,
        keystore,
        select_chain,
        pool,
        mut telemetry,
        babe_import,
        babe_link,
        babe_worker,
        grandpa_link,
    } = parts(&config)?;

    let mut net_config = FullNetworkConfiguration::<Block, Hash, N>::new(
        &config.network,
        config.prometheus_registry().cloned(),
    );
    let metrics = N::register_notification_metrics(config.prometheus_registry());
    let genesis = client
        .block_hash(0)?
        .ok_or_else(|| Error::Other("the database has no block 0: purge the chain and sync again".into()))?;
    let grandpa_protocol = sc_consensus_grandpa::protocol_standard_name(&genesis, &config.chain_spec);
    let (grandpa_set, grandpa_notifications) = sc_consensus_grandpa::grandpa_peers_set_config::<_, N>(
        grandpa_protocol.clone(),
        metrics.clone(),
        net_config.peer_store_handle(),
    );
    net_config.add_notification_protocol(grandpa_set);
    let warp_sync = Arc::new(NetworkProvider::new(
        backend.clone(),
        grandpa_link.shared_authority_set().clone(),
        Vec::new(),
    ));

    let (network, system_rpc_tx, tx_handler_controller, sync_service, _bitswap) =
        sc_service::build_network(BuildNetworkParams {
            config: &config,
            net_config,
            client: client.clone(),
            transaction_pool: pool.clone(),
            spawn_handle: task_manager.spawn_handle(),
            spawn_essential_handle: task_manager.spawn_essential_handle(),
            import_queue,
            block_announce_validator_builder: None,
            warp_sync_config: Some(WarpSyncConfig::WithProvider(warp_sync)),
            block_relay: None,
            metrics,
            gap_sync_body_policy: None,
        })?;

    if let Some(mut storage) = backend.offchain_storage() {
        quality::note_url(&mut storage, quality_url.as_deref());
    }
    quality::announce(quality_url.as_deref(), config.role.is_authority(), config.offchain_worker.enabled);
    if config.offchain_worker.enabled {
        let workers = sc_offchain::OffchainWorkers::new(sc_offchain::OffchainWorkerOptions {
            runtime_api_provider: client.clone(),
            keystore: Some(keystore.keystore()),
            offchain_db: backend.offchain_storage(),
            transaction_pool: Some(OffchainTransactionPoolFactory::new(pool.clone())),
            network_provider: Arc::new(network.clone()),
            is_validator: config.role.is_authority(),
            enable_http_requests: quality_url.is_some(),
            custom_extensions: |_| Vec::new(),
        })?;
        task_manager.spawn_handle().spawn(
            "offchain-workers-runner",
            "offchain-worker",
            workers.run(client.clone(), task_manager.spawn_handle()).boxed(),
        );
    }

    let voter_state = SharedVoterState::empty();
    let rpc_deps = rpc::Deps {
        client: client.clone(),
        pool: pool.clone(),
        select_chain: select_chain.clone(),
        keystore: keystore.keystore(),
        babe_worker,
        authorities: grandpa_link.shared_authority_set().clone(),
        voter_state: voter_state.clone(),
        justifications: grandpa_link.justification_stream(),
        finality_proofs: FinalityProofProvider::new_for_service(
            backend.clone(),
            Some(grandpa_link.shared_authority_set().clone()),
        ),
    };

    let role = config.role;
    let force_authoring = config.force_authoring;
    let name = config.network.node_name.clone();
    let grandpa_enabled = !config.disable_grandpa;
    let registry = config.prometheus_registry().cloned();
    if role.is_authority() {
        discover_authorities(client.clone(), network.clone(), &config, keystore.keystore(), &task_manager);
        // A report is taken from the node's own pool only: those of others would never reach a block.
        task_manager.spawn_handle().spawn_blocking(
            "equivocation-reports",
            Some("block-authoring"),
            equivocation::watch(client.clone(), pool.clone()),
        );
    }
    sc_service::spawn_tasks(SpawnTasksParams {
        config,
        client: client.clone(),
        backend,
        task_manager: &mut task_manager,
        keystore: keystore.keystore(),
        transaction_pool: pool.clone(),
        rpc_builder: Box::new(move |executor| rpc::module(&rpc_deps, executor).map_err(Error::Application)),
        network: network.clone(),
        system_rpc_tx,
        tx_handler_controller,
        sync_service: sync_service.clone(),
        telemetry: telemetry.as_mut(),
        tracing_execute_block: None,
    })?;
    let telemetry_handle: Option<TelemetryHandle> = telemetry.as_ref().map(Telemetry::handle);

    if role.is_authority() {
        let slot_duration = babe_link.config().slot_duration();
        let babe = sc_consensus_babe::start_babe(BabeParams {
            keystore: keystore.keystore(),
            client: client.clone(),
            select_chain,
            env: sc_basic_authorship::ProposerFactory::new(
                task_manager.spawn_handle(),
                client,
                pool.clone(),
                registry.as_ref(),
                telemetry_handle.clone(),
            ),
            block_import: babe_import,
            sync_oracle: sync_service.clone(),
            justification_sync_link: sync_service.clone(),
            create_inherent_data_providers: SlotAndTime(slot_duration),
            force_authoring,
            backoff_authoring_blocks: None::<()>,
            babe_link,
            block_proposal_slot_portion: SlotProportion::new(PROPOSAL_SLOT_SHARE),
            max_block_proposal_slot_portion: None,
            telemetry: telemetry_handle.clone(),
        })?;
        task_manager.spawn_essential_handle().spawn_blocking("babe-proposer", Some("block-authoring"), babe);
    }

    if grandpa_enabled {
        let voter = sc_consensus_grandpa::run_grandpa_voter(GrandpaParams {
            config: sc_consensus_grandpa::Config {
                gossip_duration: GOSSIP_DURATION,
                justification_generation_period: JUSTIFICATION_PERIOD_BLOCKS,
                name: Some(name),
                observer_enabled: false,
                keystore: matches!(role, Role::Authority).then(|| keystore.keystore()),
                local_role: role,
                telemetry: telemetry_handle.clone(),
                protocol_name: grandpa_protocol,
            },
            link: grandpa_link,
            network,
            sync: Arc::new(sync_service),
            notification_service: grandpa_notifications,
            voting_rule: VotingRulesBuilder::default().build(),
            prometheus_registry: registry,
            shared_voter_state: voter_state,
            telemetry: telemetry_handle,
            offchain_tx_pool_factory: OffchainTransactionPoolFactory::new(pool),
        })?;
        task_manager.spawn_essential_handle().spawn_blocking("grandpa-voter", None, voter);
    }

    Ok(task_manager)
}
