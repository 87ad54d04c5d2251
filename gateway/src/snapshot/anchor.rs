//! Where the newest snapshot is named: the chain.

use arion_chain::{Account, Call, ChainClient, Wait};
use arion_types::{signing, snapshot::snapshot_message};
use async_trait::async_trait;
use ed25519_dalek::SigningKey;

/// What the chain says of the newest snapshot of a locator.
pub use arion_types::Snapshot as Anchored;

/// Why the chain does not say, or does not take it.
#[derive(Debug, thiserror::Error)]
pub enum AnchorError {
    /// The chain cannot be read.
    #[error(transparent)]
    Chain(#[from] arion_chain::ChainError),
    /// The transaction failed.
    #[error("the chain does not name the snapshot: {0}")]
    Tx(#[from] arion_chain::TxError),
    /// There is no account that pays.
    #[error("[snapshot] account_file is not set: nobody pays for naming snapshots on the chain")]
    NoPayer,
}

/// The chain, as snapshots need it.
#[async_trait]
pub trait Anchor: Send + Sync + 'static {
    /// The newest snapshot of a locator on the finalised chain.
    async fn newest(&self, locator: &[u8; 32]) -> Result<Option<Anchored>, AnchorError>;

    /// Has the chain name a snapshot; returns once that is final. The key is the locator's.
    async fn commit(&self, locator: &SigningKey, anchored: Anchored) -> Result<(), AnchorError>;
}

/// The chain behind a node.
pub struct ChainAnchor {
    client: ChainClient,
    payer: Option<Account>,
}

impl ChainAnchor {
    /// Without an account that pays it only reads.
    pub fn new(client: ChainClient, payer: Option<Account>) -> Self {
        Self { client, payer }
    }
}

#[async_trait]
impl Anchor for ChainAnchor {
    async fn newest(&self, locator: &[u8; 32]) -> Result<Option<Anchored>, AnchorError> {
        Ok(self.client.snapshot(locator).await?.map(|record| record.snapshot))
    }

    async fn commit(&self, locator: &SigningKey, anchored: Anchored) -> Result<(), AnchorError> {
        let payer = self.payer.as_ref().ok_or(AnchorError::NoPayer)?;
        let public = locator.verifying_key().to_bytes();
        let message = snapshot_message(&self.client.genesis(), &public, &anchored);
        let call = Call::commit_snapshot(&public, &anchored, &signing::sign(locator, &message));
        self.client.submit(payer, &call, Wait::Finalized).await?;
        Ok(())
    }
}
