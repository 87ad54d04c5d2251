//! Signatures that this thread has made, or found to hold.
//!
//! A simulation runs both ends of every call in one thread, and a third of its time would go to verifying what it signed itself. Only
//! programs built with the feature `simulation` have this.
//!
//! # Invariants
//! - What is remembered is one signature of one message by one key: where any bit differs the signature is verified.
//! - At most [`SIGNATURES_MAX`] are remembered.

use std::{cell::RefCell, collections::BTreeSet};

use crate::ids::Signature;

/// Signatures remembered; all are forgotten before there are more.
const SIGNATURES_MAX: usize = 1 << 18;

type Known = [u8; 32];

thread_local! {
    static KNOWN: RefCell<BTreeSet<Known>> = const { RefCell::new(BTreeSet::new()) };
}

fn name(signer: &[u8; 32], message: &[u8], signature: &Signature) -> Known {
    *blake3::Hasher::new().update(signer).update(signature).update(message).finalize().as_bytes()
}

/// It holds.
pub(super) fn holds(signer: &[u8; 32], message: &[u8], signature: &Signature) {
    let name = name(signer, message, signature);
    KNOWN.with_borrow_mut(|known| {
        if known.len() >= SIGNATURES_MAX {
            known.clear();
        }
        known.insert(name);
    });
}

/// Whether it is known to hold.
pub(super) fn is_known(signer: &[u8; 32], message: &[u8], signature: &Signature) -> bool {
    let name = name(signer, message, signature);
    KNOWN.with_borrow(|known| known.contains(&name))
}
