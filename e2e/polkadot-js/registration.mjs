// Every call of pallet-registration, once as it is meant and once with its most likely mistake.

import { ed25519PairFromSeed, ed25519Sign, randomAsU8a } from '@polkadot/util-crypto';
import { bothOf, by, check, message, must, send, u64 } from './wire.mjs';

const both = bothOf('registration');

// A new node key and the call that registers it under an owner, with its consent.
function node(api, owner, type) {
  const pair = ed25519PairFromSeed(randomAsU8a(32));
  const call = (signature) => api.tx.registration.registerNode(type, pair.publicKey, signature);
  // The encoding of the type comes from the metadata, by way of the call.
  const [encoded] = call(new Uint8Array(64)).args;
  const signed = message(api, 'arion/node/v1', owner.publicKey, encoded.toU8a(), pair.publicKey, u64(0));
  const signature = ed25519Sign(signed, pair);
  return { id: pair.publicKey, signature, call: (bytes = signature) => call(bytes) };
}

/// All of them; answers two gateways of `gateway` and a compute miner of `worker`. `leaver` comes and goes.
export async function registrations(api, { gateway, worker, leaver }) {
  const { registerOwnerNode, deregisterNode, deregisterOwnerNode } = api.tx.registration;
  const gateways = [node(api, gateway, 'Gateway'), node(api, gateway, 'Gateway')];
  const [miner, gone] = [node(api, worker, 'ComputeMiner'), node(api, leaver, 'Warden')];
  const flipped = Uint8Array.from(gateways[1].signature);
  flipped[0] ^= 1;

  // In the order of their signer's nonces, as many as possible in one block.
  const joined = [
    both(api, 'register_owner_node', 'OwnerNodeRegistered', 'registration.OwnerAlreadyRegistered',
      by(gateway, registerOwnerNode('Storage')), by(gateway, registerOwnerNode('Storage'))),
    both(api, 'register_node', 'NodeRegistered', 'registration.InvalidNodeSignature',
      by(gateway, gateways[0].call()), by(gateway, gateways[1].call(flipped))),
    must(api, gateways[1].call(), gateway),
    must(api, api.tx.utility.batchAll([registerOwnerNode('Compute'), miner.call()]), worker),
  ];
  const left = [
    must(api, api.tx.utility.batchAll([registerOwnerNode('Storage'), gone.call()]), leaver),
    send(api, deregisterOwnerNode(), leaver).then(({ error }) => check(
      `deregister_owner_node with a node: ${error}`, error === 'registration.OwnerHasNodes')),
    both(api, 'deregister_node', 'NodeDeregistered', 'registration.NodeNotRegistered',
      by(leaver, deregisterNode(gone.id)), by(leaver, deregisterNode(gone.id))),
    both(api, 'deregister_owner_node', 'OwnerNodeDeregistered', 'registration.OwnerNotRegistered',
      by(leaver, deregisterOwnerNode()), by(leaver, deregisterOwnerNode())),
  ];
  await Promise.all([...joined, ...left]);
  const record = (await api.query.registration.nodes(miner.id)).unwrapOr(null);
  check('nodes has the compute miner: its owner, type and lane',
    record !== null && record.owner.eq(worker.address) && record.nodeType.isComputeMiner && record.lane.isCompute);
  return { gateways: gateways.map(({ id }) => id), miner: miner.id };
}
