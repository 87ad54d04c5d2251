//! What the chain says of the accounts that pay, where requests are decided: who may store more, who is warned, what it costs.
//!
//! # Invariants
//! - Reads and deletions are never refused for want of credits.
//! - What the chain was not asked yet refuses nobody; what it said last holds while it does not answer.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock, PoisonError, RwLock},
};

use arion_chain::{AccountId, Agreement, AgreementStatus, MarketAccount, MarketView, Prices, ss58};
use arion_daemon::now_ms;
use arion_types::NodeId;
use serde::{Deserialize, Serialize};

use super::{market::Terms, money};
use crate::keys::{AccessKeys, Moment};

/// Milliseconds of an hour.
const HOUR_MS: u64 = 3_600_000;

/// Where an account stands that pays.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CreditState {
    /// Everything is paid.
    Active,
    /// The same, and the credits run out within the time for which they have to last when a gateway is authorized.
    Low,
    /// The credits ran out; everything works.
    Arrears,
    /// They did some time ago; everything works for the time being.
    Grace,
    /// Nothing more can be stored.
    Suspended,
    /// The same, and what is stored is deleted unless it is paid for.
    DeletionNotice,
    /// The account does not let this gateway bill it: nothing more can be stored.
    NotAuthorized,
}

impl CreditState {
    /// As it is written in headers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Low => "low",
            Self::Arrears => "arrears",
            Self::Grace => "grace",
            Self::Suspended => "suspended",
            Self::DeletionNotice => "deletion-notice",
            Self::NotAuthorized => "not-authorized",
        }
    }
}

/// A block to come, and when about that will be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Until {
    /// Its number.
    pub block: u32,
    /// Milliseconds since the Unix epoch.
    pub at: Moment,
}

/// Where an account stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standing {
    /// The account of the chain that pays.
    pub payer: AccountId,
    /// Where it stands.
    pub state: CreditState,
    /// When that changes unless somebody pays.
    pub until: Option<Until>,
    /// What the chain says of it.
    pub account: MarketAccount,
    /// The prices.
    pub prices: Prices,
    /// The gateway.
    pub gateway: NodeId,
}

impl Standing {
    /// The agreement, if it lets this gateway bill.
    pub fn agreement(&self) -> Option<&Agreement> {
        self.account.agreement.as_ref().filter(|agreement| agreement.of(&self.gateway).is_some())
    }

    /// Most bytes that may be billed.
    pub fn bytes_max(&self) -> Option<u64> {
        Some(self.account.agreement.as_ref()?.of(&self.gateway)?.bytes_max)
    }

    /// Why nothing may be stored, and what to do about it; `None` if it may.
    pub fn refusal(&self) -> Option<String> {
        let payer = ss58(&self.payer);
        match self.state {
            CreditState::NotAuthorized => Some(format!(
                "the account {payer} on chain, which pays for this account, does not let this gateway bill it: \
                 let it with marketplace.authorizeGateway(0x{}, bytes); reading and deleting go on",
                self.gateway
            )),
            CreditState::Suspended | CreditState::DeletionNotice => {
                let owed = money::credits(self.account.balance.debt);
                let next = match (self.state, self.until) {
                    (CreditState::DeletionNotice, Some(until)) => {
                        format!("what is stored is deleted after {} unless all is paid", until.at)
                    }
                    (_, Some(until)) => format!("deletion is announced at {} unless all is paid", until.at),
                    (_, None) => "what is stored is deleted in the end unless all is paid".to_owned(),
                };
                Some(format!(
                    "the storage of {payer} on chain, which pays for this account, is suspended: its credits ran out and it owes \
                     {owed} credits; buy credits with marketplace.buyCredits and writing works again; {next}; reading and \
                     deleting go on"
                ))
            }
            CreditState::Active | CreditState::Low | CreditState::Arrears | CreditState::Grace => None,
        }
    }

    /// What is told in headers; nothing if all is well.
    pub fn warning(&self) -> Option<(&'static str, Option<Moment>)> {
        (self.state != CreditState::Active).then(|| (self.state.name(), self.until.map(|until| until.at)))
    }
}

/// What an account is told of its bill. Amounts are decimal, in credits or ALPHA.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Bill {
    /// Where it stands.
    pub state: CreditState,
    /// When about that changes unless somebody pays.
    pub until: Option<Moment>,
    /// The block in which it does.
    pub until_block: Option<u32>,
    /// Bytes of shards that the account occupies now; of accounts with the same account of the chain together.
    pub occupied_bytes: u64,
    /// Bytes that it is billed by this gateway since the last commitment.
    pub billed_bytes: u64,
    /// Most bytes that it lets this gateway bill; none if it lets it bill nothing.
    pub billed_bytes_max: Option<u64>,
    /// Credits for a GiB of shards and an hour.
    pub price_gib_hour: String,
    /// Credits for what it is billed, a day.
    pub cost_day: String,
    /// Credits for what it is billed, a month of 730 hours.
    pub cost_month: String,
    /// What these credits cost now, ALPHA.
    pub cost_month_alpha: String,
    /// Credits that it has, for all gateways.
    pub credits: String,
    /// ALPHA behind them.
    pub credits_alpha: String,
    /// Credits that it owes.
    pub owed: String,
    /// When about the credits run out at this rate; none if never, or if they have.
    pub lasts_until: Option<Moment>,
}

struct Seen {
    at_ms: u64,
    block: u32,
    prices: Prices,
    accounts: HashMap<AccountId, MarketAccount>,
}

struct Inner {
    keys: Arc<AccessKeys>,
    gateway: NodeId,
    terms: Terms,
    seen: RwLock<Option<Seen>>,
}

/// What is known of the accounts that pay. Until it is opened nobody pays, and nobody is refused.
#[derive(Default)]
pub struct Credit(OnceLock<Inner>);

impl Credit {
    /// For a gateway that bills by these terms, from now on.
    pub fn open(&self, keys: Arc<AccessKeys>, gateway: NodeId, terms: Terms) {
        let _ = self.0.set(Inner { keys, gateway, terms, seen: RwLock::new(None) });
    }

    /// Takes over what the chain says.
    pub fn learn(&self, view: MarketView) {
        let Some(inner) = self.0.get() else { return };
        let MarketView { block, prices, accounts } = view;
        let accounts: HashMap<_, _> = accounts.into_iter().collect();
        let now = Seen { at_ms: now_ms(), block: block.number, prices, accounts };
        let mut seen = inner.seen.write().unwrap_or_else(PoisonError::into_inner);
        inner.tell_changes(seen.as_ref(), &now);
        *seen = Some(now);
    }

    /// Where an account stands, if it is one that pays and the chain was asked.
    pub fn standing(&self, account: &str) -> Option<Standing> {
        let inner = self.0.get()?;
        let entry = inner.keys.account(&account.parse().ok()?).ok()??;
        let seen = inner.seen.read().unwrap_or_else(PoisonError::into_inner);
        inner.standing(entry.chain_account?.0, seen.as_ref()?)
    }

    /// The accounts for which the same account of the chain pays.
    pub fn sharing(&self, payer: &AccountId) -> Vec<String> {
        let Some(inner) = self.0.get() else { return Vec::new() };
        inner.keys.paid_by(payer).unwrap_or_default()
    }

    /// What an account is told that occupies so much.
    pub fn bill(&self, account: &str, occupied: impl Fn(&[String]) -> u64) -> Option<Bill> {
        let standing = self.standing(account)?;
        let Standing { payer, state, until, account, prices, gateway } = standing;
        let usage = account.agreement.as_ref().and_then(|agreement| agreement.of(&gateway).copied());
        let billed = usage.map_or(0, |usage| usage.bytes);
        let month = money::cost(billed, money::MONTH_HOURS, prices.storage);
        let lasts = account.burn_down.filter(|_| account.balance.debt == 0);
        Some(Bill {
            state,
            until: until.map(|until| until.at),
            until_block: until.map(|until| until.block),
            occupied_bytes: occupied(&self.sharing(&payer)),
            billed_bytes: billed,
            billed_bytes_max: usage.map(|usage| usage.bytes_max),
            price_gib_hour: money::credits(prices.storage),
            cost_day: money::credits(money::cost(billed, money::DAY_HOURS, prices.storage)),
            cost_month: money::credits(month),
            cost_month_alpha: money::alphas(money::alpha(month, prices.credit)),
            credits: money::credits(account.balance.available),
            credits_alpha: money::alphas(account.balance.backing),
            owed: money::credits(account.balance.debt),
            lasts_until: lasts.and_then(|block| self.moment(block)),
        })
    }

    /// When about a block will be.
    fn moment(&self, block: u32) -> Option<Moment> {
        let inner = self.0.get()?;
        let seen = inner.seen.read().unwrap_or_else(PoisonError::into_inner);
        Some(inner.moment(block, seen.as_ref()?))
    }

    /// Accounts of the chain that are told that what they store will be deleted.
    pub fn in_notice(&self) -> Vec<AccountId> {
        let Some(inner) = self.0.get() else { return Vec::new() };
        let seen = inner.seen.read().unwrap_or_else(PoisonError::into_inner);
        let accounts = seen.iter().flat_map(|seen| &seen.accounts);
        let noticed = accounts.filter(|(_, account)| {
            let status = account.agreement.as_ref().map(|agreement| agreement.status);
            matches!(status, Some(AgreementStatus::DeletionNotice { .. }))
        });
        noticed.map(|(account, _)| *account).collect()
    }
}

impl Inner {
    fn moment(&self, block: u32, seen: &Seen) -> Moment {
        let block_ms = HOUR_MS / u64::from(self.terms.blocks_per_hour.max(1));
        let ahead = u64::from(block.saturating_sub(seen.block)) * block_ms;
        Moment(seen.at_ms.saturating_add(ahead))
    }

    fn standing(&self, payer: AccountId, seen: &Seen) -> Option<Standing> {
        let account = seen.accounts.get(&payer)?.clone();
        let agreement = account.agreement.as_ref().filter(|found| found.of(&self.gateway).is_some());
        let runs_out = account.burn_down.filter(|block| {
            block.saturating_sub(seen.block) < self.terms.runway_blocks && account.balance.debt == 0
        });
        let (state, until) = match agreement.map(|agreement| agreement.status) {
            None => (CreditState::NotAuthorized, None),
            // Nobody has looked since it ran out.
            Some(AgreementStatus::Active) if account.balance.debt > 0 => (CreditState::Arrears, None),
            Some(AgreementStatus::Active) => match runs_out {
                Some(block) => (CreditState::Low, Some(block)),
                None => (CreditState::Active, None),
            },
            Some(AgreementStatus::Arrears { until }) => (CreditState::Arrears, Some(until)),
            Some(AgreementStatus::Grace { until }) => (CreditState::Grace, Some(until)),
            Some(AgreementStatus::Suspended { until }) => (CreditState::Suspended, Some(until)),
            Some(AgreementStatus::DeletionNotice { until }) => (CreditState::DeletionNotice, Some(until)),
        };
        let until = until.map(|block| Until { block, at: self.moment(block, seen) });
        Some(Standing { payer, state, until, account, prices: seen.prices, gateway: self.gateway })
    }

    fn tell_changes(&self, before: Option<&Seen>, now: &Seen) {
        for payer in now.accounts.keys() {
            let Some(standing) = self.standing(*payer, now) else { continue };
            let earlier =
                before.and_then(|before| self.standing(*payer, before)).map(|earlier| earlier.state);
            if earlier == Some(standing.state) || (earlier.is_none() && standing.state == CreditState::Active)
            {
                continue;
            }
            let (account, state) = (ss58(payer), standing.state.name());
            let until = standing.until.map(|until| until.at.to_string());
            match standing.refusal() {
                Some(_) => tracing::warn!(account, state, until, "an account on chain may store no more"),
                None => tracing::info!(account, state, until, "the credits of an account on chain"),
            }
        }
    }
}
