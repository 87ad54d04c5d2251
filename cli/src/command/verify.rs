//! `arion verify epoch`: the bundle of an epoch, checked against nothing but the finalised chain.

mod place;

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use arion_bundle::{
    Block, Facts, INDEX_BYTES_MAX, MinerVerdict, PART_BYTES_MAX, Place, Report, Verifier, blocks_of,
    ended_spans,
};
use arion_chain::{BlockRef, ChainClient, ChainError, CommittedEpoch, ss58};
use arion_daemon::line;
use arion_types::AttestationRecord;
use serde::Serialize;

use super::{blocking, print_json, size};
use crate::settings::Settings;

pub use place::BundlePlace;

/// The bucket of an S3 endpoint in which bundles are looked for.
const BUCKET: &str = "arion-audit";
/// Faults that are printed.
const PRINTED_MAX: usize = 100;

/// Checks the bundle of an epoch. Exit code 1 where something is found.
pub async fn epoch(
    settings: &Settings,
    epoch: u64,
    place: Option<BundlePlace>,
    save: Option<PathBuf>,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let chain = settings.chain().await?;
    let place = place.unwrap_or_else(|| {
        BundlePlace::Web(format!("{}/{BUCKET}", settings.s3_endpoint.trim_end_matches('/')))
    });
    let (ended, committed) = read_epoch(&chain, epoch).await?;
    let (commitment, nodes) = (ended.facts.commitment, ended.facts.miners.clone());
    let bundle = Bundle { place, save };
    let outcome = check(&chain, ended, &bundle).await?;
    let told = Told::new(epoch, &commitment.content_hash, &committed, &nodes, outcome);
    told.tell(json)?;
    Ok(ExitCode::from(u8::from(told.found > 0)))
}

/// An epoch that is over, as a finalised block knows it.
struct Ended {
    facts: Facts,
    head: BlockRef,
    /// Buckets that the chain keeps, the current one included.
    buckets_kept: u32,
}

async fn read_epoch(chain: &ChainClient, epoch: u64) -> anyhow::Result<(Ended, CommittedEpoch)> {
    let head = chain.finalized().await?;
    let starts = chain.epoch_starts(&head).await?;
    let Some(span) = ended_spans(&starts).into_iter().find(|span| span.epoch == epoch) else {
        match starts.last() {
            Some((current, _)) if *current == epoch => {
                bail!(
                    "epoch {epoch} has not ended: its map is in force; its bundle is made when a newer one is"
                )
            }
            Some((current, _)) => {
                bail!("the chain keeps no epoch {epoch}; it keeps {} to {current}", starts[0].0)
            }
            None => bail!("no map is finalised yet"),
        }
    };
    let map =
        chain.map_at(epoch).await?.with_context(|| format!("the chain keeps no map of epoch {epoch}"))?;
    let Some(committed) = chain.committed_epoch(epoch).await? else {
        bail!(
            "nobody has committed to a bundle of epoch {epoch}: it comes some time after block {}, or there was nothing \
               to attest",
            span.end_block
        )
    };
    let facts = Facts {
        genesis: chain.genesis(),
        span,
        bucket_blocks: chain.attestation_bucket_blocks()?,
        commitment: committed.commitment,
        miners: map.miners.iter().map(|miner| (miner.uid, miner.node_id)).collect(),
    };
    Ok((Ended { facts, head, buckets_kept: chain.attestation_buckets_kept()? }, committed))
}

/// The chain as far as a check needs it.
trait Chain {
    /// Hash of a block of the best chain.
    async fn hash(&self, number: u32) -> Result<Option<[u8; 32]>, ChainError>;
    /// Attestations of a bucket as of a block; `None` where the node does not know any more.
    async fn bucket(&self, bucket: u32, at: &BlockRef) -> Result<Option<Vec<AttestationRecord>>, ChainError>;
}

impl Chain for ChainClient {
    async fn hash(&self, number: u32) -> Result<Option<[u8; 32]>, ChainError> {
        self.block_hash(number).await
    }

    async fn bucket(&self, bucket: u32, at: &BlockRef) -> Result<Option<Vec<AttestationRecord>>, ChainError> {
        match self.attestations_at(bucket, at).await {
            Ok(records) => Ok(Some(records)),
            // The state of old blocks is thrown away by nodes that are no archives.
            Err(ChainError::Rpc(arion_chain::client::RpcError::Refused { .. })) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// A bundle as files.
struct Bundle {
    place: BundlePlace,
    save: Option<PathBuf>,
}

impl Bundle {
    async fn index(&self, hash: [u8; 32]) -> anyhow::Result<Option<Vec<u8>>> {
        let place = self.place.clone();
        let index = blocking(move || place.index(&hash, INDEX_BYTES_MAX)).await?;
        self.keep(&hash, index.as_deref())?;
        Ok(index)
    }

    async fn part(&self, hash: [u8; 32]) -> anyhow::Result<Option<Vec<u8>>> {
        let place = self.place.clone();
        let part = blocking(move || place.object(&hash, PART_BYTES_MAX)).await?;
        self.keep(&hash, part.as_deref())?;
        Ok(part)
    }

    fn keep(&self, hash: &[u8; 32], bytes: Option<&[u8]>) -> anyhow::Result<()> {
        let (Some(directory), Some(bytes)) = (&self.save, bytes) else { return Ok(()) };
        let write = |directory: &Path| {
            fs::create_dir_all(directory)?;
            fs::write(directory.join(hex::encode(hash)), bytes)
        };
        write(directory).with_context(|| format!("cannot write into {}", directory.display()))
    }
}

/// What a check came to.
struct Outcome {
    report: Report,
    parts: usize,
    bytes: u64,
    read_at: Block,
    /// Buckets compared, of how many.
    compared: (usize, usize),
    /// Whether they were compared as of the block at which the bundle was made.
    is_exact: bool,
}

async fn check(chain: &impl Chain, ended: Ended, bundle: &Bundle) -> anyhow::Result<Outcome> {
    let Ended { facts, head, buckets_kept } = ended;
    let (span, bucket_blocks) = (facts.span, facts.bucket_blocks.max(1));
    let content_hash = facts.commitment.content_hash;
    let Some(index) = bundle.index(content_hash).await? else {
        bail!(
            "{} has no {}, or not for everybody: name another place with --bundle",
            bundle.place,
            hex::encode(content_hash)
        )
    };
    let mut bytes = index.len() as u64;
    let mut verifier = match Verifier::new(facts, &index) {
        Ok(verifier) => verifier,
        Err(fault) => return Ok(Outcome::undecodable(fault, bytes, span.buckets(bucket_blocks).len())),
    };
    let mut hashes = Hashes { chain, head, known: HashMap::new() };
    let parts = verifier.parts().to_vec();
    for (known, number) in parts.iter().zip(0..) {
        let part = bundle.part(known.hash).await?;
        if let Some(part) = &part {
            bytes += part.len() as u64;
            hashes.learn(blocks_of(part)).await?;
        }
        verifier.part(number, part.as_deref(), |block| hashes.of(block));
    }

    let read_at = verifier.read_at();
    hashes.learn([u64::from(read_at.number)]).await?;
    let then = BlockRef { number: read_at.number, hash: read_at.hash };
    let is_known = hashes.of(u64::from(then.number)) == Some(then.hash);
    let newest_first: Vec<u32> = span.buckets(bucket_blocks).rev().collect();
    let is_exact = match newest_first.first() {
        Some(newest) if is_known => chain.bucket(*newest, &then).await?.is_some(),
        _ => false,
    };
    let at = if is_exact { then } else { head };
    let oldest = (at.number / bucket_blocks).saturating_add(1).saturating_sub(buckets_kept);
    let mut compared = 0;
    for bucket in newest_first.iter().copied().take_while(|bucket| *bucket >= oldest) {
        let stored = chain.bucket(bucket, &at).await?;
        let stored = stored.with_context(|| format!("the node has no state of block {}", at.number))?;
        verifier.compare(bucket, &stored, is_exact);
        compared += 1;
    }
    let report = verifier.finish(|block| hashes.of(block));
    let compared = (compared, newest_first.len());
    Ok(Outcome { report, parts: parts.len(), bytes, read_at, compared, is_exact })
}

impl Outcome {
    fn undecodable(fault: arion_bundle::Fault, bytes: u64, buckets: usize) -> Self {
        let report = Report {
            attestations: 0,
            exhibits: 0,
            wardens: 0,
            miners: Vec::new(),
            late: 0,
            faults: vec![fault],
            found: 1,
        };
        Self { report, parts: 0, bytes, read_at: Block::default(), compared: (0, buckets), is_exact: false }
    }
}

/// Hashes of finalised blocks, each asked for once.
struct Hashes<'a, C> {
    chain: &'a C,
    head: BlockRef,
    known: HashMap<u64, Option<[u8; 32]>>,
}

impl<C: Chain> Hashes<'_, C> {
    async fn learn(&mut self, blocks: impl IntoIterator<Item = u64>) -> Result<(), ChainError> {
        for block in blocks {
            if self.known.contains_key(&block) {
                continue;
            }
            let hash = match u32::try_from(block) {
                Ok(number) if number <= self.head.number => self.chain.hash(number).await?,
                _ => None,
            };
            self.known.insert(block, hash);
        }
        Ok(())
    }

    fn of(&self, block: u64) -> Option<[u8; 32]> {
        self.known.get(&block).copied().flatten()
    }
}

/// What is printed.
#[derive(Serialize)]
struct Told {
    epoch: u64,
    content_hash: String,
    submitter: String,
    submitted_at: u32,
    read_at: u32,
    parts: usize,
    bytes: u64,
    attestations: u32,
    with_exhibit: u32,
    wardens: usize,
    miners: Vec<ToldMiner>,
    buckets: usize,
    buckets_compared: usize,
    /// Whether the chain was compared as it was when the bundle was made.
    compared_exactly: bool,
    /// On chain now and not in the bundle, behind what is in it.
    late: u64,
    found: u64,
    faults: Vec<ToldFault>,
    holds: bool,
}

#[derive(Serialize)]
struct ToldMiner {
    node_id: Option<String>,
    #[serde(flatten)]
    verdict: MinerVerdict,
}

#[derive(Serialize)]
struct ToldFault {
    place: Place,
    text: String,
}

impl Told {
    fn new(
        epoch: u64,
        content_hash: &[u8; 32],
        committed: &CommittedEpoch,
        nodes: &BTreeMap<u32, [u8; 32]>,
        outcome: Outcome,
    ) -> Self {
        let Outcome { report, parts, bytes, read_at, compared, is_exact } = outcome;
        let faults = report.faults.iter().take(PRINTED_MAX);
        Self {
            epoch,
            content_hash: hex::encode(content_hash),
            submitter: ss58(&committed.submitter),
            submitted_at: committed.submitted_at,
            read_at: read_at.number,
            parts,
            bytes,
            attestations: report.attestations,
            with_exhibit: report.exhibits,
            wardens: report.wardens,
            miners: report
                .miners
                .into_iter()
                .map(|verdict| ToldMiner { node_id: nodes.get(&verdict.uid).map(hex::encode), verdict })
                .collect(),
            buckets: compared.1,
            buckets_compared: compared.0,
            compared_exactly: is_exact,
            late: report.late,
            found: report.found,
            faults: faults.map(|fault| ToldFault { place: fault.place, text: fault.to_string() }).collect(),
            holds: report.found == 0,
        }
    }

    fn tell(&self, json: bool) -> anyhow::Result<()> {
        if json {
            return print_json(self);
        }
        line!("epoch         {}", self.epoch);
        line!("bundle        {}, {} in {} parts", self.content_hash, size(self.bytes), self.parts);
        line!("committed     in block {} by {}", self.submitted_at, self.submitter);
        line!(
            "attestations  {} of {} wardens, {} with the miner's answer",
            self.attestations,
            self.wardens,
            self.with_exhibit
        );
        let when = match self.compared_exactly {
            true => format!("as of block {}, when the bundle was made", self.read_at),
            false => format!("as they are now; the bundle was made at block {}", self.read_at),
        };
        line!("on chain      {} of {} buckets compared, {when}", self.buckets_compared, self.buckets);
        if self.late > 0 {
            line!(
                "              {} more on chain now than in the bundle: a node with the state of block {} tells whether they \
                 came later",
                self.late,
                self.read_at
            );
        }
        line!(
            "{:>6} {:>8} {:>7} {:>8} {:>8} {:>8} {:>8} node id",
            "miner",
            "passed",
            "failed",
            "timeout",
            "invalid",
            "shown",
            "doubtful"
        );
        for ToldMiner { node_id, verdict } in &self.miners {
            line!(
                "{:>6} {:>8} {:>7} {:>8} {:>8} {:>8} {:>8} {}",
                verdict.uid,
                verdict.passed,
                verdict.failed,
                verdict.timeouts,
                verdict.invalid_proofs,
                verdict.shown,
                verdict.doubtful,
                node_id.as_deref().unwrap_or("in no map")
            );
        }
        line!("found         {}", self.found);
        for fault in &self.faults {
            line!("  {}", fault.text);
        }
        if self.found > self.faults.len() as u64 {
            line!("  and {} more", self.found - self.faults.len() as u64);
        }
        line!("verdict       {}", if self.holds { "ok" } else { "DOES NOT HOLD" });
        Ok(())
    }
}

#[cfg(test)]
mod tests;
