//! What must hold of a store whatever bytes its files have: for the fuzzer (`./scripts/fuzz store`) and for a test with fixed seeds.

#![allow(clippy::unwrap_used, reason = "a check fails by panicking")]

use std::{
    collections::BTreeSet,
    sync::{Arc, OnceLock},
};

use arion_protocol::ShardPlacement;
use arion_types::{ShardHash, StripeId};
use bytes::Bytes;

use super::{Disk, Store, StoreOptions, memory::MemoryDisk, record::body_checksum};

/// Edits of an input that are looked at.
const EDITS_MAX: usize = 8;

/// A file, and the shards whose bytes are in it.
struct File {
    name: String,
    bytes: Vec<u8>,
    shards: Vec<ShardHash>,
}

fn options() -> StoreOptions {
    StoreOptions { background: false, segment_bytes: 1_500, reserve_bytes: 0, ..StoreOptions::default() }
}

/// The files of a store with a dozen shards, one of them deleted, in several segments, with a checkpoint.
fn files() -> &'static [File] {
    static FILES: OnceLock<Vec<File>> = OnceLock::new();
    FILES.get_or_init(|| {
        let disk = MemoryDisk::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let bodies: Vec<Bytes> =
            (1..=12u8).map(|number| vec![number; 60 * usize::from(number)].into()).collect();
        let address = |body: &Bytes| ShardHash(*blake3::hash(body).as_bytes());
        runtime.block_on(async {
            let store = Store::open_on(Arc::new(disk.clone()), options()).unwrap();
            for (index, body) in (0u8..).zip(&bodies) {
                let size = u32::try_from(body.len()).unwrap();
                let placement = ShardPlacement { stripe: StripeId([1; 32]), pg: 2, index, epoch: 3, size };
                store.put(address(body), placement, body.clone()).await.unwrap();
            }
            assert!(store.delete(address(&bodies[4])).await.unwrap());
            store.close().await;
        });
        let file = |name: String| {
            let bytes = disk.content(&name).unwrap();
            let is_in = |body: &&Bytes| bytes.windows(body.len()).any(|window| window == &body[..]);
            let shards = bodies
                .iter()
                .filter(is_in)
                .map(address)
                .filter(|shard| *shard != address(&bodies[4]))
                .collect();
            File { name, bytes, shards }
        };
        let files: Vec<File> = disk.names().into_iter().map(file).collect();
        assert!(files.iter().filter(|file| file.name.starts_with("segments/")).count() > 2);
        assert!(files.iter().any(|file| file.name == super::layout::CHECKPOINT));
        files
    })
}

/// Whether a file says that these are the bytes of that address, as whoever knows the CRC can make it say: it is for what disks do.
fn is_forged(disk: &MemoryDisk, shard: &ShardHash, body: &[u8]) -> bool {
    let said = [body, &body_checksum(shard, body).to_le_bytes()].concat();
    let says = |name: &String| disk.content(name).unwrap().windows(said.len()).any(|window| window == said);
    disk.names().iter().any(says)
}

/// The shards that can be read; each has to be what its address says.
fn readable(disk: &MemoryDisk) -> Option<BTreeSet<ShardHash>> {
    let store = Store::open_on(Arc::new(disk.clone()), options()).ok()?;
    let mut readable = BTreeSet::new();
    for line in store.list(None, usize::MAX) {
        if let Ok((_, body)) = store.read_blocking(&line.shard) {
            let is_right = *blake3::hash(&body).as_bytes() == line.shard.0;
            assert!(
                is_right || is_forged(disk, &line.shard, &body),
                "other bytes than those of {}",
                line.shard
            );
            readable.insert(line.shard);
        }
    }
    Some(readable)
}

/// Edits of files: which (1), where (2), how many bytes (1), these; the last may be cut short, which cuts the file. A store opens on what
/// is left or refuses to; what it gives out is right; opening it loses nothing; shards in segments that were not touched are there.
///
/// Returns whether it opened on other files than those of an honest store.
pub fn store(bytes: &[u8]) -> bool {
    let files = files();
    let mut contents: Vec<Vec<u8>> = files.iter().map(|file| file.bytes.clone()).collect();
    let mut rest = bytes;
    for _ in 0..EDITS_MAX {
        let [which, low, high, count, behind @ ..] = rest else { break };
        let content = &mut contents[usize::from(*which) % files.len()];
        let at = usize::from(u16::from_le_bytes([*low, *high])) % (content.len() + 1);
        let (patch, behind) = behind.split_at_checked((*count).into()).unwrap_or((&[], &[]));
        if patch.is_empty() {
            content.truncate(at);
        }
        for (place, byte) in content.iter_mut().skip(at).zip(patch) {
            *place = *byte;
        }
        rest = behind;
    }
    let disk = MemoryDisk::default();
    let mut touched = Vec::new();
    for (file, content) in files.iter().zip(&contents) {
        let made = disk.create(&file.name).unwrap();
        made.write_at(&[content], 0).unwrap();
        made.sync().unwrap();
        if *content != file.bytes {
            touched.push(file);
        }
    }
    disk.sync_names().unwrap();
    let Some(first) = readable(&disk) else { return false };
    let again = readable(&disk.after_kill()).expect("it opened a moment ago");
    assert!(again.is_superset(&first), "opening it has lost {:?}", first.difference(&again));
    if touched.iter().all(|file| file.name.starts_with("segments/")) {
        let lost = |shard: &&ShardHash| !first.contains(shard);
        let others = files.iter().filter(|file| !touched.iter().any(|touched| touched.name == file.name));
        let lost: Vec<_> = others.flat_map(|file| &file.shards).filter(lost).collect();
        assert!(lost.is_empty(), "{lost:?} are in segments that nobody touched");
    }
    !touched.is_empty()
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;
    use crate::store::memory::Chance;

    /// Files as the fuzzer left them when it found something.
    #[test]
    fn what_was_found_stays_mended() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/regressions/store");
        for entry in fs::read_dir(directory).unwrap() {
            store(&fs::read(entry.unwrap().path()).unwrap());
        }
    }

    /// The checkpoint of the longer log was believed as soon as the log was as long again: what had been acknowledged in between was
    /// taken for something that it knew, and lost with the next crash.
    #[tokio::test]
    async fn what_is_stored_when_the_log_has_lost_its_end_survives_a_crash() {
        let body = |number: u8, bytes: usize| Bytes::from(vec![number; bytes]);
        let put = async |store: &Store, body: Bytes| {
            let (shard, size) = (ShardHash(*blake3::hash(&body).as_bytes()), body.len() as u32);
            let placement = ShardPlacement { stripe: StripeId([1; 32]), pg: 2, index: 0, epoch: 3, size };
            store.put(shard, placement, body).await.unwrap();
            shard
        };
        let options = || StoreOptions { segment_bytes: 1 << 20, ..options() };
        let disk = MemoryDisk::default();
        let store = Store::open_on(Arc::new(disk.clone()), options()).unwrap();
        for number in 0..4 {
            put(&store, body(number, 500)).await;
        }
        store.close().await;
        let cut = MemoryDisk::default();
        for name in disk.names() {
            let mut content = disk.content(&name).unwrap();
            if name.starts_with("segments/") {
                content.truncate(content.len() - 900);
            }
            let file = cut.create(&name).unwrap();
            file.write_at(&[&content], 0).unwrap();
            file.sync().unwrap();
        }
        cut.sync_names().unwrap();
        let store = Store::open_on(Arc::new(cut.clone()), options()).unwrap();
        let mut shards = vec![put(&store, body(9, 10)).await];
        for number in 10..14 {
            shards.push(put(&store, body(number, 500)).await);
        }
        let store = Store::open_on(Arc::new(cut.after_kill()), options()).unwrap();
        for shard in shards {
            assert!(store.read_blocking(&shard).is_ok(), "{shard} was acknowledged");
        }
    }

    #[test]
    fn an_edited_store_opens_or_refuses_to() {
        assert!(!store(&[]));
        let mut useful = 0;
        for seed in 0..300 {
            let mut chance = Chance(seed);
            let bytes: Vec<u8> = (0..chance.below(60)).map(|_| chance.below(256) as u8).collect();
            useful += usize::from(store(&bytes));
        }
        assert!(useful > 100, "{useful}");
    }
}
