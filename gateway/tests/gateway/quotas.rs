//! Quotas over HTTP: whatever would store too much is refused, before it is sent where that is known, and leaves nothing.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use arion_daemon::{ByteSize, now_ms};
use arion_gateway::keys::Changed;
use rusty_s3::Credentials;

use crate::accounts::{Answer, Served, with_client};

fn quota(bytes: Option<u64>, objects: Option<u64>) -> Changed {
    Changed { quota_bytes: Some(bytes.map(ByteSize)), quota_objects: Some(objects), ..Changed::default() }
}

fn is_exceeded(answer: &Answer) -> bool {
    (answer.status, answer.code()) == (403, "QuotaExceeded")
}

fn used(served: &Served, name: &str) -> (u64, u64) {
    let usage = served.grid.meta.usage().unwrap().get(name).copied().unwrap_or_default();
    (usage.bytes, usage.objects)
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Handle::current().block_on(work)
}

/// What is counted is what there is.
fn recount(served: &Served) {
    let recount = block_on(served.grid.meta.recount_usage()).unwrap();
    assert!(recount.wrong.is_empty(), "{recount:?}");
}

fn ask(served: &Served, method: &str, path: &str, body: &[u8]) -> Answer {
    served.ask(Some(&served.alice), method, path, body, &[])
}

fn body(bytes: usize) -> String {
    "x".repeat(bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_stores_too_much_is_refused() {
    with_client(|served| {
        served.put("/first", "");
        served.limit("alice", quota(Some(1_000), None));
        served.put("/first/a", &body(600));
        let refused = ask(served, "PUT", "/first/b", body(401).as_bytes());
        assert!(is_exceeded(&refused), "{} {}", refused.status, refused.text);
        assert!(refused.text.contains("alice may store 1000 bytes, has 600"), "{}", refused.text);
        // Exactly as much as there is, and what takes the place of something counts instead of it.
        served.put("/first/b", &body(400));
        served.put("/first/a", &body(600));
        assert!(is_exceeded(&ask(served, "PUT", "/first/a", body(601).as_bytes())));
        let copy = |from: &str, to: &str| {
            served.ask(Some(&served.alice), "PUT", to, b"", &[("x-amz-copy-source", from)])
        };
        assert!(is_exceeded(&copy("first/b", "/first/c")));
        assert_eq!(copy("first/b", "/first/a").status, 200);
        assert_eq!(used(served, "alice"), (800, 2));
        assert!(is_exceeded(&served.signed_form(&served.alice, "first", "form", &body(201))));
        assert_eq!(served.signed_form(&served.alice, "first", "form", &body(100)).status, 204);
        // In parts: each part counts from when it is there, and one that is sent again instead of itself.
        let begun = ask(served, "POST", "/first/p?uploads", b"").text;
        let id = begun.split("<UploadId>").nth(1).unwrap().split('<').next().unwrap().to_owned();
        let part = |number: u32, bytes: usize| {
            let path = format!("/first/p?partNumber={number}&uploadId={id}");
            ask(served, "PUT", &path, body(bytes).as_bytes())
        };
        assert!(is_exceeded(&part(1, 101)));
        assert_eq!(part(1, 60).status, 200);
        assert!(is_exceeded(&part(2, 41)));
        let sent = part(1, 100);
        assert_eq!(used(served, "alice"), (1_000, 4));
        let from = [("x-amz-copy-source", "first/b")];
        let path = format!("/first/p?partNumber=2&uploadId={id}");
        assert!(is_exceeded(&served.ask(Some(&served.alice), "PUT", &path, b"", &from)));
        // Completing stores no more.
        let list = format!(
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{}</ETag></Part>\
             </CompleteMultipartUpload>",
            sent.header("etag")
        );
        let done = ask(served, "POST", &format!("/first/p?uploadId={id}"), list.as_bytes());
        assert_eq!(done.status, 200, "{}", done.text);
        assert_eq!(used(served, "alice"), (1_000, 4));
        assert_eq!(ask(served, "DELETE", "/first/p", b"").status, 204);
        served.put("/first/c", &body(100));
        // What others put into a bucket counts for its owner.
        served.put("/first?policy", &crate::accounts::policy("Allow", "s3:PutObject", "first/*"));
        for who in [None, Some(&served.bob)] {
            let put = served.ask(who, "PUT", "/first/others", b"x", &[]);
            assert!(is_exceeded(&put), "{}", put.text);
        }
        assert_eq!((used(served, "alice"), used(served, "bob")), ((1_000, 4), (0, 0)));
        recount(served);
        served.limit("alice", quota(None, None));
        served.put("/first/d", &body(10_000));
        assert!(served.grid.metrics.quota_refused.get() >= 9);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_and_delete_markers_count_and_deleting_is_never_refused() {
    with_client(|served| {
        served.put("/first", "");
        let on = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
        served.put("/first?versioning", on);
        served.limit("alice", quota(Some(100), Some(3)));
        let first = ask(served, "PUT", "/first/a", body(50).as_bytes());
        served.put("/first/a", &body(50));
        assert!(is_exceeded(&ask(served, "PUT", "/first/a", b"x")));
        assert_eq!(used(served, "alice"), (100, 2));
        assert_eq!(ask(served, "DELETE", "/first/a", b"").status, 204);
        // No object has room now, with nothing in it either; a marker more has.
        assert!(is_exceeded(&ask(served, "PUT", "/first/b", b"")));
        assert!(is_exceeded(&ask(served, "POST", "/first/b?uploads", b"")));
        assert_eq!(ask(served, "DELETE", "/first/a", b"").status, 204);
        assert_eq!(used(served, "alice"), (100, 4));
        let version = format!("/first/a?versionId={}", first.header("x-amz-version-id"));
        assert_eq!(ask(served, "DELETE", &version, b"").status, 204);
        assert_eq!(used(served, "alice"), (50, 3));
        recount(served);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_an_account_have_a_quota_of_their_own_and_share_the_accounts() {
    with_client(|served| {
        served.put("/first", "");
        let sub = |name: &str| {
            let (key, secret) = served.keys.add(&format!("alice/{name}"), None, None).unwrap();
            Credentials::new(key, secret)
        };
        let (x, y) = (sub("x"), sub("y"));
        served.limit("alice", quota(Some(100), None));
        served.limit("alice/x", quota(Some(60), None));
        assert_eq!(served.put_as(&x, "/first/x", body(50).as_bytes()).status, 200);
        let refused = served.put_as(&x, "/first/x2", body(20).as_bytes());
        assert!(is_exceeded(&refused) && refused.text.contains("alice/x may store 60"), "{}", refused.text);
        assert_eq!(served.put_as(&y, "/first/y", body(40).as_bytes()).status, 200);
        let refused = served.put_as(&y, "/first/y2", body(20).as_bytes());
        assert!(is_exceeded(&refused) && refused.text.contains("alice may store 100"), "{}", refused.text);
        // What another one wrote is replaced: it counts no more for who wrote it.
        assert_eq!(served.put_as(&y, "/first/x", body(30).as_bytes()).status, 200);
        assert_eq!(
            [used(served, "alice"), used(served, "alice/x"), used(served, "alice/y")],
            [(70, 2), (0, 0), (70, 2)]
        );
        assert_eq!(ask(served, "DELETE", "/first/x", b"").status, 204);
        assert_eq!(used(served, "alice/y"), (40, 1));
        recount(served);
    })
    .await;
}

/// Sends a header and no more, or chunks without an announcement; what is answered.
fn raw(served: &Served, path: &str, header: &str, chunks: &[&str]) -> String {
    let address = served.signed(&served.alice, "PUT", path, &[]);
    let host = served.endpoint.strip_prefix("http://").unwrap();
    let target = address.strip_prefix(&served.endpoint).unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    write!(stream, "PUT {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{header}\r\n\r\n").unwrap();
    for chunk in chunks {
        write!(stream, "{:x}\r\n{chunk}\r\n", chunk.len()).unwrap();
    }
    let mut answer = String::new();
    // The server may close before all was sent.
    let _ = stream.read_to_string(&mut answer);
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_announced_is_refused_before_it_is_sent_and_the_rest_leaves_nothing() {
    with_client(|served| {
        served.put("/first", "");
        served.limit("alice", quota(Some(200_000), None));
        let begun = ask(served, "POST", "/first/p?uploads", b"").text;
        let id = begun.split("<UploadId>").nth(1).unwrap().split('<').next().unwrap().to_owned();
        for path in ["/first/k", &format!("/first/p?partNumber=1&uploadId={id}")] {
            let answer = raw(served, path, "content-length: 1000000000", &[]);
            assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("QuotaExceeded"), "{answer}");
        }
        assert_eq!(served.grid.metrics.bytes_in.get(), 0);
        // How long it is shows at its end: its stripes are given back.
        let long = body(100_000);
        let chunks = [long.as_str(), long.as_str(), long.as_str(), ""];
        let answer = raw(served, "/first/k", "transfer-encoding: chunked", &chunks);
        assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("QuotaExceeded"), "{answer}");
        assert_eq!(ask(served, "GET", "/first/k", b"").code(), "NoSuchKey");
        assert_eq!(used(served, "alice"), (0, 1));
        // Given back in the background.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        let held = || {
            let meta = &served.grid.meta;
            block_on(async {
                meta.inflight_stripes().await.unwrap().len() + meta.pinned_stripes().await.unwrap().len()
            })
        };
        while held() > 0 {
            assert!(std::time::Instant::now() < deadline, "stripes stay behind");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let due = block_on(served.grid.meta.due_deletes(now_ms() + 3_600_000, 100)).unwrap();
        assert_eq!(due.len(), 30, "the shards of the only stripe");
        recount(served);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_do_not_get_past_it() {
    with_client(|served| {
        served.put("/first", "");
        served.limit("alice", quota(Some(1_000), None));
        let stored: usize = std::thread::scope(|scope| {
            let put = |number: usize| {
                let answer = ask(served, "PUT", &format!("/first/{number}"), body(100).as_bytes());
                assert!(answer.status == 200 || is_exceeded(&answer), "{}", answer.text);
                usize::from(answer.status == 200)
            };
            let threads: Vec<_> = (0..24).map(|number| scope.spawn(move || put(number))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(stored, 10);
        assert_eq!(used(served, "alice"), (1_000, 10));
        recount(served);
    })
    .await;
}
