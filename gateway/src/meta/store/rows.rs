//! A transaction in PostgreSQL: rows by table and key, with what it changes kept back until the commit.
//!
//! A question to the server takes a round trip, so as few as can be are asked: rows that were looked up are remembered, ranges
//! come in pages that grow while somebody goes on behind them (a listing seeks once a key), and all changes go out together at
//! the end. Readers ask in a snapshot and writers have the lock, so what is remembered stays true.
//!
//! # Invariants
//! - Nothing is changed before [`Rows::send`], and nothing stays without [`Rows::commit`].
//! - A page has at most [`PAGE_ROWS`] rows, and about [`PAGE_BYTES`] where rows are large.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    ops::Bound,
    rc::Rc,
};

use super::{Session, presence::REPLICAS, session::Page};
use crate::meta::MetaError;

/// Rows of the first page of a range, and of the largest one.
const PAGE_ROWS: (usize, usize) = (8, 512);
/// How pages grow.
const PAGE_GROWTH: usize = 8;
/// What a page may come to, going by the one before.
const PAGE_BYTES: usize = 1 << 20;

/// Rows of a table that were looked up and are remembered.
const LOOKED_UP_MAX: usize = 1_024;

/// A value, or a key as redb has it.
pub(crate) type Bytes = Rc<[u8]>;

/// What is left of a range: from a key, up to another one that is not in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Bounds {
    from: Vec<u8>,
    to: Option<Vec<u8>>,
}

/// The first bytes behind these.
fn behind(mut key: Vec<u8>) -> Vec<u8> {
    key.push(0);
    key
}

impl Bounds {
    pub(super) fn all() -> Self {
        Self { from: Vec::new(), to: None }
    }

    pub(super) fn new(from: Bound<Vec<u8>>, to: Bound<Vec<u8>>) -> Self {
        Self {
            from: match from {
                Bound::Included(key) => key,
                Bound::Excluded(key) => behind(key),
                Bound::Unbounded => Vec::new(),
            },
            to: match to {
                Bound::Included(key) => Some(behind(key)),
                Bound::Excluded(key) => Some(key),
                Bound::Unbounded => None,
            },
        }
    }

    fn is_empty(&self) -> bool {
        self.to.as_ref().is_some_and(|to| *to <= self.from)
    }
}

/// Rows of a table that follow each other: all that there are in `bounds`.
struct Window {
    bounds: Bounds,
    rows: Vec<(Vec<u8>, Bytes)>,
    /// How many were asked for.
    limit: usize,
    /// Whether somebody came as far as the last of them.
    is_used_up: bool,
}

impl Window {
    /// The first row at or behind the beginning of a range; `None` if it is not known.
    fn seek(&mut self, Bounds { from, to }: &Bounds) -> Option<Option<(Vec<u8>, Bytes)>> {
        let ends_behind = self.bounds.to.as_ref().is_none_or(|end| from < end);
        if *from < self.bounds.from || !ends_behind {
            return None;
        }
        let at = self.rows.partition_point(|(key, _)| key < from);
        self.is_used_up |= at + 1 >= self.rows.len();
        match self.rows.get(at) {
            Some(row) => Some(Some(row.clone())),
            // What is behind the window is not known.
            None => {
                let is_inside = to.as_ref().zip(self.bounds.to.as_ref()).is_some_and(|(to, end)| to <= end);
                (is_inside || self.bounds.to.is_none()).then_some(None)
            }
        }
    }

    /// How many rows to ask for next.
    fn next_limit(&self) -> usize {
        let bytes: usize = self.rows.iter().map(|(key, value)| key.len() + value.len()).sum();
        let fit = PAGE_BYTES / (bytes / self.rows.len().max(1)).max(1);
        let wanted = if self.is_used_up { self.limit * PAGE_GROWTH } else { PAGE_ROWS.0 };
        wanted.min(fit).clamp(1, PAGE_ROWS.1)
    }
}

/// A row that was looked up or is changed.
struct Cell {
    value: Option<Bytes>,
    is_changed: bool,
}

/// Which row comes first, of those that are changed and the one that is stored at the end of them; without a value where it
/// is removed.
fn met<'c>(
    mut cells: impl Iterator<Item = (&'c Vec<u8>, &'c Cell)>,
    stored: Option<(Vec<u8>, Bytes)>,
) -> Option<(Vec<u8>, Option<Bytes>)> {
    let changed = cells.find(|(_, cell)| cell.is_changed);
    changed
        .map(|(key, cell)| (key.clone(), cell.value.clone()))
        .or_else(|| stored.map(|(key, value)| (key, Some(value))))
}

#[derive(Default)]
struct Known {
    cells: BTreeMap<Vec<u8>, Cell>,
    /// How many were looked up since some were forgotten.
    looked_up: usize,
    window: Option<Window>,
}

/// A transaction.
pub(crate) struct Rows {
    session: RefCell<Session>,
    known: RefCell<HashMap<&'static str, Known>>,
    replica: u32,
}

impl Rows {
    /// Of a session in which a transaction was begun.
    pub(super) fn new(session: Session, replica: u32) -> Self {
        Self { session: RefCell::new(session), known: RefCell::default(), replica }
    }

    pub(super) fn replica(&self) -> u32 {
        self.replica
    }

    pub(super) fn running(&self) -> Result<Vec<u32>, MetaError> {
        Ok(self.session.borrow_mut().held(REPLICAS)?)
    }

    pub(super) fn count(&self, table: &'static str) -> Result<u64, MetaError> {
        Ok(self.session.borrow_mut().count(table)?)
    }

    pub(super) fn get(&self, table: &'static str, key: Vec<u8>) -> Result<Option<Bytes>, MetaError> {
        let mut known = self.known.borrow_mut();
        let known = known.entry(table).or_default();
        if let Some(cell) = known.cells.get(&key) {
            return Ok(cell.value.clone());
        }
        let value = self.session.borrow_mut().get(table, &key)?.map(Bytes::from);
        if known.looked_up == LOOKED_UP_MAX {
            known.cells.retain(|_, cell| cell.is_changed);
            known.looked_up = 0;
        }
        known.looked_up += 1;
        known.cells.insert(key, Cell { value: value.clone(), is_changed: false });
        Ok(value)
    }

    /// Changes a row; without a value it is removed.
    pub(super) fn set(&self, table: &'static str, key: Vec<u8>, value: Option<Bytes>) {
        let mut known = self.known.borrow_mut();
        known.entry(table).or_default().cells.insert(key, Cell { value, is_changed: true });
    }

    /// Takes the first row off the range.
    pub(super) fn next(
        &self,
        table: &'static str,
        bounds: &mut Bounds,
    ) -> Result<Option<(Vec<u8>, Bytes)>, MetaError> {
        let mut known = self.known.borrow_mut();
        let known = known.entry(table).or_default();
        while !bounds.is_empty() {
            let stored = self.stored_at(table, known, bounds)?;
            let upper = match (&stored, &bounds.to) {
                (Some((key, _)), _) => Bound::Included(key.clone()),
                (None, Some(to)) => Bound::Excluded(to.clone()),
                (None, None) => Bound::Unbounded,
            };
            let cells = known.cells.range((Bound::Included(bounds.from.clone()), upper));
            let Some((key, value)) = met(cells, stored) else { break };
            bounds.from = behind(key.clone());
            if let Some(value) = value {
                return Ok(Some((key, value)));
            }
        }
        Ok(None)
    }

    /// The first row of the range as the last commit left it.
    fn stored_at(
        &self,
        table: &'static str,
        known: &mut Known,
        bounds: &Bounds,
    ) -> Result<Option<(Vec<u8>, Bytes)>, MetaError> {
        let within = |row: Option<(Vec<u8>, Bytes)>| {
            row.filter(|(key, _)| bounds.to.as_ref().is_none_or(|to| key < to))
        };
        if let Some(found) = known.window.as_mut().and_then(|window| window.seek(bounds)) {
            return Ok(within(found));
        }
        let limit = known.window.as_ref().map_or(PAGE_ROWS.0, Window::next_limit);
        let page = Page { from: &bounds.from, to: bounds.to.as_deref(), limit, is_backwards: false };
        let rows = self.session.borrow_mut().page(table, &page)?;
        let rows: Vec<(Vec<u8>, Bytes)> = rows.into_iter().map(|(key, value)| (key, value.into())).collect();
        let first = rows.first().cloned();
        let to = match rows.last().filter(|_| rows.len() == limit) {
            Some((key, _)) => Some(behind(key.clone())),
            None => bounds.to.clone(),
        };
        let is_used_up = rows.len() <= 1;
        let bounds = Bounds { from: bounds.from.clone(), to };
        known.window = Some(Window { bounds, rows, limit, is_used_up });
        Ok(first)
    }

    /// Takes the last row off the range.
    pub(super) fn next_back(
        &self,
        table: &'static str,
        bounds: &mut Bounds,
    ) -> Result<Option<(Vec<u8>, Bytes)>, MetaError> {
        let mut known = self.known.borrow_mut();
        let known = known.entry(table).or_default();
        while !bounds.is_empty() {
            let page = Page { from: &bounds.from, to: bounds.to.as_deref(), limit: 1, is_backwards: true };
            let stored = self.session.borrow_mut().page(table, &page)?.into_iter().next();
            let lower = stored.as_ref().map_or(&bounds.from, |(key, _)| key).clone();
            let upper = bounds.to.clone().map_or(Bound::Unbounded, Bound::Excluded);
            let cells = known.cells.range((Bound::Included(lower), upper)).rev();
            let stored = stored.map(|(key, value)| (key, value.into()));
            let Some((key, value)) = met(cells, stored) else { break };
            bounds.to = Some(key.clone());
            if let Some(value) = value {
                return Ok(Some((key, value)));
            }
        }
        Ok(None)
    }

    /// Sends all changes so far.
    pub(super) fn send(&self) -> Result<(), MetaError> {
        let (mut entered, mut removed) = (Vec::new(), Vec::new());
        for (table, known) in self.known.take() {
            for (key, cell) in known.cells.into_iter().filter(|(_, cell)| cell.is_changed) {
                match cell.value {
                    Some(value) => entered.push((table, key, value)),
                    None => removed.push((table, key)),
                }
            }
        }
        let mut session = self.session.borrow_mut();
        session.enter(&entered)?;
        session.remove(&removed)?;
        Ok(())
    }

    /// Sends all changes and commits them.
    pub(super) fn commit(self) -> Result<Session, MetaError> {
        self.send()?;
        let mut session = self.session.into_inner();
        session.commit()?;
        Ok(session)
    }

    /// Gives all changes up.
    pub(super) fn abort(self) -> Result<Session, MetaError> {
        let mut session = self.session.into_inner();
        session.rollback()?;
        Ok(session)
    }
}
