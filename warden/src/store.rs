//! What a warden keeps on disk.
//!
//! | table | key | value |
//! |---|---|---|
//! | `shards` | shard (32 bytes), miner (32) | a gateway that has it (32), size (u32), round of the last verdict (u64) |
//! | `claims` | shard (32 bytes), miner (32), gateway (32) | size (u32): each gateway whose ledger has it |
//! | `cursors` | gateway (32) | last sequence number taken over |
//! | `anew` | gateway (32), shard (32), miner (32) | nothing: a line speaks of them that was kept of a ledger that is read anew |
//! | `outbox` | number | SCALE `AttestationRecord` |
//! | `exhibits` | the same number | SCALE `Exhibit` |
//! | `signed` | block (u64), shard (32), miner (32) | nothing: there is a verdict |
//! | `state` | name | number |
//!
//! # Invariants
//! - A page of a ledger and the cursor behind it are one transaction; so are an attestation and the mark that the
//!   shard has its verdict.
//! - A shard of a miner is audited while any gateway has a claim on it, for one of those that do: what one gives up passes to another.
//! - Every change is durable when the function returns.
//! - No challenge (shard, miner, block) has two verdicts, not even after a crash: two that differ would end this warden.
//! - Exhibits that wait for hand-over take at most `EXHIBIT_BYTES_MAX`; attestations are kept without them then.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use arion_ledger::Change;
use arion_types::{AttestationRecord, Exhibit, NodeId, Receipt, ShardHash, ShownAttestation};
use codec::{DecodeAll, Encode};
use redb::{
    Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, Table, TableDefinition, TableHandle,
    WriteTransaction,
};

use crate::sampler::Target;

type ShardKey = ([u8; 32], [u8; 32]);
type ShardValue = ([u8; 32], u32, u64);

/// Shard, miner, gateway.
type ClaimKey = ([u8; 32], [u8; 32], [u8; 32]);

const CLAIMS: TableDefinition<ClaimKey, u32> = TableDefinition::new("claims");
const SHARDS: TableDefinition<ShardKey, ShardValue> = TableDefinition::new("shards");
const CURSORS: TableDefinition<[u8; 32], u64> = TableDefinition::new("cursors");
/// Gateway, shard, miner.
type MarkKey = ([u8; 32], [u8; 32], [u8; 32]);
const ANEW: TableDefinition<MarkKey, ()> = TableDefinition::new("anew");
const OUTBOX: TableDefinition<u64, &[u8]> = TableDefinition::new("outbox");
const EXHIBITS: TableDefinition<u64, &[u8]> = TableDefinition::new("exhibits");
const SIGNED: TableDefinition<(u64, [u8; 32], [u8; 32]), ()> = TableDefinition::new("signed");
const STATE: TableDefinition<&str, u64> = TableDefinition::new("state");

const ROUND: &str = "round";
/// Numbers in the outbox are never used twice, so that a late acknowledgement removes nothing else.
const OUTBOX_NEXT: &str = "outbox_next";
/// Verdicts on challenges of so many blocks are remembered; there is none on older ones.
const SIGNED_BLOCKS: u64 = 256;
/// Bytes of all exhibits.
const EXHIBIT_BYTES: &str = "exhibit_bytes";
/// Bytes of exhibits that wait, at most: those of some four hours at the usual pace.
const EXHIBIT_BYTES_MAX: u64 = 1 << 30;

/// Pages of the database kept in memory, in bytes.
const CACHE_BYTES: usize = 8 << 20;

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be opened.
    #[error("cannot open the store {}: {reason}; is another arion-warden using it?", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: Box<redb::Error>,
    },
    /// Reading or writing failed.
    #[error("the store cannot be read or written: {0}; make room on the disk, or repair it, and start again")]
    Storage(Box<redb::Error>),
    /// An entry does not decode.
    #[error("an entry of the store does not decode; restore the data directory from a backup")]
    Corrupt,
}

impl<E: Into<redb::Error>> From<E> for StoreError {
    fn from(error: E) -> Self {
        Self::Storage(Box::new(error.into()))
    }
}

/// What became of a verdict.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attested {
    /// It waits for hand-over with what it rests on.
    Whole,
    /// There was no room for what it rests on.
    Alone,
    /// It is not kept: the challenge has a verdict, or is too old.
    Not,
}

/// What a page really changed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Applied {
    /// Shards that were not known.
    pub added: Vec<Target>,
    /// Shards that were known, with their miners.
    pub removed: Vec<(NodeId, ShardHash)>,
    /// Shards that go on being audited, for another gateway.
    pub passed: Vec<Target>,
}

/// Rows that are looked at at once where all are looked through.
const PAGE: usize = 4_096;

/// The tables that change with a claim, in one transaction.
struct Claims<'t> {
    claims: Table<'t, ClaimKey, u32>,
    shards: Table<'t, ShardKey, ShardValue>,
    applied: Applied,
}

impl<'t> Claims<'t> {
    fn open(transaction: &'t WriteTransaction) -> Result<Self, StoreError> {
        Ok(Self {
            claims: transaction.open_table(CLAIMS)?,
            shards: transaction.open_table(SHARDS)?,
            applied: Applied::default(),
        })
    }

    fn stored(&mut self, gateway: &NodeId, receipt: &Receipt) -> Result<(), StoreError> {
        let Receipt { node_id: node, shard, size, .. } = *receipt;
        let claim = (shard.0, node.0, gateway.0);
        if self.claims.get(claim)?.is_none() {
            self.claims.insert(claim, size)?;
        }
        let key = (shard.0, node.0);
        if self.shards.get(key)?.is_none() {
            self.shards.insert(key, (gateway.0, size, 0))?;
            self.applied.added.push(Target { node, shard, size, gateway: *gateway });
        }
        Ok(())
    }

    fn deleted(&mut self, gateway: &NodeId, shard: &ShardHash) -> Result<(), StoreError> {
        let mut nodes = Vec::new();
        let all = (shard.0, [0; 32], [0; 32])..=(shard.0, [0xff; 32], [0xff; 32]);
        for entry in self.claims.range(all)? {
            let (_, node, of) = entry?.0.value();
            if of == gateway.0 {
                nodes.push(NodeId(node));
            }
        }
        nodes.iter().try_for_each(|node| self.given_up(gateway, shard, node))
    }

    fn given_up(&mut self, gateway: &NodeId, shard: &ShardHash, node: &NodeId) -> Result<(), StoreError> {
        if self.claims.remove((shard.0, node.0, gateway.0))?.is_none() {
            return Ok(());
        }
        let key = (shard.0, node.0);
        let known = self.shards.get(key)?.map(|value| value.value());
        let Some((_, _, round)) = known.filter(|(of, ..)| *of == gateway.0) else { return Ok(()) };
        let others = (shard.0, node.0, [0; 32])..=(shard.0, node.0, [0xff; 32]);
        let next = self.claims.range(others)?.next().transpose()?;
        match next.map(|(key, size)| (key.value().2, size.value())) {
            Some((other, size)) => {
                self.shards.insert(key, (other, size, round))?;
                let (node, shard, gateway) = (*node, *shard, NodeId(other));
                self.applied.passed.push(Target { node, shard, size, gateway });
            }
            None => {
                self.shards.remove(key)?;
                self.applied.added.retain(|target| (&target.shard, &target.node) != (shard, node));
                self.applied.removed.push((*node, *shard));
            }
        }
        Ok(())
    }

    /// A gateway wants nothing any more but what is kept, of shards and miners. Walks over all claims.
    fn retain(
        &mut self,
        gateway: &NodeId,
        is_kept: impl Fn(&ShardHash, &NodeId) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        let mut from = ([0; 32], [0; 32], [0; 32]);
        loop {
            let page = self.claims.range(from..)?.take(PAGE);
            let keys = page.map(|entry| Ok(entry?.0.value())).collect::<Result<Vec<_>, StoreError>>()?;
            for (shard, node, _) in keys.iter().filter(|(.., of)| *of == gateway.0) {
                let (shard, node) = (ShardHash(*shard), NodeId(*node));
                if !is_kept(&shard, &node)? {
                    self.given_up(gateway, &shard, &node)?;
                }
            }
            match keys.last() {
                // What is looked at again is one row.
                Some(last) if keys.len() == PAGE => from = *last,
                _ => return Ok(()),
            }
        }
    }
}

/// Takes over the layout in which a shard of a miner had one gateway: the ledgers are read again for what two of them have.
fn convert(transaction: &WriteTransaction) -> Result<(), StoreError> {
    let mut claims = transaction.open_table(CLAIMS)?;
    for entry in transaction.open_table(SHARDS)?.iter()? {
        let (key, value) = entry?;
        let ((shard, node), (gateway, size, _)) = (key.value(), value.value());
        claims.insert((shard, node, gateway), size)?;
    }
    let mut cursors = transaction.open_table(CURSORS)?;
    let gateways = gateways_of(&cursors)?;
    gateways.iter().try_for_each(|gateway| Ok(cursors.insert(gateway.0, 0).map(drop)?))
}

/// The gateways whose ledgers were read.
fn gateways_of(cursors: &impl ReadableTable<[u8; 32], u64>) -> Result<Vec<NodeId>, StoreError> {
    cursors.iter()?.map(|entry| Ok(NodeId(entry?.0.value()))).collect()
}

/// The store.
#[derive(Debug)]
pub struct Store {
    database: Database,
}

impl Store {
    /// Opens or makes the store in `directory`.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let path = directory.join("warden.redb");
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create(&path)
            .map_err(|reason| StoreError::Open { path, reason: Box::new(reason.into()) })?;
        Self::on(database)
    }

    /// The store in an open database.
    pub fn on(database: Database) -> Result<Self, StoreError> {
        let transaction = database.begin_write()?;
        if !transaction.list_tables()?.any(|table| table.name() == CLAIMS.name()) {
            convert(&transaction)?;
        }
        transaction.open_table(SHARDS)?;
        transaction.open_table(CURSORS)?;
        transaction.open_table(ANEW)?;
        transaction.open_table(OUTBOX)?;
        transaction.open_table(EXHIBITS)?;
        transaction.open_table(SIGNED)?;
        transaction.open_table(STATE)?;
        transaction.commit()?;
        Ok(Self { database })
    }

    /// Whether it can still be used: after a failed read or write it refuses everything until it is opened again.
    pub fn check(&self) -> Result<(), StoreError> {
        Ok(self.database.begin_write()?.abort()?)
    }

    /// All shards with the round of their last verdict; 0 for none.
    pub fn shards(&self) -> Result<Vec<(Target, u64)>, StoreError> {
        let table = self.database.begin_read()?.open_table(SHARDS)?;
        let mut shards = Vec::new();
        for entry in table.iter()? {
            let (key, value) = entry?;
            let ((shard, node), (gateway, size, round)) = (key.value(), value.value());
            let target =
                Target { node: NodeId(node), shard: ShardHash(shard), size, gateway: NodeId(gateway) };
            shards.push((target, round));
        }
        Ok(shards)
    }

    /// Last sequence number taken over from a gateway; 0 for none.
    pub fn cursor(&self, gateway: &NodeId) -> Result<u64, StoreError> {
        let table = self.database.begin_read()?.open_table(CURSORS)?;
        Ok(table.get(gateway.0)?.map_or(0, |cursor| cursor.value()))
    }

    /// Takes over a page of a gateway's ledger. Returns what really changed. A gateway removes only what came from
    /// it.
    pub fn apply(&self, gateway: &NodeId, changes: &[Change], cursor: u64) -> Result<Applied, StoreError> {
        self.change(gateway, changes, Some(cursor))
    }

    /// The same of lines that were kept of a ledger that is read anew.
    pub fn apply_anew(&self, gateway: &NodeId, changes: &[Change]) -> Result<Applied, StoreError> {
        self.change(gateway, changes, None)
    }

    fn change(
        &self,
        gateway: &NodeId,
        changes: &[Change],
        cursor: Option<u64>,
    ) -> Result<Applied, StoreError> {
        let transaction = self.database.begin_write()?;
        let applied = {
            let mut claims = Claims::open(&transaction)?;
            for change in changes {
                match change {
                    Change::Stored(receipt) => claims.stored(gateway, receipt)?,
                    Change::Deleted { shard } => claims.deleted(gateway, shard)?,
                    Change::Released { shard, miner } => claims.given_up(gateway, shard, miner)?,
                    // Who served how much is nothing to audit.
                    Change::Named { .. } | Change::Served(_) => {}
                }
            }
            match cursor {
                Some(cursor) => drop(transaction.open_table(CURSORS)?.insert(gateway.0, cursor)?),
                None => mark(&transaction, gateway, changes)?,
            }
            claims.applied
        };
        transaction.commit()?;
        Ok(applied)
    }

    /// Forgets what the ledger of a gateway says, as if nothing of it had been read. Returns what really changed.
    pub fn forget(&self, gateway: &NodeId) -> Result<Applied, StoreError> {
        let transaction = self.database.begin_write()?;
        let applied = {
            let mut claims = Claims::open(&transaction)?;
            claims.retain(gateway, |_, _| Ok(false))?;
            transaction.open_table(CURSORS)?.remove(gateway.0)?;
            claims.applied
        };
        transaction.commit()?;
        Ok(applied)
    }

    /// Forgets every gateway but these, which are followed: nobody would say any more what the others delete. Before
    /// [`Store::shards`] is asked.
    pub fn keep_only(&self, followed: &BTreeSet<NodeId>) -> Result<(), StoreError> {
        let known = gateways_of(&self.database.begin_read()?.open_table(CURSORS)?)?;
        for gateway in known.iter().filter(|gateway| !followed.contains(gateway)) {
            tracing::warn!(%gateway, "is not among `gateways` any more: what its ledger said is forgotten");
            self.forget(gateway)?;
        }
        Ok(())
    }

    /// A ledger is about to be read anew: forgets what came when that was done before, and not to its end.
    pub fn begin_anew(&self, gateway: &NodeId) -> Result<(), StoreError> {
        let transaction = self.database.begin_write()?;
        unmark(&transaction, gateway)?;
        Ok(transaction.commit()?)
    }

    /// All of a ledger came that was kept: what did not come is not wanted any more. Walks over all shards.
    pub fn end_anew(&self, gateway: &NodeId, cursor: u64) -> Result<Applied, StoreError> {
        let transaction = self.database.begin_write()?;
        let applied = {
            let mut claims = Claims::open(&transaction)?;
            let marks = transaction.open_table(ANEW)?;
            claims.retain(gateway, |shard, node| Ok(marks.get((gateway.0, shard.0, node.0))?.is_some()))?;
            transaction.open_table(CURSORS)?.insert(gateway.0, cursor)?;
            claims.applied
        };
        unmark(&transaction, gateway)?;
        transaction.commit()?;
        Ok(applied)
    }

    /// The round; 1 at first.
    pub fn round(&self) -> Result<u64, StoreError> {
        let table = self.database.begin_read()?.open_table(STATE)?;
        Ok(table.get(ROUND)?.map_or(1, |round| round.value()))
    }

    /// A round begins.
    pub fn set_round(&self, round: u64) -> Result<(), StoreError> {
        let transaction = self.database.begin_write()?;
        transaction.open_table(STATE)?.insert(ROUND, round)?;
        Ok(transaction.commit()?)
    }

    /// Whether this warden may still say something about a challenge of the shard with the seed of this block.
    pub fn is_unsigned(&self, target: &Target, block: u64) -> Result<bool, StoreError> {
        let signed = self.database.begin_read()?.open_table(SIGNED)?;
        let newest = signed.last()?.map_or(0, |(key, _)| key.value().0).max(block);
        let is_old = block < newest.saturating_sub(SIGNED_BLOCKS);
        Ok(!is_old && signed.get((block, target.shard.0, target.node.0))?.is_none())
    }

    /// Keeps a signed attestation for hand-over with what it rests on, and that the shard has its verdict for the round;
    /// unless the challenge has one already.
    pub fn attest(
        &self,
        shown: &ShownAttestation,
        target: &Target,
        round: u64,
    ) -> Result<Attested, StoreError> {
        let ShownAttestation { record, exhibit } = shown;
        let transaction = self.database.begin_write()?;
        let has_room;
        {
            let mut signed = transaction.open_table(SIGNED)?;
            let newest = signed.last()?.map_or(0, |(key, _)| key.value().0).max(record.block_number);
            let oldest = newest.saturating_sub(SIGNED_BLOCKS);
            let challenge = (record.block_number, target.shard.0, target.node.0);
            if record.block_number < oldest || signed.insert(challenge, ())?.is_some() {
                return Ok(Attested::Not);
            }
            signed.retain_in(..(oldest, [0; 32], [0; 32]), |_, _| false)?;
            let mut state = transaction.open_table(STATE)?;
            let number = state.get(OUTBOX_NEXT)?.map_or(1, |number| number.value());
            state.insert(OUTBOX_NEXT, number + 1)?;
            transaction.open_table(OUTBOX)?.insert(number, record.encode().as_slice())?;
            let before = state.get(EXHIBIT_BYTES)?.map_or(0, |bytes| bytes.value());
            let encoded = exhibit.encode();
            let bytes = before.saturating_add(encoded.len() as u64);
            has_room = bytes <= EXHIBIT_BYTES_MAX;
            if has_room && *exhibit != Exhibit::Absent {
                transaction.open_table(EXHIBITS)?.insert(number, encoded.as_slice())?;
                state.insert(EXHIBIT_BYTES, bytes)?;
            }
            let mut shards = transaction.open_table(SHARDS)?;
            let key = (target.shard.0, target.node.0);
            let known = shards.get(key)?.map(|value| value.value());
            if let Some((gateway, size, _)) = known {
                shards.insert(key, (gateway, size, round))?;
            }
        }
        transaction.commit()?;
        Ok(if has_room { Attested::Whole } else { Attested::Alone })
    }

    /// Attestations not handed over yet, oldest first, with their numbers: at most `limit` and, but for the first, at most
    /// `bytes_max` of them.
    pub fn outbox(&self, limit: usize, bytes_max: usize) -> Result<Vec<(u64, ShownAttestation)>, StoreError> {
        let transaction = self.database.begin_read()?;
        let (records, exhibits) = (transaction.open_table(OUTBOX)?, transaction.open_table(EXHIBITS)?);
        let (mut waiting, mut bytes) = (Vec::new(), 0);
        for entry in records.iter()?.take(limit) {
            let (number, encoded) = entry?;
            let record = AttestationRecord::decode_all(&mut encoded.value());
            let exhibit = match exhibits.get(number.value())? {
                Some(encoded) => Exhibit::decode_all(&mut encoded.value()),
                None => Ok(Exhibit::Absent),
            };
            let (Ok(record), Ok(exhibit)) = (record, exhibit) else { return Err(StoreError::Corrupt) };
            let shown = ShownAttestation { record, exhibit };
            bytes += shown.encoded_size();
            if bytes > bytes_max && !waiting.is_empty() {
                break;
            }
            waiting.push((number.value(), shown));
        }
        Ok(waiting)
    }

    /// Number of attestations not handed over yet.
    pub fn outbox_len(&self) -> Result<u64, StoreError> {
        Ok(self.database.begin_read()?.open_table(OUTBOX)?.len()?)
    }

    /// They are durable elsewhere.
    pub fn handed_over(&self, numbers: &[u64]) -> Result<(), StoreError> {
        let transaction = self.database.begin_write()?;
        {
            let mut outbox = transaction.open_table(OUTBOX)?;
            let mut exhibits = transaction.open_table(EXHIBITS)?;
            let mut freed = 0u64;
            for number in numbers {
                outbox.remove(number)?;
                let exhibit = exhibits.remove(number)?;
                freed = freed.saturating_add(exhibit.map_or(0, |exhibit| exhibit.value().len() as u64));
            }
            let mut state = transaction.open_table(STATE)?;
            let bytes = state.get(EXHIBIT_BYTES)?.map_or(0, |bytes| bytes.value());
            state.insert(EXHIBIT_BYTES, bytes.saturating_sub(freed))?;
        }
        Ok(transaction.commit()?)
    }
}

/// Remembers of what lines speak that were kept.
fn mark(transaction: &WriteTransaction, gateway: &NodeId, changes: &[Change]) -> Result<(), StoreError> {
    let mut marks = transaction.open_table(ANEW)?;
    for change in changes {
        // A receipt may count no longer because its map is forgotten: it counted when it was read before.
        if let Change::Stored(Receipt { shard, node_id: miner, .. }) | Change::Named { shard, miner } = change
        {
            marks.insert((gateway.0, shard.0, miner.0), ())?;
        }
    }
    Ok(())
}

fn unmark(transaction: &WriteTransaction, NodeId(gateway): &NodeId) -> Result<(), StoreError> {
    let all = (*gateway, [0; 32], [0; 32])..=(*gateway, [0xff; 32], [0xff; 32]);
    Ok(transaction.open_table(ANEW)?.retain_in(all, |_, ()| false)?)
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
