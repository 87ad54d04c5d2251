//! S3's finer points of objects over HTTP: versions, locks, tags, conditions, checksums, parts.

use rusty_s3::Method;

use crate::{
    network,
    signed::{self, Served, with_client},
};

#[tokio::test(flavor = "multi_thread")]
async fn versions_are_read_hidden_and_removed() {
    with_client(|served| {
        served.versioned("bkt");
        assert_eq!(served.get("bkt", &[("versioning", "")], &[]).ok().one("Status"), "Enabled");
        let ids: Vec<_> = ["one", "two"]
            .map(|body| served.put("bkt/k", &[], body.as_bytes()).ok().header("x-amz-version-id").to_owned())
            .into();
        assert_eq!(served.get("bkt/k", &[], &[]).ok().body, b"two");
        let first = served.get("bkt/k", &[("versionId", &ids[0])], &[]).ok();
        assert_eq!((first.body.as_slice(), first.header("x-amz-version-id")), (&b"one"[..], ids[0].as_str()));
        let hidden = served.delete("bkt/k", &[], &[]).ok();
        assert_eq!(hidden.header("x-amz-delete-marker"), "true");
        let marker = hidden.header("x-amz-version-id").to_owned();
        let gone = served.get("bkt/k", &[], &[]);
        assert_eq!(gone.error(), (404, "NoSuchKey".into()));
        assert_eq!(gone.header("x-amz-delete-marker"), "true");
        assert_eq!(gone.header("x-amz-version-id"), marker);
        let named = served.get("bkt/k", &[("versionId", &marker)], &[]);
        assert_eq!(named.error(), (405, "MethodNotAllowed".into()));
        assert_eq!(served.get("bkt/k", &[("versionId", "x")], &[]).error(), (400, "InvalidArgument".into()));
        let other = "0".repeat(32);
        assert_eq!(served.get("bkt/k", &[("versionId", &other)], &[]).error(), (404, "NoSuchVersion".into()));
        assert_eq!(served.get("bkt", &[], &[]).ok().all("Key"), Vec::<String>::new());
        let listed = served.get("bkt", &[("versions", ""), ("max-keys", "2")], &[]).ok();
        assert_eq!(listed.one("IsTruncated"), "true");
        assert_eq!(listed.one("NextVersionIdMarker"), ids[1]);
        let rest = served
            .get("bkt", &[("versions", ""), ("key-marker", "k"), ("version-id-marker", &ids[1])], &[])
            .ok();
        assert_eq!(rest.all("VersionId"), [ids[0].clone()]);
        let bad = served.get("bkt", &[("versions", ""), ("version-id-marker", &ids[1])], &[]);
        assert_eq!(bad.error(), (400, "InvalidArgument".into()));
        // Removing the marker brings the object back, removing the newest version the one before.
        let removed = served.delete("bkt/k", &[("versionId", &marker)], &[]).ok();
        assert_eq!(removed.header("x-amz-delete-marker"), "true");
        assert_eq!(served.get("bkt/k", &[], &[]).ok().body, b"two");
        served.delete("bkt/k", &[("versionId", &ids[1])], &[]).ok();
        assert_eq!(served.get("bkt/k", &[], &[]).ok().body, b"one");
        assert_eq!(served.delete("bkt", &[], &[]).error(), (409, "BucketNotEmpty".into()));
        // An old version is copied forward.
        let from = format!("bkt/k?versionId={}", ids[0]);
        let copied = served.put("bkt/k", &[("x-amz-copy-source", &from)], b"").ok();
        assert_eq!(copied.header("x-amz-copy-source-version-id"), ids[0]);
        assert_ne!(copied.header("x-amz-version-id"), ids[0]);
        let suspended = "<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>";
        served.set("bkt", "versioning", suspended).ok();
        assert_eq!(served.put("bkt/k", &[], b"null").ok().header("x-amz-version-id"), "");
        assert_eq!(served.get("bkt/k", &[("versionId", "null")], &[]).ok().body, b"null");
    })
    .await;
}

fn locked(served: &Served) {
    served.put("bkt", &[("x-amz-bucket-object-lock-enabled", "true")], b"").ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn locks_are_kept_and_told() {
    with_client(|served| {
        served.put("plain", &[], b"").ok();
        served.put("plain/k", &[], b"x").ok();
        let hold = "<LegalHold><Status>ON</Status></LegalHold>";
        assert_eq!(served.set("plain/k", "legal-hold", hold).error(), (400, "InvalidRequest".into()));
        let asked = served.get("plain", &[("object-lock", "")], &[]);
        assert_eq!(asked.error(), (404, "ObjectLockConfigurationNotFoundError".into()));
        locked(served);
        let default = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule>\
            <DefaultRetention><Mode>GOVERNANCE</Mode><Days>1</Days></DefaultRetention></Rule></ObjectLockConfiguration>";
        assert_eq!(served.set("plain", "object-lock", default).error(), (409, "InvalidBucketState".into()));
        served.set("bkt", "object-lock", default).ok();
        assert_eq!(served.get("bkt", &[("object-lock", "")], &[]).ok().one("Days"), "1");
        let id = served.put("bkt/k", &[], b"x").ok().header("x-amz-version-id").to_owned();
        let head = served.head("bkt/k", &[], &[]).ok();
        assert_eq!(head.header("x-amz-object-lock-mode"), "GOVERNANCE");
        let version = [("versionId", id.as_str())];
        assert_eq!(served.delete("bkt/k", &version, &[]).error(), (403, "AccessDenied".into()));
        served.set("bkt/k", "legal-hold", hold).ok();
        assert_eq!(served.get("bkt/k", &[("legal-hold", "")], &[]).ok().one("Status"), "ON");
        let bypass = [("x-amz-bypass-governance-retention", "true")];
        assert_eq!(served.delete("bkt/k", &version, &bypass).error(), (403, "AccessDenied".into()));
        served.set("bkt/k", "legal-hold", &hold.replace("ON", "OFF")).ok();
        let longer = "<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>2140-01-01T00:00:00Z</RetainUntilDate></Retention>";
        served.set("bkt/k", "retention", longer).ok();
        assert!(served.get("bkt/k", &[("retention", "")], &[]).ok().one("RetainUntilDate").starts_with("2140-01-01"));
        let firmer = longer.replace("GOVERNANCE", "COMPLIANCE");
        assert_eq!(served.set("bkt/k", "retention", &firmer).error(), (403, "AccessDenied".into()));
        let past = longer.replace("2140", "2001");
        assert_eq!(served.set("bkt/k", "retention", &past).error(), (400, "InvalidArgument".into()));
        served.delete("bkt/k", &version, &bypass).ok();
        assert_eq!(served.get("bkt/k", &[], &[]).status, 404);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_and_headers_come_back_and_copies_take_them_or_others() {
    with_client(|served| {
        served.put("bkt", &[], b"").ok();
        let headers = [
            ("x-amz-tagging", "colour=dark%20red&empty="),
            ("x-amz-meta-a", "bkt"),
            ("x-amz-website-redirect-location", "/other"),
            ("content-language", "de"),
        ];
        served.put("bkt/k", &headers, b"x").ok();
        for (name, value) in &headers[1..] {
            assert_eq!(served.get("bkt/k", &[], &[]).ok().header(name), *value);
        }
        assert_eq!(served.get("bkt/k", &[], &[]).ok().header("x-amz-tagging-count"), "2");
        assert_eq!(served.head("bkt/k", &[], &[]).ok().header("x-amz-tagging-count"), "2");
        let tags = |path: &str| served.get(path, &[("tagging", "")], &[]).ok();
        assert_eq!(tags("bkt/k").all("Value"), ["dark red", ""]);
        served.put("bkt/same", &[("x-amz-copy-source", "bkt/k")], b"").ok();
        assert_eq!(tags("bkt/same").all("Key"), ["colour", "empty"]);
        let other = [
            ("x-amz-copy-source", "bkt/k"),
            ("x-amz-tagging-directive", "REPLACE"),
            ("x-amz-tagging", "new=1"),
        ];
        served.put("bkt/other", &other, b"").ok();
        assert_eq!(tags("bkt/other").all("Key"), ["new"]);
        assert_eq!(served.head("bkt/other", &[], &[]).ok().header("x-amz-meta-a"), "bkt");
        served.delete("bkt/k", &[("tagging", "")], &[]).ok();
        assert_eq!(tags("bkt/k").all("Key"), Vec::<String>::new());
        assert_eq!(served.head("bkt/k", &[], &[]).ok().header("x-amz-tagging-count"), "");
        let twice = "<Tagging><TagSet><Tag><Key>a</Key><Value>1</Value></Tag><Tag><Key>a</Key><Value>2</Value></Tag></TagSet></Tagging>";
        assert_eq!(served.set("bkt/k", "tagging", twice).error(), (400, "InvalidTag".into()));
        let itself = served.put("bkt/k", &[("x-amz-copy-source", "bkt/k")], b"");
        assert_eq!(itself.error(), (400, "InvalidRequest".into()));
        let long = "x".repeat(2_050);
        let big = served.put("bkt/k", &[("x-amz-meta-a", long.as_str())], b"");
        assert_eq!(big.error(), (400, "MetadataTooLarge".into()));
        let long = "k".repeat(1_025);
        assert_eq!(served.put(&format!("bkt/{long}"), &[], b"").error(), (400, "KeyTooLongError".into()));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_of_writes_and_deletions_hold_or_refuse() {
    with_client(|served| {
        served.put("bkt", &[], b"").ok();
        let put = |headers: signed::Pairs<'_>| served.put("bkt/k", headers, b"x");
        assert_eq!(put(&[("if-match", "*")]).error(), (404, "NoSuchKey".into()));
        let etag = put(&[("if-none-match", "*")]).ok().header("etag").to_owned();
        for header in [("if-none-match", "*"), ("if-none-match", etag.as_str()), ("if-match", "\"other\"")] {
            assert_eq!(put(&[header]).error(), (412, "PreconditionFailed".into()), "{header:?}");
        }
        put(&[("if-none-match", "\"other\"")]).ok();
        put(&[("if-match", &etag)]).ok();
        let unchanged = served.get("bkt/k", &[], &[("if-none-match", &etag)]);
        assert_eq!((unchanged.status, unchanged.header("etag")), (304, etag.as_str()));
        let past = [("if-unmodified-since", "Mon, 01 Jan 2001 00:00:00 GMT")];
        assert_eq!(served.get("bkt/k", &[], &past).status, 412);
        // An ETag that fits is stronger than a time that does not.
        assert_eq!(served.get("bkt/k", &[], &[past[0], ("if-match", &etag)]).status, 200);
        let source = [("x-amz-copy-source", "bkt/k"), ("x-amz-copy-source-if-none-match", etag.as_str())];
        assert_eq!(served.put("bkt/copy", &source, b"").error(), (412, "PreconditionFailed".into()));
        for header in [("if-match", "\"other\""), ("x-amz-if-match-size", "9")] {
            let refused = served.delete("bkt/k", &[], &[header]);
            assert_eq!(refused.error(), (412, "PreconditionFailed".into()), "{header:?}");
        }
        served.delete("bkt/k", &[], &[("if-match", &etag), ("x-amz-if-match-size", "1")]).ok();
        assert_eq!(served.delete("bkt/k", &[], &[("if-match", "\"other\"")]).status, 204);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_have_checksums_and_are_read_by_number() {
    with_client(|served| {
        served.put("bkt", &[], b"").ok();
        let plain = network::sample(3_000);
        for (algorithm, kind, suffix) in [("CRC32", "FULL_OBJECT", ""), ("SHA256", "COMPOSITE", "-2")] {
            let wish = [("x-amz-checksum-algorithm", algorithm), ("x-amz-checksum-type", kind)];
            let begun = served.send(Method::Post, "bkt/k", &[("uploads", "")], &wish, b"").ok();
            let id = begun.one("UploadId");
            let part = |number: &str, body: &[u8]| {
                let query = [("partNumber", number), ("uploadId", id.as_str())];
                served.send(Method::Put, "bkt/k", &query, &[], body)
            };
            assert_eq!(part("0", b"").error(), (400, "InvalidArgument".into()));
            assert_eq!(part("10001", b"").error(), (400, "InvalidArgument".into()));
            let sent = [part("3", &plain[..2_000]).ok(), part("7", &plain[2_000..]).ok()];
            let header = format!("x-amz-checksum-{}", algorithm.to_lowercase());
            let listed = served.get("bkt/k", &[("uploadId", &id), ("max-parts", "1")], &[]).ok();
            assert_eq!((listed.one("IsTruncated"), listed.one("NextPartNumberMarker")), ("true".into(), "3".into()));
            assert_eq!(listed.one(&format!("Checksum{algorithm}")), sent[0].header(&header));
            let complete = |checksum: &str| {
                let line = |number: u8, at: usize| {
                    format!(
                        "<Part><PartNumber>{number}</PartNumber><ETag>{}</ETag><Checksum{algorithm}>{}</Checksum{algorithm}></Part>",
                        sent[at].header("etag"),
                        sent[at].header(&header)
                    )
                };
                let xml = format!("<CompleteMultipartUpload>{}{}</CompleteMultipartUpload>", line(3, 0), line(7, 1));
                let given: Vec<_> = (!checksum.is_empty()).then_some((header.as_str(), checksum)).into_iter().collect();
                served.send(Method::Post, "bkt/k", &[("uploadId", &id)], &given, xml.as_bytes())
            };
            assert_eq!(complete("AAAAAA==").error(), (400, "BadDigest".into()));
            let done = complete("").ok();
            let whole = done.one(&format!("Checksum{algorithm}"));
            assert!(whole.ends_with(suffix) && !whole.is_empty(), "{}", done.text());
            // Whoever did not hear the answer asks again.
            assert_eq!(complete("").ok().one("ETag"), done.one("ETag"));
            let mode = [("x-amz-checksum-mode", "ENABLED")];
            let head = served.head("bkt/k", &[], &mode).ok();
            assert_eq!((head.header(&header), head.header("x-amz-checksum-type")), (whole.as_str(), kind));
            assert_eq!(served.head("bkt/k", &[], &[]).ok().header(&header), "");
            for (number, range, at) in [("3", 0..2_000, 0), ("7", 2_000..3_000, 1)] {
                let got = served.get("bkt/k", &[("partNumber", number)], &mode);
                assert_eq!((got.status, got.body.as_slice()), (206, &plain[range.clone()]));
                assert_eq!(got.header("content-range"), format!("bytes {}-{}/3000", range.start, range.end - 1));
                assert_eq!(got.header("x-amz-mp-parts-count"), "2");
                assert_eq!(got.header(&header), sent[at].header(&header));
                let head = served.head("bkt/k", &[("partNumber", number)], &[]).ok();
                assert_eq!(head.header("content-length"), got.body.len().to_string());
            }
            assert_eq!(served.get("bkt/k", &[("partNumber", "1")], &[]).error(), (400, "InvalidPart".into()));
            let both = served.get("bkt/k", &[("partNumber", "3")], &[("range", "bytes=0-1")]);
            assert_eq!(both.error(), (400, "InvalidRequest".into()));
            let attributes = [("x-amz-object-attributes", "ETag,ObjectParts,Checksum,ObjectSize"), ("x-amz-max-parts", "1")];
            let told = served.get("bkt/k", &[("attributes", "")], &attributes).ok();
            assert_eq!((told.one("ObjectSize"), told.one("PartsCount")), ("3000".into(), "2".into()));
            let etag = served.head("bkt/k", &[], &[]).header("etag").trim_matches('"').to_owned();
            assert_eq!(told.one("ETag"), etag);
            assert_eq!((told.one("PartNumber"), told.one("Size")), ("3".into(), "2000".into()));
            assert_eq!((told.one("ChecksumType"), told.one("IsTruncated")), (kind.into(), "true".into()));
        }
        // No such upload, whatever is said of its parts.
        let parts = b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>1234</ETag></Part>\
            </CompleteMultipartUpload>";
        let complete = |id: &str| served.send(Method::Post, "bkt/k", &[("uploadId", id)], &[], parts).error();
        assert_eq!(complete("none"), (404, "NoSuchUpload".into()));
        let begun = served.send(Method::Post, "bkt/k", &[("uploads", "")], &[], b"").ok();
        assert_eq!(complete(&begun.one("UploadId")), (400, "InvalidPart".into()));
        let encodings = [("content-encoding", "aws-chunked,deflate,gzip")];
        served.put("bkt/encoded", &encodings, b"x").ok();
        assert_eq!(served.head("bkt/encoded", &[], &[]).header("content-encoding"), "deflate, gzip");
        let bad = [("x-amz-checksum-algorithm", "SHA256"), ("x-amz-checksum-type", "FULL_OBJECT")];
        let refused = served.send(Method::Post, "bkt/k", &[("uploads", "")], &bad, b"");
        assert_eq!(refused.error(), (400, "InvalidRequest".into()));
        // A checksum is made where none was given, and a range does not carry that of the whole.
        served.put("bkt/plain", &[], b"123456789").ok();
        let mode = ("x-amz-checksum-mode", "ENABLED");
        let got = served.get("bkt/plain", &[], &[mode]).ok();
        assert_eq!(got.header("x-amz-checksum-crc64nvme"), "rosUhgp5mIg=");
        let ranged = served.get("bkt/plain", &[], &[mode, ("range", "bytes=0-1")]);
        assert_eq!((ranged.status, ranged.header("x-amz-checksum-crc64nvme")), (206, ""));
        let beyond = served.get("bkt/plain", &[], &[("range", "bytes=9-")]);
        assert_eq!(beyond.error(), (416, "InvalidRange".into()));
        assert_eq!(beyond.header("content-range"), "bytes */9");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_are_listed_by_page() {
    with_client(|served| {
        served.put("bkt", &[], b"").ok();
        for key in ["a", "d/1", "d/2", "z", "z"] {
            served.send(Method::Post, &format!("bkt/{key}"), &[("uploads", "")], &[], b"").ok();
        }
        let (mut keys, mut prefixes) = (Vec::new(), Vec::new());
        let (mut key, mut id) = (String::new(), String::new());
        loop {
            let query = [
                ("uploads", ""),
                ("delimiter", "/"),
                ("max-uploads", "1"),
                ("key-marker", key.as_str()),
                ("upload-id-marker", id.as_str()),
            ];
            let page = served.get("bkt", &query, &[]).ok();
            keys.extend(page.all("Key"));
            prefixes.extend(page.all("CommonPrefixes"));
            if page.one("IsTruncated") != "true" {
                break;
            }
            (key, id) = (page.one("NextKeyMarker"), page.one("NextUploadIdMarker"));
        }
        assert_eq!(keys, ["a", "z", "z"]);
        assert_eq!(prefixes, ["<Prefix>d/</Prefix>"]);
        let bad = served.get("bkt", &[("uploads", ""), ("max-uploads", "-1")], &[]);
        assert_eq!(bad.error(), (400, "InvalidArgument".into()));
        // Uploads do not keep a bucket; its name is free again once they are given up, which nobody does here.
        served.delete("bkt", &[], &[]).ok();
        assert_eq!(served.put("bkt", &[], b"").error(), (409, "OperationAborted".into()));
    })
    .await;
}
