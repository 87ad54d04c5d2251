//! Receipts of objects: what the gateway answers is proven by its own signature and those of miners, and is for the owner alone.

use arion_ledger::PutReceipt;
use arion_types::GenesisHash;

use crate::{
    accounts::{Served, with_client},
    network::{GENESIS, sample},
};

fn receipt(served: &Served, key: &str, more: &str) -> PutReceipt {
    let answer = served.ask(
        Some(&served.alice),
        "GET",
        &format!("/v1/receipt?bucket=first&key={key}{more}"),
        b"",
        &[],
    );
    assert_eq!(answer.status, 200, "{}", answer.text);
    serde_json::from_str(&answer.text).unwrap()
}

fn put(served: &Served, path: &str, body: &[u8]) -> (String, String) {
    let answer = served.put_as(&served.alice, path, body);
    assert_eq!(answer.status, 200, "{}", answer.text);
    (answer.header("etag").trim_matches('"').to_owned(), answer.header("x-amz-version-id").to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_stored_is_proven() {
    with_client(|served| {
        served.put("/first", "");
        let genesis: GenesisHash = GENESIS;
        for (key, bytes) in [("empty", 0), ("small", 1_000), ("large", 11 << 20)] {
            let (etag, _) = put(served, &format!("/first/{key}"), &sample(bytes));
            let proven = receipt(served, key, "").verify().unwrap();
            let statement = &proven.statement;
            assert_eq!((statement.bucket.as_str(), statement.key.as_str()), ("first", key));
            assert_eq!((statement.size, &statement.etag), (bytes as u64, &etag));
            assert_eq!((proven.genesis, statement.gateway), (genesis, served.grid.node_id()));
            assert_eq!(statement.version, None);
            assert!(statement.checksums.iter().any(|(name, _)| name == "CRC64NVME"), "{statement:?}");
            assert!(proven.fewest().is_some_and(|fewest| fewest >= 20), "{key}: {:?}", proven.fewest());
            assert_eq!(proven.receipts.len(), if key == "large" { 2 } else { 1 });
        }
        // The same bytes elsewhere lie in the same stripes.
        let copied = [("x-amz-copy-source", "first/large")];
        assert_eq!(served.ask(Some(&served.alice), "PUT", "/first/copy", b"", &copied).status, 200);
        let stripes = |key| receipt(served, key, "").parts.into_iter().flat_map(|part| part.stripes);
        let ids = |key| stripes(key).map(|stripe| stripe.shards).collect::<Vec<_>>();
        assert_eq!(ids("copy"), ids("large"));
        // Overwritten, the object lies elsewhere.
        let before = ids("small");
        put(served, "/first/small", &sample(2_000));
        assert_ne!(ids("small"), before);
        assert!(receipt(served, "small", "").verify().is_ok());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_have_receipts_and_nobody_else_gets_one() {
    with_client(|served| {
        served.put("/first", "");
        served.put(
            "/first?versioning",
            "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>",
        );
        let (etag, version) = put(served, "/first/k", b"one");
        let (newer, _) = put(served, "/first/k", b"two");
        let proven = receipt(served, "k", &format!("&versionId={version}")).verify().unwrap();
        assert_eq!((proven.statement.etag, proven.statement.version), (etag, Some(version)));
        assert_eq!(receipt(served, "k", "").verify().unwrap().statement.etag, newer);
        let ask = |who, query: &str| served.ask(who, "GET", &format!("/v1/receipt?{query}"), b"", &[]);
        let alice = Some(&served.alice);
        for (who, query, status, code) in [
            (Some(&served.bob), "bucket=first&key=k", 403, "AccessDenied"),
            (None, "bucket=first&key=k", 403, "AccessDenied"),
            (alice, "bucket=first&key=none", 404, "NoSuchKey"),
            (alice, "bucket=none&key=k", 404, "NoSuchBucket"),
            (alice, "bucket=first&key=k&versionId=x", 400, "InvalidArgument"),
            (alice, "bucket=first", 400, "InvalidRequest"),
        ] {
            let answer = ask(who, query);
            assert_eq!((answer.status, answer.code()), (status, code), "{query}: {}", answer.text);
        }
        served.ask(alice, "DELETE", "/first/k", b"", &[]);
        assert_eq!(ask(alice, "bucket=first&key=k").code(), "NoSuchKey");
    })
    .await;
}
