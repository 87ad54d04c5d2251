//! What a bucket has besides objects: one row per bucket and kind, each with a version of its own.

use codec::{Decode, DecodeAll, Encode};

use super::{
    BUCKETS, BucketInfo, Meta, MetaError, ReadTransaction, ReadableTable, SUBRESOURCES, WriteTransaction,
    buckets,
};

/// What a row is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Subresource {
    /// Access control list ([`crate::acl::Acl`]).
    Acl = 1,
    /// Policy, JSON.
    Policy = 2,
    /// Public access block, XML.
    PublicAccessBlock = 3,
    /// Ownership of objects, XML.
    Ownership = 4,
    /// CORS rules, XML.
    Cors = 5,
    /// Tags, XML.
    Tagging = 6,
    /// Website, XML.
    Website = 7,
    /// Lifecycle rules, XML.
    Lifecycle = 8,
    /// What is told to webhooks ([`crate::notify::Rules`]).
    Notification = 9,
}

impl Subresource {
    const ALL: [Self; 9] = [
        Self::Acl,
        Self::Policy,
        Self::PublicAccessBlock,
        Self::Ownership,
        Self::Cors,
        Self::Tagging,
        Self::Website,
        Self::Lifecycle,
        Self::Notification,
    ];

    fn from_number(number: u8) -> Result<Self, MetaError> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == number).ok_or(MetaError::Row("subresources"))
    }
}

/// All rows of a bucket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BucketRows {
    /// The bucket.
    pub info: BucketInfo,
    rows: Vec<(Subresource, Vec<u8>)>,
}

impl BucketRows {
    /// The row of a kind.
    pub fn get(&self, kind: Subresource) -> Option<&[u8]> {
        self.rows.iter().find(|(found, _)| *found == kind).map(|(_, row)| row.as_slice())
    }
}

#[derive(Encode, Decode)]
enum Stored {
    #[codec(index = 1)]
    V1(Vec<u8>),
}

fn decode(mut row: &[u8]) -> Result<Vec<u8>, MetaError> {
    match Stored::decode_all(&mut row) {
        Ok(Stored::V1(value)) => Ok(value),
        Err(_) => Err(MetaError::Row("subresources")),
    }
}

/// Enters a row, or removes it; the bucket exists.
pub(super) fn put(
    transaction: &WriteTransaction,
    bucket: &str,
    kind: Subresource,
    value: Option<Vec<u8>>,
) -> Result<(), MetaError> {
    let mut table = transaction.open_table(SUBRESOURCES)?;
    let key = (bucket, kind as u8);
    match value {
        Some(value) => table.insert(key, Stored::V1(value).encode().as_slice())?,
        None => table.remove(key)?,
    };
    Ok(())
}

/// A row, within a change.
pub(super) fn get(
    transaction: &WriteTransaction,
    bucket: &str,
    kind: Subresource,
) -> Result<Option<Vec<u8>>, MetaError> {
    let table = transaction.open_table(SUBRESOURCES)?;
    let row = table.get((bucket, kind as u8))?;
    row.map(|row| decode(row.value())).transpose()
}

/// Removes all rows of a bucket.
pub(super) fn remove_all(transaction: &WriteTransaction, bucket: &str) -> Result<(), MetaError> {
    Subresource::ALL.into_iter().try_for_each(|kind| put(transaction, bucket, kind, None))
}

fn rows(transaction: &ReadTransaction, bucket: &str) -> Result<Option<BucketRows>, MetaError> {
    let Some(info) = transaction.open_table(BUCKETS)?.get(bucket)? else { return Ok(None) };
    let info = buckets::decode(info.value())?;
    let mut rows = Vec::new();
    for row in transaction.open_table(SUBRESOURCES)?.range((bucket, 0)..=(bucket, u8::MAX))? {
        let (key, row) = row?;
        rows.push((Subresource::from_number(key.value().1)?, decode(row.value())?));
    }
    Ok(Some(BucketRows { info, rows }))
}

impl Meta {
    /// Enters a row of a bucket, or removes it.
    pub async fn put_subresource(
        &self,
        bucket: String,
        kind: Subresource,
        value: Option<Vec<u8>>,
    ) -> Result<(), MetaError> {
        self.write(move |transaction| {
            buckets::require(transaction, &bucket)?;
            put(transaction, &bucket, kind, value)
        })
        .await
    }

    /// A row of a bucket.
    pub async fn subresource(&self, bucket: String, kind: Subresource) -> Result<Option<Vec<u8>>, MetaError> {
        self.look(move |transaction| {
            buckets::exists(transaction, &bucket)?;
            let row = transaction.open_table(SUBRESOURCES)?.get((bucket.as_str(), kind as u8))?;
            row.map(|row| decode(row.value())).transpose()
        })
        .await
    }

    /// A bucket with all its rows; none if it does not exist.
    pub async fn bucket_rows(&self, bucket: String) -> Result<Option<BucketRows>, MetaError> {
        self.look(move |transaction| rows(transaction, &bucket)).await
    }

    /// Looks at the next `rows` rows behind bucket `after` for those of a kind. Returns them with their buckets, and the
    /// bucket to go on behind; `None` for the latter at the end. One that does not decode is passed over.
    pub async fn subresources_of_kind(
        &self,
        after: Option<String>,
        kind: Subresource,
        rows: usize,
    ) -> Result<(Vec<(String, Vec<u8>)>, Option<String>), MetaError> {
        let unreadable = self.unreadable.clone();
        self.read(move |transaction| {
            let table = transaction.open_table(SUBRESOURCES)?;
            let after = after.as_deref().unwrap_or("");
            let (mut found, mut last) = (Vec::new(), None);
            for (count, row) in table.range((after, u8::MAX)..)?.enumerate() {
                let (key, row) = row?;
                let (bucket, number) = key.value();
                // A bucket's rows are never split: the next look begins behind the whole bucket.
                if count >= rows && last.as_deref() != Some(bucket) {
                    return Ok((found, last));
                }
                if number == kind as u8 {
                    let row = unreadable.readable(decode(row.value()), bucket)?;
                    found.extend(row.map(|row| (bucket.to_owned(), row)));
                }
                last = Some(bucket.to_owned());
            }
            Ok((found, None))
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::Engine, *};

    #[tokio::test]
    async fn rows_belong_to_a_bucket_and_go_with_it() {
        for engine in Engine::each() {
            let meta = engine.open();
            let put = |bucket: &str, kind, value: Option<&[u8]>| {
                meta.put_subresource(bucket.to_owned(), kind, value.map(<[u8]>::to_vec))
            };
            assert!(matches!(put("a", Subresource::Cors, None).await, Err(MetaError::NoSuchBucket)));
            for name in ["a", "ab", "b"] {
                let info = BucketInfo::new("x".into(), 1);
                meta.create_bucket(name.into(), info).await.unwrap();
                put(name, Subresource::Cors, Some(b"cors")).await.unwrap();
                put(name, Subresource::Lifecycle, Some(name.as_bytes())).await.unwrap();
            }
            let rows = meta.bucket_rows("a".into()).await.unwrap().unwrap();
            assert_eq!(rows.get(Subresource::Lifecycle), Some(b"a".as_slice()));
            assert_eq!(rows.get(Subresource::Policy), None);
            let page = |after: Option<&str>, rows| {
                meta.subresources_of_kind(after.map(str::to_owned), Subresource::Lifecycle, rows)
            };
            let (found, next) = page(None, 3).await.unwrap();
            assert_eq!(found, [("a".to_owned(), b"a".to_vec()), ("ab".to_owned(), b"ab".to_vec())]);
            assert_eq!(next.as_deref(), Some("ab"));
            let (found, next) = page(next.as_deref(), 3).await.unwrap();
            assert_eq!((found, next), (vec![("b".to_owned(), b"b".to_vec())], None));
            put("a", Subresource::Cors, None).await.unwrap();
            assert_eq!(meta.subresource("a".into(), Subresource::Cors).await.unwrap(), None);
            meta.delete_bucket("a".into()).await.unwrap();
            assert!(meta.bucket_rows("a".into()).await.unwrap().is_none());
            let info = BucketInfo::new("x".into(), 1);
            meta.create_bucket("a".into(), info).await.unwrap();
            assert_eq!(meta.subresource("a".into(), Subresource::Lifecycle).await.unwrap(), None);
        }
    }
}
