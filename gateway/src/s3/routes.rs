//! Routes that are not S3: `GET /v1/..`, signed like any S3 request.

use std::sync::Arc;

use hyper::{
    HeaderMap, Method, StatusCode, Uri,
    header::{CONTENT_TYPE, HeaderValue},
    http::Extensions,
};
use s3s::{Body, S3Request, S3Response, S3Result, route::S3Route, s3_error};

use super::{auth, callers::Callers, locate, receipt, usage};
use crate::grid::Grid;

const LOCATE: &str = "/v1/locate";
const USAGE: &str = "/v1/usage";
const RECEIPT: &str = "/v1/receipt";

/// All of them.
pub(super) struct Routes {
    grid: Arc<Grid>,
    callers: Arc<Callers>,
}

impl Routes {
    pub(super) fn new(grid: Arc<Grid>, callers: Arc<Callers>) -> Self {
        Self { grid, callers }
    }
}

#[async_trait::async_trait]
impl S3Route for Routes {
    fn is_match(&self, method: &Method, uri: &Uri, _: &HeaderMap, _: &mut Extensions) -> bool {
        method == Method::GET && [LOCATE, USAGE, RECEIPT].contains(&uri.path())
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
        let (caller, _) = self.callers.admit(&credentials.access_key)?;
        let query = request.uri.query().unwrap_or("");
        let body = match request.uri.path() {
            LOCATE => serde_json::to_vec(&locate::answer(&self.grid, &caller, query).await?),
            RECEIPT => serde_json::to_vec_pretty(&receipt::answer(&self.grid, &caller, query).await?),
            USAGE => serde_json::to_vec(&usage::answer(&self.grid.meta, &self.callers, &caller)?),
            _ => return Err(s3_error!(NotImplemented)),
        };
        let body = body.map_err(|_| s3_error!(InternalError))?;
        let mut response = S3Response::with_status(Body::from(body), StatusCode::OK);
        response.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(response)
    }
}
