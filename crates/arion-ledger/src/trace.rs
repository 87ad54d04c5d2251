//! What a ledger says of some shards: those of a receipt, say.

use std::collections::BTreeMap;

use arion_protocol::LedgerRecord;
use arion_types::ShardHash;

/// What became of a shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// A miner has signed for it, and it was not deleted since.
    Live,
    /// It was deleted with this line.
    Deleted(u64),
    /// No line is about it: it was stored with another gateway, or what was said of it was dropped since.
    Unknown,
}

/// What became of the shards of a stripe.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StripeFate {
    /// Shards that are live.
    pub live: usize,
    /// Shards that were deleted, and the first and the last line that did it.
    pub deleted: usize,
    /// See `deleted`.
    pub lines: Option<(u64, u64)>,
    /// Shards that no line is about.
    pub unknown: usize,
}

impl StripeFate {
    /// Whether every shard that was asked for is live.
    pub fn is_whole(&self) -> bool {
        self.deleted == 0 && self.unknown == 0
    }
}

/// Looks for shards, each in a list of a stripe, in lines that come in order with their numbers.
pub fn trace<'a>(
    lines: impl Iterator<Item = (u64, &'a LedgerRecord)>,
    stripes: &[Vec<ShardHash>],
) -> Vec<StripeFate> {
    let asked = stripes.iter().flatten();
    let mut fates: BTreeMap<ShardHash, Fate> = asked.map(|shard| (*shard, Fate::Unknown)).collect();
    for (line, record) in lines {
        let (shard, fate) = match record {
            LedgerRecord::Stored(signed) => (&signed.receipt.shard, Fate::Live),
            LedgerRecord::Deleted { shard } => (shard, Fate::Deleted(line)),
            LedgerRecord::Released { .. } | LedgerRecord::Served(_) | LedgerRecord::Compacted(_) => continue,
        };
        if let Some(known) = fates.get_mut(shard) {
            *known = fate;
        }
    }
    let of = |shards: &Vec<ShardHash>| {
        let mut stripe = StripeFate::default();
        for shard in shards {
            match fates.get(shard).copied().unwrap_or(Fate::Unknown) {
                Fate::Live => stripe.live += 1,
                Fate::Unknown => stripe.unknown += 1,
                Fate::Deleted(line) => {
                    stripe.deleted += 1;
                    let (first, last) = stripe.lines.unwrap_or((line, line));
                    stripe.lines = Some((first.min(line), last.max(line)));
                }
            }
        }
        stripe
    };
    stripes.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use arion_types::{NodeId, Receipt, SignedReceipt, StripeId};

    use super::*;

    fn shard(n: u8) -> ShardHash {
        ShardHash([n; 32])
    }

    fn stored(n: u8) -> LedgerRecord {
        let receipt = Receipt {
            shard: shard(n),
            size: 1,
            stripe: StripeId([1; 32]),
            pg: 1,
            index: 0,
            epoch: 1,
            node_id: NodeId([2; 32]),
            stored_at: 1,
        };
        LedgerRecord::Stored(SignedReceipt { receipt, signature: [0; 64] })
    }

    fn deleted(n: u8) -> LedgerRecord {
        LedgerRecord::Deleted { shard: shard(n) }
    }

    #[test]
    fn a_shard_is_what_the_last_line_about_it_says() {
        let released = LedgerRecord::Released { shard: shard(1), miner: NodeId([2; 32]) };
        let lines = [
            stored(1),
            stored(2),
            stored(3),
            deleted(2),
            released,
            deleted(3),
            stored(3),
            stored(9),
            deleted(5),
            deleted(9),
        ];
        let stripes = [vec![shard(1), shard(3)], vec![shard(2), shard(4), shard(5), shard(1)], vec![]];
        let found = trace((1..).zip(&lines), &stripes);
        let first = StripeFate { live: 2, ..StripeFate::default() };
        let second = StripeFate { live: 1, deleted: 2, lines: Some((4, 9)), unknown: 1 };
        assert_eq!(found, [first, second, StripeFate::default()]);
        assert_eq!(found.iter().map(StripeFate::is_whole).collect::<Vec<_>>(), [true, false, true]);
    }
}
