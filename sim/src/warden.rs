//! A warden: the real docket, auditor and store; and the submitter that takes its attestations to the chain.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::Context;
use arion_daemon::Health;
use arion_ledger::{Follower, ReceiptChecker};
use arion_net::{CallError, PeerAddr, Service, Transport};
use arion_protocol::{ErrorCode, Request, Response};
use arion_types::{AttestationRecord, NodeId, ShownAttestation};
use arion_warden::{
    Metrics,
    auditor::{Auditor, Signer},
    book::ShardBook,
    challenge,
    docket::{Docket, Pace},
    duty::Duty,
    handover::Handover,
    sampler::Sampler,
    store::Store,
    witness::Witness,
};
use async_trait::async_trait;
use bytes::Bytes;
use codec::DecodeAll;

use crate::{
    chain::{BUCKET_BLOCKS, Chain, GENESIS},
    disk::Drive,
    host::{Place, Role, SUBMITTER, Setting, lock},
    life::Life,
    trace::trace,
};

const PATIENCE: challenge::Patience =
    challenge::Patience { deadline: Duration::from_secs(10), retries: 2, pause: Duration::from_secs(3) };
const LEDGER_POLL: Duration = Duration::from_secs(5);
/// Blocks after which a silent warden's shards are taken over.
const SILENCE: u32 = 150;

/// A warden over its lives.
pub struct Warden {
    pub place: Place,
    setting: Setting,
    drive: Mutex<Drive>,
    running: Mutex<Option<Life>>,
    /// Says from its next start on that it was refused what it asked miners for.
    is_lying: Mutex<bool>,
}

impl Warden {
    pub fn new(number: usize, setting: Setting) -> Self {
        let place = Place { role: Role::Warden, number };
        Self {
            place,
            setting,
            drive: Mutex::default(),
            running: Mutex::default(),
            is_lying: Mutex::default(),
        }
    }

    /// Bytes on its disk.
    pub fn disk_bytes(&self) -> usize {
        lock(&self.drive).bytes()
    }

    pub fn is_up(&self) -> bool {
        lock(&self.running).is_some()
    }

    pub fn is_lying(&self) -> bool {
        *lock(&self.is_lying)
    }

    pub fn lie(&self) {
        trace!("{} is going to lie", self.place.name());
        *lock(&self.is_lying) = true;
    }

    pub fn crash(&self, power: bool) {
        let Some(life) = lock(&self.running).take() else { return };
        trace!("{} crashes, power cut {power}", self.place.name());
        life.end();
        let mut chance = self.setting.dice.chance();
        lock(&self.drive).crash(power.then_some(&mut chance));
    }

    pub fn start(&self) -> anyhow::Result<()> {
        if self.is_up() {
            return Ok(());
        }
        let (name, key, me, life) =
            (self.place.name(), self.place.key(), self.place.node(), Life::of(self.place));
        trace!("{name} starts");
        let file = lock(&self.drive).database()?;
        let database = redb::Database::builder().set_cache_size(8 << 20).create_with_backend(file);
        let store = Arc::new(Store::on(database.with_context(|| format!("{name} does not start"))?)?);
        let mut sampler = Sampler::new(store.round()?, Duty::alone(me));
        for (target, audited_in) in store.shards()? {
            sampler.add(target, audited_in);
        }
        let pace = Pace {
            pause: Duration::from_secs(1),
            round_min: self.setting.audit_round,
            round_max: Duration::from_secs(24 * 3_600),
            parallel: 64,
        };
        let docket = Arc::new(Mutex::new(Docket::new(me, sampler, pace, PATIENCE)));
        let view = self.setting.chain.view(&name, &life);
        let mut transport = self.setting.network.transport(&name, me, &life);
        if self.is_lying() {
            transport = Arc::new(Deaf(transport));
        }
        let (metrics, health) = (Metrics::default(), Health::new("sim", "0"));
        let follower = Arc::new(Follower::new(
            self.setting.followed().peer(),
            transport.clone(),
            Arc::new(ShardBook { store: store.clone(), docket: docket.clone() }),
            Arc::new(tokio::sync::Mutex::new(ReceiptChecker::new(view.clone()))),
            Default::default(),
        ));
        let handover = Handover {
            store: store.clone(),
            transport: transport.clone(),
            submitter: SUBMITTER.peer(),
            health: health.clone(),
            metrics: metrics.clone(),
        };
        let witness = Witness {
            attestations: Arc::new(self.setting.chain.clone()),
            view: view.clone(),
            docket: docket.clone(),
            bucket_blocks: BUCKET_BLOCKS,
            silence: SILENCE,
        };
        let auditor = Auditor {
            signer: Signer { key, genesis: GENESIS, name: name.clone().into_bytes() },
            view,
            transport,
            docket,
            store,
            followers: [(follower.gateway(), follower.clone())].into(),
            evidence: self.setting.directory.join(&name),
            health,
            metrics,
        };
        life.spawn(follower.run(LEDGER_POLL));
        life.spawn(handover.run());
        life.spawn(witness.run());
        life.spawn(Arc::new(auditor).run());
        *lock(&self.running) = Some(life);
        Ok(())
    }
}

/// Hears of no proof.
struct Deaf(Arc<dyn Transport>);

#[async_trait]
impl Transport for Deaf {
    async fn call(
        &self,
        peer: &PeerAddr,
        request: Request,
        body: Bytes,
        deadline: Duration,
    ) -> Result<(Response, Bytes), CallError> {
        match self.0.call(peer, request, body, deadline).await {
            Ok((Response::Proof { .. }, _)) => {
                Err(CallError::Refused { code: ErrorCode::NotFound, detail: String::new() })
            }
            answer => answer,
        }
    }
}

/// Takes attestations to the chain; never crashes.
pub struct Submitter {
    pub chain: Chain,
}

impl Submitter {
    fn take(&self, records: Vec<AttestationRecord>) -> u32 {
        for record in &records {
            let (miner, result) = (record.miner_uid, record.result);
            trace!("attestation of miner {miner}: {result:?}");
        }
        let new = u32::try_from(records.len()).unwrap_or(u32::MAX);
        self.chain.attest(records);
        new
    }
}

#[async_trait]
impl Service for Submitter {
    async fn serve(&self, _peer: NodeId, request: Request, body: Bytes) -> (Response, Bytes) {
        let response = match request {
            Request::AttestShown => match Vec::<ShownAttestation>::decode_all(&mut &body[..]) {
                Ok(shown) => {
                    let new = self.take(shown.into_iter().map(|shown| shown.record).collect());
                    Response::AttestationsKept { new, exhibits: new }
                }
                Err(_) => Response::error(ErrorCode::Malformed, "not attestations"),
            },
            Request::Attest => match Vec::<AttestationRecord>::decode_all(&mut &body[..]) {
                Ok(records) => Response::AttestationsQueued { new: self.take(records) },
                Err(_) => Response::error(ErrorCode::Malformed, "not attestations"),
            },
            _ => Response::error(ErrorCode::Unsupported, "a submitter takes attestations"),
        };
        (response, Bytes::new())
    }
}
