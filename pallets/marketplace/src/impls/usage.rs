//! Usage that gateways commit together with the roots of their ledgers.

use frame_support::{ensure, pallet_prelude::*};

use crate::{
    Agreements, BilledBytes, Config, Error, Event, LedgerAnchors, Ledgers, Pallet, UpdatesOf,
    types::{GatewayLedger, LedgerAnchor, SkipReason, UsageUpdate},
};

impl<T: Config> Pallet<T> {
    pub(crate) fn do_commit_usage(
        gateway: [u8; 32],
        sequence: u64,
        root: [u8; 32],
        bytes: u64,
        updates: UpdatesOf<T>,
    ) -> DispatchResult {
        let ledger = Ledgers::<T>::get(gateway);
        let commits = ledger.map_or(0, |ledger| ledger.commits);
        if let Some(ledger) = ledger {
            ensure!(sequence > ledger.anchor.sequence, Error::<T>::SequenceNotIncreasing);
        }
        ensure!(
            updates.windows(2).all(|pair| pair[0].account < pair[1].account),
            Error::<T>::UpdatesNotSorted
        );
        let (mut applied, mut skipped) = (0, 0);
        for update in updates {
            match Self::apply(&gateway, &update) {
                Ok(()) => applied += 1,
                Err(reason) => {
                    skipped += 1;
                    let UsageUpdate { account, bytes } = update;
                    Self::deposit_event(Event::UsageSkipped { account, gateway, bytes, reason });
                }
            }
        }
        ensure!(BilledBytes::<T>::get(gateway) <= bytes.into(), Error::<T>::BilledMoreThanAnchored);

        let anchored_at = frame_system::Pallet::<T>::block_number();
        let anchor = LedgerAnchor { sequence, root, bytes, anchored_at };
        LedgerAnchors::<T>::insert(gateway, Self::anchor_place(commits), anchor);
        Ledgers::<T>::insert(gateway, GatewayLedger { anchor, commits: commits.saturating_add(1) });
        Self::deposit_event(Event::LedgerAnchored { gateway, sequence, root, bytes, applied, skipped });
        Ok(())
    }

    /// Where the commitment after `commits` others is kept.
    pub(crate) fn anchor_place(commits: u64) -> u32 {
        let kept = u64::from(T::LedgerAnchorsKept::get().max(1));
        (commits % kept) as u32
    }

    /// Sets what an account stores at a gateway, from now on.
    fn apply(gateway: &[u8; 32], update: &UsageUpdate<T::AccountId>) -> Result<(), SkipReason> {
        // Up to now it was what it was before.
        let mut agreement = Self::touch(&update.account).ok().flatten().ok_or(SkipReason::NotAuthorized)?;
        let takes_writes = agreement.status.takes_writes();
        let usage = agreement
            .gateways
            .iter_mut()
            .find(|usage| usage.gateway == *gateway)
            .ok_or(SkipReason::NotAuthorized)?;
        let before = usage.bytes;
        if update.bytes == before {
            return Ok(());
        }
        if update.bytes > before {
            ensure!(takes_writes, SkipReason::Suspended);
            ensure!(update.bytes <= usage.bytes_max, SkipReason::OverLimit);
        }
        usage.bytes = update.bytes;
        // The limits of an agreement, and so its bytes, add up to no more than a u64.
        agreement.bytes = agreement.bytes.saturating_sub(before).saturating_add(update.bytes);
        Agreements::<T>::insert(&update.account, agreement);
        Self::bill(gateway, before, update.bytes);
        Self::deposit_event(Event::UsageChanged {
            account: update.account.clone(),
            gateway: *gateway,
            bytes: update.bytes,
        });
        Ok(())
    }
}
