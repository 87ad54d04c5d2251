//! An S3 client that costs little: signed URLs, one connection for each request under way, every segment acknowledged at once.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, StatusCode, client::conn::http1::SendRequest, header};
use hyper_util::rt::TokioIo;
use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

const SIGNED_FOR: Duration = Duration::from_secs(3_600);

/// Where an S3 endpoint is and how to sign for it.
#[derive(Clone, Debug, serde::Deserialize)]
pub struct Endpoint {
    #[serde(rename = "endpoint")]
    pub url: String,
    pub access_key: String,
    pub secret_key: String,
    pub region: String,
}

/// A bucket at an endpoint.
pub struct Target {
    address: String,
    bucket: Bucket,
    credentials: Credentials,
}

impl Target {
    pub fn new(endpoint: &Endpoint, bucket: &str) -> anyhow::Result<Self> {
        let url = endpoint.url.parse().with_context(|| format!("{} is no URL", endpoint.url))?;
        let address = endpoint.url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let bucket = Bucket::new(url, UrlStyle::Path, bucket.to_owned(), endpoint.region.clone())?;
        let credentials = Credentials::new(endpoint.access_key.clone(), endpoint.secret_key.clone());
        Ok(Self { address, bucket, credentials })
    }

    /// A new connection.
    pub async fn connect(&self) -> anyhow::Result<Connection> {
        let stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        let (requests, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(QuickAck(stream))).await?;
        tokio::spawn(connection);
        Ok(Connection { requests, address: self.address.clone() })
    }

    pub async fn make_bucket(&self) -> anyhow::Result<()> {
        let url = self.bucket.create_bucket(&self.credentials).sign(SIGNED_FOR);
        let (status, body) = self.connect().await?.send(Method::PUT, &url, None, Bytes::new()).await?;
        ensure!(status.is_success(), "the bucket was not made: {status} {}", text(&body));
        Ok(())
    }

    pub async fn put(&self, on: &mut Connection, key: &str, body: Bytes) -> anyhow::Result<()> {
        let url = self.bucket.put_object(Some(&self.credentials), key).sign(SIGNED_FOR);
        let (status, answer) = on.send(Method::PUT, &url, None, body).await?;
        ensure!(status.is_success(), "PUT {key}: {status} {}", text(&answer));
        Ok(())
    }

    /// Begins an upload in parts.
    pub async fn begin(&self, on: &mut Connection, key: &str) -> anyhow::Result<String> {
        let url = self.bucket.create_multipart_upload(Some(&self.credentials), key).sign(SIGNED_FOR);
        let (status, body) = on.send(Method::POST, &url, None, Bytes::new()).await?;
        ensure!(status.is_success(), "upload of {key}: {status} {}", text(&body));
        let made = rusty_s3::actions::CreateMultipartUpload::parse_response(std::str::from_utf8(&body)?)?;
        Ok(made.upload_id().to_owned())
    }

    /// Sends a part and returns its ETag.
    pub async fn part(
        &self,
        on: &mut Connection,
        (key, upload): (&str, &str),
        number: u16,
        body: Bytes,
    ) -> anyhow::Result<String> {
        let url = self.bucket.upload_part(Some(&self.credentials), key, number, upload).sign(SIGNED_FOR);
        let answer = on.request(Method::PUT, &url, None, body).await?;
        let (status, etag) = (answer.status(), answer.headers().get(header::ETAG).cloned());
        let said = answer.into_body().collect().await?.to_bytes();
        ensure!(status.is_success(), "part {number} of {key}: {status} {}", text(&said));
        Ok(etag.context("a part without an ETag")?.to_str()?.to_owned())
    }

    /// Makes an object of the parts.
    pub async fn complete<'a>(
        &'a self,
        on: &mut Connection,
        (key, upload): (&'a str, &'a str),
        etags: impl Iterator<Item = &'a str> + 'a,
    ) -> anyhow::Result<()> {
        let action = self.bucket.complete_multipart_upload(Some(&self.credentials), key, upload, etags);
        let url = action.sign(SIGNED_FOR);
        let (status, body) = on.send(Method::POST, &url, None, action.body().into()).await?;
        ensure!(status.is_success(), "completing {key}: {status} {}", text(&body));
        Ok(())
    }

    /// Reads an object, or `length` bytes of it from `start`, and returns how many came.
    pub async fn get(
        &self,
        on: &mut Connection,
        key: &str,
        range: Option<(u64, u64)>,
    ) -> anyhow::Result<u64> {
        let url = self.bucket.get_object(Some(&self.credentials), key).sign(SIGNED_FOR);
        let range = range.map(|(start, length)| format!("bytes={start}-{}", start + length - 1));
        let mut answer = on.request(Method::GET, &url, range.as_deref(), Bytes::new()).await?;
        if !answer.status().is_success() {
            bail!("GET {key}: {} {}", answer.status(), text(&answer.into_body().collect().await?.to_bytes()));
        }
        let mut bytes = 0;
        while let Some(frame) = answer.frame().await {
            bytes += frame?.data_ref().map_or(0, |data| data.len() as u64);
        }
        Ok(bytes)
    }

    /// Keys of one page of a list.
    pub async fn list(
        &self,
        on: &mut Connection,
        prefix: &str,
        after: Option<&str>,
    ) -> anyhow::Result<Vec<String>> {
        let mut list = self.bucket.list_objects_v2(Some(&self.credentials));
        list.with_prefix(prefix);
        if let Some(after) = after {
            list.with_start_after(after);
        }
        let (status, body) = on.send(Method::GET, &list.sign(SIGNED_FOR), None, Bytes::new()).await?;
        ensure!(status.is_success(), "LIST {prefix}: {status} {}", text(&body));
        let page = rusty_s3::actions::ListObjectsV2::parse_response(std::str::from_utf8(&body)?)?;
        Ok(page.contents.into_iter().map(|object| object.key).collect())
    }
}

/// One connection; one request at a time.
pub struct Connection {
    requests: SendRequest<Full<Bytes>>,
    address: String,
}

impl Connection {
    async fn request(
        &mut self,
        method: Method,
        url: &impl std::fmt::Display,
        range: Option<&str>,
        body: Bytes,
    ) -> anyhow::Result<hyper::Response<hyper::body::Incoming>> {
        let url = url.to_string();
        let path = url.find("//").and_then(|at| url[at + 2..].find('/').map(|slash| &url[at + 2 + slash..]));
        let mut request = Request::builder()
            .method(method)
            .uri(path.context("a URL without a path")?)
            .header(header::HOST, &self.address);
        if let Some(range) = range {
            request = request.header(header::RANGE, range);
        }
        self.requests.ready().await?;
        Ok(self.requests.send_request(request.body(Full::new(body))?).await?)
    }

    async fn send(
        &mut self,
        method: Method,
        url: &impl std::fmt::Display,
        range: Option<&str>,
        body: Bytes,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        let answer = self.request(method, url, range, body).await?;
        let status = answer.status();
        Ok((status, answer.into_body().collect().await?.to_bytes()))
    }
}

fn text(body: &[u8]) -> String {
    String::from_utf8_lossy(&body[..body.len().min(500)]).into_owned()
}

/// TCP whose receiver never delays an acknowledgement: a server that sends an answer in two segments without TCP_NODELAY
/// would wait 40 ms for it, and be measured by that.
struct QuickAck(TcpStream);

impl AsyncRead for QuickAck {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // The kernel goes back to delaying by itself.
        SockRef::from(&self.0).set_tcp_quickack(true)?;
        ready!(Pin::new(&mut self.0).poll_read(context, buffer))?;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for QuickAck {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
