//! Names of accounts: `NAME`, or `NAME/SUB` for a sub-account.
//!
//! A sub-account shares the buckets and the sealing key of its account as far as the scopes of its access keys allow, and has
//! usage and limits of its own besides those of the account.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Longest name of an account, of what is behind its `/`, and of an access key.
const NAME_CHARS_MAX: usize = 64;

/// Text that is no name.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` cannot be used: 1 to 64 letters, digits, `-`, `_` and `.`; a sub-account is NAME/SUB")]
pub struct BadName(pub String);

/// Whether a text can be the name of an access key, of an account, or of what is behind the `/` of a sub-account.
pub fn is_plain_name(name: &str) -> bool {
    (1..=NAME_CHARS_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// The account in the name of an account or a sub-account.
pub fn account_of(name: &str) -> &str {
    name.split_once('/').map_or(name, |(account, _)| account)
}

/// The name of an account or of a sub-account.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AccountName(String);

impl AccountName {
    /// All of it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The account: whose the buckets are, and whose key seals what is in them.
    pub fn account(&self) -> &str {
        account_of(&self.0)
    }

    /// Whether it is a sub-account.
    pub fn is_sub(&self) -> bool {
        self.0.contains('/')
    }
}

impl FromStr for AccountName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let (account, sub) = match text.split_once('/') {
            Some((account, sub)) => (account, Some(sub)),
            None => (text, None),
        };
        match is_plain_name(account) && sub.is_none_or(is_plain_name) {
            true => Ok(Self(text.to_owned())),
            false => Err(BadName(text.to_owned())),
        }
    }
}

impl TryFrom<String> for AccountName {
    type Error = BadName;

    fn try_from(text: String) -> Result<Self, BadName> {
        text.parse()
    }
}

impl From<AccountName> for String {
    fn from(name: AccountName) -> Self {
        name.0
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_an_account_and_perhaps_a_part_of_it() {
        for (text, account, is_sub) in [("alice", "alice", false), ("a.b-c_1/x", "a.b-c_1", true)] {
            let name: AccountName = text.parse().unwrap();
            assert_eq!((name.account(), name.is_sub(), name.to_string().as_str()), (account, is_sub, text));
        }
        let long = "x".repeat(65);
        for text in ["", "/", "a/", "/b", "a/b/c", "a b", "ü", "a*", long.as_str()] {
            assert_eq!(text.parse::<AccountName>(), Err(BadName(text.to_owned())));
        }
    }
}
