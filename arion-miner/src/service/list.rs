//! `List`: a page of what is stored. Validators, wardens, gateways.

use arion_protocol::{ErrorCode, Response, limits::LIST_SHARDS_MAX};
use arion_types::{NodeId, ShardHash};
use bytes::Bytes;

use super::{Answer, MinerService, refuse};

impl MinerService {
    pub(super) fn list(&self, peer: NodeId, after: Option<ShardHash>, limit: u16) -> Answer {
        let roles = self.roles(&peer)?;
        if !roles.any() {
            return refuse(ErrorCode::NotRegistered, "register this key on the chain first");
        }
        if !(roles.validator || roles.warden || roles.gateway) {
            return refuse(ErrorCode::Unauthorized, "listing is for validators, wardens and gateways");
        }
        if limit == 0 || limit > LIST_SHARDS_MAX {
            return refuse(ErrorCode::Malformed, "ask for 1 to 1024 shards a page");
        }
        Ok((Response::Listing(self.store.list(after, usize::from(limit))), Bytes::new()))
    }
}
