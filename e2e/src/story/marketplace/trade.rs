//! What the clients do: buy, store, ask for services.

use arion_chain::{AccountId, Call, PaymentMethod, ServiceKind, ServiceTerms, TxOutcome};
use arion_types::NodeId;
use blake2::{Blake2b, Digest, digest::consts::U32};

use super::{
    Market, fee, number,
    parties::{self, Node, Parties},
};
use crate::story::books::{self, AFTERWARDS, Deed, Entry, Parameters};

/// ALPHA per credit when the first credits are bought, and from then on. No round numbers: shares have to be rounded.
const CREDIT_PRICES: [u128; 2] = [1_234_567_890_123_456_789, 2_345_678_901_234_567_891];
/// Units per GiB-hour at first, and from the assignment of the services on.
const STORAGE_PRICES: [u128; 2] = [271_828_182_845, 314_159_265_358];
/// What the buyer buys at each of the prices, units.
const BOUGHT: [u128; 2] = [45_678_901_234_567, 78_901_234_567_891];
const BUYER_BYTES: u64 = 3_456_789_012_345;
const CARDHOLDER_BYTES: u64 = 1_234_567_890_123;
const SERVICE: u16 = 7;
/// Units per piece.
const SERVICE_PRICE: u128 = 8_333_333_333_333;
/// Pieces the buyer asks for.
const PIECES: u32 = 2;
const DELIVERY_BLOCKS: u32 = 15;
/// What a card buys beyond what has to be there to authorize a gateway, units.
const BEYOND_RUNWAY: u128 = 77_777;
const PAYMENT: &str = "card-4711";
/// What is hashed for a draw before seed, request and node.
const DRAW_TAG: &[u8] = b"arion/assignment/v1";

/// What the clients have to spend.
pub(super) struct Purchases {
    /// ALPHA of the buyer's second purchase, which is still to come.
    second: u128,
}

/// A service that was asked for and assigned.
pub(super) struct Request {
    id: u64,
    worker: usize,
}

/// The two of them.
pub(super) struct Services {
    delivered: Request,
    late: Request,
}

/// Prices are set, and the first credits bought and credited.
pub(super) async fn credits(market: &mut Market<'_>, parties: &Parties) -> anyhow::Result<Purchases> {
    let terms = ServiceTerms {
        kind: ServiceKind::Container,
        name: "container".to_owned(),
        price: SERVICE_PRICE,
        delivery_blocks: DELIVERY_BLOCKS,
    };
    let rules = vec![
        Call::set_credit_price(CREDIT_PRICES[0]),
        Call::set_storage_price(STORAGE_PRICES[0]),
        Call::set_service(SERVICE, Some(&terms)),
        Call::add_payment_authority(&parties.authority.id()),
    ];
    let outcome = market.submit(&parties.governance, &Call::sudo(Call::batch(rules))).await?;
    market.enter(&outcome, Deed::StoragePrice(STORAGE_PRICES[0]));

    let runway = runway(market, CARDHOLDER_BYTES)? + BEYOND_RUNWAY;
    let (buyer, cardholder) = (parties.buyer.id(), parties.cardholder.id());
    let costs = [books::cost(BOUGHT[0], CREDIT_PRICES[0])?, books::cost(runway, CREDIT_PRICES[0])?];
    let purchase = Call::buy_credits(&buyer, BOUGHT[0], costs[0]);
    let payment = Call::credit_payment(PAYMENT, PaymentMethod::Fiat, &cardholder, runway, costs[1]);
    let calls = vec![(parties.buyer.clone(), purchase), (parties.authority.clone(), payment.clone())];
    let outcomes = market.submit_all(calls).await?;
    let deeds = [(buyer, BOUGHT[0], costs[0], false), (cardholder, runway, costs[1], true)];
    for (outcome, (account, units, alpha, granted)) in outcomes.iter().zip(deeds) {
        market.enter(outcome, Deed::Credits { account, units, alpha, granted });
    }
    let (payer, authority) = (&outcomes[0], &outcomes[1]);
    let spent = market.spent_in(payer.block.number, &buyer).await?;
    let expected = costs[0] + fee(payer)?;
    market.report.check(
        format!(
            "{} units cost the buyer {} of the smallest unit and the fee, as computed",
            BOUGHT[0], costs[0]
        ),
        u128::try_from(spent) == Ok(expected) && number(payer, "CreditsBought", "alpha")? == costs[0],
    );
    let spent = market.spent_in(authority.block.number, &parties.authority.id()).await?;
    let expected = costs[1] + fee(authority)?;
    market.report.check(
        format!(
            "{runway} units for a card's payment are backed by {} of the authority's own ALPHA",
            costs[1]
        ),
        u128::try_from(spent) == Ok(expected) && number(authority, "PaymentCredited", "alpha")? == costs[1],
    );

    let dearer = Call::sudo(Call::set_credit_price(CREDIT_PRICES[1]));
    let (again, outcome) = tokio::join!(
        market.refusal(&parties.authority, &payment),
        market.submit(&parties.governance, &dearer)
    );
    let (again, _) = (again?, outcome?);
    let refused = again == "Marketplace.PaymentAlreadyCredited";
    market.report.check(format!("the same payment is not credited twice: {again}"), refused);
    Ok(Purchases { second: books::cost(BOUGHT[1], CREDIT_PRICES[1])? })
}

/// Units an account must have to let a gateway store so many bytes.
fn runway(market: &Market<'_>, bytes: u64) -> anyhow::Result<u128> {
    let blocks: u32 = market.chain.constant("Marketplace", "RunwayBlocks")?;
    let parts = u128::from(bytes) * STORAGE_PRICES[0] * u128::from(blocks);
    Ok(parts.div_ceil(Parameters::read(market.chain)?.gib_hour))
}

/// A gateway is authorized and commits usage; services are requested and assigned.
pub(super) async fn services(
    market: &mut Market<'_>,
    parties: &Parties,
    purchases: &Purchases,
) -> anyhow::Result<Services> {
    let (buyer, cardholder) = (parties.buyer.id(), parties.cardholder.id());
    let gateway = &parties.gateway.id;
    let spec = |work: &str| *blake3::hash(work.as_bytes()).as_bytes();
    let units = [SERVICE_PRICE * u128::from(PIECES), SERVICE_PRICE];
    let calls = vec![
        (
            parties.buyer.clone(),
            Call::batch(vec![
                Call::buy_credits(&buyer, BOUGHT[1], purchases.second),
                Call::authorize_gateway(gateway, BUYER_BYTES),
                Call::request_service(SERVICE, PIECES, &spec("two containers"), units[0]),
            ]),
        ),
        (
            parties.cardholder.clone(),
            Call::batch(vec![
                Call::authorize_gateway(gateway, CARDHOLDER_BYTES),
                Call::request_service(SERVICE, 1, &spec("a container"), units[1]),
            ]),
        ),
    ];
    let outcomes = market.submit_all(calls).await?;
    let bought = Deed::Credits { account: buyer, units: BOUGHT[1], alpha: purchases.second, granted: false };
    market.enter(&outcomes[0], bought);
    let mut asked = Vec::new();
    for ((outcome, account), units) in outcomes.iter().zip([buyer, cardholder]).zip(units) {
        let request = u64::try_from(number(outcome, "ServiceRequested", "request")?)?;
        market.enter(outcome, Deed::Requested { request, account, units });
        asked.push((request, outcome.block.hash));
    }
    market.report.check(
        "the second purchase costs the new price",
        number(&outcomes[0], "CreditsBought", "alpha")? == purchases.second,
    );

    commit_usage(market, parties).await?;
    let mut requests = assign(market, parties, &asked).await?;
    let late = requests.pop();
    let delivered = requests.pop();
    let (Some(late), Some(delivered)) = (late, delivered) else {
        anyhow::bail!("not both requests were assigned");
    };
    Ok(Services { delivered, late })
}

/// The gateway anchors its ledger and says who stores how much.
async fn commit_usage(market: &mut Market<'_>, parties: &Parties) -> anyhow::Result<()> {
    let gateway = &parties.gateway;
    let root = *blake3::hash(b"the ledger's segments").as_bytes();
    let mut usage = [(parties.buyer.id(), BUYER_BYTES), (parties.cardholder.id(), CARDHOLDER_BYTES)];
    usage.sort_unstable();
    let call = Call::commit_usage(&gateway.id, 1, &root, BUYER_BYTES + CARDHOLDER_BYTES, &usage);
    let outcome = market.submit(&gateway.owner, &call).await?;
    for (account, bytes) in usage {
        market.enter(&outcome, Deed::Stores { account, bytes });
    }
    let anchored = outcome.event("Marketplace", "LedgerAnchored");
    let is_anchored = anchored.is_some_and(|event| {
        event.bytes("root") == Some(root.to_vec()) && event.number("applied") == Some(usage.len() as u128)
    });
    market.report.check("the gateway's ledger is anchored, and both clients' usage with it", is_anchored);
    Ok(())
}

/// A node's draw for a request: BLAKE2b-256 over tag, seed, number and node id.
fn draw(seed: &[u8; 32], request: u64, node: &NodeId) -> [u8; 32] {
    let mut hash = Blake2b::<U32>::new();
    for part in [DRAW_TAG, seed, &request.to_le_bytes(), &node.0] {
        hash.update(part);
    }
    hash.finalize().into()
}

/// Two thirds of the validators vote for the compute miner with the least draw, for each of the requests; storage gets
/// dearer at the same time.
async fn assign(
    market: &mut Market<'_>,
    parties: &Parties,
    asked: &[(u64, [u8; 32])],
) -> anyhow::Result<Vec<Request>> {
    let best = |(request, seed): &(u64, [u8; 32])| {
        let draws = parties.workers.iter().map(|worker| draw(seed, *request, &worker.id)).enumerate();
        draws.min_by_key(|(_, draw)| *draw)
    };
    let winners: Vec<(usize, [u8; 32])> = asked.iter().filter_map(best).collect();
    let votes = asked.iter().zip(&winners);
    let votes =
        votes.map(|((request, _), (worker, _))| Call::assign_miner(*request, &parties.workers[*worker].id));
    let votes = Call::batch(votes.collect());
    let validators = parties::validators(market).await?;
    let needed = (validators.len() * 2).div_ceil(3);
    let mut calls: Vec<_> =
        validators.iter().take(needed).map(|voter| (voter.clone(), votes.clone())).collect();
    calls.push((parties.governance.clone(), Call::sudo(Call::set_storage_price(STORAGE_PRICES[1]))));
    let mut outcomes = market.submit_all(calls).await?;
    if let Some(dearer) = outcomes.pop() {
        market.enter(&dearer, Deed::StoragePrice(STORAGE_PRICES[1]));
    }
    // The last vote decides.
    outcomes.sort_unstable_by_key(|outcome| (outcome.block.number, outcome.index));
    let early =
        outcomes.iter().take(needed - 1).any(|vote| vote.event("Marketplace", "MinerAssigned").is_some());
    market.report.check(
        format!("{needed} of {} validators have to agree, fewer assign nobody", validators.len()),
        !early && outcomes.len() == needed,
    );
    for ((request, seed), (worker, draw)) in asked.iter().zip(&winners) {
        let holds = outcomes
            .last()
            .is_some_and(|outcome| assigned(outcome, *request, seed, &parties.workers[*worker], draw));
        market.report.check(
            format!(
                "request {request} goes to the compute miner with the least draw, {}...",
                hex::encode(&draw[..4])
            ),
            holds,
        );
    }
    let requests = asked.iter().zip(&winners);
    Ok(requests.map(|(asked, winner)| Request { id: asked.0, worker: winner.0 }).collect())
}

/// Whether the request was assigned like this.
fn assigned(outcome: &TxOutcome, request: u64, seed: &[u8; 32], worker: &Node, draw: &[u8; 32]) -> bool {
    let event = outcome.events.iter().find(|event| {
        event.is("Marketplace", "MinerAssigned") && event.number("request") == Some(request.into())
    });
    let expected: [(&str, &[u8; 32]); 4] =
        [("node_id", &worker.id.0), ("owner", &worker.owner.id()), ("seed", seed), ("draw", draw)];
    event
        .is_some_and(|event| expected.iter().all(|(field, value)| event.bytes(field) == Some(value.to_vec())))
}

/// Both are accepted, one is delivered and confirmed, the other not.
pub(super) async fn outcomes(
    market: &mut Market<'_>,
    parties: &Parties,
    services: &Services,
) -> anyhow::Result<()> {
    let Services { delivered, late } = services;
    let owner = |request: &Request| parties.workers[request.worker].owner.clone();
    let accept = |request: &Request| (owner(request), Call::accept_request(request.id));
    let accepted = market.submit_all(vec![accept(delivered), accept(late)]).await?;
    let deadline = accepted[1].block.number + DELIVERY_BLOCKS;
    market.report.check(
        "both are accepted by the owners of the miners",
        number(&accepted[1], "RequestAccepted", "deadline")? == u128::from(deadline),
    );
    let result = *blake3::hash(b"what the containers printed").as_bytes();
    market.submit(&owner(delivered), &Call::report_delivery(delivered.id, &result)).await?;
    let paid = market.submit(&parties.buyer, &Call::confirm_delivery(delivered.id)).await?;
    market.enter(&paid, Deed::Paid { request: delivered.id, owner: owner(delivered).id() });
    let alpha = number(&paid, "ServicePaid", "alpha")?;
    market.report.check(
        format!("confirmed, which pays 60 % of {alpha} to the miner's owner"),
        number(&paid, "ServicePaid", "reward")? == alpha * 60 / 100,
    );

    let (block, events) = market.first_with_room(deadline + 1).await?;
    market.entries.push(Entry { block, index: AFTERWARDS, deed: Deed::Refunded { request: late.id } });
    let of_block = |name: &str| {
        let found =
            events.iter().find(|found| found.extrinsic.is_none() && found.event.is("Marketplace", name));
        found.map(|found| &found.event)
    };
    let is_refunded = of_block("ServiceRefunded").is_some_and(|event| {
        event.number("request") == Some(late.id.into()) && event.variant("reason") == Some("NotDelivered")
    });
    market.report.check(
        format!(
            "the late one, due in block {deadline}, is refunded in block {block} without anybody's asking"
        ),
        is_refunded,
    );
    let is_restored =
        of_block("AgreementRestored").is_some_and(|event| is_of(event, &parties.cardholder.id()));
    market
        .report
        .check("that pays what the cardholder owed for storage: its agreement is restored", is_restored);
    Ok(())
}

/// Whether the event is about this account.
pub(super) fn is_of(event: &arion_chain::Event, account: &AccountId) -> bool {
    event.bytes("account") == Some(account.to_vec())
}
