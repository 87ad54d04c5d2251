//! Tables of either engine, and what is found in them.

use std::{
    borrow::Borrow,
    marker::PhantomData,
    ops::{Bound, RangeBounds},
};

use redb::{ReadableTable as _, ReadableTableMetadata as _, Value};

use super::{
    TableDefinition,
    key::{self, Key},
    rows::{self, Bytes, Rows},
};
use crate::meta::MetaError;

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
#[allow(clippy::large_enum_variant, reason = "ranges of a file are made without an allocation")]
pub(crate) enum Range<'a, K: Key, V: Value + 'static> {
    Redb(redb::Range<'a, K, V>),
    Postgres(Opened<'a, K, V>, rows::Bounds),
}

pub(super) type Row<'a, K, V> = (Guard<'a, K>, Guard<'a, V>);

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
    pub(super) fn new(rows: &'t Rows, table: TableDefinition<K, V>) -> Self {
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
