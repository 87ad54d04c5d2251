//! The segment files of a store: which there are, and those that are open.
//!
//! # Invariants
//! - A bounded number is open; the one that was not used for longest goes first.
//! - No lock is held while a file is opened.
//! - While a file is replaced readers get the old one, until its place is taken in one go.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::Arc,
};

use super::{Shared, checkpoint::KnownSpan, disk::DiskFile, layout::Span};

/// An open file, and when it was used last.
struct Open {
    file: Arc<dyn DiskFile>,
    used: u64,
}

/// The segment files.
pub(super) struct Files {
    spans: BTreeMap<u32, KnownSpan>,
    open: HashMap<u32, Open>,
    open_max: usize,
    uses: u64,
    /// Files that are about to be replaced.
    held: HashMap<u32, Arc<dyn DiskFile>>,
}

impl Files {
    pub(super) fn new(spans: Vec<KnownSpan>, open_max: usize) -> Self {
        let spans = spans.into_iter().map(|known| (known.span.first, known)).collect();
        Self { spans, open: HashMap::new(), open_max: open_max.max(1), uses: 0, held: HashMap::new() }
    }

    /// All of them, in order of the log.
    pub(super) fn spans(&self) -> Vec<KnownSpan> {
        self.spans.values().copied().collect()
    }

    /// A new one.
    pub(super) fn add(&mut self, known: KnownSpan) {
        self.spans.insert(known.span.first, known);
    }

    /// Readers get this file, whatever its name means, until it is replaced.
    pub(super) fn hold(&mut self, first: u32, file: Arc<dyn DiskFile>) {
        self.held.insert(first, file);
    }

    /// One in place of others; readers open it anew.
    pub(super) fn replace(&mut self, old: &[Span], new: Option<KnownSpan>) {
        for span in old {
            self.spans.remove(&span.first);
            self.open.remove(&span.first);
            self.held.remove(&span.first);
        }
        if let Some(known) = new {
            self.add(known);
        }
    }

    /// One that is open.
    fn find(&mut self, first: u32) -> Option<Arc<dyn DiskFile>> {
        if let Some(held) = self.held.get(&first) {
            return Some(held.clone());
        }
        self.uses += 1;
        let open = self.open.get_mut(&first)?;
        open.used = self.uses;
        Some(open.file.clone())
    }

    /// Keeps one open, in place of that which was not used for longest.
    fn keep(&mut self, first: u32, file: Arc<dyn DiskFile>) {
        if self.open.len() >= self.open_max
            && let Some(oldest) = self.open.iter().min_by_key(|(_, open)| open.used).map(|(first, _)| *first)
        {
            self.open.remove(&oldest);
        }
        self.uses += 1;
        self.open.insert(first, Open { file, used: self.uses });
    }

    /// Closes all that nobody is reading from.
    fn close(&mut self) {
        self.open.clear();
    }
}

impl Shared {
    /// The segment file with this first number.
    pub(super) fn segment(&self, first: u32) -> io::Result<Arc<dyn DiskFile>> {
        loop {
            let known = {
                let mut files = self.files();
                if let Some(file) = files.find(first) {
                    return Ok(file);
                }
                files.spans.get(&first).copied().ok_or(io::Error::from(io::ErrorKind::NotFound))?
            };
            let opened = self.with_a_descriptor(|| self.layout.disk.open(&known.span.name()));
            let mut files = self.files();
            if let Some(file) = files.find(first) {
                return Ok(file);
            }
            if files.spans.get(&first) != Some(&known) {
                // Replaced meanwhile: its name may mean another.
                continue;
            }
            let file = opened?;
            file.expect_random();
            files.keep(first, file.clone());
            return Ok(file);
        }
    }

    /// Where the process may open no more files, those kept open are closed and it is tried again.
    pub(super) fn with_a_descriptor<T>(&self, open: impl Fn() -> io::Result<T>) -> io::Result<T> {
        match open() {
            Err(error) if is_busy(&error) => {
                self.files().close();
                open()
            }
            opened => opened,
        }
    }
}

/// Whether an error says that the process or the machine has no descriptor or memory left, which is no fault of the disk.
pub(super) fn is_busy(error: &io::Error) -> bool {
    use rustix::io::Errno;
    Errno::from_io_error(error)
        .is_some_and(|errno| [Errno::MFILE, Errno::NFILE, Errno::NOMEM].contains(&errno))
}
