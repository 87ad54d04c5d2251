//! Which replicas are running, and which one of them does what only one may do.
//!
//! Each replica has a number and holds the advisory lock of that number for as long as it lives. One of them also holds the
//! lock of the leader; when it goes, the next that asks has it. The server gives the locks of a session back when the session
//! ends, however it ends.
//!
//! # Invariants
//! - Who leads has held the lock at its last look, [`LOOK`] ago at most; who takes the lead over waits longer than that
//!   ([`QUIET`]) before it says so.
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

use super::{Postgres, PostgresError, Session, session::Answer};

/// Pause between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// Whoever led before has noticed by then.
const QUIET: Duration = Duration::from_secs(3);
/// Shared by all that run, taken alone by commands.
const RUNNING: i32 = 1;
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
    leads: watch::Receiver<bool>,
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
        let (leading, leads) = watch::channel(role == Role::Alone);
        let (stop, cut) = (Arc::<Stop>::default(), Arc::<AtomicBool>::default());
        let watcher = Watcher { options, role, number, leading, stop: stop.clone(), cut: cut.clone() };
        let thread = std::thread::Builder::new().name("metadata-presence".into());
        let spawned = thread.spawn(move || watcher.work(session));
        spawned.map_err(|error| failed(Arc::new(sqlx::Error::Io(error))))?;
        Ok(Self { number, role, leads, stop, cut })
    }

    pub(super) fn number(&self) -> u32 {
        self.number
    }

    pub(super) fn role(&self) -> Role {
        self.role
    }

    /// Whether it leads, now and later.
    pub(super) fn leads(&self) -> watch::Receiver<bool> {
        self.leads.clone()
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
    leading: watch::Sender<bool>,
    stop: Arc<Stop>,
    cut: Arc<AtomicBool>,
}

impl Watcher {
    fn work(self, session: Session) {
        let (mut session, mut has_lock) = (Some(session), None);
        while !self.stop.wait(LOOK) {
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
            if session.is_none() {
                has_lock = None;
            }
            let leads =
                self.role == Role::Alone || has_lock.is_some_and(|since: Instant| since.elapsed() >= QUIET);
            let changed = self.leading.send_if_modified(|was| std::mem::replace(was, leads) != leads);
            if changed {
                tracing::info!(replica = self.number, leads, "who leads the replicas has changed");
            }
        }
    }

    /// Whether the locks are there; takes the lead if nobody has it.
    fn look(&self, session: &mut Session, has_lock: &mut Option<Instant>) -> Answer<()> {
        session.ping()?;
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
