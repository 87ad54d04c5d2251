//! Where the books meet the chain: the constants they go by, and what a settlement's block says.

use arion_chain::{AccountId, BlockEvent, ChainClient};

use super::{Parameters, Settlement};

const PALLET: &str = "Marketplace";
const GIB: u128 = 1 << 30;
/// Accounts of pallets: this, 8 bytes, zeros.
const PALLET_ACCOUNT_TAG: &[u8; 4] = b"modl";

/// The account that belongs to a pallet id.
pub(in crate::story) fn pallet_account(id: &[u8; 8]) -> AccountId {
    let mut account = [0; 32];
    account[..4].copy_from_slice(PALLET_ACCOUNT_TAG);
    account[4..12].copy_from_slice(id);
    account
}

impl Parameters {
    /// The constants in the metadata.
    pub(in crate::story) fn read(chain: &ChainClient) -> anyhow::Result<Self> {
        let percent = |name| -> anyhow::Result<u128> { Ok(chain.constant::<u8>(PALLET, name)?.into()) };
        Ok(Self {
            gib_hour: GIB * u128::from(chain.constant::<u32>(PALLET, "BlocksPerHour")?),
            storage_price: chain.constant(PALLET, "InitialStoragePrice")?,
            period: chain.constant(PALLET, "SettlementPeriodBlocks")?,
            miners_percent: percent("MinersPercent")?,
            network_percent: percent("NetworkPercent")?,
            treasury_percent: percent("TreasuryPercent")?,
        })
    }
}

/// Events of a kind that a block deposited by itself.
fn of_block<'a>(
    events: &'a [BlockEvent],
    name: &'static str,
) -> impl Iterator<Item = &'a arion_chain::Event> {
    let own = events.iter().filter(move |found| found.extrinsic.is_none() && found.event.is(PALLET, name));
    own.map(|found| &found.event)
}

/// What families got in a settlement's block, in the order of their accounts.
pub(in crate::story) fn rewards(events: &[BlockEvent]) -> Vec<(AccountId, u128)> {
    let rewards = of_block(events, "RewardCredited");
    let mut rewards: Vec<(AccountId, u128)> = rewards
        .filter_map(|event| Some((event.bytes("account")?.try_into().ok()?, event.number("amount")?)))
        .collect();
    rewards.sort_unstable();
    rewards
}

impl Settlement {
    /// Which amounts of the block's `PeriodSettled` are other ones.
    pub(in crate::story) fn wrong_amounts(&self, events: &[BlockEvent]) -> Vec<String> {
        let fields = [
            ("storage", self.storage),
            ("services", self.services),
            ("miners", self.miners),
            ("network", self.network),
            ("treasury", self.treasury),
            ("carried", self.carried_out),
        ];
        let settled = of_block(events, "PeriodSettled").next();
        let found = |field| settled.and_then(|event| event.number(field));
        let wrong = fields.into_iter().filter(|(field, value)| found(field) != Some(*value));
        wrong.map(|(field, value)| format!("{field} is {:?}, not {value}", found(field))).collect()
    }
}
