//! Two blocks of one validator in one slot: seen, proven, reported to the chain, which slashes.
//!
//! The block import of BABE looks for them too, but at headers whose seal it has taken off. The runtime refuses a
//! proof without signatures, and such a report would take the place of a good one in the pool: it gets a pool that
//! takes nothing. Here the headers are those of imported blocks, seals included.
//!
//! # Invariants
//! - Of the last [`SLOTS`] slots, one header for each place among the authorities is remembered, nothing else.
//! - A proof is submitted only when it holds, once for each validator and slot.
//! - What was seen before a start of the node is forgotten: the other validators have seen it.

use std::{collections::BTreeMap, sync::Arc};

use arion_runtime::{Hash, Header, OpaqueBlock as Block};
use futures::StreamExt;
use sc_client_api::{BlockImportNotification, BlockchainEvents, UsageProvider};
use sc_consensus_babe::find_pre_digest;
use sc_transaction_pool_api::OffchainTransactionPoolFactory;
use sp_api::{ApiExt, ProvideRuntimeApi};
use sp_consensus::BlockOrigin;
use sp_consensus_babe::{
    AuthorityIndex, BabeApi, EquivocationProof, OpaqueKeyOwnershipProof, Slot, check_equivocation_proof,
};
use sp_runtime::traits::Header as _;

use crate::service::{Client, Pool};

/// Slots that are remembered: 100 minutes of a real network.
const SLOTS: u64 = 1000;

/// Reports what it sees as long as the node runs.
pub(crate) async fn watch(client: Arc<Client>, pool: Arc<Pool>) {
    let pools = OffchainTransactionPoolFactory::new(pool);
    let mut seen = Seen::default();
    let mut imports = client.every_import_notification_stream();
    while let Some(block) = imports.next().await {
        // Of what happened while the node was away the others have told the chain.
        if block.origin == BlockOrigin::NetworkInitialSync {
            continue;
        }
        if let Err(reason) = look(&mut seen, &client, &pools, &block) {
            log::warn!("Two blocks in one slot could not be reported: {reason}");
        }
    }
}

/// Compares one imported block with those before it.
fn look(
    seen: &mut Seen,
    client: &Client,
    pools: &OffchainTransactionPoolFactory<Block>,
    block: &BlockImportNotification<Block>,
) -> Result<(), String> {
    let digest = find_pre_digest::<Block>(&block.header).map_err(|error| error.to_string())?;
    let (slot, place) = (digest.slot(), digest.authority_index());
    let Some(first) = seen.note(slot, place, &block.header) else { return Ok(()) };

    let api = client.runtime_api();
    // After the block: if it is the first of an epoch, its author is not known before it.
    let epoch = api.current_epoch(block.hash).map_err(|error| error.to_string())?;
    let (offender, _) = epoch
        .authorities
        .get(place as usize)
        .ok_or_else(|| format!("block {:?} has author {place} of {}", block.hash, epoch.authorities.len()))?;
    let proof = EquivocationProof {
        offender: offender.clone(),
        slot,
        first_header: first,
        second_header: block.header.clone(),
    };
    if !check_equivocation_proof(proof.clone()) {
        // On forks that differ in their authorities, different validators have the same place.
        return Ok(());
    }
    log::warn!(
        "Validator {offender:?} made two blocks in slot {}: {:?} and {:?}",
        *slot,
        proof.first_header.hash(),
        block.hash
    );
    let best = client.usage_info().chain.best_hash;
    let owner = owner_of_key(client, [*block.header.parent_hash(), best], &proof)?;
    let mut api = client.runtime_api();
    api.register_extension(pools.offchain_transaction_pool(best));
    api.submit_report_equivocation_unsigned_extrinsic(best, proof, owner)
        .map_err(|error| error.to_string())?
        .ok_or_else(|| "the pool did not take the report".to_owned())
}

/// Proof that the key belonged to the validator. The parent of the first block of a session is of the session before, so
/// that more than one block is asked.
fn owner_of_key(
    client: &Client,
    blocks: [Hash; 2],
    proof: &EquivocationProof<Header>,
) -> Result<OpaqueKeyOwnershipProof, String> {
    for block in blocks {
        let owner = client
            .runtime_api()
            .generate_key_ownership_proof(block, proof.slot, proof.offender.clone())
            .map_err(|error| error.to_string())?;
        if let Some(owner) = owner {
            return Ok(owner);
        }
    }
    Err(format!("{:?} is no key of a validator of this session", proof.offender))
}

/// The first header of each author in each of the last slots.
#[derive(Default)]
struct Seen {
    slots: BTreeMap<Slot, BTreeMap<AuthorityIndex, Author>>,
}

/// What one author made in one slot.
struct Author {
    first: Header,
    /// A second one was seen.
    twice: bool,
}

impl Seen {
    /// The header to which this one is the second; `None` if it is the first, or the same, or a third.
    fn note(&mut self, slot: Slot, place: AuthorityIndex, header: &Header) -> Option<Header> {
        let newest = self.slots.last_key_value().map_or(slot, |(newest, _)| slot.max(*newest));
        let oldest = newest.saturating_sub(SLOTS - 1);
        self.slots = self.slots.split_off(&oldest);
        if slot < oldest {
            return None;
        }
        let authors = self.slots.entry(slot).or_default();
        let Some(author) = authors.get_mut(&place) else {
            authors.insert(place, Author { first: header.clone(), twice: false });
            return None;
        };
        if author.twice || author.first.hash() == header.hash() {
            return None;
        }
        author.twice = true;
        Some(author.first.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sp_consensus_babe::{
        AuthorityPair,
        digests::{CompatibleDigestItem, PreDigest, SecondaryPlainPreDigest},
    };
    use sp_core::{H256, Pair};
    use sp_runtime::generic::{Digest, DigestItem};

    const SLOT: u64 = 5000;
    const PLACE: AuthorityIndex = 2;

    fn author() -> AuthorityPair {
        AuthorityPair::from_seed(&[7; 32])
    }

    /// A block of `SLOT` with some state, sealed or not.
    fn header(state: u8, sealed: bool) -> Header {
        let claim =
            PreDigest::SecondaryPlain(SecondaryPlainPreDigest { authority_index: PLACE, slot: SLOT.into() });
        let mut header = Header::new(
            9,
            H256::zero(),
            H256::repeat_byte(state),
            H256::zero(),
            Digest { logs: vec![<DigestItem as CompatibleDigestItem>::babe_pre_digest(claim)] },
        );
        if sealed {
            let seal = author().sign(header.hash().as_ref());
            header.digest_mut().push(<DigestItem as CompatibleDigestItem>::babe_seal(seal));
        }
        header
    }

    fn proof(sealed: bool) -> EquivocationProof<Header> {
        let mut seen = Seen::default();
        assert_eq!(seen.note(SLOT.into(), PLACE, &header(1, sealed)), None);
        let first_header = seen.note(SLOT.into(), PLACE, &header(2, sealed)).expect("a second block");
        EquivocationProof {
            offender: author().public(),
            slot: SLOT.into(),
            first_header,
            second_header: header(2, sealed),
        }
    }

    #[test]
    fn two_sealed_headers_are_a_proof_and_without_seals_they_are_none() {
        assert!(check_equivocation_proof(proof(true)));
        assert!(!check_equivocation_proof(proof(false)));
    }

    #[test]
    fn each_author_is_reported_once_for_a_slot() {
        let mut seen = Seen::default();
        let blocks: Vec<_> = (0..4).map(|state| header(state, true)).collect();
        assert_eq!(seen.note(SLOT.into(), PLACE, &blocks[0]), None);
        assert_eq!(seen.note(SLOT.into(), PLACE, &blocks[0]), None, "the same block again");
        assert_eq!(seen.note(SLOT.into(), PLACE + 1, &blocks[1]), None, "of another author");
        assert_eq!(seen.note((SLOT + 1).into(), PLACE, &blocks[2]), None, "in another slot");
        assert_eq!(seen.note(SLOT.into(), PLACE, &blocks[3]).as_ref(), Some(&blocks[0]));
        assert_eq!(seen.note(SLOT.into(), PLACE, &blocks[1]), None, "it is reported already");
    }

    #[test]
    fn only_the_last_slots_are_remembered() {
        let mut seen = Seen::default();
        for slot in SLOT..SLOT + 3 * SLOTS {
            assert_eq!(seen.note(slot.into(), PLACE, &header(1, true)), None);
        }
        assert_eq!(seen.slots.len() as u64, SLOTS);
        let newest = SLOT + 3 * SLOTS - 1;
        assert_eq!(seen.note((newest - SLOTS).into(), PLACE, &header(2, true)), None, "too old");
        assert!(seen.note((newest - SLOTS + 1).into(), PLACE, &header(2, true)).is_some());
        assert_eq!(seen.slots.len() as u64, SLOTS);
    }

    #[test]
    fn a_slot_far_ahead_forgets_all_and_the_last_possible_one_is_no_overflow() {
        let mut seen = Seen::default();
        for slot in [0, SLOT, u64::MAX] {
            assert_eq!(seen.note(slot.into(), PLACE, &header(1, true)), None);
            assert_eq!(seen.slots.len(), 1, "slot {slot}");
        }
    }
}
