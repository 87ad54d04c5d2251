// What is promised by name, held against the metadata of a running node. Of pallet-arion: calls with their arguments in
// order, storage items with key and value, events with their fields, errors, constants with their values. Of the
// runtime: the functions of both APIs with their arguments.

const HIPP = 10n ** 18n;

const CALLS = {
  submit_crush_map: ['epoch: u64', 'params: CrushParams', 'miners: Vec<MinerRecord>'],
  register_child: ['family: AccountId', 'child: AccountId', 'node_id: [u8;32]', 'node_sig: [u8;64]'],
  deregister_child: ['child: AccountId'],
  claim_unbonded: ['child: AccountId'],
  submit_attestations: ['bucket: u32', 'attestations: Vec<AttestationRecord>'],
  submit_attestation_commitment: ['epoch: u64', 'arion_content_hash: [u8;32]', 'attestation_merkle_root: [u8;32]',
    'warden_pubkey_merkle_root: [u8;32]', 'attestation_count: u32'],
  register_warden: ['warden_pubkey: [u8;32]'],
  deregister_warden: ['warden_pubkey: [u8;32]'],
  submit_node_quality: ['bucket: u32', 'updates: Vec<(AccountId,NodeQuality)>'],
  submit_miner_stats: ['bucket: u32', 'updates: Vec<MinerStatsUpdate>', 'network_totals: Option<NetworkTotals>'],
  set_lockup_enabled: ['enabled: bool'],
  set_base_child_deposit: ['deposit: Balance'],
};

const STORAGE = {
  CurrentEpoch: 'u64', EpochParams: 'u64 -> CrushParams', EpochMiners: 'u64 -> Vec<MinerRecord>', EpochRoot: 'u64 -> H256',
  ChildRegistrations: 'AccountId -> ChildRegistration', NodeIdToChild: '[u8;32] -> AccountId',
  FamilyChildren: 'AccountId -> Vec<AccountId>', GlobalNextDeposit: 'u128', FamilyCount: 'u32', TotalActiveChildren: 'u32',
  AttestationsByBucket: 'u32 -> Vec<AttestationRecord>',
  EpochAttestationCommitments: 'u64 -> EpochAttestationCommitment', RegisteredWardens: '[u8;32] -> WardenInfo',
  CurrentAttestationBucket: 'u32',
  NodeWeightByChild: 'AccountId -> u16', NodeQualityByChild: 'AccountId -> NodeQuality', FamilyWeight: 'AccountId -> u16',
  FamilyWeightRaw: 'AccountId -> u16', CurrentWeightBucket: 'u32',
};

const EVENTS = {
  CrushMapPublished: ['epoch', 'miners', 'root'],
  ChildRegistered: ['family', 'child', 'node_id', 'deposit'],
  ChildDeregistered: ['family', 'child', 'node_id', 'unbonding_end', 'cooldown_end'],
  ChildUnbonded: ['family', 'child', 'node_id', 'amount'],
  AttestationsSubmitted: ['bucket', 'count'],
  AttestationCommitmentSubmitted: ['epoch', 'arion_content_hash', 'attestation_merkle_root', 'warden_pubkey_merkle_root',
    'attestation_count'],
  WardenRegistered: ['warden_pubkey', 'registered_at'],
  WardenDeregistered: ['warden_pubkey', 'deregistered_at'],
  NodeWeightsUpdated: ['bucket', 'updates'],
  FamilyWeightsComputed: ['bucket', 'families'],
  MinerStatsUpdated: ['bucket', 'updates'],
  LockupEnabledSet: ['enabled'],
  BaseChildDepositSet: ['deposit'],
};

const ERRORS = ['FamilyNotRegistered', 'ProxyVerificationFailed', 'ChildInCooldown', 'NodeIdAlreadyRegistered',
  'InsufficientDeposit', 'TooManyChildrenInFamily', 'InvalidAttestationSignature', 'UnregisteredWarden',
  'AttestationBucketFull', 'EpochRegression', 'MinerListNotSortedOrNotUnique', 'MinerNotRegistered'];

const CONSTANTS = {
  BaseChildDeposit: 100n * HIPP, GlobalDepositHalvingPeriodBlocks: 14_400n, UnbondingPeriodBlocks: 100_800n,
  UnregisterCooldownBlocks: 28_800n, MaxFamilies: 256n, MaxChildrenTotal: 2_048n, MaxChildrenPerFamily: 32n,
  MaxMiners: 2_048n, NodeBandwidthWeightPermille: 700n, NodeStorageWeightPermille: 300n, NodeScoreScale: 512n,
  StrikePenalty: 100n, IntegrityFailPenalty: 50n, FamilyTopN: 8n, FamilyRankDecayPermille: 800n,
  FamilyWeightEmaAlphaPermille: 300n, MaxFamilyWeightDeltaPerBucket: 500n, NewcomerGraceBuckets: 100n,
  NewcomerFloorWeight: 100n, MaxAttestations: 1_000n, AttestationRetentionBuckets: 1_000n,
};

const PALLETS = ['Registration', 'Arion', 'Marketplace'];

const RUNTIME_APIS = {
  ArionApi: ['current_map()', 'map_at(epoch: u64)', 'child_by_node_id(node_id: [u8;32])', 'next_deposit()', 'placement(pg: u32)',
    'ranking(cursor: u32)', 'node_weight(child: AccountId)', 'family_weight(family: AccountId)',
    'attestations(bucket: u32, cursor: u32)'],
  MarketplaceApi: ['balance(account: AccountId)', 'agreement(account: AccountId)', 'burn_down(account: AccountId)', 'prices()',
    'quote(credits: u128)', 'next_settlement()', 'claimable(account: AccountId)', 'service_request(id: u64)',
    'assignment_order(id: u64, nodes: Vec<[u8;32]>)'],
};

// A type's short name: bounds and generic parameters left out, a struct by the last segment of its path.
function named(registry, id) {
  const { def, path } = registry.lookup.getSiType(id);
  const last = path.length ? path[path.length - 1].toString() : '';
  if (last === 'BoundedVec') return named(registry, def.asComposite.fields[0].type);
  if (last === 'AccountId32') return 'AccountId';
  if (last === 'Option') return `Option<${named(registry, def.asVariant.variants[1].fields[0].type)}>`;
  if (last) return last;
  if (def.isPrimitive) return def.asPrimitive.type.toLowerCase();
  if (def.isCompact) return named(registry, def.asCompact.type);
  if (def.isArray) return `[${named(registry, def.asArray.type)};${def.asArray.len}]`;
  if (def.isSequence) return `Vec<${named(registry, def.asSequence.type)}>`;
  if (def.isTuple) return `(${def.asTuple.map((part) => named(registry, part)).join(',')})`;
  return def.type;
}

function variants(api, kind, wanted = 'Arion') {
  const pallet = api.runtimeMetadata.asLatest.pallets.find(({ name }) => name.toString() === wanted);
  const { type } = pallet[kind].unwrap();
  return new Map(api.registry.lookup.getSiType(type).def.asVariant.variants.map((v) => [v.name.toString(), v]));
}

function calls(api) {
  const found = variants(api, 'calls');
  return Object.entries(CALLS).flatMap(([name, wanted]) => {
    const call = found.get(name);
    if (!call) return [`${name} is missing`];
    const fields = call.fields.map((field) => {
      // The runtime writes Balance as what it is.
      const type = named(api.registry, field.type).replace('u128', 'Balance');
      return `${field.name.unwrap()}: ${type}`;
    });
    return fields.join(', ') === wanted.join(', ') ? [] : [`${name}(${fields.join(', ')})`];
  });
}

function storage(api) {
  const pallet = api.runtimeMetadata.asLatest.pallets.find(({ name }) => name.toString() === 'Arion');
  const items = new Map(pallet.storage.unwrap().items.map((item) => [item.name.toString(), item]));
  return Object.entries(STORAGE).flatMap(([name, wanted]) => {
    const item = items.get(name);
    if (!item) return [`${name} is missing`];
    const shape = item.type.isPlain
      ? named(api.registry, item.type.asPlain)
      : `${named(api.registry, item.type.asMap.key)} -> ${named(api.registry, item.type.asMap.value)}`;
    return shape === wanted ? [] : [`${name}: ${shape}, expected ${wanted}`];
  });
}

function events(api) {
  const found = variants(api, 'events');
  return Object.entries(EVENTS).flatMap(([name, wanted]) => {
    const event = found.get(name);
    if (!event) return [`${name} is missing`];
    const fields = event.fields.map((field) => field.name.unwrap().toString());
    return fields.join() === wanted.join() ? [] : [`${name} { ${fields.join(', ')} }`];
  });
}

function errors(api) {
  const found = variants(api, 'errors');
  return ERRORS.filter((name) => !found.has(name)).map((name) => `${name} is missing`);
}

// Of all our pallets: the first sentence says what is wrong, another what to do.
function remedies(api) {
  const all = PALLETS.flatMap((pallet) => [...variants(api, 'errors', pallet)].map(([name, { docs }]) => ({ pallet, name, docs })));
  const silent = all.filter(({ docs }) => docs.map(String).join(' ').trim().split(/\. |\.$/).filter(Boolean).length < 2);
  return { count: all.length, wrong: silent.map(({ pallet, name }) => `${pallet}.${name} says not what to do`) };
}

function constants(api) {
  const pallet = api.runtimeMetadata.asLatest.pallets.find(({ name }) => name.toString() === 'Arion');
  const found = new Map(pallet.constants.map((constant) => [constant.name.toString(), constant]));
  return Object.entries(CONSTANTS).flatMap(([name, wanted]) => {
    const constant = found.get(name);
    if (!constant) return [`${name} is missing`];
    const value = api.registry.createType(api.registry.createLookupType(constant.type), constant.value.toU8a(true));
    return value.toBigInt() === wanted ? [] : [`${name} is ${value}, expected ${wanted}`];
  });
}

function runtimeApis(api) {
  const found = new Map(api.runtimeMetadata.asLatest.apis.map(({ name, methods }) => [name.toString(), methods]));
  return Object.entries(RUNTIME_APIS).flatMap(([name, wanted]) => {
    const functions = (found.get(name) ?? []).map((method) => {
      const inputs = method.inputs.map((input) => `${input.name}: ${named(api.registry, input.type)}`);
      return `${method.name}(${inputs.join(', ')})`;
    });
    return wanted.filter((method) => !functions.includes(method)).map((method) => `${name} has no ${method}`);
  });
}

/// By kind: how many there have to be, and what is wrong.
export function deviations(api) {
  const { count, wrong } = remedies(api);
  return [
    ['calls of pallet-arion, with the names and types of their arguments', Object.keys(CALLS).length, calls(api)],
    ['storage items of pallet-arion, with key and value', Object.keys(STORAGE).length, storage(api)],
    ['events of pallet-arion, with their fields', Object.keys(EVENTS).length, events(api)],
    ['errors of pallet-arion', ERRORS.length, errors(api)],
    ['errors of our pallets, each with what to do', count, wrong],
    ['constants of pallet-arion, with their values', Object.keys(CONSTANTS).length, constants(api)],
    ['functions of the runtime APIs, with their arguments', Object.values(RUNTIME_APIS).flat().length, runtimeApis(api)],
  ];
}
