//! Answers of `ArionApi`, in the types that clients decode.

use arion_types::AttestationRecord;
use pallet_arion::PlacementRefusal;
use pallet_arion_runtime_api::{
    ChildInfo, CrushMap, FamilyWeights, Page, Placement, PlacementError, RankedMiner,
};

use crate::{AccountId, Arion, Balance};

pub(super) fn map(epoch: u64) -> Option<CrushMap<AccountId>> {
    Arion::map_at(epoch).map(|(epoch, params, miners, root)| CrushMap {
        epoch,
        params,
        miners: miners.into_inner(),
        root,
    })
}

pub(super) fn child_by_node_id(node_id: [u8; 32]) -> Option<ChildInfo<AccountId, Balance>> {
    Arion::child_by_node_id(&node_id).map(|(child, registration)| ChildInfo {
        child,
        family: registration.family,
        node_id: registration.node_id,
        deposit: registration.deposit,
        registered_at: registration.registered_at,
    })
}

pub(super) fn placement(pg: u32) -> Result<Placement, PlacementError> {
    Arion::placement(pg).map(|(epoch, uids)| Placement { epoch, uids }).map_err(|refusal| match refusal {
        PlacementRefusal::NoMap => PlacementError::NoMap,
        PlacementRefusal::NoSuchGroup => PlacementError::NoSuchGroup,
        PlacementRefusal::TooFewMiners => PlacementError::TooFewMiners,
    })
}

pub(super) fn ranking(cursor: u32) -> Page<RankedMiner<AccountId>> {
    let (ranked, next) = Arion::ranking(cursor);
    let entries = ranked.into_iter().map(|(child, family, weight)| RankedMiner { child, family, weight });
    Page { entries: entries.collect(), next }
}

pub(super) fn family_weight(family: &AccountId) -> Option<FamilyWeights> {
    Arion::family_weight(family).map(|(weight, raw)| FamilyWeights { weight, raw })
}

pub(super) fn attestations(bucket: u32, cursor: u32) -> Page<AttestationRecord> {
    let (entries, next) = Arion::attestations(bucket, cursor);
    Page { entries, next }
}
