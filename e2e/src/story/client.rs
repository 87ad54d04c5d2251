//! The S3 client of the stories: `e2e/s3/client.py`, which is boto3.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde_json::Value;

use crate::state::S3Access;

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

/// Runs one operation of the client; returns what it observed.
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
