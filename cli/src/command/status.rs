//! `arion status`: the network at a glance.

use std::{process::ExitCode, time::Duration};

use arion_chain::EpochMap;
use arion_daemon::line;
use arion_protocol::MinerStatus;
use serde::Serialize;
use serde_json::Value;

use super::{miners_of, print_json, transport};
use crate::settings::Settings;

/// Time for the gateway's health.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Serialize)]
struct Status {
    ok: bool,
    chain_url: String,
    genesis: String,
    best_block: u32,
    finalized_block: u32,
    finalized_hash: String,
    epoch: Option<u64>,
    map_root_holds: Option<bool>,
    miners_registered: usize,
    miners_in_map: usize,
    gateways: usize,
    validator_services: usize,
    wardens: usize,
    validators: Vec<Validator>,
    gateway: Option<Gateway>,
}

#[derive(Serialize)]
struct Validator {
    endpoint: String,
    /// None when it does not answer.
    miners_online: Option<usize>,
    miners_known: Option<usize>,
    error: Option<String>,
}

#[derive(Serialize)]
struct Gateway {
    address: String,
    health: Option<Value>,
    error: Option<String>,
}

/// Prints the status; exit code 1 if something is wrong.
pub async fn run(settings: &Settings, json: bool) -> anyhow::Result<ExitCode> {
    let chain = settings.chain().await?;
    let (best, finalized) = (chain.best().await?, chain.finalized().await?);
    let (registry, map) = (chain.registry().await?, chain.current_map().await?);
    let validators = ask_validators(settings).await?;
    let gateway = match &settings.gateway_http {
        Some(address) => Some(ask_gateway(address.clone()).await),
        None => None,
    };
    let root_holds = map.as_ref().map(EpochMap::root_holds);
    let healthy = gateway
        .as_ref()
        .is_none_or(|gateway| gateway.health.as_ref().is_some_and(|health| health["status"] == "ok"));
    let ok =
        root_holds == Some(true) && healthy && validators.iter().all(|validator| validator.error.is_none());
    let status = Status {
        ok,
        chain_url: settings.chain_url.clone(),
        genesis: hex::encode(chain.genesis()),
        best_block: best.number,
        finalized_block: finalized.number,
        finalized_hash: hex::encode(finalized.hash),
        epoch: map.as_ref().map(|map| map.epoch),
        map_root_holds: root_holds,
        miners_registered: registry.miners.len(),
        miners_in_map: map.as_ref().map_or(0, |map| map.miners.len()),
        gateways: registry.gateways.len(),
        validator_services: registry.validators.len(),
        wardens: registry.wardens.len(),
        validators,
        gateway,
    };
    if json {
        print_json(&status)?;
    } else {
        print(&status)?;
    }
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn ask_validators(settings: &Settings) -> anyhow::Result<Vec<Validator>> {
    let transport = transport()?;
    let mut answers = Vec::new();
    for peer in &settings.validators {
        let miners = miners_of(&*transport, peer).await;
        let online = |miners: &Vec<MinerStatus>| miners.iter().filter(|miner| miner.state.is_heard()).count();
        answers.push(Validator {
            endpoint: peer.endpoint.clone(),
            miners_online: miners.as_ref().ok().map(online),
            miners_known: miners.as_ref().ok().map(Vec::len),
            error: miners.err().map(|error| error.to_string()),
        });
    }
    transport.close().await;
    Ok(answers)
}

async fn ask_gateway(address: String) -> Gateway {
    let url = format!("{}/health", address.trim_end_matches('/'));
    let answer = tokio::task::spawn_blocking(move || -> anyhow::Result<Value> {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(HEALTH_TIMEOUT))
            .build()
            .into();
        let text = agent.get(&url).call()?.body_mut().read_to_string()?;
        Ok(serde_json::from_str(&text)?)
    });
    let answer = match answer.await {
        Ok(answer) => answer,
        Err(error) => Err(error.into()),
    };
    let error = answer.as_ref().err().map(|error| error.to_string());
    Gateway { address, health: answer.ok(), error }
}

fn print(status: &Status) -> anyhow::Result<()> {
    line!("chain      {} (genesis {})", status.chain_url, status.genesis);
    line!(
        "head       {} best, {} finalised ({})",
        status.best_block,
        status.finalized_block,
        status.finalized_hash
    );
    match (status.epoch, status.map_root_holds) {
        (Some(epoch), Some(true)) => {
            line!("map        epoch {epoch}, {} miners, root holds", status.miners_in_map)
        }
        (Some(epoch), _) => line!("map        epoch {epoch}: THE ROOT DOES NOT HOLD"),
        (None, _) => line!("map        none yet"),
    }
    line!(
        "registered {} miners, {} gateways, {} validator services, {} wardens",
        status.miners_registered,
        status.gateways,
        status.validator_services,
        status.wardens
    );
    for validator in &status.validators {
        match (validator.miners_online, validator.miners_known, &validator.error) {
            (Some(online), Some(known), _) => {
                line!("validator  {}: {online} of {known} miners online", validator.endpoint);
            }
            (_, _, error) => {
                line!("validator  {}: {}", validator.endpoint, error.as_deref().unwrap_or("no answer"));
            }
        }
    }
    if let Some(gateway) = &status.gateway {
        let state = gateway.health.as_ref().and_then(|health| health["status"].as_str());
        line!(
            "gateway    {}: {}",
            gateway.address,
            state.or(gateway.error.as_deref()).unwrap_or("no answer")
        );
    }
    Ok(())
}
