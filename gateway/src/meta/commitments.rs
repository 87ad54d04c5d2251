//! What the gateway notes of its commitments on chain: roots of the ledger's segments, the newest commitment that is final and
//! the one on its way, and what it was last told of accounts whose agreements may expire.
//!
//! # Invariants
//! - Roots are of full segments, for one chain and one gateway; of another one they are made anew.
//! - A commitment is noted before it is sent and until its fate is known.

use std::collections::BTreeMap;

use arion_ledger::segment::{SEGMENT_LINES, line_hash};
use arion_protocol::LedgerRecord;
use arion_types::{GenesisHash, NodeId};
use codec::{Decode, DecodeAll, Encode};

use super::{
    Hash, LEDGER, Meta, MetaError, Occupied, ReadTransaction, ReadableTable, TableDefinition,
    WriteTransaction, compaction, occupancy,
};

/// Number of a full segment - its root.
pub(super) const ROOTS: TableDefinition<u64, Hash> = TableDefinition::new("segment-roots");
/// By name: the final commitment, the one on its way, whose the roots are.
pub(super) const COMMITMENTS: TableDefinition<&str, &[u8]> = TableDefinition::new("commitments");
/// Accounts of the chain that are about to lose what they store, or have lost the right to it.
pub(super) const NOTICES: TableDefinition<Hash, &[u8]> = TableDefinition::new("notices");

pub(super) const FINAL: &str = "final";
const PENDING: &str = "pending";
const ROOTS_OF: &str = "roots-of";
/// Full segments that one step hashes.
const SEGMENTS: usize = 16;

#[derive(Encode, Decode)]
pub(super) enum Row<T> {
    #[codec(index = 1)]
    V1(T),
}

/// What is committed to on chain.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Commitment {
    /// Its number (`arion_ledger::commitment_number`).
    pub sequence: u64,
    /// The root over the lines that it covers.
    pub root: Hash,
    /// Live bytes behind them.
    pub bytes: u64,
    /// What accounts of the chain occupy from now on, strictly increasing in account.
    pub updates: Vec<(Hash, u64)>,
    /// When it was made, milliseconds since the Unix epoch.
    pub made_ms: u64,
}

/// The commitments that are known.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Commitments {
    /// The newest one that is final.
    pub last: Option<Commitment>,
    /// The one that the chain was told of, or is to be.
    pub pending: Option<Commitment>,
}

/// What is known of an account of the chain whose agreement may expire.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Notice {
    /// First block in which its agreement expires, unless it pays.
    pub until: u32,
    /// When it was seen that it had expired, milliseconds since the Unix epoch; `None` before.
    pub expired_ms: Option<u64>,
    /// The accounts of the gateway that it paid for then.
    pub accounts: Vec<String>,
}

/// The ledger at one moment, with what accounts occupy then.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LedgerCut {
    /// Number of lines.
    pub lines: u64,
    /// The root over all of them.
    pub root: Hash,
    /// Bytes of live shards.
    pub occupied: Occupied,
}

pub(super) fn decode<T: Decode>(bytes: &[u8]) -> Result<T, MetaError> {
    Row::<T>::decode_all(&mut &*bytes).map(|Row::V1(value)| value).map_err(|_| MetaError::Row("commitments"))
}

pub(super) fn named<T: Decode>(
    table: &impl ReadableTable<&'static str, &'static [u8]>,
    name: &str,
) -> Result<Option<T>, MetaError> {
    table.get(name)?.map(|row| decode(row.value())).transpose()
}

/// Whose the roots are.
fn owner((genesis, gateway): &(GenesisHash, NodeId)) -> Vec<u8> {
    [&genesis[..], &gateway.0].concat()
}

/// Roots that are there, by number from 0. Those over lines of which some were dropped cannot be made anew.
pub(super) fn roots(
    transaction: &ReadTransaction,
    of: &(GenesisHash, NodeId),
) -> Result<Vec<Hash>, MetaError> {
    let whose = transaction.open_table(COMMITMENTS)?.get(ROOTS_OF)?;
    if whose.is_none_or(|whose| whose.value() != owner(of)) {
        if compaction::Kept::of(transaction)?.base().is_some() {
            return Err(MetaError::LedgerDropped);
        }
        return Ok(Vec::new());
    }
    let mut roots = Vec::new();
    for (row, number) in transaction.open_table(ROOTS)?.iter()?.zip(0u64..) {
        let (found, root) = row?;
        if found.value() != number {
            return Err(MetaError::Row("segment-roots"));
        }
        roots.push(root.value());
    }
    Ok(roots)
}

/// Hashes of up to `limit` lines behind `after`.
fn hashes(
    transaction: &ReadTransaction,
    (genesis, gateway): &(GenesisHash, NodeId),
    after: u64,
    limit: usize,
) -> Result<Vec<Hash>, MetaError> {
    let mut hashes = Vec::new();
    for row in transaction.open_table(LEDGER)?.range(after.saturating_add(1)..)?.take(limit) {
        let (line, record) = row?;
        let record = LedgerRecord::decode_all(&mut record.value()).map_err(|_| MetaError::Row("ledger"))?;
        if line.value() != after + 1 + hashes.len() as u64 {
            return Err(MetaError::Row("ledger"));
        }
        hashes.push(line_hash(genesis, gateway, line.value(), &record));
    }
    Ok(hashes)
}

fn last_line(transaction: &ReadTransaction) -> Result<u64, MetaError> {
    Ok(transaction.open_table(LEDGER)?.last()?.map_or(0, |(line, _)| line.value()))
}

/// Makes the tables.
pub(super) fn prepare(transaction: &WriteTransaction) -> Result<(), MetaError> {
    transaction.open_table(ROOTS)?;
    transaction.open_table(COMMITMENTS)?;
    transaction.open_table(NOTICES)?;
    transaction.open_table(compaction::KEPT)?;
    Ok(())
}

impl Meta {
    /// Keeps the roots of the next full segments; whether all have theirs. A step looks at 65,536 lines at most.
    pub async fn keep_segment_roots(&self, of: (GenesisHash, NodeId)) -> Result<bool, MetaError> {
        let found = self.read(move |transaction| {
            let known = roots(transaction, &of)?.len() as u64;
            let full = last_line(transaction)? / u64::from(SEGMENT_LINES);
            let mut found = Vec::new();
            for number in (known..full).take(SEGMENTS) {
                let after = number * u64::from(SEGMENT_LINES);
                let hashes = hashes(transaction, &of, after, SEGMENT_LINES as usize)?;
                found.push((number, arion_proofs::merkle::root(&hashes)));
            }
            Ok((found, known))
        });
        let (found, known) = found.await?;
        if found.is_empty() {
            return Ok(true);
        }
        let is_all = found.len() < SEGMENTS;
        self.write(move |transaction| {
            let mut table = transaction.open_table(ROOTS)?;
            if known == 0 {
                table.remove_range::<u64>(..)?;
                transaction.open_table(COMMITMENTS)?.insert(ROOTS_OF, owner(&of).as_slice())?;
            }
            found.iter().try_for_each(|(number, root)| table.insert(number, root))
        })
        .await?;
        Ok(is_all)
    }

    /// The ledger as it is now. Hashes what has no root yet: call [`Meta::keep_segment_roots`] before.
    pub async fn ledger_cut(&self, of: (GenesisHash, NodeId)) -> Result<LedgerCut, MetaError> {
        self.read(move |transaction| {
            let lines = last_line(transaction)?;
            let mut roots = roots(transaction, &of)?;
            let segment = u64::from(SEGMENT_LINES);
            while (roots.len() as u64) * segment < lines {
                let after = roots.len() as u64 * segment;
                let hashes = hashes(transaction, &of, after, SEGMENT_LINES as usize)?;
                roots.push(arion_proofs::merkle::root(&hashes));
            }
            let root = arion_proofs::merkle::root(&roots);
            Ok(LedgerCut { lines, root, occupied: occupancy::read(transaction)? })
        })
        .await
    }

    /// The commitments that are known.
    pub async fn commitments(&self) -> Result<Commitments, MetaError> {
        self.read(|transaction| {
            let table = transaction.open_table(COMMITMENTS)?;
            Ok(Commitments { last: named(&table, FINAL)?, pending: named(&table, PENDING)? })
        })
        .await
    }

    /// A commitment goes to the chain.
    pub async fn commitment_begun(&self, commitment: Commitment) -> Result<(), MetaError> {
        self.write(move |transaction| {
            transaction.open_table(COMMITMENTS)?.insert(PENDING, Row::V1(commitment).encode().as_slice())
        })
        .await
    }

    /// The commitment on its way is final.
    pub async fn commitment_final(&self) -> Result<(), MetaError> {
        self.write(|transaction| {
            let mut table = transaction.open_table(COMMITMENTS)?;
            let row = table.take(PENDING)?.map(|row| row.value().to_vec());
            row.map_or(Ok(()), |row| table.insert(FINAL, row.as_slice()))
        })
        .await
    }

    /// The commitment on its way can never be carried out any more.
    pub async fn forget_commitment(&self) -> Result<(), MetaError> {
        self.write(|transaction| transaction.open_table(COMMITMENTS)?.remove(PENDING)).await
    }

    /// What is known of accounts of the chain whose agreements may expire.
    pub async fn notices(&self) -> Result<BTreeMap<Hash, Notice>, MetaError> {
        self.read(|transaction| {
            let mut notices = BTreeMap::new();
            for row in transaction.open_table(NOTICES)?.iter()? {
                let (account, row) = row?;
                notices.insert(account.value(), decode(row.value())?);
            }
            Ok(notices)
        })
        .await
    }

    /// Notes that, or that there is nothing to be known any more.
    pub async fn note_notice(&self, account: Hash, notice: Option<Notice>) -> Result<(), MetaError> {
        self.write(move |transaction| {
            let mut notices = transaction.open_table(NOTICES)?;
            match notice {
                Some(notice) => notices.insert(account, Row::V1(notice).encode().as_slice()),
                None => notices.remove(account),
            }
        })
        .await
    }
}
