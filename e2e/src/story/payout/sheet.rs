//! The sheet: weights of miners and families, bucket by bucket, computed from what anybody can read on the chain.
//!
//! Plain arithmetic by the formulas of docs/spec/chain.md (Weights): nothing of the pallet's code is used, and no weight or standing
//! that it computed goes in. Logarithms are those of the processor.
//!
//! # Invariants
//! - Buckets come in their order, each with everything that reached the chain in it.
//!
//! # Not here
//! Where the inputs stand on the chain (`record`); what is paid for weights (`story::books`).

use std::collections::BTreeMap;

use anyhow::ensure;
use arion_chain::AccountId;

/// One in fixed point with 32 bits behind the point.
const ONE: u128 = 1 << 32;
/// One in fixed point with 16 bits behind the point.
const LOG_ONE: f64 = 65_536.0;
/// Larger integers are not exact in a `f64`.
const EXACT_MAX: u128 = 1 << 53;
/// Most that a bucket adds to strikes, and to failures.
const ADDED_MAX: u64 = 25;

/// Constants of `Arion` in the metadata.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) bandwidth_permille: u128,
    pub(super) storage_permille: u128,
    pub(super) scale: u128,
    /// A power of two.
    pub(super) unit_bytes: u128,
    pub(super) strike_penalty: u128,
    pub(super) fail_penalty: u128,
    pub(super) node_max: u128,
    pub(super) top: usize,
    pub(super) decay_permille: u128,
    pub(super) family_max: u128,
    pub(super) alpha_permille: u128,
    pub(super) delta_max: u128,
    pub(super) grace_buckets: u32,
    pub(super) floor: u128,
}

/// What a validator says of a miner.
#[derive(Clone, Copy, Debug)]
pub(super) struct Said {
    /// Votes of the validator.
    pub(super) votes: u128,
    pub(super) stored: u64,
    pub(super) served: u64,
    pub(super) uptime: u64,
}

/// What a warden saw of a miner.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Seen {
    pub(super) timeouts: u64,
    /// Verdicts `Failed` and `InvalidProof`.
    pub(super) fails: u64,
}

/// A miner that is registered when a bucket ends.
#[derive(Clone, Debug)]
pub(super) struct Miner {
    pub(super) child: AccountId,
    pub(super) family: AccountId,
    /// Bucket in which it was registered.
    pub(super) since: u32,
    pub(super) said: Vec<Said>,
    /// By warden; one that only saw it pass is among them.
    pub(super) seen: BTreeMap<[u8; 32], Seen>,
}

/// All that reached the chain in a bucket.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    pub(super) number: u32,
    /// Votes of all validators.
    pub(super) votes: u128,
    /// Wardens that are registered.
    pub(super) wardens: usize,
    pub(super) miners: Vec<Miner>,
}

/// What stands of a miner.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Quality {
    pub(super) stored: u64,
    pub(super) served: u64,
    pub(super) uptime: u64,
    pub(super) strikes: u64,
    pub(super) fails: u64,
}

/// Timeouts that one warden saw alone.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    bucket: u32,
    warden: [u8; 32],
    timeouts: u64,
}

/// Weights after the last bucket.
#[derive(Debug)]
pub(super) struct Sheet {
    rules: Rules,
    waiting: BTreeMap<AccountId, Waiting>,
    /// By child; nothing of one of which nothing was ever said.
    pub(super) qualities: BTreeMap<AccountId, Quality>,
    /// By child, as `qualities`.
    pub(super) nodes: BTreeMap<AccountId, u128>,
    pub(super) families: BTreeMap<AccountId, u128>,
}

impl Sheet {
    /// Before the first bucket.
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            rules,
            waiting: BTreeMap::new(),
            qualities: BTreeMap::new(),
            nodes: BTreeMap::new(),
            families: BTreeMap::new(),
        }
    }

    /// Enters a bucket that is over.
    pub(super) fn close(&mut self, bucket: &Bucket) -> anyhow::Result<()> {
        let before = std::mem::take(&mut self.families);
        let mut families: BTreeMap<AccountId, Vec<&Miner>> = BTreeMap::new();
        for miner in &bucket.miners {
            families.entry(miner.family).or_default().push(miner);
        }
        for (family, miners) in families {
            let mut qualities = Vec::new();
            for miner in &miners {
                let Some(quality) = self.quality(bucket, miner) else { continue };
                self.qualities.insert(miner.child, quality);
                self.nodes.insert(miner.child, self.rules.node(&quality)?);
                qualities.push(quality);
            }
            let old = before.get(&family).copied().unwrap_or(0);
            let mut weight = self.rules.smoothed(old, self.rules.raw(&qualities)?);
            let first = miners.iter().map(|miner| miner.since).min().unwrap_or(0);
            let is_up = qualities.iter().any(|quality| quality.uptime > 0);
            if is_up && bucket.number < first + self.rules.grace_buckets {
                weight = weight.max(self.rules.floor);
            }
            self.families.insert(family, weight);
        }
        Ok(())
    }

    /// What stands of a miner after the bucket.
    fn quality(&mut self, bucket: &Bucket, miner: &Miner) -> Option<Quality> {
        let seen = self.confirmed(bucket, miner);
        let before = self.qualities.get(&miner.child).copied();
        let said = agreed(&miner.said, bucket.votes);
        if before.is_none() && said.is_none() && seen.is_empty() {
            return None;
        }
        let before = before.unwrap_or_default();
        let (stored, served, uptime) = said.unwrap_or((before.stored, before.served, faded(before.uptime)));
        let added = believed(&seen, bucket.wardens);
        let strikes = faded(before.strikes) + added.timeouts;
        let fails = faded(before.fails) + added.fails;
        Some(Quality { stored, served, uptime, strikes, fails })
    }

    /// What wardens saw, without timeouts that one alone saw; with those of the bucket before that another has confirmed.
    fn confirmed(&mut self, bucket: &Bucket, miner: &Miner) -> Vec<Seen> {
        let mut seen = miner.seen.clone();
        let has_failed = |seen: &Seen| seen.timeouts + seen.fails > 0;
        if bucket.wardens > 1 {
            let waiting = self.waiting.remove(&miner.child).filter(|w| w.bucket + 1 == bucket.number);
            if let Some(waiting) = waiting
                && seen.iter().any(|(warden, seen)| *warden != waiting.warden && has_failed(seen))
            {
                seen.entry(waiting.warden).or_default().timeouts += waiting.timeouts;
            }
            let mut failed = seen.iter_mut().filter(|(_, seen)| has_failed(seen));
            if let (Some((warden, alone)), None) = (failed.next(), failed.next())
                && alone.timeouts > 0
            {
                let timeouts = std::mem::take(&mut alone.timeouts);
                self.waiting
                    .insert(miner.child, Waiting { bucket: bucket.number, warden: *warden, timeouts });
            }
        }
        seen.into_values().collect()
    }
}

/// Bytes stored, served, and uptime, if two thirds of the votes say something of a miner: the least value that half of them do
/// not exceed, of each.
fn agreed(said: &[Said], votes: u128) -> Option<(u64, u64, u64)> {
    let reporting: u128 = said.iter().map(|said| said.votes).sum();
    if said.is_empty() || 3 * reporting < 2 * votes {
        return None;
    }
    let median = |field: fn(&Said) -> u64| {
        let mut values: Vec<(u64, u128)> = said.iter().map(|said| (field(said), said.votes)).collect();
        values.sort_unstable();
        let mut so_far = 0;
        let half = values.into_iter().find(|(_, votes)| {
            so_far += votes;
            2 * so_far >= reporting
        });
        half.map(|(value, _)| value)
    };
    Some((median(|said| said.stored)?, median(|said| said.served)?, median(|said| said.uptime)?))
}

/// What is added to strikes and failures by what wardens saw.
fn believed(seen: &[Seen], wardens: usize) -> Seen {
    let mut sums: Vec<u64> = seen.iter().map(|seen| seen.timeouts + seen.fails).collect();
    sums.sort_unstable();
    let mut most = sums.get(sums.len().saturating_sub(1) / 2).copied().unwrap_or(0);
    if seen.len() == 1 && wardens > 1 {
        most = most.min(1);
    }
    let mut added = Seen::default();
    for seen in seen {
        let fails = seen.fails.min(most);
        added.fails += fails;
        added.timeouts += seen.timeouts.min(most - fails);
    }
    Seen { timeouts: added.timeouts.min(ADDED_MAX), fails: added.fails.min(ADDED_MAX) }
}

/// Seven eighths, rounded down.
fn faded(count: u64) -> u64 {
    7 * count / 8
}

impl Rules {
    /// log2(1 + bytes / unit) in 2^-16, rounded down.
    fn doublings(&self, bytes: u128) -> anyhow::Result<u128> {
        let sum = self.unit_bytes + bytes;
        ensure!(sum <= EXACT_MAX, "{bytes} bytes are more than this sheet computes with");
        let log = |x: u128| ((x as f64).log2() * LOG_ONE).floor() as u128;
        Ok(log(sum) - log(self.unit_bytes))
    }

    /// Parts of bandwidth and of storage in a score, in permille of 2^-16.
    fn parts(&self, served: u128, stored: u128) -> anyhow::Result<(u128, u128)> {
        let served = self.bandwidth_permille * self.scale * self.doublings(served)?;
        Ok((served, self.storage_permille * self.scale * self.doublings(stored)?))
    }

    fn score(&self, served: u128, stored: u128) -> anyhow::Result<u128> {
        let (bandwidth, storage) = self.parts(served, stored)?;
        Ok((bandwidth + storage) / (1_000 << 16))
    }

    /// Weight of a node.
    fn node(&self, quality: &Quality) -> anyhow::Result<u128> {
        let score = self.score(quality.served.into(), quality.stored.into())?;
        let penalties =
            u128::from(quality.strikes) * self.strike_penalty + u128::from(quality.fails) * self.fail_penalty;
        let weight = score * u128::from(quality.uptime) / 1_000;
        Ok(weight.saturating_sub(penalties).min(self.node_max))
    }

    /// Weight of a family before it is smoothed.
    fn raw(&self, qualities: &[Quality]) -> anyhow::Result<u128> {
        let mut nodes = Vec::new();
        for quality in qualities {
            nodes.push((self.node(quality)?, *quality));
        }
        nodes.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
        nodes.truncate(self.top);
        let best = nodes.first().map_or(0, |(weight, _)| *weight);
        let (mut ranked, mut factor) = (0, ONE);
        for (weight, _) in &nodes {
            ranked += factor * weight;
            factor = factor * self.decay_permille / 1_000;
        }
        Ok((ranked / ONE).min(self.joint(&nodes)?.max(best)).min(self.family_max))
    }

    /// Score of the nodes' resources together, times what uptime and penalties leave of it.
    fn joint(&self, nodes: &[(u128, Quality)]) -> anyhow::Result<u128> {
        let (mut served, mut stored, mut served_kept, mut stored_kept) = (0, 0, 0, 0);
        for (weight, quality) in nodes {
            let bytes = (u128::from(quality.served), u128::from(quality.stored));
            let kept = weight * ONE / self.score(bytes.0, bytes.1)?.max(1);
            served += bytes.0;
            stored += bytes.1;
            served_kept += kept * bytes.0;
            stored_kept += kept * bytes.1;
        }
        let (bandwidth, storage) = self.parts(served, stored)?;
        let kept = bandwidth * (served_kept / served.max(1)) + storage * (stored_kept / stored.max(1));
        let kept = kept / (bandwidth + storage).max(1);
        Ok(self.score(served, stored)? * kept / ONE)
    }

    /// The weight after a bucket.
    fn smoothed(&self, old: u128, raw: u128) -> u128 {
        let distance = old.abs_diff(raw);
        let step = (distance * self.alpha_permille / 1_000).max(1).min(self.delta_max).min(distance);
        if raw > old { old + step } else { old - step }
    }
}

#[cfg(test)]
#[path = "sheet_tests.rs"]
mod tests;
