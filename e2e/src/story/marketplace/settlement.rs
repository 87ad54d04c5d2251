//! The books beside the chain: settlement by settlement, and at the end.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use arion_chain::{AccountId, Call, ChainClient};
use codec::Decode;
use serde_json::json;

use super::{Market, parties::Parties, trade};
use crate::{
    http,
    story::books::{Books, Deed, Entry, Parameters, Settlement, pallet_account, rewards},
};

const STAKERS_POT: &[u8; 8] = b"ar/stake";
const ERA_REWARDS: &[u8; 8] = b"ar/rewrd";
const TREASURY: &[u8; 8] = b"ar/trsry";

/// `PeriodRevenue` of the pallet.
#[derive(Decode, Default)]
struct PeriodRevenue {
    since: u32,
    amounts: [u128; 6],
}

/// The books, block by block.
pub(super) struct Replay {
    parameters: Parameters,
    books: Books,
    /// The block before the first one in the books.
    start: u32,
    /// The last block in the books.
    at: u32,
    next_settlement: u32,
    settlements: Vec<Settlement>,
    /// First block after which an account owed something.
    short: BTreeMap<AccountId, u32>,
}

impl Replay {
    /// Begins after block `start`, before which nothing was sold.
    pub(super) async fn new(chain: &ChainClient, start: u32) -> anyhow::Result<Self> {
        let parameters = Parameters::read(chain)?;
        let hash = chain.block_hash(start).await?.context("the first block has no hash")?;
        let state = chain.state(hash);
        let revenue: PeriodRevenue = state.value("Marketplace", "PeriodRevenue").await?.unwrap_or_default();
        let requests: Option<u64> = state.value("Marketplace", "NextRequest").await?;
        ensure!(
            revenue.amounts == [0; 6] && requests.unwrap_or(0) == 0,
            "something was sold on this chain before: the story needs a new one"
        );
        Ok(Self {
            parameters,
            books: Books::new(parameters),
            start,
            at: start,
            next_settlement: revenue.since + parameters.period,
            settlements: Vec::new(),
            short: BTreeMap::new(),
        })
    }

    /// Enters everything up to the end of a block.
    async fn advance(&mut self, chain: &ChainClient, entries: &[Entry], to: u32) -> anyhow::Result<()> {
        for block in self.at + 1..=to {
            self.books.open_block()?;
            if block == self.next_settlement {
                self.next_settlement += self.parameters.period;
                let hash = chain.block_hash(block).await?.context("a settlement's block has no hash")?;
                let weights = weights(chain, hash).await?;
                self.settlements.push(self.books.settle(block, &weights)?);
            }
            let mut deeds: Vec<&Entry> = entries.iter().filter(|entry| entry.block == block).collect();
            deeds.sort_by_key(|entry| entry.index);
            deeds.iter().try_for_each(|entry| self.books.enter(&entry.deed))?;
            self.books.close_block()?;
            for account in self.books.debtors() {
                self.short.entry(account).or_insert(block);
            }
        }
        self.at = to;
        Ok(())
    }
}

/// Families by weight in a block.
async fn weights(chain: &ChainClient, block: [u8; 32]) -> anyhow::Result<Vec<(AccountId, u16)>> {
    let mut weights: Vec<(AccountId, u16)> = chain.state(block).entries("Arion", "FamilyWeight").await?;
    weights.retain(|(_, weight)| *weight > 0);
    weights.sort_unstable();
    Ok(weights)
}

/// Waits for the settlement after everything the story did, and for a second one that takes over what was carried;
/// compares each with the books.
pub(super) async fn settled(
    market: &mut Market<'_>,
    parties: &Parties,
    replay: &mut Replay,
) -> anyhow::Result<()> {
    let blocks = market.entries.iter().map(|entry| entry.block);
    let last = blocks.max().context("nothing was done")?;
    let stored = market.entries.iter().find(|entry| matches!(entry.deed, Deed::Stores { .. }));
    let stored = stored.context("nothing was stored")?.block;
    // The first settlement after a block, counted in whole periods from the next one.
    let period = replay.parameters.period;
    let after = |block: u32| {
        let periods = (block + 1).saturating_sub(replay.next_settlement).div_ceil(period);
        replay.next_settlement + periods * period
    };
    let end = after(last).max(after(stored) + period);
    market.report.observed(format!(
        "block {last} is the last with a transaction; waiting for the settlement in block {end}"
    ));
    market.until_final(end).await?;
    replay.advance(market.chain, &market.entries, end).await?;

    for settlement in replay.settlements.clone() {
        compare(market, &settlement).await?;
    }
    let is_paid = |settlement: &Settlement| settlement.families.len() == parties.families().len();
    let carried = replay.settlements.iter().any(|settlement| settlement.carried_in > 0);
    market.report.check(
        "every family was paid, and a remainder of one period was part of the next",
        replay.settlements.iter().any(is_paid) && carried,
    );
    arrears(market, parties, replay).await
}

/// A settlement on chain against the books.
async fn compare(market: &mut Market<'_>, expected: &Settlement) -> anyhow::Result<()> {
    let Settlement { block, storage, services, miners, network, treasury, carried_in, carried_out, families } =
        expected;
    market.report.observed(format!(
        "block {block}: storage {storage}, services {services}, carried in {carried_in}\n  -> families {miners}, network \
         {network}, treasury {treasury}, carried on {carried_out}"
    ));
    let hash = market.until_final(*block).await?;
    let events = market.chain.events(hash).await?;
    let wrong: Vec<String> =
        expected.wrong_amounts(&events).into_iter().map(|wrong| format!("; {wrong}")).collect();
    market.report.check(format!("block {block} settles exactly that{}", wrong.concat()), wrong.is_empty());

    let rewards = rewards(&events);
    let shares: Vec<String> = families.iter().map(|(_, amount)| amount.to_string()).collect();
    let shares = if shares.is_empty() { "nothing".to_owned() } else { shares.join(" + ") };
    market.report.check(format!("families get {shares}, by weight"), rewards == *families);

    // At the end of an era the pot moves to the account that pays it out.
    let pot = market.spent_in(*block, &pallet_account(STAKERS_POT)).await?
        + market.spent_in(*block, &pallet_account(ERA_REWARDS)).await?;
    market.report.check(format!("the stakers' pot grew by {network}"), -pot == i128::try_from(*network)?);
    let purse = market.spent_in(*block, &pallet_account(TREASURY)).await?;
    market.report.check(format!("the treasury grew by {treasury}"), -purse == i128::try_from(*treasury)?);
    Ok(())
}

/// The cardholder ran out of credits in the very block the books say.
async fn arrears(market: &mut Market<'_>, parties: &Parties, replay: &Replay) -> anyhow::Result<()> {
    let cardholder = parties.cardholder.id();
    let block = *replay.short.get(&cardholder).context("the cardholder never owed anything")?;
    let (block, events) = market.first_with_room(block).await?;
    let started = events.iter().any(|found| {
        found.event.is("Marketplace", "ArrearsStarted") && trade::is_of(&found.event, &cardholder)
    });
    market.report.check(format!("the cardholder's arrears began in block {block}, as computed"), started);
    let buyer = replay.short.contains_key(&parties.buyer.id());
    market.report.check("the buyer never owed anything", !buyer);
    Ok(())
}

/// Everything is claimed; what everybody has is what the books say.
pub(super) async fn claimed(
    market: &mut Market<'_>,
    parties: &Parties,
    replay: &mut Replay,
) -> anyhow::Result<()> {
    let workers = parties.workers.iter().map(|worker| worker.owner.id());
    let earners: Vec<AccountId> = parties.families().into_iter().chain(workers).collect();
    let earners: Vec<AccountId> =
        earners.into_iter().filter(|account| replay.books.claimable(account) > 0).collect();
    let claims = Call::batch(earners.iter().map(Call::claim).collect());
    let outcome = market.submit(&parties.governance, &claims).await?;
    for account in &earners {
        market.enter(&outcome, Deed::Claimed { account: *account });
    }
    let end = outcome.block.number;
    replay.advance(market.chain, &market.entries, end).await?;
    for account in &earners {
        let (grown, due) = (-market.spent_in(end, account).await?, replay.books.claimed(account));
        market.report.check(
            format!("{} was paid {due}", arion_chain::ss58(account)),
            grown == i128::try_from(due)? && due > 0,
        );
    }
    let again = Call::claim(&earners[0]);
    market
        .refused("there is no more to claim", &parties.governance, &again, "Marketplace.NothingToClaim")
        .await?;
    clients(market, parties, replay, outcome.block.hash).await?;
    conservation(market, replay, outcome.block.hash).await
}

/// What the clients have, as the runtime answers any dApp.
async fn clients(
    market: &mut Market<'_>,
    parties: &Parties,
    replay: &Replay,
    block: [u8; 32],
) -> anyhow::Result<()> {
    for (name, account) in [("buyer", parties.buyer.id()), ("cardholder", parties.cardholder.id())] {
        let hex = |bytes: &[u8]| format!("0x{}", hex::encode(bytes));
        let question = json!(["MarketplaceApi_balance", hex(&account), hex(&block)]);
        let answer = http::rpc(market.rpc, "state_call", question).await?;
        let answer = answer.as_str().context("the runtime gave no answer")?;
        let answer = hex::decode(answer.trim_start_matches("0x"))?;
        let [available, _, _, backing, debt] = <[u128; 5]>::decode(&mut &answer[..])?;
        let expected = replay.books.position(&account)?;
        market.report.check(
            format!(
                "the {name} was charged {} units, owes {} and has {} left, behind them {}",
                expected.charged, expected.debt, expected.available, expected.backing
            ),
            (available, backing, debt) == (expected.available, expected.backing, expected.debt),
        );
    }
    Ok(())
}

/// No unit was made or lost: in the pallet's account, and on the whole chain.
async fn conservation(market: &mut Market<'_>, replay: &Replay, block: [u8; 32]) -> anyhow::Result<()> {
    let chain = market.chain;
    let id: [u8; 8] = chain.constant("Marketplace", "PalletId")?;
    let deposit: u128 = chain.constant("Balances", "ExistentialDeposit")?;
    let state = chain.state(block);
    let (free, _) = state.balance(&pallet_account(&id)).await?;
    market.report.check(
        format!(
            "the pallet's account has {free}: what came in and was not paid out, and its existential deposit"
        ),
        free == deposit + replay.books.held(),
    );

    /// `System::Account`.
    #[derive(Decode)]
    struct AccountInfo {
        _references: [u32; 4],
        free: u128,
        reserved: u128,
        _frozen: u128,
        _flags: u128,
    }
    let issuance: u128 = state.value("Balances", "TotalIssuance").await?.context("no issuance")?;
    let accounts: Vec<(AccountId, AccountInfo)> = state.entries("System", "Account").await?;
    let sum: u128 = accounts.iter().map(|(_, account)| account.free + account.reserved).sum();
    market.report.check(
        format!("the balances of all {} accounts add up to the total issuance, {issuance}", accounts.len()),
        sum == issuance,
    );

    let first = chain.block_hash(replay.start).await?.context("the first block has no hash")?;
    let before: u128 = chain.state(first).value("Balances", "TotalIssuance").await?.context("no issuance")?;
    let mut fees = 0;
    for number in replay.start + 1..=replay.at {
        let hash = chain.block_hash(number).await?.context("a final block has no hash")?;
        let events = chain.events(hash).await?;
        let paid = events.iter().filter(|found| found.event.is("TransactionPayment", "TransactionFeePaid"));
        fees += paid.filter_map(|found| found.event.number("actual_fee")).sum::<u128>();
    }
    market.report.check(
        format!("issuance fell by {fees} in {} blocks: the fees, which are burnt", replay.at - replay.start),
        fees > 0 && before - issuance == fees,
    );
    Ok(())
}
