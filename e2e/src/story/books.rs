//! The books of a story: what everybody has to have, computed from what was done.
//!
//! Plain arithmetic on `u128` from the parameters in the metadata, the prices that were set and the blocks its
//! transactions are in; nothing of the pallet's code is used and nothing the pallet computed is read. A step that does
//! not fit into 128 bits is an error.
//!
//! # Invariants
//! - Entries come in the order of the chain; a block is closed before the next is opened.
//!
//! The rules are those of docs/spec/marketplace.md.

mod onchain;

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use arion_chain::AccountId;
pub(super) use onchain::{pallet_account, rewards};

/// Units in a credit.
pub(super) const CREDIT: u128 = 1_000_000_000_000;

/// Constants of `Marketplace` in the metadata.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parameters {
    /// Bytes * blocks in a GiB-hour.
    pub(super) gib_hour: u128,
    /// Units per GiB-hour until somebody sets another price.
    pub(super) storage_price: u128,
    /// Blocks in a settlement period.
    pub(super) period: u32,
    pub(super) miners_percent: u128,
    pub(super) network_percent: u128,
    pub(super) treasury_percent: u128,
}

/// What the story did.
#[derive(Clone, Debug)]
pub(super) enum Deed {
    /// A GiB-hour costs so many units from here on.
    StoragePrice(u128),
    /// Credits with the ALPHA deposited for them: bought, or granted for a payment made elsewhere.
    Credits { account: AccountId, units: u128, alpha: u128, granted: bool },
    /// The account stores so many bytes from here on.
    Stores { account: AccountId, bytes: u64 },
    /// A service was requested for so many units.
    Requested { request: u64, account: AccountId, units: u128 },
    /// The service was paid: `owner` did the work.
    Paid { request: u64, owner: AccountId },
    /// The credits of the request went back.
    Refunded { request: u64 },
    /// What the account had earned was paid out to it.
    Claimed { account: AccountId },
}

/// A deed and its place in the chain.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) block: u32,
    /// Position of the transaction in the block; [`AFTERWARDS`] for what the block does by itself at its end.
    pub(super) index: u32,
    pub(super) deed: Deed,
}

/// Position behind all transactions of a block.
pub(super) const AFTERWARDS: u32 = u32::MAX;

/// Credits of one kind: what there was after the last addition, and what was spent since.
#[derive(Clone, Copy, Default, Debug)]
struct Pool {
    units: u128,
    alpha: u128,
    spent: u128,
}

impl Pool {
    fn left(&self) -> u128 {
        self.units - self.spent
    }

    /// ALPHA that has left with what was spent.
    fn released(&self) -> anyhow::Result<u128> {
        if self.spent == self.units { Ok(self.alpha) } else { share(self.alpha, self.spent, self.units) }
    }

    fn add(&mut self, units: u128, alpha: u128) -> anyhow::Result<()> {
        let (left, backing) = (self.left(), self.alpha - self.released()?);
        *self = Self { units: left + units, alpha: backing + alpha, spent: 0 };
        Ok(())
    }

    /// Takes up to `units`; returns how many, and their ALPHA.
    fn take(&mut self, units: u128) -> anyhow::Result<(u128, u128)> {
        let taken = units.min(self.left());
        let before = self.released()?;
        self.spent += taken;
        Ok((taken, self.released()? - before))
    }
}

/// An account as a client.
#[derive(Clone, Copy, Default, Debug)]
struct Client {
    granted: Pool,
    bought: Pool,
    bytes: u64,
    /// Sum over the blocks so far of bytes * price.
    parts: u128,
    charged: u128,
    debt: u128,
}

/// What a client has to have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Position {
    /// Units it can spend.
    pub(super) available: u128,
    /// ALPHA behind them.
    pub(super) backing: u128,
    /// Units charged for storage so far.
    pub(super) charged: u128,
    /// Units it owes.
    pub(super) debt: u128,
}

/// Units and ALPHA reserved for a request, granted and bought.
#[derive(Clone, Copy, Debug)]
struct Reserved {
    account: AccountId,
    granted: (u128, u128),
    bought: (u128, u128),
}

/// Revenue of the period.
#[derive(Clone, Copy, Default, Debug)]
struct Revenue {
    storage: u128,
    services: u128,
    network: u128,
    treasury: u128,
    carry: u128,
    miners_carry: u128,
}

/// What a settlement has to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Settlement {
    pub(super) block: u32,
    /// Revenue from storage in the period.
    pub(super) storage: u128,
    /// Revenue from services in the period.
    pub(super) services: u128,
    /// Left over from the period before.
    pub(super) carried_in: u128,
    /// Paid to families, together.
    pub(super) miners: u128,
    pub(super) network: u128,
    pub(super) treasury: u128,
    /// Left for the next period.
    pub(super) carried_out: u128,
    /// To each family with a share.
    pub(super) families: Vec<(AccountId, u128)>,
}

/// The books of a chain on which nothing has been sold before.
#[derive(Debug)]
pub(super) struct Books {
    parameters: Parameters,
    price: u128,
    clients: BTreeMap<AccountId, Client>,
    requests: BTreeMap<u64, Reserved>,
    revenue: Revenue,
    claimable: BTreeMap<AccountId, u128>,
    claimed: BTreeMap<AccountId, u128>,
    /// ALPHA of the story in the pallet's account.
    held: u128,
}

impl Books {
    pub(super) fn new(parameters: Parameters) -> Self {
        Self {
            parameters,
            price: parameters.storage_price,
            clients: BTreeMap::new(),
            requests: BTreeMap::new(),
            revenue: Revenue::default(),
            claimable: BTreeMap::new(),
            claimed: BTreeMap::new(),
            held: 0,
        }
    }

    /// What a block costs that begins now: by the usage and price at the end of the one before.
    pub(super) fn open_block(&mut self) -> anyhow::Result<()> {
        for client in self.clients.values_mut() {
            let cost = u128::from(client.bytes).checked_mul(self.price).context("a block's cost")?;
            client.parts = client.parts.checked_add(cost).context("the cost of storage")?;
        }
        Ok(())
    }

    /// Everybody is charged: done at the end of every block.
    pub(super) fn close_block(&mut self) -> anyhow::Result<()> {
        let accounts: Vec<AccountId> = self.clients.keys().copied().collect();
        accounts.iter().try_for_each(|account| self.charge(account))
    }

    /// Charges an account for the blocks that are over and pays what it owes.
    fn charge(&mut self, account: &AccountId) -> anyhow::Result<()> {
        let client = self.clients.entry(*account).or_default();
        let charged = client.parts / self.parameters.gib_hour;
        client.debt += charged - client.charged;
        client.charged = charged;
        let (granted, first) = client.granted.take(client.debt)?;
        let (bought, second) = client.bought.take(client.debt - granted)?;
        client.debt -= granted + bought;
        self.revenue.storage += first + second;
        Ok(())
    }

    /// Writes down a deed.
    pub(super) fn enter(&mut self, deed: &Deed) -> anyhow::Result<()> {
        match deed {
            Deed::StoragePrice(price) => self.price = *price,
            Deed::Credits { account, units, alpha, granted } => {
                self.held += alpha;
                let (granted, bought) =
                    if *granted { ((*units, *alpha), (0, 0)) } else { ((0, 0), (*units, *alpha)) };
                self.add(account, granted, bought)?;
            }
            Deed::Stores { account, bytes } => {
                self.charge(account)?;
                self.clients.entry(*account).or_default().bytes = *bytes;
            }
            Deed::Requested { request, account, units } => {
                self.charge(account)?;
                let client = self.clients.entry(*account).or_default();
                let granted = client.granted.take(*units)?;
                let bought = client.bought.take(units - granted.0)?;
                ensure!(granted.0 + bought.0 == *units, "request {request} is for more than its client has");
                self.requests.insert(*request, Reserved { account: *account, granted, bought });
            }
            Deed::Paid { request, owner } => self.pay(*request, owner)?,
            Deed::Refunded { request } => {
                let reserved = self.requests.remove(request).context("an unknown request is refunded")?;
                self.add(&reserved.account, reserved.granted, reserved.bought)?;
            }
            Deed::Claimed { account } => {
                let amount = self.claimable.remove(account).unwrap_or(0);
                *self.claimed.entry(*account).or_default() += amount;
                self.held -= amount;
            }
        }
        Ok(())
    }

    fn add(
        &mut self,
        account: &AccountId,
        granted: (u128, u128),
        bought: (u128, u128),
    ) -> anyhow::Result<()> {
        self.charge(account)?;
        let client = self.clients.entry(*account).or_default();
        for (pool, (units, alpha)) in [(&mut client.granted, granted), (&mut client.bought, bought)] {
            if units > 0 {
                pool.add(units, alpha)?;
            }
        }
        // Debt is paid from what came.
        self.charge(account)
    }

    fn pay(&mut self, request: u64, owner: &AccountId) -> anyhow::Result<()> {
        let reserved = self.requests.remove(&request).context("an unknown request is paid")?;
        let alpha = reserved.granted.1 + reserved.bought.1;
        let [miner, network, treasury, rest] = self.split(alpha)?;
        *self.claimable.entry(*owner).or_default() += miner;
        self.revenue.services += alpha;
        self.revenue.network += network;
        self.revenue.treasury += treasury;
        self.revenue.carry += rest;
        Ok(())
    }

    /// Miners, network, treasury, and what no share got.
    fn split(&self, alpha: u128) -> anyhow::Result<[u128; 4]> {
        let parameters = self.parameters;
        let miners = share(alpha, parameters.miners_percent, 100)?;
        let network = share(alpha, parameters.network_percent, 100)?;
        let treasury = share(alpha, parameters.treasury_percent, 100)?;
        Ok([miners, network, treasury, alpha - miners - network - treasury])
    }

    /// Settles the period at the start of `block`; `weights` are those of the families in it.
    pub(super) fn settle(&mut self, block: u32, weights: &[(AccountId, u16)]) -> anyhow::Result<Settlement> {
        let revenue = std::mem::take(&mut self.revenue);
        let [miners, network, treasury, carry] = self.split(revenue.storage + revenue.carry)?;
        let for_miners = miners + revenue.miners_carry;
        let total: u128 = weights.iter().map(|(_, weight)| u128::from(*weight)).sum();
        let mut families = Vec::new();
        for (family, weight) in weights {
            let amount = share(for_miners, (*weight).into(), total)?;
            if amount > 0 {
                *self.claimable.entry(*family).or_default() += amount;
                families.push((*family, amount));
            }
        }
        let paid: u128 = families.iter().map(|(_, amount)| amount).sum();
        let settlement = Settlement {
            block,
            storage: revenue.storage,
            services: revenue.services,
            carried_in: revenue.carry + revenue.miners_carry,
            miners: paid,
            network: network + revenue.network,
            treasury: treasury + revenue.treasury,
            carried_out: carry + for_miners - paid,
            families,
        };
        self.held -= settlement.network + settlement.treasury;
        self.revenue = Revenue { carry, miners_carry: for_miners - paid, ..Revenue::default() };
        Ok(settlement)
    }

    /// What a client has to have now.
    pub(super) fn position(&self, account: &AccountId) -> anyhow::Result<Position> {
        let client = self.clients.get(account).copied().unwrap_or_default();
        Ok(Position {
            available: client.granted.left() + client.bought.left(),
            backing: client.granted.alpha - client.granted.released()? + client.bought.alpha
                - client.bought.released()?,
            charged: client.charged,
            debt: client.debt,
        })
    }

    /// Accounts that owe something.
    pub(super) fn debtors(&self) -> Vec<AccountId> {
        let debtors = self.clients.iter().filter(|(_, client)| client.debt > 0);
        debtors.map(|(account, _)| *account).collect()
    }

    /// What an account can claim now.
    pub(super) fn claimable(&self, account: &AccountId) -> u128 {
        self.claimable.get(account).copied().unwrap_or(0)
    }

    /// What was paid out to an account so far.
    pub(super) fn claimed(&self, account: &AccountId) -> u128 {
        self.claimed.get(account).copied().unwrap_or(0)
    }

    /// ALPHA that has come into the pallet's account and not left it.
    pub(super) fn held(&self) -> u128 {
        self.held
    }
}

/// What `units` cost at `price` smallest units of ALPHA per credit, rounded up.
pub(super) fn cost(units: u128, price: u128) -> anyhow::Result<u128> {
    Ok(units.checked_mul(price).context("a price")?.div_ceil(CREDIT))
}

/// `whole * part / of`, rounded down; 0 of nothing.
fn share(whole: u128, part: u128, of: u128) -> anyhow::Result<u128> {
    if of == 0 {
        return Ok(0);
    }
    Ok(whole.checked_mul(part).with_context(|| format!("{whole} * {part} is too large"))? / of)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(number: u8) -> AccountId {
        [number; 32]
    }

    /// The worked example of docs/spec/marketplace.md.
    #[test]
    fn the_example_of_the_specification() {
        const GIB: u128 = 1 << 30;
        let parameters = Parameters {
            gib_hour: GIB * 10,
            storage_price: 10_000,
            period: 20,
            miners_percent: 60,
            network_percent: 30,
            treasury_percent: 10,
        };
        let weights = [(account(50), 3), (account(51), 2), (account(52), 2)];
        let credits = |account, units, alpha, granted| Deed::Credits { account, units, alpha, granted };
        let entries = [
            (1, credits(account(1), 50_000, 100_000, false)),
            (1, credits(account(1), 50_000, 150_000, false)),
            (1, Deed::Stores { account: account(1), bytes: 2 << 30 }),
            (11, Deed::StoragePrice(5_000)),
            (19, credits(account(2), 333, 999, true)),
            (19, Deed::Requested { request: 0, account: account(2), units: 333 }),
            (20, Deed::Paid { request: 0, owner: account(9) }),
        ];
        let mut books = Books::new(parameters);
        let mut settlements = Vec::new();
        for block in 1..=40 {
            books.open_block().unwrap();
            if block % parameters.period == 0 {
                settlements.push(books.settle(block, &weights).unwrap());
            }
            for (_, deed) in entries.iter().filter(|(at, _)| *at == block) {
                books.enter(deed).unwrap();
            }
            // In the example somebody looks in block 19 only.
            if block == 19 {
                books.close_block().unwrap();
                assert_eq!(books.position(&account(1)).unwrap().available, 72_000);
            }
        }
        assert_eq!(
            settlements[0],
            Settlement {
                block: 20,
                storage: 70_000,
                services: 0,
                carried_in: 0,
                miners: 42_000,
                network: 21_000,
                treasury: 7_000,
                carried_out: 0,
                families: vec![(account(50), 18_000), (account(51), 12_000), (account(52), 12_000)],
            }
        );
        assert_eq!(books.claimable(&account(9)), 599);
        let second = &settlements[1];
        assert_eq!((second.services, second.carried_in, second.carried_out), (999, 2, 2));
        assert_eq!((second.miners, second.network, second.treasury), (0, 299, 99));
        books.close_block().unwrap();
        let position = Position { available: 51_000, backing: 127_500, charged: 49_000, debt: 0 };
        assert_eq!(books.position(&account(1)).unwrap(), position);
        assert_eq!(books.held(), 250_999 - 21_000 - 7_000 - 299 - 99);
    }

    #[test]
    fn debt_is_paid_by_a_refund() {
        let parameters = Parameters {
            gib_hour: 1,
            storage_price: 1,
            period: 20,
            miners_percent: 60,
            network_percent: 30,
            treasury_percent: 10,
        };
        let mut books = Books::new(parameters);
        let me = account(1);
        books.enter(&Deed::Credits { account: me, units: 10, alpha: 100, granted: true }).unwrap();
        books.enter(&Deed::Stores { account: me, bytes: 3 }).unwrap();
        books.enter(&Deed::Requested { request: 7, account: me, units: 8 }).unwrap();
        books.open_block().unwrap();
        books.close_block().unwrap();
        let position = Position { available: 0, backing: 0, charged: 3, debt: 1 };
        assert_eq!(books.position(&me).unwrap(), position);
        books.enter(&Deed::Refunded { request: 7 }).unwrap();
        let position = Position { available: 7, backing: 70, charged: 3, debt: 0 };
        assert_eq!(books.position(&me).unwrap(), position);
        let more = Deed::Requested { request: 8, account: me, units: 8 };
        assert!(books.enter(&more).unwrap_err().to_string().contains("more than its client has"));
        assert!(share(u128::MAX, 2, 3).is_err());
    }
}
