//! Streams that accounts do not want to be stored twice: found by their fingerprints, and referred to again.
//!
//! A fingerprint is of an account ([`crate::keyring`]), so that nothing is found across accounts. Who refers to a stream holds its
//! stripes like a copy does (`stripes`): what is here only finds them.
//!
//! # Invariants
//! - A row is entered with the first reference to its stripes, and goes in the transaction that gives up the first of them.
//! - The row of a stream says where its bytes are now, also when they were moved.

use arion_crypto::{Fingerprint, WrappedKey};
use arion_types::StripeId;
use codec::{Decode, DecodeAll, Encode};

use super::{
    Hash, Meta, MetaError, ReadTransaction, ReadableTable, TableDefinition, WriteTransaction, stripes,
};
use crate::manifest::PartManifest;

/// Fingerprint - the stream that has it.
pub(super) const EQUALS: TableDefinition<Hash, &[u8]> = TableDefinition::new("equals");
/// First stripe of such a stream, and where it begins there - its fingerprint.
pub(super) const EQUAL_AT: TableDefinition<(Hash, u32), &[u8]> = TableDefinition::new("equal-at");

#[derive(Encode, Decode)]
enum Row {
    #[codec(index = 1)]
    V1(Stream),
}

/// A stream that is stored.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
struct Stream {
    account: String,
    plain_len: u64,
    cipher_len: u64,
    offset: u32,
    /// Its data key, wrapped for its fingerprint.
    key: WrappedKey,
    stripes: Vec<StripeId>,
}

impl Stream {
    /// One that does not decode is as good as none: the next upload of these bytes takes its place.
    fn of_row(row: &[u8]) -> Option<Self> {
        let decoded = Row::decode_all(&mut &*row).map(|Row::V1(stream)| stream);
        decoded.inspect_err(|error| tracing::error!(%error, "a row of `equals` does not decode")).ok()
    }

    fn to_row(&self) -> Vec<u8> {
        Row::V1(self.clone()).encode()
    }

    fn at(&self) -> Option<(Hash, u32)> {
        self.stripes.first().map(|first| (first.0, self.offset))
    }

    fn is(&self, part: &PartManifest) -> bool {
        (self.offset, self.plain_len, self.cipher_len) == (part.offset, part.plain_len, part.cipher_len)
            && self.stripes.iter().copied().eq(part.stripes.iter().map(|record| record.id()))
    }
}

/// That a stream is entered of which an account wants only one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Equal {
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
    /// Its data key, wrapped for the fingerprint.
    pub key: WrappedKey,
    /// Whether the part is an earlier stream, rather than one that was stored now.
    pub is_earlier: bool,
}

fn get(transaction: &WriteTransaction, fingerprint: &Fingerprint) -> Result<Option<Stream>, MetaError> {
    Ok(transaction.open_table(EQUALS)?.get(*fingerprint)?.and_then(|row| Stream::of_row(row.value())))
}

/// Refuses a part that is no more where it was found, and one that was stored although there is an equal one by now. Comes before
/// [`stripes::require`], which would take stripes that went with the last object for ones that the leader took back.
pub(super) fn check(
    transaction: &WriteTransaction,
    account: &str,
    part: &PartManifest,
    equal: &Equal,
) -> Result<(), MetaError> {
    let found = get(transaction, &equal.fingerprint)?.filter(|found| found.account == account);
    match (found, equal.is_earlier) {
        (Some(found), true) if found.is(part) => Ok(()),
        (_, true) => Err(MetaError::EqualGone),
        (Some(_), false) => Err(MetaError::EqualThere),
        (None, false) => Ok(()),
    }
}

/// A part that was stored now, and whose stripes are held, is found from now on.
pub(super) fn enter(
    transaction: &WriteTransaction,
    account: &str,
    part: &PartManifest,
    equal: &Equal,
) -> Result<(), MetaError> {
    if equal.is_earlier {
        return Ok(());
    }
    let stream = Stream {
        account: account.to_owned(),
        plain_len: part.plain_len,
        cipher_len: part.cipher_len,
        offset: part.offset,
        key: equal.key.clone(),
        stripes: part.stripes.iter().map(|record| record.id()).collect(),
    };
    let Some(at) = stream.at() else { return Ok(()) };
    transaction.open_table(EQUAL_AT)?.insert(at, equal.fingerprint.as_slice())?;
    transaction.open_table(EQUALS)?.insert(equal.fingerprint, stream.to_row().as_slice())
}

fn fingerprint(bytes: &[u8]) -> Result<Fingerprint, MetaError> {
    Fingerprint::try_from(bytes).map_err(|_| MetaError::Row("equal-at"))
}

/// A stripe is given up: what begins in it is not found any more.
pub(super) fn buried(transaction: &WriteTransaction, id: &StripeId) -> Result<(), MetaError> {
    let mut places = transaction.open_table(EQUAL_AT)?;
    let mut gone = Vec::new();
    for row in places.range((id.0, 0)..=(id.0, u32::MAX))? {
        let (at, print) = row?;
        gone.push((at.value(), fingerprint(print.value())?));
    }
    for (at, print) in gone {
        places.remove(at)?;
        if get(transaction, &print)?.is_some_and(|stream| stream.at() == Some(at)) {
            transaction.open_table(EQUALS)?.remove(print)?;
        }
    }
    Ok(())
}

/// What began there in a shared stripe begins somewhere else now.
pub(super) fn moved(
    transaction: &WriteTransaction,
    (from, before): (StripeId, u32),
    (to, after): (StripeId, u32),
) -> Result<(), MetaError> {
    let mut places = transaction.open_table(EQUAL_AT)?;
    let Some(print) = places.take((from.0, before))?.map(|row| fingerprint(row.value())).transpose()? else {
        return Ok(());
    };
    let Some(stream) = get(transaction, &print)?.filter(|stream| stream.at() == Some((from.0, before)))
    else {
        return Ok(());
    };
    places.insert((to.0, after), print.as_slice())?;
    let stream = Stream { offset: after, stripes: vec![to], ..stream };
    transaction.open_table(EQUALS)?.insert(print, stream.to_row().as_slice())
}

fn find(
    transaction: &ReadTransaction,
    account: &str,
    fingerprint: Fingerprint,
) -> Result<Option<PartManifest>, MetaError> {
    let row = transaction.open_table(EQUALS)?.get(fingerprint)?;
    let stream = row.and_then(|row| Stream::of_row(row.value())).filter(|stream| stream.account == account);
    let Some(Stream { plain_len, cipher_len, offset, key, stripes: ids, .. }) = stream else {
        return Ok(None);
    };
    let mut records = Vec::with_capacity(ids.len());
    for id in &ids {
        records.push(stripes::record(transaction, id)?.ok_or(MetaError::Row("equals"))?);
    }
    Ok(Some(PartManifest { plain_len, cipher_len, offset, key, stripes: records }))
}

impl Meta {
    /// The stream of an account that has this fingerprint; its key is wrapped for that.
    pub async fn equal(
        &self,
        account: String,
        fingerprint: Fingerprint,
    ) -> Result<Option<PartManifest>, MetaError> {
        self.look(move |transaction| find(transaction, &account, fingerprint)).await
    }
}
