//! `arion verify epoch`: the bundle of an epoch, checked against nothing but the finalised chain.

mod late;
mod told;

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use arion_bundle::{Block, Facts, INDEX_BYTES_MAX, PART_BYTES_MAX, Report, Verifier, blocks_of, ended_spans};
use arion_chain::{BlockRef, ChainClient, ChainError, CommittedEpoch};
use arion_types::AttestationRecord;

use super::{PublicPlace, blocking, public};
use crate::settings::Settings;

use told::Told;

/// The bucket of an S3 endpoint in which bundles are looked for.
const BUCKET: &str = "arion-audit";

/// Checks the bundle of an epoch. Exit code 1 where something is found.
pub async fn epoch(
    settings: &Settings,
    epoch: u64,
    place: Option<PublicPlace>,
    save: Option<PathBuf>,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let chain = settings.chain().await?;
    let place = place.unwrap_or_else(|| {
        PublicPlace::Web(format!("{}/{BUCKET}", settings.s3_endpoint.trim_end_matches('/')))
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
    /// Transactions of a block of the best chain.
    async fn extrinsics(&self, number: u32) -> Result<Vec<Vec<u8>>, ChainError>;
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

    async fn extrinsics(&self, number: u32) -> Result<Vec<Vec<u8>>, ChainError> {
        ChainClient::extrinsics(self, number).await
    }
}

/// A bundle as files.
struct Bundle {
    place: PublicPlace,
    save: Option<PathBuf>,
}

impl Bundle {
    async fn index(&self, hash: [u8; 32]) -> anyhow::Result<Option<Vec<u8>>> {
        let place = self.place.clone();
        let index = blocking(move || match &place {
            // Under whatever name, with the parts beside it.
            PublicPlace::Files(path) if path.is_file() => public::read(path, INDEX_BYTES_MAX),
            place => place.object(&hex::encode(hash), INDEX_BYTES_MAX),
        });
        let index = index.await?;
        self.keep(&hash, index.as_deref())?;
        Ok(index)
    }

    async fn part(&self, hash: [u8; 32]) -> anyhow::Result<Option<Vec<u8>>> {
        let place = self.place.clone();
        let part = blocking(move || place.object(&hex::encode(hash), PART_BYTES_MAX)).await?;
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
    /// Attestations of which nobody can say whether they came later or were left out.
    undecided: u64,
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
    let (mut compared, mut late) = (0, Vec::new());
    for bucket in newest_first.iter().copied().take_while(|bucket| *bucket >= oldest) {
        let stored = chain.bucket(bucket, &at).await?;
        let stored = stored.with_context(|| format!("the node has no state of block {}", at.number))?;
        late.extend(verifier.compare(bucket, &stored, is_exact).into_iter().map(|record| (bucket, record)));
        compared += 1;
    }
    let undecided = late::decide(chain, &mut verifier, late, read_at.number, head.number).await?;
    let report = verifier.finish(|block| hashes.of(block));
    let compared = (compared, newest_first.len());
    Ok(Outcome { report, parts: parts.len(), bytes, read_at, compared, is_exact, undecided })
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
        let read_at = Block::default();
        Self { report, parts: 0, bytes, read_at, compared: (0, buckets), is_exact: false, undecided: 0 }
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

#[cfg(test)]
mod tests;
