//! `arion durability` of the whole network: what all stripes can bear, from the newest census of the validator services.

use std::{process::ExitCode, time::Duration};

use anyhow::bail;
use arion_daemon::{line, now_ms};
use arion_net::Transport;
use arion_protocol::{NetworkDurability, Request, Response, StripesAlike};
use bytes::Bytes;
use serde::Serialize;

use super::super::{ANSWER_TIMEOUT, print_json, size, transport};
use crate::settings::Settings;

/// Seconds of a year, as the chain's economics have it: 365.25 days.
const YEAR_SECONDS: f64 = 365.25 * 86_400.0;

/// What is assumed of the future.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Assumed {
    /// Probability that a family is lost in a year.
    pub family_loss: f64,
    /// From the loss of a family until its shards are elsewhere.
    pub repair_time: Duration,
}

/// A probability of the command line.
pub fn probability(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..1.0).contains(&value) => Ok(value),
        _ => Err("a probability is a number from 0 to below 1".into()),
    }
}

/// Stripes that lack so many shards.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
struct Missing {
    shards: u8,
    stripes: u64,
}

/// What the network can lose.
#[derive(Clone, PartialEq, Debug, Serialize)]
struct Told {
    taken_at_ms: u64,
    epoch: u64,
    silent_gateways: u32,
    stripes: u64,
    bytes: u64,
    shards: u64,
    present: u64,
    missing: Vec<Missing>,
    lost_stripes: u64,
    contradicted_stripes: u64,
    /// The fewest families whose loss takes a stripe that is not lost yet; none without stripes.
    fewest_families: Option<u8>,
    /// Stripes that so few take.
    weakest_stripes: u64,
    expected_lost_stripes_per_year: f64,
    assumed_family_loss_per_year: f64,
    assumed_repair_seconds: f64,
}

/// Stripes like these that are expected to be lost in a year.
///
/// A stripe has shards with F families and is lost with c of them. Families are lost independently, each at the rate
/// λ = -ln(1 - p) a year; μ is a year divided by the repair time. From its first loss on, a stripe loses another family before it
/// is repaired with probability (F - i)λ / ((F - i)λ + μ), c - 1 times in a row:
///
/// ```text
/// losses per year = F λ · Π (i = 1 .. c - 1) (F - i)λ / ((F - i)λ + μ)
/// ```
///
/// This is the birth-death chain by which Gibson and Patterson ("Designing Disk Arrays for High Data Reliability", Journal of
/// Parallel and Distributed Computing 17, 1993) compute the mean time to data loss of disk arrays, for c losses instead of two
/// and with repair of all that is missing at once.
fn losses_per_year(alike: &StripesAlike, assumed: &Assumed) -> f64 {
    if alike.fewest == 0 {
        return 0.0;
    }
    let rate = -(-assumed.family_loss).ln_1p();
    let repairs = YEAR_SECONDS / assumed.repair_time.as_secs_f64().max(1.0);
    let families = f64::from(alike.families);
    let before_repair = (1..alike.fewest).map(|lost| {
        let next = (families - f64::from(lost)).max(0.0) * rate;
        next / (next + repairs)
    });
    families * rate * before_repair.product::<f64>() * alike.count as f64
}

fn tell(found: &NetworkDurability, assumed: &Assumed) -> Told {
    let mut missing: Vec<Missing> = Vec::new();
    let mut by_missing: Vec<_> = found.stripes.iter().map(|alike| (alike.missing, alike.count)).collect();
    by_missing.sort_unstable();
    for (shards, stripes) in by_missing {
        match missing.last_mut().filter(|last| last.shards == shards) {
            Some(last) => last.stripes = last.stripes.saturating_add(stripes),
            None => missing.push(Missing { shards, stripes }),
        }
    }
    let count = |holds: &dyn Fn(&StripesAlike) -> bool| {
        found.stripes.iter().filter(|alike| holds(alike)).map(|alike| alike.count).sum::<u64>()
    };
    let fewest_families = found.stripes.iter().map(|alike| alike.fewest).filter(|fewest| *fewest > 0).min();
    Told {
        taken_at_ms: found.taken_at,
        epoch: found.epoch,
        silent_gateways: found.silent_gateways,
        stripes: count(&|_| true),
        bytes: found.bytes,
        shards: found.shards,
        present: found.present,
        missing,
        lost_stripes: count(&|alike| alike.fewest == 0),
        contradicted_stripes: found.bad,
        fewest_families,
        weakest_stripes: count(&|alike| Some(alike.fewest) == fewest_families),
        expected_lost_stripes_per_year: found
            .stripes
            .iter()
            .map(|alike| losses_per_year(alike, assumed))
            .sum(),
        assumed_family_loss_per_year: assumed.family_loss,
        assumed_repair_seconds: assumed.repair_time.as_secs_f64(),
    }
}

fn print(told: &Told) -> anyhow::Result<()> {
    let age = now_ms().saturating_sub(told.taken_at_ms) / 1_000;
    line!("census    {age} s ago, against map {}", told.epoch);
    if told.silent_gateways > 0 {
        line!("          without what {} gateways wrote that do not answer", told.silent_gateways);
    }
    line!("stripes   {}, {} with all their shards", told.stripes, size(told.bytes));
    line!("shards    {} of {} are there", told.present, told.shards);
    for Missing { shards, stripes } in &told.missing {
        line!("          {stripes} stripes have {shards} shards that are not in their place");
    }
    if told.contradicted_stripes > 0 {
        line!("unclear   {} stripes whose receipts contradict each other", told.contradicted_stripes);
    }
    if told.lost_stripes > 0 {
        line!("lost      {} stripes, unless miners come back", told.lost_stripes);
    }
    if let Some(families) = told.fewest_families {
        let weakest = told.weakest_stripes;
        line!("families  the loss of {families} at once can take data: {weakest} stripes bear no more");
    }
    line!(
        "a year    {:.3e} stripes are expected to be lost, if each family is lost with probability {} a year, independently of",
        told.expected_lost_stripes_per_year,
        told.assumed_family_loss_per_year
    );
    line!(
        "          others, and what it had is elsewhere {:.0} h later",
        told.assumed_repair_seconds / 3_600.0
    );
    Ok(())
}

/// Prints it. Exit code 1 where data are lost.
pub async fn run(settings: &Settings, assumed: &Assumed, json: bool) -> anyhow::Result<ExitCode> {
    let transport = transport()?;
    let mut newest: Option<NetworkDurability> = None;
    for validator in &settings.validators {
        match transport.call(validator, Request::Durability, Bytes::new(), ANSWER_TIMEOUT).await {
            Ok((Response::Durability(found), _)) => {
                if newest.as_ref().is_none_or(|known| known.taken_at < found.taken_at) {
                    newest = Some(found);
                }
            }
            Ok(_) => {
                eprintln!("warning: validator service {}: an answer to another question", validator.endpoint)
            }
            Err(error) => eprintln!("warning: validator service {}: {error}", validator.endpoint),
        }
    }
    transport.close().await;
    let Some(found) = newest else {
        bail!("no validator service has a census: name one that repairs with --validators NODE_ID@HOST:PORT")
    };
    let told = tell(&found, assumed);
    match json {
        true => print_json(&told)?,
        false => print(&told)?,
    }
    Ok(ExitCode::from(u8::from(told.lost_stripes > 0 || told.contradicted_stripes > 0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASSUMED: Assumed = Assumed { family_loss: 0.1, repair_time: Duration::from_secs(2 * 86_400) };

    fn alike(fewest: u8, families: u8, missing: u8, count: u64) -> StripesAlike {
        StripesAlike { fewest, families, missing, count }
    }

    #[test]
    fn the_weakest_stripes_and_those_that_are_lost_are_told() {
        let found = NetworkDurability {
            taken_at: 5,
            epoch: 3,
            silent_gateways: 0,
            shards: 300,
            present: 270,
            bytes: 9,
            bad: 1,
            stripes: vec![alike(0, 9, 21, 1), alike(4, 8, 14, 2), alike(11, 14, 1, 3), alike(11, 15, 1, 4)],
        };
        let told = tell(&found, &ASSUMED);
        let missing: Vec<_> = told.missing.iter().map(|missing| (missing.shards, missing.stripes)).collect();
        assert_eq!(missing, [(1, 7), (14, 2), (21, 1)]);
        assert_eq!((told.stripes, told.lost_stripes, told.contradicted_stripes), (10, 1, 1));
        assert_eq!((told.fewest_families, told.weakest_stripes), (Some(4), 2));
        let nothing = NetworkDurability { stripes: vec![], ..found };
        let told = tell(&nothing, &ASSUMED);
        assert_eq!((told.fewest_families, told.weakest_stripes), (None, 0));
        assert_eq!(told.expected_lost_stripes_per_year, 0.0);
    }

    /// One loss suffices: as many as families are lost. Two: the second one has to come in the time of repair.
    #[test]
    fn the_formula_is_what_it_says() {
        let rate = -(0.9f64.ln());
        let close =
            |found: f64, expected: f64| assert!((found / expected - 1.0).abs() < 1e-9, "{found} {expected}");
        close(losses_per_year(&alike(1, 15, 0, 1), &ASSUMED), 15.0 * rate);
        let second = 14.0 * rate / (14.0 * rate + 365.25 / 2.0);
        close(losses_per_year(&alike(2, 15, 0, 3), &ASSUMED), 3.0 * 15.0 * rate * second);
        assert_eq!(losses_per_year(&alike(0, 15, 30, 1), &ASSUMED), 0.0);
        assert_eq!(losses_per_year(&alike(11, 15, 0, 1), &Assumed { family_loss: 0.0, ..ASSUMED }), 0.0);
        let whole = losses_per_year(&alike(11, 15, 0, 1_000_000), &ASSUMED);
        assert!(whole > 0.0 && whole < 1e-10, "{whole}");
    }

    #[test]
    fn probabilities_are_below_one() {
        assert_eq!(probability("0.25"), Ok(0.25));
        for wrong in ["1", "-0.1", "NaN", "x"] {
            assert!(probability(wrong).is_err(), "{wrong}");
        }
    }
}
