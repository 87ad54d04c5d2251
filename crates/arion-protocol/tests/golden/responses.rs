//! One response of every kind.

use arion_protocol::{
    DrainProgress, ErrorCode, LedgerBase, LedgerEntry, LedgerPosition, LedgerRecord, ListedShard,
    MinerCustody, MinerReason, MinerState, MinerStatus, MinerTransition, NetworkDurability, Response,
    ShardBits, StripesAlike, Unnamed, UnnamedQuestion,
};

use crate::layout::*;

fn stat_fields() -> Vec<Field> {
    let mut fields = placement_fields();
    fields.push(field("stored at", STORED_AT.to_le_bytes()));
    fields
}

fn with(first: Vec<Field>, rest: Vec<Field>) -> Vec<Field> {
    first.into_iter().chain(rest).collect()
}

fn ledger() -> Sample<Response> {
    let entries = vec![
        LedgerEntry { sequence: 42, record: LedgerRecord::Stored(receipt()) },
        LedgerEntry { sequence: 43, record: LedgerRecord::Deleted { shard: shard() } },
    ];
    let first = vec![
        field("number of entries, compact", [8]),
        field("sequence", 42u64.to_le_bytes()),
        field("record: stored", [0]),
    ];
    let last = vec![
        field("sequence", 43u64.to_le_bytes()),
        field("record: deleted", [1]),
        field("shard", shard().0),
    ];
    let fields = with(with(first, receipt_fields()), last);
    sample("Ledger", 9, Response::Ledger(entries), fields, &[])
}

fn ledger_lines() -> Sample<Response> {
    let record = LedgerRecord::Released { shard: shard(), miner: public(&miner()) };
    let fields = vec![
        field("number of entries, compact", [4]),
        field("sequence", 44u64.to_le_bytes()),
        field("record: released", [2]),
        field("shard", shard().0),
        field("miner", public(&miner()).0),
    ];
    sample("LedgerLines", 15, Response::LedgerLines(vec![LedgerEntry { sequence: 44, record }]), fields, &[])
}

fn custody() -> Sample<Response> {
    let drain = DrainProgress { since: STORED_AT, begun_bytes: 9_000, bytes_per_second: 70 };
    let custody = MinerCustody {
        node_id: public(&miner()),
        in_map: true,
        held_bytes: 5_000,
        waiting_bytes: 3_000,
        surplus_bytes: 2_000,
        counted_at: STORED_AT,
        drain: Some(drain),
    };
    let fields = vec![
        field("number of miners, compact", [4]),
        field("miner", public(&miner()).0),
        field("in the map", [1]),
        field("held", 5_000u64.to_le_bytes()),
        field("waiting", 3_000u64.to_le_bytes()),
        field("surplus", 2_000u64.to_le_bytes()),
        field("counted at", STORED_AT.to_le_bytes()),
        field("being emptied", [1]),
        field("since", STORED_AT.to_le_bytes()),
        field("held then", 9_000u64.to_le_bytes()),
        field("bytes per second", 70u64.to_le_bytes()),
    ];
    sample("Custody", 16, Response::Custody(vec![custody]), fields, &[])
}

fn durability() -> Sample<Response> {
    let alike = StripesAlike { fewest: 11, families: 15, missing: 1, count: 3 };
    let found = NetworkDurability {
        taken_at: STORED_AT,
        epoch: 9,
        silent_gateways: 1,
        shards: 90,
        present: 87,
        bytes: 450,
        bad: 2,
        stripes: vec![alike],
    };
    let fields = vec![
        field("taken at", STORED_AT.to_le_bytes()),
        field("epoch", 9u64.to_le_bytes()),
        field("silent gateways", 1u32.to_le_bytes()),
        field("shards", 90u64.to_le_bytes()),
        field("present", 87u64.to_le_bytes()),
        field("bytes", 450u64.to_le_bytes()),
        field("bad", 2u64.to_le_bytes()),
        field("number of kinds of stripes, compact", [4]),
        field("fewest families", [11]),
        field("families", [15]),
        field("missing", [1]),
        field("stripes", 3u64.to_le_bytes()),
    ];
    sample("Durability", 17, Response::Durability(found), fields, &[])
}

/// The second of the two shards of the golden question.
fn unnamed() -> Sample<Response> {
    let mut bits = [0; 128];
    bits[0] = 2;
    let asked = [shard(), arion_types::ShardHash(STRIPE)];
    let word = Unnamed {
        miner: public(&miner()),
        epoch: 9,
        block: 70,
        shards: ShardBits(bits),
        ledgers: vec![LedgerPosition { gateway: public(&gateway()), sequence: 44 }],
    };
    let signed = word.sign(&GENESIS, UnnamedQuestion { shards: &asked, but: None }, &validator());
    let fields = vec![
        field("miner", public(&miner()).0),
        field("epoch", 9u64.to_le_bytes()),
        field("block", 70u32.to_le_bytes()),
        field("a bit for each shard", bits),
        field("number of ledgers, compact", [4]),
        field("gateway", public(&gateway()).0),
        field("sequence", 44u64.to_le_bytes()),
        field("validator", public(&validator()).0),
        field("signature by the validator", signed.signature),
    ];
    sample("Unnamed", 18, Response::Unnamed(Box::new(signed)), fields, &[])
}

/// Of three segments: the root over the first two, and that over the third.
fn ledger_base() -> Sample<Response> {
    let base = LedgerBase { peaks: vec![[0x55; 32], [0x66; 32]], until: 12_288, line: 13_000 };
    let fields = vec![
        field("number of roots, compact", [8]),
        field("root over lines 1 to 8,192", [0x55; 32]),
        field("root over lines 8,193 to 12,288", [0x66; 32]),
        field("until", 12_288u64.to_le_bytes()),
        field("line", 13_000u64.to_le_bytes()),
    ];
    sample("LedgerBase", 20, Response::LedgerBase(base), fields, &[])
}

fn transitions() -> Sample<Response> {
    let miner = public(&miner());
    let first = MinerTransition {
        miner,
        at: STORED_AT,
        from: None,
        to: MinerState::Joining,
        reason: MinerReason::Settling,
    };
    let second = MinerTransition {
        miner,
        at: EXPIRES_AT,
        from: Some(MinerState::Joining),
        to: MinerState::Out,
        reason: MinerReason::AuditsFailed { failures: 41 },
    };
    let fields = vec![
        field("number of lines, compact", [8]),
        field("miner", miner.0),
        field("at", STORED_AT.to_le_bytes()),
        field("it was not known", [0]),
        field("state: joining", [2]),
        field("reason: settling", [1]),
        field("miner", miner.0),
        field("at", EXPIRES_AT.to_le_bytes()),
        field("it was known", [1]),
        field("before: joining", [2]),
        field("state: out", [5]),
        field("reason: audits failed", [8]),
        field("failures", 41u32.to_le_bytes()),
    ];
    sample("Transitions", 19, Response::Transitions(vec![first, second]), fields, &[])
}

fn miners() -> Sample<Response> {
    let status = MinerStatus {
        node_id: public(&miner()),
        state: MinerState::Online,
        last_seen: STORED_AT,
        endpoint: b"[::1]:9000".to_vec().try_into().unwrap(),
        capacity_bytes: 1 << 40,
        used_bytes: 5,
        shard_count: 1,
    };
    let fields = vec![
        field("number of miners, compact", [4]),
        field("miner", public(&miner()).0),
        field("state", [1]),
        field("last seen", STORED_AT.to_le_bytes()),
        field("length of the endpoint, compact", [40]),
        field("endpoint", b"[::1]:9000"),
        field("capacity", (1u64 << 40).to_le_bytes()),
        field("used", 5u64.to_le_bytes()),
        field("shards", 1u64.to_le_bytes()),
    ];
    sample("Miners", 10, Response::Miners(vec![status]), fields, &[])
}

pub(crate) fn all() -> Vec<Sample<Response>> {
    let five = 5u32.to_le_bytes();
    vec![
        sample(
            "Error",
            0,
            Response::error(ErrorCode::NotFound, "not stored here"),
            vec![
                field("code", [9]),
                field("length of the detail, compact", [60]),
                field("detail", b"not stored here"),
            ],
            &[],
        ),
        sample(
            "Pong",
            1,
            Response::Pong { now: STORED_AT },
            vec![field("now", STORED_AT.to_le_bytes())],
            &[],
        ),
        sample("Stored", 2, Response::Stored(receipt()), receipt_fields(), &[]),
        sample(
            "Shard, and the shard (to FetchRange: the range proof)",
            3,
            Response::Shard { size: 5 },
            vec![field("size", five)],
            SHARD,
        ),
        sample(
            "Stats",
            4,
            Response::Stats(vec![Some(stat()), None]),
            with(
                with(vec![field("number of shards, compact", [8]), field("stored here", [1])], stat_fields()),
                vec![field("not stored here", [0])],
            ),
            &[],
        ),
        sample(
            "Listing",
            5,
            Response::Listing(vec![ListedShard { shard: shard(), stat: stat() }]),
            with(vec![field("number of shards, compact", [4]), field("shard", shard().0)], stat_fields()),
            &[],
        ),
        sample("Deleted", 6, Response::Deleted { existed: true }, vec![field("existed", [1])], &[]),
        sample(
            "Proof, and the proof (a shard of one chunk group: its bytes)",
            7,
            Response::Proof { size: 5 },
            vec![field("size", five)],
            SHARD,
        ),
        sample(
            "HeartbeatAccepted",
            8,
            Response::HeartbeatAccepted { epoch: 9 },
            vec![field("epoch", 9u64.to_le_bytes())],
            &[],
        ),
        ledger(),
        miners(),
        sample(
            "AttestationsQueued",
            11,
            Response::AttestationsQueued { new: 1 },
            vec![field("new", 1u32.to_le_bytes())],
            &[],
        ),
        sample("Restored", 12, Response::Restored { exists: true }, vec![field("exists", [1])], &[]),
        sample("Relocated", 13, Response::Relocated { wanted: true }, vec![field("wanted", [1])], &[]),
        sample(
            "AttestationsKept",
            14,
            Response::AttestationsKept { new: 3, exhibits: 2 },
            vec![field("new", 3u32.to_le_bytes()), field("exhibits", 2u32.to_le_bytes())],
            &[],
        ),
        ledger_lines(),
        custody(),
        durability(),
        unnamed(),
        transitions(),
        ledger_base(),
    ]
}
