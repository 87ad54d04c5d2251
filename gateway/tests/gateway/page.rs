//! The status page as HTTP: what is served where, with which headers, and what keeps objects from taking its place. What it does in
//! a browser is told in `e2e/s3/page.py`.

use crate::accounts::{Answer, Served, policy, with_client, with_client_and_no_page};

const HTML: (&str, &str) = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");

fn get(served: &Served, path: &str, headers: &[(&str, &str)]) -> Answer {
    served.ask(None, "GET", path, b"", headers)
}

#[tokio::test]
async fn the_page_is_served_with_headers_that_let_nothing_else_in() {
    with_client(|served| {
        for (name, kind) in [
            ("", "text/html; charset=utf-8"),
            ("index.html", "text/html; charset=utf-8"),
            ("style.css", "text/css; charset=utf-8"),
            ("main.js", "text/javascript; charset=utf-8"),
            ("icon.svg", "image/svg+xml"),
        ] {
            let answer = get(served, &format!("/-/{name}"), &[]);
            assert_eq!((answer.status, answer.header("content-type")), (200, kind), "{name}");
            let policy = answer.header("content-security-policy");
            for rule in [
                "default-src 'none'",
                "script-src 'self'",
                "form-action 'none'",
                "frame-ancestors 'none'",
                "require-trusted-types-for 'script'",
            ] {
                assert!(policy.contains(rule), "{name}: {rule} in {policy}");
            }
            assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
            for (header, value) in [
                ("x-content-type-options", "nosniff"),
                ("x-frame-options", "DENY"),
                ("referrer-policy", "no-referrer"),
                ("cache-control", "no-cache"),
            ] {
                assert_eq!(answer.header(header), value, "{name}");
            }
            assert_eq!(answer.header("access-control-allow-origin"), "");
        }
        let page = get(served, "/-/", &[]).text;
        for outside in ["http://", "https://", "//", "<script>", "style=", "onclick"] {
            assert!(!page.contains(outside), "{outside}");
        }
        let (head, whole) =
            (served.ask(None, "HEAD", "/-/main.js", b"", &[]), get(served, "/-/main.js", &[]));
        assert_eq!((head.status, head.text.len()), (200, 0));
        assert_eq!(head.header("content-length"), whole.text.len().to_string());
    })
    .await;
}

#[tokio::test]
async fn other_methods_and_names_are_refused_and_browsers_are_led_to_it() {
    with_client(|served| {
        for method in ["PUT", "POST", "DELETE"] {
            let answer = served.ask(None, method, "/-/main.js", b"", &[]);
            assert_eq!((answer.status, answer.header("allow")), (405, "GET, HEAD"), "{method}");
        }
        for name in ["other.js", "../v1/usage", "%2e%2e/", "main.js/", "Main.js", "-/"] {
            assert_eq!(get(served, &format!("/-/{name}"), &[]).status, 404, "{name}");
        }
        for (path, headers) in [("/-", &[][..]), ("/", &[HTML])] {
            let answer = get(served, path, headers);
            assert_eq!((answer.status, answer.header("location")), (302, "/-/"), "{path}");
        }
        // What is S3's stays S3's.
        for (path, headers) in [("/", &[][..]), ("/", &[("accept", "*/*")]), ("/?acl", &[HTML])] {
            let answer = get(served, path, headers);
            assert_eq!((answer.status, answer.header("location")), (403, ""), "{path}");
        }
        let list = served.signed(&served.alice, "GET", "/", &[]);
        let answer = served.send("GET", &list, b"", &[HTML]);
        assert!(answer.status == 200 && answer.text.contains("<ListAllMyBucketsResult"), "{}", answer.text);
    })
    .await;
}

#[tokio::test]
async fn switched_off_it_leaves_everything_to_s3() {
    with_client_and_no_page(|served| {
        for (path, status, code) in [("/-/", 400, "InvalidBucketName"), ("/", 403, "AccessDenied")] {
            let answer = get(served, path, &[HTML]);
            assert_eq!((answer.status, answer.code()), (status, code), "{path}");
        }
        served.put("/objects", "");
        served.put("/objects/page.html", "x");
        let answer = served.ask(
            Some(&served.alice),
            "GET",
            "/objects/page.html?response-content-type=text%2Fhtml",
            b"",
            &[],
        );
        assert_eq!((answer.status, answer.header("content-security-policy")), (200, ""));
    })
    .await;
}

#[tokio::test]
async fn addresses_of_buckets_have_no_page() {
    with_client(|served| {
        served.put("/site", "");
        served.put("/site/-/index", "an object");
        served.put("/site?policy", &policy("Allow", "s3:GetObject", "site/*"));
        let document =
            "<WebsiteConfiguration><IndexDocument><Suffix>index</Suffix></IndexDocument></WebsiteConfiguration>";
        served.put("/site?website", document);
        let website = get(served, "/-/", &[("host", "site.web.test"), HTML]);
        assert_eq!((website.status, website.text.as_str()), (200, "an object"));
        assert_eq!(website.header("content-security-policy"), "");
        let object = get(served, "/-/index", &[("host", "site.s3.test"), HTML]);
        assert_eq!((object.status, object.text.as_str()), (200, "an object"));
        assert_eq!(object.header("content-security-policy"), "");
        let root = get(served, "/", &[("host", "site.s3.test"), HTML]);
        assert_eq!((root.status, root.header("location")), (403, ""));
        // The domain itself is no bucket.
        assert!(get(served, "/-/", &[("host", "s3.test")]).text.contains("<title>Arion</title>"));
    })
    .await;
}

#[tokio::test]
async fn objects_with_scripts_are_not_of_the_pages_origin() {
    with_client(|served| {
        served.put("/objects", "");
        for (key, kind, confined) in [
            ("evil", "text/html", true),
            ("picture", "image/svg+xml", true),
            ("photo", "image/png", false),
            ("text", "text/plain", false),
        ] {
            let path = format!("/objects/{key}");
            served.ask(Some(&served.alice), "PUT", &path, b"<script>1</script>", &[("content-type", kind)]);
            let answer = served.ask(Some(&served.alice), "GET", &path, b"", &[]);
            assert_eq!(answer.status, 200);
            let policy = answer.header("content-security-policy");
            assert_eq!(policy.starts_with("sandbox "), confined, "{kind}: {policy}");
            assert!(!policy.contains("allow-same-origin"));
        }
        let path = "/objects/text?response-content-type=text%2Fhtml";
        let answer = served.ask(Some(&served.alice), "GET", path, b"", &[]);
        assert!(answer.header("content-security-policy").starts_with("sandbox "), "{}", answer.text);
    })
    .await;
}
