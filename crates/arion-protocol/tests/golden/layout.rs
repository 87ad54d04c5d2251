//! The nodes and shards that the golden messages speak of, and fields laid out by hand.

use std::fmt::Write;

use arion_protocol::{Action, Command, ShardPlacement, ShardStat, SignedCommand};
use arion_types::{GenesisHash, NodeId, Receipt, ShardHash, SignedReceipt, StripeId, signing};
use ed25519_dalek::SigningKey;

pub(crate) const ID: u64 = 0x0102_0304_0506_0708;
pub(crate) const GENESIS: GenesisHash = [0x11; 32];
pub(crate) const SHARD: &[u8] = b"arion";
pub(crate) const STRIPE: [u8; 32] = [0x22; 32];
pub(crate) const NONCE: [u8; 16] = [0x33; 16];
pub(crate) const SEED: [u8; 32] = [0x44; 32];
pub(crate) const EXPIRES_AT: u64 = 1_795_000_060_000;
pub(crate) const STORED_AT: u64 = 1_795_000_000_000;

/// Seed of the Ed25519 key: 32 bytes of 1.
pub(crate) fn gateway() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

/// Seed of the Ed25519 key: 32 bytes of 2.
pub(crate) fn miner() -> SigningKey {
    SigningKey::from_bytes(&[2; 32])
}

/// Seed of the Ed25519 key: 32 bytes of 3.
pub(crate) fn warden() -> SigningKey {
    SigningKey::from_bytes(&[3; 32])
}

/// Seed of the Ed25519 key: 32 bytes of 4.
pub(crate) fn validator() -> SigningKey {
    SigningKey::from_bytes(&[4; 32])
}

pub(crate) fn public(key: &SigningKey) -> NodeId {
    signing::node_id(key)
}

pub(crate) fn shard() -> ShardHash {
    ShardHash(blake3::hash(SHARD).into())
}

pub(crate) fn placement() -> ShardPlacement {
    ShardPlacement { stripe: StripeId(STRIPE), pg: 515, index: 7, epoch: 9, size: SHARD.len() as u32 }
}

pub(crate) fn stat() -> ShardStat {
    ShardStat { placement: placement(), stored_at: STORED_AT }
}

pub(crate) fn command(action: Action) -> SignedCommand {
    let command =
        Command { action, shard: shard(), target: public(&miner()), nonce: NONCE, expires_at: EXPIRES_AT };
    command.sign(&GENESIS, &gateway())
}

pub(crate) fn receipt() -> SignedReceipt {
    let placement = placement();
    let receipt = Receipt {
        shard: shard(),
        size: placement.size,
        stripe: placement.stripe,
        pg: placement.pg,
        index: placement.index,
        epoch: placement.epoch,
        node_id: public(&miner()),
        stored_at: STORED_AT,
    };
    receipt.sign(&GENESIS, &miner())
}

/// One field: what it is and its bytes.
pub(crate) type Field = (&'static str, Vec<u8>);

pub(crate) fn field(name: &'static str, bytes: impl AsRef<[u8]>) -> Field {
    (name, bytes.as_ref().to_vec())
}

/// A frame as its file shows it.
pub(crate) struct Golden {
    title: String,
    kind: u8,
    fields: Vec<Field>,
    pub(crate) body: Vec<u8>,
}

/// A message and its frame.
pub(crate) struct Sample<M> {
    pub(crate) message: M,
    pub(crate) kind: u8,
    pub(crate) golden: Golden,
}

pub(crate) fn sample<M>(title: &str, kind: u8, message: M, fields: Vec<Field>, body: &[u8]) -> Sample<M> {
    Sample { message, kind, golden: Golden { title: title.to_owned(), kind, fields, body: body.to_vec() } }
}

/// The file: one field a line, `HEX  # NAME`.
pub(crate) fn text(golden: &Golden) -> String {
    let length: usize = 13 + golden.fields.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
    let mut lines = vec![
        field("length of the header", (length as u32).to_le_bytes()),
        field("id", ID.to_le_bytes()),
        field("length of the body", (golden.body.len() as u32).to_le_bytes()),
        field("kind", [golden.kind]),
    ];
    lines.extend(golden.fields.iter().cloned());
    if !golden.body.is_empty() {
        lines.push(field("body", &golden.body));
    }
    let mut text = format!("# {}\n", golden.title);
    for (name, bytes) in lines {
        writeln!(text, "{}  # {name}", hex::encode(bytes)).expect("a String takes what is written to it");
    }
    text
}

/// Fields of a placement.
pub(crate) fn placement_fields() -> Vec<Field> {
    vec![
        field("stripe", STRIPE),
        field("placement group", 515u32.to_le_bytes()),
        field("index", [7]),
        field("epoch", 9u64.to_le_bytes()),
        field("size", 5u32.to_le_bytes()),
    ]
}

/// Fields of a signed command; `action` is its number and what follows it.
pub(crate) fn command_fields(number: u8, action: Vec<Field>, signed: &SignedCommand) -> Vec<Field> {
    let mut fields = vec![field("action", [number])];
    fields.extend(action);
    fields.extend([
        field("shard", shard().0),
        field("target", public(&miner()).0),
        field("nonce", NONCE),
        field("expires at", EXPIRES_AT.to_le_bytes()),
        field("signer", public(&gateway()).0),
        field("signature", signed.signature),
    ]);
    fields
}

/// Fields of the signed receipt.
pub(crate) fn receipt_fields() -> Vec<Field> {
    vec![
        field("shard", shard().0),
        field("size", 5u32.to_le_bytes()),
        field("stripe", STRIPE),
        field("placement group", 515u32.to_le_bytes()),
        field("index", [7]),
        field("epoch", 9u64.to_le_bytes()),
        field("miner", public(&miner()).0),
        field("stored at", STORED_AT.to_le_bytes()),
        field("signature", receipt().signature),
    ]
}
