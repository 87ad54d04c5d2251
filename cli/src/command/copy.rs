//! `arion cp` and `arion mv`: between files and objects, and between objects without a way through this machine.

use std::{path::Path, process::ExitCode};

use anyhow::bail;
use arion_daemon::line;

use super::{
    blocking, print_json, size,
    tree::{self, Found},
};
use crate::{
    objects::{Client, ObjectUrl},
    place::{Place, as_directory, path_below},
    settings::Settings,
    transfer::batch::{self, Job, Summary, Task},
};

/// What is asked of both.
pub struct Wish {
    /// From where.
    pub from: Place,
    /// To where.
    pub to: Place,
    /// All that is behind it.
    pub recursive: bool,
    /// The source goes.
    pub moves: bool,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// Copies or moves.
pub async fn run(settings: Settings, wish: Wish, json: bool, quiet: bool) -> anyhow::Result<ExitCode> {
    let (name, dry_run) = (if wish.moves { "mv" } else { "cp" }, wish.dry_run);
    let (tasks, skipped, summary) = blocking(move || {
        let client = Client::new(&settings)?;
        let (tasks, skipped) = plan(&client, &wish)?;
        let summary = if dry_run { Summary::default() } else { batch::run(&client, &tasks, name, quiet) };
        Ok((tasks, skipped, summary))
    })
    .await?;
    report(&tasks, &skipped, summary, dry_run, json)
}

/// Prints what was done, or would be; the first failure is the command's.
pub(super) fn report(
    tasks: &[Task],
    skipped: &[String],
    summary: Summary,
    dry_run: bool,
    json: bool,
) -> anyhow::Result<ExitCode> {
    for line in skipped {
        eprintln!("warning: {line}");
    }
    if json {
        let plan: Vec<String> = tasks.iter().map(|task| task.job.to_string()).collect();
        match dry_run {
            true => print_json(&serde_json::json!({ "dry_run": true, "plan": plan, "skipped": skipped }))?,
            false => print_json(&serde_json::json!({ "done": summary, "skipped": skipped }))?,
        }
    } else if dry_run {
        for task in tasks {
            line!("would {}", task.job);
        }
        line!("{} to do", tasks.len());
    } else {
        line!(
            "{} stored, {} fetched, {} copied, {} deleted ({}, {:.1} s)",
            summary.put,
            summary.got,
            summary.copied,
            summary.deleted,
            size(summary.bytes),
            summary.seconds
        );
    }
    if !json {
        for failure in &summary.failures {
            eprintln!("failed: {failure}");
        }
    }
    match summary.first {
        None => Ok(ExitCode::SUCCESS),
        Some(error) => Err(error.context(format!("{} of {} could not be done", summary.failed, tasks.len()))),
    }
}

fn plan(client: &Client, wish: &Wish) -> anyhow::Result<(Vec<Task>, Vec<String>)> {
    match (&wish.from, &wish.to) {
        (Place::Here(_), Place::Here(_)) => {
            bail!("both are on this machine; one of them has to be s3://bucket/...")
        }
        (Place::Here(from), Place::There(to)) => plan_up(from, to, wish),
        (Place::There(from), Place::Here(to)) => plan_down(client, from, to, wish),
        (Place::There(from), Place::There(to)) => plan_across(client, from, to, wish),
    }
}

fn plan_up(from: &Path, to: &ObjectUrl, wish: &Wish) -> anyhow::Result<(Vec<Task>, Vec<String>)> {
    let moves = wish.moves;
    if !wish.recursive {
        let (file, bytes) = tree::file(from)?;
        let to = to.with_key(destination(&to.key, &from.to_string_lossy())?);
        return Ok((vec![Task { job: Job::Put { file, to }, bytes, moves }], Vec::new()));
    }
    let Found { tree, skipped } = tree::here(from)?;
    let prefix = as_directory(&to.key);
    let task = |(relative, entry): (String, tree::Entry)| Task {
        job: Job::Put { file: from.join(&relative), to: to.with_key(format!("{prefix}{relative}")) },
        bytes: entry.bytes,
        moves,
    };
    Ok((tree.into_iter().map(task).collect(), skipped))
}

fn plan_down(
    client: &Client,
    from: &ObjectUrl,
    to: &Path,
    wish: &Wish,
) -> anyhow::Result<(Vec<Task>, Vec<String>)> {
    let moves = wish.moves;
    if !wish.recursive {
        let bytes = one_object(client, from)?;
        let in_directory = to.is_dir() || to.to_string_lossy().ends_with('/');
        let file = if in_directory { path_below(to, tree::last_name(&from.key)?)? } else { to.to_owned() };
        return Ok((vec![Task { job: Job::Get { from: from.clone(), file }, bytes, moves }], Vec::new()));
    }
    let from = from.with_key(as_directory(&from.key));
    let Found { tree, mut skipped } = tree::there(client, &from)?;
    let mut tasks = Vec::with_capacity(tree.len());
    for (relative, entry) in tree {
        match path_below(to, &relative) {
            Ok(file) => tasks.push(Task {
                job: Job::Get { from: from.with_key(format!("{}{relative}", from.key)), file },
                bytes: entry.bytes,
                moves,
            }),
            Err(error) => skipped.push(error.to_string()),
        }
    }
    Ok((tasks, skipped))
}

fn plan_across(
    client: &Client,
    from: &ObjectUrl,
    to: &ObjectUrl,
    wish: &Wish,
) -> anyhow::Result<(Vec<Task>, Vec<String>)> {
    let moves = wish.moves;
    let task = |from: ObjectUrl, to: ObjectUrl, bytes| Task { job: Job::Copy { from, to }, bytes, moves };
    if !wish.recursive {
        let bytes = one_object(client, from)?;
        let to = to.with_key(destination(&to.key, &from.key)?);
        if to == *from {
            bail!("{from} would be copied onto itself");
        }
        return Ok((vec![task(from.clone(), to, bytes)], Vec::new()));
    }
    let (from, to) = (from.with_key(as_directory(&from.key)), to.with_key(as_directory(&to.key)));
    if from.bucket == to.bucket && to.key.starts_with(&from.key) {
        bail!("{to} is behind {from}: it would be copied into itself");
    }
    let Found { tree, skipped } = tree::there(client, &from)?;
    let tasks = tree.into_iter().map(|(relative, entry)| {
        let key = |at: &ObjectUrl| at.with_key(format!("{}{relative}", at.key));
        task(key(&from), key(&to), entry.bytes)
    });
    Ok((tasks.collect(), skipped))
}

/// A key that ends in `/` or is empty takes the name of the source.
fn destination(key: &str, source: &str) -> anyhow::Result<String> {
    match key.is_empty() || key.ends_with('/') {
        true => Ok(format!("{key}{}", tree::last_name(source)?)),
        false => Ok(key.to_owned()),
    }
}

fn one_object(client: &Client, at: &ObjectUrl) -> anyhow::Result<u64> {
    if at.key.is_empty() || at.key.ends_with('/') {
        bail!("{at} is no object: add -r to take all that is behind it");
    }
    Ok(client.head(at)?.size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_that_is_a_directory_takes_the_name_of_the_source() {
        assert_eq!(destination("", "a/b").unwrap(), "b");
        assert_eq!(destination("d/", "a/b").unwrap(), "d/b");
        assert_eq!(destination("d", "a/b").unwrap(), "d");
        assert!(destination("d/", "..").is_err());
    }
}
