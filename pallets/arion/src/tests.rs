//! Stories of maps, children and attestations.

mod attestations;
mod children;
mod deposits;
mod maps;
mod random;
