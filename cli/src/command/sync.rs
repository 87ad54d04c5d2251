//! `arion sync`: makes a prefix like a directory, or a directory like a prefix.
//!
//! A file is moved when it is missing on the other side, has another size, or is newer here than there (`--checksum`: has
//! other bytes, as far as the ETag tells). What was fetched gets the object's time, so that a second run finds nothing to do.

use std::{path::Path, process::ExitCode, time::Duration};

use anyhow::bail;

use super::{
    blocking,
    copy::report,
    tree::{self, Entry, Found, Tree},
};
use crate::{
    objects::{Client, ObjectUrl},
    place::{Place, as_directory, path_below},
    settings::Settings,
    transfer::{
        batch::{self, Job, Summary, Task},
        etag,
    },
};

/// By how much an object has to be newer than a file: the file's time, taken from HTTP, has whole seconds.
const HTTP_STEP: Duration = Duration::from_secs(1);

/// How.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// What the source does not have goes from the destination.
    pub delete: bool,
    /// Only say what would be done.
    pub dry_run: bool,
    /// Compare bytes, not times.
    pub checksum: bool,
}

/// Synchronises.
pub async fn run(
    settings: Settings,
    from: Place,
    to: Place,
    options: Options,
    json: bool,
    quiet: bool,
) -> anyhow::Result<ExitCode> {
    let (tasks, skipped, summary) = blocking(move || {
        let client = Client::new(&settings)?;
        let (tasks, skipped) = match (from, to) {
            (Place::Here(from), Place::There(to)) => up(&client, &from, &to, options)?,
            (Place::There(from), Place::Here(to)) => down(&client, &from, &to, options)?,
            _ => bail!("one of the two has to be a directory, the other s3://bucket/prefix"),
        };
        let summary = match options.dry_run {
            true => Summary::default(),
            false => batch::run(&client, &tasks, "sync", quiet),
        };
        Ok((tasks, skipped, summary))
    })
    .await?;
    report(&tasks, &skipped, summary, options.dry_run, json)
}

/// Whether the file here has the bytes of an ETag.
type SameBytes<'a> = &'a dyn Fn(&str) -> anyhow::Result<bool>;

/// Whether the source's entry has to be moved: if it is newer, by `step` or more.
fn differs(
    source: &Entry,
    destination: Option<&Entry>,
    step: Duration,
    same_bytes: Option<SameBytes<'_>>,
) -> anyhow::Result<bool> {
    let Some(destination) = destination.filter(|destination| destination.bytes == source.bytes) else {
        return Ok(true);
    };
    if let Some(same_bytes) = same_bytes {
        let etag = source.etag.as_ref().or(destination.etag.as_ref());
        return match etag {
            Some(etag) => Ok(!same_bytes(etag)?),
            None => Ok(true),
        };
    }
    Ok(match (source.modified, destination.modified) {
        (Some(source), Some(destination)) => {
            source.duration_since(destination).is_ok_and(|by| by > Duration::ZERO && by >= step)
        }
        _ => true,
    })
}

fn needed(
    source: &Tree,
    destination: &Tree,
    directory: &Path,
    step: Duration,
    checksum: bool,
) -> anyhow::Result<Vec<(String, u64)>> {
    let mut needed = Vec::new();
    for (name, entry) in source {
        let file = directory.join(name);
        let same_bytes = |etag: &str| -> anyhow::Result<bool> {
            Ok(etag::file_has(&file, entry.bytes, etag)? == Some(true))
        };
        let same_bytes: Option<SameBytes<'_>> = if checksum { Some(&same_bytes) } else { None };
        if differs(entry, destination.get(name), step, same_bytes)? {
            needed.push((name.clone(), entry.bytes));
        }
    }
    Ok(needed)
}

/// Names that only the destination has.
fn surplus<'a>(source: &'a Tree, destination: &'a Tree) -> impl Iterator<Item = &'a String> {
    destination.keys().filter(|name| !source.contains_key(*name))
}

type Plan = (Vec<Task>, Vec<String>);

fn up(client: &Client, from: &Path, to: &ObjectUrl, options: Options) -> anyhow::Result<Plan> {
    let to = to.with_key(as_directory(&to.key));
    let Found { tree: source, skipped } = tree::here(from)?;
    let destination = tree::there(client, &to)?.tree;
    let object = |name: &str| to.with_key(format!("{}{name}", to.key));
    let put = |(name, bytes): (String, u64)| Task {
        job: Job::Put { file: from.join(&name), to: object(&name) },
        bytes,
        moves: false,
    };
    let mut tasks: Vec<Task> =
        needed(&source, &destination, from, Duration::ZERO, options.checksum)?.into_iter().map(put).collect();
    if options.delete {
        let delete = |name: &String| Task { job: Job::DeleteObject(object(name)), bytes: 0, moves: false };
        tasks.extend(surplus(&source, &destination).map(delete));
    }
    Ok((tasks, skipped))
}

fn down(client: &Client, from: &ObjectUrl, to: &Path, options: Options) -> anyhow::Result<Plan> {
    let from = from.with_key(as_directory(&from.key));
    let Found { tree: mut source, mut skipped } = tree::there(client, &from)?;
    source.retain(|name, _| match path_below(to, name) {
        Ok(_) => true,
        Err(error) => {
            skipped.push(error.to_string());
            false
        }
    });
    let destination = if to.exists() { tree::here(to)?.tree } else { Tree::new() };
    let mut tasks = Vec::new();
    for (name, bytes) in needed(&source, &destination, to, HTTP_STEP, options.checksum)? {
        let file = path_below(to, &name)?;
        let from = from.with_key(format!("{}{name}", from.key));
        tasks.push(Task { job: Job::Get { from, file }, bytes, moves: false });
    }
    if options.delete {
        let delete = |name: &String| Task { job: Job::DeleteFile(to.join(name)), bytes: 0, moves: false };
        tasks.extend(surplus(&source, &destination).map(delete));
    }
    Ok((tasks, skipped))
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn entry(bytes: u64, seconds: u64) -> Entry {
        let modified = Some(SystemTime::UNIX_EPOCH + Duration::from_millis(seconds * 1_000));
        Entry { bytes, modified, etag: None }
    }

    #[test]
    fn what_is_missing_of_another_size_or_newer_is_moved() {
        let differs = |source: &Entry, destination: Option<&Entry>| {
            differs(source, destination, HTTP_STEP, None).unwrap()
        };
        assert!(differs(&entry(1, 5), None));
        assert!(differs(&entry(1, 5), Some(&entry(2, 9))));
        assert!(differs(&entry(1, 6), Some(&entry(1, 5))));
        assert!(!differs(&entry(1, 5), Some(&entry(1, 5))));
        assert!(!differs(&entry(1, 5), Some(&entry(1, 9))));
        let mut finer = entry(1, 5);
        finer.modified = finer.modified.map(|time| time + Duration::from_millis(900));
        assert!(!differs(&finer, Some(&entry(1, 5))));
        assert!(super::differs(&finer, Some(&entry(1, 5)), Duration::ZERO, None).unwrap());
        assert!(!super::differs(&finer, Some(&finer), Duration::ZERO, None).unwrap());
    }

    #[test]
    fn with_checksums_only_bytes_count() {
        let mut there = entry(1, 5);
        there.etag = Some("e".to_owned());
        for same in [true, false] {
            let compare = |etag: &str| -> anyhow::Result<bool> { Ok(etag == "e" && same) };
            assert_eq!(differs(&entry(1, 9), Some(&there), HTTP_STEP, Some(&compare)).unwrap(), !same);
        }
        assert!(differs(&entry(2, 9), Some(&there), HTTP_STEP, Some(&|_: &str| Ok(true))).unwrap());
    }

    #[test]
    fn only_what_the_source_lacks_is_surplus() {
        let tree =
            |names: &[&str]| -> Tree { names.iter().map(|name| ((*name).to_owned(), entry(1, 1))).collect() };
        let (source, destination) = (tree(&["a", "b"]), tree(&["b", "c"]));
        assert_eq!(surplus(&source, &destination).collect::<Vec<_>>(), ["c"]);
    }
}
