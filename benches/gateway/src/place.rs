//! Where a run keeps its data: tens of GiB, which must not stay when a run is interrupted or the machine goes down.

use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

use crate::arion;

/// In the current directory, for one run at a time; removed when dropped, and otherwise by the next run.
pub struct Place {
    pub path: PathBuf,
    _lock: File,
}

impl Place {
    /// Takes the place. A network that an interrupted run left there is stopped.
    pub fn take(devnet: &Path) -> anyhow::Result<Self> {
        let path = std::env::current_dir()?.join("bench-gateway");
        let lock = File::create(path.with_extension("lock")).context("cannot create the lock")?;
        match lock.try_lock() {
            Ok(()) => (),
            Err(TryLockError::WouldBlock) => bail!("another run uses {}: wait for it", path.display()),
            Err(TryLockError::Error(error)) => return Err(error).context("cannot lock"),
        }
        let network = path.join("arion");
        if network.exists() {
            eprintln!("removing what an interrupted run left in {}", path.display());
            // Whatever is wrong with what is left, it goes; a process that still ran would be in the way of the ports, and be told of.
            let _ = arion::stop(devnet, &network);
        }
        let place = Self { path, _lock: lock };
        place.clear()?;
        fs::create_dir_all(&place.path).context("cannot create the directory")?;
        Ok(place)
    }

    fn clear(&self) -> anyhow::Result<()> {
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", self.path.display()))
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(error) = self.clear() {
            eprintln!("{error:#}");
        }
    }
}
