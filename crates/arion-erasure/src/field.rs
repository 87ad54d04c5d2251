//! GF(2^8) with polynomial 0x11d and generator 2, the field of `reed-solomon-erasure`.

const POLYNOMIAL: u16 = 0x11d;

/// Powers of the generator, twice over so that a sum of two logarithms needs no reduction.
const EXP: [u8; 510] = exponentials();
/// Logarithms; that of 0 is never looked at.
const LOG: [u8; 256] = logarithms();

const fn exponentials() -> [u8; 510] {
    let mut exp = [0; 510];
    let (mut power, mut i) = (1u16, 0);
    while i < 255 {
        exp[i] = power as u8;
        exp[i + 255] = power as u8;
        power <<= 1;
        if power & 0x100 != 0 {
            power ^= POLYNOMIAL;
        }
        i += 1;
    }
    exp
}

const fn logarithms() -> [u8; 256] {
    let mut log = [0; 256];
    let mut i = 0;
    while i < 255 {
        log[EXP[i] as usize] = i as u8;
        i += 1;
    }
    log
}

/// Product.
pub(crate) const fn mul(a: u8, b: u8) -> u8 {
    if a == 0 || b == 0 {
        return 0;
    }
    EXP[LOG[a as usize] as usize + LOG[b as usize] as usize]
}

/// What `a` has to be multiplied with to give 1; `None` for 0.
pub(crate) const fn inverse(a: u8) -> Option<u8> {
    if a == 0 { None } else { Some(EXP[255 - LOG[a as usize] as usize]) }
}

/// `a` to the power of `n`; 0 to the power of 0 is 1.
pub(crate) const fn pow(a: u8, n: usize) -> u8 {
    if n == 0 {
        return 1;
    }
    if a == 0 {
        return 0;
    }
    EXP[(LOG[a as usize] as usize * n) % 255]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shift and add, straight from the definition.
    fn slow(mut a: u16, mut b: u16) -> u8 {
        let mut product = 0;
        while b != 0 {
            if b & 1 == 1 {
                product ^= a;
            }
            a <<= 1;
            if a & 0x100 != 0 {
                a ^= POLYNOMIAL;
            }
            b >>= 1;
        }
        product as u8
    }

    #[test]
    fn products_inverses_and_powers_follow_the_definition() {
        for a in 0..=255u8 {
            for b in 0..=255u8 {
                assert_eq!(mul(a, b), slow(a.into(), b.into()));
            }
            assert_eq!(inverse(a).map(|inverse| mul(a, inverse)), (a != 0).then_some(1));
            let mut power = 1;
            for n in 0..600 {
                assert_eq!(pow(a, n), power, "{a}^{n}");
                power = mul(power, a);
            }
        }
    }
}
