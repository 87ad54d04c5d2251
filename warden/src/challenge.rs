//! What an answer to a challenge proves.
//!
//! # Invariants
//! - Pure: the same challenge and answer give the same judgement everywhere.
//! - Only an exact proof of the groups that the seed picks, for the size in the receipt, passes.
//! - Silence, and a refusal that proves nothing either way, are no judgement: the miner is asked again.

use std::time::Duration;

use arion_net::CallError;
use arion_protocol::{ErrorCode, Response};
use bytes::Bytes;

use crate::docket::Ask;

/// How long and how often a miner is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Patience {
    /// Longest time for one answer.
    pub deadline: Duration,
    /// Further attempts where no answer came.
    pub retries: u32,
    /// Pause before the first of them; each further one is twice as long.
    pub pause: Duration,
}

/// What one attempt showed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Judgement {
    /// The proof, which is exact.
    Passed(Bytes),
    /// The miner says that it does not have the shard, or not whole.
    Failed(ErrorCode),
    /// What came instead of a proof.
    InvalidProof(Bytes),
    /// Unreachable, silent, busy, or refusing for another reason.
    NoAnswer,
}

impl Judgement {
    /// The answer as it came; empty where none did.
    pub fn answer(&self) -> &[u8] {
        match self {
            Self::Passed(answer) | Self::InvalidProof(answer) => answer,
            Self::Failed(_) | Self::NoAnswer => &[],
        }
    }
}

/// Judges the answer to a challenge. Hashes the proof, which takes a moment.
pub fn judge(ask: &Ask, answer: Result<(Response, Bytes), CallError>) -> Judgement {
    let target = &ask.target;
    match answer {
        Ok((Response::Proof { size }, body)) if size == target.size => {
            let groups = arion_proofs::derive(&ask.seed, target.size);
            match arion_proofs::verify(&target.shard, target.size, &groups, &body) {
                Ok(()) => Judgement::Passed(body),
                Err(_) => Judgement::InvalidProof(body),
            }
        }
        Ok((_, body)) => Judgement::InvalidProof(body),
        Err(CallError::Refused { code: code @ (ErrorCode::NotFound | ErrorCode::Damaged), .. }) => {
            Judgement::Failed(code)
        }
        Err(error) => {
            tracing::debug!(miner = %target.node, %error, "no answer to a challenge");
            Judgement::NoAnswer
        }
    }
}
