//! Chunks of rows and lists of chunks: the nodes of the tree that a snapshot is. How they are sealed, and opened again.
//!
//! # Invariants
//! - Every node is sealed under a random key of its own, which stands in the one reference to it: what is stored says nothing,
//!   and opens in no other place.
//! - The length of what is stored is one of few classes ([`padded_len`]).
//! - A node opens only as a whole: every byte is authenticated, every count is that of its reference, the padding is zeros.

use arion_crypto::{DataKey, Decryptor, Encryptor, SEGMENT_BYTES, TAG_BYTES, ciphertext_len};
use codec::{Decode, Encode};

use super::row::Row;
use crate::manifest::StripeRecord;

/// Version of the form of nodes.
pub const VERSION: u8 = 1;
/// Levels above the rows, at the most: more than any snapshot needs.
pub const LEVEL_MAX: u8 = 8;
/// Longest node, without its padding.
pub const NODE_BYTES_MAX: u32 = 4 << 20;
/// Least length of what is padded.
const PADDED_BYTES_MIN: usize = 4_096;
/// Version, level, number of items.
const HEADER_BYTES: usize = 6;
/// Domain of what equal nodes are known by.
const CONTENT: &str = "arion 2026-11 snapshot node v1";

/// What a node is known by to the gateway that wrote it: nobody else is told.
pub type ContentId = [u8; 32];

/// The length that `len` bytes are padded to: the next one of which only the four highest bits may be set, at least 4 KiB. So
/// there are eight classes between a length and its double, and padding adds less than an eighth.
pub fn padded_len(len: usize) -> usize {
    let len = len.max(PADDED_BYTES_MIN);
    let unit = 1 << (len.ilog2() - 3);
    len.div_ceil(unit) * unit
}

/// A node before it is sealed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plain {
    /// 0: rows; above: references to nodes of the level below.
    pub level: u8,
    /// Items in it.
    pub count: u32,
    /// Rows in it or below it.
    pub rows: u64,
    /// The items, one behind the other.
    pub body: Vec<u8>,
    /// Whether it has to lie where the newest map puts it, even if it was stored before.
    pub is_fresh: bool,
}

impl Plain {
    /// Without items.
    pub fn empty(level: u8) -> Self {
        Self { level, count: 0, rows: 0, body: Vec::new(), is_fresh: false }
    }

    /// As it is sealed, without the padding.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.body.len());
        bytes.extend_from_slice(&[VERSION, self.level]);
        bytes.extend_from_slice(&self.count.to_le_bytes());
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// What it is known by.
    pub fn id(&self) -> ContentId {
        content_id(&self.bytes())
    }
}

/// What a node of these bytes is known by.
pub fn content_id(bytes: &[u8]) -> ContentId {
    blake3::derive_key(CONTENT, bytes)
}

/// Where a node is, and what opens it.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct NodeRef {
    /// Its level.
    pub level: u8,
    /// Its bytes without the padding.
    pub bytes: u32,
    /// Rows in it or below it.
    pub rows: u64,
    /// The key that it is sealed under.
    pub key: [u8; 32],
    /// The stripe.
    pub stripe: StripeRecord,
}

/// Why a node is not what its reference says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NodeFault {
    /// A byte, or the key, is another one.
    #[error("it is not what was sealed: {0}")]
    Sealed(#[from] arion_crypto::OpenError),
    /// It has another length than its reference says.
    #[error("it has {found} bytes where its reference has {expected}")]
    Length {
        /// Bytes found.
        found: usize,
        /// Bytes it should have.
        expected: usize,
    },
    /// A later form.
    #[error("it has version {0}; this program reads {VERSION}: use the one that wrote it")]
    Version(u8),
    /// It stands on another level.
    #[error("it is of level {found} where level {expected} belongs")]
    Level {
        /// Its level.
        found: u8,
        /// The level it should have.
        expected: u8,
    },
    /// An item does not decode, or something stands behind the last one.
    #[error("item {0} of it does not decode, or is not its last")]
    Item(u32),
    /// Its rows are not as many as its reference says.
    #[error("it has {found} rows where its reference has {expected}")]
    Rows {
        /// Rows found.
        found: u64,
        /// Rows it should have.
        expected: u64,
    },
    /// Something stands in the padding.
    #[error("its padding is not empty")]
    Padding,
}

/// Seals bytes, padded to the length of their class.
pub fn seal_padded(bytes: &[u8], key: &DataKey) -> Vec<u8> {
    let padded = padded_len(bytes.len());
    let mut sealed = Vec::with_capacity(sealed_len(bytes.len()));
    let mut encryptor = Encryptor::new(key);
    let mut seal =
        |piece: &[u8]| encryptor.update(piece, &mut sealed).expect("a node is far below 2^32 segments");
    seal(bytes);
    seal(&vec![0; padded - bytes.len()]);
    encryptor.finish(&mut sealed).expect("a node is far below 2^32 segments");
    sealed
}

/// Bytes of what [`seal_padded`] makes of `len` bytes.
pub fn sealed_len(len: usize) -> usize {
    ciphertext_len(padded_len(len) as u64) as usize
}

/// Opens what [`seal_padded`] made, with the padding.
pub fn open_padded(sealed: &mut [u8], key: &DataKey) -> Result<Vec<u8>, arion_crypto::OpenError> {
    let decryptor = Decryptor::new(key);
    let mut plain = Vec::with_capacity(sealed.len());
    let count = sealed.len().div_ceil(SEGMENT_BYTES + TAG_BYTES).max(1);
    for (segment, piece) in sealed.chunks_mut(SEGMENT_BYTES + TAG_BYTES).enumerate() {
        plain.extend_from_slice(decryptor.open(segment as u64, segment + 1 == count, piece)?);
    }
    Ok(plain)
}

/// What is in a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Content {
    /// Rows.
    Rows(Vec<Row>),
    /// References to nodes of the level below, in order.
    Nodes(Vec<NodeRef>),
}

/// A node that was opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opened {
    /// What is in it.
    pub content: Content,
    /// What it is known by.
    pub id: ContentId,
}

impl NodeRef {
    /// Opens the node from the ciphertext in its stripe.
    pub fn open(&self, sealed: &mut [u8]) -> Result<Opened, NodeFault> {
        let bytes = self.bytes as usize;
        if bytes < HEADER_BYTES || self.bytes > NODE_BYTES_MAX || sealed.len() != sealed_len(bytes) {
            return Err(NodeFault::Length { found: sealed.len(), expected: sealed_len(bytes) });
        }
        let mut plain = open_padded(sealed, &DataKey::from_bytes(self.key))?;
        if plain[bytes..].iter().any(|byte| *byte != 0) {
            return Err(NodeFault::Padding);
        }
        plain.truncate(bytes);
        let id = content_id(&plain);
        let (header, mut body) = plain.split_at(HEADER_BYTES);
        if header[0] != VERSION {
            return Err(NodeFault::Version(header[0]));
        }
        if header[1] != self.level || self.level > LEVEL_MAX {
            return Err(NodeFault::Level { found: header[1], expected: self.level });
        }
        let count = u32::from_le_bytes([header[2], header[3], header[4], header[5]]);
        let content = match self.level {
            0 => Content::Rows(items(&mut body, count)?),
            _ => Content::Nodes(items(&mut body, count)?),
        };
        let mut found = u64::from(count);
        if let Content::Nodes(nodes) = &content {
            let below = self.level - 1;
            if let Some(node) = nodes.iter().find(|node| node.level != below) {
                return Err(NodeFault::Level { found: node.level, expected: below });
            }
            found = nodes.iter().map(|node| node.rows).fold(0, u64::saturating_add);
        }
        if found != self.rows {
            return Err(NodeFault::Rows { found, expected: self.rows });
        }
        Ok(Opened { content, id })
    }
}

fn items<T: Decode>(body: &mut &[u8], count: u32) -> Result<Vec<T>, NodeFault> {
    let mut items = Vec::new();
    for at in 0..count {
        items.push(T::decode(body).map_err(|_| NodeFault::Item(at))?);
    }
    if body.is_empty() { Ok(items) } else { Err(NodeFault::Item(count)) }
}
