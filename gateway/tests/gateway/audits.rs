//! What miners served goes into the ledger; how they were audited is told to owners.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use arion_chain::{Audit, AuditDay};
use arion_daemon::Shutdown;
use arion_gateway::{grid::GridOptions, manifest::StripeRecord};
use arion_protocol::LedgerRecord;
use arion_types::{AttestationResult, NodeId};

use crate::{
    accounts::with_client,
    network::{Mood, Network, eventually, read, sample, write},
};

const MIB: usize = 1 << 20;

/// What the ledger says that miners served.
async fn stated(grid: &Arc<arion_gateway::grid::Grid>) -> BTreeMap<NodeId, u64> {
    let mut served = BTreeMap::new();
    for entry in grid.meta.ledger_page(0, 512).await.unwrap() {
        if let LedgerRecord::Served(line) = entry.record {
            assert!(line.from < line.until);
            *served.entry(line.miner).or_default() += line.bytes;
        }
    }
    served
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_says_who_served_and_nothing_of_who_answered_with_rubbish() {
    let directory = tempfile::tempdir().unwrap();
    let network = Network::new();
    let patience = (Duration::from_secs(60), Duration::from_secs(60));
    let statement_interval = Duration::from_millis(20);
    let options = GridOptions { cache_bytes: 0, patience, statement_interval, ..Network::options() };
    let grid = network.grid_with(directory.path(), options);
    let plain = sample(9 * MIB);
    let manifest = write(&grid, &plain).await.unwrap();
    eventually("every miner has its shard", async || {
        network.miners.iter().all(|miner| miner.shard_count() == 1)
    })
    .await;
    let record: &StripeRecord = &manifest.stripes[0];
    let map = network.map(1);
    let homes: Vec<NodeId> =
        map.place(&record.id()).iter().map(|miner| NodeId(miner.unwrap().node_id)).collect();
    let liar = network.miners.iter().find(|miner| miner.node_id() == homes[0]).unwrap();
    liar.set(Mood::Corrupt);
    let stop = Shutdown::new();
    let stating = tokio::spawn(grid.clone().state_served(stop.clone()));
    eventually("periods have begun", async || grid.meta.served_until().await.unwrap().is_some()).await;
    assert_eq!(read(&grid, &manifest, 0..plain.len() as u64).await.unwrap(), plain);
    let shard = u64::from(record.shard_len);
    eventually("ten shards are stated", async || stated(&grid).await.values().sum::<u64>() == 10 * shard)
        .await;
    let served = stated(&grid).await;
    assert_eq!(served.get(&homes[0]), None, "wrong bytes are no service");
    assert!(homes[1..10].iter().all(|home| served.get(home) == Some(&shard)), "{served:?}");
    assert_eq!(served.len(), 10, "and one that has parity");
    stop.trigger();
    stating.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn head_tells_the_owner_how_the_object_was_audited_and_nobody_else() {
    let runtime = tokio::runtime::Handle::current();
    with_client(move |s3| {
        s3.put("/open", "");
        s3.put("/open/song", "la la la");
        let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject",
            "Resource":"arn:aws:s3:::open/*"}]}"#;
        s3.put("/open?policy", policy);
        let head = |who| s3.ask(who, "HEAD", "/open/song", b"", &[]);
        let told = |answer: &crate::accounts::Answer| {
            ["passed", "failed", "shards", "last-block", "last-time", "detection-ppm"]
                .map(|name| answer.header(&format!("x-arion-audit-{name}")).to_owned())
        };
        let nothing = [""; 6].map(str::to_owned);
        assert_eq!(told(&head(Some(&s3.alice))), nothing, "the chain was not read yet");

        let bucket = ("open".to_owned(), "song".to_owned());
        let found = runtime.block_on(s3.grid.meta.object_with_manifest(bucket.0, bucket.1, None));
        let (_, manifest) = found.unwrap();
        let record = manifest.stripes().next().unwrap().clone();
        let map = s3.grid.maps.current().unwrap();
        let uids: Vec<u32> = map.place(&record.id()).iter().map(|miner| miner.unwrap().uid).collect();
        let audit = |index: usize, block: u64, result| Audit {
            shard: record.hashes[index],
            block,
            miner: uids[index],
            result,
            at_ms: block * 1_000,
        };
        use AttestationResult::{Passed, Timeout};
        let all = (0..30).map(|index| audit(index, 50, Passed));
        let more = [audit(3, 70, Timeout), audit(3, 60, Passed), audit(4, 10, Timeout)];
        s3.grid.audits.set(AuditDay::new(40..=80, all.chain(more)));
        let answer = head(Some(&s3.alice));
        assert_eq!(answer.status, 200);
        // Of the miners that were challenged least once: 1 %.
        assert_eq!(told(&answer), ["31", "1", "30/30", "70", "70", "10000"]);
        for who in [None, Some(&s3.bob)] {
            let answer = head(who);
            assert_eq!((answer.status, told(&answer)), (200, nothing.clone()));
        }
        s3.grid.audits.set(AuditDay::new(90..=100, []));
        assert_eq!(told(&head(Some(&s3.alice))), ["0", "0", "0/30", "", "", "0"]);
    })
    .await;
}
