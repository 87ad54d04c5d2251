//! Carries out what the docket says: sends challenges, asks ledgers, signs, keeps.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arion_chain::ChainView;
use arion_daemon::{
    Health, now_ms,
    work::{self, same_host},
};
use arion_ledger::Follower;
use arion_net::Transport;
use arion_protocol::Request;
use arion_types::{
    AttestationRecord, AttestationResult, Exhibit, GenesisHash, NodeId, ShownAttestation,
    attestation::WARDEN_ID_BYTES_MAX, exhibit::ANSWER_BYTES_MAX, signing::node_id,
};
use bytes::Bytes;
use ed25519_dalek::SigningKey;
use tokio::{task::JoinSet, time::Instant};

use crate::{
    challenge::{Judgement, judge},
    coverage::forecast,
    docket::{Action, Ask, Conclusion, Docket, Verdict},
    evidence::{self, Evidence},
    metrics::Metrics,
    sampler::Target,
    store::{Attested, Store},
};

/// Pause between reports in /health and metrics.
const REPORT: Duration = Duration::from_secs(2);
/// Shortest pause between two looks at the docket.
const TICK: Duration = Duration::from_millis(5);

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
    /// How miners are called.
    pub transport: Arc<dyn Transport>,
    /// What is to be done.
    pub docket: Arc<Mutex<Docket>>,
    /// Where attestations are kept.
    pub store: Arc<Store>,
    /// Ledgers by gateway.
    pub followers: HashMap<NodeId, Arc<Follower>>,
    /// Where findings are kept.
    pub evidence: PathBuf,
    /// What /health says.
    pub health: Health,
    /// Counters.
    pub metrics: Metrics,
}

impl Auditor {
    /// Audits for ever.
    pub async fn run(self: Arc<Self>) {
        let begun = Instant::now();
        let mut under_way = JoinSet::new();
        let mut reported: Option<Instant> = None;
        loop {
            while under_way.try_join_next().is_some() {}
            if reported.is_none_or(|at| at.elapsed() >= REPORT) {
                self.report();
                reported = Some(Instant::now());
            }
            match self.poll(begun.elapsed()) {
                Action::Ask(ask) => {
                    let auditor = self.clone();
                    under_way.spawn(same_host(async move { auditor.audit(*ask, begun).await }));
                }
                Action::Round(round) => self.keep_round(round).await,
                Action::Rest(until) => {
                    tokio::time::sleep(until.saturating_sub(begun.elapsed()).max(TICK)).await;
                }
            }
        }
    }

    /// What is to be done now.
    pub(crate) fn poll(&self, now: Duration) -> Action {
        let snapshot = self.view.snapshot();
        let mut docket = self.docket();
        docket.chain(&snapshot);
        docket.poll(now, &mut rand::rng())
    }

    async fn keep_round(&self, round: u64) {
        let store = self.store.clone();
        match work::blocking(move || store.set_round(round)).await {
            Ok(Ok(())) => tracing::info!(round, "a round of audits begins"),
            Ok(Err(error)) => {
                tracing::error!(%error, "the round is not kept; after a restart shards are audited again");
            }
            // Stopping.
            Err(_) => {}
        }
    }

    /// Sends a challenge, and keeps the signed verdict where that is the last of its case.
    pub(crate) async fn audit(&self, ask: Ask, begun: Instant) {
        let request = Request::Challenge { shard: ask.target.shard, seed: ask.seed };
        let sent = Instant::now();
        let answer = self.transport.call(&ask.peer, request, Bytes::new(), ask.deadline).await;
        let elapsed = sent.elapsed();
        let judgement = judge(&ask, answer);
        let verdict = self.docket().answered(ask.case, judgement, elapsed, begun.elapsed());
        if let Some(verdict) = verdict {
            self.conclude(verdict).await;
        }
    }

    async fn conclude(&self, verdict: Verdict) {
        let (case, target) = (verdict.ask.case, verdict.ask.target);
        // A shard that was deleted meanwhile may be gone; whether it was, the gateway's ledger says.
        if verdict.result() != AttestationResult::Passed && !self.is_still_wanted(&verdict.ask).await {
            tracing::debug!(shard = %target.shard, "no verdict: the shard was deleted, or its gateway is silent");
            return self.docket().concluded(case, Conclusion::None);
        }
        let record = self.sign(&verdict);
        self.note(&verdict);
        match self.keep(record, verdict.clone()).await {
            Ok(Attested::Not) => {
                tracing::debug!(shard = %target.shard, "no verdict: the chain stood still since the last one");
                self.docket().concluded(case, Conclusion::None);
            }
            Ok(Attested::Whole | Attested::Alone) => self.docket().said(&verdict),
            Err(error) => {
                tracing::error!(%error, "an attestation is not kept; the shard is audited again");
                self.docket().concluded(case, Conclusion::Lost);
            }
        }
    }

    async fn is_still_wanted(&self, ask: &Ask) -> bool {
        let Target { node, shard, mut gateway, .. } = ask.target;
        // What one gateway has given up meanwhile may be another one's, whose ledger has to be read then.
        for _ in 0..self.followers.len() {
            match self.followers.get(&gateway) {
                Some(follower) if follower.sync().await.is_ok() => {}
                _ => return false,
            }
            match self.docket().sampler().target(&node, &shard) {
                Some(target) if target.gateway == gateway => return true,
                Some(target) => gateway = target.gateway,
                None => return false,
            }
        }
        false
    }

    fn sign(&self, verdict: &Verdict) -> AttestationRecord {
        let mut name = self.signer.name.clone();
        name.truncate(WARDEN_ID_BYTES_MAX as usize);
        let ask = &verdict.ask;
        let mut record = AttestationRecord {
            shard_hash: ask.target.shard.0,
            miner_uid: ask.uid,
            result: verdict.result(),
            challenge_seed: ask.seed,
            block_number: u64::from(ask.block.number),
            timestamp: now_ms(),
            warden_pubkey: node_id(&self.signer.key).0,
            signature: [0; 64],
            merkle_proof_sig_hash: blake3::hash(verdict.judgement.answer()).into(),
            warden_id: name.try_into().unwrap_or_default(),
        };
        record.sign(&self.signer.genesis, &self.signer.key);
        record
    }

    fn note(&self, verdict: &Verdict) {
        let result = verdict.result();
        self.metrics.verdict(result);
        if result != AttestationResult::Passed {
            let ask = &verdict.ask;
            tracing::warn!(
                ?result, miner = %ask.target.node, uid = ask.uid, shard = %ask.target.shard,
                block = ask.block.number, "a miner did not prove a shard"
            );
        }
    }

    async fn keep(&self, record: AttestationRecord, verdict: Verdict) -> anyhow::Result<Attested> {
        let (store, directory) = (self.store.clone(), self.evidence.clone());
        let attested = work::blocking(move || {
            if !store.is_unsigned(&verdict.ask.target, record.block_number)? {
                return Ok(Attested::Not);
            }
            if let Some(evidence) = evidence_of(&record, &verdict) {
                evidence::keep(&directory, &evidence)?;
            }
            let shown = ShownAttestation { record, exhibit: exhibit_of(&verdict) };
            anyhow::Ok(store.attest(&shown, &verdict.ask.target, verdict.round)?)
        })
        .await??;
        if attested == Attested::Alone {
            self.metrics.exhibits_dropped.inc();
        }
        Ok(attested)
    }

    fn report(&self) {
        let snapshot = self.view.snapshot();
        let mut docket = self.docket();
        docket.chain(&snapshot);
        match docket.is_admitted() {
            true => self.health.ok("registration"),
            false => {
                self.health
                    .failing("registration", "this key is not a registered warden on the finalised chain");
            }
        }
        let sampler = docket.sampler();
        let (live, round, present) = (sampler.live(), sampler.round(), sampler.duty().present().len());
        let mine: Vec<_> = sampler.mine().map(|(_, amount)| amount).collect();
        let forecast = forecast(mine.iter().copied(), docket.pace());
        let (under_way, opinions) = (docket.under_way(), docket.opinions_waiting());
        drop(docket);
        let (shards, bytes) = mine
            .iter()
            .fold((0u64, 0u64), |(s, b), a| (s.saturating_add(a.shards), b.saturating_add(a.bytes)));
        self.metrics.shards(live, shards, bytes);
        self.metrics.progress(round, present, forecast.as_ref());
        for (name, value) in [
            ("round", round),
            ("shards_live", live as u64),
            ("shards_mine", shards),
            ("bytes_mine", bytes),
            ("wardens_present", present as u64),
            ("challenges_in_flight", under_way as u64),
            ("opinions_waiting", opinions as u64),
        ] {
            self.health.detail(name, value);
        }
        if let Some(forecast) = forecast {
            self.health.detail("round_seconds", forecast.round_ms / 1_000);
            self.health.detail("coverage_ppm", forecast.coverage_ppm);
            self.health.detail("challenges_per_miner_and_day", forecast.challenges_per_day);
            self.health.detail("detection_1_percent_in_24h_ppm", forecast.detection_ppm);
        }
        self.metrics.details(&self.health);
        arion_daemon::chain::report(&self.view, &self.health);
    }

    pub(crate) fn docket(&self) -> MutexGuard<'_, Docket> {
        self.docket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is handed over with the attestation.
fn exhibit_of(verdict: &Verdict) -> Exhibit {
    let size = verdict.ask.target.size;
    match &verdict.judgement {
        Judgement::Passed(answer) | Judgement::InvalidProof(answer) if answer.len() <= ANSWER_BYTES_MAX => {
            Exhibit::Answer { size, bytes: answer.to_vec() }
        }
        Judgement::Failed(code) => Exhibit::Refusal { size, code: code.number() },
        Judgement::Passed(_) | Judgement::InvalidProof(_) | Judgement::NoAnswer => Exhibit::Absent,
    }
}

/// What is kept of a verdict: of silence there is nothing to show.
fn evidence_of(record: &AttestationRecord, verdict: &Verdict) -> Option<Evidence> {
    let target = &verdict.ask.target;
    let refusal = match &verdict.judgement {
        Judgement::Failed(code) => Some(code.number()),
        Judgement::InvalidProof(_) => None,
        Judgement::Passed(_) | Judgement::NoAnswer => return None,
    };
    Some(Evidence::V1 {
        record: record.clone(),
        miner: target.node.0,
        size: target.size,
        refusal,
        answer: verdict.judgement.answer().to_vec(),
    })
}
