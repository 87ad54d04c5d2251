// Checks, and extrinsics whose outcome comes back by name. Whoever sends several at once gets them into one block.

import { Keyring } from '@polkadot/api';
import { randomAsHex } from '@polkadot/util-crypto';
import { stringToU8a, u8aConcat } from '@polkadot/util';

export const HIPP = 10n ** 18n;

const keyring = new Keyring({ type: 'sr25519' });
export const alice = keyring.addFromUri('//Alice');
export const newAccount = () => keyring.addFromUri(randomAsHex(32));

export const count = { passed: 0, failed: 0 };

export function check(what, holds) {
  if (holds) count.passed += 1;
  else count.failed += 1;
  console.log(`   ${holds ? 'PASS' : 'FAIL'} ${what}`);
}

// By account: its next nonce, as soon as the node's pool has the extrinsic before. Waiting for that, but for no block, keeps
// the order; an extrinsic that overtakes another may be lost.
const turns = new Map();

function named(api, error) {
  if (!error.isModule) return error.isBadOrigin ? 'BadOrigin' : error.toString();
  const { section, name } = api.registry.findMetaError(error.asModule);
  return `${section}.${name}`;
}

// Sends an extrinsic; resolves in a block with { events } or with { error: 'pallet.Error' }. Extrinsics of an account are
// carried out in the order in which they are sent.
export async function send(api, extrinsic, signer) {
  const { address } = signer;
  const turn = turns.get(address) ?? api.rpc.system.accountNextIndex(address).then((n) => n.toNumber());
  let taken;
  turns.set(address, new Promise((resolve) => { taken = resolve; }));
  const nonce = await turn;
  return new Promise((resolve, reject) => {
    extrinsic
      .signAndSend(signer, { nonce }, ({ status, events, dispatchError }) => {
        taken(nonce + 1);
        if (status.isInvalid || status.isDropped || status.isUsurped) {
          reject(new Error(`${extrinsic.method.section}.${extrinsic.method.method} is ${status.type}`));
        }
        if (!status.isInBlock) return;
        if (dispatchError) return resolve({ error: named(api, dispatchError) });
        // What root was asked for may have failed although asking succeeded.
        const asked = events.find(({ event }) => api.events.sudo?.Sudid.is(event));
        const outcome = asked?.event.data[0];
        if (outcome?.isErr) return resolve({ error: named(api, outcome.asErr) });
        return resolve({ events: events.map(({ event }) => event) });
      })
      .catch(reject);
  });
}

export async function must(api, extrinsic, signer) {
  const { error, events } = await send(api, extrinsic, signer);
  if (error) throw new Error(`${extrinsic.method.section}.${extrinsic.method.method}: ${error}`);
  return events;
}

// Who makes a call: an account, or root by way of Alice.
export const by = (signer, call) => ({ call, signer });
export const root = (api, call) => ({ call: api.tx.sudo.sudo(call), signer: alice });

// For a pallet: sends a call as it is meant and with its most likely mistake, and holds what happened against an event
// and an error by name. Of one signer both are sent at once and carried out in this order. Resolves with the event.
export const bothOf = (pallet) => async (api, name, event, error, good, bad) => {
  const first = send(api, good.call, good.signer);
  if (good.signer !== bad.signer) await first;
  const [done, refused] = await Promise.all([first, send(api, bad.call, bad.signer)]);
  const seen = done.events?.find((e) => api.events[pallet][event].is(e));
  check(`${name}: event ${pallet}.${event}${done.error ? `, got ${done.error}` : ''}`, seen !== undefined);
  check(`${name}, wrongly: ${refused.error}`, refused.error === error);
  return seen;
};

// A signed message: tag || genesis || SCALE of the fields.
export function message(api, tag, ...fields) {
  return u8aConcat(stringToU8a(tag), api.genesisHash.toU8a(), ...fields);
}

export function u64(value) {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value), true);
  return bytes;
}
