//! Accounts: sr25519 keys that sign transactions, and the text forms of account ids.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, path::PathBuf, str::FromStr};

use subxt::utils::AccountId32;
use subxt_signer::{SecretUri, sr25519::Keypair};

/// An account id: the sr25519 public key.
pub type AccountId = [u8; 32];

/// A key that signs transactions.
#[derive(Clone)]
pub struct Account {
    pub(crate) keypair: Keypair,
}

/// Why an account key is not usable.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// The file cannot be read.
    #[error("cannot read the account key file {}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
    /// Others than its owner may read it.
    #[error("the account key file {} can be read by others than its owner; run `chmod 600 {}`", path.display(), path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// Neither a seed nor a secret URI.
    #[error(
        "not an account key: expected 64 hexadecimal digits (a seed), a mnemonic, or for local networks `//Name`"
    )]
    Malformed,
    /// Not an account id.
    #[error("`{0}` is not an account: expected an SS58 address or 64 hexadecimal digits")]
    NotAnAccount(String),
}

impl Account {
    /// From a 32-byte seed.
    pub fn from_seed(seed: [u8; 32]) -> Result<Self, AccountError> {
        let keypair = Keypair::from_secret_key(seed).map_err(|_| AccountError::Malformed)?;
        Ok(Self { keypair })
    }

    /// From 64 hex digits, a mnemonic with or without derivation, or `//Name` (the well-known accounts of
    /// local networks).
    pub fn from_secret(text: &str) -> Result<Self, AccountError> {
        let text = text.trim();
        let digits = text.strip_prefix("0x").unwrap_or(text);
        let mut seed = [0; 32];
        if hex::decode_to_slice(digits, &mut seed).is_ok() {
            return Self::from_seed(seed);
        }
        let uri = SecretUri::from_str(text).map_err(|_| AccountError::Malformed)?;
        let keypair = Keypair::from_uri(&uri).map_err(|_| AccountError::Malformed)?;
        Ok(Self { keypair })
    }

    /// From a file that only its owner can read and that holds what [`Account::from_secret`] takes.
    pub fn from_file(path: &Path) -> Result<Self, AccountError> {
        let unreadable = |reason| AccountError::Unreadable { path: path.to_owned(), reason };
        let mode = fs::metadata(path).map_err(unreadable)?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(AccountError::Exposed { path: path.to_owned() });
        }
        Self::from_secret(&fs::read_to_string(path).map_err(unreadable)?)
    }

    /// The account id.
    pub fn id(&self) -> AccountId {
        self.keypair.public_key().0
    }
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Account({})", ss58(&self.id()))
    }
}

/// The SS58 address (generic prefix 42).
pub fn ss58(account: &AccountId) -> String {
    AccountId32(*account).to_string()
}

/// Reads an SS58 address or 64 hex digits.
pub fn parse_account(text: &str) -> Result<AccountId, AccountError> {
    let mut id = [0; 32];
    if hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut id).is_ok() {
        return Ok(id);
    }
    let parsed = AccountId32::from_str(text).map_err(|_| AccountError::NotAnAccount(text.to_owned()))?;
    Ok(parsed.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: &str = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";

    #[test]
    fn well_known_account_and_text_forms() {
        let alice = Account::from_secret("//Alice\n").unwrap();
        assert_eq!(ss58(&alice.id()), ALICE);
        assert_eq!(parse_account(ALICE).unwrap(), alice.id());
        assert_eq!(parse_account(&hex::encode(alice.id())).unwrap(), alice.id());
        assert!(parse_account("5Grw").is_err());
        let seed = "e5be9a5092b81bca64be81d212e7f2f9eba183bb7a90954f7b76361f6edb5c0a";
        assert_eq!(Account::from_secret(seed).unwrap().id(), alice.id());
        assert!(Account::from_secret("not a key at all").is_err());
    }

    #[test]
    fn an_exposed_file_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("account.key");
        fs::write(&path, "//Bob\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(Account::from_file(&path).unwrap_err().to_string().contains("chmod 600"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(Account::from_file(&path).unwrap().id(), Account::from_secret("//Bob").unwrap().id());
    }
}
