//! Step 6: what must be refused is refused, each with its own error.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use arion_chain::{Account, Call, ChainClient, Wait};
use arion_net::{CallError, PeerAddr, QuicTransport, Transport};
use arion_protocol::{ErrorCode, Heartbeat, Request};
use arion_types::{AttestationRecord, AttestationResult, NodeId, attestation::challenge_seed, signing};
use bytes::Bytes;
use ed25519_dalek::SigningKey;

use super::Stage;
use crate::{
    network::{Network, local},
    state::S3Access,
    story::client,
};

const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

pub(super) async fn step(stage: &mut Stage, chain: &ChainClient) -> anyhow::Result<()> {
    stage.report.step(6, "what must be refused is refused with the right error");
    s3(stage).await?;
    let answer = heartbeat(stage, chain).await?;
    expect(stage, "a heartbeat of a miner that is not registered", &answer, "NotRegistered");

    let warden = stage.network.node_key("warden-1")?;
    let mut record = attestation(chain, &warden).await?;
    record.shard_hash[0] ^= 1;
    let answer = submit(chain, record).await?;
    expect(
        stage,
        "an attestation with one bit changed after signing",
        &answer,
        "Arion.InvalidAttestationSignature",
    );

    let stranger = SigningKey::from_bytes(&rand::random());
    let answer = submit(chain, attestation(chain, &stranger).await?).await?;
    expect(stage, "an attestation of a warden that is not registered", &answer, "Arion.UnregisteredWarden");
    Ok(())
}

fn expect(stage: &mut Stage, asked: &str, answer: &str, wanted: &str) {
    stage.report.observed(format!("{asked}: {answer}"));
    stage.report.check(format!("{asked} is refused with {wanted}"), answer == wanted);
}

async fn s3(stage: &mut Stage) -> anyhow::Result<()> {
    let access = stage.network.s3()?.clone();
    let mut secret: Vec<char> = access.secret_key.chars().collect();
    let last = secret.last_mut().context("the S3 secret is empty")?;
    *last = if *last == 'a' { 'b' } else { 'a' };
    let wrong = S3Access { secret_key: secret.into_iter().collect(), ..access.clone() };
    let answer = client::s3(&wrong, &["list", super::objects::BUCKET]).await?;
    expect(
        stage,
        "a wrong S3 secret",
        answer["error"].as_str().unwrap_or("no error"),
        "SignatureDoesNotMatch",
    );
    let answer = client::s3(&access, &["list", "no-such-bucket-here"]).await?;
    expect(stage, "an unknown bucket", answer["error"].as_str().unwrap_or("no error"), "NoSuchBucket");
    Ok(())
}

/// What a validator service answers to a key that is nobody's.
async fn heartbeat(stage: &Stage, chain: &ChainClient) -> anyhow::Result<String> {
    let stranger = SigningKey::from_bytes(&rand::random());
    let endpoint = local(stage.network.ports().spare()).into_bytes().try_into();
    let heartbeat = Heartbeat {
        node_id: signing::node_id(&stranger),
        endpoint: endpoint.map_err(|_| anyhow::anyhow!("an address of loopback is short"))?,
        capacity_bytes: 1 << 40,
        used_bytes: 0,
        shard_count: 0,
        draining: false,
        version: (0, 1, 0),
        sent_at: now_ms()?,
    };
    let request = Request::Heartbeat(heartbeat.sign(&chain.genesis(), &stranger));
    let service = PeerAddr {
        node_id: stage.network.node_id("validator-1")?,
        endpoint: local(stage.network.ports().validator_quic(0)),
    };
    let transport = QuicTransport::new(&stranger)?;
    Ok(match transport.call(&service, request, Bytes::new(), ANSWER_DEADLINE).await {
        Ok((answer, _)) => format!("accepted: {answer:?}"),
        Err(CallError::Refused { code: ErrorCode::NotRegistered, .. }) => "NotRegistered".to_owned(),
        Err(error) => error.to_string(),
    })
}

/// A well-formed record about a shard that nobody stores, signed by `warden`.
async fn attestation(chain: &ChainClient, warden: &SigningKey) -> anyhow::Result<AttestationRecord> {
    let block = chain.finalized().await?;
    let map = chain.current_map().await?.context("there is no map")?;
    let miner = map.miners.first().context("the map is empty")?;
    let NodeId(warden_id) = signing::node_id(warden);
    let shard_hash: [u8; 32] = rand::random();
    let mut record = AttestationRecord {
        shard_hash,
        miner_uid: miner.uid,
        result: AttestationResult::Failed,
        challenge_seed: challenge_seed(&block.hash, &warden_id, &miner.node_id, &shard_hash),
        block_number: u64::from(block.number),
        timestamp: now_ms()?,
        warden_pubkey: warden_id,
        signature: [0; 64],
        merkle_proof_sig_hash: blake3::hash(b"").into(),
        warden_id: Default::default(),
    };
    record.sign(&chain.genesis(), warden);
    Ok(record)
}

/// Submits one record as an account that may submit, so that only the record is to blame.
async fn submit(chain: &ChainClient, record: AttestationRecord) -> anyhow::Result<String> {
    let authority = Account::from_secret(Network::validator_account(0))?;
    let bucket = u32::try_from(record.block_number)? / chain.attestation_bucket_blocks()?;
    let call = Call::submit_attestations(bucket, &[record]);
    Ok(match chain.submit(&authority, &call, Wait::InBlock).await {
        Ok(outcome) => format!("accepted in block {}", outcome.block.number),
        Err(error) => error.dispatch_name().map_or_else(|| error.to_string(), str::to_owned),
    })
}

fn now_ms() -> anyhow::Result<u64> {
    Ok(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?)
}
