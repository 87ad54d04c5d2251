//! The store of bundles is the S3 endpoint of a gateway whose miners are in memory.

#![allow(clippy::unwrap_used)]

#[path = "../../gateway/tests/gateway/network.rs"]
mod network;

use std::{os::unix::fs::PermissionsExt, path::PathBuf, sync::Arc, time::Duration};

use arion_gateway::{
    http::S3Server,
    keys::AccessKeys,
    meta::BucketInfo,
    s3::{self, Store},
};
use arion_submitter::bundle::{
    s3::S3Shelf,
    shelf::{Shelf, ShelfError, name_of, read_back},
};

struct Served {
    endpoint: String,
    key_file: PathBuf,
    directory: tempfile::TempDir,
    server: S3Server,
}

/// Beside a bucket `taken` of somebody else.
async fn serve() -> Served {
    let directory = tempfile::tempdir().unwrap();
    let network = network::Network::new();
    let grid = network.grid(directory.path());
    let keys = Arc::new(AccessKeys::new(directory.path().join("keys.toml")));
    let (access_key, secret_key) = keys.add("alice", None, None).unwrap();
    grid.meta.create_bucket("taken".into(), BucketInfo::new("bob".into(), 1)).await.unwrap();
    let key_file = directory.path().join("s3-access.json");
    let text = serde_json::json!({ "account": "alice", "access_key": access_key, "secret_key": secret_key });
    std::fs::write(&key_file, text.to_string()).unwrap();
    std::fs::set_permissions(&key_file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let region = "us-east-1".to_owned();
    let part_bytes_min = s3::PART_BYTES_MIN;
    let keyring = network::keyring(&grid.meta);
    let store = Store { grid, keyring, keys, region, part_bytes_min, webhooks: Default::default() };
    let address = "127.0.0.1:0".parse().unwrap();
    let service = s3::service(store, s3::Domains::default());
    let server = S3Server::bind(address, service, Duration::from_secs(1)).await.unwrap();
    let endpoint = format!("http://{}", server.local_addr());
    Served { endpoint, key_file, directory, server }
}

impl Served {
    fn shelf(&self, bucket: &str) -> S3Shelf {
        S3Shelf::new(&self.endpoint, "us-east-1", bucket, &self.key_file).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_stored_in_a_bucket_of_their_own_and_read_by_strangers() {
    let served = serve().await;
    let shelf = served.shelf("arion-audit");
    let mut part = vec![0; 3 << 20];
    blake3::Hasher::new().finalize_xof().fill(&mut part);
    for bytes in [part.clone(), b"index".to_vec(), part.clone()] {
        let hash: [u8; 32] = blake3::hash(&bytes).into();
        shelf.put(&name_of(&hash), bytes).await.unwrap();
        read_back(&shelf, &hash).await.unwrap();
    }
    assert_eq!(shelf.get(&name_of(blake3::hash(&part).as_bytes())).await.unwrap(), part);
    // Under a name that is not its own.
    shelf.put(&name_of(&[1; 32]), part).await.unwrap();
    assert!(matches!(read_back(&shelf, &[1; 32]).await, Err(ShelfError::Damaged(_))));
    let missing = shelf.get(&name_of(&[2; 32])).await.unwrap_err();
    assert!(matches!(missing, ShelfError::Private | ShelfError::Refused { status: 404, .. }), "{missing}");
    served.server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_of_somebody_else_a_wrong_key_and_nobody_are_told() {
    let served = serve().await;
    let refused = served.shelf("taken").put("name", b"x".to_vec()).await.unwrap_err();
    assert!(matches!(refused, ShelfError::Refused { status: 403, .. }), "{refused}");
    let wrong = served.directory.path().join("wrong.json");
    std::fs::write(&wrong, r#"{"access_key":"A","secret_key":"S"}"#).unwrap();
    std::fs::set_permissions(&wrong, std::fs::Permissions::from_mode(0o600)).unwrap();
    let stranger = S3Shelf::new(&served.endpoint, "us-east-1", "arion-audit", &wrong).unwrap();
    let refused = stranger.put("name", b"x".to_vec()).await.unwrap_err();
    assert!(matches!(refused, ShelfError::Refused { status: 403, .. }), "{refused}");
    let endpoint = served.endpoint.clone();
    let shelf = served.shelf("arion-audit");
    served.server.shutdown().await;
    let gone = shelf.put("name", b"x".to_vec()).await.unwrap_err();
    assert!(matches!(gone, ShelfError::Unreachable { .. }) && gone.to_string().contains(&endpoint), "{gone}");
}
