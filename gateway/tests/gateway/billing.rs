//! Billing against a marketplace in memory: what is charged, what a crash leaves, what the chain refuses.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use arion_chain::AgreementStatus;
use arion_daemon::{Health, Shutdown};
use arion_gateway::{
    billing::{
        commit::{BillError, Biller},
        market::Market,
        schedule::Billing,
    },
    keys::AccessKeys,
    meta::{BucketInfo, Meta},
};
use arion_ledger::{Anchor, Ledger};
use arion_stranger::Postgres;

use crate::{
    credits::{credit, expirer},
    engine::{Engine, connect},
    market::{ALICE, BOB, GATEWAY, GENESIS, MOODS, Marketplace, Mood, STRANGER, TERMS, biller, bind, keys},
    network::eventually,
    occupancy::{delete, live_bytes, put, stored},
};

/// Bytes that an object of [`put`] has in shards that miners signed for.
pub const OBJECT: u64 = 30 * 64;

pub struct Stage {
    pub meta: Meta,
    pub keys: Arc<AccessKeys>,
    pub market: Arc<Marketplace>,
    directory: tempfile::TempDir,
}

impl Stage {
    pub async fn new(meta: Meta) -> Self {
        for account in ["alice", "bob", "carol"] {
            meta.create_bucket(account.into(), BucketInfo::new(account.into(), 1)).await.unwrap();
        }
        let directory = tempfile::tempdir().unwrap();
        let (keys, market) = (keys(directory.path()), Arc::new(Marketplace::default()));
        market.authorize(ALICE, 1 << 30);
        market.authorize(BOB, 1 << 30);
        Self { meta, keys, market, directory }
    }

    pub fn biller(&self) -> Biller {
        biller(&self.meta, &self.keys, &self.market)
    }

    pub async fn put(&self, account: &str, key: &str, seed: u32) {
        put(&self.meta, account, key, seed, 30).await;
    }

    pub fn billed(&self) -> (u64, u64) {
        (self.market.billed(ALICE), self.market.billed(BOB))
    }

    /// The newest commitment is to the ledger as anybody reads it.
    pub async fn check_anchor(&self) {
        let entries = self.meta.ledger_page(0, u16::MAX).await.unwrap();
        let lines = entries.into_iter().map(|entry| entry.record).collect::<Vec<_>>();
        let newest = self.market.newest().await.unwrap().unwrap();
        let Anchor { sequence, root, bytes } =
            Anchor::of_commitment(newest.sequence, newest.root, newest.bytes);
        assert_eq!(sequence, lines.len() as u64);
        let ledger = Ledger::new(GENESIS, GATEWAY, lines);
        assert_eq!(root, arion_proofs::merkle::root(&ledger.hashes()));
        assert_eq!(bytes, live_bytes(&self.meta).await);
    }
}

#[tokio::test]
async fn what_is_stored_and_deleted_is_billed_and_nothing_is_sent_while_nothing_changed() {
    for engine in Engine::each() {
        let stage = Stage::new(engine.open()).await;
        assert_eq!(stage.biller().bill().await.unwrap().commitments, 0, "an empty ledger is not anchored");
        stage.put("alice", "x", 1).await;
        stage.put("bob", "x", 2).await;
        put(&stage.meta, "bob", "y", 3, 20).await;
        // Whom nobody is charged for, and what is nobody's.
        stage.put("carol", "x", 4).await;
        stored(&stage.meta, 5, 30).await;
        let billed = stage.biller().bill().await.unwrap();
        assert_eq!((billed.commitments, billed.updates, billed.skipped.len()), (1, 2, 0));
        assert_eq!((billed.lines, billed.bytes), (140, 140 * 64));
        assert_eq!(stage.billed(), (OBJECT, OBJECT + 20 * 64));
        stage.check_anchor().await;
        assert_eq!(stage.biller().bill().await.unwrap().commitments, 0);
        delete(&stage.meta, "bob", "x", 9).await;
        stage.biller().bill().await.unwrap();
        assert_eq!(stage.billed(), (OBJECT, 20 * 64));
        stage.check_anchor().await;
        // New lines that change nobody's bill are anchored too.
        stage.put("carol", "y", 6).await;
        assert_eq!(stage.biller().bill().await.unwrap().commitments, 1);
        stage.check_anchor().await;
        assert_eq!(stage.market.state().scans, 0);
    }
}

/// Byte-blocks against a calculation from the steps alone.
#[tokio::test]
async fn charges_are_those_of_an_independent_calculation() {
    for engine in Engine::each() {
        let stage = Stage::new(engine.open()).await;
        let (mut expected, mut stored, mut billed) = ((0u128, 0u128), BTreeMap::new(), (0u64, 0u64));
        // A schedule without pattern, the same every time.
        let mut random = 12_345u32;
        let mut draw = |below: u32| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 8) % below
        };
        for seed in 1..=60u32 {
            let (account, key) = (["alice", "bob", "carol"][draw(3) as usize], ["x", "y"][draw(2) as usize]);
            match draw(3) {
                0 => {
                    delete(&stage.meta, account, key, u64::from(seed)).await;
                    stored.remove(&(account, key));
                }
                _ => {
                    let receipts = 20 + draw(11) as u8;
                    put(&stage.meta, account, key, seed, receipts).await;
                    stored.insert((account, key), u64::from(receipts) * 64);
                }
            }
            if draw(4) == 0 {
                stage.biller().bill().await.unwrap();
                let of = |name| {
                    let own = stored.iter().filter(|((account, _), _)| *account == name);
                    own.map(|(_, bytes)| bytes).sum::<u64>()
                };
                billed = (of("alice"), of("bob"));
            }
            let blocks = draw(50);
            stage.market.pass(blocks);
            expected.0 += u128::from(billed.0) * u128::from(blocks);
            expected.1 += u128::from(billed.1) * u128::from(blocks);
        }
        let state = stage.market.state();
        assert_eq!((state.payers[&ALICE].byte_blocks, state.payers[&BOB].byte_blocks), expected);
        assert!(expected.0 > 1_000_000 && expected.1 > 1_000_000, "{expected:?}");
    }
}

/// Whatever becomes of a commitment, the next attempt finds out, and in the end everything is committed once.
#[tokio::test]
async fn a_crash_at_each_step_leaves_what_the_next_attempt_brings_to_its_end() {
    for engine in Engine::each() {
        let directory = tempfile::tempdir().unwrap();
        let (mut stage, mut seed) = (Stage::new(engine.open()).await, 0);
        for mood in MOODS.into_iter().chain([Mood::Mute, Mood::Deaf, Mood::Silent, Mood::Honest]) {
            seed += 1;
            stage.put("alice", &format!("{seed}"), seed).await;
            let before = stage.market.count();
            stage.market.set(mood);
            let biller = stage.biller();
            let died = tokio::select! {
                billed = biller.bill() => Some(billed.map(|billed| billed.commitments)),
                () = stage.market.heard.notified() => None,
            };
            drop(biller);
            let pending = stage.meta.commitments().await.unwrap().pending;
            match mood {
                Mood::Honest => assert_eq!((died.unwrap().unwrap(), pending), (1, None)),
                Mood::Refusing | Mood::Silent => {
                    assert!(matches!(died, Some(Err(BillError::Market(_)))) && pending.is_some());
                }
                Mood::Deaf | Mood::Mute => assert!(died.is_none() && pending.is_some()),
            }
            let taken = usize::from(matches!(mood, Mood::Honest | Mood::Silent | Mood::Mute));
            assert_eq!(stage.market.count(), before + taken, "{mood:?}");
            // The gateway starts again, and something was stored meanwhile.
            let Stage { meta, keys, market, directory: held } = stage;
            drop(meta);
            stage = Stage { meta: engine.open(), keys, market, directory: held };
            stage.market.set(Mood::Honest);
            seed += 1;
            stage.put("bob", &format!("{seed}"), seed).await;
            stage.biller().bill().await.unwrap();
            let settled = usize::from(taken == 0);
            assert_eq!(stage.market.count(), before + taken + settled + 1, "{mood:?}");
            let half = u64::from(seed / 2);
            assert_eq!(stage.billed(), (half * OBJECT, half * OBJECT));
            assert_eq!(stage.meta.commitments().await.unwrap().pending, None);
            stage.check_anchor().await;
        }
        drop((directory, stage.directory));
    }
}

#[tokio::test]
async fn the_chain_is_not_told_what_it_would_not_take() {
    let directory = tempfile::tempdir().unwrap();
    let stage = Stage::new(Meta::open(&directory.path().join("m.redb")).unwrap()).await;
    for (account, seed) in [("alice", 1), ("bob", 2), ("carol", 3)] {
        stage.put(account, "x", seed).await;
    }
    // Up to the limit; not at all; not more.
    stage.market.change(ALICE, |alice| alice.bytes_max = 1_000);
    stage.market.state().payers.remove(&BOB);
    let billed = stage.biller().bill().await.unwrap();
    assert_eq!((billed.commitments, billed.updates, billed.skipped.len()), (1, 1, 0));
    assert_eq!(stage.billed(), (1_000, 0));
    // Without a new line: who allows more is billed for it, and so is who allows it now.
    stage.market.change(ALICE, |alice| alice.bytes_max = 10_000);
    stage.market.authorize(BOB, 10_000);
    assert_eq!(stage.biller().bill().await.unwrap().commitments, 1);
    assert_eq!(stage.billed(), (OBJECT, OBJECT));
    stage.check_anchor().await;
    // Suspended: less is taken, more is not asked for.
    stage.market.change(ALICE, |alice| alice.status = AgreementStatus::Suspended { until: 500 });
    stage.put("alice", "y", 4).await;
    stage.biller().bill().await.unwrap();
    assert_eq!(stage.billed(), (OBJECT, OBJECT));
    for key in ["x", "y"] {
        delete(&stage.meta, "alice", key, 9).await;
    }
    stage.biller().bill().await.unwrap();
    assert_eq!(stage.billed(), (0, OBJECT));
    stage.market.change(ALICE, |alice| alice.status = AgreementStatus::Active);
    // Another account of the chain pays from now on: the one before pays nothing any more, although nothing was stored.
    stage.market.authorize(STRANGER, 10_000);
    bind(&stage.keys, "bob", Some(STRANGER));
    stage.biller().bill().await.unwrap();
    assert_eq!((stage.billed(), stage.market.billed(STRANGER)), ((0, 0), OBJECT));
    assert_eq!(stage.market.state().scans, 1);
    // Two accounts with one that pays.
    bind(&stage.keys, "carol", Some(STRANGER));
    stage.biller().bill().await.unwrap();
    assert_eq!(stage.market.billed(STRANGER), 2 * OBJECT);
    stage.check_anchor().await;
}

/// What was refused as it is, is not sent again as it was.
#[tokio::test]
async fn a_commitment_that_the_chain_refuses_for_good_is_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    let stage = Stage::new(Meta::open(&directory.path().join("m.redb")).unwrap()).await;
    stage.put("alice", "x", 1).await;
    stage.market.set(Mood::Refusing);
    stage.biller().bill().await.unwrap_err();
    // Alice is billed by hand what the noted commitment does not anchor.
    stage.market.change(BOB, |bob| bob.bytes = OBJECT);
    stage.market.set(Mood::Honest);
    let refused = stage.biller().bill().await.unwrap_err();
    assert!(refused.to_string().contains("BilledMoreThanAnchored"), "{refused}");
    assert_eq!(stage.meta.commitments().await.unwrap().pending, None);
    stage.biller().bill().await.unwrap();
    assert_eq!(stage.billed(), (OBJECT, 0));
    // Somebody else commits for this gateway: the one that was sent can never come to be.
    stage.put("alice", "y", 2).await;
    stage.market.set(Mood::Refusing);
    stage.biller().bill().await.unwrap_err();
    let pending = stage.meta.commitments().await.unwrap().pending.unwrap();
    stage.market.set(Mood::Honest);
    let other = arion_gateway::meta::Commitment { root: [9; 32], updates: Vec::new(), ..pending };
    stage.market.commit(&other).await.unwrap();
    assert!(matches!(stage.biller().bill().await, Err(BillError::Other)));
    stage.biller().bill().await.unwrap();
    assert_eq!(stage.billed(), (2 * OBJECT, 0));
    stage.check_anchor().await;
    // Metadata from before know less than the chain.
    let empty = tempfile::tempdir().unwrap();
    let older = Meta::open(&empty.path().join("m.redb")).unwrap();
    let behind = biller(&older, &stage.keys, &stage.market).bill().await.unwrap_err();
    assert!(matches!(behind, BillError::Behind { anchored: 60, lines: 0 }), "{behind}");
}

/// More accounts than a call has room for, and everything becomes less at once.
#[tokio::test]
async fn many_accounts_are_billed_in_several_commitments() {
    let directory = tempfile::tempdir().unwrap();
    let stage = Stage::new(Meta::open(&directory.path().join("m.redb")).unwrap()).await;
    let names: Vec<String> = (10..21u8).map(|number| format!("n{number}")).collect();
    for (name, number) in names.iter().zip(10u8..) {
        stage.meta.create_bucket(name.clone(), BucketInfo::new(name.clone(), 1)).await.unwrap();
        stage.keys.add(name, None, None).unwrap();
        bind(&stage.keys, name, Some([number; 32]));
        stage.market.authorize([number; 32], 1 << 20);
        stage.put(name, "x", number.into()).await;
        stage.put(name, "y", 100 + u32::from(number)).await;
    }
    let billed = stage.biller().bill().await.unwrap();
    assert_eq!((billed.commitments, billed.updates), (6, 11));
    assert!((10..21u8).all(|number| stage.market.billed([number; 32]) == 2 * OBJECT));
    stage.check_anchor().await;
    // What is billed meanwhile is more than what is live: the chain takes it because it anchors what it anchored before.
    for name in &names {
        delete(&stage.meta, name, "x", 9).await;
    }
    for name in &names[..5] {
        delete(&stage.meta, name, "y", 9).await;
    }
    stage.put("n20", "z", 999).await;
    assert_eq!(stage.biller().bill().await.unwrap().commitments, 5);
    for number in 10..21u8 {
        let expected = [0, OBJECT, 2 * OBJECT][usize::from(number >= 15) + usize::from(number == 20)];
        assert_eq!(stage.market.billed([number; 32]), expected);
    }
    stage.check_anchor().await;
    assert_eq!(TERMS.updates_max, 2);
}

/// Roots of full segments are kept; those of another gateway are not taken for its own.
#[tokio::test]
async fn a_long_ledger_has_the_root_of_its_lines() {
    for engine in Engine::each() {
        let stage = Stage::new(engine.open()).await;
        let keys: Vec<String> = (0..280).map(|number| number.to_string()).collect();
        let puts = keys.iter().zip(1u32..).map(|(key, seed)| stage.put("alice", key, seed));
        futures_util::future::join_all(puts).await;
        stage.biller().bill().await.unwrap();
        stage.check_anchor().await;
        for seed in 291..=300u32 {
            stage.put("alice", "y", seed).await;
        }
        let Stage { meta, keys, market, directory } = stage;
        drop(meta);
        let stage = Stage { meta: engine.open(), keys, market, directory };
        stage.biller().bill().await.unwrap();
        stage.check_anchor().await;
        assert!(stage.meta.ledger_len().await.unwrap() > 2 * 4_096);
        let other = arion_types::NodeId([43; 32]);
        assert!(stage.meta.keep_segment_roots((GENESIS, other)).await.unwrap());
        let cut = stage.meta.ledger_cut((GENESIS, other)).await.unwrap();
        let lines = stage.meta.ledger_page(0, u16::MAX).await.unwrap();
        let lines = lines.into_iter().map(|entry| entry.record).collect();
        let ledger = Ledger::new(GENESIS, other, lines);
        assert_eq!(cut.root, arion_proofs::merkle::root(&ledger.hashes()));
        // Full segments are not looked at again.
        let own = stage.meta.ledger_cut((GENESIS, GATEWAY)).await.unwrap();
        assert_eq!(own.lines, cut.lines);
        assert_ne!(own.root, cut.root);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_replicas_only_the_leader_commits() {
    let database = Postgres::database();
    let first = Stage::new(connect(&database).unwrap()).await;
    let second = Stage {
        meta: connect(&database).unwrap(),
        keys: first.keys.clone(),
        market: first.market.clone(),
        directory: tempfile::tempdir().unwrap(),
    };
    let (stop, billers) = (Shutdown::new(), [first.biller(), second.biller()]);
    let counted = [billers[0].metrics.clone(), billers[1].metrics.clone()];
    let mut tasks = Vec::new();
    for (stage, biller) in [&first, &second].into_iter().zip(billers) {
        let billing = Billing {
            biller,
            expirer: expirer(stage, &credit(&stage.keys)),
            interval: Duration::from_millis(20),
            health: Health::new("test", "0"),
        };
        let (meta, stop) = (stage.meta.clone(), stop.clone());
        tasks.push(tokio::spawn(async move { meta.while_leading(|| billing.run(stop.clone())).await }));
    }
    first.put("alice", "x", 1).await;
    eventually("it is billed", async || first.billed() == (OBJECT, 0)).await;
    second.put("bob", "x", 2).await;
    eventually("that too", async || first.billed() == (OBJECT, OBJECT)).await;
    let committed = || counted.each_ref().map(|metrics| metrics.commitments.get() > 0);
    assert!(committed() == [true, false] || committed() == [false, true], "{:?}", committed());
    assert!(counted.iter().all(|metrics| metrics.billing_failures.get() == 0));
    // Whoever leads after the leader lost its connection goes on where it was.
    let leader = [&first, &second][usize::from(committed()[1])];
    leader.meta.cut_presence();
    second.put("bob", "y", 3).await;
    eventually("that as well", async || first.billed() == (OBJECT, 2 * OBJECT)).await;
    stop.trigger();
    for task in tasks {
        task.abort();
        let _ = task.await;
    }
    second.biller().bill().await.unwrap();
    second.check_anchor().await;
}
