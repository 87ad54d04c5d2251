//! Miners that are away for a while and said so before.

use frame_support::{ensure, pallet_prelude::*, sp_runtime::Saturating};
use frame_system::pallet_prelude::BlockNumberFor;

use crate::{ChildRegistrations, ChildStatus, Config, Error, Event, Maintenance, Maintenances, Pallet};

impl<T: Config> Pallet<T> {
    pub(crate) fn do_announce_maintenance(
        who: T::AccountId,
        child: T::AccountId,
        from: BlockNumberFor<T>,
        until: BlockNumberFor<T>,
    ) -> DispatchResult {
        let record = ChildRegistrations::<T>::get(&child).ok_or(Error::<T>::ChildNotRegistered)?;
        ensure!(who == child || who == record.family, Error::<T>::NotFamily);
        ensure!(record.status == ChildStatus::Active, Error::<T>::ChildNotActive);
        let now = frame_system::Pallet::<T>::block_number();
        let earliest = now.saturating_add(T::MaintenanceNoticeBlocks::get());
        ensure!(from >= earliest && until > from, Error::<T>::MaintenanceTooSoon);

        let before = Maintenances::<T>::get(&child);
        ensure!(before.is_none_or(|before| before.until <= now), Error::<T>::MaintenanceNotOver);
        let of_period = before
            .filter(|before| from < before.period_start.saturating_add(T::MaintenancePeriodBlocks::get()));
        let (period_start, announced) =
            of_period.map_or((from, Default::default()), |before| (before.period_start, before.announced));
        let announced = until.saturating_sub(from).saturating_add(announced);
        ensure!(announced <= T::MaintenanceBlocksMax::get(), Error::<T>::MaintenanceTooLong);

        Maintenances::<T>::insert(&child, Maintenance { from, until, period_start, announced });
        Self::deposit_event(Event::MaintenanceAnnounced { child, from, until });
        Ok(())
    }
}
