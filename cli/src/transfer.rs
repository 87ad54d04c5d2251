//! Files to objects and back, with progress.
//!
//! What was sent is compared by MD5 with the ETag that came back, what was received with the ETag that was announced, where
//! the ETag is an MD5. A download appears under its name only when it is whole.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use md5::{Digest, Md5};

use crate::{
    failure::GatewayError,
    objects::{Client, ObjectUrl},
};

/// Files up to this size go in one piece.
const ONE_PIECE_MAX: u64 = 32 << 20;
/// Least size of a part, and most parts of an object.
const PART_BYTES_MIN: u64 = 16 << 20;
const PARTS_MAX: u64 = 10_000;
/// Parts on their way at once.
const PARTS_AT_ONCE: usize = 3;
/// Bytes read from a download at once.
const BUFFER_BYTES: usize = 256 << 10;

/// What a transfer did.
#[derive(Clone, PartialEq, Debug, serde::Serialize)]
pub struct Transferred {
    /// Bytes moved.
    pub bytes: u64,
    /// Time it took.
    pub seconds: f64,
    /// Mean rate.
    pub mib_per_second: f64,
    /// ETag of the object.
    pub etag: String,
}

impl Transferred {
    fn new(bytes: u64, took: Duration, etag: String) -> Self {
        let seconds = took.as_secs_f64();
        let mib_per_second = bytes as f64 / (1 << 20) as f64 / seconds.max(f64::EPSILON);
        Self { bytes, seconds, mib_per_second, etag }
    }
}

/// A bar with bytes, rate and remaining time; none when `quiet` or when standard error is no terminal.
fn bar(length: u64, name: &str, quiet: bool) -> ProgressBar {
    let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(Some(length), target);
    let template = "{prefix} [{bar:30}] {bytes}/{total_bytes} {binary_bytes_per_sec} eta {eta}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_prefix(name.to_owned());
    bar
}

/// Counts and hashes what is read from it.
struct Watched<'a, R> {
    inner: R,
    bar: &'a ProgressBar,
    md5: Md5,
}

impl<'a, R> Watched<'a, R> {
    fn new(inner: R, bar: &'a ProgressBar) -> Self {
        Self { inner, bar, md5: Md5::new() }
    }
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.md5.update(&buffer[..read]);
        self.bar.inc(read as u64);
        Ok(read)
    }
}

fn compare(what: &str, found: &Md5, etag: &str) -> Result<[u8; 16], GatewayError> {
    let md5: [u8; 16] = found.clone().finalize().into();
    if hex::encode(md5) == etag {
        Ok(md5)
    } else {
        Err(GatewayError::Damaged(format!(
            "the MD5 of {what} is {}, the gateway says {etag}",
            hex::encode(md5)
        )))
    }
}

/// Stores a file as an object.
pub fn put(client: &Client, file: &Path, to: &ObjectUrl, quiet: bool) -> anyhow::Result<Transferred> {
    let began = Instant::now();
    let mut source = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    let length = source.metadata()?.len();
    let bar = bar(length, "put", quiet);
    let etag = if length <= ONE_PIECE_MAX {
        let mut body = Watched::new(&mut source, &bar);
        let etag = client.put(to, &mut body, length)?;
        compare("the file", &body.md5, &etag)?;
        etag
    } else {
        put_parts(client, file, length, to, &bar)?
    };
    bar.finish_and_clear();
    Ok(Transferred::new(length, began.elapsed(), etag))
}

fn put_parts(
    client: &Client,
    file: &Path,
    length: u64,
    to: &ObjectUrl,
    bar: &ProgressBar,
) -> anyhow::Result<String> {
    let part_bytes = length.div_ceil(PARTS_MAX).max(PART_BYTES_MIN);
    let count = usize::try_from(length.div_ceil(part_bytes))?;
    let upload = client.begin_parts(to)?;
    let next = AtomicUsize::new(0);
    let etags: Mutex<Vec<Option<[u8; 16]>>> = Mutex::new(vec![None; count]);
    let failure: Mutex<Option<anyhow::Error>> = Mutex::new(None);
    let work = || -> anyhow::Result<()> {
        loop {
            let part = next.fetch_add(1, Ordering::Relaxed);
            let stopped = failure.lock().unwrap_or_else(PoisonError::into_inner).is_some();
            if part >= count || stopped {
                return Ok(());
            }
            let start = part as u64 * part_bytes;
            let bytes = part_bytes.min(length - start);
            let mut source = File::open(file)?;
            source.seek(SeekFrom::Start(start))?;
            let mut body = Watched::new(source.take(bytes), bar);
            let number = u16::try_from(part + 1)?;
            let etag = client.put_part(to, &upload, number, &mut body, bytes)?;
            let md5 = compare(&format!("part {number}"), &body.md5, &etag)?;
            etags.lock().unwrap_or_else(PoisonError::into_inner)[part] = Some(md5);
        }
    };
    thread::scope(|scope| {
        for _ in 0..PARTS_AT_ONCE.min(count) {
            scope.spawn(|| {
                if let Err(error) = work() {
                    failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                }
            });
        }
    });
    if let Some(error) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        // The upload is given up; if that fails too, the first error is the one to tell.
        let _ = client.abort_parts(to, &upload);
        return Err(error);
    }
    let md5s: Vec<[u8; 16]> =
        etags.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().flatten().collect();
    let etags: Vec<String> = md5s.iter().map(hex::encode).collect();
    client.finish_parts(to, &upload, &etags)?;
    Ok(format!("{}-{}", hex::encode(Md5::digest(md5s.concat())), count))
}

/// Reads an object into a file.
pub fn get(client: &Client, from: &ObjectUrl, file: &Path, quiet: bool) -> anyhow::Result<Transferred> {
    let began = Instant::now();
    let (length, etag, body) = client.get(from)?;
    let bar = bar(length, "get", quiet);
    let part = Unfinished::create(file)?;
    let mut body = Watched::new(body, &bar);
    let mut out = &part.file;
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut received = 0u64;
    loop {
        let read = body.read(&mut buffer).map_err(|error| {
            GatewayError::Damaged(format!("it broke off after {received} of {length} bytes: {error}"))
        })?;
        if read == 0 {
            break;
        }
        out.write_all(&buffer[..read]).with_context(|| format!("cannot write {}", part.path.display()))?;
        received += read as u64;
    }
    if received != length {
        return Err(GatewayError::Damaged(format!("{received} of {length} bytes came")).into());
    }
    if !etag.contains('-') {
        compare("the object", &body.md5, &etag)?;
    }
    part.finish(file)?;
    bar.finish_and_clear();
    Ok(Transferred::new(length, began.elapsed(), etag))
}

/// A file that goes away unless it is finished.
struct Unfinished {
    file: File,
    path: PathBuf,
    done: bool,
}

impl Unfinished {
    fn create(target: &Path) -> anyhow::Result<Self> {
        let name = target.file_name().with_context(|| format!("{} is no file name", target.display()))?;
        let path = target.with_file_name(format!(".{}.part-{}", name.to_string_lossy(), std::process::id()));
        let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { file, path, done: false })
    }

    fn finish(mut self, target: &Path) -> anyhow::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, target).with_context(|| format!("cannot write {}", target.display()))?;
        self.done = true;
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.done {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unfinished_download_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("file");
        drop(Unfinished::create(&target).unwrap());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        let part = Unfinished::create(&target).unwrap();
        (&part.file).write_all(b"x").unwrap();
        part.finish(&target).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"x");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_read_is_counted_and_hashed() {
        let bar = ProgressBar::hidden();
        let mut watched = Watched::new(&b"123456789"[..], &bar);
        io::copy(&mut watched, &mut io::sink()).unwrap();
        assert_eq!(bar.position(), 9);
        assert!(compare("it", &watched.md5, "25f9e794323b453885f5181f1b624d0b").is_ok());
        assert!(compare("it", &watched.md5, "25f9e794323b453885f5181f1b624d0c").is_err());
    }
}
