//! What was interrupted goes on where it stopped.

#![allow(missing_docs, clippy::unwrap_used)]

mod served;

use std::fs;

use arion_cli::objects::ObjectUrl;
use served::{Way, names, network::sample, serve};

const MIB: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_goes_on_with_the_parts_that_are_stored() {
    let served = serve().await;
    served
        .while_serving(|tool| {
            tool.ok(&["mb", "s3://bucket"]);
            let body = sample(68 * MIB);
            tool.write("large", &body);
            let (client, at): (_, ObjectUrl) = (tool.client(), "s3://bucket/large".parse().unwrap());
            // Three parts of 16 MiB are on their way at once: when 56 MiB have passed, one has arrived.
            let way = Way::new(&tool.endpoint, 56 << 20, i64::MAX);
            let stored = || {
                let open = client.open_uploads(&at).unwrap();
                open.first().is_some_and(|upload| !client.parts(&at, upload).unwrap().is_empty())
            };
            let (code, err) = tool.interrupted(&way, &["put", "large", "s3://bucket/"], stored);
            assert!(code == 130 && err.contains("same command again"), "{code} {err}");
            assert_eq!(tool.run(&["get", "s3://bucket/large"]).0, 3);

            // Another file under that key does not go on with it.
            tool.write("other/large", &sample(67 * MIB));
            let done = tool.json(&["put", "other/large", "s3://bucket/"]);
            assert_eq!(done["resumed_bytes"], 0);
            // This one does; and the upload that was gone on with is closed.
            let done = tool.json(&["put", "large", "s3://bucket/"]);
            assert!(done["resumed_bytes"].as_u64().unwrap() >= 16 << 20, "{done}");
            assert_eq!(client.open_uploads(&at).unwrap(), Vec::<String>::new());
            tool.ok(&["get", "s3://bucket/large", "back"]);
            assert!(tool.read("back") == body);
            assert_eq!(tool.json(&["put", "large", "s3://bucket/"])["resumed_bytes"], 0);
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_goes_on_behind_the_bytes_that_came() {
    let served = serve().await;
    served
        .while_serving(|tool| {
            tool.ok(&["mb", "s3://bucket"]);
            let body = sample(40 * MIB);
            tool.write("large", &body);
            tool.ok(&["put", "large", "s3://bucket/large"]);
            let part = || {
                let found = names(&tool.files).into_iter().find(|name| name.ends_with(".arion-part"));
                found.map(|name| tool.files.join(name))
            };
            let way = Way::new(&tool.endpoint, i64::MAX, 20 << 20);
            let came = || part().is_some_and(|part| fs::metadata(part).unwrap().len() > 0);
            let (code, err) = tool.interrupted(&way, &["get", "s3://bucket/large", "back"], came);
            assert!(code == 130 && err.contains("same command again"), "{code} {err}");
            assert!(!tool.files.join("back").exists());
            let there = fs::metadata(part().unwrap()).unwrap().len();
            let done = tool.json(&["get", "s3://bucket/large", "back"]);
            assert_eq!((&done["resumed_bytes"], &done["verified"]), (&there.into(), &true.into()));
            assert!(tool.read("back") == body && part().is_none());

            // The object was replaced meanwhile: nothing of the other is used.
            fs::remove_file(tool.files.join("back")).unwrap();
            let way = Way::new(&tool.endpoint, i64::MAX, 20 << 20);
            tool.interrupted(&way, &["get", "s3://bucket/large", "back"], came);
            tool.write("large", &sample(33 * MIB));
            tool.ok(&["put", "large", "s3://bucket/large"]);
            let done = tool.json(&["get", "s3://bucket/large", "back"]);
            assert_eq!(done["resumed_bytes"], 0);
            assert!(tool.read("back") == sample(33 * MIB) && part().is_none());
        })
        .await;
}
