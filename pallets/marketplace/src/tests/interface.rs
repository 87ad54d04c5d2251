//! Names, indices and types that clients depend on never change: `interface.txt` lists them as the metadata
//! has them.

use arion_pallet_interface::Interface;
use codec::Encode;
use frame_support::traits::Hooks;

use crate::{Call, mock::*};

#[test]
fn names_indices_and_types_are_those_that_were_published() {
    Interface::default()
        .variants::<Call<Test>>("call")
        .variants::<Event>("event")
        .variants::<Error>("error")
        .storage(Marketplace::storage_metadata())
        .constants(Marketplace::pallet_constants_metadata())
        .assert_published(include_str!("interface.txt"), "pallets/marketplace/src/tests/interface.txt");
}

#[test]
fn calls_have_the_bytes_of_the_specification() {
    let call = Call::<Test>::set_credit_price { price: 1 };
    assert_eq!(call.encode(), [&[0, 1][..], &[0; 15]].concat());
    let call = Call::<Test>::claim { account: account(5) };
    assert_eq!(call.encode(), [&[23][..], &[5; 32]].concat());
    let call = Call::<Test>::resolve_dispute { request: 0x0102, pay: true };
    assert_eq!(call.encode(), [20, 2, 1, 0, 0, 0, 0, 0, 0, 1]);
}

#[test]
fn the_sum_of_the_shares_is_checked_before_a_chain_is_built() {
    story(|| {
        Marketplace::integrity_test();
        assert_eq!(Marketplace::split(1_000).miners, 600);
    });
}
