use arion_types::ShardHash;

use super::{
    super::{
        ShardPlace,
        stripes::tests::{receipt, record},
        tests::Engine,
    },
    *,
};

/// A receipt of another miner, by a later map.
fn by(record: &StripeRecord, index: u8, miner: u8) -> SignedReceipt {
    let mut signed = receipt(record, index);
    (signed.receipt.node_id, signed.receipt.epoch) = (NodeId([miner; 32]), record.epoch + 1);
    signed
}

/// Has receipts be in the metadata as an import leaves them.
async fn wait_for(meta: &Meta, record: &StripeRecord, receipts: Vec<SignedReceipt>) {
    meta.begin_stripe(record.id(), record.clone()).await.unwrap();
    meta.write(move |transaction| {
        let lines = receipts.iter().map(|signed| LedgerRecord::Stored(*signed).encode());
        lines.into_iter().try_for_each(|line| enter(transaction, &line))
    })
    .await
    .unwrap();
}

/// All that wait are confirmed.
pub(in crate::meta) async fn confirm_all(meta: &Meta) {
    let (receipts, next) = meta.unconfirmed(None, 10_000).await.unwrap();
    assert_eq!(next, None);
    let count = receipts.len();
    let answers = receipts.into_iter().map(|signed| (signed, true)).collect();
    assert_eq!(meta.confirm(answers, 1).await.unwrap(), count);
    assert_eq!(meta.unconfirmed_len().await.unwrap(), 0);
}

fn place(record: &StripeRecord, index: u8) -> ShardPlace {
    ShardPlace { shard: record.hashes[usize::from(index)], index }
}

async fn counts(meta: &Meta) -> (u64, u64, (u64, u64)) {
    let (lines, waiting) = (meta.ledger_len().await.unwrap(), meta.unconfirmed_len().await.unwrap());
    (lines, waiting, meta.backlog().await.unwrap())
}

#[tokio::test]
async fn what_a_miner_has_is_in_the_ledger_and_what_it_has_not_is_missing() {
    for engine in Engine::each() {
        let meta = engine.open();
        let stripe = record(1);
        let all: Vec<_> = (0..30).map(|index| receipt(&stripe, index)).collect();
        wait_for(&meta, &stripe, all.clone()).await;
        assert_eq!(counts(&meta).await, (0, 30, (0, 0)));
        // In pages, also those that a page leaves behind.
        let (first, next) = meta.unconfirmed(None, 20).await.unwrap();
        let (second, end) = meta.unconfirmed(next, 20).await.unwrap();
        assert_eq!(([first.clone(), second].concat(), end), (all.clone(), None));
        let answers: Vec<_> = all.iter().map(|signed| (*signed, signed.receipt.index < 21)).collect();
        assert_eq!(meta.confirm(answers[..25].to_vec(), 7).await.unwrap(), 21);
        let waiting = meta.unconfirmed_among(vec![record(2).id(), stripe.id()]).await.unwrap();
        assert_eq!(waiting.len(), 5);
        assert!(waiting.contains(&(stripe.id(), 29, NodeId([29; 32]))));
        drop(meta);

        // A restart in the middle. What was said already changes nothing.
        let meta = engine.open();
        assert_eq!(counts(&meta).await, (21, 5, (4, 0)));
        assert_eq!(meta.confirm(answers.clone(), 7).await.unwrap(), 0);
        assert_eq!(meta.confirm(answers, 7).await.unwrap(), 0);
        assert_eq!(counts(&meta).await, (21, 0, (9, 0)));
        assert_eq!(meta.due_missing(6, 100).await.unwrap(), []);
        assert_eq!(meta.due_missing(7, 100).await.unwrap().len(), 9);
        let lines = meta.ledger_page(0, 100).await.unwrap();
        let stored = |index: usize| LedgerRecord::Stored(all[index]);
        assert!(lines.iter().enumerate().all(|(at, line)| line.record == stored(at)));
        assert!(meta.recount_occupied().await.unwrap());
        // Nobody but its own miner has any of it.
        assert_eq!(meta.moved_to(place(&stripe, 3)).await.unwrap(), []);
    }
}

#[tokio::test]
async fn each_of_several_miners_of_a_shard_answers_for_itself() {
    for engine in Engine::each() {
        let meta = engine.open();
        let stripe = record(3);
        let (own, other) = (|index| receipt(&stripe, index), |index| by(&stripe, index, 90 + index));
        let all: Vec<_> = (0..5).flat_map(|index| [own(index), other(index)]).collect();
        wait_for(&meta, &stripe, all).await;
        let holders = async |index| {
            let nodes = meta.moved_to(place(&stripe, index)).await.unwrap();
            nodes.into_iter().map(|node| node.0[0]).collect::<Vec<_>>()
        };
        // Both at once, the newest last; one after the other; one has not; none has; one has not before the other has.
        let rounds = [
            vec![(other(0), true), (own(0), true), (other(1), true), (own(2), true), (other(2), false)],
            vec![(own(1), true), (own(3), false), (own(4), false)],
        ];
        for (answers, lines) in rounds.into_iter().zip([4, 1]) {
            assert_eq!(meta.confirm(answers, 1).await.unwrap(), lines);
        }
        assert_eq!(counts(&meta).await, (5, 2, (2, 0)));
        assert_eq!(meta.confirm(vec![(other(3), false), (other(4), true)], 1).await.unwrap(), 1);
        assert_eq!(counts(&meta).await, (6, 0, (1, 0)));
        assert_eq!((holders(0).await, holders(1).await), (vec![0, 90], vec![91, 1]));
        assert_eq!((holders(2).await, holders(3).await, holders(4).await), (vec![], vec![], vec![94]));
        let shown = meta.receipts_of(vec![stripe.clone()]).await.unwrap().unwrap().remove(0);
        assert_eq!(shown.first(), Some(&other(0)));
    }
}

/// A stripe is deleted while some of its miners are still asked: none of them gets a line, and all are told.
#[tokio::test]
async fn a_deletion_reaches_those_who_have_not_answered_and_takes_back_only_what_has_a_line() {
    for engine in Engine::each() {
        let meta = engine.open();
        let stripe = record(4);
        let mut all: Vec<_> = (0..30).map(|index| receipt(&stripe, index)).collect();
        all.push(by(&stripe, 5, 95));
        wait_for(&meta, &stripe, all.clone()).await;
        let first = all[..3].iter().map(|signed| (*signed, true)).chain([(all[9], false)]).collect();
        assert_eq!(meta.confirm(first, 1).await.unwrap(), 3);
        assert_eq!(counts(&meta).await, (3, 27, (1, 0)));
        meta.discard_stripes(vec![stripe.id()], 5).await.unwrap();
        assert_eq!(counts(&meta).await, (6, 0, (0, 30)));
        let gone = meta.ledger_page(3, 10).await.unwrap();
        let gone: Vec<_> = gone.into_iter().map(|line| line.record).collect();
        let deleted = |index: usize| LedgerRecord::Deleted { shard: stripe.hashes[index] };
        assert_eq!(gone, [deleted(0), deleted(1), deleted(2)]);
        let mut told = meta.moved_to(place(&stripe, 5)).await.unwrap();
        told.sort_unstable();
        assert_eq!(told, [NodeId([5; 32]), NodeId([95; 32])]);
        // They answered in this moment.
        let late = all.iter().map(|signed| (*signed, signed.receipt.index % 2 == 0)).collect();
        assert_eq!(meta.confirm(late, 6).await.unwrap(), 0);
        assert_eq!(counts(&meta).await, (6, 0, (0, 30)));
        meta.deletes_tried(vec![(place(&stripe, 5), None)], u64::MAX, 6).await.unwrap();
        assert_eq!(meta.moved_to(place(&stripe, 5)).await.unwrap(), []);
        assert!(meta.recount_occupied().await.unwrap());
    }
}

/// Repair or the gateway itself has brought the shard there again before the miner was asked.
#[tokio::test]
async fn who_has_signed_anew_has_one_line() {
    for engine in Engine::each() {
        let meta = engine.open();
        let stripe = record(5);
        let (one, two) = (receipt(&stripe, 1), by(&stripe, 2, 92));
        wait_for(&meta, &stripe, vec![one, two, by(&stripe, 1, 91)]).await;
        assert_eq!(meta.confirm(vec![(by(&stripe, 1, 91), false)], 1).await.unwrap(), 0);
        assert_eq!(counts(&meta).await, (0, 2, (1, 0)));
        meta.late_receipt(stripe.id(), one, 2).await.unwrap();
        assert!(meta.relocated(vec![two]).await.unwrap());
        assert_eq!(counts(&meta).await, (2, 0, (0, 0)));
        assert_eq!(meta.confirm(vec![(one, true), (two, false)], 3).await.unwrap(), 0);
        assert_eq!(counts(&meta).await, (2, 0, (0, 0)));
    }
}

#[tokio::test]
async fn a_row_that_does_not_decode_stays_and_holds_nobody_up() {
    for engine in Engine::each() {
        let meta = engine.open();
        let stripe = record(6);
        wait_for(&meta, &stripe, (0..3).map(|index| receipt(&stripe, index)).collect()).await;
        let spoilt = key(&receipt(&stripe, 1).receipt);
        meta.write(move |transaction| transaction.open_table(UNCONFIRMED)?.insert(spoilt, [0xff].as_slice()))
            .await
            .unwrap();
        let (found, _) = meta.unconfirmed(None, 10).await.unwrap();
        assert_eq!((found.len(), meta.unreadable_rows()), (2, 1));
        let tombstone = LedgerRecord::Deleted { shard: ShardHash([1; 32]) }.encode();
        let refused = meta.write(move |transaction| enter(transaction, &tombstone)).await;
        assert!(matches!(refused, Err(MetaError::Row("receipts"))), "{refused:?}");
        // Who may have it is told of the deletion all the same.
        meta.discard_stripes(vec![stripe.id()], 5).await.unwrap();
        assert_eq!(meta.moved_to(place(&stripe, 1)).await.unwrap(), [NodeId([1; 32])]);
    }
}
