//! arion-erasure.
