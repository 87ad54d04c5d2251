//! arion-proofs.
