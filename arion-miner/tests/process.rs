//! The program as an operator meets it: set-up, errors that say what to do, a clean stop.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

use std::{net::TcpListener, sync::Arc, time::Duration};

use arion_chain::{BlockRef, Registry, Snapshot};
use arion_miner::kept_chain;
use arion_net::{CallError, PeerAddr, QuicTransport, Transport};
use arion_protocol::{ErrorCode, Request};
use arion_stranger::{FakeNode, Program, get};
use arion_types::{ShardHash, signing};
use ed25519_dalek::SigningKey;

fn program() -> Program {
    Program::new(env!("CARGO_BIN_EXE_arion-miner"), &[], &["--listen"])
}

arion_stranger::stories!(program, [("--key-file", "node.key")]);

#[test]
fn tools_work_beside_a_running_miner_and_a_second_one_is_refused() {
    let program = program();
    let data = program.data().display().to_string();
    let running = program.run(&[]);
    let http = running.http();
    let metrics = get(&http, "/metrics");
    assert!(metrics.contains("arion_miner_store_capacity_bytes"), "{metrics}");
    let second = program.run_refused(&[]);
    assert!(second.contains("another process"), "{second}");
    let stats = String::from_utf8(program.output(&["store", "stats", "--data-dir", &data]).stdout).unwrap();
    assert!(stats.contains("\"shards\":0"), "{stats}");
    running.stop();
    let again = program.run(&[]);
    again.http();
    again.stop();
}

/// It answered nobody before it had reached a node, although it had what the chain had said before: with its node away, a miner that was
/// started again was as good as lost.
#[test]
fn without_a_node_it_serves_by_what_the_chain_said_last() {
    let (program, gateway) = (program(), SigningKey::from_bytes(&[3; 32]));
    let registry = Registry { gateways: [signing::node_id(&gateway)].into(), ..Registry::default() };
    let said = Snapshot {
        block: BlockRef { number: 77, hash: [7; 32] },
        registry: Arc::new(registry),
        ..Snapshot::default()
    };
    kept_chain::write(&program.data().join(kept_chain::FILE), [7; 32], &said).unwrap();
    let node_id = signing::node_id(&arion_daemon::read_secret_key(&program.data().join("node.key")).unwrap());
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let node = closed.local_addr().unwrap();
    drop(closed);
    let mut running = program.run(&[("--chain-url", &format!("ws://{node}"))]);
    let http = running.http();
    let peer = PeerAddr { node_id, endpoint: running.field("miner started", "quic") };
    let line = running.line("going on with what the chain said last");
    assert!(line.contains("77"), "{line}");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let ask = |key: SigningKey| {
        let request = Request::Fetch { shard: ShardHash([1; 32]) };
        runtime.block_on(async {
            let transport = QuicTransport::new(&key).unwrap();
            let answer = transport.call(&peer, request, bytes::Bytes::new(), Duration::from_secs(20)).await;
            transport.close().await;
            answer.map(drop)
        })
    };
    let said = ask(gateway);
    assert!(matches!(said, Err(CallError::Refused { code: ErrorCode::NotFound, .. })), "{said:?}");
    let stranger = ask(SigningKey::from_bytes(&[4; 32]));
    assert!(
        matches!(stranger, Err(CallError::Refused { code: ErrorCode::NotRegistered, .. })),
        "{stranger:?}"
    );
    let health = get(&http, "/health");
    assert!(health.starts_with("HTTP/1.1 503") && health.contains("no node answers"), "{health}");
    // What was kept is of another chain than the one that is there.
    let _other = FakeNode::start(node, [9; 32]);
    let ended = running.end();
    assert!(!ended.success());
}

#[test]
fn wrong_options_of_its_own_are_explained() {
    let program = program();
    let data = program.data().display().to_string();
    let unreachable = program.run_refused(&[("--listen", "0.0.0.0:0")]);
    assert!(unreachable.contains("`endpoint`"), "{unreachable}");
    let relay = format!("{}@127.0.0.1:1", "0f".repeat(32));
    let both = program.run_refused(&[("--relay", &relay), ("--endpoint", "miner.example.org:1")]);
    assert!(both.contains("`endpoint` and `relay`"), "{both}");
    let relay = program.run_refused(&[("--relay", "relay.example.org:7800")]);
    assert!(relay.contains("--relay") && relay.contains("NODE_ID@HOST:PORT"), "{relay}");
    let validators = program.run_refused(&[("--validators", "nobody")]);
    assert!(validators.contains("--validators") && validators.contains("NODE_ID@HOST:PORT"), "{validators}");
    let hash = "0".repeat(64);
    let no_store = program.refused(&["store", "locate", "--data-dir", &data, &hash]);
    assert!(no_store.contains("no shard store"), "{no_store}");
    let nobody = program.refused(&["register", "--data-dir", &data]);
    assert!(nobody.contains("--family-key"), "{nobody}");
}

#[test]
fn a_relay_that_is_not_there_makes_the_miner_unhealthy() {
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let relay = format!("{}@{}", "0f".repeat(32), silent.local_addr().unwrap());
    let program = program();
    let running = program.run(&[("--relay", &relay), ("--listen", "0.0.0.0:0")]);
    let http = running.http();
    let endpoint = running.field("miner started", "endpoint");
    assert_eq!(endpoint, format!("relay://{relay}"));
    let start = std::time::Instant::now();
    let health = loop {
        let health = get(&http, "/health");
        if health.contains("\"relay\"") || start.elapsed() > std::time::Duration::from_secs(20) {
            break health;
        }
    };
    assert!(health.contains("503") && health.contains("not reached yet"), "{health}");
    running.stop();
}
