//! Deletions taken back, against a map: random puts, deletions, restorations, quarantines, time that passes, compaction,
//! checkpoints and power cuts, in any order.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{
    crash_tests::{address, body, quiet},
    keeper_tests::Bench,
    memory::{Chance, MemoryDisk},
    *,
};

const RETENTION_MS: u64 = 1_000;

#[derive(Clone, Copy, Debug)]
enum Step {
    Put(u32),
    Delete(u32),
    Restore(u32),
    /// Found damaged, or good again.
    Judge(u32, bool),
    Wait(u64),
    /// Retention and compaction.
    Keep,
    Checkpoint,
    PowerCut(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let shard = || 0u32..10;
    let step = prop_oneof![
        5 => shard().prop_map(Step::Put),
        5 => shard().prop_map(Step::Delete),
        6 => shard().prop_map(Step::Restore),
        2 => (shard(), any::<bool>()).prop_map(|(number, good)| Step::Judge(number, good)),
        3 => (0..RETENTION_MS).prop_map(Step::Wait),
        2 => Just(Step::Keep),
        1 => Just(Step::Checkpoint),
        2 => any::<u64>().prop_map(Step::PowerCut),
    ];
    proptest::collection::vec(step, 1..120)
}

fn options() -> StoreOptions {
    StoreOptions {
        segment_bytes: 3_000,
        trash_retention: Duration::from_millis(RETENTION_MS),
        scrub_period: Duration::ZERO,
        compact_below_percent: 80,
        ..quiet()
    }
}

fn length(number: u32) -> usize {
    [1, 30, 400, 900][number as usize % 4]
}

struct Run {
    disk: MemoryDisk,
    bench: Bench,
    model: BTreeMap<u32, State>,
}

impl Run {
    fn shard(number: u32) -> ShardHash {
        address(&body(number, length(number)))
    }

    fn step(&mut self, step: Step) {
        let now = self.bench.now.load(Ordering::SeqCst);
        match step {
            Step::Put(number) => {
                self.bench.put(number, length(number));
                self.model.insert(number, State::Live);
            }
            Step::Delete(number) => {
                let known = self.model.get(&number).copied();
                let deleted = matches!(known, Some(State::Live | State::Quarantined));
                assert_eq!(self.bench.delete(Self::shard(number)), deleted);
                match known {
                    Some(State::Live) => drop(self.model.insert(number, State::Trashed { at: now })),
                    // Nobody wants damaged bytes back.
                    Some(State::Quarantined) => drop(self.model.remove(&number)),
                    _ => {}
                }
            }
            Step::Restore(number) => {
                let known = self.model.get(&number).copied();
                let there = matches!(known, Some(State::Live | State::Trashed { .. }));
                assert_eq!(self.bench.restore(Self::shard(number)), there, "{known:?}");
                if there {
                    self.model.insert(number, State::Live);
                }
            }
            Step::Judge(number, good) => {
                let shard = Self::shard(number);
                let known = self.bench.parts.store.shared.index().get(&shard);
                let sequence = known.map_or(0, |entry| entry.sequence);
                let judged = self.bench.ask(|reply| Change::Judge { shard, sequence, good, reply }).unwrap();
                let (from, to) = match good {
                    true => (State::Quarantined, State::Live),
                    false => (State::Live, State::Quarantined),
                };
                let expected = self.model.get(&number) == Some(&from);
                assert_eq!(judged, expected);
                if expected {
                    self.model.insert(number, to);
                }
            }
            Step::Wait(time) => self.bench.later(Duration::from_millis(time)),
            Step::Keep => {
                self.bench.keep();
                let gone = |state: &State| matches!(state, State::Trashed { at } if *at < now - RETENTION_MS);
                self.model.retain(|_, state| !gone(state));
            }
            Step::Checkpoint => self.bench.parts.writer.write_checkpoint(),
            Step::PowerCut(seed) => {
                self.disk = self.disk.after_power_cut(&mut Chance(seed));
                self.bench = Bench::on(Arc::new(self.disk.clone()), options());
                self.bench.now.store(now, Ordering::SeqCst);
            }
        }
    }

    /// All is as the map says, shard by shard and in sum.
    fn check(&self) {
        let store = &self.bench.parts.store;
        for number in 0..10 {
            let shard = Self::shard(number);
            let state = store.shared.index().get(&shard).map(|entry| entry.state);
            assert_eq!(state, self.model.get(&number).copied(), "shard {number}");
            match (state, store.read_blocking(&shard)) {
                (Some(State::Live), Ok((_, read))) => assert_eq!(read, body(number, length(number))),
                (Some(State::Quarantined), Err(ReadError::Damaged)) => {}
                (None | Some(State::Trashed { .. }), Err(ReadError::NotFound)) => {}
                (state, read) => panic!("shard {number}: {state:?}, {read:?}"),
            }
        }
        let bytes = |wanted: &dyn Fn(&State) -> bool| -> u64 {
            let kept = self.model.iter().filter(|(_, state)| wanted(state));
            kept.map(|(number, _)| RECORD_BYTES + length(*number) as u64 + TRAILER_BYTES).sum()
        };
        let usage = store.usage();
        assert_eq!(usage.used_bytes, bytes(&|state| !matches!(state, State::Trashed { .. })));
        assert_eq!(usage.trash_bytes, bytes(&|state| matches!(state, State::Trashed { .. })));
        assert_eq!(usage.shards as usize, store.list(None, usize::MAX).len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn what_is_restored_is_there_and_what_is_not_is_not(steps in steps()) {
        let disk = MemoryDisk::default();
        let bench = Bench::on(Arc::new(disk.clone()), options());
        let mut run = Run { disk, bench, model: BTreeMap::new() };
        for step in steps {
            run.step(step);
            run.check();
        }
    }
}
