//! What stands in front of the S3 service: addresses of buckets in host names, CORS, websites, ids of requests.

use std::{future::Future, net::SocketAddr, pin::Pin, sync::Arc};

use hyper::{
    HeaderMap, Method, StatusCode, Uri,
    body::Incoming,
    header::{self, HeaderName, HeaderValue},
    service::Service,
};
use s3s::{
    Body, HttpError, HttpRequest, HttpResponse, S3Error, S3ErrorCode, S3Result,
    dto::CORSConfiguration,
    host::{S3Host, VirtualHost},
    s3_error,
    service::S3Service,
};

use super::{
    access::Peer, auth, callers::Callers, cors::Page, digest::random_id, query::parameter, stored, website,
};
use crate::{
    meta::{Meta, Subresource},
    page,
};

/// What answers have in `x-amz-request-id`; put into requests here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct RequestId(pub(super) String);

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");
/// Longest that presigned addresses may be valid, seconds (as in AWS).
const EXPIRES_MAX: u64 = 7 * 24 * 3_600;
/// Longest error document that gets the id of the request.
const ERROR_BYTES_MAX: usize = 64 << 10;

/// Domains below which names are buckets.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Domains {
    /// S3 at `BUCKET.DOMAIN`.
    pub s3: Vec<String>,
    /// Websites at `BUCKET.DOMAIN`.
    pub website: Vec<String>,
}

/// A host without its port, in lower case.
fn name_of(host: &str) -> String {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    name.to_ascii_lowercase()
}

/// The bucket that a host names below one of the domains.
fn below(domains: &[String], host: &str) -> Option<String> {
    let name = name_of(host);
    let bucket = domains.iter().find_map(|domain| name.strip_suffix(domain.as_str())?.strip_suffix('.'))?;
    (!bucket.is_empty()).then(|| bucket.to_owned())
}

impl S3Host for Domains {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        let found = VirtualHost::new(host);
        Ok(match below(&self.s3, host) {
            Some(bucket) => found.with_bucket(bucket),
            None => found,
        })
    }
}

/// The S3 service with what stands in front of it; clones share it.
#[derive(Clone)]
pub struct Front {
    inner: Arc<Inner>,
    shows_page: bool,
}

struct Inner {
    service: S3Service,
    meta: Meta,
    domains: Domains,
    callers: Arc<Callers>,
}

/// [`Front`] for one connection.
pub struct Connection {
    front: Front,
    peer: SocketAddr,
}

impl Service<hyper::Request<Incoming>> for Connection {
    type Response = HttpResponse;
    type Error = HttpError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send>>;

    fn call(&self, request: hyper::Request<Incoming>) -> Self::Future {
        let (front, peer) = (self.front.clone(), self.peer);
        Box::pin(async move { front.answer(request.map(Body::from), peer).await })
    }
}

impl Front {
    pub(super) fn new(service: S3Service, meta: Meta, domains: Domains, callers: Arc<Callers>) -> Self {
        Self { inner: Arc::new(Inner { service, meta, domains, callers }), shows_page: false }
    }

    /// With the status page for people, or without.
    pub fn with_page(self, shows_page: bool) -> Self {
        Self { shows_page, ..self }
    }

    /// For a connection from `peer`.
    pub fn connection(&self, peer: SocketAddr) -> Connection {
        Connection { front: self.clone(), peer }
    }

    /// Answers a request of a connection from `peer`.
    pub(crate) async fn answer(
        &self,
        mut request: HttpRequest,
        peer: SocketAddr,
    ) -> Result<HttpResponse, HttpError> {
        request.extensions_mut().insert(Peer(peer.ip()));
        let id = random_id();
        request.extensions_mut().insert(RequestId(id.clone()));
        let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).map(str::to_owned);
        let host = host.or_else(|| request.uri().authority().map(|authority| authority.to_string()));
        let host = host.unwrap_or_default();
        let answered = self.inner.callers.watch(peer.ip(), async {
            match below(&self.inner.domains.website, &host) {
                Some(bucket) => website::answer(self, &bucket, request).await,
                None => self.s3_or_page(request, &host).await,
            }
        });
        let answered = answered.await;
        answered.map(|response| with_id(response, &id))
    }

    /// Addresses of buckets have no page: they are the bucket's alone.
    async fn s3_or_page(&self, request: HttpRequest, host: &str) -> Result<HttpResponse, HttpError> {
        if !self.shows_page || below(&self.inner.domains.s3, host).is_some() {
            return self.s3(request, host).await;
        }
        if let Some(response) = page::answer(request.method(), request.uri(), request.headers()) {
            return Ok(response);
        }
        let mut response = self.s3(request, host).await?;
        page::confine(&mut response);
        Ok(response)
    }

    async fn s3(&self, mut request: HttpRequest, host: &str) -> Result<HttpResponse, HttpError> {
        let bucket = below(&self.inner.domains.s3, host).or_else(|| first_segment(request.uri()));
        let preflight = request.method() == Method::OPTIONS;
        let page = Page::new(request.headers(), (!preflight).then(|| request.method().as_str()));
        let allowed = match (&page, &bucket) {
            (Some(page), Some(bucket)) => self.cors(page, bucket).await,
            _ => Ok(None),
        };
        if preflight {
            return Ok(match (page, allowed) {
                (None, _) => refusal(s3_error!(
                    InvalidRequest,
                    "a preflight needs Origin and Access-Control-Request-Method"
                )),
                (Some(_), Err(error)) => refusal(error),
                (Some(_), Ok(None)) => refusal(forbidden()),
                (Some(_), Ok(Some(headers))) => {
                    let mut response = HttpResponse::new(Body::empty());
                    *response.headers_mut() = headers;
                    response
                }
            });
        }
        let is_post = request.method() == Method::POST;
        let is_attributes = request.method() == Method::GET
            && parameter(request.uri().query().unwrap_or(""), "attributes").is_some();
        set_hoisted(&mut request);
        let checked = auth::refuse_customers_key(request.uri()).and_then(|()| check_expiry(request.uri()));
        let mut response = match checked {
            Ok(()) => self.inner.service.call(request).await.map(|response| match is_post {
                true => judged(response),
                false if is_attributes => with_bare_etag(response),
                false => response,
            })?,
            Err(error) => refusal(error),
        };
        // Whether a page may see the answer does not change what the answer is.
        if let Ok(Some(headers)) = allowed {
            response.headers_mut().extend(headers);
        }
        Ok(response)
    }

    /// The headers by which a page may see answers of a bucket; none if it may not.
    async fn cors(&self, page: &Page, bucket: &str) -> S3Result<Option<HeaderMap>> {
        let row = self.row(bucket, Subresource::Cors).await?;
        let Some(row) = row else { return Ok(None) };
        let document: CORSConfiguration = stored::from_row(&row)?;
        Ok(page.answer(&document.cors_rules))
    }

    /// A row of a bucket; none if the bucket does not exist either.
    pub(super) async fn row(&self, bucket: &str, kind: Subresource) -> S3Result<Option<Vec<u8>>> {
        match self.inner.meta.subresource(bucket.to_owned(), kind).await {
            Ok(row) => Ok(row),
            Err(crate::meta::MetaError::NoSuchBucket) => Ok(None),
            Err(error) => Err(super::errors::meta(error)),
        }
    }

    /// Asks the S3 service itself.
    pub(super) async fn ask(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        self.inner.service.call(request).await
    }
}

fn forbidden() -> S3Error {
    let code = S3ErrorCode::Custom("AccessForbidden".into());
    let mut error = S3Error::with_message(code, "no CORS rule of the bucket allows this");
    error.set_status_code(StatusCode::FORBIDDEN);
    error
}

/// The first segment of a path, which path-style addresses take for the bucket.
fn first_segment(uri: &Uri) -> Option<String> {
    let bucket = uri.path().strip_prefix('/')?.split('/').next()?;
    (!bucket.is_empty()).then(|| bucket.to_owned())
}

/// Puts headers that a presigned address has in its query where headers are looked for.
fn set_hoisted(request: &mut HttpRequest) {
    for (name, value) in auth::hoisted(request.uri()).collect::<Vec<_>>() {
        let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) else {
            continue;
        };
        request.headers_mut().insert(name, value);
    }
}

/// Refuses presigned addresses that are valid for longer than S3 lets them be, or not at all.
fn check_expiry(uri: &Uri) -> S3Result<()> {
    let query = uri.query().unwrap_or("");
    if !query.contains("X-Amz-Signature=") {
        return Ok(());
    }
    let seconds = parameter(query, "X-Amz-Expires").and_then(|seconds| seconds.parse::<u64>().ok());
    match seconds {
        Some(1..=EXPIRES_MAX) => Ok(()),
        _ => Err(s3_error!(AccessDenied, "X-Amz-Expires is from 1 to {EXPIRES_MAX}")),
    }
}

/// `s3s` says of a form that its policy does not allow that the policy is no policy. S3 denies it.
fn judged(response: HttpResponse) -> HttpResponse {
    let denied = response.status() == StatusCode::BAD_REQUEST
        && response.body().bytes().is_some_and(|bytes| {
            let text = String::from_utf8_lossy(&bytes);
            text.contains("<Code>InvalidPolicyDocument</Code><Message>Policy condition ")
                || text.contains("<Code>InvalidPolicyDocument</Code><Message>Bucket in form field ")
        });
    match denied {
        true => refusal(s3_error!(AccessDenied, "Invalid according to Policy: Policy Condition failed")),
        false => response,
    }
}

/// `s3s` quotes every ETag. In the attributes of an object S3 does not.
fn with_bare_etag(mut response: HttpResponse) -> HttpResponse {
    let bytes = response.body().bytes().unwrap_or_default();
    if let Ok(text) = std::str::from_utf8(&bytes)
        && text.contains("<ETag>\"")
    {
        let text = text.replace("<ETag>\"", "<ETag>").replace("\"</ETag>", "</ETag>");
        response.headers_mut().remove(header::CONTENT_LENGTH);
        *response.body_mut() = Body::from(text);
    }
    response
}

/// An error as an answer.
pub(super) fn refusal(error: S3Error) -> HttpResponse {
    error.to_http_response().unwrap_or_else(|_| {
        let mut response = HttpResponse::new(Body::empty());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}

/// Gives an answer the id of its request; an error document too.
fn with_id(mut response: HttpResponse, id: &str) -> HttpResponse {
    if let Ok(value) = HeaderValue::from_str(id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    let failed = response.status().is_client_error() || response.status().is_server_error();
    let Some(bytes) = response.body().bytes().filter(|bytes| failed && bytes.len() <= ERROR_BYTES_MAX) else {
        return response;
    };
    let Some(text) = std::str::from_utf8(&bytes).ok().and_then(|text| text.strip_suffix("</Error>")) else {
        return response;
    };
    if !text.contains("<RequestId>") {
        let text = format!("{text}<RequestId>{id}</RequestId></Error>");
        response.headers_mut().remove(header::CONTENT_LENGTH);
        *response.body_mut() = Body::from(text);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_found_in_hosts_below_the_domains_only() {
        let domains = ["s3.example.org".to_owned(), "localhost".to_owned()];
        for (host, bucket) in [
            ("my.bucket.s3.example.org", Some("my.bucket")),
            ("B.S3.example.org:7800", Some("b")),
            ("b.localhost:1", Some("b")),
            ("s3.example.org", None),
            (".s3.example.org", None),
            ("bs3.example.org", None),
            ("example.org", None),
            ("127.0.0.1:7800", None),
            ("[::1]:7800", None),
        ] {
            assert_eq!(below(&domains, host).as_deref(), bucket, "{host}");
        }
    }

    #[test]
    fn presigned_addresses_end() {
        for (query, allowed) in [
            ("X-Amz-Signature=x&X-Amz-Expires=604800", true),
            ("X-Amz-Signature=x&X-Amz-Expires=604801", false),
            ("X-Amz-Signature=x&X-Amz-Expires=0", false),
            ("X-Amz-Signature=x&X-Amz-Expires=-7", false),
            ("X-Amz-Signature=x", false),
            ("prefix=x", true),
        ] {
            let uri: Uri = format!("/b/k?{query}").parse().unwrap();
            assert_eq!(check_expiry(&uri).is_ok(), allowed, "{query}");
        }
    }

    #[test]
    fn error_documents_carry_the_id_that_the_header_has() {
        let response = with_id(refusal(s3_error!(NoSuchKey, "gone")), "abc");
        assert_eq!(response.headers()["x-amz-request-id"], "abc");
        let bytes = response.body().bytes().unwrap();
        let text = std::str::from_utf8(&bytes).unwrap();
        let failed = s3_error!(InvalidPolicyDocument, "Policy condition 'eq' for field 'key' failed");
        assert_eq!(judged(refusal(failed)).status(), StatusCode::FORBIDDEN);
        let malformed = s3_error!(InvalidPolicyDocument, "failed to parse POST policy");
        assert_eq!(judged(refusal(malformed)).status(), StatusCode::BAD_REQUEST);
        assert!(text.ends_with("<RequestId>abc</RequestId></Error>"), "{text}");
    }
}
