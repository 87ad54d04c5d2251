//! One challenge: from a finalised block to a verdict.

use std::{sync::Arc, time::Duration};

use arion_chain::{BlockRef, ChainView};
use arion_net::{CallError, PeerAddr, Transport};
use arion_protocol::{ErrorCode, Request, Response};
use arion_types::{AttestationResult, NodeId, Uid, attestation::challenge_seed};
use bytes::Bytes;

use crate::sampler::Target;

/// How long and how often a miner is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Patience {
    /// Time for one answer.
    pub deadline: Duration,
    /// Further attempts where no answer came.
    pub retries: u32,
    /// Pause before the first of them; each further one is twice as long.
    pub pause: Duration,
}

/// What a challenge showed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// Outcome.
    pub result: AttestationResult,
    /// Number of the miner in the current map.
    pub uid: Uid,
    /// Block of the seed.
    pub block: BlockRef,
    /// Seed of the last attempt.
    pub seed: [u8; 32],
    /// The answer as it came; empty where none came.
    pub answer: Bytes,
}

/// What one attempt brought.
enum Attempt {
    Settled(AttestationResult, Bytes),
    NoAnswer,
}

/// Challenges miners.
pub struct Challenger {
    /// The finalised chain.
    pub view: ChainView,
    /// How miners are called.
    pub transport: Arc<dyn Transport>,
    /// Key of this warden.
    pub warden: NodeId,
    /// How long and how often.
    pub patience: Patience,
}

impl Challenger {
    /// Challenges the miner about the shard until there is a verdict. `None` if the miner is not in the current
    /// map: there is nothing to say about it then.
    pub async fn challenge(&self, target: &Target) -> Option<Verdict> {
        let mut pause = self.patience.pause;
        for attempt in 0..=self.patience.retries {
            if attempt > 0 {
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            // A retry takes a new seed: the time of the pauses is of no use to a miner without the shard.
            let snapshot = self.view.snapshot();
            let block = snapshot.block;
            let miner = snapshot.current.as_ref()?.miner_by_node(&target.node)?;
            let (uid, endpoint) = (miner.uid, String::from_utf8_lossy(&miner.endpoint).into_owned());
            let seed = challenge_seed(&block.hash, &self.warden.0, &target.node.0, &target.shard.0);
            let peer = PeerAddr { node_id: target.node, endpoint };
            match self.attempt(target, &peer, seed).await {
                Attempt::Settled(result, answer) => {
                    return Some(Verdict { result, uid, block, seed, answer });
                }
                Attempt::NoAnswer if attempt == self.patience.retries => {
                    let result = AttestationResult::Timeout;
                    return Some(Verdict { result, uid, block, seed, answer: Bytes::new() });
                }
                Attempt::NoAnswer => {}
            }
        }
        None
    }

    async fn attempt(&self, target: &Target, peer: &PeerAddr, seed: [u8; 32]) -> Attempt {
        let request = Request::Challenge { shard: target.shard, seed };
        match self.transport.call(peer, request, Bytes::new(), self.patience.deadline).await {
            Ok((Response::Proof { size }, body)) => {
                let groups = arion_proofs::derive(&seed, target.size);
                let proves = size == target.size
                    && arion_proofs::verify(&target.shard, target.size, &groups, &body).is_ok();
                let result = if proves { AttestationResult::Passed } else { AttestationResult::InvalidProof };
                Attempt::Settled(result, body)
            }
            Ok((_, body)) => Attempt::Settled(AttestationResult::InvalidProof, body),
            Err(CallError::Refused { code: ErrorCode::NotFound | ErrorCode::Damaged, .. }) => {
                Attempt::Settled(AttestationResult::Failed, Bytes::new())
            }
            // Unreachable, silent, busy, or refusing for a reason that proves nothing either way.
            Err(error) => {
                tracing::debug!(miner = %target.node, %error, "no answer to a challenge");
                Attempt::NoAnswer
            }
        }
    }
}
