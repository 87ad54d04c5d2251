//! The S3 endpoint of a gateway as a shelf: presigned requests of `rusty-s3`, carried by `ureq`.

use std::{
    io::Read,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use arion_daemon::secret_file;
use async_trait::async_trait;
use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};
use serde::Deserialize;
use ureq::{Agent, Body, http::Response};

use super::shelf::{OBJECT_BYTES_MAX, Shelf, ShelfError};

/// How long a signed request is valid.
const VALID_FOR: Duration = Duration::from_secs(15 * 60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(180);
/// Longest error answer that is read.
const ANSWER_BYTES_MAX: u64 = 64 << 10;
const PUBLIC: &str = "public-read";

/// A bucket.
#[derive(Clone)]
pub struct S3Shelf {
    agent: Agent,
    bucket: Bucket,
    credentials: Credentials,
    /// Whether the bucket is known to be there.
    has_bucket: Arc<AtomicBool>,
}

/// What `arion-gateway access-key add --json` prints, as far as it is of interest.
#[derive(Deserialize)]
struct AccessKey {
    access_key: String,
    secret_key: String,
}

impl S3Shelf {
    /// A bucket of an endpoint, with the key in a file that only its owner can read.
    pub fn new(endpoint: &str, region: &str, bucket: &str, key_file: &Path) -> anyhow::Result<Self> {
        let text = secret_file::read(key_file, secret_file::OTHERS)
            .with_context(|| format!("bundle.access_key_file {}", key_file.display()))?;
        let key: AccessKey = serde_json::from_str(&text).map_err(|_| {
            anyhow::anyhow!(
                "bundle.access_key_file {} is not what `arion-gateway access-key add --json` prints",
                key_file.display()
            )
        })?;
        let url = endpoint
            .parse()
            .with_context(|| format!("bundle.endpoint `{endpoint}` is not a URL such as http://HOST:PORT"))?;
        let bucket = Bucket::new(url, UrlStyle::Path, bucket.to_owned(), region.to_owned())
            .with_context(|| format!("bundle.endpoint `{endpoint}` is not an S3 endpoint"))?;
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_global(Some(REQUEST_TIMEOUT))
            .build()
            .into();
        let credentials = Credentials::new(key.access_key, key.secret_key);
        Ok(Self { agent, bucket, credentials, has_bucket: Default::default() })
    }

    fn unreachable(&self, reason: impl std::fmt::Display) -> ShelfError {
        ShelfError::Unreachable { endpoint: self.bucket.base_url().to_string(), reason: reason.to_string() }
    }

    fn accept(
        &self,
        what: &'static str,
        sent: Result<Response<Body>, ureq::Error>,
    ) -> Result<Response<Body>, ShelfError> {
        let mut response = sent.map_err(|error| self.unreachable(error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let text = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string();
        Err(ShelfError::Refused { what, status: status.as_u16(), code: code_of(&text.unwrap_or_default()) })
    }

    fn put_object(&self, name: &str, bytes: &[u8]) -> Result<(), ShelfError> {
        let mut action = self.bucket.put_object(Some(&self.credentials), name);
        action.headers_mut().insert("x-amz-acl", PUBLIC);
        let url = action.sign(VALID_FOR);
        let request = self.agent.put(url.as_str()).header("x-amz-acl", PUBLIC);
        let request = request.header("content-type", "application/octet-stream");
        self.accept("store an object", request.send(bytes)).map(drop)
    }

    /// Makes the bucket where there is none. An endpoint may refuse an object before it has read all of it, which looks like a
    /// broken connection: so the bucket is asked for first.
    fn need_bucket(&self) -> Result<(), ShelfError> {
        let url = self.bucket.head_bucket(Some(&self.credentials)).sign(VALID_FOR);
        match self.accept("use the bucket", self.agent.head(url.as_str()).call()) {
            Err(ShelfError::Refused { status: 404, .. }) => {
                let url = self.bucket.create_bucket(&self.credentials).sign(VALID_FOR);
                self.accept("make the bucket", self.agent.put(url.as_str()).send_empty()).map(drop)
            }
            answer => answer.map(drop),
        }
    }

    fn put_blocking(&self, name: &str, bytes: &[u8]) -> Result<(), ShelfError> {
        if !self.has_bucket.load(Ordering::Relaxed) {
            self.need_bucket()?;
            self.has_bucket.store(true, Ordering::Relaxed);
        }
        let stored = self.put_object(name, bytes);
        if stored.is_err() {
            self.has_bucket.store(false, Ordering::Relaxed);
        }
        stored
    }

    fn get_blocking(&self, name: &str) -> Result<Vec<u8>, ShelfError> {
        let url = self.bucket.object_url(name);
        let response = match self.accept("read an object", self.agent.get(url.as_str()).call()) {
            Err(ShelfError::Refused { status: 401 | 403, .. }) => return Err(ShelfError::Private),
            response => response?,
        };
        let mut bytes = Vec::new();
        let body = response.into_body().into_reader().take(OBJECT_BYTES_MAX as u64 + 1);
        let read = { body }.read_to_end(&mut bytes);
        read.map_err(|error| self.unreachable(error))?;
        Ok(bytes)
    }
}

/// The code in an S3 error answer.
fn code_of(xml: &str) -> String {
    let code = xml.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
    code.map_or_else(String::new, |(code, _)| {
        code.chars().filter(char::is_ascii_alphanumeric).take(64).collect()
    })
}

#[async_trait]
impl Shelf for S3Shelf {
    async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), ShelfError> {
        let (shelf, name) = (self.clone(), name.to_owned());
        let put = tokio::task::spawn_blocking(move || shelf.put_blocking(&name, &bytes));
        put.await.map_err(|_| ShelfError::Stopping)?
    }

    async fn get(&self, name: &str) -> Result<Vec<u8>, ShelfError> {
        let (shelf, name) = (self.clone(), name.to_owned());
        tokio::task::spawn_blocking(move || shelf.get_blocking(&name))
            .await
            .map_err(|_| ShelfError::Stopping)?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_found_in_answers() {
        let xml = "<?xml?><Error><Code>NoSuchBucket</Code><Message>m</Message></Error>";
        assert_eq!(code_of(xml), "NoSuchBucket");
        assert_eq!((code_of(""), code_of("<Code>")), (String::new(), String::new()));
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("key.json");
        std::fs::write(&file, r#"{"access_key":"A","secret_key":"S","account":"a"}"#).unwrap();
        let open = || S3Shelf::new("http://127.0.0.1:1", "us-east-1", "bundles", &file);
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(format!("{:#}", open().err().unwrap()).contains("chmod 600"));
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(open().is_ok());
        std::fs::write(&file, "A\nS\n").unwrap();
        assert!(format!("{:#}", open().err().unwrap()).contains("access-key add --json"));
    }
}
