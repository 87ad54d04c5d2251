//! Reading from a disk that refuses sectors: what it refuses for good costs those sectors, not the read.
//!
//! # Not here
//! What becomes of the shards in them (`recover`, `compact`, `scrub`).

use std::{io, ops::Range, sync::Arc};

use rustix::io::Errno;

use super::disk::DiskFile;

/// How often what the disk refuses is asked for before it counts as lost.
pub(super) const TRIES: usize = 4;
/// Unreadable bytes are looked for in steps of this length.
const BLOCK_BYTES: u64 = 4 << 10;
/// Blocks refused in one file after which the rest of it counts as refused: a bad disk takes seconds for each.
pub(super) const REFUSED_BLOCKS_MAX: usize = 1_024;

/// Whether an error says that the medium does not give these bytes back: bad sectors and what file systems make of them.
pub(super) fn is_unreadable(error: &io::Error) -> bool {
    let unreadable = [Errno::IO, Errno::UCLEAN, Errno::BADMSG, Errno::NODATA, Errno::ILSEQ];
    Errno::from_io_error(error).is_some_and(|errno| unreadable.contains(&errno))
}

/// Asks again where the disk refuses.
pub(super) fn persist<T>(mut ask: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let mut answer = ask();
    for _ in 1..TRIES {
        if answer.as_ref().is_err_and(is_unreadable) {
            answer = ask();
        }
    }
    answer
}

/// `length` bytes from `offset`; zeros where the disk refuses, and which blocks that were. More of them than `budget`
/// are not asked for.
pub(super) fn read(
    file: &Arc<dyn DiskFile>,
    offset: u64,
    length: usize,
    budget: usize,
) -> io::Result<(Vec<u8>, Vec<Range<u64>>)> {
    match persist(|| file.read(offset, length)) {
        Ok(bytes) => return Ok((bytes, Vec::new())),
        Err(error) if is_unreadable(&error) => {}
        Err(error) => return Err(error),
    }
    let (mut bytes, mut refused) = (vec![0; length], Vec::new());
    let end = offset + length as u64;
    let mut at = offset;
    while at < end {
        // At the borders of blocks of the file, which are those of the disk.
        let next = end.min((at / BLOCK_BYTES + 1) * BLOCK_BYTES);
        let part = &mut bytes[(at - offset) as usize..(next - offset) as usize];
        let read = if refused.len() < budget { file.read_at(part, at) } else { Err(Errno::IO.into()) };
        match read {
            Ok(()) => {}
            Err(error) if is_unreadable(&error) => {
                part.fill(0);
                refused.push(at..next);
            }
            Err(error) => return Err(error),
        }
        at = next;
    }
    Ok((bytes, refused))
}
