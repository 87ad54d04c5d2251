//! What clients depend on: names, arguments and indices, as `interface.txt` lists them.

use codec::Encode;
use frame_support::traits::Hooks;
use scale_info::{TypeDef, TypeInfo};

use crate::{mock::*, types::*};

const COMMITTED: &str = include_str!("interface.txt");

/// One line per variant of an enum: kind, index, name and fields.
fn variants<E: TypeInfo>(kind: &str) -> Vec<String> {
    let TypeDef::Variant(variants) = E::type_info().type_def else { panic!("{kind} is an enum") };
    variants
        .variants
        .iter()
        .map(|variant| {
            let fields: Vec<_> = variant.fields.iter().filter_map(|field| field.name).collect();
            format!("{kind} {} {}({})", variant.index, variant.name, fields.join(", "))
        })
        .collect()
}

#[test]
fn the_interface_is_the_committed_one() {
    let mut lines = variants::<crate::Call<Test>>("call");
    lines.extend(variants::<crate::Event<Test>>("event"));
    lines.extend(variants::<Error>("error"));
    lines.extend(variants::<PaymentMethod>("PaymentMethod"));
    lines.extend(variants::<AgreementStatus<u64>>("AgreementStatus"));
    lines.extend(variants::<SkipReason>("SkipReason"));
    lines.extend(variants::<ServiceKind>("ServiceKind"));
    lines.extend(variants::<RequestStatus>("RequestStatus"));
    lines.extend(variants::<RefundReason>("RefundReason"));
    lines.extend(variants::<Vote>("Vote"));
    let storage = crate::Pallet::<Test>::storage_metadata();
    lines.extend(storage.entries.iter().map(|entry| format!("storage {}", entry.name)));
    let constants = crate::Pallet::<Test>::pallet_constants_metadata();
    lines.extend(constants.iter().map(|constant| format!("constant {}", constant.name)));
    let found = lines.join("\n") + "\n";
    assert!(found == COMMITTED, "the interface changed; it is now:\n{found}");
}

/// Everything is explained in the metadata: calls, events, errors, storage and constants.
#[test]
fn everything_is_documented() {
    fn documented<E: TypeInfo>() {
        let TypeDef::Variant(variants) = E::type_info().type_def else { panic!("an enum") };
        for variant in variants.variants {
            assert!(!variant.docs.is_empty(), "{}", variant.name);
        }
    }
    documented::<crate::Call<Test>>();
    documented::<crate::Event<Test>>();
    documented::<Error>();
    for entry in crate::Pallet::<Test>::storage_metadata().entries {
        assert!(!entry.docs.is_empty(), "{}", entry.name);
    }
    for constant in crate::Pallet::<Test>::pallet_constants_metadata() {
        let given = constant.name == "PalletId" || !constant.docs.is_empty();
        assert!(given, "{}", constant.name);
    }
}

#[test]
fn calls_have_the_bytes_of_the_specification() {
    let call = crate::Call::<Test>::set_credit_price { price: 1 };
    assert_eq!(call.encode(), [&[0, 1][..], &[0; 15]].concat());
    let call = crate::Call::<Test>::claim { account: account(5) };
    assert_eq!(call.encode(), [&[23][..], &[5; 32]].concat());
    let call = crate::Call::<Test>::resolve_dispute { request: 0x0102, pay: true };
    assert_eq!(call.encode(), [20, 2, 1, 0, 0, 0, 0, 0, 0, 1]);
}

#[test]
fn the_sum_of_the_shares_is_checked_before_a_chain_is_built() {
    story(|| {
        Marketplace::integrity_test();
        assert_eq!(Marketplace::split(1_000).miners, 600);
    });
}
