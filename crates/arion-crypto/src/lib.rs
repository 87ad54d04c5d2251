//! arion-crypto.
