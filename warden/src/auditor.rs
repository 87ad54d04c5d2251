//! The rounds of audits.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arion_chain::ChainView;
use arion_daemon::{Health, now_ms};
use arion_ledger::Follower;
use arion_types::{
    AttestationRecord, AttestationResult, GenesisHash, NodeId, attestation::WARDEN_ID_BYTES_MAX,
};
use ed25519_dalek::SigningKey;
use tokio::{sync::Semaphore, time::Instant};

use crate::{
    challenge::{Challenger, Verdict},
    evidence,
    metrics::Metrics,
    sampler::{Sampler, Target},
    store::Store,
};

/// How fast audits go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pace {
    /// Pause between two challenges.
    pub pause: Duration,
    /// Shortest time of a round.
    pub round_min: Duration,
    /// Challenges under way at once.
    pub parallel: usize,
}

/// Who signs.
pub struct Signer {
    /// Key of the warden.
    pub key: SigningKey,
    /// Hash of block 0.
    pub genesis: GenesisHash,
    /// Name for people.
    pub name: Vec<u8>,
}

/// Audits.
pub struct Auditor {
    /// Who signs.
    pub signer: Signer,
    /// The finalised chain.
    pub view: ChainView,
    /// Asks miners.
    pub challenger: Challenger,
    /// What is audited.
    pub sampler: Arc<Mutex<Sampler>>,
    /// Where attestations are kept.
    pub store: Arc<Store>,
    /// Ledgers by gateway.
    pub followers: HashMap<NodeId, Arc<Follower>>,
    /// Where failing proofs are kept.
    pub evidence: PathBuf,
    /// How fast.
    pub pace: Pace,
    /// What /health says.
    pub health: Health,
    /// Counters.
    pub metrics: Metrics,
}

impl Auditor {
    /// Audits for ever.
    pub async fn run(self: Arc<Self>) {
        let slots = Arc::new(Semaphore::new(self.pace.parallel.max(1)));
        let mut round_started = Instant::now();
        loop {
            tokio::time::sleep(self.pace.pause).await;
            self.report();
            if !self.is_warden() {
                continue;
            }
            let Ok(slot) = slots.clone().acquire_owned().await else { return };
            match self.pick() {
                Some(target) => {
                    let auditor = self.clone();
                    tokio::spawn(async move {
                        auditor.audit(target).await;
                        drop(slot);
                    });
                }
                None if round_started.elapsed() >= self.pace.round_min && self.start_round() => {
                    round_started = Instant::now();
                }
                None => {}
            }
        }
    }

    fn is_warden(&self) -> bool {
        let is_registered = self.view.snapshot().registry.wardens.contains(&self.challenger.warden);
        match is_registered {
            true => self.health.ok("registration"),
            false => {
                self.health
                    .failing("registration", "this key is not a registered warden on the finalised chain");
            }
        }
        is_registered
    }

    fn report(&self) {
        let (live, round, in_flight) = {
            let sampler = self.sampler();
            (sampler.live(), sampler.round(), sampler.in_flight())
        };
        self.metrics.live.set(i64::try_from(live).unwrap_or(i64::MAX));
        self.metrics.round.set(i64::try_from(round).unwrap_or(i64::MAX));
        self.health.detail("shards_live", live);
        self.health.detail("round", round);
        self.health.detail("challenges_in_flight", in_flight);
        self.metrics.details(&self.health);
        arion_daemon::chain::report(&self.view, &self.health);
    }

    /// The next shard of a miner of the current map.
    pub(crate) fn pick(&self) -> Option<Target> {
        let snapshot = self.view.snapshot();
        let map = snapshot.current.as_ref()?;
        let members: std::collections::HashSet<_> = map.miners.iter().map(|miner| miner.node_id).collect();
        self.sampler().next(&mut rand::rng(), |node| members.contains(&node.0))
    }

    fn start_round(&self) -> bool {
        let Some(round) = self.sampler().start_round() else { return false };
        if let Err(error) = self.store.set_round(round) {
            tracing::error!(%error, "the round is not kept; after a restart shards are audited again");
        }
        tracing::info!(round, "a round of audits begins");
        true
    }

    /// Audits one shard and keeps the signed outcome.
    pub async fn audit(&self, target: Target) {
        let verdict = self.challenger.challenge(&target).await;
        let Some(verdict) = verdict else { return self.sampler().audited(&target) };
        // A shard that was deleted meanwhile may be gone; whether it was, the gateway's ledger says.
        if verdict.result != AttestationResult::Passed && !self.is_still_wanted(&target).await {
            tracing::debug!(shard = %target.shard, "no verdict: the shard was deleted, or its gateway is silent");
            return self.sampler().audited(&target);
        }
        let record = self.sign(&target, &verdict);
        self.note(&target, &verdict, &record);
        let kept = self.keep(target, record, verdict).await;
        match kept {
            Ok(()) => self.sampler().audited(&target),
            Err(error) => {
                tracing::error!(%error, "an attestation is not kept; the shard is audited again");
                self.sampler().give_back(&target);
            }
        }
    }

    async fn is_still_wanted(&self, target: &Target) -> bool {
        match self.followers.get(&target.gateway) {
            Some(follower) if follower.sync().await.is_ok() => {
                self.sampler().is_live(&target.node, &target.shard)
            }
            _ => false,
        }
    }

    fn sign(&self, target: &Target, verdict: &Verdict) -> AttestationRecord {
        let mut name = self.signer.name.clone();
        name.truncate(WARDEN_ID_BYTES_MAX as usize);
        let mut record = AttestationRecord {
            shard_hash: target.shard.0,
            miner_uid: verdict.uid,
            result: verdict.result,
            challenge_seed: verdict.seed,
            block_number: u64::from(verdict.block.number),
            timestamp: now_ms(),
            warden_pubkey: self.challenger.warden.0,
            signature: [0; 64],
            merkle_proof_sig_hash: blake3::hash(&verdict.answer).into(),
            warden_id: name.try_into().unwrap_or_default(),
        };
        record.sign(&self.signer.genesis, &self.signer.key);
        record
    }

    fn note(&self, target: &Target, verdict: &Verdict, record: &AttestationRecord) {
        self.metrics.verdict(verdict.result);
        if verdict.result != AttestationResult::Passed {
            tracing::warn!(
                result = ?verdict.result, miner = %target.node, uid = verdict.uid, shard = %target.shard,
                block = record.block_number, "a miner did not prove a shard"
            );
        }
    }

    async fn keep(&self, target: Target, record: AttestationRecord, verdict: Verdict) -> anyhow::Result<()> {
        let (store, directory) = (self.store.clone(), self.evidence.clone());
        let round = self.sampler().round();
        tokio::task::spawn_blocking(move || {
            if verdict.result == AttestationResult::InvalidProof {
                evidence::keep(&directory, &record, target.size, &verdict.answer)?;
            }
            store.attest(&record, &target, round)?;
            anyhow::Ok(())
        })
        .await?
    }

    pub(crate) fn sampler(&self) -> MutexGuard<'_, Sampler> {
        self.sampler.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
