//! Step 2: objects go in and come back.

use std::{
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde_json::Value;

use super::Stage;
use crate::{layout, story::client};

pub(super) const BUCKET: &str = "demo";
const SEED: &[u8] = b"arion demo file, seed 1";
const MIB: f64 = 1_048_576.0;

/// An object that was stored.
pub(super) struct Object {
    pub(super) key: String,
    pub(super) file: PathBuf,
    pub(super) bytes: u64,
    pub(super) blake3: String,
}

/// A file of that size made from a fixed seed: the same bytes on every machine.
pub(super) fn generate(directory: &Path, bytes: u64) -> anyhow::Result<PathBuf> {
    layout::make(directory)?;
    let path = directory.join("file.bin");
    let mut stream = blake3::Hasher::new_derive_key("arion 2026-11 demo file").update(SEED).finalize_xof();
    let mut writer = BufWriter::new(std::fs::File::create(&path)?);
    let mut block = vec![0; 1 << 16];
    let mut left = bytes;
    while left > 0 {
        let length = usize::try_from(left.min(block.len() as u64)).expect("a block's length is a usize");
        stream.fill(&mut block[..length]);
        writer.write_all(&block[..length])?;
        left -= length as u64;
    }
    writer.flush()?;
    Ok(path)
}

pub(super) async fn step(stage: &mut Stage) -> anyhow::Result<Vec<Object>> {
    let size = std::fs::metadata(&stage.file)
        .with_context(|| format!("cannot read {}", stage.file.display()))?
        .len();
    stage.report.step(
        2,
        &format!(
            "{} ({size} bytes), 1 byte and nothing go in through S3 and come back",
            stage.file.display()
        ),
    );
    s3(stage, &["make-bucket", BUCKET]).await?;
    let directory = stage.network.layout().of("files");
    layout::make(&directory)?;
    let (one, empty) = (directory.join("one.bin"), directory.join("empty.bin"));
    std::fs::write(&one, b"!")?;
    std::fs::write(&empty, b"")?;
    let mut objects = Vec::new();
    for (key, file) in [("file", stage.file.clone()), ("one-byte", one), ("empty", empty)] {
        let object = put(stage, key, file).await?;
        read_back(stage, &object, "comes back").await?;
        objects.push(object);
    }
    range(stage, &objects[0]).await?;
    let listed = s3(stage, &["list", BUCKET]).await?;
    stage.report.observed(format!("list: {}", listed["keys"]));
    let wanted = serde_json::json!(["empty", "file", "one-byte"]);
    stage.report.check("the bucket lists the three objects", listed["keys"] == wanted);
    let resident = stage.network.supervisor().resident_bytes();
    stage.report.observed(format!("resident memory of all processes {} MiB", resident >> 20));
    Ok(objects)
}

async fn put(stage: &mut Stage, key: &str, file: PathBuf) -> anyhow::Result<Object> {
    let path = file.to_string_lossy().into_owned();
    let put = s3(stage, &["put", &path, BUCKET, key]).await?;
    let bytes = put["bytes"].as_u64().with_context(|| format!("put {key}: {put}"))?;
    let blake3 = put["blake3"].as_str().with_context(|| format!("put {key}: {put}"))?.to_owned();
    stage.report.observed(format!("put {key}: {bytes} bytes, BLAKE3 {}..., {}", &blake3[..16], speed(&put)));
    stage.report.check(format!("{key} is stored with its size"), put["head_bytes"].as_u64() == Some(bytes));
    Ok(Object { key: key.to_owned(), file, bytes, blake3 })
}

/// Downloads the object and compares.
pub(super) async fn read_back(stage: &mut Stage, object: &Object, what: &str) -> anyhow::Result<()> {
    let path = stage.network.layout().of("files").join(format!("{}.back", object.key));
    let got = s3(stage, &["get", BUCKET, &object.key, &path.to_string_lossy()]).await?;
    // Not needed any more: the client has hashed it.
    if path.exists() {
        std::fs::remove_file(&path)?;
    }
    stage.report.observed(format!("get {}: {}, {}", object.key, observed(&got), speed(&got)));
    stage.report.check(
        format!("{} {what}, BLAKE3 equal", object.key),
        got["blake3"].as_str() == Some(&object.blake3) && got["bytes"].as_u64() == Some(object.bytes),
    );
    Ok(())
}

/// A range across the border of two stripes where the object is large enough.
async fn range(stage: &mut Stage, object: &Object) -> anyhow::Result<()> {
    if object.bytes < 4 {
        return Ok(());
    }
    let offset = (10 * 1_048_576 - 1_000).min(object.bytes / 2);
    let length = (object.bytes - offset).min(100_000);
    let got =
        s3(stage, &["get-range", BUCKET, &object.key, &offset.to_string(), &length.to_string()]).await?;
    let wanted = {
        use std::os::unix::fs::FileExt;
        let mut bytes = vec![0; usize::try_from(length)?];
        std::fs::File::open(&object.file)?.read_exact_at(&mut bytes, offset)?;
        blake3::hash(&bytes).to_hex().to_string()
    };
    stage.report.observed(format!(
        "get bytes {offset} to {} of {}: {}",
        offset + length - 1,
        object.key,
        observed(&got)
    ));
    stage.report.check("a byte range comes back, equal", got["blake3"].as_str() == Some(&wanted));
    Ok(())
}

/// The gateway's answer to where the shards of an object are.
pub(super) async fn locate(stage: &Stage, key: &str) -> anyhow::Result<Value> {
    s3(stage, &["locate", BUCKET, key]).await
}

async fn s3(stage: &Stage, arguments: &[&str]) -> anyhow::Result<Value> {
    client::s3(stage.network.s3()?, arguments).await
}

fn observed(answer: &Value) -> String {
    match (answer["error"].as_str(), answer["bytes"].as_u64(), answer["blake3"].as_str()) {
        (Some(error), ..) => {
            format!("refused with {error}: {}", answer["message"].as_str().unwrap_or_default())
        }
        (None, Some(bytes), Some(hash)) => {
            format!("{bytes} bytes, BLAKE3 {}...", hash.get(..16).unwrap_or(hash))
        }
        _ => answer.to_string(),
    }
}

fn speed(answer: &Value) -> String {
    let (Some(bytes), Some(seconds)) = (answer["bytes"].as_f64(), answer["seconds"].as_f64()) else {
        return "no time measured".to_owned();
    };
    if bytes < MIB {
        format!("{seconds:.2} s")
    } else {
        format!("{seconds:.2} s, {:.1} MiB/s", bytes / MIB / seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generated_file_is_the_same_everywhere() {
        let directory = tempfile::tempdir().unwrap();
        let bytes = std::fs::read(generate(directory.path(), 100_000).unwrap()).unwrap();
        assert_eq!(bytes.len(), 100_000);
        let again = std::fs::read(generate(directory.path(), 70_000).unwrap()).unwrap();
        assert_eq!(again, bytes[..70_000]);
    }
}
