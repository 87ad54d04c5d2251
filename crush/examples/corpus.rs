//! The corpus of maps on which placement is compared with Ceph's:
//!
//!     corpus text NUMBER    a map as input for `crushtool --compile`
//!     corpus oracle [FILE]  all placements of all maps against `crushtool`; writes its answers, hashed, to FILE
//!
//! The frozen file is crush/vectors/corpus.txt; `crush-vectors` compares with it where there is no `crushtool`.

#![allow(clippy::unwrap_used, reason = "a check fails by panicking")]

#[path = "../tests/corpus/mod.rs"]
mod corpus;
#[path = "../tests/corpus/judge.rs"]
#[allow(dead_code, reason = "the other half is for the bench")]
mod judge;

use std::{env, fs, process::ExitCode};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["text", number] => match number.parse::<usize>() {
            Ok(number) if number < corpus::MAPS => {
                let case = corpus::case(number);
                println!("# {}", case.name);
                for (uid, reweight) in case.tree.reweights() {
                    println!("# --weight {uid} {:.17}", f64::from(reweight) / 65_536.0);
                }
                print!("{}", case.tree.crushtool_text());
                ExitCode::SUCCESS
            }
            _ => usage(),
        },
        ["oracle"] => oracle(None),
        ["oracle", file] => oracle(Some(file)),
        _ => usage(),
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: corpus text NUMBER (below {}) | oracle [FILE]", corpus::MAPS);
    ExitCode::from(2)
}

fn oracle(file: Option<&str>) -> ExitCode {
    if !judge::installed() {
        return ExitCode::FAILURE;
    }
    let (mut lines, mut placements, mut differing) = (String::new(), 0, 0);
    for number in 0..corpus::MAPS {
        let case = corpus::case(number);
        let answers = judge::placements(&case.tree);
        placements += answers.len();
        let wrong = corpus::placements(&case.tree)
            .zip(&answers)
            .filter(|((replicas, x, ours), answer)| {
                let wrong = ours != *answer;
                if wrong && differing < 10 {
                    eprintln!(
                        "{}, {replicas} replicas, x = {x}:\n  ours {ours:?}\n  ceph {answer:?}",
                        case.name
                    );
                }
                differing += usize::from(wrong);
                wrong
            })
            .count();
        if wrong > 0 {
            eprintln!("{wrong} differ: {}", case.name);
        }
        lines += &corpus::line(number, &answers);
        lines.push('\n');
    }
    println!("{placements} placements of {} maps: {differing} differ from crushtool's", corpus::MAPS);
    if let Some(file) = file {
        fs::write(file, lines).unwrap();
    }
    if differing == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
