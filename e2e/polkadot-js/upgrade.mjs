// A chain of the first version gets the runtime of this build, and goes on: node upgrade.mjs ws://127.0.0.1:PORT CODE
//
// CODE is the file of the new runtime. Alice, Bob and Charlie validate, Alice is root. Everything before
// the upgrade is done with the calls of the old runtime, as its metadata describes them.
// Last line: `upgrade: P passed, F failed`; exit code 0 only when F is 0.

import { readFile } from 'node:fs/promises';
import { ApiPromise, Keyring, WsProvider } from '@polkadot/api';
import { u8aToHex } from '@polkadot/util';
import { blake2AsHex } from '@polkadot/util-crypto';
import { child, family } from './calls.mjs';
import { HIPP, alice, check, count, must, send } from './wire.mjs';

const DEADLINE_MS = 900_000;
const CODE_KEY = '0x3a636f6465';
const PARAMS = { pgCount: 64, ecK: 10, ecM: 20, familyShardsMax: 2, chooseTries: 500 };

const keyring = new Keyring({ type: 'sr25519' });
const validators = [alice, keyring.addFromUri('//Bob'), keyring.addFromUri('//Charlie')];
const addresses = validators.map(({ address }) => address).sort();

const connect = (provider) => ApiPromise.create({ provider, throwOnConnect: true, noInitWarn: true });
const version = (api) => api.runtimeVersion.specVersion.toNumber();
const sorted = (list) => list.map(String).sort();

// Resolves when `holds` of a header is true.
function until(api, holds, finalised = false) {
  const subscribe = finalised ? api.rpc.chain.subscribeFinalizedHeads : api.rpc.chain.subscribeNewHeads;
  return new Promise((resolve, reject) => {
    let done = false;
    const stop = subscribe(async (header) => {
      try {
        if (done || !(await holds(header))) return;
        done = true;
        (await stop)();
        resolve(header.number.toNumber());
      } catch (error) {
        reject(error);
      }
    });
  });
}

const miner = (owner, { account, node }, uid) => ({
  uid, nodeId: node.publicKey, family: owner.address, weight: 0x10000, endpoint: `127.0.0.1:${uid}`, account,
});

// All three vote for one map; answers what the last vote published.
async function publish(api, epoch, miners) {
  const votes = validators.map((who) => send(api, api.tx.arion.submitCrushMap(epoch, PARAMS, miners), who));
  const outcomes = await Promise.all(votes);
  const published = outcomes.flatMap(({ events }) => events ?? []).filter((e) => api.events.arion.CrushMapPublished.is(e));
  return published.length === 1;
}

// What has to be the same on both sides, as bytes.
async function kept(api, owner, children) {
  const queries = [
    api.query.arion.epochMiners?.(1), api.query.arion.currentEpoch(), api.query.arion.familyChildren(owner.address),
    api.query.balances.holds(owner.address), api.query.registration.ownerNodes?.(owner.address),
    ...children.map(({ account }) => api.query.arion.childRegistrations(account.address)),
    ...children.map(({ node }) => api.query.arion.nodeIdToChild(node.publicKey)),
  ].filter(Boolean);
  return (await Promise.all(queries)).map((answer) => answer.toHex());
}

async function before(url) {
  const api = await connect(new WsProvider(url));
  check(`the chain begins with version ${version(api)}, which has no staking`, version(api) === 1 && !api.query.staking);
  const owner = await family(api);
  const children = [];
  for (let n = 0; n < 3; n += 1) {
    const one = await child(api, owner);
    await must(api, one.register(), owner);
    children.push(one);
  }
  const miners = children.map((one, n) => miner(owner, one, n + 1));
  check('three validators publish the map of epoch 1', await publish(api, 1, miners));
  const held = (await api.query.system.account(owner.address)).data.reserved.toBigInt();
  check(`the family's deposits are held: ${held / HIPP} ALPHA`, held > 0n);
  return { api, owner, children, miners, held, records: await kept(api, owner, children) };
}

async function upgrade(api, code) {
  // What the client makes of the events is not asked: they are the old runtime's, and it goes over to the new one.
  const refused = send(api, api.tx.sudo.sudoUncheckedWeight(api.tx.system.setCode(code), 0), alice)
    .then(() => new Promise(() => {}));
  const newer = until(api, async ({ hash }) => (await api.rpc.state.getRuntimeVersion(hash)).specVersion.toNumber() > 1);
  const first = await Promise.race([newer, refused]);
  const hash = await api.rpc.chain.getBlockHash(first);
  const stored = await api.rpc.state.getStorageHash(CODE_KEY, hash);
  check('root sets the code, and that is the code of the chain', stored.toHex() === blake2AsHex(code));
  console.log(`   block ${first} has it`);
  await api.disconnect();
  return first;
}

async function after(url, first, { owner, children, miners, held, records }) {
  const provider = new WsProvider(url);
  const api = await connect(provider);
  check(`the chain has version ${version(api)} and its metadata decodes`, version(api) > 1 && api.query.staking !== undefined);
  await until(api, ({ number }) => number.toNumber() > first, true);
  check('the upgrade is final', true);

  const now = await kept(api, owner, children);
  check('records of the family, its children, maps and deposits are the same bytes',
    now.length === records.length && now.every((hex, n) => hex === records[n]));
  const reserved = (await api.query.system.account(owner.address)).data.reserved.toBigInt();
  check('the deposits are held as before', reserved === held);
  check('the validators are the same', sorted(await api.query.session.validators()).join() === addresses.join());
  const stakes = await Promise.all(validators.map(({ address }) => api.query.staking.ledger(address)));
  check('each is a candidate with a stake', stakes.every((stake) => stake.isSome && stake.unwrap().active.toBigInt() > 0n));

  const late = await child(api, owner);
  const { events, error } = await send(api, late.register(), owner);
  check(`the family registers a fourth child${error ? `: ${error}` : ''}`,
    events?.some((e) => api.events.arion.ChildRegistered.is(e)));
  const wider = [...miners, miner(owner, late, 4)];
  check('the same three publish the map of epoch 2', await publish(api, 2, wider));
  check('it has four miners', (await api.call.arionApi.currentMap()).unwrap().miners.length === 4);

  // New kinds of keys: the node makes them, the owner sets them.
  const owned = await provider.send('author_rotateKeysWithOwner', [u8aToHex(alice.publicKey)]);
  const set = await send(api, api.tx.session.setKeys(owned.keys, owned.proof), alice);
  check(`Alice's node makes the four keys, she sets them${set.error ? `: ${set.error}` : ''}`, set.error === undefined);

  // The session after next is the first with them.
  const session = (await api.query.session.currentIndex()).toNumber();
  const reached = await until(api, async ({ hash }) =>
    (await (await api.at(hash)).query.session.currentIndex()).toNumber() >= session + 3, true);
  check(`three sessions later, block ${reached} is final`, reached > first);
  check('the validators are still the same', sorted(await api.query.session.validators()).join() === addresses.join());
  const [, queued] = (await api.query.session.queuedKeys()).find(([who]) => who.eq(alice.address));
  check("Alice's new keys are in use", owned.keys === queued.toHex());
  const era = (await api.query.staking.activeEra()).unwrap().index.toNumber();
  check(`era ${era} of staking`, era >= 0);
  const council = (await api.query.council.members()).map(String).sort();
  check('the validators are the council', council.join() === addresses.join());
  await api.disconnect();
}

async function main(url, file) {
  const code = u8aToHex(await readFile(file));
  const { api, ...old } = await before(url);
  const first = await upgrade(api, code);
  await after(url, first, old);
}

const [url, file] = process.argv.slice(2);
if (!file) {
  console.error('usage: node upgrade.mjs ws://HOST:PORT CODE');
  process.exit(2);
}
const overdue = new Promise((_, reject) => {
  setTimeout(() => reject(new Error(`not done within ${DEADLINE_MS / 1000} s`)), DEADLINE_MS).unref();
});
try {
  await Promise.race([main(url, file), overdue]);
} catch (error) {
  check(`story ended early: ${error.message ?? error}`, false);
}
console.log(`upgrade: ${count.passed} passed, ${count.failed} failed`);
process.exit(count.failed === 0 && count.passed > 0 ? 0 : 1);
