// What a hardware wallet does: it signs the hash of the metadata out of which it has shown its user the call (RFC 78).

import { merkleizeMetadata } from '@polkadot-api/merkleize-metadata';
import { u8aToHex } from '@polkadot/util';
import { check, HIPP, alice, must, newAccount } from './wire.mjs';

// The hash as somebody else computes it.
async function digest(api) {
  const metadata = (await api.call.metadata.metadataAtVersion(15)).unwrap();
  const [decimals] = api.registry.chainDecimals;
  const [tokenSymbol] = api.registry.chainTokens;
  return u8aToHex(merkleizeMetadata(metadata.toHex(), { decimals, tokenSymbol }).digest());
}

// Submits a remark that signs `metadataHash`; 'taken' or why the pool refused it.
async function remark(api, signer, metadataHash) {
  const extrinsic = await api.tx.system.remark('0x01').signAsync(signer, { mode: 1, metadataHash, nonce: -1 });
  try {
    await api.rpc.author.submitExtrinsic(extrinsic);
    return 'taken';
  } catch (error) {
    return error.message;
  }
}

// `printed`: what `arion-node metadata-hash` prints; `built`: whether its runtime was built with that.
export async function wallet(api, printed, built) {
  const signer = newAccount();
  const computed = await digest(api);
  check(`metadata hash of the node is the one computed by another implementation, ${computed}`, computed === printed);
  await must(api, api.tx.balances.transferKeepAlive(signer.address, HIPP), alice);

  // Without a hash of its own, a runtime cannot tell: it refuses all that sign one.
  const refusal = built ? /1010: .*bad signature/ : /1011: .*CannotLookup/;
  const wrong = await remark(api, signer, u8aToHex(new Uint8Array(32).fill(7)));
  check(`a transaction that signs the hash of other metadata is refused: ${wrong}`, refusal.test(wrong));
  const right = await remark(api, signer, computed);
  check(`one that signs the hash of this metadata, by a runtime ${built ? '' : 'not '}built with it: ${right}`,
    built ? right === 'taken' : refusal.test(right));
}
