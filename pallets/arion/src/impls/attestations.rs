//! Attestations: verification, buckets, commitments, wardens and submitters.

use alloc::collections::BTreeSet;
use arion_types::{AttestationRecord, GenesisHash, attestation::Challenge};
use frame_support::{
    ensure,
    pallet_prelude::*,
    sp_runtime::traits::{SaturatedConversion, Zero},
};
use frame_system::pallet_prelude::BlockNumberFor;
use sp_core::ed25519;

use crate::{
    AttestationSubmitters, AttestationsByBucket, AttestationsOf, Config, CurrentAttestationBucket,
    EpochAttestationCommitment, EpochAttestationCommitments, EpochRoot, Error, Event, Pallet,
    RegisteredWardens, WardenConflict, WardenConflicts, WardenInfo, WeightInfo,
};

impl<T: Config> Pallet<T> {
    pub(crate) fn do_submit_attestations(bucket: u32, attestations: AttestationsOf<T>) -> DispatchResult {
        ensure!(!attestations.is_empty(), Error::<T>::NoAttestations);
        let now = frame_system::Pallet::<T>::block_number();
        ensure!(bucket >= Self::oldest_attestation_bucket(), Error::<T>::AttestationBucketTooOld);

        let mut stored = AttestationsByBucket::<T>::get(bucket);
        let (before, count) = (stored.len(), attestations.len() as u32);
        ensure!(
            (stored.len() as u32).saturating_add(count) <= T::MaxAttestations::get(),
            Error::<T>::AttestationBucketFull
        );
        let mut challenges: BTreeSet<Challenge> = stored.iter().map(AttestationRecord::challenge).collect();
        let mut known_wardens = BTreeSet::new();
        let genesis = Self::genesis_hash();
        for record in attestations {
            ensure!(record.block_number <= now.saturated_into::<u64>(), Error::<T>::AttestationFromFuture);
            let block: BlockNumberFor<T> = record.block_number.saturated_into();
            ensure!(Self::bucket_of(block) == bucket, Error::<T>::WrongAttestationBucket);
            if !known_wardens.contains(&record.warden_pubkey) {
                ensure!(
                    RegisteredWardens::<T>::contains_key(record.warden_pubkey),
                    Error::<T>::UnregisteredWarden
                );
                known_wardens.insert(record.warden_pubkey);
            }
            ensure!(challenges.insert(record.challenge()), Error::<T>::DuplicateAttestation);
            ensure!(is_signed(&record, &genesis), Error::<T>::InvalidAttestationSignature);
            stored.try_push(record).map_err(|_| Error::<T>::AttestationBucketFull)?;
        }

        Self::tally(stored.get(before..).unwrap_or_default());
        AttestationsByBucket::<T>::insert(bucket, stored);
        CurrentAttestationBucket::<T>::mutate(|newest| *newest = bucket.max(*newest));
        Self::deposit_event(Event::AttestationsSubmitted { bucket, count });
        Ok(())
    }

    /// Bucket a block belongs to.
    pub fn bucket_of(block: BlockNumberFor<T>) -> u32 {
        (block / T::AttestationBucketBlocks::get()).saturated_into()
    }

    /// Oldest bucket that is kept.
    pub(crate) fn oldest_attestation_bucket() -> u32 {
        let now = Self::bucket_of(frame_system::Pallet::<T>::block_number());
        now.saturating_add(1).saturating_sub(T::AttestationRetentionBuckets::get())
    }

    /// Each first block of a bucket removes the bucket that falls out of the retention.
    pub(crate) fn prune_attestations(now: BlockNumberFor<T>) -> Weight {
        if !(now % T::AttestationBucketBlocks::get()).is_zero() {
            return Weight::zero();
        }
        match Self::bucket_of(now).checked_sub(T::AttestationRetentionBuckets::get()) {
            Some(bucket) => {
                AttestationsByBucket::<T>::remove(bucket);
                T::WeightInfo::prune_attestations()
            }
            None => Weight::zero(),
        }
    }

    pub(crate) fn do_submit_commitment(
        epoch: u64,
        commitment: EpochAttestationCommitment<T::AccountId, BlockNumberFor<T>>,
    ) -> DispatchResult {
        ensure!(EpochRoot::<T>::contains_key(epoch), Error::<T>::UnknownEpoch);
        ensure!(!EpochAttestationCommitments::<T>::contains_key(epoch), Error::<T>::CommitmentAlreadyExists);
        Self::deposit_event(Event::AttestationCommitmentSubmitted {
            epoch,
            arion_content_hash: commitment.arion_content_hash,
            attestation_merkle_root: commitment.attestation_merkle_root,
            warden_pubkey_merkle_root: commitment.warden_pubkey_merkle_root,
            attestation_count: commitment.attestation_count,
        });
        EpochAttestationCommitments::<T>::insert(epoch, commitment);
        Ok(())
    }

    pub(crate) fn do_register_warden(warden_pubkey: [u8; 32]) -> DispatchResult {
        ensure!(!RegisteredWardens::<T>::contains_key(warden_pubkey), Error::<T>::WardenAlreadyRegistered);
        ensure!(!WardenConflicts::<T>::contains_key(warden_pubkey), Error::<T>::WardenContradictedItself);
        ensure!(RegisteredWardens::<T>::count() < T::MaxWardens::get(), Error::<T>::TooManyWardens);
        let registered_at = frame_system::Pallet::<T>::block_number();
        RegisteredWardens::<T>::insert(warden_pubkey, WardenInfo { registered_at });
        Self::deposit_event(Event::WardenRegistered { warden_pubkey, registered_at });
        Ok(())
    }

    pub(crate) fn do_deregister_warden(warden_pubkey: [u8; 32]) -> DispatchResult {
        RegisteredWardens::<T>::take(warden_pubkey).ok_or(Error::<T>::UnregisteredWarden)?;
        let deregistered_at = frame_system::Pallet::<T>::block_number();
        Self::deposit_event(Event::WardenDeregistered { warden_pubkey, deregistered_at });
        Ok(())
    }

    /// What the warden attested before stays and counts, as far as others agree with it.
    pub(crate) fn do_report_conflict(
        reporter: T::AccountId,
        first: &AttestationRecord,
        second: &AttestationRecord,
    ) -> DispatchResult {
        let AttestationRecord { warden_pubkey, shard_hash, miner_uid, block_number, .. } = *first;
        ensure!(second.warden_pubkey == warden_pubkey, Error::<T>::DifferentWardens);
        ensure!(second.challenge() == first.challenge(), Error::<T>::DifferentChallenges);
        ensure!(second.result != first.result, Error::<T>::SameVerdict);
        ensure!(!WardenConflicts::<T>::contains_key(warden_pubkey), Error::<T>::ConflictAlreadyReported);
        ensure!(RegisteredWardens::<T>::contains_key(warden_pubkey), Error::<T>::UnregisteredWarden);
        let genesis = Self::genesis_hash();
        ensure!(
            is_signed(first, &genesis) && is_signed(second, &genesis),
            Error::<T>::InvalidAttestationSignature
        );
        let reported_at = frame_system::Pallet::<T>::block_number();
        WardenConflicts::<T>::insert(
            warden_pubkey,
            WardenConflict { reporter: reporter.clone(), reported_at, shard_hash, miner_uid, block_number },
        );
        Self::deposit_event(Event::ConflictingAttestationsReported {
            reporter,
            warden_pubkey,
            shard_hash,
            miner_uid,
            block_number,
        });
        Self::do_deregister_warden(warden_pubkey)
    }

    pub(crate) fn do_add_submitter(submitter: T::AccountId) -> DispatchResult {
        ensure!(!AttestationSubmitters::<T>::contains_key(&submitter), Error::<T>::SubmitterAlreadyAdded);
        ensure!(
            AttestationSubmitters::<T>::count() < T::MaxAttestationSubmitters::get(),
            Error::<T>::TooManySubmitters
        );
        AttestationSubmitters::<T>::insert(&submitter, ());
        Self::deposit_event(Event::AttestationSubmitterAdded { submitter });
        Ok(())
    }

    pub(crate) fn do_remove_submitter(submitter: T::AccountId) -> DispatchResult {
        AttestationSubmitters::<T>::take(&submitter).ok_or(Error::<T>::SubmitterNotFound)?;
        Self::deposit_event(Event::AttestationSubmitterRemoved { submitter });
        Ok(())
    }
}

/// Whether an attestation carries its warden's signature for this chain.
fn is_signed(record: &AttestationRecord, genesis: &GenesisHash) -> bool {
    sp_io::crypto::ed25519_verify(
        &ed25519::Signature::from_raw(record.signature),
        &record.message(genesis),
        &ed25519::Public::from_raw(record.warden_pubkey),
    )
}
