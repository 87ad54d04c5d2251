//! The ledgers of gateways: which miner has signed for which shard, as far as it can be believed.
//!
//! Wardens audit what is in them, validator services count the bytes of each miner ([`Follower`]); anybody verifies a
//! ledger offline against what was anchored on chain ([`verify()`]).
//!
//! # Invariants
//! - A receipt counts only with its miner's signature for this chain, and only for the place that the map of its
//!   epoch gives its shard ([`ReceiptChecker`]).
//! - A ledger is read in order and without gaps; what was taken over and how far are handed over together
//!   ([`Book::apply`]).
//! - What a file proves of an object is signed, all of it ([`PutReceipt`]).
//!
//! # Not here
//! Writing a ledger (`gateway`); what is kept of it (`warden`, `validator`).

pub mod compact;
mod follower;
pub mod put_receipt;
mod receipt;
pub mod segment;
pub mod served;
pub mod trace;
pub mod verify;

pub use compact::{BaseFault, CompactedLedger, Keeping, KeptRoot};
pub use follower::{Book, BookError, Change, FollowError, Follower, LedgerMetrics, Reach, base, page};
pub use put_receipt::{PutReceipt, PutReceiptFault};
pub use receipt::{ReceiptChecker, ReceiptFault};
pub use segment::{Ledger, LineProof, SegmentFault};
pub use served::{ServedFault, Statements};
pub use trace::{StripeFate, trace};
pub use verify::{Anchor, Fault, Finding, Report, commitment_number, verify, verify_compacted};
