//! Who may do what, over HTTP: policies, lists, anonymous requests, forms, pages of other origins, websites.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};

use crate::accounts::{policy, with_client};

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

/// As the public conformance suite wants them.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_empty_is_not_there() {
    with_client(|served| {
        served.put("/first", "");
        let ask = |path: &str| served.ask(Some(&served.alice), "GET", path, b"", &[]);
        assert_eq!((ask("/first?tagging").status, ask("/first?tagging").code()), (404, "NoSuchTagSet"));
        for path in ["/first?delimiter=", "/first?delimiter=&list-type=2"] {
            let listed = ask(path);
            assert!(listed.status == 200 && !listed.text.contains("Delimiter>"), "{}", listed.text);
        }
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
