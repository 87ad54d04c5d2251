//! Where a network keeps its files, and where the programs are.

use std::{
    fs::File,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

/// Marks a directory as one that `--fresh` may delete.
const MARK: &str = ".arion-devnet";
const LOGS: &str = "logs";

/// The directory of a network.
#[derive(Clone, Debug)]
pub struct Layout {
    root: PathBuf,
}

/// Holds the directory: while it lives, no other supervisor uses it.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: File,
}

impl Layout {
    /// The directory `--data` names, or the default for a base port:
    /// `${XDG_STATE_HOME:-~/.local/state}/arion/devnet-PORT`.
    pub fn new(data: Option<&Path>, base_port: u16) -> anyhow::Result<Self> {
        let root = match data {
            Some(path) => std::path::absolute(path)?,
            None => state_home()?.join("arion").join(format!("devnet-{base_port}")),
        };
        Ok(Self { root })
    }

    /// The directory of a story's own network.
    pub fn of_story(story: &str, base_port: u16) -> anyhow::Result<Self> {
        Ok(Self { root: state_home()?.join("arion").join(format!("{story}-{base_port}")) })
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Directory of the logs.
    pub fn logs(&self) -> PathBuf {
        self.root.join(LOGS)
    }

    /// Log of a process.
    pub fn log(&self, name: &str) -> PathBuf {
        self.logs().join(format!("{name}.log"))
    }

    /// Directory of a process.
    pub fn of(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Makes the directory and takes it for this process. With `fresh`, what an earlier network left is deleted.
    pub fn take(&self, fresh: bool) -> anyhow::Result<DirectoryLock> {
        let fail = || format!("cannot use the directory {}: choose another with --data", self.root.display());
        if self.root.exists()
            && !self.root.join(MARK).exists()
            && std::fs::read_dir(&self.root).with_context(fail)?.next().is_some()
        {
            bail!(
                "{} is not empty and holds no network: choose another directory with --data",
                self.root.display()
            );
        }
        make(&self.root).with_context(fail)?;
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.root.join(MARK))
            .with_context(fail)?;
        if file.try_lock().is_err() {
            bail!(
                "a network runs already in {}: look with `status`, end it with `stop`, or start a second one with \
                 --base-port",
                self.root.display()
            );
        }
        let lock = DirectoryLock { _file: file };
        if fresh {
            self.remove_all_but(&[], &lock).with_context(fail)?;
        }
        make(&self.logs()).with_context(fail)?;
        Ok(lock)
    }

    /// Deletes what processes stored and wrote, but not their logs: half an hour of load is tens of gigabytes. A filesystem that
    /// is mounted there is emptied and stays.
    pub fn keep_logs(&self, lock: &DirectoryLock) -> std::io::Result<()> {
        match self.remove_all_but(&[LOGS], lock) {
            Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => Ok(()),
            outcome => outcome,
        }
    }

    /// Deletes what is in the directory of whoever has the lock, as far as that goes; the first error.
    fn remove_all_but(&self, kept: &[&str], _lock: &DirectoryLock) -> std::io::Result<()> {
        let mut outcome = Ok(());
        for entry in std::fs::read_dir(&self.root)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == MARK || kept.iter().any(|kept| name == *kept) {
                continue;
            }
            let removed = match entry.file_type()?.is_dir() {
                true => std::fs::remove_dir_all(entry.path()),
                false => std::fs::remove_file(entry.path()),
            };
            outcome = outcome.and(removed);
        }
        outcome
    }
}

/// Makes a directory that only its owner may read.
pub fn make(path: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn state_home() -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os("XDG_STATE_HOME").filter(|path| Path::new(path).is_absolute()) {
        return Ok(path.into());
    }
    let home =
        std::env::var_os("HOME").context("HOME is not set: say where to keep the network with --data")?;
    Ok(Path::new(&home).join(".local").join("state"))
}

/// The program of that name beside this one: all of them come out of one build.
pub fn program(name: &str) -> anyhow::Result<String> {
    let directory = std::env::current_exe()?;
    let path = directory.parent().context("this program lies in no directory")?.join(name);
    if !path.is_file() {
        bail!("{} is missing: start through ./scripts/devnet, which builds it", path.display());
    }
    path.into_os_string().into_string().map_err(|path| anyhow::anyhow!("{path:?} is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_network_is_deleted_and_only_when_nobody_uses_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("net");
        let layout = Layout::new(Some(&path), 1).unwrap();
        let lock = layout.take(false).unwrap();
        std::fs::write(layout.log("node-1"), "old").unwrap();
        assert!(layout.take(true).unwrap_err().to_string().contains("runs already"));
        drop(lock);
        drop(layout.take(false).unwrap());
        assert!(layout.log("node-1").exists());
        make(&layout.of("miner-01")).unwrap();
        std::fs::write(layout.of("miner-01").join("shards"), "many").unwrap();
        std::fs::write(layout.of("devnet.json"), "{}").unwrap();
        let lock = layout.take(false).unwrap();
        layout.keep_logs(&lock).unwrap();
        assert!(layout.log("node-1").exists());
        assert_eq!(std::fs::read_dir(&path).unwrap().count(), 2);
        assert!(layout.take(true).unwrap_err().to_string().contains("runs already"));
        drop(lock);
        drop(layout.take(true).unwrap());
        assert!(!layout.log("node-1").exists());

        let foreign = Layout::new(Some(directory.path()), 1).unwrap();
        assert!(foreign.take(true).unwrap_err().to_string().contains("is not empty"));
    }
}
