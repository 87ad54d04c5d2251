//! crush.
