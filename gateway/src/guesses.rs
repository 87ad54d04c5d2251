//! Guessing of secrets is slowed: who signs wrongly again and again is not listened to for a while.
//!
//! Wrong signatures are counted for an access key from one address, for an address, and for an access key from anywhere. The
//! first few are free. Each further one closes the way for twice as long as the one before, up to a bound; what comes in that
//! time is refused without looking at its signature, so that nothing is learned from it, and does not count.
//!
//! # Invariants
//! - Memory is bounded: `WAYS_MAX` ways of each kind are remembered, the quietest is forgotten.
//! - What others guess closes only ways that a rightful user does not need: who proved a key from an address within
//!   `PROVED_MS` is held up by wrong signatures of that key from that address alone, for `PAIR_MS_MAX` at the most.
//!
//! # Not here
//! When a signature is right (`s3s`); what the answers look like (`s3`).

use std::{
    collections::HashMap,
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
};

/// Ways of each kind that are remembered.
const WAYS_MAX: usize = 8_192;
/// Wrong signatures that cost nothing: of a key from an address, from an address, of a key.
const PAIR_FREE: u32 = 5;
const ADDRESS_FREE: u32 = 20;
const KEY_FREE: u32 = 50;
/// Longest that a way is closed, milliseconds.
const PAIR_MS_MAX: u64 = 8_000;
const ADDRESS_MS_MAX: u64 = 8_000;
const KEY_MS_MAX: u64 = 2_000;
/// How long the first one after the free ones closes it.
const FIRST_MS: u64 = 500;
/// One wrong signature is forgotten in so many milliseconds.
const FORGET_MS: u64 = 30_000;
/// How long a right signature counts.
const PROVED_MS: u64 = 24 * 3_600_000;

/// Where a request comes from: an address, of IPv6 the network that one customer has.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Source(IpAddr);

impl Source {
    /// Of an address.
    pub fn new(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
            }
            address => address,
        })
    }
}

/// What is known of a way.
#[derive(Clone, Copy, Default)]
struct Way {
    wrong: u32,
    /// When it was last counted, and until when it is closed.
    counted_ms: u64,
    closed_ms: u64,
    proved_ms: Option<u64>,
}

impl Way {
    fn forget(&mut self, now_ms: u64) {
        let forgotten = now_ms.saturating_sub(self.counted_ms) / FORGET_MS;
        if forgotten > 0 {
            self.wrong = self.wrong.saturating_sub(u32::try_from(forgotten).unwrap_or(u32::MAX));
            self.counted_ms = self.counted_ms.saturating_add(forgotten.saturating_mul(FORGET_MS));
        }
    }

    fn wrong(&mut self, now_ms: u64, free: u32, max_ms: u64) {
        self.forget(now_ms);
        if self.wrong == 0 {
            self.counted_ms = now_ms;
        }
        self.wrong = self.wrong.saturating_add(1);
        if let Some(beyond) = self.wrong.checked_sub(free + 1) {
            let closed = FIRST_MS.saturating_mul(1 << beyond.min(16)).min(max_ms);
            self.closed_ms = now_ms.saturating_add(closed);
        }
    }

    fn is_proved(&self, now_ms: u64) -> bool {
        self.proved_ms.is_some_and(|proved| proved.saturating_add(PROVED_MS) > now_ms)
    }

    fn last_ms(&self) -> u64 {
        self.counted_ms.max(self.proved_ms.unwrap_or(0))
    }
}

/// The way of a kind that is meant; makes room for a new one.
fn way<K: Hash + Eq + Clone>(ways: &mut HashMap<K, Way>, key: K) -> &mut Way {
    if ways.len() >= WAYS_MAX && !ways.contains_key(&key) {
        // Once for many: the older half, of those that nobody proved first.
        let mut ages: Vec<_> = ways.values().map(|way| (way.proved_ms.is_some(), way.last_ms())).collect();
        let middle = ages.len() / 2;
        let (_, bound, _) = ages.select_nth_unstable(middle);
        let bound = *bound;
        ways.retain(|_, way| (way.proved_ms.is_some(), way.last_ms()) > bound);
    }
    ways.entry(key).or_default()
}

#[derive(Default)]
struct Ways {
    pairs: HashMap<(Source, String), Way>,
    sources: HashMap<Source, Way>,
    keys: HashMap<String, Way>,
}

/// Wrong signatures of late.
#[derive(Default)]
pub struct Guesses {
    ways: Mutex<Ways>,
}

impl Guesses {
    /// How long, in milliseconds, nobody listens to this access key from there; none if somebody does.
    pub fn closed(&self, source: Source, access_key: &str, now_ms: u64) -> Option<u64> {
        let ways = self.ways.lock().unwrap_or_else(PoisonError::into_inner);
        let pair = ways.pairs.get(&(source, access_key.to_owned())).copied().unwrap_or_default();
        let mut until = pair.closed_ms;
        if !pair.is_proved(now_ms) {
            let of = |way: Option<&Way>| way.map_or(0, |way| way.closed_ms);
            until = until.max(of(ways.sources.get(&source))).max(of(ways.keys.get(access_key)));
        }
        until.checked_sub(now_ms).filter(|wait| *wait > 0)
    }

    /// Counts a wrong signature, or an access key that there is not (`exists` is false).
    pub fn wrong(&self, source: Source, access_key: &str, exists: bool, now_ms: u64) {
        let mut ways = self.ways.lock().unwrap_or_else(PoisonError::into_inner);
        way(&mut ways.sources, source).wrong(now_ms, ADDRESS_FREE, ADDRESS_MS_MAX);
        // Of a name that is nobody's there is nothing to guess.
        if exists {
            let name = access_key.to_owned();
            way(&mut ways.pairs, (source, name.clone())).wrong(now_ms, PAIR_FREE, PAIR_MS_MAX);
            way(&mut ways.keys, name).wrong(now_ms, KEY_FREE, KEY_MS_MAX);
        }
    }

    /// Notes a right signature: nothing of the key from there is held against it.
    pub fn right(&self, source: Source, access_key: &str, now_ms: u64) {
        let mut ways = self.ways.lock().unwrap_or_else(PoisonError::into_inner);
        let pair = way(&mut ways.pairs, (source, access_key.to_owned()));
        *pair = Way { proved_ms: Some(now_ms), ..Way::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(last: u8) -> Source {
        Source::new([192, 0, 2, last].into())
    }

    /// Guesses that were looked at in a time, by somebody who tries every millisecond.
    fn guessed(guesses: &Guesses, source: Source, key: &str, from_ms: u64, for_ms: u64) -> u64 {
        let mut looked_at = 0;
        for now in from_ms..from_ms + for_ms {
            if guesses.closed(source, key, now).is_none() {
                guesses.wrong(source, key, true, now);
                looked_at += 1;
            }
        }
        looked_at
    }

    #[test]
    fn guessing_slows_down_and_a_typo_costs_nothing() {
        let guesses = Guesses::default();
        assert_eq!(guessed(&guesses, source(1), "K", 0, u64::from(PAIR_FREE)), u64::from(PAIR_FREE));
        assert_eq!(guesses.closed(source(1), "K", 5), None);
        let hour = guessed(&guesses, source(1), "K", 10, 3_600_000);
        assert!((400..500).contains(&hour), "{hour}");
        // Nobody else's way is closed by it.
        assert_eq!(guesses.closed(source(2), "L", 3_600_010), None);
        // After a while it is as if nothing had been.
        let later = 3_600_010 + 2_000 * FORGET_MS;
        assert_eq!(guessed(&guesses, source(1), "K", later, 5), 5);
    }

    #[test]
    fn who_proved_the_key_is_not_held_up_by_others() {
        let guesses = Guesses::default();
        guesses.right(source(1), "K", 0);
        // Somebody behind the same address guesses another key and names that do not exist, somebody elsewhere this one.
        for now in 0..1_000 {
            guesses.wrong(source(1), "L", true, now);
            guesses.wrong(source(1), &now.to_string(), false, now);
            guesses.wrong(source(2), "K", true, now);
        }
        assert_eq!(guesses.closed(source(1), "K", 1_000), None);
        assert!(guesses.closed(source(1), "M", 1_000).is_some_and(|wait| wait <= ADDRESS_MS_MAX));
        assert!(guesses.closed(source(3), "K", 1_000).is_some_and(|wait| wait <= KEY_MS_MAX));
        // Somebody behind the same address guesses this very key: at most so long, and a right one opens it.
        for now in 1_000..1_050 {
            guesses.wrong(source(1), "K", true, now);
        }
        assert!(guesses.closed(source(1), "K", 1_050).is_some_and(|wait| wait <= PAIR_MS_MAX));
        guesses.right(source(1), "K", 1_050 + PAIR_MS_MAX);
        assert_eq!(guesses.closed(source(1), "K", 1_050 + PAIR_MS_MAX), None);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let guesses = Guesses::default();
        guesses.right(source(1), "K", 1);
        for number in 0..50_000_u32 {
            let address = Source::new(IpAddr::from(number.to_be_bytes()));
            guesses.wrong(address, &format!("{number}"), number % 2 == 0, u64::from(number));
        }
        let ways = guesses.ways.lock().unwrap();
        assert!(
            ways.sources.len() <= WAYS_MAX && ways.pairs.len() <= WAYS_MAX && ways.keys.len() <= WAYS_MAX
        );
        assert!(ways.pairs.contains_key(&(source(1), "K".to_owned())));
    }

    #[test]
    fn an_ipv6_customer_is_one_source() {
        let at = |text: &str| Source::new(text.parse().unwrap());
        assert_eq!(at("2001:db8:1:2::1"), at("2001:db8:1:2:ffff::9"));
        assert_ne!(at("2001:db8:1:2::1"), at("2001:db8:1:3::1"));
        assert_eq!(at("::ffff:192.0.2.1"), source(1));
    }
}
