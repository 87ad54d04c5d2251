//! Files that prove something, and files that only look so.

use ed25519_dalek::SigningKey;

use super::*;

const GENESIS: GenesisHash = [7; 32];

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn sign(statement: &ObjectStatement) -> [u8; 64] {
    signing::sign(&key(200), &statement.message(&GENESIS))
}

/// Stripe `n` of 10 + 20 shards, with receipts for its first shards by as many miners.
fn stripe_of(n: u8, receipts: u8) -> (StatedStripe, (Vec<ShardHash>, Vec<SignedReceipt>)) {
    stripe_with(n, (10, 30), receipts)
}

fn stripe_with(
    n: u8,
    (data_shards, count): (u8, u8),
    receipts: u8,
) -> (StatedStripe, (Vec<ShardHash>, Vec<SignedReceipt>)) {
    let shards: Vec<_> = (0..count).map(|index| ShardHash(blake3::hash(&[n, index]).into())).collect();
    let id = stripe_id(&shards);
    let stated = StatedStripe {
        stripe: id,
        epoch: 3,
        len: 100 * u32::from(data_shards),
        shard_len: 100,
        data_shards,
        shards: count,
    };
    let receipt = |index: u8| {
        let miner = key(index + 1);
        let receipt = Receipt {
            shard: shards[usize::from(index)],
            size: 100,
            stripe: id,
            pg: 17,
            index,
            epoch: 3,
            node_id: signing::node_id(&miner),
            stored_at: 1_000 + u64::from(index),
        };
        receipt.sign(&GENESIS, &miner)
    };
    let receipts = (0..receipts).map(receipt).collect();
    (stated, (shards, receipts))
}

fn statement(parts: Vec<StatedPart>) -> ObjectStatement {
    ObjectStatement {
        gateway: signing::node_id(&key(200)),
        stated_ms: 5,
        bucket: "photos".into(),
        key: "2026/ü.raw".into(),
        version: Some("null".into()),
        size: parts.iter().map(|part| part.size).sum(),
        etag: "0123".into(),
        checksums: vec![("CRC32".into(), "AAAAAA==".into()), ("SHA256".into(), "x".into())],
        modified_ms: 4,
        parts,
    }
}

/// Two parts: two stripes of its own, and a piece of a shared one.
fn good() -> PutReceipt {
    let stripes = [stripe_of(1, 20), stripe_of(2, 30), stripe_of(3, 21)];
    let stated: Vec<_> = stripes.iter().map(|(stated, _)| *stated).collect();
    let statement = statement(vec![
        StatedPart { size: 1_968, stored: 2_000, offset: 0, stripes: stated[..2].to_vec() },
        StatedPart { size: 84, stored: 100, offset: 900, stripes: stated[2..].to_vec() },
    ]);
    let signature = sign(&statement);
    PutReceipt::new(&GENESIS, statement, signature, stripes.into_iter().map(|(_, with)| with).collect())
}

/// As the gateway would sign it.
fn signed(mut receipt: PutReceipt) -> PutReceipt {
    receipt.signature = Hex(sign(&receipt.statement()));
    receipt
}

#[test]
fn what_is_signed_is_proven() {
    let proven = good().verify().unwrap();
    assert_eq!((proven.miners().len(), proven.fewest(), proven.epochs().len()), (30, Some(20), 1));
    assert_eq!(proven.stored_ms(), Some((1_000, 1_029)));
    assert_eq!(proven.statement.size, 2_052);
    let empty = statement(Vec::new());
    let signature = sign(&empty);
    assert_eq!(PutReceipt::new(&GENESIS, empty, signature, Vec::new()).verify().unwrap().fewest(), None);
}

#[test]
fn what_is_not_is_told() {
    use PutReceiptFault::*;
    type Change = fn(&mut PutReceipt);
    let unsigned: [(Change, PutReceiptFault); 9] = [
        (|file| file.format.push('x'), Format),
        (|file| file.object.bucket.push('x'), Gateway),
        (|file| file.object.key.push('x'), Gateway),
        (|file| file.object.version = None, Gateway),
        (|file| file.object.etag.push('x'), Gateway),
        (|file| drop(file.object.checksums.remove("CRC32")), Gateway),
        (|file| file.gateway = Hex(signing::node_id(&key(201)).0), Gateway),
        (|file| file.genesis = Hex([8; 32]), Gateway),
        // Fewer shards would do.
        (|file| file.parts[0].stripes[0].data_shards = 5, Stripe { stripe: 1 }),
    ];
    for (number, (change, fault)) in unsigned.into_iter().enumerate() {
        let mut file = good();
        change(&mut file);
        assert_eq!(file.verify(), Err(fault), "{number}");
    }
    let by_the_gateway: [(Change, PutReceiptFault); 10] = [
        (|file| file.object.size += 1, Sizes { part: 2 }),
        (|file| file.parts[0].stored -= 1, Sizes { part: 1 }),
        (|file| file.parts[1].offset += 1, Sizes { part: 2 }),
        (|file| file.parts[0].stripes[1].shards.truncate(29), Receipt { stripe: 2, index: 0 }),
        (|file| file.parts[0].stripes[0].receipts.truncate(19), TooFew { stripe: 1, found: 19, needed: 20 }),
        (|file| file.parts[0].stripes[0].data_shards = 11, TooFew { stripe: 1, found: 20, needed: 21 }),
        (|file| file.parts[0].stripes[0].shard_len = 0, Stripe { stripe: 1 }),
        (|file| file.parts[1].stripes[0].receipts[4].stored_at_ms += 1, Receipt { stripe: 3, index: 4 }),
        (
            |file| {
                let again = file.parts[0].stripes[0].receipts[0].clone();
                file.parts[0].stripes[0].receipts[19] = again;
            },
            Twice { stripe: 1, index: 0 },
        ),
        (|file| file.parts[0].stripes.swap(0, 1), TooFew { stripe: 0, found: 0, needed: 0 }),
    ];
    for (number, (change, fault)) in by_the_gateway.into_iter().enumerate() {
        let mut file = good();
        change(&mut file);
        if number == 9 {
            // The order is the gateway's word.
            assert_eq!(file.verify(), Err(Gateway));
            assert!(signed(file).verify().is_ok());
            continue;
        }
        assert_eq!(signed(file).verify(), Err(fault), "{number}");
    }
}

/// A miner cannot stand for two shards of a stripe.
#[test]
fn a_miner_counts_once() {
    let mut file = good();
    let (stripe, miner) = (&mut file.parts[0].stripes[0], key(1));
    let receipt = Receipt {
        shard: ShardHash(stripe.shards[19].0),
        size: 100,
        stripe: stripe_id(&stripe.hashes()),
        pg: 17,
        index: 19,
        epoch: 3,
        node_id: signing::node_id(&miner),
        stored_at: 1,
    };
    let SignedReceipt { signature, .. } = receipt.sign(&GENESIS, &miner);
    stripe.receipts[19] = ShardReceipt {
        index: 19,
        miner: Hex(receipt.node_id.0),
        epoch: 3,
        pg: 17,
        stored_at_ms: 1,
        signature: Hex(signature),
    };
    assert_eq!(file.verify(), Err(PutReceiptFault::Twice { stripe: 1, index: 19 }));
}

/// Every byte of a file, changed: it proves nothing any more, or what it did before.
#[test]
fn a_changed_byte_is_told_or_changes_nothing_that_is_claimed() {
    // Small, because every change has signatures to verify.
    let (stated, with) = stripe_with(1, (1, 11), 11);
    let statement = statement(vec![StatedPart { size: 84, stored: 100, offset: 0, stripes: vec![stated] }]);
    let signature = sign(&statement);
    let file = PutReceipt::new(&GENESIS, statement, signature, vec![with]);
    let proven = file.verify().unwrap();
    let text = serde_json::to_vec_pretty(&file).unwrap();
    let mut told = 0;
    for at in 0..text.len() {
        // The lowest bit, the case of letters, and a space for whatever is there.
        for changed in [text[at] ^ 1, text[at] ^ 0x20, b' '] {
            let mut spoilt = text.clone();
            spoilt[at] = changed;
            match serde_json::from_slice::<PutReceipt>(&spoilt).map(|file| file.verify()) {
                Ok(Ok(found)) => {
                    assert!(found == proven, "byte {at} became {changed:#x} and claims something else")
                }
                _ => told += 1,
            }
        }
    }
    assert!(told > text.len(), "{told} of {} changes were told", 3 * text.len());
}

#[test]
fn files_are_those_of_the_vector() {
    let vector = include_str!("../vectors/put-receipt.json");
    let file: PutReceipt = serde_json::from_str(vector).unwrap();
    assert_eq!(file, good());
    assert_eq!(serde_json::to_string_pretty(&good()).unwrap() + "\n", vector);
    assert!(file.verify().is_ok());
}
