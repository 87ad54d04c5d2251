//! Compaction of the ledger: which of its first lines are kept, and the steps in which the others go.
//!
//! 1. A line says what is kept ([`Meta::note_compaction`]).
//! 2. Once the chain has it for long enough ([`Meta::compaction_anchored`]), which lines are kept is noted, a bit for each
//!    ([`Meta::note_kept`]).
//! 3. The base is set ([`Meta::begin_drop`]): from then on whoever asks gets the lines that are kept, and no others.
//! 4. The others are removed, a segment at a time ([`Meta::drop_step`]).
//!
//! # Invariants
//! - No line is removed that anything here needs: the index of receipts has come past it and refers to none of those removed, and
//!   all segments have their roots.
//! - Bits are of all lines up to the base before the first of them is removed, and stay until the last one is.
//! - A step that is repeated after a crash does what is left of it.
//!
//! # Not here
//! What is kept (`arion_ledger::compact`); when it is done (`crate::compaction`).

use arion_ledger::{commitment_number, segment::SEGMENT_LINES};
use arion_proofs::merkle::Peaks;
use arion_protocol::{Compacted, LedgerBase, LedgerEntry, LedgerRecord};
use arion_types::{GenesisHash, NodeId};
use codec::{Decode, DecodeAll, Encode};

use super::{
    LEDGER, Meta, MetaError, ReadTable, ReadTransaction, ReadableTable, SETTINGS, TableDefinition,
    WriteTransaction,
    commitments::{COMMITMENTS, Commitment, FINAL, ROOTS, Row, named, roots},
    ledger,
    receipts::{self, RECEIPTS},
};

/// Number of a segment of which lines are being removed - a bit for each line that is kept, the lowest of a byte first.
pub(super) const KEPT: TableDefinition<u64, &[u8]> = TableDefinition::new("ledger-kept");
/// Among the commitments: up to where lines were dropped, and the statement that waits until others may be.
const BASE: &str = "base";
const COMPACTION: &str = "compaction";
/// Why [`Meta::begin_drop`] has to wait for [`Meta::note_kept`].
const UNNOTED: &str = "it is not noted which lines are kept";
/// Lines of a segment, as a number of lines.
const SEGMENT: u64 = SEGMENT_LINES as u64;
/// Bytes of bits of a segment.
const BITS: usize = SEGMENT_LINES as usize / 8;

/// A line that says what is kept, until the others are dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Compaction {
    /// What it says.
    pub says: Compacted,
    /// Its number.
    pub line: u64,
    /// Since when a commitment is known to be final that covers it, milliseconds since the Unix epoch.
    pub anchored_ms: Option<u64>,
}

/// Up to where lines were dropped.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct BaseRow {
    /// What others are told.
    pub base: LedgerBase,
    /// How many lines are kept.
    pub lines: u64,
    /// Lines up to here were looked at and removed if they are not kept.
    pub dropped: u64,
}

impl BaseRow {
    /// Whether lines are still to be removed.
    pub fn is_going(&self) -> bool {
        self.dropped < self.base.until
    }
}

/// Which lines are there for those who ask.
pub(super) struct Kept<'t> {
    row: Option<BaseRow>,
    bits: Option<ReadTable<'t, u64, &'static [u8]>>,
    /// Bits of the segment that was looked at last.
    segment: Option<(u64, Vec<u8>)>,
}

impl<'t> Kept<'t> {
    pub(super) fn of(transaction: &'t ReadTransaction) -> Result<Self, MetaError> {
        let row: Option<BaseRow> = named(&transaction.open_table(COMMITMENTS)?, BASE)?;
        let bits = match row.as_ref().is_some_and(BaseRow::is_going) {
            true => Some(transaction.open_table(KEPT)?),
            false => None,
        };
        Ok(Self { row, bits, segment: None })
    }

    /// What others are told.
    pub(super) fn base(self) -> Option<LedgerBase> {
        self.row.map(|row| row.base)
    }

    /// Whether a line that is there is one of those that are kept.
    pub(super) fn has(&mut self, line: u64) -> Result<bool, MetaError> {
        let (Some(row), Some(bits)) = (&self.row, &self.bits) else { return Ok(true) };
        if line <= row.dropped || line > row.base.until {
            return Ok(true);
        }
        let number = segment_of(line);
        if self.segment.as_ref().is_none_or(|(known, _)| *known != number) {
            let found = bits.get(number)?.ok_or(MetaError::Row("ledger-kept"))?.value().to_vec();
            self.segment = Some((number, found));
        }
        Ok(self.segment.as_ref().is_some_and(|(_, bits)| has_bit(bits, line)))
    }
}

/// The segment of a line.
fn segment_of(line: u64) -> u64 {
    line.saturating_sub(1) / SEGMENT
}

/// The bit of a line, in the bits of its segment.
fn has_bit(bits: &[u8], line: u64) -> bool {
    let at = line.saturating_sub(1) % SEGMENT;
    bits.get((at / 8) as usize).is_some_and(|byte| byte >> (at % 8) & 1 == 1)
}

fn keep(transaction: &WriteTransaction, name: &'static str, row: impl Encode) -> Result<(), MetaError> {
    transaction.open_table(COMMITMENTS)?.insert(name, Row::V1(row).encode().as_slice())
}

fn known<T: Decode>(transaction: &WriteTransaction, name: &str) -> Result<Option<T>, MetaError> {
    named(&transaction.open_table(COMMITMENTS)?, name)
}

fn record(bytes: &[u8]) -> Result<LedgerRecord, MetaError> {
    LedgerRecord::decode_all(&mut &*bytes).map_err(|_| MetaError::Row("ledger"))
}

impl Meta {
    /// The base, and the statement that waits.
    pub async fn compactions(&self) -> Result<(Option<BaseRow>, Option<Compaction>), MetaError> {
        self.read(|transaction| {
            let table = transaction.open_table(COMMITMENTS)?;
            Ok((named(&table, BASE)?, named(&table, COMPACTION)?))
        })
        .await
    }

    /// The rows of lines behind `after`, at most `limit`, whether or not they are about to be removed.
    pub async fn ledger_rows(&self, after: u64, limit: u16) -> Result<Vec<LedgerEntry>, MetaError> {
        self.read(move |transaction| {
            let mut entries = Vec::with_capacity(usize::from(limit));
            let ledger = transaction.open_table(LEDGER)?;
            for row in ledger.range(after.saturating_add(1)..)?.take(usize::from(limit)) {
                let (sequence, row) = row?;
                entries.push(LedgerEntry { sequence: sequence.value(), record: record(row.value())? });
            }
            Ok(entries)
        })
        .await
    }

    /// Appends a line that says what is kept, and notes that it waits; its number. Not while another one waits.
    pub async fn note_compaction(&self, says: Compacted) -> Result<u64, MetaError> {
        self.write(move |transaction| {
            let base = known::<BaseRow>(transaction, BASE)?.map_or(0, |row| row.base.line);
            if known::<Compaction>(transaction, COMPACTION)?.is_some() || says.until <= base {
                return Err(MetaError::NotDroppedYet("another line says already what is kept"));
            }
            let line = ledger::append(transaction, [LedgerRecord::Compacted(says)])? + 1;
            keep(transaction, COMPACTION, Compaction { says, line, anchored_ms: None })?;
            Ok(line)
        })
        .await
    }

    /// Since when the statement that waits is covered by a final commitment, as far as this is known by now.
    pub async fn compaction_anchored(&self, now_ms: u64) -> Result<Option<u64>, MetaError> {
        self.write(move |transaction| {
            let Some(waiting) = known::<Compaction>(transaction, COMPACTION)? else { return Ok(None) };
            if waiting.anchored_ms.is_some() {
                return Ok(waiting.anchored_ms);
            }
            let newest: Option<Commitment> = known(transaction, FINAL)?;
            let first = commitment_number(waiting.line, None).unwrap_or(u64::MAX);
            if newest.is_none_or(|newest| newest.sequence < first) {
                return Ok(None);
            }
            keep(transaction, COMPACTION, Compaction { anchored_ms: Some(now_ms), ..waiting })?;
            Ok(Some(now_ms))
        })
        .await
    }

    /// Notes which lines are kept of segments from this number on.
    pub async fn note_kept(&self, from: u64, bits: Vec<u8>) -> Result<(), MetaError> {
        self.write(move |transaction| {
            if known::<BaseRow>(transaction, BASE)?.is_some_and(|row| row.is_going()) {
                return Err(MetaError::NotDroppedYet("lines are being removed by what was noted before"));
            }
            let mut table = transaction.open_table(KEPT)?;
            (from..).zip(bits.chunks(BITS)).try_for_each(|(number, bits)| table.insert(number, bits))
        })
        .await
    }

    /// From now on the lines that are not kept are gone for whoever asks, and can be removed. [`MetaError::NotDropped`] where it is not
    /// noted which ones are kept.
    pub async fn begin_drop(&self, of: (GenesisHash, NodeId)) -> Result<(), MetaError> {
        let roots = self.read(move |transaction| roots(transaction, &of)).await?;
        self.write(move |transaction| {
            let waiting: Option<Compaction> = known(transaction, COMPACTION)?;
            let Compaction { says, line, .. } =
                waiting.ok_or(MetaError::NotDropped("no line says what is kept"))?;
            if receipts::reached(&transaction.open_table(SETTINGS)?)? < says.until {
                return Err(MetaError::NotDroppedYet(
                    "the index of receipts is behind; it goes on by itself",
                ));
            }
            let segments = says.until / SEGMENT;
            let mut peaks = Peaks::default();
            let table = transaction.open_table(ROOTS)?;
            for (number, root) in (0..segments).zip(&roots) {
                if table.get(number)?.is_none_or(|there| there.value() != *root) {
                    return Err(MetaError::NotDroppedYet("the roots of segments changed in this moment"));
                }
                peaks.push(*root);
            }
            if peaks.count() < segments {
                return Err(MetaError::NotDroppedYet(
                    "segments have no root yet; they get it with the next commitment",
                ));
            }
            let table = transaction.open_table(KEPT)?;
            let mut lines = 0;
            for number in 0..segments {
                let Some(bits) = table.get(number)? else {
                    return Err(MetaError::NotDropped(UNNOTED));
                };
                lines += bits.value().iter().map(|byte| u64::from(byte.count_ones())).sum::<u64>();
            }
            if lines != says.lines {
                return Err(MetaError::NotDropped(UNNOTED));
            }
            drop(table);
            let base = LedgerBase { peaks: peaks.hashes().to_vec(), until: says.until, line };
            keep(transaction, BASE, BaseRow { base, lines, dropped: 0 })?;
            transaction.open_table(COMMITMENTS)?.remove(COMPACTION)
        })
        .await
    }

    /// Removes the lines of the next segment that are not kept: how many, or `None` if there is nothing left to remove.
    pub async fn drop_step(&self) -> Result<Option<u64>, MetaError> {
        self.write(move |transaction| {
            let row: Option<BaseRow> = known(transaction, BASE)?;
            let Some(mut row) = row.filter(BaseRow::is_going) else { return Ok(None) };
            let number = row.dropped / SEGMENT;
            let mut kept = transaction.open_table(KEPT)?;
            let bits = kept.get(number)?.map(|bits| bits.value().to_vec());
            let bits = bits.ok_or(MetaError::Row("ledger-kept"))?;
            let mut ledger = transaction.open_table(LEDGER)?;
            let receipts = transaction.open_table(RECEIPTS)?;
            let (first, last) = (row.dropped + 1, row.dropped + SEGMENT);
            let mut gone = Vec::new();
            for found in ledger.range(first..=last)? {
                let (line, bytes) = found?;
                let line = line.value();
                if has_bit(&bits, line) {
                    continue;
                }
                if let LedgerRecord::Stored(signed) = record(bytes.value())? {
                    let place = (signed.receipt.shard.0, signed.receipt.index);
                    if receipts.get(place)?.is_some_and(|newest| newest.value() == line) {
                        return Err(MetaError::NotDropped(
                            "a receipt that is needed is not among what is kept",
                        ));
                    }
                }
                gone.push(line);
            }
            for line in &gone {
                ledger.remove(line)?;
            }
            kept.remove(number)?;
            row.dropped = last;
            drop((kept, ledger, receipts));
            keep(transaction, BASE, row)?;
            Ok(Some(gone.len() as u64))
        })
        .await
    }
}
