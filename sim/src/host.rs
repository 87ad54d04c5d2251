//! What all hosts need to know of each other before they start.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arion_net::PeerAddr;
use arion_types::{CrushParams, NodeId, signing::node_id};
use ed25519_dalek::SigningKey;

use crate::{
    chain::Chain,
    dice::Dice,
    network::{Network, endpoint},
};

/// What a host is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Role {
    Miner,
    Gateway,
    Validator,
    Warden,
    Submitter,
}

/// Which host.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place {
    pub role: Role,
    pub number: usize,
}

impl Place {
    pub fn name(self) -> String {
        let role = match self.role {
            Role::Miner => "miner",
            Role::Gateway => "gateway",
            Role::Validator => "validator",
            Role::Warden => "warden",
            Role::Submitter => "submitter",
        };
        format!("{role}-{}", self.number)
    }

    /// The number by which its clock is known, not 0.
    pub fn clock(self) -> u32 {
        let number = u32::try_from(self.number).unwrap_or(u32::MAX >> 8);
        number * 8 + self.role as u32 + 1
    }

    pub fn key(self) -> SigningKey {
        SigningKey::from_bytes(blake3::hash(self.name().as_bytes()).as_bytes())
    }

    /// Asked for all the time, and derived once.
    pub fn node(self) -> NodeId {
        thread_local! {
            static NODES: RefCell<BTreeMap<Place, NodeId>> = const { RefCell::new(BTreeMap::new()) };
        }
        NODES.with_borrow_mut(|nodes| *nodes.entry(self).or_insert_with(|| node_id(&self.key())))
    }

    pub fn peer(self) -> PeerAddr {
        PeerAddr { node_id: self.node(), endpoint: endpoint(&self.name()) }
    }
}

/// Those of the product, but for the placement groups: there are some dozen stripes, and every map is worked out many times.
pub const PARAMS: CrushParams = CrushParams { pg_count: 256, ..CrushParams::STANDARD };

pub const GATEWAY: Place = Place { role: Role::Gateway, number: 0 };
pub const SUBMITTER: Place = Place { role: Role::Submitter, number: 0 };

/// What they share.
#[derive(Clone)]
pub struct Setting {
    pub network: Network,
    pub chain: Chain,
    pub dice: Dice,
    /// For the few files that are not simulated: nonces and evidence.
    pub directory: PathBuf,
    pub validators: usize,
    /// Least time in which a warden audits every shard once.
    pub audit_round: Duration,
    /// After which objects expire, if they do.
    pub day: Option<Duration>,
    /// Between two snapshots of the gateway's metadata, if there are any.
    pub snapshots: Option<Duration>,
    /// For how long nobody has to want a shard until its miner deletes it, if ever.
    pub orphan_retention: Option<Duration>,
    /// The gateway whose ledger services and wardens are told to follow, from their next start on.
    pub followed: Arc<Mutex<Place>>,
}

impl Setting {
    pub fn validators(&self) -> impl Iterator<Item = Place> {
        (0..self.validators).map(|number| Place { role: Role::Validator, number })
    }

    pub fn followed(&self) -> Place {
        *lock(&self.followed)
    }
}

/// What is behind a lock; a panic elsewhere ends the simulation anyway.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arion_types::signing::{sign, verify};

    #[test]
    fn what_was_signed_holds_and_nothing_else_passes_for_it() {
        let (me, other) = (GATEWAY.node().0, SUBMITTER.node().0);
        let signature = sign(&GATEWAY.key(), b"one");
        assert!(verify(&me, b"one", &signature) && verify(&me, b"one", &signature));
        assert!(!verify(&me, b"two", &signature) && !verify(&other, b"one", &signature));
        for bit in 0..512 {
            let mut changed = signature;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(!verify(&me, b"one", &changed), "bit {bit}");
        }
    }
}
