//! Attestations as wardens hand them over, signed with the keys of wardens that run nowhere.

use std::time::Duration;

use anyhow::bail;
use arion_chain::ChainClient;
use arion_net::{PeerAddr, QuicTransport, Transport};
use arion_protocol::{Request, Response};
use arion_types::{AttestationRecord, AttestationResult};
use codec::Encode;

use super::Stage;
use crate::network::{Network, local};

const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Makes attestations, each about a shard of its own.
pub(super) struct Attesting {
    chain: ChainClient,
    made: u64,
}

impl Attesting {
    pub(super) fn new(chain: ChainClient) -> Self {
        Self { chain, made: 0 }
    }

    pub(super) fn chain(&self) -> &ChainClient {
        &self.chain
    }

    /// So many of a warden about challenges of a block.
    pub(super) fn sign(
        &mut self,
        stage: &Stage,
        warden: u16,
        block: u64,
        count: usize,
    ) -> anyhow::Result<Vec<AttestationRecord>> {
        let key = stage.network.node_key(&Network::warden_name(warden))?;
        let genesis = self.chain.genesis();
        let made = self.made;
        self.made += count as u64;
        let record = |number: u64| {
            let mut record = AttestationRecord {
                shard_hash: *blake3::hash(&number.to_le_bytes()).as_bytes(),
                miner_uid: 1,
                result: AttestationResult::Passed,
                challenge_seed: [2; 32],
                block_number: block,
                timestamp: 0,
                warden_pubkey: [0; 32],
                signature: [0; 64],
                merkle_proof_sig_hash: [3; 32],
                warden_id: Default::default(),
            };
            record.sign(&genesis, &key);
            record
        };
        Ok((made..self.made).map(record).collect())
    }

    /// Hands them to a submitter, as the warden.
    pub(super) async fn deliver(
        &self,
        stage: &Stage,
        submitter: u16,
        warden: u16,
        records: &[AttestationRecord],
    ) -> anyhow::Result<()> {
        let key = stage.network.node_key(&Network::warden_name(warden))?;
        let endpoint = local(stage.network.ports().submitter_quic_of(submitter));
        let node_id = stage.network.node_id(&Network::submitter_name(submitter))?;
        let transport = QuicTransport::new(&key)?;
        let body = records.to_vec().encode().into();
        let peer = PeerAddr { node_id, endpoint };
        let answer = transport.call(&peer, Request::Attest, body, ANSWER_TIMEOUT).await;
        transport.close().await;
        match answer?.0 {
            Response::AttestationsQueued { new } if new as usize == records.len() => Ok(()),
            other => bail!("the submitter answered {other:?} to {} attestations", records.len()),
        }
    }

    /// Makes some and hands them over.
    pub(super) async fn hand_over(
        &mut self,
        stage: &Stage,
        submitter: u16,
        warden: u16,
        block: u64,
        count: usize,
    ) -> anyhow::Result<Vec<AttestationRecord>> {
        let records = self.sign(stage, warden, block, count)?;
        self.deliver(stage, submitter, warden, &records).await?;
        Ok(records)
    }
}
