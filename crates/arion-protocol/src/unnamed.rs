//! The word of a validator service for which shards of a miner no ledger names: what nobody wants, as far as it has read.

use arion_types::{Epoch, GenesisHash, NodeId, ShardHash, Signature, domain, signing};
use codec::{Decode, Encode};
use ed25519_dalek::SigningKey;

use crate::limits::UNNAMED_SHARDS_MAX;

/// How far the ledger of a gateway was read.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Encode, Decode)]
pub struct LedgerPosition {
    /// The gateway.
    pub gateway: NodeId,
    /// Its last line that was taken over; 0 for none.
    pub sequence: u64,
}

/// A bit for each of [`UNNAMED_SHARDS_MAX`] shards, in the order in which they were asked for, the lowest of a byte first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct ShardBits(pub [u8; UNNAMED_SHARDS_MAX / 8]);

impl ShardBits {
    /// None is set.
    pub const NONE: Self = Self([0; UNNAMED_SHARDS_MAX / 8]);

    /// Sets a bit; nothing beyond the last.
    pub fn set(&mut self, at: usize) {
        if let Some(byte) = self.0.get_mut(at / 8) {
            *byte |= 1 << (at % 8);
        }
    }

    /// Whether a bit is set.
    pub fn has(&self, at: usize) -> bool {
        self.0.get(at / 8).is_some_and(|byte| byte & (1 << (at % 8)) != 0)
    }
}

/// What a miner asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnnamedQuestion<'a> {
    /// The shards.
    pub shards: &'a [ShardHash],
    /// The gateway whose ledger does not matter.
    pub but: Option<NodeId>,
}

/// What a validator service says about shards that a miner asked for.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Unnamed {
    /// Who asked.
    pub miner: NodeId,
    /// Epoch of the current map, as the service sees it.
    pub epoch: Epoch,
    /// Number of the finalised block that it goes by.
    pub block: u32,
    /// The shards of which no line of any ledger that matters speaks that was not taken back by a deletion.
    pub shards: ShardBits,
    /// How far each ledger was read that it follows, in order of gateways.
    pub ledgers: Vec<LedgerPosition>,
}

/// Signed over `domain::UNNAMED || genesis || validator (32) || SCALE(shards asked for) || SCALE(unnamed)`; where the ledger of a
/// gateway does not matter, over `domain::UNNAMED_BY_OTHERS || genesis || validator (32) || gateway (32) || ...`.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct SignedUnnamed {
    /// The word.
    pub unnamed: Unnamed,
    /// Who gives it.
    pub validator: NodeId,
    /// Ed25519.
    pub signature: Signature,
}

impl Unnamed {
    /// Bytes in front of the list.
    pub(crate) const LEDGERS_AT: usize = 32 + 8 + 4 + UNNAMED_SHARDS_MAX / 8;

    /// Signs it, as an answer to this question.
    pub fn sign(self, genesis: &GenesisHash, asked: UnnamedQuestion<'_>, key: &SigningKey) -> SignedUnnamed {
        let validator = signing::node_id(key);
        let signature = signing::sign(key, &message(genesis, &validator, asked, &self));
        SignedUnnamed { unnamed: self, validator, signature }
    }
}

impl SignedUnnamed {
    /// Whether the service named in it signed it for this chain, as an answer to this question.
    pub fn verify(&self, genesis: &GenesisHash, asked: UnnamedQuestion<'_>) -> bool {
        let message = message(genesis, &self.validator, asked, &self.unnamed);
        signing::verify(&self.validator.0, &message, &self.signature)
    }
}

fn message(
    genesis: &GenesisHash,
    validator: &NodeId,
    asked: UnnamedQuestion<'_>,
    unnamed: &Unnamed,
) -> Vec<u8> {
    let UnnamedQuestion { shards, but } = asked;
    match but {
        None => domain::message(domain::UNNAMED, genesis, &(validator, shards, unnamed)),
        Some(gateway) => {
            domain::message(domain::UNNAMED_BY_OTHERS, genesis, &(validator, gateway, shards, unnamed))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GENESIS: GenesisHash = [7; 32];
    const SHARDS: [ShardHash; 2] = [ShardHash([1; 32]), ShardHash([2; 32])];
    const ASKED: UnnamedQuestion<'static> = UnnamedQuestion { shards: &SHARDS, but: None };

    fn signed() -> SignedUnnamed {
        let mut shards = ShardBits::NONE;
        shards.set(1);
        let ledgers = vec![LedgerPosition { gateway: NodeId([3; 32]), sequence: 4 }];
        let unnamed = Unnamed { miner: NodeId([1; 32]), epoch: 5, block: 6, shards, ledgers };
        unnamed.sign(&GENESIS, ASKED, &SigningKey::from_bytes(&[8; 32]))
    }

    #[test]
    fn a_word_holds_for_its_chain_its_service_its_question_and_as_it_was_said() {
        assert!(signed().verify(&GENESIS, ASKED));
        assert!(!signed().verify(&[8; 32], ASKED));
        assert!(!signed().verify(&GENESIS, UnnamedQuestion { shards: &SHARDS[..1], ..ASKED }));
        assert!(!signed().verify(&GENESIS, UnnamedQuestion { shards: &[SHARDS[1], SHARDS[0]], ..ASKED }));
        assert!(!signed().verify(&GENESIS, UnnamedQuestion { but: Some(NodeId([3; 32])), ..ASKED }));
        let mut other = signed();
        other.unnamed.shards.set(0);
        assert!(!other.verify(&GENESIS, ASKED));
        let mut other = signed();
        other.unnamed.ledgers[0].sequence += 1;
        assert!(!other.verify(&GENESIS, ASKED));
        let mut other = signed();
        other.validator = NodeId([9; 32]);
        assert!(!other.verify(&GENESIS, ASKED));
    }

    #[test]
    fn a_word_that_leaves_out_a_gateway_holds_for_that_gateway() {
        let but = |n| UnnamedQuestion { but: Some(NodeId([n; 32])), ..ASKED };
        let signed = signed().unnamed.sign(&GENESIS, but(3), &SigningKey::from_bytes(&[8; 32]));
        assert!(signed.verify(&GENESIS, but(3)));
        assert!(!signed.verify(&GENESIS, but(4)) && !signed.verify(&GENESIS, ASKED));
    }

    #[test]
    fn bits_are_those_of_the_shards_and_there_are_no_others() {
        let mut bits = ShardBits::NONE;
        for at in [0, 7, 8, 1_023, 1_024, usize::MAX] {
            bits.set(at);
        }
        let set: Vec<usize> = (0..2_000).filter(|at| bits.has(*at)).collect();
        assert_eq!(set, [0, 7, 8, 1_023]);
        assert_eq!((bits.0[0], bits.0[1], bits.0[127]), (0x81, 1, 0x80));
    }
}
