//! JSON-RPC besides what every node offers: nonces, fees, and where BABE and GRANDPA stand.

use std::sync::Arc;

use arion_runtime::{AccountId, Balance, BlockNumber, Hash, Nonce, OpaqueBlock as Block};
use jsonrpsee::RpcModule;
use sc_consensus_babe::BabeWorkerHandle;
use sc_consensus_babe_rpc::{Babe, BabeApiServer};
use sc_consensus_grandpa::{
    FinalityProofProvider, GrandpaJustificationStream, SharedAuthoritySet, SharedVoterState,
};
use sc_consensus_grandpa_rpc::{Grandpa, GrandpaApiServer};
use sc_rpc::SubscriptionTaskExecutor;
use sp_keystore::KeystorePtr;

use crate::service::{Backend, Client, Pool, SelectChain};

/// What the methods need.
pub(crate) struct Deps {
    pub(crate) client: Arc<Client>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) select_chain: SelectChain,
    pub(crate) keystore: KeystorePtr,
    pub(crate) babe_worker: BabeWorkerHandle<Block>,
    pub(crate) authorities: SharedAuthoritySet<Hash, BlockNumber>,
    pub(crate) voter_state: SharedVoterState,
    pub(crate) justifications: GrandpaJustificationStream<Block>,
    pub(crate) finality_proofs: Arc<FinalityProofProvider<Backend, Block>>,
}

/// All methods as one module.
pub(crate) fn module(
    deps: &Deps,
    executor: SubscriptionTaskExecutor,
) -> Result<RpcModule<()>, Box<dyn std::error::Error + Send + Sync>> {
    use pallet_transaction_payment_rpc::{TransactionPayment, TransactionPaymentApiServer};
    use substrate_frame_rpc_system::{System, SystemApiServer};

    type Accounts = System<Pool, Client, Block>;
    type Fees = TransactionPayment<Client, Block>;

    let mut module = RpcModule::new(());
    module.merge(SystemApiServer::<Hash, AccountId, Nonce>::into_rpc(Accounts::new(
        deps.client.clone(),
        deps.pool.clone(),
    )))?;
    module.merge(TransactionPaymentApiServer::<
        Hash,
        pallet_transaction_payment_rpc_runtime_api::RuntimeDispatchInfo<Balance>,
    >::into_rpc(Fees::new(deps.client.clone())))?;
    module.merge(
        Babe::new(
            deps.client.clone(),
            deps.babe_worker.clone(),
            deps.keystore.clone(),
            deps.select_chain.clone(),
        )
        .into_rpc(),
    )?;
    module.merge(
        Grandpa::new(
            executor,
            deps.authorities.clone(),
            deps.voter_state.clone(),
            deps.justifications.clone(),
            deps.finality_proofs.clone(),
        )
        .into_rpc(),
    )?;
    Ok(module)
}
