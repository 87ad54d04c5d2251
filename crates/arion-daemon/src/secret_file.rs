//! Files with secrets: read only if others cannot read them, replaced only as a whole.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

/// Permission bits of everybody but the owner.
pub const OTHERS: u32 = 0o077;

/// Why a file with secrets is not read.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// It is not there or cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// Its permission bits let others read it.
    #[error("it has mode {0:04o}: others than its owner can read it; run `chmod 600` on it")]
    Exposed(u32),
}

/// Permission bits, those of sticky and set-id files included.
fn mode(metadata: &Metadata) -> u32 {
    metadata.permissions().mode() & 0o7777
}

fn checked(metadata: Metadata, forbidden: u32) -> Result<Metadata, SecretFileError> {
    match mode(&metadata) {
        mode if mode & forbidden != 0 => Err(SecretFileError::Exposed(mode)),
        _ => Ok(metadata),
    }
}

/// What the file system says of a file that has none of the `forbidden` permission bits.
pub fn metadata(path: &Path, forbidden: u32) -> Result<Metadata, SecretFileError> {
    checked(fs::metadata(path)?, forbidden)
}

/// The text in a file that has none of the `forbidden` permission bits ([`OTHERS`] as a rule). The bits are those of what is
/// read, also if another file is put in its place in this moment.
pub fn read(path: &Path, forbidden: u32) -> Result<String, SecretFileError> {
    let mut file = File::open(path)?;
    let metadata = checked(file.metadata()?, forbidden)?;
    // Once in the right size: what grows leaves copies in memory.
    let mut text = String::with_capacity(usize::try_from(metadata.len()).unwrap_or(0).saturating_add(1));
    file.read_to_string(&mut text)?;
    Ok(text)
}

/// Puts a file with mode 0600 in the place of what is there, durably: a crash leaves the old one or the new one.
pub fn replace(path: &Path, text: &str) -> io::Result<()> {
    let fresh = path.with_extension("new");
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    create(&fresh, text)?;
    fs::rename(&fresh, path)?;
    sync_directory(path)
}

/// Writes a file with mode 0600 that is not there yet; durable once [`sync_directory`] was called too.
pub(crate) fn create(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Makes the name of a file durable.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_replaced_as_a_whole_and_read_by_its_owner_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.key");
        assert!(matches!(read(&path, OTHERS), Err(SecretFileError::Unreadable(_))));
        // What an earlier attempt left is in nobody's way.
        fs::write(path.with_extension("new"), "half").unwrap();
        for text in ["first", ""] {
            replace(&path, text).unwrap();
            assert_eq!(read(&path, OTHERS).unwrap(), text);
            assert_eq!(mode(&metadata(&path, OTHERS).unwrap()), 0o600);
        }
        assert!(!path.with_extension("new").exists());
        for (mode, forbidden, allowed) in
            [(0o640, OTHERS, false), (0o604, OTHERS, false), (0o440, 0o007, true), (0o444, 0o007, false)]
        {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let exposed = |refused: &SecretFileError| matches!(refused, SecretFileError::Exposed(found) if *found == mode);
            assert_eq!(
                read(&path, forbidden).as_ref().err().map(exposed),
                (!allowed).then_some(true),
                "{mode:o}"
            );
            assert_eq!(metadata(&path, forbidden).is_ok(), allowed, "{mode:o}");
        }
        assert!(replace(&directory.path().join("none/a.key"), "x").is_err());
    }
}
