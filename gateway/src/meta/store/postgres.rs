//! Metadata in PostgreSQL: where the server is, and the sessions with it.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
};

use sqlx::postgres::PgConnectOptions;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{ReadTransaction, Role, Session, WriteTransaction, presence::Presence, rows::Rows, session};
use crate::meta::MetaError;

/// Views at once; more wait.
const READERS_MAX: usize = 16;
/// What an address may have behind `?`.
const PARAMETERS: [&str; 9] =
    ["application_name", "dbname", "host", "options", "port", "sslcert", "sslkey", "sslmode", "sslrootcert"];
const SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];

/// Why metadata in PostgreSQL cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// Not an address.
    #[error(
        "{0}: an address of PostgreSQL is like postgres://arion@db.example.org/arion?sslmode=verify-full"
    )]
    Address(String),
    /// A secret stands in the configuration, where others may read it.
    #[error(
        "the address of PostgreSQL has a password: put it into a file of mode 0600 and name that as metadata.postgres_password_file"
    )]
    Password,
    /// The password cannot be read.
    #[error("cannot read the password of PostgreSQL {}: {source}", path.display())]
    PasswordFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: arion_daemon::secret_file::SecretFileError,
    },
    /// The server is not there, does not let us in, or refuses to make the table.
    #[error("cannot use the metadata in {place}: {source}")]
    Server {
        /// Which database.
        place: String,
        /// Why.
        source: Arc<sqlx::Error>,
    },
    /// Gateways are running, and what is asked for takes that none is.
    #[error("gateways are running on the metadata in {0}: stop all of them first")]
    Running(String),
    /// A command is at work on the metadata that takes that no gateway is running.
    #[error("a command is changing the metadata in {0}: start the gateway when it is done")]
    Busy(String),
}

/// A database that metadata are in.
#[derive(Clone)]
pub struct Postgres {
    options: Box<PgConnectOptions>,
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Without secrets.
impl fmt::Display for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = &self.options;
        match options.get_socket() {
            Some(socket) => write!(f, "PostgreSQL at {}", socket.display())?,
            None => write!(f, "PostgreSQL at {}:{}", options.get_host(), options.get_port())?,
        }
        write!(f, ", database {}", options.get_database().unwrap_or(options.get_username()))
    }
}

impl FromStr for Postgres {
    type Err = PostgresError;

    fn from_str(address: &str) -> Result<Self, PostgresError> {
        let wrong = |what: &str| PostgresError::Address(what.to_owned());
        let rest = SCHEMES.iter().find_map(|scheme| address.strip_prefix(scheme));
        let rest = rest.ok_or_else(|| wrong("the address does not begin with postgres://"))?;
        let (place, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        let user = place.rsplit_once('@').map_or("", |(user, _)| user);
        let mut names = parameters.split('&').map(|pair| pair.split_once('=').map_or(pair, |(name, _)| name));
        if user.contains(':') || names.clone().any(|name| name == "password") {
            return Err(PostgresError::Password);
        }
        // Otherwise a mistyped `sslmode` would be passed over.
        let unknown = names.find(|name| !name.is_empty() && !PARAMETERS.contains(name));
        if let Some(unknown) = unknown {
            return Err(PostgresError::Address(format!(
                "the address has a parameter `{unknown}`, which is unknown"
            )));
        }
        let options =
            address.parse().map(Box::new).map_err(|error| PostgresError::Address(format!("{error}")))?;
        Ok(Self { options })
    }
}

impl Postgres {
    /// With a password.
    pub fn with_password(mut self, password: &str) -> Self {
        *self.options = self.options.clone().password(password);
        self
    }

    /// With the password in a file that nobody else can read.
    pub fn with_password_file(self, path: &Path) -> Result<Self, PostgresError> {
        let read = arion_daemon::secret_file::read(path, arion_daemon::secret_file::OTHERS);
        let text = read
            .map(zeroize::Zeroizing::new)
            .map_err(|source| PostgresError::PasswordFile { path: path.to_owned(), source })?;
        Ok(self.with_password(text.trim_end_matches(['\r', '\n'])))
    }

    fn failed(&self, source: Arc<sqlx::Error>) -> PostgresError {
        PostgresError::Server { place: self.to_string(), source }
    }
}

/// The database of an open store.
pub(in crate::meta) struct Server {
    place: Postgres,
    idle: Mutex<Vec<Session>>,
    readers: Arc<Semaphore>,
    presence: Presence,
}

impl Server {
    /// Connects, makes what is missing, and takes part in the role.
    pub(in crate::meta) fn connect(place: Postgres, role: Role) -> Result<Self, PostgresError> {
        let presence = session::outside(|| {
            let mut session = Session::open(&place.options).map_err(|source| place.failed(source))?;
            session.prepare().map_err(|source| place.failed(source))?;
            Presence::enter((*place.options).clone(), session, role, &place)
        });
        let presence = presence.unwrap_or_else(|| Err(PostgresError::Running(place.to_string())))?;
        let readers = Arc::new(Semaphore::new(READERS_MAX));
        Ok(Self { place, idle: Mutex::default(), readers, presence })
    }

    pub(super) fn presence(&self) -> &Presence {
        &self.presence
    }

    /// A session that nothing was asked over yet.
    pub(in crate::meta) fn session(&self) -> Result<Session, MetaError> {
        let mut session = Session::open(&self.place.options)?;
        session.find()?;
        Ok(session)
    }

    /// Waits until there are few enough readers.
    pub(in crate::meta) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        self.readers.clone().acquire_owned().await.ok()
    }

    /// Does something in a view of the last commit.
    pub(in crate::meta) fn read<T>(
        &self,
        operation: impl FnOnce(&ReadTransaction) -> Result<T, MetaError>,
    ) -> Result<T, MetaError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        // The server may have been restarted since: nothing was asked yet, so that another one does as well.
        let begun = idle.and_then(|mut session| session.begin_read().ok().map(|()| session));
        let session = match begun {
            Some(session) => session,
            None => {
                self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
                let mut session = self.session()?;
                session.begin_read()?;
                session
            }
        };
        let read = ReadTransaction::Postgres(Rows::new(session, self.presence.number()));
        let outcome = operation(&read);
        if let ReadTransaction::Postgres(rows) = read
            && let Ok(session) = rows.abort()
        {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if session.is_whole() && idle.len() < READERS_MAX {
                idle.push(session);
            }
        }
        outcome
    }

    /// The same, wherever the caller is.
    pub(in crate::meta) fn read_at_once<T: Send>(
        &self,
        operation: impl FnOnce(&ReadTransaction) -> Result<T, MetaError> + Send,
    ) -> Result<T, MetaError> {
        session::outside(|| self.read(operation)).unwrap_or(Err(MetaError::Closed))
    }

    /// Begins a change, with the session of the one before if there is one.
    pub(in crate::meta) fn begin_write(
        &self,
        last: &mut Option<Session>,
    ) -> Result<WriteTransaction, MetaError> {
        // The server may have been restarted since: nothing was changed yet.
        let beside = self.presence.role() == Role::Replica;
        let begun = last.take().and_then(|mut session| session.begin_write(beside).ok().map(|()| session));
        let session = match begun {
            Some(session) => session,
            None => {
                let mut session = self.session()?;
                session.begin_write(beside)?;
                session
            }
        };
        Ok(WriteTransaction::Postgres(Rows::new(session, self.presence.number())))
    }
}
