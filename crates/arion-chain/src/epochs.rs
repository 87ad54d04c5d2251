//! Epochs and what was attested about them: since when which map is in force, and commitments to bundles.

use arion_types::{AttestationCommitment, AttestationRecord, Epoch};
use codec::{Decode, Encode};

use crate::{
    account::AccountId,
    call::{Call, arg},
    client::{ChainClient, ChainError},
    records::BlockRef,
};

const PALLET: &str = "Arion";

/// `Arion::EpochAttestationCommitments`.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct CommittedEpoch {
    /// What was committed to.
    pub commitment: AttestationCommitment,
    /// Account that committed.
    pub submitter: AccountId,
    /// Block it was included in.
    pub submitted_at: u32,
}

impl ChainClient {
    /// Kept epochs, oldest first, each with the block in which its map took effect, as of a block.
    pub async fn epoch_starts(&self, at: &BlockRef) -> Result<Vec<(Epoch, u32)>, ChainError> {
        Ok(self.state(at.hash).value(PALLET, "EpochStarts").await?.unwrap_or_default())
    }

    /// What was committed to for an epoch, at the finalised head.
    pub async fn committed_epoch(&self, epoch: Epoch) -> Result<Option<CommittedEpoch>, ChainError> {
        self.head().await?.entry(PALLET, "EpochAttestationCommitments", &epoch.encode()).await
    }

    /// Attestations of a bucket as of a block, in the order in which they came.
    pub async fn attestations_at(
        &self,
        bucket: u32,
        at: &BlockRef,
    ) -> Result<Vec<AttestationRecord>, ChainError> {
        let stored = self.state(at.hash).entry(PALLET, "AttestationsByBucket", &bucket.encode()).await?;
        Ok(stored.unwrap_or_default())
    }

    /// The transactions of a block of the best chain, as they stand in it; none if it does not exist.
    pub async fn extrinsics(&self, number: u32) -> Result<Vec<Vec<u8>>, ChainError> {
        let Some(hash) = self.block_hash(number).await? else { return Ok(Vec::new()) };
        Ok(self.rpc().block(hash).await?.map_or_else(Vec::new, |block| block.extrinsics))
    }

    /// Buckets of attestations that the chain keeps, the current one included.
    pub fn attestation_buckets_kept(&self) -> Result<u32, ChainError> {
        self.constant(PALLET, "AttestationRetentionBuckets")
    }
}

impl Call {
    /// `Arion.submit_attestation_commitment`, signed by a validator or an admitted submitter; once for each epoch.
    pub fn submit_attestation_commitment(epoch: Epoch, commitment: &AttestationCommitment) -> Self {
        let AttestationCommitment { content_hash, attestation_root, warden_root, count } = commitment;
        let arguments =
            vec![arg(&epoch), arg(content_hash), arg(attestation_root), arg(warden_root), arg(count)];
        Self::new(PALLET, "submit_attestation_commitment", arguments)
    }
}
