//! A disk in memory that fails as disks do, for simulations and crash tests.
//!
//! Every write is kept apart until its file is synced. [`MemoryDisk::after_power_cut`] keeps any sectors of
//! unsynced writes, in any order, and the changes of names up to some moment.
//!
//! # Invariants
//! - The same seed and the same calls give the same disk.

mod content;

use std::{
    collections::BTreeMap,
    io,
    ops::Range,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use super::disk::{Disk, DiskFile, DiskLock};
use content::{Content, Pending, cut};

/// Faults of a disk; operations are counted from 0 over the whole disk.
#[derive(Default)]
pub struct Faults {
    /// From this operation on nothing works any more: the process dies there.
    pub dies_at: Option<u64>,
    /// These operations fail with `EIO`; a write may be half done, a failed sync loses what it was to sync
    /// although reads still show it.
    pub broken: Option<Range<u64>>,
    /// Bytes that still fit.
    pub free_bytes: Option<u64>,
    /// Called in the middle of every sync: a slow one lets others run meanwhile.
    pub during_sync: Option<Arc<dyn Fn() + Send + Sync>>,
    /// Called in the middle of every opening of a file.
    pub during_open: Option<Arc<dyn Fn() + Send + Sync>>,
    /// Whether the process has as many files open as it may: no file is opened or made.
    pub no_more_files: bool,
}

/// A pseudo-random sequence (SplitMix64); the simulation's only source of chance.
#[derive(Clone, Debug)]
pub struct Chance(pub u64);

impl Chance {
    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is at least 1.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end.max(1)
    }

    /// True in `percent` of 100 cases.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

fn unreadable() -> io::Error {
    rustix::io::Errno::IO.into()
}

#[derive(Clone)]
enum NameChange {
    Set(String, usize),
    Remove(String),
}

#[derive(Default)]
struct State {
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    pending_names: Vec<NameChange>,
    files: Vec<Content>,
    faults: Faults,
    operations: u64,
    opened: u64,
    punched: u64,
}

impl State {
    /// Counts an operation; what becomes of it.
    fn operate(&mut self) -> io::Result<()> {
        let number = self.operations;
        self.operations += 1;
        let dead = self.faults.dies_at.is_some_and(|at| number >= at);
        if dead || self.faults.broken.as_ref().is_some_and(|broken| broken.contains(&number)) {
            return Err(unreadable());
        }
        Ok(())
    }

    /// Counts an operation that takes a file descriptor.
    fn open(&mut self) -> io::Result<()> {
        self.operate()?;
        self.opened += 1;
        match self.faults.no_more_files {
            true => Err(rustix::io::Errno::MFILE.into()),
            false => Ok(()),
        }
    }

    fn take(&mut self, bytes: u64) -> io::Result<()> {
        if let Some(free) = &mut self.faults.free_bytes {
            *free = free.checked_sub(bytes).ok_or(io::Error::from(io::ErrorKind::StorageFull))?;
        }
        Ok(())
    }

    fn give_back(&mut self, bytes: u64) {
        if let Some(free) = &mut self.faults.free_bytes {
            *free += bytes;
        }
    }

    fn name(&mut self, change: NameChange) {
        match &change {
            NameChange::Set(name, file) => self.names.insert(name.clone(), *file),
            NameChange::Remove(name) => self.names.remove(name),
        };
        self.pending_names.push(change);
    }

    fn find(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or(io::ErrorKind::NotFound.into())
    }
}

/// A disk in memory; clones are the same disk.
#[derive(Clone, Default)]
pub struct MemoryDisk {
    state: Arc<Mutex<State>>,
    locked: Arc<AtomicBool>,
}

impl MemoryDisk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets what fails from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// Bytes that still fit from now on.
    pub fn set_free_bytes(&self, bytes: u64) {
        self.state().faults.free_bytes = Some(bytes);
    }

    /// Operations so far.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Files opened and made so far.
    pub fn opened(&self) -> u64 {
        self.state().opened
    }

    /// Holes made so far.
    pub fn punched(&self) -> u64 {
        self.state().punched
    }

    /// From now on reads of these bytes of a file fail with `EIO`, until they are written; a file of which that is true of
    /// all to the end of numbers cannot be opened either.
    pub fn set_unreadable(&self, name: &str, range: Range<u64>) {
        let mut state = self.state();
        if let Some(file) = state.names.get(name).copied() {
            state.files[file].unreadable.push(range);
        }
    }

    /// From now on everything is readable.
    pub fn set_readable(&self) {
        self.state().files.iter_mut().for_each(|file| file.unreadable.clear());
    }

    /// The disk as it is found when power comes back: sectors of unsynced writes are kept or lost one by one, of
    /// the unsynced changes of names the first few are kept.
    pub fn after_power_cut(&self, chance: &mut Chance) -> Self {
        let state = self.state();
        let mut names = state.durable_names.clone();
        let kept = chance.below(state.pending_names.len() as u64 + 1) as usize;
        for change in &state.pending_names[..kept] {
            match change {
                NameChange::Set(name, file) => names.insert(name.clone(), *file),
                NameChange::Remove(name) => names.remove(name),
            };
        }
        let files = state.files.iter().map(|file| cut(file, chance)).collect();
        Self::of(names, files)
    }

    /// The disk as another process finds it after `kill -9`: nothing written is lost.
    pub fn after_kill(&self) -> Self {
        let state = self.state();
        let files = state.files.clone();
        let disk = Self::of(state.durable_names.clone(), files);
        disk.state().names = state.names.clone();
        disk.state().pending_names = state.pending_names.clone();
        disk
    }

    fn of(names: BTreeMap<String, usize>, files: Vec<Content>) -> Self {
        let state = State { durable_names: names.clone(), names, files, ..State::default() };
        Self { state: Arc::new(Mutex::new(state)), locked: Arc::default() }
    }

    /// The file of a name as it is read now.
    pub fn content(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state();
        state.names.get(name).map(|file| state.files[*file].live.clone())
    }

    /// Changes what a file durably holds.
    pub fn edit(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        if let Some(file) = state.names.get(name).copied() {
            let mut content = std::mem::take(&mut state.files[file].live);
            change(&mut content);
            state.files[file].replace(content);
        }
    }

    /// Names of all files.
    pub fn names(&self) -> Vec<String> {
        self.state().names.keys().cloned().collect()
    }

    fn file(&self, file: usize) -> Arc<dyn DiskFile> {
        Arc::new(MemoryFile { disk: self.clone(), file })
    }
}

impl Disk for MemoryDisk {
    fn segments(&self) -> io::Result<Vec<String>> {
        let mut state = self.state();
        state.operate()?;
        Ok(state.names.keys().filter_map(|name| name.strip_prefix("segments/")).map(str::to_owned).collect())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let during = self.state().faults.during_open.clone();
        if let Some(during) = during {
            during();
        }
        let mut state = self.state();
        state.open()?;
        let file = state.find(name)?;
        if state.files[file].unreadable.contains(&(0..u64::MAX)) {
            return Err(unreadable());
        }
        drop(state);
        Ok(self.file(file))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        state.open()?;
        if let Ok(old) = state.find(name) {
            let bytes = state.files[old].live.len() as u64;
            state.give_back(bytes);
        }
        let file = state.files.len();
        state.files.push(Content::default());
        state.name(NameChange::Set(name.to_owned(), file));
        drop(state);
        Ok(self.file(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.operate()?;
        let file = state.find(from)?;
        if let Ok(old) = state.find(to) {
            let bytes = state.files[old].live.len() as u64;
            state.give_back(bytes);
        }
        // One change of names in a journal: both or neither.
        state.names.remove(from);
        state.name(NameChange::Set(to.to_owned(), file));
        state.name(NameChange::Remove(from.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.operate()?;
        let file = state.find(name)?;
        let bytes = state.files[file].live.len() as u64;
        state.give_back(bytes);
        state.name(NameChange::Remove(name.to_owned()));
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut state = self.state();
        state.operate()?;
        state.durable_names = state.names.clone();
        state.pending_names.clear();
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(self.state().faults.free_bytes.unwrap_or(u64::MAX))
    }

    fn lock(&self) -> io::Result<Option<DiskLock>> {
        if self.locked.swap(true, Ordering::SeqCst) {
            return Ok(None);
        }
        Ok(Some(DiskLock::new(Unlock(self.locked.clone()))))
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("memory").join(name)
    }
}

struct Unlock(Arc<AtomicBool>);

impl Drop for Unlock {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

struct MemoryFile {
    disk: MemoryDisk,
    file: usize,
}

impl MemoryFile {
    fn change(&self, state: &mut State, pending: Pending) {
        let file = &mut state.files[self.file];
        pending.apply(&mut file.live);
        file.pending.push(pending);
    }
}

impl DiskFile for MemoryFile {
    fn length(&self) -> io::Result<u64> {
        let mut state = self.disk.state();
        state.operate()?;
        Ok(state.files[self.file].live.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.operate()?;
        let end = offset + buffer.len() as u64;
        if state.files[self.file].unreadable.iter().any(|bad| bad.start < end && offset < bad.end) {
            return Err(unreadable());
        }
        let offset = offset as usize;
        let bytes = state.files[self.file].live.get(offset..offset + buffer.len());
        buffer.copy_from_slice(bytes.ok_or(io::Error::from(io::ErrorKind::UnexpectedEof))?);
        Ok(())
    }

    fn write_at(&self, parts: &[&[u8]], offset: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        let mut bytes = parts.concat();
        let mut broken = state.operate();
        if broken.is_ok() && !state.files[self.file].takes(offset..offset + bytes.len() as u64) {
            (broken, bytes) = (Err(unreadable()), Vec::new());
        }
        let length = state.files[self.file].live.len() as u64;
        let grown = (offset + bytes.len() as u64).saturating_sub(length);
        let full = state.take(grown);
        if broken.is_err() || full.is_err() {
            // A failed write may have done a part of its work.
            let dead = state.faults.dies_at.is_some_and(|at| state.operations > at + 1);
            let half = if dead { 0 } else { bytes.len() as u64 / 2 };
            let fits = state.faults.free_bytes.unwrap_or(u64::MAX).min(half);
            let _ = state.take(fits.min(grown));
            bytes.truncate(fits as usize);
        }
        if !bytes.is_empty() {
            state.files[self.file].heal(offset..offset + bytes.len() as u64);
            self.change(&mut state, Pending::Write(offset, bytes));
        }
        broken.and(full)
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.operate()?;
        let old = state.files[self.file].live.len() as u64;
        state.take(length.saturating_sub(old))?;
        state.give_back(old.saturating_sub(length));
        self.change(&mut state, Pending::SetLength(length));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let during = self.disk.state().faults.during_sync.clone();
        if let Some(during) = during {
            during();
        }
        let mut state = self.disk.state();
        let synced = state.operate();
        // Where the process died what was written may be under way.
        let is_dead = state.faults.dies_at.is_some_and(|at| state.operations > at);
        let file = &mut state.files[self.file];
        match &synced {
            Ok(()) => file.sync(),
            Err(_) if is_dead => {}
            Err(_) => file.forget(),
        }
        synced
    }

    fn punch(&self, offset: u64, length: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.operate()?;
        state.punched += 1;
        state.give_back(length);
        self.change(&mut state, Pending::Punch(offset, length));
        Ok(())
    }

    fn allocated(&self) -> io::Result<u64> {
        self.length()
    }

    fn forget_cached(&self) {
        let mut state = self.disk.state();
        let file = &mut state.files[self.file];
        file.live = file.durable.clone();
        for pending in &file.pending {
            pending.apply(&mut file.live);
        }
        file.forgotten = false;
    }
}
