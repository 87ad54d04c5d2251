//! What `Store`, `Delete` and `Restore` have in common: a signed command of a key with the role to give it.

use arion_protocol::{CommandError, ErrorCode, SignedCommand};
use arion_types::GenesisHash;

use super::{MinerService, Refusal, refuse};
use crate::replay::ReplayError;

impl MinerService {
    /// Target, lifetime, signature, then role. The nonce is entered last, by [`MinerService::enter_nonce`].
    pub(super) fn check_command(&self, signed: &SignedCommand) -> Result<GenesisHash, Refusal> {
        let genesis = self.genesis()?;
        signed.check(&genesis, &self.node_id, self.now_ms()).map_err(|error| Refusal {
            code: error.into(),
            detail: match error {
                CommandError::Misdirected => "the command names another node",
                CommandError::Expired => "sign a new command that expires within five minutes",
                CommandError::BadSignature => "the signature does not verify for this chain",
            },
        })?;
        let roles = self.roles(&signed.signer)?;
        if !roles.any() {
            return refuse(ErrorCode::NotRegistered, "register the signer's key on the chain first");
        }
        if !(roles.gateway || roles.validator) {
            return refuse(ErrorCode::Unauthorized, "commands are for gateways and validators");
        }
        Ok(genesis)
    }

    pub(super) fn enter_nonce(&self, signed: &SignedCommand) -> Result<(), Refusal> {
        self.replays.enter(signed, self.now_ms()).map_err(|error| match error {
            ReplayError::Replayed => {
                Refusal { code: ErrorCode::Replayed, detail: "sign a new command with a new nonce" }
            }
            ReplayError::Full => Refusal {
                code: ErrorCode::Busy,
                detail: "this signer sends more commands than are remembered at once",
            },
        })
    }
}
