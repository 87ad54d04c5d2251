//! Registration of the gateway on chain: its owner becomes an owner node, its node key a gateway of it.

use arion_chain::{Account, Call, ChainError, ConnectError, TxError, Wait, ss58};
use arion_daemon::ChainConfig;
use arion_types::{Lane, NodeId, NodeType, registration::node_message, signing};
use ed25519_dalek::SigningKey;

/// What is registered.
pub struct Registration {
    /// The chain to be on.
    pub chain: ChainConfig,
    /// The account that answers for the gateway.
    pub owner: Account,
    /// The gateway's key.
    pub node: SigningKey,
}

/// Why the gateway is not registered.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// No chain, or the wrong one.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The chain cannot be read.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The transaction failed.
    #[error(transparent)]
    Tx(#[from] TxError),
    /// The node id stands under another account or as another kind of node.
    #[error("node {node_id} is registered already as {node_type:?} of {owner}")]
    Taken {
        /// The node.
        node_id: NodeId,
        /// What it is registered as.
        node_type: NodeType,
        /// Whose it is.
        owner: String,
    },
}

/// A registration that stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Registered {
    /// The node.
    pub node_id: NodeId,
    /// Its owner, SS58.
    pub owner: String,
    /// Whether it stood before.
    pub before: bool,
}

impl Registration {
    /// Registers the gateway; repeating it is harmless.
    pub async fn submit(&self, wait: Wait) -> Result<Registered, RegisterError> {
        let chain = self.chain.connect().await?;
        let (node_id, owner) = (signing::node_id(&self.node), self.owner.id());
        if let Some(record) = chain.node(&node_id).await? {
            if record.owner == owner && record.node_type == NodeType::Gateway {
                return Ok(Registered { node_id, owner: ss58(&owner), before: true });
            }
            let (node_type, owner) = (record.node_type, ss58(&record.owner));
            return Err(RegisterError::Taken { node_id, node_type, owner });
        }
        let nonce = chain.node_nonce(&node_id).await?;
        let message = node_message(&chain.genesis(), &owner, NodeType::Gateway, &node_id.0, nonce);
        let signature = signing::sign(&self.node, &message);
        let register = Call::register_node(NodeType::Gateway, &node_id, &signature);
        let call = match chain.owner(&owner).await? {
            Some(_) => register,
            None => Call::batch(vec![Call::register_owner_node(Lane::Storage), register]),
        };
        chain.submit(&self.owner, &call, wait).await?;
        Ok(Registered { node_id, owner: ss58(&owner), before: false })
    }
}
