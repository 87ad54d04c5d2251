//! Stats for people to look at: nothing on chain goes by them, so the last word counts.

use arion_types::NetworkTotals;
use frame_support::{ensure, pallet_prelude::*};

use crate::{
    Config, Error, Event, MinerStats, MinerStatsRecord, NetworkStats, NetworkStatsRecord, Pallet,
    StatsUpdatesOf,
};

impl<T: Config> Pallet<T> {
    pub(crate) fn do_submit_miner_stats(
        bucket: u32,
        updates: StatsUpdatesOf<T>,
        network_totals: Option<NetworkTotals>,
    ) -> DispatchResult {
        Self::ensure_open(bucket)?;
        ensure!(!updates.is_empty() || network_totals.is_some(), Error::<T>::EmptyReport);
        ensure!(
            updates.windows(2).all(|pair| pair[0].child < pair[1].child),
            Error::<T>::UpdatesNotSortedOrNotUnique
        );
        let mut taken: u32 = 0;
        for update in updates {
            if !Self::is_active(&update.child) {
                continue;
            }
            MinerStats::<T>::insert(
                &update.child,
                MinerStatsRecord {
                    bucket,
                    shard_count: update.shard_count,
                    shard_data_bytes: update.shard_data_bytes,
                    last_seen_ms: update.last_seen_ms,
                },
            );
            taken = taken.saturating_add(1);
        }
        if let Some(totals) = network_totals {
            NetworkStats::<T>::put(NetworkStatsRecord { bucket, totals });
        }
        Self::deposit_event(Event::MinerStatsUpdated { bucket, updates: taken });
        Ok(())
    }
}
