//! Nonces of commands that were carried out, so that none is carried out twice.
//!
//! Every nonce goes to a file before its command runs and is forgotten when the command has expired anyway. The
//! files are not synced: `kill -9` loses nothing, a power cut at most the nonces of the last moments.
//!
//! # Invariants
//! - Bounded: a signer has at most [`NONCES_PER_SIGNER_MAX`], all of them little more than [`NONCES_MAX`]; beyond it commands are
//!   refused, not forgotten.
//! - One signer cannot lock out another: who has less than its even part is never refused.
//! - A file holds the nonces of one window of expiry and is removed as a whole.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use arion_protocol::{Command, SignedCommand};
use arion_types::NodeId;

/// Most nonces of one signer: 3,000 commands a second that live for the minute that gateways give them.
pub const NONCES_PER_SIGNER_MAX: usize = 200_000;
/// Nonces of all signers, some 32 bytes each; beyond it only signers with less than their even part are served.
pub const NONCES_MAX: usize = 2_000_000;
/// Commands that expire within the same time are forgotten together.
const WINDOW_MS: u64 = 10_000;
const ENTRY_BYTES: usize = 64;

/// Why a command is not carried out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReplayError {
    /// It was carried out before.
    Replayed,
    /// Too many commands of this signer at once.
    Full,
}

type Nonce = (NodeId, [u8; 16]);

#[derive(Default)]
struct Window {
    nonces: HashMap<NodeId, HashSet<[u8; 16]>>,
    file: Option<File>,
}

impl Window {
    fn insert(&mut self, (signer, nonce): Nonce) -> bool {
        self.nonces.entry(signer).or_default().insert(nonce)
    }
}

/// Remembers nonces until their commands have expired.
pub struct ReplayGuard {
    dir: PathBuf,
    windows: Mutex<Windows>,
    /// Of one signer, and of all.
    bounds: (usize, usize),
}

#[derive(Default)]
struct Windows {
    /// By expiry divided by [`WINDOW_MS`].
    by_expiry: BTreeMap<u64, Window>,
    /// Nonces by signer, and of all.
    counts: HashMap<NodeId, usize>,
    total: usize,
}

impl Windows {
    fn count(&mut self, signer: NodeId, more: usize) {
        *self.counts.entry(signer).or_default() += more;
        self.total += more;
    }

    /// Whether the signer may have one more.
    fn has_room(&self, signer: &NodeId, (of_signer, of_all): (usize, usize)) -> bool {
        let held = self.counts.get(signer).copied().unwrap_or(0);
        held < of_signer && (self.total < of_all || held < of_all / self.counts.len().max(1))
    }

    /// Forgets the oldest window if it is over, and returns its number.
    fn forget_before(&mut self, number: u64) -> Option<u64> {
        let first = self.by_expiry.first_entry().filter(|first| *first.key() < number)?;
        let (number, window) = first.remove_entry();
        for (signer, nonces) in window.nonces {
            self.total -= nonces.len();
            if let Some(count) = self.counts.get_mut(&signer) {
                *count -= nonces.len();
                if *count == 0 {
                    self.counts.remove(&signer);
                }
            }
        }
        Some(number)
    }
}

fn window_of(expires_at: u64) -> u64 {
    expires_at / WINDOW_MS
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
        let mut windows = Windows::default();
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
            // A torn entry at the end would shift all that follow.
            let file = OpenOptions::new().append(true).open(&path)?;
            file.set_len(whole as u64)?;
            let mut window = Window { file: Some(file), ..Window::default() };
            for nonce in bytes[..whole].chunks_exact(ENTRY_BYTES).filter_map(decode) {
                if window.insert(nonce) {
                    windows.count(nonce.0, 1);
                }
            }
            windows.by_expiry.insert(number, window);
        }
        let bounds = (NONCES_PER_SIGNER_MAX, NONCES_MAX);
        Ok(Self { dir: dir.to_owned(), windows: Mutex::new(windows), bounds })
    }

    /// Takes note of a command that was checked and is about to be carried out.
    pub fn enter(&self, signed: &SignedCommand, now_ms: u64) -> Result<(), ReplayError> {
        let Command { nonce, expires_at, .. } = signed.command;
        let nonce = (signed.signer, nonce);
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(number) = windows.forget_before(window_of(now_ms)) {
            let _ = fs::remove_file(self.path(number));
        }
        let number = window_of(expires_at);
        let window = windows.by_expiry.get(&number).and_then(|window| window.nonces.get(&signed.signer));
        if window.is_some_and(|nonces| nonces.contains(&nonce.1)) {
            return Err(ReplayError::Replayed);
        }
        if !windows.has_room(&signed.signer, self.bounds) {
            return Err(ReplayError::Full);
        }
        windows.count(signed.signer, 1);
        let window = windows
            .by_expiry
            .entry(number)
            .or_insert_with(|| Window { file: self.create(number), ..Window::default() });
        window.insert(nonce);
        if let Some(file) = &mut window.file
            && let Err(error) = file.write_all(&encode(&nonce))
        {
            // On a full disk deletions must still work; the nonce is held in memory.
            tracing::warn!(%error, "nonce not written: it will be forgotten at a restart");
        }
        Ok(())
    }

    fn path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("nonces-{number}"))
    }

    fn create(&self, number: u64) -> Option<File> {
        let made = OpenOptions::new().create(true).append(true).open(self.path(number));
        made.inspect_err(|error| {
            tracing::warn!(%error, "no file for nonces: they will be forgotten at a restart");
        })
        .ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arion_protocol::{Action, limits::COMMAND_LIFETIME_MS_MAX};
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

    fn numbered(signer: u8, number: u32, expires_at: u64) -> SignedCommand {
        let mut signed = command(0, expires_at);
        signed.command.nonce[..4].copy_from_slice(&number.to_le_bytes());
        signed.signer = NodeId([signer; 32]);
        signed
    }

    fn guard(dir: &TempDir, bounds: (usize, usize)) -> ReplayGuard {
        ReplayGuard { bounds, ..ReplayGuard::open(dir.path(), NOW_MS).unwrap() }
    }

    /// One signer could fill the only list there was, and every other gateway was told `Busy` for up to ten minutes.
    #[test]
    fn one_signer_at_its_bound_does_not_stop_another() {
        let dir = TempDir::new().unwrap();
        let guard = guard(&dir, (10, 1_000));
        for number in 0..10 {
            assert_eq!(guard.enter(&numbered(3, number, NOW_MS + 10), NOW_MS), Ok(()));
        }
        assert_eq!(guard.enter(&numbered(3, 10, NOW_MS + 10), NOW_MS), Err(ReplayError::Full));
        assert_eq!(guard.enter(&numbered(3, 9, NOW_MS + 10), NOW_MS), Err(ReplayError::Replayed));
        assert_eq!(guard.enter(&numbered(4, 10, NOW_MS + 10), NOW_MS), Ok(()));
        // Also after a restart.
        drop(guard);
        let guard = self::guard(&dir, (10, 1_000));
        assert_eq!(guard.enter(&numbered(3, 10, NOW_MS + 10), NOW_MS), Err(ReplayError::Full));
        assert_eq!(guard.enter(&numbered(4, 11, NOW_MS + 10), NOW_MS), Ok(()));
    }

    #[test]
    fn where_all_is_full_the_even_part_of_each_signer_is_kept_for_it() {
        let dir = TempDir::new().unwrap();
        let guard = guard(&dir, (1_000, 30));
        let enter = |signer, number| guard.enter(&numbered(signer, number, NOW_MS + 10), NOW_MS);
        for number in 0..28 {
            assert_eq!(enter(1, number), Ok(()));
        }
        assert_eq!((enter(2, 0), enter(2, 1)), (Ok(()), Ok(())));
        assert_eq!(enter(1, 28), Err(ReplayError::Full));
        // 30 over two signers.
        for number in 2..15 {
            assert_eq!(enter(2, number), Ok(()), "{number}");
        }
        assert_eq!(enter(2, 15), Err(ReplayError::Full));
    }

    #[test]
    fn room_comes_back_when_commands_expire() {
        let dir = TempDir::new().unwrap();
        let guard = guard(&dir, (3, 1_000));
        for (number, now) in (0..300).map(|number| (number, NOW_MS + u64::from(number) * WINDOW_MS)) {
            assert_eq!(guard.enter(&numbered(1, number, now + 2 * WINDOW_MS), now), Ok(()), "{number}");
        }
        let windows = guard.windows.lock().unwrap();
        assert_eq!(windows.total, windows.counts[&NodeId([1; 32])]);
        assert_eq!((windows.total, windows.by_expiry.len()), (3, 3));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
    }
}
