//! Wardens that contradict themselves: what shows it is kept, and reported to the chain.
//!
//! `conflicts/WARDEN-1.attestation` and `-2.attestation` in the data directory are the SCALE encodings of two
//! `AttestationRecord`s; `arion audit report-conflict` takes them, too.
//!
//! # Invariants
//! - Both are on disk before the second leaves the queue.
//! - A report leaves only while the finalised chain has the warden registered, and none again while the last may still
//!   be included. What the chain refused is not sent again by this process.
//! - At most one conflict of a warden is kept: the chain takes no second.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arion_types::{AttestationRecord, NodeId};
use codec::{DecodeAll, Encode};

use crate::flow::Outcome;

/// The directory in the data directory.
const DIRECTORY: &str = "conflicts";
const BACKOFF: Duration = Duration::from_secs(30);

/// Two verdicts of one warden on one challenge that differ.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conflict {
    /// One.
    pub first: AttestationRecord,
    /// The other.
    pub second: AttestationRecord,
}

impl Conflict {
    /// The warden.
    pub fn warden(&self) -> NodeId {
        NodeId(self.first.warden_pubkey)
    }
}

/// Why a conflict cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum ConflictError {
    /// Reading or writing failed.
    #[error("cannot keep what shows that a warden contradicted itself in {}: {reason}; make room on the disk, or repair it", path.display())]
    Io {
        /// File or directory.
        path: PathBuf,
        /// Why.
        reason: io::Error,
    },
    /// A file does not decode.
    #[error("{} is no attestation; move it away", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
    },
}

/// Conflicts that were found.
#[derive(Debug)]
pub struct Conflicts {
    directory: PathBuf,
    is_reporting: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    found: BTreeMap<NodeId, Conflict>,
    given_up: BTreeSet<NodeId>,
    not_before: Duration,
    /// Behind this finalised block the last report, whose fate is unknown, cannot be included any more.
    until: Option<u32>,
}

impl Conflicts {
    /// Those that are kept in the data directory.
    pub fn open(data_dir: &Path, is_reporting: bool) -> Result<Self, ConflictError> {
        let directory = data_dir.join(DIRECTORY);
        let failed = |reason| ConflictError::Io { path: directory.clone(), reason };
        let mut found = BTreeMap::new();
        if directory.exists() {
            for entry in fs::read_dir(&directory).map_err(failed)? {
                let path = entry.map_err(failed)?.path();
                let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                let Some(warden) = name.strip_suffix("-1.attestation") else { continue };
                let other = directory.join(format!("{warden}-2.attestation"));
                // A crash came between the two; the second is still in the queue.
                if !other.exists() {
                    continue;
                }
                let conflict = Conflict { first: read(&path)?, second: read(&other)? };
                found.insert(conflict.warden(), conflict);
            }
        }
        Ok(Self { directory, is_reporting, state: Mutex::new(State { found, ..State::default() }) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.state().found.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Keeps conflicts; of a warden of which one is kept already, nothing.
    pub fn keep(&self, conflicts: &[Conflict]) -> Result<(), ConflictError> {
        for conflict in conflicts {
            let warden = conflict.warden();
            if self.state().found.contains_key(&warden) {
                continue;
            }
            for (number, record) in [(1, &conflict.first), (2, &conflict.second)] {
                let path = self.directory.join(format!("{warden}-{number}.attestation"));
                write(&self.directory, &path, &record.encode())
                    .map_err(|reason| ConflictError::Io { path, reason })?;
            }
            let record = &conflict.second;
            tracing::error!(
                %warden, miner_uid = record.miner_uid, block = record.block_number,
                first = ?conflict.first.result, second = ?record.result, directory = %self.directory.display(),
                "a warden signed two verdicts on one challenge; both are kept"
            );
            self.state().found.insert(warden, conflict.clone());
        }
        Ok(())
    }

    /// The conflict to report at `now`, if any: of a warden that is registered at the finalised block `head`.
    pub fn due(&self, now: Duration, head: u32, wardens: &BTreeSet<NodeId>) -> Option<Conflict> {
        let state = self.state();
        let is_held = now < state.not_before || state.until.is_some_and(|until| head <= until);
        if !self.is_reporting || is_held {
            return None;
        }
        let mut waiting = state
            .found
            .iter()
            .filter(|(warden, _)| wardens.contains(warden) && !state.given_up.contains(warden));
        waiting.next().map(|(_, conflict)| conflict.clone())
    }

    /// What became of a report; if that is unknown, behind the block `until` it cannot be included any more.
    pub fn reported(&self, now: Duration, conflict: &Conflict, outcome: &Outcome, until: u32) {
        let mut state = self.state();
        state.until = None;
        match outcome {
            // The view of the finalised chain may be some blocks behind: not again in any case.
            Outcome::Finalized { .. } | Outcome::Refused { .. } => {
                state.given_up.insert(conflict.warden());
            }
            Outcome::NotTaken(_) => state.not_before = now.saturating_add(BACKOFF),
            Outcome::Unknown(_) => {
                state.not_before = now.saturating_add(BACKOFF);
                state.until = Some(until);
            }
        }
    }
}

fn read(path: &Path) -> Result<AttestationRecord, ConflictError> {
    let bytes = fs::read(path).map_err(|reason| ConflictError::Io { path: path.to_owned(), reason })?;
    AttestationRecord::decode_all(&mut bytes.as_slice())
        .map_err(|_| ConflictError::Corrupt { path: path.to_owned() })
}

/// Durable when it returns: the whole file, or none.
fn write(directory: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let partial = path.with_extension("partial");
    fs::write(&partial, bytes)?;
    fs::File::open(&partial)?.sync_all()?;
    fs::rename(&partial, path)?;
    fs::File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::tests::{record, result, warden};
    use arion_types::{AttestationResult, signing::node_id};

    fn conflict() -> Conflict {
        Conflict { first: record(1, 10), second: result(1, 10, AttestationResult::Failed) }
    }

    fn registered() -> BTreeSet<NodeId> {
        [node_id(&warden())].into()
    }

    const NOW: Duration = Duration::from_secs(1_000);

    #[test]
    fn what_was_found_survives_a_restart_and_half_of_it_is_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let conflicts = Conflicts::open(directory.path(), true).unwrap();
        assert!(conflicts.is_empty());
        let other = Conflict { first: record(2, 10), second: result(2, 10, AttestationResult::Timeout) };
        conflicts.keep(&[conflict(), other]).unwrap();
        let again = Conflicts::open(directory.path(), true).unwrap();
        assert_eq!((again.len(), again.due(NOW, 1, &registered())), (1, Some(conflict())));
        let second = directory.path().join(format!("conflicts/{}-2.attestation", node_id(&warden())));
        fs::write(&second, b"?").unwrap();
        let said = Conflicts::open(directory.path(), true).unwrap_err().to_string();
        assert!(said.contains("move it away"), "{said}");
        fs::remove_file(&second).unwrap();
        assert!(Conflicts::open(directory.path(), true).unwrap().is_empty());
    }

    #[test]
    fn a_report_leaves_once_and_only_while_it_can_do_something() {
        let directory = tempfile::tempdir().unwrap();
        let conflicts = Conflicts::open(directory.path(), true).unwrap();
        conflicts.keep(&[conflict()]).unwrap();
        assert_eq!(conflicts.due(NOW, 1, &BTreeSet::new()), None, "it is no warden any more");
        let not_taken = Outcome::NotTaken("no balance".into());
        conflicts.reported(NOW, &conflict(), &not_taken, 80);
        assert_eq!(conflicts.due(NOW, 1, &registered()), None);
        assert_eq!(conflicts.due(NOW + BACKOFF, 1, &registered()), Some(conflict()));
        conflicts.reported(NOW, &conflict(), &Outcome::Unknown("lost".into()), 80);
        assert_eq!(conflicts.due(NOW + 10 * BACKOFF, 80, &registered()), None);
        assert_eq!(conflicts.due(NOW + 10 * BACKOFF, 81, &registered()), Some(conflict()));
        conflicts.reported(NOW, &conflict(), &Outcome::Finalized { fee: None }, 80);
        assert_eq!(conflicts.due(NOW + 10 * BACKOFF, 82, &registered()), None);
        let silent = Conflicts::open(directory.path(), false).unwrap();
        assert_eq!((silent.len(), silent.due(NOW, 1, &registered())), (1, None));
    }
}
