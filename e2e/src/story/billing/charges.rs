//! Step 4: what was charged, by the events of the chain and the rules of docs/spec/marketplace.md; and who is paid for it.

use std::time::Instant;

use anyhow::{Context, bail};
use arion_chain::{Call, ChainClient, Event, Wait};

use super::{PATIENCE, POLL, STORAGE_PRICE, Stage};

/// Blocks before the first look at what is billed in which the first bill may be.
pub(super) const LOOK_BACK: u32 = 60;

/// Units that an account was charged up to a block, by what the events say it stored.
async fn charged(stage: &Stage, chain: &ChainClient, since: u32, to: u32) -> anyhow::Result<u128> {
    let (mut bytes, mut changed, mut parts) = (0u128, since, 0u128);
    for number in since..=to {
        let hash = chain.block_hash(number).await?.with_context(|| format!("block {number} has no hash"))?;
        let events = chain.events(hash).await?;
        let mine = |event: &&Event| {
            event.is("Marketplace", "UsageChanged")
                && event.bytes("account").as_deref() == Some(&stage.client.id()[..])
        };
        for event in events.iter().map(|found| &found.event).filter(mine) {
            parts += bytes * u128::from(number - changed) * STORAGE_PRICE;
            bytes = event.number("bytes").context("UsageChanged has no bytes")?;
            changed = number;
        }
    }
    parts += bytes * u128::from(to - changed) * STORAGE_PRICE;
    Ok(parts / (u128::from(chain.blocks_per_hour()?) << 30))
}

pub(super) async fn settled(stage: &mut Stage, chain: &ChainClient, since: u32) -> anyhow::Result<()> {
    stage.report.step(4, "every block costs what it has to, and miners are paid for it");
    let view = chain.market_view(&[stage.client.id()]).await?;
    let agreement = view.accounts.first().and_then(|(_, account)| account.agreement.clone());
    let agreement = agreement.context("the account has no agreement")?;
    let expected = charged(stage, chain, since, view.block.number).await?;
    stage.report.check(
        format!("{} units are charged up to block {}, as computed", agreement.charged, view.block.number),
        agreement.charged == expected && expected > 0,
    );

    let (begun, mut next) = (Instant::now(), view.block.number);
    let (families, storage) = loop {
        let head = chain.finalized().await?.number;
        let mut found = None;
        while next < head && found.is_none() {
            next += 1;
            let hash = chain.block_hash(next).await?.context("a final block has no hash")?;
            let events: Vec<Event> = chain.events(hash).await?.into_iter().map(|found| found.event).collect();
            let number = |name: &str, field: &str| {
                events.iter().find(|event| event.is("Marketplace", name))?.number(field)
            };
            let storage = number("PeriodSettled", "storage").unwrap_or(0);
            let paid = events.iter().filter(|event| event.is("Marketplace", "RewardCredited"));
            let paid: Vec<(Vec<u8>, u128)> =
                paid.filter_map(|event| Some((event.bytes("account")?, event.number("amount")?))).collect();
            if storage > 0 && !paid.is_empty() {
                stage.report.observed(format!(
                    "block {next}: {storage} of ALPHA's smallest unit from storage, {} families paid",
                    paid.len()
                ));
                found = Some((paid, storage));
            }
        }
        if let Some(found) = found {
            break found;
        }
        if begun.elapsed() > 2 * PATIENCE {
            bail!("no settlement paid families within {} s", 2 * PATIENCE.as_secs());
        }
        tokio::time::sleep(POLL).await;
    };
    let share: u128 = families.iter().map(|(_, amount)| amount).sum();
    // What rounding left behind before, and keeps now, is less than a unit for each family and share.
    let rounding = families.len() as u128 + 3;
    stage.report.check(
        format!("families get {share}: 60 % of it, or more where a period before had nobody to pay"),
        share + rounding >= storage * 60 / 100,
    );
    let (account, amount) = families.iter().max_by_key(|(_, amount)| *amount).context("nobody was paid")?;
    let account: [u8; 32] = account.as_slice().try_into().context("an account has another length")?;
    let before = chain.free_balance(&account).await?;
    chain.submit(&stage.client.clone(), &Call::claim(&account), Wait::Finalized).await?;
    let after = chain.free_balance(&account).await?;
    stage.report.check(
        format!("a family has {} more once that is claimed", after.saturating_sub(before)),
        after.saturating_sub(before) >= *amount,
    );
    Ok(())
}
