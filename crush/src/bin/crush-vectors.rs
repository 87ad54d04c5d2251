//! Makes all placements of the corpus and compares them with the frozen hashes, on whatever machine this is built for.
//! Exit code 1 where one differs.

#![allow(clippy::unwrap_used, reason = "the corpus can be built")]

#[path = "../../tests/corpus/mod.rs"]
mod corpus;

use std::{env, process::ExitCode};

const FROZEN: &str = include_str!("../../vectors/corpus.txt");

fn main() -> ExitCode {
    let frozen: Vec<&str> = FROZEN.lines().collect();
    let (mut placements, mut differing) = (0, frozen.len().abs_diff(corpus::MAPS));
    for (number, frozen) in frozen.iter().enumerate().take(corpus::MAPS) {
        let case = corpus::case(number);
        let ours: Vec<Vec<u32>> = corpus::placements(&case.tree).map(|(_, _, positions)| positions).collect();
        placements += ours.len();
        if corpus::line(number, &ours) != *frozen {
            eprintln!("differs: {}", case.name);
            differing += 1;
        }
    }
    let (machine, bits) = (env::consts::ARCH, usize::BITS);
    println!(
        "{placements} placements of {} maps on {machine}, {bits} bits: {differing} maps differ",
        frozen.len()
    );
    if differing == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
