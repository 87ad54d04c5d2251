//! Objects into files and streams.
//!
//! An object is read in blocks, some ahead, written in order. Until it is whole it is called `.NAME.ETAG.arion-part`: what is
//! there of it when a download breaks off is the beginning of the object of that ETag, and the next download goes on behind it.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions, TryLockError},
    io::{Read, Write},
    path::{Path, PathBuf},
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Instant,
};

use anyhow::{Context as _, bail};
use indicatif::ProgressBar;

use super::{Transferred, Watched, etag::Follower, patiently};
use crate::{
    failure::GatewayError,
    objects::{Client, Head, ObjectUrl},
};

/// Bytes asked for at once.
const BLOCK_BYTES: u64 = 8 << 20;
/// Blocks on their way or waiting to be written.
const BLOCKS_AHEAD: usize = 4;
/// What a file ends with that is not whole.
const UNFINISHED: &str = "arion-part";
/// Bytes of a file hashed at once.
const BUFFER_BYTES: usize = 256 << 10;

/// Reads an object into a file. Returns also when the object was written.
pub fn get(
    client: &Client,
    from: &ObjectUrl,
    file: &Path,
    bar: &ProgressBar,
) -> anyhow::Result<(Transferred, Head)> {
    let began = Instant::now();
    let (head, first) = begin(client, from, Unfinished::any(file)?)?;
    expect(bar, head.size);
    let mut part = Unfinished::open(file, &head.etag, head.size)?;
    let mut follower = Follower::new(&head.etag, head.size);
    let resumed = part.follow(&mut follower)?;
    bar.inc(resumed);
    let mut sink = |bytes: &[u8]| {
        follower.update(bytes);
        part.write(bytes)
    };
    let mut at = resumed;
    if resumed == 0 && !first.is_empty() {
        sink(&first)?;
        at = first.len() as u64;
        bar.inc(at);
    }
    drop(first);
    read_blocks(client, from, &head, at, bar, &mut sink)
        .context("what came is kept; give the same command again to go on with the rest")?;
    let verified = follower.finish();
    if verified == Some(false) {
        // What is there is no beginning of anything.
        part.discard();
        return Err(GatewayError::Damaged(format!("its MD5 is not {}", head.etag)).into());
    }
    part.finish(file)?;
    let done = Transferred::new(head.size, resumed, began, head.etag.clone(), verified.is_some());
    Ok((done, head))
}

/// Writes an object to a stream, such as standard output.
pub fn get_to_output(
    client: &Client,
    from: &ObjectUrl,
    output: &mut impl Write,
    bar: &ProgressBar,
) -> anyhow::Result<Transferred> {
    let began = Instant::now();
    let (head, first) = begin(client, from, false)?;
    expect(bar, head.size);
    let mut follower = Follower::new(&head.etag, head.size);
    let mut sink = |bytes: &[u8]| {
        follower.update(bytes);
        output.write_all(bytes).map_err(|error| match error.kind() {
            std::io::ErrorKind::BrokenPipe => arion_daemon::output::OutputClosed.into(),
            _ => anyhow::Error::new(error).context("cannot write the output"),
        })
    };
    sink(&first)?;
    bar.inc(first.len() as u64);
    read_blocks(client, from, &head, first.len() as u64, bar, &mut sink)?;
    output.flush()?;
    match follower.finish() {
        Some(false) => {
            Err(GatewayError::Damaged(format!("its MD5 is not {}; do not use what was written", head.etag))
                .into())
        }
        verified => Ok(Transferred::new(head.size, 0, began, head.etag, verified.is_some())),
    }
}

/// Tells a bar that was made for nothing yet how much there is; that of many transfers knows.
fn expect(bar: &ProgressBar, bytes: u64) {
    if bar.length() == Some(0) {
        bar.set_length(bytes);
    }
}

/// What the object is, and its first block, unless something is there of it already: then nothing is read in vain.
fn begin(client: &Client, from: &ObjectUrl, some_is_there: bool) -> anyhow::Result<(Head, Vec<u8>)> {
    if some_is_there {
        return Ok((client.head(from)?, Vec::new()));
    }
    let mut opened = match client.open(from, Some((0, BLOCK_BYTES - 1)), None) {
        // An empty object has no range.
        Err(error) if matches!(error.downcast_ref(), Some(GatewayError::Refused { status: 416, .. })) => {
            return Ok((client.head(from)?, Vec::new()));
        }
        opened => opened?,
    };
    let mut first = Vec::new();
    // What is missing of it is asked for again.
    let _ = opened.body.by_ref().take(opened.length.min(BLOCK_BYTES)).read_to_end(&mut first);
    Ok((opened.head, first))
}

#[derive(Default)]
struct Progress {
    /// Blocks handed on so far.
    written: usize,
    /// Blocks that came before their turn.
    waiting: BTreeMap<usize, Vec<u8>>,
    /// Why there is nothing more to do.
    stopped: Option<Option<anyhow::Error>>,
}

/// Reads from byte `start` to the end, and hands the blocks on in order.
fn read_blocks(
    client: &Client,
    from: &ObjectUrl,
    head: &Head,
    start: u64,
    bar: &ProgressBar,
    sink: &mut dyn FnMut(&[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let left = head.size.saturating_sub(start);
    let count = usize::try_from(left.div_ceil(BLOCK_BYTES))?;
    let next = AtomicUsize::new(0);
    let (progress, moved) = (Mutex::new(Progress::default()), Condvar::new());
    let work = || loop {
        let index = next.fetch_add(1, Ordering::Relaxed);
        if index >= count {
            return;
        }
        let turn = moved.wait_while(lock(&progress), |progress| {
            progress.stopped.is_none() && index >= progress.written + BLOCKS_AHEAD
        });
        if turn.unwrap_or_else(PoisonError::into_inner).stopped.is_some() {
            return;
        }
        let first = start + index as u64 * BLOCK_BYTES;
        let last = (first + BLOCK_BYTES).min(head.size) - 1;
        let block = patiently(|| read_block(client, from, head, (first, last), bar));
        let mut progress = lock(&progress);
        match block {
            Ok(block) => {
                progress.waiting.insert(index, block);
            }
            Err(error) => {
                progress.stopped.get_or_insert(Some(error));
            }
        }
        moved.notify_all();
    };
    thread::scope(|scope| {
        for _ in 0..BLOCKS_AHEAD.min(count) {
            scope.spawn(work);
        }
        for index in 0..count {
            let waited = moved.wait_while(lock(&progress), |progress| {
                progress.stopped.is_none() && !progress.waiting.contains_key(&index)
            });
            let mut turn = waited.unwrap_or_else(PoisonError::into_inner);
            if let Some(error) = turn.stopped.as_mut().and_then(Option::take) {
                return Err(error);
            }
            let block = turn.waiting.remove(&index).unwrap_or_default();
            drop(turn);
            let written = sink(&block);
            let mut turn = lock(&progress);
            turn.written = index + 1;
            if written.is_err() {
                turn.stopped = Some(None);
            }
            moved.notify_all();
            drop(turn);
            written?;
        }
        Ok(())
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read_block(
    client: &Client,
    from: &ObjectUrl,
    head: &Head,
    (first, last): (u64, u64),
    bar: &ProgressBar,
) -> anyhow::Result<Vec<u8>> {
    let opened = client.open(from, Some((first, last)), Some(&head.etag))?;
    let wanted = last - first + 1;
    let mut block = Vec::with_capacity(usize::try_from(wanted)?);
    let mut body = Watched::new(opened.body.take(wanted), bar);
    let read = body.read_to_end(&mut block);
    let broke = |why: String| GatewayError::Damaged(format!("bytes {first} to {last} did not come: {why}"));
    read.map_err(|error| broke(error.to_string()))?;
    if block.len() as u64 != wanted {
        return Err(broke(format!("{} bytes came", block.len())).into());
    }
    body.keep();
    Ok(block)
}

/// The beginning of a download.
struct Unfinished {
    file: File,
    path: PathBuf,
}

impl Unfinished {
    /// The name before the ETag.
    fn stem(target: &Path) -> anyhow::Result<String> {
        let name = target.file_name().with_context(|| format!("{} is no file name", target.display()))?;
        Ok(format!(".{}.", name.to_string_lossy()))
    }

    /// Downloads into this file that were begun and not finished, whatever they were of.
    fn all(target: &Path) -> anyhow::Result<Vec<PathBuf>> {
        let stem = Self::stem(target)?;
        let directory = target.parent().filter(|parent| !parent.as_os_str().is_empty());
        let Ok(entries) = fs::read_dir(directory.unwrap_or(Path::new("."))) else { return Ok(Vec::new()) };
        let is_one = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let etag = name.strip_prefix(&stem).and_then(|rest| rest.strip_suffix(UNFINISHED));
            let etag = etag.and_then(|etag| etag.strip_suffix('.'));
            etag.is_some_and(|etag| etag.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-'))
        };
        Ok(entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_one).collect())
    }

    fn any(target: &Path) -> anyhow::Result<bool> {
        Ok(!Self::all(target)?.is_empty())
    }

    /// Takes up what is there of the object of that ETag, or begins; what is there of others goes.
    fn open(target: &Path, etag: &str, size: u64) -> anyhow::Result<Self> {
        let etag: String = etag.chars().filter(|c| c.is_ascii_hexdigit() || *c == '-').collect();
        let path = target.with_file_name(format!("{}{etag}.{UNFINISHED}", Self::stem(target)?));
        let unwritable = || format!("cannot write {}", path.display());
        let options = OpenOptions::new().create(true).read(true).append(true).to_owned();
        let file = options.open(&path).with_context(unwritable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!("another download into {} runs", target.display()),
            Err(TryLockError::Error(error)) => return Err(error).with_context(unwritable),
        }
        if file.metadata()?.len() > size {
            file.set_len(0)?;
        }
        for other in Self::all(target)?.into_iter().filter(|other| other.file_name() != path.file_name()) {
            let _ = fs::remove_file(other);
        }
        Ok(Self { file, path })
    }

    /// Shows the follower what is there; returns how much that is.
    fn follow(&mut self, follower: &mut Follower) -> anyhow::Result<u64> {
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut length = 0;
        loop {
            let read = self.file.read(&mut buffer)?;
            if read == 0 {
                return Ok(length);
            }
            follower.update(&buffer[..read]);
            length += read as u64;
        }
    }

    fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.file.write_all(bytes).with_context(|| format!("cannot write {}", self.path.display()))
    }

    fn finish(self, target: &Path) -> anyhow::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, target).with_context(|| format!("cannot write {}", target.display()))
    }

    fn discard(self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_download_is_taken_up_where_it_ended_and_only_for_the_same_object() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("file");
        let begun = |etag: &str, size| Unfinished::open(&target, etag, size).unwrap();
        let length = |part: &mut Unfinished, etag| part.follow(&mut Follower::new(etag, 9)).unwrap();
        let mut part = begun("aa", 9);
        part.write(b"1234").unwrap();
        assert!(Unfinished::open(&target, "aa", 9).err().unwrap().to_string().contains("runs"));
        drop(part);
        assert_eq!(names(directory.path()), [".file.aa.arion-part"]);
        assert!(Unfinished::any(&target).unwrap() && !Unfinished::any(Path::new("other")).unwrap());
        let mut part = begun("aa", 9);
        assert_eq!(length(&mut part, "aa"), 4);
        part.write(b"5").unwrap();
        drop(part);
        // More than the object has: it is of something else.
        assert_eq!(length(&mut begun("aa", 3), "aa"), 0);
        assert_eq!(length(&mut begun("bb-2", 9), "bb-2"), 0);
        assert_eq!(names(directory.path()), [".file.bb-2.arion-part"]);
        let mut part = begun("bb-2", 9);
        part.write(b"x").unwrap();
        part.finish(&target).unwrap();
        assert_eq!(
            (names(directory.path()), fs::read(&target).unwrap()),
            (vec!["file".to_owned()], b"x".to_vec())
        );
    }
}
