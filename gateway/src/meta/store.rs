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
mod table;
#[cfg(test)]
mod tests;

use std::{marker::PhantomData, sync::Arc};

pub(crate) use key::Key;
pub(super) use postgres::Server;
pub use postgres::{Postgres, PostgresError};
pub use presence::Role;
pub(crate) use redb::Value;
use redb::{Database, ReadableDatabase as _};
use rows::Rows;
pub(super) use session::{Session, outside};
use table::Opened;
pub(crate) use table::{ReadTable, ReadableTable, Table};
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

    /// The term of this replica while it leads; `None` where there is only one gateway.
    pub(super) fn leads(&self) -> Option<watch::Receiver<Option<u64>>> {
        match self {
            Self::Redb(_) => None,
            Self::Postgres(server) => Some(server.presence().leads()),
        }
    }

    /// Whether a term of this replica goes on for all that it knows.
    pub(super) fn is_fresh(&self, term: u64) -> bool {
        match self {
            Self::Redb(_) => true,
            Self::Postgres(server) => server.presence().is_fresh(term),
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
