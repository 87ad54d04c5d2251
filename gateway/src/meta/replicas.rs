//! Whose is what is under way, and who leads, where several replicas share the metadata.
//!
//! # Invariants
//! - Only the work of the term that stands in `SETTINGS` changes what only the leader may change.
//! - A stripe in `INFLIGHT` or `PINNED` that was entered by a replica is noted as its own, in the same transaction.

use arion_types::StripeId;

use super::{
    Hash, INFLIGHT, Meta, MetaError, ReadTransaction, ReadableTable, SETTINGS, TableDefinition,
    WriteTransaction, stripes::PINNED,
};

/// Which replica sends a stripe in flight, and which one has it pinned; empty where there is only one gateway.
pub(super) const INFLIGHT_BY: TableDefinition<Hash, u32> = TableDefinition::new("inflight-by");
pub(super) const PINNED_BY: TableDefinition<Hash, u32> = TableDefinition::new("pinned-by");

/// Number of the term, in `SETTINGS`.
const LEADER: &str = "leader";

fn term(transaction: &WriteTransaction) -> Result<u64, MetaError> {
    let settings = transaction.open_table(SETTINGS)?;
    let term = settings.get(LEADER)?.map(|row| <[u8; 8]>::try_from(row.value())).transpose();
    Ok(term.map_err(|_| MetaError::Row("settings"))?.map_or(0, u64::from_le_bytes))
}

/// Begins a new term.
pub(super) fn next_term(transaction: &WriteTransaction) -> Result<u64, MetaError> {
    let next = term(transaction)? + 1;
    transaction.open_table(SETTINGS)?.insert(LEADER, next.to_le_bytes().as_slice())?;
    Ok(next)
}

/// Refuses work of a term that is over.
pub(super) fn require_term(transaction: &WriteTransaction, of: Option<u64>) -> Result<(), MetaError> {
    match of {
        Some(of) if term(transaction)? != of => Err(MetaError::Deposed),
        _ => Ok(()),
    }
}

/// Notes whose a stripe is, where there may be several.
pub(super) fn own(
    transaction: &WriteTransaction,
    table: TableDefinition<Hash, u32>,
    id: &StripeId,
) -> Result<(), MetaError> {
    match transaction.replica() {
        Some(replica) => transaction.open_table(table)?.insert(id.0, replica),
        None => Ok(()),
    }
}

pub(super) fn disown(
    transaction: &WriteTransaction,
    table: TableDefinition<Hash, u32>,
    id: &StripeId,
) -> Result<(), MetaError> {
    match transaction.replica() {
        Some(_) => transaction.open_table(table)?.remove(id.0),
        None => Ok(()),
    }
}

/// What a replica that is gone left in flight, or pinned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LeftBehind {
    /// The stripe.
    pub stripe: StripeId,
    /// Whether it is pinned.
    pub is_pinned: bool,
    /// The replica; 0 where none is noted.
    pub replica: u32,
}

fn left(
    transaction: &ReadTransaction,
    running: &[u32],
    (table, by, is_pinned): (TableDefinition<Hash, ()>, TableDefinition<Hash, u32>, bool),
    found: &mut Vec<LeftBehind>,
) -> Result<(), MetaError> {
    let by = transaction.open_table(by)?;
    for row in transaction.open_table(table)?.iter()? {
        let stripe = row?.0.value();
        let replica = by.get(stripe)?.map_or(0, |row| row.value());
        if !running.contains(&replica) {
            found.push(LeftBehind { stripe: StripeId(stripe), is_pinned, replica });
        }
    }
    Ok(())
}

impl Meta {
    /// What replicas that do not run any more left in flight or pinned; nothing where there is only one gateway.
    pub async fn left_behind(&self) -> Result<Vec<LeftBehind>, MetaError> {
        self.read(|transaction| {
            let Some(running) = transaction.running()? else { return Ok(Vec::new()) };
            let mut found = Vec::new();
            left(transaction, &running, (INFLIGHT, INFLIGHT_BY, false), &mut found)?;
            left(transaction, &running, (PINNED, PINNED_BY, true), &mut found)?;
            Ok(found)
        })
        .await
    }
}
