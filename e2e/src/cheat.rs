//! A miner that cheats: it answers at a miner's address with that miner's key, and behaves by a strategy.
//!
//! The honest miner it stands in front of listens elsewhere: what the strategy leaves alone is passed on to it. Whoever has
//! nothing itself has it there or with other miners, which is what makes such cheats possible at all.
//!
//! Tests only: `arion-cheat` is a program of local networks. What wardens are expected to find is in docs/spec/proofs.md.

mod recompute;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arion_net::{CallError, PeerAddr, Service, Transport};
use arion_protocol::{ErrorCode, Request, Response};
use arion_types::{NodeId, ShardHash};
use async_trait::async_trait;
use bytes::Bytes;

pub use recompute::Others;

/// Longest time for something that is passed on.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long the slow accomplice takes: longer than the longest deadline of the wardens of local networks.
const SLOW: Duration = Duration::from_secs(12);

/// How a miner cheats.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, clap::ValueEnum)]
pub enum Strategy {
    /// Has every second of its shards no more, and says so.
    Dropped,
    /// Has one byte of each shard flipped, and does not look.
    Flipped,
    /// Keeps half of each shard and claims that this is all.
    Truncated,
    /// Has nothing; fetches what it is asked for from an accomplice near by.
    Relay,
    /// Has nothing; its accomplice is far away.
    SlowRelay,
    /// Has nothing; computes what it is asked for from k other shards of the stripe, which honest miners serve.
    Recompute,
    /// Keeps its first answer about each shard, and gives it again.
    Replay,
    /// Is busy whenever it is challenged, and serves reads.
    RefuseChallenges,
    /// Answers challenges, and is busy whenever somebody reads.
    RefuseReads,
}

impl Strategy {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Dropped,
        Self::Flipped,
        Self::Truncated,
        Self::Relay,
        Self::SlowRelay,
        Self::Recompute,
        Self::Replay,
        Self::RefuseChallenges,
        Self::RefuseReads,
    ];

    /// As flags and tables have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dropped => "dropped",
            Self::Flipped => "flipped",
            Self::Truncated => "truncated",
            Self::Relay => "relay",
            Self::SlowRelay => "slow-relay",
            Self::Recompute => "recompute",
            Self::Replay => "replay",
            Self::RefuseChallenges => "refuse-challenges",
            Self::RefuseReads => "refuse-reads",
        }
    }

    /// Whether a miner with this strategy has lost a shard: every second one.
    pub fn has_lost(self, shard: &ShardHash) -> bool {
        self == Self::Dropped && shard.0[0] & 1 == 0
    }
}

/// Answers for a miner.
pub struct Cheat {
    strategy: Strategy,
    /// The honest miner behind, which has the same key.
    behind: PeerAddr,
    transport: Arc<dyn Transport>,
    others: Others,
    first_answers: Mutex<HashMap<ShardHash, (Response, Bytes)>>,
}

type Answer = Result<(Response, Bytes), CallError>;

fn refused(code: ErrorCode) -> Answer {
    Err(CallError::Refused { code, detail: String::new() })
}

impl Cheat {
    /// A cheat in front of the honest miner `behind`; `transport` proves the key of both.
    pub fn new(strategy: Strategy, behind: PeerAddr, transport: Arc<dyn Transport>, others: Others) -> Self {
        Self { strategy, behind, transport, others, first_answers: Mutex::default() }
    }

    async fn pass_on(&self, request: Request, body: Bytes) -> Answer {
        self.transport.call(&self.behind, request, body, PATIENCE).await
    }

    /// What is stored behind.
    async fn shard(&self, shard: ShardHash) -> Result<Bytes, CallError> {
        Ok(self.pass_on(Request::Fetch { shard }, Bytes::new()).await?.1)
    }

    async fn challenge(&self, shard: ShardHash, seed: [u8; 32]) -> Answer {
        match self.strategy {
            Strategy::RefuseChallenges => refused(ErrorCode::Busy),
            Strategy::Dropped if self.strategy.has_lost(&shard) => refused(ErrorCode::NotFound),
            Strategy::Dropped | Strategy::Relay | Strategy::RefuseReads => {
                honest(&shard, &self.shard(shard).await?, &seed)
            }
            Strategy::SlowRelay => {
                tokio::time::sleep(SLOW).await;
                honest(&shard, &self.shard(shard).await?, &seed)
            }
            Strategy::Flipped => flipped(&shard, &self.shard(shard).await?, &seed),
            Strategy::Truncated => {
                let bytes = self.shard(shard).await?;
                let half = bytes.slice(..bytes.len().div_ceil(2));
                honest(&ShardHash(blake3::hash(&half).into()), &half, &seed)
            }
            Strategy::Recompute => match self.others.compute(&self.transport, &shard).await {
                Ok(bytes) => honest(&shard, &bytes, &seed),
                Err(error) => {
                    eprintln!("shard {shard} is not computed: {error:#}");
                    refused(ErrorCode::Busy)
                }
            },
            Strategy::Replay => {
                if let Some(answer) = self.first_answers().get(&shard) {
                    return Ok(answer.clone());
                }
                let answer = honest(&shard, &self.shard(shard).await?, &seed)?;
                self.first_answers().insert(shard, answer.clone());
                Ok(answer)
            }
        }
    }

    fn first_answers(&self) -> std::sync::MutexGuard<'_, HashMap<ShardHash, (Response, Bytes)>> {
        self.first_answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(&self, request: Request, body: Bytes) -> Answer {
        match request {
            Request::Challenge { shard, seed } => self.challenge(shard, seed).await,
            Request::Fetch { shard } | Request::FetchRange { shard, .. } => match self.strategy {
                Strategy::RefuseReads => refused(ErrorCode::Busy),
                strategy if strategy.has_lost(&shard) => refused(ErrorCode::NotFound),
                _ => self.pass_on(request, body).await,
            },
            request => self.pass_on(request, body).await,
        }
    }
}

#[async_trait]
impl Service for Cheat {
    async fn serve(&self, _: NodeId, request: Request, body: Bytes) -> (Response, Bytes) {
        self.answer(request, body).await.unwrap_or_else(|error| {
            let code = match error {
                CallError::Refused { code, .. } => code,
                _ => ErrorCode::Unavailable,
            };
            (Response::error(code, ""), Bytes::new())
        })
    }
}

fn proven(address: &ShardHash, bytes: &[u8], seed: &[u8; 32]) -> Option<(u32, Vec<u8>)> {
    let size = u32::try_from(bytes.len()).ok()?;
    let groups = arion_proofs::derive(seed, size);
    Some((size, arion_proofs::prove(address, bytes, &groups).ok()?))
}

fn honest(address: &ShardHash, bytes: &[u8], seed: &[u8; 32]) -> Answer {
    match proven(address, bytes, seed) {
        Some((size, proof)) => Ok((Response::Proof { size }, proof.into())),
        None => refused(ErrorCode::Damaged),
    }
}

/// The group of a shard in which a byte is flipped.
fn flipped_group(address: &ShardHash, groups: u32) -> u32 {
    u32::from(address.0[1]) % groups.max(1)
}

/// The proof of a miner that kept the tree, but not one byte of one group: whoever has the tree notices nothing.
fn flipped(address: &ShardHash, bytes: &[u8], seed: &[u8; 32]) -> Answer {
    let Some((size, mut proof)) = proven(address, bytes, seed) else { return refused(ErrorCode::Damaged) };
    let lost = flipped_group(address, size.div_ceil(arion_proofs::GROUP_BYTES));
    // Which byte of the proof it is makes no difference to the verdict.
    if arion_proofs::derive(seed, size).as_slice().contains(&lost)
        && let Some(last) = proof.last_mut()
    {
        *last ^= 1;
    }
    Ok((Response::Proof { size }, proof.into()))
}

#[cfg(test)]
#[path = "cheat/tests.rs"]
mod tests;
