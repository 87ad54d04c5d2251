//! Offchain worker: brings the report of the validator service beside a node to the chain.
//!
//! A validator's node has a session key for it, [`ReporterId`], in its keystore, so that no other process holds
//! a key that can spend. Once per weight bucket, in its last third, the worker fetches a
//! [`QualityStatement`] over HTTP on loopback, signs it with that key and submits
//! [`Call::report_node_quality`], which needs no account and costs nothing.
//!
//! # Invariants
//! - Nothing the service answers, or fails to answer, takes longer than [`FETCH_MS_MAX`] or more memory than
//!   [`STATEMENT_BYTES_MAX`].
//! - Where no URL is set, or no reporter key of a validator of the session is here, nothing happens.
//!
//! # Not here
//! What a report has to be (`impls/quality.rs`), what the service says (`validator/src/quality.rs`).

use alloc::{format, vec::Vec};
use arion_types::{NodeQuality, domain, quality::QualityStatement};
use codec::{DecodeAll, Encode};
use frame_support::{
    dispatch::DispatchResult, ensure, pallet_prelude::*, sp_runtime::traits::SaturatedConversion,
};
use frame_system::{offchain::SubmitTransaction, pallet_prelude::BlockNumberFor};
use sp_runtime::{
    KeyTypeId, RuntimeAppPublic,
    offchain::{Duration, http, storage::StorageValueRef},
};

use crate::{Call, Config, Error, Pallet, QualityUpdatesOf, WeightReporters};

/// Type of the reporter's key in a node's keystore.
pub const REPORTER_KEY: KeyTypeId = KeyTypeId(*b"arqr");

mod app {
    use super::REPORTER_KEY;
    use sp_runtime::app_crypto::{app_crypto, sr25519};
    app_crypto!(sr25519, REPORTER_KEY);
}

/// Key with which a validator's node signs reports of quality.
pub type ReporterId = app::Public;
/// Its signature.
pub type ReporterSignature = app::Signature;

/// Where a node's local storage has the URL of its validator service: UTF-8, `http://` and a loopback address.
pub const URL_KEY: &[u8] = b"arion/quality-url";
/// Longest wait for the whole answer, milliseconds.
pub const FETCH_MS_MAX: u64 = 4_000;
/// Longest answer: 2,048 miners and some.
pub const STATEMENT_BYTES_MAX: usize = 160 * 1024;
/// Fewest blocks from one attempt of a bucket to the next; a sixtieth of the bucket where that is more.
const RETRY_BLOCKS_MIN: u64 = 2;
/// Blocks before the end of a bucket in which no attempt is made: the transaction has to get into one.
const LAST_BLOCKS: u64 = 2;

/// Whose reporter a key is.
pub trait ReporterOwner<AccountId> {
    /// The validator of the current session that has it among its session keys.
    fn owner_of(reporter: &ReporterId) -> Option<AccountId>;
}

/// Why no report was submitted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The URL in the node's local storage is not UTF-8 or not of a loopback address.
    Url,
    /// The service cannot be reached or broke off.
    Unreachable,
    /// It took longer than [`FETCH_MS_MAX`].
    Slow,
    /// It answered with this status.
    Status(u16),
    /// Its answer is longer than [`STATEMENT_BYTES_MAX`] or names too many miners.
    TooLong,
    /// Its answer is no [`QualityStatement`].
    Garbled,
    /// It speaks of another chain.
    OtherChain,
    /// It speaks of another bucket.
    OtherBucket,
    /// The key is gone from the keystore.
    KeyGone,
    /// The node's transaction pool refused the report.
    PoolRefused,
}

impl core::fmt::Display for Fault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Url => "the URL is not of a service on this machine; correct --quality-url",
            Self::Unreachable => "the validator service cannot be reached; is it running?",
            Self::Slow => "the validator service takes longer than 4 s",
            Self::Status(status) => {
                return write!(f, "the validator service answers {status}; its log says why");
            }
            Self::TooLong => "the validator service answers more than 2,048 miners fill",
            Self::Garbled => "what the validator service answers is no report; is --quality-url its address?",
            Self::OtherChain => "the validator service is on another chain",
            Self::OtherBucket => "the validator service speaks of another bucket",
            Self::KeyGone => "the reporter key is gone from the keystore",
            Self::PoolRefused => "the transaction pool does not take the report",
        })
    }
}

/// The bytes a reporter signs.
pub fn report_message<AccountId: Encode>(
    genesis: &[u8; 32],
    bucket: u32,
    updates: &[(AccountId, NodeQuality)],
) -> Vec<u8> {
    domain::message(domain::QUALITY, genesis, &(bucket, updates))
}

/// Why no report is due from here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unseated {
    /// The keystore has no reporter key.
    NoKey,
    /// It has some, but of no validator of the session.
    NoSeat,
}

/// Whether a URL is `http`, of a service on this machine, and without a query.
pub fn is_loopback_url(url: &str) -> bool {
    let authority = url.strip_prefix("http://").map(|rest| rest.split('/').next().unwrap_or(rest));
    let is_local = authority.is_some_and(|authority| {
        ["127.0.0.1:", "[::1]:"]
            .iter()
            .any(|host| authority.strip_prefix(host).is_some_and(|port| port.parse::<u16>().is_ok()))
    });
    is_local && url.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'?' && byte != b'#')
}

impl<T: Config> Pallet<T> {
    /// Submits a report for each validator of the session whose reporter key is here, if it is due.
    pub(crate) fn carry_reports(now: BlockNumberFor<T>) {
        let Some(url) = StorageValueRef::persistent(URL_KEY).get::<Vec<u8>>().ok().flatten() else { return };
        let length: u64 = T::WeightBucketBlocks::get().saturated_into();
        let pause = (length / 60).max(RETRY_BLOCKS_MIN);
        let reporters = ReporterId::all();
        match Self::unseated(now, &reporters) {
            Some(Unseated::NoKey) => log::warn!(
                target: "arion",
                "no report of quality: no key of type arqr is in the keystore; make session keys with \
                 author_rotateKeysWithOwner, and set them with session.setKeys"
            ),
            Some(Unseated::NoSeat) => log::info!(
                target: "arion",
                "no report of quality: no reporter key in the keystore is of a validator of this session"
            ),
            None => {}
        }
        for reporter in reporters {
            let Some(validator) = T::Reporters::owner_of(&reporter) else { continue };
            let Some(bucket) = Self::due(&reporter, now) else { continue };
            if WeightReporters::<T>::get(bucket).contains(&validator)
                || !attempt(&reporter, bucket, now.saturated_into(), pause)
            {
                continue;
            }
            match Self::carry_report(&url, &reporter, bucket) {
                Ok(miners) => {
                    log::info!(target: "arion", "quality of {miners} miners reported for bucket {bucket}");
                }
                Err(fault) => log::warn!(
                    target: "arion",
                    "no report of quality for bucket {bucket}: {fault}"
                ),
            }
        }
    }

    /// Why nobody reports from here, once per bucket: in the block in which the first could.
    pub(crate) fn unseated(now: BlockNumberFor<T>, reporters: &[ReporterId]) -> Option<Unseated> {
        let length: u64 = T::WeightBucketBlocks::get().saturated_into();
        let into: u64 = (now % T::WeightBucketBlocks::get()).saturated_into();
        if into != length * 2 / 3 {
            return None;
        }
        match reporters {
            [] => Some(Unseated::NoKey),
            keys if keys.iter().all(|key| T::Reporters::owner_of(key).is_none()) => Some(Unseated::NoSeat),
            _ => None,
        }
    }

    /// The open bucket, if a reporter's time in it has come: somewhere between 2/3 and 5/6 of it, by key and
    /// bucket, so that not all report at once.
    fn due(reporter: &ReporterId, now: BlockNumberFor<T>) -> Option<u32> {
        let length: u64 = T::WeightBucketBlocks::get().saturated_into();
        let into: u64 = (now % T::WeightBucketBlocks::get()).saturated_into();
        let bucket = Self::weight_bucket_of(now);
        let dice = u64::from_le_bytes(sp_io::hashing::twox_64(&(reporter, bucket).encode()));
        let first = (length * 2 / 3).saturating_add(dice % (length / 6).max(1));
        (into >= first && into.saturating_add(LAST_BLOCKS) < length).then_some(bucket)
    }

    fn carry_report(url: &[u8], reporter: &ReporterId, bucket: u32) -> Result<usize, Fault> {
        let url = core::str::from_utf8(url).ok().filter(|url| is_loopback_url(url)).ok_or(Fault::Url)?;
        let answer = fetch(&format!("{url}?bucket={bucket}"))?;
        let QualityStatement::V1 { genesis, bucket: stated, updates } =
            QualityStatement::<T::AccountId>::decode_all(&mut &answer[..]).map_err(|_| Fault::Garbled)?;
        ensure!(genesis == Self::genesis_hash(), Fault::OtherChain);
        ensure!(stated == bucket, Fault::OtherBucket);
        let signature = reporter.sign(&report_message(&genesis, bucket, &updates)).ok_or(Fault::KeyGone)?;
        let miners = updates.len();
        let updates = QualityUpdatesOf::<T>::try_from(updates).map_err(|_| Fault::TooLong)?;
        let call = Call::report_node_quality { bucket, updates, reporter: reporter.clone(), signature };
        let transaction = T::create_authorized_transaction(call.into());
        SubmitTransaction::<T, Call<T>>::submit_transaction(transaction).map_err(|()| Fault::PoolRefused)?;
        Ok(miners)
    }

    /// Whether a report may enter the pool and a block.
    pub(crate) fn authorize_report(
        bucket: u32,
        updates: &[(T::AccountId, NodeQuality)],
        reporter: &ReporterId,
        signature: &ReporterSignature,
    ) -> TransactionValidityWithRefund {
        let open = Self::open_weight_bucket();
        ensure!(bucket >= open, InvalidTransaction::Stale);
        ensure!(bucket <= open, InvalidTransaction::Future);
        let validator = T::Reporters::owner_of(reporter).ok_or(InvalidTransaction::BadSigner)?;
        let reporters = WeightReporters::<T>::get(bucket);
        ensure!(!reporters.contains(&validator), InvalidTransaction::Stale);
        ensure!(!reporters.is_full(), InvalidTransaction::ExhaustsResources);
        Self::check_updates(updates).map_err(|_| InvalidTransaction::Call)?;
        let message = report_message(&Self::genesis_hash(), bucket, updates);
        ensure!(reporter.verify(&message, signature), InvalidTransaction::BadProof);
        let length: u64 = T::WeightBucketBlocks::get().saturated_into();
        ValidTransaction::with_tag_prefix("ArionQuality")
            .priority(TransactionPriority::MAX / 4)
            .and_provides((bucket, validator))
            .longevity(length)
            .propagate(true)
            .build()
            .map(|valid| (valid, Weight::zero()))
    }

    pub(crate) fn do_report_node_quality(
        bucket: u32,
        updates: QualityUpdatesOf<T>,
        reporter: &ReporterId,
    ) -> DispatchResult {
        let validator = T::Reporters::owner_of(reporter).ok_or(Error::<T>::UnknownReporter)?;
        Self::do_submit_node_quality(validator, bucket, updates)
    }
}

/// Notes an attempt; `false` if there was one less than `pause` blocks ago.
fn attempt(reporter: &ReporterId, bucket: u32, now: u64, pause: u64) -> bool {
    let key = (&b"arion/quality-attempt"[..], reporter).encode();
    let noted = StorageValueRef::persistent(&key).mutate(|last: Result<Option<(u32, u64)>, _>| match last {
        Ok(Some((of, at))) if of == bucket && at <= now && now < at.saturating_add(pause) => Err(()),
        _ => Ok((bucket, now)),
    });
    noted.is_ok()
}

/// The body of what a URL answers with status 200.
fn fetch(url: &str) -> Result<Vec<u8>, Fault> {
    let deadline = sp_io::offchain::timestamp().add(Duration::from_millis(FETCH_MS_MAX));
    let pending = http::Request::get(url).deadline(deadline).send().map_err(|_| Fault::Unreachable)?;
    let response = pending.try_wait(deadline).map_err(|_| Fault::Slow)?.map_err(|_| Fault::Unreachable)?;
    if response.code != 200 {
        return Err(Fault::Status(response.code));
    }
    let mut body = response.body();
    body.deadline(deadline);
    let bytes: Vec<u8> = body.by_ref().take(STATEMENT_BYTES_MAX + 1).collect();
    match body.error() {
        Some(sp_runtime::offchain::HttpError::DeadlineReached) => Err(Fault::Slow),
        Some(_) => Err(Fault::Unreachable),
        None if bytes.len() > STATEMENT_BYTES_MAX => Err(Fault::TooLong),
        None => Ok(bytes),
    }
}
