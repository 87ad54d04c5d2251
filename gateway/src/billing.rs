//! Billing: what accounts of the chain occupy is committed to on chain together with the ledger that proves it, and what the chain
//! says of their credits decides whether they may store more.
//!
//! An account of the gateway may name an account of the chain, which pays for what it occupies ([`crate::meta`] counts that).
//! Whenever the interval has passed, [`commit`] takes a cut of the ledger, compares what accounts occupy with what they are
//! billed, and has the chain take the difference ([`plan`]) with the root of the ledger. [`credit`] keeps what the chain says
//! of accounts where requests are decided; [`expire`] deletes what nobody paid for, [`schedule`] says when.
//!
//! # Invariants
//! - A commitment covers lines that are durable here, and bills no more than their live bytes.
//! - Once the chain was told of a commitment, nothing else is committed before its fate is known.
//! - Nobody is billed who has no account on chain, or did not allow it.
//! - Nothing is deleted but of accounts whose deletion notice was seen here, is over, and was not followed by a payment.
//!
//! # Not here
//! What credits cost and when agreements expire (`pallet-marketplace`); lines of the ledger ([`crate::meta`]).
//!
//! Specified in docs/spec/ledger.md and docs/spec/marketplace.md.

pub mod commit;
pub mod credit;
pub mod expire;
pub mod market;
pub mod money;
pub mod plan;
pub mod schedule;
