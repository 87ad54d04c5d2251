//! Commitments against a chain with the rules of the pallet, and everything that can go wrong in between, in every order.

use super::*;
use crate::{batch::tests::rules, flow::Limits, spending::Cost};

const EPOCH: Epoch = 3;
const HEAD: u32 = 500;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn commitment(n: u8) -> AttestationCommitment {
    AttestationCommitment { content_hash: [n; 32], attestation_root: [2; 32], warden_root: [3; 32], count: 4 }
}

/// What is between a commitment leaving and its fate being known.
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
    /// The account is not admitted.
    BadOrigin,
    /// The process dies before it was sent.
    CrashBefore,
    /// The process dies after it was included.
    CrashAfter,
    /// The process dies, and it is included ten blocks later.
    CrashInPool,
    /// Another submitter commits to another bundle just before.
    Stolen,
    /// The epoch goes just before.
    Pruned,
}

const TWISTS: [Twist; 12] = [
    Twist::Fine,
    Twist::AnswerLost,
    Twist::LandsLater,
    Twist::NeverLands,
    Twist::NotTaken,
    Twist::Vanishes,
    Twist::BadOrigin,
    Twist::CrashBefore,
    Twist::CrashAfter,
    Twist::CrashInPool,
    Twist::Stolen,
    Twist::Pruned,
];

/// A transaction that nobody knows the fate of: when it lands, and behind which block it cannot.
type InPool = (Option<u32>, u32);

struct Story {
    head: u32,
    committed: Option<AttestationCommitment>,
    is_kept: bool,
    pool: Vec<InPool>,
    /// Calls that the chain refused or carried out.
    paid: usize,
    waiting: BTreeMap<Epoch, Committing>,
    costs: BTreeMap<u64, Cost>,
    committer: Committer,
    flow: Flow,
    limits: Limits,
    now: Duration,
    sent: usize,
    ending: Option<Ending>,
}

fn limits() -> Limits {
    Limits { batch_max: 3, batch_age: seconds(6), transactions_per_hour: 600, fees_per_day: 1_000 }
}

impl Story {
    fn new(limits: Limits) -> Self {
        Self {
            head: HEAD,
            committed: None,
            is_kept: true,
            pool: Vec::new(),
            paid: 0,
            waiting: [(EPOCH, Committing { commitment: commitment(1), until: None })].into(),
            costs: BTreeMap::new(),
            committer: Committer::default(),
            flow: Flow::new(rules(8), limits, BTreeMap::new(), BTreeMap::new(), Duration::ZERO),
            limits,
            now: Duration::ZERO,
            sent: 0,
            ending: None,
        }
    }

    fn crash(&mut self) {
        self.committer = Committer::default();
        self.flow = Flow::new(rules(8), self.limits, BTreeMap::new(), self.costs.clone(), self.now);
    }

    fn settle(&mut self, settlement: Settlement) {
        match settlement.committing {
            Some((epoch, Some(committing))) => drop(self.waiting.insert(epoch, committing)),
            Some((epoch, None)) => drop(self.waiting.remove(&epoch)),
            None => {}
        }
        for (number, cost) in settlement.costs {
            match cost {
                Some(cost) => drop(self.costs.insert(number, cost)),
                None => drop(self.costs.remove(&number)),
            }
        }
    }

    /// `submit_attestation_commitment`.
    fn apply(&mut self, commitment: AttestationCommitment) -> Outcome {
        self.paid += 1;
        let refused = |name: &str| Outcome::Refused { name: name.to_owned(), fee: Some(1) };
        if !self.is_kept {
            return refused("Arion.UnknownEpoch");
        }
        if self.committed.is_some() {
            return refused("Arion.CommitmentAlreadyExists");
        }
        self.committed = Some(commitment);
        Outcome::Finalized { fee: Some(1) }
    }

    fn reach(&mut self) {
        self.head = self.head.max(HEAD + (self.now.as_secs() / 6) as u32);
        let head = self.head;
        let pool = std::mem::take(&mut self.pool);
        for (lands_at, until) in pool.into_iter().filter(|(_, until)| *until >= head) {
            match lands_at.is_some_and(|at| at <= head) {
                true => drop(self.apply(commitment(1))),
                false => self.pool.push((lands_at, until)),
            }
        }
    }

    fn run(&mut self, mut twists: impl Iterator<Item = Twist>, end: Duration) {
        while self.now < end && !self.waiting.is_empty() {
            self.reach();
            if let Some((epoch, committing)) = self.committer.next(self.now, &self.waiting) {
                let seen = SeenEpoch { head: self.head, committed: self.committed, is_kept: self.is_kept };
                match self.committer.looked(self.now, epoch, committing, seen, &mut self.flow) {
                    Decision::Wait(settlement) => self.settle(settlement),
                    Decision::Over(settlement, ending) => {
                        self.settle(settlement);
                        self.ending = Some(ending);
                    }
                    Decision::Send(settlement) => {
                        self.settle(settlement);
                        self.meet(twists.next().unwrap_or(Twist::Fine));
                    }
                }
            }
            self.now += Duration::from_millis(500);
        }
    }

    fn meet(&mut self, twist: Twist) {
        self.sent += 1;
        assert!(self.pool.is_empty(), "two transactions that may both be included");
        let unknown = Outcome::Unknown("silence".into());
        let pooled = |lands_at| (lands_at, self.head + 64);
        let (never, later) = (pooled(None), pooled(Some(self.head + 10)));
        let outcome = match twist {
            Twist::Fine => self.apply(commitment(1)),
            Twist::AnswerLost => {
                self.apply(commitment(1));
                unknown
            }
            Twist::LandsLater => {
                self.pool.push(later);
                unknown
            }
            Twist::NeverLands => {
                self.pool.push(never);
                unknown
            }
            Twist::NotTaken => Outcome::NotTaken("no funds".into()),
            Twist::Vanishes => Outcome::Finalized { fee: Some(1) },
            Twist::BadOrigin => Outcome::Refused { name: "BadOrigin".into(), fee: Some(1) },
            Twist::CrashBefore => return self.crash(),
            Twist::CrashAfter => {
                self.apply(commitment(1));
                return self.crash();
            }
            Twist::CrashInPool => {
                self.pool.push(later);
                return self.crash();
            }
            Twist::Stolen => {
                self.committed.get_or_insert(commitment(9));
                self.apply(commitment(1))
            }
            Twist::Pruned => {
                self.is_kept = false;
                self.committed = None;
                self.apply(commitment(1))
            }
        };
        let settlement = self.committer.submitted(self.now, &outcome, &mut self.flow);
        self.settle(settlement);
    }
}

/// All sequences of three of them: 1,728 stories, each with up to three twists, then nothing more goes wrong.
#[test]
fn whatever_goes_wrong_in_whatever_order_the_epoch_is_committed_to_once() {
    for first in TWISTS {
        for second in TWISTS {
            for third in TWISTS {
                let twists = [first, second, third];
                let mut story = Story::new(limits());
                story.run(twists.into_iter(), seconds(86_400));
                assert!(story.waiting.is_empty(), "{twists:?}: it waits for ever");
                let met = &twists[..story.sent.min(3)];
                let expected = if met.contains(&Twist::Pruned) {
                    Ending::Gone
                } else if met.contains(&Twist::Stolen) {
                    Ending::Other
                } else {
                    Ending::Committed
                };
                assert_eq!(story.ending, Some(expected), "{twists:?}");
                // Three twists, and one more.
                assert!(story.sent <= 4, "{twists:?}: {} transactions", story.sent);
                assert!(story.paid <= story.sent, "{twists:?}");
            }
        }
    }
}

#[test]
fn one_that_is_there_already_costs_nothing() {
    for (committed, is_kept, ending) in [
        (Some(commitment(1)), true, Ending::Committed),
        (Some(commitment(9)), true, Ending::Other),
        (None, false, Ending::Gone),
    ] {
        let mut story = Story::new(limits());
        (story.committed, story.is_kept) = (committed, is_kept);
        story.run(std::iter::empty(), seconds(60));
        assert_eq!((story.ending, story.sent), (Some(ending), 0));
        assert!(story.costs.is_empty());
    }
}

#[test]
fn an_account_that_is_not_admitted_tries_once_a_minute() {
    let mut story = Story::new(limits());
    story.run(std::iter::repeat(Twist::BadOrigin), seconds(3_600));
    assert!((55..=70).contains(&story.sent), "{} attempts in an hour", story.sent);
    story.run(std::iter::empty(), seconds(3_700));
    assert_eq!(story.ending, Some(Ending::Committed));
}

#[test]
fn limits_hold_for_commitments_too_and_a_crash_loop_keeps_to_them() {
    for twist in [Twist::NeverLands, Twist::CrashBefore, Twist::Vanishes, Twist::BadOrigin] {
        for (few, span) in [
            (Limits { transactions_per_hour: 3, ..limits() }, 3_500),
            (Limits { fees_per_day: 3, ..limits() }, 86_000),
        ] {
            let mut story = Story::new(few);
            story.run(std::iter::repeat(twist), seconds(span));
            assert!((1..=3).contains(&story.sent), "{twist:?}: {} transactions", story.sent);
        }
    }
}
