//! A gateway that is started while no node of its chain answers.

use std::{net::TcpListener, time::Duration};

use arion_daemon::write_secret_key;
use arion_gateway::{
    chain,
    grid::GridOptions,
    keys::AccessKeys,
    placement::{Maps, Placement},
};
use arion_stranger::{FakeNode, Program};
use arion_types::{CrushParams, MinerRecord, map::WEIGHT_ONE};

use crate::{
    network::eventually,
    real::{GENESIS, RealNetwork},
    s3_client::Client,
};

/// The program, with the node key that these miners know.
fn program(network: &RealNetwork) -> Program {
    let program = Program::new(env!("CARGO_BIN_EXE_arion-gateway"), &[], &["--listen", "--s3"]);
    let key = program.data().join("node.key");
    std::fs::remove_file(&key).unwrap();
    write_secret_key(&key, &network.gateway).unwrap();
    program
}

/// It waited for the node before it answered any request, although it had all that it needs.
#[tokio::test(flavor = "multi_thread")]
async fn it_serves_by_what_the_chain_said_last() {
    let network = RealNetwork::start(false).await;
    let program = program(&network);
    let data = program.data();
    // What an earlier run leaves behind.
    let grid = network.grid_by(Maps::default(), &data, GridOptions::default());
    chain::take_over(&grid, &network.snapshot).await.unwrap();
    grid.meta.keep_genesis(GENESIS).await.unwrap();
    drop(grid);
    let (kept, file) = (data.join("meta.redb"), data.join("gateway.redb"));
    eventually("the metadata are closed", async || redb::Database::open(&kept).is_ok()).await;
    std::fs::rename(kept, file).unwrap();
    let (name, secret) = AccessKeys::new(data.join("keys.toml")).add("alice", None, None).unwrap();

    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let node = closed.local_addr().unwrap();
    drop(closed);
    let told = tokio::task::spawn_blocking(move || {
        let mut running = program.run(&[("--chain-url", &format!("ws://{node}"))]);
        let http = running.http();
        running.line("going on with what it said last");
        let s3 = running.field("gateway started", "s3");
        let client = Client::new(&format!("http://{s3}"), "bucket", &name, &secret);
        assert_eq!(client.make().status, 200);
        assert_eq!(client.put("key", &[], b"without the chain").status, 200);
        assert_eq!(client.get("key", &[]).body, b"without the chain");
        let health = arion_stranger::get(&http, "/health");
        assert!(health.starts_with("HTTP/1.1 503") && health.contains("chain"), "{health}");
        // It goes on with its own chain or not at all.
        let _other = FakeNode::start(node, [9; 32]);
        let ended = running.end();
        assert!(!ended.success());
        running.line("is on the chain with genesis")
    });
    println!("{}", told.await.unwrap());
}

/// Copies that a map does not name are given up when it has been in force for a while: only the chain says that it is.
#[test]
fn a_map_that_the_chain_has_not_confirmed_is_not_in_force() {
    let maps = Maps::default();
    assert_eq!(maps.use_newest(), None);
    for epoch in [1, 2] {
        maps.remember(placement(epoch));
    }
    assert_eq!(maps.use_newest(), Some(2));
    assert_eq!(maps.current().unwrap().epoch(), 2);
    assert!(maps.settled(Duration::ZERO).is_none() && !maps.is_current(2));
    maps.set_current(placement(2));
    assert_eq!(maps.settled(Duration::ZERO).unwrap().epoch(), 2);
    assert!(maps.is_current(2) && !maps.is_current(1));
}

fn placement(epoch: u64) -> Placement {
    let miners = (0..30u8).map(|number| MinerRecord {
        uid: u32::from(number),
        node_id: [number; 32],
        family: [number / 2; 32],
        weight: WEIGHT_ONE,
        endpoint: b"127.0.0.1:1".to_vec().try_into().unwrap(),
    });
    Placement::new(epoch, &CrushParams::STANDARD, miners.collect()).unwrap()
}
