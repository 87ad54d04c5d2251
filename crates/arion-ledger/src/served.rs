//! What a gateway says that a miner served to it: whether it can be, and how much of it counts.
//!
//! Nobody signs for a read but the gateway that made it. So its word counts for no more than what its ledger proves by
//! receipts: within a day, at most the bytes that it has on the miner. And it stands in the ledger for good.
//!
//! # Invariants
//! - Periods of a miner in a ledger do not overlap: no byte is stated twice.
//! - What counts is bounded by what the miner stores for the gateway, whatever is stated.
//! - Memory of a miner is bounded by [`HOURS`], however many statements there are.
//!
//! Specified in docs/spec/ledger.md, "What was served".

use std::collections::BTreeMap;

use arion_protocol::Served;
use codec::{Decode, Encode};

/// Hours whose statements count, besides the one that is not over.
pub const HOURS: u64 = 24;
/// A miner cannot serve more in a millisecond: 100 Gbit/s.
pub const BYTES_PER_MS_MAX: u64 = 12_500_000;

const HOUR_MS: u64 = 3_600_000;

/// Why a statement does not count.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ServedFault {
    /// It ends before it begins, or when it begins.
    #[error("the period is empty or runs backwards")]
    Empty,
    /// It begins before the one before has ended.
    #[error("the period begins before {until}, when the one stated before ends")]
    Overlap {
        /// End of the one before, milliseconds since the Unix epoch.
        until: u64,
    },
    /// More than any miner can.
    #[error("no miner can serve so many bytes in this time")]
    TooMuch,
}

/// The most that can be stated of so many milliseconds.
pub fn bytes_max(milliseconds: u64) -> u64 {
    milliseconds.saturating_mul(BYTES_PER_MS_MAX)
}

/// What a gateway has stated of a miner.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct Statements {
    /// End of the last one.
    until: u64,
    /// Bytes by the hour since 1970 in which their period ended; the newest hours.
    hours: BTreeMap<u64, u64>,
}

impl Statements {
    /// Takes a statement over; one that was taken over already overlaps itself, and changes nothing.
    pub fn take(&mut self, served: &Served) -> Result<(), ServedFault> {
        if served.from >= served.until {
            return Err(ServedFault::Empty);
        }
        if served.from < self.until {
            return Err(ServedFault::Overlap { until: self.until });
        }
        if served.bytes > bytes_max(served.until - served.from) {
            return Err(ServedFault::TooMuch);
        }
        self.until = served.until;
        let hour = served.until / HOUR_MS;
        let bytes = self.hours.entry(hour).or_default();
        *bytes = bytes.saturating_add(served.bytes);
        self.hours.retain(|found, _| found + HOURS >= hour);
        Ok(())
    }

    /// End of the last period.
    pub fn until(&self) -> u64 {
        self.until
    }

    /// Bytes stated of the last day, at a time in milliseconds since the Unix epoch. A clock that is ahead by an hour is taken.
    pub fn of_last_day(&self, now_ms: u64) -> u64 {
        let hour = now_ms / HOUR_MS;
        let counted = self.hours.range(hour.saturating_sub(HOURS)..=hour.saturating_add(1));
        counted.fold(0, |sum, (_, bytes)| sum.saturating_add(*bytes))
    }

    /// What of that counts where the gateway's ledger has so many live bytes on the miner.
    pub fn counted(&self, now_ms: u64, held: u64) -> u64 {
        self.of_last_day(now_ms).min(held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arion_types::NodeId;
    use proptest::prelude::*;

    fn served(from: u64, until: u64, bytes: u64) -> Served {
        Served { miner: NodeId([1; 32]), from, until, bytes }
    }

    #[test]
    fn what_was_stated_of_the_last_day_counts_up_to_what_is_stored() {
        let mut stated = Statements::default();
        for hour in 0..30 {
            stated.take(&served(hour * HOUR_MS, (hour + 1) * HOUR_MS, 10)).unwrap();
        }
        // The newest ended when hour 30 began: those that ended in hours 6 to 30.
        let now = 30 * HOUR_MS + 5;
        assert_eq!((stated.until(), stated.of_last_day(now)), (30 * HOUR_MS, 250));
        assert_eq!((stated.counted(now, 1_000), stated.counted(now, 70)), (250, 70));
        assert_eq!(stated.of_last_day(now + 10 * HOUR_MS), 150);
        assert_eq!(stated.of_last_day(now + 25 * HOUR_MS), 0);
        assert_eq!(stated.of_last_day(28 * HOUR_MS), 240, "two hours ahead of this clock: not yet");
    }

    #[test]
    fn what_cannot_be_is_refused_and_changes_nothing() {
        let mut stated = Statements::default();
        stated.take(&served(10, 20, 5)).unwrap();
        let before = stated.clone();
        assert_eq!(stated.take(&served(20, 20, 1)), Err(ServedFault::Empty));
        assert_eq!(stated.take(&served(30, 20, 1)), Err(ServedFault::Empty));
        assert_eq!(stated.take(&served(10, 20, 5)), Err(ServedFault::Overlap { until: 20 }));
        assert_eq!(stated.take(&served(19, 25, 5)), Err(ServedFault::Overlap { until: 20 }));
        assert_eq!(stated.take(&served(20, 21, BYTES_PER_MS_MAX + 1)), Err(ServedFault::TooMuch));
        assert_eq!(stated, before);
        stated.take(&served(20, 21, BYTES_PER_MS_MAX)).unwrap();
    }

    proptest! {
        #[test]
        fn nothing_counts_beyond_what_is_stored_and_memory_is_bounded(
            lines in proptest::collection::vec((any::<u64>(), any::<u64>(), any::<u64>()), 1..60),
            now in any::<u64>(), held in any::<u64>()
        ) {
            let mut stated = Statements::default();
            for (from, until, bytes) in lines {
                let _ = stated.take(&served(from, until, bytes));
                prop_assert!(stated.hours.len() <= HOURS as usize + 1);
            }
            prop_assert!(stated.counted(now, held) <= held);
        }
    }
}
