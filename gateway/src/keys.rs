//! Access keys: who may use the S3 endpoint, and for which account.
//!
//! A TOML file that only its owner may read, looked at again whenever it changes. It is the only place where secrets are;
//! they are never logged.
//!
//! # Invariants
//! - Fail closed: a file that is missing, broken or readable by others grants nothing.

use std::{
    collections::HashMap,
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use arion_daemon::secret_file::{self, SecretFileError};
use rand::Rng;
use s3s::auth::SecretKey;
use serde::{Deserialize, Serialize};

/// Characters of access keys.
const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// Characters of a made access key behind its prefix, and of a made secret.
const ACCESS_KEY_CHARS: usize = 16;
const SECRET_BYTES: usize = 30;

/// Why the access keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The file cannot be read or written.
    #[error("cannot use the access key file {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others than its owner may read it.
    #[error("the access key file {} can be read by others than its owner; run `chmod 600 {}`", path.display(), path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// Not what this program wrote.
    #[error("the access key file {} is not valid: {reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Where and why, without the line itself.
        reason: String,
    },
    /// A name that cannot be used.
    #[error("`{0}` cannot be used: 1 to 64 letters, digits, `-`, `_` and `.`")]
    Name(String),
    /// A secret that cannot be used.
    #[error("the secret must have 8 to 128 visible ASCII characters")]
    Secret,
    /// The access key exists.
    #[error("access key {0} exists already; remove it first")]
    Exists(String),
    /// The access key does not exist.
    #[error("there is no access key {0}")]
    Unknown(String),
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    #[serde(default, rename = "key")]
    keys: Vec<KeyEntry>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyEntry {
    access_key: String,
    secret_key: String,
    account: String,
}

/// An access key without its secret.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct KeyInfo {
    /// Its name.
    pub access_key: String,
    /// The account it acts for.
    pub account: String,
}

/// The access keys in a file.
pub struct AccessKeys {
    path: PathBuf,
    seen: Mutex<Option<Seen>>,
}

struct Seen {
    modified: SystemTime,
    mode: u32,
    keys: HashMap<String, (SecretKey, String)>,
}

fn check_name(name: &str) -> Result<(), KeysError> {
    let fits = (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if fits { Ok(()) } else { Err(KeysError::Name(name.to_owned())) }
}

impl AccessKeys {
    /// The keys in this file; it need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), seen: Mutex::new(None) }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn io(&self, source: io::Error) -> KeysError {
        KeysError::Io { path: self.path.clone(), source }
    }

    fn load(&self) -> Result<KeyFile, KeysError> {
        let text = match secret_file::read(&self.path, secret_file::OTHERS) {
            Err(SecretFileError::Unreadable(error)) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(KeyFile::default());
            }
            Err(SecretFileError::Unreadable(error)) => return Err(self.io(error)),
            Err(SecretFileError::Exposed(_)) => return Err(KeysError::Exposed { path: self.path.clone() }),
            Ok(text) => text,
        };
        // The parser's own text would quote the line, and with it a secret.
        toml::from_str(&text).map_err(|error| KeysError::Invalid {
            path: self.path.clone(),
            reason: error.message().to_owned(),
        })
    }

    fn save(&self, file: &KeyFile) -> Result<(), KeysError> {
        let text = toml::to_string(file)
            .map_err(|error| KeysError::Invalid { path: self.path.clone(), reason: error.to_string() })?;
        secret_file::replace(&self.path, &text).map_err(|error| self.io(error))
    }

    /// Adds a key for an account; what is not given is made. Returns access key and secret.
    pub fn add(
        &self,
        account: &str,
        access_key: Option<String>,
        secret: Option<String>,
    ) -> Result<(String, String), KeysError> {
        check_name(account)?;
        let access_key = access_key.unwrap_or_else(made_access_key);
        check_name(&access_key)?;
        let secret = secret.unwrap_or_else(|| {
            use base64::Engine;
            base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(rand::random::<[u8; SECRET_BYTES]>())
        });
        if !(8..=128).contains(&secret.len()) || !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(KeysError::Secret);
        }
        let mut file = self.load()?;
        if file.keys.iter().any(|entry| entry.access_key == access_key) {
            return Err(KeysError::Exists(access_key));
        }
        file.keys.push(KeyEntry {
            access_key: access_key.clone(),
            secret_key: secret.clone(),
            account: account.to_owned(),
        });
        self.save(&file)?;
        Ok((access_key, secret))
    }

    /// All keys without their secrets.
    pub fn list(&self) -> Result<Vec<KeyInfo>, KeysError> {
        let keys = self.load()?.keys.into_iter();
        Ok(keys.map(|entry| KeyInfo { access_key: entry.access_key, account: entry.account }).collect())
    }

    /// Removes a key; it stops working at once, also in a running gateway.
    pub fn remove(&self, access_key: &str) -> Result<(), KeysError> {
        let mut file = self.load()?;
        let before = file.keys.len();
        file.keys.retain(|entry| entry.access_key != access_key);
        if file.keys.len() == before {
            return Err(KeysError::Unknown(access_key.to_owned()));
        }
        self.save(&file)
    }

    /// Secret and account of a key.
    pub fn find(&self, access_key: &str) -> Result<Option<(SecretKey, String)>, KeysError> {
        self.look(|keys| keys.get(access_key).cloned())
    }

    /// Whether any key acts for an account.
    pub fn has_account(&self, account: &str) -> Result<bool, KeysError> {
        self.look(|keys| keys.values().any(|(_, found)| found == account))
    }

    /// Looks into the file as it is now; what it does not have is the default.
    fn look<T: Default>(
        &self,
        look: impl FnOnce(&HashMap<String, (SecretKey, String)>) -> T,
    ) -> Result<T, KeysError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let metadata = match fs::metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                *seen = None;
                return Ok(T::default());
            }
            found => found.map_err(|error| self.io(error))?,
        };
        let (modified, mode) =
            (metadata.modified().map_err(|error| self.io(error))?, metadata.permissions().mode());
        let current = seen.as_ref().is_some_and(|seen| seen.modified == modified && seen.mode == mode);
        if !current {
            *seen = None;
            let keys = self.load()?.keys.into_iter();
            let keys =
                keys.map(|entry| (entry.access_key, (entry.secret_key.into(), entry.account))).collect();
            *seen = Some(Seen { modified, mode, keys });
        }
        Ok(seen.as_ref().map(|seen| look(&seen.keys)).unwrap_or_default())
    }
}

fn made_access_key() -> String {
    let mut random = rand::rng();
    let name = (0..ACCESS_KEY_CHARS).map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())]));
    "ARIO".chars().chain(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_and_go_and_are_seen_by_a_running_gateway() {
        let directory = tempfile::tempdir().unwrap();
        let running = AccessKeys::new(directory.path().join("keys.toml"));
        assert!(running.find("x").unwrap().is_none());
        let tool = AccessKeys::new(running.path());
        let (access, secret) = tool.add("alice", None, None).unwrap();
        assert_eq!(fs::metadata(running.path()).unwrap().permissions().mode() & 0o777, 0o600);
        let (found, account) = running.find(&access).unwrap().unwrap();
        assert_eq!((found.expose(), account.as_str()), (secret.as_str(), "alice"));
        tool.add("bob", Some("BOB".into()), Some("12345678".into())).unwrap();
        assert!(matches!(tool.add("bob", Some("BOB".into()), None), Err(KeysError::Exists(_))));
        assert_eq!(tool.list().unwrap().len(), 2);
        tool.remove(&access).unwrap();
        assert!(running.find(&access).unwrap().is_none());
        assert!(matches!(tool.remove(&access), Err(KeysError::Unknown(_))));
    }

    #[test]
    fn an_exposed_or_broken_file_grants_nothing_and_tells_no_secret() {
        let directory = tempfile::tempdir().unwrap();
        let keys = AccessKeys::new(directory.path().join("keys.toml"));
        let (access, secret) = keys.add("a", None, None).unwrap();
        fs::set_permissions(keys.path(), fs::Permissions::from_mode(0o644)).unwrap();
        assert!(keys.find(&access).unwrap_err().to_string().contains("chmod 600"));
        fs::write(keys.path(), format!("[[key]]\nsecret_key = \"{secret}\" x")).unwrap();
        fs::set_permissions(keys.path(), fs::Permissions::from_mode(0o600)).unwrap();
        let error = keys.find(&access).unwrap_err();
        assert!(matches!(error, KeysError::Invalid { .. }) && !error.to_string().contains(&secret));
        for name in ["", "a b", "ü"] {
            assert!(matches!(keys.add(name, None, None), Err(KeysError::Name(_))));
        }
    }
}
