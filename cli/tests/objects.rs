//! put, get, ls and locate against a gateway whose miners are in memory.

#![allow(missing_docs, clippy::unwrap_used)]

mod served;

use std::fs;

use arion_cli::{
    failure::GatewayError,
    objects::ObjectUrl,
    transfer::{self, PutOptions},
};
use indicatif::ProgressBar;
use served::{Tool, network::sample, serve};

fn url(text: &str) -> ObjectUrl {
    text.parse().unwrap()
}

/// `arion ls ... | head`: the tool used to panic when nobody read its output any more.
fn list_for_a_reader_that_went_away(tool: &Tool) {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = tool.command(&["ls", "s3://first/"]).stdout(writer).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(output.status.success(), "{:?}", output.status);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_go_there_and_come_back() {
    let served = serve().await;
    served
        .while_serving(|tool| {
            let client = tool.client();
            client.make_bucket("first").unwrap();
            let (source, back) = (tool.files.join("source"), tool.files.join("back"));
            // In one piece, and in parts.
            for (len, etag_has_parts) in [(0, false), (100_000, false), (40 << 20, true)] {
                fs::write(&source, sample(len)).unwrap();
                let at = url(&format!("s3://first/d/{len} ü"));
                let bar = ProgressBar::hidden();
                let put = transfer::put(&client, &source, &at, &PutOptions::default(), &bar).unwrap();
                assert_eq!((put.bytes, put.etag.contains('-')), (len as u64, etag_has_parts));
                assert_eq!(bar.position(), len as u64);
                let (got, head) = transfer::get(&client, &at, &back, &ProgressBar::new(0)).unwrap();
                assert_eq!((&got.etag, got.verified, head.size), (&put.etag, true, len as u64));
                assert!(head.modified.is_some());
                assert!(fs::read(&back).unwrap() == sample(len), "{len}");
            }
            let folded = client.list(&url("s3://first/"), false).unwrap();
            assert_eq!(folded.iter().map(|line| line.key.as_str()).collect::<Vec<_>>(), ["d/"]);
            assert_eq!(client.list(&url("s3://first/"), true).unwrap().len(), 3);
            list_for_a_reader_that_went_away(tool);
            let located = client.locate(&url("s3://first/d/100000 ü")).unwrap();
            let shards = located["stripes"][0]["shards"].as_array().unwrap();
            assert_eq!(shards.len(), 30);
            assert!(shards.iter().filter(|shard| shard["durable"] == true).count() >= 20, "{located}");
            client.delete(&url("s3://first/d/0 ü")).unwrap();
            let gone = client.head(&url("s3://first/d/0 ü")).unwrap_err();
            assert!(matches!(gone.downcast_ref(), Some(GatewayError::Refused { status: 404, .. })), "{gone}");
            let credentials = (tool.credentials.0.clone(), "wrong".to_owned());
            let stranger = Tool { credentials, endpoint: tool.endpoint.clone(), files: tool.files.clone() };
            let refused = stranger.client().list(&url("s3://first/"), true).unwrap_err();
            assert!(
                matches!(refused.downcast_ref(), Some(GatewayError::Refused { status: 403, .. })),
                "{refused}"
            );
        })
        .await;
}
