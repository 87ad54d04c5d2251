//! Where the objects of bundles are stored, each under its BLAKE3 in hex.

use arion_bundle::{INDEX_BYTES_MAX, PART_BYTES_MAX};
use async_trait::async_trait;

/// Longest object.
pub const OBJECT_BYTES_MAX: usize =
    if INDEX_BYTES_MAX > PART_BYTES_MAX { INDEX_BYTES_MAX } else { PART_BYTES_MAX };

/// Why an object is not stored or not read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ShelfError {
    /// Nobody there, or the connection broke.
    #[error("cannot reach {endpoint}: {reason}")]
    Unreachable {
        /// The endpoint.
        endpoint: String,
        /// Why.
        reason: String,
    },
    /// Refused.
    #[error("the S3 endpoint refuses to {what}: HTTP status {status} {code}")]
    Refused {
        /// What was asked for.
        what: &'static str,
        /// HTTP status.
        status: u16,
        /// S3 error code.
        code: String,
    },
    /// Everybody must be able to read what was stored.
    #[error("what was stored cannot be read without a key: let everybody read the bucket (public-read)")]
    Private,
    /// What came back is not what was stored.
    #[error("object {0} came back with other bytes than were stored")]
    Damaged(String),
    /// The task was ended.
    #[error("stopping")]
    Stopping,
}

/// A store of objects that everybody can read.
#[async_trait]
pub trait Shelf: Send + Sync {
    /// Stores an object; doing it twice is harmless.
    async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), ShelfError>;
    /// Reads an object as a stranger would.
    async fn get(&self, name: &str) -> Result<Vec<u8>, ShelfError>;
}

/// Name of an object.
pub fn name_of(hash: &[u8; 32]) -> String {
    blake3::Hash::from_bytes(*hash).to_hex().to_string()
}

/// Reads an object and compares it with its name.
pub async fn read_back(shelf: &dyn Shelf, hash: &[u8; 32]) -> Result<(), ShelfError> {
    let name = name_of(hash);
    let bytes = shelf.get(&name).await?;
    if blake3::hash(&bytes).as_bytes() == hash { Ok(()) } else { Err(ShelfError::Damaged(name)) }
}
