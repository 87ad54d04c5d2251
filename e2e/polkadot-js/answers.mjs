// What the runtime answers about maps, miners and audits, computed in wasm: every function of ArionApi, held against
// storage and, for placement, against what the `crush` crate says natively (`crush/vectors/chain.json`, which the crate's
// tests hold it to; the file lies beside this one when it is run).

import { readFile } from 'node:fs/promises';
import { Keyring } from '@polkadot/api';
import { ed25519PairFromSeed, ed25519Sign, randomAsU8a } from '@polkadot/util-crypto';
import { u8aEq } from '@polkadot/util';
import { alice, check, message, must, newAccount, u64 } from './wire.mjs';

const keyring = new Keyring({ type: 'sr25519' });
// Weights come with the end of a bucket of 20 blocks of 3 s.
const WEIGHED_WITHIN_MS = 150_000;

const same = (one, other) => u8aEq(one.toU8a(), other.toU8a());

// A family and all its miners of the vector, in one transaction; their records in a map.
async function family(api, name, miners) {
  const owner = keyring.addFromUri(name);
  const records = [];
  const calls = miners.flatMap(({ uid, weight }) => {
    const account = newAccount();
    const node = ed25519PairFromSeed(randomAsU8a(32));
    const signed = message(api, 'arion/registration/v1', owner.publicKey, account.publicKey, node.publicKey, u64(0));
    records.push({ uid, nodeId: node.publicKey, family: owner.address, weight, endpoint: `127.0.0.1:${4_000 + uid}` });
    return [
      api.tx.proxy.addProxy(account.address, 'NonTransfer', 0),
      api.tx.arion.registerChild(owner.address, account.address, node.publicKey, ed25519Sign(signed, node)),
    ];
  });
  await must(api, api.tx.utility.batchAll([api.tx.registration.registerOwnerNode('Storage'), ...calls]), owner);
  return records;
}

/// Registers the families of the vector; answers what publishes their map as that of an epoch and checks all its
/// placements.
export async function vector(api) {
  const { params, miners, families, groups } = JSON.parse(await readFile(new URL('./chain.json', import.meta.url), 'utf8'));
  const named = Object.entries(families).every(([name, key]) => u8aEq(keyring.addFromUri(name).publicKey, `0x${key}`));
  check("the vector's families are the accounts of their names", named);
  const registered = await Promise.all(
    Object.keys(families).map((name) => family(api, name, miners.filter((miner) => miner.family === name))));
  const records = registered.flat().sort((a, b) => a.uid - b.uid);
  return async (epoch) => {
    await must(api, api.tx.arion.submitCrushMap(epoch, params, records), alice);
    const at = await api.at(await api.rpc.chain.getBlockHash());
    const placed = await Promise.all(groups.map((_, pg) => at.call.arionApi.placement(pg)));
    const right = placed.filter((answer, pg) => answer.isOk && answer.asOk.epoch.toNumber() === epoch
      && answer.asOk.uids.map((uid) => uid.unwrap().toNumber()).join() === groups[pg].join());
    check(`placement: ${right.length} of ${groups.length} groups, computed in wasm, are those of the crush crate`,
      groups.length === params.pgCount && right.length === groups.length);
    const beyond = await Promise.all([groups.length, 2 ** 32 - 1].map((pg) => at.call.arionApi.placement(pg)));
    check('placement of a group that the map has not: NoSuchGroup', beyond.every(({ isErr, asErr }) => isErr && asErr.isNoSuchGroup));
  };
}

/// Before there is a map, and while there is one that cannot place a stripe.
export async function noPlacement(api, reason) {
  const answer = await api.call.arionApi.placement(0);
  check(`placement(0): ${answer.isErr ? answer.asErr.type : answer}`, answer.isErr && answer.asErr.type === reason);
}

async function weighed(api, child) {
  const deadline = Date.now() + WEIGHED_WITHIN_MS;
  while ((await api.query.arion.nodeWeightByChild(child)).isZero() && Date.now() < deadline) {
    await new Promise((resolve) => { setTimeout(resolve, 500); });
  }
}

/// Every function once, in one state, once `child`, of which a validator reported, has its weight. `node` is its node id;
/// `bucket` has an attestation.
export async function answers(api, { family: owner, child, node, bucket }) {
  await weighed(api, child);
  const { query: { arion: stored }, call: { arionApi: asked }, consts: { arion: constants } }
    = await api.at(await api.rpc.chain.getBlockHash());
  const epoch = await stored.currentEpoch();
  const maps = [['current_map', epoch, await asked.currentMap()], ['map_at(1)', 1, await asked.mapAt(1)]];
  for (const [what, number, answer] of maps) {
    const map = answer.unwrap();
    const [params, miners, root] = await Promise.all([stored.epochParams(number), stored.epochMiners(number), stored.epochRoot(number)]);
    check(`${what}: epoch ${map.epoch} with ${map.miners.length} miners, as stored`, map.epoch.eq(number)
      && same(map.params, params.unwrap()) && same(map.miners, miners.unwrap()) && same(map.root, root.unwrap()));
  }
  check('map_at of an epoch that is not: none', (await asked.mapAt(epoch.addn(1))).isNone);

  const record = (await stored.childRegistrations(child)).unwrap();
  const info = (await asked.childByNodeId(node)).unwrap();
  check(`child_by_node_id: ${info.child}, as stored`, info.child.eq(child)
    && ['family', 'nodeId', 'deposit', 'registeredAt'].every((field) => same(info[field], record[field])));
  check('child_by_node_id of no node: none', (await asked.childByNodeId(randomAsU8a(32))).isNone);

  const price = (await asked.nextDeposit()).toBigInt();
  const [last, base] = [(await stored.globalNextDeposit()).toBigInt(), constants.baseChildDeposit.toBigInt()];
  check(`next_deposit: ${price}, twice the last that was paid`, price === last && price > base);

  const weight = (await asked.nodeWeight(child)).unwrap();
  check(`node_weight: ${weight}, as stored`, !weight.isZero() && weight.eq(await stored.nodeWeightByChild(child)));
  const ofFamily = (await asked.familyWeight(owner)).unwrap();
  check(`family_weight: ${ofFamily.weight} of raw ${ofFamily.raw}, as stored`, !ofFamily.raw.isZero()
    && ofFamily.weight.eq(await stored.familyWeight(owner)) && ofFamily.raw.eq(await stored.familyWeightRaw(owner)));
  const nobody = newAccount().address;
  check('node_weight and family_weight of nobody: none',
    (await asked.nodeWeight(nobody)).isNone && (await asked.familyWeight(nobody)).isNone);

  await ranking(stored, asked);
  const attested = await stored.attestationsByBucket(bucket);
  // A structure of polkadot.js is a Map with its own `entries`: the field has another name.
  const page = await asked.attestations(bucket, 0);
  check(`attestations of bucket ${bucket}: ${page.entries_.length}, as stored`,
    attested.length > 0 && same(page.entries_, attested) && page.next.isNone);
  const end = await asked.attestations(bucket, attested.length);
  check('attestations from the end on: none', end.entries_.length === 0 && end.next.isNone);
}

async function ranking(stored, asked) {
  const children = (await stored.childRegistrations.entries()).filter(([, record]) => record.unwrap().status.isActive);
  const ranked = await Promise.all(children.map(async ([key, record]) => {
    const account = key.args[0];
    return { account, family: record.unwrap().family, weight: (await stored.nodeWeightByChild(account)).toNumber() };
  }));
  ranked.sort((a, b) => b.weight - a.weight || (a.account.toHex() < b.account.toHex() ? -1 : 1));
  const page = await asked.ranking(0);
  check(`ranking: ${page.entries_.length} miners by weight, then account`, page.next.isNone
    && page.entries_.length === ranked.length && ranked.length > 1 && page.entries_.every((entry, i) => entry.child.eq(ranked[i].account)
      && entry.family.eq(ranked[i].family) && entry.weight.toNumber() === ranked[i].weight));
}
