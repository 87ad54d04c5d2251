//! `pallet-marketplace` as a gateway and its users see it: agreements, credits, prices, and what gateways committed to.
//!
//! What accrued since somebody last looked at an account is counted in: answers come from the runtime's `MarketplaceApi`.
//!
//! Specified in docs/spec/marketplace.md.

use arion_types::NodeId;
use codec::{Decode, DecodeAll, Encode};

use crate::{
    account::AccountId,
    client::{ChainClient, ChainError},
    records::BlockRef,
    state::decode,
    tx::TxOutcome,
};

const PALLET: &str = "Marketplace";
/// Commitments of a gateway that may cover the same lines: their numbers differ in the lower 16 bits.
pub const COMMITMENTS_MAX: u64 = 1 << 16;
/// Units of credit in a credit.
pub const CREDIT: u128 = 1_000_000_000_000;
/// Accounts that are asked about at once.
const ACCOUNTS_AT_ONCE: usize = 16;

/// Where a storage agreement stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub enum AgreementStatus {
    /// Everything is paid.
    #[codec(index = 0)]
    Active,
    /// The credits ran out; nothing changes yet.
    #[codec(index = 1)]
    Arrears {
        /// First block in which it goes on to the next stage.
        until: u32,
    },
    /// Still full service; gateways warn.
    #[codec(index = 2)]
    Grace {
        /// First block in which it goes on to the next stage.
        until: u32,
    },
    /// Reads work, usage cannot grow.
    #[codec(index = 3)]
    Suspended {
        /// First block in which it goes on to the next stage.
        until: u32,
    },
    /// As suspended; at `until` the agreement expires and the data may be deleted.
    #[codec(index = 4)]
    DeletionNotice {
        /// First block in which it expires.
        until: u32,
    },
}

/// What a gateway stores for an account.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct GatewayUsage {
    /// Node id of the gateway.
    pub gateway: [u8; 32],
    /// Bytes as of its last commitment.
    pub bytes: u64,
    /// Most bytes that the account lets it bill.
    pub bytes_max: u64,
}

/// A storage agreement, `AgreementView` of the pallet.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Agreement {
    /// Where it stands.
    pub status: AgreementStatus,
    /// Whether usage may grow.
    pub takes_writes: bool,
    /// Bytes billed.
    pub bytes: u64,
    /// Per gateway.
    pub gateways: Vec<GatewayUsage>,
    /// Units charged since it was opened.
    pub charged: u128,
    /// Units owed.
    pub debt: u128,
    /// Block of the first authorization.
    pub opened_at: u32,
}

impl Agreement {
    /// What a gateway stores by it, if the account lets it.
    pub fn of(&self, gateway: &NodeId) -> Option<&GatewayUsage> {
        self.gateways.iter().find(|usage| usage.gateway == gateway.0)
    }
}

/// What an account can spend, `CreditBalance` of the pallet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct CreditBalance {
    /// Units that can be spent.
    pub available: u128,
    /// Of them: credited by a payment authority.
    pub granted: u128,
    /// Of them: bought with ALPHA.
    pub bought: u128,
    /// ALPHA behind the available units, in its smallest unit.
    pub backing: u128,
    /// Units that are owed.
    pub debt: u128,
}

/// The present prices, `Prices` of the pallet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct Prices {
    /// ALPHA, in its smallest unit, per credit.
    pub credit: u128,
    /// Units of credit per GiB-hour.
    pub storage: u128,
}

/// An account of the marketplace as of one block.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MarketAccount {
    /// Its agreement.
    pub agreement: Option<Agreement>,
    /// Its credits.
    pub balance: CreditBalance,
    /// The first block in which it is short of credits; `None` if they last for good.
    pub burn_down: Option<u32>,
}

/// Accounts as of one finalised block.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MarketView {
    /// The block.
    pub block: BlockRef,
    /// The prices.
    pub prices: Prices,
    /// The accounts that were asked about, in that order.
    pub accounts: Vec<(AccountId, MarketAccount)>,
}

/// A commitment of a gateway, `LedgerAnchor` of the pallet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct LedgerCommitment {
    /// Its number.
    pub sequence: u64,
    /// Root over the lines that it covers.
    pub root: [u8; 32],
    /// Live bytes behind them.
    pub bytes: u64,
    /// Block that it is in.
    pub anchored_at: u32,
}

impl LedgerCommitment {
    /// Number of lines that it covers.
    pub fn lines(&self) -> u64 {
        self.sequence / COMMITMENTS_MAX
    }
}

/// Why an update of usage was not applied, `SkipReason` of the pallet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SkipReason {
    /// The account has no agreement, or does not let this gateway bill it.
    NotAuthorized,
    /// More bytes than the account lets the gateway bill.
    OverLimit,
    /// The agreement is suspended.
    Suspended,
}

/// An update of usage that was not applied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Skipped {
    /// Whose usage.
    pub account: AccountId,
    /// Why.
    pub reason: SkipReason,
}

/// `Marketplace::Ledgers`.
#[derive(Decode)]
struct GatewayLedger {
    anchor: LedgerCommitment,
    _commits: u64,
}

/// `Marketplace::Agreements`, as far as it is of interest; more follows.
#[derive(Decode)]
struct StoredAgreement {
    _opened_at: u32,
    gateways: Vec<GatewayUsage>,
}

/// The updates that a commitment did not apply, by the events of its transaction.
pub fn skipped(outcome: &TxOutcome) -> Vec<Skipped> {
    let skipped = outcome.events.iter().filter(|event| event.is(PALLET, "UsageSkipped"));
    let skipped = skipped.filter_map(|event| {
        let reason = match event.variant("reason")? {
            "NotAuthorized" => SkipReason::NotAuthorized,
            "OverLimit" => SkipReason::OverLimit,
            "Suspended" => SkipReason::Suspended,
            _ => return None,
        };
        Some(Skipped { account: event.bytes("account")?.try_into().ok()?, reason })
    });
    skipped.collect()
}

impl ChainClient {
    /// Asks the runtime's `MarketplaceApi` at a block.
    async fn market<T: Decode>(
        &self,
        function: &'static str,
        arguments: &impl Encode,
        at: [u8; 32],
    ) -> Result<T, ChainError> {
        let answer = self.rpc().runtime_call(function, &arguments.encode(), at).await?;
        decode(function, &answer)
    }

    async fn market_account(&self, account: &AccountId, at: [u8; 32]) -> Result<MarketAccount, ChainError> {
        let (agreement, balance, burn_down) = futures_util::try_join!(
            self.market("MarketplaceApi_agreement", account, at),
            self.market("MarketplaceApi_balance", account, at),
            self.market("MarketplaceApi_burn_down", account, at),
        )?;
        Ok(MarketAccount { agreement, balance, burn_down })
    }

    /// Accounts and prices at the finalised head.
    pub async fn market_view(&self, accounts: &[AccountId]) -> Result<MarketView, ChainError> {
        let block = self.finalized().await?;
        let mut view = MarketView { block, ..MarketView::default() };
        view.prices = self.market("MarketplaceApi_prices", &(), block.hash).await?;
        for some in accounts.chunks(ACCOUNTS_AT_ONCE) {
            let asked = some.iter().map(|account| self.market_account(account, block.hash));
            let answers = futures_util::future::try_join_all(asked).await?;
            view.accounts.extend(some.iter().copied().zip(answers));
        }
        Ok(view)
    }

    /// The newest commitment of a gateway at the finalised head.
    pub async fn ledger_commitment(&self, gateway: &NodeId) -> Result<Option<LedgerCommitment>, ChainError> {
        let ledger = self.head().await?.entry::<GatewayLedger>(PALLET, "Ledgers", &gateway.0).await?;
        Ok(ledger.map(|ledger| ledger.anchor))
    }

    /// The commitments of a gateway that the chain keeps at the finalised head, the oldest first.
    pub async fn ledger_commitments(&self, gateway: &NodeId) -> Result<Vec<LedgerCommitment>, ChainError> {
        const ITEM: &str = "LedgerAnchors";
        let prefix = self.interface().map_key(PALLET, ITEM, &gateway.0)?;
        let values = self.head().await?.values_below(&prefix).await?;
        let decoded = values.iter().map(|bytes| {
            LedgerCommitment::decode_all(&mut &bytes[..]).map_err(|_| ChainError::Undecodable(ITEM))
        });
        let mut commitments = decoded.collect::<Result<Vec<_>, _>>()?;
        commitments.sort_by_key(|commitment| commitment.sequence);
        Ok(commitments)
    }

    /// What a gateway bills all accounts together, at the finalised head.
    pub async fn billed_bytes(&self, gateway: &NodeId) -> Result<u128, ChainError> {
        Ok(self.head().await?.entry(PALLET, "BilledBytes", &gateway.0).await?.unwrap_or(0))
    }

    /// All accounts that a gateway bills, at the finalised head. Goes through all agreements of the chain.
    pub async fn billed_accounts(&self, gateway: &NodeId) -> Result<Vec<AccountId>, ChainError> {
        const ITEM: &str = "Agreements";
        let agreements = self.head().await?.raw_entries(PALLET, ITEM).await?;
        let mut billed = Vec::new();
        for (account, bytes) in agreements {
            let agreement = StoredAgreement::decode(&mut &bytes[..]);
            let agreement = agreement.map_err(|_| ChainError::Undecodable(ITEM))?;
            if agreement.gateways.iter().any(|usage| usage.gateway == gateway.0 && usage.bytes > 0) {
                billed.push(account);
            }
        }
        Ok(billed)
    }

    /// Most updates of usage in a commitment.
    pub fn usage_updates_max(&self) -> Result<u32, ChainError> {
        self.constant(PALLET, "MaxUsageUpdates")
    }

    /// Blocks that make an hour of storage.
    pub fn blocks_per_hour(&self) -> Result<u32, ChainError> {
        self.constant(PALLET, "BlocksPerHour")
    }

    /// Blocks for which an account must have credits when it lets a gateway bill it.
    pub fn runway_blocks(&self) -> Result<u32, ChainError> {
        self.constant(PALLET, "RunwayBlocks")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes are those of the pallet: `pallets/marketplace/src/tests/views.rs` has the same.
    #[test]
    fn answers_are_read_as_the_pallet_writes_them() {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../vectors/marketplace.json")).unwrap();
        let bytes = |name: &str| hex::decode(vectors[name].as_str().unwrap()).unwrap();
        let gateways = vec![GatewayUsage { gateway: [2; 32], bytes: 3, bytes_max: 4 }];
        let status = AgreementStatus::DeletionNotice { until: 1 };
        let agreement =
            Agreement { status, takes_writes: false, bytes: 5, gateways, charged: 6, debt: 7, opened_at: 8 };
        assert_eq!(decode::<Option<Agreement>>("", &bytes("agreement")).unwrap().as_ref(), Some(&agreement));
        assert_eq!(agreement.of(&NodeId([2; 32])).map(|usage| usage.bytes_max), Some(4));
        let balance = CreditBalance { available: 1, granted: 2, bought: 3, backing: 4, debt: 5 };
        assert_eq!(decode::<CreditBalance>("", &bytes("balance")).unwrap(), balance);
        assert_eq!(decode::<Prices>("", &bytes("prices")).unwrap(), Prices { credit: 1, storage: 2 });
        assert_eq!(decode::<Option<u32>>("", &bytes("burn_down")).unwrap(), Some(9));
        let stored = StoredAgreement::decode(&mut &bytes("stored_agreement")[..]).unwrap();
        assert_eq!(stored.gateways, agreement.gateways);
        let ledger = decode::<GatewayLedger>("", &bytes("ledger")).unwrap();
        let anchor = LedgerCommitment { sequence: 1, root: [2; 32], bytes: 3, anchored_at: 4 };
        assert_eq!((ledger.anchor, ledger._commits), (anchor, 5));
    }
}
