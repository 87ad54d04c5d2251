//! `arion du`: how much is behind a prefix, by what follows it.

use std::{collections::BTreeMap, process::ExitCode};

use arion_daemon::line;
use serde::Serialize;

use super::{blocking, print_json, size};
use crate::{
    objects::{Client, ObjectUrl},
    settings::Settings,
};

/// Groups shown apart; what comes behind is counted in the total only.
const GROUPS_MAX: usize = 100_000;

/// What was counted.
#[derive(Default, Debug, PartialEq, Eq, Serialize)]
struct Usage {
    prefix: String,
    objects: u64,
    bytes: u64,
}

impl Usage {
    fn add(&mut self, bytes: u64) {
        self.objects += 1;
        self.bytes += bytes;
    }
}

/// The part of a key by which it is counted: the prefix and `depth` more names, where the key has more.
fn group<'a>(prefix: &str, key: &'a str, depth: usize) -> Option<&'a str> {
    let rest = key.get(prefix.len()..)?;
    let end = rest.match_indices('/').nth(depth.checked_sub(1)?)?.0;
    key.get(..prefix.len() + end + 1)
}

/// Counts and prints.
pub async fn run(settings: Settings, at: ObjectUrl, depth: usize, json: bool) -> anyhow::Result<ExitCode> {
    let bucket = at.bucket.clone();
    let (groups, total) = blocking(move || {
        let client = Client::new(&settings)?;
        let mut groups: BTreeMap<String, Usage> = BTreeMap::new();
        let mut total = Usage { prefix: at.key.clone(), ..Usage::default() };
        client.list_pages(&at, true, |page| {
            for line in page {
                let bytes = line.size.unwrap_or(0);
                total.add(bytes);
                let Some(name) = group(&at.key, &line.key, depth) else { continue };
                if groups.len() < GROUPS_MAX || groups.contains_key(name) {
                    groups.entry(name.to_owned()).or_default().add(bytes);
                }
            }
            Ok(())
        })?;
        Ok((groups, total))
    })
    .await?;
    let groups: Vec<Usage> = groups.into_iter().map(|(prefix, usage)| Usage { prefix, ..usage }).collect();
    if json {
        print_json(&serde_json::json!({ "bucket": bucket, "total": total, "prefixes": groups }))?;
        return Ok(ExitCode::SUCCESS);
    }
    for usage in groups.iter().chain([&total]) {
        line!("{:>12} {:>9} s3://{bucket}/{}", size(usage.bytes), usage.objects, usage.prefix);
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_counted_by_what_follows_the_prefix() {
        assert_eq!(group("a/", "a/b/c/d", 1), Some("a/b/"));
        assert_eq!(group("a/", "a/b/c/d", 2), Some("a/b/c/"));
        assert_eq!(group("a/", "a/b/c/d", 3), None);
        assert_eq!(group("a/", "a/b", 1), None);
        assert_eq!(group("", "ü/b", 1), Some("ü/"));
        assert_eq!(group("", "a/b", 0), None);
    }
}
