//! `kill -9` at any moment: what was acknowledged is there, what was not is taken back.
//!
//! The test runs itself as a child that writes objects and prints each one that is acknowledged, kills it, and looks.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use arion_gateway::{
    grid::Grid,
    manifest::Manifest,
    meta::{Allowance, BucketInfo, Condition, NewObject},
    object::ObjectInfo,
};

use crate::network::{self, Network};

const CHILD: &str = "ARION_GATEWAY_CRASH_TEST_DIRECTORY";

/// Writers at once: their objects share stripes.
const WRITERS: u64 = 8;

async fn write_for_ever(directory: &Path) {
    let network = Network::new();
    let grid = network.grid(directory);
    let info = BucketInfo::new("a".into(), 1);
    let _ = grid.meta.create_bucket("b".into(), info).await;
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let grid = grid.clone();
            tokio::spawn(async move {
                for number in (writer..).step_by(WRITERS as usize) {
                    put(&grid, number).await;
                    println!("acknowledged {number}");
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
}

async fn put(grid: &Arc<Grid>, number: u64) {
    let manifest = network::write(grid, &network::sample(1_000)).await.unwrap();
    let info = ObjectInfo { manifest: rand::random(), size: 1_000, modified_ms: 1, ..Default::default() };
    let object = NewObject {
        bucket: "b".into(),
        key: format!("{number:06}"),
        info,
        manifest: Manifest::whole(manifest),
        condition: Condition::default(),
        allowance: Allowance::NONE,
        origin: Default::default(),
    };
    grid.meta.put_object(object, 1).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_objects_survive_kill_9() {
    if let Some(directory) = std::env::var_os(CHILD) {
        return write_for_ever(Path::new(&directory)).await;
    }
    let directory = tempfile::tempdir().unwrap();
    for round in 1..=3u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["crash::acknowledged_objects_survive_kill_9", "--exact", "--nocapture"])
            .env(CHILD, directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut acknowledged = BTreeSet::new();
        for line in lines.map_while(Result::ok) {
            if let Some(number) = line.strip_prefix("acknowledged ") {
                acknowledged.insert(number.parse::<u64>().unwrap());
                if acknowledged.len() as u64 >= 40 * round {
                    break;
                }
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(acknowledged.len() as u64 >= 40 * round, "the child ended early");

        let network = Network::new();
        let grid = network.grid(directory.path());
        let mut stripes = Vec::new();
        for number in acknowledged {
            let found = grid.meta.object_with_manifest("b".into(), format!("{number:06}"), None).await;
            let (found, manifest) = found.unwrap();
            assert_eq!((found.info.size, manifest.plain_len()), (1_000, 1_000));
            stripes.push(manifest.parts[0].stripes[0].id());
        }
        grid.recover().await.unwrap();
        assert_eq!(grid.meta.inflight_stripes().await.unwrap(), []);
        // What was taken back is nobody's who was acknowledged.
        for id in stripes {
            assert!(grid.meta.stripe(id).await.unwrap().is_some(), "round {round}: a stripe in use is gone");
        }
        let page = grid.meta.ledger_page(0, 512).await.unwrap();
        assert!(page.iter().zip(1..).all(|(entry, sequence)| entry.sequence == sequence));
    }
}
