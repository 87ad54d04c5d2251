//! How much is asked for in a second: requests and bytes of access keys and accounts, and how much was in the last hours.
//!
//! A request that is one too many is refused; bytes that are too many wait, so that a client that is faster than its rate is
//! slowed by TCP and sees no error.
//!
//! # Invariants
//! - Memory is bounded: there is a cell only for who has a rate, and `CELLS_MAX` of them at the most that are in use.
//! - Who is refused by one of several rates uses up none of the others.
//!
//! # Not here
//! Where rates are written down ([`crate::keys`]); who asks (`s3`).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::{account::AccountName, keys::Rates};

const SECOND: u64 = 1_000_000_000;
/// Cells beyond which those are forgotten that are full again.
const CELLS_MAX: usize = 10_000;
/// Longest that a single piece of a body waits: many at once at a slow rate do not wait for hours.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// How long the periods are that are told of.
const PERIOD: Duration = Duration::from_secs(3_600);

/// Which way bytes go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// From clients.
    Up,
    /// To clients.
    Down,
}

/// Somebody with rates: an access key, an account or a sub-account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rated {
    /// A name that nobody else has.
    pub name: String,
    /// What applies.
    pub rates: Rates,
}

/// Moments, nanoseconds since the start, until which all that was asked for is worked off.
#[derive(Clone, Copy, Default)]
struct Cell {
    requests: u64,
    up: u64,
    down: u64,
}

impl Cell {
    fn bytes(&mut self, way: Way) -> &mut u64 {
        match way {
            Way::Up => &mut self.up,
            Way::Down => &mut self.down,
        }
    }

    fn is_idle(&self, now: u64) -> bool {
        self.requests.max(self.up).max(self.down) <= now
    }
}

fn bytes_rate(rates: &Rates, way: Way) -> Option<u64> {
    let rate = match way {
        Way::Up => rates.upload,
        Way::Down => rates.download,
    };
    rate.map(|rate| rate.0.max(1))
}

/// When a request that comes now is worked off, and how long it would have to wait.
fn request(worked_off: u64, rates: &Rates, now: u64) -> Option<(u64, u64)> {
    let requests = rates.requests?.get();
    let each = SECOND / u64::from(requests);
    let burst = u64::from(rates.burst.map_or(requests, std::num::NonZeroU32::get)).saturating_mul(each);
    let until = worked_off.max(now).saturating_add(each);
    Some((until, until.saturating_sub(now).saturating_sub(burst)))
}

/// All rates of a gateway.
#[derive(Default)]
pub struct Throttle {
    cells: Mutex<HashMap<String, Cell>>,
}

impl Throttle {
    /// Counts a request, or says how long it is too early.
    fn request(&self, who: &[Rated], now: u64) -> Result<(), Duration> {
        if who.iter().all(|rated| rated.rates.requests.is_none()) {
            return Ok(());
        }
        let mut cells = self.cells(now);
        let state = |rated: &Rated| cells.get(&rated.name).copied().unwrap_or_default();
        let asked: Vec<_> = who
            .iter()
            .filter_map(|rated| Some((&rated.name, request(state(rated).requests, &rated.rates, now)?)))
            .collect();
        match asked.iter().map(|(_, (_, wait))| *wait).max() {
            Some(wait) if wait > 0 => Err(Duration::from_nanos(wait)),
            _ => {
                for (name, (until, _)) in asked {
                    cells.entry(name.clone()).or_default().requests = until;
                }
                Ok(())
            }
        }
    }

    /// Counts bytes; how long the next ones wait.
    fn bytes(&self, who: &[Rated], way: Way, bytes: u64, now: u64) -> Duration {
        let mut cells = self.cells(now);
        let mut wait = 0;
        for rated in who {
            let Some(rate) = bytes_rate(&rated.rates, way) else { continue };
            let cost = u128::from(bytes) * u128::from(SECOND) / u128::from(rate);
            let until = cells.entry(rated.name.clone()).or_default().bytes(way);
            *until = (*until).max(now).saturating_add(u64::try_from(cost).unwrap_or(u64::MAX));
            // As much as goes in a second goes at once.
            wait = wait.max(until.saturating_sub(now).saturating_sub(SECOND));
        }
        Duration::from_nanos(wait).min(WAIT_MAX)
    }

    fn cells(&self, now: u64) -> std::sync::MutexGuard<'_, HashMap<String, Cell>> {
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        if cells.len() >= CELLS_MAX {
            cells.retain(|_, cell| !cell.is_idle(now));
        }
        cells
    }
}

/// What was asked for in a period.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Asked {
    /// Requests that were let in.
    pub requests: u64,
    /// Bytes of objects that came.
    pub received_bytes: u64,
    /// Bytes of objects that went.
    pub sent_bytes: u64,
}

/// Of the hour that is and of the one before.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Hours {
    /// Since the hour began.
    pub this_hour: Asked,
    /// In the hour before.
    pub last_hour: Asked,
}

#[derive(Clone, Copy, Default)]
struct Meter {
    period: u64,
    hours: Hours,
}

impl Meter {
    fn at(mut self, period: u64) -> Self {
        if self.period != period {
            let last_hour = if self.period + 1 == period { self.hours.this_hour } else { Asked::default() };
            self = Self { period, hours: Hours { this_hour: Asked::default(), last_hour } };
        }
        self
    }
}

/// Counts and slows what accounts and access keys ask for.
pub struct Rate {
    begun: Instant,
    throttle: Throttle,
    meters: Mutex<HashMap<AccountName, Meter>>,
}

impl Default for Rate {
    fn default() -> Self {
        Self { begun: Instant::now(), throttle: Throttle::default(), meters: Mutex::default() }
    }
}

impl Rate {
    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    fn count(&self, account: &AccountName, change: impl Fn(&mut Asked)) {
        let period = self.now().as_secs() / PERIOD.as_secs();
        let mut meters = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
        // Accounts that are asked for stand in the file of access keys; those that did so long ago are forgotten.
        if meters.len() >= CELLS_MAX {
            meters.retain(|_, meter| meter.period + 1 >= period);
        }
        let meter = meters.entry(account.clone()).or_default();
        *meter = meter.at(period);
        change(&mut meter.hours.this_hour);
    }

    /// What was asked for in the name of an account or a sub-account since the gateway was started.
    pub fn hours(&self, account: &AccountName) -> Hours {
        let period = self.now().as_secs() / PERIOD.as_secs();
        let meters = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
        meters.get(account).map(|meter| meter.at(period).hours).unwrap_or_default()
    }
}

/// Who asks, as far as rates and counts are concerned. Goes with a request to where its bytes come and go.
#[derive(Clone)]
pub struct Traffic {
    rate: Arc<Rate>,
    who: Arc<[Rated]>,
    accounts: Arc<[AccountName]>,
}

impl Traffic {
    /// Of a request in the name of these accounts, with these rates.
    pub fn new(rate: Arc<Rate>, who: Vec<Rated>, accounts: Vec<AccountName>) -> Self {
        Self { rate, who: who.into(), accounts: accounts.into() }
    }

    /// Counts the request, or says how long it is too early.
    pub fn request(&self) -> Result<(), Duration> {
        let now = u64::try_from(self.rate.now().as_nanos()).unwrap_or(u64::MAX);
        self.rate.throttle.request(&self.who, now)?;
        self.accounts.iter().for_each(|account| self.rate.count(account, |asked| asked.requests += 1));
        Ok(())
    }

    /// Whether bytes of this way may have to wait.
    pub fn is_rated(&self, way: Way) -> bool {
        self.who.iter().any(|rated| bytes_rate(&rated.rates, way).is_some())
    }

    /// Counts bytes; how long to wait before the next ones.
    pub fn bytes(&self, way: Way, bytes: u64) -> Duration {
        for account in &*self.accounts {
            self.rate.count(account, |asked| match way {
                Way::Up => asked.received_bytes = asked.received_bytes.saturating_add(bytes),
                Way::Down => asked.sent_bytes = asked.sent_bytes.saturating_add(bytes),
            });
        }
        if !self.is_rated(way) {
            return Duration::ZERO;
        }
        let now = u64::try_from(self.rate.now().as_nanos()).unwrap_or(u64::MAX);
        self.rate.throttle.bytes(&self.who, way, bytes, now)
    }

    /// Counts bytes that came, and waits where they came too fast.
    pub async fn received(&self, bytes: u64) {
        let wait = self.bytes(Way::Up, bytes);
        if wait > Duration::ZERO {
            tokio::time::sleep(wait).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use arion_daemon::ByteSize;

    use super::*;

    fn rated(name: &str, requests: u32, burst: u32) -> Rated {
        let rates =
            Rates { requests: requests.try_into().ok(), burst: burst.try_into().ok(), ..Rates::default() };
        Rated { name: name.into(), rates }
    }

    #[test]
    fn a_burst_goes_at_once_and_then_so_many_a_second() {
        let throttle = Throttle::default();
        let who = [rated("k", 10, 3)];
        for _ in 0..3 {
            assert_eq!(throttle.request(&who, 5), Ok(()));
        }
        assert_eq!(throttle.request(&who, 5), Err(Duration::from_millis(100)));
        assert_eq!(throttle.request(&who, 5 + SECOND / 20), Err(Duration::from_millis(50)));
        let mut passed = 0;
        // Asked a thousand times in ten seconds.
        for turn in 1..=1_000 {
            passed += u32::from(throttle.request(&who, 5 + turn * SECOND / 100).is_ok());
        }
        assert_eq!(passed, 100);
        // After a pause no more than the burst.
        let later = 1_000 * SECOND;
        assert_eq!((0..10).filter(|_| throttle.request(&who, later).is_ok()).count(), 3);
        assert_eq!(throttle.request(&[rated("other", 10, 1)], later), Ok(()));
        assert_eq!(
            throttle.request(&[Rated { name: "free".into(), rates: Rates::default() }], later),
            Ok(())
        );
    }

    #[test]
    fn whom_one_rate_refuses_uses_up_no_other() {
        let throttle = Throttle::default();
        let (key, account) = (rated("key", 1, 1), rated("account", 10, 10));
        let both = [key, account.clone()];
        assert_eq!(throttle.request(&both, 0), Ok(()));
        for _ in 0..50 {
            assert!(throttle.request(&both, 0).is_err());
        }
        assert_eq!(
            (0..20).filter(|_| throttle.request(std::slice::from_ref(&account), 0).is_ok()).count(),
            9
        );
    }

    #[test]
    fn bytes_wait_for_their_rate() {
        let throttle = Throttle::default();
        let rates = Rates { upload: Some(ByteSize(1 << 20)), ..Rates::default() };
        let who = [Rated { name: "k".into(), rates }];
        let mut now = 0;
        let mut waited = Duration::ZERO;
        for _ in 0..160 {
            let wait = throttle.bytes(&who, Way::Up, 64 << 10, now);
            waited += wait;
            now += u64::try_from(wait.as_nanos()).unwrap();
        }
        // 10 MiB at 1 MiB a second, of which the first go at once.
        assert!((Duration::from_millis(8_990)..Duration::from_millis(9_010)).contains(&waited), "{waited:?}");
        assert_eq!(throttle.bytes(&who, Way::Down, u64::MAX, now), Duration::ZERO);
        assert_eq!(throttle.bytes(&who, Way::Up, u64::MAX, now), WAIT_MAX);
    }

    #[test]
    fn cells_that_are_full_again_are_forgotten() {
        let throttle = Throttle::default();
        for number in 0..CELLS_MAX as u64 + 10 {
            let who = [rated(&number.to_string(), 1, 1)];
            assert_eq!(throttle.request(&who, number * 2 * SECOND), Ok(()));
        }
        assert!(throttle.cells.lock().unwrap().len() <= 20);
    }

    #[test]
    fn periods_follow_each_other() {
        let asked = Asked { requests: 5, ..Asked::default() };
        let meter = Meter { period: 7, hours: Hours { this_hour: asked, last_hour: Asked::default() } };
        assert_eq!(meter.at(7).hours.this_hour, asked);
        assert_eq!(meter.at(8).hours, Hours { this_hour: Asked::default(), last_hour: asked });
        assert_eq!(meter.at(9).hours, Hours::default());
    }
}
