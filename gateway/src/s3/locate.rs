//! `GET /v1/locate?bucket=..&key=..`: where the shards of an object are, for its owner. Signed like any S3 request.

use std::sync::Arc;

use hyper::{HeaderMap, Method, StatusCode, Uri, header::CONTENT_TYPE, http::Extensions};
use s3s::{Body, S3Request, S3Response, S3Result, route::S3Route, s3_error};
use serde::{Deserialize, Serialize};

use super::{auth, errors, owned_bucket, query::parameter};
use crate::{grid::Grid, keys::AccessKeys, placement::Placement};

/// Path of the route.
const PATH: &str = "/v1/locate";

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

/// The route.
pub struct Locate {
    grid: Arc<Grid>,
    keys: Arc<AccessKeys>,
}

struct Question {
    bucket: String,
    key: String,
}

impl Locate {
    /// For this gateway.
    pub fn new(grid: Arc<Grid>, keys: Arc<AccessKeys>) -> Self {
        Self { grid, keys }
    }

    async fn answer(&self, question: Question) -> S3Result<Located> {
        let Question { bucket, key } = question;
        let found = self.grid.meta.object_with_manifest(bucket.clone(), key.clone(), None).await;
        let (found, manifest) = found.map_err(errors::meta)?;
        let hashes = manifest.stripes().flat_map(|record| record.hashes.iter().copied()).collect();
        let missing = self.grid.meta.missing_among(hashes).await.map_err(errors::meta)?;
        let stripes = manifest.stripes().map(|record| {
            let id = record.id();
            let map = self.grid.maps.search_order(record.epoch).into_iter().next();
            let map: Option<Arc<Placement>> = map.filter(|map| map.epoch() == record.epoch);
            let places = map.as_ref().map(|map| map.place(&id)).unwrap_or_default();
            let shards = record.hashes.iter().zip(0u8..).map(|(hash, index)| {
                let miner = places.get(usize::from(index)).copied().flatten();
                let peer = miner.map(|miner| self.grid.maps.address(miner));
                LocatedShard {
                    index,
                    hash: hash.to_string(),
                    uid: miner.map(|miner| miner.uid),
                    node_id: peer.as_ref().map(|peer| peer.node_id.to_string()),
                    endpoint: peer.map(|peer| peer.endpoint),
                    durable: !missing.contains(hash),
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
}

#[async_trait::async_trait]
impl S3Route for Locate {
    fn is_match(&self, method: &Method, uri: &Uri, _: &HeaderMap, _: &mut Extensions) -> bool {
        method == Method::GET && uri.path() == PATH
    }

    async fn check_access(&self, request: &mut S3Request<Body>) -> S3Result<()> {
        auth::require_v4(&request.headers, &request.uri)?;
        match request.credentials {
            Some(_) => Ok(()),
            None => Err(s3_error!(AccessDenied, "signature version 4 is required")),
        }
    }

    async fn call(&self, request: S3Request<Body>) -> S3Result<S3Response<Body>> {
        let credentials = request.credentials.as_ref().ok_or_else(|| s3_error!(AccessDenied))?;
        let account = auth::account_of(&self.keys, &credentials.access_key)?;
        let query = request.uri.query().unwrap_or("");
        let (Some(bucket), Some(key)) = (parameter(query, "bucket"), parameter(query, "key")) else {
            return Err(s3_error!(InvalidRequest, "ask with ?bucket=..&key=.."));
        };
        owned_bucket(&self.grid, &account, &bucket).await?;
        let located = self.answer(Question { bucket, key }).await?;
        let body = serde_json::to_vec(&located).map_err(|_| s3_error!(InternalError))?;
        let mut response = S3Response::with_status(Body::from(body), StatusCode::OK);
        response.headers.insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/json"));
        Ok(response)
    }
}
