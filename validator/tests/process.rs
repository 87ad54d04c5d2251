//! The program as a stranger meets it.

use arion_stranger::Program;

fn program() -> Program {
    Program::new(env!("CARGO_BIN_EXE_arion-validator"), &[], &["--listen"])
}

arion_stranger::stories!(program, [("--key-file", "node.key"), ("--account-file", "account.key")]);
