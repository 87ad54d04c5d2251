// A dApp on Arion's marketplace: it buys credits, lets a gateway bill it for storage, reads what it uses and how long
// its credits last, and watches the chain until what it paid is paid out.
//
//     npm install @polkadot/api
//     DAPP_SECRET=//Ferdie node dapp.mjs ws://127.0.0.1:21000 GATEWAY_NODE_ID [GIB]
//
// Nothing here declares types: calls, events, errors and the runtime API all come from the chain's metadata.
// Amounts are bigint: ALPHA has 18 decimals, a credit 12. docs/use/dapp.md explains each step.

import { ApiPromise, Keyring, WsProvider } from '@polkadot/api';
import { pathToFileURL } from 'node:url';

const ALPHA_DECIMALS = 18;
const CREDIT_DECIMALS = 12;
const CREDIT = 10n ** 12n;
const GIB = 1n << 30n;

// The chain understood the transaction and refused it. `name` is `pallet.Error`; the message says why and what to do,
// in the words of the pallet.
export class Refused extends Error {
  constructor(api, dispatchError) {
    const { section, name, docs } = dispatchError.isModule
      ? api.registry.findMetaError(dispatchError.asModule)
      : { section: 'system', name: dispatchError.type, docs: [] };
    super(`${section}.${name}: ${docs.map((line) => line.trim()).join(' ')}`);
    this.name = `${section}.${name}`;
  }
}

// Signs and sends a transaction; resolves with its events when its block is final, so that nothing can undo it.
export function send(api, transaction, signer) {
  return new Promise((resolve, reject) => {
    transaction
      .signAndSend(signer, ({ status, events, dispatchError, isError }) => {
        if (isError) reject(new Error(`the node gave the transaction up: ${status.type}`));
        if (!status.isFinalized) return;
        if (dispatchError) reject(new Refused(api, dispatchError));
        else resolve(events.map(({ event }) => event));
      })
      .catch(reject);
  });
}

// The data of the first event of this kind, as in `eventOf(events, api.events.marketplace.CreditsBought)`.
function eventOf(events, kind) {
  const found = events.find((event) => kind.is(event));
  if (!found) throw new Error(`the transaction has no event ${kind.meta.name}`);
  return found.data;
}

// Buys `units` of credit for the signer, at the price of now or not at all.
export async function buyCredits(api, signer, units) {
  const price = (await api.call.marketplaceApi.quote(units)).unwrapOr(null);
  if (price === null) throw new Error(`${units} units are more than can be bought`);
  const events = await send(api, api.tx.marketplace.buyCredits(signer.address, units, price), signer);
  return eventOf(events, api.events.marketplace.CreditsBought).alpha.toBigInt();
}

// Lets a gateway bill the signer for up to `bytes`. The chain asks for some time's worth of credits.
export async function authorizeGateway(api, signer, gateway, bytes) {
  const events = await send(api, api.tx.marketplace.authorizeGateway(gateway, bytes), signer);
  return eventOf(events, api.events.marketplace.GatewayAuthorized).bytesMax.toBigInt();
}

// What an account has and uses, as of the newest block: all three answers are of the same one.
export async function usage(api, account) {
  const { marketplaceApi } = (await api.at(await api.rpc.chain.getBlockHash())).call;
  const [balance, agreement, burnDown] = await Promise.all([
    marketplaceApi.balance(account),
    marketplaceApi.agreement(account),
    marketplaceApi.burnDown(account),
  ]);
  return {
    available: balance.available.toBigInt(),
    backing: balance.backing.toBigInt(),
    debt: balance.debt.toBigInt(),
    // Without an agreement nothing is stored.
    status: agreement.isSome ? agreement.unwrap().status.type : 'None',
    bytes: agreement.isSome ? agreement.unwrap().bytes.toBigInt() : 0n,
    charged: agreement.isSome ? agreement.unwrap().charged.toBigInt() : 0n,
    // The first block in which the credits do not suffice; null if they last for good.
    emptyAt: burnDown.isSome ? burnDown.unwrap().toNumber() : null,
  };
}

// Calls `see({ block, name, data })` for every event of the marketplace in every final block, in order; stops when it
// answers true.
export async function watch(api, see) {
  await new Promise((resolve, reject) => {
    let work = Promise.resolve(false);
    let unsubscribe = () => {};
    const look = async ({ hash, number }) => {
      const records = await (await api.at(hash)).query.system.events();
      for (const { event } of records) {
        if (event.section !== 'marketplace') continue;
        if (await see({ block: number.toNumber(), name: event.method, data: event.data })) return true;
      }
      return false;
    };
    // The derived subscription has every block, even when several become final at once.
    api.derive.chain
      .subscribeFinalizedHeads((header) => {
        work = work.then((done) => done || look(header));
        work.then((done) => done && (unsubscribe(), resolve()), reject);
      })
      .then((stop) => { unsubscribe = stop; }, reject);
  });
}

// `1234500000000` units are `1.2345` credits.
export function decimal(amount, decimals) {
  const digits = amount.toString().padStart(decimals + 1, '0');
  const fraction = digits.slice(-decimals).replace(/0+$/, '');
  return digits.slice(0, -decimals) + (fraction && `.${fraction}`);
}

const credits = (units) => `${decimal(units, CREDIT_DECIMALS)} credits`;
const alpha = (amount) => `${decimal(amount, ALPHA_DECIMALS)} ALPHA`;

async function show(api, account) {
  const { available, backing, status, bytes, charged, debt, emptyAt } = await usage(api, account);
  const lasts = emptyAt === null ? 'they last for good' : `they last until block ${emptyAt}`;
  console.log(`usage: ${status}, ${bytes} bytes, charged ${credits(charged)}, owed ${credits(debt)}`);
  console.log(`balance: ${credits(available)}, behind them ${alpha(backing)}; ${lasts}`);
}

async function main(url, gateway, gib) {
  const api = await ApiPromise.create({ provider: new WsProvider(url), throwOnConnect: true, noInitWarn: true });
  const me = new Keyring({ type: 'sr25519' }).addFromUri(process.env.DAPP_SECRET ?? '//Ferdie');
  const prices = await api.call.marketplaceApi.prices();
  console.log(`connected to ${await api.rpc.system.chain()} as ${me.address}`);
  console.log(`prices: ${alpha(prices.credit.toBigInt())} a credit, ${credits(prices.storage.toBigInt())} a GiB-hour`);

  // An hour of what is to be stored, and a credit.
  const units = prices.storage.toBigInt() * gib + CREDIT;
  console.log(`bought: ${credits(units)} for ${alpha(await buyCredits(api, me, units))}`);
  const bytes = await authorizeGateway(api, me, gateway, gib * GIB);
  console.log(`authorized: ${gateway} for ${bytes} bytes`);
  await show(api, me.address);
  const settlement = await api.call.marketplaceApi.nextSettlement();
  console.log(`settlement: block ${settlement.block}`);

  let charged = false;
  await watch(api, async ({ block, name, data }) => {
    if (data.account?.eq(me.address) && name !== 'RewardCredited') {
      // Every block has a charge; one line says that it began.
      if (name !== 'StorageCharged') console.log(`block ${block}: ${name}`);
      else if (!charged) console.log(`block ${block}: StorageCharged ${credits(data.credits.toBigInt())}`);
      charged ||= name === 'StorageCharged';
    }
    // What is paid out: to families of miners, in shares by weight, then the whole.
    if (name === 'RewardCredited') console.log(`block ${block}: RewardCredited ${data.account} ${data.amount}`);
    if (name !== 'PeriodSettled') return false;
    const { storage, services, miners, network, treasury, carried } = data;
    console.log(`block ${block}: PeriodSettled storage ${storage} services ${services} `
      + `miners ${miners} network ${network} treasury ${treasury} carried ${carried}`);
    return charged;
  });
  await show(api, me.address);
  await api.disconnect();
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [url, gateway, gib = '1'] = process.argv.slice(2);
  if (!url || !/^0x[0-9a-f]{64}$/i.test(gateway ?? '') || !/^[1-9][0-9]*$/.test(gib)) {
    console.error('usage: node dapp.mjs ws://HOST:PORT 0xGATEWAY_NODE_ID [GIB]');
    process.exit(2);
  }
  try {
    await main(url, gateway, BigInt(gib));
    process.exit(0);
  } catch (error) {
    console.error(`error: ${error.message}`);
    process.exit(1);
  }
}
