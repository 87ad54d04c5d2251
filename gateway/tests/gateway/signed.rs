//! S3 over HTTP on miners in memory, asked with presigned requests of any kind.

use std::{sync::Arc, time::Duration};

use arion_gateway::{
    http::S3Server,
    keys::AccessKeys,
    s3::{self, Store},
};
use rusty_s3::{Credentials, Method};
use ureq::Agent;

use crate::network::{self, Network};

pub struct Served {
    _network: Network,
    server: S3Server,
    pub endpoint: String,
    pub credentials: Credentials,
    _directory: tempfile::TempDir,
}

pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
    pub headers: ureq::http::HeaderMap,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Contents of all elements of this name.
    pub fn all(&self, name: &str) -> Vec<String> {
        let text = self.text();
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        text.split(&open).skip(1).map(|rest| rest[..rest.find(&close).unwrap()].to_owned()).collect()
    }

    /// Contents of the first element of this name.
    pub fn one(&self, name: &str) -> String {
        self.all(name).into_iter().next().unwrap_or_default()
    }

    /// Status and code of an error.
    pub fn error(&self) -> (u16, String) {
        (self.status, self.one("Code"))
    }

    pub fn ok(self) -> Self {
        assert!(self.status < 300, "{} {}", self.status, self.text());
        self
    }
}

pub type Pairs<'a> = &'a [(&'a str, &'a str)];

impl Served {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let network = Network::new();
        let grid = network.grid(directory.path());
        let keys = Arc::new(AccessKeys::new(directory.path().join("keys.toml")));
        let (access, secret) = keys.add("alice", None, None).unwrap();
        let keyring = network::keyring(&grid.meta);
        let (webhooks, credit) = Default::default();
        let store = Store {
            grid,
            keyring,
            keys,
            region: "us-east-1".into(),
            part_bytes_min: 1_000,
            webhooks,
            credit,
        };
        let address = "127.0.0.1:0".parse().unwrap();
        let server =
            S3Server::bind(address, s3::service(store, s3::Domains::default()), Duration::from_secs(1))
                .await
                .unwrap();
        let endpoint = format!("http://{}", server.local_addr());
        let credentials = Credentials::new(access, secret);
        Self { _network: network, server, endpoint, credentials, _directory: directory }
    }

    /// Sends a request; `path` begins with the bucket.
    pub fn send(
        &self,
        method: Method,
        path: &str,
        query: Pairs<'_>,
        headers: Pairs<'_>,
        body: &[u8],
    ) -> Answer {
        // The signature is over parameters and headers in order.
        let mut query = query.to_vec();
        query.sort_unstable();
        let mut signed: Vec<_> =
            headers.iter().filter(|(name, _)| name.starts_with("x-amz-")).copied().collect();
        signed.sort_unstable();
        let url = rusty_s3::signing::sign(
            &jiff::Timestamp::now(),
            method,
            format!("{}/{path}", self.endpoint).parse().unwrap(),
            self.credentials.key(),
            self.credentials.secret(),
            None,
            "us-east-1",
            60,
            query.into_iter(),
            signed.into_iter(),
        );
        let mut request = ureq::http::Request::builder().method(method.to_str()).uri(url.as_str());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let agent: Agent = Agent::config_builder()
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .build()
            .into();
        let mut response =
            match body.is_empty() && matches!(method, Method::Get | Method::Head | Method::Delete) {
                true => agent.run(request.body(()).unwrap()).unwrap(),
                false => agent.run(request.body(body.to_vec()).unwrap()).unwrap(),
            };
        Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.body_mut().with_config().limit(1 << 30).read_to_vec().unwrap(),
        }
    }

    pub fn put(&self, path: &str, headers: Pairs<'_>, body: &[u8]) -> Answer {
        self.send(Method::Put, path, &[], headers, body)
    }

    pub fn get(&self, path: &str, query: Pairs<'_>, headers: Pairs<'_>) -> Answer {
        self.send(Method::Get, path, query, headers, b"")
    }

    pub fn head(&self, path: &str, query: Pairs<'_>, headers: Pairs<'_>) -> Answer {
        self.send(Method::Head, path, query, headers, b"")
    }

    pub fn delete(&self, path: &str, query: Pairs<'_>, headers: Pairs<'_>) -> Answer {
        self.send(Method::Delete, path, query, headers, b"")
    }

    /// Sends XML about a subresource.
    pub fn set(&self, path: &str, what: &str, xml: &str) -> Answer {
        self.send(Method::Put, path, &[(what, "")], &[], xml.as_bytes())
    }

    /// Makes a bucket that keeps versions.
    pub fn versioned(&self, name: &str) {
        self.put(name, &[], b"").ok();
        self.set(
            name,
            "versioning",
            "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>",
        )
        .ok();
    }
}

/// Runs blocking client code beside the server.
pub async fn with_client(test: impl FnOnce(&Served) + Send + 'static) {
    let served = Arc::new(Served::start().await);
    let client = served.clone();
    tokio::task::spawn_blocking(move || test(&client)).await.unwrap();
    Arc::into_inner(served).unwrap().server.shutdown().await;
}
