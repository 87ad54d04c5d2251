//! The finalised chain as the gateway needs it: maps of miners, and whether it is registered itself.
//!
//! Every map seen is also kept in the metadata, so that objects written long ago are found without the chain.

use arion_chain::{EpochMap, Snapshot};
use arion_types::{CrushParams, Epoch, MinerRecord, NodeId};
use codec::{Decode, DecodeAll, Encode};

use crate::{
    grid::Grid,
    meta::{Meta, MetaError},
    placement::{Maps, Placement},
};

#[derive(Encode, Decode)]
struct KeptMap {
    params: CrushParams,
    miners: Vec<MinerRecord>,
}

/// Reads the maps that earlier runs kept; none becomes the current one. One that does not decode is passed over: the chain may
/// still have it.
pub async fn recall_maps(meta: &Meta, maps: &Maps) -> Result<usize, MetaError> {
    let mut count = 0;
    for (epoch, row) in meta.kept_maps().await? {
        let map = KeptMap::decode_all(&mut row.as_slice()).map_err(|_| MetaError::Row("maps"));
        let Some(map) = meta.readable(map, epoch)? else { continue };
        if let Ok(placement) = Placement::new(epoch, &map.params, map.miners) {
            maps.remember(placement);
            count += 1;
        }
    }
    Ok(count)
}

/// Learns the maps of a snapshot without keeping them.
pub fn learn(maps: &Maps, snapshot: &Snapshot) {
    let placement = |map: &EpochMap| Placement::new(map.epoch, &map.params, map.miners.clone());
    for map in snapshot.earlier.iter().filter_map(|map| placement(map).ok()) {
        maps.remember(map);
    }
    if let Some(Ok(map)) = snapshot.current.as_deref().map(placement) {
        maps.set_current(map);
    }
}

/// Takes over what a snapshot says. Returns the epoch that stripes are placed by now.
pub async fn take_over(grid: &Grid, snapshot: &Snapshot) -> Result<Option<Epoch>, MetaError> {
    for map in &snapshot.earlier {
        if !grid.maps.knows(map.epoch) {
            keep(grid, map.epoch, &map.params, &map.miners).await?;
            if let Ok(placement) = Placement::new(map.epoch, &map.params, map.miners.clone()) {
                grid.maps.remember(placement);
            }
        }
    }
    let Some(map) = &snapshot.current else { return Ok(None) };
    if !grid.maps.is_current(map.epoch) {
        keep(grid, map.epoch, &map.params, &map.miners).await?;
        match Placement::new(map.epoch, &map.params, map.miners.clone()) {
            Ok(placement) => {
                tracing::info!(
                    epoch = map.epoch,
                    miners = map.miners.len(),
                    "stripes are placed by a new map"
                );
                grid.maps.set_current(placement);
                grid.metrics.map_epoch.set(map.epoch as i64);
            }
            Err(error) => {
                tracing::warn!(epoch = map.epoch, %error, "the finalised map cannot place a stripe");
            }
        }
    }
    Ok(grid.maps.current().map(|map| map.epoch()))
}

async fn keep(
    grid: &Grid,
    epoch: Epoch,
    params: &CrushParams,
    miners: &[MinerRecord],
) -> Result<(), MetaError> {
    let kept = KeptMap { params: *params, miners: miners.to_vec() };
    grid.meta.keep_map(epoch, kept.encode()).await
}

/// Whether this node is a gateway on the finalised chain.
pub fn is_registered(snapshot: &Snapshot, node: &NodeId) -> bool {
    snapshot.registry.gateways.contains(node)
}
