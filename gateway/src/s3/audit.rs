//! `x-arion-audit-*`: how the shards of an object were audited, told to its bucket's owner by HEAD.
//!
//! Verdicts of wardens, as the finalised chain has them, on challenges of the last 24 hours.

use std::collections::BTreeSet;

use arion_chain::AuditDay;
use arion_proofs::{PPM, detection_ppm};
use hyper::{
    HeaderMap,
    header::{HeaderName, HeaderValue},
};

use super::{Store, access::Caller};
use crate::{grid::Grid, manifest::Manifest, meta::BucketInfo, object::ObjectInfo};

/// Challenges that the shards passed.
const PASSED: HeaderName = HeaderName::from_static("x-arion-audit-passed");
/// Challenges that ended otherwise.
const FAILED: HeaderName = HeaderName::from_static("x-arion-audit-failed");
/// Shards that were challenged, of how many.
const SHARDS: HeaderName = HeaderName::from_static("x-arion-audit-shards");
/// Block of the newest challenge.
const LAST_BLOCK: HeaderName = HeaderName::from_static("x-arion-audit-last-block");
/// When it was judged, by the warden's clock, seconds since the Unix epoch.
const LAST_TIME: HeaderName = HeaderName::from_static("x-arion-audit-last-time");
/// Chance that the loss of 1 % of a miner's bytes would have been found, for the least watched of the object's miners.
const DETECTION: HeaderName = HeaderName::from_static("x-arion-audit-detection-ppm");

/// The loss whose detection is told.
const LOSS_PPM: u64 = PPM / 100;
/// Larger objects are left to `arion audit report`: looking through their shards takes too long for a HEAD.
const OBJECT_BYTES_MAX: u64 = 1 << 30;

impl Store {
    /// Puts what is known of an object's audits into an answer to the owner of its bucket.
    pub(super) async fn tell_audits(
        &self,
        caller: Option<&Caller>,
        bucket: &BucketInfo,
        info: &ObjectInfo,
        headers: &mut HeaderMap,
    ) {
        let is_owner = caller.and_then(Caller::account).is_some_and(|account| account == bucket.account);
        let Some(day) = self.grid.audits.day().filter(|_| is_owner && info.size <= OBJECT_BYTES_MAX) else {
            return;
        };
        // Gone, or not to be read now: the answer to the HEAD itself stands.
        if let Ok(Some(manifest)) = self.grid.meta.manifest(info.manifest).await {
            fill(headers, &day, &manifest, &self.grid);
        }
    }
}

fn fill(headers: &mut HeaderMap, day: &AuditDay, manifest: &Manifest, grid: &Grid) {
    let object = day.of_object(manifest.stripes().flat_map(|record| &record.hashes));
    let mut tell = |name: HeaderName, text: String| {
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert(name, value);
        }
    };
    tell(PASSED, object.passed.to_string());
    tell(FAILED, object.not_passed.to_string());
    tell(SHARDS, format!("{}/{}", object.audited, object.shards));
    if let Some(last) = object.last {
        tell(LAST_BLOCK, last.block.to_string());
        tell(LAST_TIME, (last.at_ms / 1_000).to_string());
    }
    if let Some(map) = grid.maps.current() {
        let placed = manifest.stripes().flat_map(|record| map.place(&record.id()));
        let miners: BTreeSet<u32> = placed.flatten().map(|miner| miner.uid).collect();
        let watched = miners.into_iter().map(|miner| day.of_miner(miner).challenges).min();
        tell(DETECTION, detection_ppm(LOSS_PPM, watched.unwrap_or(0)).to_string());
    }
}
