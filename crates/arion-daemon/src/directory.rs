//! Data directories.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

/// A directory that cannot hold data.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// It does not exist and cannot be made.
    #[error("cannot create the data directory {}: {reason}; create it or choose another one", path.display())]
    Uncreatable {
        /// The directory.
        path: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
    /// Files cannot be written in it.
    #[error(
        "the data directory {} is not writable: {reason}; give this user write access or choose another one",
        path.display()
    )]
    Unwritable {
        /// The directory.
        path: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
}

/// Makes the directory if it is missing and proves by writing and syncing a file that it can hold data.
pub fn check_writable_dir(path: &Path) -> Result<(), DirectoryError> {
    fs::create_dir_all(path)
        .map_err(|reason| DirectoryError::Uncreatable { path: path.to_owned(), reason })?;
    let probe = path.join(format!(".write-probe-{}", std::process::id()));
    let written = fs::File::create(&probe).and_then(|mut file| {
        file.write_all(b"probe")?;
        file.sync_all()
    });
    let removed = fs::remove_file(&probe);
    written.and(removed).map_err(|reason| DirectoryError::Unwritable { path: path.to_owned(), reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_in_the_way_is_named() {
        let directory = tempfile::tempdir().unwrap();
        assert!(check_writable_dir(&directory.path().join("a/b")).is_ok());
        let file = directory.path().join("file");
        fs::write(&file, "x").unwrap();
        let error = check_writable_dir(&file.join("below")).unwrap_err();
        assert!(matches!(error, DirectoryError::Uncreatable { .. }), "{error}");
        let error = check_writable_dir(Path::new("/proc/self")).unwrap_err();
        assert!(matches!(error, DirectoryError::Unwritable { .. }), "{error}");
    }
}
