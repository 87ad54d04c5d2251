//! Bodies that came in, and how they become parts of objects: as they are stored now, or by reference to equal bytes that the
//! account has stored before.
//!
//! # Invariants
//! - Equal bytes are looked for in one account only, whose own caller brings them, and never under a customer's key: who brings
//!   bytes has them already, and learns at most that the account has them too.
//! - What was stored for nothing is given back when the [`Upload`] is dropped.

use std::future::Future;

use arion_crypto::{DataKey, Fingerprint, Fingerprinter};
use futures_util::StreamExt;
use s3s::{S3Request, S3Result, dto::StreamingBlob, s3_error};

use super::{
    Store,
    access::Caller,
    callers::Callers,
    digest::Digests,
    encryption::{Sealing, failed},
    errors,
};
use crate::{
    checksum::Checksums,
    grid::write::{SealedStream, Upload},
    keyring::Deduplication,
    manifest::PartManifest,
    meta::{Equal, MetaError},
    rate::Traffic,
};

/// Most bytes in one request (as in AWS): what is longer is uploaded in parts.
const BODY_BYTES_MAX: u64 = 5 << 30;
/// Times that others may store or delete equal bytes in the same moment before they are stored for themselves.
const ATTEMPTS: usize = 4;

/// Bytes that come in.
pub(super) struct Taking {
    upload: Upload,
    digests: Digests,
    size: u64,
    prints: Option<(Deduplication, Fingerprinter)>,
}

/// Bytes that came in. Their stripes are given back unless they are entered.
pub(super) struct Taken {
    upload: Upload,
    /// How many.
    pub(super) size: u64,
    /// Their MD5.
    pub(super) md5: [u8; 16],
    /// Their checksums.
    pub(super) checksums: Checksums,
    print: Option<(Deduplication, Fingerprint)>,
}

impl Taking {
    /// Begins; `announced` is how many bytes are to come, as far as it is known, and with `equal` equal ones are looked for.
    pub(super) fn new(
        store: &Store,
        digests: Digests,
        announced: Option<u64>,
        equal: Option<Deduplication>,
    ) -> Self {
        let upload = Upload::new(store.grid.clone()).announced(announced);
        let prints = equal.map(|equal| {
            let fingerprinter = equal.key.fingerprinter();
            (equal, fingerprinter)
        });
        Self { upload, digests, size: 0, prints }
    }

    /// Hashes, encrypts, stores.
    pub(super) async fn push(&mut self, bytes: &[u8]) -> S3Result<()> {
        self.digests.update(bytes);
        if let Some((_, fingerprinter)) = &mut self.prints {
            fingerprinter.update(bytes);
        }
        self.size += bytes.len() as u64;
        if self.size > BODY_BYTES_MAX {
            return Err(too_large());
        }
        self.upload.push(bytes).await.map_err(errors::write)
    }

    /// How many bytes came.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// That was all, and it is what was said of it.
    pub(super) fn finish(self) -> S3Result<Taken> {
        let (md5, checksums) = self.digests.finish()?;
        let print = self.prints.map(|(equal, fingerprinter)| (equal, fingerprinter.finish()));
        Ok(Taken { upload: self.upload, size: self.size, md5, checksums, print })
    }
}

fn too_large() -> s3s::S3Error {
    s3_error!(EntityTooLarge, "one request brings at most {BODY_BYTES_MAX} bytes")
}

/// Takes a body in, as long as it says it is and no faster than its sender may.
pub(super) async fn take_in(
    store: &Store,
    (body, length, traffic): (Option<StreamingBlob>, Option<i64>, Option<&Traffic>),
    digests: Digests,
    equal: Option<Deduplication>,
) -> S3Result<Taken> {
    let announced = length.and_then(|length| u64::try_from(length).ok());
    if announced.is_some_and(|announced| announced > BODY_BYTES_MAX) {
        return Err(too_large());
    }
    let mut taking = Taking::new(store, digests, announced, equal);
    if let Some(mut body) = body {
        while let Some(bytes) = body.next().await {
            let bytes = bytes.map_err(|error| errors::body(&error))?;
            taking.push(&bytes).await?;
            if let Some(traffic) = traffic {
                traffic.received(bytes.len() as u64).await;
            }
        }
    }
    if length.is_some() && announced != Some(taking.size()) {
        return Err(s3_error!(
            IncompleteBody,
            "{} bytes came where {} were announced",
            taking.size(),
            length.unwrap_or(0)
        ));
    }
    taking.finish()
}

impl Store {
    /// By what equal bytes of a request are found in the account whose bucket it writes to, if they are to be.
    pub(super) async fn equals<T>(
        &self,
        request: &S3Request<T>,
        account: &str,
        sealing: &Sealing,
    ) -> S3Result<Option<Deduplication>> {
        let caller = request.extensions.get::<Caller>();
        let is_own = caller.and_then(Caller::account) == Some(account);
        if !is_own || sealing.customer.is_some() {
            return Ok(None);
        }
        match self.keys.deduplicates(account).map_err(Callers::unusable)? {
            true => self.keyring.deduplication(account).await.map(Some).map_err(failed),
            false => Ok(None),
        }
    }

    /// An earlier stream with this fingerprint, with its key wrapped for the new place.
    async fn earlier(
        &self,
        sealing: &Sealing,
        (equal, fingerprint): &(Deduplication, Fingerprint),
    ) -> S3Result<Option<(PartManifest, Equal)>> {
        let found = self.grid.meta.equal(equal.account.clone(), *fingerprint).await.map_err(errors::meta)?;
        let Some(mut part) = found else { return Ok(None) };
        let key = equal.unwrap(fingerprint, &part.key).map_err(failed)?;
        let wrapped = self.wrap(sealing, &[key]).await?.pop().ok_or_else(|| s3_error!(InternalError))?;
        let key = std::mem::replace(&mut part.key, wrapped);
        Ok(Some((part, Equal { fingerprint: *fingerprint, key, is_earlier: true })))
    }

    /// Has what was taken in entered: `enter` may be called several times, with another part each time, until it does not
    /// answer that somebody else stored or deleted equal bytes in the same moment.
    pub(super) async fn settle<T, F: Future<Output = Result<T, MetaError>>>(
        &self,
        sealing: &Sealing,
        taken: Taken,
        enter: impl Fn(PartManifest, Option<Equal>) -> F,
    ) -> S3Result<T> {
        let Taken { mut upload, print, .. } = taken;
        let mut stored: Option<(SealedStream, DataKey)> = None;
        for attempt in 0..=ATTEMPTS {
            let print = print.as_ref().filter(|_| attempt < ATTEMPTS);
            if let Some(print) = print
                && let Some((part, equal)) = self.earlier(sealing, print).await?
            {
                match enter(part, Some(equal)).await {
                    Err(MetaError::EqualGone) => continue,
                    entered => {
                        let entered = entered.map_err(|error| self.refused(error))?;
                        self.grid.metrics.uploads_deduplicated.inc();
                        return Ok(entered);
                    }
                }
            }
            let (stream, key) = match stored.take() {
                Some(stored) => stored,
                None => upload.finish().await.map_err(errors::write)?,
            };
            let part = self.with_key(sealing, stream.clone(), &key).await?;
            let equal = print.map(|(equal, fingerprint)| Equal {
                fingerprint: *fingerprint,
                key: equal.wrap(fingerprint, &key),
                is_earlier: false,
            });
            match enter(part, equal).await {
                Err(MetaError::EqualThere) => stored = Some((stream, key)),
                entered => {
                    let entered = entered.map_err(|error| self.refused(error))?;
                    upload.keep();
                    return Ok(entered);
                }
            }
        }
        Err(errors::meta(MetaError::EqualThere))
    }
}
