//! `GET /v1/receipt?bucket=..&key=..&versionId=..`: a file that proves that miners signed for an object, for its owner. Signed like any
//! S3 request. What it is and how it is verified: [`arion_ledger::put_receipt`].

use arion_ledger::{PutReceipt, put_receipt::QUORUM_EXTRA};
use arion_types::{ObjectStatement, StatedPart, StatedStripe};
use s3s::{S3Result, s3_error};

use super::{access::Caller, errors, input, owned_bucket, query::parameter};
use crate::{
    checksum::Algorithm,
    grid::Grid,
    manifest::{PartManifest, StripeRecord},
    scope::Reach,
};

/// Most stripes of an object that gets a receipt: 40 GiB, and 40 MiB of file.
const STRIPES_MAX: usize = 4_096;

/// The answer of the route.
pub(super) async fn answer(grid: &Grid, caller: &Caller, query: &str) -> S3Result<PutReceipt> {
    let (Some(bucket), Some(key)) = (parameter(query, "bucket"), parameter(query, "key")) else {
        return Err(s3_error!(InvalidRequest, "ask with ?bucket=..&key=.., and versionId=.. for a version"));
    };
    let version = input::version(parameter(query, "versionId").as_deref())?;
    caller.require(Reach::ReadKey, &bucket, &key)?;
    let info = owned_bucket(grid, caller.account().unwrap_or_default(), &bucket).await?;
    let found = grid.meta.object_with_manifest(bucket.clone(), key.clone(), version).await;
    let (found, manifest) = found.map_err(errors::meta)?;
    let records: Vec<StripeRecord> = manifest.stripes().cloned().collect();
    if records.len() > STRIPES_MAX {
        return Err(s3_error!(EntityTooLarge, "objects of up to {STRIPES_MAX} stripes have receipts"));
    }
    let receipts = grid.meta.receipts_of(records.clone()).await.map_err(errors::meta)?;
    let Some(receipts) = receipts else {
        return Err(s3_error!(
            ServiceUnavailable,
            "the gateway still looks through its ledger; try again later"
        ));
    };
    for (record, receipts) in records.iter().zip(&receipts) {
        let needed = usize::from(record.data_shards) + QUORUM_EXTRA;
        if receipts.len() < needed {
            return Err(s3_error!(
                ServiceUnavailable,
                "of stripe {} {} miners signed so far, {needed} are needed; try again later",
                record.id(),
                receipts.len()
            ));
        }
    }
    let checksums = Algorithm::ALL.into_iter().filter_map(|algorithm| {
        Some((algorithm.name().to_owned(), found.info.checksums.get(algorithm)?.to_owned()))
    });
    let mut checksums: Vec<_> = checksums.collect();
    checksums.sort();
    let statement = ObjectStatement {
        gateway: grid.node_id(),
        stated_ms: input::now_ms(),
        bucket,
        key,
        version: info.shown(found.version).map(|id| id.to_string()),
        size: found.info.size,
        etag: found.info.etag,
        checksums,
        modified_ms: found.info.modified_ms,
        parts: manifest.parts.iter().map(stated).collect(),
    };
    let signature = grid.state(&statement);
    let stripes = records.into_iter().map(|record| record.hashes).zip(receipts).collect();
    Ok(PutReceipt::new(&grid.genesis(), statement, signature, stripes))
}

fn stated(part: &PartManifest) -> StatedPart {
    let stripe = |record: &StripeRecord| StatedStripe {
        stripe: record.id(),
        epoch: record.epoch,
        len: record.len,
        shard_len: record.shard_len,
        data_shards: record.data_shards,
        shards: u8::try_from(record.hashes.len()).unwrap_or(u8::MAX),
    };
    StatedPart {
        size: part.plain_len,
        stored: part.cipher_len,
        offset: part.offset,
        stripes: part.stripes.iter().map(stripe).collect(),
    }
}
