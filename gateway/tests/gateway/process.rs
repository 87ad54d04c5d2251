//! The program as a stranger meets it.

use arion_stranger::Program;

fn program() -> Program {
    Program::new(env!("CARGO_BIN_EXE_arion-gateway"), &[], &["--listen", "--s3"])
}

arion_stranger::stories!(program, [("--key-file", "node.key"), ("--account-key-file", "account.key")]);
