//! `arion miner drain`: empties a miner, and shows how far it is.
//!
//! On the miner's machine it makes the file `draining` in its data directory, which its heartbeats tell of. All else is asked of
//! the validator services.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, bail};
use arion_daemon::{line, read_secret_key};
use arion_net::Transport;
use arion_protocol::MinerCustody;
use arion_types::{NodeId, signing};
use serde::Serialize;

use super::{custody_of, rounded, size, transport};
use crate::settings::Settings;

/// The file in a miner's data directory.
const FILE: &str = "draining";
/// Its key, where it is unless its configuration says otherwise.
const KEY: &str = "node.key";
/// Pause between two questions.
const POLL: Duration = Duration::from_secs(2);
/// Rounds without an answer of any validator service after which nobody waits any longer.
const SILENT_MAX: u32 = 30;

/// What is wanted.
#[derive(Debug)]
pub enum Wish {
    /// Begin, and wait until it is empty.
    Start {
        /// The miner's data directory.
        directory: PathBuf,
        /// Whether to wait.
        waits: bool,
    },
    /// Stop.
    Cancel(PathBuf),
    /// Only wait.
    Watch(NodeId),
}

/// How far a miner is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct Progress {
    node_id: String,
    /// Whether the validator services know that it is to be emptied.
    is_draining: bool,
    /// Whether the current map has it.
    in_map: bool,
    /// Bytes when it began.
    begun_bytes: Option<u64>,
    /// Bytes that ledgers name on it.
    held_bytes: u64,
    /// Of these, bytes of which there is no new copy yet.
    waiting_bytes: u64,
    /// Of these, bytes that gateways are still to release.
    surplus_bytes: u64,
    bytes_per_second: Option<u64>,
    seconds_left: Option<u64>,
    is_empty: bool,
}

impl Progress {
    /// Of what validator services say: the one that sees most on it counts, and the one that is not so far.
    fn of(node: &NodeId, answers: &[MinerCustody]) -> Option<Self> {
        let most = answers.iter().max_by_key(|answer| answer.held_bytes)?;
        let drain = most.drain;
        let in_map = answers.iter().any(|answer| answer.in_map);
        let seconds_left = drain
            .filter(|drain| drain.bytes_per_second > 0)
            .map(|drain| most.held_bytes.div_ceil(drain.bytes_per_second));
        Some(Self {
            node_id: node.to_string(),
            is_draining: answers.iter().all(|answer| answer.drain.is_some()),
            in_map,
            begun_bytes: drain.map(|drain| drain.begun_bytes),
            held_bytes: most.held_bytes,
            waiting_bytes: most.waiting_bytes,
            surplus_bytes: most.surplus_bytes,
            bytes_per_second: drain.map(|drain| drain.bytes_per_second),
            seconds_left,
            is_empty: most.held_bytes == 0 && !in_map,
        })
    }

    fn text(&self) -> String {
        if !self.is_draining && !self.is_empty {
            return "not known to be emptied yet: its next heartbeat says so".into();
        }
        let held = size(self.held_bytes);
        let share = self.begun_bytes.filter(|begun| *begun > 0).map(|begun| {
            let gone = begun.saturating_sub(self.held_bytes);
            format!(" of {} ({} % gone)", size(begun), u128::from(gone) * 100 / u128::from(begun))
        });
        let share = share.unwrap_or_default();
        if self.in_map {
            return format!("{held}{share} on it; the current map still has it");
        }
        let pace = match (self.bytes_per_second, self.seconds_left) {
            (Some(rate), Some(seconds)) if seconds > 0 => {
                format!(", {}/s, about {} left", size(rate), rounded(seconds))
            }
            _ => String::new(),
        };
        let (waiting, surplus) = (size(self.waiting_bytes), size(self.surplus_bytes));
        format!("{held}{share} on it: {waiting} to be copied, {surplus} to be released{pace}")
    }
}

/// Does it. Exit code 0 when the miner is empty, or nobody wanted to wait.
pub async fn run(settings: &Settings, wish: Wish, json: bool) -> anyhow::Result<ExitCode> {
    let (node, is_started) = match wish {
        Wish::Watch(node) => (node, false),
        Wish::Cancel(directory) => {
            unmark(&directory)?;
            line!("the next heartbeat says that the miner stays; what is still on it stays there");
            return Ok(ExitCode::SUCCESS);
        }
        Wish::Start { directory, waits } => {
            mark(&directory)?;
            if !waits {
                line!("the next heartbeat says that the miner is to be emptied");
                return Ok(ExitCode::SUCCESS);
            }
            let key = read_secret_key(&directory.join(KEY));
            let key = key.context("the drain has begun; to watch it, give the miner's node id instead")?;
            (signing::node_id(&key), true)
        }
    };
    if settings.validators.is_empty() {
        bail!(
            "nobody can be asked how far it is: name a validator service with --validators NODE_ID@HOST:PORT"
        );
    }
    let transport = transport()?;
    let ended = watch(settings, transport.as_ref(), &node, is_started, json).await;
    transport.close().await;
    ended
}

async fn watch(
    settings: &Settings,
    transport: &dyn Transport,
    node: &NodeId,
    is_started: bool,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let (mut shown, mut silent) = (String::new(), 0);
    loop {
        let (answers, errors) = ask(settings, transport, node).await;
        match Progress::of(node, &answers) {
            Some(progress) => {
                silent = 0;
                let text = match json {
                    true => serde_json::to_string(&progress)?,
                    false => progress.text(),
                };
                if text != shown {
                    line!("{text}");
                    shown = text;
                }
                // One that has just begun may not be known yet.
                if progress.is_empty && (progress.is_draining || !is_started) {
                    if !json {
                        line!("empty: no ledger names a shard on it, it may be switched off");
                    }
                    return Ok(ExitCode::SUCCESS);
                }
            }
            None if silent == SILENT_MAX => {
                bail!("no validator service says how far it is: {}", errors.join("; "))
            }
            None => {
                if silent == 0 {
                    errors.iter().for_each(|error| eprintln!("warning: {error}"));
                }
                silent += 1;
            }
        }
        tokio::time::sleep(POLL).await;
    }
}

/// What each validator service says of a miner, and why others say nothing.
async fn ask(
    settings: &Settings,
    transport: &dyn Transport,
    node: &NodeId,
) -> (Vec<MinerCustody>, Vec<String>) {
    let (mut answers, mut errors) = (Vec::new(), Vec::new());
    for validator in &settings.validators {
        match custody_of(transport, validator).await {
            Ok(miners) => match miners.into_iter().find(|miner| miner.node_id == *node) {
                Some(miner) => answers.push(miner),
                None => errors.push(format!("{}: the miner is not registered", validator.endpoint)),
            },
            Err(error) => errors.push(format!("{}: {error}", validator.endpoint)),
        }
    }
    (answers, errors)
}

fn mark(directory: &Path) -> anyhow::Result<()> {
    let file = directory.join(FILE);
    if !directory.join(KEY).exists() && !directory.join("store").exists() {
        bail!("{} is not the data directory of a miner", directory.display());
    }
    fs::write(&file, b"").with_context(|| format!("cannot make {}", file.display()))
}

fn unmark(directory: &Path) -> anyhow::Result<()> {
    let file = directory.join(FILE);
    match fs::remove_file(&file) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", file.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use arion_protocol::DrainProgress;

    use super::*;

    fn answer(held: u64, in_map: bool, begun: Option<u64>) -> MinerCustody {
        MinerCustody {
            node_id: NodeId([1; 32]),
            in_map,
            held_bytes: held,
            waiting_bytes: held / 2,
            surplus_bytes: held - held / 2,
            counted_at: 1,
            drain: begun.map(|begun_bytes| DrainProgress {
                since: 1,
                begun_bytes,
                bytes_per_second: 1 << 20,
            }),
        }
    }

    fn of(answers: &[MinerCustody]) -> Progress {
        Progress::of(&NodeId([1; 32]), answers).unwrap()
    }

    #[test]
    fn it_is_empty_when_all_say_so() {
        let begun = Some(100 << 20);
        assert_eq!(Progress::of(&NodeId([1; 32]), &[]), None);
        assert!(of(&[answer(0, false, begun), answer(0, false, begun)]).is_empty);
        assert!(!of(&[answer(0, false, begun), answer(5, false, begun)]).is_empty);
        assert!(!of(&[answer(0, false, begun), answer(0, true, begun)]).is_empty);
        assert!(!of(&[answer(0, false, begun), answer(0, false, None)]).is_draining);
    }

    #[test]
    fn progress_is_told() {
        let begun = Some(100 << 20);
        let text = |held: u64, in_map, begun| of(&[answer(held, in_map, begun)]).text();
        assert_eq!(text(5, true, None), "not known to be emptied yet: its next heartbeat says so");
        assert!(text(100 << 20, true, begun).ends_with("(0 % gone) on it; the current map still has it"));
        let half = text(40 << 20, false, begun);
        assert!(half.contains("(60 % gone) on it: 20") && half.ends_with("about 40s left"), "{half}");
        for (seconds, text) in [(1, "1s"), (119, "119s"), (121, "3m"), (8_000, "3h"), (180_000, "3d")] {
            assert_eq!(rounded(seconds).to_string(), text);
        }
    }

    #[test]
    fn the_file_is_made_and_removed() {
        let directory = tempfile::tempdir().unwrap();
        assert!(mark(directory.path()).unwrap_err().to_string().contains("not the data directory"));
        fs::write(directory.path().join(KEY), "").unwrap();
        for _ in 0..2 {
            mark(directory.path()).unwrap();
            assert!(directory.path().join(FILE).exists());
        }
        for _ in 0..2 {
            unmark(directory.path()).unwrap();
            assert!(!directory.path().join(FILE).exists());
        }
    }
}
