//! The clients of the stories: `e2e/s3/client.py`, which is boto3, and programs with polkadot.js.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde_json::Value;

use crate::{census::Census, layout::program, state::S3Access};

/// A file of the `e2e` directory of the clone.
pub fn source(path: &str) -> anyhow::Result<PathBuf> {
    let root = std::env::var_os("ARION_E2E")
        .context("ARION_E2E is not set: run this through scripts/devnet, scripts/e2e or scripts/test")?;
    let file = Path::new(&root).join(path);
    if !file.is_file() {
        bail!("{} is missing", file.display());
    }
    Ok(file)
}

/// Copies a program and what it imports beside the modules of Node, where Node looks for them; answers where the program
/// is, the first of `files`.
pub fn beside_modules(files: &[&str]) -> anyhow::Result<PathBuf> {
    let modules = std::env::var_os("ARION_NODE_MODULES")
        .context("ARION_NODE_MODULES is not set: run this through scripts/e2e or scripts/test")?;
    let modules = PathBuf::from(modules);
    let mut programs = Vec::new();
    for file in files {
        let source = source(file)?;
        let name = source.file_name().context("a file of the client has no name")?;
        let program = modules.with_file_name(name);
        std::fs::copy(&source, &program)
            .with_context(|| format!("cannot copy the client beside {}", modules.display()))?;
        programs.push(program);
    }
    programs.into_iter().next().context("no program was named")
}

/// Runs one operation of the S3 client; returns what it observed.
pub async fn s3(access: &S3Access, arguments: &[&str]) -> anyhow::Result<Value> {
    let python = std::env::var_os("ARION_PYTHON")
        .context("ARION_PYTHON is not set: run this through scripts/devnet, scripts/e2e or scripts/test")?;
    let output = tokio::process::Command::new(python)
        .arg(source("s3/client.py")?)
        .args(arguments)
        .env("AWS_ACCESS_KEY_ID", &access.access_key)
        .env("AWS_SECRET_ACCESS_KEY", &access.secret_key)
        .env("AWS_DEFAULT_REGION", &access.region)
        .env("S3_ENDPOINT", &access.endpoint)
        .kill_on_drop(true)
        .output()
        .await
        .context("cannot run the S3 client")?;
    if !output.status.success() {
        bail!("s3 {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    serde_json::from_slice(&output.stdout).context("the S3 client printed no JSON")
}

/// Runs `arion` with these arguments and nothing from the environment.
pub async fn arion(arguments: &[&str]) -> anyhow::Result<std::process::Output> {
    let mut command = tokio::process::Command::new(program("arion")?);
    command.env_clear().args(arguments).stdin(std::process::Stdio::null()).kill_on_drop(true);
    command.output().await.context("cannot run arion")
}

/// What `arion-census` finds, which is told the node's address and what `/v1/locate` answered, and nothing else; that is kept in `file`.
pub async fn census(node: &str, located: &Value, file: &Path) -> anyhow::Result<Census> {
    std::fs::write(file, located.to_string())?;
    let output = tokio::process::Command::new(program("arion-census")?)
        .args(["--node", node])
        .arg(file)
        .kill_on_drop(true)
        .output()
        .await?;
    serde_json::from_slice(&output.stdout)
        .with_context(|| format!("arion-census: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
