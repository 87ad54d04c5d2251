//! Straws in the vectors of the processor at hand, found out when the program runs.

use fearless_simd::{Simd, SimdBase, SimdMask};

use crate::{hash::Word, straw2::Machine};

/// The vectors of one instruction set.
#[derive(Clone, Copy)]
pub(crate) struct Wide<S: Simd>(pub(crate) S);

/// One vector of words.
pub(crate) struct Lanes<S: Simd>(S::u32s);

impl<S: Simd> Clone for Lanes<S> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: Simd> Copy for Lanes<S> {}

impl<S: Simd> Word for Lanes<S> {
    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        Self(self.0 ^ other.0)
    }
    #[inline(always)]
    fn left(self, bits: u32) -> Self {
        Self(self.0 << bits)
    }
    #[inline(always)]
    fn right(self, bits: u32) -> Self {
        Self(self.0 >> bits)
    }
}

impl<S: Simd> Machine for Wide<S> {
    type Vector = Lanes<S>;
    const LANES: usize = S::u32s::LEN;

    #[inline(always)]
    fn splat(self, word: u32) -> Lanes<S> {
        Lanes(S::u32s::splat(self.0, word))
    }
    #[inline(always)]
    fn load(self, from: &[u32]) -> Lanes<S> {
        Lanes(S::u32s::from_slice(self.0, &from[..Self::LANES]))
    }
    #[inline(always)]
    fn store(self, vector: Lanes<S>, to: &mut [u32]) {
        vector.0.store_slice(&mut to[..Self::LANES]);
    }
    #[inline(always)]
    fn and(self, a: Lanes<S>, b: Lanes<S>) -> Lanes<S> {
        Lanes(a.0 & b.0)
    }
    #[inline(always)]
    fn or(self, a: Lanes<S>, b: Lanes<S>) -> Lanes<S> {
        Lanes(a.0 | b.0)
    }
    #[inline(always)]
    fn plus(self, a: Lanes<S>, b: Lanes<S>) -> Lanes<S> {
        Lanes(a.0 + b.0)
    }
    #[inline(always)]
    fn times(self, a: Lanes<S>, b: Lanes<S>) -> Lanes<S> {
        Lanes(a.0 * b.0)
    }
    #[inline(always)]
    fn min(self, a: Lanes<S>, b: Lanes<S>) -> Lanes<S> {
        Lanes(a.0.min(b.0))
    }
    #[inline(always)]
    fn below(self, vector: Lanes<S>, limit: Lanes<S>) -> u64 {
        vector.0.simd_lt(limit.0).to_bitmask()
    }
}
