//! What clients decode without the metadata has the bytes of their vectors.

use codec::Encode;
use sp_core::ConstU32;

use crate::types::{
    Agreement, AgreementStatus, AgreementView, CreditBalance, GatewayLedger, GatewayUsage, LedgerAnchor,
    Prices,
};

/// The chain client reads the same file: `crates/arion-chain/src/marketplace.rs`.
#[test]
fn answers_have_the_bytes_that_clients_expect() {
    let vectors = include_str!("../../../../crates/arion-chain/vectors/marketplace.json");
    let usage = GatewayUsage { gateway: [2; 32], bytes: 3, bytes_max: 4 };
    let status = AgreementStatus::DeletionNotice { until: 1u32 };
    let agreement = AgreementView {
        status,
        takes_writes: false,
        bytes: 5,
        gateways: vec![usage],
        charged: 6,
        debt: 7,
        opened_at: 8,
    };
    let stored = Agreement::<u32, ConstU32<4>> {
        opened_at: 8,
        gateways: vec![usage].try_into().unwrap(),
        bytes: 5,
        index: 10,
        remainder: 11,
        charged: 6,
        debt: 7,
        accrued_at: 12,
        status,
    };
    let anchor = LedgerAnchor { sequence: 1, root: [2; 32], bytes: 3, anchored_at: 4u32 };
    for (name, bytes) in [
        ("agreement", Some(agreement).encode()),
        ("balance", CreditBalance { available: 1, granted: 2, bought: 3, backing: 4, debt: 5 }.encode()),
        ("prices", Prices { credit: 1, storage: 2 }.encode()),
        ("burn_down", Some(9u32).encode()),
        ("stored_agreement", stored.encode()),
        ("ledger", GatewayLedger { anchor, commits: 5 }.encode()),
    ] {
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(vectors.contains(&format!("\"{name}\": \"{digits}\"")), "{name} is {digits}");
    }
}
