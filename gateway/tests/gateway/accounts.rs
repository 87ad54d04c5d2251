//! S3 over HTTP on miners in memory for two accounts and for somebody anonymous.

use std::{sync::Arc, time::Duration};

use arion_gateway::{
    billing::credit::Credit,
    grid::Grid,
    http::S3Server,
    keys::{AccessKeys, Changed, NewKey},
    notify::Webhooks,
    s3::{self, Domains, Store},
    scope::{Access, Scope},
};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use ring::hmac;
use rusty_s3::{Credentials, Method};
use ureq::Agent;

use crate::network::{self, Network};

pub struct Served {
    server: S3Server,
    pub endpoint: String,
    pub alice: Credentials,
    pub bob: Credentials,
    pub keys: Arc<AccessKeys>,
    pub grid: Arc<Grid>,
    _network: Network,
    _directory: tempfile::TempDir,
}

pub struct Answer {
    pub status: u16,
    pub text: String,
    pub headers: ureq::http::HeaderMap,
}

impl Answer {
    pub fn code(&self) -> &str {
        let from = self.text.find("<Code>").map_or(0, |at| at + 6);
        &self.text[from..self.text.find("</Code>").unwrap_or(from)]
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

async fn serve(shows_page: bool, webhooks: Arc<Webhooks>) -> Served {
    serve_with(shows_page, webhooks, |_| Arc::default()).await
}

async fn serve_with(
    shows_page: bool,
    webhooks: Arc<Webhooks>,
    credit: impl FnOnce(&Arc<AccessKeys>) -> Arc<Credit>,
) -> Served {
    let directory = tempfile::tempdir().unwrap();
    let network = Network::new();
    let grid = network.grid(directory.path());
    let keys = Arc::new(AccessKeys::new(directory.path().join("keys.toml")));
    let (alice, bob) = (keys.add("alice", None, None).unwrap(), keys.add("bob", None, None).unwrap());
    let region = "us-east-1".to_owned();
    let keyring = network::keyring(&grid.meta);
    let (served_grid, served_keys) = (grid.clone(), keys.clone());
    let credit = credit(&keys);
    let store = Store { grid, keyring, keys, region, part_bytes_min: 1_000, webhooks, credit };
    let domains = Domains { s3: vec!["s3.test".into()], website: vec!["web.test".into()] };
    let address = "127.0.0.1:0".parse().unwrap();
    let service = s3::service(store, domains).with_page(shows_page);
    let server = S3Server::bind(address, service, Duration::from_secs(1)).await.unwrap();
    let endpoint = format!("http://{}", server.local_addr());
    Served {
        server,
        endpoint,
        alice: Credentials::new(alice.0, alice.1),
        bob: Credentials::new(bob.0, bob.1),
        keys: served_keys,
        grid: served_grid,
        _network: network,
        _directory: directory,
    }
}

/// Runs blocking client code beside the server.
pub async fn with_client(test: impl FnOnce(&Served) + Send + 'static) {
    run(serve(true, Arc::default()).await, test).await;
}

/// The same without the status page.
pub async fn with_client_and_no_page(test: impl FnOnce(&Served) + Send + 'static) {
    run(serve(false, Arc::default()).await, test).await;
}

/// The same with webhooks that buckets can name.
pub async fn with_webhooks(webhooks: Arc<Webhooks>, test: impl FnOnce(&Served) + Send + 'static) {
    run(serve(true, webhooks).await, test).await;
}

/// The same with accounts that pay.
pub async fn with_credit(
    credit: impl FnOnce(&Arc<AccessKeys>) -> Arc<Credit>,
    test: impl FnOnce(&Served) + Send + 'static,
) {
    run(serve_with(false, Arc::default(), credit).await, test).await;
}

async fn run(served: Served, test: impl FnOnce(&Served) + Send + 'static) {
    let served = Arc::new(served);
    let client = served.clone();
    tokio::task::spawn_blocking(move || test(&client)).await.unwrap();
    let Served { server, grid, .. } = Arc::into_inner(served).unwrap();
    server.shutdown().await;
    assert!(grid.meta.recount_occupied().await.unwrap(), "what is noted as occupied is not what there is");
}

fn agent() -> Agent {
    Agent::config_builder().http_status_as_error(false).max_redirects(0).build().into()
}

impl Served {
    /// Another access key, which may do no more than this.
    pub fn scoped(&self, account: &str, access: Access, places: &[&str]) -> Credentials {
        let places = places.iter().map(|place| place.parse().unwrap()).collect();
        self.add_key(NewKey { scope: Scope { access, places }, ..NewKey::full(account.parse().unwrap()) })
    }

    pub fn add_key(&self, new: NewKey) -> Credentials {
        let (key, secret) = self.keys.add_key(new).unwrap();
        Credentials::new(key, secret)
    }

    pub fn limit(&self, account: &str, changed: Changed) {
        self.keys.set_account(&account.parse().unwrap(), changed).unwrap();
    }

    /// Puts an object or a bucket.
    pub fn put_as(&self, who: &Credentials, path: &str, body: &[u8]) -> Answer {
        self.ask(Some(who), "PUT", path, body, &[])
    }

    /// The address of a request, signed. `path` may have a query; the headers are signed with it.
    pub fn signed(&self, who: &Credentials, method: &str, path: &str, headers: &[(&str, &str)]) -> String {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let mut pairs: Vec<_> = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect();
        // The signature is over parameters and headers in order.
        pairs.sort_unstable();
        let mut headers: Vec<_> =
            headers.iter().filter(|(name, _)| name.starts_with("x-amz-")).copied().collect();
        headers.sort_unstable();
        let method = match method {
            "GET" => Method::Get,
            "PUT" => Method::Put,
            "POST" => Method::Post,
            "HEAD" => Method::Head,
            _ => Method::Delete,
        };
        let signed = rusty_s3::signing::sign(
            &jiff::Timestamp::now(),
            method,
            format!("{}{path}", self.endpoint).parse().unwrap(),
            who.key(),
            who.secret(),
            None,
            "us-east-1",
            3_600,
            pairs.into_iter(),
            headers.into_iter(),
        );
        signed.to_string()
    }

    /// Sends a request to an address.
    pub fn send(&self, method: &str, address: &str, body: &[u8], headers: &[(&str, &str)]) -> Answer {
        let mut request = ureq::http::Request::builder().method(method).uri(address);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut response = agent().run(request.body(body.to_vec()).unwrap()).unwrap();
        Answer {
            status: response.status().as_u16(),
            text: response.body_mut().read_to_string().unwrap(),
            headers: response.headers().clone(),
        }
    }

    /// Sends a request, signed if somebody signs it.
    pub fn ask(
        &self,
        who: Option<&Credentials>,
        method: &str,
        path: &str,
        body: &[u8],
        headers: &[(&str, &str)],
    ) -> Answer {
        let address = match who {
            Some(who) => self.signed(who, method, path, headers),
            None => format!("{}{path}", self.endpoint),
        };
        self.send(method, &address, body, headers)
    }

    pub fn put(&self, path: &str, body: &str) {
        let answer = self.ask(Some(&self.alice), "PUT", path, body.as_bytes(), &[]);
        assert!(answer.status < 300, "{path}: {} {}", answer.status, answer.text);
    }

    pub fn form(&self, bucket: &str, fields: &[(&str, &str)]) -> Answer {
        let mut body = String::new();
        for (name, value) in fields {
            body.push_str(&format!(
                "--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
            ));
        }
        body.push_str("--x--\r\n");
        let kind = [("content-type", "multipart/form-data; boundary=x")];
        self.ask(None, "POST", &format!("/{bucket}"), body.as_bytes(), &kind)
    }
}

impl Served {
    /// A form whose policy somebody signed, as version 2 does it.
    pub fn signed_form(&self, who: &Credentials, bucket: &str, key: &str, file: &str) -> Answer {
        let document = format!(
            r#"{{"expiration":"2099-01-01T00:00:00Z","conditions":[{{"bucket":"{bucket}"}},
            ["starts-with","$key",""]]}}"#
        );
        let policy = BASE64.encode(document);
        let secret = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, who.secret().as_bytes());
        let signature = BASE64.encode(hmac::sign(&secret, policy.as_bytes()));
        let fields = [
            ("key", key),
            ("AWSAccessKeyId", who.key()),
            ("policy", &policy),
            ("signature", &signature),
            ("file", file),
        ];
        self.form(bucket, &fields)
    }
}

pub fn policy(effect: &str, action: &str, resource: &str) -> String {
    format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"{effect}","Principal":"*","Action":"{action}",
        "Resource":"arn:aws:s3:::{resource}"}}]}}"#
    )
}
