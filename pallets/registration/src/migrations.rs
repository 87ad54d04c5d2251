//! Storage of earlier versions.
//!
//! In version 1 a node had its owner's lane, whatever it did; from version 2 on it has the lane of its type.

use core::marker::PhantomData;
use frame_support::{migrations::VersionedMigration, traits::UncheckedOnRuntimeUpgrade, weights::Weight};

use crate::{Config, NodeRecord, Nodes, Pallet, WeightInfo, pallet::NodeRecordOf};

/// From version 1 to version 2; does nothing on any other version.
pub type MigrateV1ToV2<T> =
    VersionedMigration<1, 2, V1ToV2<T>, Pallet<T>, <T as frame_system::Config>::DbWeight>;

/// The steps of [`MigrateV1ToV2`], without the check of the version.
pub struct V1ToV2<T>(PhantomData<T>);

impl<T: Config> UncheckedOnRuntimeUpgrade for V1ToV2<T> {
    /// Puts every node into the lane of its type: `MaxNodesPerOwner` of `MaxOwners` owners at most.
    fn on_runtime_upgrade() -> Weight {
        let mut nodes: u32 = 0;
        Nodes::<T>::translate_values(|record: NodeRecordOf<T>| {
            nodes = nodes.saturating_add(1);
            Some(NodeRecord { lane: record.node_type.lane(), ..record })
        });
        T::WeightInfo::migrate_v1_to_v2(nodes)
    }

    #[cfg(feature = "try-runtime")]
    fn post_upgrade(_: alloc::vec::Vec<u8>) -> Result<(), sp_runtime::TryRuntimeError> {
        Pallet::<T>::do_try_state()
    }
}
