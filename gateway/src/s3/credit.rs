//! What an account's credits mean for its requests: writes that are refused, and headers that warn.

use hyper::{
    HeaderMap, StatusCode,
    header::{HeaderName, HeaderValue},
};
use s3s::{S3Error, S3Result, s3_error};

use super::{Store, errors};
use crate::billing::credit::Standing;

/// Where an account stands, in answers to its own requests, if not all is well.
pub(super) const STATE: HeaderName = HeaderName::from_static("x-arion-credit-state");
/// When about that changes unless somebody pays.
pub(super) const UNTIL: HeaderName = HeaderName::from_static("x-arion-credit-until");

/// Shards of a stripe for each of its data shards, where no map says it.
const EXPANSION: u64 = 3;

/// Puts what an account is to know of its credits into an answer.
pub(super) fn warn(headers: &mut HeaderMap, standing: &Standing) {
    let Some((state, until)) = standing.warning() else { return };
    headers.insert(STATE, HeaderValue::from_static(state));
    if let Some(until) = until.and_then(|until| HeaderValue::try_from(until.to_string()).ok()) {
        headers.insert(UNTIL, until);
    }
}

impl Store {
    /// Refuses what would be stored at the expense of an account that may store no more on chain: `bytes` of plaintext.
    pub(super) async fn check_credit(&self, account: &str, bytes: u64) -> S3Result<()> {
        let refused = |error: S3Error| {
            self.grid.metrics.credit_refused.inc();
            Err(error)
        };
        let Some(standing) = self.credit.standing(account) else { return Ok(()) };
        if let Some(reason) = standing.refusal() {
            return refused(s3_error!(AccountProblem, "{reason}"));
        }
        let Some(most) = standing.bytes_max() else { return Ok(()) };
        let sharing = self.credit.sharing(&standing.payer);
        let used = self.grid.meta.occupied_by(sharing).await.map_err(errors::meta)?;
        let more = bytes.saturating_mul(self.expansion());
        if used.saturating_add(more) <= most {
            return Ok(());
        }
        let payer = arion_chain::ss58(&standing.payer);
        refused(errors::custom(
            "QuotaExceeded",
            StatusCode::FORBIDDEN,
            format!(
                "the account {payer} on chain, which pays for this account, lets this gateway bill {most} bytes of shards, and \
                 {used} are in use: {more} more are too many; raise the limit with marketplace.authorizeGateway, or delete something"
            ),
        ))
    }

    /// Bytes of shards for a byte of an object, rounded up.
    fn expansion(&self) -> u64 {
        let Some(map) = self.grid.maps.current() else { return EXPANSION };
        let (data, all) = (map.params().ec_k, u64::from(map.params().ec_k) + u64::from(map.params().ec_m));
        all.div_ceil(u64::from(data.max(1)))
    }
}
