//! Committing: a cut of the ledger, what it means for accounts of the chain, and the transactions that say so.

use std::{collections::BTreeMap, sync::Arc};

use arion_chain::{AccountId, LedgerCommitment, MarketAccount, Skipped, ss58};
use arion_daemon::now_ms;
use arion_ledger::{Anchor, commitment_number};
use arion_types::{GenesisHash, NodeId};

use super::{
    market::{Market, MarketError},
    plan::{self, Batch, Known},
};
use crate::{
    keys::{AccessKeys, KeysError},
    meta::{Commitment, LedgerCut, Meta, MetaError},
    metrics::Metrics,
};

/// Why nothing more is committed for now. What the chain has stays.
#[derive(Debug, thiserror::Error)]
pub enum BillError {
    /// The metadata cannot be read or written.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// The accounts cannot be read.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The chain cannot be read, or did not take it.
    #[error(transparent)]
    Market(#[from] MarketError),
    /// The chain knows more of the ledger than there is.
    #[error(
        "the chain has a commitment of this gateway to {anchored} lines, and its ledger has {lines}: these metadata are older than what was committed, or another gateway has the same node key; nothing is committed"
    )]
    Behind {
        /// Lines that the newest commitment covers.
        anchored: u64,
        /// Lines that there are.
        lines: u64,
    },
    /// Somebody else has the chain take commitments of this gateway.
    #[error(
        "the chain has another commitment of this gateway than the one that was sent: somebody else commits for it"
    )]
    Other,
    /// More commitments to the same lines than can be told apart.
    #[error(
        "the ledger was committed to too often without a new line; nothing is committed before the next line"
    )]
    Numbers,
}

/// What was committed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Billed {
    /// Transactions.
    pub commitments: usize,
    /// Lines that are anchored now.
    pub lines: u64,
    /// Bytes that are anchored now.
    pub bytes: u64,
    /// Bytes that accounts of the chain are billed, by what was asked for.
    pub billed: u64,
    /// Accounts whose bill changed.
    pub updates: usize,
    /// Updates that the chain did not apply.
    pub skipped: Vec<Skipped>,
}

/// Commits for a gateway.
pub struct Biller {
    /// The ledger.
    pub meta: Meta,
    /// Which accounts of the chain pay for which accounts.
    pub keys: Arc<AccessKeys>,
    /// The chain.
    pub market: Arc<dyn Market>,
    /// Whose ledger, on which chain.
    pub of: (GenesisHash, NodeId),
    /// Counters.
    pub metrics: Metrics,
}

/// What an account of the chain is billed by a gateway.
fn known(account: &MarketAccount, gateway: &NodeId) -> Known {
    let Some(agreement) = &account.agreement else { return Known::default() };
    let usage = agreement.of(gateway);
    Known {
        billed: usage.map_or(0, |usage| usage.bytes),
        bytes_max: usage.map(|usage| usage.bytes_max),
        takes_writes: agreement.takes_writes,
    }
}

impl Biller {
    /// Commits to the ledger as it is now and bills what accounts occupy, unless the chain has all of that; returns once it is
    /// final.
    pub async fn bill(&self) -> Result<Billed, BillError> {
        let mut billed = Billed { skipped: self.settle().await?, ..Billed::default() };
        while !self.meta.keep_segment_roots(self.of).await? {}
        let cut = self.meta.ledger_cut(self.of).await?;
        let mut newest = self.market.newest().await?;
        if let Some(found) = &newest {
            let anchored = anchor(found).sequence;
            if anchored > cut.lines {
                return Err(BillError::Behind { anchored, lines: cut.lines });
            }
        }
        let accounts = self.accounts(&cut).await?;
        let batches = plan::batches(&accounts, self.market.terms()?.updates_max);
        let has_news = newest.as_ref().is_none_or(|found| {
            let Anchor { sequence, root, bytes } = anchor(found);
            (sequence, root, bytes) != (cut.lines, cut.root, cut.occupied.live)
        });
        let batches = match (batches.is_empty(), has_news && cut.lines > 0) {
            (true, true) => vec![Batch::default()],
            _ => batches,
        };
        for Batch { updates, is_early } in batches {
            let (lines, root, bytes) = match newest.as_ref().filter(|_| is_early).map(anchor) {
                Some(anchor) => (anchor.sequence, anchor.root, anchor.bytes),
                None => (cut.lines, cut.root, cut.occupied.live),
            };
            let before = newest.as_ref().map(|found| found.sequence);
            let sequence = commitment_number(lines, before).ok_or(BillError::Numbers)?;
            billed.updates += updates.len();
            let commitment = Commitment { sequence, root, bytes, updates, made_ms: now_ms() };
            self.meta.commitment_begun(commitment.clone()).await?;
            billed.skipped.extend(self.send(&commitment).await?);
            billed.commitments += 1;
            newest = Some(LedgerCommitment { sequence, root, bytes, anchored_at: 0 });
        }
        let targets =
            accounts.values().map(|(occupied, known)| plan::target(*occupied, known).unwrap_or(known.billed));
        billed.billed = targets.fold(0, u64::saturating_add);
        (billed.lines, billed.bytes) = newest.as_ref().map(anchor).map_or((0, 0), |a| (a.sequence, a.bytes));
        Ok(billed)
    }

    /// Brings a commitment to its end of which the chain was told, or was to be told, when something came in between.
    async fn settle(&self) -> Result<Vec<Skipped>, BillError> {
        let Some(pending) = self.meta.commitments().await?.pending else { return Ok(Vec::new()) };
        match self.market.newest().await? {
            Some(found) if found.sequence >= pending.sequence => {
                self.carried_out(&pending, &found).await?;
                Ok(Vec::new())
            }
            _ => self.send(&pending).await,
        }
    }

    /// The chain has a commitment with this number, or a greater one: that is the one, or it never comes to be.
    async fn carried_out(&self, sent: &Commitment, found: &LedgerCommitment) -> Result<(), BillError> {
        if (found.sequence, found.root, found.bytes) == (sent.sequence, sent.root, sent.bytes) {
            return Ok(self.meta.commitment_final().await?);
        }
        self.meta.forget_commitment().await?;
        Err(BillError::Other)
    }

    /// Has the chain take a commitment that is noted.
    async fn send(&self, commitment: &Commitment) -> Result<Vec<Skipped>, BillError> {
        match self.market.commit(commitment).await {
            Ok(skipped) => {
                self.meta.commitment_final().await?;
                self.metrics.commitments.inc();
                Ok(skipped)
            }
            // An earlier transaction of the same was carried out after all.
            Err(MarketError::Tx(error))
                if error.dispatch_name() == Some("Marketplace.SequenceNotIncreasing") =>
            {
                if let Some(found) = self.market.newest().await? {
                    self.carried_out(commitment, &found).await?;
                }
                Ok(Vec::new())
            }
            Err(error) => {
                let is_over = match &error {
                    MarketError::NotOwner => true,
                    MarketError::Tx(error) => error.dispatch_name().is_some(),
                    MarketError::Chain(_) => false,
                };
                // Refused as it is: the next attempt makes another one.
                if is_over {
                    self.meta.forget_commitment().await?;
                }
                Err(error.into())
            }
        }
    }

    /// Accounts of the chain with what they occupy and what they are billed.
    async fn accounts(&self, cut: &LedgerCut) -> Result<BTreeMap<AccountId, (u64, Known)>, BillError> {
        let mut occupied: BTreeMap<AccountId, u64> = BTreeMap::new();
        for (account, names) in self.keys.payers()? {
            let bytes = names.iter().filter_map(|name| cut.occupied.accounts.get(name));
            occupied.insert(account, bytes.fold(0, |sum: u64, bytes| sum.saturating_add(*bytes)));
        }
        let mut accounts = BTreeMap::new();
        self.look(&occupied, &mut accounts).await?;
        let billed: u128 = accounts.values().map(|(_, known)| u128::from(known.billed)).sum();
        if billed != self.market.billed_bytes().await? {
            // Somebody is billed who is bound to no account here any more.
            let others = self.market.billed_accounts().await?;
            let others = others.into_iter().filter(|account| !occupied.contains_key(account));
            let others = others.map(|account| (account, 0)).collect();
            self.look(&others, &mut accounts).await?;
        }
        Ok(accounts)
    }

    async fn look(
        &self,
        occupied: &BTreeMap<AccountId, u64>,
        accounts: &mut BTreeMap<AccountId, (u64, Known)>,
    ) -> Result<(), BillError> {
        let asked: Vec<AccountId> = occupied.keys().copied().collect();
        let view = self.market.view(&asked).await?;
        for (account, found) in view.accounts {
            let bytes = occupied.get(&account).copied().unwrap_or(0);
            accounts.insert(account, (bytes, known(&found, &self.of.1)));
        }
        Ok(())
    }
}

fn anchor(found: &LedgerCommitment) -> Anchor {
    Anchor::of_commitment(found.sequence, found.root, found.bytes)
}

/// Says in the log which updates the chain did not apply.
pub fn tell_skipped(skipped: &[Skipped]) {
    for Skipped { account, reason } in skipped {
        tracing::warn!(
            account = ss58(account),
            ?reason,
            "the chain did not change what an account is billed"
        );
    }
}
