//! Billing against a marketplace in memory: what is charged, what a crash leaves, what is refused, who is warned, what expires.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use arion_chain::{AgreementStatus, CreditBalance};
use arion_daemon::{Health, Shutdown};
use arion_gateway::{
    billing::{
        commit::{BillError, Biller},
        credit::Credit,
        expire::Expirer,
        market::Market,
        schedule::{Billing, Watch},
    },
    keys::AccessKeys,
    meta::{BucketInfo, Meta},
    object::{LockConfig, Versioning},
};
use arion_ledger::{Anchor, Ledger};
use arion_stranger::Postgres;

use crate::{
    accounts::{Served, with_credit},
    engine::{Engine, connect},
    market::{ALICE, BOB, GATEWAY, GENESIS, MOODS, Marketplace, Mood, STRANGER, TERMS, biller, bind, keys},
    network::eventually,
    occupancy::{delete, live_bytes, put, stored},
};

/// Bytes that an object of [`put`] has in shards that miners signed for.
const OBJECT: u64 = 30 * 64;

struct Stage {
    meta: Meta,
    keys: Arc<AccessKeys>,
    market: Arc<Marketplace>,
    directory: tempfile::TempDir,
}

impl Stage {
    async fn new(meta: Meta) -> Self {
        for account in ["alice", "bob", "carol"] {
            meta.create_bucket(account.into(), BucketInfo::new(account.into(), 1)).await.unwrap();
        }
        let directory = tempfile::tempdir().unwrap();
        let (keys, market) = (keys(directory.path()), Arc::new(Marketplace::default()));
        market.authorize(ALICE, 1 << 30);
        market.authorize(BOB, 1 << 30);
        Self { meta, keys, market, directory }
    }

    fn biller(&self) -> Biller {
        biller(&self.meta, &self.keys, &self.market)
    }

    async fn put(&self, account: &str, key: &str, seed: u32) {
        put(&self.meta, account, key, seed, 30).await;
    }

    fn billed(&self) -> (u64, u64) {
        (self.market.billed(ALICE), self.market.billed(BOB))
    }

    /// The newest commitment is to the ledger as anybody reads it.
    async fn check_anchor(&self) {
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
            let died = tokio::time::timeout(Duration::from_millis(300), async {
                stage.biller().bill().await.map(|billed| billed.commitments)
            });
            let died = died.await;
            let pending = stage.meta.commitments().await.unwrap().pending;
            match mood {
                Mood::Honest => assert_eq!((died.unwrap().unwrap(), pending), (1, None)),
                Mood::Refusing | Mood::Silent => {
                    assert!(matches!(died, Ok(Err(BillError::Market(_)))) && pending.is_some());
                }
                Mood::Deaf | Mood::Mute => assert!(died.is_err() && pending.is_some()),
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

fn watch(stage: &Stage, credit: &Arc<Credit>) -> Watch {
    let health = Health::new("test", "0");
    Watch { market: stage.market.clone(), keys: stage.keys.clone(), credit: credit.clone(), health }
}

fn credit(keys: &Arc<AccessKeys>) -> Arc<Credit> {
    Arc::new(Credit::new(keys.clone(), GATEWAY, TERMS))
}

fn expirer(stage: &Stage, credit: &Arc<Credit>) -> Expirer {
    Expirer {
        meta: stage.meta.clone(),
        keys: stage.keys.clone(),
        market: stage.market.clone(),
        credit: credit.clone(),
        gateway: GATEWAY,
        kept: Duration::from_millis(50),
        metrics: Default::default(),
        resting: Mutex::default(),
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
    let stop = Shutdown::new();
    let tasks: Vec<_> = [&first, &second]
        .map(|stage| {
            let credit = credit(&stage.keys);
            let billing = Billing {
                biller: stage.biller(),
                expirer: expirer(stage, &credit),
                interval: Duration::from_millis(20),
                health: Health::new("test", "0"),
            };
            let (meta, stop) = (stage.meta.clone(), stop.clone());
            tokio::spawn(async move { meta.while_leading(|| billing.run(stop.clone())).await })
        })
        .into_iter()
        .collect();
    let leads = |stage: &Stage| stage.meta.replica().unwrap().1;
    eventually("one leads", async || leads(&first) || leads(&second)).await;
    first.put("alice", "x", 1).await;
    eventually("it is billed", async || first.billed() == (OBJECT, 0)).await;
    second.put("bob", "x", 2).await;
    eventually("that too", async || first.billed() == (OBJECT, OBJECT)).await;
    assert_eq!(first.market.count(), 2, "nobody committed twice");
    // The leader goes; the other one goes on where it was.
    let (gone, left) = if leads(&first) { (0, &second) } else { (1, &first) };
    tasks[gone].abort();
    let meta = [&first, &second][gone].meta.clone();
    eventually("the task is gone", async || tasks[gone].is_finished()).await;
    drop(meta);
    left.meta.cut_presence();
    left.put("bob", "y", 3).await;
    stop.trigger();
    let billed = left.biller().bill().await.unwrap();
    assert_eq!((billed.updates, left.billed()), (1, (OBJECT, 2 * OBJECT)));
    left.check_anchor().await;
}

/// What an account stores under its first key.
async fn has(stage: &Stage, account: &str) -> bool {
    stage.meta.object(account.into(), "x".into(), None).await.is_ok()
}

#[tokio::test]
async fn what_expired_unpaid_is_deleted_after_a_while_and_nothing_else() {
    for engine in Engine::each() {
        let stage = Stage::new(engine.open()).await;
        let lock = LockConfig::default();
        stage.meta.set_versioning("alice".into(), Versioning::Enabled).await.unwrap();
        stage.meta.set_lock("alice".into(), lock).await.unwrap();
        for (account, seed) in [("alice", 1), ("alice", 2), ("bob", 3), ("carol", 4)] {
            stage.put(account, "x", seed).await;
        }
        let held = crate::occupancy::object("alice", "held", 5, {
            let record = stored(&stage.meta, 5, 30).await;
            crate::occupancy::part(&record, 0, 640)
        });
        let mut held = held;
        held.info.properties.legal_hold = Some(true);
        stage.meta.put_object(held, 5).await.unwrap();
        stage.biller().bill().await.unwrap();
        let credit = credit(&stage.keys);
        let (watch, expirer) = (watch(&stage, &credit), expirer(&stage, &credit));
        let look = async |now: u64| {
            watch.look().await.unwrap();
            let more = expirer.turn(now).await.unwrap();
            let noticed = stage.meta.notices().await.unwrap();
            (more, noticed.get(&ALICE).map(|notice| (notice.until, notice.expired_ms)))
        };
        let status = |status| stage.market.change(ALICE, |alice| alice.status = status);
        assert_eq!(look(1_000).await, (false, None));
        // Gone without a notice: revoked, or never there.
        let alice = stage.market.state().payers.remove(&ALICE).unwrap();
        assert_eq!(look(2_000).await, (false, None));
        stage.market.state().payers.insert(ALICE, alice.clone());
        // A notice, and paid before it is over.
        status(AgreementStatus::DeletionNotice { until: 200 });
        assert_eq!(look(3_000).await, (false, Some((200, None))));
        status(AgreementStatus::Active);
        assert_eq!(look(4_000).await, (false, None));
        stage.market.pass(150);
        assert_eq!(look(5_000).await, (false, None));
        // A notice, and ended by its account before it is over.
        status(AgreementStatus::DeletionNotice { until: 400 });
        look(6_000).await;
        stage.market.state().payers.remove(&ALICE);
        assert_eq!(look(7_000).await, (false, None));
        stage.market.pass(200);
        assert_eq!(look(8_000).await, (false, None));
        // A notice that is over, and the account begins anew before its data are deleted.
        stage.market.state().payers.insert(ALICE, alice.clone());
        status(AgreementStatus::DeletionNotice { until: 500 });
        look(9_000).await;
        stage.market.pass(100);
        // Late, but nobody looked yet: it can still pay.
        assert_eq!(look(10_000).await, (false, Some((500, None))));
        stage.market.state().payers.remove(&ALICE);
        assert_eq!(look(11_000).await, (false, Some((500, Some(11_000)))));
        assert_eq!(look(11_049).await, (false, Some((500, Some(11_000)))));
        stage.market.state().payers.insert(ALICE, alice.clone());
        assert_eq!(look(20_000).await, (false, None));
        assert!(has(&stage, "alice").await && has(&stage, "bob").await);
        // A notice that is over.
        status(AgreementStatus::DeletionNotice { until: 600 });
        look(21_000).await;
        stage.market.pass(100);
        stage.market.state().payers.remove(&ALICE);
        look(22_000).await;
        assert!(has(&stage, "alice").await);
        assert_eq!(look(22_050).await, (true, Some((600, Some(22_000)))));
        assert!(!has(&stage, "alice").await && has(&stage, "bob").await && has(&stage, "carol").await);
        // What is held stays, and is not looked for all the time; so does the bucket.
        assert!(!look(22_060).await.0);
        assert!(stage.meta.object("alice".into(), "held".into(), None).await.is_ok());
        assert!(stage.meta.bucket("alice".into()).await.unwrap().is_some());
        assert_eq!(expirer.metrics.versions_unpaid.get(), 2);
        stage.biller().bill().await.unwrap();
        stage.check_anchor().await;
        assert_eq!(live_bytes(&stage.meta).await, 3 * OBJECT);
        // It comes back.
        stage.market.authorize(ALICE, 1 << 20);
        assert_eq!(look(30_000).await, (false, None));
        stage.biller().bill().await.unwrap();
        assert_eq!(stage.billed(), (OBJECT, OBJECT));
    }
}

fn headers(answer: &crate::accounts::Answer) -> (&str, &str) {
    (answer.header("x-arion-credit-state"), answer.header("x-arion-credit-until"))
}

#[tokio::test(flavor = "multi_thread")]
async fn credits_decide_who_may_store_more_and_everybody_may_read() {
    let market = Arc::new(Marketplace::default());
    let credit: Arc<std::sync::OnceLock<(Arc<Credit>, Arc<AccessKeys>)>> = Arc::default();
    let (made, seen) = (credit.clone(), market.clone());
    let make = move |keys: &Arc<AccessKeys>| {
        let credit = Arc::new(Credit::new(keys.clone(), GATEWAY, TERMS));
        let _ = made.set((credit.clone(), keys.clone()));
        credit
    };
    let runtime = tokio::runtime::Handle::current();
    with_credit(make, move |served: &Served| {
        let (credit, keys) = credit.get().unwrap().clone();
        let look = || {
            let health = Health::new("test", "0");
            let (keys, market) = (keys.clone(), seen.clone());
            let watch = Watch { market, keys, credit: credit.clone(), health };
            runtime.block_on(watch.look()).unwrap();
        };
        let put = |key: &str| served.put_as(&served.alice, &format!("/first/{key}"), &[7; 1_000]);
        let get = |key: &str| served.ask(Some(&served.alice), "GET", &format!("/first/{key}"), b"", &[]);
        let usage = || {
            let answer = served.ask(Some(&served.alice), "GET", "/v1/usage", b"", &[]);
            serde_json::from_str::<serde_json::Value>(&answer.text).unwrap()["bill"].clone()
        };
        served.put("/first", "");
        assert_eq!((put("a").status, usage()), (200, serde_json::Value::Null));
        // Bound, and the chain was not asked yet.
        bind(&keys, "alice", Some(ALICE));
        assert_eq!(put("b").status, 200);
        look();
        let refused = put("c");
        assert_eq!((refused.status, refused.code()), (403, "AccountProblem"));
        assert!(refused.text.contains("authorizeGateway"), "{}", refused.text);
        assert_eq!(headers(&refused), ("not-authorized", ""));
        assert_eq!((get("a").status, get("c").status), (200, 404));
        // Whoever pays for nothing is not bothered.
        assert_eq!(headers(&served.ask(Some(&served.bob), "GET", "/", b"", &[])).0, "");

        market.authorize(ALICE, 1 << 20);
        look();
        let stored = put("c");
        assert_eq!((stored.status, headers(&stored)), (200, ("", "")));
        let bill = usage();
        assert_eq!((&bill["state"], &bill["credits"]), (&"active".into(), &"5".into()));
        assert_eq!(bill["price_gib_hour"], "0.0000137");
        assert_eq!(
            (bill["billed_bytes"].as_u64(), bill["billed_bytes_max"].as_u64()),
            (Some(0), Some(1 << 20))
        );
        assert!(bill["occupied_bytes"].as_u64() > Some(3_000));
        market.change(ALICE, |alice| alice.bytes = 1 << 30);
        market.change(ALICE, |alice| alice.burn_down = Some(150));
        look();
        let bill = usage();
        assert_eq!((&bill["cost_day"], &bill["cost_month"]), (&"0.0003288".into(), &"0.010001".into()));
        assert_eq!((&bill["cost_month_alpha"], &bill["state"]), (&"0.020002".into(), &"low".into()));
        assert!(bill["lasts_until"].as_str() == Some(headers(&put("d")).1));

        // Over the limit.
        market.change(ALICE, |alice| (alice.bytes_max, alice.burn_down) = (1_000, None));
        look();
        let refused = put("e");
        assert_eq!((refused.status, refused.code()), (403, "QuotaExceeded"));
        assert!(refused.text.contains("1000 bytes of shards"), "{}", refused.text);
        market.change(ALICE, |alice| alice.bytes_max = 1 << 20);

        // Out of credits, step by step.
        let owes = CreditBalance { debt: 1_500_000_000_000, ..CreditBalance::default() };
        market.change(ALICE, |alice| alice.balance = owes);
        use AgreementStatus::*;
        for (status, state, takes) in [
            (Active, "arrears", true),
            (Arrears { until: 300 }, "arrears", true),
            (Grace { until: 300 }, "grace", true),
            (Suspended { until: 300 }, "suspended", false),
            (DeletionNotice { until: 300 }, "deletion-notice", false),
        ] {
            market.change(ALICE, |alice| alice.status = status);
            look();
            let answer = put("f");
            assert_eq!(answer.status, if takes { 200 } else { 403 }, "{state}");
            assert_eq!(headers(&answer).0, state);
            let is_told = headers(&answer).1.parse::<jiff::Timestamp>().is_ok();
            assert_eq!(is_told, status != Active, "{state}");
            let copied = [("x-amz-copy-source", "first/a")];
            let copy = served.ask(Some(&served.alice), "PUT", "/first/copy", b"", &copied);
            assert_eq!(copy.status, answer.status, "{state} {}", copy.text);
            let begun = served.ask(Some(&served.alice), "POST", "/first/parts?uploads", b"", &[]);
            assert_eq!(begun.status, answer.status, "{state}");
            if !takes {
                assert_eq!((answer.code(), copy.code()), ("AccountProblem", "AccountProblem"));
                assert!(answer.text.contains("1.5 credits") && answer.text.contains("buyCredits"));
            }
            // Reading and deleting go on.
            let read = get("a");
            assert_eq!((read.status, headers(&read).0), (200, state));
            assert_eq!(usage()["owed"], "1.5");
            served.put_as(&served.alice, "/first/gone", b"");
            assert_eq!(served.ask(Some(&served.alice), "DELETE", "/first/gone", b"", &[]).status, 204);
            // What somebody else writes at its expense is refused alike.
            let policy = crate::accounts::policy("Allow", "s3:PutObject", "first/*");
            served.put("/first?policy", &policy);
            let guest = served.put_as(&served.bob, "/first/guest", b"guest");
            assert_eq!((guest.status, headers(&guest)), (answer.status, ("", "")), "{state}");
        }
        // It pays, and nothing is lost.
        market.change(ALICE, |alice| {
            (alice.status, alice.balance) = (Active, CreditBalance { available: 9, ..owes });
            alice.balance.debt = 0;
        });
        look();
        assert_eq!((put("g").status, headers(&get("a"))), (200, ("", "")));
        for key in ["a", "b", "c", "d", "f", "g"] {
            assert_eq!(get(key).status, 200, "{key}");
        }
        assert!(served.grid.metrics.credit_refused.get() > 5);
    })
    .await;
}
