//! Who takes part: families with miners, a gateway, compute miners, two clients, a payment authority.

use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use arion_chain::{Account, AccountId, Call};
use arion_types::{Lane, NodeId, NodeQuality, NodeType, registration, signing, units::HIPP};
use ed25519_dalek::SigningKey;
use tokio::time::sleep;

use super::{Market, POLL};

/// What every account gets.
const ENDOWMENT: u128 = 5_000 * HIPP;
/// Miners by family: bytes stored, bytes served, uptime.
const MINERS: [&[(u64, u64, u16)]; 3] = [
    &[(4 << 10, 6 << 10, 1_000), (2 << 10, 1 << 10, 990)],
    &[(3 << 10, 1 << 10, 970)],
    &[(1 << 10, 1 << 10, 500)],
];
const COMPUTE_MINERS: usize = 3;
/// A report has to be in a block before its bucket closes; so long it may take.
const REPORT_BLOCKS: u32 = 6;
const BUCKET_DEADLINE: Duration = Duration::from_secs(120);

/// Accounts of validators of local networks.
const VALIDATORS: [&str; 5] = ["//Alice", "//Bob", "//Charlie", "//Dave", "//Eve"];

/// A service node and its owner.
pub(super) struct Node {
    pub(super) owner: Account,
    pub(super) id: NodeId,
}

struct Family {
    account: Account,
    miners: Vec<(AccountId, NodeQuality)>,
}

/// Everybody.
pub(super) struct Parties {
    /// Root of the chain.
    pub(super) governance: Account,
    families: Vec<Family>,
    pub(super) gateway: Node,
    pub(super) workers: Vec<Node>,
    /// A client that buys credits with ALPHA.
    pub(super) buyer: Account,
    /// A client that pays with a card, and whose credits come from the authority.
    pub(super) cardholder: Account,
    pub(super) authority: Account,
}

impl Parties {
    /// Accounts of the families.
    pub(super) fn families(&self) -> Vec<AccountId> {
        self.families.iter().map(|family| family.account.id()).collect()
    }
}

fn new_account() -> anyhow::Result<Account> {
    Ok(Account::from_seed(rand::random())?)
}

fn new_key() -> SigningKey {
    SigningKey::from_bytes(&rand::random())
}

/// The validators of the session whose accounts are well known, as long as they are its validators.
pub(super) async fn validators(market: &Market<'_>) -> anyhow::Result<Vec<Account>> {
    let session = market.chain.validators().await?;
    let known: Vec<Account> =
        VALIDATORS.iter().map(|name| Account::from_secret(name)).collect::<Result<_, _>>()?;
    let known: Vec<Account> = known.into_iter().filter(|account| session.contains(&account.id())).collect();
    ensure!(known.len() == session.len(), "validators of the session are unknown");
    Ok(known)
}

/// Makes accounts and keys, funds and registers them, and has the validators report on the miners.
pub(super) async fn join(market: &mut Market<'_>) -> anyhow::Result<Parties> {
    let mut registrations = Vec::new();
    let mut families = Vec::new();
    for miners in MINERS {
        let (family, registration) = family(market, miners)?;
        registrations.push((family.account.clone(), registration));
        families.push(family);
    }
    let mut nodes = Vec::new();
    for place in 0..=COMPUTE_MINERS {
        let kind = if place == 0 {
            (Lane::Storage, NodeType::Gateway)
        } else {
            (Lane::Compute, NodeType::ComputeMiner)
        };
        let (owner, key) = (new_account()?, new_key());
        registrations.push((owner.clone(), node(market, kind, &owner.id(), &key)));
        nodes.push(Node { owner, id: signing::node_id(&key) });
    }
    let workers = nodes.split_off(1);
    let Some(gateway) = nodes.pop() else { bail!("the gateway was not made") };
    let governance = Account::from_secret(VALIDATORS[0])?;
    let (buyer, cardholder, authority) = (new_account()?, new_account()?, new_account()?);

    let accounts = registrations.iter().map(|(account, _)| account.id());
    let accounts = accounts.chain([&buyer, &cardholder, &authority].map(Account::id));
    let transfers = accounts.map(|account| Call::transfer(&account, ENDOWMENT)).collect();
    market.submit(&governance, &Call::batch(transfers)).await?;
    let outcomes = market.submit_all(registrations).await?;
    let count = |event: (&str, &str)| {
        let events = outcomes.iter().flat_map(|outcome| &outcome.events);
        events.filter(|found| found.is(event.0, event.1)).count()
    };
    let (miners, services) = (count(("Arion", "ChildRegistered")), count(("Registration", "NodeRegistered")));
    market.report.check(
        format!("{miners} miners of {} families are registered, each with its key's consent", families.len()),
        miners == MINERS.iter().map(|miners| miners.len()).sum::<usize>(),
    );
    market.report.check(
        format!("{services} nodes are registered: a gateway and compute miners"),
        services == 1 + COMPUTE_MINERS,
    );
    let kind = (Lane::Compute, NodeType::ComputeMiner);
    let stolen = node(market, kind, &buyer.id(), &new_key());
    let what = "a node key's consent to somebody else is refused";
    market.refused(what, &authority, &stolen, "Registration.InvalidNodeSignature").await?;

    let parties = Parties { governance, families, gateway, workers, buyer, cardholder, authority };
    report_quality(market, &parties).await?;
    Ok(parties)
}

/// A new family, and the call that registers it and its miners.
fn family(market: &Market<'_>, miners: &[(u64, u64, u16)]) -> anyhow::Result<(Family, Call)> {
    let account = new_account()?;
    let mut calls = vec![Call::register_owner_node(Lane::Storage)];
    let mut members = Vec::new();
    for (shard_data_bytes, bandwidth_bytes, uptime_permille) in miners {
        let (child, key) = (new_account()?.id(), new_key());
        let node = signing::node_id(&key);
        let genesis = market.chain.genesis();
        // A key that was never registered signs the nonce 0.
        let message = registration::registration_message(&genesis, &account.id(), &child, &node.0, 0);
        calls.push(Call::add_proxy(&child, "NonTransfer"));
        calls.push(Call::register_child(&account.id(), &child, &node, &signing::sign(&key, &message)));
        let quality = NodeQuality {
            shard_data_bytes: *shard_data_bytes,
            bandwidth_bytes: *bandwidth_bytes,
            uptime_permille: *uptime_permille,
            ..NodeQuality::default()
        };
        members.push((child, quality));
    }
    Ok((Family { account, miners: members }, Call::batch(calls)))
}

/// The call that makes its sender an owner with one node, whose key consented to be `owner`'s.
fn node(
    market: &Market<'_>,
    (lane, node_type): (Lane, NodeType),
    owner: &AccountId,
    key: &SigningKey,
) -> Call {
    let id = signing::node_id(key);
    let message = registration::node_message(&market.chain.genesis(), owner, node_type, &id.0, 0);
    Call::batch(vec![
        Call::register_owner_node(lane),
        Call::register_node(node_type, &id, &signing::sign(key, &message)),
    ])
}

/// The validators of the session report what they measured of the miners, all of them the same.
async fn report_quality(market: &mut Market<'_>, parties: &Parties) -> anyhow::Result<()> {
    let length: u32 = market.chain.constant("Arion", "WeightBucketBlocks")?;
    let begun = Instant::now();
    let bucket = loop {
        let next = market.chain.best().await?.number + 1;
        if next % length + REPORT_BLOCKS < length {
            break next / length;
        }
        ensure!(begun.elapsed() < BUCKET_DEADLINE, "no weight bucket begins");
        sleep(POLL).await;
    };
    let mut updates: Vec<_> = parties.families.iter().flat_map(|family| family.miners.clone()).collect();
    updates.sort_unstable_by_key(|(child, _)| *child);
    let report = Call::submit_node_quality(bucket, &updates);
    let reports: Vec<_> =
        validators(market).await?.into_iter().map(|validator| (validator, report.clone())).collect();
    let count = reports.len();
    let outcomes = market.submit_all(reports).await?;
    let taken = outcomes
        .iter()
        .filter_map(|outcome| outcome.event("Arion", "NodeQualityReported")?.number("updates"));
    market.report.check(
        format!("{count} validator(s) reported {} miners in bucket {bucket}", updates.len()),
        taken.collect::<Vec<_>>() == vec![updates.len() as u128; count],
    );
    Ok(())
}
