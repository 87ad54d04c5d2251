//! The versions of a key: where each of them is, how a new one comes and an old one goes, and their listing.
//!
//! Finding the newest version, a version by its id and the null version each take one or two searches, however many
//! versions a key has.

use super::{
    Allowance, Meta, MetaError, NULLS, OBJECTS, ReadTable, ReadTransaction, ReadableTable, Table, Usage,
    VERSIONS, WriteTransaction, buckets,
    usage::{self, USAGE},
};
use crate::{
    listing::{self, Pairs, Start},
    object::{Entry, ObjectInfo, Stamp, Version, VersionId, Versioning},
};

type ObjectKey = (&'static str, &'static str);
type VersionKey = (&'static str, &'static str, u64);
type Row = &'static [u8];
type Counts = (u64, u64);

/// The three tables that versions are in, and what they come to.
pub(super) struct Versions<O, V, N, U> {
    objects: O,
    versions: V,
    nulls: N,
    usage: U,
}

/// For reading.
pub(super) type Reading<'t> = Versions<
    ReadTable<'t, ObjectKey, Row>,
    ReadTable<'t, VersionKey, Row>,
    ReadTable<'t, ObjectKey, u64>,
    ReadTable<'t, &'static str, Counts>,
>;
/// For writing.
pub(super) type Writing<'t> = Versions<
    Table<'t, ObjectKey, Row>,
    Table<'t, VersionKey, Row>,
    Table<'t, ObjectKey, u64>,
    Table<'t, &'static str, Counts>,
>;

/// Behind which version a page begins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VersionMarker {
    /// Its key, or a folded prefix.
    pub key: String,
    /// Which one of the key; `None` for all of them.
    pub version: Option<VersionId>,
}

/// A version with its key; none where its row does not decode.
pub type WalkedVersion = (String, Option<Version>);

/// How far a walk through a bucket's versions has come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WalkedTo {
    /// The key it is at.
    pub key: String,
    place: u64,
}

/// A page of versions: of each key the newest one first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VersionPage {
    /// The versions with their keys.
    pub lines: Vec<(String, Version)>,
    /// The folded prefixes.
    pub prefixes: Vec<String>,
    /// Where the next page begins, if there is one.
    pub next: Option<VersionMarker>,
}

fn decode(row: &[u8]) -> Result<Version, MetaError> {
    Version::from_row(row).map_err(|_| MetaError::Row("versions"))
}

/// Newer versions come first in the table.
fn place(stamp: &Stamp) -> u64 {
    !stamp.order
}

impl<'t> Reading<'t> {
    pub(super) fn open(transaction: &'t ReadTransaction) -> Result<Self, MetaError> {
        Ok(Self {
            objects: transaction.open_table(OBJECTS)?,
            versions: transaction.open_table(VERSIONS)?,
            nulls: transaction.open_table(NULLS)?,
            usage: transaction.open_table(USAGE)?,
        })
    }
}

impl<O, V, N, U> Versions<O, V, N, U>
where
    U: ReadableTable<&'static str, Counts>,
    O: ReadableTable<ObjectKey, Row>,
    V: ReadableTable<VersionKey, Row>,
    N: ReadableTable<ObjectKey, u64>,
{
    /// Refuses what would exceed a quota; `replaced` goes for it.
    pub(super) fn check_room(
        &self,
        payer: (&str, &Allowance),
        more: Usage,
        replaced: Option<&Version>,
    ) -> Result<(), MetaError> {
        usage::check(&self.usage, payer, more, replaced.map(|gone| (gone.payer(), Usage::of(gone))))
    }

    /// The newest version, if it is an object.
    pub(super) fn current(&self, bucket: &str, key: &str) -> Result<Option<Version>, MetaError> {
        self.objects.get((bucket, key))?.map(|row| decode(row.value())).transpose()
    }

    /// The newest of those that are no current object.
    fn newest_other(&self, bucket: &str, key: &str) -> Result<Option<Version>, MetaError> {
        let mut rows = self.versions.range((bucket, key, 0)..=(bucket, key, u64::MAX))?;
        rows.next().transpose()?.map(|(_, row)| decode(row.value())).transpose()
    }

    /// The newest version, object or delete marker.
    pub(super) fn latest(&self, bucket: &str, key: &str) -> Result<Option<Version>, MetaError> {
        match self.current(bucket, key)? {
            Some(version) => Ok(Some(version)),
            None => self.newest_other(bucket, key),
        }
    }

    /// A version by its id.
    pub(super) fn find(&self, bucket: &str, key: &str, id: VersionId) -> Result<Option<Version>, MetaError> {
        if let Some(current) = self.current(bucket, key)?.filter(|current| current.id() == id) {
            return Ok(Some(current));
        }
        let order = match id {
            VersionId::Id { order, .. } => order,
            VersionId::Null => match self.nulls.get((bucket, key))? {
                Some(order) => order.value(),
                None => return Ok(None),
            },
        };
        let row = self.versions.get((bucket, key, !order))?;
        let found = row.map(|row| decode(row.value())).transpose()?;
        Ok(found.filter(|version| version.id() == id))
    }

    /// The version that a new one takes the place of: the null version, where the bucket does not keep versions.
    pub(super) fn replaced(
        &self,
        bucket: &str,
        key: &str,
        versioning: Versioning,
    ) -> Result<Option<Version>, MetaError> {
        match versioning {
            Versioning::Enabled => Ok(None),
            Versioning::Unversioned | Versioning::Suspended => self.find(bucket, key, VersionId::Null),
        }
    }

    /// The object that a client means who names this version, or none.
    pub(super) fn object(
        &self,
        bucket: &str,
        key: &str,
        version: Option<VersionId>,
    ) -> Result<(Version, ObjectInfo), MetaError> {
        let found = match version {
            None => self.latest(bucket, key)?.ok_or(MetaError::NoSuchKey)?,
            Some(id) => self.find(bucket, key, id)?.ok_or(MetaError::NoSuchVersion)?,
        };
        match (found.object(), version) {
            (Some(info), _) => {
                let info = info.clone();
                Ok((found, info))
            }
            (None, None) => Err(MetaError::Deleted(found.id())),
            (None, Some(id)) => Err(MetaError::IsMarker(id)),
        }
    }

    /// The first version at or behind a place in a bucket's order of versions.
    pub(super) fn seek(
        &self,
        bucket: &str,
        start: &Start<u64>,
    ) -> Result<Option<(String, u64, Version)>, MetaError> {
        let found = self.seek_row(bucket, start)?;
        found.map(|(key, at, version)| Ok((key, at, version.ok_or(MetaError::Row("versions"))?))).transpose()
    }

    /// The same, with none for a row that does not decode. What it says of its place is unknown too: a current object that does
    /// not decode comes before all other versions of its key.
    fn seek_row(
        &self,
        bucket: &str,
        start: &Start<u64>,
    ) -> Result<Option<(String, u64, Option<Version>)>, MetaError> {
        let (key, from) = match start {
            Start::Key(key) => (key.as_str(), 0),
            Start::Behind(key, u64::MAX) => return self.seek_row(bucket, &Start::Key(format!("{key}\0"))),
            Start::Behind(key, at) => (key.as_str(), at + 1),
        };
        let mut current = None;
        for row in self.objects.range((bucket, key)..)?.take(2) {
            let (at, row) = row?;
            let (found_in, at) = at.value();
            if found_in != bucket {
                break;
            }
            let version = decode(row.value()).ok();
            let placed = version.as_ref().map_or(0, |version| place(&version.stamp));
            // The key's own current version may be before the place.
            if at != key || placed >= from {
                current = Some((at.to_owned(), placed, version));
                break;
            }
        }
        let other = match self.versions.range((bucket, key, from)..)?.next().transpose()? {
            Some((at, row)) if at.value().0 == bucket => {
                let (_, at, place) = at.value();
                Some((at.to_owned(), place, decode(row.value()).ok()))
            }
            _ => None,
        };
        Ok(match (current, other) {
            (Some(current), Some(other)) => {
                Some(if (&current.0, current.1) < (&other.0, other.1) { current } else { other })
            }
            (current, other) => current.or(other),
        })
    }
}

impl<'t> Writing<'t> {
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Self, MetaError> {
        Ok(Self {
            objects: transaction.open_table(OBJECTS)?,
            versions: transaction.open_table(VERSIONS)?,
            nulls: transaction.open_table(NULLS)?,
            usage: transaction.open_table(USAGE)?,
        })
    }

    /// Writes a version where it belongs.
    pub(super) fn put(&mut self, bucket: &str, key: &str, version: &Version) -> Result<(), MetaError> {
        let row = version.to_row();
        if version.is_latest() && version.object().is_some() {
            self.objects.insert((bucket, key), row.as_slice())?;
            return Ok(());
        }
        self.versions.insert((bucket, key, place(&version.stamp)), row.as_slice())?;
        if version.id() == VersionId::Null {
            self.nulls.insert((bucket, key), version.stamp.order)?;
        }
        Ok(())
    }

    fn unput(&mut self, bucket: &str, key: &str, version: &Version) -> Result<(), MetaError> {
        if version.is_latest() && version.object().is_some() {
            self.objects.remove((bucket, key))?;
            return Ok(());
        }
        self.versions.remove((bucket, key, place(&version.stamp)))?;
        if version.id() == VersionId::Null {
            self.nulls.remove((bucket, key))?;
        }
        Ok(())
    }

    fn supersede(
        &mut self,
        bucket: &str,
        key: &str,
        mut version: Version,
        by_ms: Option<u64>,
    ) -> Result<(), MetaError> {
        self.unput(bucket, key, &version)?;
        version.superseded_ms = by_ms;
        self.put(bucket, key, &version)
    }

    /// Enters the newest version of a key. Returns its stamp, and the null version that it replaced where the bucket does
    /// not keep versions.
    pub(super) fn enter(
        &mut self,
        bucket: &str,
        key: &str,
        entry: Entry,
        versioning: Versioning,
        now_ms: u64,
    ) -> Result<(Stamp, Option<Version>), MetaError> {
        let newest = self.latest(bucket, key)?;
        let salt = (versioning == Versioning::Enabled).then(rand::random);
        let replaced = self.replaced(bucket, key, versioning)?;
        let stamp = Stamp::next(now_ms, newest.as_ref().map(|newest| newest.stamp), salt);
        if let Some(replaced) = &replaced {
            self.unput(bucket, key, replaced)?;
            usage::taken(&mut self.usage, replaced)?;
        }
        if let Some(newest) = newest.filter(|newest| Some(newest) != replaced.as_ref()) {
            self.supersede(bucket, key, newest, Some(now_ms))?;
        }
        let version = Version { stamp, superseded_ms: None, entry };
        self.put(bucket, key, &version)?;
        usage::entered(&mut self.usage, &version)?;
        Ok((stamp, replaced))
    }

    /// Takes a version out; if it was the newest one, the one before it is that now.
    pub(super) fn take(&mut self, bucket: &str, key: &str, version: &Version) -> Result<(), MetaError> {
        self.unput(bucket, key, version)?;
        usage::taken(&mut self.usage, version)?;
        if !version.is_latest() {
            return Ok(());
        }
        match self.newest_other(bucket, key)? {
            Some(before) => self.supersede(bucket, key, before, None),
            None => Ok(()),
        }
    }

    /// Whether a key has no version but this one.
    pub(super) fn is_alone(&self, bucket: &str, key: &str, version: &Version) -> Result<bool, MetaError> {
        if self.current(bucket, key)?.is_some_and(|current| current != *version) {
            return Ok(false);
        }
        for row in self.versions.range((bucket, key, 0)..=(bucket, key, u64::MAX))?.take(2) {
            if decode(row?.1.value())? != *version {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Meta {
    /// The next `max` versions of a bucket in the order of [`Meta::versions_page`], for work that goes on behind a row that does
    /// not decode; where to go on, if there is more.
    pub async fn walk_versions(
        &self,
        bucket: String,
        after: Option<WalkedTo>,
        max: usize,
    ) -> Result<(Vec<WalkedVersion>, Option<WalkedTo>), MetaError> {
        let unreadable = self.unreadable.clone();
        self.read(move |transaction| {
            buckets::exists(transaction, &bucket)?;
            let tables = Reading::open(transaction)?;
            let after = after.map(|WalkedTo { key, place }| (key, Some(place)));
            let pairs = Pairs { prefix: String::new(), delimiter: String::new(), after, max };
            let page = listing::list_pairs(&pairs, |start| tables.seek_row(&bucket, start))?;
            for (key, _, version) in &page.lines {
                if version.is_none() {
                    unreadable.pass_over("versions", format!("{bucket}/{key}"));
                }
            }
            let next = page.next.and_then(|(key, place)| Some(WalkedTo { key, place: place? }));
            Ok((page.lines.into_iter().map(|(key, _, version)| (key, version)).collect(), next))
        })
        .await
    }

    /// A page of a bucket's versions in order of key, of each key the newest first; `max` lines and folded prefixes at the
    /// most.
    pub async fn versions_page(
        &self,
        bucket: String,
        prefix: String,
        delimiter: String,
        after: Option<VersionMarker>,
        max: usize,
    ) -> Result<VersionPage, MetaError> {
        self.read(move |transaction| {
            buckets::exists(transaction, &bucket)?;
            let tables = Reading::open(transaction)?;
            let after = match after {
                None => None,
                Some(VersionMarker { key, version: None }) => Some((key, None)),
                Some(VersionMarker { key, version: Some(VersionId::Id { order, .. }) }) => {
                    Some((key, Some(!order)))
                }
                Some(VersionMarker { key, version: Some(VersionId::Null) }) => {
                    // A null version that is gone leaves no place: its key is begun again, rather than lost.
                    let null = tables.find(&bucket, &key, VersionId::Null)?;
                    Some((key, Some(null.map_or(0, |version| place(&version.stamp)))))
                }
            };
            let pairs = Pairs { prefix, delimiter, after, max };
            let page = listing::list_pairs(&pairs, |start| tables.seek(&bucket, start))?;
            let next = page.next.map(|(key, at)| {
                let last = page.lines.last().filter(|_| at.is_some());
                VersionMarker { key, version: last.map(|(_, _, version)| version.id()) }
            });
            let lines = page.lines.into_iter().map(|(key, _, version)| (key, version)).collect();
            Ok(VersionPage { lines, prefixes: page.prefixes, next })
        })
        .await
    }
}
