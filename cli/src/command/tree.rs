//! What is in a directory here, and behind a prefix there.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::{Context as _, bail};
use walkdir::WalkDir;

use crate::{
    objects::{Client, ObjectUrl},
    place::key_of,
};

/// Files and objects looked at by one command at most.
const ENTRIES_MAX: usize = 5_000_000;

/// A file or an object, by its name relative to where was looked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    pub(super) bytes: u64,
    pub(super) modified: Option<SystemTime>,
    /// Of an object.
    pub(super) etag: Option<String>,
}

pub(super) type Tree = BTreeMap<String, Entry>;

/// What was found, and what was passed over with the reason.
#[derive(Default, Debug)]
pub(super) struct Found {
    pub(super) tree: Tree,
    pub(super) skipped: Vec<String>,
}

fn too_many() -> anyhow::Error {
    anyhow::anyhow!("more than {ENTRIES_MAX} files: name a part of them")
}

/// The files below a directory. Symbolic links are not followed, what is no file is passed over.
pub(super) fn here(directory: &Path) -> anyhow::Result<Found> {
    let mut found = Found::default();
    if !directory.is_dir() {
        bail!("{} is no directory", directory.display());
    }
    for entry in WalkDir::new(directory).min_depth(1) {
        let entry = entry.with_context(|| format!("cannot look through {}", directory.display()))?;
        let (kind, path) = (entry.file_type(), entry.path());
        if kind.is_dir() || path.extension().is_some_and(|end| end == "arion-part") {
            continue;
        }
        if !kind.is_file() {
            found.skipped.push(format!("{} is no file and was passed over", path.display()));
            continue;
        }
        let metadata = entry.metadata()?;
        let entry = Entry { bytes: metadata.len(), modified: metadata.modified().ok(), etag: None };
        found.tree.insert(key_of(directory, path)?, entry);
        if found.tree.len() > ENTRIES_MAX {
            return Err(too_many());
        }
    }
    Ok(found)
}

/// The objects behind a prefix. What stands for a directory (a key that ends in `/`) is passed over.
pub(super) fn there(client: &Client, at: &ObjectUrl) -> anyhow::Result<Found> {
    let mut found = Found::default();
    client.list_pages(at, true, |page| {
        for line in page {
            let Some(relative) = line.key.strip_prefix(&at.key) else { continue };
            if relative.is_empty() || relative.ends_with('/') {
                continue;
            }
            let modified = line.modified.as_deref().and_then(|text| text.parse::<jiff::Timestamp>().ok());
            let entry = Entry {
                bytes: line.size.unwrap_or(0),
                modified: modified.map(SystemTime::from),
                etag: line.etag,
            };
            found.tree.insert(relative.to_owned(), entry);
        }
        if found.tree.len() > ENTRIES_MAX { Err(too_many()) } else { Ok(()) }
    })?;
    Ok(found)
}

/// The name that a file or key has of its own.
pub(super) fn last_name(path: &str) -> anyhow::Result<&str> {
    let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    if name.is_empty() || name == "." || name == ".." {
        bail!("`{path}` has no name of its own: write the whole destination");
    }
    Ok(name)
}

/// A file here with its size.
pub(super) fn file(path: &Path) -> anyhow::Result<(PathBuf, u64)> {
    let metadata = std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
    if metadata.is_dir() {
        bail!("{} is a directory: add -r to take all that is in it", path.display());
    }
    Ok((path.to_owned(), metadata.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_and_links_are_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::write(root.join("a/b/c ü"), "123").unwrap();
        std::fs::write(root.join(".x.aa.arion-part"), "1").unwrap();
        std::os::unix::fs::symlink("/etc", root.join("link")).unwrap();
        let found = here(root).unwrap();
        assert_eq!(found.tree.keys().collect::<Vec<_>>(), ["a/b/c ü"]);
        assert_eq!((found.tree["a/b/c ü"].bytes, found.skipped.len()), (3, 1));
        assert!(here(&root.join("a/b/c ü")).unwrap_err().to_string().contains("no directory"));
    }

    #[test]
    fn names_of_their_own() {
        assert_eq!(last_name("a/b/").unwrap(), "b");
        assert_eq!(last_name("b").unwrap(), "b");
        assert!(last_name("/").is_err() && last_name("a/..").is_err());
    }
}
