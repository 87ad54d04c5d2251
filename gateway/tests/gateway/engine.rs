//! What metadata are kept in: tests of metadata run on each.

#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used)]

use std::time::{Duration, Instant};

use arion_gateway::meta::{Meta, OpenError, Role};
use arion_stranger::{Database, Postgres};
use proptest::{
    prelude::{ProptestConfig, Strategy},
    test_runner::TestRunner,
};

/// An empty store.
pub enum Engine {
    Redb(tempfile::TempDir),
    Postgres(Database),
}

impl Engine {
    pub fn each() -> [Self; 2] {
        [Self::Redb(tempfile::tempdir().unwrap()), Self::Postgres(Postgres::database())]
    }

    /// Opens it, again as well: the threads of earlier handles let go of it a moment after those were dropped.
    pub fn open(&self) -> Meta {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match self.try_open() {
                Ok(meta) => return meta,
                Err(error) if Instant::now() > deadline => panic!("{error}"),
                Err(_) => std::thread::yield_now(),
            }
        }
    }

    fn try_open(&self) -> Result<Meta, OpenError> {
        match self {
            Self::Redb(directory) => Meta::open(&directory.path().join("meta.redb")),
            Self::Postgres(database) => connect(database),
        }
    }
}

/// Runs a test of any steps on each, on the second fewer times: making a store there takes its time.
pub fn on_each<S: Strategy, F: Future<Output = ()>>(steps: &S, run: impl Fn(S::Value, Engine) -> F) {
    let server = Postgres::database().server;
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for (cases, is_postgres) in [(48, false), (8, true)] {
        let mut runner = TestRunner::new(ProptestConfig { cases, ..ProptestConfig::default() });
        let tried = runner.run(steps, |steps| {
            let engine = match is_postgres {
                true => Engine::Postgres(server.schema()),
                false => Engine::Redb(tempfile::tempdir().unwrap()),
            };
            runtime().block_on(run(steps, engine));
            Ok(())
        });
        tried.unwrap();
    }
}

/// One more replica on a database.
pub fn connect(database: &Database) -> Result<Meta, OpenError> {
    Meta::connect(database.address.parse()?, Role::Replica)
}
