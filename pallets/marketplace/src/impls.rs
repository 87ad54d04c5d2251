//! What the calls do once their origin is known.

mod accounts;
mod governance;
mod hooks;
mod payments;
mod requests;
mod settlement;
mod storage;
#[cfg(any(feature = "std", feature = "try-runtime"))]
mod try_state;
mod usage;
mod views;
mod votes;
