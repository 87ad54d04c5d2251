//! The tool as its users run it, against a gateway whose miners are in memory.

#![allow(missing_docs, clippy::unwrap_used)]

mod served;

use std::io::Write;

use served::{names, network::sample, serve};

#[tokio::test(flavor = "multi_thread")]
async fn trees_are_synchronised_both_ways() {
    let served = serve().await;
    served
        .while_serving(|tool| {
            tool.ok(&["mb", "s3://trees"]);
            for n in 0..40 {
                tool.write(&format!("tree/d{}/f {n} ü+%&.txt", n % 3), &sample(n * 37));
            }
            let planned = tool.ok(&["sync", "tree", "s3://trees/a", "--dry-run"]);
            assert_eq!(
                planned.lines().filter(|line| line.starts_with("would put ")).count(),
                40,
                "{planned}"
            );
            assert_eq!(tool.json(&["du", "s3://trees"])["total"]["objects"], 0);
            let done = tool.json(&["sync", "tree", "s3://trees/a"]);
            assert_eq!((&done["done"]["put"], &done["done"]["failed"]), (&40.into(), &0.into()));
            assert_eq!(tool.json(&["sync", "tree", "s3://trees/a"])["done"]["put"], 0);
            assert_eq!(tool.json(&["sync", "tree", "s3://trees/a", "--checksum"])["done"]["put"], 0);

            let done = tool.json(&["sync", "s3://trees/a", "back"]);
            assert_eq!(done["done"]["got"], 40);
            assert_eq!(tool.read("back/d1/f 4 ü+%&.txt"), sample(4 * 37));
            assert_eq!(tool.json(&["sync", "s3://trees/a/", "back"])["done"]["got"], 0);

            // Changed here with the same size and time: only bytes tell.
            let name = "tree/d0/f 3 ü+%&.txt";
            let before = std::fs::metadata(tool.files.join(name)).unwrap().modified().unwrap();
            tool.write(name, &[7; 3 * 37]);
            let file = std::fs::File::options().write(true).open(tool.files.join(name)).unwrap();
            file.set_modified(before).unwrap();
            assert_eq!(tool.json(&["sync", "tree", "s3://trees/a"])["done"]["put"], 0);
            assert_eq!(tool.json(&["sync", "tree", "s3://trees/a", "--checksum"])["done"]["put"], 1);
            // Newer here, by more than the second that times in S3 are rounded to.
            tool.write(name, &[8; 3 * 37]);
            let file = std::fs::File::options().write(true).open(tool.files.join(name)).unwrap();
            file.set_modified(std::time::SystemTime::now() + std::time::Duration::from_secs(5)).unwrap();
            assert_eq!(tool.json(&["sync", "tree", "s3://trees/a"])["done"]["put"], 1);
            file.set_modified(before).unwrap();

            std::fs::remove_dir_all(tool.files.join("tree/d2")).unwrap();
            let planned = tool.json(&["sync", "tree", "s3://trees/a", "--delete", "--dry-run"]);
            assert_eq!(planned["plan"].as_array().unwrap().len(), 13);
            assert_eq!(tool.json(&["sync", "tree", "s3://trees/a"])["done"]["deleted"], 0);
            assert_eq!(tool.json(&["sync", "tree", "s3://trees/a", "--delete"])["done"]["deleted"], 13);
            assert_eq!(tool.json(&["sync", "s3://trees/a", "back", "--delete"])["done"]["deleted"], 13);
            assert_eq!(names(&tool.files.join("back/d2")), Vec::<String>::new());

            let usage = tool.json(&["du", "s3://trees/a/"]);
            assert_eq!(usage["prefixes"].as_array().unwrap().len(), 2);
            assert_eq!(usage["prefixes"][0]["objects"], 14);
            assert_eq!(usage["total"]["objects"], 27);
            assert!(tool.ok(&["du", "s3://trees"]).ends_with("27 s3://trees/\n"));
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_copied_moved_linked_and_deleted() {
    let served = serve().await;
    served
        .while_serving(|tool| {
            tool.ok(&["mb", "s3://first"]);
            tool.ok(&["mb", "s3://second"]);
            assert_eq!(tool.ok(&["ls"]).lines().filter(|line| line.contains(" s3://")).count(), 2);
            let body = sample(50_000);
            tool.write("a ü?.txt", &body);
            tool.ok(&["cp", "a ü?.txt", "s3://first/d/"]);
            tool.ok(&["cp", "s3://first/d/a ü?.txt", "s3://second/copy"]);
            tool.ok(&["mv", "s3://second/copy", "s3://second/e/moved"]);
            tool.ok(&["cp", "s3://second/e/moved", "back"]);
            assert!(tool.read("back") == body);
            assert_eq!(tool.json(&["ls", "-r", "s3://second"])[0]["key"], "e/moved");
            tool.ok(&["mv", "back", "s3://second/e/back"]);
            assert!(!tool.files.join("back").exists());
            tool.ok(&["cp", "-r", "s3://second/e", "s3://first/all"]);
            tool.ok(&["mv", "-r", "s3://first/all", "fetched"]);
            assert_eq!(names(&tool.files.join("fetched")), ["back", "moved"]);
            assert_eq!(tool.json(&["du", "s3://first/all"])["total"]["objects"], 0);

            // Through standard input and output.
            let mut put = tool.command(&["put", "-", "s3://first/stream"]);
            let mut child = put.stdin(std::process::Stdio::piped()).spawn().unwrap();
            child.stdin.take().unwrap().write_all(&sample(20 << 20)).unwrap();
            assert!(child.wait_with_output().unwrap().status.success());
            let output = tool.command(&["get", "s3://first/stream", "-"]).output().unwrap();
            assert!(output.status.success() && output.stdout == sample(20 << 20));

            let link = tool.json(&["share", "s3://first/d/a ü?.txt", "--expires", "1h"]);
            let mut answer = ureq::get(link["url"].as_str().unwrap()).call().unwrap();
            assert!(answer.body_mut().read_to_vec().unwrap() == body);
            let link = tool.ok(&["share", "s3://first/by link", "--put"]);
            ureq::put(link.trim()).send(&b"by link"[..]).unwrap();
            tool.ok(&["get", "s3://first/by link"]);
            assert_eq!(tool.read("by link"), b"by link");

            let put = tool.json(&["put", "a ü?.txt", "s3://first/told", "--content-type", "text/plain"]);
            assert_eq!((&put["shards"]["all"], &put["verified"]), (&30.into(), &true.into()));
            assert_eq!(tool.ok(&["rm", "s3://first/told", "--dry-run"]), "would delete s3://first/told\n");
            tool.ok(&["rm", "s3://first/told"]);
            // An upload that nobody finished stands in the way of removing the bucket.
            tool.client().begin_parts(&"s3://first/begun".parse().unwrap(), None).unwrap();
            let gone = tool.json(&["rm", "-r", "s3://first/"]);
            assert_eq!((&gone["deleted"], &gone["uploads_given_up"]), (&3.into(), &1.into()));
            tool.ok(&["rb", "s3://first"]);
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_are_fetched_and_verified_offline() {
    let served = serve().await;
    served
        .while_serving(|tool| {
            tool.ok(&["mb", "s3://bucket"]);
            tool.write("film", &sample(300_000));
            tool.ok(&["put", "film", "s3://bucket/a/film"]);
            let said = tool.ok(&["receipt", "get", "s3://bucket/a/film", "r.json"]);
            assert!(
                said.contains("30 miners signed") || said.contains("miners signed for s3://bucket/a/film")
            );
            // Nobody is asked: there is nobody at these addresses.
            let nowhere =
                ["--s3-endpoint", "http://127.0.0.1:1", "--chain-url", "ws://127.0.0.1:1", "--json"];
            let verify = |more: &[&str]| {
                let arguments = [&nowhere[..], &["receipt", "verify"], more].concat();
                let (code, out, err) = tool.run(&arguments);
                (code, serde_json::from_str::<serde_json::Value>(&out).unwrap_or_default(), err)
            };
            let (code, told, err) = verify(&["r.json", "--against", "film"]);
            assert_eq!((code, &told["against"], &told["key"]), (0, &true.into(), &"a/film".into()), "{err}");
            assert_eq!((&told["size"], &told["stripes"]), (&300_000.into(), &1.into()));
            assert!(told["miners_per_stripe_min"].as_u64().unwrap() >= 20);
            let gateway = told["gateway"].as_str().unwrap();
            assert_eq!(verify(&["r.json", "--gateway", gateway]).0, 0);
            tool.write("other", &sample(299_999));
            let (code, told, _) = verify(&["r.json", "--against", "other"]);
            assert_eq!((code, &told["against"]), (1, &false.into()));
            let another = "1".repeat(64);
            let (code, _, err) = verify(&["r.json", "--gateway", &another]);
            assert!(code == 1 && err.contains("another gateway"), "{err}");
            let (code, _, err) = verify(&["r.json", "--chain-genesis", &another]);
            assert!(code == 1 && err.contains("another chain"), "{err}");
            let text = String::from_utf8(tool.read("r.json")).unwrap();
            tool.write("forged.json", text.replace("a/film", "b/film").as_bytes());
            let (code, _, err) = verify(&["forged.json"]);
            assert!(code == 1 && err.contains("signature of the gateway"), "{err}");
            tool.write("none.json", b"{}");
            assert!(verify(&["none.json"]).2.contains("no receipt"));
            assert_eq!(tool.run(&["receipt", "get", "s3://bucket/nothing"]).0, 3);
            // On standard output it is the file, with what miners signed meanwhile.
            let again = tool.ok(&["receipt", "get", "s3://bucket/a/film"]);
            tool.write("again.json", again.as_bytes());
            assert_eq!(verify(&["again.json", "--against", "film"]).0, 0);
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_have_their_exit_codes_and_say_what_to_do() {
    let served = serve().await;
    served
        .while_serving(|tool| {
            tool.ok(&["mb", "s3://bucket"]);
            // One's own is there already.
            tool.ok(&["mb", "s3://bucket"]);
            tool.write("file", b"x");
            tool.write("d/file", b"x");
            let nobody = "http://127.0.0.1:1";
            for (arguments, code, says) in [
                (&["get", "s3://bucket/nothing"][..], 3, "arion ls -r"),
                (&["rm", "s3://bucket/nothing"], 3, "does not exist"),
                (&["ls", "s3://no-such-bucket"], 3, "arion mb"),
                (&["mb", "s3://B"], 1, "lower-case"),
                (&["mb", "s3://taken"], 1, "choose another name"),
                (&["put", "nowhere", "s3://bucket/k"], 1, "cannot read nowhere"),
                (&["put", "d", "s3://bucket/k"], 1, "arion sync"),
                (&["put", "file"], 2, "Usage"),
                (&["cp", "file", "other"], 1, "s3://bucket"),
                (&["cp", "d", "s3://bucket"], 1, "add -r"),
                (&["cp", "-r", "s3://bucket/a", "s3://bucket/a/b"], 1, "into itself"),
                (&["sync", "d", "e"], 1, "s3://bucket/prefix"),
                (&["share", "s3://bucket/k", "--expires", "8d"], 1, "7 days"),
                (&["--s3-endpoint", nobody, "ls"], 5, "--s3-endpoint"),
                (&["--access-key", "NOBODY", "ls"], 4, "ARION_ACCESS_KEY"),
            ] {
                let (found, out, err) = tool.run(arguments);
                assert!(found == code && err.contains(says), "{arguments:?}: {found} {out}{err}");
            }
            tool.ok(&["put", "file", "s3://bucket/k"]);
            let (code, _, err) = tool.run(&["--json", "rb", "s3://bucket"]);
            let told: serde_json::Value = serde_json::from_str(&err).unwrap();
            assert_eq!((code, &told["error"]["s3_code"]), (1, &"BucketNotEmpty".into()));
            assert_eq!(told["error"]["exit_code"], 1);
            assert!(told["error"]["remedy"].as_str().unwrap().contains("arion rm -r"));
            for shell in ["bash", "zsh", "fish"] {
                let script = tool.ok(&["completions", shell]);
                assert!(script.contains("arion") && script.contains("completions"), "{shell}");
            }
        })
        .await;
}
