//! `Fetch` and `FetchRange`: a shard, or a range of it with the proof that it belongs there. Registered peers.

use arion_protocol::{ErrorCode, Response};
use arion_types::{NodeId, ShardHash};
use bytes::Bytes;

use super::{Answer, MinerService, Refusal, place, refuse};

impl MinerService {
    pub(super) async fn fetch(&self, peer: NodeId, shard: ShardHash) -> Answer {
        self.check_registered(&peer)?;
        self.orphans.asked_for(&shard);
        let _place = place(&self.transfers).await?;
        let (entry, body) = self.store.read(shard).await?;
        Ok((Response::Shard { size: entry.placement.size }, body))
    }

    pub(super) async fn fetch_range(
        &self,
        peer: NodeId,
        shard: ShardHash,
        offset: u32,
        length: u32,
    ) -> Answer {
        self.check_registered(&peer)?;
        let Some(end) = offset.checked_add(length).filter(|_| length > 0) else {
            return refuse(ErrorCode::Malformed, "a range has at least one byte and ends in the shard");
        };
        self.orphans.asked_for(&shard);
        let _place = place(&self.transfers).await?;
        let store = self.store.clone();
        let proven = arion_daemon::work::blocking(move || {
            let (entry, body) = store.read_blocking(&shard)?;
            if end > entry.placement.size {
                return refuse(ErrorCode::Malformed, "the range ends behind the shard");
            }
            let proof = arion_proofs::prove_range(&shard, &body, offset..end);
            let proof =
                proof.map_err(|_| Refusal { code: ErrorCode::Damaged, detail: "no proof of the range" })?;
            Ok((Response::Shard { size: entry.placement.size }, Bytes::from(proof)))
        });
        proven.await.unwrap_or_else(|_| refuse(ErrorCode::Unavailable, "this node is stopping"))
    }
}
