// An unmodified polkadot.js client against a running node:
// node client.mjs ws://127.0.0.1:PORT METADATA_HASH built|unbuilt
//
// Uses nothing but what the node's metadata says: no types are declared here. Holds the metadata against what
// pallet-arion promises by name; makes every call of pallet-arion, pallet-registration and pallet-marketplace once rightly
// and once wrongly; asks every function of the runtime APIs; runs the example dApp until revenue is settled; signs as a
// hardware wallet does.
// Last line: `polkadot-js: P passed, F failed`; exit code 0 only when F is 0.

import { ApiPromise, WsProvider } from '@polkadot/api';
import { answers } from './answers.mjs';
import { everyCall } from './calls.mjs';
import { runDapp } from './dapp-run.mjs';
import { deviations } from './interface.mjs';
import { marketplaceCalls } from './marketplace.mjs';
import { wallet } from './wallet.mjs';
import { check, count } from './wire.mjs';

const DEADLINE_MS = 300_000;

async function main(url, hash, built) {
  const api = await ApiPromise.create({ provider: new WsProvider(url), throwOnConnect: true, noInitWarn: true });
  const version = api.runtimeVersion;
  console.log(`   ${await api.rpc.system.chain()}, ${version.specName} ${version.specVersion}, genesis ${api.genesisHash.toHex()}`);
  check(`connected and decoded metadata v${api.runtimeMetadata.version} without declared types`,
    api.tx.arion?.registerChild !== undefined && api.call.marketplaceApi?.balance !== undefined);
  for (const [what, wanted, wrong] of deviations(api)) {
    check(`${wanted} ${what}${wrong.length ? `; ${wrong.join('; ')}` : ''}`, wrong.length === 0);
  }
  await Promise.all([
    everyCall(api).then((registered) => answers(api, registered)),
    marketplaceCalls(api, (gateway, owner) => runDapp(api, url, gateway, owner)),
    wallet(api, hash, built),
  ]);
  await api.disconnect();
}

const [url, hash, built] = process.argv.slice(2);
if (!hash || !['built', 'unbuilt'].includes(built)) {
  console.error('usage: node client.mjs ws://HOST:PORT METADATA_HASH built|unbuilt');
  process.exit(2);
}
const overdue = new Promise((_, reject) => {
  setTimeout(() => reject(new Error(`not done within ${DEADLINE_MS / 1000} s`)), DEADLINE_MS).unref();
});
try {
  await Promise.race([main(url, hash, built === 'built'), overdue]);
} catch (error) {
  check(`story ended early: ${error.message ?? error}`, false);
}
console.log(`polkadot-js: ${count.passed} passed, ${count.failed} failed`);
process.exit(count.failed === 0 && count.passed > 0 ? 0 : 1);
