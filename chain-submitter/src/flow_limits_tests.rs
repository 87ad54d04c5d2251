//! How much goes out in an hour and a day, whatever happens to the process and its transactions.

use super::*;

#[test]
fn limits_hold_and_the_rest_goes_when_time_has_passed() {
    let many: Vec<_> = (0..6).map(|n| record(n, 10)).collect();
    let few = Limits { batch_max: 1, transactions_per_hour: 2, ..limits() };
    let mut story = Story::new(&many, few);
    story.run(std::iter::empty(), seconds(3_590));
    assert_eq!(story.sent, 2);
    assert!(story.flow.limit_reached(story.now).unwrap().contains("transactions"));
    story.run(std::iter::empty(), seconds(3 * 3_600 + 60));
    assert!(story.disk.waiting.is_empty());
    let cheap = Limits { batch_max: 1, fees_per_day: 3, ..limits() };
    let mut story = Story::new(&many, cheap);
    story.run(std::iter::empty(), seconds(86_000));
    assert_eq!(story.sent, 3);
    assert!(story.flow.limit_reached(story.now).unwrap().contains("fees"));
}

/// A process that dies again and again while it waits to hear, and one that dies before anything left.
#[test]
fn a_crash_loop_keeps_to_the_limits() {
    for twist in
        [Twist::CrashAfter, Twist::CrashInPool, Twist::CrashBefore, Twist::AnswerLost, Twist::NeverLands]
    {
        for (limits, span) in [
            (Limits { batch_max: 1, fees_per_day: 3, ..limits() }, 86_000),
            (Limits { batch_max: 1, transactions_per_hour: 3, ..limits() }, 3_500),
        ] {
            let mut story = Story::new(&records(), limits);
            story.run(std::iter::repeat(twist), seconds(span));
            assert!(story.sent <= 3, "{twist:?}: {} transactions", story.sent);
        }
    }
}

/// What the node did not take cost nothing.
#[test]
fn what_was_not_taken_does_not_count() {
    let mut story = Story::new(&records(), Limits { batch_max: 1, fees_per_day: 5, ..limits() });
    story.run(std::iter::repeat_n(Twist::NotTaken, 20), seconds(3_600));
    assert!(records().iter().all(|record| story.on_chain(record) == 1));
    assert_eq!(story.disk.costs.values().map(|cost| cost.fee).collect::<Vec<_>>(), [Some(1); 5]);
}
