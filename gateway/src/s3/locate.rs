//! `GET /v1/locate?bucket=..&key=..`: where the shards of an object are, for its owner. Signed like any S3 request.

use std::sync::Arc;

use s3s::{S3Result, s3_error};
use serde::{Deserialize, Serialize};

use super::{access::Caller, errors, owned_bucket, query::parameter};
use crate::{grid::Grid, placement::Placement, scope::Reach};

/// Where an object is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Located {
    /// Its bucket.
    pub bucket: String,
    /// Its key.
    pub key: String,
    /// Bytes of plaintext.
    pub size: u64,
    /// Its ETag without quotes.
    pub etag: String,
    /// Its stripes in order.
    pub stripes: Vec<LocatedStripe>,
}

/// Where a stripe is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LocatedStripe {
    /// Its id, hex.
    pub stripe: String,
    /// Epoch of the map that placed it.
    pub epoch: u64,
    /// Its placement group in that map; none if the map is not known any more.
    pub pg: Option<u32>,
    /// Bytes of ciphertext in it.
    pub len: u32,
    /// Bytes of each shard.
    pub shard_len: u32,
    /// Data shards: the first of `shards`.
    pub data_shards: u8,
    /// Its shards by index.
    pub shards: Vec<LocatedShard>,
}

/// Where a shard is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LocatedShard {
    /// Its position in the stripe.
    pub index: u8,
    /// Its address, hex.
    pub hash: String,
    /// Number of its miner in the map; none where the map leaves the position empty.
    pub uid: Option<u32>,
    /// Node id of its miner, hex.
    pub node_id: Option<String>,
    /// Where the miner is reached now.
    pub endpoint: Option<String>,
    /// Whether the miner has confirmed that it is durable there.
    pub durable: bool,
}

/// The answer of the route.
pub(super) async fn answer(grid: &Grid, caller: &Caller, query: &str) -> S3Result<Located> {
    let (Some(bucket), Some(key)) = (parameter(query, "bucket"), parameter(query, "key")) else {
        return Err(s3_error!(InvalidRequest, "ask with ?bucket=..&key=.."));
    };
    caller.require(Reach::ReadKey, &bucket, &key)?;
    owned_bucket(grid, caller.account().unwrap_or_default(), &bucket).await?;
    locate(grid, bucket, key).await
}

async fn locate(grid: &Grid, bucket: String, key: String) -> S3Result<Located> {
    let found = grid.meta.object_with_manifest(bucket.clone(), key.clone(), None).await;
    let (found, manifest) = found.map_err(errors::meta)?;
    let hashes = manifest.stripes().flat_map(|record| record.hashes.iter().copied()).collect();
    let missing = grid.meta.missing_among(hashes).await.map_err(errors::meta)?;
    let waiting = manifest.stripes().map(|record| record.id()).collect();
    let waiting = grid.meta.unconfirmed_among(waiting).await.map_err(errors::meta)?;
    let stripes = manifest.stripes().map(|record| {
        let id = record.id();
        let map: Option<Arc<Placement>> = grid.maps.of(record.epoch);
        let places = map.as_ref().map(|map| map.place(&id)).unwrap_or_default();
        let shards = record.hashes.iter().zip(0u8..).map(|(hash, index)| {
            let miner = places.get(usize::from(index)).copied().flatten();
            let peer = miner.map(|miner| grid.maps.address(miner));
            let waits = peer.as_ref().is_some_and(|peer| waiting.contains(&(id, index, peer.node_id)));
            LocatedShard {
                index,
                hash: hash.to_string(),
                uid: miner.map(|miner| miner.uid),
                node_id: peer.as_ref().map(|peer| peer.node_id.to_string()),
                endpoint: peer.map(|peer| peer.endpoint),
                durable: !missing.contains(hash) && !waits,
            }
        });
        LocatedStripe {
            stripe: id.to_string(),
            epoch: record.epoch,
            pg: map.as_ref().map(|map| map.group(&id)),
            len: record.len,
            shard_len: record.shard_len,
            data_shards: record.data_shards,
            shards: shards.collect(),
        }
    });
    let stripes = stripes.collect();
    Ok(Located { bucket, key, size: found.info.size, etag: found.info.etag, stripes })
}
