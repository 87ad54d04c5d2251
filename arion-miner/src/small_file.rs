//! Small files that are written whole: a head of 12 bytes (magic and version), what they say, BLAKE3 of both.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

/// Magic and version.
pub(crate) type Head = [u8; 12];

/// Writes the file, durably: afterwards there is the new one, at any moment before one of the two.
pub(crate) fn write(path: &Path, head: &Head, said: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(&encoded(head, said))?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    sync_directory(path)
}

/// The bytes of a file.
pub(crate) fn encoded(head: &Head, said: &[u8]) -> Vec<u8> {
    let mut bytes = [head, said].concat();
    let sum = blake3::hash(&bytes);
    bytes.extend(sum.as_bytes());
    bytes
}

/// What the bytes of a file say; `None` if it is no such file, or damaged.
pub(crate) fn decoded<'a>(head: &Head, bytes: &'a [u8]) -> Option<&'a [u8]> {
    let (said, sum) = bytes.split_last_chunk::<32>()?;
    (blake3::hash(said).as_bytes() == sum).then(|| said.strip_prefix(head))?
}

/// What is renamed or removed in the directory of a file is so after a power cut, too.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}
