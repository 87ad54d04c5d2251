//! Joining a family on chain: `arion-miner register`.

use std::time::Duration;

use arion_chain::{
    Account, AccountId, Call, ChainClient, ChainError, ChildStatus, ConnectError, TxError, Wait, ss58,
};
use arion_daemon::ChainConfig;
use arion_types::{Lane, NodeId, registration::registration_message, signing, units::HIPP};
use ed25519_dalek::SigningKey;

/// How long a registration in a block is waited for to become final.
const FINALITY_WAIT: Duration = Duration::from_secs(30);

/// Who joins whom, where.
pub struct Registration {
    /// The chain to be on.
    pub chain: ChainConfig,
    /// The family that answers for the miner; signs and pays.
    pub family: Account,
    /// Account of the miner; becomes a proxy of the family.
    pub child: AccountId,
    /// The miner's key.
    pub node: SigningKey,
}

/// What stands on chain afterwards.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Registered {
    /// The miner's node id.
    pub node_id: NodeId,
    /// The family.
    pub family: AccountId,
    /// The child.
    pub child: AccountId,
    /// Held on the family's account, in the token's smallest unit.
    pub deposit: u128,
    /// Block of the registration.
    pub registered_at: u32,
    /// Whether it was registered before this call.
    pub before: bool,
}

/// Why the miner was not registered.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// No node, the wrong chain, or a runtime this program does not know.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Reading the chain failed.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The child account belongs to another registration.
    #[error(
        "account {child} is registered for node {node_id} in family {family}: use another child account, or deregister that one and claim its deposit"
    )]
    ChildTaken {
        /// The account.
        child: String,
        /// Its node.
        node_id: NodeId,
        /// Its family.
        family: String,
    },
    /// The registration is being wound up.
    #[error("this miner left and is unbonding until block {end}: claim its deposit then, and register anew")]
    Unbonding {
        /// First block in which the deposit can be claimed.
        end: u32,
    },
    /// The chain refused.
    #[error("{0}{hint}", hint = hint(.0))]
    Refused(TxError),
    /// The transaction went through, but the registration is not there.
    #[error("the chain took the transaction but shows no registration: look at the node's log")]
    NotThere,
}

impl From<TxError> for RegisterError {
    fn from(error: TxError) -> Self {
        Self::Refused(error)
    }
}

/// What to do about an error of the chain beyond what its own text says.
fn hint(error: &TxError) -> &'static str {
    match error.dispatch_name() {
        Some("Arion.InsufficientDeposit") => "; see the deposit with `register --dry-run`",
        Some("Arion.ChildInCooldown" | "Arion.NodeIdInCooldown") => {
            "; or use new keys: `init` in another directory"
        }
        Some("Proxy.TooMany") => {
            "; the family has as many proxies as it may: remove one, or use another family"
        }
        Some("Balances.InsufficientBalance" | "Token.FundsUnavailable") => "; fund the family's account",
        None if matches!(error, TxError::Refused(_)) => "; is the family's account funded?",
        _ => "",
    }
}

/// What a registration would cost, before it is made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Quote {
    /// Whether the family is an owner node already.
    pub family_registered: bool,
    /// Deposit of the child, in the token's smallest unit; 0 for a family's first, or with lockup off.
    pub deposit: u128,
    /// Free balance of the family.
    pub family_balance: u128,
}

/// An amount of the token as people read it.
pub fn alpha(amount: u128) -> String {
    let (whole, rest) = (amount / HIPP, amount % HIPP);
    match rest {
        0 => format!("{whole} ALPHA"),
        _ => format!("{whole}.{} ALPHA", format!("{rest:018}").trim_end_matches('0')),
    }
}

impl Registration {
    /// What it would cost now.
    pub async fn quote(&self) -> Result<Quote, RegisterError> {
        let chain = self.chain.connect().await?;
        let family = self.family.id();
        let free = !chain.lockup_enabled().await? || !chain.free_slot_used(&family).await?;
        Ok(Quote {
            family_registered: chain.owner(&family).await?.is_some(),
            deposit: if free { 0 } else { chain.next_deposit().await? },
            family_balance: chain.free_balance(&family).await?,
        })
    }

    /// Makes the family an owner node and the child its proxy where they are not yet, and registers the child,
    /// all in one transaction. A registration that stands already is left as it is.
    pub async fn submit(&self, wait: Wait) -> Result<Registered, RegisterError> {
        let chain = self.chain.connect().await?;
        let node_id = signing::node_id(&self.node);
        let family = self.family.id();
        if let Some(standing) = self.standing(&chain).await? {
            return Ok(Registered { before: true, ..standing });
        }
        let nonce = chain.child_nonce(&node_id).await?;
        let message = registration_message(&chain.genesis(), &family, &self.child, &node_id.0, nonce);
        let signature = signing::sign(&self.node, &message);
        let register = Call::register_child(&family, &self.child, &node_id, &signature);
        let mut needs_owner = chain.owner(&family).await?.is_none();
        let mut needs_proxy = true;
        let outcome = loop {
            let mut calls = Vec::new();
            if needs_owner {
                calls.push(Call::register_owner_node(Lane::Storage));
            }
            if needs_proxy {
                calls.push(Call::add_proxy(&self.child, "NonTransfer"));
            }
            calls.push(register.clone());
            match chain.submit(&self.family, &Call::batch(calls), wait).await {
                Ok(outcome) => break outcome,
                // Done by an earlier attempt or, at the same moment, for a sister.
                Err(error) => match error.dispatch_name() {
                    Some("Proxy.Duplicate") if needs_proxy => needs_proxy = false,
                    Some("Registration.OwnerAlreadyRegistered") if needs_owner => needs_owner = false,
                    Some("Arion.ChildAlreadyRegistered" | "Arion.NodeIdAlreadyRegistered") => {
                        return self.await_standing(&chain).await?.ok_or(RegisterError::Refused(error));
                    }
                    _ => return Err(error.into()),
                },
            }
        };
        let deposit = outcome.event("Arion", "ChildRegistered").and_then(|event| event.number("deposit"));
        match deposit {
            Some(deposit) => Ok(Registered {
                node_id,
                family,
                child: self.child,
                deposit,
                registered_at: outcome.block.number,
                before: false,
            }),
            None => Err(RegisterError::NotThere),
        }
    }

    /// [`Registration::standing`] once a registration that is in a block already has become final.
    async fn await_standing(&self, chain: &ChainClient) -> Result<Option<Registered>, RegisterError> {
        let start = tokio::time::Instant::now();
        loop {
            if let Some(standing) = self.standing(chain).await? {
                return Ok(Some(standing));
            }
            if start.elapsed() > FINALITY_WAIT {
                return Ok(None);
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// The registration of this very node, family and child, if it stands.
    async fn standing(&self, chain: &ChainClient) -> Result<Option<Registered>, RegisterError> {
        let node_id = signing::node_id(&self.node);
        let Some(record) = chain.child(&self.child).await? else { return Ok(None) };
        if record.node_id != node_id.0 || record.family != self.family.id() {
            return Err(RegisterError::ChildTaken {
                child: ss58(&self.child),
                node_id: NodeId(record.node_id),
                family: ss58(&record.family),
            });
        }
        match record.status {
            ChildStatus::Unbonding { end } => Err(RegisterError::Unbonding { end }),
            ChildStatus::Active => Ok(Some(Registered {
                node_id,
                family: record.family,
                child: self.child,
                deposit: record.deposit,
                registered_at: record.registered_at,
                before: true,
            })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_for_people() {
        assert_eq!(alpha(0), "0 ALPHA");
        assert_eq!(alpha(100 * HIPP), "100 ALPHA");
        assert_eq!(alpha(HIPP + HIPP / 4), "1.25 ALPHA");
        assert_eq!(alpha(1), "0.000000000000000001 ALPHA");
    }
}
