//! Which replicas are running, and which one of them does what only one may do.
//!
//! Each replica has a number and holds the advisory lock of that number for as long as it lives. One of them also holds the
//! lock of the leader; when it goes, the next that asks has it. The server gives the locks of a session back when the session
//! ends, however it ends; and the session of a replica that asked nothing for a while, because it is stopped and its machine keeps
//! the connection, is ended by the others ([`SILENT`]).
//!
//! Each time that somebody takes the lead it enters a new number, its term. What only the leader may write is refused when
//! another term has begun ([`crate::meta::Meta::while_leading`]): a replica that was stopped while it led, and does not know yet
//! that it leads no more, changes nothing.
//!
//! # Invariants
//! - Who leads has held the lock at its last look, [`LOOK`] ago at most; who takes the lead over waits longer than that
//!   ([`QUIET`]) before it says so. Who looked longer ago than [`FRESH`] does not take itself for the leader.
//! - No two terms have one number.
//! - A command that takes that no gateway is running and a gateway are never there together.

use std::{
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use sqlx::postgres::PgConnectOptions;
use tokio::sync::watch;

use super::{Postgres, PostgresError, Session, WriteTransaction, rows::Rows, session::Answer};
use crate::meta::{MetaError, replicas::next_term};

/// Pause between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// Whoever led before has noticed by then.
const QUIET: Duration = Duration::from_secs(3);
/// Whoever leads has looked within this time: less than [`QUIET`], or somebody else may lead.
const FRESH: Duration = Duration::from_secs(2);
/// A replica that asked nothing for this long is taken for gone.
pub(super) const SILENT: Duration = Duration::from_secs(10);
/// Shared by all that run, taken alone by commands.
pub(super) const RUNNING: i32 = 1;
/// The leader's.
const LEADER: i32 = 2;
/// Numbers of replicas begin here.
pub(super) const REPLICAS: u32 = 16;

/// What the metadata are opened for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Serving, beside other replicas.
    Replica,
    /// A command beside which nothing else may run.
    Alone,
}

/// Ends the thread.
#[derive(Default)]
struct Stop {
    stopped: Mutex<bool>,
    told: Condvar,
}

impl Stop {
    /// Waits; whether it is over.
    fn wait(&self, pause: Duration) -> bool {
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.told.wait_timeout_while(stopped, pause, |stopped| !*stopped);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// Says that this replica runs, and whether it leads.
pub(super) struct Presence {
    number: u32,
    role: Role,
    leads: watch::Receiver<Option<u64>>,
    looked: Arc<Mutex<Instant>>,
    stop: Arc<Stop>,
    cut: Arc<AtomicBool>,
}

impl Presence {
    pub(super) fn enter(
        options: PgConnectOptions,
        mut session: Session,
        role: Role,
        place: &Postgres,
    ) -> Result<Self, PostgresError> {
        let failed = |source| PostgresError::Server { place: place.to_string(), source };
        let number = rand::random_range(REPLICAS..=i32::MAX.unsigned_abs());
        match role {
            Role::Alone if !session.try_lock(RUNNING).map_err(failed)? => {
                return Err(PostgresError::Running(place.to_string()));
            }
            Role::Replica if !session.try_share(RUNNING).map_err(failed)? => {
                return Err(PostgresError::Busy(place.to_string()));
            }
            _ => {}
        }
        session.try_lock(number.cast_signed()).map_err(failed)?;
        let mut term = None;
        if role == Role::Alone {
            let (taken, kept) = take_term(session, number).map_err(|error| match error {
                MetaError::Unavailable(source) => failed(source),
                error => failed(Arc::new(sqlx::Error::Protocol(error.to_string()))),
            })?;
            (term, session) = (Some(taken), kept);
        }
        let (leading, leads) = watch::channel(term);
        let (stop, cut) = (Arc::<Stop>::default(), Arc::<AtomicBool>::default());
        let looked = Arc::new(Mutex::new(Instant::now()));
        let watcher = Watcher {
            options,
            role,
            number,
            leading,
            looked: looked.clone(),
            stop: stop.clone(),
            cut: cut.clone(),
        };
        let thread = std::thread::Builder::new().name("metadata-presence".into());
        let spawned = thread.spawn(move || watcher.work(session));
        spawned.map_err(|error| failed(Arc::new(sqlx::Error::Io(error))))?;
        Ok(Self { number, role, leads, looked, stop, cut })
    }

    pub(super) fn number(&self) -> u32 {
        self.number
    }

    pub(super) fn role(&self) -> Role {
        self.role
    }

    /// Its term while it leads, now and later.
    pub(super) fn leads(&self) -> watch::Receiver<Option<u64>> {
        self.leads.clone()
    }

    /// Whether the term goes on for all that is known: not after a pause that nobody noticed yet.
    pub(super) fn is_fresh(&self, term: u64) -> bool {
        let looked = *self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        *self.leads.borrow() == Some(term) && looked.elapsed() < FRESH
    }

    /// Ends the session that holds the locks, as a lost connection does.
    pub(super) fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
        self.stop.told.notify_all();
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        *self.stop.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stop.told.notify_all();
    }
}

struct Watcher {
    options: PgConnectOptions,
    role: Role,
    number: u32,
    leading: watch::Sender<Option<u64>>,
    looked: Arc<Mutex<Instant>>,
    stop: Arc<Stop>,
    cut: Arc<AtomicBool>,
}

impl Watcher {
    fn work(self, session: Session) {
        let (mut session, mut has_lock) = (Some(session), None);
        while !self.stop.wait(LOOK) {
            let began = Instant::now();
            let looked = match session.as_mut() {
                Some(_) if self.cut.swap(false, Ordering::SeqCst) => {
                    Err(Arc::new(sqlx::Error::Protocol("the session was cut".into())))
                }
                Some(session) => self.look(session, &mut has_lock),
                None => self.again().map(|again| session = Some(again)),
            };
            if let Err(error) = looked {
                tracing::warn!(%error, "the connection to PostgreSQL is lost and is tried again");
                session = None;
            }
            let before = *self.leading.borrow();
            let mut term = before.filter(|_| self.role == Role::Alone || session.is_some());
            if session.is_none() {
                has_lock = None;
            } else if term.is_none() && has_lock.is_some_and(|since: Instant| since.elapsed() >= QUIET) {
                let taken = session.take().map(|session| take_term(session, self.number));
                match taken.transpose() {
                    Ok(taken) => (term, session) = taken.unzip(),
                    Err(error) => {
                        tracing::warn!(%error, "the lead could not be taken and is tried again");
                        has_lock = None;
                    }
                }
            }
            if session.is_some() {
                *self.looked.lock().unwrap_or_else(PoisonError::into_inner) = began;
            }
            if self.leading.send_if_modified(|was| std::mem::replace(was, term) != term) {
                let leads = term.is_some();
                tracing::info!(replica = self.number, leads, "who leads the replicas has changed");
            }
        }
    }

    /// Whether the locks are there; takes the lead if nobody has it.
    fn look(&self, session: &mut Session, has_lock: &mut Option<Instant>) -> Answer<()> {
        session.ping()?;
        match session.end_silent(REPLICAS, SILENT)? {
            0 => {}
            replicas => {
                tracing::warn!(replicas, "replicas that asked nothing for a while are taken for gone")
            }
        }
        if self.role == Role::Replica && has_lock.is_none() && session.try_lock(LEADER)? {
            *has_lock = Some(Instant::now());
        }
        Ok(())
    }

    /// Connects again and takes the same locks.
    fn again(&self) -> Answer<Session> {
        let mut session = Session::open(&self.options)?;
        session.find()?;
        let running = match self.role {
            Role::Replica => session.try_share(RUNNING)?,
            Role::Alone => session.try_lock(RUNNING)?,
        };
        if !running || !session.try_lock(self.number.cast_signed())? {
            return Err(Arc::new(sqlx::Error::Protocol("the locks of this gateway are not free".into())));
        }
        Ok(session)
    }
}

/// Begins a new term, in a transaction that waits for all writers before it.
fn take_term(mut session: Session, number: u32) -> Result<(u64, Session), MetaError> {
    session.begin_write(false)?;
    let transaction = WriteTransaction::Postgres(Rows::new(session, number));
    let term = next_term(&transaction)?;
    let kept = transaction.commit()?.ok_or(MetaError::Closed)?;
    Ok((term, kept))
}
