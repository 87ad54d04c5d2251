//! Robert Jenkins' 32-bit integer mix in the arrangement CRUSH calls `rjenkins1`.
//!
//! The mix is written once, over [`Word`]: one number, or a vector with one number in each lane.

/// What the mix is made of: arithmetic modulo 2^32.
pub(crate) trait Word: Copy {
    /// `self - other`.
    fn minus(self, other: Self) -> Self;
    /// `self ^ other`.
    fn xor(self, other: Self) -> Self;
    /// `self << bits`.
    fn left(self, bits: u32) -> Self;
    /// `self >> bits`.
    fn right(self, bits: u32) -> Self;
}

impl Word for u32 {
    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        self.wrapping_sub(other)
    }
    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        self ^ other
    }
    #[inline(always)]
    fn left(self, bits: u32) -> Self {
        self << bits
    }
    #[inline(always)]
    fn right(self, bits: u32) -> Self {
        self >> bits
    }
}

/// Two words side by side, so that a processor has something to do while it waits for one of them.
#[derive(Clone, Copy)]
pub(crate) struct Pair<W>(pub(crate) W, pub(crate) W);

impl<W: Word> Word for Pair<W> {
    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        Self(self.0.minus(other.0), self.1.minus(other.1))
    }
    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        Self(self.0.xor(other.0), self.1.xor(other.1))
    }
    #[inline(always)]
    fn left(self, bits: u32) -> Self {
        Self(self.0.left(bits), self.1.left(bits))
    }
    #[inline(always)]
    fn right(self, bits: u32) -> Self {
        Self(self.0.right(bits), self.1.right(bits))
    }
}

/// The constants of the hash, in every lane.
#[derive(Clone, Copy)]
pub(crate) struct Constants<W> {
    seed: W,
    x: W,
    y: W,
}

impl<W: Word> Constants<W> {
    #[inline(always)]
    pub(crate) fn new(splat: impl Fn(u32) -> W) -> Self {
        Self { seed: splat(1_315_423_911), x: splat(231_232), y: splat(1_232) }
    }

    #[inline(always)]
    pub(crate) fn map<V>(self, f: impl Fn(W) -> V) -> Constants<V> {
        Constants { seed: f(self.seed), x: f(self.x), y: f(self.y) }
    }
}

/// Hash of two words, `crush_hash32_2`.
pub(crate) fn hash2(mut a: u32, mut b: u32) -> u32 {
    let Constants { seed, mut x, mut y } = Constants::new(|word| word);
    let mut hash = seed ^ a ^ b;
    mix(&mut a, &mut b, &mut hash);
    mix(&mut x, &mut a, &mut hash);
    mix(&mut b, &mut y, &mut hash);
    hash
}

/// Hash of three words, `crush_hash32_3`.
#[inline(always)]
pub(crate) fn hash3<W: Word>(constants: Constants<W>, mut a: W, mut b: W, mut c: W) -> W {
    let Constants { seed, mut x, mut y } = constants;
    let mut hash = seed.xor(a).xor(b).xor(c);
    mix(&mut a, &mut b, &mut hash);
    mix(&mut c, &mut x, &mut hash);
    mix(&mut y, &mut a, &mut hash);
    mix(&mut b, &mut x, &mut hash);
    mix(&mut y, &mut c, &mut hash);
    hash
}

/// Which two of a, b, c, x, y each round of [`hash3_by_rounds`] mixes with the hash.
pub(crate) const ROUNDS: [[u8; 2]; 5] = [[0, 1], [2, 3], [4, 0], [1, 3], [4, 2]];

/// [`hash3`] as a loop over `rounds`, which are [`ROUNDS`].
///
/// For words that are several vectors: a compiler that sees all five rounds at once puts the vectors' long chains of
/// dependent instructions one after another, more of them than a processor looks ahead. One round of four vectors
/// it sees as a whole.
#[inline(always)]
pub(crate) fn hash3_by_rounds<W: Word>(
    constants: Constants<W>,
    rounds: &[[u8; 2]; 5],
    a: W,
    b: W,
    c: W,
) -> W {
    let Constants { seed, x, y } = constants;
    let mut hash = seed.xor(a).xor(b).xor(c);
    // Eight, so that an index of three bits is always inside.
    let mut words = [a, b, c, x, y, x, x, x];
    for [first, second] in rounds {
        let (first, second) = (usize::from(first & 7), usize::from(second & 7));
        let (mut p, mut q) = (words[first], words[second]);
        mix(&mut p, &mut q, &mut hash);
        words[first] = p;
        words[second] = q;
    }
    hash
}

#[inline(always)]
fn mix<W: Word>(a: &mut W, b: &mut W, c: &mut W) {
    *a = a.minus(*b).minus(*c).xor(c.right(13));
    *b = b.minus(*c).minus(*a).xor(a.left(8));
    *c = c.minus(*a).minus(*b).xor(b.right(13));
    *a = a.minus(*b).minus(*c).xor(c.right(12));
    *b = b.minus(*c).minus(*a).xor(a.left(16));
    *c = c.minus(*a).minus(*b).xor(b.right(5));
    *a = a.minus(*b).minus(*c).xor(c.right(3));
    *b = b.minus(*c).minus(*a).xor(a.left(10));
    *c = c.minus(*a).minus(*b).xor(b.right(15));
}
