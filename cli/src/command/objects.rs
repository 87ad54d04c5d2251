//! put, get, ls, mb, rm.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use arion_daemon::line;

use super::{print_json, size};
use crate::{
    objects::{Client, ObjectUrl},
    settings::Settings,
    transfer::{self, Transferred},
};

/// Runs blocking work on a thread of its own.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work).await?
}

fn report(what: String, done: &Transferred, json: bool) -> anyhow::Result<ExitCode> {
    if json {
        print_json(done)?;
    } else {
        line!("{what} ({}, {:.1} s, {:.1} MiB/s)", size(done.bytes), done.seconds, done.mib_per_second);
    }
    Ok(ExitCode::SUCCESS)
}

fn with_key(at: &ObjectUrl) -> anyhow::Result<()> {
    if at.key.is_empty() {
        bail!("s3://{} names a bucket; write s3://{}/key", at.bucket, at.bucket);
    }
    Ok(())
}

/// Stores a file.
pub async fn put(
    settings: Settings,
    file: PathBuf,
    mut to: ObjectUrl,
    json: bool,
    quiet: bool,
) -> anyhow::Result<ExitCode> {
    if to.key.is_empty() || to.key.ends_with('/') {
        let name = file.file_name().with_context(|| format!("{} is no file name", file.display()))?;
        to.key.push_str(&name.to_string_lossy());
    }
    let what = format!("{} -> s3://{}/{}", file.display(), to.bucket, to.key);
    let done = blocking(move || transfer::put(&Client::new(&settings)?, &file, &to, quiet)).await?;
    report(what, &done, json)
}

/// Reads an object.
pub async fn get(
    settings: Settings,
    from: ObjectUrl,
    file: Option<PathBuf>,
    json: bool,
    quiet: bool,
) -> anyhow::Result<ExitCode> {
    with_key(&from)?;
    let name = from.key.rsplit('/').next().unwrap_or_default().to_owned();
    let file = match file {
        Some(directory) if directory.is_dir() => directory.join(&name),
        Some(file) => file,
        None => Path::new(&name).to_owned(),
    };
    let what = format!("s3://{}/{} -> {}", from.bucket, from.key, file.display());
    let done = blocking(move || transfer::get(&Client::new(&settings)?, &from, &file, quiet)).await?;
    report(what, &done, json)
}

/// Lists objects.
pub async fn ls(settings: Settings, at: ObjectUrl, recursive: bool, json: bool) -> anyhow::Result<ExitCode> {
    let lines = blocking(move || Client::new(&settings)?.list(&at, recursive)).await?;
    if json {
        print_json(&lines)?;
        return Ok(ExitCode::SUCCESS);
    }
    for line in lines {
        let bytes = line.size.map_or_else(|| "-".to_owned(), size);
        line!("{:>24} {bytes:>12} {}", line.modified.unwrap_or_default(), line.key);
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes a bucket.
pub async fn mb(settings: Settings, bucket: ObjectUrl) -> anyhow::Result<ExitCode> {
    blocking(move || Client::new(&settings)?.make_bucket(&bucket.bucket)).await?;
    Ok(ExitCode::SUCCESS)
}

/// Deletes an object.
pub async fn rm(settings: Settings, at: ObjectUrl) -> anyhow::Result<ExitCode> {
    with_key(&at)?;
    blocking(move || Client::new(&settings)?.delete(&at)).await?;
    Ok(ExitCode::SUCCESS)
}
