//! Receipts of objects: a file that proves, without anybody being asked, that a gateway stated in which stripes an object is, and that
//! miners signed for enough shards of each.
//!
//! # Invariants
//! - Whatever a file claims is signed: by the gateway, or by a miner. [`PutReceipt::verify`] takes nothing else.
//!
//! # Not here
//! Whether the keys that signed are a gateway's and miners': the chain says so ([`Proven::receipts`] is what is compared with
//! its maps).
//!
//! Specified in docs/spec/receipt.md; frozen by vectors/put-receipt.json.

use std::collections::{BTreeMap, BTreeSet};

use arion_types::{
    GenesisHash, NodeId, ObjectStatement, Receipt, ShardHash, SignedReceipt, StatedPart, StatedStripe,
    signing, stripe::stripe_id, units::SHARD_BYTES_MAX,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// What the first field of a file says.
pub const FORMAT: &str = "arion put receipt 1";
/// Shards beyond those that are enough to read a stripe, whose miners have to have signed.
pub const QUORUM_EXTRA: usize = 10;

/// Bytes that are hex in files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hex<const N: usize>(pub [u8; N]);

impl<const N: usize> Serialize for Hex<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(self.0))
    }
}

impl<'de, const N: usize> Deserialize<'de> for Hex<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (text, mut bytes) = (String::deserialize(deserializer)?, [0; N]);
        hex::decode_to_slice(&text, &mut bytes)
            .map_err(|_| de::Error::custom(format_args!("`{text}` is not {} hexadecimal digits", 2 * N)))?;
        Ok(Self(bytes))
    }
}

/// A receipt of an object, as its file has it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PutReceipt {
    /// [`FORMAT`].
    pub format: String,
    /// Hash of block 0 of the chain that all of it is signed for.
    pub genesis: Hex<32>,
    /// Node id of the gateway.
    pub gateway: Hex<32>,
    /// When it was made, milliseconds since the Unix epoch.
    pub stated_ms: u64,
    /// What it is about.
    pub object: Object,
    /// Where that is.
    pub parts: Vec<Part>,
    /// By the gateway, over everything but the receipts of miners.
    pub signature: Hex<64>,
}

/// An object, as clients know it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Object {
    /// Its bucket.
    pub bucket: String,
    /// Its key.
    pub key: String,
    /// Its version, where the bucket keeps versions.
    pub version: Option<String>,
    /// Bytes.
    pub size: u64,
    /// ETag without quotes.
    pub etag: String,
    /// Checksums of S3 by name.
    pub checksums: BTreeMap<String, String>,
    /// When it was written, milliseconds since the Unix epoch.
    pub modified_ms: u64,
}

/// A part of an object.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Bytes of plaintext.
    pub size: u64,
    /// Bytes of ciphertext.
    pub stored: u64,
    /// Where they begin in a stripe that is shared.
    pub offset: u32,
    /// Its stripes, in order.
    pub stripes: Vec<Stripe>,
}

/// A stripe with the receipts for its shards.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stripe {
    /// Epoch of the map that placed it.
    pub epoch: u64,
    /// Bytes of ciphertext in it.
    pub len: u32,
    /// Bytes of each shard.
    pub shard_len: u32,
    /// Shards that are enough to read it.
    pub data_shards: u8,
    /// Addresses of its shards by index.
    pub shards: Vec<Hex<32>>,
    /// What miners signed.
    pub receipts: Vec<ShardReceipt>,
}

/// What a miner signed for a shard; the stripe says the rest.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardReceipt {
    /// Position in the stripe.
    pub index: u8,
    /// Node id of the miner.
    pub miner: Hex<32>,
    /// Epoch of the map that placed it there.
    pub epoch: u64,
    /// Placement group of the stripe under that map.
    pub pg: u32,
    /// When it was durable, milliseconds since the Unix epoch.
    pub stored_at_ms: u64,
    /// By the miner.
    pub signature: Hex<64>,
}

/// Why a file proves nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PutReceiptFault {
    /// Another format.
    #[error("the file is not an `{FORMAT}`")]
    Format,
    /// The gateway did not sign this.
    #[error("the signature of the gateway does not hold for what the file says")]
    Gateway,
    /// Sizes that do not fit each other.
    #[error(
        "the sizes of part {part} are not those of its stripes, or those of the parts not that of the object"
    )]
    Sizes {
        /// The part, from 1.
        part: usize,
    },
    /// Not a stripe.
    #[error("stripe {stripe} cannot be: its shards are too few, too many or of no possible length")]
    Stripe {
        /// The stripe, from 1.
        stripe: usize,
    },
    /// A miner did not sign this.
    #[error(
        "in stripe {stripe} the receipt for shard {index} is not signed by its miner for what the file says"
    )]
    Receipt {
        /// The stripe, from 1.
        stripe: usize,
        /// The shard.
        index: u8,
    },
    /// Two receipts for a shard, or by a miner.
    #[error("in stripe {stripe} a shard or a miner is there twice, with shard {index}")]
    Twice {
        /// The stripe, from 1.
        stripe: usize,
        /// The shard.
        index: u8,
    },
    /// Too few receipts.
    #[error("in stripe {stripe} {found} miners signed; {needed} are needed")]
    TooFew {
        /// The stripe, from 1.
        stripe: usize,
        /// How many there are.
        found: usize,
        /// How many there have to be.
        needed: usize,
    },
}

/// What a file proves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proven {
    /// The chain.
    pub genesis: GenesisHash,
    /// What it is about.
    pub object: Object,
    /// What the gateway signed.
    pub statement: ObjectStatement,
    /// All receipts that hold, by stripe.
    pub receipts: Vec<Vec<SignedReceipt>>,
}

impl Proven {
    /// The miners that signed.
    pub fn miners(&self) -> BTreeSet<NodeId> {
        self.receipts.iter().flatten().map(|signed| signed.receipt.node_id).collect()
    }

    /// The epochs of the maps that miners named.
    pub fn epochs(&self) -> BTreeSet<u64> {
        self.receipts.iter().flatten().map(|signed| signed.receipt.epoch).collect()
    }

    /// Fewest receipts of a stripe; none if there is no stripe.
    pub fn fewest(&self) -> Option<usize> {
        self.receipts.iter().map(Vec::len).min()
    }

    /// When the first and the last shard were durable, milliseconds since the Unix epoch.
    pub fn stored_ms(&self) -> Option<(u64, u64)> {
        let times = || self.receipts.iter().flatten().map(|signed| signed.receipt.stored_at);
        Some((times().min()?, times().max()?))
    }
}

impl Stripe {
    fn hashes(&self) -> Vec<ShardHash> {
        self.shards.iter().map(|Hex(hash)| ShardHash(*hash)).collect()
    }

    fn stated(&self) -> StatedStripe {
        StatedStripe {
            stripe: stripe_id(&self.hashes()),
            epoch: self.epoch,
            len: self.len,
            shard_len: self.shard_len,
            data_shards: self.data_shards,
            shards: u8::try_from(self.shards.len()).unwrap_or(u8::MAX),
        }
    }

    /// Whether there can be such a stripe.
    fn is_possible(&self) -> bool {
        let data = usize::from(self.data_shards);
        (1..=usize::from(u8::MAX)).contains(&self.shards.len())
            && (1..=self.shards.len()).contains(&data)
            && (1..=SHARD_BYTES_MAX).contains(&self.shard_len)
            && u64::from(self.len) <= u64::from(self.shard_len) * u64::from(self.data_shards)
    }

    /// The receipts, if all hold and they are enough.
    fn verify(&self, genesis: &GenesisHash, stripe: usize) -> Result<Vec<SignedReceipt>, PutReceiptFault> {
        let id = stripe_id(&self.hashes());
        let (mut indices, mut miners) = (BTreeSet::new(), BTreeSet::new());
        let mut held = Vec::with_capacity(self.receipts.len());
        for given in &self.receipts {
            let index = given.index;
            let shard = self.shards.get(usize::from(index));
            let Some(Hex(shard)) = shard else { return Err(PutReceiptFault::Receipt { stripe, index }) };
            let receipt = Receipt {
                shard: ShardHash(*shard),
                size: self.shard_len,
                stripe: id,
                pg: given.pg,
                index,
                epoch: given.epoch,
                node_id: NodeId(given.miner.0),
                stored_at: given.stored_at_ms,
            };
            let signed = SignedReceipt { receipt, signature: given.signature.0 };
            if !signed.verify(genesis) {
                return Err(PutReceiptFault::Receipt { stripe, index });
            }
            if !indices.insert(index) || !miners.insert(receipt.node_id) {
                return Err(PutReceiptFault::Twice { stripe, index });
            }
            held.push(signed);
        }
        let (found, needed) = (held.len(), usize::from(self.data_shards) + QUORUM_EXTRA);
        if found < needed { Err(PutReceiptFault::TooFew { stripe, found, needed }) } else { Ok(held) }
    }
}

impl Part {
    /// Whether its ciphertext is what its stripes have, or lies in the only one.
    fn fits(&self) -> bool {
        let whole = self.stripes.iter().map(|stripe| u64::from(stripe.len)).sum::<u64>();
        match self.stripes.as_slice() {
            [only] => {
                u64::from(self.offset).checked_add(self.stored).is_some_and(|end| end <= u64::from(only.len))
            }
            _ => self.offset == 0 && self.stored == whole,
        }
    }
}

impl PutReceipt {
    /// Of a statement, its signature, and for each of its stripes, in order, the addresses of its shards with receipts.
    pub fn new(
        genesis: &GenesisHash,
        statement: ObjectStatement,
        signature: [u8; 64],
        stripes: Vec<(Vec<ShardHash>, Vec<SignedReceipt>)>,
    ) -> Self {
        let mut stripes = stripes.into_iter();
        let part = |part: StatedPart| Part {
            size: part.size,
            stored: part.stored,
            offset: part.offset,
            stripes: part.stripes.into_iter().zip(stripes.by_ref()).map(stripe).collect(),
        };
        Self {
            format: FORMAT.to_owned(),
            genesis: Hex(*genesis),
            gateway: Hex(statement.gateway.0),
            stated_ms: statement.stated_ms,
            parts: statement.parts.into_iter().map(part).collect(),
            object: Object {
                bucket: statement.bucket,
                key: statement.key,
                version: statement.version,
                size: statement.size,
                etag: statement.etag,
                checksums: statement.checksums.into_iter().collect(),
                modified_ms: statement.modified_ms,
            },
            signature: Hex(signature),
        }
    }

    /// What the gateway has to have signed.
    pub fn statement(&self) -> ObjectStatement {
        let part = |part: &Part| StatedPart {
            size: part.size,
            stored: part.stored,
            offset: part.offset,
            stripes: part.stripes.iter().map(Stripe::stated).collect(),
        };
        let object = self.object.clone();
        ObjectStatement {
            gateway: NodeId(self.gateway.0),
            stated_ms: self.stated_ms,
            bucket: object.bucket,
            key: object.key,
            version: object.version,
            size: object.size,
            etag: object.etag,
            checksums: object.checksums.into_iter().collect(),
            modified_ms: object.modified_ms,
            parts: self.parts.iter().map(part).collect(),
        }
    }

    /// What it proves, if everything in it is signed and enough.
    pub fn verify(&self) -> Result<Proven, PutReceiptFault> {
        if self.format != FORMAT {
            return Err(PutReceiptFault::Format);
        }
        let (genesis, statement) = (self.genesis.0, self.statement());
        let stripes = || self.parts.iter().flat_map(|part| &part.stripes).zip(1..);
        if let Some((_, stripe)) = stripes().find(|(stripe, _)| !stripe.is_possible()) {
            return Err(PutReceiptFault::Stripe { stripe });
        }
        if !signing::verify(&statement.gateway.0, &statement.message(&genesis), &self.signature.0) {
            return Err(PutReceiptFault::Gateway);
        }
        let mut size = Some(0u64);
        for (part, number) in self.parts.iter().zip(1..) {
            if !part.fits() {
                return Err(PutReceiptFault::Sizes { part: number });
            }
            size = size.and_then(|size| size.checked_add(part.size));
        }
        if size != Some(self.object.size) {
            return Err(PutReceiptFault::Sizes { part: self.parts.len() });
        }
        let receipts = stripes().map(|(stripe, number)| stripe.verify(&genesis, number));
        let receipts = receipts.collect::<Result<_, _>>()?;
        Ok(Proven { genesis, object: self.object.clone(), statement, receipts })
    }
}

fn stripe((stated, (shards, receipts)): (StatedStripe, (Vec<ShardHash>, Vec<SignedReceipt>))) -> Stripe {
    let receipt = |SignedReceipt { receipt, signature }: SignedReceipt| ShardReceipt {
        index: receipt.index,
        miner: Hex(receipt.node_id.0),
        epoch: receipt.epoch,
        pg: receipt.pg,
        stored_at_ms: receipt.stored_at,
        signature: Hex(signature),
    };
    Stripe {
        epoch: stated.epoch,
        len: stated.len,
        shard_len: stated.shard_len,
        data_shards: stated.data_shards,
        shards: shards.into_iter().map(|shard| Hex(shard.0)).collect(),
        receipts: receipts.into_iter().map(receipt).collect(),
    }
}

#[cfg(test)]
#[path = "put_receipt_tests.rs"]
mod tests;
