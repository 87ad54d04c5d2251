//! The marketplace: credits are bought, storage is charged, a service is paid, another refunded, and what was earned is
//! settled 60 / 30 / 10 to the unit.
//!
//! Everybody's balance is computed in `story/books.rs` from what the story did, and compared with the chain's. On a network
//! of its own this takes two settlement periods, 4 minutes; the story of the chain tells it while an era passes.

mod parties;
mod settlement;
mod trade;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use arion_chain::{Account, AccountId, BlockEvent, Call, ChainClient, TxOutcome, Wait};
use tokio::{task::JoinSet, time::sleep};

use crate::{
    network::{Network, Options},
    ports::NODES_MAX,
    progress::Progress,
    report::Report,
    story::{
        begin,
        books::{Deed, Entry},
        conclude, within,
    },
};

/// Steps of the story's report.
pub(super) const STEPS: u32 = 6;

/// The longest the story may take; then it has failed.
const DEADLINE: Duration = Duration::from_secs(12 * 60);
/// The longest finality may stand still.
const STANDSTILL: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(500);

/// Where the nodes run, and how many.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// First of the 300 ports that the network of the story uses.
    #[arg(long, value_name = "P", default_value_t = 23_200)]
    base_port: u16,
    /// Validators: two thirds of them have to agree on who serves a request.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=i64::from(NODES_MAX)))]
    validators: u16,
}

/// Tells the story on a network of its own. The exit code says whether every check held.
pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let progress = Progress::start();
    let (mut network, lock) =
        begin("marketplace", arguments.base_port, Options { miners: 0, validators: arguments.validators })?;
    let mut report = Report::new("marketplace");

    let told = within(DEADLINE, form_and_tell(&mut network, &mut report, &progress)).await;
    if let Err(error) = told {
        report.error("the story ended early", &error);
    }
    if let Err(error) = network.stop().await {
        report.error("stopping", &error);
    }
    Ok(conclude(&network, &lock, &report, &progress))
}

async fn form_and_tell(
    network: &mut Network,
    report: &mut Report,
    progress: &Progress,
) -> anyhow::Result<()> {
    network.start_chain(progress).await?;
    let chain = network.chain().await?;
    tell(&chain, &network.node_rpc(0), report, 1).await
}

/// Tells the story on a chain on which nothing has been sold yet. `rpc` is the `host:port` of one of its nodes; the
/// first of the [`STEPS`] steps gets the number `step`.
pub(super) async fn tell(
    chain: &ChainClient,
    rpc: &str,
    report: &mut Report,
    step: u32,
) -> anyhow::Result<()> {
    let mut market = Market { chain, rpc, report, entries: Vec::new() };
    let start = chain.finalized().await?.number;
    market
        .report
        .step(step, "families, a gateway and compute miners join; validators report how good miners are");
    let parties = parties::join(&mut market).await?;
    market.report.step(step + 1, "credits are bought with ALPHA, and credited for a payment with a card");
    let purchases = trade::credits(&mut market, &parties).await?;
    market
        .report
        .step(step + 2, "two services are requested, a gateway commits usage, the validators assign miners");
    let services = trade::services(&mut market, &parties, &purchases).await?;
    market.report.step(
        step + 3,
        "one is delivered and paid; the other is late: its refund pays what its client owes by then",
    );
    trade::outcomes(&mut market, &parties, &services).await?;
    market.report.step(step + 4, "revenue is settled 60 / 30 / 10, to the unit as computed beforehand");
    let mut replay = settlement::Replay::new(chain, start).await?;
    settlement::settled(&mut market, &parties, &mut replay).await?;
    market.report.step(step + 5, "earnings are claimed; no unit was made or lost");
    settlement::claimed(&mut market, &parties, &mut replay).await
}

/// The chain, the report, and what was done so far that moves credits.
struct Market<'a> {
    chain: &'a ChainClient,
    rpc: &'a str,
    report: &'a mut Report,
    entries: Vec<Entry>,
}

impl Market<'_> {
    /// Submits a call; the outcome is final.
    async fn submit(&self, account: &Account, call: &Call) -> anyhow::Result<TxOutcome> {
        Ok(self.chain.submit(account, call, Wait::Finalized).await?)
    }

    /// Submits calls at once; outcomes in the order of the calls, all final.
    async fn submit_all(&self, calls: Vec<(Account, Call)>) -> anyhow::Result<Vec<TxOutcome>> {
        let mut tasks = JoinSet::new();
        let count = calls.len();
        for (place, (account, call)) in calls.into_iter().enumerate() {
            let chain = self.chain.clone();
            tasks.spawn(async move { (place, chain.submit(&account, &call, Wait::Finalized).await) });
        }
        let mut outcomes: Vec<Option<TxOutcome>> = vec![None; count];
        while let Some(done) = tasks.join_next().await {
            let (place, outcome) = done?;
            outcomes[place] = Some(outcome?);
        }
        outcomes.into_iter().collect::<Option<_>>().context("a transaction has no outcome")
    }

    /// The name of the error with which the chain refuses a call.
    async fn refusal(&self, account: &Account, call: &Call) -> anyhow::Result<String> {
        match self.chain.submit(account, call, Wait::Finalized).await {
            Ok(_) => Ok("done".to_owned()),
            Err(failure) => match failure.dispatch_name() {
                Some(name) => Ok(name.to_owned()),
                None => Err(failure.into()),
            },
        }
    }

    /// Checks that the chain refuses a call with this error.
    async fn refused(
        &mut self,
        what: &str,
        account: &Account,
        call: &Call,
        error: &str,
    ) -> anyhow::Result<()> {
        let found = self.refusal(account, call).await?;
        self.report.check(format!("{what}: {found}"), found == error);
        Ok(())
    }

    /// How much less an account has after a block than before it.
    async fn spent_in(&self, block: u32, account: &AccountId) -> anyhow::Result<i128> {
        let mut free = [0; 2];
        for (place, number) in [block - 1, block].into_iter().enumerate() {
            let hash = self.chain.block_hash(number).await?.context("a final block has no hash")?;
            free[place] = i128::try_from(self.chain.state(hash).balance(account).await?.0)?;
        }
        Ok(free[0] - free[1])
    }

    /// Writes down what a transaction did.
    fn enter(&mut self, outcome: &TxOutcome, deed: Deed) {
        self.entries.push(Entry { block: outcome.block.number, index: outcome.index, deed });
    }

    /// Waits until a block is final; returns its hash.
    async fn until_final(&self, number: u32) -> anyhow::Result<[u8; 32]> {
        let mut last = (0, Instant::now());
        loop {
            let head = self.chain.finalized().await?;
            if head.number >= number {
                return self
                    .chain
                    .block_hash(number)
                    .await?
                    .with_context(|| format!("block {number} has no hash"));
            }
            if head.number > last.0 {
                last = (head.number, Instant::now());
            }
            if last.1.elapsed() > STANDSTILL {
                bail!("block {} is the last final one for {} s", head.number, STANDSTILL.as_secs());
            }
            sleep(POLL).await;
        }
    }

    /// The first block from this one on that does what is due (`on_idle`), and its events, final: the first block of a
    /// session has no weight left for that.
    async fn first_with_room(&self, mut number: u32) -> anyhow::Result<(u32, Vec<BlockEvent>)> {
        loop {
            let events = self.chain.events(self.until_final(number).await?).await?;
            if !events.iter().any(|found| found.event.is("Session", "NewSession")) {
                return Ok((number, events));
            }
            number += 1;
        }
    }
}

/// A number of an event of a transaction.
fn number(outcome: &TxOutcome, event: &str, field: &str) -> anyhow::Result<u128> {
    outcome
        .event("Marketplace", event)
        .and_then(|event| event.number(field))
        .with_context(|| format!("the transaction has no event Marketplace.{event} with {field}"))
}

/// What the sender paid for a transaction.
fn fee(outcome: &TxOutcome) -> anyhow::Result<u128> {
    let paid = outcome.event("TransactionPayment", "TransactionFeePaid");
    paid.and_then(|event| event.number("actual_fee")).context("the transaction has no event of its fee")
}
