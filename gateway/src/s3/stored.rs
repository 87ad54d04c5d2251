//! Documents of S3 as rows: the XML that clients send and get.

use s3s::{
    S3Result, s3_error,
    xml::{Deserialize, Deserializer, Serialize, Serializer},
};

/// A document as a row.
pub(super) fn to_row<T: Serialize>(document: &T) -> S3Result<Vec<u8>> {
    let mut xml = Vec::new();
    let written = document.serialize(&mut Serializer::new(&mut xml));
    written.map(|()| xml).map_err(|_| s3_error!(InternalError, "a document cannot be written"))
}

/// A document from a row.
pub(super) fn from_row<T: for<'xml> Deserialize<'xml>>(row: &[u8]) -> S3Result<T> {
    T::deserialize(&mut Deserializer::new(row)).map_err(|error| {
        tracing::error!(%error, "a document of a bucket does not parse");
        s3_error!(InternalError, "a document of the bucket does not parse")
    })
}
