//! `Delete`: serve a shard no more, durably; within the retention it can be restored.

use arion_protocol::{Action, ErrorCode, Response, SignedCommand};
use bytes::Bytes;

use super::{Answer, MinerService, place, refuse};

impl MinerService {
    pub(super) async fn delete(&self, signed: SignedCommand) -> Answer {
        if signed.command.action != Action::Delete {
            return refuse(ErrorCode::Malformed, "the command does not say Delete");
        }
        self.check_command(&signed)?;
        let _place = place(&self.transfers).await?;
        self.enter_nonce(&signed)?;
        let existed = self.store.delete(signed.command.shard).await?;
        Ok((Response::Deleted { existed }, Bytes::new()))
    }
}
