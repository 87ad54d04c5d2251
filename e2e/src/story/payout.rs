//! Who stores is paid: families of five kinds, several weight buckets and settlements, and every balance as a sheet beside the chain
//! says, to the smallest unit.
//!
//! One family is good, one is far away, one is there half of the time, one cheats, one comes later; the others are good as well. The
//! sheet (`sheet`) and the books (`super::books`) know what stands on the chain for anybody to read (`record`), and none of the
//! pallets' code.

mod balances;
mod record;
mod sheet;
mod shift;

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use arion_chain::{Account, Call, ChainClient, Wait, ss58};
use arion_types::units::HIPP;

use crate::{
    cheat::Strategy,
    delay::Delay,
    layout::make,
    network::{Network, Options, registration::run as program},
    ports::NODES_MAX,
    progress::Progress,
    report::Report,
    story::{begin, client, end, within},
};
use record::Record;
use shift::Shift;

/// The longest the story may take; then it has failed.
const DEADLINE: Duration = Duration::from_secs(45 * 60);
/// 16 families of two: 15 are enough for a stripe when the one that cheats is left out.
const MINERS: u16 = 32;
/// Families, counted from 0, and what becomes of them. Only the first miners can have proxies.
const SLOW: u16 = 0;
const HALF: u16 = 1;
const CHEATER: u16 = 2;
const HONEST: u16 = 3;
/// How the two miners of the family that cheats do it.
const CHEATS: [Strategy; 2] = [Strategy::Truncated, Strategy::RefuseChallenges];
/// How late packets of the slow family are, each way.
const LATE: Duration = Duration::from_millis(400);
/// Objects of one stripe each, at first and for the newcomer.
const OBJECTS: usize = 16;
const MORE_OBJECTS: usize = 4;
/// Bytes of an object: shards of some 120 kB.
const OBJECT_BYTES: usize = 1_200_000;
/// How often every object is read, in turn with the others.
const READS: usize = 6;
const BUCKET: &str = "paid";
/// Weight buckets before the newcomer comes, and from then on: two make a settlement. A weight grows by 500 in a bucket at most, so
/// that it takes some until one that could be 4,500 is told from one that could be more.
const BUCKETS_BEFORE: usize = 3;
const BUCKETS_AFTER: usize = 8;
const PATIENCE: Duration = Duration::from_secs(900);
const POLL: Duration = Duration::from_millis(500);

/// What the client gets, for credits and fees.
const ENDOWMENT: u128 = 5_000 * HIPP;
/// Prices without round numbers: ALPHA per credit, units of credit per GiB-hour.
const CREDIT_PRICE: u128 = 1_234_567_890_123_456_789;
const STORAGE_PRICE: u128 = 700_000_000_000_007;
/// What the client lets the gateway bill, and units it buys beyond what it must have for that.
const BYTES_MAX: u64 = 192 << 20;
const BEYOND_RUNWAY: u128 = 200_123_456_789_123;
/// The gateway's account of the access key that every network has.
const ACCOUNT: &str = "default";

/// Where the nodes run.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// First of the 300 ports that the network of the story uses.
    #[arg(long, value_name = "P", default_value_t = 27_200)]
    base_port: u16,
    /// Validators, each of which reports on miners.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=i64::from(NODES_MAX)))]
    validators: u16,
}

/// Tells the story. The exit code says whether every check held.
pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let progress = Progress::start();
    let options = Options { miners: MINERS, validators: arguments.validators };
    let (mut network, lock) = begin("payout", arguments.base_port, options)?;
    network.bill("2s");
    network.put_behind_proxies(2);
    let mut report = Report::new("payout");
    let told = within(DEADLINE, tell(&mut network, &mut report, progress)).await;
    Ok(end(network, &lock, report, &progress, told).await)
}

async fn tell(network: &mut Network, report: &mut Report, progress: Progress) -> anyhow::Result<()> {
    report.step(1, &format!("the network forms, with {MINERS} miners; somebody stores and pays for it"));
    let delays = network.delays()?;
    network.form(&progress).await?;
    let chain = network.chain().await?;
    let record = Record::new(&chain)?;
    let shift = Shift::of([2 * HALF, 2 * HALF + 1].map(Network::miner_name));
    let (objects, reads, reads_wrong) = (0, 0, 0);
    let mut stage = Stage { network, report, progress, chain, record, shift, objects, reads, reads_wrong };
    stage.same_stakes().await?;
    stage.pays().await?;
    stage.store(OBJECTS).await?;

    let family = Network::family_name;
    stage.report.step(
        2,
        &format!(
            "{} is far away, {} is there half of the time, {} cheats: {} buckets",
            family(SLOW),
            family(HALF),
            family(CHEATER),
            BUCKETS_BEFORE
        ),
    );
    for proxy in [0, 1] {
        delays.set(proxy, Delay { least: LATE, jitter: Duration::ZERO })?;
    }
    for (miner, strategy) in (2 * CHEATER..).zip(CHEATS) {
        stage.network.cheat(miner, strategy).await?;
    }
    stage.shift.begin();
    let before = stage.record.closed.len() + BUCKETS_BEFORE;
    stage.until("weight buckets", |record| record.closed.len() >= before).await?;

    let newcomer = stage.newcomer().await?;
    let after = stage.record.closed.len() + BUCKETS_AFTER;
    stage.until("weight buckets", |record| record.closed.len() >= after).await?;
    balances::judge(&mut stage, newcomer).await
}

/// A network that is told about, and what is known of it.
struct Stage<'a> {
    network: &'a mut Network,
    report: &'a mut Report,
    progress: Progress,
    chain: ChainClient,
    record: Record,
    shift: Shift,
    objects: usize,
    reads: usize,
    reads_wrong: usize,
}

impl Stage<'_> {
    /// The sheet counts a vote for each validator.
    async fn same_stakes(&self) -> anyhow::Result<()> {
        let mut stakes = Vec::new();
        for validator in self.chain.validators().await? {
            stakes.push(self.chain.stake(&validator).await?);
        }
        ensure!(stakes.windows(2).all(|pair| pair[0] == pair[1]), "validators have other stakes: {stakes:?}");
        Ok(())
    }

    /// An account of the chain pays for the access key.
    async fn pays(&mut self) -> anyhow::Result<()> {
        let governance = Account::from_secret(Network::validator_account(0))?;
        let payer = Account::from_seed(rand::random())?;
        let prices = vec![Call::set_credit_price(CREDIT_PRICE), Call::set_storage_price(STORAGE_PRICE)];
        let calls = vec![Call::sudo(Call::batch(prices)), Call::transfer(&payer.id(), ENDOWMENT)];
        self.chain.submit(&governance, &Call::batch(calls), Wait::Finalized).await?;
        let runway = u128::from(self.chain.runway_blocks()?);
        let hour = u128::from(self.chain.blocks_per_hour()?) << 30;
        let units = (u128::from(BYTES_MAX) * STORAGE_PRICE * runway).div_ceil(hour) + BEYOND_RUNWAY;
        let calls = vec![
            Call::buy_credits(&payer.id(), units, ENDOWMENT / 2),
            Call::authorize_gateway(&self.network.node_id("gateway")?, BYTES_MAX),
        ];
        self.chain.submit(&payer, &Call::batch(calls), Wait::Finalized).await?;
        let data = self.network.directory("gateway").to_string_lossy().into_owned();
        let bind = ["arion-gateway", "account", "set", ACCOUNT, "--data-dir", &data];
        program(&[&bind[..], &["--chain-account", &ss58(&payer.id())]].concat()).await?;
        make(&self.network.layout().of("files"))?;
        client::s3(self.network.s3()?, &["make-bucket", BUCKET]).await?;
        Ok(())
    }

    fn file(&self, number: usize) -> PathBuf {
        self.network.layout().of("files").join(format!("object-{number}"))
    }

    /// Stores so many more objects.
    async fn store(&mut self, objects: usize) -> anyhow::Result<()> {
        for number in self.objects..self.objects + objects {
            let mut body = vec![0; OBJECT_BYTES];
            blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut body);
            let path = self.file(number);
            std::fs::write(&path, &body)?;
            let key = format!("object-{number}");
            // The gateway learns of the consent a moment after the chain.
            self.until_stored(&path.to_string_lossy(), &key).await?;
        }
        self.objects += objects;
        self.progress.say(format!("{} objects are stored", self.objects));
        Ok(())
    }

    async fn until_stored(&mut self, path: &str, key: &str) -> anyhow::Result<()> {
        let begun = Instant::now();
        loop {
            let answer = client::s3(self.network.s3()?, &["store", path, BUCKET, key]).await?;
            self.record.read_on(&self.chain).await?;
            if answer["etag"].is_string() {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                bail!("{key} is not taken within {} s: {answer}", PATIENCE.as_secs());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Reads one more object, as long as not all were read often enough.
    async fn read(&mut self) -> anyhow::Result<()> {
        if self.reads >= READS * self.objects {
            return Ok(());
        }
        let number = self.reads % self.objects;
        let (path, back) = (self.file(number), self.file(number).with_extension("back"));
        let key = format!("object-{number}");
        let found = client::s3(self.network.s3()?, &["get", BUCKET, &key, &back.to_string_lossy()]).await?;
        let is_equal = found["blake3"] == blake3::hash(&std::fs::read(&path)?).to_hex().as_str();
        self.reads_wrong += usize::from(!is_equal);
        self.reads += 1;
        Ok(())
    }

    /// Reads objects and the chain, and lets miners come and go, until the record is as wanted.
    async fn until(&mut self, what: &str, is_done: impl Fn(&Record) -> bool) -> anyhow::Result<()> {
        let begun = Instant::now();
        loop {
            self.record.read_on(&self.chain).await?;
            if is_done(&self.record) {
                return Ok(());
            }
            self.shift.turn(self.network)?;
            self.read().await?;
            if let Some((name, ending)) = self.network.ended()?.first() {
                bail!("{name} {ending}: look with `logs {name}`");
            }
            if begun.elapsed() > PATIENCE {
                bail!("{what}: not within {} s", PATIENCE.as_secs());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Step 3: a family that nobody knew. Returns its number.
    async fn newcomer(&mut self) -> anyhow::Result<u16> {
        self.report.step(3, "a new family comes: it weighs the floor at first, then it stores as others do");
        let chain = self.chain.clone();
        let family = self.network.join_family(&chain, &self.progress).await?;
        let account = self.network.account(&Network::family_name(family))?.id();
        let weight = |record: &Record| record.sheet.families.get(&account).copied().unwrap_or(0);
        self.until("the newcomer's weight", |record| weight(record) > 0).await?;
        let floor: u16 = chain.constant("Arion", "NewcomerFloorWeight")?;
        let first = weight(&self.record);
        self.report.check(format!("its first weight is the floor: {first}"), first == floor.into());
        let begun = Instant::now();
        loop {
            let map = chain.current_map().await?.context("there is no map any more")?;
            if map.miners.iter().any(|miner| miner.family == account) {
                break;
            }
            if begun.elapsed() > PATIENCE {
                bail!(
                    "no map names the newcomer after {} s: look with `logs validator-1`",
                    PATIENCE.as_secs()
                );
            }
            self.record.read_on(&chain).await?;
            self.shift.turn(self.network)?;
            tokio::time::sleep(POLL).await;
        }
        self.store(MORE_OBJECTS).await?;
        Ok(family)
    }
}
