//! Cost of the calls of `pallet_marketplace`, and of what blocks do by themselves.
//!
//! Written by `./scripts/bench weights` from what `benchmarking.rs` measures; changes by hand are lost. Measured in
//! wasm by frame-benchmarking-cli 64.0.0 (frame-omni-bencher) on 2026-11-21, on a shared machine with AMD EPYC:
//! 20 steps, 10 repetitions. Times are least squares over the middle half of the repetitions;
//! accesses to storage are counted, and cost what the runtime's `DbWeight` says. Proof sizes assume the longest value
//! of every item with a bound, in maps of 1000000 entries.

#![cfg_attr(rustfmt, rustfmt_skip)]

use core::marker::PhantomData;
use frame_support::{
    traits::Get,
    weights::{RuntimeDbWeight, Weight, constants::ParityDbWeight},
};

/// Cost of each call and of each hook.
pub trait WeightInfo {
    /// Of `set_credit_price`.
    fn set_credit_price() -> Weight;
    /// Of `set_storage_price`.
    fn set_storage_price() -> Weight;
    /// Of `set_service`.
    fn set_service() -> Weight;
    /// Of `add_payment_authority`.
    fn add_payment_authority() -> Weight;
    /// Of `remove_payment_authority`.
    fn remove_payment_authority() -> Weight;
    /// Of `buy_credits`.
    fn buy_credits() -> Weight;
    /// Of `refund_credits`.
    fn refund_credits() -> Weight;
    /// Of `credit_payment`.
    fn credit_payment() -> Weight;
    /// Of `refund_payment`.
    fn refund_payment() -> Weight;
    /// Of `authorize_gateway`.
    fn authorize_gateway() -> Weight;
    /// Of `revoke_gateway`.
    fn revoke_gateway() -> Weight;
    /// Of `drop_gateway`.
    fn drop_gateway() -> Weight;
    /// Of `commit_usage`; `u` was measured from 0 to 500.
    fn commit_usage(u: u32) -> Weight;
    /// Of `poke`.
    fn poke() -> Weight;
    /// Of `request_service`.
    fn request_service() -> Weight;
    /// Of `assign_miner`.
    fn assign_miner() -> Weight;
    /// Of `accept_request`.
    fn accept_request() -> Weight;
    /// Of `report_delivery`.
    fn report_delivery() -> Weight;
    /// Of `confirm_delivery`.
    fn confirm_delivery() -> Weight;
    /// Of `dispute_delivery`.
    fn dispute_delivery() -> Weight;
    /// Of `resolve_dispute`.
    fn resolve_dispute() -> Weight;
    /// Of `cancel_request`.
    fn cancel_request() -> Weight;
    /// Of `poke_request`.
    fn poke_request() -> Weight;
    /// Of `claim`.
    fn claim() -> Weight;
    /// Of `settlement_check`.
    fn settlement_check() -> Weight;
    /// Of `settle`; `f` was measured from 0 to 256.
    fn settle(f: u32) -> Weight;
    /// Of `sweep_agreements`; `n` was measured from 0 to 16.
    fn sweep_agreements(n: u32) -> Weight;
    /// Of `sweep_requests`; `n` was measured from 0 to 8.
    fn sweep_requests(n: u32) -> Weight;
    /// Of `endow_account`.
    fn endow_account() -> Weight;
}

/// What was measured, with accesses to storage at the price of `Db`.
pub struct Measured<Db>(PhantomData<Db>);

/// What was measured, for a runtime.
pub type SubstrateWeight<T> = Measured<<T as frame_system::Config>::DbWeight>;

impl<Db: Get<RuntimeDbWeight>> WeightInfo for Measured<Db> {
    // Storage: `Marketplace::CreditPrice` (r:0 w:1)
    // Proof: `Marketplace::CreditPrice` (`max_values`: Some(1), `max_size`: Some(16), added: 511, mode: `MaxEncodedLen`)
    // Proof measured: 0 bytes.
    // Least time: 13_204_000 ps.
    fn set_credit_price() -> Weight {
        Weight::from_parts(14_528_000, 0)
            .saturating_add(Db::get().writes(1))
    }

    // Storage: `Marketplace::StoragePrice` (r:1 w:1)
    // Proof: `Marketplace::StoragePrice` (`max_values`: Some(1), `max_size`: Some(36), added: 531, mode: `MaxEncodedLen`)
    // Proof measured: 134 bytes.
    // Least time: 21_991_000 ps.
    fn set_storage_price() -> Weight {
        Weight::from_parts(24_186_000, 1_521)
            .saturating_add(Db::get().reads(1))
            .saturating_add(Db::get().writes(1))
    }

    // Storage: `Marketplace::Services` (r:0 w:1)
    // Proof: `Marketplace::Services` (`max_values`: None, `max_size`: Some(64), added: 2539, mode: `MaxEncodedLen`)
    // Proof measured: 0 bytes.
    // Least time: 18_374_000 ps.
    fn set_service() -> Weight {
        Weight::from_parts(20_819_000, 0)
            .saturating_add(Db::get().writes(1))
    }

    // Storage: `Marketplace::PaymentAuthorities` (r:1 w:1)
    // Proof: `Marketplace::PaymentAuthorities` (`max_values`: None, `max_size`: Some(48), added: 2523, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::CounterForPaymentAuthorities` (r:1 w:1)
    // Proof: `Marketplace::CounterForPaymentAuthorities` (`max_values`: Some(1), `max_size`: Some(4), added: 499, mode: `MaxEncodedLen`)
    // Proof measured: 387 bytes.
    // Least time: 34_484_000 ps.
    fn add_payment_authority() -> Weight {
        Weight::from_parts(39_083_000, 3_513)
            .saturating_add(Db::get().reads(2))
            .saturating_add(Db::get().writes(2))
    }

    // Storage: `Marketplace::PaymentAuthorities` (r:1 w:1)
    // Proof: `Marketplace::PaymentAuthorities` (`max_values`: None, `max_size`: Some(48), added: 2523, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::CounterForPaymentAuthorities` (r:1 w:1)
    // Proof: `Marketplace::CounterForPaymentAuthorities` (`max_values`: Some(1), `max_size`: Some(4), added: 499, mode: `MaxEncodedLen`)
    // Proof measured: 440 bytes.
    // Least time: 31_028_000 ps.
    fn remove_payment_authority() -> Weight {
        Weight::from_parts(34_023_000, 3_513)
            .saturating_add(Db::get().reads(2))
            .saturating_add(Db::get().writes(2))
    }

    // Storage: `Marketplace::CreditPrice` (r:1 w:0)
    // Proof: `Marketplace::CreditPrice` (`max_values`: Some(1), `max_size`: Some(16), added: 511, mode: `MaxEncodedLen`)
    // Storage: `System::Account` (r:1 w:1)
    // Proof: `System::Account` (`max_values`: None, `max_size`: Some(128), added: 2603, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::Agreements` (r:1 w:1)
    // Proof: `Marketplace::Agreements` (`max_values`: None, `max_size`: Some(318), added: 2793, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::StoragePrice` (r:1 w:0)
    // Proof: `Marketplace::StoragePrice` (`max_values`: Some(1), `max_size`: Some(36), added: 531, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::Credits` (r:1 w:1)
    // Proof: `Marketplace::Credits` (`max_values`: None, `max_size`: Some(144), added: 2619, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::PeriodRevenue` (r:1 w:1)
    // Proof: `Marketplace::PeriodRevenue` (`max_values`: Some(1), `max_size`: Some(100), added: 595, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::BilledBytes` (r:4 w:4)
    // Proof: `Marketplace::BilledBytes` (`max_values`: None, `max_size`: Some(64), added: 2539, mode: `MaxEncodedLen`)
    // Proof measured: 1098 bytes.
    // Least time: 175_859_000 ps.
    fn buy_credits() -> Weight {
        Weight::from_parts(182_211_000, 11_146)
            .saturating_add(Db::get().reads(10))
            .saturating_add(Db::get().writes(8))
    }

    // Storage: `Marketplace::Agreements` (r:1 w:1)
    // Proof: `Marketplace::Agreements` (`max_values`: None, `max_size`: Some(318), added: 2793, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::StoragePrice` (r:1 w:0)
    // Proof: `Marketplace::StoragePrice` (`max_values`: Some(1), `max_size`: Some(36), added: 531, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::Credits` (r:1 w:1)
    // Proof: `Marketplace::Credits` (`max_values`: None, `max_size`: Some(144), added: 2619, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::PeriodRevenue` (r:1 w:1)
    // Proof: `Marketplace::PeriodRevenue` (`max_values`: Some(1), `max_size`: Some(100), added: 595, mode: `MaxEncodedLen`)
    // Storage: `System::Account` (r:1 w:1)
    // Proof: `System::Account` (`max_values`: None, `max_size`: Some(128), added: 2603, mode: `MaxEncodedLen`)
    // Proof measured: 784 bytes.
    // Least time: 124_994_000 ps.
    fn refund_credits() -> Weight {
        Weight::from_parts(141_425_000, 3_783)
            .saturating_add(Db::get().reads(5))
            .saturating_add(Db::get().writes(4))
    }

    // Storage: `Marketplace::PaymentAuthorities` (r:1 w:0)
    // Proof: `Marketplace::PaymentAuthorities` (`max_values`: None, `max_size`: Some(48), added: 2523, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::Payments` (r:1 w:1)
    // Proof: `Marketplace::Payments` (`max_values`: None, `max_size`: Some(199), added: 2674, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::CreditPrice` (r:1 w:0)
    // Proof: `Marketplace::CreditPrice` (`max_values`: Some(1), `max_size`: Some(16), added: 511, mode: `MaxEncodedLen`)
    // Storage: `System::Account` (r:2 w:2)
    // Proof: `System::Account` (`max_values`: None, `max_size`: Some(128), added: 2603, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::Agreements` (r:1 w:1)
    // Proof: `Marketplace::Agreements` (`max_values`: None, `max_size`: Some(318), added: 2793, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::StoragePrice` (r:1 w:0)
    // Proof: `Marketplace::StoragePrice` (`max_values`: Some(1), `max_size`: Some(36), added: 531, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::Credits` (r:1 w:1)
    // Proof: `Marketplace::Credits` (`max_values`: None, `max_size`: Some(144), added: 2619, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::PeriodRevenue` (r:1 w:1)
    // Proof: `Marketplace::PeriodRevenue` (`max_values`: Some(1), `max_size`: Some(100), added: 595, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::BilledBytes` (r:4 w:4)
    // Proof: `Marketplace::BilledBytes` (`max_values`: None, `max_size`: Some(64), added: 2539, mode: `MaxEncodedLen`)
    // Proof measured: 1655 bytes.
    // Least time: 197_810_000 ps.
    fn credit_payment() -> Weight {
        Weight::from_parts(204_923_000, 11_146)
            .saturating_add(Db::get().reads(13))
            .saturating_add(Db::get().writes(10))
    }

    // Storage: `Marketplace::PaymentAuthorities` (r:1 w:0)
    // Proof: `Marketplace::PaymentAuthorities` (`max_values`: None, `max_size`: Some(48), added: 2523, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::Payments` (r:1 w:1)
    // Proof: `Marketplace::Payments` (`max_values`: None, `max_size`: Some(199), added: 2674, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::Agreements` (r:1 w:1)
    // Proof: `Marketplace::Agreements` (`max_values`: None, `max_size`: Some(318), added: 2793, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::StoragePrice` (r:1 w:0)
    // Proof: `Marketplace::StoragePrice` (`max_values`: Some(1), `max_size`: Some(36), added: 531, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::Credits` (r:1 w:1)
    // Proof: `Marketplace::Credits` (`max_values`: None, `max_size`: Some(144), added: 2619, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::PeriodRevenue` (r:1 w:1)
    // Proof: `Marketplace::PeriodRevenue` (`max_values`: Some(1), `max_size`: Some(100), added: 595, mode: `MaxEncodedLen`)
    // Storage: `System::Account` (r:2 w:2)
    // Proof: `System::Account` (`max_values`: None, `max_size`: Some(128), added: 2603, mode: `MaxEncodedLen`)
    // Proof measured: 1568 bytes.
    // Least time: 150_672_000 ps.
    fn refund_payment() -> Weight {
        Weight::from_parts(154_820_000, 6_196)
            .saturating_add(Db::get().reads(8))
            .saturating_add(Db::get().writes(6))
    }

    // Storage: `Registration::Nodes` (r:1 w:0)
    // Proof: `Registration::Nodes` (`max_values`: None, `max_size`: Some(102), added: 2577, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::Agreements` (r:1 w:1)
    // Proof: `Marketplace::Agreements` (`max_values`: None, `max_size`: Some(318), added: 2793, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::StoragePrice` (r:1 w:0)
    // Proof: `Marketplace::StoragePrice` (`max_values`: Some(1), `max_size`: Some(36), added: 531, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::Credits` (r:1 w:1)
    // Proof: `Marketplace::Credits` (`max_values`: None, `max_size`: Some(144), added: 2619, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::PeriodRevenue` (r:1 w:1)
    // Proof: `Marketplace::PeriodRevenue` (`max_values`: Some(1), `max_size`: Some(100), added: 595, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::BilledBytes` (r:4 w:4)
    // Proof: `Marketplace::BilledBytes` (`max_values`: None, `max_size`: Some(64), added: 2539, mode: `MaxEncodedLen`)
    // Proof measured: 1250 bytes.
    // Least time: 116_779_000 ps.
    fn authorize_gateway() -> Weight {
        Weight::from_parts(121_006_000, 11_146)
            .saturating_add(Db::get().reads(9))
            .saturating_add(Db::get().writes(7))
    }

    // Storage: `Marketplace::Agreements` (r:1 w:1)
    // Proof: `Marketplace::Agreements` (`max_values`: None, `max_size`: Some(318), added: 2793, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::StoragePrice` (r:1 w:0)
    // Proof: `Marketplace::StoragePrice` (`max_values`: Some(1), `max_size`: Some(36), added: 531, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::Credits` (r:1 w:1)
    // Proof: `Marketplace::Credits` (`max_values`: None, `max_size`: Some(144), added: 2619, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::PeriodRevenue` (r:1 w:1)
    // Proof: `Marketplace::PeriodRevenue` (`max_values`: Some(1), `max_size`: Some(100), added: 595, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::BilledBytes` (r:1 w:1)
    // Proof: `Marketplace::BilledBytes` (`max_values`: None, `max_size`: Some(64), added: 2539, mode: `MaxEncodedLen`)
    // Proof measured: 894 bytes.
    // Least time: 73_076_000 ps.
    fn revoke_gateway() -> Weight {
        Weight::from_parts(78_627_000, 3_783)
            .saturating_add(Db::get().reads(5))
            .saturating_add(Db::get().writes(4))
    }

    // Storage: `Registration::Nodes` (r:1 w:0)
    // Proof: `Registration::Nodes` (`max_values`: None, `max_size`: Some(102), added: 2577, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::Agreements` (r:1 w:1)
    // Proof: `Marketplace::Agreements` (`max_values`: None, `max_size`: Some(318), added: 2793, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::StoragePrice` (r:1 w:0)
    // Proof: `Marketplace::StoragePrice` (`max_values`: Some(1), `max_size`: Some(36), added: 531, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::Credits` (r:1 w:1)
    // Proof: `Marketplace::Credits` (`max_values`: None, `max_size`: Some(144), added: 2619, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::PeriodRevenue` (r:1 w:1)
    // Proof: `Marketplace::PeriodRevenue` (`max_values`: Some(1), `max_size`: Some(100), added: 595, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::BilledBytes` (r:1 w:1)
    // Proof: `Marketplace::BilledBytes` (`max_values`: None, `max_size`: Some(64), added: 2539, mode: `MaxEncodedLen`)
    // Proof measured: 970 bytes.
    // Least time: 80_771_000 ps.
    fn drop_gateway() -> Weight {
        Weight::from_parts(85_620_000, 3_783)
            .saturating_add(Db::get().reads(6))
            .saturating_add(Db::get().writes(4))
    }

    // Storage: `Registration::Nodes` (r:1 w:0)
    // Proof: `Registration::Nodes` (`max_values`: None, `max_size`: Some(102), added: 2577, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::Ledgers` (r:1 w:1)
    // Proof: `Marketplace::Ledgers` (`max_values`: None, `max_size`: Some(108), added: 2583, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::Agreements` (r:500 w:500)
    // Proof: `Marketplace::Agreements` (`max_values`: None, `max_size`: Some(318), added: 2793, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::StoragePrice` (r:1 w:0)
    // Proof: `Marketplace::StoragePrice` (`max_values`: Some(1), `max_size`: Some(36), added: 531, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::Credits` (r:500 w:500)
    // Proof: `Marketplace::Credits` (`max_values`: None, `max_size`: Some(144), added: 2619, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::PeriodRevenue` (r:1 w:1)
    // Proof: `Marketplace::PeriodRevenue` (`max_values`: Some(1), `max_size`: Some(100), added: 595, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::BilledBytes` (r:2001 w:2000)
    // Proof: `Marketplace::BilledBytes` (`max_values`: None, `max_size`: Some(64), added: 2539, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::LedgerAnchors` (r:0 w:1)
    // Proof: `Marketplace::LedgerAnchors` (`max_values`: None, `max_size`: Some(112), added: 2587, mode: `MaxEncodedLen`)
    // Proof measured: 1000 + u * 693 bytes.
    // Least time: 56_265_000 ps.
    fn commit_usage(u: u32) -> Weight {
        Weight::from_parts(58_460_000, 3_573)
            // Standard error: 1_253_396
            .saturating_add(Weight::from_parts(100_568_874, 0).saturating_mul(u.into()))
            .saturating_add(Db::get().reads(5))
            .saturating_add(Db::get().reads((6_u64).saturating_mul(u.into())))
            .saturating_add(Db::get().writes(3))
            .saturating_add(Db::get().writes((6_u64).saturating_mul(u.into())))
            .saturating_add(Weight::from_parts(0, 10_156).saturating_mul(u.into()))
    }

    // Storage: `Marketplace::Agreements` (r:1 w:1)
    // Proof: `Marketplace::Agreements` (`max_values`: None, `max_size`: Some(318), added: 2793, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::StoragePrice` (r:1 w:0)
    // Proof: `Marketplace::StoragePrice` (`max_values`: Some(1), `max_size`: Some(36), added: 531, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::Credits` (r:1 w:1)
    // Proof: `Marketplace::Credits` (`max_values`: None, `max_size`: Some(144), added: 2619, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::PeriodRevenue` (r:1 w:1)
    // Proof: `Marketplace::PeriodRevenue` (`max_values`: Some(1), `max_size`: Some(100), added: 595, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::BilledBytes` (r:4 w:4)
    // Proof: `Marketplace::BilledBytes` (`max_values`: None, `max_size`: Some(64), added: 2539, mode: `MaxEncodedLen`)
    // Proof measured: 1044 bytes.
    // Least time: 92_904_000 ps.
    fn poke() -> Weight {
        Weight::from_parts(98_123_000, 11_146)
            .saturating_add(Db::get().reads(8))
            .saturating_add(Db::get().writes(7))
    }

    // Storage: `Marketplace::Services` (r:1 w:0)
    // Proof: `Marketplace::Services` (`max_values`: None, `max_size`: Some(64), added: 2539, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::Agreements` (r:1 w:1)
    // Proof: `Marketplace::Agreements` (`max_values`: None, `max_size`: Some(318), added: 2793, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::StoragePrice` (r:1 w:0)
    // Proof: `Marketplace::StoragePrice` (`max_values`: Some(1), `max_size`: Some(36), added: 531, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::Credits` (r:1 w:1)
    // Proof: `Marketplace::Credits` (`max_values`: None, `max_size`: Some(144), added: 2619, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::PeriodRevenue` (r:1 w:1)
    // Proof: `Marketplace::PeriodRevenue` (`max_values`: Some(1), `max_size`: Some(100), added: 595, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::NextRequest` (r:1 w:1)
    // Proof: `Marketplace::NextRequest` (`max_values`: Some(1), `max_size`: Some(8), added: 503, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::Requests` (r:0 w:1)
    // Proof: `Marketplace::Requests` (`max_values`: None, `max_size`: Some(356), added: 2831, mode: `MaxEncodedLen`)
    // Proof measured: 821 bytes.
    // Least time: 74_649_000 ps.
    fn request_service() -> Weight {
        Weight::from_parts(77_545_000, 3_783)
            .saturating_add(Db::get().reads(6))
            .saturating_add(Db::get().writes(5))
    }

    // Storage: `Session::Validators` (r:1 w:0)
    // Proof: `Session::Validators` (`max_values`: Some(1), `max_size`: None, mode: `Measured`)
    // Storage: `Marketplace::Requests` (r:1 w:1)
    // Proof: `Marketplace::Requests` (`max_values`: None, `max_size`: Some(356), added: 2831, mode: `MaxEncodedLen`)
    // Storage: `Registration::Nodes` (r:1 w:0)
    // Proof: `Registration::Nodes` (`max_values`: None, `max_size`: Some(102), added: 2577, mode: `MaxEncodedLen`)
    // Storage: `System::BlockHash` (r:1 w:0)
    // Proof: `System::BlockHash` (`max_values`: None, `max_size`: Some(44), added: 2519, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::RequestVotes` (r:1 w:1)
    // Proof: `Marketplace::RequestVotes` (`max_values`: None, `max_size`: Some(6518), added: 8993, mode: `MaxEncodedLen`)
    // Proof measured: 10437 bytes.
    // Least time: 97_002_000 ps.
    fn assign_miner() -> Weight {
        Weight::from_parts(102_251_000, 11_922)
            .saturating_add(Db::get().reads(5))
            .saturating_add(Db::get().writes(2))
    }

    // Storage: `Marketplace::Requests` (r:1 w:1)
    // Proof: `Marketplace::Requests` (`max_values`: None, `max_size`: Some(356), added: 2831, mode: `MaxEncodedLen`)
    // Proof measured: 468 bytes.
    // Least time: 29_134_000 ps.
    fn accept_request() -> Weight {
        Weight::from_parts(37_790_000, 3_821)
            .saturating_add(Db::get().reads(1))
            .saturating_add(Db::get().writes(1))
    }

    // Storage: `Marketplace::Requests` (r:1 w:1)
    // Proof: `Marketplace::Requests` (`max_values`: None, `max_size`: Some(356), added: 2831, mode: `MaxEncodedLen`)
    // Proof measured: 468 bytes.
    // Least time: 29_034_000 ps.
    fn report_delivery() -> Weight {
        Weight::from_parts(40_236_000, 3_821)
            .saturating_add(Db::get().reads(1))
            .saturating_add(Db::get().writes(1))
    }

    // Storage: `Marketplace::Requests` (r:1 w:1)
    // Proof: `Marketplace::Requests` (`max_values`: None, `max_size`: Some(356), added: 2831, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::PeriodRevenue` (r:1 w:1)
    // Proof: `Marketplace::PeriodRevenue` (`max_values`: Some(1), `max_size`: Some(100), added: 595, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::Claimable` (r:1 w:1)
    // Proof: `Marketplace::Claimable` (`max_values`: None, `max_size`: Some(64), added: 2539, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::RequestVotes` (r:0 w:1)
    // Proof: `Marketplace::RequestVotes` (`max_values`: None, `max_size`: Some(6518), added: 8993, mode: `MaxEncodedLen`)
    // Proof measured: 644 bytes.
    // Least time: 47_268_000 ps.
    fn confirm_delivery() -> Weight {
        Weight::from_parts(50_325_000, 3_821)
            .saturating_add(Db::get().reads(3))
            .saturating_add(Db::get().writes(4))
    }

    // Storage: `Marketplace::Requests` (r:1 w:1)
    // Proof: `Marketplace::Requests` (`max_values`: None, `max_size`: Some(356), added: 2831, mode: `MaxEncodedLen`)
    // Proof measured: 468 bytes.
    // Least time: 28_884_000 ps.
    fn dispute_delivery() -> Weight {
        Weight::from_parts(30_437_000, 3_821)
            .saturating_add(Db::get().reads(1))
            .saturating_add(Db::get().writes(1))
    }

    // Storage: `Session::Validators` (r:1 w:0)
    // Proof: `Session::Validators` (`max_values`: Some(1), `max_size`: None, mode: `Measured`)
    // Storage: `Marketplace::Requests` (r:1 w:1)
    // Proof: `Marketplace::Requests` (`max_values`: None, `max_size`: Some(356), added: 2831, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::RequestVotes` (r:1 w:1)
    // Proof: `Marketplace::RequestVotes` (`max_values`: None, `max_size`: Some(6518), added: 8993, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::Agreements` (r:1 w:1)
    // Proof: `Marketplace::Agreements` (`max_values`: None, `max_size`: Some(318), added: 2793, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::StoragePrice` (r:1 w:0)
    // Proof: `Marketplace::StoragePrice` (`max_values`: Some(1), `max_size`: Some(36), added: 531, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::Credits` (r:1 w:1)
    // Proof: `Marketplace::Credits` (`max_values`: None, `max_size`: Some(144), added: 2619, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::PeriodRevenue` (r:1 w:1)
    // Proof: `Marketplace::PeriodRevenue` (`max_values`: Some(1), `max_size`: Some(100), added: 595, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::BilledBytes` (r:4 w:4)
    // Proof: `Marketplace::BilledBytes` (`max_values`: None, `max_size`: Some(64), added: 2539, mode: `MaxEncodedLen`)
    // Proof measured: 8113 bytes.
    // Least time: 162_644_000 ps.
    fn resolve_dispute() -> Weight {
        Weight::from_parts(172_132_000, 11_146)
            .saturating_add(Db::get().reads(11))
            .saturating_add(Db::get().writes(9))
    }

    // Storage: `Marketplace::Requests` (r:1 w:1)
    // Proof: `Marketplace::Requests` (`max_values`: None, `max_size`: Some(356), added: 2831, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::Agreements` (r:1 w:1)
    // Proof: `Marketplace::Agreements` (`max_values`: None, `max_size`: Some(318), added: 2793, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::StoragePrice` (r:1 w:0)
    // Proof: `Marketplace::StoragePrice` (`max_values`: Some(1), `max_size`: Some(36), added: 531, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::Credits` (r:1 w:1)
    // Proof: `Marketplace::Credits` (`max_values`: None, `max_size`: Some(144), added: 2619, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::PeriodRevenue` (r:1 w:1)
    // Proof: `Marketplace::PeriodRevenue` (`max_values`: Some(1), `max_size`: Some(100), added: 595, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::BilledBytes` (r:4 w:4)
    // Proof: `Marketplace::BilledBytes` (`max_values`: None, `max_size`: Some(64), added: 2539, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::RequestVotes` (r:0 w:1)
    // Proof: `Marketplace::RequestVotes` (`max_values`: None, `max_size`: Some(6518), added: 8993, mode: `MaxEncodedLen`)
    // Proof measured: 1403 bytes.
    // Least time: 119_253_000 ps.
    fn cancel_request() -> Weight {
        Weight::from_parts(126_636_000, 11_146)
            .saturating_add(Db::get().reads(9))
            .saturating_add(Db::get().writes(9))
    }

    // Storage: `Marketplace::Requests` (r:1 w:1)
    // Proof: `Marketplace::Requests` (`max_values`: None, `max_size`: Some(356), added: 2831, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::Agreements` (r:1 w:1)
    // Proof: `Marketplace::Agreements` (`max_values`: None, `max_size`: Some(318), added: 2793, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::StoragePrice` (r:1 w:0)
    // Proof: `Marketplace::StoragePrice` (`max_values`: Some(1), `max_size`: Some(36), added: 531, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::Credits` (r:1 w:1)
    // Proof: `Marketplace::Credits` (`max_values`: None, `max_size`: Some(144), added: 2619, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::PeriodRevenue` (r:1 w:1)
    // Proof: `Marketplace::PeriodRevenue` (`max_values`: Some(1), `max_size`: Some(100), added: 595, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::BilledBytes` (r:4 w:4)
    // Proof: `Marketplace::BilledBytes` (`max_values`: None, `max_size`: Some(64), added: 2539, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::RequestVotes` (r:0 w:1)
    // Proof: `Marketplace::RequestVotes` (`max_values`: None, `max_size`: Some(6518), added: 8993, mode: `MaxEncodedLen`)
    // Proof measured: 1403 bytes.
    // Least time: 123_882_000 ps.
    fn poke_request() -> Weight {
        Weight::from_parts(134_201_000, 11_146)
            .saturating_add(Db::get().reads(9))
            .saturating_add(Db::get().writes(9))
    }

    // Storage: `Marketplace::Claimable` (r:1 w:1)
    // Proof: `Marketplace::Claimable` (`max_values`: None, `max_size`: Some(64), added: 2539, mode: `MaxEncodedLen`)
    // Storage: `System::Account` (r:2 w:2)
    // Proof: `System::Account` (`max_values`: None, `max_size`: Some(128), added: 2603, mode: `MaxEncodedLen`)
    // Proof measured: 350 bytes.
    // Least time: 98_925_000 ps.
    fn claim() -> Weight {
        Weight::from_parts(105_888_000, 6_196)
            .saturating_add(Db::get().reads(3))
            .saturating_add(Db::get().writes(3))
    }

    // Storage: `Marketplace::PeriodRevenue` (r:1 w:0)
    // Proof: `Marketplace::PeriodRevenue` (`max_values`: Some(1), `max_size`: Some(100), added: 595, mode: `MaxEncodedLen`)
    // Proof measured: 199 bytes.
    // Least time: 6_081_000 ps.
    fn settlement_check() -> Weight {
        Weight::from_parts(6_642_000, 1_585)
            .saturating_add(Db::get().reads(1))
    }

    // Storage: `Marketplace::PeriodRevenue` (r:1 w:1)
    // Proof: `Marketplace::PeriodRevenue` (`max_values`: Some(1), `max_size`: Some(100), added: 595, mode: `MaxEncodedLen`)
    // Storage: `Arion::FamilyWeight` (r:257 w:0)
    // Proof: `Arion::FamilyWeight` (`max_values`: None, `max_size`: Some(50), added: 2525, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::Claimable` (r:256 w:256)
    // Proof: `Marketplace::Claimable` (`max_values`: None, `max_size`: Some(64), added: 2539, mode: `MaxEncodedLen`)
    // Storage: `System::Account` (r:3 w:3)
    // Proof: `System::Account` (`max_values`: None, `max_size`: Some(128), added: 2603, mode: `MaxEncodedLen`)
    // Proof measured: 590 + f * 55 bytes.
    // Least time: 152_645_000 ps.
    fn settle(f: u32) -> Weight {
        Weight::from_parts(31_586_155, 8_799)
            // Standard error: 286_189
            .saturating_add(Weight::from_parts(16_327_111, 0).saturating_mul(f.into()))
            .saturating_add(Db::get().reads(5))
            .saturating_add(Db::get().reads((2_u64).saturating_mul(f.into())))
            .saturating_add(Db::get().writes(4))
            .saturating_add(Db::get().writes((1_u64).saturating_mul(f.into())))
            .saturating_add(Weight::from_parts(0, 2_539).saturating_mul(f.into()))
    }

    // Storage: `Marketplace::AgreementCursor` (r:1 w:1)
    // Proof: `Marketplace::AgreementCursor` (`max_values`: Some(1), `max_size`: Some(32), added: 527, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::Agreements` (r:17 w:16)
    // Proof: `Marketplace::Agreements` (`max_values`: None, `max_size`: Some(318), added: 2793, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::StoragePrice` (r:1 w:0)
    // Proof: `Marketplace::StoragePrice` (`max_values`: Some(1), `max_size`: Some(36), added: 531, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::Credits` (r:16 w:16)
    // Proof: `Marketplace::Credits` (`max_values`: None, `max_size`: Some(144), added: 2619, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::PeriodRevenue` (r:1 w:1)
    // Proof: `Marketplace::PeriodRevenue` (`max_values`: Some(1), `max_size`: Some(100), added: 595, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::BilledBytes` (r:64 w:64)
    // Proof: `Marketplace::BilledBytes` (`max_values`: None, `max_size`: Some(64), added: 2539, mode: `MaxEncodedLen`)
    // Proof measured: 346 + n * 697 bytes.
    // Least time: 12_513_000 ps.
    fn sweep_agreements(n: u32) -> Weight {
        Weight::from_parts(30_008_215, 3_783)
            // Standard error: 455_044
            .saturating_add(Weight::from_parts(72_415_088, 0).saturating_mul(n.into()))
            .saturating_add(Db::get().reads(3))
            .saturating_add(Db::get().reads((6_u64).saturating_mul(n.into())))
            .saturating_add(Db::get().writes(2))
            .saturating_add(Db::get().writes((6_u64).saturating_mul(n.into())))
            .saturating_add(Weight::from_parts(0, 10_156).saturating_mul(n.into()))
    }

    // Storage: `Marketplace::RequestCursor` (r:1 w:1)
    // Proof: `Marketplace::RequestCursor` (`max_values`: Some(1), `max_size`: Some(8), added: 503, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::Requests` (r:9 w:8)
    // Proof: `Marketplace::Requests` (`max_values`: None, `max_size`: Some(356), added: 2831, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::Agreements` (r:8 w:8)
    // Proof: `Marketplace::Agreements` (`max_values`: None, `max_size`: Some(318), added: 2793, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::StoragePrice` (r:1 w:0)
    // Proof: `Marketplace::StoragePrice` (`max_values`: Some(1), `max_size`: Some(36), added: 531, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::Credits` (r:8 w:8)
    // Proof: `Marketplace::Credits` (`max_values`: None, `max_size`: Some(144), added: 2619, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::PeriodRevenue` (r:1 w:1)
    // Proof: `Marketplace::PeriodRevenue` (`max_values`: Some(1), `max_size`: Some(100), added: 595, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::BilledBytes` (r:32 w:32)
    // Proof: `Marketplace::BilledBytes` (`max_values`: None, `max_size`: Some(64), added: 2539, mode: `MaxEncodedLen`)
    // Storage: `Marketplace::RequestVotes` (r:0 w:8)
    // Proof: `Marketplace::RequestVotes` (`max_values`: None, `max_size`: Some(6518), added: 8993, mode: `MaxEncodedLen`)
    // Proof measured: 362 + n * 1028 bytes.
    // Least time: 12_454_000 ps.
    fn sweep_requests(n: u32) -> Weight {
        Weight::from_parts(38_976_042, 3_821)
            // Standard error: 1_939_217
            .saturating_add(Weight::from_parts(110_958_279, 0).saturating_mul(n.into()))
            .saturating_add(Db::get().reads(3))
            .saturating_add(Db::get().reads((7_u64).saturating_mul(n.into())))
            .saturating_add(Db::get().writes(2))
            .saturating_add(Db::get().writes((8_u64).saturating_mul(n.into())))
            .saturating_add(Weight::from_parts(0, 10_156).saturating_mul(n.into()))
    }

    // Storage: `System::Account` (r:1 w:0)
    // Proof: `System::Account` (`max_values`: None, `max_size`: Some(128), added: 2603, mode: `MaxEncodedLen`)
    // Proof measured: 103 bytes.
    // Least time: 7_975_000 ps.
    fn endow_account() -> Weight {
        Weight::from_parts(8_546_000, 3_593)
            .saturating_add(Db::get().reads(1))
    }
}

// For tests of other pallets.
impl WeightInfo for () {
    fn set_credit_price() -> Weight {
        Measured::<ParityDbWeight>::set_credit_price()
    }
    fn set_storage_price() -> Weight {
        Measured::<ParityDbWeight>::set_storage_price()
    }
    fn set_service() -> Weight {
        Measured::<ParityDbWeight>::set_service()
    }
    fn add_payment_authority() -> Weight {
        Measured::<ParityDbWeight>::add_payment_authority()
    }
    fn remove_payment_authority() -> Weight {
        Measured::<ParityDbWeight>::remove_payment_authority()
    }
    fn buy_credits() -> Weight {
        Measured::<ParityDbWeight>::buy_credits()
    }
    fn refund_credits() -> Weight {
        Measured::<ParityDbWeight>::refund_credits()
    }
    fn credit_payment() -> Weight {
        Measured::<ParityDbWeight>::credit_payment()
    }
    fn refund_payment() -> Weight {
        Measured::<ParityDbWeight>::refund_payment()
    }
    fn authorize_gateway() -> Weight {
        Measured::<ParityDbWeight>::authorize_gateway()
    }
    fn revoke_gateway() -> Weight {
        Measured::<ParityDbWeight>::revoke_gateway()
    }
    fn drop_gateway() -> Weight {
        Measured::<ParityDbWeight>::drop_gateway()
    }
    fn commit_usage(u: u32) -> Weight {
        Measured::<ParityDbWeight>::commit_usage(u)
    }
    fn poke() -> Weight {
        Measured::<ParityDbWeight>::poke()
    }
    fn request_service() -> Weight {
        Measured::<ParityDbWeight>::request_service()
    }
    fn assign_miner() -> Weight {
        Measured::<ParityDbWeight>::assign_miner()
    }
    fn accept_request() -> Weight {
        Measured::<ParityDbWeight>::accept_request()
    }
    fn report_delivery() -> Weight {
        Measured::<ParityDbWeight>::report_delivery()
    }
    fn confirm_delivery() -> Weight {
        Measured::<ParityDbWeight>::confirm_delivery()
    }
    fn dispute_delivery() -> Weight {
        Measured::<ParityDbWeight>::dispute_delivery()
    }
    fn resolve_dispute() -> Weight {
        Measured::<ParityDbWeight>::resolve_dispute()
    }
    fn cancel_request() -> Weight {
        Measured::<ParityDbWeight>::cancel_request()
    }
    fn poke_request() -> Weight {
        Measured::<ParityDbWeight>::poke_request()
    }
    fn claim() -> Weight {
        Measured::<ParityDbWeight>::claim()
    }
    fn settlement_check() -> Weight {
        Measured::<ParityDbWeight>::settlement_check()
    }
    fn settle(f: u32) -> Weight {
        Measured::<ParityDbWeight>::settle(f)
    }
    fn sweep_agreements(n: u32) -> Weight {
        Measured::<ParityDbWeight>::sweep_agreements(n)
    }
    fn sweep_requests(n: u32) -> Weight {
        Measured::<ParityDbWeight>::sweep_requests(n)
    }
    fn endow_account() -> Weight {
        Measured::<ParityDbWeight>::endow_account()
    }
}
