//! What needs no body is answered before the body is read.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use arion_gateway::{
    keys::{Changed, NewKey},
    scope::Access,
};
use rusty_s3::Credentials;

use crate::accounts::{Served, policy, with_client};

/// What the body is announced to be; far more than sockets hold.
const ANNOUNCED: u64 = 4 << 30;
/// What a client may have sent before it hears the answer: what the sockets of both ends hold.
const SENT_MAX: u64 = 64 << 20;

/// What is asked: what it is called, by whom, where, with which headers, and the answer.
type Case<'a> = (&'a str, Option<&'a Credentials>, String, &'a [(&'a str, &'a str)], u16, &'a str);

/// What a client heard, and how many bytes of the body it sent until then.
struct Heard {
    text: String,
    sent: u64,
}

impl Heard {
    fn status(&self) -> u16 {
        self.text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    fn code(&self) -> &str {
        self.text.split("<Code>").nth(1).and_then(|rest| rest.split('<').next()).unwrap_or_default()
    }
}

/// Sends a request whose body never ends, until an answer comes.
fn send(served: &Served, who: Option<&Credentials>, path: &str, headers: &[(&str, &str)]) -> Heard {
    let address = match who {
        Some(who) => served.signed(who, "PUT", path, headers),
        None => format!("{}{path}", served.endpoint),
    };
    let host = served.endpoint.trim_start_matches("http://");
    let target = address.split_once(host).unwrap().1;
    let mut head = format!("PUT {target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {ANNOUNCED}\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let waits = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("expect"));
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_nonblocking(true).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    let (mut heard, mut sent, deadline) = (Vec::new(), 0, Instant::now() + Duration::from_secs(20));
    let body = vec![7; 64 << 10];
    let mut buffer = [0; 4_096];
    loop {
        assert!(Instant::now() < deadline, "{path}: no answer after {sent} bytes: {heard:?}");
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => heard.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => panic!("{path}: {error} after {sent} bytes: {}", String::from_utf8_lossy(&heard)),
        }
        if String::from_utf8_lossy(&heard).contains("</Error>") {
            break;
        }
        if !waits || heard.starts_with(b"HTTP/1.1 100") {
            match stream.write(&body) {
                Ok(count) => sent += count as u64,
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
                // Nothing is taken any more; the answer is still to be read.
                Err(_) => std::thread::yield_now(),
            }
        }
    }
    Heard { text: String::from_utf8_lossy(&heard).into_owned(), sent }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_no_body_is_refused_before_it_is_read() {
    with_client(|served| {
        let alice = &served.alice;
        served.put("/there", "");
        served.put("/there/k", "hello");
        served.put("/full", "");
        served.put("/closed", "");
        served.put("/closed?policy", &policy("Deny", "s3:PutObject", "closed/*"));
        let begun = served.ask(Some(alice), "POST", "/there/parts?uploads", b"", &[]).text;
        let id = begun.split("<UploadId>").nth(1).unwrap().split('<').next().unwrap().to_owned();
        let expired = served.add_key(NewKey::full("alice".parse().unwrap()));
        served.keys.rotate(expired.key(), 0).unwrap();
        let reader = served.scoped("alice", Access::ReadOnly, &[]);
        let carol = served.add_key(NewKey::full("bob/carol".parse().unwrap()));
        served.put_as(&served.bob, "/bobs", b"");
        let quota = Changed { quota_bytes: Some(Some(arion_daemon::ByteSize(1_000))), ..Changed::default() };
        served.limit("bob/carol", quota);
        let retention = [
            ("x-amz-object-lock-mode", "GOVERNANCE"),
            ("x-amz-object-lock-retain-until-date", "2099-01-01T00:00:00Z"),
        ];
        let wrong = Credentials::new(alice.key(), "not the secret");
        let part = |id: &str| format!("/there/parts?partNumber=1&uploadId={id}");
        let none: &[(&str, &str)] = &[];
        let cases: &[Case<'_>] = &[
            ("no bucket", Some(alice), "/absent/k".into(), none, 404, "NoSuchBucket"),
            ("nobody", None, "/there/k".into(), none, 403, "AccessDenied"),
            ("another account", Some(&served.bob), "/there/k".into(), none, 403, "AccessDenied"),
            ("a policy", Some(alice), "/closed/k".into(), none, 403, "AccessDenied"),
            ("a scope", Some(&reader), "/there/k".into(), none, 403, "AccessDenied"),
            ("a wrong signature", Some(&wrong), "/there/k".into(), none, 403, "SignatureDoesNotMatch"),
            ("an expired key", Some(&expired), "/there/k".into(), none, 400, "ExpiredToken"),
            ("a quota", Some(&carol), "/bobs/k".into(), none, 403, "QuotaExceeded"),
            (
                "there already",
                Some(alice),
                "/there/k".into(),
                &[("if-none-match", "*")],
                412,
                "PreconditionFailed",
            ),
            (
                "another one",
                Some(alice),
                "/there/k".into(),
                &[("if-match", "\"x\"")],
                412,
                "PreconditionFailed",
            ),
            ("not there", Some(alice), "/there/x".into(), &[("if-match", "*")], 404, "NoSuchKey"),
            ("no lock", Some(alice), "/there/x".into(), &retention, 400, "InvalidRequest"),
            ("no upload", Some(alice), part("none"), none, 404, "NoSuchUpload"),
            (
                "no such part",
                Some(alice),
                format!("/there/parts?partNumber=0&uploadId={id}"),
                none,
                400,
                "InvalidArgument",
            ),
            (
                "a class",
                Some(alice),
                "/there/x".into(),
                &[("x-amz-storage-class", "GLACIER")],
                501,
                "NotImplemented",
            ),
        ];
        for (what, who, path, headers, status, code) in cases {
            let heard = send(served, *who, path, headers);
            assert_eq!((heard.status(), heard.code()), (*status, *code), "{what}: {}", heard.text);
            assert!(heard.sent < SENT_MAX, "{what}: {} bytes were taken", heard.sent);
            // Who asks first is not told to go on, and sends nothing.
            let asking = [*headers, &[("expect", "100-continue")]].concat();
            let heard = send(served, *who, path, &asking);
            assert_eq!((heard.status(), heard.code()), (*status, *code), "{what}: {}", heard.text);
            assert_eq!(heard.sent, 0, "{what}");
        }
        // And who may go on is told to.
        let heard = {
            let mut short = Vec::from([("expect", "100-continue")]);
            short.push(("content-type", "text/plain"));
            served.ask(Some(alice), "PUT", "/there/y", b"hello", &short)
        };
        assert_eq!(heard.status, 200, "{}", heard.text);
    })
    .await;
}
