//! The store against a map: random changes with clean and unclean restarts in between.

use std::{collections::HashMap, sync::atomic::AtomicU64};

use proptest::prelude::*;
use tempfile::TempDir;

use super::{
    crash_tests::{address, body, placement},
    *,
};

#[derive(Clone, Debug)]
enum Step {
    Put(u8),
    Delete(u8),
    Read(u8),
    List,
    CloseAndReopen,
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0u8..24).prop_map(Step::Put),
        3 => (0u8..24).prop_map(Step::Delete),
        3 => (0u8..24).prop_map(Step::Read),
        1 => Just(Step::List),
        1 => Just(Step::CloseAndReopen),
        1 => Just(Step::Reopen),
    ];
    proptest::collection::vec(step, 1..60)
}

/// Trash is kept for a few steps.
fn options(now: &Arc<AtomicU64>) -> StoreOptions {
    let (now, trash_retention) = (now.clone(), Duration::from_millis(5));
    let clock: Clock = Arc::new(move || now.load(Ordering::SeqCst));
    StoreOptions {
        segment_bytes: 4_000,
        checkpoint_bytes: 5_000,
        trash_retention,
        clock,
        ..StoreOptions::default()
    }
}

fn shard_body(number: u8) -> Bytes {
    body(u32::from(number), usize::from(number) * 37 % 700)
}

async fn run(steps: Vec<Step>) {
    let root = TempDir::new().unwrap();
    let clock = Arc::new(AtomicU64::new(0));
    let mut store = Store::open(root.path(), options(&clock)).unwrap();
    let mut model: HashMap<ShardHash, (Bytes, u64)> = HashMap::new();
    for (now, step) in steps.into_iter().enumerate() {
        let now = 1_000 + now as u64;
        clock.store(now, Ordering::SeqCst);
        match step {
            Step::Put(number) => {
                let body = shard_body(number);
                let shard = address(&body);
                let stored = store.put(shard, placement(&body, number), body.clone()).await.unwrap();
                assert_eq!(stored.new, !model.contains_key(&shard));
                let kept = model.entry(shard).or_insert((body, now));
                assert_eq!(stored.stored_at, kept.1);
            }
            Step::Delete(number) => {
                let shard = address(&shard_body(number));
                assert_eq!(store.delete(shard).await.unwrap(), model.remove(&shard).is_some());
            }
            Step::Read(number) => {
                let shard = address(&shard_body(number));
                match model.get(&shard) {
                    Some((body, stored_at)) => {
                        let (entry, read) = store.read_blocking(&shard).unwrap();
                        assert_eq!((&read, entry.stored_at), (body, *stored_at));
                    }
                    None => assert!(matches!(store.read_blocking(&shard), Err(ReadError::NotFound))),
                }
            }
            Step::List => {}
            Step::CloseAndReopen => {
                store.close().await;
                drop(store);
                store = Store::open(root.path(), options(&clock)).unwrap();
                assert_eq!(store.report().scanned_records, 0);
            }
            Step::Reopen => {
                drop(store);
                store = Store::open(root.path(), options(&clock)).unwrap();
            }
        }
        check_listing(&store, &model);
    }
    let inspector = Inspector::open(root.path()).unwrap();
    assert_eq!(inspector.len(), model.len());
    assert!(inspector.check().unwrap().damaged.is_empty());
}

fn check_listing(store: &Store, model: &HashMap<ShardHash, (Bytes, u64)>) {
    let mut expected: Vec<ShardHash> = model.keys().copied().collect();
    expected.sort_unstable();
    let mut listed = Vec::new();
    loop {
        let page = store.list(listed.last().copied(), 5);
        listed.extend(page.iter().map(|line| line.shard));
        if page.len() < 5 {
            break;
        }
    }
    assert_eq!(listed, expected);
    let used: u64 = model.values().map(|(body, _)| RECORD_BYTES + body.len() as u64 + TRAILER_BYTES).sum();
    assert_eq!((store.usage().shards, store.usage().used_bytes), (model.len() as u64, used));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn behaves_like_a_map(steps in steps()) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(run(steps));
    }
}
