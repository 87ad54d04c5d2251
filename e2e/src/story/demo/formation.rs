//! Step 1: the network forms.

use std::collections::BTreeMap;

use arion_chain::{ChainClient, ChildStatus};
use arion_types::{map::map_root, units::HIPP};

use super::Stage;
use crate::network::registration::Registered;

pub(super) async fn step(stage: &mut Stage) -> anyhow::Result<ChainClient> {
    let miners = usize::from(stage.network.options().miners);
    let families = usize::from(stage.network.families());
    stage.report.step(
        1,
        &format!(
            "network up: {miners} miners in {families} families registered through pallet-proxy and register_child; \
             a map is published"
        ),
    );
    let formation = stage.network.form(&stage.progress).await?;
    let chain = stage.network.chain().await?;
    let report = &mut stage.report;

    let children = chain.children().await?;
    let active = children.iter().filter(|(_, child)| child.status == ChildStatus::Active).count();
    let mut sizes: BTreeMap<[u8; 32], usize> = BTreeMap::new();
    for (_, child) in &children {
        *sizes.entry(child.family).or_default() += 1;
    }
    report.observed(format!("on chain: {active} active children in {} families", sizes.len()));
    report.check(
        format!("{miners} miners in {families} families, at most 2 each, are active on chain"),
        active == miners && sizes.len() == families && sizes.values().all(|size| *size <= 2),
    );
    deposits(stage, &formation.registered, families);

    let report = &mut stage.report;
    let current = chain.current_epoch().await?;
    let Some(first) = chain.map_at(1).await? else { anyhow::bail!("there is no map of epoch 1") };
    report.observed(format!(
        "current epoch {current}; epoch 1 has {} miners, RS({}, {}), {} placement groups",
        first.miners.len(),
        first.params.ec_k,
        first.params.ec_m,
        first.params.pg_count
    ));
    report.check(format!("the map of epoch 1 names all {miners} miners"), first.miners.len() == miners);
    let computed = map_root(&first.params, &first.miners);
    report.observed(format!(
        "root on chain {}, recomputed {}",
        hex::encode(first.root),
        hex::encode(computed)
    ));
    report
        .check("its root recomputed from parameters and miners is the one on chain", computed == first.root);
    let resident = stage.network.supervisor().resident_bytes();
    stage.report.observed(format!(
        "formed after {:.0} s; resident memory of all processes {} MiB",
        stage.progress.seconds(),
        resident >> 20
    ));
    Ok(chain)
}

fn deposits(stage: &mut Stage, registered: &[Registered], families: usize) {
    let report = &mut stage.report;
    let (with_lockup, without): (Vec<_>, Vec<_>) = registered.iter().partition(|joined| joined.lockup);
    let (first, paid) = with_lockup.split_at(families.min(with_lockup.len()));
    for joined in paid {
        report.observed(format!(
            "{} joined {} for a deposit of {} ALPHA (event ChildRegistered)",
            joined.miner,
            joined.family,
            joined.deposit / HIPP
        ));
    }
    report.check(
        format!("the first child of each of the {families} families was free"),
        first.len() == families && first.iter().all(|joined| joined.deposit == 0),
    );
    let amounts: Vec<u128> = paid.iter().map(|joined| joined.deposit).collect();
    report.check(
        "two more paid while lockup was on, the second twice as much as the first",
        amounts.len() == 2 && amounts[0] == 100 * HIPP && amounts[1] == 2 * amounts[0],
    );
    report.check(
        format!("the other {} joined without a deposit once lockup was off", without.len()),
        !without.is_empty() && without.iter().all(|joined| joined.deposit == 0),
    );
}
