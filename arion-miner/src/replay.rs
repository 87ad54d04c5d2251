//! Nonces of commands that were carried out, so that none is carried out twice.
//!
//! Every nonce goes to a file before its command runs and is forgotten when the command has expired anyway. The
//! files are not synced: `kill -9` loses nothing, a power cut at most the nonces of the last moments.
//!
//! # Invariants
//! - Bounded: at most [`NONCES_MAX`] nonces are held; beyond it commands are refused, not forgotten.
//! - A file holds the nonces of one window of expiry and is removed as a whole.

use std::{
    collections::{BTreeMap, HashSet},
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use arion_protocol::{Command, SignedCommand, limits::COMMAND_LIFETIME_MS_MAX};
use arion_types::NodeId;

/// Most nonces held: more than 300 commands a second over the longest lifetime.
pub const NONCES_MAX: usize = 100_000;
const ENTRY_BYTES: usize = 64;

/// Why a command is not carried out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReplayError {
    /// It was carried out before.
    Replayed,
    /// Too many commands at once.
    Full,
}

type Nonce = (NodeId, [u8; 16]);

struct Window {
    nonces: HashSet<Nonce>,
    file: Option<File>,
}

/// Remembers nonces until their commands have expired.
pub struct ReplayGuard {
    dir: PathBuf,
    /// By expiry divided by the longest lifetime.
    windows: Mutex<BTreeMap<u64, Window>>,
}

fn window_of(expires_at: u64) -> u64 {
    expires_at / COMMAND_LIFETIME_MS_MAX
}

fn encode(nonce: &Nonce) -> [u8; ENTRY_BYTES] {
    let mut entry = [0; ENTRY_BYTES];
    entry[..32].copy_from_slice(&nonce.0.0);
    entry[32..48].copy_from_slice(&nonce.1);
    let sum = blake3::hash(&entry[..48]);
    entry[48..].copy_from_slice(&sum.as_bytes()[..16]);
    entry
}

fn decode(entry: &[u8]) -> Option<Nonce> {
    let nonce = (NodeId(entry.get(..32)?.try_into().ok()?), entry.get(32..48)?.try_into().ok()?);
    (encode(&nonce) == entry).then_some(nonce)
}

impl ReplayGuard {
    /// Reads what earlier processes left in `dir`, which is made if it does not exist.
    pub fn open(dir: &Path, now_ms: u64) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let mut windows = BTreeMap::new();
        for file in fs::read_dir(dir)? {
            let path = file?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let Some(number) = name.and_then(|name| name.strip_prefix("nonces-")?.parse::<u64>().ok()) else {
                continue;
            };
            if number < window_of(now_ms) {
                fs::remove_file(&path)?;
                continue;
            }
            let bytes = fs::read(&path)?;
            let whole = bytes.len() / ENTRY_BYTES * ENTRY_BYTES;
            let nonces = bytes[..whole].chunks_exact(ENTRY_BYTES).filter_map(decode).collect();
            // A torn entry at the end would shift all that follow.
            let file = OpenOptions::new().append(true).open(&path)?;
            file.set_len(whole as u64)?;
            windows.insert(number, Window { nonces, file: Some(file) });
        }
        Ok(Self { dir: dir.to_owned(), windows: Mutex::new(windows) })
    }

    /// Takes note of a command that was checked and is about to be carried out.
    pub fn enter(&self, signed: &SignedCommand, now_ms: u64) -> Result<(), ReplayError> {
        let Command { nonce, expires_at, .. } = signed.command;
        let nonce = (signed.signer, nonce);
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(first) = windows.first_entry()
            && *first.key() < window_of(now_ms)
        {
            let _ = fs::remove_file(self.dir.join(format!("nonces-{}", first.key())));
            first.remove();
        }
        if windows.values().map(|window| window.nonces.len()).sum::<usize>() >= NONCES_MAX {
            return Err(ReplayError::Full);
        }
        let number = window_of(expires_at);
        let window = windows
            .entry(number)
            .or_insert_with(|| Window { nonces: HashSet::new(), file: self.create(number) });
        if !window.nonces.insert(nonce) {
            return Err(ReplayError::Replayed);
        }
        if let Some(file) = &mut window.file
            && let Err(error) = file.write_all(&encode(&nonce))
        {
            // On a full disk deletions must still work; the nonce is held in memory.
            tracing::warn!(%error, "nonce not written: it will be forgotten at a restart");
        }
        Ok(())
    }

    fn create(&self, number: u64) -> Option<File> {
        let path = self.dir.join(format!("nonces-{number}"));
        let made = OpenOptions::new().create(true).append(true).open(path);
        made.inspect_err(|error| {
            tracing::warn!(%error, "no file for nonces: they will be forgotten at a restart");
        })
        .ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arion_protocol::Action;
    use arion_types::ShardHash;
    use tempfile::TempDir;

    const NOW_MS: u64 = 1_000 * COMMAND_LIFETIME_MS_MAX;

    fn command(nonce: u8, expires_at: u64) -> SignedCommand {
        let target = NodeId([1; 32]);
        let shard = ShardHash([2; 32]);
        let command = Command { action: Action::Delete, shard, target, nonce: [nonce; 16], expires_at };
        SignedCommand { command, signer: NodeId([3; 32]), signature: [0; 64] }
    }

    #[test]
    fn a_nonce_passes_once_also_over_restarts() {
        let dir = TempDir::new().unwrap();
        let guard = ReplayGuard::open(dir.path(), NOW_MS).unwrap();
        let first = command(1, NOW_MS + 10);
        assert_eq!(guard.enter(&first, NOW_MS), Ok(()));
        assert_eq!(guard.enter(&first, NOW_MS), Err(ReplayError::Replayed));
        // Killed: the guard is not dropped in an orderly way, and the last entry is torn.
        std::mem::forget(guard);
        let file = dir.path().join(format!("nonces-{}", window_of(NOW_MS + 10)));
        OpenOptions::new().append(true).open(&file).unwrap().write_all(&[7; 20]).unwrap();
        for restart in 2..5 {
            let guard = ReplayGuard::open(dir.path(), NOW_MS).unwrap();
            for seen in 1..restart {
                let replayed = guard.enter(&command(seen, NOW_MS + 10), NOW_MS);
                assert_eq!(replayed, Err(ReplayError::Replayed), "{seen}");
            }
            assert_eq!(guard.enter(&command(restart, NOW_MS + 10), NOW_MS), Ok(()));
        }
        let mut other_signer = first;
        other_signer.signer = NodeId([4; 32]);
        assert_eq!(ReplayGuard::open(dir.path(), NOW_MS).unwrap().enter(&other_signer, NOW_MS), Ok(()));
    }

    #[test]
    fn expired_windows_are_forgotten_with_their_files() {
        let dir = TempDir::new().unwrap();
        let guard = ReplayGuard::open(dir.path(), NOW_MS).unwrap();
        guard.enter(&command(1, NOW_MS + 10), NOW_MS).unwrap();
        let later = NOW_MS + 2 * COMMAND_LIFETIME_MS_MAX;
        guard.enter(&command(2, later + 10), later).unwrap();
        let files = || fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(files(), 1);
        ReplayGuard::open(dir.path(), later + 2 * COMMAND_LIFETIME_MS_MAX).unwrap();
        assert_eq!(files(), 0);
    }

    #[test]
    fn beyond_the_bound_commands_are_refused() {
        let dir = TempDir::new().unwrap();
        let guard = ReplayGuard::open(dir.path(), NOW_MS).unwrap();
        let many = (0..NONCES_MAX as u32).map(|number| {
            let mut nonce = [0; 16];
            nonce[..4].copy_from_slice(&number.to_le_bytes());
            (NodeId([3; 32]), nonce)
        });
        let window = Window { nonces: many.collect(), file: None };
        guard.windows.lock().unwrap().insert(window_of(NOW_MS), window);
        assert_eq!(guard.enter(&command(9, NOW_MS + 10), NOW_MS), Err(ReplayError::Full));
    }
}
