// The example of examples/dapp, run as somebody would who copied it, and held against the chain. The file lies beside
// this one when it is run.

import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { createInterface } from 'node:readline';
import { randomAsHex, randomAsU8a } from '@polkadot/util-crypto';
import { u8aToHex } from '@polkadot/util';
import { Keyring } from '@polkadot/api';
import { check, must } from './wire.mjs';

const GIB = 1n << 30n;

// Runs the program; `see` gets each line. Resolves with its lines, what it complained about, and its exit code.
function run(url, gateway, secret, see = () => {}) {
  const program = fileURLToPath(new URL('./dapp.mjs', import.meta.url));
  const child = spawn(process.execPath, [program, url, gateway], { env: { ...process.env, DAPP_SECRET: secret } });
  const lines = [];
  let complaint = '';
  createInterface({ input: child.stdout }).on('line', (line) => { lines.push(line); see(line); });
  child.stderr.on('data', (text) => { complaint += text; });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => resolve({ lines, complaint, code }));
  });
}

async function settled(api, block, line) {
  const records = await (await api.at(await api.rpc.chain.getBlockHash(block))).query.system.events();
  const events = records.map(({ event }) => event);
  const found = events.find((event) => api.events.marketplace.PeriodSettled.is(event));
  const rewards = events.filter((event, i) => records[i].phase.isInitialization && api.events.marketplace.RewardCredited.is(event));
  const { storage, services, miners, network, treasury, carried } = found.data;
  check(`its settlement is the chain's: ${line}`, line === `PeriodSettled storage ${storage} services ${services} `
    + `miners ${miners} network ${network} treasury ${treasury} carried ${carried}`);
  return rewards.map(({ data }) => `block ${block}: RewardCredited ${data.account} ${data.amount}`);
}

/// Once with the gateway of `owner`, which commits what the dApp stores there, and once with one that does not exist.
export async function runDapp(api, url, gateway, owner) {
  const me = new Keyring({ type: 'sr25519' }).addFromUri('//Ferdie').address;
  let commit;
  const see = (line) => {
    if (!line.startsWith('authorized: ')) return;
    commit = must(api, api.tx.marketplace.commitUsage(gateway, 2, randomAsU8a(32), 2n * GIB, [{ account: me, bytes: GIB }]), owner);
  };
  const [done, refused] = await Promise.all([
    run(url, u8aToHex(gateway), '//Ferdie', see),
    run(url, randomAsHex(32), '//Eve'),
  ]);
  await commit;
  for (const line of done.lines) console.log(`   | ${line}`);
  check(`the dApp with an unknown gateway: ${refused.complaint.trim()}`,
    refused.code === 1 && refused.complaint.startsWith('error: marketplace.GatewayNotRegistered: No gateway with this node id'));
  check(`the dApp ends by itself${done.complaint && `: ${done.complaint.trim()}`}`, done.code === 0);
  const has = (what, line) => check(`the dApp ${what}: ${line}`, done.lines.includes(line));
  has('reads the prices', 'prices: 2 ALPHA a credit, 1 credits a GiB-hour');
  has('buys credits', 'bought: 2 credits for 4 ALPHA');
  has('authorizes the gateway', `authorized: ${u8aToHex(gateway)} for ${GIB} bytes`);
  check('the dApp sees its first charge, a block of a GiB', done.lines.some((line) => /^block \d+: StorageCharged 0.000833333333 credits$/.test(line)));
  const usage = done.lines.findLast((line) => line.startsWith('usage: ')) ?? 'nothing';
  check(`the dApp reads what it uses: ${usage}`, /^usage: Active, 1073741824 bytes, charged 0\.\d+ credits, owed 0 credits$/.test(usage));
  const balance = done.lines.findLast((line) => line.startsWith('balance: ')) ?? 'nothing';
  const [, units, backing] = /^balance: (1\.9\d+) credits, behind them (3\.9\d+) ALPHA; they last until block \d+$/.exec(balance) ?? [];
  check(`and what is left: ${balance}`, units !== undefined && Math.abs(Number(units) * 2 - Number(backing)) < 1e-9);
  const last = done.lines.findLast((line) => line.includes('PeriodSettled')) ?? '';
  const [, block, line] = /^block (\d+): (PeriodSettled .*)$/.exec(last) ?? [];
  if (block === undefined) return check('the dApp sees a settlement', false);
  const rewards = await settled(api, Number(block), line);
  return check(`it saw all ${rewards.length} shares of families`, rewards.every((reward) => done.lines.includes(reward)));
}
