//! `Challenge`: prove the chunk groups that the seed picks. Wardens.

use arion_protocol::{ErrorCode, Response};
use arion_types::{NodeId, ShardHash};
use bytes::Bytes;

use super::{Answer, MinerService, Refusal, place, refuse};

impl MinerService {
    pub(super) async fn challenge(&self, peer: NodeId, shard: ShardHash, seed: [u8; 32]) -> Answer {
        let roles = self.roles(&peer)?;
        if !roles.any() {
            return refuse(ErrorCode::NotRegistered, "register this key on the chain first");
        }
        if !roles.warden {
            return refuse(ErrorCode::Unauthorized, "challenges are for wardens");
        }
        self.orphans.asked_for(&shard);
        let _place = place(&self.audits).await?;
        let store = self.store.clone();
        let proven = arion_daemon::work::blocking(move || {
            // Reading compares the whole shard with its address: a damaged one is not proven in parts.
            let (entry, body) = store.read_blocking(&shard)?;
            let groups = arion_proofs::derive(&seed, entry.placement.size);
            let proof = arion_proofs::prove(&shard, &body, &groups);
            let proof =
                proof.map_err(|_| Refusal { code: ErrorCode::Damaged, detail: "no proof of the groups" })?;
            Ok((Response::Proof { size: entry.placement.size }, Bytes::from(proof)))
        });
        proven.await.unwrap_or_else(|_| refuse(ErrorCode::Unavailable, "this node is stopping"))
    }
}
