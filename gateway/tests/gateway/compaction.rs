//! A ledger of which lines are dropped: nothing that the gateway, or anybody who reads it, needs is gone.

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use arion_daemon::Health;
use arion_gateway::{
    compaction::{Bounds, CompactionError, Compactor, Done},
    ledger_service::LedgerService,
    meta::{Meta, MetaError},
    placement::Maps,
};
use arion_ledger::{Anchor, CompactedLedger, Keeping, Ledger, segment::SEGMENT_LINES};
use arion_net::Service;
use arion_protocol::{ErrorCode, LedgerBase, LedgerEntry, LedgerRecord, Request, Response};
use arion_types::{NodeId, SignedReceipt};
use bytes::Bytes;

use crate::{
    billing::Stage,
    engine::Engine,
    market::{GATEWAY, GENESIS},
    occupancy::{delete, live_bytes, receipt},
    rows::stripe,
};
use arion_gateway::billing::market::Market;

const SEGMENT: u64 = SEGMENT_LINES as u64;
/// Objects of 30 lines each, and how many of them go again.
const OBJECTS: u32 = 200;
const GONE: u32 = 130;
const KEEP_DEAD: Duration = Duration::from_secs(1);

fn compactor(meta: &Meta) -> Compactor {
    Compactor {
        meta: meta.clone(),
        of: (GENESIS, GATEWAY),
        keep_dead: KEEP_DEAD,
        bounds: Bounds { dead_min: 1_000, dead_percent: 50, lines_at_once: 2_000 },
        metrics: Default::default(),
        health: Health::new("test", "0"),
        bucket: None,
        looked_at: Default::default(),
    }
}

/// Objects from this number on, of which most are deleted; the last has moved to other miners.
async fn fill(stage: &Stage, from: u32) {
    let keys: Vec<String> = (from..from + OBJECTS).map(|number| number.to_string()).collect();
    let puts = keys.iter().zip(from..).map(|(key, seed)| stage.put("alice", key, seed));
    futures_util::future::join_all(puts).await;
    let last = stripe(from + OBJECTS - 1);
    let elsewhere = |index: u8| {
        let SignedReceipt { mut receipt, signature } = receipt(&last, index);
        (receipt.node_id, receipt.epoch) = (NodeId([100 + index; 32]), 2);
        SignedReceipt { receipt, signature }
    };
    assert!(stage.meta.relocated((0..30).map(elsewhere).collect()).await.unwrap());
    let named = (0..30u8).map(|index| Some(NodeId([100 + index; 32]))).collect();
    assert_eq!(stage.meta.release(vec![(last.id(), named)], 5).await.unwrap(), 30);
    for key in &keys[..GONE as usize] {
        delete(&stage.meta, "alice", key, 9).await;
    }
    while !stage.meta.index_receipts().await.unwrap() {}
}

async fn rows(meta: &Meta) -> Vec<LedgerEntry> {
    meta.ledger_page(0, u16::MAX).await.unwrap()
}

/// What is kept of lines, and what is behind.
fn left(all: &[LedgerEntry], until: u64) -> Vec<LedgerEntry> {
    let mut keeping = Keeping::default();
    let first = all.iter().filter(|entry| entry.sequence <= until);
    first.for_each(|entry| keeping.take(entry.sequence, &entry.record));
    let kept = keeping.lines();
    let is_left =
        |entry: &&LedgerEntry| entry.sequence > until || kept.binary_search(&entry.sequence).is_ok();
    all.iter().filter(is_left).copied().collect()
}

/// The newest commitment is to all lines that there ever were.
async fn check_anchor(stage: &Stage, all: &[LedgerEntry]) {
    let newest = stage.market.newest().await.unwrap().unwrap();
    let anchor = Anchor::of_commitment(newest.sequence, newest.root, newest.bytes);
    let lines = all.iter().map(|entry| entry.record).collect::<Vec<_>>();
    let whole = Ledger::new(GENESIS, GATEWAY, lines);
    assert_eq!(anchor.sequence, all.len() as u64);
    assert_eq!(anchor.root, arion_proofs::merkle::root(&whole.hashes()));
    assert_eq!(anchor.bytes, live_bytes(&stage.meta).await);
}

/// What anybody reads is what was said to be kept, and what the chain has.
async fn check_left(stage: &Stage, all: &[LedgerEntry]) {
    let base = stage.meta.ledger_base().await.unwrap().unwrap();
    let found = rows(&stage.meta).await;
    assert_eq!(found, left(all, base.until));
    let (kept, behind): (Vec<_>, Vec<_>) = found.into_iter().partition(|entry| entry.sequence <= base.until);
    let behind: Vec<LedgerRecord> = behind.into_iter().map(|entry| entry.record).collect();
    CompactedLedger::new(GENESIS, GATEWAY, base.clone(), kept, behind).unwrap();
    // Pages of any size have all of it.
    let mut paged = Vec::new();
    loop {
        let after = paged.last().map_or(0, |entry: &LedgerEntry| entry.sequence);
        let page = stage.meta.ledger_page(after, 700).await.unwrap();
        if page.is_empty() {
            break;
        }
        paged.extend(page);
    }
    assert_eq!(paged, rows(&stage.meta).await);
    assert!(stage.meta.recount_occupied().await.unwrap(), "what is noted is not what there is");
}

/// The receipts of what is live are found, and their miners are told of the deletion.
async fn check_receipts(meta: &Meta, from: u32) {
    let live = (from + GONE..from + OBJECTS).map(stripe).collect::<Vec<_>>();
    let found = meta.receipts_of(live).await.unwrap().unwrap();
    assert!(found.iter().all(|receipts| receipts.len() == 30));
    let moved = found.last().unwrap();
    assert!(moved.iter().all(|signed| signed.receipt.node_id.0[0] >= 100));
}

#[tokio::test]
async fn dead_lines_are_dropped_when_the_chain_has_had_for_long_enough_what_is_kept() {
    for engine in Engine::each() {
        let mut stage = Stage::new(engine.open()).await;
        fill(&stage, 0).await;
        let compactor = compactor(&stage.meta);
        let before = rows(&stage.meta).await;
        let line = before.len() as u64 + 1;
        assert_eq!(compactor.step(1).await.unwrap(), Done::Said { line });
        let all = rows(&stage.meta).await;
        let until = (line - 1) / SEGMENT * SEGMENT;
        assert!(matches!(all.last().unwrap().record, LedgerRecord::Compacted(says) if says.until == until));
        // Not before the chain has the line, nor at once after that.
        assert_eq!(compactor.step(2).await.unwrap(), Done::Nothing);
        stage.biller().bill().await.unwrap();
        check_anchor(&stage, &all).await;
        assert_eq!(compactor.step(1_000).await.unwrap(), Done::Nothing);
        assert_eq!(compactor.step(1_999).await.unwrap(), Done::Nothing);
        assert_eq!((stage.meta.ledger_base().await.unwrap(), rows(&stage.meta).await), (None, all.clone()));
        let lines = all.len() - left(&all, until).len();
        assert!(lines > 4_000);
        assert_eq!(compactor.step(2_000).await.unwrap(), Done::Dropped { lines: lines as u64 });
        assert_eq!(compactor.metrics.ledger_dropped.get(), lines as u64);
        assert_eq!(compactor.metrics.ledger_base.get(), until as i64);
        assert_eq!(compactor.step(3_000).await.unwrap(), Done::Nothing);
        check_left(&stage, &all).await;
        check_receipts(&stage.meta, 0).await;

        // The roots are not made anew for somebody else, and those that are there stay.
        let other = stage.meta.keep_segment_roots((GENESIS, NodeId([43; 32]))).await;
        assert!(matches!(other, Err(MetaError::LedgerDropped)), "{other:?}");
        let other = stage.meta.ledger_cut((GENESIS, NodeId([43; 32]))).await;
        assert!(matches!(other, Err(MetaError::LedgerDropped)), "{other:?}");
        let service = LedgerService::new(stage.meta.clone(), Maps::default(), Arc::default());
        let ask = async |request| service.serve(NodeId([1; 32]), request, Bytes::new()).await.0;
        let base = ask(Request::LedgerBase).await;
        assert!(matches!(base, Response::LedgerBase(LedgerBase { until: there, .. }) if there == until));
        for early in [
            Request::LedgerFrom { after: until - 1, limit: 9, version: 3 },
            Request::LedgerSince { after: 0, limit: 9 },
            Request::LedgerPage { after: 0, limit: 9 },
        ] {
            let refused = ask(early).await;
            let Response::Error { code: ErrorCode::Unsupported, detail } = refused else {
                panic!("{refused:?}")
            };
            assert!(detail.contains("update this node"), "{detail}");
        }
        let lines = ask(Request::LedgerFrom { after: until - 1, limit: 1, version: 4 }).await;
        assert!(matches!(lines, Response::LedgerLines(lines) if lines.len() == 1));

        // Life goes on, also after a start, and what is dead by then goes as well.
        fill(&stage, 1_000).await;
        drop((compactor, service));
        stage.meta = reopened(&engine, stage.meta);
        let compactor = self::compactor(&stage.meta);
        for key in GONE..OBJECTS {
            delete(&stage.meta, "alice", &key.to_string(), 9).await;
        }
        let mut all = all;
        all.extend(stage.meta.ledger_page(all.len() as u64, u16::MAX).await.unwrap());
        stage.biller().bill().await.unwrap();
        check_anchor(&stage, &all).await;
        assert!(matches!(compactor.step(5_000).await.unwrap(), Done::Said { .. }));
        all.extend(stage.meta.ledger_page(all.len() as u64, u16::MAX).await.unwrap());
        stage.biller().bill().await.unwrap();
        assert_eq!(compactor.step(6_000).await.unwrap(), Done::Nothing);
        let later = compactor.step(9_000).await;
        // The last deletions may not be in the index yet.
        if let Err(CompactionError::Meta(MetaError::NotDroppedYet(_))) = later {
            while !stage.meta.index_receipts().await.unwrap() {}
            assert!(matches!(compactor.step(9_000).await.unwrap(), Done::Dropped { .. }));
        }
        check_left(&stage, &all).await;
        check_receipts(&stage.meta, 1_000).await;
        assert!(stage.meta.ledger_base().await.unwrap().unwrap().until > until);
        stage.put("alice", "new", 5_000).await;
        all.extend(stage.meta.ledger_page(all.len() as u64, u16::MAX).await.unwrap());
        stage.biller().bill().await.unwrap();
        check_anchor(&stage, &all).await;
    }
}

fn reopened(engine: &Engine, meta: Meta) -> Meta {
    drop(meta);
    engine.open()
}

/// Ends when it had to wait so many times.
struct Crash<'a, F>(Pin<&'a mut F>, u32);

impl<F: Future> Future for Crash<'_, F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.1 == 0 {
            return Poll::Ready(None);
        }
        self.1 -= 1;
        self.0.as_mut().poll(context).map(Some)
    }
}

/// Killed wherever it waits for the disk or the database, it goes on, and readers never see anything but all lines or what is kept.
#[tokio::test]
async fn a_crash_at_each_step_of_dropping_leaves_what_the_next_start_brings_to_its_end() {
    for at in 0..Engine::each().len() {
        let mut is_crashed_in = false;
        // Where nothing made it wait between the bits and the last line, there was nothing to be killed in.
        for engine in (0..8).flat_map(|_| Engine::each().into_iter().nth(at)) {
            is_crashed_in = crash_while_dropping(engine).await > 1;
            if is_crashed_in {
                break;
            }
        }
        assert!(is_crashed_in, "it always went in one step");
    }
}

/// In how many states of dropping it was killed.
async fn crash_while_dropping(engine: Engine) -> u32 {
    let mut stage = Stage::new(engine.open()).await;
    fill(&stage, 0).await;
    assert!(matches!(compactor(&stage.meta).step(1).await.unwrap(), Done::Said { .. }));
    stage.biller().bill().await.unwrap();
    assert_eq!(compactor(&stage.meta).step(1).await.unwrap(), Done::Nothing);
    let all = rows(&stage.meta).await;
    let (mut seen, mut begun, mut waits) = (None, 0, 0);
    loop {
        waits += 1;
        let done = {
            let compactor = compactor(&stage.meta);
            let step = pin!(compactor.step(10_000));
            Crash(step, waits).await
        };
        stage.meta = reopened(&engine, stage.meta);
        // Begun as soon as all bits are noted, so that the steps behind that are crashed in as well; refused before.
        match stage.meta.begin_drop((GENESIS, GATEWAY)).await {
            Ok(()) | Err(MetaError::NotDropped(_)) => {}
            Err(error) => panic!("{error}"),
        }
        let now = stage.meta.compactions().await.unwrap();
        if seen.as_ref() != Some(&now) {
            match &now.0 {
                None => assert_eq!(rows(&stage.meta).await, all),
                Some(_) => {
                    begun += 1;
                    check_left(&stage, &all).await;
                }
            }
            check_receipts(&stage.meta, 0).await;
            // What comes next is short.
            waits = 0;
        }
        if now.0.as_ref().is_some_and(|base| !base.is_going()) {
            break;
        }
        seen = Some(now);
        assert!(waits < 200, "{done:?}");
    }
    stage.put("alice", "new", 5_000).await;
    let mut all = all;
    all.extend(stage.meta.ledger_page(all.len() as u64, u16::MAX).await.unwrap());
    stage.biller().bill().await.unwrap();
    check_anchor(&stage, &all).await;
    check_left(&stage, &all).await;
    begun
}

/// A line that does not say what follows from the lines before it drops nothing.
#[tokio::test]
async fn a_line_that_is_not_true_drops_nothing() {
    for engine in Engine::each() {
        let stage = Stage::new(engine.open()).await;
        fill(&stage, 0).await;
        let until = rows(&stage.meta).await.len() as u64 / SEGMENT * SEGMENT;
        let wrong = arion_protocol::Compacted { until, root: [7; 32], lines: 9 };
        stage.meta.note_compaction(wrong).await.unwrap();
        assert!(
            matches!(stage.meta.note_compaction(wrong).await, Err(MetaError::NotDroppedYet(_))),
            "one at a time"
        );
        stage.biller().bill().await.unwrap();
        let compactor = compactor(&stage.meta);
        compactor.step(1).await.unwrap();
        let all = rows(&stage.meta).await;
        let error = compactor.step(10_000).await.unwrap_err();
        assert!(matches!(error, CompactionError::Differs { said: 9, .. }), "{error}");
        assert_eq!((stage.meta.ledger_base().await.unwrap(), rows(&stage.meta).await), (None, all));
        // Nor by bits that are missing.
        let begun = stage.meta.begin_drop((GENESIS, GATEWAY)).await;
        assert!(matches!(begun, Err(MetaError::NotDropped(_))), "{begun:?}");
    }
}
