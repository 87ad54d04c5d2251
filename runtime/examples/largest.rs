//! What the largest calls and hooks of the chain take, beside what is charged for them. `scripts/bench chain` runs it
//! twice: `list` names the benchmarks to run, `table DIRECTORY` reads what they measured. `attestations`, for `scripts/bench audit`,
//! says how many attestations a block has room for, by what is declared.
//!
//! Each was executed in wasm, in the worst state there can be, while a proof of what it read was recorded. Declared
//! weights include a price for each access to the database; `computation` is what is declared for everything else.

#![allow(clippy::unwrap_used, reason = "a measurement fails by panicking")]
#![allow(missing_docs)]

use std::{fs, path::Path};

use arion_runtime::{
    AccountId, Runtime, RuntimeCall, TxExtension, UncheckedExtrinsic,
    configs::{RuntimeBlockLength, RuntimeBlockWeights},
};
use arion_types::{
    AttestationRecord, AttestationResult, CrushParams, MinerRecord, MinerStatsUpdate, NodeQuality,
};
use codec::Encode;
use frame_support::{
    BoundedVec,
    dispatch::{DispatchClass, GetDispatchInfo},
    traits::Get,
    weights::Weight,
};
use pallet_arion::WeightInfo as _;
use pallet_marketplace::{WeightInfo as _, types::UsageUpdate};
use serde_json::Value;
use sp_runtime::generic::Era;

/// The weights without a database.
type ArionTimes = pallet_arion::weights::Measured<()>;
type MarketplaceTimes = pallet_marketplace::weights::Measured<()>;
type ArionWeights = <Runtime as pallet_arion::Config>::WeightInfo;
type MarketplaceWeights = <Runtime as pallet_marketplace::Config>::WeightInfo;

/// Picoseconds of a millisecond.
const MS: f64 = 1e9;

struct Scenario {
    name: &'static str,
    pallet: &'static str,
    benchmark: &'static str,
    /// Values of the benchmark's components.
    size: &'static [u64],
    computation: Weight,
    work: Work,
}

enum Work {
    /// A transaction of a user.
    Call(RuntimeCall),
    /// What a block does by itself, for so much.
    Hook(Weight),
}

fn scenarios() -> Vec<Scenario> {
    use pallet_arion::Call;
    let arion = |name, benchmark, size, computation, work| Scenario {
        name,
        pallet: "pallet_arion",
        benchmark,
        size,
        computation,
        work,
    };
    let marketplace = |name, benchmark, size, computation, work| Scenario {
        name,
        pallet: "pallet_marketplace",
        benchmark,
        size,
        computation,
        work,
    };
    let call = |call: Call<Runtime>| Work::Call(call.into());
    let usage = pallet_marketplace::Call::commit_usage {
        gateway: [0; 32],
        sequence: u64::MAX,
        root: [0; 32],
        bytes: u64::MAX,
        updates: full(UsageUpdate { account: nobody(), bytes: u64::MAX }),
    };
    vec![
        arion(
            "map of 2,048 miners, the vote that publishes it",
            "submit_crush_map",
            &[2048],
            ArionTimes::submit_crush_map(2_048),
            call(Call::submit_crush_map { epoch: 0, params: CrushParams::STANDARD, miners: full(miner()) }),
        ),
        arion(
            "1,000 attestations in one call",
            "submit_attestations",
            &[1000],
            ArionTimes::submit_attestations(1_000),
            call(Call::submit_attestations { bucket: 0, attestations: full(attestation()) }),
        ),
        arion(
            "2,048 quality updates, the last validator's",
            "submit_node_quality",
            &[2048],
            ArionTimes::submit_node_quality(2_048),
            call(Call::submit_node_quality { bucket: 0, updates: full((nobody(), NodeQuality::default())) }),
        ),
        arion(
            "stats of 2,048 miners",
            "submit_miner_stats",
            &[2048],
            ArionTimes::submit_miner_stats(2_048),
            call(Call::submit_miner_stats {
                bucket: 0,
                updates: full(stats()),
                network_totals: Some(Default::default()),
            }),
        ),
        marketplace(
            "500 usage updates, every agreement expires",
            "commit_usage",
            &[500],
            MarketplaceTimes::commit_usage(500),
            Work::Call(usage.into()),
        ),
        marketplace(
            "settlement among 256 families",
            "settle",
            &[256],
            MarketplaceTimes::settle(256),
            Work::Hook(MarketplaceWeights::settle(256)),
        ),
        arion(
            "end of a weight bucket, 128 reporters",
            "open_weight_round",
            &[128],
            ArionTimes::open_weight_round(128),
            Work::Hook(ArionWeights::open_weight_round(128)),
        ),
        arion(
            "weights of 128 families with 159 children",
            "weigh_children",
            &[128, 31],
            ArionTimes::weigh_children(128, 31),
            Work::Hook(ArionWeights::weigh_children(128, 31)),
        ),
        marketplace(
            "sweep of 16 agreements that expire",
            "sweep_agreements",
            &[16],
            MarketplaceTimes::sweep_agreements(16),
            Work::Hook(MarketplaceWeights::sweep_agreements(16)),
        ),
    ]
}

fn nobody() -> AccountId {
    AccountId::new([0xff; 32])
}

/// The longest list.
fn full<Item: Clone, Bound: Get<u32>>(item: Item) -> BoundedVec<Item, Bound> {
    BoundedVec::truncate_from(vec![item; Bound::get() as usize])
}

fn miner() -> MinerRecord<AccountId> {
    MinerRecord { uid: 0, node_id: [0; 32], family: nobody(), weight: 0, endpoint: full(b'a') }
}

fn attestation() -> AttestationRecord {
    AttestationRecord {
        shard_hash: [0; 32],
        miner_uid: 0,
        result: AttestationResult::Passed,
        challenge_seed: [0; 32],
        block_number: 0,
        timestamp: 0,
        warden_pubkey: [0; 32],
        signature: [0; 64],
        merkle_proof_sig_hash: [0; 32],
        warden_id: full(b'w'),
    }
}

fn stats() -> MinerStatsUpdate<AccountId> {
    MinerStatsUpdate { child: nobody(), shard_count: 0, shard_data_bytes: 0, last_seen_ms: 0 }
}

/// The transaction that carries a call.
fn transaction(call: RuntimeCall) -> UncheckedExtrinsic {
    let extension: TxExtension = (
        frame_system::AuthorizeCall::new(),
        frame_system::CheckNonZeroSender::new(),
        frame_system::CheckSpecVersion::new(),
        frame_system::CheckTxVersion::new(),
        frame_system::CheckGenesis::new(),
        frame_system::CheckEra::from(Era::Immortal),
        frame_system::CheckNonce::from(u32::MAX),
        frame_system::CheckWeight::new(),
        pallet_transaction_payment::ChargeTransactionPayment::from(u128::MAX),
        frame_metadata_hash_extension::CheckMetadataHash::new(false),
        frame_system::WeightReclaim::new(),
    );
    let signature = sp_runtime::MultiSignature::Sr25519(sp_core::sr25519::Signature::from_raw([0; 64]));
    UncheckedExtrinsic::new_signed(call, nobody().into(), signature, extension)
}

/// What a benchmark measured: least time in picoseconds, accesses, size of the proof.
struct Run {
    ps: f64,
    reads: u64,
    writes: u64,
    proof_bytes: u64,
}

fn run(results: &Path, scenario: &Scenario) -> Run {
    let file = results.join(format!("{}.json", scenario.pallet));
    let text = fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let batches: Value = serde_json::from_slice(&text).unwrap();
    let batch = batches.as_array().unwrap().iter().find(|batch| batch["benchmark"] == scenario.benchmark);
    let batch = batch.unwrap_or_else(|| panic!("{} was not measured", scenario.benchmark));
    // Components are pairs of name and value.
    let is_largest = |run: &&Value| {
        let components = run["components"].as_array().unwrap().iter();
        components.map(|component| component[1].as_u64().unwrap()).eq(scenario.size.iter().copied())
    };
    let least = |list: &Value, field: &str| {
        let runs = list.as_array().unwrap().iter().filter(is_largest);
        runs.map(|run| run[field].as_u64().unwrap()).min().expect("the largest size was measured")
    };
    Run {
        ps: least(&batch["time_results"], "extrinsic_time") as f64 * 1e3,
        reads: least(&batch["db_results"], "reads"),
        writes: least(&batch["db_results"], "writes"),
        proof_bytes: least(&batch["db_results"], "proof_size"),
    }
}

fn table(results: &Path) {
    let weights = RuntimeBlockWeights::get();
    let block_ps = weights.max_block.ref_time() as f64;
    let longest = *RuntimeBlockLength::get().max.get(DispatchClass::Normal);
    println!(
        "| scenario | declared ms | of a block | computation ms | run ms | reads | writes | proof KiB | declared KiB \
         | length KiB | of the limit | fits |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
    let (mut met, mut targets) = (0, 0);
    for scenario in scenarios() {
        let run = run(results, &scenario);
        let (declared, most, bytes) = match scenario.work {
            Work::Call(call) => {
                let transaction = transaction(call);
                let most = weights.get(DispatchClass::Normal).max_extrinsic.unwrap();
                (transaction.get_dispatch_info().total_weight(), most, transaction.encoded_size() as u32)
            }
            // Leaves nine tenths to transactions.
            Work::Hook(weight) => (weight, weights.max_block / 10, 0),
        };
        let fits = declared.all_lte(most) && bytes <= longest;
        let is_honest = declared.ref_time() as f64 >= run.ps && declared.proof_size() >= run.proof_bytes;
        targets += 2;
        met += u32::from(fits) + u32::from(is_honest);
        let length = match bytes {
            0 => "- | -".to_owned(),
            _ => format!("{} | {} %", bytes.div_ceil(1_024), (100 * bytes).div_ceil(longest)),
        };
        println!(
            "| {} | {:.1} | {:.1} % | {:.1} | {:.1} | {} | {} | {} | {} | {length} | {} |",
            scenario.name,
            declared.ref_time() as f64 / MS,
            100.0 * declared.ref_time() as f64 / block_ps,
            scenario.computation.ref_time() as f64 / MS,
            run.ps / MS,
            run.reads,
            run.writes,
            run.proof_bytes.div_ceil(1_024),
            declared.proof_size().div_ceil(1_024),
            match (fits, is_honest) {
                (true, true) => "yes",
                (true, false) => "yes, but TAKES MORE THAN DECLARED",
                (false, _) => "NO",
            },
        );
    }
    println!("bench chain: {met} of {targets} targets met");
}

/// A line for each pallet, with its benchmarks.
fn list() {
    for pallet in ["pallet_arion", "pallet_marketplace"] {
        let scenarios = scenarios().into_iter().filter(|scenario| scenario.pallet == pallet);
        let benchmarks: Vec<&str> = scenarios.map(|scenario| scenario.benchmark).collect();
        println!("{pallet} {}", benchmarks.join(","));
    }
}

/// How many attestations a block takes in calls as full as they may be, and what the chain takes of them.
fn attestations() {
    let scenarios = scenarios();
    let full = scenarios.iter().find(|scenario| scenario.benchmark == "submit_attestations").unwrap();
    let (Work::Call(call), [each]) = (&full.work, full.size) else { panic!("it is a call of so many") };
    let transaction = transaction(call.clone());
    let (weight, bytes) = (transaction.get_dispatch_info().total_weight(), transaction.encoded_size() as u64);
    let room = RuntimeBlockWeights::get().get(DispatchClass::Normal).max_total.unwrap();
    let length = u64::from(*RuntimeBlockLength::get().max.get(DispatchClass::Normal));
    let calls = [
        room.ref_time() / weight.ref_time(),
        room.proof_size().checked_div(weight.proof_size()).unwrap_or(u64::MAX),
        length / bytes,
    ];
    let fit = calls.into_iter().min().unwrap();
    println!(
        "a call of {each} attestations: {:.1} ms declared of {:.0} that transactions have in a block, {} KiB",
        weight.ref_time() as f64 / MS,
        room.ref_time() as f64 / MS,
        bytes.div_ceil(1_024),
    );
    println!("a block has room for {fit} such calls: {} attestations", fit * each);
    let bucket: u32 = <Runtime as pallet_arion::Config>::MaxAttestations::get();
    let blocks: u32 = <Runtime as pallet_arion::Config>::AttestationBucketBlocks::get();
    println!("the chain takes {bucket} in a bucket of {blocks} blocks, from all wardens together");
    println!("bench audit, chain: {} of 1 targets met", u32::from(fit * each >= u64::from(bucket)));
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["list"] => list(),
        ["table", results] => table(Path::new(results)),
        ["attestations"] => attestations(),
        _ => panic!("usage: largest list | largest table DIRECTORY | largest attestations"),
    }
}
