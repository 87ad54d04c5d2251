//! The disks of a miner: which directories, and which of them were there before.
//!
//! A mount that is missing looks like an empty directory. So that no store is begun beneath a mount point, the data
//! directory remembers where stores were made.

use std::{
    fmt, fs,
    io::{self, Write},
    path::{Path, PathBuf},
    str::FromStr,
};

use arion_daemon::ByteSize;

use crate::store::{Inspector, LayoutError, StoreOptions, Volume, Volumes};

/// Name of the file in the data directory that lists where stores were made, a path a line.
const KNOWN: &str = "disks";

/// A further disk: `PATH=SIZE`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DiskDir {
    /// A directory on it.
    pub path: PathBuf,
    /// Bytes offered there.
    pub capacity: ByteSize,
}

/// Text that is no disk.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is not a disk; write an absolute directory and a size, as in `/mnt/disk2=4TiB`")]
pub struct DiskDirError(String);

impl FromStr for DiskDir {
    type Err = DiskDirError;

    fn from_str(text: &str) -> Result<Self, DiskDirError> {
        let refused = || DiskDirError(text.to_owned());
        let (path, capacity) = text.trim().rsplit_once('=').ok_or_else(refused)?;
        let path = PathBuf::from(path);
        let capacity = capacity.parse().map_err(|_| refused())?;
        path.is_absolute().then_some(Self { path, capacity }).ok_or_else(refused)
    }
}

impl fmt::Display for DiskDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.path.display(), self.capacity)
    }
}

impl serde::Serialize for DiskDir {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for DiskDir {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <String as serde::Deserialize>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Opens the stores in these directories; one that cannot be used leaves the others alone. Blocks.
pub fn open(data_dir: &Path, disks: Vec<(PathBuf, StoreOptions)>) -> Result<Volumes, LayoutError> {
    let known = known(data_dir);
    let mut volumes = Vec::new();
    for (root, options) in disks {
        let clock = options.clock.clone();
        // The data directory itself is no mount of its own: whoever empties it wants that.
        let was_there = known.contains(&root) || root.starts_with(data_dir);
        if known.contains(&root) && matches!(Inspector::open(&root), Err(LayoutError::NoStore(_))) {
            tracing::error!(disk = %root.display(), "the store that was here is gone: is the disk mounted?");
            volumes.push(Volume::missing(&root).owing(data_dir, clock));
            continue;
        }
        let volume = Volume::open(&root, options).owing(data_dir, clock);
        if let (Ok(_), false) = (volume.store(), was_there)
            && let Err(error) = remember(data_dir, &root)
        {
            tracing::warn!(%error, "where the store was made could not be written down");
        }
        volumes.push(volume);
    }
    Volumes::new(volumes)
}

fn known(data_dir: &Path) -> Vec<PathBuf> {
    let lines = fs::read_to_string(data_dir.join(KNOWN)).unwrap_or_default();
    lines.lines().map(PathBuf::from).collect()
}

fn remember(data_dir: &Path, root: &Path) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().create(true).append(true).open(data_dir.join(KNOWN))?;
    writeln!(file, "{}", root.display())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_are_parsed_not_guessed() {
        let disk: DiskDir = "/mnt/a=b=4TiB".parse().unwrap();
        assert_eq!((disk.path.to_str(), disk.capacity), (Some("/mnt/a=b"), ByteSize(4 << 40)));
        assert_eq!(disk.to_string().parse(), Ok(disk));
        for bad in ["", "/mnt/a", "a=4TiB", "/mnt/a=", "/mnt/a=much"] {
            assert_eq!(bad.parse::<DiskDir>(), Err(DiskDirError(bad.to_owned())));
        }
    }

    #[test]
    fn a_disk_that_is_not_mounted_is_not_begun_anew() {
        let dir = tempfile::TempDir::new().unwrap();
        let data_dir = dir.path().join("data");
        fs::create_dir(&data_dir).unwrap();
        let roots = [data_dir.join("store"), dir.path().join("mnt/store")];
        let options = || StoreOptions { background: false, ..StoreOptions::default() };
        let open = || open(&data_dir, roots.iter().map(|root| (root.clone(), options())).collect());
        assert!(open().unwrap().volumes().iter().all(|volume| volume.store().is_ok()));
        assert!(open().unwrap().volumes().iter().all(|volume| volume.store().is_ok()));
        fs::remove_dir_all(&roots[1]).unwrap();
        fs::create_dir_all(&roots[1]).unwrap();
        let volumes = open().unwrap();
        assert!(volumes.volumes()[0].store().is_ok());
        assert!(volumes.volumes()[1].complaint().unwrap().contains("mnt/store"));
        assert_eq!(fs::read_dir(&roots[1]).unwrap().count(), 0, "nothing is written beneath the mount point");
        // The one in the data directory may be emptied.
        drop(volumes);
        fs::remove_dir_all(&roots[0]).unwrap();
        assert!(open().unwrap().volumes()[0].store().is_ok());
    }
}
