//! Drawing items from one straw2 bucket: `bucket_straw2_choose` and `crush_choose_indep`.

use crate::{hash::hash3, ln::crush_ln};

/// Most positions of a placement group: k + m of an erasure code over GF(2^8).
pub(crate) const SHARDS_MAX: usize = 255;
/// A position without an item.
pub(crate) const NOTHING: u32 = u32::MAX;

/// Item of a bucket. Its weight is never 0: zero-weight items can not win a draw and are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    /// What is hashed: the uid of a miner, or a negative bucket id as a 32-bit word.
    pub(crate) id: u32,
    /// 16.16 fixed point.
    pub(crate) weight: u32,
}

/// Draws `out.len()` distinct items of `bucket` for placement group `x`; `out` receives their indices, or
/// [`NOTHING`] where `tries` rounds were not enough.
///
/// `stride` is the rule's item count: attempt `t` of position `p` draws with `r = p + t * stride`.
pub(crate) fn choose_indep(bucket: &[Item], x: u32, stride: u32, tries: u32, out: &mut [u32]) {
    out.fill(NOTHING);
    // Once every item is taken, further draws could only collide.
    let mut left = out.len().min(bucket.len());
    for attempt in 0..tries {
        if left == 0 {
            return;
        }
        for position in 0..out.len() {
            if out[position] != NOTHING {
                continue;
            }
            let r = (position as u32).wrapping_add(stride.wrapping_mul(attempt));
            let drawn = straw2(bucket, x, r);
            if !out.contains(&drawn) {
                out[position] = drawn;
                left -= 1;
            }
        }
    }
}

/// Index of the item with the longest straw; the first of equals. `bucket` is not empty.
fn straw2(bucket: &[Item], x: u32, r: u32) -> u32 {
    let mut winner = (0, i64::MIN);
    for (index, item) in bucket.iter().enumerate() {
        let draw = hash3(x, item.id, r) as u16;
        let straw = (crush_ln(draw) - (1 << 48)) / i64::from(item.weight);
        if straw > winner.1 {
            winner = (index as u32, straw);
        }
    }
    winner.0
}
