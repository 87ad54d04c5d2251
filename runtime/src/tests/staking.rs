//! Who is a validator, and how one becomes it.

use codec::Encode;
use frame_support::{assert_noop, assert_ok, traits::EnsureOrigin};
use pallet_staking::{RewardDestination, ValidatorPrefs};
use sp_keyring::Sr25519Keyring::{self, Alice, Bob, Charlie, Dave, Eve, Ferdie};
use sp_keystore::{KeystoreExt, testing::MemoryKeystore};

use super::{
    account, assert_close,
    blocks::{self, era, session, until_era},
    chain, signed, validators,
};
use crate::{
    AccountId, Babe, Balances, Grandpa, Runtime, RuntimeOrigin, Session, SessionKeys, Staking, VoterList,
    constants::{HIPP, SESSIONS_PER_ERA},
    genesis::{LOCAL_BOND, NOMINATOR_BOND_MIN, VALIDATOR_BOND_MIN},
    origins::EnsureValidatorSet,
};

type Error = pallet_staking::Error<Runtime>;

fn sorted(mut accounts: Vec<AccountId>) -> Vec<AccountId> {
    accounts.sort();
    accounts
}

fn accounts(who: &[Sr25519Keyring]) -> Vec<AccountId> {
    sorted(who.iter().map(|who| account(*who)).collect())
}

fn is_validator(who: Sr25519Keyring) -> bool {
    EnsureValidatorSet::try_origin(signed(who)).is_ok()
}

/// New session keys of `who`, as `author_rotateKeysWithOwner` of a node makes them.
fn set_new_keys(who: Sr25519Keyring) {
    let generated = SessionKeys::generate(&account(who).encode(), None);
    assert_ok!(Session::set_keys(signed(who), generated.keys, generated.proof.encode()));
}

#[test]
fn the_stakers_of_genesis_validate_from_the_first_block_and_stay() {
    for (preset, expected) in [
        ("development", &[Alice][..]),
        ("local-1", &[Alice]),
        ("local-2", &[Alice, Bob]),
        ("local-3", &[Alice, Bob, Charlie]),
        ("local-4", &[Alice, Bob, Charlie, Dave]),
    ] {
        chain(preset).execute_with(|| {
            for wanted in 0..3 {
                until_era(wanted);
                assert_eq!(sorted(validators()), accounts(expected), "{preset}, era {wanted}");
                let stakers = pallet_staking::Validators::<Runtime>::iter_keys().collect();
                assert_eq!(sorted(stakers), accounts(expected));
                assert_eq!(Babe::authorities().len(), expected.len());
                assert_eq!(Grandpa::grandpa_authorities().len(), expected.len());
                for who in expected {
                    let exposure = Staking::eras_stakers(era(), &account(*who));
                    assert_close(exposure.own, LOCAL_BOND);
                    assert_eq!(exposure.own, exposure.total);
                }
            }
        });
    }
}

#[test]
fn an_era_has_its_sessions() {
    chain("local-2").execute_with(|| {
        let mut sessions = 0;
        while era() == 0 {
            session();
            sessions += 1;
        }
        // The first block begins session 0.
        assert_eq!(sessions, SESSIONS_PER_ERA + 1);
        for _ in 0..SESSIONS_PER_ERA {
            assert_eq!(era(), 1);
            session();
        }
        assert_eq!(era(), 2);
    });
}

#[test]
fn a_validator_joins_through_staking_and_leaves_again() {
    let mut externalities = chain("local-4");
    externalities.register_extension(KeystoreExt::new(MemoryKeystore::new()));
    externalities.execute_with(|| {
        session();
        // The keys of another account prove nothing.
        let generated = SessionKeys::generate(&account(Ferdie).encode(), None);
        assert_noop!(
            Session::set_keys(signed(Eve), generated.keys, generated.proof.encode()),
            pallet_session::Error::<Runtime>::InvalidProof
        );
        let free = Balances::free_balance(account(Eve));
        set_new_keys(Eve);
        assert_eq!(Balances::free_balance(account(Eve)), free - HIPP);

        assert_noop!(Staking::validate(signed(Eve), ValidatorPrefs::default()), Error::NotController);
        assert_ok!(Staking::bond(signed(Eve), VALIDATOR_BOND_MIN - 1, RewardDestination::Stash));
        assert_noop!(Staking::validate(signed(Eve), ValidatorPrefs::default()), Error::InsufficientBond);
        assert_ok!(Staking::bond_extra(signed(Eve), 1));
        assert_ok!(Staking::validate(signed(Eve), ValidatorPrefs::default()));

        until_era(1);
        assert!(is_validator(Eve));
        assert_eq!(sorted(validators()), accounts(&[Alice, Bob, Charlie, Dave, Eve]));
        assert_eq!(Babe::authorities().len(), 5);
        assert_eq!(Grandpa::grandpa_authorities().len(), 5);

        assert_ok!(Staking::chill(signed(Bob)));
        assert!(is_validator(Bob), "until the era is over");
        until_era(2);
        assert!(!is_validator(Bob));
        assert_eq!(sorted(validators()), accounts(&[Alice, Charlie, Dave, Eve]));
    });
}

/// Who may vote for maps follows the session, not the election.
#[test]
fn validators_without_session_keys_are_elected_but_do_not_validate() {
    chain("local-2").execute_with(|| {
        session();
        assert_ok!(Staking::bond(signed(Eve), LOCAL_BOND, RewardDestination::Stash));
        assert_ok!(Staking::validate(signed(Eve), ValidatorPrefs::default()));
        assert!(!is_validator(Eve));
        until_era(2);
        assert!(!is_validator(Eve));
        assert_eq!(sorted(validators()), accounts(&[Alice, Bob]));
        assert!(EnsureValidatorSet::try_origin(RuntimeOrigin::root()).is_err());
        assert!(EnsureValidatorSet::try_origin(RuntimeOrigin::none()).is_err());
    });
}

#[test]
fn nominations_decide_who_gets_the_last_seat() {
    chain("local-3").execute_with(|| {
        session();
        assert_ok!(Staking::set_validator_count(RuntimeOrigin::root(), 1));
        for (nominator, stake, validator) in [(Eve, 1_000, Charlie), (Ferdie, 2_000, Bob)] {
            assert_ok!(Staking::bond(signed(nominator), stake * HIPP, RewardDestination::Stash));
            assert_ok!(Staking::nominate(signed(nominator), vec![account(validator).into()]));
        }
        until_era(1);
        assert_eq!(validators(), [account(Bob)]);
        let exposure = Staking::eras_stakers(era(), &account(Bob));
        assert_close(exposure.own, LOCAL_BOND);
        assert_close(exposure.total - exposure.own, 2_000 * HIPP);

        assert_ok!(Staking::bond_extra(signed(Eve), 2_000 * HIPP));
        until_era(2);
        assert_eq!(validators(), [account(Charlie)]);
    });
}

#[test]
fn small_stakers_are_refused() {
    chain("local-1").execute_with(|| {
        session();
        assert_ok!(Staking::bond(signed(Eve), NOMINATOR_BOND_MIN - 1, RewardDestination::Stash));
        assert_noop!(Staking::nominate(signed(Eve), vec![account(Alice).into()]), Error::InsufficientBond);
        assert_ok!(Staking::bond_extra(signed(Eve), 1));
        assert_ok!(Staking::nominate(signed(Eve), vec![account(Alice).into()]));
    });
}

/// An election that counts a bounded number of votes takes them from the top of this list.
#[test]
fn voters_are_listed_by_stake() {
    use frame_election_provider_support::SortedListProvider;
    chain("local-1").execute_with(|| {
        session();
        for (nominator, stake) in [(Bob, 20), (Charlie, 900_000), (Dave, 4_000), (Eve, 50)] {
            assert_ok!(Staking::bond(signed(nominator), stake * HIPP, RewardDestination::Stash));
            assert_ok!(Staking::nominate(signed(nominator), vec![account(Alice).into()]));
        }
        let listed: Vec<_> = VoterList::iter().collect();
        assert_eq!(listed, [Charlie, Alice, Dave, Eve, Bob].map(account));
        assert_ok!(Staking::bond_extra(signed(Bob), 1_000_000 * HIPP));
        assert_eq!(VoterList::iter().next(), Some(account(Bob)));
    });
}

#[test]
fn the_set_is_never_empty() {
    chain("local-2").execute_with(|| {
        session();
        for who in [Alice, Bob] {
            assert_ok!(Staking::chill(signed(who)));
        }
        for _ in 0..3 * SESSIONS_PER_ERA {
            blocks::session();
            assert_eq!(sorted(validators()), accounts(&[Alice, Bob]));
        }
        assert_ok!(Staking::validate(signed(Bob), ValidatorPrefs::default()));
        for _ in 0..=SESSIONS_PER_ERA {
            session();
        }
        assert_eq!(validators(), [account(Bob)]);
    });
}

#[test]
fn only_who_votes_is_in_the_list_of_voters() {
    use frame_election_provider_support::SortedListProvider;
    chain("local-2").execute_with(|| {
        let unknown = pallet_bags_list::Error::<Runtime>::List(pallet_bags_list::ListError::NodeNotFound);
        let rebag = || VoterList::rebag(signed(Ferdie), account(Eve).into());
        assert_ok!(Staking::bond(signed(Eve), 1_000 * HIPP, RewardDestination::Staked));
        assert_noop!(rebag(), unknown);
        assert_ok!(Staking::nominate(signed(Eve), vec![account(Alice).into()]));
        assert!(VoterList::contains(&account(Eve)));
        assert_ok!(rebag());
        assert_ok!(Staking::chill(signed(Eve)));
        assert!(!VoterList::contains(&account(Eve)));
    });
}
