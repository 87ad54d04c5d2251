//! An S3 client for tests that send headers of their own: requests are presigned by `rusty-s3`, which nobody here wrote.

use std::time::Duration;

use rusty_s3::{
    Bucket, Credentials, Method, S3Action, UrlStyle,
    actions::{CompleteMultipartUpload, CreateMultipartUpload, UploadPart},
};
use ureq::{Agent, http::HeaderMap};

pub const HOUR: Duration = Duration::from_secs(3_600);

/// Header fields of a request.
pub type Headers<'a> = &'a [(&'a str, &'a str)];

pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// What is between the first pair of these tags.
    pub fn element(&self, name: &str) -> String {
        let text = self.text();
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        let from = text.find(&open).map_or(0, |at| at + open.len());
        text[from..].split(&close).next().unwrap_or_default().to_owned()
    }

    pub fn code(&self) -> String {
        self.element("Code")
    }

    pub fn header(&self, name: &str) -> Option<String> {
        self.headers.get(name).map(|value| value.to_str().unwrap().to_owned())
    }

    pub fn etag(&self) -> String {
        self.header("etag").unwrap_or_default()
    }
}

#[derive(Clone)]
pub struct Client {
    pub bucket: Bucket,
    pub credentials: Credentials,
}

fn agent() -> Agent {
    Agent::config_builder().http_status_as_error(false).build().into()
}

/// The address of a request, which the headers of S3 are signed with.
fn sign<'a>(action: &mut impl S3Action<'a>, headers: Headers<'a>) -> String {
    for (name, value) in headers.iter().filter(|(name, _)| name.starts_with("x-amz-")) {
        action.headers_mut().insert(*name, *value);
    }
    action.sign(HOUR).to_string()
}

/// Sends a request; the body only where one is given.
fn send(method: &str, url: &str, headers: Headers<'_>, body: Option<&[u8]>) -> Answer {
    let mut request = ureq::http::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let sent = match body {
        Some(body) => agent().run(request.body(body).unwrap()),
        None => agent().run(request.body(()).unwrap()),
    };
    let mut response = sent.unwrap();
    Answer {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        body: response.body_mut().with_config().limit(1 << 30).read_to_vec().unwrap_or_default(),
    }
}

impl Client {
    pub fn new(endpoint: &str, bucket: &str, access: &str, secret: &str) -> Self {
        let url = endpoint.parse().unwrap();
        let bucket = Bucket::new(url, UrlStyle::Path, bucket.to_owned(), "us-east-1").unwrap();
        Self { bucket, credentials: Credentials::new(access, secret) }
    }

    /// The same for another bucket.
    pub fn of(&self, bucket: &str) -> Self {
        let url = self.bucket.base_url().join("/").unwrap();
        let bucket = Bucket::new(url, UrlStyle::Path, bucket.to_owned(), "us-east-1").unwrap();
        Self { bucket, credentials: self.credentials.clone() }
    }

    pub fn make(&self) -> Answer {
        let url = self.bucket.create_bucket(&self.credentials).sign(HOUR);
        send("PUT", url.as_str(), &[], Some(b""))
    }

    pub fn remove(&self) -> Answer {
        let url = self.bucket.delete_bucket(&self.credentials).sign(HOUR);
        send("DELETE", url.as_str(), &[], None)
    }

    pub fn put(&self, key: &str, headers: Headers<'_>, body: &[u8]) -> Answer {
        let url = sign(&mut self.bucket.put_object(Some(&self.credentials), key), headers);
        send("PUT", &url, headers, Some(body))
    }

    pub fn get(&self, key: &str, headers: Headers<'_>) -> Answer {
        let url = sign(&mut self.bucket.get_object(Some(&self.credentials), key), headers);
        send("GET", &url, headers, None)
    }

    pub fn head(&self, key: &str, headers: Headers<'_>) -> Answer {
        let url = sign(&mut self.bucket.head_object(Some(&self.credentials), key), headers);
        send("HEAD", &url, headers, None)
    }

    pub fn list(&self) -> Answer {
        let url = self.bucket.list_objects_v2(Some(&self.credentials)).sign(HOUR);
        send("GET", url.as_str(), &[], None)
    }

    pub fn delete(&self, key: &str) -> Answer {
        let url = self.bucket.delete_object(Some(&self.credentials), key).sign(HOUR);
        send("DELETE", url.as_str(), &[], None)
    }

    /// Copies `from` (`bucket/key`).
    pub fn copy(&self, from: &str, key: &str, headers: Headers<'_>) -> Answer {
        let mut all = vec![("x-amz-copy-source", from)];
        all.extend_from_slice(headers);
        self.put(key, &all, b"")
    }

    /// Begins an upload in parts; the answer has its id.
    pub fn begin(&self, key: &str, headers: Headers<'_>) -> Answer {
        let mut action = CreateMultipartUpload::new(&self.bucket, Some(&self.credentials), key);
        let url = sign(&mut action, headers);
        send("POST", &url, headers, Some(b""))
    }

    pub fn part(&self, key: &str, id: &str, number: u16, headers: Headers<'_>, body: &[u8]) -> Answer {
        let mut action = UploadPart::new(&self.bucket, Some(&self.credentials), key, number, id);
        let url = sign(&mut action, headers);
        send("PUT", &url, headers, Some(body))
    }

    pub fn complete(&self, key: &str, id: &str, etags: &[String], headers: Headers<'_>) -> Answer {
        let etags = etags.iter().map(String::as_str);
        let mut action = CompleteMultipartUpload::new(&self.bucket, Some(&self.credentials), key, id, etags);
        let (url, body) = (sign(&mut action, headers), action.body());
        send("POST", &url, headers, Some(body.as_bytes()))
    }

    /// Uploads in parts, all with the same headers.
    pub fn put_in_parts(&self, key: &str, headers: Headers<'_>, parts: &[&[u8]]) -> Answer {
        let id = self.begin(key, headers).element("UploadId");
        let parts = parts.iter().zip(1u16..);
        let etags: Vec<String> =
            parts.map(|(part, number)| self.part(key, &id, number, headers, part).etag()).collect();
        self.complete(key, &id, &etags, headers)
    }

    /// A request for a subresource of the bucket, as `encryption`.
    pub fn subresource(&self, method: Method, name: &'static str, body: &[u8]) -> Answer {
        let url = match method {
            Method::Get => {
                let mut action = self.bucket.get_object(Some(&self.credentials), "");
                action.query_mut().insert(name, "");
                action.sign(HOUR)
            }
            Method::Delete => {
                let mut action = self.bucket.delete_object(Some(&self.credentials), "");
                action.query_mut().insert(name, "");
                action.sign(HOUR)
            }
            _ => {
                let mut action = self.bucket.put_object(Some(&self.credentials), "");
                action.query_mut().insert(name, "");
                action.sign(HOUR)
            }
        };
        match method {
            Method::Get => send("GET", url.as_str(), &[], None),
            Method::Delete => send("DELETE", url.as_str(), &[], None),
            _ => send("PUT", url.as_str(), &[], Some(body)),
        }
    }
}
