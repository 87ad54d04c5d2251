//! `Stat`: which of these shards are stored. Public, reads no shard.

use arion_protocol::{ErrorCode, Response, limits::STAT_SHARDS_MAX};
use arion_types::ShardHash;
use bytes::Bytes;

use super::{Answer, MinerService, refuse};

impl MinerService {
    pub(super) fn stat(&self, shards: &[ShardHash]) -> Answer {
        if shards.len() > STAT_SHARDS_MAX {
            return refuse(ErrorCode::Malformed, "more shards than one Stat may ask for");
        }
        let stats = shards.iter().map(|shard| self.store.stat(shard)).collect();
        Ok((Response::Stats(stats), Bytes::new()))
    }
}
