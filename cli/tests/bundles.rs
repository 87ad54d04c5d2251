//! Objects of bundles, stored by the chain-submitter at a gateway whose miners are in memory, read by the tool without a key.

#![allow(missing_docs, clippy::unwrap_used)]

mod served;

use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt, path::PathBuf};

use arion_cli::command::PublicPlace;
use arion_submitter::bundle::{
    s3::S3Shelf,
    shelf::{Shelf, ShelfError, name_of, read_back},
};
use served::{Tool, network::sample, serve};
use tokio::runtime::Handle;

const MAX: usize = 8 << 20;

/// A file as `arion-gateway access-key add --json` prints it.
fn key_file(tool: &Tool, access_key: &str, secret_key: &str) -> PathBuf {
    let file = tool.files.join(format!("{access_key}.json"));
    let text = serde_json::json!({ "account": "alice", "access_key": access_key, "secret_key": secret_key });
    fs::write(&file, text.to_string()).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    file
}

fn shelf(tool: &Tool, bucket: &str) -> S3Shelf {
    let file = key_file(tool, &tool.credentials.0, &tool.credentials.1);
    S3Shelf::new(&tool.endpoint, "us-east-1", bucket, &file).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_stored_in_a_bucket_of_their_own_and_read_by_strangers() {
    let served = serve().await;
    served
        .while_serving(|tool| {
            let shelf = shelf(tool, "arion-audit");
            let now = Handle::current();
            let place: PublicPlace = format!("{}/arion-audit/", tool.endpoint).parse().unwrap();
            for bytes in [sample(3 << 20), b"index".to_vec(), sample(3 << 20)] {
                let hash: [u8; 32] = blake3::hash(&bytes).into();
                now.block_on(shelf.put(&name_of(&hash), bytes.clone())).unwrap();
                now.block_on(read_back(&shelf, &hash)).unwrap();
                assert_eq!(place.object(&name_of(&hash), MAX).unwrap(), Some(bytes));
            }
            // Under a name that is not its own; under none.
            now.block_on(shelf.put(&name_of(&[1; 32]), sample(9))).unwrap();
            let damaged = now.block_on(read_back(&shelf, &[1; 32]));
            assert!(matches!(damaged, Err(ShelfError::Damaged(_))), "{damaged:?}");
            assert_eq!(place.object(&name_of(&[2; 32]), MAX).unwrap(), None);
            // There, but not for everybody.
            tool.ok(&["mb", "s3://mine"]);
            tool.write("private", &sample(9));
            tool.ok(&["put", "private", &format!("s3://mine/{}", name_of(&[3; 32]))]);
            let mine: PublicPlace = format!("{}/mine", tool.endpoint).parse().unwrap();
            assert_eq!(mine.object(&name_of(&[3; 32]), MAX).unwrap(), None);
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_of_somebody_else_a_wrong_key_and_nobody_are_told() {
    let served = serve().await;
    served
        .while_serving(|tool| {
            let now = Handle::current();
            let put = |shelf: S3Shelf| now.block_on(shelf.put("name", sample(3 << 20))).unwrap_err();
            let refused = put(shelf(tool, "taken"));
            assert!(matches!(refused, ShelfError::Refused { status: 403, .. }), "{refused}");
            let wrong = key_file(tool, "A", "S");
            let refused = put(S3Shelf::new(&tool.endpoint, "us-east-1", "arion-audit", &wrong).unwrap());
            assert!(matches!(refused, ShelfError::Refused { status: 403, .. }), "{refused}");
            // A port at which nobody listens any more.
            let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let gone = put(S3Shelf::new(&format!("http://{address}"), "us-east-1", "b", &wrong).unwrap());
            assert!(matches!(gone, ShelfError::Unreachable { .. }), "{gone}");
        })
        .await;
}
