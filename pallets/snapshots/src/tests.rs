//! Stories of locators and what they point at.

mod interface;
mod invariants;
mod records;
