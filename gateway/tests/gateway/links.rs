//! Links signed by version 2, as clients make them that nobody told otherwise.

use std::{sync::Arc, time::Duration};

use arion_gateway::{
    http::S3Server,
    keys::AccessKeys,
    s3::{self, Store},
};
use base64::Engine;
use ring::hmac;

use crate::network;

const DAY: u64 = 24 * 3_600;

/// A link as version 2 signs it: HMAC-SHA1 over method, Content-MD5, Content-Type, expiry and path.
fn link(endpoint: &str, key: &(String, String), method: &str, path: &str, expires: u64) -> String {
    let text = format!("{method}\n\n\n{expires}\n{path}");
    let secret = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key.1.as_bytes());
    let signature = base64::engine::general_purpose::STANDARD.encode(hmac::sign(&secret, text.as_bytes()));
    let signature = signature.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    let and = if path.contains('?') { '&' } else { '?' };
    format!("{endpoint}{path}{and}AWSAccessKeyId={}&Signature={signature}&Expires={expires}", key.0)
}

#[tokio::test(flavor = "multi_thread")]
async fn links_of_version_2_read_and_write_an_object_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let network = network::Network::new();
    let grid = network.grid(directory.path());
    let keys = Arc::new(AccessKeys::new(directory.path().join("keys.toml")));
    let key = keys.add("alice", None, None).unwrap();
    let region = "us-east-1".to_owned();
    let part_bytes_min = s3::PART_BYTES_MIN;
    let keyring = network::keyring(&grid.meta);
    let (webhooks, credit) = Default::default();
    let store = Store { grid, keyring, keys, region, part_bytes_min, webhooks, credit };
    let address = "127.0.0.1:0".parse().unwrap();
    let service = s3::service(store, s3::Domains::default());
    let server = S3Server::bind(address, service, Duration::from_secs(1)).await.unwrap();
    let endpoint = format!("http://{}", server.local_addr());
    let work = move || {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let status =
            |sent: Result<ureq::http::Response<ureq::Body>, ureq::Error>| sent.unwrap().status().as_u16();
        let credentials = rusty_s3::Credentials::new(&key.0, &key.1);
        let style = rusty_s3::UrlStyle::Path;
        let bucket = rusty_s3::Bucket::new(
            endpoint.parse().unwrap(),
            style,
            "shared".to_owned(),
            "us-east-1".to_owned(),
        )
        .unwrap();
        let url = rusty_s3::S3Action::sign(&bucket.create_bucket(&credentials), Duration::from_secs(60));
        assert_eq!(status(agent.put(url.as_str()).send_empty()), 200);

        let now = arion_daemon::now_ms() / 1_000;
        let to = |method: &str, path: &str, expires| link(&endpoint, &key, method, path, expires);
        // A client that sends no content type: the signature is over an empty one.
        assert_eq!(status(agent.put(to("PUT", "/shared/a", now + 60)).send(&b"by link"[..])), 200);
        let read = to("GET", "/shared/a", now + DAY);
        assert_eq!(agent.get(&read).call().unwrap().body_mut().read_to_vec().unwrap(), b"by link");
        assert_eq!(status(agent.head(to("HEAD", "/shared/a", now + DAY)).call()), 200);
        // Over, for another object, by another key, for longer than a week.
        assert_eq!(status(agent.get(to("GET", "/shared/a", now - 1)).call()), 403);
        assert_eq!(status(agent.get(read.replace("/a?", "/b?")).call()), 403);
        let stranger = (key.0.clone(), "not the secret".to_owned());
        assert_eq!(status(agent.get(link(&endpoint, &stranger, "GET", "/shared/a", now + 60)).call()), 403);
        assert_eq!(status(agent.get(to("GET", "/shared/a", now + 8 * DAY)).call()), 403);
        // Everything else needs version 4, also with a header that looks like it.
        assert_eq!(status(agent.delete(to("DELETE", "/shared/a", now + 60)).call()), 403);
        assert_eq!(status(agent.get(to("GET", "/shared/", now + 60)).call()), 403);
        let disguised =
            agent.get(to("GET", "/shared/", now + 60)).header("authorization", "AWS4-HMAC-SHA256 x");
        assert_ne!(status(disguised.call()), 200);
    };
    tokio::task::spawn_blocking(work).await.unwrap();
    server.shutdown().await;
}
