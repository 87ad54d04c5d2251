//! put, get, ls, mb, rb, rm, du, share.

use std::{
    io,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, bail};
use arion_daemon::line;
use jiff::Timestamp;
use serde_json::json;

use super::{blocking, print_json, size};
use crate::{
    objects::{Client, DELETE_KEYS_MAX, ObjectUrl},
    settings::Settings,
    transfer::{self, PutOptions, Transferred},
};

/// Longest life of a link that S3 allows.
pub const SHARE_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Pages of open uploads given up by one command.
const UPLOAD_PAGES_MAX: usize = 1_000;
/// What stands for standard input or output.
const STREAM: &str = "-";

/// How many shards of an object are durable, as its gateway says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
struct Shards {
    durable: u64,
    all: u64,
}

/// `None` where the gateway cannot tell: another S3 service, or one that does not say.
fn shards_of(client: &Client, at: &ObjectUrl) -> Option<Shards> {
    let located = client.locate(at).ok()?;
    let mut shards = Shards { durable: 0, all: 0 };
    for stripe in located["stripes"].as_array()? {
        for shard in stripe["shards"].as_array()? {
            shards.all += 1;
            shards.durable += u64::from(shard["durable"].as_bool()?);
        }
    }
    Some(shards)
}

fn describe(done: &Transferred) -> String {
    let resumed = match done.resumed_bytes {
        0 => String::new(),
        bytes => format!(", {} of it were there", size(bytes)),
    };
    format!("{}, {:.1} s, {:.1} MiB/s{resumed}", size(done.bytes), done.seconds, done.mib_per_second)
}

fn with_key(at: &ObjectUrl) -> anyhow::Result<()> {
    if at.key.is_empty() {
        bail!("s3://{} names a bucket; write s3://{}/key", at.bucket, at.bucket);
    }
    Ok(())
}

/// Stores a file, or standard input.
pub async fn put(
    settings: Settings,
    file: PathBuf,
    mut to: ObjectUrl,
    options: PutOptions,
    json: bool,
    quiet: bool,
) -> anyhow::Result<ExitCode> {
    let stream = file.as_os_str() == STREAM;
    if to.key.is_empty() || to.key.ends_with('/') {
        if stream {
            bail!("standard input has no name: write the whole key, such as {to}file");
        }
        let name = file.file_name().with_context(|| format!("{} is no file name", file.display()))?;
        to.key.push_str(&name.to_string_lossy());
    }
    let what = format!("{} -> {to}", file.display());
    let (done, shards) = blocking(move || {
        let client = Client::new(&settings)?;
        let length = if stream { None } else { std::fs::metadata(&file).ok().map(|found| found.len()) };
        let bar = transfer::bar(length, "put", quiet);
        let done = match stream {
            true => transfer::put_from_input(&client, &mut io::stdin(), &to, &options, &bar)?,
            false => transfer::put(&client, &file, &to, &options, &bar)?,
        };
        bar.finish_and_clear();
        let shards = if quiet && !json { None } else { shards_of(&client, &to) };
        Ok((done, shards))
    })
    .await?;
    if json {
        let mut value = serde_json::to_value(&done)?;
        value["shards"] = serde_json::to_value(shards)?;
        print_json(&value)?;
    } else {
        let shards = shards.map_or_else(String::new, |shards| {
            format!(", {} of {} shards durable", shards.durable, shards.all)
        });
        line!("{what} ({}{shards})", describe(&done));
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads an object into a file, or to standard output.
pub async fn get(
    settings: Settings,
    from: ObjectUrl,
    file: Option<PathBuf>,
    json: bool,
    quiet: bool,
) -> anyhow::Result<ExitCode> {
    with_key(&from)?;
    if file.as_ref().is_some_and(|file| file.as_os_str() == STREAM) {
        if json {
            bail!("standard output is the object's: leave out --json");
        }
        blocking(move || {
            let bar = transfer::bar(Some(0), "get", quiet);
            transfer::get_to_output(&Client::new(&settings)?, &from, &mut io::stdout().lock(), &bar)?;
            bar.finish_and_clear();
            Ok(())
        })
        .await?;
        return Ok(ExitCode::SUCCESS);
    }
    let name = from.key.rsplit('/').next().unwrap_or_default().to_owned();
    let file = match file {
        Some(directory) if directory.is_dir() => directory.join(&name),
        Some(file) => file,
        None => Path::new(&name).to_owned(),
    };
    let what = format!("{from} -> {}", file.display());
    let done = blocking(move || {
        let bar = transfer::bar(Some(0), "get", quiet);
        let (done, _) = transfer::get(&Client::new(&settings)?, &from, &file, &bar)?;
        bar.finish_and_clear();
        Ok(done)
    })
    .await?;
    if json {
        print_json(&done)?;
    } else {
        line!("{what} ({})", describe(&done));
    }
    Ok(ExitCode::SUCCESS)
}

/// Lists objects, or buckets.
pub async fn ls(
    settings: Settings,
    at: Option<ObjectUrl>,
    recursive: bool,
    json: bool,
) -> anyhow::Result<ExitCode> {
    blocking(move || {
        let client = Client::new(&settings)?;
        let Some(at) = at else {
            let buckets = client.list_buckets()?;
            if json {
                return print_json(&buckets);
            }
            for bucket in buckets {
                line!("{:>24} s3://{}", bucket.created.unwrap_or_default(), bucket.bucket);
            }
            return Ok(());
        };
        if json {
            return print_json(&client.list(&at, recursive)?);
        }
        client.list_pages(&at, recursive, |page| {
            for line in page {
                let bytes = line.size.map_or_else(|| "-".to_owned(), size);
                line!("{:>24} {bytes:>12} {}", line.modified.unwrap_or_default(), line.key);
            }
            Ok(())
        })
    })
    .await?;
    Ok(ExitCode::SUCCESS)
}

/// Makes a bucket.
pub async fn mb(settings: Settings, at: ObjectUrl, json: bool) -> anyhow::Result<ExitCode> {
    let bucket = at.bucket.clone();
    blocking(move || Client::new(&settings)?.make_bucket(&bucket)).await?;
    if json {
        print_json(&json!({ "made": at.bucket }))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Removes an empty bucket.
pub async fn rb(settings: Settings, at: ObjectUrl, json: bool) -> anyhow::Result<ExitCode> {
    if !at.key.is_empty() {
        bail!("{at} names an object; `arion rm` deletes it");
    }
    let bucket = at.bucket.clone();
    blocking(move || Client::new(&settings)?.remove_bucket(&bucket)).await?;
    if json {
        print_json(&json!({ "removed": at.bucket }))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Deletes an object, or everything behind a prefix.
pub async fn rm(
    settings: Settings,
    at: ObjectUrl,
    recursive: bool,
    dry_run: bool,
    json: bool,
) -> anyhow::Result<ExitCode> {
    if !recursive {
        with_key(&at)?;
    }
    let told = !json;
    let (deleted, given_up) = blocking(move || {
        let client = Client::new(&settings)?;
        if !recursive {
            // Deleting what is not there is no error in S3, but a typing error here.
            client.head(&at)?;
            if !dry_run {
                client.delete(&at)?;
            }
            if told && dry_run {
                line!("would delete {at}");
            }
            return Ok((1, 0));
        }
        let mut deleted = 0;
        client.list_pages(&at, true, |page| {
            let keys: Vec<String> = page.into_iter().map(|line| line.key).collect();
            for keys in keys.chunks(DELETE_KEYS_MAX) {
                if !dry_run {
                    client.delete_all(&at.bucket, keys)?;
                }
                deleted += keys.len();
                for key in keys.iter().filter(|_| told) {
                    line!("{} {}", if dry_run { "would delete" } else { "deleted" }, at.with_key(key));
                }
            }
            Ok(())
        })?;
        let given_up = if dry_run { 0 } else { give_up_uploads(&client, &at)? };
        if told && given_up > 0 {
            line!("gave up {given_up} uploads that were not finished");
        }
        Ok((deleted, given_up))
    })
    .await?;
    if json {
        let gone = if dry_run { 0 } else { deleted };
        print_json(&json!({ "deleted": gone, "found": deleted, "uploads_given_up": given_up }))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Gives up the uploads behind a prefix that were begun and not ended; answers how many.
fn give_up_uploads(client: &Client, at: &ObjectUrl) -> anyhow::Result<usize> {
    let mut given_up = 0;
    for _ in 0..UPLOAD_PAGES_MAX {
        let uploads = client.uploads_behind(at)?;
        for (key, upload) in &uploads {
            client.abort_parts(&at.with_key(key), upload)?;
            given_up += 1;
        }
        if uploads.is_empty() {
            break;
        }
    }
    Ok(given_up)
}

/// Makes a link.
pub async fn share(
    settings: Settings,
    at: ObjectUrl,
    expires: Duration,
    write: bool,
    json: bool,
) -> anyhow::Result<ExitCode> {
    with_key(&at)?;
    if expires < Duration::from_secs(1) || expires > SHARE_MAX {
        bail!("a link lives from 1 second to 7 days: --expires 7d");
    }
    let url = blocking(move || {
        let client = Client::new(&settings)?;
        if !write {
            // A link to nothing is a typing error.
            client.head(&at)?;
        }
        client.share(&at, write, expires)
    })
    .await?;
    if json {
        let until = Timestamp::now() + expires;
        let method = if write { "PUT" } else { "GET" };
        print_json(
            &json!({ "url": url, "method": method, "expires": until.strftime("%Y-%m-%dT%H:%M:%SZ").to_string() }),
        )?;
    } else {
        line!("{url}");
    }
    Ok(ExitCode::SUCCESS)
}
