//! Credits: who is refused and who is warned, what an account is told, and what is deleted because nobody paid.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use arion_chain::{AgreementStatus, CreditBalance};
use arion_daemon::Health;
use arion_gateway::{
    billing::{credit::Credit, expire::Expirer, schedule::Watch},
    keys::AccessKeys,
    object::{LockConfig, Versioning},
};

use crate::{
    accounts::{Served, with_credit},
    billing::{OBJECT, Stage},
    engine::Engine,
    market::{ALICE, GATEWAY, Marketplace, TERMS, bind},
    occupancy::{live_bytes, stored},
};

fn watch(stage: &Stage, credit: &Arc<Credit>) -> Watch {
    let health = Health::new("test", "0");
    Watch { market: stage.market.clone(), keys: stage.keys.clone(), credit: credit.clone(), health }
}

pub fn credit(keys: &Arc<AccessKeys>) -> Arc<Credit> {
    let credit = Arc::new(Credit::default());
    credit.open(keys.clone(), GATEWAY, TERMS);
    credit
}

pub fn expirer(stage: &Stage, credit: &Arc<Credit>) -> Expirer {
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
        // Nobody paid for carol when the notice was given.
        bind(&stage.keys, "carol", Some(ALICE));
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
        bind(&stage.keys, "carol", None);
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
        let credit = self::credit(keys);
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
