// An unmodified polkadot.js client against a running node: node client.mjs ws://127.0.0.1:PORT
//
// Uses nothing but what the node's metadata says: no types are declared here. Registers a storage miner whose key
// is made here, publishes a map when there is none yet, reads the map, and shows that a bad signature is refused.
// Last line: `polkadot-js: P passed, F failed`; exit code 0 only when F is 0.

import { ApiPromise, Keyring, WsProvider } from '@polkadot/api';
import { stringToU8a, u8aConcat, u8aEq, u8aToHex } from '@polkadot/util';
import { blake2AsHex, ed25519PairFromSeed, ed25519Sign, randomAsHex, randomAsU8a } from '@polkadot/util-crypto';

const HIPP = 10n ** 18n;
const DEADLINE_MS = 180_000;
let passed = 0;
let failed = 0;

function check(what, holds) {
  if (holds) passed += 1;
  else failed += 1;
  console.log(`   ${holds ? 'PASS' : 'FAIL'} ${what}`);
}

// Sends an extrinsic; resolves in a block with { events } or with { error: 'pallet.Error' }.
function send(api, extrinsic, signer) {
  return new Promise((resolve, reject) => {
    extrinsic
      .signAndSend(signer, { nonce: -1 }, ({ status, events, dispatchError }) => {
        if (status.isInvalid || status.isDropped || status.isUsurped) {
          reject(new Error(`${extrinsic.method.section}.${extrinsic.method.method} is ${status.type}`));
        }
        if (!status.isInBlock) return;
        if (!dispatchError) return resolve({ events: events.map(({ event }) => event) });
        if (!dispatchError.isModule) return resolve({ error: dispatchError.toString() });
        const { section, name } = api.registry.findMetaError(dispatchError.asModule);
        resolve({ error: `${section}.${name}` });
      })
      .catch(reject);
  });
}

async function must(api, extrinsic, signer) {
  const { error, events } = await send(api, extrinsic, signer);
  if (error) throw new Error(`${extrinsic.method.section}.${extrinsic.method.method}: ${error}`);
  return events;
}

// What the node key signs: tag || genesis || family || child || node id || nonce (u64 LE).
function registrationMessage(genesis, family, child, nodeId, nonce) {
  const nonceBytes = new Uint8Array(8);
  new DataView(nonceBytes.buffer).setBigUint64(0, nonce, true);
  return u8aConcat(stringToU8a('arion/registration/v1'), genesis, family, child, nodeId, nonceBytes);
}

async function registerChild(api, alice) {
  const keyring = new Keyring({ type: 'sr25519' });
  const family = keyring.addFromUri(`${randomAsHex(32)}`);
  const child = keyring.addFromUri(`${randomAsHex(32)}`);
  const node = ed25519PairFromSeed(randomAsU8a(32));
  await must(api, api.tx.balances.transferKeepAlive(family.address, 1_000n * HIPP), alice);
  await must(api, api.tx.registration.registerOwnerNode('Storage'), family);
  await must(api, api.tx.proxy.addProxy(child.address, 'NonTransfer', 0), family);

  const nonce = (await api.query.arion.nodeIdNonce(node.publicKey)).toBigInt();
  const message = registrationMessage(
    api.genesisHash.toU8a(), family.publicKey, child.publicKey, node.publicKey, nonce,
  );
  const signature = ed25519Sign(message, node);
  const register = (bytes) =>
    api.tx.arion.registerChild(family.address, child.address, node.publicKey, bytes);

  const wrong = Uint8Array.from(signature);
  wrong[0] ^= 1;
  const refused = await send(api, register(wrong), family);
  check(`register_child with one bit of the signature changed: ${refused.error}`,
    refused.error === 'arion.InvalidNodeSignature');

  const events = await must(api, register(signature), family);
  const registered = events.find((event) => api.events.arion.ChildRegistered.is(event));
  check('register_child signed in JavaScript: event arion.ChildRegistered', registered !== undefined);
  check(`a family's first child is free: deposit ${registered?.data.deposit}`,
    registered?.data.deposit.toBigInt() === 0n);

  const record = (await api.query.arion.childRegistrations(child.address)).unwrapOr(null);
  check('childRegistrations has the child: active, with its family and node id',
    record !== null && record.status.isActive && record.family.eq(family.address)
      && u8aEq(record.nodeId.toU8a(), node.publicKey));
  const owner = await api.query.arion.nodeIdToChild(node.publicKey);
  check('nodeIdToChild leads back to the child', owner.toString() === child.address);
  return { family, node };
}

async function publishFirstMap(api, alice, { family, node }) {
  const params = { pgCount: 64, ecK: 10, ecM: 20, familyShardsMax: 2, chooseTries: 500 };
  const miner = {
    uid: 1, nodeId: node.publicKey, family: family.address, weight: 0x10000, endpoint: '127.0.0.1:1',
  };
  const events = await must(api, api.tx.arion.submitCrushMap(1, params, [miner]), alice);
  check('submit_crush_map by the only validator: event arion.CrushMapPublished',
    events.some((event) => api.events.arion.CrushMapPublished.is(event)));
}

async function readMap(api) {
  const epoch = await api.query.arion.currentEpoch();
  const params = (await api.query.arion.epochParams(epoch)).unwrap();
  const miners = (await api.query.arion.epochMiners(epoch)).unwrap();
  const root = (await api.query.arion.epochRoot(epoch)).unwrap();
  console.log(`   epoch ${epoch}: ${miners.length} miners, RS(${params.ecK}, ${params.ecM}), root ${root.toHex()}`);
  const [first] = miners;
  console.log(`   first miner: uid ${first.uid}, ${u8aToHex(first.nodeId.toU8a())} at ${first.endpoint.toUtf8()}`);
  check('the map has miners in strictly increasing order of uid',
    miners.length > 0 && miners.every((miner, i) => i === 0 || miner.uid.gt(miners[i - 1].uid)));
  const computed = blake2AsHex(u8aConcat(params.toU8a(), miners.toU8a()));
  check('its root is BLAKE2b-256 over the SCALE encoding of parameters and miners', computed === root.toHex());
}

async function main(url) {
  const api = await ApiPromise.create({ provider: new WsProvider(url), throwOnConnect: true, noInitWarn: true });
  const version = api.runtimeVersion;
  console.log(`   ${await api.rpc.system.chain()}, ${version.specName} ${version.specVersion}, genesis ${api.genesisHash.toHex()}`);
  check(`connected and decoded metadata v${api.runtimeMetadata.version} without declared types`,
    api.tx.arion?.registerChild !== undefined && api.tx.registration?.registerOwnerNode !== undefined);
  const names = ['registerChild', 'deregisterChild', 'claimUnbonded', 'submitCrushMap', 'submitAttestations',
    'registerWarden', 'deregisterWarden', 'submitAttestationCommitment', 'setLockupEnabled', 'setBaseChildDeposit'];
  const missing = names.filter((name) => api.tx.arion[name] === undefined);
  check(`pallet arion has its calls${missing.length ? `; missing ${missing.join(', ')}` : ''}`, missing.length === 0);

  const alice = new Keyring({ type: 'sr25519' }).addFromUri('//Alice');
  const registered = await registerChild(api, alice);
  if ((await api.query.arion.currentEpoch()).toNumber() === 0) await publishFirstMap(api, alice, registered);
  await readMap(api);
  await api.disconnect();
}

const url = process.argv[2];
if (!url) {
  console.error('usage: node client.mjs ws://HOST:PORT');
  process.exit(2);
}
const overdue = new Promise((_, reject) => {
  setTimeout(() => reject(new Error(`not done within ${DEADLINE_MS / 1000} s`)), DEADLINE_MS).unref();
});
try {
  await Promise.race([main(url), overdue]);
} catch (error) {
  check(`story ended early: ${error.message ?? error}`, false);
}
console.log(`polkadot-js: ${passed} passed, ${failed} failed`);
process.exit(failed === 0 && passed > 0 ? 0 : 1);
