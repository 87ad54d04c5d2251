//! Every operation over HTTP: nobody else's until the owner says so, and what is done with what another account owns.

use crate::accounts::{Served, policy, with_client};

/// Method, path and headers.
pub type Asked = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

/// All operations on a bucket or an object that is there; `s3s` tells them apart by these.
pub const OPERATIONS: [Asked; 60] = [
    ("DELETE", "/first/k?uploadId=u", &[]),
    ("POST", "/first/k?uploadId=u", &[]),
    ("PUT", "/first/copy", &[("x-amz-copy-source", "first/k")]),
    ("POST", "/first/k?uploads", &[]),
    ("DELETE", "/first", &[]),
    ("DELETE", "/first?cors", &[]),
    ("DELETE", "/first?lifecycle", &[]),
    ("DELETE", "/first?ownershipControls", &[]),
    ("DELETE", "/first?policy", &[]),
    ("DELETE", "/first?tagging", &[]),
    ("DELETE", "/first?website", &[]),
    ("DELETE", "/first/k", &[]),
    ("DELETE", "/first/k?versionId=null", &[]),
    ("DELETE", "/first/k?tagging", &[]),
    ("DELETE", "/first?publicAccessBlock", &[]),
    ("GET", "/first?acl", &[]),
    ("GET", "/first?cors", &[]),
    ("GET", "/first?lifecycle", &[]),
    ("GET", "/first?location", &[]),
    ("GET", "/first?notification", &[]),
    ("GET", "/first?ownershipControls", &[]),
    ("GET", "/first?policy", &[]),
    ("GET", "/first?policyStatus", &[]),
    ("GET", "/first?tagging", &[]),
    ("GET", "/first?versioning", &[]),
    ("GET", "/first?website", &[]),
    ("GET", "/first/k", &[]),
    ("GET", "/first/k?versionId=null", &[]),
    ("GET", "/first/missing", &[]),
    ("GET", "/first/k?acl", &[]),
    ("GET", "/first/k?attributes", &[("x-amz-object-attributes", "ETag")]),
    ("GET", "/first/k?legal-hold", &[]),
    ("GET", "/first?object-lock", &[]),
    ("GET", "/first/k?retention", &[]),
    ("GET", "/first/k?tagging", &[]),
    ("GET", "/first?publicAccessBlock", &[]),
    ("HEAD", "/first", &[]),
    ("HEAD", "/first/k", &[]),
    ("GET", "/first?uploads", &[]),
    ("GET", "/first?versions", &[]),
    ("GET", "/first", &[]),
    ("GET", "/first?list-type=2", &[]),
    ("GET", "/first/k?uploadId=u", &[]),
    ("PUT", "/first?acl", &[("x-amz-acl", "public-read")]),
    ("PUT", "/first?cors", &[]),
    ("PUT", "/first?lifecycle", &[]),
    ("PUT", "/first?notification", &[]),
    ("PUT", "/first?ownershipControls", &[]),
    ("PUT", "/first?policy", &[]),
    ("PUT", "/first?tagging", &[]),
    ("PUT", "/first?versioning", &[]),
    ("PUT", "/first?website", &[]),
    ("PUT", "/first/new", &[]),
    ("PUT", "/first/k?acl", &[("x-amz-acl", "public-read")]),
    ("PUT", "/first/k?legal-hold", &[]),
    ("PUT", "/first?object-lock", &[]),
    ("PUT", "/first/k?retention", &[]),
    ("PUT", "/first/k?tagging", &[]),
    ("PUT", "/first?publicAccessBlock", &[]),
    ("PUT", "/first/k?partNumber=1&uploadId=u", &[]),
];

fn get(served: &Served, path: &str) -> String {
    served.ask(Some(&served.alice), "GET", path, b"", &[]).text
}

#[tokio::test(flavor = "multi_thread")]
async fn no_operation_is_anybodys_but_the_owners() {
    with_client(|served| {
        served.put("/first", "");
        served.put("/first/k", "hello");
        served.put("/of-bob", "");
        for who in [None, Some(&served.bob)] {
            for (method, path, headers) in OPERATIONS {
                let answer = served.ask(who, method, path, b"", headers);
                let code = if method == "HEAD" { "" } else { "AccessDenied" };
                assert_eq!((answer.status, answer.code()), (403, code), "{method} {path} {}", answer.text);
            }
            let body = b"<Delete><Object><Key>k</Key></Object></Delete>";
            let md5 = [("content-md5", "ImrcsQKXRCyCbDfbBO1pSw==")];
            let several = served.ask(who, "POST", "/first?delete", body, &md5);
            assert!(several.text.contains("<Code>AccessDenied</Code>"), "{}", several.text);
            assert!(!several.text.contains("<Deleted>"), "{}", several.text);
        }
        assert_eq!(get(served, "/first/k"), "hello");
        assert_eq!(get(served, "/first").matches("<Key>").count(), 1);
    })
    .await;
}

/// The key of a copy was wrapped for the account of its source, and the copy was lost to its own.
#[tokio::test(flavor = "multi_thread")]
async fn copies_from_other_accounts_are_read_by_their_own() {
    with_client(|served| {
        served.put("/first", "");
        served.put("/first/k", "hello");
        let bob = Some(&served.bob);
        assert_eq!(served.ask(bob, "PUT", "/second", b"", &[]).status, 200);
        let source = [("x-amz-copy-source", "first/k")];
        assert_eq!(served.ask(bob, "PUT", "/second/copy", b"", &source).code(), "AccessDenied");
        served.put("/first?policy", &policy("Allow", "s3:GetObject", "first/*"));
        let copied = served.ask(bob, "PUT", "/second/copy", b"", &source);
        assert_eq!(copied.status, 200, "{}", copied.text);
        assert_eq!(served.ask(bob, "GET", "/second/copy", b"", &[]).text, "hello");
        let begun = served.ask(bob, "POST", "/second/parts?uploads", b"", &[]).text;
        let id = begun.split("<UploadId>").nth(1).unwrap().split('<').next().unwrap();
        let part = served.ask(bob, "PUT", &format!("/second/parts?partNumber=1&uploadId={id}"), b"", &source);
        let etag = part.text.split("<ETag>").nth(1).unwrap_or_else(|| panic!("{}", part.text));
        let etag = etag.split('<').next().unwrap();
        let list = format!(
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part>\
             </CompleteMultipartUpload>"
        );
        let path = format!("/second/parts?uploadId={id}");
        let completed = served.ask(bob, "POST", &path, list.as_bytes(), &[]);
        assert_eq!(completed.status, 200, "{}", completed.text);
        // The source may go.
        served.ask(Some(&served.alice), "DELETE", "/first/k", b"", &[]);
        for key in ["copy", "parts"] {
            assert_eq!(served.ask(bob, "GET", &format!("/second/{key}"), b"", &[]).text, "hello", "{key}");
        }
    })
    .await;
}

/// Who may write into somebody's bucket does not yet bind its owner to keep that for years, nor get past a lock.
#[tokio::test(flavor = "multi_thread")]
async fn locks_are_set_and_passed_by_those_only_who_may() {
    with_client(|served| {
        let (alice, bob) = (Some(&served.alice), Some(&served.bob));
        let locked = [("x-amz-bucket-object-lock-enabled", "true")];
        assert_eq!(served.ask(alice, "PUT", "/first", b"", &locked).status, 200);
        let two = |actions: &str| {
            format!(
                r#"{{"Statement":[{{"Effect":"Allow","Principal":"*","Action":[{actions}],
                "Resource":"arn:aws:s3:::first/*"}},{{"Effect":"Allow","Principal":"*",
                "Action":"s3:BypassGovernanceRetention","Resource":"arn:aws:s3:::first/tmp/*"}}]}}"#
            )
        };
        served.put("/first?policy", &two(r#""s3:PutObject","s3:DeleteObject*""#));
        let until = ("x-amz-object-lock-retain-until-date", "2099-01-01T00:00:00Z");
        let kept = [("x-amz-object-lock-mode", "GOVERNANCE"), until];
        let held = [("x-amz-object-lock-legal-hold", "ON")];
        for headers in [&kept[..], &kept[1..], &held[..]] {
            for who in [None, bob] {
                let put = served.ask(who, "PUT", "/first/x", b"x", headers);
                assert_eq!(put.code(), "AccessDenied", "{headers:?}");
            }
        }
        assert_eq!(served.ask(bob, "PUT", "/first/x", b"x", &[]).status, 200);
        served.put("/first?policy", &two(r#""s3:PutObject*","s3:DeleteObject*""#));
        let mut objects = String::new();
        for key in ["tmp/a", "else/b"] {
            let put = served.ask(bob, "PUT", &format!("/first/{key}"), b"x", &kept);
            assert_eq!(put.status, 200, "{}", put.text);
            let version = put.header("x-amz-version-id");
            objects += &format!("<Object><Key>{key}</Key><VersionId>{version}</VersionId></Object>");
        }
        let body = format!("<Delete>{objects}</Delete>");
        let bypass = [("x-amz-bypass-governance-retention", "true")];
        let several = served.ask(bob, "POST", "/first?delete", body.as_bytes(), &bypass).text;
        let deleted = several.split("<Deleted>").nth(1).unwrap_or_else(|| panic!("{several}"));
        assert!(deleted.starts_with("<Key>tmp/a</Key>") || deleted.contains("<Key>tmp/a</Key>"), "{several}");
        assert_eq!(
            (several.matches("<Deleted>").count(), several.matches("<Error>").count()),
            (1, 1),
            "{several}"
        );
        assert!(several.contains("AccessDenied"), "{several}");
    })
    .await;
}

/// Whoever is handed a signed address chooses nothing that its signer did not.
#[tokio::test(flavor = "multi_thread")]
async fn signed_addresses_do_what_was_signed() {
    with_client(|served| {
        served.put("/first", "");
        let address = served.signed(&served.alice, "PUT", "/first/k", &[]);
        let unsigned = [("x-amz-acl", "public-read")];
        let put = served.send("PUT", &address, b"hello", &unsigned);
        assert_eq!((put.status, put.code()), (403, "AccessDenied"), "{}", put.text);
        assert_eq!(served.send("PUT", &address, b"hello", &[]).status, 200);
        assert_eq!(served.ask(None, "GET", "/first/k", b"", &[]).status, 403);
        // What is in the address is signed, and does what the header does.
        let address =
            served.signed(&served.alice, "PUT", "/first/k?x-amz-acl=public-read&x-amz-meta-a=b", &[]);
        assert_eq!(served.send("PUT", &address, b"hello", &[]).status, 200);
        let got = served.ask(None, "GET", "/first/k", b"", &[]);
        assert_eq!((got.text.as_str(), got.header("x-amz-meta-a")), ("hello", "b"));
    })
    .await;
}
