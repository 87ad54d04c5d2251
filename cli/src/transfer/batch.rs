//! Many transfers at once, with one bar.
//!
//! One that fails does not stop the others; what failed is told at the end.

use std::{
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Instant, SystemTime},
};

use anyhow::Context as _;
use indicatif::ProgressBar;

use super::{PutOptions, bar, get, patiently, put};
use crate::objects::{Client, DELETE_KEYS_MAX, ObjectUrl};

/// Transfers under way at once.
const AT_ONCE: usize = 8;
/// Failures kept word for word.
const FAILURES_KEPT: usize = 20;

/// One transfer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Job {
    /// A file into an object.
    Put {
        /// The file.
        file: PathBuf,
        /// The object.
        to: ObjectUrl,
    },
    /// An object into a file, which gets the object's time.
    Get {
        /// The object.
        from: ObjectUrl,
        /// The file; its directories are made.
        file: PathBuf,
    },
    /// An object into another, within the gateway.
    Copy {
        /// The object.
        from: ObjectUrl,
        /// The other.
        to: ObjectUrl,
    },
    /// An object is deleted.
    DeleteObject(ObjectUrl),
    /// A file is deleted.
    DeleteFile(PathBuf),
}

impl std::fmt::Display for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Put { file, to } => write!(f, "put {} {to}", file.display()),
            Self::Get { from, file } => write!(f, "get {from} {}", file.display()),
            Self::Copy { from, to } => write!(f, "copy {from} {to}"),
            Self::DeleteObject(at) => write!(f, "delete {at}"),
            Self::DeleteFile(file) => write!(f, "delete {}", file.display()),
        }
    }
}

/// A transfer with its size.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Task {
    /// What to do.
    pub job: Job,
    /// Bytes it moves.
    pub bytes: u64,
    /// Whether the source goes when it is done.
    pub moves: bool,
}

/// What was done.
#[derive(Debug, Default, serde::Serialize)]
pub struct Summary {
    /// Files stored.
    pub put: usize,
    /// Objects fetched.
    pub got: usize,
    /// Objects copied within the gateway.
    pub copied: usize,
    /// Objects or files deleted.
    pub deleted: usize,
    /// Transfers that failed.
    pub failed: usize,
    /// Bytes of what was stored, fetched or copied.
    pub bytes: u64,
    /// Time it took.
    pub seconds: f64,
    /// The first failures, in words.
    pub failures: Vec<String>,
    /// The first failure, for the exit code.
    #[serde(skip)]
    pub first: Option<anyhow::Error>,
}

impl Summary {
    fn add(&mut self, task: &Task, outcome: anyhow::Result<()>) {
        if let Err(error) = outcome {
            self.failed += 1;
            if self.failures.len() < FAILURES_KEPT {
                self.failures.push(format!("{}: {error:#}", task.job));
            }
            self.first.get_or_insert(error);
            return;
        }
        self.bytes += task.bytes;
        match task.job {
            Job::Put { .. } => self.put += 1,
            Job::Get { .. } => self.got += 1,
            Job::Copy { .. } => self.copied += 1,
            Job::DeleteObject(_) | Job::DeleteFile(_) => self.deleted += 1,
        }
    }
}

/// Does all of it, deletions last: nothing goes before what replaces it is there.
pub fn run(client: &Client, tasks: &[Task], name: &str, quiet: bool) -> Summary {
    let began = Instant::now();
    let bar = bar(Some(tasks.iter().map(|task| task.bytes).sum()), name, quiet);
    let (deletions, transfers): (Vec<&Task>, Vec<&Task>) =
        tasks.iter().partition(|task| matches!(task.job, Job::DeleteObject(_) | Job::DeleteFile(_)));
    let summary = Mutex::new(Summary::default());
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || {
        while let Some(task) = transfers.get(next.fetch_add(1, Ordering::Relaxed)) {
            let outcome = transfer(client, task, &bar);
            summary.lock().unwrap_or_else(PoisonError::into_inner).add(task, outcome);
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            bar.set_prefix(format!("{name} {done}/{}", transfers.len()));
        }
    };
    thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(transfers.len()) {
            scope.spawn(work);
        }
    });
    let mut summary = summary.into_inner().unwrap_or_else(PoisonError::into_inner);
    if summary.failed == 0 {
        delete(client, &deletions, &mut summary);
    } else if !deletions.is_empty() {
        summary.failures.push(format!("{} were not deleted, because transfers failed", deletions.len()));
    }
    bar.finish_and_clear();
    summary.seconds = began.elapsed().as_secs_f64();
    summary
}

fn transfer(client: &Client, task: &Task, bar: &ProgressBar) -> anyhow::Result<()> {
    match &task.job {
        Job::Put { file, to } => {
            put(client, file, to, &PutOptions::default(), bar)?;
            if task.moves {
                std::fs::remove_file(file).with_context(|| format!("cannot delete {}", file.display()))?;
            }
        }
        Job::Get { from, file } => {
            if let Some(directory) = file.parent() {
                std::fs::create_dir_all(directory)
                    .with_context(|| format!("cannot make {}", directory.display()))?;
            }
            let (_, head) = get(client, from, file, bar)?;
            set_time(file, head.modified)?;
            if task.moves {
                client.delete(from)?;
            }
        }
        Job::Copy { from, to } => {
            patiently(|| client.copy(from, to))?;
            bar.inc(task.bytes);
            if task.moves {
                client.delete(from)?;
            }
        }
        Job::DeleteObject(_) | Job::DeleteFile(_) => {}
    }
    Ok(())
}

/// Gives a file the time of its object.
fn set_time(file: &std::path::Path, modified: Option<SystemTime>) -> anyhow::Result<()> {
    let Some(modified) = modified else { return Ok(()) };
    let file = std::fs::File::options().write(true).open(file)?;
    Ok(file.set_modified(modified)?)
}

fn delete(client: &Client, deletions: &[&Task], summary: &mut Summary) {
    for task in deletions {
        if let Job::DeleteFile(file) = &task.job {
            let gone =
                std::fs::remove_file(file).with_context(|| format!("cannot delete {}", file.display()));
            summary.add(task, gone);
        }
    }
    let objects: Vec<&Task> =
        deletions.iter().copied().filter(|task| matches!(task.job, Job::DeleteObject(_))).collect();
    for tasks in objects.chunks(DELETE_KEYS_MAX) {
        let urls: Vec<&ObjectUrl> = tasks
            .iter()
            .filter_map(|task| match &task.job {
                Job::DeleteObject(at) => Some(at),
                _ => None,
            })
            .collect();
        let keys: Vec<String> = urls.iter().map(|at| at.key.clone()).collect();
        let Some(bucket) = urls.first().map(|at| at.bucket.clone()) else { continue };
        match patiently(|| client.delete_all(&bucket, &keys)) {
            Ok(()) => summary.deleted += keys.len(),
            Err(error) => {
                // Which of them are gone is not known; a second run finds out.
                summary.failed += keys.len();
                summary.failures.push(format!("delete in {bucket}: {error:#}"));
                summary.first.get_or_insert(error);
            }
        }
    }
}
