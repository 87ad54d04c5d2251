//! Stories of owners and their nodes.

mod nodes;
mod owners;
