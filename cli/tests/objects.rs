//! put, get, ls and locate against a gateway whose miners are in memory.

#![allow(missing_docs, clippy::unwrap_used)]

#[path = "../../gateway/tests/network/mod.rs"]
mod network;

use std::{fs, process::Command, sync::Arc, time::Duration};

use arion_cli::{
    failure::GatewayError,
    objects::{Client, ObjectUrl},
    settings::Settings,
    transfer,
};
use arion_gateway::{
    http::S3Server,
    keys::AccessKeys,
    s3::{self, Store},
};

fn settings(endpoint: &str, credentials: (String, String)) -> Settings {
    Settings {
        chain_url: String::new(),
        chain_genesis: None,
        s3_endpoint: endpoint.to_owned(),
        region: "us-east-1".to_owned(),
        credentials: Some(credentials),
        gateway_http: None,
        validators: Vec::new(),
    }
}

fn url(text: &str) -> ObjectUrl {
    text.parse().unwrap()
}

/// `arion ls ... | head`: the tool used to panic when nobody read its output any more.
fn list_for_a_reader_that_went_away(endpoint: &str, credentials: &(String, String)) {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(env!("CARGO_BIN_EXE_arion"))
        .args(["--s3-endpoint", endpoint, "ls", "s3://first/"])
        .env("ARION_ACCESS_KEY", &credentials.0)
        .env("ARION_SECRET_KEY", &credentials.1)
        .stdout(writer)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(output.status.success(), "{:?}", output.status);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_go_there_and_come_back() {
    let directory = tempfile::tempdir().unwrap();
    let network = network::Network::new();
    let grid = network.grid(directory.path());
    let keys = Arc::new(AccessKeys::new(directory.path().join("keys.toml")));
    let credentials = keys.add("alice", None, None).unwrap();
    let store = Store {
        grid,
        accounts: network::accounts(),
        region: "us-east-1".to_owned(),
        part_bytes_min: s3::PART_BYTES_MIN,
    };
    let address = "127.0.0.1:0".parse().unwrap();
    let server = S3Server::bind(address, s3::service(store, keys), Duration::from_secs(1)).await.unwrap();
    let endpoint = format!("http://{}", server.local_addr());
    let work = move || {
        let client = Client::new(&settings(&endpoint, credentials.clone())).unwrap();
        client.make_bucket("first").unwrap();
        let (source, back) = (directory.path().join("source"), directory.path().join("back"));
        // In one piece, and in parts.
        for (len, etag_has_parts) in [(0, false), (100_000, false), (40 << 20, true)] {
            fs::write(&source, network::sample(len)).unwrap();
            let at = url(&format!("s3://first/d/{len} ü"));
            let put = transfer::put(&client, &source, &at, true).unwrap();
            assert_eq!((put.bytes, put.etag.contains('-')), (len as u64, etag_has_parts));
            let got = transfer::get(&client, &at, &back, true).unwrap();
            assert_eq!(got.etag, put.etag);
            assert!(fs::read(&back).unwrap() == network::sample(len), "{len}");
        }
        let folded = client.list(&url("s3://first/"), false).unwrap();
        assert_eq!(folded.iter().map(|line| line.key.as_str()).collect::<Vec<_>>(), ["d/"]);
        assert_eq!(client.list(&url("s3://first/"), true).unwrap().len(), 3);
        list_for_a_reader_that_went_away(&endpoint, &credentials);
        let located = client.locate(&url("s3://first/d/100000 ü")).unwrap();
        assert_eq!(located["stripes"][0]["shards"].as_array().unwrap().len(), 30);
        client.delete(&url("s3://first/d/0 ü")).unwrap();
        let gone = transfer::get(&client, &url("s3://first/d/0 ü"), &back, true).unwrap_err();
        assert!(matches!(gone.downcast_ref(), Some(GatewayError::Refused { status: 404, .. })), "{gone}");
        let wrong = Client::new(&settings(&endpoint, (credentials.0, "wrong".to_owned()))).unwrap();
        let refused = wrong.list(&url("s3://first/"), true).unwrap_err();
        assert!(
            matches!(refused.downcast_ref(), Some(GatewayError::Refused { status: 403, .. })),
            "{refused}"
        );
    };
    tokio::task::spawn_blocking(work).await.unwrap();
    server.shutdown().await;
}
