//! A small S3 client: presigned requests of `rusty-s3`, carried by `ureq`.
//!
//! Requests are signed with version 4 in the query; bodies are checked by MD5 against the ETag that comes back.

pub mod listing;
pub mod parts;

use std::{
    io::Read,
    time::{Duration, SystemTime},
};

use rusty_s3::{
    Bucket, Credentials, Method, S3Action, UrlStyle,
    actions::{DeleteObjectsResponse, ObjectIdentifier},
    signing::sign,
};
use ureq::{Agent, Body, SendBody, http::Response};

use crate::{
    failure::{GatewayError, element},
    settings::Settings,
};

/// How long a signed request is valid.
const VALID_FOR: Duration = Duration::from_secs(15 * 60);
/// Time to connect, and for an answer to begin once a request is sent.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(180);
/// Longest answer that is read into memory.
const ANSWER_BYTES_MAX: u64 = 64 << 20;
/// Most keys in one request to delete.
pub const DELETE_KEYS_MAX: usize = 1_000;
/// What an object is called where nobody says better.
const CONTENT_TYPE: &str = "application/octet-stream";

/// `s3://bucket/key`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ObjectUrl {
    /// The bucket.
    pub bucket: String,
    /// The key; empty for the bucket itself.
    pub key: String,
}

impl ObjectUrl {
    /// Another key in the same bucket.
    pub fn with_key(&self, key: impl Into<String>) -> Self {
        Self { bucket: self.bucket.clone(), key: key.into() }
    }
}

impl std::str::FromStr for ObjectUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || format!("`{text}` is not an object; write s3://bucket/key");
        let rest = text.strip_prefix("s3://").ok_or_else(refused)?;
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(refused());
        }
        Ok(Self { bucket: bucket.to_owned(), key: key.to_owned() })
    }
}

impl std::fmt::Display for ObjectUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.key)
    }
}

/// What is known of an object without its bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head {
    /// Bytes.
    pub size: u64,
    /// ETag without quotes.
    pub etag: String,
    /// When it was written; none if the gateway does not say.
    pub modified: Option<SystemTime>,
}

/// An answer with an object's bytes, or some of them.
pub struct Opened<R> {
    /// The whole object.
    pub head: Head,
    /// The bytes that come.
    pub length: u64,
    /// Where they come from.
    pub body: R,
}

/// The client.
#[derive(Clone)]
pub struct Client {
    agent: Agent,
    endpoint: String,
    region: String,
    credentials: Credentials,
}

impl Client {
    /// For the endpoint and access key of the settings.
    pub fn new(settings: &Settings) -> anyhow::Result<Self> {
        let Some((access_key, secret)) = &settings.credentials else {
            anyhow::bail!(
                "no access key: set ARION_ACCESS_KEY and ARION_SECRET_KEY, or access_key and secret_key in a profile"
            );
        };
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(ANSWER_TIMEOUT))
            .build()
            .into();
        Ok(Self {
            agent,
            endpoint: settings.s3_endpoint.trim_end_matches('/').to_owned(),
            region: settings.region.clone(),
            credentials: Credentials::new(access_key, secret),
        })
    }

    fn bucket(&self, name: &str) -> anyhow::Result<Bucket> {
        let endpoint = self
            .endpoint
            .parse()
            .map_err(|error| anyhow::anyhow!("`{}` is not an S3 endpoint: {error}", self.endpoint))?;
        Ok(Bucket::new(endpoint, UrlStyle::Path, name.to_owned(), self.region.clone())?)
    }

    /// Signs a request that `rusty-s3` has no action for. `query` is sorted by name.
    fn signed(&self, method: Method, path: &str, query: &[(&str, &str)]) -> anyhow::Result<String> {
        let url = format!("{}{path}", self.endpoint);
        let url = url.parse().map_err(|error| anyhow::anyhow!("`{url}` is not a URL: {error}"))?;
        // The signature's own parameters begin with a capital, which sorts before these.
        let signed = sign(
            &jiff::Timestamp::now(),
            method,
            url,
            self.credentials.key(),
            self.credentials.secret(),
            None,
            &self.region,
            VALID_FOR.as_secs(),
            query.iter().copied(),
            std::iter::empty(),
        );
        Ok(signed.into())
    }

    fn unreachable(&self, error: ureq::Error) -> GatewayError {
        GatewayError::Unreachable { endpoint: self.endpoint.clone(), reason: error.to_string() }
    }

    fn accept(&self, sent: Result<Response<Body>, ureq::Error>) -> Result<Response<Body>, GatewayError> {
        let mut response = sent.map_err(|error| self.unreachable(error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let text = response.body_mut().read_to_string().unwrap_or_default();
        let fallback = status.canonical_reason().unwrap_or("error");
        Err(GatewayError::Refused {
            status: status.as_u16(),
            code: element(&text, "Code").unwrap_or_else(|| fallback.to_owned()),
            message: element(&text, "Message").unwrap_or_else(|| format!("HTTP status {status}")),
        })
    }

    fn text(&self, response: Response<Body>) -> Result<String, GatewayError> {
        let mut body = response.into_body();
        let read = body.with_config().limit(ANSWER_BYTES_MAX).read_to_string();
        read.map_err(|error| self.unreachable(error))
    }

    /// The text of an answer that may be an error although its status is 200: it was begun before the end was known.
    fn late_text(&self, response: Response<Body>) -> Result<String, GatewayError> {
        let answer = self.text(response)?;
        match element(&answer, "Code") {
            Some(code) if answer.contains("<Error>") => Err(GatewayError::Refused {
                status: 500,
                code,
                message: element(&answer, "Message").unwrap_or_default(),
            }),
            _ => Ok(answer),
        }
    }

    fn put_body(
        &self,
        url: &str,
        body: impl Read,
        length: u64,
        content_type: Option<&str>,
    ) -> Result<String, GatewayError> {
        let mut body = body;
        let mut request = self.agent.put(url).header("content-length", length.to_string());
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        let response = self.accept(request.send(SendBody::from_reader(&mut body)))?;
        let etag = response.headers().get("etag").and_then(|etag| etag.to_str().ok()).unwrap_or("");
        Ok(unquoted(etag))
    }

    /// Stores a body in one piece; returns its ETag.
    pub fn put(
        &self,
        to: &ObjectUrl,
        body: impl Read,
        length: u64,
        content_type: Option<&str>,
    ) -> anyhow::Result<String> {
        let bucket = self.bucket(&to.bucket)?;
        let url = bucket.put_object(Some(&self.credentials), &to.key).sign(VALID_FOR);
        Ok(self.put_body(url.as_str(), body, length, Some(content_type.unwrap_or(CONTENT_TYPE)))?)
    }

    /// Copies an object within the gateway; returns the ETag of the copy.
    pub fn copy(&self, from: &ObjectUrl, to: &ObjectUrl) -> anyhow::Result<String> {
        let source = self.bucket(&from.bucket)?;
        let source = format!("/{}{}", from.bucket, path_behind_bucket(&source, &from.key));
        let bucket = self.bucket(&to.bucket)?;
        let mut action = bucket.put_object(Some(&self.credentials), &to.key);
        action.headers_mut().insert("x-amz-copy-source", source.as_str());
        let url = action.sign(VALID_FOR);
        let request = self.agent.put(url.as_str()).header("x-amz-copy-source", source.as_str());
        let answer = self.late_text(self.accept(request.send_empty())?)?;
        Ok(unquoted(&element(&answer, "ETag").unwrap_or_default()))
    }

    /// What an object is, without its bytes.
    pub fn head(&self, at: &ObjectUrl) -> anyhow::Result<Head> {
        let bucket = self.bucket(&at.bucket)?;
        let url = bucket.head_object(Some(&self.credentials), &at.key).sign(VALID_FOR);
        match self.accept(self.agent.head(url.as_str()).call()) {
            Ok(response) => Ok(head_of(&response)),
            // An answer to HEAD has no body to say it.
            Err(GatewayError::Refused { status: 404, .. }) => Err(GatewayError::Refused {
                status: 404,
                code: "NoSuchKey".to_owned(),
                message: format!("{at} does not exist"),
            }
            .into()),
            Err(error) => Err(error.into()),
        }
    }

    /// Begins to read an object, or some of its bytes: `range` is the first and the last. With `etag`, only if the object
    /// still has that ETag.
    pub fn open(
        &self,
        from: &ObjectUrl,
        range: Option<(u64, u64)>,
        etag: Option<&str>,
    ) -> anyhow::Result<Opened<impl Read + Send + use<>>> {
        let bucket = self.bucket(&from.bucket)?;
        let url = bucket.get_object(Some(&self.credentials), &from.key).sign(VALID_FOR);
        let mut request = self.agent.get(url.as_str());
        if let Some((first, last)) = range {
            request = request.header("range", format!("bytes={first}-{last}"));
        }
        if let Some(etag) = etag {
            request = request.header("if-match", format!("\"{etag}\""));
        }
        let response = self.accept(request.call())?;
        let mut head = head_of(&response);
        let length = head.size;
        let total = header(&response, "content-range").and_then(|text| text.rsplit('/').next()?.parse().ok());
        head.size = total.unwrap_or(length);
        Ok(Opened { head, length, body: response.into_body().into_reader() })
    }

    /// Makes a bucket.
    pub fn make_bucket(&self, name: &str) -> anyhow::Result<()> {
        let bucket = self.bucket(name)?;
        let url = bucket.create_bucket(&self.credentials).sign(VALID_FOR);
        self.accept(self.agent.put(url.as_str()).send_empty())?;
        Ok(())
    }

    /// Removes an empty bucket.
    pub fn remove_bucket(&self, name: &str) -> anyhow::Result<()> {
        let bucket = self.bucket(name)?;
        let url = bucket.delete_bucket(&self.credentials).sign(VALID_FOR);
        self.accept(self.agent.delete(url.as_str()).call())?;
        Ok(())
    }

    /// Deletes an object. Not an error where there is none.
    pub fn delete(&self, at: &ObjectUrl) -> anyhow::Result<()> {
        let bucket = self.bucket(&at.bucket)?;
        let url = bucket.delete_object(Some(&self.credentials), &at.key).sign(VALID_FOR);
        self.accept(self.agent.delete(url.as_str()).call())?;
        Ok(())
    }

    /// Deletes objects of a bucket, at most [`DELETE_KEYS_MAX`].
    pub fn delete_all(&self, bucket: &str, keys: &[String]) -> anyhow::Result<()> {
        // XML has no words for control characters.
        let (plain, odd): (Vec<_>, Vec<_>) =
            keys.iter().partition(|key| !key.chars().any(|c| c.is_control() || c >= '\u{fffe}'));
        for key in odd {
            self.delete(&ObjectUrl { bucket: bucket.to_owned(), key: key.clone() })?;
        }
        if plain.is_empty() {
            return Ok(());
        }
        let bucket = self.bucket(bucket)?;
        let objects: Vec<ObjectIdentifier> =
            plain.into_iter().map(|key| ObjectIdentifier::new(key.clone())).collect();
        let mut action = bucket.delete_objects(Some(&self.credentials), objects.iter());
        action.set_quiet(true);
        let url = action.sign(VALID_FOR);
        let (body, md5) = action.body_with_md5();
        let request = self.agent.post(url.as_str()).header("content-md5", md5);
        let answer = self.text(self.accept(request.send(body.as_bytes()))?)?;
        match DeleteObjectsResponse::parse(&answer)?.errors.into_iter().next() {
            None => Ok(()),
            Some(_) => Err(GatewayError::Refused {
                status: 500,
                code: element(&answer, "Code").unwrap_or_default(),
                message: format!(
                    "{} was not deleted: {}",
                    element(&answer, "Key").unwrap_or_default(),
                    element(&answer, "Message").unwrap_or_default()
                ),
            }
            .into()),
        }
    }

    /// A link that reads an object, or writes one, without a key.
    pub fn share(&self, at: &ObjectUrl, write: bool, valid_for: Duration) -> anyhow::Result<String> {
        let bucket = self.bucket(&at.bucket)?;
        Ok(if write {
            bucket.put_object(Some(&self.credentials), &at.key).sign(valid_for)
        } else {
            bucket.get_object(Some(&self.credentials), &at.key).sign(valid_for)
        }
        .into())
    }

    /// Asks the gateway where an object's shards are; the answer as it came.
    pub fn locate(&self, at: &ObjectUrl) -> anyhow::Result<serde_json::Value> {
        let query = [("bucket", at.bucket.as_str()), ("key", at.key.as_str())];
        let url = self.signed(Method::Get, "/v1/locate", &query)?;
        let answer = self.text(self.accept(self.agent.get(url).call())?)?;
        Ok(serde_json::from_str(&answer)?)
    }

    /// Asks the gateway for the receipt of an object, or of one of its versions; the answer as it came.
    pub fn receipt(&self, at: &ObjectUrl, version: Option<&str>) -> anyhow::Result<String> {
        let mut query = vec![("bucket", at.bucket.as_str()), ("key", at.key.as_str())];
        query.extend(version.map(|version| ("versionId", version)));
        let url = self.signed(Method::Get, "/v1/receipt", &query)?;
        Ok(self.text(self.accept(self.agent.get(url).call())?)?)
    }
}

/// `/key`, percent-encoded as in a URL.
fn path_behind_bucket(bucket: &Bucket, key: &str) -> String {
    let (base, object) = (bucket.base_url().path().len(), bucket.object_url(key));
    format!("/{}", &object.path()[base..])
}

fn unquoted(etag: &str) -> String {
    etag.trim_matches('"').to_owned()
}

fn header<'a>(response: &'a Response<Body>, name: &str) -> Option<&'a str> {
    response.headers().get(name).and_then(|value| value.to_str().ok())
}

fn head_of(response: &Response<Body>) -> Head {
    let modified = header(response, "last-modified").and_then(|text| {
        let parsed = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
        Some(SystemTime::from(parsed))
    });
    Head {
        size: header(response, "content-length").and_then(|text| text.parse().ok()).unwrap_or(0),
        etag: unquoted(header(response, "etag").unwrap_or("")),
        modified,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_urls() {
        let url: ObjectUrl = "s3://b/a/c.txt".parse().unwrap();
        assert_eq!((url.bucket.as_str(), url.key.as_str()), ("b", "a/c.txt"));
        assert_eq!(url.to_string(), "s3://b/a/c.txt");
        assert_eq!("s3://b".parse::<ObjectUrl>().unwrap().key, "");
        for text in ["b/c", "s3://", "s3:///x", "http://b/c"] {
            assert!(text.parse::<ObjectUrl>().is_err(), "{text}");
        }
    }

    #[test]
    fn sources_of_copies_are_encoded_and_begin_with_the_bucket() {
        let endpoint = "http://h:1/prefix".parse().unwrap();
        let bucket = Bucket::new(endpoint, UrlStyle::Path, "b".to_owned(), "r".to_owned()).unwrap();
        assert_eq!(path_behind_bucket(&bucket, "d/a ü?"), "/d/a%20%C3%BC%3F");
    }
}
