//! The corpus: 220 maps of every shape, 1,003,200 placements, all of them Ceph's. Here a sample; all of them with
//! `./scripts/nightly` (examples/corpus.rs).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod corpus;
#[path = "corpus/judge.rs"]
mod judge;

use crush::Hierarchy;

/// Maps of which all placements are made.
const SAMPLE: usize = 9;

fn frozen() -> Vec<&'static str> {
    include_str!("../vectors/corpus.txt").lines().collect()
}

fn ours(tree: &Hierarchy) -> Vec<Vec<u32>> {
    corpus::placements(tree).map(|(_, _, positions)| positions).collect()
}

#[test]
fn the_placements_in_clear_hold_for_every_map() {
    let frozen = frozen();
    assert_eq!(frozen.len(), corpus::MAPS);
    for (number, line) in frozen.iter().enumerate() {
        let case = corpus::case(number);
        let (replicas, x) = corpus::in_clear(number);
        let mut out = vec![None; replicas];
        case.tree.place(x, &mut out);
        let ours: Vec<String> = out.iter().map(|uid| uid.unwrap_or(corpus::NONE).to_string()).collect();
        let clear = format!("{replicas} {x} {}", ours.join(","));
        assert_eq!(line.splitn(3, ' ').nth(2), Some(clear.as_str()), "{}", case.name);
    }
}

#[test]
fn all_placements_of_a_sample_hold() {
    let frozen = frozen();
    for number in (4..corpus::MAPS).step_by(corpus::MAPS / SAMPLE) {
        let case = corpus::case(number);
        assert_eq!(corpus::line(number, &ours(&case.tree)), frozen[number], "{}", case.name);
    }
}

#[test]
fn a_sample_is_what_crushtool_answers() {
    if !judge::installed() {
        return;
    }
    for number in (1..corpus::MAPS).step_by(corpus::MAPS / SAMPLE) {
        let case = corpus::case(number);
        for (answer, (replicas, x, ours)) in
            judge::placements(&case.tree).into_iter().zip(corpus::placements(&case.tree))
        {
            assert_eq!(ours, answer, "{}: {replicas} replicas, x = {x}", case.name);
        }
    }
    let last = corpus::case(corpus::MAPS - 1).tree;
    assert_eq!(judge::Compiled::new(&last).test(3, 5), {
        let answers: Vec<_> = ours(&last);
        answers[2 * corpus::INPUTS as usize..][..5].to_vec()
    });
}

#[test]
fn vector_instructions_change_nothing() {
    for number in 0..corpus::MAPS {
        let tree = corpus::case(number).tree;
        for x in 0..20 {
            let (mut wide, mut scalar) = ([None; 30], [None; 30]);
            tree.place(x, &mut wide);
            tree.place_scalar(x, &mut scalar);
            assert_eq!(wide, scalar, "map {number}, x = {x}");
        }
    }
}
