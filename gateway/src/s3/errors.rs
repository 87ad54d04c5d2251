//! Our errors as S3 codes. What is behind an internal error goes to the log only.

use hyper::{
    HeaderMap, StatusCode,
    header::{ALLOW, HeaderValue},
};
use s3s::{S3Error, S3ErrorCode, StdError, s3_error};

use crate::{
    grid::{read::ReadError, write::WriteError},
    meta::MetaError,
    object::VersionId,
};

const DELETE_MARKER: &str = "x-amz-delete-marker";
const VERSION_ID: &str = "x-amz-version-id";

/// An error that `s3s` has no code for.
pub(super) fn custom(
    code: &'static str,
    status: StatusCode,
    message: impl Into<std::borrow::Cow<'static, str>>,
) -> S3Error {
    let mut error = S3Error::with_message(S3ErrorCode::Custom(code.into()), message);
    error.set_status_code(status);
    error
}

/// Says that what was asked for is a delete marker.
fn marked(mut error: S3Error, version: VersionId) -> S3Error {
    let mut headers = HeaderMap::new();
    headers.insert(DELETE_MARKER, HeaderValue::from_static("true"));
    if let Ok(id) = version.to_string().parse() {
        headers.insert(VERSION_ID, id);
    }
    if *error.code() == S3ErrorCode::MethodNotAllowed {
        headers.insert(ALLOW, HeaderValue::from_static("DELETE"));
    }
    error.set_headers(headers);
    error
}

/// For reads: also says that there is no delete marker.
pub(super) fn lookup(error: MetaError) -> S3Error {
    let absent = matches!(error, MetaError::NoSuchKey);
    let mut error = meta(error);
    if absent {
        let mut headers = HeaderMap::new();
        headers.insert(DELETE_MARKER, HeaderValue::from_static("false"));
        error.set_headers(headers);
    }
    error
}

pub(super) fn meta(error: MetaError) -> S3Error {
    match error {
        MetaError::NoSuchBucket => s3_error!(NoSuchBucket, "the bucket does not exist"),
        MetaError::BucketTaken => s3_error!(BucketAlreadyExists, "the bucket belongs to another account"),
        MetaError::BucketOwned => s3_error!(BucketAlreadyOwnedByYou, "the bucket is yours already"),
        MetaError::BucketNotEmpty => {
            s3_error!(BucketNotEmpty, "the bucket has objects or versions of objects")
        }
        MetaError::BucketGoing => {
            s3_error!(OperationAborted, "a bucket of this name is still being removed; try again in a moment")
        }
        MetaError::NoSuchKey => s3_error!(NoSuchKey, "the object does not exist"),
        MetaError::Deleted(id) => marked(s3_error!(NoSuchKey, "the object was deleted"), id),
        MetaError::NoSuchVersion => s3_error!(NoSuchVersion, "the key has no such version"),
        MetaError::IsMarker(id) => {
            marked(s3_error!(MethodNotAllowed, "the version is a delete marker: it can only be deleted"), id)
        }
        MetaError::Locked => {
            s3_error!(AccessDenied, "the version is retained, or held by a legal hold (object lock)")
        }
        MetaError::NoObjectLock => s3_error!(InvalidRequest, "the bucket has no object lock configuration"),
        MetaError::LockNeedsVersions => {
            s3_error!(InvalidBucketState, "object lock needs versioning, which must be and stay enabled")
        }
        MetaError::NoSuchUpload => {
            s3_error!(NoSuchUpload, "the upload does not exist, was completed or was aborted")
        }
        MetaError::InvalidPart(number) => {
            s3_error!(InvalidPart, "part {number} was not uploaded or has another ETag")
        }
        MetaError::InvalidPartOrder => {
            s3_error!(InvalidPartOrder, "name the parts in ascending order, each once")
        }
        MetaError::PartTooSmall(number) => {
            s3_error!(EntityTooSmall, "part {number} is below the least size of a part that is not the last")
        }
        MetaError::Quota(exceeded) => {
            custom("QuotaExceeded", StatusCode::FORBIDDEN, format!("the quota is used up: {exceeded}"))
        }
        MetaError::EqualGone | MetaError::EqualThere => {
            s3_error!(SlowDown, "equal bytes were stored or deleted in this moment; try again")
        }
        MetaError::KeyReplaced => {
            s3_error!(SlowDown, "the bucket's key was replaced in this moment; try again")
        }
        MetaError::PreconditionFailed => {
            s3_error!(PreconditionFailed, "a condition of the request does not hold")
        }
        MetaError::TakenBack | MetaError::Deposed => {
            s3_error!(ServiceUnavailable, "this gateway stood still for a while; try again")
        }
        MetaError::Unavailable(error) => {
            tracing::warn!(%error, "the metadata cannot be reached");
            s3_error!(ServiceUnavailable, "the gateway's metadata cannot be reached; try again in a moment")
        }
        error @ (MetaError::Storage(_)
        | MetaError::Row(_)
        | MetaError::LedgerDropped
        | MetaError::NotDroppedYet(_)
        | MetaError::NotDropped(_)
        | MetaError::Closed) => {
            tracing::error!(%error, "metadata failed");
            s3_error!(InternalError, "the gateway's metadata cannot be used")
        }
    }
}

/// Something that a bucket does not have, where `s3s` does not know the code.
pub(super) fn not_found(code: S3ErrorCode, message: &'static str) -> S3Error {
    let mut error = S3Error::with_message(code, message);
    error.set_status_code(hyper::StatusCode::NOT_FOUND);
    error
}

pub(super) fn write(error: WriteError) -> S3Error {
    match error {
        WriteError::NoMap => {
            s3_error!(ServiceUnavailable, "no map of miners is finalised yet; try again later")
        }
        WriteError::Quorum { stored, quorum } => {
            tracing::warn!(stored, quorum, "a write was refused: too few miners confirmed");
            s3_error!(
                ServiceUnavailable,
                "only {stored} of the {quorum} shards that must be durable were stored; try again later"
            )
        }
        WriteError::Meta(error) => meta(error),
        WriteError::TooLong => s3_error!(EntityTooLarge),
        error @ (WriteError::Code(_) | WriteError::Internal) => {
            tracing::error!(%error, "a write failed");
            s3_error!(InternalError)
        }
    }
}

pub(super) fn read(error: ReadError) -> S3Error {
    match error {
        ReadError::Unreadable { found, needed } => s3_error!(
            ServiceUnavailable,
            "only {found} of the {needed} shards that a stripe needs could be read; try again later"
        ),
        error => {
            tracing::error!(%error, "a read failed");
            s3_error!(InternalError)
        }
    }
}

/// Why a request's body ended early. `s3s` keeps its error types to itself; their names are in the text.
pub(super) fn body(error: &StdError) -> S3Error {
    let text = error.to_string();
    if text.contains("SignatureMismatch") {
        s3_error!(SignatureDoesNotMatch, "the signature of a chunk does not match")
    } else if text.contains("Sha256Mismatch") {
        let code = S3ErrorCode::from_bytes(b"XAmzContentSHA256Mismatch").unwrap_or(S3ErrorCode::BadDigest);
        S3Error::with_message(code, "the body does not match x-amz-content-sha256")
    } else {
        s3_error!(IncompleteBody, "the body ended early or is malformed")
    }
}
