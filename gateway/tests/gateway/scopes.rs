//! Scopes of access keys over HTTP: what they take away, of every operation.

use arion_gateway::scope::Access;
use rusty_s3::Credentials;

use crate::{
    accounts::{Answer, Served, with_client},
    operations::OPERATIONS,
};

/// Whether a scope refused it. Answers to HEAD have no text.
fn is_out_of_scope(method: &str, answer: &Answer) -> bool {
    let said = answer.text.contains("the scope of the access key") && answer.code() == "AccessDenied";
    answer.status == 403 && (said || method == "HEAD")
}

/// Of all operations those that a scope lets pass; what becomes of them then does not count.
fn passed(served: &Served, who: &Credentials) -> Vec<String> {
    let passed = OPERATIONS.iter().filter(|(method, path, headers)| {
        let answer = served.ask(Some(who), method, path, b"", headers);
        !is_out_of_scope(method, &answer)
    });
    passed.map(|(method, path, _)| format!("{method} {path}")).collect()
}

fn alice(served: &Served, access: Access, places: &[&str]) -> Credentials {
    served.scoped("alice", access, places)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_operation_gets_past_a_scope() {
    with_client(|served| {
        let whole = |served: &Served| {
            served.put("/first", "");
            served.put("/first/k", "hello");
        };
        whole(served);
        let elsewhere = alice(served, Access::ReadWrite, &["second"]);
        assert_eq!(passed(served, &elsewhere), [""; 0]);
        // Neither the name of the bucket nor of the key is a beginning of it.
        let beside = alice(served, Access::ReadWrite, &["first-2", "fir/*", "first/kk*", "first/K"]);
        assert_eq!(passed(served, &beside), ["GET /first?location", "HEAD /first"]);
        let reader = alice(served, Access::ReadOnly, &["first"]);
        for asked in passed(served, &reader) {
            assert!(asked.starts_with("GET ") || asked.starts_with("HEAD "), "{asked}");
            assert!(!asked.contains("uploadId"), "{asked}");
        }
        assert_eq!(served.ask(Some(&reader), "GET", "/first/k", b"", &[]).text, "hello");
        let all_reader = alice(served, Access::ReadOnly, &[]);
        assert_eq!(passed(served, &all_reader), passed(served, &reader));
        let writer = alice(served, Access::WriteOnly, &["first"]);
        for asked in passed(served, &writer) {
            let reads = asked.starts_with("GET ") || asked.starts_with("HEAD ");
            let tells =
                ["HEAD /first", "GET /first?location", "GET /first?uploads", "GET /first/k?uploadId=u"];
            assert!(!reads || tells.contains(&asked.as_str()), "{asked}");
            let governs = asked.contains("?acl") || asked.contains("/first?") || asked == "DELETE /first";
            assert!(reads || !governs, "{asked}");
            assert!(!asked.contains("copy"), "a copy reads its source: {asked}");
        }
        whole(served);
        let below = alice(served, Access::ReadWrite, &["first/k*", "first/new", "first/missing"]);
        for asked in passed(served, &below) {
            let of_object = asked.contains("/first/");
            let enters = ["HEAD /first", "GET /first?location"].contains(&asked.as_str());
            assert!(of_object || enters, "{asked}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_is_all_that_its_key_lists_copies_and_deletes() {
    with_client(|served| {
        served.put("/first", "");
        served.put("/second", "");
        for key in ["docs/a", "docs/b", "docsx", "other/c"] {
            served.put(&format!("/first/{key}"), key);
        }
        let who = alice(served, Access::ReadWrite, &["first/docs/*"]);
        let ask = |method: &str, path: &str| served.ask(Some(&who), method, path, b"", &[]);
        for path in
            ["/first?prefix=docs/", "/first?list-type=2&prefix=docs/a", "/first?versions=&prefix=docs/"]
        {
            let listed = ask("GET", path);
            assert_eq!(listed.status, 200, "{path} {}", listed.text);
            assert!(listed.text.contains("docs/a") && !listed.text.contains("docsx"), "{}", listed.text);
        }
        for path in
            ["/first", "/first?prefix=docs", "/first?prefix=other/", "/first?versions", "/first?uploads"]
        {
            assert!(is_out_of_scope("GET", &ask("GET", path)), "{path}");
        }
        assert_eq!(ask("GET", "/first?uploads=&prefix=docs/").status, 200);
        // Reading what a copy is made of needs the scope too, and so does where it goes.
        let copy =
            |from: &str, to: &str| served.ask(Some(&who), "PUT", to, b"", &[("x-amz-copy-source", from)]);
        assert_eq!(copy("first/docs/a", "/first/docs/copy").status, 200);
        assert!(is_out_of_scope("PUT", &copy("first/other/c", "/first/docs/copy")));
        assert!(is_out_of_scope("PUT", &copy("first/docs/a", "/first/other/copy")));
        assert!(is_out_of_scope("PUT", &copy("first/docs/a", "/second/docs/copy")));
        // In parts.
        let begun = ask("POST", "/first/docs/parts?uploads").text;
        let id = begun.split("<UploadId>").nth(1).unwrap().split('<').next().unwrap().to_owned();
        let part = format!("/first/docs/parts?partNumber=1&uploadId={id}");
        assert_eq!(served.put_as(&who, &part, b"part").status, 200);
        let stolen = [("x-amz-copy-source", "first/other/c")];
        assert!(is_out_of_scope("PUT", &served.ask(Some(&who), "PUT", &part, b"", &stolen)));
        assert!(is_out_of_scope("PUT", &served.put_as(&who, &part.replace("docs/", "other/"), b"part")));
        assert!(is_out_of_scope("POST", &ask("POST", "/first/other/parts?uploads")));
        assert_eq!(ask("DELETE", &format!("/first/docs/parts?uploadId={id}")).status, 204);
        // Several at once: each is decided by itself.
        let body = b"<Delete><Object><Key>docs/b</Key></Object><Object><Key>other/c</Key></Object></Delete>";
        let several = served.ask(Some(&who), "POST", "/first?delete", body, &[]).text;
        let (deleted, failed) = several.split_once("<Error>").unwrap_or_else(|| panic!("{several}"));
        let swapped = deleted.contains("<Deleted>");
        let deleted = if swapped { deleted } else { failed };
        assert!(deleted.contains("<Deleted><Key>docs/b</Key>"), "{several}");
        assert!(several.contains("read-write, first/docs/*") && several.matches("<Error>").count() == 1);
        assert_eq!(served.ask(Some(&served.alice), "GET", "/first/other/c", b"", &[]).text, "other/c");
        // Forms.
        assert_eq!(served.signed_form(&who, "first", "docs/form", "x").status, 204);
        assert!(is_out_of_scope("POST", &served.signed_form(&who, "first", "other/form", "x")));
        let reader = alice(served, Access::ReadOnly, &["first"]);
        assert!(is_out_of_scope("POST", &served.signed_form(&reader, "first", "docs/form", "x")));
        // Where the shards of an object are.
        assert_eq!(ask("GET", "/v1/locate?bucket=first&key=docs/a").status, 200);
        assert!(is_out_of_scope("GET", &ask("GET", "/v1/locate?bucket=first&key=docsx")));
        // Links that were signed before the key got its scope, or by hand, do no more.
        let link = served.signed(&who, "GET", "/first/docsx", &[]);
        assert!(is_out_of_scope("GET", &served.send("GET", &link, b"", &[])));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn buckets_are_shown_made_and_governed_within_the_scope_only() {
    with_client(|served| {
        for bucket in ["/first", "/second", "/third"] {
            served.put(bucket, "");
        }
        let who = alice(served, Access::ReadWrite, &["first/a*", "third", "fourth", "not-there"]);
        let ask = |method: &str, path: &str| served.ask(Some(&who), method, path, b"", &[]);
        let listed = ask("GET", "/").text;
        let names: Vec<_> =
            listed.split("<Name>").skip(1).map(|rest| rest.split('<').next().unwrap()).collect();
        assert_eq!(names, ["first", "third"]);
        assert!(is_out_of_scope("PUT", &ask("PUT", "/fifth")));
        assert_eq!(ask("PUT", "/fourth").status, 200);
        assert_eq!(ask("DELETE", "/fourth").status, 204);
        // Of the bucket it has whole, it changes the policy; of the one of which it has a part, not.
        let open = crate::accounts::policy("Allow", "s3:GetObject", "third/*");
        let put = |who: &Credentials, bucket: &str, policy: &str| {
            served.ask(Some(who), "PUT", &format!("/{bucket}?policy"), policy.as_bytes(), &[])
        };
        assert_eq!(put(&who, "third", &open).status, 204);
        assert!(is_out_of_scope("PUT", &put(&who, "first", &open.replace("third", "first"))));
        for access in [Access::ReadOnly, Access::WriteOnly] {
            assert!(is_out_of_scope("PUT", &put(&alice(served, access, &["third"]), "third", &open)));
            let new = served.ask(Some(&alice(served, access, &[])), "PUT", "/sixth", b"", &[]);
            assert!(is_out_of_scope("PUT", &new));
        }
        // A scope takes away also what everybody may.
        served.put("/third/k", "x");
        assert_eq!(served.ask(None, "GET", "/third/k", b"", &[]).text, "x");
        let elsewhere = alice(served, Access::ReadWrite, &["first"]);
        assert!(is_out_of_scope("GET", &served.ask(Some(&elsewhere), "GET", "/third/k", b"", &[])));
        // And gives nothing: the buckets of others stay theirs.
        let bob = served.scoped("bob", Access::ReadWrite, &["first"]);
        let denied = served.ask(Some(&bob), "GET", "/first", b"", &[]);
        assert_eq!((denied.code(), denied.text.contains("scope")), ("AccessDenied", false));
    })
    .await;
}

/// A backup's key writes and deletes, and gets past no lock of its account.
#[tokio::test(flavor = "multi_thread")]
async fn governance_yields_to_the_whole_bucket_only() {
    with_client(|served| {
        let locked = [("x-amz-bucket-object-lock-enabled", "true")];
        assert_eq!(served.ask(Some(&served.alice), "PUT", "/first", b"", &locked).status, 200);
        let kept = [
            ("x-amz-object-lock-mode", "GOVERNANCE"),
            ("x-amz-object-lock-retain-until-date", "2099-01-01T00:00:00Z"),
        ];
        let writer = alice(served, Access::WriteOnly, &["first"]);
        let below = alice(served, Access::ReadWrite, &["first/*"]);
        let put = served.ask(Some(&writer), "PUT", "/first/k", b"x", &kept);
        assert_eq!(put.status, 200, "{}", put.text);
        let version = format!("/first/k?versionId={}", put.header("x-amz-version-id"));
        let bypass = [("x-amz-bypass-governance-retention", "true")];
        for who in [&writer, &below] {
            assert!(is_out_of_scope("DELETE", &served.ask(Some(who), "DELETE", &version, b"", &bypass)));
            assert_eq!(served.ask(Some(who), "DELETE", &version, b"", &[]).code(), "AccessDenied");
        }
        let whole = alice(served, Access::ReadWrite, &["first"]);
        assert_eq!(served.ask(Some(&whole), "DELETE", &version, b"", &bypass).status, 204);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_expire_are_rotated_and_belong_to_parts_of_an_account() {
    use arion_gateway::keys::NewKey;
    with_client(|served| {
        served.put("/first", "");
        let full = || NewKey::full("alice/backup".parse().unwrap());
        let sub = served.add_key(full());
        // A part of the account has its buckets; S3 knows the account only.
        assert_eq!(served.put_as(&sub, "/first/k", b"hello").status, 200);
        assert_eq!(served.put_as(&sub, "/second", b"").status, 200);
        let buckets = served.ask(Some(&served.alice), "GET", "/", b"", &[]).text;
        assert!(buckets.contains("<ID>alice</ID>") && buckets.contains("<Name>second</Name>"), "{buckets}");
        let owner = served.ask(Some(&sub), "GET", "/first?list-type=2&fetch-owner=true", b"", &[]).text;
        assert!(owner.contains("<ID>alice</ID>") && !owner.contains("backup"), "{owner}");

        let soon = served.add_key(full());
        served.keys.rotate(soon.key(), 300).unwrap();
        let ask = |who: &Credentials| served.ask(Some(who), "GET", "/first/k", b"", &[]);
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        let refused = loop {
            let answer = ask(&soon);
            if answer.status != 200 {
                break answer;
            }
            assert!(std::time::Instant::now() < deadline);
            std::thread::sleep(std::time::Duration::from_millis(20));
        };
        assert_eq!((refused.status, refused.code()), (400, "ExpiredToken"), "{}", refused.text);
        // Without the secret nobody learns that.
        let guess = Credentials::new(soon.key(), "wrong-secret");
        assert_eq!(ask(&guess).code(), "SignatureDoesNotMatch");

        let kept = served.keys.rotate(sub.key(), 3_600_000).unwrap();
        let new = Credentials::new(kept.access_key, kept.secret);
        assert_eq!((ask(&sub).status, ask(&new).status), (200, 200));
        let at_once = served.keys.rotate(new.key(), 0).unwrap();
        assert_eq!(ask(&new).code(), "ExpiredToken");
        let newest = Credentials::new(at_once.access_key, at_once.secret);
        assert_eq!(ask(&newest).text, "hello");
        served.keys.remove(newest.key()).unwrap();
        assert_eq!(ask(&newest).code(), "InvalidAccessKeyId");
    })
    .await;
}
