//! Where files are: on this machine or behind a gateway.

use std::{
    path::{Component, Path, PathBuf},
    str::FromStr,
};

use anyhow::{Context as _, bail};

use crate::objects::ObjectUrl;

/// A place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// A file or directory here.
    Here(PathBuf),
    /// An object or a prefix there.
    There(ObjectUrl),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("s3://") {
            return text.parse().map(Self::There);
        }
        match text.is_empty() {
            true => Err("an empty name is no place".to_owned()),
            false => Ok(Self::Here(text.into())),
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Here(path) => path.display().fmt(f),
            Self::There(at) => at.fmt(f),
        }
    }
}

/// A prefix as that of a directory: with a `/` behind it, unless it is empty.
pub fn as_directory(key: &str) -> String {
    match key.is_empty() || key.ends_with('/') {
        true => key.to_owned(),
        false => format!("{key}/"),
    }
}

/// Where a key behind a prefix goes below a directory. Refused where it would not be below it, or is no name of a file.
pub fn path_below(directory: &Path, relative: &str) -> anyhow::Result<PathBuf> {
    let path = Path::new(relative);
    let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    // What the system would read in another way than it is written: `a//b`, `a/./b`, `a/`.
    let same = path.components().collect::<PathBuf>().as_os_str() == relative;
    if relative.is_empty() || !plain || !same || relative.contains('\0') {
        bail!("the key `{relative}` is no name of a file here; get it alone with `arion get`");
    }
    Ok(directory.join(path))
}

/// The key of a path below a directory.
pub fn key_of(directory: &Path, path: &Path) -> anyhow::Result<String> {
    let relative = path.strip_prefix(directory).context("a file outside the directory")?;
    let mut key = String::new();
    for part in relative.components() {
        let name = part.as_os_str().to_str();
        let name = name.with_context(|| format!("{} is not UTF-8 and cannot be a key", path.display()))?;
        if !key.is_empty() {
            key.push('/');
        }
        key.push_str(name);
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_apart() {
        assert!(matches!("s3://b/k".parse(), Ok(Place::There(_))));
        assert_eq!("a/s3://b".parse(), Ok(Place::Here("a/s3://b".into())));
        assert!("s3://".parse::<Place>().is_err() && "".parse::<Place>().is_err());
        assert_eq!(
            (as_directory("").as_str(), as_directory("a").as_str(), as_directory("a/").as_str()),
            ("", "a/", "a/")
        );
    }

    #[test]
    fn no_key_leaves_the_directory() {
        let directory = Path::new("/d");
        assert_eq!(path_below(directory, "a/b ü").unwrap(), Path::new("/d/a/b ü"));
        for key in ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/./b", "a/", ".", "a\0b"] {
            assert!(path_below(directory, key).is_err(), "{key:?}");
        }
        assert_eq!(key_of(directory, Path::new("/d/a/b")).unwrap(), "a/b");
    }
}
