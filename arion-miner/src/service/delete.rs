//! `Delete`: serve a shard no more, durably; within the retention it can be restored.
//!
//! Who alone had it stored has it deleted at once; about others the validator services are asked (`consent`).

use arion_protocol::{Action, ErrorCode, Response, SignedCommand};
use arion_types::ShardHash;
use bytes::Bytes;

use super::{Answer, MinerService, Refusal, place, refuse};
use crate::{
    consent::{SETTLED_MS, Verdict},
    store::Owner,
};

impl MinerService {
    pub(super) async fn delete(&self, signed: SignedCommand) -> Answer {
        if signed.command.action != Action::Delete {
            return refuse(ErrorCode::Malformed, "the command does not say Delete");
        }
        self.check_command(&signed)?;
        let shard = signed.command.shard;
        let (orderer, roles) = (self.owner(&signed.signer), self.roles(&signed.signer)?);
        let owner = self.store.owner(&shard);
        let is_its_own = match owner {
            // A validator service takes back what it has just stored.
            Some(owner) => {
                owner != Owner::NONE && owner == orderer && (roles.gateway || self.is_young(&shard))
            }
            // What it is to delete is written down for a disk that is away.
            None => !self.store.has_disk_away(),
        };
        if is_its_own {
            let _place = place(&self.transfers).await?;
            self.enter_nonce(&signed)?;
            let existed = self.store.delete_for(shard, orderer).await?;
            return Ok((Response::Deleted { existed }, Bytes::new()));
        }
        self.enter_nonce(&signed)?;
        self.check_settled(&shard, owner.unwrap_or_default())?;
        let but = roles.gateway.then_some(signed.signer);
        let doom = self.consent.doom(shard);
        match self.consent.of(shard, but).await {
            Verdict::Nobodys => {}
            Verdict::Named => {
                return refuse(ErrorCode::Unauthorized, "the ledger of another gateway names the shard");
            }
            Verdict::Unknown(why) => {
                if let Some(why) = why {
                    tracing::debug!(%shard, %why, "a deletion has to wait");
                }
                return refuse(
                    ErrorCode::Unavailable,
                    "somebody else had it stored, and the validator services do not say whether anybody wants it: order it again later",
                );
            }
        }
        let _place = place(&self.transfers).await?;
        // Nobody orders it to be kept from here on until it is gone.
        let _alone = self.orphans.alone().await;
        if !doom.holds() {
            return refuse(ErrorCode::Unavailable, "somebody has it stored again meanwhile");
        }
        let existed = self.store.delete(shard).await?;
        Ok((Response::Deleted { existed }, Bytes::new()))
    }

    /// What a gateway stored lately may be in its ledger, and not read yet. What repair stored was in one before.
    fn check_settled(&self, shard: &ShardHash, owner: Owner) -> Result<(), Refusal> {
        let services = self.chain.validators().unwrap_or_default();
        match self.is_young(shard) && services.iter().all(|service| self.owner(service) != owner) {
            true => refuse(
                ErrorCode::Unavailable,
                "somebody else had it stored a moment ago: order it again in five minutes",
            ),
            false => Ok(()),
        }
    }

    fn is_young(&self, shard: &ShardHash) -> bool {
        let age = |stored_at: u64| self.now_ms().saturating_sub(stored_at);
        self.store.stat(shard).is_some_and(|stat| age(stat.stored_at) < SETTLED_MS)
    }
}
