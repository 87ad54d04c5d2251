//! Encryption of objects before they leave the gateway: miners and validators only ever see ciphertext.
//!
//! An object (or a part of a multipart upload) has its own random [`DataKey`]. Its bytes are sealed in segments
//! ([`stream`]); the data key is wrapped under its bucket's key or a customer's, the bucket's key under the account's
//! ([`keys`], [`wrap`]). Wrapping anew does not touch the bytes.
//!
//! # Invariants
//! - A data key seals one byte stream, once: nonces are counters and never repeat under a key.
//! - Nothing decrypts unless every byte of its segment, the segment's number and whether it is the last one are
//!   what was sealed: flipped, swapped, dropped and appended segments are errors.
//! - Keys are erased from memory when dropped and never printed.
//!
//! # Not here
//! Key files (`arion-daemon`), manifests (`arion-gateway`).
//!
//! Specified in docs/spec/crypto.md.

mod fingerprint;
pub mod keys;
pub mod layout;
mod snapshot;
pub mod stream;
pub mod wrap;

pub use fingerprint::{Fingerprint, Fingerprinter};
pub use keys::{AccountKey, BucketKey, CustomerKey, DataKey, KeyId, OperatorSecret};
pub use layout::{SEGMENT_BYTES, TAG_BYTES, ciphertext_len, segment_range};
pub use stream::{Decryptor, Encryptor, OpenError};
pub use wrap::{UnwrapError, WrappedKey, Wrapping};
