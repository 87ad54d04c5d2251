//! A warden that says yes and no to one challenge: the chain-submitter that hears both reports it, and the chain is rid of it.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use arion_chain::ChainClient;
use arion_net::{PeerAddr, QuicTransport, Transport};
use arion_protocol::{Request, Response};
use arion_types::{AttestationRecord, AttestationResult, NodeId};
use codec::Encode;
use serde_json::Value;
use tokio::time::sleep;

use super::Stage;
use crate::{
    network::{Network, local},
    story::client,
};

const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// A batch, its finality, the report and its finality.
const OUT_DEADLINE: Duration = Duration::from_secs(240);
const POLL: Duration = Duration::from_secs(2);
/// The warden that lies.
const LIAR: u16 = 1;

pub(super) async fn step(stage: &mut Stage, chain: &ChainClient) -> anyhow::Result<()> {
    stage.report.step(5, "a warden signs Passed and Failed about one challenge: the chain is rid of it");
    let name = Network::warden_name(LIAR);
    let warden = stage.network.node_id(&name)?;
    stage.network.stop_one(&name).await?;
    hand_over(stage, chain, &name).await?;
    until_out(stage, chain, &warden).await?;
    let conflicts = chain.warden_conflicts().await?;
    let conflict =
        conflicts.into_iter().find(|(found, _)| *found == warden).context("no conflict is stored")?.1;
    let submitter = stage.network.account("submitter")?.id();
    stage.report.check("the chain-submitter reported it", conflict.reporter == submitter);
    let told: Value = serde_json::from_str(&arion(stage, &["--json", "audit", "report"]).await?.0)?;
    let is_told = told["wardens_out"]
        .as_array()
        .is_some_and(|out| out.iter().any(|out| out["warden"] == warden.to_string().as_str()));
    stage.report.check("arion audit report names it", is_told);
    let kept = stage.network.directory("submitter").join("conflicts");
    let file =
        |number: u8| kept.join(format!("{warden}-{number}.attestation")).to_string_lossy().into_owned();
    let account = stage.network.account_file(&Network::family_name(0)).to_string_lossy().into_owned();
    let command = ["audit", "report-conflict", &file(1), &file(2), "--account-file", &account];
    let (_, said) = arion(stage, &command).await?;
    stage.report.check(
        format!("whoever comes second is told so: {}", said.trim()),
        said.contains("ConflictAlreadyReported"),
    );
    Ok(())
}

/// Both verdicts, as the warden would hand them over.
async fn hand_over(stage: &Stage, chain: &ChainClient, name: &str) -> anyhow::Result<()> {
    let key = stage.network.node_key(name)?;
    let block_number = u64::from(chain.finalized().await?.number);
    let signed = |result| {
        let mut record = AttestationRecord {
            shard_hash: [1; 32],
            miner_uid: 1,
            result,
            challenge_seed: [2; 32],
            block_number,
            timestamp: 0,
            warden_pubkey: [0; 32],
            signature: [0; 64],
            merkle_proof_sig_hash: [3; 32],
            warden_id: Default::default(),
        };
        record.sign(&chain.genesis(), &key);
        record
    };
    let endpoint = local(stage.network.ports().submitter_quic());
    let submitter = PeerAddr { node_id: stage.network.node_id("submitter")?, endpoint };
    let transport = QuicTransport::new(&key)?;
    let both = vec![signed(AttestationResult::Passed), signed(AttestationResult::Failed)];
    let (answer, _) =
        transport.call(&submitter, Request::Attest, both.encode().into(), ANSWER_TIMEOUT).await?;
    transport.close().await;
    match answer {
        Response::AttestationsQueued { new: 2 } => Ok(()),
        other => bail!("the chain-submitter answered {other:?}"),
    }
}

async fn until_out(stage: &mut Stage, chain: &ChainClient, warden: &NodeId) -> anyhow::Result<()> {
    let begun = Instant::now();
    while chain.registry().await?.wardens.contains(warden) {
        if begun.elapsed() > OUT_DEADLINE {
            bail!(
                "the warden is still registered after {} s: look with `logs submitter`",
                OUT_DEADLINE.as_secs()
            );
        }
        sleep(POLL).await;
    }
    let seconds = begun.elapsed().as_secs();
    stage.report.observed(format!("{seconds} s after the hand-over it is no warden any more"));
    Ok(())
}

/// Runs `arion`; what it printed on standard output and on standard error.
pub(super) async fn arion(stage: &Stage, arguments: &[&str]) -> anyhow::Result<(String, String)> {
    let ws = stage.network.ws();
    let output = client::arion(&[&["--node", &ws][..], arguments].concat()).await?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((text(&output.stdout), text(&output.stderr)))
}
