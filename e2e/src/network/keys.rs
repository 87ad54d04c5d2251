//! Keys of a local network: made once, kept in its directory, readable by their owner only.

use std::{
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::Context;
use arion_chain::Account;
use arion_types::{NodeId, signing};
use ed25519_dalek::SigningKey;

use super::Network;
use crate::layout;

impl Network {
    /// File of the Ed25519 key of a node, in its directory.
    pub fn node_key_file(&self, name: &str) -> PathBuf {
        self.directory(name).join("node.key")
    }

    /// File of the sr25519 key of an account.
    pub fn account_file(&self, name: &str) -> PathBuf {
        self.layout.of("accounts").join(format!("{name}.key"))
    }

    /// The Ed25519 key of a node; made where there is none yet.
    pub fn node_key(&self, name: &str) -> anyhow::Result<SigningKey> {
        Ok(SigningKey::from_bytes(&seed(&self.node_key_file(name))?))
    }

    /// The node id of a node.
    pub fn node_id(&self, name: &str) -> anyhow::Result<NodeId> {
        Ok(signing::node_id(&self.node_key(name)?))
    }

    /// The account of that name; made where there is none yet.
    pub fn account(&self, name: &str) -> anyhow::Result<Account> {
        Ok(Account::from_seed(seed(&self.account_file(name))?)?)
    }
}

/// Reads a key file (64 hex digits), or makes one.
fn seed(path: &Path) -> anyhow::Result<[u8; 32]> {
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let mut seed = [0; 32];
            hex::decode_to_slice(text.trim(), &mut seed)
                .with_context(|| format!("{} is damaged: use --fresh", path.display()))?;
            Ok(seed)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let seed: [u8; 32] = rand::random();
            write_secret(path, &hex::encode(seed))?;
            Ok(seed)
        }
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Writes a new file with one line that only its owner may read.
pub(super) fn write_secret(path: &Path, line: &str) -> anyhow::Result<()> {
    let write = || -> std::io::Result<()> {
        if let Some(directory) = path.parent() {
            layout::make(directory)?;
        }
        let mut file = std::fs::File::options().create_new(true).write(true).mode(0o600).open(path)?;
        writeln!(file, "{line}")
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}
