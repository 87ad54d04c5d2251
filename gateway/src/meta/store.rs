//! What metadata are kept in: typed tables of rows in order of their keys, read and written in transactions.
//!
//! Two engines are below: redb, one file of one gateway, and PostgreSQL, which several replicas of a gateway share. Nothing
//! above knows which one it works on.
//!
//! # Invariants
//! - Both engines have the same order of keys and the same bytes of values ([`key`]).
//! - A read transaction sees one commit and nothing later. Write transactions are one after the other, also those of replicas.
//! - The redb file is what it was before there was another engine: nothing is added to its rows.
//!
//! # Not here
//! What is in the tables ([`super`]); who commits when ([`super::batch`]).

mod key;
mod postgres;
mod presence;
mod rows;
mod session;
#[cfg(test)]
mod tests;

use std::{
    borrow::Borrow,
    marker::PhantomData,
    ops::{Bound, RangeBounds},
    sync::Arc,
};

pub(crate) use key::Key;
pub(super) use postgres::Server;
pub use postgres::{Postgres, PostgresError};
pub use presence::Role;
pub(crate) use redb::Value;
use redb::{Database, ReadableDatabase as _, ReadableTable as _, ReadableTableMetadata as _};
use rows::{Bytes, Rows};
pub(super) use session::{Session, outside};
use tokio::sync::watch;

use super::MetaError;

/// Name of a table, and what its keys and values are.
pub(crate) struct TableDefinition<K, V> {
    name: &'static str,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Clone for TableDefinition<K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> Copy for TableDefinition<K, V> {}

impl<K, V> TableDefinition<K, V> {
    pub(crate) const fn new(name: &'static str) -> Self {
        Self { name, types: PhantomData }
    }

    #[cfg(test)]
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }
}

impl<K: Key, V: Value + 'static> TableDefinition<K, V> {
    fn redb(&self) -> redb::TableDefinition<'static, K, V> {
        redb::TableDefinition::new(self.name)
    }
}

/// Where the rows are.
#[derive(Clone)]
pub(super) enum Store {
    Redb(Arc<Database>),
    Postgres(Arc<Server>),
}

impl Store {
    /// Waits until there may be one more view.
    pub(super) async fn turn(&self) -> Option<tokio::sync::OwnedSemaphorePermit> {
        match self {
            Self::Redb(_) => None,
            Self::Postgres(server) => server.turn().await,
        }
    }

    /// Does something in a view of the last commit.
    pub(super) fn read<T>(
        &self,
        operation: impl FnOnce(&ReadTransaction) -> Result<T, MetaError>,
    ) -> Result<T, MetaError> {
        match self {
            Self::Redb(database) => operation(&ReadTransaction::Redb(database.begin_read()?)),
            Self::Postgres(server) => server.read(operation),
        }
    }

    /// The same where waiting is not allowed otherwise: for short reads.
    pub(super) fn read_at_once<T: Send>(
        &self,
        operation: impl FnOnce(&ReadTransaction) -> Result<T, MetaError> + Send,
    ) -> Result<T, MetaError> {
        match self {
            Self::Redb(_) => self.read(operation),
            Self::Postgres(server) => server.read_at_once(operation),
        }
    }

    /// Whether this replica leads; `None` where there is only one gateway.
    pub(super) fn leads(&self) -> Option<watch::Receiver<bool>> {
        match self {
            Self::Redb(_) => None,
            Self::Postgres(server) => Some(server.presence().leads()),
        }
    }

    pub(super) fn replica(&self) -> Option<u32> {
        match self {
            Self::Redb(_) => None,
            Self::Postgres(server) => Some(server.presence().number()),
        }
    }

    pub(super) fn is_shared(&self) -> bool {
        match self {
            Self::Redb(_) => false,
            Self::Postgres(server) => server.presence().role() == Role::Replica,
        }
    }

    pub(super) fn cut_presence(&self) {
        if let Self::Postgres(server) = self {
            server.presence().cut();
        }
    }

    /// Begins a change; `last` is what the one before left of its session.
    pub(super) fn begin_write(&self, last: &mut Option<Session>) -> Result<WriteTransaction, MetaError> {
        match self {
            Self::Redb(database) => Ok(WriteTransaction::Redb(Box::new(database.begin_write()?))),
            Self::Postgres(server) => server.begin_write(last),
        }
    }
}

/// A view of one commit.
pub(crate) enum ReadTransaction {
    Redb(redb::ReadTransaction),
    Postgres(Rows),
}

impl ReadTransaction {
    pub(crate) fn open_table<K: Key, V: Value + 'static>(
        &self,
        table: TableDefinition<K, V>,
    ) -> Result<ReadTable<'_, K, V>, MetaError> {
        Ok(match self {
            Self::Redb(transaction) => ReadTable::Redb(transaction.open_table(table.redb())?),
            Self::Postgres(rows) => ReadTable::Postgres(Opened::new(rows, table)),
        })
    }

    /// Replicas that are running; `None` where there are none, and whoever asks is the only one.
    pub(crate) fn running(&self) -> Result<Option<Vec<u32>>, MetaError> {
        match self {
            Self::Redb(_) => Ok(None),
            Self::Postgres(rows) => rows.running().map(Some),
        }
    }

    /// The tables of a file.
    #[cfg(test)]
    pub(crate) fn table_names(&self) -> Vec<String> {
        use redb::TableHandle;
        match self {
            Self::Redb(transaction) => {
                transaction.list_tables().unwrap().map(|table| table.name().to_owned()).collect()
            }
            Self::Postgres(_) => Vec::new(),
        }
    }
}

/// A change that is committed as a whole, or not at all.
pub(crate) enum WriteTransaction {
    Redb(Box<redb::WriteTransaction>),
    Postgres(Rows),
}

impl WriteTransaction {
    /// Opens a table; a second time only once the first handle is gone.
    pub(crate) fn open_table<K: Key, V: Value + 'static>(
        &self,
        table: TableDefinition<K, V>,
    ) -> Result<Table<'_, K, V>, MetaError> {
        Ok(match self {
            Self::Redb(transaction) => Table::Redb(transaction.open_table(table.redb())?),
            Self::Postgres(rows) => Table::Postgres(Opened::new(rows, table)),
        })
    }

    /// Keeps the change; what is left is for the next one. After an error it may have been kept or not.
    pub(super) fn commit(self) -> Result<Option<Session>, MetaError> {
        match self {
            Self::Redb(transaction) => {
                transaction.commit()?;
                Ok(None)
            }
            Self::Postgres(rows) => rows.commit().map(Some),
        }
    }

    /// Has the server know of the changes so far, so that they need no memory here.
    pub(super) fn send(&self) -> Result<(), MetaError> {
        match self {
            Self::Redb(_) => Ok(()),
            Self::Postgres(rows) => rows.send(),
        }
    }

    /// Gives the change up.
    pub(super) fn abort(self) -> Result<Option<Session>, MetaError> {
        match self {
            Self::Redb(transaction) => {
                transaction.abort()?;
                Ok(None)
            }
            Self::Postgres(rows) => rows.abort().map(Some),
        }
    }

    /// Which replica writes; `None` where there is only one gateway.
    pub(crate) fn replica(&self) -> Option<u32> {
        match self {
            Self::Redb(_) => None,
            Self::Postgres(rows) => Some(rows.replica()),
        }
    }
}

/// A value, or a key, where it was found.
pub(crate) enum Guard<'a, V: Value + 'static> {
    Redb(redb::AccessGuard<'a, V>),
    Postgres(Bytes),
}

impl<V: Value + 'static> Guard<'_, V> {
    pub(crate) fn value(&self) -> V::SelfType<'_> {
        match self {
            Self::Redb(guard) => guard.value(),
            Self::Postgres(bytes) => V::from_bytes(bytes),
        }
    }
}

/// Rows of a table in order of their keys, from both ends.
pub(crate) enum Range<'a, K: Key, V: Value + 'static> {
    Redb(redb::Range<'a, K, V>),
    Postgres(Opened<'a, K, V>, rows::Bounds),
}

type Row<'a, K, V> = (Guard<'a, K>, Guard<'a, V>);

fn row_of_redb<'a, K: Key, V: Value + 'static>(
    row: Result<(redb::AccessGuard<'a, K>, redb::AccessGuard<'a, V>), redb::StorageError>,
) -> Result<Row<'a, K, V>, MetaError> {
    let (key, value) = row?;
    Ok((Guard::Redb(key), Guard::Redb(value)))
}

impl<'a, K: Key, V: Value + 'static> Iterator for Range<'a, K, V> {
    type Item = Result<Row<'a, K, V>, MetaError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Redb(range) => range.next().map(row_of_redb),
            Self::Postgres(table, bounds) => {
                let found = table.rows.next(table.name, bounds).transpose()?;
                Some(found.and_then(|row| table.typed(row)))
            }
        }
    }
}

impl<K: Key, V: Value + 'static> DoubleEndedIterator for Range<'_, K, V> {
    fn next_back(&mut self) -> Option<Self::Item> {
        match self {
            Self::Redb(range) => range.next_back().map(row_of_redb),
            Self::Postgres(table, bounds) => {
                let found = table.rows.next_back(table.name, bounds).transpose()?;
                Some(found.and_then(|row| table.typed(row)))
            }
        }
    }
}

/// A table that can be read.
pub(crate) trait ReadableTable<K: Key, V: Value + 'static> {
    fn get<'k>(&self, key: impl Borrow<K::SelfType<'k>>) -> Result<Option<Guard<'_, V>>, MetaError>;

    fn range<'k, KR>(&self, range: impl RangeBounds<KR> + 'k) -> Result<Range<'_, K, V>, MetaError>
    where
        KR: Borrow<K::SelfType<'k>> + 'k;

    /// All rows.
    fn iter(&self) -> Result<Range<'_, K, V>, MetaError>;

    /// The row with the highest key.
    fn last(&self) -> Result<Option<Row<'_, K, V>>, MetaError> {
        self.iter()?.next_back().transpose()
    }

    fn is_empty(&self) -> Result<bool, MetaError> {
        Ok(self.iter()?.next().transpose()?.is_none())
    }
}

/// A table in PostgreSQL.
pub(crate) struct Opened<'t, K, V> {
    rows: &'t Rows,
    name: &'static str,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Clone for Opened<'_, K, V> {
    fn clone(&self) -> Self {
        Self { rows: self.rows, name: self.name, types: PhantomData }
    }
}

impl<'t, K: Key, V: Value + 'static> Opened<'t, K, V> {
    fn new(rows: &'t Rows, table: TableDefinition<K, V>) -> Self {
        Self { rows, name: table.name, types: PhantomData }
    }

    fn checked<T: Value>(&self, bytes: Bytes) -> Result<Bytes, MetaError> {
        match T::fixed_width() {
            Some(width) if width != bytes.len() => Err(MetaError::Row(self.name)),
            _ => Ok(bytes),
        }
    }

    fn typed<'g>(&self, (key, value): (Vec<u8>, Bytes)) -> Result<Row<'g, K, V>, MetaError> {
        let key = K::native(&key).ok_or(MetaError::Row(self.name))?;
        Ok((Guard::Postgres(key.into()), Guard::Postgres(self.checked::<V>(value)?)))
    }

    fn get<'g, 'k>(&self, key: &K::SelfType<'k>) -> Result<Option<Guard<'g, V>>, MetaError> {
        let found = self.rows.get(self.name, key::ordered::<K>(key))?;
        found.map(|bytes| Ok(Guard::Postgres(self.checked::<V>(bytes)?))).transpose()
    }

    fn range<'k, KR>(&self, range: &impl RangeBounds<KR>) -> Range<'t, K, V>
    where
        KR: Borrow<K::SelfType<'k>>,
    {
        let bound = |bound: Bound<&KR>| bound.map(|key| key::ordered::<K>(key.borrow()));
        Range::Postgres(self.clone(), rows::Bounds::new(bound(range.start_bound()), bound(range.end_bound())))
    }
}

/// A table in a view.
pub(crate) enum ReadTable<'t, K: Key, V: Value + 'static> {
    Redb(redb::ReadOnlyTable<K, V>),
    Postgres(Opened<'t, K, V>),
}

impl<'t, K: Key, V: Value + 'static> ReadTable<'t, K, V> {
    /// As [`ReadableTable::get`]; what is found outlives the table.
    pub(crate) fn get<'k>(
        &self,
        key: impl Borrow<K::SelfType<'k>>,
    ) -> Result<Option<Guard<'t, V>>, MetaError> {
        match self {
            Self::Redb(table) => Ok(table.get(key)?.map(Guard::Redb)),
            Self::Postgres(table) => table.get(key.borrow()),
        }
    }

    /// As [`ReadableTable::range`]; what is found outlives the table.
    pub(crate) fn range<'k, KR>(&self, range: impl RangeBounds<KR> + 'k) -> Result<Range<'t, K, V>, MetaError>
    where
        KR: Borrow<K::SelfType<'k>> + 'k,
    {
        match self {
            Self::Redb(table) => Ok(Range::Redb(table.range::<KR>(range)?)),
            Self::Postgres(table) => Ok(table.range::<KR>(&range)),
        }
    }

    /// Number of rows.
    pub(crate) fn len(&self) -> Result<u64, MetaError> {
        match self {
            Self::Redb(table) => Ok(table.len()?),
            Self::Postgres(table) => table.rows.count(table.name),
        }
    }
}

impl<K: Key, V: Value + 'static> ReadableTable<K, V> for ReadTable<'_, K, V> {
    fn get<'k>(&self, key: impl Borrow<K::SelfType<'k>>) -> Result<Option<Guard<'_, V>>, MetaError> {
        self.get(key)
    }

    fn range<'k, KR>(&self, range: impl RangeBounds<KR> + 'k) -> Result<Range<'_, K, V>, MetaError>
    where
        KR: Borrow<K::SelfType<'k>> + 'k,
    {
        self.range(range)
    }

    fn iter(&self) -> Result<Range<'_, K, V>, MetaError> {
        match self {
            Self::Redb(table) => Ok(Range::Redb(table.iter()?)),
            Self::Postgres(table) => Ok(Range::Postgres(table.clone(), rows::Bounds::all())),
        }
    }
}

/// A table in a change.
pub(crate) enum Table<'t, K: Key, V: Value + 'static> {
    Redb(redb::Table<'t, K, V>),
    Postgres(Opened<'t, K, V>),
}

impl<K: Key, V: Value + 'static> Table<'_, K, V> {
    /// Enters a row in the place of one with this key.
    pub(crate) fn insert<'k, 'v>(
        &mut self,
        key: impl Borrow<K::SelfType<'k>>,
        value: impl Borrow<V::SelfType<'v>>,
    ) -> Result<(), MetaError> {
        match self {
            Self::Redb(table) => drop(table.insert(key, value)?),
            Self::Postgres(table) => {
                let value = V::as_bytes(value.borrow()).as_ref().into();
                table.rows.set(table.name, key::ordered::<K>(key.borrow()), Some(value));
            }
        }
        Ok(())
    }

    /// Removes a row if it is there.
    pub(crate) fn remove<'k>(&mut self, key: impl Borrow<K::SelfType<'k>>) -> Result<(), MetaError> {
        match self {
            Self::Redb(table) => drop(table.remove(key)?),
            Self::Postgres(table) => table.rows.set(table.name, key::ordered::<K>(key.borrow()), None),
        }
        Ok(())
    }

    /// Removes a row and returns it.
    pub(crate) fn take<'k>(
        &mut self,
        key: impl Borrow<K::SelfType<'k>>,
    ) -> Result<Option<Guard<'_, V>>, MetaError> {
        match self {
            Self::Redb(table) => Ok(table.remove(key)?.map(Guard::Redb)),
            Self::Postgres(table) => {
                let there = table.get(key.borrow())?;
                if there.is_some() {
                    table.rows.set(table.name, key::ordered::<K>(key.borrow()), None);
                }
                Ok(there)
            }
        }
    }

    /// Removes all rows of a range.
    pub(crate) fn remove_range<'k, KR>(&mut self, range: impl RangeBounds<KR> + 'k) -> Result<(), MetaError>
    where
        KR: Borrow<K::SelfType<'k>> + 'k,
    {
        match self {
            Self::Redb(table) => table.retain_in::<KR, _>(range, |_, _| false)?,
            Self::Postgres(table) => {
                let Range::Postgres(_, mut bounds) = table.range::<KR>(&range) else { return Ok(()) };
                while let Some((key, _)) = table.rows.next(table.name, &mut bounds)? {
                    table.rows.set(table.name, key, None);
                }
            }
        }
        Ok(())
    }
}

impl<K: Key, V: Value + 'static> ReadableTable<K, V> for Table<'_, K, V> {
    fn get<'k>(&self, key: impl Borrow<K::SelfType<'k>>) -> Result<Option<Guard<'_, V>>, MetaError> {
        match self {
            Self::Redb(table) => Ok(table.get(key)?.map(Guard::Redb)),
            Self::Postgres(table) => table.get(key.borrow()),
        }
    }

    fn range<'k, KR>(&self, range: impl RangeBounds<KR> + 'k) -> Result<Range<'_, K, V>, MetaError>
    where
        KR: Borrow<K::SelfType<'k>> + 'k,
    {
        match self {
            Self::Redb(table) => Ok(Range::Redb(table.range::<KR>(range)?)),
            Self::Postgres(table) => Ok(table.range::<KR>(&range)),
        }
    }

    fn iter(&self) -> Result<Range<'_, K, V>, MetaError> {
        match self {
            Self::Redb(table) => Ok(Range::Redb(table.iter()?)),
            Self::Postgres(table) => Ok(Range::Postgres(table.clone(), rows::Bounds::all())),
        }
    }

    fn last(&self) -> Result<Option<Row<'_, K, V>>, MetaError> {
        match self {
            Self::Redb(table) => Ok(table.last()?.map(|(key, value)| (Guard::Redb(key), Guard::Redb(value)))),
            Self::Postgres(_) => self.iter()?.next_back().transpose(),
        }
    }
}
