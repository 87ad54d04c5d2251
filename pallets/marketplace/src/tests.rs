//! Stories of credits, agreements, ledgers, services and payouts.

mod agreements;
mod conservation;
mod credits;
mod edges;
mod governance;
mod interface;
mod ledgers;
mod payments;
mod requests;
mod settlement;
mod sweep;
mod views;
