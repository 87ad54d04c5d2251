//! What is kept of ledgers, and what whoever has only that makes of it.

use super::*;
use arion_proofs::merkle;
use arion_protocol::Served;
use proptest::prelude::*;
use std::collections::BTreeMap;

use crate::verify::tests::{GATEWAY, GENESIS, anchor, check, checker, ledger, stripe};
use crate::{Anchor, Fault, Ledger, Report, verify_compacted};
use arion_types::SignedReceipt;

const SEGMENT: u64 = SEGMENT_LINES as u64;

/// Lines that are worth nothing to anybody: statements from long ago, which no miner is without.
fn filler(count: u64, from: u64) -> impl Iterator<Item = LedgerRecord> {
    let miner = stripe(1, 1)[0].receipt.node_id;
    (0..count)
        .map(move |n| LedgerRecord::Served(Served { miner, from: from + n, until: from + n + 1, bytes: 1 }))
}

/// What is kept of the first lines.
fn keep(lines: &[LedgerRecord], until: u64) -> Vec<LedgerEntry> {
    let mut keeping = Keeping::default();
    let lines = (1..=until).zip(lines);
    lines.clone().for_each(|(line, record)| keeping.take(line, record));
    let kept = keeping.lines();
    let entry = |(sequence, record): (u64, &LedgerRecord)| LedgerEntry { sequence, record: *record };
    lines.filter(|(line, _)| kept.binary_search(line).is_ok()).map(entry).collect()
}

fn says(kept: &[LedgerEntry], until: u64) -> Compacted {
    let mut root = KeptRoot::default();
    for LedgerEntry { sequence, record } in kept {
        root.push(line_hash(&GENESIS, &GATEWAY, *sequence, record));
    }
    root.of(until)
}

fn base(whole: &Ledger, until: u64, line: u64) -> LedgerBase {
    let mut peaks = Peaks::default();
    whole.hashes()[..until as usize].iter().for_each(|hash| peaks.push(*hash));
    LedgerBase { peaks: peaks.hashes().to_vec(), until, line }
}

/// A ledger that said what is kept, with what is left of it.
fn compacted(lines: Vec<LedgerRecord>, behind: Vec<LedgerRecord>) -> (Ledger, CompactedLedger) {
    let until = lines.len() as u64 / SEGMENT * SEGMENT;
    let line = lines.len() as u64 + 1;
    let kept = keep(&lines, until);
    let all = [lines, vec![LedgerRecord::Compacted(says(&kept, until))], behind].concat();
    let whole = ledger(all);
    let rest = whole.lines()[until as usize..].to_vec();
    let left = CompactedLedger::new(GENESIS, GATEWAY, base(&whole, until, line), kept, rest).unwrap();
    (whole, left)
}

fn check_left(left: &CompactedLedger, anchors: &[Anchor]) -> Report {
    verify_compacted(left, anchors, &mut checker())
}

/// Something that is done to the shards of a few stripes.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// One of two miners of a place signs.
    Store {
        stripe: u8,
        index: usize,
        epoch: u64,
    },
    Delete {
        stripe: u8,
        index: usize,
    },
    Release {
        stripe: u8,
        index: usize,
        epoch: u64,
    },
    Serve {
        index: usize,
        hour: u64,
    },
}

fn steps(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Step>> {
    let (which, index, epoch) = (1..4u8, 0..4usize, 1..3u64);
    prop::collection::vec(
        prop_oneof![
            4 => (which.clone(), index.clone(), epoch.clone())
                .prop_map(|(stripe, index, epoch)| Step::Store { stripe, index, epoch }),
            2 => (which.clone(), index.clone()).prop_map(|(stripe, index)| Step::Delete { stripe, index }),
            2 => (which, index.clone(), epoch)
                .prop_map(|(stripe, index, epoch)| Step::Release { stripe, index, epoch }),
            1 => (index, 500_000..500_090u64).prop_map(|(index, hour)| Step::Serve { index, hour }),
        ],
        count,
    )
}

/// The lines of steps; receipts are made once.
fn lines(steps: &[Step]) -> Vec<LedgerRecord> {
    let mut known = BTreeMap::<(u8, u64), Vec<SignedReceipt>>::new();
    let mut of = |which: u8, epoch: u64| {
        // Places that both maps give to different miners come first.
        known
            .entry((which, epoch))
            .or_insert_with(|| {
                let (one, two) = (stripe(which, 1), stripe(which, 2));
                let moved = |at: &usize| one[*at].receipt.node_id != two[*at].receipt.node_id;
                let (first, rest): (Vec<usize>, Vec<usize>) = (0..30).partition(moved);
                let all = if epoch == 1 { one } else { two };
                first.into_iter().chain(rest).map(|at| all[at]).collect()
            })
            .clone()
    };
    let line = |step: &Step| match *step {
        Step::Store { stripe, index, epoch } => LedgerRecord::Stored(of(stripe, epoch)[index]),
        Step::Delete { stripe, index } => LedgerRecord::Deleted { shard: of(stripe, 1)[index].receipt.shard },
        Step::Release { stripe, index, epoch } => {
            let receipt = of(stripe, epoch)[index].receipt;
            LedgerRecord::Released { shard: receipt.shard, miner: receipt.node_id }
        }
        Step::Serve { index, hour } => {
            let (from, until) = (hour * 3_600_000, (hour + 1) * 3_600_000);
            LedgerRecord::Served(Served { miner: of(1, 1)[index].receipt.node_id, from, until, bytes: 500 })
        }
    };
    steps.iter().map(line).collect()
}

fn kept_of<'a>(lines: impl Iterator<Item = (u64, &'a LedgerRecord)>, part: (u64, u64)) -> Vec<u64> {
    let mut keeping = Keeping::part(part.0, part.1);
    lines.for_each(|(line, record)| keeping.take(line, record));
    keeping.lines()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Compacting twice is compacting once, and parts are the whole.
    #[test]
    fn what_is_kept_follows_from_what_was_kept(steps in steps(1..80), at in any::<prop::sample::Index>(), parts in 1..5u64) {
        let lines = lines(&steps);
        let all = || (1..).zip(&lines);
        let whole = kept_of(all(), (0, 1));
        let first = kept_of(all().take(at.index(lines.len())), (0, 1));
        let left = all().filter(|(line, _)| *line > at.index(lines.len()) as u64 || first.contains(line));
        prop_assert_eq!(&kept_of(left, (0, 1)), &whole);
        let mut together: Vec<u64> = (0..parts).flat_map(|part| kept_of(all(), (part, parts))).collect();
        together.sort_unstable();
        prop_assert_eq!(&together, &whole);
        // Every line that is not kept can be told from the lines behind it.
        for (line, record) in all().filter(|(line, _)| !whole.contains(line)) {
            if let LedgerRecord::Stored(signed) = record {
                let receipt = &signed.receipt;
                let takes_back = |record: &LedgerRecord| match record {
                    LedgerRecord::Deleted { shard } => *shard == receipt.shard,
                    LedgerRecord::Released { shard, miner } => (shard, miner) == (&receipt.shard, &receipt.node_id),
                    _ => false,
                };
                prop_assert!(lines[line as usize..].iter().any(takes_back));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Whoever has only what was kept finds the same live shards, the same roots and the same of what comes behind.
    #[test]
    fn what_is_left_comes_to_the_same_as_everything(
        before in steps(1..60), behind in steps(1..40), more in 0..200u64, cut in any::<prop::sample::Index>(),
    ) {
        let first = [lines(&before), filler(SEGMENT + more, 1_000).collect()].concat();
        let (whole, left) = compacted(first, lines(&behind));
        let last = whole.lines().len() as u64;
        let at = left.until() + cut.index((last - left.until()) as usize + 1) as u64;
        let anchors = [anchor(&whole, 17, 0), anchor(&whole, at, 3_000), anchor(&whole, last, u64::MAX)];
        let (one, two) = (check(&whole, &anchors), check_left(&left, &anchors));
        prop_assert_eq!((one.lines, one.root), (two.lines, two.root));
        prop_assert_eq!((one.live_shards, one.live_bytes), (two.live_shards, two.live_bytes));
        prop_assert_eq!((two.base, two.not_compared, one.not_compared), (left.until(), 1, 0));
        let of = |report: &Report| {
            let faults = report.findings.iter().filter(|finding| {
                finding.line > left.until() && !matches!(finding.fault, Fault::Doubled { .. } | Fault::Served(_) | Fault::Overbilled { .. })
            });
            faults.copied().collect::<Vec<_>>()
        };
        prop_assert_eq!(of(&one), of(&two));
        let is_compacted = |report: &Report| report.findings.iter().any(|found| matches!(found.fault, Fault::Compacted { .. }));
        prop_assert!(!is_compacted(&one) && !is_compacted(&two));
    }
}

/// Two stripes, of which the first is deleted, and enough lines for a segment.
fn two_stripes() -> Vec<LedgerRecord> {
    let (first, second) = (stripe(1, 1), stripe(2, 2));
    let stored = first.iter().chain(&second).copied().map(LedgerRecord::Stored);
    let deleted = first.iter().map(|signed| LedgerRecord::Deleted { shard: signed.receipt.shard });
    stored.chain(deleted).chain(filler(SEGMENT, 1_000)).collect()
}

#[test]
fn a_line_that_leaves_out_what_is_live_or_keeps_what_is_dead_is_found() {
    let lines = two_stripes();
    let line = lines.len() as u64 + 1;
    let kept = keep(&lines, SEGMENT);
    assert!(kept.iter().take(30).map(|entry| entry.sequence).eq(31..=60));
    let found = |kept: &[LedgerEntry], until: u64| {
        let statement = LedgerRecord::Compacted(Compacted { until, ..says(kept, SEGMENT) });
        let report = check(&ledger([&lines[..], &[statement]].concat()), &[]);
        let compacted = report.findings.iter().filter(|found| matches!(found.fault, Fault::Compacted { .. }));
        compacted.map(|found| found.line).collect::<Vec<_>>()
    };
    assert_eq!(found(&kept, SEGMENT), Vec::<u64>::new());
    assert_eq!(found(&kept[1..], SEGMENT), [line], "a live receipt is missing");
    let dead = LedgerEntry { sequence: 1, record: lines[0] };
    assert_eq!(found(&[&[dead][..], &kept].concat(), SEGMENT), [line], "a deleted shard is back");
    for until in [0, 1, SEGMENT - 1, 2 * SEGMENT, u64::MAX / SEGMENT * SEGMENT] {
        assert_eq!(found(&kept, until), [line], "{until}");
    }
    // The second time of the same lines says nothing.
    let statement = LedgerRecord::Compacted(says(&kept, SEGMENT));
    let report = check(&ledger([&lines[..], &[statement, statement]].concat()), &[]);
    assert!(report.findings.iter().any(|found| found.line == line + 1));
}

#[test]
fn a_gateway_that_gives_something_else_than_it_said_is_caught() {
    let lines = two_stripes();
    let (whole, left) = compacted(lines.clone(), Vec::new());
    let base = base(&whole, SEGMENT, left.line);
    let rest = whole.lines()[SEGMENT as usize..].to_vec();
    let make = |base: &LedgerBase, kept: &[LedgerEntry], rest: &[LedgerRecord]| {
        CompactedLedger::new(GENESIS, GATEWAY, base.clone(), kept.to_vec(), rest.to_vec())
    };
    assert_eq!(make(&base, &left.kept, &rest).as_ref(), Ok(&left));
    let kept_fault = Err(BaseFault::Kept { until: SEGMENT, line: left.line });
    assert_eq!(make(&base, &left.kept[1..], &rest), kept_fault);
    let dead = LedgerEntry { sequence: 1, record: lines[0] };
    assert_eq!(make(&base, &[&[dead][..], &left.kept].concat(), &rest), kept_fault);
    let twice = [&left.kept[..1], &left.kept[..]].concat();
    assert_eq!(make(&base, &twice, &rest), kept_fault);
    assert_eq!(
        make(&base, &left.kept, &rest[..rest.len() - 1]),
        Err(BaseFault::Line { until: SEGMENT, line: left.line })
    );
    for wrong in [
        LedgerBase { until: 0, ..base.clone() },
        LedgerBase { until: SEGMENT + 1, ..base.clone() },
        LedgerBase { line: SEGMENT, ..base.clone() },
        LedgerBase { line: u64::MAX, ..base.clone() },
        LedgerBase { peaks: Vec::new(), ..base.clone() },
    ] {
        assert!(matches!(make(&wrong, &left.kept, &rest), Err(BaseFault::Form { .. })), "{wrong:?}");
    }
    // Peaks that are not those of the lines are noticed by the first anchor.
    let anchors = [anchor(&whole, whole.lines().len() as u64, 30_000)];
    assert!(
        check_left(&left, &anchors).findings.iter().all(|found| !matches!(found.fault, Fault::Root { .. }))
    );
    let other = LedgerBase { peaks: vec![[1; 32]], ..base };
    let other = make(&other, &left.kept, &rest).unwrap();
    assert!(
        check_left(&other, &anchors).findings.iter().any(|found| matches!(found.fault, Fault::Root { .. }))
    );
}

#[test]
fn old_statements_go_and_what_is_billed_behind_a_base_is_checked() {
    let (whole, left) = compacted(two_stripes(), Vec::new());
    // All of these are within two days.
    assert_eq!(left.kept.len() as u64, 30 + SEGMENT - 90);
    let newest: Vec<_> = filler(1, 1_000 + SERVED_KEPT_MS + 10_000).collect();
    let mut lines = two_stripes();
    lines.splice(SEGMENT as usize - 1..SEGMENT as usize, newest);
    assert_eq!(keep(&lines, SEGMENT).len(), 31);
    let line = |sequence| left.line(sequence).copied();
    assert_eq!(
        (line(1), line(31), line(left.len())),
        (None, Some(whole.lines()[30]), whole.lines().last().copied())
    );
    assert_eq!((line(0), line(left.len() + 1), left.is_empty()), (None, None, false));
    let last = left.len();
    let found = |bytes| {
        let report = check_left(&left, &[anchor(&whole, last, bytes)]);
        report.findings.iter().filter(|found| matches!(found.fault, Fault::Overbilled { .. })).count()
    };
    assert_eq!((found(30_000), found(30_001)), (0, 1));
    assert_eq!(check_left(&left, &[]).root, merkle::root(&whole.hashes()));
    let beyond = Anchor { sequence: last + 1, root: [0; 32], bytes: 0 };
    assert!(
        check_left(&left, &[beyond])
            .findings
            .iter()
            .any(|found| matches!(found.fault, Fault::Missing { .. }))
    );
}
