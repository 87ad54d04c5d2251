//! The program as a stranger meets it.

use arion_stranger::Program;

fn program() -> Program {
    let submitter = format!("{}@127.0.0.1:4300", "1".repeat(64));
    Program::new(env!("CARGO_BIN_EXE_arion-warden"), &[("--submitter", &submitter)], &[])
}

arion_stranger::stories!(program, [("--key-file", "node.key")]);

#[test]
fn a_warden_needs_a_submitter() {
    let alone = Program::new(env!("CARGO_BIN_EXE_arion-warden"), &[], &[]);
    assert!(alone.run_refused(&[]).contains("--submitter"));
}
