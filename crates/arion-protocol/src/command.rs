//! Signed commands: the requests that change what a miner stores.
//!
//! TLS says who is connected; the signature says who ordered this change, on which chain, for which node, until
//! when. A command cannot be replayed on the same node, used on another, or kept for later.

use arion_types::{GenesisHash, NodeId, ShardHash, Signature, domain, signing};
use codec::{Decode, Encode};
use ed25519_dalek::SigningKey;

use crate::{error::ErrorCode, limits::COMMAND_LIFETIME_MS_MAX, message::ShardPlacement};

/// What is ordered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Action {
    /// Store the shard at this position.
    #[codec(index = 0)]
    Store(ShardPlacement),
    /// Delete the shard.
    #[codec(index = 1)]
    Delete,
    /// Take a deletion of the shard back.
    #[codec(index = 2)]
    Restore,
}

/// A command before it is signed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Command {
    /// What is ordered.
    pub action: Action,
    /// The shard it is about.
    pub shard: ShardHash,
    /// The node that is to carry it out.
    pub target: NodeId,
    /// Random, never used twice by this signer while the command is valid.
    pub nonce: [u8; 16],
    /// When the command stops being valid, milliseconds since the Unix epoch.
    pub expires_at: u64,
}

/// A command and its signature over `domain::COMMAND || genesis || signer (32) || SCALE(command)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct SignedCommand {
    /// The command.
    pub command: Command,
    /// Who orders it.
    pub signer: NodeId,
    /// Ed25519.
    pub signature: Signature,
}

/// Why a command is refused before its role and nonce are looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CommandError {
    /// Another node is named.
    #[error("command names another node")]
    Misdirected,
    /// Too old, or valid for longer than [`COMMAND_LIFETIME_MS_MAX`].
    #[error("command expired or expiry too far ahead")]
    Expired,
    /// The signature does not verify for this chain.
    #[error("command signature does not verify")]
    BadSignature,
}

impl From<CommandError> for ErrorCode {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Misdirected => Self::Misdirected,
            CommandError::Expired => Self::Expired,
            CommandError::BadSignature => Self::BadSignature,
        }
    }
}

impl Command {
    /// Signs the command.
    pub fn sign(self, genesis: &GenesisHash, key: &SigningKey) -> SignedCommand {
        let signer = signing::node_id(key);
        let signature = signing::sign(key, &message(genesis, &signer, &self));
        SignedCommand { command: self, signer, signature }
    }
}

impl SignedCommand {
    /// Checks target, lifetime and signature. The caller still checks the signer's role and the nonce.
    pub fn check(&self, genesis: &GenesisHash, node: &NodeId, now_ms: u64) -> Result<(), CommandError> {
        if self.command.target != *node {
            return Err(CommandError::Misdirected);
        }
        let latest = now_ms.saturating_add(COMMAND_LIFETIME_MS_MAX);
        if self.command.expires_at <= now_ms || self.command.expires_at > latest {
            return Err(CommandError::Expired);
        }
        if !signing::verify(&self.signer.0, &message(genesis, &self.signer, &self.command), &self.signature) {
            return Err(CommandError::BadSignature);
        }
        Ok(())
    }
}

fn message(genesis: &GenesisHash, signer: &NodeId, command: &Command) -> Vec<u8> {
    domain::message(domain::COMMAND, genesis, &(signer, command))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arion_types::StripeId;

    const GENESIS: GenesisHash = [7; 32];
    const NOW_MS: u64 = 1_000_000;

    fn signed() -> (SignedCommand, NodeId) {
        let target = NodeId([9; 32]);
        let placement = ShardPlacement { stripe: StripeId([1; 32]), pg: 3, index: 4, epoch: 5, size: 6 };
        let command = Command {
            action: Action::Store(placement),
            shard: ShardHash([2; 32]),
            target,
            nonce: [3; 16],
            expires_at: NOW_MS + 1,
        };
        (command.sign(&GENESIS, &SigningKey::from_bytes(&[5; 32])), target)
    }

    #[test]
    fn a_fresh_command_for_this_node_passes() {
        let (command, node) = signed();
        assert_eq!(command.check(&GENESIS, &node, NOW_MS), Ok(()));
    }

    #[test]
    fn every_binding_is_checked() {
        let (command, node) = signed();
        let other_node = NodeId([8; 32]);
        assert_eq!(command.check(&GENESIS, &other_node, NOW_MS), Err(CommandError::Misdirected));
        assert_eq!(command.check(&GENESIS, &node, NOW_MS + 1), Err(CommandError::Expired));
        let early = NOW_MS - COMMAND_LIFETIME_MS_MAX;
        assert_eq!(command.check(&GENESIS, &node, early), Err(CommandError::Expired));
        assert_eq!(command.check(&[6; 32], &node, NOW_MS), Err(CommandError::BadSignature));
        let mut forged = command;
        forged.command.shard = ShardHash([4; 32]);
        assert_eq!(forged.check(&GENESIS, &node, NOW_MS), Err(CommandError::BadSignature));
        let mut forged = command;
        forged.command.action = Action::Delete;
        assert_eq!(forged.check(&GENESIS, &node, NOW_MS), Err(CommandError::BadSignature));
        let mut forged = command;
        forged.signer = NodeId([1; 32]);
        assert_eq!(forged.check(&GENESIS, &node, NOW_MS), Err(CommandError::BadSignature));
    }
}
