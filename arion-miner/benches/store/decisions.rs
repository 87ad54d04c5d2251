//! What docs/adr/0006-shard-store.md rests on: trees of proofs stored or computed, holes or copies.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    sync::Arc,
    time::{Duration, Instant},
};

use arion_miner::store::disk::{DirDisk, Disk, DiskFile};
use arion_proofs::{GROUP_BYTES, derive, prove};
use arion_types::ShardHash;
use bao_tree::{
    BaoTree, BlockSize, ChunkNum, ChunkRanges,
    io::{
        outboard::PreOrderMemOutboard,
        sync::{ReadAt, Size, encode_ranges},
    },
};

use super::{Bench, KIB, MIB, make_cold, shard};

const GROUPS: BlockSize = BlockSize::from_chunk_log(4);
const PROVEN: usize = 192;
/// Bytes of a file that is half deleted.
const HALVED_BYTES: usize = 128 << 20;
/// Header and checksum of a record.
const AROUND_BYTES: usize = 116;

/// Address of a shard, where its tree begins, how long that is; the shard follows.
type Kept = (ShardHash, u64, usize);

/// Makes a proof.
type Way<'a> = &'a dyn Fn(&Kept) -> Vec<u8>;

/// A shard inside a file.
struct Slice<'a> {
    file: &'a File,
    offset: u64,
    length: u64,
}

impl ReadAt for Slice<'_> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        FileExt::read_at(self.file, buffer, self.offset + offset)
    }
}

impl Size for Slice<'_> {
    fn size(&self) -> io::Result<Option<u64>> {
        Ok(Some(self.length))
    }
}

impl Bench {
    /// Prints both tables.
    pub(super) fn decisions(&self) {
        println!(
            "| shard | caches | tree computed, us | tree stored, us | of it read, KiB |\n|---|---|---|---|---|"
        );
        for length in [64 * KIB, 210 * KIB, MIB] {
            self.proofs(length);
        }
        println!("\n| shard | dead | holes, ms | freed | copy, ms | freed |\n|---|---|---|---|---|---|");
        for length in [MIB, 64 * KIB, 16 * KIB, 4 * KIB] {
            self.halve(length);
        }
    }

    /// Answers to a challenge: four groups of 16 KiB and the nodes above them.
    fn proofs(&self, length: usize) {
        let path = self.root.join("proofs");
        let file = File::create_new(&path).unwrap();
        let mut places: Vec<Kept> = Vec::new();
        let mut at = 0;
        for number in 0..PROVEN {
            let (address, body) = shard(number as u64, length);
            let tree = PreOrderMemOutboard::create(&body, GROUPS).data;
            file.write_all_at(&tree, at).unwrap();
            file.write_all_at(&body, at + tree.len() as u64).unwrap();
            places.push((address, at, tree.len()));
            at += (tree.len() + body.len()) as u64;
        }
        file.sync_all().unwrap();
        let file = File::open(&path).unwrap();
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Random).unwrap();
        places.sort_unstable();
        let seed = [7; 32];
        let groups = derive(&seed, length as u32);
        let chunks = groups.as_slice().iter().fold(ChunkRanges::empty(), |chunks, group| {
            let first = u64::from(*group) * 16;
            chunks | ChunkRanges::from(ChunkNum(first)..ChunkNum(first + 16))
        });
        let computed = |(address, at, tree): &Kept| {
            let mut body = vec![0; length];
            FileExt::read_exact_at(&file, &mut body, at + *tree as u64).unwrap();
            prove(address, &body, &groups).unwrap()
        };
        let stored = |(address, at, tree): &Kept| {
            let mut data = vec![0; *tree];
            FileExt::read_exact_at(&file, &mut data, *at).unwrap();
            let root = address.0.into();
            let outboard = PreOrderMemOutboard { root, tree: BaoTree::new(length as u64, GROUPS), data };
            let slice = Slice { file: &file, offset: at + *tree as u64, length: length as u64 };
            let mut proof = Vec::new();
            encode_ranges(slice, &outboard, &chunks, &mut proof).unwrap();
            proof
        };
        assert_eq!(computed(&places[0]), stored(&places[0]));
        for cold in [true, false] {
            let mut best = [f64::MAX; 2];
            for _ in 0..3 {
                let ways: [Way<'_>; 2] = [&computed, &stored];
                for (way, best) in ways.into_iter().zip(&mut best) {
                    if cold {
                        make_cold(&self.root);
                    }
                    let begun = Instant::now();
                    for place in &places {
                        std::hint::black_box(way(place));
                    }
                    *best = best.min(begun.elapsed().as_secs_f64() * 1e6 / PROVEN as f64);
                }
            }
            let read = (places[0].2 + groups.as_slice().len() * GROUP_BYTES as usize) as f64 / KIB as f64;
            let heat = if cold { "cold" } else { "in memory" };
            println!("| {} KiB | {heat} | {:.0} | {:.0} | {read:.0} |", length / KIB, best[0], best[1]);
        }
        fs::remove_file(&path).unwrap();
    }

    /// A file of which every other shard is dead: its holes punched, or what lives copied to a new file.
    fn halve(&self, length: usize) {
        let dir = self.root.join("halved");
        fs::create_dir_all(dir.join("segments")).unwrap();
        let disk = DirDisk::new(&dir);
        let (record, count) = (length + AROUND_BYTES, HALVED_BYTES / length);
        let (_, body) = shard(1, record);
        let write = |name: &str, count: usize| {
            let file = disk.create(name).unwrap();
            for number in 0..count {
                file.write_at(&[&body], (number * record) as u64).unwrap();
            }
            file.sync().unwrap();
            file
        };
        let file = write("whole", count);
        let before = file.allocated().unwrap();
        // Cold, as what is deleted is old.
        make_cold(&dir);
        let begun = Instant::now();
        self.copy(&disk, &file, record, count);
        let copied = begun.elapsed();
        let left = disk.open("copy").unwrap().allocated().unwrap();
        let begun = Instant::now();
        for number in (0..count).step_by(2) {
            file.punch((number * record) as u64 + 112, length as u64).unwrap();
        }
        file.sync().unwrap();
        let punched = begun.elapsed();
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let freed = |left: u64| 100.0 * (before - left) as f64 / before as f64;
        println!(
            "| {} KiB | {} of {count} | {:.1} | {:.0} % | {:.1} | {:.0} % |",
            length / KIB,
            count.div_ceil(2),
            ms(punched),
            freed(file.allocated().unwrap()),
            ms(copied),
            freed(left)
        );
        drop(file);
        fs::remove_dir_all(&dir).unwrap();
    }

    fn copy(&self, disk: &DirDisk, file: &Arc<dyn DiskFile>, record: usize, count: usize) {
        let new = disk.create("copy").unwrap();
        let (mut buffer, mut at) = (Vec::new(), 0);
        for number in (1..count).step_by(2) {
            buffer.extend(file.read((number * record) as u64, record).unwrap());
            if buffer.len() >= MIB || number + 2 >= count {
                new.write_at(&[&buffer], at).unwrap();
                at += buffer.len() as u64;
                buffer.clear();
            }
        }
        new.sync().unwrap();
    }
}
