//! A small S3 client: presigned requests of `rusty-s3`, carried by `ureq`.
//!
//! Requests are signed with version 4 in the query; bodies are checked by MD5 against the ETag that comes back.

use std::{io::Read, time::Duration};

use rusty_s3::{
    Bucket, Credentials, Method, S3Action, UrlStyle,
    actions::{CompleteMultipartUpload, CreateMultipartUpload, ListObjectsV2, UploadPart},
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

/// `s3://bucket/key`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ObjectUrl {
    /// The bucket.
    pub bucket: String,
    /// The key; empty for the bucket itself.
    pub key: String,
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

/// A line of a listing.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Line {
    /// The key, or the folded prefix.
    pub key: String,
    /// Bytes; none for a prefix.
    pub size: Option<u64>,
    /// When it was written; none for a prefix.
    pub modified: Option<String>,
    /// ETag without quotes; none for a prefix.
    pub etag: Option<String>,
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
        Ok(etag.trim_matches('"').to_owned())
    }

    /// Stores a body in one piece; returns its ETag.
    pub fn put(&self, to: &ObjectUrl, body: impl Read, length: u64) -> anyhow::Result<String> {
        let bucket = self.bucket(&to.bucket)?;
        let url = bucket.put_object(Some(&self.credentials), &to.key).sign(VALID_FOR);
        Ok(self.put_body(url.as_str(), body, length, Some("application/octet-stream"))?)
    }

    /// Begins an upload in parts; returns its id.
    pub fn begin_parts(&self, to: &ObjectUrl) -> anyhow::Result<String> {
        let bucket = self.bucket(&to.bucket)?;
        let url = bucket.create_multipart_upload(Some(&self.credentials), &to.key).sign(VALID_FOR);
        let request = self.agent.post(url.as_str()).header("content-type", "application/octet-stream");
        let answer = self.text(self.accept(request.send_empty())?)?;
        Ok(CreateMultipartUpload::parse_response(&answer)?.upload_id().to_owned())
    }

    /// Stores a part; returns its ETag.
    pub fn put_part(
        &self,
        to: &ObjectUrl,
        upload: &str,
        number: u16,
        body: impl Read,
        length: u64,
    ) -> anyhow::Result<String> {
        let bucket = self.bucket(&to.bucket)?;
        let action = UploadPart::new(&bucket, Some(&self.credentials), &to.key, number, upload);
        Ok(self.put_body(action.sign(VALID_FOR).as_str(), body, length, None)?)
    }

    /// Makes an object of the parts, in order.
    pub fn finish_parts(&self, to: &ObjectUrl, upload: &str, etags: &[String]) -> anyhow::Result<()> {
        let bucket = self.bucket(&to.bucket)?;
        let etags = etags.iter().map(String::as_str);
        let action = CompleteMultipartUpload::new(&bucket, Some(&self.credentials), &to.key, upload, etags);
        let url = action.sign(VALID_FOR);
        let body = action.body();
        let answer = self.text(self.accept(self.agent.post(url.as_str()).send(body.as_bytes()))?)?;
        match element(&answer, "Code") {
            None => Ok(()),
            Some(code) => Err(GatewayError::Refused {
                status: 500,
                code,
                message: element(&answer, "Message").unwrap_or_default(),
            }
            .into()),
        }
    }

    /// Gives up an upload in parts.
    pub fn abort_parts(&self, to: &ObjectUrl, upload: &str) -> anyhow::Result<()> {
        let bucket = self.bucket(&to.bucket)?;
        let url = bucket.abort_multipart_upload(Some(&self.credentials), &to.key, upload).sign(VALID_FOR);
        self.accept(self.agent.delete(url.as_str()).call())?;
        Ok(())
    }

    /// Begins to read an object: its length, its ETag, its bytes.
    pub fn get(&self, from: &ObjectUrl) -> anyhow::Result<(u64, String, impl Read + use<>)> {
        let bucket = self.bucket(&from.bucket)?;
        let url = bucket.get_object(Some(&self.credentials), &from.key).sign(VALID_FOR);
        let response = self.accept(self.agent.get(url.as_str()).call())?;
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let length = header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        let etag = header("etag").unwrap_or("").trim_matches('"').to_owned();
        Ok((length, etag, response.into_body().into_reader()))
    }

    /// Lists keys behind a prefix, folded at `/` unless `recursive`.
    pub fn list(&self, at: &ObjectUrl, recursive: bool) -> anyhow::Result<Vec<Line>> {
        let bucket = self.bucket(&at.bucket)?;
        let mut lines = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let mut action = ListObjectsV2::new(&bucket, Some(&self.credentials));
            action.with_prefix(at.key.as_str());
            if !recursive {
                action.with_delimiter("/");
            }
            if let Some(token) = &token {
                action.with_continuation_token(token.as_str());
            }
            let answer = self.text(self.accept(self.agent.get(action.sign(VALID_FOR).as_str()).call())?)?;
            let page = ListObjectsV2::parse_response(&answer)?;
            lines.extend(page.common_prefixes.into_iter().map(|prefix| Line {
                key: prefix.prefix,
                size: None,
                modified: None,
                etag: None,
            }));
            lines.extend(page.contents.into_iter().map(|object| Line {
                key: object.key,
                size: object.size,
                modified: object.last_modified,
                etag: object.etag.map(|etag| etag.trim_matches('"').to_owned()),
            }));
            token = page.next_continuation_token;
            if token.is_none() {
                return Ok(lines);
            }
        }
    }

    /// Makes a bucket.
    pub fn make_bucket(&self, name: &str) -> anyhow::Result<()> {
        let bucket = self.bucket(name)?;
        let url = bucket.create_bucket(&self.credentials).sign(VALID_FOR);
        self.accept(self.agent.put(url.as_str()).send_empty())?;
        Ok(())
    }

    /// Deletes an object.
    pub fn delete(&self, at: &ObjectUrl) -> anyhow::Result<()> {
        let bucket = self.bucket(&at.bucket)?;
        let url = bucket.delete_object(Some(&self.credentials), &at.key).sign(VALID_FOR);
        self.accept(self.agent.delete(url.as_str()).call())?;
        Ok(())
    }

    /// Asks the gateway where an object's shards are; the answer as it came.
    pub fn locate(&self, at: &ObjectUrl) -> anyhow::Result<serde_json::Value> {
        let url = format!("{}/v1/locate", self.endpoint);
        let url = url.parse().map_err(|error| anyhow::anyhow!("`{url}` is not a URL: {error}"))?;
        // The signature's own parameters begin with a capital, which sorts before these.
        let query = [("bucket", at.bucket.as_str()), ("key", at.key.as_str())];
        let signed = sign(
            &jiff::Timestamp::now(),
            Method::Get,
            url,
            self.credentials.key(),
            self.credentials.secret(),
            None,
            &self.region,
            VALID_FOR.as_secs(),
            query.into_iter(),
            std::iter::empty(),
        );
        let answer = self.text(self.accept(self.agent.get(signed.as_str()).call())?)?;
        Ok(serde_json::from_str(&answer)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_urls() {
        let url: ObjectUrl = "s3://b/a/c.txt".parse().unwrap();
        assert_eq!((url.bucket.as_str(), url.key.as_str()), ("b", "a/c.txt"));
        assert_eq!("s3://b".parse::<ObjectUrl>().unwrap().key, "");
        for text in ["b/c", "s3://", "s3:///x", "http://b/c"] {
            assert!(text.parse::<ObjectUrl>().is_err(), "{text}");
        }
    }
}
