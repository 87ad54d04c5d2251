//! Names, indices and types that clients depend on never change: `interface.txt` lists them as the metadata
//! has them.

use arion_pallet_interface::Interface;

use crate::{Call, mock::*};

#[test]
fn names_indices_and_types_are_those_that_were_published() {
    Interface::default()
        .variants::<Call<Test>>("call")
        .variants::<Event>("event")
        .variants::<Error>("error")
        .variants::<crate::HoldReason>("hold")
        .storage(Arion::storage_metadata())
        .constants(Arion::pallet_constants_metadata())
        .assert_published(include_str!("interface.txt"), "pallets/arion/src/tests/interface.txt");
}
