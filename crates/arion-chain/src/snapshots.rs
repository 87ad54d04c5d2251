//! `pallet-snapshots`: where the newest snapshot of a gateway's metadata is.

use arion_types::Signature;
use codec::{Decode, Encode};

use crate::{
    account::AccountId,
    call::{Call, arg},
    client::{ChainClient, ChainError},
};

const PALLET: &str = "Snapshots";

/// `Snapshots::Snapshots`.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct SnapshotRecord {
    /// Where it is.
    pub snapshot: arion_types::Snapshot,
    /// Account that brought it.
    pub depositor: AccountId,
    /// Held on that account, in the token's smallest unit.
    pub deposit: u128,
    /// Block it was brought in.
    pub committed_at: u32,
}

impl ChainClient {
    /// The newest snapshot of a locator, an Ed25519 public key, at the finalised head.
    pub async fn snapshot(&self, locator: &[u8; 32]) -> Result<Option<SnapshotRecord>, ChainError> {
        self.head().await?.entry(PALLET, "Snapshots", locator).await
    }

    /// What is held while a record stands, in smallest units.
    pub fn snapshot_deposit(&self) -> Result<u128, ChainError> {
        self.constant(PALLET, "SnapshotDeposit")
    }
}

impl Call {
    /// `Snapshots.commit_snapshot`, brought by any account. `signature` is the locator key's over
    /// `arion_types::snapshot::snapshot_message`.
    pub fn commit_snapshot(
        locator: &[u8; 32],
        snapshot: &arion_types::Snapshot,
        signature: &Signature,
    ) -> Self {
        Self::new(PALLET, "commit_snapshot", vec![arg(locator), arg(snapshot), arg(signature)])
    }

    /// `Snapshots.remove_snapshot`, brought by any account. `signature` is the locator key's over
    /// `arion_types::snapshot::removal_message`.
    pub fn remove_snapshot(locator: &[u8; 32], sequence: u64, signature: &Signature) -> Self {
        Self::new(PALLET, "remove_snapshot", vec![arg(locator), arg(&sequence), arg(signature)])
    }
}
