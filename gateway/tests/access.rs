//! Who may do what, over HTTP: policies, lists, anonymous requests, forms, pages of other origins, websites.

#![allow(missing_docs, clippy::unwrap_used)]

mod network;

use std::{sync::Arc, time::Duration};

use arion_gateway::{
    http::S3Server,
    keys::AccessKeys,
    s3::{self, Domains, Store},
};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use network::Network;
use rusty_s3::{Credentials, Method};
use ureq::Agent;

struct Served {
    server: S3Server,
    endpoint: String,
    alice: Credentials,
    bob: Credentials,
    _network: Network,
    _directory: tempfile::TempDir,
}

struct Answer {
    status: u16,
    text: String,
    headers: ureq::http::HeaderMap,
}

impl Answer {
    fn code(&self) -> &str {
        let from = self.text.find("<Code>").map_or(0, |at| at + 6);
        &self.text[from..self.text.find("</Code>").unwrap_or(from)]
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

async fn serve() -> Served {
    let directory = tempfile::tempdir().unwrap();
    let network = Network::new();
    let grid = network.grid(directory.path());
    let keys = Arc::new(AccessKeys::new(directory.path().join("keys.toml")));
    let (alice, bob) = (keys.add("alice", None, None).unwrap(), keys.add("bob", None, None).unwrap());
    let region = "us-east-1".to_owned();
    let store = Store { grid, accounts: network::accounts(), keys, region, part_bytes_min: 1_000 };
    let domains = Domains { s3: vec!["s3.test".into()], website: vec!["web.test".into()] };
    let address = "127.0.0.1:0".parse().unwrap();
    let server = S3Server::bind(address, s3::service(store, domains), Duration::from_secs(1)).await.unwrap();
    let endpoint = format!("http://{}", server.local_addr());
    Served {
        server,
        endpoint,
        alice: Credentials::new(alice.0, alice.1),
        bob: Credentials::new(bob.0, bob.1),
        _network: network,
        _directory: directory,
    }
}

/// Runs blocking client code beside the server.
async fn with_client(test: impl FnOnce(&Served) + Send + 'static) {
    let served = Arc::new(serve().await);
    let client = served.clone();
    tokio::task::spawn_blocking(move || test(&client)).await.unwrap();
    Arc::into_inner(served).unwrap().server.shutdown().await;
}

fn agent() -> Agent {
    Agent::config_builder().http_status_as_error(false).max_redirects(0).build().into()
}

impl Served {
    /// Sends a request, signed if somebody signs it. `path` may have a query.
    fn ask(
        &self,
        who: Option<&Credentials>,
        method: &str,
        path: &str,
        body: &[u8],
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut url = format!("{}{path}", self.endpoint);
        if let Some(who) = who {
            let (path, query) = path.split_once('?').unwrap_or((path, ""));
            let pairs = query.split('&').filter(|pair| !pair.is_empty());
            let pairs: Vec<_> = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect();
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
                std::iter::empty(),
            );
            url = signed.to_string();
        }
        let mut request = ureq::http::Request::builder().method(method).uri(url.as_str());
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

    fn put(&self, path: &str, body: &str) {
        let answer = self.ask(Some(&self.alice), "PUT", path, body.as_bytes(), &[]);
        assert!(answer.status < 300, "{path}: {} {}", answer.status, answer.text);
    }

    fn form(&self, bucket: &str, fields: &[(&str, &str)]) -> Answer {
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

fn policy(effect: &str, action: &str, resource: &str) -> String {
    format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"{effect}","Principal":"*","Action":"{action}",
        "Resource":"arn:aws:s3:::{resource}"}}]}}"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_gets_anything_until_the_owner_says_so() {
    with_client(|served| {
        served.put("/first", "");
        served.put("/first/k", "hello");
        for who in [None, Some(&served.bob)] {
            for (method, path) in [
                ("GET", "/first/k"),
                ("GET", "/first/missing"),
                ("GET", "/first"),
                ("PUT", "/first/k"),
                ("DELETE", "/first/k"),
                ("GET", "/first?policy"),
                ("GET", "/first?acl"),
                ("PUT", "/first?policy"),
                ("DELETE", "/first"),
                ("POST", "/first/k?uploads"),
            ] {
                let answer = served.ask(who, method, path, b"", &[]);
                assert_eq!((answer.status, answer.code()), (403, "AccessDenied"), "{method} {path}");
            }
        }
        assert_eq!(served.ask(None, "GET", "/", b"", &[]).code(), "AccessDenied");
        assert_eq!(served.ask(None, "PUT", "/second", b"", &[]).code(), "AccessDenied");

        served.put("/first?policy", &policy("Allow", "s3:GetObject", "first/*"));
        assert_eq!(served.ask(None, "GET", "/first/k", b"", &[]).text, "hello");
        assert_eq!(served.ask(None, "GET", "/first/missing", b"", &[]).code(), "AccessDenied");
        assert_eq!(served.ask(None, "DELETE", "/first/k", b"", &[]).code(), "AccessDenied");
        served.put("/first?policy", &policy("Deny", "s3:GetObject", "first/*"));
        assert_eq!(served.ask(Some(&served.alice), "GET", "/first/k", b"", &[]).code(), "AccessDenied");
        let gone = served.ask(Some(&served.alice), "DELETE", "/first?policy", b"", &[]);
        assert_eq!(gone.status, 204);
        assert_eq!(served.ask(Some(&served.alice), "GET", "/first/k", b"", &[]).text, "hello");

        served.put("/open", "");
        let public = [("x-amz-acl", "public-read")];
        let put = served.ask(Some(&served.alice), "PUT", "/open?acl", b"", &public);
        assert_eq!(put.status, 200, "{}", put.text);
        assert_eq!(served.ask(None, "GET", "/open", b"", &[]).status, 200);
        assert_eq!(served.ask(None, "GET", "/open/missing", b"", &[]).code(), "NoSuchKey");
        assert_eq!(served.ask(None, "PUT", "/open/k", b"x", &[]).code(), "AccessDenied");
        served.put(
            "/open?publicAccessBlock",
            "<PublicAccessBlockConfiguration><IgnorePublicAcls>true</IgnorePublicAcls>\
             <BlockPublicPolicy>true</BlockPublicPolicy></PublicAccessBlockConfiguration>",
        );
        assert_eq!(served.ask(None, "GET", "/open", b"", &[]).code(), "AccessDenied");
        let public = policy("Allow", "s3:GetObject", "open/*");
        let refused = served.ask(Some(&served.alice), "PUT", "/open?policy", public.as_bytes(), &[]);
        assert_eq!(refused.code(), "AccessDenied");
        let broken = served.ask(Some(&served.alice), "PUT", "/open?policy", b"{}", &[]);
        assert_eq!(broken.code(), "MalformedPolicy");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_that_are_not_offered_say_so() {
    with_client(|served| {
        served.put("/first", "");
        for (method, path) in [
            ("GET", "/first?logging"),
            ("GET", "/first?accelerate"),
            ("GET", "/first?replication"),
            ("GET", "/first?inventory&id=x"),
            ("GET", "/first/k?torrent"),
        ] {
            let answer = served.ask(Some(&served.alice), method, path, b"", &[]);
            assert_eq!((answer.status, answer.code()), (501, "NotImplemented"), "{method} {path}");
            let id = answer.header("x-amz-request-id");
            assert!(answer.text.contains(&format!("<RequestId>{id}</RequestId>")), "{}", answer.text);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_put_what_their_policy_allows() {
    with_client(|served| {
        served.put("/first", "");
        let open = [("key", "k"), ("file", "x")];
        assert_eq!(served.form("first", &open).code(), "AccessDenied");
        let document = r#"{"expiration":"2099-01-01T00:00:00Z","conditions":[{"bucket":"first"},
            ["starts-with","$key","up/"],["content-length-range",0,5]]}"#;
        let policy = BASE64.encode(document);
        let mut mac = hmac_sha1(served.alice.secret().as_bytes(), policy.as_bytes());
        let signature = BASE64.encode(&mac);
        let key = served.alice.key().to_owned();
        let send = |name: &str, signature: &str, file: &str| {
            served.form(
                "first",
                &[
                    ("key", name),
                    ("AWSAccessKeyId", &key),
                    ("policy", &policy),
                    ("signature", signature),
                    ("file", file),
                ],
            )
        };
        let put = send("up/k", &signature, "hello");
        assert_eq!(put.status, 204, "{}", put.text);
        assert_eq!(served.ask(Some(&served.alice), "GET", "/first/up/k", b"", &[]).text, "hello");
        assert_eq!(send("other", &signature, "x").code(), "AccessDenied");
        assert_eq!(send("up/k", &signature, "longer").code(), "EntityTooLarge");
        mac[0] ^= 1;
        assert_eq!(send("up/k", &BASE64.encode(&mac), "x").code(), "SignatureDoesNotMatch");
    })
    .await;
}

/// RFC 2104 over SHA-1, which version 2 of signatures uses.
fn hmac_sha1(key: &[u8], message: &[u8]) -> Vec<u8> {
    use s3s::crypto::{Checksum, Sha1};
    let digest = |parts: [&[u8]; 2]| {
        let mut sha = Sha1::new();
        parts.into_iter().for_each(|part| sha.update(part));
        sha.finalize().to_vec()
    };
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    let inner = digest([&block.map(|byte| byte ^ 0x36), message]);
    digest([&block.map(|byte| byte ^ 0x5c), &inner])
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_origins_see_what_the_rules_allow() {
    with_client(|served| {
        served.put("/first", "");
        served.put("/first/k", "hello");
        served.put("/first?policy", &policy("Allow", "s3:GetObject", "first/*"));
        let page = [("origin", "http://page.test"), ("access-control-request-method", "GET")];
        assert_eq!(served.ask(None, "OPTIONS", "/first/k", b"", &page).status, 403);
        served.put(
            "/first?cors",
            "<CORSConfiguration><CORSRule><AllowedOrigin>http://*.test</AllowedOrigin>\
             <AllowedMethod>GET</AllowedMethod><ExposeHeader>etag</ExposeHeader></CORSRule></CORSConfiguration>",
        );
        let allowed = served.ask(None, "OPTIONS", "/first/k", b"", &page);
        assert_eq!((allowed.status, allowed.header("access-control-allow-methods")), (200, "GET"));
        let got = served.ask(None, "GET", "/first/k", b"", &page[..1]);
        assert_eq!((got.text.as_str(), got.header("access-control-allow-origin")), ("hello", page[0].1));
        assert_eq!(got.header("access-control-expose-headers"), "etag");
        let other = served.ask(None, "GET", "/first/k", b"", &[("origin", "http://other.example")]);
        assert_eq!((other.status, other.header("access-control-allow-origin")), (200, ""));
        assert_eq!(served.ask(None, "OPTIONS", "/first/k", b"", &[]).status, 400);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_name_buckets_and_websites() {
    with_client(|served| {
        served.put("/first", "");
        served.put("/first/index.html", "home");
        served.put("/first/docs/index.html", "docs");
        served.put("/first/error.html", "sorry");
        let host = [("host", "first.s3.test")];
        assert_eq!(served.ask(None, "GET", "/index.html", b"", &host).code(), "AccessDenied");
        served.put("/first?policy", &policy("Allow", "s3:*", "first*"));
        assert_eq!(served.ask(None, "GET", "/index.html", b"", &host).text, "home");
        assert_eq!(served.ask(None, "GET", "/first/index.html", b"", &[("host", "s3.test")]).text, "home");

        let site = [("host", "first.web.test:80")];
        let visit = |path: &str| served.ask(None, "GET", path, b"", &site);
        assert_eq!(visit("/").status, 404);
        served.put(
            "/first?website",
            "<WebsiteConfiguration><IndexDocument><Suffix>index.html</Suffix></IndexDocument>\
             <ErrorDocument><Key>error.html</Key></ErrorDocument><RoutingRules><RoutingRule><Condition>\
             <KeyPrefixEquals>old/</KeyPrefixEquals></Condition><Redirect><ReplaceKeyPrefixWith>docs/\
             </ReplaceKeyPrefixWith></Redirect></RoutingRule></RoutingRules></WebsiteConfiguration>",
        );
        assert_eq!(visit("/").text, "home");
        assert_eq!(visit("/docs/").text, "docs");
        let folder = visit("/docs");
        assert_eq!((folder.status, folder.header("location")), (302, "/docs/"));
        let old = visit("/old/a%20b");
        assert_eq!((old.status, old.header("location")), (301, "http://first.web.test:80/docs/a%20b"));
        let gone = visit("/gone");
        assert_eq!((gone.status, gone.text.as_str()), (404, "sorry"));
        assert_eq!(served.ask(None, "PUT", "/x", b"x", &site).status, 405);
        // A page is shown to those only who may read the object.
        served.ask(Some(&served.alice), "DELETE", "/first?policy", b"", &[]);
        assert_eq!(visit("/").status, 403);
    })
    .await;
}
