//! Drawing one item from a straw2 bucket: `bucket_straw2_choose`.
//!
//! Item i with weight w draws the straw `-floor((2^48 - ln(u)) / w)`, u being 16 bits of a hash; the longest wins,
//! the first of equals. Computing every straw costs a logarithm and a division each. Instead each item gets a lower
//! bound of `(2^48 - ln(u)) / w` from two multiplications, in vectors where the machine has them, and the exact
//! straw is computed for the few items whose bound leaves them a chance.
//!
//! # Invariants
//! - The winner is that of the exact rule: [`low`] never exceeds what it bounds (test over all 65,536 u), and
//!   [`Bucket::limit`] excludes only items that are beaten.
//! - Every [`Machine`] computes the same bounds.

use alloc::vec::Vec;

use crate::{
    hash::{Constants, Pair, ROUNDS, Word, hash3, hash3_by_rounds},
    ln::crush_ln,
};

/// Items are stored in multiples of the widest vector: 16 words of AVX-512.
const PADDING: usize = 16;
/// Items bounded at a time.
const BLOCK: usize = 256;
/// `2^48 - ln(u)` is at least this times [`rise`] of u: 2^13 / ln 2, rounded down.
const SCALE: u64 = 11_818;
/// Largest [`Items::inverse`].
const INVERSE_MAX: u64 = 4_095;

/// Vectors of words and how to compute with them.
pub(crate) trait Machine: Copy {
    /// [`Machine::LANES`] words.
    type Vector: Word;
    /// A power of two, at most [`PADDING`].
    const LANES: usize;
    fn splat(self, word: u32) -> Self::Vector;
    /// The first words of `from`, which is long enough.
    fn load(self, from: &[u32]) -> Self::Vector;
    /// Into the first words of `to`, which is long enough.
    fn store(self, vector: Self::Vector, to: &mut [u32]);
    fn and(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn or(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn plus(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn times(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn min(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// Bit i says whether lane i is below the same lane of `limit`.
    fn below(self, vector: Self::Vector, limit: Self::Vector) -> u64;
}

/// One word at a time.
#[derive(Clone, Copy)]
pub(crate) struct Scalar;

impl Machine for Scalar {
    type Vector = u32;
    const LANES: usize = 1;
    #[inline(always)]
    fn splat(self, word: u32) -> u32 {
        word
    }
    #[inline(always)]
    fn load(self, from: &[u32]) -> u32 {
        from[0]
    }
    #[inline(always)]
    fn store(self, vector: u32, to: &mut [u32]) {
        to[0] = vector;
    }
    #[inline(always)]
    fn and(self, a: u32, b: u32) -> u32 {
        a & b
    }
    #[inline(always)]
    fn or(self, a: u32, b: u32) -> u32 {
        a | b
    }
    #[inline(always)]
    fn plus(self, a: u32, b: u32) -> u32 {
        a.wrapping_add(b)
    }
    #[inline(always)]
    fn times(self, a: u32, b: u32) -> u32 {
        a.wrapping_mul(b)
    }
    #[inline(always)]
    fn min(self, a: u32, b: u32) -> u32 {
        a.min(b)
    }
    #[inline(always)]
    fn below(self, vector: u32, limit: u32) -> u64 {
        u64::from(vector < limit)
    }
}

/// The items of all buckets, one array per property.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Items {
    /// What is hashed: the uid of a miner, or a negative bucket id as a 32-bit word.
    pub(crate) id: Vec<u32>,
    /// 16.16 fixed point.
    pub(crate) weight: Vec<u32>,
    /// At most `4095 * reference / weight`, at most 4095, `reference` being that of the bucket.
    inverse: Vec<u32>,
    /// All ones for what can not win: items of weight 0 and padding.
    closed: Vec<u32>,
}

/// Where a bucket's items are in [`Items`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bucket {
    pub(crate) first: usize,
    pub(crate) len: usize,
    /// How many items have weight.
    pub(crate) open: usize,
    /// Items of this weight or less have the largest inverse.
    reference: u32,
}

impl Items {
    /// Appends a bucket of (id, weight), in the order that decides between equal straws.
    pub(crate) fn push(&mut self, items: impl Iterator<Item = (u32, u32)> + Clone) -> Bucket {
        let first = self.id.len();
        let weights = items.clone().map(|(_, weight)| weight).filter(|weight| *weight > 0);
        let open = weights.clone().count();
        let (lightest, heaviest) = (weights.clone().min().unwrap_or(1), weights.max().unwrap_or(1));
        // So that the heaviest keep 4 bits at least, however light the others are.
        let reference = lightest.max(heaviest >> 8);
        for (id, weight) in items {
            let inverse = match weight {
                0 => 0,
                _ => (INVERSE_MAX * u64::from(reference) / u64::from(weight)).min(INVERSE_MAX) as u32,
            };
            self.id.push(id);
            self.weight.push(weight);
            self.inverse.push(inverse);
            self.closed.push(if weight == 0 { u32::MAX } else { 0 });
        }
        let len = self.id.len() - first;
        let padded = self.id.len().next_multiple_of(PADDING);
        self.id.resize(padded, 0);
        self.weight.resize(padded, 0);
        self.inverse.resize(padded, 0);
        self.closed.resize(padded, u32::MAX);
        Bucket { first, len, open, reference }
    }
}

/// Room for the bounds of a block: made once per placement, not per draw.
pub(crate) struct Scratch {
    hash: [u32; BLOCK],
    low: [u32; BLOCK],
    /// First item of a bucket, r and the winner of a draw that was made together with another.
    ahead: (usize, u32, usize),
}

impl Scratch {
    #[inline(always)]
    pub(crate) fn new() -> Self {
        Self { hash: [0; BLOCK], low: [0; BLOCK], ahead: (usize::MAX, 0, 0) }
    }
}

impl Bucket {
    /// Index in [`Items`] of the item that wins draw (x, r). The bucket has items; where none has weight, it is the
    /// first. `scratch` belongs to one x; `next` says that draw r + 1 will follow.
    #[inline(always)]
    pub(crate) fn draw<M: Machine>(
        &self,
        m: M,
        items: &Items,
        scratch: &mut Scratch,
        x: u32,
        r: u32,
        next: bool,
    ) -> usize {
        if scratch.ahead.0 == self.first && scratch.ahead.1 == r {
            return scratch.ahead.2;
        }
        if next && M::LANES > 1 && self.len <= 2 * M::LANES && r < u32::MAX {
            let [won, ahead] = self.draw_two(m, items, scratch, x, r);
            scratch.ahead = (self.first, r + 1, ahead);
            return won;
        }
        let mut best = Best { index: self.first, length: u64::MAX };
        let mut limit = u32::MAX;
        for first in (self.first..self.first + self.len).step_by(BLOCK) {
            let len = (self.first + self.len - first).min(BLOCK);
            let least = bounds(m, items, scratch, first, len, x, r);
            if least < limit {
                let block = Block {
                    items,
                    first,
                    hash: &scratch.hash[..len.next_multiple_of(M::LANES)],
                    low: &scratch.low[..len.next_multiple_of(M::LANES)],
                };
                limit = self.best_of(m, &mut best, &block, least, limit);
            }
        }
        best.index
    }

    /// Draws r and r + 1 of a bucket of one or two vectors: more for a processor to do while it waits.
    #[inline(always)]
    fn draw_two<M: Machine>(&self, m: M, items: &Items, scratch: &mut Scratch, x: u32, r: u32) -> [usize; 2] {
        let lanes = M::LANES;
        let id = &items.id[self.first..];
        let second = if self.len > lanes { lanes } else { 0 };
        let ids = Pair(m.load(id), m.load(&id[second..]));
        let constants = Constants::new(|word| twice(twice(m.splat(word))));
        let rs = Pair(twice(m.splat(r)), twice(m.splat(r + 1)));
        let rounds = core::hint::black_box(&ROUNDS);
        let hash = hash3_by_rounds(constants, rounds, twice(twice(m.splat(x))), twice(ids), rs);
        let padded = second + lanes;
        let mut won = [self.first; 2];
        for (won, Pair(low, high)) in won.iter_mut().zip([hash.0, hash.1]) {
            let mut bounds = Bounds::new(m, items, scratch, self.first, padded);
            bounds.keep(0, low);
            if second > 0 {
                bounds.keep(second, high);
            }
            let least = bounds.least();
            let mut best = Best { index: self.first, length: u64::MAX };
            if least < u32::MAX {
                let (hash, low) = (&scratch.hash[..padded], &scratch.low[..padded]);
                let block = Block { items, first: self.first, hash, low };
                self.best_of(m, &mut best, &block, least, u32::MAX);
            }
            *won = best.index;
        }
        won
    }

    /// Improves `best` by the items of a block whose bounds are below `limit`; returns the new limit.
    #[inline(always)]
    fn best_of<M: Machine>(&self, m: M, best: &mut Best, block: &Block<'_>, least: u32, limit: u32) -> u32 {
        // Nearly always this takes in all that can win; if not, the rest follows.
        let guess = least.saturating_add(least / 16).saturating_add(64).min(limit);
        best.consider(m, block, 0, guess);
        let exact = self.limit(best.length).min(limit);
        if exact > guess {
            best.consider(m, block, guess, exact);
        }
        self.limit(best.length).min(limit)
    }

    /// Items whose bound reaches this have a longer `(2^48 - ln(u)) / w` than `length`, rounded down.
    #[inline(always)]
    fn limit(&self, length: u64) -> u32 {
        // (2^48 - ln(u)) / w >= SCALE * low / reference, see `low`.
        let limit = length.saturating_add(1).saturating_mul(u64::from(self.reference)) / SCALE + 1;
        u32::try_from(limit).unwrap_or(u32::MAX)
    }
}

/// Items whose bounds are known.
struct Block<'a> {
    items: &'a Items,
    /// Index of the first in [`Items`].
    first: usize,
    /// As many as there are, padded to whole vectors.
    hash: &'a [u32],
    low: &'a [u32],
}

/// The best straw so far.
struct Best {
    index: usize,
    /// `floor((2^48 - ln(u)) / w)`: the straw, negated.
    length: u64,
}

impl Best {
    /// Computes the straws of the items whose bound is at least `from` and below `to`.
    #[inline(always)]
    fn consider<M: Machine>(&mut self, m: M, block: &Block<'_>, from: u32, to: u32) {
        let (from, to) = (m.splat(from), m.splat(to));
        for (part, lows) in block.low.chunks(64).enumerate() {
            let mut chosen = 0;
            for (n, low) in lows.chunks_exact(M::LANES).enumerate() {
                let low = m.load(low);
                chosen |= (m.below(low, to) & !m.below(low, from)) << (n * M::LANES);
            }
            while chosen != 0 {
                let at = part * 64 + chosen.trailing_zeros() as usize;
                chosen &= chosen - 1;
                let index = block.first + at;
                let length = length(block.hash[at] as u16, block.items.weight[index]);
                if length < self.length || (length == self.length && index < self.index) {
                    *self = Self { index, length };
                }
            }
        }
    }
}

/// `floor((2^48 - ln(u)) / weight)`.
#[inline(always)]
fn length(u: u16, weight: u32) -> u64 {
    // The bound of weight 0 is closed.
    ((1u64 << 48) - crush_ln(u)) / u64::from(weight.max(1))
}

/// Hashes and bounds of `len` items from `block` on, in `scratch`; returns the least bound.
#[inline(always)]
fn bounds<M: Machine>(
    m: M,
    items: &Items,
    scratch: &mut Scratch,
    block: usize,
    len: usize,
    x: u32,
    r: u32,
) -> u32 {
    let padded = len.next_multiple_of(M::LANES);
    let id = &items.id[block..block + padded];
    let mut bounds = Bounds::new(m, items, scratch, block, padded);
    let constants = Constants::new(|word| m.splat(word));
    let (x, r) = (m.splat(x), m.splat(r));

    let (two, mut at) = (2 * M::LANES, 0);
    if M::LANES > 1 {
        // Opaque, so that the loop over them stays a loop.
        let rounds = core::hint::black_box(&ROUNDS);
        let pairs = constants.map(|word| Pair(word, word));
        let fours = pairs.map(|word| Pair(word, word));
        while at + 2 * two <= padded {
            let ids = &id[at..at + 2 * two];
            let low = Pair(m.load(ids), m.load(&ids[M::LANES..]));
            let high = Pair(m.load(&ids[two..]), m.load(&ids[two + M::LANES..]));
            let hash = hash3_by_rounds(fours, rounds, twice(twice(x)), Pair(low, high), twice(twice(r)));
            bounds.keep(at, hash.0.0);
            bounds.keep(at + M::LANES, hash.0.1);
            bounds.keep(at + two, hash.1.0);
            bounds.keep(at + two + M::LANES, hash.1.1);
            at += 2 * two;
        }
        if at + two <= padded {
            let ids = Pair(m.load(&id[at..]), m.load(&id[at + M::LANES..]));
            let hash = hash3_by_rounds(pairs, rounds, twice(x), ids, twice(r));
            bounds.keep(at, hash.0);
            bounds.keep(at + M::LANES, hash.1);
            at += two;
        }
    }
    while at < padded {
        bounds.keep(at, hash3(constants, x, m.load(&id[at..]), r));
        at += M::LANES;
    }
    bounds.least()
}

/// The bounds of a block while they are made.
struct Bounds<'a, M: Machine> {
    m: M,
    inverse: &'a [u32],
    closed: &'a [u32],
    hash: &'a mut [u32],
    low: &'a mut [u32],
    least: M::Vector,
}

impl<'a, M: Machine> Bounds<'a, M> {
    /// Of `padded` items from `block` on.
    #[inline(always)]
    fn new(m: M, items: &'a Items, scratch: &'a mut Scratch, block: usize, padded: usize) -> Self {
        Self {
            m,
            inverse: &items.inverse[block..block + padded],
            closed: &items.closed[block..block + padded],
            hash: &mut scratch.hash[..padded],
            low: &mut scratch.low[..padded],
            least: m.splat(u32::MAX),
        }
    }

    /// From the hashes of the items from `at` on.
    #[inline(always)]
    fn keep(&mut self, at: usize, hash: M::Vector) {
        let m = self.m;
        let low = low(m, hash, m.load(&self.inverse[at..]), m.load(&self.closed[at..]));
        m.store(hash, &mut self.hash[at..]);
        m.store(low, &mut self.low[at..]);
        self.least = m.min(self.least, low);
    }

    #[inline(always)]
    fn least(&self) -> u32 {
        let mut lanes = [u32::MAX; PADDING];
        self.m.store(self.least, &mut lanes);
        lanes[..M::LANES].iter().fold(u32::MAX, |least, lane| least.min(*lane))
    }
}

#[inline(always)]
fn twice<W: Copy>(word: W) -> Pair<W> {
    Pair(word, word)
}

/// `(rise >> 12) * inverse`, all ones where closed. So `(2^48 - ln(u)) / w` is at least
/// `SCALE * rise / w >= SCALE * low * 4096 / 4095 / reference >= SCALE * low / reference`.
#[inline(always)]
fn low<M: Machine>(m: M, hash: M::Vector, inverse: M::Vector, closed: M::Vector) -> M::Vector {
    m.or(m.times(rise(m, hash).right(12), inverse), closed)
}

/// With `t = (65534 - u) / 65536`, at least 0: about `2^31 * (t + t^2 / 2)`, the start of the series of
/// `-ln(1 - t)`. What Ceph's table has too much is less than the step from 65535 to 65534.
#[inline(always)]
fn rise<M: Machine>(m: M, hash: M::Vector) -> M::Vector {
    let most = m.splat(0xfffe);
    let distance = most.minus(m.min(m.and(hash, m.splat(0xffff)), most));
    m.times(distance, m.plus(distance.right(2), m.splat(0x8000)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_never_exceed_the_exact_value() {
        let tightest = (0..=u16::MAX)
            .map(|u| {
                let (exact, rise) = ((1u64 << 48) - crush_ln(u), u64::from(rise(Scalar, u32::from(u))));
                assert!(SCALE * rise <= exact, "u = {u}: {rise} bounds {exact}");
                exact.checked_div(rise).unwrap_or(u64::MAX)
            })
            .min();
        assert!(tightest < Some(SCALE + 10), "{tightest:?}");
    }

    #[test]
    fn bounds_do_not_overflow() {
        let most = u64::from(rise(Scalar, 0)) >> 12;
        assert!(most * INVERSE_MAX < u64::from(u32::MAX));
        assert_eq!(u64::from(rise(Scalar, 0)), 65_534 * (65_534 / 4 + 32_768));
    }

    /// The rule as it is specified.
    fn plain(items: &[(u32, u32)], x: u32, r: u32) -> usize {
        let constants = Constants::new(|word| word);
        let straw = |&(id, weight): &(u32, u32)| match weight {
            0 => i64::MIN,
            _ => {
                let u = hash3(constants, x, id, r) as u16;
                (crush_ln(u) as i64 - (1 << 48)) / i64::from(weight)
            }
        };
        let mut winner = 0;
        for index in 1..items.len() {
            if straw(&items[index]) > straw(&items[winner]) {
                winner = index;
            }
        }
        winner
    }

    #[test]
    fn the_winner_is_that_of_the_plain_rule() {
        let mut state = 1u32;
        let mut next = move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 8
        };
        for (len, spread) in
            [(1, 1), (2, 0), (5, 24), (15, 4), (16, 0), (33, 31), (100, 8), (513, 2), (1_500, 12)]
        {
            let mut items = Items::default();
            items.push([(7, 7)].into_iter());
            let drawn: Vec<(u32, u32)> = (0..len)
                .map(|id| {
                    let weight = (next() | 0x80_0000) >> (next() % (spread + 1)).min(23);
                    (id * 3, if next().is_multiple_of(7) { 0 } else { weight << (next() % 2) })
                })
                .collect();
            let bucket = items.push(drawn.iter().copied());
            let mut scratch = Scratch::new();
            for x in 0..2_000 {
                let got = bucket.draw(Scalar, &items, &mut scratch, x, x % 31, false);
                assert_eq!(got - bucket.first, plain(&drawn, x, x % 31), "{len} items, x = {x}");
            }
        }
    }

    #[test]
    fn where_nothing_has_weight_the_first_item_wins() {
        let mut items = Items::default();
        let bucket = items.push([(4, 0), (5, 0)].into_iter());
        assert_eq!(bucket.draw(Scalar, &items, &mut Scratch::new(), 9, 9, false), 0);
        assert_eq!(bucket.open, 0);
    }

    #[test]
    fn equal_straws_go_to_the_first() {
        // At the largest weights many straws are equal.
        let drawn: Vec<(u32, u32)> = (0..64).map(|id| (id, u32::MAX)).collect();
        let mut items = Items::default();
        let bucket = items.push(drawn.iter().copied());
        let mut scratch = Scratch::new();
        for x in 0..5_000 {
            assert_eq!(bucket.draw(Scalar, &items, &mut scratch, x, 0, false), plain(&drawn, x, 0));
        }
    }
}
