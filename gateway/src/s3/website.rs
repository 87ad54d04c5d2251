//! Websites: objects of a bucket as pages, at `BUCKET.DOMAIN`.
//!
//! A page is fetched as an anonymous GetObject of the bucket, so that nothing is shown that the bucket's policy and lists do
//! not show to everyone.

use hyper::{
    HeaderMap, Method, StatusCode,
    header::{self, HeaderName, HeaderValue},
};
use s3s::{Body, HttpError, HttpRequest, HttpResponse, S3Request, S3Result, dto::*, s3_error};

use super::{
    Store,
    access::Peer,
    front::{Front, refusal},
    percent, stored,
};
use crate::meta::Subresource;

/// Most routing rules of a bucket (as in AWS).
const RULES_MAX: usize = 50;
const REDIRECT: HeaderName = HeaderName::from_static("x-amz-website-redirect-location");

fn check(document: &WebsiteConfiguration) -> S3Result<()> {
    let protocol = |protocol: &Option<Protocol>| {
        protocol.as_ref().is_none_or(|protocol| matches!(protocol.as_str(), "http" | "https"))
    };
    if let Some(all) = &document.redirect_all_requests_to {
        if document.index_document.is_some()
            || document.error_document.is_some()
            || document.routing_rules.is_some()
            || all.host_name.is_empty()
            || !protocol(&all.protocol)
        {
            return Err(s3_error!(
                InvalidArgument,
                "RedirectAllRequestsTo has a host name, a protocol of http or https, and nothing beside it"
            ));
        }
        return Ok(());
    }
    let suffix = document.index_document.as_ref().map(|index| index.suffix.as_str());
    if suffix.is_none_or(|suffix| suffix.is_empty() || suffix.contains('/')) {
        return Err(s3_error!(InvalidArgument, "the index document has a suffix without a slash"));
    }
    if document.error_document.as_ref().is_some_and(|error| error.key.is_empty()) {
        return Err(s3_error!(InvalidArgument, "the error document has a key"));
    }
    let rules = document.routing_rules.as_deref().unwrap_or_default();
    if rules.len() > RULES_MAX {
        return Err(s3_error!(InvalidRequest, "at most {RULES_MAX} routing rules"));
    }
    for rule in rules {
        let redirect = &rule.redirect;
        let code = |text: &String, from| {
            text.parse::<u16>()
                .is_ok_and(|code| (from..from + 100).contains(&code) || (from == 400 && code >= 500))
        };
        let condition = rule.condition.as_ref();
        if redirect.replace_key_with.is_some() && redirect.replace_key_prefix_with.is_some()
            || !protocol(&redirect.protocol)
            || redirect.http_redirect_code.as_ref().is_some_and(|text| !code(text, 300))
            || condition.is_some_and(|condition| {
                condition.http_error_code_returned_equals.as_ref().is_some_and(|text| !code(text, 400))
            })
        {
            return Err(s3_error!(
                InvalidRequest,
                "a routing rule contradicts itself or has an unknown code"
            ));
        }
    }
    Ok(())
}

pub(super) async fn put_bucket_website(
    store: &Store,
    request: S3Request<PutBucketWebsiteInput>,
) -> S3Result<PutBucketWebsiteOutput> {
    let input = request.input;
    check(&input.website_configuration)?;
    let row = stored::to_row(&input.website_configuration)?;
    store.put_row(input.bucket, Subresource::Website, Some(row)).await?;
    Ok(PutBucketWebsiteOutput {})
}

pub(super) async fn get_bucket_website(
    store: &Store,
    request: S3Request<GetBucketWebsiteInput>,
) -> S3Result<GetBucketWebsiteOutput> {
    let none = || s3_error!(NoSuchWebsiteConfiguration, "the bucket is no website");
    let row = store.row(request.input.bucket, Subresource::Website, none).await?;
    let document: WebsiteConfiguration = stored::from_row(&row)?;
    Ok(GetBucketWebsiteOutput {
        error_document: document.error_document,
        index_document: document.index_document,
        redirect_all_requests_to: document.redirect_all_requests_to,
        routing_rules: document.routing_rules,
    })
}

pub(super) async fn delete_bucket_website(
    store: &Store,
    request: S3Request<DeleteBucketWebsiteInput>,
) -> S3Result<DeleteBucketWebsiteOutput> {
    store.put_row(request.input.bucket, Subresource::Website, None).await?;
    Ok(DeleteBucketWebsiteOutput {})
}

/// A request for a page.
struct Visit<'a> {
    front: &'a Front,
    bucket: &'a str,
    method: Method,
    headers: HeaderMap,
    host: String,
    peer: Option<Peer>,
}

/// Answers a request for a page of the bucket's website.
pub(super) async fn answer(
    front: &Front,
    bucket: &str,
    request: HttpRequest,
) -> Result<HttpResponse, HttpError> {
    let document = match front.row(bucket, Subresource::Website).await {
        Ok(Some(row)) => stored::from_row::<WebsiteConfiguration>(&row),
        Ok(None) => return Ok(page(StatusCode::NOT_FOUND, "there is no website here")),
        Err(error) => Err(error),
    };
    let document = match document {
        Ok(document) => document,
        Err(error) => return Ok(refusal(error)),
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Ok(page(StatusCode::METHOD_NOT_ALLOWED, "a website can only be read"));
    }
    let mut headers = HeaderMap::new();
    for name in [
        header::RANGE,
        header::IF_MATCH,
        header::IF_NONE_MATCH,
        header::IF_MODIFIED_SINCE,
        header::IF_UNMODIFIED_SINCE,
        header::REFERER,
    ] {
        if let Some(value) = request.headers().get(&name) {
            headers.insert(name, value.clone());
        }
    }
    let host =
        request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("").to_owned();
    let peer = request.extensions().get().copied();
    let visit = Visit { front, bucket, method: request.method().clone(), headers, host, peer };
    visit.answer(&document, request.uri().path()).await
}

impl Visit<'_> {
    async fn answer(&self, document: &WebsiteConfiguration, path: &str) -> Result<HttpResponse, HttpError> {
        let key = path.strip_prefix('/').unwrap_or(path);
        if let Some(all) = &document.redirect_all_requests_to {
            let protocol = all.protocol.as_ref().map_or("http", |protocol| protocol.as_str());
            return Ok(moved(
                StatusCode::MOVED_PERMANENTLY,
                &format!("{protocol}://{}/{key}", all.host_name),
            ));
        }
        let rules = document.routing_rules.as_deref().unwrap_or_default();
        if let Some(rule) = rule_for(rules, key, None) {
            return Ok(self.redirect(rule, key));
        }
        let suffix = document.index_document.as_ref().map_or("", |index| index.suffix.as_str());
        let wanted =
            if key.is_empty() || key.ends_with('/') { format!("{key}{suffix}") } else { key.to_owned() };
        let found = self.fetch(&wanted, &self.method).await?;
        if let Some(to) = found.headers().get(&REDIRECT).and_then(|to| to.to_str().ok()) {
            return Ok(moved(StatusCode::MOVED_PERMANENTLY, to));
        }
        let status = found.status();
        if !status.is_client_error() && !status.is_server_error() || status == StatusCode::PRECONDITION_FAILED
        {
            return Ok(found);
        }
        // What looks like a page may be a folder.
        if status == StatusCode::NOT_FOUND && !key.is_empty() && !key.ends_with('/') {
            let index = self.fetch(&format!("{key}/{suffix}"), &Method::HEAD).await?;
            if index.status().is_success() {
                return Ok(moved(StatusCode::FOUND, &format!("/{key}/")));
            }
        }
        if let Some(rule) = rule_for(rules, key, Some(status)) {
            return Ok(self.redirect(rule, key));
        }
        let Some(error) = &document.error_document else {
            return Ok(page(status, status.canonical_reason().unwrap_or("error")));
        };
        let mut shown = self.fetch(&encoded_path(&error.key), &self.method).await?;
        if !shown.status().is_success() {
            return Ok(page(status, status.canonical_reason().unwrap_or("error")));
        }
        *shown.status_mut() = status;
        Ok(shown)
    }

    /// Fetches an object as somebody anonymous; the key is percent-encoded.
    async fn fetch(&self, key: &str, method: &Method) -> Result<HttpResponse, HttpError> {
        let Ok(uri) = format!("/{}/{key}", self.bucket).parse() else {
            return Ok(refusal(s3_error!(InvalidURI)));
        };
        let mut request = HttpRequest::new(Body::empty());
        *request.method_mut() = method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = self.headers.clone();
        if let Some(peer) = self.peer {
            request.extensions_mut().insert(peer);
        }
        self.front.ask(request).await
    }

    fn redirect(&self, rule: &RoutingRule, key: &str) -> HttpResponse {
        let (redirect, key) = (&rule.redirect, redirected(rule, key));
        let host = redirect.host_name.as_deref().unwrap_or(&self.host);
        let protocol = redirect.protocol.as_ref().map_or("http", |protocol| protocol.as_str());
        let code = redirect.http_redirect_code.as_ref().and_then(|code| code.parse().ok());
        moved(code.unwrap_or(StatusCode::MOVED_PERMANENTLY), &format!("{protocol}://{host}/{key}"))
    }
}

/// The key that a rule leads to, percent-encoded.
fn redirected(rule: &RoutingRule, key: &str) -> String {
    let prefix = rule.condition.as_ref().and_then(|condition| condition.key_prefix_equals.as_deref());
    let prefix = encoded_path(prefix.unwrap_or(""));
    match (&rule.redirect.replace_key_with, &rule.redirect.replace_key_prefix_with) {
        (Some(key), _) => encoded_path(key),
        (None, Some(new)) => format!("{}{}", encoded_path(new), key.strip_prefix(&prefix).unwrap_or(key)),
        (None, None) => key.to_owned(),
    }
}

/// The first rule that applies to a key: before it is fetched, or after that failed with a status.
fn rule_for<'a>(rules: &'a [RoutingRule], key: &str, failed: Option<StatusCode>) -> Option<&'a RoutingRule> {
    rules.iter().find(|rule| {
        let condition = rule.condition.as_ref();
        let prefix = condition.and_then(|condition| condition.key_prefix_equals.as_deref()).unwrap_or("");
        let code = condition.and_then(|condition| condition.http_error_code_returned_equals.as_deref());
        let code_fits = match (code, failed) {
            (None, None) => true,
            (Some(code), Some(failed)) => code == failed.as_str(),
            _ => false,
        };
        code_fits && key.starts_with(&encoded_path(prefix))
    })
}

/// A key as it stands in an address.
fn encoded_path(key: &str) -> String {
    percent::encoded(key, b"~")
}

fn moved(status: StatusCode, to: &str) -> HttpResponse {
    let mut response = page(status, "moved");
    match HeaderValue::from_str(to) {
        Ok(to) => response.headers_mut().insert(header::LOCATION, to),
        Err(_) => return page(StatusCode::NOT_FOUND, "the redirect leads nowhere"),
    };
    response
}

/// A page that says what happened.
fn page(status: StatusCode, text: &str) -> HttpResponse {
    let body = format!("<!doctype html><title>{0}</title><h1>{0}</h1><p>{text}</p>\n", status.as_u16());
    let mut response = HttpResponse::new(Body::from(body));
    *response.status_mut() = status;
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, html);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(prefix: Option<&str>, code: Option<&str>, key: Option<&str>, new: Option<&str>) -> RoutingRule {
        RoutingRule {
            condition: Some(Condition {
                http_error_code_returned_equals: code.map(str::to_owned),
                key_prefix_equals: prefix.map(str::to_owned),
            }),
            redirect: Redirect {
                replace_key_with: key.map(str::to_owned),
                replace_key_prefix_with: new.map(str::to_owned),
                ..Default::default()
            },
        }
    }

    #[test]
    fn rules_redirect_prefixes_and_failures() {
        let rules = [
            rule(Some("old docs/"), None, None, Some("docs/")),
            rule(Some("gone/"), Some("404"), Some("sorry.html"), None),
        ];
        let to = |key: &str, failed| rule_for(&rules, key, failed).map(|rule| redirected(rule, key));
        assert_eq!(to("old%20docs/a%20b", None).as_deref(), Some("docs/a%20b"));
        assert_eq!(to("gone/x", None), None);
        assert_eq!(to("gone/x", Some(StatusCode::NOT_FOUND)).as_deref(), Some("sorry.html"));
        assert_eq!(to("gone/x", Some(StatusCode::FORBIDDEN)), None);
        assert_eq!(to("other", None), None);
    }

    #[test]
    fn documents_that_contradict_themselves_are_refused() {
        let index = |suffix: &str| Some(IndexDocument { suffix: suffix.into() });
        let good = WebsiteConfiguration { index_document: index("index.html"), ..Default::default() };
        assert!(check(&good).is_ok());
        let all = RedirectAllRequestsTo { host_name: "a".into(), protocol: None };
        let redirect = WebsiteConfiguration { redirect_all_requests_to: Some(all), ..Default::default() };
        assert!(check(&redirect).is_ok());
        for wrong in [
            WebsiteConfiguration::default(),
            WebsiteConfiguration { index_document: index("a/b"), ..Default::default() },
            WebsiteConfiguration { index_document: index("a"), ..redirect },
            WebsiteConfiguration {
                routing_rules: Some(vec![rule(None, None, Some("a"), Some("b"))]),
                ..good.clone()
            },
            WebsiteConfiguration { routing_rules: Some(vec![rule(None, Some("200"), None, None)]), ..good },
        ] {
            assert!(check(&wrong).is_err());
        }
    }
}
