//! A connection to PostgreSQL and the questions that are asked over it, each answered before the next.
//!
//! Metadata are read and written in threads that may wait, so a session brings the small runtime that drives its connection:
//! nobody else has to be woken for an answer.
//!
//! # Invariants
//! - After an error a session is not used again: what the server made of the question is unknown.

use std::{sync::Arc, time::Duration};

use sqlx::{
    ConnectOptions, Connection, PgConnection, Row,
    postgres::{PgConnectOptions, PgRow},
};
use tokio::runtime::Runtime;

use super::presence::RUNNING;

/// Time to connect.
const CONNECT: Duration = Duration::from_secs(5);
/// Time for an answer.
const ANSWER: Duration = Duration::from_secs(20);
/// Time to wait for the writers of other replicas.
const TURN: Duration = Duration::from_secs(60);
/// Bytes of rows that are sent at once.
const SENT_BYTES: usize = 4 << 20;

/// What every session says first. Only rows of one table are looked for, by its primary key: no other plan is ever better,
/// also while the server has not counted the rows yet. A replica whose machine is gone holds its locks no longer than that.
const GREETING: &str = "\
    SET enable_seqscan = off; SET enable_bitmapscan = off; \
    SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3; \
    SELECT set_config('synchronous_commit', 'on', false) \
    WHERE current_setting('synchronous_commit') IN ('off', 'local')";

/// Makes the table where it is missing; one at a time, because making it twice in the same moment fails. Where it is there, no
/// lock is asked for that would wait for those who use it.
const MAKE: &str = "\
    BEGIN; SELECT pg_advisory_xact_lock(4711050817); \
    DO $$ BEGIN \
        IF to_regclass(format('%I.arion_rows', current_schema())) IS NULL THEN \
            CREATE TABLE arion_rows (\
                tab text COLLATE \"C\" NOT NULL, key bytea NOT NULL, value bytea NOT NULL, PRIMARY KEY (tab, key)); \
            ALTER TABLE arion_rows ALTER COLUMN value SET STORAGE EXTERNAL; \
        END IF; \
    END $$; \
    COMMIT";

/// The class of all our locks: no other application has it, nor metadata in another schema.
const CLASS: &str = "SELECT 'arion_rows'::regclass::oid::int8";

/// The lock that writers take for their transaction.
const WRITERS: i32 = 0;

const BEGIN_READ: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
/// A replica that stops in the middle of a change holds up the others for no longer than that, and loses the change.
/// Not repeatable: a snapshot from before the lock was given would not see what the writer before us wrote.
const BEGIN_WRITE: &str =
    "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL idle_in_transaction_session_timeout = '20s'";

pub(super) type Answer<T> = Result<T, Arc<sqlx::Error>>;

/// Part of a range that is asked for.
pub(super) struct Page<'a> {
    pub(super) from: &'a [u8],
    /// The first key that is not in it.
    pub(super) to: Option<&'a [u8]>,
    pub(super) limit: usize,
    pub(super) is_backwards: bool,
}

impl Page<'_> {
    fn statement(&self) -> &'static str {
        match (self.is_backwards, self.to) {
            (false, Some(_)) => {
                "SELECT key, value FROM arion_rows WHERE tab = $1 AND key >= $2 AND key < $4 ORDER BY key LIMIT $3"
            }
            (false, None) => {
                "SELECT key, value FROM arion_rows WHERE tab = $1 AND key >= $2 ORDER BY key LIMIT $3"
            }
            (true, Some(_)) => {
                "SELECT key, value FROM arion_rows WHERE tab = $1 AND key >= $2 AND key < $4 ORDER BY key DESC LIMIT $3"
            }
            (true, None) => {
                "SELECT key, value FROM arion_rows WHERE tab = $1 AND key >= $2 ORDER BY key DESC LIMIT $3"
            }
        }
    }
}

/// A connection with what drives it.
pub(in crate::meta) struct Session {
    runtime: Option<Runtime>,
    connection: Option<PgConnection>,
    /// Class of the advisory locks: the number of the table.
    class: i32,
}

fn timed_out() -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, "PostgreSQL does not answer"))
}

/// The class of locks is any 32 bits.
fn class_of(oid: i64) -> i32 {
    i32::from_le_bytes((oid as u32).to_le_bytes())
}

impl Session {
    /// Connects. Not to be called where waiting is forbidden, and neither is anything below.
    pub(super) fn open(options: &PgConnectOptions) -> Answer<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(sqlx::Error::Io)?;
        let mut session = Self { runtime: Some(runtime), connection: None, class: 0 };
        let options = options.clone().disable_statement_logging();
        let Some(runtime) = &session.runtime else { return Err(timed_out().into()) };
        let connected = runtime
            .block_on(async { tokio::time::timeout(CONNECT, PgConnection::connect_with(&options)).await });
        session.connection = Some(connected.map_err(|_| timed_out())??);
        session.script(GREETING)?;
        Ok(session)
    }

    /// Makes what is missing, and learns the class of locks.
    pub(super) fn prepare(&mut self) -> Answer<()> {
        self.script(MAKE)?;
        self.find()
    }

    /// Learns the class of locks.
    pub(super) fn find(&mut self) -> Answer<()> {
        let oid = self.wait(ANSWER, async |connection| sqlx::query(CLASS).fetch_one(connection).await)?;
        self.class = class_of(oid.try_get(0)?);
        Ok(())
    }

    /// Whether it can be used again.
    pub(super) fn is_whole(&self) -> bool {
        self.connection.is_some()
    }

    fn wait<T>(
        &mut self,
        limit: Duration,
        ask: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Answer<T> {
        let (Some(runtime), Some(mut connection)) = (&self.runtime, self.connection.take()) else {
            return Err(Arc::new(sqlx::Error::PoolClosed));
        };
        let asked = runtime.block_on(async { tokio::time::timeout(limit, ask(&mut connection)).await });
        let answer = asked.unwrap_or_else(|_| Err(timed_out()))?;
        self.connection = Some(connection);
        Ok(answer)
    }

    fn script(&mut self, text: &'static str) -> Answer<()> {
        self.wait(ANSWER, async |connection| sqlx::raw_sql(text).execute(connection).await.map(drop))
    }

    /// Asks whether a lock of ours was given.
    fn lock(&mut self, statement: &'static str, number: i32) -> Answer<bool> {
        let class = self.class;
        let row = self.wait(ANSWER, async |connection| {
            sqlx::query(statement).bind(class).bind(number).fetch_one(connection).await
        })?;
        Ok(row.try_get(0)?)
    }

    /// Takes a lock for as long as the session lives, unless somebody else has it.
    pub(super) fn try_lock(&mut self, number: i32) -> Answer<bool> {
        self.lock("SELECT pg_try_advisory_lock($1, $2)", number)
    }

    /// The same for one that several may have.
    pub(super) fn try_share(&mut self, number: i32) -> Answer<bool> {
        self.lock("SELECT pg_try_advisory_lock_shared($1, $2)", number)
    }

    /// Whether the connection is there.
    pub(super) fn ping(&mut self) -> Answer<()> {
        self.script("SELECT 1")
    }

    /// Numbers of the locks from `least` on that anybody has.
    pub(super) fn held(&mut self, least: u32) -> Answer<Vec<u32>> {
        let rows = self.wait(ANSWER, async |connection| {
            let held = "SELECT DISTINCT objid::int8 FROM pg_locks \
                WHERE locktype = 'advisory' AND granted AND objsubid = 2 \
                AND classid = 'arion_rows'::regclass::oid AND objid::int8 >= $1 \
                AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
            sqlx::query(held).bind(i64::from(least)).fetch_all(connection).await
        })?;
        rows.iter().map(|row| Ok(row.try_get::<i64, _>(0)? as u32)).collect()
    }

    pub(super) fn begin_read(&mut self) -> Answer<()> {
        self.script(BEGIN_READ)
    }

    /// Begins a change, once the writers before us are done; with `beside` only while no command is at work that takes that
    /// nobody else is.
    pub(super) fn begin_write(&mut self, beside: bool) -> Answer<()> {
        self.script(BEGIN_WRITE)?;
        let class = self.class;
        let statement = match beside {
            true => "SELECT pg_try_advisory_xact_lock_shared($1, $3), pg_advisory_xact_lock($1, $2)",
            false => "SELECT $3::int4 = $3::int4, pg_advisory_xact_lock($1, $2)",
        };
        let row = self.wait(TURN, async |connection| {
            sqlx::query(statement).bind(class).bind(WRITERS).bind(RUNNING).fetch_one(connection).await
        })?;
        match row.try_get(0)? {
            true => Ok(()),
            false => Err(Arc::new(sqlx::Error::Protocol("a command is changing the metadata".into()))),
        }
    }

    /// Ends the sessions that hold locks from `least` on and asked nothing for so long; how many.
    pub(super) fn end_silent(&mut self, least: u32, silent: Duration) -> Answer<u64> {
        let row = self.wait(ANSWER, async |connection| {
            let end = "SELECT count(*) FILTER (WHERE pg_terminate_backend(a.pid)) \
                FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid \
                WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 \
                AND l.classid = 'arion_rows'::regclass::oid AND l.objid::int8 >= $1 \
                AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
                AND a.pid <> pg_backend_pid() AND a.state = 'idle' \
                AND a.state_change < clock_timestamp() - make_interval(secs => $2)";
            sqlx::query(end).bind(i64::from(least)).bind(silent.as_secs_f64()).fetch_one(connection).await
        })?;
        Ok(row.try_get::<i64, _>(0)?.unsigned_abs())
    }

    pub(super) fn commit(&mut self) -> Answer<()> {
        self.script("COMMIT")
    }

    pub(super) fn rollback(&mut self) -> Answer<()> {
        self.script("ROLLBACK")
    }

    pub(super) fn get(&mut self, table: &str, key: &[u8]) -> Answer<Option<Vec<u8>>> {
        let row = self.wait(ANSWER, async |connection| {
            let found = sqlx::query("SELECT value FROM arion_rows WHERE tab = $1 AND key = $2");
            found.bind(table).bind(key).fetch_optional(connection).await
        })?;
        Ok(row.map(|row| row.try_get(0)).transpose()?)
    }

    pub(super) fn page(&mut self, table: &str, page: &Page<'_>) -> Answer<Vec<(Vec<u8>, Vec<u8>)>> {
        let limit = i64::try_from(page.limit).unwrap_or(i64::MAX);
        let rows = self.wait(ANSWER, async |connection| {
            let query = sqlx::query(page.statement()).bind(table).bind(page.from).bind(limit);
            match page.to {
                Some(to) => query.bind(to).fetch_all(connection).await,
                None => query.fetch_all(connection).await,
            }
        })?;
        let pair = |row: &PgRow| Ok((row.try_get(0)?, row.try_get(1)?));
        rows.iter().map(pair).collect()
    }

    pub(super) fn count(&mut self, table: &str) -> Answer<u64> {
        let row = self.wait(ANSWER, async |connection| {
            let count = sqlx::query("SELECT count(*) FROM arion_rows WHERE tab = $1");
            count.bind(table).fetch_one(connection).await
        })?;
        Ok(row.try_get::<i64, _>(0)?.unsigned_abs())
    }

    /// Enters rows in the place of those with their keys.
    pub(super) fn enter(&mut self, rows: &[(&str, Vec<u8>, impl AsRef<[u8]>)]) -> Answer<()> {
        let mut rest = rows;
        while !rest.is_empty() {
            let (now, later) =
                rest.split_at(fitting(rest.iter().map(|row| row.1.len() + row.2.as_ref().len())));
            let tables: Vec<&str> = now.iter().map(|row| row.0).collect();
            let keys: Vec<&[u8]> = now.iter().map(|row| row.1.as_slice()).collect();
            let values: Vec<&[u8]> = now.iter().map(|row| row.2.as_ref()).collect();
            self.wait(ANSWER, async |connection| {
                let enter = "INSERT INTO arion_rows (tab, key, value) \
                    SELECT * FROM unnest($1::text[], $2::bytea[], $3::bytea[]) \
                    ON CONFLICT (tab, key) DO UPDATE SET value = excluded.value";
                sqlx::query(enter).bind(tables).bind(keys).bind(values).execute(connection).await
            })?;
            rest = later;
        }
        Ok(())
    }

    /// Removes rows.
    pub(super) fn remove(&mut self, rows: &[(&str, Vec<u8>)]) -> Answer<()> {
        let mut rest = rows;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(fitting(rest.iter().map(|row| row.1.len())));
            let tables: Vec<&str> = now.iter().map(|row| row.0).collect();
            let keys: Vec<&[u8]> = now.iter().map(|row| row.1.as_slice()).collect();
            self.wait(ANSWER, async |connection| {
                let remove = "DELETE FROM arion_rows USING unnest($1::text[], $2::bytea[]) AS gone(tab, key) \
                    WHERE arion_rows.tab = gone.tab AND arion_rows.key = gone.key";
                sqlx::query(remove).bind(tables).bind(keys).execute(connection).await
            })?;
            rest = later;
        }
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // The connection first: closing it takes its runtime.
        if let Some(runtime) = self.runtime.take() {
            let inside = runtime.enter();
            self.connection = None;
            drop(inside);
            runtime.shutdown_background();
        }
    }
}

/// How many of these rows go out at once; at least one.
fn fitting(sizes: impl Iterator<Item = usize>) -> usize {
    let mut bytes = 0;
    let fit = sizes.take_while(|size| {
        bytes += size;
        bytes <= SENT_BYTES
    });
    fit.count().max(1)
}

/// Does something where waiting is allowed, wherever the caller is.
pub(in crate::meta) fn outside<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
    std::thread::scope(|scope| scope.spawn(work).join().ok())
}
