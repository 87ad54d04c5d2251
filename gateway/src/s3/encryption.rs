//! Server-side encryption as clients ask for it: with their own key (SSE-C), with ours (SSE-S3), by default of a bucket.
//!
//! Everything is encrypted whatever a client asks for. What it asks for decides whose key wraps the data key: the bucket's,
//! or one that the client brings with every request and that is never kept.
//!
//! # Invariants
//! - A customer's key lives as long as its request; not even its hash is kept.
//! - What is encrypted with a customer's key is neither read nor described without it.
//! - Keys of a key management service are refused, not ignored.

use arion_crypto::{CustomerKey, DataKey, WrappedKey};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use hyper::{HeaderMap, StatusCode, header::HeaderValue};
use md5::{Digest, Md5};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Result, dto::*, s3_error};
use zeroize::Zeroizing;

use super::{Store, account, errors};
use crate::{
    grid::{read::OpenPart, write::SealedStream},
    keyring::{KeyPlace, KeyringError},
    manifest::{Manifest, PartManifest},
    object::Encryption,
};

/// The only algorithm.
const AES256: &str = "AES256";
const HEADER: &str = "x-amz-server-side-encryption";

/// A customer's key as a request brings it.
pub(super) struct Customer {
    key: CustomerKey,
    /// Its MD5 as the client wrote it: what answers repeat.
    md5: String,
}

/// The customer's key of an input, whichever it is.
macro_rules! customer_of {
    ($input:expr) => {
        $crate::s3::encryption::customer(
            $input.sse_customer_algorithm.as_deref(),
            $input.sse_customer_key.take(),
            $input.sse_customer_key_md5.take(),
        )
    };
}
pub(super) use customer_of;

/// The customer's key of the source of a copy.
macro_rules! source_customer_of {
    ($input:expr) => {
        $crate::s3::encryption::customer(
            $input.copy_source_sse_customer_algorithm.as_deref(),
            $input.copy_source_sse_customer_key.take(),
            $input.copy_source_sse_customer_key_md5.take(),
        )
    };
}
pub(super) use source_customer_of;

pub(super) fn customer(
    algorithm: Option<&str>,
    key: Option<String>,
    md5: Option<String>,
) -> S3Result<Option<Customer>> {
    let key = key.map(Zeroizing::new);
    let Some(algorithm) = algorithm else {
        return match key.is_some() || md5.is_some() {
            true => Err(s3_error!(
                InvalidArgument,
                "a customer-provided key comes with x-amz-server-side-encryption-customer-algorithm"
            )),
            false => Ok(None),
        };
    };
    if algorithm != AES256 {
        let code = S3ErrorCode::InvalidEncryptionAlgorithmError;
        return Err(S3Error::with_message(code, "the algorithm of a customer-provided key must be AES256"));
    }
    let key = key.ok_or_else(|| s3_error!(InvalidArgument, "the customer-provided key is missing"))?;
    let decoded = Zeroizing::new(BASE64.decode(key.as_bytes()).unwrap_or_default());
    let bytes = <[u8; 32]>::try_from(decoded.as_slice())
        .map(Zeroizing::new)
        .map_err(|_| s3_error!(InvalidArgument, "a customer-provided key is 32 bytes in base64"))?;
    let md5 =
        md5.ok_or_else(|| s3_error!(InvalidArgument, "the MD5 of the customer-provided key is missing"))?;
    let found: [u8; 16] = Md5::digest(*bytes).into();
    if BASE64.decode(&md5).ok().as_deref() != Some(found.as_slice()) {
        return Err(s3_error!(
            InvalidArgument,
            "the calculated MD5 hash of the key did not match the hash that was provided"
        ));
    }
    Ok(Some(Customer { key: CustomerKey::from_bytes(*bytes), md5 }))
}

/// Checks what an input that makes an object says of our own encryption, whichever input it is.
macro_rules! check_sse {
    ($input:expr, $customer:expr) => {
        $crate::s3::encryption::check_ours(
            $input.server_side_encryption.as_ref().map(ServerSideEncryption::as_str),
            $input.ssekms_key_id.is_some() || $input.ssekms_encryption_context.is_some(),
            $input.bucket_key_enabled.unwrap_or(false),
            $customer.is_some(),
        )
    };
}
pub(super) use check_sse;

pub(super) fn check_ours(
    algorithm: Option<&str>,
    kms_fields: bool,
    bucket_key: bool,
    customer: bool,
) -> S3Result<()> {
    let is_kms = matches!(algorithm, Some("aws:kms" | "aws:kms:dsse"));
    match algorithm {
        Some(AES256) | None => {}
        Some(_) if is_kms => {}
        Some(_) => return Err(s3_error!(InvalidArgument, "x-amz-server-side-encryption must be AES256")),
    }
    if customer && algorithm.is_some() {
        return Err(s3_error!(
            InvalidArgument,
            "a customer-provided key is incompatible with x-amz-server-side-encryption"
        ));
    }
    if (kms_fields || bucket_key) && !is_kms {
        return Err(s3_error!(InvalidArgument, "keys of a key management service come with aws:kms"));
    }
    match is_kms {
        true => Err(s3_error!(NotImplemented, "this gateway has no key management service: use AES256")),
        false => Ok(()),
    }
}

/// Refuses the header that only writes may have.
pub(super) fn refuse_on_read(headers: &HeaderMap) -> S3Result<()> {
    match headers.contains_key(HEADER) {
        true => Err(s3_error!(InvalidArgument, "x-amz-server-side-encryption is not for this operation")),
        false => Ok(()),
    }
}

/// Sets what an answer says of the encryption, whichever answer it is; `$customer` is the key the request brought.
macro_rules! set_encryption {
    ($output:expr, $customer:expr) => {
        match &$customer {
            Some(customer) => {
                $output.sse_customer_algorithm = Some("AES256".to_owned());
                $output.sse_customer_key_md5 = Some(customer.md5().to_owned());
            }
            None => {
                let ours = ServerSideEncryption::from_static(ServerSideEncryption::AES256);
                $output.server_side_encryption = Some(ours);
            }
        }
    };
}
pub(super) use set_encryption;

impl Customer {
    /// Its MD5 as the client wrote it.
    pub(super) fn md5(&self) -> &str {
        &self.md5
    }

    /// Header fields for answers that have none of their own for it.
    pub(super) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let algorithm = s3s::header::X_AMZ_SERVER_SIDE_ENCRYPTION_CUSTOMER_ALGORITHM;
        headers.insert(algorithm, HeaderValue::from_static(AES256));
        if let Ok(md5) = self.md5.parse() {
            headers.insert(s3s::header::X_AMZ_SERVER_SIDE_ENCRYPTION_CUSTOMER_KEY_MD5, md5);
        }
        headers
    }
}

/// Why a customer's key does not fit.
fn other_key() -> S3Error {
    s3_error!(InvalidRequest, "the customer-provided key is not the one that the object was encrypted with")
}

/// A failure of keys as S3 tells it; what is behind it goes to the log only.
pub(super) fn failed(error: KeyringError) -> S3Error {
    match error {
        KeyringError::Meta(error) => errors::meta(error),
        error => {
            tracing::error!(%error, "a key cannot be wrapped or opened");
            s3_error!(InternalError, "the object's key cannot be used")
        }
    }
}

/// For which object keys are wrapped, and the customer's key if it is that which wraps.
pub(super) struct Sealing {
    place: KeyPlace,
    /// The key that the request brought.
    pub(super) customer: Option<Customer>,
}

impl Sealing {
    pub(super) fn new(bucket: &str, key: &str, customer: Option<Customer>) -> Self {
        Self { place: KeyPlace::new(bucket, key), customer }
    }

    fn customer_key(&self) -> Option<&CustomerKey> {
        self.customer.as_ref().map(|customer| &customer.key)
    }
}

impl Store {
    /// Wraps the keys of parts of an object.
    pub(super) async fn wrap(&self, sealing: &Sealing, keys: &[DataKey]) -> S3Result<Vec<WrappedKey>> {
        self.keyring.wrap(&sealing.place, sealing.customer_key(), keys).await.map_err(failed)
    }

    /// What was taken in, with its key wrapped.
    pub(super) async fn with_key(
        &self,
        sealing: &Sealing,
        stream: SealedStream,
        key: &DataKey,
    ) -> S3Result<PartManifest> {
        let wrapped = self.wrap(sealing, std::slice::from_ref(key)).await?.pop();
        Ok(stream.with_key(wrapped.ok_or_else(|| s3_error!(InternalError))?))
    }

    /// Opens the keys of parts of an object.
    pub(super) async fn open_keys(
        &self,
        sealing: &Sealing,
        parts: &[PartManifest],
    ) -> S3Result<Vec<DataKey>> {
        let wrapped: Vec<WrappedKey> = parts.iter().map(|part| part.key.clone()).collect();
        let opened = self.keyring.unwrap(&sealing.place, sealing.customer_key(), &wrapped).await;
        opened.map_err(|error| match (&error, &sealing.customer) {
            (KeyringError::CustomerKeyMissing, _) => missing_key(),
            (KeyringError::Unwrap(_), Some(_)) => other_key(),
            _ => failed(error),
        })
    }

    /// The parts of an object, ready to be read.
    pub(super) async fn open_parts(&self, sealing: &Sealing, manifest: Manifest) -> S3Result<Vec<OpenPart>> {
        let keys = self.open_keys(sealing, &manifest.parts).await?;
        Ok(manifest.parts.into_iter().zip(keys).map(|(manifest, key)| OpenPart { manifest, key }).collect())
    }

    /// What is kept of whose key wraps: for a customer's key, something that only it opens.
    pub(super) async fn encryption(&self, sealing: &Sealing) -> S3Result<Encryption> {
        if sealing.customer.is_none() {
            return Ok(Encryption::Gateway);
        }
        let probe = self.wrap(sealing, &[DataKey::random()]).await?.pop();
        probe.map(Encryption::Customer).ok_or_else(|| s3_error!(InternalError))
    }

    /// Refuses a request that does not bring the key which the object or upload was begun with.
    pub(super) async fn check_customer(&self, sealing: &Sealing, encryption: &Encryption) -> S3Result<()> {
        match (encryption, sealing.customer_key()) {
            (Encryption::Gateway, None) => Ok(()),
            (Encryption::Gateway, Some(_)) => {
                Err(s3_error!(InvalidRequest, "the encryption parameters are not applicable to this object"))
            }
            (Encryption::Customer(_), None) => Err(missing_key()),
            (Encryption::Customer(probe), Some(key)) => {
                let opened =
                    self.keyring.unwrap(&sealing.place, Some(key), std::slice::from_ref(probe)).await;
                opened.map(drop).map_err(|_| other_key())
            }
        }
    }
}

fn missing_key() -> S3Error {
    s3_error!(
        InvalidRequest,
        "the object was stored with a customer-provided key: it must come with this request"
    )
}

pub(super) async fn put_bucket_encryption(
    store: &Store,
    request: S3Request<PutBucketEncryptionInput>,
) -> S3Result<PutBucketEncryptionOutput> {
    store.bucket(&account(&request)?, &request.input.bucket).await?;
    let input = request.input;
    let rules = input.server_side_encryption_configuration.rules;
    let [rule] = rules.as_slice() else {
        return Err(s3_error!(MalformedXML, "a default encryption is one rule"));
    };
    let Some(wish) = &rule.apply_server_side_encryption_by_default else {
        return Err(s3_error!(MalformedXML, "the rule says nothing"));
    };
    let kms_key = wish.kms_master_key_id.is_some();
    check_ours(Some(wish.sse_algorithm.as_str()), kms_key, rule.bucket_key_enabled.unwrap_or(false), false)?;
    store.grid.meta.set_bucket_encryption(input.bucket, true).await.map_err(errors::meta)?;
    Ok(PutBucketEncryptionOutput {})
}

pub(super) async fn get_bucket_encryption(
    store: &Store,
    request: S3Request<GetBucketEncryptionInput>,
) -> S3Result<GetBucketEncryptionOutput> {
    store.bucket(&account(&request)?, &request.input.bucket).await?;
    if !store.grid.meta.bucket_encryption(request.input.bucket).await.map_err(errors::meta)? {
        let code = S3ErrorCode::from_bytes(b"ServerSideEncryptionConfigurationNotFoundError");
        let code = code.unwrap_or(S3ErrorCode::InternalError);
        let mut error = S3Error::with_message(code, "the bucket has no default encryption");
        error.set_status_code(StatusCode::NOT_FOUND);
        return Err(error);
    }
    let wish = ServerSideEncryptionByDefault {
        kms_master_key_id: None,
        sse_algorithm: ServerSideEncryption::from_static(ServerSideEncryption::AES256),
    };
    let rule = ServerSideEncryptionRule {
        apply_server_side_encryption_by_default: Some(wish),
        bucket_key_enabled: None,
    };
    Ok(GetBucketEncryptionOutput {
        server_side_encryption_configuration: Some(ServerSideEncryptionConfiguration { rules: vec![rule] }),
    })
}

pub(super) async fn delete_bucket_encryption(
    store: &Store,
    request: S3Request<DeleteBucketEncryptionInput>,
) -> S3Result<DeleteBucketEncryptionOutput> {
    store.bucket(&account(&request)?, &request.input.bucket).await?;
    store.grid.meta.set_bucket_encryption(request.input.bucket, false).await.map_err(errors::meta)?;
    Ok(DeleteBucketEncryptionOutput {})
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "pO3upElrwuEXSoFwCfnZPdSsmt/xWeFa0N9KgDijwVs=";
    const MD5: &str = "DWygnHRtgiJ77HCm+1rvHw==";

    fn code(result: S3Result<Option<Customer>>) -> String {
        result.err().unwrap().code().as_str().to_owned()
    }

    #[test]
    fn a_customers_key_is_whole_or_refused() {
        let some = |text: &str| Some(text.to_owned());
        assert!(customer(None, None, None).unwrap().is_none());
        let good = customer(Some("AES256"), some(KEY), some(MD5)).unwrap().unwrap();
        assert_eq!(good.md5(), MD5);
        for (algorithm, key, md5, refused) in [
            (None, some(KEY), some(MD5), "InvalidArgument"),
            (None, None, some(MD5), "InvalidArgument"),
            (Some("AES192"), some(KEY), some(MD5), "InvalidEncryptionAlgorithmError"),
            (Some("AES256"), None, some(MD5), "InvalidArgument"),
            (Some("AES256"), some(KEY), None, "InvalidArgument"),
            (Some("AES256"), some(KEY), some("AAAAAAAAAAAAAAAAAAAAAA=="), "InvalidArgument"),
            (Some("AES256"), some("AAAA"), some(MD5), "InvalidArgument"),
            (Some("AES256"), some("!"), some(MD5), "InvalidArgument"),
        ] {
            assert_eq!(code(customer(algorithm, key, md5)), refused);
        }
    }

    #[test]
    fn only_aes256_is_ours_and_kms_is_not_there() {
        let check = |algorithm, kms, bucket_key, customer| {
            check_ours(algorithm, kms, bucket_key, customer).map_err(|error| error.code().as_str().to_owned())
        };
        assert_eq!(check(None, false, false, false), Ok(()));
        assert_eq!(check(Some("AES256"), false, false, false), Ok(()));
        assert_eq!(check(None, false, false, true), Ok(()));
        for (algorithm, kms, bucket_key, customer, refused) in [
            (Some("aws:kms"), false, false, false, "NotImplemented"),
            (Some("aws:kms"), true, true, false, "NotImplemented"),
            (Some("aws:kms:dsse"), true, false, false, "NotImplemented"),
            (Some("aws:kms"), true, false, true, "InvalidArgument"),
            (Some("AES256"), false, false, true, "InvalidArgument"),
            (Some("AES256"), true, false, false, "InvalidArgument"),
            (Some("AES256"), false, true, false, "InvalidArgument"),
            (None, true, false, false, "InvalidArgument"),
            (Some("aes:kms"), false, false, false, "InvalidArgument"),
        ] {
            assert_eq!(check(algorithm, kms, bucket_key, customer), Err(refused.to_owned()));
        }
    }
}
