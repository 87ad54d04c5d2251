//! Snapshots of gateways' metadata.

use arion_runtime::{Runtime, RuntimeCall};
use arion_types::{
    Snapshot,
    snapshot::{removal_message, snapshot_message},
};
use pallet_snapshots::{Call, Snapshots};
use sp_core::Pair;

use crate::{
    actors::{NODES, genesis_hash, node},
    script::{Script, Sender},
};

/// Node keys serve as locators' keys.
pub(crate) fn call(script: &mut Script) -> (Sender, RuntimeCall) {
    let sender = Sender::Account(script.signer());
    let key = node(script.byte() % NODES);
    let locator = key.public().0;
    let newest = Snapshots::<Runtime>::get(locator).map_or(0, |record| record.snapshot.sequence);
    let sequence = newest.saturating_add(u64::from(!script.rarely(8)));
    let call = if script.byte().is_multiple_of(4) {
        let signature = key.sign(&removal_message(&genesis_hash(), &locator, sequence)).0;
        Call::remove_snapshot { locator, sequence, signature }
    } else {
        let snapshot = Snapshot { sequence, root: [script.byte(); 32], root_len: 1, epoch: 1 };
        let signed = Snapshot { epoch: 1 + u64::from(script.rarely(8)), ..snapshot };
        let signature = key.sign(&snapshot_message(&genesis_hash(), &locator, &signed)).0;
        Call::commit_snapshot { locator, snapshot, signature }
    };
    (sender, call.into())
}
