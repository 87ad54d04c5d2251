//! Accounts of the system that a genesis keeps alive for good.

use frame_support::{
    defensive,
    traits::{
        OnRuntimeUpgrade, TypedGet,
        fungible::{Inspect, Mutate},
    },
    weights::Weight,
};

use crate::{
    AccountId, Balances, Runtime,
    rewards::{EraRewardsAccount, StakersPotAccount, TreasuryAccount},
};

/// Gives each account of rewards and treasury its existential deposit, unless it has that much. Issues up to three
/// deposits.
pub struct EndowSystemAccounts;

fn accounts() -> [AccountId; 3] {
    [StakersPotAccount::get(), EraRewardsAccount::get(), TreasuryAccount::get()]
}

impl OnRuntimeUpgrade for EndowSystemAccounts {
    fn on_runtime_upgrade() -> Weight {
        let deposit = Balances::minimum_balance();
        let mut endowed = 0;
        for account in accounts() {
            let missing = deposit.saturating_sub(Balances::total_balance(&account));
            if missing > 0 {
                endowed += 1;
                if let Err(error) = Balances::mint_into(&account, missing) {
                    defensive!("an account of the system gets its existential deposit", error);
                }
            }
        }
        // The account and the issuance.
        <Runtime as frame_system::Config>::DbWeight::get().reads_writes(3, 2 * endowed)
    }

    #[cfg(feature = "try-runtime")]
    fn post_upgrade(_: alloc::vec::Vec<u8>) -> Result<(), sp_runtime::TryRuntimeError> {
        for account in accounts() {
            frame_support::ensure!(
                Balances::total_balance(&account) >= Balances::minimum_balance(),
                "an account of the system is not kept alive"
            );
        }
        Ok(())
    }
}
