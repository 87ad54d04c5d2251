//! What the upgrade of an older chain needs besides the pallets' own migrations.
//!
//! Every step happens once, in the block of the upgrade: it looks at what is stored, does nothing where that is of
//! this version already, and so changes nothing when it runs a second time. A chain that began with this version
//! has nothing for them to do.
//!
//! # Invariants
//! - Whoever was a validator before can produce blocks after, with the keys it had.
//! - Issuance grows by the existential deposits of accounts that a genesis endows, and by nothing else.
//!
//! # Not here
//! Storage of a single pallet (`pallet_registration::migrations`, `pallet_arion::migrations`), versions of new pallets (FRAME notes them by itself).
//!
//! Specified in docs/spec/chain.md, "Versions of storage".

mod accounts;
mod keys;
mod staking;

pub use accounts::EndowSystemAccounts;
pub use keys::UpgradeSessionKeys;
pub use staking::BondValidators;

use crate::Runtime;

/// All of them, in the order in which they run.
pub type All = (
    UpgradeSessionKeys,
    EndowSystemAccounts,
    BondValidators,
    pallet_registration::migrations::MigrateV1ToV2<Runtime>,
    pallet_arion::migrations::MigrateV1ToV2<Runtime>,
);
