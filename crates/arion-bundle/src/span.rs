//! Which blocks are of an epoch.

use std::ops::Range;

use arion_types::Epoch;

/// The blocks in which a map was in force.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// The epoch.
    pub epoch: Epoch,
    /// Block in which its map took effect.
    pub first_block: u32,
    /// Block in which the next map took effect; not of this epoch any more.
    pub end_block: u32,
}

impl Span {
    /// Whether a block is of the epoch.
    pub fn holds(&self, block: u64) -> bool {
        (u64::from(self.first_block)..u64::from(self.end_block)).contains(&block)
    }

    /// First block at which a bundle of the epoch is made: attestations have the length of a bucket to reach the chain.
    pub fn closes_at(&self, bucket_blocks: u32) -> u32 {
        self.end_block.saturating_add(bucket_blocks)
    }

    /// Buckets with blocks of the epoch.
    pub fn buckets(&self, bucket_blocks: u32) -> Range<u32> {
        let blocks = bucket_blocks.max(1);
        if self.first_block >= self.end_block {
            return 0..0;
        }
        self.first_block / blocks..self.end_block.div_ceil(blocks)
    }
}

/// The epochs that are over, oldest first, from `Arion.EpochStarts`.
pub fn ended_spans(starts: &[(Epoch, u32)]) -> Vec<Span> {
    starts
        .windows(2)
        .map(|pair| Span { epoch: pair[0].0, first_block: pair[0].1, end_block: pair[1].1 })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_ends_where_the_next_begins() {
        let spans = ended_spans(&[(1, 0), (2, 0), (5, 130), (6, 400)]);
        let span = |epoch, first_block, end_block| Span { epoch, first_block, end_block };
        assert_eq!(spans, [span(1, 0, 0), span(2, 0, 130), span(5, 130, 400)]);
        assert!(spans[1].holds(0) && spans[1].holds(129) && !spans[1].holds(130) && spans[2].holds(130));
        let buckets: Vec<_> = spans.iter().map(|span| span.buckets(100)).collect();
        assert_eq!(buckets, [0..0, 0..2, 1..4]);
        assert_eq!(spans[1].closes_at(100), 230);
        assert!(ended_spans(&[(1, 7)]).is_empty() && ended_spans(&[]).is_empty());
    }
}
