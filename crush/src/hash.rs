//! Robert Jenkins' 32-bit integer mix in the arrangement CRUSH calls `rjenkins1`.

const SEED: u32 = 1_315_423_911;
const X: u32 = 231_232;
const Y: u32 = 1_232;

/// Hash of three words, `crush_hash32_3`.
pub(crate) fn hash3(mut a: u32, mut b: u32, mut c: u32) -> u32 {
    let (mut x, mut y) = (X, Y);
    let mut hash = SEED ^ a ^ b ^ c;
    mix(&mut a, &mut b, &mut hash);
    mix(&mut c, &mut x, &mut hash);
    mix(&mut y, &mut a, &mut hash);
    mix(&mut b, &mut x, &mut hash);
    mix(&mut y, &mut c, &mut hash);
    hash
}

#[inline(always)]
fn mix(a: &mut u32, b: &mut u32, c: &mut u32) {
    const ROUNDS: [[u32; 3]; 3] = [[13, 8, 13], [12, 16, 5], [3, 10, 15]];
    for [right_a, left_b, right_c] in ROUNDS {
        *a = a.wrapping_sub(*b).wrapping_sub(*c) ^ (*c >> right_a);
        *b = b.wrapping_sub(*c).wrapping_sub(*a) ^ (*a << left_b);
        *c = c.wrapping_sub(*a).wrapping_sub(*b) ^ (*b >> right_c);
    }
}
