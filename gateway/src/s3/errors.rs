//! Our errors as S3 codes. What is behind an internal error goes to the log only.

use s3s::{S3Error, S3ErrorCode, StdError, s3_error};

use crate::{
    grid::{read::ReadError, write::WriteError},
    meta::MetaError,
};

pub(super) fn meta(error: MetaError) -> S3Error {
    match error {
        MetaError::NoSuchBucket => s3_error!(NoSuchBucket, "the bucket does not exist"),
        MetaError::BucketTaken => s3_error!(BucketAlreadyExists, "the bucket belongs to another account"),
        MetaError::BucketOwned => s3_error!(BucketAlreadyOwnedByYou, "the bucket is yours already"),
        MetaError::BucketNotEmpty => {
            s3_error!(BucketNotEmpty, "the bucket has objects or uploads in progress")
        }
        MetaError::NoSuchKey => s3_error!(NoSuchKey, "the object does not exist"),
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
        MetaError::PreconditionFailed => {
            s3_error!(PreconditionFailed, "a condition of the request does not hold")
        }
        error @ (MetaError::Storage(_) | MetaError::Row(_) | MetaError::Closed) => {
            tracing::error!(%error, "metadata failed");
            s3_error!(InternalError, "the gateway's metadata cannot be used")
        }
    }
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
