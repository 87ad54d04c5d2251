//! Our store beside that of the public miner of thenervelab/arion 0.1.28 (`benches/reference/miner.rs`): the same shards,
//! the same number of writers, with and without fsync.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use arion_miner::store::{
    Store,
    disk::{DirDisk, Disk, DiskFile, DiskLock},
};

use super::{Bench, KIB, MIB, make_cold, options, shards};

const WRITERS: usize = 64;
const MANY: usize = 50_000;

/// A disk that says that everything is durable.
struct Careless(DirDisk);

struct CarelessFile(Arc<dyn DiskFile>);

impl Disk for Careless {
    fn segments(&self) -> io::Result<Vec<String>> {
        self.0.segments()
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.0.open(name).map(|file| Arc::new(CarelessFile(file)) as Arc<dyn DiskFile>)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.0.create(name).map(|file| Arc::new(CarelessFile(file)) as Arc<dyn DiskFile>)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }

    fn sync_names(&self) -> io::Result<()> {
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.0.free_bytes()
    }

    fn lock(&self) -> io::Result<Option<DiskLock>> {
        self.0.lock()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path(name)
    }
}

impl DiskFile for CarelessFile {
    fn length(&self) -> io::Result<u64> {
        self.0.length()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_at(buffer, offset)
    }

    fn write_at(&self, parts: &[&[u8]], offset: u64) -> io::Result<()> {
        self.0.write_at(parts, offset)
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.0.set_length(length)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn punch(&self, offset: u64, length: u64) -> io::Result<()> {
        self.0.punch(offset, length)
    }

    fn allocated(&self) -> io::Result<u64> {
        self.0.allocated()
    }

    fn forget_cached(&self) {}
}

/// Names and sizes of files too, where that is allowed; else only contents.
fn forget_everything(dir: &Path) {
    let synced = Command::new("sync").status().is_ok_and(|status| status.success());
    if !synced || fs::write("/proc/sys/vm/drop_caches", "3").is_err() {
        make_cold(dir);
    }
}

fn theirs(program: &str, arguments: &[&str]) -> Vec<f64> {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().map(|number| number.parse().unwrap()).collect()
}

fn line(what: &str, unit: &str, theirs: f64, ours: f64) {
    println!("| {what} | {unit} | {theirs:.1} | {ours:.1} | {:.2} |", ours / theirs);
}

impl Bench {
    /// Prints the table, or only how both start.
    pub(super) fn reference(&mut self, only_start: bool) {
        let Ok(program) = std::env::var("ARION_REFERENCE_MINER") else {
            println!("ARION_REFERENCE_MINER names no program: `./scripts/bench store reference` builds it");
            return;
        };
        println!("| what | unit | theirs | ours | ratio |\n|---|---|---|---|---|");
        if only_start {
            return self.starts(&program);
        }
        for (length, count, name) in [(MIB, 192, "1 MiB"), (4 * KIB, 3_200, "4 KiB")] {
            for durable in [true, false] {
                let (mut best_theirs, mut best) = (f64::MAX, f64::MAX);
                for _ in 0..2 {
                    best_theirs = best_theirs.min(self.theirs_store(&program, length, count, durable));
                    fs::remove_dir_all(self.root.join("theirs")).unwrap();
                    best = best.min(self.ours_store(length, count, durable).as_secs_f64());
                    fs::remove_dir_all(self.root.join("ours")).unwrap();
                }
                let count = count as f64;
                let what = format!("store {name}, {}", if durable { "durable" } else { "without fsync" });
                line(&what, "shards/s", count / best_theirs, count / best);
            }
            self.reads(&program, length, count, name);
        }
        self.starts(&program);
    }

    fn theirs_store(&self, program: &str, length: usize, count: usize, durable: bool) -> f64 {
        let dir = self.root.join("theirs");
        let (length, count) = (length.to_string(), count.to_string());
        let durable = if durable { "1" } else { "0" };
        theirs(program, &["store", dir.to_str().unwrap(), &length, &count, &WRITERS.to_string(), durable])[0]
    }

    fn ours_store(&self, length: usize, count: usize, durable: bool) -> Duration {
        let root = self.root.join("ours");
        let disk = DirDisk::new(&root);
        let disk: Arc<dyn Disk> = if durable { Arc::new(disk) } else { Arc::new(Careless(disk)) };
        let store = Arc::new(Store::open_on(disk, options()).unwrap());
        self.store_in(&store, &shards(0, count, length), WRITERS, length)
    }

    fn reads(&self, program: &str, length: usize, count: usize, name: &str) {
        let (theirs_dir, ours_dir) = (self.root.join("theirs"), self.root.join("ours"));
        self.theirs_store(program, length, count, false);
        self.ours_store(length, count, true);
        let mut order: Vec<_> = shards(0, count, length).into_iter().map(|(shard, _)| shard).collect();
        order.sort_unstable();
        let reads = count.min(2_000);
        let store = Arc::new(Store::open(&ours_dir, options()).unwrap());
        for cold in [true, false] {
            let (mut best_theirs, mut best) = (f64::MAX, f64::MAX);
            for _ in 0..2 {
                if cold {
                    forget_everything(&self.root);
                }
                let arguments = [length.to_string(), count.to_string(), reads.to_string()];
                let [length, count, reads_text] = arguments.each_ref().map(String::as_str);
                let dir = theirs_dir.to_str().unwrap();
                best_theirs = best_theirs.min(theirs(program, &["read", dir, length, count, reads_text])[0]);
                if cold {
                    forget_everything(&self.root);
                }
                let begun = Instant::now();
                self.runtime.block_on(async {
                    for shard in &order[..reads] {
                        std::hint::black_box(store.read(*shard).await.unwrap());
                    }
                });
                best = best.min(begun.elapsed().as_secs_f64());
            }
            let what = format!("read {name}, {}", if cold { "cold" } else { "in memory" });
            line(&what, "reads/s", reads as f64 / best_theirs, reads as f64 / best);
        }
        drop(store);
        fs::remove_dir_all(&theirs_dir).unwrap();
        fs::remove_dir_all(&ours_dir).unwrap();
    }

    /// Both with as many shards as their files allow in a reasonable time.
    fn starts(&self, program: &str) {
        let dir = self.root.join("theirs");
        self.theirs_store(program, 64, MANY, false);
        let root = self.many(MANY as u64);
        forget_everything(&self.root);
        let started = theirs(program, &["start", dir.to_str().unwrap()]);
        forget_everything(&self.root);
        let begun = Instant::now();
        let store = Store::open(&root, options()).unwrap();
        let open = begun.elapsed().as_secs_f64();
        assert_eq!(store.usage().shards, MANY as u64);
        let sized = begun.elapsed().as_secs_f64();
        let mut after = None;
        let mut listed = 0;
        while let Some(last) = store.list(after, 1_024).last() {
            (after, listed) = (Some(last.shard), listed + 1);
        }
        assert!(listed >= MANY / 1_024);
        let ours = [open, sized, begun.elapsed().as_secs_f64()];
        let what = ["until reads are answered", "until the space used is known", "until all are listed"];
        for (what, (theirs, ours)) in what.iter().zip(started.iter().zip(ours)) {
            line(&format!("start, 50,000 shards, cold, {what}"), "ms", theirs * 1e3, ours * 1e3);
        }
        let bytes = |dir: &Path| {
            let output = Command::new("du").args(["-s", "--block-size=1M"]).arg(dir).output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            text.split_whitespace().next().unwrap().parse::<f64>().unwrap()
        };
        line("disk taken by 50,000 shards of 64 bytes", "MiB", bytes(&dir), bytes(&root));
    }
}
