//! How likely challenges find a loss.
//!
//! # Invariants
//! - Integers only, rounded so that the chance is never overstated.
//! - The bound holds however a miner spreads what it lost: whole shards, or parts of many (docs/spec/proofs.md).

/// Parts in a whole.
pub const PPM: u64 = 1_000_000;
/// Fixed point of [`missed`].
const ONE: u128 = 1_000_000_000_000;

/// Chance that this many challenges find a loss of that part of the bytes: 1 - (1 - loss)^challenges, rounded down.
///
/// Each challenge draws a shard by its bytes among those not drawn yet, so it meets the loss with at least its
/// part of all bytes; a shard that lost a part of its groups fails with at least that part.
pub fn detection_ppm(loss_ppm: u64, challenges: u64) -> u64 {
    let kept = ONE - u128::from(loss_ppm.min(PPM)) * (ONE / u128::from(PPM));
    let missed = missed(kept, challenges).div_ceil(ONE / u128::from(PPM));
    PPM.saturating_sub(u64::try_from(missed).unwrap_or(PPM))
}

/// `kept` to the power of `challenges`, in parts of [`ONE`], each product rounded up.
fn missed(kept: u128, mut challenges: u64) -> u128 {
    let (mut power, mut square) = (ONE, kept);
    while challenges > 0 {
        if challenges & 1 == 1 {
            power = (power * square).div_ceil(ONE);
        }
        square = (square * square).div_ceil(ONE);
        challenges >>= 1;
    }
    power
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn chances_are_those_of_the_formula_and_never_above() {
        assert_eq!(detection_ppm(10_000, 0), 0);
        assert_eq!(detection_ppm(10_000, 1), 10_000);
        assert_eq!(detection_ppm(10_000, 2), 19_900);
        // 1 - 0.99^100 = 0.633967..., 1 - 0.99^459 = 0.99007...
        assert_eq!(detection_ppm(10_000, 100), 633_967);
        assert_eq!(detection_ppm(10_000, 459), 990_079);
        assert_eq!(detection_ppm(PPM, 1), PPM);
        assert_eq!(detection_ppm(2 * PPM, 1), PPM);
        assert!(detection_ppm(1, u64::MAX) < PPM, "never certain by chance alone");
    }

    proptest! {
        #[test]
        fn chances_grow_with_loss_and_challenges(loss in 0u64..=PPM, n in 0u64..5_000) {
            let found = detection_ppm(loss, n);
            prop_assert!(found <= detection_ppm(loss, n + 1));
            prop_assert!(found <= detection_ppm(loss + 1, n));
            let exact = (1.0 - (1.0 - loss as f64 / 1e6).powf(n as f64)) * 1e6;
            prop_assert!(found as f64 <= exact + 1e-3 && found as f64 >= exact - 2.0, "{found} {exact}");
        }
    }
}
