//! The flow against a chain with the rules of the pallet, and everything that can go wrong in between: all of it, in every
//! order.

use super::*;
use crate::batch::tests::{queued, record, rules, warden};
use arion_types::signing::node_id;
use proptest::prelude::*;

#[path = "flow_limits_tests.rs"]
mod limits;

/// First block of every story; a block takes six seconds.
const HEAD: u32 = 120;
const CAPACITY: usize = 8;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What is between a batch leaving and its fate being known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Twist {
    /// Nothing.
    Fine,
    /// It is included, but nobody says so.
    AnswerLost,
    /// Nobody says anything; it is included ten blocks later.
    LandsLater,
    /// Nobody says anything; it is never included.
    NeverLands,
    /// The node does not take it.
    NotTaken,
    /// It is said to be finalised and is not there.
    Vanishes,
    /// The process dies before it was sent.
    CrashBefore,
    /// The process dies after it was included.
    CrashAfter,
    /// The process dies, and it is included ten blocks later.
    CrashInPool,
    /// Another submitter brings its first attestation just before.
    Stolen,
    /// Others fill the bucket just before, up to one place.
    Filled,
    /// The warden is deregistered just before.
    Deregistered,
}

const TWISTS: [Twist; 12] = [
    Twist::Fine,
    Twist::AnswerLost,
    Twist::LandsLater,
    Twist::NeverLands,
    Twist::NotTaken,
    Twist::Vanishes,
    Twist::CrashBefore,
    Twist::CrashAfter,
    Twist::CrashInPool,
    Twist::Stolen,
    Twist::Filled,
    Twist::Deregistered,
];

/// A transaction that nobody knows the fate of.
#[derive(Clone)]
struct InPool {
    bucket: u32,
    records: Vec<AttestationRecord>,
    lands_at: Option<u32>,
    until: u32,
}

#[derive(Clone)]
struct Chain {
    head: u32,
    buckets: BTreeMap<u32, Vec<AttestationRecord>>,
    wardens: BTreeSet<NodeId>,
    pool: Vec<InPool>,
    /// A shard that the chain refuses for a reason of its own.
    poisoned: Option<u8>,
    transactions: usize,
}

impl Chain {
    fn new() -> Self {
        Self {
            head: HEAD,
            buckets: BTreeMap::new(),
            wardens: [node_id(&warden())].into(),
            pool: Vec::new(),
            poisoned: None,
            transactions: 0,
        }
    }

    /// `submit_attestations`, without the signatures.
    fn apply(&mut self, bucket: u32, records: &[AttestationRecord]) -> Result<(), &'static str> {
        if bucket < rules(CAPACITY).oldest_bucket(self.head) {
            return Err("Arion.AttestationBucketTooOld");
        }
        let mut stored = self.buckets.get(&bucket).cloned().unwrap_or_default();
        if stored.len() + records.len() > CAPACITY {
            return Err("Arion.AttestationBucketFull");
        }
        for record in records {
            if !self.wardens.contains(&NodeId(record.warden_pubkey)) {
                return Err("Arion.UnregisteredWarden");
            }
            if stored.iter().any(|other| other.shard_hash == record.shard_hash) {
                return Err("Arion.DuplicateAttestation");
            }
            if self.poisoned == Some(record.shard_hash[0]) {
                return Err("Arion.InvalidAttestationSignature");
            }
            stored.push(record.clone());
        }
        self.buckets.insert(bucket, stored);
        Ok(())
    }

    fn outcome(&mut self, bucket: u32, records: &[AttestationRecord]) -> Outcome {
        match self.apply(bucket, records) {
            Ok(()) => Outcome::Finalized { fee: Some(1) },
            Err(name) => Outcome::Refused { name: name.to_owned(), fee: Some(1) },
        }
    }

    fn reach(&mut self, head: u32) {
        self.head = self.head.max(head);
        let now = self.head;
        let (landing, waiting) = std::mem::take(&mut self.pool)
            .into_iter()
            .partition(|tx| tx.lands_at.is_some_and(|at| at <= now));
        self.pool = waiting;
        self.pool.retain(|tx| tx.until >= now);
        let landing: Vec<InPool> = landing;
        for tx in landing {
            let _ = self.apply(tx.bucket, &tx.records);
        }
    }

    fn stored(&self, bucket: u32) -> Vec<AttestationRecord> {
        self.buckets.get(&bucket).cloned().unwrap_or_default()
    }
}

/// What survives a crash.
#[derive(Clone, Default)]
struct Disk {
    waiting: Vec<Queued>,
    flights: BTreeMap<u32, Flight>,
    costs: BTreeMap<u64, Cost>,
    rejected: Vec<(Queued, String)>,
}

impl Disk {
    fn buckets(&self) -> Vec<(u32, usize)> {
        let mut buckets = BTreeMap::new();
        for queued in &self.waiting {
            *buckets.entry(bucket_of(queued)).or_insert(0) += 1;
        }
        buckets.into_iter().collect()
    }

    fn settle(&mut self, settlement: &Settlement) {
        let is_over = |queued: &Queued| {
            settlement.finalized.contains(&queued.id)
                || settlement.rejected.iter().any(|(rejected, _)| rejected.id == queued.id)
        };
        self.waiting.retain(|queued| !is_over(queued));
        self.rejected.extend(settlement.rejected.iter().cloned());
        settlement.landed.iter().for_each(|bucket| drop(self.flights.remove(bucket)));
        self.flights.extend(settlement.departing.clone());
        for (number, cost) in &settlement.costs {
            match cost {
                Some(cost) => drop(self.costs.insert(*number, *cost)),
                None => drop(self.costs.remove(number)),
            }
        }
    }
}

fn bucket_of(queued: &Queued) -> u32 {
    (queued.record.block_number / 100) as u32
}

fn limits() -> Limits {
    Limits { batch_max: 3, batch_age: seconds(6), transactions_per_hour: 600, fees_per_day: 1_000 }
}

struct Story {
    chain: Chain,
    disk: Disk,
    flow: Flow,
    now: Duration,
    /// The chain stands still until then.
    frozen_until: Duration,
    sent: usize,
    looks: usize,
}

impl Story {
    fn new(records: &[AttestationRecord], limits: Limits) -> Self {
        let disk = Disk { waiting: records.iter().cloned().map(queued).collect(), ..Disk::default() };
        let flow = Flow::new(rules(CAPACITY), limits, BTreeMap::new(), BTreeMap::new(), Duration::ZERO);
        let (now, frozen_until) = (Duration::ZERO, Duration::ZERO);
        Self { chain: Chain::new(), disk, flow, now, frozen_until, sent: 0, looks: 0 }
    }

    fn crash(&mut self) {
        let (flights, costs) = (self.disk.flights.clone(), self.disk.costs.clone());
        self.flow = Flow::new(self.flow.rules, self.flow.limits, flights, costs, self.now);
    }

    /// Goes on until nothing waits or the time is over; each batch that leaves meets the next twist.
    fn run(&mut self, mut twists: impl Iterator<Item = Twist>, end: Duration) {
        while self.now < end && !(self.disk.waiting.is_empty() && self.disk.flights.is_empty()) {
            if self.now >= self.frozen_until {
                let since = self.now.saturating_sub(self.frozen_until);
                self.chain.reach(self.chain.head.max(HEAD + (since.as_secs() / 6) as u32));
            }
            match self.flow.next(self.now, &self.disk.buckets()) {
                Next::Rest(until) => {
                    assert!(until > self.now, "it spins");
                    self.now = until;
                }
                Next::Look(bucket) => {
                    self.looks += 1;
                    if let Some(batch) = self.look(bucket) {
                        self.meet(twists.next().unwrap_or(Twist::Fine), batch);
                    }
                    self.now += Duration::from_millis(10);
                }
            }
        }
    }

    fn look(&mut self, bucket: u32) -> Option<(u32, Vec<AttestationRecord>)> {
        let seen = Seen {
            bucket,
            waiting: self.disk.waiting.iter().filter(|queued| bucket_of(queued) == bucket).cloned().collect(),
            head: self.chain.head,
            on_chain: &self.chain.stored(bucket),
            wardens: &self.chain.wardens,
        };
        let settlement = self.flow.looked(self.now, seen);
        self.disk.settle(&settlement);
        settlement.departing.and_then(|_| self.flow.sending())
    }

    fn meet(&mut self, twist: Twist, (bucket, records): (u32, Vec<AttestationRecord>)) {
        self.sent += 1;
        assert!(!records.is_empty() && records.len() <= self.flow.limits.batch_max);
        for tx in &self.chain.pool {
            let is_twice = tx.records.iter().any(|record| records.contains(record));
            assert!(!is_twice, "an attestation is in two transactions that may both be included");
        }
        self.chain.transactions += 1;
        let pooled = |chain: &mut Chain, lands_at: Option<u32>| {
            let until = chain.head + 64;
            chain.pool.push(InPool { bucket, records: records.clone(), lands_at, until });
        };
        let later = Some(self.chain.head + 10);
        let unknown = Outcome::Unknown("silence".into());
        let outcome = match twist {
            Twist::Fine => self.chain.outcome(bucket, &records),
            Twist::AnswerLost => {
                let _ = self.chain.apply(bucket, &records);
                unknown
            }
            Twist::LandsLater => {
                pooled(&mut self.chain, later);
                unknown
            }
            Twist::NeverLands => {
                pooled(&mut self.chain, None);
                unknown
            }
            Twist::NotTaken => Outcome::NotTaken("no funds".into()),
            Twist::Vanishes => Outcome::Finalized { fee: Some(1) },
            Twist::CrashBefore => return self.crash(),
            Twist::CrashAfter => {
                let _ = self.chain.apply(bucket, &records);
                return self.crash();
            }
            Twist::CrashInPool => {
                pooled(&mut self.chain, later);
                return self.crash();
            }
            Twist::Stolen => {
                let _ = self.chain.apply(bucket, &records[..1]);
                self.chain.outcome(bucket, &records)
            }
            Twist::Filled => {
                let stored = self.chain.buckets.entry(bucket).or_default();
                for n in 0..CAPACITY.saturating_sub(stored.len() + 1) {
                    stored.push(record(200 + n as u8, u64::from(bucket) * 100));
                }
                self.chain.outcome(bucket, &records)
            }
            Twist::Deregistered => {
                self.chain.wardens.clear();
                self.chain.outcome(bucket, &records)
            }
        };
        let settlement = self.flow.submitted(self.now, &outcome);
        self.disk.settle(&settlement);
    }

    fn on_chain(&self, record: &AttestationRecord) -> usize {
        self.chain.buckets.values().flatten().filter(|stored| *stored == record).count()
    }

    fn reason(&self, record: &AttestationRecord) -> Option<&str> {
        let found = self.disk.rejected.iter().find(|(queued, _)| queued.record == *record);
        found.map(|(_, reason)| reason.as_str())
    }
}

fn records() -> Vec<AttestationRecord> {
    vec![record(1, 10), record(2, 10), record(3, 20), record(4, 30), record(5, 110)]
}

/// All sequences of three of them: 1,728 stories, each with up to three twists, then nothing more goes wrong.
#[test]
fn whatever_goes_wrong_in_whatever_order_nothing_is_lost_or_doubled() {
    let records = records();
    for first in TWISTS {
        for second in TWISTS {
            for third in TWISTS {
                let twists = [first, second, third];
                let mut story = Story::new(&records, limits());
                story.run(twists.into_iter(), seconds(86_400));
                assert!(story.disk.waiting.is_empty(), "{twists:?}: something waits for ever");
                assert!(story.disk.flights.is_empty(), "{twists:?}");
                for record in &records {
                    let (count, reason) = (story.on_chain(record), story.reason(record));
                    let is_settled = match reason {
                        None => count == 1,
                        Some("Arion.AttestationBucketFull") => count == 0 && twists.contains(&Twist::Filled),
                        Some("Arion.UnregisteredWarden") => {
                            count == 0 && twists.contains(&Twist::Deregistered)
                        }
                        // Waiting for a bucket while chains of flights expire is not among these stories.
                        Some(_) => false,
                    };
                    assert!(is_settled, "{twists:?}: {count} times on chain, {reason:?}");
                }
                // Three batches, three twists, and one more each for what a twist took apart.
                assert!(story.sent <= 10, "{twists:?}: {} transactions", story.sent);
            }
        }
    }
}

/// The chain refuses one of them for a reason that cannot be foreseen.
#[test]
fn only_the_bad_one_is_given_up() {
    for bad in 1..=4 {
        let mut story = Story::new(&records(), Limits { batch_max: 4, ..limits() });
        story.chain.poisoned = Some(bad);
        story.run(std::iter::empty(), seconds(3_600));
        assert!(story.disk.waiting.is_empty(), "bad {bad}");
        for record in records() {
            let is_bad = record.shard_hash[0] == bad;
            assert_eq!(story.on_chain(&record), usize::from(!is_bad), "bad {bad}");
            assert_eq!(story.reason(&record).is_some(), is_bad, "bad {bad}");
        }
        assert!(story.sent <= 10, "bad {bad}: {} transactions", story.sent);
    }
}

#[test]
fn a_chain_that_stands_still_for_an_hour_is_waited_for() {
    let mut story = Story::new(&records(), limits());
    story.frozen_until = seconds(3_600);
    // What was sent when it stopped may still be included; it is not sent again.
    story.run([Twist::NeverLands, Twist::NeverLands].into_iter(), seconds(3_600));
    assert_eq!((story.sent, story.disk.waiting.len()), (2, 5));
    assert!(story.looks <= 1_300, "{} looks in an hour", story.looks);
    story.run(std::iter::empty(), seconds(7_200));
    assert!(story.disk.waiting.is_empty());
    assert!(records().iter().all(|record| story.on_chain(record) == 1));
}

#[test]
fn a_key_without_funds_tries_once_a_minute_and_goes_on_when_it_has_some() {
    let mut story = Story::new(&records(), limits());
    story.run(std::iter::repeat(Twist::NotTaken), seconds(3_600));
    assert_eq!(story.disk.waiting.len(), 5);
    assert!((55..=70).contains(&story.sent), "{} attempts in an hour", story.sent);
    story.run(std::iter::empty(), seconds(3_700));
    assert!(records().iter().all(|record| story.on_chain(record) == 1));
}

#[test]
fn a_pruned_bucket_costs_no_fee() {
    let mut story = Story::new(&records(), limits());
    story.chain.head = 1_000;
    story.run(std::iter::empty(), seconds(600));
    assert_eq!(story.sent, 1);
    for record in records() {
        let is_pruned = record.block_number < 100;
        assert_eq!(story.on_chain(&record), usize::from(!is_pruned));
        assert_eq!(story.reason(&record), is_pruned.then_some("Arion.AttestationBucketTooOld"));
    }
}

#[test]
fn a_full_bucket_takes_findings_first_and_costs_no_fee_for_the_rest() {
    let mut story = Story::new(&records(), limits());
    story.chain.buckets.insert(0, (0..7).map(|n| record(200 + n, 1)).collect());
    story.run(std::iter::empty(), seconds(600));
    let full = |record: &&AttestationRecord| story.reason(record) == Some("Arion.AttestationBucketFull");
    assert_eq!(records().iter().filter(full).count(), 3);
    assert_eq!(story.sent, 2);
}

#[test]
fn batches_go_by_size_and_age() {
    let mut story = Story::new(&records()[..2], limits());
    story.run(std::iter::empty(), seconds(5));
    assert_eq!(story.sent, 0, "two wait for a third or for six seconds");
    story.disk.waiting.push(queued(record(9, 40)));
    story.run(std::iter::empty(), seconds(6));
    assert_eq!((story.sent, story.disk.waiting.len()), (1, 0));
    story.disk.waiting.push(queued(record(10, 40)));
    let before = story.now;
    story.run(std::iter::empty(), before + seconds(5));
    assert_eq!(story.sent, 1);
    story.run(std::iter::empty(), before + seconds(8));
    assert_eq!((story.sent, story.disk.waiting.len()), (2, 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Two submitters that got the same attestations: both empty their queues, the chain has each once, and what one
    /// pays for nothing is bounded.
    #[test]
    fn several_submitters_do_not_double(turns in proptest::collection::vec(any::<bool>(), 200)) {
        let mut both = [Story::new(&records(), limits()), Story::new(&records(), limits())];
        let mut sending: [Option<(u32, Vec<AttestationRecord>)>; 2] = [None, None];
        let mut chain = Chain::new();
        let mut turns = turns.into_iter().chain([true, false].into_iter().cycle());
        for _ in 0..4_000 {
            let one = usize::from(turns.next().unwrap());
            let story = &mut both[one];
            std::mem::swap(&mut story.chain, &mut chain);
            if let Some((bucket, records)) = sending[one].take() {
                // What the other had included since is seen by the chain only.
                story.meet(Twist::Fine, (bucket, records));
            } else {
                match story.flow.next(story.now, &story.disk.buckets()) {
                    Next::Rest(until) => story.now = until,
                    Next::Look(bucket) => sending[one] = story.look(bucket),
                }
            }
            std::mem::swap(&mut story.chain, &mut chain);
        }
        for story in &both {
            prop_assert!(story.disk.waiting.is_empty());
            prop_assert!(story.disk.rejected.is_empty());
        }
        for record in records() {
            let stored = chain.buckets.values().flatten().filter(|stored| **stored == record).count();
            prop_assert_eq!(stored, 1);
        }
        prop_assert!(chain.transactions <= 9, "{} transactions for three batches", chain.transactions);
    }
}
