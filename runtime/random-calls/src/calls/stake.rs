//! Staking, session keys and transfers.

use arion_runtime::{Runtime, RuntimeCall, SessionKeys, constants::HIPP};
use codec::Decode;
use pallet_staking::{Call, RewardDestination, ValidatorPrefs};
use sp_runtime::{Perbill, traits::TrailingZeroInput};

use crate::{
    actors::{ACCOUNTS, account},
    script::{Script, Sender},
};

pub(crate) fn call(script: &mut Script) -> (Sender, RuntimeCall) {
    let sender = Sender::Account(script.signer());
    let call: RuntimeCall = match script.byte() % 28 {
        0..2 => Call::<Runtime>::bond { value: script.amount(), payee: payee(script) }.into(),
        2 => Call::<Runtime>::bond_extra { max_additional: script.amount() }.into(),
        3 => Call::<Runtime>::unbond { value: script.amount() }.into(),
        4 => Call::<Runtime>::withdraw_unbonded { num_slashing_spans: script.byte().into() }.into(),
        5 => {
            let commission = Perbill::from_percent(u32::from(script.byte()) % 101);
            Call::<Runtime>::validate { prefs: ValidatorPrefs { commission, blocked: script.rarely(8) } }
                .into()
        }
        6..8 => {
            let targets = (0..script.below(4)).map(|_| account(script.below(6)).into()).collect();
            Call::<Runtime>::nominate { targets }.into()
        }
        8 => Call::<Runtime>::chill {}.into(),
        9 => Call::<Runtime>::set_payee { payee: payee(script) }.into(),
        10..12 => {
            let era = pallet_staking::ActiveEra::<Runtime>::get().map_or(0, |era| era.index);
            let era = era.saturating_sub(u32::from(script.byte() % 4));
            Call::<Runtime>::payout_stakers { validator_stash: account(script.below(4)), era }.into()
        }
        12 => Call::<Runtime>::rebond { value: script.amount() }.into(),
        13 => {
            Call::<Runtime>::reap_stash { stash: script.account(), num_slashing_spans: script.byte().into() }
                .into()
        }
        14 => Call::<Runtime>::kick { who: (0..script.below(4)).map(|_| script.account().into()).collect() }
            .into(),
        15 => Call::<Runtime>::chill_other { stash: script.account() }.into(),
        16 => {
            let bytes = script.bytes(32);
            match SessionKeys::decode(&mut TrailingZeroInput::new(&bytes)) {
                Ok(keys) => {
                    pallet_session::Call::<Runtime>::set_keys { keys, proof: script.bytes(64) }.into()
                }
                Err(_) => pallet_session::Call::<Runtime>::purge_keys {}.into(),
            }
        }
        17 => pallet_session::Call::<Runtime>::purge_keys {}.into(),
        18 => pallet_bags_list::Call::<Runtime>::rebag { dislocated: script.account().into() }.into(),
        19 => pallet_bags_list::Call::<Runtime>::put_in_front_of { lighter: script.account().into() }.into(),
        20..24 => {
            let (dest, value) = (script.account().into(), script.amount());
            pallet_balances::Call::<Runtime>::transfer_allow_death { dest, value }.into()
        }
        24 => {
            // Revenue, so that eras have something to pay.
            let value = u128::from(script.byte()) * HIPP;
            pallet_balances::Call::<Runtime>::transfer_keep_alive { dest: account(15).into(), value }.into()
        }
        25 => {
            let (dest, keep_alive) = (script.account().into(), script.flag());
            pallet_balances::Call::<Runtime>::transfer_all { dest, keep_alive }.into()
        }
        26 => {
            let (value, keep_alive) = (script.amount(), script.flag());
            pallet_balances::Call::<Runtime>::burn { value, keep_alive }.into()
        }
        _ => {
            let controller = account(script.below(ACCOUNTS));
            Call::<Runtime>::update_payee { controller }.into()
        }
    };
    (sender, call)
}

fn payee(script: &mut Script) -> RewardDestination<arion_runtime::AccountId> {
    match script.byte() % 4 {
        0 => RewardDestination::Staked,
        1 => RewardDestination::Stash,
        2 => RewardDestination::Account(script.account()),
        _ => RewardDestination::None,
    }
}
