//! S3 over HTTP with a client of another hand (`rusty-s3`), on miners in memory.

use std::{sync::Arc, time::Duration};

use arion_gateway::{
    http::S3Server,
    keys::AccessKeys,
    s3::{self, Store},
};
use rusty_s3::{
    Bucket, Credentials, Method, S3Action, UrlStyle,
    actions::{CompleteMultipartUpload, CreateMultipartUpload, ListObjectsV2, UploadPart},
};
use ureq::Agent;

use crate::network::{self, Network, sample};

const HOUR: Duration = Duration::from_secs(3_600);

struct Served {
    network: Network,
    server: S3Server,
    endpoint: String,
    credentials: Credentials,
    other: Credentials,
    _directory: tempfile::TempDir,
}

struct Answer {
    status: u16,
    body: Vec<u8>,
    etag: String,
    headers: ureq::http::HeaderMap,
}

impl Answer {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn code(&self) -> String {
        let text = self.text();
        let from = text.find("<Code>").map_or(0, |at| at + 6);
        text[from..text.find("</Code>").unwrap_or(from)].to_owned()
    }
}

async fn serve() -> Served {
    let directory = tempfile::tempdir().unwrap();
    let network = Network::new();
    let grid = network.grid(directory.path());
    let keys = Arc::new(AccessKeys::new(directory.path().join("keys.toml")));
    let (access, secret) = keys.add("alice", None, None).unwrap();
    let (other_access, other_secret) = keys.add("bob", None, None).unwrap();
    let keyring = network::keyring(&grid.meta);
    let region = "us-east-1".to_owned();
    let (webhooks, credit) = Default::default();
    let store = Store { grid, keyring, keys, region, part_bytes_min: 1_000, webhooks, credit };
    let address = "127.0.0.1:0".parse().unwrap();
    let server = S3Server::bind(address, s3::service(store, s3::Domains::default()), Duration::from_secs(1))
        .await
        .unwrap();
    let endpoint = format!("http://{}", server.local_addr());
    Served {
        network,
        server,
        endpoint,
        credentials: Credentials::new(access, secret),
        other: Credentials::new(other_access, other_secret),
        _directory: directory,
    }
}

fn agent() -> Agent {
    Agent::config_builder().http_status_as_error(false).build().into()
}

fn answer(sent: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Answer {
    let mut response = sent.unwrap();
    let headers = response.headers().clone();
    let etag = headers.get("etag").map(|etag| etag.to_str().unwrap().to_owned()).unwrap_or_default();
    Answer {
        status: response.status().as_u16(),
        body: response.body_mut().with_config().limit(1 << 30).read_to_vec().unwrap(),
        etag,
        headers,
    }
}

impl Served {
    fn bucket(&self, name: &str) -> Bucket {
        Bucket::new(self.endpoint.parse().unwrap(), UrlStyle::Path, name.to_owned(), "us-east-1").unwrap()
    }

    fn put(&self, bucket: &Bucket, key: &str, body: &[u8], headers: &[(&str, &str)]) -> Answer {
        let mut action = bucket.put_object(Some(&self.credentials), key);
        for (name, value) in headers.iter().filter(|(name, _)| name.starts_with("x-amz-")) {
            action.headers_mut().insert(*name, *value);
        }
        let mut request = agent().put(action.sign(HOUR).as_str());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(request.send(body))
    }

    fn get(&self, bucket: &Bucket, key: &str, headers: &[(&str, &str)]) -> Answer {
        let mut action = bucket.get_object(Some(&self.credentials), key);
        for (name, value) in headers.iter().filter(|(name, _)| name.starts_with("x-amz-")) {
            action.headers_mut().insert(*name, *value);
        }
        let mut request = agent().get(action.sign(HOUR).as_str());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(request.call())
    }

    fn make(&self, name: &str) -> Bucket {
        let bucket = self.bucket(name);
        let url = bucket.create_bucket(&self.credentials).sign(HOUR);
        assert_eq!(answer(agent().put(url.as_str()).send_empty()).status, 200);
        bucket
    }

    fn delete(&self, bucket: &Bucket, key: &str) -> u16 {
        let url = bucket.delete_object(Some(&self.credentials), key).sign(HOUR);
        answer(agent().delete(url.as_str()).call()).status
    }
}

/// Runs blocking client code beside the server.
async fn with_client(test: impl FnOnce(&Served) + Send + 'static) {
    let served = Arc::new(serve().await);
    let client = served.clone();
    tokio::task::spawn_blocking(move || test(&client)).await.unwrap();
    Arc::into_inner(served).unwrap().server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_come_and_go() {
    with_client(|served| {
        let bucket = served.make("first");
        let plain = sample(300_000);
        let headers =
            [("content-type", "text/x"), ("x-amz-meta-colour", "red"), ("cache-control", "no-store")];
        let put = served.put(&bucket, "a/b c+ü", &plain, &headers);
        assert_eq!(put.status, 200, "{}", put.text());
        let got = served.get(&bucket, "a/b c+ü", &[]);
        assert_eq!((got.status, &got.body, &got.etag), (200, &plain, &put.etag));
        for (name, value) in headers {
            assert_eq!(got.headers[name], value);
        }
        for (range, expected, shown) in [
            ("bytes=0-0", &plain[..1], "bytes 0-0/300000"),
            ("bytes=299990-", &plain[299_990..], "bytes 299990-299999/300000"),
            ("bytes=-5", &plain[299_995..], "bytes 299995-299999/300000"),
            ("bytes=65530-70000", &plain[65_530..70_001], "bytes 65530-70000/300000"),
        ] {
            let got = served.get(&bucket, "a/b c+ü", &[("range", range)]);
            assert_eq!((got.status, got.body.as_slice()), (206, expected), "{range}");
            assert_eq!(got.headers["content-range"], shown);
        }
        assert_eq!(served.get(&bucket, "a/b c+ü", &[("range", "bytes=300000-")]).code(), "InvalidRange");
        assert_eq!(served.get(&bucket, "a/b c+ü", &[("if-none-match", &put.etag)]).status, 304);
        assert_eq!(served.get(&bucket, "a/b c+ü", &[("if-match", "\"x\"")]).status, 412);
        assert_eq!(served.delete(&bucket, "a/b c+ü"), 204);
        assert_eq!(served.get(&bucket, "a/b c+ü", &[]).code(), "NoSuchKey");
        let empty = served.put(&bucket, "empty", b"", &[]);
        assert_eq!(empty.etag, "\"d41d8cd98f00b204e9800998ecf8427e\"");
        assert_eq!(served.get(&bucket, "empty", &[]).body, b"");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_keys_and_names_are_refused_with_the_right_code() {
    with_client(|served| {
        let bucket = served.make("first");
        served.put(&bucket, "k", b"x", &[]);
        let get = |bucket: &Bucket, credentials: Option<&Credentials>| {
            answer(agent().get(bucket.get_object(credentials, "k").sign(HOUR).as_str()).call())
        };
        let wrong = Credentials::new(served.credentials.key(), "wrong-secret");
        assert_eq!(get(&bucket, Some(&wrong)).code(), "SignatureDoesNotMatch");
        assert_eq!(get(&bucket, Some(&Credentials::new("NOBODY", "x"))).code(), "InvalidAccessKeyId");
        assert_eq!(get(&bucket, None).code(), "AccessDenied");
        assert_eq!(get(&bucket, Some(&served.other)).code(), "AccessDenied");
        assert_eq!(get(&served.bucket("second"), Some(&served.credentials)).code(), "NoSuchBucket");
        assert_eq!(served.put(&served.bucket("second"), "k", b"x", &[]).code(), "NoSuchBucket");
        assert_eq!(
            served.put(&bucket, "m", b"x", &[("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==")]).code(),
            "BadDigest"
        );
        assert_eq!(
            served.put(&bucket, "m", b"x", &[("x-amz-checksum-crc32", "AAAAAA==")]).code(),
            "BadDigest"
        );
        assert_eq!(served.put(&bucket, "m", b"x", &[("x-amz-acl", "open")]).code(), "InvalidArgument");
        assert_eq!(served.put(&bucket, "k", b"y", &[("if-none-match", "*")]).status, 412);
        assert_eq!(served.get(&bucket, "m", &[]).code(), "NoSuchKey");
        let other = bucket.create_bucket(&served.other).sign(HOUR);
        assert_eq!(answer(agent().put(other.as_str()).send_empty()).code(), "BucketAlreadyExists");
        let remove =
            || answer(agent().delete(bucket.delete_bucket(&served.credentials).sign(HOUR).as_str()).call());
        assert_eq!(remove().code(), "BucketNotEmpty");
        assert_eq!(served.delete(&bucket, "k"), 204);
        assert_eq!(remove().status, 204);
        served.make("second");
        served.network.disconnect(0..11);
        let refused = served.put(&served.bucket("second"), "k", b"x", &[]);
        assert_eq!((refused.status, refused.code().as_str()), (503, "ServiceUnavailable"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn listings_fold_and_page() {
    with_client(|served| {
        let bucket = served.make("first");
        for key in ["a", "d/1", "d/2", "e/1", "f g"] {
            assert_eq!(served.put(&bucket, key, b"x", &[]).status, 200);
        }
        let mut seen = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let mut action = ListObjectsV2::new(&bucket, Some(&served.credentials));
            action.with_delimiter("/");
            action.with_max_keys(2);
            if let Some(token) = &token {
                action.with_continuation_token(token.as_str());
            }
            let got = answer(agent().get(action.sign(HOUR).as_str()).call());
            let page = ListObjectsV2::parse_response(&got.text()).unwrap();
            seen.extend(page.contents.into_iter().map(|object| object.key));
            seen.extend(page.common_prefixes.into_iter().map(|prefix| prefix.prefix));
            token = page.next_continuation_token;
            if token.is_none() {
                break;
            }
        }
        seen.sort();
        // The client decodes keys itself where the answer is encoded.
        let seen: Vec<_> = seen.iter().map(|key| key.replace("%20", " ")).collect();
        assert_eq!(seen, ["a", "d/", "e/", "f g"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_in_any_order_make_one_object() {
    with_client(|served| {
        let bucket = served.make("first");
        let create = bucket.create_multipart_upload(Some(&served.credentials), "big").sign(HOUR);
        let begun = answer(agent().post(create.as_str()).send_empty());
        let upload = CreateMultipartUpload::parse_response(&begun.text()).unwrap().upload_id().to_owned();
        let parts = [sample(11 << 20), sample(70_000), sample(10)];
        let mut etags = vec![String::new(); 3];
        for number in [3u16, 1, 2, 1] {
            let body = &parts[usize::from(number) - 1];
            let action = UploadPart::new(&bucket, Some(&served.credentials), "big", number, &upload);
            let sent = answer(agent().put(action.sign(HOUR).as_str()).send(body.as_slice()));
            assert_eq!(sent.status, 200, "{}", sent.text());
            etags[usize::from(number) - 1] = sent.etag.trim_matches('"').to_owned();
        }
        let complete = |etags: &[&str]| {
            let action = CompleteMultipartUpload::new(
                &bucket,
                Some(&served.credentials),
                "big",
                &upload,
                etags.iter().copied(),
            );
            let url = action.sign(HOUR);
            answer(agent().post(url.as_str()).send(action.body().as_bytes()))
        };
        assert_eq!(complete(&[&etags[1], &etags[0], &etags[2]]).code(), "InvalidPart");
        let done = complete(&[&etags[0], &etags[1], &etags[2]]);
        assert_eq!(done.status, 200, "{}", done.text());
        let got = served.get(&bucket, "big", &[]);
        assert_eq!(got.body, parts.concat());
        assert!(got.etag.ends_with("-3\""), "{}", got.etag);
        let at = parts[0].len() + parts[1].len() - 5;
        let across = served.get(&bucket, "big", &[("range", &format!("bytes={at}-{}", at + 9))]);
        assert_eq!(across.body, parts.concat()[at..at + 10]);
        assert_eq!(complete(&[&etags[0]]).code(), "NoSuchUpload");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_is_told_where_shards_are() {
    with_client(|served| {
        let bucket = served.make("first");
        served.put(&bucket, "a b", &sample(1_000), &[]);
        let ask = |credentials: &Credentials| {
            let signed = rusty_s3::signing::sign(
                &jiff::Timestamp::now(),
                Method::Get,
                format!("{}/v1/locate", served.endpoint).parse().unwrap(),
                credentials.key(),
                credentials.secret(),
                None,
                "us-east-1",
                60,
                [("bucket", "first"), ("key", "a b")].into_iter(),
                std::iter::empty(),
            );
            answer(agent().get(signed.as_str()).call())
        };
        let located: s3::Located = serde_json::from_slice(&ask(&served.credentials).body).unwrap();
        assert_eq!((located.size, located.stripes.len()), (1_000, 1));
        let stripe = &located.stripes[0];
        assert_eq!((stripe.epoch, stripe.data_shards, stripe.shards.len()), (1, 10, 30));
        for shard in &stripe.shards {
            let miner = &served.network.miners[shard.uid.unwrap() as usize];
            assert_eq!(shard.node_id, Some(miner.node_id().to_string()));
            assert_eq!(shard.endpoint.as_ref(), Some(&miner.endpoint));
        }
        assert_eq!(ask(&served.other).code(), "AccessDenied");
        assert_eq!(ask(&Credentials::new(served.credentials.key(), "x")).code(), "SignatureDoesNotMatch");
        let unsigned = format!("{}/v1/locate?bucket=first&key=a%20b", served.endpoint);
        assert_eq!(answer(agent().get(unsigned).call()).code(), "AccessDenied");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_of_every_size_are_copied_whole_and_in_ranges() {
    with_client(|served| {
        let bucket = served.make("first");
        let signed = |method, key: &str, query: &[(&str, &str)], headers: &[(&str, &str)]| {
            let mut headers = headers.to_vec();
            headers.sort_unstable();
            rusty_s3::signing::sign(
                &jiff::Timestamp::now(),
                method,
                format!("{}/first/{key}", served.endpoint).parse().unwrap(),
                served.credentials.key(),
                served.credentials.secret(),
                None,
                "us-east-1",
                60,
                query.iter().copied(),
                headers.into_iter(),
            )
        };
        let copy = |key: &str, query: &[(&str, &str)], headers: &[(&str, &str)]| {
            let mut request = agent().put(signed(Method::Put, key, query, headers).as_str());
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            answer(request.send_empty())
        };
        for len in [0, 1, 70_000, (10 << 20) + 1] {
            let plain = sample(len);
            let put = served.put(&bucket, "source", &plain, &[("x-amz-meta-colour", "red")]);
            let copied = copy("copy", &[], &[("x-amz-copy-source", "/first/source")]);
            assert_eq!(copied.status, 200, "{}", copied.text());
            // The copy does not depend on its source.
            served.put(&bucket, "source", b"other", &[]);
            let got = served.get(&bucket, "copy", &[]);
            assert_eq!((got.body, got.etag.clone()), (plain, put.etag), "{len}");
            assert_eq!(got.headers["x-amz-meta-colour"], "red");
        }

        let plain = sample(21 << 20);
        served.put(&bucket, "source", &plain, &[]);
        let create = bucket.create_multipart_upload(Some(&served.credentials), "joined").sign(HOUR);
        let begun = answer(agent().post(create.as_str()).send_empty());
        let upload = CreateMultipartUpload::parse_response(&begun.text()).unwrap().upload_id().to_owned();
        let part = |number: &str, headers: &[(&str, &str)]| {
            let headers = [&[("x-amz-copy-source", "first/source")], headers].concat();
            copy("joined", &[("partNumber", number), ("uploadId", &upload)], &headers)
        };
        let etag = |copied: Answer| {
            assert_eq!(copied.status, 200, "{}", copied.text());
            let text = copied.text().replace("&quot;", "\"");
            text.split("<ETag>\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
        };
        let (cut, len) = (11 << 20, 21 << 20);
        let tail = format!("bytes={cut}-{}", len - 1);
        let etags = [
            etag(part("1", &[("x-amz-copy-source-range", &tail)])),
            etag(part("2", &[])),
            etag(part("3", &[("x-amz-copy-source-range", "bytes=0-0")])),
        ];
        let beyond = format!("bytes=0-{len}");
        for (range, code) in [
            (beyond.as_str(), "InvalidRange"),
            ("bytes=5-4", "InvalidRange"),
            ("bytes=5-", "InvalidArgument"),
        ] {
            assert_eq!(part("4", &[("x-amz-copy-source-range", range)]).code(), code, "{range}");
        }
        assert_eq!(part("4", &[("x-amz-copy-source-if-match", "\"x\"")]).status, 412);
        let foreign = copy(
            "joined",
            &[("partNumber", "4"), ("uploadId", "none")],
            &[("x-amz-copy-source", "first/source")],
        );
        assert_eq!(foreign.code(), "NoSuchUpload");
        let etags = etags.iter().map(String::as_str);
        let action =
            CompleteMultipartUpload::new(&bucket, Some(&served.credentials), "joined", &upload, etags);
        let url = action.sign(HOUR);
        let done = answer(agent().post(url.as_str()).send(action.body().as_bytes()));
        assert_eq!(done.status, 200, "{}", done.text());
        let got = served.get(&bucket, "joined", &[]);
        assert!(got.body == [&plain[cut..], &plain, &plain[..1]].concat());
    })
    .await;
}
