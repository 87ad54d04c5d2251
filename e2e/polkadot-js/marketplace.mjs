// Every call of pallet-marketplace, once as it is meant and once with its most likely mistake, and what the runtime
// answers in between. Needs a lone development node: Alice is its only validator and root.

import { randomAsU8a } from '@polkadot/util-crypto';
import { u8aEq } from '@polkadot/util';
import { registrations } from './registration.mjs';
import { HIPP, alice, bothOf, by, check, must, newAccount, root, send } from './wire.mjs';

const both = bothOf('marketplace');

const CREDIT = 10n ** 12n;
const GIB = 1n << 30n;
const CREDIT_PRICE = 2n * HIPP;
// A service with time to deliver, and one whose time is over at once.
const [SERVICE, HASTY] = [1, 2];
const PIECE = 3n * CREDIT;
const ALL = (1n << 128n) - 1n;
// So many that the chain, which looks at a few in each block, does not get to a late one before its client.
const BYSTANDERS = 32;

async function setUp(api) {
  const names = ['client', 'stranger', 'authority', 'gateway', 'worker', 'leaver'];
  const accounts = names.map(newAccount);
  await must(api, api.tx.utility.batchAll(
    accounts.map(({ address }) => api.tx.balances.transferKeepAlive(address, 2_000n * HIPP))), alice);
  return Object.fromEntries(names.map((name, i) => [name, accounts[i]]));
}

const terms = (name, deliveryBlocks) => ({ kind: 'Container', name, price: PIECE, deliveryBlocks });

async function governance(api, { authority, stranger }) {
  const { setCreditPrice, setStoragePrice, setService, addPaymentAuthority } = api.tx.marketplace;
  await Promise.all([
    both(api, 'set_credit_price', 'CreditPriceSet', 'BadOrigin',
      root(api, setCreditPrice(CREDIT_PRICE)), by(stranger, setCreditPrice(CREDIT_PRICE))),
    both(api, 'set_storage_price', 'StoragePriceSet', 'marketplace.PriceOutOfRange',
      root(api, setStoragePrice(CREDIT)), root(api, setStoragePrice(1_001n * CREDIT))),
    both(api, 'set_service', 'ServiceSet', 'marketplace.InvalidServiceTerms',
      root(api, setService(SERVICE, terms('container', 50))), root(api, setService(SERVICE, terms('', 50)))),
    must(api, api.tx.sudo.sudo(setService(HASTY, terms('hasty', 1))), alice),
    both(api, 'add_payment_authority', 'PaymentAuthorityAdded', 'marketplace.AuthorityAlreadyAdded',
      root(api, addPaymentAuthority(authority.address)), root(api, addPaymentAuthority(authority.address))),
  ]);
}

async function credits(api, { client, authority }) {
  const { buyCredits, refundCredits, creditPayment, refundPayment, removePaymentAuthority } = api.tx.marketplace;
  const units = 40n * CREDIT;
  const price = (await api.call.marketplaceApi.quote(units)).unwrap().toBigInt();
  check('quote: 40 credits at 2 ALPHA cost 80 ALPHA', price === 80n * HIPP);
  const payment = (id) => creditPayment(id, 'Fiat', client.address, 10n * CREDIT, ALL);
  const [bought, , credited] = await Promise.all([
    both(api, 'buy_credits', 'CreditsBought', 'marketplace.PriceAboveLimit',
      by(client, buyCredits(client.address, units, price)), by(client, buyCredits(client.address, units, price - 1n))),
    both(api, 'refund_credits', 'CreditsRefunded', 'marketplace.NotEnoughCredits',
      by(client, refundCredits(CREDIT)), by(client, refundCredits(units))),
    both(api, 'credit_payment', 'PaymentCredited', 'marketplace.PaymentAlreadyCredited',
      by(authority, payment('invoice 1')), by(authority, payment('invoice 1'))),
    both(api, 'refund_payment', 'PaymentRefunded', 'marketplace.RefundExceedsPayment',
      by(authority, refundPayment('invoice 1', 4n * CREDIT)), by(authority, refundPayment('invoice 1', 7n * CREDIT))),
  ]);
  check('the events say what was deposited: 80 and 20 ALPHA',
    bought?.data.alpha.toBigInt() === price && credited?.data.alpha.toBigInt() === 20n * HIPP);
  await both(api, 'remove_payment_authority', 'PaymentAuthorityRemoved', 'marketplace.NotPaymentAuthority',
    root(api, removePaymentAuthority(authority.address)), root(api, removePaymentAuthority(authority.address)));
  const { available, granted, backing } = await api.call.marketplaceApi.balance(client.address);
  check(`balance: ${available} units, of them ${granted} granted, behind them ${backing}`,
    available.toBigInt() === 45n * CREDIT && granted.toBigInt() === 6n * CREDIT && backing.toBigInt() === 90n * HIPP);
}

// Requests of both services, by number, and bystanders.
async function requests(api, { client }) {
  const { requestService } = api.tx.marketplace;
  const ask = (service) => requestService(service, 1, randomAsU8a(32), PIECE);
  const [requested, ...others] = await Promise.all([
    both(api, 'request_service', 'ServiceRequested', 'marketplace.ServiceNotOffered', by(client, ask(SERVICE)), by(client, ask(99))),
    ...[SERVICE, SERVICE, HASTY].map((service) => must(api, ask(service), client)),
  ]);
  const number = (event) => event.data.request.toNumber();
  const asked = others.map((events) => number(events.find((e) => api.events.marketplace.ServiceRequested.is(e))));
  const [paid, disputed, cancelled, hasty] = [number(requested), ...asked];
  return { paid, disputed, cancelled, hasty };
}

async function bystanders(api, { stranger }) {
  const { buyCredits, requestService } = api.tx.marketplace;
  const units = BigInt(BYSTANDERS) * PIECE;
  await must(api, api.tx.utility.batchAll([
    buyCredits(stranger.address, units, ALL),
    ...Array.from({ length: BYSTANDERS }, () => requestService(SERVICE, 1, randomAsU8a(32), PIECE)),
  ]), stranger);
}

async function storage(api, { client, gateway }, [first, second]) {
  const { authorizeGateway, commitUsage } = api.tx.marketplace;
  await Promise.all([
    both(api, 'authorize_gateway', 'GatewayAuthorized', 'marketplace.GatewayNotRegistered',
      by(client, authorizeGateway(first, GIB)), by(client, authorizeGateway(randomAsU8a(32), GIB))),
    must(api, authorizeGateway(second, GIB), client),
  ]);
  const ledger = randomAsU8a(32);
  const commit = (id) => commitUsage(id, 1, ledger, GIB, [{ account: client.address, bytes: GIB }]);
  await Promise.all([
    both(api, 'commit_usage', 'LedgerAnchored', 'marketplace.SequenceNotIncreasing',
      by(gateway, commit(first)), by(gateway, commit(first))),
    must(api, commit(second), gateway),
  ]);
  const { anchor } = (await api.query.marketplace.ledgers(first)).unwrap();
  check('ledgers has the root', u8aEq(anchor.root.toU8a(), ledger) && anchor.sequence.toNumber() === 1);
  const using = (await api.call.marketplaceApi.agreement(client.address)).unwrap();
  const lasts = (await api.call.marketplaceApi.burnDown(client.address)).unwrap().toNumber();
  check(`agreement: ${using.status.type}, ${using.bytes} bytes at ${using.gateways.length} gateways, credits until block ${lasts}`,
    using.status.isActive && using.bytes.toBigInt() === 2n * GIB && lasts > 0);
}

async function endOfStorage(api, { client, gateway, stranger }, [first, second]) {
  const { revokeGateway, dropGateway, poke } = api.tx.marketplace;
  await both(api, 'poke', 'StorageCharged', 'marketplace.AgreementNotFound',
    by(stranger, poke(client.address)), by(stranger, poke(stranger.address)));
  const drop = dropGateway(client.address, second);
  await Promise.all([
    both(api, 'revoke_gateway', 'GatewayRevoked', 'marketplace.GatewayNotAuthorized',
      by(client, revokeGateway(first)), by(client, revokeGateway(first))),
    // The owner takes the second from the network between two attempts to drop it.
    send(api, drop, gateway).then(({ error }) => check(
      `drop_gateway, wrongly: ${error}`, error === 'marketplace.GatewayStillRegistered')),
    must(api, api.tx.registration.deregisterNode(second), gateway),
    send(api, drop, gateway).then(({ error, events }) => check(
      `drop_gateway: event marketplace.GatewayRevoked${error ? `, got ${error}` : ''}`,
      events?.some((e) => api.events.marketplace.GatewayRevoked.is(e)) === true)),
  ]);
}

async function services(api, { client, stranger, worker }, miner, { paid, disputed, cancelled, hasty }) {
  const { assignMiner, acceptRequest, reportDelivery, confirmDelivery, disputeDelivery, resolveDispute, cancelRequest, claim }
    = api.tx.marketplace;
  // The seed of the draws is the hash of the requests' block, known in the next one.
  const order = (await api.call.marketplaceApi.assignmentOrder(paid, [miner])).unwrap();
  const [assigned] = await Promise.all([
    both(api, 'assign_miner by the only validator', 'MinerAssigned', 'marketplace.NotServiceNode',
      by(alice, assignMiner(paid, miner)), by(alice, assignMiner(disputed, randomAsU8a(32)))),
    must(api, assignMiner(disputed, miner), alice),
    must(api, assignMiner(hasty, miner), alice),
    both(api, 'cancel_request', 'ServiceRefunded', 'marketplace.WrongRequestStatus',
      by(client, cancelRequest(cancelled)), by(client, cancelRequest(cancelled))),
  ]);
  check('the assignment records seed and draw, as assignment_order told them',
    assigned !== undefined && assigned.data.seed.eq(order.seed) && assigned.data.draw.eq(order.nodes[0][1]));

  await Promise.all([
    both(api, 'accept_request', 'RequestAccepted', 'marketplace.WrongRequestStatus',
      by(worker, acceptRequest(paid)), by(worker, acceptRequest(paid))),
    must(api, acceptRequest(disputed), worker),
    must(api, acceptRequest(hasty), worker),
    both(api, 'report_delivery', 'ServiceDelivered', 'marketplace.WrongRequestStatus',
      by(worker, reportDelivery(paid, randomAsU8a(32))), by(worker, reportDelivery(paid, randomAsU8a(32)))),
    must(api, reportDelivery(disputed, randomAsU8a(32)), worker),
  ]);
  await Promise.all([
    late(api, stranger, hasty),
    both(api, 'confirm_delivery', 'ServicePaid', 'marketplace.NotClient',
      by(client, confirmDelivery(paid)), by(worker, confirmDelivery(paid))),
    both(api, 'dispute_delivery', 'DeliveryDisputed', 'marketplace.WrongRequestStatus',
      by(client, disputeDelivery(disputed)), by(client, disputeDelivery(disputed))),
  ]);
  await both(api, 'resolve_dispute by the only validator', 'ServiceRefunded', 'BadOrigin',
    by(alice, resolveDispute(disputed, false)), by(client, resolveDispute(disputed, true)));
  const due = (await api.call.marketplaceApi.claimable(worker.address)).toBigInt();
  const rewarded = await both(api, 'claim', 'RewardClaimed', 'marketplace.NothingToClaim',
    by(client, claim(worker.address)), by(client, claim(worker.address)));
  check(`the miner's owner was paid 60 % of the service: ${rewarded?.data.amount}`,
    due > 0n && rewarded?.data.amount.toBigInt() === due);
  const request = (await api.call.marketplaceApi.serviceRequest(paid)).unwrap();
  check(`service_request: ${request.status.type}`, request.status.isPaid && u8aEq(request.assignment.unwrap().nodeId.toU8a(), miner));
}

// Asks for the refund of a request with every new block, from before its deadline on: refused until it is over, then
// done once.
async function late(api, signer, request) {
  const asked = [];
  const stop = await api.rpc.chain.subscribeNewHeads(() => {
    asked.push(send(api, api.tx.marketplace.pokeRequest(request), signer));
  });
  const over = async () => (await api.query.marketplace.requests(request)).unwrap().status.isRefunded;
  while (!await over()) await new Promise((resolve) => { setTimeout(resolve, 250); });
  stop();
  const outcomes = await Promise.all(asked);
  const refunded = outcomes.filter(({ events }) => events?.some((e) => api.events.marketplace.ServiceRefunded.is(e)));
  check('poke_request: event marketplace.ServiceRefunded', refunded.length === 1);
  const refused = outcomes.filter(({ error }) => error);
  check(`poke_request, wrongly: ${refused[0]?.error}`,
    refused.length > 0 && refused.every(({ error }) => error === 'marketplace.DeadlineNotPassed'));
}

/// All of them, in an order in which each can succeed. `use(gateway, owner)` is called when prices are set and a gateway
/// is registered, whose ledger is `owner`'s to commit from then on; its result is awaited with the rest.
export async function marketplaceCalls(api, use) {
  const who = await setUp(api);
  const [{ gateways, miner }] = await Promise.all([registrations(api, who), governance(api, who)]);
  await credits(api, who);
  const [asked] = await Promise.all([requests(api, who), bystanders(api, who), storage(api, who, gateways)]);
  await Promise.all([
    use(gateways[0], who.gateway),
    endOfStorage(api, who, gateways),
    services(api, who, miner, asked),
  ]);
}
