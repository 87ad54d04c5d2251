//! What miners and the wire see of users' data: nothing but its size.
//!
//! Objects with known bytes, names and metadata go through S3 to thirty real miners, and a snapshot of the gateway's metadata
//! with them. Then every byte on the miners' disks, on the wire and in the messages before the wire encrypts them is searched
//! for all of it. The search itself is checked: what lies there is found.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arion_crypto::OperatorSecret;
use arion_gateway::{
    grid::GridOptions,
    http::S3Server,
    keyring::Keyring,
    keys::AccessKeys,
    keystore::Generations,
    s3::{self, Store},
    snapshot::take::Taken,
};
use arion_net::{QuicTransport, Transport};
use arion_protocol::{Action, Command, Request, Response, ShardPlacement};
use arion_types::{ShardHash, StripeId};
use memchr::memmem;

use crate::{
    machine::{Chain, snapshotter},
    real::{GENESIS, MINERS, RealNetwork},
    s3_client::{Client, HOUR},
};

const BUCKET: &str = "ledgers-of-the-quiet-society";
const PHRASE: &[u8] = b"the combination of the vault is 7-4-19-23 ";
const KEYS: [&str; 4] = [
    "minutes/2026-11-21 secret meeting.txt",
    "photographs/vault-from-inside.raw",
    "members/with-their-own-key.csv",
    "archive/in-two-parts.tar",
];
const CODENAME: &str = "operation-lighthouse-keeper";
const CUSTOMER_KEY: &str = "pO3upElrwuEXSoFwCfnZPdSsmt/xWeFa0N9KgDijwVs=";
const CUSTOMER_KEY_MD5: &str = "DWygnHRtgiJ77HCm+1rvHw==";
const CUSTOMER: [(&str, &str); 3] = [
    ("x-amz-server-side-encryption-customer-algorithm", "AES256"),
    ("x-amz-server-side-encryption-customer-key", CUSTOMER_KEY),
    ("x-amz-server-side-encryption-customer-key-md5", CUSTOMER_KEY_MD5),
];

/// Bytes that are nowhere else.
fn noise(seed: u8, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new_derive_key("arion 2026-11 privacy test")
        .update(&[seed])
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

/// Something that must not be seen, and what it is.
struct Secret {
    what: String,
    bytes: Vec<u8>,
}

fn secret(what: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Secret {
    Secret { what: what.into(), bytes: bytes.into() }
}

/// 16 bytes from many places of a plaintext.
fn samples(what: &str, plain: &[u8]) -> Vec<Secret> {
    let step = (plain.len() / 40).max(16);
    let places = (0..plain.len().saturating_sub(16)).step_by(step);
    places.map(|at| secret(format!("{what} at {at}"), &plain[at..at + 16])).collect()
}

/// The secrets that are in these bytes.
fn found(secrets: &[Secret], bytes: &[u8]) -> Vec<String> {
    let seen = |secret: &&Secret| memmem::find(bytes, &secret.bytes).is_some();
    secrets.iter().filter(seen).map(|secret| secret.what.clone()).collect()
}

/// All files below a directory, in order.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            all.push(path);
        }
    }
    all.sort();
    all
}

/// The secrets that are in the files or in their names, and the bytes that were read.
fn found_on_disk(secrets: &[Secret], directory: &Path) -> (Vec<String>, u64) {
    let (mut seen, mut bytes) = (Vec::new(), 0);
    for path in files(directory) {
        let content = std::fs::read(&path).unwrap();
        bytes += content.len() as u64;
        for what in
            found(secrets, path.to_string_lossy().as_bytes()).into_iter().chain(found(secrets, &content))
        {
            seen.push(format!("{what} in {}", path.display()));
        }
    }
    (seen, bytes)
}

/// Has a miner keep a shard whose bytes are known: what the search must find.
async fn store_known(network: &RealNetwork, bytes: &[u8]) {
    let stripe = StripeId([9; 32]);
    let placement = network.placement();
    let places = placement.place(&stripe);
    let (index, node) =
        (0..).zip(&places).find_map(|(index, miner)| miner.map(|miner| (index, miner.node_id))).unwrap();
    let peer = (0..MINERS).map(|number| network.peer(number)).find(|peer| peer.node_id.0 == node).unwrap();
    let order =
        ShardPlacement { stripe, pg: placement.group(&stripe), index, epoch: 1, size: bytes.len() as u32 };
    let command = Command {
        action: Action::Store(order),
        shard: ShardHash(*blake3::hash(bytes).as_bytes()),
        target: peer.node_id,
        nonce: rand::random(),
        expires_at: arion_daemon::now_ms() + 60_000,
    };
    let request = Request::Store(command.sign(&GENESIS, &network.gateway));
    let transport = QuicTransport::new(&network.gateway).unwrap();
    let body = bytes.to_vec().into();
    let answer = transport.call(&peer, request, body, Duration::from_secs(10)).await.unwrap();
    assert!(matches!(answer.0, Response::Stored(_)), "{answer:?}");
    transport.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_miners_nor_the_wire_see_plaintext_or_names() {
    let mut network = RealNetwork::start(true).await;
    let gateway = tempfile::tempdir().unwrap();
    let grid = network.grid(gateway.path(), GridOptions::default());
    let access = Arc::new(AccessKeys::new(gateway.path().join("keys.toml")));
    let (name, secret_key) = access.add("alice", None, None).unwrap();
    let operator = OperatorSecret::from_bytes([1; 32]);
    let keyring = Arc::new(Keyring::new(grid.meta.clone(), Generations::one(operator)));
    let chain = Arc::new(Chain::default());
    let snapshots = snapshotter(&grid, &chain, gateway.path(), &[1]);
    let (webhooks, credit) = Default::default();
    let store = Store {
        grid,
        keyring,
        keys: access,
        region: "us-east-1".into(),
        part_bytes_min: 1_000,
        webhooks,
        credit,
    };
    let address = "127.0.0.1:0".parse().unwrap();
    let server = S3Server::bind(address, s3::service(store, s3::Domains::default()), HOUR).await.unwrap();
    let endpoint = format!("http://{}", server.local_addr());
    let client = Client::new(&endpoint, BUCKET, &name, &secret_key);

    let phrases = PHRASE.repeat(2_000);
    let photograph = noise(1, 3_000_000);
    let members = noise(2, 200_000);
    let halves = [noise(3, 400_000), noise(4, 300_000)];
    let mut secrets = vec![
        secret("the phrase", PHRASE),
        secret("the bucket's name", BUCKET),
        secret("user metadata", CODENAME),
        secret("the access key's secret", secret_key.as_bytes()),
        secret("the customer's key", CUSTOMER_KEY),
    ];
    secrets.extend(KEYS.iter().map(|key| secret(format!("the key {key}"), *key)));
    for (what, plain) in
        [("photograph", &photograph), ("members", &members), ("part 1", &halves[0]), ("part 2", &halves[1])]
    {
        secrets.extend(samples(what, plain));
    }
    let uploaded = (phrases.len() + photograph.len() + members.len() + 700_000) as u64;

    // The client is blocking.
    tokio::task::spawn_blocking(move || {
        assert_eq!(client.make().status, 200);
        let codename = [("x-amz-meta-codename", CODENAME)];
        assert_eq!(client.put(KEYS[0], &codename, &phrases).status, 200);
        assert_eq!(client.put(KEYS[1], &[], &photograph).status, 200);
        assert_eq!(client.put(KEYS[2], &CUSTOMER, &members).status, 200);
        assert_eq!(client.put_in_parts(KEYS[3], &[], &[&halves[0], &halves[1]]).status, 200);
        // What went in comes out, over the same wire.
        assert!(client.get(KEYS[0], &[]).body == phrases);
        assert!(client.get(KEYS[1], &[]).body == photograph);
        assert!(client.get(KEYS[2], &CUSTOMER).body == members);
        assert!(client.get(KEYS[3], &[]).body == halves.concat());
    })
    .await
    .unwrap();

    // The gateway's metadata, with all the names, and the access keys go to the miners too.
    assert!(matches!(snapshots.take(false).await.unwrap(), Taken::New { .. }));
    let root = chain.newest().unwrap().root;

    // What lies there is found: a shard with known bytes on a disk, a datagram with known bytes on the wire, a shard of an
    // object in the messages, and names where they belong, in the gateway's own metadata.
    let known = noise(99, 4_096);
    store_known(&network, &known).await;
    let control = [secret("the known shard", &known[1_000..1_032])];
    let probe = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let said = noise(98, 64);
    probe.send_to(&said, network.first_tap).await.unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while found(&[secret("the probe", &said[16..48])], &network.wire.lock().unwrap()).is_empty() {
        assert!(tokio::time::Instant::now() < deadline, "a datagram is not seen on the wire");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    server.shutdown().await;
    network.stop().await;
    let (controlled, disk_bytes) = found_on_disk(&control, network.directory.path());
    assert!(!controlled.is_empty(), "a shard with known bytes is not found on any disk");
    let at_home = found(&secrets, &std::fs::read(gateway.path().join("meta.redb")).unwrap());
    for name in ["the bucket's name", "user metadata", &format!("the key {}", KEYS[0])] {
        assert!(at_home.iter().any(|what| what == name), "{name} is not found in the gateway's metadata");
    }
    // Everything was there to be seen: three times the plaintext (10 data, 20 parity shards) less what came after the quorum.
    let wire = std::mem::take(&mut *network.wire.lock().unwrap());
    let messages = std::mem::take(&mut *network.messages.lock().unwrap());
    assert!(wire.len() as u64 > 2 * uploaded, "{} bytes on the wire for {uploaded}", wire.len());
    assert!(!found(&[secret("the root", root)], &messages).is_empty(), "no snapshot is seen");
    assert!(messages.len() as u64 > 2 * uploaded, "{} bytes of messages for {uploaded}", messages.len());
    assert!(disk_bytes > 2 * uploaded, "{disk_bytes} bytes on disks for {uploaded}");

    let nothing: Vec<String> = Vec::new();
    assert_eq!(found_on_disk(&secrets, network.directory.path()).0, nothing, "on the miners' disks");
    assert_eq!(found(&secrets, &wire), nothing, "on the wire");
    assert_eq!(found(&secrets, &messages), nothing, "in messages to miners");
    println!(
        "{} secrets searched: {disk_bytes} bytes on {MINERS} disks, {} on the wire, {} in messages",
        secrets.len(),
        wire.len(),
        messages.len()
    );
}
