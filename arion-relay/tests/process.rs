//! The program as a stranger meets it.

use arion_stranger::Program;

fn program() -> Program {
    Program::new(env!("CARGO_BIN_EXE_arion-relay"), &[], &["--listen"])
}

arion_stranger::stories!(program, [("--key-file", "node.key")]);

#[test]
fn wrong_options_of_its_own_are_explained() {
    let program = program();
    let miners = program.run_refused(&[("--miners", "nobody")]);
    assert!(miners.contains("--miners") && miners.contains("64 hexadecimal digits"), "{miners}");
    let slow = program.run_refused(&[("--limits-miner-bandwidth", "1KiB")]);
    assert!(slow.contains("miner_bandwidth"), "{slow}");
}
