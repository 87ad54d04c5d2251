//! `Restore`: take a deletion back, durably.

use arion_protocol::{Action, ErrorCode, Response, SignedCommand};
use bytes::Bytes;

use super::{Answer, MinerService, place, refuse};

impl MinerService {
    pub(super) async fn restore(&self, signed: SignedCommand) -> Answer {
        if signed.command.action != Action::Restore {
            return refuse(ErrorCode::Malformed, "the command does not say Restore");
        }
        self.check_command(&signed)?;
        let _place = place(&self.transfers).await?;
        self.enter_nonce(&signed)?;
        let _kept = self.orphans.keep(&signed.command.shard).await;
        self.consent.wanted(&signed.command.shard);
        let exists = self.store.restore(signed.command.shard, self.owner(&signed.signer)).await?;
        Ok((Response::Restored { exists }, Bytes::new()))
    }
}
