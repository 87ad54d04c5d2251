//! arion-e2e.
