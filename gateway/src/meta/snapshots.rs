//! What the gateway notes of its snapshots: which nodes are stored where, the newest snapshot that is final, and the one that is on
//! its way to the chain.
//!
//! Snapshots are made in attempts, which are numbered. A node notes the first and the last attempt that needs it. Once an attempt
//! is final, nodes that only earlier ones needed are given back.
//!
//! # Invariants
//! - A node in `SNAPSHOT_STRIPES` is one reference to its stripe.
//! - What the final snapshot or the one on its way needs is never given back: attempts end in the order in which they began,
//!   and none begins while one is on its way.

use arion_types::StripeId;
use codec::{Decode, DecodeAll, Encode};

use super::{Hash, Meta, MetaError, ReadableTable, TableDefinition, WriteTransaction, stripes};
use crate::{
    manifest::StripeRecord,
    snapshot::{
        anchor::Anchored,
        node::{ContentId, NodeRef},
        root::Summary,
    },
};

/// Nodes by what is in them.
pub(super) const SNAPSHOT_NODES: TableDefinition<ContentId, &[u8]> = TableDefinition::new("snapshot-nodes");
/// Stripes of nodes and of roots.
pub(super) const SNAPSHOT_STRIPES: TableDefinition<Hash, &[u8]> = TableDefinition::new("snapshot-stripes");
/// By name: the final snapshot, the one on its way, the number of the newest attempt.
pub(super) const SNAPSHOTS: TableDefinition<&str, &[u8]> = TableDefinition::new("snapshots");

const FINAL: &str = "final";
const PENDING: &str = "pending";
const ATTEMPT: &str = "attempt";

/// Which attempts need a stripe.
#[derive(Clone, Copy, Encode, Decode)]
struct Use {
    first: u64,
    last: u64,
    /// What is in the node; `None` for a root.
    content: Option<ContentId>,
}

/// A snapshot that is final, or on its way.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct SnapshotRow {
    /// The attempt.
    pub attempt: u64,
    /// Under which key the chain names it.
    pub locator: [u8; 32],
    /// [`arion_crypto::OperatorSecret::id`] of the generation that opens it.
    pub generation: [u8; 8],
    /// What the chain says of it.
    pub anchored: Anchored,
    /// When the metadata were so, milliseconds since the Unix epoch.
    pub made_ms: u64,
    /// What tells its rows from others; `None` after a recovery.
    pub digest: Option<[u8; 32]>,
    /// What is in it.
    pub summary: Summary,
}

/// The snapshots that are known.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Snapshots {
    /// The newest one that is final.
    pub last: Option<SnapshotRow>,
    /// The one that the chain was told of, or is to be.
    pub pending: Option<SnapshotRow>,
}

fn decode<T: Decode>(bytes: &[u8]) -> Result<T, MetaError> {
    T::decode_all(&mut &*bytes).map_err(|_| MetaError::Row("snapshots"))
}

fn named<T: Decode>(
    table: &impl ReadableTable<&'static str, &'static [u8]>,
    name: &str,
) -> Result<Option<T>, MetaError> {
    table.get(name)?.map(|row| decode(row.value())).transpose()
}

/// Notes that an attempt needs a stripe.
fn note(
    transaction: &WriteTransaction,
    stripe: &StripeId,
    attempt: u64,
    content: Option<ContentId>,
) -> Result<(), MetaError> {
    let mut table = transaction.open_table(SNAPSHOT_STRIPES)?;
    let known = table.get(stripe.0)?.map(|row| decode::<Use>(row.value())).transpose()?;
    let needed = Use { first: known.map_or(attempt, |known| known.first), last: attempt, content };
    table.insert(stripe.0, needed.encode().as_slice())?;
    Ok(())
}

/// Enters a node that is stored.
fn enter(
    transaction: &WriteTransaction,
    id: ContentId,
    node: &NodeRef,
    attempt: u64,
) -> Result<(), MetaError> {
    stripes::hold(transaction, [&node.stripe])?;
    transaction.open_table(SNAPSHOT_NODES)?.insert(id, node.encode().as_slice())?;
    note(transaction, &node.stripe.id(), attempt, Some(id))
}

impl Meta {
    /// The snapshots that are known.
    pub async fn snapshots(&self) -> Result<Snapshots, MetaError> {
        self.read(|transaction| {
            let table = transaction.open_table(SNAPSHOTS)?;
            Ok(Snapshots { last: named(&table, FINAL)?, pending: named(&table, PENDING)? })
        })
        .await
    }

    /// The number of a new attempt.
    pub async fn begin_snapshot(&self) -> Result<u64, MetaError> {
        self.write(|transaction| {
            let mut table = transaction.open_table(SNAPSHOTS)?;
            let attempt = named::<u64>(&table, ATTEMPT)?.unwrap_or(0) + 1;
            table.insert(ATTEMPT, attempt.encode().as_slice())?;
            Ok(attempt)
        })
        .await
    }

    /// Where a node with this content is, if it is stored.
    pub async fn snapshot_node(&self, id: ContentId) -> Result<Option<NodeRef>, MetaError> {
        self.read(move |transaction| {
            let row = transaction.open_table(SNAPSHOT_NODES)?.get(id)?;
            row.map(|row| decode(row.value())).transpose()
        })
        .await
    }

    /// Enters a node that was stored for an attempt. One of the same content that lies elsewhere is no longer found, and is given
    /// back with what only earlier attempts needed.
    pub async fn snapshot_node_stored(
        &self,
        id: ContentId,
        node: NodeRef,
        attempt: u64,
    ) -> Result<(), MetaError> {
        self.write(move |transaction| enter(transaction, id, &node, attempt)).await
    }

    /// Notes nodes that an attempt needs and that were stored before.
    pub async fn snapshot_nodes_needed(
        &self,
        nodes: Vec<(ContentId, StripeId)>,
        attempt: u64,
    ) -> Result<(), MetaError> {
        self.write(move |transaction| {
            nodes.iter().try_for_each(|(id, stripe)| note(transaction, stripe, attempt, Some(*id)))
        })
        .await
    }

    /// All of a snapshot is stored, its root as `root`: it goes to the chain.
    pub async fn snapshot_stored(&self, row: SnapshotRow, root: StripeRecord) -> Result<(), MetaError> {
        self.write(move |transaction| {
            stripes::hold(transaction, [&root])?;
            note(transaction, &root.id(), row.attempt, None)?;
            transaction.open_table(SNAPSHOTS)?.insert(PENDING, row.encode().as_slice())?;
            Ok(())
        })
        .await
    }

    /// The snapshot on its way is final.
    pub async fn snapshot_final(&self) -> Result<(), MetaError> {
        self.write(|transaction| {
            let mut table = transaction.open_table(SNAPSHOTS)?;
            let row = table.take(PENDING)?.map(|row| row.value().to_vec());
            if let Some(row) = row {
                table.insert(FINAL, row.as_slice())?;
            }
            Ok(())
        })
        .await
    }

    /// The snapshot on its way can never be named any more: the secret of its locator is gone, or a later one is named.
    pub async fn forget_pending_snapshot(&self) -> Result<(), MetaError> {
        self.write(|transaction| {
            transaction.open_table(SNAPSHOTS)?.remove(PENDING)?;
            Ok(())
        })
        .await
    }

    /// Gives back nodes that neither the final snapshot needs nor an attempt that may still become one: those of earlier snapshots,
    /// and, while none is on its way, of attempts that failed. At most `limit`; how many there were.
    ///
    /// Not to be called during an attempt.
    pub async fn give_back_snapshot_nodes(&self, limit: usize, now_ms: u64) -> Result<usize, MetaError> {
        self.write(move |transaction| {
            let snapshots = transaction.open_table(SNAPSHOTS)?;
            let newest: u64 = named::<SnapshotRow>(&snapshots, FINAL)?.map_or(0, |row| row.attempt);
            let is_idle = snapshots.get(PENDING)?.is_none();
            drop(snapshots);
            let mut unneeded = Vec::new();
            for row in transaction.open_table(SNAPSHOT_STRIPES)?.iter()? {
                let (stripe, needed) = row?;
                let needed: Use = decode(needed.value())?;
                if needed.last < newest || (is_idle && needed.first > newest) {
                    unneeded.push((StripeId(stripe.value()), needed.content));
                }
                if unneeded.len() == limit {
                    break;
                }
            }
            for (stripe, content) in &unneeded {
                transaction.open_table(SNAPSHOT_STRIPES)?.remove(stripe.0)?;
                if let Some(id) = content {
                    let mut nodes = transaction.open_table(SNAPSHOT_NODES)?;
                    let node = nodes.get(id)?.map(|row| decode::<NodeRef>(row.value())).transpose()?;
                    // The same content may have been stored anew.
                    if node.is_some_and(|node| node.stripe.id() == *stripe) {
                        nodes.remove(id)?;
                    }
                }
                let record = stripes::record_for_change(transaction, stripe)?;
                stripes::release(transaction, record.as_ref(), now_ms)?;
            }
            Ok(unneeded.len())
        })
        .await
    }

    /// Number of nodes that snapshots have on miners, and the bytes of their shards.
    pub async fn snapshot_size(&self) -> Result<(u64, u64), MetaError> {
        self.read(|transaction| {
            let (mut count, mut bytes) = (0, 0u64);
            for row in transaction.open_table(SNAPSHOT_STRIPES)?.iter()? {
                let id = StripeId(row?.0.value());
                count += 1;
                if let Some(record) = stripes::record(transaction, &id)? {
                    bytes += u64::from(record.shard_len) * record.hashes.len() as u64;
                }
            }
            Ok((count, bytes))
        })
        .await
    }

    /// In metadata that are made from a snapshot: enters one of its own nodes. Nobody knows which of its shards are where they
    /// belong; all are looked at in the background. Later snapshots do not refer to it: what repair has brought elsewhere is in the ledger of the
    /// gateway that was, and in none that is.
    pub async fn adopt_snapshot_node(
        &self,
        id: ContentId,
        node: NodeRef,
        attempt: u64,
    ) -> Result<(), MetaError> {
        self.write(move |transaction| {
            stripes::adopt(transaction, &node.stripe)?;
            stripes::hold(transaction, [&node.stripe])?;
            note(transaction, &node.stripe.id(), attempt, Some(id))
        })
        .await
    }

    /// In metadata that are made from a snapshot: notes that this is it, with its root.
    pub async fn adopt_snapshot(&self, row: SnapshotRow, root: StripeRecord) -> Result<(), MetaError> {
        self.write(move |transaction| {
            stripes::adopt(transaction, &root)?;
            stripes::hold(transaction, [&root])?;
            note(transaction, &root.id(), row.attempt, None)?;
            let mut table = transaction.open_table(SNAPSHOTS)?;
            table.insert(ATTEMPT, row.attempt.encode().as_slice())?;
            table.insert(FINAL, row.encode().as_slice())?;
            Ok(())
        })
        .await
    }
}
