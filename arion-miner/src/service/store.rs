//! `Store`: make a shard durable where the map places it, and sign for it; without a body, sign again for what is here.

use arion_protocol::{Action, ErrorCode, Response, ShardPlacement, SignedCommand};
use arion_types::{Receipt, ShardHash, stripe::placement_group, units::SHARD_BYTES_MAX};
use bytes::Bytes;

use super::{Answer, MinerService, Refusal, place, refuse};
use crate::store::{Owner, ReadError, WriteError};

impl MinerService {
    pub(super) async fn store(&self, signed: SignedCommand, body: Bytes) -> Answer {
        let Action::Store(placement) = signed.command.action else {
            return refuse(ErrorCode::Malformed, "the command does not say Store");
        };
        let genesis = self.check_command(&signed)?;
        let shard = signed.command.shard;
        // What is here by this very placement was in its place once: a gateway that was made again asks for receipts of maps that the chain
        // may have forgotten.
        if self.store.stat(&shard).is_none_or(|stat| stat.placement != placement) {
            self.check_placement(&placement)?;
        }
        if placement.size == 0 || placement.size > SHARD_BYTES_MAX {
            return refuse(ErrorCode::Malformed, "a shard has 1 byte to 1 MiB");
        }
        let _place = place(&self.transfers).await?;
        self.enter_nonce(&signed)?;
        let _kept = self.orphans.keep(&shard).await;
        self.consent.wanted(&shard);
        let owner = self.owner(&signed.signer);
        let stored_at = match body.is_empty() {
            true => self.stored_before(shard, &placement, owner).await?,
            false => self.store.put_for(shard, placement, body, owner).await?.stored_at,
        };
        let ShardPlacement { stripe, pg, index, epoch, size } = placement;
        let node_id = self.node_id;
        let receipt = Receipt { shard, size, stripe, pg, index, epoch, node_id, stored_at };
        Ok((Response::Stored(receipt.sign(&genesis, &self.key)), Bytes::new()))
    }

    /// When a shard was stored that is here, as its address says; at this position, where the same node had it stored. It is not
    /// written anew: what somebody deletes meanwhile must not come back.
    async fn stored_before(
        &self,
        shard: ShardHash,
        placement: &ShardPlacement,
        owner: Owner,
    ) -> Result<u64, Refusal> {
        let (entry, body) = self.store.read(shard).await?;
        let of = |placement: &ShardPlacement| (placement.stripe, placement.index);
        let is_elsewhere = of(&entry.placement) != of(placement) && entry.owner == owner;
        if is_elsewhere || entry.placement.size != placement.size {
            return Err(WriteError::Conflict.into());
        }
        if *blake3::hash(&body).as_bytes() != shard.0 {
            return Err(ReadError::Damaged.into());
        }
        // Who has had it stored has a say from here on in whether it stays.
        if !self.store.share(shard, owner).await? {
            return Err(ReadError::NotFound.into());
        }
        Ok(entry.stored_at)
    }

    /// Whether the finalised map of that epoch places this position here.
    fn check_placement(&self, placement: &ShardPlacement) -> Result<(), Refusal> {
        let map = self.chain.map(placement.epoch).ok_or(Refusal {
            code: ErrorCode::Unavailable,
            detail: "this node does not know the map of that epoch",
        })?;
        if placement_group(&placement.stripe, map.pg_count()) != placement.pg {
            return refuse(ErrorCode::Misplaced, "the stripe is in another placement group");
        }
        if map.node_at(placement.pg, placement.index) != Some(self.node_id) {
            return refuse(ErrorCode::Misplaced, "the map of that epoch places this position elsewhere");
        }
        Ok(())
    }
}
