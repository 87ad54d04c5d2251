//! The crash test: random work on a disk that fails, power cuts at random moments, and what must hold afterwards.
//!
//! `ARION_CRASHES` sets how many crash points are tried (default: a sample), `ARION_CRASH_SEED` the first seed. A
//! failure names its seed; the same seed does the same again, for there are no threads in it.

use std::collections::{BTreeMap, HashMap, HashSet};

use tokio::sync::oneshot;

use super::{
    crash_tests::{address, body, placement, quiet},
    memory::{Chance, Faults, MemoryDisk},
    pipeline::Syncer,
    *,
};

const SAMPLE: u64 = 400;
const SHARDS: u64 = 12;
const RETENTION_MS: u64 = 40;

/// What a shard may be found as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kept {
    Absent,
    Live,
    Trashed,
}

/// What was acknowledged of every shard, and what was asked for since and may have happened.
#[derive(Default)]
struct Model {
    possible: BTreeMap<u32, Vec<Kept>>,
    /// When those that may be trash were deleted at the earliest.
    trashed_at: HashMap<u32, u64>,
    /// Shards of which a bit was flipped on the disk: they may be lost, but never wrong.
    spared: HashSet<u32>,
}

impl Model {
    fn of(&self, number: u32) -> Vec<Kept> {
        self.possible.get(&number).cloned().unwrap_or_else(|| vec![Kept::Absent])
    }

    fn asked(&mut self, number: u32, outcome: Kept) {
        let mut possible = self.of(number);
        possible.push(outcome);
        self.possible.insert(number, possible);
    }

    fn acknowledged(&mut self, number: u32, outcome: Kept) {
        self.possible.insert(number, vec![outcome]);
    }

    /// A deletion at this time may have happened.
    fn may_be_trash(&mut self, number: u32, now_ms: u64) {
        let before = self.of(number).contains(&Kept::Trashed);
        let at = self.trashed_at.entry(number).or_insert(now_ms);
        *at = if before { now_ms.min(*at) } else { now_ms };
        self.asked(number, Kept::Trashed);
    }
}

fn shard_body(number: u32) -> Bytes {
    body(number, [9, 16, 40, 300, 511, 900, 2_000][number as usize % 7])
}

fn clock(now: &Arc<std::sync::atomic::AtomicU64>) -> Clock {
    let now = now.clone();
    Arc::new(move || now.load(Ordering::SeqCst))
}

/// One life of a store, from its start to a crash, in one thread.
struct Life {
    parts: Parts,
    chance: Chance,
    now: Arc<std::sync::atomic::AtomicU64>,
}

type Waiting<T> = oneshot::Receiver<Result<T, WriteError>>;

enum Asked {
    Put(u32, Waiting<Stored>),
    Delete(u32, Waiting<bool>),
    Restore(u32, Waiting<bool>),
}

impl Life {
    fn begin(disk: &MemoryDisk, chance: Chance, now: Arc<std::sync::atomic::AtomicU64>) -> Option<Self> {
        let options = StoreOptions {
            segment_bytes: 6_000,
            checkpoint_bytes: 9_000,
            trash_retention: Duration::from_millis(RETENTION_MS),
            scrub_period: Duration::from_millis(60),
            compact_below_percent: 70,
            clock: clock(&now),
            ..quiet()
        };
        let mut chance = chance;
        let mut parts = Store::assemble(Arc::new(disk.clone()), options).ok()?;
        if chance.percent(50) {
            parts.writer.syncer = Syncer::Chance(Chance(chance.number()));
        }
        Some(Self { parts, chance, now })
    }

    /// Works until the disk dies or the work is done.
    fn work(&mut self, model: &mut Model, rounds: u64) {
        for _ in 0..rounds {
            self.now.fetch_add(self.chance.below(20), Ordering::SeqCst);
            if self.chance.percent(15) {
                self.keep(model);
            } else {
                self.change(model);
            }
            self.read(model);
        }
        if self.chance.percent(30) {
            let (reply, _) = oneshot::channel();
            self.parts.writer.process(std::iter::once(Queued::alone(Change::Close { reply })));
        }
    }

    /// One batch of changes.
    fn change(&mut self, model: &mut Model) {
        let now_ms = self.now.load(Ordering::SeqCst);
        let (mut queued, mut asked) = (Vec::new(), Vec::new());
        let pushed_out = self.pushed_out();
        for _ in 0..=self.chance.below(4) {
            let number = self.chance.below(SHARDS) as u32;
            let bytes = shard_body(number);
            let shard = address(&bytes);
            match self.chance.below(10) {
                0..6 => {
                    let (reply, answer) = oneshot::channel();
                    let placement = placement(&bytes, number as u8);
                    let checksum = body_checksum(&shard, &bytes);
                    queued.push(Change::Put {
                        shard,
                        placement,
                        body: bytes,
                        checksum,
                        owner: Owner::NONE,
                        reply,
                    });
                    asked.push(Asked::Put(number, answer));
                    model.asked(number, Kept::Live);
                }
                6..9 => {
                    let (reply, answer) = oneshot::channel();
                    queued.push(Change::Delete { shard, owed_since: None, only: None, reply });
                    asked.push(Asked::Delete(number, answer));
                    // Quarantined shards are deleted for good, but only bit flips make those.
                    model.may_be_trash(number, now_ms);
                }
                _ => {
                    let (reply, answer) = oneshot::channel();
                    queued.push(Change::Restore { shard, owner: Owner::NONE, reply });
                    asked.push(Asked::Restore(number, answer));
                    if model.of(number).contains(&Kept::Trashed) {
                        model.asked(number, Kept::Live);
                    }
                }
            }
        }
        // The second half is written while the first is in flight, or all is one batch.
        let half = self.chance.below(queued.len() as u64 + 1) as usize;
        let later = queued.split_off(half);
        self.parts.writer.process(queued.into_iter().map(Queued::alone));
        self.parts.writer.process(later.into_iter().map(Queued::alone));
        self.parts.writer.settle();
        if self.pushed_out() > pushed_out {
            // Trash is pushed out by shards that need its room, and only then.
            self.may_lose_trash(model, |_| true);
        }
        for asked in asked {
            match asked {
                Asked::Put(number, mut answer) => match answer.try_recv().unwrap() {
                    Ok(_) => model.acknowledged(number, Kept::Live),
                    // What was acknowledged before it may be undone by it all the same.
                    Err(WriteError::NoSpace | WriteError::Failed) => model.asked(number, Kept::Live),
                    Err(error) => panic!("{error}"),
                },
                Asked::Delete(number, mut answer) => match answer.try_recv().unwrap() {
                    Ok(true) => model.acknowledged(number, Kept::Trashed),
                    Ok(false) => {
                        let gone = model.of(number).into_iter().filter(|kept| *kept != Kept::Live).collect();
                        model.possible.insert(number, gone);
                    }
                    // Deletions work on a full disk.
                    Err(error) => {
                        assert_eq!(error, WriteError::Failed);
                        model.may_be_trash(number, now_ms);
                    }
                },
                Asked::Restore(number, mut answer) => match answer.try_recv().unwrap() {
                    Ok(true) => model.acknowledged(number, Kept::Live),
                    Ok(false) => {
                        let lost = model.of(number).contains(&Kept::Absent);
                        assert!(lost || model.spared.contains(&number), "trash {number} is gone");
                        model.acknowledged(number, Kept::Absent);
                    }
                    Err(error) => {
                        assert_eq!(error, WriteError::Failed);
                        if model.of(number).contains(&Kept::Trashed) {
                            model.asked(number, Kept::Live);
                        }
                    }
                },
            }
        }
        if self.pushed_out() > pushed_out {
            self.may_lose_trash(model, |_| true);
        }
    }

    fn pushed_out(&self) -> u64 {
        self.parts.store.counters().pushed_out.load(Ordering::SeqCst)
    }

    /// Retention, compaction, scrub.
    fn keep(&mut self, model: &mut Model) {
        let Parts { writer, keeper, .. } = &mut self.parts;
        let mut submit = |change: Change| {
            writer.process(std::iter::once(Queued::alone(change)));
            // The keeper waits for each.
            writer.settle();
            Ok(())
        };
        let mut left = self.chance.below(400) * 100;
        keeper.step(&mut submit, &mut |bytes| {
            left = left.saturating_sub(bytes);
            left > 0
        });
        let ended = self.now.load(Ordering::SeqCst).saturating_sub(RETENTION_MS);
        let trashed_at = model.trashed_at.clone();
        self.may_lose_trash(model, |number| trashed_at.get(&number).is_some_and(|at| *at < ended));
    }

    fn may_lose_trash(&self, model: &mut Model, which: impl Fn(u32) -> bool) {
        for (number, possible) in &mut model.possible {
            if possible.contains(&Kept::Trashed) && !possible.contains(&Kept::Absent) && which(*number) {
                possible.push(Kept::Absent);
            }
        }
    }

    /// What is shown is durable or at least right.
    fn read(&mut self, model: &Model) {
        let number = self.chance.below(SHARDS) as u32;
        let bytes = shard_body(number);
        match self.parts.store.read_blocking(&address(&bytes)) {
            Ok((_, read)) => assert_eq!(read, bytes),
            _ if model.spared.contains(&number) => {}
            Err(ReadError::NotFound) => {
                assert_ne!(model.of(number), [Kept::Live], "{number} is lost");
            }
            Err(ReadError::Io(_)) => {}
            Err(ReadError::Damaged) => panic!("{number} is damaged"),
        }
        if self.parts.store.stat(&address(&bytes)).is_some() && !model.spared.contains(&number) {
            assert!(model.of(number).contains(&Kept::Live), "{number} is there: {:?}", model.of(number));
        }
    }
}

/// What is found after a crash must be possible. Then that is what is acknowledged.
fn check(store: &Store, model: &mut Model, seed: u64) {
    let mut listed = HashMap::new();
    for line in store.list(None, usize::MAX) {
        listed.insert(line.shard, line.stat);
    }
    for number in 0..SHARDS as u32 {
        let (bytes, spared) = (shard_body(number), model.spared.contains(&number));
        let shard = address(&bytes);
        let state = store.shared.index().get(&shard).map(|entry| entry.state);
        let found = match state {
            None => Kept::Absent,
            Some(State::Live) => Kept::Live,
            Some(State::Trashed { at }) => {
                model.trashed_at.insert(number, at);
                Kept::Trashed
            }
            Some(State::Quarantined) => {
                assert!(spared, "seed {seed}: shard {number} is quarantined");
                Kept::Absent
            }
        };
        let read = store.read_blocking(&shard);
        match (found, &read) {
            (Kept::Live, Ok((_, read))) => assert_eq!(*read, bytes, "seed {seed}"),
            (Kept::Live, _) => assert!(spared, "seed {seed}: shard {number}: {read:?}"),
            (_, read) => assert!(read.is_err(), "seed {seed}"),
        }
        assert_eq!(listed.remove(&shard).is_some(), found == Kept::Live, "seed {seed}");
        let possible = model.of(number);
        if !spared {
            assert!(possible.contains(&found), "seed {seed}: shard {number} is {found:?}, not {possible:?}");
        }
        model.acknowledged(number, found);
    }
    assert!(listed.is_empty(), "seed {seed}: shards that nobody stored");
}

/// Flips a bit of what is on the disk; the shard that this may cost.
fn flip(disk: &MemoryDisk, chance: &mut Chance) -> Option<u32> {
    let names = disk.names();
    let name = names.get(chance.below(names.len() as u64) as usize)?;
    let length = disk.content(name).unwrap().len() as u64;
    if length == 0 || name == "LOCK" {
        return None;
    }
    let bit = chance.below(length * 8);
    let before = disk.content(name).unwrap();
    disk.edit(name, |bytes| bytes[bit as usize / 8] ^= 1 << (bit % 8));
    if !name.ends_with(".seg") {
        return None;
    }
    owners(&before)
        .into_iter()
        .find(|(range, _)| range.contains(&(bit as usize / 8)))
        .and_then(|(_, owner)| owner)
}

/// Where the records of a file lie, and whose they are.
fn owners(content: &[u8]) -> Vec<(std::ops::Range<usize>, Option<u32>)> {
    let (mut owners, mut at) = (Vec::new(), SEGMENT_HEADER_BYTES as usize);
    while let Some(header) = content.get(at..at + RECORD_BYTES as usize) {
        let size = if matches!(header[4], 1 | 4) {
            u32::from_le_bytes(record::array(header, 76)) as usize
        } else {
            0
        };
        let sum = if header[4] == 4 { TRAILER_BYTES as usize } else { 0 };
        let end = at + RECORD_BYTES as usize + size + sum;
        let hash = ShardHash(record::array(header, 8));
        let owner = (0..SHARDS as u32).find(|number| address(&shard_body(*number)) == hash);
        owners.push((at..end, owner));
        at = end;
    }
    owners
}

/// Makes a sector of the log unreadable; the shards that this may cost: those with records in that file.
fn spoil(disk: &MemoryDisk, chance: &mut Chance) -> Vec<u32> {
    let names: Vec<String> = disk.names().into_iter().filter(|name| name.ends_with(".seg")).collect();
    let Some(name) = names.get(chance.below(names.len() as u64) as usize) else { return Vec::new() };
    let content = disk.content(name).unwrap();
    let sector = chance.below(content.len() as u64 / 512 + 1) * 512;
    disk.set_unreadable(name, sector..sector + 512);
    let owners = owners(&content);
    match owners.last() {
        Some((range, _)) if range.end == content.len() => {
            owners.into_iter().filter_map(|(_, owner)| owner).collect()
        }
        // Whose it is nobody can tell.
        _ => (0..SHARDS as u32).collect(),
    }
}

/// A few lives of one store with crashes in between; how many crash points that were.
fn run(seed: u64) -> u64 {
    let mut chance = Chance(seed);
    let now = Arc::new(std::sync::atomic::AtomicU64::new(1_000));
    let (mut disk, mut model) = (MemoryDisk::default(), Model::default());
    let lives = 1 + chance.below(4);
    for life in 0..lives {
        let start = disk.operations();
        let mut faults = Faults::default();
        if chance.percent(80) {
            faults.dies_at = Some(start + chance.below(400));
        }
        if chance.percent(20) {
            let at = start + chance.below(300);
            faults.broken = Some(at..at + 1 + chance.below(3));
        }
        if chance.percent(25) {
            faults.free_bytes = Some(4_300_000 + chance.below(40_000));
        }
        disk.set_faults(faults);
        let begun = Life::begin(&disk, chance.clone(), now.clone());
        if let Some(mut alive) = begun {
            alive.work(&mut model, 5 + chance.below(40));
            chance = alive.chance;
        }
        chance.number();
        disk = if chance.percent(85) { disk.after_power_cut(&mut chance) } else { disk.after_kill() };
        disk.set_faults(Faults::default());
        if chance.percent(15) {
            let victim = flip(&disk, &mut chance);
            model.spared.extend(victim);
        }
        if chance.percent(10) {
            model.spared.extend(spoil(&disk, &mut chance));
        }
        let parts = Store::assemble(Arc::new(disk.clone()), quiet());
        let parts = parts.unwrap_or_else(|error| panic!("seed {seed}: life {life}: no start: {error}"));
        check(&parts.store, &mut model, seed);
        drop(parts);
        // And the same again: a start changes nothing.
        let parts = Store::assemble(Arc::new(disk.clone()), quiet()).unwrap();
        check(&parts.store, &mut model, seed);
    }
    lives
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

#[test]
fn no_crash_loses_what_was_acknowledged() {
    let (wanted, mut seed) = (setting("ARION_CRASHES", SAMPLE), setting("ARION_CRASH_SEED", 1));
    let mut crashes = 0;
    while crashes < wanted {
        let outcome = std::panic::catch_unwind(|| run(seed));
        crashes += outcome.unwrap_or_else(|_| panic!("repeat with ARION_CRASH_SEED={seed} ARION_CRASHES=1"));
        seed += 1;
    }
    println!("{crashes} crash points survived");
}

/// While a slow sync runs others go on, and nothing of what it is to make durable is shown before it is.
#[tokio::test]
async fn a_slow_sync_holds_up_neither_readers_nor_the_queue() {
    let disk = MemoryDisk::default();
    let store = Arc::new(Store::open_on(Arc::new(disk.clone()), quiet()).unwrap());
    let first = shard_body(3);
    store.put(address(&first), placement(&first, 3), first.clone()).await.unwrap();
    let (entered, (open, gate)) = (Arc::new(tokio::sync::Notify::new()), unbounded::<()>());
    let (notify, gate) = (entered.clone(), Mutex::new(gate));
    let during_sync: Arc<dyn Fn() + Send + Sync> = Arc::new(move || {
        notify.notify_one();
        // Until the other end is dropped.
        assert!(gate.lock().unwrap().recv().is_err());
    });
    disk.set_faults(Faults { during_sync: Some(during_sync), ..Faults::default() });
    let put = |number: u32| {
        let (store, bytes) = (store.clone(), shard_body(number));
        tokio::spawn(async move { store.put(address(&bytes), placement(&bytes, number as u8), bytes).await })
    };
    let slow = put(4);
    entered.notified().await;
    assert!(store.stat(&address(&shard_body(4))).is_none(), "shown before it is durable");
    assert_eq!(store.read(address(&first)).await.unwrap().1, first);
    let queued = put(5);
    drop(open);
    slow.await.unwrap().unwrap();
    queued.await.unwrap().unwrap();
    assert_eq!(store.usage().shards, 3);
}

/// While the disk makes one large batch durable the next is written, and neither is shown or answered before its time.
#[tokio::test]
async fn the_next_batch_is_written_while_one_is_in_flight() {
    const LARGE: usize = 3 << 19;
    let disk = MemoryDisk::default();
    let store = Arc::new(Store::open_on(Arc::new(disk.clone()), quiet()).unwrap());
    let (entered, (open, gate)) = (Arc::new(tokio::sync::Notify::new()), unbounded::<()>());
    let (notify, gate) = (entered.clone(), Mutex::new(gate));
    let during_sync: Arc<dyn Fn() + Send + Sync> = Arc::new(move || {
        notify.notify_one();
        assert!(gate.lock().unwrap().recv().is_err());
    });
    disk.set_faults(Faults { during_sync: Some(during_sync), ..Faults::default() });
    let put = |number: u32| {
        let (store, bytes) = (store.clone(), body(number, LARGE));
        tokio::spawn(async move { store.put(address(&bytes), placement(&bytes, number as u8), bytes).await })
    };
    let first = put(1);
    entered.notified().await;
    let second = put(2);
    let begun = Instant::now();
    while disk.content("segments/00000001.seg").unwrap().len() < 2 * LARGE {
        assert!(begun.elapsed() < Duration::from_secs(60), "the second waits for the first");
        tokio::task::yield_now().await;
    }
    // The same again is not acknowledged before the first is durable.
    let again = put(1);
    assert_eq!(store.usage().shards, 0);
    assert!(!first.is_finished() && !second.is_finished() && !again.is_finished());
    drop(open);
    assert!(first.await.unwrap().unwrap().new && second.await.unwrap().unwrap().new);
    assert!(!again.await.unwrap().unwrap().new);
    assert_eq!(store.usage().shards, 2);
}
