//! The gateway: the real data path, metadata and ledger. Its clients are in the same process: S3 is not simulated.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use anyhow::{Context, ensure};
use arion_chain::{ChainView, Snapshot};
use arion_crypto::{CustomerKey, OperatorSecret, WrappedKey};
use arion_daemon::{Health, Shutdown, now_ms, work::of_host};
use arion_gateway::{
    chain,
    checksum::ChecksumKind,
    grid::{Grid, GridOptions, read::OpenPart, write::Upload},
    keyring::Keyring,
    keystore::Generations,
    ledger_service::LedgerService,
    lifecycle::{self, Day, LifecycleOptions},
    manifest::{Manifest, PartManifest, StripeRecord},
    meta::{
        Allowance, BucketInfo, Completion, Condition, DeleteRequest, Meta, MetaError, NewObject, PartInfo,
        Subresource, UploadInfo, UploadKey,
    },
    metrics::Metrics,
    object::ObjectInfo,
    placement::Maps,
    snapshot::{
        cut::Sizes,
        recover::{Reader, Recovered, Wanted},
        schedule::{REQUEST, Schedule},
        take::{self, Snapshotter},
    },
};
use arion_ledger::{Ledger, ReceiptChecker, verify};
use arion_net::Service;
use arion_protocol::{LedgerRecord, Request, Response, limits::LEDGER_ENTRIES_MAX};
use arion_types::{NodeId, ShardHash};
use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::{Instant, timeout};

use crate::{
    chain::GENESIS,
    disk::Drive,
    host::{Place, Setting, lock},
    life::Life,
    trace::trace,
};

const BUCKET: &str = "bucket";
/// The rules of the bucket where objects expire: after a day, but for those of the first client ([`crate::load::expires`]).
const RULES: &str = "<LifecycleConfiguration>\
    <Rule><ID>1</ID><Status>Enabled</Status><Filter><Prefix>client-1/</Prefix></Filter><Expiration><Days>1</Days></Expiration></Rule>\
    <Rule><ID>2</ID><Status>Enabled</Status><Filter><Prefix>client-2/</Prefix></Filter><Expiration><Days>1</Days></Expiration></Rule>\
    </LifecycleConfiguration>";
/// Between rounds of the walker through objects that expire.
const WALK: Duration = Duration::from_secs(20);
/// Between looks at the chain where it says nothing new.
const LOOK: Duration = Duration::from_secs(5);
/// Miners need a moment to learn of a registration.
const MINERS_PATIENCE: Duration = Duration::from_secs(180);
/// Short, so that there is a tree.
const CHUNKS: Sizes = Sizes { min: 2 << 10, target: 6 << 10, max: 24 << 10 };

/// A gateway in one life.
#[derive(Clone)]
pub struct Running {
    pub life: Life,
    pub grid: Arc<Grid>,
}

/// The gateway over its lives.
pub struct Gateway {
    /// Another machine with another key after a recovery.
    place: Mutex<Place>,
    setting: Setting,
    drive: Mutex<Drive>,
    running: Mutex<Option<Running>>,
    /// Whether its ledger says what nobody has signed.
    is_lying: Arc<AtomicBool>,
}

/// What a snapshot is found and opened with.
fn secret() -> Generations {
    Generations::one(OperatorSecret::from_bytes([9; 32]))
}

/// Whose key data keys are wrapped under: that takes no bucket.
fn customer() -> CustomerKey {
    CustomerKey::from_bytes([8; 32])
}

fn options() -> GridOptions {
    GridOptions {
        // Small enough for objects of several stripes to cost little.
        stripe_bytes: 96 << 10,
        pack_object_bytes: 16 << 10,
        surplus_after: std::time::Duration::from_secs(120),
        cache_bytes: 0,
        ..GridOptions::default()
    }
}

impl Gateway {
    pub fn new(place: Place, setting: Setting) -> Self {
        let (drive, running, is_lying) = Default::default();
        Self { place: Mutex::new(place), setting, drive, running, is_lying }
    }

    pub fn place(&self) -> Place {
        *lock(&self.place)
    }

    pub fn running(&self) -> Option<Running> {
        lock(&self.running).clone()
    }

    /// Bytes on its disk.
    pub fn disk_bytes(&self) -> usize {
        lock(&self.drive).bytes()
    }

    pub fn set_lying(&self, is_lying: bool) {
        trace!("gateway lies {is_lying}");
        self.is_lying.store(is_lying, SeqCst);
    }

    pub fn crash(&self, power: bool) {
        let Some(running) = lock(&self.running).take() else { return };
        trace!("{} crashes, power cut {power}", self.place().name());
        running.life.end();
        let mut chance = self.setting.dice.chance();
        lock(&self.drive).crash(power.then_some(&mut chance));
    }

    pub async fn start(&self) -> anyhow::Result<()> {
        if self.running().is_some() {
            return Ok(());
        }
        of_host(self.place().clock(), self.begin()).await
    }

    async fn begin(&self) -> anyhow::Result<()> {
        let place = self.place();
        let (name, key, life) = (place.name(), place.key(), Life::of(place));
        trace!("{name} starts");
        let file = lock(&self.drive).database()?;
        let meta = Meta::open_on(file).context("the gateway does not start")?;
        if meta.bucket(BUCKET.into()).await?.is_none() {
            meta.create_bucket(BUCKET.into(), BucketInfo::new("account".into(), now_ms())).await?;
        }
        if self.setting.day.is_some() {
            let rules = Some(RULES.as_bytes().to_vec());
            meta.put_subresource(BUCKET.into(), Subresource::Lifecycle, rules).await?;
        }
        let maps = Maps::default();
        chain::recall_maps(&meta, &maps).await?;
        let seen = Arc::new(OnceLock::new());
        let ledger = LedgerService::new(meta.clone(), maps.clone(), seen.clone());
        let view = self.setting.chain.view(&name, &life);
        // Set a moment ago at most.
        let _ = seen.set(view.clone());
        let transport = self.setting.network.transport(&name, place.node(), &life);
        let grid = Grid::new(key, GENESIS, transport, maps, meta, options(), Metrics::default());
        let grid = Arc::new(grid);
        grid.recover().await?;
        chain::take_over(&grid, &view.snapshot()).await?;
        let answering = Answering { ledger, is_lying: self.is_lying.clone() };
        self.setting.network.listen(&name, place.node(), &life, Arc::new(answering));
        life.spawn(grid.clone().upkeep(Shutdown::new()));
        if let Some(day) = self.setting.day {
            let day = Day(u64::try_from(day.as_millis()).unwrap_or(u64::MAX));
            let options = LifecycleOptions { day, pause: WALK };
            life.spawn(lifecycle::run(grid.meta.clone(), Metrics::default(), options, Shutdown::new()));
        }
        life.spawn(follow(grid.clone(), view));
        if let Some(interval) = self.setting.snapshots {
            let snapshotter = Arc::new(Snapshotter {
                grid: grid.clone(),
                keyring: Arc::new(Keyring::new(grid.meta.clone(), secret())),
                anchor: Arc::new(self.setting.chain.clone()),
                // Nobody makes these files.
                access_keys: self.setting.directory.join("keys.toml"),
                sizes: CHUNKS,
                bytes_per_second: 0,
            });
            let (request, health) = (self.setting.directory.join(REQUEST), Health::new("sim", "0"));
            let schedule = Schedule { snapshotter, interval, request, health };
            life.spawn(async move { schedule.run(Shutdown::new()).await });
        }
        *lock(&self.running) = Some(Running { life, grid });
        Ok(())
    }
}

impl Gateway {
    /// Becomes another machine with another key that has nothing: not even what was on the disk.
    pub fn replace(&self) {
        self.crash(true);
        *lock(&self.drive) = Drive::empty();
        lock(&self.place).number += 1;
    }

    /// Makes the metadata of an empty gateway from the operator's secret and the chain; it does not run yet.
    pub async fn recover(&self) -> anyhow::Result<Recovered> {
        let place = self.place();
        of_host(place.clock(), self.read_snapshot(place)).await
    }

    async fn read_snapshot(&self, place: Place) -> anyhow::Result<Recovered> {
        let (name, life) = (place.name(), Life::of(place));
        trace!("{name} recovers");
        // What an attempt left that was cut off is not gone on with.
        *lock(&self.drive) = Drive::empty();
        let file = lock(&self.drive).database()?;
        let meta = Meta::open_on(file).context("there is no room for recovered metadata")?;
        let maps = Maps::default();
        let view = self.setting.chain.view(&name, &life);
        chain::learn(&maps, &view.snapshot());
        let transport = self.setting.network.transport(&name, place.node(), &life);
        let grid = Grid::new(place.key(), GENESIS, transport, maps, meta, options(), Metrics::default());
        let generations = secret();
        let named = take::newest(&self.setting.chain, &generations, &GENESIS).await?;
        let named = named.context("the chain names no snapshot")?;
        let wanted = Wanted { secret: named.secret, locator: named.locator, anchored: named.anchored };
        let reader = Reader { grid: Arc::new(grid), patient_until: Instant::now() + MINERS_PATIENCE };
        let root = reader.root(&wanted).await?;
        let recovered = reader.fill(&wanted, root).await?;
        trace!("{name} has recovered {:?}", recovered.summary);
        drop(reader);
        life.end();
        // The process that has recovered is gone.
        lock(&self.drive).crash(None);
        Ok(recovered)
    }
}

/// The real ledger, or what a cheat makes of it: every third receipt is one of another shard.
struct Answering {
    ledger: LedgerService,
    is_lying: Arc<AtomicBool>,
}

#[async_trait]
impl Service for Answering {
    async fn serve(&self, peer: NodeId, request: Request, body: Bytes) -> (Response, Bytes) {
        let (mut response, body) = self.ledger.serve(peer, request, body).await;
        if let (true, Response::Ledger(entries) | Response::LedgerLines(entries)) =
            (self.is_lying.load(SeqCst), &mut response)
        {
            for entry in entries.iter_mut().filter(|entry| entry.sequence % 3 == 0) {
                if let LedgerRecord::Stored(signed) = &mut entry.record {
                    signed.receipt.shard.0[0] ^= 1;
                }
            }
        }
        (response, body)
    }
}

async fn ledger(meta: &Meta) -> anyhow::Result<Vec<LedgerRecord>> {
    let mut lines = Vec::new();
    loop {
        let page = meta.ledger_page(lines.len() as u64, LEDGER_ENTRIES_MAX).await?;
        if page.is_empty() {
            return Ok(lines);
        }
        for entry in page {
            ensure!(entry.sequence == lines.len() as u64 + 1, "the ledger has a gap at {}", entry.sequence);
            lines.push(entry.record);
        }
    }
}

async fn follow(grid: Arc<Grid>, mut view: ChainView) {
    loop {
        if let Err(error) = chain::take_over(&grid, &view.snapshot()).await {
            trace!("gateway cannot take a map over: {error}");
        }
        // Nothing new is no news.
        let _ = timeout(LOOK, view.changed()).await;
    }
}

fn wrapped(key: &arion_crypto::DataKey) -> WrappedKey {
    customer().wrap(key, b"")
}

impl Running {
    /// Brings bytes to the miners; they are given up unless what is returned first is told to keep them.
    async fn store(&self, plain: &[u8]) -> anyhow::Result<(Upload, PartManifest)> {
        let mut upload = Upload::new(self.grid.clone());
        for piece in plain.chunks(64 << 10) {
            upload.push(piece).await?;
        }
        let (sealed, data_key) = upload.finish().await?;
        Ok((upload, sealed.with_key(wrapped(&data_key))))
    }

    /// Puts an object in parts as S3 does; the first part twice, as a client does that heard nothing.
    pub async fn put_in_parts(&self, key: &str, plain: &[u8], count: usize) -> anyhow::Result<()> {
        let meta = &self.grid.meta;
        let id = hex::encode(rand::random::<[u8; 16]>());
        let upload = UploadKey { bucket: BUCKET.into(), key: key.into(), id };
        let info = UploadInfo { created_ms: now_ms(), ..Default::default() };
        meta.create_upload(upload.clone(), info, Allowance::NONE).await?;
        let mut pieces: Vec<&[u8]> = plain.chunks(plain.len().div_ceil(count).max(1)).collect();
        if pieces.is_empty() {
            pieces.push(plain);
        }
        let mut parts = Vec::new();
        for (number, piece) in (1..).zip(&pieces) {
            let times = if number == 1 { 2 } else { 1 };
            for time in 0..times {
                let (taken, manifest) = self.store(piece).await?;
                let md5 = [time; 16];
                let part = PartInfo { md5, modified_ms: now_ms(), manifest, checksums: Default::default() };
                meta.put_part(upload.clone(), number, part, Allowance::NONE, now_ms()).await?;
                taken.keep();
            }
            parts.push((number, [times - 1; 16]));
        }
        let completion = Completion {
            upload,
            parts,
            etag: "etag".into(),
            checksums: Default::default(),
            checksum_kind: ChecksumKind::default(),
            manifest: rand::random(),
            part_bytes_min: 1,
            condition: Condition::default(),
            origin: Default::default(),
        };
        meta.complete_upload(completion, now_ms()).await?;
        Ok(())
    }

    /// Gives up uploads in parts that were cut off.
    pub async fn abort_uploads(&self) -> anyhow::Result<()> {
        let meta = &self.grid.meta;
        while let (Some(upload), _) = meta.next_expired(None, usize::MAX, u64::MAX).await? {
            trace!("{upload} was cut off and is given up");
            meta.abort_upload(upload, now_ms()).await?;
        }
        Ok(())
    }

    /// Puts an object as S3 does.
    pub async fn put(&self, key: &str, plain: &[u8]) -> anyhow::Result<()> {
        let (upload, manifest) = self.store(plain).await?;
        let now = now_ms();
        let info = ObjectInfo {
            manifest: rand::random(),
            size: manifest.plain_len,
            etag: "etag".into(),
            modified_ms: now,
            ..Default::default()
        };
        let object = NewObject {
            bucket: BUCKET.into(),
            key: key.into(),
            info,
            manifest: Manifest::whole(manifest),
            condition: Condition::default(),
            allowance: Allowance::NONE,
            origin: Default::default(),
        };
        self.grid.meta.put_object(object, now).await?;
        upload.keep();
        Ok(())
    }

    /// The bytes of an object; `None` if there is none.
    pub async fn get(&self, key: &str) -> anyhow::Result<Option<Vec<u8>>> {
        let Some(manifest) = self.manifest(key).await? else { return Ok(None) };
        let size = manifest.plain_len();
        let mut parts = Vec::new();
        for part in manifest.parts {
            let key = customer().unwrap(&part.key, b"")?;
            parts.push(OpenPart { manifest: part, key });
        }
        let mut pieces = self.grid.read(parts, 0..size);
        let mut plain = Vec::new();
        while let Some(piece) = pieces.recv().await {
            plain.extend_from_slice(&piece?);
        }
        Ok(Some(plain))
    }

    pub async fn delete(&self, key: &str) -> anyhow::Result<()> {
        let request = DeleteRequest { bucket: BUCKET.into(), key: key.into(), ..Default::default() };
        self.grid.meta.delete(request, now_ms()).await?;
        Ok(())
    }

    async fn manifest(&self, key: &str) -> anyhow::Result<Option<Manifest>> {
        match self.grid.meta.object_with_manifest(BUCKET.into(), key.into(), None).await {
            Ok((_, manifest)) => Ok(Some(manifest)),
            Err(MetaError::NoSuchKey) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The stripes of an object.
    pub async fn stripes(&self, key: &str) -> anyhow::Result<Vec<StripeRecord>> {
        let manifest = self.manifest(key).await?;
        Ok(manifest.map(|manifest| manifest.stripes().cloned().collect()).unwrap_or_default())
    }

    /// Shards that its ledger names.
    pub async fn named(&self) -> anyhow::Result<BTreeSet<ShardHash>> {
        let mut named = BTreeSet::new();
        for line in ledger(&self.grid.meta).await? {
            match line {
                LedgerRecord::Stored(signed) => drop(named.insert(signed.receipt.shard)),
                LedgerRecord::Deleted { shard } => drop(named.remove(&shard)),
                _ => {}
            }
        }
        Ok(named)
    }

    /// What must be true of its books: lines of the ledger verify without a finding, what is counted is what there is.
    pub async fn check_books(&self, place: Place, chain: &Snapshot) -> anyhow::Result<()> {
        let meta = &self.grid.meta;
        let ledger = Ledger::new(GENESIS, place.node(), ledger(meta).await?);
        let (view, _source) = ChainView::manual(GENESIS, chain.clone());
        let report = verify(&ledger, &[], &mut ReceiptChecker::new(view));
        ensure!(
            report.found == 0,
            "{} findings in the ledger, the first {:?}",
            report.found,
            report.findings.first()
        );
        let recount = meta.recount_usage().await?;
        ensure!(recount.wrong.is_empty() && recount.unreadable == 0, "usage is counted wrongly: {recount:?}");
        Ok(())
    }
}
