//! A PostgreSQL of our own: made in a temporary directory, reached over a socket in it, gone with the last that uses it.

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

/// Whom the server runs as where tests run as root, which it refuses: nobody.
const NOBODY: u32 = 65_534;
const USER: &str = "arion";
/// Time for the server to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server.
pub struct Postgres {
    directory: tempfile::TempDir,
    programs: PathBuf,
    settings: Vec<String>,
    server: Mutex<Option<Child>>,
    schemas: AtomicUsize,
}

/// A schema of a server, for one store.
pub struct Database {
    /// The server.
    pub server: Arc<Postgres>,
    /// How it is reached.
    pub address: String,
    /// Its name.
    pub schema: String,
}

static SHARED: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());

/// Where Debian keeps the newest version's programs, or wherever they are.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest =
        versions.map(|entry| entry.path().join("bin")).filter(|bin| bin.join("initdb").exists()).max();
    newest.unwrap_or_else(|| {
        let found = std::env::var_os("PATH").and_then(|path| {
            std::env::split_paths(&path).find(|directory| directory.join("initdb").exists())
        });
        found.expect("PostgreSQL is not installed: ./scripts/test installs it, or apt-get install postgresql")
    })
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0)
}

/// A program of PostgreSQL, as a user that it accepts.
fn command(programs: &Path, name: &str) -> Command {
    let mut command = Command::new(programs.join(name));
    command.stdin(Stdio::null()).current_dir("/").env("LC_ALL", "C");
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

impl Postgres {
    /// A server of its own, which the test may stop.
    pub fn start() -> Arc<Self> {
        Self::start_with(&[])
    }

    /// The same with settings of its own; it flushes nothing to the disk unless they say so.
    pub fn start_with(settings: &[&str]) -> Arc<Self> {
        let directory = tempfile::Builder::new().prefix("pg").tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).unwrap();
        if is_root() {
            chown(directory.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let programs = programs();
        let made = command(&programs, "initdb")
            .args([
                "--no-sync",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C",
                "--username",
                USER,
                "--pgdata",
            ])
            .arg(directory.path().join("data"))
            .output()
            .unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let (server, schemas) = (Mutex::default(), AtomicUsize::new(0));
        let postgres = Arc::new(Self { directory, programs, settings, server, schemas });
        postgres.resume();
        postgres
    }

    /// A schema of a server that tests of this process share; it ends with the last of them.
    pub fn database() -> Database {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        let server = shared.upgrade().unwrap_or_else(Self::start);
        *shared = Arc::downgrade(&server);
        server.schema()
    }

    /// A new schema.
    pub fn schema(self: &Arc<Self>) -> Database {
        let schema = format!("s{}", self.schemas.fetch_add(1, SeqCst));
        self.query(&format!("CREATE SCHEMA {schema}"));
        let socket = self.directory.path().display();
        let address =
            format!("postgres://{USER}@localhost/postgres?host={socket}&options=-c%20search_path%3D{schema}");
        Database { server: self.clone(), address, schema }
    }

    /// What the server answers, asked by its own client.
    pub fn query(&self, sql: &str) -> String {
        let answer = self.psql(sql);
        assert!(answer.status.success(), "{sql}: {}", String::from_utf8_lossy(&answer.stderr));
        String::from_utf8_lossy(&answer.stdout).trim().to_owned()
    }

    fn psql(&self, sql: &str) -> std::process::Output {
        command(&self.programs, "psql")
            .args(["--no-psqlrc", "--tuples-only", "--no-align", "--username", USER, "--dbname", "postgres"])
            .arg("--host")
            .arg(self.directory.path())
            .args(["--command", sql])
            .output()
            .unwrap()
    }

    /// Kills the server as a crash of it does.
    pub fn crash(&self) {
        let mut server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(mut child) = server.take() else { return };
        // SIGQUIT: its processes end at once, nothing is written any more. SIGKILL would leave its children to themselves.
        let signalled = Command::new("kill").args(["-QUIT", &child.id().to_string()]).status();
        if !signalled.is_ok_and(|status| status.success()) {
            let _ = child.kill();
        }
        let _ = child.wait();
    }

    /// Starts it again.
    pub fn resume(&self) {
        let directory = self.directory.path();
        let log = fs::File::create(directory.join("log")).unwrap();
        let child = command(&self.programs, "postgres")
            .arg("-D")
            .arg(directory.join("data"))
            .arg("-k")
            .arg(directory)
            .args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=200"])
            .args(["-c", "shared_buffers=32MB", "-c", "full_page_writes=off"])
            .args(self.settings.iter().flat_map(|setting| ["-c", setting]))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = Some(child);
        let deadline = Instant::now() + PATIENCE;
        while !self.psql("SELECT 1").status.success() {
            let log = fs::read_to_string(directory.join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "PostgreSQL does not start: {log}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.crash();
    }
}
