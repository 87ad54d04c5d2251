//! Files and streams into objects.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read, Seek, SeekFrom, Take},
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Instant,
};

use anyhow::{Context as _, bail};
use indicatif::{HumanBytes, ProgressBar};

use super::{
    Transferred, Watched, compare,
    etag::{ONE_PIECE_MAX, PARTS_MAX, of_parts, part_bytes},
    patiently,
};
use crate::objects::{Client, ObjectUrl, parts::Part};

/// Parts on their way at once.
const PARTS_AT_ONCE: usize = 3;
/// Open uploads of one key looked at, newest last.
const OPEN_UPLOADS_MAX: usize = 20;
/// Size of the parts of a stream: this much more after every thousand.
const STREAM_PART_BYTES: u64 = 16 << 20;
const STREAM_STEP: u64 = 1_000;

/// How a file is stored.
#[derive(Clone, Default, Debug)]
pub struct PutOptions {
    /// Content type; `application/octet-stream` where nobody says.
    pub content_type: Option<String>,
    /// Do not go on with an upload that broke off.
    pub anew: bool,
}

/// Stores a file as an object.
pub fn put(
    client: &Client,
    file: &Path,
    to: &ObjectUrl,
    options: &PutOptions,
    bar: &ProgressBar,
) -> anyhow::Result<Transferred> {
    let began = Instant::now();
    let unreadable = || format!("cannot read {}", file.display());
    let before = std::fs::metadata(file).with_context(unreadable)?;
    if !before.is_file() {
        bail!("{} is no file; a directory goes with `arion sync` or `arion cp -r`", file.display());
    }
    let length = before.len();
    let (etag, resumed) = if length <= ONE_PIECE_MAX {
        let content_type = options.content_type.as_deref();
        let etag = patiently(|| {
            let mut body = Watched::new(File::open(file).with_context(unreadable)?.take(length), bar);
            let etag = client.put(to, &mut body, length, content_type)?;
            compare("the file", body.keep(), &etag)?;
            Ok(etag)
        })?;
        (etag, 0)
    } else {
        put_parts(client, file, length, to, options, bar)?
    };
    let after = std::fs::metadata(file).with_context(unreadable)?;
    if after.len() != length || after.modified().ok() != before.modified().ok() {
        bail!("{} changed while it was read; put it again", file.display());
    }
    Ok(Transferred::new(length, resumed, began, etag, true))
}

/// A part of a file.
fn slice(file: &Path, start: u64, bytes: u64) -> anyhow::Result<Take<File>> {
    let mut source = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    source.seek(SeekFrom::Start(start))?;
    Ok(source.take(bytes))
}

/// A file cut into parts.
struct Cut<'a> {
    file: &'a Path,
    length: u64,
    part_bytes: u64,
    count: usize,
}

impl<'a> Cut<'a> {
    fn new(file: &'a Path, length: u64) -> anyhow::Result<Self> {
        let part_bytes = part_bytes(length);
        Ok(Self { file, length, part_bytes, count: usize::try_from(length.div_ceil(part_bytes))? })
    }

    /// Where part `index` (from 0) begins, and its bytes.
    fn at(&self, index: usize) -> (u64, u64) {
        let start = index as u64 * self.part_bytes;
        (start, self.part_bytes.min(self.length.saturating_sub(start)))
    }

    fn fits(&self, part: &Part) -> bool {
        let index = usize::from(part.number).checked_sub(1);
        index.is_some_and(|index| index < self.count && self.at(index).1 == part.size)
    }
}

/// The upload to go on with, and the parts it has: of the open uploads of the key the one with the most parts of those whose
/// parts are cut alike.
fn find_open(client: &Client, to: &ObjectUrl, cut: &Cut<'_>) -> anyhow::Result<Option<(String, Vec<Part>)>> {
    let open = client.open_uploads(to)?;
    let mut best: Option<(String, Vec<Part>)> = None;
    for upload in open.into_iter().rev().take(OPEN_UPLOADS_MAX) {
        // It may have ended meanwhile.
        let Ok(parts) = client.parts(to, &upload) else { continue };
        let better = parts.len() > best.as_ref().map_or(0, |(_, parts)| parts.len());
        if better && parts.iter().all(|part| cut.fits(part)) {
            best = Some((upload, parts));
        }
    }
    Ok(best)
}

/// Of the parts that the gateway has those whose bytes are in the file. `None` as soon as one is not: then the upload is of
/// another file.
fn confirmed(
    cut: &Cut<'_>,
    parts: &[Part],
    bar: &ProgressBar,
) -> anyhow::Result<Option<BTreeMap<usize, [u8; 16]>>> {
    let mut there = BTreeMap::new();
    let mut compared = 0;
    for part in parts {
        let index = usize::from(part.number) - 1;
        let (start, bytes) = cut.at(index);
        let mut body = Watched::new(slice(cut.file, start, bytes)?, bar);
        compared += std::io::copy(&mut body, &mut std::io::sink())?;
        match compare("a part", body.keep(), &part.etag) {
            Ok(md5) => there.insert(index, md5),
            Err(_) => {
                bar.set_position(bar.position().saturating_sub(compared));
                return Ok(None);
            }
        };
    }
    Ok(Some(there))
}

fn put_parts(
    client: &Client,
    file: &Path,
    length: u64,
    to: &ObjectUrl,
    options: &PutOptions,
    bar: &ProgressBar,
) -> anyhow::Result<(String, u64)> {
    let cut = Cut::new(file, length)?;
    // The content type is said when an upload begins: who wants one begins anew.
    let open =
        if options.anew || options.content_type.is_some() { None } else { find_open(client, to, &cut)? };
    let found = match open {
        Some((upload, parts)) => confirmed(&cut, &parts, bar)?.map(|there| (upload, there)),
        None => None,
    };
    let (upload, there) = match found {
        Some(found) => found,
        None => (client.begin_parts(to, options.content_type.as_deref())?, BTreeMap::new()),
    };
    let resumed = there.keys().map(|index| cut.at(*index).1).sum();
    let missing: Vec<usize> = (0..cut.count).filter(|index| !there.contains_key(index)).collect();
    let sent = send_missing(client, to, &upload, &cut, &missing, resumed, bar).with_context(|| {
        format!(
            "{resumed} bytes or more of {to} are stored; give the same command again to go on with the rest"
        )
    })?;
    let md5s: Vec<[u8; 16]> =
        there.into_iter().chain(sent).collect::<BTreeMap<_, _>>().into_values().collect();
    finish(client, to, &upload, &md5s).map(|etag| (etag, resumed))
}

fn finish(client: &Client, to: &ObjectUrl, upload: &str, md5s: &[[u8; 16]]) -> anyhow::Result<String> {
    let etags: Vec<String> = md5s.iter().map(hex::encode).collect();
    let etag = of_parts(md5s);
    match client.finish_parts(to, upload, &etags) {
        Ok(()) => Ok(etag),
        // Perhaps it was completed and the answer was lost.
        Err(error) => match client.head(to) {
            Ok(head) if head.etag == etag => Ok(etag),
            _ => Err(error),
        },
    }
}

fn send_missing(
    client: &Client,
    to: &ObjectUrl,
    upload: &str,
    cut: &Cut<'_>,
    missing: &[usize],
    stored: u64,
    bar: &ProgressBar,
) -> anyhow::Result<Vec<(usize, [u8; 16])>> {
    let next = AtomicUsize::new(0);
    let durable = AtomicU64::new(stored);
    let sent: Mutex<Vec<(usize, [u8; 16])>> = Mutex::default();
    let failure: Mutex<Option<anyhow::Error>> = Mutex::default();
    // In a bar of many transfers the bytes of one say nothing.
    let alone = bar.length() == Some(cut.length);
    let say = |bytes| {
        if alone {
            bar.set_message(format!("{} durable", HumanBytes(bytes)));
        }
    };
    say(stored);
    let work = || -> anyhow::Result<()> {
        while let Some(index) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
            if lock(&failure).is_some() {
                break;
            }
            let (start, bytes) = cut.at(*index);
            let number = u16::try_from(index + 1)?;
            let md5 = patiently(|| {
                let mut body = Watched::new(slice(cut.file, start, bytes)?, bar);
                let etag = client.put_part(to, upload, number, &mut body, bytes)?;
                Ok(compare(&format!("part {number}"), body.keep(), &etag)?)
            })?;
            // The gateway acknowledges a part when enough shards of each of its stripes are durable.
            say(durable.fetch_add(bytes, Ordering::Relaxed) + bytes);
            lock(&sent).push((*index, md5));
        }
        Ok(())
    };
    thread::scope(|scope| {
        for _ in 0..PARTS_AT_ONCE.min(missing.len()) {
            scope.spawn(|| {
                if let Err(error) = work() {
                    lock(&failure).get_or_insert(error);
                }
            });
        }
    });
    match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(sent.into_inner().unwrap_or_else(PoisonError::into_inner)),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The size of part `number` (from 1) of a stream.
fn stream_part_bytes(number: u64) -> u64 {
    STREAM_PART_BYTES * (1 + number.saturating_sub(1) / STREAM_STEP)
}

/// Reads until `bytes` are there or the stream ends.
fn fill(input: &mut impl Read, bytes: u64) -> anyhow::Result<Vec<u8>> {
    let mut part = Vec::new();
    input.take(bytes).read_to_end(&mut part).context("cannot read standard input")?;
    Ok(part)
}

/// Stores what a stream gives, until it ends. Nothing is stored if it breaks off.
pub fn put_from_input(
    client: &Client,
    input: &mut (impl Read + Send),
    to: &ObjectUrl,
    options: &PutOptions,
    bar: &ProgressBar,
) -> anyhow::Result<Transferred> {
    let began = Instant::now();
    let content_type = options.content_type.as_deref();
    let first = fill(input, stream_part_bytes(1))?;
    if (first.len() as u64) < stream_part_bytes(1) {
        let etag = patiently(|| {
            let mut body = Watched::new(&first[..], bar);
            let etag = client.put(to, &mut body, first.len() as u64, content_type)?;
            compare("the stream", body.keep(), &etag)?;
            Ok(etag)
        })?;
        return Ok(Transferred::new(first.len() as u64, 0, began, etag, true));
    }
    let upload = client.begin_parts(to, content_type)?;
    let done = stream_parts(client, to, &upload, first, input, bar)
        .and_then(|(md5s, length)| Ok((finish(client, to, &upload, &md5s)?, length)));
    match done {
        Ok((etag, length)) => Ok(Transferred::new(length, 0, began, etag, true)),
        Err(error) => {
            // A stream cannot be read again. If giving up fails too, the first error is the one to tell.
            let _ = client.abort_parts(to, &upload);
            Err(error)
        }
    }
}

fn stream_parts(
    client: &Client,
    to: &ObjectUrl,
    upload: &str,
    first: Vec<u8>,
    input: &mut (impl Read + Send),
    bar: &ProgressBar,
) -> anyhow::Result<(Vec<[u8; 16]>, u64)> {
    // No part waits in the channel: each is with the reader or with one of the senders.
    let (queue, parts) = mpsc::sync_channel::<(u16, Vec<u8>)>(0);
    let parts = Mutex::new(parts);
    let md5s: Mutex<BTreeMap<u16, [u8; 16]>> = Mutex::default();
    let failure: Mutex<Option<anyhow::Error>> = Mutex::default();
    let work = || -> anyhow::Result<()> {
        loop {
            let next = lock(&parts).recv();
            let Ok((number, part)) = next else { return Ok(()) };
            if lock(&failure).is_some() {
                // The reader waits for a taker.
                continue;
            }
            let sent = patiently(|| {
                let mut body = Watched::new(&part[..], bar);
                let etag = client.put_part(to, upload, number, &mut body, part.len() as u64)?;
                Ok(compare(&format!("part {number}"), body.keep(), &etag)?)
            });
            match sent {
                Ok(md5) => {
                    lock(&md5s).insert(number, md5);
                }
                Err(error) => {
                    lock(&failure).get_or_insert(error);
                }
            }
        }
    };
    let read = thread::scope(|scope| {
        for _ in 0..PARTS_AT_ONCE {
            scope.spawn(work);
        }
        let mut length = 0;
        let mut part = first;
        for number in 1..=PARTS_MAX {
            length += part.len() as u64;
            let sent = queue.send((u16::try_from(number)?, part));
            if sent.is_err() || lock(&failure).is_some() {
                break;
            }
            part = fill(input, stream_part_bytes(number + 1))?;
            if part.is_empty() {
                drop(queue);
                return Ok(length);
            }
        }
        drop(queue);
        match lock(&failure).is_some() {
            true => Ok(length),
            false => bail!("the stream is longer than {PARTS_MAX} parts can be"),
        }
    });
    match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => {
            let md5s = md5s.into_inner().unwrap_or_else(PoisonError::into_inner);
            read.map(|length| (md5s.into_values().collect(), length))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_cut_without_holes() {
        let cut = Cut::new(Path::new("f"), (40 << 20) + 5).unwrap();
        assert_eq!(cut.count, 3);
        assert_eq!((0..3).map(|index| cut.at(index).1).sum::<u64>(), (40 << 20) + 5);
        let part = |number, size| Part { number, size, etag: String::new() };
        assert!(cut.fits(&part(1, 16 << 20)) && cut.fits(&part(3, (8 << 20) + 5)));
        assert!(!cut.fits(&part(3, 16 << 20)) && !cut.fits(&part(4, 5)) && !cut.fits(&part(0, 16 << 20)));
    }

    #[test]
    fn parts_of_streams_grow_and_stay_below_what_s3_takes() {
        assert_eq!(stream_part_bytes(1), 16 << 20);
        assert_eq!(stream_part_bytes(1_001), 32 << 20);
        assert!(stream_part_bytes(PARTS_MAX) < 5 << 30);
    }
}
