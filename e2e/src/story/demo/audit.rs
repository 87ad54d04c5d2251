//! Step 5: one miner has a byte flipped, another its store emptied; the wardens find both, and nobody else.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use anyhow::Context;
use arion_chain::{ChainClient, EpochMap};
use arion_types::{AttestationRecord, AttestationResult, NodeId, ShardHash, attestation::challenge_seed};
use rand::seq::IndexedRandom;
use tokio::time::sleep;

use super::{
    Stage, listed, miner_named,
    objects::{self, Object},
};
use crate::{census, network::Network};

const FOUND_DEADLINE: Duration = Duration::from_secs(420);
const HEALTHY_DEADLINE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_secs(2);

/// A miner that was tampered with.
struct Victim {
    name: String,
    node_id: [u8; 32],
}

pub(super) async fn step(stage: &mut Stage, chain: &ChainClient, objects: &[Object]) -> anyhow::Result<()> {
    stage.report.step(
        5,
        "one miner has one byte of one shard flipped, another its store emptied: the wardens find both, honest \
         miners only pass",
    );
    let maps = stage.network.maps(chain).await?;
    let (damaged, shard) = choose_shard(stage, &maps, &objects[0]).await?;
    let others: Vec<u16> = (0..stage.network.options().miners)
        .filter(|index| Network::miner_name(*index) != damaged.name)
        .collect();
    let emptied = *others.choose(&mut stage.dice).context("there is only one miner")?;
    let emptied = Network::miner_name(emptied);
    let emptied = Victim { node_id: stage.network.node_id(&emptied)?.0, name: emptied };

    for victim in [&damaged, &emptied] {
        stage.network.stop_one(&victim.name).await?;
    }
    let place = stage.network.flip_byte(&damaged.name, &shard).await?;
    stage.report.observed(format!("{}: one byte of shard {shard} flipped, {place}", damaged.name));
    let removed = stage.network.empty_store(&emptied.name)?;
    stage.report.observed(format!("{}: store emptied, {removed}; its key stays", emptied.name));
    for victim in [&damaged, &emptied] {
        stage.network.start(&victim.name)?;
    }
    for victim in [&damaged, &emptied] {
        stage.network.supervisor().wait_healthy(&victim.name, HEALTHY_DEADLINE).await?;
    }
    let begun_at = chain.finalized().await?.number;
    let records = until_found(stage, chain, &maps, begun_at, &damaged, &shard, &emptied).await?;
    judge(stage, chain, &maps, &records, &damaged, &shard, &emptied).await?;
    objects::read_back(stage, &objects[0], "comes back with both of them failing").await
}

/// A shard of the object, at random, and the miner that has it.
async fn choose_shard(
    stage: &mut Stage,
    maps: &BTreeMap<u64, EpochMap>,
    object: &Object,
) -> anyhow::Result<(Victim, ShardHash)> {
    let stripes = census::read_stripes(&objects::locate(stage, &object.key).await?)?;
    let stripe = stripes.choose(&mut stage.dice).context("the object has no stripes")?;
    let placed: Vec<_> =
        stripe.holders(maps)?.into_iter().filter_map(|(s, miner)| Some((s, miner?))).collect();
    let (shard, miner) = *placed.choose(&mut stage.dice).context("the stripe is placed nowhere")?;
    let node_id = miner.node_id;
    Ok((Victim { name: miner_named(&stage.network, &node_id)?, node_id }, shard))
}

/// Waits until both victims have a `Failed` on chain; returns all records of blocks after `begun_at`.
async fn until_found(
    stage: &mut Stage,
    chain: &ChainClient,
    maps: &BTreeMap<u64, EpochMap>,
    begun_at: u32,
    damaged: &Victim,
    shard: &ShardHash,
    emptied: &Victim,
) -> anyhow::Result<Vec<AttestationRecord>> {
    let begun = Instant::now();
    loop {
        let records: Vec<AttestationRecord> = chain
            .attestations_by_bucket()
            .await?
            .into_values()
            .flatten()
            .filter(|record| record.block_number > u64::from(begun_at))
            .collect();
        let failed = |victim: &Victim, shard: Option<&ShardHash>| {
            records.iter().any(|record| {
                record.result == AttestationResult::Failed
                    && node_of(maps, record) == Some(victim.node_id)
                    && shard.is_none_or(|shard| record.shard_hash == shard.0)
            })
        };
        let (damage, emptiness) = (failed(damaged, Some(shard)), failed(emptied, None));
        if (damage && emptiness) || begun.elapsed() > FOUND_DEADLINE {
            stage.report.observed(format!(
                "{:.0} s later: {} attestations of blocks after {begun_at} are on chain",
                begun.elapsed().as_secs_f64(),
                records.len()
            ));
            stage
                .report
                .check(format!("Failed is on chain for {} and the damaged shard", damaged.name), damage);
            stage
                .report
                .check(format!("Failed is on chain for {}, which was emptied", emptied.name), emptiness);
            return Ok(records);
        }
        sleep(POLL).await;
    }
}

/// Node id of the audited miner; numbers of miners mean the same in all maps.
fn node_of(maps: &BTreeMap<u64, EpochMap>, record: &AttestationRecord) -> Option<[u8; 32]> {
    maps.values().find_map(|map| map.miner(record.miner_uid)).map(|miner| miner.node_id)
}

async fn judge(
    stage: &mut Stage,
    chain: &ChainClient,
    maps: &BTreeMap<u64, EpochMap>,
    records: &[AttestationRecord],
    damaged: &Victim,
    shard: &ShardHash,
    emptied: &Victim,
) -> anyhow::Result<()> {
    let genesis = chain.genesis();
    let wardens: BTreeSet<NodeId> = chain.wardens().await?.into_iter().collect();
    let mut blocks = BTreeMap::new();
    let (mut unsigned, mut unseeded, mut accused, mut wrong) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut failed, mut passed) = (0, 0);
    for record in records {
        let Some(node_id) = node_of(maps, record) else {
            wrong.push(format!("miner {} is in no map", record.miner_uid));
            continue;
        };
        let text = format!("{:?} for {}", record.result, miner_named(&stage.network, &node_id)?);
        if !record.verify(&genesis) || !wardens.contains(&NodeId(record.warden_pubkey)) {
            unsigned.push(text.clone());
        }
        let number = u32::try_from(record.block_number).context("block number beyond 32 bits")?;
        if let std::collections::btree_map::Entry::Vacant(entry) = blocks.entry(number) {
            entry.insert(chain.block_hash(number).await?);
        }
        let seed = blocks[&number]
            .map(|hash| challenge_seed(&hash, &record.warden_pubkey, &node_id, &record.shard_hash));
        if seed != Some(record.challenge_seed) {
            unseeded.push(text.clone());
        }
        let has_it =
            node_id != emptied.node_id && !(node_id == damaged.node_id && record.shard_hash == shard.0);
        match (has_it, record.result) {
            (true, AttestationResult::Passed) => passed += 1,
            (true, _) => accused.push(text),
            (false, AttestationResult::Failed) => failed += 1,
            // A flipped byte outside the challenged chunks leaves the proof whole.
            (false, AttestationResult::Passed) if node_id == damaged.node_id => passed += 1,
            (false, _) => wrong.push(text),
        }
    }
    let report = &mut stage.report;
    report.observed(format!("{passed} Passed, {failed} Failed, of {} wardens", wardens_in(records)));
    report.check(
        format!(
            "every one of the {} signatures verifies, by a registered warden{}",
            records.len(),
            listed(&unsigned)
        ),
        !records.is_empty() && unsigned.is_empty(),
    );
    report.check(
        format!("every challenge seed follows from the hash of its finalised block{}", listed(&unseeded)),
        unseeded.is_empty(),
    );
    report.check(
        format!("whoever has its shards only passed{}", listed(&accused)),
        accused.is_empty() && passed > 0,
    );
    report.check(
        format!("the two victims got no verdict that is not theirs{}", listed(&wrong)),
        wrong.is_empty(),
    );
    Ok(())
}

fn wardens_in(records: &[AttestationRecord]) -> usize {
    records.iter().map(|record| record.warden_pubkey).collect::<BTreeSet<_>>().len()
}
