//! Access keys: who may use the S3 endpoint, for which account, and what at most.
//!
//! A TOML file that only its owner may read, looked at again whenever it changes. It is the only place where secrets are;
//! they are never logged.
//!
//! # Invariants
//! - Fail closed: a file that is missing, broken or readable by others grants nothing.
//!
//! # Not here
//! What scopes allow ([`crate::scope`]); what is stored ([`crate::meta`]); what is asked for in a second ([`crate::rate`]).

mod change;
mod file;

pub use change::{Changed, NewKey, Rotation};
pub use file::{AccountEntry, BadEntry, ChainAccount, Moment, Rates};

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use arion_chain::AccountId;
use arion_daemon::secret_file::{self, SecretFileError};
use s3s::auth::SecretKey;
use serde::Serialize;

use self::file::{KeyEntry, KeyFile};
use crate::{
    account::{AccountName, BadName},
    meta::Allowance,
    scope::{Access, Place, Scope},
};

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
    #[error(transparent)]
    Name(#[from] BadName),
    /// Something that cannot be entered.
    #[error(transparent)]
    Entry(#[from] BadEntry),
    /// A secret that cannot be used.
    #[error("the secret must have 8 to 128 visible ASCII characters")]
    Secret,
    /// The access key exists.
    #[error("access key {0} exists already; remove it first")]
    Exists(String),
    /// The access key does not exist.
    #[error("there is no access key {0}")]
    Unknown(String),
    /// The access key has a successor.
    #[error("access key {key} was rotated already: {successor} takes its place; rotate that one")]
    Rotated {
        /// The key.
        key: String,
        /// The one that takes its place.
        successor: String,
    },
    /// Nothing is said of the account.
    #[error("nothing is said of the account {0}")]
    UnknownAccount(AccountName),
}

/// An access key without its secret.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct KeyInfo {
    /// Its name.
    pub access_key: String,
    /// The account it acts for.
    pub account: AccountName,
    /// Whether it reads, writes or both.
    pub access: Access,
    /// Where; everywhere if there is none.
    pub places: Vec<Place>,
    /// When it was made.
    pub created: Option<Moment>,
    /// From when on it is refused.
    pub expires: Option<Moment>,
    /// Whether that is now.
    pub expired: bool,
    /// The key that takes its place.
    pub rotated_to: Option<String>,
    /// How much may be asked for with it in a second.
    pub rates: Rates,
}

/// An access key.
pub struct Key {
    /// Its name.
    pub access_key: String,
    /// Its secret.
    pub secret: SecretKey,
    /// The account it acts for.
    pub account: AccountName,
    /// What it may do at most.
    pub scope: Scope,
    /// From when on it is refused.
    pub expires: Option<Moment>,
    /// How much may be asked for with it in a second.
    pub rates: Rates,
}

/// The access keys in a file.
pub struct AccessKeys {
    path: PathBuf,
    seen: Mutex<Option<Seen>>,
}

struct Seen {
    stamp: Stamp,
    keys: HashMap<String, Arc<Key>>,
    accounts: HashMap<AccountName, AccountEntry>,
}

/// By what a changed file is known. It is replaced as a whole: another one has another inode, also within one tick of the
/// file system's clock.
#[derive(PartialEq, Eq)]
struct Stamp {
    modified: (i64, i64),
    inode: u64,
    len: u64,
    mode: u32,
}

impl Stamp {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            inode: metadata.ino(),
            len: metadata.len(),
            mode: metadata.mode(),
        }
    }
}

impl Seen {
    fn new(stamp: Stamp, file: KeyFile) -> Self {
        let keys = file.keys.into_iter().map(|entry| {
            let scope = entry.scope();
            let KeyEntry { access_key, secret_key, account, expires, rates, .. } = entry;
            let secret = secret_key.into();
            (access_key.clone(), Arc::new(Key { access_key, secret, account, scope, expires, rates }))
        });
        let keys = keys.collect();
        let accounts = file.accounts.into_iter().map(|entry| (entry.name.clone(), entry)).collect();
        Self { stamp, keys, accounts }
    }

    fn names(&self) -> impl Iterator<Item = &AccountName> {
        self.keys.values().map(|key| &key.account).chain(self.accounts.keys())
    }
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
        let invalid = |reason| KeysError::Invalid { path: self.path.clone(), reason };
        // The parser's own text would quote the line, and with it a secret.
        let file: KeyFile = toml::from_str(&text).map_err(|error| invalid(error.message().to_owned()))?;
        file.check().map_err(|error| invalid(error.to_string()))?;
        Ok(file)
    }

    /// All keys without their secrets.
    pub fn list(&self, now_ms: u64) -> Result<Vec<KeyInfo>, KeysError> {
        let keys = self.load()?.keys.into_iter();
        let info = |entry: KeyEntry| KeyInfo {
            expired: entry.expires.is_some_and(|Moment(at)| at <= now_ms),
            access_key: entry.access_key,
            account: entry.account,
            access: entry.access,
            places: entry.places,
            created: entry.created,
            expires: entry.expires,
            rotated_to: entry.rotated_to,
            rates: entry.rates,
        };
        Ok(keys.map(info).collect())
    }

    /// A key.
    pub fn find(&self, access_key: &str) -> Result<Option<Arc<Key>>, KeysError> {
        self.look(|seen| seen.keys.get(access_key).cloned())
    }

    /// Whether any key acts for an account or a part of it.
    pub fn has_account(&self, account: &str) -> Result<bool, KeysError> {
        self.look(|seen| seen.keys.values().any(|key| key.account.account() == account))
    }

    /// What is said of an account or a sub-account, if anything.
    pub fn account(&self, name: &AccountName) -> Result<Option<AccountEntry>, KeysError> {
        self.look(|seen| seen.accounts.get(name).cloned())
    }

    /// All accounts and sub-accounts that keys act for or of which something is said, with how many keys act for each.
    pub fn accounts(&self) -> Result<BTreeMap<AccountName, (AccountEntry, usize)>, KeysError> {
        self.look(|seen| {
            let accounts = seen.names().filter_map(|name| name.account().parse().ok());
            let names: BTreeSet<AccountName> = seen.names().cloned().chain(accounts).collect();
            let described = names.into_iter().map(|name| {
                let entry = seen.accounts.get(&name).cloned();
                let keys = seen.keys.values().filter(|key| key.account == name).count();
                (name.clone(), (entry.unwrap_or_else(|| AccountEntry::new(name)), keys))
            });
            described.collect()
        })
    }

    /// Accounts of the chain with the accounts that they pay for, in order.
    pub fn payers(&self) -> Result<BTreeMap<AccountId, Vec<String>>, KeysError> {
        self.look(|seen| {
            let mut payers: BTreeMap<AccountId, Vec<String>> = BTreeMap::new();
            for (name, entry) in &seen.accounts {
                if let Some(ChainAccount(payer)) = entry.chain_account {
                    payers.entry(payer).or_default().push(name.as_str().to_owned());
                }
            }
            payers.values_mut().for_each(|names| names.sort_unstable());
            payers
        })
    }

    /// The accounts that an account of the chain pays for.
    pub fn paid_by(&self, payer: &AccountId) -> Result<Vec<String>, KeysError> {
        self.look(|seen| {
            let paid =
                seen.accounts.values().filter(|entry| entry.chain_account == Some(ChainAccount(*payer)));
            paid.map(|entry| entry.name.as_str().to_owned()).collect()
        })
    }

    /// How much may be stored in the name of an account or a sub-account.
    pub fn allowance(&self, payer: &str) -> Result<Allowance, KeysError> {
        self.look(|seen| {
            let quota = |name: &str| {
                let name: Option<AccountName> = name.parse().ok();
                name.and_then(|name| seen.accounts.get(&name)).map(AccountEntry::quota).unwrap_or_default()
            };
            Allowance { account: quota(crate::account::account_of(payer)), own: quota(payer) }
        })
    }

    /// Whether equal bytes that an account puts are stored once.
    pub fn deduplicates(&self, account: &str) -> Result<bool, KeysError> {
        let Ok(name) = account.parse::<AccountName>() else { return Ok(false) };
        self.look(|seen| seen.accounts.get(&name).is_some_and(|entry| entry.deduplicate))
    }

    /// Looks into the file as it is now; what it does not have is the default.
    fn look<T: Default>(&self, look: impl FnOnce(&Seen) -> T) -> Result<T, KeysError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let metadata = match fs::metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                *seen = None;
                return Ok(T::default());
            }
            found => found.map_err(|error| self.io(error))?,
        };
        let stamp = Stamp::of(&metadata);
        if seen.as_ref().is_none_or(|seen| seen.stamp != stamp) {
            *seen = None;
            *seen = Some(Seen::new(stamp, self.load()?));
        }
        Ok(seen.as_ref().map(look).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn keys_come_and_go_and_are_seen_by_a_running_gateway() {
        let directory = tempfile::tempdir().unwrap();
        let running = AccessKeys::new(directory.path().join("keys.toml"));
        assert!(running.find("x").unwrap().is_none());
        let tool = AccessKeys::new(running.path());
        let (access, secret) = tool.add("alice", None, None).unwrap();
        assert_eq!(fs::metadata(running.path()).unwrap().permissions().mode() & 0o777, 0o600);
        let found = running.find(&access).unwrap().unwrap();
        assert_eq!((found.secret.expose(), found.account.as_str()), (secret.as_str(), "alice"));
        tool.add("bob", Some("BOB".into()), Some("12345678".into())).unwrap();
        assert!(matches!(tool.add("bob", Some("BOB".into()), None), Err(KeysError::Exists(_))));
        assert_eq!(tool.list(0).unwrap().len(), 2);
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
        assert!(keys.find(&access).err().unwrap().to_string().contains("chmod 600"));
        let key = format!("[[key]]\naccess_key = \"x\"\nsecret_key = \"{secret}\"");
        for broken in [
            format!("{key} x"),
            // Not understood is not unlimited.
            format!("{key}\naccount = \"a\"\nplaces = [\"a/*/b\"]"),
            format!("{key}\naccount = \"a\"\naccess = \"read\""),
            format!("{key}\naccount = \"a\"\nexpires = \"soon\""),
            format!("{key}\naccount = \"a\"\nscope = \"photos\""),
        ] {
            fs::write(keys.path(), broken).unwrap();
            fs::set_permissions(keys.path(), fs::Permissions::from_mode(0o600)).unwrap();
            let error = keys.find(&access).err().unwrap();
            assert!(matches!(error, KeysError::Invalid { .. }) && !error.to_string().contains(&secret));
        }
        for name in ["", "a b", "ü", "a/b/c"] {
            assert!(matches!(keys.add(name, None, None), Err(KeysError::Name(_))));
        }
    }

    /// As it was written before there were scopes.
    #[test]
    fn an_earlier_file_means_what_it_meant() {
        let directory = tempfile::tempdir().unwrap();
        let keys = AccessKeys::new(directory.path().join("keys.toml"));
        let text = "[[key]]\naccess_key = \"K\"\nsecret_key = \"12345678\"\naccount = \"alice\"\n";
        secret_file::replace(keys.path(), text).unwrap();
        let key = keys.find("K").unwrap().unwrap();
        assert!(key.scope.is_full() && key.expires.is_none() && key.rates == Rates::default());
        assert_eq!(keys.allowance("alice/x").unwrap(), Allowance::default());
    }
}
