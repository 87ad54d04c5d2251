//! Validators who sign two things where only one can be: proven with real signatures, slashed, disabled.

use codec::Decode;
use frame_support::{
    assert_noop, assert_ok,
    storage::with_transaction,
    traits::{KeyOwnerProofSystem, TypedGet, fungible::Inspect},
};
use sp_consensus_babe::{
    OpaqueKeyOwnershipProof,
    digests::{CompatibleDigestItem, PreDigest, SecondaryPlainPreDigest},
    runtime_decl_for_babe_api::BabeApi,
};
use sp_core::{
    H256, Pair,
    offchain::{TransactionPoolExt, testing::TestTransactionPoolExt},
};
use sp_keyring::{
    Ed25519Keyring,
    Sr25519Keyring::{self, Alice, Bob, Charlie, Dave},
};
use sp_runtime::{
    Digest, DigestItem, DispatchError, TransactionOutcome,
    traits::Header as _,
    transaction_validity::{InvalidTransaction, TransactionSource},
};

use super::{
    account, assert_close,
    blocks::{self, block, era, session, until_era},
    chain, validators,
};
use crate::{
    Babe, Balance, Balances, Block, Executive, Grandpa, Header, Historical, Runtime, RuntimeCall,
    RuntimeEvent, RuntimeOrigin, Session, Staking, System, UncheckedExtrinsic,
    constants::{MILLI_HIPP, SESSIONS_PER_ERA, SLASH_DEFER_ERAS},
    genesis::LOCAL_BOND,
    rewards::TreasuryAccount,
};

type BabeProof = sp_consensus_babe::EquivocationProof<Header>;
type GrandpaProof = sp_consensus_grandpa::EquivocationProof<H256, u32>;

/// A block of `slot` with this state root, sealed by `who`.
fn sealed(who: Sr25519Keyring, index: u32, slot: u64, state_root: u8) -> Header {
    let pre_digest =
        PreDigest::SecondaryPlain(SecondaryPlainPreDigest { authority_index: index, slot: slot.into() });
    let digest = Digest { logs: vec![<DigestItem as CompatibleDigestItem>::babe_pre_digest(pre_digest)] };
    let mut header = Header::new(
        System::block_number() + 1,
        Default::default(),
        H256([state_root; 32]),
        System::parent_hash(),
        digest,
    );
    let signature = who.pair().sign(header.hash().as_ref());
    header.digest_mut().push(<DigestItem as CompatibleDigestItem>::babe_seal(signature.into()));
    header
}

/// Two blocks by `who` in the current slot.
fn two_blocks(who: Sr25519Keyring) -> BabeProof {
    let index = validators().iter().position(|validator| *validator == account(who)).unwrap() as u32;
    let slot = blocks::slot();
    BabeProof {
        offender: who.public().into(),
        slot: slot.into(),
        first_header: sealed(who, index, slot, 1),
        second_header: sealed(who, index, slot, 2),
    }
}

fn babe_owner(who: Sr25519Keyring) -> sp_session::MembershipProof {
    let key = sp_consensus_babe::AuthorityId::from(who.public());
    Historical::prove((sp_consensus_babe::KEY_TYPE, key)).unwrap()
}

/// Two votes by `who` in one round.
fn two_votes(who: Ed25519Keyring) -> GrandpaProof {
    let (round, set_id) = (7, Grandpa::current_set_id());
    let vote = |block: u8| {
        let prevote = finality_grandpa::Prevote { target_hash: H256([block; 32]), target_number: 3 };
        let message = finality_grandpa::Message::Prevote(prevote.clone());
        let payload = sp_consensus_grandpa::localized_payload(round, set_id, &message);
        (prevote, who.pair().sign(&payload).into())
    };
    GrandpaProof::new(
        set_id,
        sp_consensus_grandpa::Equivocation::Prevote(finality_grandpa::Equivocation {
            round_number: round,
            identity: who.public().into(),
            first: vote(1),
            second: vote(2),
        }),
    )
}

fn staking_events() -> Vec<pallet_staking::Event<Runtime>> {
    let events = System::events().into_iter().filter_map(|record| match record.event {
        RuntimeEvent::Staking(event) => Some(event),
        _ => None,
    });
    events.collect()
}

fn treasury() -> Balance {
    Balances::free_balance(TreasuryAccount::get()) - MILLI_HIPP
}

/// Of four, one may cheat: (3 / 4)^2 of the stake is lost, a twentieth of that to the author who reported.
const SLASH: Balance = LOCAL_BOND / 16 * 9;

/// Eras between a report and the slash.
fn eras_until_slash() -> u32 {
    match SLASH_DEFER_ERAS {
        0 => 0,
        deferred => deferred + 1,
    }
}

fn slashed(who: Sr25519Keyring) {
    let before = Balances::total_issuance();
    assert_eq!(Session::disabled_validators().len(), 1);
    assert_eq!(validators()[Session::disabled_validators()[0] as usize], account(who));
    until_era(era() + eras_until_slash());
    let slash = LOCAL_BOND - Staking::slashable_balance_of(&account(who));
    assert_close(slash, SLASH);
    assert_close(treasury(), SLASH - SLASH / 20);
    assert_eq!(Balances::total_issuance(), before);
}

#[test]
fn two_blocks_in_a_slot_are_reported_by_a_node_slashed_and_disable_the_author() {
    let mut externalities = chain("local-4");
    let (pool, submitted) = TestTransactionPoolExt::new();
    externalities.register_extension(TransactionPoolExt::new(pool));
    externalities.execute_with(|| {
        until_era(1);
        // Somebody else is the author, and so the reporter.
        while validators()[(blocks::slot() + 1) as usize % 4] == account(Bob) {
            block(1, || ());
        }
        // What the node does when it imports the second block.
        let proof = two_blocks(Bob);
        let owner =
            <Runtime as BabeApi<Block>>::generate_key_ownership_proof(proof.slot, proof.offender.clone())
                .unwrap();
        let report = <Runtime as BabeApi<Block>>::submit_report_equivocation_unsigned_extrinsic(proof, owner);
        assert_eq!(report, Some(()));
        let bytes = submitted.write().transactions.pop().unwrap();
        let transaction = UncheckedExtrinsic::decode(&mut &bytes[..]).unwrap();

        // Only a node itself, or a block, brings one: nobody floods the pools of others with them.
        let validate = |source| {
            with_transaction(|| {
                let answer = Executive::validate_transaction(source, transaction.clone(), Default::default());
                TransactionOutcome::Rollback(Ok::<_, DispatchError>(answer))
            })
            .unwrap()
        };
        assert_eq!(validate(TransactionSource::External), Err(InvalidTransaction::Call.into()));
        assert!(validate(TransactionSource::Local).is_ok());

        let (reporter, events) = block(1, || {
            let author = pallet_authorship::Pallet::<Runtime>::author().unwrap();
            assert_ok!(Executive::apply_extrinsic(transaction.clone()).unwrap());
            (author, staking_events())
        });
        assert!(events.iter().any(|event| matches!(
            event,
            pallet_staking::Event::SlashReported { validator, fraction, .. }
                if *validator == account(Bob) && fraction.deconstruct() == 562_500_000
        )));
        assert!(validate(TransactionSource::Local).is_err(), "known by now");
        let before = Balances::total_balance(&reporter);
        slashed(Bob);
        if eras_until_slash() > 0 {
            assert_close(Balances::total_balance(&reporter) - before, SLASH / 20);
        }
    });
}

#[test]
fn two_votes_in_a_round_are_slashed_and_disable_the_voter() {
    chain("local-4").execute_with(|| {
        until_era(2);
        let owner = Historical::prove((
            sp_consensus_grandpa::KEY_TYPE,
            sp_consensus_grandpa::AuthorityId::from(Ed25519Keyring::Charlie.public()),
        ))
        .unwrap();
        let report = || {
            Grandpa::report_equivocation_unsigned(
                RuntimeOrigin::none(),
                Box::new(two_votes(Ed25519Keyring::Charlie)),
                owner.clone(),
            )
        };
        block(1, || {
            assert_ok!(report());
            assert_eq!(
                report().unwrap_err().error,
                pallet_grandpa::Error::<Runtime>::DuplicateOffenceReport.into()
            );
        });
        slashed(Charlie);
    });
}

#[test]
fn an_offence_of_an_earlier_session_is_still_slashed() {
    chain("local-4").execute_with(|| {
        until_era(1);
        let (proof, owner) = (two_blocks(Dave), babe_owner(Dave));
        session();
        block(1, || {
            assert_ok!(Babe::report_equivocation_unsigned(RuntimeOrigin::none(), Box::new(proof), owner));
        });
        slashed(Dave);
    });
}

#[test]
fn what_proves_nothing_is_refused() {
    chain("local-4").execute_with(|| {
        until_era(1);
        let report = |proof: BabeProof, owner| {
            Babe::report_equivocation_unsigned(RuntimeOrigin::none(), Box::new(proof), owner)
                .map_err(|error| error.error)
        };
        let invalid = || Err(pallet_babe::Error::<Runtime>::InvalidEquivocationProof.into());
        let mut same = two_blocks(Bob);
        same.second_header = same.first_header.clone();
        assert_eq!(report(same, babe_owner(Bob)).map(|_| ()), invalid());
        let mut forged = two_blocks(Bob);
        forged.second_header = sealed(Alice, 1, blocks::slot(), 2);
        assert_eq!(report(forged, babe_owner(Bob)).map(|_| ()), invalid());
        let not_the_owner = report(two_blocks(Bob), babe_owner(Alice)).map(|_| ());
        assert_eq!(not_the_owner, Err(pallet_babe::Error::<Runtime>::InvalidKeyOwnershipProof.into()));
        assert_noop!(
            Babe::report_equivocation_unsigned(
                super::signed(Alice),
                Box::new(two_blocks(Bob)),
                babe_owner(Bob)
            )
            .map_err(|error| error.error),
            DispatchError::BadOrigin
        );
        assert!(OpaqueKeyOwnershipProof::new(vec![1]).decode::<sp_session::MembershipProof>().is_none());
        assert!(Session::disabled_validators().is_empty());
        assert_eq!(Staking::slashable_balance_of(&account(Bob)), LOCAL_BOND);
    });
}

/// With fewer than four, to disable one would leave less than two thirds: nobody is, and the chain goes on.
#[test]
fn a_small_network_survives_an_equivocation() {
    chain("local-1").execute_with(|| {
        until_era(1);
        block(1, || {
            let call = RuntimeCall::from(pallet_babe::Call::report_equivocation_unsigned {
                equivocation_proof: Box::new(two_blocks(Alice)),
                key_owner_proof: babe_owner(Alice),
            });
            assert_ok!(Executive::apply_extrinsic(UncheckedExtrinsic::new_bare(call)).unwrap());
        });
        assert!(Session::disabled_validators().is_empty());
        until_era(era() + eras_until_slash());
        assert!(Staking::slashable_balance_of(&account(Alice)) < MILLI_HIPP);
        assert!(treasury().abs_diff(LOCAL_BOND - LOCAL_BOND / 20) < MILLI_HIPP);
        // Nobody has stake: no election succeeds, and whoever was elected last goes on.
        for _ in 0..3 * SESSIONS_PER_ERA {
            session();
        }
        let (stuck, next) = (era(), era() + 1);
        session();
        assert_eq!(era(), stuck);
        assert_eq!(validators(), [account(Alice)]);
        assert_ok!(Staking::bond_extra(super::signed(Alice), LOCAL_BOND));
        until_era(next);
        assert_eq!(validators(), [account(Alice)]);
    });
}
