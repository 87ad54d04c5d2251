//! The operator's key store: the secrets that account keys are derived from, one generation a line, the newest last.
//!
//! It is a file (`account.key`, made by `init`) or a systemd credential. A generation is 64 hexadecimal digits; empty lines
//! and lines that begin with `#` say nothing.
//!
//! # Invariants
//! - Fail closed: a store that is missing, broken or readable by others gives no keys.
//! - A generation is added and removed by replacing the whole file, durably; a crash leaves the old or the new one.
//! - Secrets are erased from memory and never printed; generations are known by [`KeyId`].
//!
//! # Not here
//! What is wrapped under which generation ([`crate::keyring`]).

use std::{
    env, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use arion_crypto::{KeyId, OperatorSecret};
use arion_daemon::secret_file::{self, SecretFileError};
use zeroize::Zeroizing;

/// Most generations in a store.
pub const GENERATIONS_MAX: usize = 64;
/// Where systemd puts the credentials of a service.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// Why the key store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyStoreError {
    /// It cannot be read.
    #[error("cannot read the account key {}: {reason}; make one with `init` or give its path", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: io::Error,
    },
    /// Others than its owner may read it.
    #[error("the account key {} has mode {mode:04o}: others than its owner can read it; run `chmod 600 {}`", path.display(), path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A line is not a generation.
    #[error("line {line} of the account key {} is not 64 hexadecimal digits, or repeats another line; restore the file from a backup", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// There is no generation in it.
    #[error("the account key {} is empty; restore the file from a backup", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// There are too many generations.
    #[error("the account key {} has {GENERATIONS_MAX} generations; remove old ones with `key prune`", path.display())]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// The service has no credentials.
    #[error(
        "account_key_credential is set, but {CREDENTIALS} is not: this is not a systemd service with LoadCredential= or LoadCredentialEncrypted="
    )]
    NoCredentials,
    /// Not a name of a credential.
    #[error("`{0}` is not the name of a credential: letters, digits, `-`, `_` and `.`")]
    Name(String),
    /// A credential cannot be written.
    #[error(
        "the account key is a systemd credential, which nobody can write here: add a line (`openssl rand -hex 32`) at the end of what {} is made from, or take an old line away, and restart the service",
        path.display()
    )]
    ReadOnly {
        /// The credential.
        path: PathBuf,
    },
    /// It cannot be written.
    #[error("cannot write the account key {}: {reason}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: io::Error,
    },
}

/// The generations of a store, the newest last; at least one.
pub struct Generations(Vec<OperatorSecret>);

impl Generations {
    /// A store of one generation.
    pub fn one(secret: OperatorSecret) -> Self {
        Self(vec![secret])
    }

    /// All, the newest last.
    pub fn all(&self) -> &[OperatorSecret] {
        &self.0
    }

    /// The newest.
    pub fn current(&self) -> &OperatorSecret {
        self.0.last().expect("a store has a generation")
    }
}

/// What tells that a store was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    modified: SystemTime,
    bytes: u64,
    mode: u32,
}

/// Where the operator keeps the secrets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyStore {
    path: PathBuf,
    is_credential: bool,
}

impl KeyStore {
    /// A file.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), is_credential: false }
    }

    /// A systemd credential of this service.
    pub fn credential(name: &str) -> Result<Self, KeyStoreError> {
        let directory = env::var_os(CREDENTIALS).ok_or(KeyStoreError::NoCredentials)?;
        Self::credential_in(Path::new(&directory), name)
    }

    fn credential_in(directory: &Path, name: &str) -> Result<Self, KeyStoreError> {
        let fits = !name.is_empty()
            && !name.starts_with('.')
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if !fits {
            return Err(KeyStoreError::Name(name.to_owned()));
        }
        Ok(Self { path: directory.join(name), is_credential: true })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What changes when the store does.
    pub fn stamp(&self) -> Result<Stamp, KeyStoreError> {
        let metadata = secret_file::metadata(&self.path, self.forbidden()).map_err(|e| self.refused(e))?;
        let modified = metadata.modified().map_err(|reason| self.refused(reason.into()))?;
        Ok(Stamp { modified, bytes: metadata.len(), mode: metadata.permissions().mode() })
    }

    /// Permission bits that the file must not have.
    fn forbidden(&self) -> u32 {
        // systemd gives a service's user access to credentials by an ACL, whose mask shows as the group's bits.
        if self.is_credential { 0o007 } else { secret_file::OTHERS }
    }

    fn text(&self) -> Result<Zeroizing<String>, KeyStoreError> {
        let text = secret_file::read(&self.path, self.forbidden()).map_err(|error| self.refused(error))?;
        Ok(Zeroizing::new(text))
    }

    /// Reads the generations.
    pub fn load(&self) -> Result<Generations, KeyStoreError> {
        let text = self.text()?;
        let mut generations: Vec<OperatorSecret> = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let malformed = || KeyStoreError::Malformed { path: self.path.clone(), line: number + 1 };
            let mut bytes = Zeroizing::new([0; 32]);
            hex::decode_to_slice(line.strip_prefix("0x").unwrap_or(line), &mut *bytes)
                .map_err(|_| malformed())?;
            let secret = OperatorSecret::from_bytes(*bytes);
            if generations.iter().any(|other| other.id() == secret.id()) {
                return Err(malformed());
            }
            if generations.len() == GENERATIONS_MAX {
                return Err(KeyStoreError::Full { path: self.path.clone() });
            }
            generations.push(secret);
        }
        if generations.is_empty() {
            return Err(KeyStoreError::Empty { path: self.path.clone() });
        }
        Ok(Generations(generations))
    }

    /// Adds a new generation, from the operating system's randomness; returns its name.
    pub fn add(&self) -> Result<KeyId, KeyStoreError> {
        self.check_writable()?;
        if self.load()?.all().len() >= GENERATIONS_MAX {
            return Err(KeyStoreError::Full { path: self.path.clone() });
        }
        let bytes = Zeroizing::new(rand::random::<[u8; 32]>());
        let mut text = self.text()?;
        if !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(&Zeroizing::new(hex::encode(*bytes)));
        text.push('\n');
        self.replace(&text)?;
        Ok(OperatorSecret::from_bytes(*bytes).id())
    }

    /// Removes the generations that are named; never the newest. Returns how many were removed.
    pub fn remove(&self, unwanted: &[KeyId]) -> Result<usize, KeyStoreError> {
        self.check_writable()?;
        let generations = self.load()?;
        let newest = generations.current().id();
        let text = self.text()?;
        let mut kept = Zeroizing::new(String::with_capacity(text.len()));
        let mut removed = 0;
        for line in text.lines() {
            let mut bytes = Zeroizing::new([0; 32]);
            let digits = line.trim();
            let is_key =
                hex::decode_to_slice(digits.strip_prefix("0x").unwrap_or(digits), &mut *bytes).is_ok();
            let id = OperatorSecret::from_bytes(*bytes).id();
            if is_key && id != newest && unwanted.contains(&id) {
                removed += 1;
                continue;
            }
            kept.push_str(line);
            kept.push('\n');
        }
        if removed > 0 {
            self.replace(&kept)?;
        }
        Ok(removed)
    }

    fn check_writable(&self) -> Result<(), KeyStoreError> {
        match self.is_credential {
            true => Err(KeyStoreError::ReadOnly { path: self.path.clone() }),
            false => Ok(()),
        }
    }

    fn refused(&self, error: SecretFileError) -> KeyStoreError {
        let path = self.path.clone();
        match error {
            SecretFileError::Unreadable(reason) => KeyStoreError::Unreadable { path, reason },
            SecretFileError::Exposed(mode) => KeyStoreError::Exposed { path, mode },
        }
    }

    fn replace(&self, text: &str) -> Result<(), KeyStoreError> {
        secret_file::replace(&self.path, text)
            .map_err(|reason| KeyStoreError::Unwritable { path: self.path.clone(), reason })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn store(text: &str) -> (tempfile::TempDir, KeyStore) {
        let directory = tempfile::tempdir().unwrap();
        let store = KeyStore::file(directory.path().join("account.key"));
        write(store.path(), text, 0o600);
        (directory, store)
    }

    fn write(path: &Path, text: &str, mode: u32) {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn ids(store: &KeyStore) -> Vec<KeyId> {
        store.load().unwrap().all().iter().map(OperatorSecret::id).collect()
    }

    #[test]
    fn generations_come_and_go_and_the_newest_stays() {
        let (_directory, store) = store(&format!("{}\n", "07".repeat(32)));
        let first = ids(&store);
        assert_eq!(first[0].to_string(), "acf074f89a0f6d67");
        let before = store.stamp().unwrap();
        let second = store.add().unwrap();
        assert_ne!(store.stamp().unwrap(), before);
        assert_eq!(ids(&store), [first[0], second]);
        assert_eq!(store.load().unwrap().current().id(), second);
        assert_eq!(fs::metadata(store.path()).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(store.remove(&[first[0], second]).unwrap(), 1);
        assert_eq!(ids(&store), [second]);
        assert_eq!(store.remove(&[first[0]]).unwrap(), 0);
    }

    #[test]
    fn what_init_wrote_long_ago_and_comments_are_read() {
        let (_directory, store) = store(&format!("# first\n\n0x{}\n{}", "01".repeat(32), "02".repeat(32)));
        assert_eq!(ids(&store).len(), 2);
        store.add().unwrap();
        assert_eq!(ids(&store).len(), 3);
        assert!(fs::read_to_string(store.path()).unwrap().starts_with("# first\n"));
    }

    #[test]
    fn a_broken_store_gives_nothing_and_says_where() {
        let one = "01".repeat(32);
        for (text, line) in [("xyz".to_owned(), 1), (format!("{one}\n12"), 2), (format!("{one}\n\n{one}"), 3)]
        {
            let (_directory, store) = store(&text);
            let error = store.load().err().unwrap();
            assert!(
                matches!(error, KeyStoreError::Malformed { line: found, .. } if found == line),
                "{error}"
            );
        }
        let (_directory, store) = store("# nothing\n");
        assert!(matches!(store.load(), Err(KeyStoreError::Empty { .. })));
        write(store.path(), &one, 0o640);
        let error = store.load().err().unwrap().to_string();
        assert!(error.contains("chmod 600") && error.contains("0640"), "{error}");
        let missing = KeyStore::file(store.path().with_extension("none"));
        assert!(matches!(missing.load(), Err(KeyStoreError::Unreadable { .. })));
        let lines: Vec<String> = (0..=GENERATIONS_MAX).map(|n| hex::encode([n as u8; 32])).collect();
        write(store.path(), &lines.join("\n"), 0o600);
        assert!(matches!(store.load(), Err(KeyStoreError::Full { .. })));
        write(store.path(), &lines[1..].join("\n"), 0o600);
        assert!(matches!(store.add(), Err(KeyStoreError::Full { .. })));
    }

    #[test]
    fn a_credential_may_show_its_acl_and_is_never_written() {
        let directory = tempfile::tempdir().unwrap();
        let store = KeyStore::credential_in(directory.path(), "arion.account-key").unwrap();
        write(store.path(), &"03".repeat(32), 0o440);
        assert_eq!(ids(&store).len(), 1);
        assert!(matches!(store.add(), Err(KeyStoreError::ReadOnly { .. })));
        assert!(matches!(store.remove(&[]), Err(KeyStoreError::ReadOnly { .. })));
        write(store.path(), &"03".repeat(32), 0o444);
        assert!(matches!(store.load(), Err(KeyStoreError::Exposed { .. })));
        for name in ["", "../x", ".hidden", "a/b"] {
            assert!(matches!(KeyStore::credential_in(directory.path(), name), Err(KeyStoreError::Name(_))));
        }
    }
}
