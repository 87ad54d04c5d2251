//! Stories of owners and their nodes.

mod interface;
mod invariants;
mod migration;
mod nodes;
mod owners;
