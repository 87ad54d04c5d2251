//! Copies: of objects within the gateway, where no data moves, and of ranges of objects into parts.

use std::ops::Range;

use hyper::HeaderMap;
use s3s::{S3Request, S3Result, dto::*, s3_error};

use super::{
    Store,
    access::{Judged, new_acl, payer},
    account,
    digest::Digests,
    encryption::{Sealing, check_sse, customer_of, set_encryption},
    errors,
    input::{condition, now_ms, properties, refuse, refuse_wishes, timestamp},
    notification::origin,
    output::{checksum_type, set_checksums},
    taken::{Taken, Taking},
};
use crate::{
    checksum::{Algorithm, Checksums},
    keyring::Deduplication,
    manifest::Manifest,
    meta::{MetaError, NewCopy, Source},
};

/// What a copy is made of: the source, its bucket's row, the object, and what opens it, if it is the caller's and the
/// conditions of the input, whichever it is, hold.
macro_rules! copy_source {
    ($store:expr, $account:expr, $judged:expr, $input:expr) => {{
        let input = $input;
        let customer = $crate::s3::encryption::source_customer_of!(input)?;
        let CopySource::Bucket { bucket, key, version_id } = &input.copy_source else {
            return Err(s3_error!(NotImplemented, "only bucket/key can be copied from"));
        };
        let version = $crate::s3::input::version(version_id.as_deref())?;
        let info = $store.bucket($account, bucket).await?;
        $store.bucket($account, &input.bucket).await?;
        let found = $store.grid.meta.object(bucket.to_string(), key.to_string(), version).await;
        let found = found.map_err($crate::s3::copies::source_error)?;
        $judged.check_source(&found.info)?;
        let met = $crate::s3::reads::check_read(
            &found.info,
            input.copy_source_if_match.as_ref(),
            input.copy_source_if_unmodified_since.as_ref(),
            input.copy_source_if_none_match.as_ref(),
            input.copy_source_if_modified_since.as_ref(),
        );
        met.map_err(|_| s3_error!(PreconditionFailed))?;
        let sealing = $crate::s3::encryption::Sealing::new(bucket, key, customer);
        $store.check_customer(&sealing, &found.info.properties.encryption).await?;
        let from = $crate::meta::Source {
            bucket: bucket.to_string(),
            key: key.to_string(),
            version,
            expected: found.info.manifest,
        };
        (from, info, found, sealing)
    }};
}
pub(super) use copy_source;

/// Why a source cannot be used.
pub(super) fn source_error(error: MetaError) -> s3s::S3Error {
    match error {
        MetaError::IsMarker(_) => {
            s3_error!(InvalidRequest, "the source of a copy cannot be a delete marker")
        }
        error => errors::meta(error),
    }
}

/// Takes in a range of an object that is here already and that `opening` opens, under a key of its own; with `equal` equal bytes
/// are looked for.
pub(super) async fn take_in_copy(
    store: &Store,
    (from, opening): (Source, &Sealing),
    range: Range<u64>,
    also: Option<Algorithm>,
    equal: Option<Deduplication>,
) -> S3Result<Taken> {
    let manifest = manifest_of(store, &from).await?;
    let mut plaintext = store.grid.read(store.open_parts(opening, manifest).await?, range.clone());
    let digests = Digests::new(&HeaderMap::new(), None, Checksums::default(), None, also, None)?;
    let mut taking = Taking::new(store, digests, Some(range.end - range.start), equal);
    while let Some(bytes) = plaintext.recv().await {
        let bytes = bytes.map_err(errors::read)?;
        taking.push(&bytes).await?;
    }
    if taking.size() != range.end - range.start {
        return Err(s3_error!(InternalError, "the object ended early"));
    }
    taking.finish()
}

/// The manifest of a source, if it is still the object that the caller looked at.
async fn manifest_of(store: &Store, from: &Source) -> S3Result<Manifest> {
    let meta = &store.grid.meta;
    let found = meta.object_with_manifest(from.bucket.clone(), from.key.clone(), from.version).await;
    let (found, manifest) = found.map_err(source_error)?;
    match found.info.manifest == from.expected {
        true => Ok(manifest),
        false => Err(s3_error!(PreconditionFailed, "the object was replaced meanwhile")),
    }
}

/// Whether a directive says that the source's is replaced.
fn replaces(directive: Option<&str>) -> S3Result<bool> {
    match directive {
        None | Some("COPY") => Ok(false),
        Some("REPLACE") => Ok(true),
        Some(_) => Err(s3_error!(InvalidArgument, "a directive is COPY or REPLACE")),
    }
}

pub(super) async fn copy_object(
    store: &Store,
    request: S3Request<CopyObjectInput>,
) -> S3Result<CopyObjectOutput> {
    let account = account(&request)?;
    let (acl, payer) = (new_acl(&request)?, payer(&request)?);
    let allowance = store.allowance(&payer)?;
    let (judged, origin) = (Judged::of(&request), origin(&request));
    let mut input = request.input;
    refuse_wishes!(input)?;
    let replace_headers = replaces(input.metadata_directive.as_ref().map(MetadataDirective::as_str))?;
    let replace_tags = replaces(input.tagging_directive.as_ref().map(TaggingDirective::as_str))?;
    let customer = customer_of!(input)?;
    check_sse!(input, customer)?;
    let names_key = customer.is_some() || input.server_side_encryption.is_some();
    let sealing = Sealing::new(&input.bucket, &input.key, customer);
    let (from, source_bucket, found, opening) = copy_source!(store, &account, &judged, &mut input);
    if let Some(asked) = &input.checksum_algorithm {
        // The bytes are not read: another checksum cannot be made.
        let has = Algorithm::from_name(asked.as_str()).and_then(|asked| found.info.checksums.get(asked));
        refuse(&[("copies with another checksum than the source's", has.is_none())])?;
    }
    let is_itself = from.version.is_none() && (&from.bucket, &from.key) == (&input.bucket, &input.key);
    let changes = replace_headers || replace_tags || input.website_redirect_location.is_some();
    if is_itself && !changes && !names_key && opening.customer.is_none() {
        return Err(s3_error!(
            InvalidRequest,
            "a copy onto itself must replace the metadata, the tags or the encryption"
        ));
    }
    store.check_credit(&account, found.info.size).await?;
    // Data keys are wrapped anew; what they seal stays where it is.
    let manifest = manifest_of(store, &from).await?;
    let keys = store.open_keys(&opening, &manifest.parts).await?;
    let to = NewCopy {
        manifest: rand::random(),
        keys: store.wrap(&sealing, &keys).await?,
        properties: properties!((acl, payer), input, store.encryption(&sealing).await?),
        replace_headers,
        replace_tags,
        condition: condition(None, None),
        allowance,
        origin,
        bucket: input.bucket,
        key: input.key,
    };
    let copied = store.grid.meta.copy_object(from, to, now_ms()).await;
    let (version, info) = copied.map_err(|error| match error {
        MetaError::Quota(_) => store.refused(error),
        error => source_error(error),
    })?;
    let mut result = CopyObjectResult {
        e_tag: Some(ETag::Strong(info.etag.clone())),
        last_modified: Some(timestamp(info.modified_ms)),
        checksum_type: checksum_type(&info),
        ..Default::default()
    };
    set_checksums!(result, info.checksums);
    let mut output = CopyObjectOutput {
        copy_object_result: Some(result),
        copy_source_version_id: source_bucket.shown(found.version).map(|id| id.to_string()),
        version_id: version.map(|id| id.to_string()),
        ..Default::default()
    };
    set_encryption!(output, sealing.customer);
    Ok(output)
}
