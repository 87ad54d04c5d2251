//! What the chain said last, as a file: a miner that is started while no node answers goes by it, as one that was running does.
//!
//! Magic `ARIONCHN` 8, version u32 = 1, SCALE of `Kept`, BLAKE3 of everything before.
//!
//! # Invariants
//! - It is of the chain that the operator has named, if one is named.
//! - A damaged file counts for nothing.
//! - Announced absences are not in it: no miner asks for them.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use arion_chain::{AccountId, BlockRef, ChainView, Child, EpochMap, Registry, Snapshot};
use arion_types::{CrushParams, Epoch, GenesisHash, MinerRecord, NodeId};
use codec::{Decode, DecodeAll, Encode};

use crate::small_file::{self, Head};

/// Name of the file in the data directory.
pub const FILE: &str = "chain";
const HEAD: &Head = b"ARIONCHN\x01\0\0\0";

#[derive(Clone, PartialEq, Eq, Encode, Decode)]
struct Kept {
    genesis: GenesisHash,
    block: (u32, [u8; 32]),
    /// Newest first.
    maps: Vec<(Epoch, CrushParams, Vec<MinerRecord>)>,
    /// Node, its account, its family.
    miners: Vec<(NodeId, AccountId, AccountId)>,
    gateways: BTreeSet<NodeId>,
    validators: BTreeSet<NodeId>,
    wardens: BTreeSet<NodeId>,
}

impl Kept {
    fn of(genesis: GenesisHash, snapshot: &Snapshot) -> Self {
        let registry = &snapshot.registry;
        let map = |map: &Arc<EpochMap>| (map.epoch, map.params, map.miners.clone());
        let miner = |(node, child): (&NodeId, &Child)| (*node, child.child, child.family);
        Self {
            genesis,
            block: (snapshot.block.number, snapshot.block.hash),
            maps: snapshot.maps().map(map).collect(),
            miners: registry.miners.iter().map(miner).collect(),
            gateways: registry.gateways.clone(),
            validators: registry.validators.clone(),
            wardens: registry.wardens.clone(),
        }
    }

    fn snapshot(self) -> Snapshot {
        let Self { block: (number, hash), maps, miners, gateways, validators, wardens, .. } = self;
        let mut maps =
            maps.into_iter().map(|(epoch, params, miners)| Arc::new(EpochMap::new(epoch, params, miners)));
        let miners = miners.into_iter().map(|(node, child, family)| (node, Child { child, family }));
        let registry =
            Registry { miners: miners.collect(), gateways, validators, wardens, ..Registry::default() };
        Snapshot {
            block: BlockRef { number, hash },
            current: maps.next(),
            earlier: maps.collect(),
            registry: Arc::new(registry),
        }
    }
}

/// What the chain said last; `None` where nothing is kept, or not of the chain that is `named`.
pub fn read(path: &Path, named: Option<GenesisHash>) -> io::Result<Option<(GenesisHash, Snapshot)>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let kept = small_file::decoded(HEAD, &bytes).and_then(|mut said| Kept::decode_all(&mut said).ok());
    let Some(kept) = kept else {
        tracing::warn!(path = %path.display(), "what the chain said last cannot be read from this file: waiting for a node");
        return Ok(None);
    };
    let genesis = kept.genesis;
    if named.is_some_and(|named| named != genesis) {
        tracing::warn!(path = %path.display(), "what is kept is of another chain than the configuration names: waiting for a node");
        return Ok(None);
    }
    Ok(Some((genesis, kept.snapshot())))
}

/// Keeps what the chain says.
pub fn write(path: &Path, genesis: GenesisHash, snapshot: &Snapshot) -> io::Result<()> {
    small_file::write(path, HEAD, &Kept::of(genesis, snapshot).encode())
}

/// Keeps what the chain says for good: anew when the maps or who has which role changed.
pub async fn keep(path: PathBuf, mut view: ChainView) {
    let genesis = view.genesis();
    let mut known: Option<Arc<Snapshot>> = None;
    let mut has_failed = false;
    loop {
        let snapshot = view.snapshot();
        let is_known = known.as_ref().is_some_and(|known| {
            known.registry == snapshot.registry
                && known.current == snapshot.current
                && known.earlier == snapshot.earlier
        });
        if !is_known {
            let (path, kept) = (path.clone(), snapshot.clone());
            match arion_daemon::work::blocking(move || write(&path, genesis, &kept)).await {
                Ok(Ok(())) => {
                    known = Some(snapshot);
                    has_failed = false;
                }
                // The store says what is wrong with a disk.
                Ok(Err(error)) if !has_failed => {
                    tracing::warn!(%error, "what the chain says is not kept: without a node this miner would not start");
                    has_failed = true;
                }
                Ok(Err(_)) => {}
                // Stopping.
                Err(_) => return,
            }
        }
        view.changed().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arion_types::map::WEIGHT_ONE;

    const GENESIS: GenesisHash = [7; 32];

    fn snapshot() -> Snapshot {
        let miner = |uid: u32| MinerRecord {
            uid,
            node_id: [uid as u8; 32],
            family: [uid as u8 + 1; 32],
            weight: WEIGHT_ONE,
            endpoint: b"127.0.0.1:1".to_vec().try_into().unwrap(),
        };
        let map = |epoch| Arc::new(EpochMap::new(epoch, CrushParams::STANDARD, (1..40).map(miner).collect()));
        let node = |n: u8| NodeId([n; 32]);
        let registry = Registry {
            miners: [(node(1), Child { child: [2; 32], family: [3; 32] })].into(),
            gateways: [node(4)].into(),
            validators: [node(5), node(6)].into(),
            wardens: [node(7)].into(),
            ..Registry::default()
        };
        Snapshot {
            block: BlockRef { number: 9, hash: [9; 32] },
            current: Some(map(3)),
            earlier: vec![map(2), map(1)],
            registry: Arc::new(registry),
        }
    }

    #[test]
    fn what_is_kept_is_read_and_damaged_it_counts_for_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        assert!(read(&path, None).unwrap().is_none());
        write(&path, GENESIS, &snapshot()).unwrap();
        let (genesis, kept) = read(&path, Some(GENESIS)).unwrap().unwrap();
        let wanted = snapshot();
        assert_eq!((genesis, kept.block, &kept.registry), (GENESIS, wanted.block, &wanted.registry));
        assert_eq!((kept.current, kept.earlier), (wanted.current, wanted.earlier));
        assert!(read(&path, Some([8; 32])).unwrap().is_none(), "of another chain");
        let good = fs::read(&path).unwrap();
        for at in (0..good.len()).step_by(41) {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, &bad).unwrap();
            assert!(read(&path, None).unwrap().is_none(), "byte {at}");
            fs::write(&path, &good[..at]).unwrap();
            assert!(read(&path, None).unwrap().is_none(), "{at} bytes");
        }
    }

    #[tokio::test]
    async fn it_follows_what_changes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        let (view, source) = ChainView::manual(GENESIS, snapshot());
        let keeping = tokio::spawn(keep(path.clone(), view));
        let epoch = || read(&path, None).unwrap().map(|(_, kept)| kept.epoch());
        while epoch() != Some(3) {
            tokio::task::yield_now().await;
        }
        let newer = EpochMap { epoch: 4, ..(**snapshot().current.as_ref().unwrap()).clone() };
        source.set(Snapshot { current: Some(Arc::new(newer)), ..snapshot() });
        while epoch() != Some(4) {
            tokio::task::yield_now().await;
        }
        keeping.abort();
    }
}
