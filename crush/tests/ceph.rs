//! Ceph's own `crushtool` as the judge, wherever it is installed (Debian package `ceph-base`).
//!
//! `CRUSH_VECTORS=write cargo test -p crush --test ceph` also rewrites crush/vectors/placement.json from its
//! answers, which [`frozen_placements_hold`] checks everywhere.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cases;

use std::{
    fs,
    process::{Command, Stdio},
};

use cases::NONE;
use crush::Map;

#[test]
fn every_placement_is_cephs() {
    if Command::new("crushtool").arg("--help").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
        eprintln!("crushtool is not installed: only the frozen vectors are checked");
        return;
    }
    let mut frozen = Vec::new();
    for mut case in cases::all() {
        let map = case.map();
        let answers = crushtool(&map, case.groups);
        assert_eq!(answers.len(), case.groups as usize, "{}", case.name);
        for (pg, answer) in answers.iter().enumerate() {
            assert_eq!(cases::placement(&map, pg as u32), *answer, "{}: placement group {pg}", case.name);
        }
        case.placements = answers.into_iter().step_by(case.groups as usize / 16).collect();
        frozen.push(case);
    }
    if std::env::var("CRUSH_VECTORS").is_ok_and(|value| value == "write") {
        fs::write(cases::PATH, cases::to_json(&frozen)).unwrap();
    }
}

/// The positions of groups `0..groups` according to `crushtool`, padded to k + m.
fn crushtool(map: &Map, groups: u32) -> Vec<Vec<u32>> {
    let dir = tempfile::tempdir().unwrap();
    let (text, compiled) = (dir.path().join("map.txt"), dir.path().join("map"));
    fs::write(&text, map.crushtool_text().to_string()).unwrap();
    let run = |command: &mut Command| {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    run(Command::new("crushtool").arg("--compile").arg(&text).arg("-o").arg(&compiled));
    let printed = run(Command::new("crushtool")
        .arg("-i")
        .arg(&compiled)
        .args(["--test", "--rule", "0", "--show-mappings", "--min-x", "0"])
        .args(["--max-x", &(groups - 1).to_string(), "--num-rep", &map.shards().to_string()]));
    printed
        .lines()
        .filter_map(|line| line.strip_prefix("CRUSH rule 0 x ")?.strip_suffix(']')?.split_once('['))
        .map(|(_, items)| {
            let mut positions: Vec<u32> =
                items.split(',').filter(|item| !item.is_empty()).map(|item| item.parse().unwrap()).collect();
            positions.resize(map.shards(), NONE);
            positions
        })
        .collect()
}

/// Needs no Ceph: its answers as they were frozen.
#[test]
fn frozen_placements_hold() {
    let frozen = cases::frozen();
    assert_eq!(frozen.len(), cases::all().len());
    for (case, fresh) in frozen.iter().zip(cases::all()) {
        assert_eq!((&case.name, case.params, &case.miners), (&fresh.name, fresh.params, &fresh.miners));
        assert_eq!(case.placements.len(), 16, "{}", case.name);
        let map = case.map();
        for (answer, pg) in case.placements.iter().zip((0..).step_by(case.groups as usize / 16)) {
            assert_eq!(cases::placement(&map, pg), *answer, "{}: placement group {pg}", case.name);
        }
    }
}
