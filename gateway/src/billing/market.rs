//! The chain's marketplace, as billing needs it.

use arion_chain::{
    Account, AccountId, Call, ChainClient, LedgerCommitment, MarketView, Skipped, Wait, marketplace,
};
use arion_types::NodeId;
use async_trait::async_trait;

use crate::meta::Commitment;

/// Why the chain does not say, or does not take it.
#[derive(Debug, thiserror::Error)]
pub enum MarketError {
    /// The chain cannot be read.
    #[error(transparent)]
    Chain(#[from] arion_chain::ChainError),
    /// The transaction failed.
    #[error("the chain did not take the commitment: {0}")]
    Tx(#[from] arion_chain::TxError),
    /// The account of the configuration is not the owner of the gateway.
    #[error(
        "the account of [billing] account_file does not own this gateway's registration: name the key of the account that registered it"
    )]
    NotOwner,
}

/// What holds for everybody.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Terms {
    /// Most updates of usage in a commitment.
    pub updates_max: usize,
    /// Blocks that make an hour of storage.
    pub blocks_per_hour: u32,
    /// Blocks for which credits must last when a gateway is authorized.
    pub runway_blocks: u32,
}

/// The marketplace.
#[async_trait]
pub trait Market: Send + Sync + 'static {
    /// What holds for everybody.
    fn terms(&self) -> Result<Terms, MarketError>;

    /// The gateway's newest commitment on the finalised chain.
    async fn newest(&self) -> Result<Option<LedgerCommitment>, MarketError>;

    /// Prices and accounts on the finalised chain.
    async fn view(&self, accounts: &[AccountId]) -> Result<MarketView, MarketError>;

    /// What the gateway bills all accounts together.
    async fn billed_bytes(&self) -> Result<u128, MarketError>;

    /// All accounts that the gateway bills; takes long.
    async fn billed_accounts(&self) -> Result<Vec<AccountId>, MarketError>;

    /// Has the chain take a commitment; returns the updates that it did not apply once that is final.
    async fn commit(&self, commitment: &Commitment) -> Result<Vec<Skipped>, MarketError>;
}

/// The marketplace behind a node.
pub struct ChainMarket {
    client: ChainClient,
    gateway: NodeId,
    owner: Account,
}

impl ChainMarket {
    /// For a gateway and the account that owns its registration, which pays for the transactions.
    pub fn new(client: ChainClient, gateway: NodeId, owner: Account) -> Self {
        Self { client, gateway, owner }
    }
}

#[async_trait]
impl Market for ChainMarket {
    fn terms(&self) -> Result<Terms, MarketError> {
        Ok(Terms {
            updates_max: usize::try_from(self.client.usage_updates_max()?).unwrap_or(1),
            blocks_per_hour: self.client.blocks_per_hour()?,
            runway_blocks: self.client.runway_blocks()?,
        })
    }

    async fn newest(&self) -> Result<Option<LedgerCommitment>, MarketError> {
        Ok(self.client.ledger_commitment(&self.gateway).await?)
    }

    async fn view(&self, accounts: &[AccountId]) -> Result<MarketView, MarketError> {
        Ok(self.client.market_view(accounts).await?)
    }

    async fn billed_bytes(&self) -> Result<u128, MarketError> {
        Ok(self.client.billed_bytes(&self.gateway).await?)
    }

    async fn billed_accounts(&self) -> Result<Vec<AccountId>, MarketError> {
        Ok(self.client.billed_accounts(&self.gateway).await?)
    }

    async fn commit(&self, commitment: &Commitment) -> Result<Vec<Skipped>, MarketError> {
        let Commitment { sequence, root, bytes, updates, .. } = commitment;
        let call = Call::commit_usage(&self.gateway, *sequence, root, *bytes, updates);
        match self.client.submit(&self.owner, &call, Wait::Finalized).await {
            Ok(outcome) => Ok(marketplace::skipped(&outcome)),
            Err(error) if error.dispatch_name() == Some("Marketplace.NotGatewayOwner") => {
                Err(MarketError::NotOwner)
            }
            Err(error) => Err(error.into()),
        }
    }
}
