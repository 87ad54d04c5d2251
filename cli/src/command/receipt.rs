//! `arion receipt`: files that prove that miners signed for an object.

mod trace;

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context, bail};
use arion_chain::{ChainView, EpochMap, Snapshot};
use arion_daemon::line;
use arion_ledger::{
    PutReceipt, ReceiptChecker,
    put_receipt::{Object, Proven},
};
use arion_types::{GenesisHash, NodeId};
use serde::Serialize;

use super::{map, print_json, size};
use crate::{
    objects::{Client, ObjectUrl},
    settings::Settings,
    transfer::etag,
};

pub use trace::trace;

/// Longest file, bytes: that of the largest object that gets one has 40 MiB.
const FILE_BYTES_MAX: u64 = 128 << 20;

/// What a receipt is compared with.
#[derive(Debug, Default)]
pub struct Wanted {
    /// A file that has to be the object.
    pub against: Option<PathBuf>,
    /// Who has to have signed.
    pub gateway: Option<NodeId>,
    /// For which chain.
    pub genesis: Option<GenesisHash>,
    /// Files with maps.
    pub maps: Vec<PathBuf>,
}

/// What a receipt proves, as it is printed.
#[derive(Serialize)]
struct Told {
    #[serde(flatten)]
    object: Object,
    stated: String,
    gateway: String,
    genesis: String,
    stripes: usize,
    /// Fewest miners that signed for a stripe.
    miners_per_stripe_min: Option<usize>,
    miners: usize,
    stored_first: Option<String>,
    stored_last: Option<String>,
    epochs: Vec<u64>,
    /// Root of each map that was compared with, by epoch.
    maps: BTreeMap<u64, String>,
    /// Whether the file that was given has the object's size and ETag.
    against: Option<bool>,
}

fn time(ms: u64) -> String {
    let found = i64::try_from(ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    found.map_or_else(|| format!("{ms} ms"), |found| found.to_string())
}

fn parse(text: &str) -> anyhow::Result<Proven> {
    let receipt: PutReceipt = serde_json::from_str(text).context("this is no receipt")?;
    receipt.verify().context("the receipt proves nothing")
}

/// Asks the gateway for a receipt, verifies it and writes it.
pub async fn get(
    settings: Settings,
    at: ObjectUrl,
    version: Option<String>,
    file: Option<&Path>,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let client = Client::new(&settings)?;
    let asked = at.clone();
    let text = super::blocking(move || client.receipt(&asked, version.as_deref())).await?;
    let proven = parse(&text).context("the gateway's answer is not taken")?;
    if (&proven.statement.bucket, &proven.statement.key) != (&at.bucket, &at.key) {
        bail!("the gateway answered with the receipt of another object");
    }
    let Some(file) = file else {
        line!("{text}");
        return Ok(ExitCode::SUCCESS);
    };
    fs::write(file, text + "\n").with_context(|| format!("cannot write {}", file.display()))?;
    match json {
        true => print_json(&told(&proven, BTreeMap::new(), None))?,
        false => line!("{}: {} miners signed for {at}", file.display(), proven.miners().len()),
    }
    Ok(ExitCode::SUCCESS)
}

fn read(file: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let read = match file == Path::new("-") {
        true => std::io::stdin().take(FILE_BYTES_MAX).read_to_string(&mut text),
        false => fs::File::open(file).and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text)),
    };
    read.with_context(|| format!("cannot read {}", file.display()))?;
    Ok(text)
}

/// Verifies a receipt. Exit code 1 where it proves nothing, or not what is wanted.
pub fn verify(file: &Path, wanted: &Wanted, json: bool) -> anyhow::Result<ExitCode> {
    let proven = parse(&read(file)?)?;
    let statement = &proven.statement;
    if wanted.gateway.is_some_and(|gateway| gateway != statement.gateway) {
        bail!("another gateway signed it: {}", statement.gateway);
    }
    if wanted.genesis.is_some_and(|genesis| genesis != proven.genesis) {
        bail!("it is signed for another chain, with genesis {}", hex::encode(proven.genesis));
    }
    let maps = wanted.maps.iter().map(|file| {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        map::diff::read(&text).with_context(|| file.display().to_string())
    });
    let maps = maps.collect::<anyhow::Result<Vec<EpochMap>>>()?;
    let roots = maps.iter().map(|map| (map.epoch, hex::encode(map.root))).collect();
    if !maps.is_empty() {
        check_places(&proven, maps)?;
    }
    let against = wanted.against.as_deref().map(|file| is_object(&proven, file)).transpose()?;
    tell(&told(&proven, roots, against), json)?;
    Ok(ExitCode::from(u8::from(against == Some(false))))
}

/// Refuses a receipt of a miner in another place than the maps give it.
fn check_places(proven: &Proven, mut maps: Vec<EpochMap>) -> anyhow::Result<()> {
    maps.sort_by_key(|map| map.epoch);
    let newest = maps.pop().map(Arc::new);
    let snapshot = Snapshot {
        current: newest,
        earlier: maps.into_iter().rev().map(Arc::new).collect(),
        ..Snapshot::default()
    };
    let (view, _source) = ChainView::manual(proven.genesis, snapshot);
    let mut checker = ReceiptChecker::new(view);
    for (receipts, stripe) in proven.receipts.iter().zip(1..) {
        for signed in receipts {
            let (epoch, index) = (signed.receipt.epoch, signed.receipt.index);
            checker.check(signed).with_context(|| {
                format!("stripe {stripe}, shard {index}, epoch {epoch}; is the map of that epoch among those given?")
            })?;
        }
    }
    Ok(())
}

/// Whether a file has the size and the ETag of the object.
fn is_object(proven: &Proven, file: &Path) -> anyhow::Result<bool> {
    let statement = &proven.statement;
    let sizes: Vec<u64> = statement.parts.iter().map(|part| part.size).collect();
    let etag = etag::of_file(file, &sizes, statement.etag.contains('-'));
    let etag = etag.with_context(|| format!("cannot read {}", file.display()))?;
    Ok(etag.as_ref() == Some(&statement.etag))
}

fn told(proven: &Proven, maps: BTreeMap<u64, String>, against: Option<bool>) -> Told {
    let stored = proven.stored_ms();
    Told {
        object: proven.object.clone(),
        stated: time(proven.statement.stated_ms),
        gateway: proven.statement.gateway.to_string(),
        genesis: hex::encode(proven.genesis),
        stripes: proven.receipts.len(),
        miners_per_stripe_min: proven.fewest(),
        miners: proven.miners().len(),
        stored_first: stored.map(|(first, _)| time(first)),
        stored_last: stored.map(|(_, last)| time(last)),
        epochs: proven.epochs().into_iter().collect(),
        maps,
        against,
    }
}

fn tell(told: &Told, json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(told);
    }
    let object = &told.object;
    let version = object.version.as_ref().map(|version| format!(" version {version}")).unwrap_or_default();
    line!("object    s3://{}/{}{version}", object.bucket, object.key);
    line!("size      {} bytes ({}), ETag {}", object.size, size(object.size), object.etag);
    for (name, value) in &object.checksums {
        line!("checksum  {name} {value}");
    }
    line!("written   {}; stated {}", time(object.modified_ms), told.stated);
    line!("gateway   {}", told.gateway);
    line!("chain     {}", told.genesis);
    let fewest = told.miners_per_stripe_min.map_or_else(|| "-".to_owned(), |fewest| fewest.to_string());
    line!("signed    {} miners; {} stripes, each by {fewest} or more", told.miners, told.stripes);
    if let (Some(first), Some(last)) = (&told.stored_first, &told.stored_last) {
        line!("durable   {first} to {last}");
    }
    let epochs: Vec<String> = told.epochs.iter().map(u64::to_string).collect();
    line!("epochs    {}", epochs.join(", "));
    match told.maps.is_empty() {
        true => line!("places    not compared: give --map with what `arion map --epoch N --json` prints"),
        false => {
            for (epoch, root) in &told.maps {
                line!("places    as the map of epoch {epoch} with root {root} gives them");
            }
        }
    }
    match told.against {
        None => {}
        Some(true) => line!("file      has the size and the ETag of the object"),
        Some(false) => line!("file      IS NOT THE OBJECT: it has another size or ETag"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use arion_types::{
        CrushParams, MinerRecord, ObjectStatement, Receipt, ShardHash, SignedReceipt, StatedPart,
        StatedStripe,
        map::WEIGHT_ONE,
        signing::{node_id, sign},
        stripe::{placement_group, stripe_id},
    };
    use ed25519_dalek::SigningKey;

    use super::*;

    pub(super) const GENESIS: GenesisHash = [7; 32];

    fn key(seed: u32) -> SigningKey {
        SigningKey::from_bytes(&[seed as u8; 32])
    }

    pub(super) fn map(epoch: u64, first: u32) -> EpochMap {
        let miner = |uid: u32| MinerRecord {
            uid,
            node_id: node_id(&key(uid)).0,
            family: [(uid / 2) as u8 + 1; 32],
            weight: WEIGHT_ONE,
            endpoint: format!("miner-{uid}:1").into_bytes().try_into().unwrap(),
        };
        EpochMap::new(epoch, CrushParams::STANDARD, (first..first + 32).map(miner).collect())
    }

    /// An object of one stripe, placed by a map.
    pub(super) fn placed(map: &EpochMap) -> Proven {
        let shards: Vec<_> = (0..30u8).map(|index| ShardHash(*blake3::hash(&[index]).as_bytes())).collect();
        let stripe = stripe_id(&shards);
        let pg = placement_group(&stripe, map.params.pg_count);
        let places = crush::Map::from_records(&map.params, &map.miners).unwrap().place_vec(pg);
        let receipt = |(index, shard): (u8, &ShardHash)| -> SignedReceipt {
            let miner = key(places[usize::from(index)].unwrap());
            let (epoch, node_id) = (map.epoch, node_id(&miner));
            let receipt =
                Receipt { shard: *shard, size: 100, stripe, pg, index, epoch, node_id, stored_at: 1 };
            receipt.sign(&GENESIS, &miner)
        };
        let receipts = (0u8..).zip(&shards).map(receipt).collect();
        let stated =
            StatedStripe { stripe, epoch: map.epoch, len: 100, shard_len: 100, data_shards: 10, shards: 30 };
        let statement = ObjectStatement {
            gateway: node_id(&key(200)),
            stated_ms: 1,
            bucket: "b".into(),
            key: "k".into(),
            version: None,
            size: 84,
            etag: "x".into(),
            checksums: Vec::new(),
            modified_ms: 1,
            parts: vec![StatedPart { size: 84, stored: 100, offset: 0, stripes: vec![stated] }],
        };
        let signature = sign(&key(200), &statement.message(&GENESIS));
        PutReceipt::new(&GENESIS, statement, signature, vec![(shards, receipts)]).verify().unwrap()
    }

    #[test]
    fn miners_are_compared_with_the_places_that_maps_give() {
        let (first, second) = (map(1, 2), map(2, 3));
        let proven = placed(&first);
        assert!(check_places(&proven, vec![first.clone()]).is_ok());
        assert!(check_places(&proven, vec![second.clone(), first]).is_ok());
        // Miners that signed and are in no place of the map, and a map that is not there.
        assert!(check_places(&proven, vec![map(1, 100)]).is_err());
        let said = format!("{:#}", check_places(&proven, vec![second]).unwrap_err());
        assert!(said.contains("epoch 1"), "{said}");
    }
}
