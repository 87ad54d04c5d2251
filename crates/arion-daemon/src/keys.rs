//! Secret key files: 64 hex digits of the 32-byte Ed25519 seed and a newline, mode 0600.

use std::{
    fs,
    path::{Path, PathBuf},
};

use arion_chain::{Account, ss58};
use arion_types::signing::node_id;
use ed25519_dalek::SigningKey;

use crate::secret_file::{self, SecretFileError};

/// What a key file holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyKind {
    /// The node key (Ed25519): whom other nodes and the chain know.
    Node,
    /// The key of an account on the chain (sr25519).
    Account,
    /// A key that seals data.
    Seal,
}

impl KeyKind {
    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Node => "node key",
            Self::Account => "account key",
            Self::Seal => "sealing key",
        }
    }

    /// Its file in the data directory.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Node => "node.key",
            Self::Account | Self::Seal => "account.key",
        }
    }

    /// What others know the holder by, with its name; `None` where nobody else knows of the key.
    pub fn public(self, path: &Path) -> anyhow::Result<Option<String>> {
        Ok(match self {
            Self::Node => Some(format!("node id: {}", node_id(&read_secret_key(path)?))),
            Self::Account => Some(format!("account: {}", ss58(&Account::from_file(path)?.id()))),
            Self::Seal => None,
        })
    }
}

/// Why a key file is not used or not written.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It cannot be read.
    #[error("cannot read the key file {}: {reason}; make one with `init` or give its path", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
    /// Others than its owner may read it.
    #[error(
        "the key file {} has mode {mode:04o}: others than its owner can read it; run `chmod 600 {}`",
        path.display(), path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It does not hold a key.
    #[error("the key file {} does not hold 64 hexadecimal digits; restore it from a backup", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// There is a file already; a key is never overwritten.
    #[error("{} exists already and is not overwritten; move it away if you want a new key", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be written.
    #[error("cannot write the key file {}: {reason}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
}

/// The key in a file; refuses a file that its group or others can read.
pub fn read_secret_key(path: &Path) -> Result<SigningKey, KeyError> {
    read_secret_seed(path).map(|seed| SigningKey::from_bytes(&seed))
}

/// The 32 bytes in a key file, for keys of another kind (accounts).
pub fn read_secret_seed(path: &Path) -> Result<[u8; 32], KeyError> {
    let text = secret_file::read(path, secret_file::OTHERS).map_err(|error| match error {
        SecretFileError::Unreadable(reason) => KeyError::Unreadable { path: path.to_owned(), reason },
        SecretFileError::Exposed(mode) => KeyError::Exposed { path: path.to_owned(), mode },
    })?;
    let digits = text.trim_end();
    let digits = digits.strip_prefix("0x").unwrap_or(digits);
    let mut seed = [0; 32];
    hex::decode_to_slice(digits, &mut seed).map_err(|_| KeyError::Malformed { path: path.to_owned() })?;
    Ok(seed)
}

/// Writes a key into a new file with mode 0600, durably.
pub fn write_secret_key(path: &Path, key: &SigningKey) -> Result<(), KeyError> {
    write_secret_seed(path, &key.to_bytes())
}

/// Writes 32 secret bytes into a new file with mode 0600, durably.
pub fn write_secret_seed(path: &Path, seed: &[u8; 32]) -> Result<(), KeyError> {
    let unwritable = |reason| KeyError::Unwritable { path: path.to_owned(), reason };
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        fs::create_dir_all(parent).map_err(unwritable)?;
    }
    match secret_file::create(path, &format!("{}\n", hex::encode(seed))) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(KeyError::Exists { path: path.to_owned() });
        }
        written => written.map_err(unwritable)?,
    }
    secret_file::sync_directory(path).map_err(unwritable)
}

/// A new random key.
pub fn generate_secret_key() -> SigningKey {
    SigningKey::from_bytes(&rand::random())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_round_trips_and_is_never_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys/node.key");
        let key = generate_secret_key();
        write_secret_key(&path, &key).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap().len(), 65);
        assert_eq!(read_secret_key(&path).unwrap().to_bytes(), key.to_bytes());
        assert!(matches!(write_secret_key(&path, &key), Err(KeyError::Exists { .. })));
    }

    #[test]
    fn an_exposed_or_malformed_file_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("node.key");
        write_secret_key(&path, &generate_secret_key()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = read_secret_key(&path).unwrap_err().to_string();
        assert!(error.contains("chmod 600") && error.contains("0640"), "{error}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "12ab").unwrap();
        assert!(matches!(read_secret_key(&path), Err(KeyError::Malformed { .. })));
        assert!(matches!(read_secret_key(&directory.path().join("none")), Err(KeyError::Unreadable { .. })));
    }
}
