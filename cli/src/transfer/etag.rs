//! What an ETag says of bytes.
//!
//! An object that came in one piece has the MD5 of its bytes as ETag. One of N parts has the MD5 of the parts' MD5s, with `-N`
//! behind it: it can be compared only where the size of the parts is known or guessed.

use std::{fs::File, io::Read, path::Path};

use md5::{Digest, Md5};

const MIB: u64 = 1 << 20;
/// Files up to this size go in one piece.
pub const ONE_PIECE_MAX: u64 = 32 * MIB;
/// Least size of a part, and most parts of an object.
const PART_BYTES_MIN: u64 = 16 * MIB;
pub(super) const PARTS_MAX: u64 = 10_000;
/// Sizes of parts that other clients choose.
const KNOWN_PART_BYTES: [u64; 6] = [8 * MIB, 5 * MIB, 15 * MIB, 16 * MIB, 64 * MIB, 100 * MIB];
/// Bytes read at once.
const BUFFER_BYTES: usize = 256 << 10;

/// The size of the parts in which a file of that length is sent.
pub(super) fn part_bytes(length: u64) -> u64 {
    length.div_ceil(PARTS_MAX).max(PART_BYTES_MIN)
}

/// The ETag of an object made of parts with these MD5s.
pub(super) fn of_parts(md5s: &[[u8; 16]]) -> String {
    format!("{}-{}", hex::encode(Md5::digest(md5s.concat())), md5s.len())
}

/// Follows the bytes of an object to compare them with its ETag.
pub(super) struct Follower {
    etag: String,
    /// One for each size of parts that would give the number of parts in the ETag; without parts, one for the whole.
    guesses: Vec<Guess>,
}

struct Guess {
    part_bytes: Option<u64>,
    in_part: u64,
    md5: Md5,
    md5s: Vec<[u8; 16]>,
}

impl Follower {
    /// For an object of that ETag and length.
    pub(super) fn new(etag: &str, length: u64) -> Self {
        let sizes: Vec<Option<u64>> = match etag.split_once('-') {
            None => vec![None],
            Some((_, count)) => {
                let mut sizes: Vec<u64> =
                    std::iter::once(part_bytes(length)).chain(KNOWN_PART_BYTES).collect();
                sizes.retain(|size| count.parse() == Ok(length.div_ceil(*size)));
                sizes.dedup();
                sizes.into_iter().map(Some).collect()
            }
        };
        let guesses = sizes
            .into_iter()
            .map(|part_bytes| Guess { part_bytes, in_part: 0, md5: Md5::new(), md5s: Vec::new() })
            .collect();
        Self { etag: etag.to_owned(), guesses }
    }

    /// Takes the next bytes.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        for guess in &mut self.guesses {
            guess.update(bytes);
        }
    }

    /// Whether the bytes are those of the ETag. `None` if it cannot be known.
    pub(super) fn finish(self) -> Option<bool> {
        let whole = !self.etag.contains('-');
        let same = self.guesses.into_iter().any(|guess| guess.finish() == self.etag);
        match (same, whole) {
            (true, _) => Some(true),
            (false, true) => Some(false),
            (false, false) => None,
        }
    }
}

impl Guess {
    fn update(&mut self, mut bytes: &[u8]) {
        while let Some(part_bytes) = self.part_bytes.filter(|size| self.in_part + bytes.len() as u64 > *size)
        {
            let (now, later) = bytes.split_at((part_bytes - self.in_part) as usize);
            self.md5.update(now);
            self.md5s.push(std::mem::take(&mut self.md5).finalize().into());
            self.in_part = 0;
            bytes = later;
        }
        self.md5.update(bytes);
        self.in_part += bytes.len() as u64;
    }

    fn finish(mut self) -> String {
        let last: [u8; 16] = self.md5.finalize().into();
        if self.part_bytes.is_none() {
            return hex::encode(last);
        }
        self.md5s.push(last);
        of_parts(&self.md5s)
    }
}

/// Whether a file has the bytes of an ETag. `None` if it cannot be known.
pub fn file_has(path: &Path, length: u64, etag: &str) -> std::io::Result<Option<bool>> {
    let mut follower = Follower::new(etag, length);
    if follower.guesses.is_empty() {
        return Ok(None);
    }
    let mut file = File::open(path)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(follower.finish());
        }
        follower.update(&buffer[..read]);
    }
}

/// The ETag of a file that is uploaded in parts of these sizes, or in one piece. None if it has another length.
pub fn of_file(path: &Path, parts: &[u64], in_parts: bool) -> std::io::Result<Option<String>> {
    let mut file = File::open(path)?;
    if file.metadata()?.len() != parts.iter().sum::<u64>() {
        return Ok(None);
    }
    let (mut md5s, mut buffer) = (Vec::with_capacity(parts.len()), vec![0; BUFFER_BYTES]);
    for size in parts {
        let (mut md5, mut left) = (Md5::new(), *size);
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let read = file.read(&mut buffer[..most])?;
            if read == 0 {
                return Ok(None);
            }
            md5.update(&buffer[..read]);
            left -= read as u64;
        }
        md5s.push(md5.finalize().into());
    }
    Ok(match (in_parts, md5s.as_slice()) {
        (true, md5s) => Some(of_parts(md5s)),
        (false, [md5]) => Some(hex::encode::<[u8; 16]>(*md5)),
        (false, _) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_have_the_etag_of_their_parts() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        std::fs::write(&path, b"abcdef").unwrap();
        let whole = Some(hex::encode(Md5::digest(b"abcdef")));
        assert_eq!(of_file(&path, &[6], false).unwrap(), whole);
        let parts = of_parts(&[Md5::digest(b"abcd").into(), Md5::digest(b"ef").into()]);
        assert_eq!(of_file(&path, &[4, 2], true).unwrap(), Some(parts));
        assert_eq!(of_file(&path, &[4, 3], true).unwrap(), None);
        assert_eq!(of_file(&path, &[4, 2], false).unwrap(), None);
    }

    fn follow(etag: &str, bytes: &[u8], step: usize) -> Option<bool> {
        let mut follower = Follower::new(etag, bytes.len() as u64);
        bytes.chunks(step).for_each(|chunk| follower.update(chunk));
        follower.finish()
    }

    #[test]
    fn etags_of_parts_are_found_where_the_size_of_the_parts_is_a_usual_one() {
        let bytes: Vec<u8> = (0..12 * MIB).map(|n| (n % 251) as u8).collect();
        for part in [5 * MIB, 8 * MIB] {
            let md5s: Vec<[u8; 16]> =
                bytes.chunks(part as usize).map(|part| Md5::digest(part).into()).collect();
            let etag = of_parts(&md5s);
            assert_eq!(follow(&etag, &bytes, 1_000_003), Some(true), "{etag}");
            assert_eq!(follow(&etag, &bytes[1..], 1_000_003), None);
        }
        let odd: Vec<[u8; 16]> =
            bytes.chunks(7 * MIB as usize).map(|part| Md5::digest(part).into()).collect();
        assert_eq!(follow(&of_parts(&odd), &bytes, 100_000), None);
    }

    #[test]
    fn etags_of_one_piece_are_an_md5() {
        let etag = hex::encode(Md5::digest(b"abc"));
        assert_eq!(follow(&etag, b"abc", 2), Some(true));
        assert_eq!(follow(&etag, b"abd", 2), Some(false));
        assert_eq!(follow(&hex::encode(Md5::digest(b"")), b"", 1), Some(true));
    }

    #[test]
    fn parts_are_never_too_many() {
        for length in [ONE_PIECE_MAX + 1, 160 << 30, 5 << 40] {
            assert!(length.div_ceil(part_bytes(length)) <= PARTS_MAX, "{length}");
        }
    }
}
