//! Which buckets of the chain are to be copied before it prunes them. No IO.
//!
//! A bucket takes attestations until it is pruned, nearly all of them soon. So it is read when its blocks are over for a while, and
//! once more shortly before it goes; and everything that is still there when a bundle is made ([`super::maker`]).

/// Buckets behind a bucket's own after which it is copied.
const SETTLED: u32 = 2;
/// It is copied again in the last part, one of so many, of its life on chain.
const LAST_PART: u32 = 20;

/// How long the chain keeps attestations.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Keeping {
    /// Blocks of a bucket.
    pub bucket_blocks: u32,
    /// Buckets that are kept, the current one included.
    pub buckets_kept: u32,
}

impl Keeping {
    /// The bucket of a block.
    pub fn bucket_of(&self, block: u32) -> u32 {
        block / self.bucket_blocks.max(1)
    }

    /// The oldest bucket that the chain has at a block.
    pub fn oldest(&self, head: u32) -> u32 {
        self.bucket_of(head).saturating_add(1).saturating_sub(self.buckets_kept)
    }

    /// Whether the copy of a bucket, made at `copied_at` if there is one, is to be made now.
    pub fn is_due(&self, bucket: u32, copied_at: Option<u32>, head: u32) -> bool {
        let now = self.bucket_of(head);
        if bucket < self.oldest(head) || now < bucket.saturating_add(SETTLED) {
            return false;
        }
        let life = self.buckets_kept - self.buckets_kept / LAST_PART;
        let last = bucket.saturating_add(life.max(SETTLED));
        match copied_at {
            None => true,
            Some(block) => now >= last && self.bucket_of(block) < last,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_copied_when_it_is_settled_and_before_it_goes() {
        let keeping = Keeping { bucket_blocks: 100, buckets_kept: 1_000 };
        let (mut copied_at, mut copies) = (None, Vec::new());
        for head in (0..120_000).step_by(7) {
            if keeping.is_due(5, copied_at, head) {
                copied_at = Some(head);
                copies.push(head / 100);
            }
        }
        assert_eq!(copies, [7, 5 + 950]);
        // Who comes late takes what is left, or nothing.
        assert!(keeping.is_due(5, None, 100_400) && !keeping.is_due(5, None, 100_500));
        assert_eq!(keeping.oldest(100_400), 5);
    }
}
