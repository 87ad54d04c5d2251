//! The status page: buckets, objects, usage and uploads for people in a browser, at [`PATH`] of the S3 address.
//!
//! The files of `gateway/page`, as they are. What they show they ask for as an S3 client, with signatures made in the browser.
//!
//! # Invariants
//! - [`PATH`] is no path of S3: no bucket's name begins with a hyphen.
//! - Nothing here depends on who asks: no secret comes in or goes out.
//! - What objects contain never runs as the page: see [`confine`].

use bytes::Bytes;
use hyper::{
    HeaderMap, Method, StatusCode, Uri,
    header::{self, HeaderName, HeaderValue},
};
use s3s::{Body, HttpResponse};

/// Where it is.
const PATH: &str = "/-/";

macro_rules! files {
    ($($name:literal: $kind:ident,)*) => {
        /// Names below [`PATH`], types and contents.
        const FILES: &[(&str, &str, &str)] =
            &[$(($name, $kind, include_str!(concat!("../page/", $name)))),*];
    };
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

files! {
    "index.html": HTML,
    "style.css": CSS,
    "icon.svg": SVG,
    "buckets.js": SCRIPT,
    "dom.js": SCRIPT,
    "files.js": SCRIPT,
    "folder.js": SCRIPT,
    "gateway.js": SCRIPT,
    "main.js": SCRIPT,
    "object.js": SCRIPT,
    "sha256.js": SCRIPT,
    "shards.js": SCRIPT,
    "share.js": SCRIPT,
    "signature.js": SCRIPT,
    "transfers.js": SCRIPT,
    "uploads.js": SCRIPT,
    "words.js": SCRIPT,
}

/// Only the page's own files and this gateway; no form is sent, no text becomes HTML (`answers` makes XML that is read only).
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     form-action 'none'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types answers";

/// What an object may do in a browser: all but being of this origin.
const SANDBOX: &str = "sandbox allow-downloads allow-forms allow-modals allow-popups allow-popups-to-escape-sandbox allow-scripts";

/// How types begin that have no scripts.
const SHOWN: [&str; 5] = ["image/", "audio/", "video/", "application/pdf", "text/plain"];

const HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-cache"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// The answer to a request that is for the page; none for all others.
pub(crate) fn answer(method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<HttpResponse> {
    let path = uri.path();
    if path == PATH.trim_end_matches('/') || is_visit(method, uri, headers) {
        return Some(moved());
    }
    let name = path.strip_prefix(PATH)?;
    let name = if name.is_empty() { "index.html" } else { name };
    if !matches!(*method, Method::GET | Method::HEAD) {
        let mut refused = said(StatusCode::METHOD_NOT_ALLOWED, "The page is read with GET.\n");
        refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Some(refused);
    }
    Some(match FILES.iter().find(|(known, ..)| *known == name) {
        Some((_, kind, content)) => made(StatusCode::OK, kind, content),
        None => said(StatusCode::NOT_FOUND, "The page has no such file.\n"),
    })
}

/// Whether somebody opens the address of the gateway in a browser. S3 would list buckets there, of nobody.
fn is_visit(method: &Method, uri: &Uri, headers: &HeaderMap) -> bool {
    let accepts = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or("");
    matches!(*method, Method::GET | Method::HEAD)
        && uri.path() == "/"
        && uri.query().is_none()
        && !headers.contains_key(header::AUTHORIZATION)
        && accepts.contains("text/html")
}

/// Keeps an object from being of the page's origin, where it could take the keys of whoever is signed in. What browsers show
/// without running it is left as it is: some do not show media in a sandbox.
pub(crate) fn confine(response: &mut HttpResponse) {
    let headers = response.headers_mut();
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
    let kind = kind.to_ascii_lowercase();
    // Of several types in one header browsers take the last.
    let is_shown = !kind.contains(',')
        && !kind.starts_with("image/svg")
        && SHOWN.iter().any(|shown| kind.starts_with(shown));
    if !is_shown {
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(SANDBOX));
    }
}

fn moved() -> HttpResponse {
    let mut response = said(StatusCode::FOUND, "");
    response.headers_mut().insert(header::LOCATION, HeaderValue::from_static(PATH));
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept, authorization"));
    response
}

fn said(status: StatusCode, text: &'static str) -> HttpResponse {
    made(status, "text/plain; charset=utf-8", text)
}

fn made(status: StatusCode, kind: &'static str, content: &'static str) -> HttpResponse {
    let mut response = HttpResponse::new(Body::from(Bytes::from_static(content.as_bytes())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_directory_is_served_and_every_import_is_one_of_them() {
        let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("page");
        let mut found: Vec<String> = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        let mut served: Vec<&str> = FILES.iter().map(|(name, ..)| *name).collect();
        found.sort_unstable();
        served.sort_unstable();
        assert_eq!(found, served);
        for (name, _, content) in FILES {
            for import in content.split("from \"./").skip(1) {
                let import = import.split('"').next().unwrap();
                assert!(served.contains(&import), "{name} imports {import}");
            }
        }
    }

    #[test]
    fn what_can_have_scripts_is_confined() {
        for (kind, confined) in [
            (None, true),
            (Some("text/html"), true),
            (Some("TEXT/HTML; charset=utf-8"), true),
            (Some("application/xhtml+xml"), true),
            (Some("image/svg+xml"), true),
            (Some("text/xml"), true),
            (Some("image/png"), false),
            (Some("application/pdf"), false),
            (Some("text/plain; charset=utf-8"), false),
            (Some("binary/octet-stream"), true),
            (Some("*/*"), true),
            (Some("text/plain, text/html"), true),
        ] {
            let mut response = HttpResponse::new(Body::empty());
            if let Some(kind) = kind {
                response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
            }
            confine(&mut response);
            let headers = response.headers();
            let policy = headers.get(header::CONTENT_SECURITY_POLICY);
            assert_eq!(policy.is_some_and(|policy| policy == SANDBOX), confined, "{kind:?}");
            assert!(!SANDBOX.contains("allow-same-origin"));
        }
    }

    #[test]
    fn only_browsers_are_led_from_the_root() {
        let visit = |uri: &str, headers: &[(HeaderName, &'static str)]| {
            let headers =
                headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect();
            answer(&Method::GET, &uri.parse().unwrap(), &headers).map(|response| response.status())
        };
        let html = (header::ACCEPT, "text/html,application/xhtml+xml,*/*;q=0.8");
        assert_eq!(visit("/", std::slice::from_ref(&html)), Some(StatusCode::FOUND));
        assert_eq!(visit("/", &[]), None);
        assert_eq!(visit("/", &[(header::ACCEPT, "*/*")]), None);
        assert_eq!(visit("/?x-id=ListBuckets", std::slice::from_ref(&html)), None);
        assert_eq!(visit("/", &[html.clone(), (header::AUTHORIZATION, "AWS4-HMAC-SHA256 x")]), None);
        assert_eq!(visit("/bucket", &[html]), None);
    }
}
