//! Nodes and roots of snapshots: stripes like others, but that the shards of a root are all the same.

use std::sync::Arc;

use super::{
    Grid,
    read::ReadError,
    write::{Sharing, WriteError},
};
use crate::{manifest::StripeRecord, stripe_code::Shape};

impl Grid {
    /// Stores a node. It is in flight until it is entered ([`crate::meta::Meta::snapshot_node_stored`]).
    pub async fn store_node(self: &Arc<Self>, sealed: Vec<u8>) -> Result<StripeRecord, WriteError> {
        self.clone().store_stripe(sealed, None).await
    }

    /// Stores a root: every miner of its stripe gets all of it, so that one address is enough to find it. In flight like a node.
    pub async fn store_root(self: &Arc<Self>, root: Vec<u8>) -> Result<StripeRecord, WriteError> {
        let map = self.maps.current().ok_or(WriteError::NoMap)?;
        let parity =
            u8::try_from(map.params().shards().saturating_sub(1)).map_err(|_| WriteError::Internal)?;
        self.clone().store_shaped((root, None), (map, Shape { data: 1, parity }), Sharing::Alone).await
    }

    /// What was stored in a stripe, without the padding; every shard it is made of was compared with its address.
    pub async fn read_sealed(self: &Arc<Self>, record: &StripeRecord) -> Result<Vec<u8>, ReadError> {
        let mut sealed = self.read_stripe(record).await?.concat();
        sealed.truncate(record.len as usize);
        Ok(sealed)
    }
}
