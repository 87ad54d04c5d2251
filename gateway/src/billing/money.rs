//! Amounts of credits and ALPHA: what storage costs, and how amounts are written.

use arion_chain::CREDIT;

/// Bytes in a GiB.
const GIB: u128 = 1 << 30;
/// Digits behind the point of a credit.
const CREDIT_DIGITS: usize = 12;
/// Digits behind the point of ALPHA.
const ALPHA_DIGITS: usize = 18;
/// Hours of a month: a twelfth of 365 days.
pub const MONTH_HOURS: u64 = 730;
/// Hours of a day.
pub const DAY_HOURS: u64 = 24;

/// Units that so many bytes cost in so many hours at a price in units per GiB-hour, rounded down.
pub fn cost(bytes: u64, hours: u64, price: u128) -> u128 {
    let byte_hours = u128::from(bytes).saturating_mul(u128::from(hours));
    // In two parts: all bytes of the world at the highest price are more than 128 bits have room for.
    let (gib_hours, rest) = (byte_hours / GIB, byte_hours % GIB);
    gib_hours.saturating_mul(price).saturating_add(rest.saturating_mul(price) / GIB)
}

/// ALPHA, in its smallest unit, that units of credit cost at a price in ALPHA per credit, rounded down.
pub fn alpha(units: u128, price: u128) -> u128 {
    let (credits, rest) = (units / CREDIT, units % CREDIT);
    credits.saturating_mul(price).saturating_add(rest.saturating_mul(price) / CREDIT)
}

fn decimal(amount: u128, digits: usize) -> String {
    let one = 10u128.saturating_pow(u32::try_from(digits).unwrap_or(0));
    let text = format!("{}.{:0digits$}", amount / one, amount % one);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Credits as people write them, exactly.
pub fn credits(units: u128) -> String {
    decimal(units, CREDIT_DIGITS)
}

/// ALPHA as people write it, exactly.
pub fn alphas(amount: u128) -> String {
    decimal(amount, ALPHA_DIGITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact() {
        for (units, text) in [
            (0, "0"),
            (1, "0.000000000001"),
            (CREDIT, "1"),
            (10 * CREDIT + CREDIT / 4, "10.25"),
            (u128::MAX, "340282366920938463463374607.431768211455"),
        ] {
            assert_eq!(credits(units), text);
        }
        assert_eq!(alphas(1_500_000_000_000_000_000), "1.5");
    }

    #[test]
    fn a_gib_for_a_month_costs_a_hundredth_of_a_credit() {
        // The price that a chain begins with.
        let price = 13_700_000;
        assert_eq!(credits(cost(1 << 30, MONTH_HOURS, price)), "0.010001");
        assert_eq!(cost(3 << 30, 2, price), 6 * price);
        assert_eq!(cost((1 << 29) + 1, 1, price), price / 2);
        assert_eq!(alpha(CREDIT / 2, 3_000_000_000_000_000_001), 1_500_000_000_000_000_000);
        // Nothing overflows.
        assert!(cost(u64::MAX, u64::MAX, u128::MAX) > 0 && alpha(u128::MAX, u128::MAX) > 0);
    }
}
