//! Names, indices and types that clients depend on never change: `interface.txt` lists them as the metadata
//! has them.

use arion_pallet_interface::Interface;

use crate::{Call, Error, Event, mock::*};

#[test]
fn names_indices_and_types_are_those_that_were_published() {
    Interface::default()
        .variants::<Call<Test>>("call")
        .variants::<Event<Test>>("event")
        .variants::<Error<Test>>("error")
        .variants::<crate::HoldReason>("hold")
        .storage(Snapshots::storage_metadata())
        .constants(Snapshots::pallet_constants_metadata())
        .assert_published(include_str!("interface.txt"), "pallets/snapshots/src/tests/interface.txt");
}
