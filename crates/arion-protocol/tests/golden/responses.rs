//! One response of every kind.

use arion_protocol::{ErrorCode, LedgerEntry, LedgerRecord, ListedShard, MinerState, MinerStatus, Response};

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
    ]
}
