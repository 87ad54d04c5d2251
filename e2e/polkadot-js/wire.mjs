// Checks, and extrinsics whose outcome comes back by name. Whoever sends several at once gets them into one block.

import { stringToU8a, u8aConcat } from '@polkadot/util';

export const HIPP = 10n ** 18n;

export const count = { passed: 0, failed: 0 };

export function check(what, holds) {
  if (holds) count.passed += 1;
  else count.failed += 1;
  console.log(`   ${holds ? 'PASS' : 'FAIL'} ${what}`);
}

const nonces = new Map();

// The next nonce of an account: asked once, then counted here, so that nothing waits for a block.
async function nextNonce(api, address) {
  if (!nonces.has(address)) nonces.set(address, api.rpc.system.accountNextIndex(address).then((n) => n.toNumber()));
  const nonce = nonces.get(address);
  nonces.set(address, nonce.then((n) => n + 1));
  return nonce;
}

function named(api, error) {
  if (!error.isModule) return error.isBadOrigin ? 'BadOrigin' : error.toString();
  const { section, name } = api.registry.findMetaError(error.asModule);
  return `${section}.${name}`;
}

// Sends an extrinsic; resolves in a block with { events } or with { error: 'pallet.Error' }.
export async function send(api, extrinsic, signer) {
  const nonce = await nextNonce(api, signer.address);
  return new Promise((resolve, reject) => {
    extrinsic
      .signAndSend(signer, { nonce }, ({ status, events, dispatchError }) => {
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

// A signed message: tag || genesis || SCALE of the fields.
export function message(api, tag, ...fields) {
  return u8aConcat(stringToU8a(tag), api.genesisHash.toU8a(), ...fields);
}

export function u64(value) {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value), true);
  return bytes;
}
