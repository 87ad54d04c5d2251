//! The code of this binary's runtime, for an upgrade of a chain.

use std::fs;

use arion_runtime::VERSION;
use sp_io::hashing::blake2_256;

use crate::{chain_spec::code, cli::ExportRuntime};

/// Writes the code; prints what those who decide about it compare.
pub(crate) fn run(command: &ExportRuntime) -> Result<(), String> {
    let code = code()?;
    let path = &command.output;
    fs::write(path, code).map_err(|error| {
        format!("cannot write {}: {error}; name another file with --output", path.display())
    })?;
    println!(
        "{} {}, {} bytes, blake2-256 0x{}",
        VERSION.spec_name,
        VERSION.spec_version,
        code.len(),
        hex::encode(blake2_256(code))
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_what_a_genesis_has_and_a_bad_path_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let output = directory.path().join("runtime.wasm");
        run(&ExportRuntime { output: output.clone() }).unwrap();
        assert_eq!(fs::read(output).unwrap(), code().unwrap());
        let missing = directory.path().join("none/runtime.wasm");
        let error = run(&ExportRuntime { output: missing.clone() }).unwrap_err();
        assert!(error.contains(&missing.display().to_string()), "{error}");
    }
}
