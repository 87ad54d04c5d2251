//! Deleting what nobody paid for: the data of accounts whose deletion notice is over.
//!
//! The chain removes an agreement that expires, and one that its account ends, alike. What tells them apart is what was seen
//! before: an agreement that had its deletion notice, and is gone once that is over, was not paid for. From then on its data are
//! kept for a while more, in which the account can come back; only then are they deleted.
//!
//! # Invariants
//! - Nothing is deleted of an account that lets this gateway bill it on the finalised chain, as it was asked before each turn.
//! - Nothing is deleted of an account whose notice was not seen and noted here before it was over, nor of one for which somebody
//!   else paid then.
//! - What object lock keeps stays for as long as it keeps it.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arion_chain::{AccountId, AgreementStatus, MarketAccount, ss58};
use arion_types::NodeId;

use super::{commit::BillError, credit::Credit, market::Market};
use crate::{
    keys::AccessKeys,
    meta::{DeleteRequest, Meta, MetaError, Notice},
    metrics::Metrics,
    notify::Origin,
};

/// Versions and parts that a turn deletes.
pub const DELETED_MAX: usize = 512;
/// Rows that are looked at together.
const PAGE: usize = 256;
/// Stripes of an upload that one step releases.
const STRIPES_RELEASED: usize = 256;
/// Pause before an account is gone through again of which nothing is left but what is locked.
const REST_MS: u64 = 3_600_000;

/// Deletes for a gateway.
pub struct Expirer {
    /// What is stored.
    pub meta: Meta,
    /// Which accounts of the chain pay for which accounts.
    pub keys: Arc<AccessKeys>,
    /// The chain.
    pub market: Arc<dyn Market>,
    /// What it said to all replicas.
    pub credit: Arc<Credit>,
    /// The gateway.
    pub gateway: NodeId,
    /// How long data are kept after their agreement expired.
    pub kept: Duration,
    /// Counters.
    pub metrics: Metrics,
    /// Until when accounts are left alone of which nothing could be deleted.
    pub resting: Mutex<HashMap<AccountId, u64>>,
}

/// What is known now of an account of which something was known; `None` if that is nothing any more.
fn noted(
    (account, paid_for): (&MarketAccount, &[String]),
    gateway: &NodeId,
    before: Option<Notice>,
    block: u32,
    now_ms: u64,
) -> Option<Notice> {
    let agreement = account.agreement.as_ref().filter(|agreement| agreement.of(gateway).is_some());
    match (agreement.map(|agreement| agreement.status), before) {
        (Some(AgreementStatus::DeletionNotice { until }), _) => {
            Some(Notice { until, expired_ms: None, accounts: paid_for.to_vec() })
        }
        // It paid, or began anew.
        (Some(_), _) => None,
        (None, None) => None,
        (None, Some(notice)) if notice.expired_ms.is_some() => Some(notice),
        (None, Some(notice)) if block >= notice.until => Some(Notice { expired_ms: Some(now_ms), ..notice }),
        // Before the notice was over only its account can have ended it.
        (None, Some(_)) => None,
    }
}

impl Expirer {
    /// Notes what the chain says of accounts that are in their notice or were, and deletes what is due. Whether there is more to
    /// delete.
    pub async fn turn(&self, now_ms: u64) -> Result<bool, BillError> {
        let notices = self.meta.notices().await?;
        let concerned: BTreeSet<AccountId> = notices.keys().copied().chain(self.credit.in_notice()).collect();
        if concerned.is_empty() {
            return Ok(false);
        }
        let concerned: Vec<AccountId> = concerned.into_iter().collect();
        let view = self.market.view(&concerned).await?;
        let payers = self.keys.payers()?;
        let mut more = false;
        for (payer, account) in view.accounts {
            let before = notices.get(&payer);
            let paid_for = payers.get(&payer).map(Vec::as_slice).unwrap_or_default();
            let about = (&account, paid_for);
            let now = noted(about, &self.gateway, before.cloned(), view.block.number, now_ms);
            if now.as_ref() != before {
                tell(&payer, before, now.as_ref());
                self.meta.note_notice(payer, now.clone()).await?;
            }
            let Some(Notice { expired_ms: Some(expired), accounts, .. }) = now else { continue };
            let kept = u64::try_from(self.kept.as_millis()).unwrap_or(u64::MAX);
            if now_ms >= expired.saturating_add(kept) && !self.rests(&payer, now_ms) {
                let names: Vec<&String> = accounts.iter().filter(|name| paid_for.contains(name)).collect();
                match self.delete(&payer, &names, now_ms).await? {
                    0 => self.rest(payer, now_ms),
                    _ => more = true,
                }
            }
        }
        Ok(more)
    }

    fn rests(&self, payer: &AccountId, now_ms: u64) -> bool {
        let resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        resting.get(payer).is_some_and(|until| now_ms < *until)
    }

    fn rest(&self, payer: AccountId, now_ms: u64) {
        let mut resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        resting.insert(payer, now_ms.saturating_add(REST_MS));
    }

    /// Deletes some of what accounts store; how much. Buckets stay, with what is set up for them.
    async fn delete(&self, payer: &AccountId, names: &[&String], now_ms: u64) -> Result<usize, MetaError> {
        let mut deleted = 0;
        for name in names {
            for (bucket, _) in self.meta.buckets((*name).clone()).await? {
                deleted += self.empty(&bucket, name, DELETED_MAX - deleted, now_ms).await?;
                if deleted >= DELETED_MAX {
                    break;
                }
            }
        }
        if deleted > 0 {
            self.metrics.versions_unpaid.inc_by(deleted as u64);
            tracing::warn!(account = ss58(payer), deleted, "versions that nobody paid for were deleted");
        }
        Ok(deleted)
    }

    async fn empty(&self, bucket: &str, account: &str, max: usize, now_ms: u64) -> Result<usize, MetaError> {
        let (mut deleted, mut after) = (0, None);
        loop {
            let (uploads, next) = self.meta.walk_uploads(bucket.to_owned(), after, PAGE).await?;
            for (upload, _) in uploads.into_iter().filter(|(_, info)| info.is_some()) {
                if deleted >= max {
                    return Ok(deleted);
                }
                while !self.meta.give_up_upload(upload.clone(), STRIPES_RELEASED, now_ms).await? {}
                deleted += 1;
            }
            after = next;
            if after.is_none() {
                break;
            }
        }
        let mut after = None;
        loop {
            let (versions, next) = self.meta.walk_versions(bucket.to_owned(), after, PAGE).await?;
            for (key, version) in versions {
                let Some(version) = version else { continue };
                if deleted >= max {
                    return Ok(deleted);
                }
                let request = DeleteRequest {
                    bucket: bucket.to_owned(),
                    key,
                    version: Some(version.id()),
                    bypass: true,
                    account: account.to_owned(),
                    payer: account.to_owned(),
                    origin: Origin { principal: "billing".into(), ..Origin::lifecycle() },
                    ..DeleteRequest::default()
                };
                match self.meta.delete(request, now_ms).await {
                    Ok(_) => deleted += 1,
                    Err(MetaError::Locked) => {}
                    // One that does not decode stops nobody else's.
                    Err(error) => drop(self.meta.readable(Err::<(), _>(error), bucket)?),
                }
            }
            after = next;
            if after.is_none() {
                return Ok(deleted);
            }
        }
    }
}

fn tell(payer: &AccountId, before: Option<&Notice>, now: Option<&Notice>) {
    let account = ss58(payer);
    match (before, now) {
        (_, Some(Notice { expired_ms: Some(_), .. })) => {
            tracing::warn!(
                account,
                "the agreement of an account on chain expired: what it stores is deleted"
            );
        }
        (_, Some(Notice { until, .. })) => {
            tracing::warn!(account, until, "an account on chain has its deletion notice");
        }
        (Some(_), None) => tracing::info!(account, "an account on chain has no deletion notice any more"),
        (None, None) => {}
    }
}
