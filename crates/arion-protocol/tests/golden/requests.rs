//! One request of every kind.

use arion_protocol::{Action, Heartbeat, Request};
use arion_types::{AttestationRecord, AttestationResult};

use crate::layout::*;

const ENDPOINT: &[u8] = b"127.0.0.1:9000";

fn heartbeat() -> Request {
    let heartbeat = Heartbeat {
        node_id: public(&miner()),
        endpoint: ENDPOINT.to_vec().try_into().unwrap(),
        capacity_bytes: 1 << 40,
        used_bytes: 5,
        shard_count: 1,
        draining: false,
        version: (0, 1, 2),
        sent_at: STORED_AT,
    };
    Request::Heartbeat(heartbeat.sign(&GENESIS, &miner()))
}

fn heartbeat_fields() -> Vec<Field> {
    let Request::Heartbeat(signed) = heartbeat() else { unreachable!("made above") };
    vec![
        field("miner", public(&miner()).0),
        field("length of the endpoint, compact", [4 * ENDPOINT.len() as u8]),
        field("endpoint", ENDPOINT),
        field("capacity", (1u64 << 40).to_le_bytes()),
        field("used", 5u64.to_le_bytes()),
        field("shards", 1u64.to_le_bytes()),
        field("draining", [0]),
        field("version", [0, 0, 1, 0, 2, 0]),
        field("sent at", STORED_AT.to_le_bytes()),
        field("signature", signed.signature),
    ]
}

/// A record with this result, and its bytes.
fn attestation(result: AttestationResult, answer: &[u8]) -> Vec<u8> {
    let seed = arion_types::attestation::challenge_seed(
        &SEED,
        &public(&warden()).0,
        &public(&miner()).0,
        &shard().0,
    );
    let answer: [u8; 32] = blake3::hash(answer).into();
    let mut record = AttestationRecord {
        shard_hash: shard().0,
        miner_uid: 12,
        result,
        challenge_seed: seed,
        block_number: 34,
        timestamp: STORED_AT,
        warden_pubkey: [0; 32],
        signature: [0; 64],
        merkle_proof_sig_hash: answer,
        warden_id: b"w1".to_vec().try_into().unwrap(),
    };
    record.sign(&GENESIS, &warden());
    [
        &shard().0[..],
        &12u32.to_le_bytes(),
        &[result as u8],
        &seed,
        &34u64.to_le_bytes(),
        &STORED_AT.to_le_bytes(),
        &public(&warden()).0,
        &record.signature,
        &answer,
        &[8],
        b"w1",
    ]
    .concat()
}

/// The body of `Attest`: a list of one record.
fn attestations() -> Vec<u8> {
    [vec![4], attestation(AttestationResult::Passed, SHARD)].concat()
}

/// The body of `AttestShown`: a pass with the proof, which is the whole shard; a refusal; silence.
fn shown_attestations() -> Vec<u8> {
    let size = (SHARD.len() as u32).to_le_bytes();
    [
        &[12][..],
        &attestation(AttestationResult::Passed, SHARD),
        &[&[1][..], &size, &[4 * SHARD.len() as u8], SHARD].concat(),
        &attestation(AttestationResult::Failed, b""),
        &[&[2][..], &size, &[9]].concat(),
        &attestation(AttestationResult::Timeout, b""),
        &[0],
    ]
    .concat()
}

pub(crate) fn all() -> Vec<Sample<Request>> {
    let hash = shard().0;
    let store = command(Action::Store(placement()));
    let delete = command(Action::Delete);
    let restore = command(Action::Restore);
    let other = public(&gateway());
    let proof = "a shard of one chunk group: its proof is its bytes";
    vec![
        sample("Ping", 0, Request::Ping, vec![], &[]),
        sample(
            "Store, and the shard",
            1,
            Request::Store(store),
            command_fields(0, placement_fields(), &store),
            SHARD,
        ),
        sample("Fetch", 2, Request::Fetch { shard: shard() }, vec![field("shard", hash)], &[]),
        sample(
            &format!("FetchRange ({proof})"),
            3,
            Request::FetchRange { shard: shard(), offset: 1, length: 3 },
            vec![
                field("shard", hash),
                field("offset", 1u32.to_le_bytes()),
                field("length", 3u32.to_le_bytes()),
            ],
            &[],
        ),
        sample(
            "Stat",
            4,
            Request::Stat { shards: vec![shard(), arion_types::ShardHash(STRIPE)] },
            vec![field("number of shards, compact", [8]), field("shard", hash), field("shard", STRIPE)],
            &[],
        ),
        sample(
            "List",
            5,
            Request::List { after: Some(shard()), limit: 1024 },
            vec![field("after is given", [1]), field("after", hash), field("limit", 1024u16.to_le_bytes())],
            &[],
        ),
        sample("Delete", 6, Request::Delete(delete), command_fields(1, vec![], &delete), &[]),
        sample(
            "Challenge",
            7,
            Request::Challenge { shard: shard(), seed: SEED },
            vec![field("shard", hash), field("seed", SEED)],
            &[],
        ),
        sample("Heartbeat", 8, heartbeat(), heartbeat_fields(), &[]),
        sample(
            "LedgerPage",
            9,
            Request::LedgerPage { after: 41, limit: 512 },
            vec![field("after", 41u64.to_le_bytes()), field("limit", 512u16.to_le_bytes())],
            &[],
        ),
        sample(
            "Miners",
            10,
            Request::Miners { after: Some(other), limit: 512 },
            vec![field("after is given", [1]), field("after", other.0), field("limit", 512u16.to_le_bytes())],
            &[],
        ),
        sample("Attest, and a list of one record", 11, Request::Attest, vec![], &attestations()),
        sample("Restore", 12, Request::Restore(restore), command_fields(2, vec![], &restore), &[]),
        sample(
            "Relocated",
            13,
            Request::Relocated { receipts: vec![receipt()] },
            [vec![field("number of receipts, compact", [4])], receipt_fields()].concat(),
            &[],
        ),
        sample(
            "AttestShown, and a list of three records with what they rest on",
            14,
            Request::AttestShown,
            vec![],
            &shown_attestations(),
        ),
        sample(
            "LedgerSince",
            15,
            Request::LedgerSince { after: 41, limit: 512 },
            vec![field("after", 41u64.to_le_bytes()), field("limit", 512u16.to_le_bytes())],
            &[],
        ),
        sample(
            "Custody",
            16,
            Request::Custody { after: Some(other), limit: 512 },
            vec![field("after is given", [1]), field("after", other.0), field("limit", 512u16.to_le_bytes())],
            &[],
        ),
        sample("Durability", 17, Request::Durability, vec![], &[]),
        sample(
            "LedgerFrom",
            18,
            Request::LedgerFrom { after: 41, limit: 512, version: 3 },
            vec![
                field("after", 41u64.to_le_bytes()),
                field("limit", 512u16.to_le_bytes()),
                field("version", [3]),
            ],
            &[],
        ),
        sample(
            "Unnamed",
            19,
            Request::Unnamed { shards: vec![shard(), arion_types::ShardHash(STRIPE)] },
            vec![field("number of shards, compact", [8]), field("shard", hash), field("shard", STRIPE)],
            &[],
        ),
        sample(
            "Transitions",
            20,
            Request::Transitions { after: Some(other), limit: 1024, newest: 16 },
            vec![
                field("after is given", [1]),
                field("after", other.0),
                field("limit", 1024u16.to_le_bytes()),
                field("newest", [16]),
            ],
            &[],
        ),
        sample("LedgerBase", 21, Request::LedgerBase, vec![], &[]),
        sample(
            "UnnamedByOthers",
            22,
            Request::UnnamedByOthers { gateway: other, shards: vec![shard()] },
            vec![field("gateway", other.0), field("number of shards, compact", [4]), field("shard", hash)],
            &[],
        ),
    ]
}
