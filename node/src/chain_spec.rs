//! Chains this binary knows by name.

use std::sync::OnceLock;

use arion_runtime::{
    WASM_BINARY,
    configs::SS58Prefix,
    genesis::{Genesis, LOCAL_VALIDATORS_MAX, local_preset},
};
use sc_chain_spec::{ChainType, GenericChainSpec, Properties};
use sc_network::config::MultiaddrWithPeerId;
use sp_maybe_compressed_blob::CODE_BLOB_BOMB_LIMIT;

/// Specification of a chain: genesis state, name, properties.
pub(crate) type ChainSpec = GenericChainSpec;

/// Decimals of ALPHA.
pub(crate) const TOKEN_DECIMALS: u8 = 18;
/// Symbol of the token.
pub(crate) const TOKEN_SYMBOL: &str = "ALPHA";

/// One chain for one node: Alice is the only validator and holds the sudo key.
pub(crate) fn development() -> Result<ChainSpec, String> {
    spec("Arion Development", "arion-dev", ChainType::Development, sp_genesis_builder::DEV_RUNTIME_PRESET)
}

/// A chain for `validators` nodes on one machine: Alice, Bob, Charlie, Dave, in this order.
pub(crate) fn local(validators: usize) -> Result<ChainSpec, String> {
    if !(1..=LOCAL_VALIDATORS_MAX).contains(&validators) {
        return Err(format!(
            "a local chain has 1 to {LOCAL_VALIDATORS_MAX} validators, not {validators}: use local:1 to \
             local:{LOCAL_VALIDATORS_MAX}"
        ));
    }
    spec("Arion Local", &format!("arion-local-{validators}"), ChainType::Local, &local_preset(validators))
}

/// A public test chain. Nobody is root on it.
pub(crate) fn testnet(genesis: Genesis, bootnodes: Vec<MultiaddrWithPeerId>) -> Result<ChainSpec, String> {
    let spec = ChainSpec::builder(code()?, None)
        .with_name("Arion Testnet")
        .with_id("arion-testnet")
        .with_chain_type(ChainType::Live)
        .with_properties(properties())
        .with_boot_nodes(bootnodes)
        .with_genesis_config_patch(genesis.patch());
    Ok(spec.build())
}

/// The chain that `--chain ID` means.
pub(crate) fn by_id(id: &str) -> Result<ChainSpec, String> {
    match id {
        "dev" => development(),
        "" | "local" => local(1),
        "testnet" => Err(
            "the specification of a testnet is a file, because its validators are in it: make one with \
             'arion-node build-testnet-spec', or get the one of an existing testnet, and give --chain its path"
                .into(),
        ),
        _ => match id.strip_prefix("local:") {
            Some(count) => {
                let validators =
                    count.parse().map_err(|_| format!("'{count}' in --chain {id} is not a number"))?;
                local(validators)
            },
            None => ChainSpec::from_json_file(id.into()).map_err(|error| {
                format!(
                    "'{id}' is not dev, local or local:N, and reading it as a chain specification failed: {error}"
                )
            }),
        },
    }
}

fn spec(name: &str, id: &str, chain_type: ChainType, preset: &str) -> Result<ChainSpec, String> {
    Ok(ChainSpec::builder(code()?, None)
        .with_name(name)
        .with_id(id)
        .with_chain_type(chain_type)
        .with_properties(properties())
        .with_genesis_config_preset_name(preset)
        .build())
}

/// The wasm runtime of this binary, as chains store it: compressed. An upgrade brings all of it in one transaction, and
/// without that it would not fit into a block.
pub(crate) fn code() -> Result<&'static [u8], String> {
    static CODE: OnceLock<Option<Vec<u8>>> = OnceLock::new();
    let wasm = WASM_BINARY.ok_or(
        "this binary was built without the wasm runtime (SKIP_WASM_BUILD): build it again without that variable",
    )?;
    CODE.get_or_init(|| sp_maybe_compressed_blob::compress_weakly(wasm, CODE_BLOB_BOMB_LIMIT))
        .as_deref()
        .ok_or_else(|| format!("the wasm runtime has {} bytes, more than nodes take", wasm.len()))
}

fn properties() -> Properties {
    let mut properties = Properties::new();
    properties.insert("tokenSymbol".into(), TOKEN_SYMBOL.into());
    properties.insert("tokenDecimals".into(), TOKEN_DECIMALS.into());
    properties.insert("ss58Format".into(), SS58Prefix::get().into());
    properties
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever exports them twice, or on another machine, gets the same bytes: genesis state, name, properties.
    #[test]
    fn named_chains_are_the_same_bytes_every_time() {
        // The wasm is compiled each time, which takes seconds: the smallest and the largest will do.
        for (id, validators) in [("dev", 1), ("local:4", 4)] {
            let raw = || by_id(id).unwrap().as_json(true).unwrap_or_else(|error| panic!("{id}: {error}"));
            let first = raw();
            assert!(first == raw(), "{id}: two exports differ");
            let spec: serde_json::Value = serde_json::from_str(&first).unwrap();
            let top = spec["genesis"]["raw"]["top"].as_object().unwrap();
            let hash = |name: &str| sp_io::hashing::twox_128(name.as_bytes());
            let key = format!("0x{}", hex::encode([hash("Session"), hash("Validators")].concat()));
            // Accounts of 32 bytes, with a compact length before them.
            assert_eq!(top[&key].as_str().unwrap().len(), 2 + 2 + validators * 64, "{id}");
        }
    }

    /// An author puts no transaction into its block that makes it longer than this; the rest is for the signature.
    #[test]
    fn an_upgrade_to_this_runtime_fits_into_a_block() {
        assert!(code().unwrap().len() + 4_096 < sc_basic_authorship::DEFAULT_BLOCK_SIZE_LIMIT);
    }

    #[test]
    fn chains_of_different_size_have_different_ids() {
        let ids: [String; 5] =
            ["dev", "local:1", "local:2", "local:3", "local:4"].map(|id| by_id(id).unwrap().id().into());
        assert_eq!(ids, ["arion-dev", "arion-local-1", "arion-local-2", "arion-local-3", "arion-local-4"]);
        assert_eq!(by_id("local").unwrap().id(), by_id("").unwrap().id());
    }

    #[test]
    fn unknown_chains_are_refused_with_the_reason() {
        for (id, reason) in [
            ("local:0", "1 to 4 validators"),
            ("local:5", "1 to 4 validators"),
            ("local:x", "not a number"),
            ("testnet", "build-testnet-spec"),
            ("/nowhere/spec.json", "not dev, local or local:N"),
        ] {
            let error = by_id(id).err().unwrap();
            assert!(error.contains(reason), "{id}: {error}");
        }
    }
}
