//! A marketplace in memory: it takes commitments as the pallet does, and charges for every block.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU8, Ordering::SeqCst},
    },
};

use arion_chain::{
    AccountId, Agreement, AgreementStatus, CreditBalance, DispatchFailure, LedgerCommitment, MarketAccount,
    MarketView, Prices, SkipReason, Skipped, TxError, marketplace::GatewayUsage,
};
use arion_gateway::{
    billing::{
        commit::Biller,
        market::{Market, MarketError, Terms},
    },
    keys::{AccessKeys, ChainAccount, Changed},
    meta::{Commitment, Meta},
    metrics::Metrics,
};
use arion_types::NodeId;

pub const GENESIS: [u8; 32] = [7; 32];
pub const GATEWAY: NodeId = NodeId([42; 32]);
pub const ALICE: AccountId = [1; 32];
pub const BOB: AccountId = [2; 32];
/// Who pays by nobody's account here.
pub const STRANGER: AccountId = [3; 32];

pub const TERMS: Terms = Terms { updates_max: 2, blocks_per_hour: 600, runway_blocks: 100 };

/// What the chain does with a commitment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Mood {
    Honest,
    /// Does not take it.
    Refusing,
    /// Takes it, and nobody is told.
    Silent,
    /// Never answers, and does not take it.
    Deaf,
    /// Takes it, and never answers.
    Mute,
}

pub const MOODS: [Mood; 5] = [Mood::Honest, Mood::Refusing, Mood::Silent, Mood::Deaf, Mood::Mute];

/// An account of the marketplace.
#[derive(Clone, Debug)]
pub struct Payer {
    pub status: AgreementStatus,
    pub bytes: u64,
    pub bytes_max: u64,
    pub balance: CreditBalance,
    pub burn_down: Option<u32>,
    /// Bytes times blocks so far.
    pub byte_blocks: u128,
}

#[derive(Default)]
pub struct State {
    pub block: u32,
    pub payers: BTreeMap<AccountId, Payer>,
    pub commitments: Vec<Commitment>,
    /// How often all accounts were gone through.
    pub scans: usize,
}

pub struct Marketplace {
    state: Mutex<State>,
    mood: AtomicU8,
    /// Somebody waits for an answer that never comes.
    pub heard: tokio::sync::Notify,
}

impl Default for Marketplace {
    fn default() -> Self {
        let state = Mutex::new(State { block: 100, ..State::default() });
        Self { state, mood: AtomicU8::new(0), heard: Default::default() }
    }
}

impl Marketplace {
    pub fn set(&self, mood: Mood) {
        self.mood.store(mood as u8, SeqCst);
    }

    fn mood(&self) -> Mood {
        MOODS[usize::from(self.mood.load(SeqCst))]
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn authorize(&self, account: AccountId, bytes_max: u64) {
        let payer = Payer {
            status: AgreementStatus::Active,
            bytes: 0,
            bytes_max,
            balance: CreditBalance { available: 5_000_000_000_000, ..CreditBalance::default() },
            burn_down: None,
            byte_blocks: 0,
        };
        self.state().payers.insert(account, payer);
    }

    pub fn change(&self, account: AccountId, change: impl FnOnce(&mut Payer)) {
        change(self.state().payers.get_mut(&account).unwrap());
    }

    pub fn billed(&self, account: AccountId) -> u64 {
        self.state().payers.get(&account).map_or(0, |payer| payer.bytes)
    }

    /// Blocks pass, each of which is charged.
    pub fn pass(&self, blocks: u32) {
        let mut state = self.state();
        state.block += blocks;
        for payer in state.payers.values_mut() {
            payer.byte_blocks += u128::from(payer.bytes) * u128::from(blocks);
        }
    }

    pub fn count(&self) -> usize {
        self.state().commitments.len()
    }

    /// What the pallet does.
    fn take(&self, commitment: &Commitment) -> Result<Vec<Skipped>, MarketError> {
        let mut state = self.state();
        let failed = |name: &str| {
            let failure = DispatchFailure { name: format!("Marketplace.{name}"), docs: String::new() };
            Err(MarketError::Tx(TxError::Dispatch(failure)))
        };
        if state.commitments.last().is_some_and(|last| last.sequence >= commitment.sequence) {
            return failed("SequenceNotIncreasing");
        }
        assert!(commitment.updates.len() <= TERMS.updates_max, "more updates than a call has room for");
        if !commitment.updates.windows(2).all(|pair| pair[0].0 < pair[1].0) {
            return failed("UpdatesNotSorted");
        }
        let mut payers = state.payers.clone();
        let mut skipped = Vec::new();
        for (account, bytes) in &commitment.updates {
            let reason = match payers.get_mut(account) {
                None => Some(SkipReason::NotAuthorized),
                Some(payer) if *bytes > payer.bytes && !takes_writes(payer) => Some(SkipReason::Suspended),
                Some(payer) if *bytes > payer.bytes && *bytes > payer.bytes_max => {
                    Some(SkipReason::OverLimit)
                }
                Some(payer) => {
                    payer.bytes = *bytes;
                    None
                }
            };
            skipped.extend(reason.map(|reason| Skipped { account: *account, reason }));
        }
        if payers.values().map(|payer| payer.bytes).sum::<u64>() > commitment.bytes {
            return failed("BilledMoreThanAnchored");
        }
        state.payers = payers;
        state.commitments.push(commitment.clone());
        Ok(skipped)
    }
}

fn takes_writes(payer: &Payer) -> bool {
    use AgreementStatus::*;
    matches!(payer.status, Active | Arrears { .. } | Grace { .. })
}

fn account(payer: &Payer) -> MarketAccount {
    let usage = GatewayUsage { gateway: GATEWAY.0, bytes: payer.bytes, bytes_max: payer.bytes_max };
    let agreement = Agreement {
        status: payer.status,
        takes_writes: takes_writes(payer),
        bytes: payer.bytes,
        gateways: vec![usage],
        charged: 0,
        debt: payer.balance.debt,
        opened_at: 1,
    };
    MarketAccount { agreement: Some(agreement), balance: payer.balance, burn_down: payer.burn_down }
}

#[async_trait::async_trait]
impl Market for Marketplace {
    fn terms(&self) -> Result<Terms, MarketError> {
        Ok(TERMS)
    }

    async fn newest(&self) -> Result<Option<LedgerCommitment>, MarketError> {
        Ok(self.state().commitments.last().map(|last| LedgerCommitment {
            sequence: last.sequence,
            root: last.root,
            bytes: last.bytes,
            anchored_at: 1,
        }))
    }

    async fn view(&self, accounts: &[AccountId]) -> Result<MarketView, MarketError> {
        let state = self.state();
        let asked =
            accounts.iter().map(|asked| (*asked, state.payers.get(asked).map(account).unwrap_or_default()));
        let block = arion_chain::BlockRef { number: state.block, hash: [0; 32] };
        let prices = Prices { credit: 2_000_000_000_000_000_000, storage: 13_700_000 };
        Ok(MarketView { block, prices, accounts: asked.collect() })
    }

    async fn billed_bytes(&self) -> Result<u128, MarketError> {
        Ok(self.state().payers.values().map(|payer| u128::from(payer.bytes)).sum())
    }

    async fn billed_accounts(&self) -> Result<Vec<AccountId>, MarketError> {
        let mut state = self.state();
        state.scans += 1;
        Ok(state.payers.iter().filter(|(_, payer)| payer.bytes > 0).map(|(account, _)| *account).collect())
    }

    async fn commit(&self, commitment: &Commitment) -> Result<Vec<Skipped>, MarketError> {
        match self.mood() {
            Mood::Honest => self.take(commitment),
            Mood::Refusing => Err(TxError::Unknown.into()),
            Mood::Silent => self.take(commitment).and_then(|_| Err(TxError::Unknown.into())),
            Mood::Deaf | Mood::Mute => {
                if self.mood() == Mood::Mute {
                    self.take(commitment)?;
                }
                self.heard.notify_one();
                std::future::pending().await
            }
        }
    }
}

/// The access keys of alice, bob and carol, of whom the first two are paid for.
pub fn keys(directory: &std::path::Path) -> Arc<AccessKeys> {
    let keys = AccessKeys::new(directory.join("keys.toml"));
    for name in ["alice", "bob", "carol"] {
        keys.add(name, None, None).unwrap();
    }
    bind(&keys, "alice", Some(ALICE));
    bind(&keys, "bob", Some(BOB));
    Arc::new(keys)
}

/// Binds an account to one of the chain, or unbinds it.
pub fn bind(keys: &AccessKeys, name: &str, payer: Option<AccountId>) {
    let changed = Changed { chain_account: Some(payer.map(ChainAccount)), ..Changed::default() };
    keys.set_account(&name.parse().unwrap(), changed).unwrap();
}

pub fn biller(meta: &Meta, keys: &Arc<AccessKeys>, market: &Arc<Marketplace>) -> Biller {
    Biller {
        meta: meta.clone(),
        keys: keys.clone(),
        market: market.clone(),
        of: (GENESIS, GATEWAY),
        metrics: Metrics::default(),
    }
}
