//! Notifications: what is set, what happens and who is told, over HTTP and across `kill -9`.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use arion_daemon::{Health, Shutdown, secret_file};
use arion_gateway::{
    lifecycle::{Day, Lifecycle},
    meta::{BucketInfo, Meta, Subresource},
    metrics::Metrics,
    notify::{Rule, Rules, SenderOptions, Senders, Webhook, WebhookConfig, Webhooks, event::Teller},
    object::Versioning,
};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use ring::hmac;
use serde_json::json;

use crate::{
    accounts::{Answer, Served, with_webhooks},
    network::open_meta,
    receiver::{Receiver, Told},
    rows::{BUCKET, new_object},
};

const SECRET: [u8; 32] = [5; 32];
const ARN: &str = "arn:arion:sqs::audit:webhook";

fn webhooks(url: &str) -> Arc<Webhooks> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secret");
    secret_file::replace(&path, &BASE64.encode(SECRET)).unwrap();
    let config = |name: &str, accounts: &[&str]| WebhookConfig {
        name: name.into(),
        url: url.into(),
        secret_file: path.clone(),
        accounts: accounts.iter().map(|account| (*account).to_owned()).collect(),
    };
    Arc::new(Webhooks::load(&[config("audit", &[]), config("bobs", &["bob"])]).unwrap())
}

fn quick() -> SenderOptions {
    SenderOptions {
        timeout: Duration::from_millis(500),
        retry: (Duration::from_millis(10), Duration::from_millis(40)),
        idle: Duration::from_millis(10),
        sweep: Duration::from_millis(20),
        // Clocks of tests stand where they like.
        age_max: Duration::MAX,
        ..SenderOptions::default()
    }
}

/// Tells events until it is dropped.
struct Telling {
    metrics: Metrics,
    health: Health,
    stop: Shutdown,
}

impl Telling {
    fn start(meta: &Meta, webhooks: &Arc<Webhooks>, options: SenderOptions) -> Self {
        let (metrics, health, stop) = (Metrics::default(), Health::new("test", "0"), Shutdown::new());
        let senders = Senders {
            meta: meta.clone(),
            metrics: metrics.clone(),
            health: health.clone(),
            webhooks: webhooks.clone(),
            teller: Teller { region: "us-east-1".into(), host: "host".into() },
            options,
        };
        let until = stop.clone();
        tokio::runtime::Handle::current().spawn(async move { senders.run(until).await });
        Self { metrics, health, stop }
    }

    fn detail(&self, name: &str) -> String {
        self.health.to_json()["details"][name].to_string()
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        self.stop.trigger();
    }
}

fn configuration(inner: &str) -> String {
    format!("<NotificationConfiguration>{inner}</NotificationConfiguration>")
}

fn queue(id: &str, arn: &str, events: &[&str], filter: &[(&str, &str)]) -> String {
    let events: String = events.iter().map(|event| format!("<Event>{event}</Event>")).collect();
    let rules = filter
        .iter()
        .map(|(name, value)| format!("<FilterRule><Name>{name}</Name><Value>{value}</Value></FilterRule>"));
    let rules: String = rules.collect();
    let filter = match filter {
        [] => String::new(),
        _ => format!("<Filter><S3Key>{rules}</S3Key></Filter>"),
    };
    format!("<QueueConfiguration><Id>{id}</Id><Queue>{arn}</Queue>{events}{filter}</QueueConfiguration>")
}

fn set(served: &Served, bucket: &str, inner: &str) -> Answer {
    let path = format!("/{bucket}?notification");
    served.ask(Some(&served.alice), "PUT", &path, configuration(inner).as_bytes(), &[])
}

/// All that rules can name.
const ALL: [&str; 5] = [
    "s3:ObjectCreated:*",
    "s3:ObjectRemoved:*",
    "s3:LifecycleExpiration:*",
    "s3:ObjectTagging:*",
    "s3:ObjectAcl:Put",
];

#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_is_shown_and_what_is_wrong_is_refused() {
    with_webhooks(webhooks("http://127.0.0.1:9/"), |served| {
        let alice = Some(&served.alice);
        served.put("/photos", "");
        let shown = || served.ask(alice, "GET", "/photos?notification", b"", &[]);
        assert_eq!((shown().status, shown().text.contains("Queue")), (200, false));
        let one = queue("new", ARN, &["s3:ObjectCreated:*"], &[("Prefix", "a/"), ("suffix", ".jpg")]);
        let two = queue("gone", "arn:arion:sqs:us-east-1:audit:webhook", &["s3:ObjectRemoved:Delete"], &[]);
        let done = set(served, "photos", &(one.clone() + &two));
        assert_eq!(done.status, 200, "{}", done.text);
        let text = shown().text;
        for part in [
            "<Id>new</Id>",
            "<Id>gone</Id>",
            "<Queue>arn:arion:sqs::audit:webhook</Queue>",
            "<Queue>arn:arion:sqs:us-east-1:audit:webhook</Queue>",
            "<Event>s3:ObjectCreated:*</Event>",
            "<FilterRule><Name>prefix</Name><Value>a/</Value></FilterRule>",
            "<FilterRule><Name>suffix</Name><Value>.jpg</Value></FilterRule>",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let put = &["s3:ObjectCreated:Put"][..];
        for (inner, code, said) in [
            (queue("x", "arn:aws:sqs:us-east-1:1:q", put, &[]), "InvalidArgument", "there is no webhook"),
            (queue("x", "arn:arion:sqs::bobs:webhook", put, &[]), "InvalidArgument", "there is no webhook"),
            (queue("x", ARN, &["s3:ObjectRestore:*"], &[]), "InvalidArgument", "s3:ObjectRestore:*"),
            (queue("x", ARN, &[], &[]), "MalformedXML", ""),
            (queue("x", ARN, put, &[("infix", "x")]), "InvalidArgument", "prefix or suffix"),
            (queue("x", ARN, put, &[("prefix", "x"), ("Prefix", "y")]), "InvalidArgument", "at most one"),
            (one.clone() + &queue("x", ARN, put, &[("prefix", "a/b")]), "InvalidArgument", "overlap"),
            (one.clone() + &queue("new", ARN, &["s3:ObjectRemoved:*"], &[]), "InvalidArgument", "twice"),
            (
                "<TopicConfiguration><Topic>arn:arion:sqs::audit:webhook</Topic>\
                 <Event>s3:ObjectCreated:*</Event></TopicConfiguration>"
                    .into(),
                "InvalidArgument",
                "webhooks only",
            ),
            ("<EventBridgeConfiguration/>".into(), "InvalidArgument", "webhooks only"),
        ] {
            let refused = set(served, "photos", &inner);
            assert_eq!((refused.status, refused.code()), (400, code), "{inner}: {}", refused.text);
            assert!(refused.text.contains(said), "{inner}: {}", refused.text);
        }
        assert_eq!(shown().text, text);
        assert_eq!(set(served, "photos", "").status, 200);
        assert!(!shown().text.contains("Queue"));
        assert_eq!(set(served, "absent", &one).code(), "NoSuchBucket");
        let bobs = |bucket: &str| {
            served.ask(Some(&served.bob), "PUT", bucket, b"", &[]);
            let inner = configuration(&queue("x", "arn:arion:sqs::bobs:webhook", put, &[]));
            served.ask(Some(&served.bob), "PUT", &format!("{bucket}?notification"), inner.as_bytes(), &[])
        };
        assert_eq!(bobs("/of-bob").status, 200);
    })
    .await;
}

/// As docs/operate/gateway.md says.
fn is_genuine(told: &Told) -> bool {
    let (id, time) = (told.id(), &told.headers["webhook-timestamp"]);
    let signed = [format!("{id}.{time}.").as_bytes(), &told.body].concat();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &SECRET);
    let signature = told.headers["webhook-signature"].strip_prefix("v1,").unwrap();
    hmac::verify(&key, &signed, &BASE64.decode(signature).unwrap()).is_ok()
}

fn names(told: &[Told]) -> Vec<(String, String)> {
    told.iter().map(Told::what).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(name, key)| ((*name).to_owned(), (*key).to_owned())).collect()
}

fn complete_in_parts(served: &Served, path: &str) {
    let alice = Some(&served.alice);
    let begun = served.ask(alice, "POST", &format!("{path}?uploads"), b"", &[]).text;
    let id = begun.split("<UploadId>").nth(1).unwrap().split('<').next().unwrap();
    let part = served.ask(alice, "PUT", &format!("{path}?partNumber=1&uploadId={id}"), b"part", &[]);
    let list = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{}</ETag></Part>\
         </CompleteMultipartUpload>",
        part.header("etag")
    );
    let done = served.ask(alice, "POST", &format!("{path}?uploadId={id}"), list.as_bytes(), &[]);
    assert_eq!(done.status, 200, "{}", done.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_told_in_order_and_signed() {
    let receiver = Receiver::start();
    let webhooks = webhooks(&receiver.url());
    let senders = webhooks.clone();
    with_webhooks(webhooks, move |served| {
        let telling = Telling::start(&served.grid.meta, &senders, quick());
        let alice = Some(&served.alice);
        served.put("/photos", "");
        assert_eq!(set(served, "photos", &queue("all", ARN, &ALL, &[("prefix", "a/")])).status, 200);
        let put = served.ask(alice, "PUT", "/photos/a/b%20c", b"hello", &[]);
        served.put("/photos/elsewhere", "untold");
        served.ask(alice, "PUT", "/photos/a/copy", b"", &[("x-amz-copy-source", "photos/a/b%20c")]);
        complete_in_parts(served, "/photos/a/parts");
        assert_eq!(served.signed_form(&served.alice, "photos", "a/form", "hello").status, 204);
        assert_eq!(served.ask(alice, "DELETE", "/photos/a/copy", b"", &[]).status, 204);
        // Nothing is gone that was not there.
        assert_eq!(served.ask(alice, "DELETE", "/photos/a/copy", b"", &[]).status, 204);
        let versions = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
        served.put("/photos?versioning", versions);
        let second = served.ask(alice, "PUT", "/photos/a/b%20c", b"hello again", &[]);
        let marker = served.ask(alice, "DELETE", "/photos/a/b%20c", b"", &[]);
        let version = second.header("x-amz-version-id");
        let gone = served.ask(alice, "DELETE", &format!("/photos/a/b%20c?versionId={version}"), b"", &[]);
        assert_eq!(gone.status, 204, "{}", gone.text);
        let expected = pairs(&[
            ("s3:TestEvent", "photos"),
            ("ObjectCreated:Put", "a/b+c"),
            ("ObjectCreated:Copy", "a/copy"),
            ("ObjectCreated:CompleteMultipartUpload", "a/parts"),
            ("ObjectCreated:Post", "a/form"),
            ("ObjectRemoved:Delete", "a/copy"),
            ("ObjectCreated:Put", "a/b+c"),
            ("ObjectRemoved:DeleteMarkerCreated", "a/b+c"),
            ("ObjectRemoved:Delete", "a/b+c"),
        ]);
        let told = receiver.when("all is told", |told| told.len() >= expected.len());
        assert_eq!(names(&told), expected);
        assert!(told.iter().all(is_genuine));
        assert!(told.iter().all(|told| told.path == "/hook"));
        assert!(told.iter().all(|told| told.headers["content-type"] == "application/json"));
        let ids: BTreeSet<&str> = told.iter().map(Told::id).collect();
        assert_eq!(ids.len(), told.len());

        let record = told[1].json()["Records"][0].clone();
        assert_eq!(record["userIdentity"]["principalId"], "alice");
        assert_eq!(record["requestParameters"]["sourceIPAddress"], "127.0.0.1");
        assert_eq!(record["responseElements"]["x-amz-request-id"], put.header("x-amz-request-id"));
        assert_eq!(record["s3"]["configurationId"], "all");
        assert_eq!(record["s3"]["bucket"]["ownerIdentity"]["principalId"], "alice");
        let object = &record["s3"]["object"];
        assert_eq!((&object["size"], &object["versionId"]), (&json!(5), &json!(null)));
        assert_eq!(object["eTag"], put.header("etag").trim_matches('"'));
        let object = |number: usize| told[number].json()["Records"][0]["s3"]["object"].clone();
        assert_eq!((&object(6)["versionId"], &object(6)["size"]), (&json!(version), &json!(11)));
        assert_eq!(object(7)["versionId"], marker.header("x-amz-version-id"));
        assert_eq!((&object(8)["versionId"], &object(8)["size"]), (&json!(version), &json!(null)));
        let sequencers: Vec<String> =
            (1..told.len()).map(|number| object(number)["sequencer"].as_str().unwrap().to_owned()).collect();
        assert!(sequencers.is_sorted_by(|one, other| one < other), "{sequencers:?}");
        assert_eq!(telling.detail("webhook_audit"), "\"ok\"");
    })
    .await;
}

/// Tags and lists of objects that are there; what changes nothing is no event.
#[tokio::test(flavor = "multi_thread")]
async fn other_tags_and_lists_are_told() {
    let receiver = Receiver::start();
    let webhooks = webhooks(&receiver.url());
    let senders = webhooks.clone();
    with_webhooks(webhooks, move |served| {
        let _telling = Telling::start(&served.grid.meta, &senders, quick());
        let alice = Some(&served.alice);
        served.put("/photos", "");
        assert_eq!(set(served, "photos", &queue("all", ARN, &ALL, &[])).status, 200);
        let put = served.ask(alice, "PUT", "/photos/k", b"hello", &[("x-amz-tagging", "a=b")]);
        let tags = "<Tagging><TagSet><Tag><Key>a</Key><Value>c</Value></Tag></TagSet></Tagging>";
        let ask = |method: &str, path: &str, body: &str, headers: &[(&str, &str)]| {
            let done = served.ask(alice, method, path, body.as_bytes(), headers);
            assert!(matches!(done.status, 200 | 204), "{method} {path}: {}", done.text);
        };
        ask("PUT", "/photos/k?tagging", tags, &[]);
        ask("DELETE", "/photos/k?tagging", "", &[]);
        ask("DELETE", "/photos/k?tagging", "", &[]);
        for acl in ["private", "public-read", "public-read", "private"] {
            ask("PUT", "/photos/k?acl", "", &[("x-amz-acl", acl)]);
        }
        let absent = served.ask(alice, "PUT", "/photos/none?tagging", tags.as_bytes(), &[]);
        assert_eq!(absent.code(), "NoSuchKey");
        ask("DELETE", "/photos/k", "", &[]);
        let expected = pairs(&[
            ("s3:TestEvent", "photos"),
            ("ObjectCreated:Put", "k"),
            ("ObjectTagging:Put", "k"),
            ("ObjectTagging:Delete", "k"),
            ("ObjectAcl:Put", "k"),
            ("ObjectAcl:Put", "k"),
            ("ObjectRemoved:Delete", "k"),
        ]);
        let told = receiver.when("all is told", |told| told.len() >= expected.len());
        assert_eq!(names(&told), expected);
        for told in &told[2..6] {
            let record = told.json()["Records"][0].clone();
            assert_eq!(record["eventVersion"], "2.3");
            assert_eq!(record["userIdentity"]["principalId"], "alice");
            let object = &record["s3"]["object"];
            assert_eq!((&object["size"], &object["versionId"]), (&json!(5), &json!(null)));
            assert_eq!(object["eTag"], put.header("etag").trim_matches('"'));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_taken_is_told_again_and_holds_up_no_write() {
    let (receiver, other) = (Receiver::start(), Receiver::start());
    let webhooks = webhooks(&receiver.url());
    let senders = webhooks.clone();
    with_webhooks(webhooks, move |served| {
        let telling = Telling::start(&served.grid.meta, &senders, quick());
        served.put("/photos", "");
        receiver.answer(500);
        assert_eq!(set(served, "photos", &queue("all", ARN, &ALL, &[])).status, 200);
        for number in 0..5 {
            served.put(&format!("/photos/{number}"), "x");
        }
        let told = receiver.when("it is tried again", |told| told.len() >= 4);
        let is_first = |one: &Told| one.what().0 == "s3:TestEvent" && one.id() == told[0].id();
        assert!(told.iter().all(is_first));
        // Nobody is sent elsewhere, and who says nothing is given up.
        receiver.redirect(other.url());
        receiver.forget();
        receiver.when("it is redirected", |told| told.len() >= 2);
        receiver.answer(0);
        receiver.forget();
        receiver.when("it hangs", |told| told.len() >= 2);
        assert!(
            telling.detail("webhook_audit").contains("not reached"),
            "{}",
            telling.detail("webhook_audit")
        );
        receiver.answer(204);
        receiver.forget();
        let told = receiver.when("all is told", |told| told.iter().any(|told| told.what().1 == "4"));
        let expected: Vec<_> = (0..5).map(|key| key.to_string()).collect();
        let mut keys: Vec<_> = names(&told).into_iter().map(|(_, key)| key).collect();
        keys.retain(|key| key != "photos");
        assert_eq!(keys, expected);
        assert!(other.told().is_empty());
        assert!(telling.metrics.events_failed.get() > 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_bounded_and_counted() {
    let receiver = Receiver::start();
    receiver.answer(503);
    let webhooks = webhooks(&receiver.url());
    let senders = webhooks.clone();
    with_webhooks(webhooks, move |served| {
        served.put("/photos", "");
        assert_eq!(set(served, "photos", &queue("all", ARN, &ALL, &[])).status, 200);
        for number in 0..8 {
            served.put(&format!("/photos/{number}"), "x");
        }
        let options = SenderOptions { backlog_max: 3, ..quick() };
        let telling = Telling::start(&served.grid.meta, &senders, options);
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        while telling.metrics.events_queued.get() != 3 {
            assert!(std::time::Instant::now() < deadline, "{:?}", telling.metrics.events_queued);
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(telling.metrics.events_dropped.get(), 6);
        receiver.answer(200);
        receiver.forget();
        let told = receiver.when("the rest is told", |told| told.iter().any(|told| told.what().1 == "7"));
        let mut keys: Vec<_> = names(&told).into_iter().map(|(_, key)| key).collect();
        keys.dedup();
        assert!(["5", "6", "7"].iter().all(|key| keys.contains(&(*key).to_owned())), "{keys:?}");
    })
    .await;
}

fn rules() -> Rules {
    let rule = Rule {
        id: "all".into(),
        webhook: "audit".into(),
        arn: ARN.into(),
        events: ALL.iter().map(|event| (*event).to_owned()).collect(),
        prefix: None,
        suffix: None,
    };
    Rules::new(vec![rule]).unwrap()
}

async fn bucket_with_rules(meta: &Meta) {
    let _ = meta.create_bucket(BUCKET.into(), BucketInfo::new("alice".into(), 1)).await;
    meta.set_notifications(BUCKET.into(), rules(), None, 1).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lifecycle_rules_do_is_told_as_theirs() {
    let directory = tempfile::tempdir().unwrap();
    let meta = open_meta(directory.path());
    bucket_with_rules(&meta).await;
    let lifecycle = "<LifecycleConfiguration><Rule><ID>r</ID><Status>Enabled</Status><Filter><Prefix></Prefix></Filter>\
        <Expiration><Days>1</Days></Expiration>\
        <NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration>\
        </Rule></LifecycleConfiguration>";
    let row = Some(lifecycle.as_bytes().to_vec());
    meta.put_subresource(BUCKET.into(), Subresource::Lifecycle, row).await.unwrap();
    let put = async |key: &str, seed| {
        let mut object = new_object(&meta, key, seed).await;
        object.info.modified_ms = 0;
        meta.put_object(object, 0).await.unwrap();
    };
    let round = async |now_ms| {
        let mut walker = Lifecycle::new(meta.clone(), Metrics::default(), Day(1_000));
        while walker.turn(now_ms).await.unwrap() {}
    };
    put("k", 1).await;
    round(5_000).await;
    meta.set_versioning(BUCKET.into(), Versioning::Enabled).await.unwrap();
    put("k", 2).await;
    round(10_000).await;
    round(20_000).await;
    let receiver = Receiver::start();
    let _telling = Telling::start(&meta, &webhooks(&receiver.url()), quick());
    let expected = pairs(&[
        ("ObjectCreated:Put", "k"),
        ("LifecycleExpiration:Delete", "k"),
        ("ObjectCreated:Put", "k"),
        ("LifecycleExpiration:DeleteMarkerCreated", "k"),
        ("LifecycleExpiration:Delete", "k"),
    ]);
    let told =
        tokio::task::spawn_blocking(move || receiver.when("all", |told| told.len() >= 5)).await.unwrap();
    assert_eq!(names(&told)[..5], expected[..]);
    assert_eq!(told[1].json()["Records"][0]["userIdentity"]["principalId"], "lifecycle");
}

const CHILD: &str = "ARION_GATEWAY_NOTIFICATIONS_TEST_CHILD";

async fn write_and_tell_for_ever(directory: &Path, url: &str) {
    let meta = Meta::open(&directory.join("meta.redb")).unwrap();
    bucket_with_rules(&meta).await;
    let _telling = Telling::start(&meta, &webhooks(url), quick());
    for number in 0.. {
        let key = format!("{number:06}");
        meta.put_object(new_object(&meta, &key, number).await, 1).await.unwrap();
        println!("acknowledged {key}");
    }
}

/// Whatever was acknowledged is told, by whoever opens the metadata next.
#[tokio::test(flavor = "multi_thread")]
async fn events_survive_kill_9() {
    if let Some(child) = std::env::var_os(CHILD) {
        let child = child.into_string().unwrap();
        let (url, directory) = child.split_once(' ').unwrap();
        return write_and_tell_for_ever(Path::new(directory), url).await;
    }
    let (receiver, directory) = (Receiver::start(), tempfile::tempdir().unwrap());
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["notifications::events_survive_kill_9", "--exact", "--nocapture"])
        .env(CHILD, format!("{} {}", receiver.url(), directory.path().display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acknowledged = BTreeSet::new();
    for line in lines.map_while(Result::ok) {
        acknowledged.extend(line.strip_prefix("acknowledged ").map(str::to_owned));
        if acknowledged.len() >= 60 {
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(acknowledged.len() >= 60, "the child ended early");
    let meta = open_meta(directory.path());
    let _telling = Telling::start(&meta, &webhooks(&receiver.url()), quick());
    let told = tokio::task::spawn_blocking(move || {
        let keys = |told: &[Told]| names(told).into_iter().map(|(_, key)| key).collect::<BTreeSet<_>>();
        receiver.when("what was acknowledged is told", |told| acknowledged.is_subset(&keys(told)))
    });
    // The order holds, but for what was told again.
    let mut first = BTreeSet::new();
    let mut keys = names(&told.await.unwrap()).into_iter().map(|(_, key)| key);
    let told_first: Vec<String> = keys.by_ref().filter(|key| first.insert(key.clone())).collect();
    assert!(told_first.is_sorted(), "{told_first:?}");
}

#[test]
fn a_webhook_shows_no_secret() {
    let all = webhooks("http://h/");
    let webhook: &Webhook = all.all().next().unwrap();
    let shown = format!("{webhook:?}");
    assert!(shown.contains("audit") && !shown.contains(&BASE64.encode(SECRET)), "{shown}");
}
