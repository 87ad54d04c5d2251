//! Shards in the stores of miners, and how to spoil them.

use std::os::unix::fs::FileExt;

use anyhow::{Context, bail};
use arion_types::ShardHash;
use serde::Deserialize;

use super::{Network, registration::run};

/// What `arion-miner store locate` prints.
#[derive(Deserialize)]
struct Located {
    path: std::path::PathBuf,
    offset: u64,
    length: u64,
}

impl Network {
    /// Flips one bit of one byte of a shard in the store of a miner that is not running; says where.
    pub async fn flip_byte(&self, miner: &str, shard: &ShardHash) -> anyhow::Result<String> {
        let data = self.directory(miner).to_string_lossy().into_owned();
        let located =
            run(&["arion-miner", "store", "locate", &shard.to_string(), "--data-dir", &data]).await?;
        let located: Located = serde_json::from_str(&located)?;
        if located.length == 0 {
            bail!("shard {shard} is empty");
        }
        let position = located.offset + rand::random_range(0..located.length);
        let file = std::fs::File::options().read(true).write(true).open(&located.path)?;
        let mut byte = [0];
        file.read_exact_at(&mut byte, position)?;
        let before = byte[0];
        byte[0] ^= 1;
        file.write_all_at(&byte, position)?;
        file.sync_all()?;
        Ok(format!("byte {position} of {}: {before:#04x} is now {:#04x}", located.path.display(), byte[0]))
    }

    /// Deletes the store of a miner that is not running; says what was deleted.
    pub fn empty_store(&self, miner: &str) -> anyhow::Result<String> {
        let store = self.directory(miner).join("store");
        let count =
            std::fs::read_dir(&store).with_context(|| format!("no store in {}", store.display()))?.count();
        std::fs::remove_dir_all(&store)?;
        Ok(format!("{count} files in {} deleted", store.display()))
    }
}
