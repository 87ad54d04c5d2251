//! Which shards of a miner no ledger names: the word of this service, by which a miner deletes what nobody wants.
//!
//! Asked by a miner that is told by a gateway to delete what it did not store itself, the ledger of that gateway does not matter: whether
//! anybody else would miss the shards.
//!
//! A wrong word may cost data that nobody ordered to be deleted. So it is given only where all there is to know is known, and it is
//! about ledgers alone: a shard is named as soon as any line of any ledger that is followed speaks of it, whoever has it, whatever its receipt is worth,
//! and until the gateway of that line has deleted it ([`crate::holdings`]).
//!
//! # Invariants
//! - Nothing is said while a gateway that is registered, or that this service was told to follow, was not read to its end just now.
//! - Nothing is said while the chain is not read.
//!
//! # Not here
//! What a miner makes of it, and how many have to say so (`arion-miner/src/orphans.rs`).

use std::{sync::Arc, time::Duration};

use arion_chain::ChainView;
use arion_ledger::Follower;
use arion_protocol::{
    ErrorCode, LedgerPosition, ShardBits, SignedUnnamed, Unnamed, UnnamedQuestion,
    limits::{LEDGERS_MAX, UNNAMED_SHARDS_MAX},
};
use arion_types::NodeId;
use ed25519_dalek::SigningKey;

use crate::holdings::{Holdings, StoreError};

/// A ledger counts as read when the look at it that read it to its end began no longer ago than this.
const AGE_MAX: Duration = Duration::from_secs(60);
/// The chain counts as read when that was no longer ago than this.
const CHAIN_AGE_MAX: Duration = Duration::from_secs(60);

/// Why nothing is said.
#[derive(Debug, thiserror::Error)]
pub enum Silence {
    /// Who asks is no miner.
    #[error("only storage miners are told which of their shards no ledger names")]
    NoMiner,
    /// None, or too many.
    #[error("ask for 1 to {UNNAMED_SHARDS_MAX} shards")]
    Number,
    /// The chain cannot be read.
    #[error("the chain cannot be read: there may be gateways that this service does not know")]
    Chain,
    /// A registered gateway is not followed.
    #[error(
        "gateway {0} is registered and not among the `gateways` of this service: its shards would look like nobody's"
    )]
    NotFollowed(NodeId),
    /// A ledger was not read.
    #[error(
        "the ledger of gateway {0} was not read to its end in the last {seconds} s: start it, or, where it is gone for good, deregister it and take \
         it out of `gateways`", seconds = AGE_MAX.as_secs()
    )]
    NotRead(NodeId),
    /// There is no ledger, or there are too many.
    #[error("this service follows {0} ledgers")]
    Ledgers(usize),
    /// The store cannot be read.
    #[error("the store of this service cannot be read")]
    Store(#[from] StoreError),
}

impl Silence {
    /// What the asker is told.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NoMiner => ErrorCode::Unauthorized,
            Self::Number => ErrorCode::Malformed,
            _ => ErrorCode::Unavailable,
        }
    }
}

/// All ledgers that this service follows.
pub struct Ledgers {
    /// The service's key.
    pub key: SigningKey,
    /// The finalised chain.
    pub view: ChainView,
    /// What the ledgers say.
    pub holdings: Arc<Holdings>,
    /// Who reads them.
    pub followers: Vec<Arc<Follower>>,
}

impl Ledgers {
    /// Which of these shards no ledger names that matters.
    pub fn unnamed(&self, miner: &NodeId, asked: UnnamedQuestion<'_>) -> Result<SignedUnnamed, Silence> {
        let UnnamedQuestion { shards, but } = asked;
        let snapshot = self.view.snapshot();
        if !snapshot.registry.miners.contains_key(miner) {
            return Err(Silence::NoMiner);
        }
        if shards.is_empty() || shards.len() > UNNAMED_SHARDS_MAX {
            return Err(Silence::Number);
        }
        if self.view.error().is_some() && self.view.age() > CHAIN_AGE_MAX {
            return Err(Silence::Chain);
        }
        if self.followers.is_empty() || self.followers.len() > usize::from(LEDGERS_MAX) {
            return Err(Silence::Ledgers(self.followers.len()));
        }
        let is_followed =
            |gateway: &&NodeId| self.followers.iter().any(|follower| follower.gateway() == **gateway);
        if let Some(other) = snapshot.registry.gateways.iter().find(|gateway| !is_followed(gateway)) {
            return Err(Silence::NotFollowed(*other));
        }
        let was_read = |follower: &Follower| follower.age().is_some_and(|age| age <= AGE_MAX);
        if let Some(silent) = self.followers.iter().find(|follower| !was_read(follower)) {
            return Err(Silence::NotRead(silent.gateway()));
        }
        // Before the shards are looked up: what is said of them rests on no less than is stated.
        let position = |follower: &Arc<Follower>| {
            let gateway = follower.gateway();
            self.holdings.cursor_of(&gateway).map(|sequence| LedgerPosition { gateway, sequence })
        };
        let mut ledgers = self.followers.iter().map(position).collect::<Result<Vec<_>, _>>()?;
        ledgers.sort_unstable();
        let mut unnamed = ShardBits::NONE;
        let gateways = ledgers.iter().map(|position| position.gateway);
        let gateways = gateways.filter(|gateway| Some(*gateway) != but).collect();
        for (at, is_named) in self.holdings.named(shards, &gateways)?.into_iter().enumerate() {
            if !is_named {
                unnamed.set(at);
            }
        }
        let (epoch, block) = (snapshot.epoch(), snapshot.block.number);
        let word = Unnamed { miner: *miner, epoch, block, shards: unnamed, ledgers };
        Ok(word.sign(&self.view.genesis(), asked, &self.key))
    }
}
