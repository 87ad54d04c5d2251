//! What commands change in the file of access keys. A running gateway sees it at once.

use std::{fs::File, path::Path};

use arion_daemon::{now_ms, secret_file};
use rand::Rng;

use super::{
    AccessKeys, AccountEntry, BadEntry, KeysError, Moment, Rates,
    file::{KeyEntry, KeyFile},
};
use crate::{
    account::{AccountName, BadName, is_plain_name},
    scope::Scope,
};

/// Characters of access keys.
const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// Characters of a made access key behind its prefix, and of a made secret.
const ACCESS_KEY_CHARS: usize = 16;
const SECRET_BYTES: usize = 30;

/// A key that is to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewKey {
    /// The account it acts for.
    pub account: AccountName,
    /// Its name; made if there is none.
    pub access_key: Option<String>,
    /// Its secret; made if there is none.
    pub secret: Option<String>,
    /// What it may do at most.
    pub scope: Scope,
    /// From when on it is refused.
    pub expires: Option<Moment>,
    /// How much may be asked for with it in a second.
    pub rates: Rates,
}

impl NewKey {
    /// One that may do everything the account may.
    pub fn full(account: AccountName) -> Self {
        let (scope, rates) = (Scope::default(), Rates::default());
        Self { account, access_key: None, secret: None, scope, expires: None, rates }
    }
}

/// What a rotation made.
#[derive(Clone, PartialEq, Eq)]
pub struct Rotation {
    /// The new key.
    pub access_key: String,
    /// Its secret.
    pub secret: String,
    /// When it expires itself.
    pub expires: Option<Moment>,
    /// When the old one does.
    pub old_expires: Moment,
}

/// What is to be changed of an account; what is `None` stays as it is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Changed {
    /// The account of the chain that it belongs to.
    pub chain_account: Option<Option<super::ChainAccount>>,
    /// Most bytes.
    pub quota_bytes: Option<Option<arion_daemon::ByteSize>>,
    /// Most objects.
    pub quota_objects: Option<Option<u64>>,
    /// Whether equal bytes are stored once.
    pub deduplicate: Option<bool>,
    /// Requests a second.
    pub requests: Option<Option<std::num::NonZeroU32>>,
    /// Requests at once.
    pub burst: Option<Option<std::num::NonZeroU32>>,
    /// Bytes a second from clients.
    pub upload: Option<Option<arion_daemon::ByteSize>>,
    /// Bytes a second to clients.
    pub download: Option<Option<arion_daemon::ByteSize>>,
}

impl Changed {
    fn apply(self, entry: &mut AccountEntry) {
        fn set<T>(value: &mut T, changed: Option<T>) {
            if let Some(changed) = changed {
                *value = changed;
            }
        }
        set(&mut entry.chain_account, self.chain_account);
        set(&mut entry.quota_bytes, self.quota_bytes);
        set(&mut entry.quota_objects, self.quota_objects);
        set(&mut entry.deduplicate, self.deduplicate);
        set(&mut entry.rates.requests, self.requests);
        set(&mut entry.rates.burst, self.burst);
        set(&mut entry.rates.upload, self.upload);
        set(&mut entry.rates.download, self.download);
    }
}

impl AccessKeys {
    /// The file as it is until the lock is dropped: of two commands at once, each keeps what the other one entered. The lock
    /// is on the directory, because the file is replaced.
    fn load_locked(&self) -> Result<(File, KeyFile), KeysError> {
        let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let lock = File::open(parent.unwrap_or(Path::new("."))).map_err(|error| self.io(error))?;
        lock.lock().map_err(|error| self.io(error))?;
        let file = self.load()?;
        Ok((lock, file))
    }

    fn save(&self, file: &KeyFile) -> Result<(), KeysError> {
        file.check()?;
        let text = toml::to_string(file)
            .map_err(|error| KeysError::Invalid { path: self.path.clone(), reason: error.to_string() })?;
        secret_file::replace(&self.path, &text).map_err(|error| self.io(error))
    }

    /// Adds a key for an account that may do everything the account may; what is not given is made. Returns access key and
    /// secret.
    pub fn add(
        &self,
        account: &str,
        access_key: Option<String>,
        secret: Option<String>,
    ) -> Result<(String, String), KeysError> {
        self.add_key(NewKey { access_key, secret, ..NewKey::full(account.parse()?) })
    }

    /// Adds a key. Returns access key and secret.
    pub fn add_key(&self, new: NewKey) -> Result<(String, String), KeysError> {
        let (_lock, mut file) = self.load_locked()?;
        let made = enter(&mut file, new)?;
        self.save(&file)?;
        Ok(made)
    }

    /// Makes a key like another one, which expires after `keep_ms`. The new one lives as long as the other was meant to.
    pub fn rotate(&self, access_key: &str, keep_ms: u64) -> Result<Rotation, KeysError> {
        let now = now_ms();
        let (_lock, mut file) = self.load_locked()?;
        let old = file.keys.iter().find(|entry| entry.access_key == access_key);
        let old = old.ok_or_else(|| KeysError::Unknown(access_key.to_owned()))?;
        if let Some(successor) = &old.rotated_to {
            return Err(KeysError::Rotated { key: access_key.to_owned(), successor: successor.clone() });
        }
        let life = old.expires.map(|expires| match old.created {
            Some(created) => expires.0.saturating_sub(created.0),
            None => expires.0.saturating_sub(now),
        });
        let expires = life.map(|life| Moment(now.saturating_add(life)));
        let new = NewKey {
            account: old.account.clone(),
            access_key: None,
            secret: None,
            scope: old.scope(),
            expires,
            rates: old.rates,
        };
        let (made, secret) = enter(&mut file, new)?;
        let mut old_expires = Moment(now.saturating_add(keep_ms));
        for entry in file.keys.iter_mut().filter(|entry| entry.access_key == access_key) {
            old_expires = entry.expires.map_or(old_expires, |expires| expires.min(old_expires));
            entry.expires = Some(old_expires);
            entry.rotated_to = Some(made.clone());
        }
        self.save(&file)?;
        Ok(Rotation { access_key: made, secret, expires, old_expires })
    }

    /// Removes a key; it stops working at once, also in a running gateway.
    pub fn remove(&self, access_key: &str) -> Result<(), KeysError> {
        let (_lock, mut file) = self.load_locked()?;
        let before = file.keys.len();
        file.keys.retain(|entry| entry.access_key != access_key);
        if file.keys.len() == before {
            return Err(KeysError::Unknown(access_key.to_owned()));
        }
        self.save(&file)
    }

    /// Changes what is said of an account or a sub-account; returns all that is said of it now.
    pub fn set_account(&self, name: &AccountName, changed: Changed) -> Result<AccountEntry, KeysError> {
        let (_lock, mut file) = self.load_locked()?;
        let at = match file.accounts.iter().position(|entry| entry.name == *name) {
            Some(at) => at,
            None => {
                file.accounts.push(AccountEntry::new(name.clone()));
                file.accounts.len() - 1
            }
        };
        let entry = &mut file.accounts[at];
        changed.apply(entry);
        let entry = entry.clone();
        self.save(&file)?;
        Ok(entry)
    }

    /// Removes what is said of an account or a sub-account: it has no limits any more. Its keys and objects stay.
    pub fn reset_account(&self, name: &AccountName) -> Result<(), KeysError> {
        let (_lock, mut file) = self.load_locked()?;
        let before = file.accounts.len();
        file.accounts.retain(|entry| entry.name != *name);
        if file.accounts.len() == before {
            return Err(KeysError::UnknownAccount(name.clone()));
        }
        self.save(&file)
    }
}

/// Enters a key into the file; returns access key and secret.
fn enter(file: &mut KeyFile, new: NewKey) -> Result<(String, String), KeysError> {
    let NewKey { account, access_key, secret, scope, expires, rates } = new;
    let access_key = access_key.unwrap_or_else(made_access_key);
    if !is_plain_name(&access_key) {
        return Err(BadName(access_key).into());
    }
    let secret = secret.unwrap_or_else(|| {
        use base64::Engine;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(rand::random::<[u8; SECRET_BYTES]>())
    });
    if !(8..=128).contains(&secret.len()) || !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(KeysError::Secret);
    }
    let created = Moment(now_ms());
    if let Some(past) = expires.filter(|expires| *expires <= created) {
        return Err(BadEntry::Past(past).into());
    }
    if file.keys.iter().any(|entry| entry.access_key == access_key) {
        return Err(KeysError::Exists(access_key));
    }
    file.keys.push(KeyEntry {
        access_key: access_key.clone(),
        secret_key: secret.clone(),
        account,
        access: scope.access,
        places: scope.places,
        created: Some(created),
        expires,
        rotated_to: None,
        rates,
    });
    Ok((access_key, secret))
}

fn made_access_key() -> String {
    let mut random = rand::rng();
    let name = (0..ACCESS_KEY_CHARS).map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())]));
    "ARIO".chars().chain(name).collect()
}

#[cfg(test)]
mod tests {
    use arion_daemon::ByteSize;

    use super::*;
    use crate::scope::Access;

    const HOUR: u64 = 3_600_000;

    fn keys() -> (tempfile::TempDir, AccessKeys) {
        let directory = tempfile::tempdir().unwrap();
        let keys = AccessKeys::new(directory.path().join("keys.toml"));
        (directory, keys)
    }

    #[test]
    fn a_rotated_key_has_a_successor_of_the_same_kind_and_goes_by_itself() {
        let (_directory, keys) = keys();
        let places = vec!["photos/a*".parse().unwrap()];
        let rates = Rates { upload: Some(ByteSize(1 << 20)), ..Default::default() };
        let begun = now_ms();
        let new = NewKey {
            scope: Scope { access: Access::ReadOnly, places },
            expires: Some(Moment(begun + 100 * HOUR)),
            rates,
            ..NewKey::full("alice/backup".parse().unwrap())
        };
        let (old, _) = keys.add_key(new).unwrap();
        let made = keys.rotate(&old, 24 * HOUR).unwrap();
        let list = keys.list(now_ms()).unwrap();
        let [before, after] = list.as_slice() else { panic!("{list:?}") };
        assert_eq!((&before.access_key, &after.access_key), (&old, &made.access_key));
        assert_eq!((&before.account, before.access), (&after.account, after.access));
        assert_eq!((&before.places, before.rates), (&after.places, after.rates));
        assert_eq!(before.rotated_to.as_ref(), Some(&made.access_key));
        assert!(before.expires.unwrap().0 <= now_ms() + 24 * HOUR && !before.expired);
        let life = after.expires.unwrap().0 - after.created.unwrap().0;
        assert!((99 * HOUR..101 * HOUR).contains(&life), "{life}");
        assert!(keys.find(&made.access_key).unwrap().unwrap().secret.expose() == made.secret);
        assert!(matches!(keys.rotate(&old, 0), Err(KeysError::Rotated { .. })));
        assert!(matches!(keys.rotate("none", 0), Err(KeysError::Unknown(_))));
        // Never later than it would have gone anyway.
        let again = keys.rotate(&made.access_key, 1_000 * HOUR).unwrap();
        assert!(again.old_expires.0 <= begun + 101 * HOUR);
        let at_once = keys.rotate(&again.access_key, 0).unwrap();
        assert!(keys.list(now_ms()).unwrap()[2].expired && at_once.expires.is_some());
    }

    #[test]
    fn accounts_are_described_changed_and_reset() {
        let (_directory, keys) = keys();
        let alice: AccountName = "alice".parse().unwrap();
        let quota = Changed { quota_bytes: Some(Some(ByteSize(10))), ..Default::default() };
        keys.set_account(&alice, quota).unwrap();
        let objects = Changed { quota_objects: Some(Some(3)), ..Default::default() };
        let entry = keys.set_account(&alice, objects).unwrap();
        assert_eq!((entry.quota().bytes, entry.quota().objects), (Some(10), Some(3)));
        keys.add("alice/sub", None, None).unwrap();
        let sub = "alice/sub".parse().unwrap();
        let own = Changed { quota_bytes: Some(Some(ByteSize(4))), ..Default::default() };
        keys.set_account(&sub, own).unwrap();
        let allowance = keys.allowance("alice/sub").unwrap();
        assert_eq!((allowance.account.bytes, allowance.own.bytes), (Some(10), Some(4)));
        assert!(keys.has_account("alice").unwrap() && !keys.has_account("alice/sub").unwrap());
        let all = keys.accounts().unwrap();
        assert_eq!(
            all.iter().map(|(name, (_, keys))| (name.as_str(), *keys)).collect::<Vec<_>>(),
            [("alice", 0), ("alice/sub", 1)]
        );
        let none = Changed { quota_bytes: Some(None), ..Default::default() };
        assert_eq!(keys.set_account(&alice, none).unwrap().quota_bytes, None);
        keys.reset_account(&alice).unwrap();
        assert!(matches!(keys.reset_account(&alice), Err(KeysError::UnknownAccount(_))));
        let chain = Some(Some("5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY".parse().unwrap()));
        let bound = keys.set_account(&sub, Changed { chain_account: chain, ..Default::default() });
        assert!(matches!(bound, Err(KeysError::Entry(BadEntry::ChainOfSub(_)))));
        // What was refused changed nothing.
        assert_eq!(keys.account(&sub).unwrap().unwrap().chain_account, None);
    }

    #[test]
    fn commands_at_once_keep_what_others_entered() {
        let (_directory, keys) = keys();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..4).for_each(|_| drop(keys.add("alice", None, None).unwrap())));
            }
        });
        assert_eq!(keys.list(0).unwrap().len(), 32);
    }

    #[test]
    fn what_cannot_be_is_not_entered() {
        let (_directory, keys) = keys();
        let full = || NewKey::full("a".parse().unwrap());
        let past = NewKey { expires: Some(Moment(1)), ..full() };
        assert!(matches!(keys.add_key(past), Err(KeysError::Entry(BadEntry::Past(_)))));
        let short = NewKey { secret: Some("short".into()), ..full() };
        assert!(matches!(keys.add_key(short), Err(KeysError::Secret)));
        let odd = NewKey { access_key: Some("a/b".into()), ..full() };
        assert!(matches!(keys.add_key(odd), Err(KeysError::Name(_))));
        assert!(keys.list(0).unwrap().is_empty());
    }
}
