//! Who signs requests: access keys that are right, in time and not too often.
//!
//! # Invariants
//! - The secret of a key is only given out for checking a signature, and not while guesses of it are being slowed.
//! - [`Callers::admit`] is asked once for every request whose signature was right, and by nobody else.
//!
//! # Not here
//! What a caller may do ([`super::access`]); how guesses and rates are counted ([`crate::guesses`], [`crate::rate`]).

use std::{
    future::Future,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hyper::{
    HeaderMap, StatusCode,
    header::{HeaderValue, RETRY_AFTER},
};
use s3s::{HttpResponse, S3Error, S3Result, auth::SecretKey, s3_error};

use super::{access::Caller, credit, input::now_ms};
use crate::{
    account::AccountName,
    billing::credit::Credit,
    guesses::{Guesses, Source},
    keys::{AccessKeys, AccountEntry, Key, KeysError, Moment},
    meta::Allowance,
    metrics::Metrics,
    rate::{Hours, Rate, Rated, Traffic},
};

/// Least pause between two lines of the log about guesses.
const LOG_PAUSE_MS: u64 = 10_000;

tokio::task_local! {
    /// The request whose signature is being checked.
    static ATTEMPT: Arc<Attempt>;
}

/// Whose signature a request came with, and whether it was right.
struct Attempt {
    source: Source,
    signed: Mutex<Option<Signed>>,
}

struct Signed {
    access_key: String,
    proved: bool,
}

impl Attempt {
    fn note(&self, change: impl FnOnce(&mut Option<Signed>)) {
        change(&mut self.signed.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Everybody who may sign requests.
pub(crate) struct Callers {
    keys: Arc<AccessKeys>,
    guesses: Guesses,
    rate: Arc<Rate>,
    credit: Arc<Credit>,
    metrics: Metrics,
    logged_ms: Mutex<u64>,
}

/// Asks again later, as S3 says it.
fn slow_down(message: &'static str, wait: Duration) -> S3Error {
    let mut error = s3_error!(SlowDown, "{message}");
    error.set_status_code(StatusCode::SERVICE_UNAVAILABLE);
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    let after = HeaderValue::from(seconds.max(1));
    error.set_headers(HeaderMap::from_iter([(RETRY_AFTER, after)]));
    error
}

impl Callers {
    pub(crate) fn new(keys: Arc<AccessKeys>, rate: Arc<Rate>, credit: Arc<Credit>, metrics: Metrics) -> Self {
        Self { keys, guesses: Guesses::default(), rate, credit, metrics, logged_ms: Mutex::default() }
    }

    /// Why nobody is let in.
    pub(super) fn unusable(error: KeysError) -> S3Error {
        tracing::error!(%error, "access keys cannot be used: nobody is let in");
        s3_error!(ServiceUnavailable, "access keys cannot be checked now")
    }

    /// The keys.
    pub(crate) fn keys(&self) -> &AccessKeys {
        &self.keys
    }

    fn find(&self, access_key: &str) -> S3Result<Option<Arc<Key>>> {
        self.keys.find(access_key).map_err(Self::unusable)
    }

    /// The secret that a signature is checked with.
    pub(super) fn secret(&self, access_key: &str) -> S3Result<SecretKey> {
        let attempt = ATTEMPT.try_with(Arc::clone).ok();
        if let Some(attempt) = &attempt
            && let Some(wait) = self.guesses.closed(attempt.source, access_key, now_ms())
        {
            self.metrics.guesses_slowed.inc();
            return Err(slow_down("too many wrong signatures; try again later", Duration::from_millis(wait)));
        }
        match self.find(access_key)? {
            Some(key) => {
                let signed = Signed { access_key: access_key.to_owned(), proved: false };
                attempt.inspect(|attempt| attempt.note(|noted| *noted = Some(signed)));
                Ok(key.secret.clone())
            }
            None => {
                attempt.inspect(|attempt| self.wrong(attempt.source, access_key, false));
                Err(s3_error!(InvalidAccessKeyId, "there is no such access key"))
            }
        }
    }

    /// Lets in whose signature was right.
    pub(crate) fn admit(&self, access_key: &str) -> S3Result<(Caller, Traffic)> {
        let now = now_ms();
        let proved = ATTEMPT.try_with(|attempt| {
            attempt.note(|signed| signed.iter_mut().for_each(|signed| signed.proved = true));
            self.guesses.right(attempt.source, access_key, now);
        });
        // Outside a request of a client there is nobody to slow.
        let _ = proved;
        let key = self.find(access_key)?;
        // Removed between the two.
        let key = key.ok_or_else(|| s3_error!(InvalidAccessKeyId, "there is no such access key"))?;
        if key.expires.is_some_and(|Moment(at)| at <= now) {
            return Err(s3_error!(ExpiredToken, "the access key has expired"));
        }
        let own = Rated { name: format!("key {access_key}"), rates: key.rates };
        let traffic = self.traffic(&key.account, Some(own))?;
        self.count(&traffic)?;
        let caller = Caller {
            account: Some(key.account.account().to_owned()),
            access_key: Some(access_key.to_owned()),
            name: Some(key.account.clone()),
            scope: key.scope.clone(),
        };
        Ok((caller, traffic))
    }

    /// Lets in somebody who signed nothing, at the expense of whose bucket it is.
    pub(crate) fn admit_anonymous(&self, owner: &str) -> S3Result<Option<Traffic>> {
        // Buckets may be older than the rules for names.
        let Ok(owner) = owner.parse::<AccountName>() else { return Ok(None) };
        let traffic = self.traffic(&owner, None)?;
        self.count(&traffic)?;
        Ok(Some(traffic))
    }

    fn count(&self, traffic: &Traffic) -> S3Result<()> {
        traffic.request().map_err(|wait| {
            self.metrics.requests_slowed.inc();
            slow_down("more requests than the access key or its account may send; try again later", wait)
        })
    }

    fn traffic(&self, name: &AccountName, own: Option<Rated>) -> S3Result<Traffic> {
        let mut accounts = vec![name.clone()];
        if let Some(account) = name.account().parse().ok().filter(|account| account != name) {
            accounts.push(account);
        }
        let mut who: Vec<Rated> = own.into_iter().collect();
        for account in &accounts {
            if let Some(AccountEntry { rates, .. }) = self.keys.account(account).map_err(Self::unusable)? {
                who.push(Rated { name: format!("account {account}"), rates });
            }
        }
        Ok(Traffic::new(self.rate.clone(), who, accounts))
    }

    /// What was asked for in the name of an account in the last hours.
    pub(super) fn hours(&self, account: &AccountName) -> Hours {
        self.rate.hours(account)
    }

    /// What the chain says of the accounts that pay.
    pub(super) fn credit(&self) -> &Credit {
        &self.credit
    }

    /// Works on a request from an address; notes whether its signature was wrong, and tells whose it was of its credits.
    pub(super) async fn watch<E>(
        &self,
        address: IpAddr,
        work: impl Future<Output = Result<HttpResponse, E>>,
    ) -> Result<HttpResponse, E> {
        let attempt = Arc::new(Attempt { source: Source::new(address), signed: Mutex::default() });
        let mut answer = ATTEMPT.scope(attempt.clone(), work).await?;
        let signed = attempt.signed.lock().unwrap_or_else(PoisonError::into_inner).take();
        match signed {
            Some(Signed { access_key, proved: false }) if is_mismatch(&answer) => {
                self.wrong(attempt.source, &access_key, true);
            }
            Some(Signed { access_key, proved: true }) => {
                let key = self.keys.find(&access_key).ok().flatten();
                let standing = key.and_then(|key| self.credit.standing(key.account.account()));
                if let Some(standing) = standing {
                    credit::warn(answer.headers_mut(), &standing);
                }
            }
            _ => {}
        }
        Ok(answer)
    }

    fn wrong(&self, source: Source, access_key: &str, exists: bool) {
        let now = now_ms();
        self.guesses.wrong(source, access_key, exists, now);
        self.metrics.signatures_wrong.inc();
        let mut logged = self.logged_ms.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_sub(*logged) >= LOG_PAUSE_MS {
            *logged = now;
            // A name that is none of a key may be a secret in the wrong place.
            let access_key = exists.then_some(access_key);
            tracing::warn!(?source, access_key, "a request was signed wrongly, or by no access key");
        }
    }

    /// How much may be stored in the name of an account or a sub-account.
    pub(super) fn allowance(keys: &AccessKeys, payer: &str) -> S3Result<Allowance> {
        keys.allowance(payer).map_err(Self::unusable)
    }
}

/// Whether an answer says that the signature was wrong; other things may be wrong with a request before that is known.
fn is_mismatch(answer: &HttpResponse) -> bool {
    answer.status() == StatusCode::FORBIDDEN
        && answer.body().bytes().is_some_and(|bytes| {
            String::from_utf8_lossy(&bytes).contains("<Code>SignatureDoesNotMatch</Code>")
        })
}
