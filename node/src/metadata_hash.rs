//! The hash of the runtime's metadata, by which a hardware wallet proves what it showed its user.
//!
//! A transaction may sign it (extension `CheckMetadataHash`); the runtime can only check it when it was built with
//! it. So a release is built twice: once to learn the hash, once with it. The metadata does not contain it.

use arion_runtime::{METADATA_HASH, VERSION, configs::SS58Prefix};
use codec::{Decode, Encode};
use frame_metadata::RuntimeMetadataPrefixed;
use merkleized_metadata::{ExtraInfo, generate_metadata_digest};
use sc_executor::WasmExecutor;
use sp_core::traits::{CallContext, CodeExecutor, RuntimeCode, WrappedRuntimeCode};
use sp_state_machine::BasicExternalities;

use crate::{
    chain_spec::{TOKEN_DECIMALS, TOKEN_SYMBOL, code},
    cli::MetadataHash,
};

/// The version of metadata that is hashed.
const METADATA_VERSION: u32 = 15;

/// Prints the hash; with `--check` fails unless the runtime has it.
pub(crate) fn run(command: &MetadataHash) -> Result<(), String> {
    let hash = hex::encode(compute(code()?)?);
    println!("{hash}");
    if command.check { check(&hash, METADATA_HASH) } else { Ok(()) }
}

/// Whether a runtime with this hash was built with it.
fn check(hash: &str, built: Option<&str>) -> Result<(), String> {
    match built {
        Some(built) if built == hash => Ok(()),
        Some(built) => Err(format!(
            "this runtime was built with the hash {built} of another one: build it again with ARION_METADATA_HASH={hash}"
        )),
        None => Err(format!(
            "this runtime was built without its hash: build it again with ARION_METADATA_HASH={hash}"
        )),
    }
}

/// The hash of the metadata that this wasm has, as RFC 78 defines it.
fn compute(code: &[u8]) -> Result<[u8; 32], String> {
    let executor = WasmExecutor::<sp_io::SubstrateHostFunctions>::builder().build();
    let runtime =
        RuntimeCode { code_fetcher: &WrappedRuntimeCode(code.into()), heap_pages: None, hash: vec![0; 32] };
    let answer = executor
        .call(
            &mut BasicExternalities::default(),
            &runtime,
            "Metadata_metadata_at_version",
            &METADATA_VERSION.encode(),
            CallContext::Offchain,
        )
        .0
        .map_err(|error| format!("the runtime does not say what its metadata is: {error}"))?;
    let metadata = Option::<Vec<u8>>::decode(&mut &answer[..])
        .ok()
        .flatten()
        .and_then(|bytes| RuntimeMetadataPrefixed::decode(&mut &bytes[..]).ok())
        .ok_or_else(|| format!("the runtime has no metadata of version {METADATA_VERSION}"))?;
    let extra = ExtraInfo {
        spec_version: VERSION.spec_version,
        spec_name: VERSION.spec_name.to_string(),
        base58_prefix: SS58Prefix::get(),
        decimals: TOKEN_DECIMALS,
        token_symbol: TOKEN_SYMBOL.into(),
    };
    Ok(generate_metadata_digest(&metadata.1, extra)?.hash())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wasm_has_a_hash_and_only_that_one_passes() {
        let hash = hex::encode(compute(code().unwrap()).unwrap());
        assert_eq!(hash.len(), 64);
        assert!(check(&hash, Some(&hash)).is_ok());
        let other = "0".repeat(64);
        assert!(check(&hash, Some(&other)).unwrap_err().contains("of another one"));
        assert!(check(&hash, None).unwrap_err().contains("without its hash"));
    }

    #[test]
    fn what_is_no_runtime_is_refused() {
        assert!(compute(b"not wasm").unwrap_err().contains("does not say"));
    }
}
