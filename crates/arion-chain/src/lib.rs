//! The chain as daemons and tools see it: finalised state, transactions, events.
//!
//! Pallets, calls and storage items are found by name in the metadata of the running node and checked when
//! connecting ([`interface`]); values are the SCALE types of `arion-types`. Daemons read a [`ChainView`]: a
//! snapshot of the finalised chain that a background task keeps current with few, small requests.
//!
//! # Invariants
//! - Everything read is read at one finalised block; nothing is decided on unfinalised state.
//! - A restart of the node is survived by every handle: requests wait and are tried again within their deadline.
//! - A transaction is mortal: after [`TxError::Expired`] it can never be included.
//!
//! # Not here
//! What daemons do with it; the meaning of calls (`docs/spec/chain.md`).

pub mod account;
mod audits;
pub mod call;
pub mod client;
mod epochs;
pub mod events;
mod follow;
pub mod interface;
pub mod marketplace;
pub mod records;
mod rpc;
mod snapshots;
mod staking;
mod state;
pub mod tx;
pub mod view;

pub use account::{Account, AccountError, AccountId, parse_account, ss58};
pub use audits::{
    Audit, AuditCounts, AuditDay, AuditReader, BANNED_FROM, BANNED_UNTIL, MinerAudits, ObjectAudits,
    WardenConflict, is_banned,
};
pub use call::{Call, PaymentMethod, ServiceKind, ServiceTerms};
pub use client::{ChainClient, ChainError, ConnectError};
pub use epochs::CommittedEpoch;
pub use events::{BlockEvent, Event};
pub use interface::InterfaceError;
pub use marketplace::{
    Agreement, AgreementStatus, CREDIT, CreditBalance, LedgerCommitment, MarketAccount, MarketView, Prices,
    SkipReason, Skipped,
};
pub use records::{
    BlockRef, Child, ChildRegistration, ChildStatus, ComingMap, EpochMap, Maintenance, NodeRecord,
    OwnerRecord, Registry,
};
pub use snapshots::SnapshotRecord;
pub use state::State;
pub use tx::{DispatchFailure, TxError, TxOutcome, Wait};
pub use view::{ChainView, Snapshot, ViewConfig, ViewSource};
