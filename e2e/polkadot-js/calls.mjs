// Every call of pallet-arion, once as it is meant and once with its most likely mistake. Needs a lone development node:
// Alice is its only validator and root.

import { blake2AsHex, ed25519PairFromSeed, ed25519Sign, randomAsU8a } from '@polkadot/util-crypto';
import { u8aConcat, u8aEq } from '@polkadot/util';
import { noPlacement, vector } from './answers.mjs';
import { HIPP, alice, bothOf, by, check, message, must, newAccount, root, send, u64 } from './wire.mjs';

const both = bothOf('arion');

// Sends a call that has to be refused with this error.
async function wrongly(api, name, error, extrinsic, signer) {
  const refused = await send(api, extrinsic, signer);
  check(`${name}, wrongly: ${refused.error}`, refused.error === error);
}

async function funded(api, funds) {
  const account = newAccount();
  await must(api, api.tx.balances.transferKeepAlive(account.address, funds * HIPP), alice);
  return account;
}

export async function family(api, funds = 1_000n) {
  const account = await funded(api, funds);
  await must(api, api.tx.registration.registerOwnerNode('Storage'), account);
  return account;
}

// A child that its family may register: its account, its key, and the call. With another's key if there is one.
export async function child(api, owner, node = ed25519PairFromSeed(randomAsU8a(32)), isProxy = true) {
  const account = newAccount();
  if (isProxy) await must(api, api.tx.proxy.addProxy(account.address, 'NonTransfer', 0), owner);
  const nonce = (await api.query.arion.nodeIdNonce(node.publicKey)).toBigInt();
  const signed = message(api, 'arion/registration/v1',
    owner.publicKey, account.publicKey, node.publicKey, u64(nonce));
  const signature = ed25519Sign(signed, node);
  return { account, node, register: (bytes = signature) =>
    api.tx.arion.registerChild(owner.address, account.address, node.publicKey, bytes), signature };
}

async function children(api) {
  const owner = await family(api);
  const first = await child(api, owner);
  const flipped = Uint8Array.from(first.signature);
  flipped[0] ^= 1;
  const refused = await send(api, first.register(flipped), owner);
  check(`register_child with one bit of the signature changed: ${refused.error}`,
    refused.error === 'arion.InvalidNodeSignature');
  const registered = await both(api, 'register_child', 'ChildRegistered', 'arion.ChildAlreadyRegistered',
    by(owner, first.register()), by(owner, first.register()));
  check(`a family's first child is free: deposit ${registered?.data.deposit}`,
    registered?.data.deposit.toBigInt() === 0n);
  const record = (await api.query.arion.childRegistrations(first.account.address)).unwrapOr(null);
  check('childRegistrations has the child: active, with its family and node id',
    record !== null && record.status.isActive && record.family.eq(owner.address)
      && u8aEq(record.nodeId.toU8a(), first.node.publicKey));
  const back = await api.query.arion.nodeIdToChild(first.node.publicKey);
  check('nodeIdToChild leads back to the child', back.toString() === first.account.address);
  const best = (await api.rpc.chain.getHeader()).number.toNumber();
  const from = best + api.consts.arion.maintenanceNoticeBlocks.toNumber() + 20;
  const away = api.tx.arion.announceMaintenance(first.account.address, from, from + 10);
  await both(api, 'announce_maintenance', 'MaintenanceAnnounced', 'arion.MaintenanceNotOver', by(owner, away), by(owner, away));
  return { owner, first };
}

// Everything else that somebody who registers a child may have forgotten.
async function mistakes(api, { first }) {
  const [stranger, poor] = await Promise.all([funded(api, 100n), family(api, 50n)]);
  const orphan = await child(api, stranger);
  await wrongly(api, 'register_child', 'arion.FamilyNotRegistered', orphan.register(), stranger);
  const loose = await child(api, poor, undefined, false);
  await wrongly(api, 'register_child', 'arion.ProxyVerificationFailed', loose.register(), poor);
  const taken = await child(api, poor, first.node);
  await wrongly(api, 'register_child', 'arion.NodeIdAlreadyRegistered', taken.register(), poor);
  const [free, second] = [await child(api, poor), await child(api, poor)];
  await must(api, free.register(), poor);
  await wrongly(api, 'register_child', 'arion.InsufficientDeposit', second.register(), poor);
  await must(api, api.tx.arion.deregisterChild(free.account.address), poor);
  await wrongly(api, 'claim_unbonded', 'arion.UnbondingNotOver', api.tx.arion.claimUnbonded(free.account.address), poor);
}

async function leaving(api) {
  const owner = await family(api);
  const { account, register } = await child(api, owner);
  await must(api, register(), owner);
  const early = await send(api, api.tx.arion.claimUnbonded(account.address), owner);
  check(`claim_unbonded of an active child: ${early.error}`, early.error === 'arion.ChildNotUnbonding');
  // With lockup off, unbonding is immediate.
  await both(api, 'set_lockup_enabled', 'LockupEnabledSet', 'BadOrigin',
    root(api, api.tx.arion.setLockupEnabled(false)), by(owner, api.tx.arion.setLockupEnabled(false)));
  await both(api, 'deregister_child', 'ChildDeregistered', 'arion.ChildNotActive',
    by(owner, api.tx.arion.deregisterChild(account.address)), by(owner, api.tx.arion.deregisterChild(account.address)));
  await both(api, 'claim_unbonded', 'ChildUnbonded', 'arion.ChildNotRegistered',
    by(owner, api.tx.arion.claimUnbonded(account.address)), by(owner, api.tx.arion.claimUnbonded(account.address)));
  await wrongly(api, 'register_child', 'arion.ChildInCooldown', register(), owner);
  await must(api, api.tx.sudo.sudo(api.tx.arion.setLockupEnabled(true)), alice);
  const base = api.consts.arion.baseChildDeposit;
  await both(api, 'set_base_child_deposit', 'BaseChildDepositSet', 'BadOrigin',
    root(api, api.tx.arion.setBaseChildDeposit(base)), by(owner, api.tx.arion.setBaseChildDeposit(0)));
}

async function map(api, { owner, first }) {
  const params = { pgCount: 64, ecK: 10, ecM: 20, familyShardsMax: 2, chooseTries: 500 };
  const miner = {
    uid: 1, nodeId: first.node.publicKey, family: owner.address, weight: 0x10000, endpoint: '127.0.0.1:1',
  };
  const submit = (...miners) => api.tx.arion.submitCrushMap(1, params, miners);
  await noPlacement(api, 'NoMap');
  const stranger = { ...miner, uid: 2, nodeId: randomAsU8a(32) };
  await Promise.all([
    wrongly(api, 'submit_crush_map', 'arion.MinerNotRegistered', submit(miner, stranger), alice),
    wrongly(api, 'submit_crush_map', 'arion.MinerListNotSortedOrNotUnique', submit(stranger, miner), alice),
  ]);
  const call = submit(miner);
  await both(api, 'submit_crush_map by the only validator', 'CrushMapPublished', 'arion.EpochRegression',
    by(alice, call), by(alice, call));
  // One miner for thirty shards.
  await noPlacement(api, 'TooFewMiners');
}

async function audits(api) {
  const warden = ed25519PairFromSeed(randomAsU8a(32));
  await both(api, 'register_warden', 'WardenRegistered', 'arion.WardenAlreadyRegistered',
    root(api, api.tx.arion.registerWarden(warden.publicKey)), root(api, api.tx.arion.registerWarden(warden.publicKey)));

  const block = (await api.rpc.chain.getHeader(await api.rpc.chain.getFinalizedHead())).number.toNumber();
  const bucket = Math.floor(block / api.consts.arion.attestationBucketBlocks.toNumber());
  const verdict = { shardHash: randomAsU8a(32), minerUid: 1, result: 'Passed', challengeSeed: randomAsU8a(32),
    blockNumber: block, timestamp: Date.now(), wardenPubkey: warden.publicKey, merkleProofSigHash: randomAsU8a(32),
    wardenId: 'warden' };
  const submit = (attestation) => api.tx.arion.submitAttestations(bucket, [attestation]);
  // The encoding of each field comes from the metadata, by way of the call.
  const signed = (key, said) => {
    const [, [encoded]] = submit({ ...said, wardenPubkey: key.publicKey, signature: new Uint8Array(64) }).args;
    const fields = ['shardHash', 'minerUid', 'result', 'challengeSeed', 'blockNumber', 'timestamp', 'wardenPubkey',
      'merkleProofSigHash', 'wardenId'].map((field) => encoded[field].toU8a());
    const signature = ed25519Sign(message(api, 'arion/attestation/v1', ...fields), key);
    return { ...said, wardenPubkey: key.publicKey, signature };
  };
  const good = signed(warden, verdict);
  await both(api, 'submit_attestations, signed in JavaScript', 'AttestationsSubmitted', 'arion.DuplicateAttestation',
    by(alice, submit(good)), by(alice, submit(good)));
  const unknown = await send(api, submit({ ...good, wardenPubkey: randomAsU8a(32) }), alice);
  check(`submit_attestations of no warden: ${unknown.error}`, unknown.error === 'arion.UnregisteredWarden');
  const forged = await send(api, submit({ ...good, result: 'Failed', blockNumber: block - 1 }), alice);
  check(`an attestation with one bit changed: ${forged.error}`, forged.error === 'arion.InvalidAttestationSignature');

  const commit = (epoch) => api.tx.arion.submitAttestationCommitment(
    epoch, randomAsU8a(32), randomAsU8a(32), randomAsU8a(32), 1);
  await both(api, 'submit_attestation_commitment', 'AttestationCommitmentSubmitted', 'arion.CommitmentAlreadyExists',
    by(alice, commit(1)), by(alice, commit(1)));

  const liar = ed25519PairFromSeed(randomAsU8a(32));
  await must(api, api.tx.sudo.sudo(api.tx.arion.registerWarden(liar.publicKey)), alice);
  const [yes, no] = ['Passed', 'Failed'].map((result) => signed(liar, { ...verdict, result }));
  await wrongly(api, 'report_conflicting_attestations', 'arion.SameVerdict',
    api.tx.arion.reportConflictingAttestations(yes, yes), alice);
  await both(api, 'report_conflicting_attestations', 'ConflictingAttestationsReported', 'arion.ConflictAlreadyReported',
    by(alice, api.tx.arion.reportConflictingAttestations(yes, no)), by(alice, api.tx.arion.reportConflictingAttestations(no, yes)));
  check('the warden that contradicted itself is none any more', (await api.query.arion.registeredWardens(liar.publicKey)).isNone);

  await both(api, 'deregister_warden', 'WardenDeregistered', 'arion.UnregisteredWarden',
    root(api, api.tx.arion.deregisterWarden(warden.publicKey)),
    root(api, api.tx.arion.deregisterWarden(warden.publicKey)));
  return bucket;
}

// The weight bucket of the next block, at least three blocks before its end.
async function openBucket(api) {
  const length = api.consts.arion.weightBucketBlocks.toNumber();
  for (;;) {
    const next = (await api.rpc.chain.getHeader()).number.toNumber() + 1;
    if (next % length < length - 3) return Math.floor(next / length);
    await new Promise((resolve) => { setTimeout(resolve, 500); });
  }
}

async function reports(api, { first }) {
  const quality = { shardDataBytes: 1n << 40n, bandwidthBytes: 1n << 30n, uptimePermille: 1_000, strikes: 0, integrityFails: 0 };
  const report = api.tx.arion.submitNodeQuality(await openBucket(api), [[first.account.address, quality]]);
  await both(api, 'submit_node_quality by a validator', 'NodeQualityReported', 'arion.AlreadyReported',
    by(alice, report), by(alice, report));

  const bucket = await openBucket(api);
  const stats = { child: first.account.address, shardCount: 1, shardDataBytes: 1_000, lastSeenMs: Date.now() };
  const totals = { miners: 1, shardCount: 1, shardDataBytes: 1_000, capacityBytes: 2_000 };
  await both(api, 'submit_miner_stats', 'MinerStatsUpdated', 'arion.EmptyReport',
    by(alice, api.tx.arion.submitMinerStats(bucket, [stats], totals)),
    by(alice, api.tx.arion.submitMinerStats(bucket, [], null)));
  const stored = await api.query.arion.minerStats(first.account.address);
  check('minerStats has what was submitted', stored.isSome && stored.unwrap().shardCount.toNumber() === 1);
}

async function readMap(api) {
  const epoch = await api.query.arion.currentEpoch();
  const params = (await api.query.arion.epochParams(epoch)).unwrap();
  const miners = (await api.query.arion.epochMiners(epoch)).unwrap();
  const root = (await api.query.arion.epochRoot(epoch)).unwrap();
  console.log(`   epoch ${epoch}: ${miners.length} miners, RS(${params.ecK}, ${params.ecM}), root ${root.toHex()}`);
  check('the map has miners in strictly increasing order of uid',
    miners.length > 0 && miners.every((miner, i) => i === 0 || miner.uid.gt(miners[i - 1].uid)));
  const computed = blake2AsHex(u8aConcat(params.toU8a(), miners.toU8a()));
  check('its root is BLAKE2b-256 over the SCALE encoding of parameters and miners', computed === root.toHex());
}

/// All of them, in an order in which each can succeed. Resolves with a child that validators reported, and the bucket of an
/// attestation.
export async function everyCall(api) {
  const [registered, publish] = await Promise.all([children(api), vector(api)]);
  const [bucket] = await Promise.all([
    map(api, registered).then(() => readMap(api)).then(() => audits(api)),
    leaving(api).then(() => mistakes(api, registered)),
  ]);
  await Promise.all([publish(2), reports(api, registered)]);
  const { owner, first } = registered;
  return { family: owner.address, child: first.account.address, node: first.node.publicKey, bucket };
}
