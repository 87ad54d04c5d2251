//! Builds this crate once more, for wasm: the code that the genesis of a chain contains.
//!
//! A plain `cargo rustc` for `wasm32v1-none` is all it takes. The usual `substrate-wasm-builder` does the
//! same, but compiles the C++ of binaryen first, which took 10 minutes of processor time here, to shrink the
//! wasm of production builds.
//!
//! Environment: with `SKIP_WASM_BUILD` set (to anything but nothing) no wasm is built and `WASM_BINARY` is
//! `None`; a node cannot make a genesis with it, but checks and lints are quick. `ARION_METADATA_HASH` (64
//! hexadecimal digits, what `arion-node metadata-hash` prints) goes into the wasm, which then can check that a
//! hardware wallet showed its user what was signed; a release is built with it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

const TARGET: &str = "wasm32v1-none";
/// Profile in the workspace's Cargo.toml.
const PROFILE: &str = "wasm";
/// The executor provides the memory, calls through the table and needs to know where the heap starts.
const RUSTFLAGS: &str = "--cfg substrate_runtime -C link-arg=--export-table -C link-arg=--import-memory \
    -C link-arg=--export=__heap_base";
const SKIP: &str = "SKIP_WASM_BUILD";
const METADATA_HASH: &str = "ARION_METADATA_HASH";
/// Where `frame-metadata-hash-extension` looks for it.
const METADATA_HASH_INSIDE: &str = "RUNTIME_METADATA_HASH";
/// Features of this crate that the wasm has too.
const FEATURES: [&str; 3] = ["fast-runtime", "runtime-benchmarks", "try-runtime"];
/// Variables for builds of the host, besides features and configuration.
const ABOUT_HOST: &[&str] = &[
    "CARGO_BUILD_TARGET",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_TARGET_DIR",
    "CLIPPY_ARGS",
    "RUSTC",
    "RUSTC_WORKSPACE_WRAPPER",
];

fn main() {
    // Without `std` this is the build for wasm itself. Not asked of the environment: there, the features of
    // the build that started this one are visible too.
    if !cfg!(feature = "std") {
        return;
    }
    println!("cargo::rerun-if-env-changed={SKIP}");
    println!("cargo::rerun-if-env-changed={METADATA_HASH}");
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(variable("OUT_DIR"));
    let binary = match env::var(SKIP) {
        Ok(value) if !value.is_empty() => "None".to_owned(),
        _ => {
            let wasm = out.join("arion_runtime.wasm");
            fs::copy(build(&out), &wasm).expect("the wasm was just built");
            format!("Some(include_bytes!({:?}))", wasm.display().to_string())
        }
    };
    let hash = metadata_hash();
    let code = format!(
        "/// The runtime as wasm; `None` in a build with `{SKIP}`.\n\
         pub const WASM_BINARY: Option<&[u8]> = {binary};\n\
         /// Hash of its metadata that is built into it, hexadecimal.\n\
         pub const METADATA_HASH: Option<&str> = {hash:?};\n"
    );
    fs::write(out.join("wasm_binary.rs"), code).expect("cargo made the directory");
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|error| panic!("cargo sets {name} for build scripts: {error}"))
}

/// The hash of the runtime's metadata, if this is a build that knows it.
fn metadata_hash() -> Option<String> {
    let hash = env::var(METADATA_HASH).ok().filter(|hash| !hash.is_empty())?;
    let digits = hash.strip_prefix("0x").unwrap_or(&hash);
    assert!(
        digits.len() == 64 && digits.chars().all(|digit| digit.is_ascii_hexdigit()),
        "{METADATA_HASH} is '{hash}': expected the 64 hexadecimal digits that 'arion-node metadata-hash' prints"
    );
    Some(digits.to_ascii_lowercase())
}

/// Builds the wasm and returns its path.
fn build(out: &Path) -> PathBuf {
    // <target dir>/<profile>/build/arion-runtime-<hash>/out: shared by all features, so that dependencies are
    // built once.
    let hash = metadata_hash();
    // Cargo does not notice that a variable changed which a crate of the registry reads: a directory for each value.
    let name = hash.as_ref().map_or_else(|| "wbuild".to_owned(), |hash| format!("wbuild-{}", &hash[..16]));
    let target_dir = out.ancestors().nth(3).expect("OUT_DIR is deep in the target directory").join(name);
    let mut cargo = Command::new(variable("CARGO"));
    cargo
        .args(["rustc", "--lib", "--crate-type", "cdylib", "--no-default-features"])
        .args(["--target", TARGET, "--profile", PROFILE])
        .arg("--manifest-path")
        .arg(Path::new(&variable("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target_dir)
        .env("RUSTFLAGS", RUSTFLAGS);
    for feature in FEATURES {
        if env::var_os(format!("CARGO_FEATURE_{}", feature.to_uppercase().replace('-', "_"))).is_some() {
            cargo.args(["--features", feature]);
        }
    }
    cargo.env_remove(METADATA_HASH_INSIDE);
    if let Some(hash) = hash {
        cargo.env(METADATA_HASH_INSIDE, hash);
    }
    // What cargo and clippy tell this script is about the host. Features above all: the nested build would
    // take them for its own and build the wasm once more.
    for (name, _) in env::vars_os() {
        let about_host = name.to_str().is_some_and(|name| {
            name.starts_with("CARGO_FEATURE_") || name.starts_with("CARGO_CFG_") || ABOUT_HOST.contains(&name)
        });
        if about_host {
            cargo.env_remove(name);
        }
    }
    let status = cargo.status().expect("cargo runs: it runs this script");
    assert!(
        status.success(),
        "building the runtime for {TARGET} failed, see above; if the target is missing, run \
         'rustup target add {TARGET}'"
    );

    let built = target_dir.join(TARGET).join(PROFILE);
    watch(&built.join("arion_runtime.d"));
    built.join("arion_runtime.wasm")
}

/// Runs this script again when a source file of the wasm changes. Crates of the registry never do.
fn watch(dep_info: &Path) {
    let text = fs::read_to_string(dep_info).expect("cargo writes dep-info next to what it builds");
    let sources =
        text.lines().filter_map(|line| line.split_once(": ")).flat_map(|(_, files)| files.split(' '));
    for source in sources.filter(|source| !source.is_empty()) {
        println!("cargo::rerun-if-changed={source}");
    }
}
