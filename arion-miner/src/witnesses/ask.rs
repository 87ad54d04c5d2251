//! The question to one validator service, and whether its answer counts.

use std::{collections::BTreeMap, time::Duration};

use arion_net::{CallError, PeerAddr, Transport};
use arion_protocol::{Request, Response, SignedUnnamed, Unnamed, UnnamedQuestion};
use arion_types::{Epoch, GenesisHash, NodeId};
use bytes::Bytes;

/// A service whose finalised head is further behind than this may not know of a gateway.
const BLOCKS_BEHIND_MAX: u32 = 100;

/// What the miner itself knows of the chain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Facts {
    /// The chain.
    pub(super) genesis: GenesisHash,
    /// This miner.
    pub(super) me: NodeId,
    /// The current map.
    pub(super) epoch: Epoch,
    /// The finalised head.
    pub(super) block: u32,
    /// Registered gateways, with the lines of their ledgers that the chain has a root of.
    pub(super) gateways: BTreeMap<NodeId, u64>,
}

/// Why an answer does not count.
#[derive(Debug, thiserror::Error)]
pub(super) enum Doubt {
    /// There was none.
    #[error(transparent)]
    Call(#[from] CallError),
    /// It answers something else.
    #[error("it is no answer to the question")]
    Kind,
    /// Somebody else gave it, or it was changed.
    #[error("the service did not sign it")]
    Signature,
    /// It was given to somebody else.
    #[error("it was given to another miner")]
    Miner,
    /// The service has another map.
    #[error("it is of epoch {0}, the current one is {1}")]
    Epoch(Epoch, Epoch),
    /// The service does not know what happened on the chain lately.
    #[error("it goes by block {0}, the finalised head is {1}")]
    Behind(u32, u32),
    /// The service says nothing of a ledger.
    #[error("it is silent about the ledger of gateway {0}")]
    Ledger(NodeId),
    /// The service has not read what the gateway has anchored.
    #[error(
        "it has read {read} lines of the ledger of gateway {gateway}, of which the chain has anchored {anchored}"
    )]
    Unread {
        /// The gateway.
        gateway: NodeId,
        /// Lines read.
        read: u64,
        /// Lines anchored.
        anchored: u64,
    },
}

/// What a service says of these shards, if it counts.
pub(super) async fn ask(
    transport: &dyn Transport,
    service: &PeerAddr,
    asked: UnnamedQuestion<'_>,
    facts: &Facts,
    patience: Duration,
) -> Result<Unnamed, Doubt> {
    let shards = asked.shards.to_vec();
    let request = match asked.but {
        None => Request::Unnamed { shards },
        Some(gateway) => Request::UnnamedByOthers { gateway, shards },
    };
    match transport.call(service, request, Bytes::new(), patience).await? {
        (Response::Unnamed(signed), _) => judged(*signed, &service.node_id, asked, facts),
        _ => Err(Doubt::Kind),
    }
}

fn judged(
    signed: SignedUnnamed,
    service: &NodeId,
    asked: UnnamedQuestion<'_>,
    facts: &Facts,
) -> Result<Unnamed, Doubt> {
    if signed.validator != *service || !signed.verify(&facts.genesis, asked) {
        return Err(Doubt::Signature);
    }
    let word = signed.unnamed;
    if word.miner != facts.me {
        return Err(Doubt::Miner);
    }
    if word.epoch != facts.epoch {
        return Err(Doubt::Epoch(word.epoch, facts.epoch));
    }
    if word.block.saturating_add(BLOCKS_BEHIND_MAX) < facts.block {
        return Err(Doubt::Behind(word.block, facts.block));
    }
    for (gateway, anchored) in &facts.gateways {
        let position = word.ledgers.iter().find(|position| position.gateway == *gateway);
        let read = position.ok_or(Doubt::Ledger(*gateway))?.sequence;
        if read < *anchored {
            return Err(Doubt::Unread { gateway: *gateway, read, anchored: *anchored });
        }
    }
    Ok(word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arion_protocol::{LedgerPosition, ShardBits};
    use arion_types::{ShardHash, signing::node_id};
    use ed25519_dalek::SigningKey;

    const GENESIS: GenesisHash = [7; 32];
    const ASKED: UnnamedQuestion<'static> = UnnamedQuestion { shards: &[ShardHash([1; 32])], but: None };
    const GATEWAY: NodeId = NodeId([3; 32]);

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[8; 32])
    }

    fn facts() -> Facts {
        let gateways = BTreeMap::from([(GATEWAY, 40)]);
        Facts { genesis: GENESIS, me: NodeId([2; 32]), epoch: 5, block: 1_000, gateways }
    }

    fn word() -> Unnamed {
        let ledgers = vec![LedgerPosition { gateway: GATEWAY, sequence: 40 }];
        Unnamed { miner: NodeId([2; 32]), epoch: 5, block: 900, shards: ShardBits::NONE, ledgers }
    }

    fn judge(word: Unnamed) -> Result<Unnamed, String> {
        let signed = word.sign(&GENESIS, ASKED, &key());
        judged(signed, &node_id(&key()), ASKED, &facts()).map_err(|doubt| doubt.to_string())
    }

    #[test]
    fn a_word_counts_for_its_miner_its_map_and_what_is_anchored() {
        assert_eq!(judge(word()), Ok(word()));
        assert!(judge(Unnamed { miner: NodeId([9; 32]), ..word() }).unwrap_err().contains("another miner"));
        assert!(judge(Unnamed { epoch: 4, ..word() }).unwrap_err().contains("epoch 4"));
        assert!(judge(Unnamed { block: 899, ..word() }).unwrap_err().contains("block 899"));
        assert!(judge(Unnamed { ledgers: vec![], ..word() }).unwrap_err().contains("silent"));
        let ledgers = vec![LedgerPosition { gateway: GATEWAY, sequence: 39 }];
        let said = judge(Unnamed { ledgers, ..word() }).unwrap_err();
        assert!(said.contains("read 39 lines") && said.contains("anchored 40"), "{said}");
    }

    #[test]
    fn a_word_counts_only_with_the_signature_of_who_was_asked() {
        let signed = word().sign(&GENESIS, ASKED, &key());
        let judge = |signed: &SignedUnnamed, service: NodeId, asked: UnnamedQuestion<'_>| {
            judged(signed.clone(), &service, asked, &facts()).is_ok()
        };
        let service = node_id(&key());
        assert!(judge(&signed, service, ASKED));
        assert!(!judge(&signed, NodeId([4; 32]), ASKED));
        let other = UnnamedQuestion { shards: &[ShardHash([2; 32])], ..ASKED };
        assert!(!judge(&signed, service, other), "the answer to another question");
        let of_others = UnnamedQuestion { but: Some(GATEWAY), ..ASKED };
        assert!(!judge(&signed, service, of_others));
        let elsewhere = word().sign(&[9; 32], ASKED, &key());
        assert!(!judge(&elsewhere, service, ASKED), "of another chain");
    }
}
