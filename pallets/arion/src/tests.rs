//! Stories of maps, children, attestations, quality and weights.

mod attestations;
mod audits;
mod children;
mod conflicts;
mod deposits;
mod families;
mod interface;
mod invariants;
mod maintenance;
mod maps;
mod migration;
mod offchain;
mod queries;
mod random;
mod reports;
mod rounds;
mod scoring;
mod stats;
mod sweep;
