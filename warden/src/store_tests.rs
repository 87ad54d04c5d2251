//! What a warden keeps.

use super::*;
use arion_types::StripeId;

const GATEWAY: NodeId = NodeId([7; 32]);

#[test]
fn a_full_disk_keeps_nothing_and_is_noticed() {
    let disk = arion_stranger::SmallDisk::default();
    let store = Store::on(Database::builder().create_with_backend(disk.clone()).unwrap()).unwrap();
    store.set_round(1).unwrap();
    store.check().unwrap();
    disk.fill();
    assert!(store.set_round(2).is_err());
    disk.clear();
    let said = store.check().unwrap_err().to_string();
    assert!(said.contains("make room"), "{said}");
}

fn target(node: u8, shard: u8) -> Target {
    Target { node: NodeId([node; 32]), shard: ShardHash([shard; 32]), size: 64, gateway: GATEWAY }
}

fn stored(node: u8, shard: u8) -> Change {
    Change::Stored(Receipt {
        shard: ShardHash([shard; 32]),
        size: 64,
        stripe: StripeId([1; 32]),
        pg: 0,
        index: 0,
        epoch: 1,
        node_id: NodeId([node; 32]),
        stored_at: 1,
    })
}

fn deleted(shard: u8) -> Change {
    Change::Deleted { shard: ShardHash([shard; 32]) }
}

fn record(n: u64) -> ShownAttestation {
    let exhibit = Exhibit::Answer { size: 64, bytes: vec![n as u8; 100] };
    ShownAttestation { record: crate::samples::record(NodeId([0; 32]), n), exhibit }
}

/// Who is released is not audited any more, until it signs again; a gateway releases only whom it named.
#[test]
fn a_released_miner_has_nothing_to_prove() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let released =
        |node: u8, shard: u8| Change::Released { shard: ShardHash([shard; 32]), miner: NodeId([node; 32]) };
    store.apply(&GATEWAY, &[stored(1, 1), stored(2, 1), stored(1, 2)], 3).unwrap();
    let other = NodeId([8; 32]);
    assert_eq!(store.apply(&other, &[released(1, 1)], 1).unwrap(), Applied::default());
    let applied = store.apply(&GATEWAY, &[released(1, 1), released(9, 1)], 5).unwrap();
    assert_eq!((applied.added, applied.removed), (vec![], vec![(NodeId([1; 32]), ShardHash([1; 32]))]));
    assert_eq!(store.shards().unwrap(), [(target(2, 1), 0), (target(1, 2), 0)]);
    let again = store.apply(&GATEWAY, &[stored(1, 1), released(1, 1), stored(1, 1)], 8).unwrap();
    assert_eq!(again.added, [target(1, 1)]);
    assert_eq!(store.shards().unwrap().len(), 3);
}

/// What was dropped of a ledger was deleted or released: it goes when all that was kept came, and nothing before.
#[test]
fn what_does_not_come_when_a_ledger_is_read_anew_goes_at_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let shards =
        |store: &Store| store.shards().unwrap().into_iter().map(|(target, _)| target).collect::<Vec<_>>();
    let other = NodeId([8; 32]);
    let others = Target { gateway: other, ..target(1, 9) };
    {
        let store = Store::open(directory.path()).unwrap();
        store.apply(&GATEWAY, &[stored(1, 1), stored(1, 2), stored(2, 2), stored(1, 4)], 4).unwrap();
        store.apply(&other, &[stored(1, 9)], 1).unwrap();
        store.begin_anew(&GATEWAY).unwrap();
        assert_eq!(store.apply_anew(&GATEWAY, &[stored(1, 1)]).unwrap(), Applied::default());
    }
    // It stopped there: what came does not count any more.
    let store = Store::open(directory.path()).unwrap();
    store.begin_anew(&GATEWAY).unwrap();
    let forgotten = Change::Named { shard: ShardHash([4; 32]), miner: NodeId([1; 32]) };
    let came = store.apply_anew(&GATEWAY, &[stored(2, 2), stored(2, 3), forgotten]).unwrap();
    assert_eq!(came, Applied { added: vec![target(2, 3)], ..Applied::default() });
    let all = [target(1, 1), target(1, 2), target(2, 2), target(2, 3), target(1, 4), others];
    assert_eq!((shards(&store), store.cursor(&GATEWAY).unwrap()), (all.to_vec(), 4));
    let gone = [1, 2].map(|shard| (NodeId([1; 32]), ShardHash([shard; 32])));
    let ended = store.end_anew(&GATEWAY, 4_096).unwrap();
    assert_eq!(ended, Applied { removed: gone.to_vec(), ..Applied::default() });
    assert_eq!(shards(&store), [target(2, 2), target(2, 3), target(1, 4), others]);
    assert_eq!((store.cursor(&GATEWAY).unwrap(), store.cursor(&other).unwrap()), (4_096, 1));
}

#[test]
fn pages_verdicts_and_outbox_survive_reopening() {
    let directory = tempfile::tempdir().unwrap();
    {
        let store = Store::open(directory.path()).unwrap();
        let page = [stored(1, 1), stored(2, 1), stored(1, 2)];
        let applied = store.apply(&GATEWAY, &page, 3).unwrap();
        assert_eq!((applied.added.len(), applied.removed.len()), (3, 0));
        assert_eq!(store.apply(&GATEWAY, &page, 3).unwrap(), Applied::default());
        store.set_round(5).unwrap();
        store.attest(&record(10), &target(1, 2), 5).unwrap();
        store.attest(&record(11), &target(9, 9), 5).unwrap();
    }
    let store = Store::open(directory.path()).unwrap();
    assert_eq!((store.cursor(&GATEWAY).unwrap(), store.round().unwrap()), (3, 5));
    let shards = store.shards().unwrap();
    assert_eq!(shards, [(target(1, 1), 0), (target(2, 1), 0), (target(1, 2), 5)]);
    let outbox = store.outbox(10, 1_000).unwrap();
    assert_eq!(outbox, [(1, record(10)), (2, record(11))]);
    assert_eq!(store.outbox(1, 1_000).unwrap().len(), 1);
    assert_eq!(store.outbox(10, 0).unwrap(), [(1, record(10))], "one goes at least");
    store.handed_over(&[1, 2]).unwrap();
    store.attest(&record(12), &target(1, 1), 5).unwrap();
    assert_eq!(store.outbox(10, 1_000).unwrap(), [(3, record(12))]);
    let silent = ShownAttestation { exhibit: Exhibit::Absent, ..record(13) };
    assert_eq!(store.attest(&silent, &target(1, 1), 5).unwrap(), Attested::Whole);
    store.handed_over(&[3]).unwrap();
    assert_eq!(store.outbox(10, 1_000).unwrap(), [(4, silent)]);
    let state = store.database.begin_read().unwrap().open_table(STATE).unwrap();
    assert_eq!(state.get(EXHIBIT_BYTES).unwrap().unwrap().value(), 0);
}

#[test]
fn a_challenge_has_one_verdict_even_after_a_crash() {
    let directory = tempfile::tempdir().unwrap();
    {
        let store = Store::open(directory.path()).unwrap();
        assert_eq!(store.attest(&record(300), &target(1, 1), 5).unwrap(), Attested::Whole);
    }
    let store = Store::open(directory.path()).unwrap();
    let mut other = record(300);
    other.record.result = arion_types::AttestationResult::Timeout;
    assert_eq!(store.attest(&other, &target(1, 1), 6).unwrap(), Attested::Not);
    assert_eq!(store.outbox(10, 1_000).unwrap(), [(1, record(300))]);
    // Another shard, another miner, another block.
    for (block, target) in [(300, target(1, 2)), (300, target(2, 1)), (299, target(1, 1))] {
        assert_eq!(store.attest(&record(block), &target, 6).unwrap(), Attested::Whole);
    }
    // What is forgotten is too old for a verdict.
    store.attest(&record(300 + SIGNED_BLOCKS), &target(1, 1), 6).unwrap();
    assert_eq!(store.attest(&other, &target(1, 1), 6).unwrap(), Attested::Not);
    assert_eq!(store.attest(&record(299), &target(3, 1), 6).unwrap(), Attested::Not);
    let signed = store.database.begin_read().unwrap().open_table(SIGNED).unwrap();
    assert_eq!(signed.len().unwrap(), 4);
}

/// A gateway that is made again from a snapshot has another node id, and a ledger that begins anew with the same shards.
#[test]
fn what_a_lost_gateway_had_is_audited_for_the_one_made_again() {
    let directory = tempfile::tempdir().unwrap();
    let again = NodeId([8; 32]);
    let of = |gateway, node, shard| Target { gateway, ..target(node, shard) };
    {
        let store = Store::open(directory.path()).unwrap();
        store.apply(&GATEWAY, &[stored(1, 1), stored(1, 2), stored(1, 3)], 3).unwrap();
        assert_eq!(store.apply(&again, &[stored(1, 1), stored(1, 2)], 2).unwrap(), Applied::default());
        store.attest(&record(1), &target(1, 1), 7).unwrap();
        // Both are followed for a while.
        let Applied { added, removed, passed } = store.apply(&GATEWAY, &[deleted(2)], 4).unwrap();
        assert_eq!((added, removed, passed), (vec![], vec![], vec![of(again, 1, 2)]));
    }
    let store = Store::open(directory.path()).unwrap();
    store.keep_only(&[again].into()).unwrap();
    assert_eq!(store.shards().unwrap(), [(of(again, 1, 1), 7), (of(again, 1, 2), 0)]);
    assert_eq!((store.cursor(&GATEWAY).unwrap(), store.cursor(&again).unwrap()), (0, 2));
    let Applied { removed, .. } = store.apply(&again, &[deleted(1), deleted(2)], 4).unwrap();
    assert_eq!(removed, [1, 2].map(|shard| (NodeId([1; 32]), ShardHash([shard; 32]))));
    assert!(store.shards().unwrap().is_empty());
}

#[test]
fn a_file_of_the_layout_with_one_gateway_for_a_shard_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    {
        let store = Store::open(directory.path()).unwrap();
        store.apply(&GATEWAY, &[stored(1, 1)], 1).unwrap();
        store.attest(&record(1), &target(1, 1), 7).unwrap();
        let transaction = store.database.begin_write().unwrap();
        transaction.delete_table(CLAIMS).unwrap();
        transaction.commit().unwrap();
    }
    let store = Store::open(directory.path()).unwrap();
    assert_eq!((store.cursor(&GATEWAY).unwrap(), store.shards().unwrap()), (0, vec![(target(1, 1), 7)]));
    assert_eq!(store.apply(&GATEWAY, &[stored(1, 1), deleted(1)], 2).unwrap().removed.len(), 1);
    drop(store);
    assert_eq!(Store::open(directory.path()).unwrap().cursor(&GATEWAY).unwrap(), 2, "once");
}

#[test]
fn a_gateway_removes_only_what_came_from_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let page = [stored(1, 1), stored(2, 1), stored(1, 2)];
    store.apply(&GATEWAY, &page, 3).unwrap();
    let Applied { removed, .. } = store.apply(&NodeId([8; 32]), &[deleted(1)], 1).unwrap();
    assert!(removed.is_empty());
    let Applied { removed, .. } = store.apply(&GATEWAY, &[deleted(1)], 4).unwrap();
    assert_eq!(removed, [(NodeId([1; 32]), ShardHash([1; 32])), (NodeId([2; 32]), ShardHash([1; 32]))]);
    assert_eq!(store.shards().unwrap(), [(target(1, 2), 0)]);
    let both = [stored(3, 3), deleted(3)];
    assert!(store.apply(&GATEWAY, &both, 6).unwrap().added.is_empty());
}
